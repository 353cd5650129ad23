//! Receivers of the log that are slow, dead, forgetful or liars, and what the log makes of them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgwarden::audit::segment::{records_path, segments};
use pgwarden::audit::{SinkFigures, Stream};
use pgwarden::chain::{Checkpoint, leaf_hash};
use pgwarden::config::{Audit, Durability, Shipped, SinkTo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::child::{append, config, parker, record};
use crate::seen::{key, see};

const PATIENCE: Duration = Duration::from_secs(20);

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < patience, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Where the receiver listens, and a log that sends there.
fn setup(directory: &Path) -> (TcpListener, Audit) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let to = SinkTo::Tcp { host: "127.0.0.1".into(), port };
    (listener, Audit { sinks: vec![to], ..config(directory.join("log"), Durability::Strict) })
}

fn figures(stream: &Stream) -> SinkFigures {
    stream.figures().sinks.remove(0)
}

/// One connection, as a receiver has it.
struct Receiver<S> {
    lines: BufReader<S>,
    greeting: Value,
    /// Records received over it, as they came.
    records: Vec<String>,
    checkpoints: Vec<String>,
}

impl Receiver<TcpStream> {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Self::greet(stream)
    }
}

impl<S: Read + Write> Receiver<S> {
    fn greet(stream: S) -> Self {
        let mut lines = BufReader::new(stream);
        let mut greeting = String::new();
        lines.read_line(&mut greeting).expect("a greeting");
        let greeting = serde_json::from_str(&greeting).expect("JSON");
        Self { lines, greeting, records: Vec::new(), checkpoints: Vec::new() }
    }

    fn say(&mut self, text: &str) {
        // It may have hung up.
        let _ = self.lines.get_mut().write_all(format!("{text}\n").as_bytes());
    }

    /// Receives records up to this one.
    fn take_until(&mut self, last: u64) {
        while self.records.last().is_none_or(|line| seq(line) < last) {
            self.take().expect("another line");
        }
    }

    /// A line, unless the sender has hung up.
    fn take(&mut self) -> Option<()> {
        let mut line = String::new();
        if self.lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let value: Value = serde_json::from_str(&line).expect("JSON");
        match value["checkpoint"].as_str() {
            Some(note) => self.checkpoints.push(note.to_owned()),
            None => self.records.push(line.trim_end().to_owned()),
        }
        Some(())
    }
}

fn seq(line: &str) -> u64 {
    serde_json::from_str::<Value>(line).expect("JSON")["seq"].as_u64().expect("a number")
}

/// Appends this many records and waits until they are on disk.
fn fill(stream: &Stream, count: u64) {
    let waker = parker();
    for mark in 1..count {
        stream.append(&record(mark)).expect("appended");
    }
    append(stream, count, &waker).expect("appended");
}

fn lines_of(log: &Path) -> Vec<String> {
    let files = segments(log).expect("segments").into_iter().map(|first| records_path(log, first));
    files
        .flat_map(|path| fs::read_to_string(path).expect("records").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn every_record_comes_in_order_over_drops_restarts_and_late_acknowledgements() {
    let dir = tempfile::tempdir().expect("a directory");
    let (listener, config) = setup(dir.path());
    let stream = Stream::open(&config).expect("open");
    fill(&stream, 600);
    let mut first = Receiver::accept(&listener);
    assert_eq!(first.greeting["log"], "example.com/audit");
    assert_eq!((&first.greeting["protocol"], &first.greeting["first"]), (&1.into(), &0.into()));
    first.say("from 0");
    first.take_until(500);
    // Late, and in two pieces.
    std::thread::sleep(Duration::from_millis(100));
    first.lines.get_mut().write_all(b"ack 1").expect("sent");
    first.lines.get_mut().write_all(b"00\n").expect("sent");
    until("it is taken note of", || figures(&stream).acknowledged == 101);
    let mut received = first.records[..=100].to_vec();
    drop(first);
    // What was sent and not acknowledged comes again.
    let mut second = Receiver::accept(&listener);
    second.say("from 101");
    second.take_until(550);
    second.say("ack 550");
    until("it is taken note of", || figures(&stream).acknowledged == 551);
    received.extend(second.records.drain(..).take_while(|line| seq(line) <= 550));
    drop(second);
    stream.shutdown().expect("it closes");

    let stream = Stream::open(&config).expect("open again");
    fill(&stream, 50);
    let mut third = Receiver::accept(&listener);
    third.say("from 551");
    let last = stream.figures().synced - 1;
    third.take_until(last);
    third.say(&format!("ack {last}"));
    until("all is acknowledged", || figures(&stream).acknowledged > last);
    let closing = std::thread::spawn(move || stream.shutdown());
    // The stop record is sent, too, and its acknowledgement waited for.
    third.take_until(last + 1);
    third.say(&format!("ack {}", last + 1));
    closing.join().expect("no panic").expect("it closes");
    received.append(&mut third.records);
    let log = config.directory.clone();
    let all = lines_of(&log);
    let failed = see(&log).count("sink_failed");
    assert_eq!(failed, 1, "that it fails is on record once, until it has everything");
    assert_eq!(received, all[..received.len()]);
    assert!(received.len() as u64 > last);
    // Checkpoints come with the records that they are of.
    let note = third.checkpoints.last().expect("a checkpoint").clone();
    let (checkpoint, note) = Checkpoint::from_note(note.as_bytes()).expect("a checkpoint");
    note.verify(&[key().public().clone()]).expect("a signature");
    let mut tree = pgwarden::chain::Frontier::new();
    received[..checkpoint.size as usize].iter().for_each(|line| tree.append(leaf_hash(line.as_bytes())));
    assert_eq!(tree.root(), checkpoint.root);
}

#[test]
fn a_receiver_that_lies_is_told_nothing_more() {
    let dir = tempfile::tempdir().expect("a directory");
    let (listener, config) = setup(dir.path());
    let stream = Stream::open(&config).expect("open");
    fill(&stream, 10);
    for (answers, error) in [
        (&["from 0", "ack 4000"][..], "acknowledges record 4000, which it was not sent"),
        (&["from 4000"], "wants record 4000, but the log ends"),
        (&["from -1"], "answers \"from -1\""),
        (&["from 0", "hello"], "answers \"hello\""),
        (&[&"x".repeat(200)], "no line of the protocol"),
    ] {
        let failures = figures(&stream).failures;
        let mut receiver = Receiver::accept(&listener);
        for answer in answers {
            receiver.say(answer);
        }
        until(error, || figures(&stream).failures > failures);
        let figures = figures(&stream);
        assert!(figures.error.as_deref().is_some_and(|it| it.contains(error)), "{figures:?}");
        assert!(!figures.connected && figures.acknowledged <= 1, "{figures:?}");
        while receiver.take().is_some() {}
    }
    // An honest one gets everything afterwards.
    let mut receiver = Receiver::accept(&listener);
    receiver.say("from 0");
    receiver.take_until(11);
    receiver.say("ack 11");
    until("it is taken note of", || figures(&stream).acknowledged == 12);
    let log = config.directory.clone();
    drop(receiver);
    stream.shutdown().expect("it closes");
    assert!(see(&log).count("sink_failed") >= 1);
}

/// Ten times more than may be under way: the receiver takes nothing, and the log does not wait for it.
#[test]
fn a_receiver_that_takes_nothing_holds_nothing_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let (listener, mut config) = setup(dir.path());
    config.segment_size = 64 << 20;
    let stream = Stream::open(&config).expect("open");
    let mut receiver = Receiver::accept(&listener);
    receiver.say("from 0");
    let began = Instant::now();
    for _ in 0..40 {
        fill(&stream, 1000);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let now = figures(&stream);
    assert!(now.acknowledged == 0 && now.sent < 30_000, "{now:?}");
    assert_eq!(stream.figures().failures, 0);
    // It takes what comes, and acknowledges nothing: that has an end, too.
    let mut bytes = 0;
    while bytes < 8 << 20 {
        receiver.take().expect("a record");
        bytes += receiver.records.last().map_or(0, |line| line.len() + 1);
    }
    std::thread::sleep(Duration::from_millis(200));
    let under_way = figures(&stream).sent;
    assert!(under_way < receiver.records.len() as u64 + 1000, "{under_way} records are under way");
    // It goes on where it was, and is listened to.
    receiver.say("ack 10000");
    let end = stream.figures().synced;
    while receiver.records.len() < 40_000 {
        receiver.take().expect("a record");
        if receiver.records.len() % 500 == 0 {
            let last = seq(receiver.records.last().expect("a record"));
            receiver.say(&format!("ack {last}"));
        }
    }
    until("it catches up", || figures(&stream).acknowledged + 500 > end.min(40_000));
    drop(receiver);
    stream.shutdown().expect("it closes");
}

#[test]
fn what_was_not_acknowledged_is_not_deleted() {
    let dir = tempfile::tempdir().expect("a directory");
    let (listener, mut config) = setup(dir.path());
    (config.segment_size, config.retention_size, config.shipped) = (64 << 10, Some(128 << 10), Shipped::Unneeded);
    let stream = Stream::open(&config).expect("open");
    fill(&stream, 600);
    until("segments are due", || stream.figures().unshipped > 0);
    let before = segments(&config.directory).expect("segments");
    assert_eq!(before[0], 0);
    let mut receiver = Receiver::accept(&listener);
    receiver.say("from 0");
    receiver.take_until(300);
    receiver.say("ack 300");
    // The oldest that is left has a record that is not acknowledged.
    until("others are deleted", || segments(&config.directory).expect("segments")[1] > 301);
    let first = segments(&config.directory).expect("segments")[0];
    assert!(0 < first && first <= 301, "{first}");
    drop(receiver);
    // Those are gone, and not passed over in silence.
    let mut receiver = Receiver::accept(&listener);
    assert!(receiver.greeting["first"].as_u64() > Some(0));
    let failures = figures(&stream).failures;
    receiver.say("from 0");
    until("it is told", || figures(&stream).failures > failures);
    assert!(figures(&stream).error.is_some_and(|error| error.contains("were deleted")));
    stream.shutdown().expect("it closes");
}

#[test]
fn a_unix_socket_and_tls_carry_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("socket");
    let unix = UnixListener::bind(&socket).expect("a socket");
    let tls = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = tls.local_addr().expect("an address").port();
    let (ca, config_of_server) = certificate(dir.path());
    let sinks = vec![SinkTo::Unix(socket), SinkTo::Tls { host: "localhost".into(), port }];
    let config = Audit { sinks, sinks_ca: Some(ca), ..config(dir.path().join("log"), Durability::Strict) };
    let stream = Stream::open(&config).expect("open");
    fill(&stream, 20);
    let (plain, _) = unix.accept().expect("a connection");
    plain.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut plain = Receiver::greet(plain);
    plain.say("from 0");
    plain.take_until(20);
    let (tcp, _) = tls.accept().expect("a connection");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let session = rustls::ServerConnection::new(config_of_server).expect("a session");
    let mut secret = Receiver::greet(rustls::StreamOwned::new(session, tcp));
    secret.say("from 0");
    secret.take_until(20);
    assert_eq!(plain.records[..20], secret.records[..20]);
    secret.say("ack 20");
    until("it is taken note of", || stream.figures().sinks[1].acknowledged == 21);
    assert_eq!(stream.figures().sinks[0].acknowledged, 0);
    drop((plain, secret));
    stream.shutdown().expect("it closes");
    // A certificate for another name is no good.
    let wrong = Audit { sinks: vec![SinkTo::Tls { host: "127.0.0.1".into(), port }], ..config };
    let stream = Stream::open(&wrong).expect("open");
    let (mut tcp, _) = tls.accept().expect("a connection");
    let (_, config_of_server) = certificate(dir.path());
    let mut session = rustls::ServerConnection::new(config_of_server).expect("a session");
    while session.complete_io(&mut tcp).is_ok_and(|(read, written)| read + written > 0) {}
    until("it is told", || figures(&stream).failures > 0);
    assert!(!figures(&stream).connected && figures(&stream).connects == 0);
    stream.shutdown().expect("it closes");
}

/// A certificate for `localhost`: its file, and a server that has it.
fn certificate(directory: &Path) -> (PathBuf, Arc<rustls::ServerConfig>) {
    let path = directory.join("ca.pem");
    let key = directory.join("key.pem");
    if !path.exists() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        fs::write(&path, made.cert.pem()).expect("a file");
        fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    }
    let chain = vec![CertificateDer::from_pem_file(&path).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(&key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a server");
    (path, Arc::new(config))
}
