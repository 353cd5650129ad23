//! GROUP BY over a table that a sub-select replaces: the sub-select has no primary key, so no column may depend on one.
//!
//! Without a catalog of keys this is told by names: every column used outside an aggregate must be named in GROUP BY.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, Node, a_const};

use super::intent::text_of;
use super::refusal::CannotRewrite;
use crate::sql::tree::Tree;

/// Refuses a grouped query in which some column may depend on a primary key.
pub(super) fn check(select: &protobuf::SelectStmt) -> Result<(), CannotRewrite> {
    if select.group_clause.is_empty() {
        return Ok(());
    }
    let mut grouped = Vec::new();
    for item in &select.group_clause {
        columns(item, &mut |name| grouped.extend(name));
        if let Some(output) = grouped_output(item, select) {
            columns(output, &mut |name| grouped.extend(name));
        }
    }
    let mut depends = false;
    let having = select.having_clause.iter().map(|node| &**node);
    let sorted = select.sort_clause.iter().filter(|item| !is_output(item, select));
    for item in select.target_list.iter().chain(having).chain(sorted) {
        columns(item, &mut |name| {
            depends |= name.is_none_or(|name| !grouped.iter().any(|grouped| same(grouped, &name)));
        });
    }
    if depends { Err(CannotRewrite::OuterJoin("GROUP BY a primary key")) } else { Ok(()) }
}

/// A column's name: its parts.
type Name<'a> = Vec<&'a str>;

/// Two names of one column, as far as both say.
fn same(one: &Name<'_>, other: &Name<'_>) -> bool {
    one.iter().rev().zip(other.iter().rev()).all(|(one, other)| one == other)
}

/// ORDER BY a label or a position of the output.
fn is_output(item: &Node, select: &protobuf::SelectStmt) -> bool {
    match &item.node {
        Some(NodeEnum::SortBy(sort)) => sort.node.as_ref().is_some_and(|node| grouped_output(node, select).is_some()),
        Some(_) | None => false,
    }
}

/// The column of the output that `GROUP BY 1` or `GROUP BY label` stands for.
fn grouped_output<'a>(item: &Node, select: &'a protobuf::SelectStmt) -> Option<&'a Node> {
    match &item.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Ival(number)) => {
                usize::try_from(number.ival).ok().and_then(|number| select.target_list.get(number.wrapping_sub(1)))
            }
            _ => None,
        },
        Some(NodeEnum::ColumnRef(column)) => match &column.fields[..] {
            [name] => {
                select.target_list.iter().find(|target| label(target).is_some() && label(target) == text_of(name))
            }
            _ => None,
        },
        _ => None,
    }
}

fn label(target: &Node) -> Option<&str> {
    match &target.node {
        Some(NodeEnum::ResTarget(target)) if !target.name.is_empty() => Some(&target.name),
        _ => None,
    }
}

/// The name of each column outside aggregates; none for `*`.
fn columns<'a>(item: &'a Node, each: &mut impl FnMut(Option<Name<'a>>)) {
    let mut stack: Vec<Tree<'a>> = item.node.iter().map(Tree::from).collect();
    while let Some(node) = stack.pop() {
        match node {
            Tree::ColumnRef(column) => each(column.fields.iter().map(text_of).collect()),
            Tree::FuncCall(call) if call.over.is_none() && is_aggregate(call) => {}
            other => other.children(&mut stack),
        }
    }
}

fn is_aggregate(call: &protobuf::FuncCall) -> bool {
    call.agg_star || call.funcname.last().and_then(text_of).is_some_and(|name| AGGREGATES.contains(&name))
}

const AGGREGATES: [&str; 16] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "array_agg",
    "string_agg",
    "json_agg",
    "jsonb_agg",
    "json_object_agg",
    "jsonb_object_agg",
    "bool_and",
    "bool_or",
    "every",
    "stddev",
    "variance",
];
