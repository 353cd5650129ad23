//! What a client may send before it is authenticated: encryption requests, cancel requests, the startup packet.
//!
//! These packets have no type byte: a length that counts itself, a code, a body. [`parse`] takes one whole packet whose
//! length was bounded by [`packet_length`]; it decides nothing about users, databases or settings.
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::message::CANCEL_SECRET_MAX;
use super::{CancelKey, ProtocolVersion};

/// The special codes: major number 1234, minor 5678 and up.
pub const CANCEL_REQUEST: u32 = 80_877_102;
pub const SSL_REQUEST: u32 = 80_877_103;
pub const GSSENC_REQUEST: u32 = 80_877_104;

/// Longest startup packet, its length field included. PostgreSQL's own limit (MAX_STARTUP_PACKET_LENGTH).
pub const PACKET_MAX: usize = 10_000;

/// Length field and code.
const PACKET_MIN: usize = 8;

/// Newest protocol version that we speak.
pub const VERSION_MAX: ProtocolVersion = ProtocolVersion::V3_2;

/// Keys that begin like this ask for protocol extensions; we know none.
const EXTENSION_PREFIX: &str = "_pq_.";

/// One packet before authentication.
#[derive(Clone, PartialEq, Eq)]
pub enum Packet {
    SslRequest,
    GssEncRequest,
    Cancel(CancelKey),
    Startup(Startup),
}

/// A startup packet, keys and values in the client's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// As asked for; the connection goes on with [`Startup::version`].
    pub requested: ProtocolVersion,
    pub parameters: Vec<(Arc<str>, Arc<str>)>,
    /// `_pq_.` options, which the client must be told we do not know.
    pub extensions: Vec<Arc<str>>,
}

impl Startup {
    /// The version that the connection goes on with: the lower of theirs and ours.
    pub fn version(&self) -> ProtocolVersion {
        self.requested.min(VERSION_MAX)
    }

    /// PostgreSQL sends NegotiateProtocolVersion for a newer minor version or for unknown extensions.
    pub fn must_negotiate(&self) -> bool {
        self.requested > VERSION_MAX || !self.extensions.is_empty()
    }

    /// The value of a key, which is compared exactly, as PostgreSQL does for its reserved keys.
    pub fn value(&self, key: &str) -> Option<&Arc<str>> {
        self.parameters.iter().find(|(name, _)| &**name == key).map(|(_, value)| value)
    }
}

/// What is wrong with a packet. The texts are PostgreSQL's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PacketError {
    #[error("invalid length of startup packet")]
    Length,
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    #[error("startup packet is not valid UTF-8")]
    Encoding,
    #[error("startup packet has the key \"{key}\" twice")]
    Duplicate { key: String },
    #[error("startup packet has an empty key")]
    EmptyKey,
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")]
    Version { major: u16, minor: u16 },
    #[error("invalid length of cancel request")]
    Cancel,
    #[error("invalid message length")]
    Message,
}

/// The whole packet's length, from its first four bytes.
pub fn packet_length(head: [u8; 4]) -> Result<usize, PacketError> {
    let length = u32::from_be_bytes(head) as usize;
    if (PACKET_MIN..=PACKET_MAX).contains(&length) { Ok(length) } else { Err(PacketError::Length) }
}

/// Type and whole length (type byte included) of the message that begins with these bytes; for use before the first
/// ReadyForQuery, where messages are small.
pub fn message_head(head: [u8; 5], body_max: usize) -> Result<(u8, usize), PacketError> {
    let [kind, length @ ..] = head;
    let length = u32::from_be_bytes(length) as usize;
    if (4..=body_max.saturating_add(4)).contains(&length) { Ok((kind, length + 1)) } else { Err(PacketError::Message) }
}

/// Reads one whole packet, its length field included.
pub fn parse(packet: &[u8]) -> Result<Packet, PacketError> {
    let (Some(head), Some(code)) =
        (packet.first_chunk::<4>(), packet.get(4..8).and_then(|code| code.first_chunk::<4>()))
    else {
        return Err(PacketError::Length);
    };
    if packet_length(*head)? != packet.len() {
        return Err(PacketError::Length);
    }
    let body = &packet[PACKET_MIN..];
    match u32::from_be_bytes(*code) {
        CANCEL_REQUEST => cancel(body).map(Packet::Cancel),
        SSL_REQUEST if body.is_empty() => Ok(Packet::SslRequest),
        GSSENC_REQUEST if body.is_empty() => Ok(Packet::GssEncRequest),
        version => startup(ProtocolVersion(version), body).map(Packet::Startup),
    }
}

fn cancel(body: &[u8]) -> Result<CancelKey, PacketError> {
    let (pid, secret) = body.split_first_chunk::<4>().ok_or(PacketError::Cancel)?;
    if secret.is_empty() || secret.len() > CANCEL_SECRET_MAX {
        return Err(PacketError::Cancel);
    }
    Ok(CancelKey { pid: i32::from_be_bytes(*pid), secret: Bytes::copy_from_slice(secret) })
}

fn startup(requested: ProtocolVersion, body: &[u8]) -> Result<Startup, PacketError> {
    let (major, minor) = ((requested.0 >> 16) as u16, requested.0 as u16);
    if major != 3 {
        return Err(PacketError::Version { major, minor });
    }
    let mut startup = Startup { requested, parameters: Vec::new(), extensions: Vec::new() };
    let mut strings = Strings { rest: body };
    loop {
        let key = strings.next()?;
        if key.is_empty() {
            break;
        }
        let value = strings.next()?;
        if key.starts_with(EXTENSION_PREFIX) {
            startup.extensions.push(key.into());
            continue;
        }
        if startup.parameters.iter().any(|(seen, _)| seen.eq_ignore_ascii_case(key)) {
            return Err(PacketError::Duplicate { key: key.to_owned() });
        }
        startup.parameters.push((key.into(), value.into()));
    }
    if strings.rest.is_empty() { Ok(startup) } else { Err(PacketError::Layout) }
}

struct Strings<'a> {
    rest: &'a [u8],
}

impl<'a> Strings<'a> {
    fn next(&mut self) -> Result<&'a str, PacketError> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(PacketError::Layout)?;
        let string = std::str::from_utf8(&self.rest[..end]).map_err(|_| PacketError::Encoding)?;
        self.rest = &self.rest[end + 1..];
        Ok(string)
    }
}

/// What is wrong with the `options` key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionsError {
    #[error("invalid command-line argument for server process: {argument}")]
    Argument { argument: String },
    #[error("{argument} requires a value")]
    NoValue { argument: String },
}

/// The settings in an `options` string, in order, names as PostgreSQL reads them (dashes become underscores).
///
/// Split at white space, a backslash takes the next character as it is; then `-c name=value`, `-cname=value` and
/// `--name=value`. PostgreSQL's other switches are refused.
pub fn parse_options(options: &str) -> Result<Vec<(String, String)>, OptionsError> {
    let mut arguments = split_options(options).into_iter();
    let mut settings = Vec::new();
    while let Some(argument) = arguments.next() {
        let assignment = if argument == "-c" {
            arguments.next().ok_or_else(|| OptionsError::NoValue { argument: argument.clone() })?
        } else if let Some(assignment) = argument.strip_prefix("--").or_else(|| argument.strip_prefix("-c")) {
            assignment.to_owned()
        } else {
            return Err(OptionsError::Argument { argument });
        };
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(OptionsError::NoValue { argument });
        };
        if name.is_empty() {
            return Err(OptionsError::Argument { argument });
        }
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

/// White space as C's isspace() has it; a backslash at the very end stands for nothing.
fn split_options(options: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut characters = options.chars().peekable();
    loop {
        while characters.next_if(|c| is_space(*c)).is_some() {}
        if characters.peek().is_none() {
            return arguments;
        }
        let mut argument = String::new();
        while let Some(character) = characters.next_if(|c| !is_space(*c)) {
            if character == '\\' {
                argument.extend(characters.next());
            } else {
                argument.push(character);
            }
        }
        arguments.push(argument);
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(code: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((body.len() + 8) as u32).to_be_bytes().to_vec();
        bytes.extend(code.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn started(code: u32, body: &[u8]) -> Result<Startup, PacketError> {
        match parse(&packet(code, body))? {
            Packet::Startup(startup) => Ok(startup),
            Packet::SslRequest | Packet::GssEncRequest | Packet::Cancel(_) => panic!("not a startup packet"),
        }
    }

    #[test]
    fn startup_keeps_keys_in_order() {
        let startup = started(0x30000, b"user\0ann\0database\0\0DateStyle\0ISO\0\0").unwrap();
        let names: Vec<_> = startup.parameters.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["user", "database", "DateStyle"]);
        assert_eq!(startup.value("database").map(|value| &**value), Some(""));
        assert_eq!(startup.version(), ProtocolVersion::V3_0);
        assert!(!startup.must_negotiate());
    }

    #[test]
    fn newer_minor_versions_and_unknown_extensions_are_negotiated() {
        assert_eq!(started(0x30002, b"\0").unwrap().version(), ProtocolVersion::V3_2);
        assert!(!started(0x30002, b"\0").unwrap().must_negotiate());
        let newer = started(0x3270f, b"\0").unwrap();
        assert!(newer.must_negotiate());
        assert_eq!(newer.version(), ProtocolVersion::V3_2);
        let extended = started(0x30000, b"user\0a\0_pq_.x\0on\0\0").unwrap();
        assert!(extended.must_negotiate());
        assert_eq!(extended.version(), ProtocolVersion::V3_0);
        assert_eq!(extended.extensions, [Arc::<str>::from("_pq_.x")]);
        assert_eq!(extended.parameters.len(), 1);
    }

    #[test]
    fn other_versions_are_refused_in_postgresql_words() {
        let error = started(0x20000, b"\0").unwrap_err();
        assert_eq!(error.to_string(), "unsupported frontend protocol 2.0: server supports 3.0 to 3.2");
        assert_eq!(started(0x40000, b"\0"), Err(PacketError::Version { major: 4, minor: 0 }));
        // An encryption request with a body is none.
        assert_eq!(started(SSL_REQUEST, b"\0"), Err(PacketError::Version { major: 1234, minor: 5679 }));
    }

    #[test]
    fn malformed_packets_are_refused() {
        for (body, expected) in [
            (&b""[..], PacketError::Layout),
            (b"user", PacketError::Layout),
            (b"user\0a", PacketError::Layout),
            (b"user\0a\0", PacketError::Layout),
            (b"user\0a\0\0x", PacketError::Layout),
            (b"user\0a\0\0\0", PacketError::Layout),
            (b"user\0\xff\0\0", PacketError::Encoding),
            (b"user\0a\0user\0b\0\0", PacketError::Duplicate { key: "user".into() }),
            (b"timezone\0a\0TimeZone\0b\0\0", PacketError::Duplicate { key: "TimeZone".into() }),
        ] {
            assert_eq!(started(0x30000, body), Err(expected), "{body:?}");
        }
        for length in [0u32, 7, 10_001, u32::MAX] {
            assert_eq!(packet_length(length.to_be_bytes()), Err(PacketError::Length));
        }
        assert_eq!(packet_length(10_000u32.to_be_bytes()), Ok(10_000));
    }

    #[test]
    fn message_heads_are_bounded() {
        assert_eq!(message_head(*b"p\0\0\0\x04", 10), Ok((b'p', 5)));
        assert_eq!(message_head(*b"p\0\0\0\x0e", 10), Ok((b'p', 15)));
        for bad in [*b"p\0\0\0\x03", *b"p\0\0\0\0", *b"p\0\0\0\x0f", *b"p\xff\xff\xff\xff"] {
            assert_eq!(message_head(bad, 10), Err(PacketError::Message));
        }
    }

    #[test]
    fn cancel_keys_are_up_to_256_bytes() {
        let key = |length: usize| {
            let mut body = (-5i32).to_be_bytes().to_vec();
            body.extend(std::iter::repeat_n(7, length));
            parse(&packet(CANCEL_REQUEST, &body))
        };
        for length in [4, 32, 256] {
            match key(length) {
                Ok(Packet::Cancel(key)) => assert_eq!((key.pid, key.secret.len()), (-5, length)),
                Ok(_) | Err(_) => panic!("{length} bytes refused"),
            }
        }
        assert!(matches!(key(0), Err(PacketError::Cancel)));
        assert!(matches!(key(257), Err(PacketError::Cancel)));
        assert!(matches!(parse(&packet(CANCEL_REQUEST, b"abc")), Err(PacketError::Cancel)));
    }

    #[test]
    fn options_are_split_as_postgresql_does() {
        let pairs = |list: &[(&str, &str)]| {
            Ok(list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>())
        };
        assert_eq!(parse_options(""), pairs(&[]));
        assert_eq!(parse_options("  -c a=1 -cb=2\t--work-mem=3 "), pairs(&[("a", "1"), ("b", "2"), ("work_mem", "3")]));
        assert_eq!(
            parse_options(r"-c search_path=a,\ b -c x=\\\' -c y="),
            pairs(&[("search_path", "a, b"), ("x", r"\'"), ("y", "")])
        );
        assert_eq!(parse_options(r"-c a=b\"), pairs(&[("a", "b")]));
        assert_eq!(parse_options("-c a=b=c"), pairs(&[("a", "b=c")]));
        for refused in ["-c", "-c a", "--a", "-e", "a=b", "-", "--", "-c =x", "-d 5", "\\"] {
            assert!(parse_options(refused).is_err(), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn no_packet_panics(body in proptest::collection::vec(any::<u8>(), 0..300), code in any::<u32>()) {
            for code in [code, 0x30000 | (code & 0xffff), CANCEL_REQUEST, SSL_REQUEST, GSSENC_REQUEST] {
                let _ = parse(&packet(code, &body));
            }
            let _ = parse(&body);
        }

        #[test]
        fn no_options_panic(options in ".{0,80}", dashed in "[-c=\\\\ a-z]{0,40}") {
            let _ = parse_options(&options);
            let _ = parse_options(&dashed);
        }

        #[test]
        fn escaped_values_come_back(value in "[^\0]{0,40}") {
            let escaped: String = value.chars().flat_map(|c| ['\\', c]).collect();
            let parsed = parse_options(&format!("-c a={escaped}")).unwrap();
            prop_assert_eq!(parsed, vec![("a".to_owned(), value)]);
        }
    }
}
