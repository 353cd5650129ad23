//! Nodes of PostgreSQL's parse tree, as its grammar makes them from what `place` writes.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, AExpr, AExprKind, AStar, BoolExpr, BoolExprType, Boolean, CaseExpr, CaseWhen, CoercionForm, ColumnRef,
    FuncCall, LimitOption, List, Node, RangeVar, ResTarget, SelectStmt, SetOperation, String as Text, TypeCast,
    TypeName, a_const,
};

use super::FOREIGN_CONFLICT;
use super::intent::Predicate;
use crate::tenant::TenantKey;

pub(super) fn node(node: NodeEnum) -> Node {
    Node { node: Some(node) }
}

pub(super) fn boxed(inner: NodeEnum) -> Option<Box<Node>> {
    Some(Box::new(node(inner)))
}

pub(super) fn text(text: &str) -> Node {
    node(NodeEnum::String(Text { sval: text.to_owned() }))
}

fn constant(val: a_const::Val) -> NodeEnum {
    NodeEnum::AConst(AConst { isnull: false, location: 0, val: Some(val) })
}

fn literal(value: &str) -> NodeEnum {
    constant(a_const::Val::Sval(Text { sval: value.to_owned() }))
}

fn cast(arg: NodeEnum, name: &str) -> NodeEnum {
    let names = name.split('.').map(text).collect();
    let type_name = TypeName { names, typemod: -1, ..TypeName::default() };
    NodeEnum::TypeCast(Box::new(TypeCast { arg: boxed(arg), type_name: Some(type_name), location: 0 }))
}

/// [`TenantKey::literal`].
pub(super) fn key(key: &TenantKey) -> NodeEnum {
    cast(literal(key.as_str()), key.kind().sql())
}

/// `qualifier.column OPERATOR(pg_catalog.=) key`.
pub(super) fn predicate(predicate: &Predicate, tenant: &TenantKey) -> NodeEnum {
    let fields = predicate.qualifier.iter().chain([&predicate.column]).map(|name| text(name)).collect();
    NodeEnum::AExpr(Box::new(AExpr {
        kind: AExprKind::AexprOp as i32,
        name: vec![text("pg_catalog"), text("=")],
        lexpr: boxed(NodeEnum::ColumnRef(ColumnRef { fields, location: 0 })),
        rexpr: boxed(key(tenant)),
        ..AExpr::default()
    }))
}

/// `(condition) AND predicate …`, flattened as the grammar does; without a condition the predicates alone.
pub(super) fn and(condition: Option<Box<Node>>, predicates: impl Iterator<Item = NodeEnum>) -> Option<Box<Node>> {
    predicates.fold(condition, |condition, predicate| match condition.map(|condition| *condition) {
        None => boxed(predicate),
        Some(Node { node: Some(NodeEnum::BoolExpr(mut all)) }) if all.boolop == BoolExprType::AndExpr as i32 => {
            all.args.push(node(predicate));
            boxed(NodeEnum::BoolExpr(all))
        }
        Some(condition) => boxed(NodeEnum::BoolExpr(Box::new(BoolExpr {
            boolop: BoolExprType::AndExpr as i32,
            args: vec![condition, node(predicate)],
            ..BoolExpr::default()
        }))),
    })
}

/// `CASE WHEN predicate THEN condition ELSE (an error) END`.
pub(super) fn or_error(condition: Option<Box<Node>>, predicate: NodeEnum) -> Option<Box<Node>> {
    let condition = condition.or_else(|| boxed(constant(a_const::Val::Boolval(Boolean { boolval: true }))));
    let when = CaseWhen { expr: boxed(predicate), result: condition, ..CaseWhen::default() };
    let concat = FuncCall {
        funcname: vec![text("pg_catalog"), text("concat")],
        args: vec![node(literal(FOREIGN_CONFLICT))],
        funcformat: CoercionForm::CoerceExplicitCall as i32,
        ..FuncCall::default()
    };
    let error = cast(NodeEnum::FuncCall(Box::new(concat)), "pg_catalog.bool");
    boxed(NodeEnum::CaseExpr(Box::new(CaseExpr {
        args: vec![node(NodeEnum::CaseWhen(Box::new(when)))],
        defresult: boxed(error),
        ..CaseExpr::default()
    })))
}

fn query() -> SelectStmt {
    SelectStmt {
        limit_option: LimitOption::Default as i32,
        op: SetOperation::SetopNone as i32,
        ..SelectStmt::default()
    }
}

/// An item of a SELECT list.
pub(super) fn item(value: NodeEnum) -> Node {
    node(NodeEnum::ResTarget(Box::new(ResTarget { val: boxed(value), ..ResTarget::default() })))
}

/// A name in INSERT's list of columns.
pub(super) fn column(name: &str) -> Node {
    node(NodeEnum::ResTarget(Box::new(ResTarget { name: name.to_owned(), ..ResTarget::default() })))
}

fn column_value(fields: Vec<Node>) -> NodeEnum {
    NodeEnum::ColumnRef(ColumnRef { fields, location: 0 })
}

/// `SELECT * FROM source WHERE predicate`, or with columns in place of `*`.
pub(super) fn filtered(source: Node, columns: Option<&[String]>, predicate: NodeEnum) -> SelectStmt {
    let target_list = match columns {
        Some(columns) => columns.iter().map(|name| item(column_value(vec![text(name)]))).collect(),
        None => vec![item(column_value(vec![node(NodeEnum::AStar(AStar {}))]))],
    };
    SelectStmt { target_list, from_clause: vec![source], where_clause: boxed(predicate), ..query() }
}

/// `VALUES (key)`.
pub(super) fn values(tenant: &TenantKey) -> NodeEnum {
    let row = List { items: vec![node(key(tenant))] };
    NodeEnum::SelectStmt(Box::new(SelectStmt { values_lists: vec![node(NodeEnum::List(row))], ..query() }))
}

/// A table without its alias.
pub(super) fn bare(relation: &RangeVar) -> RangeVar {
    RangeVar { alias: None, ..relation.clone() }
}
