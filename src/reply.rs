//! The queue of owed replies: what the server still has to answer, in order, and what the client is to see of it.
//!
//! Everything sent to a backend that earns a reply is pushed here first; every message that a backend sends is received
//! here before it is forwarded. A message that does not answer the head of the queue is a [`Mismatch`], and its backend is
//! closed. Replies that the proxy makes itself keep their place among the forwarded ones. Pure: no bytes are moved here.
//!
//! After an error in the extended protocol the server discards everything up to the next Sync, a simple Query included,
//! so the queue drops those entries too and hands their tags back, newest first, for what was assumed to be undone.

use std::collections::VecDeque;

/// What a message of the frontend earns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Anything up to ReadyForQuery.
    Query,
    /// ParseComplete.
    Parse,
    /// BindComplete.
    Bind,
    /// ParameterDescription, then as `DescribePortal`.
    DescribeStatement,
    /// RowDescription or NoData.
    DescribePortal,
    /// CloseComplete.
    Close,
    /// Rows or a COPY, then CommandComplete, PortalSuspended or EmptyQueryResponse.
    Execute,
    /// ReadyForQuery.
    Sync,
    /// An error, in whose place the client sees this one.
    Poison(Box<[u8]>),
    /// Nothing: the proxy's own reply, due when it reaches the head.
    Synthesised(&'static [u8]),
    /// Nothing: CopyDone or CopyFail was sent here, ahead of the COPY's start.
    CopyEnd,
}

/// Whether the client sees a reply. Errors are always seen, but for those of what is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Forward,
    Swallow,
    /// All but ReadyForQuery: it stands in a transaction that the proxy has put around it.
    Inside,
    /// Nothing but ReadyForQuery: the end of that transaction.
    End,
    /// Nothing: it is between the proxy and the server, which must not fail at it.
    Secret,
}

impl Show {
    fn deliver(self, tag: u8) -> Deliver {
        match (self, tag) {
            (Self::Forward, _) | (Self::End, b'Z') => Deliver::Forward,
            (Self::Inside, b'Z') | (Self::Secret, _) => Deliver::Withhold,
            (Self::Inside, _) => Deliver::Forward,
            (Self::Swallow | Self::End, _) => Deliver::Swallow,
        }
    }

    fn ends_batch(self) -> bool {
        matches!(self, Self::Forward | Self::End)
    }
}

/// What becomes of a received message.
#[derive(Debug, PartialEq, Eq)]
pub enum Deliver {
    Forward,
    Swallow,
    /// Swallow it, and take nothing of it for the client's: a ReadyForQuery speaks of a transaction that is not the client's.
    Withhold,
    /// Send these bytes instead.
    Replace(Box<[u8]>),
}

/// A received message, judged.
#[derive(Debug, PartialEq, Eq)]
pub struct Received<T> {
    pub deliver: Deliver,
    /// The entry that this message completed.
    pub done: Option<T>,
}

/// The server said what nothing had asked for: the backend must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a message of type {tag:#04x} where it did not belong")]
pub struct Mismatch {
    pub tag: u8,
}

/// What each message of an answer is compared with comes first, for the cache's sake.
#[derive(Debug)]
#[repr(C)]
struct Entry<T> {
    expect: Expect,
    show: Show,
    tag: T,
}

/// Where a COPY FROM STDIN of the head entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CopyIn {
    None,
    /// CopyInResponse was received, the end was not sent yet.
    Active,
}

/// See the module's documentation. `T` is what the owner wants back when an entry ends.
#[derive(Debug)]
pub struct ReplyQueue<T> {
    entries: VecDeque<Entry<T>>,
    copy_in: CopyIn,
    /// The server discards everything up to the next Sync, which was not sent yet.
    skipping: bool,
    /// Messages of the extended protocol were sent since the last Sync.
    open: bool,
    /// An Execute was among them.
    executed: bool,
    /// It cannot be known how many ReadyForQuery the server still sends.
    doubtful: bool,
    /// Syncs that a COPY swallowed.
    swallowed_syncs: u32,
    /// The head Query reported an error.
    failed: bool,
}

/// Proof that no reply is owed: only an empty queue gives it.
#[derive(Debug)]
pub struct Settled(());

impl<T> Default for ReplyQueue<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            copy_in: CopyIn::None,
            skipping: false,
            open: false,
            executed: false,
            doubtful: false,
            swallowed_syncs: 0,
            failed: false,
        }
    }
}

impl<T> ReplyQueue<T> {
    /// No reply is owed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The backend may be reused as far as replies go: none owed, none doubtful, no batch left without its Sync.
    pub fn settled(&self) -> Option<Settled> {
        self.is_settled().then_some(Settled(()))
    }

    /// See [`Self::settled`].
    pub fn is_settled(&self) -> bool {
        self.entries.is_empty() && !self.open && !self.skipping && !self.doubtful && self.copy_in == CopyIn::None
    }

    /// Everything up to the client's next Sync is to be discarded.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Messages of the extended protocol wait for their Sync.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// A statement was executed since the last Sync.
    pub fn has_executed(&self) -> bool {
        self.executed
    }

    /// A batch was sent whole, and its ReadyForQuery is still to come.
    pub fn owes_ready(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.expect, Expect::Query | Expect::Sync))
    }

    /// ReadyForQuery that are still to come for what was sent.
    pub fn readies(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.expect, Expect::Query | Expect::Sync)).count()
    }

    /// A statement was sent, and is not over.
    pub fn runs_statement(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.expect, Expect::Query | Expect::Execute))
    }

    /// The server reads CopyData now.
    pub fn is_copying_in(&self) -> bool {
        self.copy_in == CopyIn::Active
    }

    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Rows go to the client as they come: the head is a Query or Execute of its own.
    pub fn forwards_rows(&self) -> bool {
        let shows = |show| matches!(show, Show::Forward | Show::Inside);
        let front = self.entries.front();
        front.is_some_and(|entry| matches!(entry.expect, Expect::Query | Expect::Execute) && shows(entry.show))
    }

    /// What the server says now is for the proxy alone.
    pub fn is_secret(&self) -> bool {
        matches!(self.entries.front(), Some(Entry { show: Show::Secret, .. }))
    }

    /// Something that earns a reply was sent.
    pub fn push(&mut self, expect: Expect, show: Show, tag: T) {
        match expect {
            Expect::Query => (self.open, self.executed) = (false, false),
            Expect::Sync => {
                (self.open, self.executed) = (false, false);
                self.skipping = false;
            }
            Expect::Parse
            | Expect::Bind
            | Expect::DescribeStatement
            | Expect::DescribePortal
            | Expect::Close
            | Expect::Execute
            | Expect::Poison(_)
            | Expect::Synthesised(_) => self.open = true,
            Expect::CopyEnd => {}
        }
        self.executed |= expect == Expect::Execute;
        if self.entries.is_empty() {
            // At the beginning of its memory again: what was used last is in the cache.
            self.entries.clear();
        }
        self.entries.push_back(Entry { expect, show, tag });
    }

    /// CopyDone or CopyFail is about to be sent; `tag` is kept only where the COPY has not begun yet.
    pub fn end_copy(&mut self, tag: T) {
        match self.copy_in {
            CopyIn::Active => self.copy_in = CopyIn::None,
            CopyIn::None => self.push(Expect::CopyEnd, Show::Swallow, tag),
        }
    }

    /// The proxy's own reply, when its turn has come. Call until `None` after every `push` of one and every `receive`.
    pub fn pop_synthesised(&mut self) -> Option<(&'static [u8], T)> {
        loop {
            match self.entries.front()?.expect {
                Expect::Synthesised(bytes) => {
                    let entry = self.entries.pop_front()?;
                    return Some((bytes, entry.tag));
                }
                Expect::CopyEnd => {
                    self.entries.pop_front();
                }
                Expect::Query
                | Expect::Parse
                | Expect::Bind
                | Expect::DescribeStatement
                | Expect::DescribePortal
                | Expect::Close
                | Expect::Execute
                | Expect::Sync
                | Expect::Poison(_) => return None,
            }
        }
    }

    /// A message of type `tag` arrived that answers a request (not Notice, ParameterStatus or Notification, which answer
    /// none, and not ErrorResponse: see [`Self::receive_error`]).
    pub fn receive(&mut self, tag: u8) -> Result<Received<T>, Mismatch> {
        let mismatch = Mismatch { tag };
        let head = self.entries.front_mut().ok_or(mismatch)?;
        let deliver = head.show.deliver(tag);
        let ends = match (tag, &head.expect) {
            (b'D' | b'd' | b'c' | b'H', Expect::Query | Expect::Execute) => false,
            (b'G', Expect::Query | Expect::Execute) => {
                self.begin_copy();
                false
            }
            (b'C' | b'I', Expect::Query) => {
                self.copy_in = CopyIn::None;
                false
            }
            (b'C' | b'I' | b's', Expect::Execute) => {
                self.copy_in = CopyIn::None;
                true
            }
            (b'T', Expect::Query) => false,
            (b'T' | b'n', Expect::DescribePortal) => true,
            (b't', Expect::DescribeStatement) => {
                head.expect = Expect::DescribePortal;
                false
            }
            (b'1', Expect::Parse) | (b'2', Expect::Bind) | (b'3', Expect::Close) => true,
            (b'Z', Expect::Query | Expect::Sync) => {
                self.copy_in = CopyIn::None;
                self.swallowed_syncs = 0;
                self.failed = false;
                true
            }
            _ => return Err(mismatch),
        };
        let done = if ends { self.entries.pop_front().map(|entry| entry.tag) } else { None };
        Ok(Received { deliver, done })
    }

    /// An ErrorResponse arrived. `dropped` is called with the tags of the entries that will not be answered, newest first.
    ///
    /// `Ok(None)`: nothing was owed, the server speaks for itself (it is shutting down, or ended the session).
    pub fn receive_error(&mut self, mut dropped: impl FnMut(T)) -> Option<Deliver> {
        let head = self.entries.front_mut()?;
        if self.swallowed_syncs > 0 {
            // A Sync that came before the COPY's data is ignored by a server that reads data, and answered by one that
            // failed before it did.
            self.doubtful = true;
        }
        self.copy_in = CopyIn::None;
        let deliver = match &mut head.expect {
            Expect::Query | Expect::Sync => {
                self.failed = true;
                return Some(Deliver::Forward);
            }
            Expect::Poison(bytes) => Deliver::Replace(std::mem::take(bytes)),
            Expect::Parse
            | Expect::Bind
            | Expect::DescribeStatement
            | Expect::DescribePortal
            | Expect::Close
            | Expect::Execute
            | Expect::Synthesised(_)
            | Expect::CopyEnd => Deliver::Forward,
        };
        let sync = self.entries.iter().position(|entry| entry.expect == Expect::Sync);
        let cut = sync.unwrap_or(self.entries.len());
        let kept = self.entries.split_off(cut);
        for entry in std::mem::replace(&mut self.entries, kept).into_iter().rev() {
            dropped(entry.tag);
        }
        if sync.is_none() {
            self.skipping = true;
            self.open = false;
        }
        Some(deliver)
    }

    /// The backend is gone: for every batch that is owed a ReadyForQuery the number of them, and whether one more is
    /// without its Sync. All entries are dropped, newest first.
    pub fn fail(&mut self, mut dropped: impl FnMut(T)) -> Unanswered {
        let mut unanswered = Unanswered { batches: 0, open: self.open };
        for entry in std::mem::take(&mut self.entries).into_iter().rev() {
            let ends = matches!(entry.expect, Expect::Query | Expect::Sync) && entry.show.ends_batch();
            unanswered.batches += usize::from(ends);
            dropped(entry.tag);
        }
        let skipping = self.open;
        *self = Self { skipping, ..Self::default() };
        unanswered
    }

    /// The head Query or Sync has reported an error.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Everything up to the client's next Sync is to be discarded, though no server asks for it.
    pub fn start_skipping(&mut self) {
        self.skipping = true;
    }

    /// [`Self::pop_synthesised`] has something to say or to clear away.
    pub fn is_synthesised_next(&self) -> bool {
        matches!(self.entries.front(), Some(Entry { expect: Expect::Synthesised(_) | Expect::CopyEnd, .. }))
    }

    /// The client's Sync came while nothing is left to forward it to.
    pub fn stop_skipping(&mut self) {
        self.skipping = false;
        self.open = false;
    }

    /// Gives memory back after a long pipeline.
    pub fn shrink(&mut self) {
        if self.entries.capacity() > 32 && self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    fn begin_copy(&mut self) {
        let end = self.entries.iter().position(|entry| entry.expect == Expect::CopyEnd);
        let until = end.unwrap_or(self.entries.len());
        let mut index = 1;
        let mut left = until;
        while index < left {
            if self.entries[index].expect == Expect::Sync {
                self.entries.remove(index);
                self.swallowed_syncs += 1;
                left -= 1;
            } else {
                index += 1;
            }
        }
        match end {
            Some(_) => {
                self.entries.remove(left);
                self.copy_in = CopyIn::None;
            }
            None => {
                self.copy_in = CopyIn::Active;
                if self.swallowed_syncs > 0
                    && matches!(self.entries.front(), Some(Entry { expect: Expect::Execute, .. }))
                {
                    self.open = true;
                }
            }
        }
    }
}

/// What a lost backend leaves unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unanswered {
    /// Queries and Syncs, each owed a ReadyForQuery.
    pub batches: usize,
    /// Messages after the last Sync.
    pub open: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `frontend` (one letter a message; lower-case: swallowed; `1` a synthesised ParseComplete; `c` CopyDone; `(q)`:
    /// in a transaction of the proxy's, with a secret between) and then receives `backend`; shows what the client sees and
    /// what is left.
    fn check(frontend: &str, backend: &str, expect: &str) {
        let mut queue = ReplyQueue::<char>::default();
        let mut seen = String::new();
        for letter in frontend.chars() {
            let show = if letter.is_lowercase() { Show::Swallow } else { Show::Forward };
            match letter {
                'Q' => queue.push(Expect::Query, show, letter),
                'P' | 'p' => queue.push(Expect::Parse, show, letter),
                'B' => queue.push(Expect::Bind, show, letter),
                'D' => queue.push(Expect::DescribePortal, show, letter),
                'T' => queue.push(Expect::DescribeStatement, show, letter),
                'C' => queue.push(Expect::Close, show, letter),
                'E' => queue.push(Expect::Execute, show, letter),
                'S' => queue.push(Expect::Sync, show, letter),
                'X' => queue.push(Expect::Poison(Box::new([b'!'])), show, letter),
                '1' => queue.push(Expect::Synthesised(b"1"), show, letter),
                'c' => queue.end_copy(letter),
                '(' => {
                    queue.push(Expect::Query, Show::Secret, letter);
                    queue.push(Expect::Execute, Show::Secret, letter);
                    queue.push(Expect::Sync, Show::Secret, letter);
                }
                'q' => queue.push(Expect::Query, Show::Inside, letter),
                ')' => queue.push(Expect::Query, Show::End, letter),
                other => panic!("{other}"),
            }
        }
        let flush = |queue: &mut ReplyQueue<char>, seen: &mut String| {
            while let Some((_, tag)) = queue.pop_synthesised() {
                seen.push(tag);
            }
        };
        flush(&mut queue, &mut seen);
        for letter in backend.chars() {
            if letter == 'E' {
                let mut undone = String::new();
                match queue.receive_error(|tag| undone.push(tag)) {
                    None => seen.push('?'),
                    Some(Deliver::Replace(_)) => seen.push('!'),
                    Some(Deliver::Forward) => seen.push('E'),
                    Some(Deliver::Swallow | Deliver::Withhold) => seen.push('_'),
                }
                if !undone.is_empty() {
                    seen.push_str(&format!("[{undone}]"));
                }
            } else {
                match queue.receive(letter as u8) {
                    Err(Mismatch { .. }) => {
                        seen.push('#');
                        break;
                    }
                    Ok(Received { deliver: Deliver::Forward, .. }) => seen.push(letter),
                    Ok(_) => seen.push('_'),
                }
            }
            flush(&mut queue, &mut seen);
        }
        if !queue.is_settled() {
            seen.push_str(&format!(" owed {}", queue.len()));
        }
        if queue.is_skipping() {
            seen.push_str(" skipping");
        }
        if queue.is_copying_in() {
            seen.push_str(" copying");
        }
        if queue.is_doubtful() {
            seen.push_str(" doubtful");
        }
        assert_eq!(seen, expect, "frontend {frontend}, backend {backend}");
    }

    #[test]
    fn replies_are_matched_to_requests() {
        check("Q", "TDDCZ", "TDDCZ");
        check("Q", "IZ", "IZ");
        check("PBDES", "12TDCZ", "12TDCZ");
        check("PTS", "1tTZ", "1tTZ");
        check("PTS", "1tnZ", "1tnZ");
        check("BES", "2DsZ", "2DsZ");
        check("QQ", "CZTDCZ", "CZTDCZ");
        check("C", "3", "3 owed 0");
    }

    #[test]
    fn what_was_not_asked_for_is_a_mismatch() {
        check("", "Z", "#");
        check("Q", "1", "# owed 1");
        check("P", "2", "# owed 1");
        check("S", "C", "# owed 1");
        check("Q", "R", "# owed 1");
        check("", "E", "?");
    }

    #[test]
    fn injected_replies_are_swallowed_and_their_errors_are_seen() {
        check("pBES", "12DCZ", "_2DCZ");
        check("pBES", "EZ", "E[EBp]Z");
    }

    #[test]
    fn a_synthesised_reply_keeps_its_place() {
        check("1BES", "2DCZ", "12DCZ");
        check("BE1BES", "2C2CZ", "2C12CZ");
        check("BE1BES", "EZ", "E[EB1EB]Z");
    }

    #[test]
    fn an_error_discards_up_to_sync_a_simple_query_included() {
        check("PBESPBES", "EZ12DCZ", "E[EBP]Z12DCZ");
        check("PBEQS", "EZ", "E[QEBP]Z");
        check("PBE", "E", "E[EBP] owed 0 skipping");
        check("Q", "EZ", "EZ");
        check("S", "EZ", "EZ");
    }

    #[test]
    fn a_refusal_takes_the_place_of_the_servers_error() {
        check("XS", "EZ", "![X]Z");
        check("PBEXS", "12DCEZ", "12DC![X]Z");
        check("PBEXS", "1EZ", "1E[XEB]Z");
        check("X", "2", "# owed 1");
    }

    #[test]
    fn a_sync_before_the_data_of_a_copy_is_not_owed() {
        check("PBESc", "12G", "12G owed 1");
        check("PBEScS", "12GCZ", "12GCZ");
        check("PBEcS", "12GCZ", "12GCZ");
        check("PBE", "12G", "12G owed 1 copying");
        check("Q", "GEZ", "GEZ");
        check("Qc", "GCZ", "GCZ");
        check("Qc", "EZ", "EZ");
    }

    #[test]
    fn a_transaction_of_our_own_shows_its_query_and_its_end() {
        check("(q)", "CZDCZTDCZCZ", "_____TDC__Z");
        check("(q)", "CZDCZDEZCZ", "_____DE__Z");
        check("(q)Q", "CZDCZCZEZCZ", "_____C_EZCZ");
        let mut queue = ReplyQueue::<char>::default();
        for (expect, show) in [(Expect::Query, Show::Secret), (Expect::Query, Show::Inside), (Expect::Query, Show::End)]
        {
            queue.push(expect, show, 'q');
        }
        assert!(queue.is_secret() && !queue.forwards_rows());
        assert_eq!(queue.receive(b'Z').map(|received| received.deliver), Ok(Deliver::Withhold));
        assert!(!queue.is_secret() && queue.forwards_rows());
        assert_eq!(queue.fail(drop).batches, 1, "the client sent one Query");
    }

    #[test]
    fn a_copy_that_fails_after_a_swallowed_sync_leaves_the_count_in_doubt() {
        check("PBEScS", "12GEZ", "12GE[E]Z owed 0 doubtful");
    }
}
