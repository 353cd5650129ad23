//! Texts that take long to read are read beside the worker's thread: what is sent around them keeps its order, and nobody
//! else waits.

use std::time::Duration;

use crate::rig::Rig;
use crate::talk::*;

/// Always another number of items, and so another shape: a text that nobody has read before.
fn wide(items: usize) -> String {
    format!("SELECT 7 WHERE 0 IN ({})", vec!["0"; items].join(","))
}

#[test]
fn a_long_text_is_read_in_its_turn() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let answer = "T(?column?) D(7) C(SELECT 1) Z(I)";
    // Read on the spot; too long for that; too long for a shape; too long to be kept at all.
    for items in [1_000, 5_000, 12_000, 60_000] {
        alice.say(&[query("SELECT 1"), query(&wide(items)), query(&wide(items)), query("SELECT 2")]);
        let expected = format!("T(?column?) D(1) C(SELECT 1) Z(I) {answer} {answer} T(?column?) D(2) C(SELECT 1) Z(I)");
        assert_eq!(alice.until_ready(4), expected, "{items}");
        let batch = [
            parse("", "SELECT 3"),
            again("", &[]),
            parse("long", &wide(items + 1)),
            again("long", &[]),
            parse("", &wide(items + 2)),
            again("", &[]),
            close_statement("long"),
            sync(),
        ];
        let expected = "1 2 D(3) C(SELECT 1) 1 2 D(7) C(SELECT 1) 1 2 D(7) C(SELECT 1) 3 Z(I)";
        assert_eq!(alice.ask(&batch), expected, "{items}");
    }
    let wrong = format!("{} nonsense", wide(20_000));
    assert_eq!(alice.ask(&[query(&wrong)]), "E(42601) Z(I)");
    assert_eq!(alice.query("BEGIN"), "C(BEGIN) Z(T)");
    assert_eq!(alice.query(&wide(20_001)), "T(?column?) D(7) C(SELECT 1) Z(T)");
    assert_eq!(alice.query("END"), "C(COMMIT) Z(I)");
}

#[test]
fn whoever_leaves_a_long_text_behind_delays_nobody() {
    let rig = Rig::new();
    for items in 100_000..100_008 {
        let mut alice = rig.client("alice");
        alice.say(&[query(&wide(items))]);
        drop(alice);
        let mut bob = rig.client("bob");
        bob.patience = Duration::from_secs(10);
        assert_eq!(bob.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)");
    }
    // Those that nobody waits for come to their end, and the turn goes on.
    let mut carol = rig.client("alice");
    assert_eq!(carol.query(&wide(20_000)), "T(?column?) D(7) C(SELECT 1) Z(I)");
}
