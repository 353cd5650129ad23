//! Reading a policy's expression: does it let through only rows of one tenant, and where does that tenant come from?
//!
//! By structure, and by default no: an expression that is not understood is [`Test::Other`]. Expressions come from
//! `pg_get_expr` with `search_path = pg_catalog`, so an operator written without a schema is PostgreSQL's own.

use pg_query::protobuf::{AExprKind, BoolExprType, SelectStmt, SubLinkType, a_const};
use pg_query::{Node, NodeEnum};

/// What an expression compares the tenant column with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// `pgwarden.tenant()`.
    Seal,
    /// An expression without columns and tables, in SQL: what it gives without a tenant must be tried.
    Value {
        sql: String,
        /// Names of settings that it reads.
        settings: Vec<String>,
        /// It is known to give NULL or an error without a tenant.
        closed: bool,
    },
    /// Not a comparison of the tenant column with one value, or not understood.
    Other,
}

/// Reads an expression that must hold for a row to be seen or written.
pub fn test(expression: &str, column: &str) -> Test {
    let Some(node) = parse(expression) else { return Test::Other };
    conjuncts(&node)
        .into_iter()
        .map(|conjunct| comparison(conjunct, column))
        .find(|test| *test != Test::Other)
        .unwrap_or(Test::Other)
}

fn parse(expression: &str) -> Option<NodeEnum> {
    let parsed = pg_query::parse(&format!("SELECT {expression}"), 0).ok()?;
    let [statement] = parsed.protobuf.stmts.as_slice() else { return None };
    let NodeEnum::SelectStmt(select) = statement.stmt.as_ref()?.node.as_ref()? else { return None };
    only_target(select).cloned()
}

/// The one value that a SELECT without tables gives.
fn only_target(select: &SelectStmt) -> Option<&NodeEnum> {
    let bare = select.from_clause.is_empty()
        && select.where_clause.is_none()
        && select.having_clause.is_none()
        && select.with_clause.is_none()
        && select.into_clause.is_none()
        && select.larg.is_none()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.group_clause.is_empty()
        && select.values_lists.is_empty()
        && select.distinct_clause.is_empty();
    let [target] = select.target_list.as_slice() else { return None };
    let NodeEnum::ResTarget(target) = target.node.as_ref()? else { return None };
    inside(&target.val).filter(|_| bare)
}

/// A node in its boxes.
fn inside(node: &Option<Box<Node>>) -> Option<&NodeEnum> {
    node.as_ref()?.node.as_ref()
}

fn conjuncts(node: &NodeEnum) -> Vec<&NodeEnum> {
    match node {
        NodeEnum::BoolExpr(bool) if bool.boolop == BoolExprType::AndExpr as i32 => {
            bool.args.iter().filter_map(|arg| arg.node.as_ref()).flat_map(conjuncts).collect()
        }
        node => vec![node],
    }
}

fn comparison(node: &NodeEnum, column: &str) -> Test {
    let NodeEnum::AExpr(expr) = node else { return Test::Other };
    let equals =
        expr.kind == AExprKind::AexprOp as i32 && matches!(names(&expr.name).as_slice(), ["="] | ["pg_catalog", "="]);
    let (Some(left), Some(right), true) = (inside(&expr.lexpr), inside(&expr.rexpr), equals) else {
        return Test::Other;
    };
    let value = match (is_column(left, column), is_column(right, column)) {
        (true, false) => right,
        (false, true) => left,
        (true, true) | (false, false) => return Test::Other,
    };
    let mut settings = Vec::new();
    if !is_constant_in_a_statement(value, &mut settings) {
        return Test::Other;
    }
    if is_tenant_function(bare(value)) {
        return Test::Seal;
    }
    let Some(sql) = deparse(value) else { return Test::Other };
    Test::Value { sql, closed: is_closed(bare(value)), settings }
}

/// The tenant column, cast to text or not (`varchar` is compared as text).
fn is_column(node: &NodeEnum, column: &str) -> bool {
    match node {
        NodeEnum::ColumnRef(reference) => names(&reference.fields).last() == Some(&column),
        NodeEnum::TypeCast(cast) => {
            let to_text = cast.type_name.as_ref().is_some_and(|name| names(&name.names).last() == Some(&"text"));
            to_text && inside(&cast.arg).is_some_and(|arg| is_column(arg, column))
        }
        _ => false,
    }
}

/// Without columns, tables and whatever else may differ from row to row. Notes the settings that are read.
fn is_constant_in_a_statement(node: &NodeEnum, settings: &mut Vec<String>) -> bool {
    let mut all = |nodes: &[Node]| {
        nodes.iter().all(|node| node.node.as_ref().is_some_and(|node| is_constant_in_a_statement(node, settings)))
    };
    match node {
        NodeEnum::AConst(_) | NodeEnum::SqlvalueFunction(_) => true,
        NodeEnum::TypeCast(cast) => inside(&cast.arg).is_some_and(|arg| is_constant_in_a_statement(arg, settings)),
        NodeEnum::CoalesceExpr(coalesce) => all(&coalesce.args),
        NodeEnum::AExpr(expr) => {
            let plain = [AExprKind::AexprOp as i32, AExprKind::AexprNullif as i32].contains(&expr.kind);
            plain
                && [&expr.lexpr, &expr.rexpr]
                    .into_iter()
                    .filter_map(inside)
                    .all(|side| is_constant_in_a_statement(side, settings))
        }
        NodeEnum::FuncCall(call) => {
            let plain = call.agg_order.is_empty() && call.agg_filter.is_none() && call.over.is_none() && !call.agg_star;
            let mut fits = plain && all(&call.args);
            if names(&call.funcname).last() == Some(&"current_setting") {
                match call.args.first().and_then(|arg| arg.node.as_ref()).and_then(text) {
                    Some(name) => settings.push(name.to_ascii_lowercase()),
                    None => fits = false,
                }
            }
            fits
        }
        NodeEnum::SubLink(link) => {
            let target = match inside(&link.subselect) {
                Some(NodeEnum::SelectStmt(select)) if link.sub_link_type == SubLinkType::ExprSublink as i32 => {
                    only_target(select)
                }
                Some(_) | None => None,
            };
            target.is_some_and(|target| is_constant_in_a_statement(target, settings))
        }
        _ => false,
    }
}

/// Without the sub-select around it, and without casts.
fn bare(node: &NodeEnum) -> &NodeEnum {
    let within = match node {
        NodeEnum::SubLink(link) => match inside(&link.subselect) {
            Some(NodeEnum::SelectStmt(select)) => only_target(select),
            Some(_) | None => None,
        },
        NodeEnum::TypeCast(cast) => inside(&cast.arg),
        _ => None,
    };
    within.map_or(node, bare)
}

fn is_tenant_function(node: &NodeEnum) -> bool {
    matches!(node, NodeEnum::FuncCall(call) if call.args.is_empty() && names(&call.funcname) == ["pgwarden", "tenant"])
}

/// `NULLIF(current_setting('name', true), '')`.
fn is_closed(node: &NodeEnum) -> bool {
    let NodeEnum::AExpr(expr) = node else { return false };
    let reads = |node: &NodeEnum| {
        matches!(bare(node), NodeEnum::FuncCall(call)
            if matches!(names(&call.funcname).as_slice(), ["current_setting"] | ["pg_catalog", "current_setting"]))
    };
    expr.kind == AExprKind::AexprNullif as i32
        && inside(&expr.lexpr).is_some_and(reads)
        && inside(&expr.rexpr).and_then(text) == Some("")
}

/// A text constant, cast or not.
fn text(node: &NodeEnum) -> Option<&str> {
    match bare(node) {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Sval(value) => Some(&value.sval),
            a_const::Val::Ival(_) | a_const::Val::Fval(_) | a_const::Val::Boolval(_) | a_const::Val::Bsval(_) => None,
        },
        _ => None,
    }
}

fn names(nodes: &[Node]) -> Vec<&str> {
    nodes
        .iter()
        .map(|node| match node.node.as_ref() {
            Some(NodeEnum::String(name)) => name.sval.as_str(),
            Some(_) | None => "",
        })
        .collect()
}

fn deparse(value: &NodeEnum) -> Option<String> {
    use pg_query::protobuf::ResTarget;
    let target = ResTarget { val: Some(Box::new(Node { node: Some(value.clone()) })), ..ResTarget::default() };
    let target = Node { node: Some(NodeEnum::ResTarget(Box::new(target))) };
    // The grammar fills what a plain SELECT needs; only the target is exchanged.
    let mut parsed = pg_query::parse("SELECT 1", 0).ok()?.protobuf;
    let statement = parsed.stmts.first_mut()?.stmt.as_mut()?.node.as_mut()?;
    let NodeEnum::SelectStmt(select) = statement else { return None };
    select.target_list = vec![target];
    let sql = pg_query::deparse(&parsed, pg_query::DeparseOptions::default()).ok()?;
    sql.strip_prefix("SELECT ").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(expression: &str) -> Option<(bool, String)> {
        match test(expression, "tenant_id") {
            Test::Value { closed, settings, .. } => Some((closed, settings.join(","))),
            Test::Seal | Test::Other => None,
        }
    }

    #[test]
    fn our_own_policies_are_understood() {
        for expression in [
            "(tenant_id = ( SELECT pgwarden.tenant() AS tenant))",
            "((tenant_id)::text = ( SELECT pgwarden.tenant() AS tenant))",
            "(pgwarden.tenant() = tenant_id)",
            "((status = 'open'::text) AND (tenant_id = ( SELECT pgwarden.tenant() AS tenant)))",
        ] {
            assert_eq!(test(expression, "tenant_id"), Test::Seal, "{expression}");
        }
        let ours = "(tenant_id = ( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::bigint AS \"nullif\"))";
        assert_eq!(value(ours), Some((true, "app.tenant_id".to_owned())));
    }

    #[test]
    fn what_may_be_open_is_to_be_tried() {
        for expression in [
            "(tenant_id = (current_setting('app.tenant_id'::text))::integer)",
            "(tenant_id = COALESCE((NULLIF(current_setting('App.Tenant_Id'::text, true), ''::text))::integer, 1))",
        ] {
            assert_eq!(value(expression), Some((false, "app.tenant_id".to_owned())), "{expression}");
        }
        assert_eq!(value("(tenant_id = a.ten_imm())"), Some((false, String::new())));
    }

    #[test]
    fn what_lets_other_rows_through_is_no_test() {
        for expression in [
            "(amount > 500)",
            "true",
            "(tenant_id = tenant_id)",
            "((tenant_id = ( SELECT pgwarden.tenant() AS tenant)) OR (amount > 500))",
            "(NOT (tenant_id = pgwarden.tenant()))",
            "(tenant_id <> pgwarden.tenant())",
            "(tenant_id >= pgwarden.tenant())",
            "(tenant_id OPERATOR(evil.=) pgwarden.tenant())",
            "(COALESCE(NULLIF(current_setting('app.tenant_id'::text, true), ''::text), (tenant_id)::text) = (tenant_id)::text)",
            "(tenant_id = ( SELECT m.tenant FROM members m))",
            "(tenant_id = f(other_column))",
            "(tenant_id = ANY (ARRAY[1, 2]))",
            "(other = pgwarden.tenant())",
            "(tenant_id = current_setting(name_of_setting))",
            "not sql (",
        ] {
            assert_eq!(test(expression, "tenant_id"), Test::Other, "{expression}");
        }
    }

    #[test]
    fn a_value_can_be_asked_for() {
        let Test::Value { sql, .. } = test("(tenant_id = (current_setting('a.b'::text))::integer)", "tenant_id") else {
            panic!("a value");
        };
        assert!(sql.contains("current_setting('a.b'"), "{sql}");
    }
}
