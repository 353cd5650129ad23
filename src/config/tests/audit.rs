//! The audit stream's section.

use super::*;

const LOG_KEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

/// A file with these lines in `[audit]`, in a directory of its own with keys.
fn with_audit(lines: &str) -> (tempfile::TempDir, Result<Loaded, Problems>) {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("audit.key"), format!("{LOG_KEY}\n")).expect("a file");
    std::fs::write(dir.path().join("next.key"), LOG_KEY.replace("AYEK", "AYEL")).expect("a file");
    std::fs::write(dir.path().join("hash.key"), "0A".repeat(32)).expect("a file");
    std::fs::write(dir.path().join("other"), "something else").expect("a file");
    let ca = rcgen::generate_simple_self_signed(vec!["e.com".to_owned()]).expect("a certificate").cert.pem();
    std::fs::write(dir.path().join("ca.pem"), ca).expect("a file");
    let text = format!("{GOOD}\n[audit]\n{lines}\n");
    let loaded = load_text(&dir.path().join("pgwarden.toml"), &text, &environment);
    (dir, loaded)
}

fn audit(lines: &str) -> Audit {
    let (_dir, loaded) = with_audit(lines);
    let audit = loaded.unwrap_or_else(|problems| panic!("{problems}")).config.audit;
    Audit::clone(&audit.expect("a section"))
}

#[test]
fn a_log_needs_a_directory_and_a_key() {
    assert_eq!(good(GOOD).audit, None);
    let made = audit("directory = \"log\"\nkey_file = \"audit.key\"");
    assert_eq!(made.key.expose(), LOG_KEY);
    assert_eq!((made.durability, made.on_failure), (Durability::Group, OnFailure::Block));
    assert_eq!((made.parameters, made.shipped, made.retention_size), (Values::Omit, Shipped::Marker, None));
    let (_dir, loaded) = with_audit("");
    let problems = loaded.expect_err("nothing is there").0;
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["audit.directory", "audit.key_file"]);
}

/// `--config pgwarden.toml`, in the directory where it is.
#[test]
fn a_log_may_lie_beside_a_file_that_is_named_without_its_directory() {
    let text = format!("{GOOD}\n[audit]\ndirectory = \"no-such-log\"\nkey_file = \"no-such-key\"\n");
    let problems =
        load_text(std::path::Path::new("pgwarden.toml"), &text, &environment).expect_err("no key is there").0;
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["audit.key_file"]);
}

#[test]
fn everything_can_be_set() {
    let made = audit(
        "directory = \"log\"\norigin = \"example.com/audit\"\ndurability = \"strict\"\non_failure = \"refuse\"\n\
         key_file = \"audit.key\"\nnext_key_file = \"next.key\"\nsegment_size = \"1MiB\"\nsegment_age = \"1h\"\n\
         retention_age = \"90d\"\nretention_size = \"2MiB\"\nshipped = \"unneeded\"\ncheckpoint_interval = \"5s\"\n\
         checkpoint_records = 7\ncheckpoint_copies = [\"/mnt\", \"https://e.com/c\", \"syslog:/dev/log\", \"syslog:[::1]:514\"]\n\
         queue_size = \"1MiB\"\nparameters = \"hash\"\ncolumns_clear = [\"public.t.a\"]\ncolumns_omit = [\"public.t.b\"]\n\
         hash_key_file = \"hash.key\"\nsinks = [\"tcp:[::1]:1\", \"tls:e.com:2\", \"unix:/run/s\"]\nsinks_ca = \"ca.pem\"\n\
         raw_text_keys = \".\"",
    );
    assert_eq!(made.next_key.map(|key| key.expose().to_owned()), Some(LOG_KEY.replace("AYEK", "AYEL")));
    assert_eq!((made.segment_size, made.retention_size, made.checkpoint_records), (1 << 20, Some(2 << 20), 7));
    let copies = [
        CopyTo::Directory("/mnt".into()),
        CopyTo::Http("https://e.com/c".into()),
        CopyTo::SyslogUnix("/dev/log".into()),
        CopyTo::SyslogUdp("[::1]:514".parse().expect("an address")),
    ];
    assert_eq!(made.checkpoint_copies, copies);
    let shown: Vec<String> = made.sinks.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["tcp:[::1]:1", "tls:e.com:2", "unix:/run/s"]);
    assert_eq!(made.sinks[1], SinkTo::Tls { host: "e.com".into(), port: 2 });
    assert!(made.sinks_ca.is_some_and(|path| path.ends_with("ca.pem")) && made.raw_text_keys.is_some());
    assert_eq!(made.columns["public.t.a"], Values::Clear);
    assert_eq!(made.columns["public.t.b"], Values::Omit);
    assert_eq!(made.hash_key.map(|key| key.expose().to_owned()), Some("0a".repeat(32)));
}

#[test]
fn what_cannot_be_right_is_said() {
    let cases = [
        ("key_file = \"other\"", "audit.key_file"),
        ("key_file = \"nowhere\"", "audit.key_file"),
        ("key_file = \"audit.key\"\nnext_key_file = \"audit.key\"", "audit.next_key_file"),
        ("key_file = \"audit.key\"\nparameters = \"hash\"", "audit.hash_key_file"),
        ("key_file = \"audit.key\"\ncolumns_hash = [\"public.t.a\"]", "audit.hash_key_file"),
        ("key_file = \"audit.key\"\nhash_key_file = \"other\"", "audit.hash_key_file"),
        (
            "key_file = \"audit.key\"\ncolumns_omit = [\"public.t.a\"]\ncolumns_clear = [\"public.t.a\"]",
            "audit.columns_clear[0]",
        ),
        ("key_file = \"audit.key\"\ncolumns_omit = [\"t.a\"]", "audit.columns_omit[0]"),
        ("key_file = \"audit.key\"\nretention_size = \"1MiB\"", "audit.retention_size"),
        ("key_file = \"audit.key\"\ncheckpoint_copies = [\"elsewhere\"]", "audit.checkpoint_copies[0]"),
        ("key_file = \"audit.key\"\ncheckpoint_copies = [\"syslog:host:514\"]", "audit.checkpoint_copies[0]"),
        ("key_file = \"audit.key\"\norigin = \"two words\"", "audit.origin"),
        ("key_file = \"audit.key\"\nsinks = [\"tcp:host\"]", "audit.sinks[0]"),
        ("key_file = \"audit.key\"\nsinks = [\"tcp:::1:7\"]", "audit.sinks[0]"),
        ("key_file = \"audit.key\"\nsinks = [\"unix:s\"]", "audit.sinks[0]"),
        ("key_file = \"audit.key\"\nsinks = [\"tcp:host:0\"]", "audit.sinks[0]"),
        ("key_file = \"audit.key\"\nsinks_ca = \"other\"", "audit.sinks_ca"),
        ("key_file = \"audit.key\"\nsinks = [\"tls:e.com:1\"]\nsinks_ca = \"other\"", "audit.sinks_ca"),
        ("key_file = \"audit.key\"\nraw_text_keys = \"nowhere\"", "audit.raw_text_keys"),
        ("key_file = \"audit.key\"\nraw_text_keys = \"other\"", "audit.raw_text_keys"),
        ("key_file = \"audit.key\"\ndurability = \"some\"", "audit.durability"),
    ];
    for (lines, key) in cases {
        let (_dir, loaded) = with_audit(&format!("directory = \"log\"\n{lines}"));
        let problems = loaded.expect_err(lines);
        assert_eq!(problems.0.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), [key], "{problems}");
        assert!(!problems.to_string().contains("something else"), "a secret is not shown");
    }
    let (_dir, loaded) = with_audit("directory = \"other\"\nkey_file = \"audit.key\"");
    assert_eq!(loaded.expect_err("a file").0[0].key, "audit.directory");
}
