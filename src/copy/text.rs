//! The text and CSV formats: lines, the header, rows.

use super::batch::Batch;
use super::fields::Fields;
use super::lines::{Found, Lines};
use super::options::{Header, Options};
use super::{CopyError, Field, Place, Read, excerpt};
use crate::fault::SqlState;

#[derive(Debug)]
pub(super) struct TextReader {
    lines: Lines,
    fields: Fields,
    header: Header,
    buffer: Vec<u8>,
    /// Bytes of it that are whole characters; no byte behind them is looked at.
    valid: usize,
    /// Where the line that is being read begins, and how far it was looked at.
    start: usize,
    at: usize,
    line: u64,
    /// The line that is being read is counted.
    counted: bool,
    ended: bool,
    /// The end was found: what else comes is ignored.
    over: bool,
    row_max: usize,
}

/// Bytes of the longest character.
const CHARACTER_MAX: usize = 4;

/// Capacity of the buffer that is kept once its line is done (bytes).
const KEPT_MAX: usize = 1 << 20;

impl TextReader {
    pub(super) fn new(options: &Options, columns: Vec<Field>, row_max: usize) -> Self {
        Self {
            lines: Lines::new(options),
            fields: Fields::new(options, columns),
            header: options.header,
            buffer: Vec::new(),
            valid: 0,
            start: 0,
            at: 0,
            line: 0,
            counted: false,
            ended: false,
            over: false,
            row_max,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.over {
            return;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.at -= self.start;
            self.valid -= self.start;
            self.start = 0;
            if self.buffer.is_empty() && self.buffer.capacity() > KEPT_MAX {
                self.buffer = Vec::new();
            }
        }
        self.buffer.extend_from_slice(bytes);
        let fresh = &self.buffer[self.valid..];
        let whole = std::str::from_utf8(fresh).map_or_else(|error| error.valid_up_to(), str::len);
        self.valid += memchr::memchr(0, &fresh[..whole]).unwrap_or(whole);
    }

    pub(super) fn finish(&mut self) {
        self.ended = true;
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn read(&mut self, batch: &mut Batch) -> Result<Read, CopyError> {
        loop {
            if batch.is_full() {
                return Ok(Read::Full);
            }
            if self.over {
                return Ok(self.rest());
            }
            if !self.counted {
                (self.line, self.counted) = (self.line + 1, true);
            }
            let ended = self.ended && self.valid == self.buffer.len();
            let found = self.lines.find(&self.buffer[..self.valid], self.at, ended, &mut self.line);
            let found = found.map_err(|error| error.at(Place::Line(self.line)))?;
            let (end, next) = match found {
                Found::Nothing(at) if at - self.start > self.row_max => {
                    return Err(CopyError::row_too_long(self.row_max, self.line));
                }
                Found::Nothing(at) => {
                    self.at = at;
                    self.check_encoding()?;
                    return Ok(Read::Starved);
                }
                Found::Line { end, next } => (end, next),
                Found::End(end) => {
                    self.over = true;
                    (end, self.buffer.len())
                }
            };
            if end - self.start > self.row_max {
                return Err(CopyError::row_too_long(self.row_max, self.line));
            }
            self.take_line(end, batch)?;
            (self.start, self.at) = (next, next);
            self.counted = false;
        }
    }

    /// The data has ended; what still comes up to CopyDone is ignored.
    fn rest(&mut self) -> Read {
        if self.ended { Read::Ended } else { Read::Starved }
    }

    fn take_line(&mut self, end: usize, batch: &mut Batch) -> Result<(), CopyError> {
        let header = std::mem::replace(&mut self.header, Header::Absent);
        let text = &self.buffer[self.start..end];
        match header {
            Header::Absent => {}
            Header::Present => return Ok(()),
            Header::Match => return self.check_header(text).map_err(|error| self.at_text(error, text)),
        }
        if self.over && text.is_empty() {
            return Ok(());
        }
        self.fields.split(text, self.line, batch).map_err(|error| self.at_text(error, text))?;
        batch.end_row(self.line, text.len());
        Ok(())
    }

    /// Like PostgreSQL, goes as far as what is whole characters leads, and fails only when it must look behind them.
    fn check_encoding(&self) -> Result<(), CopyError> {
        let rest = &self.buffer[self.valid..];
        if rest.is_empty() || (rest.len() < CHARACTER_MAX && !self.ended) {
            return Ok(());
        }
        let length = match rest[0] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        let bytes: Vec<String> = rest.iter().take(length).map(|byte| format!("0x{byte:02x}")).collect();
        let message = format!("invalid byte sequence for encoding \"UTF8\": {}", bytes.join(" "));
        Err(CopyError::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message).at(Place::Line(self.line)))
    }

    fn at_text(&self, error: CopyError, text: &[u8]) -> CopyError {
        error.at(Place::Text(self.line, excerpt(text)))
    }

    /// HEADER MATCH: the names of the columns, in order.
    fn check_header(&self, text: &[u8]) -> Result<(), CopyError> {
        let columns = self.fields.columns();
        let names = self.fields.plain(text)?;
        if names.len() != columns.len() {
            let (found, expected) = (names.len(), columns.len());
            return Err(CopyError::format(format!(
                "wrong number of fields in header line: got {found}, expected {expected}"
            )));
        }
        for (index, (name, column)) in names.iter().zip(columns).enumerate() {
            let (number, expected) = (index + 1, &column.name);
            let got = match name {
                None => format!("null value (\"{}\")", String::from_utf8_lossy(self.fields.null())),
                Some(name) if name == expected.as_bytes() => continue,
                Some(name) => format!("\"{}\"", String::from_utf8_lossy(name)),
            };
            return Err(CopyError::format(format!(
                "column name mismatch in header line field {number}: got {got}, expected \"{expected}\""
            )));
        }
        Ok(())
    }
}
