//! The real binary's commands that need no PostgreSQL: what they print, and their exit codes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use pgwarden::scram::Verifier;

/// Runs the binary with this input.
fn pgwarden(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pgwarden"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that reads nothing may have ended.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn example() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/pgwarden.toml").display().to_string()
}

#[test]
fn check_accepts_the_example() {
    let checked = pgwarden(&["check", "--config", &example()], "");
    assert_eq!(code(&checked), Some(0), "{}", out(&checked));
    assert!(out(&checked).ends_with("pgwarden.toml: ok\n") || out(&checked).contains("ok, 1 warning"));
}

#[test]
fn check_prints_every_problem_and_exits_with_3() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("wrong.toml");
    fs::write(&file, "[server]\nqueue_timeout = 30\nworkers = 0\n").expect("a file");
    let checked = pgwarden(&["check", "-c", &file.display().to_string()], "");
    assert_eq!(code(&checked), Some(3));
    for part in
        ["server.queue_timeout", "write queue_timeout = \"30s\"", "server.workers", ": shards", ": 5 problems\n"]
    {
        assert!(out(&checked).contains(part), "{part} is not in:\n{}", out(&checked));
    }
    let missing = pgwarden(&["check", "--config", "/nonexistent/pgwarden.toml"], "");
    assert_eq!(code(&missing), Some(3));
    assert!(out(&missing).contains("no such file"));
}

#[test]
fn check_can_treat_warnings_as_problems() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("plain.toml");
    let text = "shards.main.primary.host = \"127.0.0.1\"\n[databases.d]\n[users.u]\npassword_env = \"PGWARDEN_TEST\"\n";
    fs::write(&file, text.replace("password_env = \"PGWARDEN_TEST\"", "password = \"x\"")).expect("a file");
    let file = file.display().to_string();
    let lenient = pgwarden(&["check", "--config", &file], "");
    assert_eq!(code(&lenient), Some(0), "{}", out(&lenient));
    assert!(out(&lenient).contains("warning: ") && out(&lenient).contains(": ok, "), "{}", out(&lenient));
    assert_eq!(code(&pgwarden(&["check", "--config", &file, "--deny-warnings"], "")), Some(3));
}

#[test]
fn passwd_makes_a_verifier_of_the_piped_password() {
    let made = pgwarden(&["passwd"], "correct horse\n");
    assert_eq!(code(&made), Some(0), "{}", err(&made));
    let verifier = Verifier::parse(out(&made).trim_end()).expect("a verifier");
    assert_eq!(verifier.iterations().get(), 4096);
    assert!(verifier.matches("correct horse"));
    assert!(!verifier.matches("correct horse\n"));
    assert_ne!(out(&made), out(&pgwarden(&["passwd"], "correct horse\n")), "each has a salt of its own");

    let table = out(&pgwarden(&["passwd", "--user", "a b", "--iterations", "5000"], "x"));
    let table: toml::Table = table.parse().expect("TOML");
    let verifier = table["users"]["a b"]["verifier"].as_str().expect("a string");
    assert_eq!(Verifier::parse(verifier).expect("a verifier").iterations().get(), 5000);

    for input in ["", "\n", "a\0b"] {
        let refused = pgwarden(&["passwd"], input);
        assert_eq!((code(&refused), out(&refused)), (Some(1), String::new()), "{input:?}");
        assert!(err(&refused).starts_with("pgwarden: the password"), "{}", err(&refused));
    }
}

#[test]
fn wrong_arguments_exit_with_2() {
    let wrong: [&[&str]; 5] = [
        &[],
        &["nonsense"],
        &["check", "--nonsense"],
        &["passwd", "--iterations", "0"],
        &["healthcheck", "--url", "ftp://x"],
    ];
    for arguments in wrong {
        assert_eq!(code(&pgwarden(arguments, "")), Some(2), "{arguments:?}");
    }
}

#[test]
fn help_version_manual_and_completions_go_to_standard_output() {
    let help = pgwarden(&["--help"], "");
    assert_eq!(code(&help), Some(0));
    assert!(out(&help).contains("Exit codes:") && out(&help).contains("Examples:"));
    let version = pgwarden(&["--version"], "");
    assert_eq!(out(&version), format!("pgwarden {}\n", env!("CARGO_PKG_VERSION")));
    let manual = pgwarden(&["man"], "");
    assert_eq!(code(&manual), Some(0));
    assert!(out(&manual).contains(".TH pgwarden 1") && out(&manual).contains("Exit codes"));
    for shell in ["bash", "zsh", "fish"] {
        let script = pgwarden(&["completions", shell], "");
        assert_eq!(code(&script), Some(0));
        assert!(out(&script).contains("passwd"), "{shell}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let pages = pgwarden(&["man", "--dir", &dir.path().display().to_string()], "");
    assert_eq!(code(&pages), Some(0), "{}", err(&pages));
    assert!(dir.path().join("pgwarden.1").exists() && dir.path().join("pgwarden-check.1").exists());
}

#[test]
fn healthcheck_of_nobody_exits_with_1() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let unhealthy = pgwarden(&["healthcheck", "--url", &format!("http://127.0.0.1:{port}/healthz")], "");
    assert_eq!(code(&unhealthy), Some(1));
    assert!(err(&unhealthy).contains("no answer"), "{}", err(&unhealthy));
}

/// A configuration that listens on a free port, with one user; nobody has to be at the server's address.
fn configuration(dir: &Path, more: &str) -> String {
    let file = dir.join("pgwarden.toml");
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n{more}\n[shards.main]\n\
         primary = {{ host = \"127.0.0.1\", port = 1 }}\n[databases.d]\n[users.u]\npassword = \"x\"\n"
    );
    fs::write(&file, text).expect("a file");
    file.display().to_string()
}

#[test]
fn serve_says_every_problem_of_its_configuration_as_a_log_line_and_exits_with_3() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = configuration(dir.path(), "queue_timeout = 30\nworker = 2");
    let refused = pgwarden(&["serve", "--config", &file], "");
    assert_eq!(code(&refused), Some(3));
    let lines: Vec<serde_json::Value> =
        err(&refused).lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect();
    let keys: Vec<&str> = lines.iter().filter_map(|line| line["key"].as_str()).collect();
    assert_eq!(keys, ["server.queue_timeout", "server.worker"]);
    for line in &lines {
        assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &"configuration has a problem".into()));
        assert!(line["timestamp"].is_string() && line["target"].is_string() && line["hint"].is_string(), "{line}");
    }
    assert_eq!(lines[0]["config_line"], 4);
}

#[test]
fn serve_exits_with_4_where_it_cannot_listen() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let dir = tempfile::tempdir().expect("a directory");
    let file = configuration(dir.path(), "");
    let text = fs::read_to_string(&file).expect("the file").replace(":0\"", &format!(":{port}\""));
    fs::write(&file, text).expect("the file");
    let refused = pgwarden(&["serve", "--config", &file], "");
    assert_eq!(code(&refused), Some(4), "{}", err(&refused));
    let last: serde_json::Value = serde_json::from_str(err(&refused).lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["level"], &last["exit_code"]), (&"ERROR".into(), &4.into()));
    assert!(last["error"].as_str().is_some_and(|error| error.contains(&port.to_string())), "{last}");
}
