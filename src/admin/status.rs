//! What the status page draws, as JSON: the state of everything, and the rates of the last minute. Bounded, whatever the
//! proxy carries: of clients and servers it lists at most [`LISTED_MAX`], those that need attention first. No secrets.

#[path = "status_audit.rs"]
mod audit;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use audit::AuditLog;
use serde::Serialize;

use super::exposition::pins;
use super::history::Recent;
use crate::audit::Figures;
use crate::config;
use crate::metrics::{BackendInfo, BackendState, ClientInfo, ClientState, PoolCounters, PoolInfo, Snapshot};

/// Clients, servers and pools that are listed one by one.
pub const LISTED_MAX: usize = 200;

#[derive(Debug, Serialize)]
pub struct Status<'a> {
    version: &'static str,
    /// Why it is not ready.
    not_ready: Option<String>,
    uptime_seconds: u64,
    workers: usize,
    paused: bool,
    paused_databases: Vec<&'a str>,
    draining: bool,
    config_generation: u64,
    /// Seconds that the rates cover.
    window_seconds: f64,
    total: Rates,
    clients_by_state: BTreeMap<&'static str, usize>,
    servers_by_state: BTreeMap<&'static str, usize>,
    pins: BTreeMap<&'static str, usize>,
    closes: BTreeMap<&'static str, u64>,
    logins_ok: u64,
    logins_failed: u64,
    cancels: u64,
    analysis_hit_share: Option<f64>,
    /// Absent without an audit.
    audit: Option<AuditLog>,
    pools_total: usize,
    clients_total: usize,
    servers_total: usize,
    pools: Vec<Pool<'a>>,
    clients: Vec<Client<'a>>,
    servers: Vec<Server<'a>>,
}

/// Per second, and milliseconds.
#[derive(Debug, Serialize)]
struct Rates {
    transactions: f64,
    queries: f64,
    errors: f64,
    refusals: f64,
    bytes_in: f64,
    bytes_out: f64,
    query_ms_p50: Option<f64>,
    query_ms_p99: Option<f64>,
    wait_ms_p99: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Pool<'a> {
    shard: &'a str,
    database: &'a str,
    user: &'a str,
    mode: &'static str,
    size: usize,
    clients_active: usize,
    clients_waiting: usize,
    clients_idle: usize,
    servers_active: usize,
    servers_idle: usize,
    servers_login: usize,
    servers_cleaning: usize,
    wait_longest_ms: f64,
    rates: Rates,
}

#[derive(Debug, Serialize)]
struct Client<'a> {
    id: u64,
    user: &'a str,
    database: &'a str,
    state: &'static str,
    address: &'a str,
    application_name: &'a str,
    tls: Option<&'static str>,
    connected_seconds: u64,
    wait_ms: f64,
    server: Option<u64>,
    pin: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Server<'a> {
    id: u64,
    user: &'a str,
    database: &'a str,
    shard: &'a str,
    state: &'static str,
    address: &'a str,
    pid: i32,
    tls: Option<&'static str>,
    connected_seconds: u64,
    client: Option<u64>,
    prepared: usize,
}

impl<'a> Status<'a> {
    /// `log`: the audit's, where there is one.
    pub fn new(
        snapshot: &'a Snapshot,
        recent: &Recent,
        log: Option<(&Figures, &config::Audit)>,
        ready: Result<(), String>,
    ) -> Self {
        let mut total = PoolCounters::default();
        recent.pools.iter().for_each(|pool| total.merge(pool));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut clients: Vec<&ClientInfo> = snapshot.clients.iter().collect();
        clients.sort_by_key(|client| (urgency(client), std::cmp::Reverse(client.wait), client.id));
        let mut servers: Vec<&BackendInfo> = snapshot.backends.iter().collect();
        servers.sort_by_key(|server| (server.state == BackendState::Idle, server.id));
        let mut pools: Vec<(&PoolInfo, &PoolCounters)> = snapshot.pools.iter().zip(&recent.pools).collect();
        pools.sort_by_key(|(pool, recent)| std::cmp::Reverse((pool.clients_waiting, recent.queries)));
        let lookups = snapshot.analyses.hits + snapshot.analyses.misses;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            not_ready: ready.err(),
            uptime_seconds: snapshot.uptime.as_secs(),
            workers: snapshot.workers,
            paused: snapshot.paused,
            paused_databases: snapshot.paused_databases.iter().map(|name| &**name).collect(),
            draining: snapshot.draining,
            config_generation: snapshot.config_generation,
            window_seconds: recent.window.as_secs_f64(),
            total: Rates::new(&total, recent),
            clients_by_state: count(snapshot.clients.iter().map(|client| client.state.name())),
            servers_by_state: count(snapshot.backends.iter().map(|server| server.state.name())),
            pins: pins(snapshot),
            closes: snapshot.closes.iter().copied().collect(),
            logins_ok: snapshot.logins_ok,
            logins_failed: snapshot.logins_failed,
            cancels: snapshot.cancels,
            analysis_hit_share: (lookups > 0).then(|| snapshot.analyses.hits as f64 / lookups as f64),
            audit: log.map(|(figures, config)| AuditLog::new(figures, config)),
            pools_total: snapshot.pools.len(),
            clients_total: snapshot.clients.len(),
            servers_total: snapshot.backends.len(),
            pools: pools
                .into_iter()
                .take(LISTED_MAX)
                .map(|(pool, counters)| Pool::new(pool, counters, recent))
                .collect(),
            clients: clients.into_iter().take(LISTED_MAX).map(|client| Client::new(client, now)).collect(),
            servers: servers.into_iter().take(LISTED_MAX).map(|server| Server::new(server, now)).collect(),
        }
    }
}

/// Those who wait come first, then those who hold a server connection for long.
fn urgency(client: &ClientInfo) -> u8 {
    match (client.state, client.pin) {
        (ClientState::Waiting, _) => 0,
        (ClientState::IdleInTransaction, _) => 1,
        (_, Some(_)) => 2,
        (ClientState::Active, None) => 3,
        (ClientState::Login | ClientState::Closing, None) => 4,
        (ClientState::Idle, None) => 5,
    }
}

impl Rates {
    fn new(counters: &PoolCounters, recent: &Recent) -> Self {
        Self {
            transactions: recent.rate(counters.transactions),
            queries: recent.rate(counters.queries),
            errors: recent.rate(counters.errors),
            refusals: recent.rate(counters.refusals),
            bytes_in: recent.rate(counters.bytes_from_clients),
            bytes_out: recent.rate(counters.bytes_to_clients),
            query_ms_p50: counters.query_time.quantile(0.5).map(millis),
            query_ms_p99: counters.query_time.quantile(0.99).map(millis),
            wait_ms_p99: counters.wait_time.quantile(0.99).map(millis),
        }
    }
}

impl<'a> Pool<'a> {
    fn new(pool: &'a PoolInfo, counters: &PoolCounters, recent: &Recent) -> Self {
        Self {
            shard: &pool.shard,
            database: &pool.database,
            user: &pool.user,
            mode: pool.mode,
            size: pool.size,
            clients_active: pool.clients_active,
            clients_waiting: pool.clients_waiting,
            clients_idle: pool.clients_idle,
            servers_active: pool.backends_active,
            servers_idle: pool.backends_idle,
            servers_login: pool.backends_login,
            servers_cleaning: pool.backends_cleaning,
            wait_longest_ms: millis(pool.wait_longest),
            rates: Rates::new(counters, recent),
        }
    }
}

impl<'a> Client<'a> {
    fn new(client: &'a ClientInfo, now: Duration) -> Self {
        Self {
            id: client.id,
            user: &client.user,
            database: &client.database,
            state: client.state.name(),
            address: &client.address,
            application_name: &client.application_name,
            tls: client.tls,
            connected_seconds: age(client.connected_at, now),
            wait_ms: millis(client.wait),
            server: client.backend,
            pin: client.pin,
        }
    }
}

impl<'a> Server<'a> {
    fn new(server: &'a BackendInfo, now: Duration) -> Self {
        Self {
            id: server.id,
            user: &server.user,
            database: &server.database,
            shard: &server.shard,
            state: server.state.name(),
            address: &server.address,
            pid: server.pid,
            tls: server.tls,
            connected_seconds: age(server.connected_at, now),
            client: server.client,
            prepared: server.prepared,
        }
    }
}

fn count(names: impl Iterator<Item = &'static str>) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_insert(0) += 1);
    counts
}

fn age(since_micros: u64, now: Duration) -> u64 {
    now.saturating_sub(Duration::from_micros(since_micros)).as_secs()
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;

    #[test]
    fn lists_are_bounded_and_waiting_clients_come_first() {
        let mut snapshot = Fake::new().snapshot.lock().unwrap().clone();
        let idle = ClientInfo { state: ClientState::Idle, pin: None, backend: None, ..snapshot.clients[0].clone() };
        snapshot.clients.splice(0..0, (100..1_100).map(|id| ClientInfo { id, ..idle.clone() }));
        let recent = crate::admin::history::History::default().recent(&snapshot);
        let status = Status::new(&snapshot, &recent, None, Err("no server".into()));
        let ids: Vec<u64> = status.clients.iter().map(|client| client.id).collect();
        assert_eq!((ids.len(), &ids[..3]), (LISTED_MAX, &[8, 7, 100][..]));
        assert_eq!(status.clients_total, 1_002);
        assert_eq!(status.clients_by_state, BTreeMap::from([("active", 1), ("idle", 1_000), ("waiting", 1)]));
        assert_eq!(status.total.queries, 11.0);
        assert_eq!(status.pools[0].user, "reports", "the pool where clients wait");
        assert_eq!(status.not_ready.as_deref(), Some("no server"));
    }
}
