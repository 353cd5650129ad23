//! The PostgreSQL server of a benchmark: a throwaway cluster with the user and the tables that the workloads need.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use pgwarden::cluster::Cluster;

use crate::client::{Buffer, Client, Login};
use crate::pgbench;

pub const USER: &str = "app";
pub const DATABASE: &str = "bench";
/// The user's password, which proxies need towards the server.
pub const PASSWORD: &str = "benchmark";

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
        let verifier =
            cluster.psql("postgres", &format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{USER}'"))?;
        ensure!(verifier.starts_with("SCRAM-SHA-256$"), "the server stored no SCRAM verifier");
        let version = first_line(Command::new(cluster.program("postgres")).arg("--version"))?;
        let server = Server { cluster, verifier, version };

        let login = server.login(server.port());
        pgbench::init(&server.pgbench(), &login)?;
        let mut client = Client::connect(&login, Buffer::Small)?;
        client.query("CREATE TABLE rows100 (pad text NOT NULL)")?;
        client.query("INSERT INTO rows100 SELECT repeat('x', 100) FROM generate_series(1, 100000)")?;
        server.cluster.psql(DATABASE, "VACUUM (ANALYZE, FREEZE)")?;
        server.cluster.psql(DATABASE, "CHECKPOINT")?;
        Ok(server)
    }

    pub fn port(&self) -> u16 {
        self.cluster.port()
    }

    pub fn pgbench(&self) -> PathBuf {
        self.cluster.program("pgbench")
    }

    /// The benchmark's user, at the server itself or at a proxy's `port`.
    pub fn login(&self, port: u16) -> Login {
        Login::new(port, USER, DATABASE, PASSWORD)
    }

    /// Puts the small TPC-B tables in the state in which pgbench wants them.
    pub fn tidy(&self) -> Result<()> {
        let mut client = Client::connect(&self.login(self.port()), Buffer::Small)?;
        for sql in ["VACUUM pgbench_branches", "VACUUM pgbench_tellers", "TRUNCATE pgbench_history"] {
            client.query(sql)?;
        }
        Ok(())
    }
}

/// What a program prints first; used for versions.
pub fn first_line(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {:?}", command.get_program()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
