//! What `protect` does: the differences between a database and its wall, each as SQL with its way back.
//!
//! A plan is made from the catalog alone. Making it again after it ran must give an empty one: that is how the effect is
//! checked, for REVOKE says REVOKE where nothing was taken away. The way back is kept in `pgwarden.journal`, statement by
//! statement, so that `undo` takes back what was made and nothing else.

mod objects;
mod reach;
mod roles;
mod run;
mod script;
mod tables;

use super::catalog::{Relation, Snapshot};
use super::client::GuardError;
use super::seal::OWNER;
use super::wall::Wall;

pub use objects::is_same;
pub use run::{Applied, apply, undo, undo_plan};
pub use script::{Secrets, script};

/// The plan.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub changes: Vec<Change>,
    /// What was looked at and left as it is, and why.
    pub left: Vec<Left>,
    /// Set where who runs it is no superuser.
    pub join: Option<Join>,
}

/// Membership in the owner's role for the time of the script.
#[derive(Debug, Clone)]
pub struct Join {
    /// Index of the change before which it is needed.
    pub before: usize,
    pub grant: String,
    pub revoke: String,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Change {
    /// What it is for, in words.
    pub what: String,
    pub sql: Vec<Statement>,
    /// In the order in which they are to run.
    pub undo: Vec<Undo>,
    /// To be run as the owner of the schema `pgwarden`.
    pub as_owner: bool,
}

#[derive(Debug, Clone)]
pub enum Statement {
    Plain(String),
    /// With a key or a password's verifier in it, and what to print in its place.
    Secret {
        sql: String,
        shown: String,
    },
}

/// One statement of the way back.
#[derive(Debug, Clone)]
pub struct Undo {
    /// The relation without which the statement means nothing.
    pub relation: Option<String>,
    pub sql: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub object: String,
    pub why: String,
}

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Tables without a tenant column that every tenant may read: `schema.name`, or `name` in one of the schemas.
    pub shared: Vec<String>,
    /// SCRAM verifier of the shared role's password, for a role that is to be made.
    pub verifier: Option<String>,
}

impl Plan {
    /// The differences between what is there and the wall.
    ///
    /// # Errors
    /// The database cannot have this wall: the server is too old for the sealed context, or is a standby.
    pub fn make(wall: &Wall, snapshot: &Snapshot, options: &Options) -> Result<Self, GuardError> {
        let server = &snapshot.server;
        if server.in_recovery {
            return Err(GuardError::Unfit("this server is a standby: name the primary".to_owned()));
        }
        if wall.is_sealed() && server.version < SEALED_MIN {
            let version = &server.version_name;
            let why = format!("the sealed context needs PostgreSQL 15 (unlogged sequences); this server is {version}");
            return Err(GuardError::Unfit(why));
        }
        let mut planner = Planner { wall, snapshot, options, plan: Self::default() };
        planner.roles()?;
        planner.join();
        planner.objects();
        planner.relations();
        planner.functions();
        planner.database();
        planner.facilities();
        planner.remarks();
        Ok(planner.plan)
    }
}

/// The first version with unlogged sequences.
const SEALED_MIN: u32 = 150_000;

struct Planner<'a> {
    wall: &'a Wall,
    snapshot: &'a Snapshot,
    options: &'a Options,
    plan: Plan,
}

impl Planner<'_> {
    /// Objects of another owner are made as that owner: a superuser may, others must be members.
    fn join(&mut self) {
        let server = &self.snapshot.server;
        let is_member = self.snapshot.owner.as_ref().is_some_and(|owner| owner.members.contains(&server.current_user));
        if !server.is_superuser && !is_member {
            let grant = format!("GRANT {OWNER} TO CURRENT_USER");
            let revoke = format!("REVOKE {OWNER} FROM CURRENT_USER");
            self.plan.join = Some(Join { before: self.plan.changes.len(), grant, revoke });
        }
    }

    fn change(&mut self, what: impl Into<String>, sql: impl Into<String>, undo: impl Into<String>) {
        self.add(what, vec![sql.into()], vec![Undo { relation: None, sql: undo.into() }]);
    }

    fn change_of(&mut self, relation: &Relation, what: &str, sql: impl Into<String>, undo: impl Into<String>) {
        let undo = Undo { relation: Some(relation.sql()), sql: undo.into() };
        self.add(format!("{}: {what}", relation.label()), vec![sql.into()], vec![undo]);
    }

    fn add(&mut self, what: impl Into<String>, sql: Vec<String>, undo: Vec<Undo>) {
        let sql = sql.into_iter().map(Statement::Plain).collect();
        self.plan.changes.push(Change { what: what.into(), sql, undo, as_owner: false });
    }

    fn leave(&mut self, object: impl Into<String>, why: impl Into<String>) {
        let left = Left { object: object.into(), why: why.into() };
        if !self.plan.left.contains(&left) {
            self.plan.left.push(left);
        }
    }

    /// Tables without a tenant column that every tenant may read.
    fn shares(&self, relation: &Relation) -> bool {
        self.options.shared.iter().any(|listed| match listed.split_once('.') {
            Some((schema, name)) => schema == relation.schema && name == relation.name,
            None => *listed == relation.name && self.wall.covers(&relation.schema),
        })
    }
}
