//! Where lines end: `\n`, `\r` or `\r\n`, whichever the first line used; `\.`; quoted newlines of CSV.

use super::CopyError;
use crate::copy::options::{Options, Quoting};

/// Finds lines in a growing buffer. It looks at every byte once.
#[derive(Debug)]
pub(super) struct Lines {
    quoting: Option<Quoting>,
    eol: Eol,
    /// Bytes that need a closer look.
    special: [bool; 256],
    /// Inside quotes, and behind an escape there.
    quoted: bool,
    escaped: bool,
    /// At the first byte of a line.
    first: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Eol {
    Unknown,
    Newline,
    Return,
    Both,
}

/// What was found in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// More must be read. The bytes up to here were looked at.
    Nothing(usize),
    /// The line's text ends at `end`, the next line begins at `next`.
    Line { end: usize, next: usize },
    /// The data ends behind the text that ends here.
    End(usize),
}

impl Lines {
    pub(super) fn new(options: &Options) -> Self {
        let mut special = [false; 256];
        for byte in [b'\n', b'\r', b'\\'] {
            special[usize::from(byte)] = true;
        }
        if let Some(Quoting { quote, escape }) = options.quoting {
            special[usize::from(quote)] = true;
            special[usize::from(escape)] = true;
        }
        let quoting = options.quoting;
        Self { quoting, eol: Eol::Unknown, special, quoted: false, escaped: false, first: true }
    }

    /// Goes on at `at` in `buffer`. `ended`: no more will come. `line` is counted up for quoted newlines.
    pub(super) fn find(
        &mut self,
        buffer: &[u8],
        mut at: usize,
        ended: bool,
        line: &mut u64,
    ) -> Result<Found, CopyError> {
        loop {
            if let Some(skip) = buffer[at..].iter().position(|&byte| self.special[usize::from(byte)]) {
                if skip > 0 {
                    (self.first, self.escaped) = (false, false);
                }
                at += skip;
            } else {
                if at < buffer.len() {
                    (self.first, self.escaped) = (false, false);
                }
                return Ok(if ended { self.end(buffer.len()) } else { Found::Nothing(buffer.len()) });
            }
            let byte = buffer[at];
            let after = Ahead { rest: &buffer[at + 1..], ended };
            if self.needs(byte, &after) {
                return Ok(Found::Nothing(at));
            }
            if self.quoting.is_some() {
                self.note_quoting(byte, line);
            }
            match byte {
                b'\r' if !self.quoted => {
                    if let Some(length) = self.carriage_return(&after)? {
                        return Ok(self.line(at, at + length));
                    }
                }
                b'\n' if !self.quoted => {
                    self.newline()?;
                    return Ok(self.line(at, at + 1));
                }
                b'\\' if self.quoting.is_none() || self.first => {
                    if after.is_at_end() {
                        return Ok(self.end(at + 1));
                    }
                    if after.byte(0) == b'.' {
                        if self.is_marker(&after)? {
                            return Ok(self.end(at));
                        }
                    } else if self.quoting.is_none() {
                        // Whatever it is, it does not end the line.
                        at += 1;
                    }
                }
                _ => {}
            }
            self.first = false;
            at += 1;
        }
    }

    /// Too little is here to tell what this byte means.
    fn needs(&self, byte: u8, after: &Ahead<'_>) -> bool {
        match byte {
            b'\r' => after.lacks(1) && (self.quoting.is_some() || matches!(self.eol, Eol::Unknown | Eol::Both)),
            b'\\' if after.lacks(1) => true,
            b'\\' if after.byte(0) == b'.' && (self.quoting.is_none() || self.first) => {
                after.lacks(2) || (self.eol == Eol::Both && after.byte(1) == b'\r' && after.lacks(3))
            }
            _ => false,
        }
    }

    fn note_quoting(&mut self, byte: u8, line: &mut u64) {
        let Some(Quoting { quote, escape }) = self.quoting else { return };
        let is_escape = escape != quote && byte == escape;
        if self.quoted && is_escape {
            self.escaped = !self.escaped;
        }
        if byte == quote && !self.escaped {
            self.quoted = !self.quoted;
        }
        if !is_escape {
            self.escaped = false;
        }
        if self.quoted && byte == if self.eol == Eol::Newline { b'\n' } else { b'\r' } {
            *line += 1;
        }
    }

    /// The length of the line's end.
    fn carriage_return(&mut self, after: &Ahead<'_>) -> Result<Option<usize>, CopyError> {
        match self.eol {
            Eol::Unknown | Eol::Both if after.byte(0) == b'\n' => {
                self.eol = Eol::Both;
                Ok(Some(2))
            }
            Eol::Unknown => {
                self.eol = Eol::Return;
                Ok(Some(1))
            }
            Eol::Return => Ok(Some(1)),
            Eol::Both | Eol::Newline => Err(match self.quoting {
                None => CopyError::format("literal carriage return found in data")
                    .hint("Use \"\\r\" to represent carriage return."),
                Some(_) => CopyError::format("unquoted carriage return found in data")
                    .hint("Use quoted CSV field to represent carriage return."),
            }),
        }
    }

    fn newline(&mut self) -> Result<(), CopyError> {
        match self.eol {
            Eol::Unknown | Eol::Newline => {
                self.eol = Eol::Newline;
                Ok(())
            }
            Eol::Return | Eol::Both => Err(match self.quoting {
                None => CopyError::format("literal newline found in data").hint("Use \"\\n\" to represent newline."),
                Some(_) => CopyError::format("unquoted newline found in data")
                    .hint("Use quoted CSV field to represent newline."),
            }),
        }
    }

    /// Whether `\.` ends the data here. In CSV it may be a value.
    fn is_marker(&self, after: &Ahead<'_>) -> Result<bool, CopyError> {
        let mismatch = || CopyError::format("end-of-copy marker does not match previous newline style");
        let corrupt = || CopyError::format("end-of-copy marker corrupt");
        let csv = self.quoting.is_some();
        let mut next = 1;
        if self.eol == Eol::Both {
            match after.byte(next) {
                b'\r' => {}
                _ if csv => return Ok(false),
                b'\n' => return Err(mismatch()),
                _ => return Err(corrupt()),
            }
            next += 1;
        }
        let last = after.byte(next);
        if !matches!(last, b'\r' | b'\n') {
            return if csv { Ok(false) } else { Err(corrupt()) };
        }
        match self.eol {
            Eol::Newline | Eol::Both if last != b'\n' => Err(mismatch()),
            Eol::Return if last != b'\r' => Err(mismatch()),
            Eol::Unknown | Eol::Newline | Eol::Both | Eol::Return => Ok(true),
        }
    }

    fn line(&mut self, end: usize, next: usize) -> Found {
        self.reset();
        Found::Line { end, next }
    }

    fn end(&mut self, end: usize) -> Found {
        self.reset();
        Found::End(end)
    }

    fn reset(&mut self) {
        (self.first, self.quoted, self.escaped) = (true, false, false);
    }
}

/// What follows a byte.
struct Ahead<'a> {
    rest: &'a [u8],
    ended: bool,
}

impl Ahead<'_> {
    /// Fewer bytes are here, and more may come.
    fn lacks(&self, count: usize) -> bool {
        self.rest.len() < count && !self.ended
    }

    fn is_at_end(&self) -> bool {
        self.rest.is_empty() && self.ended
    }

    /// NUL behind the end.
    fn byte(&self, index: usize) -> u8 {
        self.rest.get(index).copied().unwrap_or(0)
    }
}
