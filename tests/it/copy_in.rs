//! COPY FROM STDIN of tenants, beside plain COPY into a table of the same name without row security: the same rows, or the
//! same error at the same line.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::kit::{self, Config, Login, Proxy, Reply, Wire, say};
use crate::tenants;

/// A database whose tenants share `public.t`; `plain.t` is the same without row security.
struct Stage {
    database: String,
    proxy: Proxy,
    direct: Login,
    /// Beside each other: without row security, and as a tenant.
    clients: RefCell<Option<(Wire, Wire)>>,
}

impl Stage {
    /// `columns`: of both tables, beside the tenant column.
    fn new(columns: &str) -> Self {
        let (app, database) = (kit::role(), kit::unique("copies"));
        kit::sql("postgres", &format!("create database {database}"));
        let setting = "current_setting('app.tenant_id')::bigint";
        kit::sql(
            &database,
            &format!(
                "create schema plain; grant usage on schema plain to {role};
                 create table plain.t (tenant_id bigint not null default 1, {columns});
                 create table public.t (tenant_id bigint not null default {setting}, {columns});
                 alter table public.t enable row level security;
                 create policy own on public.t using (tenant_id = (select {setting}));
                 grant all on public.t, plain.t to {role};
                 grant usage on all sequences in schema public, plain to {role};",
                role = app.name,
            ),
        );
        let mut config = Config::for_cluster(kit::cluster())
            .database(&database)
            .set("tenants.acme.database", database.as_str())
            .set("tenants.acme.key", "1")
            .set("tenants.globex.database", database.as_str())
            .set("tenants.globex.key", "2");
        for (key, value) in [
            ("isolation", "row"),
            ("context", "setting"),
            ("setting", "app.tenant_id"),
            ("server_user", &app.name),
            ("server_password", &app.password),
        ] {
            config = config.set(&format!("databases.{database}.tenancy.{key}"), value);
        }
        // The table beside is without row security, as it must be to be copied into.
        config = config.set(&format!("databases.{database}.tenancy.danger_open_wall"), true);
        for user in ["acme", "globex"] {
            config = config
                .user(user, "secret")
                .set(&format!("users.{user}.tenant"), user)
                .set(&format!("users.{user}.role"), "writer");
        }
        let direct = Login::new(kit::cluster().address(), &app.name, &app.password, &database);
        let direct = direct.parameter("search_path", "plain");
        Self { proxy: Proxy::start(config), direct, database, clients: RefCell::default() }
    }

    fn login(&self, user: &str) -> Login {
        self.proxy.login(user, "secret", &self.database)
    }

    fn rows(&self, table: &str) -> String {
        kit::sql(&self.database, &format!("select r.* from {table} r order by r::text"))
    }

    /// Copies into both tables; what the clients saw, and the rows, must be the same. Returns the former.
    #[track_caller]
    fn check(&self, statement: &str, data: &[u8]) -> String {
        let mut clients = self.clients.borrow_mut();
        let (plain, ours) = clients.get_or_insert_with(|| (self.direct.connect(), self.login("acme").connect()));
        let expected = emptied_and_copied(plain, statement, data, 1000);
        let seen = emptied_and_copied(ours, statement, data, 17);
        assert_eq!(seen, expected, "{statement}\n{}", String::from_utf8_lossy(data));
        seen.0
    }
}

/// What the client sees of a COPY, and the rows that are there after it.
fn emptied_and_copied(
    wire: &mut Wire,
    statement: &str,
    data: &[u8],
    piece: usize,
) -> (String, Vec<Vec<Option<String>>>) {
    wire.query("DELETE FROM t").ok();
    let seen = summary(&copy(wire, statement, data, piece));
    (seen, wire.query("SELECT r::text FROM t r ORDER BY 1").ok().rows())
}

/// Everything in one write, data in pieces.
fn copy(wire: &mut Wire, statement: &str, data: &[u8], piece: usize) -> Reply {
    let mut messages = vec![say::query(statement)];
    messages.extend(data.chunks(piece).map(say::copy_data));
    messages.push(say::copy_done());
    wire.send_batch(&messages);
    wire.reply()
}

/// Tags, the command's own tag, and the error with its line.
fn summary(reply: &Reply) -> String {
    let mut out = reply.tags();
    for command in reply.commands() {
        let _ = write!(out, " {command}");
    }
    for error in reply.errors() {
        let context = error.fields.get(&'W').map_or("", String::as_str);
        // The column and the value are not known of errors of every kind.
        let line = context.split([',', ':']).take(2).collect::<Vec<_>>().join(",");
        let _ = write!(out, " {} {} [{line}]", error.sqlstate, error.message);
    }
    let _ = write!(out, " {}", reply.status());
    out
}

#[test]
fn text_csv_and_binary_are_copied_as_without_row_security() {
    let stage = Stage::new("id int, name text, amount numeric(6,2), tags int[], at timestamptz");
    let wide = "COPY t (id, name, amount, tags, at) FROM STDIN";
    let rows =
        "1\tone\t1.005\t{1,2}\t2026-01-01 00:00:00+00\n2\t\\N\t\\N\t{}\t\\N\n3\ta\\tb\\\\\\nc\t-1\t{{1},{2}}\tepoch\n";
    assert_eq!(stage.check(wide, rows.as_bytes()), "GCZ COPY 3 I");
    assert_eq!(stage.check(wide, b""), "GCZ COPY 0 I");
    assert_eq!(stage.check("COPY t FROM STDIN", b"1\t2\tx\t0\t{}\t\\N\n"), "GCZ COPY 1 I");
    let csv = "COPY t (id, name) FROM STDIN (FORMAT csv, HEADER match)";
    assert_eq!(stage.check(csv, b"id,name\r\n1,\"a \"\"b\"\"\r\nc\"\r\n2,\r\n"), "GCZ COPY 2 I");
    let mut plain = stage.direct.connect();
    plain.query("INSERT INTO plain.t (id, name, tags) VALUES (1, 'x', '{1,2}'), (2, NULL, NULL)").ok();
    for columns in ["id, name, amount, at", "id, tags"] {
        let binary = plain.query(&format!("COPY plain.t ({columns}) TO STDOUT (FORMAT binary)"));
        let data: Vec<u8> = binary.0.iter().filter(|m| m.tag == b'd').flat_map(|m| m.body.clone()).collect();
        let statement = format!("COPY t ({columns}) FROM STDIN (FORMAT binary)");
        assert!(stage.check(&statement, &data).starts_with("GCZ COPY"));
        let cut = &data[..data.len() - 7];
        assert!(stage.check(&statement, cut).contains("22P04"));
    }
}

#[test]
fn errors_are_postgresqls_with_the_line() {
    let stage = Stage::new(
        "id int check (id < 1000), name varchar(5) not null default 'x', amount numeric(4,1), kind \"char\", total int generated always as (id * 2) stored",
    );
    let all = "COPY t (id, name, amount) FROM STDIN";
    for (statement, data) in [
        (all, "1\ta\t1\n2\tb\tx\n3\tc\t3\n"),
        (all, "1\ta\t1\n2\n"),
        (all, "1\ta\t1\t4\n"),
        (all, "1\ta\t1\n2\ttoo long\t1\n"),
        (all, "1\ta\t1\n2\t\\N\t1\n"),
        (all, "1\ta\t1\n\n"),
        (all, "1\ta\t12345\n"),
        (all, "1\ta\t1\r\n2\tb\t1\n"),
        (all, "1\ta\t1\n1000\tb\t1\n2\tc\t1\n"),
        (all, "1\t\\xff\t1\n"),
        (all, "1\ta\t1\n\\.x\n"),
        ("COPY t (id) FROM STDIN CSV", "1\n\"2\n"),
        ("COPY t (id, nothing) FROM STDIN", ""),
        ("COPY t (id, id) FROM STDIN", ""),
        ("COPY t (id, total) FROM STDIN", ""),
        ("COPY nothing FROM STDIN", "1\n"),
        ("COPY t (id) FROM STDIN (FORMAT csv, FORCE_NULL (name))", ""),
        ("COPY t (id) FROM STDIN (FORMAT xml)", ""),
        ("COPY t (id) FROM STDIN (FORMAT binary, HEADER)", ""),
        ("COPY t (id) FROM STDIN (DELIMITER 'a')", ""),
        ("COPY t (id, name) FROM STDIN (HEADER match)", "id\tnom\n"),
        ("COPY t (id, name) FROM STDIN (HEADER match)", "id\n"),
        ("COPY t (kind) FROM STDIN", "ab\n\\101\n"),
    ] {
        stage.check(statement, data.as_bytes());
    }
    kit::sql(&stage.database, "truncate t");
    let context = |reply: Reply| reply.errors()[0].fields[&'W'].clone();
    let mut wire = stage.login("acme").connect();
    let many: String = (1..900).map(|id| format!("{id}\ta\t1\n")).collect();
    let late = copy(&mut wire, all, format!("{many}900\tb\tx\n").as_bytes(), 1000);
    assert_eq!(context(late), "COPY t, line 900, column amount: \"x\"");
    let late = copy(&mut wire, all, format!("{many}1000\tb\t1\n").as_bytes(), 1000);
    assert_eq!(context(late), "COPY t, line 900");
    assert_eq!(wire.query("SELECT count(*) FROM t").value(), "0");
}

#[test]
fn random_data_gives_the_same_rows_or_the_same_error() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stage = Stage::new("a int, b text, c numeric(6,2), d date, e varchar(4), f text[], g bool");
    let columns = ["a", "b", "c", "d", "e", "f", "g"];
    let values =
        ["1", "-7", "x", "", "\\N", "12.345", "2026-02-03", "{a,NULL}", "t", "é", "\\t", "\"q\"", "\\x41", "ab  "];
    let good = ["1", "b", "2.5", "2026-02-03", "e", "{f}", "t"];
    for _ in 0..1500 {
        let width = random.random_range(1..=columns.len());
        let (csv, delimiter) =
            *[("", "\t"), (" CSV", ","), (" CSV NULL 'x' ESCAPE '\\'", ","), (" DELIMITER ','", ",")]
                .choose(&mut random)
                .expect("not empty");
        let mut data = String::new();
        for _ in 0..random.random_range(0..6) {
            let mut field = |index: usize| {
                let wild = random.random_bool(0.05);
                if wild { *values.choose(&mut random).expect("not empty") } else { good[index] }
            };
            data.push_str(&(0..width).map(&mut field).collect::<Vec<_>>().join(delimiter));
            data.push('\n');
        }
        let mut data = data.into_bytes();
        // Some of the bytes together, where what one means depends on what can be read behind it.
        if random.random_bool(0.4) && !data.is_empty() {
            let at = random.random_range(0..data.len());
            let end = data.len().min(at + random.random_range(1..=4));
            data[at..end].fill_with(|| *b"\n\r\\.,\t\"'\x80\xc3\0N1a".choose(&mut random).expect("not empty"));
        }
        stage.check(&format!("COPY t ({}) FROM STDIN{csv}", columns[..width].join(", ")), &data);
    }
}

#[test]
fn rows_of_another_tenant_are_refused_and_nothing_stays() {
    let stage = Stage::new("id int");
    let mut acme = stage.login("acme").connect();
    for foreign in ["1\t1\n2\t2\n", "2\t1\n", "\\N\t1\n", "+2\t1\n", " 02\t1\n"] {
        let reply = copy(&mut acme, "COPY t (tenant_id, id) FROM STDIN", foreign.as_bytes(), 100);
        assert_eq!(reply.sqlstate().as_deref(), Some("42501"), "{foreign:?}");
        assert_eq!(reply.status(), 'I');
    }
    assert_eq!(stage.rows("public.t"), "");
    copy(&mut acme, "COPY t FROM STDIN", b"1\t10\n", 100).ok();
    copy(&mut stage.login("globex").connect(), "COPY t (id) FROM STDIN", b"20\n", 100).ok();
    assert_eq!(stage.rows("public.t"), "1|10\n2|20");
    // The proxy alone: no policy, no default.
    kit::sql(
        &stage.database,
        "alter table public.t disable row level security; alter table t alter tenant_id drop default",
    );
    let reply = copy(&mut acme, "COPY t FROM STDIN", b"2\t11\n", 100);
    assert_eq!(reply.sqlstate().as_deref(), Some("42501"));
    let foreign = [&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x08\0\0\0\0\0\0\0\x02\xff\xff"[..]].concat();
    let reply = copy(&mut acme, "COPY t (tenant_id) FROM STDIN BINARY", &foreign, 100);
    assert_eq!(reply.sqlstate().as_deref(), Some("42501"));
    copy(&mut acme, "COPY t (id) FROM STDIN", b"12\n", 100).ok();
    assert_eq!(stage.rows("public.t"), "1|10\n1|12\n2|20");
}

#[test]
fn a_database_that_was_protected_takes_copies_under_either_context() {
    for context in tenants::Context::BOTH {
        let stage = tenants::Stage::new(context);
        let client = |user: &str| Login::new(stage.address(), user, "", &stage.database.name).connect();
        let (mut acme, mut globex) = (client("acme"), client("globex"));
        for round in 0..3 {
            let data = format!("{}\tcopied\n{}\t\\N\n", 100 + round, 200 + round);
            for wire in [&mut acme, &mut globex] {
                let reply = copy(wire, "COPY invoices (id, note) FROM STDIN", data.as_bytes(), 5);
                assert_eq!(summary(&reply), "GCZ COPY 2 I");
            }
            let reply = copy(&mut acme, "COPY invoices FROM STDIN", b"2\t999\tof acme\n", 100);
            assert_eq!(reply.sqlstate().as_deref(), Some("42501"));
            let twice = copy(&mut globex, "COPY invoices (id) FROM STDIN", b"300\n301\n300\n", 100);
            assert_eq!(twice.sqlstate().as_deref(), Some("23505"));
            assert_eq!(twice.errors()[0].fields[&'W'], "COPY invoices, line 3");
        }
        assert_eq!(acme.query("SELECT count(*) FROM invoices").value(), "9", "{context:?}");
        assert_eq!(globex.query("SELECT count(*) FROM invoices").value(), "11", "{context:?}");
    }
}

#[test]
fn a_copy_is_all_or_nothing_and_part_of_its_block() {
    let stage = Stage::new("id int");
    let mut acme = stage.login("acme").connect();
    let into = "COPY t (id) FROM STDIN";
    let many: String = (0..20_000).map(|id| format!("{id}\n")).collect();
    assert_eq!(summary(&copy(&mut acme, into, format!("{many}x\n").as_bytes(), 8000)).chars().last(), Some('I'));
    assert_eq!(stage.rows("public.t"), "");
    // In a block: other statements before and after, an error aborts it, a savepoint brings it back.
    acme.query("BEGIN; INSERT INTO t (id) VALUES (1); SAVEPOINT s").ok();
    assert_eq!(summary(&copy(&mut acme, into, b"2\n3\n", 100)), "GCZ COPY 2 T");
    let failed = copy(&mut acme, into, b"4\nx\n", 100);
    assert_eq!((failed.sqlstate().as_deref(), failed.status()), (Some("22P02"), 'E'));
    assert_eq!(copy(&mut acme, into, b"4\n", 100).sqlstate().as_deref(), Some("25P02"));
    acme.query("ROLLBACK TO s").ok();
    let malformed = copy(&mut acme, into, b"4\t5\n", 100);
    assert_eq!((malformed.sqlstate().as_deref(), malformed.status()), (Some("22P04"), 'E'));
    acme.query("ROLLBACK TO s").ok();
    copy(&mut acme, into, b"5\n", 100).ok();
    assert_eq!(acme.query("COMMIT").status(), 'I');
    assert_eq!(stage.rows("public.t"), "1|1\n1|5");
    // The client gives up; together with other statements it is refused.
    acme.send_batch(&[say::query(into), say::copy_data(b"6\n"), say::copy_fail("enough")]);
    let given_up = acme.reply();
    assert_eq!(given_up.errors()[0].message, "COPY from stdin failed: enough");
    assert_eq!((given_up.sqlstate().as_deref(), given_up.status()), (Some("57014"), 'I'));
    let together = acme.query("INSERT INTO t (id) VALUES (7); COPY t (id) FROM STDIN");
    assert_eq!(together.sqlstate().as_deref(), Some("0A000"));
    assert_eq!(acme.query("SELECT count(*) FROM t").value(), "2");
}

#[test]
fn the_extended_protocol_copies_when_the_copy_is_alone_in_its_batch() {
    let stage = Stage::new("id int");
    let mut acme = stage.login("acme").connect();
    let run = || [say::parse("", "COPY t (id) FROM STDIN", &[]), say::bind("", "", &[]), say::execute("", 0)];
    let data = || [say::copy_data(b"1\n2\n"), say::copy_done(), say::sync()];
    acme.send_batch(&[run().as_slice(), &data()].concat());
    assert_eq!(summary(&acme.reply()), "12GCZ COPY 2 I");
    // The Sync that some drivers send before the data.
    acme.send_batch(&[run().as_slice(), &[say::sync()], &data()].concat());
    assert_eq!(summary(&acme.reply()), "12GCZ COPY 2 I");
    assert!(acme.silent_for(Duration::from_millis(100)));
    // What follows in the batch would have to be one transaction with it.
    let after = [say::copy_data(b"3\n"), say::copy_done(), say::parse("", "SELECT 1", &[]), say::sync()];
    acme.send_batch(&[run().as_slice(), &after].concat());
    let refused = acme.reply();
    assert_eq!((refused.sqlstate().as_deref(), refused.status()), (Some("0A000"), 'I'));
    let before = [say::parse("", "INSERT INTO t (id) VALUES (9)", &[]), say::bind("", "", &[]), say::execute("", 0)];
    acme.send_batch(&[before.as_slice(), &run(), &data()].concat());
    assert_eq!(acme.reply().sqlstate().as_deref(), Some("0A000"));
    // Bad data: everything up to the Sync behind it is skipped.
    let bad = [say::copy_data(b"x\n"), say::copy_done(), say::sync()];
    acme.send_batch(&[run().as_slice(), &bad].concat());
    assert_eq!(summary(&acme.reply()), "12GEZ 22P02 invalid input syntax for type integer: \"x\" [COPY t, line 1] I");
    acme.query("BEGIN").ok();
    acme.send_batch(&[before.as_slice(), &run(), &data()].concat());
    assert_eq!(summary(&acme.reply()), "12C12GCZ INSERT 0 1 COPY 2 T");
    acme.query("COMMIT").ok();
    assert_eq!(acme.query("SELECT count(*) FROM t").value(), "7");
}

/// asyncpg asks for the columns' types so, and sends its Sync later.
#[test]
fn a_query_copies_behind_statements_that_were_only_prepared() {
    let stage = Stage::new("id int");
    let mut acme = stage.login("acme").connect();
    let data = [say::copy_data(b"1\n2\n"), say::copy_done()];
    let copy = |before: &[Vec<u8>]| [before, &[say::query("COPY t (id) FROM STDIN")], &data].concat();
    let prepare = |name: &str, sql: &str| [say::parse(name, sql, &[]), say::describe_statement(name)];
    acme.send_batch(&[prepare("a", "SELECT id FROM t").as_slice(), &[say::flush()]].concat());
    assert_eq!([(); 3].map(|()| acme.read_due().tag), *b"1tT");
    acme.send_batch(&copy(&[]));
    assert_eq!(summary(&acme.reply()), "GCZ COPY 2 I");
    acme.send_batch(&copy(&prepare("b", "SELECT 1")));
    assert_eq!(summary(&acme.reply()), "1tTGCZ COPY 2 I");
    // In a block, and behind something that failed or ran.
    acme.query("BEGIN").ok();
    acme.send_batch(&copy(&prepare("c", "SELECT 2")));
    assert_eq!(summary(&acme.reply()), "1tTGCZ COPY 2 T");
    acme.query("ROLLBACK").ok();
    let ran = [say::bind("", "a", &[]), say::execute("", 0)];
    acme.send_batch(&[say::query("BEGIN"), say::parse("", "COMMIT", &[]), say::bind("", "", &[]), say::execute("", 0)]);
    acme.reply().ok();
    acme.send_batch(&copy(&[]));
    assert_eq!(acme.reply().sqlstate().as_deref(), Some("0A000"));
    acme.send_batch(&copy(&ran));
    assert_eq!(acme.reply().sqlstate().as_deref(), Some("0A000"));
    acme.send_batch(&copy(&[say::parse("", "SELECT nonsense", &[])]));
    acme.send_batch(&[say::sync()]);
    assert_eq!(summary(&acme.reply()), "EZ 42703 column \"nonsense\" does not exist [] I");
    assert_eq!(acme.query("SELECT count(*) FROM t").value(), "4");
}

#[test]
fn a_batch_that_ends_its_block_cannot_pass_a_copy_to_the_server() {
    let stage = Stage::new("id int");
    // The server would take it: only the proxy looks at the rows.
    kit::sql(&stage.database, "alter table public.t disable row level security");
    let run = |sql: &str| [say::parse("", sql, &[]), say::bind("", "", &[]), say::execute("", 0)];
    let data = [say::copy_data(b"2\t66\n"), say::copy_done(), say::sync()];
    for (before, first) in [
        ("BEGIN; SELECT 1/0", "ROLLBACK"),
        ("BEGIN; SAVEPOINT s; SELECT 1/0", "ROLLBACK TO s"),
        ("BEGIN", "COMMIT"),
        ("BEGIN", "ROLLBACK AND CHAIN"),
        ("SELECT 1", "BEGIN"),
        ("SELECT 1", "SELECT 1"),
    ] {
        for flushed in [false, true] {
            let mut acme = stage.login("acme").connect();
            let _ = acme.query(before);
            let first = run(first);
            let flush = [say::flush()];
            let batch =
                [first.as_slice(), if flushed { &flush } else { &[] }, &run("COPY t FROM STDIN"), &data].concat();
            acme.send_batch(&batch);
            let said = acme.reply();
            assert!(matches!(said.sqlstate().as_deref(), Some("42501" | "0A000")), "{before}: {said:?}");
            let _ = acme.query("ROLLBACK");
            assert_eq!(acme.query("SELECT 1").value(), "1");
        }
    }
    // A block that the batch has ended: what is copied behind it is a transaction of its own.
    let mut acme = stage.login("acme").connect();
    for (rows, want) in [(&b"1\nx\n"[..], "0"), (b"1\n2\n", "2")] {
        acme.query("BEGIN").ok();
        let data = [say::copy_data(rows), say::copy_done(), say::sync()];
        acme.send_batch(&[run("COMMIT").as_slice(), &run("COPY t (id) FROM STDIN"), &data].concat());
        assert_eq!(acme.reply().status(), 'I');
        assert_eq!(acme.query("SELECT count(*) FROM t").value(), want);
    }
    assert_eq!(stage.rows("public.t"), "1|1\n1|2");
}

#[test]
fn a_cancel_and_a_client_that_leaves_end_a_copy_without_a_trace() {
    let stage = Stage::new("id int");
    let into = "COPY t (id) FROM STDIN";
    let mut acme = stage.login("acme").connect();
    let key = acme.key.clone().expect("a key");
    acme.send_batch(&[say::query(into), say::copy_data(b"1\n")]);
    assert_eq!(acme.read_due().tag, b'G');
    stage.login("acme").cancel(&key);
    let cancelled = acme.reply();
    assert_eq!((cancelled.sqlstate().as_deref(), cancelled.status()), (Some("57014"), 'I'));
    acme.send_batch(&[say::copy_data(b"2\n"), say::copy_done()]);
    copy(&mut acme, into, b"3\n", 100).ok();
    // A batch that waits for a lock.
    kit::sql(&stage.database, "create unique index on t (id)");
    let mut holder = stage.login("acme").connect();
    holder.query("BEGIN; INSERT INTO t (id) VALUES (4)").ok();
    acme.send_batch(&[say::query(into), say::copy_data(b"4\n"), say::copy_done()]);
    assert_eq!(acme.read_due().tag, b'G');
    thread::sleep(Duration::from_millis(200));
    stage.login("acme").cancel(&key);
    assert_eq!(acme.reply().sqlstate().as_deref(), Some("57014"));
    holder.query("ROLLBACK").ok();
    // A client that leaves midway.
    for farewell in [say::terminate(), Vec::new()] {
        let mut leaver = stage.login("acme").connect();
        let many: String = (100..20_000).map(|id| format!("{id}\n")).collect();
        leaver.send_batch(&[say::query(into), say::copy_data(many.as_bytes()), farewell]);
        assert_eq!(leaver.read_due().tag, b'G');
        drop(leaver);
    }
    let busy = "select count(*) from pg_stat_activity where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid()";
    kit::eventually("nothing is left of them", || kit::sql(&stage.database, busy) == "0");
    assert_eq!(acme.query("SELECT string_agg(id::text, ' ') FROM t").value(), "3");
}

#[test]
fn a_long_stream_and_long_rows_take_bounded_memory() {
    let stage = Stage::new("id int, name text");
    let mut acme = stage.login("acme").connect();
    copy(&mut acme, "COPY t (id, name) FROM STDIN", b"1\tx\n", 100).ok();
    let before = stage.proxy.rss_kib();
    acme.send(&say::query("COPY t (id, name) FROM STDIN"));
    let piece: String = (0..4000).map(|id| format!("{id}\t{}\n", "y".repeat(60))).collect();
    for _ in 0..200 {
        acme.send(&say::copy_data(piece.as_bytes()));
    }
    acme.send(&say::copy_done());
    assert_eq!(summary(&acme.reply()), "GCZ COPY 800000 I");
    let grown = stage.proxy.rss_kib().saturating_sub(before);
    assert!(grown < 24 << 10, "grew by {grown} KiB over {} MiB of data", (200 * piece.len()) >> 20);
    let long = format!("1\t{}\n", "z".repeat(3 << 20));
    copy(&mut acme, "COPY t (id, name) FROM STDIN", long.as_bytes(), 1 << 16).ok();
    assert_eq!(acme.query("SELECT max(length(name)) FROM t").value(), (3 << 20).to_string());
}

#[test]
fn psql_copies_from_a_file_and_triggers_and_defaults_work() {
    let stage = Stage::new("id serial, name text, at timestamptz default now()");
    kit::sql(
        &stage.database,
        "create function shout() returns trigger language plpgsql as $$
           begin if new.name = 'skip' then return null; end if;
           if new.name = 'fail' then raise exception 'no' using detail = 'secret'; end if;
           new.name := upper(new.name); raise notice 'one'; return new; end $$;
         create trigger shout before insert on t for each row execute function shout()",
    );
    let file = stage.proxy.directory().join("data.csv");
    std::fs::write(&file, "name\nab\nskip\n\"c,d\"\n").expect("written");
    let address = stage.proxy.address();
    let mut psql = Command::new("psql")
        .env("PGPASSWORD", "secret")
        .args(["-X", "-q", "-h", &address.ip().to_string(), "-p", &address.port().to_string()])
        .args(["-U", "acme", "-d", &stage.database, "-v", "ON_ERROR_STOP=1"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("psql");
    let script =
        format!("\\copy t (name) from '{}' csv header\nCOPY t (name) FROM STDIN;\nlast\n\\.\n", file.display());
    psql.stdin.take().expect("piped").write_all(script.as_bytes()).expect("written");
    assert!(psql.wait().expect("it ends").success());
    let rows = kit::sql(&stage.database, "select tenant_id, id, name, at is null from t order by id");
    assert_eq!(rows.lines().map(|row| row.rsplit_once('|').expect("four").1).collect::<String>(), "fff");
    assert!(rows.contains("|AB|") && rows.contains("|C,D|") && rows.contains("|LAST|"), "{rows}");
    let mut acme = stage.login("acme").connect();
    let reply = copy(&mut acme, "COPY t (name) FROM STDIN", b"a\nskip\nfail\n", 100);
    let error = &reply.errors()[0];
    assert_eq!(error.message, "no");
    assert!(error.fields[&'W'].ends_with("\nCOPY t, line 3"), "{error:?}");
    assert!(!error.fields.contains_key(&'P'));
    let counted = copy(&mut acme, "COPY t (name) FROM STDIN", b"a\nskip\n", 100).ok();
    assert_eq!((counted.commands().join(""), counted.notices().len()), ("COPY 1".to_owned(), 1));
}

#[test]
fn what_comes_behind_the_end_of_the_data_is_ignored_but_not_a_failure() {
    let stage = Stage::new("id int");
    let rest = b"1\n\\.\nnot a number\n";
    assert_eq!(stage.check("COPY t (id) FROM STDIN", rest), "GCZ COPY 1 I");
    for user in ["plain", "acme"] {
        let login = if user == "plain" { stage.direct.clone() } else { stage.login(user) };
        let mut wire = login.connect();
        wire.query("DELETE FROM t").ok();
        let run = [say::parse("", "COPY t (id) FROM STDIN", &[]), say::bind("", "", &[]), say::execute("", 0)];
        for start in [&[say::query("COPY t (id) FROM STDIN")][..], run.as_slice()] {
            let end = [say::copy_data(rest), say::copy_fail("no"), say::sync()];
            wire.send_batch(&[start, &end].concat());
            let failed = wire.reply();
            assert_eq!((failed.sqlstate().as_deref(), failed.status()), (Some("57014"), 'I'), "{user}");
            if start.len() == 1 {
                // The Sync's own.
                assert_eq!(wire.reply().status(), 'I');
            }
        }
        assert_eq!(wire.query("SELECT count(*) FROM t").value(), "0");
    }
}

#[test]
fn partitions_keys_and_domains_are_the_servers_to_judge() {
    let stage = Stage::new("id int");
    let setting = "current_setting('app.tenant_id')::bigint";
    let role = kit::sql(
        &stage.database,
        "select grantee from information_schema.role_table_grants where table_name = 't' and grantee <> 'postgres' limit 1",
    );
    for schema in ["plain", "public"] {
        let tenant = if schema == "plain" { "1" } else { setting };
        kit::sql(
            &stage.database,
            &format!(
                "create domain {schema}.small as int check (value < 10);
                 drop table {schema}.t;
                 create table {schema}.kind (id int primary key); insert into {schema}.kind values (1), (2);
                 create table {schema}.t (tenant_id bigint not null default {tenant},
                   id int generated always as identity, at int, size {schema}.small, sizes {schema}.small[],
                   kind int references {schema}.kind, twice int generated always as (at * 2) stored,
                   unique (tenant_id, at)) partition by range (at);
                 create table {schema}.t0 partition of {schema}.t for values from (0) to (10);
                 create table {schema}.t1 partition of {schema}.t for values from (10) to (20);
                 grant all on {schema}.t to {role}"
            ),
        );
    }
    kit::sql(
        &stage.database,
        &format!(
            "alter table public.t enable row level security;
             create policy own on public.t using (tenant_id = (select {setting}))"
        ),
    );
    let some = "COPY t (at, size, sizes, kind) FROM STDIN";
    assert_eq!(stage.check(some, b"1\t1\t{1,2}\t1\n12\t\\N\t\\N\t2\n"), "GCZ COPY 2 I");
    assert_eq!(stage.check("COPY t (id, at) FROM STDIN", b"70\t1\n71\t15\n"), "GCZ COPY 2 I");
    for wrong in ["1\t1\t{1}\t1\n30\t1\t{1}\t1\n", "1\t10\t{}\t1\n", "1\t1\t{1,10}\t1\n", "1\t1\t{1\t1\n"] {
        let seen = stage.check(some, wrong.as_bytes());
        assert!(seen.starts_with("GEZ") && seen.contains("COPY t, line "), "{seen}");
    }
    // PostgreSQL checks foreign keys behind all rows, and says no line; here it is known.
    let mut acme = stage.login("acme").connect();
    acme.query("DELETE FROM t").ok();
    let missing = copy(&mut acme, some, b"1\t1\t{1}\t1\n2\t1\t{1}\t3\n", 100);
    assert_eq!(missing.sqlstate().as_deref(), Some("23503"));
    assert_eq!(missing.errors()[0].fields[&'W'], "COPY t, line 2");
    assert_eq!(acme.query("SELECT count(*) FROM t").value(), "0");
}

#[test]
fn psycopg_copies_as_a_tenant() {
    let interpreter = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    assert!(interpreter.exists(), "no Python drivers: run scripts/setup clients");
    let stage = Stage::new("id int, name text, at timestamptz");
    let script = "
import psycopg, datetime
with psycopg.connect() as conn:
    with conn.cursor() as cur:
        with cur.copy('COPY t (id, name, at) FROM STDIN') as copy:
            for n in range(5000):
                copy.write_row((n, f'name\\t{n}', datetime.datetime(2026, 1, 1)))
        print(cur.rowcount)
        with cur.copy('COPY t (id, name) FROM STDIN (FORMAT binary)') as copy:
            copy.set_types(['int4', 'text'])
            for n in range(5000):
                copy.write_row((n, None if n % 7 == 0 else f'name {n}'))
        print(cur.rowcount)
    conn.commit()
    try:
        with conn.cursor().copy('COPY t (id) FROM STDIN') as copy:
            copy.write('1\\n')
            raise KeyError('enough')
    except KeyError:
        print(conn.info.transaction_status.name)
    conn.rollback()
    print(conn.execute('SELECT count(*), count(name) FROM t').fetchone())
";
    let address = stage.proxy.address();
    let output = Command::new(interpreter)
        .args(["-c", script])
        .env("PGHOST", address.ip().to_string())
        .env("PGPORT", address.port().to_string())
        .env("PGUSER", "acme")
        .env("PGPASSWORD", "secret")
        .env("PGDATABASE", &stage.database)
        .output()
        .expect("python");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "5000\n5000\nINERROR\n(10000, 9285)\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_tenant_that_is_switched_off_loads_no_further() {
    let mut stage = Stage::new("id int");
    let mut acme = stage.login("acme").connect();
    acme.send_batch(&[say::query("COPY t (id) FROM STDIN"), say::copy_data(b"1\n")]);
    assert_eq!(acme.read_due().tag, b'G');
    stage.proxy.rewrite(|config| config.set("tenants.acme.enabled", false));
    stage.proxy.reload();
    let busy = "select count(*) from pg_stat_activity where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid()";
    kit::eventually("nothing of it runs", || kit::sql(&stage.database, busy) == "0");
    assert_eq!(stage.rows("public.t"), "");
    copy(&mut stage.login("globex").connect(), "COPY t (id) FROM STDIN", b"2\n", 100).ok();
    assert_eq!(stage.rows("public.t"), "2|2");
}

/// Not a test of speed, but that it is of the right order: the figures are printed.
#[test]
fn a_third_of_the_rows_of_plain_copy_go_in() {
    let stage = Stage::new("id int, name text, amount numeric");
    let rows = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    let data: String = (0..rows).map(|id| format!("{id}\tname of {id}\t{id}.50\n")).collect();
    let mut took = Vec::new();
    for mut wire in [stage.direct.connect(), stage.login("acme").connect()] {
        let best = (0..3).map(|_| {
            let began = Instant::now();
            copy(&mut wire, "COPY t (id, name, amount) FROM STDIN", data.as_bytes(), 8192).ok();
            began.elapsed()
        });
        took.push(best.min().expect("three"));
    }
    println!("plain {:?}, under row security {:?} for {rows} rows", took[0], took[1]);
    assert!(took[1] < took[0] * 60 + Duration::from_secs(2), "{took:?}");
}
