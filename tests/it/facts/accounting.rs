//! Every reply reaches the client whose message it answers, in order, and none is left for the next client.

use std::thread;
use std::time::Duration;

use crate::kit::ScriptedServer;
use crate::kit::scripted::answer;
use crate::rig::Rig;
use crate::talk::*;

// 1
#[test]
fn half_an_extended_request_is_undone_before_the_backend_serves_another() {
    let rig = Rig::new();
    rig.superuser().query("CREATE TABLE half (i int); GRANT ALL ON half TO PUBLIC");
    let halves: [Vec<u8>; 7] = [
        [run("INSERT INTO half VALUES (1)", &[]), flush()].concat(),
        run("INSERT INTO half VALUES (1)", &[]),
        [parse("h", "INSERT INTO half VALUES (1)"), flush()].concat(),
        [parse("", "SELECT 1"), bind("p", "", &[]), flush()].concat(),
        [run("INSERT INTO half VALUES (1)", &[]), flush(), vec![b'S', 0, 0]].concat(),
        [run("INSERT INTO half VALUES (1)", &[]), flush(), parse("", "SELEKT"), flush()].concat(),
        [run("SELECT generate_series(1, 100000)", &[]), flush(), vec![b'B', 0, 0, 1, 0]].concat(),
    ];
    for (number, half) in halves.iter().enumerate() {
        for vanish in [Vanish::Reset, Vanish::Close, Vanish::ResetAfterReply] {
            let mut alice = rig.client("alice");
            alice.say(&[half]);
            if vanish == Vanish::ResetAfterReply && half.contains(&b'H') {
                alice.reply();
            }
            match vanish {
                Vanish::Close => drop(alice),
                Vanish::Reset | Vanish::ResetAfterReply => alice.reset(),
            }
            let mut bob = rig.client("bob");
            let said = bob.ask(&[parse("h", "SELECT count(*) FROM half"), again("h", &[]), sync()]);
            assert_eq!(said, "1 2 D(0) C(SELECT 1) Z(I)", "after half {number}, {vanish:?}");
            assert_eq!(bob.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)", "after half {number}");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vanish {
    Reset,
    Close,
    ResetAfterReply,
}

// 2
#[test]
fn a_late_sync_never_reaches_another_clients_backend() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    alice.say(&[parse("", "SELECT pg_backend_pid()"), again("", &[]), flush()]);
    let said = alice.until(b'C', 1);
    let pid = said.split(['(', ')']).nth(1).expect("a row").to_owned();
    rig.terminate(&pid);
    // The backend is gone, the client has not sent its Sync yet. Whatever it is told, one ReadyForQuery answers that Sync.
    bob.query("BEGIN");
    bob.say(&[run("SELECT 'bob 1'", &[]), flush()]);
    assert_eq!(bob.until(b'C', 1), "1 2 D(bob 1) C(SELECT 1)");
    alice.say(&[sync()]);
    let late = alice.try_until_ready();
    assert!(late.is_empty() || late.starts_with('E'), "{late}");
    assert!(late.matches('Z').count() <= 1, "{late}");
    assert!(bob.is_quiet_for(Duration::from_millis(200)), "another client's Sync was answered here");
    assert_eq!(bob.ask(&[run("SELECT 'bob 2'", &[]), sync()]), "1 2 D(bob 2) C(SELECT 1) Z(T)");
    assert_eq!(bob.query("COMMIT"), "C(COMMIT) Z(I)");
}

// 2
#[test]
fn syncs_of_an_idle_client_are_answered_one_by_one() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    bob.query("BEGIN");
    alice.say(&vec![sync(); 50]);
    bob.query("COMMIT");
    assert_eq!(alice.until_ready(50), ["Z(I)"; 50].join(" "));
    assert_eq!(bob.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
    assert_eq!(alice.query("SELECT 'alice'"), "T(?column?) D(alice) C(SELECT 1) Z(I)");
}

// 3
#[test]
fn everything_after_an_extended_error_is_discarded_up_to_sync_a_query_included() {
    let rig = Rig::new();
    rig.superuser().query("CREATE TABLE discarded (i int); GRANT ALL ON discarded TO PUBLIC");
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    let rest = [
        query("INSERT INTO discarded VALUES (1)"),
        run("INSERT INTO discarded VALUES (2)", &[]),
        describe_statement("nothing"),
        close_statement(""),
        parse("kept", "SELECT 1"),
        query("SELECT 3"),
        flush(),
    ]
    .concat();
    assert_eq!(alice.ask(&[parse("", "SELEKT"), rest.clone(), sync()]), "E(42601) Z(I)");
    assert_eq!(alice.ask(&[again("kept", &[]), sync()]), "E(26000) Z(I)");

    // The same in two writes: the error is read before the rest is sent.
    alice.say(&[parse("", "SELEKT"), flush()]);
    assert_eq!(alice.until(b'E', 1), "E(42601)");
    alice.say(&[rest]);
    assert!(alice.is_quiet_for(Duration::from_millis(200)), "a discarded message was answered");
    assert_eq!(alice.ask(&[sync()]), "Z(I)");
    assert_eq!(alice.query("SELECT count(*) FROM discarded"), "T(count) D(0) C(SELECT 1) Z(I)");
    assert_eq!(bob.query("SELECT count(*) FROM discarded"), "T(count) D(0) C(SELECT 1) Z(I)");

    // Inside a transaction the block is aborted.
    alice.query("BEGIN");
    assert_eq!(alice.ask(&[again("missing", &[]), query("SELECT 1"), sync()]), "E(26000) Z(E)");
    assert_eq!(alice.query("SELECT 1"), "E(25P02) Z(E)");
    assert_eq!(alice.query("COMMIT"), "C(ROLLBACK) Z(I)");
}

// 4
#[test]
fn a_suspended_portal_keeps_its_backend_until_sync() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    alice.say(&[parse("", "SELECT generate_series(1, 5)"), bind("", "", &[]), execute("", 2), flush()]);
    assert_eq!(alice.until(b's', 1), "1 2 D(1) D(2) s");
    bob.say(&[query("SELECT 'bob'")]);
    assert!(bob.is_quiet_for(Duration::from_millis(200)), "the only backend was lent twice");
    alice.say(&[execute("", 2), flush()]);
    assert_eq!(alice.until(b's', 1), "D(3) D(4) s");
    assert_eq!(alice.ask(&[execute("", 2), sync()]), "D(5) C(SELECT 1) Z(I)");
    assert_eq!(bob.until_ready(1), "T(?column?) D(bob) C(SELECT 1) Z(I)");
    assert_eq!(alice.ask(&[execute("", 2), sync()]), "E(34000) Z(I)");
}

// 4
#[test]
fn a_suspended_portal_left_behind_by_sync_is_gone_for_the_next_client() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    let said = alice.ask(&[parse("", "SELECT generate_series(1, 5)"), bind("p", "", &[]), execute("p", 2), sync()]);
    assert_eq!(said, "1 2 D(1) D(2) s Z(I)");
    assert_eq!(bob.ask(&[execute("p", 2), sync()]), "E(34000) Z(I)");
    assert_eq!(alice.ask(&[execute("p", 2), sync()]), "E(34000) Z(I)");
}

// 5
#[test]
fn close_of_a_portal_does_not_close_the_statement_of_that_name() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let said = alice.ask(&[parse("x", "SELECT 5"), bind("x", "x", &[]), execute("x", 0), close_portal("x"), sync()]);
    assert_eq!(said, "1 2 D(5) C(SELECT 1) 3 Z(I)");
    rig.client("bob").query("SELECT 1");
    assert_eq!(alice.ask(&[again("x", &[]), sync()]), "2 D(5) C(SELECT 1) Z(I)");
    alice.query("BEGIN");
    assert_eq!(alice.ask(&[bind("x", "x", &[]), sync()]), "2 Z(T)");
    assert_eq!(alice.ask(&[close_statement("x"), execute("x", 0), sync()]), "3 D(5) C(SELECT 1) Z(T)");
    assert_eq!(alice.ask(&[again("x", &[]), sync()]), "E(26000) Z(E)");
    assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
}

// 5
#[test]
fn close_of_a_missing_name_is_complete() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let said = alice.ask(&[
        close_statement("missing"),
        close_portal("missing"),
        close_statement(""),
        close_portal(""),
        sync(),
    ]);
    assert_eq!(said, "3 3 3 3 Z(I)");
    alice.say(&[close_statement("missing"), flush()]);
    assert_eq!(alice.until(b'3', 1), "3");
    assert_eq!(alice.ask(&[sync()]), "Z(I)");
}

// 6
#[test]
fn a_trailing_describe_does_not_deadlock() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    alice.say(&[run("SELECT 1 AS a", &[]), parse("d", "SELECT $1::int4 AS b"), describe_statement("d"), flush()]);
    assert_eq!(alice.until(b'T', 1), "1 2 D(1) C(SELECT 1) 1 t(23) T(b)");
    assert_eq!(alice.ask(&[sync()]), "Z(I)");
    let said = alice.ask(&[again("d", &[Some("2")]), bind("", "d", &[Some("3")]), describe_portal(""), sync()]);
    assert_eq!(said, "2 D(2) C(SELECT 1) 2 T(b) Z(I)");
    assert_eq!(
        alice.ask(&[run("SELECT 4", &[]), describe_statement("d"), sync()]),
        "1 2 D(4) C(SELECT 1) t(23) T(b) Z(I)"
    );
    alice.say(&[describe_statement("d"), flush()]);
    assert_eq!(alice.until(b'T', 1), "t(23) T(b)");
    assert_eq!(alice.ask(&[sync()]), "Z(I)");
}

// 6
#[test]
fn a_lone_describe_works_after_the_backend_changed() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    assert_eq!(alice.ask(&[parse("d", "SELECT $1::int4 AS b"), sync()]), "1 Z(I)");
    assert_eq!(alice.ask(&[parse("", "SELECT $1::int8 AS c"), sync()]), "1 Z(I)");
    for _ in 0..3 {
        let pid = alice.value("SELECT pg_backend_pid()");
        assert_eq!(alice.ask(&[parse("", "SELECT $1::int8 AS c"), sync()]), "1 Z(I)");
        rig.terminate(&pid);
        assert_eq!(alice.ask(&[describe_statement("d"), sync()]), "t(23) T(b) Z(I)");
        assert_eq!(alice.ask(&[describe_statement(""), sync()]), "t(20) T(c) Z(I)");
        rig.client("bob").query("DISCARD ALL");
        assert_eq!(alice.ask(&[describe_statement("d"), sync()]), "t(23) T(b) Z(I)");
    }
}

// 7
#[test]
fn a_backend_is_kept_until_the_last_expected_ready_for_query() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    for round in 0..20 {
        alice.say(&[
            query("SELECT 'a1' FROM pg_sleep(0.01)"),
            query("SELECT 'a2'; SELECT 'a3'"),
            [run("SELECT 'a4'", &[]), sync()].concat(),
            [parse("", "SELEKT"), sync()].concat(),
            [run("SELECT 'a5' FROM pg_sleep(0.01)", &[]), sync()].concat(),
            query("SELECT 'a6'"),
        ]);
        bob.say(&[query("SELECT 'b1'"), query("SELECT 'b2'")]);
        let alices = "T(?column?) D(a1) C(SELECT 1) Z(I) T(?column?) D(a2) C(SELECT 1) T(?column?) D(a3) C(SELECT 1) Z(I) \
                      1 2 D(a4) C(SELECT 1) Z(I) E(42601) Z(I) 1 2 D(a5) C(SELECT 1) Z(I) T(?column?) D(a6) C(SELECT 1) Z(I)";
        assert_eq!(alice.until_ready(6), alices, "round {round}");
        let bobs = "T(?column?) D(b1) C(SELECT 1) Z(I) T(?column?) D(b2) C(SELECT 1) Z(I)";
        assert_eq!(bob.until_ready(2), bobs, "round {round}");
    }
}

// 8
#[test]
fn large_pipelines_in_both_directions_at_once_do_not_deadlock() {
    const REQUESTS: usize = 2000;
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let value = "x".repeat(8192);
    let mut writer = alice.writer();
    let request = run("SELECT $1::text", &[Some(&value)]);
    let feeder = thread::spawn(move || {
        use std::io::Write;
        for _ in 0..REQUESTS {
            writer.write_all(&request).expect("the proxy reads on while it writes");
        }
        writer.write_all(&sync()).expect("the proxy reads on while it writes");
    });
    let mut rows = 0;
    loop {
        let reply = alice.reply();
        match reply.tag {
            b'D' => {
                assert_eq!(row(&reply.body)[0].as_deref(), Some(value.as_bytes()));
                rows += 1;
            }
            b'Z' => break,
            b'1' | b'2' | b'C' => {}
            other => panic!("{:?}", other as char),
        }
    }
    feeder.join().expect("the feeder ends");
    assert_eq!(rows, REQUESTS);
    assert_eq!(rig.client("bob").query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
}

// 9
#[test]
fn an_error_is_sent_at_once_not_at_sync() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    alice.say(&[parse("", "SELEKT"), bind("", "", &[]), execute("", 0), flush()]);
    assert_eq!(alice.until(b'E', 1), "E(42601)");
    assert_eq!(alice.ask(&[sync()]), "Z(I)");
    alice.say(&[parse("", "SELECT 1 / i FROM generate_series(0, 0) i"), bind("", "", &[]), execute("", 0), flush()]);
    assert_eq!(alice.until(b'E', 1), "1 2 E(22012)");
    // What follows is discarded, however much there is of it.
    alice.say(&vec![run("SELECT 1", &[]); 1000]);
    assert_eq!(alice.ask(&[sync()]), "Z(I)");
    assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
}

// 10
#[test]
fn empty_statements_and_rows_without_columns_pass() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    assert_eq!(alice.query(""), "I Z(I)");
    assert_eq!(alice.query("  -- nothing\n /* at all */ ;;"), "I Z(I)");
    assert_eq!(alice.query("SELECT"), "T() D() C(SELECT 1) Z(I)");
    assert_eq!(alice.query("SELECT 1;;SELECT 2"), "T(?column?) D(1) C(SELECT 1) T(?column?) D(2) C(SELECT 1) Z(I)");
    let empty = [
        parse("", "-- nothing"),
        describe_statement(""),
        bind("", "", &[]),
        describe_portal(""),
        execute("", 0),
        sync(),
    ];
    assert_eq!(alice.ask(&empty), "1 t() n 2 n I Z(I)");
    let bare =
        [parse("", "SELECT"), describe_statement(""), bind("", "", &[]), describe_portal(""), execute("", 0), sync()];
    assert_eq!(alice.ask(&bare), "1 t() T() 2 T() D() C(SELECT 1) Z(I)");
    assert_eq!(alice.ask(&[parse("e", ""), sync()]), "1 Z(I)");
    rig.client("bob").query("SELECT 1");
    assert_eq!(alice.ask(&[again("e", &[]), sync()]), "2 I Z(I)");
}

// 11
#[test]
fn replies_of_the_proxy_itself_keep_their_place() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    assert_eq!(alice.ask(&[parse("k", "SELECT 'k'"), sync()]), "1 Z(I)");
    for round in 0..10 {
        bob.query("SELECT 1");
        // A statement that this backend knows already, one that it doesn't, names that don't exist, and a refusal.
        alice.say(&[
            query("SELECT 'q' FROM pg_sleep(0.005)"),
            [close_statement("none"), run("SELECT 'r'", &[]), close_portal("none"), again("k", &[]), sync()].concat(),
            function_call(1598),
            [parse("k2", "SELECT 'k2'"), again("k2", &[]), close_statement("k2"), again("k", &[]), sync()].concat(),
            [again("k2", &[]), again("k", &[]), sync()].concat(),
            query("SELECT 'last'"),
        ]);
        let want = "T(?column?) D(q) C(SELECT 1) Z(I) \
                    3 1 2 D(r) C(SELECT 1) 3 2 D(k) C(SELECT 1) Z(I) \
                    E(0A000) Z(I) \
                    1 2 D(k2) C(SELECT 1) 3 2 D(k) C(SELECT 1) Z(I) \
                    E(26000) Z(I) \
                    T(?column?) D(last) C(SELECT 1) Z(I)";
        assert_eq!(alice.until_ready(6), want, "round {round}");
        assert_eq!(bob.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
    }
}

// 12
#[test]
fn a_function_call_is_refused_and_the_session_lives_on() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    assert_eq!(alice.ask(&[function_call(1598)]), "E(0A000) Z(I)");
    assert!(alice.error.contains_key(&b'H'), "a refusal has a hint: {:?}", alice.error);
    assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
    alice.query("BEGIN");
    let refused = alice.ask(&[function_call(1598)]);
    assert_eq!(refused, "E(0A000) Z(E)");
    assert_eq!(alice.query("SELECT 1"), "E(25P02) Z(E)");
    assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
    // After an extended error it is discarded like everything else.
    assert_eq!(alice.ask(&[parse("", "SELEKT"), function_call(1598), sync()]), "E(42601) Z(I)");
    assert_eq!(rig.client("bob").query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
}

// 10
#[test]
fn a_notification_behind_an_answer_to_the_proxy_itself_reaches_the_client() {
    let server = ScriptedServer::start(move |session| {
        session.login()?;
        let told = [answer::notification(7, "ch", "one"), answer::notification(7, "ch", "two")].concat();
        loop {
            let message = session.read()?;
            let text = String::from_utf8_lossy(&message.body).into_owned();
            match message.tag {
                // What the proxy asks to know what the SET has done: half a message more is in the same packet.
                b'Q' if text.contains("current_setting") => {
                    session.send(&[answer::one_value("7s"), told[..9].to_vec()].concat())?;
                    std::thread::sleep(Duration::from_millis(50));
                    session.send(&told[9..])?;
                }
                b'Q' if text.starts_with("SET") => {
                    session.send(&[answer::command_complete("SET"), answer::ready(b'I')].concat())?;
                }
                b'Q' => session.send(&answer::one_value("ok"))?,
                _ => return Ok(()),
            }
        }
    });
    let rig = Rig::setup().mode("session").server_at(server.address()).start();
    let mut alice = rig.client("alice");
    assert_eq!(alice.query("SET statement_timeout = '7s'"), "C(SET) Z(I)");
    assert_eq!(alice.query("SELECT 1"), "A(ch=one) A(ch=two) T(value) D(ok) C(SELECT 1) Z(I)");
}
