//! Measures the audit log alone: what an append and what a whole statement cost a worker, what the writer costs, how many
//! records a second it takes, how many statements share a sync, and how many records a second are verified.
//!
//! `cargo run --release -p pgwarden-bench --bin audit-log -- [--directory DIR] [--seconds N] [--only-verify]`. The
//! directory's disk is what is measured in `strict`.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use nix::time::{ClockId, clock_gettime};
use pgwarden::audit::read::{self, Verifier};
use pgwarden::audit::{self, Figures, Stream};
use pgwarden::chain::SigningKey;
use pgwarden::config::{Audit, Durability, OnFailure, Shipped, Values};
use pgwarden::record::{Answer, Forwarded, Head, Intent, Message, Outcome, Person, Verdict, Who, Words};
use pgwarden::sql::grammar;

/// Measures the audit log alone
#[derive(Parser)]
struct Args {
    /// Where logs are written, and removed again (default: the temporary directory)
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Length of each run
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Bytes of a record, about
    #[arg(long, default_value_t = 600)]
    record: usize,
    /// Records of the log that is verified
    #[arg(long, default_value_t = 2_000_000)]
    verified: u64,
    /// Measure verifying alone
    #[arg(long)]
    only_verify: bool,
}

/// Records that a worker appends each millisecond.
const PACES: [Option<u64>; 3] = [Some(20), Some(100), None];

/// Statements that have begun and not ended.
const UNDER_WAY: usize = 16;

/// Clients that wait for each of their records.
const CLIENTS: [usize; 3] = [1, 16, 64];

fn main() -> Result<()> {
    let args = Args::parse();
    let base = args.directory.clone().unwrap_or_else(std::env::temp_dir);
    println!("records of {} bytes, {} s each, in {}", args.record, args.seconds, base.display());
    if args.only_verify {
        return verify(&base, &args);
    }
    println!("\none worker, at so many records a second and as fast as possible");
    println!(
        "| durability | asked for | records/s | worker ns/record | writer ns/record | MB/s | records/write | syncs | last sync ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for durability in DURABILITIES {
        for pace in PACES {
            flood(&base, durability, pace, &args)?;
        }
    }
    println!("\none worker's statements, {UNDER_WAY} under way, intent and outcome, at so many a second");
    println!("| message | asked for | statements/s | worker ns | writer ns | both ns | bytes |");
    println!("|---|---|---|---|---|---|---|");
    for message in [Message::Query, Message::Execute] {
        for pace in PACES {
            statements(&base, message, pace, &args)?;
        }
    }
    println!("\nclients that wait for each record");
    println!("| durability | clients | records/s | records/sync | CPU µs/record | mean wait µs |");
    println!("|---|---|---|---|---|---|");
    for durability in [Durability::Strict, Durability::Group] {
        for clients in CLIENTS {
            wait(&base, durability, clients, &args)?;
        }
    }
    verify(&base, &args)
}

/// Threads that hash.
const THREADS: [usize; 3] = [1, 2, 4];

/// Times that a log is verified; the first may have to read it from the disk.
const ROUNDS: usize = 3;

/// Writes a log and verifies it.
fn verify(base: &Path, args: &Args) -> Result<()> {
    let (dir, stream) = open(base, Durability::Relaxed)?;
    let (record, waker) = (record(args.record), parker());
    let mut appended = 0;
    while appended < args.verified {
        match stream.append(&record) {
            Ok(_) => appended += 1,
            Err(_) => {
                stream.wake_when_writable(&waker);
                thread::park_timeout(Duration::from_millis(10));
            }
        }
    }
    stream.shutdown().context("shutdown")?;
    let key = SigningKey::from_seed("bench", [7; 32])?.public().clone();
    println!("\nverifying {} records, {ROUNDS} rounds each", args.verified);
    println!("| hashing threads | records/s | MB/s | CPU ns/record |");
    println!("|---|---|---|---|");
    for threads in THREADS {
        for _ in 0..ROUNDS {
            let verifier = Verifier { threads, ..Verifier::new(vec![key.clone()]) };
            let (cpu, start) = (self::cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID)?, Instant::now());
            let report = verifier.verify(&dir.path().join("log"));
            let (wall, cpu) = (start.elapsed().as_secs_f64(), self::cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID)? - cpu);
            anyhow::ensure!(
                report.verdict() == read::Verdict::Intact,
                "the log is {:?}: {:?}",
                report.verdict(),
                report.findings
            );
            println!(
                "| {threads} | {:.0} | {:.0} | {} |",
                report.end as f64 / wall,
                report.bytes as f64 / wall / 1e6,
                cpu.as_nanos() as u64 / report.end.max(1),
            );
        }
    }
    Ok(())
}

const DURABILITIES: [Durability; 3] = [Durability::Relaxed, Durability::Group, Durability::Strict];

fn open(base: &Path, durability: Durability) -> Result<(tempfile::TempDir, Stream)> {
    let dir = tempfile::tempdir_in(base)?;
    let stream = Stream::open(&config(&dir, durability)?)?;
    Ok((dir, stream))
}

fn config(dir: &tempfile::TempDir, durability: Durability) -> Result<Audit> {
    let key = SigningKey::from_seed("bench", [7; 32])?;
    Ok(Audit {
        directory: dir.path().join("log"),
        origin: None,
        durability,
        on_failure: OnFailure::Block,
        key: key.to_text(),
        next_key: None,
        segment_size: 256 << 20,
        segment_age: Duration::ZERO,
        retention_age: Duration::ZERO,
        retention_size: None,
        shipped: Shipped::Marker,
        checkpoint_interval: Duration::from_secs(1),
        checkpoint_records: 50_000,
        sinks: Vec::new(),
        sinks_ca: None,
        checkpoint_copies: Vec::new(),
        queue_size: 8 << 20,
        parameters: Values::Omit,
        columns: Default::default(),
        hash_key: None,
        raw_text_keys: None,
    })
}

fn flood(base: &Path, durability: Durability, pace: Option<u64>, args: &Args) -> Result<()> {
    let (_dir, stream) = open(base, durability)?;
    let record = record(args.record);
    let before = stream.figures();
    let (cpu, own, start) =
        (cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID)?, cpu(ClockId::CLOCK_THREAD_CPUTIME_ID)?, Instant::now());
    let waker = parker();
    let mut appended = 0u64;
    while start.elapsed() < Duration::from_secs(args.seconds) {
        let due = pace.map_or(u64::MAX, |pace| pace * (start.elapsed().as_millis() as u64 + 1));
        if appended >= due {
            thread::sleep(Duration::from_micros(300));
        }
        for _ in 0..due.saturating_sub(appended).min(100) {
            match stream.append(&record) {
                Ok(_) => appended += 1,
                Err(_) => {
                    stream.wake_when_writable(&waker);
                    thread::park_timeout(Duration::from_millis(10));
                }
            }
        }
    }
    let own = self::cpu(ClockId::CLOCK_THREAD_CPUTIME_ID)? - own;
    while stream.figures().written < stream.figures().appended {
        thread::sleep(Duration::from_millis(1));
    }
    let (all, wall) = (self::cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID)? - cpu, start.elapsed());
    let figures = stream.figures();
    let each = |time: Duration| time.as_nanos() as u64 / appended.max(1);
    println!(
        "| {durability:?} | {} | {:.0} | {} | {} | {:.0} | {:.0} | {} | {:.1} |",
        pace.map_or("all".to_owned(), |pace| (pace * 1000).to_string()),
        appended as f64 / wall.as_secs_f64(),
        each(own),
        each(all.saturating_sub(own)),
        (figures.bytes - before.bytes) as f64 / wall.as_secs_f64() / 1e6,
        mean_group(&before, &figures, appended),
        figures.syncs - before.syncs,
        figures.last_sync.as_secs_f64() * 1e3,
    );
    stream.shutdown().context("shutdown")
}

/// What the records of a short statement cost, from the session's call to the file.
fn statements(base: &Path, message: Message, pace: Option<u64>, args: &Args) -> Result<()> {
    const TEXT: &[u8] = b"SELECT abalance FROM pgbench_accounts WHERE aid = 4711;";
    let (dir, stream) = open(base, Durability::Group)?;
    let audit = audit::Audit::new(Some((stream.clone(), &config(&dir, Durability::Group)?)));
    let who = Rc::new(Who::new(&Person {
        session: 17,
        user: "alice",
        tenant: Some("acme"),
        role: Some("app"),
        database: "shop",
        auth: "scram-sha-256",
        client: "127.0.0.1:45678",
        application: "pgbench",
        ..Person::default()
    }));
    let head = Head::new(&who, "127.0.0.1:5432");
    let words = Words::of(TEXT, &grammar::read(TEXT));
    let mut answer = Answer { rows: 1, bytes: 17, ..Answer::default() };
    answer.note_tag(b"SELECT 1");
    let before = stream.figures();
    let (cpu, own, start) =
        (cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID)?, cpu(ClockId::CLOCK_THREAD_CPUTIME_ID)?, Instant::now());
    let mut count = 0u64;
    let mut under_way = VecDeque::new();
    while start.elapsed() < Duration::from_secs(args.seconds) {
        let due = pace.map_or(u64::MAX, |pace| pace * (start.elapsed().as_millis() as u64 + 1));
        if count >= due || !audit.is_writable() {
            thread::sleep(Duration::from_micros(300));
            continue;
        }
        for _ in 0..due.saturating_sub(count).min(100) {
            let forwarded = Forwarded {
                n: count,
                message,
                verdict: Verdict::Allow,
                policy: 1,
                backend: 12345,
                text: (message == Message::Query).then(|| audit.mark(TEXT)).flatten(),
            };
            let (who, head, words) = (&who, &head, Some(&words));
            let intent = Intent { who, head, forwarded, words, kept: None, parameters: None };
            let Ok(ticket) = audit.open(&intent, true, Instant::now().into()) else {
                break;
            };
            under_way.push_back(ticket);
            if under_way.len() > UNDER_WAY
                && let Some(ticket) = under_way.pop_front()
            {
                ticket.close(Outcome::Completed, &answer, Instant::now().into());
            }
            count += 1;
        }
    }
    for ticket in under_way {
        ticket.close(Outcome::Completed, &answer, Instant::now().into());
    }
    let own = self::cpu(ClockId::CLOCK_THREAD_CPUTIME_ID)? - own;
    while stream.figures().written < stream.figures().appended {
        thread::sleep(Duration::from_millis(1));
    }
    let (all, wall) = (self::cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID)? - cpu, start.elapsed());
    let each = |time: Duration| time.as_nanos() as u64 / count.max(1);
    println!(
        "| {:?} | {} | {:.0} | {} | {} | {} | {} |",
        message,
        pace.map_or("all".to_owned(), |pace| (pace * 1000).to_string()),
        count as f64 / wall.as_secs_f64(),
        each(own),
        each(all.saturating_sub(own)),
        each(all),
        (stream.figures().bytes - before.bytes) / count.max(1),
    );
    stream.shutdown().context("shutdown")
}

fn wait(base: &Path, durability: Durability, clients: usize, args: &Args) -> Result<()> {
    let (_dir, stream) = open(base, durability)?;
    let record: Arc<[u8]> = record(args.record).into();
    let (before, cpu, start) = (stream.figures(), cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID)?, Instant::now());
    let (end, waited) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let (stream, record, end, waited) = (stream.clone(), record.clone(), end.clone(), waited.clone());
            thread::spawn(move || {
                let waker = parker();
                let mut count = 0u64;
                while !end.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let Ok(seq) = stream.append(&record) else { continue };
                    while !stream.is_settled(seq) {
                        stream.wake_when_settled(seq, &waker);
                        thread::park_timeout(Duration::from_millis(100));
                    }
                    waited.fetch_add(start.elapsed().as_micros() as u64, Ordering::Relaxed);
                    count += 1;
                }
                count
            })
        })
        .collect();
    thread::sleep(Duration::from_secs(args.seconds));
    end.store(true, Ordering::Relaxed);
    let count: u64 = threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum();
    let (wall, all, figures) = (start.elapsed(), self::cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID)? - cpu, stream.figures());
    println!(
        "| {durability:?} | {clients} | {:.0} | {:.1} | {:.2} | {} |",
        count as f64 / wall.as_secs_f64(),
        count as f64 / (figures.syncs - before.syncs).max(1) as f64,
        all.as_secs_f64() * 1e6 / count.max(1) as f64,
        waited.load(Ordering::Relaxed) / count.max(1),
    );
    stream.shutdown().context("shutdown")
}

fn mean_group(before: &Figures, after: &Figures, records: u64) -> f64 {
    let writes: u64 = after.groups.iter().zip(before.groups).map(|(after, before)| after - before).sum();
    records as f64 / writes.max(1) as f64
}

/// Fields of a record of about so many bytes.
fn record(length: usize) -> Vec<u8> {
    let mut fields = br#""v":1,"kind":"statement","time":"2026-01-01T00:00:00.000000Z","mono":12345678,"session":42,"tenant":"harbor","user":"app","role":"app","database":"billing","auth":"scram-sha-256","client":"10.0.0.7:51234","tls":"TLSv1.3","application":"billing-api","n":17,"message":"query","verdict":"rewrite","policy":3,"node":"primary","backend":4711,"statements":["select"],"reads":["public.invoices"],"fingerprints":["0123456789abcdef"],"text":""#.to_vec();
    fields.resize(length.saturating_sub(2).max(fields.len()), b'x');
    fields.push(b'"');
    fields
}

struct Parker(Thread);

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn parker() -> Waker {
    Arc::new(Parker(thread::current())).into()
}

fn cpu(clock: ClockId) -> Result<Duration> {
    let time = clock_gettime(clock)?;
    Ok(Duration::new(time.tv_sec() as u64, time.tv_nsec() as u32))
}
