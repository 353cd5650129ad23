//! Encoders for the messages that pgwarden itself originates, towards clients and towards servers.
//!
//! They only append to a buffer: nothing here reads a peer's bytes. A NUL cannot travel inside a protocol string, so
//! text is cut at its first one. Texts that may come from elsewhere are bounded here ([`TEXT_MAX`]), so that no encoder
//! can fail. <https://www.postgresql.org/docs/15/protocol-message-formats.html>.

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::data::{DataRow, FieldDescription, RowDescription};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};

use super::ProtocolVersion;

/// One text of a message that we originate, at most (bytes): a parameter's value, a tag, a field of an error.
pub const TEXT_MAX: usize = 8 * 1024;

/// Type oid of `text`, the only column type that our own rows have.
const TEXT_OID: u32 = 25;

/// Longest secret of BackendKeyData in protocol 3.2 (bytes).
pub const CANCEL_SECRET_MAX: usize = 256;

/// The severities that PostgreSQL's own messages carry, never translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Error,
    Fatal,
    Warning,
    Notice,
    Info,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Error => "ERROR",
            Level::Fatal => "FATAL",
            Level::Warning => "WARNING",
            Level::Notice => "NOTICE",
            Level::Info => "INFO",
        }
    }
}

/// The fields of an ErrorResponse or NoticeResponse.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    pub level: Level,
    pub sqlstate: [u8; 5],
    pub message: &'a str,
    pub detail: Option<&'a str>,
    pub hint: Option<&'a str>,
    /// In the query string, in characters from 1.
    pub position: Option<u32>,
}

impl Fields<'_> {
    fn list(&self) -> Vec<(u8, String)> {
        let level = self.level.as_str();
        let mut list = Vec::with_capacity(7);
        list.push((b'S', level.to_owned()));
        list.push((b'V', level.to_owned()));
        list.push((b'C', String::from_utf8_lossy(&self.sqlstate).into_owned()));
        list.push((b'M', text(self.message)));
        list.extend(self.detail.map(|detail| (b'D', text(detail))));
        list.extend(self.hint.map(|hint| (b'H', text(hint))));
        list.extend(self.position.map(|position| (b'P', position.to_string())));
        list
    }
}

/// Where a session stands at ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Idle,
    InTransaction,
    Failed,
}

pub fn error_response(out: &mut BytesMut, fields: &Fields<'_>) {
    put(out, &ErrorResponse::new(fields.list()));
}

pub fn notice_response(out: &mut BytesMut, fields: &Fields<'_>) {
    put(out, &NoticeResponse::new(fields.list()));
}

pub fn ready_for_query(out: &mut BytesMut, readiness: Readiness) {
    let status = match readiness {
        Readiness::Idle => TransactionStatus::Idle,
        Readiness::InTransaction => TransactionStatus::Transaction,
        Readiness::Failed => TransactionStatus::Error,
    };
    put(out, &ReadyForQuery::new(status));
}

/// A value past [`TEXT_MAX`] is cut there.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    put(out, &ParameterStatus::new(text(name), text(value)));
}

/// `secret` is 4 bytes in protocol 3.0 and 4 to 256 in 3.2; more are cut off.
pub fn backend_key_data(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    let secret = Bytes::copy_from_slice(&secret[..secret.len().min(CANCEL_SECRET_MAX)]);
    put(out, &BackendKeyData::new(pid, SecretKey::Bytes(secret)));
}

pub fn authentication_ok(out: &mut BytesMut) {
    put(out, &Authentication::Ok);
}

pub fn authentication_sasl(out: &mut BytesMut, mechanisms: &[&str]) {
    put(out, &Authentication::SASL(mechanisms.iter().map(|name| text(name)).collect()));
}

pub fn authentication_sasl_continue(out: &mut BytesMut, data: &[u8]) {
    put(out, &Authentication::SASLContinue(Bytes::copy_from_slice(data)));
}

pub fn authentication_sasl_final(out: &mut BytesMut, data: &[u8]) {
    put(out, &Authentication::SASLFinal(Bytes::copy_from_slice(data)));
}

/// Tells the client which version the connection goes on with, and which `_pq_.` options were not understood.
pub fn negotiate_protocol_version(out: &mut BytesMut, version: ProtocolVersion, unknown: &[&str]) {
    let names = unknown.iter().map(|name| text(name)).collect();
    // The documentation says "minor version"; PostgreSQL sends, and libpq reads, the whole number.
    put(out, &NegotiateProtocolVersion::new(version.0.cast_signed(), names));
}

/// Columns of type text, in text format.
pub fn row_description(out: &mut BytesMut, columns: &[&str]) {
    let field = |name: &&str| FieldDescription::new(text(name), 0, 0, TEXT_OID, -1, -1, 0);
    put(out, &RowDescription::new(columns.iter().map(field).collect()));
}

/// Values in text format; `None` is NULL. At most as many as an i16 counts.
pub fn data_row(out: &mut BytesMut, values: &[Option<&str>]) {
    let values = &values[..values.len().min(i16::MAX as usize)];
    let mut data = BytesMut::new();
    for value in values {
        match value {
            Some(value) => {
                let value = clip(value, TEXT_MAX);
                data.put_i32(value.len() as i32);
                data.put_slice(value.as_bytes());
            }
            None => data.put_i32(-1),
        }
    }
    put(out, &DataRow::new(data, values.len() as i16));
}

pub fn command_complete(out: &mut BytesMut, tag: &str) {
    put(out, &CommandComplete::new(text(tag)));
}

pub fn empty_query_response(out: &mut BytesMut) {
    put(out, &EmptyQueryResponse::new());
}

/// A StartupMessage: version, then keys and values as given.
pub fn startup(out: &mut BytesMut, version: ProtocolVersion, parameters: &[(&str, &str)]) {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(version.0);
    for (key, value) in parameters {
        put_string(out, key);
        put_string(out, value);
    }
    out.put_u8(0);
    set_length(out, start);
}

/// An SSLRequest.
pub fn ssl_request(out: &mut BytesMut) {
    out.put_u32(8);
    out.put_u32(super::startup::SSL_REQUEST);
}

/// A CancelRequest with the server's own key.
pub fn cancel_request(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(super::startup::CANCEL_REQUEST);
    out.put_i32(pid);
    out.put_slice(secret);
    set_length(out, start);
}

/// A PasswordMessage: cleartext or md5.
pub fn password(out: &mut BytesMut, password: &str) {
    out.put_u8(b'p');
    let start = out.len();
    out.put_u32(0);
    put_string(out, password);
    set_length(out, start);
}

pub fn sasl_initial_response(out: &mut BytesMut, mechanism: &str, data: &[u8]) {
    out.put_u8(b'p');
    let start = out.len();
    out.put_u32(0);
    put_string(out, mechanism);
    out.put_u32(data.len() as u32);
    out.put_slice(data);
    set_length(out, start);
}

pub fn sasl_response(out: &mut BytesMut, data: &[u8]) {
    out.put_u8(b'p');
    let start = out.len();
    out.put_u32(0);
    out.put_slice(data);
    set_length(out, start);
}

fn put(out: &mut BytesMut, message: &impl Message) {
    // Encoding fails only past the library's size limits, and every text was clipped far below them; if it should fail
    // all the same, nothing half-written may stay in the stream.
    let start = out.len();
    if message.encode(out).is_err() {
        out.truncate(start);
    }
}

/// The length field at `start` counts itself and all that follows.
fn set_length(out: &mut BytesMut, start: usize) {
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_string(out: &mut BytesMut, string: &str) {
    out.put_slice(until_nul(string).as_bytes());
    out.put_u8(0);
}

fn text(string: &str) -> String {
    clip(until_nul(string), TEXT_MAX).to_owned()
}

fn until_nul(string: &str) -> &str {
    string.split('\0').next().unwrap_or_default()
}

/// The longest prefix of at most `max` bytes that ends between characters.
fn clip(string: &str, max: usize) -> &str {
    let mut end = string.len().min(max);
    while !string.is_char_boundary(end) {
        end -= 1;
    }
    &string[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    /// Type byte and declared length agree with what was written.
    fn body(message: &[u8], kind: u8) -> &[u8] {
        assert_eq!(message[0], kind);
        assert_eq!(u32::from_be_bytes(message[1..5].try_into().unwrap()) as usize, message.len() - 1);
        &message[5..]
    }

    #[test]
    fn error_has_both_severities_and_its_fields_in_order() {
        let fields = Fields {
            level: Level::Fatal,
            sqlstate: *b"28P01",
            message: "no\0t this",
            detail: None,
            hint: Some("Try again."),
            position: None,
        };
        let bytes = encoded(|out| error_response(out, &fields));
        assert_eq!(body(&bytes, b'E'), b"SFATAL\0VFATAL\0C28P01\0Mno\0HTry again.\0\0");
        let bytes = encoded(|out| notice_response(out, &Fields { level: Level::Warning, ..fields }));
        assert!(body(&bytes, b'N').starts_with(b"SWARNING\0VWARNING\0"));
        let bytes = encoded(|out| error_response(out, &Fields { position: Some(12), ..fields }));
        assert!(body(&bytes, b'E').ends_with(b"\0HTry again.\0P12\0\0"));
    }

    #[test]
    fn long_text_is_clipped_between_characters() {
        let long = "é".repeat(TEXT_MAX);
        let bytes = encoded(|out| parameter_status(out, "application_name", &long));
        let value = &body(&bytes, b'S')["application_name\0".len()..];
        assert_eq!(std::str::from_utf8(value).unwrap().trim_end_matches('\0').len(), TEXT_MAX);
        let odd = format!("a{long}");
        let bytes = encoded(|out| command_complete(out, &odd));
        assert_eq!(body(&bytes, b'C').len(), TEXT_MAX - 1 + 1);
    }

    #[test]
    fn cancel_key_is_four_to_256_bytes() {
        let bytes = encoded(|out| backend_key_data(out, -7, &[1, 2, 3, 4]));
        assert_eq!(body(&bytes, b'K'), [0xff, 0xff, 0xff, 0xf9, 1, 2, 3, 4]);
        let bytes = encoded(|out| backend_key_data(out, 7, &[9; 300]));
        assert_eq!(body(&bytes, b'K').len(), 4 + CANCEL_SECRET_MAX);
    }

    #[test]
    fn rows_of_the_console_are_text_columns() {
        let bytes = encoded(|out| row_description(out, &["name"]));
        assert_eq!(body(&bytes, b'T'), b"\0\x01name\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
        let bytes = encoded(|out| data_row(out, &[Some("é"), None, Some("")]));
        assert_eq!(body(&bytes, b'D'), b"\0\x03\0\0\0\x02\xc3\xa9\xff\xff\xff\xff\0\0\0\0");
    }

    #[test]
    fn negotiation_names_the_whole_version() {
        let bytes = encoded(|out| negotiate_protocol_version(out, ProtocolVersion::V3_2, &["_pq_.x"]));
        assert_eq!(body(&bytes, b'v'), b"\0\x03\0\x02\0\0\0\x01_pq_.x\0");
    }

    #[test]
    fn authentication_and_ready_are_as_documented() {
        assert_eq!(body(&encoded(authentication_ok), b'R'), [0, 0, 0, 0]);
        let bytes = encoded(|out| authentication_sasl(out, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]));
        assert_eq!(body(&bytes, b'R'), b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
        let bytes = encoded(|out| authentication_sasl_continue(out, b"r=x"));
        assert_eq!(body(&bytes, b'R'), b"\0\0\0\x0br=x");
        let bytes = encoded(|out| authentication_sasl_final(out, b"v=x"));
        assert_eq!(body(&bytes, b'R'), b"\0\0\0\x0cv=x");
        assert_eq!(body(&encoded(|out| ready_for_query(out, Readiness::Failed)), b'Z'), b"E");
        assert_eq!(body(&encoded(empty_query_response), b'I'), b"");
    }

    #[test]
    fn messages_towards_servers_are_as_documented() {
        let bytes = encoded(|out| startup(out, ProtocolVersion::V3_0, &[("user", "a"), ("database", "b\0c")]));
        assert_eq!(bytes, b"\0\0\0\x1b\0\x03\0\0user\0a\0database\0b\0\0".to_vec());
        assert_eq!(encoded(ssl_request), b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec());
        let bytes = encoded(|out| cancel_request(out, 1, &[1, 2, 3, 4]));
        assert_eq!(bytes, b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\x01\x02\x03\x04".to_vec());
        let bytes = encoded(|out| sasl_initial_response(out, "SCRAM-SHA-256", b"n,,"));
        assert_eq!(body(&bytes, b'p'), b"SCRAM-SHA-256\0\0\0\0\x03n,,");
        assert_eq!(body(&encoded(|out| password(out, "x")), b'p'), b"x\0");
        assert_eq!(body(&encoded(|out| sasl_response(out, b"c=")), b'p'), b"c=");
    }
}
