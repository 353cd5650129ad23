//! What a COPY FROM STDIN says: table, columns, options. Its data is read by `copy`.

use pg_query::NodeEnum;
use pg_query::protobuf::{DefElem, Node};

use super::grammar;

/// One COPY FROM STDIN, as written.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyFrom {
    pub schema: Option<String>,
    pub table: String,
    /// Empty: all that can be written.
    pub columns: Vec<String>,
    pub has_where: bool,
    /// In order; names in lower case unless quoted.
    pub options: Vec<(String, OptionValue)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    Absent,
    Text(String),
    Integer(i32),
    Names(Vec<String>),
    /// `*`, or what no option takes.
    Other,
}

/// Reads a text that is one COPY FROM STDIN; anything else is `None`.
pub fn read(text: &[u8]) -> Option<CopyFrom> {
    let trees = grammar::trees(std::str::from_utf8(text).ok()?).ok()?;
    let [raw] = trees.as_slice() else { return None };
    let NodeEnum::CopyStmt(copy) = raw.stmt.as_ref()?.node.as_ref()? else { return None };
    let relation = copy.relation.as_ref()?;
    if !copy.is_from || copy.is_program || !copy.filename.is_empty() || !relation.catalogname.is_empty() {
        return None;
    }
    Some(CopyFrom {
        schema: (!relation.schemaname.is_empty()).then(|| relation.schemaname.clone()),
        table: relation.relname.clone(),
        columns: names(&copy.attlist)?,
        has_where: copy.where_clause.is_some(),
        options: copy.options.iter().map(option).collect::<Option<_>>()?,
    })
}

fn option(node: &Node) -> Option<(String, OptionValue)> {
    let Some(NodeEnum::DefElem(element)) = &node.node else { return None };
    Some((element.defname.clone(), value(element)))
}

fn value(element: &DefElem) -> OptionValue {
    let Some(argument) = &element.arg else { return OptionValue::Absent };
    match &argument.node {
        Some(NodeEnum::String(text)) => OptionValue::Text(text.sval.clone()),
        Some(NodeEnum::Integer(number)) => OptionValue::Integer(number.ival),
        Some(NodeEnum::Float(number)) => OptionValue::Text(number.fval.clone()),
        Some(NodeEnum::Boolean(value)) => OptionValue::Text(if value.boolval { "true" } else { "false" }.to_owned()),
        Some(NodeEnum::List(list)) => names(&list.items).map_or(OptionValue::Other, OptionValue::Names),
        Some(_) | None => OptionValue::Other,
    }
}

fn names(nodes: &[Node]) -> Option<Vec<String>> {
    let name = |node: &Node| match &node.node {
        Some(NodeEnum::String(text)) => Some(text.sval.clone()),
        Some(_) | None => None,
    };
    nodes.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_read_with_its_options_in_both_spellings() {
        let copy = read(b"copy s.T (a, \"B\") from stdin with csv header force not null a").unwrap();
        assert_eq!((copy.schema.as_deref(), &*copy.table), (Some("s"), "t"));
        assert_eq!(copy.columns, ["a", "B"]);
        let names = OptionValue::Names(vec!["a".into()]);
        let text = |text: &str| OptionValue::Text(text.into());
        let want = [("format", text("csv")), ("header", text("true")), ("force_not_null", names)];
        assert_eq!(copy.options, want.map(|(name, value)| (name.to_owned(), value)));
        let copy = read(b"COPY t FROM STDIN (FORMAT text, HEADER match, DELIMITER '|', FREEZE) WHERE a > 1;").unwrap();
        assert!(copy.has_where && copy.schema.is_none() && copy.columns.is_empty());
        assert_eq!(copy.options[1], ("header".to_owned(), text("match")));
        assert_eq!(copy.options[3], ("freeze".to_owned(), OptionValue::Absent));
    }

    #[test]
    fn what_is_not_one_copy_from_stdin_is_none() {
        for text in ["copy t to stdout", "copy t from '/x'", "copy t from program 'x'", "select 1", "", "copy t from"] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read(b"copy t from stdin; copy t from stdin"), None);
    }
}
