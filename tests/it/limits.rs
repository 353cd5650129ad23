//! What tenants may use: each limit reached and not reached, over two workers, with another tenant beside it that notices
//! nothing; after a limit sessions and server connections go on, and nothing stays counted.
//!
//! Policy is off here: these are tests of limits, and statements may be anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::{self, Config, Proxy};
use crate::talk::{Talk, bind, close_portal, copy_data, copy_done, execute, flush, parse, query, sync, terminate};

/// A database, two tenants of it (`acme` under the limits, `globex` under none), and a proxy with two workers.
struct Stage {
    database: kit::Database,
    proxy: Proxy,
}

const PASSWORD: &str = "secret";

impl Stage {
    #[track_caller]
    fn new(limits: &str) -> Self {
        Self::with(limits, |config| config)
    }

    #[track_caller]
    fn with(limits: &str, change: impl FnOnce(Config) -> Config) -> Self {
        let database = kit::database();
        let path = |key: &str| format!("databases.{}.tenancy.{key}", database.name);
        let config = Config::for_cluster(kit::cluster())
            .set("server.workers", 2)
            .set("pool.size", 8)
            .set("admin.admins", vec!["boss"])
            .user("boss", PASSWORD)
            .database(&database.name)
            .set(&path("context"), "setting")
            .set(&path("setting"), "app.tenant_id")
            .set(&path("server_user"), database.owner.name.as_str())
            .set(&path("server_password"), database.owner.password.as_str())
            .set(&path("danger_open_policy"), true)
            .set(&path("danger_open_wall"), true);
        let config = ["acme", "globex"].iter().enumerate().fold(config, |config, (index, name)| {
            config
                .set(&format!("tenants.{name}.database"), database.name.as_str())
                .set(&format!("tenants.{name}.key"), (index + 1).to_string())
                .user(name, PASSWORD)
                .set(&format!("users.{name}.tenant"), *name)
        });
        Self { proxy: Proxy::start(change(with_limits(config, limits))), database }
    }

    #[track_caller]
    fn client(&self, user: &str) -> Talk {
        Talk::login(self.proxy.address(), &[("user", user), ("database", &self.database.name)], PASSWORD)
    }

    /// What a login that is refused is told.
    fn refused(&self, user: &str) -> Talk {
        let mut talk = Talk::open(self.proxy.address());
        talk.send(&crate::talk::startup(&[("user", user), ("database", &self.database.name)]));
        talk.authenticate(PASSWORD).expect_err("the login is refused");
        talk
    }

    #[track_caller]
    fn console(&self) -> Talk {
        Talk::login(self.proxy.address(), &[("user", "boss"), ("database", "pgwarden")], PASSWORD)
    }

    /// A tenant's row of SHOW TENANTS.
    #[track_caller]
    fn tenant(&self, name: &str) -> BTreeMap<String, String> {
        let rows = self.console().table("SHOW TENANTS");
        rows.into_iter().find(|row| row["tenant"] == name).expect("a row for each tenant")
    }

    #[track_caller]
    fn shows(&self, column: &str, value: &str) {
        kit::eventually(&format!("{column} is {value}"), || self.tenant("acme")[column] == value);
    }

    /// The other tenant is served at once, and this one too once its clients are gone; nothing is counted any more.
    #[track_caller]
    fn is_well(&self) {
        let began = Instant::now();
        assert_eq!(self.client("globex").query("SELECT 7"), "T(?column?) D(7) C(SELECT 1) Z(I)");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        kit::eventually("nothing is counted", || {
            ["acme", "globex"].iter().all(|name| {
                let row = self.tenant(name);
                ["connections", "transactions", "waiting"].iter().all(|column| row[*column] == "0")
            })
        });
    }

    #[track_caller]
    fn set_limits(&mut self, limits: &str) {
        self.proxy.rewrite(|config| with_limits(config, limits));
        let mark = self.proxy.mark();
        self.proxy.reload();
        self.proxy.await_log(mark, "configuration reloaded");
    }

    /// Statements that the server runs in this database.
    fn running(&self) -> usize {
        let count = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' \
                     and pid <> pg_backend_pid()";
        kit::sql(&self.database.name, count).trim().parse().expect("a number")
    }
}

fn with_limits(config: Config, limits: &str) -> Config {
    let table: toml::Table = limits.parse().expect("a TOML table");
    config.set("tenants.acme.limits", table)
}

fn field(talk: &Talk, field: u8) -> &str {
    talk.error.get(&field).map_or("", |text| text)
}

/// The error is the proxy's, with a hint.
#[track_caller]
fn says(talk: &Talk, message: &str) {
    assert!(field(talk, b'M').contains(message), "{:?}", talk.error);
    assert!(field(talk, b'M').contains("acme") && !field(talk, b'H').is_empty(), "{:?}", talk.error);
}

/// A statement in the extended protocol, without its Sync.
fn extended(sql: &str) -> Vec<u8> {
    [parse("", sql), bind("", "", &[]), execute("", 0)].concat()
}

#[test]
fn connections_are_counted_over_workers() {
    let stage = Stage::new("connections = 3");
    let mut clients: Vec<Talk> = (0..3).map(|_| stage.client("acme")).collect();
    let refused = stage.refused("acme");
    assert_eq!((field(&refused, b'C'), field(&refused, b'S')), ("53300", "FATAL"));
    says(&refused, "3 connections");
    stage.client("globex").query("SELECT 1");
    assert_eq!(stage.tenant("acme")["connections"], "3");
    assert_eq!(stage.tenant("acme")["connections_limited"], "1");
    clients.pop().expect("one of three").say(&[terminate()]);
    kit::eventually("a place is free", || stage.tenant("acme")["connections"] == "2");
    drop(stage.client("acme"));
    // Ended in other ways: without a word, and by force.
    clients.pop();
    let id = stage.console().table("SHOW CLIENTS").into_iter().find(|row| row["tenant"] == "acme").expect("one")["id"]
        .clone();
    stage.console().query(&format!("KILL_CLIENT {id}"));
    stage.is_well();
}

#[test]
fn transactions_wait_for_their_turn_over_workers() {
    let stage = Stage::new("transactions = 2");
    let mut clients: Vec<Talk> = (0..8).map(|_| stage.client("acme")).collect();
    let mut busy: Vec<Talk> = clients.drain(..2).collect();
    for client in &mut busy {
        assert_eq!(client.query("BEGIN"), "C(BEGIN) Z(T)");
    }
    for client in &mut clients {
        client.say(&[query("SELECT 5")]);
    }
    stage.shows("waiting", "6");
    assert_eq!(stage.tenant("acme")["transactions"], "2");
    // The other tenant goes past those who wait.
    for _ in 0..8 {
        assert_eq!(stage.client("globex").query("SELECT 7"), "T(?column?) D(7) C(SELECT 1) Z(I)");
    }
    let mut one = busy.pop().expect("one of two");
    assert_eq!(one.query("COMMIT"), "C(COMMIT) Z(I)");
    for client in &mut clients {
        assert_eq!(client.until_ready(1), "T(?column?) D(5) C(SELECT 1) Z(I)");
    }
    drop((busy, one, clients));
    stage.is_well();
}

#[test]
fn those_who_wait_for_too_long_are_refused() {
    let stage = Stage::with("transactions = 1", |config| config.set("server.queue_timeout", "2s"));
    let (mut one, mut other) = (stage.client("acme"), stage.client("acme"));
    one.query("BEGIN");
    assert_eq!(other.query("SELECT 1"), "E(53300) Z(I)");
    assert_eq!(other.ask(&[extended("SELECT 1"), sync()]), "E(53300) Z(I)");
    assert_eq!(one.query("SELECT 2"), "T(?column?) D(2) C(SELECT 1) Z(T)");
    one.query("ROLLBACK");
    assert_eq!(other.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
    drop((one, other));
    stage.is_well();
}

#[test]
fn a_tenant_never_has_more_transactions_than_it_may() {
    let stage = Stage::new("transactions = 2");
    let done = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let workers: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = stage.client("acme");
                    for _ in 0..25 {
                        assert!(client.query("SELECT pg_sleep(0.004)").ends_with("C(SELECT 1) Z(I)"));
                    }
                })
            })
            .collect();
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(stage.running());
            }
            most
        });
        workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
        done.store(true, Ordering::Relaxed);
        watch.join().expect("no panic")
    });
    assert!((1..=2).contains(&most), "{most}");
    stage.is_well();
}

#[test]
fn statements_beyond_the_rate_are_refused_in_both_protocols() {
    let stage = Stage::new("statements_per_second = 4");
    let mut client = stage.client("acme");
    let began = Instant::now();
    let mut refused = 0;
    for round in 0..20 {
        let said = match round % 2 {
            0 => client.query("SELECT 1"),
            _ => client.ask(&[extended("SELECT 1"), sync()]),
        };
        match said.as_str() {
            "T(?column?) D(1) C(SELECT 1) Z(I)" | "1 2 D(1) C(SELECT 1) Z(I)" => {}
            "E(53400) Z(I)" | "1 2 E(53400) Z(I)" => refused += 1,
            other => panic!("{other}"),
        }
    }
    let allowed = 4 + (began.elapsed().as_millis() / 250) as usize;
    assert!(20 - refused >= 4 && 20 - refused <= allowed + 1, "{refused} refused in {:?}", began.elapsed());
    says(&client, "4 statements a second");
    assert!(field(&client, b'H').contains("Try again in"), "{:?}", client.error);
    // Neither another connection nor many statements in one message gets around it.
    let mut again = stage.client("acme");
    assert_eq!(again.query("SELECT 1; SELECT 2; SELECT 3; SELECT 4"), "E(53400) Z(I)");
    let fast = Instant::now();
    for _ in 0..50 {
        assert_eq!(stage.client("globex").query("SELECT 7"), "T(?column?) D(7) C(SELECT 1) Z(I)");
        if fast.elapsed() > Duration::from_secs(2) {
            break;
        }
    }
    thread::sleep(Duration::from_millis(1_100));
    let four = "T(?column?) D(1) C(SELECT 1) T(?column?) D(2) C(SELECT 1) T(?column?) D(3) C(SELECT 1) T(?column?) D(4) \
                C(SELECT 1) Z(I)";
    assert_eq!(again.query("SELECT 1; SELECT 2; SELECT 3; SELECT 4"), four);
    let shown = stage.tenant("acme");
    assert_eq!(shown["rate_limited"], shown["refused"]);
    drop((client, again));
    stage.is_well();
}

#[test]
fn a_statement_beyond_the_rate_fails_its_transaction_and_the_rest_of_its_pipeline() {
    let stage = Stage::new("statements_per_second = 3");
    let mut client = stage.client("acme");
    assert_eq!(client.query("BEGIN"), "C(BEGIN) Z(T)");
    let pipeline = [extended("SELECT 1"), extended("SELECT 2"), extended("SELECT 3"), extended("SELECT 4"), sync()];
    assert_eq!(client.ask(&pipeline), "1 2 D(1) C(SELECT 1) 1 2 D(2) C(SELECT 1) 1 2 E(53400) Z(E)");
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(client.query("SELECT 1"), "E(25P02) Z(E)");
    assert_eq!(client.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    assert_eq!(client.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
    drop(client);
    stage.is_well();
}

#[test]
fn a_statement_that_takes_too_long_is_cancelled() {
    let stage = Stage::new("statement_time = \"300ms\"");
    let mut client = stage.client("acme");
    client.query("SET statement_timeout = 0");
    let began = Instant::now();
    assert_eq!(client.query("SELECT pg_sleep(20)"), "T(pg_sleep) E(57014) Z(I)");
    assert!(began.elapsed() >= Duration::from_millis(300) && began.elapsed() < Duration::from_secs(5));
    says(&client, "longer than 300 ms");
    assert_eq!(client.ask(&[extended("SELECT pg_sleep(20)"), extended("SELECT 1"), sync()]), "1 2 E(57014) Z(I)");
    says(&client, "longer than 300 ms");
    client.query("BEGIN");
    assert_eq!(client.query("SELECT pg_sleep(20)"), "T(pg_sleep) E(57014) Z(E)");
    assert_eq!(client.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    // Many that take less, in one pipeline that takes longer, are no such statement.
    let short: Vec<Vec<u8>> = (0..10).map(|_| extended("SELECT pg_sleep(0.06)")).chain([sync()]).collect();
    assert_eq!(client.ask(&short).matches("C(SELECT 1)").count(), 10);
    assert_eq!(stage.client("globex").query("SELECT pg_sleep(0.6)"), "T(pg_sleep) D() C(SELECT 1) Z(I)");
    assert_eq!(stage.tenant("acme")["statement_time_limited"], "3");
    // A client's own cancel and the server's own timeout keep their words.
    client.query("SET statement_timeout = '50ms'");
    assert_eq!(client.query("SELECT pg_sleep(20)"), "T(pg_sleep) E(57014) Z(I)");
    assert_eq!(field(&client, b'M'), "canceling statement due to statement timeout");
    drop(client);
    stage.is_well();
}

#[test]
fn a_statement_that_will_not_be_cancelled_takes_its_session_with_it() {
    let stage = Stage::new("statement_time = \"200ms\"");
    let mut client = stage.client("acme");
    let stubborn = "DO $$ BEGIN FOR i IN 1..100 LOOP BEGIN PERFORM pg_sleep(30); EXCEPTION WHEN query_canceled THEN NULL; \
                    END; END LOOP; END $$";
    client.say(&[query(stubborn)]);
    let began = Instant::now();
    assert_eq!(client.until_closed(), "E(57014)");
    assert_eq!(field(&client, b'S'), "FATAL");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop(client);
    stage.is_well();
    kit::sql(
        &stage.database.name,
        "select pg_terminate_backend(pid) from pg_stat_activity where query like 'DO $$ BEGIN FOR i%'",
    );
}

#[test]
fn a_transaction_that_takes_too_long_ends_with_its_session() {
    let stage = Stage::new("transaction_time = \"400ms\"");
    kit::sql(
        &stage.database.name,
        &format!("create table t (id int); alter table t owner to {}", stage.database.owner.name),
    );
    let mut idle = stage.client("acme");
    assert_eq!(idle.query("BEGIN; INSERT INTO t VALUES (1)"), "C(BEGIN) C(INSERT 0 1) Z(T)");
    assert_eq!(idle.until_closed(), "E(25P03)");
    assert_eq!(field(&idle, b'S'), "FATAL");
    says(&idle, "longer than 400 ms");
    let mut busy = stage.client("acme");
    busy.query("BEGIN; INSERT INTO t VALUES (2)");
    busy.say(&[query("SELECT pg_sleep(20)")]);
    let said = busy.until_closed();
    assert!(said == "E(25P03)" || said == "T(pg_sleep) E(25P03)", "{said}");
    // One that is open because its Sync does not come.
    let mut open = stage.client("acme");
    open.say(&[extended("INSERT INTO t VALUES (3)"), flush()]);
    assert_eq!(open.until_closed(), "1 2 C(INSERT 0 1) E(25P03)");
    // Many short ones, one after the other, are no such transaction.
    let mut many = stage.client("acme");
    let pipeline: Vec<Vec<u8>> = (0..10).map(|_| query("SELECT pg_sleep(0.06)")).collect();
    many.say(&pipeline);
    assert_eq!(many.until_ready(10).matches("C(SELECT 1)").count(), 10);
    assert_eq!(many.value("SELECT count(*) FROM t"), "0");
    assert_eq!(stage.tenant("acme")["transaction_time_limited"], "3");
    drop((idle, busy, open, many));
    stage.is_well();
}

#[test]
fn silence_inside_a_transaction_ends_the_session() {
    let stage = Stage::new("idle_in_transaction_time = \"300ms\"");
    let mut client = stage.client("acme");
    client.query("SET idle_in_transaction_session_timeout = 0");
    client.query("BEGIN");
    assert!(client.query("SELECT pg_sleep(0.6)").ends_with("Z(T)"), "a long statement is no silence");
    assert_eq!(client.until_closed(), "E(25P03)");
    says(&client, "idle in a transaction for longer than 300 ms");
    let mut open = stage.client("acme");
    open.say(&[extended("SELECT 1"), flush()]);
    assert_eq!(open.until_closed(), "1 2 D(1) C(SELECT 1) E(25P03)");
    let mut outside = stage.client("acme");
    thread::sleep(Duration::from_millis(700));
    assert_eq!(outside.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
    let mut other = stage.client("globex");
    other.query("BEGIN");
    thread::sleep(Duration::from_millis(700));
    assert_eq!(other.query("COMMIT"), "C(COMMIT) Z(I)");
    assert_eq!(stage.tenant("acme")["idle_in_transaction_time_limited"], "2");
    drop((client, open, outside, other));
    stage.is_well();
}

/// What comes in place of an answer with too many rows: as many as may be, and then the error.
#[track_caller]
fn is_cut(said: &str, before: &str, rows: usize, status: char) {
    let rows_seen = said.matches("D(").count();
    assert!(said.starts_with(before), "{said}");
    assert_eq!(rows_seen, rows, "{said}");
    assert!(said.ends_with(&format!("E(53400) Z({status})")), "{said}");
    assert!(!said.contains("C(SELECT") && !said.contains(" s "), "{said}");
}

#[test]
fn a_result_with_too_many_rows_ends_with_an_error() {
    let stage = Stage::new("rows = 5");
    let mut client = stage.client("acme");
    let pid = client.value("SELECT pg_backend_pid()");
    let rows = |count: u32| format!("SELECT generate_series(1,{count}) AS n");
    for count in [6, 1_000, 3_000_000] {
        assert_eq!(client.query(&rows(5)).matches("D(").count(), 5);
        let began = Instant::now();
        is_cut(&client.query(&rows(count)), "T(n) D(1)", 5, 'I');
        says(&client, "more than 5 rows");
        is_cut(&client.ask(&[extended(&rows(count)), sync()]), "1 2 D(1)", 5, 'I');
        // What follows in the pipeline does not run.
        is_cut(&client.ask(&[extended(&rows(count)), extended("SELECT 99"), sync()]), "1 2 D(1)", 5, 'I');
        let several = client.query(&format!("SELECT 0 AS n; {}; SELECT 99", rows(count)));
        assert_eq!(several, "T(n) D(0) C(SELECT 1) T(n) D(1) D(2) D(3) D(4) D(5) E(53400) Z(I)");
        // A block fails with it.
        client.query("BEGIN");
        is_cut(&client.query(&rows(count)), "T(n) D(1)", 5, 'E');
        assert_eq!(client.query("SELECT 1"), "E(25P02) Z(E)");
        client.query("ROLLBACK");
        client.query("BEGIN");
        is_cut(&client.ask(&[extended(&rows(count)), sync()]), "1 2 D(1)", 5, 'E');
        client.query("ROLLBACK");
        // Without a Sync yet.
        client.say(&[extended(&rows(count)), flush()]);
        assert_eq!(client.until(b'E', 1).matches("D(").count(), 5);
        assert_eq!(client.ask(&[extended("SELECT 99"), sync()]), "Z(I)");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
    assert_eq!(client.value("SELECT pg_backend_pid()"), pid, "the server connection is used on");
    assert_eq!(stage.tenant("acme")["rows_limited"], "21");
    assert_eq!(stage.client("globex").query(&rows(1_000)).matches("D(").count(), 1_000);
    drop(client);
    stage.is_well();
}

#[test]
fn a_portal_fetched_in_parts_is_measured_by_part() {
    let stage = Stage::new("rows = 5");
    let mut client = stage.client("acme");
    let open = [parse("", "SELECT generate_series(1,12)"), bind("p", "", &[])].concat();
    let part = execute("p", 5);
    let said = client.ask(&[&open[..], &part, &part, &part, &sync()]);
    assert_eq!(said.matches("D(").count(), 12, "{said}");
    assert_eq!((said.matches(" s").count(), said.matches("C(SELECT 2)").count()), (2, 1), "{said}");
    let said = client.ask(&[&open[..], &part, &execute("p", 6), &close_portal("p"), &sync()]);
    is_cut(&said.replace(" s ", " "), "1 2 D(1)", 10, 'I');
    client.query("BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1,12)");
    assert_eq!(client.query("FETCH 5 FROM c").matches("D(").count(), 5);
    is_cut(&client.query("FETCH 6 FROM c"), "T(generate_series) D(6)", 5, 'E');
    client.query("ROLLBACK");
    assert_eq!(client.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
    drop(client);
    stage.is_well();
}

#[test]
fn copies_are_measured_too() {
    let stage = Stage::new("rows = 5");
    let mut client = stage.client("acme");
    let copy = |count: u32| format!("COPY (SELECT generate_series(1,{count})) TO STDOUT");
    assert!(client.query(&copy(5)).ends_with("c C(COPY 5) Z(I)"));
    for count in [6, 2_000_000] {
        for said in [client.query(&copy(count)), client.ask(&[extended(&copy(count)), sync()])] {
            assert_eq!(said.matches(" d(").count(), 5, "{said}");
            assert!(said.ends_with("E(53400) Z(I)") && !said.contains(" c "), "{said}");
        }
    }
    // A COPY from the client is no answer; with others in one text it is refused, and nothing of the text begins.
    client.query("CREATE TABLE lines (n int)");
    let said = client.query("SELECT generate_series(1,9); COPY lines FROM STDIN; SELECT 1");
    assert_eq!(said, "E(0A000) Z(I)");
    client.say(&[query("COPY lines FROM STDIN"), copy_data(b"1\n2\n3\n4\n5\n6\n7\n"), copy_done()]);
    assert!(client.until_ready(1).ends_with("C(COPY 7) Z(I)"), "what comes from the client is not measured");
    drop(client);
    stage.is_well();
}

/// A COPY into this table is inserted in batches by the proxy, and is one statement to the tenant.
const LINES: &str = "CREATE TABLE lines (n int)";

#[test]
fn a_copy_that_takes_too_long_is_cancelled() {
    let stage = Stage::new("statement_time = \"400ms\"");
    let mut client = stage.client("acme");
    client.query(LINES);
    assert!(client.query("COPY (SELECT pg_sleep(20)) TO STDOUT").ends_with("E(57014) Z(I)"));
    says(&client, "longer than 400 ms");
    // A client that says nothing more, in each protocol.
    for begin in [query("COPY lines FROM STDIN"), extended("COPY lines FROM STDIN")] {
        client.say(&[&begin, &copy_data(b"1\n2\n")]);
        let said = client.until(b'E', 1);
        assert!(said.ends_with("E(57014)"), "{said}");
        says(&client, "longer than 400 ms");
        // What it still sends belongs to the COPY that ended.
        client.say(&[copy_data(b"3\n"), copy_done(), sync(), query("SELECT 1")]);
        let said = client.until(b'D', 1);
        assert!(said.ends_with("D(1)"), "{said}");
        client.until_ready(1);
        assert_eq!(client.query("SELECT count(*) FROM lines"), "T(count) D(0) C(SELECT 1) Z(I)");
    }
    // One that keeps sending.
    let began = Instant::now();
    client.say(&[query("COPY lines FROM STDIN")]);
    while began.elapsed() < Duration::from_millis(800) && client.try_send(&copy_data(b"4\n")).is_ok() {
        thread::sleep(Duration::from_millis(10));
    }
    let said = client.until_ready(1);
    assert!(said.ends_with("E(57014) Z(I)"), "{said}");
    assert_eq!(client.query("SELECT count(*) FROM lines"), "T(count) D(0) C(SELECT 1) Z(I)");
    drop(client);
    stage.is_well();
}

#[test]
fn a_copy_with_too_many_bytes_ends_with_an_error() {
    let stage = Stage::new("bytes = \"10KiB\"");
    let mut client = stage.client("acme");
    let copy = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 100000)) TO STDOUT";
    for said in [client.query(copy), client.ask(&[extended(copy), sync()])] {
        assert!(said.ends_with("E(53400) Z(I)") && !said.contains(" c "), "{said}");
        assert!((9..=10).contains(&said.matches(" d(").count()), "{said}");
    }
    says(&client, "10240 bytes");
    assert_eq!(client.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
    drop(client);
    stage.is_well();
}

#[test]
fn a_copy_of_a_tenant_that_is_switched_off_ends() {
    let mut stage = Stage::new("connections = 10");
    stage.client("acme").query(LINES);
    let (mut reads, mut writes) = (stage.client("acme"), stage.client("acme"));
    reads.say(&[query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000000)) TO STDOUT")]);
    writes.say(&[query("COPY lines FROM STDIN"), copy_data(b"1\n2\n")]);
    assert!(writes.until(b'G', 1).ends_with("G"));
    stage.proxy.rewrite(|config| config.set("tenants.acme.enabled", false));
    let mark = stage.proxy.mark();
    stage.proxy.reload();
    stage.proxy.await_log(mark, "configuration reloaded");
    writes.until_closed();
    assert_eq!(field(&writes, b'C'), "57P01", "{:?}", writes.error);
    reads.raw_until_closed();
    assert_eq!(kit::sql(&stage.database.name, "SELECT count(*) FROM lines").trim(), "0");
    kit::eventually("nothing runs", || stage.running() == 0);
    assert_eq!(stage.client("globex").query("SELECT 7"), "T(?column?) D(7) C(SELECT 1) Z(I)");
}

#[test]
fn a_write_that_could_not_be_stopped_is_not_said_to_have_failed_only() {
    let stage = Stage::new("rows = 5");
    let mut client = stage.client("acme");
    client.query("CREATE TABLE t (n int)");
    let insert = "INSERT INTO t SELECT generate_series(1,6) RETURNING n";
    client.say(&[query(insert)]);
    let said = client.until_closed_or("Z(");
    assert!(said.ends_with("E(53400)") || said.ends_with("E(53400) Z(I)"), "{said}");
    let stays = client.error.contains_key(&b'D');
    let mut other = stage.client("acme");
    let count = other.value("SELECT count(*) FROM t");
    assert_eq!(count, if stays { "6" } else { "0" }, "{:?}", client.error);
    assert_eq!(field(&client, b'S'), if stays { "FATAL" } else { "ERROR" });
    // In a block it is undone, whichever came first.
    other.query("DELETE FROM t");
    other.query("BEGIN");
    is_cut(&other.query(insert), "T(n) D(1)", 5, 'E');
    other.query("COMMIT");
    assert_eq!(other.value("SELECT count(*) FROM t"), "0");
    drop((client, other));
    stage.is_well();
}

#[test]
fn a_result_with_too_many_bytes_ends_with_an_error() {
    let stage = Stage::new("bytes = \"10KiB\"");
    let mut client = stage.client("acme");
    assert!(client.query("SELECT repeat('x', 10000)").ends_with("C(SELECT 1) Z(I)"));
    for size in [10_240, 100_000, 50_000_000] {
        let said = client.query(&format!("SELECT repeat('x', {size})"));
        assert_eq!(said, "T(repeat) E(53400) Z(I)");
        says(&client, "10240 bytes");
        assert_eq!(client.ask(&[extended(&format!("SELECT repeat('x', {size})")), sync()]), "1 2 E(53400) Z(I)");
    }
    let said = client.query("SELECT repeat('x', 1000) FROM generate_series(1,100000)");
    assert_eq!((said.matches("D(").count(), said.ends_with("E(53400) Z(I)")), (10, true), "{said}");
    assert!(stage.client("globex").query("SELECT repeat('x', 100000)").ends_with("C(SELECT 1) Z(I)"));
    assert_eq!(stage.tenant("acme")["bytes_limited"], "7");
    drop(client);
    stage.is_well();
}

#[test]
fn a_reload_changes_the_limits_of_those_who_are_connected() {
    let mut stage = Stage::new("rows = 5");
    let mut client = stage.client("acme");
    let ten = "SELECT generate_series(1,10)";
    // A login needs a server connection, too, when what it is told is not known.
    let mut other = stage.client("acme");
    client.query("BEGIN");
    is_cut(&client.query(ten), "T(generate_series)", 5, 'E');
    stage.set_limits("rows = 20\nidle_in_transaction_time = \"1h\"\ntransactions = 1");
    client.query("ROLLBACK; BEGIN");
    assert_eq!(client.query(ten).matches("D(").count(), 10);
    assert_eq!(stage.tenant("acme")["limits"], "transactions=1 idle_in_transaction_time=1h rows=20");
    other.say(&[query("SELECT 1")]);
    stage.shows("waiting", "1");
    // Higher: who waits is served.
    stage.set_limits("transactions = 2");
    assert_eq!(other.until_ready(1), "T(?column?) D(1) C(SELECT 1) Z(I)");
    assert_eq!(client.query(ten).matches("D(").count(), 10);
    // Inside the transaction that runs.
    stage.set_limits("transaction_time = \"200ms\"\nconnections = 1");
    assert_eq!(client.until_closed(), "E(25P03)");
    kit::eventually("one is left", || stage.tenant("acme")["connections"] == "1");
    assert_eq!(field(&stage.refused("acme"), b'C'), "53300");
    stage.set_limits("");
    drop((client, other));
    stage.client("acme");
    stage.is_well();
}

#[test]
fn a_quiet_tenant_waits_little_behind_a_noisy_one() {
    let stage = Stage::with("transactions = 7", |config| config.set("server.queue_max", 250));
    let done = AtomicBool::new(false);
    let mut noisy: Vec<Talk> = (0..200).map(|_| stage.client("acme")).collect();
    let (mut waits, served) = thread::scope(|scope| {
        let noise: Vec<_> = noisy
            .chunks_mut(50)
            .map(|clients| {
                let done = &done;
                scope.spawn(move || {
                    let mut served = 0;
                    while !done.load(Ordering::Relaxed) {
                        clients.iter_mut().for_each(|client| client.say(&[query("SELECT pg_sleep(0.02)")]));
                        for client in clients.iter_mut() {
                            served += usize::from(client.until_ready(1).ends_with("C(SELECT 1) Z(I)"));
                        }
                    }
                    served
                })
            })
            .collect();
        let mut quiet: Vec<Talk> = (0..4).map(|_| stage.client("globex")).collect();
        stage.shows("transactions", "7");
        let waits: Vec<Duration> = (0..100)
            .map(|round| {
                let began = Instant::now();
                assert_eq!(quiet[round % 4].query("SELECT 7"), "T(?column?) D(7) C(SELECT 1) Z(I)");
                let took = began.elapsed();
                thread::sleep(Duration::from_millis(5));
                took
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        (waits, noise.into_iter().map(|noise| noise.join().expect("no panic")).sum::<usize>())
    });
    waits.sort();
    assert!(served >= 200, "{served}");
    assert!(waits[50] < Duration::from_millis(60) && waits[95] < Duration::from_millis(300), "{waits:?}");
    eprintln!("quiet tenant: median {:?}, 95th of 100 {:?}, {served} of the noisy one's", waits[50], waits[95]);
    drop(noisy);
    stage.is_well();
}

#[test]
fn nothing_stays_counted_whatever_ends_a_session() {
    let stage = Stage::new("connections = 40\ntransactions = 3\nrows = 100000\nstatement_time = \"10s\"");
    for round in 0..3 {
        let mut clients: Vec<Talk> = (0..12).map(|_| stage.client("acme")).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            match index % 4 {
                0 => client.say(&[query("BEGIN")]),
                1 => client.say(&[query("SELECT pg_sleep(0.2)")]),
                2 => client.say(&[extended("SELECT generate_series(1,3000000)"), sync()]),
                _ => client.say(&[extended("SELECT pg_sleep(0.1)")]),
            }
        }
        thread::sleep(Duration::from_millis(100));
        match round {
            // They go without a word.
            0 => {}
            // Each is cancelled, and then goes.
            1 => {
                for client in &clients {
                    let mut cancel = Talk::open(stage.proxy.address());
                    cancel.send(&crate::talk::cancel(client.pid, &client.secret));
                    cancel.until_closed();
                }
            }
            _ => {
                for row in stage.console().table("SHOW CLIENTS").iter().filter(|row| row["tenant"] == "acme") {
                    stage.console().query(&format!("KILL_CLIENT {}", row["id"]));
                }
            }
        }
        drop(clients);
        stage.is_well();
    }
    let mut after: Vec<Talk> = (0..3).map(|_| stage.client("acme")).collect();
    for client in &mut after {
        assert_eq!(client.query("BEGIN"), "C(BEGIN) Z(T)", "all three places are free");
    }
    drop(after);
    stage.is_well();
}
