//! Where the changes go in the text: splices at the ends of tokens, so that comments and spacing stay as they are.
//!
//! A piece is put at the end of a token and begins and ends with a space or a parenthesis: it can neither join a token of the
//! client's nor end up in one of its comments.

use super::FOREIGN_CONFLICT;
use super::insert::{Columns, ConflictIntent, InsertIntent, MergeIntent, Values};
use super::intent::{CopyIntent, Intents, Predicate, Source};
use super::shape::{Leaf, Shape};
use super::tokens::{Clauses, Tokens};

/// Bytes of the text that are replaced (or none, where something is put in between).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Splice {
    pub at: usize,
    pub remove: usize,
    pub pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Box<str>),
    /// The tenant's key as a literal.
    Key,
}

/// The splices of one statement, in order; `None` where a place is not found.
pub(super) fn splices(text: &str, tokens: &Tokens<'_>, shape: &Shape, intents: &Intents) -> Option<Vec<Splice>> {
    let mut places = Places { text, tokens, shape, splices: Vec::new(), tables: Vec::new() };
    // What replaces a table goes first: a WHERE may begin where it ends.
    for (start, source) in &intents.sources {
        if let Source::Wrapped { predicate, name, aliased, sampled } = source {
            match sampled {
                true => places.wrap_sample(*start, predicate, name, *aliased)?,
                false => places.wrap(*start, predicate, name, *aliased)?,
            }
        }
    }
    for level in &intents.levels {
        places.level(level)?;
    }
    for insert in &intents.inserts {
        places.insert(insert)?;
    }
    for conflict in &intents.conflicts {
        places.conflict(conflict)?;
    }
    for merge in &intents.merges {
        places.merge(merge)?;
    }
    if let Some(copy) = &intents.copy {
        places.copy(copy)?;
    }
    places.table_commands();
    places.splices.sort_by_key(|splice| splice.at);
    Some(places.splices)
}

struct Places<'a> {
    text: &'a str,
    tokens: &'a Tokens<'a>,
    shape: &'a Shape,
    splices: Vec<Splice>,
    /// Words TABLE that become `SELECT * FROM`, and whether the key joins the list.
    tables: Vec<(usize, bool)>,
}

/// Pieces of a splice, written one after another.
#[derive(Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn text(mut self, text: &str) -> Self {
        self.0.push(Piece::Text(text.into()));
        self
    }

    fn key(mut self) -> Self {
        self.0.push(Piece::Key);
        self
    }

    fn predicate(self, predicate: &Predicate) -> Self {
        let names = predicate.qualifier.iter().chain([&predicate.column]).map(|name| quoted(name));
        let name = names.collect::<Vec<_>>().join(".");
        self.text(&format!("{name} OPERATOR(pg_catalog.=) ")).key()
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Places<'_> {
    fn put(&mut self, at: usize, pieces: Pieces) {
        self.replace(at, at, pieces);
    }

    fn replace(&mut self, start: usize, end: usize, pieces: Pieces) {
        self.splices.push(Splice { at: start, remove: end.saturating_sub(start), pieces: pieces.0 });
    }

    /// The text of some tokens, without what stands around them.
    fn between(&self, first: usize, behind: usize) -> Option<&str> {
        self.text.get(self.tokens.get(first)?.start..self.tokens.end_before(behind)?)
    }

    fn wrap(&mut self, start: usize, predicate: &Predicate, name: &str, aliased: bool) -> Option<()> {
        let factor = self.tokens.factor(self.tokens.at(start)?)?;
        let first = self.tokens.get(factor.first)?.start;
        let end = self.tokens.end_before(factor.behind)?;
        self.put(first, Pieces::default().text(" (SELECT * FROM "));
        let alias = if aliased { ") ".to_owned() } else { format!(") AS {} ", quoted(name)) };
        self.put(end, Pieces::default().text(" WHERE ").predicate(predicate).text(&alias));
        Some(())
    }

    /// `t AS x (a) TABLESAMPLE …`: the sample goes inside, the alias outside.
    fn wrap_sample(&mut self, start: usize, predicate: &Predicate, name: &str, aliased: bool) -> Option<()> {
        let tokens = self.tokens;
        let factor = tokens.factor(tokens.at(start)?)?;
        let sample = if aliased { tokens.behind_alias(factor.behind)? } else { factor.behind };
        if !tokens.is_word(sample, "tablesample") {
            return None;
        }
        let mut behind = tokens.closing(tokens.behind_name(sample + 1)?)? + 1;
        if tokens.is_word(behind, "repeatable") {
            behind = tokens.closing(behind + 1)? + 1;
        }
        let alias =
            if aliased { self.between(factor.behind, sample)?.to_owned() } else { format!("AS {}", quoted(name)) };
        let table = self.between(factor.first, factor.behind)?;
        let inside = format!(" (SELECT * FROM {table} {} WHERE ", self.between(sample, behind)?);
        let (first, end) = (tokens.get(factor.first)?.start, tokens.end_before(behind)?);
        self.replace(first, end, Pieces::default().text(&inside).predicate(predicate).text(&format!(") {alias} ")));
        Some(())
    }

    fn level(&mut self, predicates: &[(usize, Predicate)]) -> Option<()> {
        let (anchor, _) = predicates.first()?;
        let start = *self.shape.levels.get(anchor)?;
        // All of one WHERE, by both readings.
        if predicates.iter().any(|(table, _)| self.shape.levels.get(table) != Some(&start)) {
            return None;
        }
        let keyword = self.tokens.at(start)?;
        if self.tokens.is_word(keyword, "table") {
            self.tables.push((keyword, false));
        }
        let clauses = self.tokens.clauses(keyword)?;
        let mut pieces = match clauses.where_start {
            Some(_) => Pieces::default().text(") AND "),
            None => Pieces::default().text(" WHERE "),
        };
        for (number, (_, predicate)) in predicates.iter().enumerate() {
            pieces = if number > 0 { pieces.text(" AND ") } else { pieces }.predicate(predicate);
        }
        self.open(&clauses);
        self.put(clauses.where_end, pieces.text(" "));
        Some(())
    }

    /// The parenthesis around the condition that is there.
    fn open(&mut self, clauses: &Clauses) {
        if let Some(start) = clauses.where_start {
            self.put(start, Pieces::default().text(" ("));
        }
    }

    fn insert(&mut self, insert: &InsertIntent) -> Option<()> {
        let tokens = self.tokens;
        let name = tokens.at(insert.target)?;
        let behind = tokens.behind_name(name)?;
        let behind = if insert.aliased { tokens.behind_alias(behind)? } else { behind };
        match &insert.columns {
            Columns::Keep => {}
            Columns::Append { first, column } => {
                let closing = tokens.closing(tokens.at(*first)?.checked_sub(1)?)?;
                self.put(tokens.end_before(closing)?, Pieces::default().text(&format!(", {} ", quoted(column))));
            }
            Columns::Write(columns) => {
                let names = columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
                self.put(tokens.end_before(behind)?, Pieces::default().text(&format!(" ({names}) ")));
            }
        }
        match &insert.values {
            Values::Append => self.append(insert.target)?,
            Values::Defaults => {
                if !tokens.is_word(behind, "default") || !tokens.is_word(behind + 1, "values") {
                    return None;
                }
                let (start, end) = (tokens.get(behind)?.start, tokens.end_of(behind + 1)?);
                self.replace(start, end, Pieces::default().text(" VALUES (").key().text(") "));
            }
            Values::Replace(places) => {
                for place in places {
                    let end = tokens.end_of(tokens.at(*place)?)?;
                    self.replace(*place, end, Pieces::default().text(" ").key().text(" "));
                }
            }
        }
        Some(())
    }

    /// The key at the end of each row and of each SELECT list.
    fn append(&mut self, target: usize) -> Option<()> {
        let tokens = self.tokens;
        for leaf in self.shape.inserts.get(&target)? {
            match leaf {
                Leaf::Select(start) => {
                    let keyword = tokens.at(*start)?;
                    if tokens.is_word(keyword, "table") {
                        self.tables.push((keyword, true));
                    } else {
                        let end = tokens.clauses(keyword)?.list_end;
                        self.put(end, Pieces::default().text(", ").key().text(" "));
                    }
                }
                Leaf::Values(closings) => {
                    for closing in closings {
                        let end = tokens.end_before(tokens.at(*closing)?)?;
                        self.put(end, Pieces::default().text(", ").key().text(" "));
                    }
                }
            }
        }
        Some(())
    }

    fn conflict(&mut self, conflict: &ConflictIntent) -> Option<()> {
        let tokens = self.tokens;
        let name = tokens.at(conflict.target)?;
        let is_action =
            |at: &usize| tokens.is_word(*at, "do") && tokens.is_word(at + 1, "update") && tokens.is_word(at + 2, "set");
        let action = tokens.level(name).find(is_action)?;
        let clauses = tokens.clauses(action + 2)?;
        let start = if clauses.where_start.is_some() { "" } else { " WHERE" };
        let head = Pieces::default().text(&format!("{start} CASE WHEN ")).predicate(&conflict.predicate).text(" THEN ");
        let error = format!(" ELSE pg_catalog.concat('{FOREIGN_CONFLICT}')::pg_catalog.bool END ");
        match clauses.where_start {
            Some(start) => {
                self.put(start, head.text("("));
                self.put(clauses.where_end, Pieces::default().text(")").text(&error));
            }
            None => self.put(clauses.where_end, head.text("true").text(&error)),
        }
        Some(())
    }

    fn merge(&mut self, merge: &MergeIntent) -> Option<()> {
        let tokens = self.tokens;
        let words = tokens.merge_words(tokens.at(merge.target)?);
        let first_when = *words.whens.first()?;
        if let Some(predicate) = &merge.predicate {
            let on = words.ons.iter().rev().find(|on| **on < first_when)?;
            self.put(tokens.end_of(*on)?, Pieces::default().text(" ("));
            let pieces = Pieces::default().text(") AND ").predicate(predicate).text(" ");
            self.put(tokens.end_before(first_when)?, pieces);
        }
        for number in &merge.inserts {
            let when = *words.whens.get(*number)?;
            let then = *words.thens.iter().find(|then| **then > when)?;
            if !tokens.is_word(then + 1, "insert") || !tokens.is_symbol(then + 2, "(") {
                return None;
            }
            let columns = tokens.closing(then + 2)?;
            let column = format!(", {} ", quoted(&merge.column));
            self.put(tokens.end_before(columns)?, Pieces::default().text(&column));
            let values = tokens.level(columns + 1).find(|at| tokens.is_word(*at, "values"))?;
            let row = tokens.closing(values + 1)?;
            self.put(tokens.end_before(row)?, Pieces::default().text(", ").key().text(" "));
        }
        Some(())
    }

    fn copy(&mut self, copy: &CopyIntent) -> Option<()> {
        let tokens = self.tokens;
        let name = tokens.at(copy.target)?;
        let behind_name = tokens.behind_name(name)?;
        let table = self.between(name, behind_name)?;
        let (columns, behind) = if copy.listed {
            let closing = tokens.closing(behind_name)?;
            (self.between(behind_name + 1, closing)?.to_owned(), closing + 1)
        } else {
            let names = copy.columns.as_ref().map(|names| names.iter().map(|name| quoted(name)).collect::<Vec<_>>());
            (names.map_or("*".to_owned(), |names| names.join(", ")), behind_name)
        };
        let end = tokens.end_before(behind)?;
        let query = format!(" (SELECT {columns} FROM ONLY {table} WHERE ");
        self.replace(copy.target, end, Pieces::default().text(&query).predicate(&copy.predicate).text(") "));
        Some(())
    }

    /// `TABLE t` as the SELECT that it stands for, where something is added to it.
    fn table_commands(&mut self) {
        self.tables.sort();
        let mut tables = std::mem::take(&mut self.tables);
        // The one with the key comes last, and stays.
        tables.reverse();
        tables.dedup_by_key(|(keyword, _)| *keyword);
        for (keyword, with_key) in tables {
            let Some(token) = self.tokens.get(keyword) else { continue };
            let list = Pieces::default().text(" SELECT *");
            let list = if with_key { list.text(", ").key() } else { list };
            self.replace(token.start, token.end, list.text(" FROM "));
        }
    }
}
