//! The directory of a tenancy: tenants and users that are kept in the database itself, in `pgwarden.tenants` and
//! `pgwarden.users`, read at start and followed.
//!
//! A [`Follower`] keeps one connection to the server. It listens before it reads, so that no change falls between the two;
//! it reads everything anew when it is told of a change, however many changes that were; and it looks every few seconds
//! whether the connection still lives, and whether a change was missed. When the connection is lost it comes back with
//! growing pauses and reads again. It holds no snapshot and decides nothing: what the rows come to is `people`'s.
//!
//! The server is untrusted: rows are bounded in size, number and time, and none is shown in the log.

mod link;
pub mod schema;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{Config, Node, ServerLogin};
use crate::people::Rows;
use crate::pool::connect::{ConnectError, Connector};
use crate::wire::frame::FrameError;
use link::Link;

/// Where a directory is, and as whom it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub node: Arc<Node>,
    /// The database's name on the server.
    pub server_database: Arc<str>,
    pub login: ServerLogin,
}

/// The directories of a configuration, by the database's name.
pub fn sources(config: &Config) -> BTreeMap<Arc<str>, Source> {
    let mut sources = BTreeMap::new();
    for database in config.databases.values() {
        let login = database.tenancy.as_ref().and_then(|tenancy| tenancy.directory.clone());
        if let (Some(login), Some(shard)) = (login, config.shards.get(&database.shard)) {
            let node = Arc::new(shard.primary.clone());
            let server_database = database.server_database.clone();
            sources.insert(database.name.clone(), Source { node, server_database, login });
        }
    }
    sources
}

/// Why a directory cannot be read.
#[derive(Debug, Error)]
pub enum DirectoryError {
    #[error("cannot log in: {0}")]
    Connect(#[from] ConnectError),
    #[error("the server refused, SQLSTATE {sqlstate}: {message}")]
    Refused { sqlstate: String, message: String },
    #[error("the connection was lost: {0}")]
    Lost(#[source] std::io::Error),
    #[error("the server broke the protocol: {0}")]
    Protocol(#[from] FrameError),
    #[error("more than {ROWS_MAX} rows")]
    TooMany,
    #[error("the server did not answer in time")]
    Timeout,
}

/// Rows of one table, at most.
const ROWS_MAX: usize = 1_000_000;

/// How often a quiet connection is tried.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long one reading, and one heartbeat, may take.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(5);

/// Pauses between attempts: first and longest.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Of the time, one part in so many is spent on reading, however fast changes come.
const IDLE_SHARE: u32 = 3;

/// What became of a directory.
#[derive(Debug)]
pub enum Update {
    /// It was read.
    Rows(Rows),
    /// It is as it was.
    Same,
    /// It cannot be read now; what was read last stays true as far as anybody knows.
    Unreachable(DirectoryError),
}

/// One directory's connection.
#[derive(Debug)]
pub struct Follower {
    source: Source,
    link: Option<Link>,
    /// As of the last reading.
    revision: Option<i64>,
    /// The next pause after a failure.
    retry: Duration,
    /// There was a failure, and no success since.
    failed: bool,
    /// No reading before this moment.
    rested_at: Instant,
}

impl Follower {
    pub fn new(source: Source) -> Self {
        Self { source, link: None, revision: None, retry: RETRY_MIN, failed: false, rested_at: Instant::now() }
    }

    /// Waits for the next thing to know: a first reading at once, then one whenever the tables change or `again` is
    /// notified.
    ///
    /// This is not cancel safe: dropping it closes the connection.
    pub async fn next(&mut self, connector: &Connector, again: &Notify) -> Update {
        if self.failed {
            tokio::select! {
                () = sleep(self.retry.mul_f64(0.5 + rand::random::<f64>() / 2.0)) => {}
                () = again.notified() => {}
            }
        }
        let link = self.link.take();
        match self.step(link, connector, again).await {
            Ok(update) => {
                (self.failed, self.retry) = (false, RETRY_MIN);
                update
            }
            Err(error) => {
                if self.failed {
                    self.retry = (self.retry * 2).min(RETRY_MAX);
                }
                self.failed = true;
                Update::Unreachable(error)
            }
        }
    }

    async fn step(
        &mut self,
        link: Option<Link>,
        connector: &Connector,
        again: &Notify,
    ) -> Result<Update, DirectoryError> {
        let Some(mut link) = link else {
            let mut link = Link::connect(&self.source, connector).await?;
            link.run(&format!("LISTEN {}", schema::CHANNEL), READ_TIMEOUT).await?;
            return self.read(link).await.map(Update::Rows);
        };
        tokio::select! {
            told = link.notified() => told?,
            () = again.notified() => {}
            () = sleep(HEARTBEAT) => {
                let revision = revision_of(&link.run(schema::READ_REVISION, HEARTBEAT_TIMEOUT).await?);
                // A change tells of itself at its commit, and moves the revision before.
                if revision == self.revision && !link.take_notified() {
                    self.link = Some(link);
                    return Ok(Update::Same);
                }
            }
        }
        sleep_until(self.rested_at).await;
        self.read(link).await.map(Update::Rows)
    }

    async fn read(&mut self, mut link: Link) -> Result<Rows, DirectoryError> {
        let began = Instant::now();
        // Whatever was told until now is in what is read now.
        link.take_notified();
        link.run(schema::BEGIN, HEARTBEAT_TIMEOUT).await?;
        let revision = link.run(schema::READ_REVISION, HEARTBEAT_TIMEOUT).await?;
        let tenants = link.run(schema::READ_TENANTS, READ_TIMEOUT).await?;
        let users = link.run(schema::READ_USERS, READ_TIMEOUT).await?;
        link.run("COMMIT", HEARTBEAT_TIMEOUT).await?;
        let rows = tokio::task::spawn_blocking(move || Rows::parse(&tenants, &users));
        let rows = rows.await.map_err(|_| DirectoryError::Timeout)?;
        self.revision = revision_of(&revision);
        self.rested_at = Instant::now() + began.elapsed() * (IDLE_SHARE - 1);
        self.link = Some(link);
        Ok(rows)
    }
}

fn revision_of(rows: &[String]) -> Option<i64> {
    rows.first()?.parse().ok()
}
