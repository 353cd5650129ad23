//! Session settings follow the client over backends: every way to set one, every way to lose one.
//!
//! One backend, and a second client that uses it between any two steps: what a session has set must come from the proxy.

use crate::rig::Rig;
use crate::talk::*;

/// A script run step by step; between the steps another user's session uses the only backend and must find it untouched.
struct Pair {
    alice: Talk,
    bob: Talk,
    watched: String,
    pristine: String,
    // Last, so that the connections end before the proxy does.
    _rig: Rig,
}

impl Pair {
    fn new(settings: &[&str]) -> Self {
        Self::over(Rig::new(), &[], settings)
    }

    fn over(rig: Rig, startup: &[(&str, &str)], settings: &[&str]) -> Self {
        let columns: Vec<_> =
            settings.iter().map(|name| format!("coalesce(current_setting('{name}', true), '')")).collect();
        let watched = format!("SELECT concat_ws('|', {})", columns.join(", "));
        let mut bob = rig.client("bob");
        let pristine = bob.value(&watched);
        let alice = rig.client_with("alice", startup);
        Self { alice, bob, watched, pristine, _rig: rig }
    }

    /// Runs a step, lets the other session look, and compares what this session has.
    #[track_caller]
    fn step(&mut self, sql: &str, want: &str) -> String {
        self.messages(&[query(sql)], sql, want)
    }

    #[track_caller]
    fn messages(&mut self, messages: &[Vec<u8>], name: &str, want: &str) -> String {
        let said = self.alice.ask(messages);
        if said.ends_with("Z(I)") {
            assert_eq!(self.bob.value(&self.watched), self.pristine, "another session, after {name}: {said}");
            let has = self.alice.value(&self.watched);
            // A setting that was set once in a session reads as empty when it is gone; before that it is not there.
            assert_eq!(has, want, "after {name}: {said}");
            assert_eq!(self.bob.value(&self.watched), self.pristine, "another session, after {name}");
        }
        said
    }
}

#[test]
fn set_and_reset_follow_the_session() {
    let mut pair = Pair::new(&["work_mem", "TimeZone", "search_path", "app.x"]);
    let pristine = pair.pristine.clone();
    let zone = pristine.split('|').nth(1).expect("a time zone").to_owned();
    pair.step("SET work_mem = '5MB'", &format!("5MB|{zone}|\"$user\", public|"));
    pair.step("SET SESSION work_mem TO 6144", &format!("6MB|{zone}|\"$user\", public|"));
    pair.step("set WORK_MEM = '7MB'", &format!("7MB|{zone}|\"$user\", public|"));
    pair.step("SET \"work_mem\" = '8MB'", &format!("8MB|{zone}|\"$user\", public|"));
    pair.step("SET TIME ZONE 'Asia/Tokyo'", "8MB|Asia/Tokyo|\"$user\", public|");
    pair.step("SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE", "8MB|<+02>-02|\"$user\", public|");
    pair.step("SET timezone = 'UTC'", "8MB|UTC|\"$user\", public|");
    pair.step("SET search_path = \"A b\", public, 'c'", "8MB|UTC|\"A b\", public, c|");
    pair.step("SET SCHEMA 'pg_catalog'", "8MB|UTC|pg_catalog|");
    pair.step("SET app.x = 'it''s'", "8MB|UTC|pg_catalog|it's");
    pair.step("SET app.x = ''", "8MB|UTC|pg_catalog|");
    pair.step("SET app.x TO 'a\\b', \"c\"", "8MB|UTC|pg_catalog|");
    pair.step("SET app.x = 'a\\b\"$1'", "8MB|UTC|pg_catalog|a\\b\"$1");
    pair.step("RESET work_mem", "4MB|UTC|pg_catalog|a\\b\"$1");
    pair.step("SET search_path TO DEFAULT", "4MB|UTC|\"$user\", public|a\\b\"$1");
    pair.step("SET TIME ZONE LOCAL", &format!("4MB|{zone}|\"$user\", public|a\\b\"$1"));
    pair.step("RESET app.x", &pristine);
    pair.step("SET work_mem = '9MB'; SET app.x = 'y'", &format!("9MB|{zone}|\"$user\", public|y"));
    pair.step("RESET ALL", &pristine);
    pair.step("SET work_mem = '9MB'; SET app.x = 'y'", &format!("9MB|{zone}|\"$user\", public|y"));
    pair.step("DISCARD ALL", &pristine);
}

#[test]
fn set_config_follows_however_it_is_called() {
    // A setting under a computed name pins its backend: the other session needs a second one.
    let mut pair = Pair::over(Rig::setup().pool(2).start(), &[], &["work_mem", "app.x"]);
    pair.step("SELECT set_config('work_mem', '5MB', false)", "5MB|");
    pair.step("SELECT pg_catalog.set_config('WORK_MEM', '6MB', false)", "6MB|");
    pair.step("SELECT set_config('app.x', 'y', true)", "6MB|");
    pair.step("BEGIN; SELECT set_config('app.x', 'y', true); COMMIT", "6MB|");
    pair.step("SELECT set_config('work' || '_mem', '7MB', false)", "7MB|");
    pair.step("SELECT set_config(n, v, false) FROM (VALUES ('work_mem', '8MB'), ('app.x', 'y')) s(n, v)", "8MB|y");
    pair.step("WITH s AS (SELECT set_config('app.x', 'z', false)) SELECT * FROM s", "8MB|z");
    pair.step("SELECT 1 WHERE false AND set_config('app.x', 'never', false) = ''", "8MB|z");
    pair.step("UPDATE pg_settings SET setting = '9216' WHERE name = 'work_mem'", "9MB|z");
    pair.step("DO $$ BEGIN PERFORM set_config('app.x', 'do', false); END $$", "9MB|do");
    let bound = |sql: &str, values: &[Option<&str>]| vec![run(sql, values), sync()];
    pair.messages(&bound("SELECT set_config('work_mem', $1, false)", &[Some("10MB")]), "a bound value", "10MB|do");
    pair.messages(
        &bound("SELECT set_config($1, $2, false)", &[Some("work_mem"), Some("11MB")]),
        "a bound name",
        "11MB|do",
    );
    pair.messages(
        &bound("SELECT set_config($1, $2, $3)", &[Some("Work_Mem"), Some("12MB"), Some("f")]),
        "all bound",
        "12MB|do",
    );
    pair.messages(
        &bound("SELECT set_config($1, $2, $3)", &[Some("work_mem"), Some("13MB"), Some("t")]),
        "a bound local",
        "12MB|do",
    );
    pair.messages(&bound("SELECT set_config($1, $2, false)", &[Some("app.x"), None]), "a bound NULL", "12MB|");
    let named = [parse("s", "SELECT set_config($1, $2, false)"), again("s", &[Some("app.x"), Some("1")]), sync()];
    pair.messages(&named, "a named statement", "12MB|1");
    pair.messages(&[again("s", &[Some("app.x"), Some("2")]), sync()], "a named statement again", "12MB|2");
    pair.messages(
        &[again("s", &[Some("work_mem"), Some("14MB")]), sync()],
        "a named statement, another name",
        "14MB|2",
    );
    pair.messages(&bound("SET app.x = 'extended'", &[]), "SET by the extended protocol", "14MB|extended");
    pair.step("DISCARD ALL", "4MB|");
}

#[test]
fn settings_revert_with_what_set_them() {
    let mut pair = Pair::new(&["work_mem"]);
    for (script, want) in [
        ("SET work_mem = '10MB'", "10MB"),
        ("BEGIN; SET work_mem = '11MB'; ROLLBACK", "10MB"),
        ("BEGIN; SET LOCAL work_mem = '11MB'; COMMIT", "10MB"),
        ("BEGIN; SET work_mem = '11MB'; SET LOCAL work_mem = '12MB'; COMMIT", "11MB"),
        ("BEGIN; SET LOCAL work_mem = '12MB'; SET work_mem = '13MB'; COMMIT", "13MB"),
        ("BEGIN; SET work_mem = '14MB'; SAVEPOINT a; SET work_mem = '15MB'; ROLLBACK TO a; COMMIT", "14MB"),
        ("BEGIN; SET work_mem = '14MB'; SAVEPOINT a; SET work_mem = '15MB'; RELEASE a; COMMIT", "15MB"),
        ("BEGIN; SAVEPOINT a; SET work_mem = '16MB'; RELEASE a; ROLLBACK", "15MB"),
        ("BEGIN; SAVEPOINT a; RESET work_mem; ROLLBACK TO a; COMMIT", "15MB"),
        ("BEGIN; SAVEPOINT a; RESET work_mem; RELEASE a; COMMIT", "4MB"),
        (
            "BEGIN; SET work_mem = '17MB'; SAVEPOINT a; SAVEPOINT b; SET work_mem = '18MB'; ROLLBACK TO SAVEPOINT a; SET work_mem = '19MB'; COMMIT",
            "19MB",
        ),
        // A prepared transaction leaves the settings as a committed one does.
        ("BEGIN; SET work_mem = '20MB'; PREPARE TRANSACTION 'settings'", "20MB"),
        ("ROLLBACK PREPARED 'settings'", "20MB"),
        ("SET work_mem = '19MB'", "19MB"),
        ("ROLLBACK", "19MB"),
        ("SET work_mem = '21MB'; SELECT 1/0", "19MB"),
        ("SELECT 1/0; SET work_mem = '21MB'", "19MB"),
        ("SET work_mem = 'nonsense'", "19MB"),
        ("SET no_such_setting = 1", "19MB"),
        ("SET work_mem = '21MB'; SET work_mem = 'nonsense'", "19MB"),
        ("BEGIN; SET work_mem = '22MB'; COMMIT AND CHAIN", ""),
        ("ROLLBACK", "22MB"),
        ("BEGIN; SET work_mem = '23MB'; ROLLBACK AND CHAIN", ""),
        ("COMMIT", "22MB"),
        ("BEGIN; SET work_mem = '24MB'; END", "24MB"),
        ("BEGIN; SET work_mem = '25MB'; ABORT", "24MB"),
        ("SET LOCAL work_mem = '26MB'", "24MB"),
        ("SET LOCAL work_mem = '26MB'; SELECT 1", "24MB"),
        ("BEGIN; RESET ALL; ROLLBACK", "24MB"),
        ("BEGIN; RESET ALL; COMMIT", "4MB"),
        ("CREATE TEMP TABLE on_off (i int); SET work_mem = '27MB'; DROP TABLE on_off", "27MB"),
        ("DISCARD ALL", "4MB"),
    ] {
        pair.step(script, want);
    }
}

#[test]
fn settings_follow_statement_by_statement_inside_a_transaction() {
    let mut pair = Pair::new(&["work_mem"]);
    for (sql, want) in [
        ("BEGIN", None),
        ("SET work_mem = '10MB'", None),
        ("SAVEPOINT a", None),
        ("SET work_mem = '11MB'", None),
        ("SELECT 1/0", None),
        ("SET work_mem = '12MB'", None),
        ("ROLLBACK TO a", None),
        ("COMMIT", Some("10MB")),
        ("BEGIN", None),
        ("SET work_mem = '13MB'", None),
        ("SELECT 1/0", None),
        // A COMMIT of a failed block is a ROLLBACK.
        ("COMMIT", Some("10MB")),
    ] {
        let said = pair.step(sql, want.unwrap_or(""));
        assert_eq!(want.is_some(), said.ends_with("Z(I)"), "{sql}: {said}");
    }
}

#[test]
fn settings_in_an_extended_pipeline_revert_with_its_error() {
    let mut pair = Pair::new(&["work_mem"]);
    pair.messages(&[run("SET work_mem = '10MB'", &[]), run("SELECT 1", &[]), sync()], "a pipeline", "10MB");
    pair.messages(&[run("SET work_mem = '11MB'", &[]), run("SELECT 1/0", &[]), sync()], "a failed pipeline", "10MB");
    pair.messages(&[run("SELECT 1/0", &[]), run("SET work_mem = '11MB'", &[]), sync()], "a skipped SET", "10MB");
    pair.messages(&[parse("s", "SET work_mem = '12MB'"), sync()], "a Parse alone", "10MB");
    pair.messages(&[bind("", "s", &[]), sync()], "a Bind alone", "10MB");
    pair.messages(&[again("s", &[]), sync()], "its Execute", "12MB");
    let begun = [run("BEGIN", &[]), run("SET work_mem = '13MB'", &[]), run("ROLLBACK", &[]), sync()];
    pair.messages(&begun, "a pipeline with its own transaction", "12MB");
    let begun =
        [run("BEGIN", &[]), run("SET work_mem = '13MB'", &[]), run("COMMIT", &[]), run("SELECT 1/0", &[]), sync()];
    pair.messages(&begun, "an error behind a COMMIT", "13MB");
    let two = [run("SET work_mem = '14MB'", &[]), sync(), run("SELECT 1/0", &[]), sync()];
    pair.alice.say(&two);
    assert_eq!(pair.alice.until_ready(2).matches('Z').count(), 2);
    pair.step("SELECT 1", "14MB");
}

#[test]
fn startup_keys_are_the_sessions_defaults() {
    let startup =
        [("work_mem", "5MB"), ("TimeZone", "Asia/Tokyo"), ("options", "-c app.x=start -c statement_timeout=12s")];
    let mut pair = Pair::over(Rig::new(), &startup, &["work_mem", "TimeZone", "app.x", "statement_timeout"]);
    let start = "5MB|Asia/Tokyo|start|12s";
    assert_eq!(pair.alice.parameters["TimeZone"], "Asia/Tokyo");
    pair.step("SELECT 1", start);
    pair.step("SET work_mem = '6MB'", "6MB|Asia/Tokyo|start|12s");
    pair.step("RESET work_mem", start);
    pair.step("SET TimeZone = 'UTC'; SET app.x = 'y'; SET statement_timeout = 0", "5MB|UTC|y|0");
    pair.step("RESET ALL", start);
    pair.step("SET TimeZone = 'UTC'; SET app.x = 'y'; SET statement_timeout = 0", "5MB|UTC|y|0");
    pair.step("DISCARD ALL", start);
    pair.step("SET work_mem TO DEFAULT", start);
    pair.step("BEGIN; SET LOCAL work_mem TO DEFAULT; COMMIT", start);
}

#[test]
fn startup_keys_of_real_drivers_are_taken() {
    let rig = Rig::new();
    for keys in [
        &[
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO"),
            ("TimeZone", "Europe/Berlin"),
            ("extra_float_digits", "2"),
        ][..],
        &[("client_encoding", "'utf-8'"), ("application_name", "psql")],
        &[
            ("client_encoding", "utf8"),
            ("statement_timeout", "30000"),
            ("idle_in_transaction_session_timeout", "60000"),
            ("lock_timeout", "10000"),
        ],
        &[("search_path", "app,public"), ("options", "-c default_transaction_isolation=serializable")],
        &[("geqo", "off"), ("jit", "off"), ("options", "--search_path=x"), ("bytea_output", "escape")],
        &[("_pq_.command_tag_format", "x"), ("application_name", "")],
    ] {
        let mut alice = rig.client_with("alice", keys);
        assert_eq!(alice.query("SELECT 1"), "T(?column?) D(1) C(SELECT 1) Z(I)", "{keys:?}");
        for (name, value) in keys.iter().filter(|(name, _)| {
            ["TimeZone", "search_path", "jit", "geqo", "extra_float_digits", "bytea_output"].contains(name)
        }) {
            let has = alice.value(&format!("SELECT current_setting('{name}')"));
            assert_eq!(has.replace(", ", ","), *value, "{name}");
        }
        assert_eq!(rig.client("bob").query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
    }
    // A value that the server refuses refuses the login or the first use, with the server's own code.
    for (name, value) in [("work_mem", "nonsense"), ("no_such_setting", "1"), ("TimeZone", "Mars/Olympus")] {
        let mut alice = Talk::open(rig.address());
        alice.send(&startup(&[("user", rig.user("alice")), ("database", rig.database()), (name, value)]));
        let said = match alice.authenticate("") {
            Err(said) => said,
            Ok(_) => alice.try_until_ready(),
        };
        let _ = said;
        assert_eq!(
            rig.client("bob").query("SELECT 'bob'"),
            "T(?column?) D(bob) C(SELECT 1) Z(I)",
            "after {name}={value}"
        );
    }
}

#[test]
fn parameter_status_tells_each_client_its_own_values() {
    let rig = Rig::new();
    let mut alice = rig.client_with("alice", &[("application_name", "a"), ("TimeZone", "Asia/Tokyo")]);
    let mut bob = rig.client_with("bob", &[("application_name", "b"), ("TimeZone", "UTC")]);
    for (client, name, zone) in [(&alice, "a", "Asia/Tokyo"), (&bob, "b", "UTC")] {
        assert_eq!(client.parameters["application_name"], name);
        assert_eq!(client.parameters["TimeZone"], zone);
        for key in [
            "server_version",
            "server_encoding",
            "client_encoding",
            "DateStyle",
            "IntervalStyle",
            "integer_datetimes",
            "standard_conforming_strings",
            "is_superuser",
            "session_authorization",
            "default_transaction_read_only",
            "in_hot_standby",
        ] {
            assert!(client.parameters.contains_key(key), "{key} is reported at login");
        }
    }
    for _ in 0..3 {
        // A change of backend settings for another client is none of this client's business.
        assert_eq!(alice.query("SELECT 'a'"), "T(?column?) D(a) C(SELECT 1) Z(I)");
        assert_eq!(bob.query("SELECT 'b'"), "T(?column?) D(b) C(SELECT 1) Z(I)");
    }
    assert_eq!(alice.query("SET DateStyle = 'SQL, DMY'"), "C(SET) S(DateStyle=SQL, DMY) Z(I)");
    assert_eq!(bob.query("SELECT '2026-03-04'::date"), "T(date) D(2026-03-04) C(SELECT 1) Z(I)");
    assert_eq!(alice.query("SELECT '2026-03-04'::date"), "T(date) D(04/03/2026) C(SELECT 1) Z(I)");
    assert!(alice.query("BEGIN; SET TimeZone = 'UTC'; SET application_name = 'c'").ends_with("Z(T)"));
    assert_eq!((&alice.parameters["TimeZone"][..], &alice.parameters["application_name"][..]), ("UTC", "c"));
    alice.query("ROLLBACK");
    assert_eq!(alice.parameters["TimeZone"], "Asia/Tokyo", "a rollback is reported");
    assert_eq!(alice.parameters["application_name"], "a");
    assert_eq!(bob.query("SELECT 'b'"), "T(?column?) D(b) C(SELECT 1) Z(I)");
    alice.query("DISCARD ALL");
    assert_eq!(alice.parameters["DateStyle"], "ISO, MDY", "DISCARD ALL is reported");
    assert_eq!(alice.parameters["TimeZone"], "Asia/Tokyo");
    assert_eq!(alice.value("SHOW TimeZone"), "Asia/Tokyo");
    assert_eq!(bob.value("SHOW TimeZone"), "UTC");
    assert_eq!(bob.parameters["TimeZone"], "UTC");
}

#[test]
fn a_session_that_ends_over_its_settings_leaves_none_of_them_to_the_users_next_one() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let many: String = (0..300).map(|n| format!("SET app.s{n} = 'left';")).collect();
    alice.say(&[query(&many)]);
    assert!(alice.until_closed().ends_with("E(53400)"), "more settings than a session may have");
    let mut next = rig.client("alice");
    assert_eq!(next.value("SELECT coalesce(current_setting('app.s0', true), '')"), "");
    assert_eq!(next.value("SELECT coalesce(current_setting('app.s299', true), '')"), "");
}
