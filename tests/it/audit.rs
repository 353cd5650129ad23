//! What of real conversations is on record, and that nothing a client saw done is missing.

mod complete;
mod crash;
mod forged;
mod secrets;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use pgwarden::chain::{Checkpoint, Frontier, PublicKey, SigningKey, leaf_hash, notes};
use pgwarden::config::Secret;
use serde_json::Value;
use tempfile::TempDir;

use crate::kit;
use crate::rig::{Rig, Setup};
use crate::talk::*;

/// A log's directory and key.
pub struct Book {
    directory: TempDir,
    key: PublicKey,
}

fn key() -> SigningKey {
    SigningKey::from_seed("test.example/audit", [7; 32]).expect("a key")
}

impl Book {
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let key = key();
        let path = directory.path().join("audit.key");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("a file");
        std::io::Write::write_all(&mut file, key.to_text().expose().as_bytes()).expect("write the key");
        Self { directory, key: key.public().clone() }
    }

    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// A proxy that writes this log.
    pub fn setup(&self, more: &str) -> Setup {
        Rig::setup().table(&self.table(more))
    }

    /// The same, where the proxy is another one.
    fn config(&self, mut config: kit::Config, more: &str) -> kit::Config {
        let audit: toml::Table = self.table(more).parse().expect("a table");
        config.0.extend(audit);
        config
    }

    fn table(&self, more: &str) -> String {
        let directory = self.directory.path().display();
        format!("[audit]\ndirectory = \"{directory}/log\"\nkey_file = \"{directory}/audit.key\"\n{more}\n")
    }

    pub fn records(&self) -> Vec<Value> {
        records_in(&self.log())
    }

    /// The records that the signed checkpoints cover, each checkpoint having been found to hold.
    pub fn verified(&self) -> u64 {
        self.verified_in(&self.log())
    }

    /// The same for a log that is elsewhere.
    pub fn verified_in(&self, log: &Path) -> u64 {
        let mut roots = BTreeMap::new();
        let mut tree = Frontier::new();
        for path in files(log, "log") {
            for line in fs::read(&path).expect("read it").split_inclusive(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\n").expect("a whole line");
                tree.append(leaf_hash(line));
                roots.insert(tree.size(), tree.root());
            }
        }
        let mut covered = 0;
        for path in files(log, "checkpoints") {
            let file = fs::read(&path).expect("read it");
            let (notes, rest) = notes(&file);
            assert_eq!(rest, b"");
            for note in notes {
                let (checkpoint, note) = Checkpoint::from_note(note).expect("a checkpoint");
                assert_eq!(note.verify(std::slice::from_ref(&self.key)).expect("signed").len(), 1);
                assert_eq!(roots.get(&checkpoint.size), Some(&checkpoint.root), "at {}", checkpoint.size);
                assert!(checkpoint.size >= covered);
                covered = checkpoint.size;
            }
        }
        covered
    }
}

/// All records, from the files; each line must be one, and their numbers without a hole.
pub fn records_in(log: &Path) -> Vec<Value> {
    let mut records = Vec::new();
    for path in files(log, "log") {
        let text = fs::read_to_string(&path).expect("UTF-8");
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(record["seq"], records.len() as u64, "{line}");
            records.push(record);
        }
    }
    records
}

/// By the numbers of statements, the records that say how they ended: their own, or another that came later.
pub fn outcomes(records: &[Value]) -> BTreeMap<u64, &Value> {
    let mut outcomes = BTreeMap::new();
    for record in records.iter().filter(|record| record["outcome"].is_string()) {
        let of = record["of"].as_u64().or_else(|| record["seq"].as_u64()).expect("a number");
        assert!(outcomes.insert(of, record).is_none(), "it ended twice: {record}");
    }
    outcomes
}

pub fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("list the log").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    found.sort();
    found
}

pub fn stop(rig: &Rig, book: &Book) -> Vec<Value> {
    close(rig.proxy(), book)
}

/// Ends the proxy in order, so that its log is whole.
fn close(proxy: &kit::Proxy, book: &Book) -> Vec<Value> {
    proxy.signal(Signal::SIGTERM);
    kit::eventually("the log is closed", || {
        let text = files(&book.log(), "log").last().map(|path| fs::read_to_string(path).unwrap_or_default());
        text.is_some_and(|text| text.lines().last().is_some_and(|line| line.contains("\"kind\":\"stop\"")))
    });
    let records = book.records();
    kit::eventually("the last checkpoint covers it", || book.verified() == records.len() as u64);
    records
}

/// `kind message verdict` and what came of it, for all messages of a session, in order.
fn story(records: &[Value], user: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let outcomes = outcomes(records);
    let mut story = Vec::new();
    for record in records.iter().filter(|record| record["user"] == user) {
        let outcome = record["seq"].as_u64().and_then(|seq| outcomes.get(&seq));
        match record["kind"].as_str() {
            Some("statement") => {
                let outcome = outcome.unwrap_or_else(|| panic!("no outcome: {record}"));
                let sqlstate = outcome["sqlstate"].as_str().map(|it| format!(" {it}")).unwrap_or_default();
                let tag = outcome["tag"].as_str().map(|it| format!(" ({it})")).unwrap_or_default();
                let words = record["text"].as_str().map(|it| format!(" {it}")).unwrap_or_default();
                story.push(format!(
                    "{}{words} -> {}{sqlstate}{tag}",
                    text(&record["message"]),
                    text(&outcome["outcome"])
                ));
            }
            Some("refused") => {
                story.push(format!("{} refused {}", text(&record["message"]), text(&record["sqlstate"])));
            }
            Some("outcome") | None => {}
            Some(kind) => story.push(kind.to_owned()),
        }
    }
    story
}

#[test]
fn everything_that_a_client_asks_for_is_on_record_with_what_came_of_it() {
    let book = Book::new();
    let rig = book.setup("durability = \"strict\"").with_password().start();
    let mut alice = rig.client_with("alice", &[("options", "-c pgwarden.reason=ticket\\ 7")]);
    alice.query("CREATE TABLE audited (i int PRIMARY KEY, t text)");
    alice.query("INSERT INTO audited VALUES (1, 'secret words'), (2, 'x'); SELECT * FROM audited");
    alice.query("SELECT 1/0");
    alice.query("SELEC 'secret words'");
    assert_eq!(alice.ask(&[function_call(1598)]), "E(0A000) Z(I)");
    alice.ask(&[run("SELECT t FROM audited WHERE i = $1", &[Some("1847362951")]), sync()]);
    alice.ask(&[parse("s", "SELECT 1"), describe_statement("s"), again("s", &[]), sync()]);
    // The rest of a batch is discarded after an error.
    alice.ask(&[run("SELECT 1/(i-1) FROM audited", &[]), run("SELECT 2", &[]), sync()]);
    alice.say(&[query("COPY audited FROM STDIN")]);
    alice.until(b'G', 1);
    alice.ask(&[copy_data(b"3\tsecret words\n"), copy_data(b"4\t\\N\n"), copy_done()]);
    alice.query("COPY audited TO STDOUT");
    alice.finish();
    let mut wrong = Talk::open(rig.address());
    wrong.send(&rig.hello("bob"));
    assert!(wrong.authenticate("not the password").is_err());
    let mut bob = rig.client("bob");
    bob.say(&[query("SELECT pg_sleep(60)")]);
    rig.wait_until_running("pg_sleep(60)");
    let mut cancelling = Talk::open(rig.address());
    cancelling.send(&bob.cancel_request());
    assert_eq!(bob.until_ready(1), "T(pg_sleep) E(57014) Z(I)");
    rig.console().query("RELOAD");
    bob.finish();
    rig.eventually("the sessions have ended", || {
        book.records().iter().filter(|record| record["kind"] == "disconnect").count() == 2
    });
    let records = stop(&rig, &book);
    let told = story(&records, "alice").join("\n");
    println!("{told}");
    assert_eq!(
        told,
        "login\n\
         query CREATE TABLE audited (i int PRIMARY KEY, t text) -> completed (CREATE TABLE)\n\
         query INSERT INTO audited VALUES (?, ?), (?, ?); SELECT * FROM audited -> completed (INSERT 0 2; SELECT 2)\n\
         query SELECT ?/? -> failed 22012\n\
         query ? ? -> failed 42601\n\
         function_call refused 0A000\n\
         parse SELECT t FROM audited WHERE i = $1 -> completed\n\
         bind SELECT t FROM audited WHERE i = $1 -> completed\n\
         execute SELECT t FROM audited WHERE i = $1 -> completed (SELECT 0)\n\
         parse SELECT ? -> completed\n\
         describe SELECT ? -> completed\n\
         bind SELECT ? -> completed\n\
         execute SELECT ? -> completed (SELECT 1)\n\
         parse SELECT ?/(i-?) FROM audited -> completed\n\
         bind SELECT ?/(i-?) FROM audited -> completed\n\
         execute SELECT ?/(i-?) FROM audited -> failed 22012\n\
         parse SELECT ? -> skipped\n\
         bind SELECT ? -> skipped\n\
         execute SELECT ? -> skipped\n\
         query COPY audited FROM STDIN -> completed (COPY 2)\n\
         query COPY audited TO STDOUT -> completed (COPY 4)\n\
         disconnect\n\
         console"
    );
    assert_eq!(
        story(&records, "bob"),
        ["login_failed", "login", "query SELECT pg_sleep(?) -> failed 57014", "disconnect"]
    );
    let text = records.iter().map(Value::to_string).collect::<String>();
    for secret in ["secret words", "1847362951", rig.password(), "not the password"] {
        assert!(!text.contains(secret), "{secret}");
    }
    let of = |kind: &str| records.iter().filter(|record| record["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of("login")[0]["reason"], "ticket 7");
    assert_eq!((of("cancel")[0]["found"].clone(), of("reload")[0]["taken"].clone()), (true.into(), true.into()));
    let copied = records.iter().find(|record| record["tag"] == "COPY 2").expect("an outcome");
    assert_eq!((&copied["copied"], &copied["copied_bytes"]), (&Value::from(2), &Value::from(15 + 5 + 5 + 5)));
    assert!(records.iter().all(|record| record["mono"].is_u64()));
}

#[test]
fn the_console_says_how_far_the_log_is_in_both_protocols() {
    let book = Book::new();
    let rig = book.setup("durability = \"strict\"").start();
    rig.client("alice").query("SELECT 1");
    let mut console = rig.console();
    let rows = console.table("SHOW AUDIT");
    let value = |key: &str| rows.iter().find(|row| row["key"] == key).map(|row| row["value"].clone());
    let number = |key: &str| value(key).and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("{key}"));
    assert_eq!(value("state").as_deref(), Some("writing"));
    assert!(number("records_appended") >= 4 && number("records_synced") <= number("records_appended"));
    assert!(number("syncs") > 0 && number("checkpoint_size") > 0 && number("bytes_written") > 500);
    assert_eq!(value("checkpoint_root").map(|root| root.len()), Some(44));
    let told = console.ask(&[run("SHOW AUDIT", &[]), sync()]);
    assert!(told.contains("D(state,writing) ") && told.contains("D(durability,strict) "), "{told}");
}

/// What the server says to a message of the proxy's own, in place of a refused one, is nobody's outcome.
#[test]
fn a_refusal_leaves_no_trace_in_the_outcome_of_the_next_message() {
    let book = Book::new();
    let rig = book.setup("").start();
    let mut alice = rig.client("alice");
    alice.query("BEGIN");
    assert_eq!(alice.ask(&[function_call(1598)]), "E(0A000) Z(E)");
    alice.query("ROLLBACK");
    alice.ask(&[parse("s", "SELECT 1"), sync()]);
    alice.ask(&[parse("s", "SELECT 2"), bind("", "s", &[]), sync()]);
    alice.query("SELECT 3");
    alice.finish();
    rig.eventually("the session has ended", || book.records().iter().any(|record| record["kind"] == "disconnect"));
    let records = stop(&rig, &book);
    assert_eq!(
        story(&records, "alice"),
        [
            "login",
            "query BEGIN -> completed (BEGIN)",
            "function_call refused 0A000",
            "query ROLLBACK -> completed (ROLLBACK)",
            "parse SELECT ? -> completed",
            "parse refused 42P05",
            "bind SELECT ? -> skipped",
            "query SELECT ? -> completed (SELECT 1)",
            "disconnect",
        ]
    );
}

#[test]
fn a_key_is_made_once_and_is_its_owners_alone() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("new.key");
    let make = || {
        let program = Command::new(env!("CARGO_BIN_EXE_pgwarden"))
            .args(["audit", "keygen", "new.example/log", "--out"])
            .arg(&path)
            .output()
            .expect("run it");
        (program.status.code(), String::from_utf8_lossy(&program.stdout).into_owned())
    };
    let (code, public) = make();
    assert_eq!(code, Some(0));
    let secret = Secret::new(fs::read_to_string(&path).expect("read it"));
    let key = SigningKey::parse(&secret).expect("a key");
    assert_eq!(public.trim(), key.public().to_string());
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(make().0, Some(1), "nothing is overwritten");
    assert_eq!(
        SigningKey::parse(&Secret::new(fs::read_to_string(&path).expect("read it"))).expect("a key").public(),
        key.public()
    );
}

/// More outcomes than the log's reserve takes while it cannot be written: what has no record the client never sees done.
#[test]
fn in_strict_nothing_is_seen_done_whose_outcome_found_no_room() {
    const STATEMENTS: usize = 4000;
    let book = Book::new();
    let rig = book.setup("durability = \"strict\"\nqueue_size = \"64KiB\"").start();
    let mut client = rig.client("alice");
    client.query("SELECT 'before'");
    let lock = 7_012_023;
    let mut other = rig.superuser();
    other.query(&format!("SELECT pg_advisory_lock({lock})"));
    client.say(&[query(&format!("SELECT pg_advisory_xact_lock({lock})"))]);
    rig.wait_until_running(&format!("pg_advisory_xact_lock({lock})"));
    // They are sent, and so on record, before the log fails; the server answers them when it has.
    for number in 0..STATEMENTS {
        client.say(&[query(&format!("SELECT 1 AS c{number}"))]);
    }
    let last = format!("AS c{}\"", STATEMENTS - 1);
    let segment = files(&book.log(), "log").pop().expect("a segment");
    rig.eventually("all are on record", || fs::read_to_string(&segment).expect("read it").contains(&last));
    let aside = segment.with_extension("moved");
    let mark = rig.proxy().mark();
    fs::rename(&segment, &aside).expect("move it away");
    rig.proxy().await_log(mark, "the audit log cannot be written");
    other.query(&format!("SELECT pg_advisory_unlock({lock})"));
    let seen_meanwhile = readies_until_closed(&mut client);
    fs::rename(&aside, &segment).expect("move it back");
    let records = stop(&rig, &book);
    let completed =
        records.iter().filter(|record| record["outcome"] == "completed" && record["user"] == "alice").count();
    let lost = records.iter().filter_map(|record| record["lost"].as_u64()).sum::<u64>();
    println!("{completed} outcomes, {lost} lost");
    assert!(lost > 0, "there was room for all: the test shows nothing");
    // The log was not written before the session was over.
    assert_eq!(seen_meanwhile, 0);
}

/// How many ReadyForQuery come before the proxy closes the connection, which it must.
#[track_caller]
fn readies_until_closed(client: &mut Talk) -> usize {
    let mut readies = 0;
    loop {
        match client.try_reply() {
            Ok(reply) => readies += usize::from(reply.tag == b'Z'),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}, after {readies}");
                return readies;
            }
        }
    }
}

/// The client need not wait for the record of what did not happen, and such records do not take the room of outcomes.
#[test]
fn in_strict_a_log_that_fails_is_told_at_once() {
    let book = Book::new();
    let rig = book.setup("durability = \"strict\"\non_failure = \"refuse\"").start();
    let mut client = rig.client("alice");
    client.query("SELECT 'before'");
    let segment = files(&book.log(), "log").pop().expect("a segment");
    let aside = segment.with_extension("moved");
    let mark = rig.proxy().mark();
    fs::rename(&segment, &aside).expect("move it away");
    rig.proxy().await_log(mark, "the audit log cannot be written");
    client.patience = Duration::from_secs(5);
    for _ in 0..3 {
        assert_eq!(client.ask(&[query("SELECT 'during'")]), "E(53100) Z(I)");
        assert_eq!(client.ask(&[parse("", "SELECT 'during'"), sync()]), "E(53100) Z(I)");
    }
    client.patience = PATIENCE;
    let mark = rig.proxy().mark();
    fs::rename(&aside, &segment).expect("move it back");
    rig.proxy().await_log(mark, "the audit log can be written again");
    client.query("SELECT 'after'");
    let records = stop(&rig, &book);
    let refused =
        records.iter().filter(|record| record["kind"] == "recovered").filter_map(|record| record["refused"].as_u64());
    assert_eq!(refused.sum::<u64>(), 6);
    let seen = story(&records, "alice").iter().filter(|it| it.ends_with("(SELECT 1)")).count();
    assert_eq!(seen, 2);
}

#[test]
fn two_processes_never_write_one_log_and_a_changed_one_is_not_continued() {
    let book = Book::new();
    let rig = book.setup("").start();
    rig.client("alice").query("SELECT 1");
    let config = |rig: &Rig| book.config(rig.proxy().config(), "");
    let refused = kit::Proxy::try_start(config(&rig)).err().expect("it must not start");
    assert!(refused.contains("another process writes the log"), "{refused}");
    let config = config(&rig);
    stop(&rig, &book);
    rig.eventually("the process has ended", || {
        fs::File::open(book.log().join("lock")).is_ok_and(|it| it.try_lock().is_ok())
    });
    let segment = files(&book.log(), "log").pop().expect("a segment");
    let good = fs::read_to_string(&segment).expect("read it");
    fs::write(&segment, good.replacen("\"message\":\"query\"", "\"message\":\"quary\"", 1)).expect("change it");
    fs::set_permissions(&segment, fs::Permissions::from_mode(0o600)).expect("set the mode");
    let refused = kit::Proxy::try_start(config.clone()).err().expect("it must not start");
    assert!(refused.contains("they were changed"), "{refused}");
    fs::write(&segment, good).expect("change it back");
    drop(kit::Proxy::start(config));
}
