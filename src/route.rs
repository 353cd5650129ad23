//! Which node a statement goes to. Pure.
//!
//! Everything goes to the primary until replicas come; the decision has its place here already.

use crate::sql::Analysis;
use crate::wire::frame::TxStatus;

/// The role of the node within its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    Primary,
}

/// `transaction`: the status of the session's transaction.
pub fn route(_analysis: Option<&Analysis>, _transaction: TxStatus) -> Target {
    Target::Primary
}
