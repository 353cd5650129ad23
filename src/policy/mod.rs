//! Verdicts: what a user may run. Pure.
//!
//! [`Admitted`] is the proof that a statement was judged: only this module can build one, and only an admitted statement
//! can be forwarded. This policy admits every statement but those whose session state the user's configuration
//! does not let stay on a backend.

use std::borrow::Cow;

use crate::config::{Config, SessionState, User};
use crate::fault::{Fault, Report, Severity, SqlState};
use crate::sql::{Analysis, Effect};

/// The rules in force, compiled from a configuration.
#[derive(Debug)]
pub struct Policy {
    generation: u64,
}

/// A statement that policy let through.
#[derive(Debug, Clone, Copy)]
pub struct Admitted {
    generation: u64,
}

impl Admitted {
    /// The generation of the policy that judged it.
    pub fn generation(self) -> u64 {
        self.generation
    }
}

#[derive(Debug)]
pub enum Verdict {
    Allow(Admitted),
    Refuse(Refusal),
}

/// Why a statement was not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule's name: a metric label, and later an audit field.
    pub rule: &'static str,
    pub sqlstate: SqlState,
    pub message: Cow<'static, str>,
    pub hint: Cow<'static, str>,
}

impl Policy {
    /// `generation`: the configuration's, counted from 1.
    pub fn compile(_config: &Config, generation: u64) -> Self {
        Self { generation }
    }

    pub fn judge(&self, user: &User, analysis: &Analysis) -> Verdict {
        if !analysis.summary.is_plain()
            && let Some(refusal) = self.refuse_state(user, analysis)
        {
            return Verdict::Refuse(refusal);
        }
        Verdict::Allow(Admitted { generation: self.generation })
    }

    fn refuse_state(&self, user: &User, analysis: &Analysis) -> Option<Refusal> {
        let effects = || analysis.statements.iter().flat_map(|statement| &statement.effects);
        if effects().any(|effect| matches!(effect, Effect::Prepare { name, .. } if name.starts_with(RESERVED_PREFIX))) {
            return Some(Refusal {
                rule: "reserved_name",
                sqlstate: SqlState::FEATURE_NOT_SUPPORTED,
                message: format!("prepared statement names that begin with \"{RESERVED_PREFIX}\" are reserved").into(),
                hint: "Choose another name for the statement.".into(),
            });
        }
        match user.session_state {
            SessionState::Pin => None,
            SessionState::Refuse => effects().find_map(pinning).map(|what| Refusal {
                rule: "session_state",
                sqlstate: SqlState::FEATURE_NOT_SUPPORTED,
                message: format!("{what} cannot follow a session in transaction pooling").into(),
                hint: "Use session pooling for this user, or set session_state = \"pin\" in pgwarden's configuration."
                    .into(),
            }),
        }
    }
}

/// Names of the prepared statements that the proxy makes on backends begin so.
pub const RESERVED_PREFIX: &str = "__pgw_";

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

impl Report for Refusal {
    fn fault(&self) -> Fault {
        Fault::Policy
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn sqlstate(&self) -> SqlState {
        self.sqlstate
    }

    fn message(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.message)
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.hint))
    }
}
