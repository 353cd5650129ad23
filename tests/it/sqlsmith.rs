//! sqlsmith, which makes up statements from the catalog that it finds, as a tenant: no byte of another tenant's arrives,
//! nothing of another's changes, the proxy makes no error of its own, and its server connections serve the next session.
//!
//! `PGWARDEN_SQLSMITH=100000` has it send as many statements, `PGWARDEN_SEED` others.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::attacks::client::stolen;
use crate::attacks::lab::{Ground, Lab, Wall};

#[test]
fn what_sqlsmith_makes_up_gets_through_no_wall() {
    // Of the catalog most is refused, and one refused name is enough: few of its statements would run.
    smith(&Lab::new(Wall::BothSealed), &["--exclude-catalog"], 5);
}

#[test]
fn what_sqlsmith_makes_up_is_kept_by_the_database_alone() {
    smith(&Lab::new(Wall::Database), &[], 20);
}

#[test]
fn what_sqlsmith_makes_up_is_kept_by_policy_alone() {
    smith(&Lab::new(Wall::Policy), &["--exclude-catalog"], 5);
}

/// Statements of one run.
const STATEMENTS: u64 = 2_000;

/// `percent`: of the statements that run, at least, to make this a test of anything.
fn smith(lab: &Lab, options: &[&str], percent: usize) {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"));
    let (seed, statements) = (number("PGWARDEN_SEED", 1), number("PGWARDEN_SQLSMITH", STATEMENTS));
    let proxy = lab.proxy.as_ref().expect("a proxy");
    let before = lab.state();
    let tap = Tap::start(proxy.address());
    let target = format!("host=127.0.0.1 port={} user=one dbname=lab sslmode=disable", tap.address.port());
    let output = Command::new("sqlsmith")
        .args([format!("--target={target}"), format!("--seed={seed}"), format!("--max-queries={statements}")])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .expect("sqlsmith is there: run scripts/setup clients");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let heard = tap.heard();
    let outcomes = outcomes(&heard);
    println!("{}: {outcomes:?}", lab.wall.label());
    assert!(output.status.success(), "sqlsmith: {}\n{said}\n{outcomes:?}", output.status);

    let words: Vec<String> = heard.iter().flat_map(|bytes| stolen(bytes, b"", "1")).collect();
    assert!(words.is_empty(), "heard of another tenant: {words:?}");
    assert!(stolen(said.as_bytes(), b"", "1").is_empty(), "{said}");
    let count = |outcome: &str| outcomes.get(outcome).copied().unwrap_or_default();
    assert_eq!(count("XX000"), 0, "{outcomes:?}");
    assert!(!proxy.log().contains("panic"), "{}", proxy.log());
    let sent = usize::try_from(statements).expect("few");
    assert!(count("ran") * 100 >= sent * percent, "{} of {sent} ran: {outcomes:?}", count("ran"));

    let after = lab.state();
    assert_eq!(after.others, before.others, "another's rows changed");
    assert_eq!(after.shape, before.shape, "schema, grants or roles changed");
    assert_eq!(lab.victim_is_hurt(Ground::Row), None);
}

/// Internal errors (XX000) that PostgreSQL raises by itself for what sqlsmith makes up: for a `nullif` of two unknowns.
const OF_THE_SERVER: [&str; 1] = ["failed to find conversion function from unknown to text"];

/// By SQLSTATE, what became of the statements; `ran` are those that did not fail. Each stands in a transaction of its own, and
/// what the first connection does is reading the catalog.
fn outcomes(heard: &[Vec<u8>]) -> BTreeMap<String, usize> {
    let mut outcomes = BTreeMap::new();
    for bytes in heard.iter().skip(1) {
        let mut rest = &bytes[..];
        let mut in_transaction = false;
        while let [tag, a, b, c, d, ..] = *rest {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            let Some(body) = rest.get(5..=length) else { break };
            let outcome = match tag {
                b'C' if body.starts_with(b"BEGIN") || body.starts_with(b"ROLLBACK") => {
                    in_transaction = body.starts_with(b"BEGIN");
                    None
                }
                b'C' if in_transaction => Some("ran".to_owned()),
                b'E' => {
                    let known = field(body, b'M').filter(|message| OF_THE_SERVER.contains(&message.as_str()));
                    known.or_else(|| field(body, b'C'))
                }
                _ => None,
            };
            if let Some(outcome) = outcome {
                *outcomes.entry(outcome).or_default() += 1;
            }
            rest = &rest[length + 1..];
        }
    }
    outcomes
}

/// A field of an ErrorResponse.
fn field(body: &[u8], kind: u8) -> Option<String> {
    let mut fields = body.split(|byte| *byte == 0);
    let field = fields.find(|field| field.first() == Some(&kind))?;
    Some(String::from_utf8_lossy(&field[1..]).into_owned())
}

/// Stands between a client and a server and keeps what the server says.
struct Tap {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Heard>>>,
}

/// What was said on one connection.
type Heard = Arc<Mutex<Vec<u8>>>;

impl Tap {
    fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let all = Arc::clone(&connections);
        // It waits for clients to the end of the process, as there may always be one more.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let heard = Heard::default();
                all.lock().expect("no panic under the lock").push(Arc::clone(&heard));
                let (from, to) = (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
                thread::spawn(move || forward(from, to, None));
                thread::spawn(move || forward(server, client, Some(&heard)));
            }
        });
        Self { address, connections }
    }

    fn heard(&self) -> Vec<Vec<u8>> {
        let connections = self.connections.lock().expect("no panic under the lock");
        connections.iter().map(|heard| heard.lock().expect("no panic under the lock").clone()).collect()
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, kept: Option<&Mutex<Vec<u8>>>) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if let Some(kept) = kept {
            kept.lock().expect("no panic under the lock").extend_from_slice(&bytes[..count]);
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
