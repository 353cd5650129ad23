//! Wall 1, the database: what makes a shared-schema database safe for tenants, and whether one is.
//!
//! `protect` plans the SQL (roles, key, the sealed context, row security, grants), with the way back for each step;
//! `verify` looks at a database table by table and grant by grant, and tries what cannot be read off the catalog.
//!
//! Must not: read a tenant's row (probes ask whether there is one), print a key, or believe a command tag: what counts is
//! the catalog afterwards. Nothing here relies on the proxy's reading of SQL.

pub mod catalog;
pub mod client;
mod expression;
pub mod plan;
mod queries;
pub mod quote;
pub mod report;
pub mod seal;
mod verify;
mod wall;

pub use client::{Client, GuardError};
pub use report::Report;
pub use verify::{look, verify};
pub use wall::Wall;
