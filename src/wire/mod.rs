//! The PostgreSQL frontend/backend protocol, version 3: framing, and the messages that pgwarden itself originates.
//!
//! <https://www.postgresql.org/docs/15/protocol.html>. Imports nothing else of the crate. Every length and count that
//! comes from a peer is checked before it is used; no input panics.

pub mod frame;
pub mod message;
pub mod startup;

/// A protocol version as the startup packet carries it: major in the high half, minor in the low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion(pub u32);

impl ProtocolVersion {
    pub const V3_0: Self = Self(3 << 16);
    pub const V3_2: Self = Self(3 << 16 | 2);
}

/// What a CancelRequest carries: the pid and secret that BackendKeyData gave out (4 bytes in 3.0, up to 256 in 3.2).
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey {
    pub pid: i32,
    pub secret: bytes::Bytes,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelKey").field("pid", &self.pid).finish_non_exhaustive()
    }
}
