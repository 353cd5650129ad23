//! Follows the directories of the configuration's tenancies, and puts what they say into force on every worker.
//!
//! What was read last stays in force while a directory cannot be reached; its age is in the log, the metrics and
//! `/readyz`. Until the first reading there is nobody in it: the file's users are served, and the proxy is not ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Proxy;
use super::worker::WorkerMessage;
use crate::auth::LoginContext;
use crate::config::Config;
use crate::directory::{Follower, Source, Update, sources};
use crate::metrics::DirectoryInfo;
use crate::people::{Problem, Rows, Snapshot};

/// Problems of one reading that the log names.
const PROBLEMS_LOGGED: usize = 20;

/// How the directories are.
#[derive(Debug, Default)]
pub(super) struct Following {
    states: Mutex<BTreeMap<Arc<str>, State>>,
    /// The configuration changed.
    pub again: Notify,
}

#[derive(Debug, Default)]
struct State {
    snapshot: Arc<Snapshot>,
    /// When it was last known to be as in `snapshot`.
    confirmed_at: Option<Instant>,
    /// Why it cannot be read now.
    error: Option<String>,
}

impl Following {
    pub fn new(config: &Config) -> Self {
        let following = Self::default();
        following.keep(&sources(config));
        following
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, State>> {
        // Each change is one assignment: there is nothing half done.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Knows these and no others.
    fn keep(&self, sources: &BTreeMap<Arc<str>, Source>) {
        let mut states = self.states();
        states.retain(|database, _| sources.contains_key(database));
        for database in sources.keys() {
            states.entry(database.clone()).or_default();
        }
    }

    fn change(&self, database: &Arc<str>, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.states().get_mut(database) {
            change(state);
        }
    }

    /// Why the first directory that was not read yet was not.
    pub fn unread(&self) -> Option<String> {
        let states = self.states();
        let (database, state) = states.iter().find(|(_, state)| state.confirmed_at.is_none())?;
        let why = state.error.as_deref().unwrap_or("it is being read");
        Some(format!("the directory of database {database} was not read yet: {why}"))
    }

    /// Directories that cannot be reached now.
    pub fn notes(&self) -> Vec<String> {
        let note = |(database, state): (&Arc<str>, &State)| {
            let (error, at) = (state.error.as_deref()?, state.confirmed_at?);
            Some(format!("the directory of database {database} is {} s old: {error}", at.elapsed().as_secs()))
        };
        self.states().iter().filter_map(note).collect()
    }

    pub fn info(&self) -> Vec<DirectoryInfo> {
        let info = |(database, state): (&Arc<str>, &State)| DirectoryInfo {
            database: database.clone(),
            tenants: state.snapshot.tenants(),
            users: state.snapshot.users(),
            left_out: state.snapshot.problems.len(),
            age: state.confirmed_at.map(|at| at.elapsed()),
        };
        self.states().iter().map(info).collect()
    }
}

/// A directory that is followed; dropping it ends that.
struct Task {
    source: Source,
    again: Arc<Notify>,
    running: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Proxy {
    /// Follows the directories of the configuration in force, whichever that is.
    pub(super) async fn follow_directories(self: Arc<Self>) {
        let mut tasks = BTreeMap::<Arc<str>, Task>::new();
        loop {
            let sources = sources(&self.config());
            self.directories.keep(&sources);
            tasks.retain(|database, task| sources.get(database) == Some(&task.source));
            for (database, source) in sources {
                if let Some(task) = tasks.get(&database) {
                    // Rows that could not be used may be usable now.
                    task.again.notify_one();
                    continue;
                }
                let again = Arc::new(Notify::new());
                let follower = Follower::new(source.clone());
                let running = tokio::spawn(self.clone().follow(database.clone(), follower, again.clone()));
                tasks.insert(database, Task { source, again, running });
            }
            self.directories.again.notified().await;
        }
    }

    async fn follow(self: Arc<Self>, database: Arc<str>, mut follower: Follower, again: Arc<Notify>) {
        let mut known = BTreeSet::new();
        loop {
            let connector = self.connector.load_full();
            match follower.next(&connector, &again).await {
                Update::Rows(rows) => {
                    if let Some(snapshot) = self.put_into_force(&database, rows).await {
                        say_problems(&database, &snapshot, &known);
                        known = snapshot.problems.iter().cloned().collect();
                    }
                }
                Update::Same => self.directories.change(&database, |state| state.confirmed_at = Some(Instant::now())),
                Update::Unreachable(error) => {
                    let error = error.to_string();
                    let mut age = None;
                    self.directories.change(&database, |state| {
                        age = state.confirmed_at.map(|at| at.elapsed());
                        state.error = Some(error.clone());
                    });
                    say_unreachable(&database, &error, age);
                }
            }
        }
    }

    /// Checks rows, and puts them into force on every worker. Absent: the configuration has no such directory any more.
    async fn put_into_force(&self, database: &Arc<str>, rows: Rows) -> Option<Arc<Snapshot>> {
        let began = Instant::now();
        let login = self.login.load_full();
        let config = login.config.clone();
        let found = config.databases.get(database)?.clone();
        let build =
            move || Snapshot::build(rows, &login.config, &found, login.directories.of(&found.name).map(|s| &**s));
        let snapshot = Arc::new(tokio::task::spawn_blocking(build).await.ok()?);
        self.login.rcu(|current| {
            let directories = current.directories.with(database, snapshot.clone());
            let is_same = Arc::ptr_eq(&current.config, &config);
            let directories = if is_same { directories } else { directories.under(&current.config) };
            LoginContext { directories, ..(**current).clone() }
        });
        self.ask_all(|done| WorkerMessage::Directories { done }).await;
        self.directories.change(database, |state| {
            *state = State { snapshot: snapshot.clone(), confirmed_at: Some(Instant::now()), error: None };
        });
        tracing::info!(
            database = &**database,
            tenants = snapshot.tenants(),
            users = snapshot.users(),
            left_out = snapshot.problems.len(),
            took_ms = began.elapsed().as_millis() as u64,
            "directory read"
        );
        Some(snapshot)
    }
}

/// Names the rows that are left out and were not before.
fn say_problems(database: &str, snapshot: &Snapshot, known: &BTreeSet<Problem>) {
    let fresh: Vec<&Problem> = snapshot.problems.iter().filter(|problem| !known.contains(problem)).collect();
    for problem in fresh.iter().take(PROBLEMS_LOGGED) {
        tracing::warn!(database, kind = problem.what, name = problem.name, why = problem.why, "directory row left out");
    }
    if let Some(more) = fresh.len().checked_sub(PROBLEMS_LOGGED).filter(|more| *more > 0) {
        tracing::warn!(database, rows = more, "more directory rows left out");
    }
}

fn say_unreachable(database: &str, error: &str, age: Option<Duration>) {
    match age {
        Some(age) => {
            tracing::warn!(
                database,
                error,
                age_s = age.as_secs(),
                "directory unreachable; what was read last stays in force"
            );
        }
        None => tracing::warn!(database, error, "directory unreachable; it was not read yet"),
    }
}
