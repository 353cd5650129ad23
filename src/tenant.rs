//! Words of tenancy: a tenant's key as a value of the tenant column, and what a database's catalog says of its relations.
//!
//! Values only: nothing here reads a catalog, judges or rewrites.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The type of the tenant column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    Int,
    Bigint,
    Uuid,
    Text,
}

impl KeyType {
    /// The type's name in SQL, which no search_path can change.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Int => "pg_catalog.int4",
            Self::Bigint => "pg_catalog.int8",
            Self::Uuid => "pg_catalog.uuid",
            Self::Text => "pg_catalog.text",
        }
    }

    /// The type's name in configuration and in messages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Bigint => "bigint",
            Self::Uuid => "uuid",
            Self::Text => "text",
        }
    }
}

/// A text that is no key of its type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    #[error("expected a whole number from 1 to {max}")]
    Number { max: i64 },
    #[error("expected a UUID such as 6f1c1f0e-2f5b-4c8e-9d59-8f1f0e2f5b4c")]
    Uuid,
    #[error("expected 1 to {TEXT_KEY_MAX} bytes of text without control characters")]
    Text,
}

/// A text key's length, at most (bytes).
pub const TEXT_KEY_MAX: usize = 255;

/// A tenant's key: the value that its rows have in the tenant column, in the form that PostgreSQL prints.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TenantKey {
    kind: KeyType,
    text: Arc<str>,
}

impl TenantKey {
    /// Numbers are above zero, so that none is mistaken for "nobody".
    pub fn parse(kind: KeyType, text: &str) -> Result<Self, KeyError> {
        let text: Arc<str> = match kind {
            KeyType::Int => number(text, i64::from(i32::MAX))?,
            KeyType::Bigint => number(text, i64::MAX - 1)?,
            KeyType::Uuid => uuid(text).ok_or(KeyError::Uuid)?,
            KeyType::Text => {
                let fits = (1..=TEXT_KEY_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
                if !fits {
                    return Err(KeyError::Text);
                }
                text.into()
            }
        };
        Ok(Self { kind, text })
    }

    pub fn kind(&self) -> KeyType {
        self.kind
    }

    /// The key as PostgreSQL prints it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key as a literal of SQL with its type, for `standard_conforming_strings = on`.
    pub fn literal(&self) -> String {
        format!("'{}'::{}", self.text.replace('\'', "''"), self.kind.sql())
    }
}

impl fmt::Display for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn number(text: &str, max: i64) -> Result<Arc<str>, KeyError> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<i64>().ok().filter(|number| plain && (1..=max).contains(number));
    number.map(|number| number.to_string().into()).ok_or(KeyError::Number { max })
}

/// Hyphens where RFC 9562 has them; the answer is in lower case.
fn uuid(text: &str) -> Option<Arc<str>> {
    let fits = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    fits.then(|| text.to_ascii_lowercase().into())
}

/// What a database's catalog says of its relations, as far as verdicts and rewriting need it: a snapshot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    /// Schemas in which unqualified names are looked up, in order; `pg_catalog` comes first without being named.
    pub search_path: Vec<Arc<str>>,
    relations: HashMap<Arc<str>, Vec<Arc<Relation>>>,
}

/// A table, view or the like.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    pub schema: Arc<str>,
    pub name: Arc<str>,
    pub kind: RelationKind,
    /// In their order; dropped ones left out.
    pub columns: Vec<Column>,
    /// Position in `columns` of the tenant column; absent: the relation has none.
    pub tenant_column: Option<usize>,
    /// Row security is enabled.
    pub row_security: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: Arc<str>,
    /// As `format_type` prints it.
    pub type_name: Arc<str>,
    /// `GENERATED ALWAYS AS (...) STORED`: no value may be given.
    pub generated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    Table,
    Partitioned,
    Partition,
    View,
    MaterializedView,
    ForeignTable,
    Sequence,
}

impl Catalog {
    pub fn new(search_path: Vec<Arc<str>>, relations: impl IntoIterator<Item = Relation>) -> Self {
        let mut catalog = Self { search_path, relations: HashMap::new() };
        for relation in relations {
            let of_name = catalog.relations.entry(relation.name.clone()).or_default();
            of_name.push(Arc::new(relation));
        }
        catalog
    }

    /// The relation that PostgreSQL finds by this name; names are as the grammar folds them.
    pub fn find(&self, schema: Option<&str>, name: &str) -> Option<&Arc<Relation>> {
        let of_name = self.relations.get(name)?;
        let in_schema = |schema: &str| of_name.iter().find(|relation| *relation.schema == *schema);
        match schema {
            Some(schema) => in_schema(schema),
            None => self.search_path.iter().find_map(|schema| in_schema(schema)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values().flatten()
    }
}

impl Relation {
    /// The tenant column's name.
    pub fn tenant_column(&self) -> Option<&Arc<str>> {
        self.tenant_column.and_then(|at| self.columns.get(at)).map(|column| &column.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_form() {
        let parse = |kind, text| TenantKey::parse(kind, text).map(|key| key.to_string());
        assert_eq!(parse(KeyType::Bigint, "007"), Ok("7".to_owned()));
        assert_eq!(parse(KeyType::Int, "2147483648"), Err(KeyError::Number { max: 2_147_483_647 }));
        for text in ["0", "-1", "+1", " 1", "", "1e3", "9223372036854775807"] {
            assert!(parse(KeyType::Bigint, text).is_err(), "{text}");
        }
        let upper = "6F1C1F0E-2F5B-4C8E-9D59-8F1F0E2F5B4C";
        assert_eq!(parse(KeyType::Uuid, upper), Ok(upper.to_lowercase()));
        assert!(parse(KeyType::Uuid, "{6f1c1f0e-2f5b-4c8e-9d59-8f1f0e2f5b4}").is_err());
        assert!(parse(KeyType::Text, "a\nb").is_err() && parse(KeyType::Text, "").is_err());
    }

    #[test]
    fn a_literal_ends_where_it_should() {
        let key = TenantKey::parse(KeyType::Text, "o'b\\'x").expect("a text key");
        assert_eq!(key.literal(), "'o''b\\''x'::pg_catalog.text");
    }

    #[test]
    fn names_are_found_along_the_path() {
        let relation = |schema: &str| Relation {
            schema: schema.into(),
            name: "t".into(),
            kind: RelationKind::Table,
            columns: Vec::new(),
            tenant_column: None,
            row_security: false,
        };
        let catalog = Catalog::new(vec!["b".into(), "a".into()], [relation("a"), relation("b"), relation("c")]);
        let schema = |schema, name| catalog.find(schema, name).map(|relation| relation.schema.to_string());
        assert_eq!(schema(None, "t").as_deref(), Some("b"));
        assert_eq!(schema(Some("c"), "t").as_deref(), Some("c"));
        assert_eq!(schema(Some("d"), "t"), None);
    }
}
