//! One login, top to bottom: encryption, startup packet, proof, database.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BytesMut};
use rand::Rng;
use tokio::io::AsyncWriteExt;

use super::request::Request;
use super::{AuthMethod, LoggedIn, LoginContext, LoginError, Outcome, Proven};
use crate::config::{Account, ClientTlsMode, Mismatch, TenantsOf, User, UserSecret};
use crate::fault::{Report, Severity};
use crate::net::tls::Alpn;
use crate::net::{Inbound, Peer, Stream};
use crate::scram::{self, Mechanism, NONCE_LENGTH, Proof, ServerExchange};
use crate::wire::CancelKey;
use crate::wire::message::{self, Fields, Level};
use crate::wire::startup::{self, Packet, Startup};

/// First byte of a TLS handshake record; no startup packet begins so, for that would be longer than any may be.
const TLS_HANDSHAKE: u8 = 0x16;

/// Body of a SASLInitialResponse, at most: a mechanism's name, a length, a message.
const SASL_BODY_MAX: usize = scram::MESSAGE_MAX + 64;

/// How long a refused client may take to read why.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Takes a connection from its first byte to an authenticated user, within `server.login_timeout`.
///
/// A client that is refused has been told why, and its stream is closed, when this returns. The caller still owes: limits
/// on connections, the server's parameters, and [`LoggedIn::pending`].
///
/// This is not cancel safe: dropping it closes the stream.
pub async fn login(stream: Stream, context: &LoginContext) -> Outcome {
    let mut inbound = Some(Inbound::new(stream));
    let limit = context.config.server.login_timeout;
    let settled = match tokio::time::timeout(limit, settle(&mut inbound, context)).await {
        Ok(settled) => settled,
        Err(_elapsed) => Err(LoginError::Timeout),
    };
    match (settled, inbound) {
        (Ok(Settled::Session(session)), Some(inbound)) => Outcome::Session(Box::new(session.with(inbound))),
        (Ok(Settled::Cancel(key)), Some(inbound)) => Outcome::Cancel(key, inbound.stream),
        (Ok(Settled::Session(_) | Settled::Cancel(_)), None) => Outcome::Closed(LoginError::Gone),
        (Err(error), inbound) => {
            if let Some(inbound) = inbound.filter(|_| error.is_told()) {
                // Whether it listens or not, the connection ends here.
                let _ = tokio::time::timeout(FAREWELL_MAX, farewell(inbound, &error)).await;
            }
            Outcome::Closed(error)
        }
    }
}

enum Settled {
    Session(Admission),
    Cancel(CancelKey),
}

/// Everything of a [`LoggedIn`] but its stream.
struct Admission {
    peer: Peer,
    user: Arc<User>,
    account: Option<Arc<Account>>,
    request: Request,
    method: AuthMethod,
    pending: BytesMut,
}

impl Admission {
    fn with(self, inbound: Inbound) -> LoggedIn {
        let Self { peer, user, account, request, method, pending } = self;
        LoggedIn {
            stream: inbound.stream,
            peer,
            user,
            account,
            database: request.database,
            protocol: request.protocol,
            settings: request.settings,
            application_name: request.application_name,
            method,
            pending,
            received: inbound.received,
            _proof: Proven(()),
        }
    }
}

/// `inbound` is `None` only while, and after, a TLS handshake owns the stream.
async fn settle(inbound: &mut Option<Inbound>, context: &LoginContext) -> Result<Settled, LoginError> {
    let packet = encrypt(inbound, context).await?;
    let inbound = inbound.as_mut().ok_or(LoginError::Gone)?;
    let startup = match packet {
        FirstPacket::Cancel(key) => return Ok(Settled::Cancel(key)),
        FirstPacket::Startup(startup) => startup,
    };
    let peer = inbound.stream.peer();
    require_tls(&inbound.stream, peer, context)?;
    let request = Request::read(&startup)?;

    let mut out = BytesMut::new();
    if startup.must_negotiate() {
        let unknown: Vec<&str> = startup.extensions.iter().map(|name| &**name).collect();
        message::negotiate_protocol_version(&mut out, request.protocol, &unknown);
    }
    let (user, method) = authenticate(inbound, peer, &request, &mut out, context).await?;
    message::authentication_ok(&mut out);
    let server_name = inbound.stream.tls_info().and_then(|info| info.server_name.as_deref());
    let account = match authorize(&user, &request, server_name, context) {
        Ok(account) => account,
        Err(error) => {
            // The proof was right, and the client may see that it was.
            inbound.stream.write_all(&out).await.map_err(LoginError::io)?;
            return Err(error);
        }
    };
    Ok(Settled::Session(Admission { peer, user, account, request, method, pending: out }))
}

/// What begins a connection, once encryption is settled.
enum FirstPacket {
    Startup(Startup),
    Cancel(CancelKey),
}

/// Answers encryption requests, each kind at most once, until the packet that counts.
async fn encrypt(inbound: &mut Option<Inbound>, context: &LoginContext) -> Result<FirstPacket, LoginError> {
    let (mut ssl_asked, mut gss_asked) = (false, false);
    let current = inbound.as_mut().ok_or(LoginError::Gone)?;
    current.fill(1).await.map_err(LoginError::io)?;
    if current.received[0] == TLS_HANDSHAKE {
        handshake(inbound, context, Handshake::Direct).await?;
        ssl_asked = true;
    }
    loop {
        let current = inbound.as_mut().ok_or(LoginError::Gone)?;
        let packet = read_packet(current).await?;
        match packet {
            Packet::SslRequest if !ssl_asked && current.stream.tls_info().is_none() => {
                ssl_asked = true;
                nothing_more(current)?;
                if context.tls.is_some() && may_encrypt(&current.stream) {
                    answer(current, b"S").await?;
                    handshake(inbound, context, Handshake::Asked).await?;
                } else {
                    answer(current, b"N").await?;
                }
            }
            Packet::GssEncRequest if !gss_asked && current.stream.tls_info().is_none() => {
                gss_asked = true;
                nothing_more(current)?;
                answer(current, b"N").await?;
            }
            Packet::SslRequest => return Err(repeated(startup::SSL_REQUEST)),
            Packet::GssEncRequest => return Err(repeated(startup::GSSENC_REQUEST)),
            Packet::Cancel(key) => return Ok(FirstPacket::Cancel(key)),
            Packet::Startup(startup) => return Ok(FirstPacket::Startup(startup)),
        }
    }
}

/// A second request is read as a startup packet of a version that does not exist, as PostgreSQL does.
fn repeated(code: u32) -> LoginError {
    startup::PacketError::Version { major: (code >> 16) as u16, minor: code as u16 }.into()
}

/// Whatever follows a request before it was answered did not pass through the encryption that is about to be.
fn nothing_more(inbound: &Inbound) -> Result<(), LoginError> {
    if inbound.received.is_empty() { Ok(()) } else { Err(LoginError::PlainAfterRequest) }
}

/// Unix sockets need no TLS, and PostgreSQL offers none there.
fn may_encrypt(stream: &Stream) -> bool {
    match stream {
        Stream::Tcp(_) | Stream::Memory(_) => true,
        Stream::Unix(_) | Stream::Tls(_) => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Handshake {
    /// After an SSLRequest: not a byte of it was read yet.
    Asked,
    /// The connection began with it.
    Direct,
}

async fn handshake(inbound: &mut Option<Inbound>, context: &LoginContext, kind: Handshake) -> Result<(), LoginError> {
    let Some(acceptor) = context.tls.as_ref() else { return Err(LoginError::NoTls) };
    let Inbound { stream, received } = inbound.take().ok_or(LoginError::Gone)?;
    if !may_encrypt(&stream) {
        return Err(LoginError::NoTls);
    }
    let stream = acceptor.accept(stream, received).await.map_err(LoginError::Tls)?;
    let alpn = stream.tls_info().map_or(Alpn::Absent, |info| info.alpn);
    *inbound = Some(Inbound::new(stream));
    match (kind, alpn) {
        (Handshake::Asked, Alpn::Postgresql | Alpn::Absent) | (Handshake::Direct, Alpn::Postgresql) => Ok(()),
        (Handshake::Direct, Alpn::Absent) => Err(LoginError::NoAlpn),
    }
}

async fn read_packet(inbound: &mut Inbound) -> Result<Packet, LoginError> {
    inbound.fill(4).await.map_err(LoginError::io)?;
    let head = *inbound.received.first_chunk().expect("four bytes were read");
    let length = startup::packet_length(head)?;
    inbound.fill(length).await.map_err(LoginError::io)?;
    Ok(startup::parse(&inbound.received.split_to(length))?)
}

async fn answer(inbound: &mut Inbound, byte: &[u8; 1]) -> Result<(), LoginError> {
    inbound.stream.write_all(byte).await.map_err(LoginError::io)
}

/// Unix sockets never leave the machine.
fn require_tls(stream: &Stream, peer: Peer, context: &LoginContext) -> Result<(), LoginError> {
    let required = match context.config.tls.as_ref().map(|tls| tls.mode) {
        None | Some(ClientTlsMode::Allow) => false,
        Some(ClientTlsMode::Require | ClientTlsMode::VerifyClient) => true,
    };
    if required && stream.tls_info().is_none() && !matches!(peer, Peer::Unix { .. }) {
        return Err(LoginError::TlsRequired);
    }
    Ok(())
}

/// Certificate, trust or password, as the user's configuration has it; an unknown user is asked for a password.
async fn authenticate(
    inbound: &mut Inbound,
    peer: Peer,
    request: &Request,
    out: &mut BytesMut,
    context: &LoginContext,
) -> Result<(Arc<User>, AuthMethod), LoginError> {
    let people = context.people();
    let user = people.find(&request.database, &request.user).map(|found| found.user);
    if let Some(user) = user
        && let Some(method) = without_password(user, inbound, peer)
    {
        return match expired(user) {
            true => Err(LoginError::Expired { user: user.name.clone() }),
            false => Ok((user.clone(), method)),
        };
    }
    let method = prove_password(inbound, peer, request, out, context).await?;
    match user {
        Some(user) => Ok((user.clone(), method)),
        // No proof is accepted for a stand-in verifier.
        None => Err(LoginError::Password { user: request.user.clone() }),
    }
}

fn without_password(user: &User, inbound: &Inbound, peer: Peer) -> Option<AuthMethod> {
    let shown = inbound.stream.tls_info().and_then(|info| info.peer_cn.as_ref());
    if shown.is_some() && shown == user.cert_cn.as_ref() {
        return Some(AuthMethod::Certificate);
    }
    match user.secret {
        Some(UserSecret::Trust) if peer.is_local() => Some(AuthMethod::Trust),
        Some(UserSecret::Trust | UserSecret::Plain(_) | UserSecret::Verifier(_)) | None => None,
    }
}

/// The SCRAM exchange: the same messages and the same work whether the user exists or not.
async fn prove_password(
    inbound: &mut Inbound,
    peer: Peer,
    request: &Request,
    out: &mut BytesMut,
    context: &LoginContext,
) -> Result<AuthMethod, LoginError> {
    let (tries, window) = (context.config.server.login_failures_max, context.config.server.login_timeout);
    let may_try = || context.failures.check(peer, tries, window).map_err(|_exhausted| LoginError::TooManyFailures);
    may_try()?;
    let name = &request.user;
    let stand_in = context.stand_in(&request.database, name);
    let people = context.people();
    let found = people.find(&request.database, name);
    let known = found.and_then(|found| found.verifier.or_else(|| context.verifiers.known(&found.user.name)));
    let (verifier, proof) = match (known, found) {
        (Some(verifier), Some(found)) if !expired(found.user) => (verifier, Proof::Accept),
        (Some(verifier), Some(_)) => (verifier, Proof::Refuse),
        (Some(_) | None, _) => (&stand_in, Proof::Refuse),
    };

    let end_point = inbound.stream.tls_info().and_then(|info| info.end_point.clone());
    let offered: &[&str] =
        if end_point.is_some() { &[scram::MECHANISM_PLUS, scram::MECHANISM] } else { &[scram::MECHANISM] };
    message::authentication_sasl(out, offered);
    send(inbound, out).await?;
    let initial = read_password_message(inbound, SASL_BODY_MAX).await?;
    let (mechanism, first) = initial_response(&initial)?;
    if !offered.contains(&mechanism.name()) {
        return Err(LoginError::Mechanism);
    }
    let first = match first {
        Some(first) => first,
        None => {
            message::authentication_sasl_continue(out, b"");
            send(inbound, out).await?;
            read_password_message(inbound, scram::MESSAGE_MAX).await?
        }
    };
    let nonce = scram::nonce(rand::rng().random::<[u8; NONCE_LENGTH]>());
    let exchange = ServerExchange::start(&first, mechanism, end_point.as_deref(), verifier, proof, &nonce)
        .map_err(|error| LoginError::scram(name, error))?;
    message::authentication_sasl_continue(out, exchange.server_first().as_bytes());
    send(inbound, out).await?;
    let last = read_password_message(inbound, scram::MESSAGE_MAX).await?;
    // Again: others from this address may have failed while this one took its time.
    may_try()?;
    let server_final = exchange.finish(&last).map_err(|error| {
        let error = LoginError::scram(name, error);
        if matches!(error, LoginError::Password { .. }) {
            context.failures.record(peer, window);
        }
        error
    })?;
    message::authentication_sasl_final(out, server_final.as_bytes());
    Ok(match mechanism {
        Mechanism::Plain => AuthMethod::Scram,
        Mechanism::Plus => AuthMethod::ScramPlus,
    })
}

/// Mechanism and first message of a SASLInitialResponse; the message may be absent, to be asked for.
fn initial_response(body: &[u8]) -> Result<(Mechanism, Option<BytesMut>), LoginError> {
    let end = body.iter().position(|byte| *byte == 0).ok_or(LoginError::Sasl)?;
    let name = std::str::from_utf8(&body[..end]).map_err(|_| LoginError::Mechanism)?;
    let mechanism = Mechanism::from_name(name).ok_or(LoginError::Mechanism)?;
    let (length, message) = body[end + 1..].split_first_chunk::<4>().ok_or(LoginError::Sasl)?;
    match i32::from_be_bytes(*length) {
        -1 if message.is_empty() => Ok((mechanism, None)),
        length if usize::try_from(length) == Ok(message.len()) => Ok((mechanism, Some(message.into()))),
        _ => Err(LoginError::Sasl),
    }
}

async fn read_password_message(inbound: &mut Inbound, body_max: usize) -> Result<BytesMut, LoginError> {
    inbound.fill(5).await.map_err(LoginError::io)?;
    let head = *inbound.received.first_chunk().expect("five bytes were read");
    let (kind, length) = startup::message_head(head, body_max)?;
    match kind {
        b'p' => {}
        // A client that gives up says goodbye.
        b'X' => return Err(LoginError::Gone),
        got => return Err(LoginError::UnexpectedMessage { expected: "a SASL response", got }),
    }
    inbound.fill(length).await.map_err(LoginError::io)?;
    let mut message = inbound.received.split_to(length);
    message.advance(5);
    Ok(message)
}

async fn send(inbound: &mut Inbound, out: &mut BytesMut) -> Result<(), LoginError> {
    inbound.stream.write_all(out).await.map_err(LoginError::io)?;
    inbound.stream.flush().await.map_err(LoginError::io)?;
    out.clear();
    Ok(())
}

/// `valid_until` is the last second that is accepted. A clock before 1970 is later than any.
fn expired(user: &User) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs());
    user.valid_until.is_some_and(|last| now > last)
}

/// What the user may open, and as which tenant. Whoever is limited to some databases does not learn which others exist.
fn authorize(
    user: &Arc<User>,
    request: &Request,
    server_name: Option<&str>,
    context: &LoginContext,
) -> Result<Option<Arc<Account>>, LoginError> {
    let config = &context.config;
    let database = &request.database;
    let forbidden = || LoginError::Forbidden { user: user.name.clone(), database: database.clone() };
    if *database == config.admin.database {
        let may = config.admin.admins.contains(&user.name) || config.admin.viewers.contains(&user.name);
        return if may { Ok(None) } else { Err(forbidden()) };
    }
    if !user.databases.is_empty() && !user.databases.contains(database) {
        return Err(forbidden());
    }
    let Some(found) = config.databases.get(database) else {
        return Err(LoginError::NoDatabase { user: user.name.clone(), database: database.clone() });
    };
    let refused = |why| LoginError::Tenant { user: user.name.clone(), why };
    let people = context.people();
    let named = people.find(database, &request.user).and_then(|found| found.tenant).map(Arc::from);
    let carried = || server_name.filter(|_| context.tls_names_tenants()).and_then(first_label);
    let tenant = match (named.or_else(carried), &user.tenants) {
        (None, TenantsOf::None) => None,
        (Some(name), _) => Some(name),
        (None, TenantsOf::One(name)) => Some(name.clone()),
        (None, TenantsOf::Several(names)) if names.len() == 1 => names.first().cloned(),
        (None, TenantsOf::Several(_) | TenantsOf::All) => return Err(refused(Mismatch::Unnamed)),
    };
    let tenant = match tenant {
        Some(name) if user.tenants.has(&name) => match people.tenant(database, &name) {
            Some(tenant) => Some(tenant.clone()),
            None => return Err(refused(Mismatch::OtherTenant)),
        },
        Some(_) => return Err(refused(Mismatch::OtherTenant)),
        None => None,
    };
    Account::new(user.clone(), found.clone(), tenant).map(|account| Some(Arc::new(account))).map_err(refused)
}

/// `acme` of `acme.db.example.com`; a name without a dot is a host's.
fn first_label(server_name: &str) -> Option<Arc<str>> {
    server_name.split_once('.').map(|(label, _)| label.into())
}

/// The last message, and a clean end of the stream.
async fn farewell(mut inbound: Inbound, error: &LoginError) -> std::io::Result<()> {
    let (text, detail, hint) = (error.message(), error.detail(), error.hint());
    let level = match error.severity() {
        Severity::Error => Level::Error,
        Severity::Fatal => Level::Fatal,
    };
    let fields = Fields {
        level,
        sqlstate: error.sqlstate().0,
        message: &text,
        detail: detail.as_deref(),
        hint: hint.as_deref(),
        position: None,
    };
    let mut out = BytesMut::new();
    message::error_response(&mut out, &fields);
    inbound.stream.write_all(&out).await?;
    inbound.stream.shutdown().await
}
