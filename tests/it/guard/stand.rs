//! A database with tenants, its configuration, and sessions straight to the server as the role that tenants share.

use std::path::PathBuf;
use std::process::{Command, Output};

use pgwarden::config::{SealKey, Secret};
use pgwarden::guard::seal;
use pgwarden::seal::{Sealer, Session as Bound};
use pgwarden::tenant::{KeyType, TenantKey};

use crate::kit::{Account, Config, Database, Login, Server, Wire, unique};

pub const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// How a test's tenants are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    Sealed,
    Setting,
}

pub struct Stand {
    pub server: Server,
    pub database: Database,
    /// The role that tenants share; `protect` makes it.
    pub app: Account,
    pub context: Context,
    pub key_type: &'static str,
    directory: tempfile::TempDir,
    pub more: Vec<(String, toml::Value)>,
}

impl Stand {
    /// A database owned by an ordinary role, filled by this script as that role (`{key}` is the type of the tenants' keys).
    pub fn new(context: Context, key_type: &'static str, schema: &str) -> Self {
        Self::on(Server::Installed, context, key_type, schema)
    }

    pub fn on(server: Server, context: Context, key_type: &'static str, schema: &str) -> Self {
        // Holds the cluster-wide owner's role, so that undoing one database's wall does not race with another test's making.
        let keep = "do $$ begin create role pgwarden_owner nologin noinherit; exception when duplicate_object or unique_violation then null; end $$";
        server.sql("postgres", keep);
        let database = server.database();
        let app = Account { name: unique("app"), password: unique("secret") };
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("seal.keys"), format!("1:{KEY}\n")).expect("write the key");
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(directory.path().join("seal.keys"), mode).expect("set the mode");
        let stand = Self { server, database, app, context, key_type, directory, more: Vec::new() };
        stand.superuser(&format!(
            "alter schema public owner to {0}; set role {0}; {1}",
            stand.database.owner.name,
            schema.replace("{key}", key_type)
        ));
        stand
    }

    /// Runs a script as the superuser in this database.
    pub fn superuser(&self, script: &str) -> String {
        self.server.sql(&self.database.name, script)
    }

    pub fn write_keys(&self, text: &str) {
        std::fs::write(self.directory.path().join("seal.keys"), text).expect("write the keys");
    }

    pub fn config(&self) -> PathBuf {
        let at = |key: &str| format!("databases.d.tenancy.{key}");
        let mut config = Config::for_cluster(self.server.cluster())
            .database("d")
            .set("databases.d.server_database", self.database.name.as_str())
            .set(&at("key_type"), self.key_type)
            .set(&at("server_user"), self.app.name.as_str())
            .set(&at("server_password"), self.app.password.as_str())
            .set("tenants.one.database", "d")
            .set("tenants.one.key", super::protect::keys(self.key_type).0)
            .user("one", "a password for one")
            .set("users.one.tenant", "one")
            .set("users.one.role", "writer");
        config = match self.context {
            Context::Sealed => config.set(&at("keys_file"), "seal.keys"),
            Context::Setting => config.set(&at("context"), "setting").set(&at("setting"), "app.tenant_id"),
        };
        for (key, value) in &self.more {
            config = config.set(&at(key), value.clone());
        }
        let path = self.directory.path().join("pgwarden.toml");
        std::fs::write(&path, config.0.to_string()).expect("write the configuration");
        path
    }

    pub fn pgwarden(&self, arguments: &[&str]) -> Output {
        let config = self.config();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
        command.arg(arguments[0]).arg("--config").arg(config).args(["--database", "d"]).args(&arguments[1..]);
        command.env("PGPASSWORD", self.server.cluster().password()).output().expect("run pgwarden")
    }

    /// `protect` as the superuser; what it printed. Fails the test where it fails.
    #[track_caller]
    pub fn protect(&self, arguments: &[&str]) -> String {
        let dsn = "postgresql://postgres@";
        let output = self.pgwarden(&[&["protect", "--dsn", dsn], arguments].concat());
        let text = said(&output);
        assert!(output.status.success(), "{text}");
        text
    }

    /// A session as the shared role.
    pub fn app(&self) -> Session {
        let address = self.server.cluster().address();
        Session::over(Login::new(address, &self.app.name, &self.app.password, &self.database.name))
    }
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn key(epoch: u32, hex: &str) -> SealKey {
    SealKey { epoch, hex: Secret::new(hex) }
}

fn sealer(key: &SealKey) -> Sealer {
    Sealer::new(key).expect("a key of the right form")
}

fn tenant_key(text: &str) -> TenantKey {
    let kind = match text {
        _ if text.contains('-') => KeyType::Uuid,
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => KeyType::Bigint,
        _ => KeyType::Text,
    };
    TenantKey::parse(kind, text).expect("a tenant's key")
}

/// A session straight to the server.
pub struct Session {
    pub wire: Wire,
    turn: i64,
}

impl Session {
    pub fn over(login: Login) -> Self {
        Self { wire: login.connect(), turn: 0 }
    }

    /// Runs a Query: the rows' values, or `!SQLSTATE message`.
    pub fn ask(&mut self, sql: &str) -> String {
        let reply = self.wire.query(sql);
        match reply.errors().first() {
            Some(error) => format!("!{} {}", error.sqlstate, error.message),
            None => reply.rows().iter().map(|row| row_text(row)).collect::<Vec<_>>().join(";"),
        }
    }

    pub fn pid(&mut self) -> i32 {
        self.ask("select pg_backend_pid()").parse().expect("a number")
    }

    pub fn hello(&mut self) -> i64 {
        self.turn = 0;
        self.ask("select pgwarden.hello()").parse().expect("a nonce")
    }

    /// Enters a tenant as the proxy does; what `enter` says.
    pub fn enter(&mut self, tenant: &str) -> String {
        let nonce = self.hello();
        self.enter_with(&key(1, KEY), tenant, nonce)
    }

    pub fn enter_with(&mut self, key: &SealKey, tenant: &str, nonce: i64) -> String {
        self.turn += 1;
        let statement = self.token(key, tenant, self.turn, nonce);
        self.ask(&statement)
    }

    /// The statement with a good token.
    pub fn token(&mut self, key: &SealKey, tenant: &str, turn: i64, nonce: i64) -> String {
        let pid = self.pid();
        let mac = sealer(key).token(&tenant_key(tenant), Bound { pid, nonce, turn });
        seal::enter_statement(key, tenant, turn, &mac)
    }

    /// The statement with a good token for a transaction on a standby, which expires so many seconds from now.
    pub fn transaction_token(&mut self, key: &SealKey, tenant: &str, seconds: i64) -> String {
        let pid = self.pid();
        let clock = self.ask("select extract(epoch from clock_timestamp())::bigint");
        let expires = clock.parse::<i64>().expect("seconds") + seconds;
        let mac = sealer(key).transaction_token(&tenant_key(tenant), pid, expires);
        seal::enter_transaction_statement(key, tenant, expires, &mac)
    }
}

fn row_text(row: &[Option<String>]) -> String {
    row.iter().map(|value| value.clone().unwrap_or_else(|| "null".to_owned())).collect::<Vec<_>>().join(",")
}
