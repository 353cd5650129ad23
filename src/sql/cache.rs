//! Analyses by text: a table per worker, one shared behind it, and the grammar behind that.
//!
//! A hit in a worker's own table takes no lock and allocates nothing. Texts are compared in full: a hash never decides. Texts
//! that differ only in literals share one analysis where literals provably do not matter (`shape`): plain queries that
//! change no session state and name no object by a literal. Both tables are bounded in entries and in bytes; in a full one a
//! text takes another's place when it comes for the second time.

use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clock::{Clock, Limits};
use super::{Analysis, Effect, Spans, Statement, StatementKind, Summary, grammar, shape};
use crate::metrics::AnalysisCounters;

/// One worker's analyses.
pub struct Analyses {
    shared: Arc<SharedAnalyses>,
    texts: Clock,
    shapes: Clock,
    seen: Seen,
    /// The shape of the text at hand.
    shape: Vec<u8>,
    hits: u64,
    misses: u64,
}

/// What all workers have read, for each to take over.
pub struct SharedAnalyses {
    hasher: foldhash::fast::RandomState,
    /// None where there is nobody to share with.
    parts: Vec<Mutex<Part>>,
}

struct Part {
    texts: Clock,
    shapes: Clock,
}

impl Analyses {
    /// An empty table in front of the shared one. `limits` bound texts and shapes each.
    pub fn new(shared: Arc<SharedAnalyses>, limits: Limits) -> Self {
        let (texts, shapes) = (Clock::new(limits), Clock::new(limits));
        Self { shared, texts, shapes, seen: Seen::default(), shape: Vec::new(), hits: 0, misses: 0 }
    }

    /// What the text does. Never fails: a text that cannot be read has `Analysis::failure`.
    #[inline]
    pub fn read(&mut self, text: &[u8]) -> Arc<Analysis> {
        let hash = self.shared.hash(text);
        if let Some(analysis) = self.texts.get(hash, text) {
            self.hits += 1;
            return Arc::clone(analysis);
        }
        self.read_new(hash, text)
    }

    /// Hits and misses of this worker (a miss was parsed), entries and bytes of its own table.
    pub fn counters(&self) -> AnalysisCounters {
        AnalysisCounters {
            hits: self.hits,
            misses: self.misses,
            entries: (self.texts.len() + self.shapes.len()) as u64,
            bytes: (self.texts.bytes() + self.shapes.bytes()) as u64,
        }
    }

    #[cold]
    #[inline(never)]
    fn parse(&mut self, text: &[u8]) -> Analysis {
        self.misses += 1;
        grammar::read(text)
    }

    #[inline(never)]
    fn read_new(&mut self, hash: u64, text: &[u8]) -> Arc<Analysis> {
        match self.find_new(hash, text) {
            Ok(analysis) => analysis,
            Err(keys) => {
                let analysis = self.parse(text);
                self.keep_new(text, &keys, analysis)
            }
        }
    }

    /// What the text does, where that is known without reading it.
    pub fn find(&mut self, text: &[u8]) -> Option<Arc<Analysis>> {
        let hash = self.shared.hash(text);
        let known = self.texts.get(hash, text).map(Arc::clone);
        known.or_else(|| self.find_new(hash, text).ok())
    }

    /// Takes over what was read elsewhere.
    pub fn keep(&mut self, text: &[u8], analysis: Analysis) -> Arc<Analysis> {
        self.misses += 1;
        match self.find_new(self.shared.hash(text), text) {
            Ok(known) => known,
            Err(keys) => self.keep_new(text, &keys, analysis),
        }
    }

    /// A text that is not among this worker's own; `Err`: under which keys it would be found, once it was read.
    fn find_new(&mut self, hash: u64, text: &[u8]) -> Result<Arc<Analysis>, Keys> {
        if text.len() > TEXT_MAX {
            return Err(Keys { text: hash, shape: None });
        }
        let has_shape = text.len() <= SHAPED_TEXT_MAX && shape::write(text, &mut self.shape);
        let shape_hash = self.shared.hash(&self.shape);
        if has_shape && let Some(analysis) = self.shapes.get(shape_hash, &self.shape) {
            self.hits += 1;
            return Ok(Arc::clone(analysis));
        }
        // A copy, and not the shared one: two workers would contend for its reference count.
        if let Some(analysis) = self.shared.text(hash, text) {
            self.hits += 1;
            let analysis = Arc::new(analysis);
            self.texts.insert(hash, text, Arc::clone(&analysis), weight(&analysis));
            return Ok(analysis);
        }
        if has_shape && let Some(analysis) = self.shared.shape(shape_hash, &self.shape) {
            self.hits += 1;
            let analysis = Arc::new(analysis);
            self.shapes.insert(shape_hash, &self.shape, Arc::clone(&analysis), weight(&analysis));
            return Ok(analysis);
        }
        Err(Keys { text: hash, shape: has_shape.then_some(shape_hash) })
    }

    /// Keeps what was read of a text whose shape, if it has one, is the one at hand.
    fn keep_new(&mut self, text: &[u8], keys: &Keys, analysis: Analysis) -> Arc<Analysis> {
        let analysis = Arc::new(analysis);
        if text.len() > TEXT_MAX {
            return analysis;
        }
        let bytes = weight(&analysis);
        let full = self.texts.is_full(bytes) || self.shapes.is_full(bytes);
        if full && !self.seen.again(keys.shape.unwrap_or(keys.text)) {
            return analysis;
        }
        self.texts.insert(keys.text, text, Arc::clone(&analysis), bytes);
        // The other workers take copies: of the shape, where there is one, and it serves for this text, too.
        if let Some(hash) = keys.shape.filter(|_| is_indifferent_to_literals(&analysis)) {
            let of_shape = Arc::new(Analysis { spans: Spans::Shape, ..Analysis::clone(&analysis) });
            self.shapes.insert(hash, &self.shape, Arc::clone(&of_shape), bytes);
            if let Some(mut part) = self.shared.part(hash) {
                part.shapes.insert(hash, &self.shape, of_shape, bytes);
            }
        } else if let Some(mut part) = self.shared.part(keys.text) {
            part.texts.insert(keys.text, text, Arc::clone(&analysis), bytes);
        }
        analysis
    }
}

/// Hashes of what was read while a table was full, of late. Texts that never come again would cost twice: to be kept, and
/// whatever they take the place of.
#[derive(Default)]
struct Seen(Vec<u32>);

impl Seen {
    /// Whether it was seen before; from now on it was.
    fn again(&mut self, hash: u64) -> bool {
        if self.0.is_empty() {
            self.0 = vec![0; SEEN];
        }
        let (at, rest) = (hash as usize % SEEN, (hash >> 32) as u32);
        std::mem::replace(&mut self.0[at], rest) == rest
    }
}

/// Hashes of a text, and of its shape.
struct Keys {
    text: u64,
    shape: Option<u64>,
}

impl SharedAnalyses {
    /// An empty table for so many workers. `limits` bound texts and shapes each, over all parts.
    pub fn new(limits: Limits, workers: usize) -> Self {
        let parts = if workers > 1 { PARTS } else { 0 };
        let part = Limits { entries: limits.entries.div_ceil(PARTS), bytes: limits.bytes.div_ceil(PARTS) };
        let part = || Mutex::new(Part { texts: Clock::new(part), shapes: Clock::new(part) });
        Self {
            hasher: foldhash::fast::RandomState::default(),
            parts: std::iter::repeat_with(part).take(parts).collect(),
        }
    }

    /// Entries and bytes of this table; hits and misses are counted by the workers.
    pub fn counters(&self) -> AnalysisCounters {
        let mut counters = AnalysisCounters::default();
        for part in &self.parts {
            let part = lock(part);
            counters.entries += (part.texts.len() + part.shapes.len()) as u64;
            counters.bytes += (part.texts.bytes() + part.shapes.bytes()) as u64;
        }
        counters
    }

    #[inline]
    fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    fn part(&self, hash: u64) -> Option<MutexGuard<'_, Part>> {
        // The tables take the low and the highest bits.
        self.parts.get((hash >> 40) as usize % PARTS).map(lock)
    }

    fn text(&self, hash: u64, text: &[u8]) -> Option<Analysis> {
        let found = self.part(hash)?.texts.get(hash, text).map(Arc::clone)?;
        Some(Analysis::clone(&found))
    }

    fn shape(&self, hash: u64, shape: &[u8]) -> Option<Analysis> {
        let found = self.part(hash)?.shapes.get(hash, shape).map(Arc::clone)?;
        Some(Analysis::clone(&found))
    }
}

/// A panic elsewhere leaves a table that is whole: nothing in it is changed in steps that could be seen apart.
fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that an analysis takes up for its part of the audit, about.
const WORDS: usize = 1 << 10;

/// Whether any text of the same shape has the same analysis, spans aside.
fn is_indifferent_to_literals(analysis: &Analysis) -> bool {
    use StatementKind::*;
    let special = Summary::FAILED
        .with(Summary::EMPTY)
        .with(Summary::TRANSACTION)
        .with(Summary::COPY)
        .with(Summary::EFFECTS)
        .with(Summary::UNKNOWN)
        .with(Summary::LITERALS);
    let query = |statement: &Statement| {
        let query =
            matches!(statement.kind, Select | Values | Insert | Update | Delete | Merge | Explain | ExplainAnalyze);
        query && statement.effects.iter().all(|effect| *effect == Effect::UnknownFunction)
    };
    !analysis.summary.any(special) && analysis.statements.iter().all(query)
}

/// About what an analysis takes in memory, in bytes.
fn weight(analysis: &Analysis) -> usize {
    let of_statement = |statement: &Statement| {
        let relations = statement.relations.iter();
        let functions = statement.functions.iter();
        let relations = relations.map(|r| 96 + r.name.len() + r.schema.as_ref().map_or(0, String::len)).sum::<usize>();
        let functions = functions.map(|f| 32 + f.iter().map(|part| 32 + part.len()).sum::<usize>()).sum::<usize>();
        let facts = &statement.facts;
        let assignments = facts.assignments.iter().map(|a| 96 + a.name.len() + a.columns.len() * 40).sum::<usize>();
        let columns = facts.parameters.iter().map(|p| 40 + p.columns.len() * 120).sum::<usize>();
        let facts = assignments + columns + (facts.settings.len() + facts.schemas.len() + facts.options.len()) * 64;
        size_of::<Statement>() + relations + functions + facts + statement.effects.len() * (size_of::<Effect>() + 32)
    };
    // What records say of it is made later, and bounded.
    size_of::<Analysis>() + WORDS + analysis.statements.iter().map(of_statement).sum::<usize>()
}

/// Hashes that are remembered: of more texts than a table has.
const SEEN: usize = 8_192;

/// Parts of the shared table, each under its own lock.
const PARTS: usize = 16;

/// Longer texts are not kept.
const TEXT_MAX: usize = 64 << 10;

/// Longer texts are not searched by shape: their literals are mostly lists, which rarely repeat.
const SHAPED_TEXT_MAX: usize = 16 << 10;

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
