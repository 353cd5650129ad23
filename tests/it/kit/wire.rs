//! A raw protocol client: says exactly the bytes a test wants, reads message by message, hides nothing.
//!
//! Reads have a deadline ([`PATIENCE`], or [`Wire::patience`]): a hang fails the test, it does not stop the run.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use postgres_protocol::authentication::{md5_hash, sasl};

use super::PATIENCE;

/// Protocol 3.0 and 3.2, as the startup packet has them.
pub const V3_0: u32 = 196_608;
pub const V3_2: u32 = 196_610;

/// One message from the server: its tag and its body, without the length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

/// A byte stream whose reads can be bounded.
pub trait Stream: Read + Write + Send {
    fn bound_reads(&self, patience: Duration) -> io::Result<()>;
    /// Ends our direction, as a client that has no more to say.
    fn end_writes(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn bound_reads(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
    fn end_writes(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for UnixStream {
    fn bound_reads(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
    fn end_writes(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    /// The socket itself, not its directory.
    Unix(PathBuf),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// Where to and as whom.
#[derive(Debug, Clone)]
pub struct Login {
    pub address: Address,
    pub user: String,
    pub password: String,
    pub database: String,
    pub protocol: u32,
    /// Further startup parameters.
    pub parameters: Vec<(String, String)>,
}

impl Login {
    pub fn new(address: impl Into<Address>, user: &str, password: &str, database: &str) -> Self {
        let (user, password, database) = (user.to_owned(), password.to_owned(), database.to_owned());
        Self { address: address.into(), user, password, database, protocol: V3_0, parameters: Vec::new() }
    }

    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn protocol(mut self, version: u32) -> Self {
        self.protocol = version;
        self
    }

    pub fn database(mut self, name: &str) -> Self {
        name.clone_into(&mut self.database);
        self
    }

    /// The startup packet.
    pub fn startup(&self) -> Vec<u8> {
        let mut parameters = vec![("user", self.user.as_str()), ("database", self.database.as_str())];
        parameters.extend(self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        say::startup(self.protocol, &parameters)
    }

    /// A connection with nothing said yet.
    pub fn dial(&self) -> io::Result<Wire> {
        match &self.address {
            Address::Tcp(address) => Wire::tcp(*address),
            Address::Unix(path) => Wire::over(UnixStream::connect(path)?),
        }
    }

    /// Logs in up to the first ReadyForQuery; the server's refusal, where it refuses.
    pub fn try_connect(&self) -> Result<Wire, ServerError> {
        let mut wire = self.dial().expect("connect");
        wire.send(&self.startup());
        wire.authenticate(&self.user, &self.password)?;
        Ok(wire)
    }

    #[track_caller]
    pub fn connect(&self) -> Wire {
        match self.try_connect() {
            Ok(wire) => wire,
            Err(error) => panic!("the login was refused: {error:?}"),
        }
    }

    /// Asks to cancel what the connection with this key runs; returns when the other side has closed.
    pub fn cancel(&self, key: &CancelKey) {
        let mut wire = self.dial().expect("connect");
        wire.send(&say::cancel(key.pid, &key.secret));
        // PostgreSQL closes without an answer, or resets when it closes first.
        let _ = wire.try_read();
    }
}

/// BackendKeyData.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelKey {
    pub pid: i32,
    pub secret: Vec<u8>,
}

/// An ErrorResponse or NoticeResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    pub severity: String,
    pub sqlstate: String,
    pub message: String,
    /// All fields by their letter.
    pub fields: BTreeMap<char, String>,
}

impl ServerError {
    fn parse(body: &[u8]) -> Self {
        let mut fields = BTreeMap::new();
        for field in body.split(|byte| *byte == 0).filter(|field| !field.is_empty()) {
            fields.insert(char::from(field[0]), String::from_utf8_lossy(&field[1..]).into_owned());
        }
        let field = |letter| fields.get(&letter).cloned().unwrap_or_default();
        Self { severity: field('S'), sqlstate: field('C'), message: field('M'), fields }
    }
}

impl Message {
    /// The error's fields, where this is an ErrorResponse or a NoticeResponse.
    pub fn error(&self) -> Option<ServerError> {
        matches!(self.tag, b'E' | b'N').then(|| ServerError::parse(&self.body))
    }

    /// A DataRow's values.
    #[track_caller]
    pub fn row(&self) -> Vec<Option<Vec<u8>>> {
        assert_eq!(self.tag, b'D', "{self:?}");
        let mut at = 2;
        let count = u16::from_be_bytes([self.body[0], self.body[1]]);
        (0..count)
            .map(|_| {
                let length = i32::from_be_bytes(self.body[at..at + 4].try_into().expect("four bytes"));
                at += 4;
                let length = usize::try_from(length).ok()?;
                at += length;
                Some(self.body[at - length..at].to_vec())
            })
            .collect()
    }

    /// The name and value of a ParameterStatus.
    pub fn parameter(&self) -> Option<(String, String)> {
        (self.tag == b'S').then(|| {
            let mut parts = self.body.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
        })
    }
}

/// All messages up to a ReadyForQuery, that included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(pub Vec<Message>);

impl Reply {
    /// The tags in order, without asynchronous ones (ParameterStatus, notices, notifications): `TDDCZ`.
    pub fn tags(&self) -> String {
        self.0.iter().map(|message| char::from(message.tag)).filter(|tag| !"SNA".contains(*tag)).collect()
    }

    /// The tags of everything that came.
    pub fn all_tags(&self) -> String {
        self.0.iter().map(|message| char::from(message.tag)).collect()
    }

    /// Rows of all results, values as text; NULL is `None`.
    pub fn rows(&self) -> Vec<Vec<Option<String>>> {
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        let rows = self.0.iter().filter(|message| message.tag == b'D').map(Message::row);
        rows.map(|row| row.into_iter().map(|value| value.map(text)).collect()).collect()
    }

    /// The only value of the only row.
    #[track_caller]
    pub fn value(&self) -> String {
        let rows = self.rows();
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone().unwrap_or_else(|| "NULL".to_owned()),
            other => panic!("not one value but {other:?} in {self:?}"),
        }
    }

    pub fn errors(&self) -> Vec<ServerError> {
        self.0.iter().filter(|message| message.tag == b'E').filter_map(Message::error).collect()
    }

    /// The SQLSTATE of the first error, or nothing.
    pub fn sqlstate(&self) -> Option<String> {
        self.errors().into_iter().next().map(|error| error.sqlstate)
    }

    pub fn notices(&self) -> Vec<ServerError> {
        self.0.iter().filter(|message| message.tag == b'N').filter_map(Message::error).collect()
    }

    /// Command tags: `SELECT 1`, `INSERT 0 1`.
    pub fn commands(&self) -> Vec<String> {
        let complete = self.0.iter().filter(|message| message.tag == b'C');
        complete.map(|m| String::from_utf8_lossy(&m.body[..m.body.len() - 1]).into_owned()).collect()
    }

    /// The transaction status of the ReadyForQuery: `I`, `T` or `E`.
    #[track_caller]
    pub fn status(&self) -> char {
        match self.0.last() {
            Some(Message { tag: b'Z', body }) if body.len() == 1 => char::from(body[0]),
            other => panic!("no ReadyForQuery at the end but {other:?}"),
        }
    }

    /// The same reply; fails the test where it holds an error.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.errors().is_empty(), "{:?}", self.errors());
        self
    }
}

/// A connection.
pub struct Wire {
    stream: Box<dyn Stream>,
    /// ParameterStatus as last reported.
    pub parameters: BTreeMap<String, String>,
    /// BackendKeyData of the login.
    pub key: Option<CancelKey>,
    /// What came during the login, in order.
    pub greeting: Vec<Message>,
}

impl Wire {
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        Self::over(stream)
    }

    pub fn over(stream: impl Stream + 'static) -> io::Result<Self> {
        stream.bound_reads(PATIENCE)?;
        Ok(Self { stream: Box::new(stream), parameters: BTreeMap::new(), key: None, greeting: Vec::new() })
    }

    /// Changes how long a read may take.
    pub fn patience(&mut self, patience: Duration) {
        self.stream.bound_reads(patience).expect("set the read timeout");
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("send");
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends several messages in one write.
    #[track_caller]
    pub fn send_batch(&mut self, messages: &[Vec<u8>]) {
        self.send(&messages.concat());
    }

    /// Ends our direction; what the other side still says can be read.
    pub fn end_writes(&mut self) {
        self.stream.end_writes().expect("shut down");
    }

    /// One byte, outside any message (the answer to SSLRequest).
    #[track_caller]
    pub fn read_byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).expect("a byte");
        byte[0]
    }

    /// The next message; nothing at the end of the stream, an error on a reset, a timeout or an end inside a message.
    pub fn try_read(&mut self) -> io::Result<Option<Message>> {
        let mut header = [0; 5];
        loop {
            match self.stream.read(&mut header[..1]) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.stream.read_exact(&mut header[1..])?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let length = (length as usize).checked_sub(4).ok_or(io::ErrorKind::InvalidData)?;
        let mut body = Vec::new();
        (&mut self.stream).take(length as u64).read_to_end(&mut body)?;
        if body.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let message = Message { tag: header[0], body };
        if let Some((name, value)) = message.parameter() {
            self.parameters.insert(name, value);
        }
        Ok(Some(message))
    }

    #[track_caller]
    pub fn read(&mut self) -> Message {
        match self.try_read() {
            Ok(Some(message)) => message,
            Ok(None) => panic!("the connection ended where a message was due"),
            Err(error) => panic!("no message: {error}"),
        }
    }

    /// The next message that is not asynchronous (ParameterStatus, notice, notification).
    #[track_caller]
    pub fn read_due(&mut self) -> Message {
        loop {
            let message = self.read();
            if !matches!(message.tag, b'S' | b'N' | b'A') {
                return message;
            }
        }
    }

    /// Everything up to a ReadyForQuery.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        let mut messages = Vec::new();
        loop {
            messages.push(self.read());
            if messages.last().is_some_and(|message| message.tag == b'Z') {
                return Reply(messages);
            }
        }
    }

    /// Everything up to the end of the connection; a reset counts as an end.
    pub fn until_closed(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            match self.try_read() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return messages,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return messages,
                Err(error) => panic!("not closed: {error} after {messages:?}"),
            }
        }
    }

    /// True if nothing comes for this long.
    pub fn silent_for(&mut self, time: Duration) -> bool {
        self.patience(time);
        let silent = match self.try_read() {
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            Ok(_) => false,
        };
        self.patience(PATIENCE);
        silent
    }

    /// One simple query.
    #[track_caller]
    pub fn query(&mut self, sql: &str) -> Reply {
        self.send(&say::query(sql));
        self.reply()
    }

    /// One statement by the extended protocol, unnamed, parameters and results as text.
    #[track_caller]
    pub fn extended(&mut self, sql: &str, parameters: &[Option<&str>]) -> Reply {
        let parameters: Vec<_> = parameters.iter().map(|value| value.map(str::as_bytes)).collect();
        self.send_batch(&[
            say::parse("", sql, &[]),
            say::bind("", "", &parameters),
            say::describe_portal(""),
            say::execute("", 0),
            say::sync(),
        ]);
        self.reply()
    }

    /// Says goodbye and waits for the other side to close.
    pub fn terminate(mut self) {
        self.send(&say::terminate());
        self.until_closed();
    }

    /// Answers whatever authentication is asked for, up to the first ReadyForQuery.
    pub fn authenticate(&mut self, user: &str, password: &str) -> Result<(), ServerError> {
        let mut scram = sasl::ScramSha256::new(password.as_bytes(), sasl::ChannelBinding::unsupported());
        loop {
            let message = match self.try_read() {
                Ok(Some(message)) => message,
                Ok(None) => panic!("closed during the login"),
                Err(error) => panic!("during the login: {error}"),
            };
            match message.tag {
                b'R' => self.answer(&message.body, &mut scram, user, password),
                b'E' => return Err(ServerError::parse(&message.body)),
                b'K' => {
                    let pid = i32::from_be_bytes(message.body[..4].try_into().expect("four bytes"));
                    self.key = Some(CancelKey { pid, secret: message.body[4..].to_vec() });
                }
                _ => {}
            }
            let ready = message.tag == b'Z';
            self.greeting.push(message);
            if ready {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, body: &[u8], scram: &mut sasl::ScramSha256, user: &str, password: &str) {
        let (code, rest) = body.split_at(4);
        match u32::from_be_bytes(code.try_into().expect("four bytes")) {
            0 => {}
            3 => self.send(&say::password(password)),
            5 => {
                let salt = rest.try_into().expect("four bytes of salt");
                self.send(&say::password(&md5_hash(user.as_bytes(), password.as_bytes(), salt)));
            }
            10 => {
                let first = scram.message().to_vec();
                let mut body = b"SCRAM-SHA-256\0".to_vec();
                body.extend(u32::try_from(first.len()).expect("short").to_be_bytes());
                body.extend(first);
                self.send(&say::message(b'p', &body));
            }
            11 => {
                scram.update(rest).expect("the server's first SCRAM message");
                let last = scram.message().to_vec();
                self.send(&say::message(b'p', &last));
            }
            12 => scram.finish(rest).expect("the server proves that it knows the password"),
            other => panic!("asked for authentication {other}"),
        }
    }
}

/// Frontend messages, encoded.
pub mod say {
    fn text(body: &mut Vec<u8>, text: &str) {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }

    fn count(body: &mut Vec<u8>, count: usize) {
        body.extend_from_slice(&u16::try_from(count).expect("at most 65535").to_be_bytes());
    }

    /// Any message.
    pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag][..], &untagged(body)].concat()
    }

    /// A message of the startup phase: length and body.
    pub fn untagged(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("a sane length");
        [&length.to_be_bytes()[..], body].concat()
    }

    pub fn startup(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        for (name, value) in parameters {
            text(&mut body, name);
            text(&mut body, value);
        }
        body.push(0);
        untagged(&body)
    }

    pub fn ssl_request() -> Vec<u8> {
        untagged(&80_877_103_u32.to_be_bytes())
    }

    pub fn gss_request() -> Vec<u8> {
        untagged(&80_877_104_u32.to_be_bytes())
    }

    pub fn cancel(pid: i32, secret: &[u8]) -> Vec<u8> {
        untagged(&[&80_877_102_u32.to_be_bytes()[..], &pid.to_be_bytes(), secret].concat())
    }

    pub fn password(password: &str) -> Vec<u8> {
        message(b'p', &[password.as_bytes(), &[0]].concat())
    }

    pub fn query(sql: &str) -> Vec<u8> {
        message(b'Q', &[sql.as_bytes(), &[0]].concat())
    }

    pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
        let mut body = Vec::new();
        text(&mut body, name);
        text(&mut body, sql);
        count(&mut body, types.len());
        types.iter().for_each(|oid| body.extend_from_slice(&oid.to_be_bytes()));
        message(b'P', &body)
    }

    /// Parameters and results as text.
    pub fn bind(portal: &str, statement: &str, parameters: &[Option<&[u8]>]) -> Vec<u8> {
        bind_formats(portal, statement, &[], parameters, &[])
    }

    /// Formats: 0 text, 1 binary; none, one for all, or one each.
    pub fn bind_formats(
        portal: &str,
        statement: &str,
        parameter_formats: &[u16],
        parameters: &[Option<&[u8]>],
        result_formats: &[u16],
    ) -> Vec<u8> {
        let mut body = Vec::new();
        text(&mut body, portal);
        text(&mut body, statement);
        count(&mut body, parameter_formats.len());
        parameter_formats.iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
        count(&mut body, parameters.len());
        for parameter in parameters {
            match parameter {
                None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(value) => {
                    body.extend_from_slice(&u32::try_from(value.len()).expect("a sane length").to_be_bytes());
                    body.extend_from_slice(value);
                }
            }
        }
        count(&mut body, result_formats.len());
        result_formats.iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
        message(b'B', &body)
    }

    fn named(tag: u8, kind: u8, name: &str) -> Vec<u8> {
        message(tag, &[&[kind][..], name.as_bytes(), &[0]].concat())
    }

    pub fn describe_statement(name: &str) -> Vec<u8> {
        named(b'D', b'S', name)
    }

    pub fn describe_portal(name: &str) -> Vec<u8> {
        named(b'D', b'P', name)
    }

    pub fn close_statement(name: &str) -> Vec<u8> {
        named(b'C', b'S', name)
    }

    pub fn close_portal(name: &str) -> Vec<u8> {
        named(b'C', b'P', name)
    }

    /// At most `rows` rows; 0: all.
    pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
        message(b'E', &[portal.as_bytes(), &[0], &rows.to_be_bytes()].concat())
    }

    pub fn sync() -> Vec<u8> {
        message(b'S', &[])
    }

    pub fn flush() -> Vec<u8> {
        message(b'H', &[])
    }

    pub fn copy_data(data: &[u8]) -> Vec<u8> {
        message(b'd', data)
    }

    pub fn copy_done() -> Vec<u8> {
        message(b'c', &[])
    }

    pub fn copy_fail(reason: &str) -> Vec<u8> {
        message(b'f', &[reason.as_bytes(), &[0]].concat())
    }

    /// A FunctionCall without arguments, result as text.
    pub fn function_call(oid: u32) -> Vec<u8> {
        message(b'F', &[&oid.to_be_bytes()[..], &[0; 6]].concat())
    }

    pub fn terminate() -> Vec<u8> {
        message(b'X', &[])
    }
}

#[cfg(test)]
mod tests {
    use super::super::{database, direct};
    use super::*;

    #[test]
    fn the_raw_client_speaks_both_protocols_with_postgresql() {
        let database = database();
        let mut wire = direct(&database).parameter("application_name", "kit").connect();
        assert_eq!(wire.parameters["application_name"], "kit");
        let reply = wire.query("select 1, null; select 'two'");
        assert_eq!((reply.tags().as_str(), reply.status()), ("TDCTDCZ", 'I'));
        assert_eq!(reply.rows(), [vec![Some("1".to_owned()), None], vec![Some("two".to_owned())]]);
        assert_eq!(wire.extended("select $1::int + 1", &[Some("41")]).ok().value(), "42");
        let failed = wire.query("begin; select 1/0");
        assert_eq!((failed.sqlstate().as_deref(), failed.status()), (Some("22012"), 'E'));
        let key = wire.key.clone().expect("a cancel key");
        wire.query("rollback").ok();
        wire.send(&say::query("select pg_sleep(30)"));
        direct(&database).cancel(&key);
        assert_eq!(wire.reply().sqlstate().as_deref(), Some("57014"));
        assert!(wire.silent_for(Duration::from_millis(50)));
        wire.terminate();
    }

    #[test]
    fn the_raw_client_reports_a_refused_login() {
        let database = database();
        let mut login = direct(&database);
        login.password = "wrong".to_owned();
        assert_eq!(login.try_connect().err().expect("refused").sqlstate, "28P01");
    }
}
