//! A network that misbehaves: forwards TCP, and splits, delays, cuts, resets or swallows on the way.
//!
//! The plan of each direction can change at any time; it is read again before every chunk.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

/// One direction's faults.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// Bytes per write, at most; 1 splits at every byte.
    pub chunk: usize,
    /// Pause before each write.
    pub delay: Duration,
    /// After so many bytes of one connection ...
    pub after: u64,
    /// ... this happens to it.
    pub end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both sockets are closed.
    Cut,
    /// Both sockets are reset.
    Reset,
    /// Nothing more gets through; the sockets stay open.
    BlackHole,
}

impl Way {
    /// Forwards faithfully.
    pub fn clear() -> Self {
        Self { chunk: 64 * 1024, delay: Duration::ZERO, after: u64::MAX, end: End::Cut }
    }

    pub fn split(chunk: usize) -> Self {
        Self { chunk, ..Self::clear() }
    }

    pub fn slow(chunk: usize, delay: Duration) -> Self {
        Self { chunk, delay, ..Self::clear() }
    }

    pub fn end_after(bytes: u64, end: End) -> Self {
        Self { after: bytes, end, ..Self::clear() }
    }
}

/// A forwarder to one address.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    to_server: Mutex<Way>,
    to_client: Mutex<Way>,
    bytes_to_server: AtomicU64,
    bytes_to_client: AtomicU64,
    stop: AtomicBool,
    connections: Mutex<Vec<Weak<Connection>>>,
}

/// Both sockets, each with one handle, so that the last one to go closes it.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    ended: AtomicBool,
}

impl Connection {
    fn end(&self, end: End) {
        let sockets = [&self.client, &self.server];
        match end {
            End::Cut => sockets.map(|socket| socket.shutdown(Shutdown::Both).is_ok()),
            End::Reset => {
                self.ended.store(true, Ordering::SeqCst);
                // Closing with data or without sends a reset now; shutting the reading side says nothing to the peer, but
                // wakes the forwarders, which then close.
                sockets.map(|socket| {
                    let reset = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
                    reset.is_ok() && socket.shutdown(Shutdown::Read).is_ok()
                })
            }
            End::BlackHole => [true, true],
        };
    }
}

#[derive(Clone, Copy)]
enum Direction {
    ToServer,
    ToClient,
}

impl FaultProxy {
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
        let address = listener.local_addr().expect("own address");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            to_server: Mutex::new(Way::clear()),
            to_client: Mutex::new(Way::clear()),
            bytes_to_server: AtomicU64::new(0),
            bytes_to_client: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            connections: Mutex::new(Vec::new()),
        });
        let accepting = shared.clone();
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn to_server(&self, way: Way) {
        *self.shared.to_server.lock().expect("no panic under the lock") = way;
    }

    pub fn to_client(&self, way: Way) {
        *self.shared.to_client.lock().expect("no panic under the lock") = way;
    }

    /// Where new connections go; an address that nobody listens on resets them.
    pub fn retarget(&self, target: SocketAddr) {
        *self.shared.target.lock().expect("no panic under the lock") = target;
    }

    /// Bytes forwarded so far: to the server, to the client.
    pub fn bytes(&self) -> (u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        (load(&self.shared.bytes_to_server), load(&self.shared.bytes_to_client))
    }

    /// Ends every connection there is.
    pub fn end_all(&self, end: End) {
        let connections = std::mem::take(&mut *self.shared.connections.lock().expect("no panic under the lock"));
        connections.iter().filter_map(Weak::upgrade).for_each(|connection| connection.end(end));
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.end_all(End::Cut);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        let target = *shared.target.lock().expect("no panic under the lock");
        let Ok(server) = TcpStream::connect(target) else {
            let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
            continue;
        };
        let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
        let connection = Arc::new(Connection { client, server, ended: AtomicBool::new(false) });
        {
            let mut connections = shared.connections.lock().expect("no panic under the lock");
            connections.retain(|connection| connection.strong_count() > 0);
            connections.push(Arc::downgrade(&connection));
        }
        for direction in [Direction::ToServer, Direction::ToClient] {
            let (connection, shared) = (connection.clone(), shared.clone());
            thread::spawn(move || forward(&connection, &shared, direction));
        }
    }
}

fn forward(connection: &Connection, shared: &Shared, direction: Direction) {
    let (mut from, mut to, way, counter) = match direction {
        Direction::ToServer => (&connection.client, &connection.server, &shared.to_server, &shared.bytes_to_server),
        Direction::ToClient => (&connection.server, &connection.client, &shared.to_client, &shared.bytes_to_client),
    };
    let mut buffer = vec![0; 64 * 1024];
    let mut forwarded = 0_u64;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(count @ 1..) => count,
            Ok(0) | Err(_) => {
                if !connection.ended.load(Ordering::SeqCst) {
                    let _ = to.shutdown(Shutdown::Write);
                }
                return;
            }
        };
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let plan = way.lock().expect("no panic under the lock").clone();
            let left = plan.after.saturating_sub(forwarded);
            if left == 0 && plan.end == End::BlackHole {
                // Swallows what is there; the peer's own end is not passed on either.
                rest = &[];
                connection.ended.store(true, Ordering::SeqCst);
                continue;
            }
            if left == 0 {
                return connection.end(plan.end);
            }
            thread::sleep(plan.delay);
            let take = rest.len().min(plan.chunk.max(1)).min(usize::try_from(left).unwrap_or(usize::MAX));
            if to.write_all(&rest[..take]).is_err() {
                return connection.end(End::Cut);
            }
            forwarded += take as u64;
            counter.fetch_add(take as u64, Ordering::SeqCst);
            rest = &rest[take..];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::{Login, cluster, database, direct, say};
    use super::*;

    fn through(fault: &FaultProxy) -> Login {
        Login { address: fault.address().into(), ..direct(&database()) }
    }

    #[test]
    fn a_login_and_a_query_survive_a_split_at_every_byte() {
        let fault = FaultProxy::start(cluster().address());
        fault.to_server(Way::split(1));
        fault.to_client(Way::split(1));
        assert_eq!(through(&fault).connect().query("select 7").value(), "7");
        assert!(fault.bytes().0 > 0 && fault.bytes().1 > 0);
    }

    #[test]
    fn connections_end_where_the_plan_says() {
        let fault = FaultProxy::start(cluster().address());
        let login = through(&fault);
        fault.to_client(Way::end_after(3, End::Cut));
        let mut wire = login.dial().expect("connect");
        wire.send(&login.startup());
        assert_eq!(wire.try_read().expect_err("three bytes are no message").kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(fault.bytes().1, 3);

        fault.to_client(Way::clear());
        let mut wire = login.connect();
        fault.to_client(Way::end_after(0, End::Cut));
        wire.send(&say::query("select 1"));
        assert!(wire.try_read().expect("an end between messages").is_none());

        fault.to_client(Way::clear());
        let mut wire = login.connect();
        fault.end_all(End::Reset);
        assert_eq!(wire.try_read().expect_err("no clean end").kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_black_hole_is_silent() {
        let fault = FaultProxy::start(cluster().address());
        let mut wire = through(&fault).connect();
        fault.to_client(Way::end_after(0, End::BlackHole));
        wire.send(&say::query("select 1"));
        assert!(wire.silent_for(Duration::from_millis(200)));
    }
}
