//! The proxy, killed again and again: what a client saw done is in the log, and the log goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Book, close, files};
use crate::kit::scripted::answer;
use crate::kit::{self, Config, Proxy, ScriptedServer};
use crate::talk::*;

/// Kills, over all lanes; `PGWARDEN_CRASHES` sets another number.
const KILLS: u64 = 1200;

/// Logs that are written and killed at the same time.
const LANES: u64 = 2;

/// Before a server that answers at once: the proxy's life is short, and the kill meets it at work.
#[test]
fn what_a_client_saw_done_is_in_the_log_of_a_proxy_killed_a_thousand_times() {
    let kills = std::env::var("PGWARDEN_CRASHES").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let server = ScriptedServer::start(|session| {
        session.login()?;
        session.serve(|_| answer::one_value("1"))
    });
    let address = server.address();
    thread::scope(|scope| {
        for lane in 0..LANES {
            let config = Config::new(address)
                .database("shop")
                .set("users.alice.danger_trust", true)
                .set("users.alice.server_user", "app")
                .set("users.alice.server_password", "secret");
            let config = move |book: &Book| book.config(config.clone(), "durability = \"strict\"");
            scope.spawn(move || kill_often(kills / LANES, StdRng::seed_from_u64(seed.wrapping_add(lane)), config));
        }
    });
}

fn kill_often(kills: u64, mut random: StdRng, config: impl Fn(&Book) -> Config) {
    let book = Book::new();
    let seen = Mutex::new(Vec::new());
    let numbers = AtomicU64::new(1_000_000);
    let mut torn = 0;
    for _ in 0..kills {
        // Some are killed before anybody is served, most a moment later.
        let at_work = random.random_bool(0.8);
        one_life(config(&book), &numbers, &seen, at_work, Duration::from_micros(random.random_range(0..8_000)));
        // A machine that stops leaves less of the last line than a process that does.
        if random.random_bool(0.2) {
            let newest = files(&book.log(), "log").pop().expect("a segment");
            let mut file = OpenOptions::new().append(true).open(newest).expect("open it");
            file.write_all(b"{\"seq\":1,\"v\":1,\"kind\":\"outc").expect("tear it");
            torn += 1;
        }
    }
    let proxy = Proxy::start(config(&book));
    // Signals are waited for from here on.
    proxy.await_log(0, "ready");
    let records = close(&proxy, &book);
    let seen = seen.into_inner().expect("no panic under the lock");
    assert!(seen.len() as u64 > kills / 2, "{} statements", seen.len());
    let recorded: BTreeMap<&str, u64> = records
        .iter()
        .filter(|record| record["kind"] == "statement")
        .map(|record| (record["text"].as_str().expect("a text"), record["seq"].as_u64().expect("a number")))
        .collect();
    let outcomes = super::outcomes(&records);
    for number in &seen {
        let seq = recorded.get(&*format!("SELECT ? AS c{number}"));
        let seq = seq.unwrap_or_else(|| panic!("statement {number} was seen done, and has no record"));
        let outcome = outcomes.get(seq);
        let outcome = outcome.unwrap_or_else(|| panic!("statement {number} was seen done, and has no outcome"));
        assert_eq!(outcome["outcome"], "completed", "{outcome}");
    }
    let gaps: BTreeSet<&str> = records
        .iter()
        .filter(|record| record["reason"] == "torn")
        .filter_map(|record| record["file"].as_str())
        .collect();
    let kept = fs::read_dir(book.log()).expect("entries").map(|entry| entry.expect("an entry").file_name());
    let kept: BTreeSet<String> = kept
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with(pgwarden::audit::TORN))
        .collect();
    assert!(gaps.iter().copied().eq(kept.iter().map(String::as_str)), "{gaps:?} {kept:?}");
    assert!(gaps.len() >= torn, "{} of {torn} torn ends are on record", gaps.len());
    println!("{kills} kills: {} statements seen done, {} records, {} torn ends", seen.len(), records.len(), gaps.len());
}

/// A proxy's life, from its start to its kill so long after its clients are there, or after one of them was served; what they
/// see done.
fn one_life(config: Config, numbers: &AtomicU64, seen: &Mutex<Vec<u64>>, at_work: bool, time: Duration) {
    let served = || seen.lock().expect("no panic under the lock").len();
    let before = served();
    let proxy = Arc::new(Proxy::start(config));
    thread::scope(|scope| {
        for _ in 0..3 {
            let address = proxy.address();
            scope.spawn(move || {
                let Ok(mut client) = Talk::try_open(address) else { return };
                if client.try_send(&startup(&[("user", "alice"), ("database", "shop")])).is_err()
                    || client.authenticate("").is_err()
                {
                    return;
                }
                loop {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    // The name is in the record, as no literal would be.
                    if client.try_send(&query(&format!("SELECT 1 AS c{number}"))).is_err()
                        || !client.try_until_ready().ends_with("Z(I)")
                    {
                        return;
                    }
                    seen.lock().expect("no panic under the lock").push(number);
                }
            });
        }
        if at_work {
            kit::eventually("a client is served", || served() > before);
        }
        thread::sleep(time);
        proxy.signal(Signal::SIGKILL);
    });
}
