//! Logins of real clients: libpq by psql, tokio-postgres, and a raw one for what they never send.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificates::Certificates;
use crate::front::Front;
use crate::kit::{self, Login, Wire, say};

const ANN: &str = r#"
[users.ann]
password = "secret"
databases = ["billing"]
"#;

/// psql's answer to one query, or its error; `connection` is a conninfo string.
fn psql(connection: &str) -> Result<String, String> {
    let output = Command::new(kit::cluster().program("psql"))
        .args(["-XAtq", "-c", "who", "-d", connection])
        .env_clear()
        // No certificate, password file or root of whoever runs the tests.
        .env("HOME", "/nonexistent")
        .env("PGCONNECT_TIMEOUT", "20")
        .stdin(Stdio::null())
        .output()
        .expect("psql runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn tls_section(certificates: &Certificates, mode: &str) -> String {
    let path = |file: &str| certificates.path(file).display().to_string();
    format!(
        "[tls]\nmode = \"{mode}\"\ncert = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\n",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    )
}

fn certificates() -> Certificates {
    let certificates = Certificates::new();
    certificates.issue("server");
    certificates.issue("ann");
    certificates
}

#[test]
fn libpq_logs_in_by_password_over_tcp_and_unix() {
    let front = Front::start(ANN);
    let tcp = format!("host=127.0.0.1 port={} dbname=billing user=ann", front.port());
    let unix = format!("host={} port=6432 dbname=billing user=ann", front.socket_dir().display());
    for target in [&tcp, &unix] {
        let answer = psql(&format!("{target} password=secret application_name=me")).unwrap();
        assert!(answer.starts_with("ann|billing|scram-sha-256|plain|3.0|me|"), "{answer}");
        let refused = psql(&format!("{target} password=wrong")).unwrap_err();
        assert!(refused.contains("FATAL:  password authentication failed for user \"ann\""), "{refused}");
    }
    let options =
        psql(&format!("{tcp} password=secret options='-c search_path=a,\\\\ b --work-mem=1MB' client_encoding=UTF8"));
    assert!(options.unwrap().ends_with("|search_path=a, b;work_mem=1MB;client_encoding=UTF8"));
    let missing = psql(&format!("host=127.0.0.1 port={} dbname=none user=ann password=secret", front.port()));
    assert!(missing.unwrap_err().contains("is not allowed to connect to database \"none\""));
    let replication = psql(&format!("{tcp} password=secret replication=database")).unwrap_err();
    assert!(replication.contains("replication connections are not supported"), "{replication}");
    let encoding = psql(&format!("{tcp} password=secret client_encoding=SJIS")).unwrap_err();
    assert!(encoding.contains("HINT:  Use client_encoding UTF8."), "{encoding}");
}

#[test]
fn libpq_finds_the_tls_modes_and_binds_the_channel() {
    let certificates = certificates();
    let front = Front::start(&format!("{}{ANN}", tls_section(&certificates, "require")));
    let target =
        |more: &str| format!("host=localhost port={} dbname=billing user=ann password=secret {more}", front.port());
    let root = certificates.path("ca.pem").display().to_string();
    assert!(psql(&target("sslmode=disable")).unwrap_err().contains("this connection must be encrypted"));
    for mode in ["prefer", "require"] {
        let answer = psql(&target(&format!("sslmode={mode}"))).unwrap();
        assert!(answer.starts_with("ann|billing|scram-sha-256-plus|TLSv1.3|"), "{answer}");
    }
    let verified = psql(&target(&format!("sslmode=verify-full sslrootcert={root} channel_binding=require"))).unwrap();
    assert!(verified.contains("scram-sha-256-plus"));
    let unbound = psql(&target("sslmode=require channel_binding=disable")).unwrap();
    assert!(unbound.contains("|scram-sha-256|TLSv1.3|"));
    let older = psql(&target("sslmode=require ssl_max_protocol_version=TLSv1.2")).unwrap();
    assert!(older.contains("|scram-sha-256-plus|TLSv1.2|"));
    assert!(psql(&target("sslmode=require ssl_min_protocol_version=TLSv1 ssl_max_protocol_version=TLSv1.1")).is_err());
    // A Unix socket needs none.
    let unix = format!("host={} port=6432 dbname=billing user=ann password=secret", front.socket_dir().display());
    assert!(psql(&unix).unwrap().contains("|plain|"));
}

#[test]
fn certificates_log_in_their_owners_only() {
    let certificates = certificates();
    certificates.issue("bob");
    let users = "[users.ann]\ncert_cn = \"ann\"\n[users.bob]\npassword = \"secret\"\n";
    let front = Front::start(&format!("{}{users}", tls_section(&certificates, "verify-client")));
    let target = |user: &str, certificate: Option<&str>| {
        let file = |suffix: &str| certificates.path(&format!("{}.{suffix}", certificate.unwrap_or_default()));
        let shown = certificate
            .map_or(String::new(), |_| format!("sslcert={} sslkey={}", file("pem").display(), file("key").display()));
        format!(
            "host=localhost port={} dbname=billing user={user} password=secret sslmode=require {shown}",
            front.port()
        )
    };
    assert!(psql(&target("ann", Some("ann"))).unwrap().starts_with("ann|billing|certificate|"));
    assert!(psql(&target("bob", Some("bob"))).unwrap().starts_with("bob|billing|scram-sha-256-plus|"));
    let stolen = psql(&target("ann", Some("bob"))).unwrap_err();
    assert!(stolen.contains("password authentication failed for user \"ann\""), "{stolen}");
    assert!(psql(&target("bob", None)).is_err());
    let plain = target("bob", None).replace("sslmode=require", "sslmode=disable");
    assert!(psql(&plain).unwrap_err().contains("this connection must be encrypted"));
}

#[test]
fn tokio_postgres_logs_in() {
    let front = Front::start(ANN);
    let connection = format!("host=127.0.0.1 port={} dbname=billing user=ann password=secret", front.port());
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
        let (client, connection) = tokio_postgres::connect(&connection, tokio_postgres::NoTls).await.expect("a login");
        let driving = tokio::spawn(connection);
        let rows = client.simple_query("who").await.expect("an answer");
        let text = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        assert!(text.expect("a row").starts_with("ann|billing|scram-sha-256|"));
        drop(client);
        driving.await.expect("driven").expect("a clean end");
    });
}

#[test]
fn protocol_3_2_gets_a_long_cancel_key_and_newer_ones_are_negotiated() {
    let front = Front::start(ANN);
    for (asked, negotiated, key_length) in [(0x30000, None, 4), (0x30002, None, 32), (0x3270f, Some(0x30002u32), 32)] {
        let login = Login::new(front.address(), "ann", "secret", "billing").protocol(asked);
        let wire = login.connect();
        assert_eq!(wire.key.as_ref().expect("a key").secret.len(), key_length);
        let versions: Vec<_> = wire.greeting.iter().filter(|message| message.tag == b'v').collect();
        assert_eq!(versions.len(), usize::from(negotiated.is_some()), "{asked:x}");
        if let Some(version) = negotiated {
            assert_eq!(versions[0].body[..4], version.to_be_bytes());
        }
    }
}

#[test]
fn a_login_split_at_every_byte_works() {
    let front = Front::start(ANN);
    let login = Login::new(front.address(), "ann", "secret", "billing");
    let mut wire = login.dial().expect("connect");
    wire.send(&say::gss_request());
    assert_eq!(wire.read_byte(), b'N');
    for byte in say::ssl_request() {
        wire.send(&[byte]);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(wire.read_byte(), b'N');
    for byte in login.startup() {
        wire.send(&[byte]);
        std::thread::sleep(Duration::from_millis(2));
    }
    wire.authenticate("ann", "secret").expect("a login");
}

#[test]
fn plain_bytes_before_tls_never_reach_the_session() {
    let certificates = certificates();
    let front = Front::start(&format!("{}{ANN}", tls_section(&certificates, "allow")));
    let login = Login::new(front.address(), "ann", "secret", "billing");
    // In one packet with the request: refused in plain.
    let mut wire: Wire = login.dial().expect("connect");
    wire.send(&[say::ssl_request(), login.startup()].concat());
    let told = wire.until_closed();
    assert_eq!(told.first().and_then(|message| message.error()).expect("an error").sqlstate, "08P01");
    // Behind the answer: taken as a handshake, which they are not.
    let mut wire = login.dial().expect("connect");
    wire.send(&say::ssl_request());
    assert_eq!(wire.read_byte(), b'S');
    wire.send(&login.startup());
    wire.end_writes();
    // Only alerts of TLS come back, which are no messages.
    while let Ok(Some(message)) = wire.try_read() {
        assert!(!matches!(message.tag, b'R' | b'E' | b'Z'), "{message:?}");
    }
}

/// A TLS client that trusts the test's root and offers these application protocols.
fn tls_client(certificates: &Certificates, protocols: &[&str]) -> tokio_rustls::TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificates.path("ca.pem")).expect("a root")).expect("a root");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    std::sync::Arc::new(config).into()
}

/// What comes back when a connection begins with TLS and then says these bytes.
async fn say_over_direct_tls(
    front: &Front,
    client: &tokio_rustls::TlsConnector,
    bytes: &[u8],
) -> std::io::Result<Vec<u8>> {
    let tcp = tokio::net::TcpStream::connect(front.address()).await?;
    let mut tls = client.connect("localhost".try_into().expect("a name"), tcp).await?;
    // A server that has refused already may have closed: what it said still counts.
    let _ = tls.write_all(bytes).await;
    let mut answer = vec![0; 1024];
    let length = tls.read(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

#[test]
fn direct_tls_needs_the_application_protocol() {
    let certificates = certificates();
    let front = Front::start(&format!("{}{ANN}", tls_section(&certificates, "require")));
    let plain = Front::start(ANN);
    let startup = Login::new(front.address(), "ann", "secret", "billing").startup();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
        let with = tls_client(&certificates, &["postgresql"]);
        let without = tls_client(&certificates, &[]);
        let asked = say_over_direct_tls(&front, &with, &startup).await.expect("an answer");
        assert!(text(&asked).contains("SCRAM-SHA-256-PLUS"), "{}", text(&asked));
        let refused = say_over_direct_tls(&front, &without, &startup).await.expect("an answer");
        assert!(text(&refused).contains("08P01") && text(&refused).contains("application protocol"));
        let http = tls_client(&certificates, &["h2", "http/1.1"]);
        assert!(say_over_direct_tls(&front, &http, &startup).await.is_err());
        // No TLS inside of TLS, and none where it is not configured.
        let twice = say_over_direct_tls(&front, &with, &say::ssl_request()).await.expect("an answer");
        assert!(text(&twice).contains("unsupported frontend protocol 1234.5679"), "{}", text(&twice));
        assert!(say_over_direct_tls(&plain, &with, &startup).await.is_err());
    });
}

#[test]
fn a_storm_of_hostile_beginnings_leaves_the_next_client_alone() {
    let front = Front::start(ANN);
    let login = Login::new(front.address(), "ann", "secret", "billing");
    let startup = login.startup();
    for i in 0..400usize {
        let Ok(mut wire) = login.dial() else { continue };
        let mut bytes = startup.clone();
        let place = i % bytes.len();
        bytes[place] ^= (i as u8) | 1;
        bytes.truncate(1 + (i * 7) % startup.len());
        let _ = wire.try_send(&bytes);
    }
    login.connect();
}
