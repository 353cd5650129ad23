//! Lists of names from configuration: `name`, or `schema.name`, read as SQL reads them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::sql::name_in;

/// Names of tables or functions.
#[derive(Debug, Default)]
pub(super) struct Names {
    entries: HashSet<(Option<String>, String)>,
}

impl Names {
    pub(super) fn new<'a>(names: impl IntoIterator<Item = &'a Arc<str>>) -> Self {
        let entries = names.into_iter().filter_map(|name| {
            let mut parts = name_in(name)?;
            let name = parts.pop()?;
            Some((parts.pop(), name))
        });
        Self { entries: entries.collect() }
    }

    /// A name with its schema is listed as it is, or by its name alone where `home` has the schema.
    pub(super) fn qualified(&self, schema: &str, name: &str, home: &[Arc<str>]) -> bool {
        self.has(Some(schema), name) || (home.iter().any(|known| **known == *schema) && self.has(None, name))
    }

    /// A name without a schema is listed as it is, or with one of `schemas`.
    pub(super) fn unqualified<'a>(&self, name: &str, schemas: impl IntoIterator<Item = &'a Arc<str>>) -> bool {
        self.has(None, name) || schemas.into_iter().any(|schema| self.has(Some(schema), name))
    }

    pub(super) fn has(&self, schema: Option<&str>, name: &str) -> bool {
        self.entries.contains(&(schema.map(str::to_owned), name.to_owned()))
    }
}
