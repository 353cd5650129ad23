//! Tenants and users that are kept in the database: read at start, followed, and without them nothing stops.

use std::time::{Duration, Instant};

use pgwarden::cluster::Cluster;
use pgwarden::scram::{ITERATIONS_DEFAULT, Verifier};

use crate::kit::wire::ServerError;
use crate::kit::{self, Config, Login, PATIENCE, Proxy, Shutdown, Wire};

/// What a start, and a change, may take: the goal is a second, and these are debug builds beside other tests.
const SOON: Duration = Duration::from_secs(5);

const PASSWORD: &str = "of the directory";

/// Rows of two tenants, under a policy that reads a setting.
const TABLES: &str = "
    CREATE TABLE invoices (tenant_id bigint NOT NULL, id int NOT NULL, note text, PRIMARY KEY (tenant_id, id));
    INSERT INTO invoices SELECT t, n, 'of ' || t FROM generate_series(1, 20) t, generate_series(1, 3) n;
    ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
    CREATE POLICY tenant ON invoices USING
        (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::bigint));";

/// A database with a directory, and a proxy before it whose file has the tenant `filed` (1) and its user.
struct Stage<'a> {
    cluster: &'a Cluster,
    database: String,
    shared: String,
    reader: String,
    proxy: Proxy,
}

impl<'a> Stage<'a> {
    /// `fill`: SQL that is run before the proxy starts.
    #[track_caller]
    fn new(cluster: &'a Cluster, fill: &str) -> Self {
        let [database, shared, reader] = ["directory", "shared", "reader"].map(kit::unique);
        let sql = |database: &str, script: &str| cluster.psql(database, script).expect("the script runs");
        sql("postgres", &format!("CREATE DATABASE {database}"));
        sql(&database, TABLES);
        sql(&database, &format!("CREATE ROLE {shared} LOGIN PASSWORD 'shared'; GRANT SELECT ON invoices TO {shared}"));
        let tenancy = format!("databases.{database}.tenancy");
        let config = Config::for_cluster(cluster)
            .set("admin.http", "127.0.0.1:0")
            .set("server.workers", 2)
            .set("server.login_failures_max", 10_000)
            .database(&database)
            .set(&format!("{tenancy}.context"), "setting")
            .set(&format!("{tenancy}.setting"), "app.tenant_id")
            .set(&format!("{tenancy}.server_user"), shared.as_str())
            .set(&format!("{tenancy}.server_password"), "shared")
            .set(&format!("{tenancy}.directory.server_user"), reader.as_str())
            .set(&format!("{tenancy}.directory.server_password"), "reader")
            .set(&format!("{tenancy}.danger_open_wall"), true)
            .set("tenants.filed.key", "1")
            .set("users.filed_app.tenant", "filed")
            .set("users.filed_app.password", PASSWORD);
        let script = script(&config);
        // Twice: it can be run again.
        sql(&database, &script);
        sql(&database, &script);
        sql(&database, &format!("ALTER ROLE {reader} PASSWORD 'reader'; {fill}"));
        Self { cluster, database, shared, reader, proxy: Proxy::start(config) }
    }

    #[track_caller]
    fn sql(&self, script: &str) -> String {
        self.cluster.psql(&self.database, script).expect("the script runs")
    }

    fn login(&self, user: &str) -> Login {
        self.proxy.login(user, PASSWORD, &self.database)
    }

    /// Logs in as soon as that works; how long it took.
    #[track_caller]
    fn login_soon(&self, user: &str) -> (Wire, Duration) {
        let began = Instant::now();
        loop {
            match self.login(user).try_connect() {
                Ok(wire) => return (wire, began.elapsed()),
                Err(error) => assert!(began.elapsed() < PATIENCE, "{user}: {error:?}\n{}", self.proxy.log()),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn refused(&self, user: &str) -> ServerError {
        self.login(user).try_connect().err().expect("a login that is refused")
    }

    /// Until the proxy has read the directory.
    #[track_caller]
    fn ready(&self) {
        kit::eventually("the directory was read", || self.proxy.get("/readyz").0 == 200);
    }

    fn metric(&self, name: &str) -> f64 {
        let start = format!("pgwarden_{name}{{database=\"{}\"}} ", self.database);
        let page = self.proxy.get("/metrics").1;
        let value = page.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {page}"))
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        let _ = self.proxy.terminate();
        let (database, shared, reader) = (&self.database, &self.shared, &self.reader);
        let _ = self.cluster.psql("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
        let _ = self.cluster.psql("postgres", &format!("DROP ROLE {shared}, {reader}"));
    }
}

/// What `pgwarden directory` prints.
#[track_caller]
fn script(config: &Config) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("pgwarden.toml");
    std::fs::write(&file, config.0.to_string()).expect("a configuration file");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_pgwarden"))
        .args(["directory", "--config"])
        .arg(&file)
        .output()
        .expect("pgwarden directory runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn verifier() -> String {
    Verifier::derive(PASSWORD, b"salt of a test's", ITERATIONS_DEFAULT).to_string()
}

fn tenant(name: &str, key: u32) -> String {
    format!("INSERT INTO pgwarden.tenants (name, key) VALUES ('{name}', '{key}');")
}

fn user(name: &str, tenant: &str) -> String {
    format!("INSERT INTO pgwarden.users (name, tenant, verifier) VALUES ('{name}', '{tenant}', '{}');", verifier())
}

#[track_caller]
fn notes(wire: &mut Wire) -> String {
    wire.query("SELECT string_agg(DISTINCT note, ',') FROM invoices").ok().value()
}

/// How long the proxy took to end a session.
#[track_caller]
fn ends(wire: &mut Wire) -> Duration {
    let began = Instant::now();
    wire.until_closed();
    began.elapsed()
}

#[test]
fn users_of_a_directory_log_in_and_see_their_tenants_rows_alone() {
    let operator = format!(
        "INSERT INTO pgwarden.users (name, tenants, role, verifier) VALUES ('otto', '{{two,filed}}', 'reader', '{}');",
        verifier()
    );
    let fill = [tenant("two", 2), user("two_app", "two"), operator].concat();
    let stage = Stage::new(kit::cluster(), &fill);
    stage.ready();
    let (mut two, _) = stage.login_soon("two_app");
    assert_eq!(notes(&mut two), "of 2");
    assert_eq!(notes(&mut stage.login("filed_app").connect()), "of 1");
    assert_eq!(notes(&mut stage.login("otto@two").connect()), "of 2");
    assert_eq!(notes(&mut stage.login("otto@filed").connect()), "of 1");
    let refused = |login: Login| login.try_connect().err().map(|error| error.sqlstate).unwrap_or_default();
    assert_eq!(refused(stage.login("otto")), "28000");
    assert_eq!(refused(stage.login("otto@three")), "28000");
    assert_eq!(refused(stage.login("two_app@filed")), "28000");
    assert_eq!(refused(stage.proxy.login("two_app", "wrong", &stage.database)), "28P01");
    // A directory's users are in its database only: nowhere else do they exist.
    assert_eq!(refused(stage.proxy.login("two_app", PASSWORD, "pgwarden")), "28P01");
    assert_eq!(refused(stage.proxy.login("two_app", PASSWORD, "postgres")), "28P01");
}

#[test]
fn changes_are_in_force_within_a_second_or_so() {
    let stage = Stage::new(kit::cluster(), &[tenant("two", 2), user("two_app", "two")].concat());
    stage.ready();
    let mut longest = Duration::ZERO;
    let mut took = |what: &str, time: Duration| {
        println!("{what}: {} ms", time.as_millis());
        longest = longest.max(time);
    };
    stage.sql(&[tenant("three", 3), user("three_app", "three")].concat());
    let (mut three, time) = stage.login_soon("three_app");
    took("a tenant is added", time);
    assert_eq!(notes(&mut three), "of 3");

    stage.sql("UPDATE pgwarden.tenants SET enabled = false WHERE name = 'three'");
    took("a tenant is switched off, its session ends", ends(&mut three));
    let refused = stage.refused("three_app");
    assert_eq!((&*refused.sqlstate, &*refused.message), ("28000", "the tenant is disabled"));
    stage.sql("UPDATE pgwarden.tenants SET enabled = true WHERE name = 'three'");
    let (mut three, time) = stage.login_soon("three_app");
    took("a tenant is switched on again", time);
    // In the middle of a transaction as well.
    three.query("BEGIN").ok();
    stage.sql("UPDATE pgwarden.users SET enabled = false WHERE name = 'three_app'");
    took("a user is switched off, its session ends", ends(&mut three));
    assert_eq!(stage.refused("three_app").sqlstate, "28P01");

    let (mut two, _) = stage.login_soon("two_app");
    assert_eq!(notes(&mut two), "of 2");
    stage.sql("UPDATE pgwarden.tenants SET key = '4' WHERE name = 'two'");
    let began = Instant::now();
    kit::eventually("the session works with the new key", || notes(&mut two) == "of 4");
    took("a tenant's key is changed", began.elapsed());
    stage.sql("DELETE FROM pgwarden.users WHERE name = 'two_app'");
    took("a user is removed, its session ends", ends(&mut two));
    assert_eq!(stage.refused("two_app").sqlstate, "28P01");

    // The other's session was left alone all the time.
    let mut filed = stage.login("filed_app").connect();
    stage.sql("TRUNCATE pgwarden.tenants CASCADE");
    kit::eventually("nobody is left", || stage.metric("directory_tenants") == 0.0);
    assert_eq!(notes(&mut filed), "of 1");
    assert!(longest < SOON, "{longest:?}");
}

#[test]
fn ten_thousand_tenants_start_and_change_in_about_a_second() {
    let count = 10_000;
    let small = Stage::new(kit::cluster(), "");
    small.ready();
    let empty = small.proxy.rss_kib();
    let fill = format!(
        "INSERT INTO pgwarden.tenants (name, key) SELECT 'tenant_' || n, n FROM generate_series(1, {count}) n;
         UPDATE pgwarden.tenants SET limits = '{{\"transactions\": 10}}' WHERE key::int % 10 = 0;
         DELETE FROM pgwarden.tenants WHERE key = '1';
         INSERT INTO pgwarden.users (name, tenant, verifier)
             SELECT 'user_' || n, 'tenant_' || n, '{}' FROM generate_series(2, {count}) n",
        verifier()
    );
    let stage = Stage::new(kit::cluster(), &fill);
    let began = Instant::now();
    stage.ready();
    let start = began.elapsed();
    let (mut last, _) = stage.login_soon(&format!("user_{count}"));
    assert_eq!(stage.metric("directory_tenants") + 1.0, f64::from(count));
    assert_eq!(notes(&mut stage.login("user_17").connect()), "of 17");
    let grown = stage.proxy.rss_kib().saturating_sub(empty);
    stage.sql("UPDATE pgwarden.tenants SET enabled = false WHERE name = 'tenant_17'");
    let began = Instant::now();
    kit::eventually("it is switched off", || stage.login("user_17").try_connect().is_err());
    let off = began.elapsed();
    stage.sql(&format!("UPDATE pgwarden.users SET enabled = false WHERE name = 'user_{count}'"));
    let end = ends(&mut last);
    println!(
        "10,000 tenants and users: start {} ms, change {} ms, end of a session {} ms, {} bytes a tenant with a user; {}",
        start.as_millis(),
        off.as_millis(),
        end.as_millis(),
        grown * 1024 / u64::from(count as u32),
        stage.proxy.log().lines().rfind(|line| line.contains("directory read")).unwrap_or_default()
    );
    assert!(start < SOON && off < SOON && end < SOON, "{start:?} {off:?} {end:?}");
    // Two readings may be in memory at once, and a debug build's parser.
    assert!(grown < 100 << 10, "{grown} KiB");
}

#[test]
fn rows_that_cannot_be_used_are_left_out_and_named() {
    let bad = format!(
        "ALTER TABLE pgwarden.tenants DROP CONSTRAINT tenants_place; ALTER TABLE pgwarden.users DROP CONSTRAINT users_verifier_check;
         INSERT INTO pgwarden.tenants (name, key) VALUES ('spelled', '007'), ('filed', '9');
         INSERT INTO pgwarden.users (name, tenant, role, verifier) VALUES ('royal', 'good', 'king', '{0}'),
             ('weak', 'good', NULL, 'plain text'), ('filed_app', 'good', NULL, '{0}');",
        verifier()
    );
    let stage = Stage::new(kit::cluster(), &[tenant("good", 5), user("good_app", "good"), bad].concat());
    stage.ready();
    assert_eq!(notes(&mut stage.login("good_app").connect()), "of 5");
    assert_eq!(notes(&mut stage.login("filed_app").connect()), "of 1", "the file counts");
    assert_eq!(stage.metric("directory_rows_left_out"), 5.0);
    let log = stage.proxy.log();
    for name in ["spelled", "filed", "royal", "weak", "filed_app"] {
        let named = |line: &&str| line.contains("directory row left out") && line.contains(&format!("\"{name}\""));
        assert_eq!(log.lines().filter(named).count(), 1, "{name}: {log}");
    }
    assert!(!log.contains("plain text") && !log.contains("SCRAM-SHA-256$4096"), "no secret in the log");
    // Once is enough: what is known already is not said again.
    let mark = stage.proxy.mark();
    stage.sql(&tenant("better", 6));
    stage.proxy.await_log(mark, "directory read");
    kit::eventually("the change is there", || stage.metric("directory_tenants") == 2.0);
    assert_eq!(stage.proxy.log().matches("directory row left out").count(), 5);
}

#[test]
fn the_tables_are_their_readers_alone_and_refuse_what_cannot_be() {
    let stage = Stage::new(kit::cluster(), &[tenant("two", 2), user("two_app", "two")].concat());
    let (shared, reader) = (&stage.shared, &stage.reader);
    for role in [shared.as_str(), "pg_read_all_settings"] {
        for table in ["tenants", "users", "directory_revision"] {
            let sql =
                format!("SELECT has_table_privilege('{role}', 'pgwarden.{table}', 'SELECT, INSERT, UPDATE, DELETE')");
            let sql = if table == "directory_revision" {
                sql.replace(", INSERT, UPDATE, DELETE", ", UPDATE, USAGE").replace("table", "sequence")
            } else {
                sql
            };
            assert_eq!(stage.sql(&sql), "f", "{role} {table}");
        }
    }
    for (privilege, may) in [("SELECT", "t"), ("INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER", "f")] {
        for table in ["tenants", "users"] {
            let sql = format!("SELECT has_table_privilege('{reader}', 'pgwarden.{table}', '{privilege}')");
            assert_eq!(stage.sql(&sql), may, "{reader} {table} {privilege}");
        }
    }
    assert_eq!(stage.sql(&format!("SELECT has_table_privilege('{reader}', 'invoices', 'SELECT')")), "f");
    let as_shared = format!("SET ROLE {shared}; SELECT verifier FROM pgwarden.users");
    assert!(stage.cluster.psql(&stage.database, &as_shared).unwrap_err().to_string().contains("permission denied"));
    let verifier = verifier();
    for (why, sql) in [
        ("tenants_place", tenant("odd", 7).replace("'7'", "'007'")),
        ("tenants_place", tenant("odd", 7).replace("'7'", "NULL")),
        ("tenants_key_key", tenant("odd", 2)),
        ("tenants_name_check", tenant("a@b", 7)),
        ("users_name_check", user("a@b", "two")),
        ("users_tenant_fkey", user("odd", "nowhere")),
        ("users_verifier_check", user("odd", "two").replace(&verifier, "secret")),
        ("users_verifier_check", user("odd", "two").replace(&verifier, "md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
        ("users_tenants", user("odd", "two").replace("'two'", "NULL")),
    ] {
        let error = stage.cluster.psql(&stage.database, &sql).expect_err(why).to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn a_lost_connection_comes_back_and_what_changed_meanwhile_is_read() {
    let stage = Stage::new(kit::cluster(), &[tenant("two", 2), user("two_app", "two")].concat());
    stage.ready();
    for key in 3..6 {
        let mark = stage.proxy.mark();
        let ended = stage.sql(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{}'",
            stage.reader
        ));
        assert_eq!(ended, "1", "one connection follows");
        stage.sql(
            &[tenant(&format!("tenant_{key}"), key), user(&format!("user_{key}"), &format!("tenant_{key}"))].concat(),
        );
        let (mut wire, time) = stage.login_soon(&format!("user_{key}"));
        println!("a change after a lost connection: {} ms", time.as_millis());
        assert_eq!(notes(&mut wire), format!("of {key}"));
        assert!(time < SOON, "{time:?}");
        stage.proxy.await_log(mark, "directory unreachable; what was read last stays in force");
    }
}

#[test]
fn a_directory_out_of_reach_keeps_its_last_rows_and_says_their_age() {
    let mut cluster = Cluster::builder().start().expect("a cluster");
    let database = {
        let stage = Stage::new(&cluster, &[tenant("two", 2), user("two_app", "two")].concat());
        stage.ready();
        // What the proxy reads is taken away: the database itself still answers.
        let mark = stage.proxy.mark();
        stage.sql(&format!(
            "ALTER ROLE {0} NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{0}'",
            stage.reader
        ));
        stage.proxy.await_log(mark, "directory unreachable; what was read last stays in force");
        assert_eq!(notes(&mut stage.login("two_app").connect()), "of 2");
        kit::eventually("its age is told", || {
            let (status, body) = stage.proxy.get("/readyz");
            status == 200 && body.starts_with("ready\nthe directory of database ") && body.contains(" s old: ")
        });
        kit::eventually("and grows", || stage.metric("directory_age_seconds") > 1.0);
        stage.sql(&format!("ALTER ROLE {} LOGIN", stage.reader));
        kit::eventually("it is read again", || stage.proxy.get("/readyz").1 == "ready\n");
        stage.database.clone()
    };
    assert!(cluster.psql(&database, "SELECT 1").is_err(), "the stage is gone");
    cluster.stop(Shutdown::Fast).expect("stop");
}

#[test]
fn a_restarted_server_is_followed_again_and_a_directory_never_read_is_waited_for() {
    let mut cluster = Cluster::builder().start().expect("a cluster");
    let (config, database) = {
        let mut stage = Stage::new(&cluster, &[tenant("two", 2), user("two_app", "two")].concat());
        stage.ready();
        let config = stage.proxy.config();
        let database = std::mem::take(&mut stage.database);
        (config, database)
    };
    let mut proxy = Proxy::start(config);
    let login = |proxy: &Proxy, user: &str| proxy.login(user, PASSWORD, &database).try_connect();
    kit::eventually("the directory was read", || login(&proxy, "two_app").is_ok());
    let mark = proxy.mark();
    cluster.restart().expect("restart");
    proxy.await_log(mark, "directory read");
    cluster.psql(&database, &[tenant("three", 3), user("three_app", "three")].concat()).expect("the script runs");
    let began = Instant::now();
    kit::eventually("changes are followed", || login(&proxy, "three_app").is_ok());
    println!("a change after a restart: {} ms", began.elapsed().as_millis());
    // A proxy that starts while there is no directory serves the file's users, and takes no others.
    cluster.psql(&database, "ALTER SCHEMA pgwarden RENAME TO elsewhere").expect("the script runs");
    let config = proxy.config();
    proxy.terminate();
    let proxy = Proxy::start(config);
    proxy.await_log(0, "directory unreachable; it was not read yet");
    assert!(login(&proxy, "filed_app").is_ok());
    assert_eq!(login(&proxy, "two_app").err().expect("nobody is in it").sqlstate, "28P01");
    cluster.psql(&database, "ALTER SCHEMA elsewhere RENAME TO pgwarden").expect("the script runs");
    kit::eventually("the directory was read", || login(&proxy, "two_app").is_ok());
}
