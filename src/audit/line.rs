//! A connection to a receiver of records: TCP, TLS or a Unix socket, with a limit on every wait.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use socket2::{SockRef, TcpKeepalive};

use crate::config::SinkTo;
use crate::net::tls;

/// Bytes both ways, and what came that is no whole line yet.
pub(super) struct Line {
    carrier: Carrier,
    inbox: Vec<u8>,
}

enum Carrier {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
}

/// For a connection, and for an answer to it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// For a receiver that takes nothing.
const STALLED: Duration = Duration::from_secs(60);

/// No line of a receiver is longer.
const LINE_MAX: usize = 64;

impl Line {
    /// `ca`: roots for TLS, the public ones without it.
    pub fn open(to: &SinkTo, ca: Option<&Path>) -> io::Result<Self> {
        let carrier = match to {
            SinkTo::Tcp { host, port } => Carrier::Tcp(connect(host, *port)?),
            SinkTo::Tls { host, port } => {
                let config = tls::verifying(ca).map_err(io::Error::other)?;
                let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
                let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
                let mut stream = StreamOwned::new(session, connect(host, *port)?);
                stream.sock.set_read_timeout(Some(PATIENCE))?;
                let until = Instant::now() + PATIENCE;
                while stream.conn.is_handshaking() {
                    if Instant::now() > until {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                Carrier::Tls(Box::new(stream))
            }
            SinkTo::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(STALLED))?;
                Carrier::Unix(stream)
            }
        };
        Ok(Self { carrier, inbox: Vec::new() })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = match &mut self.carrier {
            Carrier::Tcp(stream) => stream.write_all(bytes),
            Carrier::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Carrier::Unix(stream) => stream.write_all(bytes),
        };
        written.map_err(|error| if is_timeout(&error) { io::ErrorKind::TimedOut.into() } else { error })
    }

    /// The next line that the receiver sent, without its end; waits so long for one.
    pub fn receive(&mut self, wait: Duration) -> io::Result<Option<String>> {
        let until = Instant::now() + wait;
        loop {
            let end = memchr::memchr(b'\n', &self.inbox);
            if end.unwrap_or(self.inbox.len()) > LINE_MAX {
                return Err(malformed());
            }
            if let Some(end) = end {
                let line: Vec<u8> = self.inbox.drain(..=end).collect();
                let line = String::from_utf8(line).map_err(|_| malformed())?;
                return Ok(Some(line.trim_end().to_owned()));
            }
            let left = until.saturating_duration_since(Instant::now());
            let mut bytes = [0; 512];
            match self.read(&mut bytes, left.max(Duration::from_millis(1))) {
                Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
                Ok(count) => self.inbox.extend_from_slice(&bytes[..count]),
                Err(error) if is_timeout(&error) && left.is_zero() => return Ok(None),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, bytes: &mut [u8], wait: Duration) -> io::Result<usize> {
        match &mut self.carrier {
            Carrier::Tcp(stream) => {
                stream.set_read_timeout(Some(wait))?;
                stream.read(bytes)
            }
            Carrier::Tls(stream) => {
                stream.sock.set_read_timeout(Some(wait))?;
                stream.read(bytes)
            }
            Carrier::Unix(stream) => {
                stream.set_read_timeout(Some(wait))?;
                stream.read(bytes)
            }
        }
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(STALLED))?;
                let probes = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(PATIENCE);
                SockRef::from(&stream).set_tcp_keepalive(&probes)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A silent peer is probed after so long.
const KEEPALIVE: Duration = Duration::from_secs(30);

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the receiver sent what is no line of the protocol")
}
