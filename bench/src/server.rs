//! The PostgreSQL server of a benchmark: a throwaway cluster with the user and the tables that the workloads need.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use pgwarden::cluster::Cluster;

use crate::client::{Buffer, Client, Login};
use crate::pgbench::{self, SCALE, TENANT_ACCOUNTS};
use crate::workload::{Context as TenantContext, TENANTS};

pub const USER: &str = "app";
pub const DATABASE: &str = "bench";
/// The user's password, which proxies need towards the server.
pub const PASSWORD: &str = "benchmark";

/// The role that all tenants share, with the user's password.
pub const TENANTS_ROLE: &str = "tenants";
/// Accounts of each tenant but the first.
pub const OTHER_ACCOUNTS: usize = 10;
/// Rows of the table `scanned`, all of them the first tenant's: enough for PostgreSQL to scan it in parallel.
pub const SCANNED: usize = 300_000;
const TENANT_TABLES: &str = include_str!("../tenant-tables.sql");

/// Beyond what a throwaway cluster has anyway (no fsync): room for a thousand direct clients, and nothing that starts
/// on its own in the middle of a run.
const SETTINGS: [(&str, &str); 7] = [
    ("max_connections", "1200"),
    ("shared_buffers", "512MB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1d"),
    ("autovacuum", "off"),
    ("jit", "off"),
    ("log_min_messages", "error"),
];

/// A running server; dropping it removes it.
pub struct Server {
    cluster: Cluster,
    /// The user's stored SCRAM verifier, as in `pg_authid`.
    pub verifier: String,
    pub version: String,
}

impl Server {
    /// Makes the server, with pgbench's tables and `rows100` in it.
    pub fn start() -> Result<Server> {
        let builder = SETTINGS.iter().fold(Cluster::builder(), |builder, (name, value)| builder.setting(*name, value));
        let cluster = builder.start()?;
        cluster.psql("postgres", &format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"))?;
        cluster.psql("postgres", &format!("CREATE DATABASE {DATABASE} OWNER {USER}"))?;
        let verifier = verifier_of(&cluster, USER)?;
        let version = first_line(Command::new(cluster.program("postgres")).arg("--version"))?;
        let server = Server { cluster, verifier, version };

        let login = Login::new(server.port(), USER, DATABASE, PASSWORD);
        pgbench::init(&server.pgbench(), &login)?;
        let mut client = Client::connect(&login, Buffer::Small)?;
        client.query("CREATE TABLE rows100 (pad text NOT NULL)")?;
        client.query("INSERT INTO rows100 SELECT repeat('x', 100) FROM generate_series(1, 100000)")?;
        client.query(COPIED)?;
        server.settle(DATABASE)?;
        Ok(server)
    }

    /// Makes the database of the tenants who share tables under `context`, not yet protected.
    pub fn make_tenants(&self, context: TenantContext, dir: &Path) -> Result<()> {
        let database = context.name();
        if self
            .cluster
            .psql("postgres", &format!("SELECT 1 FROM pg_roles WHERE rolname = '{TENANTS_ROLE}'"))?
            .is_empty()
        {
            self.cluster.psql("postgres", &format!("CREATE ROLE {TENANTS_ROLE} LOGIN PASSWORD '{PASSWORD}'"))?;
        }
        self.cluster.psql("postgres", &format!("CREATE DATABASE {database}"))?;
        let file = dir.join("tenant-tables.sql");
        std::fs::write(&file, TENANT_TABLES)?;
        self.fill(database, &file, (1, 1), (SCALE, TENANT_ACCOUNTS))?;
        self.fill(database, &file, (2, TENANTS), (1, OTHER_ACCOUNTS))?;
        self.cluster.psql(database, COPIED)?;
        self.cluster.psql(
            database,
            &format!(
                "CREATE TABLE scanned (tenant_id bigint NOT NULL, pad text NOT NULL);
                 INSERT INTO scanned SELECT 1, repeat('x', 100) FROM generate_series(1, {SCANNED});
                 CREATE INDEX ON scanned (tenant_id)"
            ),
        )?;
        Ok(())
    }

    fn fill(&self, database: &str, file: &Path, tenants: (usize, usize), size: (usize, usize)) -> Result<()> {
        let mut command = Command::new(self.cluster.program("psql"));
        command.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-h", self.cluster.host()]);
        command.args(["-p", &self.port().to_string(), "-U", self.cluster.superuser(), "-d", database]);
        let values = [("first", tenants.0), ("last", tenants.1), ("scale", size.0), ("accounts", size.1)];
        for (name, value) in values {
            command.arg("-v").arg(format!("{name}={value}"));
        }
        let output = command.arg("-f").arg(file).env("PGPASSWORD", self.cluster.password()).output()?;
        ensure!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What tables in a database need before they are measured.
    pub fn settle(&self, database: &str) -> Result<()> {
        self.cluster.psql(database, "VACUUM (ANALYZE, FREEZE)")?;
        self.cluster.psql(database, "CHECKPOINT")?;
        Ok(())
    }

    /// A role's stored SCRAM verifier.
    pub fn verifier_of(&self, role: &str) -> Result<String> {
        verifier_of(&self.cluster, role)
    }

    /// The superuser's name and password.
    pub fn superuser(&self) -> (&str, &str) {
        (self.cluster.superuser(), self.cluster.password())
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> Option<i32> {
        self.cluster.pid().and_then(|pid| i32::try_from(pid).ok())
    }

    pub fn port(&self) -> u16 {
        self.cluster.port()
    }

    pub fn pgbench(&self) -> PathBuf {
        self.cluster.program("pgbench")
    }

    /// Puts tables that a load changes in the state in which it wants them.
    pub fn tidy(&self, database: &str) -> Result<()> {
        for sql in ["VACUUM pgbench_branches", "VACUUM pgbench_tellers", "TRUNCATE pgbench_history", "TRUNCATE copied"]
        {
            self.cluster.psql(database, sql)?;
        }
        Ok(())
    }
}

/// Where rows are copied to, with or without tenants.
const COPIED: &str = "CREATE TABLE copied (tenant_id bigint NOT NULL DEFAULT 1, pad text NOT NULL);
    CREATE INDEX ON copied (tenant_id)";

/// What a program prints first; used for versions.
pub fn first_line(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {:?}", command.get_program()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn verifier_of(cluster: &Cluster, role: &str) -> Result<String> {
    let verifier = cluster.psql("postgres", &format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'"))?;
    ensure!(verifier.starts_with("SCRAM-SHA-256$"), "the server stored no SCRAM verifier for {role}");
    Ok(verifier)
}
