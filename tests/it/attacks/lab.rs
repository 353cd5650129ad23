//! The database under attack, with both walls or one of them, and how it is seen whether anything of another's changed.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use tempfile::TempDir;

use super::client::{Client, Entry};
use crate::kit::{self, Account, Config, Login, Proxy, Wire};

/// What stands between the tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// Row security under a sealed context, and policy.
    BothSealed,
    /// Row security by a setting, and policy.
    BothSetting,
    /// Row security under a sealed context; policy lets everything through.
    Database,
    /// As `Database`, and no proxy either: as the shared role, which holds the tenant's context.
    Direct,
    /// No row security and every grant there could be; policy and rewriting.
    Policy,
}

impl Wall {
    pub fn label(self) -> &'static str {
        match self {
            Self::BothSealed => "both, sealed",
            Self::BothSetting => "both, setting",
            Self::Database => "database alone",
            Self::Direct => "database, direct",
            Self::Policy => "policy alone",
        }
    }

    fn has_database(self) -> bool {
        self != Self::Policy
    }
}

/// How tenants are kept apart in what is attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    Row,
    Schema,
}

pub struct Lab {
    pub wall: Wall,
    pub database: String,
    pub proxy: Option<Proxy>,
    config: Config,
    /// A second proxy, with room for two tenants at once.
    wide: OnceLock<Proxy>,
    _keys: TempDir,
    roles: [(&'static str, Account); 4],
    superuser: Mutex<Wire>,
    /// The roles' stored verifiers.
    verifiers: Vec<(String, String)>,
    victim: Mutex<Vec<(Ground, String)>>,
}

/// State that is compared before and after an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Rows that are not the attacker's.
    pub others: String,
    /// Roles, grants, objects, policies.
    pub shape: String,
    /// The attacker's own rows, which he may change.
    pub own: String,
}

pub const KEY: &str = "6b657920666f7220746573747320616e64206e6f7468696e6720656c73652e2e";

/// Tables with rows of tenants, without those of their children.
const TABLES: [&str; 16] = [
    "a.invoices",
    "b.invoices",
    "a.customers",
    "b.customers",
    "a.lines",
    "a.lines_r",
    "a.parent_1",
    "a.parent_2",
    "a.family",
    "a.child",
    "a.all_invoices",
    "a.newtable",
    "a.imm",
    "a.perm",
    "a.nullopen",
    "a.rr",
];

impl Lab {
    pub fn new(wall: Wall) -> Self {
        Self::with(wall, |config| config)
    }

    pub fn with(wall: Wall, change: impl FnOnce(Config) -> Config) -> Self {
        let database = kit::database();
        let roles = [("own", database.owner.clone()), ("rt", kit::role()), ("t1r", kit::role()), ("t2r", kit::role())];
        let name = database.name.clone();
        let fill = |script: &str| fill(script, &name, &roles);
        kit::sql(&name, &fill(include_str!("lab.sql")));
        kit::sql(
            &name,
            &fill(if wall.has_database() { include_str!("careful.sql") } else { include_str!("careless.sql") }),
        );
        let (rt, t1r, t2r) = (&roles[1].1, &roles[2].1, &roles[3].1);
        let directory = tempfile::tempdir().expect("a directory");
        let keys = directory.path().join("seal.keys");
        std::fs::write(&keys, format!("1:{KEY}\n")).expect("a file of keys");
        let mut config = Config::for_cluster(kit::cluster()).set("pool.size", 1);
        for database in ["lab", "labc"] {
            config = config.database(database).set(&format!("databases.{database}.server_database"), name.as_str());
        }
        let row = |key: &str| format!("databases.lab.tenancy.{key}");
        config = config
            .set(&row("isolation"), "row")
            .set(&row("key_type"), "int")
            .set(&row("schemas"), vec!["a", "b", "bench"])
            .set(&row("server_user"), rt.name.as_str())
            .set(&row("server_password"), rt.password.as_str())
            .set("databases.labc.tenancy.isolation", "schema");
        config = match wall {
            Wall::BothSealed | Wall::Database | Wall::Direct => {
                config.set(&row("context"), "sealed").set(&row("keys_file"), keys.display().to_string())
            }
            Wall::BothSetting | Wall::Policy => {
                config.set(&row("context"), "setting").set(&row("setting"), "app.tenant_id")
            }
        };
        if wall == Wall::Database {
            config =
                config.set(&row("danger_open_policy"), true).set("databases.labc.tenancy.danger_open_policy", true);
        }
        if wall == Wall::Policy {
            config = config.set(&row("danger_open_wall"), true).set(&row("rewrite"), "all");
        }
        let tenants = [("one", "lab"), ("two", "lab"), ("c1", "labc"), ("c2", "labc")];
        for (at, (tenant, database)) in tenants.into_iter().enumerate() {
            let at_tenant = |key: &str| format!("tenants.{tenant}.{key}");
            config = config.set(&at_tenant("database"), database);
            config = match database {
                "lab" => config.set(&at_tenant("key"), (at + 1).to_string()),
                _ => {
                    let role = if tenant == "c1" { t1r } else { t2r };
                    let schema = if tenant == "c1" { "t1" } else { "t2" };
                    config
                        .set(&at_tenant("schema"), schema)
                        .set(&at_tenant("server_user"), role.name.as_str())
                        .set(&at_tenant("server_password"), role.password.as_str())
                }
            };
            config = config
                .set(&format!("users.{tenant}.tenant"), tenant)
                .set(&format!("users.{tenant}.role"), "writer")
                .set(&format!("users.{tenant}.danger_trust"), true);
        }
        let config = change(config);
        if wall.has_database() {
            protect(&config, "lab", &name);
        }
        let proxy = (wall != Wall::Direct).then(|| Proxy::start(config.clone()));
        let cluster = kit::cluster();
        let superuser = Login::new(cluster.address(), cluster.superuser(), cluster.password(), &name).connect();
        let mut lab = Self {
            wall,
            database: name,
            proxy,
            config,
            wide: OnceLock::new(),
            _keys: directory,
            roles,
            superuser: superuser.into(),
            verifiers: Vec::new(),
            victim: Mutex::default(),
        };
        lab.verifiers = lab
            .superuser(&lab.with_roles("SELECT rolname, rolpassword FROM pg_authid WHERE rolname IN ({roles})"))
            .into_iter()
            .map(|row| (row[0].clone().unwrap_or_default(), row[1].clone().unwrap_or_default()))
            .collect();
        let fresh = [Ground::Row, Ground::Schema].map(|ground| (ground, lab.victim_sees(ground)));
        lab.victim.lock().expect("no panic under the lock").extend(fresh);
        lab
    }

    /// A session of tenant 1 or 2.
    pub fn client(&self, ground: Ground, tenant: u8) -> Client {
        Client::new(self.login(ground, tenant), None)
    }

    /// As whom to log in.
    pub fn login(&self, ground: Ground, tenant: u8) -> Login {
        self.login_at(self.proxy.as_ref().expect("this wall has a proxy"), ground, tenant)
    }

    fn login_at(&self, proxy: &Proxy, ground: Ground, tenant: u8) -> Login {
        let (database, user) = match (ground, tenant) {
            (Ground::Row, 1) => ("lab", "one"),
            (Ground::Row, _) => ("lab", "two"),
            (Ground::Schema, 1) => ("labc", "c1"),
            (Ground::Schema, _) => ("labc", "c2"),
        };
        proxy.login(user, "", database)
    }

    /// As the role itself, straight to the database, with or without the context of tenant 1.
    pub fn direct(&self, ground: Ground, entered: bool) -> Client {
        let role = match ground {
            Ground::Row => &self.roles[1].1,
            Ground::Schema => &self.roles[2].1,
        };
        let login = Login::new(kit::cluster().address(), &role.name, &role.password, &self.database);
        let login = match ground {
            Ground::Row => login.parameter("search_path", "a,b"),
            Ground::Schema => login.parameter("search_path", "t1"),
        };
        let entry = Entry { key: KEY, tenant: "1" };
        // The one before may have changed it.
        let verifier = self.verifiers.iter().find(|(name, _)| *name == role.name);
        let verifier = verifier.map(|(_, verifier)| verifier.as_str()).unwrap_or_default();
        self.superuser(&format!("ALTER ROLE {} PASSWORD '{verifier}'", role.name));
        let client = Client::new(login, (entered && ground == Ground::Row).then_some(entry));
        assert!(client.is_open(), "{:?}", client.refused);
        client
    }

    /// Logins of the tenants 1 and 2 where both can be at work at once; absent where there is no proxy.
    pub fn side_by_side(&self, ground: Ground) -> Option<(Login, Login)> {
        self.proxy.as_ref()?;
        let wide = self.wide.get_or_init(|| Proxy::start(self.config.clone().set("pool.size", 4)));
        Some((self.login_at(wide, ground, 1), self.login_at(wide, ground, 2)))
    }

    /// Puts names into a text: `{rt}`, `{db}` and so on.
    pub fn fill(&self, text: &str) -> String {
        fill(text, &self.database, &self.roles)
    }

    /// Runs a script as the superuser; its values.
    pub fn superuser(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.superuser.lock().expect("no panic under the lock").query(sql).ok().rows()
    }

    pub fn state(&self) -> State {
        let mut sql = String::from("SELECT (SELECT concat(count(*), ' ', sum(hashtextextended(x, 0))) FROM (");
        let rows = |tenants: &str| {
            let mut parts = String::new();
            for table in TABLES {
                let _ = write!(parts, "SELECT '{table}' || t::text FROM ONLY {table} t WHERE {tenants} UNION ALL ");
            }
            parts
        };
        let _ = write!(
            sql,
            "{} SELECT concat('bench', count(*), ' ', sum(hashtext(email)::int8 + id + created + amount)) FROM bench.big WHERE tenant_id = 2 \
             UNION ALL SELECT 't2' || t::text FROM t2.invoices t \
             UNION ALL SELECT 'lo' || encode(data, 'hex') FROM pg_largeobject) s(x)), \
             (SELECT concat(count(*), ' ', sum(hashtextextended(x, 0))) FROM ({SHAPE}) s(x)), \
             (SELECT concat(count(*), ' ', sum(hashtextextended(x, 0))) FROM ({} \
             SELECT concat('bench', count(*), ' ', sum(hashtext(email)::int8 + id + created + amount)) FROM bench.big WHERE tenant_id = 1 \
             UNION ALL SELECT 't1' || t::text FROM t1.invoices t) s(x))",
            rows("tenant_id IS DISTINCT FROM 1"),
            rows("tenant_id = 1"),
        );
        let answer = self.superuser(&self.with_roles(&sql));
        let value = |at: usize| answer[0][at].clone().unwrap_or_default();
        State { others: value(0), shape: value(1), own: value(2) }
    }

    fn with_roles(&self, sql: &str) -> String {
        let roles: Vec<String> = self.roles.iter().map(|(_, role)| format!("'{}'", role.name)).collect();
        sql.replace("{roles}", &roles.join(","))
    }

    /// Puts back what an attacker did to his own rows and to the roles.
    pub fn mend(&self) {
        let mut sql = String::from("BEGIN; SET LOCAL session_replication_role = replica;");
        for table in TABLES {
            if table == "a.parent_2" {
                continue;
            }
            let _ = write!(
                sql,
                "DELETE FROM ONLY {table} WHERE tenant_id = 1; INSERT INTO {table} SELECT * FROM saved.\"{table}\";"
            );
        }
        sql.push_str(
            "DELETE FROM t1.invoices; INSERT INTO t1.invoices SELECT id, email, amount FROM saved.\"b.invoices\";\
             UPDATE bench.big SET amount = id WHERE tenant_id = 1 AND amount IS DISTINCT FROM id;",
        );
        for (role, verifier) in &self.verifiers {
            let _ = write!(sql, "ALTER ROLE {role} RESET ALL; ALTER ROLE {role} PASSWORD '{verifier}';");
        }
        sql.push_str("COMMIT");
        self.superuser(&sql);
    }

    /// What tenant 2's next session sees: its rows, and what is left in the session.
    pub fn victim_sees(&self, ground: Ground) -> String {
        if self.wall == Wall::Direct {
            return String::new();
        }
        let mut client = self.client(ground, 2);
        if let Some(error) = &client.refused {
            return format!("{error:?}");
        }
        let mut seen = match ground {
            Ground::Row => client.values("SELECT count(*), min(tenant_id), max(tenant_id), min(email) FROM a.invoices"),
            Ground::Schema => client.values("SELECT count(*), min(email), min(id) FROM invoices"),
        };
        let settings = SETTINGS.map(|setting| format!("current_setting('{setting}')")).join(", ");
        let _ = write!(seen, " {}", client.values(&format!("SELECT {settings}")));
        // The session is at rest, and still holds the server connection where its mode says so.
        let left = "SELECT (SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
                    WHERE d.datname = current_database() AND locktype = 'advisory'), \
                    (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname LIKE 'pg\\_temp%'), \
                    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%')";
        let _ = write!(seen, " left={:?}", self.superuser(left)[0]);
        client.end();
        seen
    }

    /// What is wrong with tenant 2's next session; nothing if it is as at the start.
    pub fn victim_is_hurt(&self, ground: Ground) -> Option<String> {
        let fresh =
            self.victim.lock().expect("no panic under the lock").iter().find(|(of, _)| *of == ground).cloned()?.1;
        // What the attacker left is cleaned up when his connection has been seen to end.
        let mut seen = self.victim_sees(ground);
        for _ in 0..20 {
            if seen == fresh {
                return None;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
            seen = self.victim_sees(ground);
        }
        Some(format!("tenant 2 sees {seen}\n      in place of {fresh}"))
    }
}

const SETTINGS: [&str; 14] = [
    "search_path",
    "DateStyle",
    "TimeZone",
    "client_encoding",
    "standard_conforming_strings",
    "enable_seqscan",
    "work_mem",
    "statement_timeout",
    "default_transaction_read_only",
    "row_security",
    "plan_cache_mode",
    "application_name",
    "session_authorization",
    "role",
];

const SHAPE: &str = "
    SELECT concat('class', nspname, relname, relkind, relowner, relacl::text, relrowsecurity, relforcerowsecurity, reloptions::text)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname !~ '^pg_(temp|toast)'
    UNION ALL SELECT concat('namespace', nspname, nspowner, nspacl::text) FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast)'
    UNION ALL SELECT concat('proc', oid, proname, prosrc, proowner, proacl::text, prosecdef, proconfig::text) FROM pg_proc
      WHERE pronamespace <> 'pg_catalog'::regnamespace AND pronamespace::regnamespace::text !~ '^pg_temp'
    UNION ALL SELECT concat('proc', count(*), ' ', sum(xmin::text::int8)) FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
    UNION ALL SELECT concat('policy', polrelid, polname, polcmd, polroles::text, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) FROM pg_policy
    UNION ALL SELECT concat('trigger', tgrelid, tgname, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat('rewrite', ev_class, rulename) FROM pg_rewrite r JOIN pg_class c ON c.oid = ev_class WHERE relnamespace::regnamespace::text !~ '^pg_temp'
    UNION ALL SELECT concat('attribute', attrelid, attnum, attname, atttypid, attacl::text, pg_get_expr(adbin, adrelid)) FROM pg_attribute
      JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
      WHERE attrelid > 16383 AND relnamespace::regnamespace::text !~ '^pg_(temp|toast)'
    UNION ALL SELECT concat('role', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolbypassrls, rolconnlimit, rolpassword) FROM pg_authid
      WHERE rolname IN ({roles})
    UNION ALL SELECT concat('setting', setrole, setconfig::text) FROM pg_db_role_setting
      WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) OR setrole IN (SELECT oid FROM pg_roles WHERE rolname IN ({roles}))
    UNION ALL SELECT concat('member', roleid, member, admin_option) FROM pg_auth_members WHERE member IN (SELECT oid FROM pg_roles WHERE rolname IN ({roles}))
    UNION ALL SELECT concat('database', datacl::text, datconnlimit) FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT concat('more', pubname) FROM pg_publication UNION ALL SELECT concat('more', extname) FROM pg_extension
    UNION ALL SELECT concat('more', evtname) FROM pg_event_trigger UNION ALL SELECT concat('more', srvname) FROM pg_foreign_server
    UNION ALL SELECT concat('type', typname, typowner) FROM pg_type WHERE typnamespace::regnamespace::text !~ '^pg_'
    UNION ALL SELECT concat('operator', oprname, oprowner) FROM pg_operator WHERE oprnamespace::regnamespace::text !~ '^pg_'
    UNION ALL SELECT concat('large', oid, lomowner, lomacl::text) FROM pg_largeobject_metadata";

fn fill(text: &str, database: &str, roles: &[(&str, Account)]) -> String {
    let named = roles
        .iter()
        .fold(text.replace("{db}", database), |text, (name, role)| text.replace(&format!("{{{name}}}"), &role.name));
    named.replace("{ta}", &roles[3].1.name)
}

/// Makes a database safe, as an operator would: `name` is what the configuration calls it.
pub fn protect(config: &Config, name: &str, database: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("pgwarden.toml");
    std::fs::write(&file, config.0.to_string()).expect("a configuration file");
    let cluster = kit::cluster();
    let (user, password, address) = (cluster.superuser(), cluster.password(), cluster.address());
    let dsn = format!("postgresql://{user}:{password}@{address}/{database}");
    let output = Command::new(env!("CARGO_BIN_EXE_pgwarden"))
        .args(["protect", "--config"])
        .arg(&file)
        .args(["--database", name, "--dsn", &dsn, "--apply"])
        .output()
        .expect("pgwarden protect runs");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    if std::env::var_os("PGWARDEN_SHOW_PROTECT").is_some() {
        eprintln!("{said}");
    }
}
