//! Steps about what belongs to a session while its backend changes.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use tokio::task::JoinSet;
use tokio_postgres::SimpleQueryRow;

use super::Came;
use crate::demo::screen::{Table, thousands};
use crate::demo::stage::{Account, Session, Stage, StepError};

/// Transactions that each session asks in, at least; and at most, where it meets one backend again and again.
const QUESTIONS: usize = 40;
const QUESTIONS_MAX: usize = 10 * QUESTIONS;
/// Background sessions of each user.
const OTHERS: usize = 4;

/// What a session answered to the same question, time after time, and which backends it met.
#[derive(Debug, Default)]
struct Answers {
    asked: usize,
    right: usize,
    wrong: BTreeSet<String>,
    pids: BTreeSet<String>,
}

impl Answers {
    /// Whether to ask once more.
    fn wants_more(&self) -> bool {
        self.asked < QUESTIONS || (self.pids.len() < 2 && self.asked < QUESTIONS_MAX)
    }

    /// Every answer was right, and more than one backend gave them.
    fn all_right(&self) -> bool {
        self.asked >= QUESTIONS && self.right == self.asked && self.pids.len() > 1
    }

    fn note(&mut self, expected: &str, answer: &str, pid: &str) {
        self.asked += 1;
        if answer == expected {
            self.right += 1;
        } else {
            self.wrong.insert(answer.to_owned());
        }
        self.pids.insert(pid.to_owned());
    }

    fn wrong(&self) -> String {
        if self.wrong.is_empty() { "none".to_owned() } else { Vec::from_iter(self.wrong.clone()).join(", ") }
    }
}

/// Asks for a value over and over, each time in a transaction of its own.
async fn ask(session: &Session, question: &str, expected: &str) -> Result<Answers, StepError> {
    let text = format!("SELECT {question}, pg_backend_pid()");
    let mut answers = Answers::default();
    while answers.wants_more() {
        let rows = session.rows(&text).await?;
        let cell = |column| rows.first().and_then(|row| row.get(column)).unwrap_or("(nothing)");
        answers.note(expected, cell(0), cell(1));
    }
    Ok(answers)
}

pub async fn settings_follow(stage: &Stage) -> Result<Came, StepError> {
    let traffic = stage.traffic(OTHERS).await?;
    let mut table = Table::new(["user", "TimeZone", "right", "wrong", "backends met"]);
    let mut as_expected = true;
    for (account, zone) in [(&stage.accounts.north, "Asia/Tokyo"), (&stage.accounts.south, "America/New_York")] {
        let session = stage.connect(account).await?;
        session.execute(&format!("SET TimeZone = '{zone}'")).await?;
        let answers = ask(&session, "current_setting('TimeZone')", zone).await?;
        as_expected &= answers.all_right();
        table.row([
            account.name.clone(),
            zone.to_owned(),
            answers.right.to_string(),
            answers.wrong(),
            answers.pids.len().to_string(),
        ]);
    }
    let others = traffic.stop().await?;
    let text = format!("Beside {} transactions of 8 other sessions:", thousands(others));
    Ok(Came::judged([as_expected, others > 0], text).with(table))
}

pub async fn settings_revert(stage: &Stage) -> Result<Came, StepError> {
    let traffic = stage.traffic(OTHERS).await?;
    let session = stage.connect(&stage.accounts.north).await?;
    let mut came = Vec::new();
    let mut table = Table::new(["afterwards", "statements"]);
    for statements in [
        "BEGIN; SET statement_timeout = '3s'; ROLLBACK",
        "BEGIN; SET statement_timeout = '4s'; SAVEPOINT s; SET statement_timeout = '5s'; ROLLBACK TO s; COMMIT",
        "BEGIN; SET LOCAL statement_timeout = '6s'; COMMIT",
    ] {
        for statement in statements.split("; ") {
            session.execute(statement).await?;
        }
        // Several transactions, for the first may meet the backend where it was set.
        let mut values = BTreeSet::new();
        for _ in 0..8 {
            values.insert(session.value("SHOW statement_timeout").await?);
        }
        let values = Vec::from_iter(values).join(" or ");
        table.row([values.clone(), statements.to_owned()]);
        came.push(values);
    }
    traffic.stop().await?;
    let text = format!("{}.", came.join(", then "));
    Ok(Came::judged([came == ["0", "4s", "4s"]], text).with(table))
}

pub async fn settings_stay_apart(stage: &Stage) -> Result<Came, StepError> {
    let question = "current_setting('work_mem') || ' ' || current_setting('search_path')";
    let own = stage.server().await?.value(&format!("SELECT {question}")).await?;
    let changed = "77MB north_private, public";
    let mut sessions = JoinSet::new();
    for (account, expected) in [(&stage.accounts.north, changed), (&stage.accounts.south, own.as_str())] {
        for _ in 0..OTHERS {
            let session = stage.connect(account).await?;
            if account.name == stage.accounts.north.name {
                session.execute("SET work_mem = '77MB'").await?;
                session.execute("SET search_path = north_private, public").await?;
            }
            let (name, expected) = (account.name.clone(), expected.to_owned());
            sessions.spawn(async move { Ok::<_, StepError>((name, ask(&session, question, &expected).await?)) });
        }
    }
    let (mut north, mut south) = (Answers::default(), Answers::default());
    while let Some(task) = sessions.join_next().await {
        let (name, answers) = task.map_err(|error| StepError::unexpected(error.to_string()))??;
        let all = if name == stage.accounts.north.name { &mut north } else { &mut south };
        all.asked += answers.asked;
        all.right += answers.right;
        all.wrong.extend(answers.wrong);
        all.pids.extend(answers.pids);
    }
    let mut table = Table::new(["user", "work_mem and search_path", "right", "wrong"]);
    for (account, expected, answers) in
        [(&stage.accounts.north, changed, &north), (&stage.accounts.south, own.as_str(), &south)]
    {
        table.row([account.name.clone(), expected.to_owned(), answers.right.to_string(), answers.wrong()]);
    }
    let shared = north.pids.intersection(&south.pids).count();
    let text = format!("{shared} backends served both users.");
    Ok(Came::judged([north.all_right(), south.all_right(), shared > 0], text).with(table))
}

pub async fn prepared_statements(stage: &Stage) -> Result<Came, StepError> {
    let traffic = stage.traffic(OTHERS).await?;
    let mut table = Table::new(["user", "right", "wrong", "backends met"]);
    let mut as_expected = true;
    for account in [&stage.accounts.north, &stage.accounts.south] {
        let mut answers = Answers::default();
        let session = stage.connect(account).await?;
        let expected = customers(&session, account).await?;
        let statement = session
            .client
            .prepare("SELECT id, name, pg_backend_pid() FROM customers WHERE tenant_id = $1 AND id = $2")
            .await?;
        while answers.wants_more() {
            let (id, name) = &expected[answers.asked % expected.len()];
            let row = session.client.query_one(&statement, &[&account.tenant, id]).await?;
            let (came, pid): (i64, i32) = (row.get(0), row.get(2));
            answers.note(&format!("{id} {name}"), &format!("{came} {}", row.get::<_, &str>(1)), &pid.to_string());
        }
        as_expected &= answers.all_right();
        table.row([account.name.clone(), answers.right.to_string(), answers.wrong(), answers.pids.len().to_string()]);
    }
    let others = traffic.stop().await?;
    let text = format!("Beside {} transactions of 8 other sessions:", thousands(others));
    Ok(Came::judged([as_expected, others > 0], text).with(table))
}

/// A few customers of the user's tenant: id and name.
async fn customers(session: &Session, account: &Account) -> Result<Vec<(i64, String)>, StepError> {
    let text = format!("SELECT id, name FROM customers WHERE tenant_id = {} ORDER BY id LIMIT 7", account.tenant);
    let read = |row: &SimpleQueryRow| Some((row.get(0)?.parse().ok()?, row.get(1)?.to_owned()));
    let found: Vec<_> = session.rows(&text).await?.iter().filter_map(read).collect();
    if found.is_empty() { Err(StepError::unexpected("there are no customers")) } else { Ok(found) }
}

pub async fn listen_pins(stage: &Stage) -> Result<Came, StepError> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let console = stage.console().await?;
    let mut listener = stage.connect(&stage.accounts.north).await?;
    listener.execute("LISTEN invoices").await?;
    let pin = pin_once(&console, &stage.accounts.north.name, Option::is_some).await?;
    stage.connect(&stage.accounts.south).await?.execute("NOTIFY invoices, 'paid 100017'").await?;
    let arrived = tokio::time::timeout(PATIENCE, listener.notifications.recv()).await.ok().flatten();
    let payload = arrived.map(|notification| notification.payload().to_owned());
    listener.execute("UNLISTEN *").await?;
    let after = pin_once(&console, &stage.accounts.north.name, Option::is_none).await?;
    let text = format!(
        "payload: {}; pin: {}; after UNLISTEN: {}.",
        payload.as_deref().unwrap_or("none"),
        pin.as_deref().unwrap_or("none"),
        after.as_deref().unwrap_or("none")
    );
    Ok(Came::judged(
        [payload.as_deref() == Some("paid 100017"), pin.as_deref() == Some("listen"), after.is_none()],
        text,
    ))
}

/// Why a user's session keeps its backend, if one does: once that is as `settled` wants it, or as it is after two seconds.
/// (The proxy asks the server what a statement left behind after the client has had its answer.)
async fn pin_once(
    console: &Session,
    user: &str,
    settled: impl Fn(&Option<String>) -> bool,
) -> Result<Option<String>, StepError> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let clients = console.rows("SHOW CLIENTS").await?;
        let cell = |row: &SimpleQueryRow, column| row.try_get(column).ok().flatten().map(str::to_owned);
        let mine = clients.iter().filter(|row| cell(row, "user").as_deref() == Some(user));
        let pin = mine.filter_map(|row| cell(row, "pin")).find(|pin| !pin.is_empty());
        if settled(&pin) || Instant::now() > deadline {
            return Ok(pin);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn copy(stage: &Stage) -> Result<Came, StepError> {
    let session = stage.connect(&stage.accounts.south).await?;
    let day = "FROM usage_events WHERE at >= '2026-06-15 00:00Z' AND at < '2026-06-16 00:00Z'";
    let rows = session.value(&format!("SELECT count(*) {day}")).await?;
    let mut out = pin!(session.client.copy_out(&format!("COPY (SELECT * {day}) TO STDOUT")).await?);
    let mut lines = 0;
    while let Some(chunk) = out.try_next().await? {
        lines += chunk.iter().filter(|byte| **byte == b'\n').count();
    }

    let of_copy = format!(
        "SELECT count(*) FROM usage_events WHERE tenant_id = {} AND kind = 'copy'",
        stage.accounts.south.tenant
    );
    session.execute("BEGIN").await?;
    let text = "COPY usage_events (tenant_id, subscription_id, at, kind) FROM STDIN";
    let mut sink = pin!(session.client.copy_in(text).await?);
    let row = Bytes::from(format!("{}\t1\t2026-06-30 13:00:00+00\tcopy\n", stage.accounts.south.tenant));
    for _ in 0..1000 {
        sink.feed(row.clone()).await?;
    }
    let copied = sink.finish().await?;
    let inside = session.value(&of_copy).await?;
    session.execute("ROLLBACK").await?;
    let after = session.value(&of_copy).await?;
    let text =
        format!("{lines} lines for {rows} rows; {copied} copied in, {inside} inside, {after} after the ROLLBACK.");
    let conditions = [lines > 0 && lines.to_string() == rows, copied == 1000, inside == "1000", after == "0"];
    Ok(Came::judged(conditions, text))
}
