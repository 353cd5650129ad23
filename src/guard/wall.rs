//! What the wall of a database with row isolation is to be like: the configuration, as SQL.

use std::sync::Arc;

use super::client::GuardError;
use super::expression::{self, Test};
use super::quote::{ident, literal};
use super::seal;
use crate::config::{ContextKind, Database, Isolation, RowIsolation, Tenancy};
use crate::tenant::KeyType;

/// The name of the policy on every protected table.
pub const POLICY: &str = "pgwarden_tenant";

/// Privileges that no tenant's role has on a table: they are not under row security, or lead around it.
pub const EXCESS: [&str; 4] = ["TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"];

/// Privileges that the shared role has on a protected table.
pub const GRANTED: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// A database's tenancy of the kind that this module is about.
#[derive(Debug, Clone)]
pub struct Wall {
    pub tenancy: Arc<Tenancy>,
    pub row: RowIsolation,
}

impl Wall {
    /// The wall that a database's configuration asks for.
    ///
    /// # Errors
    /// The database has no tenants, or keeps them apart by schema or database.
    pub fn of(database: &Database) -> Result<Self, GuardError> {
        let name = &database.name;
        let Some(tenancy) = &database.tenancy else {
            return Err(GuardError::Unfit(format!("database {name} has no tenancy in the configuration")));
        };
        match &tenancy.isolation {
            Isolation::Row(row) => Ok(Self { tenancy: tenancy.clone(), row: row.clone() }),
            Isolation::Schema | Isolation::Database => Err(GuardError::Unfit(format!(
                "the tenants of database {name} have roles of their own: there are no shared tables to protect"
            ))),
        }
    }

    pub fn user(&self) -> &str {
        &self.row.login.user
    }

    pub fn column(&self) -> &str {
        &self.row.column
    }

    pub fn is_sealed(&self) -> bool {
        match self.row.context {
            ContextKind::Sealed(_) => true,
            ContextKind::Setting(_) => false,
        }
    }

    /// A schema whose tables the tenants share.
    pub fn covers(&self, schema: &str) -> bool {
        self.tenancy.schemas.iter().any(|covered| **covered == *schema)
    }

    /// The tenant of the session, in SQL: an error or NULL where there is none.
    pub fn tenant(&self) -> String {
        match &self.row.context {
            ContextKind::Sealed(_) => format!("{}.tenant()", seal::SCHEMA),
            ContextKind::Setting(name) => {
                format!("NULLIF(pg_catalog.current_setting({}, true), '')::{}", literal(name), self.row.key_type.sql())
            }
        }
    }

    /// What a row must fulfil to be seen or written.
    pub fn condition(&self) -> String {
        format!("{} OPERATOR(pg_catalog.=) (SELECT {})", ident(self.column()), self.tenant())
    }

    /// Whether a tenant column of this type (under all domains) can hold this tenancy's keys and nothing else.
    pub fn fits(&self, base_type: &str) -> bool {
        match self.row.key_type {
            KeyType::Int => base_type == "integer",
            KeyType::Bigint => base_type == "bigint",
            KeyType::Uuid => base_type == "uuid",
            KeyType::Text => matches!(base_type, "text" | "character varying"),
        }
    }

    /// What a policy's expression does with rows of other tenants, as far as its structure tells.
    pub fn judge(&self, expression: &str) -> Judgement {
        match (expression::test(expression, self.column()), &self.row.context) {
            (Test::Seal, ContextKind::Sealed(_)) => Judgement::Keeps,
            (Test::Value { closed: true, settings, .. }, ContextKind::Setting(name))
                if settings == [name.to_string()] =>
            {
                Judgement::Keeps
            }
            (Test::Value { sql, settings, .. }, ContextKind::Setting(name)) => {
                let others = settings.iter().any(|setting| **setting != **name);
                if others { Judgement::Opens } else { Judgement::Try { value: sql } }
            }
            (Test::Seal, ContextKind::Setting(_)) | (Test::Value { .. }, ContextKind::Sealed(_)) | (Test::Other, _) => {
                Judgement::Opens
            }
        }
    }

    /// Whether the configuration lists a function as one that tenants may call.
    pub fn lists(&self, schema: &str, name: &str) -> bool {
        self.tenancy.functions.iter().any(|listed| match listed.split_once('.') {
            Some((in_schema, listed)) => in_schema == schema && listed == name,
            None => **listed == *name && self.covers(schema),
        })
    }
}

/// What a policy's expression does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Only rows of the session's tenant pass, and none where there is no tenant.
    Keeps,
    /// Only rows of one tenant pass: of this value, which must be tried without a tenant.
    Try { value: String },
    /// Other rows may pass.
    Opens,
}
