//! Backends: opening them, lending them, cleaning them, closing them. Only this module moves a backend between states.
//!
//! A worker has its own pools, and no lock; workers share budgets, and hand idle backends to one another where a client
//! has waited for longer over there. What is lent is an owned [`Lease`]; a lease becomes a [`Bound`], through which alone
//! bytes may be sent, once its backend carries nothing of another user's and the session's own settings. Dropping
//! either closes the backend: only [`Bound::release`] brings one back, and only a settled one.

pub mod backend;
mod budget;
mod claim;
pub mod connect;
pub mod exchange;
pub mod inject;
mod lend;
mod open;
mod queue;
mod registry;
pub mod tenants;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use thiserror::Error;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

pub use backend::{Backend, BackendClose, CancelTarget};
pub use lend::{BindError, Bound, Lease, Seat, Wait};
pub use registry::{PeerMessage, Pools, Shared};

use crate::config::{Node, PoolMode};
use crate::fault::{Fault, Report, Severity, SqlState};
use crate::metrics::{BackendInfo, BackendState, PoolCounters, PoolInfo};
use crate::net::Stream;
use backend::Card;
use budget::Budget;
use queue::{Line, Queue};

/// What makes two backends interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolKey {
    pub node: Arc<Node>,
    /// Database on the server.
    pub database: Arc<str>,
    /// Role on the server.
    pub user: Arc<str>,
}

/// A pool's settings in force.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub shard: Arc<str>,
    pub mode: PoolMode,
    pub size: usize,
    pub size_min: usize,
    pub idle_timeout: Duration,
    pub lifetime: Duration,
    pub prepared_max: usize,
    pub retry_min: Duration,
    pub retry_max: Duration,
    pub queue_timeout: Duration,
    pub queue_max: usize,
    pub login: Arc<connect::BackendLogin>,
}

/// One worker's share of a pool.
#[derive(Debug)]
pub struct Pool {
    key: PoolKey,
    worker: Rc<registry::Worker>,
    terms: RefCell<Rc<Terms>>,
    budget: Arc<Budget>,
    database_budget: Arc<Budget>,
    #[expect(clippy::vec_box, reason = "backends change hands by their box")]
    idle: RefCell<Vec<Box<Backend>>>,
    queue: RefCell<Queue>,
    lines: RefCell<HashMap<Arc<str>, Rc<Line>>>,
    cards: RefCell<Slab<Rc<Card>>>,
    opening: Cell<usize>,
    paused: Cell<bool>,
    retired: Cell<bool>,
    /// No backend is opened before.
    retry_at: Cell<Option<Instant>>,
    /// Logins that failed in a row.
    failures: Cell<u32>,
    /// Why the last one did.
    failure: RefCell<Option<Arc<connect::ConnectError>>>,
    counters: RefCell<PoolCounters>,
    clients: Cell<usize>,
}

/// Why a client got no backend.
#[derive(Debug, Clone, Error)]
pub enum LeaseError {
    #[error("{waiting} clients wait for a backend of this pool already")]
    QueueFull { waiting: usize },
    #[error("no backend became free within {waited:?}")]
    Timeout { waited: Duration },
    /// The servers could not be reached before the deadline.
    #[error("no connection to the server within {waited:?}: {last}")]
    Away { waited: Duration, last: Arc<connect::ConnectError> },
    /// The server does not let pgwarden in.
    #[error("the server refuses pgwarden's login: {0}")]
    Refused(Arc<connect::ConnectError>),
    #[error("the pool is gone since the configuration was reloaded")]
    Retired,
    #[error("pgwarden is shutting down")]
    Shutdown,
    #[error("the connections were killed by an administrator")]
    Killed,
}

impl Report for LeaseError {
    fn fault(&self) -> Fault {
        match self {
            Self::QueueFull { .. } | Self::Timeout { .. } => Fault::Capacity,
            Self::Away { .. } | Self::Refused(_) => Fault::Server,
            Self::Retired | Self::Shutdown | Self::Killed => Fault::Proxy,
        }
    }

    fn severity(&self) -> Severity {
        match self {
            Self::QueueFull { .. } | Self::Timeout { .. } | Self::Away { .. } => Severity::Error,
            Self::Refused(_) | Self::Retired | Self::Shutdown | Self::Killed => Severity::Fatal,
        }
    }

    fn sqlstate(&self) -> SqlState {
        match self {
            Self::QueueFull { .. } | Self::Timeout { .. } => SqlState::TOO_MANY_CONNECTIONS,
            Self::Away { .. } => SqlState::CANNOT_CONNECT_NOW,
            Self::Refused(error) => error.sqlstate(),
            Self::Retired | Self::Shutdown | Self::Killed => SqlState::ADMIN_SHUTDOWN,
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match self {
            Self::QueueFull { waiting } => {
                format!("too many clients wait for a server connection ({waiting} of this pool)").into()
            }
            Self::Timeout { waited } => {
                format!("no server connection became free within {}", crate::pool::seconds(*waited)).into()
            }
            Self::Away { waited, .. } => format!("the server could not be reached within {}", seconds(*waited)).into(),
            Self::Refused(error) => error.message().into_owned().into(),
            Self::Retired => "the configuration of this database or user was changed".into(),
            Self::Shutdown => "terminating connection due to administrator command".into(),
            Self::Killed => "terminating connection due to administrator command".into(),
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::QueueFull { .. } => Some("Send fewer requests at once, or raise server.queue_max.".into()),
            Self::Timeout { .. } => {
                Some("Keep transactions short, or raise the pool's size or server.queue_timeout.".into())
            }
            Self::Away { .. } | Self::Killed => Some("Try again later.".into()),
            Self::Retired => Some("Connect again.".into()),
            Self::Refused(error) => error.hint().map(|hint| hint.into_owned().into()),
            Self::Shutdown => None,
        }
    }
}

/// Says goodbye, if the socket takes it at once, and closes.
fn terminate(mut stream: Stream) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    // Closing says the same, less politely: an answer is not needed.
    let _ = Pin::new(&mut stream).poll_write(&mut cx, b"X\0\0\0\x04");
    let _ = Pin::new(&mut stream).poll_flush(&mut cx);
}

/// A duration for people: `250 ms`, `15 s`.
fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{} s", duration.as_secs())
    }
}

impl Pool {
    fn new(
        key: PoolKey,
        terms: Terms,
        budget: Arc<Budget>,
        database_budget: Arc<Budget>,
        worker: Rc<registry::Worker>,
    ) -> Rc<Self> {
        Rc::new(Self {
            key,
            worker,
            terms: RefCell::new(Rc::new(terms)),
            budget,
            database_budget,
            idle: RefCell::default(),
            queue: RefCell::default(),
            lines: RefCell::default(),
            cards: RefCell::default(),
            opening: Cell::new(0),
            paused: Cell::new(false),
            retired: Cell::new(false),
            retry_at: Cell::new(None),
            failures: Cell::new(0),
            failure: RefCell::new(None),
            counters: RefCell::default(),
            clients: Cell::new(0),
        })
    }

    pub fn key(&self) -> &PoolKey {
        &self.key
    }

    fn terms(&self) -> Rc<Terms> {
        self.terms.borrow().clone()
    }

    /// Adds to what the pool has counted.
    pub fn count(&self, add: impl FnOnce(&mut PoolCounters)) {
        add(&mut self.counters.borrow_mut());
    }

    /// No backend is lent or being opened.
    pub fn is_at_rest(&self) -> bool {
        self.opening.get() == 0 && self.cards.borrow().len() == self.idle.borrow().len()
    }

    /// A backend came back, was opened, or arrived: to the client whose turn it is, or to rest.
    fn put(self: &Rc<Self>, mut backend: Box<Backend>, now: Instant) {
        let closes = self.should_close(&backend, &self.terms.borrow(), now);
        if let Some(reason) = closes {
            return self.close(backend, reason);
        }
        if backend.unclean {
            // At once, not when it is lent next: a lock that its session left behind must not stay until then.
            backend.card.state.set(BackendState::Cleaning);
            backend.card.client.set(None);
            tokio::task::spawn_local(self.clone().clean(backend));
            return;
        }
        if !self.paused.get() {
            let own = self.queue.borrow().oldest_wanting().map(|since| self.worker.micros(since));
            if let Some(worker) = self.budget.hungrier_than(self.worker.index, own) {
                match self.send_to(worker, backend) {
                    Ok(()) => return self.grow(),
                    Err(None) => return self.grow(),
                    Err(Some(kept)) => backend = kept,
                }
            }
            let next = self.queue.borrow_mut().next();
            if let Some(waiter) = next {
                self.say_waiting();
                backend.card.state.set(BackendState::Active);
                return waiter.grant(Ok(backend));
            }
            if !self.queue.borrow().is_empty() {
                // They are at their tenants' limits: let no other worker send backends for them.
                self.say_waiting();
            }
        }
        backend.idle_since = now;
        backend.card.state.set(BackendState::Idle);
        backend.card.client.set(None);
        self.idle.borrow_mut().push(backend);
    }

    fn should_close(&self, backend: &Backend, terms: &Terms, now: Instant) -> Option<BackendClose> {
        let of_age = || self.is_old(backend, terms, now).then_some(BackendClose::Lifetime);
        self.has_no_use_for(backend).or_else(of_age)
    }

    /// Why this backend is closed whatever its age.
    fn has_no_use_for(&self, backend: &Backend) -> Option<BackendClose> {
        let exceeds = || self.retired.get() || self.budget.is_exceeded() || self.database_budget.is_exceeded();
        backend.close_after.or_else(|| exceeds().then_some(BackendClose::Retired))
    }

    fn is_old(&self, backend: &Backend, terms: &Terms, now: Instant) -> bool {
        let (lifetime, age) = (terms.lifetime, now.saturating_duration_since(backend.created_at));
        // Half of it is less than any jitter leaves, and cheaper to find out.
        !lifetime.is_zero() && age > lifetime / 2 && age > self.worker.jitter(lifetime, backend.id())
    }

    /// Closes a backend: its socket, its place in the budgets, its card. A replacement is opened where clients wait.
    fn close(self: &Rc<Self>, backend: Box<Backend>, reason: BackendClose) {
        self.cards.borrow_mut().remove(backend.card.slot.get());
        self.counters.borrow_mut().backends_closed += 1;
        self.worker.count_close(reason);
        tracing::debug!(backend = backend.id(), pid = backend.pid, reason = reason.label(), "backend closed");
        terminate(backend.stream);
        drop(backend.permit);
        self.grow();
    }

    fn say_waiting(&self) {
        let oldest = self.queue.borrow().oldest_wanting();
        self.budget.set_waiting(self.worker.index, oldest.map(|since| self.worker.micros(since)));
    }

    /// Closes idle backends for `reason` where `which` says so.
    fn close_idle(self: &Rc<Self>, reason: BackendClose, mut which: impl FnMut(&mut Backend) -> bool) {
        let all = std::mem::take(&mut *self.idle.borrow_mut());
        let mut closing = Vec::new();
        let mut kept = Vec::with_capacity(all.len());
        for mut backend in all {
            if which(&mut backend) { closing.push(backend) } else { kept.push(backend) }
        }
        *self.idle.borrow_mut() = kept;
        for backend in closing {
            self.close(backend, reason);
        }
    }

    /// Called several times a second: deadlines of waiters, ends of idle backends, the minimum kept open.
    pub(crate) fn tick(self: &Rc<Self>, now: Instant) {
        let terms = self.terms();
        let expired = match now.checked_sub(terms.queue_timeout) {
            Some(moment) => self.queue.borrow_mut().expire(moment),
            None => Vec::new(),
        };
        if !expired.is_empty() {
            self.say_waiting();
        }
        for waiter in expired {
            let waited = terms.queue_timeout;
            let error = match self.failure.borrow().clone() {
                Some(last) => LeaseError::Away { waited, last },
                None => LeaseError::Timeout { waited },
            };
            waiter.grant(Err(error));
        }
        self.close_idle(BackendClose::Unquiet, |backend| !backend.stream.is_quiet());
        self.close_idle(BackendClose::Lifetime, |backend| self.is_old(backend, &terms, now));
        let mut spare = self.budget.used().saturating_sub(terms.size_min);
        self.close_idle(BackendClose::IdleTimeout, |backend| {
            let ends = spare > 0
                && !terms.idle_timeout.is_zero()
                && now.duration_since(backend.idle_since) > terms.idle_timeout;
            spare -= usize::from(ends);
            ends
        });
        self.keep_minimum(&terms);
        self.serve_again();
    }

    /// A tenant that was at its limit may not be any more.
    fn serve_again(self: &Rc<Self>) {
        if !self.queue.borrow().is_empty() {
            self.say_waiting();
            self.serve_waiters();
            self.grow();
        }
    }

    /// A client of this line has given its place up: where one of the same tenant waits on another worker, it is told.
    fn tell_tenant(&self, line: &Line) {
        if let Some(tenant) = &line.tenant
            && tenant.limits.get().transactions.is_some()
            && let Some(worker) = tenant.waits_longer_elsewhere(None)
        {
            self.worker.tell(worker, PeerMessage::Serve { key: self.key.clone() });
        }
    }

    /// Takes new settings over. A smaller pool shrinks as backends come back.
    fn renegotiate(self: &Rc<Self>, terms: Terms) {
        self.budget.set_limit(terms.size);
        *self.terms.borrow_mut() = Rc::new(terms);
        while self.budget.is_exceeded() {
            let Some(backend) = self.idle.borrow_mut().pop() else { break };
            self.close(backend, BackendClose::Retired);
        }
    }

    /// The configuration has no use for this pool any more.
    fn retire(self: &Rc<Self>) {
        self.retired.set(true);
        self.close_idle(BackendClose::Retired, |_| true);
        self.fail_waiters(|| LeaseError::Retired);
    }

    fn fail_waiters(&self, error: impl Fn() -> LeaseError) {
        let waiters = self.queue.borrow_mut().clear();
        self.say_waiting();
        for waiter in waiters {
            waiter.grant(Err(error()));
        }
    }

    fn info(&self) -> PoolInfo {
        let terms = self.terms();
        let queue = self.queue.borrow();
        let waiting = queue.len();
        let mut info = PoolInfo {
            shard: terms.shard.clone(),
            database: self.key.database.clone(),
            user: self.key.user.clone(),
            mode: match terms.mode {
                PoolMode::Transaction => "transaction",
                PoolMode::Session => "session",
            },
            size: terms.size,
            clients_waiting: waiting,
            wait_longest: queue.oldest().map_or(Duration::ZERO, |since| since.elapsed()),
            backends_login: self.opening.get(),
            counters: self.counters.borrow().clone(),
            ..PoolInfo::default()
        };
        for (_, card) in self.cards.borrow().iter() {
            match card.state.get() {
                BackendState::Active | BackendState::Closing => info.backends_active += 1,
                BackendState::Idle => info.backends_idle += 1,
                BackendState::Login => info.backends_login += 1,
                BackendState::Cleaning => info.backends_cleaning += 1,
            }
        }
        let held: usize = self.lines.borrow().values().map(|line| line.held.get()).sum();
        info.clients_active = held;
        info.clients_idle = self.clients.get().saturating_sub(held + waiting);
        info
    }

    fn backends(&self, out: &mut Vec<BackendInfo>) {
        let shard = self.terms().shard.clone();
        out.extend(self.cards.borrow().iter().map(|(_, card)| BackendInfo {
            id: card.id,
            worker: self.worker.index,
            user: self.key.user.clone(),
            database: self.key.database.clone(),
            shard: shard.clone(),
            state: card.state.get(),
            address: card.address.clone(),
            pid: card.pid,
            tls: card.tls,
            connected_at: card.connected_at_us,
            request_at: card.request_at_us.get(),
            client: card.client.get(),
            prepared: card.prepared.get(),
        }));
    }
}
