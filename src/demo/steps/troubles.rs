//! Steps about what goes wrong: errors, cancels, backends that die.

use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

use super::Came;
use crate::demo::screen::Table;
use crate::demo::stage::{SANDBOX_ROLE, Stage, StepError};

pub async fn errors(stage: &Stage) -> Result<Came, StepError> {
    let session = stage.connect(&stage.accounts.north).await?;
    let mut table = Table::new(["statement", "SQLSTATE", "message"]);
    let mut codes = Vec::new();
    session.execute("BEGIN").await?;
    for text in ["SELECT 1/0", "SELECT 1"] {
        let (code, message) = session.error(text).await?;
        table.row([text.to_owned(), code.clone(), message]);
        codes.push(code);
    }
    session.execute("ROLLBACK").await?;
    let text = "INSERT INTO tenants SELECT * FROM tenants";
    // Refused for the right, not the key: the application may only read tenants.
    let (denied, message) = session.error(text).await?;
    table.row([text.to_owned(), denied.clone(), message]);
    let text = "INSERT INTO plans (tenant_id, name, seat_price, event_price) VALUES (1, 'Team', 1, 1)";
    let (duplicate, message) = session.error(text).await?;
    table.row(["INSERT INTO plans … a second 'Team'".to_owned(), duplicate.clone(), message]);
    codes.extend([denied, duplicate]);
    let one = session.value("SELECT 1").await?;
    let text = format!("{}; then SELECT 1 gave {one}.", codes.join(", "));
    Ok(Came::judged([codes == ["22012", "25P02", "42501", "23505"], one == "1"], text).with(table))
}

pub async fn cancel(stage: &Stage) -> Result<Came, StepError> {
    let (sleeper, other) = (stage.connect(&stage.accounts.north).await?, stage.connect(&stage.accounts.south).await?);
    let token = sleeper.client.cancel_token();
    let started = Instant::now();
    let (cancelled, slept, sent) = tokio::join!(
        async { (sleeper.error("SELECT pg_sleep(30)").await, started.elapsed()) },
        other.value("SELECT 'whole' FROM pg_sleep(1)"),
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            token.cancel_query(NoTls).await
        },
    );
    sent?;
    let (error, took) = cancelled;
    let (code, message) = error?;
    let whole = slept? == "whole";
    let next = sleeper.value("SELECT 1").await?;
    let text = format!(
        "{code} ({message}) after {} ms, then SELECT 1 gave {next}; the other query ran {}.",
        took.as_millis(),
        if whole { "to its end" } else { "into an error" }
    );
    Ok(Came::judged([code == "57014", took < Duration::from_secs(5), whole, next == "1"], text))
}

pub async fn backends_die(stage: &Stage) -> Result<Came, StepError> {
    let mut clients = Vec::new();
    for account in [&stage.accounts.north, &stage.accounts.south, &stage.accounts.north, &stage.accounts.south] {
        let session = stage.connect(account).await?;
        session.execute(&format!("SET application_name = '{}-before'", account.name)).await?;
        clients.push((&account.name, session));
    }
    let before = stage.backends().await?;
    let server = stage.server().await?;
    server
        .client
        .query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", &[&SANDBOX_ROLE])
        .await?;
    while stage.backends().await?.iter().any(|pid| before.contains(pid)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The ends of the connections must have reached the proxy; a moment later than that they are news no more.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut kept = 0;
    for (name, session) in &clients {
        let value = session.value("SHOW application_name").await?;
        kept += usize::from(value == format!("{name}-before"));
    }
    let after = stage.backends().await?;
    let new = !after.is_empty() && after.iter().all(|pid| !before.contains(pid));
    let text = format!(
        "{} backends ended; {kept} of {} clients went on with their settings; backends now: {}, {}.",
        before.len(),
        clients.len(),
        after.len(),
        if new { "all new" } else { "old ones among them" }
    );
    Ok(Came::judged([!before.is_empty(), kept == clients.len(), new], text))
}
