//! The audit stream as configured.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Secret;

/// `[audit]`: where the records go, how durable they are, and what of a statement's values they may hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// The log's own directory.
    pub directory: PathBuf,
    /// Name of the log in its checkpoints; absent: the key's.
    pub origin: Option<Arc<str>>,
    pub durability: Durability,
    pub on_failure: OnFailure,
    /// Text of the key that signs checkpoints.
    pub key: Secret,
    /// Text of the key that takes over.
    pub next_key: Option<Secret>,
    /// A segment ends when it has so many bytes.
    pub segment_size: u64,
    /// A segment ends when so old; zero: never for its age.
    pub segment_age: Duration,
    /// Finished segments are deleted when so old; zero: never for their age.
    pub retention_age: Duration,
    /// Oldest segments are deleted while the log has more bytes; absent: never for its size.
    pub retention_size: Option<u64>,
    pub shipped: Shipped,
    pub checkpoint_interval: Duration,
    pub checkpoint_records: u64,
    pub checkpoint_copies: Vec<CopyTo>,
    /// Receivers of all records.
    pub sinks: Vec<SinkTo>,
    /// Roots for those with TLS; absent: the public ones.
    pub sinks_ca: Option<PathBuf>,
    /// Bytes of records that may wait for the writer.
    pub queue_size: usize,
    /// What a record says of parameters and literals whose column has no policy of its own.
    pub parameters: Values,
    /// By `schema.table.column`.
    pub columns: BTreeMap<Arc<str>, Values>,
    /// 64 hexadecimal digits; present where anything is hashed.
    pub hash_key: Option<Secret>,
    /// Directory of the tenants' keys under which texts are kept; absent: they are not.
    pub raw_text_keys: Option<PathBuf>,
}

/// What a record has survived when its client hears of the statement's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk.
    Strict,
    /// Nothing, and the client does not wait: it is with the writer, which hands it to the operating system within a
    /// few milliseconds, and to the disk before each checkpoint.
    Group,
    /// Nothing: as `Group`, with less haste.
    Relaxed,
}

/// What becomes of statements while the log cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    Block,
    Refuse,
}

/// What proves that a segment may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shipped {
    /// The file `shipped` in the log's directory holds the first sequence number that is not safe elsewhere yet.
    Marker,
    /// Nothing has to.
    Unneeded,
}

/// Where checkpoints are sent besides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CopyTo {
    /// Appended to the file `checkpoints` there.
    Directory(PathBuf),
    /// Sent by POST: a URL that begins with `http://` or `https://`.
    Http(Arc<str>),
    /// RFC 5424 to a Unix datagram socket.
    SyslogUnix(PathBuf),
    /// RFC 5424 over UDP.
    SyslogUdp(SocketAddr),
}

/// A receiver of records.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SinkTo {
    Tcp {
        host: Arc<str>,
        port: u16,
    },
    /// The receiver's certificate is verified, its name included.
    Tls {
        host: Arc<str>,
        port: u16,
    },
    Unix(PathBuf),
}

/// As the configuration has it.
impl fmt::Display for SinkTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Unix(path) => return write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } => ("tcp", host, port),
            Self::Tls { host, port } => ("tls", host, port),
        };
        if host.contains(':') { write!(f, "{scheme}:[{host}]:{port}") } else { write!(f, "{scheme}:{host}:{port}") }
    }
}

/// What a record says of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// That there was one.
    Omit,
    /// A keyed hash of it.
    Hash,
    /// The value, with what must never be shown taken out.
    Clear,
}
