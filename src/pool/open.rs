//! Opening backends: as many as clients wait for, within the budgets, and not faster than a failing server bears.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backend::{Backend, Card};
use super::budget::{Exhausted, Permit};
use super::connect::{self, ConnectError};
use super::{BackendClose, LeaseError, Pool, Terms};
use crate::metrics::BackendState;

impl Pool {
    /// Opens a backend for every waiter that none is being opened for.
    pub(super) fn grow(self: &Rc<Self>) {
        while self.opening.get() < self.queue.borrow().wanting() {
            if !self.open_one() {
                return;
            }
        }
    }

    /// Opens backends up to the configured minimum, where the pool is in use at all.
    pub(super) fn keep_minimum(self: &Rc<Self>, terms: &Terms) {
        while self.budget.used() < terms.size_min && self.clients.get() > 0 {
            if !self.open_one() {
                return;
            }
        }
    }

    fn open_one(self: &Rc<Self>) -> bool {
        if self.retired.get() || self.paused.get() || self.retry_at.get().is_some_and(|at| Instant::now() < at) {
            return false;
        }
        match Permit::take(&self.budget, &self.database_budget) {
            Ok(permit) => {
                self.opening.set(self.opening.get() + 1);
                tokio::task::spawn_local(self.clone().open(permit));
                true
            }
            Err(Exhausted::Pool) => {
                self.worker.ask_peers(&self.key);
                false
            }
            Err(Exhausted::Database) => {
                self.worker.ask_peers(&self.key);
                self.worker.want_place(&self.database_budget);
                false
            }
        }
    }

    async fn open(self: Rc<Self>, permit: Permit) {
        let terms = self.terms();
        let connected = connect::connect(&self.key.node, &terms.login, &self.worker.connector()).await;
        self.opening.set(self.opening.get() - 1);
        match connected {
            Ok(connected) => {
                *self.failure.borrow_mut() = None;
                self.failures.set(0);
                self.retry_at.set(None);
                self.counters.borrow_mut().backends_opened += 1;
                let card = self.new_card(
                    connected.pid,
                    connected.tls,
                    format!("{}", self.key.node.address),
                    self.worker.now_us(),
                );
                let backend = Backend::new(connected, self.key.node.clone(), card, permit, terms.prepared_max);
                tracing::debug!(backend = backend.id(), pid = backend.pid, "backend opened");
                self.put(Box::new(backend), Instant::now());
            }
            Err(error) => {
                drop(permit);
                self.opening_failed(error, &terms);
            }
        }
    }

    fn opening_failed(self: &Rc<Self>, error: ConnectError, terms: &Terms) {
        self.counters.borrow_mut().backend_login_failures += 1;
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        let doubled = terms.retry_min.saturating_mul(1 << failures.min(16)).min(terms.retry_max);
        let pause = self.worker.jitter_half(doubled);
        self.retry_at.set(Some(Instant::now() + pause));
        let error = Arc::new(error);
        if failures == 0 {
            tracing::warn!(
                shard = %terms.shard, database = %self.key.database, user = %self.key.user, error = %error,
                "login to the server failed"
            );
        }
        *self.failure.borrow_mut() = Some(error.clone());
        if !error.is_transient() {
            self.fail_waiters(|| LeaseError::Refused(error.clone()));
        }
    }

    /// Registers a backend for the console.
    pub(super) fn new_card(
        &self,
        pid: i32,
        tls: Option<&'static str>,
        address: String,
        connected_at_us: u64,
    ) -> Rc<Card> {
        let mut cards = self.cards.borrow_mut();
        let entry = cards.vacant_entry();
        let card = Rc::new(Card {
            id: self.worker.next_backend_id(),
            slot: entry.key().into(),
            pid,
            tls,
            address,
            connected_at_us,
            state: BackendState::Idle.into(),
            client: None.into(),
            request_at_us: 0.into(),
            prepared: 0.into(),
        });
        entry.insert(card.clone());
        card
    }

    /// Hands an idle backend to another worker. `Err(Some)`: it cannot travel; `Err(None)`: it was lost on the way.
    pub(super) fn send_to(self: &Rc<Self>, worker: usize, backend: Box<Backend>) -> Result<(), Option<Box<Backend>>> {
        let slot = backend.card.slot.get();
        match backend.travel() {
            Ok(travelling) => {
                self.cards.borrow_mut().remove(slot);
                self.worker.send(worker, self.key.clone(), travelling);
                Ok(())
            }
            Err(Some(kept)) => {
                // TLS ties it to this worker: make room over there instead, where nobody waits here.
                if self.queue.borrow().is_served() {
                    self.close(kept, BackendClose::Evicted);
                    return Err(None);
                }
                Err(Some(kept))
            }
            Err(None) => {
                self.cards.borrow_mut().remove(slot);
                self.worker.count_close(BackendClose::Lost);
                Err(None)
            }
        }
    }
}

/// Between half of `duration` and all of it, by `random` in 0..1.
pub(super) fn jittered(duration: Duration, random: f64) -> Duration {
    duration.mul_f64(0.5 + random / 2.0)
}
