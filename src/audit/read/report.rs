//! What reading a log has shown: what is wrong, and where.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// All that was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The log's name, by its checkpoints.
    pub origin: Option<String>,
    /// The oldest record that is there, and the number after the newest.
    pub first: u64,
    pub end: u64,
    /// Records before this one are signed.
    pub covered: u64,
    pub bytes: u64,
    pub segments: u64,
    /// Segments that retention deleted; what is signed about them is there.
    pub deleted: u64,
    pub checkpoints: u64,
    /// Checkpoints kept elsewhere that hold, and those that there was nothing to compare with: deleted, or damaged.
    pub kept: u64,
    pub kept_uncompared: u64,
    pub newest: Option<Newest>,
    /// What is wrong, and how much more there was than is listed.
    pub findings: Vec<Finding>,
    pub more_findings: u64,
    /// What the log itself says is not in it.
    pub gaps: Vec<Gap>,
    pub more_gaps: u64,
    pub ending: Ending,
}

/// The newest checkpoint that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Newest {
    pub size: u64,
    pub root: String,
    pub time: String,
    /// As signed: to keep, so that the log cannot be rolled back before it unseen.
    pub note: String,
}

/// How the log ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With the record of a process that closed it.
    Closed,
    /// Without: a process writes it, or the last one did not live to close it.
    #[default]
    Open,
}

/// A `gap` record: something that is not in the log, by its own word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub seq: u64,
    pub time: String,
    pub reason: String,
    /// Records that are missing, where they could be counted.
    pub lost: u64,
    /// Bytes cut from the end after a crash.
    pub bytes: u64,
}

/// The worst of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Intact,
    /// Whole, but it says itself that something is not in it.
    Gap,
    /// A file cannot be read.
    Unreadable,
    /// Its end is missing.
    Truncated,
    /// It is not what was signed.
    Tampered,
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub verdict: Verdict,
    /// First record of the segment.
    pub segment: Option<u64>,
    /// Records, by their place in the log, among which it is.
    pub records: Option<Range<u64>>,
    /// Bytes of the segment's file that these have.
    pub bytes: Option<Range<u64>>,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Records are not those that were signed.
    Changed,
    /// So many records are not there where they should be.
    Dropped {
        missing: u64,
    },
    /// A record that is there already, or belongs nowhere.
    Inserted {
        number: u64,
    },
    /// A record stands elsewhere.
    Moved {
        number: u64,
    },
    /// A line is no record.
    Broken(String),
    /// The segment does not end where it did.
    Length {
        found: u64,
        signed: u64,
    },
    /// The file of its records is not there, and no record says that it was deleted.
    Missing,
    /// What the manifest says is not so.
    Manifest(String),
    /// A checkpoint does not hold.
    Checkpoint {
        number: u64,
        why: String,
    },
    /// After what was found, nothing can be compared up to the segment's end.
    Incomparable,
    /// The log ends before what was signed.
    Ends {
        found: u64,
        signed: u64,
    },
    /// Records at the end were never signed, for longer than a running log takes.
    Unsigned {
        seconds: u64,
    },
    /// The log ends inside a record.
    Torn {
        bytes: u64,
    },
    /// The file of checkpoints ends inside one.
    TornCheckpoint {
        bytes: u64,
    },
    /// A checkpoint that was kept elsewhere covers more than there is.
    RolledBack {
        kept: String,
        size: u64,
    },
    /// A checkpoint that was kept elsewhere says that there were other records.
    Rewritten {
        kept: String,
        size: u64,
    },
    Unreadable(String),
}

/// What is listed of one kind, at most.
const LISTED: usize = 100;

impl Report {
    pub fn verdict(&self) -> Verdict {
        let worst = self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Intact);
        let gap = if self.gaps.is_empty() { Verdict::Intact } else { Verdict::Gap };
        worst.max(gap)
    }

    pub(super) fn find(&mut self, finding: Finding) {
        if self.findings.len() < LISTED {
            self.findings.push(finding);
            return;
        }
        self.more_findings += 1;
        // The worst is listed whatever came before it.
        if let Some(milder) = self.findings.iter_mut().rfind(|listed| listed.verdict < finding.verdict) {
            *milder = finding;
        }
    }

    pub(super) fn gap(&mut self, gap: Gap) {
        if self.gaps.len() < LISTED { self.gaps.push(gap) } else { self.more_gaps += 1 }
    }
}

impl What {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Changed
            | Self::Dropped { .. }
            | Self::Inserted { .. }
            | Self::Moved { .. }
            | Self::Broken(_)
            | Self::Length { .. }
            | Self::Missing
            | Self::Manifest(_)
            | Self::Checkpoint { .. }
            | Self::Incomparable
            | Self::Rewritten { .. } => Verdict::Tampered,
            Self::Ends { .. }
            | Self::Unsigned { .. }
            | Self::Torn { .. }
            | Self::TornCheckpoint { .. }
            | Self::RolledBack { .. } => Verdict::Truncated,
            Self::Unreadable(_) => Verdict::Unreadable,
        }
    }

    pub(super) fn of_log(self) -> Finding {
        Finding { verdict: self.verdict(), segment: None, records: None, bytes: None, what: self }
    }

    pub(super) fn of_segment(self, segment: u64) -> Finding {
        Finding { segment: Some(segment), ..self.of_log() }
    }

    pub(super) fn at(self, segment: u64, records: Range<u64>, bytes: Range<u64>) -> Finding {
        Finding { records: Some(records), bytes: Some(bytes), ..self.of_segment(segment) }
    }
}

impl Verdict {
    pub fn label(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Gap => "gap",
            Self::Unreadable => "unreadable",
            Self::Truncated => "truncated",
            Self::Tampered => "tampered",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.verdict.label())?;
        if let Some(segment) = self.segment {
            write!(f, "segment {segment}, ")?;
        }
        if let Some(records) = &self.records {
            match records.end.saturating_sub(records.start) {
                1 => write!(f, "record {}", records.start)?,
                _ => write!(f, "records {} to {}", records.start, records.end.saturating_sub(1))?,
            }
            if let Some(bytes) = &self.bytes {
                write!(f, " (bytes {} to {})", bytes.start, bytes.end)?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("not what was signed"),
            Self::Dropped { missing: 1 } => f.write_str("one record is missing here"),
            Self::Dropped { missing } => write!(f, "{missing} records are missing here"),
            Self::Inserted { number } => write!(f, "a record that calls itself {number} was put here"),
            Self::Moved { number } => write!(f, "record {number} stands here"),
            Self::Broken(why) => write!(f, "no record: {why}"),
            Self::Length { found, signed } => write!(f, "the segment ends at record {found} and not {signed}"),
            Self::Missing => f.write_str("its records are missing, and no record says that they were deleted"),
            Self::Manifest(why) => write!(f, "the manifest {why}"),
            Self::Checkpoint { number, why } => write!(f, "checkpoint {number} of its file {why}"),
            Self::Incomparable => f.write_str("cannot be compared with what was signed"),
            Self::Ends { found, signed } => write!(f, "the log ends at record {found}, and {signed} were signed"),
            Self::Unsigned { seconds } => write!(f, "not signed, {seconds} s after the newest checkpoint"),
            Self::Torn { bytes } => {
                write!(f, "the log ends with {bytes} bytes that are no record: a crash, or a cut")
            }
            Self::TornCheckpoint { bytes } => {
                write!(f, "the file of checkpoints ends with {bytes} bytes that are none: a crash, or an edit")
            }
            Self::RolledBack { kept, size } => {
                write!(f, "{kept} has a checkpoint over {size} records, and the log has fewer: it was rolled back")
            }
            Self::Rewritten { kept, size } => {
                write!(f, "{kept} has another root over {size} records: the log was rewritten")
            }
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
        }
    }
}
