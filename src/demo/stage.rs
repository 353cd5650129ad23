//! What the steps of the tour stand on: the sample database, the proxy before it, and clients of both.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Notification, SimpleQueryMessage, SimpleQueryRow};

use crate::cluster::{Cluster, ClusterError};

/// The database's tables, rows and rights.
const BILLING: &str = include_str!("billing.sql");
pub const DATABASE: &str = "billing";
/// The console's database.
pub const CONSOLE: &str = "pgwarden";
/// The role that both users have on the server, so that they share backends.
pub const ROLE: &str = "billing_app";
/// Backends of the pool that both users share.
pub const POOL: usize = 4;

/// Someone who logs in at the proxy.
#[derive(Debug, Clone)]
pub struct Account {
    pub name: &'static str,
    pub password: String,
    /// The tenant whose rows this user's application asks for; 0: none.
    pub tenant: i64,
}

/// Everything a step may use.
#[derive(Debug)]
pub struct Stage {
    pub harbor: Account,
    pub lumen: Account,
    pub operator: Account,
    /// Where clients connect.
    pub proxy: SocketAddr,
    /// The proxy's configuration file.
    pub config: PathBuf,
    /// The server itself, as its superuser: for looking at what the proxy does there.
    pub server: Config,
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

/// Makes the role and the database, and fills it. Blocks for about two seconds.
pub fn fill(cluster: &Cluster, role_password: &str) -> Result<(), ClusterError> {
    cluster.psql("postgres", &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{role_password}'"))?;
    cluster.psql("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
    cluster.psql(DATABASE, BILLING).map(drop)
}

impl Stage {
    /// A session of a user, through the proxy.
    pub async fn connect(&self, account: &Account) -> Result<Session, StepError> {
        Session::open(&self.config(account, DATABASE)).await
    }

    /// A login attempt at the proxy with any name and password.
    pub async fn log_in(&self, name: &str, password: &str) -> Result<Session, tokio_postgres::Error> {
        let mut config = self.config(&self.harbor, DATABASE);
        config.user(name).password(password);
        Session::connect(&config).await
    }

    /// A session on the proxy's console.
    pub async fn console(&self) -> Result<Session, StepError> {
        Session::open(&self.config(&self.operator, CONSOLE)).await
    }

    /// A session on the server itself.
    pub async fn server(&self) -> Result<Session, StepError> {
        Session::open(&self.server).await
    }

    fn config(&self, account: &Account, database: &str) -> Config {
        let mut config = Config::new();
        config.host(self.proxy.ip().to_string()).port(self.proxy.port());
        config.user(account.name).password(&account.password).dbname(database);
        config.application_name(format!("{}-app", account.name)).connect_timeout(Duration::from_secs(10));
        config
    }

    /// Keeps `count` sessions of each user busy with short transactions, so that whoever else runs meets other backends
    /// from one transaction to the next.
    pub async fn traffic(&self, count: usize) -> Result<Traffic, StepError> {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for account in [&self.harbor, &self.lumen] {
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

    /// Pids of the server's processes that serve the pool.
    pub async fn backends(&self) -> Result<Vec<i32>, StepError> {
        let server = self.server().await?;
        let text = "SELECT pid FROM pg_stat_activity WHERE usename = $1 ORDER BY pid";
        Ok(server.client.query(text, &[&ROLE]).await?.iter().map(|row| row.get(0)).collect())
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
}

impl Session {
    async fn open(config: &Config) -> Result<Self, StepError> {
        Ok(Self::connect(config).await?)
    }

    async fn connect(config: &Config) -> Result<Self, tokio_postgres::Error> {
        let (client, mut connection) = config.connect(NoTls).await?;
        let (sender, notifications) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            // Its errors come out of the client's calls as well.
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notification) = message {
                    let _ = sender.send(notification);
                }
            }
        });
        Ok(Self { client, notifications })
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
        match self.client.simple_query(text).await {
            Ok(_) => Err(StepError::unexpected(format!("no error from: {text}"))),
            Err(error) => match error.as_db_error() {
                Some(sent) => Ok((sent.code().code().to_owned(), sent.message().to_owned())),
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
