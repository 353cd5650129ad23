//! Steps about running the proxy.

use std::fs;
use std::io;

use super::Came;
use crate::demo::stage::{Account, Session, Stage, StepError};

pub async fn reload(stage: &Stage) -> Result<Came, StepError> {
    let file = |result: io::Result<String>| result.map_err(|error| StepError::unexpected(error.to_string()));
    let good = file(fs::read_to_string(&stage.config))?;
    let write = |text: &str| file(fs::write(&stage.config, text).map(|()| String::new()));
    let console = stage.console().await?;
    let old = stage.connect(&stage.accounts.north).await?;

    write(&good.replace("size = ", "sizee = "))?;
    let refusal = refusal(&console).await?;
    let goes_on = stage.connect(&stage.accounts.south).await?.value("SELECT 1").await? == "1";

    // The new user is south once more, under another name.
    let user = good.split("\n\n").find(|table| table.starts_with("[users.south]")).unwrap_or_default();
    write(&format!("{good}\n{}\n", user.replace("[users.south]", "[users.guest]")))?;
    let guest = Account { name: "guest".to_owned(), ..stage.accounts.south.clone() };
    let before = stage.log_in(&guest).await.is_ok();
    console.execute("RELOAD").await?;
    let after = stage.log_in(&guest).await.is_ok();
    write(&good)?;
    console.execute("RELOAD").await?;

    let kept = old.value("SELECT 1").await? == "1";
    let named = refusal.contains("sizee");
    let text = format!(
        "Refused: {}. guest could {}log in before, and {} after; the session from before {}.",
        refusal.trim_end_matches('.').split_whitespace().collect::<Vec<_>>().join(" "),
        if before { "" } else { "not " },
        if after { "could" } else { "could not" },
        if kept { "works on" } else { "is gone" }
    );
    Ok(Came::judged([named, goes_on, !before, after, kept], text))
}

/// What RELOAD of a broken file says: all of it.
async fn refusal(console: &Session) -> Result<String, StepError> {
    match console.client.simple_query("RELOAD").await {
        Ok(_) => Err(StepError::unexpected("a broken configuration was taken")),
        Err(error) => match error.as_db_error() {
            Some(sent) => Ok([Some(sent.message()), sent.detail(), sent.hint()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; ")),
            None => Err(error.into()),
        },
    }
}
