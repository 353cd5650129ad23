//! A log on a disk of 16 MiB that fills under load: nothing is executed unrecorded, nobody is told what is not on disk, and
//! everybody goes on when there is room again.
//!
//! The proxy alone gets the disk, in a mount name space of its own; its files are read through its descriptors. Where nothing
//! may be mounted, a limit on the size of its files stands for the disk's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::audit::Book;
use crate::kit::{self, Config, Proxy};
use crate::talk::*;

/// What keeps the log from growing, and how it is let grow again.
enum Disk {
    /// Keeps the disk though the name space is gone.
    Mounted { held: File, ballast: PathBuf },
    /// Of the process with this id.
    Limited(u32),
}

/// Whether this user may mount file systems in a name space of its own, and how.
fn unshare() -> Option<Vec<&'static str>> {
    let ways = [vec!["--mount"], vec!["--user", "--map-root-user", "--mount"]];
    ways.into_iter().find(|way| {
        let tried = Command::new("unshare").args(way).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

impl Disk {
    /// Starts a proxy whose log is in `directory`, on a small disk.
    fn start(directory: &Path, config: Config) -> (Proxy, Self) {
        let proxy = |program: &str, arguments: &[&str], script: &str| {
            let mut command = Command::new(program);
            command.args(arguments).args(["sh", "-c", script, "sh", env!("CARGO_BIN_EXE_pgwarden")]);
            Proxy::try_start_by(command, config.clone()).unwrap_or_else(|log| panic!("the proxy did not start:\n{log}"))
        };
        let Some(way) = unshare() else {
            let proxy = proxy("env", &[], "trap '' XFSZ; exec \"$@\"");
            let pid = proxy.pid();
            limit(pid, "1234567:");
            return (proxy, Self::Limited(pid));
        };
        let place = directory.display();
        let script = format!(
            "mount -t tmpfs -o size=16m none {place} && head -c 13000000 /dev/zero > {place}/ballast && exec \"$@\""
        );
        let proxy = proxy("unshare", &way, &script);
        let held = File::open(format!("/proc/{}/root{place}", proxy.pid())).expect("the proxy's disk");
        let ballast = PathBuf::from(format!("/proc/self/fd/{}/ballast", held.as_raw_fd()));
        (proxy, Self::Mounted { held, ballast })
    }

    fn make_room(&self) {
        match self {
            Self::Mounted { ballast, .. } => fs::remove_file(ballast).expect("removed"),
            Self::Limited(pid) => limit(*pid, "unlimited:"),
        }
    }

    /// Where the log is, for us.
    fn log(&self, directory: &Path) -> PathBuf {
        match self {
            Self::Mounted { held, .. } => PathBuf::from(format!("/proc/self/fd/{}/log", held.as_raw_fd())),
            Self::Limited(_) => directory.join("log"),
        }
    }
}

fn limit(pid: u32, soft: &str) {
    let set = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--fsize={soft}")]).status();
    assert!(set.expect("prlimit").success());
}

/// What the clients know.
#[derive(Default)]
struct Known {
    done: Mutex<BTreeSet<u64>>,
    refused: Mutex<BTreeSet<u64>>,
    /// Sent and not answered yet, or not sent at all.
    next: AtomicU64,
    ending: AtomicBool,
}

impl Known {
    /// One client's life: it fills the log.
    fn fill(&self, mut client: Talk) {
        while !self.ending.load(Ordering::Relaxed) {
            self.insert(&mut client);
        }
        client.finish();
    }

    /// A row, by a statement whose names are long; of every second one in the extended protocol.
    fn insert(&self, client: &mut Talk) {
        let padding: String = (0..40).map(|i| format!(", {i} AS {}{i}", "x".repeat(60))).collect();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let text = format!("INSERT INTO filled VALUES ({number}) RETURNING 1 AS c{number}{padding}");
        let said = match number % 2 {
            0 => client.query(&text),
            _ => client.ask(&[parse("", &text), again("", &[]), sync()]),
        };
        if said.ends_with("C(INSERT 0 1) Z(I)") {
            self.done.lock().expect("no panic under the lock").insert(number);
        } else {
            // Any of a batch's messages may be the one that met the failing log.
            let before: &[&str] = if number.is_multiple_of(2) { &[""] } else { &["", "1 ", "1 2 "] };
            assert!(said.strip_suffix("E(53100) Z(I)").is_some_and(|said| before.contains(&said)), "{said}");
            self.refused.lock().expect("no panic under the lock").insert(number);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Ends the clients, whatever happens to the test.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Numbers of statements whose completion is in the log, as far as its lines are whole.
fn completed(log: &Path) -> BTreeSet<u64> {
    let mut sent = BTreeMap::new();
    let mut completed = BTreeSet::new();
    for path in crate::audit::files(log, "log") {
        let text = fs::read_to_string(path).expect("UTF-8");
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let record: Value = serde_json::from_str(line).expect("JSON");
            let number = record["text"].as_str().and_then(|text| text.split(" AS c").nth(1)?.split(',').next());
            let number = number.filter(|_| record["message"] == "query" || record["message"] == "execute");
            if let (Some(number), Some(seq)) = (number.and_then(|it| it.parse::<u64>().ok()), record["seq"].as_u64()) {
                sent.insert(seq, number);
            }
            if record["outcome"] == "completed" {
                completed.extend(record["of"].as_u64().or(record["seq"].as_u64()).and_then(|of| sent.get(&of)));
            }
        }
    }
    completed
}

fn fills_and_goes_on(on_failure: &str) {
    let book = Book::new();
    let directory = book.log().with_file_name("disk");
    fs::create_dir(&directory).expect("a directory");
    let database = kit::database();
    kit::sql(&database.name, &format!("SET ROLE {}; CREATE TABLE filled (i bigint)", database.owner.name));
    let config = Config::for_database(&database)
        .set("admin.http", "127.0.0.1:0")
        .set("audit.directory", directory.join("log").display().to_string())
        .set("audit.key_file", book.log().with_file_name("audit.key").display().to_string())
        .set("audit.durability", "strict")
        .set("audit.on_failure", on_failure);
    let (mut proxy, disk) = Disk::start(&directory, config);
    let log = disk.log(&directory);
    let (known, mark) = (Arc::new(Known::default()), proxy.mark());
    thread::scope(|scope| {
        let ending = Ending(&known.ending);
        let login = || {
            let who = [("user", &*database.owner.name), ("database", &*database.name)];
            Talk::login(proxy.address(), &who, &database.owner.password)
        };
        let mut late = login();
        let fill = |client| {
            let known = known.clone();
            scope.spawn(move || known.fill(client));
        };
        (0..4).for_each(|_| fill(login()));
        proxy.await_log(mark, "the audit log cannot be written");
        // The others may all wait for what they have sent; this one asks when it cannot be written.
        match on_failure {
            "refuse" => (0..3).for_each(|_| known.insert(&mut late)),
            _ => fill(late),
        }
        thread::sleep(Duration::from_millis(500));
        // Taken before the log is looked at: what is known done by now is there by then.
        let done = known.done.lock().expect("no panic under the lock").clone();
        let on_disk = completed(&log);
        assert!(done.len() > 100, "{} statements", done.len());
        assert_eq!(done.difference(&on_disk).count(), 0, "seen done, and not on disk");
        let (status, ready) = proxy.get("/readyz");
        assert!(status == 503 && ready.contains("the audit log cannot be written"), "{status} {ready}");
        assert!(proxy.get("/metrics").1.contains("\npgwarden_audit_state{state=\"failed\"} 1\n"));
        let mark = proxy.mark();
        disk.make_room();
        proxy.await_log(mark, "the audit log can be written again");
        thread::sleep(Duration::from_millis(300));
        drop(ending);
        // Every client goes on over the connection that it has: it ends by itself, and in order.
    });
    assert_eq!(proxy.get("/readyz").0, 200);
    proxy.signal(Signal::SIGTERM);
    proxy.wait();

    let (done, refused) = (known.done.lock().expect("ended"), known.refused.lock().expect("ended"));
    let rows = kit::sql(&database.name, "SELECT i FROM filled");
    let rows: BTreeSet<u64> = rows.lines().map(|row| row.trim().parse().expect("a number")).collect();
    assert_eq!(rows, *done, "executed is what clients saw done, and nothing that was refused");
    assert_eq!(done.difference(&completed(&log)).count(), 0, "seen done, and not in the log");
    assert_eq!(refused.is_empty(), on_failure == "block");
    let records = crate::audit::records_in(&log);
    let told: Vec<_> = records.iter().filter(|it| it["kind"] == "recovered" || it["kind"] == "gap").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0]["error"].is_string() && told[0]["lost"] == 0, "{told:?}");
    // Each refusal is counted, or, where the log could be written again by then, a record of its own: never both.
    let own = records.iter().filter(|it| it["kind"] == "refused" && it["sqlstate"] == "53100").count();
    assert_eq!(told[0]["refused"].as_u64(), Some((refused.len() - own) as u64), "{own} have records of their own");
    assert_eq!(book.verified_in(&log), records.len() as u64);
    println!("{on_failure}: {} done, {} refused, {} records", done.len(), refused.len(), records.len());
}

#[test]
fn on_a_full_disk_statements_are_refused_and_clients_go_on_afterwards() {
    fills_and_goes_on("refuse");
}

#[test]
fn on_a_full_disk_statements_wait_and_clients_go_on_afterwards() {
    fills_and_goes_on("block");
}
