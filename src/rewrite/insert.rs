//! The tenant column in INSERT and in MERGE's INSERT: added where it is absent, compared where it is a literal, refused where
//! it is anything else. It is never overwritten: a value that the client named is the tenant's or an error.
//!
//! Where the table has row security a parameter or an expression is left to its WITH CHECK.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, CmdType, MergeMatchKind, Node, OnConflictAction, RangeVar, SelectStmt, a_const};

use super::InsertColumn;
use super::intent::{Found, Predicate, Reader, keeps_tenant, position, qualifier, text_of};
use super::refusal::CannotRewrite;
use crate::sql::tree::Tree;
use crate::tenant::{KeyType, TenantKey};

/// What one INSERT gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InsertIntent {
    pub target: usize,
    /// The table has an alias.
    pub aliased: bool,
    pub columns: Columns,
    pub values: Values,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Columns {
    /// The list stays.
    Keep,
    /// At the end of the list, whose first name begins at this byte.
    Append { first: usize, column: String },
    /// There is no list: this one.
    Write(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Values {
    /// At the end of each row and SELECT list.
    Append,
    /// In place of DEFAULT VALUES.
    Defaults,
    /// In place of the words DEFAULT at these bytes.
    Replace(Vec<usize>),
}

/// ON CONFLICT DO UPDATE: only the tenant's own row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConflictIntent {
    pub target: usize,
    pub predicate: Predicate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MergeIntent {
    pub target: usize,
    /// For ON; absent: the table's rows are not filtered.
    pub predicate: Option<Predicate>,
    /// Positions of the WHEN clauses whose INSERT gets the column.
    pub inserts: Vec<usize>,
    pub column: String,
}

impl<'a> Reader<'_, 'a> {
    pub(super) fn insert(&mut self, insert: &'a protobuf::InsertStmt, outer: usize) -> Result<(), CannotRewrite> {
        let scope = self.with(&insert.with_clause, outer)?;
        if let Some(relation) = &insert.relation {
            self.named(relation);
            if let Some(found) = self.inserted(relation)? {
                let intent = self.insert_intent(insert, relation, &found)?;
                self.intents.inserts.extend(intent);
            }
            if let Some(found) = self.in_scope(relation)?
                && let Some(conflict) = &insert.on_conflict_clause
                && conflict.action == OnConflictAction::OnconflictUpdate as i32
            {
                keeps_tenant(&conflict.target_list, &found)?;
                let predicate = Predicate { qualifier: qualifier(relation), column: found.column };
                self.intents.conflicts.push(ConflictIntent { target: position(relation), predicate });
            }
        }
        self.optional(&insert.select_stmt, scope)?;
        if let Some(conflict) = &insert.on_conflict_clause {
            self.expression(Tree::OnConflictClause(conflict), scope)?;
        }
        self.returning(&insert.returning_clause, scope)
    }

    fn insert_intent(
        &mut self,
        insert: &'a protobuf::InsertStmt,
        relation: &RangeVar,
        found: &Found,
    ) -> Result<Option<InsertIntent>, CannotRewrite> {
        let intent = |columns, values| {
            let (target, aliased) = (position(relation), relation.alias.is_some());
            Some(InsertIntent { target, aliased, columns, values })
        };
        let adds = self.request.insert == InsertColumn::Add;
        let Some(NodeEnum::SelectStmt(source)) = insert.select_stmt.as_ref().and_then(|node| node.node.as_ref()) else {
            let columns = Columns::Write(vec![found.column.clone()]);
            return Ok(if adds { intent(columns, Values::Defaults) } else { None });
        };
        let leaves = leaves(source);
        let given = match listed(&insert.cols, found)? {
            Listed::At(at) => Some(at),
            Listed::Absent { first } if adds => {
                let columns = Columns::Append { first, column: found.column.clone() };
                return Ok(intent(columns, Values::Append));
            }
            Listed::Absent { .. } => None,
            Listed::NoList => {
                let width = width(&leaves).ok_or_else(|| CannotRewrite::InsertColumns(relation.relname.clone()))?;
                if width <= found.at && adds {
                    let names = found.relation.columns.iter().take(width).map(|column| column.name.to_string());
                    let names = names.chain([found.column.clone()]).collect();
                    return Ok(intent(Columns::Write(names), Values::Append));
                }
                (width > found.at).then_some(found.at)
            }
        };
        let Some(given) = given else { return Ok(None) };
        let mut defaults = Vec::new();
        for leaf in &leaves {
            for row in rows(leaf) {
                self.given(row, given, found, &mut defaults)?;
            }
        }
        let replaced = adds && !defaults.is_empty();
        Ok(if replaced { intent(Columns::Keep, Values::Replace(defaults)) } else { None })
    }

    /// Judges the value that a row gives to the tenant column.
    fn given(
        &mut self,
        row: &[Node],
        at: usize,
        found: &Found,
        defaults: &mut Vec<usize>,
    ) -> Result<(), CannotRewrite> {
        let expression = || CannotRewrite::InsertValue(found.column.clone());
        if row.iter().take(at + 1).any(is_star) {
            return if found.relation.row_security { Ok(()) } else { Err(expression()) };
        }
        // A row that is too short is the server's to refuse.
        let Some(mut value) = row.get(at).and_then(|node| node.node.as_ref()) else { return Ok(()) };
        if let NodeEnum::ResTarget(target) = value {
            value = target.val.as_ref().and_then(|value| value.node.as_ref()).ok_or_else(expression)?;
        }
        if let NodeEnum::SetToDefault(default) = value {
            defaults.push(usize::try_from(default.location).map_err(|_| expression())?);
            return Ok(());
        }
        match literal(value, self.request.key_type) {
            Literal::Key(key) => self.intents.must_equal.push(key),
            Literal::Foreign => return Err(CannotRewrite::ForeignTenant(found.column.clone())),
            Literal::Not if found.relation.row_security => {}
            Literal::Not => return Err(expression()),
        }
        Ok(())
    }

    /// Reads MERGE's actions; `predicate` is there when the table's rows are filtered.
    pub(super) fn merge_intent(
        &mut self,
        merge: &'a protobuf::MergeStmt,
        relation: &RangeVar,
        found: &Found,
        predicate: Option<Predicate>,
    ) -> Result<Option<MergeIntent>, CannotRewrite> {
        let mut inserts = Vec::new();
        for (number, clause) in merge.merge_when_clauses.iter().enumerate() {
            let Some(NodeEnum::MergeWhenClause(clause)) = &clause.node else { continue };
            if clause.match_kind == MergeMatchKind::MergeWhenNotMatchedBySource as i32 && predicate.is_some() {
                return Err(CannotRewrite::MergeBySource);
            }
            match CmdType::try_from(clause.command_type) {
                Ok(CmdType::CmdUpdate) if predicate.is_some() => keeps_tenant(&clause.target_list, found)?,
                Ok(CmdType::CmdInsert) if self.merge_insert(clause, relation, found)? => inserts.push(number),
                Ok(_) | Err(_) => {}
            }
        }
        if predicate.is_none() && inserts.is_empty() {
            return Ok(None);
        }
        let column = found.column.clone();
        Ok(Some(MergeIntent { target: position(relation), predicate, inserts, column }))
    }

    /// Whether an INSERT action gets the tenant column.
    fn merge_insert(
        &mut self,
        clause: &'a protobuf::MergeWhenClause,
        relation: &RangeVar,
        found: &Found,
    ) -> Result<bool, CannotRewrite> {
        let at = match listed(&clause.target_list, found)? {
            Listed::At(at) => at,
            Listed::Absent { .. } => return Ok(self.request.insert == InsertColumn::Add),
            Listed::NoList if clause.values.len() > found.at => found.at,
            Listed::NoList if self.request.insert == InsertColumn::Leave => return Ok(false),
            Listed::NoList => return Err(CannotRewrite::InsertColumns(relation.relname.clone())),
        };
        let mut defaults = Vec::new();
        self.given(&clause.values, at, found, &mut defaults)?;
        if defaults.is_empty() || self.request.insert == InsertColumn::Leave {
            Ok(false)
        } else {
            Err(CannotRewrite::InsertValue(found.column.clone()))
        }
    }
}

/// Where a list of columns has the tenant column.
enum Listed {
    At(usize),
    /// The byte where the first name begins.
    Absent {
        first: usize,
    },
    NoList,
}

fn listed(columns: &[Node], found: &Found) -> Result<Listed, CannotRewrite> {
    let targets = columns.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::ResTarget(target)) => Some(&**target),
        _ => None,
    });
    let targets: Vec<_> = targets.collect();
    let Some(first) = targets.first() else { return Ok(Listed::NoList) };
    match targets.iter().position(|target| target.name == found.column) {
        Some(at) if targets[at].indirection.is_empty() => Ok(Listed::At(at)),
        Some(_) => Err(CannotRewrite::InsertValue(found.column.clone())),
        None => Ok(Listed::Absent { first: usize::try_from(first.location).unwrap_or(usize::MAX) }),
    }
}

/// The members of a UNION (or the query alone), from left to right.
pub(super) fn leaves(source: &SelectStmt) -> Vec<&SelectStmt> {
    let mut leaves = Vec::new();
    let mut stack = vec![source];
    while let Some(select) = stack.pop() {
        match (&select.larg, &select.rarg) {
            (Some(left), Some(right)) => stack.extend([&**right, &**left]),
            (Some(_), None) | (None, Some(_)) | (None, None) => leaves.push(select),
        }
    }
    leaves
}

/// The rows of VALUES, or a SELECT's list as one.
fn rows(leaf: &SelectStmt) -> Vec<&[Node]> {
    if leaf.values_lists.is_empty() {
        return vec![&leaf.target_list];
    }
    let lists = leaf.values_lists.iter().filter_map(|row| match &row.node {
        Some(NodeEnum::List(list)) => Some(&list.items[..]),
        _ => None,
    });
    lists.collect()
}

/// How many columns a source has, if the text tells.
fn width(leaves: &[&SelectStmt]) -> Option<usize> {
    let first = *rows(leaves.first()?).first()?;
    (!first.iter().any(is_star)).then_some(first.len())
}

/// `*` or `t.*` in a list.
fn is_star(item: &Node) -> bool {
    let value = match &item.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_ref().and_then(|value| value.node.as_ref()),
        other => other.as_ref(),
    };
    let last = match value {
        Some(NodeEnum::ColumnRef(column)) => column.fields.last(),
        Some(NodeEnum::AIndirection(indirection)) => indirection.indirection.last(),
        Some(_) | None => None,
    };
    last.is_some_and(|last| matches!(last.node, Some(NodeEnum::AStar(_))))
}

enum Literal {
    Key(TenantKey),
    /// No tenant has it.
    Foreign,
    /// Not a literal.
    Not,
}

fn literal(value: &NodeEnum, kind: KeyType) -> Literal {
    let constant = match value {
        NodeEnum::AConst(constant) => constant,
        NodeEnum::TypeCast(cast) if cast.type_name.as_ref().is_some_and(is_plain) => {
            match cast.arg.as_ref().and_then(|arg| arg.node.as_ref()) {
                Some(NodeEnum::AConst(constant)) => constant,
                _ => return Literal::Not,
            }
        }
        _ => return Literal::Not,
    };
    let text = match (&constant.val, kind) {
        (_, _) if constant.isnull => return Literal::Foreign,
        (Some(a_const::Val::Sval(text)), _) => text.sval.clone(),
        (Some(a_const::Val::Ival(number)), KeyType::Int | KeyType::Bigint) => number.ival.to_string(),
        (Some(a_const::Val::Fval(number)), KeyType::Int | KeyType::Bigint) => number.fval.clone(),
        (Some(_) | None, _) => return Literal::Not,
    };
    match TenantKey::parse(kind, &text) {
        Ok(key) => Literal::Key(key),
        Err(_) => Literal::Foreign,
    }
}

/// A type of tenant columns, without a length that would cut a value.
fn is_plain(name: &protobuf::TypeName) -> bool {
    let last = name.names.last().and_then(text_of).unwrap_or_default();
    name.typmods.is_empty()
        && name.array_bounds.is_empty()
        && matches!(last, "int4" | "int8" | "uuid" | "text" | "varchar")
}
