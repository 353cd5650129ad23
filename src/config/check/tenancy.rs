//! Tenancies, tenants and roles: what belongs together, and what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Checker, Place, entries, names_of};
use crate::config::problem::{any_of, quoted};
use crate::config::raw::{RawConfig, RawDirectory, RawLimits, RawPool, RawTenancy, RawTenant, RawUser};
use crate::config::read::{Field, Named};
use crate::config::value::{ContextWord, EnvName, FilePath, IsolationWord, Name, RewriteWord, WeakAuth};
use crate::config::{
    BaseRole, ContextKind, Database, Isolation, Limits, Rewrite, Role, RowIsolation, SealKey, Secret, ServerAuth,
    ServerLogin, Tenancy, Tenant, TenantPlace, TenantsOf,
};
use crate::tenant::TenantKey;

/// The built-in roles' names.
pub(super) const BUILT_IN: [(&str, BaseRole); 4] = [
    ("reader", BaseRole::Reader),
    ("writer", BaseRole::Writer),
    ("owner", BaseRole::Owner),
    ("operator", BaseRole::Operator),
];

/// Settings of PostgreSQL's own have no dot in their names.
const SETTING_PREFIXES_RESERVED: [&str; 2] = ["pg_", "pgwarden."];

/// What a key of the seal looks like in its file.
const KEY_FORM: &str = "lines such as 1:64 hexadecimal digits, each epoch once";

type Roles = BTreeMap<Arc<str>, Arc<Role>>;

impl Checker<'_> {
    pub(super) fn tenancy(&mut self, field: &Field<RawTenancy>, pool: &RawPool) -> Option<Tenancy> {
        let (raw, place) = field.found()?;
        let isolation = match raw.isolation() {
            IsolationWord::Row => self.row_isolation(raw, place).map(Isolation::Row),
            IsolationWord::Schema => Some(Isolation::Schema),
            IsolationWord::Database => Some(Isolation::Database),
        };
        if raw.isolation() != IsolationWord::Row {
            self.only_with_row(raw);
        }
        let schemas: Vec<_> = raw.schemas().into_iter().map(|name| name.0).collect();
        if let Some(place) = raw.schemas.place().filter(|_| schemas.is_empty()) {
            self.problem(place, Some("[]"), "at least one schema", r#"write schemas = ["public"]"#);
        }
        for (i, schema) in schemas.iter().enumerate() {
            if schema.starts_with("pg_") || matches!(&**schema, "pgwarden" | "information_schema") {
                let place = raw.schemas.place().unwrap_or(place).item_of_same_line(i);
                self.problem(&place, Some(&quoted(schema)), "a schema of tables that tenants share", "remove it");
            }
        }
        let directory = raw.directory.found().and_then(|(directory, place)| self.directory(directory, place));
        if let Some(place) = raw.danger_open_wall.place().filter(|_| raw.danger_open_wall()) {
            let hint = "run pgwarden doctor, mend what it finds, and remove this";
            self.warn(place, Some("true"), "false: holes in the database's wall let tenants through", hint);
        }
        if let Some(place) = raw.danger_open_policy.place().filter(|_| raw.danger_open_policy()) {
            let hint = "remove it; let roles and functions allow what is missing";
            self.warn(place, Some("true"), "false: statements are not judged", hint);
        }
        let own_pool = raw.pool.value().cloned().unwrap_or_default();
        Some(Tenancy {
            isolation: isolation?,
            schemas,
            functions: names(raw.functions()),
            rewrite: self.rewrite(raw, place),
            directory,
            danger_open_wall: raw.danger_open_wall(),
            danger_open_policy: raw.danger_open_policy(),
            pool: self.pool(&own_pool, pool, raw.pool.place().unwrap_or(place)),
        })
    }

    fn row_isolation(&mut self, raw: &RawTenancy, place: &Place) -> Option<RowIsolation> {
        let hint = r#"write server_user = "pgwarden_app", the role that pgwarden protect makes"#;
        let user = self.required(&raw.server_user, place, "server_user", hint).map(|name| name.0.clone());
        let password =
            self.one_password(&raw.server_password, &raw.server_password_file, &raw.server_password_env, true);
        let (key, misplaced, context) = match raw.context() {
            ContextWord::Sealed => ("setting", raw.setting.place(), "setting"),
            ContextWord::Setting => ("keys_file", raw.keys_file.place(), "sealed"),
        };
        if let Some(place) = misplaced {
            let expected = format!("this key only with context = {}", quoted(context));
            self.problem(place, Some(key), &expected, "remove it");
        }
        let context = match raw.context() {
            ContextWord::Sealed => self.seal_keys(raw, place).map(ContextKind::Sealed),
            ContextWord::Setting => self.setting(raw, place).map(ContextKind::Setting),
        };
        let login = ServerLogin { user: user?, password, auth: auth(&raw.server_auth()) };
        Some(RowIsolation { context: context?, column: raw.column().0, key_type: raw.key_type(), login })
    }

    fn only_with_row(&mut self, raw: &RawTenancy) {
        let given = [
            ("context", raw.context.place()),
            ("setting", raw.setting.place()),
            ("column", raw.column.place()),
            ("key_type", raw.key_type.place()),
            ("server_user", raw.server_user.place()),
            ("server_password", raw.server_password.place()),
            ("server_password_file", raw.server_password_file.place()),
            ("server_password_env", raw.server_password_env.place()),
            ("keys_file", raw.keys_file.place()),
            ("rewrite", raw.rewrite.place()),
            ("rewrite_tables", raw.rewrite_tables.place()),
        ];
        for (key, place) in given {
            let Some(place) = place else { continue };
            self.problem(place, Some(key), "this key only with isolation = \"row\"", "remove it");
        }
    }

    fn setting(&mut self, raw: &RawTenancy, place: &Place) -> Option<Arc<str>> {
        let hint = r#"write setting = "app.tenant_id", the setting that the policies read"#;
        let name = self.required(&raw.setting, place, "setting", hint)?;
        let lower = name.0.to_ascii_lowercase();
        let is_word = |part: &str| {
            let mut bytes = part.bytes();
            bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
                && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let custom = lower.split('.').count() == 2 && lower.split('.').all(is_word);
        if !custom || SETTING_PREFIXES_RESERVED.iter().any(|prefix| lower.starts_with(prefix)) {
            let place = raw.setting.place().unwrap_or(place);
            let hint = r#"for example setting = "app.tenant_id""#;
            self.problem(place, Some(&quoted(&name.0)), "a setting with a prefix of its own and a dot", hint);
            return None;
        }
        Some(lower.into())
    }

    fn seal_keys(&mut self, raw: &RawTenancy, place: &Place) -> Option<Vec<SealKey>> {
        let hint = "make one with: (umask 077; echo \"1:$(openssl rand -hex 32)\" > seal.keys), and write keys_file = \"seal.keys\"";
        let path = self.required(&raw.keys_file, place, "keys_file", hint)?;
        let place = raw.keys_file.place().unwrap_or(place);
        let path = self.resolve(path);
        let text = self.secret_file(&path, place)?;
        let mut keys: Vec<SealKey> = Vec::new();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let key = line.split_once(':').and_then(|(epoch, hex)| {
                let epoch = epoch.parse::<u32>().ok().filter(|epoch| (1..=i32::MAX as u32).contains(epoch))?;
                let fits = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
                fits.then(|| SealKey { epoch, hex: Secret::new(hex.to_ascii_lowercase()) })
            });
            let fresh = |key: &SealKey| keys.iter().all(|known| known.epoch != key.epoch && known.hex != key.hex);
            match key.filter(fresh) {
                Some(key) => keys.push(key),
                None => {
                    self.problem(place, Some("another line (not shown)"), KEY_FORM, "correct the file");
                    return None;
                }
            }
        }
        if keys.is_empty() {
            self.problem(place, Some("no line"), KEY_FORM, hint);
            return None;
        }
        Some(keys)
    }

    fn rewrite(&mut self, raw: &RawTenancy, place: &Place) -> Rewrite {
        let tables = names(raw.rewrite_tables());
        match raw.rewrite() {
            RewriteWord::Off | RewriteWord::All => {
                if let Some(place) = raw.rewrite_tables.place() {
                    let hint = r#"write rewrite = "tables", or remove rewrite_tables"#;
                    self.problem(place, None, "rewrite = \"tables\" beside it", hint);
                }
                if raw.rewrite() == RewriteWord::All { Rewrite::All } else { Rewrite::Off }
            }
            RewriteWord::Tables => {
                if tables.is_empty() {
                    let place = raw.rewrite.place().unwrap_or(place);
                    let hint = r#"write rewrite_tables = ["invoices"], or rewrite = "all""#;
                    self.problem(place, Some("\"tables\""), "the tables in rewrite_tables", hint);
                }
                Rewrite::Tables(tables)
            }
        }
    }

    fn directory(&mut self, raw: &RawDirectory, place: &Place) -> Option<ServerLogin> {
        let hint = r#"write server_user = "pgwarden_directory""#;
        let user = self.required(&raw.server_user, place, "server_user", hint).map(|name| name.0.clone());
        let password =
            self.one_password(&raw.server_password, &raw.server_password_file, &raw.server_password_env, true);
        Some(ServerLogin { user: user?, password, auth: auth(&raw.server_auth()) })
    }

    /// A password given in one of three ways, or none.
    pub(super) fn one_password(
        &mut self,
        own: &Field<Secret>,
        file: &Field<FilePath>,
        env: &Field<EnvName>,
        warn: bool,
    ) -> Option<Secret> {
        let given: Vec<&Place> = [own.place(), file.place(), env.place()].into_iter().flatten().collect();
        if let [_, second, ..] = given.as_slice() {
            let keys = any_of(&["server_password", "server_password_file", "server_password_env"]);
            self.problem(second, None, "one way to give the server's password", &format!("keep one of {keys}"));
            return None;
        }
        if let Some((password, place)) = own.found() {
            if warn {
                self.warn_if_exposed(self.file, place);
            }
            return Some(password.clone());
        }
        if given.is_empty() { None } else { self.password_from(file, env) }
    }

    pub(super) fn tenants(
        &mut self,
        field: &Field<Named<RawTenant>>,
        databases: &BTreeMap<Arc<str>, Arc<Database>>,
    ) -> BTreeMap<Arc<str>, Arc<Tenant>> {
        let with_tenants: Vec<&str> =
            databases.values().filter(|database| database.tenancy.is_some()).map(|database| &*database.name).collect();
        let mut tenants = BTreeMap::new();
        let mut places = BTreeSet::new();
        for (name, raw, place) in entries(field) {
            let Some(database) = self.database_of(raw, place, databases, &with_tenants) else { continue };
            let Some(tenancy) = database.tenancy.clone() else { continue };
            let Some(tenant_place) = self.place_of_tenant(name, raw, place, &tenancy) else { continue };
            let what = match &tenant_place {
                TenantPlace::Row { key } => key.to_string(),
                TenantPlace::Schema { schema, .. } => schema.to_string(),
                TenantPlace::Database { server_database, .. } => server_database.to_string(),
            };
            if !places.insert((database.name.clone(), what.clone())) {
                self.problem(place, Some(&quoted(&what)), "a place that no other tenant has", "correct one of the two");
            }
            if let TenantPlace::Schema { login, .. } | TenantPlace::Database { login, .. } = &tenant_place
                && !places.insert((database.name.clone(), format!("role {}", login.user)))
            {
                let expected = "a role on the server that no other tenant has";
                self.problem(place, Some(&quoted(&login.user)), expected, "give each tenant a server_user of its own");
            }
            let limits = limits(raw.limits.value().unwrap_or(&RawLimits::default()));
            let (database, enabled) = (database.name.clone(), raw.enabled());
            let tenant = Tenant { name: name.clone(), database, enabled, place: tenant_place, limits };
            tenants.insert(name.clone(), Arc::new(tenant));
        }
        tenants
    }

    fn database_of(
        &mut self,
        raw: &RawTenant,
        place: &Place,
        databases: &BTreeMap<Arc<str>, Arc<Database>>,
        with_tenants: &[&str],
    ) -> Option<Arc<Database>> {
        match &raw.database {
            Field::Found(name, place) => {
                self.reference(&name.0, with_tenants, place, "a database of this file with a tenancy", "databases");
                databases.get(&name.0).cloned()
            }
            Field::Absent => match with_tenants {
                [only] => databases.get(*only).cloned(),
                [] => {
                    self.problem(place, None, "a database with tenants", "write [databases.NAME.tenancy]");
                    None
                }
                [first, ..] => {
                    let hint = format!("write database = {}", quoted(first));
                    self.problem(place, None, "the database's name, as several have tenants", &hint);
                    None
                }
            },
            Field::Bad(_) => None,
        }
    }

    fn place_of_tenant(
        &mut self,
        name: &Arc<str>,
        raw: &RawTenant,
        place: &Place,
        tenancy: &Tenancy,
    ) -> Option<TenantPlace> {
        let mut misplaced = |field: Option<&Place>, key: &str, isolation: &str| {
            if let Some(place) = field {
                let expected = format!("this key only with isolation = {}", quoted(isolation));
                self.problem(place, Some(key), &expected, "remove it");
            }
        };
        let row = matches!(tenancy.isolation, Isolation::Row(_));
        if row {
            misplaced(raw.server_user.place(), "server_user", "schema");
            misplaced(raw.server_password.place(), "server_password", "schema");
            misplaced(raw.server_password_file.place(), "server_password_file", "schema");
            misplaced(raw.server_password_env.place(), "server_password_env", "schema");
        } else {
            misplaced(raw.key.place(), "key", "row");
        }
        if !matches!(tenancy.isolation, Isolation::Schema) {
            misplaced(raw.schema.place(), "schema", "schema");
        }
        if !matches!(tenancy.isolation, Isolation::Database) {
            misplaced(raw.server_database.place(), "server_database", "database");
        }
        match &tenancy.isolation {
            Isolation::Row(isolation) => {
                let hint = r#"write key = "42", the value of its rows in the tenant column"#;
                let key = self.required(&raw.key, place, "key", hint)?;
                match TenantKey::parse(isolation.key_type, &key.0) {
                    Ok(key) => Some(TenantPlace::Row { key }),
                    Err(error) => {
                        let place = raw.key.place().unwrap_or(place);
                        let expected = format!("a key of type {}", isolation.key_type.label());
                        self.problem(place, Some(&quoted(&key.0)), &expected, &error.to_string());
                        None
                    }
                }
            }
            Isolation::Schema => {
                let schema = or_name(&raw.schema, name);
                Some(TenantPlace::Schema { schema, login: self.tenant_login(name, raw) })
            }
            Isolation::Database => {
                let server_database = or_name(&raw.server_database, name);
                Some(TenantPlace::Database { server_database, login: self.tenant_login(name, raw) })
            }
        }
    }

    fn tenant_login(&mut self, name: &Arc<str>, raw: &RawTenant) -> ServerLogin {
        let password =
            self.one_password(&raw.server_password, &raw.server_password_file, &raw.server_password_env, true);
        ServerLogin { user: or_name(&raw.server_user, name), password, auth: auth(&raw.server_auth()) }
    }

    pub(super) fn roles(&mut self, raw: &RawConfig) -> Roles {
        let built_in = BUILT_IN.map(|(name, base)| Role {
            name: name.into(),
            base,
            allow: Vec::new(),
            deny: Vec::new(),
            tables: None,
            functions: Vec::new(),
        });
        let mut roles: Roles = built_in.into_iter().map(|role| (role.name.clone(), Arc::new(role))).collect();
        for (name, role, place) in entries(&raw.roles) {
            if BUILT_IN.iter().any(|(known, _)| **known == **name) {
                self.problem(place, Some(&quoted(name)), "another name than a built-in role's", "rename the role");
            }
            let resolved = Role {
                name: name.clone(),
                base: role.base(),
                allow: names(role.allow()),
                deny: names(role.deny()),
                tables: role.tables.value().map(|tables| names(tables.clone())),
                functions: names(role.functions()),
            };
            roles.insert(name.clone(), Arc::new(resolved));
        }
        roles
    }

    /// Whose data a user works on, and as what.
    pub(super) fn tenants_of(
        &mut self,
        user: &RawUser,
        raw: &RawConfig,
        roles: &Roles,
    ) -> (TenantsOf, Option<Arc<Role>>) {
        let ways = [
            ("tenant", user.tenant.place()),
            ("tenants", user.tenants.place()),
            ("all_tenants", user.all_tenants.place().filter(|_| user.all_tenants())),
        ];
        let given: Vec<(&str, &Place)> = ways.iter().filter_map(|(key, place)| Some((*key, (*place)?))).collect();
        if let [_, (second, place), ..] = given.as_slice() {
            let hint = "keep one of tenant, tenants and all_tenants";
            self.problem(place, Some(second), "one way to say whose data the user works on", hint);
        }
        let known = names_of(&raw.tenants);
        // With a directory, names may be of tenants that are only there.
        let only_file = entries(&raw.databases)
            .iter()
            .all(|(_, database, _)| database.tenancy.value().is_none_or(|tenancy| tenancy.directory.is_absent()));
        let tenants = if let Some((name, place)) = user.tenant.found() {
            if only_file {
                self.reference(&name.0, &known, place, "a tenant of this file", "tenants");
            }
            TenantsOf::One(name.0.clone())
        } else if let Some((list, place)) = user.tenants.found() {
            for (i, name) in list.iter().enumerate().filter(|_| only_file) {
                let place = place.item_of_same_line(i);
                self.reference(&name.0, &known, &place, "a tenant of this file", "tenants");
            }
            TenantsOf::Several(names(list.clone()))
        } else if user.all_tenants() {
            TenantsOf::All
        } else {
            TenantsOf::None
        };
        let usual = match tenants {
            TenantsOf::None => {
                if let Some(place) = user.role.place() {
                    let hint = r#"write tenant = "NAME" too, or remove role"#;
                    self.problem(place, None, "a role only for users of tenants", hint);
                }
                return (tenants, None);
            }
            TenantsOf::One(_) => "writer",
            TenantsOf::Several(_) | TenantsOf::All => "operator",
        };
        let Some((name, place)) = user.role.found() else { return (tenants, roles.get(usual).cloned()) };
        let role_names: Vec<&str> = roles.keys().map(|name| &**name).collect();
        self.reference(&name.0, &role_names, place, "a built-in role or one of this file", "roles");
        (tenants, roles.get(&name.0).cloned())
    }
}

fn names(names: Vec<Name>) -> Vec<Arc<str>> {
    names.into_iter().map(|name| name.0).collect()
}

fn or_name(field: &Field<Name>, name: &Arc<str>) -> Arc<str> {
    field.value().map_or_else(|| name.clone(), |name| name.0.clone())
}

pub(super) fn auth(methods: &[WeakAuth]) -> ServerAuth {
    ServerAuth {
        md5: methods.contains(&WeakAuth::Md5).into(),
        cleartext: methods.contains(&WeakAuth::Cleartext).into(),
    }
}

pub(in crate::config) fn limits(raw: &RawLimits) -> Limits {
    Limits {
        connections: raw.connections.value().map(|count| count.0),
        transactions: raw.transactions.value().map(|count| count.0),
        statements_per_second: raw.statements_per_second.value().map(|count| count.0),
        statement_time: raw.statement_time.value().map(|span| span.0),
        transaction_time: raw.transaction_time.value().map(|span| span.0),
        idle_in_transaction_time: raw.idle_in_transaction_time.value().map(|span| span.0),
        rows: raw.rows.value().map(|count| u64::from(count.0)),
        bytes: raw.bytes.value().map(|size| size.0 as u64),
    }
}
