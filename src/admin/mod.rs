//! The console (`psql -d pgwarden`), the HTTP endpoint and the status page: views on snapshots, and commands to the proxy.

use std::future::Future;
use std::pin::Pin;

use crate::metrics::Snapshot;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the console and the HTTP endpoint may ask of the running proxy. `proxy` implements it; tests use a fake.
pub trait Control: Send + Sync {
    fn snapshot(&self) -> BoxFuture<'_, Snapshot>;
    fn command(&self, command: Command) -> BoxFuture<'_, Result<(), CommandError>>;
    /// Ready to serve: listeners up, not draining, and a server of every shard could be reached lately.
    fn ready(&self) -> Result<(), String>;
    /// The configuration in force.
    fn config(&self) -> std::sync::Arc<crate::config::Config>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration file again; all or nothing.
    Reload,
    /// Stop lending backends (of one database as clients name it, or of all); returns once none is lent.
    Pause {
        database: Option<String>,
    },
    Resume {
        database: Option<String>,
    },
    /// Close one client (by `SHOW CLIENTS` id).
    KillClient {
        id: u64,
    },
    /// Close all clients and backends of a database, and keep it paused until RESUME.
    Kill {
        database: Option<String>,
    },
    /// Drain and stop, as SIGTERM does.
    Shutdown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    NotFound {
        what: String,
    },
    /// The configuration was not applied: every problem, one a line.
    Config {
        problems: Vec<String>,
    },
    Unavailable {
        reason: String,
    },
}
