//! `pgwarden audit cat`: records, for people or programs.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Done, Exit, fail};
use crate::audit::read::{Filter, Lines, Selection};
use crate::chain::Time;
use crate::record::quoted;

#[derive(Debug, Args)]
pub(super) struct CatArguments {
    #[command(flatten)]
    shown: super::Shown,
    /// From this moment on: RFC 3339, for example 2026-11-30T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Time>,
    /// Before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Time>,
    /// Of this tenant
    #[arg(long = "tenant", value_name = "NAME")]
    tenants: Vec<String>,
    /// Of this user
    #[arg(long = "user", value_name = "NAME")]
    users: Vec<String>,
    /// Of this kind: statement, outcome, refused, login, and so on
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// With this verdict: allow, rewrite, refuse
    #[arg(long = "verdict", value_name = "VERDICT")]
    verdicts: Vec<String>,
    /// That reads, writes or names this relation; without a schema, of any
    #[arg(long = "relation", value_name = "NAME")]
    relations: Vec<String>,
    /// With this SQLSTATE
    #[arg(long = "sqlstate", value_name = "CODE")]
    sqlstates: Vec<String>,
    /// Of this session
    #[arg(long = "session", value_name = "NUMBER")]
    sessions: Vec<u64>,
    /// Go on with what is written from here on, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// One JSON object a line, as in the log; the default where standard output is no terminal
    #[arg(long)]
    json: bool,
    /// For people; the default on a terminal
    #[arg(long, conflicts_with = "json")]
    pretty: bool,
}

/// How often a log is looked at for more.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn run(arguments: &CatArguments) -> Done {
    let filter = arguments.filter();
    let directory = match arguments.shown.open("cat", &asked(arguments)) {
        Ok(directory) => directory,
        Err(done) => return done,
    };
    let unreadable = |error: io::Error| Done(fail(Exit::Unreadable, &format!("{}: {error}", directory.display())));
    match show(arguments, &filter, Lines::of(&directory)) {
        Ok(0) => Done(Exit::Done),
        Ok(broken) => {
            Done(fail(Exit::Unreadable, &format!("{broken} lines are no records: pgwarden audit verify says more")))
        }
        // Whoever read it has seen enough.
        Err(Failure::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Done(Exit::Done),
        Err(Failure::Write(error)) => Done(fail(Exit::Failed, &format!("cannot write to standard output: {error}"))),
        Err(Failure::Read(error)) => unreadable(error),
    }
}

enum Failure {
    Read(io::Error),
    Write(io::Error),
}

/// Returns how many lines were no records.
fn show(arguments: &CatArguments, filter: &Filter, mut lines: Lines) -> Result<u64, Failure> {
    let mut selection: Selection<'_> = filter.selection();
    let is_pretty = arguments.pretty || !arguments.json && io::stdout().is_terminal();
    let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut broken = 0;
    loop {
        let Some(line) = lines.next_line().map_err(Failure::Read)? else {
            out.flush().map_err(Failure::Write)?;
            if !arguments.follow {
                return Ok(broken);
            }
            thread::sleep(PAUSE);
            continue;
        };
        let written = match selection.take(line) {
            Ok(None) => Ok(()),
            Ok(Some(record)) if is_pretty => out.write_all(pretty(&record).as_bytes()),
            Ok(Some(_)) => out.write_all(line).and_then(|()| out.write_all(b"\n")),
            Err(_) => {
                broken += 1;
                Ok(())
            }
        };
        written.map_err(Failure::Write)?;
    }
}

impl CatArguments {
    fn filter(&self) -> Filter {
        Filter {
            since: self.since,
            until: self.until,
            tenants: self.tenants.clone(),
            users: self.users.clone(),
            kinds: self.kinds.clone(),
            verdicts: self.verdicts.clone(),
            sqlstates: self.sqlstates.clone(),
            relations: self.relations.clone(),
            sessions: self.sessions.clone(),
        }
    }
}

/// What was asked for, for the record.
fn asked(arguments: &CatArguments) -> String {
    let mut out = String::new();
    let times = [("since", arguments.since), ("until", arguments.until)];
    let times = times.into_iter().filter_map(|(name, time)| Some((name, time?.to_string())));
    let lists = [
        ("tenant", &arguments.tenants),
        ("user", &arguments.users),
        ("kind", &arguments.kinds),
        ("verdict", &arguments.verdicts),
        ("relation", &arguments.relations),
        ("sqlstate", &arguments.sqlstates),
    ];
    let lists = lists.into_iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value.clone())));
    let sessions = arguments.sessions.iter().map(|session| ("session", session.to_string()));
    for (name, value) in times.chain(lists).chain(sessions) {
        let _ = write!(out, "--{name} {value} ");
    }
    if arguments.follow {
        out.push_str("--follow");
    }
    out.trim_end().to_owned()
}

/// A moment in RFC 3339, in any zone and precision.
fn moment(text: &str) -> Result<Time, String> {
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "a time such as 2026-11-30T08:00:00Z is expected".to_owned())?;
    let micros = u64::try_from(moment.unix_timestamp_nanos() / 1000).map_err(|_| "before 1970".to_owned())?;
    Ok(Time { micros })
}

/// One line: number, time, who, kind, and what it says. Nothing in it acts on a terminal: texts are escaped as in the log.
fn pretty(record: &Value) -> String {
    let text =
        |name: &str| record[name].as_str().map(|text| quoted(text).trim_matches('"').to_owned()).unwrap_or_default();
    let number = |name: &str| record[name].as_u64().map(|number| number.to_string()).unwrap_or_default();
    let who = match (text("user"), text("tenant")) {
        (user, tenant) if tenant.is_empty() => user,
        (user, tenant) => format!("{user}@{tenant}"),
    };
    let mut out = format!("{:>8} {} {:<20} {:<10}", number("seq"), text("time"), who, text("kind"));
    let Some(members) = record.as_object() else { return out };
    for (name, value) in members {
        let word = match value {
            _ if FRONT.contains(&name.as_str()) || BACK.contains(&name.as_str()) => continue,
            Value::String(text) => quoted(text),
            Value::Array(items) => format!("{} of them", items.len()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
        };
        let _ = write!(out, " {name}={word}");
    }
    if record["text"].is_string() {
        let _ = write!(out, "  {}", text("text"));
    }
    out.push('\n');
    out
}

/// Members that stand at the front of a line, and those that are left out or stand at its end.
const FRONT: [&str; 5] = ["seq", "time", "user", "tenant", "kind"];
const BACK: [&str; 8] = ["v", "mono", "text", "fingerprints", "hash", "length", "policy", "parameters"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people_does_nothing_to_a_terminal() {
        let record = serde_json::json!({
            "seq": 7, "v": 1, "kind": "statement", "time": "2026-01-01T00:00:00.000000Z", "tenant": "a", "user": "x\u{1b}[2J",
            "application": "\u{202e}evil\n", "text": "SELECT ?", "reads": ["t", "u"],
        });
        let line = pretty(&record);
        assert!(line.ends_with("  SELECT ?\n"), "{line}");
        assert!(line.contains("x\\u001b[2J@a") && line.contains("\"\\u202eevil\\n\""), "{line}");
        assert_eq!(line.chars().filter(|char| char.is_control()).count(), 1, "{line:?}");
    }

    #[test]
    fn moments_are_of_any_zone() {
        assert_eq!(moment("2026-11-30T09:00:00+01:00").expect("a time").to_string(), "2026-11-30T08:00:00.000000Z");
        assert!(moment("yesterday").is_err() && moment("1960-01-01T00:00:00Z").is_err());
    }
}
