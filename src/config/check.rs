//! From the file's tables to a [`Config`]: defaults, secrets from files and the environment, and everything that depends on
//! more than one value.
//!
//! Goes on after a problem wherever what follows can still be judged, so that one run shows all of them. Reads files that
//! the configuration names; opens no sockets.

mod audit;
mod files;
mod tenancy;
mod users;

pub(super) use files::{read_bounded, reason};
pub(super) use tenancy::limits;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::{Place, Problem, any_of, nearest, quoted};
use super::raw::{
    RawAdmin, RawConfig, RawDatabase, RawKeepalive, RawLog, RawNode, RawPool, RawServer, RawShard, RawTls,
};
use super::read::{Field, Named};
use super::value::{FilePath, size_text};
use super::{
    Admin, ClientTls, ClientTlsMode, Config, Database, Keepalive, Log, Node, NodeAddress, Server, ServerTls,
    ServerTlsMode, Shard,
};

/// Looks up an environment variable.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Checks a whole file; `None` only with problems.
pub(super) struct Checker<'a> {
    /// The configuration file.
    file: &'a Path,
    env: Env<'a>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(file: &'a Path, env: Env<'a>) -> Self {
        Self { file, env, problems: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn config(&mut self, raw: &RawConfig) -> Option<Config> {
        let server = self.server(raw.server.value().unwrap_or(&RawServer::default()));
        let tls = self.tls(&raw.tls);
        let shards = self.shards(&raw.shards);
        let pool = raw.pool.value().cloned().unwrap_or_default();
        let databases = self.databases(&raw.databases, &raw.shards, &pool);
        let tenants = self.tenants(&raw.tenants, &databases);
        let roles = self.roles(raw);
        let users = self.users(raw, &server, &roles);
        let admin = self.admin(raw, &server);
        let log = log(raw.log.value().unwrap_or(&RawLog::default()));
        let audit = self.audit(&raw.audit).map(Arc::new);
        self.pools_against_databases(raw, &users, &databases);
        if !self.problems.is_empty() {
            return None;
        }
        let source = self.file.to_path_buf();
        Some(Config { source, server, tls, admin, log, audit, shards, databases, tenants, roles, users })
    }

    fn server(&mut self, raw: &RawServer) -> Server {
        let listen = raw.listen();
        let unix_socket_dir = raw.unix_socket_dir.value().map(|dir| self.resolve(dir));
        if listen.is_empty() && raw.unix_socket_dir.is_absent() {
            let place = raw.listen.place().cloned().unwrap_or_else(Place::root);
            let hint = r#"write listen = ["127.0.0.1:6432"], or set unix_socket_dir"#;
            self.problem(&place, Some("[]"), "at least one address or a Unix socket", hint);
        }
        for (i, address) in listen.iter().enumerate() {
            if address.port() != 0 && listen[..i].contains(address) {
                let place = raw.listen.place().cloned().unwrap_or_else(Place::root).item_of_same_line(i);
                self.problem(&place, Some(&quoted(&address.to_string())), "each address once", "remove one of them");
            }
        }
        if let (Some(dir), Some(place)) = (&unix_socket_dir, raw.unix_socket_dir.place()) {
            // A port that is not known yet has five digits at most.
            let port = listen.first().map_or(raw.unix_socket_port().0 as u16, SocketAddr::port);
            self.directory_of_socket(dir, if port == 0 { u16::MAX } else { port }, place, Side::Ours);
        }
        let (message, statement) = (raw.message_size_max().0, raw.statement_size_max().0);
        if statement >= message {
            let hint = "raise message_size_max or lower statement_size_max";
            let (found, limit) = (size_text(statement as u64), size_text(message as u64));
            if let Some(place) = raw.statement_size_max.place() {
                let expected = format!("less than message_size_max, {limit}");
                self.problem(place, Some(&found), &expected, hint);
            } else if let Some(place) = raw.message_size_max.place() {
                let expected = format!("more than statement_size_max, {found}");
                self.problem(place, Some(&limit), &expected, hint);
            }
        }
        Server {
            listen,
            unix_socket_dir,
            unix_socket_port: raw.unix_socket_port().0 as u16,
            workers: raw.workers.value().map_or_else(cores, |workers| workers.get()),
            clients_max: raw.clients_max().get(),
            login_timeout: raw.login_timeout().0,
            login_failures_max: raw.login_failures_max().0,
            queue_timeout: raw.queue_timeout().0,
            queue_max: raw.queue_max().get(),
            client_idle_timeout: raw.client_idle_timeout().0,
            idle_in_transaction_timeout: raw.idle_in_transaction_timeout().0,
            query_timeout: raw.query_timeout().0,
            drain_timeout: raw.drain_timeout().0,
            message_size_max: message,
            statement_size_max: statement,
            buffer_size_max: raw.buffer_size_max().0,
            keepalive: keepalive(raw.keepalive.value().unwrap_or(&RawKeepalive::default())),
            cancels_max: raw.cancels_max().get(),
        }
    }

    fn tls(&mut self, field: &Field<RawTls>) -> Option<ClientTls> {
        let (raw, place) = field.found()?;
        let cert = self.required(&raw.cert, place, "cert", r#"write cert = "/etc/pgwarden/server.crt""#);
        let key = self.required(&raw.key, place, "key", r#"write key = "/etc/pgwarden/server.key""#);
        let (cert, key) = (cert.map(|path| self.resolve(path)), key.map(|path| self.resolve(path)));
        self.certificate_and_key(cert.as_deref(), raw.cert.place(), key.as_deref(), raw.key.place());
        let client_ca = raw.client_ca.found().map(|(path, place)| {
            let path = self.resolve(path);
            self.roots(&path, place);
            path
        });
        let mode = raw.mode();
        if mode == ClientTlsMode::VerifyClient && raw.client_ca.is_absent() {
            let place = raw.mode.place().unwrap_or(place);
            let hint = r#"write client_ca = "/etc/pgwarden/clients.crt", or mode = "require""#;
            self.problem(place, Some("\"verify-client\""), "client_ca beside it", hint);
        }
        let (server_name_tenant, version_min) = (raw.server_name_tenant(), raw.version_min());
        Some(ClientTls { mode, cert: cert?, key: key?, client_ca, server_name_tenant, version_min })
    }

    fn admin(&mut self, raw: &RawConfig, server: &Server) -> Admin {
        let empty = RawAdmin::default();
        let admin = raw.admin.value().unwrap_or(&empty);
        let users = names_of(&raw.users);
        for field in [&admin.admins, &admin.viewers] {
            for (i, name) in field.value().into_iter().flatten().enumerate() {
                let place = field.place().cloned().unwrap_or_else(Place::root).item_of_same_line(i);
                self.reference(&name.0, &users, &place, "a user of this file", "users");
            }
        }
        let database = admin.database().0;
        if let Some((_, _, place)) = entries(&raw.databases).iter().find(|(name, ..)| **name == *database) {
            let hint = "rename the database, or write database = \"OTHER\" in [admin]";
            self.problem(place, None, "a name other than the console's", hint);
        }
        if let Some((http, place)) = admin.http.found() {
            if http.port() != 0 && server.listen.contains(http) {
                let hint = "choose another port for one of them";
                self.problem(
                    place,
                    Some(&quoted(&http.to_string())),
                    "an address that [server] does not listen on",
                    hint,
                );
            }
            if !http.ip().is_loopback() {
                let hint = "keep it on a private network: no password is asked there";
                self.warn(place, Some(&quoted(&http.to_string())), "a loopback address", hint);
            }
        }
        Admin {
            database,
            admins: admin.admins().into_iter().map(|name| name.0).collect(),
            viewers: admin.viewers().into_iter().map(|name| name.0).collect(),
            http: admin.http.value().copied(),
        }
    }

    fn shards(&mut self, field: &Field<Named<RawShard>>) -> BTreeMap<Arc<str>, Shard> {
        if field.is_absent() || field.value().is_some_and(|shards| shards.0.is_empty()) {
            let hint = r#"write [shards.main] and in it primary = { host = "127.0.0.1" }"#;
            self.problem(&Place::root().child("shards", None), None, "a shard", hint);
        }
        let mut shards = BTreeMap::new();
        for (i, (name, raw, place)) in entries(field).iter().enumerate() {
            if i == 1 {
                let hint = "remove all shards but one";
                self.problem(place, None, "exactly one shard: this version serves no more", hint);
            }
            let hint = r#"write primary = { host = "127.0.0.1" }"#;
            let Some(node) = self.required(&raw.primary, place, "primary", hint) else { continue };
            if let Some(primary) = self.node(node, raw.primary.place().unwrap_or(place)) {
                shards.insert(name.clone(), Shard { name: name.clone(), primary });
            }
        }
        shards
    }

    fn node(&mut self, raw: &RawNode, place: &Place) -> Option<Node> {
        let port = raw.port().0 as u16;
        let address = match (&raw.host, &raw.socket_dir) {
            (Field::Found(host, _), Field::Absent) => Some(NodeAddress::Tcp { host: host.0.clone(), port }),
            (Field::Absent, Field::Found(dir, place)) => {
                let dir = self.resolve(dir);
                self.directory_of_socket(&dir, port, place, Side::Theirs);
                Some(NodeAddress::Unix { dir, port })
            }
            (Field::Absent, Field::Absent) => {
                let hint = r#"write host = "127.0.0.1", or socket_dir = "/run/postgresql""#;
                self.problem(place, None, "a host or a socket_dir", hint);
                None
            }
            (Field::Bad(_), Field::Absent) | (Field::Absent, Field::Bad(_)) => None,
            (Field::Bad(_) | Field::Found(..), Field::Bad(_) | Field::Found(..)) => {
                self.problem(place, Some("both"), "either host or socket_dir", "remove one of them");
                None
            }
        };
        let tls = self.server_tls(raw, address.as_ref(), place);
        Some(Node { address: address?, tls, connect_timeout: raw.connect_timeout().0 })
    }

    fn server_tls(&mut self, raw: &RawNode, address: Option<&NodeAddress>, place: &Place) -> ServerTls {
        let mode = raw.tls();
        let far = matches!(address, Some(NodeAddress::Tcp { host, .. }) if !is_loopback(host));
        if far && mode != ServerTlsMode::VerifyFull {
            let place = raw.tls.place().unwrap_or(place);
            let hint = r#"write tls = "verify-full" and tls_ca, or be sure of the network between"#;
            let expected = "a verified server: whoever is on the path can pose as it";
            self.warn(place, Some(mode_text(mode)), expected, hint);
        }
        let ca = raw.tls_ca.found().map(|(path, place)| {
            if mode != ServerTlsMode::VerifyFull {
                let hint = r#"write tls = "verify-full", or remove tls_ca"#;
                self.warn(
                    place,
                    Some(mode_text(mode)),
                    "\"verify-full\" where tls_ca is set: it is not read otherwise",
                    hint,
                );
            }
            let path = self.resolve(path);
            self.roots(&path, place);
            path
        });
        let cert = raw.tls_cert.value().map(|path| self.resolve(path));
        let key = raw.tls_key.value().map(|path| self.resolve(path));
        match (&raw.tls_cert, &raw.tls_key) {
            (Field::Absent, Field::Found(_, place)) => {
                self.problem(place, None, "tls_cert beside tls_key", "add tls_cert, or remove tls_key");
            }
            (Field::Found(_, place), Field::Absent) => {
                self.problem(place, None, "tls_key beside tls_cert", "add tls_key, or remove tls_cert");
            }
            _ => self.certificate_and_key(cert.as_deref(), raw.tls_cert.place(), key.as_deref(), raw.tls_key.place()),
        }
        ServerTls { mode, ca, cert, key }
    }

    fn databases(
        &mut self,
        field: &Field<Named<RawDatabase>>,
        shards: &Field<Named<RawShard>>,
        pool: &RawPool,
    ) -> BTreeMap<Arc<str>, Arc<Database>> {
        if field.is_absent() || field.value().is_some_and(|databases| databases.0.is_empty()) {
            let place = Place::root().child("databases", None);
            self.problem(&place, None, "a database", "write [databases.NAME] for each database that clients ask for");
        }
        let shards = names_of(shards);
        let mut databases = BTreeMap::new();
        for (name, raw, place) in entries(field) {
            let shard = match &raw.shard {
                Field::Found(shard, place) => {
                    self.reference(&shard.0, &shards, place, "a shard of this file", "shards");
                    Some(shard.0.clone())
                }
                Field::Absent => {
                    if shards.len() > 1 {
                        let hint = format!("write shard = {}", quoted(shards[0]));
                        self.problem(place, None, "the shard's name, as there are several", &hint);
                    }
                    shards.first().map(|only| Arc::from(*only))
                }
                Field::Bad(_) => None,
            };
            let Some(shard) = shard else { continue };
            let server_database = raw.server_database.value().map_or_else(|| name.clone(), |name| name.0.clone());
            let connections_max = raw.connections_max().get();
            let tenancy = self.tenancy(&raw.tenancy, pool).map(Arc::new);
            let database = Database { name: name.clone(), shard, server_database, connections_max, tenancy };
            databases.insert(name.clone(), Arc::new(database));
        }
        databases
    }

    /// A key that has to be there.
    fn required<'f, T>(&mut self, field: &'f Field<T>, section: &Place, name: &str, hint: &str) -> Option<&'f T> {
        if field.is_absent() {
            self.problem(&section.child(name, section.line), None, "a value: this key is required", hint);
        }
        field.value()
    }

    /// A name that has to be one of `known`.
    fn reference(&mut self, name: &str, known: &[&str], place: &Place, expected: &str, section: &str) {
        if known.contains(&name) {
            return;
        }
        let hint = match nearest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean {}?", quoted(meant)),
            None if known.is_empty() => format!("add [{section}.{name}]"),
            None => {
                let shown: Vec<String> = known.iter().take(8).map(|name| quoted(name)).collect();
                format!("add [{section}.{name}], or write {}", any_of(&shown))
            }
        };
        self.problem(place, Some(&quoted(name)), expected, &hint);
    }

    /// Relative paths are taken from the configuration file's directory.
    fn resolve(&self, path: &FilePath) -> PathBuf {
        let beside = self.file.parent().filter(|above| !above.as_os_str().is_empty());
        // Nothing is in a directory without a name, not even what is beside it.
        beside.unwrap_or(Path::new(".")).join(&path.0)
    }

    fn problem(&mut self, place: &Place, found: Option<&str>, expected: &str, hint: &str) {
        self.problems.push(place.problem(found.map(str::to_owned), expected, hint));
    }

    fn warn(&mut self, place: &Place, found: Option<&str>, expected: &str, hint: &str) {
        self.warnings.push(place.problem(found.map(str::to_owned), expected, hint));
    }
}

/// Whose socket lies in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Theirs,
}

impl Place {
    fn item_of_same_line(&self, index: usize) -> Self {
        self.item(index, self.line)
    }
}

fn entries<T>(field: &Field<Named<T>>) -> &[(Arc<str>, T, Place)] {
    field.value().map_or(&[], |named| &named.0)
}

fn names_of<T>(field: &Field<Named<T>>) -> Vec<&str> {
    entries(field).iter().map(|(name, ..)| name.as_ref()).collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(256))
}

fn keepalive(raw: &RawKeepalive) -> Keepalive {
    Keepalive { idle: raw.idle().0, interval: raw.interval().0, retries: raw.retries().0 }
}

pub(super) fn log(raw: &RawLog) -> Log {
    Log {
        level: raw.level(),
        format: raw.format(),
        connections: raw.connections(),
        disconnections: raw.disconnections(),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether everything that pgwarden listens on is reachable from this machine only.
fn only_local(listen: &[SocketAddr]) -> bool {
    listen.iter().all(|address| address.ip().is_loopback())
}

fn mode_text(mode: ServerTlsMode) -> &'static str {
    match mode {
        ServerTlsMode::Disable => "\"disable\"",
        ServerTlsMode::Prefer => "\"prefer\"",
        ServerTlsMode::Require => "\"require\"",
        ServerTlsMode::VerifyFull => "\"verify-full\"",
    }
}
