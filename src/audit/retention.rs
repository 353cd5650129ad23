//! Deleting finished segments that are old or too many, and only those that are safe elsewhere.
//!
//! The record that says so is on disk before a file is gone. What proves the rest of the log stays: the manifest's line, and
//! the segment's last checkpoint.

use std::fs;
use std::io::{self, Write as _};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::control::{Control, now};
use super::leaves::leaves_path;
use super::recover::Log;
use super::segment::{Finished, SHIPPED, checkpoints_path, options, records_path, sync_directory};
use super::stream::Shared;
use crate::chain::{Time, notes};
use crate::config::{self, Shipped};

pub(super) struct Retention {
    age: Duration,
    size: Option<u64>,
    shipped: Shipped,
    /// A segment whose deletion was recorded, with the sequence number that the record is below.
    announced: Option<(Finished, u64)>,
    looked: Option<Instant>,
    warned: bool,
    /// The announced segment could not be deleted.
    failing: bool,
}

/// How often segments are looked at.
const LOOK: Duration = Duration::from_secs(5);

impl Retention {
    pub fn new(config: &config::Audit) -> Self {
        Self {
            age: config.retention_age,
            size: config.retention_size,
            shipped: config.shipped,
            announced: None,
            looked: None,
            warned: false,
            failing: false,
        }
    }

    /// Announces the oldest segment that is due, or deletes the one that was announced. A file that cannot be deleted is no
    /// reason to stop writing: it is tried again.
    pub fn delete(&mut self, log: &mut Log, shared: &Shared) {
        if let Some((segment, below)) = &self.announced {
            if shared.counts.synced.load(Ordering::Acquire) < *below {
                return;
            }
            if let Err(error) = remove(log, segment) {
                if !self.failing {
                    tracing::warn!(first = segment.first, %error, "a segment of the audit log cannot be deleted");
                }
                self.failing = true;
                return;
            }
            self.failing = false;
            shared.counts.segments.store(log.finished.len() as u64 + 1, Ordering::Release);
            tracing::info!(first = segment.first, records = segment.records, "a segment of the audit log was deleted");
            self.announced = None;
            self.looked = None;
        }
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let due = self.due(log);
        let safe = match self.shipped {
            Shipped::Unneeded => u64::MAX,
            Shipped::Marker => marker(log),
        };
        let safe = safe.min(shared.board.acknowledged());
        let held = due.iter().filter(|(segment, _)| segment.end() > safe).count();
        shared.counts.unshipped.store(held as u64, Ordering::Release);
        if held > 0 && !self.warned {
            tracing::warn!(segments = held, "segments of the audit log are due for deletion, but not shipped");
        }
        self.warned = held > 0;
        let Some((segment, reason)) = due.first().filter(|(segment, _)| segment.end() <= safe) else { return };
        if shared.control(&Control::SegmentDeleted { first: segment.first, records: segment.records, reason }) {
            self.announced = Some((segment.clone(), shared.appended()));
        }
    }

    /// Segments to delete, oldest first, and why.
    fn due(&self, log: &Log) -> Vec<(Finished, &'static str)> {
        let mut bytes = log.segment.size() + log.finished.iter().map(|segment| segment.bytes).sum::<u64>();
        let mut due = Vec::new();
        let now = now();
        for segment in &log.finished {
            let closed = segment.closed.parse::<Time>().map_or(now, |time| time);
            let old =
                !self.age.is_zero() && Duration::from_micros(now.micros.saturating_sub(closed.micros)) >= self.age;
            let too_many = self.size.is_some_and(|max| bytes > max);
            if !old && !too_many {
                break;
            }
            bytes -= segment.bytes;
            due.push((segment.clone(), if old { "age" } else { "size" }));
        }
        due
    }
}

/// Everything below is safe elsewhere; nothing where the marker cannot be read.
fn marker(log: &Log) -> u64 {
    let text = fs::read_to_string(log.directory.join(SHIPPED)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Removes the records first: a full disk has room for the rest only then, and a reader does not meet records without their
/// checkpoints. Can be repeated after an error.
fn remove(log: &mut Log, segment: &Finished) -> io::Result<()> {
    for path in [records_path(&log.directory, segment.first), leaves_path(&log.directory, segment.first)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let path = checkpoints_path(&log.directory, segment.first);
    let file = fs::read(&path)?;
    let (whole, _) = notes(&file);
    if let [_, .., last] = whole.as_slice() {
        let shorter = path.with_extension("checkpoints-new");
        let mut out = options().create(true).truncate(true).open(&shorter)?;
        out.write_all(last)?;
        out.write_all(b"\n")?;
        out.sync_all()?;
        fs::rename(&shorter, &path)?;
    }
    sync_directory(&log.directory)?;
    log.finished.retain(|other| other.first != segment.first);
    Ok(())
}
