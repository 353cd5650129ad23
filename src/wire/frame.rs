//! Message framing: a type byte, a length that counts itself, a body.
//!
//! Reading neither copies nor allocates. A frame is looked at where it was read; what does not fit its declared length is a
//! [`FrameError`], never a guess. <https://www.postgresql.org/docs/15/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS>

use std::ffi::CStr;

use bytes::{BufMut, BytesMut};
use thiserror::Error;

/// Bytes of a type and a length.
pub const HEADER: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("message of type {tag:#04x} has a length of {length}, which is less than 4")]
    TooShort { tag: u8, length: i32 },
    #[error("message of type {tag:#04x} has a length of {length} bytes; at most {max} are allowed")]
    TooLong { tag: u8, length: u32, max: usize },
    #[error("message of type {tag:#04x} does not have the layout of its type")]
    Malformed { tag: u8 },
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub tag: u8,
    /// Bytes after the header.
    pub body: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` while fewer than five bytes are there. `max`: longest body allowed.
    pub fn read(bytes: &[u8], max: usize) -> Result<Option<Self>, FrameError> {
        let Some(head) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let tag = head[0];
        let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        if length < 4 {
            return Err(FrameError::TooShort { tag, length });
        }
        let body = length as usize - 4;
        if body > max {
            return Err(FrameError::TooLong { tag, length: length as u32, max });
        }
        Ok(Some(Self { tag, body }))
    }

    /// Bytes of the whole frame.
    pub fn total(self) -> usize {
        HEADER + self.body
    }
}

/// The bytes up to the first NUL, and what follows it.
pub fn split_cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    // Not by memchr, whose way to what the processor can leads over a pointer: for a short text longer than the search.
    let text = CStr::from_bytes_until_nul(bytes).ok()?.to_bytes();
    Some((text, &bytes[text.len() + 1..]))
}

/// The text of a Query: all of the body but one NUL, which must be the last byte and the only one.
pub fn query_text(body: &[u8]) -> Result<&[u8], FrameError> {
    match split_cstr(body) {
        Some((text, [])) => Ok(text),
        Some(_) | None => Err(FrameError::Malformed { tag: b'Q' }),
    }
}

/// A Parse message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    pub name: &'a [u8],
    pub text: &'a [u8],
    /// Parameter type oids as they stand, four bytes each.
    pub types: &'a [u8],
}

impl<'a> Parse<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, FrameError> {
        let malformed = FrameError::Malformed { tag: b'P' };
        let (name, rest) = split_cstr(body).ok_or(malformed)?;
        let (text, rest) = split_cstr(rest).ok_or(malformed)?;
        let (count, types) = rest.split_first_chunk::<2>().ok_or(malformed)?;
        if types.len() != usize::from(u16::from_be_bytes(*count)) * 4 {
            return Err(malformed);
        }
        Ok(Self { name, text, types })
    }
}

/// The names at the start of a Bind; the rest is the server's to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindNames<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    /// Bytes that the two names and their NULs take.
    pub length: usize,
}

impl<'a> BindNames<'a> {
    /// `None`: the names are not all there yet.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let (portal, rest) = split_cstr(body)?;
        let (statement, _) = split_cstr(rest)?;
        Some(Self { portal, statement, length: portal.len() + statement.len() + 2 })
    }
}

/// What Describe and Close point at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    Statement(&'a [u8]),
    Portal(&'a [u8]),
}

impl<'a> Target<'a> {
    pub fn read(tag: u8, body: &'a [u8]) -> Result<Self, FrameError> {
        let malformed = FrameError::Malformed { tag };
        let (kind, name) = body.split_first().ok_or(malformed)?;
        match (kind, split_cstr(name)) {
            (b'S', Some((name, []))) => Ok(Self::Statement(name)),
            (b'P', Some((name, []))) => Ok(Self::Portal(name)),
            _ => Err(malformed),
        }
    }
}

/// The portal of an Execute.
pub fn execute_portal(body: &[u8]) -> Result<&[u8], FrameError> {
    match split_cstr(body) {
        Some((portal, rest)) if rest.len() == 4 => Ok(portal),
        Some(_) | None => Err(FrameError::Malformed { tag: b'E' }),
    }
}

/// The fields of an ErrorResponse or NoticeResponse that decisions are made on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    /// `V`, or `S` where the server sends no `V`.
    pub severity: &'a [u8],
    /// `C`; empty when the server sent none.
    pub code: &'a [u8],
    /// `M`.
    pub message: &'a [u8],
    /// `R`: name of the C function.
    pub routine: &'a [u8],
    /// `W` is there: the error came from within a function, trigger or foreign key's action.
    pub has_context: bool,
}

impl<'a> ErrorFields<'a> {
    /// Takes what can be read; a malformed rest is ignored, since an error must be survived however it is written.
    pub fn read(mut body: &'a [u8]) -> Self {
        let mut fields = Self::default();
        while let Some((&kind, rest)) = body.split_first() {
            let Some((value, rest)) = split_cstr(rest) else { break };
            match kind {
                b'V' => fields.severity = value,
                b'S' if fields.severity.is_empty() => fields.severity = value,
                b'C' => fields.code = value,
                b'M' => fields.message = value,
                b'R' => fields.routine = value,
                b'W' => fields.has_context = true,
                _ => {}
            }
            body = rest;
        }
        fields
    }

    /// The server closes the connection after this message.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity, b"FATAL" | b"PANIC")
    }
}

/// Writes an ErrorResponse with the fields of `body` but for those of one kind. A malformed rest is left out.
pub fn error_without(mut body: &[u8], kind: u8, out: &mut BytesMut) {
    out.put_u8(b'E');
    let at = out.len();
    out.put_u32(0);
    while let Some((&field, rest)) = body.split_first() {
        let Some((value, rest)) = split_cstr(rest).filter(|_| field != 0) else { break };
        if field != kind {
            out.put_u8(field);
            out.put_slice(value);
            out.put_u8(0);
        }
        body = rest;
    }
    out.put_u8(0);
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// The body of an ErrorResponse with the fields of `body` but for those of the kinds `hidden`, and with `context` after the
/// context that it has, without the lines of that about a portal. A malformed rest is left out.
pub fn error_in_context(mut body: &[u8], hidden: &[u8], context: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 128);
    let mut lines: Vec<&[u8]> = Vec::new();
    while let Some((&field, rest)) = body.split_first() {
        let Some((value, rest)) = split_cstr(rest).filter(|_| field != 0) else { break };
        if field == b'W' {
            lines.extend(value.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"unnamed portal")));
        } else if !hidden.contains(&field) {
            out.push(field);
            out.extend_from_slice(value);
            out.push(0);
        }
        body = rest;
    }
    // A NUL would end the field, and the message with it.
    let context = context.map(|context| context.replace('\0', ""));
    lines.extend(context.as_deref().map(str::as_bytes));
    if !lines.is_empty() {
        out.push(b'W');
        out.extend_from_slice(&lines.join(&b'\n'));
        out.push(0);
    }
    out.push(0);
    out
}

/// An ErrorResponse of this body.
pub fn error_response(body: &[u8], out: &mut BytesMut) {
    out.put_u8(b'E');
    out.put_u32(body.len() as u32 + 4);
    out.put_slice(body);
}

/// The two strings of a ParameterStatus.
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), FrameError> {
    let malformed = FrameError::Malformed { tag: b'S' };
    let (name, rest) = split_cstr(body).ok_or(malformed)?;
    match split_cstr(rest) {
        Some((value, [])) => Ok((name, value)),
        Some(_) | None => Err(malformed),
    }
}

/// The transaction status that ReadyForQuery reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxStatus {
    Idle,
    Open,
    Failed,
}

impl TxStatus {
    pub fn read(body: &[u8]) -> Result<Self, FrameError> {
        match body {
            [b'I'] => Ok(Self::Idle),
            [b'T'] => Ok(Self::Open),
            [b'E'] => Ok(Self::Failed),
            _ => Err(FrameError::Malformed { tag: b'Z' }),
        }
    }

    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Open => b'T',
            Self::Failed => b'E',
        }
    }
}

/// The values of a DataRow; `None` is NULL.
pub fn data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, FrameError> {
    let malformed = FrameError::Malformed { tag: b'D' };
    let (count, mut rest) = body.split_first_chunk::<2>().ok_or(malformed)?;
    let count = usize::from(u16::from_be_bytes(*count));
    let mut values = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(malformed)?;
        let length = i32::from_be_bytes(*length);
        if length == -1 {
            values.push(None);
            rest = after;
        } else {
            let length = usize::try_from(length).map_err(|_| malformed)?;
            let (value, after) = after.split_at_checked(length).ok_or(malformed)?;
            values.push(Some(value));
            rest = after;
        }
    }
    if rest.is_empty() { Ok(values) } else { Err(malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_field_is_left_out_of_an_error() {
        let body = b"SERROR\0C23P01\0Mno\0DKey (a)=(1) conflicts with existing key (a)=(2).\0Rf\0\0";
        let mut out = BytesMut::new();
        error_without(body, b'D', &mut out);
        let header = Header::read(&out, 1000).unwrap().unwrap();
        assert_eq!(header, Header { tag: b'E', body: out.len() - HEADER });
        assert_eq!(&out[HEADER..], b"SERROR\0C23P01\0Mno\0Rf\0\0");
        out.clear();
        error_without(b"SERROR\0Mopen", b'D', &mut out);
        assert_eq!(&out[HEADER..], b"SERROR\0\0");
    }

    #[test]
    fn a_context_follows_the_errors_own() {
        let body = b"SERROR\0Mno\0P17\0Wunnamed portal parameter $1\nsomewhere\0\0";
        assert_eq!(
            error_in_context(body, b"P", Some("COPY t\0, line 1")),
            b"SERROR\0Mno\0Wsomewhere\nCOPY t, line 1\0\0"
        );
        assert_eq!(error_in_context(b"Mno\0\0", b"", None), b"Mno\0\0");
    }

    #[test]
    fn a_length_below_four_or_above_the_limit_is_refused() {
        assert_eq!(Header::read(b"Q\0\0\0", 10), Ok(None));
        assert_eq!(Header::read(b"Q\0\0\0\x03", 10), Err(FrameError::TooShort { tag: b'Q', length: 3 }));
        assert_eq!(Header::read(b"Q\xff\xff\xff\xff", 10), Err(FrameError::TooShort { tag: b'Q', length: -1 }));
        assert_eq!(Header::read(b"Q\0\0\0\x0f", 10), Err(FrameError::TooLong { tag: b'Q', length: 15, max: 10 }));
        assert_eq!(Header::read(b"Q\0\0\0\x0e", 10), Ok(Some(Header { tag: b'Q', body: 10 })));
    }

    #[test]
    fn a_query_with_a_nul_inside_is_malformed() {
        assert_eq!(query_text(b"select 1\0"), Ok(&b"select 1"[..]));
        assert!(query_text(b"select 1\0drop table t\0").is_err());
        assert!(query_text(b"select 1").is_err());
        assert!(query_text(b"").is_err());
    }

    #[test]
    fn a_parse_with_a_wrong_type_count_is_malformed() {
        let whole = b"s\0select $1\0\0\x01\0\0\0\x17";
        let parse = Parse::read(whole).expect("well-formed");
        assert_eq!((parse.name, parse.text, parse.types), (&b"s"[..], &b"select $1"[..], &b"\0\0\0\x17"[..]));
        for end in 0..whole.len() {
            assert!(Parse::read(&whole[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn an_error_without_code_is_read() {
        let fields = ErrorFields::read(b"SFATAL\0Mgone\0\0");
        assert!(fields.is_fatal());
        assert_eq!(fields.code, b"");
        assert_eq!(fields.message, b"gone");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Header::read(&bytes, 50);
            let _ = query_text(&bytes);
            let _ = Parse::read(&bytes);
            let _ = BindNames::read(&bytes);
            let _ = Target::read(b'D', &bytes);
            let _ = execute_portal(&bytes);
            let _ = ErrorFields::read(&bytes);
            let _ = parameter_status(&bytes);
            let _ = data_row(&bytes);
        }
    }
}
