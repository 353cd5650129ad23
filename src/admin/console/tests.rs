//! The console by raw frames, by psql and by tokio-postgres.

use std::process::Command as Process;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use expect_test::{Expect, expect};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::admin::Control as _;
use crate::admin::fake::Fake;
use crate::admin::{Command, Service};

/// A client that speaks frames.
struct Client {
    stream: DuplexStream,
    fake: Arc<Fake>,
    cancelled: Arc<Notify>,
    shutdown: watch::Sender<bool>,
    ended: JoinHandle<Ended>,
}

impl Client {
    async fn new(access: Access) -> Self {
        Self::with(access, Limits::default()).await
    }

    async fn with(access: Access, limits: Limits) -> Self {
        let (stream, far) = tokio::io::duplex(4096);
        let fake = Fake::new();
        let cancelled = Arc::new(Notify::new());
        let (shutdown, seen) = watch::channel(false);
        let service = Service::new(fake.clone());
        let ended = tokio::spawn({
            let cancelled = cancelled.clone();
            async move {
                let cancel_key = CancelKey { pid: -5, secret: Bytes::from_static(b"1234") };
                let login =
                    Login { user: "ada", client: "local", access, cancel_key: &cancel_key, cancelled: &cancelled };
                let first = BytesMut::from(&b"R\0\0\0\x08\0\0\0\0"[..]);
                serve(far, &service, login, first, &limits, seen).await
            }
        });
        let mut client = Self { stream, fake, cancelled, shutdown, ended };
        let greeting = client.until_ready().await;
        assert!(greeting.starts_with("R S(server_version=15.0 (pgwarden "), "{greeting}");
        assert!(greeting.ends_with("S(session_authorization=ada) S(application_name=) K Z(I)"), "{greeting}");
        client
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One message: its tag, and what matters of it.
    async fn message(&mut self) -> Option<(u8, String)> {
        let tag = self.stream.read_u8().await.ok()?;
        let length = self.stream.read_i32().await.unwrap();
        let mut body = vec![0; usize::try_from(length - 4).unwrap()];
        self.stream.read_exact(&mut body).await.unwrap();
        Some((tag, shown(tag, &body)))
    }

    async fn until_ready(&mut self) -> String {
        let mut all = Vec::new();
        while let Some((tag, shown)) = self.message().await {
            all.push(shown);
            if tag == b'Z' {
                break;
            }
        }
        all.join(" ")
    }

    /// Everything up to the end of the connection.
    async fn rest(mut self) -> (String, Ended) {
        let mut all = Vec::new();
        while let Some((_, shown)) = self.message().await {
            all.push(shown);
        }
        (all.join(" "), self.ended.await.unwrap())
    }

    async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.send(bytes).await;
        tokio::time::timeout(Duration::from_secs(5), self.until_ready()).await.expect("an answer")
    }
}

fn shown(tag: u8, body: &[u8]) -> String {
    let strings = |bytes: &[u8]| -> Vec<String> {
        bytes.split(|b| *b == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    };
    let letter = char::from(tag);
    match tag {
        b'S' => format!("S({}={})", strings(body)[0], strings(body)[1]),
        b'Z' => format!("Z({})", char::from(body[0])),
        b'C' => format!("C({})", strings(body)[0]),
        b'E' => {
            let fields = strings(body);
            let field = |kind| fields.iter().find_map(|field| field.strip_prefix(kind)).unwrap_or("").to_owned();
            format!("E({} {} {})", field('S'), field('C'), field('M'))
        }
        b'T' => format!("T({})", u16::from_be_bytes([body[0], body[1]])),
        b'D' => format!("D({})", values(body).join("|")),
        _ => letter.to_string(),
    }
}

fn values(mut body: &[u8]) -> Vec<String> {
    body = &body[2..];
    let mut values = Vec::new();
    while !body.is_empty() {
        let length = i32::from_be_bytes(body[..4].try_into().unwrap());
        body = &body[4..];
        let Ok(length) = usize::try_from(length) else {
            values.push("null".to_owned());
            continue;
        };
        let value = &body[..length];
        let printable = value.iter().all(|b| *b >= b' ');
        values.push(if printable { String::from_utf8_lossy(value).into_owned() } else { format!("{value:?}") });
        body = &body[length..];
    }
    values
}

fn frame(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = vec![tag];
    out.put_i32(body.len() as i32 + 4);
    out.extend(body);
    out
}

fn query(text: &str) -> Vec<u8> {
    frame(b'Q', &[text.as_bytes(), b"\0"])
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    frame(b'P', &[name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"])
}

fn bind(portal: &str, statement: &str, formats: &[u8]) -> Vec<u8> {
    frame(b'B', &[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0\0\0", formats])
}

fn execute(portal: &str, rows: i32) -> Vec<u8> {
    frame(b'E', &[portal.as_bytes(), b"\0", &rows.to_be_bytes()])
}

const TEXT: &[u8] = b"\0\0";
const BINARY: &[u8] = b"\0\x01\0\x01";

fn sync() -> Vec<u8> {
    frame(b'S', &[])
}

#[tokio::test]
async fn simple_queries_answer_in_order_and_stop_at_an_error() {
    let mut client = Client::new(Access::Admin).await;
    let version = concat!("T(1) D(pgwarden ", env!("CARGO_PKG_VERSION"), ") C(SHOW) Z(I)");
    assert_eq!(client.ask(query("show version;")).await, version);
    assert_eq!(client.ask(query("-- ping")).await, "I Z(I)");
    assert_eq!(client.ask(query("SELECT 1; SET extra_float_digits = 3")).await, "T(1) D(1) C(SELECT 1) C(SET) Z(I)");
    assert_eq!(
        client.ask(query("RELOAD; PAUSE nothing; RESUME")).await,
        "C(RELOAD) E(ERROR 3D000 database \"nothing\" does not exist) Z(I)"
    );
    assert_eq!(client.ask(query("SELECT * FROM t")).await, "E(ERROR 0A000 \"SELECT\" is not supported here) Z(I)");
    assert_eq!(
        client.ask(frame(b'Q', &[b"\xff\0"])).await,
        "E(ERROR 22021 invalid byte sequence for encoding \"UTF8\") Z(I)"
    );
    client.send(frame(b'X', &[])).await;
    assert_eq!(client.rest().await, (String::new(), Ended::Terminated));
}

#[tokio::test]
async fn commands_reach_the_proxy_as_they_were_given() {
    let mut client = Client::new(Access::Admin).await;
    for text in ["reload", "PAUSE billing", "RESUME", "KILL 7", "KILL_CLIENT 8", "KILL Billing", "SHUTDOWN"] {
        client.ask(query(text)).await;
    }
    let database = |name: &str| Some(name.to_owned());
    let expected = [
        Command::Reload,
        Command::Pause { database: database("billing") },
        Command::Resume { database: None },
        Command::KillClient { id: 7 },
        Command::KillClient { id: 8 },
        Command::Kill { database: database("Billing") },
        Command::Shutdown,
    ];
    assert_eq!(*client.fake.commands.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_failed_command_says_why() {
    let mut client = Client::new(Access::Admin).await;
    client.fake.snapshot.lock().unwrap().draining = true;
    client.send(query("RELOAD")).await;
    client.stream.read_u8().await.unwrap();
    let length = client.stream.read_i32().await.unwrap();
    let mut body = vec![0; length as usize - 4];
    client.stream.read_exact(&mut body).await.unwrap();
    let text = String::from_utf8(body).unwrap().replace('\0', "\n");
    assert!(
        text.contains("CF0000\nMthe configuration was not applied\nDline 3: unknown key \"sise\"\nline 9: no unit\n")
    );
    assert_eq!(client.until_ready().await, "Z(I)");
    assert_eq!(client.ask(query("SHUTDOWN")).await, "E(ERROR 55000 already shutting down) Z(I)");
    assert_eq!(client.ask(query("KILL_CLIENT 999")).await, "E(ERROR 42704 client 999 does not exist) Z(I)");
}

#[tokio::test]
async fn a_viewer_may_only_show() {
    let mut client = Client::new(Access::Viewer).await;
    for (text, name) in [("RELOAD", "RELOAD"), ("PAUSE", "PAUSE"), ("RESUME x", "RESUME"), ("KILL 1", "KILL_CLIENT")]
        .into_iter()
        .chain([("KILL", "KILL"), ("KILL_CLIENT 1", "KILL_CLIENT"), ("SHUTDOWN", "SHUTDOWN")])
    {
        let refused = format!("E(ERROR 42501 permission denied for {name}) Z(I)");
        assert_eq!(client.ask(query(text)).await, refused);
        let extended = [parse("", text), bind("", "", TEXT), execute("", 0), sync()].concat();
        assert_eq!(client.ask(extended).await, format!("1 2 {refused}"));
    }
    assert!(client.ask(query("SHOW POOLS")).await.contains("C(SHOW) Z(I)"));
    assert!(client.fake.commands.lock().unwrap().is_empty());
}

#[tokio::test]
async fn extended_queries_describe_bind_and_fetch_in_parts() {
    let mut client = Client::new(Access::Admin).await;
    let describe = frame(b'D', &[b"Ss\0"]);
    let answer = client.ask([parse("s", "SHOW DATABASES"), describe, sync()].concat()).await;
    assert_eq!(answer, "1 t T(18) Z(I)");
    let describe = frame(b'D', &[b"Pp\0"]);
    client.send([bind("p", "s", TEXT), describe, execute("p", 1), frame(b'H', &[])].concat()).await;
    for expected in ["2", "T(18)"] {
        assert_eq!(client.message().await.unwrap().1, expected);
    }
    assert!(client.message().await.unwrap().1.starts_with("D(archive|127.0.0.1|5432|archive|null|4|"));
    assert_eq!(client.message().await.unwrap().1, "s");
    let answer = client.ask([execute("p", 5), execute("p", 0), sync()].concat()).await;
    assert!(answer.starts_with("D(billing|"), "{answer}");
    assert!(answer.ends_with("C(SHOW) E(ERROR 55000 portal \"p\" cannot be run) Z(I)"), "{answer}");
    assert_eq!(client.ask([execute("p", 0), sync()].concat()).await, "E(ERROR 34000 portal \"p\" does not exist) Z(I)");
}

#[tokio::test]
async fn binary_results_carry_integers_in_network_order() {
    let mut client = Client::new(Access::Admin).await;
    let ask = [parse("", "SHOW LISTS"), bind("", "", BINARY), execute("", 1), sync()].concat();
    assert_eq!(client.ask(ask).await, "1 2 D(databases|[0, 0, 0, 0, 0, 0, 0, 2]) s Z(I)");
    let ask = [parse("", "select pg_backend_pid()"), bind("", "", BINARY), execute("", 0), sync()].concat();
    assert_eq!(
        client.ask(ask).await,
        "1 2 D([255, 255, 255, 251]) C(SELECT 1) Z(I)"
            .replace("[255, 255, 255, 251]", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}")
    );
    let ask = [parse("", "SHOW LISTS"), bind("", "", b"\0\x03\0\0\0\0\0\0"), sync()].concat();
    assert_eq!(client.ask(ask).await, "1 E(ERROR 08P01 result formats do not fit the result's columns) Z(I)");
}

#[tokio::test]
async fn an_error_skips_to_sync_and_is_sent_at_once() {
    let mut client = Client::new(Access::Admin).await;
    client.send([parse("a", "SHOW NOTHING"), bind("", "a", TEXT), query("RELOAD")].concat()).await;
    let error = tokio::time::timeout(Duration::from_secs(5), client.message()).await.expect("no Sync is needed");
    assert_eq!(error.unwrap().1, "E(ERROR 42601 unknown command \"SHOW NOTHING\")");
    assert_eq!(client.ask([execute("", 0), sync()].concat()).await, "Z(I)");
    assert!(client.fake.commands.lock().unwrap().is_empty(), "the Query before Sync was skipped");
    assert_eq!(client.ask(query("SELECT 1")).await, "T(1) D(1) C(SELECT 1) Z(I)");
}

#[tokio::test]
async fn statement_and_portal_names_follow_the_rules() {
    let mut client = Client::new(Access::Admin).await;
    let ask = [parse("s", "SELECT 1"), parse("s", "SELECT 2"), sync()].concat();
    assert_eq!(client.ask(ask).await, "1 E(ERROR 42P05 prepared statement \"s\" already exists) Z(I)");
    let close = frame(b'C', &[b"Ss\0"]);
    assert_eq!(client.ask([close.clone(), close, sync()].concat()).await, "3 3 Z(I)");
    let ask = [bind("", "s", TEXT), sync()].concat();
    assert_eq!(client.ask(ask).await, "E(ERROR 26000 prepared statement \"s\" does not exist) Z(I)");
    let ask = [parse("", ""), bind("", "", TEXT), frame(b'D', &[b"P\0"]), execute("", 0), sync()].concat();
    assert_eq!(client.ask(ask).await, "1 2 n I Z(I)");
    let ask = [parse("", "SELECT 1; SELECT 2"), sync()].concat();
    assert_eq!(client.ask(ask).await, "E(ERROR 42601 cannot insert multiple commands into a prepared statement) Z(I)");
    let many: Vec<u8> = (0..300).flat_map(|i| parse(&i.to_string(), "SELECT 1")).chain(sync()).collect();
    client.send(&many[..]).await;
    assert!(client.until_ready().await.ends_with("1 E(ERROR 54000 too many prepared statements) Z(I)"));
    assert_eq!(client.ask(query("DISCARD ALL")).await, "C(DISCARD ALL) Z(I)");
    assert_eq!(client.ask([parse("0", "SELECT 1"), sync()].concat()).await, "1 Z(I)");
}

#[tokio::test]
async fn transactions_are_kept_for_drivers() {
    let mut client = Client::new(Access::Admin).await;
    assert_eq!(client.ask(query("BEGIN")).await, "C(BEGIN) Z(T)");
    assert_eq!(client.ask(query("nonsense")).await, "E(ERROR 42601 unknown command \"nonsense\") Z(E)");
    let aborted = "E(ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block) Z(E)";
    assert_eq!(client.ask(query("RELOAD")).await, aborted);
    assert_eq!(client.ask(query("COMMIT")).await, "C(ROLLBACK) Z(I)");
}

#[tokio::test]
async fn hostile_frames_end_the_session() {
    for (bytes, message) in [
        (&b"Q\0\0\0\x03"[..], "has a length of 3"),
        (b"Q\x7f\xff\xff\xff", "at most 16384 are allowed"),
        (b"Q\0\0\0\x0bshow\0\0\0", "does not have the layout"),
        (b"B\0\0\0\x05\0", "does not have the layout"),
        (b"p\0\0\0\x08abc\0", "unexpected message of type 0x70"),
        (b"\0\0\0\0\x04", "unexpected message of type 0x00"),
    ] {
        let mut client = Client::new(Access::Admin).await;
        client.send(bytes).await;
        let (said, ended) = client.rest().await;
        assert!(said.starts_with("E(FATAL 08P01 ") && said.contains(message), "{bytes:?}: {said}");
        assert_eq!(ended, Ended::ProtocolViolation);
    }
}

#[tokio::test]
async fn function_calls_are_refused_and_stray_copy_data_is_ignored() {
    let mut client = Client::new(Access::Admin).await;
    let ask = [frame(b'd', &[b"x"]), frame(b'c', &[]), frame(b'F', &[b"\0\0\0\0"])].concat();
    assert_eq!(client.ask(ask).await, "E(ERROR 0A000 function calls are not supported here) Z(I)");
}

#[tokio::test]
async fn frames_may_arrive_byte_by_byte() {
    let mut client = Client::new(Access::Admin).await;
    for byte in [parse("", "SELECT 1"), bind("", "", TEXT), execute("", 0), sync()].concat() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.until_ready().await, "1 2 D(1) C(SELECT 1) Z(I)");
}

#[tokio::test]
async fn a_waiting_command_ends_by_cancel_by_shutdown_and_by_leaving() {
    let mut client = Client::new(Access::Admin).await;
    client.send(query("PAUSE slow")).await;
    while client.fake.commands.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    client.cancelled.notify_waiters();
    assert_eq!(client.until_ready().await, "E(ERROR 57014 canceling statement due to user request) Z(I)");

    client.send(query("PAUSE slow")).await;
    drop(std::mem::replace(&mut client.stream, tokio::io::duplex(1).0));
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), client.ended).await.unwrap().unwrap(), Ended::Disconnected);

    let mut client = Client::new(Access::Admin).await;
    client.send(query("PAUSE slow")).await;
    client.shutdown.send(true).unwrap();
    let (said, ended) = client.rest().await;
    assert_eq!(said, "E(FATAL 57P01 terminating connection due to administrator command)");
    assert_eq!(ended, Ended::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn idle_and_stalled_clients_are_closed() {
    let limits = Limits { idle_timeout: Duration::from_secs(60), ..Limits::default() };
    let (said, ended) = Client::with(Access::Admin, limits).await.rest().await;
    assert_eq!(said, "E(FATAL 57P05 terminating connection due to idle-session timeout)");
    assert_eq!(ended, Ended::IdleTimeout);

    let mut client = Client::new(Access::Admin).await;
    client.send(query("SHOW CONFIG; SHOW CONFIG; SHOW CONFIG")).await;
    assert_eq!(client.ended.await.unwrap(), Ended::Stalled);
}

/// A server for real clients: one session after another, each logged in at once.
async fn listen(access: Access) -> (u16, Arc<Fake>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let fake = Fake::new();
    let service = Service::new(fake.clone());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let service = service.clone();
            tokio::spawn(async move {
                loop {
                    let length = stream.read_i32().await.unwrap();
                    let mut packet = vec![0; length as usize - 4];
                    stream.read_exact(&mut packet).await.unwrap();
                    // SSLRequest and GSSENCRequest are declined.
                    if packet.len() != 4 {
                        break;
                    }
                    stream.write_all(b"N").await.unwrap();
                }
                let cancel_key = CancelKey { pid: 77, secret: Bytes::from_static(b"abcd") };
                let cancelled = Notify::new();
                let login =
                    Login { user: "ada", client: "local", access, cancel_key: &cancel_key, cancelled: &cancelled };
                let first = BytesMut::from(&b"R\0\0\0\x08\0\0\0\0"[..]);
                let (_alive, shutdown) = watch::channel(false);
                serve(stream, &service, login, first, &Limits::default(), shutdown).await
            });
        }
    });
    (port, fake)
}

async fn psql(port: u16, arguments: &[&str]) -> String {
    let mut process = Process::new("psql");
    process.args(["-X", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", "ada", "-d", "pgwarden"]);
    process.args(arguments);
    let output = tokio::task::spawn_blocking(move || process.output().expect("psql is installed")).await.unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

async fn check(command: &str, expect: Expect) {
    let (port, _) = listen(Access::Admin).await;
    expect.assert_eq(&psql(port, &["-A", "-c", command]).await);
}

#[tokio::test]
async fn psql_shows_pools_in_pgbouncers_columns() {
    check("SHOW POOLS", expect![[r#"
        database|user|cl_active|cl_waiting|cl_active_cancel_req|cl_waiting_cancel_req|sv_active|sv_active_cancel|sv_being_canceled|sv_idle|sv_used|sv_tested|sv_login|maxwait|maxwait_us|pool_mode|load_balance_hosts|cl_idle|pool_size|shard
        billing|app|1|0|0|0|1|0|0|0|0|0|0|0|0|transaction||0|4|main
        billing|reports|2|1|0|0|0|0|0|1|0|0|0|1|250000|transaction||2|4|main
        (2 rows)
    "#]]).await;
}

#[tokio::test]
async fn psql_shows_clients_with_their_pins() {
    check("SHOW CLIENTS", expect![[r#"
        type|user|database|replication|state|addr|port|local_addr|local_port|connect_time|request_time|wait|wait_us|close_needed|ptr|link|remote_pid|tls|application_name|prepared_statements|id|pin|worker|tenant
        C|app|billing|none|active|10.1.2.3|50123|||2027-01-31 00:00:00 UTC|2027-01-31 00:00:05 UTC|0|0|0|c7|s3|0|TLSv1.3|invoices|2|7|listen|0|acme
        C|reports|billing|none|waiting|unix|0|||2027-01-31 00:00:00 UTC||1|250000|0|c8||0|||0|8||1|
        (2 rows)
    "#]]).await;
}

#[tokio::test]
async fn psql_shows_servers() {
    check("SHOW SERVERS", expect![[r#"
        type|user|database|replication|state|addr|port|local_addr|local_port|connect_time|request_time|wait|wait_us|close_needed|ptr|link|remote_pid|tls|application_name|prepared_statements|id|shard|worker
        S|app|billing|none|active|127.0.0.1|5432|||2027-01-31 00:00:00 UTC|2027-01-31 00:00:05 UTC|0|0|0|s3|c7|4711||invoices|2|3|main|0
        (1 row)
    "#]]).await;
}

#[tokio::test]
async fn psql_shows_stats() {
    check("SHOW STATS", expect![[r#"
        database|total_server_assignment_count|total_xact_count|total_query_count|total_received|total_sent|total_xact_time|total_query_time|total_wait_time|total_client_parse_count|total_server_parse_count|total_bind_count|avg_server_assignment_count|avg_xact_count|avg_query_count|avg_recv|avg_sent|avg_xact_time|avg_query_time|avg_wait_time|avg_client_parse_count|avg_server_parse_count|avg_bind_count|total_errors|total_refusals
        billing|120|120|660|60000|1200000|18780|9390|1200|12|10|100|2|2|11|1000|20000|4695|2347|10|0|0|2|3|1
        (1 row)
    "#]]).await;
    check("SHOW STATS_TOTALS", expect![[r#"
        database|server_assignment_count|xact_count|query_count|bytes_received|bytes_sent|xact_time|query_time|wait_time|client_parse_count|server_parse_count|bind_count
        billing|120|120|660|60000|1200000|18780|9390|1200|12|10|100
        (1 row)
    "#]]).await;
    check("SHOW STATS_AVERAGES", expect![[r#"
        database|server_assignment_count|xact_count|query_count|bytes_received|bytes_sent|xact_time|query_time|wait_time|client_parse_count|server_parse_count|bind_count
        billing|2|2|11|1000|20000|4695|2347|10|0|0|2
        (1 row)
    "#]]).await;
    check(
        "SHOW TOTALS",
        expect![[r#"
        name|value
        total_server_assignment_count|120
        total_xact_count|120
        total_query_count|660
        total_received|60000
        total_sent|1200000
        total_xact_time|18780
        total_query_time|9390
        total_wait_time|1200
        total_client_parse_count|12
        total_server_parse_count|10
        total_bind_count|100
        avg_server_assignment_count|2
        avg_xact_count|2
        avg_query_count|11
        avg_recv|1000
        avg_sent|20000
        avg_xact_time|4695
        avg_query_time|2347
        avg_wait_time|10
        avg_client_parse_count|0
        avg_server_parse_count|0
        avg_bind_count|2
        total_errors|3
        total_refusals|1
        (24 rows)
    "#]],
    )
    .await;
}

#[tokio::test]
async fn psql_shows_what_is_configured() {
    check("SHOW DATABASES", expect![[r#"
        name|host|port|database|force_user|pool_size|min_pool_size|reserve_pool_size|server_lifetime|pool_mode|load_balance_hosts|max_connections|current_connections|max_client_connections|current_client_connections|paused|disabled|shard
        archive|127.0.0.1|5432|archive||4|0|0|3600|||80|0|1000|0|1|0|main
        billing|127.0.0.1|5432|billing||4|0|0|3600|||80|1|1000|2|0|0|main
        (2 rows)
    "#]]).await;
    check("SHOW USERS", expect![[r#"
        name|pool_size|reserve_pool_size|pool_mode|max_user_connections|current_connections|max_user_client_connections|current_client_connections|server_user|session_state|valid_until
        app|4|0|transaction|0|1|100|1|app|pin|
        reports|2|0|session|0|0|100|1|reports_ro|refuse|2027-01-31 00:00:00 UTC
        (2 rows)
    "#]]).await;
    check("SHOW TENANTS", expect![[r#"
        tenant|database|isolation|enabled|connections|transactions|waiting|statements|refused|connections_limited|rate_limited|statement_time_limited|transaction_time_limited|idle_in_transaction_time_limited|rows_limited|bytes_limited|limits
        acme|billing||1|1|1|0|600|4|0|3|1|0|0|0|0|transactions=10 statement_time=30s
        (1 row)
    "#]]).await;
    check(
        "SHOW LISTS",
        expect![[r#"
            list|items
            databases|2
            users|2
            tenants|1
            pools|2
            used_clients|2
            login_clients|0
            pinned_clients|1
            used_servers|1
            login_servers|0
            analyses|40
            analyses_bytes|81920
            (11 rows)
        "#]],
    )
    .await;
    check(
        "SHOW STATE",
        expect![[r#"
        key|value
        active|yes
        paused|no
        paused_databases|archive
        draining|no
        config_generation|1
        workers|2
        uptime_seconds|60
        (7 rows)
    "#]],
    )
    .await;
    check(
        "SHOW CLOSES",
        expect![[r#"
        reason|count
        terminated|5
        client_lost|1
        (2 rows)
    "#]],
    )
    .await;
}

#[tokio::test]
async fn psql_shows_how_the_audit_log_fares() {
    check(
        "SHOW AUDIT",
        expect![[r#"
            key|value
            state|failed
            failing_since|2027-01-31 00:00:00 UTC
            error|No space left on device
            directory|/var/lib/pgwarden/audit
            durability|strict
            on_failure|block
            records_appended|1000
            records_written|990
            records_synced|980
            records_in_checkpoint|970
            queue_bytes|4096
            queue_bytes_max|8388608
            syncs|2
            sync_last_us|3000
            sync_median_us|512
            sync_p99_us|4055
            writes|8
            records_per_write|1: 4, 2: 3, 17-32: 1
            bytes_written|500000
            segments|3
            segments_unshipped|1
            checkpoints|9
            checkpoint_size|970
            checkpoint_root|CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
            checkpoint_time|2027-01-31T00:00:00.000000Z
            checkpoint_key|c74f20a3
            failures|1
            statements_refused|5
            records_lost|0
            copies_failed|2
            copy /mnt/elsewhere|7 sent, 2 missed, failing: Permission denied
            sink tls:collector.example.com:6514|connected, 900 acknowledged, 80 behind
            (32 rows)
        "#]],
    )
    .await;
}

#[tokio::test]
async fn psql_shows_what_rules_refused() {
    let (port, _) = listen(Access::Viewer).await;
    let shown = psql(port, &["-A", "-c", "SHOW RULES"]).await;
    assert_eq!(shown.lines().count(), crate::policy::RULES.len() + 3, "{shown}");
    for line in [
        "rule|sqlstate|refusals|description",
        "function|42501|3|functions that are not known to be harmless and not listed",
        "lock_mode|42501|0|LOCK in modes that stop other tenants",
        "rewrite_sample||1|statements that cannot be limited to one tenant",
    ] {
        assert!(shown.contains(&format!("{line}\n")), "{line}:\n{shown}");
    }
}

#[tokio::test]
async fn psql_shows_the_configuration_without_secrets() {
    let (port, _) = listen(Access::Viewer).await;
    let shown = psql(port, &["-A", "-c", "SHOW CONFIG"]).await;
    assert!(!shown.contains("hunter2") && !shown.contains("SCRAM"), "{shown}");
    expect![[r#"
        key|value|default|changeable
        config_file|/etc/pgwarden.toml||no
        server.listen|127.0.0.1:6432|127.0.0.1:6432|no
        server.unix_socket_dir|||no
        server.unix_socket_port|6432|6432|no
        server.workers|2||no
        server.clients_max|1000|10000|yes
        server.login_timeout|15s|15s|yes
        server.login_failures_max|20|20|yes
        server.queue_timeout|30s|30s|yes
        server.queue_max|5000|5000|yes
        server.client_idle_timeout|0s|0s|yes
        server.idle_in_transaction_timeout|0s|0s|yes
        server.query_timeout|0s|0s|yes
        server.drain_timeout|25s|25s|yes
        server.message_size_max|64MiB|64MiB|yes
        server.statement_size_max|256KiB|256KiB|yes
        server.buffer_size_max|256KiB|256KiB|yes
        server.keepalive.idle|60s|60s|yes
        server.keepalive.interval|10s|10s|yes
        server.keepalive.retries|5|5|yes
        server.cancels_max|64|64|yes
        admin.database|pgwarden|pgwarden|yes
        admin.admins|admin||yes
        admin.viewers|grafana||yes
        admin.http|127.0.0.1:9187||no
        log.level|info|info|yes
        log.format|auto|auto|no
        log.connections|true|true|yes
        log.disconnections|true|true|yes
        audit.directory|/var/lib/pgwarden/audit||no
        audit.origin|||no
        audit.durability|strict|group|no
        audit.on_failure|block|block|no
        audit.key_file|<secret>||no
        audit.next_key_file|||no
        audit.segment_size|256MiB|256MiB|no
        audit.segment_age|1d|1d|no
        audit.retention_age|0s|0s|no
        audit.retention_size|||no
        audit.shipped|marker|marker|no
        audit.checkpoint_interval|1s|1s|no
        audit.checkpoint_records|50000|50000|no
        audit.checkpoint_copies|/mnt/elsewhere||no
        audit.sinks|||no
        audit.sinks_ca|||no
        audit.queue_size|8MiB|8MiB|no
        audit.parameters|omit|omit|no
        audit.columns_omit|||no
        audit.columns_hash|||no
        audit.columns_clear|||no
        audit.hash_key_file|||no
        audit.raw_text_keys|||no
        shards.main.primary.host|127.0.0.1||yes
        shards.main.primary.port|5432|5432|yes
        shards.main.primary.tls|prefer|prefer|yes
        shards.main.primary.tls_ca|||yes
        shards.main.primary.tls_cert|||yes
        shards.main.primary.tls_key|||yes
        shards.main.primary.connect_timeout|5s|5s|yes
        databases.archive.shard|main||yes
        databases.archive.server_database|archive||yes
        databases.archive.connections_max|80|80|yes
        databases.billing.shard|main||yes
        databases.billing.server_database|billing||yes
        databases.billing.connections_max|80|80|yes
        tenants.acme.database|billing||yes
        tenants.acme.schema|acme||yes
        tenants.acme.server_user|acme||yes
        tenants.acme.server_password|<secret>||yes
        tenants.acme.enabled|true|true|yes
        tenants.acme.limits.connections|||yes
        tenants.acme.limits.transactions|10||yes
        tenants.acme.limits.statements_per_second|||yes
        tenants.acme.limits.statement_time|30s||yes
        tenants.acme.limits.transaction_time|||yes
        tenants.acme.limits.idle_in_transaction_time|||yes
        tenants.acme.limits.rows|||yes
        tenants.acme.limits.bytes|||yes
        users.app.password|<secret>||yes
        users.app.cert_cn|||yes
        users.app.databases|||yes
        users.app.server_user|app||yes
        users.app.server_password|<secret>||yes
        users.app.server_auth|md5||yes
        users.app.clients_max|100||yes
        users.app.session_state|pin|pin|yes
        users.app.valid_until|||yes
        users.app.pool.mode|transaction|transaction|yes
        users.app.pool.size|4|16|yes
        users.app.pool.size_min|0|0|yes
        users.app.pool.server_idle_timeout|10min|10min|yes
        users.app.pool.server_lifetime|1h|1h|yes
        users.app.pool.prepared_max|256|256|yes
        users.app.pool.login_retry_min|250ms|250ms|yes
        users.app.pool.login_retry_max|10s|10s|yes
        users.reports.verifier|<secret>||yes
        users.reports.cert_cn|||yes
        users.reports.databases|billing||yes
        users.reports.server_user|reports_ro||yes
        users.reports.server_password|||yes
        users.reports.server_auth|md5||yes
        users.reports.clients_max|100||yes
        users.reports.session_state|refuse|pin|yes
        users.reports.valid_until|2027-01-31 00:00:00 UTC||yes
        users.reports.pool.mode|session|transaction|yes
        users.reports.pool.size|2|16|yes
        users.reports.pool.size_min|0|0|yes
        users.reports.pool.server_idle_timeout|10min|10min|yes
        users.reports.pool.server_lifetime|1h|1h|yes
        users.reports.pool.prepared_max|256|256|yes
        users.reports.pool.login_retry_min|250ms|250ms|yes
        users.reports.pool.login_retry_max|10s|10s|yes
        (112 rows)
    "#]]
    .assert_eq(&shown);
}

#[tokio::test]
async fn psql_shows_help_and_hints_at_it() {
    check(
        "SHOW HELP",
        expect![[r#"
            command|access|description
            SHOW HELP|viewer|this list
            SHOW POOLS|viewer|clients and servers of each pool, and who waits
            SHOW CLIENTS|viewer|each client, its server, and why a server is pinned to it
            SHOW SERVERS|viewer|each connection to a PostgreSQL server
            SHOW STATS|viewer|totals since start and averages of the last minute, by database
            SHOW STATS_TOTALS|viewer|totals since start, by database
            SHOW STATS_AVERAGES|viewer|averages of the last minute, by database
            SHOW TOTALS|viewer|totals and averages over all databases
            SHOW LISTS|viewer|how many there are of each thing
            SHOW DATABASES|viewer|the databases that clients can ask for
            SHOW USERS|viewer|the users that can log in
            SHOW TENANTS|viewer|the tenants, what they use, and how often they reached a limit
            SHOW RULES|viewer|the policy's rules, and how often each refused something
            SHOW AUDIT|viewer|the audit log: how far it is, what waits, where it is sent
            SHOW CLOSES|viewer|how many clients ended, by reason
            SHOW CONFIG|viewer|the configuration in force, without its secrets
            SHOW STATE|viewer|running, paused, draining
            SHOW VERSION|viewer|pgwarden's version
            RELOAD|admin|read the configuration file again; all of it or nothing
            PAUSE [database]|admin|stop lending servers; returns once none is lent
            RESUME [database]|admin|end a PAUSE or KILL
            KILL_CLIENT id|admin|close one client, by its id in SHOW CLIENTS
            KILL [database]|admin|close all clients and servers, and pause until RESUME
            DRAIN|admin|let no new client in, let transactions end, then stop
            SHUTDOWN|admin|as DRAIN
            (25 rows)
        "#]],
    )
    .await;
    check(
        "DROP TABLE x",
        expect![[r#"
        ERROR:  unknown command "DROP"
        HINT:  Use SHOW HELP for the list of commands.
    "#]],
    )
    .await;
}

#[tokio::test]
async fn every_topic_has_a_cell_for_each_column() {
    let fake = Fake::new();
    let service = Service::new(fake.clone());
    let snapshot = fake.snapshot.lock().unwrap().clone();
    let recent = service.history.recent(&snapshot);
    let log = fake.log();
    let view = View { snapshot: &snapshot, config: &fake.config, recent: &recent, log: log.as_ref() };
    for topic in tables::Topic::ALL {
        let (columns, rows) = (topic.columns(), view.rows(topic));
        assert!(!rows.is_empty(), "{topic:?}");
        for row in rows {
            assert_eq!(row.len(), columns.len(), "{topic:?}");
            for (cell, column) in row.iter().zip(&columns) {
                let fits = match cell {
                    Cell::Null => true,
                    Cell::Text(_) => column.kind == Kind::Text,
                    Cell::Int(_) => matches!(column.kind, Kind::Int4 | Kind::Int8),
                };
                assert!(fits, "{topic:?} {column:?} {cell:?}");
            }
        }
    }
}

#[tokio::test]
async fn tokio_postgres_reads_typed_columns_in_binary() {
    let (port, fake) = listen(Access::Admin).await;
    let config = format!("host=127.0.0.1 port={port} user=ada dbname=pgwarden");
    let (mut client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = client.query("SHOW CLIENTS", &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, &str>("pin"), "listen");
    assert_eq!(rows[0].get::<_, i64>("id"), 7);
    assert_eq!(rows[0].get::<_, i32>("port"), 50_123);
    assert_eq!(rows[1].get::<_, Option<&str>>("pin"), None);
    assert_eq!(rows[1].get::<_, i32>("wait_us"), 250_000);
    assert_eq!(client.query_one("SHOW server_version_num", &[]).await.unwrap().get::<_, &str>(0), "150000");
    client.execute("PAUSE billing", &[]).await.unwrap();
    client.batch_execute("RESUME; RELOAD").await.unwrap();
    let error = client.execute("PAUSE nothing", &[]).await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("3D000"));
    let transaction = client.transaction().await.unwrap();
    assert_eq!(transaction.query("SHOW POOLS", &[]).await.unwrap().len(), 2);
    transaction.commit().await.unwrap();
    assert_eq!(fake.commands.lock().unwrap().len(), 4);
}
