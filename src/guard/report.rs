//! What `verify` found, as values: for people, for programs, and for the start of the proxy.

use std::fmt::Write as _;

use serde::Serialize;

/// How much one finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Pass,
    /// Something to know: shared by all tenants, or slow.
    Warning,
    /// Another tenant's rows can be seen, changed or held up.
    Hole,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// The check's name: snake_case, stable.
    pub rule: &'static str,
    /// What it was looked at on: a relation, a role, a function, the server.
    pub object: String,
    pub text: String,
    /// What mends it: SQL, or a command.
    pub fix: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub database: String,
    pub server_user: String,
    pub server_version: String,
    pub findings: Vec<Finding>,
}

/// The command that mends most holes.
pub const PROTECT: &str = "pgwarden protect --apply";

impl Report {
    pub fn holes(&self) -> impl Iterator<Item = &Finding> {
        self.of(Level::Hole)
    }

    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.of(Level::Warning)
    }

    fn of(&self, level: Level) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.level == level)
    }

    pub(super) fn add(
        &mut self,
        level: Level,
        rule: &'static str,
        object: &str,
        text: impl Into<String>,
        fix: impl Into<Option<String>>,
    ) {
        let finding = Finding { level, rule, object: object.to_owned(), text: text.into(), fix: fix.into() };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    pub(super) fn hole(&mut self, rule: &'static str, object: &str, text: impl Into<String>, fix: impl Into<String>) {
        self.add(Level::Hole, rule, object, text, Some(fix.into()));
    }

    pub(super) fn warn(&mut self, rule: &'static str, object: &str, text: impl Into<String>, fix: impl Into<String>) {
        self.add(Level::Warning, rule, object, text, Some(fix.into()));
    }

    pub(super) fn pass(&mut self, rule: &'static str, object: &str, text: impl Into<String>) {
        self.add(Level::Pass, rule, object, text, None);
    }

    /// A table for people: ticks, marks and crosses, each of the last two with what mends it.
    pub fn table(&self) -> String {
        let mut out = format!("{} as {}, PostgreSQL {}\n\n", self.database, self.server_user, self.server_version);
        let width =
            self.findings.iter().map(|finding| finding.object.chars().count()).max().unwrap_or(0).min(OBJECT_MAX);
        for finding in &self.findings {
            let mark = match finding.level {
                Level::Pass => '✓',
                Level::Warning => '!',
                Level::Hole => '✗',
            };
            let _ = writeln!(out, "{mark} {:width$}  {}", printable(&finding.object), printable(&finding.text));
            if let Some(fix) = &finding.fix {
                let _ = writeln!(out, "  {:width$}  → {}", "", printable(fix));
            }
        }
        let (holes, warnings) = (self.holes().count(), self.warnings().count());
        let count = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
        let _ = writeln!(out, "\n{}, {}", count(holes, "hole"), count(warnings, "warning"));
        out
    }
}

/// Names longer than this do not widen the table.
const OBJECT_MAX: usize = 44;

/// Names are the database's: they must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
