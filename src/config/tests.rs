//! The file as people write it, and what they are told about it.

mod audit;
mod files;
mod relations;
mod tenancy;
mod values;

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::read::{Key, Shape};
use super::*;

/// A file with nothing to remark but what a test adds. Users have verifiers; the password behind it is "pencil".
const GOOD: &str = r#"
[server]
[admin]
[pool]
[shards.main]
primary = { host = "127.0.0.1" }
[databases.billing]
[users.app]
verifier = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
server_password = "pencil"
"#;

fn environment(name: &str) -> Option<String> {
    match name {
        "APP_PASSWORD" => Some("from the environment".to_owned()),
        "APP_VERIFIER" => Some(verifier("4096")),
        _ => None,
    }
}

fn verifier(iterations: &str) -> String {
    let line = GOOD.lines().find_map(|line| line.strip_prefix("verifier = \"")).expect("GOOD has a verifier");
    line.trim_end_matches('"').replace("4096", iterations)
}

fn load_str(text: &str) -> Result<Loaded, Problems> {
    load_text(Path::new("pgwarden.toml"), text, &environment)
}

/// The file's config, or a panic with its problems.
fn good(text: &str) -> Config {
    match load_str(text) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}"),
    }
}

/// `GOOD` with lines added to a table of it.
fn with(table: &str, lines: &str) -> String {
    let head = format!("[{table}]\n");
    assert!(GOOD.contains(&head), "{table} is not a table of GOOD");
    GOOD.replace(&head, &format!("{head}{lines}\n"))
}

/// `GOOD` with its user's ways to log in, and to the server, replaced.
fn user(lines: &str) -> String {
    let (head, _) = GOOD.split_once("verifier =").expect("GOOD has a verifier");
    format!("{head}{lines}\n")
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&explained(load_str(text), None));
}

fn explained(loaded: Result<Loaded, Problems>, hide: Option<&Path>) -> String {
    let mut out = String::new();
    let (problems, word) = match loaded {
        Ok(loaded) => (loaded.warnings, "warning: "),
        Err(Problems(problems)) => (problems, ""),
    };
    for problem in problems {
        out.push_str(&format!("{word}{}\n", problem.explain()));
    }
    match hide {
        Some(dir) => out.replace(&dir.display().to_string(), "DIR"),
        None => out,
    }
}

#[test]
fn a_good_file_has_nothing_to_remark() {
    check(GOOD, expect![[""]]);
}

#[test]
fn everything_absent_is_said_at_once() {
    check(
        "",
        expect![[r#"
        pgwarden.toml: shards
            expected  a shard
            hint      write [shards.main] and in it primary = { host = "127.0.0.1" }
        pgwarden.toml: databases
            expected  a database
            hint      write [databases.NAME] for each database that clients ask for
        pgwarden.toml: users
            expected  a user
            hint      write [users.NAME] with a verifier; make one with: pgwarden passwd
    "#]],
    );
}

#[test]
fn all_problems_of_a_file_come_in_the_order_of_its_lines() {
    check(
        r#"
[server]
listen = ["localhost:6432", 5432]
lisen = []
queue_timeout = 30
message_size_max = 1048576
workers = "4"

[pool]
mode = "transactions"
size = 0

[shards.main]
primary = { host = "db:5433", tls = "verify" }

[databases.billing]
shard = "mian"

[users.app]
password = "hunter2"
verifier = "hunter2"
databases = ["biling"]

[user.app2]
"#,
        expect![[r#"
            pgwarden.toml:3: server.listen[0]
                found     "localhost:6432"
                expected  an address and port such as "127.0.0.1:6432"
                hint      write "127.0.0.1:6432"
            pgwarden.toml:3: server.listen[1]
                found     5432
                expected  an address and port such as "127.0.0.1:6432"
                hint      write "127.0.0.1:5432"
            pgwarden.toml:4: server.lisen
                expected  a known key
                hint      did you mean listen?
            pgwarden.toml:5: server.queue_timeout
                found     30
                expected  a duration such as "30s" (units ms, s, min, h, d)
                hint      add a unit; write queue_timeout = "30s"
            pgwarden.toml:6: server.message_size_max
                found     1048576
                expected  a size from "16KiB" to "1023MiB" (units B, KiB, MiB, GiB)
                hint      add a unit; write message_size_max = "1MiB"
            pgwarden.toml:7: server.workers
                found     "4"
                expected  a whole number from 1 to 256
                hint      no quotes; write workers = 4
            pgwarden.toml:10: pool.mode
                found     "transactions"
                expected  "transaction" or "session"
                hint      write mode = "transaction"
            pgwarden.toml:11: pool.size
                found     0
                expected  a whole number from 1 to 10000
                hint      for example size = 16
            pgwarden.toml:14: shards.main.primary.host
                found     "db:5433"
                expected  a host name or IP address, without a port
                hint      write host = "db", port = 5433
            pgwarden.toml:14: shards.main.primary.tls
                found     "verify"
                expected  "prefer", "disable", "require" or "verify-full"
                hint      for example tls = "prefer"
            pgwarden.toml:17: databases.billing.shard
                found     "mian"
                expected  a shard of this file
                hint      did you mean "main"?
            pgwarden.toml:21: users.app.verifier
                found     a string
                expected  a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid
                hint      it begins with SCRAM-SHA-256$; make one with: pgwarden passwd
            pgwarden.toml:21: users.app.verifier
                found     verifier
                expected  one way to log in
                hint      keep one of password or verifier
            pgwarden.toml:22: users.app.databases[0]
                found     "biling"
                expected  a database of this file
                hint      did you mean "billing"?
            pgwarden.toml:24: user
                expected  a known key
                hint      did you mean users?
        "#]],
    );
}

#[test]
fn broken_toml_is_located_without_showing_the_line() {
    check(
        "[server\nlisten = 1\n",
        expect![[r#"
        pgwarden.toml:1
            found     unclosed table, expected `]`
            expected  TOML
            hint      see https://toml.io for the syntax; text goes between quotes
    "#]],
    );
    check(
        "[users.app]\npassword = \"hunter2\nx = 1\n",
        expect![[r#"
        pgwarden.toml:2
            found     invalid basic string, expected `"`
            expected  TOML
            hint      see https://toml.io for the syntax; text goes between quotes
    "#]],
    );
    check(
        "[users.app]\npassword = hunter2\n",
        expect![[r#"
        pgwarden.toml:2
            found     string values must be quoted, expected literal string
            expected  TOML
            hint      see https://toml.io for the syntax; text goes between quotes
    "#]],
    );
    check(
        "[pool]\nsize = 1\nsize = 2\n",
        expect![[r#"
        pgwarden.toml:3
            found     duplicate key
            expected  TOML
            hint      see https://toml.io for the syntax; text goes between quotes
    "#]],
    );
}

#[test]
fn no_message_ever_holds_a_secret() {
    for text in [
        "[users.app]\npassword = \"hunter2\nx = 1\n",
        "[users.app]\npassword = hunter2\n",
        "[users.app]\npasword = \"hunter2\"\n",
        "[users]\napp = \"hunter2\"\n",
        "users = [\"hunter2\"]\n",
        "[users.app]\nverifier = \"hunter2\"\n",
        "[users.app]\npassword_env = \"hunter2\"\n",
        "[users.app]\npassword = [\"hunter2\"]\n",
        "[users.app]\nserver_password = { x = \"hunter2\" }\n",
        "[users.app]\npassword = \"hunter2\"\npassword = \"hunter2\"\n",
    ] {
        let problems = load_str(text).expect_err("each of these is wrong");
        let said = format!("{problems:?} {problems} {}", explained(Err(problems.clone()), None));
        assert!(!said.contains("hunter2"), "{text}\n{said}");
    }
    let loaded = load_str(&user("password = \"hunter2\"")).expect("a plain password is accepted");
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn one_problem_fits_on_one_line() {
    let problems = load_str(&with("server", "queue_timeout = 30")).expect_err("no unit");
    expect![[r#"pgwarden.toml:3: server.queue_timeout: found 30, expected a duration such as "30s" (units ms, s, min, h, d); add a unit; write queue_timeout = "30s""#]].assert_eq(&problems.to_string());
}

fn example() -> String {
    fs::read_to_string(example_path()).expect("the example is in the repository")
}

fn example_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/pgwarden.toml")
}

#[test]
fn the_example_passes() {
    let loaded = load(&example_path());
    let said = explained(loaded.clone(), None);
    assert!(loaded.is_ok(), "{said}");
}

#[test]
fn the_example_shows_every_key() {
    let example = example();
    let words: Vec<&str> = example.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let mut keys = Vec::new();
    collect(RawConfig::KEYS, &mut keys);
    assert!(keys.len() > 70, "the walk finds the keys");
    for key in keys {
        assert!(words.contains(&key.name), "{} is not in config/pgwarden.toml", key.name);
    }
}

#[test]
fn the_examples_values_are_the_defaults() {
    let mut config = load(&example_path()).expect("the example passes").config;
    let bare = good(GOOD);
    // What the example sets on purpose.
    let admin = std::mem::replace(&mut config.admin, bare.admin.clone());
    assert_eq!((admin.admins.len(), admin.viewers.len(), admin.http.is_some()), (1, 0, true));
    assert_eq!(config.server, bare.server);
    assert_eq!((&config.log, &config.log), (&bare.log, &Log::default()));
    assert_eq!(config.shards, bare.shards);
    assert_eq!(config.databases, bare.databases);
    assert_eq!(config.users["app"].pool, PoolSettings { size: 8, ..bare.users["app"].pool.clone() });
    assert_eq!(config.users["admin"].pool, bare.users["app"].pool);
}

fn collect(keys: &'static [Key], into: &mut Vec<&'static Key>) {
    for key in keys {
        into.push(key);
        match (key.shape)() {
            Shape::Scalar { .. } => {}
            Shape::Table { keys, .. } | Shape::Named { keys, .. } => collect(keys, into),
        }
    }
}

#[test]
fn every_key_is_documented_and_refuses_a_value_of_the_wrong_kind() {
    fn walk(keys: &'static [Key], path: &str, text: &mut String, wrong: &mut Vec<String>) {
        text.push_str(&format!("[{path}]\n"));
        for key in keys {
            if let Shape::Scalar { accepts } = (key.shape)() {
                assert!(!key.docs.is_empty() && !accepts.is_empty(), "{path}.{}", key.name);
                // Nothing takes a list of lists.
                text.push_str(&format!("{} = [[]]\n", key.name));
                wrong.push(format!("{path}.{}", key.name));
            }
        }
        for key in keys {
            match (key.shape)() {
                Shape::Scalar { .. } => {}
                Shape::Table { keys, .. } => walk(keys, &format!("{path}.{}", key.name), text, wrong),
                Shape::Named { keys, .. } => walk(keys, &format!("{path}.{}.x", key.name), text, wrong),
            }
        }
    }
    let (mut text, mut wrong) = (String::new(), Vec::new());
    for section in RawConfig::KEYS {
        match (section.shape)() {
            Shape::Scalar { .. } => panic!("the file holds tables only"),
            Shape::Table { keys, .. } => walk(keys, section.name, &mut text, &mut wrong),
            Shape::Named { keys, .. } => walk(keys, &format!("{}.x", section.name), &mut text, &mut wrong),
        }
    }
    let problems = load_str(&text).expect_err("every value is wrong").0;
    for key in wrong {
        let item = format!("{key}[0]");
        assert!(problems.iter().any(|problem| problem.key == key || problem.key == item), "{key}: {problems:#?}");
    }
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    let made = reference::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &made).expect("docs/config.md can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/config.md is stale: run UPDATE_DOCS=1 cargo test --lib config");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = load_str(&text);
    }

    /// Bytes changed in a file that was good.
    #[test]
    fn no_damaged_file_panics(edits in prop::collection::vec((any::<prop::sample::Index>(), "\\PC{0,3}|\\n|\\[|=|\"|[0-9]"), 1..6)) {
        let mut text = example();
        for (at, with) in edits {
            let mut at = at.index(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let end = text[at..].char_indices().nth(2).map_or(text.len(), |(i, _)| at + i);
            text.replace_range(at..end, &with);
        }
        if let Err(Problems(problems)) = load_str(&text) {
            prop_assert!(!problems.is_empty());
        }
    }

    /// Values of every kind for every key.
    #[test]
    fn no_value_panics(key in any::<prop::sample::Index>(), value in "\"\\PC{0,30}\"|-?[0-9]{1,25}|\"[0-9]{1,25}(ms|s|min|h|d|B|KiB|MiB|GiB)\"|\\[\"[0-9.:]{0,12}\"\\]") {
        let keys = with_paths();
        let (table, key) = &keys[key.index(keys.len())];
        let _ = load_str(&format!("[{table}]\n{key} = {value}\n"));
    }
}

fn with_paths() -> Vec<(String, &'static str)> {
    RawConfig::KEYS
        .iter()
        .flat_map(|section| match (section.shape)() {
            Shape::Scalar { .. } => Vec::new(),
            Shape::Table { keys, .. } => keys.iter().map(|key| (section.name.to_owned(), key.name)).collect(),
            Shape::Named { keys, .. } => keys.iter().map(|key| (format!("{}.x", section.name), key.name)).collect(),
        })
        .collect()
}
