//! A text read by PostgreSQL's own grammar (libpg_query), into an [`Analysis`].
//!
//! Why this binding: `pg_query` 18 keeps libpg_query's check of the stack's depth, and its tree is plain data whose every field
//! the compiler makes us name (`tree`). `pg_raw_parse` has no such check, no fingerprint, and a walk that panics on utility
//! statements. The tree takes a shorter way here than `pg_query::parse` gives it (`pgwarden-grammar`); of a miss, decoding and
//! dropping it are still a third. This module takes about 3 µs for 51 bytes and 41 µs for 1.2 KB, warm (bench's `analysis`), and
//! more in a proxy that does other things in between (`unseen-simple-16`). Texts and shapes that repeat do not pay it (`cache`).
//! Never used: `deparse` and `scan_tokens`, which crash on some texts.
//!
//! No text may panic or abort, and none may hold a thread for longer than its size explains (up to 5 µs a byte, so callers cap it): sizes are capped, what is quadratic for the scanner is refused before,
//! the walk keeps its own stack, and a text that could nest deeply is parsed on a thread with a stack for the deepest tree that
//! libpg_query hands out (10,000 messages).

use std::collections::HashSet;
use std::ffi::CString;
use std::hash::Hash;
use std::ops::Range;

use pg_query::NodeEnum;
use pg_query::protobuf::{ParseResult, RawStmt};
use prost::Message;

use super::depth::{self, Survey};
use super::effects::effects_of;
use super::kinds::{access_of, kind_of};
use super::walk::walk;
use super::{Access, Admission, Analysis, Described, Effect, Facts, Failure, Spans, Statement, StatementKind, Summary};

/// Reads a text without any cache.
pub fn read(text: &[u8]) -> Analysis {
    let statements = match bounded(text, parse_here) {
        Ok(statements) => statements,
        Err(failure) => return unread(failure),
    };
    let mut summary = summary_of(statements.iter().map(|(statement, _)| statement));
    if statements.iter().any(|(_, literals)| *literals == Literals::Matter) {
        summary = summary.with(Summary::LITERALS);
    }
    let statements = statements.into_iter().map(|(statement, _)| statement).collect();
    let (admission, words) = (Admission::default(), Described::default());
    Analysis { summary, spans: Spans::Exact, statements, failure: None, admission, words }
}

/// What is said of a text that cannot be read.
pub(crate) fn unread(failure: Failure) -> Analysis {
    let (admission, words) = (Admission::default(), Described::default());
    let (spans, failure) = (Spans::Exact, Some(failure));
    Analysis { summary: Summary::FAILED, spans, statements: Vec::new(), failure, admission, words }
}

/// Whether another value of a literal could change what an analysis says, or what its readers make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Literals {
    Matter,
    Indifferent,
}

/// Runs a reader of a text's tree where neither the text's length, nor its depth, nor the scanner's time can hurt: on a
/// thread of its own with a large stack when the text could nest deeply.
pub(crate) fn bounded<T: Send>(
    text: &[u8],
    reader: impl FnOnce(&str) -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let text = text_of(text)?;
    let rescans_max = RESCANS_PER_BYTE * text.len() + RESCANS_FREE;
    let Survey { depth, rescans } = depth::survey(text.as_bytes(), rescans_max);
    if rescans > rescans_max {
        return Err(Failure::TooComplex);
    }
    if depth <= DEPTH_HERE {
        return reader(text);
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("parse".into()).stack_size(STACK_DEEP);
        // No thread to be had: the text is refused, like any other that asks for too much.
        let parsed = thread.spawn_scoped(scope, || reader(text)).map_err(|_| Failure::TooComplex)?;
        parsed.join().unwrap_or(Err(Failure::TooComplex))
    })
}

/// The grammar's trees of a text, by [`bounded`]'s leave.
pub(crate) fn trees(text: &str) -> Result<Vec<RawStmt>, Failure> {
    let text = CString::new(text).map_err(|_| Failure::Encoding)?;
    let tree = pgwarden_grammar::parse(&text).map_err(failure_of)?;
    // The grammar's own bytes: not of the text's making if they cannot be decoded.
    let tree = ParseResult::decode(&*tree).map_err(|_| Failure::TooComplex)?;
    if tree.stmts.len() > STATEMENTS_MAX { Err(Failure::TooComplex) } else { Ok(tree.stmts) }
}

fn text_of(text: &[u8]) -> Result<&str, Failure> {
    if text.len() > TEXT_MAX {
        return Err(Failure::TooComplex);
    }
    let text = std::str::from_utf8(text).map_err(|_| Failure::Encoding)?;
    if text.contains('\0') { Err(Failure::Encoding) } else { Ok(text) }
}

fn parse_here(text: &str) -> Result<Vec<(Statement, Literals)>, Failure> {
    let trees = trees(text)?;
    // No larger than it need be: most texts have one statement, and small allocations are cheap.
    let (mut statements, mut steps) = (Vec::with_capacity(trees.len()), 0);
    for raw in &trees {
        statements.push(statement_of(raw, text, &mut steps)?);
    }
    Ok(statements)
}

fn failure_of(error: pgwarden_grammar::Error) -> Failure {
    let too_deep = ["stack depth", "nested too deeply", "memory exhausted"];
    if too_deep.iter().any(|part| error.message.contains(part)) {
        Failure::TooComplex
    } else {
        Failure::Syntax { message: shortened(error.message), position: error.position }
    }
}

/// The grammar quotes the text to its end where a quote is open.
fn shortened(mut message: String) -> String {
    let mut length = message.len().min(MESSAGE_MAX);
    while !message.is_char_boundary(length) {
        length -= 1;
    }
    message.truncate(length);
    message
}

fn statement_of(raw: &RawStmt, text: &str, steps: &mut usize) -> Result<(Statement, Literals), Failure> {
    let span = span_of(raw, text);
    let Some(node) = raw.stmt.as_ref().and_then(|stmt| stmt.node.as_ref()) else {
        return Ok((unknown(span), Literals::Matter));
    };
    let found = walk(node, steps)?;
    let inner = found.effects.into_iter().map(|(_, effect)| effect).collect();
    let Ok(mut effects) = effects_of(node, text, &span, inner) else {
        return Ok((unknown(span), Literals::Matter));
    };
    effects.dedup();
    let kind = kind_of(node);
    let access = match access_of(kind) {
        Access::Read | Access::None if found.writes && !is_planned(node) => Access::Write,
        access => access,
    };
    let relations = each_once(found.relations.into_iter().map(|(_, relation)| relation).collect());
    let functions = each_once(found.functions.into_iter().map(|(_, name)| name).collect());
    let literals = if found.literals { Literals::Matter } else { Literals::Indifferent };
    let parameters_max = found.parameters_max;
    let facts = found.facts;
    let statement = Statement { kind, span, access, effects, relations, functions, parameters_max, facts };
    Ok((statement, literals))
}

/// The first of equal ones, in order.
fn each_once<T: Clone + Eq + Hash>(mut items: Vec<T>) -> Vec<T> {
    if items.len() < 2 {
        return items;
    }
    let mut seen = HashSet::with_capacity(items.len());
    items.retain(|item| seen.insert(item.clone()));
    items
}

/// EXPLAIN without ANALYZE does nothing of what it explains.
fn is_planned(node: &NodeEnum) -> bool {
    kind_of(node) == StatementKind::Explain
}

fn unknown(span: Range<usize>) -> Statement {
    Statement {
        kind: StatementKind::Unknown,
        span,
        access: Access::Write,
        effects: vec![Effect::Opaque],
        relations: Vec::new(),
        functions: Vec::new(),
        parameters_max: 0,
        facts: Facts::default(),
    }
}

pub(crate) fn span_of(raw: &RawStmt, text: &str) -> Range<usize> {
    let start = usize::try_from(raw.stmt_location).unwrap_or(0).min(text.len());
    let end = match usize::try_from(raw.stmt_len) {
        Ok(length) if length > 0 => start.saturating_add(length).min(text.len()),
        Ok(_) | Err(_) => text.len(),
    };
    // Positions are the grammar's, and it splits between tokens; still, a slice must never panic.
    match text.get(start..end) {
        Some(statement) => start..start + statement.trim_ascii_end().len(),
        None => 0..text.len(),
    }
}

fn summary_of<'a>(statements: impl Iterator<Item = &'a Statement>) -> Summary {
    let mut summary = Summary::default();
    let mut count = 0;
    for statement in statements {
        count += 1;
        summary = summary.with(facts_of(statement));
    }
    if count == 0 {
        return Summary::EMPTY;
    }
    if count > 1 {
        summary = summary.with(Summary::MULTIPLE);
    }
    let special = Summary::TRANSACTION
        .with(Summary::COPY)
        .with(Summary::EFFECTS)
        .with(Summary::UNKNOWN_FUNCTION)
        .with(Summary::UNKNOWN);
    if summary.any(special) { summary } else { summary.with(Summary::PLAIN) }
}

fn facts_of(statement: &Statement) -> Summary {
    use StatementKind::*;
    let mut summary = match statement.kind {
        Begin | Commit | CommitChain | Rollback | RollbackChain | Savepoint | Release | RollbackTo => {
            Summary::TRANSACTION
        }
        PrepareTransaction | CommitPrepared | RollbackPrepared | SetTransaction => Summary::TRANSACTION,
        CopyFrom | CopyTo | CopyFile | CopyProgram => Summary::COPY,
        Unknown => Summary::UNKNOWN,
        Select | Values | Insert | Update | Delete | Merge | Explain | ExplainAnalyze | Set | SetLocal => {
            Summary::default()
        }
        SetSessionCharacteristics | Reset | ResetAll | Show | SetRole | SetSessionAuthorization => Summary::default(),
        SetConstraints | Discard(_) | Prepare | Execute | Deallocate | DeallocateAll | Declare => Summary::default(),
        Fetch | Move | Close | CloseAll | Listen | Unlisten | UnlistenAll | Notify | Lock | Load => Summary::default(),
        Do | Call | Checkpoint | Vacuum | Analyze | Cluster | Reindex | Refresh | Create => Summary::default(),
        CreateTableAs | SelectInto | Alter | AlterSystem | Drop | Truncate | Comment | Grant => Summary::default(),
        SecurityLabel | Import | DefineFunction | DefineTrigger | Administer => Summary::default(),
    };
    for effect in &statement.effects {
        let fact = if *effect == Effect::UnknownFunction { Summary::UNKNOWN_FUNCTION } else { Summary::EFFECTS };
        summary = summary.with(fact);
    }
    if statement.access == Access::Write { summary.with(Summary::WRITES) } else { summary }
}

/// Bytes of one text, at most; callers cap lower.
const TEXT_MAX: usize = 4 << 20;

/// Statements of one text, at most.
const STATEMENTS_MAX: usize = 20_000;

/// Bytes of a syntax error's message that are kept.
const MESSAGE_MAX: usize = 200;

/// What the scanner may read again: a statement's operators are short, so honest texts stay below 4 a byte.
const RESCANS_PER_BYTE: usize = 16;
const RESCANS_FREE: usize = 65_536;

/// Depth that is parsed on the caller's thread. Measured: a token of depth takes up to 5 KiB of stack in a release build and
/// 33 KiB without optimisation, where the decoder's frames are large; so this takes a third of a 2 MiB stack.
const DEPTH_HERE: usize = if cfg!(debug_assertions) { 20 } else { 128 };

/// Stack for trees of 10,000 messages, the most that libpg_query hands out. Only what is used takes memory.
const STACK_DEEP: usize = if cfg!(debug_assertions) { 512 << 20 } else { 64 << 20 };

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
