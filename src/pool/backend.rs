//! One connection to a server, and what is known of the session at its other end.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use lru::LruCache;
use tokio::time::Instant;

use super::budget::Permit;
use super::claim::Entered;
use super::connect::Connected;
use crate::config::Node;
use crate::metrics::BackendState;
use crate::net::{StdStream, Stream};
use crate::settings::Settings;
use crate::wire::CancelKey;
use crate::wire::frame::TxStatus;

/// A logged-in connection to a server. Who holds it is the pool's business.
///
/// What every message touches comes first, for the cache's sake.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Backend {
    /// Bytes that the socket has not taken yet.
    pub unsent: BytesMut,
    /// Bytes read of a message that is not whole yet.
    pub held: BytesMut,
    pub stream: Stream,
    /// Bytes still to come of a message whose beginning was passed on already.
    pub passing: usize,
    /// As the last ReadyForQuery said.
    pub status: TxStatus,
    /// It is read in larger pieces: see [`Backend::gather`].
    gathers: bool,
    pub(super) exchanging: bool,
    /// Something may have been set that nothing tracked: it is cleaned before it is lent again.
    pub unclean: bool,
    /// It may not be lent again.
    pub close_after: Option<BackendClose>,
    pub(super) pid: i32,
    /// Which of the proxy's statements the unnamed statement is.
    pub unnamed: Option<u64>,
    /// The account whose traces it may still carry; absent: pristine.
    pub owner: Option<Arc<str>>,
    pub settings: Arc<Settings>,
    pub(super) cancel: Rc<CancelTarget>,
    pub(super) card: Rc<Card>,
    pub(super) idle_since: Instant,
    pub(super) created_at: Instant,
    /// As whom the server sees it.
    pub entered: Entered,
    pub prepared: Prepared,
    /// NotificationResponses that came during an exchange, whole, for the session that listens.
    pub aside: BytesMut,
    /// What ParameterStatus last said, by name.
    pub parameters: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) permit: Permit,
}

/// What the console shows of a backend, kept where the pool can see it while a session holds the backend.
#[derive(Debug)]
#[repr(C)]
pub struct Card {
    pub state: Cell<BackendState>,
    pub client: Cell<Option<u64>>,
    pub request_at_us: Cell<u64>,
    pub prepared: Cell<usize>,
    pub id: u64,
    pub slot: Cell<usize>,
    pub pid: i32,
    pub tls: Option<&'static str>,
    pub address: String,
    pub connected_at_us: u64,
}

/// Why a backend was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackendClose {
    /// Replies were still owed, or bytes unread, when it came back.
    Unsettled,
    /// The client vanished in the middle of something.
    Abandoned,
    /// The server closed it, or it broke.
    Lost,
    /// It spoke out of turn while idle.
    Unquiet,
    IdleTimeout,
    Lifetime,
    /// Cleaning or settings failed.
    NotClean,
    /// The server broke the protocol.
    Protocol,
    /// What the session did to it cannot be undone (LOAD), or is not known.
    Tainted,
    /// The pool is smaller, or gone, since a reload.
    Retired,
    /// Another pool of the database needed its place.
    Evicted,
    /// KILL.
    Killed,
    Shutdown,
}

impl BackendClose {
    /// Name in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unsettled => "unsettled",
            Self::Abandoned => "abandoned",
            Self::Lost => "lost",
            Self::Unquiet => "unquiet",
            Self::IdleTimeout => "idle_timeout",
            Self::Lifetime => "lifetime",
            Self::NotClean => "not_clean",
            Self::Protocol => "protocol",
            Self::Tainted => "tainted",
            Self::Retired => "retired",
            Self::Evicted => "evicted",
            Self::Killed => "killed",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Where to send a CancelRequest for a backend.
#[derive(Debug)]
pub struct CancelTarget {
    pub node: Arc<Node>,
    pub key: CancelKey,
    /// A request was sent, perhaps, and it is not known whether the server has acted on it: it may hit whatever comes next.
    doubtful: Cell<bool>,
}

impl CancelTarget {
    fn new(node: Arc<Node>, pid: i32, secret: Bytes) -> Rc<Self> {
        Rc::new(Self { node, key: CancelKey { pid, secret }, doubtful: Cell::new(false) })
    }

    /// The server did not say in time that it has acted on a cancel request.
    pub fn doubt(&self) {
        self.doubtful.set(true);
    }

    pub fn is_doubtful(&self) -> bool {
        self.doubtful.get()
    }
}

impl Backend {
    pub(super) fn new(
        connected: Connected,
        node: Arc<Node>,
        card: Rc<Card>,
        permit: Permit,
        prepared_max: usize,
    ) -> Self {
        let now = Instant::now();
        let parameters = connected.parameters.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self {
            stream: connected.stream,
            status: TxStatus::Idle,
            held: BytesMut::new(),
            unsent: BytesMut::new(),
            passing: 0,
            gathers: false,
            aside: BytesMut::new(),
            prepared: Prepared::new(prepared_max),
            unnamed: None,
            settings: Settings::none(),
            parameters,
            owner: None,
            entered: Entered::default(),
            close_after: None,
            unclean: false,
            exchanging: false,
            pid: connected.pid,
            cancel: CancelTarget::new(node, connected.pid, connected.secret),
            card,
            created_at: now,
            idle_since: now,
            permit,
        }
    }

    /// Nothing is half said in either direction, and the server is between transactions.
    pub fn is_settled(&self) -> bool {
        self.status == TxStatus::Idle
            && self.held.is_empty()
            && self.unsent.is_empty()
            && self.passing == 0
            && !self.exchanging
    }

    /// The server's process.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn cancel_target(&self) -> Rc<CancelTarget> {
        self.cancel.clone()
    }

    pub fn id(&self) -> u64 {
        self.card.id
    }

    /// Notes that everything in the server's session was discarded.
    pub fn forget(&mut self) {
        self.prepared.clear();
        self.unnamed = None;
        self.settings = Settings::none();
        self.lose_context();
    }
}

/// The proxy's prepared statements that a backend has, least recently used first out.
#[derive(Debug)]
pub struct Prepared {
    ids: LruCache<u64, ()>,
    max: usize,
}

impl Prepared {
    pub(super) fn new(max: usize) -> Self {
        Self { ids: LruCache::unbounded(), max: max.max(1) }
    }

    /// Whether `id` is there; it becomes the most recently used.
    pub fn touch(&mut self, id: u64) -> bool {
        self.ids.get(&id).is_some()
    }

    /// The one that must go when `id` is added.
    pub fn evicted_by(&self, id: u64) -> Option<u64> {
        if self.ids.len() < self.max || self.ids.contains(&id) { None } else { self.ids.peek_lru().map(|(&id, ())| id) }
    }

    /// Adds `id`; returns the one that must go for it.
    pub fn insert(&mut self, id: u64) -> Option<u64> {
        self.ids.put(id, ());
        if self.ids.len() > self.max { self.ids.pop_lru().map(|(evicted, ())| evicted) } else { None }
    }

    /// Puts back what was not closed after all.
    pub fn restore(&mut self, id: u64) {
        self.ids.put(id, ());
        self.ids.demote(&id);
    }

    /// Whether it was there.
    pub fn remove(&mut self, id: u64) -> bool {
        self.ids.pop(&id).is_some()
    }

    pub fn clear(&mut self) {
        self.ids.clear();
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A backend on its way to another worker.
#[derive(Debug)]
pub struct Travelling {
    pub(super) stream: StdStream,
    pub(super) prepared: Vec<u64>,
    pub(super) unnamed: Option<u64>,
    pub(super) settings: Arc<Settings>,
    pub(super) parameters: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) owner: Option<Arc<str>>,
    pub(super) entered: Entered,
    pub(super) unclean: bool,
    pub(super) node: Arc<Node>,
    pub(super) pid: i32,
    pub(super) secret: Bytes,
    pub(super) tls: Option<&'static str>,
    pub(super) address: String,
    pub(super) connected_at_us: u64,
    pub(super) created_at: Instant,
    pub(super) permit: Permit,
}

impl Backend {
    /// Takes a settled backend off its worker. TLS streams cannot travel; they come back.
    pub(super) fn travel(self) -> Result<Box<Travelling>, Option<Box<Self>>> {
        match self.stream.into_std() {
            Ok(Ok(stream)) => Ok(Box::new(Travelling {
                stream,
                // Least recently used first, so that putting them back keeps the order.
                prepared: self.prepared.ids.iter().rev().map(|(&id, ())| id).collect(),
                unnamed: self.unnamed,
                settings: self.settings,
                parameters: self.parameters,
                owner: self.owner,
                entered: self.entered,
                unclean: self.unclean,
                node: self.cancel.node.clone(),
                pid: self.pid,
                secret: self.cancel.key.secret.clone(),
                tls: self.card.tls,
                address: self.card.address.clone(),
                connected_at_us: self.card.connected_at_us,
                created_at: self.created_at,
                permit: self.permit,
            })),
            Ok(Err(_)) => Err(None),
            Err(stream) => Err(Some(Box::new(Self { stream, ..self }))),
        }
    }

    pub(super) fn arrive(travelling: Travelling, card: Rc<Card>, prepared_max: usize) -> std::io::Result<Self> {
        let mut prepared = Prepared::new(prepared_max);
        for id in travelling.prepared {
            prepared.ids.put(id, ());
        }
        Ok(Self {
            stream: Stream::from_std(travelling.stream)?,
            status: TxStatus::Idle,
            held: BytesMut::new(),
            unsent: BytesMut::new(),
            passing: 0,
            gathers: false,
            aside: BytesMut::new(),
            prepared,
            unnamed: travelling.unnamed,
            settings: travelling.settings,
            parameters: travelling.parameters,
            owner: travelling.owner,
            entered: travelling.entered,
            close_after: None,
            unclean: travelling.unclean,
            exchanging: false,
            pid: travelling.pid,
            cancel: CancelTarget::new(travelling.node, travelling.pid, travelling.secret),
            card,
            created_at: travelling.created_at,
            idle_since: Instant::now(),
            permit: travelling.permit,
        })
    }

    /// Lets what the server sends gather in the socket before anybody is woken. Says whether that is possible here.
    pub fn gather(&mut self) -> bool {
        self.gathers = self.stream.set_receive_low_water(GATHERED).unwrap_or(false);
        self.gathers
    }

    /// Every byte is told at once again.
    pub fn stop_gathering(&mut self) {
        if std::mem::take(&mut self.gathers) && self.stream.set_receive_low_water(1).is_err() {
            // Short answers would be late.
            self.close_after.get_or_insert(BackendClose::Unsettled);
        }
    }
}

/// Bytes that gather: what one read takes.
const GATHERED: u32 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_statement_is_evicted() {
        let mut prepared = Prepared::new(2);
        assert_eq!(prepared.insert(1), None);
        assert_eq!(prepared.insert(2), None);
        assert!(prepared.touch(1));
        assert_eq!(prepared.insert(3), Some(2));
        assert!(!prepared.touch(2));
        prepared.remove(3);
        prepared.restore(2);
        assert_eq!(prepared.insert(4), Some(2), "what was restored is the first to go again");
        assert_eq!(prepared.len(), 2);
    }
}
