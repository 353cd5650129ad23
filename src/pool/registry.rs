//! A worker's pools, and what workers have in common.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::backend::{Backend, BackendClose, Travelling};
use super::budget::Budget;
use super::claim::Claim;
use super::connect::{BackendLogin, Connector};
use super::lend::Seat;
use super::queue::Line;
use super::tenants::{TenantShare, TenantUse};
use super::{LeaseError, Pool, PoolKey, Terms, open};
use crate::config::{Account, Config, Database, PoolSettings, Tenant, TenantPlace, TenantsOf};
use crate::metrics::{BackendInfo, PoolInfo, TenantInfo};
use crate::people::People;
use crate::route::Target;
use crate::topology::{Place, Topology};

/// What all workers' pools share.
#[derive(Debug)]
pub struct Shared {
    budgets: DashMap<PoolKey, Arc<Budget>>,
    databases: DashMap<(Place, Arc<str>), Arc<Budget>>,
    tenants: DashMap<Arc<str>, Arc<TenantUse>>,
    backend_ids: AtomicU64,
    epoch: Instant,
    /// By worker.
    mailboxes: Vec<UnboundedSender<PeerMessage>>,
}

/// What one worker says to another.
#[derive(Debug)]
pub enum PeerMessage {
    /// `worker` has a client waiting and may open no backend.
    Hungry { key: PoolKey, worker: usize },
    /// A backend moves in.
    Arrive { key: PoolKey, backend: Box<Travelling> },
    /// A tenant that was at its limit may have a backend of this pool.
    Serve { key: PoolKey },
    /// A place in a database's budget is needed: close an idle backend of that budget.
    WantPlace { budget: Arc<Budget> },
}

impl Shared {
    pub fn new(mailboxes: Vec<UnboundedSender<PeerMessage>>) -> Self {
        Self {
            budgets: DashMap::new(),
            databases: DashMap::new(),
            tenants: DashMap::new(),
            backend_ids: AtomicU64::new(1),
            epoch: Instant::now(),
            mailboxes,
        }
    }

    fn budget(&self, key: &PoolKey, limit: usize) -> Arc<Budget> {
        let workers = self.mailboxes.len();
        self.budgets.entry(key.clone()).or_insert_with(|| Arc::new(Budget::new(limit, workers))).clone()
    }

    /// Shared by all that is in one database of the configuration.
    fn database_budget(&self, place: &Place, account: &Account) -> Arc<Budget> {
        let workers = self.mailboxes.len();
        let Database { server_database, connections_max, .. } = &*account.database;
        let key = (place.clone(), server_database.clone());
        let fresh = || Arc::new(Budget::new(*connections_max, workers));
        self.databases.entry(key).or_insert_with(fresh).clone()
    }
}

/// What a worker's pools need of it.
#[derive(Debug)]
pub(super) struct Worker {
    pub index: usize,
    shared: Arc<Shared>,
    connector: RefCell<Arc<Connector>>,
    closes: RefCell<HashMap<&'static str, u64>>,
    wanted: RefCell<Vec<Arc<Budget>>>,
}

impl Worker {
    pub fn next_backend_id(&self) -> u64 {
        self.shared.backend_ids.fetch_add(1, Ordering::Relaxed)
    }

    pub fn connector(&self) -> Arc<Connector> {
        self.connector.borrow().clone()
    }

    /// Microseconds since the process began.
    pub fn micros(&self, moment: Instant) -> u64 {
        moment.duration_since(self.shared.epoch).as_micros() as u64
    }

    /// Unix microseconds.
    pub fn now_us(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
    }

    pub fn count_close(&self, reason: BackendClose) {
        *self.closes.borrow_mut().entry(reason.label()).or_default() += 1;
    }

    /// Nine tenths to eleven tenths of `duration`, the same each time for the same `id`.
    pub fn jitter(&self, duration: Duration, id: u64) -> Duration {
        let spread = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        duration.mul_f64(0.9 + 0.2 * spread as f64 / u32::MAX as f64)
    }

    pub fn jitter_half(&self, duration: Duration) -> Duration {
        open::jittered(duration, rand::random())
    }

    pub fn ask_peers(&self, key: &PoolKey) {
        for (index, mailbox) in self.shared.mailboxes.iter().enumerate() {
            if index != self.index {
                // A worker that is gone has nothing to give.
                let _ = mailbox.send(PeerMessage::Hungry { key: key.clone(), worker: self.index });
            }
        }
    }

    /// Asks all workers, this one included, to close an idle backend that counts in `budget`.
    pub fn want_place(&self, budget: &Arc<Budget>) {
        for (index, mailbox) in self.shared.mailboxes.iter().enumerate() {
            if index != self.index {
                let _ = mailbox.send(PeerMessage::WantPlace { budget: budget.clone() });
            }
        }
        self.wanted.borrow_mut().push(budget.clone());
    }

    pub fn send(&self, worker: usize, key: PoolKey, backend: Box<Travelling>) {
        // Where the other worker is gone, dropping the backend closes it.
        self.tell(worker, PeerMessage::Arrive { key, backend });
    }

    pub fn tell(&self, worker: usize, message: PeerMessage) {
        let _ = self.shared.mailboxes[worker].send(message);
    }
}

/// All pools of one worker.
#[derive(Debug)]
pub struct Pools {
    worker: Rc<Worker>,
    pools: RefCell<HashMap<PoolKey, Rc<Pool>>>,
    /// Pools whose backends are still out after they were retired.
    retired: RefCell<Vec<Rc<Pool>>>,
    paused_all: Cell<bool>,
    /// Databases on the server.
    paused: RefCell<HashSet<Arc<str>>>,
    tenants: RefCell<HashMap<Arc<str>, Rc<TenantShare>>>,
}

impl Pools {
    pub fn new(index: usize, shared: Arc<Shared>, connector: Arc<Connector>) -> Self {
        Self {
            worker: Rc::new(Worker {
                index,
                shared,
                connector: RefCell::new(connector),
                closes: RefCell::default(),
                wanted: RefCell::default(),
            }),
            pools: RefCell::default(),
            retired: RefCell::default(),
            paused_all: Cell::new(false),
            paused: RefCell::default(),
            tenants: RefCell::default(),
        }
    }

    /// A client's place in the pool that its account means.
    pub fn seat(&self, config: &Config, place: &Place, account: &Account) -> Rc<Seat> {
        let key = key_of(place, account);
        let pool = self.pools.borrow().get(&key).cloned();
        let pool = pool.unwrap_or_else(|| {
            let terms = terms(config, place, account);
            let budget = self.worker.shared.budget(&key, terms.size);
            let database_budget = self.worker.shared.database_budget(place, account);
            let pool = Pool::new(key.clone(), terms, budget, database_budget, self.worker.clone());
            pool.paused.set(self.paused_all.get() || self.paused.borrow().contains(&key.database));
            self.pools.borrow_mut().insert(key, pool.clone());
            pool
        });
        let name = account.line();
        let fresh = || Line::new(account.tenant.as_ref().map(|it| self.tenant(it)), self.worker.shared.epoch);
        let line = pool.lines.borrow_mut().entry(name.clone()).or_insert_with(fresh).clone();
        Rc::new(Seat::new(pool, line, Claim::new(account)))
    }

    /// What a tenant uses, as this worker sees it.
    pub fn tenant(&self, tenant: &Tenant) -> Rc<TenantShare> {
        let Worker { index, shared, .. } = &*self.worker;
        let fresh = || {
            let workers = shared.mailboxes.len();
            let everywhere =
                shared.tenants.entry(tenant.name.clone()).or_insert_with(|| TenantUse::new(workers)).clone();
            TenantShare::new(tenant.name.clone(), tenant.limits, everywhere, *index)
        };
        self.tenants.borrow_mut().entry(tenant.name.clone()).or_insert_with(fresh).clone()
    }

    /// Puts new limits into force, for those who are connected too, and forgets tenants that are gone.
    fn reload_tenants(&self, people: &People) {
        let in_directories = |name: &Arc<str>| people.config.databases.keys().find_map(|it| people.tenant(it, name));
        let known = |name: &Arc<str>| people.config.tenants.get(name).or_else(|| in_directories(name));
        // Lines of tenants that are gone, and that nobody sits in.
        for pool in self.all() {
            pool.lines.borrow_mut().retain(|_, line| {
                line.tenant.as_ref().is_none_or(|it| known(&it.name).is_some()) || Rc::strong_count(line) > 1
            });
        }
        self.tenants.borrow_mut().retain(|name, share| match known(name) {
            Some(tenant) => {
                share.limits.set(tenant.limits);
                true
            }
            None => Rc::strong_count(share) > 1,
        });
        self.worker.shared.tenants.retain(|name, used| known(name).is_some() || Arc::strong_count(used) > 1);
    }

    pub fn tenants_info(&self) -> Vec<TenantInfo> {
        let mut waiting: HashMap<Arc<str>, usize> = HashMap::new();
        for pool in self.all() {
            for line in pool.lines.borrow().values() {
                if let Some(tenant) = &line.tenant {
                    *waiting.entry(tenant.name.clone()).or_default() += line.waiters.borrow().len();
                }
            }
        }
        let info = |(name, share): (&Arc<str>, &Rc<TenantShare>)| share.info(waiting.get(name).copied().unwrap_or(0));
        self.tenants.borrow().iter().map(info).collect()
    }

    /// Nanoseconds and all, since the process began.
    pub fn since_start(&self) -> Duration {
        self.worker.shared.epoch.elapsed()
    }

    /// Takes a new configuration, or new people, over: pools keep their backends where the server, database and role stay the same.
    pub fn reload(&self, people: &People, topology: &Topology, connector: Arc<Connector>) {
        *self.worker.connector.borrow_mut() = connector;
        let config = &people.config;
        let mut terms_by_key = HashMap::new();
        let roles: HashSet<Arc<str>> = self.pools.borrow().keys().map(|key| key.user.clone()).collect();
        let has_pool = |tenant: &Tenant| match &tenant.place {
            TenantPlace::Row { .. } => true,
            TenantPlace::Schema { login, .. } | TenantPlace::Database { login, .. } => roles.contains(&login.user),
        };
        for account in people.pool_accounts(has_pool) {
            let Some(place) = topology.place(&account.database, Target::Primary) else { continue };
            self.worker.shared.database_budget(&place, &account).set_limit(account.database.connections_max);
            let key = key_of(&place, &account);
            terms_by_key.entry(key).or_insert_with(|| terms(config, &place, &account));
        }
        let pools = std::mem::take(&mut *self.pools.borrow_mut());
        for (key, pool) in pools {
            match terms_by_key.remove(&key) {
                // What a backend was started with stays with it.
                Some(terms) if terms.login.startup == pool.terms().login.startup => {
                    pool.renegotiate(terms);
                    self.pools.borrow_mut().insert(key, pool);
                }
                Some(_) | None => {
                    pool.retire();
                    self.retired.borrow_mut().push(pool);
                }
            }
        }
        self.reload_tenants(people);
        self.all().iter().for_each(|pool| pool.serve_again());
    }

    pub fn connector(&self) -> Arc<Connector> {
        self.worker.connector()
    }

    /// Called several times a second.
    pub fn tick(&self) {
        let now = Instant::now();
        for pool in self.all() {
            pool.tick(now);
        }
        self.retired.borrow_mut().retain(|pool| !pool.is_at_rest());
        for budget in std::mem::take(&mut *self.worker.wanted.borrow_mut()) {
            self.make_place(&budget);
        }
    }

    pub fn receive(&self, message: PeerMessage) {
        match message {
            PeerMessage::Hungry { key, worker } => {
                let pool = self.pools.borrow().get(&key).cloned();
                if let Some(pool) = pool
                    && let Some(backend) = pool.take_spare()
                    && let Err(Some(kept)) = pool.send_to(worker, backend)
                {
                    pool.put(kept, Instant::now());
                }
            }
            PeerMessage::Arrive { key, backend } => {
                let pool = self.pools.borrow().get(&key).cloned();
                if let Some(pool) = pool {
                    pool.welcome(*backend);
                }
            }
            PeerMessage::Serve { key } => {
                let pool = self.pools.borrow().get(&key).cloned();
                if let Some(pool) = pool {
                    pool.serve_again();
                }
            }
            PeerMessage::WantPlace { budget } => self.make_place(&budget),
        }
    }

    /// Closes the longest idle backend that counts in `budget`.
    fn make_place(&self, budget: &Arc<Budget>) {
        let sharing = self.all().into_iter().filter(|pool| Arc::ptr_eq(&pool.database_budget, budget));
        let oldest = sharing
            .filter(|pool| !pool.idle.borrow().is_empty())
            .min_by_key(|pool| pool.idle.borrow().iter().map(|backend| backend.idle_since).min());
        if let Some(pool) = oldest {
            let backend = pool.idle.borrow_mut().remove(0);
            pool.close(backend, BackendClose::Evicted);
        }
    }

    /// Stops lending backends of one server database, or of all.
    pub fn pause(&self, database: Option<&str>) {
        self.set_paused(database, true);
    }

    pub fn resume(&self, database: Option<&str>) {
        self.set_paused(database, false);
    }

    fn set_paused(&self, database: Option<&str>, paused: bool) {
        match database {
            None => {
                self.paused_all.set(paused);
                self.paused.borrow_mut().clear();
            }
            Some(name) if paused => {
                self.paused.borrow_mut().insert(name.into());
            }
            Some(name) => {
                self.paused.borrow_mut().remove(name);
            }
        }
        for pool in self.all() {
            if database.is_none_or(|name| *pool.key.database == *name) {
                pool.paused.set(paused || self.paused_all.get());
                pool.serve_waiters();
                pool.grow();
            }
        }
    }

    pub fn is_paused(&self) -> bool {
        self.paused_all.get() || !self.paused.borrow().is_empty()
    }

    /// No backend of the server database (or of any) is lent.
    pub fn is_at_rest(&self, database: Option<&str>) -> bool {
        self.all().iter().filter(|pool| database.is_none_or(|name| *pool.key.database == *name)).all(|p| p.is_at_rest())
    }

    /// Closes idle backends and sends waiters away.
    pub fn kill(&self, database: Option<&str>) {
        for pool in self.all() {
            if database.is_none_or(|name| *pool.key.database == *name) {
                pool.fail_waiters(|| LeaseError::Killed);
                pool.close_idle(BackendClose::Killed, |_| true);
            }
        }
    }

    /// Ends everything that is idle.
    pub fn shutdown(&self) {
        for pool in self.all() {
            pool.fail_waiters(|| LeaseError::Shutdown);
            pool.close_idle(BackendClose::Shutdown, |_| true);
        }
    }

    pub fn info(&self) -> (Vec<PoolInfo>, Vec<BackendInfo>, Vec<(&'static str, u64)>) {
        let pools = self.all();
        let mut backends = Vec::new();
        for pool in &pools {
            pool.backends(&mut backends);
        }
        let closes = self.worker.closes.borrow().iter().map(|(&label, &count)| (label, count)).collect();
        (pools.iter().map(|pool| pool.info()).collect(), backends, closes)
    }

    fn all(&self) -> Vec<Rc<Pool>> {
        self.pools.borrow().values().chain(self.retired.borrow().iter()).cloned().collect()
    }
}

impl Pool {
    /// An idle backend that no client here waits for.
    fn take_spare(&self) -> Option<Box<Backend>> {
        if self.queue.borrow().is_served() && !self.paused.get() { self.idle.borrow_mut().pop() } else { None }
    }

    fn welcome(self: &Rc<Self>, travelling: Travelling) {
        let card =
            self.new_card(travelling.pid, travelling.tls, travelling.address.clone(), travelling.connected_at_us);
        let slot = card.slot.get();
        match Backend::arrive(travelling, card, self.terms().prepared_max) {
            Ok(backend) => self.put(Box::new(backend), Instant::now()),
            Err(_) => {
                self.cards.borrow_mut().remove(slot);
                self.worker.count_close(BackendClose::Lost);
            }
        }
    }
}

fn key_of(place: &Place, account: &Account) -> PoolKey {
    PoolKey {
        node: place.node.clone(),
        database: account.server_database().clone(),
        user: account.server_user().clone(),
    }
}

/// The settings of the pool that an account belongs to. Users who share a server role share its pool: it is as large as the
/// largest of theirs.
fn terms(config: &Config, place: &Place, account: &Account) -> Terms {
    let (user, mut password, mut auth) = account.server_login();
    let mut settings = account.pool();
    if account.tenant.is_none() {
        let sharing =
            config.users.values().filter(|other| other.tenants == TenantsOf::None && other.server_user == *user);
        if let Some(largest) = sharing.max_by_key(|other| other.pool.size) {
            settings = &largest.pool;
            password = largest.server_password.as_ref().or(password);
            auth = largest.server_auth;
        }
    }
    let PoolSettings {
        mode,
        size,
        size_min,
        server_idle_timeout,
        server_lifetime,
        prepared_max,
        login_retry_min,
        login_retry_max,
    } = settings.clone();
    Terms {
        shard: place.shard.clone(),
        mode,
        size,
        size_min,
        idle_timeout: server_idle_timeout,
        lifetime: server_lifetime,
        prepared_max,
        retry_min: login_retry_min,
        retry_max: login_retry_max,
        queue_timeout: config.server.queue_timeout,
        queue_max: config.server.queue_max,
        login: Arc::new(BackendLogin {
            user: user.clone(),
            password: password.cloned(),
            auth,
            database: account.server_database().clone(),
            keepalive: config.server.keepalive,
            startup: startup(account),
        }),
    }
}

/// What the startup packet sets. For tenants that is whatever a default of the role or the database could turn against them
/// or us: the packet's values win, and DISCARD ALL goes back to them.
fn startup(account: &Account) -> Vec<(Arc<str>, Arc<str>)> {
    let mut startup: Vec<(Arc<str>, Arc<str>)> = vec![("client_encoding".into(), "UTF8".into())];
    if account.tenant.is_some() {
        startup.extend(TENANT_STARTUP.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value))));
    }
    if let Some(schemas) = account.search_path() {
        let quoted: Vec<String> = schemas.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
        startup.push(("search_path".into(), quoted.join(", ").into()));
    }
    startup
}

const TENANT_STARTUP: [(&str, &str); 12] = [
    ("row_security", "on"),
    ("standard_conforming_strings", "on"),
    ("backslash_quote", "safe_encoding"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("default_transaction_isolation", "read committed"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("client_min_messages", "notice"),
    ("debug_print_plan", "off"),
    ("transform_null_equals", "off"),
];
