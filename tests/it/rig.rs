//! What the tests of the data path stand on: a database and a role of their own on the shared cluster, and a proxy before it
//! with two users, `alice` and `bob`, who share that role, and so the pool's backends.
//!
//! `PGWARDEN_TEST_DIRECT=1` takes the proxy away: every client goes straight to PostgreSQL. A test that is not about the
//! proxy itself must hold there too; that is how the tests are tested.

use std::net::SocketAddr;

use crate::kit::{self, Config, FaultProxy, Proxy, Way};
use crate::talk::{Talk, startup};

pub struct Rig {
    account: kit::Database,
    address: SocketAddr,
    passwords: bool,
    /// Lives as long as the proxy that talks through it.
    _fault: Option<FaultProxy>,
    // Before the database goes, the proxy does.
    proxy: Option<Proxy>,
}

/// How a [`Rig`] is to be; made by [`Rig::setup`].
pub struct Setup {
    pool: usize,
    mode: &'static str,
    passwords: bool,
    server_lines: Vec<String>,
    pool_lines: Vec<String>,
    user_lines: Vec<(String, String)>,
    tables: Vec<String>,
    server: Option<SocketAddr>,
    bytewise: bool,
}

impl Setup {
    /// Backends, at most.
    pub fn pool(mut self, size: usize) -> Self {
        self.pool = size;
        self
    }

    pub fn mode(mut self, mode: &'static str) -> Self {
        self.mode = mode;
        self
    }

    /// Clients must prove a password; without this, none is asked for.
    pub fn with_password(mut self) -> Self {
        self.passwords = true;
        self
    }

    pub fn server_line(mut self, line: &str) -> Self {
        self.server_lines.push(line.into());
        self
    }

    pub fn pool_line(mut self, line: &str) -> Self {
        self.pool_lines.push(line.into());
        self
    }

    pub fn user_line(mut self, user: &str, line: &str) -> Self {
        self.user_lines.push((user.into(), line.into()));
        self
    }

    /// A whole table of the configuration, as text.
    pub fn table(mut self, text: &str) -> Self {
        self.tables.push(text.into());
        self
    }

    /// Another server in place of PostgreSQL.
    pub fn server_at(mut self, address: SocketAddr) -> Self {
        self.server = Some(address);
        self
    }

    /// Everything between proxy and server comes one byte at a time.
    pub fn server_byte_by_byte(mut self) -> Self {
        self.bytewise = true;
        self
    }

    fn config(&self, account: &kit::Database, server: SocketAddr) -> String {
        let mut out = String::from("[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n");
        let lines = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        out.push_str(&lines(&self.server_lines));
        out.push_str("[log]\nlevel = \"info\"\nformat = \"json\"\n");
        out.push_str("[admin]\nadmins = [\"alice\"]\n");
        out.push_str(&format!("[pool]\nmode = \"{}\"\nsize = {}\n{}", self.mode, self.pool, lines(&self.pool_lines)));
        out.push_str(&format!(
            "[shards.main]\nprimary = {{ host = \"{}\", port = {}, tls = \"disable\" }}\n",
            server.ip(),
            server.port()
        ));
        out.push_str(&format!("[databases.{}]\nshard = \"main\"\n", account.name));
        for user in ["alice", "bob"] {
            out.push_str(&format!("[users.{user}]\n"));
            match self.passwords {
                true => out.push_str(&format!("password = \"{}\"\n", account.owner.password)),
                false => out.push_str("danger_trust = true\n"),
            }
            out.push_str(&format!(
                "server_user = \"{}\"\nserver_password = \"{}\"\n",
                account.owner.name, account.owner.password
            ));
            for (_, line) in self.user_lines.iter().filter(|(name, _)| name == user) {
                out.push_str(&format!("{line}\n"));
            }
        }
        out.push_str(&lines(&self.tables));
        out
    }

    #[track_caller]
    pub fn start(self) -> Rig {
        let account = kit::database();
        let server = self.server.unwrap_or_else(|| kit::cluster().address());
        if std::env::var_os("PGWARDEN_TEST_DIRECT").is_some() {
            return Rig { account, address: server, passwords: true, _fault: None, proxy: None };
        }
        let fault = self.bytewise.then(|| {
            let fault = FaultProxy::start(server);
            fault.to_client(Way::split(1));
            fault.to_server(Way::split(1));
            fault
        });
        let server = fault.as_ref().map_or(server, FaultProxy::address);
        let proxy = Proxy::start(Config(self.config(&account, server).parse().expect("a TOML table")));
        Rig { account, address: proxy.address(), passwords: self.passwords, _fault: fault, proxy: Some(proxy) }
    }
}

impl Rig {
    /// One backend, transaction pooling, two users who need no password.
    #[track_caller]
    pub fn new() -> Self {
        Self::setup().start()
    }

    pub fn setup() -> Setup {
        Setup {
            pool: 1,
            mode: "transaction",
            passwords: false,
            server_lines: Vec::new(),
            pool_lines: Vec::new(),
            user_lines: Vec::new(),
            tables: Vec::new(),
            server: None,
            bytewise: false,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn database(&self) -> &str {
        &self.account.name
    }

    /// The role on the server that both users share.
    pub fn role(&self) -> &str {
        &self.account.owner.name
    }

    pub fn password(&self) -> &str {
        &self.account.owner.password
    }

    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("this test is about the proxy itself")
    }

    #[track_caller]
    pub fn client(&self, user: &str) -> Talk {
        self.client_with(user, &[])
    }

    #[track_caller]
    pub fn client_with(&self, user: &str, startup: &[(&str, &str)]) -> Talk {
        let mut pairs = vec![("user", self.user(user)), ("database", self.database())];
        pairs.extend_from_slice(startup);
        Talk::login(self.address, &pairs, if self.passwords { self.password() } else { "" })
    }

    /// The name that a user logs in with.
    pub fn user<'a>(&'a self, user: &'a str) -> &'a str {
        if self.proxy.is_some() { user } else { self.role() }
    }

    /// A client's first bytes: the startup packet of a user.
    pub fn hello(&self, user: &str) -> Vec<u8> {
        startup(&[("user", self.user(user)), ("database", self.database())])
    }

    /// The console.
    #[track_caller]
    pub fn console(&self) -> Talk {
        let password = if self.passwords { self.password() } else { "" };
        Talk::login(self.address, &[("user", "alice"), ("database", "pgwarden")], password)
    }

    /// The server's superuser, without the proxy, in this test's database.
    #[track_caller]
    pub fn superuser(&self) -> Talk {
        let cluster = kit::cluster();
        let pairs = [("user", cluster.superuser()), ("database", self.database())];
        Talk::login(cluster.address(), &pairs, cluster.password())
    }

    /// The shared role, without the proxy.
    #[track_caller]
    pub fn direct(&self) -> Talk {
        let pairs = [("user", self.role()), ("database", self.database())];
        Talk::login(kit::cluster().address(), &pairs, self.password())
    }

    /// Ends a backend from outside; returns once it is gone.
    #[track_caller]
    pub fn terminate(&self, pid: &str) {
        let mut admin = self.superuser();
        admin.query(&format!("SELECT pg_terminate_backend({pid})"));
        // Its end is the end of its socket: the process is a zombie or gone then.
        self.eventually("the backend is gone", || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
            Err(_) => true,
        });
    }

    /// Waits until the server runs a statement of this database that contains the text.
    #[track_caller]
    pub fn wait_until_running(&self, text: &str) {
        let mut admin = self.superuser();
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
             AND state = 'active' AND query LIKE '%{}%' AND (wait_event = 'PgSleep' OR query NOT LIKE '%pg_sleep%')",
            text.replace('\'', "''")
        );
        self.eventually(text, || admin.value(&sql) != "0");
    }

    #[track_caller]
    pub fn eventually(&self, what: &str, holds: impl FnMut() -> bool) {
        kit::eventually(what, holds);
    }
}
