//! What statements do to the session, and how that is made to follow the client: read back, carried over, pinned.
//!
//! What was touched is collected while a transaction runs and asked of the server when it has ended: then ROLLBACK and
//! ROLLBACK TO need no model of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::pool::exchange::Rows;
use crate::settings::{self, Settings};
use crate::sql::{Analysis, DiscardTarget, Effect, Summary};

/// Why a backend stays with a session, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pins(u8);

impl Pins {
    pub const NONE: Self = Self(0);
    pub const LISTEN: Self = Self(1);
    pub const HOLD_CURSOR: Self = Self(1 << 1);
    pub const PREPARED: Self = Self(1 << 2);
    pub const LOCK: Self = Self(1 << 3);
    pub const TEMP: Self = Self(1 << 4);
    pub const LOAD: Self = Self(1 << 5);
    pub const AUTHORIZATION: Self = Self(1 << 6);
    pub const UNKNOWN: Self = Self(1 << 7);
    /// Those that the server can be asked about, in the order of [`RESIDUE`]'s columns.
    const ASKED: [Self; 5] = [Self::LISTEN, Self::HOLD_CURSOR, Self::PREPARED, Self::LOCK, Self::TEMP];

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The reason to show; the first where there are several.
    pub fn label(self) -> Option<&'static str> {
        let labels = [
            (Self::LISTEN, "listen"),
            (Self::HOLD_CURSOR, "hold_cursor"),
            (Self::PREPARED, "sql_prepare"),
            (Self::LOCK, "advisory_lock"),
            (Self::TEMP, "temp_object"),
            (Self::LOAD, "load"),
            (Self::AUTHORIZATION, "session_authorization"),
            (Self::UNKNOWN, "unknown_state"),
        ];
        labels.into_iter().find(|(pin, _)| self.has(*pin)).map(|(_, label)| label)
    }
}

/// Asks what of a session cannot follow: one row of booleans, in the order of `Pins::ASKED`.
const RESIDUE: &str = "SELECT EXISTS(SELECT FROM pg_catalog.pg_listening_channels()),\
EXISTS(SELECT FROM pg_catalog.pg_cursors WHERE is_holdable),\
EXISTS(SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql),\
EXISTS(SELECT FROM pg_catalog.pg_locks WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() \
AND locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text),\
EXISTS(SELECT FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
OR EXISTS(SELECT FROM pg_catalog.pg_proc WHERE pronamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
OR EXISTS(SELECT FROM pg_catalog.pg_type WHERE typnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())";

/// What a transaction may have changed in the session.
#[derive(Debug, Default)]
pub struct Touched {
    /// Settings to read back.
    names: BTreeSet<Arc<str>>,
    /// Of these, the ones that were reset: the session's startup value is what they go back to.
    resets: BTreeSet<Arc<str>>,
    /// Any setting.
    all: bool,
    /// All settings were reset.
    reset_all: bool,
    /// State that cannot follow may have come or gone.
    residue: bool,
    /// SET SESSION AUTHORIZATION.
    identity: bool,
    /// A setting whose name is not known, and that the server may not list.
    unknown: bool,
    /// Nothing tracks what was done.
    opaque: bool,
    /// An error was reported meanwhile.
    pub failed: bool,
}

/// Whether a text needs the session's attention at all.
pub fn needs_attention(analysis: &Analysis) -> bool {
    if analysis.summary.has(Summary::FAILED) {
        return true;
    }
    analysis.summary.has(Summary::EFFECTS)
        && analysis.statements.iter().flat_map(|statement| &statement.effects).any(|effect| match effect {
            Effect::SetLocal { .. }
            | Effect::Sequence { .. }
            | Effect::UnknownFunction
            | Effect::Savepoint { .. }
            | Effect::Release { .. }
            | Effect::RollbackTo { .. } => false,
            Effect::Discard(target) => !matches!(target, DiscardTarget::Plans),
            Effect::SetSession { .. }
            | Effect::SetUnknown
            | Effect::SetParameter { .. }
            | Effect::Reset { .. }
            | Effect::ResetAll
            | Effect::DiscardAll
            | Effect::Prepare { .. }
            | Effect::Execute { .. }
            | Effect::Deallocate { .. }
            | Effect::DeallocateAll
            | Effect::Listen { .. }
            | Effect::Unlisten { .. }
            | Effect::UnlistenAll
            | Effect::HoldCursor { .. }
            | Effect::CloseCursor { .. }
            | Effect::CloseAll
            | Effect::TempObject
            | Effect::SessionLock
            | Effect::SessionUnlock
            | Effect::SessionUnlockAll
            | Effect::Load
            | Effect::Identity
            | Effect::Opaque => true,
        })
}

impl Touched {
    /// Collects what `analysis` may do. `pinned`: state that cannot follow is there already.
    pub fn absorb(&mut self, analysis: &Analysis, pinned: bool) {
        if analysis.failure.is_some() {
            self.opaque = true;
        }
        let effects = || analysis.statements.iter().flat_map(|statement| &statement.effects);
        let executes = effects().any(|effect| matches!(effect, Effect::Execute { .. }));
        for effect in effects() {
            match effect {
                Effect::SetSession { name } => self.touch(name.clone()),
                Effect::SetUnknown => {
                    self.all = true;
                    // EXECUTE runs what was judged when it was prepared.
                    self.unknown |= !executes;
                }
                Effect::Reset { name } => {
                    self.touch(name.clone());
                    self.resets.insert(name.clone());
                }
                Effect::ResetAll => self.reset_all = true,
                Effect::Identity => {
                    self.touch(settings::ROLE.into());
                    self.identity = true;
                }
                Effect::Opaque => self.opaque = true,
                Effect::Listen { .. }
                | Effect::HoldCursor { .. }
                | Effect::TempObject
                | Effect::SessionLock
                | Effect::Prepare { .. } => self.residue = true,
                Effect::Unlisten { .. }
                | Effect::UnlistenAll
                | Effect::CloseCursor { .. }
                | Effect::CloseAll
                | Effect::SessionUnlock
                | Effect::SessionUnlockAll
                | Effect::Deallocate { .. }
                | Effect::DeallocateAll
                | Effect::Discard(_) => self.residue |= pinned,
                // What these do is known when they have succeeded, or follows from the Bind.
                Effect::DiscardAll | Effect::SetParameter { .. } | Effect::Execute { .. } | Effect::Load => {}
                Effect::SetLocal { .. }
                | Effect::Sequence { .. }
                | Effect::UnknownFunction
                | Effect::Savepoint { .. }
                | Effect::Release { .. }
                | Effect::RollbackTo { .. } => {}
            }
        }
    }

    /// One setting, by name.
    pub fn touch(&mut self, name: Arc<str>) {
        if settings::follows(&name) {
            self.names.insert(name);
        }
        if self.names.len() > Settings::COUNT_MAX {
            self.all = true;
        }
    }

    pub fn touch_all(&mut self) {
        self.all = true;
    }

    /// Nothing has to be asked: at most all settings went back to their defaults, and did so for certain.
    pub fn is_plain_reset(&self) -> bool {
        self.names.is_empty() && !self.all && !self.residue && !self.identity && !self.opaque && !self.failed
    }

    /// RESET ALL.
    pub fn resets_all(&self) -> bool {
        self.reset_all
    }

    /// A setting may have been made that cannot be found again.
    pub fn is_unknown(&self) -> bool {
        self.unknown
    }

    /// State that cannot follow may have come.
    pub fn may_pin(&self) -> bool {
        self.residue || self.opaque
    }

    pub fn is_opaque(&self) -> bool {
        self.opaque
    }

    /// The questions to the server, and how to read the answers.
    pub fn questions(&self, known: &Settings) -> Questions {
        let all = self.all || self.opaque || self.reset_all;
        let mut names: Vec<Arc<str>> = self.names.iter().cloned().collect();
        if all {
            // pg_settings shows neither placeholders nor the role.
            let hidden = known.values().keys().filter(|name| name.contains('.') && !self.names.contains(*name));
            names.extend(hidden.cloned());
            if !self.names.contains(settings::ROLE) {
                names.push(settings::ROLE.into());
            }
        }
        let identity = self.identity || self.opaque;
        Questions { names, residue: self.residue || self.opaque, all, identity }
    }

    /// What the session's settings are, by the server's answer.
    pub fn resolve(&self, questions: &Questions, rows: Rows, known: &Settings, startup: &Settings) -> Option<Answer> {
        let mut rows = rows.into_iter();
        let mut authorization = None;
        let mut read = Vec::new();
        if !questions.names.is_empty() || questions.identity {
            let mut row = rows.next()?;
            if questions.identity {
                authorization = row.pop()?;
            }
            if row.len() != questions.names.len() {
                return None;
            }
            read = questions.names.iter().cloned().zip(row).collect();
        }
        let mut pins = None;
        if questions.residue {
            let row = rows.next()?;
            if row.len() != Pins::ASKED.len() {
                return None;
            }
            let there = Pins::ASKED.into_iter().zip(&row).filter(|(_, value)| value.as_deref() == Some("t"));
            pins = Some(there.fold(Pins::NONE, |pins, (pin, _)| pins.with(pin)));
        }
        let mut values = if questions.all {
            let mut values = BTreeMap::new();
            for row in rows {
                let [name, value] = <[Option<String>; 2]>::try_from(row).ok()?;
                let (name, value) = (name?, value.unwrap_or_default());
                if settings::follows(&name) {
                    values.insert(Arc::from(name), Arc::from(value));
                }
            }
            // What was reset goes back to what the client asked for when it connected.
            for (name, value) in startup.values() {
                values.entry(name.clone()).or_insert_with(|| value.clone());
            }
            values
        } else {
            known.values().clone()
        };
        for (name, value) in read {
            self.place(&mut values, name, value, known, startup);
        }
        Some(Answer { settings: Arc::new(Settings::from_values(values)), pins, authorization })
    }

    fn place(
        &self,
        values: &mut BTreeMap<Arc<str>, Arc<str>>,
        name: Arc<str>,
        value: Option<String>,
        known: &Settings,
        startup: &Settings,
    ) {
        let value = match value {
            None => None,
            Some(value) if &*name == settings::ROLE && value == "none" => None,
            Some(value) if self.resets.contains(&name) && known.value(&name).is_none_or(|old| **old != *value) => {
                startup.value(&name).cloned()
            }
            Some(value) => Some(value.into()),
        };
        match value {
            Some(value) => values.insert(name, value),
            None => values.remove(&name),
        };
    }
}

/// See [`Touched::questions`].
#[derive(Debug)]
pub struct Questions {
    names: Vec<Arc<str>>,
    residue: bool,
    all: bool,
    identity: bool,
}

impl Questions {
    /// The text of one Query; empty when there is nothing to ask.
    pub fn sql(&self) -> String {
        let mut parts = Vec::new();
        let identity = self.identity.then_some("session_authorization");
        if !self.names.is_empty() || self.identity {
            parts.push(settings::read_back(self.names.iter().map(|name| &**name).chain(identity)));
        }
        if self.residue {
            parts.push(RESIDUE.to_owned());
        }
        if self.all {
            parts.push(settings::READ_ALL.to_owned());
        }
        parts.join(";")
    }
}

/// See [`Touched::resolve`].
#[derive(Debug)]
pub struct Answer {
    pub settings: Arc<Settings>,
    /// Where they were asked for.
    pub pins: Option<Pins>,
    /// The session's authorization, where it was asked for.
    pub authorization: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &[(&str, &str)]) -> Settings {
        Settings::from_values(values.iter().map(|&(n, v)| (n.into(), v.into())).collect())
    }

    fn row(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| Some((*value).to_owned())).collect()
    }

    fn shown(answer: &Answer) -> String {
        answer.settings.values().iter().map(|(n, v)| format!("{n}={v} ")).collect()
    }

    #[test]
    fn a_touched_setting_takes_the_servers_value() {
        let mut touched = Touched::default();
        touched.touch("work_mem".into());
        touched.touch("seed".into());
        let known = settings(&[("work_mem", "1MB"), ("x.y", "1")]);
        let questions = touched.questions(&known);
        assert_eq!(questions.sql(), "SELECT pg_catalog.current_setting(E'work_mem',true)");
        let answer = touched.resolve(&questions, vec![row(&["2MB"])], &known, &settings(&[])).unwrap();
        assert_eq!(shown(&answer), "work_mem=2MB x.y=1 ");
    }

    #[test]
    fn a_reset_goes_back_to_the_startup_value_and_a_reset_that_was_rolled_back_does_not() {
        let mut touched = Touched::default();
        touched.touch("timezone".into());
        touched.resets.insert("timezone".into());
        let (known, startup) = (settings(&[("timezone", "Asia/Tokyo")]), settings(&[("timezone", "UTC")]));
        let questions = touched.questions(&known);
        let committed = touched.resolve(&questions, vec![row(&["Etc/GMT"])], &known, &startup).unwrap();
        assert_eq!(shown(&committed), "timezone=UTC ");
        let rolled_back = touched.resolve(&questions, vec![row(&["Asia/Tokyo"])], &known, &startup).unwrap();
        assert_eq!(shown(&rolled_back), "timezone=Asia/Tokyo ");
    }

    #[test]
    fn after_what_may_do_anything_everything_is_asked() {
        let mut touched = Touched { opaque: true, ..Touched::default() };
        touched.touch("work_mem".into());
        let known = settings(&[("app.user", "7"), ("work_mem", "1MB")]);
        let questions = touched.questions(&known);
        let rows = vec![
            row(&["3MB", "8", "none", "app"]),
            row(&["f", "f", "t", "f", "t"]),
            row(&["work_mem", "3072"]),
            row(&["jit", "off"]),
        ];
        let answer = touched.resolve(&questions, rows, &known, &settings(&[("timezone", "UTC")])).unwrap();
        assert_eq!(shown(&answer), "app.user=8 jit=off timezone=UTC work_mem=3MB ");
        assert_eq!(answer.pins, Some(Pins::PREPARED.with(Pins::TEMP)));
        assert_eq!(answer.pins.unwrap().label(), Some("sql_prepare"));
        assert_eq!(answer.authorization.as_deref(), Some("app"));
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        let mut touched = Touched::default();
        touched.touch("work_mem".into());
        let questions = touched.questions(&settings(&[]));
        assert!(touched.resolve(&questions, vec![], &settings(&[]), &settings(&[])).is_none());
        assert!(touched.resolve(&questions, vec![row(&["1", "2"])], &settings(&[]), &settings(&[])).is_none());
    }
}
