//! Tables, partitions, views and their policies, one by one.

use super::Doctor;
use super::trial::Try;
use crate::guard::catalog::{Policy, Relation};
use crate::guard::quote::ident;
use crate::guard::report::PROTECT;
use crate::guard::wall::{EXCESS, Judgement};

impl Doctor<'_> {
    pub(super) fn tables(&mut self) {
        let column = self.wall.column().to_owned();
        for schema in &self.wall.tenancy.schemas {
            if !self.snapshot.schemas.iter().any(|found| found.name == **schema && found.usage) {
                self.report.hole("schema", schema, "there is no such schema, or tenants may not use it", PROTECT);
            }
        }
        for relation in &self.snapshot.relations {
            let covered = self.wall.covers(&relation.schema);
            let before = self.report.findings.len();
            let has_tenant = relation.column(&column).is_some();
            match relation.kind {
                'S' => self.sequence(relation),
                _ if !covered && !relation.reachable() => continue,
                'r' | 'p' if has_tenant => self.table(relation),
                'r' | 'p' => self.without_tenants(relation),
                'v' => self.view(relation),
                _ if relation.reachable() => {
                    let fix = format!("REVOKE ALL ON {} FROM PUBLIC, {}", relation.sql(), ident(self.wall.user()));
                    let text = if relation.kind == 'm' { "a materialized view" } else { "a foreign table" };
                    self.report.hole(
                        "no_row_security",
                        &relation.label(),
                        format!("{text} has no row security, and tenants may read it"),
                        fix,
                    );
                }
                _ => {}
            }
            let found = &self.report.findings[before..];
            if found.is_empty() && has_tenant && relation.is_table() {
                let text = if relation.is_partition && !relation.reachable() {
                    "row security, forced; reached through its parent"
                } else {
                    "row security, forced; policy, grants, index and keys"
                };
                self.report.pass("table", &relation.label(), text);
            }
        }
        for rule in &self.snapshot.rules {
            let text = format!("rule {} runs with the rights of the table's owner", rule.detail);
            self.report.hole("rules", &rule.name, text, format!("DROP RULE {} ON {}", ident(&rule.detail), rule.name));
        }
    }

    fn table(&mut self, relation: &Relation) {
        let (label, table, user) = (relation.label(), relation.sql(), ident(self.wall.user()));
        let Some(column) = relation.column(self.wall.column()) else { return };
        if !self.wall.fits(&column.base_type) || !column.deterministic {
            let kind = self.wall.row.key_type.label();
            let text = format!("its tenant column is {}, and the tenants' keys are {kind}", column.type_name);
            self.report.hole(
                "tenant_column_type",
                &label,
                text,
                "change the column's type, or key_type in the configuration",
            );
        }
        if !relation.row_security {
            self.report.hole(
                "row_security_off",
                &label,
                "no row security",
                format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, or: {PROTECT}"),
            );
        }
        if !relation.forced {
            let text = "row security does not hold for its owner, nor for views and functions of the owner's";
            self.report.hole(
                "row_security_not_forced",
                &label,
                text,
                format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY"),
            );
        }
        self.policies(relation);
        let excess: Vec<&str> = EXCESS.into_iter().filter(|privilege| relation.may(privilege)).collect();
        if !excess.is_empty() {
            let list = excess.join(", ");
            let fix = format!("REVOKE {list} ON {table} FROM PUBLIC, {user}");
            self.report.hole("table_privileges", &label, format!("tenants have {list}"), fix);
        }
        if relation.grants.iter().any(|grant| grant.grantable) {
            let fix = format!("REVOKE GRANT OPTION FOR ALL ON {table} FROM {user}");
            self.report.warn("grant_option", &label, "tenants may grant on what they have", fix);
        }
        if relation.kind == 'r' && !relation.index_heads.iter().any(|head| head == self.wall.column()) {
            let text = format!("no index leads with {}: each statement reads all tenants' rows", self.wall.column());
            let fix = format!("CREATE INDEX CONCURRENTLY ON {table} ({})", ident(self.wall.column()));
            self.report.warn("tenant_index", &label, text, fix);
        }
        self.keys(relation);
    }

    fn policies(&mut self, relation: &Relation) {
        if !relation.row_security {
            return;
        }
        let label = relation.label();
        let policies: Vec<&Policy> =
            self.snapshot.policies.iter().filter(|policy| policy.relation == relation.oid && policy.applies).collect();
        if policies.iter().all(|policy| !policy.permissive) {
            self.report.hole(
                "policy_missing",
                &label,
                "no policy for the tenants' role: tenants see no row at all",
                PROTECT,
            );
        }
        for function in self.snapshot.policy_functions.iter().filter(|function| function.relation == relation.oid) {
            if function.volatility == 'i' && policies.iter().any(|policy| policy.name == function.policy) {
                let text = format!(
                    "policy {} calls {}, which is IMMUTABLE: its first answer may stay in a plan",
                    function.policy, function.function
                );
                self.report.hole(
                    "policy_immutable",
                    &label,
                    text,
                    format!("ALTER FUNCTION {} STABLE", function.function),
                );
            }
        }
        let keeps = |policy: &Policy| {
            policy.command == '*' && self.sides(policy).iter().all(|side| self.wall.judge(side) == Judgement::Keeps)
        };
        if policies.iter().any(|policy| !policy.permissive && keeps(policy)) {
            return;
        }
        for policy in policies.iter().filter(|policy| policy.permissive) {
            let opens = self.sides(policy).iter().any(|side| self.wall.judge(side) == Judgement::Opens);
            let missing = matches!(policy.command, 'a') && policy.check.is_none()
                || policy.command != 'a' && policy.using.is_none();
            if opens || missing {
                let text = format!("policy {} lets other rows through than the session's tenant's", policy.name);
                let fix = format!("DROP POLICY {} ON {}; {PROTECT}", ident(&policy.name), relation.sql());
                self.report.hole("policy_open", &label, text, fix);
            }
        }
    }

    /// The expressions of a policy.
    fn sides<'p>(&self, policy: &'p Policy) -> Vec<&'p str> {
        [&policy.using, &policy.check].into_iter().filter_map(|side| side.as_deref()).collect()
    }

    /// Foreign and unique keys that do not know of tenants.
    fn keys(&mut self, relation: &Relation) {
        let (label, column) = (relation.label(), self.wall.column().to_owned());
        for key in self.snapshot.foreign_keys.iter().filter(|key| key.relation == relation.oid) {
            let Some(target) = self.snapshot.relation(key.target).filter(|target| target.column(&column).is_some())
            else {
                continue;
            };
            if key.columns.iter().zip(&key.target_columns).any(|(own, other)| *own == column && *other == column) {
                continue;
            }
            let list = |columns: &[String]| columns.iter().map(|name| ident(name)).collect::<Vec<_>>().join(", ");
            let fix = format!(
                "ALTER TABLE {0} DROP CONSTRAINT {1}, ADD FOREIGN KEY ({4}, {2}) REFERENCES {3} ({4}, {5})",
                relation.sql(),
                ident(&key.name),
                list(&key.columns),
                target.sql(),
                ident(&column),
                list(&key.target_columns)
            );
            if key.cascades {
                let text = format!("foreign key {} cascades over tenants: it does not include {column}", key.name);
                self.report.hole("foreign_key_cascade", &label, text, fix);
            } else {
                let text =
                    format!("foreign key {} leads to other tenants' rows: it does not include {column}", key.name);
                self.report.warn("foreign_key", &label, text, fix);
            }
        }
        for unique in self.snapshot.uniques.iter().filter(|unique| unique.relation == relation.oid) {
            if !unique.columns.contains(&column) {
                let text =
                    format!("unique index {} is over all tenants: a conflict tells of another's row", unique.index);
                let fix = format!("make it lead with {column}");
                self.report.warn("unique_over_tenants", &label, text, fix);
            }
        }
    }

    fn without_tenants(&mut self, relation: &Relation) {
        let (label, table, user) = (relation.label(), relation.sql(), ident(self.wall.user()));
        if !relation.reachable() {
            return;
        }
        let refers = self.snapshot.foreign_keys.iter().any(|key| {
            key.relation == relation.oid
                && self.snapshot.relation(key.target).is_some_and(|target| target.column(self.wall.column()).is_some())
        });
        let written: Vec<&str> = ["INSERT", "UPDATE", "DELETE"]
            .into_iter()
            .chain(EXCESS)
            .filter(|privilege| relation.may(privilege))
            .collect();
        if refers && relation.may("SELECT") {
            let text =
                format!("refers to tenants' rows, has no column {}, and every tenant reads it", self.wall.column());
            self.report.hole("no_tenant_column", &label, text, format!("REVOKE ALL ON {table} FROM PUBLIC, {user}"));
        } else if !written.is_empty() {
            let list = written.join(", ");
            let text = format!("has no column {}, and tenants have {list}", self.wall.column());
            self.report.hole("no_tenant_column", &label, text, format!("REVOKE {list} ON {table} FROM PUBLIC, {user}"));
        } else {
            let text = format!("has no column {}: every tenant reads every row", self.wall.column());
            self.report.warn(
                "shared_table",
                &label,
                text,
                format!("REVOKE SELECT ON {table} FROM PUBLIC, {user}, unless it is meant"),
            );
        }
    }

    fn view(&mut self, relation: &Relation) {
        let snapshot = self.snapshot;
        let column = self.wall.column();
        let protects = |oid: u32| {
            snapshot.relation(oid).is_some_and(|read| {
                read.kind != 'S' && (read.row_security || (!read.is_view() && read.column(column).is_some()))
            })
        };
        if !relation.reachable() || !snapshot.view_reads(relation.oid, &protects) {
            return;
        }
        if !relation.security_invoker {
            let fix = format!("ALTER VIEW {} SET (security_invoker = true)", relation.sql());
            let text = "a view of tenants' rows that sees what its owner sees";
            self.report.hole("view_definer", &relation.label(), text, fix);
        } else {
            self.report.pass("view", &relation.label(), "sees what its reader may see");
        }
    }

    fn sequence(&mut self, relation: &Relation) {
        if relation.may("UPDATE") {
            let fix = format!("REVOKE UPDATE ON SEQUENCE {} FROM PUBLIC, {}", relation.sql(), ident(self.wall.user()));
            self.report.warn("sequence_set", &relation.label(), "a tenant can set this sequence for all", fix);
        }
    }

    /// What only trying tells: tables that a tenant reads, and policies whose value the structure does not settle.
    pub(super) fn tries(&self) -> Vec<Try> {
        let readable = |relation: &&Relation| {
            relation.column(self.wall.column()).is_some()
                && relation.may("SELECT")
                && matches!(relation.kind, 'r' | 'p' | 'v')
        };
        let tries = self.snapshot.relations.iter().filter(readable).map(|relation| {
            let of_table =
                self.snapshot.policies.iter().filter(|policy| policy.relation == relation.oid && policy.applies);
            let mut values = Vec::new();
            for side in of_table.flat_map(|policy| self.sides(policy)) {
                if let Judgement::Try { value } = self.wall.judge(side)
                    && !values.contains(&value)
                {
                    values.push(value);
                }
            }
            Try { label: relation.label(), table: relation.sql(), values }
        });
        tries.collect()
    }
}
