//! What tenants use, against their limits: counts that all workers share, and each worker's own.
//!
//! What a limit is checked against is one atomic for all workers; what is only shown a worker counts for itself. An entry
//! lives while its tenant is configured or has a session: a client that comes back finds its rate where it left it. Counters
//! are no locks: nothing here waits.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::Limits;
use crate::metrics::{LimitKind, TenantInfo};

/// One tenant's use, over all workers.
#[derive(Debug)]
pub struct TenantUse {
    connections: AtomicUsize,
    transactions: AtomicUsize,
    /// When the tokens taken so far will all have come back, in nanoseconds since the process began.
    refilled_at: AtomicU64,
    /// By worker: when its oldest waiter came, in microseconds since the process began, plus one; 0: nobody waits.
    waiting: Box<[AtomicU64]>,
}

/// One worker's view of a tenant.
#[derive(Debug)]
pub struct TenantShare {
    pub name: Arc<str>,
    pub limits: Cell<Limits>,
    pub statements: Cell<u64>,
    /// Statements refused, for whatever reason.
    pub refused: Cell<u64>,
    limited: [Cell<u64>; LimitKind::COUNT],
    shared: Arc<TenantUse>,
    worker: usize,
}

/// Counts a client connection while it lives.
#[derive(Debug)]
pub struct TenantConnection(Arc<TenantUse>);

impl TenantUse {
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            connections: AtomicUsize::new(0),
            transactions: AtomicUsize::new(0),
            refilled_at: AtomicU64::new(0),
            waiting: (0..workers).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Takes `count` tokens of a bucket that holds a second's worth of `rate`. `Err`: there are not as many, and how long
    /// until there are. More than the bucket holds is as much as it holds.
    fn take_tokens(&self, now: Duration, rate: u32, count: usize) -> Result<(), Duration> {
        let rate = u64::from(rate.max(1));
        let cost = SECOND_NS * (count as u64).min(rate) / rate;
        let now = now.as_nanos() as u64;
        let mut wait = 0;
        let taken = |refilled_at: u64| {
            let next = refilled_at.max(now) + cost;
            wait = next.saturating_sub(now + SECOND_NS);
            (wait == 0).then_some(next)
        };
        match self.refilled_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken) {
            Ok(_) => Ok(()),
            Err(_) => Err(Duration::from_nanos(wait)),
        }
    }
}

const SECOND_NS: u64 = 1_000_000_000;

impl TenantShare {
    pub fn new(name: Arc<str>, limits: Limits, shared: Arc<TenantUse>, worker: usize) -> Rc<Self> {
        Rc::new(Self {
            name,
            limits: Cell::new(limits),
            statements: Cell::new(0),
            refused: Cell::new(0),
            limited: Default::default(),
            shared,
            worker,
        })
    }

    /// Counts that a limit was reached.
    pub fn count_limited(&self, kind: LimitKind) {
        let count = &self.limited[kind as usize];
        count.set(count.get() + 1);
    }

    /// A client's place among the tenant's connections; `None`: there are as many as may be.
    pub fn connect(&self) -> Option<TenantConnection> {
        let max = self.limits.get().connections.map_or(usize::MAX, |max| max as usize);
        let taken = |count: usize| (count < max).then_some(count + 1);
        match self.shared.connections.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken) {
            Ok(_) => Some(TenantConnection(self.shared.clone())),
            Err(_) => {
                self.count_limited(LimitKind::Connections);
                None
            }
        }
    }

    /// Counts statements against the rate, `now` since the process began. `Err`: how long until there is room for them.
    pub fn take_statements(&self, now: impl FnOnce() -> Duration, count: usize) -> Result<(), Duration> {
        let Some(rate) = self.limits.get().statements_per_second else { return Ok(()) };
        self.shared.take_tokens(now(), rate, count.max(1)).inspect_err(|_| {
            self.count_limited(LimitKind::StatementsPerSecond);
        })
    }

    /// How many more transactions may begin now.
    pub(super) fn room(&self) -> usize {
        match self.limits.get().transactions {
            None => usize::MAX,
            Some(max) => (max as usize).saturating_sub(self.shared.transactions.load(Ordering::Acquire)),
        }
    }

    /// One of this worker's clients, who came at `since_us` (`None`: now), may begin a transaction: there is room, and the
    /// last place is not due to one who has waited for longer on another worker.
    pub(super) fn may_begin(&self, since_us: Option<u64>) -> bool {
        match self.room() {
            0 => false,
            1 => self.waits_longer_elsewhere(since_us).is_none(),
            _ => true,
        }
    }

    /// Counts a transaction, where there is room for it.
    pub(super) fn begin(&self) -> bool {
        let max = self.limits.get().transactions.map_or(usize::MAX, |max| max as usize);
        let taken = |count: usize| (count < max).then_some(count + 1);
        self.shared.transactions.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).is_ok()
    }

    pub(super) fn end(&self) {
        self.shared.transactions.fetch_sub(1, Ordering::AcqRel);
    }

    /// Says since when a client of this worker waits; `None`: none does.
    pub(super) fn set_waiting(&self, since_us: Option<u64>) {
        self.shared.waiting[self.worker].store(since_us.map_or(0, |since| since + 1), Ordering::Release);
    }

    /// Another worker where a client of the tenant has waited for longer than since `own_us`.
    pub(super) fn waits_longer_elsewhere(&self, own_us: Option<u64>) -> Option<usize> {
        let own = own_us.map_or(u64::MAX, |since| since + 1);
        let all = self.shared.waiting.iter().map(|since| since.load(Ordering::Acquire)).enumerate();
        let others = all.filter(|&(worker, since)| worker != self.worker && since != 0 && since < own);
        others.min_by_key(|&(_, since)| since).map(|(worker, _)| worker)
    }

    /// As shown. What is common to all workers is in each worker's.
    pub fn info(&self, waiting: usize) -> TenantInfo {
        TenantInfo {
            name: self.name.clone(),
            connections: self.shared.connections.load(Ordering::Relaxed),
            transactions: self.shared.transactions.load(Ordering::Relaxed),
            waiting,
            statements: self.statements.get(),
            refused: self.refused.get(),
            limited: std::array::from_fn(|kind| self.limited[kind].get()),
        }
    }
}

impl Drop for TenantConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn share(limits: Limits) -> Rc<TenantShare> {
        TenantShare::new("acme".into(), limits, TenantUse::new(2), 0)
    }

    #[test]
    fn a_bucket_holds_a_second_and_refills_evenly() {
        let bucket = TenantUse::new(1);
        for _ in 0..10 {
            bucket.take_tokens(ms(5_000), 10, 1).unwrap();
        }
        assert_eq!(bucket.take_tokens(ms(5_000), 10, 1), Err(ms(100)));
        assert_eq!(bucket.take_tokens(ms(5_040), 10, 1), Err(ms(60)));
        bucket.take_tokens(ms(5_100), 10, 1).unwrap();
        assert_eq!(bucket.take_tokens(ms(5_150), 10, 2), Err(ms(150)));
        bucket.take_tokens(ms(60_000), 10, 10).unwrap();
        assert!(bucket.take_tokens(ms(60_000), 10, 1).is_err(), "a long silence saves up no more than a second");
    }

    #[test]
    fn more_statements_than_a_bucket_holds_cost_all_of_it() {
        let bucket = TenantUse::new(1);
        bucket.take_tokens(ms(0), 3, 1_000).unwrap();
        assert_eq!(bucket.take_tokens(ms(0), 3, 1_000), Err(ms(1_000)));
    }

    #[test]
    fn connections_are_counted_over_workers_and_come_back() {
        let shared = TenantUse::new(2);
        let limits = Limits { connections: Some(2), ..Limits::default() };
        let [a, b] = [0, 1].map(|worker| TenantShare::new("acme".into(), limits, shared.clone(), worker));
        let first = a.connect().unwrap();
        let second = b.connect().unwrap();
        assert!(a.connect().is_none() && b.connect().is_none());
        drop(first);
        let third = b.connect().unwrap();
        drop((second, third));
        assert_eq!(a.info(0).connections, 0);
        assert_eq!(b.info(0).limited[LimitKind::Connections as usize], 1);
    }

    #[test]
    fn the_last_place_is_for_the_one_who_waited_longest_on_any_worker() {
        let shared = TenantUse::new(2);
        let limits = Limits { transactions: Some(2), ..Limits::default() };
        let [a, b] = [0, 1].map(|worker| TenantShare::new("acme".into(), limits, shared.clone(), worker));
        assert!(a.begin());
        b.set_waiting(Some(50));
        assert!(!a.may_begin(None) && !a.may_begin(Some(60)) && a.may_begin(Some(40)));
        assert!(b.may_begin(Some(50)) && b.begin() && !a.begin());
        assert_eq!(a.room(), 0);
        a.limits.set(Limits { transactions: Some(1), ..limits });
        b.end();
        assert!(!a.begin(), "a lowered limit holds for those who come next");
        a.limits.set(Limits::default());
        assert!(a.may_begin(None) && a.begin());
    }

    #[test]
    fn a_tenant_without_limits_is_counted_all_the_same() {
        let share = share(Limits::default());
        let _connection = share.connect().unwrap();
        assert!(share.begin());
        share.take_statements(|| panic!("the time is not looked at"), 1).unwrap();
        let info = share.info(0);
        assert_eq!((info.connections, info.transactions), (1, 1));
    }
}
