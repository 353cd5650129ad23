//! Lending: a [`Seat`] asks, a [`Wait`] waits, a [`Lease`] holds, a [`Bound`] may be written to.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::backend::{Backend, BackendClose};
use super::claim::Claim;
use super::exchange::ExchangeError;
use super::queue::{Line, Waiter};
use super::{LeaseError, Pool};
use crate::metrics::BackendState;
use crate::reply::Settled;
use crate::settings::Settings;
use crate::sql::Effect;

/// A client's place in a pool: whose it is, and where it waits.
#[derive(Debug)]
pub struct Seat {
    pool: Rc<Pool>,
    line: Rc<Line>,
    claim: Rc<Claim>,
}

/// A backend that is idle for longer is asked whether it is still there before it is lent. A younger one's end would have
/// been reported by the poll that every turn of the runtime makes.
const TRUSTED_IDLE: Duration = Duration::from_millis(2);

/// What cleaning or setting may take.
pub(super) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);

impl Seat {
    pub(super) fn new(pool: Rc<Pool>, line: Rc<Line>, claim: Claim) -> Self {
        pool.clients.set(pool.clients.get() + 1);
        Self { pool, line, claim: Rc::new(claim) }
    }

    pub fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// What the server forgets by this effect is whom the session speaks for.
    pub fn forgets_tenant(&self, effect: &Effect) -> bool {
        self.claim.context.is_dropped_by(effect)
    }

    /// A backend that is free now; the one that suits `settings` best. `None`: wait for your turn.
    pub fn try_lease(&self, settings: &Arc<Settings>, now: Instant) -> Option<Lease> {
        let pool = &self.pool;
        if pool.paused.get() || pool.retired.get() || !pool.queue.borrow().is_served() || !self.line.may_take() {
            return None;
        }
        loop {
            let mut backend = self.pick(settings)?;
            if !is_alive(&mut backend, now) {
                pool.close(backend, BackendClose::Unquiet);
                continue;
            }
            // Of the idle ones those that are too old are closed by the clock.
            if let Some(reason) = pool.has_no_use_for(&backend) {
                pool.close(backend, reason);
                continue;
            }
            if !self.line.take() {
                pool.idle.borrow_mut().push(backend);
                return None;
            }
            backend.card.state.set(BackendState::Active);
            return Some(Lease {
                backend: Some(backend),
                pool: pool.clone(),
                line: self.line.clone(),
                claim: self.claim.clone(),
            });
        }
    }

    /// The idle backend that needs the least to be done: the same owner's with the same settings, the same owner's, nobody's,
    /// another's. Among the owner's the one used last, so that the others can end; among others' the one that was not used
    /// for longest, so that busy owners keep theirs.
    fn pick(&self, settings: &Arc<Settings>) -> Option<Box<Backend>> {
        let mut idle = self.pool.idle.borrow_mut();
        let mut best: Option<(u8, usize)> = None;
        for (index, backend) in idle.iter().enumerate().rev() {
            let score = match (self.claim.holds(backend), Settings::same(&backend.settings, settings)) {
                (true, true) => 3,
                (true, false) => 2,
                (false, _) if backend.owner.is_none() => 1,
                (false, _) => 0,
            };
            if best.is_none_or(|(known, _)| score > known || score == 0) {
                best = Some((score, index));
            }
            if score == 3 {
                break;
            }
        }
        best.map(|(_, index)| idle.remove(index))
    }

    /// Joins the queue. The client waits until the future is ready; dropping it leaves the queue.
    pub fn wait(&self) -> Result<Wait, LeaseError> {
        let pool = &self.pool;
        if pool.retired.get() {
            return Err(LeaseError::Retired);
        }
        if pool.queue.borrow().is_full(&self.line, pool.terms.borrow().queue_max) {
            return Err(LeaseError::QueueFull { waiting: pool.queue.borrow().len() });
        }
        let waiter = pool.queue.borrow_mut().join(&self.line);
        pool.say_waiting();
        pool.serve_waiters();
        pool.grow();
        Ok(Wait { pool: pool.clone(), line: self.line.clone(), claim: self.claim.clone(), waiter, done: false })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.clients.set(self.pool.clients.get() - 1);
    }
}

/// What was read since the backend became idle is an end, or out of turn.
fn is_alive(backend: &mut Backend, now: Instant) -> bool {
    if now.saturating_duration_since(backend.idle_since) < TRUSTED_IDLE && !backend.stream.has_event() {
        return true;
    }
    backend.stream.is_quiet()
}

impl Pool {
    /// Lends idle backends to waiters, where both came to be at once: after a pause, or when a waiter joined in between.
    pub(super) fn serve_waiters(self: &Rc<Self>) {
        let idle = self.idle.borrow().len();
        for _ in 0..idle {
            if self.paused.get() || self.queue.borrow().is_served() {
                return;
            }
            let Some(mut backend) = self.idle.borrow_mut().pop() else { return };
            if is_alive(&mut backend, Instant::now()) {
                self.put(backend, Instant::now());
            } else {
                self.close(backend, BackendClose::Unquiet);
            }
        }
    }
}

impl Pool {
    /// Discards what a session left, and puts the backend back.
    pub(super) async fn clean(self: Rc<Self>, mut backend: Box<Backend>) {
        self.count(|counters| counters.cleanings += 1);
        match backend.clean(None).await {
            Ok(()) => self.put(backend, Instant::now()),
            Err(error) => {
                tracing::warn!(backend = backend.id(), error = %error, "backend not cleaned");
                self.close(backend, BackendClose::NotClean);
            }
        }
    }
}

/// A client's turn in the queue. Cancel safe: a backend that was granted meanwhile goes back.
#[derive(Debug)]
pub struct Wait {
    pool: Rc<Pool>,
    line: Rc<Line>,
    claim: Rc<Claim>,
    waiter: Rc<Waiter>,
    done: bool,
}

impl Wait {
    /// Since when.
    pub fn since(&self) -> tokio::time::Instant {
        self.waiter.since
    }
}

impl Future for Wait {
    type Output = Result<Lease, LeaseError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let granted = self.waiter.granted.borrow_mut().take();
        match granted {
            Some(Ok(backend)) => {
                self.done = true;
                let waited = self.waiter.since.elapsed();
                self.pool.count(|counters| counters.wait_time.observe(waited));
                Poll::Ready(Ok(Lease {
                    backend: Some(backend),
                    pool: self.pool.clone(),
                    line: self.line.clone(),
                    claim: self.claim.clone(),
                }))
            }
            Some(Err(error)) => {
                self.done = true;
                Poll::Ready(Err(error))
            }
            None => {
                *self.waiter.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        match self.waiter.granted.borrow_mut().take() {
            Some(Ok(backend)) => {
                self.line.give_back();
                self.pool.put(backend, Instant::now());
                self.pool.tell_tenant(&self.line);
            }
            Some(Err(_)) => {}
            None => {
                self.pool.queue.borrow_mut().leave(&self.line, &self.waiter);
                self.pool.say_waiting();
            }
        }
    }
}

/// A backend that is lent, in whatever state its last user left it. Nothing can be sent through it; [`Lease::bind`] it.
/// Dropping it closes the backend.
#[derive(Debug)]
pub struct Lease {
    backend: Option<Box<Backend>>,
    pool: Rc<Pool>,
    line: Rc<Line>,
    claim: Rc<Claim>,
}

/// Why a backend could not be made the session's own.
#[derive(Debug, Error)]
pub enum BindError {
    /// The backend would not be cleaned, or broke: it is closed, another one may do.
    #[error("the backend could not be cleaned: {0}")]
    Backend(#[source] ExchangeError),
    /// The server would not see the session as its tenant: the backend is closed, and another one would do no better.
    #[error("the tenant's context could not be entered: {0}")]
    Context(#[source] ExchangeError),
    /// The server does not take the session's settings.
    #[error("the server refused the session's settings: {sqlstate} {message}")]
    Settings { sqlstate: String, message: String },
}

impl Lease {
    /// Binds the backend where nothing has to be said to it first.
    pub fn try_bind(self, settings: &Arc<Settings>) -> Result<Bound, Self> {
        let ready = self
            .backend
            .as_ref()
            .is_some_and(|backend| self.claim.holds(backend) && Settings::same(&backend.settings, settings));
        if ready { Ok(Bound { lease: self }) } else { Err(self) }
    }

    /// Cleans the backend of another owner's traces, makes the server see it as the session's tenant, and gives it the
    /// session's settings.
    ///
    /// This is not cancel safe: a dropped future closes the backend.
    pub async fn bind(mut self, settings: &Arc<Settings>) -> Result<Bound, BindError> {
        let claim = self.claim.clone();
        let pool = self.pool.clone();
        let backend = self.backend_mut();
        let foreign = backend.owner.as_ref().is_some_and(|owner| *owner != claim.owner);
        if backend.unclean || foreign {
            backend.card.state.set(BackendState::Cleaning);
            pool.count(|counters| counters.cleanings += 1);
            if let Err(error) = backend.clean(Some(&claim)).await {
                self.close(BackendClose::NotClean);
                return Err(not_bound(error));
            }
        }
        let backend = self.backend_mut();
        backend.owner = Some(claim.owner.clone());
        backend.card.state.set(BackendState::Active);
        if let Err(error) = backend.enter(&claim).await {
            self.close(BackendClose::NotClean);
            return Err(not_bound(error));
        }
        match self.backend_mut().take_settings(settings).await {
            Ok(()) => Ok(Bound { lease: self }),
            Err(ExchangeError::Refused { sqlstate, message }) if self.backend_mut().is_settled() => {
                // The change is one implicit transaction: the backend is as it was.
                self.give_back(Instant::now());
                Err(BindError::Settings { sqlstate, message })
            }
            Err(error) => {
                self.close(BackendClose::NotClean);
                Err(BindError::Backend(error))
            }
        }
    }

    fn backend_mut(&mut self) -> &mut Backend {
        self.backend.as_mut().expect("a lease has its backend until it is consumed")
    }

    fn close(&mut self, reason: BackendClose) {
        if let Some(backend) = self.backend.take() {
            self.line.give_back();
            self.pool.close(backend, reason);
            self.pool.serve_again();
            self.pool.tell_tenant(&self.line);
        }
    }

    fn give_back(&mut self, now: Instant) {
        if let Some(backend) = self.backend.take() {
            self.line.give_back();
            self.pool.put(backend, now);
            self.pool.tell_tenant(&self.line);
        }
    }
}

fn not_bound(error: ExchangeError) -> BindError {
    match error {
        ExchangeError::Refused { .. } | ExchangeError::Context(_) => BindError::Context(error),
        ExchangeError::Lost(_) | ExchangeError::Protocol(_) | ExchangeError::Residue | ExchangeError::Timeout(_) => {
            BindError::Backend(error)
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.close(BackendClose::Abandoned);
    }
}

impl Backend {
    /// Discards all that PostgreSQL keeps in a session, and what DISCARD ALL leaves: the state of `random()`, and a schema
    /// for temporary objects, which shows that there were some. A backend that has one is refused.
    /// `next`: who has it next, if that is known.
    async fn clean(&mut self, next: Option<&Claim>) -> Result<(), ExchangeError> {
        let seed = rand::random_range(-1.0..1.0);
        let probe = format!("SELECT pg_catalog.pg_my_temp_schema(),pg_catalog.setseed({seed})");
        let hello = next.and_then(|claim| claim.hello(self));
        let texts: Vec<&str> = ["DISCARD ALL", &probe].into_iter().chain(hello).collect();
        let answers = self.exchange_all(&texts, EXCHANGE_TIMEOUT).await?;
        let rows = answers.get(1).map(Vec::as_slice).unwrap_or_default();
        if rows.first().and_then(|row| row.first()?.as_deref()) != Some("0") {
            return Err(ExchangeError::Residue);
        }
        self.forget();
        self.unclean = false;
        self.owner = None;
        match answers.get(2) {
            Some(rows) => self.take_hello(rows).map(drop),
            None => Ok(()),
        }
    }

    /// Makes the server's session have exactly these settings.
    pub async fn take_settings(&mut self, settings: &Arc<Settings>) -> Result<(), ExchangeError> {
        if !Settings::same(&self.settings, settings) {
            let sql = self.settings.change_to(settings);
            if !sql.is_empty() {
                self.exchange(&sql, EXCHANGE_TIMEOUT).await?;
            }
            self.settings = settings.clone();
        }
        Ok(())
    }
}

/// A lent backend that carries nothing of another user's, and the session's own settings. Dropping it closes the backend.
#[derive(Debug)]
pub struct Bound {
    lease: Lease,
}

impl Bound {
    /// Brings the backend back, for the next client: if nothing is half said; otherwise it is closed.
    pub fn release(mut self, _nothing_owed: Settled, now: Instant) {
        let backend = self.lease.backend_mut();
        backend.card.prepared.set(backend.prepared.len());
        backend.stop_gathering();
        if backend.is_settled() && !backend.cancel.is_doubtful() {
            self.lease.give_back(now);
        } else {
            self.lease.close(BackendClose::Unsettled);
        }
    }

    pub fn close(mut self, reason: BackendClose) {
        self.lease.close(reason);
    }

    pub(super) fn claim(&self) -> &Claim {
        &self.lease.claim
    }

    /// The server does not see the session as its tenant any more: nothing may be sent through it.
    pub fn lacks_context(&self) -> bool {
        self.lease.claim.context.is_needed() && !self.entered.tenant
    }

    /// Says on the backend's card who uses it.
    pub fn note_client(&self, client: u64, request_at_us: u64) {
        self.card.client.set(Some(client));
        self.card.request_at_us.set(request_at_us);
    }
}

impl Deref for Bound {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        self.lease.backend.as_ref().expect("a bound lease has its backend until it is consumed")
    }
}

impl DerefMut for Bound {
    fn deref_mut(&mut self) -> &mut Backend {
        self.lease.backend_mut()
    }
}
