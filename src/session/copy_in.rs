//! COPY FROM STDIN under row security, which PostgreSQL refuses: its data becomes batches of INSERT.
//!
//! To the client it is one statement. Outside a block all batches are one transaction of ours; inside, an error aborts the
//! block. A batch that fails is run again row by row, behind a savepoint, to find the line: that ends in the error too. No
//! batch is sent twice but after its savepoint was rolled back to.
//!
//! Invariants: the queue owes the COPY's reply from its beginning to its end, so whatever closes the session in between
//! closes the backend; nothing of the data is held but one batch, one row and what was read ahead.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::backend::Undone;
use super::copy_batch::{self, ROLLBACK_TO, is_of_a_row, is_of_a_value, own_error, with_place};
use super::copy_target::{self, NotCopied, RowForm, Target};
use super::frontend::READY_IDLE;
use super::handle::Signal;
use super::refuse::{POISON, SYNC};
use super::relay::READ_AHEAD_MAX;
use super::{CloseReason, Event, LastWords, Owed, Pass, Session};
use crate::audit::Ticket;
use crate::copy::{Batch, Options, Place, Read, Reader};
use crate::metrics::LimitKind;
use crate::policy::Admitted;
use crate::pool::exchange::ExchangeError;
use crate::pool::inject::Answer;
use crate::record::Outcome;
use crate::reply::{Expect, Show};
use crate::sql::copy::CopyFrom;
use crate::tenant::TenantKey;
use crate::wire::frame::{self, ErrorFields, HEADER, Header, TxStatus};
use crate::wire::message;

/// A COPY that the client has asked for, and policy admitted.
#[derive(Debug)]
pub(super) struct CopyIn {
    pub copy: CopyFrom,
    pub admitted: Admitted,
    pub ticket: Ticket,
    pub way: Way,
    /// Bytes of the request, which are still unread.
    pub request: usize,
}

/// How it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Query,
    Execute,
}

/// Why a COPY ends without success.
pub(super) enum Stop {
    /// The client is told this body of an ErrorResponse.
    Failed(Vec<u8>),
    Close(CloseReason),
    /// The session is over a limit that ends it.
    OverLimit(LimitKind),
    Lost(LastWords),
}

/// What the client sent.
enum Said {
    Data,
    Done,
    Fail(String),
    /// More must be read.
    Nothing,
}

/// Rows of a batch, and bytes of their data. More rows at once were no faster.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 512 << 10;

/// Rows that are run one by one in one write, to find the one that fails.
const SEARCH_ROWS: usize = 256;

/// How often a transaction is rolled back before its backend is given up: a cancel may hit the first.
const ROLLBACK_TRIES: usize = 3;

type Outcomes<T> = Result<T, Stop>;

/// A COPY under way.
struct Progress {
    target: Target,
    reader: Reader,
    batch: Batch,
    key: TenantKey,
    inserted: u64,
    /// The block is the client's.
    in_block: bool,
    /// What `idle_in_transaction_session_timeout` is to be again.
    idle_timeout: Option<String>,
}

impl Session {
    /// Copies, and answers the client. Whatever becomes of the COPY, the session is ready for the next message.
    pub(super) async fn copy_in(&mut self, asked: CopyIn) -> Result<(), CloseReason> {
        let CopyIn { copy, admitted, ticket, way, request } = asked;
        // The answers before it go out while its data is read: first their outcomes must be on disk.
        if !self.wait_for_held().await {
            return Err(CloseReason::Unrecorded);
        }
        self.client.unread.advance(request.min(self.client.unread.len()));
        self.seen_unread = 0;
        self.be_busy();
        self.handle.cancelled.set(false);
        self.forget_unnamed(way);
        let expect = match way {
            Way::Query => Expect::Query,
            Way::Execute => Expect::Execute,
        };
        let owed = Owed { ticket: Some(ticket), ..Owed::default() };
        self.forward_statement(admitted, expect, Show::Forward, owed);
        let readied = self.copy_ready(way).await;
        let in_block = self.bound.as_ref().is_some_and(|bound| bound.status == TxStatus::Open);
        let outcome = match readied {
            Ok(()) => self.copy_rows(&copy, way, in_block).await,
            Err(stop) => Err(stop),
        };
        let outcome = match outcome {
            Ok(inserted) => Ok(inserted),
            Err(Stop::Failed(error)) => match self.copy_abort(in_block).await {
                Ok(()) => Err(Stop::Failed(error)),
                Err(stop) => Err(stop),
            },
            Err(stop) => Err(stop),
        };
        self.copy_told();
        match outcome {
            Ok(inserted) => self.copy_succeeded(way, inserted),
            Err(Stop::Failed(error)) => self.copy_failed(way, &error),
            Err(Stop::Close(reason)) => return Err(reason),
            Err(Stop::OverLimit(limit)) => {
                // The client is told why.
                let _ = self.end_over(limit);
                return Err(CloseReason::OverLimit(limit));
            }
            Err(Stop::Lost(words)) => {
                if let Some(bound) = &mut self.bound {
                    bound.status = if in_block { TxStatus::Open } else { TxStatus::Idle };
                }
                return self.backend_lost(&words);
            }
        }
        match self.after_transaction() {
            Some(Event::Settle) => {
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

    /// What a Query does to the unnamed statement and portal, and what our own do.
    fn forget_unnamed(&mut self, way: Way) {
        if way == Way::Query {
            self.unnamed = None;
        }
        self.portals.close(b"");
        self.changes.note_no_unnamed();
        if let Some(bound) = &mut self.bound {
            bound.unnamed = None;
        }
    }

    /// Notifications that came meanwhile, and parameters.
    fn copy_told(&mut self) {
        if let Some(bound) = &mut self.bound {
            let aside = bound.aside.split();
            self.tell(&aside);
        }
        self.tell_parameters();
    }

    fn copy_succeeded(&mut self, way: Way, inserted: u64) {
        let mut complete = BytesMut::new();
        let tag = format!("COPY {inserted}");
        self.note_command(tag.as_bytes());
        message::command_complete(&mut complete, &tag);
        self.tell(&complete);
        let done = self.queue.receive(b'C').ok().and_then(|received| received.done);
        let done = match way {
            Way::Query => {
                self.tell_ready();
                self.queue.receive(b'Z').ok().and_then(|received| received.done)
            }
            Way::Execute => done,
        };
        if let Some(owed) = done {
            self.completed(owed, Outcome::Completed);
        }
    }

    fn copy_failed(&mut self, way: Way, error: &[u8]) {
        self.note_error(ErrorFields::read(error).code);
        self.failed = true;
        if let Some(touched) = &mut self.touched {
            touched.failed = true;
        }
        match self.stopped_error(ErrorFields::read(error).code) {
            Some(ours) => self.tell(&ours),
            None => {
                let mut out = BytesMut::new();
                frame::error_response(error, &mut out);
                self.tell(&out);
            }
        }
        self.seat.pool().count(|counters| counters.errors += 1);
        let mut dropped = Vec::new();
        self.queue.receive_error(|owed| dropped.push(owed));
        for owed in dropped {
            self.undo(owed, Undone::Failed);
        }
        if way == Way::Query {
            self.tell_ready();
            if let Some(owed) = self.queue.receive(b'Z').ok().and_then(|received| received.done) {
                self.completed(owed, Outcome::Failed);
            }
        }
    }

    fn tell_ready(&mut self) {
        let status = self.bound.as_ref().map_or(TxStatus::Idle, |bound| bound.status);
        let mut ready = READY_IDLE.to_vec();
        if let Some(last) = ready.last_mut() {
            *last = status.byte();
        }
        self.tell(&ready);
    }

    /// The server has answered everything before. Whether a block is open is known only now: the batch may have ended one.
    async fn copy_ready(&mut self, way: Way) -> Outcomes<()> {
        match way {
            Way::Query => Ok(()),
            Way::Execute => self.ask(SYNC, 1, &Place::Nowhere, "").await.map(drop),
        }
    }

    /// From the statement to the end of its transaction, where that is ours.
    async fn copy_rows(&mut self, copy: &CopyFrom, way: Way, in_block: bool) -> Outcomes<u64> {
        let mut progress = self.copy_begin(copy, in_block).await?;
        self.copy_respond(&progress.target);
        self.copy_data_rows(&mut progress).await?;
        if way == Way::Execute && !in_block {
            self.copy_await_sync().await?;
        }
        self.copy_finish(&progress).await?;
        Ok(progress.inserted)
    }

    /// Opens the transaction, asks about the table, readies the statements.
    async fn copy_begin(&mut self, copy: &CopyFrom, in_block: bool) -> Outcomes<Progress> {
        let Some((isolation, key)) = self.account.row().map(|(isolation, key)| (isolation.clone(), key.clone())) else {
            return Err(own_error(&NotCopied::no_tenant(), None));
        };
        if self.settings.value("client_encoding").is_some_and(|name| !super::steps::is_utf8(name)) {
            return Err(own_error(&NotCopied::encoding(), None));
        }
        if let Err(refusal) = self.rewritten_copy(copy) {
            return Err(own_error(&*refusal, None));
        }
        let begin = if in_block { "" } else { "BEGIN;" };
        let question = format!("{begin}{}", copy_target::question(copy));
        let answer = self.ask(&copy_batch::query(&question), 1, &Place::Nowhere, "").await?;
        let not_copied = |error: NotCopied| own_error(&error, None);
        let (table, idle_timeout) = copy_target::table(answer.rows).map_err(not_copied)?;
        let options = Options::of(copy).map_err(|error| own_error(&error, None))?;
        let target = Target::new(table, copy, &options, &isolation, &key).map_err(not_copied)?;
        let idle_timeout = Some(idle_timeout).filter(|timeout| timeout != "0");
        let mut ready = copy_batch::prepare(&target);
        if idle_timeout.is_some() {
            ready.extend(copy_batch::query("SET LOCAL idle_in_transaction_session_timeout=0"));
        }
        let readies = 1 + usize::from(idle_timeout.is_some());
        self.ask(&ready, readies, &Place::Nowhere, &target.table.name).await?;
        let row_max = self.rules.config.server.message_size_max;
        let reader = Reader::new(&options, target.fields(&options), row_max);
        let batch = Batch::new(target.width(), BATCH_ROWS, BATCH_BYTES);
        Ok(Progress { target, reader, batch, key, inserted: 0, in_block, idle_timeout })
    }

    /// CopyInResponse.
    fn copy_respond(&mut self, target: &Target) {
        let (width, format) = (target.width(), u8::from(target.is_binary()));
        let mut out = Vec::with_capacity(8 + 2 * width);
        out.push(b'G');
        out.extend_from_slice(&(7 + 2 * width as u32).to_be_bytes());
        out.push(format);
        out.extend_from_slice(&(width as u16).to_be_bytes());
        out.extend((0..width).flat_map(|_| [0, format]));
        self.tell(&out);
    }

    /// Reads the data to its end, and inserts it.
    async fn copy_data_rows(&mut self, progress: &mut Progress) -> Outcomes<()> {
        loop {
            let name = &progress.target.table.name;
            if self.handle.cancelled.replace(false) {
                let place = Place::Line(progress.reader.line());
                return Err(own_error(&NotCopied::cancelled(), place.context(name)));
            }
            match self.take_copy_message(&mut progress.reader)? {
                Said::Nothing => {
                    self.client_speaks().await?;
                    continue;
                }
                Said::Data => {}
                Said::Done => progress.reader.finish(),
                Said::Fail(reason) => {
                    let place = Place::Line(progress.reader.line());
                    return Err(own_error(&NotCopied::given_up(&reason), place.context(name)));
                }
            }
            loop {
                match progress.reader.read(&mut progress.batch) {
                    Ok(Read::Starved) => break,
                    Ok(Read::Full) => self.send_batch(progress).await?,
                    Ok(Read::Ended) => return self.send_batch(progress).await,
                    Err(error) => {
                        // What came before it is wrong first.
                        self.send_batch(progress).await?;
                        self.judge_broken(progress).await?;
                        let context = error.place.context(&progress.target.table.name);
                        return Err(own_error(&error, context));
                    }
                }
            }
        }
    }

    /// Feeds the reader from what was read of the client.
    fn take_copy_message(&mut self, reader: &mut Reader) -> Outcomes<Said> {
        let max = self.rules.config.server.message_size_max;
        let protocol = |message: String| Stop::Close(CloseReason::Protocol(message));
        let client = &mut self.client;
        loop {
            if client.passing > 0 {
                let here = client.passing.min(client.unread.len()).min(READ_AHEAD_MAX);
                if here == 0 {
                    return Ok(Said::Nothing);
                }
                reader.feed(&client.unread.split_to(here));
                client.passing -= here;
                return Ok(Said::Data);
            }
            let Some(header) = Header::read(&client.unread, max).map_err(|error| protocol(error.to_string()))? else {
                return Ok(Said::Nothing);
            };
            if header.tag == b'd' {
                if let Some(trail) = &mut self.trail {
                    trail.note_copied(header.total());
                }
                client.unread.advance(HEADER);
                // Should the COPY end inside this message, the rest of it is nobody's.
                (client.passing, client.pass) = (header.body, Pass::Discard);
                continue;
            }
            if !matches!(header.tag, b'c' | b'f' | b'S' | b'H' | b'X') || header.body > READ_AHEAD_MAX / 2 {
                let message = format!("unexpected message type 0x{:02X} during COPY from stdin", header.tag);
                return Err(protocol(message));
            }
            if client.unread.len() < header.total() {
                return Ok(Said::Nothing);
            }
            let message = client.unread.split_to(header.total());
            match header.tag {
                b'c' => return Ok(Said::Done),
                b'f' => {
                    let reason = frame::split_cstr(&message[HEADER..]).map_or(&message[HEADER..], |(text, _)| text);
                    return Ok(Said::Fail(String::from_utf8_lossy(reason).into_owned()));
                }
                b'X' => return Err(Stop::Close(CloseReason::Terminated)),
                // A server that reads CopyData ignores Sync and Flush.
                _ => {}
            }
        }
    }

    /// Sends the batch, and empties it.
    async fn send_batch(&mut self, progress: &mut Progress) -> Outcomes<()> {
        if progress.batch.is_empty() {
            return Ok(());
        }
        let foreign = progress.target.foreign_row(&progress.batch, &progress.key);
        if let Some(row) = foreign {
            let context = Place::Line(progress.batch.line(row)).context(&progress.target.table.name);
            return Err(own_error(&NotCopied::foreign(&progress.target.table.name), context));
        }
        let messages = copy_batch::batch(&progress.target, &progress.batch);
        let answer = self.converse(&messages, 1).await?;
        match answer.error {
            None => {
                progress.inserted += answer.inserted;
                progress.batch.clear();
                Ok(())
            }
            Some(error) => Err(self.find_line(progress, error, answer.completed).await?),
        }
    }

    /// A row that lacks fields: the server converts those that there are before it misses the others.
    async fn judge_broken(&mut self, progress: &mut Progress) -> Outcomes<()> {
        let Some(broken) = progress.batch.take_broken() else { return Ok(()) };
        let target = &progress.target;
        let answer = self.converse(&copy_batch::batch(target, &broken), 1).await?;
        let Some(error) = answer.error.filter(|error| is_of_a_value(error)) else { return Ok(()) };
        let place = self.find_column(target, &broken, &error, 0).await?.unwrap_or(Place::Line(broken.line(0)));
        Err(Stop::Failed(with_place(&error, &place, &target.table.name)))
    }

    /// Which row of a batch failed: its error, with the line.
    async fn find_line(&mut self, progress: &Progress, error: Vec<u8>, completed: usize) -> Outcomes<Stop> {
        let Progress { batch, target, .. } = progress;
        let name = &target.table.name;
        let all = Place::Lines(batch.line(0), batch.line(batch.rows() - 1));
        if !is_of_a_row(&error) {
            return Ok(Stop::Failed(with_place(&error, &all, name)));
        }
        let mut found = match target.rows() {
            // The savepoint was set, then one row after the other.
            RowForm::Single => Some((completed.saturating_sub(1), error.clone())),
            RowForm::Arrays if batch.rows() == 1 => Some((0, error.clone())),
            RowForm::Arrays => None,
        };
        let mut rows = copy_batch::Rows::new(batch);
        if found.is_none() {
            self.ask(&copy_batch::query(ROLLBACK_TO), 1, &all, name).await?;
            for from in (0..batch.rows()).step_by(SEARCH_ROWS) {
                let messages = rows.one_by_one(target, SEARCH_ROWS);
                let answer = self.converse(&messages, 1).await?;
                if let Some(error) = answer.error {
                    found = Some((from + answer.completed, error));
                    break;
                }
            }
        }
        // Whatever failed before may not fail again; it was an error all the same.
        let Some((row, error)) = found else { return Ok(Stop::Failed(with_place(&error, &all, name))) };
        let line = batch.line(row.min(batch.rows() - 1));
        if !is_of_a_row(&error) {
            return Ok(Stop::Failed(with_place(&error, &all, name)));
        }
        let place = match self.find_column(target, batch, &error, row).await? {
            Some(place) => place,
            None => Place::Line(line),
        };
        Ok(Stop::Failed(with_place(&error, &place, name)))
    }

    /// The column whose value the server could not convert, where it was that.
    async fn find_column(
        &mut self,
        target: &Target,
        batch: &Batch,
        error: &[u8],
        row: usize,
    ) -> Outcomes<Option<Place>> {
        if !is_of_a_value(error) || target.rows() == RowForm::Single || target.is_binary() {
            return Ok(None);
        }
        let fields = ErrorFields::read(error);
        let answer = self.converse(&copy_batch::query(ROLLBACK_TO), 1).await?;
        if answer.error.is_some() {
            return Ok(None);
        }
        let answer = self.converse(&copy_batch::conversions(target, batch, row), 1).await?;
        let same = answer.error.as_deref().map(ErrorFields::read);
        if same.is_none_or(|same| same.code != fields.code || same.message != fields.message) {
            return Ok(None);
        }
        let value = batch.elements(answer.completed).nth(row).and_then(|element| element.value);
        let column = target.column_name(answer.completed).to_owned();
        Ok(Some(Place::Value(batch.line(row), column, value.map(crate::copy::excerpt))))
    }

    /// In the extended protocol outside a block a transaction ends with Sync: nothing else may be part of it.
    async fn copy_await_sync(&mut self) -> Outcomes<()> {
        loop {
            if let Some(&tag) = self.client.unread.first() {
                match tag {
                    b'S' => return Ok(()),
                    b'H' if self.client.unread.len() < HEADER => {}
                    b'H' => {
                        self.client.unread.advance(HEADER);
                        continue;
                    }
                    _ => return Err(own_error(&NotCopied::not_alone(), None)),
                }
            }
            self.client_speaks().await?;
        }
    }

    /// All rows are in: what was readied is put away, and a transaction of ours is committed.
    async fn copy_finish(&mut self, progress: &Progress) -> Outcomes<()> {
        let name = &progress.target.table.name;
        let mut messages = copy_batch::close();
        let mut readies = 1;
        if let (true, Some(timeout)) = (progress.in_block, &progress.idle_timeout) {
            let mut sql = "SET LOCAL idle_in_transaction_session_timeout=".to_owned();
            crate::settings::push_literal(&mut sql, timeout);
            messages.extend(copy_batch::query(&sql));
            readies += 1;
        }
        self.ask(&messages, readies, &Place::Nowhere, name).await?;
        if !progress.in_block {
            self.ask(&copy_batch::query("COMMIT"), 1, &Place::Nowhere, name).await?;
        }
        Ok(())
    }

    /// After an error: a transaction of ours is rolled back, the client's is aborted.
    async fn copy_abort(&mut self, in_block: bool) -> Outcomes<()> {
        for _ in 0..ROLLBACK_TRIES {
            self.wait_for_cancels().await;
            let status = self.bound.as_ref().map_or(TxStatus::Idle, |bound| bound.status);
            match (in_block, status) {
                (false, TxStatus::Idle) | (true, TxStatus::Failed) => {
                    self.converse(&copy_batch::close(), 1).await?;
                    return Ok(());
                }
                (false, TxStatus::Open | TxStatus::Failed) => {
                    self.converse(&copy_batch::query("ROLLBACK"), 1).await?;
                }
                (true, TxStatus::Open | TxStatus::Idle) => {
                    self.converse(&[POISON, SYNC].concat(), 1).await?;
                }
            }
        }
        Err(Stop::Lost(LastWords::default()))
    }

    /// [`Self::converse`], where an error of the server is the end.
    async fn ask(&mut self, messages: &[u8], readies: usize, place: &Place, relation: &str) -> Outcomes<Answer> {
        let mut answer = self.converse(messages, readies).await?;
        match answer.error.take() {
            None => Ok(answer),
            Some(error) => Err(Stop::Failed(with_place(&error, place, relation))),
        }
    }

    /// Has the server run something, and reads ahead of the client meanwhile. Notices go to the client.
    async fn converse(&mut self, messages: &[u8], readies: usize) -> Outcomes<Answer> {
        let answer = self.run_watching(messages, readies).await?;
        self.tell(&answer.notices);
        Ok(answer)
    }

    async fn run_watching(&mut self, messages: &[u8], readies: usize) -> Outcomes<Answer> {
        let Self { bound, client, handle, context, account, draining, .. } = self;
        let Some(bound) = bound else { return Err(Stop::Lost(LastWords::default())) };
        let mut run = pin!(bound.run(messages, readies));
        poll_fn(|cx| {
            handle.listen(cx.waker());
            if let Some(stop) = obey(handle.take_signal(), draining, || context.has_place(account)) {
                return Poll::Ready(Err(stop));
            }
            if let Poll::Ready(outcome) = run.as_mut().poll(cx) {
                return Poll::Ready(outcome.map_err(|error| Stop::Lost(last_words(&error))));
            }
            while let Poll::Ready(read) = client.poll_ahead(cx, &mut context.scratch.borrow_mut()) {
                if let Err(reason) = read {
                    return Poll::Ready(Err(Stop::Close(reason)));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Waits for the client to say more. What it was told goes out meanwhile.
    async fn client_speaks(&mut self) -> Outcomes<()> {
        let Self { client, handle, context, account, draining, .. } = self;
        poll_fn(|cx| {
            handle.listen(cx.waker());
            if let Some(stop) = obey(handle.take_signal(), draining, || context.has_place(account)) {
                return Poll::Ready(Err(stop));
            }
            if handle.cancelled.get() {
                return Poll::Ready(Ok(()));
            }
            client.poll_ahead(cx, &mut context.scratch.borrow_mut()).map_err(Stop::Close)
        })
        .await
    }
}

impl super::Client {
    /// Writes what is unsent and reads once. Ready when something was read; pending too while enough is unread.
    fn poll_ahead(&mut self, cx: &mut std::task::Context<'_>, scratch: &mut [u8]) -> Poll<Result<(), CloseReason>> {
        while !self.unsent.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.unsent) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(CloseReason::ClientGone)),
                Poll::Ready(Ok(count)) => self.unsent.advance(count),
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(_)) = Pin::new(&mut self.stream).poll_flush(cx) {
            return Poll::Ready(Err(CloseReason::ClientGone));
        }
        if self.unread.len() >= READ_AHEAD_MAX {
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(scratch);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.unread.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(()) | Err(_)) => Poll::Ready(Err(CloseReason::ClientGone)),
        }
    }
}

/// What a signal means in the middle of a COPY. `has_place`: the account still has one.
fn obey(signal: Option<Signal>, draining: &mut bool, has_place: impl Fn() -> bool) -> Option<Stop> {
    match signal? {
        Signal::Kill => Some(Stop::Close(CloseReason::Killed)),
        Signal::Drain => {
            *draining = true;
            None
        }
        // A tenant that was switched off is not served to the end of its transaction.
        Signal::Reload => (!has_place()).then_some(Stop::Close(CloseReason::Retired)),
        // That was before the COPY.
        Signal::IdleTimeout
        | Signal::IdleInTransactionTimeout
        | Signal::OverLimit(LimitKind::IdleInTransactionTime | LimitKind::Connections) => None,
        Signal::OverLimit(limit) => Some(Stop::OverLimit(limit)),
    }
}

fn last_words(error: &ExchangeError) -> LastWords {
    match error {
        ExchangeError::Refused { sqlstate, message } => {
            LastWords { code: sqlstate.clone(), message: message.clone(), ..LastWords::default() }
        }
        ExchangeError::Lost(_)
        | ExchangeError::Protocol(_)
        | ExchangeError::Context(_)
        | ExchangeError::Residue
        | ExchangeError::Timeout(_) => LastWords { message: error.to_string(), ..LastWords::default() },
    }
}
