//! What the steps of the tour stand on: the sample databases, the proxy before them, and clients of both.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Notification, SimpleQueryMessage, SimpleQueryRow};

use super::protection::Protection;
use crate::cluster::{Cluster, ClusterError};

/// The database's tables and rows.
const BILLING: &str = include_str!("billing.sql");
/// Whose tables the tenants share.
pub const BILLING_DATABASE: &str = "billing";
/// The role that all tenants have on the server: the application's, as it was before there was a proxy.
pub const BILLING_ROLE: &str = "billing_app";
/// A copy of it without tenants, for what is about pooling alone.
pub const SANDBOX: &str = "sandbox";
/// The role that both users of the sandbox have on the server, so that they share backends.
pub const SANDBOX_ROLE: &str = "sandbox_app";
/// The console's database.
pub const CONSOLE: &str = "pgwarden";
/// Backends of the pool that both users of the sandbox share.
pub const POOL: usize = 4;

/// Someone who logs in at the proxy.
#[derive(Debug, Clone)]
pub struct Account {
    pub name: String,
    pub password: String,
    pub database: &'static str,
    /// In the sandbox, the tenant whose rows this user's application asks for; elsewhere 0.
    pub tenant: i64,
}

/// Everyone who logs in, with new passwords.
#[derive(Debug)]
pub struct Accounts {
    /// Tenants of the shared database, each a user of its name.
    pub harbor: Account,
    pub lumen: Account,
    /// Reads as any tenant that it names.
    pub support: Account,
    /// Users of the sandbox.
    pub north: Account,
    pub south: Account,
    /// The console's.
    pub operator: Account,
}

impl Accounts {
    /// `password` makes one.
    pub fn new(mut password: impl FnMut() -> String) -> Self {
        let mut account =
            |name: &str, database, tenant| Account { name: name.to_owned(), password: password(), database, tenant };
        Self {
            harbor: account("harbor", BILLING_DATABASE, 0),
            lumen: account("lumen", BILLING_DATABASE, 0),
            support: account("support", BILLING_DATABASE, 0),
            north: account("north", SANDBOX, 1),
            south: account("south", SANDBOX, 2),
            operator: account("ops", CONSOLE, 0),
        }
    }
}

/// Everything a step may use.
#[derive(Debug)]
pub struct Stage {
    pub accounts: Accounts,
    /// Where clients connect.
    pub proxy: SocketAddr,
    /// The proxy's configuration file.
    pub config: PathBuf,
    /// The server itself, as its superuser: for looking at what the proxy does there.
    pub server: Config,
    /// Password of the tenants' role on the server.
    pub role_password: String,
    /// How the shared database was made safe.
    pub protection: Protection,
}

#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("{0}")]
    Unexpected(String),
    #[error("no answer in {0:?}")]
    TimedOut(Duration),
}

impl StepError {
    pub fn unexpected(text: impl Into<String>) -> Self {
        Self::Unexpected(text.into())
    }
}

/// An error as the tour shows it: SQLSTATE and message, where the server sent them.
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(sent) => format!("{} {}", sent.code().code(), sent.message()),
        None => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{error}{cause}")
        }
    }
}

/// Makes the roles and the databases, and fills them. Blocks for about two seconds.
pub fn fill(cluster: &Cluster, role_password: &str) -> Result<(), ClusterError> {
    let roles = [BILLING_ROLE, SANDBOX_ROLE];
    let made: String =
        roles.iter().map(|role| format!("CREATE ROLE {role} LOGIN PASSWORD '{role_password}';")).collect();
    cluster.psql("postgres", &made)?;
    cluster.psql("postgres", &format!("CREATE DATABASE {BILLING_DATABASE}"))?;
    cluster.psql(BILLING_DATABASE, BILLING)?;
    cluster.psql("postgres", &format!("CREATE DATABASE {SANDBOX} TEMPLATE {BILLING_DATABASE}"))?;
    for (database, role) in [(BILLING_DATABASE, BILLING_ROLE), (SANDBOX, SANDBOX_ROLE)] {
        cluster.psql(database, &rights(role))?;
    }
    // Who the other tenants are is none of a tenant's business; the sandbox has none.
    cluster.psql(SANDBOX, &format!("GRANT SELECT ON tenants TO {SANDBOX_ROLE}"))?;
    Ok(())
}

/// What the application's role may do.
fn rights(role: &str) -> String {
    format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE
            ON plans, customers, subscriptions, invoices, invoice_lines, payments, usage_events TO {role};"
    )
}

impl Stage {
    /// A session of a user, through the proxy, on that user's database.
    pub async fn connect(&self, account: &Account) -> Result<Session, StepError> {
        Ok(self.log_in(account).await?)
    }

    /// A login attempt at the proxy.
    pub async fn log_in(&self, account: &Account) -> Result<Session, tokio_postgres::Error> {
        Session::connect(&self.config(account)).await
    }

    /// A session of the tenants' role on the server itself, without the proxy.
    pub async fn around_the_proxy(&self) -> Result<Session, StepError> {
        let mut config = self.server.clone();
        config.user(BILLING_ROLE).password(&self.role_password);
        Session::open(&config).await
    }

    /// A session on the proxy's console.
    pub async fn console(&self) -> Result<Session, StepError> {
        self.connect(&self.accounts.operator).await
    }

    /// A session on the server itself.
    pub async fn server(&self) -> Result<Session, StepError> {
        Session::open(&self.server).await
    }

    fn config(&self, account: &Account) -> Config {
        let mut config = Config::new();
        config.host(self.proxy.ip().to_string()).port(self.proxy.port());
        config.user(&account.name).password(&account.password).dbname(account.database);
        config.application_name(format!("{}-app", account.name)).connect_timeout(Duration::from_secs(10));
        config
    }

    /// Keeps `count` sessions of each user of the sandbox busy with short transactions, so that whoever else runs meets other backends
    /// from one transaction to the next.
    pub async fn traffic(&self, count: usize) -> Result<Traffic, StepError> {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for account in [&self.accounts.north, &self.accounts.south] {
            for _ in 0..count {
                let session = self.connect(account).await?;
                let (stopped, tenant) = (stopped.clone(), account.tenant);
                tasks.spawn(async move {
                    let mut transactions: u32 = 0;
                    while !*stopped.borrow() {
                        // Of different lengths, so that no rhythm sets in.
                        let pause = 0.0005 * f64::from(transactions % 3);
                        let text = format!(
                            "SELECT count(*), pg_sleep({pause}) FROM invoices WHERE tenant_id = {tenant} AND status = 'open'"
                        );
                        session.rows(&text).await?;
                        transactions += 1;
                    }
                    Ok(transactions)
                });
            }
        }
        Ok(Traffic { stop, tasks })
    }

    /// Pids of the server's processes that serve the sandbox's pool.
    pub async fn backends(&self) -> Result<Vec<i32>, StepError> {
        let server = self.server().await?;
        let text = "SELECT pid FROM pg_stat_activity WHERE usename = $1 ORDER BY pid";
        Ok(server.client.query(text, &[&SANDBOX_ROLE]).await?.iter().map(|row| row.get(0)).collect())
    }
}

/// Background work of other clients.
#[derive(Debug)]
pub struct Traffic {
    stop: watch::Sender<bool>,
    tasks: JoinSet<Result<u32, StepError>>,
}

impl Traffic {
    /// Ends it; transactions that it ran, or the first error that any of its clients met.
    pub async fn stop(mut self) -> Result<u64, StepError> {
        self.stop.send_replace(true);
        let mut transactions: u64 = 0;
        while let Some(task) = self.tasks.join_next().await {
            transactions += u64::from(task.map_err(|error| StepError::unexpected(error.to_string()))??);
        }
        Ok(transactions)
    }
}

/// One client's connection. Dropping it says goodbye.
#[derive(Debug)]
pub struct Session {
    pub client: Client,
    pub notifications: mpsc::UnboundedReceiver<Notification>,
    /// With what error the connection ended, once it has; empty: with none.
    pub end: watch::Receiver<Option<String>>,
}

impl Session {
    async fn open(config: &Config) -> Result<Self, StepError> {
        Ok(Self::connect(config).await?)
    }

    async fn connect(config: &Config) -> Result<Self, tokio_postgres::Error> {
        let (client, mut connection) = config.connect(NoTls).await?;
        let (sender, notifications) = mpsc::unbounded_channel();
        let (ending, end) = watch::channel(None);
        tokio::spawn(async move {
            let end = loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(notification))) => drop(sender.send(notification)),
                    // Notices, and whatever else the driver may add.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break describe(&error),
                    None => break String::new(),
                }
            };
            ending.send_replace(Some(end));
        });
        Ok(Self { client, notifications, end })
    }

    /// Rows of a simple Query.
    pub async fn rows(&self, text: &str) -> Result<Vec<SimpleQueryRow>, StepError> {
        let messages = self.client.simple_query(text).await?;
        Ok(messages.into_iter().filter_map(row_of).collect())
    }

    /// The first column of the first row of a simple Query.
    pub async fn value(&self, text: &str) -> Result<String, StepError> {
        let rows = self.rows(text).await?;
        let value = rows.first().and_then(|row| row.get(0));
        Ok(value.ok_or_else(|| StepError::unexpected(format!("no value from: {text}")))?.to_owned())
    }

    pub async fn execute(&self, text: &str) -> Result<(), StepError> {
        Ok(self.client.batch_execute(text).await?)
    }

    /// The error of a simple Query that must fail: SQLSTATE and message.
    pub async fn error(&self, text: &str) -> Result<(String, String), StepError> {
        let sent = self.refusal(text).await?;
        Ok((sent.code().code().to_owned(), sent.message().to_owned()))
    }

    /// All of the error of a simple Query that must fail.
    pub async fn refusal(&self, text: &str) -> Result<DbError, StepError> {
        match self.client.simple_query(text).await {
            Ok(_) => Err(StepError::unexpected(format!("no error from: {text}"))),
            Err(error) => match error.as_db_error() {
                Some(sent) => Ok(sent.clone()),
                None => Err(error.into()),
            },
        }
    }
}

fn row_of(message: SimpleQueryMessage) -> Option<SimpleQueryRow> {
    match message {
        SimpleQueryMessage::Row(row) => Some(row),
        // The enum is open: descriptions and tags are of no use here.
        _ => None,
    }
}
