//! One client's life, from login to close.
//!
//! A session is one future, polled by hand where bytes move ([`relay`]) and written as steps where it has to wait
//! (acquire a backend, ask it something, end). An idle session owns no buffer and no backend. Its parts:
//!
//! - `frontend`, `extended`, `refuse`: what becomes of each message of the client,
//! - `backend`: what becomes of each message of the server,
//! - `relay`, `readable`: moving bytes, both ways at once,
//! - `steps`: what has to wait,
//! - `limits`: what a tenant may use,
//! - `sealing`: whom a transaction on a standby is for,
//! - `copy_in`, `copy_target`, `copy_batch`: COPY FROM under row security, as INSERTs,
//! - `analysing`: texts that take long to read,
//! - `auditing`: what the audit stream is told,
//! - `effects`, `statements`: what follows the client from backend to backend.
//!
//! Invariants: nothing is sent but through a [`Bound`]; everything sent that earns a reply is in the queue first; a
//! backend is let go only when the queue is settled, nobody's cancel is on its way, and what the transaction touched has
//! been read back.

mod analysing;
mod assembly;
mod auditing;
mod backend;
mod changes;
pub mod context;
mod copy_batch;
mod copy_in;
mod copy_target;
mod effects;
mod errors;
mod extended;
mod frontend;
mod gathering;
pub mod handle;
pub mod limits;
pub mod login;
mod readable;
mod refuse;
mod relay;
mod rewriting;
mod sealing;
mod statements;
mod steps;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::audit::Ticket;
use crate::config::{Account, PoolMode};
use crate::fault::{Report, Severity};
use crate::metrics::LimitKind;
use crate::net::Stream;
use crate::policy::Subject;
use crate::pool::{Bound, Lease, Seat};
use crate::reply::ReplyQueue;
use crate::settings::Settings;
use crate::sql::{DiscardTarget, Effect};
use crate::wire::message::{self, Level};
use analysing::Analysed;
use auditing::Trail;
use changes::Changes;
use context::{APPLICATION_NAME, Context, Rules};
use effects::{Pins, Touched};
use gathering::Gathering;
use handle::Handle;
use limits::Meter;
use readable::Readable;
use sealing::Sealing;
use statements::{Named, Statement};
pub use steps::CancelGuard;

/// See the module's documentation.
///
/// What every message touches comes first, line by line of the cache: thousands of sessions leave it cold.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Session {
    handle: Rc<Handle>,
    context: Rc<Context>,
    /// For the audit, where there is one.
    trail: Option<Box<Trail>>,
    bound: Option<Bound>,
    /// Of `client.unread`, what was looked at and could not be dealt with yet.
    seen_unread: usize,
    client: Client,
    flow: Flow,
    rules: Rc<Rules>,
    touched: Option<Box<Touched>>,
    from_client: Readable,
    from_server: Readable,
    gathering: Gathering,
    /// The end of a transaction is still to be settled.
    settle_next: bool,
    /// An error was forwarded since a statement with effects was sent.
    failed: bool,
    /// The last error forwarded was of syntax.
    syntax_error: bool,
    /// The transaction may change what other statements return.
    reshapes: bool,
    /// The client's next message has been counted against its tenant's rate.
    paid: bool,
    draining: bool,
    pins: Pins,
    /// The account's.
    pool_mode: PoolMode,
    queue: ReplyQueue<Owed>,
    seat: Rc<Seat>,
    account: Arc<Account>,
    settings: Arc<Settings>,
    /// The account as policy judges it.
    subject: Subject,
    /// When the transaction's first byte was forwarded.
    began_at: Option<Instant>,
    sealing: Sealing,
    /// Counts the answer under way, where the tenant's is limited.
    meter: Option<Box<Meter>>,
    unnamed: Option<Rc<Statement>>,
    /// The next request that needs a backend gets this error instead.
    denied: Option<Box<[u8]>>,
    /// Statements of the portals on the backend that is held.
    portals: Portals,
    /// What answers still to come may change back.
    changes: Changes,
    /// What was read elsewhere for the client's next message.
    analysed: Option<Box<Analysed>>,
    named: Named,
    /// A backend that is still to be bound.
    lease: Option<Lease>,
    told: Told,
    /// What the client asked for when it connected.
    startup: Arc<Settings>,
}

/// The parameters that the client was told, by ParameterStatus.
#[derive(Debug)]
struct Told {
    /// At login; shared with every other client that was told the same.
    greeting: Rc<Vec<(Arc<str>, Arc<str>)>>,
    /// At login, too: it is the client's own.
    application_name: Arc<str>,
    since: std::collections::BTreeMap<Arc<str>, Arc<str>>,
}

impl Told {
    fn value(&self, name: &str) -> Option<&str> {
        let since = self.since.get(name);
        let greeting = || self.greeting.iter().find(|(known, _)| **known == *name).map(|(_, value)| value);
        let at_login = || if name == APPLICATION_NAME { Some(&self.application_name) } else { greeting() };
        since.or_else(at_login).map(|value| &**value)
    }

    fn at_login(&self, name: &str) -> Option<Arc<str>> {
        if name == APPLICATION_NAME {
            return Some(self.application_name.clone());
        }
        self.greeting.iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone())
    }

    fn note(&mut self, name: &str, value: Arc<str>) {
        self.since.insert(name.into(), value);
    }
}

/// The client's end of the relay.
#[derive(Debug)]
#[repr(C)]
struct Client {
    /// Bytes read and not dealt with.
    unread: BytesMut,
    /// Bytes that the socket has not taken yet.
    unsent: BytesMut,
    stream: Stream,
    /// Bytes still to come of a message whose beginning was dealt with.
    passing: usize,
    pass: Pass,
}

/// Where the rest of a large message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Forward,
    Discard,
}

#[derive(Debug, Default)]
struct Portals {
    unnamed: Option<Rc<Statement>>,
    /// The Bind that opened the unnamed portal; none since the last Query. PostgreSQL 15 keeps the portal of a Query that
    /// failed in a block, and reads freed memory when that is described or executed: it must not be reached.
    unnamed_bind: Option<u64>,
    /// Binds of the unnamed portal so far.
    binds: u64,
    named: ByName,
}

/// Statements by name; absent while there are none, which is nearly always.
type ByName = Option<Box<HashMap<Box<[u8]>, Rc<Statement>, foldhash::fast::RandomState>>>;

/// Whether the client's next message may be dealt with.
#[derive(Debug)]
enum Flow {
    Open,
    /// A statement with effects is next: what was sent before must be answered first.
    Before,
    /// A statement with effects is under way: it must be answered first.
    After(Box<After>),
    /// The client said Terminate: what it sent before is finished first, whether it still listens or not.
    Leaving,
}

/// What is to be done when a statement with effects has been answered.
#[derive(Debug)]
struct After {
    statement: Effectful,
    /// It was a simple Query between transactions, with no transaction control in it: it has committed if it succeeded.
    autocommit: bool,
    /// Nothing was touched before it.
    fresh: bool,
    /// Statements of its text that have run; after an error, the next one failed.
    completed: usize,
}

impl After {
    fn new(statement: Effectful, autocommit: bool, fresh: bool) -> Box<Self> {
        Box::new(Self { statement, autocommit, fresh, completed: 0 })
    }

    /// The client's name that the statement which failed wanted to PREPARE, where the protocol had taken it.
    fn duplicate_name(&self) -> Option<&str> {
        let failed = self.statement.analysis.statements.get(self.completed)?;
        failed.effects.iter().find_map(|effect| match effect {
            Effect::Prepare { name, .. } if self.statement.spliced_id(name).is_some() => Some(&**name),
            _ => None,
        })
    }

    /// Settings go back to what they were when the session began.
    fn resets(&self) -> bool {
        let statements = &self.statement.analysis.statements;
        statements.iter().flat_map(|statement| &statement.effects).any(|effect| {
            matches!(
                effect,
                Effect::DiscardAll | Effect::Discard(DiscardTarget::All) | Effect::ResetAll | Effect::Reset { .. }
            )
        })
    }
}

#[derive(Debug)]
struct Effectful {
    analysis: Arc<crate::sql::Analysis>,
    /// Statements of the client's that the text names, by SQL.
    spliced: Vec<(Box<[u8]>, u64)>,
}

impl Effectful {
    /// What backends call the statement that this name stood for when the text was sent.
    fn spliced_id(&self, name: &str) -> Option<u64> {
        self.spliced.iter().find(|(spliced, _)| **spliced == *name.as_bytes()).map(|(_, id)| *id)
    }
}

/// What the queue gives back when a reply came, or will not come.
#[derive(Debug, Default)]
struct Owed {
    ticket: Option<Ticket>,
    undo: Undo,
    /// The statement that a Bind or Execute runs.
    statement: Option<Rc<Statement>>,
}

/// What was assumed when a message was sent, and does not hold if the server never ran it.
#[derive(Debug, Default)]
enum Undo {
    #[default]
    Nothing,
    /// The client's Parse of a name.
    Named { name: Box<[u8]>, prepared: Option<u64> },
    /// A change of the unnamed statement, the client's or only the backend's: see [`Changes::note_unnamed`].
    Unnamed { epoch: u64 },
    /// The client's Close of a name.
    Closed { name: Box<[u8]>, statement: Rc<Statement> },
    /// The client's Bind of a portal, in place of the statement that it had before.
    Bound { portal: Box<[u8]>, before: Option<Rc<Statement>> },
    /// The client's Bind of the unnamed portal, counted.
    UnnamedBound { bind: u64 },
    /// A statement that we prepared on the backend.
    Prepared { id: u64 },
    /// A statement that we closed on the backend.
    Evicted { id: u64 },
}

/// Why a session's relay stopped moving bytes.
#[derive(Debug)]
enum Event {
    /// The client's next message needs a backend.
    NeedBackend,
    /// The client's next message cannot be recorded at the moment.
    NeedAudit,
    /// The client's next message has this text, which is to be read elsewhere.
    NeedAnalysis(Arc<[u8]>),
    /// A statement with effects was answered.
    Answered,
    /// A COPY FROM under row security, which is the client's next message.
    CopyIn(Box<copy_in::CopyIn>),
    /// A transaction ended that touched something, or whose cancel is still on its way.
    Settle,
    BackendLost(LastWords),
    Close(CloseReason),
}

/// What the server said before it left, if it did.
#[derive(Debug, Default)]
struct LastWords {
    code: String,
    message: String,
    /// It is there still, and is not to be used: it would not see the transaction as the tenant's.
    without_context: bool,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// Terminate.
    Terminated,
    /// The client went away without a word.
    ClientGone,
    /// The client broke the protocol: what it is told.
    Protocol(String),
    BackendLost,
    IdleTimeout,
    IdleInTransactionTimeout,
    Shutdown,
    Killed,
    /// The configuration has no place for the user or the database any more.
    Retired,
    /// It was told why already.
    Refused,
    /// What it would be told next has no record in the audit, and must have one.
    Unrecorded,
    /// A limit of its tenant's; it was told.
    OverLimit(LimitKind),
    Limit,
}

impl CloseReason {
    /// Name in logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Terminated => "terminated",
            Self::ClientGone => "client_gone",
            Self::Protocol(_) => "protocol",
            Self::BackendLost => "backend_lost",
            Self::IdleTimeout => "idle_timeout",
            Self::IdleInTransactionTimeout => "idle_in_transaction_timeout",
            Self::Shutdown => "shutdown",
            Self::Killed => "killed",
            Self::Retired => "retired",
            Self::Refused => "refused",
            Self::Unrecorded => "unrecorded",
            Self::OverLimit(limit) => limit.name(),
            Self::Limit => "limit",
        }
    }
}

/// Encodes an error for the client.
fn encode(report: &dyn Report) -> Box<[u8]> {
    encode_as(report, report.severity())
}

fn encode_as(report: &dyn Report, severity: Severity) -> Box<[u8]> {
    let mut out = BytesMut::new();
    let (detail, hint) = (report.detail(), report.hint());
    let fields = message::Fields {
        level: match severity {
            Severity::Error => Level::Error,
            Severity::Fatal => Level::Fatal,
        },
        sqlstate: report.sqlstate().0,
        message: &report.message(),
        detail: detail.as_deref(),
        hint: hint.as_deref(),
        position: report.position(),
    };
    message::error_response(&mut out, &fields);
    Vec::from(out).into_boxed_slice()
}
