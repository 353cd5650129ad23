//! What reading SQL costs: `cargo run --release --example sql_cost`.
//!
//! Nanoseconds of CPU a text, the median of 15 rounds: a hit by text, a hit by shape, a shape alone, a miss; and what hostile texts of
//! 200 KB take at worst.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use pgwarden::sql::{Analyses, Limits, SharedAnalyses, grammar, shape};

fn main() {
    let account = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;";
    let long = format!(
        "SELECT {} FROM a JOIN b ON a.id = b.id WHERE a.x = 'y' AND b.z > 5 ORDER BY 1",
        "a.column_name, ".repeat(75)
    );
    let long = long.replace(",  FROM", " FROM");
    let shared = Arc::new(SharedAnalyses::new(Limits::SHARED, 1));
    let mut analyses = Analyses::new(shared, Limits::WORKER);

    // Others, so that the tables are not tiny.
    for i in 0..1_000 {
        analyses.read(format!("select column_{i} from table_{i} where id = $1").as_bytes());
    }
    for (name, text) in [("56 bytes", account), ("1.2 KB", &*long)] {
        let text = text.as_bytes();
        report(&format!("hit by text, {name}"), 20_000, |_| drop(black_box(analyses.read(black_box(text)))));
        let mut out = Vec::new();
        report(&format!("shape alone, {name}"), 20_000, |_| {
            black_box(shape::write(black_box(text), &mut out));
        });
        report(&format!("miss (parse, walk), {name}"), 500, |_| drop(black_box(grammar::read(black_box(text)))));
    }
    let texts: Vec<String> = (10_000..30_000).map(|i| account.replace("12345", &i.to_string())).collect();
    report("hit by shape, 56 bytes", texts.len(), |i| drop(black_box(analyses.read(texts[i].as_bytes()))));
    println!("{:?}", analyses.counters());

    for (name, text) in [
        ("list of constants", format!("select {} 1", "1,".repeat(100_000))),
        ("OR chain", format!("select true{}", " or x=1".repeat(28_000))),
        ("rows of VALUES", format!("values {} (1)", "(1),".repeat(50_000))),
        ("wide, 90 deep", format!("select {}{}1{}", "f(1,".repeat(90), "g(2),".repeat(33_000), ")".repeat(90))),
        ("statements", "select 1;".repeat(19_000)),
        ("set_config calls", format!("select {} 1", "set_config('a.b','c',false),".repeat(7_000))),
        ("1+1+…", format!("select 1{}", "+1".repeat(100_000))),
        ("/*/*…", "/*".repeat(100_000)),
    ] {
        let begun = cpu_time();
        let analysis = grammar::read(text.as_bytes());
        let took = cpu_time() - begun;
        println!("{:>9.1} ms  {name}: {:?}", took.as_secs_f64() * 1e3, analysis.failure.is_none());
    }
}

/// Runs `work` `count` times a round, and prints the median round's time for one.
fn report(name: &str, count: usize, mut work: impl FnMut(usize)) {
    let mut rounds: Vec<Duration> = (0..15)
        .map(|_| {
            let begun = cpu_time();
            (0..count).for_each(&mut work);
            cpu_time() - begun
        })
        .collect();
    rounds.sort();
    println!("{:>9.1} ns  {name}", rounds[7].as_nanos() as f64 / count as f64);
}

/// User and system time of the process so far.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts");
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    Duration::from_micros((micros(usage.user_time()) + micros(usage.system_time())) as u64)
}
