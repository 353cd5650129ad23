//! The messages of the console that `wire::message` has no encoder for (rows of more types than text, in both formats, and
//! the replies of the extended protocol), and errors from their [`Report`]. Pure: they are appended to a buffer.
//!
//! <https://www.postgresql.org/docs/15/protocol-message-formats.html>

use bytes::{BufMut, BytesMut};

use super::tables::{Cell, Column, Kind, Row};
use crate::fault::{Report, Severity, SqlState};
use crate::wire::frame::TxStatus;
use crate::wire::message::{self, Fields, Level, Readiness};

/// How a value travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Binary,
}

/// One message: a tag, a length that is filled in at the end, a body.
fn frame(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_i32(0);
    body(out);
    let length = i32::try_from(out.len() - start).expect("messages of the console stay far below 2 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A string up to its first NUL, which the protocol cannot carry, and the NUL that ends it.
fn cstr(out: &mut BytesMut, text: &str) {
    out.put_slice(text.split('\0').next().unwrap_or("").as_bytes());
    out.put_u8(0);
}

/// The messages without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    ParseComplete,
    BindComplete,
    CloseComplete,
    NoData,
    PortalSuspended,
}

pub fn bare(out: &mut BytesMut, which: Bare) {
    let tag = match which {
        Bare::ParseComplete => b'1',
        Bare::BindComplete => b'2',
        Bare::CloseComplete => b'3',
        Bare::NoData => b'n',
        Bare::PortalSuspended => b's',
    };
    frame(out, tag, |_| ());
}

/// The console's statements take no parameters.
pub fn no_parameters(out: &mut BytesMut) {
    frame(out, b't', |out| out.put_i16(0));
}

/// `format` gives each column's format by its position.
pub fn row_description(out: &mut BytesMut, columns: &[Column], format: impl Fn(usize) -> Format) {
    frame(out, b'T', |out| {
        out.put_u16(columns.len() as u16);
        for (i, column) in columns.iter().enumerate() {
            cstr(out, &column.name);
            out.put_i32(0);
            out.put_i16(0);
            // Type oid and size: text, int4, int8, void of pg_type.
            let (oid, size) = match column.kind {
                Kind::Text => (25, -1),
                Kind::Int4 => (23, 4),
                Kind::Int8 => (20, 8),
                Kind::Void => (2278, 4),
            };
            out.put_i32(oid);
            out.put_i16(size);
            out.put_i32(-1);
            out.put_i16(match format(i) {
                Format::Text => 0,
                Format::Binary => 1,
            });
        }
    });
}

pub fn data_row(out: &mut BytesMut, columns: &[Column], row: &Row, format: impl Fn(usize) -> Format) {
    frame(out, b'D', |out| {
        out.put_u16(row.len() as u16);
        for (i, (cell, column)) in row.iter().zip(columns).enumerate() {
            value(out, cell, column.kind, format(i));
        }
    });
}

fn value(out: &mut BytesMut, cell: &Cell, kind: Kind, format: Format) {
    let mut bytes = |bytes: &[u8]| {
        out.put_i32(bytes.len() as i32);
        out.put_slice(bytes);
    };
    match (cell, kind, format) {
        (Cell::Null, _, _) => out.put_i32(-1),
        (Cell::Text(text), _, _) => bytes(text.as_bytes()),
        (Cell::Int(n), Kind::Int4, Format::Binary) => {
            let n = i32::try_from(*n).unwrap_or(if *n < 0 { i32::MIN } else { i32::MAX });
            bytes(&n.to_be_bytes());
        }
        (Cell::Int(n), Kind::Int8, Format::Binary) => bytes(&n.to_be_bytes()),
        (Cell::Int(n), Kind::Int4, Format::Text) => {
            bytes((*n).clamp(i32::MIN.into(), i32::MAX.into()).to_string().as_bytes());
        }
        (Cell::Int(n), Kind::Int8 | Kind::Text | Kind::Void, _) => bytes(n.to_string().as_bytes()),
    }
}

pub fn ready_for_query(out: &mut BytesMut, status: TxStatus) {
    let readiness = match status {
        TxStatus::Idle => Readiness::Idle,
        TxStatus::Open => Readiness::InTransaction,
        TxStatus::Failed => Readiness::Failed,
    };
    message::ready_for_query(out, readiness);
}

pub fn error(out: &mut BytesMut, report: &dyn Report) {
    let level = match report.severity() {
        Severity::Error => Level::Error,
        Severity::Fatal => Level::Fatal,
    };
    let (message, detail, hint) = (report.message(), report.detail(), report.hint());
    let SqlState(sqlstate) = report.sqlstate();
    let fields =
        Fields { level, sqlstate, message: &message, detail: detail.as_deref(), hint: hint.as_deref(), position: None };
    message::error_response(out, &fields);
}
