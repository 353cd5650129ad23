//! Rules that hold with tenants and without: state that cannot follow a session, and names that are the proxy's own.

use super::refusal::Refusal;
use crate::config::SessionState;
use crate::sql::{Analysis, Effect};

/// Names of the prepared statements that the proxy makes on backends begin so.
pub const RESERVED_PREFIX: &str = "__pgw_";

pub(super) fn judge(session_state: SessionState, analysis: &Analysis) -> Result<(), Refusal> {
    let effects = || analysis.statements.iter().flat_map(|statement| &statement.effects);
    if effects().any(|effect| matches!(effect, Effect::Prepare { name, .. } if name.starts_with(RESERVED_PREFIX))) {
        return Err(reserved_name());
    }
    match session_state {
        SessionState::Pin => Ok(()),
        SessionState::Refuse => effects().find_map(pinning).map_or(Ok(()), |what| {
            Err(Refusal::unsupported(
                "session_state",
                format!("{what} cannot follow a session in transaction pooling"),
                "Use session pooling for this user, or set session_state = \"pin\" in pgwarden's configuration.",
            ))
        }),
    }
}

pub(super) fn reserved_name() -> Refusal {
    Refusal::unsupported(
        "reserved_name",
        format!("prepared statement names that begin with \"{RESERVED_PREFIX}\" are reserved"),
        "Choose another name for the statement.",
    )
}

/// What a statement would leave on its backend, in words, where it cannot follow.
fn pinning(effect: &Effect) -> Option<&'static str> {
    match effect {
        Effect::Listen { .. } => Some("LISTEN"),
        Effect::HoldCursor { .. } => Some("a cursor WITH HOLD"),
        Effect::TempObject => Some("a temporary object"),
        Effect::SessionLock => Some("a session-level advisory lock"),
        Effect::Prepare { .. } => Some("SQL PREPARE"),
        Effect::Load => Some("LOAD"),
        _ => None,
    }
}
