//! Our side of a login with nothing behind it: it accepts, logs in, and answers each Query with who is there. Real clients
//! can be shown the login alone.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::BytesMut;
use pgwarden::auth::{FailureLimiter, LoggedIn, LoginContext, Outcome, Verifiers, login};
use pgwarden::net::listen::UnixSocket;
use pgwarden::net::{Listener, Stream, bind_tcp, bind_unix, tls};
use pgwarden::scram::MockSecret;
use pgwarden::wire::message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What every front has, before a test's own lines: a shard that is never reached, and one database.
const COMMON: &str = r#"
[shards.main]
primary = { host = "127.0.0.1", port = 1, tls = "disable" }
[databases.billing]
shard = "main"
"#;

pub struct Front {
    address: SocketAddr,
    _unix: UnixSocket,
    directory: tempfile::TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// `toml`: sections `[tls]`, `[users...]` and so on.
    pub fn start(toml: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pgwarden.toml");
        std::fs::write(&file, format!("{COMMON}{toml}")).expect("write");
        let loaded = pgwarden::config::load(&file).unwrap_or_else(|problems| panic!("{problems:?}"));
        let config = loaded.config;
        let context = LoginContext {
            tls: config.tls.as_ref().map(|tls| Arc::new(tls::Acceptor::new(tls).expect("TLS"))),
            verifiers: Arc::new(Verifiers::new(&config, &MockSecret::new([7; 32]), None).expect("verifiers")),
            config: Arc::new(config),
            failures: Arc::new(FailureLimiter::default()),
            directories: Default::default(),
        };
        let tcp = bind_tcp("127.0.0.1:0".parse().expect("an address"), 1).expect("bind").remove(0);
        let unix = bind_unix(directory.path(), 6432).expect("bind");
        let (address, socket) = (tcp.local_addr().expect("bound"), unix.listener().expect("bound"));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listeners =
                    [Listener::from_tcp(tcp).expect("register"), Listener::from_unix(socket).expect("register")];
                for listener in listeners {
                    let context = context.clone();
                    tokio::spawn(async move {
                        loop {
                            let (stream, _peer) = listener.accept().await;
                            let context = context.clone();
                            tokio::spawn(async move { serve(stream, &context).await });
                        }
                    });
                }
                let _ = stopped.await;
            });
        });
        Self { address, _unix: unix, directory, stop: Some(stop), thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Where the Unix socket is, its port being 6432.
    pub fn socket_dir(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(stream: Stream, context: &LoginContext) {
    match login(stream, context).await {
        Outcome::Session(session) => {
            // A client may leave whenever it likes.
            let _ = converse(*session).await;
        }
        Outcome::Cancel(..) | Outcome::Closed(_) => {}
    }
}

async fn converse(session: LoggedIn) -> std::io::Result<()> {
    let LoggedIn {
        mut stream, user, database, protocol, settings, application_name, method, pending, received, ..
    } = session;
    let mut out = pending;
    for (name, value) in
        [("server_version", "15.0"), ("client_encoding", "UTF8"), ("standard_conforming_strings", "on")]
    {
        message::parameter_status(&mut out, name, value);
    }
    let secret = [9; 32];
    message::backend_key_data(&mut out, 1, if protocol.0 >= 0x30002 { &secret } else { &secret[..4] });
    message::ready_for_query(&mut out, message::Readiness::Idle);
    stream.write_all(&out).await?;
    stream.flush().await?;

    let tls = stream.tls_info().map_or("plain", |info| info.version).to_owned();
    let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let protocol = format!("{}.{}", protocol.0 >> 16, protocol.0 & 0xffff);
    let answer =
        [&user.name, &*database, method.as_str(), &tls, &protocol, &application_name, &settings.join(";")].join("|");
    let mut received = received;
    loop {
        let Some((kind, length)) = received
            .first_chunk::<5>()
            .map(|head| (head[0], 1 + u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize))
            .filter(|(_, length)| received.len() >= *length)
        else {
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let _ = received.split_to(length);
        if kind != b'Q' {
            return Ok(());
        }
        let mut out = BytesMut::new();
        message::row_description(&mut out, &["who"]);
        message::data_row(&mut out, &[Some(&answer)]);
        message::command_complete(&mut out, "SELECT 1");
        message::ready_for_query(&mut out, message::Readiness::Idle);
        stream.write_all(&out).await?;
        stream.flush().await?;
    }
}
