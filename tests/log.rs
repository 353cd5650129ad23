//! The audit log under processes that are killed, disks that are full and directories that go away.
//!
//! Tests start this program again with a role in its environment (`child`); such a process appends to a log and says on its
//! standard output what it was promised. What counts is what the log has afterwards.

#[path = "log/child.rs"]
mod child;
#[path = "log/commands.rs"]
mod commands;
#[path = "log/crash.rs"]
mod crash;
#[path = "log/faults.rs"]
mod faults;
#[path = "log/seen.rs"]
mod seen;
#[path = "log/sink.rs"]
mod sink;
