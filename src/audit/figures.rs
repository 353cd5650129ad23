//! What the log tells about itself beyond counters: the newest checkpoint, how long syncs took, and how each place that it is
//! sent to fares.
//!
//! The writer and the threads that send say it here; whoever shows it takes a copy. No lock is held while anything waits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::stream::lock;
use crate::chain::{Hash, KeyId, Time};
use crate::metrics::Histogram;

/// A checkpoint that was signed and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Records that it covers.
    pub size: u64,
    pub root: Hash,
    pub time: Time,
    /// The key that goes on signing.
    pub key: KeyId,
    /// The signed note itself.
    pub note: Arc<str>,
}

/// How a place that gets copies of checkpoints fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyFigures {
    /// Without what is secret in it.
    pub target: Arc<str>,
    pub sent: u64,
    pub missed: u64,
    /// Why the last one could not be sent; absent: it was.
    pub error: Option<Arc<str>>,
}

/// How a receiver of all records fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkFigures {
    /// As the configuration has it.
    pub target: Arc<str>,
    pub connected: bool,
    /// The first record that it was not sent, and the first that it has not acknowledged.
    pub sent: u64,
    pub acknowledged: u64,
    pub connects: u64,
    pub failures: u64,
    /// What went wrong last; absent once it has everything.
    pub error: Option<Arc<str>>,
}

/// What is said here; part of what the log's threads share.
#[derive(Default)]
pub(super) struct Board {
    /// Name of the log.
    origin: Arc<str>,
    signed: Mutex<Option<Signed>>,
    sync_times: Mutex<Histogram>,
    copies: Mutex<Vec<Arc<Mutex<CopyFigures>>>>,
    sinks: Mutex<Vec<Arc<Mutex<SinkFigures>>>>,
}

impl Board {
    pub fn of(origin: &str) -> Self {
        Self { origin: origin.into(), ..Self::default() }
    }

    pub fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    pub fn sign(&self, signed: Signed) {
        *lock(&self.signed) = Some(signed);
    }

    pub fn signed(&self) -> Option<Signed> {
        lock(&self.signed).clone()
    }

    pub fn observe_sync(&self, took: Duration) {
        lock(&self.sync_times).observe(took);
    }

    pub fn sync_times(&self) -> Histogram {
        lock(&self.sync_times).clone()
    }

    /// A place's own entry, which its thread writes.
    pub fn add_copy(&self, target: &str) -> Arc<Mutex<CopyFigures>> {
        let entry = Arc::new(Mutex::new(CopyFigures { target: target.into(), ..CopyFigures::default() }));
        lock(&self.copies).push(entry.clone());
        entry
    }

    pub fn copies(&self) -> Vec<CopyFigures> {
        lock(&self.copies).iter().map(|entry| lock(entry).clone()).collect()
    }

    /// As [`Board::add_copy`].
    pub fn add_sink(&self, target: &str) -> Arc<Mutex<SinkFigures>> {
        let entry = Arc::new(Mutex::new(SinkFigures { target: target.into(), ..SinkFigures::default() }));
        lock(&self.sinks).push(entry.clone());
        entry
    }

    pub fn sinks(&self) -> Vec<SinkFigures> {
        lock(&self.sinks).iter().map(|entry| lock(entry).clone()).collect()
    }

    /// Records before which every receiver has all; what is not known yet nobody has.
    pub fn acknowledged(&self) -> u64 {
        lock(&self.sinks).iter().map(|entry| lock(entry).acknowledged).min().unwrap_or(u64::MAX)
    }
}
