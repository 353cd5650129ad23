//! Who is connected: counts and their limits, and the keys by which a cancel request finds its session.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use subtle::ConstantTimeEq;
use tokio::sync::Notify;

use crate::wire::{CancelKey, ProtocolVersion};

/// All connections of the process.
#[derive(Debug, Default)]
pub(super) struct Clients {
    connections: AtomicUsize,
    sessions: AtomicUsize,
    by_user: DashMap<Arc<str>, usize>,
    keys: DashMap<i32, Holder>,
    ids: AtomicU64,
    gone: Notify,
    pub logins_ok: AtomicU64,
    pub logins_failed: AtomicU64,
    pub cancels: AtomicU64,
}

#[derive(Debug)]
struct Holder {
    session: u64,
    of: KeyOf,
    secret: Bytes,
}

/// Whose a cancel key is.
#[derive(Debug, Clone)]
pub(super) enum KeyOf {
    /// A session's of this worker.
    Worker(usize),
    /// A console's; the command that it waits for is told.
    Console(Arc<Notify>),
}

/// Bytes of a cancel secret in protocol 3.2; before it is 4.
const SECRET_LONG: usize = 32;

impl Clients {
    pub fn len(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Returns when no connection is left.
    pub async fn gone(&self) {
        loop {
            let notified = self.gone.notified();
            if self.len() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// A connection came in. `None`: there are `max` already.
    pub fn connect(self: &Arc<Self>, max: usize) -> Option<Connection> {
        let taken = |count: usize| (count < max).then_some(count + 1);
        self.connections.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).ok()?;
        Some(Connection { clients: self.clone() })
    }

    /// A login succeeded. `Err`: there are too many sessions, in all or of this user.
    pub fn admit(self: &Arc<Self>, user: &Arc<str>, max: usize, user_max: usize) -> Result<Admission, TooMany> {
        let taken = |count: usize| (count < max).then_some(count + 1);
        if self.sessions.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).is_err() {
            return Err(TooMany::Clients);
        }
        let mut count = self.by_user.entry(user.clone()).or_default();
        if *count >= user_max {
            drop(count);
            self.sessions.fetch_sub(1, Ordering::AcqRel);
            return Err(TooMany::OfUser);
        }
        *count += 1;
        drop(count);
        Ok(Admission { clients: self.clone(), user: user.clone() })
    }

    /// A new session's number and cancel key.
    pub fn issue_key(self: &Arc<Self>, of: KeyOf, protocol: ProtocolVersion) -> IssuedKey {
        let session = self.ids.fetch_add(1, Ordering::Relaxed) + 1;
        let length = if protocol >= ProtocolVersion::V3_2 { SECRET_LONG } else { 4 };
        let mut secret = vec![0; length];
        rand::fill(&mut secret[..]);
        let secret = Bytes::from(secret);
        loop {
            // Zero would look like no key at all to some drivers.
            let pid = rand::random_range(1..i32::MAX);
            if let Entry::Vacant(vacant) = self.keys.entry(pid) {
                vacant.insert(Holder { session, of, secret: secret.clone() });
                return IssuedKey { clients: self.clone(), session, key: CancelKey { pid, secret } };
            }
        }
    }

    /// The session that a key belongs to.
    pub fn find(&self, key: &CancelKey) -> Option<(u64, KeyOf)> {
        let holder = self.keys.get(&key.pid)?;
        bool::from(holder.secret.ct_eq(&key.secret)).then(|| (holder.session, holder.of.clone()))
    }
}

/// A limit on clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooMany {
    Clients,
    OfUser,
}

/// Counts a connection while it lives.
#[derive(Debug)]
pub(super) struct Connection {
    clients: Arc<Clients>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.clients.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.clients.gone.notify_waiters();
        }
    }
}

/// Counts a session while it lives.
#[derive(Debug)]
pub(super) struct Admission {
    clients: Arc<Clients>,
    user: Arc<str>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.clients.sessions.fetch_sub(1, Ordering::AcqRel);
        if let Entry::Occupied(mut count) = self.clients.by_user.entry(self.user.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A cancel key that works while it lives.
#[derive(Debug)]
pub(super) struct IssuedKey {
    clients: Arc<Clients>,
    pub session: u64,
    pub key: CancelKey,
}

impl Drop for IssuedKey {
    fn drop(&mut self) {
        self.clients.keys.remove(&self.key.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_in_all_and_by_user_and_places_come_back() {
        let clients = Arc::new(Clients::default());
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let first = clients.admit(&a, 2, 1).unwrap();
        assert_eq!(clients.admit(&a, 2, 1).unwrap_err(), TooMany::OfUser);
        let second = clients.admit(&b, 2, 1).unwrap();
        assert_eq!(clients.admit(&b, 2, 9).unwrap_err(), TooMany::Clients);
        drop((first, second));
        assert!(clients.by_user.is_empty());
        clients.admit(&a, 1, 1).unwrap();
    }

    #[test]
    fn a_key_finds_its_session_only_with_its_whole_secret() {
        let clients = Arc::new(Clients::default());
        let issued = clients.issue_key(KeyOf::Worker(3), ProtocolVersion::V3_2);
        let found = clients.find(&issued.key);
        assert!(matches!(found, Some((session, KeyOf::Worker(3))) if session == issued.session), "{found:?}");
        let mut wrong = issued.key.clone();
        wrong.secret = wrong.secret.slice(..31);
        assert!(clients.find(&wrong).is_none());
        let key = issued.key.clone();
        drop(issued);
        assert!(clients.find(&key).is_none());
        assert_eq!(clients.issue_key(KeyOf::Worker(0), ProtocolVersion::V3_0).key.secret.len(), 4);
    }
}
