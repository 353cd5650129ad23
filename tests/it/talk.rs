//! A client of bare protocol messages, whose answers read as one line of text.
//!
//! Tests of the data path must be exact about how many replies come and in which order. So a test writes the messages
//! itself, and compares one line: `1 2 D(7) C(SELECT 1) Z(I)`. Each reply is its tag; what matters of its body stands in
//! brackets: the SQLSTATE of an error or notice, the values of a row (`~` is NULL, long ones are `<length>`), the
//! command tag, the transaction status, the columns' names. Every read has a deadline, so that nothing can hang.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use crate::kit::say;
pub use crate::kit::say::{
    cancel, close_portal, close_statement, copy_data, copy_done, copy_fail, describe_portal, describe_statement,
    execute, flush, function_call, gss_request as gssenc_request, message, query, ssl_request, sync, terminate,
};
use crate::kit::wire::V3_0;

/// Longest wait for any one reply. Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub tag: u8,
    pub body: Vec<u8>,
}

/// How a conversation that need not make sense came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Ready,
    Closed,
    Hangs,
}

/// A connection that has sent its startup packet, or not yet.
pub struct Talk {
    stream: TcpStream,
    inbox: Vec<u8>,
    start: usize,
    /// From BackendKeyData.
    pub pid: i32,
    pub secret: Vec<u8>,
    /// Last value of each ParameterStatus.
    pub parameters: BTreeMap<String, String>,
    /// Fields of the last ErrorResponse.
    pub error: BTreeMap<u8, String>,
    pub patience: Duration,
    drip: bool,
}

impl Talk {
    /// Opens a socket and sends nothing.
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|e| panic!("connect to {address}: {e}"))
    }

    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::over(stream))
    }

    /// Takes a socket as it is.
    pub fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            inbox: Vec::new(),
            start: 0,
            pid: 0,
            secret: Vec::new(),
            parameters: BTreeMap::new(),
            error: BTreeMap::new(),
            patience: PATIENCE,
            drip: false,
        }
    }

    /// Logs in by trust, SCRAM-SHA-256 or a clear password.
    pub fn login(address: SocketAddr, pairs: &[(&str, &str)], password: &str) -> Self {
        let mut talk = Self::open(address);
        talk.send(&startup(pairs));
        talk.authenticate(password).unwrap_or_else(|e| panic!("login with {pairs:?}: {e}"));
        talk
    }

    /// From behind the startup packet to the first ReadyForQuery; gives the transcript or the error's.
    pub fn authenticate(&mut self, password: &str) -> Result<String, String> {
        let mut said = String::new();
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let reply = self.try_reply().map_err(|e| format!("{said} ({e})"))?;
            describe(&reply, &mut said);
            match (reply.tag, &reply.body[..]) {
                (b'E', _) => return Err(said),
                (b'Z', _) => return Ok(said),
                (b'R', [0, 0, 0, 10, ..]) => {
                    let first = scram.message();
                    let length = u32::try_from(first.len()).expect("short").to_be_bytes();
                    let answer = [b"SCRAM-SHA-256\0", &length[..], first].concat();
                    self.try_send(&message(b'p', &answer)).map_err(|e| format!("{said} ({e})"))?;
                }
                (b'R', [0, 0, 0, 11, challenge @ ..]) => {
                    scram.update(challenge).map_err(|e| format!("{said} ({e})"))?;
                    let answer = message(b'p', scram.message());
                    self.try_send(&answer).map_err(|e| format!("{said} ({e})"))?;
                }
                (b'R', [0, 0, 0, 12, proof @ ..]) => scram.finish(proof).map_err(|e| format!("{said} ({e})"))?,
                (b'R', [0, 0, 0, 3]) => {
                    let answer = message(b'p', &[password.as_bytes(), &[0]].concat());
                    self.try_send(&answer).map_err(|e| format!("{said} ({e})"))?;
                }
                _ => {}
            }
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the peer reads what we send");
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.drip {
            false => self.stream.write_all(bytes),
            true => bytes.chunks(1).try_for_each(|byte| self.stream.write_all(byte)),
        }
    }

    /// Sends messages in one write.
    pub fn say<M: AsRef<[u8]>>(&mut self, messages: &[M]) {
        let bytes: Vec<u8> = messages.iter().flat_map(|m| m.as_ref().iter().copied()).collect();
        self.send(&bytes);
    }

    /// Sends messages in one write, and reads up to the first ReadyForQuery.
    #[track_caller]
    pub fn ask<M: AsRef<[u8]>>(&mut self, messages: &[M]) -> String {
        self.say(messages);
        self.until_ready(1)
    }

    /// One Query, up to its ReadyForQuery.
    #[track_caller]
    pub fn query(&mut self, sql: &str) -> String {
        self.ask(&[query(sql)])
    }

    /// The only value of the only row of a query.
    #[track_caller]
    pub fn value(&mut self, sql: &str) -> String {
        self.say(&[query(sql)]);
        let mut value = None;
        loop {
            let reply = self.reply();
            match reply.tag {
                b'D' => {
                    assert!(value.is_none(), "{sql}: more than one row");
                    let values = row(&reply.body);
                    value = Some(match values.first().expect("one column") {
                        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                        None => "~".into(),
                    });
                }
                b'E' => panic!("{sql}: {:?}", self.error),
                b'Z' => return value.unwrap_or_else(|| panic!("{sql}: no row")),
                _ => {}
            }
        }
    }

    /// The transcript up to the `count`-th ReadyForQuery.
    #[track_caller]
    pub fn until_ready(&mut self, count: usize) -> String {
        self.until(b'Z', count)
    }

    /// The transcript up to the `count`-th reply with this tag.
    #[track_caller]
    pub fn until(&mut self, tag: u8, count: usize) -> String {
        let mut said = String::new();
        let mut seen = 0;
        while seen < count {
            let reply = match self.try_reply() {
                Ok(reply) => reply,
                Err(e) => panic!("waiting for {:?} number {} after: {said}: {e}", tag as char, seen + 1),
            };
            describe(&reply, &mut said);
            seen += usize::from(reply.tag == tag);
        }
        said
    }

    /// The transcript up to the end of the connection.
    #[track_caller]
    pub fn until_closed(&mut self) -> String {
        let mut said = String::new();
        loop {
            match self.try_reply() {
                Ok(reply) => describe(&reply, &mut said),
                Err(e) if is_timeout(&e) => panic!("not closed after: {said}: {e}"),
                Err(_) => return said,
            }
        }
    }

    /// The transcript up to a reply whose transcript starts with this, or to the end of the connection.
    #[track_caller]
    pub fn until_closed_or(&mut self, start: &str) -> String {
        let mut said = String::new();
        loop {
            let from = said.len();
            match self.try_reply() {
                Ok(reply) => describe(&reply, &mut said),
                Err(e) if is_timeout(&e) => panic!("neither closed nor {start} after: {said}: {e}"),
                Err(_) => return said,
            }
            if said[from..].trim_start().starts_with(start) {
                return said;
            }
        }
    }

    /// The transcript up to the `count`-th ReadyForQuery, or to the end of the connection or of our patience.
    pub fn try_until_ready_times(&mut self, count: usize) -> String {
        let (mut said, mut seen) = (String::new(), 0);
        while seen < count {
            match self.try_reply() {
                Ok(reply) => {
                    describe(&reply, &mut said);
                    seen += usize::from(reply.tag == b'Z');
                }
                Err(e) => {
                    let _ = write!(said, " ({e})");
                    break;
                }
            }
        }
        said
    }

    /// Reads away what comes until a reply with this tag, or the end; bytes that are no message count as the end.
    pub fn settle(&mut self, tag: u8) -> Settled {
        loop {
            match self.try_reply() {
                Ok(reply) if reply.tag == tag => return Settled::Ready,
                Ok(_) => {}
                Err(e) if is_timeout(&e) => return Settled::Hangs,
                Err(_) => return Settled::Closed,
            }
        }
    }

    /// The transcript up to a ReadyForQuery or to the end of the connection.
    #[track_caller]
    pub fn try_until_ready(&mut self) -> String {
        self.until_closed_or("Z(")
    }

    /// A query's whole answer: values in full, one row a line, or the error's code.
    #[track_caller]
    pub fn full_answer(&mut self, sql: &str) -> String {
        self.say(&[query(sql)]);
        let mut answer = String::new();
        loop {
            let reply = self.reply();
            match reply.tag {
                b'D' => {
                    let values = row(&reply.body).into_iter();
                    let values: Vec<_> =
                        values.map(|v| v.map_or("~".into(), |v| String::from_utf8_lossy(&v).into_owned())).collect();
                    answer.push_str(&values.join(" | "));
                    answer.push('\n');
                }
                b'T' | b'C' => {}
                b'Z' => {
                    assert_eq!(reply.body, b"I", "{sql}: {answer}");
                    return answer;
                }
                _ => {
                    describe(&reply, &mut answer);
                    answer.push('\n');
                }
            }
        }
    }

    /// A query's rows by their columns' names.
    #[track_caller]
    pub fn table(&mut self, sql: &str) -> Vec<BTreeMap<String, String>> {
        self.say(&[query(sql)]);
        let (mut names, mut rows) = (Vec::new(), Vec::new());
        loop {
            let reply = self.reply();
            match reply.tag {
                b'T' => names = columns(&reply.body),
                b'D' => {
                    let values = row(&reply.body).into_iter();
                    let values = values.map(|v| String::from_utf8_lossy(&v.unwrap_or_default()).into_owned());
                    rows.push(names.iter().cloned().zip(values).collect());
                }
                b'E' => panic!("{sql}: {:?}", self.error),
                b'Z' => return rows,
                _ => {}
            }
        }
    }

    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        self.try_reply().unwrap_or_else(|e| panic!("no reply: {e}"))
    }

    /// The next message; an error is the end of the connection or of our patience.
    pub fn try_reply(&mut self) -> io::Result<Reply> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(reply) = self.take()? {
                self.note(&reply);
                return Ok(reply);
            }
            self.fill(deadline)?;
        }
    }

    /// Reads raw bytes (before any message, as the answer to SSLRequest).
    pub fn raw(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + self.patience;
        while self.inbox.len() - self.start < count {
            self.fill(deadline)?;
        }
        let bytes = self.inbox[self.start..self.start + count].to_vec();
        self.start += count;
        Ok(bytes)
    }

    /// Whatever bytes come until the connection ends.
    #[track_caller]
    pub fn raw_until_closed(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.fill(deadline) {
                Ok(()) => {}
                Err(e) if is_timeout(&e) => panic!("not closed after {:?}", &self.inbox[self.start..]),
                Err(_) => return self.inbox.split_off(self.start),
            }
        }
    }

    /// Whatever bytes come until the connection ends or there are so many of them or so much time has gone.
    pub fn raw_up_to(&mut self, count: usize, time: Duration) -> Vec<u8> {
        let deadline = Instant::now() + time;
        while self.inbox.len() - self.start < count && self.fill(deadline).is_ok() {}
        self.inbox.split_off(self.start)
    }

    /// From now on every byte is a write of its own.
    pub fn drip(&mut self, drip: bool) {
        self.drip = drip;
    }

    /// True when nothing comes for this long. A negative check: it can only err on the kind side.
    pub fn is_quiet_for(&mut self, time: Duration) -> bool {
        if self.start < self.inbox.len() {
            return false;
        }
        match self.fill(Instant::now() + time) {
            Ok(()) => false,
            Err(e) => is_timeout(&e),
        }
    }

    /// Ends the connection with a reset, as a killed machine would.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("linger can be set");
    }

    /// Says no more, but still reads.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// A second handle on the same socket, for a thread that writes while this one reads.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a socket can be cloned")
    }

    /// The CancelRequest for this session.
    pub fn cancel_request(&self) -> Vec<u8> {
        cancel(self.pid, &self.secret)
    }

    fn take(&mut self) -> io::Result<Option<Reply>> {
        let bytes = &self.inbox[self.start..];
        if bytes.len() < 5 {
            return Ok(None);
        }
        let length = u32::from_be_bytes(bytes[1..5].try_into().expect("four bytes")) as usize;
        if !(4..=1 << 30).contains(&length) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{:?} of length {length}", bytes[0] as char),
            ));
        }
        if bytes.len() < 1 + length {
            return Ok(None);
        }
        let reply = Reply { tag: bytes[0], body: bytes[5..1 + length].to_vec() };
        self.start += 1 + length;
        if self.start == self.inbox.len() {
            self.inbox.clear();
            self.start = 0;
        } else if self.start > 1 << 20 {
            self.inbox.drain(..self.start);
            self.start = 0;
        }
        Ok(Some(reply))
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left))?;
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the peer")),
            n => {
                self.inbox.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }

    fn note(&mut self, reply: &Reply) {
        match reply.tag {
            b'K' => {
                self.pid = i32::from_be_bytes(reply.body[..4].try_into().expect("BackendKeyData holds a pid"));
                self.secret = reply.body[4..].to_vec();
            }
            b'S' => {
                let mut parts = reply.body.split(|b| *b == 0).map(|p| String::from_utf8_lossy(p).into_owned());
                self.parameters.insert(parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            }
            b'E' => self.error = fields(&reply.body),
            _ => {}
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Fields of an ErrorResponse or NoticeResponse by their letter.
pub fn fields(body: &[u8]) -> BTreeMap<u8, String> {
    body.split(|b| *b == 0)
        .filter(|field| !field.is_empty())
        .map(|field| (field[0], String::from_utf8_lossy(&field[1..]).into_owned()))
        .collect()
}

/// Values of a DataRow.
pub fn row(body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let count = u16::from_be_bytes([body[0], body[1]]);
    let mut at = 2;
    let mut values = Vec::new();
    for _ in 0..count {
        let length = i32::from_be_bytes(body[at..at + 4].try_into().expect("four bytes"));
        at += 4;
        values.push(match usize::try_from(length) {
            Ok(length) => {
                at += length;
                Some(body[at - length..at].to_vec())
            }
            Err(_) => None,
        });
    }
    assert_eq!(at, body.len(), "a DataRow ends with its last value");
    values
}

/// Appends one reply to a transcript.
pub fn describe(reply: &Reply, to: &mut String) {
    if !to.is_empty() {
        to.push(' ');
    }
    to.push(reply.tag as char);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').replace('\0', "=");
    let inside = match reply.tag {
        b'C' | b'S' | b'Z' | b'd' => short(&text(&reply.body)),
        b'E' | b'N' => fields(&reply.body).remove(&b'C').unwrap_or_default(),
        b'D' => row(&reply.body)
            .into_iter()
            .map(|value| value.map_or("~".into(), |v| short(&String::from_utf8_lossy(&v))))
            .collect::<Vec<_>>()
            .join(","),
        b'T' => columns(&reply.body).join(","),
        b't' => reply.body[2..]
            .chunks(4)
            .map(|oid| u32::from_be_bytes(oid.try_into().expect("whole oids")).to_string())
            .collect::<Vec<_>>()
            .join(","),
        b'A' => text(&reply.body[4..]),
        b'R' => reply.body[3].to_string(),
        _ => return,
    };
    let _ = write!(to, "({inside})");
}

fn short(text: &str) -> String {
    if text.len() > 100 { format!("<{}>", text.len()) } else { text.into() }
}

fn columns(body: &[u8]) -> Vec<String> {
    let count = u16::from_be_bytes([body[0], body[1]]);
    let mut rest = &body[2..];
    let mut names = Vec::new();
    for _ in 0..count {
        let end = rest.iter().position(|b| *b == 0).expect("a column's name ends");
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = &rest[end + 19..];
    }
    names
}

/// StartupMessage 3.0.
pub fn startup(pairs: &[(&str, &str)]) -> Vec<u8> {
    say::startup(V3_0, pairs)
}

pub fn startup_version(version: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
    say::startup(version, pairs)
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    say::parse(name, sql, &[])
}

pub fn parse_typed(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    say::parse(name, sql, types)
}

/// Text parameters, text results.
pub fn bind(portal: &str, statement: &str, values: &[Option<&str>]) -> Vec<u8> {
    let values: Vec<_> = values.iter().map(|value| value.map(str::as_bytes)).collect();
    say::bind(portal, statement, &values)
}

/// Parse, Bind and Execute of the unnamed statement, without Sync.
pub fn run(sql: &str, values: &[Option<&str>]) -> Vec<u8> {
    [parse("", sql), bind("", "", values), execute("", 0)].concat()
}

/// Bind and Execute of a named statement, without Sync.
pub fn again(name: &str, values: &[Option<&str>]) -> Vec<u8> {
    [bind("", name, values), execute("", 0)].concat()
}
