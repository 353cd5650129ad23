//! What a shared role reaches beside tables: functions, the database, built-ins that show or touch other sessions.

use std::collections::{BTreeMap, BTreeSet};

use super::{Planner, Undo};
use crate::guard::catalog::SharedFacility;
use crate::guard::quote::{grantee, ident};

/// The family that not even a table's owner is given.
const FILES: &str = "files of the server";

impl Planner<'_> {
    /// Functions that run with their owner's rights see every tenant's rows.
    pub(super) fn functions(&mut self) {
        for function in &self.snapshot.functions {
            // The plan itself gives the role USAGE of the shared schemas.
            let nameable = function.nameable || self.wall.covers(&function.schema);
            let escapes = function.definer && function.executable && nameable && !function.is_trigger;
            if !escapes || self.wall.lists(&function.schema, &function.name) {
                continue;
            }
            let signature = &function.signature;
            if !function.mine || function.grantees.is_empty() {
                let owner = &function.owner;
                let why = format!(
                    "runs with the rights of {owner} and tenants may call it: run as {owner} or as a superuser"
                );
                self.leave(signature.clone(), why);
                continue;
            }
            let from = list(function.grantees.iter().map(String::as_str));
            let (sql, undo) = (
                format!("REVOKE EXECUTE ON ROUTINE {signature} FROM {from} CASCADE"),
                format!("GRANT EXECUTE ON ROUTINE {signature} TO {from}"),
            );
            let undo = format!(
                "DO $pgwarden$ BEGIN {undo}; EXCEPTION WHEN undefined_function THEN RAISE NOTICE 'the function is gone'; END $pgwarden$"
            );
            let what = format!(
                "{signature} runs with its owner's rights; list it in tenancy.functions where tenants may call it"
            );
            self.change(what, sql, undo);
        }
    }

    pub(super) fn database(&mut self) {
        let server = &self.snapshot.server;
        let (database, user) = (ident(&server.database), ident(self.wall.user()));
        let may = server.is_superuser || server.database_owner == server.current_user;
        let privileges = [("TEMP", server.temp, server.public_temp), ("CREATE", server.create, server.public_create)];
        for (privilege, _, public) in privileges.into_iter().filter(|(_, held, _)| *held) {
            let from = if public { "PUBLIC".to_owned() } else { user.clone() };
            if !may {
                let why =
                    format!("tenants have {privilege}: run as its owner {} or as a superuser", server.database_owner);
                self.leave(format!("database {}", server.database), why);
                continue;
            }
            let owners =
                if public && privilege == "TEMP" { self.owners(&[&server.database_owner]) } else { Vec::new() };
            let on = format!("{privilege} ON DATABASE {database}");
            self.give_and_take(format!("tenants have no {privilege} on the database"), &[on], &from, &owners);
        }
        for schema in self.snapshot.schemas.iter().filter(|schema| schema.create) {
            let from = list(schema.creators.iter().map(String::as_str));
            if !schema.mine || schema.creators.is_empty() {
                self.leave(schema.name.clone(), "tenants may create objects in it: run as its owner or as a superuser");
                continue;
            }
            let on = format!("CREATE ON SCHEMA {}", ident(&schema.name));
            self.give_and_take(format!("tenants create nothing in schema {}", schema.name), &[on], &from, &[]);
        }
    }

    /// Built-ins by which sessions of one role see or disturb one another.
    pub(super) fn facilities(&mut self) {
        let mut families: BTreeMap<(&str, bool, bool, bool), Vec<&SharedFacility>> = BTreeMap::new();
        for facility in &self.snapshot.shared {
            let is_function = facility.object.starts_with("FUNCTION ");
            families
                .entry((&facility.family, facility.mine, facility.to_public, is_function))
                .or_default()
                .push(facility);
        }
        for ((family, mine, public, is_function), facilities) in families {
            if !mine {
                let why = "shared by all sessions of one role, and only a superuser can take it away here: the proxy's policy refuses it";
                self.leave(family, why);
                continue;
            }
            let privilege = if is_function { "EXECUTE" } else { "SELECT" };
            let objects: Vec<&str> = facilities
                .iter()
                .filter_map(|facility| facility.object.split_once(' ').map(|(_, object)| object))
                .collect();
            let kind = if is_function { "FUNCTION" } else { "TABLE" };
            let on = format!("{privilege} ON {kind} {}", objects.join(", "));
            let from = if public { "PUBLIC".to_owned() } else { ident(self.wall.user()) };
            let of_objects: Vec<&str> = facilities.iter().map(|facility| facility.owner.as_str()).collect();
            let owners = if public && family != FILES { self.owners(&of_objects) } else { Vec::new() };
            self.give_and_take(format!("{family}: not for tenants"), &[on], &from, &owners);
        }
    }

    /// Takes privileges from one and keeps them for the roles that own tables, who had them by PUBLIC.
    fn give_and_take(&mut self, what: String, privileges: &[String], from: &str, owners: &[String]) {
        let mut sql = Vec::new();
        let mut undo = Vec::new();
        let owners = list(owners.iter().map(String::as_str));
        for privilege in privileges {
            sql.push(format!("REVOKE {privilege} FROM {from} CASCADE"));
            if !owners.is_empty() {
                sql.push(format!("GRANT {privilege} TO {owners}"));
                undo.push(Undo { relation: None, sql: format!("REVOKE {privilege} FROM {owners}") });
            }
            undo.push(Undo { relation: None, sql: format!("GRANT {privilege} TO {from}") });
        }
        self.add(what, sql, undo);
    }

    /// Roles that own tables of the tenants, for migrations use what PUBLIC has; not those that have it anyway.
    fn owners(&self, except: &[&str]) -> Vec<String> {
        let tables = self.snapshot.relations.iter().filter(|relation| {
            relation.is_table() && self.wall.covers(&relation.schema) && !relation.owner_is_superuser
        });
        let owners: BTreeSet<&str> = tables.map(|relation| relation.owner.as_str()).collect();
        let counts = |owner: &&str| *owner != self.wall.user() && !except.contains(owner);
        owners.into_iter().filter(counts).map(str::to_owned).collect()
    }

    /// What no SQL of ours mends.
    pub(super) fn remarks(&mut self) {
        let snapshot = self.snapshot;
        let column = self.wall.column();
        for key in &snapshot.foreign_keys {
            let (Some(from), Some(to)) = (snapshot.relation(key.relation), snapshot.relation(key.target)) else {
                continue;
            };
            let both = from.column(column).is_some() && to.column(column).is_some();
            let paired =
                key.columns.iter().zip(&key.target_columns).any(|(own, other)| own == column && other == column);
            if both && !paired && self.wall.covers(&from.schema) {
                let why = format!(
                    "foreign key {} to {} does not include {column}: see pgwarden doctor",
                    key.name,
                    to.label()
                );
                self.leave(from.label(), why);
            }
        }
        for grant in &snapshot.default_grants {
            let whose = grantee(&grant.grantee);
            let why = format!(
                "new {} get {} for {whose} by default: see pgwarden doctor",
                grant.kind.to_lowercase(),
                grant.privileges.join(", ")
            );
            self.leave(format!("default privileges of {}", grant.creator), why);
        }
        for rule in &snapshot.rules {
            self.leave(rule.name.clone(), format!("rule {} runs with the rights of the table's owner", rule.detail));
        }
    }
}

/// Roles as GRANT lists them.
fn list<'a>(roles: impl Iterator<Item = &'a str>) -> String {
    let roles: BTreeSet<String> = roles.map(grantee).collect();
    roles.into_iter().collect::<Vec<_>>().join(", ")
}
