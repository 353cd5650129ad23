//! Receivers that get every record, in order and at least once.
//!
//! Each has a thread that reads the log's files behind the writer: a slow or dead receiver costs no memory and holds up
//! nothing. Only what is on disk is sent, so that a receiver never has a record that the log could lose. The receiver says
//! where to go on, and how far it is; what it has not acknowledged is sent again over the next connection, and is kept from
//! being deleted. The protocol: docs/audit.md.
//!
//! Invariants: what is acknowledged was sent over this connection or asked for at its beginning; a receiver that says
//! otherwise is told nothing more.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;
use thiserror::Error;

use super::control::Control;
use super::figures::SinkFigures;
use super::line::{Line, PATIENCE};
use super::segment::segments;
use super::stream::{Shared, lock};
use super::tail::Tail;
use crate::config::{self, SinkTo};

/// The threads that send.
#[derive(Default)]
pub(super) struct Sinks {
    threads: Vec<JoinHandle<()>>,
    ending: Arc<AtomicBool>,
}

/// Version of the protocol.
const PROTOCOL: u32 = 1;

/// Bytes that may be under way to a receiver without being acknowledged.
const WINDOW: usize = 8 << 20;

/// Acknowledgements that are read before more is sent.
const ANSWERS: usize = 1000;

/// How long a receiver that is up to date is listened to before the log is looked at again.
const LISTEN: Duration = Duration::from_millis(20);

/// Between connections: at first, and at most. Up to half of it less, by chance, so that many do not come at once.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// How long the end of the log waits for what is still to be sent and acknowledged.
const LAST: Duration = Duration::from_secs(2);

#[derive(Debug, Error)]
enum SinkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no answer to the greeting")]
    Silent,
    #[error("the receiver answers {0:?}")]
    Form(String),
    #[error(
        "the receiver wants record {from}, but the log ends before record {end}: it has another log, or a longer one"
    )]
    Ahead { from: u64, end: u64 },
    #[error("the receiver wants record {from}, but those before {first} were deleted")]
    Gone { from: u64, first: u64 },
    #[error("the receiver acknowledges record {acknowledged}, which it was not sent: {sent} is the next")]
    NotSent { acknowledged: u64, sent: u64 },
}

/// Why a conversation ended.
enum Ended {
    /// The log is closed, and the receiver has all of it, or has had its time.
    Done,
    Failed(SinkError),
}

impl<E: Into<SinkError>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Sinks {
    pub fn start(config: &config::Audit, shared: &Arc<Shared>) -> io::Result<Self> {
        let mut sinks = Self::default();
        for to in &config.sinks {
            let sender = Sender {
                figures: shared.board.add_sink(&to.to_string()),
                to: to.clone(),
                ca: config.sinks_ca.clone(),
                directory: config.directory.clone(),
                shared: Arc::downgrade(shared),
                ending: sinks.ending.clone(),
                failing: false,
                progress: false,
            };
            let thread = thread::Builder::new().name("audit-sink".to_owned()).spawn(move || sender.run())?;
            sinks.threads.push(thread);
        }
        Ok(sinks)
    }

    /// Lets the threads send what there is, for a moment.
    pub fn finish(&mut self) {
        self.ending.store(true, Ordering::Release);
        let patience = Instant::now() + LAST;
        while self.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < patience {
            thread::sleep(Duration::from_millis(2));
        }
        self.threads.clear();
    }
}

struct Sender {
    to: SinkTo,
    ca: Option<PathBuf>,
    directory: PathBuf,
    /// The log, unless it is gone.
    shared: Weak<Shared>,
    ending: Arc<AtomicBool>,
    figures: Arc<Mutex<SinkFigures>>,
    failing: bool,
    /// Something was acknowledged over this connection.
    progress: bool,
}

impl Sender {
    fn run(mut self) {
        let mut pause = RETRY.0;
        loop {
            self.progress = false;
            let ended = self.converse();
            lock(&self.figures).connected = false;
            match ended {
                Ok(()) | Err(Ended::Done) => return,
                Err(Ended::Failed(error)) => self.tell(&error),
            }
            if self.progress {
                pause = RETRY.0;
            }
            if !self.rest(pause.mul_f64(1.0 - rand::random::<f64>() / 2.0)) {
                return;
            }
            pause = (pause * 2).min(RETRY.1);
        }
    }

    /// False: the log has ended meanwhile.
    fn rest(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.ending.load(Ordering::Acquire) || self.shared.strong_count() == 0 {
                return false;
            }
            thread::sleep(LISTEN.min(pause));
        }
        true
    }

    /// One connection, from the greeting to its end.
    fn converse(&mut self) -> Result<(), Ended> {
        let mut line = Line::open(&self.to, self.ca.as_deref())?;
        let from = self.greet(&mut line)?;
        let mut tail = Tail::open(&self.directory, from)?;
        let mut window = Window { acknowledged: from, sent: from, pieces: VecDeque::new(), bytes: 0 };
        self.show(&window);
        let (mut records, mut signed) = (Vec::new(), 0);
        loop {
            let shared = self.shared.upgrade().ok_or(Ended::Done)?;
            let end = shared.counts.synced.load(Ordering::Acquire);
            if window.acknowledged >= end {
                self.restored(&shared, end);
                if self.ending.load(Ordering::Acquire) {
                    return Ok(());
                }
            }
            records.clear();
            if window.bytes < WINDOW {
                tail.read(end, &mut records)?;
                line.send(&records)?;
                window.push(tail.next(), records.len());
                if let Some(newest) = shared.board.signed().filter(|it| it.size > signed && it.size <= window.sent) {
                    line.send(format!("{}\n", json!({"checkpoint": &*newest.note})).as_bytes())?;
                    signed = newest.size;
                }
            }
            // The log is not kept alive by somebody who listens.
            drop(shared);
            let mut wait = if records.is_empty() { LISTEN } else { Duration::ZERO };
            // Whoever talks without end is not listened to without end.
            for _ in 0..ANSWERS {
                let Some(said) = line.receive(wait)? else { break };
                window.acknowledge(acknowledged(&said)?)?;
                self.progress = true;
                wait = Duration::ZERO;
            }
            self.show(&window);
        }
    }

    /// Says what there is; the record that the receiver wants to begin with.
    fn greet(&mut self, line: &mut Line) -> Result<u64, Ended> {
        let shared = self.shared.upgrade().ok_or(Ended::Done)?;
        let end = shared.counts.synced.load(Ordering::Acquire);
        let first = segments(&self.directory)?.first().copied().unwrap_or(end);
        let origin = &**shared.board.origin();
        let greeting = json!({"pgwarden": "audit", "protocol": PROTOCOL, "log": origin, "first": first, "next": end});
        drop(shared);
        line.send(format!("{greeting}\n").as_bytes())?;
        let said = line.receive(PATIENCE)?.ok_or(SinkError::Silent)?;
        let from = number("from ", &said)?;
        if from > end {
            return Err(SinkError::Ahead { from, end }.into());
        }
        if from < first {
            return Err(SinkError::Gone { from, first }.into());
        }
        let mut figures = lock(&self.figures);
        figures.connected = true;
        figures.connects += 1;
        Ok(from)
    }

    fn show(&self, window: &Window) {
        let mut figures = lock(&self.figures);
        figures.sent = window.sent;
        figures.acknowledged = window.acknowledged;
    }

    fn tell(&mut self, error: &SinkError) {
        let text = error.to_string();
        let target = {
            let mut figures = lock(&self.figures);
            figures.failures += 1;
            figures.error = Some(text.as_str().into());
            figures.target.clone()
        };
        if std::mem::replace(&mut self.failing, true) {
            tracing::debug!(receiver = %target, error = text, "a receiver still does not get the audit log");
            return;
        }
        tracing::error!(receiver = %target, error = text, "a receiver does not get the audit log");
        if let Some(shared) = self.shared.upgrade() {
            shared.control(&Control::SinkFailed { target: target.to_string(), error: text });
        }
    }

    /// The receiver has all that there was.
    fn restored(&mut self, shared: &Shared, end: u64) {
        if !std::mem::replace(&mut self.failing, false) {
            return;
        }
        let target = {
            let mut figures = lock(&self.figures);
            figures.error = None;
            figures.target.clone()
        };
        tracing::info!(receiver = %target, records = end, "a receiver gets the audit log again");
        shared.control(&Control::SinkRestored { target: target.to_string(), next: end });
    }
}

/// What is under way.
struct Window {
    /// The first record that the receiver has not acknowledged.
    acknowledged: u64,
    /// The first that it was not sent.
    sent: u64,
    /// The record behind each piece, and the piece's bytes.
    pieces: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl Window {
    fn push(&mut self, sent: u64, bytes: usize) {
        if bytes > 0 {
            self.sent = sent;
            self.pieces.push_back((sent, bytes));
            self.bytes += bytes;
        }
    }

    fn acknowledge(&mut self, last: u64) -> Result<(), SinkError> {
        if last >= self.sent {
            return Err(SinkError::NotSent { acknowledged: last, sent: self.sent });
        }
        self.acknowledged = self.acknowledged.max(last + 1);
        while let Some((end, bytes)) = self.pieces.front().copied()
            && end <= self.acknowledged
        {
            self.bytes -= bytes;
            self.pieces.pop_front();
        }
        Ok(())
    }
}

fn acknowledged(said: &str) -> Result<u64, SinkError> {
    number("ack ", said)
}

fn number(word: &str, said: &str) -> Result<u64, SinkError> {
    let digits = said.strip_prefix(word).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| SinkError::Form(said.to_owned()))
}
