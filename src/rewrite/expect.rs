//! The tree that the new text must have: the original's, with exactly the intended changes, and without positions.

use std::collections::BTreeMap;

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, CopyStmt, InsertStmt, JoinExpr, MergeStmt, Node, RangeSubselect, SelectStmt};

use super::build;
use super::insert::{Columns, Values};
use super::intent::{Intents, Predicate, Source, position, text_of};
use crate::sql::tree_mut::TreeMut;
use crate::tenant::TenantKey;

/// Changes a statement's tree, and erases its positions.
pub(super) fn change(statement: &mut NodeEnum, intents: &Intents, key: &TenantKey) {
    let changes = Changes { intents, key };
    let mut stack = vec![TreeMut::from(statement)];
    while let Some(mut node) = stack.pop() {
        match &mut node {
            TreeMut::SelectStmt(select) => changes.query(&mut select.from_clause, None, &mut select.where_clause),
            TreeMut::UpdateStmt(update) => {
                let target = update.relation.as_ref().map(position);
                changes.query(&mut update.from_clause, target, &mut update.where_clause);
            }
            TreeMut::DeleteStmt(delete) => {
                let target = delete.relation.as_ref().map(position);
                changes.query(&mut delete.using_clause, target, &mut delete.where_clause);
            }
            TreeMut::MergeStmt(merge) => changes.merge(merge),
            TreeMut::InsertStmt(insert) => changes.insert(insert),
            TreeMut::CopyStmt(copy) => changes.copy(copy),
            _ => {}
        }
        node.unplaced_children(&mut stack);
    }
}

/// Erases positions, to compare.
pub(super) fn erase(statement: &mut NodeEnum) {
    let mut stack = vec![TreeMut::from(statement)];
    while let Some(node) = stack.pop() {
        node.unplaced_children(&mut stack);
    }
}

struct Changes<'a> {
    intents: &'a Intents,
    key: &'a TenantKey,
}

impl Changes<'_> {
    fn predicate(&self, predicate: &Predicate) -> NodeEnum {
        build::predicate(predicate, self.key)
    }

    fn sources(&self) -> &BTreeMap<usize, Source> {
        &self.intents.sources
    }

    fn query(&self, from: &mut [Node], target: Option<usize>, where_clause: &mut Option<Box<Node>>) {
        let mut predicates = Vec::new();
        if let Some(Source::Filtered(predicate)) = target.and_then(|target| self.sources().get(&target)) {
            predicates.push(self.predicate(predicate));
        }
        for item in from {
            self.source(item, &mut predicates);
        }
        *where_clause = build::and(where_clause.take(), predicates.into_iter());
    }

    fn source(&self, item: &mut Node, predicates: &mut Vec<NodeEnum>) {
        let relation = match &item.node {
            Some(NodeEnum::RangeVar(relation)) => Some(relation),
            Some(NodeEnum::RangeTableSample(sample)) => {
                match sample.relation.as_ref().and_then(|node| node.node.as_ref()) {
                    Some(NodeEnum::RangeVar(relation)) => Some(relation),
                    _ => None,
                }
            }
            _ => None,
        };
        match relation.and_then(|relation| self.sources().get(&position(relation))) {
            Some(Source::Filtered(predicate)) => predicates.push(self.predicate(predicate)),
            Some(Source::Wrapped { predicate, .. }) => {
                let predicate = self.predicate(predicate);
                *item = wrapped(item.clone(), predicate);
            }
            None => {}
        }
        if let Some(NodeEnum::JoinExpr(join)) = &mut item.node {
            let JoinExpr { larg, rarg, .. } = &mut **join;
            for side in [larg, rarg].into_iter().flatten() {
                self.source(side, predicates);
            }
        }
    }

    fn merge(&self, merge: &mut MergeStmt) {
        if let Some(source) = &mut merge.source_relation {
            // MERGE has no WHERE: every source is replaced.
            self.source(source, &mut Vec::new());
        }
        let target = merge.relation.as_ref().map(position);
        let Some(intent) = self.intents.merges.iter().find(|intent| Some(intent.target) == target) else { return };
        let predicate = intent.predicate.iter().map(|predicate| self.predicate(predicate));
        merge.join_condition = build::and(merge.join_condition.take(), predicate);
        for (number, clause) in merge.merge_when_clauses.iter_mut().enumerate() {
            if let Some(NodeEnum::MergeWhenClause(clause)) = &mut clause.node
                && intent.inserts.contains(&number)
            {
                clause.target_list.push(build::column(&intent.column));
                clause.values.push(build::node(build::key(self.key)));
            }
        }
    }

    fn insert(&self, insert: &mut InsertStmt) {
        let target = insert.relation.as_ref().map(position);
        if let Some(intent) = self.intents.conflicts.iter().find(|intent| Some(intent.target) == target)
            && let Some(conflict) = &mut insert.on_conflict_clause
        {
            let predicate = self.predicate(&intent.predicate);
            conflict.where_clause = build::or_error(conflict.where_clause.take(), predicate);
        }
        let Some(intent) = self.intents.inserts.iter().find(|intent| Some(intent.target) == target) else { return };
        match &intent.columns {
            Columns::Keep => {}
            Columns::Append { column, .. } => insert.cols.push(build::column(column)),
            Columns::Write(columns) => insert.cols = columns.iter().map(|name| build::column(name)).collect(),
        }
        let source = insert.select_stmt.as_mut().and_then(|node| node.node.as_mut());
        match (&intent.values, source) {
            (Values::Defaults, _) => insert.select_stmt = build::boxed(build::values(self.key)),
            (Values::Append, Some(NodeEnum::SelectStmt(select))) => self.append(select),
            (Values::Replace(places), Some(NodeEnum::SelectStmt(select))) => self.replace(select, places),
            (Values::Append | Values::Replace(_), Some(_) | None) => {}
        }
    }

    fn append(&self, select: &mut SelectStmt) {
        let mut stack = vec![select];
        while let Some(select) = stack.pop() {
            if let (Some(left), Some(right)) = (&mut select.larg, &mut select.rarg) {
                stack.extend([&mut **left, &mut **right]);
            } else if select.values_lists.is_empty() {
                select.target_list.push(build::item(build::key(self.key)));
            } else {
                for row in &mut select.values_lists {
                    if let Some(NodeEnum::List(list)) = &mut row.node {
                        list.items.push(build::node(build::key(self.key)));
                    }
                }
            }
        }
    }

    fn replace(&self, select: &mut SelectStmt, places: &[usize]) {
        let mut stack = vec![select];
        while let Some(select) = stack.pop() {
            let members = [&mut select.larg, &mut select.rarg];
            stack.extend(members.into_iter().flatten().map(|member| &mut **member));
            for row in &mut select.values_lists {
                let Some(NodeEnum::List(list)) = &mut row.node else { continue };
                for value in &mut list.items {
                    if let Some(NodeEnum::SetToDefault(default)) = &value.node
                        && usize::try_from(default.location).is_ok_and(|at| places.contains(&at))
                    {
                        *value = build::node(build::key(self.key));
                    }
                }
            }
        }
    }

    fn copy(&self, copy: &mut CopyStmt) {
        let Some(intent) = &self.intents.copy else { return };
        let Some(relation) = copy.relation.take() else { return };
        let listed: Vec<String> = copy.attlist.iter().filter_map(text_of).map(str::to_owned).collect();
        let columns = if intent.listed { Some(&listed[..]) } else { intent.columns.as_deref() };
        copy.attlist.clear();
        let mut source = build::bare(&relation);
        source.inh = false;
        let source = build::node(NodeEnum::RangeVar(source));
        let query = build::filtered(source, columns, self.predicate(&intent.predicate));
        copy.query = build::boxed(NodeEnum::SelectStmt(Box::new(query)));
    }
}

/// The sub-select that takes a table's place, under the table's alias or name.
fn wrapped(mut item: Node, predicate: NodeEnum) -> Node {
    let relation = match &mut item.node {
        Some(NodeEnum::RangeVar(relation)) => Some(relation),
        Some(NodeEnum::RangeTableSample(sample)) => {
            match sample.relation.as_mut().and_then(|node| node.node.as_mut()) {
                Some(NodeEnum::RangeVar(relation)) => Some(relation),
                _ => None,
            }
        }
        _ => None,
    };
    let alias = relation.map(|relation| {
        // The walk comes to it again, inside; it is done.
        relation.location = -1;
        let own = Alias { aliasname: relation.relname.clone(), colnames: Vec::new() };
        relation.alias.take().unwrap_or(own)
    });
    let query = NodeEnum::SelectStmt(Box::new(build::filtered(item, None, predicate)));
    build::node(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
        lateral: false,
        subquery: build::boxed(query),
        alias,
    })))
}
