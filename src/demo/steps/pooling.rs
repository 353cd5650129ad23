//! Steps about who gets a backend, and how many there are.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_postgres::SimpleQueryRow;

use super::Came;
use crate::demo::screen::{Table, thousands};
use crate::demo::stage::{Account, POOL, SANDBOX, SANDBOX_ROLE, Session, Stage, StepError, describe};

const CLIENTS_EACH: usize = 10;
const TRANSACTIONS_EACH: usize = 25;
/// Marks the rows that this step inserts.
const KIND: &str = "tour";

pub async fn log_in(stage: &Stage) -> Result<Came, StepError> {
    let mut table = Table::new(["login", "answer"]);
    let mut roles = Vec::new();
    for account in [&stage.accounts.north, &stage.accounts.south] {
        let session = stage.connect(account).await?;
        let role = session.value("SELECT current_user").await?;
        table.row([account.name.clone(), format!("current_user = {role}")]);
        roles.push(role);
    }
    let known = Account { password: "not the password".to_owned(), ..stage.accounts.north.clone() };
    let stranger = Account { name: "nobody-by-this-name".to_owned(), ..known.clone() };
    let (wrong, unknown) = (refused(stage, &known).await?, refused(stage, &stranger).await?);
    for (account, text) in [(&known, &wrong), (&stranger, &unknown)] {
        table.row([account.name.clone(), text.clone()]);
    }
    let same = wrong.replace(&known.name, "*") == unknown.replace(&stranger.name, "*");
    let text = format!("Both are {}; both failures are {}.", roles.join(" and "), wrong.get(..5).unwrap_or(&wrong));
    let conditions = [roles.iter().all(|role| role == SANDBOX_ROLE), same, wrong.starts_with("28P01 ")];
    Ok(Came::judged(conditions, text).with(table))
}

/// SQLSTATE and message of a login that must fail.
async fn refused(stage: &Stage, account: &Account) -> Result<String, StepError> {
    match stage.log_in(account).await {
        Ok(_) => Err(StepError::unexpected(format!("{} was let in with a wrong password", account.name))),
        Err(error) => Ok(describe(&error)),
    }
}

pub async fn twenty_clients(stage: &Stage) -> Result<Came, StepError> {
    let mut work = JoinSet::new();
    for account in [&stage.accounts.north, &stage.accounts.south] {
        for _ in 0..CLIENTS_EACH {
            let (session, account) = (stage.connect(account).await?, account.clone());
            work.spawn(async move { client(session, account).await });
        }
    }
    let (started, mut most) = (Instant::now(), 0);
    let mut done = Vec::new();
    while let Some(task) = work.join_next().await {
        done.push(task.map_err(|error| StepError::unexpected(error.to_string()))??);
        most = most.max(stage.backends().await?.len());
    }
    let took = started.elapsed();

    let mut table = Table::new(["user", "clients", "transactions", "inserted", "backends used"]);
    let (mut transactions, mut rows_right) = (0, true);
    for account in [&stage.accounts.north, &stage.accounts.south] {
        let mine: Vec<&Done> = done.iter().filter(|done| done.account.name == account.name).collect();
        let pids: BTreeSet<&String> = mine.iter().flat_map(|done| &done.pids).collect();
        let inserted: usize = mine.iter().map(|done| done.inserted).sum();
        let count = mine.iter().map(|done| done.transactions).sum::<usize>();
        let sql = format!("SELECT count(*) FROM usage_events WHERE tenant_id = {} AND kind = '{KIND}'", account.tenant);
        rows_right &= stage.connect(account).await?.value(&sql).await? == inserted.to_string();
        transactions += count;
        let cells = [mine.len(), count, inserted, pids.len()].map(|number| number.to_string());
        let [clients, count, inserted, pids] = cells;
        table.row([account.name.clone(), clients, count, inserted, pids]);
    }
    let whole = done.iter().all(|done| done.split == 0);
    let text = format!(
        "{transactions} transactions in {} ms; pg_stat_activity never showed more than {most} backends of {SANDBOX_ROLE} for 20 clients.",
        thousands(took.as_millis() as u64)
    );
    let expected = 2 * CLIENTS_EACH * TRANSACTIONS_EACH;
    Ok(Came::judged([transactions == expected, rows_right, whole, (1..=POOL).contains(&most)], text).with(table))
}

/// What one client did.
struct Done {
    account: Account,
    transactions: usize,
    inserted: usize,
    /// Transactions whose statements met two backends.
    split: usize,
    pids: BTreeSet<String>,
}

async fn client(session: Session, account: Account) -> Result<Done, StepError> {
    let mut done = Done { account, transactions: 0, inserted: 0, split: 0, pids: BTreeSet::new() };
    let tenant = done.account.tenant;
    let insert = format!(
        "INSERT INTO usage_events (tenant_id, subscription_id, at, kind) \
         VALUES ({tenant}, 1, '2026-06-30 12:00Z', '{KIND}') RETURNING pg_backend_pid()"
    );
    let select =
        format!("SELECT pg_backend_pid(), count(*) FROM invoices WHERE tenant_id = {tenant} AND status = 'overdue'");
    for number in 0..TRANSACTIONS_EACH {
        if number % 2 == 0 {
            done.pids.insert(session.value(&select).await?);
        } else {
            session.execute("BEGIN").await?;
            let first = session.value(&insert).await?;
            let second = session.value(&select).await?;
            session.execute("COMMIT").await?;
            done.inserted += 1;
            done.split += usize::from(first != second);
            done.pids.extend([first, second]);
        }
        done.transactions += 1;
    }
    Ok(done)
}

/// Columns of SHOW POOLS worth showing here.
const POOL_COLUMNS: [&str; 7] = ["database", "user", "cl_active", "cl_waiting", "sv_active", "sv_idle", "pool_mode"];

pub async fn show_pools(stage: &Stage) -> Result<Came, StepError> {
    let mut clients = Vec::new();
    for number in 0..2 * CLIENTS_EACH {
        let account = if number % 2 == 0 { &stage.accounts.north } else { &stage.accounts.south };
        let session = stage.connect(account).await?;
        session.value("SELECT 1").await?;
        clients.push(session);
    }
    let console = stage.console().await?;
    let pools = pools(&console).await?;
    let mut table = Table::new(POOL_COLUMNS);
    for pool in &pools {
        table.row(POOL_COLUMNS.map(|column| pool.get(column).unwrap_or("?").to_owned()));
    }
    let servers: usize = pools.iter().map(|pool| number(pool, "sv_active") + number(pool, "sv_idle")).sum();
    let waiting: usize = pools.iter().map(|pool| number(pool, "cl_waiting")).sum();
    let text = format!("{} pool, {servers} servers, {waiting} waiting, {} clients.", pools.len(), clients.len());
    Ok(Came::judged([pools.len() == 1, (1..=POOL).contains(&servers), waiting == 0], text).with(table))
}

/// The console's rows about the sample database.
async fn pools(console: &Session) -> Result<Vec<SimpleQueryRow>, StepError> {
    let rows = console.rows("SHOW POOLS").await?;
    Ok(rows.into_iter().filter(|row| row.try_get("database").ok().flatten() == Some(SANDBOX)).collect())
}

/// A count in a row of the console; a missing one is too many.
fn number(row: &SimpleQueryRow, column: &str) -> usize {
    row.try_get(column).ok().flatten().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX / 1024)
}

pub async fn fifth_waits(stage: &Stage) -> Result<Came, StepError> {
    let console = stage.console().await?;
    let mut holders = Vec::new();
    let mut pids = BTreeSet::new();
    for _ in 0..POOL {
        let session = stage.connect(&stage.accounts.north).await?;
        session.execute("BEGIN").await?;
        pids.insert(session.value("SELECT pg_backend_pid()").await?);
        holders.push(session);
    }
    let fifth = stage.connect(&stage.accounts.south).await?;
    let mut query = Box::pin(fifth.value("SELECT pg_backend_pid()"));
    let waited = tokio::select! {
        answer = &mut query => return Ok(Came::judged([false], format!("The fifth client got backend {} at once.", answer?))),
        waited = until_waiting(&console) => waited?,
    };
    let freed = Instant::now();
    holders[0].execute("COMMIT").await?;
    let pid = query.await?;
    let text = format!(
        "{} backends taken; cl_waiting was {waited}; after the COMMIT the fifth client had its answer in {} ms.",
        pids.len(),
        freed.elapsed().as_millis()
    );
    Ok(Came::judged([pids.len() == POOL, waited == 1, pids.contains(&pid)], text))
}

/// Waits until the console counts a waiting client; how many.
async fn until_waiting(console: &Session) -> Result<usize, StepError> {
    for _ in 0..100 {
        let waiting = pools(console).await?.iter().map(|pool| number(pool, "cl_waiting")).sum();
        if waiting > 0 {
            return Ok(waiting);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(0)
}
