//! The context of a standby's transactions with nothing in the way: sessions straight to the server.

use super::{Pair, Side};
use crate::guard::stand::{KEY, Session, key};
use crate::kit::Server;

const COUNT: &str = "select count(*) from invoices";
const NOBODY: &str = "!28000 no tenant in this transaction";

/// In a transaction of its own.
fn alone(session: &mut Session, sql: &str) -> String {
    session.ask("begin");
    let said = session.ask(sql);
    session.ask("rollback");
    said
}

#[test]
fn a_token_is_good_for_one_tenant_one_process_one_key_and_some_seconds() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        let mut session = pair.direct(Side::Standby, "bigint");
        let ours = key(1, KEY);
        let good = session.transaction_token(&ours, "1", 60);
        assert_eq!(alone(&mut session, &good), "1", "{server:?}");
        assert_eq!(alone(&mut session, &format!("{good}; {COUNT}")), "1;2");
        let bad = "!28000 bad tenant token";
        let other_key = session.transaction_token(&key(1, &KEY.replace('0', "1")), "1", 60);
        let other_epoch = session.transaction_token(&key(7, KEY), "1", 60);
        for token in [&other_key, &other_epoch, &good.replace("'1'", "'2'"), &good.replace("(1, '1', 1", "(1, '1', 2")]
        {
            assert_eq!(alone(&mut session, token), bad, "{token}");
        }
        let old = session.transaction_token(&ours, "1", -1);
        assert_eq!(alone(&mut session, &old), "!28000 tenant token has expired");
        let mut thief = pair.direct(Side::Standby, "bigint");
        assert_eq!(alone(&mut thief, &good), bad);
        // A token of one kind is none of the other.
        let of_session = session.token(&ours, "1", 5, 5).replace("enter(", "enter_transaction(");
        assert_eq!(alone(&mut session, &of_session), bad);
        for arguments in [
            "null, null, null, null",
            "null, '1', 9, '\\x00'",
            "1, null, 9, '\\x00'",
            "1, '1', null, '\\x00'",
            "1, '1', 9, null",
            "1, '', 9, sha256('x')",
            "1, repeat('1', 100000), 9, sha256('x')",
        ] {
            assert_eq!(
                alone(&mut session, &format!("select pgwarden.enter_transaction({arguments})")),
                bad,
                "{arguments}"
            );
        }
        // Each side has one way in.
        assert!(session.ask("select pgwarden.hello()").starts_with("!25006"));
        let mut primary = pair.direct(Side::Primary, "bigint");
        let good = primary.transaction_token(&ours, "1", 60);
        assert_eq!(alone(&mut primary, &good), bad);
    }
}

#[test]
fn a_context_ends_with_its_transaction_and_cannot_be_kept() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        let mut session = pair.direct(Side::Standby, "bigint");
        let good = session.transaction_token(&key(1, KEY), "1", 600);
        let enter = |session: &mut Session| {
            session.ask("rollback");
            session.ask("begin");
            assert_eq!(session.ask(&good), "1");
        };
        enter(&mut session);
        let kept = session.ask("select current_setting('pgwarden.sealed')");
        assert!(kept.len() > 64 && kept.ends_with("1|1"), "{kept}");
        assert_eq!(session.ask(COUNT), "2");
        assert_eq!(session.ask("release s").split(' ').next(), Some("!3B001"), "the server is what it was");
        for (ends, after) in
            [("commit", "begin"), ("rollback", "begin"), ("commit and chain", ""), ("rollback and chain", "")]
        {
            enter(&mut session);
            session.ask(ends);
            session.ask(after);
            assert_eq!(session.ask(COUNT), NOBODY, "{server:?} after {ends}");
        }
        // What a transaction has set is known to whoever is in it, and good for nothing behind it.
        for set in [
            "set pgwarden.sealed = '{}'",
            "set local pgwarden.sealed to '{}'",
            "select set_config('pgwarden.sealed', '{}', false)",
            "do $$ begin perform set_config('pgwarden.sealed', '{}', true); end $$",
            "select set_config('PGWARDEN.Sealed', '{}', true)",
        ] {
            for ends in ["commit; begin", "commit and chain", "rollback; begin isolation level repeatable read"] {
                enter(&mut session);
                let inside = session.ask("select current_setting('pgwarden.sealed')");
                for part in ends.split("; ") {
                    session.ask(part);
                }
                for value in [&inside, &kept] {
                    session.ask("savepoint s");
                    session.ask(&set.replace("{}", value));
                    assert_eq!(session.ask(COUNT), NOBODY, "{server:?} after {ends}, {set}");
                    session.ask("rollback to s");
                }
                session.ask("rollback");
                session.ask("reset pgwarden.sealed");
            }
            // In the same transaction, another tenant's name under the same digits, and other digits.
            enter(&mut session);
            let inside = session.ask("select current_setting('pgwarden.sealed')");
            let digits = &inside[..64];
            for forged in [
                format!("{digits}1|2"),
                format!("{digits}2"),
                format!("{digits}|2"),
                digits.to_owned(),
                format!("{digits}1|1|2"),
                format!("{}1|2", "0".repeat(64)),
                format!(" {inside}"),
                String::new(),
                "1".to_owned(),
            ] {
                session.ask("savepoint s");
                session.ask(&set.replace("{}", &forged));
                assert_eq!(session.ask(COUNT), NOBODY, "{server:?} {set} {forged}");
                session.ask("rollback to s");
            }
            let mut thief = pair.direct(Side::Standby, "bigint");
            thief.ask("begin");
            thief.ask(&set.replace("{}", &inside));
            assert_eq!(thief.ask(COUNT), NOBODY, "{server:?} {set}");
        }
        // Savepoints: it is gone with the one in which it was entered, and stays with one behind it.
        session.ask("rollback");
        session.ask("begin");
        session.ask("savepoint s");
        assert_eq!(session.ask(&good), "1");
        session.ask("rollback to s");
        assert_eq!(session.ask(COUNT), NOBODY);
        session.ask("rollback to s");
        assert_eq!(session.ask(&good), "1");
        session.ask("release s");
        session.ask("savepoint t");
        session.ask("select 1/0");
        session.ask("rollback to t");
        assert_eq!(session.ask(COUNT), "2");
        for forgets in
            ["reset all", "reset pgwarden.sealed", "set pgwarden.sealed to default", "set local pgwarden.sealed = ''"]
        {
            enter(&mut session);
            session.ask(forgets);
            assert_eq!(session.ask(COUNT), NOBODY, "{server:?} after {forgets}");
        }
        // The same message, so the same now(); and so the same client.
        enter(&mut session);
        assert_eq!(session.ask(&format!("commit; begin; {COUNT}")), NOBODY);
        session.ask("rollback");
    }
}

#[test]
fn a_plan_says_nothing_of_keys() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        let mut session = pair.direct(Side::Standby, "bigint");
        let good = session.transaction_token(&key(1, KEY), "1", 600);
        session.ask("set client_min_messages = log; set debug_print_plan = on; set debug_print_parse = on; set debug_print_rewritten = on");
        let inner = pgwarden::guard::seal::pads(&key(1, KEY)).0;
        let bytes: Vec<String> = inner.as_bytes()[..16].chunks(2).map(|pair| hex(pair).to_string()).collect();
        session.ask("begin");
        let mut shown = String::new();
        for sql in [&good, COUNT, "select pgwarden.tenant(), pgwarden.tenant_of_transaction()"] {
            shown.push_str(&format!("{:?}", session.wire.query(sql).notices()));
        }
        assert!(shown.contains("plan"), "plans are printed to the client: {shown}");
        assert!(!shown.contains(&inner[..16]) && !shown.contains(&bytes.join(" ")), "{server:?}: a key is in a plan");
    }
}

/// A byte as the node printer writes it.
fn hex(pair: &[u8]) -> i8 {
    let text = std::str::from_utf8(pair).expect("hexadecimal");
    u8::from_str_radix(text, 16).expect("a byte") as i8
}
