//! Large answers gather in the socket before the proxy reads them. Nothing of them may wait for what does not come, and no
//! other answer may wait at all.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::kit::scripted::{ScriptedServer, answer};
use crate::rig::Rig;
use crate::talk::{self, Reply, Talk, describe, query, run, sync};

/// More than an answer streams before it gathers.
const ROWS: usize = 3_000;

fn row(length: usize) -> Vec<u8> {
    answer::data_row(&[&"x".repeat(length)])
}

#[test]
fn what_a_server_has_sent_of_a_large_answer_reaches_the_client_though_no_more_comes() {
    // How many bytes are behind the stream when the server stops: less than gathers, in one piece or in several.
    const TAILS: [&[usize]; 5] = [&[], &[1], &[60_000], &[5_000, 5_000, 1], &[70_000, 10]];
    let (go, gone) = mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let server = ScriptedServer::start(move |session| {
        session.login()?;
        loop {
            let [message] = &session.read_until(b'Q')?[..] else { panic!("a Query and nothing else") };
            let Some(tail) = message.body.strip_prefix(b"SELECT 'tail ") else {
                session.send(&answer::one_value("short"))?;
                continue;
            };
            let tail = TAILS[usize::from(tail[0] - b'0')];
            session.send(&answer::row_description(&["value"]))?;
            for _ in 0..ROWS / 100 {
                session.send(&row(1000).repeat(100))?;
            }
            for length in tail {
                session.send(&row(*length))?;
                std::thread::sleep(Duration::from_millis(3));
            }
            // The client has all of it before the answer ends.
            gone.lock().expect("no panic").recv_timeout(Duration::from_secs(20)).expect("the client has the rows");
            session.send(&[answer::command_complete("SELECT 1"), answer::ready(b'I')].concat())?;
        }
    });
    let rig = Rig::setup().pool(1).server_at(server.address()).start();
    let (mut alice, mut another) = (rig.client("alice"), rig.client("alice"));
    assert_eq!(alice.query("SELECT 'short'"), "T(value) D(short) C(SELECT 1) Z(I)");
    let accepted = server.accepted();
    for (number, tail) in TAILS.iter().enumerate() {
        alice.say(&[query(&format!("SELECT 'tail {number}'"))]);
        let rows = row(1000).len() * ROWS + tail.iter().map(|length| row(*length).len()).sum::<usize>();
        let expected = answer::row_description(&["value"]).len() + rows;
        alice.raw(expected).expect("all that the server has sent");
        go.send(()).expect("the server waits");
        assert_eq!(alice.until_ready(1), "C(SELECT 1) Z(I)");
        // On the same connection to the server, at once.
        let begun = Instant::now();
        for client in [&mut another, &mut alice] {
            assert_eq!(client.query("SELECT 'short'"), "T(value) D(short) C(SELECT 1) Z(I)");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "short answers do not gather");
    }
    assert_eq!(server.accepted(), accepted, "all on one connection");
}

/// What came up to ReadyForQuery: the sum of the rows' first values, the length of their second ones, and the other replies.
fn told(client: &mut Talk) -> (u64, u64, String) {
    let (mut numbers, mut bytes, mut others) = (0, 0, String::new());
    loop {
        let reply = client.reply();
        match (reply.tag, &row_of(&reply)[..]) {
            (b'D', [Some(number), Some(text)]) => {
                numbers += std::str::from_utf8(number).expect("text").parse::<u64>().expect("a number");
                bytes += text.len() as u64;
            }
            _ => describe(&reply, &mut others),
        }
        if reply.tag == b'Z' {
            return (numbers, bytes, others);
        }
    }
}

fn row_of(reply: &Reply) -> Vec<Option<Vec<u8>>> {
    if reply.tag == b'D' { talk::row(&reply.body) } else { Vec::new() }
}

#[test]
fn large_answers_are_whole_whatever_comes_before_and_behind() {
    const COUNT: u64 = 20_000;
    const LARGE: &str = "SELECT i, repeat('x', i % 300) FROM generate_series(1, 20000) AS i";
    let (numbers, bytes) = (COUNT * (COUNT + 1) / 2, (1..=COUNT).map(|i| i % 300).sum::<u64>());
    for mode in ["transaction", "session"] {
        let rig = Rig::setup().pool(2).mode(mode).start();
        let mut alice = rig.client("alice");
        for _ in 0..2 {
            alice.say(&[query(LARGE)]);
            assert_eq!(told(&mut alice), (numbers, bytes, "T(i,repeat) C(SELECT 20000) Z(I)".to_owned()));
            assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
            // In a block, in a pipeline, and before an error.
            assert_eq!(alice.query("BEGIN"), "C(BEGIN) Z(T)");
            alice.say(&[run("SELECT 2", &[]), run(LARGE, &[]), run("SELECT 3", &[]), run("SELECT 1/0", &[]), sync()]);
            let others = "1 2 D(2) C(SELECT 1) 1 2 C(SELECT 20000) 1 2 D(3) C(SELECT 1) 1 E(22012) Z(E)";
            assert_eq!(told(&mut alice), (numbers, bytes, others.to_owned()));
            assert_eq!(alice.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
        }
        // A cancel in the middle of one, and another user behind it.
        alice.say(&[query("SELECT generate_series(1, 100000000), repeat('x', 300)")]);
        (0..10_000).for_each(|_| drop(alice.reply()));
        Talk::open(rig.address()).send(&alice.cancel_request());
        assert!(told(&mut alice).2.ends_with("E(57014) Z(I)"));
        assert_eq!(alice.query("SELECT 4"), "T(?column?) D(4) C(SELECT 1) Z(I)");
        assert_eq!(rig.client("bob").query("SELECT 5"), "T(?column?) D(5) C(SELECT 1) Z(I)");
    }
}

#[test]
fn a_client_that_reads_slowly_gets_a_large_answer_whole() {
    let rig = Rig::setup().pool(1).start();
    let mut alice = rig.client("alice");
    alice.say(&[query("SELECT i, repeat('y', 1000000) FROM generate_series(1, 60) AS i")]);
    // Long enough for the proxy to stop reading.
    std::thread::sleep(Duration::from_millis(300));
    alice.reply();
    for _ in 0..30 {
        assert_eq!(alice.reply().tag, b'D');
        std::thread::sleep(Duration::from_millis(2));
    }
    let (numbers, bytes, others) = told(&mut alice);
    assert_eq!((numbers, bytes, &*others), ((31..=60).sum(), 30_000_000, "C(SELECT 60) Z(I)"));
    assert_eq!(rig.client("bob").query("SELECT 5"), "T(?column?) D(5) C(SELECT 1) Z(I)");
}
