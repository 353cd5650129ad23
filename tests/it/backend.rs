//! Opening backends against a real PostgreSQL: methods, TLS, sockets, cancel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgwarden::config::{Keepalive, Node, NodeAddress, Permit, Secret, ServerAuth, ServerTls, ServerTlsMode};
use pgwarden::fault::SqlState;
use pgwarden::pool::connect::{BackendLogin, ConnectError, Connected, Connector, cancel, connect};
use pgwarden::wire::CancelKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificates::Certificates;
use crate::kit::{self, Certificate, Cluster, Database, say};

const NEITHER: ServerAuth = ServerAuth { md5: Permit::Refuse, cleartext: Permit::Refuse };

fn tcp(cluster: &Cluster, mode: ServerTlsMode) -> Node {
    Node {
        address: NodeAddress::Tcp { host: "127.0.0.1".into(), port: cluster.port() },
        tls: ServerTls { mode, ca: None, cert: None, key: None },
        connect_timeout: Duration::from_secs(20),
    }
}

fn unix(cluster: &Cluster) -> Node {
    let address = NodeAddress::Unix { dir: cluster.socket_dir(), port: cluster.port() };
    Node { address, ..tcp(cluster, ServerTlsMode::VerifyFull) }
}

fn login(user: &str, password: &str, database: &str) -> BackendLogin {
    BackendLogin {
        user: user.into(),
        database: database.into(),
        password: Some(Secret::new(password)),
        auth: NEITHER,
        keepalive: Keepalive { idle: Duration::ZERO, interval: Duration::ZERO, retries: 0 },
        startup: vec![("application_name".into(), "pgwarden test".into())],
    }
}

fn owner(database: &Database) -> BackendLogin {
    login(&database.owner.name, &database.owner.password, &database.name)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// The reply to a Query, up to and with its ReadyForQuery.
async fn query(backend: &mut Connected, sql: &str) -> Vec<u8> {
    backend.stream.write_all(&say::query(sql)).await.expect("write");
    backend.stream.flush().await.expect("flush");
    let mut reply = Vec::new();
    while !reply.ends_with(b"Z\0\0\0\x05I") {
        assert!(backend.stream.read_buf(&mut reply).await.expect("read") > 0, "closed");
    }
    reply
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn scram_logs_in_over_tcp_and_unix() {
    let database = kit::database();
    for node in [tcp(kit::cluster(), ServerTlsMode::Prefer), unix(kit::cluster())] {
        wait(async {
            let mut backend = connect(&node, &owner(&database), &Connector::default()).await.expect("a backend");
            assert!(backend.parameters.iter().any(|(name, _)| name == "server_version"));
            assert!(backend.parameters.contains(&("application_name".into(), "pgwarden test".into())));
            assert!(backend.pid > 0 && backend.secret.len() == 4 && backend.tls.is_none());
            assert!(backend.stream.is_quiet());
            let reply = query(&mut backend, "select 'I am ' || current_user").await;
            assert!(contains(&reply, &format!("I am {}", database.owner.name)));
        });
    }
}

#[test]
fn refusals_keep_the_server_sqlstate() {
    let database = kit::database();
    wait(async {
        let node = tcp(kit::cluster(), ServerTlsMode::Disable);
        let connector = Connector::default();
        let refused = async |login: BackendLogin| connect(&node, &login, &connector).await.expect_err("refused");
        let wrong = refused(login(&database.owner.name, "wrong", &database.name)).await;
        assert_eq!(wrong.server_sqlstate(), Some(SqlState::INVALID_PASSWORD));
        let missing = refused(login(&database.owner.name, &database.owner.password, "no_such_database")).await;
        assert_eq!(missing.server_sqlstate(), Some(SqlState::INVALID_CATALOG_NAME));
        let none = refused(BackendLogin { password: None, ..owner(&database) }).await;
        assert!(matches!(none, ConnectError::Auth(_)));
        // The certificate is checked before the server is asked anything that it could refuse.
        let strict = connect(&tcp(kit::cluster(), ServerTlsMode::Require), &owner(&database), &connector).await;
        assert!(matches!(strict, Err(ConnectError::NoTls)));
    });
}

#[test]
fn a_second_login_reuses_the_derived_keys() {
    let database = kit::database();
    wait(async {
        let (node, connector) = (tcp(kit::cluster(), ServerTlsMode::Disable), Connector::default());
        for _ in 0..3 {
            connect(&node, &owner(&database), &connector).await.expect("a backend");
        }
        assert_eq!(connector.keys_held(), 1);
    });
}

#[test]
fn a_cancel_request_stops_what_runs() {
    let database = kit::database();
    wait(async {
        let node = tcp(kit::cluster(), ServerTlsMode::Disable);
        let connector = Connector::default();
        let mut backend = connect(&node, &owner(&database), &connector).await.expect("a backend");
        let key = CancelKey { pid: backend.pid, secret: backend.secret.clone() };
        let start = Instant::now();
        let stop = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            cancel(&node, &key, &connector).await.expect("a cancel");
        };
        let (reply, ()) = tokio::join!(query(&mut backend, "select pg_sleep(60)"), stop);
        assert!(contains(&reply, "57014") && start.elapsed() < Duration::from_secs(30));
        assert!(backend.stream.is_quiet(), "nothing stray follows");
    });
}

#[test]
fn weaker_methods_work_where_permitted() {
    let hba = "local all all scram-sha-256\n\
               host all md5user 127.0.0.1/32 md5\n\
               host all clear 127.0.0.1/32 password\n\
               host all free 127.0.0.1/32 trust\n";
    let cluster = Cluster::builder().hba(hba).start().expect("a cluster");
    let script = "set password_encryption = md5; create role md5user login password 'secret';
        set password_encryption = 'scram-sha-256'; create role clear login password 'secret'; create role free login";
    cluster.psql("postgres", script).expect("roles");
    wait(async {
        let node = tcp(&cluster, ServerTlsMode::Disable);
        let connector = Connector::default();
        let with = async |user: &str, auth: ServerAuth| {
            connect(&node, &BackendLogin { auth, ..login(user, "secret", "postgres") }, &connector).await
        };
        for user in ["md5user", "clear"] {
            assert!(matches!(with(user, NEITHER).await, Err(ConnectError::Auth(_))), "{user}");
        }
        with("md5user", ServerAuth { md5: Permit::Accept, ..NEITHER }).await.expect("md5");
        with("clear", ServerAuth { cleartext: Permit::Accept, ..NEITHER }).await.expect("cleartext");
        with("free", NEITHER).await.expect("trust");
        let nobody = with("nobody", NEITHER).await.expect_err("refused");
        assert_eq!(nobody.server_sqlstate(), Some(SqlState::INVALID_AUTHORIZATION));
    });
}

#[test]
fn tls_modes_mean_what_libpq_means() {
    let certificates = Certificates::new();
    let strangers = Certificates::new();
    certificates.issue("server");
    certificates.issue("certified");
    let hba = "local all all scram-sha-256\n\
               hostssl all certified 127.0.0.1/32 cert\n\
               hostssl all all 127.0.0.1/32 scram-sha-256\n";
    let files = Certificate {
        cert: certificates.path("server.pem"),
        key: certificates.path("server.key"),
        client_ca: Some(certificates.path("ca.pem")),
    };
    let cluster = Cluster::builder().hba(hba).tls(files).start().expect("a cluster");
    let script = "create role ann login password 'secret'; create role certified login";
    cluster.psql("postgres", script).expect("roles");
    let connector = Connector::default();
    let ann = login("ann", "secret", "postgres");
    let node = |mode, ca: Option<&Certificates>, host: &str| Node {
        address: NodeAddress::Tcp { host: Arc::from(host), port: cluster.port() },
        tls: ServerTls { mode, ca: ca.map(|from| from.path("ca.pem")), cert: None, key: None },
        connect_timeout: Duration::from_secs(20),
    };
    wait(async {
        let disabled = connect(&node(ServerTlsMode::Disable, None, "127.0.0.1"), &ann, &connector).await;
        assert_eq!(disabled.expect_err("hostssl only").server_sqlstate(), Some(SqlState::INVALID_AUTHORIZATION));
        for mode in [ServerTlsMode::Prefer, ServerTlsMode::Require] {
            let backend = connect(&node(mode, None, "127.0.0.1"), &ann, &connector).await.expect("a backend");
            assert_eq!(backend.tls, Some("TLSv1.3"));
            // The server offers -PLUS, so the channel was bound: a wrong hash would have failed the login.
            assert!(backend.stream.tls_info().expect("TLS").end_point.is_some());
        }
        let full = ServerTlsMode::VerifyFull;
        for host in ["127.0.0.1", "localhost"] {
            let mut backend =
                connect(&node(full, Some(&certificates), host), &ann, &connector).await.expect("verified");
            let reply = query(&mut backend, "select 'ssl=' || ssl from pg_stat_ssl where pid = pg_backend_pid()").await;
            assert!(contains(&reply, "ssl=true"));
            assert!(backend.stream.is_quiet());
        }
        let foreign = connect(&node(full, Some(&strangers), "127.0.0.1"), &ann, &connector).await;
        assert!(matches!(foreign, Err(ConnectError::Tls(_))));
        let bundled = connect(&node(full, None, "127.0.0.1"), &ann, &connector).await;
        assert!(matches!(bundled, Err(ConnectError::Tls(_))));

        let mut with = node(full, Some(&certificates), "127.0.0.1");
        (with.tls.cert, with.tls.key) =
            (Some(certificates.path("certified.pem")), Some(certificates.path("certified.key")));
        let certified = BackendLogin { password: None, ..login("certified", "", "postgres") };
        let backend = connect(&with, &certified, &connector).await.expect("by certificate");
        let key = CancelKey { pid: backend.pid, secret: backend.secret };
        cancel(&with, &key, &connector).await.expect("an encrypted cancel");
        let without = connect(&node(full, Some(&certificates), "127.0.0.1"), &certified, &connector).await;
        assert!(matches!(without, Err(ConnectError::Refused { .. })));
    });
}
