//! Tenants who share tables: what each sees, and what becomes of the context that says whom a session speaks for.

mod context;
mod identity;
mod walls;

use std::net::SocketAddr;

use crate::kit::{self, Config, Proxy, Server};
use crate::talk::{Talk, startup};

/// How the database learns whose rows a session may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    Sealed,
    Setting,
}

impl Context {
    pub const BOTH: [Self; 2] = [Self::Sealed, Self::Setting];

    /// Each way, on each server.
    pub fn everywhere() -> impl Iterator<Item = (Server, Self)> {
        Server::BOTH.into_iter().flat_map(|server| Self::BOTH.map(|context| (server, context)))
    }
}

/// Whether the database itself keeps tenants apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wall {
    Protected,
    /// No row security: everybody's rows are everybody's.
    Absent,
}

/// A database with shared tables, the tenants `acme` (1) and `globex` (2), each with a user of its name, `acme_reader` who only
/// reads, `boss` of both, and a proxy before it.
pub struct Stage {
    server: Server,
    pub database: kit::Database,
    /// The role on the server that tenants share.
    pub shared: kit::Account,
    pub proxy: Proxy,
    /// Read again at each reload.
    _keys: tempfile::TempDir,
}

/// The tables, with two tenants' rows. What is the other tenant's says so.
const TABLES: &str = "
    CREATE TABLE invoices (tenant_id bigint NOT NULL, id int NOT NULL, note text, PRIMARY KEY (tenant_id, id));
    INSERT INTO invoices SELECT 1, n, 'of acme ' || n FROM generate_series(1, 3) n;
    INSERT INTO invoices SELECT 2, n, 'of globex ' || n FROM generate_series(1, 5) n;";

/// A key of the seal; any would do.
pub const KEY: &str = "6b657920666f7220746573747320616e64206e6f7468696e6720656c73652e2e";

impl Stage {
    #[track_caller]
    pub fn new(context: Context) -> Self {
        Self::with(context, 1, |config| config)
    }

    /// `size`: of the pool. `change`: what differs in the configuration.
    #[track_caller]
    pub fn with(context: Context, size: i64, change: impl FnOnce(Config) -> Config) -> Self {
        Self::built(context, size, Wall::Protected, change)
    }

    #[track_caller]
    fn built(context: Context, size: i64, wall: Wall, change: impl FnOnce(Config) -> Config) -> Self {
        Self::on(Server::Installed, context, size, wall, change)
    }

    #[track_caller]
    fn on(server: Server, context: Context, size: i64, wall: Wall, change: impl FnOnce(Config) -> Config) -> Self {
        let database = server.database();
        let shared = server.role();
        server.sql(&database.name, &format!("SET ROLE {}; {TABLES}", database.owner.name));
        let keys = tempfile::Builder::new().prefix("pgwarden-keys").tempdir().expect("a directory");
        let file = keys.path().join("seal.keys");
        std::fs::write(&file, format!("1:{KEY}\n")).expect("a file of keys");
        let tenancy = format!("databases.{}.tenancy", database.name);
        let mut config = Config::for_cluster(server.cluster())
            .set("pool.size", size)
            .database(&database.name)
            .set(&format!("{tenancy}.server_user"), shared.name.as_str())
            .set(&format!("{tenancy}.server_password"), shared.password.as_str())
            .set("tenants.acme.key", "1")
            .set("tenants.globex.key", "2");
        config = match context {
            Context::Sealed => config.set(&format!("{tenancy}.keys_file"), file.display().to_string()),
            Context::Setting => {
                config.set(&format!("{tenancy}.context"), "setting").set(&format!("{tenancy}.setting"), "app.tenant_id")
            }
        };
        for tenant in ["acme", "globex"] {
            config = config
                .set(&format!("users.{tenant}.tenant"), tenant)
                .set(&format!("users.{tenant}.danger_trust"), true);
        }
        config = config
            .set("users.acme_reader.tenant", "acme")
            .set("users.acme_reader.role", "reader")
            .set("users.acme_reader.danger_trust", true);
        config = config.set("users.boss.all_tenants", true).set("users.boss.danger_trust", true);
        let config = change(config);
        match wall {
            Wall::Protected => protect(server, &config, &database),
            Wall::Absent => {
                server.sql(&database.name, &format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}", shared.name));
            }
        }
        let proxy = Proxy::start(config);
        Self { server, database, shared, proxy, _keys: keys }
    }

    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// A session of a user.
    #[track_caller]
    pub fn client(&self, user: &str) -> Talk {
        Talk::login(self.address(), &[("user", user), ("database", &self.database.name)], "")
    }

    /// Why a login is refused: SQLSTATE and message.
    #[track_caller]
    pub fn refused(&self, pairs: &[(&str, &str)]) -> (String, String) {
        let mut talk = Talk::open(self.address());
        talk.say(&[startup(pairs)]);
        let _ = talk.until_closed();
        let field = |kind: u8| talk.error.get(&kind).cloned().unwrap_or_default();
        (field(b'C'), field(b'M'))
    }
}

/// Makes the database safe, as the README says.
#[track_caller]
fn protect(server: Server, config: &Config, database: &kit::Database) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("pgwarden.toml");
    std::fs::write(&file, config.0.to_string()).expect("a configuration file");
    let cluster = server.cluster();
    let (user, password, address) = (cluster.superuser(), cluster.password(), cluster.address());
    let dsn = format!("postgresql://{user}:{password}@{address}/{}", database.name);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_pgwarden"))
        .args(["protect", "--config"])
        .arg(&file)
        .args(["--database", &database.name, "--dsn", &dsn, "--apply"])
        .output()
        .expect("pgwarden protect runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
