//! SHOW CONFIG: the configuration in force, key by key, without its secrets.
//!
//! Each table of the configuration is taken apart by name: a key that is added there must be listed here, or be left out in
//! plain sight. Passwords and verifiers appear as `<secret>`, whatever they are.

#[path = "settings_audit.rs"]
mod audit;
#[path = "settings_tenancy.rs"]
mod tenancy;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use super::show::{mode_name, moment};
use super::tables::{Cell, Row};
use crate::config::{
    Admin, ClientTls, ClientTlsMode, Config, Database, Keepalive, Log, LogFormat, LogLevel, Node, NodeAddress, Permit,
    PoolSettings, Server, ServerAuth, ServerTls, ServerTlsMode, SessionState, Shard, TlsVersion, User, UserSecret,
    reference,
};
use audit::audit_keys;
pub(in crate::admin) use audit::{durability_text, failure_text};
pub(super) use tenancy::limits_text;
use tenancy::{of_tenants, role_keys, tenancy_keys, tenant_keys};

/// Keys whose values differ, with both. A secret that changed looks as before.
pub fn changes(before: &Config, after: &Config) -> Vec<(String, Option<String>, Option<String>)> {
    let values = |config| {
        let text = |cell: &Cell| match cell {
            Cell::Null => None,
            Cell::Text(text) => Some(text.to_string()),
            Cell::Int(number) => Some(number.to_string()),
        };
        let pair = |row: &Row| Some((row.first().and_then(text)?, row.get(1).and_then(text)));
        rows(config).iter().filter_map(pair).collect::<BTreeMap<String, Option<String>>>()
    };
    let (before, after) = (values(before), values(after));
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
    let gone = gone.map(|(key, value)| (key.clone(), value.clone(), None));
    let new = after.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    let new = new.map(|(key, value)| (key.clone(), before.get(key).cloned().flatten(), value.clone()));
    gone.chain(new).collect()
}

/// Key, value, default, changeable.
pub fn rows(config: &Config) -> Vec<Row> {
    let Config { source, server, tls, admin, log, audit, shards, databases, tenants, roles, users } = config;
    let mut list = List { rows: Vec::new(), defaults: reference::defaults(), template: None };
    let source = Cell::text(source.display().to_string());
    list.rows.push(vec![Cell::word("config_file"), source, Cell::Null, Cell::word(AT_START)]);
    server_keys(&mut list, server);
    if let Some(tls) = tls {
        tls_keys(&mut list, tls);
    }
    admin_keys(&mut list, admin);
    log_keys(&mut list, log);
    if let Some(audit) = audit {
        audit_keys(&mut list, audit);
    }
    for (name, Shard { name: _, primary }) in shards {
        list.template = Some("shards.NAME.primary");
        node_keys(&mut list, &format!("shards.{name}.primary"), primary);
    }
    for (name, database) in databases {
        let Database { name: _, shard, server_database, connections_max, tenancy } = &**database;
        let table = format!("databases.{name}");
        list.template = Some("databases.NAME");
        list.add(&table, "shard", RELOAD, shard);
        list.add(&table, "server_database", RELOAD, server_database);
        list.add(&table, "connections_max", RELOAD, connections_max);
        if let Some(tenancy) = tenancy {
            tenancy_keys(&mut list, &format!("{table}.tenancy"), tenancy);
        }
    }
    for (name, tenant) in tenants {
        tenant_keys(&mut list, &format!("tenants.{name}"), tenant);
    }
    for (name, role) in roles {
        role_keys(&mut list, &format!("roles.{name}"), role);
    }
    for (name, user) in users {
        list.template = Some("users.NAME");
        user_keys(&mut list, &format!("users.{name}"), user);
    }
    list.rows
}

/// Whether RELOAD applies a change, or only a restart.
type Changeable = &'static str;
const RELOAD: Changeable = "yes";
const AT_START: Changeable = "no";

struct List {
    rows: Vec<Row>,
    /// By the path in the reference.
    defaults: BTreeMap<String, &'static str>,
    /// The table's path in the reference, where its own holds a name.
    template: Option<&'static str>,
}

impl List {
    fn add(&mut self, table: &str, key: &str, changeable: Changeable, value: impl Display) {
        let known = self.defaults.get(&format!("{}.{key}", self.template.unwrap_or(table)));
        let default = known.map_or(Cell::Null, |toml| Cell::text(plain(toml)));
        let path = Cell::text(format!("{table}.{key}"));
        self.rows.push(vec![path, Cell::text(value.to_string()), default, Cell::word(changeable)]);
    }

    fn path(&mut self, table: &str, key: &str, changeable: Changeable, path: Option<&Path>) {
        self.add(table, key, changeable, path.map(|path| path.display().to_string()).unwrap_or_default());
    }
}

fn server_keys(list: &mut List, server: &Server) {
    let Server {
        listen,
        unix_socket_dir,
        unix_socket_port,
        workers,
        clients_max,
        login_timeout,
        login_failures_max,
        queue_timeout,
        queue_max,
        client_idle_timeout,
        idle_in_transaction_timeout,
        query_timeout,
        drain_timeout,
        message_size_max,
        statement_size_max,
        buffer_size_max,
        keepalive: Keepalive { idle, interval, retries },
        cancels_max,
    } = server;
    list.add("server", "listen", AT_START, joined(listen));
    list.path("server", "unix_socket_dir", AT_START, unix_socket_dir.as_deref());
    list.add("server", "unix_socket_port", AT_START, unix_socket_port);
    list.add("server", "workers", AT_START, workers);
    list.add("server", "clients_max", RELOAD, clients_max);
    list.add("server", "login_timeout", RELOAD, span(*login_timeout));
    list.add("server", "login_failures_max", RELOAD, login_failures_max);
    list.add("server", "queue_timeout", RELOAD, span(*queue_timeout));
    list.add("server", "queue_max", RELOAD, queue_max);
    list.add("server", "client_idle_timeout", RELOAD, span(*client_idle_timeout));
    list.add("server", "idle_in_transaction_timeout", RELOAD, span(*idle_in_transaction_timeout));
    list.add("server", "query_timeout", RELOAD, span(*query_timeout));
    list.add("server", "drain_timeout", RELOAD, span(*drain_timeout));
    list.add("server", "message_size_max", RELOAD, size(*message_size_max));
    list.add("server", "statement_size_max", RELOAD, size(*statement_size_max));
    list.add("server", "buffer_size_max", RELOAD, size(*buffer_size_max));
    list.add("server", "keepalive.idle", RELOAD, span(*idle));
    list.add("server", "keepalive.interval", RELOAD, span(*interval));
    list.add("server", "keepalive.retries", RELOAD, retries);
    list.add("server", "cancels_max", RELOAD, cancels_max);
}

fn tls_keys(list: &mut List, tls: &ClientTls) {
    let ClientTls { mode, cert, key, client_ca, server_name_tenant, version_min } = tls;
    list.add("tls", "server_name_tenant", RELOAD, server_name_tenant);
    let mode = match mode {
        ClientTlsMode::Allow => "allow",
        ClientTlsMode::Require => "require",
        ClientTlsMode::VerifyClient => "verify-client",
    };
    list.add("tls", "mode", RELOAD, mode);
    list.path("tls", "cert", RELOAD, Some(cert));
    list.path("tls", "key", RELOAD, Some(key));
    list.path("tls", "client_ca", RELOAD, client_ca.as_deref());
    let version = match version_min {
        TlsVersion::V12 => "1.2",
        TlsVersion::V13 => "1.3",
    };
    list.add("tls", "version_min", RELOAD, version);
}

fn admin_keys(list: &mut List, admin: &Admin) {
    let Admin { database, admins, viewers, http } = admin;
    list.add("admin", "database", RELOAD, database);
    list.add("admin", "admins", RELOAD, joined(admins));
    list.add("admin", "viewers", RELOAD, joined(viewers));
    list.add("admin", "http", AT_START, http.map(|address| address.to_string()).unwrap_or_default());
}

fn log_keys(list: &mut List, log: &Log) {
    let Log { level, format, connections, disconnections } = log;
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    list.add("log", "level", RELOAD, level);
    let format = match format {
        LogFormat::Auto => "auto",
        LogFormat::Pretty => "pretty",
        LogFormat::Json => "json",
    };
    list.add("log", "format", AT_START, format);
    list.add("log", "connections", RELOAD, connections);
    list.add("log", "disconnections", RELOAD, disconnections);
}

fn node_keys(list: &mut List, table: &str, node: &Node) {
    let Node { address, tls: ServerTls { mode, ca, cert, key }, connect_timeout } = node;
    let port = match address {
        NodeAddress::Tcp { host, port } => {
            list.add(table, "host", RELOAD, host);
            port
        }
        NodeAddress::Unix { dir, port } => {
            list.path(table, "socket_dir", RELOAD, Some(dir));
            port
        }
    };
    list.add(table, "port", RELOAD, port);
    let mode = match mode {
        ServerTlsMode::Disable => "disable",
        ServerTlsMode::Prefer => "prefer",
        ServerTlsMode::Require => "require",
        ServerTlsMode::VerifyFull => "verify-full",
    };
    list.add(table, "tls", RELOAD, mode);
    list.path(table, "tls_ca", RELOAD, ca.as_deref());
    list.path(table, "tls_cert", RELOAD, cert.as_deref());
    list.path(table, "tls_key", RELOAD, key.as_deref());
    list.add(table, "connect_timeout", RELOAD, span(*connect_timeout));
}

fn user_keys(list: &mut List, table: &str, user: &User) {
    let User {
        name: _,
        secret,
        cert_cn,
        databases,
        tenants,
        role,
        server_user,
        server_password,
        server_auth: ServerAuth { md5, cleartext },
        pool,
        clients_max,
        session_state,
        valid_until,
    } = user;
    match secret {
        Some(UserSecret::Verifier(_)) => list.add(table, "verifier", RELOAD, REDACTED),
        Some(UserSecret::Plain(_)) => list.add(table, "password", RELOAD, REDACTED),
        Some(UserSecret::Trust) => list.add(table, "danger_trust", RELOAD, true),
        None => {}
    }
    list.add(table, "cert_cn", RELOAD, cert_cn.as_deref().unwrap_or(""));
    list.add(table, "databases", RELOAD, joined(databases));
    of_tenants(list, table, tenants, role.as_ref());
    list.add(table, "server_user", RELOAD, server_user);
    list.add(table, "server_password", RELOAD, if server_password.is_some() { REDACTED } else { "" });
    let weaker = [("md5", md5), ("cleartext", cleartext)];
    let weaker = weaker.iter().filter(|(_, permit)| **permit == Permit::Accept).map(|(name, _)| name);
    list.add(table, "server_auth", RELOAD, joined(weaker));
    list.add(table, "clients_max", RELOAD, clients_max);
    let session_state = match session_state {
        SessionState::Pin => "pin",
        SessionState::Refuse => "refuse",
    };
    list.add(table, "session_state", RELOAD, session_state);
    let valid_until = valid_until.map(|seconds| moment(seconds.saturating_mul(1_000_000)));
    list.add(table, "valid_until", RELOAD, valid_until.unwrap_or_default());
    list.template = Some("users.NAME.pool");
    pool_keys(list, &format!("{table}.pool"), pool);
}

fn pool_keys(list: &mut List, table: &str, pool: &PoolSettings) {
    let PoolSettings {
        mode,
        size,
        size_min,
        server_idle_timeout,
        server_lifetime,
        prepared_max,
        login_retry_min,
        login_retry_max,
    } = pool;
    list.add(table, "mode", RELOAD, mode_name(*mode));
    list.add(table, "size", RELOAD, size);
    list.add(table, "size_min", RELOAD, size_min);
    list.add(table, "server_idle_timeout", RELOAD, span(*server_idle_timeout));
    list.add(table, "server_lifetime", RELOAD, span(*server_lifetime));
    list.add(table, "prepared_max", RELOAD, prepared_max);
    list.add(table, "login_retry_min", RELOAD, span(*login_retry_min));
    list.add(table, "login_retry_max", RELOAD, span(*login_retry_max));
}

const REDACTED: &str = "<secret>";

/// TOML text of a default as the value column has it: no quotes, no brackets.
fn plain(toml: &str) -> String {
    toml.chars().filter(|c| !matches!(c, '"' | '[' | ']')).collect()
}

fn joined<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// A duration in the largest unit that leaves a whole number, but a single minute in seconds, as defaults are written.
fn span(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)];
    match units.into_iter().find(|(_, unit)| millis > 0 && millis != 60_000 && millis.is_multiple_of(*unit)) {
        Some((unit, length)) => format!("{}{unit}", millis / length),
        None if millis == 60_000 => "60s".to_owned(),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

/// Bytes in the largest unit that leaves a whole number.
fn size(bytes: usize) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, length)) => format!("{}{unit}", bytes / length),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_carry_the_largest_whole_unit() {
        for (millis, shown) in [
            (0, "0s"),
            (250, "250ms"),
            (1_500, "1500ms"),
            (60_000, "60s"),
            (90_000, "90s"),
            (600_000, "10min"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), shown);
        }
        assert_eq!((size(64 << 20), size(1_500), size(0)), ("64MiB".into(), "1500B".into(), "0B".into()));
    }
}
