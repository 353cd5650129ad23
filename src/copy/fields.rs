//! From a line to its fields: escapes of the text format, quotes of CSV, NULL.

use memchr::memchr2;

use super::batch::{Batch, Column};
use super::options::{Options, Quoting};
use super::{CopyError, Field};

/// How fields are told apart.
#[derive(Debug)]
pub(super) struct Fields {
    delimiter: u8,
    null: Vec<u8>,
    quoting: Option<Quoting>,
    columns: Vec<Field>,
}

impl Fields {
    pub(super) fn new(options: &Options, columns: Vec<Field>) -> Self {
        Self { delimiter: options.delimiter, null: options.null.clone(), quoting: options.quoting, columns }
    }

    pub(super) fn columns(&self) -> &[Field] {
        &self.columns
    }

    /// The fields of a line, without the columns' own rules; NULL is `None`.
    pub(super) fn plain(&self, line: &[u8]) -> Result<Vec<Option<Vec<u8>>>, CopyError> {
        let mut fields = Vec::new();
        let mut rest = Some(line);
        while let Some(field) = rest {
            let mut column = Column::default();
            column.open();
            rest = match self.quoting {
                None => self.text_field(field, &mut column),
                Some(quoting) => self.csv_field(field, quoting, None, &mut column)?,
            };
            fields.push(column.only_value().map(<[u8]>::to_vec));
        }
        Ok(fields)
    }

    pub(super) fn null(&self) -> &[u8] {
        &self.null
    }

    /// Appends one value to every column, or says what is wrong with the line, whose number is for later.
    pub(super) fn split(&self, line: &[u8], number: u64, batch: &mut Batch) -> Result<(), CopyError> {
        let mut rest = Some(line);
        let mut index = 0;
        let mut surplus = Column::default();
        while let Some(field) = rest {
            let column = batch.column(index).unwrap_or(&mut surplus);
            column.open();
            rest = match self.quoting {
                None => self.text_field(field, column),
                Some(quoting) => self.csv_field(field, quoting, self.columns.get(index), column)?,
            };
            index += 1;
            if index > self.columns.len() && self.quoting.is_none() {
                break;
            }
        }
        if index > self.columns.len() {
            return Err(CopyError::format("extra data after last expected column"));
        }
        match self.columns.get(index) {
            Some(missing) => {
                batch.break_row(number);
                Err(CopyError::format(format!("missing data for column \"{}\"", missing.name)))
            }
            None => Ok(()),
        }
    }

    /// The first field of `rest` goes to `column`; what follows its delimiter is returned.
    fn text_field<'a>(&self, rest: &'a [u8], column: &mut Column) -> Option<&'a [u8]> {
        let mut at = 0;
        let end = loop {
            let Some(found) = memchr2(self.delimiter, b'\\', &rest[at..]) else {
                column.data().extend_from_slice(&rest[at..]);
                break rest.len();
            };
            column.data().extend_from_slice(&rest[at..at + found]);
            at += found;
            if rest[at] == self.delimiter {
                break at;
            }
            let Some(&escaped) = rest.get(at + 1) else {
                // Only at the data's end: nothing is escaped, and nothing stands for the backslash.
                break at;
            };
            at += 2;
            let byte = match escaped {
                b'0'..=b'7' => digits(rest, &mut at, escaped - b'0', 8),
                b'x' => match rest.get(at).and_then(|&byte| digit(byte, 16)) {
                    Some(value) => {
                        at += 1;
                        hex(rest, &mut at, value)
                    }
                    None => b'x',
                },
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                other => other,
            };
            column.data().push(byte);
        };
        if rest[..end] == *self.null {
            column.close_null()
        } else {
            column.close()
        }
        (end < rest.len() && rest[end] == self.delimiter).then(|| &rest[end + 1..])
    }

    fn csv_field<'a>(
        &self,
        rest: &'a [u8],
        Quoting { quote, escape }: Quoting,
        field: Option<&Field>,
        column: &mut Column,
    ) -> Result<Option<&'a [u8]>, CopyError> {
        let mut at = 0;
        let mut was_quoted = false;
        let end = loop {
            let Some(found) = memchr2(self.delimiter, quote, &rest[at..]) else {
                column.data().extend_from_slice(&rest[at..]);
                break rest.len();
            };
            column.data().extend_from_slice(&rest[at..at + found]);
            at += found;
            if rest[at] == self.delimiter {
                break at;
            }
            was_quoted = true;
            at = unquote(rest, at + 1, Quoting { quote, escape }, column.data())?;
        };
        let is_null = !was_quoted && rest[..end] == *self.null;
        match field {
            Some(field) if is_null && field.force_not_null => column.close(),
            Some(field) if !is_null && field.force_null && column.value() == self.null => column.close_null(),
            Some(_) | None if is_null => column.close_null(),
            Some(_) | None => column.close(),
        }
        Ok((end < rest.len()).then(|| &rest[end + 1..]))
    }
}

/// Copies what is between quotes; returns where the closing quote's successor is.
fn unquote(rest: &[u8], mut at: usize, quoting: Quoting, out: &mut Vec<u8>) -> Result<usize, CopyError> {
    let Quoting { quote, escape } = quoting;
    loop {
        let Some(found) = memchr2(quote, escape, &rest[at..]) else {
            return Err(CopyError::format("unterminated CSV quoted field"));
        };
        out.extend_from_slice(&rest[at..at + found]);
        at += found;
        let byte = rest[at];
        at += 1;
        match rest.get(at) {
            Some(&next) if byte == escape && (next == escape || next == quote) => {
                out.push(next);
                at += 1;
            }
            Some(_) | None if byte == quote => return Ok(at),
            Some(_) | None => out.push(byte),
        }
    }
}

fn digit(byte: u8, radix: u32) -> Option<u8> {
    char::from(byte).to_digit(radix).map(|value| value as u8)
}

/// Up to two more octal digits; only the low byte counts.
fn digits(rest: &[u8], at: &mut usize, first: u8, radix: u32) -> u8 {
    let mut value = u32::from(first);
    for _ in 0..2 {
        let Some(next) = rest.get(*at).and_then(|&byte| digit(byte, radix)) else { break };
        value = value * radix + u32::from(next);
        *at += 1;
    }
    value as u8
}

/// One more hexadecimal digit.
fn hex(rest: &[u8], at: &mut usize, first: u8) -> u8 {
    match rest.get(*at).and_then(|&byte| digit(byte, 16)) {
        Some(next) => {
            *at += 1;
            first * 16 + next
        }
        None => first,
    }
}
