//! Sockets: the stream of a connection (TCP, Unix, TLS), listeners, TLS of both sides, keepalive.
//!
//! Knows bytes and handshakes, no messages of the PostgreSQL protocol. A [`Stream`] is driven by `poll_read` and
//! `poll_write` alone; nothing here buffers plain bytes across a TLS handshake.

mod inbound;
pub mod listen;
mod stream;
pub mod tls;

pub use inbound::Inbound;
pub use listen::{Listener, bind_tcp, bind_unix};
pub use stream::{Peer, Received, StdStream, Stream};
pub use tls::{TlsInfo, TlsStream};
