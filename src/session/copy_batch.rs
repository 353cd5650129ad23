//! The messages of a COPY FROM that is made of INSERTs, and the errors that come of it. No I/O.
//!
//! The statements have names of ours, which live on the backend from the COPY's beginning to its end.

use std::borrow::Cow;

use super::backend::shows_others;
use super::copy_in::Stop;
use super::copy_target::{NotCopied, RowForm, Target};
use super::encode;
use crate::copy::batch::Elements;
use crate::copy::{Batch, Place};
use crate::fault::{Fault, Report, Severity, SqlState};
use crate::wire::frame::{self, ErrorFields, HEADER};

/// Back to before the batch.
pub(super) const ROLLBACK_TO: &str = "ROLLBACK TO SAVEPOINT __pgw_copy";

const SAVE: (&str, &str) = ("__pgw_copy_save", "SAVEPOINT __pgw_copy");
const RELEASE: (&str, &str) = ("__pgw_copy_release", "RELEASE SAVEPOINT __pgw_copy");
const ROWS: &str = "__pgw_copy_rows";

/// A Query.
pub(super) fn query(sql: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(sql.len() + 6);
    message(&mut out, b'Q', |out| put_string(out, sql));
    out
}

/// Readies the statements, up to a Sync.
pub(super) fn prepare(target: &Target) -> Vec<u8> {
    let mut out = Vec::new();
    put_closes(&mut out);
    for (name, sql) in [SAVE, RELEASE, (ROWS, target.sql.as_str())] {
        put_parse(&mut out, name, sql);
    }
    put_sync(&mut out);
    out
}

/// Puts the statements away, up to a Sync. There need not be any.
pub(super) fn close() -> Vec<u8> {
    let mut out = Vec::new();
    put_closes(&mut out);
    put_sync(&mut out);
    out
}

/// A savepoint, the rows, and the savepoint's end, up to a Sync.
pub(super) fn batch(target: &Target, batch: &Batch) -> Vec<u8> {
    let size: usize = (0..target.width()).map(|column| batch.data(column).len() + 32).sum();
    let mut out = Vec::with_capacity(size + 256);
    put_run(&mut out, SAVE.0);
    match target.rows() {
        RowForm::Arrays => {
            put_bind(&mut out, ROWS, target, |column, out| {
                let (count, nulls, data) = (batch.rows(), batch.has_nulls(column), batch.data(column));
                sized(out, |out| target.put_array(column, count, nulls, data, out));
            });
            put_execute(&mut out);
        }
        RowForm::Single => Rows::new(batch).put(target, batch.rows(), &mut out),
    }
    put_run(&mut out, RELEASE.0);
    put_sync(&mut out);
    out
}

/// The conversions of one row's values, one column after the other, up to a Sync.
pub(super) fn conversions(target: &Target, batch: &Batch, row: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (column, format) in target.formats().enumerate() {
        let element = batch.elements(column).nth(row);
        let (Some(sql), Some(element)) = (target.conversion(column), element) else { continue };
        put_parse(&mut out, "", &sql);
        message(&mut out, b'B', |out| {
            out.extend_from_slice(b"\0\0\0\x01");
            out.extend_from_slice(&format.to_be_bytes());
            out.extend_from_slice(b"\0\x01");
            sized(out, |out| {
                let bytes = batch.data(column).get(element.range).unwrap_or_default();
                target.put_array(column, 1, element.value.is_none(), bytes, out);
            });
            out.extend_from_slice(b"\0\0");
        });
        put_execute(&mut out);
    }
    put_sync(&mut out);
    out
}

/// Goes through a batch row by row.
pub(super) struct Rows<'a> {
    columns: Vec<(&'a [u8], Elements<'a>)>,
    left: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(batch: &'a Batch) -> Self {
        let column = |column| (batch.data(column), batch.elements(column));
        Self { columns: (0..batch.columns()).map(column).collect(), left: batch.rows() }
    }

    /// The next `count` rows, each inserted by itself, up to a Sync.
    pub(super) fn one_by_one(&mut self, target: &Target, count: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(target, count, &mut out);
        put_sync(&mut out);
        out
    }

    fn put(&mut self, target: &Target, count: usize, out: &mut Vec<u8>) {
        for _ in 0..count.min(self.left) {
            self.left -= 1;
            let columns = &mut self.columns;
            put_bind(out, ROWS, target, |column, out| {
                let Some((data, elements)) = columns.get_mut(column) else { return };
                let Some(element) = elements.next() else { return };
                let bytes = data.get(element.range).unwrap_or_default();
                match target.rows() {
                    RowForm::Arrays => {
                        sized(out, |out| target.put_array(column, 1, element.value.is_none(), bytes, out));
                    }
                    // The value has its length, or is NULL, as a parameter has.
                    RowForm::Single => out.extend_from_slice(bytes),
                }
            });
            put_execute(out);
        }
    }
}

/// A message of this type.
fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Bytes after their length.
fn sized(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn put_parse(out: &mut Vec<u8>, name: &str, sql: &str) {
    message(out, b'P', |out| {
        put_string(out, name);
        put_string(out, sql);
        out.extend_from_slice(b"\0\0");
    });
}

fn put_closes(out: &mut Vec<u8>) {
    for name in [SAVE.0, RELEASE.0, ROWS] {
        message(out, b'C', |out| {
            out.push(b'S');
            put_string(out, name);
        });
    }
}

/// Runs a statement without parameters.
fn put_run(out: &mut Vec<u8>, name: &str) {
    message(out, b'B', |out| {
        out.push(0);
        put_string(out, name);
        out.extend_from_slice(&[0; 6]);
    });
    put_execute(out);
}

fn put_bind(out: &mut Vec<u8>, name: &str, target: &Target, mut value: impl FnMut(usize, &mut Vec<u8>)) {
    let width = target.width();
    message(out, b'B', |out| {
        out.push(0);
        put_string(out, name);
        out.extend_from_slice(&(width as u16).to_be_bytes());
        for format in target.formats() {
            out.extend_from_slice(&format.to_be_bytes());
        }
        out.extend_from_slice(&(width as u16).to_be_bytes());
        for column in 0..width {
            value(column, out);
        }
        out.extend_from_slice(b"\0\0");
    });
}

fn put_execute(out: &mut Vec<u8>) {
    message(out, b'E', |out| out.extend_from_slice(&[0; 5]));
}

fn put_sync(out: &mut Vec<u8>) {
    message(out, b'S', |_| {});
}

/// The error is of a row's values, and not of the moment or the server.
pub(super) fn is_of_a_row(error: &[u8]) -> bool {
    let code = ErrorFields::read(error).code;
    let passing: [&[u8]; 8] = [b"08", b"25", b"40", b"53", b"55", b"57", b"58", b"XX"];
    !passing.iter().any(|class| code.starts_with(class))
}

/// The error is of a value that its type does not take.
pub(super) fn is_of_a_value(error: &[u8]) -> bool {
    ErrorFields::read(error).code.starts_with(b"22")
}

/// A server's error as the client sees it: with its place in the data, and without a place in a text of ours.
pub(super) fn with_place(error: &[u8], place: &Place, relation: &str) -> Vec<u8> {
    let hidden: &[u8] = if shows_others(&ErrorFields::read(error)) { b"PD" } else { b"P" };
    frame::error_in_context(error, hidden, place.context(relation).as_deref())
}

/// An error of our own.
pub(super) fn own_error(report: &dyn Report, context: Option<String>) -> Stop {
    let encoded = encode(report);
    Stop::Failed(frame::error_in_context(&encoded[HEADER..], b"", context.as_deref()))
}

impl NotCopied {
    fn of(sqlstate: SqlState, message: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint }
    }

    pub(super) fn no_tenant() -> Self {
        Self::of(SqlState::INTERNAL_ERROR, "the session has no tenant", None)
    }

    pub(super) fn encoding() -> Self {
        let hint = Some("SET client_encoding TO 'UTF8', and send the data in it.");
        Self::of(SqlState::FEATURE_NOT_SUPPORTED, "COPY FROM under row security reads UTF8 only", hint)
    }

    pub(super) fn cancelled() -> Self {
        Self::of(SqlState::QUERY_CANCELED, "canceling statement due to user request", None)
    }

    pub(super) fn given_up(reason: &str) -> Self {
        Self::of(SqlState::QUERY_CANCELED, format!("COPY from stdin failed: {reason}"), None)
    }

    pub(super) fn not_alone() -> Self {
        let hint = Some("Send Sync after the data, or BEGIN before.");
        let message = "COPY FROM with other statements in one batch is not supported under row security";
        Self::of(SqlState::FEATURE_NOT_SUPPORTED, message, hint)
    }

    /// In the server's words, which would say the same.
    pub(super) fn foreign(relation: &str) -> Self {
        let message = format!("new row violates row-level security policy for table \"{relation}\"");
        let hint =
            Some("Rows can only be copied in for your own tenant; leave the tenant column out of the column list.");
        Self::of(SqlState::INSUFFICIENT_PRIVILEGE, message, hint)
    }
}

impl Report for NotCopied {
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

    fn detail(&self) -> Option<Cow<'_, str>> {
        self.detail.map(Cow::Borrowed)
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        self.hint.map(Cow::Borrowed)
    }
}
