//! Real clients: each runs the same script straight to PostgreSQL, then through the proxy in transaction and in session
//! pooling and as a tenant who owns a database, and must print the same transcript.
//!
//! The scripts are in `tests/clients`. Lines that may differ are listed, with the reason, in
//! `tests/clients/differences.md`; an entry that no run needed fails too. In transaction pooling other sessions of the same
//! user keep the pool busy with settings and statement names that would show if anything crossed over.

mod describe;
mod differences;
mod noise;
mod owner;
mod protected;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use differences::{Differences, Mode};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use noise::Noise;
use owner::LeftOut;

use crate::kit::{self, Config, Proxy};

/// How long one run of a script may take.
const RUN_MAX: Duration = Duration::from_secs(120);

/// All clients, by the names that `differences.md` uses.
const CLIENTS: [&str; 12] = [
    "psql",
    "pgbench",
    "psycopg3",
    "psycopg2",
    "asyncpg",
    "sqlalchemy",
    "django",
    "node-postgres",
    "postgres.js",
    "jdbc",
    "tokio-postgres",
    "sqlx",
];

/// Where a script connects.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub host: &'static str,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
    pub steps: Steps,
}

/// Which of a script's steps are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    All,
    /// Those that policy lets an owner do.
    Owners,
}

#[test]
fn psql_sees_the_same_through_the_proxy() {
    compare("psql", |endpoint| run("bash", &["tests/clients/psql.sh"], endpoint));
}

#[test]
fn pgbench_sees_the_same_through_the_proxy() {
    compare("pgbench", |endpoint| run("bash", &["tests/clients/pgbench.sh"], endpoint));
}

#[test]
fn psycopg3_sees_the_same_through_the_proxy() {
    compare("psycopg3", |endpoint| python(&["psycopg3.py"], endpoint));
}

#[test]
fn psycopg2_sees_the_same_through_the_proxy() {
    compare("psycopg2", |endpoint| python(&["psycopg2_client.py"], endpoint));
}

#[test]
fn asyncpg_sees_the_same_through_the_proxy() {
    compare("asyncpg", |endpoint| python(&["asyncpg_client.py"], endpoint));
}

#[test]
fn sqlalchemy_sees_the_same_through_the_proxy() {
    compare("sqlalchemy", |endpoint| python(&["sqlalchemy_client.py"], endpoint));
}

#[test]
fn django_sees_the_same_through_the_proxy() {
    compare("django", |endpoint| python(&["django_client.py"], endpoint));
}

#[test]
fn node_postgres_sees_the_same_through_the_proxy() {
    compare("node-postgres", |endpoint| node(&["pg.cjs"], endpoint));
}

#[test]
fn postgres_js_sees_the_same_through_the_proxy() {
    compare("postgres.js", |endpoint| node(&["postgresjs.cjs"], endpoint));
}

#[test]
fn jdbc_sees_the_same_through_the_proxy() {
    compare("jdbc", |endpoint| jdbc("Client", endpoint));
}

#[test]
fn tokio_postgres_sees_the_same_through_the_proxy() {
    compare("tokio-postgres", |endpoint| rust(&["tokio_postgres"], endpoint));
}

#[test]
fn sqlx_sees_the_same_through_the_proxy() {
    compare("sqlx", |endpoint| rust(&["sqlx"], endpoint));
}

#[test]
fn every_allowed_difference_names_a_client_that_is_run() {
    for entry in Differences::read().entries {
        assert!(CLIENTS.contains(&entry.client.as_str()), "no client {:?}", entry.client);
    }
}

/// Runs the script directly and in each mode, and holds the transcripts against each other.
#[track_caller]
fn compare(client: &str, script: impl Fn(&Endpoint) -> String) {
    assert!(CLIENTS.contains(&client));
    let name = format!("client_{}", client.replace(['.', '-'], "_"));
    let password = "a secret of this client";
    kit::sql("postgres", &format!("create role {name} login password '{password}'"));
    let endpoint = |port, steps| Endpoint {
        host: "127.0.0.1",
        port,
        user: name.clone(),
        password: password.to_owned(),
        database: name.clone(),
        steps,
    };
    let fresh = || {
        kit::sql("postgres", &format!("drop database if exists {name} with (force)"));
        kit::sql("postgres", &format!("create database {name} owner {name}"));
    };
    let straight = |steps| {
        fresh();
        let direct = script(&endpoint(kit::cluster().port(), steps));
        assert!(direct.lines().count() > 10 && !direct.contains("Traceback"), "not a transcript:\n{direct}");
        direct
    };
    let everything = straight(Steps::All);
    let leaves_out = LeftOut::all().iter().any(|it| it.client == client);
    let differences = Differences::read();
    for mode in [Mode::Transaction, Mode::Session, Mode::Owner] {
        let steps = if mode == Mode::Owner && leaves_out { Steps::Owners } else { Steps::All };
        let direct = if steps == Steps::All { everything.clone() } else { straight(steps) };
        fresh();
        let (pool_mode, size) = match mode {
            Mode::Transaction | Mode::Owner => ("transaction", 4),
            Mode::Session => ("session", 16),
        };
        let config = Config::for_cluster(kit::cluster())
            .database(&name)
            .user(&name, password)
            .set("server.statement_size_max", "8MiB")
            .set("pool.mode", pool_mode)
            .set("pool.size", size);
        let config = if mode == Mode::Owner { owner::configured(config, &name, password) } else { config };
        let proxy = Proxy::start(config);
        let noise = (mode == Mode::Transaction).then(|| Noise::start(proxy.login(&name, password, &name)));
        let proxied = script(&endpoint(proxy.address().port(), steps));
        if let Some(noise) = noise {
            noise.stop();
        }
        if let Err(report) = differences.check(client, mode, &direct, &proxied) {
            panic!("{client} ({mode:?}) is not as it is directly:\n{report}");
        }
    }
}

/// `script`: its name, and its arguments.
pub fn python(script: &[&str], endpoint: &Endpoint) -> String {
    let interpreter = root("target/venv/bin/python");
    assert!(interpreter.exists(), "no Python drivers: run scripts/setup clients");
    let path = format!("tests/clients/python/{}", script[0]);
    run(&interpreter.display().to_string(), &[&[&*path], &script[1..]].concat(), endpoint)
}

pub fn node(script: &[&str], endpoint: &Endpoint) -> String {
    assert!(root("target/node/node_modules").exists(), "no Node drivers: run scripts/setup clients");
    let path = format!("tests/clients/node/{}", script[0]);
    run("node", &[&["--no-deprecation", &path], &script[1..]].concat(), endpoint)
}

/// Runs one of the classes of `tests/clients/java`, which are compiled at the first call.
pub fn jdbc(class: &str, endpoint: &Endpoint) -> String {
    static COMPILED: OnceLock<String> = OnceLock::new();
    let class_path = COMPILED.get_or_init(|| {
        let driver = "/usr/share/java/postgresql.jar";
        assert!(Path::new(driver).exists(), "no JDBC driver: run scripts/setup clients");
        let classes = root("target/clients-java");
        let compiled = Command::new("javac")
            .args(["-cp", driver, "tests/clients/java/Client.java", "tests/clients/java/Protected.java", "-d"])
            .arg(&classes)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("javac is there: run scripts/setup clients");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        format!("{}:{driver}", classes.display())
    });
    // A short run: the second compiler costs more than it saves.
    let arguments = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", class_path, class];
    run("java", &arguments, endpoint)
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs one of the programs of `tests/clients/rust`, which are built at the first call. `program`: its name, and its arguments.
fn rust(program: &[&str], endpoint: &Endpoint) -> String {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let target = root("target/clients-rust");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let build = Command::new(cargo)
            .args(["build", "--quiet", "--locked", "--manifest-path", "tests/clients/rust/Cargo.toml", "--target-dir"])
            .arg(&target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("run cargo");
        assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
        target.join("debug")
    });
    run(&directory.join(program[0]).display().to_string(), &program[1..], endpoint)
}

/// Runs a program with libpq's environment; all that it printed, and how it ended.
pub fn run(program: &str, arguments: &[&str], endpoint: &Endpoint) -> String {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("transcript");
    let output = File::create(&path).expect("a file");
    let bin = kit::cluster().program("psql").parent().expect("a directory").to_owned();
    let inherited = std::env::var("PATH").unwrap_or_default();
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("PATH", format!("{}:{inherited}", bin.display()))
        .env("HOME", home.path())
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("NODE_PATH", root("target/node/node_modules"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PGHOST", endpoint.host)
        .env("PGPORT", endpoint.port.to_string())
        .env("PGUSER", &endpoint.user)
        .env("PGPASSWORD", &endpoint.password)
        .env("PGDATABASE", &endpoint.database)
        .env("PGWARDEN_STEPS", if endpoint.steps == Steps::All { "all" } else { "owner" })
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a handle"))
        .stderr(output)
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; run scripts/setup clients"));
    let deadline = Instant::now() + RUN_MAX;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait for the client") {
            break status.to_string();
        }
        if Instant::now() > deadline {
            let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
            let _ = child.wait();
            break format!("still running after {RUN_MAX:?}");
        }
        thread::sleep(Duration::from_millis(20));
    };
    let printed = String::from_utf8_lossy(&fs::read(&path).expect("the transcript")).into_owned();
    format!("{printed}\n== end: {status}\n")
}
