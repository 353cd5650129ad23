//! A proxy whose shard is a standby: tenants read their rows, and see no difference but that they cannot write.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{KEY_TYPES, KEYLESS, LOCKED, Pair, Side, client, pgwarden};
use crate::guard::stand::said;
use crate::kit::{Proxy, Server, eventually};
use crate::talk::*;

const MAILS: &str = "select string_agg(email, ',' order by id) from invoices";

#[test]
fn tenants_take_turns_and_see_their_own_rows() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        for key_type in KEY_TYPES {
            let proxy = pair.proxy(Side::Standby, key_type);
            let (mut one, mut two) = (client(&proxy, "one"), client(&proxy, "two"));
            for _ in 0..2 {
                assert_eq!(one.value(MAILS), "own,own", "{server:?} {key_type}");
                assert_eq!(two.value(MAILS), "SECRET", "{server:?} {key_type}");
                assert_eq!(one.ask(&[run(MAILS, &[]), sync()]), "1 2 D(own,own) C(SELECT 1) Z(I)");
                assert_eq!(two.ask(&[run(MAILS, &[]), sync()]), "1 2 D(SECRET) C(SELECT 1) Z(I)");
            }
            let refused = one.query("delete from invoices");
            assert_eq!(refused, "E(25006) Z(I)", "{server:?} {key_type}");
            let copy = one.query("copy invoices (id, email) from stdin");
            assert!(copy.starts_with("E(25006)") && copy.ends_with("Z(I)"), "{copy}");
            assert_eq!(one.value(MAILS), "own,own");
        }
    }
}

/// Messages of one write, and how many ReadyForQuery answer them.
type Step = (Vec<Vec<u8>>, usize);

fn queries(texts: &[&str]) -> Vec<Step> {
    texts.iter().map(|text| (vec![query(text)], 1)).collect()
}

/// What clients do when they read.
fn script() -> Vec<Step> {
    let mut steps = queries(&[
        MAILS,
        "select 1",
        "",
        "select 1; select count(*) from invoices; select 2",
        "select count(*) from invoices; select 1/0; select 2",
        "select * from nowhere",
        "select id from invoices where id / 0 = 1",
        "show server_encoding",
        "set work_mem = '5MB'",
        "set work_mem = '6MB'; select current_setting('work_mem'), count(*) from invoices",
        "select set_config('work_mem', '7MB', false), count(*) from invoices",
        "select current_setting('work_mem')",
        "reset all",
        "declare c cursor for select email from invoices",
        "savepoint s",
        "copy (select email from invoices order by id) to stdout",
        "values (1)",
        "prepare p as select count(*) from invoices where id > $1",
        "execute p(0)",
        "execute p(0); execute p(1)",
        "deallocate p",
        // Blocks.
        "begin isolation level repeatable read",
        "select count(*) from invoices",
        "savepoint a",
        "select count(*) from invoices; select 1/0",
        "select count(*) from invoices",
        "rollback to a",
        "select count(*) from invoices",
        "release a",
        "commit and chain",
        "select count(*) from invoices",
        "commit",
        "begin",
        "set transaction isolation level repeatable read, read only",
        "savepoint b",
        "select count(*) from invoices",
        "rollback to b",
        "select count(*) from invoices",
        "declare c cursor for select email from invoices order by id",
        "fetch 1 from c",
        "reset work_mem",
        "fetch 1 from c",
        "close c",
        "rollback and chain",
        "table invoices",
        "select 1/0",
        "table invoices",
        "commit",
        "begin; select 1; commit",
        "discard all",
        MAILS,
    ]);
    let own = "select email from invoices where id >= $1 order by id";
    steps.extend([
        (vec![run(MAILS, &[]), sync()], 1),
        (vec![parse("s", own), describe_statement("s"), sync()], 1),
        (
            vec![
                bind("", "s", &[Some("0")]),
                describe_portal(""),
                execute("", 1),
                execute("", 1),
                execute("", 1),
                sync(),
            ],
            1,
        ),
        (vec![again("s", &[Some("0")]), again("s", &[Some("2")]), sync()], 1),
        (
            vec![
                again("s", &[Some("0")]),
                sync(),
                again("s", &[Some("x")]),
                again("s", &[Some("0")]),
                sync(),
                again("s", &[Some("0")]),
                sync(),
            ],
            3,
        ),
        (vec![parse("", own), describe_statement(""), sync()], 1),
        (vec![bind("", "", &[Some("0")]), execute("", 0), sync()], 1),
        (vec![run("select 1", &[]), run(MAILS, &[]), run("select 2", &[]), sync()], 1),
        (vec![run("select 1/0", &[]), run(MAILS, &[]), sync()], 1),
        // Blocks in the extended protocol, with and without a Sync between.
        (vec![run("begin", &[]), run(MAILS, &[]), run("commit", &[]), run(MAILS, &[]), sync()], 1),
        (vec![run("begin isolation level repeatable read", &[]), sync(), run(MAILS, &[]), sync()], 2),
        (vec![run("savepoint s", &[]), sync()], 1),
        (vec![bind("held", "s", &[Some("0")]), execute("held", 1), sync()], 1),
        (vec![execute("held", 1), sync()], 1),
        (vec![run("rollback to s", &[]), run(MAILS, &[]), sync()], 1),
        (vec![query(MAILS)], 1),
        (vec![run("select 1/0", &[]), sync(), run(MAILS, &[]), sync()], 2),
        (vec![run("rollback", &[]), run(MAILS, &[]), sync()], 1),
        (vec![query("begin"), query(MAILS), query("select 1/0"), query(MAILS), query("rollback"), query(MAILS)], 6),
        (
            vec![run("begin", &[]), sync(), run("select 1/0", &[]), sync(), run("rollback", &[]), sync(), query(MAILS)],
            4,
        ),
        (vec![query("prepare sql as select email from invoices order by id")], 1),
        (vec![again("sql", &[]), sync()], 1),
        (vec![query("deallocate sql")], 1),
        (vec![execute("", 0), sync()], 1),
        (vec![query(MAILS), describe_portal(""), sync()], 2),
        (vec![close_statement("s"), sync()], 1),
    ]);
    steps
}

#[test]
fn a_client_that_reads_sees_no_difference_between_a_standby_and_its_primary() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        let proxies = [Side::Primary, Side::Standby].map(|side| pair.proxy(side, "bigint"));
        let mut talks = proxies.each_ref().map(|proxy| client(proxy, "one"));
        for (number, (messages, readies)) in script().into_iter().enumerate() {
            let [primary, standby] = talks.each_mut().map(|talk| {
                talk.say(&messages);
                talk.until_ready(readies)
            });
            let text = String::from_utf8_lossy(&messages.concat()).replace('\0', "~");
            assert_eq!(standby, primary, "{server:?} step {number}: {text}");
        }
    }
}

/// A client that reads at random, in transactions and between them: the same for a seed.
struct Reader {
    random: StdRng,
    portals: u32,
}

const READS: [&str; 8] = [
    "SELECT count(*) FROM invoices",
    "SELECT email FROM invoices ORDER BY id",
    "SELECT generate_series(1, 2), (SELECT max(email) FROM invoices)",
    "SELECT what FROM lines",
    "COPY (SELECT email FROM invoices ORDER BY id) TO STDOUT",
    "SELECT 1",
    "SET work_mem = '5MB'",
    "SELECT 1 / (id - 2) FROM invoices ORDER BY id",
];
const CONTROLS: [&str; 10] = [
    "BEGIN",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "COMMIT",
    "COMMIT AND CHAIN",
    "ROLLBACK",
    "ROLLBACK AND CHAIN",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "RELEASE s",
    "RESET ALL",
];
const CURSORS: [&str; 3] = ["DECLARE c CURSOR FOR SELECT email FROM invoices ORDER BY id", "FETCH 1 FROM c", "CLOSE c"];

impl Reader {
    fn any(&mut self, texts: &[&'static str]) -> &'static str {
        texts[self.random.random_range(0..texts.len())]
    }

    fn text(&mut self) -> &'static str {
        match self.random.random_range(0..10) {
            0..6 => self.any(&READS),
            6..9 => self.any(&CONTROLS),
            _ => self.any(&CURSORS),
        }
    }

    /// Prepares every text by its own name.
    fn prepare() -> Vec<u8> {
        let texts = READS.iter().chain(&CONTROLS).chain(&CURSORS);
        texts.flat_map(|text| parse(text, text)).chain(sync()).collect()
    }

    /// Messages that are answered by so many ReadyForQuery.
    fn turn(&mut self, script: &mut String) -> (Vec<u8>, usize) {
        let (mut bytes, readies) = (Vec::new(), self.random.random_range(1..4));
        for _ in 0..readies {
            let text = self.text();
            if self.random.random_bool(0.4) {
                let more = if READS.contains(&text) && self.random.random_bool(0.3) { self.any(&READS) } else { "" };
                script.push_str(&format!(" Q({text}; {more})"));
                bytes.extend(query(&if more.is_empty() { text.to_owned() } else { format!("{text}; {more}") }));
                continue;
            }
            for _ in 0..self.random.random_range(1..5) {
                // Behind what is sent ahead of it, PostgreSQL 18 declares a cursor that ends with the batch; alone it refuses.
                let text = Some(self.text()).filter(|text| !text.starts_with("DECLARE")).unwrap_or("SELECT 1");
                let (what, message) = match self.random.random_range(0..10) {
                    0..5 => ("PBE", run(text, &[])),
                    5..8 => ("BE", again(text, &[])),
                    8 => {
                        self.portals += 1;
                        let portal = self.portals.to_string();
                        ("portal", [bind(&portal, READS[1], &[]), execute(&portal, 1)].concat())
                    }
                    _ => ("portal again", execute(&self.portals.to_string(), 1)),
                };
                script.push_str(&format!(" {what}({text})"));
                bytes.extend(message);
            }
            script.push_str(" S");
            bytes.extend(sync());
        }
        (bytes, readies)
    }
}

/// Word for word the same on both sides, while another tenant uses the standby's backend between.
#[test]
fn random_conversations_of_a_reader_read_as_they_do_on_the_primary() {
    for (server, seeds) in Server::BOTH.into_iter().zip([0..60, 60..120]) {
        let pair = Pair::of(server);
        let [primary, standby] = [Side::Primary, Side::Standby].map(|side| pair.proxy(side, "bigint"));
        let mut two = client(&standby, "two");
        for seed in seeds {
            let mut reader = Reader { random: StdRng::seed_from_u64(seed), portals: 0 };
            let (mut there, mut here) = (client(&primary, "one"), client(&standby, "one"));
            let mut script = format!("{server:?} seed {seed}:");
            let mut turn = (Reader::prepare(), 1);
            for _ in 0..12 {
                let [want, got] = [&mut there, &mut here].map(|talk| {
                    talk.send(&turn.0);
                    talk.until_ready(turn.1)
                });
                assert!(got == want, "{script}\n  got {got}\n want {want}\nerror: {:?}", here.error);
                script.push_str("\n ");
                if got.ends_with("Z(I)") {
                    assert_eq!(two.value(MAILS), "SECRET", "{script}");
                }
                turn = reader.turn(&mut script);
            }
        }
    }
}

#[test]
fn what_would_leave_the_context_is_refused() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        let proxy = pair.proxy(Side::Standby, "bigint");
        let mut one = client(&proxy, "one");
        for text in [
            format!("begin; {MAILS}; commit"),
            format!("commit; {MAILS}"),
            format!("{MAILS}; commit and chain; {MAILS}"),
            format!("rollback; begin; {MAILS}"),
            format!("savepoint s; {MAILS}"),
        ] {
            assert_eq!(one.query(&text), "E(0A000) Z(I)", "{server:?} {text}");
        }
        assert_eq!(one.ask(&[run(MAILS, &[]), query(MAILS)]), "1 2 D(own,own) C(SELECT 1) E(0A000) Z(I)");
        assert_eq!(one.value(MAILS), "own,own");
    }
}

#[test]
fn nothing_runs_where_the_context_cannot_be_entered() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        let proxy = pair.proxy(Side::Standby, KEYLESS);
        let mut one = client(&proxy, "one");
        assert_eq!(one.value(MAILS), "own,own");
        let keys = pair.primary.psql(KEYLESS, "select ipad, opad from pgwarden.keys").expect("read the key");
        pair.primary.psql(KEYLESS, "delete from pgwarden.keys").expect("take the key away");
        pair.standby.catch_up(&pair.primary).expect("follow");
        let pid = one.value("select 1");
        assert_eq!(pid, "1", "what needs no context runs");
        for (messages, readies, expect) in [
            (vec![query(MAILS)], 1, "E(28000) Z(I)"),
            (vec![run(MAILS, &[]), sync()], 1, "E(28000) Z(I)"),
            (
                vec![run("select 1", &[]), run(MAILS, &[]), run("select 2", &[]), sync()],
                1,
                "1 2 D(1) C(SELECT 1) E(28000) Z(I)",
            ),
            (vec![query("select email from invoices; select 'ran'")], 1, "E(28000) Z(I)"),
            (vec![run(MAILS, &[]), sync(), run("select 'next'", &[]), sync()], 2, "E(28000) Z(I) E(28000) Z(I)"),
        ] {
            one.say(&messages);
            assert_eq!(one.until_ready(readies), expect, "{server:?}");
        }
        assert_eq!(one.query("begin"), "C(BEGIN) Z(T)");
        one.say(&[query(MAILS)]);
        assert!(one.until_closed().starts_with("E(28000)"), "a block whose backend is closed is over");
        eventually("each failed enter has closed its backend", || proxy.log().matches("backend lost").count() == 6);
        let (inner, outer) = keys.split_once('|').expect("two values");
        let back = format!("insert into pgwarden.keys values (1, '{inner}', '{outer}')");
        pair.primary.psql(KEYLESS, &back).expect("give the key back");
        pair.standby.catch_up(&pair.primary).expect("follow");
        assert_eq!(client(&proxy, "one").value(MAILS), "own,own");
    }
}

/// A lock on the primary that the standby replays makes `enter_transaction` wait for its keys.
#[test]
fn a_client_that_is_stopped_before_it_has_entered_runs_nothing() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        let proxy = pair.proxy(Side::Standby, LOCKED);
        let mut one = client(&proxy, "one");
        assert_eq!(one.value(MAILS), "own,own");
        let mut holder = pair.superuser(Side::Primary, LOCKED);
        holder.ask("begin; lock table pgwarden.keys in access exclusive mode");
        // Nothing flushes a lock's record by itself: it would go to the standby with the server's next snapshot.
        pair.primary.psql(LOCKED, "select pg_switch_wal()").expect("flush");
        let mut watch = pair.superuser(Side::Standby, LOCKED);
        eventually("the lock is replayed", || {
            watch.ask("select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted") != "0"
        });
        one.query("set statement_timeout = '100ms'");
        for messages in
            [vec![query(MAILS)], vec![run(MAILS, &[]), sync()], vec![query("select 'ran', email from invoices")]]
        {
            assert_eq!(one.ask(&messages), "E(57014) Z(I)", "{server:?}");
        }
        assert_eq!(one.query("begin"), "C(BEGIN) Z(T)");
        one.say(&[query(MAILS)]);
        assert!(one.until_closed().starts_with("E(57014)"), "a block whose backend is closed is over");
        holder.ask("rollback");
        pair.standby.catch_up(&pair.primary).expect("follow");
        assert_eq!(client(&proxy, "two").value(MAILS), "SECRET");
    }
}

#[test]
fn nothing_that_enters_is_told_to_the_client() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        let config = pair.config(Side::Standby, "bigint").set("databases.d.tenancy.danger_open_policy", true);
        let proxy = Proxy::start(config);
        let mut one = client(&proxy, "one");
        one.query("set debug_print_plan = on; set debug_print_parse = on; set client_min_messages = log");
        let number = "select oid from pg_proc where proname = 'enter_transaction'";
        let number = pair.standby.psql("bigint", number).expect("its number");
        for messages in [vec![query(MAILS)], vec![run(MAILS, &[]), sync()]] {
            one.say(&messages);
            let mut notices = String::new();
            loop {
                let reply = one.reply();
                match reply.tag {
                    b'N' => notices.push_str(&String::from_utf8_lossy(&reply.body)),
                    b'Z' => break,
                    _ => {}
                }
            }
            assert!(notices.contains("plan"), "{server:?}: plans are printed to the client: {notices}");
            assert!(!notices.contains(&format!(":funcid {number}")), "{server:?}: {notices}");
        }
    }
}

#[test]
fn doctor_tries_a_standby_and_changes_nothing() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        for key_type in KEY_TYPES {
            let output = pgwarden(&pair.config(Side::Standby, key_type), &["doctor"]);
            let text = said(&output);
            assert!(output.status.success() && text.contains("0 holes"), "{server:?} {key_type}: {text}");
            assert!(text.contains("replayed, expired and forged tokens are refused"), "{text}");
        }
        let dsn = format!("postgresql://postgres:{}@{}/bigint", pair.standby.password(), pair.standby.address());
        let output = pgwarden(&pair.config(Side::Standby, "bigint"), &["protect", "--dsn", &dsn, "--apply"]);
        assert!(said(&output).contains("this server is a standby: name the primary"), "{}", said(&output));
    }
}

#[test]
fn a_standby_that_is_promoted_goes_on_with_its_sessions() {
    let pair = Pair::new(Server::Newest);
    let proxy = pair.proxy(Side::Standby, "bigint");
    let (mut one, mut two) = (client(&proxy, "one"), client(&proxy, "two"));
    assert_eq!(one.value(MAILS), "own,own");
    assert_eq!(one.query("begin"), "C(BEGIN) Z(T)");
    assert_eq!(one.value(MAILS), "own,own");
    pair.standby.psql("postgres", "select pg_promote()").expect("promote");
    // In the block nobody is anybody any more.
    assert_eq!(one.query(MAILS), "T(string_agg) E(55000) S(in_hot_standby=off) Z(E)");
    assert_eq!(one.query("rollback"), "C(ROLLBACK) Z(I)");
    eventually("the tenant is served by the new primary", || one.query(MAILS).contains("D(own,own)"));
    assert_eq!(two.value(MAILS), "SECRET");
    let said = one.query("insert into lines (tenant_id, invoice, what) values (1, 1, 'own')");
    assert_eq!(said, "C(INSERT 0 1) Z(I)");
}
