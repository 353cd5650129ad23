//! Startup, login and session state: what a client says about itself decides nothing, and nothing of it stays behind.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::rig::Rig;
use crate::talk::*;

// 33
#[test]
fn plain_bytes_before_the_handshake_are_never_processed() {
    let files = tempfile::tempdir().expect("a directory");
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    std::fs::write(files.path().join("cert"), certified.cert.pem()).expect("written");
    std::fs::write(files.path().join("key"), certified.signing_key.serialize_pem()).expect("written");
    let path = |name: &str| files.path().join(name).display().to_string();
    let table = format!("[tls]\nmode = \"allow\"\ncert = \"{}\"\nkey = \"{}\"", path("cert"), path("key"));
    let rig = Rig::setup().table(&table).start();
    let hello = rig.hello("alice");
    let handshake = |alice: &Talk| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certified.cert.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls =
            rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().expect("a name")).expect("a client");
        rustls::StreamOwned::new(tls, alice.writer())
    };
    // Startup and a query behind the request, in the same segment.
    let mut alice = Talk::open(rig.address());
    alice.say(&[ssl_request(), hello.clone(), query("SELECT 1")]);
    match alice.raw(1).as_deref() {
        Ok(b"S") => {
            // Whatever follows is the end, or an alert of TLS; never a message of the protocol.
            let rest = alice.raw_until_closed();
            assert!(rest.is_empty() || rest[0] == 21, "{rest:?}");
        }
        Ok(b"E") | Err(_) => {}
        other => panic!("{other:?}"),
    }
    // The same, and then a proper handshake: the plain bytes must not have become part of the session.
    let mut alice = Talk::open(rig.address());
    alice.say(&[ssl_request(), hello.clone()]);
    if let Ok(b"S") = alice.raw(1).as_deref() {
        let mut first = [0];
        if let Ok(1) = handshake(&alice).read(&mut first) {
            assert_eq!(first, *b"E", "plain bytes were taken for the session's");
        }
    }
    // Without injected bytes the same path works.
    let mut alice = Talk::open(rig.address());
    alice.send(&ssl_request());
    assert_eq!(alice.raw(1).expect("an answer"), b"S");
    let mut tls = handshake(&alice);
    tls.write_all(&hello).expect("sent");
    let mut first = [0; 9];
    tls.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"R\0\0\0\x08\0\0\0\0", "logged in");
    // Where TLS is off the same rule holds for `N`.
    let rig = Rig::new();
    let mut alice = Talk::open(rig.address());
    alice.say(&[ssl_request(), rig.hello("alice")]);
    let mut said = alice.raw_up_to(2, Duration::from_secs(5));
    if said.first() == Some(&b'N') {
        said.remove(0);
    }
    assert!(said.is_empty() || said[0] == b'E', "bytes sent before the answer were processed: {said:?}");
}

// 33
#[test]
fn encryption_requests_are_answered_and_bounded() {
    let rig = Rig::new();
    let mut alice = Talk::open(rig.address());
    alice.send(&gssenc_request());
    assert_eq!(alice.raw(1).expect("an answer"), b"N");
    alice.send(&ssl_request());
    assert_eq!(alice.raw(1).expect("an answer"), b"N");
    alice.send(&startup(&[("user", rig.user("alice")), ("database", rig.database())]));
    alice.authenticate("").expect("a login after both were declined");
    assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
    // Asking on and on ends.
    let mut endless = Talk::open(rig.address());
    let mut answers = 0;
    while endless.try_send(&ssl_request()).is_ok() && answers < 100 {
        match endless.raw(1).as_deref() {
            Ok(b"N") => answers += 1,
            _ => break,
        }
    }
    assert!(answers < 100, "encryption requests are answered without end");
}

// 34
#[test]
fn startup_keys_cannot_change_who_logs_in() {
    let rig = Rig::setup().with_password().start();
    let database = rig.database();
    // Two users, two databases: refused, never the first for the password and the second for the session.
    for pairs in [
        vec![("user", rig.user("alice")), ("user", rig.user("bob")), ("database", database)],
        vec![("user", rig.user("alice")), ("database", database), ("user", rig.user("bob"))],
        vec![("user", rig.user("alice")), ("database", database), ("database", "postgres")],
    ] {
        let mut talk = Talk::open(rig.address());
        talk.send(&startup(&pairs));
        let said = talk.authenticate(rig.password());
        assert!(said.is_err(), "{pairs:?} logged in");
    }
    // Settings that would change who or what the session is are refused or have no effect.
    for extra in [
        ("role", "postgres"),
        ("session_authorization", "postgres"),
        ("is_superuser", "on"),
        ("options", "-c role=postgres"),
        ("options", "-c session_authorization=postgres"),
        ("options", "--role=postgres"),
        ("replication", "true"),
        ("replication", "database"),
    ] {
        let mut talk = Talk::open(rig.address());
        talk.send(&startup(&[("user", rig.user("alice")), ("database", database), extra]));
        if talk.authenticate(rig.password()).is_ok() {
            let said = talk.query("SELECT current_user, session_user");
            let role = rig.role();
            assert!(said.starts_with("E(") || said.contains(&format!("D({role},{role})")), "{extra:?}: {said}");
        }
    }
    for (user, password) in [
        ("", rig.password()),
        ("alice\u{1}", rig.password()),
        ("ALICE", rig.password()),
        ("alice", "wrong"),
        ("nobody", ""),
    ] {
        let mut talk = Talk::open(rig.address());
        talk.send(&startup(&[("user", user), ("database", database)]));
        let said = talk.authenticate(password).expect_err("no login");
        assert!(said.contains("E(28"), "{user:?}: {said}");
    }
    let mut bob = rig.client("bob");
    let role = rig.role();
    assert_eq!(
        bob.query("SELECT current_user, session_user"),
        format!("T(current_user,session_user) D({role},{role}) C(SELECT 1) Z(I)")
    );
}

// 34
#[test]
fn a_user_past_valid_until_is_refused() {
    let rig = Rig::setup()
        .with_password()
        .user_line("bob", "valid_until = \"2020-01-01T00:00:00Z\"")
        .user_line("alice", "valid_until = \"2120-01-01T00:00:00Z\"")
        .start();
    let mut bob = Talk::open(rig.address());
    bob.send(&startup(&[("user", rig.user("bob")), ("database", rig.database())]));
    let said = bob.authenticate(rig.password()).expect_err("no login");
    assert!(said.contains("E(28"), "{said}");
    assert_eq!(rig.client("alice").query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
}

// 35
#[test]
fn login_messages_are_bounded_and_odd_ones_refused() {
    let rig = Rig::setup().with_password().start();
    let scram = |first: &[u8]| {
        let mut body = b"SCRAM-SHA-256\0".to_vec();
        body.extend_from_slice(&(first.len() as u32).to_be_bytes());
        body.extend_from_slice(first);
        message(b'p', &body)
    };
    let long = vec![b'r'; 100_000];
    let answers: Vec<Vec<u8>> = vec![
        message(b'p', b""),
        message(b'p', b"SCRAM-SHA-256"),
        message(b'p', b"SCRAM-SHA-256\0"),
        message(b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
        message(b'p', b"SCRAM-SHA-256\0\x7f\xff\xff\xff"),
        message(b'p', b"SCRAM-SHA-256\0\0\0\0\x08n,,n=,r"),
        message(b'p', b"SCRAM-SHA-1\0\0\0\0\x0bn,,n=,r=abc"),
        message(b'p', b"secret\0"),
        message(b'p', &long),
        scram(b""),
        scram(b"n,,"),
        scram(b"n,,n=,r="),
        scram(b"y,,n=,r=abc\0def"),
        scram(b"p=tls-unique,,n=,r=abcdefghijklmnop"),
        scram(&[b"n,,n=,r=", &long[..]].concat()),
        scram(b"n,,m=ext,n=,r=abcdefghijklmnop"),
        scram(b"n,a=bob,n=,r=abcdefghijklmnop"),
        scram("n,,n=\u{fffd},r=\u{fffd}".as_bytes()),
        scram(b"\xff\xfe\xfd"),
        query("SELECT 1"),
        [0x70, 0x7f, 0xff, 0xff, 0xff].to_vec(),
        [0x70, 0, 0, 0, 3].to_vec(),
    ];
    let before = rig.proxy().rss_kib();
    for answer in &answers {
        let mut talk = Talk::open(rig.address());
        talk.say(&[startup(&[("user", rig.user("alice")), ("database", rig.database())])]);
        assert_eq!(talk.reply().tag, b'R');
        let _ = talk.try_send(answer);
        talk.finish();
        let said = talk.until_closed();
        assert!(!said.contains("R(0)") && !said.contains('Z'), "{answer:?}: {said}");
    }
    // The second step as well.
    for last in [&b""[..], b"c=biws", b"c=biws,r=x,p=", b"c=biws,r=x,p=AAAA", b"\0", &long] {
        let mut talk = Talk::open(rig.address());
        talk.say(&[startup(&[("user", rig.user("alice")), ("database", rig.database())])]);
        assert_eq!(talk.reply().tag, b'R');
        talk.send(&scram(b"n,,n=,r=abcdefghijklmnopqrstuvwx"));
        assert_eq!(talk.reply().body[3], 11);
        let _ = talk.try_send(&message(b'p', last));
        talk.finish();
        let said = talk.until_closed();
        assert!(!said.contains("R(0)") && !said.contains('Z'), "{last:?}: {said}");
    }
    assert!(rig.proxy().rss_kib() < before + 16 * 1024, "memory grew by logins that never were");
    rig.eventually("a login works", || {
        let mut talk = Talk::open(rig.address());
        talk.send(&startup(&[("user", rig.user("bob")), ("database", rig.database())]));
        talk.authenticate(rig.password()).is_ok()
    });
}

// 36
#[test]
fn a_queued_client_is_told_the_protocol_version_once() {
    let rig = Rig::new();
    let mut bob = rig.client("bob");
    bob.query("BEGIN");
    let database = rig.database();
    for (version, extra, want) in [
        (3 << 16 | 9, None, true),
        (3 << 16, Some(("_pq_.odd", "1")), true),
        (3 << 16 | 2, None, false),
        (3 << 16, None, false),
    ] {
        let mut alice = Talk::open(rig.address());
        let mut pairs = vec![("user", rig.user("alice")), ("database", database)];
        pairs.extend(extra);
        alice.send(&startup_version(version, &pairs));
        // It may have to wait for the only backend, or not; in either case it is told once.
        let waiter = thread::spawn(move || {
            let mut said = alice.authenticate("").expect("a login");
            said.push(' ');
            said.push_str(&alice.query("SELECT 1"));
            said
        });
        thread::sleep(Duration::from_millis(50));
        bob.query("COMMIT");
        let said = waiter.join().expect("the client ends");
        assert!(said.ends_with("T(?column?) D(1) C(SELECT 1) Z(I)"), "{said}");
        assert_eq!(said.split(' ').filter(|token| *token == "v").count(), usize::from(want), "{version:#x}: {said}");
        bob.query("BEGIN");
    }
    for version in [2 << 16, 4 << 16, 0, 3, u32::MAX] {
        let mut alice = Talk::open(rig.address());
        alice.send(&startup_version(version, &[("user", rig.user("alice")), ("database", database)]));
        let said = alice.until_closed();
        assert!(said.starts_with("E(") || said.is_empty(), "{version:#x}: {said}");
    }
}

// 37
#[test]
fn odd_options_cannot_crash_or_inject() {
    let rig = Rig::new();
    let database = rig.database();
    for (options, setting, value) in [
        ("-c work_mem=12MB", "work_mem", "12MB"),
        ("  -c   work_mem=13MB  ", "work_mem", "13MB"),
        ("-cwork_mem=14MB", "work_mem", "14MB"),
        ("--work_mem=15MB", "work_mem", "15MB"),
        ("--work-mem=16MB", "work_mem", "16MB"),
        ("-c work_mem=1MB -c work_mem=17MB", "work_mem", "17MB"),
        ("-c search_path=\"A\\ b\",c", "search_path", "\"A b\",c"),
        ("-c application_name=it's", "application_name", "it's"),
        ("-c application_name=a\\\\b", "application_name", "a\\b"),
        ("-c application_name='x'", "application_name", "'x'"),
        ("-c application_name=x;drop\\ table\\ t", "application_name", "x;drop table t"),
        ("-c application_name=$1", "application_name", "$1"),
        ("-c app.tenant=1=2", "app.tenant", "1=2"),
        ("-c app.empty=", "app.empty", ""),
    ] {
        let mut alice = rig.client_with("alice", &[("options", options)]);
        assert_eq!(alice.value(&format!("SELECT current_setting('{setting}')")), value, "{options:?}");
        let mut bob = rig.client("bob");
        let clean = bob.value(&format!("SELECT coalesce(current_setting('{setting}', true), '')"));
        assert_ne!(clean, if value.is_empty() { "?" } else { value }, "{options:?} reached the next client");
        assert_eq!(
            alice.value(&format!("SELECT current_setting('{setting}')")),
            value,
            "{options:?}, after another client"
        );
    }
    let long = format!("-c application_name={}", "x".repeat(8000));
    for options in [
        "-c",
        "-c ",
        "-c =",
        "-c =1",
        "-c x",
        "--",
        "--=",
        "--x",
        "-",
        "\\",
        "-c a\\",
        "'",
        "\"",
        "-c 'work_mem=1MB'",
        "-d 5",
        "-e",
        "-f s",
        "-W 10",
        "-c work_mem",
        "-c work_mem=",
        "-c work_mem=abc",
        "-c no_such_setting=1",
        "-c listen_addresses=*",
        "-p 1",
        "-D /",
        "-c a=b\n-c c=d",
        "-c \u{e9}=1",
        "-c app.\u{e9}=1",
        "-B 1 -k 1",
        "-c config_file=/etc/passwd",
        "-c shared_preload_libraries=x",
        &long,
        "-c work_mem=1MB'; SELECT pg_sleep(60); --",
    ] {
        let mut alice = Talk::open(rig.address());
        alice.send(&startup(&[("user", rig.user("alice")), ("database", database), ("options", options)]));
        if alice.authenticate("").is_ok() {
            let said = alice.query("SELECT 1");
            assert!(said.ends_with("Z(I)"), "{options:?}: {said}");
        }
        assert_eq!(rig.client("bob").query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)", "after {options:?}");
    }
}

// 38
#[test]
fn roles_and_settings_never_reach_the_next_client() {
    // A setting under a computed name pins its backend: the other client needs a second one.
    let rig = Rig::setup().pool(2).start();
    let role = rig.role().to_owned();
    rig.superuser().query(&format!("CREATE ROLE {role}_other; GRANT {role}_other TO {role}"));
    let mut bob = rig.client("bob");
    let pristine = "SELECT current_user, current_setting('work_mem'), current_setting('TimeZone'), coalesce(current_setting('app.x', true), '')";
    let before = bob.query(pristine);
    let leave: Vec<Vec<Vec<u8>>> = vec![
        vec![query(&format!("SET ROLE {role}_other"))],
        vec![query(&format!("SELECT set_config('role', '{role}_other', false)"))],
        vec![query("SET work_mem = '77MB'")],
        vec![query("BEGIN; SET work_mem = '77MB'; COMMIT")],
        vec![query("BEGIN; SET LOCAL work_mem = '77MB'; COMMIT")],
        vec![run("SELECT set_config($1, $2, false)", &[Some("work_mem"), Some("77MB")]), sync()],
        vec![run("SELECT set_config($1, $2, $3)", &[Some("TimeZone"), Some("Asia/Tokyo"), Some("f")]), sync()],
        vec![
            run("SELECT set_config(n, v, false) FROM (VALUES ('app.x', 'y'), ('work_mem', '77MB')) s(n, v)", &[]),
            sync(),
        ],
        vec![query("UPDATE pg_settings SET setting = '78848' WHERE name = 'work_mem'")],
        vec![query("DO $$ BEGIN PERFORM set_config('app.x', 'y', false); SET work_mem = '77MB'; END $$")],
        vec![query(&format!("BEGIN; SET ROLE {role}_other; COMMIT"))],
        vec![query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")],
        vec![query("SET TIME ZONE 'Asia/Tokyo'; SET app.x = 'y'")],
    ];
    for messages in leave {
        let name = String::from_utf8_lossy(&messages[0]).into_owned();
        let mut alice = rig.client("alice");
        let said = alice.ask(&messages);
        assert!(!said.contains("E(") && said.ends_with("Z(I)"), "{name}: {said}");
        // Another session while this one lives, and once it is gone.
        assert_eq!(bob.query(pristine), before, "after {name}");
        assert_eq!(bob.value("SHOW transaction_read_only"), "off", "after {name}");
        drop(alice);
        let mut fresh = rig.client("bob");
        assert_eq!(fresh.query(pristine), before, "after {name} and its end");
        assert_eq!(fresh.value("SHOW transaction_read_only"), "off", "after {name} and its end");
    }
}

// 39
#[test]
fn settings_revert_with_their_transaction_or_savepoint() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    alice.query("SET work_mem = '10MB'");
    for (script, want) in [
        ("BEGIN; SET work_mem = '11MB'; ROLLBACK", "10MB"),
        ("BEGIN; SET work_mem = '11MB'; SAVEPOINT a; SET work_mem = '12MB'; ROLLBACK TO a; COMMIT", "11MB"),
        ("BEGIN; SAVEPOINT a; SET work_mem = '12MB'; RELEASE a; SET LOCAL work_mem = '13MB'; COMMIT", "12MB"),
        ("BEGIN; SAVEPOINT a; SET work_mem = '14MB'; SAVEPOINT b; RESET work_mem; ROLLBACK TO a; COMMIT", "12MB"),
        (
            "BEGIN; SAVEPOINT a; SET work_mem = '15MB'; SAVEPOINT a; SET work_mem = '16MB'; ROLLBACK TO a; RELEASE a; COMMIT",
            "15MB",
        ),
        ("BEGIN; RESET ALL; ROLLBACK", "15MB"),
        ("SET work_mem = '17MB'; SELECT 1/0", "15MB"),
        ("BEGIN; SET work_mem = '17MB'; COMMIT; SELECT 1/0", "17MB"),
        ("BEGIN; SET work_mem = '18MB'; SELECT 1/0", "17MB"),
    ] {
        alice.query(script);
        if script.ends_with("1/0") {
            alice.query("ROLLBACK");
        }
        assert_eq!(bob.value("SHOW work_mem"), "4MB", "bob after {script}");
        assert_eq!(alice.value("SHOW work_mem"), want, "{script}");
        assert_eq!(bob.value("SHOW work_mem"), "4MB", "bob after {script}");
    }
}

// 40
#[test]
fn nothing_waits_for_a_parameter_status_that_is_not_sent_again() {
    let rig = Rig::new();
    let mut alice =
        rig.client_with("alice", &[("application_name", "same"), ("TimeZone", "UTC"), ("client_encoding", "UTF8")]);
    let mut bob = rig.client_with("bob", &[("application_name", "same"), ("TimeZone", "UTC"), ("DateStyle", "ISO")]);
    for _ in 0..3 {
        alice.query("SET application_name = 'same'");
        assert_eq!(alice.query("SET application_name = 'same'"), "C(SET) Z(I)");
        assert_eq!(bob.query("SET TimeZone = 'UTC'"), "C(SET) Z(I)");
        assert_eq!(alice.query("SET client_encoding = 'UTF8'"), "C(SET) Z(I)");
        assert_eq!(bob.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
        assert_eq!(alice.query("SET application_name = 'other'"), "C(SET) S(application_name=other) Z(I)");
        assert_eq!(bob.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
        assert_eq!(alice.query("SET application_name = 'other'"), "C(SET) Z(I)");
        assert_eq!(alice.query("SET application_name = 'same'"), "C(SET) S(application_name=same) Z(I)");
    }
}

// 41
#[test]
fn waiters_that_give_up_leak_no_place() {
    let rig = Rig::new();
    let mut bob = rig.client("bob");
    for round in 0..10 {
        bob.query("BEGIN");
        let waiters: Vec<Talk> = (0..20)
            .map(|i| {
                let mut waiter = rig.client("alice");
                waiter.say(&[query(&format!("SELECT {i}"))]);
                waiter
            })
            .collect();
        // Half of them go before the hand-over, half of them just as it happens.
        let mut late = Vec::new();
        for (i, waiter) in waiters.into_iter().enumerate() {
            if i % 2 == 0 { waiter.reset() } else { late.push(waiter) }
        }
        bob.say(&[query("COMMIT")]);
        for waiter in late {
            waiter.reset();
        }
        assert_eq!(bob.until_ready(1), "C(COMMIT) Z(I)");
        assert_eq!(bob.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)", "round {round}");
    }
    assert_eq!(rig.client("alice").query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
}

// 42
#[test]
fn running_out_of_file_descriptors_does_not_spin() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    alice.query("SELECT 1");
    let open = rig.proxy().descriptors();
    let limit = format!("--nofile={0}:{0}", open + 5);
    let limited = Command::new("prlimit").args(["--pid", &rig.proxy().pid().to_string(), &limit]).status();
    assert!(limited.expect("prlimit runs").success());
    let crowd: Vec<Talk> = (0..50).filter_map(|_| Talk::try_open(rig.address()).ok()).collect();
    assert!(crowd.len() > 10, "the backlog takes them");
    thread::sleep(Duration::from_millis(200));
    let before = rig.proxy().cpu();
    thread::sleep(Duration::from_secs(1));
    let spent = rig.proxy().cpu() - before;
    assert!(spent < Duration::from_millis(300), "{spent:?} of processor time in a second of waiting for descriptors");
    assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
    drop(crowd);
    rig.eventually("a login works again", || {
        let Ok(mut talk) = Talk::try_open(rig.address()) else { return false };
        talk.patience = Duration::from_secs(2);
        talk.try_send(&startup(&[("user", rig.user("bob")), ("database", rig.database())])).is_ok()
            && talk.authenticate("").is_ok()
    });
}
