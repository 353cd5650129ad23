//! What the console and the HTTP endpoint may ask: [`Control`], answered by asking every worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Proxy;
use super::worker::{Part, WorkerMessage};
use crate::admin::{BoxFuture, Command, CommandError, Control};
use crate::audit::{Figures, State, Stream};
use crate::config::Config;
use crate::metrics::{PoolInfo, Snapshot};
use crate::record;

/// How often PAUSE looks whether the backends have come back.
const PAUSE_POLL: Duration = Duration::from_millis(20);

impl Proxy {
    /// Sends a message that wants an answer to every worker, and waits for all answers.
    pub(super) async fn ask_all<T>(&self, message: impl Fn(oneshot::Sender<T>) -> WorkerMessage) -> Vec<T> {
        let mut answers = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (done, answer) = oneshot::channel();
            // A worker that is gone drops the sender, and so the answer.
            let _ = worker.send(message(done));
            answers.push(answer);
        }
        let mut got = Vec::with_capacity(answers.len());
        for answer in answers {
            got.extend(answer.await);
        }
        got
    }

    async fn take_snapshot(&self) -> Snapshot {
        let parts = self.ask_all(|done| WorkerMessage::Snapshot { done }).await;
        let mut snapshot = Snapshot {
            uptime: self.started_at.elapsed(),
            workers: self.workers.len(),
            draining: self.draining.load(Ordering::Acquire),
            config_generation: self.generation.load(Ordering::Acquire),
            logins_ok: self.clients.logins_ok.load(Ordering::Relaxed),
            logins_failed: self.clients.logins_failed.load(Ordering::Relaxed),
            cancels: self.clients.cancels.load(Ordering::Relaxed),
            analyses: self.analyses.counters(),
            directories: self.directories.info(),
            ..Snapshot::default()
        };
        for part in parts {
            merge(&mut snapshot, part);
        }
        snapshot.clients.sort_by_key(|client| client.id);
        snapshot.backends.sort_by_key(|backend| backend.id);
        snapshot.refusals.sort_unstable();
        snapshot
    }

    /// The server's name of a database that clients know by `name`.
    fn server_database(&self, name: &Option<String>) -> Result<Option<Arc<str>>, CommandError> {
        let Some(name) = name else { return Ok(None) };
        match self.config().databases.get(name.as_str()) {
            Some(database) => Ok(Some(database.server_database.clone())),
            None => Err(CommandError::NotFound { what: format!("database \"{name}\"") }),
        }
    }

    async fn pause(&self, database: &Option<String>) -> Result<(), CommandError> {
        let database = self.server_database(database)?;
        self.tell_all(|| WorkerMessage::Pause { database: database.clone() });
        loop {
            let rests = self.ask_all(|done| WorkerMessage::AtRest { database: database.clone(), done }).await;
            if rests.into_iter().all(|rests| rests) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE_POLL).await;
        }
    }

    async fn kill(&self, database: &Option<String>) -> Result<(), CommandError> {
        let on_server = self.server_database(database)?;
        self.tell_all(|| WorkerMessage::Pause { database: on_server.clone() });
        let client_database: Option<Arc<str>> = database.as_deref().map(Arc::from);
        self.ask_all(|done| WorkerMessage::Kill {
            client_database: client_database.clone(),
            database: on_server.clone(),
            done,
        })
        .await;
        Ok(())
    }

    async fn run(&self, command: Command) -> Result<(), CommandError> {
        match command {
            Command::Reload => match self.apply_reload_on_record().await {
                Ok(generation) => {
                    tracing::info!(generation, "configuration reloaded");
                    Ok(())
                }
                Err(problems) => Err(CommandError::Config { problems }),
            },
            Command::Pause { database } => self.pause(&database).await,
            Command::Resume { database } => {
                let database = self.server_database(&database)?;
                self.tell_all(|| WorkerMessage::Resume { database: database.clone() });
                Ok(())
            }
            Command::KillClient { id } => {
                let found = self.ask_all(|done| WorkerMessage::KillClient { session: id, done }).await;
                if found.into_iter().any(|found| found) {
                    Ok(())
                } else {
                    Err(CommandError::NotFound { what: format!("client {id}") })
                }
            }
            Command::Kill { database } => self.kill(&database).await,
            Command::Shutdown => {
                self.closing.send_replace(true);
                Ok(())
            }
        }
    }
}

impl Control for Proxy {
    fn snapshot(&self) -> BoxFuture<'_, Snapshot> {
        Box::pin(self.take_snapshot())
    }

    fn command(&self, command: Command) -> BoxFuture<'_, Result<(), CommandError>> {
        Box::pin(self.run(command))
    }

    fn ready(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Acquire) {
            return Err("draining".to_owned());
        }
        if let Some(reason) = &**self.unreachable.load() {
            return Err(reason.clone());
        }
        if let Some(State::Failed { error, .. }) = self.log.as_ref().map(Stream::state) {
            return Err(format!("the audit log cannot be written: {error}"));
        }
        self.directories.unread().map_or(Ok(()), Err)
    }

    fn notes(&self) -> Vec<String> {
        let full = self.log.as_ref().is_some_and(|log| log.state() == State::Full);
        let full = full.then(|| "the audit log's queue is full".to_owned());
        self.directories.notes().into_iter().chain(full).collect()
    }

    fn log(&self) -> Option<Figures> {
        self.log.as_ref().map(Stream::figures)
    }

    fn note_command(&self, user: &str, client: &str, command: &Command) {
        self.record(|out, at| record::console(out, at, user, client, &format!("{command:?}")));
    }

    fn config(&self) -> Arc<Config> {
        Proxy::config(self)
    }
}

fn merge(snapshot: &mut Snapshot, part: Part) {
    snapshot.paused |= part.paused;
    snapshot.analyses.add(&part.analyses);
    snapshot.clients.extend(part.clients);
    snapshot.backends.extend(part.backends);
    for pool in part.pools {
        let same = |known: &&mut PoolInfo| {
            known.shard == pool.shard && known.database == pool.database && known.user == pool.user
        };
        match snapshot.pools.iter_mut().find(same) {
            Some(known) => known.add_worker(&pool),
            None => snapshot.pools.push(pool),
        }
    }
    for tenant in part.tenants {
        match snapshot.tenants.binary_search_by(|known| known.name.cmp(&tenant.name)) {
            Ok(known) => snapshot.tenants[known].add_worker(&tenant),
            Err(place) => snapshot.tenants.insert(place, tenant),
        }
    }
    add_counts(&mut snapshot.closes, part.closes);
    add_counts(&mut snapshot.refusals, part.refusals);
}

fn add_counts(all: &mut Vec<(&'static str, u64)>, own: Vec<(&'static str, u64)>) {
    for (label, count) in own {
        match all.iter_mut().find(|(known, _)| *known == label) {
            Some((_, total)) => *total += count,
            None => all.push((label, count)),
        }
    }
}
