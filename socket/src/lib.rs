//! SO_RCVLOWAT: how much has to arrive before a socket is reported readable. No library that pgwarden uses offers it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// A socket that does not block is reported readable, to epoll and poll too, when at least `bytes` have arrived, or its end or
/// an error, or when no more has room in it. 1 is the default. Setting it reports the socket anew where enough is there.
///
/// For TCP on Linux since 4.18: see socket(7).
///
/// # Errors
/// The operating system's.
pub fn set_receive_low_water(socket: impl AsFd, bytes: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let length = size_of_val(&value) as libc::socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed and so open, and `value` is a c_int that lives through the call.
    let result = unsafe {
        libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, (&raw const value).cast::<libc::c_void>(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn is_readable(socket: &TcpStream) -> bool {
        let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which lives through the call.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 200) };
        ready == 1 && poll.revents & libc::POLLIN != 0
    }

    #[test]
    fn a_socket_is_readable_when_enough_has_arrived_or_it_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut sender = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let mut receiver = listener.accept().expect("a connection").0;
        set_receive_low_water(&receiver, 1000).expect("set");
        sender.write_all(&[7; 999]).expect("sent");
        assert!(!is_readable(&receiver));
        sender.write_all(&[7]).expect("sent");
        assert!(is_readable(&receiver));
        let mut bytes = [0; 4000];
        assert_eq!(receiver.read(&mut bytes).expect("read"), 1000);
        sender.write_all(&[7; 5]).expect("sent");
        assert!(!is_readable(&receiver));
        set_receive_low_water(&receiver, 1).expect("set");
        assert!(is_readable(&receiver), "it is reported anew");
        assert_eq!(receiver.read(&mut bytes).expect("read"), 5);
        set_receive_low_water(&receiver, 1000).expect("set");
        drop(sender);
        assert!(is_readable(&receiver), "an end is reported at once");
    }
}
