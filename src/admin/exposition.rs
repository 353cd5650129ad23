//! `/metrics`: a snapshot in Prometheus's text format, with the process's own use of CPU, memory and file descriptors.
//!
//! Labels are bounded: pools are told apart by shard, database and user up to [`POOLS_MAX`] of them, and the rest is summed
//! under `(other)`; so are tenants past [`TENANTS_MAX`]. <https://prometheus.io/docs/instrumenting/exposition_formats/>

#[path = "exposition_audit.rs"]
mod audit;

use std::time::Duration;

use prometheus::TextEncoder;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{self, Bucket, LabelPair, Metric, MetricFamily, MetricType};

use crate::audit::Figures;
use crate::metrics::{BackendState, ClientState, DirectoryInfo, Histogram, LimitKind, PoolInfo, Snapshot, TenantInfo};

/// Pools with labels of their own.
pub const POOLS_MAX: usize = 200;

/// Tenants with a label of their own.
pub const TENANTS_MAX: usize = 200;

/// Name and value of each label.
type Labels<'a> = [(&'a str, &'a str)];

/// The whole page. `log`: the audit's; `ready` as in `/readyz`.
pub fn encode(snapshot: &Snapshot, log: Option<&Figures>, ready: bool) -> Result<String, prometheus::Error> {
    let mut page = Page { families: Vec::new() };
    page.proxy(snapshot, ready);
    page.connections(snapshot);
    page.directories(snapshot);
    page.pools(&bounded(&snapshot.pools));
    page.tenants(&bounded_tenants(&snapshot.tenants));
    let refusals = snapshot.refusals.iter().copied();
    page.counters("refusals_total", "Statements refused, by the policy's rule.", "rule", refusals);
    if let Some(log) = log {
        page.audit(log);
    }
    page.families.extend(ProcessCollector::for_self().collect());
    page.families.retain(|family| !family.get_metric().is_empty());
    TextEncoder::new().encode_to_string(&page.families)
}

struct Page {
    families: Vec<MetricFamily>,
}

impl Page {
    fn add(&mut self, kind: MetricType, name: &str, help: &str, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(format!("pgwarden_{name}"));
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.families.push(family);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.add(MetricType::GAUGE, name, help, vec![gauge(&[], value)]);
    }

    /// One counter with a label.
    fn counters<'a>(&mut self, name: &str, help: &str, label: &str, values: impl IntoIterator<Item = (&'a str, u64)>) {
        let metrics = values.into_iter().map(|(value, n)| counter(&[(label, value)], n)).collect();
        self.add(MetricType::COUNTER, name, help, metrics);
    }

    fn proxy(&mut self, snapshot: &Snapshot, ready: bool) {
        let build = gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        self.add(MetricType::GAUGE, "build_info", "Always 1; the label is the version.", vec![build]);
        self.gauge("uptime_seconds", "Time since start.", snapshot.uptime.as_secs_f64());
        self.gauge("ready", "1 when the proxy can serve clients.", flag(ready));
        self.gauge("paused", "1 while everything is paused.", flag(snapshot.paused));
        let paused = snapshot.paused_databases.len() as f64;
        self.gauge("paused_databases", "Databases that are paused on their own.", paused);
        self.gauge("draining", "1 while the proxy is shutting down.", flag(snapshot.draining));
        self.gauge("workers", "Worker threads.", snapshot.workers as f64);
        let generation = snapshot.config_generation as f64;
        self.gauge("config_generation", "Number of the configuration in force; each reload adds one.", generation);
        let logins = [("ok", snapshot.logins_ok), ("failed", snapshot.logins_failed)];
        self.counters("logins_total", "Logins of clients.", "result", logins);
        self.add(MetricType::COUNTER, "cancels_total", "Cancel requests.", vec![counter(&[], snapshot.cancels)]);
        let analyses = &snapshot.analyses;
        let lookups = [("hit", analyses.hits), ("miss", analyses.misses)];
        self.counters("analyses_total", "Statements read, by whether they were in the cache.", "result", lookups);
        self.gauge("analysis_cache_entries", "Statements in the cache.", analyses.entries as f64);
        self.gauge("analysis_cache_bytes", "Memory of the cache.", analyses.bytes as f64);
    }

    fn connections(&mut self, snapshot: &Snapshot) {
        let clients = ClientState::ALL.map(|state| {
            let n = snapshot.clients.iter().filter(|client| client.state == state).count();
            gauge(&[("state", state.name())], n as f64)
        });
        self.add(MetricType::GAUGE, "clients", "Client connections.", clients.to_vec());
        let backends = BackendState::ALL.map(|state| {
            let n = snapshot.backends.iter().filter(|backend| backend.state == state).count();
            gauge(&[("state", state.name())], n as f64)
        });
        self.add(MetricType::GAUGE, "backends", "Connections to servers.", backends.to_vec());
        let pins = pins(snapshot).into_iter().map(|(reason, n)| gauge(&[("reason", reason)], n as f64)).collect();
        self.add(MetricType::GAUGE, "clients_pinned", "Clients that keep their server connection.", pins);
        let closes = snapshot.closes.iter().copied();
        self.counters("client_closes_total", "Ends of client connections.", "reason", closes);
    }

    fn directories(&mut self, snapshot: &Snapshot) {
        let mut each = |name: &str, help: &str, value: fn(&DirectoryInfo) -> Option<f64>| {
            let metrics = snapshot
                .directories
                .iter()
                .filter_map(|directory| Some(gauge(&[("database", &*directory.database)], value(directory)?)));
            let metrics = metrics.collect();
            self.add(MetricType::GAUGE, name, help, metrics);
        };
        each("directory_read", "1 once the tenancy's directory was read.", |d| Some(flag(d.age.is_some())));
        let age = "Time since the tenancy's directory was last known to be as it is here.";
        each("directory_age_seconds", age, |d| d.age.map(|age| age.as_secs_f64()));
        each("directory_tenants", "Tenants of the directory that can be used.", |d| Some(d.tenants as f64));
        each("directory_users", "Users of the directory that can be used.", |d| Some(d.users as f64));
        each("directory_rows_left_out", "Rows of the directory that cannot be used.", |d| Some(d.left_out as f64));
    }

    fn pools(&mut self, pools: &[PoolInfo]) {
        for (name, help, value) in POOL_COUNTERS {
            let metrics = pools.iter().map(|pool| counter(&labels(pool), value(pool))).collect();
            self.add(MetricType::COUNTER, name, help, metrics);
        }
        for (name, help, value) in POOL_HISTOGRAMS {
            let metrics = pools.iter().map(|pool| histogram(&labels(pool), value(pool))).collect();
            self.add(MetricType::HISTOGRAM, name, help, metrics);
        }
        let size = pools.iter().map(|pool| gauge(&labels(pool), pool.size as f64)).collect();
        self.add(MetricType::GAUGE, "pool_size", "Server connections that the pool may have.", size);
        let wait = pools.iter().map(|pool| gauge(&labels(pool), pool.wait_longest.as_secs_f64())).collect();
        self.add(MetricType::GAUGE, "pool_wait_longest_seconds", "Longest wait of those who wait now.", wait);
        let states = |states: fn(&PoolInfo) -> Vec<(&'static str, usize)>| {
            let metric = move |pool: &PoolInfo, state, n: usize| {
                let [shard, database, user] = labels(pool);
                gauge(&[shard, database, user, ("state", state)], n as f64)
            };
            pools
                .iter()
                .flat_map(|pool| states(pool).into_iter().map(move |(state, n)| metric(pool, state, n)))
                .collect()
        };
        let clients = states(|pool| {
            vec![("active", pool.clients_active), ("waiting", pool.clients_waiting), ("idle", pool.clients_idle)]
        });
        self.add(MetricType::GAUGE, "pool_clients", "Clients of the pool.", clients);
        let backends = states(|pool| {
            vec![
                ("active", pool.backends_active),
                ("idle", pool.backends_idle),
                ("login", pool.backends_login),
                ("cleaning", pool.backends_cleaning),
            ]
        });
        self.add(MetricType::GAUGE, "pool_backends", "Server connections of the pool.", backends);
    }

    fn tenants(&mut self, tenants: &[TenantInfo]) {
        for (name, help, value) in TENANT_GAUGES {
            let metrics = tenants.iter().map(|it| gauge(&[("tenant", &it.name)], value(it) as f64)).collect();
            self.add(MetricType::GAUGE, name, help, metrics);
        }
        for (name, help, value) in TENANT_COUNTERS {
            let metrics = tenants.iter().map(|it| counter(&[("tenant", &it.name)], value(it))).collect();
            self.add(MetricType::COUNTER, name, help, metrics);
        }
        let reached = |tenant: &TenantInfo| {
            let each = LimitKind::ALL.iter().zip(tenant.limited).filter(|(_, n)| *n > 0);
            each.map(|(limit, n)| counter(&[("tenant", &tenant.name), ("limit", limit.name())], n)).collect::<Vec<_>>()
        };
        let reached = tenants.iter().flat_map(reached).collect();
        self.add(MetricType::COUNTER, "tenant_limited_total", "How often a tenant reached a limit.", reached);
    }
}

type TenantGauge = (&'static str, &'static str, fn(&TenantInfo) -> usize);

const TENANT_GAUGES: [TenantGauge; 3] = [
    ("tenant_connections", "Client connections of the tenant.", |tenant| tenant.connections),
    ("tenant_transactions", "Server connections that the tenant's clients hold.", |tenant| tenant.transactions),
    ("tenant_waiting", "Clients of the tenant that wait for a server connection.", |tenant| tenant.waiting),
];

type TenantCounter = (&'static str, &'static str, fn(&TenantInfo) -> u64);

const TENANT_COUNTERS: [TenantCounter; 2] = [
    ("tenant_statements_total", "Queries and Executes that were forwarded.", |tenant| tenant.statements),
    ("tenant_refusals_total", "Statements refused by pgwarden.", |tenant| tenant.refused),
];

type PoolCounter = (&'static str, &'static str, fn(&PoolInfo) -> u64);

const POOL_COUNTERS: [PoolCounter; 14] = [
    ("pool_transactions_total", "Transactions.", |pool| pool.counters.transactions),
    ("pool_queries_total", "Queries and Executes.", |pool| pool.counters.queries),
    ("pool_leases_total", "Server connections lent to clients.", |pool| pool.counters.leases),
    ("pool_client_parses_total", "Statements prepared by clients.", |pool| pool.counters.client_parses),
    ("pool_bytes_from_clients_total", "Bytes received from clients.", |pool| pool.counters.bytes_from_clients),
    ("pool_bytes_to_clients_total", "Bytes sent to clients.", |pool| pool.counters.bytes_to_clients),
    ("pool_errors_total", "Errors of servers that clients were sent.", |pool| pool.counters.errors),
    ("pool_refusals_total", "Statements refused by pgwarden.", |pool| pool.counters.refusals),
    ("pool_backends_opened_total", "Server connections opened.", |pool| pool.counters.backends_opened),
    ("pool_backends_closed_total", "Server connections closed.", |pool| pool.counters.backends_closed),
    ("pool_backend_login_failures_total", "Failed logins to servers.", |pool| pool.counters.backend_login_failures),
    ("pool_prepared_hits_total", "Prepared statements that the server connection had.", |pool| {
        pool.counters.prepared_hits
    }),
    ("pool_prepared_misses_total", "Prepared statements that were prepared anew.", |pool| {
        pool.counters.prepared_misses
    }),
    ("pool_cleanings_total", "Server connections cleaned before another client.", |pool| pool.counters.cleanings),
];

type PoolHistogram = (&'static str, &'static str, fn(&PoolInfo) -> &Histogram);

const POOL_HISTOGRAMS: [PoolHistogram; 3] = [
    ("pool_query_seconds", "Time from a query's first byte to its last answer.", |pool| &pool.counters.query_time),
    ("pool_transaction_seconds", "Time of a transaction.", |pool| &pool.counters.transaction_time),
    ("pool_wait_seconds", "Time that clients waited for a server connection, where they had to.", |pool| {
        &pool.counters.wait_time
    }),
];

/// The pools in a fixed order; those past [`POOLS_MAX`] are summed up in a last one.
fn bounded(pools: &[PoolInfo]) -> Vec<PoolInfo> {
    let mut pools: Vec<&PoolInfo> = pools.iter().collect();
    pools.sort_by(|a, b| (&a.shard, &a.database, &a.user).cmp(&(&b.shard, &b.database, &b.user)));
    let rest = pools.split_off(pools.len().min(POOLS_MAX));
    let mut bounded: Vec<PoolInfo> = pools.into_iter().cloned().collect();
    if let Some((first, more)) = rest.split_first() {
        let other = || "(other)".into();
        let sum = PoolInfo { shard: other(), database: other(), user: other(), ..(*first).clone() };
        bounded.push(more.iter().fold(sum, |mut sum, pool| {
            sum.size += pool.size;
            sum.clients_active += pool.clients_active;
            sum.clients_waiting += pool.clients_waiting;
            sum.clients_idle += pool.clients_idle;
            sum.backends_active += pool.backends_active;
            sum.backends_idle += pool.backends_idle;
            sum.backends_login += pool.backends_login;
            sum.backends_cleaning += pool.backends_cleaning;
            sum.wait_longest = sum.wait_longest.max(pool.wait_longest);
            sum.counters.merge(&pool.counters);
            sum
        }));
    }
    bounded
}

/// The tenants; those past [`TENANTS_MAX`], by name, are summed up in a last one.
fn bounded_tenants(tenants: &[TenantInfo]) -> Vec<TenantInfo> {
    let (own, rest) = tenants.split_at(tenants.len().min(TENANTS_MAX));
    let mut bounded = own.to_vec();
    if !rest.is_empty() {
        let other = TenantInfo { name: "(other)".into(), ..TenantInfo::default() };
        bounded.push(rest.iter().fold(other, |mut sum, tenant| {
            sum.connections += tenant.connections;
            sum.transactions += tenant.transactions;
            sum.add_worker(tenant);
            sum
        }));
    }
    bounded
}

/// How many clients are pinned, by reason.
pub fn pins(snapshot: &Snapshot) -> std::collections::BTreeMap<&'static str, usize> {
    let mut pins = std::collections::BTreeMap::new();
    for reason in snapshot.clients.iter().filter_map(|client| client.pin) {
        *pins.entry(reason).or_insert(0) += 1;
    }
    pins
}

fn labels(pool: &PoolInfo) -> [(&str, &str); 3] {
    [("shard", &pool.shard), ("database", &pool.database), ("user", &pool.user)]
}

fn metric(labels: &Labels<'_>) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

fn counter(labels: &Labels<'_>, value: u64) -> Metric {
    let mut counter = proto::Counter::default();
    counter.set_value(value as f64);
    let mut metric = metric(labels);
    metric.set_counter(counter);
    metric
}

fn gauge(labels: &Labels<'_>, value: f64) -> Metric {
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    let mut metric = metric(labels);
    metric.set_gauge(gauge);
    metric
}

fn histogram(labels: &Labels<'_>, observed: &Histogram) -> Metric {
    let mut cumulative = 0;
    let bounded = observed.buckets[..Histogram::BUCKETS - 1].iter().enumerate();
    let buckets = bounded.map(|(i, n)| {
        cumulative += n;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(seconds(Histogram::bound(i)));
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_sum(observed.sum.as_secs_f64());
    histogram.set_sample_count(observed.count);
    let mut metric = metric(labels);
    metric.set_histogram(histogram);
    metric
}

/// Whole microseconds divide without a trail of nines.
fn seconds(bound: Duration) -> f64 {
    bound.as_micros() as f64 / 1e6
}

fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::sync::Arc;

    use super::*;
    use crate::admin::Control as _;
    use crate::admin::fake::Fake;

    /// The samples of a page, having checked each line: HELP, then TYPE, then that family's samples and nothing else; no
    /// sample twice; counters end in `_total`; buckets never fall and end at `+Inf` with the count.
    fn samples(page: &str) -> HashMap<String, f64> {
        let mut samples = HashMap::new();
        let mut families = HashSet::new();
        let mut family: Option<(&str, Option<&str>)> = None;
        let mut last_bucket = 0.0;
        assert!(page.ends_with('\n'));
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').expect("a HELP text");
                assert!(!text.is_empty() && families.insert(name), "{line}");
                family = Some((name, None));
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(family, Some((name, None)), "TYPE follows HELP: {line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(kind != "counter" || name.ends_with("_total"), "{line}");
                family = Some((name, Some(kind)));
            } else {
                let (key, value) = line.rsplit_once(' ').unwrap();
                let value: f64 = value.parse().unwrap();
                assert!(value.is_finite() && value >= 0.0, "{line}");
                let (name, labels) = key.split_once('{').map_or((key, ""), |(name, rest)| {
                    let labels = rest.strip_suffix('}').expect("closed braces");
                    assert!(labels.split(',').all(|pair| pair.contains("=\"") && pair.ends_with('"')), "{line}");
                    (name, labels)
                });
                let well_named = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
                assert!(well_named, "{line}");
                let (family, kind) = family.expect("HELP and TYPE come first");
                match (kind.expect("TYPE comes first"), name.strip_prefix(family).expect("the family's own name")) {
                    ("histogram", "_bucket") => {
                        let first = labels.contains("le=\"0.000064\"") || labels.contains("le=\"1\"");
                        assert!(first || value >= last_bucket, "{line}");
                        last_bucket = value;
                    }
                    ("histogram", "_sum") => {}
                    ("histogram", "_count") => assert_eq!(value, last_bucket, "{line}"),
                    ("counter" | "gauge", "") => {}
                    (kind, suffix) => panic!("{kind} with {suffix}: {line}"),
                }
                assert!(samples.insert(key.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        samples
    }

    #[test]
    fn every_line_is_well_formed_and_the_values_are_the_snapshots() {
        let snapshot = Fake::new().snapshot.lock().unwrap().clone();
        let page = encode(&snapshot, Fake::new().log().as_ref(), true).unwrap();
        let samples = samples(&page);
        let pool = "shard=\"main\",database=\"billing\",user=\"app\"";
        for (key, value) in [
            ("pgwarden_clients{state=\"waiting\"}".to_owned(), 1.0),
            ("pgwarden_clients_pinned{reason=\"listen\"}".to_owned(), 1.0),
            ("pgwarden_client_closes_total{reason=\"terminated\"}".to_owned(), 5.0),
            ("pgwarden_logins_total{result=\"failed\"}".to_owned(), 2.0),
            ("pgwarden_ready".to_owned(), 1.0),
            (format!("pgwarden_pool_queries_total{{{pool}}}"), 600.0),
            (format!("pgwarden_pool_query_seconds_bucket{{{pool},le=\"0.000064\"}}"), 0.0),
            (format!("pgwarden_pool_query_seconds_bucket{{{pool},le=\"0.000256\"}}"), 3.0),
            (format!("pgwarden_pool_query_seconds_bucket{{{pool},le=\"+Inf\"}}"), 4.0),
            (format!("pgwarden_pool_query_seconds_sum{{{pool}}}"), 0.00939),
            (format!("pgwarden_pool_backends{{{pool},state=\"active\"}}"), 1.0),
            ("pgwarden_refusals_total{rule=\"function\"}".to_owned(), 3.0),
            ("pgwarden_audit_state{state=\"failed\"}".to_owned(), 1.0),
            ("pgwarden_audit_records_total{stage=\"synced\"}".to_owned(), 980.0),
            ("pgwarden_audit_sync_seconds_count".to_owned(), 2.0),
            ("pgwarden_audit_write_records_bucket{le=\"2\"}".to_owned(), 7.0),
            ("pgwarden_audit_write_records_bucket{le=\"+Inf\"}".to_owned(), 8.0),
            ("pgwarden_audit_sink_behind_records{target=\"tls:collector.example.com:6514\"}".to_owned(), 80.0),
            ("pgwarden_audit_write_records_sum".to_owned(), 40.0),
            ("pgwarden_audit_copies_total{target=\"/mnt/elsewhere\",result=\"missed\"}".to_owned(), 2.0),
        ] {
            assert_eq!(samples.get(&key), Some(&value), "{key}\n{page}");
        }
        for process in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
            assert!(samples.contains_key(process), "{process}");
        }
    }

    #[test]
    fn pools_past_the_bound_are_summed_up() {
        let mut snapshot = Fake::new().snapshot.lock().unwrap().clone();
        let one = snapshot.pools[0].clone();
        let pool = |i: usize| PoolInfo { user: Arc::from(format!("user-{i:05}")), ..one.clone() };
        snapshot.pools = (0..POOLS_MAX + 50).map(pool).collect();
        let samples = samples(&encode(&snapshot, None, false).unwrap());
        let all = samples.iter().filter(|(key, _)| key.starts_with("pgwarden_pool_queries_total"));
        assert_eq!(all.clone().count(), POOLS_MAX + 1);
        assert_eq!(all.map(|(_, n)| n).sum::<f64>(), 600.0 * (POOLS_MAX + 50) as f64);
        let other = "shard=\"(other)\",database=\"(other)\",user=\"(other)\"";
        assert_eq!(samples[&format!("pgwarden_pool_size{{{other}}}")], 200.0);
        assert_eq!(samples["pgwarden_ready"], 0.0);
    }

    #[test]
    fn tenants_have_a_label_up_to_a_bound() {
        let tenant = |i: usize| TenantInfo {
            name: format!("tenant-{i:05}").into(),
            connections: 2,
            statements: 10,
            limited: [0, 3, 0, 0, 0, 0, 0],
            ..TenantInfo::default()
        };
        let snapshot = Snapshot {
            tenants: (0..TENANTS_MAX + 5).map(tenant).collect(),
            ..Fake::new().snapshot.lock().unwrap().clone()
        };
        let samples = samples(&encode(&snapshot, None, true).unwrap());
        let statements = samples.iter().filter(|(key, _)| key.starts_with("pgwarden_tenant_statements_total"));
        assert_eq!(statements.count(), TENANTS_MAX + 1);
        assert_eq!(samples["pgwarden_tenant_connections{tenant=\"(other)\"}"], 10.0);
        let limited = "pgwarden_tenant_limited_total{tenant=\"(other)\",limit=\"statements_per_second\"}";
        assert_eq!(samples[limited], 15.0, "{samples:?}");
    }

    #[test]
    fn an_empty_proxy_still_has_a_page() {
        assert!(samples(&encode(&Snapshot::default(), None, false).unwrap()).len() > 20);
    }

    #[test]
    fn names_cannot_break_out_of_their_label() {
        let mut snapshot = Fake::new().snapshot.lock().unwrap().clone();
        snapshot.pools[0].user = "a\"} 1\nevil 2 \\".into();
        let page = encode(&snapshot, None, true).unwrap();
        assert!(!page.lines().any(|line| line.starts_with("evil")), "{page}");
        assert!(page.contains(r#"user="a\"} 1\nevil 2 \\""#), "{page}");
    }
}
