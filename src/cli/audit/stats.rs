//! `pgwarden audit stats`: what is in a log, counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;

use super::{Done, Exit, fail, print};
use crate::audit::read::{Counts, Stats};

#[derive(Debug, Args)]
pub(super) struct StatsArguments {
    #[command(flatten)]
    shown: super::Shown,
    /// Print them as JSON, and all of them
    #[arg(long)]
    json: bool,
}

/// Lines of a table whose names clients choose.
const TOP: usize = 20;

pub(super) fn run(arguments: &StatsArguments) -> Done {
    let directory = match arguments.shown.open("stats", "") {
        Ok(directory) => directory,
        Err(done) => return done,
    };
    let stats = match Stats::read(&directory) {
        Ok(stats) => stats,
        Err(error) => return Done(fail(Exit::Unreadable, &format!("{}: {error}", directory.display()))),
    };
    let text = if arguments.json {
        serde_json::to_string_pretty(&stats).map_or_else(|error| error.to_string(), |text| text + "\n")
    } else {
        told(&stats)
    };
    Done(print(text.as_bytes()))
}

fn told(stats: &Stats) -> String {
    let mut out = format!("records     {}\n", stats.records);
    if stats.broken > 0 {
        let _ = writeln!(out, "no records  {} (pgwarden audit verify says more)", stats.broken);
    }
    let time = |time: &Option<String>| crate::record::quoted(time.as_deref().unwrap_or("never"));
    let _ = writeln!(out, "from        {}\nto          {}", time(&stats.earliest), time(&stats.latest));
    all(&mut out, "kinds", &stats.kinds);
    all(&mut out, "verdicts", &stats.verdicts);
    top(&mut out, "tenants", &stats.tenants);
    top(&mut out, "SQLSTATEs", &stats.sqlstates);
    top(&mut out, "fingerprints", &stats.fingerprints);
    let _ = writeln!(out, "\nsegments");
    for segment in &stats.segments {
        let _ = writeln!(out, "  {:<24} {:>12} records {:>12} bytes", segment.first, segment.records, segment.bytes);
    }
    out
}

fn all(out: &mut String, title: &str, counts: &BTreeMap<String, u64>) {
    let _ = writeln!(out, "\n{title}");
    for (name, count) in counts {
        let _ = writeln!(out, "  {:<24} {count:>12}", crate::record::quoted(name).trim_matches('"'));
    }
}

fn top(out: &mut String, title: &str, counts: &Counts) {
    let _ = writeln!(out, "\n{title}");
    for (name, count) in counts.top(TOP) {
        let _ = writeln!(out, "  {:<24} {count:>12}", crate::record::quoted(name).trim_matches('"'));
    }
    let more = counts.by_name.len().saturating_sub(TOP);
    if more > 0 || counts.others > 0 {
        let _ = writeln!(out, "  and {more} more, of which --json has all");
    }
}
