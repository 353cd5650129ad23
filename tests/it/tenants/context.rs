//! The context survives what a session may do, and fails closed where it cannot.

use super::{Context, Stage, Wall};
use crate::kit::Server;
use crate::talk::*;

const WHOSE: &str = "SELECT string_agg(DISTINCT left(note, 6), ',') FROM invoices";

#[test]
fn tenants_take_turns_on_one_backend() {
    for (server, context) in Context::everywhere() {
        let stage = Stage::on(server, context, 1, Wall::Protected, |config| config);
        let (mut acme, mut globex) = (stage.client("acme"), stage.client("globex"));
        for _ in 0..3 {
            assert_eq!(acme.value(WHOSE), "of acm", "{server:?} {context:?}");
            assert_eq!(globex.value(WHOSE), "of glo", "{server:?} {context:?}");
        }
        assert_eq!(acme.value("SELECT count(*) FROM invoices WHERE tenant_id = 2"), "0");
        assert_eq!(acme.query("UPDATE invoices SET note = 'x' WHERE tenant_id = 2"), "C(UPDATE 0) Z(I)");
        let foreign = acme.query("INSERT INTO invoices VALUES (2, 100, 'of acme')");
        assert!(foreign.starts_with("E(42501)"), "{foreign}");
        assert_eq!(acme.query("INSERT INTO invoices (id, note) VALUES (100, 'of acme')"), "C(INSERT 0 1) Z(I)");
        assert_eq!(globex.value("SELECT count(*) FROM invoices"), "5");
    }
}

#[test]
fn a_session_that_discards_its_context_gets_it_back() {
    for (server, context) in Context::everywhere() {
        for mode in ["transaction", "session"] {
            let stage = Stage::on(server, context, 2, Wall::Protected, |config| config.set("pool.mode", mode));
            let mut acme = stage.client("acme");
            for sql in ["DISCARD ALL", "RESET ALL", "DISCARD SEQUENCES", "DISCARD PLANS", "DISCARD TEMP"] {
                assert_eq!(acme.value(WHOSE), "of acm", "{server:?} {context:?} {mode} before {sql}");
                let said = acme.query(sql);
                assert!(said.ends_with("Z(I)"), "{server:?} {context:?} {mode} {sql}: {said}");
                assert_eq!(acme.value(WHOSE), "of acm", "{server:?} {context:?} {mode} after {sql}: {said}");
                // The same in the extended protocol, and a statement right behind the Sync.
                let mut messages = vec![run(sql, &[]), sync()];
                messages.push(run(WHOSE, &[]));
                messages.push(sync());
                let said = acme.ask(&messages);
                assert!(said.ends_with("Z(I)"), "{server:?} {context:?} {mode} {sql}: {said}");
                let rest = acme.until_ready(1);
                assert!(rest.contains("D(of acm)"), "{server:?} {context:?} {mode} after {sql}: {rest}");
            }
        }
    }
}

#[test]
fn nothing_runs_between_a_discard_and_the_next_context() {
    for (server, context) in Context::everywhere() {
        let stage = Stage::on(server, context, 1, Wall::Protected, |config| config);
        let mut acme = stage.client("acme");
        // In one batch.
        let said = acme.ask(&[run("DISCARD ALL", &[]), run(WHOSE, &[]), sync()]);
        assert!(said.contains("E(") && !said.contains("of "), "{server:?} {context:?}: {said}");
        assert_eq!(acme.value(WHOSE), "of acm");
        // In a transaction.
        assert_eq!(acme.query("BEGIN"), "C(BEGIN) Z(T)");
        let sql = if context == Context::Sealed { "DISCARD SEQUENCES" } else { "RESET ALL" };
        let said = acme.query(sql);
        assert!(said.starts_with("E(0A000)") && said.ends_with("Z(E)"), "{server:?} {context:?}: {said}");
        assert_eq!(acme.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
        assert_eq!(acme.value(WHOSE), "of acm");
        // Among others.
        let said = acme.query(&format!("{sql}; {WHOSE}"));
        assert!(said.contains("E(") && !said.contains("of "), "{server:?} {context:?}: {said}");
        assert_eq!(acme.value(WHOSE), "of acm");
    }
}

#[test]
fn a_context_that_cannot_be_entered_runs_nothing() {
    for server in Server::BOTH {
        keys_are_gone(server);
    }
}

fn keys_are_gone(server: Server) {
    let stage = Stage::on(server, Context::Sealed, 1, Wall::Protected, |config| config);
    let mut acme = stage.client("acme");
    let mut globex = stage.client("globex");
    assert_eq!(acme.value(WHOSE), "of acm");
    stage.server.sql(&stage.database.name, "DELETE FROM pgwarden.keys");
    let said = globex.query(WHOSE);
    assert!(said.starts_with("E(28000)") && said.ends_with("Z(I)"), "{said}");
    let said = globex.ask(&[run("INSERT INTO invoices (id, note) VALUES (7, 'x')", &[]), sync()]);
    assert!(said.starts_with("E(28000)") && said.ends_with("Z(I)"), "{said}");
    assert_eq!(stage.server.sql(&stage.database.name, "SELECT count(*) FROM invoices").trim(), "8");
}
