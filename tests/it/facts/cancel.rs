//! Cancels hit what they were meant for or nothing, and a client's end leaves nothing behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::ScriptedServer;
use crate::kit::scripted::answer;
use crate::rig::Rig;
use crate::talk::*;

fn send_cancel(rig: &Rig, request: &[u8]) {
    let mut talk = Talk::open(rig.address());
    talk.send(request);
    assert_eq!(talk.until_closed(), "", "a cancel request is not answered");
}

// 27
#[test]
fn a_cancel_stops_the_query_and_leaves_no_stray_reply() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    for extended in [false, true] {
        for _ in 0..3 {
            match extended {
                false => alice.say(&[query("SELECT pg_sleep(60)")]),
                true => alice.say(&[run("SELECT pg_sleep(60)", &[]), sync()]),
            }
            rig.wait_until_running("pg_sleep(60)");
            send_cancel(&rig, &alice.cancel_request());
            let said = alice.until_ready(1);
            let want = if extended { "1 2 E(57014) Z(I)" } else { "T(pg_sleep) E(57014) Z(I)" };
            assert_eq!(said, want);
            assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
            assert_eq!(rig.client("bob").query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
        }
    }
}

// 27
#[test]
fn a_late_cancel_never_hits_the_next_clients_query() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    for round in 0..6 {
        assert_eq!(alice.query("SELECT 'alice'"), "T(?column?) D(alice) C(SELECT 1) Z(I)");
        // Long enough to be seen running on a busy machine.
        bob.say(&[query("SELECT 'bob' FROM pg_sleep(0.7)")]);
        rig.wait_until_running("'bob' FROM pg_sleep(0.7)");
        send_cancel(&rig, &alice.cancel_request());
        assert_eq!(bob.until_ready(1), "T(?column?) D(bob) C(SELECT 1) Z(I)", "round {round}");
    }
}

// 27
#[test]
fn a_cancel_that_races_with_the_end_of_its_query_hits_nobody_else() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    let (mut hits, mut misses) = (0, 0);
    for round in 0..60u64 {
        alice.say(&[query("SELECT 'alice' FROM pg_sleep(0.01)")]);
        bob.say(&[query("SELECT 'b1' FROM pg_sleep(0.02)"), query("SELECT 'b2' FROM pg_sleep(0.02)")]);
        thread::sleep(Duration::from_micros(round * 300));
        let mut killer = Talk::open(rig.address());
        killer.send(&alice.cancel_request());
        match alice.until_ready(1).as_str() {
            "T(?column?) D(alice) C(SELECT 1) Z(I)" => misses += 1,
            "E(57014) Z(I)" | "T(?column?) E(57014) Z(I)" => hits += 1,
            other => panic!("round {round}: {other}"),
        }
        let bobs = "T(?column?) D(b1) C(SELECT 1) Z(I) T(?column?) D(b2) C(SELECT 1) Z(I)";
        assert_eq!(bob.until_ready(2), bobs, "round {round}");
        assert_eq!(alice.query("SELECT 'next'"), "T(?column?) D(next) C(SELECT 1) Z(I)", "round {round}");
    }
    println!("{hits} queries cancelled, {misses} ended first");
}

// 27
#[test]
fn a_cancel_of_a_waiting_client_cancels_it_alone() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    bob.query("BEGIN");
    bob.say(&[query("SELECT 'bob' FROM pg_sleep(0.5)")]);
    rig.wait_until_running("'bob' FROM pg_sleep");
    alice.say(&[query("SELECT 'alice'")]);
    send_cancel(&rig, &alice.cancel_request());
    assert_eq!(bob.until_ready(1), "T(?column?) D(bob) C(SELECT 1) Z(T)");
    bob.query("COMMIT");
    let said = alice.until_ready(1);
    assert!(said == "E(57014) Z(I)" || said == "T(?column?) D(alice) C(SELECT 1) Z(I)", "{said}");
    assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
}

// 27
#[test]
fn a_cancel_with_a_wrong_key_does_nothing() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    alice.say(&[query("SELECT 'alice' FROM pg_sleep(0.5)")]);
    rig.wait_until_running("'alice' FROM pg_sleep");
    let (pid, secret) = (alice.pid, alice.secret.clone());
    let mut wrong = secret.clone();
    wrong[0] ^= 1;
    for request in [
        cancel(pid, &wrong),
        cancel(pid.wrapping_add(1), &secret),
        cancel(0, &[0; 4]),
        cancel(-1, &[255; 4]),
        cancel(pid, &secret[..3]),
        cancel(pid, &[]),
        cancel(pid, &[secret.clone(), vec![0]].concat()),
        cancel(pid, &[7; 300]),
    ] {
        let mut talk = Talk::open(rig.address());
        let _ = talk.try_send(&request);
        let said = talk.until_closed();
        assert!(said.is_empty() || said.starts_with('E'), "{said}");
    }
    assert_eq!(alice.until_ready(1), "T(?column?) D(alice) C(SELECT 1) Z(I)");
    // The server's own key and pid are not what the client got.
    let server_pid = alice.value("SELECT pg_backend_pid()");
    assert_ne!(server_pid, pid.to_string(), "the server's pid was passed on as a cancel key");
}

// 28
#[test]
fn a_storm_of_cancels_does_not_starve_logins() {
    let rig = Rig::setup().pool(2).start();
    let mut alice = rig.client("alice");
    alice.say(&[query("SELECT 'alice' FROM pg_sleep(3)")]);
    rig.wait_until_running("'alice' FROM pg_sleep(3)");
    let storming = AtomicBool::new(true);
    let before = rig.proxy().rss_kib();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (storming, rig) = (&storming, &rig);
            scope.spawn(move || {
                let mut key = thread;
                while storming.load(Ordering::Relaxed) {
                    let burst: Vec<Talk> = (0..50)
                        .filter_map(|_| {
                            key += 4;
                            let mut talk = Talk::try_open(rig.address()).ok()?;
                            talk.try_send(&cancel(key, &key.to_be_bytes())).ok()?;
                            Some(talk)
                        })
                        .collect();
                    drop(burst);
                }
            });
        }
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(rig.client("bob").query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
        }
        let took = began.elapsed();
        storming.store(false, Ordering::Relaxed);
        assert!(took < Duration::from_secs(20), "twenty logins took {took:?} in a storm of cancels");
    });
    assert_eq!(alice.until_ready(1), "T(?column?) D(alice) C(SELECT 1) Z(I)");
    let after = rig.proxy().rss_kib();
    assert!(after < before + 32 * 1024, "{before} KiB before the storm, {after} KiB after");
}

// 28
#[test]
fn many_cancels_of_one_query_cancel_one_query() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    for _ in 0..3 {
        alice.say(&[query("SELECT pg_sleep(60)")]);
        rig.wait_until_running("pg_sleep(60)");
        let cancels: Vec<Talk> = (0..200)
            .map(|_| {
                let mut talk = Talk::open(rig.address());
                talk.send(&alice.cancel_request());
                talk
            })
            .collect();
        assert_eq!(alice.until_ready(1), "T(pg_sleep) E(57014) Z(I)");
        for mut cancel in cancels {
            assert_eq!(cancel.until_closed(), "");
        }
        // All of them are settled: whatever comes next runs undisturbed.
        let mut bob = rig.client("bob");
        assert_eq!(bob.query("SELECT 'bob' FROM pg_sleep(0.2)"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
    }
}

// 29
#[test]
fn negative_pids_and_odd_keys_of_the_server_work() {
    for (pid, secret) in [(-1i32, [0xff; 4]), (i32::MIN, [1, 2, 3, 4]), (0, [0; 4]), (i32::MAX, [0x80, 0, 0, 0])] {
        let (tell, cancels) = mpsc::channel();
        let (cancel_seen, waiting) = (Arc::new((Mutex::new(false), Condvar::new())), Arc::new(AtomicBool::new(false)));
        let (seen, is_waiting) = (cancel_seen.clone(), waiting.clone());
        let server = ScriptedServer::start(move |session| {
            let startup = session.startup()?;
            if startup[..4] == 80_877_102_u32.to_be_bytes() {
                tell.send(startup).expect("the test listens");
                *seen.0.lock().expect("no panic under the lock") = true;
                seen.1.notify_all();
                return Ok(());
            }
            session.greet(pid, &secret)?;
            session.serve(|sql| {
                if !sql.contains("wait") {
                    return answer::one_value("ok");
                }
                is_waiting.store(true, Ordering::SeqCst);
                let cancelled = seen.0.lock().expect("no panic under the lock");
                drop(seen.1.wait_timeout_while(cancelled, PATIENCE, |cancelled| !*cancelled));
                [answer::error("ERROR", "57014", "cancelled"), answer::ready(b'I')].concat()
            })
        });
        let rig = Rig::setup().server_at(server.address()).start();
        let mut alice = rig.client("alice");
        assert_eq!(alice.query("SELECT 1"), "T(value) D(ok) C(SELECT 1) Z(I)", "pid {pid}");
        alice.say(&[query("SELECT 'wait'")]);
        rig.eventually("the server works on it", || waiting.load(Ordering::SeqCst));
        send_cancel(&rig, &alice.cancel_request());
        assert_eq!(alice.until_ready(1), "E(57014) Z(I)", "pid {pid}");
        let sent = cancels.recv_timeout(PATIENCE).expect("a cancel reaches the server");
        assert_eq!(sent[4..], [&pid.to_be_bytes()[..], &secret].concat(), "with the server's own key, as it gave it");
    }
}

// 27. Takes the five seconds that a connection to the server may take.
#[test]
fn a_backend_whose_cancel_the_server_does_not_confirm_serves_nobody_else() {
    let cancelled = Arc::new(AtomicBool::new(false));
    let (waiting, seen) = (Arc::new(AtomicBool::new(false)), cancelled.clone());
    let is_waiting = waiting.clone();
    let server = ScriptedServer::start(move |session| {
        let startup = session.startup()?;
        if startup[..4] == 80_877_102_u32.to_be_bytes() {
            // A cancel request: taken, and its connection is never closed.
            cancelled.store(true, Ordering::SeqCst);
            return session.read_until(b'?').map(drop);
        }
        session.greet(1, &[0; 4])?;
        let number = session.number;
        session.serve(|sql| {
            if sql.contains("wait") {
                is_waiting.store(true, Ordering::SeqCst);
                while !cancelled.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            answer::one_value(&format!("backend {number}"))
        })
    });
    let rig = Rig::setup().server_at(server.address()).start();
    let mut alice = rig.client("alice");
    alice.say(&[query("SELECT 'wait'")]);
    rig.eventually("the server works on it", || waiting.load(Ordering::SeqCst));
    let mut killer = Talk::open(rig.address());
    killer.send(&alice.cancel_request());
    let first = alice.until_ready(1);
    assert!(seen.load(Ordering::SeqCst));
    let second = alice.query("SELECT 2");
    assert_ne!(first, second, "the backend that a cancel may still hit was used again");
    assert_eq!(second.replace(|c: char| c.is_ascii_digit(), ""), first.replace(|c: char| c.is_ascii_digit(), ""));
}

// 30
#[test]
fn a_client_that_dies_with_an_advisory_lock_releases_it() {
    let rig = Rig::setup().pool(2).start();
    let mut watcher = rig.superuser();
    for (take, kind) in [
        ("SELECT pg_advisory_lock(30)", "session"),
        ("BEGIN; SELECT pg_advisory_lock(30)", "session, in a transaction"),
        ("BEGIN; SELECT pg_advisory_xact_lock(30)", "transaction"),
        ("DO $$ BEGIN PERFORM pg_advisory_lock(30); END $$", "session, in a DO"),
    ] {
        for reset in [false, true] {
            let mut alice = rig.client("alice");
            let said = alice.query(take);
            assert!(!said.contains("E("), "{said}");
            if reset {
                alice.reset()
            } else {
                drop(alice)
            }
            rig.eventually(&format!("the {kind} lock is released"), || {
                watcher.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == "0"
            });
            assert_eq!(rig.client("bob").value("SELECT pg_try_advisory_xact_lock(30)"), "t", "{kind}");
        }
    }
}

// 30, where the proxy holds the client's next message back
#[test]
fn a_client_that_dies_during_a_statement_with_effects_frees_its_backend() {
    let rig = Rig::new();
    let mut watcher = rig.superuser();
    let mut alice = rig.client("alice");
    alice.say(&[query("DO $$ BEGIN PERFORM pg_sleep(300); END $$")]);
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'DO %pg_sleep(300)%'";
    rig.eventually("the statement runs", || watcher.value(sleeping) == "1");
    alice.reset();
    rig.eventually("the statement was cancelled", || watcher.value(sleeping) == "0");
    assert_eq!(rig.client("bob").value("SELECT 1"), "1");
}

// 30
#[test]
fn a_client_that_leaves_in_a_transaction_is_rolled_back_before_reuse() {
    let rig = Rig::new();
    rig.superuser().query("CREATE TABLE t30 (i int); GRANT ALL ON t30 TO PUBLIC");
    for leave in ["reset", "close", "terminate", "failed", "busy", "half"] {
        let mut alice = rig.client("alice");
        assert_eq!(
            alice.query("BEGIN; INSERT INTO t30 VALUES (1); SET LOCAL work_mem = '1MB'"),
            "C(BEGIN) C(INSERT 0 1) C(SET) Z(T)"
        );
        match leave {
            "reset" => alice.reset(),
            "close" => drop(alice),
            "terminate" => {
                alice.say(&[terminate()]);
                assert_eq!(alice.until_closed(), "");
            }
            "failed" => {
                alice.query("SELECT 1/0");
                alice.reset();
            }
            "busy" => {
                alice.say(&[query("SELECT pg_sleep(60)")]);
                rig.wait_until_running("pg_sleep(60)");
                alice.reset();
            }
            _ => {
                alice.say(&[b"Q\0\0\0\x20COMMIT"]);
                alice.reset();
            }
        }
        let began = Instant::now();
        let mut bob = rig.client("bob");
        assert_eq!(bob.query("SELECT count(*) FROM t30"), "T(count) D(0) C(SELECT 1) Z(I)", "{leave}");
        assert_eq!(bob.query("SHOW work_mem"), "T(work_mem) D(4MB) C(SHOW) Z(I)", "{leave}");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{leave}: waited for the statement of a client that is gone"
        );
    }
}

// 30
#[test]
fn what_was_sent_before_a_terminate_is_finished() {
    let rig = Rig::new();
    let mut watcher = rig.superuser();
    watcher.query("CREATE TABLE left_behind (i int); GRANT ALL ON left_behind TO PUBLIC");
    let noisy = "BEGIN FOR i IN 1..6 LOOP RAISE NOTICE 'on'; PERFORM pg_sleep(0.05); END LOOP; \
                 INSERT INTO left_behind VALUES (1); END";
    watcher.query(&format!("CREATE FUNCTION noisy() RETURNS void LANGUAGE plpgsql AS $$ {noisy} $$"));
    let slow = "INSERT INTO left_behind SELECT 1 FROM pg_sleep(0.3)";
    let requests = [
        ("a slow query", query(slow), 1),
        ("a query behind a slow one", [query(slow), query("INSERT INTO left_behind VALUES (1)")].concat(), 2),
        ("a batch", [run(slow, &[]), sync()].concat(), 1),
        ("a batch without its Sync", run(slow, &[]), 0),
        ("a transaction that stays open", [query("BEGIN"), query(slow)].concat(), 0),
        ("one with effects", query("DO $$ BEGIN PERFORM pg_sleep(0.3); INSERT INTO left_behind VALUES (1); END $$"), 1),
        ("one that speaks to a client that is gone", query("SELECT noisy()"), 1),
        ("one with effects that does", query(&format!("DO $$ {noisy} $$")), 1),
        ("a COPY without its data", query("COPY left_behind FROM STDIN"), 0),
    ];
    let mut want = 0;
    for (what, request, rows) in requests {
        for leave in ["close", "reset", "stay", "wait"] {
            let mut bob = rig.client("bob");
            let mut alice = rig.client("alice");
            if leave == "wait" {
                bob.query("BEGIN");
            }
            alice.say(&[request.clone(), terminate()]);
            match leave {
                "close" => drop(alice),
                "reset" => alice.reset(),
                "stay" => drop(alice.until_closed()),
                _ => {
                    drop(alice);
                    thread::sleep(Duration::from_millis(50));
                    bob.query("COMMIT");
                }
            }
            want += rows;
            rig.eventually(&format!("{what}, {leave}: {want} rows"), || {
                bob.value("SELECT count(*) FROM left_behind") == want.to_string()
            });
        }
    }
}

// 31
#[test]
fn a_backend_that_died_idle_is_never_handed_out() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    assert_eq!(alice.ask(&[parse("s", "SELECT 's'"), sync()]), "1 Z(I)");
    for round in 0..20 {
        let pid = alice.value("SELECT pg_backend_pid()");
        rig.terminate(&pid);
        match round % 3 {
            0 => assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)", "round {round}"),
            1 => assert_eq!(alice.ask(&[again("s", &[]), sync()]), "2 D(s) C(SELECT 1) Z(I)", "round {round}"),
            _ => assert_eq!(
                rig.client("bob").query("SELECT 'bob'"),
                "T(?column?) D(bob) C(SELECT 1) Z(I)",
                "round {round}"
            ),
        }
    }
}

// 32
#[test]
fn a_statement_that_may_have_reached_the_server_is_never_sent_again() {
    let rig = Rig::new();
    let mut admin = rig.superuser();
    // A sequence counts executions: nextval is not undone by anything.
    admin.query("CREATE SEQUENCE runs; GRANT ALL ON SEQUENCE runs TO PUBLIC");
    admin.query("CREATE FUNCTION fatal() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('runs'); PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); RETURN 1; END $$");
    let mut alice = rig.client("alice");
    assert_eq!(alice.ask(&[parse("f", "SELECT fatal()"), sync()]), "1 Z(I)");
    for (round, extended) in [false, true, true, false].into_iter().enumerate() {
        match extended {
            false => alice.say(&[query("SELECT fatal()")]),
            true => alice.say(&[again("f", &[]), sync()]),
        }
        let said = alice.until_ready(1);
        assert!(said.ends_with("Z(I)"), "{said}");
        let codes: Vec<_> = said.split(' ').filter(|t| t.starts_with('E')).collect();
        assert!(codes == ["E(57P01)"] || codes == ["E(08006)"], "one error tells the client: {said}");
        assert_eq!(admin.value("SELECT last_value FROM runs"), (round + 1).to_string(), "it ran again");
        assert_eq!(alice.query("SELECT 'on'"), "T(?column?) D(on) C(SELECT 1) Z(I)");
    }
    // In a transaction: the session cannot go on as if it were still in one.
    alice.query("BEGIN");
    alice.say(&[query("SELECT fatal()")]);
    let said = alice.until_closed_or("Z(");
    assert!(said.contains("E(57P01)") || said.contains("E(08006)"), "{said}");
    assert!(!said.contains("Z(T)"), "{said}");
    assert_eq!(admin.value("SELECT last_value FROM runs"), "5");
    assert_eq!(rig.client("bob").query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
}

// 27
#[test]
fn a_cancel_ends_what_a_console_waits_for() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    assert_eq!(alice.query("BEGIN"), "C(BEGIN) Z(T)");
    let mut console = rig.console();
    console.say(&[query("PAUSE")]);
    // The command waits for the transaction; nothing says so but its silence.
    console.patience = Duration::from_millis(300);
    assert!(console.try_reply().is_err(), "PAUSE ended while a transaction was open");
    console.patience = Duration::from_secs(30);
    let mut wrong = console.cancel_request();
    *wrong.last_mut().expect("a key") ^= 1;
    send_cancel(&rig, &wrong);
    send_cancel(&rig, &console.cancel_request());
    assert_eq!(console.until_ready(1), "E(57014) Z(I)");
    // The pause itself stays, as the error's hint says.
    assert_eq!(console.query("RESUME"), "C(RESUME) Z(I)");
    assert_eq!(alice.query("COMMIT"), "C(COMMIT) Z(I)");
    assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
}
