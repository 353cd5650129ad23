//! The rows of each table, drawn from one snapshot, the configuration and the past minute. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::tables::{Cell, Row, Topic};
use super::{settings, show_audit};
use crate::admin::history::Recent;
use crate::audit::Figures;
use crate::config::{Config, Database, Isolation, NodeAddress, PoolMode, SessionState, Tenant, User};
use crate::metrics::{BackendInfo, ClientInfo, PoolCounters, PoolInfo, Snapshot};
use crate::policy::RULES;

/// Everything that the tables are drawn from, taken at one moment.
pub struct View<'a> {
    pub snapshot: &'a Snapshot,
    pub config: &'a Config,
    pub recent: &'a Recent,
    /// The audit's, where there is one.
    pub log: Option<&'a Figures>,
}

impl View<'_> {
    /// Each row has as many cells as `topic.columns()`.
    pub fn rows(&self, topic: Topic) -> Vec<Row> {
        match topic {
            Topic::Help => help(),
            Topic::Pools => self.snapshot.pools.iter().map(pool).collect(),
            Topic::Clients => self.snapshot.clients.iter().map(client).collect(),
            Topic::Servers => self.servers(),
            Topic::Stats => self.stats(|all| {
                let own = [Cell::count(all.total.errors), Cell::count(all.total.refusals)];
                totals(&all.total).chain(averages(&all.recent, self.recent)).chain(own).collect()
            }),
            Topic::StatsTotals => self.stats(|all| totals(&all.total).collect()),
            Topic::StatsAverages => self.stats(|all| averages(&all.recent, self.recent).collect()),
            Topic::Totals => self.totals(),
            Topic::Lists => self.lists(),
            Topic::Databases => self.config.databases.values().map(|database| self.database(database)).collect(),
            Topic::Users => self.config.users.values().map(|user| self.user(user)).collect(),
            Topic::Tenants => self.config.tenants.values().map(|tenant| self.tenant(tenant)).collect(),
            Topic::Rules => self.rules(),
            Topic::Audit => show_audit::rows(self.log.zip(self.config.audit.as_deref())),
            Topic::Closes => {
                self.snapshot.closes.iter().map(|(reason, n)| vec![Cell::word(reason), Cell::count(*n)]).collect()
            }
            Topic::Config => settings::rows(self.config),
            Topic::State => self.state(),
            Topic::Version => vec![vec![Cell::word(concat!("pgwarden ", env!("CARGO_PKG_VERSION")))]],
        }
    }

    /// Every rule, refusals or none; those of the rewriter only where they refused something.
    fn rules(&self) -> Vec<Row> {
        let refusals = &self.snapshot.refusals;
        let count = |rule: &str| refusals.iter().find(|(known, _)| *known == rule).map_or(0, |(_, n)| *n);
        let row = |rule, states, count, about| vec![Cell::word(rule), states, Cell::count(count), Cell::word(about)];
        let known = RULES.iter().map(|(rule, states, about)| row(rule, Cell::word(states), count(rule), about));
        let others = refusals.iter().filter(|(rule, _)| RULES.iter().all(|(known, ..)| known != rule));
        let others =
            others.map(|(rule, n)| row(rule, Cell::Null, *n, "statements that cannot be limited to one tenant"));
        known.chain(others).collect()
    }

    fn servers(&self) -> Vec<Row> {
        let names: BTreeMap<u64, &Arc<str>> =
            self.snapshot.clients.iter().map(|client| (client.id, &client.application_name)).collect();
        let application = |server: &BackendInfo| server.client.and_then(|id| names.get(&id).copied());
        self.snapshot.backends.iter().map(|server| backend(server, application(server))).collect()
    }

    fn stats(&self, cells: impl Fn(&DatabaseStats) -> Row) -> Vec<Row> {
        let mut databases: BTreeMap<&str, DatabaseStats> = BTreeMap::new();
        for (pool, recent) in self.snapshot.pools.iter().zip(&self.recent.pools) {
            let stats = databases.entry(&pool.database).or_default();
            stats.total.merge(&pool.counters);
            stats.recent.merge(recent);
        }
        let row = |(name, stats): (&str, DatabaseStats)| {
            let mut row = vec![Cell::text(name)];
            row.extend(cells(&stats));
            row
        };
        databases.into_iter().map(row).collect()
    }

    /// SHOW STATS turned on its side, summed over databases.
    fn totals(&self) -> Vec<Row> {
        let mut all = DatabaseStats::default();
        self.snapshot.pools.iter().for_each(|pool| all.total.merge(&pool.counters));
        self.recent.pools.iter().for_each(|recent| all.recent.merge(recent));
        let own = [Cell::count(all.total.errors), Cell::count(all.total.refusals)];
        let cells = totals(&all.total).chain(averages(&all.recent, self.recent)).chain(own);
        let names = Topic::Stats.columns().into_iter().skip(1).map(|column| Cell::Text(column.name));
        names.zip(cells).map(|(name, cell)| vec![name, cell]).collect()
    }

    fn lists(&self) -> Vec<Row> {
        let (snapshot, config) = (self.snapshot, self.config);
        let login = snapshot.pools.iter().map(|pool| pool.backends_login).sum::<usize>();
        let count = |name, n: usize| vec![Cell::word(name), Cell::count(n)];
        vec![
            count("databases", config.databases.len()),
            count("users", config.users.len()),
            count("tenants", config.tenants.len()),
            count("pools", snapshot.pools.len()),
            count("used_clients", snapshot.clients.len()),
            count("login_clients", clients(snapshot, |client| client.state == crate::metrics::ClientState::Login)),
            count("pinned_clients", clients(snapshot, |client| client.pin.is_some())),
            count("used_servers", snapshot.backends.len()),
            count("login_servers", login),
            vec![Cell::word("analyses"), Cell::count(snapshot.analyses.entries)],
            vec![Cell::word("analyses_bytes"), Cell::count(snapshot.analyses.bytes)],
        ]
    }

    fn tenant(&self, tenant: &Tenant) -> Row {
        let tenancy = self.config.databases.get(&tenant.database).and_then(|database| database.tenancy.as_ref());
        let isolation = match tenancy.map(|tenancy| &tenancy.isolation) {
            Some(Isolation::Row(_)) => Cell::word("row"),
            Some(Isolation::Schema) => Cell::word("schema"),
            Some(Isolation::Database) => Cell::word("database"),
            None => Cell::Null,
        };
        let known = &self.snapshot.tenants;
        let info = known.binary_search_by(|info| info.name.cmp(&tenant.name)).map(|at| known[at].clone());
        let info = info.unwrap_or_default();
        let mut row = vec![
            Cell::text(&*tenant.name),
            Cell::text(&*tenant.database),
            isolation,
            Cell::Int(tenant.enabled.into()),
            Cell::count(info.connections),
            Cell::count(info.transactions),
            Cell::count(info.waiting),
            Cell::count(info.statements),
            Cell::count(info.refused),
        ];
        row.extend(info.limited.map(Cell::count));
        row.push(Cell::text(settings::limits_text(&tenant.limits)));
        row
    }

    fn database(&self, database: &Database) -> Row {
        let (host, port) = match self.config.shards.get(&database.shard).map(|shard| &shard.primary.address) {
            Some(NodeAddress::Tcp { host, port }) => (Cell::text(&**host), Cell::count(*port)),
            Some(NodeAddress::Unix { dir, port }) => (Cell::text(dir.display().to_string()), Cell::count(*port)),
            None => (Cell::Null, Cell::Null),
        };
        let may_open = |user: &&Arc<User>| user.databases.is_empty() || user.databases.contains(&database.name);
        let pools = || self.config.users.values().filter(may_open).map(|user| &user.pool);
        let held = self.snapshot.backends.iter();
        let held = held.filter(|b| b.shard == database.shard && b.database == database.server_database).count();
        let paused = self.snapshot.paused || self.snapshot.paused_databases.contains(&database.name);
        vec![
            Cell::text(&*database.name),
            host,
            port,
            Cell::text(&*database.server_database),
            Cell::Null,
            Cell::count(pools().map(|pool| pool.size).max().unwrap_or(0)),
            Cell::count(pools().map(|pool| pool.size_min).max().unwrap_or(0)),
            Cell::Int(0),
            Cell::count(pools().map(|pool| pool.server_lifetime.as_secs()).max().unwrap_or(0)),
            Cell::Null,
            Cell::Null,
            Cell::count(database.connections_max),
            Cell::count(held),
            Cell::count(self.config.server.clients_max),
            Cell::count(clients(self.snapshot, |client| client.database == database.name)),
            Cell::Int(paused.into()),
            Cell::Int(0),
            Cell::text(&*database.shard),
        ]
    }

    fn user(&self, user: &User) -> Row {
        let held = self.snapshot.backends.iter().filter(|backend| backend.user == user.server_user).count();
        vec![
            Cell::text(&*user.name),
            Cell::count(user.pool.size),
            Cell::Int(0),
            Cell::word(mode_name(user.pool.mode)),
            Cell::Int(0),
            Cell::count(held),
            Cell::count(user.clients_max),
            Cell::count(clients(self.snapshot, |client| client.user == user.name)),
            Cell::text(&*user.server_user),
            Cell::word(match user.session_state {
                SessionState::Pin => "pin",
                SessionState::Refuse => "refuse",
            }),
            user.valid_until.map_or(Cell::Null, |at| Cell::text(moment(at.saturating_mul(1_000_000)))),
        ]
    }

    fn state(&self) -> Vec<Row> {
        let snapshot = self.snapshot;
        let yes_no = |yes| Cell::word(if yes { "yes" } else { "no" });
        vec![
            vec![Cell::word("active"), yes_no(!snapshot.paused && !snapshot.draining)],
            vec![Cell::word("paused"), yes_no(snapshot.paused)],
            vec![Cell::word("paused_databases"), Cell::text(snapshot.paused_databases.join(", "))],
            vec![Cell::word("draining"), yes_no(snapshot.draining)],
            vec![Cell::word("config_generation"), Cell::text(snapshot.config_generation.to_string())],
            vec![Cell::word("workers"), Cell::text(snapshot.workers.to_string())],
            vec![Cell::word("uptime_seconds"), Cell::text(snapshot.uptime.as_secs().to_string())],
        ]
    }
}

#[derive(Default)]
struct DatabaseStats {
    total: PoolCounters,
    recent: PoolCounters,
}

pub(super) const fn mode_name(mode: PoolMode) -> &'static str {
    match mode {
        PoolMode::Transaction => "transaction",
        PoolMode::Session => "session",
    }
}

fn clients(snapshot: &Snapshot, which: impl Fn(&&ClientInfo) -> bool) -> usize {
    snapshot.clients.iter().filter(which).count()
}

fn pool(pool: &PoolInfo) -> Row {
    vec![
        Cell::text(&*pool.database),
        Cell::text(&*pool.user),
        // PgBouncer counts idle clients as active.
        Cell::count(pool.clients_active + pool.clients_idle),
        Cell::count(pool.clients_waiting),
        Cell::Int(0),
        Cell::Int(0),
        Cell::count(pool.backends_active),
        Cell::Int(0),
        Cell::Int(0),
        Cell::count(pool.backends_idle),
        Cell::Int(0),
        Cell::count(pool.backends_cleaning),
        Cell::count(pool.backends_login),
        Cell::count(pool.wait_longest.as_secs()),
        Cell::count(pool.wait_longest.subsec_micros()),
        Cell::word(pool.mode),
        Cell::Null,
        Cell::count(pool.clients_idle),
        Cell::count(pool.size),
        Cell::text(&*pool.shard),
    ]
}

fn client(client: &ClientInfo) -> Row {
    let (host, port) = address(&client.address);
    vec![
        Cell::word("C"),
        Cell::text(&*client.user),
        Cell::text(&*client.database),
        Cell::word("none"),
        Cell::word(client.state.name()),
        host,
        port,
        Cell::Null,
        Cell::Null,
        Cell::text(moment(client.connected_at)),
        if client.request_at == 0 { Cell::Null } else { Cell::text(moment(client.request_at)) },
        Cell::count(client.wait.as_secs()),
        Cell::count(client.wait.subsec_micros()),
        Cell::Int(0),
        Cell::text(format!("c{}", client.id)),
        Cell::text(client.backend.map_or(String::new(), |id| format!("s{id}"))),
        Cell::Int(0),
        Cell::word(client.tls.unwrap_or("")),
        Cell::text(&*client.application_name),
        Cell::count(client.prepared),
        Cell::count(client.id),
        client.pin.map_or(Cell::Null, Cell::word),
        Cell::count(client.worker),
        client.tenant.as_ref().map_or(Cell::Null, |tenant| Cell::text(&**tenant)),
    ]
}

fn backend(server: &BackendInfo, application: Option<&Arc<str>>) -> Row {
    let (host, port) = address(&server.address);
    vec![
        Cell::word("S"),
        Cell::text(&*server.user),
        Cell::text(&*server.database),
        Cell::word("none"),
        Cell::word(server.state.name()),
        host,
        port,
        Cell::Null,
        Cell::Null,
        Cell::text(moment(server.connected_at)),
        if server.request_at == 0 { Cell::Null } else { Cell::text(moment(server.request_at)) },
        Cell::Int(0),
        Cell::Int(0),
        Cell::Int((server.state == crate::metrics::BackendState::Closing).into()),
        Cell::text(format!("s{}", server.id)),
        Cell::text(server.client.map_or(String::new(), |id| format!("c{id}"))),
        Cell::Int(server.pid.into()),
        Cell::word(server.tls.unwrap_or("")),
        Cell::text(application.map_or("", |name| &**name)),
        Cell::count(server.prepared),
        Cell::count(server.id),
        Cell::text(&*server.shard),
        Cell::count(server.worker),
    ]
}

/// `ip:port` or `host:port` in its two parts; anything else (a Unix socket) has port 0.
fn address(address: &str) -> (Cell, Cell) {
    match address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) {
        Some((host, port)) => (Cell::text(host.trim_start_matches('[').trim_end_matches(']')), Cell::count(port)),
        None => (Cell::text(address), Cell::Int(0)),
    }
}

/// In the order of SHOW STATS: `tables::TOTALS`. Times in microseconds.
fn totals(all: &PoolCounters) -> impl Iterator<Item = Cell> {
    [
        all.leases.into(),
        all.transactions.into(),
        all.queries.into(),
        all.bytes_from_clients.into(),
        all.bytes_to_clients.into(),
        all.transaction_time.sum.as_micros(),
        all.query_time.sum.as_micros(),
        all.wait_time.sum.as_micros(),
        all.client_parses.into(),
        all.prepared_misses.into(),
        u128::from(all.prepared_hits) + u128::from(all.prepared_misses),
    ]
    .map(Cell::count)
    .into_iter()
}

/// In the order of SHOW STATS: `tables::AVERAGES`. Counts and bytes a second; times in microseconds, each a mean.
fn averages(recent: &PoolCounters, window: &Recent) -> impl Iterator<Item = Cell> {
    let rate = |events: u64| Cell::Int(window.rate(events).round() as i64);
    let mean = |took: Option<Duration>| Cell::count(took.unwrap_or_default().as_micros());
    // A lease without a wait is a wait of zero.
    let wait = recent.wait_time.sum.as_micros().checked_div(recent.leases.max(recent.wait_time.count).into());
    [
        rate(recent.leases),
        rate(recent.transactions),
        rate(recent.queries),
        rate(recent.bytes_from_clients),
        rate(recent.bytes_to_clients),
        mean(recent.transaction_time.mean()),
        mean(recent.query_time.mean()),
        Cell::count(wait.unwrap_or(0)),
        rate(recent.client_parses),
        rate(recent.prepared_misses),
        rate(recent.prepared_hits.saturating_add(recent.prepared_misses)),
    ]
    .into_iter()
}

fn help() -> Vec<Row> {
    let show = Topic::ALL.map(|topic| (format!("SHOW {}", topic.name()), "viewer", topic.about()));
    let commands = [
        ("RELOAD", "read the configuration file again; all of it or nothing"),
        ("PAUSE [database]", "stop lending servers; returns once none is lent"),
        ("RESUME [database]", "end a PAUSE or KILL"),
        ("KILL_CLIENT id", "close one client, by its id in SHOW CLIENTS"),
        ("KILL [database]", "close all clients and servers, and pause until RESUME"),
        ("DRAIN", "let no new client in, let transactions end, then stop"),
        ("SHUTDOWN", "as DRAIN"),
    ];
    let commands = commands.map(|(command, about)| (command.to_owned(), "admin", about));
    let row =
        |(command, access, about): (String, _, _)| vec![Cell::text(command), Cell::word(access), Cell::word(about)];
    show.into_iter().chain(commands).map(row).collect()
}

/// `2026-01-31 12:00:00 UTC`, from Unix microseconds.
pub fn moment(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    // Gregorian calendar in cycles of 400 years (146,097 days), counted from 1 March of year 0 so that leap days come last.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = cycle * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", clock / 3_600, clock / 60 % 60, clock % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_the_gregorian_calendar() {
        for (seconds, shown) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_164_800, "2024-02-29 00:00:00 UTC"),
            (1_801_353_600, "2027-01-31 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(moment(seconds * 1_000_000), shown);
        }
        assert!(moment(u64::MAX).ends_with("UTC"));
    }

    #[test]
    fn addresses_split_at_the_last_colon() {
        for (text, host, port) in [
            ("10.0.0.1:99", "10.0.0.1", 99),
            ("[::1]:5432", "::1", 5432),
            ("unix", "unix", 0),
            ("/run/x:y", "/run/x:y", 0),
        ] {
            assert_eq!(address(text), (Cell::text(host), Cell::Int(port)), "{text}");
        }
    }
}
