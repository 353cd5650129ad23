//! Which columns a statement's parameters are values of, where the grammar alone tells.
//!
//! Certain are `column = $n` and the like, `UPDATE … SET column = $n`, and INSERT's VALUES by its list of columns, where the
//! column's relation is certain, too: named by its only alias, or the only relation that there is. Nothing else is guessed: a
//! parameter that stands anywhere else even once is not certain.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, AExprKind, ColumnRef, Node, RangeVar};

use super::tree::Tree;
use super::walk::text_of;
use super::{Column, Parameter};

/// What the nodes of one statement say of its parameters.
#[derive(Default)]
pub(super) struct Parameters<'a> {
    /// Numbers, once for each place.
    places: Vec<u16>,
    compared: Vec<(u16, &'a ColumnRef)>,
    assigned: Vec<(u16, &'a RangeVar, &'a str)>,
    relations: Vec<&'a RangeVar>,
    /// Names in FROM may be those of a query's own columns.
    derived: bool,
}

impl<'a> Parameters<'a> {
    pub(super) fn gather(&mut self, node: Tree<'a>) {
        match node {
            Tree::ParamRef(parameter) => self.places.extend(number_of(parameter)),
            Tree::RangeVar(relation) => self.relations.push(relation),
            Tree::AExpr(expression) => self.expression(expression),
            Tree::UpdateStmt(update) => {
                self.relations.extend(&update.relation);
                self.assignments(&update.relation, &update.target_list);
            }
            Tree::DeleteStmt(delete) => self.relations.extend(&delete.relation),
            Tree::InsertStmt(insert) => {
                self.relations.extend(&insert.relation);
                self.values(insert);
                if let Some(conflict) = &insert.on_conflict_clause {
                    self.assignments(&insert.relation, &conflict.target_list);
                }
            }
            Tree::MergeStmt(merge) => self.relations.extend(&merge.relation),
            Tree::CommonTableExpr(_)
            | Tree::RangeSubselect(_)
            | Tree::RangeFunction(_)
            | Tree::RangeTableFunc(_)
            | Tree::JsonTable(_) => self.derived = true,
            _ => {}
        }
    }

    /// `column = $1` and its like, either way round, casts aside.
    fn expression(&mut self, expression: &'a protobuf::AExpr) {
        use AExprKind::*;
        let compares = match AExprKind::try_from(expression.kind) {
            Ok(AexprOp | AexprOpAny | AexprOpAll) => {
                expression.name.last().and_then(text_of).is_some_and(|name| COMPARISONS.contains(&name))
            }
            Ok(AexprDistinct | AexprNotDistinct | AexprIn | AexprLike | AexprIlike) => true,
            Ok(AexprBetween | AexprNotBetween | AexprBetweenSym | AexprNotBetweenSym) => true,
            Ok(AexprNullif | AexprSimilar | Undefined) | Err(_) => false,
        };
        let (Some(left), Some(right)) = (&expression.lexpr, &expression.rexpr) else { return };
        if !compares {
            return;
        }
        for (column, value) in [(left, right), (right, left)] {
            let Some(NodeEnum::ColumnRef(column)) = uncast(column) else { continue };
            match uncast(value) {
                Some(NodeEnum::ParamRef(parameter)) => {
                    self.compared.extend(number_of(parameter).map(|number| (number, column)));
                }
                Some(NodeEnum::List(list)) => {
                    for item in &list.items {
                        if let Some(NodeEnum::ParamRef(parameter)) = uncast(item) {
                            self.compared.extend(number_of(parameter).map(|number| (number, column)));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn assignments(&mut self, relation: &'a Option<RangeVar>, targets: &'a [Node]) {
        let Some(relation) = relation else { return };
        for target in targets {
            if let Some(NodeEnum::ResTarget(target)) = &target.node
                && let Some(NodeEnum::ParamRef(parameter)) = target.val.as_deref().and_then(uncast)
            {
                self.assigned.extend(number_of(parameter).map(|number| (number, relation, &*target.name)));
            }
        }
    }

    fn values(&mut self, insert: &'a protobuf::InsertStmt) {
        let Some(relation) = &insert.relation else { return };
        let Some(NodeEnum::SelectStmt(select)) = insert.select_stmt.as_ref().and_then(|node| node.node.as_ref()) else {
            return;
        };
        let rows = select.values_lists.iter().filter_map(|row| match &row.node {
            Some(NodeEnum::List(row)) => Some(row),
            _ => None,
        });
        for row in rows {
            for (column, value) in insert.cols.iter().zip(&row.items) {
                if let Some(NodeEnum::ResTarget(column)) = &column.node
                    && let Some(NodeEnum::ParamRef(parameter)) = uncast(value)
                {
                    self.assigned.extend(number_of(parameter).map(|number| (number, relation, &*column.name)));
                }
            }
        }
    }

    /// By number: the columns of each parameter that is certain.
    pub(super) fn resolve(mut self) -> Vec<Parameter> {
        let mut found = std::mem::take(&mut self.assigned);
        if !self.derived && self.relations.len() <= RELATIONS_MAX {
            let compared = self.compared.iter().filter_map(|(number, column)| {
                let (relation, name) = self.column(column)?;
                Some((*number, relation, name))
            });
            found.extend(compared);
        }
        found.sort_by_key(|(number, ..)| *number);
        self.places.sort_unstable();
        let mut found = found.chunk_by(|one, other| one.0 == other.0).peekable();
        let mut parameters = Vec::new();
        for places in self.places.chunk_by(|one, other| one == other) {
            let Some(of_this) = found.next_if(|found| found[0].0 == places[0]) else { continue };
            // As often a column's value as it is there at all.
            if of_this.len() == places.len()
                && let Some(columns) = columns_of(of_this)
            {
                parameters.push(Parameter { number: places[0], columns });
            }
        }
        parameters
    }

    fn column(&self, column: &'a ColumnRef) -> Option<(&'a RangeVar, &'a str)> {
        let names: Option<Vec<&str>> = column.fields.iter().map(text_of).collect();
        match names?[..] {
            [name] => match self.relations[..] {
                [relation] if !renames(relation) => Some((relation, name)),
                _ => None,
            },
            [qualifier, name] => {
                let relation = self.only(|relation| match &relation.alias {
                    Some(alias) => alias.aliasname == qualifier,
                    None => relation.relname == qualifier,
                })?;
                Some((relation, name))
            }
            [schema, qualifier, name] => {
                let named = |relation: &RangeVar| {
                    relation.alias.is_none() && relation.schemaname == schema && relation.relname == qualifier
                };
                Some((self.only(named)?, name))
            }
            _ => None,
        }
    }

    /// The only relation with this name, if its columns have their own names.
    fn only(&self, is_named: impl Fn(&RangeVar) -> bool) -> Option<&'a RangeVar> {
        let mut named = self.relations.iter().filter(|relation| is_named(relation));
        match (named.next(), named.next()) {
            (Some(relation), None) if !renames(relation) => Some(relation),
            _ => None,
        }
    }
}

/// The different columns among these; `None`: too many to be worth it.
fn columns_of(found: &[(u16, &RangeVar, &str)]) -> Option<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    for (_, relation, name) in found {
        let schema = (!relation.schemaname.is_empty()).then_some(&relation.schemaname);
        let is_this = |column: &Column| {
            column.schema.as_ref() == schema && column.relation == relation.relname && column.name == *name
        };
        if columns.iter().any(is_this) {
            continue;
        }
        if columns.len() == COLUMNS_MAX {
            return None;
        }
        columns.push(Column { schema: schema.cloned(), relation: relation.relname.clone(), name: (*name).to_owned() });
    }
    Some(columns)
}

/// `FROM t AS a (x, y)`.
fn renames(relation: &RangeVar) -> bool {
    relation.alias.as_ref().is_some_and(|alias| !alias.colnames.is_empty())
}

/// `None`: beyond those that are told.
fn number_of(parameter: &protobuf::ParamRef) -> Option<u16> {
    u16::try_from(parameter.number).ok().filter(|number| *number <= PARAMETERS_MAX)
}

fn uncast(mut node: &Node) -> Option<&NodeEnum> {
    while let Some(NodeEnum::TypeCast(cast)) = &node.node {
        node = cast.arg.as_deref()?;
    }
    node.node.as_ref()
}

/// Parameters above this number are not told: records list no more.
pub(super) const PARAMETERS_MAX: u16 = 64;
/// Columns that one parameter is a value of.
const COLUMNS_MAX: usize = 8;
/// Relations of a statement among which a name is looked for.
const RELATIONS_MAX: usize = 64;

/// Operators whose sides are values of one kind.
const COMPARISONS: [&str; 11] = ["=", "<>", "!=", "<", "<=", ">", ">=", "~~", "~~*", "!~~", "!~~*"];

#[cfg(test)]
mod tests {
    use crate::sql::grammar;

    fn shown(text: &str) -> String {
        let analysis = grammar::read(text.as_bytes());
        assert_eq!(analysis.failure, None, "{text}");
        let parameters = analysis.statements.iter().flat_map(|statement| &statement.facts.parameters);
        let shown = parameters.map(|parameter| {
            let columns = parameter.columns.iter().map(|column| {
                let schema = column.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
                format!("{schema}{}.{}", column.relation, column.name)
            });
            format!("{} {}", parameter.number, columns.collect::<Vec<_>>().join("+"))
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_parameter_is_known_by_its_column() {
        for (text, expected) in [
            ("select * from t where a = $1", "1 t.a"),
            ("select * from s.t x where x.a = $1::text and $2 < x.b", "1 s.t.a, 2 s.t.b"),
            ("select * from s.t where s.t.a = $1", "1 s.t.a"),
            ("select * from t where a in ($1, $2) and b between $3 and $4", "1 t.a, 2 t.a, 3 t.b, 4 t.b"),
            ("select * from t where a = any($1) and b like $2", "1 t.a, 2 t.b"),
            ("select * from t where a = $1 and b = $1", "1 t.a+t.b"),
            ("update t set a = $1, b = $2 where c = $3", "1 t.a, 2 t.b, 3 t.c"),
            ("delete from t where a = $1", "1 t.a"),
            ("insert into t (a, b) values ($1, $2), ($3, lower($4))", "1 t.a, 2 t.b, 3 t.a"),
            ("insert into t (a) values ($1) on conflict (a) do update set b = $2", "1 t.a, 2 t.b"),
            ("select * from t x join u y on x.i = y.i where x.a = $1 and y.b = $2", "1 t.a, 2 u.b"),
            ("with w as (select 1) update t set a = $1 where b = $2", "1 t.a"),
            ("explain select * from t where a = $1", "1 t.a"),
            ("prepare p as select * from t where a = $1", "1 t.a"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_the_grammar_does_not_tell_is_not_said() {
        for text in [
            "select $1",
            "select * from t where lower(a) = $1",
            "select * from t where a = $1 || $2",
            "select * from t where a + $1 = 2",
            "select * from t where a = $1 and f($1)",
            "select * from t, u where a = $1",
            "select * from t join u using (i) where a = $1",
            "select * from (select b as a from t) x where a = $1",
            "with x as (select b as a from t) select * from x where a = $1",
            "with x as (select b as a from t y) select * from x t where t.a = $1",
            "select * from t as x (p, q) where x.p = $1",
            "select * from t as x (p, q) where p = $1",
            "select * from f() t where t.a = $1",
            "select * from t where a = (select max(a) from t where t.a = $1)",
            "insert into t values ($1)",
            "insert into t (a) select $1",
            "update t set (a, b) = ($1, $2)",
            "select * from t limit $1",
            "call f($1)",
        ] {
            assert_eq!(shown(text), "", "{text}");
        }
    }
}
