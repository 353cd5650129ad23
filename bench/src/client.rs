//! A small blocking PostgreSQL client for loads that pgbench cannot make: many idle connections, rapid logins, bulk.
//!
//! It logs in with SCRAM-SHA-256 (or without a password), runs simple queries and COPY, counts what came and checks
//! that it is complete. It decodes no values. Keys derived from the password are kept, so that thousands of logins
//! cost the machine what they cost the proxy, not 4,096 rounds of hashing each.
//! Protocol: <https://www.postgresql.org/docs/15/protocol-message-formats.html>.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// A peer that says nothing for so long has failed the run.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// The longest message that is kept whole; longer ones may only be counted and skipped.
const KEPT_MAX: usize = 64 * 1024;

/// By salt and iterations.
type KnownKeys = HashMap<(Vec<u8>, u32), Keys>;

/// Where and as whom to log in; shared by all connections of a run.
pub struct Login {
    pub port: u16,
    pub user: String,
    pub database: String,
    pub password: String,
    /// Client and server key by salt and iterations.
    keys: Arc<Mutex<KnownKeys>>,
}

#[derive(Clone, Copy)]
struct Keys {
    client: [u8; 32],
    server: [u8; 32],
}

impl Login {
    pub fn new(port: u16, user: &str, database: &str, password: &str) -> Self {
        Self {
            port,
            user: user.to_owned(),
            database: database.to_owned(),
            password: password.to_owned(),
            keys: Arc::default(),
        }
    }

    /// Another user with the same password.
    pub fn of(&self, user: &str) -> Self {
        let (database, password, keys) = (self.database.clone(), self.password.clone(), self.keys.clone());
        Self { port: self.port, user: user.to_owned(), database, password, keys }
    }

    fn keys(&self, salt: &[u8], iterations: u32) -> Keys {
        let mut known = self.keys.lock().expect("no thread panics while it holds the keys");
        *known.entry((salt.to_vec(), iterations)).or_insert_with(|| {
            let mut salted = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(self.password.as_bytes(), salt, iterations, &mut salted);
            Keys { client: hmac(&salted, b"Client Key"), server: hmac(&salted, b"Server Key") }
        })
    }
}

/// What came back for one query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reply {
    /// DataRow or CopyData messages.
    pub rows: u64,
    /// Bytes on the wire, headers and all.
    pub bytes: u64,
}

/// One logged-in connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Unread bytes of `buffer`.
    start: usize,
    end: usize,
    received: u64,
}

/// Size of a connection's read buffer.
#[derive(Clone, Copy)]
pub enum Buffer {
    /// For short replies.
    Small,
    /// For bulk.
    Large,
}

impl Client {
    /// Connects and logs in, up to ReadyForQuery.
    pub fn connect(login: &Login, buffer: Buffer) -> Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, login.port)).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let size = match buffer {
            Buffer::Small => 4 * 1024,
            Buffer::Large => 256 * 1024,
        };
        let mut client = Client { stream, buffer: vec![0; size], start: 0, end: 0, received: 0 };
        client.login(login).context("login")?;
        Ok(client)
    }

    fn login(&mut self, login: &Login) -> Result<()> {
        let mut startup = vec![0, 0, 0, 0, 0, 3, 0, 0];
        for text in ["user", &login.user, "database", &login.database, "application_name", "pgwarden-bench"] {
            startup.extend_from_slice(text.as_bytes());
            startup.push(0);
        }
        startup.push(0);
        let length = u32::try_from(startup.len())?.to_be_bytes();
        startup[..4].copy_from_slice(&length);
        self.stream.write_all(&startup)?;
        loop {
            match self.message()? {
                (b'R', body) => match body.get(..4) {
                    Some([0, 0, 0, 0]) => {}
                    Some([0, 0, 0, 10]) => self.scram(login)?,
                    other => bail!("the server asks for an authentication this client has not: {other:?}"),
                },
                (b'Z', _) => return Ok(()),
                (b'S' | b'K' | b'N' | b'v', _) => {}
                (tag, _) => bail!("unexpected message {:?} during login", char::from(tag)),
            }
        }
    }

    /// RFC 5802 and 7677, without channel binding.
    fn scram(&mut self, login: &Login) -> Result<()> {
        let nonce = BASE64.encode(rand::random::<[u8; 18]>());
        let first_bare = format!("n=,r={nonce}");
        let first = format!("n,,{first_bare}");
        let mut body = b"SCRAM-SHA-256\0".to_vec();
        body.extend_from_slice(&u32::try_from(first.len())?.to_be_bytes());
        body.extend_from_slice(first.as_bytes());
        self.send(b'p', &body)?;

        let server_first = self.sasl(11)?;
        let (full_nonce, salt, iterations) = parse_server_first(&server_first)?;
        ensure!(full_nonce.starts_with(&nonce), "the server changed our nonce");
        let keys = login.keys(&salt, iterations);
        let without_proof = format!("c=biws,r={full_nonce}");
        let signed = format!("{first_bare},{server_first},{without_proof}");
        let stored: [u8; 32] = Sha256::digest(keys.client).into();
        let signature = hmac(&stored, signed.as_bytes());
        let proof: Vec<u8> = keys.client.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
        self.send(b'p', format!("{without_proof},p={}", BASE64.encode(proof)).as_bytes())?;

        let server_final = self.sasl(12)?;
        let expected = format!("v={}", BASE64.encode(hmac(&keys.server, signed.as_bytes())));
        ensure!(server_final == expected, "the server does not know the password's verifier");
        Ok(())
    }

    /// The text of the authentication message with `code`.
    fn sasl(&mut self, code: u8) -> Result<String> {
        let (tag, body) = self.message()?;
        ensure!(tag == b'R' && body.get(..4) == Some(&[0, 0, 0, code]), "expected SASL message {code}");
        Ok(String::from_utf8(body[4..].to_vec())?)
    }

    /// Runs one query by the simple protocol and reads to ReadyForQuery.
    pub fn query(&mut self, sql: &str) -> Result<Reply> {
        self.ask(sql)?;
        self.finish()
    }

    /// The first column of all rows of one query, as text, a line each.
    pub fn text(&mut self, sql: &str) -> Result<String> {
        self.ask(sql)?;
        let mut text = String::new();
        loop {
            match self.message()? {
                (b'D', body) => {
                    // The number of columns, then each with its length before it.
                    let length = body.get(2..6).context("a row without columns")?.try_into()?;
                    let end = 6 + usize::try_from(i32::from_be_bytes(length))?;
                    text.push_str(std::str::from_utf8(body.get(6..end).context("a row that is cut short")?)?);
                    text.push('\n');
                }
                (b'Z', _) => return Ok(text),
                (b'T' | b'C' | b'S' | b'N', _) => {}
                (tag, _) => bail!("unexpected message {:?} in a reply", char::from(tag)),
            }
        }
    }

    /// `COPY ... FROM STDIN`: sends `block` (CopyData messages, whole) `times` over.
    pub fn copy_in(&mut self, sql: &str, block: &[u8], times: usize) -> Result<()> {
        self.ask(sql)?;
        let (tag, _) = self.message()?;
        ensure!(tag == b'G', "expected CopyInResponse, got {:?}", char::from(tag));
        for _ in 0..times {
            self.stream.write_all(block)?;
        }
        self.send(b'c', &[])?;
        self.finish().map(drop)
    }

    /// Says goodbye and waits until the other side has closed, so that the port is its to remember.
    pub fn close(mut self) -> Result<()> {
        self.send(b'X', &[])?;
        match self.stream.read(&mut self.buffer) {
            Ok(0) => Ok(()),
            Ok(_) => bail!("bytes after Terminate"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn ask(&mut self, sql: &str) -> Result<()> {
        let mut body = sql.as_bytes().to_vec();
        body.push(0);
        self.send(b'Q', &body)
    }

    fn finish(&mut self) -> Result<Reply> {
        let before = self.received - (self.end - self.start) as u64;
        let mut reply = Reply::default();
        loop {
            if self.available() < 5 {
                self.fill(5)?;
            }
            let tag = self.buffer[self.start];
            if tag == b'D' || tag == b'd' {
                reply.rows += 1;
                let length = self.length()?;
                self.skip(length + 1)?;
                continue;
            }
            match self.message()? {
                (b'Z', _) => break,
                (b'T' | b'C' | b'H' | b'c' | b'S' | b'N' | b'I', _) => {}
                (tag, _) => bail!("unexpected message {:?} in a reply", char::from(tag)),
            }
        }
        reply.bytes = self.received - (self.end - self.start) as u64 - before;
        Ok(reply)
    }

    fn send(&mut self, tag: u8, body: &[u8]) -> Result<()> {
        let mut message = Vec::with_capacity(body.len() + 5);
        message.push(tag);
        message.extend_from_slice(&u32::try_from(body.len() + 4)?.to_be_bytes());
        message.extend_from_slice(body);
        Ok(self.stream.write_all(&message)?)
    }

    /// The next message's tag and body; an ErrorResponse becomes an error with its text.
    fn message(&mut self) -> Result<(u8, &[u8])> {
        if self.available() < 5 {
            self.fill(5)?;
        }
        let tag = self.buffer[self.start];
        let length = self.length()?;
        ensure!(length <= KEPT_MAX, "message {:?} of {length} bytes", char::from(tag));
        if self.available() < length + 1 {
            self.fill(length + 1)?;
        }
        let body = self.start + 5..self.start + 1 + length;
        self.start += 1 + length;
        ensure!(tag != b'E', "server says: {}", error_text(&self.buffer[body.clone()]));
        Ok((tag, &self.buffer[body]))
    }

    /// The length field of the message at hand; its five header bytes are there.
    fn length(&self) -> Result<usize> {
        let field = &self.buffer[self.start + 1..self.start + 5];
        let length = u32::from_be_bytes(field.try_into().expect("four bytes")) as usize;
        ensure!(length >= 4, "a message shorter than its own length field");
        Ok(length)
    }

    fn available(&self) -> usize {
        self.end - self.start
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        let mut left = count;
        while left > self.available() {
            left -= self.available();
            self.start = self.end;
            self.fill(1)?;
        }
        self.start += left;
        Ok(())
    }

    /// Reads until at least `wanted` unread bytes are there.
    fn fill(&mut self, wanted: usize) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        while self.end < wanted {
            let count = self.stream.read(&mut self.buffer[self.end..]).context("read")?;
            ensure!(count > 0, "the connection was closed");
            self.end += count;
            self.received += count as u64;
        }
        Ok(())
    }
}

/// A CopyData message that holds `body`.
pub fn copy_data(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("blocks are kilobytes");
    [b"d".as_slice(), &length.to_be_bytes(), body].concat()
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Nonce, salt and iterations of a server-first-message.
fn parse_server_first(text: &str) -> Result<(&str, Vec<u8>, u32)> {
    let mut parts = text.split(',');
    let nonce = parts.next().and_then(|part| part.strip_prefix("r=")).context("no nonce")?;
    let salt = parts.next().and_then(|part| part.strip_prefix("s=")).context("no salt")?;
    let iterations = parts.next().and_then(|part| part.strip_prefix("i=")).context("no iterations")?;
    Ok((nonce, BASE64.decode(salt)?, iterations.parse()?))
}

/// SQLSTATE and message of an ErrorResponse.
fn error_text(body: &[u8]) -> String {
    let field = |wanted: u8| {
        let found = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&wanted));
        found.map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
    };
    format!("{} {}", field(b'C'), field(b'M'))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that sends `bytes` in pieces of `piece` and then closes; the login step is not part of it.
    fn scripted(bytes: Vec<u8>, piece: usize) -> Client {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            for part in bytes.chunks(piece) {
                if stream.write_all(part).is_err() {
                    return;
                }
            }
            let mut rest = Vec::new();
            let _gone = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _gone = stream.read_to_end(&mut rest);
        });
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        Client { stream, buffer: vec![0; 64], start: 0, end: 0, received: 0 }
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut message = copy_data(body);
        message[0] = tag;
        message
    }

    fn reply_of_rows() -> Vec<u8> {
        let row = message(b'D', &[7; 1000]);
        [message(b'T', b"\0\0"), row.clone(), row.clone(), row, message(b'C', b"SELECT 3\0"), message(b'Z', b"I")]
            .concat()
    }

    #[test]
    fn rows_and_bytes_are_counted_at_every_split() {
        for piece in [1, 3, 4, 5, 6, 7, 63, 64, 65, 1004, 1005, 1006, 10_000] {
            let bytes = reply_of_rows();
            let expected = Reply { rows: 3, bytes: bytes.len() as u64 };
            assert_eq!(scripted(bytes, piece).query("select").unwrap(), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn second_reply_in_the_same_read_is_counted_on_its_own() {
        let one = reply_of_rows();
        let mut client = scripted([one.clone(), one.clone()].concat(), 100_000);
        for _ in 0..2 {
            assert_eq!(client.query("select").unwrap().bytes, one.len() as u64);
        }
    }

    #[test]
    fn the_first_column_of_every_row_is_read_as_text() {
        let row = |value: &[u8]| {
            let length = (value.len() as u32).to_be_bytes();
            message(b'D', &[b"\0\x02", length.as_slice(), value, b"\0\0\0\x01z"].concat())
        };
        let bytes = [row(b"one"), row(b""), row(b"two"), message(b'C', b"\0"), message(b'Z', b"I")].concat();
        assert_eq!(scripted(bytes, 5).text("explain").unwrap(), "one\n\ntwo\n");
    }

    #[test]
    fn error_response_fails_the_query_with_its_text() {
        let bytes = message(b'E', b"SERROR\0C42P01\0Mno such table\0\0");
        let error = scripted(bytes, 8).query("select").unwrap_err();
        assert_eq!(error.to_string(), "server says: 42P01 no such table");
    }

    #[test]
    fn length_below_the_minimum_is_an_error() {
        assert!(scripted(vec![b'D', 0, 0, 0, 3, 0, 0], 7).query("select").is_err());
    }

    #[test]
    fn server_first_message_is_parsed() {
        let (nonce, salt, iterations) = parse_server_first("r=abc,s=AAEC,i=4096").unwrap();
        assert_eq!((nonce, salt.as_slice(), iterations), ("abc", [0u8, 1, 2].as_slice(), 4096));
        assert!(parse_server_first("s=AAEC,r=abc,i=4096").is_err());
    }

    /// RFC 7677, section 3.
    #[test]
    fn keys_give_the_proof_of_the_rfc() {
        let login = Login::new(0, "user", "", "pencil");
        let keys = login.keys(&BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), 4096);
        let signed = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                      s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let stored: [u8; 32] = Sha256::digest(keys.client).into();
        let signature = hmac(&stored, signed.as_bytes());
        let proof: Vec<u8> = keys.client.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
        assert_eq!(BASE64.encode(proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert_eq!(
            BASE64.encode(hmac(&keys.server, signed.as_bytes())),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }
}
