//! What is to be changed in a text, read from PostgreSQL's own tree: which table gets which predicate, which INSERT which
//! column. Where it goes in the text is `place`'s matter, what the tree must then be is `expect`'s.
//!
//! A table's rows may be filtered in WHERE when no join above it can fill its columns with nulls: then filtering before or
//! after the joins is the same, and names, system columns, row locks and dependencies on a primary key stay as they are.
//! Below an outer join, below a join with an alias of its own (which hides the table's) and in MERGE's USING, a sub-select
//! takes the table's place.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{self, Alias, JoinType, Node, RangeVar, SetOperation};

use super::insert::{ConflictIntent, InsertIntent, MergeIntent};
use super::refusal::CannotRewrite;
use super::{InsertColumn, Request};
use crate::config::Rewrite;
use crate::sql::functions;
use crate::sql::tree::Tree;
use crate::tenant::{Relation, RelationKind, TenantKey};

/// `qualifier.column = the tenant`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Predicate {
    pub qualifier: Vec<String>,
    pub column: String,
}

/// What happens to one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Filtered by the WHERE of its SELECT, UPDATE or DELETE; so is a target.
    Filtered(Predicate),
    /// Replaced by a sub-select.
    Wrapped { predicate: Predicate, name: String, aliased: bool, sampled: bool },
}

/// `COPY t TO`: becomes `COPY (SELECT … FROM ONLY t WHERE …) TO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyIntent {
    pub target: usize,
    pub predicate: Predicate,
    /// The columns to write out; absent: those that the statement lists, or `*`.
    pub columns: Option<Vec<String>>,
    pub listed: bool,
}

/// Everything that is to be changed in one statement. Tables are known by the byte where their name begins.
#[derive(Debug, Default)]
pub(super) struct Intents {
    pub sources: BTreeMap<usize, Source>,
    /// The predicates of each WHERE, in order; the first table that has one tells which WHERE.
    pub levels: Vec<Vec<(usize, Predicate)>>,
    pub inserts: Vec<InsertIntent>,
    pub conflicts: Vec<ConflictIntent>,
    pub merges: Vec<MergeIntent>,
    pub copy: Option<CopyIntent>,
    /// Values of the tenant column that the statement names.
    pub must_equal: Vec<TenantKey>,
    /// Every name of a relation, in any role.
    pub named: Vec<(usize, String)>,
}

impl Intents {
    /// Nothing is to be changed in the text.
    pub fn is_identity(&self) -> bool {
        let Self { sources, levels, inserts, conflicts, merges, copy, must_equal: _, named: _ } = self;
        sources.is_empty()
            && levels.is_empty()
            && inserts.is_empty()
            && conflicts.is_empty()
            && merges.is_empty()
            && copy.is_none()
    }
}

/// Reads one statement.
pub(super) fn read(request: &Request<'_>, statement: &NodeEnum) -> Result<Intents, CannotRewrite> {
    let mut reader = Reader {
        request,
        intents: Intents::default(),
        scopes: vec![Scope { outer: None, names: Arc::default(), visible: 0 }],
        asks: Asks::default(),
    };
    reader.statement(statement, 0)?;
    reader.intents.named.sort();
    if reader.intents.named != relations(statement) {
        let first = relations(statement).into_iter().next().map(|(_, name)| name);
        return Err(CannotRewrite::Statement(first.unwrap_or_default()));
    }
    reader.asks.check(&reader.intents)?;
    Ok(reader.intents)
}

/// Every relation that a statement reads or changes, by its position. (Not what INTO makes, and not the aliases in FOR UPDATE OF.)
fn relations(statement: &NodeEnum) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut stack = vec![Tree::from(statement)];
    while let Some(node) = stack.pop() {
        match node {
            Tree::RangeVar(relation) => found.push((position(relation), relation.relname.clone())),
            Tree::IntoClause(_) | Tree::LockingClause(_) => {}
            other => other.children(&mut stack),
        }
    }
    found.sort();
    found
}

pub(super) fn position(relation: &RangeVar) -> usize {
    usize::try_from(relation.location).unwrap_or(usize::MAX)
}

/// The CTEs of one WITH clause that are visible at some place, and where to look further.
struct Scope<'a> {
    outer: Option<usize>,
    names: Arc<HashMap<&'a str, usize>>,
    visible: usize,
}

/// What a statement asks for that only a table has, and no sub-select.
#[derive(Default)]
struct Asks {
    system_column: bool,
    /// Tables named with their schema before a column.
    qualified: Vec<String>,
    /// Names that may stand for a whole row: alone, before a star, or before a function's name.
    rows: Vec<String>,
    /// Tables that are replaced and whose alias renames columns. A table's row keeps the table's own names (`to_json` shows
    /// them), a sub-select's has the new ones.
    renamed: Vec<String>,
}

impl Asks {
    fn column(&mut self, column: &protobuf::ColumnRef) {
        let names: Vec<&str> = column.fields.iter().filter_map(text_of).collect();
        self.system_column |= names.last().is_some_and(|name| SYSTEM_COLUMNS.contains(name));
        match names[..] {
            [name] => self.rows.push(name.to_owned()),
            // `x.f` calls `f(x)` where `x` has no such column.
            [name, field] if functions::find(&[field]).is_some_and(|function| function.unary) => {
                self.rows.push(name.to_owned());
            }
            _ => {}
        }
        if column.fields.len() > 2 {
            let table = column.fields.len() - 2;
            self.qualified.extend(names.get(table).map(|name| name.to_string()));
        }
    }

    fn check(&self, intents: &Intents) -> Result<(), CannotRewrite> {
        if self.renamed.iter().any(|name| self.rows.contains(name)) {
            return Err(CannotRewrite::OuterJoin("the whole row, with columns renamed,"));
        }
        for source in intents.sources.values() {
            let Source::Wrapped { name, .. } = source else { continue };
            if self.system_column {
                return Err(CannotRewrite::OuterJoin("a system column"));
            }
            if self.qualified.contains(name) {
                return Err(CannotRewrite::OuterJoin("a column named with its schema"));
            }
        }
        Ok(())
    }
}

/// How the joins above a source treat it.
#[derive(Clone, Copy)]
struct Place {
    scope: usize,
    filter: Filter,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Filter {
    /// In WHERE.
    Where,
    /// In a sub-select.
    Wrap,
}

impl Place {
    fn wrapped(self, wrapped: bool) -> Self {
        if wrapped { Self { filter: Filter::Wrap, ..self } } else { self }
    }
}

pub(super) struct Reader<'r, 'a> {
    pub request: &'r Request<'r>,
    pub intents: Intents,
    scopes: Vec<Scope<'a>>,
    asks: Asks,
}

/// A table with a tenant column.
pub(super) struct Found {
    pub relation: Arc<Relation>,
    pub column: String,
    /// Position of the tenant column.
    pub at: usize,
}

impl<'r, 'a> Reader<'r, 'a> {
    fn statement(&mut self, statement: &'a NodeEnum, scope: usize) -> Result<(), CannotRewrite> {
        match statement {
            NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_) => self.expression(Tree::from(statement), scope),
            NodeEnum::ExplainStmt(explain) => self.inner(&explain.query, scope),
            NodeEnum::PrepareStmt(prepare) => self.inner(&prepare.query, scope),
            NodeEnum::DeclareCursorStmt(declare) => self.inner(&declare.query, scope),
            NodeEnum::CreateTableAsStmt(create) => self.inner(&create.query, scope),
            NodeEnum::CopyStmt(copy) => self.copy(copy, scope),
            // They show no row and change none.
            NodeEnum::LockStmt(_) | NodeEnum::VacuumStmt(_) => {
                self.intents.named = relations(statement);
                Ok(())
            }
            _ => self.other(statement),
        }
    }

    fn inner(&mut self, query: &'a Option<Box<Node>>, scope: usize) -> Result<(), CannotRewrite> {
        match query.as_ref().and_then(|query| query.node.as_ref()) {
            Some(statement) => self.statement(statement, scope),
            None => Ok(()),
        }
    }

    /// A statement of another kind must name no table that needs a predicate.
    fn other(&mut self, statement: &NodeEnum) -> Result<(), CannotRewrite> {
        let mut stack = vec![Tree::from(statement)];
        while let Some(node) = stack.pop() {
            if let Tree::RangeVar(relation) = node
                && self.in_scope(relation).is_ok_and(|found| found.is_some())
            {
                return Err(CannotRewrite::Statement(relation.relname.clone()));
            }
            node.children(&mut stack);
        }
        self.intents.named = relations(statement);
        Ok(())
    }

    fn copy(&mut self, copy: &'a protobuf::CopyStmt, scope: usize) -> Result<(), CannotRewrite> {
        if let Some(query) = copy.query.as_ref().and_then(|query| query.node.as_ref()) {
            return self.statement(query, scope);
        }
        let Some(relation) = &copy.relation else { return Ok(()) };
        self.named(relation);
        let Some(found) = self.in_scope(relation)? else { return Ok(()) };
        if copy.is_from {
            return Err(CannotRewrite::CopyFrom(relation.relname.clone()));
        }
        let plain = matches!(found.relation.kind, RelationKind::Table | RelationKind::Partition);
        if !plain || !relation.catalogname.is_empty() {
            return Err(CannotRewrite::Statement(relation.relname.clone()));
        }
        let listed = !copy.attlist.is_empty();
        let generated = found.relation.columns.iter().any(|column| column.generated);
        let given = found.relation.columns.iter().filter(|column| !column.generated);
        let columns = (!listed && generated).then(|| given.map(|column| column.name.to_string()).collect());
        let predicate = Predicate { qualifier: vec![relation.relname.clone()], column: found.column };
        self.intents.copy = Some(CopyIntent { target: position(relation), predicate, columns, listed });
        Ok(())
    }

    pub fn named(&mut self, relation: &RangeVar) {
        self.intents.named.push((position(relation), relation.relname.clone()));
    }

    /// Everything below a node, queries included.
    pub(super) fn expression(&mut self, node: Tree<'a>, scope: usize) -> Result<(), CannotRewrite> {
        let mut stack = vec![node];
        while let Some(node) = stack.pop() {
            match node {
                Tree::SelectStmt(select) => self.select(select, scope)?,
                Tree::InsertStmt(insert) => self.insert(insert, scope)?,
                Tree::UpdateStmt(update) => self.update(update, scope)?,
                Tree::DeleteStmt(delete) => self.delete(delete, scope)?,
                Tree::MergeStmt(merge) => self.merge(merge, scope)?,
                // No clause of a query has a bare relation anywhere else; `read` finds the one that is not named.
                Tree::RangeVar(_) | Tree::LockingClause(_) | Tree::IntoClause(_) => {}
                Tree::ColumnRef(column) => self.asks.column(column),
                other => other.children(&mut stack),
            }
        }
        Ok(())
    }

    pub(super) fn expressions(&mut self, nodes: &'a [Node], scope: usize) -> Result<(), CannotRewrite> {
        let nodes = nodes.iter().filter_map(|node| node.node.as_ref());
        nodes.into_iter().try_for_each(|node| self.expression(Tree::from(node), scope))
    }

    pub(super) fn optional(&mut self, node: &'a Option<Box<Node>>, scope: usize) -> Result<(), CannotRewrite> {
        match node.as_ref().and_then(|node| node.node.as_ref()) {
            Some(node) => self.expression(Tree::from(node), scope),
            None => Ok(()),
        }
    }

    /// The queries of a WITH clause; returns the scope behind it.
    pub(super) fn with(
        &mut self,
        with: &'a Option<protobuf::WithClause>,
        outer: usize,
    ) -> Result<usize, CannotRewrite> {
        let Some(with) = with else { return Ok(outer) };
        let ctes = with.ctes.iter().filter_map(|cte| match &cte.node {
            Some(NodeEnum::CommonTableExpr(cte)) => Some(&**cte),
            _ => None,
        });
        let ctes: Vec<_> = ctes.collect();
        let mut names = HashMap::with_capacity(ctes.len());
        for (position, cte) in ctes.iter().enumerate() {
            names.entry(&*cte.ctename).or_insert(position);
        }
        let names = Arc::new(names);
        for (position, cte) in ctes.iter().enumerate() {
            let visible = if with.recursive { ctes.len() } else { position };
            self.scopes.push(Scope { outer: Some(outer), names: Arc::clone(&names), visible });
            self.expression(Tree::CommonTableExpr(cte), self.scopes.len() - 1)?;
        }
        self.scopes.push(Scope { outer: Some(outer), names, visible: ctes.len() });
        Ok(self.scopes.len() - 1)
    }

    fn is_cte(&self, relation: &RangeVar, scope: usize) -> bool {
        if !relation.schemaname.is_empty() || !relation.catalogname.is_empty() {
            return false;
        }
        let mut scope = Some(scope);
        while let Some(at) = scope {
            let here = &self.scopes[at];
            if here.names.get(&*relation.relname).is_some_and(|position| *position < here.visible) {
                return true;
            }
            scope = here.outer;
        }
        false
    }

    fn select(&mut self, select: &'a protobuf::SelectStmt, outer: usize) -> Result<(), CannotRewrite> {
        let scope = self.with(&select.with_clause, outer)?;
        for member in [&select.larg, &select.rarg].into_iter().flatten() {
            self.select(member, scope)?;
        }
        let wrapped = self.from(&select.from_clause, Vec::new(), scope)?;
        if wrapped && select.op == SetOperation::SetopNone as i32 {
            super::group::check(select)?;
        }
        self.expressions(&select.distinct_clause, scope)?;
        self.expressions(&select.target_list, scope)?;
        self.optional(&select.where_clause, scope)?;
        self.expressions(&select.group_clause, scope)?;
        self.optional(&select.having_clause, scope)?;
        self.expressions(&select.window_clause, scope)?;
        self.expressions(&select.values_lists, scope)?;
        self.expressions(&select.sort_clause, scope)?;
        self.optional(&select.limit_offset, scope)?;
        self.optional(&select.limit_count, scope)
    }

    /// A FROM list and the WHERE that goes with it; whether some table there is replaced.
    fn from(
        &mut self,
        from: &'a [Node],
        mut filtered: Vec<(usize, Predicate)>,
        scope: usize,
    ) -> Result<bool, CannotRewrite> {
        let before = self.intents.sources.len();
        for item in from {
            self.source(item, Place { scope, filter: Filter::Where }, &mut filtered)?;
        }
        // Nested queries were walked in between: only this list's own tables count, and they are few.
        let wrapped = self.intents.sources.len() - before > 0
            && from.iter().any(|item| holds_wrapped(item, &self.intents.sources));
        if !filtered.is_empty() {
            self.intents.levels.push(filtered);
        }
        Ok(wrapped)
    }

    fn source(
        &mut self,
        item: &'a Node,
        place: Place,
        filtered: &mut Vec<(usize, Predicate)>,
    ) -> Result<(), CannotRewrite> {
        match &item.node {
            Some(NodeEnum::RangeVar(relation)) => self.table(relation, None, place, filtered),
            Some(NodeEnum::RangeTableSample(sample)) => {
                let Some(NodeEnum::RangeVar(relation)) = sample.relation.as_ref().and_then(|node| node.node.as_ref())
                else {
                    return Err(CannotRewrite::Sample);
                };
                self.expressions(&sample.args, place.scope)?;
                self.optional(&sample.repeatable, place.scope)?;
                self.table(relation, Some(sample), place, filtered)
            }
            Some(NodeEnum::JoinExpr(join)) => {
                let (left, right) = nullable(join);
                let hidden = join.alias.is_some();
                let sides = [(&join.larg, left), (&join.rarg, right)];
                for (side, nullable) in sides {
                    if let Some(side) = side {
                        self.source(side, place.wrapped(nullable || hidden), filtered)?;
                    }
                }
                self.optional(&join.quals, place.scope)
            }
            Some(other) => self.expression(Tree::from(other), place.scope),
            None => Ok(()),
        }
    }

    fn table(
        &mut self,
        relation: &'a RangeVar,
        sample: Option<&'a protobuf::RangeTableSample>,
        place: Place,
        filtered: &mut Vec<(usize, Predicate)>,
    ) -> Result<(), CannotRewrite> {
        self.named(relation);
        if self.is_cte(relation, place.scope) {
            return Ok(());
        }
        let Some(found) = self.in_scope(relation)? else { return Ok(()) };
        let visible = visible_column(&found, relation.alias.as_ref());
        let source = match (place.filter, visible) {
            (Filter::Where, Some(column)) => {
                let predicate = Predicate { qualifier: qualifier(relation), column };
                filtered.push((position(relation), predicate.clone()));
                Source::Filtered(predicate)
            }
            (Filter::Where | Filter::Wrap, _) => {
                if sample.is_some_and(looks_around) {
                    return Err(CannotRewrite::Sample);
                }
                let predicate = Predicate { qualifier: vec![relation.relname.clone()], column: found.column };
                let (name, aliased) = (relation.relname.clone(), relation.alias.is_some());
                let renaming = relation.alias.iter().filter(|alias| !alias.colnames.is_empty());
                self.asks.renamed.extend(renaming.map(|alias| alias.aliasname.clone()));
                Source::Wrapped { predicate, name, aliased, sampled: sample.is_some() }
            }
        };
        self.intents.sources.insert(position(relation), source);
        Ok(())
    }

    /// The target of UPDATE, DELETE or MERGE: its predicate.
    fn target(&mut self, relation: &Option<RangeVar>) -> Result<Option<(Found, Predicate)>, CannotRewrite> {
        let Some(relation) = relation else { return Ok(None) };
        self.named(relation);
        let Some(found) = self.in_scope(relation)? else { return Ok(None) };
        let predicate = Predicate { qualifier: qualifier(relation), column: found.column.clone() };
        self.intents.sources.insert(position(relation), Source::Filtered(predicate.clone()));
        Ok(Some((found, predicate)))
    }

    fn update(&mut self, update: &'a protobuf::UpdateStmt, outer: usize) -> Result<(), CannotRewrite> {
        let scope = self.with(&update.with_clause, outer)?;
        let mut filtered = Vec::new();
        if let (Some(relation), Some((found, predicate))) = (&update.relation, self.target(&update.relation)?) {
            keeps_tenant(&update.target_list, &found)?;
            no_current_of(&update.where_clause)?;
            filtered.push((position(relation), predicate));
        }
        self.from(&update.from_clause, filtered, scope)?;
        self.expressions(&update.target_list, scope)?;
        self.optional(&update.where_clause, scope)?;
        self.returning(&update.returning_clause, scope)
    }

    fn delete(&mut self, delete: &'a protobuf::DeleteStmt, outer: usize) -> Result<(), CannotRewrite> {
        let scope = self.with(&delete.with_clause, outer)?;
        let mut filtered = Vec::new();
        if let (Some(relation), Some((_, predicate))) = (&delete.relation, self.target(&delete.relation)?) {
            no_current_of(&delete.where_clause)?;
            filtered.push((position(relation), predicate));
        }
        self.from(&delete.using_clause, filtered, scope)?;
        self.optional(&delete.where_clause, scope)?;
        self.returning(&delete.returning_clause, scope)
    }

    fn merge(&mut self, merge: &'a protobuf::MergeStmt, outer: usize) -> Result<(), CannotRewrite> {
        let scope = self.with(&merge.with_clause, outer)?;
        if let Some(relation) = &merge.relation {
            let intent = match self.target(&merge.relation)? {
                Some((found, predicate)) => self.merge_intent(merge, relation, &found, Some(predicate))?,
                None => match self.inserted(relation)? {
                    Some(found) => self.merge_intent(merge, relation, &found, None)?,
                    None => None,
                },
            };
            self.intents.merges.extend(intent);
        }
        if let Some(source) = &merge.source_relation {
            let mut filtered = Vec::new();
            self.source(source, Place { scope, filter: Filter::Wrap }, &mut filtered)?;
        }
        self.optional(&merge.join_condition, scope)?;
        self.expressions(&merge.merge_when_clauses, scope)?;
        self.returning(&merge.returning_clause, scope)
    }

    pub(super) fn returning(
        &mut self,
        returning: &'a Option<protobuf::ReturningClause>,
        scope: usize,
    ) -> Result<(), CannotRewrite> {
        match returning {
            Some(returning) => self.expression(Tree::ReturningClause(returning), scope),
            None => Ok(()),
        }
    }

    /// The relation, if its rows are to be filtered.
    pub(super) fn in_scope(&self, relation: &RangeVar) -> Result<Option<Found>, CannotRewrite> {
        let found = self.find(relation)?;
        Ok(found.filter(|found| match self.request.scope {
            Rewrite::Off => false,
            Rewrite::All => true,
            Rewrite::Tables(names) => names.iter().any(|name| self.is_named(found, name)),
        }))
    }

    /// The relation, if INSERT gets its tenant column, or a predicate would.
    pub(super) fn inserted(&self, relation: &RangeVar) -> Result<Option<Found>, CannotRewrite> {
        match self.request.insert {
            InsertColumn::Add => self.find(relation),
            InsertColumn::Leave => self.in_scope(relation),
        }
    }

    fn is_named(&self, found: &Found, name: &str) -> bool {
        let relation = &found.relation;
        match name.split_once('.') {
            Some((schema, name)) => *relation.schema == *schema && *relation.name == *name,
            None => self.request.catalog.find(None, name).is_some_and(|named| Arc::ptr_eq(named, relation)),
        }
    }

    /// The relation, if it has a tenant column.
    fn find(&self, relation: &RangeVar) -> Result<Option<Found>, CannotRewrite> {
        let schema = (!relation.schemaname.is_empty()).then_some(&*relation.schemaname);
        if relation.catalogname.is_empty()
            && let Some(known) = self.request.catalog.find(schema, &relation.relname)
        {
            let tenant = known.tenant_column.zip(known.tenant_column());
            let found = |(at, column): (usize, &Arc<str>)| Found {
                relation: Arc::clone(known),
                column: column.to_string(),
                at,
            };
            return Ok(tenant.map(found));
        }
        let system = match schema {
            Some(schema) => matches!(schema, "pg_catalog" | "information_schema"),
            None => relation.relname.starts_with("pg_"),
        };
        match self.request.scope {
            Rewrite::All if !system => Err(CannotRewrite::UnknownRelation(relation.relname.clone())),
            Rewrite::All | Rewrite::Tables(_) | Rewrite::Off => Ok(None),
        }
    }
}

/// Whether a FROM item holds, outside sub-selects, a table that is replaced.
fn holds_wrapped(item: &Node, sources: &BTreeMap<usize, Source>) -> bool {
    let mut stack = vec![item];
    while let Some(item) = stack.pop() {
        match &item.node {
            Some(NodeEnum::RangeVar(relation)) => {
                if matches!(sources.get(&position(relation)), Some(Source::Wrapped { .. })) {
                    return true;
                }
            }
            Some(NodeEnum::RangeTableSample(sample)) => stack.extend(sample.relation.as_deref()),
            Some(NodeEnum::JoinExpr(join)) => {
                stack.extend([&join.larg, &join.rarg].into_iter().flatten().map(|b| &**b))
            }
            Some(_) | None => {}
        }
    }
    false
}

/// Which sides of a join can be filled with nulls. What is no join that a text can ask for may fill both.
fn nullable(join: &protobuf::JoinExpr) -> (bool, bool) {
    match JoinType::try_from(join.jointype) {
        Ok(JoinType::JoinInner) => (false, false),
        Ok(JoinType::JoinLeft) => (false, true),
        Ok(JoinType::JoinRight) => (true, false),
        Ok(_) | Err(_) => (true, true),
    }
}

/// How WHERE names a table.
pub(super) fn qualifier(relation: &RangeVar) -> Vec<String> {
    match &relation.alias {
        Some(alias) => vec![alias.aliasname.clone()],
        None => {
            let parts = [&relation.catalogname, &relation.schemaname, &relation.relname];
            parts.into_iter().filter(|part| !part.is_empty()).cloned().collect()
        }
    }
}

/// The tenant column's name behind an alias with a list of columns; absent: it has none of its own.
fn visible_column(found: &Found, alias: Option<&Alias>) -> Option<String> {
    let listed: Vec<&str> = alias.iter().flat_map(|alias| alias.colnames.iter().filter_map(text_of)).collect();
    let names = found.relation.columns.iter().enumerate();
    let names: Vec<&str> = names.map(|(at, column)| listed.get(at).copied().unwrap_or(&column.name)).collect();
    let own = *names.get(found.at)?;
    let single = names.iter().filter(|name| **name == own).count() == 1;
    single.then(|| own.to_string())
}

/// Whether a sample's arguments name columns or run queries.
fn looks_around(sample: &protobuf::RangeTableSample) -> bool {
    let arguments = sample.args.iter().chain(sample.repeatable.as_deref());
    let mut stack: Vec<Tree<'_>> = arguments.filter_map(|node| node.node.as_ref()).map(Tree::from).collect();
    while let Some(node) = stack.pop() {
        if matches!(node, Tree::ColumnRef(_) | Tree::SubLink(_)) {
            return true;
        }
        node.children(&mut stack);
    }
    false
}

fn no_current_of(where_clause: &Option<Box<Node>>) -> Result<(), CannotRewrite> {
    match where_clause.as_ref().and_then(|node| node.node.as_ref()) {
        Some(NodeEnum::CurrentOfExpr(_)) => Err(CannotRewrite::CurrentOf),
        Some(_) | None => Ok(()),
    }
}

/// SET does not name the tenant column.
pub(super) fn keeps_tenant(assignments: &[Node], found: &Found) -> Result<(), CannotRewrite> {
    let changes = assignments.iter().any(|node| match &node.node {
        Some(NodeEnum::ResTarget(target)) => target.name == found.column,
        Some(_) | None => false,
    });
    if changes { Err(CannotRewrite::TenantColumn(found.column.clone())) } else { Ok(()) }
}

pub(super) fn text_of(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(text)) => Some(&text.sval),
        _ => None,
    }
}

const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
