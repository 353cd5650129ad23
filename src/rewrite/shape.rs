//! A statement as sqlparser's typed tree shows it: which SELECT a table stands in, where an INSERT's rows end.
//!
//! sqlparser does not read the client's bytes but a copy of our lexer's tokens: literals and comments emptied, PostgreSQL's
//! words that it does not know left out, `TABLE t` as `SELECT * FROM t`. So its lexer cannot differ from PostgreSQL's. Every
//! character of the copy knows the byte it stands for. Where its grammar differs, its tables are not PostgreSQL's tables, and
//! [`Shape::named`] tells.

use std::collections::{HashMap, HashSet};
use std::ops::{ControlFlow, Range};

use pg_query::NodeEnum;
use sqlparser::ast::{
    Delete, FromTable, Insert, ObjectName, ObjectNamePart, Query, Select, SetExpr, Statement, TableFactor,
    TableWithJoins, Update, UpdateTableFromKind, Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Span;

use super::tokens::Tokens;
use crate::sql::lexer::{Lexer, TokenKind};

/// Places in one statement, in bytes of the text.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Every relation named, with the byte where its name begins; sorted.
    pub named: Vec<(usize, String)>,
    /// From where a table's name begins to the word SELECT, UPDATE, DELETE or MERGE that it belongs to.
    pub levels: HashMap<usize, usize>,
    /// From where an INSERT's table begins to the parts of what it inserts, in order.
    pub inserts: HashMap<usize, Vec<Leaf>>,
}

/// A SELECT or VALUES among the members of a UNION (or alone).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaf {
    /// Where the word SELECT (or TABLE) begins.
    Select(usize),
    /// Where each row's closing parenthesis is.
    Values(Vec<usize>),
}

/// The bytes of the query inside a statement: behind EXPLAIN, PREPARE … AS, DECLARE … FOR, CREATE TABLE … AS, COPY.
pub(super) fn query(tokens: &Tokens<'_>, statement: &NodeEnum, span: &Range<usize>) -> Option<Range<usize>> {
    let range = tokens.within(span);
    let first = range.start;
    let word = |word: &str| tokens.level(first).find(|at| tokens.is_word(*at, word));
    let (first, inner) = match statement {
        NodeEnum::ExplainStmt(explain) => {
            let mut at = first + 1;
            let options = tokens.is_symbol(at, "(").then(|| tokens.closing(at)).flatten();
            // Options are followed by the statement; otherwise the parenthesis is the statement's own.
            if let Some(closing) = options.filter(|closing| closing + 1 < range.end) {
                at = closing + 1;
            }
            while tokens.is_one_of(at, &["analyze", "analyse", "verbose"]) {
                at += 1;
            }
            (at, &explain.query)
        }
        NodeEnum::PrepareStmt(prepare) => (word("as")? + 1, &prepare.query),
        NodeEnum::DeclareCursorStmt(declare) => (word("for")? + 1, &declare.query),
        NodeEnum::CreateTableAsStmt(create) if !create.is_select_into => (word("as")? + 1, &create.query),
        NodeEnum::CopyStmt(copy) => {
            let closing = tokens.closing(first + 1)?;
            let inside = tokens.get(first + 2)?.start..tokens.end_before(closing)?;
            return query(tokens, copy.query.as_ref()?.node.as_ref()?, &inside);
        }
        _ => return Some(span.clone()),
    };
    let mut end = range.end;
    if tokens.is_word(end.wrapping_sub(1), "data") && matches!(statement, NodeEnum::CreateTableAsStmt(_)) {
        let no = usize::from(tokens.is_word(end.wrapping_sub(2), "no"));
        end = end.checked_sub(2 + no).filter(|end| tokens.is_word(*end, "with"))?;
    }
    let inside = tokens.get(first)?.start..tokens.end_before(end)?;
    query(tokens, inner.as_ref()?.node.as_ref()?, &inside)
}

/// Reads the query in `range` of `text`, whose tables' names begin at `tables`; `None` when sqlparser does not take it.
pub(super) fn read(text: &str, tokens: &Tokens<'_>, range: &Range<usize>, tables: &[usize]) -> Option<Shape> {
    let copy = Copy::of(text, tokens, range, tables)?;
    let statements = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(RECURSION_MAX)
        .try_with_sql(&copy.text)
        .and_then(|mut parser| parser.parse_statements())
        .ok()?;
    let [statement] = &statements[..] else { return None };
    let mut sites = Sites { copy: &copy, shape: Shape::default(), functions: HashSet::new() };
    if statement.visit(&mut sites).is_break() {
        return None;
    }
    let mut shape = sites.shape;
    shape.named.sort();
    Some(shape)
}

/// The text that sqlparser reads, and the byte of the original that each of its characters stands for.
struct Copy {
    text: String,
    bytes: Vec<usize>,
}

impl Copy {
    fn of(text: &str, tokens: &Tokens<'_>, range: &Range<usize>, tables: &[usize]) -> Option<Self> {
        let dropped = dropped(tokens, range, tables);
        let mut copy = Self { text: String::new(), bytes: Vec::new() };
        let mut operator_before = false;
        for token in Lexer::new(text.as_bytes()) {
            if token.start < range.start || dropped.contains(&token.start) {
                continue;
            }
            if token.start >= range.end {
                break;
            }
            let raw = text.get(token.start..token.end)?;
            let operator = token.kind == TokenKind::Symbol && !matches!(raw, "(" | ")" | "[" | "]" | "," | "." | ";");
            if operator && operator_before {
                copy.push(" ", token.start);
            }
            operator_before = operator;
            match token.kind {
                TokenKind::Space | TokenKind::Comment => copy.push(" ", token.start),
                TokenKind::Ident if raw.is_ascii() && !copy.is_table_command(raw) => copy.push(raw, token.start),
                TokenKind::Ident if raw.is_ascii() => copy.push("select * from", token.start),
                TokenKind::Ident => copy.push(&format!("\"{}\"", raw.to_ascii_lowercase()), token.start),
                TokenKind::QuotedIdent if raw.contains(['\n', '\r', '\\']) => return None,
                TokenKind::QuotedIdent | TokenKind::Param | TokenKind::Integer | TokenKind::Symbol => {
                    copy.push(raw, token.start)
                }
                TokenKind::UnicodeIdent => copy.push("\"?\"", token.start),
                TokenKind::Number => copy.push("1", token.start),
                TokenKind::String
                | TokenKind::EscapeString
                | TokenKind::DollarString
                | TokenKind::UnicodeString
                | TokenKind::BitString
                | TokenKind::HexString => copy.push("'x'", token.start),
                TokenKind::Invalid => return None,
            }
        }
        Some(copy)
    }

    fn push(&mut self, text: &str, start: usize) {
        self.text.push_str(text);
        self.bytes.extend(text.chars().map(|_| start));
    }

    /// Whether TABLE here begins a query: it is reserved, and no label or name.
    fn is_table_command(&self, word: &str) -> bool {
        let before = self.text.trim_end();
        let label =
            before.ends_with('.') || before.len() >= 3 && before[before.len() - 3..].eq_ignore_ascii_case(" as");
        let cte = before.ends_with('(');
        word.eq_ignore_ascii_case("table") && (!label || cte)
    }

    /// The byte of the original where a span begins.
    fn start(&self, span: Span) -> Option<usize> {
        let column = usize::try_from(span.start.column).ok()?.checked_sub(1)?;
        if span.start.line != 1 { None } else { self.bytes.get(column).copied() }
    }
}

/// Where tokens begin that sqlparser must not see: ONLY with its parentheses, `*` behind a table, OVERRIDING … VALUE, UESCAPE.
fn dropped(tokens: &Tokens<'_>, range: &Range<usize>, tables: &[usize]) -> HashSet<usize> {
    let mut dropped = HashSet::new();
    let mut drop = |index: usize| dropped.extend(tokens.get(index).map(|token| token.start));
    for table in tables {
        let Some(factor) = tokens.at(*table).and_then(|name| tokens.factor(name)) else { continue };
        (factor.first..factor.name).for_each(&mut drop);
        (factor.behind_name..factor.behind).for_each(&mut drop);
    }
    let mut at = tokens.within(range).start;
    let end = tokens.within(range).end;
    while at < end {
        let value = tokens.is_one_of(at + 1, &["system", "user"]) && tokens.is_word(at + 2, "value");
        if tokens.is_word(at, "overriding") && value {
            (at..at + 3).for_each(&mut drop);
        }
        if tokens.behind_escape(at) > at {
            (at..at + 2).for_each(&mut drop);
        }
        at += 1;
    }
    dropped
}

struct Sites<'a> {
    copy: &'a Copy,
    shape: Shape,
    /// Names of table functions.
    functions: HashSet<usize>,
}

impl Sites<'_> {
    fn name(&self, name: &ObjectName) -> Option<(usize, String)> {
        let ident = |part: &ObjectNamePart| part.as_ident().cloned();
        let start = self.copy.start(ident(name.0.first()?)?.span)?;
        let last = ident(name.0.last()?)?;
        let value = if last.quote_style.is_some() { last.value } else { last.value.to_ascii_lowercase() };
        Some((start, value))
    }

    fn sources(&mut self, keyword: usize, tables: &[TableWithJoins]) {
        let mut factors: Vec<&TableFactor> = Vec::new();
        let mut stack: Vec<&TableWithJoins> = tables.iter().collect();
        while let Some(table) = stack.pop() {
            factors.push(&table.relation);
            factors.extend(table.joins.iter().map(|join| &join.relation));
            while let Some(factor) = factors.pop() {
                match factor {
                    TableFactor::NestedJoin { table_with_joins, .. } => stack.push(table_with_joins),
                    TableFactor::Table { name, args: None, .. } => {
                        let start = self.name(name).map(|(start, _)| start);
                        self.shape.levels.extend(start.map(|start| (start, keyword)));
                    }
                    _ => {}
                }
            }
        }
    }

    fn select(&mut self, select: &Select) -> Option<()> {
        let keyword = self.copy.start(select.select_token.0.span)?;
        self.sources(keyword, &select.from);
        Some(())
    }

    fn insert(&mut self, insert: &Insert) -> Option<()> {
        let sqlparser::ast::TableObject::TableName(name) = &insert.table else { return None };
        let (start, _) = self.name(name)?;
        let mut leaves = Vec::new();
        if let Some(query) = &insert.source {
            self.leaves(query, &mut leaves)?;
        }
        self.shape.inserts.insert(start, leaves);
        Some(())
    }

    fn leaves(&self, query: &Query, leaves: &mut Vec<Leaf>) -> Option<()> {
        let mut stack = vec![&*query.body];
        while let Some(body) = stack.pop() {
            match body {
                SetExpr::Select(select) => leaves.push(Leaf::Select(self.copy.start(select.select_token.0.span)?)),
                SetExpr::Values(values) => {
                    let ends = values.rows.iter().map(|row| self.copy.start(row.closing_token.0.span));
                    leaves.push(Leaf::Values(ends.collect::<Option<_>>()?));
                }
                SetExpr::Query(query) => stack.push(&query.body),
                SetExpr::SetOperation { left, right, .. } => stack.extend([&**right, &**left]),
                SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => return None,
                SetExpr::Table(_) => return None,
            }
        }
        Some(())
    }

    fn update(&mut self, update: &Update) -> Option<()> {
        let keyword = self.copy.start(update.update_token.0.span)?;
        self.sources(keyword, std::slice::from_ref(&update.table));
        if let Some(UpdateTableFromKind::AfterSet(from)) = &update.from {
            self.sources(keyword, from);
        }
        Some(())
    }

    fn delete(&mut self, delete: &Delete) -> Option<()> {
        let keyword = self.copy.start(delete.delete_token.0.span)?;
        let FromTable::WithFromKeyword(from) = &delete.from else { return None };
        self.sources(keyword, from);
        self.sources(keyword, delete.using.as_deref().unwrap_or_default());
        Some(())
    }

    fn statement(&mut self, statement: &Statement) -> Option<()> {
        match statement {
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(merge) => {
                let keyword = self.copy.start(merge.merge_token.0.span)?;
                let table = TableWithJoins { relation: merge.table.clone(), joins: Vec::new() };
                self.sources(keyword, &[table]);
                Some(())
            }
            _ => Some(()),
        }
    }
}

fn flow(done: Option<()>) -> ControlFlow<()> {
    if done.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

impl Visitor for Sites<'_> {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        flow(self.statement(statement))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        flow(self.select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } => {
                let start = self.name(name).map(|(start, _)| start);
                self.functions.extend(start);
                flow(start.map(|_| ()))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        match self.name(relation) {
            Some((start, name)) => {
                if !self.functions.contains(&start) {
                    self.shape.named.push((start, name));
                }
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
}

/// Levels of nesting that sqlparser follows; its own default refuses honest statements.
const RECURSION_MAX: usize = 256;
