//! Which servers there are, and which of them a database and a target mean.

pub mod walls;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, Database, Node};
use crate::route::Target;

/// The servers of a configuration.
#[derive(Debug)]
pub struct Topology {
    shards: BTreeMap<Arc<str>, Arc<Node>>,
}

/// A place to run statements.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub shard: Arc<str>,
    pub node: Arc<Node>,
}

impl Topology {
    pub fn of(config: &Config) -> Self {
        Self {
            shards: config.shards.iter().map(|(name, shard)| (name.clone(), Arc::new(shard.primary.clone()))).collect(),
        }
    }

    /// `None`: the database's shard is not in this configuration.
    pub fn place(&self, database: &Database, target: Target) -> Option<Place> {
        match target {
            Target::Primary => {
                let node = self.shards.get(&database.shard)?;
                Some(Place { shard: database.shard.clone(), node: node.clone() })
            }
        }
    }
}
