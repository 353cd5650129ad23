//! The schema `pgwarden`: the journal, and the sealed context with its keys.

use super::{Change, Planner, Statement, Undo};
use crate::config::{ContextKind, SealKey};
use crate::guard::catalog::{SealedFunction, SealedRelation};
use crate::guard::quote::{ident, literal};
use crate::guard::seal::{self, OWNER, SCHEMA};
use crate::tenant::KeyType;

/// The way back, statement by statement.
const CREATE_JOURNAL: &str = "CREATE TABLE pgwarden.journal (step bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
                              relation text, undo text NOT NULL)";

impl Planner<'_> {
    pub(super) fn objects(&mut self) {
        let snapshot = self.snapshot;
        let user = ident(self.wall.user());
        match snapshot.sealed.schema_owner.as_deref() {
            None => {
                let sql = format!("CREATE SCHEMA {SCHEMA} AUTHORIZATION {OWNER}");
                let undo = "DO $pgwarden$ BEGIN DROP SCHEMA IF EXISTS pgwarden; EXCEPTION WHEN dependent_objects_still_exist \
                            THEN RAISE NOTICE 'the schema pgwarden holds objects of others'; END $pgwarden$";
                self.change("a schema for what is pgwarden's", sql, undo);
            }
            Some(OWNER) => {}
            Some(other) => {
                let sql = format!("ALTER SCHEMA {SCHEMA} OWNER TO {OWNER}");
                let undo = format!("ALTER SCHEMA {SCHEMA} OWNER TO {}", ident(other));
                self.change(format!("the schema pgwarden is not {other}'s"), sql, undo);
            }
        }
        self.own(
            "the way back, for protect --undo",
            !self.has("journal"),
            CREATE_JOURNAL,
            "DROP TABLE IF EXISTS pgwarden.journal",
        );
        let ContextKind::Sealed(keys) = &self.wall.row.context else { return };
        let kind = self.wall.row.key_type;
        let usage = snapshot.schemas.iter().any(|schema| schema.name == SCHEMA && schema.usage && !schema.create);
        if !usage {
            let sql =
                format!("REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC, {user}; GRANT USAGE ON SCHEMA {SCHEMA} TO {user}");
            self.own("who may name what is in the schema pgwarden", true, &sql, "");
        }
        for name in seal::sequences(kind) {
            let fits = |found: &SealedRelation| found.unlogged && found.privileges.is_empty() && found.owner == OWNER;
            let found = self.found(name).map(fits);
            let sql = match found {
                Some(true) => continue,
                Some(false) => {
                    format!(
                        "ALTER SEQUENCE {SCHEMA}.{name} SET UNLOGGED; REVOKE ALL ON SEQUENCE {SCHEMA}.{name} FROM PUBLIC, {user}"
                    )
                }
                None => format!("{}; REVOKE ALL ON SEQUENCE {SCHEMA}.{name} FROM PUBLIC", seal::create_sequence(name)),
            };
            self.own(
                &format!("state of a session: {name}"),
                true,
                &sql,
                &format!("DROP SEQUENCE IF EXISTS {SCHEMA}.{name}"),
            );
        }
        self.table("keys", "keys, which only the owner reads", seal::CREATE_KEYS, &[]);
        self.table("epochs", "which keys there are", seal::CREATE_EPOCHS, &["SELECT"]);
        if kind == KeyType::Text {
            self.table("names", "tenants' keys by a number", seal::CREATE_NAMES, &[]);
        }
        for function in seal::functions(kind) {
            let signature = function.signature();
            let found = snapshot.sealed.functions.iter().find(|found| found.name == function.name);
            if found.is_some_and(|found| is_same(found, &function)) {
                continue;
            }
            let other =
                found.filter(|found| found.returns != function.returns || found.arguments != function.arguments);
            let drop =
                other.map(|found| format!("DROP FUNCTION {SCHEMA}.{}({}) CASCADE; ", found.name, found.arguments));
            let sql = format!(
                "{}{}; REVOKE ALL ON FUNCTION {signature} FROM PUBLIC; GRANT EXECUTE ON FUNCTION {signature} TO {user}",
                drop.unwrap_or_default(),
                function.create()
            );
            let undo = format!("DROP FUNCTION IF EXISTS {signature}");
            self.own(&format!("function {signature}"), true, &sql, if found.is_some() { "" } else { &undo });
        }
        self.keys(keys);
    }

    fn found(&self, name: &str) -> Option<&SealedRelation> {
        self.snapshot.sealed.relations.iter().find(|relation| relation.name == name)
    }

    fn has(&self, name: &str) -> bool {
        self.found(name).is_some()
    }

    fn table(&mut self, name: &str, what: &str, create: &str, privileges: &[&str]) {
        let user = ident(self.wall.user());
        let grant = match privileges {
            [] => String::new(),
            some => format!("; GRANT {} ON {SCHEMA}.{name} TO {user}", some.join(", ")),
        };
        let revoke = format!("REVOKE ALL ON {SCHEMA}.{name} FROM PUBLIC, {user}{grant}");
        match self.found(name).map(|found| found.privileges == privileges && found.owner == OWNER) {
            Some(true) => {}
            Some(false) => self.own(&format!("grants on {SCHEMA}.{name}"), true, &revoke, ""),
            None => {
                self.own(what, true, &format!("{create}; {revoke}"), &format!("DROP TABLE IF EXISTS {SCHEMA}.{name}"))
            }
        }
    }

    /// A step in the schema, run as its owner; without `undo` where another step's takes it back.
    fn own(&mut self, what: &str, needed: bool, sql: &str, undo: &str) {
        if needed {
            let undo = if undo.is_empty() { Vec::new() } else { vec![Undo { relation: None, sql: undo.to_owned() }] };
            let sql = vec![Statement::Plain(sql.to_owned())];
            self.plan.changes.push(Change { what: what.to_owned(), sql, undo, as_owner: true });
        }
    }

    /// Keys of the file and of no other.
    fn keys(&mut self, keys: &[SealKey]) {
        let known = self.snapshot.sealed.epochs.clone();
        if known.is_none() && self.has("epochs") {
            self.leave(
                "pgwarden.epochs",
                "cannot be read by the role that plans: run as the shared role, its owner or a superuser",
            );
            return;
        }
        let known = known.unwrap_or_default();
        for stale in known.iter().filter(|known| keys.iter().all(|key| key.epoch != known.epoch)) {
            let epoch = stale.epoch;
            let sql = format!(
                "DELETE FROM pgwarden.keys WHERE epoch = {epoch}; DELETE FROM pgwarden.epochs WHERE epoch = {epoch}"
            );
            self.own(&format!("key of epoch {epoch}: no longer in keys_file"), true, &sql, "");
        }
        for key in keys {
            let (epoch, print) = (key.epoch, seal::fingerprint(key));
            if known.iter().any(|known| known.epoch == epoch && known.fingerprint == print) {
                continue;
            }
            let (inner, outer) = seal::pads(key);
            let sql = format!(
                "INSERT INTO pgwarden.keys (epoch, ipad, opad) VALUES ({epoch}, '\\x{inner}', '\\x{outer}') \
                 ON CONFLICT (epoch) DO UPDATE SET ipad = excluded.ipad, opad = excluded.opad; \
                 INSERT INTO pgwarden.epochs (epoch, fingerprint) VALUES ({epoch}, {}) \
                 ON CONFLICT (epoch) DO UPDATE SET fingerprint = excluded.fingerprint",
                literal(&print)
            );
            let shown = format!("-- the key of epoch {epoch} is not shown: run with --apply, or print with --show-key");
            self.plan.changes.push(Change {
                what: format!("key of epoch {epoch}"),
                sql: vec![Statement::Secret { sql, shown }],
                undo: Vec::new(),
                as_owner: true,
            });
        }
    }
}

/// The function is there as this version writes it, and callable by the shared role and not by PUBLIC.
pub fn is_same(found: &SealedFunction, wanted: &seal::Function) -> bool {
    found.arguments == wanted.arguments
        && found.returns == wanted.returns
        && found.owner == OWNER
        && found.language == "plpgsql"
        && found.volatility == wanted.volatility
        && found.parallel == wanted.parallel
        && !found.strict
        && found.definer
        && found.config.iter().map(String::as_str).eq(wanted.path)
        && found.body == wanted.body
        && found.executable
        && !found.by_public
}
