//! A tenant's predicate and column in the client's statements, where the tenancy asks for that.
//!
//! Plans are kept by text and catalog, for they do not depend on the tenant. Without a catalog nothing is rewritten, and so
//! nothing is forwarded that should have been.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::{Session, copy_target};
use crate::config::Rewrite;
use crate::fault::{Fault, Report, Severity, SqlState};
use crate::policy::Verdict;
use crate::rewrite::{self, CannotRewrite, InsertColumn, Plan, Request};
use crate::sql::copy::CopyFrom;
use crate::sql::{Analysis, StatementKind};
use crate::wire::frame::Parse;

/// Plans of one worker.
pub(super) struct Plans {
    by_text: LruCache<Key, Arc<Result<Plan, CannotRewrite>>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    /// Of the catalog.
    revision: u64,
    /// Of the rules: another tenancy may ask for other tables.
    generation: u64,
    database: Arc<str>,
    text: Box<[u8]>,
}

/// Plans that are kept; those of short texts take about a kilobyte each.
const PLANS_MAX: NonZeroUsize = NonZeroUsize::new(2048).expect("it is not zero");

/// Longer texts are planned each time.
const KEPT_TEXT_MAX: usize = 16 << 10;

impl Default for Plans {
    fn default() -> Self {
        Self { by_text: LruCache::new(PLANS_MAX) }
    }
}

impl std::fmt::Debug for Plans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plans").field("kept", &self.by_text.len()).finish()
    }
}

impl Session {
    /// The text that is to be sent in place of the client's; `None`: the client's own.
    pub(super) fn rewritten(&self, text: &[u8], analysis: &Analysis) -> Result<Option<Vec<u8>>, Box<dyn Report>> {
        let Some((row, key)) = self.account.row() else { return Ok(None) };
        let Some(tenancy) = &self.account.database.tenancy else { return Ok(None) };
        if tenancy.rewrite == Rewrite::Off || !concerns_tables(analysis) {
            return Ok(None);
        }
        let database = &self.account.database.name;
        let Some(wall) = self.context.walls.of(database) else { return Err(Box::new(NotSeen)) };
        let Ok(text) = std::str::from_utf8(text) else { return Err(Box::new(NotSeen)) };
        let kept = text.len() <= KEPT_TEXT_MAX;
        let revision = wall.revision;
        let wanted = || Key {
            revision,
            generation: self.rules.generation,
            database: database.clone(),
            text: text.as_bytes().into(),
        };
        let mut plans = self.context.plans.borrow_mut();
        let known = if kept { plans.by_text.get(&wanted()).cloned() } else { None };
        let plan = known.unwrap_or_else(|| {
            let request = Request {
                text,
                catalog: &wall.catalog,
                column: &row.column,
                key_type: row.key_type,
                scope: &tenancy.rewrite,
                insert: InsertColumn::Add,
            };
            let plan = Arc::new(rewrite::plan(&request));
            if kept {
                plans.by_text.put(wanted(), plan.clone());
            }
            plan
        });
        match &*plan {
            Ok(plan) if plan.is_identity() => Ok(None),
            Ok(plan) => match plan.apply(text.as_bytes(), key) {
                Ok(text) => Ok(Some(text)),
                Err(error) => Err(Box::new(error)),
            },
            Err(error) => Err(Box::new(error.clone())),
        }
    }

    /// The text that a Parse is to have in place of its own. A text that policy refuses is left for policy to refuse.
    pub(super) fn rewritten_parse(&mut self, parse: &Parse<'_>) -> Result<Option<Vec<u8>>, Box<dyn Report>> {
        let rewrites = self.account.database.tenancy.as_ref().is_some_and(|tenancy| tenancy.rewrite != Rewrite::Off);
        if !rewrites {
            return Ok(None);
        }
        let analysis = self.analysis_of(parse.text);
        match self.judge(&analysis) {
            Verdict::Allow(_) => self.rewritten(parse.text, &analysis),
            Verdict::Refuse(_) => Ok(None),
        }
    }

    /// Whether rewriting would take an INSERT into the table of a COPY. The tenant column is filled in, or each row's looked
    /// at, with rewriting and without.
    pub(super) fn rewritten_copy(&mut self, copy: &CopyFrom) -> Result<(), Box<dyn Report>> {
        let text = format!("INSERT INTO {} DEFAULT VALUES", copy_target::name(copy));
        let analysis = self.context.analyses.borrow_mut().read(text.as_bytes());
        self.rewritten(text.as_bytes(), &analysis).map(drop)
    }
}

/// Some relation is named, and not by a COPY FROM: that one is turned into inserts, and each of its rows is looked at.
fn concerns_tables(analysis: &Analysis) -> bool {
    let mut statements = analysis.statements.iter();
    statements.any(|statement| statement.kind != StatementKind::CopyFrom && !statement.relations.is_empty())
}

/// The database's catalog has not been read yet.
struct NotSeen;

impl Report for NotSeen {
    fn fault(&self) -> Fault {
        Fault::Server
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn sqlstate(&self) -> SqlState {
        SqlState::CANNOT_CONNECT_NOW
    }

    fn message(&self) -> Cow<'_, str> {
        "the database's catalog has not been read yet".into()
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("Try again in a moment.".into())
    }
}
