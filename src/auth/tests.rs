use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::config::*;
use crate::scram::{ClientExchange, ClientKeys};
use crate::wire::{message, startup};

const FEW: NonZeroU32 = NonZeroU32::new(8).unwrap();

fn user(name: &str, secret: Option<UserSecret>) -> User {
    User {
        name: name.into(),
        secret,
        cert_cn: None,
        databases: Vec::new(),
        tenants: TenantsOf::None,
        role: None,
        server_user: name.into(),
        server_password: None,
        server_auth: ServerAuth { md5: Permit::Refuse, cleartext: Permit::Refuse },
        pool: PoolSettings {
            mode: PoolMode::Transaction,
            size: 1,
            size_min: 0,
            server_idle_timeout: Duration::ZERO,
            server_lifetime: Duration::ZERO,
            prepared_max: 0,
            login_retry_min: Duration::from_secs(1),
            login_retry_max: Duration::from_secs(1),
        },
        clients_max: 10,
        session_state: SessionState::Pin,
        valid_until: None,
    }
}

fn verifier(password: &str) -> UserSecret {
    UserSecret::Verifier(Secret::new(Verifier::derive(password, b"0123456789abcdef", FEW).to_string()))
}

/// Users: ann (verifier), pat (plain password), tom (trust), old (expired), few (one database), adm (console).
fn config() -> Config {
    let second = Duration::from_secs(1);
    let mut users: Vec<User> = vec![
        user("ann", Some(verifier("secret"))),
        user("pat", Some(UserSecret::Plain(Secret::new("plain")))),
        user("tom", Some(UserSecret::Trust)),
        User { valid_until: Some(1), ..user("old", Some(verifier("secret"))) },
        User { databases: vec!["billing".into()], ..user("few", Some(verifier("secret"))) },
        user("adm", Some(verifier("secret"))),
        user("non", None),
    ];
    let database = |name: &str| Database {
        name: name.into(),
        shard: "main".into(),
        server_database: name.into(),
        connections_max: 10,
        tenancy: None,
    };
    Config {
        source: PathBuf::new(),
        server: Server {
            listen: Vec::new(),
            unix_socket_dir: None,
            unix_socket_port: 0,
            workers: 1,
            clients_max: 100,
            login_timeout: 10 * second,
            login_failures_max: 1000,
            queue_timeout: second,
            queue_max: 1,
            client_idle_timeout: Duration::ZERO,
            idle_in_transaction_timeout: Duration::ZERO,
            query_timeout: Duration::ZERO,
            drain_timeout: second,
            message_size_max: 1 << 20,
            statement_size_max: 1 << 18,
            buffer_size_max: 1 << 18,
            keepalive: Keepalive { idle: Duration::ZERO, interval: Duration::ZERO, retries: 0 },
            cancels_max: 1,
        },
        tls: None,
        admin: Admin { database: "pgwarden".into(), admins: vec!["adm".into()], viewers: Vec::new(), http: None },
        audit: None,
        log: Log { level: LogLevel::Info, format: LogFormat::Auto, connections: false, disconnections: false },
        shards: BTreeMap::new(),
        tenants: Default::default(),
        roles: Default::default(),
        databases: ["billing", "other"].map(|name| (name.into(), Arc::new(database(name)))).into(),
        users: users.drain(..).map(|user| (user.name.clone(), Arc::new(user))).collect(),
    }
}

fn context(config: Config) -> LoginContext {
    let verifiers = Verifiers::new(&config, &MockSecret::new([3; 32]), None).unwrap();
    LoginContext {
        config: Arc::new(config),
        tls: None,
        verifiers: Arc::new(verifiers),
        failures: Arc::new(FailureLimiter::default()),
        directories: Default::default(),
    }
}

fn startup(parameters: &[(&str, &str)]) -> BytesMut {
    let mut out = BytesMut::new();
    message::startup(&mut out, ProtocolVersion::V3_0, parameters);
    out
}

/// Starts a login on one end of a pipe and gives the other.
fn begin(context: &LoginContext) -> (DuplexStream, tokio::task::JoinHandle<Outcome>) {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let context = context.clone();
    (theirs, tokio::spawn(async move { login(Stream::Memory(ours), &context).await }))
}

async fn read_message(client: &mut DuplexStream) -> (u8, Vec<u8>) {
    let kind = client.read_u8().await.unwrap();
    let length = client.read_u32().await.unwrap() as usize;
    let mut body = vec![0; length - 4];
    client.read_exact(&mut body).await.unwrap();
    (kind, body)
}

/// The client's side of SCRAM up to its last message; what comes then is the server's verdict.
async fn prove(client: &mut DuplexStream, password: &str) {
    let (kind, body) = read_message(client).await;
    assert_eq!((kind, &body[..4]), (b'R', &[0, 0, 0, 10][..]), "{}", String::from_utf8_lossy(&body));
    let exchange = ClientExchange::choose(&[crate::scram::MECHANISM], None, "nonce".into()).unwrap();
    let mut out = BytesMut::new();
    message::sasl_initial_response(&mut out, "SCRAM-SHA-256", exchange.client_first().as_bytes());
    client.write_all(&out).await.unwrap();
    let (kind, body) = read_message(client).await;
    assert_eq!((kind, &body[..4]), (b'R', &[0, 0, 0, 11][..]), "{}", String::from_utf8_lossy(&body));
    let first = exchange.read(&body[4..]).unwrap();
    let keys = ClientKeys::derive(password, &first.salt, first.iterations);
    let last = exchange.respond(&first, &keys);
    out.clear();
    message::sasl_response(&mut out, last.message().as_bytes());
    client.write_all(&out).await.unwrap();
}

async fn log_in(context: &LoginContext, parameters: &[(&str, &str)], password: &str) -> (Outcome, Vec<u8>) {
    let (mut client, outcome) = begin(context);
    client.write_all(&startup(parameters)).await.unwrap();
    prove(&mut client, password).await;
    let outcome = outcome.await.unwrap();
    let mut rest = Vec::new();
    if matches!(outcome, Outcome::Closed(_)) {
        client.read_to_end(&mut rest).await.unwrap();
    }
    (outcome, rest)
}

fn session(outcome: Outcome) -> LoggedIn {
    match outcome {
        Outcome::Session(session) => *session,
        Outcome::Cancel(..) => panic!("a cancel request"),
        Outcome::Closed(error) => panic!("closed: {error}"),
    }
}

fn closed(outcome: Outcome) -> LoginError {
    match outcome {
        Outcome::Closed(error) => error,
        Outcome::Session(_) | Outcome::Cancel(..) => panic!("not closed"),
    }
}

/// SQLSTATE and message of the one ErrorResponse in these bytes.
fn told(bytes: &[u8]) -> (String, String) {
    assert_eq!(bytes.first(), Some(&b'E'), "{bytes:?}");
    let field = |kind: u8| {
        let field = bytes[5..].split(|byte| *byte == 0).find(|field| field.first() == Some(&kind)).unwrap();
        String::from_utf8(field[1..].to_vec()).unwrap()
    };
    assert_eq!(field(b'S'), "FATAL");
    (field(b'C'), field(b'M'))
}

/// What a client that sends these bytes and reads to the end is told.
async fn refused(context: &LoginContext, bytes: &[u8]) -> (LoginError, Vec<u8>) {
    let (mut client, outcome) = begin(context);
    client.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    (closed(outcome.await.unwrap()), answer)
}

#[tokio::test]
async fn a_right_password_makes_a_session_that_is_told_nothing_yet() {
    let context = context(config());
    for (name, password) in [("ann", "secret"), ("pat", "plain")] {
        let parameters = [("user", name), ("database", "billing"), ("DateStyle", "ISO"), ("application_name", "test")];
        let session = session(log_in(&context, &parameters, password).await.0);
        assert_eq!((&*session.user.name, &*session.database, session.method), (name, "billing", AuthMethod::Scram));
        assert_eq!(session.settings, [("datestyle".into(), "ISO".into())]);
        assert_eq!(&*session.application_name, "test");
        assert_eq!(session.protocol, ProtocolVersion::V3_0);
        let split = session.pending.len() - 9;
        assert_eq!(&session.pending[5..11], b"\0\0\0\x0cv=");
        assert_eq!(session.pending[split..], *b"R\0\0\0\x08\0\0\0\0");
    }
}

#[tokio::test]
async fn unknown_users_and_wrong_passwords_cannot_be_told_apart() {
    let context = context(config());
    // old is expired, non has no password.
    for (name, password) in [("ann", "wrong"), ("nobody", "secret"), ("old", "secret"), ("non", "secret"), ("pat", "")]
    {
        let (outcome, rest) = log_in(&context, &[("user", name), ("database", "billing")], password).await;
        assert!(matches!(closed(outcome), LoginError::Password { .. }), "{name}");
        let expected = ("28P01".to_owned(), format!("password authentication failed for user \"{name}\""));
        assert_eq!(told(&rest), expected);
    }
}

#[tokio::test]
async fn unknown_users_meet_the_iterations_that_most_users_have() {
    let context = context(config());
    assert_eq!(context.stand_in("billing", "nobody").iterations(), FEW);
    assert_eq!(context.verifiers.known("pat").map(Verifier::iterations), Some(ITERATIONS_DEFAULT));
}

#[tokio::test]
async fn verifiers_of_plain_passwords_are_kept_over_a_reload() {
    let mock = MockSecret::new([3; 32]);
    let mut config = config();
    let first = Verifiers::new(&config, &mock, None).unwrap();
    // A different secret shows whether it was derived again.
    let other = MockSecret::new([4; 32]);
    let second = Verifiers::new(&config, &other, Some(&first)).unwrap();
    assert_eq!(first.known("pat"), second.known("pat"));
    config.users.insert("pat".into(), Arc::new(user("pat", Some(UserSecret::Plain(Secret::new("new"))))));
    let third = Verifiers::new(&config, &mock, Some(&second)).unwrap();
    assert!(third.known("pat").unwrap().matches("new"));
    config.users.insert("bad".into(), Arc::new(user("bad", Some(UserSecret::Verifier(Secret::new("md5abc"))))));
    assert_eq!(&*Verifiers::new(&config, &mock, None).unwrap_err().user, "bad");
}

#[tokio::test]
async fn trust_needs_no_password_and_bytes_sent_ahead_are_kept() {
    let context = context(config());
    let (mut client, outcome) = begin(&context);
    let mut bytes = startup(&[("user", "tom"), ("database", "other")]);
    bytes.extend_from_slice(b"Q\0\0\0\x0dselect 1\0");
    client.write_all(&bytes).await.unwrap();
    let session = session(outcome.await.unwrap());
    assert_eq!(session.method, AuthMethod::Trust);
    assert_eq!(session.pending[..], *b"R\0\0\0\x08\0\0\0\0");
    assert!(session.received.starts_with(b"Q"), "what was sent ahead is kept");
}

#[tokio::test]
async fn databases_are_looked_at_only_after_the_proof() {
    let context = context(config());
    let try_open = async |name: &str, database: &str| {
        let (outcome, rest) = log_in(&context, &[("user", name), ("database", database)], "secret").await;
        match outcome {
            Outcome::Session(_) => "open".to_owned(),
            Outcome::Cancel(..) => panic!("a cancel request"),
            Outcome::Closed(_) => {
                let error = rest.windows(5).position(|bytes| bytes == b"SFATA").unwrap() - 5;
                told(&rest[error..]).0
            }
        }
    };
    assert_eq!(try_open("ann", "other").await, "open");
    assert_eq!(try_open("ann", "none").await, "3D000");
    assert_eq!(try_open("ann", "pgwarden").await, "28000");
    assert_eq!(try_open("adm", "pgwarden").await, "open");
    assert_eq!(try_open("few", "billing").await, "open");
    assert_eq!(try_open("few", "other").await, "28000");
    assert_eq!(try_open("few", "none").await, "28000");
    assert_eq!(try_open("nobody", "none").await, "28P01");
}

#[tokio::test]
async fn requests_for_encryption_are_answered_once_each() {
    let context = context(config());
    let (mut client, outcome) = begin(&context);
    for code in [startup::GSSENC_REQUEST, startup::SSL_REQUEST] {
        let mut request = 8u32.to_be_bytes().to_vec();
        request.extend(code.to_be_bytes());
        client.write_all(&request).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'N');
    }
    client.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(told(&answer).1, "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2");
    assert_eq!(closed(outcome.await.unwrap()).reason(), "startup_packet");
}

#[tokio::test]
async fn bytes_behind_an_unanswered_request_are_refused() {
    let context = context(config());
    for code in [startup::GSSENC_REQUEST, startup::SSL_REQUEST] {
        let mut request = 8u32.to_be_bytes().to_vec();
        request.extend(code.to_be_bytes());
        request.extend_from_slice(&startup(&[("user", "tom"), ("database", "other")]));
        let (error, answer) = refused(&context, &request).await;
        assert!(matches!(error, LoginError::PlainAfterRequest));
        assert_eq!(told(&answer).0, "08P01");
    }
}

#[tokio::test]
async fn a_cancel_request_is_handed_over_with_its_stream() {
    let context = context(config());
    let (mut client, outcome) = begin(&context);
    let mut request = BytesMut::new();
    message::cancel_request(&mut request, -7, &[1; 32]);
    client.write_all(&request).await.unwrap();
    match outcome.await.unwrap() {
        Outcome::Cancel(key, stream) => {
            assert_eq!((key.pid, &key.secret[..]), (-7, &[1; 32][..]));
            drop(stream);
            assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        }
        Outcome::Session(_) | Outcome::Closed(_) => panic!("not a cancel request"),
    }
}

#[tokio::test]
async fn newer_versions_are_negotiated_once_and_go_on() {
    let context = context(config());
    let (mut client, outcome) = begin(&context);
    let mut out = BytesMut::new();
    let keys = [("user", "ann"), ("database", "billing"), ("_pq_.x", "1")];
    message::startup(&mut out, ProtocolVersion(3 << 16 | 9999), &keys);
    client.write_all(&out).await.unwrap();
    assert_eq!(read_message(&mut client).await, (b'v', b"\0\x03\0\x02\0\0\0\x01_pq_.x\0".to_vec()));
    prove(&mut client, "secret").await;
    let session = session(outcome.await.unwrap());
    assert_eq!(session.protocol, ProtocolVersion::V3_2);
    assert!(!session.pending.contains(&b'_'));
}

#[tokio::test]
async fn a_login_works_when_split_at_every_byte() {
    let context = context(config());
    let (mut client, outcome) = begin(&context);
    for byte in startup(&[("user", "ann"), ("database", "billing")]) {
        client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    prove(&mut client, "secret").await;
    assert_eq!(&*session(outcome.await.unwrap()).user.name, "ann");
}

#[tokio::test]
async fn hostile_beginnings_are_refused_with_a_reason() {
    let context = context(config());
    let mut long = startup(&[("user", "ann")]).to_vec();
    long[..4].copy_from_slice(&10_001u32.to_be_bytes());
    for (bytes, state, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "08P01", "startup_packet"),
        (b"\0\0\0\0\0\0\0\0", "08P01", "startup_packet"),
        (&long, "08P01", "startup_packet"),
        (b"\0\0\0\x09\0\x02\0\0\0", "0A000", "startup_packet"),
        (b"\0\0\0\x09\0\x03\0\0\0", "28000", "no_user"),
        (&startup(&[("user", "ann"), ("replication", "database")]), "0A000", "replication"),
        (&startup(&[("user", "ann"), ("client_encoding", "SJIS")]), "0A000", "client_encoding"),
        (&startup(&[("user", "ann"), ("options", "-x")]), "42601", "options"),
        (&startup(&[("user", "ann"), ("options", "-c user=adm")]), "42704", "setting_name"),
    ] {
        let (error, answer) = refused(&context, bytes).await;
        assert_eq!((told(&answer).0.as_str(), error.reason()), (state, reason));
    }
    // Nobody is told anything: TLS that is not configured, and a client that leaves.
    let (error, answer) = refused(&context, b"\x16\x03\x01\0\x05hello").await;
    assert!(matches!(error, LoginError::NoTls) && answer.is_empty());
    let (client, outcome) = begin(&context);
    drop(client);
    assert!(matches!(closed(outcome.await.unwrap()), LoginError::Gone));
}

#[tokio::test]
async fn hostile_passwords_are_refused_with_a_reason() {
    let context = context(config());
    let huge = [b"p\0\x01\0\0".to_vec(), vec![0; 100]].concat();
    let long_name = [b"p\0\0\0\x28".to_vec(), vec![b'A'; 36]].concat();
    for (bytes, state, reason) in [
        (&huge[..], "08P01", "startup_packet"),
        (b"p\0\0\0\x03", "08P01", "startup_packet"),
        (b"Q\0\0\0\x05\0", "08P01", "login_message"),
        (b"p\0\0\0\x04", "08P01", "login_message"),
        (&long_name, "08P01", "login_message"),
        (b"p\0\0\0\x0asecret\0", "08P01", "login_message"),
        (b"p\0\0\0\x1bSCRAM-SHA-256-PLUS\0\0\0\0\0", "08P01", "login_message"),
        (b"p\0\0\0\x16SCRAM-SHA-256\0\0\0\0\x09", "08P01", "login_message"),
        (b"p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xfe", "08P01", "login_message"),
        (b"p\0\0\0\x16SCRAM-SHA-256\0\0\0\0\0", "08P01", "scram"),
        (b"p\0\0\0\x22SCRAM-SHA-256\0\0\0\0\x0cn,a=x,n=,r=a", "0A000", "scram"),
    ] {
        let (mut client, outcome) = begin(&context);
        client.write_all(&startup(&[("user", "ann"), ("database", "billing")])).await.unwrap();
        read_message(&mut client).await;
        client.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        let error = closed(outcome.await.unwrap());
        assert_eq!((told(&answer).0.as_str(), error.reason()), (state, reason), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn an_absent_first_message_is_asked_for() {
    let context = context(config());
    let (mut client, outcome) = begin(&context);
    client.write_all(&startup(&[("user", "ann")])).await.unwrap();
    read_message(&mut client).await;
    client.write_all(b"p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xff").await.unwrap();
    assert_eq!(read_message(&mut client).await, (b'R', vec![0, 0, 0, 11]));
    client.write_all(b"X\0\0\0\x04").await.unwrap();
    assert!(matches!(closed(outcome.await.unwrap()), LoginError::Gone));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_takes_too_long_is_closed_without_a_word() {
    let context = context(config());
    for bytes in [&b""[..], b"\0", &startup(&[("user", "ann")])] {
        let (mut client, outcome) = begin(&context);
        client.write_all(bytes).await.unwrap();
        assert!(matches!(closed(outcome.await.unwrap()), LoginError::Timeout));
    }
}

#[tokio::test]
async fn failures_are_counted_by_address() {
    let mut config = config();
    config.server.login_failures_max = 2;
    let context = context(config);
    let ann = [("user", "ann"), ("database", "billing")];
    for _ in 0..2 {
        assert!(matches!(closed(log_in(&context, &ann, "wrong").await.0), LoginError::Password { .. }));
    }
    let (error, answer) = refused(&context, &startup(&ann)).await;
    assert!(matches!(error, LoginError::TooManyFailures));
    assert_eq!(told(&answer).0, "53400");
}

#[tokio::test]
async fn an_attempt_in_flight_does_not_pass_the_limit() {
    let mut config = config();
    config.server.login_failures_max = 1;
    let context = context(config);
    let ann = [("user", "ann"), ("database", "billing")];
    let (mut early, outcome) = begin(&context);
    early.write_all(&startup(&ann)).await.unwrap();
    let waiting = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        prove(&mut early, "secret").await;
        early
    });
    assert!(matches!(closed(log_in(&context, &ann, "wrong").await.0), LoginError::Password { .. }));
    let _early = waiting.await.unwrap();
    assert!(matches!(closed(outcome.await.unwrap()), LoginError::TooManyFailures));
}

#[tokio::test]
async fn plain_connections_are_refused_where_tls_is_required() {
    for mode in [ClientTlsMode::Require, ClientTlsMode::VerifyClient] {
        let mut config = config();
        config.tls = Some(ClientTls {
            mode,
            cert: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: None,
            server_name_tenant: false,
            version_min: TlsVersion::V12,
        });
        let (error, answer) = refused(&context(config), &startup(&[("user", "tom"), ("database", "other")])).await;
        assert!(matches!(error, LoginError::TlsRequired));
        assert_eq!(told(&answer).0, "28000");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_panic_hang_or_log_in(
        head in proptest::collection::vec(any::<u8>(), 0..40),
        tail in proptest::collection::vec(any::<u8>(), 0..200),
        kind in 0..5,
    ) {
        let mut bytes = match kind {
            0 => Vec::new(),
            1 => b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec(),
            2 => startup(&[("user", "ann")]).to_vec(),
            3 => [startup(&[("user", "ann")]).to_vec(), b"p\0\0\0\x40SCRAM-SHA-256\0\0\0\0\x2e".to_vec()].concat(),
            _ => [&((head.len() + 8) as u32).to_be_bytes()[..], &[0, 3, 0, 0]].concat(),
        };
        bytes.extend(&head);
        bytes.extend(&tail);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let context = context(Config { users: config().users.into_iter().filter(|(name, _)| &**name == "ann").collect(), ..config() });
            let (mut client, outcome) = begin(&context);
            let _ = client.write_all(&bytes).await;
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert!(!matches!(outcome.await.unwrap(), Outcome::Session(_)));
        });
    }
}
