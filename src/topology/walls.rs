//! What is known of the databases whose tenants share tables: whether the wall stands, and what the catalog says.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::tenant::Catalog;

/// Shared by all workers; the control plane writes it.
#[derive(Debug)]
pub struct Walls {
    known: ArcSwap<BTreeMap<Arc<str>, Arc<Wall>>>,
    /// Counts changes.
    changes: watch::Sender<u64>,
}

/// One database, as it was last looked at.
#[derive(Debug)]
pub struct Wall {
    pub standing: Standing,
    pub catalog: Arc<Catalog>,
    /// Different for each catalog: what was planned with one is not for another.
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Verified.
    Sound,
    /// Tenants would see others: what `pgwarden doctor` explains, a line each.
    Holes(Vec<String>),
}

impl Default for Walls {
    fn default() -> Self {
        Self { known: ArcSwap::default(), changes: watch::channel(0).0 }
    }
}

impl Walls {
    /// What is known of a database; absent: it was not looked at yet, or could not be.
    pub fn of(&self, database: &str) -> Option<Arc<Wall>> {
        self.known.load().get(database).cloned()
    }

    /// Takes over what was found.
    pub fn set(&self, database: &Arc<str>, standing: Standing, catalog: Catalog) {
        let mut known = BTreeMap::clone(&self.known.load());
        let catalog = match known.get(database) {
            Some(before) if *before.catalog == catalog && before.standing == standing => return,
            Some(before) if *before.catalog == catalog => (before.catalog.clone(), before.revision),
            Some(_) | None => (Arc::new(catalog), *self.changes.borrow() + 1),
        };
        let (catalog, revision) = catalog;
        known.insert(database.clone(), Arc::new(Wall { standing, catalog, revision }));
        self.known.store(Arc::new(known));
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Waits for the first look at a database.
    ///
    /// Cancel safe.
    pub async fn seen(&self, database: &str) -> Arc<Wall> {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(wall) = self.of(database) {
                return wall;
            }
            if changes.changed().await.is_err() {
                // The sender is ours: it lives as long as this does.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_revision_is_a_catalogs() {
        let walls = Arc::new(Walls::default());
        assert!(walls.of("shop").is_none());
        let seen = tokio::spawn({
            let walls = walls.clone();
            async move { walls.seen("shop").await.revision }
        });
        let name: Arc<str> = "shop".into();
        walls.set(&name, Standing::Sound, Catalog::default());
        let first = seen.await.expect("it was seen");
        walls.set(&name, Standing::Holes(vec!["one".to_owned()]), Catalog::default());
        assert_eq!(walls.of("shop").map(|wall| wall.revision), Some(first), "the same catalog");
        assert_eq!(walls.of("shop").map(|wall| wall.standing.clone()), Some(Standing::Holes(vec!["one".to_owned()])));
        walls.set(&name, Standing::Sound, Catalog::new(vec!["public".into()], []));
        assert_ne!(walls.of("shop").map(|wall| wall.revision), Some(first));
    }
}
