//! Plain, validated configuration.
//!
//! What the operator typed (`raw`) becomes what the program needs (this module); nothing else in the crate parses
//! configuration strings. Nothing here compiles policies, opens sockets or reads the clock: a `Config` is a value that
//! can be compared, cloned and printed (secrets redact themselves).

mod account;
mod audit;
mod check;
mod problem;
mod raw;
mod read;
pub mod reference;
mod tenancy;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;

pub use account::{Account, Mismatch};
pub use audit::{Audit, CopyTo, Durability, OnFailure, Shipped, SinkTo, Values};
use check::Checker;
pub use problem::{Problem, Problems};
use raw::RawConfig;
use read::{Reader, Section as _, read_table};
pub use tenancy::{
    BaseRole, ContextKind, Isolation, Limits, Rewrite, Role, RowIsolation, SealKey, ServerLogin, Tenancy, Tenant,
    TenantPlace, TenantsOf,
};

/// A configuration without problems, and what is unwise in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Problem>,
}

/// Reads and checks a configuration file with everything that it names. All problems come at once.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let fail = |found: String, hint: &str| {
        let problem = problem::Place::root().problem(Some(found), "a configuration file in TOML", hint);
        Problems(vec![Problem { file: path.to_path_buf(), ..problem }])
    };
    let bytes = check::read_bounded(path, FILE_SIZE_MAX)
        .map_err(|error| fail(check::reason(&error), "name a file that this process can read"))?;
    let text = String::from_utf8(bytes).map_err(|_| fail("other bytes than UTF-8".to_owned(), "save it as UTF-8"))?;
    load_text(path, &text, &|name| std::env::var(name).ok())
}

/// Whether a name can be a role's, a database's, a tenant's or a user's; what it has to be, otherwise.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    read::valid_name(name)
}

/// A tenant's limits, written as a JSON object with the keys and values of `limits` in the file.
///
/// # Errors
/// What is wrong with the first of them that cannot be used.
pub fn limits_of(values: &serde_json::Map<String, serde_json::Value>) -> Result<Limits, String> {
    let mut table = toml::Table::new();
    for (key, value) in values {
        let value = match (value.as_i64(), value.as_str()) {
            (Some(number), _) => toml::Value::Integer(number),
            (None, Some(text)) => toml::Value::String(text.to_owned()),
            (None, None) => return Err(format!("{key:?} is neither a whole number nor a string")),
        };
        table.insert(key.clone(), value);
    }
    let text = table.to_string();
    let (table, errors) = DeTable::parse_recoverable(&text);
    let mut reader = Reader::new(&text, raw::RawLimits::KEYS);
    reader.problems.extend(reader.syntax(&errors));
    let raw: raw::RawLimits = read_table(table.get_ref(), &problem::Place::root(), &mut reader);
    match reader.problems.first() {
        None => Ok(check::limits(&raw)),
        Some(Problem { key, found, expected, hint, .. }) => match found {
            Some(found) => Err(format!("{key}: found {found}, expected {expected}; {hint}")),
            None => Err(format!("{key}: expected {expected}; {hint}")),
        },
    }
}

/// A name as a key of a configuration file: bare where TOML allows it, quoted and escaped otherwise.
pub fn toml_key(name: &str) -> String {
    if problem::is_bare(name) { name.to_owned() } else { toml::Value::from(name).to_string() }
}

/// Checks a configuration's text as if it were in the file `path`, with the environment given.
fn load_text(path: &Path, text: &str, env: check::Env<'_>) -> Result<Loaded, Problems> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(text, RawConfig::KEYS);
    if !errors.is_empty() {
        return Err(in_order(path, reader.syntax(&errors)));
    }
    let raw: RawConfig = read_table(table.get_ref(), &problem::Place::root(), &mut reader);
    let mut checker = Checker::new(path, env);
    let config = checker.config(&raw);
    let mut problems = reader.problems;
    problems.append(&mut checker.problems);
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, warnings: in_order(path, checker.warnings).0 }),
        Some(_) | None => Err(in_order(path, problems)),
    }
}

/// Problems of a file in the order of its lines; what is missing altogether comes last.
fn in_order(path: &Path, mut problems: Vec<Problem>) -> Problems {
    for problem in &mut problems {
        problem.file = path.to_path_buf();
    }
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    Problems(problems)
}

/// Largest configuration file.
const FILE_SIZE_MAX: u64 = 16 << 20;

/// Everything `serve` needs to know, checked as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub source: PathBuf,
    pub server: Server,
    pub tls: Option<ClientTls>,
    pub admin: Admin,
    pub log: Log,
    /// Absent: nothing is recorded.
    pub audit: Option<Arc<Audit>>,
    /// Shards by name. The first issue serves exactly one.
    pub shards: BTreeMap<Arc<str>, Shard>,
    /// Databases by the name that clients ask for.
    pub databases: BTreeMap<Arc<str>, Arc<Database>>,
    /// Tenants of the file by name; a tenancy's directory may have more.
    pub tenants: BTreeMap<Arc<str>, Arc<Tenant>>,
    /// Roles by name, the built-in ones included.
    pub roles: BTreeMap<Arc<str>, Arc<Role>>,
    /// Users by the name that clients log in with.
    pub users: BTreeMap<Arc<str>, Arc<User>>,
}

/// pgwarden's own sockets, workers and limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// TCP addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Directory for the `.s.PGSQL.<port>` socket; absent: no Unix socket.
    pub unix_socket_dir: Option<PathBuf>,
    /// Port number in the Unix socket's name where no TCP address is given; otherwise the first one's port is in it.
    pub unix_socket_port: u16,
    /// Worker threads, each with its own runtime, listeners and share of backends. At least 1.
    pub workers: usize,
    /// Client connections in all; more are refused with 53300.
    pub clients_max: usize,
    /// Time from accept to the end of the login.
    pub login_timeout: Duration,
    /// Password tries a connection has before it is closed. At least 1. (PostgreSQL's own protocol allows one a connection;
    /// this bounds the failures per client address within `login_timeout`.)
    pub login_failures_max: u32,
    /// Longest wait for a backend before 53300.
    pub queue_timeout: Duration,
    /// Clients waiting for one pool's backends, at most; more are refused with 53300.
    pub queue_max: usize,
    /// A client that sends nothing for so long, outside a transaction, is closed; zero: never.
    pub client_idle_timeout: Duration,
    /// A client that holds a transaction open for so long without sending anything is closed; zero: never.
    pub idle_in_transaction_timeout: Duration,
    /// A statement that runs for longer is cancelled with 57014; zero: never.
    pub query_timeout: Duration,
    /// On SIGTERM, how long transactions may take to end before they are cut.
    pub drain_timeout: Duration,
    /// One message from a client, at most (bytes).
    pub message_size_max: usize,
    /// Text of one statement, at most (bytes).
    pub statement_size_max: usize,
    /// Bytes buffered for a slow peer, per connection and direction, before reading from the other side stops.
    pub buffer_size_max: usize,
    /// Keepalive of TCP connections on both sides.
    pub keepalive: Keepalive,
    /// Cancel requests under way at once; more wait.
    pub cancels_max: usize,
}

/// TCP keepalive; zero leaves the system's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keepalive {
    pub idle: Duration,
    pub interval: Duration,
    pub retries: u32,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientTls {
    pub mode: ClientTlsMode,
    /// PEM chain, leaf first.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    /// PEM roots that client certificates must chain to; absent: none are asked for.
    pub client_ca: Option<PathBuf>,
    /// The first label of the server name that a client asks for names its tenant.
    pub server_name_tenant: bool,
    /// Lowest protocol version.
    pub version_min: TlsVersion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTlsMode {
    /// Offered; plain connections are taken too.
    Allow,
    /// Plain TCP connections are refused with 28000. Unix sockets need none.
    Require,
    /// As `Require`, and the client must present a certificate that chains to `client_ca`.
    VerifyClient,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    V12,
    V13,
}

/// Console and HTTP endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// Name of the console's database.
    pub database: Arc<str>,
    /// Users who may change things (RELOAD, PAUSE, KILL ...).
    pub admins: Vec<Arc<str>>,
    /// Users who may only SHOW.
    pub viewers: Vec<Arc<str>>,
    /// `/metrics`, `/healthz`, `/readyz`, status page; absent: no HTTP.
    pub http: Option<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
    /// Log each client's login.
    pub connections: bool,
    /// Log each client's end.
    pub disconnections: bool,
}

/// What an absent `[log]` means.
impl Default for Log {
    fn default() -> Self {
        check::log(&raw::RawLog::default())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    Pretty,
    Json,
}

/// One shard: its primary (replicas come with routing).
#[derive(Debug, Clone, PartialEq)]
pub struct Shard {
    pub name: Arc<str>,
    pub primary: Node,
}

/// One PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    pub address: NodeAddress,
    pub tls: ServerTls,
    /// TCP connect plus TLS plus login, at most.
    pub connect_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NodeAddress {
    Tcp {
        host: Arc<str>,
        port: u16,
    },
    /// The socket's directory and port number, as libpq has it.
    Unix {
        dir: PathBuf,
        port: u16,
    },
}

impl fmt::Display for NodeAddress {
    /// `host:port`, or the socket's path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeAddress::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            NodeAddress::Tcp { host, port } => write!(f, "{host}:{port}"),
            NodeAddress::Unix { dir, port } => write!(f, "{}/.s.PGSQL.{port}", dir.display()),
        }
    }
}

/// TLS towards a server, by libpq's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerTls {
    pub mode: ServerTlsMode,
    /// PEM roots; absent: the bundled Mozilla roots (only read in `VerifyFull`).
    pub ca: Option<PathBuf>,
    /// Client certificate and key towards the server.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerTlsMode {
    Disable,
    /// TLS where the server offers it, unverified.
    Prefer,
    /// TLS or nothing, unverified.
    Require,
    /// TLS, chain and host name verified.
    VerifyFull,
}

/// A database as clients see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    pub name: Arc<str>,
    pub shard: Arc<str>,
    /// Its name on the server.
    pub server_database: Arc<str>,
    /// Backends in all, over users and workers.
    pub connections_max: usize,
    /// Absent: it has no tenants.
    pub tenancy: Option<Arc<Tenancy>>,
}

/// A user as clients log in, and how the proxy logs in for them.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub name: Arc<str>,
    pub secret: Option<UserSecret>,
    /// May log in with a client certificate whose common name is this, and no password.
    pub cert_cn: Option<Arc<str>>,
    /// Databases the user may open; empty: all.
    pub databases: Vec<Arc<str>>,
    pub tenants: TenantsOf,
    /// What a user of tenants may do; absent for all others.
    pub role: Option<Arc<Role>>,
    /// Role on the server; not used for a user of tenants, nor are `server_password`, `server_auth` and `pool`.
    pub server_user: Arc<str>,
    pub server_password: Option<Secret>,
    /// Weaker methods the proxy may answer when the server asks for them.
    pub server_auth: ServerAuth,
    pub pool: PoolSettings,
    /// Client connections of this user; more are refused with 53300.
    pub clients_max: usize,
    /// What becomes of state that cannot follow a session over backends.
    pub session_state: SessionState,
    /// Last moment (Unix seconds) at which a login is accepted.
    pub valid_until: Option<u64>,
}

/// What a user's password is checked against.
#[derive(Debug, Clone, PartialEq)]
pub enum UserSecret {
    /// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, as in `pg_authid`.
    Verifier(Secret),
    /// A plain password in the config: accepted, with a warning; the verifier is derived once at load.
    Plain(Secret),
    /// No password asked. Only on loopback or Unix sockets, and only with `danger_trust`.
    Trust,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerAuth {
    pub md5: Permit,
    pub cleartext: Permit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    Refuse,
    Accept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// A backend is pinned to the session for as long as the state lasts.
    Pin,
    /// The statement is refused with 0A000 and a hint.
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    Transaction,
    Session,
}

/// A pool's settings; a pool is keyed by node, server database and server user.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSettings {
    pub mode: PoolMode,
    /// Backends at most, over all workers. At least 1.
    pub size: usize,
    /// Backends kept open while idle.
    pub size_min: usize,
    /// A backend is closed once idle for so long; zero: never.
    pub server_idle_timeout: Duration,
    /// A backend is closed, when free, once so old; zero: never. Jittered by a tenth.
    pub server_lifetime: Duration,
    /// Prepared statements kept per backend; 0 turns their reuse off (they still work).
    pub prepared_max: usize,
    /// Pause between failed logins to the server: first and longest.
    pub login_retry_min: Duration,
    pub login_retry_max: Duration,
}

/// A string that never shows itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself; the name makes each use easy to find.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
