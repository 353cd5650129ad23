//! Which functions a tenant may call: PostgreSQL's own by their class, all others only where they are listed.
//!
//! A name without a schema that PostgreSQL has counts as PostgreSQL's. A list can open one of PostgreSQL's own that is closed
//! only by naming `pg_catalog`, and never `set_config`, whose settings are judged one by one.

use super::refusal::{Refusal, qualified};
use super::rules::{Kept, OWN_SCHEMA, TenantRules};
use crate::sql::functions::{self, Class, Function};
use crate::sql::{Relation, RelationUsage, Statement, StatementKind};

impl TenantRules {
    /// `name`: its parts as written.
    pub(super) fn function(&self, name: &[String], statement: &Statement) -> Result<(), Refusal> {
        let (schema, name) = match name {
            [name] => (None, name.as_str()),
            // The database's name in front can only be that of this database.
            [schema, name] | [_, schema, name] => (Some(schema.as_str()), name.as_str()),
            _ => return Err(unlisted(None, &name.join("."))),
        };
        let builtin = match schema {
            Some(schema) => functions::find(&[schema, name]),
            None => functions::find(&[name]),
        };
        match builtin {
            Some(function) => self.builtin(function, schema, statement),
            None if self.is_listed(schema, name) => Ok(()),
            None => Err(unlisted(schema, name)),
        }
    }

    fn is_listed(&self, schema: Option<&str>, name: &str) -> bool {
        match (schema, &self.kept) {
            (Some(OWN_SCHEMA), Kept::Row { .. }) => name == "tenant",
            (Some(OWN_SCHEMA), Kept::Schema | Kept::Database) => false,
            (Some(schema), _) => self.functions.qualified(schema, name, &self.home),
            (None, _) => self.functions.unqualified(name, &self.home),
        }
    }

    fn builtin(&self, function: Function, schema: Option<&str>, statement: &Statement) -> Result<(), Refusal> {
        let name = function.name;
        let shared = self.kept != Kept::Database;
        let writes = self.kinds.contains(&StatementKind::Insert);
        if function.class != Class::Context && self.functions.has(Some("pg_catalog"), name) {
            return Ok(());
        }
        match function.class {
            // What set_config sets is judged as a setting.
            Class::Harmless | Class::Context => Ok(()),
            Class::Sequence => self.sequence(name, writes, statement),
            // Lets go what the session itself took; drivers send it when they reset a connection.
            Class::AdvisoryLock if name == "pg_advisory_unlock_all" => Ok(()),
            Class::AdvisoryLock if shared => Err(Refusal::new(
                "advisory_lock",
                "advisory locks are shared by all tenants of this database",
                "Lock a row with SELECT ... FOR UPDATE, or have pg_catalog's function listed for tenants whose keys differ.",
            )),
            Class::AdvisoryLock => Ok(()),
            Class::LargeObject if shared || !writes => {
                Err(Refusal::new("large_object", "large objects have no tenant", "Use a column of type bytea."))
            }
            Class::LargeObject => Ok(()),
            Class::Notify if shared || !self.kinds.contains(&StatementKind::Notify) => Err(Refusal::new(
                "notification",
                "notifications reach every tenant of this database",
                "Use a queue outside the database, or poll a table.",
            )),
            Class::Notify => Ok(()),
            Class::Lookup if matches!(self.kept, Kept::Row { .. }) && !of_catalogs_only(statement) => {
                Err(Refusal::new(
                    "function",
                    format!("function {} can only be used in queries of the system catalogs", qualified(schema, name)),
                    "Ask for it in a query of its own, without tables of the application.",
                ))
            }
            Class::Lookup => Ok(()),
            Class::Session
            | Class::RunsSql
            | Class::File
            | Class::Network
            | Class::Admin
            | Class::Activity
            | Class::Internal => Err(closed(function.class, schema, name)),
        }
    }

    fn sequence(&self, name: &str, writes: bool, statement: &Statement) -> Result<(), Refusal> {
        let shared = matches!(self.kept, Kept::Row { .. });
        if name == "setval" && shared {
            return Err(Refusal::new(
                "sequence",
                "setval changes a sequence that all tenants share",
                "Let the sequence count on; its owner can set it.",
            ));
        }
        if !writes && !matches!(name, "currval" | "lastval") {
            return Err(Refusal::new(
                "statement_kind",
                format!("function {} writes, which the role may not", qualified(None, name)),
                "Use a role that may insert.",
            ));
        }
        if statement.facts.computed_sequence && self.kept != Kept::Database {
            return Err(Refusal::new(
                "sequence",
                "a sequence must be named by a literal",
                "Write the sequence's name into the statement, or use pg_get_serial_sequence with literals.",
            ));
        }
        Ok(())
    }
}

/// Every relation that is read or written is one of the system's.
fn of_catalogs_only(statement: &Statement) -> bool {
    let touched = statement.relations.iter().filter(|relation| relation.usage != RelationUsage::Name);
    touched.into_iter().all(|Relation { schema, name, .. }| match schema.as_deref() {
        Some("pg_catalog" | "information_schema") => true,
        Some(_) => false,
        None => name.starts_with("pg_"),
    })
}

fn unlisted(schema: Option<&str>, name: &str) -> Refusal {
    let shown = qualified(schema, name);
    Refusal::new(
        "function",
        format!("function {shown} is not listed for tenants"),
        "Add it to the functions of the database's tenancy, or of the role, in pgwarden's configuration.",
    )
}

fn closed(class: Class, schema: Option<&str>, name: &str) -> Refusal {
    let does = match class {
        Class::Session => "changes the session beyond its settings",
        Class::RunsSql => "runs SQL that it is given as text",
        Class::File => "reads or writes files of the server",
        Class::Network => "opens connections from the server",
        Class::Admin => "acts on the whole server",
        Class::Activity => "shows what others do",
        Class::Internal => "is for the server's own use",
        Class::Harmless
        | Class::Context
        | Class::AdvisoryLock
        | Class::Sequence
        | Class::LargeObject
        | Class::Notify
        | Class::Lookup => "is not open to tenants",
    };
    Refusal::new(
        "function",
        format!("function {} {does}", qualified(schema, name)),
        "Use a statement that does the same by itself, or ask the operator to do it.",
    )
}
