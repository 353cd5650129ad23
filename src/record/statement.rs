//! Records of what a client sends: the intent, before it is forwarded; the outcome, before the client sees the answer's end, in
//! the same record or one of its own; the refusal.

use std::rc::Rc;

use super::json::Json;
use super::parameters::{Parameters, TextMark};
use super::raw::Kept;
use super::scrub::{DIGITS_MIN, scrub};
use super::{At, Head, Second, VERSION, Who, Words};

/// A message of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    Query,
    Parse,
    Bind,
    Describe,
    Execute,
    Close,
    FunctionCall,
    Other,
}

impl Message {
    pub fn of_tag(tag: u8) -> Self {
        match tag {
            b'Q' => Self::Query,
            b'P' => Self::Parse,
            b'B' => Self::Bind,
            b'D' => Self::Describe,
            b'E' => Self::Execute,
            b'C' => Self::Close,
            b'F' => Self::FunctionCall,
            _ => Self::Other,
        }
    }

    /// Its member of a record.
    fn member(self) -> &'static [u8] {
        match self {
            Self::Query => b"\"message\":\"query\",",
            Self::Parse => b"\"message\":\"parse\",",
            Self::Bind => b"\"message\":\"bind\",",
            Self::Describe => b"\"message\":\"describe\",",
            Self::Execute => b"\"message\":\"execute\",",
            Self::Close => b"\"message\":\"close\",",
            Self::FunctionCall => b"\"message\":\"function_call\",",
            Self::Other => b"\"message\":\"other\",",
        }
    }
}

/// What policy made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// The server gets another text.
    Rewrite,
}

impl Verdict {
    fn member(self) -> &'static [u8] {
        match self {
            Self::Allow => b"\"verdict\":\"allow\",",
            Self::Rewrite => b"\"verdict\":\"rewrite\",",
        }
    }
}

/// A message about to be forwarded.
#[derive(Debug)]
pub struct Intent<'a> {
    pub who: &'a Rc<Who>,
    pub head: &'a Head,
    pub forwarded: Forwarded,
    /// What the statement says; absent where that is not known: a portal that SQL opened.
    pub words: Option<&'a Words>,
    /// The client's text, where it is kept.
    pub kept: Option<Kept>,
    pub parameters: Option<Parameters<'a>>,
}

impl Intent<'_> {
    /// Appends what is neither in a phrase nor of a fixed size, with a comma behind the last member.
    pub fn put_rest(&self, out: &mut Vec<u8>) {
        let mut json = Json::new(out);
        if let Some(kept) = &self.kept {
            kept.put(&mut json);
        }
        if let Some(parameters) = &self.parameters {
            parameters.put(&mut json);
        }
    }
}

/// What of it has a fixed size.
#[derive(Debug, Clone, Copy)]
pub struct Forwarded {
    /// The session's own count of its records of messages, from 1.
    pub n: u64,
    pub message: Message,
    pub verdict: Verdict,
    /// Generation of the rules that let it through.
    pub policy: u64,
    /// The server's process id for the backend.
    pub backend: u32,
    /// The text as forwarded, where the message has one.
    pub text: Option<TextMark>,
}

/// A statement's record, all that it says.
#[derive(Debug)]
pub struct Statement<'a> {
    pub at: At,
    /// Of [`Head`].
    pub head: &'a [u8],
    pub forwarded: &'a Forwarded,
    /// Of [`Words`]; empty without.
    pub words: &'a [u8],
    /// Of [`Intent::put_rest`].
    pub rest: &'a [u8],
    /// Where it ended before it was written.
    pub ended: Option<Ended<'a>>,
}

/// Appends a statement's members.
pub fn statement(out: &mut Vec<u8>, second: &mut Second, it: &Statement<'_>) {
    head_within(out, "statement", it.at, second);
    let mut json = Json::new(out);
    let Forwarded { n, message, verdict, policy, backend, text } = it.forwarded;
    json.members(it.head)
        .number("n", *n)
        .members(message.member())
        .members(verdict.member())
        .number("policy", *policy)
        .number("backend", u64::from(*backend))
        .members(it.words);
    if let Some(text) = text {
        text.put(&mut json);
    }
    json.members(it.rest);
    match &it.ended {
        Some(it) => ended(out, it),
        None => json.done(),
    }
}

/// How a message's effect ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Completed,
    Failed,
    /// The server discarded it after an earlier error.
    Skipped,
    /// The server went away: it may have run or not.
    Lost,
    /// The session ended first: it may have run or not.
    Abandoned,
}

impl Outcome {
    /// Its member of a record.
    fn member(self) -> &'static [u8] {
        match self {
            Self::Completed => b"\"outcome\":\"completed\",",
            Self::Failed => b"\"outcome\":\"failed\",",
            Self::Skipped => b"\"outcome\":\"skipped\",",
            Self::Lost => b"\"outcome\":\"lost\",",
            Self::Abandoned => b"\"outcome\":\"abandoned\",",
        }
    }
}

/// What the server's answer was, counted as it passed.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Answer {
    /// DataRow and CopyData messages.
    pub rows: u64,
    /// Their bytes, with headers.
    pub bytes: u64,
    /// CopyData messages of the client, and their bytes.
    pub copied: u64,
    pub copied_bytes: u64,
    /// Of the first error.
    pub sqlstate: Option<[u8; 5]>,
    pub tags: Tags,
}

/// Command tags, one behind the other, `; ` between.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Tags {
    count: u32,
    length: u8,
    bytes: [u8; 94],
}

impl Default for Tags {
    fn default() -> Self {
        Self { count: 0, length: 0, bytes: [0; 94] }
    }
}

impl Answer {
    /// Nothing was counted yet.
    pub fn clear(&mut self) {
        let Self { rows, bytes, copied, copied_bytes, sqlstate, tags } = self;
        (*rows, *bytes, *copied, *copied_bytes, *sqlstate) = (0, 0, 0, 0, None);
        // What is behind the length does not count.
        (tags.length, tags.count) = (0, 0);
    }

    /// The command tags that are known.
    fn tag(&self) -> &[u8] {
        &self.tags.bytes[..usize::from(self.tags.length)]
    }

    /// Of a CommandComplete. Tags beyond the first few are counted.
    pub fn note_tag(&mut self, tag: &[u8]) {
        let tags = &mut self.tags;
        tags.count = tags.count.saturating_add(1);
        let from = usize::from(tags.length);
        let separator: &[u8] = if from == 0 { b"" } else { b"; " };
        let to = from + separator.len() + tag.len();
        if let Some(room) = tags.bytes.get_mut(from..to)
            && tag.iter().all(|byte| matches!(byte, b' '..=b'~'))
        {
            room[..separator.len()].copy_from_slice(separator);
            room[separator.len()..].copy_from_slice(tag);
            tags.length = to as u8;
        }
    }
}

/// The end of a message that was forwarded.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    pub counts: Counts,
    /// The command tags, as many as are known.
    pub tag: &'a [u8],
}

/// What of it has a fixed size.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    pub outcome: Outcome,
    /// Microseconds since it was forwarded.
    pub us: u64,
    /// As of [`Answer`].
    pub rows: u64,
    pub bytes: u64,
    pub copied: u64,
    pub copied_bytes: u64,
    pub sqlstate: Option<[u8; 5]>,
    /// Command tags.
    pub tags: u32,
}

impl<'a> Ended<'a> {
    pub fn new(outcome: Outcome, answer: &'a Answer, us: u64) -> Self {
        let &Answer { rows, bytes, copied, copied_bytes, sqlstate, tags: Tags { count: tags, .. } } = answer;
        Self { counts: Counts { outcome, us, rows, bytes, copied, copied_bytes, sqlstate, tags }, tag: answer.tag() }
    }
}

/// Appends the members of the outcome of the record `of`, in a record of its own.
pub fn outcome(out: &mut Vec<u8>, at: At, who: &Who, of: u64, it: &Ended<'_>) {
    head(out, "outcome", at);
    Json::new(out).members(who.brief()).number("of", of);
    ended(out, it);
}

fn ended(out: &mut Vec<u8>, it: &Ended<'_>) {
    let Counts { outcome, us, rows, bytes, copied, copied_bytes, sqlstate, tags } = it.counts;
    let mut json = Json::new(out);
    json.members(outcome.member()).number("us", us);
    if tags > 0 {
        // A server can call its answer what it likes.
        if is_usual(it.tag) {
            json.members(b"\"tag\":\"").members(it.tag).members(b"\",");
        } else {
            json.text("tag", &scrub(std::str::from_utf8(it.tag).unwrap_or_default()));
        }
    }
    if tags > 1 {
        json.number("tags", u64::from(tags));
    }
    json.number_if("rows", rows)
        .number_if("bytes", bytes)
        .number_if("copied", copied)
        .number_if("copied_bytes", copied_bytes);
    if let Some(sqlstate) = &sqlstate {
        json.text("sqlstate", sqlstate_text(sqlstate));
    }
    json.done();
}

/// A command tag as PostgreSQL makes them: nothing in it needs an escape, or could be somebody's secret.
fn is_usual(tag: &[u8]) -> bool {
    let (mut others, mut digits) = (0, 0);
    for byte in tag {
        digits += usize::from(byte.is_ascii_digit());
        others += usize::from(!byte.is_ascii_uppercase() && *byte != b' ');
    }
    tag.len() < 30 && others == digits && digits < DIGITS_MIN
}

/// A message that was answered with an error of the proxy's, and not forwarded.
#[derive(Debug)]
pub struct Refused<'a> {
    pub n: u64,
    pub message: Message,
    pub policy: u64,
    /// Absent: no rule of the policy, but what the proxy itself cannot do.
    pub rule: Option<&'a str>,
    pub sqlstate: [u8; 5],
    pub words: Option<&'a Words>,
    pub text: Option<TextMark>,
    pub kept: Option<Kept>,
}

/// Appends the members of a refusal.
pub fn refused(out: &mut Vec<u8>, at: At, who: &Who, it: &Refused<'_>) {
    head(out, "refused", at);
    let mut json = Json::new(out);
    json.members(who.all())
        .number("n", it.n)
        .members(it.message.member())
        .text("verdict", "refuse")
        .number("policy", it.policy)
        .text_if("rule", it.rule.unwrap_or_default())
        .text("sqlstate", sqlstate_text(&it.sqlstate));
    if let Some(words) = it.words {
        json.members(words.members());
    }
    if let Some(text) = &it.text {
        text.put(&mut json);
    }
    if let Some(kept) = &it.kept {
        kept.put(&mut json);
    }
    json.done();
}

/// A server may send any five bytes.
fn sqlstate_text(sqlstate: &[u8; 5]) -> &str {
    let is_code = sqlstate.iter().all(u8::is_ascii_alphanumeric);
    std::str::from_utf8(sqlstate).ok().filter(|_| is_code).unwrap_or("?????")
}

const HEAD: &[u8] = b"\"v\":1,\"kind\":\"";
const _: () = assert!(VERSION == 1, "HEAD says so");

/// What every record begins with, behind its sequence number. `kind` must need no escape.
pub(super) fn head(out: &mut Vec<u8>, kind: &str, at: At) {
    head_within(out, kind, at, &mut Second::default());
}

/// The same behind another record, whose second it often is.
#[inline(always)]
fn head_within(out: &mut Vec<u8>, kind: &str, at: At, second: &mut Second) {
    out.extend_from_slice(HEAD);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",");
    at.put(out, second);
}
