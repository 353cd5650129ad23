//! One worker: a thread, a runtime, its listeners, its pools, its sessions.

use std::borrow::Cow;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

use super::Proxy;
use super::clients::{Admission, Connection, IssuedKey, KeyOf, TooMany};
use crate::admin::console::{self, Access};
use crate::audit::Audit;
use crate::auth::{self, LoggedIn, LoginError, Outcome};
use crate::config::{self, Account, Config};
use crate::fault::{Fault, Report, Severity, SqlState};
use crate::metrics::{AnalysisCounters, BackendInfo, ClientInfo, LimitKind, PoolInfo, TenantInfo};
use crate::net::{Listener, Peer, Stream};
use crate::people::People;
use crate::pool::connect::Connector;
use crate::pool::tenants::TenantConnection;
use crate::pool::{PeerMessage, Pools, Shared};
use crate::record::{self, LoginFailed, Person, Who};
use crate::session::Session;
use crate::session::context::{Context, Rules};
use crate::session::handle::{Handle, Identity, Signal};
use crate::session::limits::Exceeded;
use crate::sql::{Analyses, Limits};
use crate::wire::CancelKey;
use crate::wire::message::{self, Level};

/// What a worker is started with.
pub(super) struct Setup {
    pub index: usize,
    pub proxy: Arc<Proxy>,
    pub shared: Arc<Shared>,
    pub mailbox: mpsc::UnboundedReceiver<WorkerMessage>,
    pub peers: mpsc::UnboundedReceiver<PeerMessage>,
    pub tcp: Vec<TcpListener>,
    pub unix: Vec<UnixListener>,
}

/// What the rest of the proxy asks of a worker.
pub(super) enum WorkerMessage {
    Snapshot {
        done: oneshot::Sender<Part>,
    },
    /// Cancel what a session runs; `done` when the server has taken the request.
    Cancel {
        session: u64,
        done: oneshot::Sender<()>,
    },
    /// Whom sessions may serve has changed.
    LookAround,
    Reload {
        config: Arc<Config>,
        generation: u64,
        connector: Arc<Connector>,
        done: oneshot::Sender<()>,
    },
    /// A directory changed: see the proxy's login context.
    Directories {
        done: oneshot::Sender<()>,
    },
    /// By the database's name on the server; absent: all.
    Pause {
        database: Option<Arc<str>>,
    },
    Resume {
        database: Option<Arc<str>>,
    },
    /// Whether no backend of the database is lent.
    AtRest {
        database: Option<Arc<str>>,
        done: oneshot::Sender<bool>,
    },
    KillClient {
        session: u64,
        done: oneshot::Sender<bool>,
    },
    /// Ends the clients of a database (by the name that clients use) and the backends of its server database.
    Kill {
        client_database: Option<Arc<str>>,
        database: Option<Arc<str>>,
        done: oneshot::Sender<()>,
    },
    Drain,
    KillAll,
    Stop,
}

/// One worker's share of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub clients: Vec<ClientInfo>,
    pub backends: Vec<BackendInfo>,
    pub pools: Vec<PoolInfo>,
    pub tenants: Vec<TenantInfo>,
    pub closes: Vec<(&'static str, u64)>,
    pub refusals: Vec<(&'static str, u64)>,
    pub analyses: AnalysisCounters,
    pub paused: bool,
}

/// How often time limits are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Analyses that a worker keeps for itself, in front of those that all share.
const ANALYSES_OWN: Limits = Limits { entries: 4096, bytes: 8 << 20 };

/// What a client that is not let in may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that log in at once, beyond the limit of sessions.
const LOGINS_MAX: usize = 1024;

/// The thread's body.
pub(super) fn run(setup: Setup) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().thread_name("aside").build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a worker cannot start");
            return;
        }
    };
    runtime.block_on(serve(setup));
}

async fn serve(setup: Setup) {
    let Setup { index, proxy, shared, mut mailbox, mut peers, tcp, unix } = setup;
    let login = proxy.login.load_full();
    let people = People { config: login.config.clone(), directories: login.directories.clone() };
    let rules = Rc::new(Rules::compile(people, proxy.generation.load(Ordering::Acquire)));
    let pools = Pools::new(index, shared, proxy.connector.load_full());
    let analyses = Analyses::new(proxy.analyses.clone(), ANALYSES_OWN);
    let audit = Audit::new(proxy.log.clone().zip(login.config.audit.as_deref()));
    let context = Context::new(index, rules, pools, analyses, proxy.walls.clone(), audit);
    let worker = Rc::new(Worker { proxy, context });
    let listeners = tcp.into_iter().map(Listener::from_tcp).chain(unix.into_iter().map(Listener::from_unix));
    for listener in listeners {
        match listener {
            Ok(listener) => drop(spawn_local(worker.clone().accept(listener))),
            Err(error) => tracing::error!(%error, "a listener cannot be used"),
        }
    }
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = mailbox.recv() => match message {
                None | Some(WorkerMessage::Stop) => break,
                Some(message) => worker.receive(message),
            },
            Some(message) = peers.recv() => worker.context.pools.receive(message),
            _ = ticks.tick() => worker.tick(),
        }
    }
    worker.context.pools.shutdown();
}

struct Worker {
    proxy: Arc<Proxy>,
    context: Rc<Context>,
}

impl Worker {
    /// Takes clients in until the proxy closes.
    async fn accept(self: Rc<Self>, listener: Listener) {
        let mut closing = self.proxy.closing.subscribe();
        loop {
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => return,
                (stream, peer) = listener.accept() => {
                    let max = self.proxy.config().server.clients_max.saturating_add(LOGINS_MAX);
                    match self.proxy.clients.connect(max) {
                        Some(connection) => drop(spawn_local(self.clone().welcome(stream, peer, connection))),
                        None => {
                            self.context.count_close("too_many_connections");
                            drop(spawn_local(refuse(stream, BytesMut::new(), NotAdmitted::Clients)));
                        }
                    }
                }
            }
        }
    }

    async fn welcome(self: Rc<Self>, stream: Stream, peer: Peer, connection: Connection) {
        let login = self.proxy.login.load_full();
        // Where these cannot be set the connection works all the same.
        let _ = stream.set_nodelay();
        let _ = stream.set_keepalive(login.config.server.keepalive);
        let outcome = Box::pin(auth::login(stream, &login)).await;
        let log = login.config.log.clone();
        drop(login);
        match outcome {
            Outcome::Session(logged_in) => {
                self.proxy.clients.logins_ok.fetch_add(1, Ordering::Relaxed);
                if *logged_in.database == *self.proxy.config().admin.database {
                    Box::pin(self.console(*logged_in)).await;
                } else {
                    return self.session(*logged_in, connection, &log).await;
                }
            }
            Outcome::Cancel(key, stream) => self.cancel(key, stream, peer).await,
            Outcome::Closed(error) => self.not_logged_in(&error, peer),
        }
        drop(connection);
    }

    fn not_logged_in(&self, error: &LoginError, peer: Peer) {
        self.proxy.clients.logins_failed.fetch_add(1, Ordering::Relaxed);
        self.context.count_close("login");
        // It names whom the client said to be.
        tracing::info!(%peer, error = %record::scrub(&error.to_string()), "login failed");
        // A connection that said nothing is no login.
        if !matches!(error, LoginError::Gone) {
            self.record_login_failed(error.user(), None, peer, error);
        }
    }

    fn record_login_failed(&self, user: Option<&str>, database: Option<&str>, peer: Peer, report: &dyn Report) {
        let (client, error) = (peer.to_string(), report.message());
        let sqlstate = report.sqlstate();
        let failed = LoginFailed { user, database, client: &client, sqlstate: sqlstate.as_str(), error: &error };
        self.context.audit.note(Instant::now(), |out, at| record::login_failed(out, at, &failed));
    }

    /// Who a session's records are about; absent where there is no audit.
    fn who(&self, logged_in: &LoggedIn, account: &Account, handle: &Handle, reason: Option<&str>) -> Option<Rc<Who>> {
        let person = Person {
            session: handle.id,
            user: &handle.user,
            tenant: handle.tenant.as_ref().map(|tenant| &*tenant.name),
            role: account.user.role.as_ref().map(|role| &*role.name),
            database: &handle.database,
            auth: logged_in.method.as_str(),
            client: &handle.address,
            tls: handle.tls,
            application: &logged_in.application_name,
            reason,
        };
        self.context.audit.is_on().then(|| Rc::new(Who::new(&person)))
    }

    /// Begins a session. It lives in a task of its own, which has nothing of the login's.
    async fn session(self: Rc<Self>, mut logged_in: LoggedIn, place: Connection, log: &config::Log) {
        let config = self.proxy.config();
        let user = logged_in.user.clone();
        let admission = self.proxy.clients.admit(&user.name, config.server.clients_max, user.clients_max);
        let admission = match admission {
            Ok(admission) => admission,
            Err(too_many) => {
                let error = match too_many {
                    TooMany::Clients => NotAdmitted::Clients,
                    TooMany::OfUser => NotAdmitted::User(user.name.clone()),
                };
                self.context.count_close("too_many_connections");
                return refuse(logged_in.stream, logged_in.pending, error).await;
            }
        };
        let Some(account) = logged_in.account.clone() else {
            return refuse(logged_in.stream, logged_in.pending, NotAdmitted::Database(logged_in.database)).await;
        };
        let tenant = account.tenant.as_ref().map(|tenant| self.context.pools.tenant(tenant));
        let connection = match tenant.as_ref().map(|tenant| tenant.connect()) {
            Some(None) => {
                self.context.count_close("too_many_connections");
                let error = tenant.map(|tenant| NotAdmitted::Tenant(Exceeded::of(&tenant, LimitKind::Connections)));
                return refuse(logged_in.stream, logged_in.pending, error.unwrap_or(NotAdmitted::Clients)).await;
            }
            Some(connection) => connection,
            None => None,
        };
        let issued = self.proxy.clients.issue_key(KeyOf::Worker(self.context.worker), logged_in.protocol);
        let handle = Handle::new(Identity {
            id: issued.session,
            user: user.name.clone(),
            database: account.database.name.clone(),
            tenant: tenant.clone(),
            address: logged_in.peer.to_string(),
            tls: logged_in.stream.tls_info().map(|info| info.version),
            connected_at_us: now_us(),
            secret: issued.key.secret.clone(),
        });
        if log.connections {
            tracing::info!(
                session = handle.id, user = %user.name, database = %account.database.name,
                tenant = handle.tenant.as_ref().map_or("", |tenant| &*tenant.name), peer = %handle.address,
                method = logged_in.method.as_str(), tls = handle.tls.unwrap_or("none"), "client connected"
            );
        }
        let reason = take_reason(&mut logged_in.settings);
        let who = self.who(&logged_in, &account, &handle, reason.as_deref());
        if let Some(who) = &who {
            self.context.audit.note(Instant::now(), |out, at| record::login(out, at, who));
        }
        let slot = self.context.sessions.borrow_mut().insert(handle.clone());
        let registered = Registered { context: self.context.clone(), slot };
        // From here on the session is told of changes; one may have come during the login.
        let Some(account) = self.context.rules().account_again(&account) else {
            self.context.count_close("retired");
            return refuse(logged_in.stream, logged_in.pending, NotAdmitted::Gone).await;
        };
        if self.context.draining.get() {
            handle.signal(Signal::Drain);
        }
        let started =
            Session::start(self.context.clone(), handle.clone(), logged_in, account, &issued.key, who.clone());
        let started = Box::pin(started).await;
        let log_end = log.disconnections;
        let places = (connection, admission, place);
        let ending = Ending { handle, who, log_end, _places: places, _issued: issued, _registered: registered };
        match started {
            Ok(session) => drop(spawn_local(self.live(session, ending))),
            Err((stream, out)) => {
                finish(stream, out).await;
                self.ended("not_started", &ending);
            }
        }
    }

    async fn live(self: Rc<Self>, session: Session, ending: Ending) {
        let reason = session.run().await;
        self.ended(reason.label(), &ending);
    }

    fn ended(&self, label: &'static str, ending: &Ending) {
        let Ending { handle, who, log_end, .. } = ending;
        self.context.count_close(label);
        if let Some(who) = who {
            let messages = handle.recorded.get();
            self.context.audit.note(Instant::now(), |out, at| record::disconnect(out, at, who, label, messages));
        }
        if *log_end {
            tracing::info!(session = handle.id, reason = label, "client disconnected");
        }
    }

    async fn console(&self, logged_in: LoggedIn) {
        let config = self.proxy.config();
        let name = &logged_in.user.name;
        let access = if config.admin.admins.contains(name) {
            Access::Admin
        } else if config.admin.viewers.contains(name) {
            Access::Viewer
        } else {
            let error = NotAdmitted::Console(name.clone());
            return refuse(logged_in.stream, logged_in.pending, error).await;
        };
        let Some(service) = self.proxy.service() else { return };
        let cancelled = Arc::new(tokio::sync::Notify::new());
        let issued = self.proxy.clients.issue_key(KeyOf::Console(cancelled.clone()), logged_in.protocol);
        let stop = self.proxy.closing.subscribe();
        let client = logged_in.peer.to_string();
        let LoggedIn { stream, pending, received, user, .. } = logged_in;
        let (reader, writer) = tokio::io::split(stream);
        let stream = tokio::io::join(std::io::Cursor::new(received).chain(reader), writer);
        let login = console::Login {
            user: &user.name,
            client: &client,
            access,
            cancel_key: &issued.key,
            cancelled: &cancelled,
        };
        let ended = console::serve(stream, &service, login, pending, &console::Limits::default(), stop).await;
        tracing::debug!(user = %user.name, reason = ?ended, "console closed");
    }

    /// Passes a cancel request on, and closes its connection when the server has taken it.
    async fn cancel(&self, key: CancelKey, stream: Stream, peer: Peer) {
        self.proxy.clients.cancels.fetch_add(1, Ordering::Relaxed);
        let Ok(_permit) = self.proxy.cancels.acquire().await else { return };
        let found = self.proxy.clients.find(&key);
        let client = peer.to_string();
        let target = found.as_ref().map(|(session, _)| *session);
        self.context.audit.note(Instant::now(), |out, at| record::cancel(out, at, &client, target));
        match found {
            Some((session, KeyOf::Worker(worker))) => {
                let (done, taken) = oneshot::channel();
                let _ = self.proxy.workers[worker].send(WorkerMessage::Cancel { session, done });
                let _ = taken.await;
            }
            Some((_, KeyOf::Console(cancelled))) => cancelled.notify_waiters(),
            None => {}
        }
        drop(stream);
    }

    fn handle(&self, session: u64) -> Option<Rc<Handle>> {
        self.context.sessions.borrow().iter().find(|(_, handle)| handle.id == session).map(|(_, handle)| handle.clone())
    }

    fn tick(&self) {
        for handle in self.context.tick(now_us()) {
            tracing::info!(session = handle.id, "statement cancelled: it took too long");
            self.context.cancel_statement(handle, None);
        }
    }

    fn receive(&self, message: WorkerMessage) {
        let pools = &self.context.pools;
        // Whoever asked may be gone: then nobody wants the answer.
        match message {
            WorkerMessage::Snapshot { done } => drop(done.send(self.part())),
            WorkerMessage::Cancel { session, done } => {
                if let Some(handle) = self.handle(session) {
                    self.context.cancel_statement(handle, Some(done));
                }
            }
            WorkerMessage::Reload { config, generation, connector, done } => {
                let directories = self.proxy.login.load().directories.clone();
                let rules = Rules::compile(People { config, directories }, generation);
                self.take_over(rules, connector);
                self.context.greetings.borrow_mut().clear();
                let _ = done.send(());
            }
            WorkerMessage::Directories { done } => {
                let login = self.proxy.login.load_full();
                let rules = self.context.rules();
                // Made for another configuration, they come with its reload.
                if Arc::ptr_eq(&login.config, &rules.config) {
                    self.take_over(rules.with(login.directories.clone()), pools.connector());
                }
                let _ = done.send(());
            }
            WorkerMessage::LookAround => self.context.signal_all(Signal::Reload),
            WorkerMessage::Pause { database } => pools.pause(database.as_deref()),
            WorkerMessage::Resume { database } => pools.resume(database.as_deref()),
            WorkerMessage::AtRest { database, done } => drop(done.send(pools.is_at_rest(database.as_deref()))),
            WorkerMessage::KillClient { session, done } => {
                let found = self.handle(session);
                if let Some(handle) = &found {
                    handle.signal(Signal::Kill);
                }
                let _ = done.send(found.is_some());
            }
            WorkerMessage::Kill { client_database, database, done } => {
                for (_, handle) in self.context.sessions.borrow().iter() {
                    if client_database.as_ref().is_none_or(|name| *name == handle.database) {
                        handle.signal(Signal::Kill);
                    }
                }
                pools.kill(database.as_deref());
                let _ = done.send(());
            }
            WorkerMessage::Drain => {
                self.context.draining.set(true);
                self.context.signal_all(Signal::Drain);
            }
            WorkerMessage::KillAll => self.context.signal_all(Signal::Kill),
            WorkerMessage::Stop => {}
        }
    }

    fn take_over(&self, rules: Rules, connector: Arc<Connector>) {
        self.context.pools.reload(&rules.people, &rules.topology, connector);
        *self.context.rules.borrow_mut() = Rc::new(rules);
        self.context.signal_all(Signal::Reload);
    }

    fn part(&self) -> Part {
        let (pools, backends, mut closes) = self.context.pools.info();
        closes.extend(self.context.closes.borrow().iter().map(|(&label, &count)| (label, count)));
        let now = Instant::now();
        let sessions = self.context.sessions.borrow();
        Part {
            clients: sessions.iter().map(|(_, handle)| handle.info(self.context.worker, now)).collect(),
            backends,
            pools,
            tenants: self.context.pools.tenants_info(),
            closes,
            refusals: self.context.refusals.borrow().iter().map(|(&rule, &count)| (rule, count)).collect(),
            analyses: self.context.analyses.borrow().counters(),
            paused: self.context.pools.is_paused(),
        }
    }
}

/// A startup option of ours: why somebody logs in, in their own words. No server has it.
const REASON: &str = "pgwarden.reason";

/// Takes it out of what is asked of the server.
fn take_reason(settings: &mut Vec<(Arc<str>, Arc<str>)>) -> Option<Arc<str>> {
    let reason = settings.iter().rev().find(|(name, _)| **name == *REASON).map(|(_, value)| value.clone());
    settings.retain(|(name, _)| **name != *REASON);
    reason
}

/// What a session's end is told with, and what it gives back.
struct Ending {
    handle: Rc<Handle>,
    who: Option<Rc<Who>>,
    /// It is logged.
    log_end: bool,
    _places: (Option<TenantConnection>, Admission, Connection),
    _issued: IssuedKey,
    _registered: Registered,
}

/// A session's entry in the worker's list.
struct Registered {
    context: Rc<Context>,
    slot: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.context.sessions.borrow_mut().remove(self.slot);
    }
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Tells a client why it is not let in, behind what it is still to be sent, and closes.
async fn refuse(stream: Stream, mut out: BytesMut, error: NotAdmitted) {
    tracing::warn!(error = %error.message(), "client not admitted");
    let hint = error.hint();
    let fields = message::Fields {
        level: Level::Fatal,
        sqlstate: error.sqlstate().0,
        message: &error.message(),
        detail: None,
        hint: hint.as_deref(),
        position: None,
    };
    message::error_response(&mut out, &fields);
    finish(stream, out).await;
}

async fn finish(mut stream: Stream, out: BytesMut) {
    let farewell = async {
        stream.write_all(&out).await?;
        stream.flush().await?;
        stream.shutdown().await
    };
    // A client that does not listen misses nothing that could still be done for it.
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, farewell).await;
}

/// Why a client that proved who it is gets no session.
#[derive(Debug)]
enum NotAdmitted {
    Clients,
    User(Arc<str>),
    Tenant(Exceeded),
    Database(Arc<str>),
    Console(Arc<str>),
    /// What was allowed when the login began is not any more.
    Gone,
}

impl Report for NotAdmitted {
    fn fault(&self) -> Fault {
        match self {
            Self::Clients | Self::User(_) | Self::Tenant(_) => Fault::Capacity,
            Self::Database(_) | Self::Console(_) | Self::Gone => Fault::Client,
        }
    }

    fn severity(&self) -> Severity {
        Severity::Fatal
    }

    fn sqlstate(&self) -> SqlState {
        match self {
            Self::Clients | Self::User(_) => SqlState::TOO_MANY_CONNECTIONS,
            Self::Tenant(exceeded) => exceeded.sqlstate(),
            Self::Database(_) => SqlState::INVALID_CATALOG_NAME,
            Self::Console(_) | Self::Gone => SqlState::INVALID_AUTHORIZATION,
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Clients => "sorry, too many clients already".into(),
            Self::User(user) => format!("too many connections for user \"{user}\"").into(),
            Self::Tenant(exceeded) => exceeded.message(),
            Self::Database(database) => format!("database \"{database}\" does not exist").into(),
            Self::Console(user) => format!("user \"{user}\" may not use pgwarden's console").into(),
            Self::Gone => "the user or its tenant was changed during the login".into(),
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Clients => Some("Close connections that are not used, or raise server.clients_max.".into()),
            Self::User(_) => Some("Close connections that are not used, or raise the user's clients_max.".into()),
            Self::Tenant(exceeded) => exceeded.hint(),
            Self::Database(_) => None,
            Self::Gone => Some("Connect again.".into()),
            Self::Console(_) => Some("Add the user to admin.admins or admin.viewers.".into()),
        }
    }
}
