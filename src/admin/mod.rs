//! The console (`psql -d pgwarden`), the HTTP endpoint and the status page: views on snapshots, and commands to the proxy.
//!
//! Nothing here touches a pool or a session: all that is shown comes from a [`Snapshot`] and the configuration, and all
//! that is done goes through [`Control::command`]. No secret is ever shown, to admins neither. The HTTP endpoint only reads.

pub mod console;
pub mod exposition;
#[cfg(test)]
mod fake;
pub mod history;
pub mod http;
pub mod status;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::audit::Figures;
use crate::metrics::Snapshot;
use history::History;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the console and the HTTP endpoint may ask of the running proxy. `proxy` implements it; tests use a fake.
pub trait Control: Send + Sync {
    fn snapshot(&self) -> BoxFuture<'_, Snapshot>;
    fn command(&self, command: Command) -> BoxFuture<'_, Result<(), CommandError>>;
    /// Ready to serve: listeners up, not draining, and a server of every shard could be reached lately.
    fn ready(&self) -> Result<(), String>;
    /// What is worth knowing though it keeps nobody from being served, a line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
    /// How the audit's log fares; absent without one.
    fn log(&self) -> Option<Figures>;
    /// An admin is about to run a command of the console.
    fn note_command(&self, _user: &str, _client: &str, _command: &Command) {}
    /// The configuration in force.
    fn config(&self) -> std::sync::Arc<crate::config::Config>;
}

/// What the console's sessions and the HTTP endpoint share: the proxy's controls, and the past minute's counters.
pub struct Service {
    control: Arc<dyn Control>,
    history: History,
}

impl Service {
    pub fn new(control: Arc<dyn Control>) -> Arc<Self> {
        Arc::new(Self { control, history: History::default() })
    }

    /// Takes a sample of the counters every few seconds, for averages, until `shutdown` turns true or its sender is gone.
    /// Without it, averages are taken since the start.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(history::SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopped(&mut shutdown) => return,
                _ = ticks.tick() => self.history.record(&self.control.snapshot().await),
            }
        }
    }
}

/// Returns once `shutdown` is true or its sender is gone. Holds no lock of the channel, unlike `wait_for`'s result.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
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
    /// Drain and stop, as SIGTERM does: DRAIN or SHUTDOWN.
    Shutdown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// `what` names the thing, as in `database "billing"` or `client 7`.
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
