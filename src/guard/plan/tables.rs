//! Row security, defaults and grants, relation by relation.

use super::{Planner, Undo};
use crate::guard::catalog::{Policy, Relation};
use crate::guard::quote::{grantee, ident};
use crate::guard::wall::{EXCESS, GRANTED, Judgement, POLICY};

impl Planner<'_> {
    pub(super) fn relations(&mut self) {
        let snapshot = self.snapshot;
        for schema in &self.wall.tenancy.schemas {
            match snapshot.schemas.iter().find(|found| found.name == **schema) {
                None => self.leave(schema.to_string(), "there is no such schema"),
                Some(found) if found.usage => {}
                Some(_) => {
                    let (schema, user) = (ident(schema), ident(self.wall.user()));
                    let sql = format!("GRANT USAGE ON SCHEMA {schema} TO {user}");
                    self.change(
                        "names in the shared schema",
                        sql,
                        format!("REVOKE USAGE ON SCHEMA {schema} FROM {user}"),
                    );
                }
            }
        }
        for relation in &snapshot.relations {
            let covered = self.wall.covers(&relation.schema);
            let has_tenant = relation.column(self.wall.column()).is_some();
            match relation.kind {
                'S' => {}
                _ if !covered && !relation.reachable() => {}
                _ if relation.of_extension && !relation.reachable() => {}
                _ if !relation.mine => {
                    let why = format!("is owned by {}: run as that role or as a superuser", relation.owner);
                    self.leave(relation.label(), why);
                }
                'r' | 'p' if has_tenant => self.table_of_tenants(relation),
                'r' | 'p' => self.table_without_tenants(relation),
                'v' => self.view(relation),
                _ => self.without_row_security(relation),
            }
        }
    }

    fn table_of_tenants(&mut self, relation: &Relation) {
        let Some(column) = relation.column(self.wall.column()) else { return };
        if !self.wall.fits(&column.base_type) || !column.deterministic {
            let kind = self.wall.row.key_type.label();
            let why = format!("its tenant column is {}, and the tenants' keys are {kind}", column.type_name);
            self.leave(relation.label(), why);
            return;
        }
        let table = relation.sql();
        if !relation.row_security {
            let sql = format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY");
            self.change_of(relation, "row security", sql, format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"));
        }
        if !relation.forced {
            let sql = format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY");
            self.change_of(
                relation,
                "row security for its owner too",
                sql,
                format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"),
            );
        }
        self.policies(relation);
        // A partition is reached through its parent, whose default and grants hold.
        if !relation.is_partition {
            if column.default.is_none() && !column.generated && !column.identity {
                let of = format!("ALTER TABLE ONLY {table} ALTER COLUMN {}", ident(self.wall.column()));
                let sql = format!("{of} SET DEFAULT {}", self.wall.tenant());
                self.change_of(relation, "new rows are the session's tenant's", sql, format!("{of} DROP DEFAULT"));
            }
            self.grant(relation, &GRANTED);
            self.sequences(relation);
        }
        self.revoke(relation, &EXCESS);
        if !relation.index_heads.iter().any(|head| head == self.wall.column()) && relation.kind == 'r' {
            let why = format!(
                "has no index that leads with {0}: each statement reads all tenants' rows. CREATE INDEX CONCURRENTLY ON {table} ({1})",
                self.wall.column(),
                ident(self.wall.column())
            );
            self.leave(relation.label(), why);
        }
    }

    fn policies(&mut self, relation: &Relation) {
        let table = relation.sql();
        let of_table: Vec<&Policy> =
            self.snapshot.policies.iter().filter(|policy| policy.relation == relation.oid).collect();
        let ours = of_table.iter().find(|policy| policy.name == POLICY);
        let user = self.wall.user().to_owned();
        let keeps = |expression: &Option<String>| {
            expression.as_deref().is_some_and(|expression| self.wall.judge(expression) == Judgement::Keeps)
        };
        let stands = ours.is_some_and(|policy| {
            policy.permissive
                && policy.command == '*'
                && policy.applies
                && policy.roles == [user.clone()]
                && keeps(&policy.using)
                && keeps(&policy.check)
        });
        let condition = self.wall.condition();
        if !stands {
            let mut sql = Vec::new();
            let drop = format!("DROP POLICY IF EXISTS {POLICY} ON {table}");
            if ours.is_some() {
                sql.push(drop.clone());
            }
            sql.push(format!(
                "CREATE POLICY {POLICY} ON {table} TO {} USING ({condition}) WITH CHECK ({condition})",
                ident(&user)
            ));
            let undo =
                if ours.is_some() { Vec::new() } else { vec![Undo { relation: Some(table.clone()), sql: drop }] };
            self.add(format!("{}: only the session's tenant's rows", relation.label()), sql, undo);
        }
        let others = of_table.iter().filter(|policy| policy.name != POLICY && policy.permissive && policy.applies);
        for policy in others {
            let closed = [&policy.using, &policy.check].into_iter().all(|side| side.is_none() || keeps(side));
            if !closed {
                let name = &policy.name;
                let why = format!(
                    "policy {name} lets rows through that {POLICY} does not: DROP POLICY {} ON {table}, or make it AS RESTRICTIVE",
                    ident(name)
                );
                self.leave(relation.label(), why);
            }
        }
    }

    /// Tables that every tenant would see whole.
    fn table_without_tenants(&mut self, relation: &Relation) {
        let written = ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"];
        let user = self.wall.user();
        let direct = relation.grants.iter().any(|grant| grant.grantee == user && grant.privilege == "SELECT");
        let refers = self.refers_to_tenants(relation);
        if (self.shares(relation) || direct) && !refers {
            self.revoke(relation, &written);
            if direct {
                let why = format!("has no column {}: every tenant reads every row", self.wall.column());
                self.leave(relation.label(), why);
            } else {
                let (table, user) = (relation.sql(), ident(user));
                let undo = format!("REVOKE SELECT ON {table} FROM {user}");
                self.change_of(relation, "every tenant reads it", format!("GRANT SELECT ON {table} TO {user}"), undo);
            }
            return;
        }
        let every: Vec<&str> = written.into_iter().chain(["SELECT"]).collect();
        self.revoke(relation, &every);
        let why = if refers { "refers to tenants' rows and has no column" } else { "has no column" };
        let hint = if refers { "" } else { " (--shared lets every tenant read it)" };
        self.leave(relation.label(), format!("{why} {}: tenants get no access{hint}", self.wall.column()));
    }

    /// A foreign key leads to a table with the tenant column.
    pub(super) fn refers_to_tenants(&self, relation: &Relation) -> bool {
        self.snapshot.foreign_keys.iter().any(|key| {
            key.relation == relation.oid
                && self.snapshot.relation(key.target).is_some_and(|target| target.column(self.wall.column()).is_some())
        })
    }

    fn view(&mut self, relation: &Relation) {
        let view = relation.sql();
        let snapshot = self.snapshot;
        let protects = |oid: u32| {
            snapshot.relation(oid).is_some_and(|read| {
                read.kind != 'S'
                    && (read.row_security || (!read.is_view() && read.column(self.wall.column()).is_some()))
            })
        };
        if !snapshot.view_reads(relation.oid, &protects) {
            if relation.reachable() {
                self.leave(
                    relation.label(),
                    "a view of tables without tenants: every tenant sees it whole, as it was before",
                );
            }
            return;
        }
        if snapshot.server.version < 150_000 {
            self.revoke(relation, &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]);
            self.leave(relation.label(), "a view sees its owner's rows before PostgreSQL 15: tenants get no access");
            return;
        }
        if !relation.security_invoker {
            let sql = format!("ALTER VIEW {view} SET (security_invoker = true)");
            self.change_of(
                relation,
                "a view sees what its reader may see",
                sql,
                format!("ALTER VIEW {view} RESET (security_invoker)"),
            );
        }
        if self.wall.covers(&relation.schema) {
            self.grant(relation, &["SELECT"]);
        }
        self.revoke(relation, &EXCESS);
    }

    /// Materialized views and foreign tables have no row security.
    fn without_row_security(&mut self, relation: &Relation) {
        if relation.reachable() {
            self.revoke(
                relation,
                &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"],
            );
        }
        let what = if relation.kind == 'm' { "a materialized view" } else { "a foreign table" };
        self.leave(relation.label(), format!("{what} has no row security: tenants get no access"));
    }

    fn grant(&mut self, relation: &Relation, wanted: &[&str]) {
        let missing: Vec<&str> =
            wanted.iter().copied().filter(|wanted| !relation.privileges.iter().any(|held| held == wanted)).collect();
        if missing.is_empty() {
            return;
        }
        let (list, user) = (missing.join(", "), ident(self.wall.user()));
        let (sql, undo) = (
            format!("GRANT {list} ON {} TO {user}", relation.sql()),
            format!("REVOKE {list} ON {} FROM {user}", relation.sql()),
        );
        self.change_of(relation, "what tenants may do", sql, undo);
    }

    /// Takes back what was granted to the role or to PUBLIC of these privileges, and the right to grant on.
    fn revoke(&mut self, relation: &Relation, privileges: &[&str]) {
        let table = relation.sql();
        let excess = |privilege: &str| privileges.contains(&privilege);
        let mut sql = Vec::new();
        let mut undo = Vec::new();
        for grant in &relation.grants {
            let to = grantee(&grant.grantee);
            let column = grant.column.as_ref().map(|column| format!(" ({})", ident(column))).unwrap_or_default();
            let what = format!("{}{column}", grant.privilege);
            let with = if grant.grantable { " WITH GRANT OPTION" } else { "" };
            if excess(&grant.privilege) {
                sql.push(format!("REVOKE {what} ON {table} FROM {to} CASCADE"));
            } else if grant.grantable {
                sql.push(format!("REVOKE GRANT OPTION FOR {what} ON {table} FROM {to} CASCADE"));
            } else {
                continue;
            }
            undo.push(Undo { relation: Some(table.clone()), sql: format!("GRANT {what} ON {table} TO {to}{with}") });
        }
        if !sql.is_empty() {
            self.add(format!("{}: what tenants may not do", relation.label()), sql, undo);
        } else if relation.privileges.iter().any(|held| excess(held)) {
            let why =
                format!("{} has {} by other ways than a grant of its own", self.wall.user(), privileges.join(", "));
            self.leave(relation.label(), why);
        }
    }

    /// Sequences that give a table's columns their defaults: numbers may be taken, not set. Those of identity columns need
    /// no grant.
    fn sequences(&mut self, relation: &Relation) {
        for oid in &relation.default_sequences {
            let Some(sequence) = self.snapshot.relation(*oid).filter(|sequence| sequence.mine) else { continue };
            let (name, user) = (sequence.sql(), ident(self.wall.user()));
            if !sequence.of_identity && !sequence.may("USAGE") {
                let (sql, undo) = (
                    format!("GRANT USAGE ON SEQUENCE {name} TO {user}"),
                    format!("REVOKE USAGE ON SEQUENCE {name} FROM {user}"),
                );
                self.change_of(sequence, "numbers for new rows", sql, undo);
            }
            let set: Vec<String> = sequence
                .grants
                .iter()
                .filter(|grant| grant.privilege == "UPDATE")
                .map(|grant| grantee(&grant.grantee))
                .collect();
            if !set.is_empty() {
                let (sql, undo) = (
                    format!("REVOKE UPDATE ON SEQUENCE {name} FROM {}", set.join(", ")),
                    format!("GRANT UPDATE ON SEQUENCE {name} TO {}", set.join(", ")),
                );
                self.change_of(sequence, "tenants do not set it", sql, undo);
            }
        }
    }
}
