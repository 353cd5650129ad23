//! Limiting a client's text to one tenant: its predicate on sources and targets, its column in INSERT.
//!
//! This is for plans, partitions and tables without row security, and a second wall. It is no confidentiality boundary of its
//! own: the planner may run a client's condition before ours, and errors tell. Row security is the boundary.
//!
//! The client's bytes are never printed anew. Changes are splices into them, and PostgreSQL's own grammar decides:
//!
//! 1. `intent` reads its tree: which tables, which scope, which joins, and so what is to be changed.
//! 2. `shape` reads the statement with sqlparser's typed tree, which knows where a SELECT begins and a row ends. The tables
//!    that it shows must be those of PostgreSQL's tree, name by name and byte by byte; otherwise the text is refused.
//! 3. `place` turns both into splices.
//! 4. The new text is read by PostgreSQL's grammar, and its tree must equal `expect`'s: the original tree with exactly the
//!    intended change, positions aside. So a place that was found wrongly is a refusal.
//!
//! A [`Plan`] depends on the text and the catalog, not on the tenant, and may be kept for a text. It is verified with a
//! stand-in key. That holds for every key: a key's literal is `'…'::type` with its quotes doubled and no control characters
//! (see [`TenantKey`]), so under `standard_conforming_strings = on` it is the same three tokens whatever the key, with a space
//! before and `)`, `,` or a space behind; another key changes the value of one constant in the tree and nothing else.
//!
//! `=` is `OPERATOR(pg_catalog.=)` and the key's type is named with its schema: no search_path can give them another meaning.
//! Pure: no socket, no clock. What it cannot do right it refuses.

mod build;
mod expect;
mod group;
mod insert;
mod intent;
mod place;
mod refusal;
mod shape;
mod tokens;

use pg_query::NodeEnum;
use pg_query::protobuf::RawStmt;

use crate::config::Rewrite;
use crate::sql::grammar;
use crate::tenant::{Catalog, KeyType, TenantKey};
use intent::Intents;
use place::{Piece, Splice};
use tokens::Tokens;

pub use refusal::CannotRewrite;

/// What is to be rewritten, and under which rules.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub text: &'a str,
    pub catalog: &'a Catalog,
    /// The tenant column's name, for messages; each relation's own is in the catalog.
    pub column: &'a str,
    pub key_type: KeyType,
    /// Which tables' rows are filtered.
    pub scope: &'a Rewrite,
    pub insert: InsertColumn,
}

/// Whether INSERT gets the tenant column where it is absent, into any table that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InsertColumn {
    Add,
    Leave,
}

/// What is to be done to one text, for whichever tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In order, not overlapping.
    splices: Vec<Splice>,
    /// Tenants that the text names for its rows.
    must_equal: Vec<TenantKey>,
    key_type: KeyType,
    /// Of the text that the plan was made for.
    length: usize,
    column: String,
}

impl Plan {
    /// Nothing is to be done, and nothing to be compared: the text may go as it is.
    pub fn is_identity(&self) -> bool {
        self.splices.is_empty() && self.must_equal.is_empty()
    }

    /// The text for one tenant. `text` is the one that the plan was made for.
    ///
    /// Errors: the text names another tenant for its rows; or the plan belongs to another text.
    pub fn apply(&self, text: &[u8], key: &TenantKey) -> Result<Vec<u8>, CannotRewrite> {
        if text.len() != self.length || key.kind() != self.key_type {
            return Err(CannotRewrite::OtherText);
        }
        if self.must_equal.iter().any(|named| named != key) {
            return Err(CannotRewrite::ForeignTenant(self.column.clone()));
        }
        self.spliced(text, key).ok_or(CannotRewrite::OtherText)
    }

    fn spliced(&self, text: &[u8], key: &TenantKey) -> Option<Vec<u8>> {
        let literal = key.literal();
        let mut new = Vec::with_capacity(text.len() + self.splices.len() * (literal.len() + 48));
        let mut at = 0;
        for splice in &self.splices {
            new.extend_from_slice(text.get(at..splice.at)?);
            for piece in &splice.pieces {
                match piece {
                    Piece::Text(piece) => new.extend_from_slice(piece.as_bytes()),
                    Piece::Key => new.extend_from_slice(literal.as_bytes()),
                }
            }
            at = splice.at + splice.remove;
        }
        new.extend_from_slice(text.get(at..)?);
        Some(new)
    }
}

/// Plans what a text needs. Texts of several statements are planned as one.
pub fn plan(request: &Request<'_>) -> Result<Plan, CannotRewrite> {
    let off = match request.scope {
        Rewrite::Off => true,
        Rewrite::Tables(tables) => tables.is_empty(),
        Rewrite::All => false,
    };
    if off && request.insert == InsertColumn::Leave {
        return Ok(identity(request));
    }
    grammar::bounded(request.text.as_bytes(), |text| Ok(plan_here(request, text)))?
}

fn identity(request: &Request<'_>) -> Plan {
    Plan {
        splices: Vec::new(),
        must_equal: Vec::new(),
        key_type: request.key_type,
        length: request.text.len(),
        column: request.column.to_owned(),
    }
}

fn plan_here(request: &Request<'_>, text: &str) -> Result<Plan, CannotRewrite> {
    let mut trees = grammar::trees(text)?;
    let mut plan = identity(request);
    let mut intents = Vec::with_capacity(trees.len());
    for raw in &trees {
        let statement = statement(raw).ok_or(CannotRewrite::Reading)?;
        let read = intent::read(request, statement)?;
        plan.must_equal.extend(read.must_equal.iter().cloned());
        intents.push(read);
    }
    if intents.iter().all(Intents::is_identity) {
        return Ok(plan);
    }
    let tokens = Tokens::of(text);
    for (raw, intents) in trees.iter().zip(&intents).filter(|(_, intents)| !intents.is_identity()) {
        plan.splices.extend(splices(text, &tokens, raw, intents)?);
    }
    if plan.splices.windows(2).any(|pair| pair[0].at + pair[0].remove > pair[1].at) {
        return Err(CannotRewrite::Reading);
    }
    let key = stand_in(request.key_type);
    for (raw, intents) in trees.iter_mut().zip(&intents) {
        if let Some(statement) = raw.stmt.as_mut().and_then(|node| node.node.as_mut()) {
            expect::change(statement, intents, &key);
        }
    }
    let new = plan.spliced(text.as_bytes(), &key).ok_or(CannotRewrite::Reading)?;
    verify(&new, &trees)?;
    Ok(plan)
}

fn statement(raw: &RawStmt) -> Option<&NodeEnum> {
    raw.stmt.as_ref().and_then(|node| node.node.as_ref())
}

fn splices(text: &str, tokens: &Tokens<'_>, raw: &RawStmt, intents: &Intents) -> Result<Vec<Splice>, CannotRewrite> {
    let statement = statement(raw).ok_or(CannotRewrite::Reading)?;
    let span = grammar::span_of(raw, text);
    let shape = match intents.copy {
        // COPY's own table: there is no query in it yet.
        Some(_) => shape::Shape::default(),
        None => {
            let query = shape::query(tokens, statement, &span).ok_or(CannotRewrite::Reading)?;
            let tables: Vec<usize> = intents.named.iter().map(|(start, _)| *start).collect();
            let shape = shape::read(text, tokens, &query, &tables).ok_or(CannotRewrite::Reading)?;
            if shape.named != intents.named {
                return Err(CannotRewrite::Reading);
            }
            shape
        }
    };
    place::splices(text, tokens, &shape, intents).ok_or(CannotRewrite::Reading)
}

/// The new text, read again, is what was expected.
fn verify(new: &[u8], expected: &[RawStmt]) -> Result<(), CannotRewrite> {
    let same = grammar::bounded(new, |new| {
        let mut trees = grammar::trees(new)?;
        let mut same = trees.len() == expected.len();
        for (raw, expected) in trees.iter_mut().zip(expected) {
            if let Some(statement) = raw.stmt.as_mut().and_then(|node| node.node.as_mut()) {
                expect::erase(statement);
            }
            same &= raw.stmt == expected.stmt;
        }
        Ok(same)
    });
    match same {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(CannotRewrite::Verification),
    }
}

/// A key for the verification.
fn stand_in(kind: KeyType) -> TenantKey {
    let text = match kind {
        KeyType::Int | KeyType::Bigint => "1",
        KeyType::Uuid => "00000000-0000-4000-8000-000000000000",
        KeyType::Text => "tenant",
    };
    TenantKey::parse(kind, text).expect("a key of its kind")
}

/// What PostgreSQL says when ON CONFLICT meets another tenant's row: the text of a cast that fails. No quotes in it.
const FOREIGN_CONFLICT: &str = "ON CONFLICT: the row belongs to another tenant";

#[cfg(test)]
mod tests;
