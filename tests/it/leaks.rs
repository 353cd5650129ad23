//! The leak matrix: whatever one user leaves behind in a backend, the next user finds a session like a fresh one.
//!
//! A pool of one backend and two users that share one role on the server, so that the backend passes between them.
//! `corpus/residue.jsonl` holds the ways to leave something behind by SQL; those of the protocol itself are here.

use std::time::Duration;

use crate::rig::Rig;
use crate::talk::*;

/// One way to leave state behind: queries, one after the other.
#[derive(serde::Deserialize)]
struct Residue {
    id: String,
    leave: Vec<String>,
    /// Whether it ends inside a transaction on purpose.
    #[serde(default)]
    open: bool,
}

fn residues() -> Vec<Residue> {
    include_str!("corpus/residue.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("the corpus is JSON lines"))
        .collect()
}

/// What a session can find out about the state it is in. Each must give what it gives in a fresh session.
///
/// Not looked at: that a module was loaded (`plpgsql.*` appears with the first DO), and the name of the temporary schema;
/// PostgreSQL's own DISCARD ALL leaves both.
const PROBES: &[&str] = &[
    "SELECT current_user, session_user, current_setting('role'), current_schemas(false)",
    "SELECT string_agg(name || '=' || setting, E'\\n' ORDER BY name) FROM pg_settings WHERE name NOT LIKE 'plpgsql.%'",
    "SELECT coalesce(current_setting('app.tenant_id', true), ''), coalesce(current_setting('app.a', true), '')",
    "SELECT count(*), string_agg(statement, ';') FROM pg_prepared_statements",
    "SELECT count(*), string_agg(statement, ';') FROM pg_cursors WHERE name <> ''",
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    "SELECT count(*) FROM pg_listening_channels()",
    "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()), (SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()), (SELECT count(*) FROM pg_type WHERE typnamespace = pg_my_temp_schema())",
    "SELECT to_regclass('pg_temp.residue_table'), to_regclass('residue_inner'), to_regproc('pg_temp.residue_f'), to_regtype('pg_temp.residue_type')",
    "SELECT email FROM public.residue_shared",
    "SELECT email FROM residue_shared",
    "SELECT '2026-03-04'::date, '\\x00'::bytea, '1 day'::interval, 'a\\b', 0.1::float8",
    "SELECT pg_current_xact_id_if_assigned(), current_setting('transaction_isolation'), current_setting('transaction_read_only')",
    "SELECT lastval()",
    "SELECT currval('residue_seq')",
    "EXECUTE s1",
    "FETCH c",
    "SELECT pg_advisory_unlock(777)",
    "SELECT round(random()::numeric, 12) IN (SELECT round(r::numeric, 12) FROM residue_random)",
    "SELECT 1 FROM pg_sleep(0.02)",
];

fn furnish(rig: &Rig) {
    let role = rig.role().to_owned();
    let mut admin = rig.superuser();
    for sql in [
        "DO $$ BEGIN CREATE ROLE residue_role; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$".to_owned(),
        format!("GRANT residue_role TO {role}; GRANT CREATE ON SCHEMA public TO PUBLIC"),
        "CREATE SCHEMA residue_other; GRANT USAGE ON SCHEMA residue_other TO PUBLIC".into(),
        "CREATE TABLE residue_shared AS SELECT 'public'::text AS email; GRANT ALL ON residue_shared TO PUBLIC".into(),
        "CREATE TABLE residue_other.residue_shared AS SELECT 'other'::text AS email; GRANT ALL ON residue_other.residue_shared TO PUBLIC".into(),
        "CREATE SEQUENCE residue_seq; GRANT ALL ON residue_seq TO PUBLIC".into(),
        "CREATE TABLE residue_serial (i serial, j int); GRANT ALL ON residue_serial TO PUBLIC; GRANT ALL ON residue_serial_i_seq TO PUBLIC".into(),
        "CREATE FUNCTION residue_set(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN set_config($1, $2, false); END $$".into(),
        "CREATE FUNCTION residue_run(text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE $1; END $$".into(),
        "CREATE PROCEDURE residue_call() LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('work_mem', '77MB', false); END $$".into(),
        "CREATE TABLE residue_defaults (a text DEFAULT residue_set('work_mem', '77MB')); GRANT ALL ON residue_defaults TO PUBLIC".into(),
        "CREATE FUNCTION residue_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('work_mem', '77MB', false); RETURN NEW; END $$".into(),
        "CREATE TABLE residue_triggered (i int); GRANT ALL ON residue_triggered TO PUBLIC".into(),
        "CREATE TRIGGER t BEFORE INSERT ON residue_triggered FOR EACH ROW EXECUTE FUNCTION residue_trigger()".into(),
        "CREATE VIEW residue_view AS SELECT residue_set('work_mem', '77MB'); GRANT ALL ON residue_view TO PUBLIC".into(),
        // What random() gives after the seed of the corpus: a session must not be able to tell the next one's numbers.
        "SELECT setseed(0.5); CREATE TABLE residue_random AS SELECT random() AS r FROM generate_series(1, 50); GRANT ALL ON residue_random TO PUBLIC".into(),
        "SET seed = 0.5; INSERT INTO residue_random SELECT random() AS r FROM generate_series(1, 50)".into(),
    ] {
        let said = admin.query(&sql);
        assert!(!said.contains("E("), "{sql}: {said} {:?}", admin.error);
    }
}

/// What the probes give, answer by answer, in full.
fn look(session: &mut Talk) -> Vec<String> {
    PROBES.iter().map(|probe| session.full_answer(probe)).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The first client stays; what cannot follow it may keep the backend, and then the next one is told so.
    Stays,
    Leaves,
    Dies,
}

fn differences(want: &[String], got: &[String]) -> Vec<String> {
    let mut differences = Vec::new();
    for ((probe, want), got) in PROBES.iter().zip(want).zip(got) {
        if want != got {
            let lines: Vec<_> = got.split('\n').filter(|line| !want.contains(line)).take(5).collect();
            differences.push(format!("{probe}\n      gave {lines:?}"));
        }
    }
    differences
}

/// Lets the first user leave something, and compares what the second one finds.
fn matrix(then: Then) {
    let rig = Rig::setup().server_line("queue_timeout = \"1s\"").start();
    furnish(&rig);
    let fresh = look(&mut rig.direct());
    let (mut leaks, mut pinned) = (Vec::new(), 0);
    for residue in residues() {
        let mut alice = rig.client("alice");
        let mut bob = rig.client("bob");
        let mut said = String::new();
        for sql in &residue.leave {
            said = alice.query(sql);
        }
        assert_eq!(said.ends_with("Z(I)"), !residue.open, "{}: {said}", residue.id);
        match then {
            Then::Stays => {
                let first = bob.query("SELECT 1");
                if first.starts_with("E(53300)") {
                    // The backend stays with the first client: nobody can find anything.
                    pinned += 1;
                    drop(alice);
                    continue;
                }
            }
            Then::Leaves => {
                alice.say(&[terminate()]);
                alice.until_closed();
            }
            Then::Dies => alice.reset(),
        }
        let found = differences(&fresh, &look(&mut bob));
        if !found.is_empty() {
            leaks.push(format!("{} ({:?}):\n    {}", residue.id, residue.leave, found.join("\n    ")));
        }
        rig.superuser().query(
            "UPDATE residue_shared SET email = 'public'; TRUNCATE residue_triggered, residue_defaults, residue_serial",
        );
    }
    assert!(leaks.is_empty(), "{} leaks when the first client {then:?}:\n{}", leaks.len(), leaks.join("\n"));
    assert!(then == Then::Stays || pinned == 0);
    println!("{pinned} kept the backend");
}

#[test]
fn the_second_user_finds_a_fresh_session_while_the_first_one_stays() {
    matrix(Then::Stays);
}

#[test]
fn the_second_user_finds_a_fresh_session_when_the_first_one_has_left() {
    matrix(Then::Leaves);
}

#[test]
fn the_second_user_finds_a_fresh_session_when_the_first_one_has_died() {
    matrix(Then::Dies);
}

/// The same user's next session: what the first one set is the first one's.
///
/// Not what a function, trigger, default or view did on its own: a statement's text doesn't show it, and a backend is not
/// cleaned between two sessions of one user for every function that is called.
#[test]
fn settings_and_names_of_one_session_are_not_those_of_the_users_next_session() {
    let rig = Rig::setup().server_line("queue_timeout = \"1s\"").start();
    furnish(&rig);
    let probes = [
        "SELECT string_agg(name || '=' || setting, E'\\n' ORDER BY name) FROM pg_settings WHERE name NOT LIKE 'plpgsql.%'",
        "SELECT coalesce(current_setting('app.tenant_id', true), '')",
        "SELECT current_user",
        "EXECUTE s1",
        "FETCH c",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        "SELECT count(*) FROM pg_listening_channels()",
        "SELECT to_regclass('residue_table')",
    ];
    let mut direct = rig.direct();
    let fresh: Vec<_> = probes.iter().map(|probe| direct.full_answer(probe)).collect();
    let mut leaks = Vec::new();
    let hidden = ["by a function", "by a column default", "by a trigger", "by a view"];
    for residue in residues().into_iter().filter(|residue| !hidden.iter().any(|word| residue.id.contains(word))) {
        for leave in [false, true] {
            let mut alice = rig.client("alice");
            let mut second = rig.client("alice");
            for sql in &residue.leave {
                alice.query(sql);
            }
            if leave {
                alice.say(&[terminate()]);
                alice.until_closed();
            } else if second.query("SELECT 1").starts_with("E(53300)") {
                continue;
            }
            for (probe, fresh) in probes.iter().zip(&fresh) {
                let got = second.full_answer(probe);
                if got != *fresh {
                    let lines: Vec<_> = got.split('\n').filter(|line| !fresh.contains(line)).take(5).collect();
                    leaks.push(format!("{} (left: {leave}): {probe} gave {lines:?}", residue.id));
                }
            }
        }
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

#[test]
fn what_the_protocol_itself_leaves_behind_is_gone_for_the_second_user() {
    let rig = Rig::new();
    furnish(&rig);
    let fresh = look(&mut rig.direct());
    let mut leaks = Vec::new();
    let left: [(&str, Vec<Vec<u8>>); 10] = [
        ("a named statement", vec![parse("s1", "SELECT 'SECRET'"), sync()]),
        ("the unnamed statement", vec![parse("", "SELECT 'SECRET'"), sync()]),
        (
            "many statements",
            (0..50).map(|i| parse(&format!("s{i}"), &format!("SELECT 'SECRET{i}'"))).chain([sync()]).collect(),
        ),
        ("a bound portal", vec![parse("s1", "SELECT 'SECRET'"), bind("c", "s1", &[]), sync()]),
        (
            "a suspended portal",
            vec![parse("s1", "SELECT generate_series(1, 9)"), bind("c", "s1", &[]), execute("c", 1), sync()],
        ),
        ("a bound setting", vec![run("SELECT set_config($1, $2, false)", &[Some("work_mem"), Some("77MB")]), sync()]),
        ("a bound lock", vec![run("SELECT pg_advisory_lock($1)", &[Some("777")]), sync()]),
        ("a temp table", vec![run("CREATE TEMP TABLE residue_table (i int)", &[]), sync()]),
        ("a SQL name by the extended protocol", vec![run("PREPARE s1 AS SELECT 'SECRET'", &[]), sync()]),
        ("a failed pipeline", vec![run("SET work_mem = '77MB'", &[]), run("SELECT 1/0", &[]), sync()]),
    ];
    for (name, messages) in &left {
        let mut alice = rig.client("alice");
        let said = alice.ask(messages);
        assert!(said.ends_with("Z(I)"), "{name}: {said}");
        alice.say(&[terminate()]);
        alice.until_closed();
        let mut bob = rig.client("bob");
        for message in [again("s1", &[]), again("", &[])] {
            assert_eq!(bob.ask(&[message, sync()]), "E(26000) Z(I)", "after {name}");
        }
        for message in [execute("c", 0), execute("", 0)] {
            assert_eq!(bob.ask(&[message, sync()]), "E(34000) Z(I)", "after {name}");
        }
        let found = differences(&fresh, &look(&mut bob));
        if !found.is_empty() {
            leaks.push(format!("{name}:\n    {}", found.join("\n    ")));
        }
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

#[test]
fn a_notification_reaches_only_the_session_that_listens() {
    let rig = Rig::setup().pool(2).start();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    let mut admin = rig.superuser();
    assert_eq!(alice.query("LISTEN events"), "C(LISTEN) Z(I)");
    admin.query("NOTIFY events, 'one'");
    assert_eq!(alice.until(b'A', 1), "A(events=one)", "a notification arrives while its session is idle");
    assert_eq!(bob.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
    assert_eq!(bob.query("NOTIFY events, 'two'"), "C(NOTIFY) Z(I)");
    assert_eq!(alice.until(b'A', 1), "A(events=two)");
    assert!(bob.is_quiet_for(Duration::from_millis(100)));
    assert_eq!(alice.query("UNLISTEN events"), "C(UNLISTEN) Z(I)");
    admin.query("NOTIFY events, 'three'");
    assert_eq!(alice.query("SELECT 'alice'"), "T(?column?) D(alice) C(SELECT 1) Z(I)");
    // A listener that died: its channel is nobody's.
    assert_eq!(alice.query("LISTEN events"), "C(LISTEN) Z(I)");
    alice.reset();
    let mut next: Vec<Talk> = (0..4).map(|_| rig.client("bob")).collect();
    admin.query("NOTIFY events, 'four'");
    for session in &mut next {
        assert_eq!(session.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
        assert!(session.is_quiet_for(Duration::from_millis(20)));
    }
}

#[test]
fn state_that_cannot_follow_stays_with_its_session() {
    let rig = Rig::setup().pool(3).start();
    furnish(&rig);
    let mut alice = rig.client("alice");
    let mut crowd: Vec<Talk> = (0..4).map(|i| rig.client(if i % 2 == 0 { "bob" } else { "alice" })).collect();
    let mut busy = |round: usize| {
        for session in &mut crowd {
            assert_eq!(session.query("SELECT 'crowd'"), "T(?column?) D(crowd) C(SELECT 1) Z(I)", "round {round}");
        }
    };
    for (round, (sql, want)) in [
        ("CREATE TEMP TABLE mine AS SELECT 1 AS i", "C(SELECT 1) Z(I)"),
        ("SELECT i FROM mine", "T(i) D(1) C(SELECT 1) Z(I)"),
        ("PREPARE mine AS SELECT 'prepared'", "C(PREPARE) Z(I)"),
        ("EXECUTE mine", "T(?column?) D(prepared) C(SELECT 1) Z(I)"),
        ("DECLARE mine CURSOR WITH HOLD FOR SELECT generate_series(1, 3)", "C(DECLARE CURSOR) Z(I)"),
        ("FETCH 2 FROM mine", "T(generate_series) D(1) D(2) C(FETCH 2) Z(I)"),
        ("FETCH 2 FROM mine", "T(generate_series) D(3) C(FETCH 1) Z(I)"),
        ("CLOSE mine", "C(CLOSE CURSOR) Z(I)"),
        ("SELECT pg_try_advisory_lock(5)", "T(pg_try_advisory_lock) D(t) C(SELECT 1) Z(I)"),
        ("SELECT pg_advisory_unlock(5)", "T(pg_advisory_unlock) D(t) C(SELECT 1) Z(I)"),
        ("SELECT nextval('residue_seq') > 0", "T(?column?) D(t) C(SELECT 1) Z(I)"),
        ("SELECT currval('residue_seq') = lastval()", "T(?column?) D(t) C(SELECT 1) Z(I)"),
        ("EXECUTE mine", "T(?column?) D(prepared) C(SELECT 1) Z(I)"),
        ("SELECT i FROM mine", "T(i) D(1) C(SELECT 1) Z(I)"),
        ("DISCARD ALL", "C(DISCARD ALL) Z(I)"),
        ("SELECT i FROM mine", "E(42P01) Z(I)"),
        ("EXECUTE mine", "E(26000) Z(I)"),
    ]
    .into_iter()
    .enumerate()
    {
        busy(round);
        assert_eq!(alice.query(sql), want, "{sql}");
    }
}

#[test]
fn where_state_may_not_stay_it_is_refused_with_a_hint() {
    let rig = Rig::setup().user_line("alice", "session_state = \"refuse\"").start();
    furnish(&rig);
    let mut alice = rig.client("alice");
    for sql in [
        "LISTEN events",
        "CREATE TEMP TABLE mine (i int)",
        "SELECT 1 AS i INTO TEMP mine",
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DECLARE mine CURSOR WITH HOLD FOR SELECT 1",
        "SELECT pg_advisory_lock(5)",
        "SELECT pg_try_advisory_lock(5)",
        "PREPARE mine AS SELECT 1",
    ] {
        assert_eq!(alice.query(sql), "E(0A000) Z(I)", "{sql}");
        assert!(alice.error.contains_key(&b'H'), "{sql}: {:?}", alice.error);
        assert_eq!(alice.ask(&[run(sql, &[]), sync()]).replace("1 2 ", "").replace("1 ", ""), "E(0A000) Z(I)", "{sql}");
        assert_eq!(rig.client("bob").query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
        alice.query("BEGIN");
        assert_eq!(alice.query(sql), "E(0A000) Z(E)", "{sql} in a transaction");
        assert_eq!(alice.query("SELECT 1"), "E(25P02) Z(E)");
        alice.query("ROLLBACK");
    }
    // What follows the session, or ends with its transaction, is taken.
    for (sql, want) in [
        ("SET work_mem = '5MB'", "C(SET) Z(I)"),
        (
            "BEGIN; DECLARE mine CURSOR FOR SELECT 1; FETCH mine; COMMIT",
            "C(BEGIN) C(DECLARE CURSOR) T(?column?) D(1) C(FETCH 1) C(COMMIT) Z(I)",
        ),
        ("SELECT pg_advisory_xact_lock(5)", "T(pg_advisory_xact_lock) D() C(SELECT 1) Z(I)"),
        ("SHOW work_mem", "T(work_mem) D(5MB) C(SHOW) Z(I)"),
    ] {
        assert_eq!(alice.query(sql), want, "{sql}");
    }
}
