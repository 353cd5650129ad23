//! What an analysis says of a text, held against what the text is: over a million statements, made from a grammar or by
//! mutation, none may hide a relation, a function, a setting, a type's schema or a second statement.
//!
//! Three witnesses, none of which is our walk: the generator, which knows what it wrote down (`generator`); every field of
//! the tree that `pg_query` makes, seen by reflection (`seen`); and a PostgreSQL server (`server`).
//!
//! `PGWARDEN_STATEMENTS=20000000` reads as many, `PGWARDEN_SEED` from another seed; a failure says the text.

#[path = "reading/generator.rs"]
mod generator;
#[path = "reading/mutation.rs"]
mod mutation;
#[path = "reading/seen.rs"]
mod seen;
#[path = "reading/server.rs"]
mod server;

use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use generator::{Generator, Grammar};
use mutation::mutate;
use pg_query::protobuf::ParseResult;
use pgwarden::sql::grammar::read;
use pgwarden::sql::{Analysis, Failure};
use prost::Message;

#[test]
fn no_analysis_hides_what_a_generated_text_holds() {
    let (count, grammar, tally) = (number("PGWARDEN_STATEMENTS", 350_000), Grammar::read(), Tally::default());
    in_parallel(count, |seed| {
        let generated = Generator::new(&grammar, seed).text();
        let analysis = read(generated.text.as_bytes());
        tally.count(&analysis);
        hidden(&generated.text, &analysis)?;
        if analysis.failure.is_none() { generated.hidden(&analysis).map_or(Ok(()), Err) } else { Ok(()) }
    });
    tally.assert_shares("generated", 90);
}

#[test]
fn no_analysis_hides_what_a_mutated_text_holds() {
    let (count, grammar, tally) = (number("PGWARDEN_STATEMENTS", 600_000), Grammar::read(), Tally::default());
    in_parallel(count, |seed| {
        let text = mutate(&grammar, seed);
        let analysis = read(text.as_bytes());
        tally.count(&analysis);
        hidden(&text, &analysis)
    });
    tally.assert_shares("mutated", 15);
}

/// What the tree has, seen by reflection, and the analysis does not tell. The tree is pg_query's; ours must be the same, and
/// so must the reason why there is none.
fn hidden(text: &str, analysis: &Analysis) -> Result<(), String> {
    if let Some(Failure::TooComplex | Failure::Encoding) = analysis.failure {
        return Ok(());
    }
    let ours = pgwarden_grammar::parse(&CString::new(text).expect("no NUL")).map_err(|error| error.message);
    let ours = ours.map(|tree| ParseResult::decode(&*tree).expect("a tree"));
    let trees = match (pg_query::parse(text, 0), ours) {
        (Ok(theirs), Ok(ours)) if theirs.protobuf == ours => ours,
        (Err(pg_query::Error::Parse(theirs)), Err(ours)) if theirs == ours => {
            return if analysis.failure.is_some() {
                Ok(())
            } else {
                Err(format!("{text}\nrefused by the grammar: {ours}"))
            };
        }
        (theirs, ours) => return Err(format!("{text}\n{theirs:?}\nis for us\n{ours:?}")),
    };
    if trees.stmts.len() != analysis.statements.len() {
        return Err(format!("{} statements, and {} are told", trees.stmts.len(), analysis.statements.len()));
    }
    let hidden = |(tree, statement)| seen::hidden(tree, statement).map_err(|why| format!("{text}\n{why}"));
    trees.stmts.iter().zip(&analysis.statements).try_for_each(hidden)
}

/// How texts were received.
#[derive(Default)]
struct Tally {
    read: AtomicU64,
    refused: AtomicU64,
    too_complex: AtomicU64,
    statements: AtomicU64,
}

impl Tally {
    fn count(&self, analysis: &Analysis) {
        let of = match &analysis.failure {
            None => &self.read,
            Some(Failure::Syntax { .. } | Failure::Encoding) => &self.refused,
            Some(Failure::TooComplex) => &self.too_complex,
        };
        of.fetch_add(1, Ordering::Relaxed);
        self.statements.fetch_add(analysis.statements.len() as u64, Ordering::Relaxed);
    }

    /// A test whose texts are hardly ever read says nothing.
    fn assert_shares(&self, what: &str, percent: u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (read, refused, complex) = (of(&self.read), of(&self.refused), of(&self.too_complex));
        let statements = of(&self.statements);
        println!("{what}: {read} texts read ({statements} statements), {refused} refused, {complex} too complex");
        assert!(read * 100 > (read + refused + complex) * percent, "fewer than {percent} % are read");
    }
}

/// Runs `check` for so many seeds on all processors; fails with the first texts for which it fails.
fn in_parallel(count: u64, check: impl Fn(u64) -> Result<(), String> + Sync) {
    let first = number("PGWARDEN_SEED", 1) << 32;
    let threads = thread::available_parallelism().map_or(2, |threads| threads.get() as u64);
    let failures: Vec<String> = thread::scope(|scope| {
        let check = &check;
        let run = |thread: u64| {
            let seeds = (first + thread..first + count).step_by(threads as usize);
            let failure = move |seed: u64| check(seed).err().map(|why| format!("seed {seed}: {why}"));
            scope.spawn(move || seeds.filter_map(failure).take(5).collect::<Vec<_>>())
        };
        let threads: Vec<_> = (0..threads).map(run).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}
