//! A table of analyses by key bytes, bounded in entries and bytes, that forgets by the clock algorithm: a hand goes round,
//! spares what was asked for since it last came by, and drops the next that was not.

use std::sync::Arc;

use hashbrown::HashTable;

use super::Analysis;

/// How much a table may hold. An entry larger than a quarter of `bytes` is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub entries: usize,
    pub bytes: usize,
}

impl Limits {
    /// One worker's texts, and as many shapes: an application's few hundred statements with room to spare.
    pub const WORKER: Self = Self { entries: 2_048, bytes: 2 << 20 };
    /// What all workers share.
    pub const SHARED: Self = Self { entries: 16_384, bytes: 16 << 20 };
}

pub(super) struct Clock {
    limits: Limits,
    /// Positions in `slots`.
    table: HashTable<u32>,
    slots: Vec<Slot>,
    hand: usize,
    bytes: usize,
}

struct Slot {
    hash: u64,
    key: Box<[u8]>,
    analysis: Arc<Analysis>,
    bytes: usize,
    used: bool,
}

impl Clock {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, table: HashTable::new(), slots: Vec::new(), hand: 0, bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of keys and values, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    pub(super) fn get(&mut self, hash: u64, key: &[u8]) -> Option<&Arc<Analysis>> {
        let slots = &self.slots;
        let same = |at: &u32| {
            let slot = &slots[*at as usize];
            slot.hash == hash && *slot.key == *key
        };
        let at = *self.table.find(hash, same)? as usize;
        let slot = &mut self.slots[at];
        slot.used = true;
        Some(&slot.analysis)
    }

    /// One more analysis of so many bytes, and something must go.
    pub(super) fn is_full(&self, weight: usize) -> bool {
        self.slots.len() >= self.limits.entries || self.bytes + weight + OVERHEAD > self.limits.bytes
    }

    /// Keeps an analysis; what has not been used lately makes room. `weight`: the analysis's own bytes.
    pub(super) fn insert(&mut self, hash: u64, key: &[u8], analysis: Arc<Analysis>, weight: usize) {
        let bytes = key.len() + weight + OVERHEAD;
        if bytes > self.limits.bytes / 4 || self.limits.entries == 0 || self.get(hash, key).is_some() {
            return;
        }
        while self.slots.len() >= self.limits.entries || self.bytes + bytes > self.limits.bytes {
            self.forget_one();
        }
        let Ok(at) = u32::try_from(self.slots.len()) else { return };
        self.slots.push(Slot { hash, key: key.into(), analysis, bytes, used: false });
        self.bytes += bytes;
        let slots = &self.slots;
        self.table.insert_unique(hash, at, |at| slots[*at as usize].hash);
    }

    /// Drops the next entry that was not asked for since the hand last came by. There is at least one entry.
    fn forget_one(&mut self) {
        loop {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let slot = &mut self.slots[self.hand];
            if !std::mem::take(&mut slot.used) {
                break;
            }
            self.hand += 1;
        }
        let last = (self.slots.len() - 1) as u32;
        let at = self.hand as u32;
        self.unlink(at);
        if last != at {
            // The last slot moves into the gap.
            let hash = self.slots[last as usize].hash;
            if let Some(position) = self.table.find_mut(hash, |position| *position == last) {
                *position = at;
            }
        }
        let gone = self.slots.swap_remove(at as usize);
        self.bytes -= gone.bytes;
        self.hand += 1;
    }

    fn unlink(&mut self, at: u32) {
        let hash = self.slots[at as usize].hash;
        if let Ok(entry) = self.table.find_entry(hash, |position| *position == at) {
            entry.remove();
        }
    }
}

/// A slot, its place in the table, and what the allocator adds, about.
const OVERHEAD: usize = size_of::<Slot>() + 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::grammar;

    fn analysis() -> Arc<Analysis> {
        Arc::new(grammar::read(b""))
    }

    /// Few distinct hashes, so that entries collide.
    fn hash(key: &[u8]) -> u64 {
        u64::from(key[0] % 3)
    }

    fn insert(clock: &mut Clock, key: &[u8]) {
        clock.insert(hash(key), key, analysis(), 0);
    }

    #[test]
    fn entries_and_bytes_stay_within_the_limits() {
        let mut clock = Clock::new(Limits { entries: 10, bytes: 12 * (OVERHEAD + 2) });
        for i in 0..1_000u32 {
            insert(&mut clock, &[i as u8, (i >> 8) as u8]);
            assert!(clock.len() <= 10 && clock.bytes() <= 12 * (OVERHEAD + 2));
            assert!(clock.get(hash(&[i as u8]), &[i as u8, (i >> 8) as u8]).is_some());
        }
        assert_eq!(clock.len(), 10);
        let counted: usize = clock.slots.iter().map(|slot| slot.bytes).sum();
        assert_eq!(clock.bytes(), counted);
        let mut clock = Clock::new(Limits { entries: 1_000, bytes: 5 * (OVERHEAD + 1) });
        (0..100u8).for_each(|i| insert(&mut clock, &[i]));
        assert_eq!(clock.len(), 5);
        assert_eq!(clock.table.len(), 5);
    }

    #[test]
    fn what_is_asked_for_stays() {
        let mut clock = Clock::new(Limits { entries: 8, bytes: 1 << 20 });
        insert(&mut clock, b"kept");
        for i in 0..200u8 {
            insert(&mut clock, &[i, i]);
            assert!(clock.get(hash(b"kept"), b"kept").is_some(), "{i}");
        }
    }

    #[test]
    fn every_entry_is_found_by_its_own_key_only() {
        let mut clock = Clock::new(Limits { entries: 50, bytes: 1 << 20 });
        for i in 0..255u8 {
            insert(&mut clock, &[i, 1]);
            for at in 0..clock.slots.len() {
                let (hash, key) = (clock.slots[at].hash, clock.slots[at].key.clone());
                let found = Arc::as_ptr(clock.get(hash, &key).expect("an entry that is there"));
                assert_eq!(found, Arc::as_ptr(&clock.slots[at].analysis));
                clock.slots[at].used = at % 2 == 0;
            }
            assert!(clock.get(hash(&[i]), &[i, 2]).is_none());
        }
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let mut clock = Clock::new(Limits { entries: 8, bytes: 4_000 });
        clock.insert(0, &[0; 2_000], analysis(), 0);
        assert_eq!(clock.len(), 0);
        let mut clock = Clock::new(Limits { entries: 0, bytes: 4_000 });
        clock.insert(0, &[0], analysis(), 0);
        assert_eq!(clock.len(), 0);
    }
}
