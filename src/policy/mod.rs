//! Verdicts: what a user may run. Pure.
//!
//! [`Admitted`] is the proof that a statement was judged: only this module can build one, and only an admitted statement
//! can be forwarded. In a database without tenants everything is admitted but what the user's configuration does not let
//! stay on a backend. In one with tenants the default is to refuse: a statement passes when its kind, everything inside it,
//! and every relation, function and setting that it names is on a list.
//!
//! The lists are compiled once for each role, database and (where tenants have schemas) tenant; a [`Subject`] is a pointer
//! to them. An analysis remembers which of them last let it through, so a text that repeats costs one comparison.

mod catalog;
mod functions;
mod kinds;
mod names;
mod refusal;
mod rules;
mod settings;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::config::{Account, Config, Database, SessionState, Tenant, TenantPlace, User};
use crate::sql::{Analysis, SettingValue};

pub use kinds::{UnknownKind, unknown_kinds};
pub use refusal::{RULES, Refusal};
use rules::{Rules, Scope};
pub use state::RESERVED_PREFIX;

/// The rules in force, compiled from a configuration.
#[derive(Debug)]
pub struct Policy {
    generation: u64,
    compiled: Mutex<HashMap<Key, Weak<Rules>>>,
}

/// What rules depend on, within one configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    pins: bool,
    /// The database's name; absent: it has no tenants.
    database: Option<Arc<str>>,
    /// Absent: the user has no role, or no tenant.
    role: Option<Arc<str>>,
    /// The tenant's schema, where it has one.
    schema: Option<Arc<str>>,
}

/// Who is judged: a user, in a database, as a tenant. Cheap to clone; made once at login and after a reload.
#[derive(Debug, Clone)]
pub struct Subject {
    rules: Arc<Rules>,
}

/// A statement that policy let through.
#[derive(Debug, Clone, Copy)]
pub struct Admitted {
    generation: u64,
}

impl Admitted {
    /// The generation of the policy that judged it.
    pub fn generation(self) -> u64 {
        self.generation
    }
}

#[derive(Debug)]
pub enum Verdict {
    Allow(Admitted),
    Refuse(Refusal),
}

impl Policy {
    /// `generation`: the configuration's, counted from 1.
    pub fn compile(_config: &Config, generation: u64) -> Self {
        Self { generation, compiled: Mutex::default() }
    }

    /// The rules for a user in a database, as a tenant of it. In a database with tenants, without a tenant or without a role
    /// every statement is refused.
    pub fn subject(&self, user: &User, database: &Database, tenant: Option<&Tenant>) -> Subject {
        let role_and_tenant = user.role.as_deref().zip(tenant);
        let key = Key {
            pins: user.session_state == SessionState::Pin,
            database: database.tenancy.as_ref().map(|_| database.name.clone()),
            role: role_and_tenant.map(|(role, _)| role.name.clone()),
            schema: role_and_tenant.and_then(|(_, tenant)| schema_of(tenant)),
        };
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = compiled.get(&key).and_then(Weak::upgrade) {
            return Subject { rules };
        }
        let scope = match (&database.tenancy, role_and_tenant) {
            (None, _) => Scope::Open,
            (Some(tenancy), _) if tenancy.danger_open_policy => Scope::Open,
            (Some(_), None) => Scope::Closed,
            (Some(tenancy), Some((role, tenant))) => Scope::of_tenant(tenancy, role, &tenant.place),
        };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let rules = Arc::new(Rules { id, session_state: user.session_state, scope });
        if compiled.len() >= COMPILED_MAX {
            compiled.retain(|_, rules| rules.strong_count() > 0);
        }
        compiled.insert(key, Arc::downgrade(&rules));
        Subject { rules }
    }

    /// The rules for an account.
    pub fn subject_of(&self, account: &Account) -> Subject {
        self.subject(&account.user, &account.database, account.tenant.as_deref())
    }

    /// Whether `subject` may run a text. A verdict on an analysis that passed before is one comparison.
    #[inline]
    pub fn judge(&self, subject: &Subject, analysis: &Analysis) -> Verdict {
        if analysis.admission.is_by(subject.rules.id) {
            return Verdict::Allow(Admitted { generation: self.generation });
        }
        self.judge_anew(subject, analysis)
    }

    #[inline(never)]
    fn judge_anew(&self, subject: &Subject, analysis: &Analysis) -> Verdict {
        match subject.rules.judge(analysis) {
            Ok(()) => {
                analysis.admission.note(subject.rules.id);
                Verdict::Allow(Admitted { generation: self.generation })
            }
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// Whether `subject` may give a setting this value, as a startup parameter does. `name` in any letter case.
    pub fn allows_setting(&self, subject: &Subject, name: &str, value: &str) -> Result<(), Refusal> {
        match &subject.rules.scope {
            Scope::Open => Ok(()),
            Scope::Closed => Err(refusal::no_tenant()),
            Scope::Tenant(rules) => rules.setting(&name.to_ascii_lowercase(), &SettingValue::Text(value.to_owned())),
        }
    }
}

fn schema_of(tenant: &Tenant) -> Option<Arc<str>> {
    match &tenant.place {
        TenantPlace::Schema { schema, .. } => Some(schema.clone()),
        TenantPlace::Row { .. } | TenantPlace::Database { .. } => None,
    }
}

/// Numbers of compiled rules: above 0, and none is used twice, in any policy.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Compiled rules that are remembered before those that nobody uses are looked for.
const COMPILED_MAX: usize = 1024;
