//! Tenants on a hot standby: the sealed context by HMAC, and a proxy whose shard's primary is a standby.
//!
//! A primary and a standby for each version of PostgreSQL, which all tests of this module share; a database for each type of
//! tenants' keys, protected on the primary.

mod attacks;
mod proxy;
mod seal;

use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::guard::protect::{SAMPLE, keys, rows};
use crate::guard::stand::{KEY, Session, said};
use crate::kit::{Account, Cluster, Config, Login, Proxy, Server, unique};
use crate::talk::Talk;

pub struct Pair {
    pub primary: Cluster,
    pub standby: Cluster,
    app: Account,
    directory: TempDir,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Primary,
    Standby,
}

pub const KEY_TYPES: [&str; 4] = ["bigint", "int", "uuid", "text"];

/// Whose keys a test takes away.
const KEYLESS: &str = "keyless";
/// Whose keys a test locks.
const LOCKED: &str = "locked";

/// What a tenant who may write somewhere on the primary could leave for a careless function to find.
const EVIL: &str = r"
create schema evil; grant usage on schema evil to public;
create function evil.sha256(bytea) returns bytea language sql as $$ select '\x00'::bytea $$;
create function evil.encode(bytea, text) returns text language sql as $$ select repeat('0', 64) $$;
create function evil.convert_to(text, text) returns bytea language sql as $$ select '\x00'::bytea $$;
create function evil.timestamptz_send(timestamptz) returns bytea language sql as $$ select '\x00'::bytea $$;
create function evil.now() returns timestamptz language sql as $$ select 'epoch'::timestamptz $$;
create function evil.clock_timestamp() returns timestamptz language sql as $$ select 'epoch'::timestamptz $$;
create function evil.date_part(text, timestamptz) returns float8 language sql as $$ select 0::float8 $$;
create function evil.pg_backend_pid() returns int language sql as $$ select 1 $$;
create function evil.pg_is_in_recovery() returns boolean language sql as $$ select false $$;
create function evil.currval(regclass) returns bigint language sql as $$ select 2::bigint $$;
create function evil.substr(text, int) returns text language sql as $$ select '1|2' $$;
create function evil.substr(text, int, int) returns text language sql as $$ select repeat('0', 64) $$;
create function evil.split_part(text, text, int) returns text language sql as $$ select '1' $$;
create function evil.yes(bytea, bytea) returns boolean language sql as $$ select true $$;
create function evil.yes(text, text) returns boolean language sql as $$ select true $$;
create operator evil.= (leftarg = bytea, rightarg = bytea, function = evil.yes);
create operator evil.= (leftarg = text, rightarg = text, function = evil.yes);
create function evil.cat(bytea, bytea) returns bytea language sql as $$ select '\x00'::bytea $$;
create operator evil.|| (leftarg = bytea, rightarg = bytea, function = evil.cat);
create domain evil.text as pg_catalog.text check (value <> '');
create domain evil.int8 as pg_catalog.int8;
create schema only_ours; grant usage on schema only_ours to public;
create table only_ours.keys (epoch int, ipad bytea, opad bytea);";

impl Pair {
    pub fn of(server: Server) -> &'static Self {
        static PAIRS: [OnceLock<Pair>; 2] = [OnceLock::new(), OnceLock::new()];
        PAIRS[server as usize].get_or_init(|| Self::new(server))
    }

    pub fn new(server: Server) -> Self {
        let mut primary = server.builder().setting("autovacuum", "off").start().expect("a primary");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("seal.keys"), format!("1:{KEY}\n")).expect("write the key");
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(directory.path().join("seal.keys"), mode).expect("set the mode");
        let app = Account { name: unique("app"), password: unique("secret") };
        let sql = |database: &str, script: &str| primary.psql(database, script).expect("the script runs");
        sql("postgres", "create role own");
        for database in KEY_TYPES.into_iter().chain([KEYLESS, LOCKED]) {
            let key_type = key_type(database);
            sql("postgres", &format!("create database {database} owner own"));
            let schema = SAMPLE.replace("{key}", key_type);
            sql(database, &format!("alter schema public owner to own; set role own; {schema}{}", rows(key_type)));
            let config = config(&primary, &app, &directory, database);
            let dsn = format!("postgresql://postgres:{}@{}/{database}", primary.password(), primary.address());
            let output = pgwarden(&config, &["protect", "--dsn", &dsn, "--apply", "--shared", "countries"]);
            assert!(output.status.success(), "{}", said(&output));
            sql(database, EVIL);
        }
        let standby = primary.standby().expect("a standby");
        standby.catch_up(&primary).expect("the standby follows");
        Self { primary, standby, app, directory }
    }

    pub fn cluster(&self, side: Side) -> &Cluster {
        match side {
            Side::Primary => &self.primary,
            Side::Standby => &self.standby,
        }
    }

    pub fn config(&self, side: Side, database: &str) -> Config {
        config(self.cluster(side), &self.app, &self.directory, database)
    }

    /// A proxy with one backend before one of the two.
    #[track_caller]
    pub fn proxy(&self, side: Side, database: &str) -> Proxy {
        Proxy::start(self.config(side, database))
    }

    pub fn superuser(&self, side: Side, database: &str) -> Session {
        let cluster = self.cluster(side);
        Session::over(Login::new(cluster.address(), cluster.superuser(), cluster.password(), database))
    }

    /// A session as the role that tenants share, with nothing in between.
    pub fn direct(&self, side: Side, database: &str) -> Session {
        Session::over(Login::new(self.cluster(side).address(), &self.app.name, &self.app.password, database))
    }
}

/// As a tenant's user, `one` or `two`.
#[track_caller]
pub fn client(proxy: &Proxy, user: &str) -> Talk {
    Talk::login(proxy.address(), &[("user", user), ("database", "d")], "")
}

pub fn pgwarden(config: &Config, arguments: &[&str]) -> Output {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), config.0.to_string()).expect("write the configuration");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
    command.arg(arguments[0]).arg("--config").arg(file.path()).args(["--database", "d"]).args(&arguments[1..]);
    command.output().expect("run pgwarden")
}

fn key_type(database: &str) -> &'static str {
    KEY_TYPES.into_iter().find(|key_type| *key_type == database).unwrap_or("bigint")
}

fn config(cluster: &Cluster, app: &Account, directory: &TempDir, database: &str) -> Config {
    let key_type = key_type(database);
    let at = |key: &str| format!("databases.d.tenancy.{key}");
    let mut config = Config::for_cluster(cluster)
        .set("pool.size", 1)
        .database("d")
        .set("databases.d.server_database", database)
        .set(&at("key_type"), key_type)
        .set(&at("server_user"), app.name.as_str())
        .set(&at("server_password"), app.password.as_str())
        .set(&at("keys_file"), directory.path().join("seal.keys").display().to_string());
    let (one, two) = keys(key_type);
    for (tenant, key) in [("one", one), ("two", two)] {
        config = config
            .set(&format!("tenants.{tenant}.database"), "d")
            .set(&format!("tenants.{tenant}.key"), key)
            .set(&format!("users.{tenant}.tenant"), tenant)
            .set(&format!("users.{tenant}.danger_trust"), true);
    }
    config
}
