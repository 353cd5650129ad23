//! Checkpoints: how many records a log had, the root of the tree over them, when that was, and the checkpoint before.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::note::{Note, NoteError};
use super::tree::Hash;

/// What is signed about a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log it is: one line, not empty.
    pub origin: String,
    /// Number of records.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
    /// The writer's clock; nothing depends on it.
    pub time: Time,
    /// Size and root of the checkpoint signed before this one; absent in a log's first.
    pub previous: Option<(u64, Hash)>,
}

/// A moment in UTC. Its text is RFC 3339 with six digits of the second: `2026-11-24T02:20:00.123456Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Microseconds since 1970.
    pub micros: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CheckpointError {
    #[error("not a checkpoint: lines of origin, size, root, time and the checkpoint before")]
    Form,
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl Checkpoint {
    /// Reads a note's text.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        parse(text).filter(|checkpoint| checkpoint.to_string() == text).ok_or(CheckpointError::Form)
    }

    /// Reads a signed note, which it returns too, unverified.
    pub fn from_note(bytes: &[u8]) -> Result<(Self, Note), CheckpointError> {
        let note = Note::parse(bytes)?;
        Ok((Self::parse(note.text())?, note))
    }
}

/// The text to sign.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}\ntime {}", self.origin, self.size, self.root, self.time)?;
        if let Some((size, root)) = &self.previous {
            writeln!(f, "previous {size} {root}")?;
        }
        Ok(())
    }
}

fn parse(text: &str) -> Option<Checkpoint> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let origin = lines.next().filter(|origin| !origin.is_empty())?.to_owned();
    let (size, root) = (lines.next()?.parse().ok()?, lines.next()?.parse().ok()?);
    let time = lines.next()?.strip_prefix("time ")?.parse().ok()?;
    let previous = match lines.next() {
        None => None,
        Some(line) => {
            let (size, root) = line.strip_prefix("previous ")?.split_once(' ')?;
            Some((size.parse().ok()?, root.parse().ok()?))
        }
    };
    lines.next().is_none().then_some(Checkpoint { origin, size, root, time, previous })
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Clocks beyond the year 9999 show its end.
        let seconds = i64::try_from(self.micros / 1_000_000).unwrap_or(i64::MAX).min(LAST_SECOND);
        let moment = OffsetDateTime::from_unix_timestamp(seconds).expect("between 1970 and 9999");
        let (year, month, day) = moment.to_calendar_date();
        let (hour, minute, second) = moment.to_hms();
        let micros = self.micros % 1_000_000;
        write!(f, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z", u8::from(month))
    }
}

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

/// Reads the one text that `Display` writes.
impl FromStr for Time {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| CheckpointError::Form)?;
        let time = u64::try_from(moment.unix_timestamp_nanos() / 1000).map(|micros| Self { micros });
        time.ok().filter(|time| time.to_string() == text).ok_or(CheckpointError::Form)
    }
}

/// The notes of a file of checkpoints, in which each is followed by an empty line, and what is left after the last whole one:
/// nothing, unless a crash cut it.
pub fn notes(file: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (mut notes, mut rest) = (Vec::new(), file);
    // The first empty line ends the text, the second the note.
    while let Some(end) = empty_line(rest, 0).and_then(|middle| empty_line(rest, middle)) {
        notes.push(&rest[..end - 1]);
        rest = &rest[end..];
    }
    (notes, rest)
}

/// Where the first empty line after `from` ends.
fn empty_line(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(&bytes[from..], b"\n\n").map(|at| from + at + 2)
}

#[cfg(test)]
mod tests {
    use super::super::{SigningKey, leaf_hash};
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: "audit.example/log".to_owned(),
            size: 1200,
            root: leaf_hash(b"x"),
            time: Time { micros: 1_795_487_400_123_456 },
            previous: Some((1000, leaf_hash(b"y"))),
        }
    }

    #[test]
    fn a_checkpoint_has_one_text() {
        let text = checkpoint().to_string();
        let (root, previous) = (leaf_hash(b"x"), leaf_hash(b"y"));
        assert_eq!(
            text,
            format!("audit.example/log\n1200\n{root}\ntime 2026-11-24T02:30:00.123456Z\nprevious 1000 {previous}\n")
        );
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint()));
        let first = Checkpoint { previous: None, ..checkpoint() };
        assert_eq!(Checkpoint::parse(&first.to_string()), Ok(first));
        let wrong = [
            text.replace("\n1200\n", "\n01200\n"),
            text.replace("\n1200\n", "\n+1200\n"),
            text.replace("123456Z", "12345Z"),
            text.replace("123456Z", "1234567Z"),
            text.replace("123456Z", "123456+00:00"),
            text.replace("T02", "t02"),
            text.replace("previous 1000", "previous  1000"),
            text.replace("previous", "Previous"),
            text.replace("time ", ""),
            text.trim_end().to_owned(),
            format!("{text}more\n"),
            format!("\n{text}"),
            text.replace("audit.example/log", ""),
        ];
        for wrong in wrong {
            assert_eq!(Checkpoint::parse(&wrong), Err(CheckpointError::Form), "{wrong:?}");
        }
    }

    #[test]
    fn another_implementation_reads_and_verifies_it() {
        use signed_note::{StandardVerifier, VerifierList};
        let key = SigningKey::from_seed("audit.example/log", [9; 32]).expect("a key");
        let note = Note::sign(checkpoint().to_string(), &[&key]).expect("a note");
        let theirs = signed_note::Note::from_bytes(note.to_string().as_bytes()).expect("their note");
        let verifier = StandardVerifier::new(&key.public().to_string()).expect("their verifier");
        theirs.verify(&VerifierList::new(vec![Box::new(verifier)])).expect("verified");
        let read = tlog_tiles::Checkpoint::from_bytes(theirs.text()).expect("their checkpoint");
        assert_eq!((read.origin(), read.size(), read.hash().0), ("audit.example/log", 1200, leaf_hash(b"x").0));
        let (ours, again) = Checkpoint::from_note(note.to_string().as_bytes()).expect("ours");
        assert_eq!((ours, again), (checkpoint(), note));
    }

    #[test]
    fn times_are_read_as_written() {
        for micros in [0, 1, 999_999, 951_782_400_000_000, 1_795_487_400_123_456, 253_402_300_799_999_999] {
            let time = Time { micros };
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert_eq!(Time { micros: 951_782_400_000_000 }.to_string(), "2000-02-29T00:00:00.000000Z");
        assert!(Time { micros: u64::MAX }.to_string().starts_with("9999-12-31T23:59:59."));
        assert!("2026-02-30T00:00:00.000000Z".parse::<Time>().is_err());
    }

    #[test]
    fn a_file_of_notes_is_split_and_its_torn_end_kept_apart() {
        let key = SigningKey::from_seed("k", [9; 32]).expect("a key");
        let note = Note::sign(checkpoint().to_string(), &[&key, &key]).expect("a note").to_string();
        let file = format!("{note}\n{note}\n");
        assert_eq!(notes(file.as_bytes()), (vec![note.as_bytes(), note.as_bytes()], &b""[..]));
        assert_eq!(notes(b""), (vec![], &b""[..]));
        for cut in note.len() + 1..file.len() {
            let (whole, torn) = notes(&file.as_bytes()[..cut]);
            assert_eq!((whole.len(), torn.len()), (1, cut - note.len() - 1));
        }
    }
}
