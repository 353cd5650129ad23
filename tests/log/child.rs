//! A process that appends to a log from several threads until it is killed, and says which records it was promised.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use pgwarden::audit::Stream;
use pgwarden::config::{Audit, Durability, OnFailure, Shipped, Values};

use crate::seen::key;

const DIRECTORY: &str = "PGWARDEN_TEST_LOG";
const DURABILITY: &str = "PGWARDEN_TEST_DURABILITY";

const THREADS: u64 = 4;

pub fn config(directory: PathBuf, durability: Durability) -> Audit {
    Audit {
        directory,
        origin: None,
        durability,
        on_failure: OnFailure::Block,
        key: key().to_text(),
        next_key: None,
        segment_size: 300_000,
        segment_age: Duration::ZERO,
        retention_age: Duration::ZERO,
        retention_size: None,
        shipped: Shipped::Marker,
        checkpoint_interval: Duration::from_millis(15),
        checkpoint_records: 200,
        sinks: Vec::new(),
        sinks_ca: None,
        checkpoint_copies: Vec::new(),
        queue_size: 1 << 20,
        parameters: Values::Omit,
        columns: Default::default(),
        hash_key: None,
        raw_text_keys: None,
    }
}

/// Fields of a record that says `mark`, of about 600 bytes.
pub fn record(mark: u64) -> Vec<u8> {
    let text = "x".repeat(500 + (mark % 200) as usize);
    format!("\"kind\":\"statement\",\"mark\":{mark},\"text\":\"{text}\"").into_bytes()
}

/// Starts this program again as such a process.
pub fn start(directory: &Path, durability: Durability) -> Child {
    let word = match durability {
        Durability::Strict => "strict",
        Durability::Group => "group",
        Durability::Relaxed => "relaxed",
    };
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "child::appends_until_it_is_killed", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).env(DURABILITY, word);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("a process")
}

/// The process itself, when there is a directory in the environment. Without one, the same for a moment.
#[test]
fn appends_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        let dir = tempfile::tempdir().expect("a directory");
        let stream = Stream::open(&config(dir.path().join("log"), Durability::Strict)).expect("open");
        let waker = parker();
        assert_eq!((append(&stream, 1, &waker), append(&stream, 2, &waker)), (Some(1), Some(2)));
        return stream.shutdown().expect("shutdown");
    };
    let durability = match std::env::var(DURABILITY).expect("a durability").as_str() {
        "strict" => Durability::Strict,
        "group" => Durability::Group,
        _ => Durability::Relaxed,
    };
    let stream = match Stream::open(&config(directory.into(), durability)) {
        Ok(stream) => stream,
        Err(error) => {
            println!("\nrefused {error}");
            return;
        }
    };
    // The harness has begun a line of its own.
    println!("\nopen");
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let stream = stream.clone();
            thread::spawn(move || {
                let waker = parker();
                for count in 0.. {
                    let mark = u64::from(std::process::id()) * 1_000_000_000 + thread * 100_000_000 + count;
                    let Some(seq) = append(&stream, mark, &waker) else { return };
                    // One write: the line is whole or not there.
                    let line = format!("promised {seq} {mark}\n");
                    if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
}

/// Appends a record and waits until it is settled. `None`: it was refused.
pub fn append(stream: &Stream, mark: u64, waker: &Waker) -> Option<u64> {
    let seq = stream.append(&record(mark)).ok()?;
    while !stream.is_settled(seq) {
        stream.wake_when_settled(seq, waker);
        thread::park_timeout(Duration::from_millis(100));
    }
    Some(seq)
}

struct Parker(Thread);

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub fn parker() -> Waker {
    Arc::new(Parker(thread::current())).into()
}
