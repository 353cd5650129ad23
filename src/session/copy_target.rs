//! The table of a COPY FROM under row security: what the server says of it, and the INSERT that stands for the COPY.
//!
//! Everything is asked in the client's own transaction, and names are the server's to resolve; the INSERT then names the
//! table and its types in full.

use std::fmt::Write;

use crate::config::RowIsolation;
use crate::copy::{Batch, Field, Format, Options};
use crate::fault::SqlState;
use crate::pool::exchange::Rows;
use crate::settings::{push_identifier, push_literal};
use crate::sql::copy::CopyFrom;
use crate::tenant::{KeyType, TenantKey};

/// A table that can be copied into.
#[derive(Debug)]
pub(super) struct Table {
    /// As error messages show it.
    pub name: String,
    quoted: String,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    quoted: String,
    /// Fully qualified.
    type_name: String,
    type_oid: u32,
    array_name: Option<String>,
    delimiter: u8,
    form: Form,
    generated: bool,
    insertable: bool,
}

/// How values of a column travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As an array of text, which the server converts one by one.
    Text,
    /// As an array of the type itself: a cast from text would do something else than the type's input function.
    Typed,
    /// No array has the type as its element: one by one.
    Single,
    /// Not at all.
    None,
}

/// What a COPY writes, once everything about it is known.
#[derive(Debug)]
pub(super) struct Target {
    pub table: Table,
    /// Positions of the copied columns in the table.
    copied: Vec<usize>,
    /// Position of the tenant column among the copied ones.
    tenant: Option<usize>,
    rows: RowForm,
    binary: bool,
    pub sql: String,
}

/// How rows travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowForm {
    /// A batch is one INSERT of arrays.
    Arrays,
    /// Each row is an INSERT of its own.
    Single,
}

/// Why a table cannot be copied into.
#[derive(Debug)]
pub(super) struct NotCopied {
    pub sqlstate: SqlState,
    pub message: String,
    pub detail: Option<&'static str>,
    pub hint: Option<&'static str>,
}

impl NotCopied {
    fn new(sqlstate: SqlState, message: String) -> Self {
        Self { sqlstate, message, detail: None, hint: None }
    }
}

/// The first row of the answer: the table.
const TABLE: &str = "SELECT pg_catalog.quote_ident(n.nspname)||'.'||pg_catalog.quote_ident(c.relname),c.relname,\
c.relkind,pg_catalog.current_setting('transaction_read_only'),\
pg_catalog.current_setting('idle_in_transaction_session_timeout'),\
EXISTS(SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid \
AND r.ev_type OPERATOR(pg_catalog.=) '3'),\
EXISTS(SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT t.tgisinternal \
AND (t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 69) OPERATOR(pg_catalog.=) 69),\
pg_catalog.has_table_privilege(c.oid,'INSERT') \
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
WHERE c.oid OPERATOR(pg_catalog.=) ";

/// The rows after it: its columns. 0x7fff in an interval's modifier: all fields.
const COLUMNS: &str = "SELECT a.attname,pg_catalog.quote_ident(a.attname),\
pg_catalog.quote_ident(tn.nspname)||'.'||pg_catalog.quote_ident(t.typname),t.oid,\
pg_catalog.quote_ident(an.nspname)||'.'||pg_catalog.quote_ident(at.typname),t.typdelim,\
CASE WHEN t.oid OPERATOR(pg_catalog.=) 'pg_catalog.interval'::pg_catalog.regtype \
AND a.atttypmod OPERATOR(pg_catalog.<>) -1 \
AND ((a.atttypmod OPERATOR(pg_catalog.>>) 16) OPERATOR(pg_catalog.&) 32767) OPERATOR(pg_catalog.<>) 32767 THEN 'none' \
WHEN t.typtype OPERATOR(pg_catalog.=) 'd' OR EXISTS(SELECT FROM pg_catalog.pg_cast k \
WHERE k.castsource OPERATOR(pg_catalog.=) 'pg_catalog.text'::pg_catalog.regtype \
AND k.casttarget OPERATOR(pg_catalog.=) t.oid AND k.castmethod OPERATOR(pg_catalog.=) 'f') THEN 'typed' ELSE 'text' END,\
a.attgenerated OPERATOR(pg_catalog.<>) '',pg_catalog.has_column_privilege(a.attrelid,a.attnum,'INSERT') \
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid \
JOIN pg_catalog.pg_namespace tn ON tn.oid OPERATOR(pg_catalog.=) t.typnamespace \
LEFT JOIN pg_catalog.pg_type at ON at.oid OPERATOR(pg_catalog.=) t.typarray \
LEFT JOIN pg_catalog.pg_namespace an ON an.oid OPERATOR(pg_catalog.=) at.typnamespace \
WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND a.attrelid OPERATOR(pg_catalog.=) ";

/// The table as the client named it.
pub(super) fn name(copy: &CopyFrom) -> String {
    let mut name = String::new();
    if let Some(schema) = &copy.schema {
        push_identifier(&mut name, schema);
        name.push('.');
    }
    push_identifier(&mut name, &copy.table);
    name
}

/// The question about a COPY's table.
pub(super) fn question(copy: &CopyFrom) -> String {
    let mut class = String::new();
    push_literal(&mut class, &name(copy));
    class.push_str("::pg_catalog.regclass");
    format!("{TABLE}{class};{COLUMNS}{class} ORDER BY a.attnum")
}

/// What the server said, as far as it goes for the table as a whole. The second value: its
/// `idle_in_transaction_session_timeout`.
pub(super) fn table(rows: Rows) -> Result<(Table, String), NotCopied> {
    let unknown = || NotCopied::new(SqlState::INTERNAL_ERROR, "the server did not describe the table".to_owned());
    let mut rows = rows.into_iter();
    let row = rows.next().and_then(|row| row.into_iter().collect::<Option<Vec<_>>>()).ok_or_else(unknown)?;
    let [quoted, name, kind, read_only, timeout, rules, instead, insertable] =
        <[String; 8]>::try_from(row).map_err(|_| unknown())?;
    let refused = |what: &str| NotCopied::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot copy to {what} \"{name}\""));
    match kind.as_str() {
        "r" | "p" | "f" => {}
        "v" if instead == "t" => {}
        "v" => {
            let hint = Some("To enable copying to a view, provide an INSTEAD OF INSERT trigger.");
            return Err(NotCopied { hint, ..refused("view") });
        }
        "m" => return Err(refused("materialized view")),
        "S" => return Err(refused("sequence")),
        _ => return Err(refused("non-table relation")),
    }
    let columns = rows.map(column).collect::<Option<Vec<_>>>().ok_or_else(unknown)?;
    let table = Table { name, quoted, columns };
    if insertable != "t" && !table.columns.iter().any(|column| column.insertable) {
        return Err(table.denied());
    }
    if read_only == "on" {
        let message = "cannot execute COPY FROM in a read-only transaction".to_owned();
        return Err(NotCopied::new(SqlState::READ_ONLY_TRANSACTION, message));
    }
    if rules == "t" {
        let message = format!("COPY FROM into \"{}\", which has a rule for INSERT, is not supported", table.name);
        let hint = Some("Use INSERT.");
        return Err(NotCopied { hint, ..NotCopied::new(SqlState::FEATURE_NOT_SUPPORTED, message) });
    }
    Ok((table, timeout))
}

fn column(row: Vec<Option<String>>) -> Option<Column> {
    let [name, quoted, type_name, oid, array_name, delimiter, form, generated, insertable] =
        <[Option<String>; 9]>::try_from(row).ok()?;
    let form = match form?.as_str() {
        "text" => Form::Text,
        "typed" if array_name.is_some() => Form::Typed,
        _ => Form::None,
    };
    Some(Column {
        name: name?,
        quoted: quoted?,
        type_name: type_name?,
        type_oid: oid?.parse().ok()?,
        array_name,
        delimiter: *delimiter?.as_bytes().first()?,
        form,
        generated: generated? == "t",
        insertable: insertable? == "t",
    })
}

impl Table {
    fn denied(&self) -> NotCopied {
        NotCopied::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied for table {}", self.name))
    }

    /// Positions of the columns that the data has fields for.
    fn copied(&self, names: &[String]) -> Result<Vec<usize>, NotCopied> {
        if names.is_empty() {
            return Ok((0..self.columns.len()).filter(|&at| !self.columns[at].generated).collect());
        }
        let mut copied = Vec::with_capacity(names.len());
        for name in names {
            let Some(at) = self.columns.iter().position(|column| column.name == *name) else {
                let message = format!("column \"{name}\" of relation \"{}\" does not exist", self.name);
                return Err(NotCopied::new(SqlState::UNDEFINED_COLUMN, message));
            };
            if self.columns[at].generated {
                let detail = Some("Generated columns cannot be used in COPY.");
                let message = format!("column \"{name}\" is a generated column");
                return Err(NotCopied { detail, ..NotCopied::new(SqlState::INVALID_COLUMN_REFERENCE, message) });
            }
            if copied.contains(&at) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(NotCopied::new(SqlState::DUPLICATE_COLUMN, message));
            }
            copied.push(at);
        }
        Ok(copied)
    }
}

impl Target {
    pub(super) fn new(
        table: Table,
        copy: &CopyFrom,
        options: &Options,
        isolation: &RowIsolation,
        key: &TenantKey,
    ) -> Result<Self, NotCopied> {
        let copied = table.copied(&copy.columns)?;
        let columns = || copied.iter().map(|&at| &table.columns[at]);
        for (names, option) in [(&options.force_not_null, "FORCE_NOT_NULL"), (&options.force_null, "FORCE_NULL")] {
            table.copied(names)?;
            if let Some(name) = names.iter().find(|name| !columns().any(|column| column.name == **name)) {
                let message = format!("{option} column \"{name}\" not referenced by COPY");
                return Err(NotCopied::new(SqlState::INVALID_COLUMN_REFERENCE, message));
            }
        }
        if columns().any(|column| !column.insertable) {
            return Err(table.denied());
        }
        let unsupported = |message: String| NotCopied {
            hint: Some("Use INSERT."),
            ..NotCopied::new(SqlState::FEATURE_NOT_SUPPORTED, message)
        };
        if copied.is_empty() {
            return Err(unsupported("COPY FROM without columns is not supported under row security".to_owned()));
        }
        let binary = options.format == Format::Binary;
        let forms = || columns().map(|column| column.form_in(binary));
        if let Some(column) = columns().find(|column| column.form_in(binary) == Form::None) {
            let (name, type_name) = (&column.name, &column.type_name);
            return Err(unsupported(format!(
                "COPY FROM of column \"{name}\" of type {type_name} is not supported under row security"
            )));
        }
        let single = forms().any(|form| form == Form::Single);
        let rows = if single { RowForm::Single } else { RowForm::Arrays };
        let tenant = columns().position(|column| column.name == *isolation.column);
        let fits = |column: &Column| column.name == *isolation.column && column.insertable && !column.generated;
        let added = tenant.is_none() && table.columns.iter().any(fits);
        let added = added.then_some((&*isolation.column, key));
        let sql = insert(&table, &copied, rows, binary, added);
        Ok(Self { table, copied, tenant, rows, binary, sql })
    }

    fn columns(&self) -> impl Iterator<Item = &Column> {
        self.copied.iter().map(|&at| &self.table.columns[at])
    }

    pub(super) fn width(&self) -> usize {
        self.copied.len()
    }

    pub(super) fn is_binary(&self) -> bool {
        self.binary
    }

    pub(super) fn rows(&self) -> RowForm {
        self.rows
    }

    /// The columns as the reader needs them.
    pub(super) fn fields(&self, options: &Options) -> Vec<Field> {
        let field = |column: &Column| Field {
            name: column.name.clone(),
            force_not_null: options.force_not_null.contains(&column.name),
            force_null: options.force_null.contains(&column.name),
        };
        self.columns().map(field).collect()
    }

    pub(super) fn column_name(&self, index: usize) -> &str {
        self.copied.get(index).map_or("", |&at| &self.table.columns[at].name)
    }

    /// A parameter: an array of `count` values of a column, which are `elements`.
    pub(super) fn put_array(&self, column: usize, count: usize, nulls: bool, elements: &[u8], out: &mut Vec<u8>) {
        let Some(column) = self.columns().nth(column) else { return };
        if !self.binary && column.form == Form::Typed {
            return put_literal(column.delimiter, elements, out);
        }
        let oid = if self.binary { column.type_oid } else { TEXT_OID };
        for number in [1, u32::from(nulls), oid, count as u32, 1] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(elements);
    }

    /// Format codes of the parameters.
    pub(super) fn formats(&self) -> impl Iterator<Item = u16> {
        self.columns().map(|column| u16::from(self.binary || column.form != Form::Typed))
    }

    /// A conversion of one value of each column, without inserting it: finds the column of a value that is none of its type.
    pub(super) fn conversion(&self, index: usize) -> Option<String> {
        let column = self.columns().nth(index)?;
        let value = column.value("v", self.binary);
        let array = column.array(1, self.binary);
        (self.rows == RowForm::Arrays).then(|| format!("SELECT {value} FROM (SELECT pg_catalog.unnest({array})) r(v)"))
    }

    /// The first row whose tenant is another one.
    pub(super) fn foreign_row(&self, batch: &Batch, key: &TenantKey) -> Option<usize> {
        let at = self.tenant?;
        let type_oid = self.columns().nth(at).map_or(0, |column| column.type_oid);
        let own = |value: &[u8]| {
            if self.binary { is_key_binary(value, type_oid, key) } else { may_be_key(value, key) }
        };
        let own = |value: Option<&[u8]>| value.is_some_and(own);
        batch.elements(at).position(|element| !own(element.value))
    }
}

impl Column {
    fn form_in(&self, binary: bool) -> Form {
        match (binary, &self.array_name) {
            (false, _) => self.form,
            (true, Some(_)) => Form::Typed,
            (true, None) => Form::Single,
        }
    }

    /// The array that parameter `number` is.
    fn array(&self, number: usize, binary: bool) -> String {
        match (self.form_in(binary), &self.array_name) {
            (Form::Typed, Some(array)) => format!("${number}::{array}"),
            (Form::Text | Form::Typed | Form::Single | Form::None, _) => format!("${number}::pg_catalog.text[]"),
        }
    }

    /// A value, from an element of its array.
    fn value(&self, element: &str, binary: bool) -> String {
        match self.form_in(binary) {
            Form::Text => format!("CAST({element} AS {})", self.type_name),
            Form::Typed | Form::Single | Form::None => element.to_owned(),
        }
    }
}

/// `added`: the tenant column, which the data has no field for.
fn insert(table: &Table, copied: &[usize], rows: RowForm, binary: bool, added: Option<(&str, &TenantKey)>) -> String {
    let mut names: Vec<String> = copied.iter().map(|&at| table.columns[at].quoted.clone()).collect();
    let columns = || copied.iter().map(|&at| &table.columns[at]).zip(1..);
    let mut values: Vec<String> = match rows {
        // The casts are in a level of their own: so each value is converted whole before the next one is.
        RowForm::Arrays => columns().map(|(column, number)| column.value(&format!("r.c{number}"), binary)).collect(),
        RowForm::Single => columns().map(|(column, number)| format!("${number}::{}", column.type_name)).collect(),
    };
    if let Some((column, key)) = added {
        let mut name = String::new();
        push_identifier(&mut name, column);
        names.push(name);
        values.push(key.literal());
    }
    let mut sql = String::new();
    let (names, values) = (names.join(","), values.join(","));
    let _ = write!(sql, "INSERT INTO {} ({names}) OVERRIDING SYSTEM VALUE SELECT {values}", table.quoted);
    if rows == RowForm::Arrays {
        let unnest = |(column, number): (&Column, usize)| {
            format!("pg_catalog.unnest({}) AS c{number}", column.array(number, binary))
        };
        let _ = write!(sql, " FROM (SELECT {}) r", columns().map(unnest).collect::<Vec<_>>().join(","));
    }
    sql
}

/// An array as text, each value in quotes.
fn put_literal(delimiter: u8, elements: &[u8], out: &mut Vec<u8>) {
    out.push(b'{');
    let mut at = 0;
    while let Some(length) = elements.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        if at > 0 {
            out.push(delimiter);
        }
        at += 4;
        match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => out.extend_from_slice(b"NULL"),
            Ok(length) => {
                out.push(b'"');
                for &byte in elements.get(at..at + length).unwrap_or_default() {
                    if matches!(byte, b'"' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(byte);
                }
                out.push(b'"');
                at += length;
            }
        }
    }
    out.push(b'}');
}

/// Type oids, of `pg_type.dat`.
const INT8_OID: u32 = 20;
const INT2_OID: u32 = 21;
const INT4_OID: u32 = 23;
const TEXT_OID: u32 = 25;
const UUID_OID: u32 = 2950;

/// `text`, `bpchar`, `varchar`.
const TEXT_OIDS: [u32; 3] = [TEXT_OID, 1042, 1043];

/// A value in binary that is the tenant's own key. What another type would make of its bytes is not known.
fn is_key_binary(value: &[u8], type_oid: u32, key: &TenantKey) -> bool {
    let number = match (type_oid, value.len()) {
        (INT2_OID, 2) => value.first_chunk().map(|bytes| i64::from(i16::from_be_bytes(*bytes))),
        (INT4_OID, 4) => value.first_chunk().map(|bytes| i64::from(i32::from_be_bytes(*bytes))),
        (INT8_OID, 8) => value.first_chunk().map(|bytes| i64::from_be_bytes(*bytes)),
        _ => None,
    };
    match key.kind() {
        KeyType::Int | KeyType::Bigint => number.is_some_and(|number| number.to_string() == key.as_str()),
        KeyType::Uuid => {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            type_oid == UUID_OID && hex == key.as_str().replace('-', "")
        }
        KeyType::Text => TEXT_OIDS.contains(&type_oid) && value == key.as_str().as_bytes(),
    }
}

/// A value in text that is the tenant's own key, or that no server reads as a key.
fn may_be_key(value: &[u8], key: &TenantKey) -> bool {
    match key.kind() {
        KeyType::Int | KeyType::Bigint => {
            let text = value.trim_ascii();
            let digits = text.strip_prefix(b"+").unwrap_or(text);
            let number = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            if let Some(number) = number.filter(|number| !number.is_empty()) {
                return number.trim_start_matches('0') == key.as_str();
            }
            // A number of any notation has a digit; what has none the server refuses.
            !value.iter().any(u8::is_ascii_digit)
        }
        KeyType::Uuid => {
            let hex = |bytes: &[u8]| -> Vec<u8> {
                bytes.iter().filter(|byte| byte.is_ascii_hexdigit()).map(u8::to_ascii_lowercase).collect()
            };
            let found = hex(value);
            found.len() != 32 || found == hex(key.as_str().as_bytes())
        }
        KeyType::Text => value == key.as_str().as_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: KeyType, text: &str) -> TenantKey {
        TenantKey::parse(kind, text).expect("a key")
    }

    #[test]
    fn only_the_own_key_or_no_key_at_all_may_be_sent() {
        let one = key(KeyType::Bigint, "1");
        for own in ["1", " 1 ", "+1", "001", "\t1\n", "x", ""] {
            assert!(may_be_key(own.as_bytes(), &one), "{own:?}");
        }
        for foreign in ["2", " 2", "+2", "0x2", "1_0", "0b10", "-2", "10", "0o2", "\u{b}2", "+ 2", ".2e1", "2.0", "$2"]
        {
            assert!(!may_be_key(foreign.as_bytes(), &one), "{foreign:?}");
        }
        let id = key(KeyType::Uuid, "6f1c1f0e-2f5b-4c8e-9d59-8f1f0e2f5b4c");
        for own in ["{6F1C1F0E-2F5B-4C8E-9D59-8F1F0E2F5B4C}", "6f1c1f0e2f5b4c8e9d598f1f0e2f5b4c", "6f"] {
            assert!(may_be_key(own.as_bytes(), &id), "{own}");
        }
        assert!(!may_be_key(b"7f1c1f0e2f5b4c8e9d598f1f0e2f5b4c", &id));
        let name = key(KeyType::Text, "acme");
        assert!(may_be_key(b"acme", &name) && !may_be_key(b"acme ", &name));
        assert!(is_key_binary(&[0, 0, 0, 1], INT4_OID, &one) && is_key_binary(&1i64.to_be_bytes(), INT8_OID, &one));
        assert!(!is_key_binary(&[0, 0, 0, 2], INT4_OID, &one) && !is_key_binary(&[], INT4_OID, &one));
        // These bytes are the number 12594, and the text "12".
        let other = key(KeyType::Bigint, "12594");
        assert!(is_key_binary(b"12", INT2_OID, &other) && !is_key_binary(b"12", TEXT_OID, &other));
    }

    #[test]
    fn a_typed_array_is_quoted_with_its_own_delimiter() {
        let mut out = Vec::new();
        put_literal(b';', b"\0\0\0\x03a\"\\\xff\xff\xff\xff\0\0\0\0", &mut out);
        assert_eq!(out, br#"{"a\"\\";NULL;""}"#);
    }
}
