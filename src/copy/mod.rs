//! What a client sends after COPY FROM STDIN, read as PostgreSQL 15 reads it: rows, or the same error at the same line.
//!
//! Pure and incremental: bytes are fed as they come, cut anywhere, and rows are taken out as batches of columns. Values stay
//! as they were sent, and the server converts them. Held at once: one row that is not whole yet, and one batch.
//! <https://www.postgresql.org/docs/15/sql-copy.html>

pub mod batch;
mod binary;
mod fields;
mod lines;
pub mod options;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;

use crate::fault::{Fault, Report, Severity, SqlState};
pub use batch::Batch;
use binary::BinaryReader;
pub use options::{Format, Header, Options};
use text::TextReader;

/// A column that the data has a field for, in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// CSV: a value that looks like NULL is not.
    pub force_not_null: bool,
    /// CSV: a quoted value that looks like NULL is.
    pub force_null: bool,
}

/// Reads one COPY's data.
#[derive(Debug)]
pub struct Reader(Kind);

#[derive(Debug)]
enum Kind {
    Text(Box<TextReader>),
    Binary(BinaryReader),
}

/// Why reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// What was fed is used up.
    Starved,
    /// The batch is full.
    Full,
    /// There are no more rows.
    Ended,
}

impl Reader {
    /// `row_max`: bytes of one row, at most.
    pub fn new(options: &Options, fields: Vec<Field>, row_max: usize) -> Self {
        Self(match options.format {
            Format::Text | Format::Csv => Kind::Text(Box::new(TextReader::new(options, fields, row_max))),
            Format::Binary => Kind::Binary(BinaryReader::new(fields, row_max)),
        })
    }

    /// Takes in bytes of the client's CopyData. Read until [`Read::Starved`] before the next.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Kind::Text(reader) => reader.feed(bytes),
            Kind::Binary(reader) => reader.feed(bytes),
        }
    }

    /// CopyDone came: nothing more is fed.
    pub fn finish(&mut self) {
        match &mut self.0 {
            Kind::Text(reader) => reader.finish(),
            Kind::Binary(reader) => reader.finish(),
        }
    }

    /// Moves rows into `batch`. After an error or [`Read::Ended`] it must not be called again; the rows that came before an
    /// error are in the batch.
    pub fn read(&mut self, batch: &mut Batch) -> Result<Read, CopyError> {
        let read = match &mut self.0 {
            Kind::Text(reader) => reader.read(batch),
            Kind::Binary(reader) => reader.read(batch),
        };
        if read.is_err() {
            batch.abandon_row();
        }
        read
    }

    /// The line, or the row of binary data, that is being read.
    pub fn line(&self) -> u64 {
        match &self.0 {
            Kind::Text(reader) => reader.line(),
            Kind::Binary(reader) => reader.line(),
        }
    }
}

/// Data that PostgreSQL would not take either, or more than is held at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyError {
    pub sqlstate: SqlState,
    pub message: String,
    pub hint: Option<&'static str>,
    pub place: Place,
}

/// Where in the data an error is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Before its first line, or not in the data.
    Nowhere,
    Line(u64),
    /// The line's text, as far as it is shown.
    Text(u64, Vec<u8>),
    /// Name of the column.
    Column(u64, String),
    /// Name of the column and its value, as far as it is shown; NULL is `None`.
    Value(u64, String, Option<Vec<u8>>),
    /// One of the lines from here to there.
    Lines(u64, u64),
}

impl Place {
    /// The CONTEXT of an error, in PostgreSQL's words.
    pub fn context(&self, relation: &str) -> Option<String> {
        let shown = |value: &[u8]| shown(value).into_owned();
        Some(match self {
            Self::Nowhere => return None,
            Self::Line(line) => format!("COPY {relation}, line {line}"),
            Self::Text(line, text) => format!("COPY {relation}, line {line}: \"{}\"", shown(text)),
            Self::Column(line, column) => format!("COPY {relation}, line {line}, column {column}"),
            Self::Value(line, column, None) => format!("COPY {relation}, line {line}, column {column}: null input"),
            Self::Value(line, column, Some(value)) => {
                format!("COPY {relation}, line {line}, column {column}: \"{}\"", shown(value))
            }
            Self::Lines(from, to) => format!("COPY {relation}, lines {from} to {to}"),
        })
    }
}

/// Bytes of a value that an error shows.
const SHOWN_MAX: usize = 100;

/// The beginning of a value, cut between characters.
fn shown(value: &[u8]) -> Cow<'_, str> {
    if value.len() <= SHOWN_MAX {
        return String::from_utf8_lossy(value);
    }
    let mut end = SHOWN_MAX;
    while end > SHOWN_MAX - 4 && value[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    (String::from_utf8_lossy(&value[..end]).into_owned() + "...").into()
}

/// As much of a value as an error may need.
pub fn excerpt(value: &[u8]) -> Vec<u8> {
    value[..value.len().min(SHOWN_MAX + 4)].to_vec()
}

impl CopyError {
    fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), hint: None, place: Place::Nowhere }
    }

    /// Data of the wrong form: 22P04.
    fn format(message: impl Into<String>) -> Self {
        Self::new(SqlState::BAD_COPY_FILE_FORMAT, message)
    }

    fn hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    fn row_too_long(max: usize, line: u64) -> Self {
        Self::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("a row of COPY data is longer than {max} bytes"))
            .hint("Split the value, or raise server.message_size_max in pgwarden's configuration.")
            .at(Place::Line(line))
    }
}

impl Report for CopyError {
    fn fault(&self) -> Fault {
        Fault::Client
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn sqlstate(&self) -> SqlState {
        self.sqlstate
    }

    fn message(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.message)
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        self.hint.map(Cow::Borrowed)
    }
}
