//! Who may log in, and as which tenant: the file's users and tenants, and those of the directories.
//!
//! Everything that looks up a user or a tenant asks [`People`]. The file comes first: a directory adds to it and cannot
//! change, shadow or remove what is in it. A directory speaks for its own database only: its users open no other one, and
//! its tenants are in no other one.
//!
//! A [`Snapshot`] is what one reading of a directory came to, checked row by row: a row that cannot be used is left out,
//! with a problem that names it, and takes no other row with it.

mod check;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::config::{Account, Config, Database, Tenant, TenantPlace, TenantsOf, User};
use crate::scram::Verifier;
pub use check::Problem;
pub use rows::Rows;

/// The file and the directories at one moment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct People {
    pub config: Arc<Config>,
    pub directories: Directories,
}

/// The snapshots of directories by the database's name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Directories(Arc<BTreeMap<Arc<str>, Arc<Snapshot>>>);

/// One directory, as it was read last.
#[derive(Debug, Default)]
pub struct Snapshot {
    tenants: HashMap<Arc<str>, Arc<Tenant>>,
    users: HashMap<Arc<str>, Known>,
    /// What most of its verifiers have.
    iterations: Option<NonZeroU32>,
    /// Rows that were left out.
    pub problems: Vec<Problem>,
}

/// A user of a directory.
#[derive(Debug, Clone)]
struct Known {
    user: Arc<User>,
    verifier: Verifier,
}

/// The user that a login's name means.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub user: &'a Arc<User>,
    /// The tenant that the name has behind an `@`.
    pub tenant: Option<&'a str>,
    /// The user's verifier, where the directory has it.
    pub verifier: Option<&'a Verifier>,
}

impl People {
    /// The user that a login to a database means by `user` or `user@tenant`.
    pub fn find<'a>(&'a self, database: &str, name: &'a str) -> Option<Found<'a>> {
        let split = || name.rsplit_once('@');
        let of_file = |name| self.config.users.get(name);
        if let Some(user) = of_file(name) {
            return Some(Found { user, tenant: None, verifier: None });
        }
        let several = |user: &&Arc<User>| user.tenants != TenantsOf::None;
        if let Some((base, tenant)) = split()
            && let Some(user) = of_file(base).filter(several)
        {
            return Some(Found { user, tenant: Some(tenant), verifier: None });
        }
        let directory = self.directories.of(database)?;
        let (known, tenant) = match (directory.users.get(name), split()) {
            (Some(known), _) => (known, None),
            (None, Some((base, tenant))) => (directory.users.get(base)?, Some(tenant)),
            (None, None) => return None,
        };
        Some(Found { user: &known.user, tenant, verifier: Some(&known.verifier) })
    }

    /// The user of this name, for a session in a database.
    pub fn user(&self, database: &str, name: &str) -> Option<&Arc<User>> {
        let of_file = self.config.users.get(name);
        of_file.or_else(|| self.directories.of(database)?.users.get(name).map(|known| &known.user))
    }

    /// The tenant of this name, for a session in a database. A tenant of the file may be in another database.
    pub fn tenant(&self, database: &str, name: &str) -> Option<&Arc<Tenant>> {
        self.config.tenants.get(name).or_else(|| self.directories.of(database)?.tenants.get(name))
    }

    /// What an account of earlier people is among these; absent: it has no place any more.
    pub fn account_again(&self, account: &Account) -> Option<Arc<Account>> {
        let database = self.config.databases.get(&account.database.name)?;
        let user = self.user(&database.name, &account.user.name)?;
        if !may_open(user, database) {
            return None;
        }
        let tenant = match &account.tenant {
            Some(tenant) => Some(self.tenant(&database.name, &tenant.name)?.clone()),
            None => None,
        };
        Account::new(user.clone(), database.clone(), tenant).ok().map(Arc::new)
    }

    /// One account for each pool that there may be, and more: of the tenants with a pool of their own, only those that are
    /// `wanted`.
    pub fn pool_accounts(&self, wanted: impl Fn(&Tenant) -> bool) -> Vec<Account> {
        let mut accounts = Vec::new();
        for database in self.config.databases.values() {
            let directory = self.directories.of(&database.name);
            let more = || directory.into_iter();
            let users =
                self.config.users.values().chain(more().flat_map(|d| d.users.values().map(|known| &known.user)));
            let mut any = None;
            let mut by_tenant: HashMap<&str, &Arc<User>> = HashMap::new();
            for user in users.filter(|user| may_open(user, database)) {
                match &user.tenants {
                    TenantsOf::None => accounts.extend(Account::new(user.clone(), database.clone(), None)),
                    TenantsOf::One(tenant) => drop(by_tenant.entry(tenant).or_insert(user)),
                    TenantsOf::Several(tenants) => {
                        for tenant in tenants {
                            by_tenant.entry(tenant).or_insert(user);
                        }
                    }
                    TenantsOf::All => any = any.or(Some(user)),
                }
            }
            let of_file = self.config.tenants.values().filter(|tenant| tenant.database == database.name);
            for tenant in of_file.chain(more().flat_map(|directory| directory.tenants.values())) {
                let shares = matches!(tenant.place, TenantPlace::Row { .. });
                if !shares && !wanted(tenant) {
                    continue;
                }
                let user = by_tenant.get(&*tenant.name).copied().or(any);
                let account = user.map(|user| Account::new(user.clone(), database.clone(), Some(tenant.clone())));
                if let Some(Ok(account)) = account {
                    accounts.push(account);
                    if shares {
                        // All of them share one pool.
                        break;
                    }
                }
            }
        }
        accounts
    }
}

fn may_open(user: &User, database: &Database) -> bool {
    user.databases.is_empty() || user.databases.contains(&database.name)
}

impl Directories {
    pub fn of(&self, database: &str) -> Option<&Arc<Snapshot>> {
        self.0.get(database)
    }

    /// These with another snapshot of one database.
    pub fn with(&self, database: &Arc<str>, snapshot: Arc<Snapshot>) -> Self {
        let mut all = (*self.0).clone();
        all.insert(database.clone(), snapshot);
        Self(Arc::new(all))
    }

    /// What the same rows are under another configuration. A database that has no directory any more has none.
    pub fn under(&self, config: &Config) -> Self {
        let again = |(name, snapshot): (&Arc<str>, &Arc<Snapshot>)| {
            let database = config.databases.get(name)?;
            database.tenancy.as_ref()?.directory.as_ref()?;
            Some((name.clone(), Arc::new(Snapshot::build(snapshot.rows(), config, database, Some(snapshot)))))
        };
        Self(Arc::new(self.0.iter().filter_map(again).collect()))
    }
}

impl Snapshot {
    pub fn tenants(&self) -> usize {
        self.tenants.len()
    }

    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Iterations that most of its users' verifiers have.
    pub fn iterations(&self) -> Option<NonZeroU32> {
        self.iterations
    }
}
