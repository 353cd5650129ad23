//! The look at databases whose tenants share tables: does the wall stand, and what tables are there.
//!
//! Tenants of a database are served once it was looked at, and while its wall has no hole (or the operator said that it may).

use std::sync::Arc;
use std::time::Duration;

use super::Proxy;
use super::worker::WorkerMessage;
use crate::config::{Config, Database, Isolation};
use crate::guard::catalog::{Snapshot, catalog};
use crate::guard::{self, Client, GuardError};
use crate::tenant::Catalog;
use crate::topology::walls::Standing;

/// Between looks at a database that could be looked at, and at one that could not.
const AGAIN: Duration = Duration::from_secs(30);
const AGAIN_SOON: Duration = Duration::from_secs(2);

impl Proxy {
    /// Looks at every such database, again and again, and at once after a reload.
    pub(super) async fn watch_walls(self: Arc<Self>) {
        loop {
            let asked = self.look_again.notified();
            let config = self.config();
            let mut all_seen = true;
            let shared = |database: &&Arc<Database>| {
                let tenancy = database.tenancy.as_ref();
                tenancy.is_some_and(|tenancy| matches!(tenancy.isolation, Isolation::Row(_)))
            };
            for database in config.databases.values().filter(shared) {
                all_seen &= self.look_at(&config, database).await;
            }
            let pause = if all_seen { AGAIN } else { AGAIN_SOON };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = asked => {}
            }
        }
    }

    async fn look_at(&self, config: &Config, database: &Database) -> bool {
        match look(config, database).await {
            Ok((standing, catalog)) => {
                let before = self.walls.of(&database.name).map(|wall| wall.standing.clone());
                if before.as_ref() != Some(&standing) {
                    say(database, &standing);
                }
                self.walls.set(&database.name, standing.clone(), catalog);
                if before.is_some_and(|before| before != standing) {
                    self.tell_all(|| WorkerMessage::LookAround);
                }
                true
            }
            Err(error) => {
                tracing::warn!(database = %database.name, error = %error, "the database's wall could not be looked at");
                false
            }
        }
    }
}

fn say(database: &Database, standing: &Standing) {
    match standing {
        Standing::Sound => tracing::info!(database = %database.name, "the database's wall is sound"),
        Standing::Holes(holes) => {
            for hole in holes {
                tracing::error!(database = %database.name, hole, "the database's wall has a hole");
            }
            let open = database.tenancy.as_ref().is_some_and(|tenancy| tenancy.danger_open_wall);
            if open {
                tracing::warn!(database = %database.name, "tenants are served in spite of holes: danger_open_wall");
            } else {
                tracing::error!(database = %database.name, "its tenants are not served; run pgwarden doctor");
            }
        }
    }
}

async fn look(config: &Config, database: &Database) -> Result<(Standing, Catalog), GuardError> {
    let wall = guard::Wall::of(database)?;
    let shard = config.shards.get(&database.shard);
    let shard = shard.ok_or_else(|| GuardError::Unfit(format!("the configuration has no shard {}", database.shard)))?;
    let mut client = Client::connect(&shard.primary, &database.server_database, &wall.row.login).await?;
    let report = guard::look(&mut client, &wall).await?;
    let snapshot = Snapshot::read(&mut client, wall.user()).await?;
    let holes: Vec<String> =
        report.holes().map(|hole| format!("{} on {}: {}", hole.rule, hole.object, hole.text)).collect();
    let standing = if holes.is_empty() { Standing::Sound } else { Standing::Holes(holes) };
    Ok((standing, catalog(&snapshot, &wall.tenancy)))
}
