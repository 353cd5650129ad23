//! The running proxy: workers, listeners, reload, drain.
//!
//! Each worker is a thread with a runtime, listeners, pools and sessions of its own; they share what this module holds:
//! the configuration in force, who may log in, the cancel keys, the counts of clients. One more runtime, on the calling
//! thread, takes signals and answers the HTTP endpoint. A reload replaces everything at once or changes nothing.

mod clients;
mod control;
mod directories;
mod walls;
mod worker;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::admin::{self, Service};
use crate::audit;
use crate::auth::{LoginContext, Verifiers};
use crate::config::Config;
use crate::net::{bind_tcp, bind_unix, tls};
use crate::people::Directories;
use crate::pool::connect::Connector;
use crate::pool::{PeerMessage, Shared};
use crate::record::{self, At, Change};
use crate::scram::MockSecret;
use crate::sql::{Limits, SharedAnalyses};
use crate::topology::walls::Walls;
use clients::Clients;
use directories::Following;
use worker::{Setup, WorkerMessage};

/// Analyses that workers share.
const ANALYSES_SHARED: Limits = Limits { entries: 65_536, bytes: 64 << 20 };

/// Reads the configuration again; the problems, one a line, where it cannot be used.
pub type Reload = Box<dyn Fn() -> Result<Config, Vec<String>> + Send + Sync>;

/// Why the proxy could not start, or had to stop.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {source}")]
    Bind { address: String, source: std::io::Error },
    #[error("the configuration cannot be used: {0}")]
    Config(String),
    #[error("the audit log cannot be used: {0}")]
    Audit(#[from] audit::OpenError),
    #[error("cannot start: {0}")]
    Runtime(#[from] std::io::Error),
}

/// What workers and the control plane share.
pub(crate) struct Proxy {
    login: ArcSwap<LoginContext>,
    connector: ArcSwap<Connector>,
    generation: AtomicU64,
    mock: MockSecret,
    reload: Reload,
    clients: Arc<Clients>,
    cancels: Semaphore,
    workers: Vec<mpsc::UnboundedSender<WorkerMessage>>,
    analyses: Arc<SharedAnalyses>,
    walls: Arc<Walls>,
    /// The audit's, where there is one.
    log: Option<audit::Stream>,
    /// The databases' walls are to be looked at now.
    look_again: Notify,
    started_at: Instant,
    draining: AtomicBool,
    /// Turns true when no new client is let in.
    closing: watch::Sender<bool>,
    /// Why a server is not reachable; empty: all are.
    unreachable: ArcSwap<Option<String>>,
    service: std::sync::OnceLock<Arc<Service>>,
    directories: Following,
}

/// Where clients come in.
struct Doors {
    /// By worker.
    tcp: Vec<Vec<TcpListener>>,
    unix: Vec<Vec<UnixListener>>,
    /// Keep the files of the sockets.
    sockets: Vec<crate::net::listen::UnixSocket>,
    http: Option<TcpListener>,
}

/// Runs the proxy until it is told to stop (SIGTERM, SIGINT, SHUTDOWN), and drains it then.
///
/// # Errors
/// Nothing is served when one of the addresses cannot be had or a file that the configuration names cannot be read.
pub fn serve(config: Config, reload: Reload) -> Result<(), ServeError> {
    let config = Arc::new(config);
    let workers = config.server.workers;
    let log = config.audit.as_deref().map(audit::Stream::open).transpose()?;
    let mut doors = open_doors(&config)?;
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
    let (peer_senders, peer_receivers): (Vec<_>, Vec<_>) =
        (0..workers).map(|_| mpsc::unbounded_channel::<PeerMessage>()).unzip();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let proxy = runtime.block_on(async { Proxy::new(config.clone(), reload, senders, log.clone()) })?;
    let shared = Arc::new(Shared::new(peer_senders));
    let mut threads = Vec::new();
    for (index, (mailbox, peers)) in receivers.into_iter().zip(peer_receivers).enumerate() {
        let setup = Setup {
            index,
            proxy: proxy.clone(),
            shared: shared.clone(),
            mailbox,
            peers,
            tcp: std::mem::take(&mut doors.tcp[index]),
            unix: std::mem::take(&mut doors.unix[index]),
        };
        let name = format!("worker-{index}");
        threads.push(std::thread::Builder::new().name(name).spawn(move || worker::run(setup))?);
    }
    runtime.block_on(proxy.clone().supervise(&config, doors.http.take()))?;
    finish(threads);
    drop(doors.sockets);
    if let Some(log) = log
        && let Err(error) = log.shutdown()
    {
        tracing::error!(error = %error, "the audit log could not be written to its end");
    }
    tracing::info!("stopped");
    Ok(())
}

fn finish(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a worker panicked");
        }
    }
}

fn open_doors(config: &Config) -> Result<Doors, ServeError> {
    let workers = config.server.workers;
    let mut doors = Doors {
        tcp: (0..workers).map(|_| Vec::new()).collect(),
        unix: (0..workers).map(|_| Vec::new()).collect(),
        sockets: Vec::new(),
        http: None,
    };
    let mut port = None;
    for &address in &config.server.listen {
        let failed = |source| ServeError::Bind { address: address.to_string(), source };
        let listeners = bind_tcp(address, workers).map_err(failed)?;
        let bound = listeners.first().map_or(Ok(address), TcpListener::local_addr)?;
        port.get_or_insert(bound.port());
        say_listening("clients", &bound.to_string());
        for (own, listener) in doors.tcp.iter_mut().zip(listeners) {
            own.push(listener);
        }
    }
    if let Some(dir) = &config.server.unix_socket_dir {
        let port = port.unwrap_or(config.server.unix_socket_port);
        let failed = |source| ServeError::Bind { address: socket_name(dir, port), source };
        let socket = bind_unix(dir, port).map_err(failed)?;
        for own in &mut doors.unix {
            own.push(socket.listener()?);
        }
        say_listening("clients", &socket.path().display().to_string());
        doors.sockets.push(socket);
    }
    if let Some(address) = config.admin.http {
        doors.http = Some(bind_http(address)?);
    }
    Ok(doors)
}

fn bind_http(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let failed = |source| ServeError::Bind { address: address.to_string(), source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true)?;
    say_listening("http", &listener.local_addr()?.to_string());
    Ok(listener)
}

fn socket_name(dir: &std::path::Path, port: u16) -> String {
    PathBuf::from(dir).join(format!(".s.PGSQL.{port}")).display().to_string()
}

fn say_listening(listener: &'static str, address: &str) {
    tracing::info!(listener, address, "listening");
}

impl Proxy {
    fn new(
        config: Arc<Config>,
        reload: Reload,
        workers: Vec<mpsc::UnboundedSender<WorkerMessage>>,
        log: Option<audit::Stream>,
    ) -> Result<Arc<Self>, ServeError> {
        let mock = MockSecret::new(rand::random());
        let server = &config.server;
        let login = LoginContext {
            tls: acceptor(&config)?,
            verifiers: Arc::new(
                Verifiers::new(&config, &mock, None).map_err(|error| ServeError::Config(error.to_string()))?,
            ),
            failures: Arc::default(),
            directories: Directories::default(),
            config: config.clone(),
        };
        Ok(Arc::new(Self {
            login: ArcSwap::from_pointee(login),
            connector: ArcSwap::from_pointee(Connector::default()),
            generation: AtomicU64::new(1),
            mock,
            reload,
            clients: Arc::default(),
            cancels: Semaphore::new(server.cancels_max.max(1)),
            workers,
            analyses: Arc::new(SharedAnalyses::new(ANALYSES_SHARED, server.workers)),
            walls: Arc::default(),
            log,
            look_again: Notify::new(),
            started_at: Instant::now(),
            draining: AtomicBool::new(false),
            closing: watch::channel(false).0,
            unreachable: ArcSwap::from_pointee(Some("no server was reached yet".to_owned())),
            service: std::sync::OnceLock::new(),
            directories: Following::new(&config),
        }))
    }

    fn config(&self) -> Arc<Config> {
        self.login.load().config.clone()
    }

    fn service(&self) -> Option<Arc<Service>> {
        self.service.get().cloned()
    }

    /// The control plane's life: signals, the HTTP endpoint, the look at the servers, and in the end the drain.
    async fn supervise(self: Arc<Self>, config: &Config, http: Option<TcpListener>) -> Result<(), ServeError> {
        let service = Service::new(self.clone());
        // Set once: `supervise` runs once.
        let _ = self.service.set(service.clone());
        let stop = self.closing.subscribe();
        let (ending, ended) = watch::channel(false);
        let sampling = tokio::spawn({
            let (service, stop) = (service.clone(), stop.clone());
            async move { service.run(stop).await }
        });
        if let Some(listener) = http {
            // It goes last: while the proxy drains, /readyz says so.
            let (service, ended) = (service.clone(), ended);
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(async move { admin::http::serve(listener, service, ended).await });
        }
        let watching = tokio::spawn(self.clone().watch_servers());
        let looking = tokio::spawn(self.clone().watch_walls());
        let following = tokio::spawn(self.clone().follow_directories());
        let mut hangup = signal(SignalKind::hangup())?;
        let mut ends = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
        tracing::info!(workers = config.server.workers, config = %config.source.display(), "ready");
        let mut closing = self.closing.subscribe();
        loop {
            let [terminate, interrupt] = &mut ends;
            tokio::select! {
                _ = hangup.recv() => self.reload_and_say().await,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = closing.wait_for(|closing| *closing) => break,
            }
        }
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
        self.drain(&mut ends).await;
        ending.send_replace(true);
        watching.abort();
        looking.abort();
        following.abort();
        sampling.abort();
        Ok(())
    }

    async fn reload_and_say(&self) {
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Reloading]);
        match self.apply_reload_on_record().await {
            Ok(generation) => tracing::info!(generation, "configuration reloaded"),
            Err(problems) => {
                for problem in &problems {
                    tracing::error!(problem, "configuration not reloaded");
                }
            }
        }
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    }

    /// [`Proxy::apply_reload`], and a record of what changed by it.
    async fn apply_reload_on_record(&self) -> Result<u64, Vec<String>> {
        let before = self.config();
        let outcome = self.apply_reload().await;
        let changes = admin::console::changes(&before, &self.config());
        let changes: Vec<_> = changes.into_iter().map(|(key, before, after)| Change { key, before, after }).collect();
        let error = outcome.as_ref().err().map(|problems| problems.join("; "));
        let generation = self.generation.load(Ordering::Acquire);
        self.record(|out, at| record::reload(out, at, generation, &changes, error.as_deref()));
        outcome
    }

    /// A record that no session writes.
    fn record(&self, write: impl FnOnce(&mut Vec<u8>, At)) {
        let Some(log) = &self.log else { return };
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = At::new(unix.as_micros() as u64, log.started().elapsed().as_micros() as u64);
        let mut fields = Vec::new();
        write(&mut fields, at);
        // The log counts what it could not take.
        let _ = log.append_event(&fields);
    }

    /// Reads the configuration and puts it into force on every worker, or changes nothing.
    async fn apply_reload(&self) -> Result<u64, Vec<String>> {
        let config = Arc::new((self.reload)()?);
        let before = self.login.load_full();
        refuse_what_needs_a_restart(&before.config, &config)?;
        let one = |error: String| vec![error];
        let login = LoginContext {
            tls: acceptor(&config).map_err(|error| one(error.to_string()))?,
            verifiers: Arc::new(
                Verifiers::new(&config, &self.mock, Some(&before.verifiers)).map_err(|error| one(error.to_string()))?,
            ),
            failures: before.failures.clone(),
            directories: Directories::default(),
            config: config.clone(),
        };
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let connector = Arc::new(Connector::default());
        self.connector.store(connector.clone());
        // A directory may be read anew meanwhile: its latest rows count, under this configuration.
        self.login.rcu(|current| LoginContext { directories: current.directories.under(&config), ..login.clone() });
        self.ask_all(|done| WorkerMessage::Reload {
            config: config.clone(),
            generation,
            connector: connector.clone(),
            done,
        })
        .await;
        self.look_again.notify_one();
        self.directories.again.notify_one();
        Ok(generation)
    }

    /// Lets no one in, lets transactions end within the configured time, and stops the workers.
    async fn drain(&self, ends: &mut [Signal; 2]) {
        self.draining.store(true, Ordering::Release);
        self.closing.send_replace(true);
        let limit = self.config().server.drain_timeout;
        tracing::info!(clients = self.clients.len(), limit_ms = limit.as_millis() as u64, "draining");
        self.tell_all(|| WorkerMessage::Drain);
        let [terminate, interrupt] = ends;
        tokio::select! {
            _ = self.clients.gone() => {}
            _ = tokio::time::sleep(limit) => tracing::warn!(clients = self.clients.len(), "the drain took too long"),
            _ = terminate.recv() => tracing::warn!("told to stop at once"),
            _ = interrupt.recv() => tracing::warn!("told to stop at once"),
        }
        self.tell_all(|| WorkerMessage::KillAll);
        // Farewells are short, or not heard.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.clients.gone()).await;
        self.tell_all(|| WorkerMessage::Stop);
    }

    fn tell_all(&self, message: impl Fn() -> WorkerMessage) {
        for worker in &self.workers {
            // A worker that is gone has nothing left to do.
            let _ = worker.send(message());
        }
    }

    /// Looks every few seconds whether the servers can be reached: what `/readyz` says.
    async fn watch_servers(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(Duration::from_secs(3));
        loop {
            ticks.tick().await;
            let config = self.config();
            let mut unreachable = None;
            for shard in config.shards.values() {
                if let Err(error) = crate::pool::connect::reach(&shard.primary).await {
                    unreachable = Some(format!("shard {}: {error}", shard.name));
                }
            }
            self.unreachable.store(Arc::new(unreachable));
        }
    }
}

fn acceptor(config: &Config) -> Result<Option<Arc<tls::Acceptor>>, ServeError> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let acceptor = tls::Acceptor::new(tls).map_err(|error| ServeError::Config(error.to_string()))?;
    Ok(Some(Arc::new(acceptor)))
}

/// Sockets and threads are made once.
fn refuse_what_needs_a_restart(before: &Config, after: &Config) -> Result<(), Vec<String>> {
    let (old, new) = (&before.server, &after.server);
    let fixed = [
        ("server.listen", old.listen != new.listen),
        ("server.unix_socket_dir", old.unix_socket_dir != new.unix_socket_dir),
        ("server.unix_socket_port", old.unix_socket_port != new.unix_socket_port),
        ("server.workers", old.workers != new.workers),
        ("server.cancels_max", old.cancels_max != new.cancels_max),
        ("admin.http", before.admin.http != after.admin.http),
        ("log", before.log != after.log),
        ("audit", before.audit != after.audit),
    ];
    let problems: Vec<_> = fixed
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(key, _)| format!("{key}: cannot change while pgwarden runs; put the old value back, or restart"))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
