//! Running a plan, and the way back.

use serde::Deserialize;

use super::script::{PREAMBLE, Secrets, script};
use super::{Options, Plan};
use crate::guard::catalog::Snapshot;
use crate::guard::client::{Client, GuardError};
use crate::guard::seal::OWNER;
use crate::guard::wall::Wall;

/// What came of a plan.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The plan that was run.
    pub done: Plan,
    /// What still differs: changes that had no effect, and what was left.
    pub rest: Plan,
}

/// Plans and runs in one transaction, then looks at the catalog again.
///
/// This is not cancel safe: the transaction may or may not have been committed.
pub async fn apply(client: &mut Client, wall: &Wall, options: &Options) -> Result<Applied, GuardError> {
    let snapshot = Snapshot::read(client, wall.user()).await?;
    let done = Plan::make(wall, &snapshot, options)?;
    if done.changes.is_empty() {
        return Ok(Applied { rest: done.clone(), done });
    }
    run(client, &script(&done, Secrets::Show)).await?;
    let snapshot = Snapshot::read(client, wall.user()).await?;
    let rest = Plan::make(wall, &snapshot, options)?;
    Ok(Applied { done, rest })
}

/// The way back as SQL; empty where nothing was made.
pub async fn undo_plan(client: &mut Client, snapshot: &Snapshot) -> Result<String, GuardError> {
    if !snapshot.sealed.relations.iter().any(|relation| relation.name == "journal") {
        return Ok(String::new());
    }
    let (join, leave) = membership(snapshot);
    let read = async {
        client.run(&format!("{PREAMBLE}{join} SET LOCAL ROLE {OWNER};")).await?;
        client.read::<Step>(JOURNAL).await
    };
    let steps = read.await;
    client.run("ROLLBACK").await?;
    let mut out = format!("{PREAMBLE}{join}\n");
    for step in steps? {
        let mark = if step.there { "" } else { "-- its relation is gone: " };
        let text = if step.there { step.undo } else { step.undo.replace('\n', " ") };
        out.push_str(&format!("{mark}{text};\n"));
    }
    out.push_str(&format!("{leave}\nCOMMIT;\n"));
    Ok(out)
}

/// Takes back what plans have made, in one transaction; the statements that ran.
///
/// This is not cancel safe: the transaction may or may not have been committed.
pub async fn undo(client: &mut Client, server_user: &str) -> Result<String, GuardError> {
    let snapshot = Snapshot::read(client, server_user).await?;
    let sql = undo_plan(client, &snapshot).await?;
    if !sql.is_empty() {
        run(client, &sql).await?;
    }
    Ok(sql)
}

async fn run(client: &mut Client, sql: &str) -> Result<(), GuardError> {
    let outcome = client.run(sql).await;
    if let Err(error) = outcome {
        if error.sqlstate().is_some() {
            client.run("ROLLBACK").await?;
        }
        return Err(error);
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Step {
    undo: String,
    there: bool,
}

const JOURNAL: &str = "SELECT j.undo, j.relation IS NULL OR to_regclass(j.relation) IS NOT NULL AS there
                         FROM pgwarden.journal AS j ORDER BY j.step DESC";

/// Who is no superuser acts as the owner for the moment: joins before, leaves after.
fn membership(snapshot: &Snapshot) -> (String, String) {
    let server = &snapshot.server;
    let is_member = snapshot.owner.as_ref().is_some_and(|owner| owner.members.contains(&server.current_user));
    if server.is_superuser || is_member {
        return (String::new(), String::new());
    }
    let leave = format!(
        "DO $pgwarden$ BEGIN REVOKE {OWNER} FROM CURRENT_USER; EXCEPTION WHEN undefined_object THEN NULL; END $pgwarden$;"
    );
    (format!("GRANT {OWNER} TO CURRENT_USER;"), leave)
}
