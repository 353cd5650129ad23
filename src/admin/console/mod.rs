//! The console: what `psql -d pgwarden` talks to. It answers by the simple and the extended protocol, so that psql, drivers
//! and dashboards can use it, and knows the commands of [`command`] alone; nothing is passed on to a server.
//!
//! Invariants: a viewer changes nothing; an error in the extended protocol skips to Sync; everything that a client can make
//! grow (message, statements, portals, what is read ahead) has a limit; replies go out before the next read wait of a
//! client that asked for them (Query, Sync, Flush) and errors at once.

pub mod command;
mod error;
mod extended;
mod messages;
mod settings;
mod show;
mod show_audit;
mod tables;
#[cfg(test)]
mod tests;

pub use error::ConsoleError;
pub use settings::changes;
pub(super) use settings::durability_text;
pub(super) use show_audit::state_word;

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tracing::info;

use super::{Command, Service, stopped};
use crate::fault::{Report, Severity};
use crate::wire::CancelKey;
use crate::wire::frame::{Header, Parse, Target, TxStatus, execute_portal, query_text, split_cstr};
use crate::wire::message;
use command::{Chatter, Fixed, REPORTED, SERVER_VERSION, SETTINGS, Statement, Transaction};
use error::command_name;
use extended::{Bind, Names, Portal, Progress};
use messages::{Bare, Format};
use show::View;
use tables::{Cell, Column, Kind, Row};

/// What the user may do on the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Admin,
    /// SHOW only.
    Viewer,
}

/// Who logged in to the console.
pub struct Login<'a> {
    pub user: &'a str,
    /// Its address.
    pub client: &'a str,
    pub access: Access,
    /// The key that the client is told.
    pub cancel_key: &'a CancelKey,
    /// A cancel request with that key calls `notify_waiters` on this; it ends the wait of a command.
    pub cancelled: &'a Notify,
}

#[derive(Debug, Clone)]
pub struct Limits {
    /// One message of the client, without its header, in bytes.
    pub message_size_max: usize,
    /// A client that sends nothing for so long is closed; zero: never.
    pub idle_timeout: Duration,
    /// A client that takes nothing for so long is closed.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_size_max: 16 << 10, idle_timeout: Duration::ZERO, write_timeout: Duration::from_secs(30) }
    }
}

/// What ended a console session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client said goodbye.
    Terminated,
    /// The client's connection closed or failed.
    Disconnected,
    ProtocolViolation,
    IdleTimeout,
    /// The client did not take its answers.
    Stalled,
    Shutdown,
}

/// Serves one client from just after its login to its end. `first` holds what is still to be written (AuthenticationOk and
/// the like); the settings, the cancel key and ReadyForQuery follow it. Returns once `shutdown` turns true, too.
///
/// This is not cancel safe: dropped, it leaves the client without an answer.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    service: &Service,
    login: Login<'_>,
    first: BytesMut,
    limits: &Limits,
    shutdown: watch::Receiver<bool>,
) -> Ended {
    let mut console = Console {
        stream,
        service,
        login,
        limits,
        shutdown,
        inbox: BytesMut::new(),
        out: first,
        names: Names::default(),
        status: TxStatus::Idle,
        mode: Mode::Serving,
    };
    let ended = console.run().await;
    // Best effort: the client may be gone already.
    let _ = timeout(console.limits.write_timeout, console.stream.shutdown()).await;
    ended
}

struct Console<'a, S> {
    stream: S,
    service: &'a Service,
    login: Login<'a>,
    limits: &'a Limits,
    shutdown: watch::Receiver<bool>,
    /// Bytes read and not yet handled.
    inbox: BytesMut,
    /// Replies not yet written.
    out: BytesMut,
    names: Names,
    status: TxStatus,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Serving,
    /// An error in the extended protocol: everything up to Sync is ignored.
    SkippingToSync,
}

/// Why handling a message stopped.
enum Stop {
    Error(ConsoleError),
    End(Ended),
}

impl<E: Into<ConsoleError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// What a statement gives.
enum Outcome {
    Rows { columns: Vec<Column>, rows: Vec<Row>, verb: &'static str },
    Done(&'static str),
}

/// Replies are written out once there is so much of them.
const FLUSH_AT: usize = 64 << 10;

impl<S: AsyncRead + AsyncWrite + Unpin> Console<'_, S> {
    async fn run(&mut self) -> Ended {
        self.greet();
        if let Err(Stop::End(ended)) = self.flush().await {
            return ended;
        }
        loop {
            let step = match self.frame().await {
                Ok((tag, body)) => self.handle(tag, body).await,
                Err(stop) => Err(stop),
            };
            match step {
                Ok(()) => {}
                Err(Stop::End(ended)) => return ended,
                Err(Stop::Error(error)) => {
                    if let Some(ended) = self.report(&error).await {
                        return ended;
                    }
                }
            }
        }
    }

    fn greet(&mut self) {
        for (name, value) in SETTINGS.into_iter().filter(|(name, _)| REPORTED.contains(name)) {
            message::parameter_status(&mut self.out, name, value);
        }
        message::parameter_status(&mut self.out, "session_authorization", self.login.user);
        message::parameter_status(&mut self.out, "application_name", "");
        message::backend_key_data(&mut self.out, self.login.cancel_key.pid, &self.login.cancel_key.secret);
        messages::ready_for_query(&mut self.out, self.status);
    }

    /// The next message, whole: its tag and body. Bytes of a partial one stay in the inbox.
    async fn frame(&mut self) -> Result<(u8, Bytes), Stop> {
        loop {
            if let Some(header) = Header::read(&self.inbox, self.limits.message_size_max)? {
                if self.inbox.len() >= header.total() {
                    let mut frame = self.inbox.split_to(header.total());
                    frame.advance(header.total() - header.body);
                    return Ok((header.tag, frame.freeze()));
                }
                self.inbox.reserve(header.total() - self.inbox.len());
            }
            self.inbox.reserve(1);
            let idle = self.limits.idle_timeout;
            let read = tokio::select! {
                biased;
                () = stopped(&mut self.shutdown) => return Err(ConsoleError::ShuttingDown.into()),
                () = tokio::time::sleep(idle), if !idle.is_zero() => return Err(ConsoleError::IdleTimeout.into()),
                read = self.stream.read_buf(&mut self.inbox) => read,
            };
            if !matches!(read, Ok(1..)) {
                return Err(Stop::End(Ended::Disconnected));
            }
        }
    }

    async fn handle(&mut self, tag: u8, body: Bytes) -> Result<(), Stop> {
        match tag {
            b'X' => Err(Stop::End(Ended::Terminated)),
            b'S' => self.sync().await,
            b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'F' if self.mode == Mode::SkippingToSync => Ok(()),
            b'Q' => self.query(&body).await,
            b'P' => self.parse(&body),
            b'B' => self.bind(&body),
            b'D' => self.describe(&body),
            b'E' => self.execute(&body).await,
            b'C' => self.close(&body),
            b'H' => self.flush().await,
            b'F' => self.function_call().await,
            // The rest of a COPY that never began, as PostgreSQL has it.
            b'd' | b'c' | b'f' => Ok(()),
            other => Err(ConsoleError::UnexpectedMessage(other).into()),
        }
    }

    /// Tells the client; `Some` when that ends the session.
    async fn report(&mut self, error: &ConsoleError) -> Option<Ended> {
        messages::error(&mut self.out, error);
        self.fail_transaction();
        self.mode = Mode::SkippingToSync;
        if let Err(Stop::End(ended)) = self.flush().await {
            return Some(ended);
        }
        match (error.severity(), error) {
            (Severity::Error, _) => None,
            (Severity::Fatal, ConsoleError::ShuttingDown) => Some(Ended::Shutdown),
            (Severity::Fatal, ConsoleError::IdleTimeout) => Some(Ended::IdleTimeout),
            (Severity::Fatal, _) => Some(Ended::ProtocolViolation),
        }
    }

    fn fail_transaction(&mut self) {
        if self.status == TxStatus::Open {
            self.status = TxStatus::Failed;
        }
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        match timeout(self.limits.write_timeout, self.stream.write_all_buf(&mut self.out)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Stop::End(Ended::Disconnected)),
            Err(_) => return Err(Stop::End(Ended::Stalled)),
        }
        // A large answer's memory is not kept by an idle session.
        self.out = BytesMut::new();
        self.stream.flush().await.map_err(|_| Stop::End(Ended::Disconnected))
    }

    async fn sync(&mut self) -> Result<(), Stop> {
        self.mode = Mode::Serving;
        if self.status == TxStatus::Idle {
            self.names.close_portals();
        }
        messages::ready_for_query(&mut self.out, self.status);
        self.flush().await
    }

    /// A function call is answered on the spot: no Sync follows it.
    async fn function_call(&mut self) -> Result<(), Stop> {
        messages::error(&mut self.out, &ConsoleError::FunctionCall);
        self.fail_transaction();
        messages::ready_for_query(&mut self.out, self.status);
        self.flush().await
    }

    async fn query(&mut self, body: &[u8]) -> Result<(), Stop> {
        let text = query_text(body)?;
        self.names.close_statement("");
        self.names.close_portal("");
        match self.statements(text).await {
            Ok(()) => {}
            Err(Stop::Error(error)) if error.severity() == Severity::Error => {
                messages::error(&mut self.out, &error);
                self.fail_transaction();
            }
            Err(stop) => return Err(stop),
        }
        if self.status == TxStatus::Idle {
            self.names.close_portals();
        }
        messages::ready_for_query(&mut self.out, self.status);
        self.flush().await
    }

    async fn statements(&mut self, text: &[u8]) -> Result<(), Stop> {
        let text = std::str::from_utf8(text).map_err(|_| ConsoleError::NotUtf8)?;
        let statements = command::parse(text)?;
        if statements.is_empty() {
            message::empty_query_response(&mut self.out);
        }
        for statement in &statements {
            match self.perform(statement).await? {
                Outcome::Done(tag) => message::command_complete(&mut self.out, tag),
                Outcome::Rows { columns, rows, verb } => {
                    messages::row_description(&mut self.out, &columns, |_| Format::Text);
                    let count = rows.len();
                    for row in &rows {
                        messages::data_row(&mut self.out, &columns, row, |_| Format::Text);
                        self.flush_if_large().await?;
                    }
                    message::command_complete(&mut self.out, &row_tag(verb, count));
                }
            }
        }
        Ok(())
    }

    async fn flush_if_large(&mut self) -> Result<(), Stop> {
        if self.out.len() < FLUSH_AT { Ok(()) } else { self.flush().await }
    }

    fn parse(&mut self, body: &[u8]) -> Result<(), Stop> {
        let parse = Parse::read(body)?;
        let mut statements = command::parse(utf8(parse.text)?)?;
        if statements.len() > 1 {
            return Err(ConsoleError::SeveralCommands.into());
        }
        self.names.prepare(utf8(parse.name)?.to_owned(), statements.pop())?;
        messages::bare(&mut self.out, Bare::ParseComplete);
        Ok(())
    }

    fn bind(&mut self, body: &[u8]) -> Result<(), Stop> {
        let bind = Bind::read(body)?;
        let statement = self.names.statement(utf8(bind.statement)?)?.cloned();
        if bind.parameters > 0 {
            return Err(ConsoleError::Parameters.into());
        }
        let columns = statement.as_ref().and_then(columns);
        if let Some(columns) = columns.filter(|columns| !bind.formats.fit(columns.len())) {
            drop(columns);
            return Err(ConsoleError::Formats.into());
        }
        let portal = Portal { statement, formats: bind.formats, progress: Progress::Bound };
        self.names.bind(utf8(bind.portal)?.to_owned(), portal)?;
        messages::bare(&mut self.out, Bare::BindComplete);
        Ok(())
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), Stop> {
        let (columns, formats) = match Target::read(b'D', body)? {
            Target::Statement(name) => {
                let statement = self.names.statement(utf8(name)?)?;
                messages::no_parameters(&mut self.out);
                (statement.and_then(columns), None)
            }
            Target::Portal(name) => {
                let portal = self.names.portal(utf8(name)?)?;
                (portal.statement.as_ref().and_then(columns), Some(portal.formats.clone()))
            }
        };
        match columns {
            None => messages::bare(&mut self.out, Bare::NoData),
            Some(columns) => messages::row_description(&mut self.out, &columns, |i| {
                formats.as_ref().map_or(Format::Text, |formats| formats.of(i))
            }),
        }
        Ok(())
    }

    async fn execute(&mut self, body: &[u8]) -> Result<(), Stop> {
        let name = utf8(execute_portal(body)?)?.to_owned();
        let limit = split_cstr(body).map_or(&[][..], |(_, limit)| limit);
        let limit = limit.first_chunk::<4>().map_or(0, |limit| i32::from_be_bytes(*limit));
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let portal = self.names.portal(&name)?;
        match std::mem::replace(&mut portal.progress, Progress::Ran) {
            Progress::Ran => Err(ConsoleError::PortalRan(name).into()),
            Progress::Suspended { columns, rows, verb } => self.fetch(&name, columns, rows, verb, limit).await,
            Progress::Bound => match portal.statement.clone() {
                None => {
                    message::empty_query_response(&mut self.out);
                    Ok(())
                }
                Some(statement) => match self.perform(&statement).await? {
                    Outcome::Done(tag) => {
                        message::command_complete(&mut self.out, tag);
                        self.flush_if_large().await
                    }
                    Outcome::Rows { columns, rows, verb } => {
                        self.fetch(&name, columns, rows.into_iter(), verb, limit).await
                    }
                },
            },
        }
    }

    /// Sends up to `limit` rows; what is left waits in the portal.
    async fn fetch(
        &mut self,
        name: &str,
        columns: Vec<Column>,
        mut rows: std::vec::IntoIter<Row>,
        verb: &'static str,
        limit: Option<usize>,
    ) -> Result<(), Stop> {
        let formats = self.names.portal(name)?.formats.clone();
        let mut sent = 0;
        while limit.is_none_or(|limit| sent < limit) {
            let Some(row) = rows.next() else { break };
            messages::data_row(&mut self.out, &columns, &row, |i| formats.of(i));
            sent += 1;
            self.flush_if_large().await?;
        }
        if limit.is_some_and(|limit| sent == limit) {
            messages::bare(&mut self.out, Bare::PortalSuspended);
            self.names.portal(name)?.progress = Progress::Suspended { columns, rows, verb };
        } else {
            message::command_complete(&mut self.out, &row_tag(verb, sent));
        }
        Ok(())
    }

    fn close(&mut self, body: &[u8]) -> Result<(), Stop> {
        match Target::read(b'C', body)? {
            Target::Statement(name) => self.names.close_statement(utf8(name)?),
            Target::Portal(name) => self.names.close_portal(utf8(name)?),
        }
        messages::bare(&mut self.out, Bare::CloseComplete);
        Ok(())
    }

    async fn perform(&mut self, statement: &Statement) -> Result<Outcome, Stop> {
        let ends_transaction = matches!(statement, Statement::Transaction(Transaction::Commit | Transaction::Rollback));
        if self.status == TxStatus::Failed && !ends_transaction {
            return Err(ConsoleError::FailedTransaction.into());
        }
        match statement {
            Statement::Command(command) => self.command(command).await,
            Statement::Transaction(step) => Ok(Outcome::Done(self.transaction(*step))),
            Statement::Acknowledge(what) => {
                match what {
                    Chatter::DiscardAll | Chatter::DeallocateAll => self.names.close_statements(),
                    Chatter::Set | Chatter::Reset | Chatter::Unlisten | Chatter::CloseAll => {}
                }
                Ok(Outcome::Done(what.tag()))
            }
            Statement::Setting(name) => {
                let value = SETTINGS.into_iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
                Ok(self.one(statement, Cell::word(value), "SHOW"))
            }
            Statement::Select { what, .. } => Ok(self.one(statement, self.fixed(*what), "SELECT")),
            Statement::Show(topic) => {
                let snapshot = self.service.control.snapshot().await;
                let config = self.service.control.config();
                let recent = self.service.history.recent(&snapshot);
                let log = self.service.control.log();
                let view = View { snapshot: &snapshot, config: &config, recent: &recent, log: log.as_ref() };
                let rows = view.rows(*topic);
                Ok(Outcome::Rows { columns: topic.columns(), rows, verb: "SHOW" })
            }
        }
    }

    fn one(&self, statement: &Statement, cell: Cell, verb: &'static str) -> Outcome {
        Outcome::Rows { columns: columns(statement).unwrap_or_default(), rows: vec![vec![cell]], verb }
    }

    fn fixed(&self, what: Fixed) -> Cell {
        match what {
            Fixed::Integer(n) => Cell::Int(n.into()),
            Fixed::Version => Cell::text(format!("PostgreSQL {SERVER_VERSION}")),
            Fixed::CurrentUser => Cell::text(self.login.user),
            Fixed::CurrentDatabase => Cell::text(&*self.service.control.config().admin.database),
            Fixed::CurrentSchema => Cell::word("public"),
            Fixed::BackendPid => Cell::Int(self.login.cancel_key.pid.into()),
            Fixed::Void => Cell::word(""),
        }
    }

    /// Commands are not transactional; the status is kept for drivers that open a transaction before each statement.
    fn transaction(&mut self, step: Transaction) -> &'static str {
        let before = self.status;
        self.status = match step {
            Transaction::Begin => TxStatus::Open,
            Transaction::Commit | Transaction::Rollback => TxStatus::Idle,
        };
        match (step, before) {
            (Transaction::Begin, _) => "BEGIN",
            (Transaction::Commit, TxStatus::Idle | TxStatus::Open) => "COMMIT",
            (Transaction::Commit, TxStatus::Failed) | (Transaction::Rollback, _) => "ROLLBACK",
        }
    }

    /// Runs a command of an admin. While it waits (PAUSE can for long), a cancel request ends the wait, and so does the
    /// client's leaving.
    async fn command(&mut self, command: &Command) -> Result<Outcome, Stop> {
        let name = command_name(command);
        match self.login.access {
            Access::Admin => {}
            Access::Viewer => return Err(ConsoleError::ViewerOnly(name).into()),
        }
        info!(user = self.login.user, command = ?command, "console command");
        self.service.control.note_command(self.login.user, self.login.client, command);
        let mut running = self.service.control.command(command.clone());
        let mut cancelled = std::pin::pin!(self.login.cancelled.notified());
        loop {
            tokio::select! {
                biased;
                result = &mut running => {
                    result.map_err(|error| ConsoleError::Command { command: command.clone(), error })?;
                    return Ok(Outcome::Done(name));
                }
                () = &mut cancelled => return Err(ConsoleError::Cancelled(command.clone()).into()),
                () = stopped(&mut self.shutdown) => return Err(ConsoleError::ShuttingDown.into()),
                read = self.stream.read_buf(&mut self.inbox), if self.inbox.len() < self.limits.message_size_max => {
                    if !matches!(read, Ok(1..)) {
                        return Err(Stop::End(Ended::Disconnected));
                    }
                }
            }
        }
    }
}

/// The columns of a statement's rows; `None` when it gives none.
fn columns(statement: &Statement) -> Option<Vec<Column>> {
    match statement {
        Statement::Show(topic) => Some(topic.columns()),
        Statement::Setting(name) => Some(vec![Column { name: (*name).into(), kind: Kind::Text }]),
        Statement::Select { what, column } => {
            let kind = match what {
                Fixed::Integer(_) | Fixed::BackendPid => Kind::Int4,
                Fixed::Version | Fixed::CurrentUser | Fixed::CurrentDatabase | Fixed::CurrentSchema => Kind::Text,
                Fixed::Void => Kind::Void,
            };
            Some(vec![Column { name: column.clone().into(), kind }])
        }
        Statement::Command(_) | Statement::Transaction(_) | Statement::Acknowledge(_) => None,
    }
}

fn row_tag(verb: &'static str, rows: usize) -> String {
    if verb == "SELECT" { format!("SELECT {rows}") } else { verb.to_owned() }
}

fn utf8(bytes: &[u8]) -> Result<&str, ConsoleError> {
    std::str::from_utf8(bytes).map_err(|_| ConsoleError::NotUtf8)
}
