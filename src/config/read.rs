//! Reading TOML into sections without stopping at the first problem.
//!
//! [`section!`] declares a table of the file once: its keys, their types, defaults and documentation. From that come the
//! struct, the reader (unknown keys, wrong types) and the entries of the reference. Nothing here knows what a key is for.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem, nearest, quoted};

/// A key's value as far as it is known.
#[derive(Debug, Clone, Default)]
pub(crate) enum Field<T> {
    #[default]
    Absent,
    /// Something is there, and what is wrong with it has been reported.
    Bad(Place),
    Found(T, Place),
}

impl<T> Field<T> {
    pub(crate) fn value(&self) -> Option<&T> {
        match self {
            Self::Found(value, _) => Some(value),
            Self::Absent | Self::Bad(_) => None,
        }
    }

    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Self::Found(_, place) | Self::Bad(place) => Some(place),
            Self::Absent => None,
        }
    }

    pub(crate) fn found(&self) -> Option<(&T, &Place)> {
        match self {
            Self::Found(value, place) => Some((value, place)),
            Self::Absent | Self::Bad(_) => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// Tables that the operator names, in the order of the file: `[users.NAME]`.
#[derive(Debug, Clone)]
pub(crate) struct Named<T>(pub Vec<(Arc<str>, T, Place)>);

/// What the reference says about a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub name: &'static str,
    /// Lines of documentation, each with the leading space that a doc comment has.
    pub docs: &'static [&'static str],
    /// The default as TOML text.
    pub default: Option<&'static str>,
    pub shape: fn() -> Shape,
}

/// The shape of a key's value.
pub(crate) enum Shape {
    /// What is accepted, in words.
    Scalar {
        accepts: String,
    },
    Table {
        docs: &'static [&'static str],
        keys: &'static [Key],
    },
    Named {
        docs: &'static [&'static str],
        keys: &'static [Key],
    },
}

/// A value that reads itself and reports what is wrong with it. Each `None` has been reported.
pub(crate) trait Value: Sized {
    fn shape() -> Shape;
    fn read(value: &Spanned<DeValue<'_>>, place: &Place, key: Option<&Key>, reader: &mut Reader<'_>) -> Option<Self>;
}

/// A table with a fixed set of keys; [`section!`] implements it.
pub(crate) trait Section: Default {
    const DOCS: &'static [&'static str];
    const KEYS: &'static [Key];
    /// Reads the value of `key`, which is one of `KEYS`.
    fn set(&mut self, key: &Key, value: &Spanned<DeValue<'_>>, place: Place, reader: &mut Reader<'_>);
}

/// A value without structure of its own.
pub(crate) trait Scalar: Sized {
    /// A value that must never be shown.
    const SECRET: bool = false;
    /// In words, after "expected".
    fn accepts() -> String;
    /// A value to imitate, as TOML text.
    fn example() -> &'static str;
    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch>;
}

/// Why a scalar could not be read.
#[derive(Debug, Default)]
pub(crate) struct Mismatch {
    /// The value that was probably meant, as TOML text.
    pub meant: Option<String>,
    /// What else helps, as a sentence's part.
    pub note: Option<String>,
}

impl<T: Scalar> Value for T {
    fn shape() -> Shape {
        Shape::Scalar { accepts: T::accepts() }
    }

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, key: Option<&Key>, reader: &mut Reader<'_>) -> Option<Self> {
        let mismatch = match T::parse(value.get_ref()) {
            Ok(parsed) => return Some(parsed),
            Err(mismatch) => mismatch,
        };
        let found = if T::SECRET { kind(value.get_ref()).to_owned() } else { show(value.get_ref()) };
        let assignment = |text: &str| match key {
            Some(key) => format!("{} = {text}", key.name),
            None => text.to_owned(),
        };
        let mut hint = match &mismatch.meant {
            Some(meant) => format!("write {}", assignment(meant)),
            None => {
                format!("for example {}", assignment(key.and_then(|key| key.default).unwrap_or_else(T::example)))
            }
        };
        match &mismatch.note {
            // There is no example of a secret.
            Some(note) if T::SECRET => hint = note.clone(),
            Some(note) => hint = format!("{note}; {hint}"),
            None => {}
        }
        reader.report(place.problem(Some(found), T::accepts(), hint));
        None
    }
}

impl<T: Scalar> Value for Vec<T> {
    fn shape() -> Shape {
        Shape::Scalar { accepts: format!("a list, each {}", T::accepts()) }
    }

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, key: Option<&Key>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(items) = value.get_ref() else {
            let name = key.map_or("", |key| key.name);
            let (found, inside) = if T::SECRET {
                (kind(value.get_ref()).to_owned(), T::example().to_owned())
            } else {
                let inside = T::parse(value.get_ref()).map(|_| show(value.get_ref()));
                (show(value.get_ref()), inside.unwrap_or_else(|_| T::example().to_owned()))
            };
            let expected = format!("a list, each {}", T::accepts());
            reader.report(place.problem(Some(found), expected, format!("write {name} = [{inside}]")));
            return None;
        };
        let mut all = Some(Vec::with_capacity(items.len()));
        for (i, item) in items.iter().enumerate() {
            let line = reader.line(item.span().start);
            match (T::read(item, &place.item(i, line), None, reader), &mut all) {
                (Some(read), Some(all)) => all.push(read),
                (None, _) => all = None,
                (Some(_), None) => {}
            }
        }
        all
    }
}

impl<T: Section> Value for Named<T> {
    fn shape() -> Shape {
        Shape::Named { docs: T::DOCS, keys: T::KEYS }
    }

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, key: Option<&Key>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            let section = key.map_or("", |key| key.name);
            let hint = format!("write a table for each, such as [{section}.NAME]");
            reader.report(place.problem(Some(kind(value.get_ref()).to_owned()), "tables, one a name", hint));
            return None;
        };
        let mut entries: Vec<(usize, Arc<str>, T, Place)> = Vec::with_capacity(table.len());
        for (name, value) in table.iter() {
            let at = name.span().start;
            let place = place.child(name.get_ref(), reader.line(at));
            reader.check_name(name.get_ref(), &place);
            let entry = read_section(value, &place, reader).unwrap_or_default();
            entries.push((at, Arc::from(name.get_ref().as_ref()), entry, place));
        }
        entries.sort_by_key(|(at, ..)| *at);
        Some(Self(entries.into_iter().map(|(_, name, entry, place)| (name, entry, place)).collect()))
    }
}

/// Reads a table with fixed keys; unknown ones are reported.
pub(crate) fn read_section<T: Section>(
    value: &Spanned<DeValue<'_>>,
    place: &Place,
    reader: &mut Reader<'_>,
) -> Option<T> {
    let DeValue::Table(table) = value.get_ref() else {
        let first = T::KEYS.first().map_or("", |key| key.name);
        let hint = format!("write a table [{}] with keys such as {first}", place.key);
        // Whatever stands in place of a user's table may be a password.
        reader.report(place.problem(Some(kind(value.get_ref()).to_owned()), "a table", hint));
        return None;
    };
    Some(read_table(table, place, reader))
}

pub(crate) fn read_table<T: Section>(table: &DeTable<'_>, place: &Place, reader: &mut Reader<'_>) -> T {
    let mut section = T::default();
    for (name, value) in table.iter() {
        let place = place.child(name.get_ref(), reader.line(name.span().start));
        match T::KEYS.iter().find(|key| key.name == name.get_ref().as_ref()) {
            Some(key) => section.set(key, value, place, reader),
            None => reader.unknown_key(name.get_ref(), &place, T::KEYS),
        }
    }
    section
}

/// Collects problems while a file is read.
pub(crate) struct Reader<'a> {
    text: &'a str,
    /// Where lines begin, but the first: a file with ten thousand tenants asks for the line of every key.
    line_starts: Vec<usize>,
    root: &'static [Key],
    pub problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// `root` is the outermost table, for hints about misplaced keys.
    pub(crate) fn new(text: &'a str, root: &'static [Key]) -> Self {
        let line_starts = memchr::memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1).collect();
        Self { text, line_starts, root, problems: Vec::new() }
    }

    pub(crate) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// What the TOML parser could not read, one problem a line of the file. Only its messages: the text itself may hold a
    /// secret.
    pub(crate) fn syntax(&self, errors: &[toml::de::Error]) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        for error in errors {
            let line = error.span().and_then(|span| self.line(span.start));
            if problems.len() < SYNTAX_PROBLEMS_MAX && problems.iter().all(|problem| problem.line != line) {
                let place = Place { key: String::new(), line };
                let hint = "see https://toml.io for the syntax; text goes between quotes";
                let said = error.message().lines().next().unwrap_or_default().to_owned();
                problems.push(place.problem(Some(said), "TOML", hint));
            }
        }
        problems
    }

    /// The line, from 1, of a byte offset.
    pub(crate) fn line(&self, offset: usize) -> Option<usize> {
        (offset <= self.text.len()).then(|| 1 + self.line_starts.partition_point(|start| *start <= offset))
    }

    fn unknown_key(&mut self, name: &str, place: &Place, keys: &'static [Key]) {
        let hint = if let Some(key) = nearest(name, keys.iter().map(|key| key.name)) {
            format!("did you mean {key}?")
        } else if let Some((_, ours)) = PGBOUNCER_NAMES.iter().find(|(theirs, _)| *theirs == name) {
            format!("PgBouncer's {name} is {ours} here")
        } else if let Some(section) = section_with(name, self.root) {
            format!("{name} belongs in [{section}]")
        } else {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            format!("the keys here are {}", names.join(", "))
        };
        self.report(place.problem(None, "a known key", hint));
    }

    fn check_name(&mut self, name: &str, place: &Place) {
        if let Err(expected) = valid_name(name) {
            self.report(place.problem(Some(quoted(name)), expected, "choose another name"));
        }
    }
}

/// After so many lines of broken syntax the rest says nothing new.
const SYNTAX_PROBLEMS_MAX: usize = 10;

/// PostgreSQL's identifiers end after 63 bytes (NAMEDATALEN - 1), and no name holds a NUL.
pub(crate) fn valid_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 63 || name.chars().any(char::is_control) {
        return Err("a name of 1 to 63 bytes without control characters");
    }
    Ok(())
}

/// The section of the file that knows a key of this name.
fn section_with(name: &str, root: &'static [Key]) -> Option<String> {
    root.iter().find_map(|section| {
        let (keys, path) = match (section.shape)() {
            Shape::Scalar { .. } => return None,
            Shape::Table { keys, .. } => (keys, section.name.to_owned()),
            Shape::Named { keys, .. } => (keys, format!("{}.NAME", section.name)),
        };
        keys.iter().any(|key| key.name == name).then_some(path)
    })
}

/// Where people who come from PgBouncer find what they know.
const PGBOUNCER_NAMES: &[(&str, &str)] = &[
    ("listen_addr", "server.listen"),
    ("listen_port", "server.listen"),
    ("max_client_conn", "server.clients_max"),
    ("client_login_timeout", "server.login_timeout"),
    ("query_wait_timeout", "server.queue_timeout"),
    ("idle_transaction_timeout", "server.idle_in_transaction_timeout"),
    ("max_packet_size", "server.message_size_max"),
    ("pool_mode", "pool.mode"),
    ("default_pool_size", "pool.size"),
    ("pool_size", "pool.size"),
    ("min_pool_size", "pool.size_min"),
    ("max_prepared_statements", "pool.prepared_max"),
    ("server_login_retry", "pool.login_retry_min"),
    ("max_db_connections", "connections_max in [databases.NAME]"),
    ("max_user_connections", "clients_max in [users.NAME]"),
    ("auth_file", "a table [users.NAME] for each user"),
    ("auth_type", "a table [users.NAME] for each user"),
    ("admin_users", "admin.admins"),
    ("stats_users", "admin.viewers"),
    ("client_tls_sslmode", "tls.mode"),
    ("client_tls_cert_file", "tls.cert"),
    ("client_tls_key_file", "tls.key"),
    ("client_tls_ca_file", "tls.client_ca"),
    ("server_tls_sslmode", "tls in the shard's primary"),
];

/// A value as the file has it, cut to a sane length.
pub(crate) fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => quoted(&number.to_string()).trim_matches('"').to_owned(),
        DeValue::Float(number) => quoted(&number.to_string()).trim_matches('"').to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => kind(value).to_owned(),
    }
}

/// The kind of a value, for places where the value itself must not show.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A value that a default can stand for. Defaults are TOML text in the source; a test reads them all.
pub(crate) trait Fallback: Sized {
    fn fallback(text: &'static str) -> Self;
}

impl<T: Scalar> Fallback for T {
    fn fallback(text: &'static str) -> Self {
        let value = DeValue::parse(text).expect("defaults are TOML");
        T::parse(value.get_ref()).expect("defaults are values of their key")
    }
}

impl<T: Scalar> Fallback for Vec<T> {
    fn fallback(text: &'static str) -> Self {
        let value = DeValue::parse(text).expect("defaults are TOML");
        let DeValue::Array(items) = value.get_ref() else { unreachable!("default {text} is not a list") };
        items.iter().map(|item| T::parse(item.get_ref()).expect("defaults are values of their key")).collect()
    }
}

/// Declares a table of the file: `key: Type = "default as TOML"`, or without a default. For a key with
/// a default there is a method of the key's name that gives the value in force.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        struct $Name:ident {
            $( $(#[doc = $key_doc:literal])* $key:ident : $Type:ty $(= $default:literal)? , )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $Name {
            $( $(#[doc = $key_doc])* pub $key: $crate::config::read::Field<$Type>, )*
        }

        impl $crate::config::read::Section for $Name {
            const DOCS: &'static [&'static str] = &[$($doc),*];
            const KEYS: &'static [$crate::config::read::Key] = &[
                $( $crate::config::read::Key {
                    name: stringify!($key),
                    docs: &[$($key_doc),*],
                    default: section!(@default $($default)?),
                    shape: <$Type as $crate::config::read::Value>::shape,
                }, )*
            ];

            fn set(
                &mut self,
                key: &$crate::config::read::Key,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                place: $crate::config::problem::Place,
                reader: &mut $crate::config::read::Reader<'_>,
            ) {
                $( if key.name == stringify!($key) {
                    self.$key = match <$Type as $crate::config::read::Value>::read(value, &place, Some(key), reader) {
                        Some(read) => $crate::config::read::Field::Found(read, place),
                        None => $crate::config::read::Field::Bad(place),
                    };
                    return;
                } )*
                unreachable!("{} is not a key of this section", key.name)
            }
        }

        impl $crate::config::read::Value for $Name {
            fn shape() -> $crate::config::read::Shape {
                $crate::config::read::Shape::Table {
                    docs: <Self as $crate::config::read::Section>::DOCS,
                    keys: <Self as $crate::config::read::Section>::KEYS,
                }
            }

            fn read(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                place: &$crate::config::problem::Place,
                _: Option<&$crate::config::read::Key>,
                reader: &mut $crate::config::read::Reader<'_>,
            ) -> Option<Self> {
                $crate::config::read::read_section(value, place, reader)
            }
        }

        impl $Name {
            $( $(
                pub(crate) fn $key(&self) -> $Type {
                    let fallback = || <$Type as $crate::config::read::Fallback>::fallback($default);
                    self.$key.value().cloned().unwrap_or_else(fallback)
                }
            )? )*
        }
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
}

pub(crate) use section;
