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
    /// Backends lent to clients.
    pub leases: u64,
    /// Parse messages from clients.
    pub client_parses: u64,
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

impl PoolCounters {
    /// Adds another worker's (or another pool's) counters to these.
    pub fn merge(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
        self.query_time.merge(&other.query_time);
        self.transaction_time.merge(&other.transaction_time);
        self.wait_time.merge(&other.wait_time);
    }

    /// What was counted after `earlier`, an older value of the same counters. Never negative.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = self.clone();
        delta.combine(earlier, u64::saturating_sub);
        delta.query_time = self.query_time.since(&earlier.query_time);
        delta.transaction_time = self.transaction_time.since(&earlier.transaction_time);
        delta.wait_time = self.wait_time.since(&earlier.wait_time);
        delta
    }

    /// Applies `op` to each plain counter. The pattern names every field, so that a new one cannot be forgotten.
    fn combine(&mut self, other: &Self, op: fn(u64, u64) -> u64) {
        let Self {
            transactions,
            queries,
            leases,
            client_parses,
            bytes_from_clients,
            bytes_to_clients,
            query_time: _,
            transaction_time: _,
            wait_time: _,
            errors,
            refusals,
            backends_opened,
            backends_closed,
            backend_login_failures,
            prepared_hits,
            prepared_misses,
            cleanings,
        } = self;
        for (mine, theirs) in [
            (transactions, other.transactions),
            (queries, other.queries),
            (leases, other.leases),
            (client_parses, other.client_parses),
            (bytes_from_clients, other.bytes_from_clients),
            (bytes_to_clients, other.bytes_to_clients),
            (errors, other.errors),
            (refusals, other.refusals),
            (backends_opened, other.backends_opened),
            (backends_closed, other.backends_closed),
            (backend_login_failures, other.backend_login_failures),
            (prepared_hits, other.prepared_hits),
            (prepared_misses, other.prepared_misses),
            (cleanings, other.cleanings),
        ] {
            *mine = op(*mine, theirs);
        }
    }
}

/// Durations in buckets that double from 64 µs on; the last one is everything longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    pub buckets: [u64; Histogram::BUCKETS],
    pub sum: Duration,
    pub count: u64,
}

impl Histogram {
    pub const BUCKETS: usize = 24;

    /// Upper bound of bucket `i`, itself included; the last has none.
    pub const fn bound(i: usize) -> Duration {
        Duration::from_micros(64 << i)
    }

    pub fn observe(&mut self, took: Duration) {
        let micros = took.as_micros() as u64;
        let slot = (64 - (micros.saturating_sub(1) >> 6).leading_zeros()) as usize;
        self.buckets[slot.min(Self::BUCKETS - 1)] += 1;
        self.sum += took;
        self.count += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.saturating_add(theirs);
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.count = self.count.saturating_add(other.count);
    }

    /// What was observed after `earlier`, an older value of the same histogram. Never negative.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = self.clone();
        for (mine, theirs) in delta.buckets.iter_mut().zip(earlier.buckets) {
            *mine = mine.saturating_sub(theirs);
        }
        delta.sum = delta.sum.saturating_sub(earlier.sum);
        delta.count = delta.count.saturating_sub(earlier.count);
        delta
    }

    /// Mean of what was observed; absent when nothing was.
    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_secs_f64(self.sum.as_secs_f64() / self.count as f64))
    }

    /// The duration that the share `q` (0 to 1) of all observations does not exceed, interpolated inside its bucket;
    /// absent when nothing was observed. In the last bucket it is that bucket's lower bound.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * self.count as f64;
        let mut below = 0.0;
        for (i, &n) in self.buckets.iter().enumerate().take(Self::BUCKETS - 1) {
            let upto = below + n as f64;
            if n > 0 && upto >= rank {
                let low = if i == 0 { Duration::ZERO } else { Self::bound(i - 1) };
                return Some(low + (Self::bound(i) - low).mul_f64((rank - below).max(0.0) / n as f64));
            }
            below = upto;
        }
        Some(Self::bound(Self::BUCKETS - 2))
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
    /// Everything is paused.
    pub paused: bool,
    /// Databases (as clients name them) that are paused on their own.
    pub paused_databases: Vec<Arc<str>>,
    pub draining: bool,
    pub config_generation: u64,
    pub clients: Vec<ClientInfo>,
    pub backends: Vec<BackendInfo>,
    pub pools: Vec<PoolInfo>,
    /// Since start, by what ended them.
    pub closes: Vec<(&'static str, u64)>,
    /// Since start, by the rule that refused something; in the order of their names.
    pub refusals: Vec<(&'static str, u64)>,
    pub logins_ok: u64,
    pub logins_failed: u64,
    pub cancels: u64,
    pub analyses: AnalysisCounters,
    pub directories: Vec<DirectoryInfo>,
    /// Those that a client was of since the start, in the order of their names.
    pub tenants: Vec<TenantInfo>,
}

/// The directory of a database's tenancy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DirectoryInfo {
    pub database: Arc<str>,
    pub tenants: usize,
    pub users: usize,
    /// Rows that cannot be used.
    pub left_out: usize,
    /// Since it was last known to be as it is here; absent: it was not read yet.
    pub age: Option<Duration>,
}

/// How texts of SQL were found, and what is kept of them, in all tables of all workers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnalysisCounters {
    pub hits: u64,
    /// These were parsed.
    pub misses: u64,
    pub entries: u64,
    pub bytes: u64,
}

impl AnalysisCounters {
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.entries += other.entries;
        self.bytes += other.bytes;
    }
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

impl ClientState {
    pub const ALL: [Self; 6] =
        [Self::Active, Self::Waiting, Self::Idle, Self::IdleInTransaction, Self::Login, Self::Closing];

    /// As the console and the metrics write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Idle => "idle",
            Self::IdleInTransaction => "idle_in_transaction",
            Self::Login => "login",
            Self::Closing => "closing",
        }
    }
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
    pub tenant: Option<Arc<str>>,
}

/// A limit of a tenant's, as `tenants.NAME.limits` names it; those on transactions make clients wait, and are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    Connections,
    StatementsPerSecond,
    StatementTime,
    TransactionTime,
    IdleInTransactionTime,
    Rows,
    Bytes,
}

impl LimitKind {
    pub const COUNT: usize = 7;
    pub const ALL: [Self; Self::COUNT] = [
        Self::Connections,
        Self::StatementsPerSecond,
        Self::StatementTime,
        Self::TransactionTime,
        Self::IdleInTransactionTime,
        Self::Rows,
        Self::Bytes,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::StatementsPerSecond => "statements_per_second",
            Self::StatementTime => "statement_time",
            Self::TransactionTime => "transaction_time",
            Self::IdleInTransactionTime => "idle_in_transaction_time",
            Self::Rows => "rows",
            Self::Bytes => "bytes",
        }
    }
}

/// What a tenant uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TenantInfo {
    pub name: Arc<str>,
    /// Of all workers.
    pub connections: usize,
    /// Server connections held, of all workers.
    pub transactions: usize,
    /// Clients that wait for a server connection.
    pub waiting: usize,
    /// Queries and Executes forwarded.
    pub statements: u64,
    pub refused: u64,
    /// How often each limit was reached, in the order of [`LimitKind::ALL`].
    pub limited: [u64; LimitKind::COUNT],
}

impl TenantInfo {
    /// Adds what another worker counted of the same tenant.
    pub fn add_worker(&mut self, other: &Self) {
        self.waiting += other.waiting;
        self.statements += other.statements;
        self.refused += other.refused;
        for (mine, theirs) in self.limited.iter_mut().zip(other.limited) {
            *mine += theirs;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendState {
    Active,
    Idle,
    Login,
    Cleaning,
    Closing,
}

impl BackendState {
    pub const ALL: [Self; 5] = [Self::Active, Self::Idle, Self::Login, Self::Cleaning, Self::Closing];

    /// As the console and the metrics write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Login => "login",
            Self::Cleaning => "cleaning",
            Self::Closing => "closing",
        }
    }
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

impl PoolInfo {
    /// Adds another worker's share of the same pool.
    pub fn add_worker(&mut self, other: &Self) {
        self.clients_active += other.clients_active;
        self.clients_waiting += other.clients_waiting;
        self.clients_idle += other.clients_idle;
        self.backends_active += other.backends_active;
        self.backends_idle += other.backends_idle;
        self.backends_login += other.backends_login;
        self.backends_cleaning += other.backends_cleaning;
        self.wait_longest = self.wait_longest.max(other.wait_longest);
        self.counters.merge(&other.counters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn an_observation_lands_in_the_bucket_whose_bound_holds_it() {
        for (took, bucket) in
            [(0, 0), (1, 0), (64, 0), (65, 1), (128, 1), (129, 2), (64 << 22, 22), ((64 << 22) + 1, 23), (u64::MAX, 23)]
        {
            let mut h = Histogram::default();
            h.observe(micros(took));
            assert_eq!(h.buckets.iter().position(|&n| n == 1), Some(bucket), "{took} µs");
            assert_eq!(h.count, 1);
        }
    }

    #[test]
    fn quantiles_interpolate_and_stay_inside_their_bucket() {
        let mut h = Histogram::default();
        assert_eq!(h.quantile(0.5), None);
        for _ in 0..90 {
            h.observe(micros(100));
        }
        for _ in 0..10 {
            h.observe(micros(1_000));
        }
        assert_eq!(h.quantile(0.45), Some(micros(96)));
        let p99 = h.quantile(0.99).unwrap();
        assert!(p99 > micros(512) && p99 <= micros(1_024), "{p99:?}");
        assert_eq!(h.mean(), Some(micros(190)));
        let mut long = Histogram::default();
        long.observe(Duration::from_secs(10_000));
        assert_eq!(long.quantile(0.5), Some(Histogram::bound(22)));
    }

    #[test]
    fn merging_and_taking_the_difference_are_inverse() {
        let mut a = PoolCounters { transactions: 3, bytes_to_clients: 10, ..PoolCounters::default() };
        a.query_time.observe(micros(70));
        let mut b = PoolCounters { transactions: 4, cleanings: 2, ..PoolCounters::default() };
        b.query_time.observe(micros(900));
        let mut sum = a.clone();
        sum.merge(&b);
        assert_eq!(sum.transactions, 7);
        assert_eq!(sum.query_time.count, 2);
        assert_eq!(sum.since(&a), b);
        assert_eq!(a.since(&sum).transactions, 0, "counters that fell give no negative difference");
    }
}
