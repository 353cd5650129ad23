//! A log that cannot be written for a while: nothing is let through, nothing is lost in silence, and it goes on by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pgwarden::audit::{NotWritable, State, Stream};
use pgwarden::config::{Audit, Durability};

use crate::child::{append, config, parker, record};
use crate::seen::see;

const FULL: &str = "PGWARDEN_TEST_FULL";
const MOUNTED: &str = "PGWARDEN_TEST_MOUNTED";

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(Instant::now() < patience, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Appends until the log refuses because it cannot be written. The records that were taken.
fn append_until_refused(stream: &Stream) -> Vec<(u64, u64)> {
    let (waker, mut taken) = (parker(), Vec::new());
    for mark in 0..1_000_000 {
        match stream.append(&record(mark)) {
            Ok(seq) => taken.push((seq, mark)),
            Err(NotWritable::Full) => {
                stream.wake_when_writable(&waker);
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Err(NotWritable::Failed) => return taken,
            Err(NotWritable::Closed) => panic!("the log is open"),
        }
    }
    panic!("the disk does not fill");
}

/// What holds for every trouble: no statement is taken, outcomes are until their reserve is used up, and what was taken is in
/// the log when it is over. `end`: ends the trouble.
fn suffers_and_recovers(stream: Stream, log: &Path, taken: Vec<(u64, u64)>, end: impl FnOnce()) {
    let State::Failed { error, .. } = stream.state() else { panic!("{:?}", stream.state()) };
    assert!(!error.is_empty());
    assert_eq!(stream.append(&record(0)), Err(NotWritable::Failed));
    let unsettled = stream.figures().written;
    assert!(!stream.is_settled(unsettled), "nothing is promised that is not there");
    let mut outcomes = Vec::new();
    let lost = loop {
        let mark = 5_000_000 + outcomes.len() as u64;
        match stream.append_outcome(&record(mark)) {
            Ok(seq) => outcomes.push((seq, mark)),
            Err(_) => break 3,
        }
        assert!(outcomes.len() < 100_000, "the reserve is bounded");
    };
    assert!(outcomes.len() > 1000, "outcomes are taken for a while: {}", outcomes.len());
    for _ in 1..lost {
        assert!(stream.append_outcome(&record(1)).is_err());
    }
    std::thread::sleep(Duration::from_millis(300));
    assert!(matches!(stream.state(), State::Failed { .. }), "it is not over by itself");
    end();
    until("the log can be written again", || stream.state() == State::Writing);
    let waker = parker();
    let (seq, mark) = (append(&stream, 6_000_000, &waker).expect("taken again"), 6_000_000);
    let figures = stream.figures();
    assert_eq!((figures.failures, figures.lost), (1, lost));
    stream.shutdown().expect("it closes");

    let seen = see(log);
    for (seq, mark) in taken.iter().chain(&outcomes).chain([&(seq, mark)]) {
        assert_eq!(seen.records[*seq as usize]["mark"], *mark, "record {seq}");
    }
    let gaps: Vec<_> = seen.records.iter().filter(|record| record["kind"] == "gap").collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!((&gaps[0]["lost"], &gaps[0]["reason"]), (&lost.into(), &"not_writable".into()));
    assert!(gaps[0]["refused"].as_u64() >= Some(1) && gaps[0]["error"].is_string() && gaps[0]["since"].is_string());
    // A stop was written, and all of it is signed.
    assert_eq!(seen.records.last().expect("a record")["kind"], "stop");
    assert_eq!(seen.covered, seen.records.len() as u64);
}

/// Runs one test of this program with a shell's words before it.
fn run_again(program: &str, arguments: &[&str], script: &str, test: &str, variable: &str, value: &Path) -> bool {
    let exe = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args(arguments).args(["sh", "-c", script, "sh"]).arg(exe);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(variable, value);
    command.status().expect("a shell").success()
}

/// Whether this user may mount file systems in a name space of its own, and how.
fn unshare() -> Option<Vec<&'static str>> {
    let ways = [vec!["--mount"], vec!["--user", "--map-root-user", "--mount"]];
    ways.into_iter().find(|way| {
        let tried = Command::new("unshare").args(way).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn a_full_disk_refuses_statements_until_there_is_room() {
    if let Some(mounted) = std::env::var_os(MOUNTED) {
        return fill_a_disk(Path::new(&mounted));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let test = "faults::a_full_disk_refuses_statements_until_there_is_room";
    match unshare() {
        Some(way) => {
            let script = format!("mount -t tmpfs -o size=16m none {} && exec \"$@\"", dir.path().display());
            assert!(run_again("unshare", &way, &script, test, MOUNTED, dir.path()));
        }
        // Where nothing can be mounted, the limit of a file's size stands for the disk's.
        None => a_file_that_may_not_grow_refuses_statements_until_it_may(),
    }
}

fn fill_a_disk(disk: &Path) {
    let log = disk.join("log");
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![0; 8 << 20]).expect("room for it");
    let stream = Stream::open(&config(log.clone(), Durability::Group)).expect("open");
    let taken = append_until_refused(&stream);
    assert!(taken.len() > 1000);
    suffers_and_recovers(stream, &log, taken, || fs::remove_file(&ballast).expect("removed"));
}

#[test]
fn a_file_that_may_not_grow_refuses_statements_until_it_may() {
    if let Some(directory) = std::env::var_os(FULL) {
        return limit_files(Path::new(&directory));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let test = "faults::a_file_that_may_not_grow_refuses_statements_until_it_may";
    // A process that ignores the signal gets an error.
    let script = "trap '' XFSZ; exec \"$@\"";
    assert!(run_again("env", &[], script, test, FULL, dir.path()));
}

fn limit_files(directory: &Path) {
    let log = directory.join("log");
    // One segment that fits no limit.
    let config = Audit { segment_size: 1 << 30, ..config(log.clone(), Durability::Strict) };
    let stream = Stream::open(&config).expect("open");
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).expect("a limit");
    // No multiple of any block: the write that fails is one that has begun.
    setrlimit(Resource::RLIMIT_FSIZE, 1_234_567, hard).expect("a limit");
    let taken = append_until_refused(&stream);
    suffers_and_recovers(stream, &log, taken, || setrlimit(Resource::RLIMIT_FSIZE, hard, hard).expect("a limit"));
}

#[test]
fn a_directory_that_may_not_be_written_refuses_statements_until_it_may() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    fs::create_dir(&log).expect("a directory");
    // Modes bind everybody but root, so the log's thread is of nobody then; threads inherit that.
    if nix::unistd::geteuid().is_root() {
        nix::unistd::chown(&log, Some(65534.into()), Some(65534.into())).expect("an owner");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        nix::unistd::setfsuid(65534.into());
    }
    let stream = Stream::open(&config(log.clone(), Durability::Group)).expect("open");
    nix::unistd::setfsuid(nix::unistd::geteuid());
    fs::set_permissions(&log, fs::Permissions::from_mode(0o500)).expect("a mode");
    let taken = append_until_refused(&stream);
    suffers_and_recovers(stream, &log, taken, || {
        fs::set_permissions(&log, fs::Permissions::from_mode(0o700)).expect("a mode");
    });
}

#[test]
fn a_directory_that_is_gone_refuses_statements_until_it_is_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, away) = (dir.path().join("log"), dir.path().join("away"));
    let config = Audit { segment_size: 1 << 30, ..config(log.clone(), Durability::Strict) };
    let stream = Stream::open(&config).expect("open");
    let waker = parker();
    append(&stream, 1, &waker).expect("appended");
    fs::rename(&log, &away).expect("renamed");
    // The open file takes bytes for ever; somebody has to look whether anybody can find it.
    until("somebody notices", || matches!(stream.state(), State::Failed { .. }));
    let before = stream.figures().appended;
    assert_eq!(stream.append(&record(2)), Err(NotWritable::Failed));
    assert_eq!(stream.figures().appended, before);
    suffers_and_recovers(stream, &log, vec![(1, 1)], || fs::rename(&away, &log).expect("renamed"));
}

#[test]
fn a_file_of_records_that_somebody_cut_stops_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let stream = Stream::open(&config(log.clone(), Durability::Strict)).expect("open");
    let waker = parker();
    for mark in 0..5 {
        append(&stream, mark, &waker).expect("appended");
    }
    let path = pgwarden::audit::segment::records_path(&log, 0);
    let whole = fs::read(&path).expect("records");
    fs::OpenOptions::new().write(true).open(&path).expect("open").set_len(700).expect("cut");
    until("somebody notices", || matches!(stream.state(), State::Failed { .. }));
    assert!(stream.append(&record(9)).is_err());
    fs::write(&path, whole).expect("restored");
    until("the log goes on", || stream.state() == State::Writing);
    append(&stream, 10, &waker).expect("appended");
    stream.shutdown().expect("it closes");
    assert_eq!(see(&log).count("statement"), 6);
}

/// Where the clock's shift is read from, in seconds.
const SHIFT: &str = "PGWARDEN_TEST_SHIFT";

/// Stands before the C library's clock. What counts time since the machine's start stays as it is.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *out) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, out);
    const char *path = getenv("PGWARDEN_TEST_SHIFT");
    FILE *file = clock == CLOCK_REALTIME && path ? fopen(path, "r") : NULL;
    if (file) {
        long shift = 0;
        if (fscanf(file, "%ld", &shift) == 1) out->tv_sec += shift;
        fclose(file);
    }
    return result;
}
"#;

#[test]
fn a_clock_that_is_set_back_leaves_the_order_of_records_alone() {
    if let Some(shift) = std::env::var_os(SHIFT) {
        return set_the_clock_back(Path::new(&shift));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (source, library) = (dir.path().join("clock.c"), dir.path().join("clock.so"));
    fs::write(&source, CLOCK).expect("a file");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    assert!(compiled.expect("a C compiler, as for the crates").success());
    let shift = dir.path().join("shift");
    fs::write(&shift, "0").expect("a file");
    let test = "faults::a_clock_that_is_set_back_leaves_the_order_of_records_alone";
    let preload = format!("LD_PRELOAD={}", library.display());
    assert!(run_again("env", &[&preload], "exec \"$@\"", test, SHIFT, &shift));
}

fn set_the_clock_back(shift: &Path) {
    let log = shift.with_file_name("log");
    let config = Audit { segment_age: Duration::from_millis(300), ..config(log.clone(), Durability::Strict) };
    let waker = parker();
    let hour = Duration::from_secs(3600);
    let before = std::time::SystemTime::now();
    let stream = Stream::open(&config).expect("open");
    let first = append(&stream, 1, &waker).expect("appended");
    fs::write(shift, "-3600").expect("set back");
    let back = before.duration_since(std::time::SystemTime::now()).expect("the clock is set back");
    assert!(back > hour / 2, "{back:?}");
    let seqs: Vec<u64> = (2..50).map(|mark| append(&stream, mark, &waker).expect("appended")).collect();
    assert_eq!(seqs, (first + 1..first + 49).collect::<Vec<_>>());
    until("a segment ends by its age all the same", || stream.figures().segments > 1);
    stream.shutdown().expect("it closes");
    // And over a start: another hour.
    fs::write(shift, "-7200").expect("set back");
    let stream = Stream::open(&config).expect("open again");
    let last = append(&stream, 50, &waker).expect("appended");
    assert!(last > first + 49);
    stream.shutdown().expect("it closes");
    // Reads every number, checkpoint and link between checkpoints.
    let seen = see(&log);
    assert_eq!((seen.count("statement"), seen.covered), (50, seen.records.len() as u64));
    let times: Vec<&str> = seen.records.iter().filter_map(|record| record["time"].as_str()).collect();
    assert!(times.iter().any(|time| *time < times[0]), "the records say what the clock said: {times:?}");
}
