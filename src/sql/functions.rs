//! What PostgreSQL's own functions may do to a session or to others, by name.
//!
//! A function found by name alone may still be a user's own of the same name: the class is what the built-in would do, so
//! it errs on the dangerous side only for names that are in the table. Names that are not in it are unknown, not harmless.

#[path = "functions_table.rs"]
mod table;

/// What calling a function can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Computes, or reads the catalog.
    Harmless,
    /// `set_config`.
    Context,
    /// Leaves other state in the session: replication origins, temporary slots, a running backup, the random seed.
    Session,
    /// Runs SQL that it is given as text.
    RunsSql,
    /// Reads or writes files of the server's host.
    File,
    /// Opens connections from the server.
    Network,
    /// Acts on the whole server or on other sessions.
    Admin,
    /// Shows what other sessions do.
    Activity,
    AdvisoryLock,
    Sequence,
    LargeObject,
    Notify,
    /// Looks an object up by a name that it repeats in its error, which shows values that a later condition would hide.
    Lookup,
    /// For the server's own use: input and output of types, triggers, support of operators and indexes.
    Internal,
}

/// One function of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    pub name: &'static str,
    pub class: Class,
    /// Some overload takes the name of an object as text (`regclass` and the like): its literals are names.
    pub names_objects: bool,
    /// Some overload can be called with one argument, so that `x.f` calls it without parentheses.
    pub unary: bool,
}

/// Looks a function up by its name as written. `None`: not one of PostgreSQL's own.
pub fn find<S: AsRef<str>>(name: &[S]) -> Option<Function> {
    match name {
        [name] => builtin(name.as_ref()),
        [schema, name] if schema.as_ref() == "pg_catalog" => builtin(name.as_ref()),
        [schema, name] if schema.as_ref() == "information_schema" => {
            let at = table::INFORMATION_SCHEMA.binary_search(&name.as_ref()).ok()?;
            let name = table::INFORMATION_SCHEMA[at];
            Some(Function { name, class: Class::Harmless, names_objects: false, unary: false })
        }
        // With a database's name in front it is the same function.
        [_, schema, name] => find(&[schema.as_ref(), name.as_ref()]),
        _ => None,
    }
}

fn builtin(name: &str) -> Option<Function> {
    let at = table::BUILTIN.binary_search_by(|(other, _, _)| (*other).cmp(name)).ok()?;
    let (name, class, facts) = table::BUILTIN[at];
    Some(Function { name, class, names_objects: facts & NAMES != 0, unary: facts & UNARY != 0 })
}

/// Bits of the table's third column.
const NAMES: u8 = 1;
const UNARY: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        assert!(table::BUILTIN.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(table::INFORMATION_SCHEMA.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn names_resolve_as_written() {
        assert_eq!(find(&["set_config"]).map(|f| f.class), Some(Class::Context));
        assert_eq!(find(&["pg_catalog", "set_config"]).map(|f| f.class), Some(Class::Context));
        assert_eq!(find(&["db", "pg_catalog", "set_config"]).map(|f| f.class), Some(Class::Context));
        assert_eq!(find(&["information_schema", "_pg_expandarray"]).map(|f| f.class), Some(Class::Harmless));
        assert_eq!(find(&["public", "set_config"]), None);
        assert_eq!(find(&["no_such_function"]), None);
        assert!(find(&["pg_advisory_lock"]).is_some_and(|f| f.unary));
        assert!(find(&["pg_relation_size"]).is_some_and(|f| f.names_objects));
        assert_eq!(find::<&str>(&[]), None);
    }
}
