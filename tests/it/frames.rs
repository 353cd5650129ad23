//! Bytes that no honest peer sends: mutated and truncated frames, from clients and from servers.
//!
//! The parsers of bytes take millions within the process; the proxy itself takes thousands over sockets, on both sides. No
//! panic, no hang, bounded memory, and the next client works. Everything random comes from seeds that are printed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use pgwarden::scram::{ClientExchange, Mechanism, Proof, ServerExchange, Verifier};
use pgwarden::wire::{frame, startup as packets};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::kit::scripted::{PARAMETERS, answer};
use crate::kit::{FaultProxy, ScriptedServer};
use crate::rig::Rig;
use crate::talk::*;

const INTERESTING: [u32; 14] =
    [0, 1, 3, 4, 5, 7, 8, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffb, 0xffff_ffff];

/// Changes bytes at random, one to four times.
fn mutate(bytes: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..=4) {
        if bytes.is_empty() {
            bytes.push(random.random());
            continue;
        }
        let at = random.random_range(0..bytes.len());
        let to = random.random_range(at..bytes.len().min(at + 64)) + 1;
        match random.random_range(0..9) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let noise: Vec<u8> = (0..random.random_range(1..20)).map(|_| random.random()).collect();
                bytes.splice(at..at, noise);
            }
            6 | 7 => {
                let value = INTERESTING[random.random_range(0..INTERESTING.len())].to_be_bytes();
                let width = [2, 4][random.random_range(0..2)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&value[4 - width..]);
            }
            _ => {
                bytes[at] = [0, b'S', b'Q', b'P', b'B', b'E', b'Z', b'R', b'd', b'c', b','][random.random_range(0..11)]
            }
        }
    }
}

/// A million mutations of the samples, each given to the function, which must not panic.
fn a_million(name: &str, seed: u64, samples: &[Vec<u8>], mut read: impl FnMut(&[u8])) {
    println!("{name}: seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut bytes = Vec::new();
    for round in 0..1_000_000 {
        if round % 8 == 0 || bytes.len() > 4096 {
            bytes.clone_from(&samples[random.random_range(0..samples.len())]);
        }
        mutate(&mut bytes, &mut random);
        read(&bytes);
    }
}

#[test]
fn startup_packets_survive_a_million_mutations() {
    let samples = [
        startup(&[("user", "alice"), ("database", "db"), ("options", "-c work_mem=1MB -c a.b=c\\ d --x=y")]),
        startup_version(3 << 16 | 2, &[("user", "alice"), ("_pq_.x", "1")]),
        ssl_request(),
        gssenc_request(),
        cancel(-7, &[1, 2, 3, 4]),
        cancel(7, &[9; 32]),
    ];
    let mut taken = 0;
    a_million("startup packets", 1, &samples, |bytes| {
        if let Some(head) = bytes.first_chunk::<4>() {
            let _ = packets::packet_length(*head);
        }
        taken += usize::from(packets::parse(bytes).is_ok());
        let _ = packets::parse_options(&String::from_utf8_lossy(bytes));
    });
    assert!(taken > 1000, "mutation must leave some packets whole, or it tests only the first check: {taken}");
}

#[test]
fn scram_messages_survive_a_million_mutations() {
    let verifier = Verifier::derive("secret", b"sixteen bytes ok", 1.try_into().expect("not zero"));
    let start = |first: &[u8]| {
        ServerExchange::start(first, Mechanism::Plain, None, &verifier, Proof::Accept, "r2Bh8uTzv0TNJzv0hbkXqmZ3")
    };
    let client_first = b"n,,n=,r=rOprNGfwEbeRWgbNEkqO".to_vec();
    let client_final =
        b"c=biws,r=rOprNGfwEbeRWgbNEkqOr2Bh8uTzv0TNJzv0hbkXqmZ3,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
            .to_vec();
    let samples = [
        client_first.clone(),
        client_final,
        b"y,,n=,r=abc".to_vec(),
        b"p=tls-server-end-point,,n=,r=rOprNGfwEbeRWgbNEkqO".to_vec(),
        b"r=rOprNGfwEbeRWgbNEkqOr2Bh8uTzv0TNJzv0hbkXqmZ3,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".to_vec(),
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec(),
    ];
    let mut wrongly = 0;
    a_million("SCRAM", 2, &samples, |bytes| {
        let _ = start(bytes);
        let exchange = start(&client_first).expect("a good first message");
        wrongly += usize::from(exchange.finish(bytes).is_ok());
        let client = ClientExchange::choose(&["SCRAM-SHA-256"], None, "rOprNGfwEbeRWgbNEkqO".into()).expect("offered");
        let _ = client.read(bytes);
        let _ = Verifier::parse(&String::from_utf8_lossy(bytes));
    });
    assert_eq!(wrongly, 0, "a proof made of noise was accepted");
}

#[test]
fn frames_survive_a_million_mutations() {
    let samples = [
        [
            query("SELECT 1"),
            parse_typed("s", "SELECT $1", &[23]),
            again("s", &[Some("7")]),
            describe_statement("s"),
            sync(),
        ]
        .concat(),
        [
            close_portal("p"),
            close_statement("s"),
            copy_data(b"1\n"),
            copy_done(),
            copy_fail("no"),
            function_call(1),
            flush(),
        ]
        .concat(),
        [
            answer::error("ERROR", "42601", "no"),
            answer::notice("n"),
            answer::parameter_status("a", "b"),
            answer::one_value("x"),
        ]
        .concat(),
        greeting(),
    ];
    let (mut whole, mut refused) = (0, 0);
    a_million("frames", 3, &samples, |bytes| {
        let mut rest = bytes;
        // Frame after frame, as far as it goes: each ends within what was read.
        loop {
            match frame::Header::read(rest, 1 << 26) {
                Ok(Some(header)) if header.total() <= rest.len() => {
                    read_body(header.tag, &rest[frame::HEADER..header.total()]);
                    rest = &rest[header.total()..];
                    whole += 1;
                }
                Ok(_) => return,
                Err(_) => {
                    refused += 1;
                    return;
                }
            }
        }
    });
    assert!(whole > 100_000 && refused > 1000, "{whole} whole frames, {refused} refused");
}

/// Reads a body by every reader that may get it: what one makes of a wrong type must be an error, too.
fn read_body(tag: u8, body: &[u8]) {
    let _ = frame::query_text(body);
    if let Ok(parse) = frame::Parse::read(body) {
        assert!(parse.types.len() % 4 == 0 && parse.name.len() + parse.text.len() < body.len());
    }
    if let Some(names) = frame::BindNames::read(body) {
        assert!(names.length <= body.len() && !names.portal.contains(&0) && !names.statement.contains(&0));
    }
    let _ = frame::Target::read(tag, body);
    let _ = frame::execute_portal(body);
    let _ = frame::ErrorFields::read(body).is_fatal();
    let _ = frame::parameter_status(body);
    let _ = frame::TxStatus::read(body);
    if let Ok(values) = frame::data_row(body) {
        assert!(values.iter().flatten().map(|value| value.len()).sum::<usize>() < body.len());
    }
}

/// What clients say, message by message.
fn conversations(rig: &Rig) -> Vec<Vec<u8>> {
    let login = rig.hello("alice");
    let talks: Vec<Vec<Vec<u8>>> = vec![
        vec![query("SELECT 1"), query("SELECT 'two'; SELECT 3"), terminate()],
        vec![
            parse("s", "SELECT $1::int4"),
            describe_statement("s"),
            again("s", &[Some("7")]),
            close_statement("s"),
            sync(),
        ],
        vec![
            parse("", "SELECT generate_series(1, 100)"),
            bind("p", "", &[]),
            execute("p", 7),
            flush(),
            execute("p", 0),
            sync(),
        ],
        vec![
            query("BEGIN"),
            query("SET LOCAL work_mem = '5MB'"),
            query("SAVEPOINT a"),
            query("ROLLBACK TO a"),
            query("COMMIT"),
        ],
        vec![query("COPY (SELECT generate_series(1, 1000)) TO STDOUT"), query("SELECT repeat('x', 100000)")],
        vec![
            query("CREATE TEMP TABLE t (i int)"),
            query("COPY t FROM STDIN"),
            copy_data(b"1\n2\n"),
            copy_done(),
            query("DROP TABLE t"),
        ],
        vec![
            query("SELEKT"),
            parse("", "SELEKT"),
            run("SELECT 1", &[]),
            sync(),
            function_call(1598),
            query("SELECT 1"),
        ],
        vec![
            query("SET work_mem = '5MB'"),
            query("DISCARD ALL"),
            query("PREPARE q AS SELECT 1"),
            query("EXECUTE q"),
            query("DEALLOCATE ALL"),
        ],
    ];
    talks.into_iter().map(|messages| [login.clone(), messages.concat()].concat()).collect()
}

fn is_sound(rig: &Rig, before_kib: u64) {
    let log = rig.proxy().log();
    assert!(!log.contains("panicked"), "{log}");
    for user in ["alice", "bob", "alice", "bob"] {
        let mut client = rig.client(user);
        // What an impostor reported at login is put right before the first answer.
        client.query("SELECT 1");
        assert_eq!(client.query("SELECT 'sound'"), "T(?column?) D(sound) C(SELECT 1) Z(I)");
    }
    let now = rig.proxy().rss_kib();
    assert!(now < before_kib + 48 * 1024, "{before_kib} KiB before, {now} KiB now");
}

#[test]
fn thousands_of_mutated_clients_leave_the_proxy_sound() {
    const CLIENTS: u64 = 2400;
    let rig = Rig::setup().pool(3).start();
    let samples = conversations(&rig);
    is_sound(&rig, u64::MAX / 2);
    let before = rig.proxy().rss_kib();
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= CLIENTS {
                        return;
                    }
                    let mut random = StdRng::seed_from_u64(seed);
                    let sample = &samples[random.random_range(0..samples.len())];
                    let login = rig.hello("alice").len();
                    // One in four is already odd at login; the others get in first.
                    let mut bytes = match random.random_range(0..4) {
                        0 => {
                            let mut bytes = sample.clone();
                            mutate(&mut bytes, &mut random);
                            bytes
                        }
                        _ => {
                            let mut rest = sample[login..].to_vec();
                            mutate(&mut rest, &mut random);
                            [&sample[..login], &rest].concat()
                        }
                    };
                    if random.random_ratio(1, 10) {
                        bytes.truncate(random.random_range(0..bytes.len() + 1));
                    }
                    let mut client = Talk::open(rig.address());
                    let _ = client.try_send(&bytes);
                    match random.random_range(0..4) {
                        0 => client.reset(),
                        1 => drop(client),
                        _ => {
                            // Whatever was understood is answered, and then the connection ends: it does not hang.
                            client.finish();
                            assert_eq!(client.settle(b'\0'), Settled::Closed, "seed {seed}");
                        }
                    }
                    if seed.is_multiple_of(200) {
                        let said = rig.client("bob").query("SELECT 'bob'");
                        assert_eq!(said, "T(?column?) D(bob) C(SELECT 1) Z(I)", "after seed {seed}");
                    }
                }
            });
        }
    });
    is_sound(&rig, before);
}

/// What a server says after its login, by the last message it got.
fn honest_answer(tag: u8) -> Vec<u8> {
    match tag {
        b'Q' => [
            answer::row_description(&["a", "b"]),
            answer::data_row(&["1", "two"]),
            answer::command_complete("SELECT 1"),
            answer::ready(b'I'),
        ]
        .concat(),
        b'P' => answer::parse_complete(),
        b'B' => answer::bind_complete(),
        b'D' => [message(b't', &[0, 0]), answer::row_description(&["a"])].concat(),
        b'E' => [answer::data_row(&["1"]), answer::command_complete("SELECT 1")].concat(),
        b'C' => answer::close_complete(),
        b'S' => answer::ready(b'I'),
        _ => Vec::new(),
    }
}

fn greeting() -> Vec<u8> {
    let mut greeting = answer::authentication_ok();
    for (name, value) in PARAMETERS {
        greeting.extend(answer::parameter_status(name, value));
    }
    greeting.extend(answer::backend_key(1, &[0, 0, 0, 2]));
    greeting.extend(answer::ready(b'I'));
    greeting
}

#[test]
fn thousands_of_mutated_servers_leave_the_proxy_sound() {
    const CLIENTS: u64 = 1200;
    let played = Arc::new(AtomicU64::new(0));
    let counter = played.clone();
    // Each connection mutates one of its writes, chosen at random; behind that it says no more.
    let hostile = ScriptedServer::start(move |session| {
        let mut random = StdRng::seed_from_u64(session.number as u64);
        let mut left = [0, 1, 1, 2, 3, 5][random.random_range(0..6)];
        let mut say = |session: &mut crate::kit::Session, mut bytes: Vec<u8>| {
            let last = left == 0;
            if last {
                counter.fetch_add(1, Ordering::Relaxed);
                mutate(&mut bytes, &mut random);
            }
            left -= 1;
            session.send(&bytes)?;
            if last { Err(io::Error::from(io::ErrorKind::ConnectionAborted)) } else { Ok(()) }
        };
        session.startup()?;
        say(session, greeting())?;
        loop {
            let tag = session.read()?.tag;
            let answer = honest_answer(tag);
            if !answer.is_empty() {
                say(session, answer)?;
            }
        }
    });
    let network = FaultProxy::start(hostile.address());
    let rig = Rig::setup()
        .pool(3)
        .server_at(network.address())
        .pool_line("login_retry_min = \"1ms\"")
        .pool_line("login_retry_max = \"5ms\"")
        .server_line("queue_timeout = \"3s\"")
        .start();
    let before = rig.proxy().rss_kib();
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= CLIENTS {
                        return;
                    }
                    let mut client = Talk::open(rig.address());
                    client.send(&rig.hello(["alice", "bob"][seed as usize % 2]));
                    if client.authenticate("").is_err() {
                        continue;
                    }
                    for turn in 0..3 {
                        let messages = match (seed + turn) % 3 {
                            0 => query("SELECT 1"),
                            1 => [run("SELECT 1", &[]), sync()].concat(),
                            _ => [
                                parse("s", "SELECT 1"),
                                describe_statement("s"),
                                again("s", &[]),
                                close_statement("s"),
                                sync(),
                            ]
                            .concat(),
                        };
                        if client.try_send(&messages).is_err() {
                            break;
                        }
                        // An answer or an end, in time; and never anything that isn't a message.
                        match client.settle(b'Z') {
                            Settled::Ready => {}
                            Settled::Closed => break,
                            Settled::Hangs => panic!("client {seed} hangs in turn {turn}"),
                        }
                    }
                }
            });
        }
    });
    assert!(played.load(Ordering::Relaxed) > CLIENTS / 4, "the server had its say {played:?} times");
    // An honest server takes its place: nothing of the others is left.
    network.retarget(crate::kit::cluster().address());
    network.end_all(crate::kit::End::Cut);
    rig.eventually("the honest server is used", || {
        let mut client = Talk::open(rig.address());
        client.patience = Duration::from_secs(5);
        client.send(&rig.hello("alice"));
        client.authenticate("").is_ok()
            && client.try_send(&query("SELECT 'honest'")).is_ok()
            && client.try_until_ready_times(1).contains("D(honest)")
    });
    is_sound(&rig, before);
}
