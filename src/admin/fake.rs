//! A proxy for tests: fixed numbers, and a list of the commands it was given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::{BoxFuture, Command, CommandError, Control};
use crate::audit::{CopyFigures, Figures, Signed, SinkFigures, State};
use crate::chain::{Hash, KeyId, Time};
use crate::config::*;
use crate::metrics::*;

pub struct Fake {
    pub snapshot: Mutex<Snapshot>,
    pub config: Arc<Config>,
    pub commands: Mutex<Vec<Command>>,
    pub ready: Mutex<Result<(), String>>,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            snapshot: Mutex::new(snapshot()),
            config: Arc::new(config()),
            commands: Mutex::new(Vec::new()),
            ready: Mutex::new(Ok(())),
        })
    }
}

impl Control for Fake {
    fn snapshot(&self) -> BoxFuture<'_, Snapshot> {
        Box::pin(async { self.snapshot.lock().unwrap().clone() })
    }

    /// A pause of `slow` never ends; `nothing` and client 999 do not exist; a reload fails while the snapshot is draining.
    fn command(&self, command: Command) -> BoxFuture<'_, Result<(), CommandError>> {
        Box::pin(async move {
            self.commands.lock().unwrap().push(command.clone());
            match command {
                Command::Pause { database: Some(name) } if name == "slow" => std::future::pending().await,
                Command::Pause { database: Some(name) } if name == "nothing" => {
                    Err(CommandError::NotFound { what: format!("database \"{name}\"") })
                }
                Command::KillClient { id: 999 } => Err(CommandError::NotFound { what: "client 999".into() }),
                Command::Reload if self.snapshot.lock().unwrap().draining => Err(CommandError::Config {
                    problems: vec!["line 3: unknown key \"sise\"".into(), "line 9: no unit".into()],
                }),
                Command::Shutdown if self.snapshot.lock().unwrap().draining => {
                    Err(CommandError::Unavailable { reason: "already shutting down".into() })
                }
                _ => Ok(()),
            }
        })
    }

    fn ready(&self) -> Result<(), String> {
        self.ready.lock().unwrap().clone()
    }

    fn config(&self) -> Arc<Config> {
        self.config.clone()
    }

    fn log(&self) -> Option<Figures> {
        Some(figures())
    }
}

/// Of a log whose disk is full.
fn figures() -> Figures {
    let mut sync_times = Histogram::default();
    sync_times.observe(Duration::from_micros(400));
    sync_times.observe(Duration::from_micros(3_000));
    let mut groups = [0; crate::audit::stream::GROUPS];
    (groups[0], groups[1], groups[5]) = (4, 3, 1);
    let since = SystemTime::UNIX_EPOCH + Duration::from_micros(CONNECTED);
    let root: Hash = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=".parse().unwrap();
    Figures {
        state: State::Failed { since, error: "No space left on device".into() },
        appended: 1_000,
        written: 990,
        synced: 980,
        covered: 970,
        queue_bytes: 4_096,
        queue_bytes_max: 8 << 20,
        last_sync: Duration::from_micros(3_000),
        sync_times,
        syncs: 2,
        groups,
        grouped: 40,
        bytes: 500_000,
        segments: 3,
        checkpoints: 9,
        signed: Some(Signed {
            size: 970,
            root,
            time: Time { micros: CONNECTED },
            key: KeyId([0xc7, 0x4f, 0x20, 0xa3]),
            note: "example.com/audit".into(),
        }),
        failures: 1,
        refused: 5,
        lost: 0,
        copies_failed: 2,
        copies: vec![CopyFigures {
            target: "/mnt/elsewhere".into(),
            sent: 7,
            missed: 2,
            error: Some("Permission denied".into()),
        }],
        sinks: vec![SinkFigures {
            target: "tls:collector.example.com:6514".into(),
            connected: true,
            sent: 980,
            acknowledged: 900,
            connects: 3,
            failures: 2,
            error: None,
        }],
        unshipped: 1,
    }
}

fn audit() -> Audit {
    Audit {
        directory: "/var/lib/pgwarden/audit".into(),
        origin: None,
        durability: Durability::Strict,
        on_failure: OnFailure::Block,
        key: Secret::new("hunter2"),
        next_key: None,
        segment_size: 256 << 20,
        segment_age: Duration::from_secs(86_400),
        retention_age: Duration::ZERO,
        retention_size: None,
        shipped: Shipped::Marker,
        checkpoint_interval: Duration::from_secs(1),
        checkpoint_records: 50_000,
        sinks: Vec::new(),
        sinks_ca: None,
        checkpoint_copies: vec![CopyTo::Directory("/mnt/elsewhere".into())],
        queue_size: 8 << 20,
        parameters: Values::Omit,
        columns: Default::default(),
        hash_key: None,
        raw_text_keys: None,
    }
}

const CONNECTED: u64 = 1_801_353_600_000_000;

fn snapshot() -> Snapshot {
    let client = ClientInfo {
        id: 7,
        worker: 0,
        user: "app".into(),
        database: "billing".into(),
        state: ClientState::Active,
        address: "10.1.2.3:50123".into(),
        application_name: "invoices".into(),
        tls: Some("TLSv1.3"),
        connected_at: CONNECTED,
        request_at: CONNECTED + 5_000_000,
        wait: Duration::ZERO,
        backend: Some(3),
        pin: Some("listen"),
        prepared: 2,
        tenant: Some("acme".into()),
    };
    let waiting = ClientInfo {
        id: 8,
        worker: 1,
        user: "reports".into(),
        state: ClientState::Waiting,
        address: "unix".into(),
        application_name: "".into(),
        tls: None,
        request_at: 0,
        wait: Duration::from_micros(1_250_000),
        backend: None,
        pin: None,
        prepared: 0,
        tenant: None,
        ..client.clone()
    };
    let backend = BackendInfo {
        id: 3,
        worker: 0,
        user: "app".into(),
        database: "billing".into(),
        shard: "main".into(),
        state: BackendState::Active,
        address: "127.0.0.1:5432".into(),
        pid: 4711,
        tls: None,
        connected_at: CONNECTED,
        request_at: CONNECTED + 5_000_000,
        client: Some(7),
        prepared: 2,
    };
    let mut counters = PoolCounters {
        transactions: 120,
        queries: 600,
        leases: 120,
        client_parses: 12,
        bytes_from_clients: 60_000,
        bytes_to_clients: 1_200_000,
        errors: 3,
        refusals: 1,
        backends_opened: 2,
        backends_closed: 1,
        prepared_hits: 90,
        prepared_misses: 10,
        ..PoolCounters::default()
    };
    for micros in [90, 150, 150, 9_000] {
        counters.query_time.observe(Duration::from_micros(micros));
        counters.transaction_time.observe(Duration::from_micros(2 * micros));
    }
    counters.wait_time.observe(Duration::from_micros(1_200));
    let pool = PoolInfo {
        shard: "main".into(),
        database: "billing".into(),
        user: "app".into(),
        mode: "transaction",
        size: 4,
        clients_active: 1,
        backends_active: 1,
        counters,
        ..PoolInfo::default()
    };
    let reports = PoolInfo {
        user: "reports".into(),
        clients_active: 0,
        clients_waiting: 1,
        clients_idle: 2,
        backends_active: 0,
        backends_idle: 1,
        wait_longest: Duration::from_micros(1_250_000),
        counters: PoolCounters { queries: 60, ..PoolCounters::default() },
        ..pool.clone()
    };
    Snapshot {
        uptime: Duration::from_secs(60),
        workers: 2,
        paused: false,
        paused_databases: vec!["archive".into()],
        draining: false,
        config_generation: 1,
        clients: vec![client, waiting],
        backends: vec![backend],
        pools: vec![pool, reports],
        closes: vec![("terminated", 5), ("client_lost", 1)],
        refusals: vec![("function", 3), ("rewrite_sample", 1)],
        logins_ok: 8,
        logins_failed: 2,
        cancels: 1,
        analyses: AnalysisCounters { hits: 500, misses: 100, entries: 40, bytes: 81_920 },
        directories: Vec::new(),
        tenants: vec![TenantInfo {
            name: "acme".into(),
            connections: 1,
            transactions: 1,
            statements: 600,
            refused: 4,
            limited: [0, 3, 1, 0, 0, 0, 0],
            ..TenantInfo::default()
        }],
    }
}

fn config() -> Config {
    let pool = PoolSettings {
        mode: PoolMode::Transaction,
        size: 4,
        size_min: 0,
        server_idle_timeout: Duration::from_secs(600),
        server_lifetime: Duration::from_secs(3_600),
        prepared_max: 256,
        login_retry_min: Duration::from_millis(250),
        login_retry_max: Duration::from_secs(10),
    };
    let app = User {
        name: "app".into(),
        secret: Some(UserSecret::Plain(Secret::new("hunter2"))),
        cert_cn: None,
        databases: vec![],
        tenants: Default::default(),
        role: None,
        server_user: "app".into(),
        server_password: Some(Secret::new("hunter2")),
        server_auth: ServerAuth { md5: Permit::Accept, cleartext: Permit::Refuse },
        pool: pool.clone(),
        clients_max: 100,
        session_state: SessionState::Pin,
        valid_until: None,
    };
    let reports = User {
        name: "reports".into(),
        secret: Some(UserSecret::Verifier(Secret::new("SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"))),
        databases: vec!["billing".into()],
        server_user: "reports_ro".into(),
        server_password: None,
        pool: PoolSettings { mode: PoolMode::Session, size: 2, ..pool },
        session_state: SessionState::Refuse,
        valid_until: Some(CONNECTED / 1_000_000),
        ..app.clone()
    };
    let database = |name: &str| Database {
        name: name.into(),
        shard: "main".into(),
        server_database: name.into(),
        connections_max: 80,
        tenancy: None,
    };
    let node = Node {
        address: NodeAddress::Tcp { host: "127.0.0.1".into(), port: 5432 },
        tls: ServerTls { mode: ServerTlsMode::Prefer, ca: None, cert: None, key: None },
        connect_timeout: Duration::from_secs(5),
    };
    Config {
        source: "/etc/pgwarden.toml".into(),
        server: Server {
            listen: vec!["127.0.0.1:6432".parse().unwrap()],
            unix_socket_dir: None,
            unix_socket_port: 6432,
            workers: 2,
            clients_max: 1_000,
            login_timeout: Duration::from_secs(15),
            login_failures_max: 20,
            queue_timeout: Duration::from_secs(30),
            queue_max: 5_000,
            client_idle_timeout: Duration::ZERO,
            idle_in_transaction_timeout: Duration::ZERO,
            query_timeout: Duration::ZERO,
            drain_timeout: Duration::from_secs(25),
            message_size_max: 64 << 20,
            statement_size_max: 256 << 10,
            buffer_size_max: 256 << 10,
            keepalive: Keepalive { idle: Duration::from_secs(60), interval: Duration::from_secs(10), retries: 5 },
            cancels_max: 64,
        },
        tls: None,
        admin: Admin {
            database: "pgwarden".into(),
            admins: vec!["admin".into()],
            viewers: vec!["grafana".into()],
            http: Some("127.0.0.1:9187".parse().unwrap()),
        },
        audit: Some(Arc::new(audit())),
        log: Log { level: LogLevel::Info, format: LogFormat::Auto, connections: true, disconnections: true },
        shards: BTreeMap::from([("main".into(), Shard { name: "main".into(), primary: node })]),
        tenants: BTreeMap::from([("acme".into(), Arc::new(tenant()))]),
        roles: Default::default(),
        databases: ["archive", "billing"].map(|name| (name.into(), Arc::new(database(name)))).into(),
        users: [app, reports].map(|user| (user.name.clone(), Arc::new(user))).into(),
    }
}

fn tenant() -> Tenant {
    let limits = Limits { transactions: Some(10), statement_time: Some(Duration::from_secs(30)), ..Limits::default() };
    let login = ServerLogin {
        user: "acme".into(),
        password: Some(Secret::new("hunter2")),
        auth: ServerAuth { md5: Permit::Refuse, cleartext: Permit::Refuse },
    };
    let place = TenantPlace::Schema { schema: "acme".into(), login };
    Tenant { name: "acme".into(), database: "billing".into(), enabled: true, place, limits }
}
