//! What the rest of a worker sees of a session: the console shows it, a cancel finds its backend, a signal wakes it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use tokio::time::Instant;

use crate::metrics::{ClientInfo, ClientState, LimitKind};
use crate::pool::CancelTarget;
use crate::pool::tenants::TenantShare;
use crate::record;
use crate::settings::Settings;

/// A word from outside; a session obeys it where it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// End at the next transaction boundary.
    Drain,
    /// End now.
    Kill,
    /// The client was silent for too long between transactions.
    IdleTimeout,
    /// The client was silent for too long inside a transaction.
    IdleInTransactionTimeout,
    /// The configuration, or who may be here, changed: sit down in a pool again before the next lease.
    Reload,
    /// A limit of the tenant's was reached, and the session goes for it.
    OverLimit(LimitKind),
}

/// A cancel request of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    pub at: Instant,
    /// The tenant's limit; absent: `server.query_timeout`.
    pub limit: Option<LimitKind>,
}

impl Signal {
    const BY_STRENGTH: [Self; 5] =
        [Self::Kill, Self::Reload, Self::Drain, Self::IdleInTransactionTimeout, Self::IdleTimeout];

    const fn bit(self) -> u16 {
        match self {
            Self::Drain => 1,
            Self::Kill => 1 << 1,
            Self::IdleTimeout => 1 << 2,
            Self::IdleInTransactionTimeout => 1 << 3,
            Self::Reload => 1 << 4,
            Self::OverLimit(limit) => 1 << (5 + limit as u16),
        }
    }
}

/// Shared between a session and its worker.
///
/// What every message touches comes first, in one line of the cache: thousands of sessions leave it cold.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Handle {
    signals: Cell<u16>,
    pub state: Cell<ClientState>,
    /// Replies are owed: a cancel has something to cancel.
    pub busy: Cell<bool>,
    /// Cancel requests on their way to the backend.
    pub cancels: Cell<u32>,
    waker: RefCell<Option<Waker>>,
    /// When the state was entered, or the client last spoke.
    pub since: Cell<Instant>,
    pub request_at_us: Cell<u64>,
    /// Since when a backend is held for a transaction.
    pub transaction_since: Cell<Option<Instant>>,
    pub backend: Cell<Option<u64>>,
    pub cancel_target: RefCell<Option<Rc<CancelTarget>>>,
    /// Messages that the audit has on record.
    pub recorded: Cell<u64>,
    pub tenant: Option<Rc<TenantShare>>,
    /// What is run was cancelled by us, when and why.
    pub stopped: Cell<Option<Stopped>>,
    /// A cancel was asked for: for statements that the server is not always busy with.
    pub cancelled: Cell<bool>,
    pub pin: Cell<Option<&'static str>>,
    pub prepared: Cell<usize>,
    pub id: u64,
    pub user: Arc<str>,
    /// As the client asked for it.
    pub database: Arc<str>,
    pub address: String,
    pub tls: Option<&'static str>,
    pub connected_at_us: u64,
    /// The secret of the session's cancel key.
    pub secret: Bytes,
    pub application_name: RefCell<Arc<str>>,
}

/// What a handle is made from.
pub struct Identity {
    pub id: u64,
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub tenant: Option<Rc<TenantShare>>,
    pub address: String,
    pub tls: Option<&'static str>,
    pub connected_at_us: u64,
    pub secret: Bytes,
}

impl Handle {
    pub fn new(identity: Identity) -> Rc<Self> {
        let Identity { id, user, database, tenant, address, tls, connected_at_us, secret } = identity;
        Rc::new(Self {
            id,
            user,
            database,
            tenant,
            address,
            tls,
            connected_at_us,
            secret,
            application_name: RefCell::new("".into()),
            state: Cell::new(ClientState::Idle),
            since: Cell::new(Instant::now()),
            request_at_us: Cell::new(0),
            backend: Cell::new(None),
            pin: Cell::new(None),
            prepared: Cell::new(0),
            busy: Cell::new(false),
            stopped: Cell::new(None),
            transaction_since: Cell::new(None),
            cancelled: Cell::new(false),
            cancel_target: RefCell::new(None),
            cancels: Cell::new(0),
            recorded: Cell::new(0),
            signals: Cell::new(0),
            waker: RefCell::new(None),
        })
    }

    /// Wakes the session to obey. No signal replaces another.
    pub fn signal(&self, signal: Signal) {
        self.signals.set(self.signals.get() | signal.bit());
        self.wake();
    }

    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// The strongest signal that is still to be obeyed.
    pub(super) fn take_signal(&self) -> Option<Signal> {
        let pending = self.signals.get();
        if pending == 0 {
            return None;
        }
        let limits = LimitKind::ALL.into_iter().map(Signal::OverLimit);
        let first = Signal::BY_STRENGTH.into_iter().chain(limits).find(|signal| pending & signal.bit() != 0)?;
        self.signals.set(pending & !first.bit());
        Some(first)
    }

    /// Says whom signals wake. Returns whether that is another one than before.
    pub(super) fn listen(&self, waker: &Waker) -> bool {
        let mut known = self.waker.borrow_mut();
        let is_new = !known.as_ref().is_some_and(|known| known.will_wake(waker));
        if is_new {
            *known = Some(waker.clone());
        }
        is_new
    }

    pub(super) fn enter(&self, state: ClientState, now: Instant) {
        self.state.set(state);
        self.since.set(now);
    }

    /// Shows the application name that the settings carry.
    pub(super) fn note_settings(&self, settings: &Settings) {
        let name = settings.value("application_name");
        *self.application_name.borrow_mut() = name.cloned().unwrap_or_else(|| "".into());
    }

    /// As operators see it.
    pub fn info(&self, worker: usize, now: Instant) -> ClientInfo {
        let state = self.state.get();
        ClientInfo {
            id: self.id,
            worker,
            user: self.user.clone(),
            database: self.database.clone(),
            state,
            address: self.address.clone(),
            application_name: shown(&self.application_name.borrow()),
            tls: self.tls,
            connected_at: self.connected_at_us,
            request_at: self.request_at_us.get(),
            wait: match state {
                ClientState::Waiting => now.saturating_duration_since(self.since.get()),
                ClientState::Active
                | ClientState::Idle
                | ClientState::IdleInTransaction
                | ClientState::Login
                | ClientState::Closing => std::time::Duration::ZERO,
            },
            backend: self.backend.get(),
            pin: self.pin.get(),
            prepared: self.prepared.get(),
            tenant: self.tenant.as_ref().map(|tenant| tenant.name.clone()),
        }
    }
}

/// A text that the client chose, without what is shown to nobody.
fn shown(text: &Arc<str>) -> Arc<str> {
    match record::scrub(text) {
        Cow::Borrowed(_) => text.clone(),
        Cow::Owned(scrubbed) => scrubbed.into(),
    }
}
