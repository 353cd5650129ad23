//! Reading SQL: what a text does, by PostgreSQL's own grammar.
//!
//! Pure: no socket, no clock, no tokio. The rest of the crate sees only [`Analysis`] and the cache that hands it out.
//! A text that cannot be understood is `StatementKind::Unknown` or a parse failure, never a guess.

pub mod cache;
mod clock;
pub mod copy;
mod depth;
mod effects;
mod facts;
mod fingerprint;
pub mod functions;
pub mod grammar;
mod kinds;
mod labels;
pub mod lexer;
mod names;
mod parameters;
pub mod shape;
pub(crate) mod tree;
pub(crate) mod tree_mut;
mod walk;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::record::{TextMark, Words};
pub use cache::{Analyses, SharedAnalyses};
pub use clock::Limits;
pub use facts::{name_in, name_list};
pub use fingerprint::fingerprints;

/// What one text (a Query's or a Parse's) does, statement by statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The whole text in one word: most messages are decided by this alone.
    pub summary: Summary,
    /// Whether byte ranges in here are positions in the text that was asked about.
    pub spans: Spans,
    /// In order; empty for an empty or comment-only text.
    pub statements: Vec<Statement>,
    /// Why the grammar did not accept the text; then `statements` is empty. The server is left to report it in its own words.
    pub failure: Option<Failure>,
    /// Who last let it through.
    pub admission: Admission,
    /// What records say of it.
    pub words: Described,
}

/// A note on an analysis: what records say of its texts, once somebody asked. It belongs to this copy, like [`Admission`].
#[derive(Debug, Default)]
pub struct Described {
    words: OnceLock<Words>,
    mark: OnceLock<Option<TextMark>>,
}

impl Described {
    /// `describe` is called the first time.
    #[inline]
    pub fn get(&self, describe: impl FnOnce() -> Words) -> &Words {
        self.words.get_or_init(describe)
    }

    /// Of an analysis that is of one text only. `of` is called the first time, and gives the same each time.
    #[inline]
    pub fn mark(&self, of: impl FnOnce() -> Option<TextMark>) -> Option<TextMark> {
        *self.mark.get_or_init(of)
    }
}

impl Clone for Described {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Described {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A note on an analysis: the rules that last let it through. It belongs to this copy, and says nothing of what the text does.
#[derive(Debug, Default)]
pub struct Admission(AtomicU64);

impl Admission {
    /// The rules of this number (above 0, never used again) let it through.
    pub fn note(&self, rules: u64) {
        self.0.store(rules, Ordering::Relaxed);
    }

    pub fn is_by(&self, rules: u64) -> bool {
        self.0.load(Ordering::Relaxed) == rules
    }
}

impl Clone for Admission {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Admission {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// The grammar's own message, and where in the text, in characters from 1.
    Syntax { message: String, position: Option<u32> },
    /// Larger, deeper or slower to scan than we read.
    TooComplex,
    /// Not UTF-8, or holds a NUL.
    Encoding,
}

/// Facts about a whole text, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Summary(u16);

impl fmt::Debug for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| *name);
        f.write_str(&names.collect::<Vec<_>>().join(" "))
    }
}

impl Summary {
    /// At least one statement, and none of the other bits but `MULTIPLE`, `WRITES` and `LITERALS`: nothing to track, nothing
    /// that pins, nothing that begins or ends a transaction, no COPY, no failure.
    pub const PLAIN: Self = Self(1);
    /// No statement at all (empty or comments only), and no failure.
    pub const EMPTY: Self = Self(1 << 1);
    /// The grammar did not accept the text; see `failure`.
    pub const FAILED: Self = Self(1 << 2);
    /// BEGIN, COMMIT, ROLLBACK, savepoints, two-phase, SET TRANSACTION.
    pub const TRANSACTION: Self = Self(1 << 3);
    /// COPY in any form.
    pub const COPY: Self = Self(1 << 4);
    /// Some effect other than [`Effect::UnknownFunction`].
    pub const EFFECTS: Self = Self(1 << 5);
    /// [`Effect::UnknownFunction`].
    pub const UNKNOWN_FUNCTION: Self = Self(1 << 6);
    /// More than one statement.
    pub const MULTIPLE: Self = Self(1 << 7);
    /// Some statement has `Access::Write`.
    pub const WRITES: Self = Self(1 << 8);
    /// The analysis depends on the value of a literal, or a later reader of it may: it belongs to this text only.
    pub const LITERALS: Self = Self(1 << 9);
    /// Some statement is `StatementKind::Unknown`.
    pub const UNKNOWN: Self = Self(1 << 10);

    const NAMES: [(Self, &'static str); 11] = [
        (Self::PLAIN, "plain"),
        (Self::EMPTY, "empty"),
        (Self::FAILED, "failed"),
        (Self::TRANSACTION, "transaction"),
        (Self::COPY, "copy"),
        (Self::EFFECTS, "effects"),
        (Self::UNKNOWN_FUNCTION, "unknown_function"),
        (Self::MULTIPLE, "multiple"),
        (Self::WRITES, "writes"),
        (Self::LITERALS, "literals"),
        (Self::UNKNOWN, "unknown"),
    ];

    /// All bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Some bit of `other` is set.
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// [`Summary::PLAIN`].
    pub const fn is_plain(self) -> bool {
        self.has(Self::PLAIN)
    }

    /// Both sets of bits.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Whether byte ranges in an [`Analysis`] belong to the text that was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spans {
    /// They do.
    Exact,
    /// The analysis was made for another text that differs in literals, white space and comments only: `Statement::span` is
    /// a range in that one. Such an analysis has no effects that carry spans.
    Shape,
}

/// One statement of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub kind: StatementKind,
    /// Byte range in the text, without the semicolon.
    pub span: std::ops::Range<usize>,
    /// Reads, writes or neither.
    pub access: Access,
    /// Effects on the session, in order of appearance.
    pub effects: Vec<Effect>,
    /// Relations named, CTE scope resolved, as written (schema optional).
    pub relations: Vec<Relation>,
    /// Functions called, as written, lower-cased where unquoted: `["pg_catalog", "now"]`.
    pub functions: Vec<Vec<String>>,
    /// Parameters `$n` used, highest number.
    pub parameters_max: u16,
    /// What policy asks beyond that.
    pub facts: Facts,
}

/// What policy asks of a statement beyond its relations, functions and effects.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// Kinds of the statements inside, at any depth, each once: of EXPLAIN, PREPARE, DECLARE, COPY, WITH, subqueries.
    pub inner: Vec<StatementKind>,
    /// FOR UPDATE, FOR SHARE and the like, anywhere.
    pub locks_rows: bool,
    /// Settings that are touched, by whatever route, at once or when something defined here runs.
    pub settings: Vec<Setting>,
    /// Columns that are given a value, by INSERT, UPDATE, MERGE, ON CONFLICT and COPY.
    pub assignments: Vec<Assignment>,
    /// Schemas of types, operators and collations, and those that are named as schemas or stand before the names of other
    /// objects; without `pg_catalog`, each once.
    pub schemas: Vec<String>,
    /// A function on a sequence is called whose sequence the text does not tell.
    pub computed_sequence: bool,
    /// LOCK's mode.
    pub lock_mode: Option<LockMode>,
    /// Options of COPY and EXPLAIN and modes of a transaction, in order, in lower case, with their values where given.
    pub options: Vec<(String, Option<String>)>,
    /// Parameters that are values of columns, by number; those of which the text does not tell are not here.
    pub parameters: Vec<Parameter>,
}

/// A parameter that is nothing but a value of these columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// `n` of `$n`.
    pub number: u16,
    /// At least one.
    pub columns: Vec<Column>,
}

/// A column as written, the relation by its own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub schema: Option<String>,
    pub relation: String,
    pub name: String,
}

/// A setting that a statement touches.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Lower-cased, old names replaced; `None`: the text does not tell.
    pub name: Option<Arc<str>>,
    pub value: SettingValue,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SettingValue {
    /// The items of SET's list: a list has one only where the setting is no list.
    Values(Vec<String>),
    /// The whole value as text, as `set_config` takes it.
    Text(String),
    /// RESET, or TO DEFAULT.
    Default,
    /// A parameter, or computed.
    Unknown,
}

/// Columns of one relation that are given a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub schema: Option<String>,
    pub name: String,
    pub by: Assigning,
    /// Empty for an INSERT or COPY without a list: all, in order.
    pub columns: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assigning {
    /// In a new row.
    Insert,
    /// In a row that is there.
    Update,
}

/// In order of strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

/// The statement's command, coarse enough to match exhaustively.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatementKind {
    Select,
    Values,
    Insert,
    Update,
    Delete,
    Merge,
    CopyFrom,
    CopyTo,
    CopyFile,
    CopyProgram,
    Explain,
    ExplainAnalyze,
    Begin,
    Commit,
    CommitChain,
    Rollback,
    RollbackChain,
    Savepoint,
    Release,
    RollbackTo,
    PrepareTransaction,
    CommitPrepared,
    RollbackPrepared,
    Set,
    SetLocal,
    SetTransaction,
    SetSessionCharacteristics,
    Reset,
    ResetAll,
    Show,
    SetRole,
    SetSessionAuthorization,
    SetConstraints,
    Discard(DiscardTarget),
    Prepare,
    Execute,
    Deallocate,
    DeallocateAll,
    Declare,
    Fetch,
    Move,
    Close,
    CloseAll,
    Listen,
    Unlisten,
    UnlistenAll,
    Notify,
    Lock,
    Load,
    Do,
    Call,
    Checkpoint,
    Vacuum,
    Analyze,
    Cluster,
    Reindex,
    Refresh,
    Create,
    CreateTableAs,
    SelectInto,
    Alter,
    AlterSystem,
    Drop,
    Truncate,
    Comment,
    Grant,
    SecurityLabel,
    Import,
    /// CREATE, ALTER or DROP of functions, procedures and aggregates: stored code.
    DefineFunction,
    /// The same of triggers, rules and row security policies.
    DefineTrigger,
    /// The same of what belongs to the cluster or the database as a whole, or reaches beyond it: roles, databases, extensions,
    /// foreign servers and tables, publications, languages, casts, operators and the like.
    Administer,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiscardTarget {
    All,
    Plans,
    Sequences,
    Temp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    None,
    Read,
    Write,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relation {
    pub schema: Option<String>,
    pub name: String,
    pub usage: RelationUsage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationUsage {
    Read,
    Insert,
    Update,
    Delete,
    Merge,
    Lock,
    Define,
    /// Only named, by a literal (`'t'::regclass`, an argument of `nextval`) or by SET CONSTRAINTS.
    Name,
}

/// What a statement does to the session that it runs in: this decides what follows the session over backends and what pins it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// `SET name` or `set_config('name', ..., false)`; the value is read back from the server. Name lower-cased.
    SetSession {
        name: Arc<str>,
    },
    /// `SET LOCAL name`, `set_config(.., true)`: ends with the transaction.
    SetLocal {
        name: Arc<str>,
    },
    /// `set_config` whose name is not a plain literal, or `UPDATE pg_settings`: any setting may have changed.
    SetUnknown,
    /// `set_config($n, ..., false)`: the name is parameter `n` of the Bind.
    SetParameter {
        index: u16,
    },
    /// `RESET name`, `SET name TO DEFAULT`.
    Reset {
        name: Arc<str>,
    },
    /// `RESET ALL`.
    ResetAll,
    /// `DISCARD ALL`.
    DiscardAll,
    /// `DISCARD PLANS | SEQUENCES | TEMP`.
    Discard(DiscardTarget),
    /// SQL `PREPARE name`. `name_span`: the identifier's bytes in the text.
    Prepare {
        name: Arc<str>,
        name_span: std::ops::Range<usize>,
    },
    /// SQL `EXECUTE name`, in EXPLAIN and CREATE TABLE AS too.
    Execute {
        name: Arc<str>,
        name_span: std::ops::Range<usize>,
    },
    /// SQL `DEALLOCATE [PREPARE] name`.
    Deallocate {
        name: Arc<str>,
        name_span: std::ops::Range<usize>,
    },
    DeallocateAll,
    /// `LISTEN`.
    Listen {
        channel: Arc<str>,
    },
    Unlisten {
        channel: Arc<str>,
    },
    UnlistenAll,
    /// `DECLARE ... WITH HOLD`.
    HoldCursor {
        name: Arc<str>,
    },
    CloseCursor {
        name: Arc<str>,
    },
    CloseAll,
    /// CREATE TEMP ..., SELECT INTO TEMP, or anything that names `pg_temp`.
    TempObject,
    /// pg_advisory_lock and its session-level family.
    SessionLock,
    /// `pg_advisory_unlock(...)`: one lock; how many are left is not known.
    SessionUnlock,
    /// `pg_advisory_unlock_all()`.
    SessionUnlockAll,
    /// `currval`, `lastval`, `setval`, `nextval`: read or leave sequence state in the session. `reads`: currval or lastval.
    Sequence {
        reads: bool,
    },
    /// LOAD.
    Load,
    /// SET SESSION AUTHORIZATION or SET ROLE (also by `set_config`).
    Identity,
    /// DO, CALL, and built-in functions that run SQL given as text: may do anything that SQL can.
    Opaque,
    /// A function that is not PostgreSQL's own is called by name. (Operators, casts, defaults, triggers and views can call
    /// functions too, and no text shows it.)
    UnknownFunction,
    /// `SAVEPOINT name`.
    Savepoint {
        name: Arc<str>,
    },
    /// `RELEASE name`.
    Release {
        name: Arc<str>,
    },
    /// `ROLLBACK TO name`.
    RollbackTo {
        name: Arc<str>,
    },
}
