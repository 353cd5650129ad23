//! What many records say in the same words: encoded once, and brought in when a record is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Members of a record, with a comma behind the last.
#[derive(Debug)]
pub struct Phrase {
    members: Box<[u8]>,
    /// Where a list has it, perhaps.
    hint: AtomicU32,
}

impl Phrase {
    pub(super) fn new(members: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { members: members.into(), hint: AtomicU32::new(0) })
    }

    pub fn members(&self) -> &[u8] {
        &self.members
    }
}

impl PartialEq for Phrase {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl Eq for Phrase {}

/// Phrases that records wait with: a number stands for them. Each is here once, unless another list has asked for it since.
#[derive(Debug, Default)]
pub struct Phrases(Vec<Arc<Phrase>>);

impl Phrases {
    /// The number of a phrase, which is added where it is not here yet.
    pub fn number(&mut self, phrase: &Arc<Phrase>) -> u32 {
        let hint = phrase.hint.load(Ordering::Relaxed);
        // What another list has written there is nothing but a place to look at.
        if self.0.get(hint as usize).is_some_and(|known| Arc::ptr_eq(known, phrase)) {
            return hint;
        }
        let number = u32::try_from(self.0.len()).expect("fewer than bytes in memory");
        phrase.hint.store(number, Ordering::Relaxed);
        self.0.push(phrase.clone());
        number
    }

    /// The phrase of a number that was given out.
    pub fn of(&self, number: u32) -> &Arc<Phrase> {
        &self.0[number as usize]
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Bytes of memory.
    pub fn capacity(&self) -> usize {
        self.0.capacity() * size_of::<Arc<Phrase>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_to_their_phrases_whatever_other_lists_wrote() {
        let all: Vec<Arc<Phrase>> = (0..5).map(|at| Phrase::new(vec![at])).collect();
        let mut lists = [Phrases::default(), Phrases::default()];
        for round in 0..40_usize {
            for list in &mut lists {
                let phrase = &all[round * 7 % 5];
                let number = list.number(phrase);
                assert!(Arc::ptr_eq(list.of(number), phrase), "{round}");
                assert_eq!(list.number(phrase), number);
            }
            if round % 11 == 10 {
                lists[0].clear();
            }
        }
        // Only the hints of another list make it longer than it has phrases.
        let mut list = Phrases::default();
        for _ in 0..3 {
            all.iter().for_each(|phrase| assert!((list.number(phrase) as usize) < all.len()));
        }
    }
}
