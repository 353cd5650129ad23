//! Tenants, how a database keeps them apart, and what roles may do: plain values.

use std::sync::Arc;
use std::time::Duration;

use super::{PoolSettings, Secret, ServerAuth};
use crate::tenant::{KeyType, TenantKey};

/// How a database keeps its tenants apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenancy {
    pub isolation: Isolation,
    /// Schemas of the shared tables, and the `search_path` of every session (row isolation).
    pub schemas: Vec<Arc<str>>,
    /// Functions of the database's own that tenants may call: `schema.name`, or `name` in one of `schemas`.
    pub functions: Vec<Arc<str>>,
    pub rewrite: Rewrite,
    /// Where further tenants and users are kept; absent: only those of the file.
    pub directory: Option<ServerLogin>,
    /// Serve tenants although the database's wall was found to have holes.
    pub danger_open_wall: bool,
    /// Let every statement through.
    pub danger_open_policy: bool,
    /// Of its tenants' pools.
    pub pool: PoolSettings,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Isolation {
    /// Shared tables under row security.
    Row(RowIsolation),
    /// A schema and a role for each tenant.
    Schema,
    /// A database and a role for each tenant.
    Database,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RowIsolation {
    pub context: ContextKind,
    /// Name of the tenant column.
    pub column: Arc<str>,
    pub key_type: KeyType,
    /// The role that all tenants share.
    pub login: ServerLogin,
}

/// What tells the database whose rows a session may see.
#[derive(Debug, Clone, PartialEq)]
pub enum ContextKind {
    /// State that only a definer function of ours can set, for which the proxy shows a token under one of these keys. The
    /// first is the one in use; there is at least one.
    Sealed(Vec<SealKey>),
    /// A setting of this name, in lower case.
    Setting(Arc<str>),
}

/// A key that tokens are made with, by its epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealKey {
    pub epoch: u32,
    /// 64 hexadecimal digits: 32 bytes.
    pub hex: Secret,
}

/// A role on the server and how the proxy logs in as it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerLogin {
    pub user: Arc<str>,
    pub password: Option<Secret>,
    pub auth: ServerAuth,
}

/// Which statements get the tenant's predicate added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    Off,
    /// Those that name one of these tables (`schema.name`, or `name` in one of the tenancy's schemas).
    Tables(Vec<Arc<str>>),
    All,
}

/// One tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    pub name: Arc<str>,
    pub database: Arc<str>,
    pub enabled: bool,
    pub place: TenantPlace,
    pub limits: Limits,
}

/// Where a tenant's rows are, by the isolation of its database.
#[derive(Debug, Clone, PartialEq)]
pub enum TenantPlace {
    Row { key: TenantKey },
    Schema { schema: Arc<str>, login: ServerLogin },
    Database { server_database: Arc<str>, login: ServerLogin },
}

/// A tenant's limits, over all its users and all workers; absent: none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Client connections at once.
    pub connections: Option<u32>,
    /// Transactions at once, which is server connections held.
    pub transactions: Option<u32>,
    pub statements_per_second: Option<u32>,
    /// From a statement's first byte to its answer.
    pub statement_time: Option<Duration>,
    pub transaction_time: Option<Duration>,
    pub idle_in_transaction_time: Option<Duration>,
    /// Rows of one statement's answer.
    pub rows: Option<u64>,
    /// Bytes of one statement's answer.
    pub bytes: Option<u64>,
}

/// What a user may do in a database with tenants.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    pub name: Arc<str>,
    /// The built-in role whose list is the start.
    pub base: BaseRole,
    /// Kinds of statements beyond those of `base`, by the names in the reference.
    pub allow: Vec<Arc<str>>,
    /// Kinds taken away.
    pub deny: Vec<Arc<str>>,
    /// Relations that may be named; absent: all that the database's wall covers.
    pub tables: Option<Vec<Arc<str>>>,
    /// Functions of the database's own, beyond those of the tenancy.
    pub functions: Vec<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BaseRole {
    Reader,
    Writer,
    /// DDL on what is its own; only where tenants have a schema or a database of their own.
    Owner,
    /// Reads as one of several tenants, each statement under a reason.
    Operator,
}

/// Whose data a user works on.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum TenantsOf {
    /// A user of databases without tenants.
    #[default]
    None,
    One(Arc<str>),
    /// An operator, who names one at login: `user@tenant`.
    Several(Vec<Arc<str>>),
    /// An operator of every tenant.
    All,
}
