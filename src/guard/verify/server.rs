//! The server, the shared role, the sealed objects, and what is reached beside tables.

use std::collections::BTreeMap;

use super::Doctor;
use crate::config::ContextKind;
use crate::guard::plan::is_same;
use crate::guard::quote::{grantee, ident};
use crate::guard::report::PROTECT;
use crate::guard::seal::{self, OWNER};

/// Errors of PostgreSQL by which row security fails, with the first minor version of each major one that has none.
/// <https://www.postgresql.org/support/security/>
const FAULTS: [Fault; 7] = [
    ("CVE-2023-2455", "policies of another role after inlining", &[(13, 11), (14, 8), (15, 3)]),
    ("CVE-2023-39418", "MERGE passes over policies", &[(15, 4)]),
    ("CVE-2023-5869", "array sizes that overwrite memory", &[(13, 13), (14, 10), (15, 5), (16, 1)]),
    ("CVE-2024-4317", "pg_stats_ext shows other users' values", &[(14, 12), (15, 7), (16, 3)]),
    ("CVE-2024-10976", "policies of another role in cached plans", &[(13, 17), (14, 14), (15, 9), (16, 5), (17, 1)]),
    ("CVE-2025-8713", "statistics of partitions show hidden rows", &[(13, 22), (14, 19), (15, 14), (16, 10), (17, 6)]),
    ("CVE-2026-6473", "sizes that wrap and overwrite memory", &[(14, 23), (15, 18), (16, 14), (17, 10), (18, 4)]),
];

/// Its name, what it does, and the major and minor versions that have it no more.
type Fault = (&'static str, &'static str, &'static [(u32, u32)]);

/// Those of [`FAULTS`] that a server of this `server_version_num` has.
pub(super) fn faults(version: u32) -> Vec<(&'static str, &'static str, u32)> {
    let (major, minor) = (version / 10_000, version % 10_000);
    let of = |(name, what, fixed): &Fault| {
        let (_, first) = fixed.iter().find(|(fixed_major, first)| *fixed_major == major && minor < *first)?;
        Some((*name, *what, *first))
    };
    FAULTS.iter().filter_map(of).collect()
}

/// Settings whose value for the role the proxy's startup packet does not override.
const SETTINGS_OF_ROLES: [&str; 4] = ["session_replication_role", "role", "row_security", "session_preload_libraries"];

impl Doctor<'_> {
    pub(super) fn server(&mut self) {
        let server = &self.snapshot.server;
        let faults = faults(server.version);
        for (name, what, first) in &faults {
            let fix = format!("update to PostgreSQL {}.{first} or later", server.version / 10_000);
            self.report.hole("server_version", "server", format!("{} has {name}: {what}", server.version_name), fix);
        }
        if faults.is_empty() {
            self.report.pass(
                "server_version",
                "server",
                format!("{}: no known error of row security", server.version_name),
            );
        }
        if server.prepared_max > 0 {
            let text = format!("max_prepared_transactions is {}: a tenant can leave locks behind", server.prepared_max);
            self.report.warn(
                "prepared_transactions",
                "server",
                text,
                "ALTER SYSTEM SET max_prepared_transactions = 0, and restart",
            );
        }
        if server.lo_compat {
            let text = "lo_compat_privileges is on: any session reads every large object";
            self.report.hole("large_objects", "server", text, "ALTER SYSTEM SET lo_compat_privileges = off");
        }
        if server.large_objects > 0 && self.snapshot.shared.iter().any(|facility| facility.family == "large objects") {
            let text = "there are or were large objects, which all tenants share";
            self.report.warn("large_objects", "database", text, PROTECT);
        }
        for (held, privilege) in [(server.temp, "TEMP"), (server.create, "CREATE")] {
            if held {
                let text = format!("tenants have {privilege} on the database");
                let fix = format!(
                    "REVOKE {privilege} ON DATABASE {} FROM PUBLIC, {}",
                    ident(&server.database),
                    ident(self.wall.user())
                );
                self.report.hole("database_privileges", "database", text, fix);
            }
        }
    }

    pub(super) fn role(&mut self) {
        let user = self.wall.user().to_owned();
        let Some(role) = &self.snapshot.role else { return };
        let attributes = [
            (role.superuser, "SUPERUSER"),
            (role.bypass, "BYPASSRLS"),
            (role.create_role, "CREATEROLE"),
            (role.create_database, "CREATEDB"),
            (role.replication, "REPLICATION"),
        ];
        let before = self.report.holes().count();
        for (_, attribute) in attributes.into_iter().filter(|(held, _)| *held) {
            let fix = format!("ALTER ROLE {} NO{attribute}", ident(&user));
            self.report.hole("role_attributes", &user, format!("the tenants' role is {attribute}"), fix);
        }
        for membership in &role.memberships {
            let fix = format!("REVOKE {} FROM {}", ident(&membership.role), ident(&user));
            self.report.hole(
                "role_membership",
                &user,
                format!("the tenants' role can become {}", membership.role),
                fix,
            );
        }
        for owned in &self.snapshot.owned {
            let text = format!("the tenants' role owns {}, and can take its protection away", owned.detail);
            self.report.hole("role_owns", &user, text, format!("ALTER ... OWNER TO another role (of {})", owned.name));
        }
        if role.inherit && role.memberships.is_empty() {
            self.report.warn(
                "role_attributes",
                &user,
                "INHERIT: a membership would act at once",
                format!("ALTER ROLE {} NOINHERIT", ident(&user)),
            );
        }
        for setting in &self.snapshot.role_settings {
            let dangerous = SETTINGS_OF_ROLES.contains(&setting.name.as_str());
            let fix = match setting.detail.as_str() {
                "role" => format!("ALTER ROLE {} RESET {}", ident(&user), setting.name),
                _ => format!("ALTER DATABASE {} RESET {}", ident(&self.snapshot.server.database), setting.name),
            };
            let text = format!("{} is set for the {}", setting.name, setting.detail);
            match &self.wall.row.context {
                ContextKind::Setting(name) if **name == setting.name.to_ascii_lowercase() => {
                    self.report.hole(
                        "role_settings",
                        &user,
                        format!("{text}: every session begins as that tenant"),
                        fix,
                    );
                }
                ContextKind::Setting(_) | ContextKind::Sealed(_) if dangerous => {
                    self.report.hole("role_settings", &user, text, fix)
                }
                ContextKind::Setting(_) | ContextKind::Sealed(_) => self.report.warn("role_settings", &user, text, fix),
            }
        }
        if self.report.holes().count() == before {
            self.report.pass("role", &user, "no superuser, no BYPASSRLS, no other role, owns nothing");
        }
    }

    pub(super) fn sealed(&mut self) {
        let ContextKind::Sealed(keys) = &self.wall.row.context else { return };
        let kind = self.wall.row.key_type;
        let sealed = &self.snapshot.sealed;
        let before = self.report.holes().count();
        let Some(owner) = &sealed.schema_owner else {
            self.report.hole("sealed_context", "pgwarden", "there is no sealed context in this database", PROTECT);
            return;
        };
        if owner != OWNER {
            self.report.hole("sealed_owner", "pgwarden", format!("the schema is owned by {owner}"), PROTECT);
        }
        if self.snapshot.owner.as_ref().is_some_and(|owner| owner.login || owner.superuser || owner.bypass) {
            let fix = format!("ALTER ROLE {OWNER} NOLOGIN NOSUPERUSER NOBYPASSRLS");
            self.report.hole("sealed_owner", OWNER, "the owner of the context is more than an owner", fix);
        }
        let wanted = seal::functions(kind);
        for function in &wanted {
            let found = sealed.functions.iter().filter(|found| found.name == function.name).collect::<Vec<_>>();
            if !matches!(found.as_slice(), [found] if is_same(found, function)) {
                let text = "is not as this version writes it, not granted, or granted to PUBLIC";
                self.report.hole("sealed_functions", &function.signature(), text, PROTECT);
            }
        }
        for found in sealed.functions.iter().filter(|found| found.definer && found.executable) {
            if wanted.iter().all(|function| function.name != found.name) {
                let name = format!("pgwarden.{}({})", found.name, found.arguments);
                self.report.hole(
                    "sealed_functions",
                    &name,
                    "is not ours and tenants may call it",
                    format!("DROP FUNCTION {name}"),
                );
            }
        }
        for name in seal::sequences(kind) {
            if !sealed.relations.iter().any(|found| found.name == name && found.owner == OWNER && found.kind == 'S') {
                self.report.hole(
                    "sealed_objects",
                    &format!("pgwarden.{name}"),
                    "is missing or not the owner's",
                    PROTECT,
                );
            }
        }
        for relation in &sealed.relations {
            let read_only = relation.name == "epochs" && relation.privileges == ["SELECT"];
            if !relation.privileges.is_empty() && !read_only {
                let object = format!("pgwarden.{}", relation.name);
                let fix = format!("REVOKE ALL ON {object} FROM PUBLIC, {}", ident(self.wall.user()));
                self.report.hole(
                    "sealed_grants",
                    &object,
                    format!("tenants have {}", relation.privileges.join(", ")),
                    fix,
                );
            }
        }
        for epoch in sealed.epochs.iter().flatten() {
            if keys.iter().all(|key| key.epoch != epoch.epoch) {
                let text = format!("takes tokens of epoch {}, which keys_file does not list", epoch.epoch);
                self.report.warn("sealed_keys", "pgwarden.keys", text, PROTECT);
            }
        }
        if self.report.holes().count() == before {
            self.report.pass(
                "sealed_objects",
                "pgwarden",
                "functions, sequences and grants are as this version makes them",
            );
        }
    }

    /// Functions, built-ins, parameters, foreign servers, default privileges.
    pub(super) fn reach(&mut self) {
        let user = self.wall.user().to_owned();
        for schema in self.snapshot.schemas.iter().filter(|schema| schema.create) {
            let fix = format!("REVOKE CREATE ON SCHEMA {} FROM PUBLIC, {}", ident(&schema.name), ident(&user));
            self.report.hole("schema_create", &schema.name, "tenants may create objects in this schema", fix);
        }
        let mut definers = 0;
        for function in self.snapshot.functions.iter().filter(|function| function.definer && !function.is_trigger) {
            if !function.executable || !function.nameable {
                continue;
            }
            if self.wall.lists(&function.schema, &function.name) {
                let text = format!("runs with the rights of {} and is listed in tenancy.functions", function.owner);
                self.report.add(
                    crate::guard::report::Level::Warning,
                    "definer_functions",
                    &function.signature,
                    text,
                    None,
                );
                continue;
            }
            definers += 1;
            let text = format!("runs with the rights of {} and tenants may call it", function.owner);
            let fix = format!("REVOKE EXECUTE ON ROUTINE {} FROM PUBLIC, {}", function.signature, ident(&user));
            self.report.hole("definer_functions", &function.signature, text, fix);
        }
        if definers == 0 {
            self.report.pass(
                "definer_functions",
                "functions",
                "none of the database's own lends its owner's rights unlisted",
            );
        }
        let mut families: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for facility in &self.snapshot.shared {
            families.entry(&facility.family).or_default().push(&facility.object);
        }
        for (family, objects) in families {
            let text = format!(
                "all tenants share them ({} objects): the proxy's policy alone keeps tenants apart",
                objects.len()
            );
            let fix = format!("{PROTECT} as a superuser, or: REVOKE ALL ON {} FROM PUBLIC", objects.join(", "));
            if family == "files of the server" {
                self.report.hole(
                    "server_files",
                    family,
                    "tenants may call functions that read the server's files",
                    fix,
                );
            } else {
                self.report.warn("shared_facilities", family, text, fix);
            }
        }
        for parameter in &self.snapshot.parameters {
            let text = format!("tenants have {} on this parameter", parameter.detail);
            let fix = format!("REVOKE ALL ON PARAMETER {} FROM PUBLIC, {}", parameter.name, ident(&user));
            self.report.hole("parameters", &parameter.name, text, fix);
        }
        for server in &self.snapshot.foreign_servers {
            let fix = format!("REVOKE USAGE ON FOREIGN SERVER {} FROM PUBLIC, {}", ident(&server.name), ident(&user));
            self.report.hole("foreign_servers", &server.name, format!("tenants may connect by {}", server.detail), fix);
        }
        for grant in &self.snapshot.default_grants {
            let whose = grantee(&grant.grantee);
            let within =
                grant.schema.as_ref().map(|schema| format!(" IN SCHEMA {}", ident(schema))).unwrap_or_default();
            let fix = format!(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {}{within} REVOKE {} ON {} FROM {whose}",
                ident(&grant.creator),
                grant.privileges.join(", "),
                grant.kind
            );
            let text = format!(
                "new {} of {} are open to tenants before they are protected",
                grant.kind.to_lowercase(),
                grant.creator
            );
            self.report.warn("default_privileges", &grant.creator, text, fix);
        }
        for publication in &self.snapshot.publications {
            let text = "publishes rows past row security to whoever may subscribe";
            self.report.add(crate::guard::report::Level::Warning, "publications", &publication.name, text, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_those_of_the_minor_version() {
        let names = |version| faults(version).into_iter().map(|(name, _, _)| name).collect::<Vec<_>>();
        assert_eq!(names(150_003).len(), 6);
        assert_eq!(names(150_018), Vec::<&str>::new());
        assert_eq!(names(170_006), ["CVE-2026-6473"]);
        assert_eq!(names(180_004), Vec::<&str>::new());
        assert!(names(130_010).contains(&"CVE-2023-2455"));
    }
}
