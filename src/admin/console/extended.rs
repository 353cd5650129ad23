//! Prepared statements and portals of one console session, and what Bind asks for. Pure.
//!
//! Bounded: at most [`STATEMENTS_MAX`] statements and [`PORTALS_MAX`] portals. Portals end with their transaction.

use std::collections::HashMap;
use std::vec;

use super::command::Statement;
use super::error::ConsoleError;
use super::messages::Format;
use super::tables::{Column, Row};
use crate::wire::frame::{FrameError, split_cstr};

pub const STATEMENTS_MAX: usize = 256;
pub const PORTALS_MAX: usize = 64;

/// The names that a session has given. The empty name is the unnamed one.
#[derive(Default)]
pub struct Names {
    /// `None`: an empty text.
    statements: HashMap<String, Option<Statement>>,
    portals: HashMap<String, Portal>,
}

pub struct Portal {
    pub statement: Option<Statement>,
    pub formats: Formats,
    pub progress: Progress,
}

/// How far a portal has run.
pub enum Progress {
    Bound,
    /// Rows that Execute has not fetched yet.
    Suspended {
        columns: Vec<Column>,
        rows: vec::IntoIter<Row>,
        verb: &'static str,
    },
    Ran,
}

impl Names {
    pub fn prepare(&mut self, name: String, statement: Option<Statement>) -> Result<(), ConsoleError> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(ConsoleError::DuplicateStatement(name));
        }
        if self.statements.len() >= STATEMENTS_MAX && !self.statements.contains_key(&name) {
            return Err(ConsoleError::TooMany("prepared statements"));
        }
        self.statements.insert(name, statement);
        Ok(())
    }

    pub fn statement(&self, name: &str) -> Result<Option<&Statement>, ConsoleError> {
        let found = self.statements.get(name).ok_or_else(|| ConsoleError::NoStatement(name.to_owned()))?;
        Ok(found.as_ref())
    }

    pub fn bind(&mut self, name: String, portal: Portal) -> Result<(), ConsoleError> {
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(ConsoleError::DuplicatePortal(name));
        }
        if self.portals.len() >= PORTALS_MAX && !self.portals.contains_key(&name) {
            return Err(ConsoleError::TooMany("portals"));
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    pub fn portal(&mut self, name: &str) -> Result<&mut Portal, ConsoleError> {
        self.portals.get_mut(name).ok_or_else(|| ConsoleError::NoPortal(name.to_owned()))
    }

    pub fn close_statement(&mut self, name: &str) {
        self.statements.remove(name);
    }

    pub fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    pub fn close_statements(&mut self) {
        self.statements.clear();
    }

    pub fn close_portals(&mut self) {
        self.portals.clear();
    }
}

/// Result formats of a Bind: none (all text), one for all columns, or one for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formats(Vec<Format>);

impl Formats {
    pub fn of(&self, column: usize) -> Format {
        match self.0.as_slice() {
            [] => Format::Text,
            [one] => *one,
            many => many.get(column).copied().unwrap_or(Format::Text),
        }
    }

    /// Whether they can be applied to so many columns.
    pub fn fit(&self, columns: usize) -> bool {
        self.0.len() <= 1 || self.0.len() == columns
    }
}

/// A whole Bind message. Its values are counted, not read: console statements have no parameters.
#[derive(Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    pub parameters: u16,
    pub formats: Formats,
}

impl<'a> Bind<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, ConsoleError> {
        let malformed = || FrameError::Malformed { tag: b'B' };
        let (portal, rest) = split_cstr(body).ok_or_else(malformed)?;
        let (statement, rest) = split_cstr(rest).ok_or_else(malformed)?;
        let (count, rest) = count(rest).ok_or_else(malformed)?;
        let rest = rest.get(usize::from(count) * 2..).ok_or_else(malformed)?;
        let (parameters, mut rest) = self::count(rest).ok_or_else(malformed)?;
        for _ in 0..parameters {
            let (length, after) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
            // -1 is NULL and has no bytes.
            let length = i32::from_be_bytes(*length);
            let length = if length == -1 { 0 } else { usize::try_from(length).map_err(|_| malformed())? };
            rest = after.get(length..).ok_or_else(malformed)?;
        }
        let (count, rest) = self::count(rest).ok_or_else(malformed)?;
        let (codes, rest) = rest.split_at_checked(usize::from(count) * 2).ok_or_else(malformed)?;
        if !rest.is_empty() {
            return Err(malformed().into());
        }
        let format = |code: &[u8]| match code {
            [0, 0] => Ok(Format::Text),
            [0, 1] => Ok(Format::Binary),
            _ => Err(ConsoleError::Formats),
        };
        let formats = codes.chunks_exact(2).map(format).collect::<Result<_, _>>()?;
        Ok(Self { portal, statement, parameters, formats: Formats(formats) })
    }
}

fn count(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*count), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_cut_anywhere_is_malformed() {
        let whole = b"portal\0statement\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x02\0\x01\0\0";
        let bind = Bind::read(whole).unwrap();
        assert_eq!((bind.portal, bind.statement, bind.parameters), (&b"portal"[..], &b"statement"[..], 2));
        assert_eq!((bind.formats.of(0), bind.formats.of(1)), (Format::Binary, Format::Text));
        assert!(bind.formats.fit(2) && !bind.formats.fit(3));
        for end in 0..whole.len() {
            assert!(Bind::read(&whole[..end]).is_err(), "cut at {end}");
        }
        assert!(Bind::read(b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0").is_err(), "a negative length other than -1");
        assert_eq!(Bind::read(b"\0\0\0\0\0\0\0\x01\0\x02"), Err(ConsoleError::Formats));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let _ = Bind::read(&bytes);
        }
    }
}
