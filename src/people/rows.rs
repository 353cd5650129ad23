//! Rows of a directory's tables, as the server sent them: one JSON object each.

use serde::Deserialize;

use super::Snapshot;
use crate::config::{TenantPlace, TenantsOf, UserSecret};

/// All rows of one reading.
#[derive(Debug, Default)]
pub struct Rows {
    pub(super) tenants: Vec<TenantRow>,
    pub(super) users: Vec<UserRow>,
    /// Rows without the columns or types of their table.
    pub(super) unreadable: usize,
}

/// A row of `pgwarden.tenants`.
#[derive(Debug, Deserialize)]
pub(super) struct TenantRow {
    pub name: String,
    pub key: Option<String>,
    pub schema: Option<String>,
    pub server_database: Option<String>,
    pub server_user: Option<String>,
    pub enabled: bool,
    pub limits: Limited,
}

/// A tenant's limits: as read, or as they were checked before.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Limited {
    Text(serde_json::Map<String, serde_json::Value>),
    #[serde(skip)]
    Checked(crate::config::Limits),
}

/// A row of `pgwarden.users`.
#[derive(Debug, Deserialize)]
pub(super) struct UserRow {
    pub name: String,
    pub tenant: Option<String>,
    pub tenants: Option<Vec<String>>,
    pub all_tenants: bool,
    pub role: Option<String>,
    pub verifier: String,
    pub enabled: bool,
    /// Unix seconds.
    pub valid_until: Option<u64>,
}

impl Rows {
    /// Reads the rows of both tables.
    pub fn parse<T: AsRef<str>>(tenants: &[T], users: &[T]) -> Self {
        let mut rows = Self::default();
        for text in tenants {
            match serde_json::from_str(text.as_ref()) {
                Ok(row) => rows.tenants.push(row),
                Err(_) => rows.unreadable += 1,
            }
        }
        for text in users {
            match serde_json::from_str(text.as_ref()) {
                Ok(row) => rows.users.push(row),
                Err(_) => rows.unreadable += 1,
            }
        }
        rows
    }
}

impl Snapshot {
    /// The rows that it was made of, without those that were left out and those that are switched off.
    pub(super) fn rows(&self) -> Rows {
        let tenants = self.tenants.values().map(|tenant| {
            let (mut key, mut schema, mut server_database, mut server_user) = (None, None, None, None);
            match &tenant.place {
                TenantPlace::Row { key: of_rows } => key = Some(of_rows.as_str().to_owned()),
                TenantPlace::Schema { schema: own, login } => {
                    schema = Some(own.to_string());
                    server_user = Some(login.user.to_string());
                }
                TenantPlace::Database { server_database: own, login } => {
                    server_database = Some(own.to_string());
                    server_user = Some(login.user.to_string());
                }
            }
            let limits = Limited::Checked(tenant.limits);
            TenantRow {
                name: tenant.name.to_string(),
                key,
                schema,
                server_database,
                server_user,
                enabled: tenant.enabled,
                limits,
            }
        });
        let users = self.users.values().map(|known| {
            let user = &known.user;
            let (mut tenant, mut tenants, mut all_tenants) = (None, None, false);
            match &user.tenants {
                TenantsOf::None => {}
                TenantsOf::One(name) => tenant = Some(name.to_string()),
                TenantsOf::Several(names) => tenants = Some(names.iter().map(ToString::to_string).collect()),
                TenantsOf::All => all_tenants = true,
            }
            let verifier = match &user.secret {
                Some(UserSecret::Verifier(text)) => text.expose().to_owned(),
                Some(UserSecret::Plain(_) | UserSecret::Trust) | None => String::new(),
            };
            UserRow {
                name: user.name.to_string(),
                tenant,
                tenants,
                all_tenants,
                role: user.role.as_ref().map(|role| role.name.to_string()),
                verifier,
                enabled: true,
                valid_until: user.valid_until,
            }
        });
        Rows { tenants: tenants.collect(), users: users.collect(), unreadable: 0 }
    }
}
