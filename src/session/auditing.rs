//! What of a session goes to the audit stream: an intent before a message leaves, its outcome before the client sees the
//! answer's end, and every refusal.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use super::Session;
use super::errors::AuditAway;
use super::frontend::Message;
use super::statements::Statement;
use crate::audit::{Audit, NotWritable, Recorded, Ticket};
use crate::config::OnFailure;
use crate::fault::SqlState;
use crate::record::{self, Answer, Forwarded, Head, Outcome, Parameters, TextMark, Verdict, Who, Words};
use crate::sql::{Analysis, Spans};
use crate::wire::frame::{self, ErrorFields, HEADER, Parse, Target};

/// How long a session that cannot relay meanwhile, at its end or before a COPY, waits for a log before its client is left
/// without the answer.
const HELD_MAX: Duration = Duration::from_secs(10);

/// What a session keeps for its records; absent where there is no audit.
///
/// What every message touches comes first, for the cache's sake.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Trail {
    /// The record that must be settled before the client gets another byte.
    held: Option<u64>,
    /// An outcome that the client waits for has no record: it gets nothing any more.
    unrecorded: bool,
    who: Rc<Who>,
    head: Head,
    /// Of the answer under way.
    answer: Answer,
    rule: Option<&'static str>,
    refused: Option<Refused>,
}

impl Trail {
    /// `node`: the server's, that statements go to.
    pub fn new(who: Rc<Who>, node: &str) -> Self {
        let head = Head::new(&who, node);
        Self { who, head, answer: Answer::default(), held: None, unrecorded: false, rule: None, refused: None }
    }

    fn hold_for(&mut self, seq: u64, audit: &Audit) {
        if !audit.is_settled(seq) {
            self.held = Some(seq);
        }
    }

    /// A piece of a COPY from the client, by its message's length.
    pub fn note_copied(&mut self, length: usize) {
        self.answer.copied += 1;
        self.answer.copied_bytes += length as u64;
    }
}

/// Whose the answer under way is, seen from a message that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Its,
    Anothers,
}

/// A message was answered with an error of ours.
#[derive(Debug)]
struct Refused {
    sqlstate: [u8; 5],
    rule: Option<&'static str>,
}

/// A message of the client that is about to be forwarded.
pub(super) enum Intent<'a> {
    Query {
        text: &'a [u8],
        analysis: &'a Analysis,
        forwarded: &'a [u8],
        rewritten: bool,
    },
    Parse {
        text: &'a [u8],
        analysis: &'a Analysis,
        forwarded: &'a [u8],
    },
    /// `values`: what follows the names, as far as it is here.
    Bind {
        statement: Option<&'a Statement>,
        values: &'a [u8],
    },
    Describe {
        statement: Option<&'a Statement>,
    },
    Execute {
        statement: Option<&'a Statement>,
    },
}

impl<'a> Intent<'a> {
    fn message(&self) -> record::Message {
        match self {
            Self::Query { .. } => record::Message::Query,
            Self::Parse { .. } => record::Message::Parse,
            Self::Bind { .. } => record::Message::Bind,
            Self::Describe { .. } => record::Message::Describe,
            Self::Execute { .. } => record::Message::Execute,
        }
    }

    fn runs(&self) -> bool {
        matches!(self, Self::Query { .. } | Self::Execute { .. })
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::Query { rewritten: true, .. } => Verdict::Rewrite,
            Self::Parse { text, forwarded, .. } if text != forwarded => Verdict::Rewrite,
            _ => Verdict::Allow,
        }
    }

    fn words(&self) -> Option<&'a Words> {
        match *self {
            Self::Query { text, analysis, .. } | Self::Parse { text, analysis, .. } => Some(words(text, analysis)),
            Self::Bind { statement, .. } | Self::Describe { statement } | Self::Execute { statement } => {
                statement.map(|it| words(&it.text, &it.analysis))
            }
        }
    }

    /// The client's own text, where the message has one.
    fn text(&self) -> Option<(&'a [u8], &'a Analysis)> {
        match *self {
            Self::Query { text, analysis, .. } | Self::Parse { text, analysis, .. } => Some((text, analysis)),
            Self::Bind { .. } | Self::Describe { .. } | Self::Execute { .. } => None,
        }
    }

    /// What the record tells of the text as forwarded: once for all times that the same is sent.
    fn mark(&self, audit: &Audit) -> Option<TextMark> {
        match *self {
            Self::Query { text, analysis, forwarded, .. } | Self::Parse { text, analysis, forwarded } => {
                match analysis.spans == Spans::Exact && text == forwarded {
                    true => analysis.words.mark(|| audit.mark(text)),
                    false => audit.mark(forwarded),
                }
            }
            Self::Bind { .. } | Self::Describe { .. } | Self::Execute { .. } => None,
        }
    }
}

/// What records say of a text, made once for all texts of its shape.
fn words<'a>(text: &[u8], analysis: &'a Analysis) -> &'a Words {
    analysis.words.get(|| Words::of(text, analysis))
}

impl Session {
    /// The client's next message may not be dealt with before the log can be written.
    pub(super) fn waits_for_audit(&self, tag: u8) -> bool {
        matches!(tag, b'Q' | b'P' | b'B' | b'D' | b'E' | b'F')
            && self.denied.is_none()
            && !self.context.audit.is_writable()
    }

    /// How long a request waits for a log that cannot be written.
    pub(super) fn patience_with_audit(&self) -> Duration {
        match self.rules.config.audit.as_ref().map(|audit| audit.on_failure) {
            Some(OnFailure::Refuse) => Duration::ZERO,
            Some(OnFailure::Block) | None => self.rules.config.server.queue_timeout,
        }
    }

    /// Records that a statement is about to be forwarded.
    pub(super) fn open_ticket(&mut self, intent: &Intent<'_>) -> Result<Ticket, AuditAway> {
        let context = self.context.clone();
        let now = context.moment.get();
        let Some(trail) = &mut self.trail else { return Ok(context.audit.unrecorded(now)) };
        self.handle.recorded.set(self.handle.recorded.get() + 1);
        let statements = match intent {
            Intent::Bind { statement: Some(statement), .. } => &statement.analysis.statements[..],
            _ => &[],
        };
        let (show, key) = context.audit.values(statements);
        let parameters = match intent {
            Intent::Bind { statement, values } => {
                let types = statement.map_or(&[][..], |statement| &statement.types);
                Some(Parameters { values, types, policy: &show, key })
            }
            Intent::Query { .. } | Intent::Parse { .. } | Intent::Describe { .. } | Intent::Execute { .. } => None,
        };
        let tenant = self.handle.tenant.as_ref().map(|tenant| &tenant.name);
        let forwarded = Forwarded {
            n: self.handle.recorded.get(),
            message: intent.message(),
            verdict: intent.verdict(),
            policy: self.rules.generation,
            backend: self.bound.as_ref().map_or(0, |bound| bound.pid().unsigned_abs()),
            text: intent.mark(&context.audit),
        };
        let record = record::Intent {
            who: &trail.who,
            head: &trail.head,
            forwarded,
            words: intent.words(),
            kept: intent.text().and_then(|(text, analysis)| context.audit.keep(tenant, text, analysis)),
            parameters,
        };
        let opened = context.audit.open(&record, intent.runs(), now);
        opened.map_err(|error: NotWritable| {
            tracing::debug!(session = self.handle.id, error = %error, "a message could not be recorded");
            AuditAway
        })
    }

    /// The same for a message that is part of a statement's preparation: nothing is counted where there is no audit.
    pub(super) fn open_ticket_of_part(&mut self, intent: &Intent<'_>) -> Result<Option<Ticket>, AuditAway> {
        if self.trail.is_none() {
            return Ok(None);
        }
        self.open_ticket(intent).map(Some)
    }

    /// For a Parse: `asked` is the client's text, `parse` what is forwarded.
    pub(super) fn open_parse(
        &mut self,
        asked: &[u8],
        parse: &Parse<'_>,
        statement: &Statement,
    ) -> Result<Option<Ticket>, AuditAway> {
        if self.trail.is_none() {
            return Ok(None);
        }
        let analysis = if asked == parse.text { statement.analysis.clone() } else { self.analysis_of(asked) };
        let intent = Intent::Parse { text: asked, analysis: &analysis, forwarded: parse.text };
        self.open_ticket(&intent).map(Some)
    }

    /// For a Describe.
    pub(super) fn open_describe(&mut self, target: &Target<'_>) -> Result<Option<Ticket>, AuditAway> {
        if self.trail.is_none() {
            return Ok(None);
        }
        let statement = match target {
            Target::Portal(portal) => self.portals.find(portal),
            Target::Statement(b"") => self.unnamed.clone(),
            Target::Statement(name) => self.named.find(name).cloned(),
        };
        self.open_ticket(&Intent::Describe { statement: statement.as_deref() }).map(Some)
    }

    /// A message was answered, and this is the answer's end: what was counted of it is that message's, or, where it has no
    /// ticket, nobody's. Returns how long it took.
    pub(super) fn close_answered(&mut self, ticket: Option<Ticket>, outcome: Outcome) -> Option<Duration> {
        let took = ticket.map(|ticket| self.close_ticket(ticket, outcome, Whose::Its));
        if let Some(trail) = &mut self.trail {
            trail.answer.clear();
        }
        took
    }

    /// The answer under way is another message's.
    pub(super) fn close_unanswered(&mut self, ticket: Option<Ticket>, outcome: Outcome) -> Option<Duration> {
        ticket.map(|ticket| self.close_ticket(ticket, outcome, Whose::Anothers))
    }

    fn close_ticket(&mut self, ticket: Ticket, outcome: Outcome, whose: Whose) -> Duration {
        let now = self.context.moment.get();
        let Some(trail) = &mut self.trail else { return ticket.close(outcome, &Answer::default(), now).0 };
        let (took, recorded) = match whose {
            Whose::Its => ticket.close(outcome, &trail.answer, now),
            Whose::Anothers => ticket.close(outcome, &Answer::default(), now),
        };
        match recorded {
            Recorded::Taken(seq) => trail.hold_for(seq, &self.context.audit),
            Recorded::Lost => trail.unrecorded |= self.context.audit.holds(),
            Recorded::Nothing => {}
        }
        took
    }

    /// A piece of a COPY from the client, by its message's length.
    pub(super) fn note_copied(&mut self, length: usize) {
        if let Some(trail) = &mut self.trail {
            trail.note_copied(length);
        }
    }

    /// A row, or a piece of a COPY, of the answer under way, by its message's length.
    pub(super) fn note_row(&mut self, length: usize) {
        if let Some(trail) = &mut self.trail {
            trail.answer.rows += 1;
            trail.answer.bytes += length as u64;
        }
    }

    /// The body of a CommandComplete.
    pub(super) fn note_command(&mut self, body: &[u8]) {
        if let Some(trail) = &mut self.trail {
            trail.answer.note_tag(body.strip_suffix(&[0]).unwrap_or(body));
        }
    }

    pub(super) fn note_error(&mut self, sqlstate: &[u8]) {
        if let Some(trail) = &mut self.trail {
            trail.answer.sqlstate = sqlstate.try_into().ok();
        }
    }

    /// What the next refusal is for.
    pub(super) fn note_rule(&mut self, rule: Option<&'static str>) {
        if let Some(rule) = rule {
            self.context.count_refusal(rule);
        }
        if let Some(trail) = &mut self.trail {
            trail.rule = rule;
        }
    }

    /// A message is answered with this ErrorResponse of ours.
    pub(super) fn note_refused(&mut self, error: &[u8]) {
        if let Some(trail) = &mut self.trail {
            let sqlstate = error.get(HEADER..).and_then(|body| ErrorFields::read(body).code.try_into().ok());
            trail.refused = Some(Refused { sqlstate: sqlstate.unwrap_or(*b"XX000"), rule: trail.rule.take() });
        }
    }

    /// Records the refusal of a message, if it was refused.
    pub(super) fn record_refusal(&mut self, message: &Message<'_>) {
        let Some(refused) = self.trail.as_mut().and_then(|trail| trail.refused.take()) else { return };
        let context = self.context.clone();
        let text = match message.header.tag {
            b'Q' => frame::query_text(message.body).ok(),
            b'P' => Parse::read(message.body).ok().map(|parse| parse.text),
            _ => None,
        };
        // A text that is refused for its length is not looked at, by the record no more than by the policy.
        let read = text.filter(|text| text.len() <= self.rules.config.server.statement_size_max);
        let analysis = read.map(|text| self.analysis_of(text));
        let mark = match (read, text) {
            (Some(read), _) => context.audit.mark(read),
            (None, unread) => unread.map(|text| TextMark::of_length(text.len())),
        };
        let Some(trail) = &mut self.trail else { return };
        self.handle.recorded.set(self.handle.recorded.get() + 1);
        let words = read.zip(analysis.as_deref()).map(|(text, analysis)| words(text, analysis));
        let tenant = self.handle.tenant.as_ref().map(|tenant| &tenant.name);
        let it = record::Refused {
            n: self.handle.recorded.get(),
            message: record::Message::of_tag(message.header.tag),
            policy: self.rules.generation,
            rule: refused.rule,
            sqlstate: refused.sqlstate,
            words,
            text: mark,
            kept: read.zip(analysis.as_deref()).and_then(|(text, analysis)| context.audit.keep(tenant, text, analysis)),
        };
        let now = context.moment.get();
        let write = |out: &mut Vec<u8>, at| record::refused(out, at, &trail.who, &it);
        let seq = match refused.sqlstate == SqlState::DISK_FULL.0 {
            // The client does not wait for a log to be told that it cannot be written.
            true => context.audit.try_note(now, write),
            false => context.audit.note(now, write),
        };
        if let Some(seq) = seq {
            trail.hold_for(seq, &context.audit);
        }
    }

    /// Whether nothing may be sent to the client for now; then `cx` is woken when that may have changed.
    pub(super) fn is_held(&mut self, cx: Option<&mut TaskContext<'_>>) -> bool {
        let Some(trail) = &mut self.trail else { return false };
        if trail.unrecorded {
            return true;
        }
        let Some(seq) = trail.held else { return false };
        let settled = match cx {
            Some(cx) => self.context.audit.poll_settled(seq, cx).is_ready(),
            None => self.context.audit.is_settled(seq),
        };
        if settled {
            trail.held = None;
        }
        !settled
    }

    /// An outcome has no record, and the client must not learn of it: the session is over.
    pub(super) fn is_unrecorded(&self) -> bool {
        self.trail.as_ref().is_some_and(|trail| trail.unrecorded)
    }

    /// At the end: what the client may not see yet it gets when it may, or not at all.
    pub(super) async fn release_held(&mut self) {
        if !self.wait_for_held().await {
            self.client.unsent.clear();
        }
    }

    /// Waits, for a bounded time, until what is unsent may be sent. False: it may not be.
    pub(super) async fn wait_for_held(&mut self) -> bool {
        if self.is_unrecorded() {
            return false;
        }
        let released = poll_fn(|cx| match self.is_held(Some(cx)) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        });
        tokio::time::timeout(HELD_MAX, released).await.is_ok()
    }
}
