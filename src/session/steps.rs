//! What a session has to wait for: a backend, an answer to a question of its own, the end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use super::backend::Undone;
use super::effects::Pins;
use super::errors::{
    AuditAway, BackendGone, CancelledBefore, ContextRefused, Farewell, QUOTING, QuotingOff, SettingsRefused,
    StateUnknown, TooManySettings,
};
use super::frontend::READY_IDLE;
use super::handle::{Handle, Signal};
use super::relay::READ_AHEAD_MAX;
use super::{After, CloseReason, Event, Flow, LastWords, Pass, Session, encode, encode_as};
use crate::config::{Account, PoolMode};
use crate::fault::{Report, Severity, SqlState};
use crate::metrics::ClientState;
use crate::pool::exchange::ExchangeError;
use crate::pool::{BackendClose, BindError, Bound, Lease, LeaseError, Seat, Wait};
use crate::route::route;
use crate::settings::Settings;
use crate::sql::{DiscardTarget, Effect};
use crate::wire::frame::TxStatus;
use crate::wire::message;

/// Backends that may turn out to be unusable before a request fails.
const BIND_TRIES: usize = 3;

/// What a question to the server may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How often it is asked when it refuses to answer.
const QUESTION_TRIES: usize = 4;

/// What a client may take to read its last message.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

impl Session {
    /// Serves the client to the end of the session.
    ///
    /// This is not cancel safe: a dropped session closes its backend and its connection.
    pub async fn run(mut self) -> CloseReason {
        let reason = loop {
            let next = match poll_fn(|cx| self.poll_relay(cx)).await {
                // These are boxed for the sake of sessions that are idle: they are large, and rare.
                Event::NeedBackend => Box::pin(self.acquire()).await,
                Event::NeedAudit => Box::pin(self.wait_for_audit()).await,
                Event::NeedAnalysis(text) => Box::pin(self.analyse(text)).await,
                Event::Answered => self.answered(),
                Event::Settle => Box::pin(self.settle()).await,
                Event::CopyIn(copy) => Box::pin(self.copy_in(*copy)).await,
                Event::BackendLost(words) => self.backend_lost(&words),
                Event::Close(reason) => Err(reason),
            };
            if let Err(reason) = next {
                break reason;
            }
            self.seen_unread = 0;
            self.doubt_readable();
        };
        Box::pin(self.end(reason.clone())).await;
        reason
    }

    /// Waits for a backend and makes it the session's own; or sees to it that the request fails.
    async fn acquire(&mut self) -> Result<(), CloseReason> {
        self.handle.enter(ClientState::Waiting, Instant::now());
        let outcome = self.acquire_bound().await;
        self.handle.enter(ClientState::Active, Instant::now());
        match outcome {
            Ok(bound) => {
                self.hold(bound);
                self.tell_parameters();
                Ok(())
            }
            Err(NoBackend::Close(reason)) => Err(reason),
            Err(NoBackend::Denied(report)) => {
                tracing::warn!(
                    session = self.handle.id,
                    sqlstate = report.sqlstate().as_str(),
                    "no backend for a request"
                );
                self.denied = Some(encode_as(&*report, Severity::Error));
                self.handle.enter(ClientState::Idle, Instant::now());
                Ok(())
            }
        }
    }

    async fn acquire_bound(&mut self) -> Result<Bound, NoBackend> {
        self.sit_down()?;
        let mut last = None;
        for _ in 0..BIND_TRIES {
            let lease = match self.lease.take().or_else(|| self.seat.try_lease(&self.settings, Instant::now())) {
                Some(lease) => lease,
                None => self.wait_for_turn().await?,
            };
            let settings = self.settings.clone();
            match lease.bind(&settings).await {
                Ok(bound) => return Ok(bound),
                Err(error @ BindError::Context(_)) => {
                    tracing::error!(session = self.handle.id, error = %error, "the tenant's context could not be entered");
                    return Err(NoBackend::Denied(Box::new(ContextRefused)));
                }
                Err(error @ BindError::Settings { .. }) => {
                    return Err(NoBackend::Denied(Box::new(SettingsRefused(error))));
                }
                Err(error @ BindError::Backend(_)) => {
                    tracing::warn!(session = self.handle.id, error = %error, "backend not usable");
                    last = Some(error);
                }
            }
        }
        let detail = last.map_or_else(String::new, |error| error.to_string());
        Err(NoBackend::Denied(Box::new(BackendGone { detail, fatal: false })))
    }

    /// Tells the client what the server reports of this session and the client was told otherwise.
    pub(super) fn tell_parameters(&mut self) {
        let Some(bound) = &self.bound else { return };
        let news: Vec<_> = bound
            .parameters
            .iter()
            .filter(|(name, value)| self.told.value(name).is_some_and(|told| *told != ***value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (name, value) in news {
            let mut out = bytes::BytesMut::new();
            message::parameter_status(&mut out, &name, &value);
            self.tell(&out);
            self.told.note(&name, value);
        }
    }

    /// Takes the current configuration's place in a pool.
    fn sit_down(&mut self) -> Result<(), NoBackend> {
        let rules = self.context.rules();
        if Rc::ptr_eq(&rules, &self.rules) {
            return Ok(());
        }
        self.lease = None;
        let retired = NoBackend::Close(CloseReason::Retired);
        let Some(account) = rules.account_again(&self.account) else { return Err(retired) };
        let place = rules.topology.place(&account.database, route(None, TxStatus::Idle));
        let Some(place) = place else { return Err(retired) };
        self.seat = self.context.pools.seat(&rules.config, &place, &account);
        self.subject = rules.policy.subject_of(&account);
        self.pool_mode = account.pool().mode;
        self.account = account;
        self.rules = rules;
        Ok(())
    }

    /// Reads while something is waited for, so that a client that leaves is noticed.
    pub(super) fn read_ahead(&mut self, cx: &mut TaskContext<'_>) -> Result<(), NoBackend> {
        while self.client.unread.len() < READ_AHEAD_MAX {
            let context = self.context.clone();
            let mut scratch = context.scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.client.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.client.unread.extend_from_slice(buffer.filled());
                }
                Poll::Ready(Ok(()) | Err(_)) if self.has_taken_leave() => break,
                Poll::Ready(Ok(()) | Err(_)) => return Err(NoBackend::Close(CloseReason::ClientGone)),
            }
        }
        Ok(())
    }

    /// A signal that came while something is waited for.
    pub(super) fn heed(&mut self) -> Result<(), NoBackend> {
        while let Some(signal) = self.handle.take_signal() {
            match signal {
                Signal::Kill => return Err(NoBackend::Close(CloseReason::Killed)),
                Signal::Drain => self.draining = true,
                Signal::Reload if self.account.tenant.is_some() && !self.has_place() => {
                    return Err(NoBackend::Close(CloseReason::Retired));
                }
                Signal::IdleTimeout | Signal::IdleInTransactionTimeout | Signal::Reload | Signal::OverLimit(_) => {}
            }
        }
        Ok(())
    }

    /// Waits until the audit log can be written again; where that takes too long the request fails.
    async fn wait_for_audit(&mut self) -> Result<(), CloseReason> {
        self.handle.enter(ClientState::Waiting, Instant::now());
        let patience = self.patience_with_audit();
        let waited = tokio::time::timeout(
            patience,
            poll_fn(|cx| {
                self.handle.listen(cx.waker());
                if let Err(end) = self.heed() {
                    return Poll::Ready(Err(end));
                }
                if self.context.audit.poll_writable(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                self.read_ahead(cx).map_or_else(|gone| Poll::Ready(Err(gone)), |()| Poll::Pending)
            }),
        )
        .await;
        self.handle.enter(ClientState::Idle, Instant::now());
        match waited {
            Ok(Ok(())) => Ok(()),
            Ok(Err(end)) => self.give_up(end),
            Err(_) => {
                self.denied = Some(encode_as(&AuditAway, Severity::Error));
                Ok(())
            }
        }
    }

    /// What was waited for does not come.
    pub(super) fn give_up(&mut self, end: NoBackend) -> Result<(), CloseReason> {
        match end {
            NoBackend::Close(reason) => Err(reason),
            NoBackend::Denied(report) => {
                self.denied = Some(encode_as(&*report, Severity::Error));
                Ok(())
            }
        }
    }

    /// Waits in the queue, and reads on meanwhile so that a client that leaves is noticed.
    async fn wait_for_turn(&mut self) -> Result<Lease, NoBackend> {
        let wait = match self.seat.wait() {
            Ok(wait) => wait,
            Err(error) => return Err(no_lease(error)),
        };
        let mut wait = pin!(wait);
        poll_fn(|cx| {
            self.handle.listen(cx.waker());
            if let Err(end) = self.heed() {
                return Poll::Ready(Err(end));
            }
            if let Poll::Ready(outcome) = Wait::poll(wait.as_mut(), cx) {
                return Poll::Ready(outcome.map_err(no_lease));
            }
            if let Err(gone) = self.read_ahead(cx) {
                return Poll::Ready(Err(gone));
            }
            Poll::Pending
        })
        .await
    }

    /// A statement with effects has been answered: what is certain now is done now.
    fn answered(&mut self) -> Result<(), CloseReason> {
        let Flow::After(after) = std::mem::replace(&mut self.flow, Flow::Open) else { return Ok(()) };
        self.reopen();
        self.apply(&after);
        match self.after_transaction() {
            Some(Event::Settle) => {
                // The relay comes back with it: nothing is read before the question is asked.
                self.settle_next = true;
                Ok(())
            }
            Some(Event::Close(reason)) => Err(reason),
            Some(
                Event::NeedBackend
                | Event::NeedAudit
                | Event::NeedAnalysis(_)
                | Event::Answered
                | Event::CopyIn(_)
                | Event::BackendLost(_),
            )
            | None => Ok(()),
        }
    }

    /// Effects that do not wait for the end of the transaction.
    fn apply(&mut self, after: &After) {
        let After { statement, autocommit, fresh, completed } = after;
        let analysis = &statement.analysis;
        if analysis.failure.is_some() && self.failed && self.syntax_error && *fresh {
            // Neither our grammar nor the server's took it: nothing was run.
            self.touched = None;
        }
        let Some(bound) = &mut self.bound else { return };
        let effects = || analysis.statements.iter().flat_map(|statement| &statement.effects);
        if effects().any(|effect| self.seat.forgets_tenant(effect)) {
            if self.failed {
                // As likely as not nothing was forgotten; nobody else gets to rely on it.
                bound.close_after = Some(BackendClose::NotClean);
            } else {
                bound.lose_context();
            }
        }
        // What is prepared, and what DISCARD ALL discards, is of no transaction: it stays done whatever failed later.
        for effect in analysis.statements.iter().take(*completed).flat_map(|statement| &statement.effects) {
            match effect {
                Effect::Deallocate { name, .. } => {
                    if let Some(id) = statement.spliced_id(name) {
                        self.named.remove(name.as_bytes());
                        bound.prepared.remove(id);
                    }
                }
                Effect::DeallocateAll => {
                    self.named.clear();
                    bound.prepared.clear();
                }
                Effect::DiscardAll | Effect::Discard(DiscardTarget::All) => {
                    self.named.clear();
                    self.unnamed = None;
                    bound.forget();
                    self.settings = self.startup.clone();
                    self.pins = Pins::NONE;
                    self.touched = None;
                }
                _ => {}
            }
        }
        if effects().any(|effect| matches!(effect, Effect::Load)) {
            self.pins = self.pins.with(Pins::LOAD);
            bound.close_after = Some(BackendClose::Tainted);
        }
        if *autocommit
            && !self.failed
            && let Some(touched) = &self.touched
            && touched.is_plain_reset()
        {
            // RESET ALL and nothing else, and it has committed.
            self.touched = None;
            let role = self.settings.value(crate::settings::ROLE).cloned();
            if let Some(role) = role {
                let with_role = |settings: &Arc<Settings>| {
                    let mut values = settings.values().clone();
                    values.insert(crate::settings::ROLE.into(), role.clone());
                    Arc::new(Settings::from_values(values))
                };
                bound.settings = with_role(&Settings::none());
                self.settings = with_role(&self.startup);
            } else {
                bound.settings = Settings::none();
                self.settings = self.startup.clone();
            }
        }
        self.handle.pin.set(self.pins.label());
        self.handle.prepared.set(self.named.len());
        self.handle.note_settings(&self.settings);
        if self.keeps_backend() && self.touched.is_none() && !Settings::same(&bound_settings(self), &self.settings) {
            // The backend stays: it needs the session's settings now, not at the next lease.
            self.touched = Some(Box::default());
        }
    }

    /// A transaction has ended: asks the server what it left, waits for cancels, lets the backend go or keeps it.
    async fn settle(&mut self) -> Result<(), CloseReason> {
        self.wait_for_cancels().await;
        if let Some(touched) = self.touched.take() {
            let Some(bound) = &mut self.bound else { return Ok(()) };
            // Until the answer is in: where the session ends without it, nobody may get the backend as it is.
            let unclean = std::mem::replace(&mut bound.unclean, true) || touched.is_opaque();
            let questions = touched.questions(&self.settings);
            let sql = questions.sql();
            let mut rows = if sql.is_empty() { Ok(Vec::new()) } else { bound.exchange(&sql, QUESTION_TIMEOUT).await };
            for _ in 1..QUESTION_TRIES {
                // The session's own statement_timeout may be too short for the question.
                if matches!(rows, Err(ExchangeError::Refused { .. })) {
                    rows = bound.exchange(&sql, QUESTION_TIMEOUT).await;
                }
            }
            bound.unnamed = None;
            let answer = match rows {
                Ok(rows) => touched.resolve(&questions, rows, &self.settings, &self.startup),
                Err(error) => {
                    tracing::warn!(session = self.handle.id, error = %error, "session state could not be read back");
                    None
                }
            };
            let Some(answer) = answer else {
                // What the session has set is not known any more: it must not go on as if it were.
                return Err(self.fatal(&StateUnknown));
            };
            if answer.settings.values().len() > Settings::COUNT_MAX {
                return Err(self.fatal(&TooManySettings));
            }
            // The server has what it reported; the startup values that a RESET brings back it does not have yet.
            let on_server = answer.settings.values().iter().filter(|(name, value)| {
                self.startup.value(name) != Some(*value) || bound.settings.value(name) == Some(*value)
            });
            bound.settings = Arc::new(Settings::from_values(on_server.map(|(n, v)| (n.clone(), v.clone())).collect()));
            self.settings = answer.settings;
            if self.settings.value(QUOTING).is_some_and(|value| **value == *"off") {
                // Backslashes would end strings where our reading of the text says that they do not.
                return Err(self.fatal(&QuotingOff));
            }
            bound.unclean = unclean;
            if let Some(pins) = answer.pins {
                let lasting = Pins::LOAD.with(Pins::AUTHORIZATION).with(Pins::UNKNOWN);
                self.pins = pins.with(self.pins.without(lasting_complement(lasting)));
            }
            if let Some(authorization) = answer.authorization {
                self.pins = if *authorization == **self.account.server_user() {
                    self.pins.without(Pins::AUTHORIZATION)
                } else {
                    self.pins.with(Pins::AUTHORIZATION)
                };
            }
            // Our own statements are UTF-8: a backend that reads another encoding serves this session alone.
            let foreign = self.settings.value("client_encoding").is_some_and(|name| !is_utf8(name));
            if touched.is_unknown() || foreign {
                self.pins = self.pins.with(Pins::UNKNOWN);
            }
            self.handle.pin.set(self.pins.label());
            self.handle.note_settings(&self.settings);
            let aside = bound.aside.split();
            if self.keeps_backend() {
                self.tell(&aside);
                let settings = self.settings.clone();
                let Some(bound) = &mut self.bound else { return Ok(()) };
                if bound.take_settings(&settings).await.is_err() {
                    return Err(self.fatal(&StateUnknown));
                }
                self.tell_parameters();
            }
        }
        match self.after_transaction() {
            Some(Event::Close(reason)) => Err(reason),
            Some(Event::Settle) => {
                self.settle_next = true;
                Ok(())
            }
            Some(
                Event::NeedBackend
                | Event::NeedAudit
                | Event::NeedAnalysis(_)
                | Event::Answered
                | Event::CopyIn(_)
                | Event::BackendLost(_),
            )
            | None => Ok(()),
        }
    }

    pub(super) async fn wait_for_cancels(&mut self) {
        poll_fn(|cx| {
            self.handle.listen(cx.waker());
            if self.handle.cancels.get() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The backend stays with the session between transactions.
    pub(super) fn keeps_backend(&self) -> bool {
        !self.pins.is_empty() || self.pool_mode == PoolMode::Session
    }

    /// The server went away. Requests that it owes an answer fail, and are not tried again: they may have been run.
    pub(super) fn backend_lost(&mut self, words: &LastWords) -> Result<(), CloseReason> {
        let Some(bound) = self.bound.as_ref() else { return Ok(()) };
        tracing::warn!(
            session = self.handle.id,
            backend = bound.id(),
            sqlstate = words.code,
            message = words.message,
            "backend lost"
        );
        let torn = bound.passing > 0;
        let in_transaction = bound.status != TxStatus::Idle;
        let already_failed = self.queue.has_failed();
        let stateful = self.keeps_backend() || self.touched.is_some();
        let mut dropped = Vec::new();
        let unanswered = self.queue.fail(|owed| dropped.push(owed));
        // The newest comes first.
        let head = dropped.len().checked_sub(1);
        for (index, owed) in dropped.into_iter().enumerate() {
            self.undo(owed, Undone::Lost { at_head: Some(index) == head });
        }
        let reason = match bound_is_broken(self) {
            true => BackendClose::Protocol,
            false if words.without_context => BackendClose::NotClean,
            false => BackendClose::Lost,
        };
        if torn {
            // Half a message was passed on: nothing that follows it could be understood.
            self.let_go(Some(reason));
            return Err(CloseReason::BackendLost);
        }
        self.client.pass = Pass::Discard;
        let report = |fatal| -> Box<dyn Report> {
            match (words.without_context, words.code.as_bytes() == SqlState::QUERY_CANCELED.0) {
                (true, true) => Box::new(CancelledBefore),
                (true, false) => Box::new(ContextRefused),
                (false, _) => Box::new(BackendGone { detail: words.message.clone(), fatal }),
            }
        };
        if in_transaction || stateful || (unanswered.batches == 0 && !unanswered.open) {
            let expected = !in_transaction && !stateful && unanswered.batches == 0;
            self.let_go(Some(reason));
            return if expected { Ok(()) } else { Err(self.fatal_as(&*report(true), CloseReason::BackendLost)) };
        }
        let error = encode(&*report(false));
        for batch in 0..unanswered.batches {
            if batch > 0 || !already_failed {
                self.tell(&error);
            }
            self.tell(READY_IDLE);
        }
        if unanswered.open {
            self.tell(&error);
        }
        self.let_go(Some(reason));
        self.touched = None;
        if matches!(self.flow, Flow::Leaving) {
            return Err(CloseReason::Terminated);
        }
        self.reopen();
        Ok(())
    }

    fn fatal(&mut self, report: &dyn Report) -> CloseReason {
        self.fatal_as(report, CloseReason::Refused)
    }

    pub(super) fn fatal_as(&mut self, report: &dyn Report, reason: CloseReason) -> CloseReason {
        let error = encode_as(report, Severity::Fatal);
        self.tell(&error);
        reason
    }

    /// Tells the client why, where there is something to tell; gives the backend back, or closes it.
    async fn end(mut self, reason: CloseReason) {
        self.handle.state.set(ClientState::Closing);
        if let Some(farewell) = Farewell::of(&reason)
            && self.bound.as_ref().is_none_or(|bound| bound.passing == 0)
        {
            let error = encode(&farewell);
            self.tell(&error);
        }
        self.part_with_backend().await;
        self.release_held().await;
        let Session { mut client, .. } = self;
        if reason != CloseReason::ClientGone {
            let farewell = async {
                client.stream.write_all(&client.unsent).await?;
                client.stream.flush().await?;
                client.stream.shutdown().await
            };
            // A client that does not listen misses nothing that could still be done for it.
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, farewell).await;
        }
    }

    async fn part_with_backend(&mut self) {
        self.lease = None;
        self.wait_for_cancels().await;
        let Some(bound) = &mut self.bound else { return };
        let quiet = self.queue.is_settled()
            && self.client.passing == 0
            && bound.held.is_empty()
            && bound.unsent.is_empty()
            && bound.passing == 0;
        if !quiet {
            // What it is doing nobody waits for any more.
            let target = bound.cancel_target();
            let connector = self.context.pools.connector();
            self.let_go(Some(BackendClose::Abandoned));
            let _ = crate::pool::connect::cancel(&target.node, &target.key, &connector).await;
            return;
        }
        if bound.status != TxStatus::Idle && bound.exchange("ROLLBACK", QUESTION_TIMEOUT).await.is_err() {
            return self.let_go(Some(BackendClose::Abandoned));
        }
        let Some(bound) = &mut self.bound else { return };
        bound.unnamed = None;
        let kept = !self.pins.is_empty() || self.pool_mode == PoolMode::Session || self.touched.is_some();
        if kept {
            // Even the same user's next session must not find this one's state.
            bound.unclean = true;
        }
        bound.aside.clear();
        self.let_go(None);
    }
}

fn bound_settings(session: &Session) -> Arc<Settings> {
    session.bound.as_ref().map_or_else(Settings::none, |bound| bound.settings.clone())
}

fn bound_is_broken(session: &Session) -> bool {
    session.bound.as_ref().is_some_and(|bound| bound.close_after == Some(BackendClose::Protocol))
}

pub(super) fn is_utf8(encoding: &str) -> bool {
    ["UTF8", "UTF-8", "UNICODE", "SQL_ASCII"].iter().any(|name| name.eq_ignore_ascii_case(encoding))
}

/// All pins but these.
fn lasting_complement(pins: Pins) -> Pins {
    [Pins::LISTEN, Pins::HOLD_CURSOR, Pins::PREPARED, Pins::LOCK, Pins::TEMP]
        .into_iter()
        .fold(Pins::NONE, |all, pin| if pins.has(pin) { all } else { all.with(pin) })
}

fn no_lease(error: LeaseError) -> NoBackend {
    match error {
        LeaseError::Retired => NoBackend::Close(CloseReason::Retired),
        LeaseError::Shutdown => NoBackend::Close(CloseReason::Shutdown),
        LeaseError::Killed => NoBackend::Close(CloseReason::Killed),
        LeaseError::QueueFull { .. }
        | LeaseError::Timeout { .. }
        | LeaseError::Away { .. }
        | LeaseError::Refused(_) => NoBackend::Denied(Box::new(error)),
    }
}

/// Why a request gets no backend.
pub(super) enum NoBackend {
    Close(CloseReason),
    /// The request fails, the session goes on.
    Denied(Box<dyn Report>),
}

/// Keeps a backend from going back while a cancel request for it is on its way.
#[derive(Debug)]
pub struct CancelGuard(Rc<Handle>);

impl CancelGuard {
    pub fn new(handle: Rc<Handle>) -> Self {
        handle.cancels.set(handle.cancels.get() + 1);
        Self(handle)
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.0.cancels.set(self.0.cancels.get() - 1);
        self.0.wake();
    }
}

/// The seat of an account, by the rules in force.
pub(super) fn seat_for(context: &super::Context, account: &Account) -> Option<Rc<Seat>> {
    let rules = context.rules();
    let place = rules.topology.place(&account.database, route(None, TxStatus::Idle))?;
    Some(context.pools.seat(&rules.config, &place, account))
}
