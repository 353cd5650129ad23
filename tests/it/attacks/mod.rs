//! Attacks by a tenant who sends what he likes: the known ones, replayed before both walls and before each wall alone, and
//! classes of further ones, generated.
//!
//! Whatever is done as tenant 1: no byte of tenant 2's arrives, nothing of tenant 2's changes, nor does the schema, and the
//! next session on the same server connection is tenant 2's and clean.

pub mod client;
mod corpus;
mod everything;
mod generated;
pub mod lab;
mod rows;
mod shapes;
mod wire;
