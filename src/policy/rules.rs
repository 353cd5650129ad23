//! Rules as they are compiled, and the verdict on a text: statement by statement, the first rule that refuses decides.

use std::collections::HashSet;
use std::sync::Arc;

use super::catalog;
use super::kinds::{self, Ground};
use super::names::Names;
use super::refusal::{self, Refusal, qualified, quoted};
use super::state::{self, RESERVED_PREFIX};
use crate::config::{ContextKind, Isolation, Role, SessionState, Tenancy, TenantPlace};
use crate::fault::SqlState;
use crate::sql::{
    Access, Analysis, Assigning, DiscardTarget, Effect, Failure, LockMode, Relation, RelationUsage, Statement,
    StatementKind,
};

/// What is compiled for one key of a policy.
#[derive(Debug)]
pub(super) struct Rules {
    /// Unique in the process.
    pub id: u64,
    pub session_state: SessionState,
    pub scope: Scope,
}

#[derive(Debug)]
pub(super) enum Scope {
    /// A database without tenants.
    Open,
    /// One with tenants, and a user without a tenant or a role.
    Closed,
    Tenant(Box<TenantRules>),
}

/// What a role may do as a tenant.
#[derive(Debug)]
pub(super) struct TenantRules {
    pub kept: Kept,
    pub role: Arc<str>,
    pub kinds: HashSet<StatementKind>,
    /// Schemas that are the tenant's, in the order of its path; not used where it has a database.
    pub home: Vec<Arc<str>>,
    pub tables: Option<Names>,
    pub functions: Names,
}

/// How tenants are kept apart.
#[derive(Debug, PartialEq)]
pub(super) enum Kept {
    Row { context: ContextKind, column: Arc<str> },
    Schema,
    Database,
}

/// The schema of the proxy's own objects.
pub(super) const OWN_SCHEMA: &str = "pgwarden";

impl Rules {
    pub(super) fn judge(&self, analysis: &Analysis) -> Result<(), Refusal> {
        match &self.scope {
            Scope::Open if analysis.summary.is_plain() => return Ok(()),
            Scope::Open => {}
            Scope::Closed => return Err(refusal::no_tenant()),
            Scope::Tenant(rules) => rules.judge(analysis)?,
        }
        state::judge(self.session_state, analysis)
    }
}

impl Scope {
    /// The rules of a tenant. A tenant whose place is of another kind than its database is none.
    pub(super) fn of_tenant(tenancy: &Tenancy, role: &Role, place: &TenantPlace) -> Self {
        let (kept, home, ground) = match (&tenancy.isolation, place) {
            (Isolation::Row(row), TenantPlace::Row { .. }) => {
                let kept = Kept::Row { context: row.context.clone(), column: row.column.clone() };
                (kept, tenancy.schemas.clone(), Ground::Shared)
            }
            (Isolation::Schema, TenantPlace::Schema { schema, .. }) => {
                (Kept::Schema, vec![schema.clone()], Ground::OwnRole)
            }
            (Isolation::Database, TenantPlace::Database { .. }) => {
                (Kept::Database, tenancy.schemas.clone(), Ground::OwnDatabase)
            }
            (Isolation::Row(_) | Isolation::Schema | Isolation::Database, _) => return Self::Closed,
        };
        Self::Tenant(Box::new(TenantRules {
            kept,
            role: role.name.clone(),
            kinds: kinds::of_role(role, ground),
            home,
            tables: role.tables.as_ref().map(Names::new),
            functions: Names::new(tenancy.functions.iter().chain(&role.functions)),
        }))
    }
}

impl TenantRules {
    fn judge(&self, analysis: &Analysis) -> Result<(), Refusal> {
        if let Some(failure) = &analysis.failure {
            return Err(unparsed(failure));
        }
        for statement in &analysis.statements {
            self.statement(statement)?;
        }
        let begins = |statement: &Statement| {
            matches!(statement.kind, StatementKind::Begin | StatementKind::CommitChain | StatementKind::RollbackChain)
        };
        // In a transaction that the text leaves open, its last statement is before others too.
        let before_others = match analysis.statements.split_last() {
            Some((_, others)) if !others.iter().any(begins) => others,
            Some(_) => &analysis.statements[..],
            None => &[],
        };
        before_others.iter().try_for_each(|statement| self.keeps_context(statement))
    }

    fn statement(&self, statement: &Statement) -> Result<(), Refusal> {
        self.kind(statement)?;
        self.effects(statement)?;
        for setting in &statement.facts.settings {
            let name = setting.name.as_deref().ok_or_else(Self::setting_unknown)?;
            self.setting(name, &setting.value)?;
        }
        for relation in &statement.relations {
            self.relation(relation)?;
        }
        for schema in &statement.facts.schemas {
            self.schema(schema)?;
        }
        for name in &statement.functions {
            self.function(name, statement)?;
        }
        self.columns(statement)?;
        self.modes(statement)
    }

    /// The statement's kind, and those of what is inside it.
    fn kind(&self, statement: &Statement) -> Result<(), Refusal> {
        if statement.kind == StatementKind::Unknown || statement.facts.inner.contains(&StatementKind::Unknown) {
            return Err(Refusal::new(
                "unknown_statement",
                "this statement is not known to the policy",
                "Use another statement; every kind that can be allowed is in the reference of the configuration.",
            ));
        }
        let kinds = std::iter::once(&statement.kind).chain(&statement.facts.inner);
        if let Some(kind) = kinds.into_iter().find(|kind| !self.kinds.contains(kind)) {
            return Err(self.kind_refused(*kind));
        }
        if statement.facts.locks_rows && !self.kinds.contains(&StatementKind::Update) {
            return Err(Refusal::new(
                "statement_kind",
                format!("row locks (FOR UPDATE, FOR SHARE) are not allowed for role {}", quoted(&self.role)),
                "Read without the lock, or use a role that may update.",
            ));
        }
        if statement.kind == StatementKind::ExplainAnalyze && statement.access == Access::Write {
            return Err(Refusal::new(
                "explain_analyze",
                "EXPLAIN ANALYZE runs the statement, and this one may write",
                "Use EXPLAIN without ANALYZE.",
            ));
        }
        Ok(())
    }

    fn kind_refused(&self, kind: StatementKind) -> Refusal {
        use StatementKind as Kind;
        let shared = self.kept != Kept::Database;
        let hint = match kind {
            Kind::Listen | Kind::Unlisten | Kind::Notify if shared => {
                return Refusal::new(
                    "notification",
                    "notifications reach every tenant of this database",
                    "Use a queue outside the database, or poll a table.",
                );
            }
            Kind::SetRole | Kind::SetSessionAuthorization => "The role is known from the login; remove the statement.",
            Kind::CopyFile | Kind::CopyProgram => "Use COPY FROM STDIN or COPY TO STDOUT.",
            Kind::Do => "Send the statements themselves, or have a function made and listed for tenants.",
            Kind::PrepareTransaction | Kind::CommitPrepared | Kind::RollbackPrepared => {
                "Use a transaction without two phases."
            }
            _ => "Use a role that has this kind, or add it to the role's allow list in pgwarden's configuration.",
        };
        let message =
            format!("statements of kind {} are not allowed for role {}", quoted(kind.label()), quoted(&self.role));
        Refusal::new("statement_kind", message, hint)
    }

    fn effects(&self, statement: &Statement) -> Result<(), Refusal> {
        for effect in &statement.effects {
            match effect {
                Effect::TempObject if matches!(self.kept, Kept::Row { .. }) => {
                    return Err(Refusal::new(
                        "temporary_object",
                        "temporary objects are not possible where tenants share a role",
                        "Use a WITH clause, or a table of the application's own.",
                    ));
                }
                Effect::Execute { name, .. } | Effect::Deallocate { name, .. } if name.starts_with(RESERVED_PREFIX) => {
                    return Err(state::reserved_name());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn relation(&self, relation: &Relation) -> Result<(), Refusal> {
        let Relation { schema, name, usage } = relation;
        match schema.as_deref() {
            Some("pg_catalog") => catalog_relation(relation, catalog::is_open(name)),
            Some("information_schema") => catalog_relation(relation, catalog::is_open_information(name)),
            // pg_catalog comes first on every path, and what it may get in later versions begins so.
            None if name.starts_with("pg_") => catalog_relation(relation, catalog::is_open(name)),
            Some(schema) => {
                self.schema(schema)?;
                if *usage != RelationUsage::Name && name.starts_with("pg_") && !self.lists(Some(schema), name) {
                    return Err(catalog_refused(Some(schema), name));
                }
                self.table(Some(schema), name, *usage)
            }
            None => self.table(None, name, *usage),
        }
    }

    fn table(&self, schema: Option<&str>, name: &str, usage: RelationUsage) -> Result<(), Refusal> {
        if usage == RelationUsage::Name || self.tables.is_none() || self.lists(schema, name) {
            return Ok(());
        }
        Err(Refusal::new(
            "table",
            format!("table {} is not open to role {}", qualified(schema, name), quoted(&self.role)),
            "Add it to the role's tables in pgwarden's configuration, or use another role.",
        ))
    }

    /// The role lists this relation by name.
    fn lists(&self, schema: Option<&str>, name: &str) -> bool {
        self.tables.as_ref().is_some_and(|tables| match schema {
            Some(schema) => tables.qualified(schema, name, &self.home),
            // Only the first schema of the path surely has it: a table of the same name there would hide the one that is listed.
            None => tables.unqualified(name, self.home.first()),
        })
    }

    pub(super) fn schema(&self, schema: &str) -> Result<(), Refusal> {
        let system = schema == OWN_SCHEMA || schema.starts_with("pg_toast");
        let temporary = schema.starts_with("pg_temp") && !matches!(self.kept, Kept::Row { .. });
        let open = matches!(schema, "pg_catalog" | "information_schema") || temporary;
        let own = match self.kept {
            Kept::Database => !schema.starts_with("pg_"),
            Kept::Row { .. } | Kept::Schema => self.home.iter().any(|home| **home == *schema),
        };
        if !system && (open || own) {
            return Ok(());
        }
        Err(Refusal::new(
            "schema",
            format!("schema {} is not open to this tenant", quoted(schema)),
            match self.kept {
                Kept::Database => "Name an object in a schema of the tenant's own database.",
                Kept::Row { .. } | Kept::Schema => "Name an object without a schema, or in a schema of the tenant's.",
            },
        ))
    }

    /// The tenant column keeps its value.
    fn columns(&self, statement: &Statement) -> Result<(), Refusal> {
        let Kept::Row { column, .. } = &self.kept else { return Ok(()) };
        let updates = statement.facts.assignments.iter().filter(|assignment| assignment.by == Assigning::Update);
        for assignment in updates {
            if assignment.columns.iter().any(|assigned| **assigned == **column) {
                let table = qualified(assignment.schema.as_deref(), &assignment.name);
                return Err(Refusal::new(
                    "tenant_column",
                    format!("column {} of {table} tells whose row it is and cannot be updated", quoted(column)),
                    "Leave the column out of SET; a row stays with its tenant.",
                ));
            }
        }
        Ok(())
    }

    fn modes(&self, statement: &Statement) -> Result<(), Refusal> {
        let shared = matches!(self.kept, Kept::Row { .. });
        let weak = statement.facts.lock_mode.is_some_and(|mode| mode <= LockMode::RowExclusive);
        if statement.kind == StatementKind::Lock && shared && !weak {
            return Err(Refusal::new(
                "lock_mode",
                "this lock mode stops other tenants",
                "Use ACCESS SHARE, ROW SHARE or ROW EXCLUSIVE mode, or lock rows with SELECT ... FOR UPDATE.",
            ));
        }
        let mut options = statement.facts.options.iter();
        if statement.kind == StatementKind::SetTransaction && options.any(|(name, _)| name == "snapshot") {
            return Err(Refusal::new(
                "snapshot",
                "snapshots of other sessions cannot be taken over",
                "Read in one transaction with isolation level repeatable read.",
            ));
        }
        Ok(())
    }

    /// A statement before others of a text leaves the context as it is: nothing can be set anew between them.
    fn keeps_context(&self, statement: &Statement) -> Result<(), Refusal> {
        let Kept::Row { context, .. } = &self.kept else { return Ok(()) };
        let drops = |effect: &Effect| {
            matches!(
                (effect, context),
                (Effect::DiscardAll, _)
                    | (Effect::ResetAll, ContextKind::Setting(_))
                    | (Effect::Discard(DiscardTarget::Sequences), ContextKind::Sealed(_))
            )
        };
        if !statement.effects.iter().any(drops) {
            return Ok(());
        }
        Err(Refusal::new(
            "context_reset",
            "this statement drops the tenant's context and must be the last one of its text",
            "Send it alone, or at the end.",
        ))
    }
}

/// A relation of the system: it may be read where it is open, and named.
fn catalog_relation(relation: &Relation, open: bool) -> Result<(), Refusal> {
    match relation.usage {
        RelationUsage::Name => Ok(()),
        RelationUsage::Read if open => Ok(()),
        RelationUsage::Read => Err(catalog_refused(relation.schema.as_deref(), &relation.name)),
        RelationUsage::Insert
        | RelationUsage::Update
        | RelationUsage::Delete
        | RelationUsage::Merge
        | RelationUsage::Lock
        | RelationUsage::Define => Err(Refusal::new(
            "catalog",
            format!("system catalog {} can only be read", qualified(relation.schema.as_deref(), &relation.name)),
            "Use the statement for the purpose, such as SET in place of an UPDATE of pg_settings.",
        )),
    }
}

fn catalog_refused(schema: Option<&str>, name: &str) -> Refusal {
    Refusal::new(
        "catalog",
        format!("system catalog {} is not open to tenants", qualified(schema, name)),
        "Use information_schema, or ask the operator; a table of the application whose name begins with pg_ must be in the \
         role's tables.",
    )
}

/// Under tenancy nothing is forwarded that was not understood.
fn unparsed(failure: &Failure) -> Refusal {
    let refusal =
        |sqlstate, message: String, hint: &'static str| Refusal { sqlstate, ..Refusal::new("unparsed", message, hint) };
    match failure {
        Failure::Syntax { message, position } => Refusal {
            position: *position,
            ..refusal(
                SqlState::SYNTAX_ERROR,
                message.clone(),
                "The text is not SQL of PostgreSQL's grammar; correct it.",
            )
        },
        Failure::TooComplex => refusal(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "the statement is too long or too deeply nested to be read".to_owned(),
            "Split it, or send its values as parameters.",
        ),
        Failure::Encoding => refusal(
            SqlState(*b"22021"),
            "the statement is not valid UTF-8".to_owned(),
            "Send UTF-8 without zero bytes.",
        ),
    }
}
