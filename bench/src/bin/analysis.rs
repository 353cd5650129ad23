//! Measures what it costs to read a text of SQL: once by the grammar, from the caches, and step by step.
//!
//! `cargo run --profile tools -p pgwarden-bench --bin analysis -- [--millis N] [--only NAME]`; under `valgrind --tool=callgrind` or
//! `perf stat`, `--only` keeps other steps out of the count.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use nix::sys::resource::{UsageWho, getrusage};
use pgwarden::sql::{Analyses, Limits, SharedAnalyses, grammar, shape};

/// Measures what it costs to read a text of SQL
#[derive(Parser)]
struct Args {
    /// Length of each measurement
    #[arg(long, default_value_t = 300)]
    millis: u64,
    /// One step alone
    #[arg(long)]
    only: Option<String>,
    /// One text alone
    #[arg(long)]
    text: Option<String>,
    /// So many times instead of for a time
    #[arg(long)]
    times: Option<u64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let texts = [("51 bytes", "SELECT abalance FROM pgbench_accounts WHERE aid = 7;".to_owned()), ("1.2 KB", long())];
    println!("| text | step | µs | of it user |\n|---|---|---|---|");
    for (name, text) in &texts {
        let step = |step: &str, run: &mut dyn FnMut(u64)| -> Result<()> {
            let others = |only: &Option<String>, this: &str| only.as_deref().is_some_and(|only| only != this);
            if others(&args.only, step) || others(&args.text, name) {
                return Ok(());
            }
            let (before, start) = (user()?, Instant::now());
            let mut count = 0;
            while match args.times {
                Some(times) => count < times,
                None => start.elapsed() < Duration::from_millis(args.millis),
            } {
                for _ in 0..16 {
                    run(count);
                    count += 1;
                }
            }
            let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
            println!("| {name} | {step} | {:.3} | {:.3} |", each(start.elapsed()), each(user()? - before));
            Ok(())
        };
        let mut out = Vec::new();
        step("shape", &mut |_| {
            black_box(shape::write(black_box(text.as_bytes()), &mut out));
        })?;
        step("grammar", &mut |_| {
            black_box(grammar::read(black_box(text.as_bytes())));
        })?;
        let mut analyses = Analyses::new(Arc::new(SharedAnalyses::new(Limits::SHARED, 1)), Limits::WORKER);
        step("cached text", &mut |_| {
            black_box(analyses.read(black_box(text.as_bytes())));
        })?;
        let mut new = String::new();
        step("cached shape", &mut |count| {
            new.clear();
            new.push_str(&text.replacen('7', &count.to_string(), 1));
            black_box(analyses.read(black_box(new.as_bytes())));
        })?;
        step("never seen", &mut |count| {
            new.clear();
            new.push_str(&text.replacen("abalance", &format!("a{count}"), 1));
            black_box(analyses.read(black_box(new.as_bytes())));
        })?;
    }
    Ok(())
}

/// What an application with an object-relational mapper sends.
fn long() -> String {
    let columns: Vec<String> = (0..20).map(|number| format!("o.\"abalance\" AS \"orders_column_{number}\"")).collect();
    format!(
        "SELECT {} FROM \"public\".\"orders\" AS o LEFT JOIN \"public\".\"customers\" AS c ON c.id = o.customer_id \
         WHERE o.status IN ('open', 'paid') AND o.total > 7 AND c.email = $1 ORDER BY o.created_at DESC LIMIT 20",
        columns.join(", ")
    )
}

/// Time in user mode of this process.
fn user() -> Result<Duration> {
    let time = getrusage(UsageWho::RUSAGE_SELF)?.user_time();
    Ok(Duration::new(u64::try_from(time.tv_sec())?, u32::try_from(time.tv_usec() * 1000)?))
}
