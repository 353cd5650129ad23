//! Opening a backend: connect, encrypt, log in, up to the first ReadyForQuery; and sending a cancel request.
//!
//! The server is untrusted: every message of the login is bounded in size, and all of them in number. A password leaves us
//! only as the server's method needs it, and only by methods that the user's configuration permits: SCRAM always, md5 and
//! cleartext when `server_auth` names them (cleartext then over any stream: naming it is the operator's decision).
//! What a client may read of a failure ([`Report`]) never holds the server's own text.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use hashbrown::HashMap;
use md5::{Digest, Md5};
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::config::{Keepalive, Node, NodeAddress, Permit, Secret, ServerAuth, ServerTls, ServerTlsMode};
use crate::fault::SqlState;
use crate::net::{Inbound, Stream, tls};
use crate::scram::{self, ClientExchange, ClientKeys, NONCE_LENGTH};
use crate::wire::message;
use crate::wire::startup::message_head;
use crate::wire::{CancelKey, ProtocolVersion};

mod error;

pub use error::ConnectError;

/// Body of one message before ReadyForQuery, at most (bytes); libpq takes 30,000.
const BODY_MAX: usize = 30_000;

/// Messages before ReadyForQuery, at most: PostgreSQL 15 sends about 20.
const MESSAGES_MAX: usize = 512;

/// Keys kept over all passwords, salts and iteration counts.
const KEYS_MAX: usize = 1024;

/// Bytes that a server may send in answer to a cancel request before we stop reading: it should send none, or an error.
const CANCEL_ANSWER_MAX: usize = 4096;

/// As whom, and to what, a backend logs in.
#[derive(Debug, Clone)]
pub struct BackendLogin {
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub password: Option<Secret>,
    /// Methods weaker than SCRAM that may be answered.
    pub auth: ServerAuth,
    pub keepalive: Keepalive,
    /// Further keys of the startup packet, settings all: `application_name`, `client_encoding` ...
    pub startup: Vec<(Arc<str>, Arc<str>)>,
}

/// A backend that is logged in and idle, nothing sent after ReadyForQuery.
#[derive(Debug)]
pub struct Connected {
    pub stream: Stream,
    /// ParameterStatus in the server's order; a name that was sent twice is there once, with its last value.
    pub parameters: Vec<(String, String)>,
    pub pid: i32,
    /// For cancel requests.
    pub secret: Bytes,
    /// `TLSv1.2` or `TLSv1.3`; absent on plain streams.
    pub tls: Option<&'static str>,
}

/// What connections to servers share: TLS settings read from files, and SCRAM keys already derived. One for the process,
/// made anew when the configuration is reloaded, so that new certificates are read.
#[derive(Debug, Default)]
pub struct Connector {
    tls: Mutex<HashMap<ServerTls, tls::Connector>>,
    keys: Mutex<HashMap<KeyOrigin, ClientKeys>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct KeyOrigin {
    password: Secret,
    salt: Box<[u8]>,
    iterations: std::num::NonZeroU32,
}

impl Connector {
    /// SCRAM keys kept at this moment.
    pub fn keys_held(&self) -> usize {
        lock(&self.keys).len()
    }

    fn tls(&self, settings: &ServerTls) -> Result<tls::Connector, ConnectError> {
        let mut known = lock(&self.tls);
        if let Some(connector) = known.get(settings) {
            return Ok(connector.clone());
        }
        let connector = tls::Connector::new(settings).map_err(ConnectError::Tls)?;
        known.insert(settings.clone(), connector.clone());
        Ok(connector)
    }

    /// Derived on a thread of its own when it was not before: a server chooses how long that takes.
    async fn keys(&self, origin: KeyOrigin) -> Result<ClientKeys, ConnectError> {
        if let Some(keys) = lock(&self.keys).get(&origin) {
            return Ok(keys.clone());
        }
        let derive = move || {
            let keys = ClientKeys::derive(origin.password.expose(), &origin.salt, origin.iterations);
            (origin, keys)
        };
        let (origin, keys) =
            tokio::task::spawn_blocking(derive).await.map_err(|_| ConnectError::Auth("key derivation was stopped"))?;
        let mut known = lock(&self.keys);
        if known.len() >= KEYS_MAX {
            known.clear();
        }
        known.insert(origin, keys.clone());
        Ok(keys)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both maps are whole after each step, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects and logs in, within `node.connect_timeout`.
///
/// This is not cancel safe: dropping it closes the connection.
pub async fn connect(node: &Node, login: &BackendLogin, connector: &Connector) -> Result<Connected, ConnectError> {
    let attempt = async {
        let stream = open(node, login.keepalive, connector).await?;
        log_in(stream, login, connector).await
    };
    tokio::time::timeout(node.connect_timeout, attempt).await.unwrap_or(Err(ConnectError::Timeout))
}

/// Whether the server can be reached at all: connects and closes. Nothing is said, so the server does not log it.
///
/// Cancel safe.
pub async fn reach(node: &Node) -> Result<(), ConnectError> {
    let attempt = async {
        match &node.address {
            NodeAddress::Tcp { host, port } => {
                TcpStream::connect((&**host, *port)).await.map(drop).map_err(ConnectError::Unreachable)
            }
            NodeAddress::Unix { dir, port } => {
                let path = dir.join(format!(".s.PGSQL.{port}"));
                UnixStream::connect(path).await.map(drop).map_err(ConnectError::Unreachable)
            }
        }
    };
    tokio::time::timeout(node.connect_timeout, attempt).await.unwrap_or(Err(ConnectError::Timeout))
}

/// Asks the server to cancel what the backend with this key is doing, encrypted as the node's connections are, and waits
/// until the server has closed the connection: then the signal was sent, or refused without a word.
///
/// This is not cancel safe: dropping it may or may not have sent the request.
pub async fn cancel(node: &Node, key: &CancelKey, connector: &Connector) -> Result<(), ConnectError> {
    let attempt = async {
        let mut stream = open(node, KEEPALIVE_OFF, connector).await?;
        let mut request = BytesMut::new();
        message::cancel_request(&mut request, key.pid, &key.secret);
        stream.write_all(&request).await.map_err(ConnectError::Lost)?;
        stream.flush().await.map_err(ConnectError::Lost)?;
        let mut answer = Vec::new();
        // A reset is an end as well: the server has taken what we sent, or it never will.
        let _ = stream.take(CANCEL_ANSWER_MAX as u64).read_to_end(&mut answer).await;
        Ok(())
    };
    tokio::time::timeout(node.connect_timeout, attempt).await.unwrap_or(Err(ConnectError::Timeout))
}

/// A cancel's connection lives for a moment.
const KEEPALIVE_OFF: Keepalive =
    Keepalive { idle: std::time::Duration::ZERO, interval: std::time::Duration::ZERO, retries: 0 };

/// A stream to the node, encrypted as its mode says.
async fn open(node: &Node, keepalive: Keepalive, connector: &Connector) -> Result<Stream, ConnectError> {
    let NodeAddress::Tcp { host, .. } = &node.address else { return dial(node, keepalive).await };
    let stream = dial(node, keepalive).await?;
    match node.tls.mode {
        ServerTlsMode::Disable => Ok(stream),
        ServerTlsMode::Require | ServerTlsMode::VerifyFull => match ask_for_tls(stream).await? {
            Offer::Tls(stream) => connector.tls(&node.tls)?.connect(stream, host).await.map_err(ConnectError::Tls),
            Offer::Plain(_) => Err(ConnectError::NoTls),
        },
        ServerTlsMode::Prefer => match ask_for_tls(stream).await? {
            Offer::Tls(stream) => match connector.tls(&node.tls)?.connect(stream, host).await {
                Ok(stream) => Ok(stream),
                // libpq tries once more without.
                Err(_) => dial(node, keepalive).await,
            },
            Offer::Plain(stream) => Ok(stream),
        },
    }
}

async fn dial(node: &Node, keepalive: Keepalive) -> Result<Stream, ConnectError> {
    match &node.address {
        NodeAddress::Tcp { host, port } => {
            let tcp = TcpStream::connect((&**host, *port)).await.map_err(ConnectError::Unreachable)?;
            let stream = Stream::Tcp(tcp);
            stream.set_nodelay().map_err(ConnectError::Unreachable)?;
            stream.set_keepalive(keepalive).map_err(ConnectError::Unreachable)?;
            Ok(stream)
        }
        NodeAddress::Unix { dir, port } => {
            let path: PathBuf = dir.join(format!(".s.PGSQL.{port}"));
            UnixStream::connect(path).await.map(Stream::Unix).map_err(ConnectError::Unreachable)
        }
    }
}

enum Offer {
    Tls(Stream),
    Plain(Stream),
}

/// Reads one byte and not more: whatever follows it is the handshake's, and fails there if it is not.
async fn ask_for_tls(mut stream: Stream) -> Result<Offer, ConnectError> {
    let mut request = BytesMut::new();
    message::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(ConnectError::Lost)?;
    match stream.read_u8().await.map_err(ConnectError::Lost)? {
        b'S' => Ok(Offer::Tls(stream)),
        b'N' => Ok(Offer::Plain(stream)),
        // An error at this point is not authenticated by anything: its text is not worth reading.
        b'E' => Err(ConnectError::Protocol("an error in answer to the TLS request")),
        _ => Err(ConnectError::Protocol("an unknown answer to the TLS request")),
    }
}

/// What the server's Authentication messages have led to.
enum Proof {
    /// No password was asked for yet.
    Unasked,
    /// Sent, and nothing of the server is to be proved (md5, cleartext).
    Sent,
    SaslFirst(ClientExchange),
    SaslFinal(scram::ClientFinal),
    /// The server knows the password as well.
    Mutual,
    /// AuthenticationOk has come.
    Done,
}

/// Everything from the startup packet to ReadyForQuery.
async fn log_in(stream: Stream, login: &BackendLogin, connector: &Connector) -> Result<Connected, ConnectError> {
    let mut inbound = Inbound::new(stream);
    let mut keys: Vec<(&str, &str)> = vec![("user", &login.user), ("database", &login.database)];
    keys.extend(login.startup.iter().map(|(name, value)| (&**name, &**value)));
    let mut out = BytesMut::new();
    message::startup(&mut out, ProtocolVersion::V3_0, &keys);
    send(&mut inbound, &mut out).await?;

    let mut proof = Proof::Unasked;
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut key: Option<CancelKey> = None;
    for _ in 0..MESSAGES_MAX {
        let (kind, mut body) = read_message(&mut inbound).await?;
        match kind {
            b'R' => {
                proof = authenticate(proof, &mut body, login, connector, &inbound, &mut out).await?;
                send(&mut inbound, &mut out).await?;
            }
            b'E' => return Err(refusal(&body)),
            // Notices need no answer, and nobody is there yet to read them.
            b'N' => {}
            b'S' if matches!(proof, Proof::Done) => set_parameter(&mut parameters, &body)?,
            b'K' if matches!(proof, Proof::Done) => key = Some(backend_key(&mut body)?),
            b'Z' if matches!(proof, Proof::Done) => {
                if body[..] != *b"I" || !inbound.received.is_empty() {
                    return Err(ConnectError::Protocol("not idle after login"));
                }
                // A server that cannot be cancelled sends no key; a key of zeros is one that matches nothing.
                let key = key.unwrap_or(CancelKey { pid: 0, secret: Bytes::from_static(&[0; 4]) });
                let tls = inbound.stream.tls_info().map(|info| info.version);
                return Ok(Connected { stream: inbound.stream, parameters, pid: key.pid, secret: key.secret, tls });
            }
            b'S' | b'K' | b'Z' => return Err(ConnectError::Protocol("a session before its authentication")),
            _ => return Err(ConnectError::Protocol("an unknown message during login")),
        }
    }
    Err(ConnectError::Protocol("too many messages during login"))
}

/// Answers one Authentication message.
async fn authenticate(
    proof: Proof,
    body: &mut BytesMut,
    login: &BackendLogin,
    connector: &Connector,
    inbound: &Inbound,
    out: &mut BytesMut,
) -> Result<Proof, ConnectError> {
    if body.len() < 4 {
        return Err(ConnectError::Protocol("a short authentication message"));
    }
    let method = body.get_u32();
    match (method, proof) {
        (0, Proof::Unasked | Proof::Sent | Proof::Mutual) if body.is_empty() => Ok(Proof::Done),
        // A server that skips its own proof may not know the password.
        (0, Proof::SaslFirst(_) | Proof::SaslFinal(_)) => Err(ConnectError::Auth("the server skipped its proof")),
        (3, Proof::Unasked) if body.is_empty() => {
            permit(
                login.auth.cleartext,
                "the server asks for a cleartext password, which server_auth does not permit",
            )?;
            message::password(out, password(login)?.expose());
            Ok(Proof::Sent)
        }
        (5, Proof::Unasked) if body.len() == 4 => {
            permit(login.auth.md5, "the server asks for an md5 password, which server_auth does not permit")?;
            message::password(out, &md5_response(&login.user, password(login)?, body));
            Ok(Proof::Sent)
        }
        (10, Proof::Unasked) => {
            password(login)?;
            let end_point = inbound.stream.tls_info().and_then(|info| info.end_point.as_deref());
            let nonce = scram::nonce(rand::rng().random::<[u8; NONCE_LENGTH]>());
            let exchange = ClientExchange::choose(&mechanisms(body)?, end_point, nonce)
                .ok_or(ConnectError::Auth("the server offers no SASL mechanism that pgwarden has"))?;
            message::sasl_initial_response(out, exchange.mechanism().name(), exchange.client_first().as_bytes());
            Ok(Proof::SaslFirst(exchange))
        }
        (11, Proof::SaslFirst(exchange)) => {
            let first = exchange.read(body).map_err(ConnectError::Scram)?;
            let origin = KeyOrigin {
                password: password(login)?.clone(),
                salt: first.salt.clone(),
                iterations: first.iterations,
            };
            let last = exchange.respond(&first, &connector.keys(origin).await?);
            message::sasl_response(out, last.message().as_bytes());
            Ok(Proof::SaslFinal(last))
        }
        (12, Proof::SaslFinal(last)) => {
            last.finish(body).map_err(ConnectError::Scram)?;
            Ok(Proof::Mutual)
        }
        (2 | 6..=9, Proof::Unasked) => Err(ConnectError::Auth("the server asks for a method that pgwarden has not")),
        _ => Err(ConnectError::Protocol("an authentication message out of order")),
    }
}

fn password(login: &BackendLogin) -> Result<&Secret, ConnectError> {
    login.password.as_ref().ok_or(ConnectError::Auth("the server asks for a password, and none is configured"))
}

fn permit(permit: Permit, otherwise: &'static str) -> Result<(), ConnectError> {
    match permit {
        Permit::Accept => Ok(()),
        Permit::Refuse => Err(ConnectError::Auth(otherwise)),
    }
}

/// `md5` and the hex of md5(hex of md5(password, user), salt).
fn md5_response(user: &str, password: &Secret, salt: &[u8]) -> String {
    let inner = Md5::new().chain_update(password.expose()).chain_update(user).finalize();
    let outer = Md5::new().chain_update(format!("{inner:x}")).chain_update(salt).finalize();
    format!("md5{outer:x}")
}

/// Names, each with its NUL, and a NUL at the end.
fn mechanisms(body: &[u8]) -> Result<Vec<&str>, ConnectError> {
    let list = body.strip_suffix(b"\0\0").ok_or(ConnectError::Protocol("a malformed list of SASL mechanisms"))?;
    list.split(|byte| *byte == 0)
        .map(|name| std::str::from_utf8(name).map_err(|_| ConnectError::Protocol("a malformed SASL mechanism")))
        .collect()
}

fn set_parameter(parameters: &mut Vec<(String, String)>, body: &[u8]) -> Result<(), ConnectError> {
    let malformed = || ConnectError::Protocol("a malformed parameter");
    let mut strings = body.split(|byte| *byte == 0);
    let (Some(name), Some(value), Some([]), None) = (strings.next(), strings.next(), strings.next(), strings.next())
    else {
        return Err(malformed());
    };
    let name = std::str::from_utf8(name).map_err(|_| malformed())?;
    let value = std::str::from_utf8(value).map_err(|_| malformed())?.to_owned();
    match parameters.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => parameters.push((name.to_owned(), value)),
    }
    Ok(())
}

fn backend_key(body: &mut BytesMut) -> Result<CancelKey, ConnectError> {
    if !(8..=4 + message::CANCEL_SECRET_MAX).contains(&body.len()) {
        return Err(ConnectError::Protocol("a malformed cancel key"));
    }
    let pid = body.get_i32();
    Ok(CancelKey { pid, secret: body.split().freeze() })
}

/// The server's own words, for the log. An error without SQLSTATE is still an error.
fn refusal(body: &[u8]) -> ConnectError {
    let (mut sqlstate, mut message) = (None, String::new());
    for field in body.split(|byte| *byte == 0) {
        match field.split_first() {
            Some((b'C', code)) => {
                sqlstate = code.try_into().ok().filter(|code: &[u8; 5]| code.iter().all(u8::is_ascii_alphanumeric));
            }
            Some((b'M', text)) => message = String::from_utf8_lossy(text).into_owned(),
            Some(_) => {}
            // The list's end.
            None => break,
        }
    }
    ConnectError::Refused { sqlstate: sqlstate.map(SqlState), message }
}

async fn read_message(inbound: &mut Inbound) -> Result<(u8, BytesMut), ConnectError> {
    inbound.fill(5).await.map_err(ConnectError::Lost)?;
    let head = *inbound.received.first_chunk().expect("five bytes were read");
    let (kind, length) =
        message_head(head, BODY_MAX).map_err(|_| ConnectError::Protocol("a message of an impossible length"))?;
    inbound.fill(length).await.map_err(ConnectError::Lost)?;
    let mut body = inbound.received.split_to(length);
    body.advance(5);
    Ok((kind, body))
}

async fn send(inbound: &mut Inbound, out: &mut BytesMut) -> Result<(), ConnectError> {
    if !out.is_empty() {
        inbound.stream.write_all(out).await.map_err(ConnectError::Lost)?;
        inbound.stream.flush().await.map_err(ConnectError::Lost)?;
        out.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
