//! What is wrong with a configuration file, said so that the reader can put it right.
//!
//! A problem never holds a secret: whoever makes one passes `found` through [`super::value::Scalar::SECRET`] or leaves it out.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong (or, as a warning, unwise) in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// Line in the file, from 1; absent when something is missing altogether.
    pub line: Option<usize>,
    /// The key's path, such as `users.app.pool.size`; empty for the file as a whole.
    pub key: String,
    /// What is there now; absent when nothing is.
    pub found: Option<String>,
    /// What would be right.
    pub expected: String,
    /// What to write in its place.
    pub hint: String,
}

impl Problem {
    /// Several lines for a person to read.
    pub fn explain(&self) -> String {
        let mut text = self.place();
        if let Some(found) = &self.found {
            text.push_str(&format!("\n    found     {found}"));
        }
        text.push_str(&format!("\n    expected  {}\n    hint      {}", self.expected, self.hint));
        text
    }

    fn place(&self) -> String {
        let mut text = self.file.display().to_string();
        if let Some(line) = self.line {
            text.push_str(&format!(":{line}"));
        }
        if !self.key.is_empty() {
            text.push_str(&format!(": {}", self.key));
        }
        text
    }
}

/// The same on one line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place())?;
        if let Some(found) = &self.found {
            write!(f, "found {found}, ")?;
        }
        write!(f, "expected {}; {}", self.expected, self.hint)
    }
}

/// Everything that is wrong with a file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

/// One problem a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// Where a value stands: its key path and line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub key: String,
    pub line: Option<usize>,
}

impl Place {
    /// The file as a whole.
    pub(crate) fn root() -> Self {
        Self { key: String::new(), line: None }
    }

    /// A key inside this place, at a line of its own.
    pub(crate) fn child(&self, key: &str, line: Option<usize>) -> Self {
        let key = quoted_key(key);
        let key = if self.key.is_empty() { key } else { format!("{}.{key}", self.key) };
        Self { key, line }
    }

    /// An element of the array at this place.
    pub(crate) fn item(&self, index: usize, line: Option<usize>) -> Self {
        Self { key: format!("{}[{index}]", self.key), line }
    }

    /// A problem at this place; `load` fills in the file.
    pub(crate) fn problem(
        &self,
        found: Option<String>,
        expected: impl Into<String>,
        hint: impl Into<String>,
    ) -> Problem {
        Problem {
            file: PathBuf::new(),
            line: self.line,
            key: self.key.clone(),
            found,
            expected: expected.into(),
            hint: hint.into(),
        }
    }
}

/// A key as TOML would have it: bare where possible, quoted and escaped (and cut to a sane length) otherwise.
fn quoted_key(key: &str) -> String {
    if is_bare(key) && key.len() <= 63 { key.to_owned() } else { quoted(key) }
}

/// Whether TOML takes a key without quotes.
pub(crate) fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Text between quotes, with control characters escaped, cut after 60 characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    let mut shown = text.chars();
    for c in shown.by_ref().take(60) {
        out.extend(c.escape_debug());
    }
    if shown.next().is_some() {
        out.push('…');
    }
    out.push('"');
    out
}

/// `a`, `a or b`, `a, b or c`.
pub(crate) fn any_of<S: AsRef<str>>(choices: &[S]) -> String {
    match choices {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [start @ .., last] => {
            let start: Vec<&str> = start.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", start.join(", "), last.as_ref())
        }
    }
}

/// The choice that was probably meant by `typed`, if one is close.
pub(crate) fn nearest<'a>(typed: &str, choices: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_ascii_lowercase();
    if typed.len() > 64 {
        return None;
    }
    choices
        .into_iter()
        .map(|choice| (strsim::damerau_levenshtein(&typed, &choice.to_ascii_lowercase()), choice))
        .filter(|(distance, choice)| *distance <= (choice.len().max(typed.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, choice)| choice)
}
