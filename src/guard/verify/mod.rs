//! What `doctor` does: looks at everything that row security stands on, with the shared role's own credentials, and tries
//! what the catalog cannot tell.
//!
//! Read-only, and never a tenant's row: a probe asks for one constant where a row would be a hole. A hole is whatever lets
//! a tenant see, change or hold up another tenant's rows with the proxy's reading of SQL out of the way; a warning is
//! shared or slow, and does not fail.

mod server;
mod tables;
mod trial;

use trial::Lasting;

use super::catalog::Snapshot;
use super::client::{Client, GuardError};
use super::report::Report;
use super::wall::Wall;
use crate::config::{Config, Database};

/// Looks at a database through the primary of its shard.
///
/// # Errors
/// It could not be looked at: no login, no answer, or no row isolation in the configuration.
///
/// This is not cancel safe only in that its connection closes.
pub async fn verify(config: &Config, database: &Database) -> Result<Report, GuardError> {
    let wall = Wall::of(database)?;
    let shard = config.shards.get(&database.shard);
    let shard = shard.ok_or_else(|| GuardError::Unfit(format!("the configuration has no shard {}", database.shard)))?;
    let mut client = Client::connect(&shard.primary, &database.server_database, &wall.row.login).await?;
    look(&mut client, &wall).await
}

/// As [`verify`], on a connection of the shared role.
pub async fn look(client: &mut Client, wall: &Wall) -> Result<Report, GuardError> {
    let snapshot = Snapshot::read(client, wall.user()).await?;
    let report = Report {
        database: snapshot.server.database.clone(),
        server_user: wall.user().to_owned(),
        server_version: snapshot.server.version_name.clone(),
        findings: Vec::new(),
    };
    let mut doctor = Doctor { wall, snapshot: &snapshot, report };
    doctor.server();
    doctor.role();
    doctor.sealed();
    doctor.tables();
    doctor.reach();
    let tries = doctor.tries();
    let Doctor { mut report, .. } = doctor;
    let context = if snapshot.server.in_recovery { Lasting::Transaction } else { Lasting::Session };
    trial::run(client, wall, context, &tries, &mut report).await?;
    Ok(report)
}

struct Doctor<'a> {
    wall: &'a Wall,
    snapshot: &'a Snapshot,
    report: Report,
}
