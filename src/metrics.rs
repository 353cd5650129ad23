//! What is counted and shown: plain counters that each worker keeps for itself, and the snapshots that the console, the
//! metrics endpoint and the status page are drawn from.
//!
//! Counting is an addition to a field; nothing here is shared between threads. A snapshot is a value made on request.

use std::sync::Arc;
use std::time::Duration;

/// What one pool did since start, on one worker or summed over all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PoolCounters {
    pub transactions: u64,
    /// Query messages and Executes.
    pub queries: u64,
    pub bytes_from_clients: u64,
    pub bytes_to_clients: u64,
    /// From the first byte forwarded to the last ReadyForQuery.
    pub query_time: Histogram,
    pub transaction_time: Histogram,
    /// From wanting a backend to having one; zero waits are not observed.
    pub wait_time: Histogram,
    pub errors: u64,
    pub refusals: u64,
    pub backends_opened: u64,
    pub backends_closed: u64,
    pub backend_login_failures: u64,
    pub prepared_hits: u64,
    pub prepared_misses: u64,
    pub cleanings: u64,
}

/// Durations in buckets that double from 64 µs on; the last one is everything longer.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    pub buckets: [u64; Histogram::BUCKETS],
    pub sum: Duration,
    pub count: u64,
}

impl Histogram {
    pub const BUCKETS: usize = 24;

    /// Upper bound of bucket `i`; the last has none.
    pub const fn bound(i: usize) -> Duration {
        Duration::from_micros(64 << i)
    }

    pub fn observe(&mut self, took: Duration) {
        let micros = took.as_micros() as u64;
        let slot = (64 - (micros >> 6).leading_zeros()) as usize;
        self.buckets[slot.min(Self::BUCKETS - 1)] += 1;
        self.sum += took;
        self.count += 1;
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; Self::BUCKETS], sum: Duration::ZERO, count: 0 }
    }
}

/// The state of everything at one moment, over all workers.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub uptime: Duration,
    pub workers: usize,
    pub paused: bool,
    pub draining: bool,
    pub config_generation: u64,
    pub clients: Vec<ClientInfo>,
    pub backends: Vec<BackendInfo>,
    pub pools: Vec<PoolInfo>,
    /// Since start, by what ended them.
    pub closes: Vec<(&'static str, u64)>,
    pub logins_ok: u64,
    pub logins_failed: u64,
    pub cancels: u64,
    pub analyses: AnalysisCounters,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnalysisCounters {
    pub hits: u64,
    pub misses: u64,
    pub entries: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    Active,
    Waiting,
    Idle,
    IdleInTransaction,
    Login,
    Closing,
}

#[derive(Debug, Clone)]
pub struct ClientInfo {
    /// Unique over workers, never reused.
    pub id: u64,
    pub worker: usize,
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub state: ClientState,
    /// `ip:port`, or `unix`.
    pub address: String,
    pub application_name: Arc<str>,
    pub tls: Option<&'static str>,
    /// Unix microseconds.
    pub connected_at: u64,
    /// Unix microseconds of the last request; 0: none yet.
    pub request_at: u64,
    /// How long it has been waiting for a backend.
    pub wait: Duration,
    /// Id of the backend that it holds.
    pub backend: Option<u64>,
    /// Why its backend stays with it (`listen`, `temp_object` ...); absent: it follows over backends.
    pub pin: Option<&'static str>,
    pub prepared: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendState {
    Active,
    Idle,
    Login,
    Cleaning,
    Closing,
}

#[derive(Debug, Clone)]
pub struct BackendInfo {
    pub id: u64,
    pub worker: usize,
    /// Role on the server.
    pub user: Arc<str>,
    /// Database on the server.
    pub database: Arc<str>,
    pub shard: Arc<str>,
    pub state: BackendState,
    pub address: String,
    pub pid: i32,
    pub tls: Option<&'static str>,
    pub connected_at: u64,
    pub request_at: u64,
    pub client: Option<u64>,
    pub prepared: usize,
}

#[derive(Debug, Clone, Default)]
pub struct PoolInfo {
    pub shard: Arc<str>,
    /// Database on the server.
    pub database: Arc<str>,
    /// Role on the server.
    pub user: Arc<str>,
    pub mode: &'static str,
    pub size: usize,
    pub clients_active: usize,
    pub clients_waiting: usize,
    pub clients_idle: usize,
    pub backends_active: usize,
    pub backends_idle: usize,
    pub backends_login: usize,
    pub backends_cleaning: usize,
    pub wait_longest: Duration,
    pub counters: PoolCounters,
}
