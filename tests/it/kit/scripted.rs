//! A hostile or peculiar server: accepts connections and plays a script on each.
//!
//! The script is a function over a [`Session`]; `?` on its reads and writes ends the session when the peer goes away, which is
//! no failure. A panic in a script is: the test fails when the server is dropped.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Message, PATIENCE};

pub struct ScriptedServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    sessions: Arc<Mutex<Vec<JoinHandle<()>>>>,
    acceptor: Option<JoinHandle<()>>,
}

impl ScriptedServer {
    /// Plays the script on every connection; its number counts from 0.
    pub fn start(script: impl Fn(&mut Session) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
        let address = listener.local_addr().expect("own address");
        let stop = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicUsize::new(0));
        let sessions = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(script);
        let acceptor = thread::spawn({
            let (stop, accepted, sessions) = (stop.clone(), accepted.clone(), sessions.clone());
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let number = accepted.fetch_add(1, Ordering::SeqCst);
                    let script = script.clone();
                    let session = thread::spawn(move || {
                        let mut session = Session::new(stream, number);
                        // The peer's end is not ours to judge; the test sees it on its own side.
                        let _ = script(&mut session);
                    });
                    sessions.lock().expect("no panic under the lock").push(session);
                }
            }
        });
        Self { address, stop, accepted, sessions, acceptor: Some(acceptor) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        // A script that still waits for its peer is left behind; one that has ended must have ended well.
        let sessions = std::mem::take(&mut *self.sessions.lock().expect("no panic under the lock"));
        let failed = sessions.into_iter().filter(JoinHandle::is_finished);
        let failures = failed.filter_map(|session| session.join().err()).count();
        if failures > 0 && !thread::panicking() {
            panic!("{failures} session(s) of the scripted server failed; see the output above");
        }
    }
}

/// One connection to the scripted server.
pub struct Session {
    stream: TcpStream,
    /// Which connection this is, from 0.
    pub number: usize,
}

impl Session {
    fn new(stream: TcpStream, number: usize) -> Self {
        stream.set_nodelay(true).expect("set nodelay");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        Self { stream, number }
    }

    /// Takes the startup packet, declining encryption; its body (version and parameters).
    pub fn startup(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let body = self.untagged()?;
            match body.get(..4).map(|code| u32::from_be_bytes([code[0], code[1], code[2], code[3]])) {
                Some(80_877_103 | 80_877_104) => self.send(b"N")?,
                _ => return Ok(body),
            }
        }
    }

    /// A whole login without a password: startup, AuthenticationOk, the usual parameters, key 1/2, ready. A CancelRequest
    /// ends the session with an error, as the peer's going away does.
    pub fn login(&mut self) -> io::Result<Vec<u8>> {
        let startup = self.startup()?;
        if startup.get(..4) == Some(&80_877_102_u32.to_be_bytes()) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.greet(1, &[0, 0, 0, 2])?;
        Ok(startup)
    }

    /// The answer to a startup packet of one who needs no password, with this key for cancels.
    pub fn greet(&mut self, pid: i32, secret: &[u8; 4]) -> io::Result<()> {
        let mut greeting = answer::authentication_ok();
        for (name, value) in PARAMETERS {
            greeting.extend(answer::parameter_status(name, value));
        }
        greeting.extend(answer::backend_key(pid, secret));
        greeting.extend(answer::ready(b'I'));
        self.send(&greeting)
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next message; an error at the end of the stream.
    pub fn read(&mut self) -> io::Result<Message> {
        let mut tag = [0];
        self.stream.read_exact(&mut tag)?;
        Ok(Message { tag: tag[0], body: self.untagged()? })
    }

    /// Reads up to a message with this tag, that included.
    pub fn read_until(&mut self, tag: u8) -> io::Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.read()?);
            if messages.last().is_some_and(|message| message.tag == tag) {
                return Ok(messages);
            }
        }
    }

    /// Answers every Query by the function, until the peer leaves.
    pub fn serve(&mut self, mut respond: impl FnMut(&str) -> Vec<u8>) -> io::Result<()> {
        loop {
            let message = self.read()?;
            match message.tag {
                b'X' => return Ok(()),
                b'Q' => {
                    let text =
                        String::from_utf8_lossy(message.body.strip_suffix(&[0]).unwrap_or(&message.body)).into_owned();
                    self.send(&respond(&text))?;
                }
                other => panic!("a {} where only queries were expected", char::from(other)),
            }
        }
    }

    /// Waits for the peer to close; what it still said.
    pub fn until_closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }

    /// Lets the connection end with a reset, once the script returns.
    pub fn reset(&mut self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    fn untagged(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length).checked_sub(4).ok_or(io::ErrorKind::InvalidData)?;
        let mut body = Vec::new();
        (&mut self.stream).take(length.into()).read_to_end(&mut body)?;
        if body.len() < length as usize { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(body) }
    }
}

/// What PostgreSQL 15 reports at login.
pub const PARAMETERS: [(&str, &str); 13] = [
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("default_transaction_read_only", "off"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("IntervalStyle", "postgres"),
    ("is_superuser", "off"),
    ("server_encoding", "UTF8"),
    ("server_version", "15.0"),
    ("session_authorization", "app"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
];

/// Backend messages, encoded.
pub mod answer {
    use super::super::say::message;

    pub fn authentication_ok() -> Vec<u8> {
        authentication(0, &[])
    }

    pub fn authentication(code: u32, rest: &[u8]) -> Vec<u8> {
        message(b'R', &[&code.to_be_bytes()[..], rest].concat())
    }

    pub fn parameter_status(name: &str, value: &str) -> Vec<u8> {
        message(b'S', format!("{name}\0{value}\0").as_bytes())
    }

    pub fn backend_key(pid: i32, secret: &[u8]) -> Vec<u8> {
        message(b'K', &[&pid.to_be_bytes()[..], secret].concat())
    }

    /// Status: `I`, `T` or `E`.
    pub fn ready(status: u8) -> Vec<u8> {
        message(b'Z', &[status])
    }

    /// Text columns.
    pub fn row_description(columns: &[&str]) -> Vec<u8> {
        let mut body = u16::try_from(columns.len()).expect("few columns").to_be_bytes().to_vec();
        for column in columns {
            body.extend_from_slice(column.as_bytes());
            body.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0]);
            body.extend_from_slice(&25_u32.to_be_bytes());
            body.extend_from_slice(&(-1_i16).to_be_bytes());
            body.extend_from_slice(&(-1_i32).to_be_bytes());
            body.extend_from_slice(&[0, 0]);
        }
        message(b'T', &body)
    }

    pub fn data_row(values: &[&str]) -> Vec<u8> {
        let mut body = u16::try_from(values.len()).expect("few values").to_be_bytes().to_vec();
        for value in values {
            body.extend_from_slice(&u32::try_from(value.len()).expect("short").to_be_bytes());
            body.extend_from_slice(value.as_bytes());
        }
        message(b'D', &body)
    }

    pub fn command_complete(tag: &str) -> Vec<u8> {
        message(b'C', format!("{tag}\0").as_bytes())
    }

    /// A result of one text value, ready included.
    pub fn one_value(value: &str) -> Vec<u8> {
        [row_description(&["value"]), data_row(&[value]), command_complete("SELECT 1"), ready(b'I')].concat()
    }

    pub fn error(severity: &str, sqlstate: &str, text: &str) -> Vec<u8> {
        message(b'E', format!("S{severity}\0V{severity}\0C{sqlstate}\0M{text}\0\0").as_bytes())
    }

    pub fn notice(text: &str) -> Vec<u8> {
        message(b'N', format!("SNOTICE\0VNOTICE\0C00000\0M{text}\0\0").as_bytes())
    }

    pub fn notification(pid: i32, channel: &str, payload: &str) -> Vec<u8> {
        message(b'A', &[&pid.to_be_bytes()[..], format!("{channel}\0{payload}\0").as_bytes()].concat())
    }

    pub fn parse_complete() -> Vec<u8> {
        message(b'1', &[])
    }

    pub fn bind_complete() -> Vec<u8> {
        message(b'2', &[])
    }

    pub fn close_complete() -> Vec<u8> {
        message(b'3', &[])
    }

    pub fn no_data() -> Vec<u8> {
        message(b'n', &[])
    }

    pub fn empty_query() -> Vec<u8> {
        message(b'I', &[])
    }

    pub fn portal_suspended() -> Vec<u8> {
        message(b's', &[])
    }

    /// Text format, one column.
    pub fn copy_in() -> Vec<u8> {
        message(b'G', &[0, 0, 1, 0, 0])
    }

    pub fn copy_out() -> Vec<u8> {
        message(b'H', &[0, 0, 1, 0, 0])
    }
}

#[cfg(test)]
mod tests {
    use super::super::Login;
    use super::*;

    #[test]
    fn the_scripted_server_says_what_its_script_says() {
        let server = ScriptedServer::start(|session| {
            session.login()?;
            session.serve(|sql| answer::one_value(&format!("you said {sql}")))
        });
        let mut wire = Login::new(server.address(), "app", "", "db").connect();
        assert_eq!(wire.parameters["server_version"], "15.0");
        assert_eq!(wire.query("hello").value(), "you said hello");
        wire.terminate();
        assert_eq!(server.accepted(), 1);
    }

    #[test]
    #[should_panic(expected = "scripted server failed")]
    fn a_script_that_fails_fails_the_test() {
        let server = ScriptedServer::start(|_| panic!("as it must"));
        let mut wire = super::super::Wire::tcp(server.address()).expect("connect");
        wire.until_closed();
        super::super::eventually("the script has ended", || {
            server.sessions.lock().expect("no panic under the lock").iter().any(JoinHandle::is_finished)
        });
    }
}
