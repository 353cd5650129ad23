//! The options of COPY FROM STDIN, checked in PostgreSQL's order and with its words.

use super::CopyError;
use crate::fault::SqlState;
use crate::sql::copy::{CopyFrom, OptionValue};

/// How data is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub format: Format,
    pub header: Header,
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: Vec<u8>,
    /// Only in CSV.
    pub quoting: Option<Quoting>,
    /// Names of columns whose values are never NULL.
    pub force_not_null: Vec<String>,
    /// Names of columns whose quoted values may be NULL.
    pub force_null: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Csv,
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    Absent,
    /// The first line is skipped.
    Present,
    /// The first line must hold the names of the columns.
    Match,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoting {
    pub quote: u8,
    pub escape: u8,
}

/// Options as they are collected.
#[derive(Debug, Default)]
struct Given<'a> {
    format: Option<Format>,
    header: Option<Header>,
    delimiter: Option<String>,
    null: Option<String>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: bool,
    force_not_null: Option<&'a [String]>,
    force_null: Option<&'a [String]>,
    freeze: bool,
    foreign_encoding: bool,
    seen: Vec<&'a str>,
}

impl Options {
    pub fn of(copy: &CopyFrom) -> Result<Self, CopyError> {
        let mut given = Given::default();
        for (name, value) in &copy.options {
            given.take(name, value)?;
        }
        let options = given.check()?;
        if copy.has_where {
            return Err(unsupported("COPY FROM with WHERE is not supported under row security")
                .hint("Copy into a table of its own, or leave out the rows before they are sent."));
        }
        if given.freeze {
            return Err(unsupported("COPY FREEZE is not supported under row security").hint("Leave FREEZE out."));
        }
        if given.foreign_encoding {
            return Err(unsupported("COPY FROM under row security reads UTF8 only")
                .hint("Send the data in UTF8, and leave ENCODING out."));
        }
        Ok(options)
    }
}

impl<'a> Given<'a> {
    fn take(&mut self, name: &'a str, value: &'a OptionValue) -> Result<(), CopyError> {
        let known = [
            "format",
            "freeze",
            "delimiter",
            "null",
            "header",
            "quote",
            "escape",
            "force_quote",
            "force_not_null",
            "force_null",
            "encoding",
        ];
        if ["default", "on_error", "log_verbosity", "reject_limit", "convert_selectively"].contains(&name) {
            let option = name.to_uppercase();
            return Err(unsupported(format!("the option {option} of COPY FROM is not supported under row security"))
                .hint("Leave the option out."));
        }
        if !known.contains(&name) {
            return Err(CopyError::new(SqlState::SYNTAX_ERROR, format!("option \"{name}\" not recognized")));
        }
        if self.seen.contains(&name) {
            return Err(CopyError::new(SqlState::SYNTAX_ERROR, "conflicting or redundant options"));
        }
        self.seen.push(name);
        match name {
            "format" => self.format = Some(format(&text(name, value)?)?),
            "freeze" => self.freeze = boolean(name, value)?,
            "delimiter" => self.delimiter = Some(text(name, value)?),
            "null" => self.null = Some(text(name, value)?),
            "header" => self.header = Some(header(value)?),
            "quote" => self.quote = Some(text(name, value)?),
            "escape" => self.escape = Some(text(name, value)?),
            "force_quote" => self.force_quote = true,
            "force_not_null" => self.force_not_null = Some(columns(name, value)?),
            "force_null" => self.force_null = Some(columns(name, value)?),
            _ => self.foreign_encoding = !is_utf8(&text(name, value)?),
        }
        Ok(())
    }

    fn check(&self) -> Result<Options, CopyError> {
        let format = self.format.unwrap_or(Format::Text);
        let binary = format == Format::Binary;
        let csv = format == Format::Csv;
        let syntax = |message: &str| Err(CopyError::new(SqlState::SYNTAX_ERROR, message));
        if binary && self.delimiter.is_some() {
            return syntax("cannot specify DELIMITER in BINARY mode");
        }
        if binary && self.null.is_some() {
            return syntax("cannot specify NULL in BINARY mode");
        }
        let delimiter = self.delimiter.as_deref().unwrap_or(if csv { "," } else { "\t" });
        let null = self.null.as_deref().unwrap_or(if csv { "" } else { "\\N" });
        let delimiter = single(delimiter, "COPY delimiter must be a single one-byte character")?;
        check_characters(delimiter, null, csv)?;
        let header = self.header.unwrap_or(Header::Absent);
        if binary && header != Header::Absent {
            return Err(unsupported("cannot specify HEADER in BINARY mode"));
        }
        let quoting = self.quoting(csv, delimiter)?;
        for (given, message) in [
            (self.force_quote, "COPY force quote available only in CSV mode"),
            (self.force_not_null.is_some(), "COPY force not null available only in CSV mode"),
            (self.force_null.is_some(), "COPY force null available only in CSV mode"),
        ] {
            if given && !csv {
                return Err(unsupported(message));
            }
            if given && self.force_quote {
                return Err(unsupported("COPY force quote only available using COPY TO"));
            }
        }
        if null.as_bytes().contains(&delimiter) {
            return Err(unsupported("COPY delimiter must not appear in the NULL specification"));
        }
        if quoting.is_some_and(|quoting| null.as_bytes().contains(&quoting.quote)) {
            return Err(unsupported("CSV quote character must not appear in the NULL specification"));
        }
        Ok(Options {
            format,
            header,
            delimiter,
            null: null.as_bytes().to_vec(),
            quoting,
            force_not_null: self.force_not_null.unwrap_or_default().to_vec(),
            force_null: self.force_null.unwrap_or_default().to_vec(),
        })
    }

    fn quoting(&self, csv: bool, delimiter: u8) -> Result<Option<Quoting>, CopyError> {
        if !csv && self.quote.is_some() {
            return Err(unsupported("COPY quote available only in CSV mode"));
        }
        let quote = self.quote.as_deref().unwrap_or("\"");
        let quote = single(quote, "COPY quote must be a single one-byte character")?;
        if csv && delimiter == quote {
            return Err(invalid("COPY delimiter and quote must be different"));
        }
        if !csv && self.escape.is_some() {
            return Err(unsupported("COPY escape available only in CSV mode"));
        }
        let escape = match self.escape.as_deref() {
            None => quote,
            Some(escape) => single(escape, "COPY escape must be a single one-byte character")?,
        };
        Ok(csv.then_some(Quoting { quote, escape }))
    }
}

/// What no delimiter and no NULL may hold.
fn check_characters(delimiter: u8, null: &str, csv: bool) -> Result<(), CopyError> {
    if matches!(delimiter, b'\r' | b'\n') {
        return Err(invalid("COPY delimiter cannot be newline or carriage return"));
    }
    if null.contains(['\r', '\n']) {
        return Err(invalid("COPY null representation cannot use newline or carriage return"));
    }
    let reserved = matches!(delimiter, b'\\' | b'.' | b'a'..=b'z' | b'0'..=b'9');
    if !csv && reserved {
        return Err(invalid(format!("COPY delimiter cannot be \"{}\"", char::from(delimiter))));
    }
    Ok(())
}

fn single(text: &str, otherwise: &'static str) -> Result<u8, CopyError> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(unsupported(otherwise)),
    }
}

fn unsupported(message: impl Into<String>) -> CopyError {
    CopyError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

fn invalid(message: impl Into<String>) -> CopyError {
    CopyError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn text(name: &str, value: &OptionValue) -> Result<String, CopyError> {
    match value {
        OptionValue::Text(text) => Ok(text.clone()),
        OptionValue::Integer(number) => Ok(number.to_string()),
        OptionValue::Absent | OptionValue::Names(_) | OptionValue::Other => {
            Err(CopyError::new(SqlState::SYNTAX_ERROR, format!("{name} requires a parameter")))
        }
    }
}

fn format(name: &str) -> Result<Format, CopyError> {
    match name {
        "text" => Ok(Format::Text),
        "csv" => Ok(Format::Csv),
        "binary" => Ok(Format::Binary),
        _ => Err(invalid(format!("COPY format \"{name}\" not recognized"))),
    }
}

fn switch(value: &OptionValue) -> Option<bool> {
    match value {
        OptionValue::Absent | OptionValue::Integer(1) => Some(true),
        OptionValue::Integer(0) => Some(false),
        OptionValue::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "on" => Some(true),
            "false" | "off" => Some(false),
            _ => None,
        },
        OptionValue::Integer(_) | OptionValue::Names(_) | OptionValue::Other => None,
    }
}

fn boolean(name: &str, value: &OptionValue) -> Result<bool, CopyError> {
    switch(value).ok_or_else(|| CopyError::new(SqlState::SYNTAX_ERROR, format!("{name} requires a Boolean value")))
}

fn header(value: &OptionValue) -> Result<Header, CopyError> {
    match (switch(value), value) {
        (Some(true), _) => Ok(Header::Present),
        (Some(false), _) => Ok(Header::Absent),
        (None, OptionValue::Text(text)) if text.eq_ignore_ascii_case("match") => Ok(Header::Match),
        (None, _) => Err(CopyError::new(SqlState::SYNTAX_ERROR, "header requires a Boolean value or \"match\"")),
    }
}

fn columns<'a>(name: &str, value: &'a OptionValue) -> Result<&'a [String], CopyError> {
    match value {
        OptionValue::Names(names) => Ok(names),
        OptionValue::Absent | OptionValue::Text(_) | OptionValue::Integer(_) | OptionValue::Other => {
            Err(invalid(format!("argument to option \"{name}\" must be a list of column names")))
        }
    }
}

fn is_utf8(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    ["utf8", "unicode"].iter().any(|known| letters.eq_ignore_ascii_case(known))
}
