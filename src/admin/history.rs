//! Counters of the past minute, so that averages can be shown: a ring of samples, one every few seconds.
//!
//! Holds at most [`SAMPLES_MAX`] samples of the pools that were there. The lock is held for copying, never across a wait.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::{PoolCounters, PoolInfo, Snapshot};

/// Time between two samples.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
/// A minute of them.
pub const SAMPLES_MAX: usize = 12;

/// What tells pools apart: shard, server database, server user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolKey {
    pub shard: Arc<str>,
    pub database: Arc<str>,
    pub user: Arc<str>,
}

impl PoolKey {
    pub fn of(pool: &PoolInfo) -> Self {
        Self { shard: pool.shard.clone(), database: pool.database.clone(), user: pool.user.clone() }
    }
}

/// Past totals; newest last.
#[derive(Default)]
pub struct History {
    samples: Mutex<VecDeque<Sample>>,
}

struct Sample {
    at: Instant,
    pools: HashMap<PoolKey, PoolCounters>,
}

/// What each pool did within `window`, which ends now.
pub struct Recent {
    pub window: Duration,
    /// In the order of the snapshot's pools.
    pub pools: Vec<PoolCounters>,
}

impl Recent {
    /// Events a second.
    pub fn rate(&self, events: u64) -> f64 {
        if self.window.is_zero() { 0.0 } else { events as f64 / self.window.as_secs_f64() }
    }
}

impl History {
    pub fn record(&self, snapshot: &Snapshot) {
        let pools = snapshot.pools.iter().map(|p| (PoolKey::of(p), p.counters.clone())).collect();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(Sample { at: Instant::now(), pools });
    }

    /// Compares `snapshot` with the oldest sample, or with the start where there is none. A pool that is younger than the
    /// sample, or whose counters began anew since, is compared with zero.
    pub fn recent(&self, snapshot: &Snapshot) -> Recent {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = samples.front().filter(|sample| !sample.at.elapsed().is_zero());
        let pools = snapshot.pools.iter().map(|pool| {
            let earlier = oldest.and_then(|sample| sample.pools.get(&PoolKey::of(pool)));
            match earlier.filter(|earlier| earlier.queries <= pool.counters.queries) {
                Some(earlier) => pool.counters.since(earlier),
                None => pool.counters.clone(),
            }
        });
        Recent { window: oldest.map_or(snapshot.uptime, |sample| sample.at.elapsed()), pools: pools.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(queries: u64) -> Snapshot {
        let counters = PoolCounters { queries, ..PoolCounters::default() };
        let pool =
            PoolInfo { shard: "main".into(), database: "d".into(), user: "u".into(), counters, ..Default::default() };
        Snapshot { uptime: Duration::from_secs(100), pools: vec![pool], ..Snapshot::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn averages_cover_the_last_minute_once_there_are_samples() {
        let history = History::default();
        let recent = history.recent(&snapshot(500));
        assert_eq!((recent.window, recent.pools[0].queries), (Duration::from_secs(100), 500));

        for i in 0..40 {
            history.record(&snapshot(i * 10));
            tokio::time::advance(SAMPLE_INTERVAL).await;
        }
        let recent = history.recent(&snapshot(400));
        assert_eq!((recent.window, recent.pools[0].queries), (Duration::from_secs(60), 120));
        assert_eq!(recent.rate(120), 2.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_began_anew_is_compared_with_zero() {
        let history = History::default();
        history.record(&snapshot(1_000));
        tokio::time::advance(SAMPLE_INTERVAL).await;
        assert_eq!(history.recent(&snapshot(7)).pools[0].queries, 7);
    }
}
