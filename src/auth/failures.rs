//! Failed passwords by source address: after so many within a window, the source is refused until the window ends.
//!
//! The table is bounded, so memory is; where it is full, the oldest entry goes, which forgives one source too early.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::Instant;

use crate::net::Peer;

/// Sources remembered at once.
const SOURCES_MAX: usize = 4096;

/// Shared by all workers and kept over reloads.
#[derive(Debug, Default)]
pub struct FailureLimiter {
    sources: Mutex<HashMap<Source, Failures>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    V4([u8; 4]),
    /// The first 64 bits: one site has them all.
    V6([u8; 8]),
    Unix(u32),
    Memory,
    Unknown,
}

#[derive(Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

/// The source has used up its failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

impl FailureLimiter {
    /// Whether this peer may try a password; `max` failures within `window` are one too many.
    pub fn check(&self, peer: Peer, max: u32, window: Duration) -> Result<(), Exhausted> {
        let mut sources = self.sources();
        let source = source(peer);
        match sources.get(&source) {
            None => Ok(()),
            Some(failures) if failures.since.elapsed() >= window => {
                sources.remove(&source);
                Ok(())
            }
            Some(failures) if failures.count < max => Ok(()),
            Some(_) => Err(Exhausted),
        }
    }

    /// Counts a wrong password.
    pub fn record(&self, peer: Peer, window: Duration) {
        let mut sources = self.sources();
        let source = source(peer);
        if let Some(failures) = sources.get_mut(&source)
            && failures.since.elapsed() < window
        {
            failures.count = failures.count.saturating_add(1);
            return;
        }
        if sources.len() >= SOURCES_MAX {
            sources.retain(|_, failures| failures.since.elapsed() < window);
        }
        if sources.len() >= SOURCES_MAX
            && let Some(oldest) = sources.iter().min_by_key(|(_, failures)| failures.since).map(|(source, _)| *source)
        {
            sources.remove(&oldest);
        }
        sources.insert(source, Failures { since: Instant::now(), count: 1 });
    }

    /// Sources remembered at this moment, over all workers.
    pub fn sources_remembered(&self) -> usize {
        self.sources().len()
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<Source, Failures>> {
        // Counters are whole after each step, so a panic elsewhere leaves nothing half done.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn source(peer: Peer) -> Source {
    match peer {
        Peer::Tcp(address) => match address.ip().to_canonical() {
            IpAddr::V4(ip) => Source::V4(ip.octets()),
            IpAddr::V6(ip) => Source::V6(*ip.octets().first_chunk().expect("an address of 16 bytes has a prefix of 8")),
        },
        Peer::Unix { uid, .. } => Source::Unix(uid),
        Peer::Memory => Source::Memory,
        Peer::Gone => Source::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn tcp(address: &str) -> Peer {
        Peer::Tcp(address.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_is_refused_after_its_failures_until_the_window_ends() {
        let limiter = FailureLimiter::default();
        let peer = tcp("192.0.2.1:1");
        for _ in 0..3 {
            assert_eq!(limiter.check(peer, 3, WINDOW), Ok(()));
            limiter.record(peer, WINDOW);
        }
        assert_eq!(limiter.check(tcp("192.0.2.1:9"), 3, WINDOW), Err(Exhausted));
        assert_eq!(limiter.check(tcp("[::ffff:192.0.2.1]:9"), 3, WINDOW), Err(Exhausted));
        assert_eq!(limiter.check(tcp("192.0.2.2:1"), 3, WINDOW), Ok(()));
        tokio::time::advance(WINDOW).await;
        assert_eq!(limiter.check(peer, 3, WINDOW), Ok(()));
        assert_eq!(limiter.sources_remembered(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ipv6_site_is_one_source() {
        let limiter = FailureLimiter::default();
        limiter.record(tcp("[2001:db8::1]:1"), WINDOW);
        assert_eq!(limiter.check(tcp("[2001:db8::ffff]:1"), 1, WINDOW), Err(Exhausted));
        assert_eq!(limiter.check(tcp("[2001:db8:0:1::1]:1"), 1, WINDOW), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded() {
        let limiter = FailureLimiter::default();
        for i in 0..SOURCES_MAX as u32 + 100 {
            tokio::time::advance(Duration::from_millis(1)).await;
            limiter.record(Peer::Unix { uid: i, pid: None }, WINDOW);
        }
        assert_eq!(limiter.sources_remembered(), SOURCES_MAX);
        let unix = |uid| Peer::Unix { uid, pid: None };
        assert_eq!(limiter.check(unix(0), 1, WINDOW), Ok(()), "the oldest was forgiven");
        assert_eq!(limiter.check(unix(SOURCES_MAX as u32 + 99), 1, WINDOW), Err(Exhausted));
    }
}
