//! The commands that read a log, as processes: what they print, how they exit, and that other programs agree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pgwarden::audit::Stream;
use pgwarden::audit::segment::{records_path, segments};
use pgwarden::config::Durability;
use serde_json::Value;
use tempfile::TempDir;

use crate::child::config;
use crate::seen::key;

struct Log {
    directory: TempDir,
}

impl Log {
    /// A closed log with statements of two tenants.
    fn new() -> Self {
        let this = Self { directory: TempDir::new().expect("a directory") };
        this.write(60);
        this
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, records: u64) {
        let stream = Stream::open(&config(self.path(), Durability::Group)).expect("open");
        for number in 0..records {
            let tenant = if number % 3 == 0 { "harbor" } else { "lumen" };
            let members = format!(
                "\"v\":1,\"kind\":\"statement\",\"time\":\"2026-01-01T00:00:{:02}.000000Z\",\"mono\":{number},\
                 \"tenant\":\"{tenant}\",\"user\":\"app\",\"verdict\":\"allow\",\"text\":\"SELECT \\\"ü\\\"\"",
                number % 60
            );
            stream.append(members.as_bytes()).expect("append");
        }
        stream.shutdown().expect("shutdown");
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
        command.arg("audit").args(arguments).arg(self.path()).stdin(Stdio::null());
        command.output().expect("run pgwarden")
    }

    fn verify(&self, more: &[&str]) -> Output {
        self.run(&[&["verify", "--key", &key().public().to_string()], more].concat())
    }

    fn reads(&self) -> usize {
        fs::read_dir(self.path().join("reads")).map_or(0, Iterator::count)
    }
}

#[track_caller]
fn check(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}{error}");
    text
}

#[test]
fn verify_says_what_is_wrong_and_exits_by_it() {
    let log = Log::new();
    let kept = log.file("kept");
    let text = check(&log.verify(&["--keep", kept.to_str().expect("UTF-8")]), 0);
    assert!(text.starts_with("intact: log example.com/audit, records 0 to 61, "), "{text}");
    assert_eq!(log.reads(), 0, "verifying writes nothing");
    log.write(5);
    let kept = ["--checkpoint", kept.to_str().expect("UTF-8")];
    assert!(check(&log.verify(&kept), 0).contains("1 checkpoints kept elsewhere hold"));
    let report: Value = serde_json::from_str(&check(&log.verify(&["--json"]), 0)).expect("JSON");
    assert_eq!((&report["end"], &report["covered"], &report["ending"]), (&69.into(), &69.into(), &"closed".into()));

    let path = records_path(&log.path(), segments(&log.path()).expect("segments")[0]);
    let whole = fs::read(&path).expect("records");
    let mut flipped = whole.clone();
    let at = memchr::memmem::find(&whole, b"{\"seq\":30,").expect("record 30") + 90;
    flipped[at] ^= 1;
    fs::write(&path, &flipped).expect("write");
    let text = check(&log.verify(&[]), 6);
    assert!(text.starts_with("tampered: segment 0, record 30 (") && text.contains("not what was signed"), "{text}");
    fs::write(&path, &whole[..whole.len() - 200]).expect("write");
    check(&log.verify(&[]), 7);
    fs::write(&path, [&whole[..], b"{\"seq\":69,\"torn"].concat()).expect("write");
    assert!(check(&log.verify(&[]), 7).contains("the log ends with 15 bytes that are no record"));
    log.write(1);
    assert!(check(&log.verify(&[]), 8).contains("gap: record 70 at "));
    fs::remove_dir_all(log.path()).expect("remove");
    check(&log.verify(&[]), 9);
    log.write(3);
    let text = check(&log.verify(&kept), 7);
    assert!(text.contains("it was rolled back"), "{text}");
    check(&log.run(&["verify"]), 2);
    check(&log.run(&["verify", "--key", "no+key"]), 2);
}

#[test]
fn records_are_shown_and_the_read_is_recorded_or_refused() {
    let log = Log::new();
    let lines = check(&log.run(&["cat", "--tenant", "harbor", "--since", "2026-01-01T01:00:30+01:00"]), 0);
    assert_eq!(lines.lines().count(), 10, "{lines}");
    assert!(lines.lines().all(|line| line.starts_with("{\"seq\":") && line.contains("harbor")));
    let line = check(&log.run(&["cat", "--kind", "stop", "--pretty"]), 0);
    assert!(line.starts_with("      61 20") && line.ends_with('\n') && line.contains("stop"), "{line:?}");
    let stats: Value = serde_json::from_str(&check(&log.run(&["stats", "--json"]), 0)).expect("JSON");
    assert_eq!((&stats["tenants"]["by_name"]["lumen"], &stats["verdicts"]["allow"]), (&40.into(), &60.into()));
    assert!(check(&log.run(&["stats"]), 0).contains("harbor"));
    assert_eq!(log.reads(), 4, "nobody writes the log, so they wait");

    // A reader that follows sees what is written later, and what was read before.
    let mut follow = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
    follow.args(["audit", "cat", "--follow", "--kind", "read"]).arg(log.path()).stdout(Stdio::piped());
    let mut follow = follow.spawn().expect("run pgwarden");
    let out = std::io::BufReader::new(follow.stdout.take().expect("it was asked for"));
    let stream = Stream::open(&config(log.path(), Durability::Group)).expect("open");
    let reads: Vec<Value> = std::io::BufRead::lines(out)
        .take(5)
        .map(|line| serde_json::from_str(&line.expect("a line")).expect("JSON"))
        .collect();
    follow.kill().expect("kill");
    follow.wait().expect("wait");
    let mut commands: Vec<&str> = reads.iter().map(|read| read["command"].as_str().expect("a command")).collect();
    commands.sort_unstable();
    assert_eq!(commands, ["cat", "cat", "cat", "stats", "stats"]);
    let asked = reads.iter().any(|read| read["arguments"] == "--since 2026-01-01T00:00:30.000000Z --tenant harbor");
    assert!(asked, "{reads:?}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while log.reads() > 0 {
        assert!(Instant::now() < deadline, "announcements stay");
        std::thread::sleep(Duration::from_millis(50));
    }
    stream.shutdown().expect("shutdown");
    check(&log.verify(&[]), 0);

    fs::remove_dir(log.path().join("reads")).expect("remove");
    fs::write(log.path().join("reads"), "").expect("a file in its place");
    let refused = log.run(&["cat"]);
    assert_eq!(check(&refused, 10), "");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--unrecorded"));
    assert!(check(&log.run(&["cat", "--unrecorded"]), 0).lines().count() > 60);
    let out = log.file("out");
    check(&log.run(&["export", "--tenant", "harbor", "--out", out.to_str().expect("UTF-8")]), 10);
    assert!(!out.exists());
    check(&log.run(&["prove", "3"]), 10);
    check(&log.run(&["stats"]), 10);
}

/// The program in docs/audit.md, which has nothing of ours.
fn documented_checker(directory: &Path) -> PathBuf {
    let text = include_str!("../../docs/audit.md");
    let program = text.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    let path = directory.join("check.py");
    fs::write(&path, program).expect("write");
    path
}

#[test]
fn a_proof_is_accepted_by_a_program_that_is_not_ours() {
    let log = Log::new();
    let public = key().public().to_string();
    let proof = check(&log.run(&["prove", "31"]), 0);
    let file = log.file("record-31.tlog-proof");
    let file = file.to_str().expect("UTF-8");
    fs::write(file, &proof).expect("write");
    let ours = |public: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
        command.args(["audit", "verify", "--proof", file, "--key", public]).output().expect("run pgwarden")
    };
    let text = check(&ours(&public), 0);
    assert!(text.starts_with("{\"seq\":31,") && text.contains("proven: record 31 of log example.com/audit"), "{text}");
    let checker = documented_checker(log.directory.path());
    let theirs = || Command::new("python3").arg(&checker).args([file, &public]).output().expect("python3");
    let text = check(&theirs(), 0);
    assert!(text.starts_with("{\"seq\":31,") && text.contains('ü'), "{text}");
    // Neither takes another record, another index, or another signature.
    let mut wrong = vec![proof.replace("index 31", "index 30"), proof.replace("\n62\n", "\n63\n")];
    let at = proof.find("extra ").expect("a record") + 20;
    wrong.push(format!("{}{}{}", &proof[..at], if &proof[at..=at] == "A" { "B" } else { "A" }, &proof[at + 1..]));
    let at = proof.rfind(' ').expect("a signature") + 30;
    wrong.push(format!("{}{}{}", &proof[..at], if &proof[at..=at] == "A" { "B" } else { "A" }, &proof[at + 1..]));
    for wrong in wrong {
        fs::write(file, &wrong).expect("write");
        check(&ours(&public), 6);
        check(&theirs(), 1);
    }

    let out = log.file("harbor.jsonl");
    let out = out.to_str().expect("UTF-8");
    check(&log.run(&["export", "--tenant", "harbor", "--out", out]), 0);
    let verify = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
        command.args(["audit", "verify", "--export", out, "--key", &public]).output().expect("run pgwarden")
    };
    assert!(check(&verify(), 0).starts_with("proven: 20 records of tenant \"harbor\""));
    let text = fs::read_to_string(out).expect("an export");
    assert!(!text.contains("lumen"));
    fs::write(out, &text[..text.len() / 2]).expect("write");
    check(&verify(), 7);
    fs::write(out, text.replace("\\\"mono\\\":3,", "\\\"mono\\\":4,")).expect("write");
    check(&verify(), 6);
}
