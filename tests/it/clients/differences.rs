//! The lines in which a transcript through the proxy may differ, as `tests/clients/differences.md` lists them.

use std::cell::Cell;
use std::fmt::Write;

use similar::{DiffOp, TextDiff};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Transaction,
    Session,
    /// As the owner of a tenant's database, in transaction pooling.
    Owner,
}

/// One row of the table.
#[derive(Debug)]
pub struct Entry {
    pub client: String,
    /// Absent: in all.
    mode: Option<Mode>,
    /// The line without the proxy; absent: there is none.
    direct: Option<String>,
    /// The line through the proxy; absent: there is none.
    proxied: Option<String>,
    used: Cell<bool>,
}

#[derive(Debug)]
pub struct Differences {
    pub entries: Vec<Entry>,
}

impl Differences {
    pub fn read() -> Self {
        Self::parse(include_str!("../../clients/differences.md"))
    }

    fn parse(document: &str) -> Self {
        let section = document.split("\n## ").next().unwrap_or_default();
        Self { entries: rows(section).map(|row| Entry::parse(&row)).collect() }
    }

    /// Nothing, or a report of lines that differ and may not, and of entries that no line needed.
    pub fn check(&self, client: &str, mode: Mode, direct: &str, proxied: &str) -> Result<(), String> {
        let own = |entry: &&Entry| entry.client == client && entry.mode.is_none_or(|only| only == mode);
        let entries: Vec<&Entry> = self.entries.iter().filter(own).collect();
        entries.iter().for_each(|entry| entry.used.set(false));
        let explained = |direct: Option<&str>, proxied: Option<&str>| {
            let entry = entries.iter().find(|entry| entry.explains(direct, proxied));
            entry.inspect(|entry| entry.used.set(true)).is_some()
        };
        let mut report = String::new();
        for (removed, added) in hunks(direct, proxied) {
            for row in 0..removed.len().max(added.len()) {
                let (direct, proxied) = (removed.get(row).copied(), added.get(row).copied());
                let alone = || {
                    direct.is_none_or(|line| explained(Some(line), None))
                        && proxied.is_none_or(|line| explained(None, Some(line)))
                };
                if explained(direct, proxied) || alone() {
                    continue;
                }
                for (sign, line) in [('-', direct), ('+', proxied)] {
                    if let Some(line) = line {
                        writeln!(report, "{sign} {line}").expect("a string takes all");
                    }
                }
            }
        }
        for entry in entries.iter().filter(|entry| !entry.used.get()) {
            writeln!(report, "listed as a difference, but there is none: {entry:?}").expect("a string takes all");
        }
        if report.is_empty() { Ok(()) } else { Err(report) }
    }
}

/// The cells of a section's table.
pub fn rows(section: &str) -> impl Iterator<Item = Vec<String>> {
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let row = row.trim().trim_matches('|').replace("\\|", "\0");
        row.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
    })
}

/// Removed and added lines of each place where the two differ.
fn hunks<'t>(direct: &'t str, proxied: &'t str) -> Vec<(Vec<&'t str>, Vec<&'t str>)> {
    let (old, new): (Vec<&str>, Vec<&str>) = (direct.lines().collect(), proxied.lines().collect());
    let diff = TextDiff::from_slices(&old, &new);
    let ranges = diff.ops().iter().filter(|op| !matches!(op, DiffOp::Equal { .. }));
    ranges.map(|op| (old[op.old_range()].to_vec(), new[op.new_range()].to_vec())).collect()
}

impl Entry {
    fn parse(cells: &[String]) -> Self {
        let [client, mode, direct, proxied, reason] = cells else { panic!("not five cells: {cells:?}") };
        assert!(!reason.is_empty(), "no reason: {cells:?}");
        let mode = match mode.as_str() {
            "transaction" => Some(Mode::Transaction),
            "session" => Some(Mode::Session),
            "owner" => Some(Mode::Owner),
            "all" => None,
            other => panic!("no mode {other:?}"),
        };
        let line = |cell: &str| (!cell.is_empty()).then(|| cell.trim_matches('`').to_owned());
        Self { client: client.clone(), mode, direct: line(direct), proxied: line(proxied), used: Cell::new(false) }
    }

    fn explains(&self, direct: Option<&str>, proxied: Option<&str>) -> bool {
        let same = |listed: &Option<String>, line: Option<&str>| match (listed, line) {
            (Some(listed), Some(line)) => fits(listed, line),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same(&self.direct, direct) && same(&self.proxied, proxied)
    }
}

/// `…` in a listed line stands for any text.
fn fits(listed: &str, line: &str) -> bool {
    let mut parts = listed.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.trim().strip_prefix(first.trim_start()) else { return false };
    let mut open = false;
    for part in parts {
        open = true;
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || (open && listed.ends_with('…'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "| client | mode | direct | proxied | reason |\n|---|---|---|---|---|\n\
        | psql | all | `line …: old` | `new` | r |\n| psql | session | | `more` | r |\n";

    #[test]
    fn listed_differences_pass_and_others_are_reported() {
        let differences = Differences::parse(TABLE);
        let check = |mode, proxied| differences.check("psql", mode, "a\nline 7: old\nb\n", proxied);
        assert_eq!(check(Mode::Transaction, "a\nnew\nb\n"), Ok(()));
        assert_eq!(check(Mode::Session, "a\nnew\nb\nmore\n"), Ok(()));
        assert!(check(Mode::Transaction, "a\nnew\nb\nmore\n").is_err_and(|report| report == "+ more\n"));
        assert!(check(Mode::Transaction, "a\nnew\n").is_err_and(|report| report == "- b\n"));
        assert!(
            check(Mode::Transaction, "a\nother\nb\n")
                .is_err_and(|report| report.starts_with("- line 7: old\n+ other\n"))
        );
    }

    #[test]
    fn an_entry_that_is_not_needed_is_reported() {
        let differences = Differences::parse(TABLE);
        let report = differences.check("psql", Mode::Transaction, "same\n", "same\n").expect_err("unused");
        assert!(report.contains("listed as a difference, but there is none"));
        assert_eq!(differences.check("jdbc", Mode::Transaction, "same\n", "same\n"), Ok(()));
    }
}
