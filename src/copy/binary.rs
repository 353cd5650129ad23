//! The binary format: a signature, flags, and for each row a count and its fields with their lengths.

use super::batch::Batch;
use super::{CopyError, Field, Place, Read};
use crate::fault::SqlState;

#[derive(Debug)]
pub(super) struct BinaryReader {
    columns: Vec<Field>,
    buffer: Vec<u8>,
    at: usize,
    stage: Stage,
    row: u64,
    /// Bytes of the row that must be there before it is looked at again.
    wanted: usize,
    ended: bool,
    row_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Signature,
    Flags,
    ExtensionLength,
    /// So many bytes are still to be skipped.
    Extension(usize),
    Rows,
    /// The end was said.
    Over,
}

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Rows with object identifiers, which PostgreSQL 12 gave up.
const WITH_OIDS: u32 = 1 << 16;

/// Capacity of the buffer that is kept once its row is done (bytes).
const KEPT_MAX: usize = 1 << 20;

impl BinaryReader {
    pub(super) fn new(columns: Vec<Field>, row_max: usize) -> Self {
        Self { columns, buffer: Vec::new(), at: 0, stage: Stage::Signature, row: 0, wanted: 0, ended: false, row_max }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_MAX {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(bytes);
    }

    pub(super) fn finish(&mut self) {
        self.ended = true;
    }

    pub(super) fn line(&self) -> u64 {
        self.row
    }

    pub(super) fn read(&mut self, batch: &mut Batch) -> Result<Read, CopyError> {
        loop {
            if batch.is_full() {
                return Ok(Read::Full);
            }
            let rest = &self.buffer[self.at..];
            let went_on = match self.stage {
                Stage::Signature | Stage::Flags | Stage::ExtensionLength | Stage::Extension(_) => self.head()?,
                Stage::Rows if rest.len() < 2 && self.ended => return Ok(Read::Ended),
                Stage::Rows => self.row(batch)?,
                Stage::Over if !rest.is_empty() => {
                    return Err(CopyError::format("received copy data after EOF marker").at(Place::Line(self.row)));
                }
                Stage::Over => return Ok(if self.ended { Read::Ended } else { Read::Starved }),
            };
            if !went_on {
                return Ok(Read::Starved);
            }
        }
    }

    /// The next part of what comes before the rows; whether there was enough of it.
    fn head(&mut self) -> Result<bool, CopyError> {
        let rest = &self.buffer[self.at..];
        let lacking = |message: &str| if self.ended { Err(CopyError::format(message)) } else { Ok(false) };
        let (taken, next) = match self.stage {
            Stage::Signature => match rest.first_chunk::<11>() {
                None => return lacking("COPY file signature not recognized"),
                Some(SIGNATURE) => (SIGNATURE.len(), Stage::Flags),
                Some(_) => return Err(CopyError::format("COPY file signature not recognized")),
            },
            Stage::Flags => match rest.first_chunk::<4>().map(|flags| u32::from_be_bytes(*flags)) {
                None => return lacking("invalid COPY file header (missing flags)"),
                Some(flags) if flags & WITH_OIDS != 0 => {
                    return Err(CopyError::format("invalid COPY file header (WITH OIDS)"));
                }
                Some(flags) if flags >> 16 != 0 => {
                    return Err(CopyError::format("unrecognized critical flags in COPY file header"));
                }
                Some(_) => (4, Stage::ExtensionLength),
            },
            Stage::ExtensionLength => match rest.first_chunk::<4>().map(|length| i32::from_be_bytes(*length)) {
                None => return lacking("invalid COPY file header (missing length)"),
                Some(length) => match usize::try_from(length) {
                    Ok(length) => (4, Stage::Extension(length)),
                    Err(_) => return Err(CopyError::format("invalid COPY file header (missing length)")),
                },
            },
            Stage::Extension(0) => (0, Stage::Rows),
            Stage::Extension(_) if rest.is_empty() => return lacking("invalid COPY file header (wrong length)"),
            Stage::Extension(left) => {
                let here = left.min(rest.len());
                (here, Stage::Extension(left - here))
            }
            Stage::Rows | Stage::Over => return Ok(true),
        };
        self.at += taken;
        self.stage = next;
        Ok(true)
    }

    /// One row; whether it was all there.
    fn row(&mut self, batch: &mut Batch) -> Result<bool, CopyError> {
        let rest = &self.buffer[self.at..];
        let number = self.row + 1;
        let Some((count, mut rest)) = rest.split_first_chunk::<2>() else { return Ok(false) };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            (self.row, self.stage, self.at) = (number, Stage::Over, self.at + 2);
            return Ok(true);
        }
        if usize::try_from(count) != Ok(self.columns.len()) {
            let message = format!("row field count is {count}, expected {}", self.columns.len());
            return Err(CopyError::format(message).at(Place::Line(number)));
        }
        let whole = rest.len();
        if whole < self.wanted && !self.ended {
            return Ok(false);
        }
        for column in &self.columns {
            let at = || Place::Column(number, column.name.clone());
            match field(rest).map_err(|error| error.at(at()))? {
                Some((_, after)) => rest = after,
                None if self.ended => return Err(CopyError::format("unexpected EOF in COPY data").at(at())),
                None if whole > self.row_max => return Err(CopyError::row_too_long(self.row_max, number)),
                None => {
                    self.wanted = whole - rest.len() + wanted(rest);
                    return Ok(false);
                }
            }
        }
        let length = whole - rest.len();
        if length > self.row_max {
            return Err(CopyError::row_too_long(self.row_max, number));
        }
        self.wanted = 0;
        let mut rest = &self.buffer[self.at + 2..];
        for index in 0..self.columns.len() {
            let (Some((value, after)), Some(column)) = (field(rest)?, batch.column(index)) else { break };
            rest = after;
            column.open();
            match value {
                Some(value) => {
                    column.data().extend_from_slice(value);
                    column.close();
                }
                None => column.close_null(),
            }
        }
        batch.end_row(number, length);
        self.row = number;
        self.at += 2 + length;
        Ok(true)
    }
}

/// A field's value and what follows it; `None`: not all there.
#[expect(clippy::type_complexity, reason = "a value, which may be NULL, and the rest")]
fn field(bytes: &[u8]) -> Result<Option<(Option<&[u8]>, &[u8])>, CopyError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    match i32::from_be_bytes(*length) {
        -1 => Ok(Some((None, rest))),
        length => match usize::try_from(length) {
            Ok(length) => Ok(rest.split_at_checked(length).map(|(value, rest)| (Some(value), rest))),
            Err(_) => Err(CopyError::new(SqlState::BAD_COPY_FILE_FORMAT, "invalid field size")),
        },
    }
}

/// Bytes that an incomplete field takes.
fn wanted(bytes: &[u8]) -> usize {
    let length = bytes.first_chunk::<4>().map_or(0, |length| i32::from_be_bytes(*length));
    4 + usize::try_from(length).unwrap_or(0)
}
