//! COPY, large messages, and messages that lie about their length.

use std::thread;
use std::time::{Duration, Instant};

use crate::rig::Rig;
use crate::talk::*;

fn table(rig: &Rig, name: &str) {
    rig.superuser().query(&format!("CREATE TABLE {name} (i int); GRANT ALL ON {name} TO PUBLIC"));
}

fn bob_is_served(rig: &Rig, after: &str) {
    assert_eq!(rig.client("bob").query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)", "after {after}");
}

// 21
#[test]
fn a_sync_during_extended_copy_in_is_not_counted() {
    let rig = Rig::new();
    table(&rig, "t21");
    for (round, syncs) in [0, 1, 3].into_iter().enumerate() {
        let mut alice = rig.client("alice");
        alice.say(&[parse("", "COPY t21 FROM STDIN"), bind("", "", &[]), execute("", 0), flush()]);
        assert_eq!(alice.until(b'G', 1), "1 2 G");
        for i in 0..syncs {
            alice.say(&[sync(), flush(), copy_data(format!("{i}\n").as_bytes())]);
        }
        assert_eq!(alice.ask(&[copy_data(b"7\n"), copy_done(), sync()]), format!("C(COPY {}) Z(I)", syncs + 1));
        assert_eq!(alice.query("SELECT 'alice'"), "T(?column?) D(alice) C(SELECT 1) Z(I)", "round {round}");
        bob_is_served(&rig, "an extended COPY");
        assert_eq!(alice.query("TRUNCATE t21"), "C(TRUNCATE TABLE) Z(I)");
    }
    // A driver that sends everything at once, Sync before the data included.
    let mut alice = rig.client("alice");
    let said = alice.ask(&[run("COPY t21 FROM STDIN", &[]), sync(), copy_data(b"1\n2\n"), copy_done(), sync()]);
    assert_eq!(said, "1 2 G C(COPY 2) Z(I)");
    assert!(alice.is_quiet_for(Duration::from_millis(200)), "a Sync was counted twice");
    assert_eq!(alice.query("SELECT count(*) FROM t21"), "T(count) D(2) C(SELECT 1) Z(I)");
    bob_is_served(&rig, "an extended COPY in one write");
}

// 21
#[test]
fn copy_data_after_a_copy_error_does_not_pin_the_backend() {
    let rig = Rig::new();
    table(&rig, "t21b");
    let mut alice = rig.client("alice");
    for _ in 0..3 {
        alice.say(&[query("COPY t21b FROM STDIN")]);
        assert_eq!(alice.until(b'G', 1), "G");
        assert_eq!(alice.ask(&[copy_data(b"no number\n")]), "E(22P02) Z(I)");
        alice.say(&vec![copy_data(b"1\n"); 100]);
        alice.say(&[copy_done()]);
        bob_is_served(&rig, "a failed COPY whose data still comes");
        assert_eq!(alice.query("SELECT count(*) FROM t21b"), "T(count) D(0) C(SELECT 1) Z(I)");
        bob_is_served(&rig, "a failed COPY");
    }
    // Extended: after the error everything is discarded up to the Sync behind CopyDone.
    alice.say(&[run("COPY t21b FROM STDIN", &[]), flush()]);
    assert_eq!(alice.until(b'G', 1), "1 2 G");
    alice.say(&[copy_data(b"no number\n")]);
    assert_eq!(alice.until(b'E', 1), "E(22P02)");
    assert_eq!(alice.ask(&[copy_data(b"1\n"), copy_done(), sync()]), "Z(I)");
    assert_eq!(alice.query("SELECT count(*) FROM t21b"), "T(count) D(0) C(SELECT 1) Z(I)");
    bob_is_served(&rig, "a failed extended COPY");
    // Copy messages out of place are ignored, as the server does.
    assert_eq!(
        alice.ask(&[copy_data(b"1\n"), copy_done(), copy_fail("no"), query("SELECT 1")]),
        "T(?column?) D(1) C(SELECT 1) Z(I)"
    );
}

// 22
#[test]
fn copies_that_succeed_and_copies_that_fail_release_the_backend() {
    let rig = Rig::new();
    table(&rig, "t22");
    let mut alice = rig.client("alice");
    let into = "COPY t22 FROM STDIN";
    let out = "COPY (SELECT generate_series(1, 3)) TO STDOUT";
    let broken = "COPY (SELECT 1 / (3 - i) FROM generate_series(1, 3) i) TO STDOUT";
    type Case<'a> = (&'a str, Vec<Vec<u8>>, usize, &'a str);
    let cases: Vec<Case> = vec![
        (
            "in",
            vec![query(into), copy_data(b"1\n"), copy_data(b"2\n3"), copy_data(b"\n"), copy_done()],
            1,
            "G C(COPY 3) Z(I)",
        ),
        ("in, given up", vec![query(into), copy_data(b"1\n"), copy_fail("enough")], 1, "G E(57014) Z(I)"),
        ("in, a bad row", vec![query(into), copy_data(b"x\n"), copy_done()], 1, "G E(22P02) Z(I)"),
        ("out", vec![query(out)], 1, "H d(1\n) d(2\n) d(3\n) c C(COPY 3) Z(I)"),
        ("out, broken", vec![query(broken)], 1, "H d(0\n) d(1\n) E(22012) Z(I)"),
        ("out, extended", vec![run(out, &[]), sync()], 1, "1 2 H d(1\n) d(2\n) d(3\n) c C(COPY 3) Z(I)"),
        ("out, extended, broken", vec![run(broken, &[]), sync()], 1, "1 2 H d(0\n) d(1\n) E(22012) Z(I)"),
        ("in, extended", vec![run(into, &[]), copy_data(b"1\n"), copy_done(), sync()], 1, "1 2 G C(COPY 1) Z(I)"),
        ("in, extended, given up", vec![run(into, &[]), copy_fail("enough"), sync()], 1, "1 2 G E(57014) Z(I)"),
        (
            "two in one text",
            vec![
                query("COPY t22 FROM STDIN; SELECT 'between'; COPY t22 FROM STDIN"),
                copy_data(b"1\n"),
                copy_done(),
                copy_data(b"2\n"),
                copy_done(),
            ],
            1,
            "G C(COPY 1) T(?column?) D(between) C(SELECT 1) G C(COPY 1) Z(I)",
        ),
        (
            "both directions",
            vec![query("COPY t22 TO STDOUT; COPY t22 FROM STDIN"), copy_data(b"1\n"), copy_done()],
            1,
            "H c C(COPY 0) G C(COPY 1) Z(I)",
        ),
    ];
    for (name, messages, readies, want) in cases {
        alice.query("TRUNCATE t22");
        alice.say(&messages);
        assert_eq!(alice.until_ready(readies), want, "{name}");
        bob_is_served(&rig, name);
        assert_eq!(alice.query("SELECT 'alice'"), "T(?column?) D(alice) C(SELECT 1) Z(I)", "after {name}");
    }
    // A Query in place of data breaks the protocol: the server ends its connection. The client's ends too, or both of its
    // requests are answered.
    let mut violator = rig.client("alice");
    violator.say(&[query(into), query("SELECT 1")]);
    let said = violator.try_until_ready_times(2);
    assert!(said.starts_with("G E(08P01)"), "{said}");
    if said.matches("Z(I)").count() == 2 {
        assert_eq!(violator.query("SELECT 'in step'"), "T(?column?) D(in step) C(SELECT 1) Z(I)");
    } else {
        assert!(said.contains("closed") && !said.contains('Z'), "{said}");
    }
    bob_is_served(&rig, "a Query within a COPY");
    // Inside a transaction the backend stays until its end.
    alice.query("BEGIN; TRUNCATE t22");
    assert_eq!(alice.ask(&[query(into), copy_data(b"1\n"), copy_done()]), "G C(COPY 1) Z(T)");
    assert_eq!(alice.ask(&[query(into), copy_fail("enough")]), "G E(57014) Z(E)");
    assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    bob_is_served(&rig, "a COPY in a transaction");
}

// 22
#[test]
fn a_client_that_dies_in_a_copy_costs_no_backend() {
    let rig = Rig::new();
    table(&rig, "t22b");
    for messages in [
        vec![query("COPY t22b FROM STDIN"), copy_data(b"1\n")],
        vec![query("COPY t22b FROM STDIN"), copy_data(b"1\n"), vec![b'd', 0, 0, 1, 0, b'1', b'\n']],
        vec![run("COPY t22b FROM STDIN", &[]), flush(), copy_data(b"1\n")],
        vec![query("COPY (SELECT generate_series(1, 100000000)) TO STDOUT")],
    ] {
        let mut alice = rig.client("alice");
        alice.say(&messages);
        alice.reply();
        alice.reset();
        let mut bob = rig.client("bob");
        assert_eq!(bob.query("SELECT count(*) FROM t22b"), "T(count) D(0) C(SELECT 1) Z(I)");
    }
}

// 23
#[test]
fn a_client_dead_in_the_middle_of_a_row_costs_no_backend() {
    let rig = Rig::new();
    for sql in [
        "SELECT repeat('x', 50000000)",
        "SELECT repeat('x', 1000), generate_series(1, 100000000)",
        "SELECT repeat('x', 10000000) FROM generate_series(1, 100)",
    ] {
        for read in [1, 5, 1000, 100_000] {
            let mut alice = rig.client("alice");
            alice.say(&[query(sql)]);
            alice.raw(read).expect("some of the answer");
            let began = Instant::now();
            alice.reset();
            assert_eq!(rig.client("bob").query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)", "{sql}");
            assert!(began.elapsed() < Duration::from_secs(20), "{sql}: the backend came back only when it was done");
        }
    }
}

// 24
#[test]
fn memory_comes_back_after_large_rows() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    alice.query("SELECT repeat('x', 1000000)");
    let before = rig.proxy().rss_kib();
    for _ in 0..3 {
        assert_eq!(alice.query("SELECT repeat('x', 100000000)"), "T(repeat) D(<100000000>) C(SELECT 1) Z(I)");
    }
    let peak = rig.proxy().rss_kib();
    assert!(peak < before + 16 * 1024, "{before} KiB before 100 MB rows, {peak} KiB after");
    // Large messages from the client as well.
    let value = "y".repeat(40_000_000);
    for _ in 0..3 {
        assert_eq!(alice.ask(&[run("SELECT length($1)", &[Some(&value)]), sync()]), "1 2 D(40000000) C(SELECT 1) Z(I)");
    }
    alice.query("SELECT 1");
    let after = rig.proxy().rss_kib();
    assert!(after < before + 16 * 1024, "{before} KiB before 40 MB parameters, {after} KiB after");
}

// 25
#[test]
fn startup_login_and_queries_work_when_split_at_every_byte() {
    let rig = Rig::setup().with_password().start();
    let startup = rig.hello("alice");
    // Every place at which one write may end and the next begin.
    for cut in 1..startup.len() {
        let mut alice = Talk::open(rig.address());
        alice.send(&startup[..cut]);
        thread::sleep(Duration::from_micros(300));
        alice.send(&startup[cut..]);
        alice.authenticate(rig.password()).unwrap_or_else(|e| panic!("split at {cut}: {e}"));
    }
    // Every byte alone: encryption request, startup, password, queries.
    let mut alice = Talk::open(rig.address());
    alice.drip(true);
    alice.send(&ssl_request());
    assert_eq!(alice.raw(1).expect("an answer"), b"N");
    alice.send(&startup);
    let said = alice.authenticate(rig.password()).unwrap_or_else(|e| panic!("byte by byte: {e}"));
    assert!(said.starts_with("R(10) R(11) R(12) R(0)"), "{said}");
    assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
    assert_eq!(
        alice.ask(&[parse("s", "SELECT $1::text"), again("s", &[Some("split")]), sync()]),
        "1 2 D(split) C(SELECT 1) Z(I)"
    );
    alice.drip(false);
    assert_eq!(alice.query("SELECT 2"), "T(?column?) D(2) C(SELECT 1) Z(I)");
}

// 25
#[test]
fn answers_of_the_server_work_when_split_at_every_byte() {
    let rig = Rig::setup().server_byte_by_byte().start();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    for _ in 0..3 {
        assert_eq!(alice.query("SELECT 'alice', NULL"), "T(?column?,?column?) D(alice,~) C(SELECT 1) Z(I)");
        assert_eq!(bob.ask(&[parse("", "SELECT 'bob'"), again("", &[]), sync()]), "1 2 D(bob) C(SELECT 1) Z(I)");
        assert_eq!(alice.ask(&[parse("", "SELEKT"), sync(), query("SELECT 2")]), "E(42601) Z(I)");
        assert_eq!(alice.until_ready(1), "T(?column?) D(2) C(SELECT 1) Z(I)");
    }
    assert_eq!(alice.query("COPY (SELECT generate_series(1, 2)) TO STDOUT"), "H d(1\n) d(2\n) c C(COPY 2) Z(I)");
}

// 26
#[test]
fn lengths_too_small_or_absurd_close_the_connection_and_nothing_else() {
    let rig = Rig::new();
    let mut witness = rig.client("bob");
    for length in [0u32, 1, 3, 4, 5, 7, 20_000, 1 << 24, 0x7fff_ffff, 0x8000_0000, 0xffff_fffb, 0xffff_ffff] {
        let mut alice = Talk::open(rig.address());
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&rig.hello("alice")[4..]);
        let _ = alice.try_send(&bytes);
        // 10,001 is PostgreSQL's own limit; what is within it may be waited for.
        if !(8..=10_000).contains(&length) {
            let said = alice.until_closed();
            assert!(
                said.is_empty() || said.starts_with('E') && !said.contains('Z'),
                "startup of length {length}: {said}"
            );
        }
    }
    for tag in *b"QPBEDCSHFdcfXp\0z\xff" {
        for length in [0u32, 1, 2, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_fffb, 0xffff_ffff] {
            let mut alice = rig.client("alice");
            let mut bytes = vec![tag];
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(b"SELECT 1\0\0\0\0\0\0");
            let _ = alice.try_send(&bytes);
            let said = alice.until_closed();
            assert!(said.is_empty() || said.starts_with('E'), "{:?} of length {length}: {said}", tag as char);
            assert!(!said.contains('Z'), "{:?} of length {length}: {said}", tag as char);
        }
    }
    assert_eq!(witness.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
    assert_eq!(rig.client("alice").query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
}

// 26
#[test]
fn bodies_shorter_than_their_message_are_refused() {
    let rig = Rig::new();
    for (tag, body) in [
        (b'Q', &b""[..]),
        (b'Q', b"SELECT 1"),
        (b'Q', b"SELECT 1\0; SELECT 2\0"),
        (b'P', b""),
        (b'P', b"s\0SELECT 1"),
        (b'P', b"s\0SELECT 1\0"),
        (b'P', b"s\0SELECT 1\0\0"),
        (b'P', b"s\0SELECT 1\0\0\x02\0\0\0\x17"),
        (b'P', b"s\0SELECT 1\0\xff\xff"),
        (b'B', b"\0"),
        (b'B', b"\0\0"),
        (b'B', b"\0\0\0\x01"),
        (b'B', b"\0\0\0\0\0\x01"),
        (b'B', b"\0\0\0\0\0\x01\0\0\0\x04ab"),
        (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
        (b'B', b"\0\0\0\0\xff\xff"),
        (b'E', b""),
        (b'E', b"\0"),
        (b'E', b"\0\0\0"),
        (b'D', b""),
        (b'D', b"S"),
        (b'D', b"Sname"),
        (b'D', b"X\0"),
        (b'C', b""),
        (b'C', b"Pname"),
        (b'C', b"X\0"),
        (b'F', b""),
        (b'S', b"x"),
        (b'H', b"x"),
    ] {
        let mut alice = rig.client("alice");
        alice.say(&[message(tag, body), sync(), query("SELECT 'on'")]);
        // Either the connection ends, or the message is answered with one error and the session goes on in step.
        let said = alice.until_closed_or("D(on)");
        let name = format!("{:?} {:?}", tag as char, String::from_utf8_lossy(body));
        assert!(said.contains("E(") || said.is_empty(), "{name}: {said}");
        let codes: Vec<_> = said.split(' ').filter(|t| t.starts_with("E(")).collect();
        assert!(
            codes.iter().all(|c| ["E(08P01)", "E(22P03)", "E(0A000)", "E(26000)", "E(34000)"].contains(c)),
            "{name}: {said}"
        );
        bob_is_served(&rig, &name);
    }
}
