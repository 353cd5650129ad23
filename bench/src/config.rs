//! pgwarden's configuration for a workload, and the files beside it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use pgwarden::chain::SigningKey;

use crate::proxy::{CLIENTS_MAX, Pooling};
use crate::server::{DATABASE, PASSWORD, TENANTS_ROLE, USER};
use crate::workload::{Context, Load, POOL_SIZE, TENANTS, Tenancy, Workload};

/// The user of the tenant that has a database of its own, and the name that clients give this database.
pub const OWN: &str = "own";
const SEAL_KEYS: &str = "seal.keys";
const AUDIT_KEY: &str = "audit.key";

/// What a configuration depends on besides the workload.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub server_port: u16,
    /// Of the password of all users.
    pub verifier: &'a str,
    pub workers: usize,
    pub pooling: Pooling,
    /// The audit log's directory.
    pub audit: &'a Path,
}

/// The user of a tenant who shares tables: the one whose key is `key`.
pub fn tenant(key: usize) -> String {
    format!("t{key}")
}

/// Tenants whose users the workload needs.
fn tenants(workload: &Workload) -> usize {
    match workload.load {
        Load::Spread { tenants } | Load::Turns { tenants } => tenants,
        _ => 1,
    }
}

pub fn of(workload: &Workload, place: Place<'_>) -> String {
    let mut text = pooling(workload.pool_size(), place);
    match workload.duty.tenancy {
        Tenancy::None => text.push_str(&user(USER, "", place.verifier)),
        Tenancy::Database => text.push_str(&own_database(place.verifier)),
        Tenancy::Row(context) => text.push_str(&shared_tables(context, tenants(workload), place.verifier)),
    }
    if let Some(durability) = workload.duty.audit {
        let _infallible = write!(
            text,
            "\n[audit]\ndirectory = \"{}\"\nkey_file = \"{AUDIT_KEY}\"\ndurability = \"{durability}\"\n",
            place.audit.display()
        );
    }
    text
}

/// The configuration under which `protect` makes the database of `context` safe.
pub fn for_protection(context: Context, place: Place<'_>) -> String {
    pooling(POOL_SIZE, place) + &shared_tables(context, 1, place.verifier)
}

/// Puts the files that configurations name into `dir`.
pub fn put_keys(dir: &Path) -> Result<()> {
    let seal: [u8; 32] = rand::random();
    let hex: String = seal.iter().map(|byte| format!("{byte:02x}")).collect();
    let audit = SigningKey::from_seed("bench/audit", rand::random())?;
    for (name, text) in [(SEAL_KEYS, format!("1:{hex}\n")), (AUDIT_KEY, audit.to_text().expose().to_owned())] {
        let file = dir.join(name);
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// The names of those files.
pub const KEYS: [&str; 2] = [SEAL_KEYS, AUDIT_KEY];

fn pooling(size: usize, place: Place<'_>) -> String {
    let Place { server_port, workers, pooling, .. } = place;
    format!(
        r#"[server]
listen = ["127.0.0.1:0"]
workers = {workers}
clients_max = {CLIENTS_MAX}

[admin]
http = "127.0.0.1:0"

[log]
level = "info"
format = "json"
connections = false
disconnections = false

[pool]
mode = "{}"
size = {size}
server_idle_timeout = "1h"
server_lifetime = "10h"

[shards.main]
primary = {{ host = "127.0.0.1", port = {server_port}, tls = "disable" }}

[databases.{DATABASE}]
"#,
        pooling.name(),
    )
}

fn user(name: &str, more: &str, verifier: &str) -> String {
    format!(
        "\n[users.{name}]\nverifier = \"{verifier}\"\nclients_max = {CLIENTS_MAX}\n{}",
        if more.is_empty() { format!("server_password = \"{PASSWORD}\"\n") } else { more.to_owned() }
    )
}

fn own_database(verifier: &str) -> String {
    format!(
        "\n[databases.{OWN}.tenancy]\nisolation = \"database\"\n\n[tenants.{OWN}]\nserver_database = \"{DATABASE}\"\n\
         server_user = \"{USER}\"\nserver_password = \"{PASSWORD}\"\n{}",
        user(OWN, &member(OWN), verifier)
    )
}

fn shared_tables(context: Context, tenants: usize, verifier: &str) -> String {
    let name = context.name();
    let how = match context {
        Context::Setting => "setting = \"app.tenant_id\"".to_owned(),
        Context::Sealed => format!("keys_file = \"{SEAL_KEYS}\""),
    };
    let mut text = format!(
        "\n[databases.{name}.tenancy]\ncontext = \"{name}\"\n{how}\nserver_user = \"{TENANTS_ROLE}\"\n\
         server_password = \"{PASSWORD}\"\n"
    );
    for key in 1..=tenants.min(TENANTS) {
        let name = tenant(key);
        let _infallible =
            write!(text, "\n[tenants.{name}]\nkey = \"{key}\"\n{}", user(&name, &member(&name), verifier));
    }
    text
}

fn member(tenant: &str) -> String {
    format!("tenant = \"{tenant}\"\nrole = \"writer\"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::workload::WORKLOADS;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                            wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn pgwarden_accepts_the_configuration_of_every_workload_and_warns_of_nothing() {
        let dir = tempfile::tempdir().unwrap();
        put_keys(dir.path()).unwrap();
        let file = dir.path().join("pgwarden.toml");
        let audit = dir.path().join("audit");
        for (workers, pooling) in [(1, Pooling::Transaction), (2, Pooling::Session)] {
            for workload in &WORKLOADS {
                let place = Place { server_port: 5432, verifier: VERIFIER, workers, pooling, audit: &audit };
                fs::write(&file, of(workload, place)).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
                let loaded = pgwarden::config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
                assert_eq!(loaded.warnings, [], "{}", workload.name);
                let config = loaded.config;
                assert_eq!((config.server.workers, config.server.clients_max), (workers, CLIENTS_MAX));
                assert_eq!(config.audit.is_some(), workload.duty.audit.is_some());
                assert!(config.users.values().all(|user| user.pool.size == workload.pool_size()));
            }
        }
    }
}
