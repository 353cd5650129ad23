//! What workers share about a pool: how many backends there may be, and who has waited for how long.
//!
//! A backend exists only while a [`Permit`] does. Budgets are counters, not locks: taking one never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A bounded count that several workers draw from.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicUsize,
    used: AtomicUsize,
    /// By worker: when its oldest waiter came, in microseconds since the process began, plus one; 0: nobody waits.
    waiting: Box<[AtomicU64]>,
}

impl Budget {
    pub fn new(limit: usize, workers: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
            waiting: (0..workers).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// A lowered limit takes effect as permits come back.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// More are in use than the limit allows now.
    pub fn is_exceeded(&self) -> bool {
        self.used() > self.limit.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| (used < limit).then_some(used + 1)).is_ok()
    }

    fn give_back(&self) {
        self.used.fetch_sub(1, Ordering::AcqRel);
    }

    /// Says since when `worker` has a waiter; `None`: it has none.
    pub fn set_waiting(&self, worker: usize, since_us: Option<u64>) {
        self.waiting[worker].store(since_us.map_or(0, |since| since + 1), Ordering::Relaxed);
    }

    /// Another worker whose oldest waiter has waited for longer than `own_since_us` (`None`: nobody waits here).
    pub fn hungrier_than(&self, worker: usize, own_since_us: Option<u64>) -> Option<usize> {
        let own = own_since_us.map_or(u64::MAX, |since| since + 1);
        let others = self.waiting.iter().enumerate().filter(|&(index, _)| index != worker);
        others
            .map(|(index, since)| (since.load(Ordering::Relaxed), index))
            .filter(|&(since, _)| since != 0 && since < own)
            .min()
            .map(|(_, index)| index)
    }
}

/// The right to have one backend: a place in its pool and in its database.
#[derive(Debug)]
pub struct Permit {
    pool: Arc<Budget>,
    database: Arc<Budget>,
}

/// Why there was no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    Pool,
    Database,
}

impl Permit {
    pub fn take(pool: &Arc<Budget>, database: &Arc<Budget>) -> Result<Self, Exhausted> {
        if !pool.take() {
            return Err(Exhausted::Pool);
        }
        if !database.take() {
            pool.give_back();
            return Err(Exhausted::Database);
        }
        Ok(Self { pool: pool.clone(), database: database.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool.give_back();
        self.database.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_counts_in_both_budgets_until_dropped() {
        let (pool, database) = (Arc::new(Budget::new(2, 1)), Arc::new(Budget::new(1, 1)));
        let permit = Permit::take(&pool, &database).unwrap();
        assert_eq!(Permit::take(&pool, &database).unwrap_err(), Exhausted::Database);
        assert_eq!((pool.used(), database.used()), (1, 1));
        drop(permit);
        assert_eq!((pool.used(), database.used()), (0, 0));
        pool.set_limit(0);
        assert_eq!(Permit::take(&pool, &database).unwrap_err(), Exhausted::Pool);
    }

    #[test]
    fn the_worker_whose_waiter_is_oldest_comes_first() {
        let budget = Budget::new(1, 3);
        assert_eq!(budget.hungrier_than(0, None), None);
        budget.set_waiting(1, Some(50));
        budget.set_waiting(2, Some(40));
        assert_eq!(budget.hungrier_than(0, None), Some(2));
        assert_eq!(budget.hungrier_than(0, Some(45)), Some(2));
        assert_eq!(budget.hungrier_than(0, Some(40)), None);
        assert_eq!(budget.hungrier_than(2, Some(40)), None);
        budget.set_waiting(2, None);
        assert_eq!(budget.hungrier_than(0, None), Some(1));
    }
}
