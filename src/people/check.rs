//! From the rows of a directory to its snapshot.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::HashMap;

use super::rows::{Limited, Rows, TenantRow, UserRow};
use super::{Known, Snapshot};
use crate::config::{
    self, Config, Database, Isolation, Limits, Permit, Secret, ServerAuth, ServerLogin, SessionState, Tenancy, Tenant,
    TenantPlace, TenantsOf, User, UserSecret,
};
use crate::scram::Verifier;
use crate::tenant::TenantKey;

/// Why a row of a directory is not used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// `tenant` or `user`.
    pub what: &'static str,
    /// The row's name, shortened; empty where it has none.
    pub name: String,
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}", self.what, self.name, self.why)
    }
}

/// Characters of a name that a problem shows.
const NAME_SHOWN: usize = 80;

/// Schemas that are no tenant's.
const SCHEMAS_RESERVED: [&str; 2] = ["information_schema", "pgwarden"];

impl Snapshot {
    /// Checks rows against the configuration: `database` is the directory's, and is in it. What is the same in `previous`
    /// is shared with it.
    pub fn build(mut rows: Rows, config: &Config, database: &Database, previous: Option<&Self>) -> Self {
        let mut snapshot = Self::default();
        let Some(tenancy) = &database.tenancy else { return snapshot };
        if rows.unreadable > 0 {
            let why = format!("{} rows are not of the tables' form and are left out", rows.unreadable);
            snapshot.problems.push(Problem { what: "directory", name: database.name.to_string(), why });
        }
        // Of rows that claim the same place, which is the one does not depend on the server's order.
        rows.tenants.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        let mut checker = Checker { config, database, tenancy, taken: places_of_file(config, database) };
        for row in rows.tenants {
            match checker.tenant(&row, &snapshot) {
                Ok(tenant) => {
                    let before = previous.and_then(|previous| previous.tenants.get(&*tenant.name));
                    let tenant = before.filter(|before| ***before == tenant).cloned().unwrap_or_else(|| tenant.into());
                    snapshot.tenants.insert(tenant.name.clone(), tenant);
                }
                Err(why) => snapshot.problems.push(problem("tenant", &row.name, why)),
            }
        }
        let mut iterations = BTreeMap::<NonZeroU32, usize>::new();
        for row in rows.users.into_iter().filter(|row| row.enabled) {
            match checker.user(&row, &snapshot) {
                Ok(known) => {
                    *iterations.entry(known.verifier.iterations()).or_default() += 1;
                    let before = previous.and_then(|previous| previous.users.get(&*known.user.name));
                    let known = before.filter(|before| before.user == known.user).cloned().unwrap_or(known);
                    snapshot.users.insert(known.user.name.clone(), known);
                }
                Err(why) => snapshot.problems.push(problem("user", &row.name, why)),
            }
        }
        snapshot.iterations = iterations.into_iter().max_by_key(|(_, times)| *times).map(|(count, _)| count);
        snapshot.tenants.shrink_to_fit();
        snapshot.users.shrink_to_fit();
        snapshot
    }
}

fn problem(what: &'static str, name: &str, why: String) -> Problem {
    Problem { what, name: name.chars().take(NAME_SHOWN).collect(), why }
}

struct Checker<'a> {
    config: &'a Config,
    database: &'a Database,
    tenancy: &'a Tenancy,
    /// Keys, schemas, databases and roles that tenants have already.
    taken: HashSet<String>,
}

fn places_of_file(config: &Config, database: &Database) -> HashSet<String> {
    let tenants = config.tenants.values().filter(|tenant| tenant.database == database.name);
    tenants.flat_map(|tenant| claims(&tenant.place)).flatten().collect()
}

/// What no two tenants of a database may both have.
fn claims(place: &TenantPlace) -> [Option<String>; 2] {
    match place {
        TenantPlace::Row { key } => [Some(format!("key {key}")), None],
        TenantPlace::Schema { schema, login } => {
            [Some(format!("schema {schema}")), Some(format!("role {}", login.user))]
        }
        TenantPlace::Database { server_database, login } => {
            [Some(format!("database {server_database}")), Some(format!("role {}", login.user))]
        }
    }
}

impl Checker<'_> {
    fn tenant(&mut self, row: &TenantRow, snapshot: &Snapshot) -> Result<Tenant, String> {
        checked_name(&row.name)?;
        if self.config.tenants.contains_key(&*row.name) {
            return Err("the configuration file has a tenant of this name, which counts".to_owned());
        }
        if snapshot.tenants.contains_key(&*row.name) {
            return Err("the name is there twice".to_owned());
        }
        let place = self.place(row)?;
        let limits = match &row.limits {
            Limited::Text(limits) if limits.is_empty() => Limits::default(),
            Limited::Text(limits) => config::limits_of(limits).map_err(|why| format!("limits: {why}"))?,
            Limited::Checked(limits) => *limits,
        };
        let claims = claims(&place);
        if let Some(taken) = claims.iter().flatten().find(|claim| self.taken.contains(*claim)) {
            return Err(format!("another tenant has {taken} already"));
        }
        self.taken.extend(claims.into_iter().flatten());
        let database = self.database.name.clone();
        Ok(Tenant { name: (*row.name).into(), database, enabled: row.enabled, place, limits })
    }

    fn place(&self, row: &TenantRow) -> Result<TenantPlace, String> {
        let own = |given: &Option<String>, column: &str| -> Result<Arc<str>, String> {
            let name = given.as_ref().unwrap_or(&row.name);
            config::check_name(name).map_err(|why| format!("{column}: expected {why}"))?;
            Ok((**name).into())
        };
        let login = || -> Result<ServerLogin, String> {
            // No password: a directory holds none.
            let auth = ServerAuth { md5: Permit::Refuse, cleartext: Permit::Refuse };
            Ok(ServerLogin { user: own(&row.server_user, "server_user")?, password: None, auth })
        };
        match &self.tenancy.isolation {
            Isolation::Row(isolation) => {
                let text = row.key.as_ref().ok_or("it has no key")?;
                let key = TenantKey::parse(isolation.key_type, text)
                    .map_err(|why| format!("no key of type {}: {why}", isolation.key_type.label()))?;
                if key.as_str() != text {
                    return Err(format!("the key is to be written as PostgreSQL prints it: {key}"));
                }
                Ok(TenantPlace::Row { key })
            }
            Isolation::Schema => {
                let schema = own(&row.schema, "schema")?;
                if schema.starts_with("pg_") || SCHEMAS_RESERVED.contains(&&*schema) {
                    return Err(format!("schema {schema} is no tenant's"));
                }
                Ok(TenantPlace::Schema { schema, login: login()? })
            }
            Isolation::Database => {
                let server_database = own(&row.server_database, "server_database")?;
                Ok(TenantPlace::Database { server_database, login: login()? })
            }
        }
    }

    fn user(&self, row: &UserRow, snapshot: &Snapshot) -> Result<Known, String> {
        checked_name(&row.name)?;
        if self.config.users.contains_key(&*row.name) {
            return Err("the configuration file has a user of this name, which counts".to_owned());
        }
        if snapshot.users.contains_key(&*row.name) {
            return Err("the name is there twice".to_owned());
        }
        let tenants = self.tenants_of(row, &snapshot.tenants)?;
        let usual = match &tenants {
            TenantsOf::None | TenantsOf::One(_) => "writer",
            TenantsOf::Several(_) | TenantsOf::All => "operator",
        };
        let role = row.role.as_deref().unwrap_or(usual);
        let role = self.config.roles.get(role).ok_or_else(|| format!("there is no role {role:?}"))?;
        let verifier = Verifier::parse(&row.verifier).map_err(|why| format!("verifier: {why}"))?;
        let user = User {
            name: (*row.name).into(),
            secret: Some(UserSecret::Verifier(Secret::new(&*row.verifier))),
            cert_cn: None,
            databases: vec![self.database.name.clone()],
            tenants,
            role: Some(role.clone()),
            server_user: "".into(),
            server_password: None,
            server_auth: ServerAuth { md5: Permit::Refuse, cleartext: Permit::Refuse },
            pool: self.tenancy.pool.clone(),
            clients_max: self.config.server.clients_max,
            session_state: SessionState::Pin,
            valid_until: row.valid_until,
        };
        Ok(Known { user: Arc::new(user), verifier })
    }

    fn tenants_of(&self, row: &UserRow, known: &HashMap<Arc<str>, Arc<Tenant>>) -> Result<TenantsOf, String> {
        let shared =
            |name: &String| known.get_key_value(&**name).map_or_else(|| (**name).into(), |(name, _)| name.clone());
        match (&row.tenant, &row.tenants, row.all_tenants) {
            (Some(tenant), None, false) => Ok(TenantsOf::One(shared(tenant))),
            (None, Some(tenants), false) => Ok(TenantsOf::Several(tenants.iter().map(shared).collect())),
            (None, None, true) => Ok(TenantsOf::All),
            (_, _, _) => Err("exactly one of tenant, tenants and all_tenants is to be given".to_owned()),
        }
    }
}

/// `@` divides user and tenant in the name of a login.
fn checked_name(name: &str) -> Result<(), String> {
    config::check_name(name).map_err(|why| format!("the name is to be {why}"))?;
    if name.contains('@') { Err("the name has an @".to_owned()) } else { Ok(()) }
}
