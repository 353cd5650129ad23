//! Texts that a log keeps under a tenant's key: read with the key, gone with it, and never with a secret in them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::audit::{Book, files};
use crate::kit;
use crate::talk::*;
use crate::tenants::{Context, Stage};

/// `pgwarden audit` with these arguments: how it ended, and what it said.
fn audit(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pgwarden")).arg("audit").args(arguments).output().expect("run it");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn reveal(log: &Path, keys: &Path, record: &Value) -> (Option<i32>, String) {
    let (log, keys) = (log.display().to_string(), keys.display().to_string());
    audit(&["reveal", &record["seq"].to_string(), &log, "--keys", &keys])
}

#[test]
fn a_text_is_read_with_its_tenant_s_key_and_gone_with_it_and_the_log_stays_whole() {
    let book = Book::new();
    let keys: PathBuf = book.log().with_file_name("keys");
    fs::create_dir(&keys).expect("a directory");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).expect("a mode");
    let (code, told) = audit(&["tenant-key", "acme", "--keys", &keys.display().to_string()]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(audit(&["tenant-key", "acme", "--keys", &keys.display().to_string()]).0, Some(1), "once");
    let mut stage = Stage::with(Context::Setting, 1, |config| {
        config
            .set("audit.directory", book.log().display().to_string())
            .set("audit.key_file", book.log().with_file_name("audit.key").display().to_string())
            .set("audit.raw_text_keys", keys.display().to_string())
            .set("admin.viewers", vec!["boss"])
    });
    let mut acme = stage.client("acme");
    acme.query("SELECT note FROM invoices WHERE note = 'Alice Doe'");
    acme.ask(&[run("SELECT note FROM invoices WHERE note = 'Bob Doe' AND id = $1", &[Some("1")]), sync()]);
    acme.query("SELECT pg_read_file('Carol Doe')");
    acme.query("SELECT 'Dan Doe', '4111-1111 1111.1111'");
    acme.query("ALTER ROLE x PASSWORD E'hunter2'");
    acme.query("SELECT 'SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy'");
    acme.query("ALTER ROLE x PASSWRD 'hunter3' Eve Doe");
    acme.finish();
    let mut globex = stage.client("globex");
    globex.query("SELECT 'Frank Doe'");
    globex.finish();
    let ended = || book.records().iter().filter(|record| record["kind"] == "disconnect").count() == 2;
    kit::eventually("the sessions have ended", ended);
    let mut console = Talk::login(stage.address(), &[("user", "boss"), ("database", "pgwarden")], "");
    let rules = console.table("SHOW RULES");
    let refusals = |rule: &str| rules.iter().find(|row| row["rule"] == rule).map(|row| row["refusals"].clone());
    let counted = ["function", "statement_kind", "unparsed", "snapshot"].map(refusals);
    assert_eq!(counted, ["1", "1", "1", "0"].map(|count| Some(count.to_owned())));
    let config = stage.proxy.config();
    stage.proxy.signal(Signal::SIGTERM);
    stage.proxy.wait();

    let records = book.records();
    for path in files(&book.log(), "log").into_iter().chain(files(&book.log(), "checkpoints")) {
        let text = fs::read_to_string(path).expect("UTF-8");
        for secret in ["Doe", "hunter", "4111", "c3RvcmVk"] {
            assert!(!text.contains(secret), "{secret}");
        }
    }
    let log = book.log();
    let mut revealed = String::new();
    for record in records.iter().filter(|record| record["raw"].is_string()) {
        assert_eq!(record["tenant"], "acme");
        let (code, text) = reveal(&log, &keys, record);
        assert_eq!(code, Some(0), "{text}");
        revealed.push_str(&text);
    }
    assert_eq!(
        revealed,
        "\"SELECT note FROM invoices WHERE note = 'Alice Doe'\"\n\
         \"SELECT note FROM invoices WHERE note = 'Bob Doe' AND id = $1\"\n\
         \"SELECT pg_read_file('Carol Doe')\"\n\
         \"SELECT 'Dan Doe', '[card]'\"\n"
    );
    let left_out: Vec<&str> = records.iter().filter_map(|record| record["raw_left_out"].as_str()).collect();
    assert_eq!(left_out, ["secret", "secret", "unread"]);

    // The key is destroyed: nobody reads them any more, and nothing is missing from the log.
    let before = book.verified();
    assert_eq!(before, records.len() as u64);
    fs::remove_file(keys.join("acme.key")).expect("destroyed");
    let kept = records.iter().find(|record| record["raw"].is_string()).expect("a text");
    let (code, told) = reveal(&log, &keys, kept);
    assert_eq!((code, told.contains("is gone")), (Some(1), true), "{told}");
    assert_eq!(book.verified(), before);
    // The proxy itself goes on with it, and keeps no more of that tenant's texts.
    let proxy = kit::Proxy::start(config);
    let mut acme = Talk::login(proxy.address(), &[("user", "acme"), ("database", &stage.database.name)], "");
    acme.query("SELECT 'Grace Doe'");
    acme.finish();
    kit::eventually("the session has ended", || {
        book.records().iter().filter(|record| record["kind"] == "disconnect").count() == 3
    });
    // With success or without.
    kit::eventually("whoever looked is on record", || {
        book.records().iter().filter(|record| record["command"] == "reveal").count() >= 5
    });
    let last = book.records().into_iter().rfind(|record| record["kind"] == "statement").expect("a statement");
    assert!(last["raw"].is_null() && last["raw_left_out"].is_null(), "{last}");
}
