//! That nothing is missing: what the server itself says it ran is held against the audit, statement for statement.
//!
//! The server's log (`log_statement = all`) has every Query and Execute in order, by process; its errors have the texts that it
//! did not get as far as to log. `pg_stat_statements` counts what ran to its end. Both know nothing of the proxy.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pgwarden::cluster::Cluster;
use pgwarden::record::HashKey;
use pgwarden::sql::{fingerprints, grammar};
use serde_json::Value;

use super::{Book, close, key};
use crate::clients::{Endpoint, Steps, jdbc, node, python, run};
use crate::kit::{Config, Proxy};

/// Names of roles and databases, and what runs as them.
const CLIENTS: [(&str, Script); 6] = [
    ("by_psql", |endpoint| run("bash", &["tests/clients/psql.sh"], endpoint)),
    ("by_pgbench", |endpoint| run("bash", &["tests/clients/pgbench.sh"], endpoint)),
    ("by_psycopg3", |endpoint| python(&["psycopg3.py"], endpoint)),
    ("by_asyncpg", |endpoint| python(&["asyncpg_client.py"], endpoint)),
    ("by_node", |endpoint| node(&["pg.cjs"], endpoint)),
    ("by_jdbc", |endpoint| jdbc("Client", endpoint)),
];

/// Runs to its end.
type Script = fn(&Endpoint) -> String;

/// What the proxy says to a server for itself: it cleans, sets what a session has set, and asks what that is.
const OWN: [&str; 8] = [
    "DISCARD ALL",
    "ROLLBACK",
    "RESET ",
    "SELECT pg_catalog.pg_my_temp_schema(),pg_catalog.setseed(",
    "SELECT pg_catalog.current_setting(E'",
    "SELECT pg_catalog.set_config(",
    "SELECT name,setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=)",
    "SELECT EXISTS(SELECT FROM pg_catalog.pg_listening_channels())",
];

fn is_own(text: &str) -> bool {
    OWN.iter().any(|own| text.starts_with(own))
}

const PASSWORD: &str = "a secret of these clients";

#[test]
fn every_statement_that_the_server_ran_is_on_record_and_every_record_was_run() {
    let cluster = Cluster::builder()
        .setting("shared_preload_libraries", "pg_stat_statements")
        .setting("pg_stat_statements.max", 20_000)
        .setting("log_statement", "all")
        .setting("log_line_prefix", r"\036%p|%u|")
        .setting("max_connections", 200)
        .setting("max_prepared_transactions", 8)
        .start()
        .expect("a cluster");
    let psql = |database: &str, sql: &str| cluster.psql(database, sql).expect("it runs");
    psql("postgres", "CREATE EXTENSION pg_stat_statements");
    let book = Book::new();
    let mut config = Config::for_cluster(&cluster).set("server.statement_size_max", "8MiB").set("pool.size", 4);
    for (name, _) in CLIENTS {
        psql("postgres", &format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'"));
        psql("postgres", &format!("CREATE DATABASE {name} OWNER {name}"));
        config = config.database(name).user(name, PASSWORD);
    }
    let proxy = Proxy::start(book.config(config, ""));
    std::thread::scope(|scope| {
        for (name, script) in CLIENTS {
            let (host, port) = ("127.0.0.1", proxy.address().port());
            let (user, password, database) = (name.to_owned(), PASSWORD.to_owned(), name.to_owned());
            scope.spawn(move || script(&Endpoint { host, port, user, password, database, steps: Steps::All }));
        }
    });
    let records = close(&proxy, &book);
    let counted = psql(
        "postgres",
        "SELECT rolname, sum(calls), encode(convert_to(query, 'UTF8'), 'hex') FROM pg_stat_statements JOIN pg_roles r \
         ON r.oid = userid WHERE rolname LIKE 'by\\_%' AND toplevel GROUP BY 1, 3",
    );
    let mut problems = Vec::new();
    for (name, _) in CLIENTS {
        let side = Side::of(name, &records);
        let logged = logged(&cluster.log(), name);
        problems.extend(reconcile(name, &side, &logged));
        problems.extend(count(name, &side, &logged, &counted));
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems[..problems.len().min(40)].join("\n"));
}

/// What the audit has of a user.
struct Side<'a> {
    /// What was to run, by the server's process, in order.
    runs: BTreeMap<u64, Vec<Run<'a>>>,
    /// Marks of all texts that were forwarded, whatever became of them.
    texts: BTreeSet<&'a str>,
    refused: usize,
}

struct Run<'a> {
    record: &'a Value,
    outcome: &'a str,
    has_tag: bool,
}

impl<'a> Side<'a> {
    fn of(user: &str, records: &'a [Value]) -> Self {
        let outcomes = super::outcomes(records);
        let mut side = Self { runs: BTreeMap::new(), texts: BTreeSet::new(), refused: 0 };
        for record in records.iter().filter(|record| record["user"] == user) {
            side.refused += usize::from(record["kind"] == "refused");
            if record["kind"] != "statement" {
                continue;
            }
            side.texts.extend(record["hash"].as_str());
            let outcome = outcomes.get(&record["seq"].as_u64().expect("a number"));
            let outcome = outcome.unwrap_or_else(|| panic!("no outcome: {record}"));
            let label = outcome["outcome"].as_str().expect("a text");
            if matches!(record["message"].as_str(), Some("query" | "execute")) && label != "skipped" {
                let run = Run { record, outcome: label, has_tag: outcome["tag"].is_string() };
                side.runs.entry(record["backend"].as_u64().expect("a number")).or_default().push(run);
            }
        }
        side
    }

    fn all(&self) -> impl Iterator<Item = &Run<'a>> {
        self.runs.values().flatten()
    }
}

impl Run<'_> {
    /// Whether the server says nothing of it: of what failed, as that may have been before it logs; and of an Execute of an empty
    /// text, which it answers with EmptyQueryResponse alone.
    fn may_be_unlogged(&self) -> bool {
        let is_empty = self.record["message"] == "execute"
            && ["statements", "fingerprints"]
                .iter()
                .all(|list| self.record[list].as_array().is_some_and(Vec::is_empty))
            && self.record["text"] == "";
        self.outcome == "failed" || is_empty
    }

    /// Whether the server's line is of this message.
    fn is(&self, line: &Logged, of: &mut Readings) -> bool {
        match (self.record["message"].as_str(), &line.how) {
            (Some("query"), How::Query) => self.record["hash"] == of.mark(&line.text),
            // A portal that SQL has opened is not known by its text.
            (Some("execute"), How::Execute) => {
                self.record["fingerprints"].is_null() || self.record["fingerprints"] == of.fingerprints(&line.text)
            }
            _ => false,
        }
    }
}

/// What can be told of the server's texts, told once.
struct Readings {
    key: HashKey,
    fingerprints: HashMap<String, Value>,
}

impl Readings {
    fn new() -> Self {
        Self { key: HashKey::derived(key().to_text().expose().trim().as_bytes()), fingerprints: HashMap::new() }
    }

    fn mark(&self, text: &str) -> String {
        let hash = self.key.mark(text.as_bytes()).hash.expect("a hash");
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn fingerprints(&mut self, text: &str) -> Value {
        let read = || {
            let analysis = grammar::read(text.as_bytes());
            let all = fingerprints(text.as_bytes(), &analysis, usize::MAX);
            all.iter().map(|it| format!("{it:016x}")).collect::<Vec<_>>().into()
        };
        self.fingerprints.entry(text.to_owned()).or_insert_with(read).clone()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum How {
    Query,
    Execute,
    /// Of an error: it may not have run.
    Error,
}

struct Logged {
    process: u64,
    how: How,
    text: String,
}

/// A user's statements in the server's log.
fn logged(log: &str, user: &str) -> Vec<Logged> {
    let mut lines: Vec<Logged> = Vec::new();
    for entry in log.split('\u{1e}').skip(1) {
        let Some((process, rest)) = entry.split_once('|') else { continue };
        let Some(rest) = rest.strip_prefix(user).and_then(|rest| rest.strip_prefix('|')) else { continue };
        // It indents all but the first line.
        let rest = rest.strip_suffix('\n').unwrap_or(rest).replace("\n\t", "\n");
        let named = rest.strip_prefix("LOG:  execute ").and_then(|rest| rest.split_once(": "));
        let (how, text) = if let Some(text) = rest.strip_prefix("LOG:  statement: ") {
            (How::Query, text)
        } else if let Some((_, text)) = named {
            (How::Execute, text)
        } else if let Some(text) = rest.strip_prefix("STATEMENT:  ") {
            (How::Error, text)
        } else {
            continue;
        };
        lines.push(Logged { process: process.parse().expect("a process"), how, text: text.to_owned() });
    }
    lines
}

/// Fewer statements than any of the scripts has.
const MATCHED_MIN: usize = 200;

/// Holds the two against each other; what does not fit.
fn reconcile(name: &str, side: &Side<'_>, logged: &[Logged]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut readings = Readings::new();
    let mut next: BTreeMap<u64, usize> = BTreeMap::new();
    let mut last: BTreeMap<u64, &str> = BTreeMap::new();
    let (mut matched, mut own, mut unlogged) = (0, 0, 0);
    for line in logged {
        let runs = side.runs.get(&line.process).map_or(&[][..], Vec::as_slice);
        let at = next.entry(line.process).or_default();
        if line.how == How::Error {
            let is_known = last.get(&line.process) == Some(&line.text.as_str())
                || side.texts.contains(&*readings.mark(&line.text))
                || is_own(&line.text);
            if !is_known {
                problems.push(format!("{name}: an error is of a text that is not on record: {}", line.text));
            }
            continue;
        }
        last.insert(line.process, &line.text);
        let skipped = runs[*at..].iter().take_while(|run| !run.is(line, &mut readings)).count();
        let passed = &runs[*at..*at + skipped];
        if *at + skipped < runs.len() && passed.iter().all(Run::may_be_unlogged) {
            unlogged += skipped;
            *at += skipped + 1;
            matched += 1;
        } else if is_own(&line.text) {
            own += 1;
        } else {
            let expected = runs.get(*at).map_or("nothing".to_owned(), |run| run.record.to_string());
            problems.push(format!("{name}: not on record: {:?} {}; expected {expected}", line.how, line.text));
        }
    }
    for (process, runs) in &side.runs {
        for run in &runs[next.get(process).copied().unwrap_or(0)..] {
            unlogged += 1;
            if !run.may_be_unlogged() {
                problems.push(format!("{name}: on record, and not run: {}", run.record));
            }
        }
    }
    if matched < MATCHED_MIN {
        problems.push(format!("{name}: its script did not get far, {matched} statements"));
    }
    println!(
        "{name}: {matched} statements of {} processes on record and in the server's log, {unlogged} on record that failed \
         before they were logged or were empty, {own} of the proxy's own, {} refused",
        side.runs.len(),
        side.refused
    );
    problems
}

/// Compares how often plain statements ran to their end. The server does not count what ran to its end in a portal that a later
/// failure took away, and counts what a cursor runs as if it had been sent.
fn count(name: &str, side: &Side<'_>, logged: &[Logged], counted: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut readings = Readings::new();
    let own = logged.iter().filter(|line| is_own(&line.text)).map(|line| readings.fingerprints(&line.text));
    let own: Vec<Value> = own.flat_map(|fingerprints| fingerprints.as_array().expect("a list").clone()).collect();
    let failed = side.all().filter(|run| run.outcome != "completed").count() as u64;
    let is_cursor =
        |run: &&Run<'_>| run.record["statements"].as_array().is_some_and(|it| it.contains(&"declare".into()));
    let cursors = side.all().filter(is_cursor).count() as u64;
    let mut calls: BTreeMap<String, u64> = BTreeMap::new();
    for row in counted.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('|')) {
        let (times, hex) = row.split_once('|').expect("two columns");
        let bytes = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("digits"));
        let text = String::from_utf8(bytes.collect()).expect("UTF-8");
        if let [Value::String(fingerprint)] = readings.fingerprints(&text).as_array().expect("a list").as_slice() {
            *calls.entry(fingerprint.clone()).or_default() += times.parse::<u64>().expect("a number");
        }
    }
    // Plain statements, each alone in its message, all of which ran to their end.
    let mut audited: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    for run in side.all() {
        let list = |field: &str| run.record[field].as_array().map_or(&[][..], Vec::as_slice);
        let is_plain = list("statements")
            .iter()
            .all(|kind| ["select", "insert", "update", "delete"].contains(&kind.as_str().expect("a text")));
        for fingerprint in list("fingerprints") {
            let times = audited.entry(fingerprint.as_str().expect("a text")).or_insert(Some(0));
            let counts = is_plain && list("statements").len() == 1 && run.outcome == "completed" && run.has_tag;
            *times = times.filter(|_| counts).map(|times| times + 1);
        }
    }
    let (mut kinds, mut alike, mut times) = (0, 0, 0);
    for (fingerprint, audited) in audited.iter().filter_map(|(name, times)| Some((name, (*times)?))) {
        let Some(calls) = calls.get(*fingerprint).filter(|_| !own.iter().any(|own| own == *fingerprint)) else {
            continue;
        };
        (kinds, alike, times) = (kinds + 1, alike + u64::from(*calls == audited), times + audited);
        if audited > calls + failed || *calls > audited + cursors {
            let record = side.all().find(|run| run.record["fingerprints"][0] == **fingerprint).map(|run| run.record);
            problems.push(format!("{name}: {calls} calls by the server's count, {audited} on record: {record:?}"));
        }
    }
    println!("{name}: {times} runs of {kinds} plain statements, {alike} of which pg_stat_statements counts alike");
    if (kinds - alike) * 20 > kinds + 20 {
        problems.push(format!("{name}: {alike} of {kinds} are counted alike"));
    }
    problems
}
