//! What a user, a database and a tenant mean together: as whom the server is spoken to, and whose traces are whose.

use std::sync::Arc;

use super::{
    Database, Isolation, PoolSettings, RowIsolation, Secret, ServerAuth, Tenant, TenantPlace, TenantsOf, User,
};
use crate::tenant::TenantKey;

/// A user in a database, as a tenant where the database has tenants. Resolved at login, and again after a reload.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    pub user: Arc<User>,
    pub database: Arc<Database>,
    pub tenant: Option<Arc<Tenant>>,
    owner: Arc<str>,
}

/// Why a user may not work on a database, or not as this tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// The database has tenants, and the user is of none; or the other way round.
    NoTenant,
    /// The tenant is in another database.
    OtherDatabase,
    /// The user has several tenants, and named none.
    Unnamed,
    /// The user is not of this tenant, or there is none of this name.
    OtherTenant,
    Disabled,
}

impl Account {
    /// `tenant`: the one that the login names, or the user's only one.
    pub fn new(user: Arc<User>, database: Arc<Database>, tenant: Option<Arc<Tenant>>) -> Result<Self, Mismatch> {
        let owner = match (&database.tenancy, &tenant) {
            (None, None) if user.tenants == TenantsOf::None => user.name.clone(),
            (None, None) | (None, Some(_)) | (Some(_), None) => return Err(Mismatch::NoTenant),
            (Some(_), Some(tenant)) => {
                if !user.tenants.has(&tenant.name) {
                    return Err(Mismatch::OtherTenant);
                }
                if tenant.database != database.name {
                    return Err(Mismatch::OtherDatabase);
                }
                if !tenant.enabled {
                    return Err(Mismatch::Disabled);
                }
                // No name and no key holds a NUL, so no two accounts have one owner. A tenant whose key changes is another:
                // no server connection stays where the old key's rows are.
                let key = match &tenant.place {
                    TenantPlace::Row { key } => key.as_str(),
                    TenantPlace::Schema { schema, .. } => schema,
                    TenantPlace::Database { server_database, .. } => server_database,
                };
                format!("{}\0{}\0{key}", tenant.name, user.name).into()
            }
        };
        Ok(Self { user, database, tenant, owner })
    }

    /// Whose traces a server connection carries: it is cleaned before it goes from one owner to another.
    pub fn owner(&self) -> &Arc<str> {
        &self.owner
    }

    /// Among whom server connections are shared fairly: tenants, or users where there are none.
    pub fn line(&self) -> &Arc<str> {
        self.tenant.as_ref().map_or(&self.user.name, |tenant| &tenant.name)
    }

    /// The tenant's key and how the database tells tenants apart, where they share tables.
    pub fn row(&self) -> Option<(&RowIsolation, &TenantKey)> {
        let tenancy = self.database.tenancy.as_ref()?;
        match (&tenancy.isolation, &self.tenant.as_ref()?.place) {
            (Isolation::Row(isolation), TenantPlace::Row { key }) => Some((isolation, key)),
            (Isolation::Row(_) | Isolation::Schema | Isolation::Database, _) => None,
        }
    }

    /// Name of the database on the server.
    pub fn server_database(&self) -> &Arc<str> {
        match self.tenant.as_ref().map(|tenant| &tenant.place) {
            Some(TenantPlace::Database { server_database, .. }) => server_database,
            Some(TenantPlace::Row { .. } | TenantPlace::Schema { .. }) | None => &self.database.server_database,
        }
    }

    /// Role on the server, its password, and the weaker methods that may be answered with it.
    pub fn server_login(&self) -> (&Arc<str>, Option<&Secret>, ServerAuth) {
        let login = match self.tenant.as_ref().map(|tenant| &tenant.place) {
            Some(TenantPlace::Schema { login, .. } | TenantPlace::Database { login, .. }) => Some(login),
            Some(TenantPlace::Row { .. }) => self.row().map(|(isolation, _)| &isolation.login),
            None => None,
        };
        match login {
            Some(login) => (&login.user, login.password.as_ref(), login.auth),
            None => (&self.user.server_user, self.user.server_password.as_ref(), self.user.server_auth),
        }
    }

    /// Role on the server.
    pub fn server_user(&self) -> &Arc<str> {
        self.server_login().0
    }

    pub fn pool(&self) -> &PoolSettings {
        match &self.database.tenancy {
            Some(tenancy) if self.tenant.is_some() => &tenancy.pool,
            Some(_) | None => &self.user.pool,
        }
    }

    /// The `search_path` of its sessions, where the tenancy fixes it.
    pub fn search_path(&self) -> Option<Vec<Arc<str>>> {
        let tenancy = self.database.tenancy.as_ref()?;
        match &self.tenant.as_ref()?.place {
            TenantPlace::Row { .. } => Some(tenancy.schemas.clone()),
            TenantPlace::Schema { schema, .. } => Some(vec![schema.clone()]),
            TenantPlace::Database { .. } => None,
        }
    }
}

impl TenantsOf {
    pub fn has(&self, tenant: &str) -> bool {
        match self {
            Self::None => false,
            Self::One(name) => **name == *tenant,
            Self::Several(names) => names.iter().any(|name| **name == *tenant),
            Self::All => true,
        }
    }
}
