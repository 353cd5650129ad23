use std::num::NonZeroU32;

use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::*;
use crate::fault::Report;
use crate::scram::{MockSecret, ServerExchange, Verifier};

const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const READY: &[u8] = b"Z\0\0\0\x05I";

fn login() -> BackendLogin {
    BackendLogin {
        user: "ann".into(),
        database: "billing".into(),
        password: Some(Secret::new("secret")),
        auth: ServerAuth { md5: Permit::Refuse, cleartext: Permit::Refuse },
        keepalive: KEEPALIVE_OFF,
        startup: vec![("application_name".into(), "pgwarden".into())],
    }
}

fn begin(login: BackendLogin) -> (DuplexStream, tokio::task::JoinHandle<Result<Connected, ConnectError>>) {
    let (ours, theirs) = tokio::io::duplex(256 * 1024);
    let task = tokio::spawn(async move { log_in(Stream::Memory(ours), &login, &Connector::default()).await });
    (theirs, task)
}

/// What becomes of a login when the server says these bytes, whatever it is sent.
async fn told(login: BackendLogin, bytes: &[u8]) -> Result<Connected, ConnectError> {
    let (mut server, task) = begin(login);
    server.write_all(bytes).await.unwrap();
    server.shutdown().await.unwrap();
    let result = task.await.unwrap();
    drop(server);
    result
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

async fn read_message(server: &mut DuplexStream) -> (u8, Vec<u8>) {
    let kind = server.read_u8().await.unwrap();
    let length = server.read_u32().await.unwrap() as usize;
    let mut body = vec![0; length - 4];
    server.read_exact(&mut body).await.unwrap();
    (kind, body)
}

async fn read_startup(server: &mut DuplexStream) -> Vec<u8> {
    let length = server.read_u32().await.unwrap() as usize;
    let mut body = vec![0; length - 4];
    server.read_exact(&mut body).await.unwrap();
    body
}

#[tokio::test]
async fn a_login_ends_with_parameters_and_key() {
    let (mut server, task) = begin(login());
    let startup = read_startup(&mut server).await;
    assert_eq!(startup, b"\0\x03\0\0user\0ann\0database\0billing\0application_name\0pgwarden\0\0");
    let answer = [
        OK,
        &frame(b'S', b"server_version\x0015.1\0"),
        &frame(b'N', b"SNOTICE\0Mhello\0\0"),
        &frame(b'S', b"TimeZone\0A\0"),
        &frame(b'S', b"TimeZone\0B\0"),
        &frame(b'K', b"\xff\xff\xff\xf9\x01\x02\x03\x04"),
        READY,
    ]
    .concat();
    server.write_all(&answer).await.unwrap();
    let connected = task.await.unwrap().unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(connected.parameters, [pair("server_version", "15.1"), pair("TimeZone", "B")]);
    assert_eq!((connected.pid, &connected.secret[..], connected.tls), (-7, &[1, 2, 3, 4][..], None));
}

/// The server's side of SCRAM with this verifier, by our own other half.
async fn prove(server: &mut DuplexStream, verifier: &Verifier) -> Result<String, crate::scram::ScramError> {
    read_startup(server).await;
    server.write_all(&frame(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")).await.unwrap();
    let (_, initial) = read_message(server).await;
    let first = initial.strip_prefix(b"SCRAM-SHA-256\0").expect("no channel to bind");
    let proof = scram::Proof::Accept;
    let exchange = ServerExchange::start(&first[4..], scram::Mechanism::Plain, None, verifier, proof, "server")?;
    server.write_all(&frame(b'R', &[b"\0\0\0\x0b", exchange.server_first().as_bytes()].concat())).await.unwrap();
    exchange.finish(&read_message(server).await.1)
}

#[tokio::test]
async fn scram_is_answered_and_the_server_must_prove_itself() {
    let verifier = Verifier::derive("secret", b"0123456789abcdef", NonZeroU32::new(8).unwrap());
    let (mut server, task) = begin(login());
    let last = prove(&mut server, &verifier).await.unwrap();
    let answer = [&frame(b'R', &[b"\0\0\0\x0c", last.as_bytes()].concat())[..], OK, READY].concat();
    server.write_all(&answer).await.unwrap();
    assert_eq!(task.await.unwrap().unwrap().pid, 0);

    // One that knows no verifier accepts anything, and cannot sign.
    let stranger = MockSecret::new([1; 32]).verifier("ann", NonZeroU32::new(8).unwrap());
    let (mut server, task) = begin(login());
    assert!(prove(&mut server, &stranger).await.is_err());
    let signature = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    let answer = [&frame(b'R', &[b"\0\0\0\x0c", signature.as_bytes()].concat())[..], OK, READY].concat();
    server.write_all(&answer).await.unwrap();
    assert!(matches!(task.await.unwrap(), Err(ConnectError::Scram(_))));

    // One that skips its proof.
    let (mut server, task) = begin(login());
    prove(&mut server, &verifier).await.unwrap();
    server.write_all(&[OK, READY].concat()).await.unwrap();
    assert!(matches!(task.await.unwrap(), Err(ConnectError::Auth(_))));
}

#[tokio::test]
async fn keys_are_derived_once_per_salt_and_bounded() {
    let connector = Connector::default();
    let origin = |salt: u32| KeyOrigin {
        password: Secret::new("secret"),
        salt: salt.to_be_bytes().into(),
        iterations: NonZeroU32::MIN,
    };
    for salt in 0..KEYS_MAX as u32 {
        connector.keys(origin(salt)).await.unwrap();
        connector.keys(origin(0)).await.unwrap();
    }
    assert_eq!(connector.keys_held(), KEYS_MAX);
    connector.keys(origin(u32::MAX)).await.unwrap();
    assert_eq!(connector.keys_held(), 1);
}

#[tokio::test]
async fn weaker_methods_are_answered_only_where_permitted() {
    let cleartext = frame(b'R', &[0, 0, 0, 3]);
    let md5 = frame(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]);
    for asked in [&cleartext, &md5] {
        assert!(matches!(told(login(), asked).await, Err(ConnectError::Auth(_))));
        let both = ServerAuth { md5: Permit::Accept, cleartext: Permit::Accept };
        let permitted = BackendLogin { auth: both, ..login() };
        let answer = [asked, OK, READY].concat();
        told(permitted.clone(), &answer).await.unwrap();
        let without = BackendLogin { password: None, ..permitted };
        assert!(matches!(told(without, &answer).await, Err(ConnectError::Auth(_))));
    }
    // From the documentation's formula, computed with md5sum.
    assert_eq!(md5_response("ann", &Secret::new("secret"), &[1, 2, 3, 4]), "md59009ce60b9ca97f1e752376843d1309e");
}

#[tokio::test]
async fn refusals_are_read_with_and_without_a_sqlstate() {
    let error = told(login(), &frame(b'E', b"SFATAL\0C53300\0Msorry, too many\0\0")).await.unwrap_err();
    assert_eq!(error.server_sqlstate(), Some(SqlState::TOO_MANY_CONNECTIONS));
    assert_eq!(error.sqlstate(), SqlState::TOO_MANY_CONNECTIONS);
    assert!(error.is_transient());
    assert!(error.to_string().contains("sorry, too many"));
    for body in [&b"Mno code\0\0"[..], b"C123\0\0", b"C\xff\xff\xff\xff\xff\0\0", b"", b"\0", b"M"] {
        let error = told(login(), &frame(b'E', body)).await.unwrap_err();
        assert_eq!(error.server_sqlstate(), None, "{body:?}");
        assert_eq!(error.sqlstate(), SqlState::CONNECTION_FAILURE);
    }
    let secretive = told(login(), &frame(b'E', b"C28P01\0Mpassword of ann\0\0")).await.unwrap_err();
    assert!(!secretive.message().contains("ann"), "the server's text is not for clients");
}

#[tokio::test]
async fn a_hostile_server_is_refused() {
    let login_then = |bytes: &[u8]| [OK, bytes].concat();
    let many = frame(b'N', b"Mx\0\0").repeat(MESSAGES_MAX + 1);
    for bytes in [
        b"S\0\0\0\x03".to_vec(),
        b"S\xff\xff\xff\xff".to_vec(),
        frame(b'N', &vec![b'x'; BODY_MAX + 1]),
        many,
        frame(b'R', &[0, 0]),
        frame(b'R', &[0, 0, 0, 0, 0]),
        frame(b'R', &[0, 0, 0, 5, 1]),
        frame(b'R', &[0, 0, 0, 11]),
        frame(b'R', &[0, 0, 0, 12]),
        frame(b'R', &[0, 0, 0, 99]),
        frame(b'R', b"\0\0\0\x0aSCRAM-SHA-256"),
        frame(b'R', b"\0\0\0\x0a\xff\0\0"),
        READY.to_vec(),
        frame(b'K', &[0; 8]),
        frame(b'S', b"a\0b\0"),
        login_then(OK),
        login_then(b"Z\0\0\0\x05T"),
        login_then(b"Z\0\0\0\x04"),
        login_then(b"Z\0\0\0\x05Ix"),
        login_then(&frame(b'K', &[0; 7])),
        login_then(&frame(b'K', &[0; 261])),
        login_then(&frame(b'S', b"")),
        login_then(&frame(b'S', b"a\0")),
        login_then(&frame(b'S', b"a\0b")),
        login_then(&frame(b'S', b"a\0b\0c\0")),
        login_then(&frame(b'S', b"a\0\xff\0")),
        login_then(&frame(b'D', b"\0\0")),
        login_then(&frame(b'v', b"\0\0\0\0\0\0\0\0")),
    ] {
        let result = told(login(), &bytes).await;
        assert!(matches!(result, Err(ConnectError::Protocol(_))), "{:?}: {result:?}", String::from_utf8_lossy(&bytes));
    }
    for bytes in [&b""[..], b"R", b"R\0\0\0\x08\0\0", OK] {
        assert!(matches!(told(login(), bytes).await, Err(ConnectError::Lost(_))));
    }
    for method in [2, 6, 7, 8, 9] {
        assert!(matches!(told(login(), &frame(b'R', &[0, 0, 0, method])).await, Err(ConnectError::Auth(_))));
    }
    let unknown = frame(b'R', b"\0\0\0\x0aOAUTHBEARER\0\0");
    assert!(matches!(told(login(), &unknown).await, Err(ConnectError::Auth(_))));
}

#[tokio::test]
async fn answers_to_the_tls_request_are_one_byte() {
    for (answer, tls) in [(&b"S"[..], true), (b"N", false)] {
        let (ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(answer).await.unwrap();
        let offer = ask_for_tls(Stream::Memory(ours)).await.unwrap();
        assert_eq!(matches!(offer, Offer::Tls(_)), tls);
        let mut request = [0; 8];
        theirs.read_exact(&mut request).await.unwrap();
        assert_eq!(request, *b"\0\0\0\x08\x04\xd2\x16\x2f");
    }
    for answer in [&b"E\0\0\0\x04"[..], b"x"] {
        let (ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(answer).await.unwrap();
        assert!(matches!(ask_for_tls(Stream::Memory(ours)).await, Err(ConnectError::Protocol(_))));
    }
}

fn tcp(port: u16, mode: ServerTlsMode) -> Node {
    Node {
        address: NodeAddress::Tcp { host: "127.0.0.1".into(), port },
        tls: ServerTls { mode, ca: None, cert: None, key: None },
        connect_timeout: std::time::Duration::from_millis(300),
    }
}

#[tokio::test]
async fn servers_that_are_away_or_silent_are_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connector = Connector::default();
    let silent = connect(&tcp(port, ServerTlsMode::Disable), &login(), &connector).await.unwrap_err();
    assert!(matches!(silent, ConnectError::Timeout) && silent.is_transient());
    assert_eq!(silent.sqlstate(), SqlState::CANNOT_CONNECT_NOW);
    drop(listener);
    let away = connect(&tcp(port, ServerTlsMode::Disable), &login(), &connector).await.unwrap_err();
    assert!(matches!(away, ConnectError::Unreachable(_)));
    let socket = Node {
        address: NodeAddress::Unix { dir: "/nonexistent".into(), port: 1 },
        ..tcp(port, ServerTlsMode::VerifyFull)
    };
    assert!(matches!(connect(&socket, &login(), &connector).await, Err(ConnectError::Unreachable(_))));
}

#[tokio::test]
async fn a_server_without_tls_serves_prefer_and_no_stricter_mode() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.read_exact(&mut [0; 8]).await.unwrap();
            tcp.write_all(&[b"N", OK, READY].concat()).await.unwrap();
            let _ = tcp.read_to_end(&mut Vec::new()).await;
        }
    });
    let connector = Connector::default();
    assert!(connect(&tcp(port, ServerTlsMode::Prefer), &login(), &connector).await.is_ok());
    for mode in [ServerTlsMode::Require, ServerTlsMode::VerifyFull] {
        assert!(matches!(connect(&tcp(port, mode), &login(), &connector).await, Err(ConnectError::NoTls)));
    }
    server.abort();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_server_makes_us_panic_or_hang(
        kinds in proptest::collection::vec((prop::sample::select(&b"RSKZNEvpD"[..]), proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
        ok: bool,
        tail in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = if ok { OK.to_vec() } else { Vec::new() };
        for (kind, body) in kinds {
            bytes.extend(frame(kind, &body));
        }
        bytes.extend(tail);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(told(login(), &bytes));
    }
}
