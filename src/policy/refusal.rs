//! Refusals: why a statement was not let through, in words that say what to do instead.

use std::borrow::Cow;

use crate::fault::{Fault, Report, Severity, SqlState};

/// Why a statement was not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule's name, one of [`RULES`]: a metric label, and an audit field.
    pub rule: &'static str,
    pub sqlstate: SqlState,
    pub message: Cow<'static, str>,
    pub hint: Cow<'static, str>,
    /// Where in the text, in characters from 1.
    pub position: Option<u32>,
}

/// Every rule by its name, with the SQLSTATEs of its refusals and what it refuses.
pub const RULES: [(&str, &str, &str); 21] = [
    ("no_tenant", "28000", "statements of a user without tenant or role, in a database with tenants"),
    ("unparsed", "42601, 54000, 22021", "texts that the grammar does not accept, or that are too complex to read"),
    ("unknown_statement", "42501", "statements that the grammar knows and the policy does not"),
    ("statement_kind", "42501", "statements whose kind, or the kind of a statement inside, the role does not have"),
    ("explain_analyze", "42501", "EXPLAIN ANALYZE of a statement that writes"),
    ("function", "42501", "functions that are not known to be harmless and not listed"),
    ("sequence", "42501", "sequences whose name the text does not tell, and setval on shared ones"),
    ("setting", "42501", "settings, or values of them, that are not known to be harmless"),
    (
        "context_reset",
        "42501",
        "RESET ALL or DISCARD before other statements of one text, where it drops the tenant's context",
    ),
    ("catalog", "42501", "system catalogs that are not open to tenants, and changes of any"),
    ("schema", "42501", "objects in schemas that are not the tenant's"),
    ("table", "42501", "tables that the role does not list"),
    ("tenant_column", "42501", "UPDATE of the tenant column"),
    ("temporary_object", "42501", "temporary objects under a role that tenants share"),
    ("lock_mode", "42501", "LOCK in modes that stop other tenants"),
    ("snapshot", "42501", "SET TRANSACTION SNAPSHOT"),
    ("advisory_lock", "42501", "advisory locks in a database that tenants share"),
    ("notification", "42501", "LISTEN and NOTIFY in a database that tenants share"),
    ("large_object", "42501", "large objects in a database that tenants share"),
    ("reserved_name", "0A000", "names of prepared statements that are the proxy's own"),
    ("session_state", "0A000", "state that cannot follow a session over server connections"),
];

impl Refusal {
    /// Not allowed here (42501).
    pub(super) fn new(
        rule: &'static str,
        message: impl Into<Cow<'static, str>>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            rule,
            sqlstate: SqlState::INSUFFICIENT_PRIVILEGE,
            message: message.into(),
            hint: hint.into(),
            position: None,
        }
    }

    /// Not possible here (0A000).
    pub(super) fn unsupported(
        rule: &'static str,
        message: impl Into<Cow<'static, str>>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { sqlstate: SqlState::FEATURE_NOT_SUPPORTED, ..Self::new(rule, message, hint) }
    }
}

/// The user has no tenant in a database with tenants, or no role.
pub(super) fn no_tenant() -> Refusal {
    Refusal {
        sqlstate: SqlState::INVALID_AUTHORIZATION,
        ..Refusal::new(
            "no_tenant",
            "this user works as no tenant of this database",
            "Give the user a tenant and a role in pgwarden's configuration.",
        )
    }
}

/// A name for a message: quoted, and no longer than a name may be.
pub(super) fn quoted(name: &str) -> String {
    let mut length = name.len().min(NAME_SHOWN_MAX);
    while !name.is_char_boundary(length) {
        length -= 1;
    }
    format!("\"{}\"", name[..length].replace(char::is_control, "?"))
}

/// A name with its schema, for a message.
pub(super) fn qualified(schema: Option<&str>, name: &str) -> String {
    schema.map_or_else(|| quoted(name), |schema| quoted(&format!("{schema}.{name}")))
}

/// Bytes of a name in a message: two identifiers and a dot.
const NAME_SHOWN_MAX: usize = 127;

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

    fn detail(&self) -> Option<Cow<'_, str>> {
        Some(format!("Refused by pgwarden, rule {}.", self.rule).into())
    }

    fn position(&self) -> Option<u32> {
        self.position
    }

    fn rule(&self) -> Option<&'static str> {
        Some(self.rule)
    }
}
