//! Reading a log, by whoever has its files and a public key: verifying, showing, proving, exporting.
//!
//! Nothing here writes to the log, nor needs the process that writes it: a log is read while it grows. What is read may have
//! been edited by anybody; only what a signature vouches for is called whole.

mod export;
mod files;
mod filter;
mod lines;
mod locate;
mod order;
mod report;
mod scan;
mod signed;
mod stats;
mod tree;
mod verify;

#[cfg(test)]
mod tests;

pub use export::{ExportError, Exported, NotProven, export, verify_export};
pub use filter::{Filter, Selection};
pub use lines::Lines;
pub use report::{Ending, Finding, Gap, Newest, Report, Verdict, What};
pub use stats::{Counts, Stats};
pub use tree::{ProveError, Tree};
pub use verify::{Kept, KeptError, Verifier, threads};
