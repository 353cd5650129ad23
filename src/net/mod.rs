//! Sockets: the stream of a connection (TCP, Unix, TLS), listeners, TLS of both sides, keepalive.
//!
//! Knows bytes and handshakes, no messages of the PostgreSQL protocol.
