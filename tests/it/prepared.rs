//! Prepared statements and portals in transaction pooling: names of the client's own, whatever the backend has.
//!
//! What single lessons don't cover: names in both protocols, portals within a transaction, and seeded random conversations
//! that must read the same through the proxy as they do without it.

use std::fmt::Write;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::kit::{self, Config};
use crate::rig::Rig;
use crate::talk::*;

#[test]
fn the_unnamed_statement_outlives_sync_and_belongs_to_its_client() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    for _ in 0..3 {
        assert_eq!(alice.ask(&[parse("", "SELECT $1::text || 'a'"), sync()]), "1 Z(I)");
        assert_eq!(bob.ask(&[parse("", "SELECT 'b'"), sync()]), "1 Z(I)");
        assert_eq!(alice.ask(&[describe_statement(""), sync()]), "t(25) T(?column?) Z(I)");
        assert_eq!(
            bob.ask(&[describe_statement(""), again("", &[]), sync()]),
            "t() T(?column?) 2 D(b) C(SELECT 1) Z(I)"
        );
        assert_eq!(alice.ask(&[again("", &[Some("x")]), sync()]), "2 D(xa) C(SELECT 1) Z(I)");
        // A simple query takes the unnamed statement away, as PostgreSQL does; of this client, not of the other.
        alice.query("SELECT 1");
        assert_eq!(alice.ask(&[again("", &[Some("x")]), sync()]), "E(26000) Z(I)");
        assert_eq!(bob.ask(&[again("", &[]), sync()]), "2 D(b) C(SELECT 1) Z(I)");
        assert_eq!(alice.ask(&[parse("", "SELEKT"), sync()]), "E(42601) Z(I)");
        assert_eq!(alice.ask(&[again("", &[]), sync()]), "E(26000) Z(I)");
        assert_eq!(bob.ask(&[close_statement(""), again("", &[]), sync()]), "3 E(26000) Z(I)");
    }
}

#[test]
fn sql_reaches_the_names_of_the_protocol_and_the_other_way_round() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    assert_eq!(alice.ask(&[parse("p", "SELECT $1::int + 1"), sync()]), "1 Z(I)");
    rig.client("bob").query("SELECT 1");
    assert_eq!(alice.query("EXECUTE p(1)"), "T(?column?) D(2) C(SELECT 1) Z(I)");
    assert_eq!(alice.query("EXPLAIN (COSTS OFF) EXECUTE p(1)"), "T(QUERY PLAN) D(Result) C(EXPLAIN) Z(I)");
    assert_eq!(alice.query("PREPARE p AS SELECT 1"), "E(42P05) Z(I)");
    assert_eq!(alice.query("DEALLOCATE p"), "C(DEALLOCATE) Z(I)");
    assert_eq!(alice.ask(&[again("p", &[Some("1")]), sync()]), "E(26000) Z(I)");
    assert_eq!(alice.query("PREPARE q(int) AS SELECT $1 + 2"), "C(PREPARE) Z(I)");
    assert_eq!(
        alice.ask(&[describe_statement("q"), again("q", &[Some("1")]), sync()]),
        "t(23) T(?column?) 2 D(3) C(SELECT 1) Z(I)"
    );
    assert_eq!(alice.ask(&[close_statement("q"), sync()]), "3 Z(I)");
    assert_eq!(alice.query("EXECUTE q(1)"), "E(26000) Z(I)");
    // Quoted names, and names as SQL folds them.
    assert_eq!(
        alice.ask(&[parse("Mixed Name", "SELECT 'mixed'"), parse("lower", "SELECT 'lower'"), sync()]),
        "1 1 Z(I)"
    );
    assert_eq!(alice.query("EXECUTE \"Mixed Name\""), "T(?column?) D(mixed) C(SELECT 1) Z(I)");
    assert_eq!(alice.query("EXECUTE LOWER"), "T(?column?) D(lower) C(SELECT 1) Z(I)");
    assert_eq!(alice.query("DEALLOCATE \"Mixed Name\"; DEALLOCATE lower"), "C(DEALLOCATE) C(DEALLOCATE) Z(I)");
    assert_eq!(
        alice.query("SELECT count(*) FROM pg_prepared_statements WHERE name IN ('p', 'q', 'lower', 'Mixed Name')"),
        "T(count) D(0) C(SELECT 1) Z(I)"
    );
}

#[test]
fn a_name_that_sql_prepared_is_taken() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    assert_eq!(alice.query("PREPARE q AS SELECT 'sql'"), "C(PREPARE) Z(I)");
    assert_eq!(alice.ask(&[parse("q", "SELECT 'protocol'"), sync()]), "E(42P05) Z(I)");
    assert_eq!(alice.ask(&[again("q", &[]), sync()]), "2 D(sql) C(SELECT 1) Z(I)");
    assert_eq!(alice.query("BEGIN; PREPARE r AS SELECT 'sql'"), "C(BEGIN) C(PREPARE) Z(T)");
    assert_eq!(alice.ask(&[parse("r", "SELECT 'protocol'"), sync()]), "E(42P05) Z(E)");
    // PREPARE is of no transaction.
    assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    assert_eq!(alice.ask(&[parse("r", "SELECT 'protocol'"), sync()]), "E(42P05) Z(I)");
    // Another name is free, and is free again when it was closed.
    for _ in 0..2 {
        assert_eq!(alice.ask(&[parse("s", "SELECT 's'"), again("s", &[]), sync()]), "1 2 D(s) C(SELECT 1) Z(I)");
        assert_eq!(alice.ask(&[parse("s", "SELECT 's'"), sync()]), "E(42P05) Z(I)");
        assert_eq!(alice.ask(&[close_statement("s"), sync()]), "3 Z(I)");
    }
    assert_eq!(alice.query("PREPARE s AS SELECT 'sql'"), "C(PREPARE) Z(I)");
    assert_eq!(
        alice.query("DEALLOCATE q; DEALLOCATE r; DEALLOCATE s"),
        "C(DEALLOCATE) C(DEALLOCATE) C(DEALLOCATE) Z(I)"
    );
    assert_eq!(alice.ask(&[parse("q", "SELECT 'protocol'"), sync()]), "1 Z(I)");
    assert_eq!(rig.client("bob").value("SELECT 'bob'"), "bob");
    assert_eq!(alice.ask(&[again("q", &[]), sync()]), "2 D(protocol) C(SELECT 1) Z(I)");
}

#[test]
fn what_a_text_deallocates_is_gone_whatever_fails_behind_it() {
    let rig = Rig::new();
    let (mut alice, mut bob) = (rig.client("alice"), rig.client("bob"));
    let after = |alice: &mut Talk, sql: &str, said: &str| {
        assert!(alice.query("DEALLOCATE ALL").ends_with("C(DEALLOCATE ALL) Z(I)"));
        assert_eq!(alice.ask(&[parse("a", "SELECT 'a'"), parse("b", "SELECT 'b'"), sync()]), "1 1 Z(I)");
        assert_eq!(alice.query(sql), said, "{sql}");
        if said.ends_with("Z(E)") {
            assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
        }
    };
    let (a, b, gone) = ("2 D(a) C(SELECT 1) Z(I)", "2 D(b) C(SELECT 1) Z(I)", "E(26000) Z(I)");
    for (sql, said, a, b) in [
        ("DEALLOCATE a; SELECT 1/0; DEALLOCATE b", "C(DEALLOCATE) E(22012) Z(I)", gone, b),
        ("SELECT 1/0; DEALLOCATE a", "E(22012) Z(I)", a, b),
        ("DEALLOCATE ALL; SELECT 1/0", "C(DEALLOCATE ALL) E(22012) Z(I)", gone, gone),
        ("SELECT 1/0; DEALLOCATE ALL", "E(22012) Z(I)", a, b),
        ("DEALLOCATE a; DEALLOCATE a; DEALLOCATE b", "C(DEALLOCATE) E(26000) Z(I)", gone, b),
        ("BEGIN; DEALLOCATE a; SELECT 1/0", "C(BEGIN) C(DEALLOCATE) E(22012) Z(E)", gone, b),
    ] {
        after(&mut alice, sql, said);
        assert_eq!(bob.value("SELECT 'bob'"), "bob", "{sql}");
        assert_eq!(alice.ask(&[again("a", &[]), sync()]), a, "{sql}");
        assert_eq!(alice.ask(&[again("b", &[]), sync()]), b, "{sql}");
    }
    // What SQL prepared keeps the only backend for her: nothing of bob's comes between.
    after(&mut alice, "DEALLOCATE a; PREPARE a AS SELECT 'sql'", "C(DEALLOCATE) C(PREPARE) Z(I)");
    assert_eq!(alice.ask(&[again("a", &[]), sync()]), "2 D(sql) C(SELECT 1) Z(I)");
    assert_eq!(alice.ask(&[again("b", &[]), sync()]), b);
    assert_eq!(alice.query("DEALLOCATE ALL"), "C(DEALLOCATE ALL) Z(I)");
    assert_eq!(bob.value("SELECT 'bob'"), "bob");
}

#[test]
fn what_stands_before_a_prepare_of_a_taken_name_is_run() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    assert_eq!(alice.ask(&[parse("p", "SELECT 'p'"), sync()]), "1 Z(I)");
    assert_eq!(alice.query("BEGIN"), "C(BEGIN) Z(T)");
    assert_eq!(alice.query("ROLLBACK; PREPARE p AS SELECT 'sql'; SELECT 1"), "C(ROLLBACK) E(42P05) Z(I)");
    assert_eq!(alice.error[&b'M'], "prepared statement \"p\" already exists");
    assert_eq!(alice.ask(&[run("PREPARE p AS SELECT 'sql'", &[]), sync()]), "1 2 E(42P05) Z(I)");
    assert_eq!(alice.error[&b'M'], "prepared statement \"p\" already exists");
    assert_eq!(alice.query("PREPARE p AS SELECT 'sql'"), "E(42P05) Z(I)");
    assert_eq!(
        alice.query("EXECUTE p; DEALLOCATE p; PREPARE p AS SELECT 'sql'; EXECUTE p"),
        "T(?column?) D(p) C(SELECT 1) C(DEALLOCATE) C(PREPARE) T(?column?) D(sql) C(SELECT 1) Z(I)"
    );
    assert_eq!(alice.query("DEALLOCATE p"), "C(DEALLOCATE) Z(I)");
    assert_eq!(alice.query("EXECUTE p"), "E(26000) Z(I)");
}

#[test]
fn names_that_the_proxy_might_use_are_the_clients_to_use() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    let names = [
        "s1",
        "s_1",
        "1",
        "0",
        "P_0",
        "__pgwarden_1",
        "pgwarden_1",
        "pgw_1",
        "w1",
        "PGBOUNCER_1",
        "\u{e9}",
        "a b",
        "\"",
        "'",
        "$1",
    ];
    for name in names {
        for (client, who) in [(&mut alice, "alice"), (&mut bob, "bob")] {
            let said = client.ask(&[parse(name, &format!("SELECT '{who}'")), again(name, &[]), sync()]);
            assert_eq!(said, format!("1 2 D({who}) C(SELECT 1) Z(I)"), "{name}");
        }
    }
    for name in names {
        assert_eq!(alice.ask(&[again(name, &[]), sync()]), "2 D(alice) C(SELECT 1) Z(I)", "{name}");
        assert_eq!(bob.ask(&[again(name, &[]), sync()]), "2 D(bob) C(SELECT 1) Z(I)", "{name}");
    }
    let long = "n".repeat(300);
    assert_eq!(alice.ask(&[parse(&long, "SELECT 'long'"), again(&long, &[]), sync()]), "1 2 D(long) C(SELECT 1) Z(I)");
}

#[test]
fn portals_live_as_long_as_their_transaction() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    alice.query("BEGIN");
    let opened =
        [parse("s", "SELECT generate_series(1, 6)"), bind("a", "s", &[]), bind("b", "s", &[]), execute("a", 2), sync()];
    assert_eq!(alice.ask(&opened), "1 2 2 D(1) D(2) s Z(T)");
    assert_eq!(alice.ask(&[execute("b", 1), sync()]), "D(1) s Z(T)");
    assert_eq!(alice.ask(&[execute("a", 2), describe_portal("a"), sync()]), "D(3) D(4) s T(generate_series) Z(T)");
    assert_eq!(alice.query("FETCH 1 FROM a"), "T(generate_series) D(5) C(FETCH 1) Z(T)");
    assert_eq!(alice.ask(&[close_portal("b"), execute("b", 1), sync()]), "3 E(34000) Z(E)");
    assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    assert_eq!(alice.ask(&[execute("a", 1), sync()]), "E(34000) Z(I)");
    alice.query("BEGIN");
    assert_eq!(alice.ask(&[bind("a", "s", &[]), sync()]), "2 Z(T)");
    assert_eq!(alice.ask(&[bind("a", "s", &[]), sync()]), "E(42P03) Z(E)");
    alice.query("ROLLBACK; BEGIN");
    // A cursor of SQL is a portal of the protocol.
    assert_eq!(alice.query("DECLARE c CURSOR FOR SELECT generate_series(1, 3)"), "C(DECLARE CURSOR) Z(T)");
    assert_eq!(alice.ask(&[execute("c", 2), sync()]), "D(1) D(2) s Z(T)");
    assert_eq!(alice.ask(&[describe_portal("c"), execute("c", 0), sync()]), "T(generate_series) D(3) C(SELECT 1) Z(T)");
    assert_eq!(alice.query("COMMIT"), "C(COMMIT) Z(I)");
    assert_eq!(bob.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
}

#[test]
fn the_unnamed_portal_is_the_one_that_a_bind_opened() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let pid = alice.value("SELECT pg_backend_pid()");
    let uses = [[execute("", 0), sync()], [describe_portal(""), sync()]];
    for one in &uses {
        // PostgreSQL 15 leaves the portal of the failed query there, and may crash when it is used.
        for failing in ["SELECT 1 / i FROM generate_series(-1, 1) i", "SELECT * FROM missing"] {
            assert_eq!(alice.query("BEGIN"), "C(BEGIN) Z(T)");
            assert!(alice.query(failing).ends_with("Z(E)"));
            assert_eq!(alice.ask(one), "E(34000) Z(E)", "{failing}");
            assert_eq!(alice.ask(&[bind("", "missing", &[]), execute("", 0), sync()]), "E(26000) Z(E)");
            assert_eq!(alice.ask(one), "E(34000) Z(E)", "{failing}, behind a Bind that failed");
            assert_eq!(alice.query("SELECT 1"), "E(25P02) Z(E)");
            assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
        }
        assert_eq!(alice.ask(one), "E(34000) Z(I)", "outside of a transaction");
        // The error counts as one of the server's.
        assert_eq!(alice.query("BEGIN"), "C(BEGIN) Z(T)");
        assert_eq!(alice.ask(&[parse("", "SELECT 1"), bind("", "", &[]), sync()]), "1 2 Z(T)");
        assert_eq!(alice.query("SELECT 2"), "T(?column?) D(2) C(SELECT 1) Z(T)");
        assert_eq!(alice.ask(one), "E(34000) Z(E)");
        assert_eq!(alice.query("SELECT 1"), "E(25P02) Z(E)");
        assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    }
    assert_eq!(alice.query("BEGIN"), "C(BEGIN) Z(T)");
    assert_eq!(alice.ask(&[parse("", "SELECT generate_series(1, 3)"), bind("", "", &[]), sync()]), "1 2 Z(T)");
    assert_eq!(alice.ask(&[describe_portal(""), execute("", 1), sync()]), "T(generate_series) D(1) s Z(T)");
    assert_eq!(alice.ask(&[execute("", 0), sync()]), "D(2) D(3) C(SELECT 2) Z(T)");
    assert_eq!(alice.ask(&[close_portal(""), execute("", 0), sync()]), "3 E(34000) Z(E)");
    assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    assert_eq!(alice.value("SELECT pg_backend_pid()"), pid, "the server has not crashed meanwhile");
}

#[test]
fn a_portal_keeps_its_statement_when_another_bind_of_its_name_fails() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    for pipelined in [false, true] {
        assert_eq!(alice.query("SELECT set_config('app.x', 'old', false)"), "T(set_config) D(old) C(SELECT 1) Z(I)");
        let left = "SELECT set_config('app.x', 'left', false)";
        assert_eq!(alice.ask(&[parse("s", left), parse("t", "SELECT 2"), sync()]), "1 1 Z(I)");
        assert_eq!(alice.query("BEGIN"), "C(BEGIN) Z(T)");
        let (first, second) = (bind("p", "s", &[]), bind("p", "t", &[]));
        if pipelined {
            alice.say(&[first, sync(), query("SAVEPOINT a"), second, sync()]);
            assert_eq!(alice.until_ready(3), "2 Z(T) C(SAVEPOINT) Z(T) E(42P03) Z(E)");
        } else {
            assert_eq!(alice.ask(&[first, sync()]), "2 Z(T)");
            assert_eq!(alice.query("SAVEPOINT a"), "C(SAVEPOINT) Z(T)");
            assert_eq!(alice.ask(&[second, sync()]), "E(42P03) Z(E)");
        }
        assert_eq!(alice.query("ROLLBACK TO a"), "C(ROLLBACK) Z(T)");
        assert_eq!(alice.ask(&[execute("p", 0), sync()]), "D(left) C(SELECT 1) Z(T)");
        assert_eq!(alice.query("COMMIT"), "C(COMMIT) Z(I)");
        assert_eq!(bob.value("SELECT coalesce(nullif(current_setting('app.x', true), ''), 'none')"), "none");
        assert_eq!(alice.value("SELECT current_setting('app.x', true)"), "left", "the setting follows its client");
        assert_eq!(alice.query("DEALLOCATE ALL"), "C(DEALLOCATE ALL) Z(I)");
    }
}

#[test]
fn formats_and_types_pass_as_they_are() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    assert_eq!(
        alice.ask(&[parse_typed("s", "SELECT $1, $2::int4", &[16, 0]), describe_statement("s"), sync()]),
        "1 t(16,23) T(?column?,int4) Z(I)"
    );
    rig.client("bob").query("SELECT 1");
    // Binary parameters and results: bool 1, int4 7.
    let binary = message(b'B', b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x01\x01\0\0\0\x04\0\0\0\x07\0\x01\0\x01");
    alice.say(&[binary, execute("", 0), sync()]);
    assert_eq!(alice.reply().tag, b'2');
    assert_eq!(row(&alice.reply().body), [Some(vec![1]), Some(vec![0, 0, 0, 7])]);
    assert_eq!(alice.until_ready(1), "C(SELECT 1) Z(I)");
    // Mixed formats, a NULL.
    let mixed = message(b'B', b"\0s\0\0\x02\0\0\0\x01\0\x02\0\0\0\x01t\xff\xff\xff\xff\0\x02\0\0\0\x01");
    assert_eq!(alice.ask(&[mixed, execute("", 0), sync()]), "2 D(t,~) C(SELECT 1) Z(I)");
}

/// A client that says random messages about few names, the same ones every time for a seed.
struct Chatter {
    random: StdRng,
    texts: &'static [&'static str],
    queried: bool,
}

/// Those of the last line pin a backend to the session.
const TEXTS: [&str; 28] = [
    "SELECT 1",
    "SELECT 'two', 2",
    "SELECT generate_series(1, 4)",
    "SELECT $1::int + 1",
    "SELECT $1::text, $2::text",
    "SELEKT",
    "SELECT 1 / i FROM generate_series(-1, 1) i",
    "SELECT * FROM missing",
    "",
    "-- nothing",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "RELEASE s",
    "SET work_mem = '5MB'",
    "SET LOCAL work_mem = '6MB'",
    "SHOW work_mem",
    "RESET ALL",
    "DECLARE c CURSOR FOR SELECT generate_series(1, 3)",
    "COPY (SELECT 1) TO STDOUT",
    "DEALLOCATE a",
    "DEALLOCATE ALL",
    "DISCARD ALL",
    "FETCH 2 FROM c",
    "PREPARE q AS SELECT 'sql'",
    "DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 3)",
];
/// The first ones are also prepared. A statement that drops statements or portals while it runs as one leaves PostgreSQL
/// with pointers to freed memory; such are only sent as queries.
const PREPARABLE: usize = 22;
const PINNING: usize = 2;

impl Chatter {
    fn name(&mut self) -> &'static str {
        ["", "a", "b", "c", "B"][self.random.random_range(0..5)]
    }

    fn sql(&mut self) -> &'static str {
        self.texts[self.random.random_range(0..self.texts.len())]
    }

    fn preparable(&mut self) -> &'static str {
        self.texts[self.random.random_range(0..PREPARABLE)]
    }

    fn values(&mut self) -> Vec<Option<&'static str>> {
        let count = [0, 0, 0, 1, 1, 2][self.random.random_range(0..6)];
        (0..count).map(|_| [Some("1"), Some("x"), None][self.random.random_range(0..3)]).collect()
    }

    /// A turn: messages that are answered by so many ReadyForQuery.
    fn turn(&mut self, script: &mut String) -> (Vec<u8>, usize) {
        let (mut bytes, mut readies) = (Vec::new(), 0);
        let mut say = |text: String, message: Vec<u8>| {
            let _ = write!(script, " {text}");
            bytes.extend(message);
        };
        for _ in 0..self.random.random_range(1..4) {
            if self.random.random_ratio(1, 4) {
                let mut sql = self.sql().to_owned();
                if self.random.random_ratio(1, 3) {
                    sql = format!("{sql}; {}", self.sql());
                }
                say(format!("Q({sql})"), query(&sql));
                readies += 1;
                self.queried = true;
                continue;
            }
            // PostgreSQL 15 keeps the portal of a Query that failed in a block, and reads freed memory (at worst it
            // crashes) when that is executed. So the unnamed portal is used only where it was bound in the same batch.
            let mut unnamed = !self.queried;
            for _ in 0..self.random.random_range(1..7) {
                let (name, portal) = (self.name(), ["", "", "p", "c"][self.random.random_range(0..4)]);
                match self.random.random_range(0..14) {
                    0..4 => {
                        let sql = self.preparable();
                        say(format!("P({name}: {sql})"), parse(name, sql));
                    }
                    4..7 => {
                        let values = self.values();
                        unnamed |= portal.is_empty();
                        say(format!("B({portal} {name} {values:?})"), bind(portal, name, &values));
                    }
                    7..10 if unnamed || !portal.is_empty() => {
                        let rows = [0, 0, 1, 2][self.random.random_range(0..4)];
                        say(format!("E({portal} {rows})"), execute(portal, rows));
                    }
                    10 => say(format!("DS({name})"), describe_statement(name)),
                    11 if unnamed || !portal.is_empty() => say(format!("DP({portal})"), describe_portal(portal)),
                    12 => match self.random.random_bool(0.5) {
                        true => say(format!("CS({name})"), close_statement(name)),
                        false => say(format!("CP({portal})"), close_portal(portal)),
                    },
                    _ => say("H".into(), flush()),
                }
            }
            say("S".into(), sync());
            readies += 1;
        }
        (bytes, readies)
    }
}

/// How an answer compares to PostgreSQL's own.
#[derive(Debug, PartialEq, Eq)]
enum Compared {
    Same,
    /// As it may be, but what is prepared or set may differ from now on.
    Apart,
    Different,
}

/// Word for word, but that a name may be judged before the text, for the proxy knows the names and the server the text; and
/// in a failed block that a statement which is not on the backend cannot be put there, to be described or counted, and that
/// the unnamed portal is known of only where it was bound last.
fn compare(got: &str, want: &str) -> Compared {
    let (mut got, mut want) = (got.split_inclusive(" Z("), want.split_inclusive(" Z("));
    let mut compared = Compared::Same;
    loop {
        match (got.next(), want.next()) {
            (None, None) => return compared,
            (Some(got), Some(want)) if got == want => {}
            (Some(got), Some(_)) if got.ends_with("E(25P02) Z(") && got.matches("E(").count() == 1 => {
                compared = Compared::Apart;
            }
            // A Parse of what the backend has, right behind the batch that fails the block, is answered by the proxy.
            (Some(got), Some(want)) if got.ends_with("1 Z(") && want.ends_with("E(25P02) Z(") => {
                compared = Compared::Apart;
            }
            (Some(got), Some(want)) if got.ends_with("E(34000) Z(") && want == got.replace("34000", "25P02") => {}
            (Some(got), Some(want)) => {
                let named = got.replace("E(42P05)", "");
                if named != want.replace("E(42601)", "").replace("E(42P01)", "") {
                    return Compared::Different;
                }
            }
            (Some(_), None) | (None, Some(_)) => return Compared::Different,
        }
    }
}

/// Random conversations, word for word the same as with PostgreSQL itself, while another session uses the backend between.
fn converse(rig: &Rig, seeds: impl IntoIterator<Item = u64>, texts: &'static [&'static str]) {
    let mut bob = rig.client("bob");
    for seed in seeds {
        let mut chatter = Chatter { random: StdRng::seed_from_u64(seed), texts, queried: false };
        let mut direct = rig.direct();
        let mut alice = rig.client("alice");
        let mut script = format!("seed {seed}:");
        for _ in 0..12 {
            let (bytes, readies) = chatter.turn(&mut script);
            let _ = direct.try_send(&bytes);
            let want = direct.try_until_ready_times(readies);
            assert!(want.ends_with(')'), "PostgreSQL itself: {want}\n{script}");
            let _ = alice.try_send(&bytes);
            let got = alice.try_until_ready_times(readies);
            let compared = compare(&got, &want);
            assert_ne!(compared, Compared::Different, "{script}\n  got {got}\n want {want}\nerror: {:?}", alice.error);
            if compared == Compared::Apart {
                script.push_str("\n  begins anew");
                for talk in [&mut direct, &mut alice] {
                    talk.query("ROLLBACK");
                    assert_eq!(talk.query("DISCARD ALL"), "C(DISCARD ALL) Z(I)", "{script}");
                }
                continue;
            }
            script.push_str("\n ");
            if got.ends_with("Z(I)") {
                assert_eq!(bob.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)", "{script}");
            }
        }
    }
}

// Seeds that stand alone have found something.

#[test]
fn random_conversations_read_as_they_do_with_postgresql_itself() {
    let seeds = (0..300).chain([101_077, 101_588, 102_609, 103_382, 103_583]);
    converse(&Rig::new(), seeds, &TEXTS[..TEXTS.len() - PINNING]);
}

#[test]
fn random_conversations_read_as_they_do_with_postgresql_itself_when_statements_are_evicted() {
    for (max, seeds) in [(1, 1000..1300), (3, 104_300..104_350)] {
        let rig = Rig::setup().pool_line(&format!("prepared_max = {max}")).start();
        converse(&rig, seeds.chain([104_330, 104_336, 104_527]), &TEXTS[..TEXTS.len() - PINNING]);
    }
}

#[test]
fn random_conversations_read_as_they_do_with_postgresql_itself_without_reuse() {
    let rig = Rig::setup().pool_line("prepared_max = 0").start();
    converse(&rig, 2000..2100, &TEXTS[..TEXTS.len() - PINNING]);
}

#[test]
fn random_conversations_that_pin_read_as_they_do_with_postgresql_itself() {
    converse(&Rig::setup().pool(2).start(), 3000..3200, &TEXTS);
}

#[test]
fn random_conversations_read_as_they_do_with_postgresql_itself_in_session_mode() {
    converse(&Rig::setup().pool(2).mode("session").start(), 4000..4100, &TEXTS);
}

#[test]
fn the_unnamed_statement_outlives_what_was_skipped_around_it() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let (missing, execute) = (bind("", "missing", &[]), execute("", 0));
    // Two batches before the first is answered: one skips its Parse, and so does the other, behind one that it made.
    let first = [missing.clone(), parse("", "SELECT 1"), parse("", "SELECT 2"), sync()];
    let second = [parse("", "SELECT 3"), missing.clone(), parse("", "SELECT 4"), bind("", "", &[]), sync()];
    alice.say(&[first.concat(), second.concat()]);
    assert_eq!(alice.until_ready(2), "E(26000) Z(I) 1 E(26000) Z(I)");
    assert_eq!(alice.ask(&[bind("", "", &[]), execute.clone(), sync()]), "2 D(3) C(SELECT 1) Z(I)");
    assert_eq!(rig.client("bob").value("SELECT 'bob'"), "bob");
    assert_eq!(alice.ask(&[bind("", "", &[]), execute.clone(), sync()]), "2 D(3) C(SELECT 1) Z(I)");
    // All of the second is skipped, too: what was there before either is there.
    let second = [missing.clone(), parse("", "SELECT 5"), sync()];
    alice.say(&[first.concat(), second.concat()]);
    assert_eq!(alice.until_ready(2), "E(26000) Z(I) E(26000) Z(I)");
    assert_eq!(alice.ask(&[bind("", "", &[]), execute.clone(), sync()]), "2 D(3) C(SELECT 1) Z(I)");
    // A Query that is skipped with its batch takes nothing with it; one that is run does.
    assert_eq!(alice.ask(&[missing, query("SELECT 6"), sync()]), "E(26000) Z(I)");
    assert_eq!(alice.ask(&[bind("", "", &[]), execute.clone(), sync()]), "2 D(3) C(SELECT 1) Z(I)");
    assert_eq!(alice.query("SELECT 7"), "T(?column?) D(7) C(SELECT 1) Z(I)");
    assert_eq!(alice.ask(&[bind("", "", &[]), execute, sync()]), "E(26000) Z(I)");
}

#[test]
fn what_is_evicted_while_it_is_not_known_whether_it_is_there_stays_true() {
    let rig = Rig::setup().pool_line("prepared_max = 1").start();
    let mut alice = rig.client("alice");
    let mut other = rig.client("alice");
    let a = "SELECT 'a'";
    assert_eq!(alice.ask(&[parse("a", a), parse("b", "SELECT 'b'"), sync()]), "1 1 Z(I)");
    assert_eq!(other.ask(&[parse("x", "SELECT 'x'"), sync()]), "1 Z(I)");
    // The first batch's Parse is skipped. The second makes room by closing what that was to prepare, and prepares it again.
    let first = [bind("", "missing", &[]), parse("same", a), sync()];
    let second = [again("b", &[]), again("a", &[]), sync()];
    alice.say(&[first.concat(), second.concat()]);
    assert_eq!(alice.until_ready(2), "E(26000) Z(I) 2 D(b) C(SELECT 1) 2 D(a) C(SELECT 1) Z(I)");
    for client in [&mut other, &mut alice] {
        let said = client.ask(&[parse("mine", a), again("mine", &[]), close_statement("mine"), sync()]);
        assert_eq!(said, "1 2 D(a) C(SELECT 1) 3 Z(I)");
    }
}

#[test]
fn a_failed_block_that_ends_within_a_batch_takes_what_is_prepared_already() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    assert_eq!(alice.ask(&[parse("a", "SELECT 'a'"), parse("end", "ROLLBACK"), sync()]), "1 1 Z(I)");
    for (end, want) in [("end", "2 C(ROLLBACK) 1 2 D(a) C(SELECT 1) Z(I)"), ("a", "E(25P02) Z(E)")] {
        assert_eq!(alice.query("BEGIN; SELECT 1/0"), "C(BEGIN) E(22012) Z(E)");
        let batch = [bind("", end, &[]), execute("", 0), parse("b", "SELECT 'a'"), again("b", &[]), sync()];
        assert_eq!(alice.ask(&batch), want);
        if want.ends_with("Z(E)") {
            assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
        }
        assert_eq!(alice.ask(&[close_statement("b"), again("a", &[]), sync()]), "3 2 D(a) C(SELECT 1) Z(I)");
    }
    // A text that names what the backend has not is answered once.
    let mut other = rig.client("bob");
    assert_eq!(alice.ask(&[parse("late", "SELECT 'late'"), sync()]), "1 Z(I)");
    assert_eq!(other.query("DISCARD ALL"), "C(DISCARD ALL) Z(I)");
    assert_eq!(alice.query("BEGIN; SELECT 1/0"), "C(BEGIN) E(22012) Z(E)");
    assert_eq!(alice.query("DEALLOCATE late"), "E(25P02) Z(E)");
    assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    assert_eq!(alice.query("DEALLOCATE late"), "C(DEALLOCATE) Z(I)");
}

#[test]
fn a_backend_whose_statements_were_changed_unseen_serves_nobody_else() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    // No text of the client's shows what its functions do.
    let run = "CREATE FUNCTION run(text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE $1; END $$";
    let said = rig.superuser().query(&format!("{run}; GRANT EXECUTE ON FUNCTION run(text) TO PUBLIC"));
    assert_eq!(said, "C(CREATE FUNCTION) C(GRANT) Z(I)");
    let pid = "SELECT pg_backend_pid()";
    assert_eq!(alice.ask(&[parse("a", "SELECT 'a'"), sync()]), "1 Z(I)");
    assert_eq!(alice.ask(&[again("a", &[]), sync()]), "2 D(a) C(SELECT 1) Z(I)");
    let before = alice.value(pid);
    assert_eq!(alice.query("SELECT run('DEALLOCATE ALL')"), "T(run) D() C(SELECT 1) Z(I)");
    assert_eq!(alice.value(pid), before);
    // One is told, nobody after.
    assert_eq!(alice.ask(&[again("a", &[]), sync()]), "E(26000) Z(I)");
    assert_ne!(alice.value(pid), before);
    for client in [&mut bob, &mut alice] {
        assert_eq!(client.ask(&[parse("b", "SELECT 'a'"), again("b", &[]), sync()]), "1 2 D(a) C(SELECT 1) Z(I)");
    }
    assert_eq!(alice.ask(&[again("a", &[]), sync()]), "2 D(a) C(SELECT 1) Z(I)");
    // A name of ours that somebody else has taken is never taken for ours.
    let before = alice.value(pid);
    let newest =
        alice.value("SELECT max(substr(name, 7)::bigint) FROM pg_prepared_statements WHERE name LIKE '\\_\\_pgw\\_%'");
    let squat = format!(
        "SELECT run(format('PREPARE \"__pgw_%s\" AS SELECT ''theirs''', {newest} + n)) FROM generate_series(1, 50) n"
    );
    assert!(alice.query(&squat).ends_with("C(SELECT 50) Z(I)"));
    assert_eq!(alice.ask(&[parse("c", "SELECT 'ours'"), again("c", &[]), sync()]), "E(42P05) Z(I)");
    assert_ne!(alice.value(pid), before);
    assert_eq!(alice.ask(&[parse("c", "SELECT 'ours'"), again("c", &[]), sync()]), "1 2 D(ours) C(SELECT 1) Z(I)");
}

/// What the metrics say of texts that were read, by whether they were known.
fn texts_read(proxy: &kit::Proxy) -> (u64, u64) {
    let page = proxy.get("/metrics").1;
    let count = |result: &str| {
        let start = format!("pgwarden_analyses_total{{result=\"{result}\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok());
        value.unwrap_or_else(|| panic!("no {result} in {page}"))
    };
    (count("hit"), count("miss"))
}

#[test]
fn texts_that_one_worker_knows_by_itself_are_counted() {
    let database = kit::database();
    let config = Config::for_database(&database).set("server.workers", 1).set("admin.http", "127.0.0.1:0");
    let proxy = kit::Proxy::start(config);
    let who = [("user", &*database.owner.name), ("database", &*database.name)];
    let mut client = Talk::login(proxy.address(), &who, &database.owner.password);
    let (hits, misses) = texts_read(&proxy);
    for number in 1..=10 {
        assert_eq!(client.query(&format!("SELECT {number} AS a")), format!("T(a) D({number}) C(SELECT 1) Z(I)"));
    }
    let (more_hits, more_misses) = texts_read(&proxy);
    assert_eq!((more_hits - hits, more_misses - misses), (9, 1));
    // The share that the status page shows.
    let status: serde_json::Value = serde_json::from_str(&proxy.get("/status.json").1).expect("JSON");
    let share = status["analysis_hit_share"].as_f64().expect("a share");
    assert!((share - more_hits as f64 / (more_hits + more_misses) as f64).abs() < 1e-9, "{status}");
}
