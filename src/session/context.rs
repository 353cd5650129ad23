//! What a worker gives its sessions: configuration, policy, pools, caches, and the one buffer they all read into.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use slab::Slab;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::handle::{Handle, Signal, Stopped};
use super::limits::{self, Overdue};
use super::rewriting::Plans;
use super::statements::Interned;
use super::steps::CancelGuard;
use crate::audit::Audit;
use crate::config::{Account, Config};
use crate::metrics::ClientState;
use crate::people::{Directories, People};
use crate::policy::Policy;
use crate::pool::{PoolKey, Pools, connect};
use crate::settings::Settings;
use crate::sql::Analyses;
use crate::topology::Topology;
use crate::topology::walls::{Standing, Walls};

/// Bytes read at once. Smaller and larger ones were not faster.
const SCRATCH: usize = 64 << 10;

/// One worker's.
pub struct Context {
    pub worker: usize,
    pub rules: RefCell<Rc<Rules>>,
    pub pools: Pools,
    pub analyses: RefCell<Analyses>,
    pub interned: RefCell<Interned>,
    pub audit: Audit,
    pub greetings: RefCell<Greetings>,
    pub walls: Arc<Walls>,
    pub(super) plans: RefCell<Plans>,
    /// The turn to have a long text read.
    pub(super) parsing: Arc<Semaphore>,
    pub sessions: RefCell<Slab<Rc<Handle>>>,
    pub draining: Cell<bool>,
    /// As of the last tick.
    pub now: Cell<Instant>,
    pub(super) moment: Moment,
    /// Unix microseconds as of the last tick.
    pub now_us: Cell<u64>,
    pub closes: RefCell<HashMap<&'static str, u64>>,
    /// By rule.
    pub refusals: RefCell<HashMap<&'static str, u64>>,
    pub(super) scratch: RefCell<Box<[u8]>>,
    pub(super) out: RefCell<BytesMut>,
}

/// The clock of one round of a relay, which reads it once for all that happens at once.
#[derive(Debug)]
pub(super) struct Moment {
    state: Cell<Round>,
    read: Cell<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// None is under way: the clock is read each time.
    Off,
    /// Nobody has asked yet.
    Begun,
    Read,
}

impl Moment {
    fn new() -> Self {
        Self { state: Cell::new(Round::Off), read: Cell::new(Instant::now()) }
    }

    #[inline]
    pub fn begin_round(&self) {
        self.state.set(Round::Begun);
    }

    #[inline]
    pub fn end_round(&self) {
        self.state.set(Round::Off);
    }

    #[inline]
    pub fn get(&self) -> Instant {
        if self.state.get() == Round::Read { self.read.get() } else { self.look() }
    }

    fn look(&self) -> Instant {
        let now = Instant::now();
        if self.state.get() == Round::Begun {
            self.read.set(now);
            self.state.set(Round::Read);
        }
        now
    }
}

/// Everything that a reload replaces, at once. A change of a directory replaces the people alone.
#[derive(Debug)]
pub struct Rules {
    /// Counted from 1.
    pub generation: u64,
    pub config: Arc<Config>,
    pub people: People,
    pub policy: Rc<Policy>,
    pub topology: Topology,
}

impl Rules {
    pub fn compile(people: People, generation: u64) -> Self {
        let config = people.config.clone();
        let policy = Rc::new(Policy::compile(&config, generation));
        Self { generation, policy, topology: Topology::of(&config), config, people }
    }

    /// These with other directories.
    pub fn with(&self, directories: Directories) -> Self {
        let Self { generation, config, policy, .. } = self;
        let people = People { config: config.clone(), directories };
        let topology = Topology::of(config);
        Self { generation: *generation, config: config.clone(), people, policy: policy.clone(), topology }
    }

    /// What an account of earlier rules is under these; absent: it has no place in them.
    pub fn account_again(&self, account: &Account) -> Option<Arc<Account>> {
        self.people.account_again(account)
    }
}

impl Context {
    pub fn new(
        worker: usize,
        rules: Rc<Rules>,
        pools: Pools,
        analyses: Analyses,
        walls: Arc<Walls>,
        audit: Audit,
    ) -> Rc<Self> {
        Rc::new(Self {
            worker,
            rules: RefCell::new(rules),
            pools,
            analyses: RefCell::new(analyses),
            interned: RefCell::default(),
            audit,
            greetings: RefCell::default(),
            walls,
            plans: RefCell::default(),
            parsing: Arc::new(Semaphore::new(1)),
            sessions: RefCell::default(),
            draining: Cell::new(false),
            now: Cell::new(Instant::now()),
            moment: Moment::new(),
            now_us: Cell::new(0),
            closes: RefCell::default(),
            refusals: RefCell::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            out: RefCell::new(BytesMut::with_capacity(SCRATCH)),
        })
    }

    /// Whether the database of an account keeps its tenants apart, as far as that is known; absent: it is not yet.
    pub fn keeps_apart(&self, account: &Account) -> Option<bool> {
        let Some(tenancy) = account.database.tenancy.as_ref().filter(|_| account.row().is_some()) else {
            return Some(true);
        };
        let wall = self.walls.of(&account.database.name)?;
        Some(tenancy.danger_open_wall || wall.standing == Standing::Sound)
    }

    pub fn rules(&self) -> Rc<Rules> {
        self.rules.borrow().clone()
    }

    pub fn count_close(&self, label: &'static str) {
        *self.closes.borrow_mut().entry(label).or_default() += 1;
    }

    pub fn count_refusal(&self, rule: &'static str) {
        *self.refusals.borrow_mut().entry(rule).or_default() += 1;
    }

    /// Sends `signal` to all sessions.
    pub fn signal_all(&self, signal: Signal) {
        for (_, handle) in self.sessions.borrow().iter() {
            handle.signal(signal);
        }
    }

    /// The rules in force know the account, and the database keeps it apart.
    pub fn has_place(&self, account: &Account) -> bool {
        let account = self.rules().account_again(account);
        account.is_some_and(|account| self.keeps_apart(&account) != Some(false))
    }

    /// Sends a cancel request for what a session runs; the backend stays with it until the server has taken it.
    pub fn cancel_statement(&self, handle: Rc<Handle>, done: Option<oneshot::Sender<()>>) {
        let target = handle.cancel_target.borrow().clone().filter(|_| handle.busy.get());
        let Some(target) = target else { return };
        handle.cancelled.set(true);
        handle.wake();
        let guard = CancelGuard::new(handle);
        let connector = self.pools.connector();
        spawn_local(async move {
            if let Err(error) = connect::cancel(&target.node, &target.key, &connector).await {
                tracing::warn!(error = %error, "cancel request not delivered");
                target.doubt();
            }
            drop(guard);
            // Whoever asked may be gone.
            let _ = done.map(|done| done.send(()));
        });
    }

    /// Called several times a second: pools, and the time limits of clients. Returns the sessions whose statement has run
    /// for too long, to be cancelled.
    pub fn tick(&self, now_us: u64) -> Vec<Rc<Handle>> {
        let now = Instant::now();
        self.now.set(now);
        self.now_us.set(now_us);
        self.pools.tick();
        let rules = self.rules();
        let server = &rules.config.server;
        let mut overdue_statements = Vec::new();
        for (_, handle) in self.sessions.borrow().iter() {
            let lasted = now.saturating_duration_since(handle.since.get());
            let past = |limit: Duration| !limit.is_zero() && lasted > limit;
            if let Some(tenant) = &handle.tenant
                && let Some(overdue) = limits::look(tenant, handle, now)
            {
                match overdue {
                    Overdue::Cancel => overdue_statements.push(handle.clone()),
                    Overdue::End(limit) => handle.signal(Signal::OverLimit(limit)),
                }
                continue;
            }
            match handle.state.get() {
                ClientState::Idle if past(server.client_idle_timeout) => handle.signal(Signal::IdleTimeout),
                ClientState::IdleInTransaction if past(server.idle_in_transaction_timeout) => {
                    handle.signal(Signal::IdleInTransactionTimeout);
                }
                ClientState::Active
                    if handle.busy.get() && past(server.query_timeout) && handle.stopped.get().is_none() =>
                {
                    handle.stopped.set(Some(Stopped { at: now, limit: None }));
                    overdue_statements.push(handle.clone());
                }
                ClientState::Idle
                | ClientState::IdleInTransaction
                | ClientState::Active
                | ClientState::Waiting
                | ClientState::Login
                | ClientState::Closing => {}
            }
        }
        overdue_statements
    }
}

/// Names and values of settings, in the client's order.
type Startup = Vec<(Arc<str>, Arc<str>)>;

/// What a client is told at login, by pool and startup settings.
#[derive(Debug, Default)]
pub struct Greetings {
    known: HashMap<(PoolKey, Startup), Greeting>,
}

/// The server's parameters under a client's startup settings, which were tried on a backend.
#[derive(Debug, Clone)]
pub struct Greeting {
    pub parameters: Rc<Vec<(Arc<str>, Arc<str>)>>,
    pub settings: Arc<Settings>,
    /// The settings with the application name that a client had last: most clients of a service have the same.
    named: Rc<RefCell<Option<Arc<Settings>>>>,
    made_at: Instant,
}

/// A parameter that is the session's own, whatever a backend said about another.
pub(super) const APPLICATION_NAME: &str = "application_name";

impl Greeting {
    pub fn with_application_name(&self, name: &Arc<str>) -> Arc<Settings> {
        if name.is_empty() {
            return self.settings.clone();
        }
        let mut named = self.named.borrow_mut();
        match &*named {
            Some(settings) if settings.value(APPLICATION_NAME) == Some(name) => settings.clone(),
            Some(_) | None => {
                let mut values = self.settings.values().clone();
                values.insert(APPLICATION_NAME.into(), name.clone());
                let settings = Arc::new(Settings::from_values(values));
                *named = Some(settings.clone());
                settings
            }
        }
    }
}

/// After so long the server is asked again: its defaults may have changed.
const GREETING_LIFETIME: Duration = Duration::from_secs(60);

/// Different startup settings remembered, at most.
const GREETINGS_MAX: usize = 1024;

impl Greetings {
    pub fn find(&self, pool: &PoolKey, startup: &[(Arc<str>, Arc<str>)]) -> Option<Greeting> {
        // The key is built anew: a login costs more than that by far.
        let greeting = self.known.get(&(pool.clone(), startup.to_vec()))?;
        (greeting.made_at.elapsed() < GREETING_LIFETIME).then(|| greeting.clone())
    }

    pub fn insert(
        &mut self,
        pool: PoolKey,
        startup: Vec<(Arc<str>, Arc<str>)>,
        parameters: Vec<(Arc<str>, Arc<str>)>,
        settings: Arc<Settings>,
    ) -> Greeting {
        if self.known.len() >= GREETINGS_MAX {
            self.known.clear();
        }
        let greeting =
            Greeting { parameters: Rc::new(parameters), settings, named: Rc::default(), made_at: Instant::now() };
        self.known.insert((pool, startup), greeting.clone());
        greeting
    }

    pub fn clear(&mut self) {
        self.known.clear();
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("worker", &self.worker).finish_non_exhaustive()
    }
}
