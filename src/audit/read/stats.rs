//! What a log has, counted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::lines::Lines;
use crate::audit::segment::records_path;

/// Counts over a whole log.
#[derive(Debug, Default, Serialize)]
pub struct Stats {
    pub records: u64,
    /// Lines that are no record; `pgwarden audit verify` says more.
    pub broken: u64,
    /// Times of the earliest and the latest record.
    pub earliest: Option<String>,
    pub latest: Option<String>,
    pub kinds: BTreeMap<String, u64>,
    pub tenants: Counts,
    pub verdicts: BTreeMap<String, u64>,
    pub sqlstates: Counts,
    /// Of statements that were forwarded or refused.
    pub fingerprints: Counts,
    pub segments: Vec<SegmentSize>,
}

#[derive(Debug, Serialize)]
pub struct SegmentSize {
    pub first: u64,
    pub records: u64,
    pub bytes: u64,
}

/// Counts by names that clients may choose: as many as fit, and the rest together.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    pub by_name: BTreeMap<String, u64>,
    pub others: u64,
}

/// Names that are counted apart.
const NAMES_MAX: usize = 100_000;

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    tenant: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verdict: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sqlstate: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    fingerprints: Vec<Cow<'a, str>>,
}

impl Stats {
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut stats = Self::default();
        let mut lines = Lines::of(directory);
        while let Some(line) = lines.next_line()? {
            stats.count(line);
            let Some(first) = lines.segment() else { continue };
            match stats.segments.last_mut().filter(|last| last.first == first) {
                Some(last) => last.records += 1,
                None => {
                    let bytes = std::fs::metadata(records_path(directory, first)).map_or(0, |file| file.len());
                    stats.segments.push(SegmentSize { first, records: 1, bytes });
                }
            }
        }
        Ok(stats)
    }

    fn count(&mut self, line: &[u8]) {
        let Ok(fields) = serde_json::from_slice::<Fields<'_>>(line) else {
            self.broken += 1;
            return;
        };
        self.records += 1;
        add(&mut self.kinds, &fields.kind);
        if let Some(verdict) = &fields.verdict {
            add(&mut self.verdicts, verdict);
        }
        for (counts, name) in [(&mut self.tenants, &fields.tenant), (&mut self.sqlstates, &fields.sqlstate)] {
            counts.add(name.as_deref());
        }
        fields.fingerprints.iter().for_each(|fingerprint| self.fingerprints.add(Some(fingerprint)));
        // One form of time, in which the order of texts is that of moments.
        if self.earliest.as_deref().is_none_or(|earliest| *fields.time < *earliest) {
            self.earliest = Some(fields.time.clone().into_owned());
        }
        if self.latest.as_deref().is_none_or(|latest| *fields.time > *latest) {
            self.latest = Some(fields.time.into_owned());
        }
    }
}

impl Counts {
    fn add(&mut self, name: Option<&str>) {
        let Some(name) = name else { return };
        if self.by_name.len() < NAMES_MAX || self.by_name.contains_key(name) {
            add(&mut self.by_name, name);
        } else {
            self.others += 1;
        }
    }

    /// The most frequent, so many at most.
    pub fn top(&self, limit: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.by_name.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all.truncate(limit);
        all
    }
}

/// No allocation where the name is known.
fn add(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}
