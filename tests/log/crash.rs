//! Processes that are killed while they write, and machines that lose what was not synced.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use pgwarden::audit::Stream;
use pgwarden::audit::segment::{MANIFEST, checkpoints_path, records_path, segments};
use pgwarden::chain::{Checkpoint, notes};
use pgwarden::config::Durability;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::child;
use crate::seen::{Seen, see};

/// Kills in one run of a test; `PGWARDEN_TEST_KILLS` sets another number.
const KILLS: u64 = 350;

#[test]
fn what_a_killed_process_promised_in_strict_is_in_the_log() {
    kill_often(Durability::Strict, Power::Stays);
}

#[test]
fn what_a_killed_process_promised_in_group_is_in_the_log() {
    kill_often(Durability::Group, Power::Stays);
}

#[test]
fn what_was_promised_in_strict_survives_the_loss_of_everything_else() {
    kill_often(Durability::Strict, Power::Fails);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    Stays,
    /// After the kill, bytes that nothing vouches for are lost or damaged, as they may be when the machine stops too.
    Fails,
}

fn kill_often(durability: Durability, power: Power) {
    let kills = std::env::var("PGWARDEN_TEST_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let mut promised: Vec<(u64, u64)> = Vec::new();
    let mut torn = 0;
    for kill in 0..kills {
        promised.extend(one_life(&log, durability, &mut random));
        if power == Power::Fails && random.random_bool(0.8) {
            let vouched = promised.iter().map(|(seq, _)| seq + 1).max().unwrap_or(0);
            torn += u64::from(lose_power(&log, vouched, &mut random));
        }
        if kill % 70 == 69 {
            Stream::open(&child::config(log.clone(), durability)).expect("it opens").shutdown().expect("it closes");
            check(&see(&log), &promised);
        }
    }
    Stream::open(&child::config(log.clone(), durability)).expect("it opens").shutdown().expect("it closes");
    let seen = see(&log);
    check(&seen, &promised);
    let gaps = seen.count("gap") as u64;
    println!("{durability:?}: {kills} kills, {} records promised, {gaps} torn ends recorded", promised.len());
    assert!(promised.len() as u64 > kills, "the processes got to work");
    // An end that is torn before the last one was mended is torn once; a kill may tear one, too.
    if power == Power::Fails {
        assert!(torn > kills / 10 && gaps > kills / 10, "{gaps} gaps recorded of {torn} torn ends");
    }
    let kept = fs::read_dir(&log).expect("entries").filter(|entry| {
        entry.as_ref().expect("an entry").file_name().to_string_lossy().starts_with(pgwarden::audit::TORN)
    });
    assert_eq!(kept.count() as u64, gaps, "every cut end is kept");
}

/// A process's life, from its start to its kill at a random moment: what it was promised.
fn one_life(log: &Path, durability: Durability, random: &mut StdRng) -> Vec<(u64, u64)> {
    let mut process = child::start(log, durability);
    let output = process.stdout.take().expect("a pipe");
    let (give, opened) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut promised = Vec::new();
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8(line.expect("a pipe")).expect("text");
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["open"] => give.send(()).expect("a channel"),
                ["promised", seq, mark] => {
                    promised.push((seq.parse().expect("a number"), mark.parse().expect("a number")))
                }
                ["refused", ..] => panic!("{line}"),
                _ => {}
            }
        }
        promised
    });
    // Some are killed while they open the log, most a moment later.
    if random.random_bool(0.9) && opened.recv_timeout(Duration::from_secs(20)).is_err() {
        process.kill().expect("a kill");
        panic!("the log does not open: {:?}", reader.join());
    }
    std::thread::sleep(Duration::from_micros(random.random_range(0..12_000)));
    process.kill().expect("a kill");
    process.wait().expect("an end");
    reader.join().expect("lines")
}

/// Every promised record is there, at its number.
fn check(seen: &Seen, promised: &[(u64, u64)]) {
    for (seq, mark) in promised {
        let record = seen.records.get(*seq as usize);
        assert_eq!(
            record.map(|record| record["mark"].as_u64()),
            Some(Some(*mark)),
            "record {seq} of {}",
            seen.records.len()
        );
    }
}

/// Cuts the newest segment at a random place after all that a checkpoint or a promise vouches for, and may put garbage there.
/// Whether that left an end that is no record.
fn lose_power(log: &Path, promised: u64, random: &mut StdRng) -> bool {
    let Some(&first) = segments(log).expect("segments").last() else { return false };
    // A finished segment is on disk to its end.
    let manifest = fs::read_to_string(log.join(MANIFEST)).unwrap_or_default();
    if manifest.contains(&format!("{{\"first\":{first},")) {
        return false;
    }
    let path = records_path(log, first);
    let bytes = fs::read(&path).expect("records");
    let checkpoints = fs::read(checkpoints_path(log, first)).unwrap_or_default();
    let covered =
        notes(&checkpoints).0.last().map_or(first, |note| Checkpoint::from_note(note).expect("a checkpoint").0.size);
    let vouched = (promised.max(covered) - first) as usize;
    let mut ends = vec![0];
    ends.extend(bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1));
    assert!(ends.len() > vouched, "what was vouched for is there");
    let cut = random.random_range(ends[vouched]..=bytes.len());
    let file = OpenOptions::new().write(true).open(&path).expect("open");
    file.set_len(cut as u64).expect("cut");
    let mut garbage = vec![0; random.random_range(0..3) * random.random_range(0..2000)];
    if random.random_bool(0.5) {
        random.fill(garbage.as_mut_slice());
    }
    OpenOptions::new().append(true).open(&path).expect("open").write_all(&garbage).expect("write");
    !garbage.is_empty() || !ends.contains(&cut)
}
