//! Verdicts by tables of statements.

mod attacks;
mod generated;
mod introspection;
mod tables;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::rules::{Rules, Scope};
use super::{NEXT, Policy, Subject, Verdict};
use crate::config::{
    BaseRole, ContextKind, Isolation, Permit, PoolMode, PoolSettings, Rewrite, Role, RowIsolation, Secret, ServerAuth,
    ServerLogin, SessionState, Tenancy, TenantPlace,
};
use crate::sql::grammar;
use crate::tenant::{KeyType, TenantKey};

/// How the tenants of a test are kept apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Apart {
    Sealed,
    Setting,
    Schema,
    Database,
}

fn login() -> ServerLogin {
    let auth = ServerAuth { md5: Permit::Refuse, cleartext: Permit::Refuse };
    ServerLogin { user: "app".into(), password: Some(Secret::new("x")), auth }
}

fn tenancy(apart: Apart) -> Tenancy {
    let row = |context| {
        Isolation::Row(RowIsolation { context, column: "tenant_id".into(), key_type: KeyType::Bigint, login: login() })
    };
    Tenancy {
        isolation: match apart {
            Apart::Sealed => row(ContextKind::Sealed(Vec::new())),
            Apart::Setting => row(ContextKind::Setting("app.tenant_id".into())),
            Apart::Schema => Isolation::Schema,
            Apart::Database => Isolation::Database,
        },
        schemas: vec!["public".into(), "a".into()],
        functions: vec!["public.add_tax".into(), "similarity".into(), "public.pg_notify".into()],
        rewrite: Rewrite::Off,
        directory: None,
        danger_open_wall: false,
        danger_open_policy: false,
        pool: PoolSettings {
            mode: PoolMode::Transaction,
            size: 1,
            size_min: 0,
            server_idle_timeout: Duration::ZERO,
            server_lifetime: Duration::ZERO,
            prepared_max: 0,
            login_retry_min: Duration::ZERO,
            login_retry_max: Duration::ZERO,
        },
    }
}

fn place(apart: Apart) -> TenantPlace {
    match apart {
        Apart::Sealed | Apart::Setting => {
            TenantPlace::Row { key: TenantKey::parse(KeyType::Bigint, "1").expect("a key") }
        }
        Apart::Schema => TenantPlace::Schema { schema: "t1".into(), login: login() },
        Apart::Database => TenantPlace::Database { server_database: "t1".into(), login: login() },
    }
}

fn role(base: BaseRole) -> Role {
    Role { name: "tester".into(), base, allow: vec![], deny: vec![], tables: None, functions: vec![] }
}

fn subject_as(apart: Apart, role: &Role, session_state: SessionState) -> Subject {
    let scope = Scope::of_tenant(&tenancy(apart), role, &place(apart));
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    Subject { rules: Arc::new(Rules { id, session_state, scope }) }
}

fn subject(apart: Apart, base: BaseRole) -> Subject {
    subject_as(apart, &role(base), SessionState::Pin)
}

/// The rule that refuses a text; `None`: it passes, and passes again from memory.
fn refusal(subject: &Subject, text: &str) -> Option<super::Refusal> {
    let policy = Policy { generation: 1, compiled: Default::default() };
    let analysis = grammar::read(text.as_bytes());
    let first = match policy.judge(subject, &analysis) {
        Verdict::Allow(_) => None,
        Verdict::Refuse(refusal) => Some(refusal),
    };
    let again = match policy.judge(subject, &analysis) {
        Verdict::Allow(_) => None,
        Verdict::Refuse(refusal) => Some(refusal),
    };
    assert_eq!(first, again, "{text}");
    assert_eq!(analysis.admission.is_by(subject.rules.id), first.is_none(), "{text}");
    if let Some(refusal) = &first {
        let (_, states, _) = super::RULES.iter().find(|(rule, ..)| *rule == refusal.rule).expect("a rule of the list");
        assert!(states.contains(refusal.sqlstate.as_str()), "{text}: {refusal:?}");
        assert!(!refusal.message.is_empty() && refusal.hint.ends_with('.'), "{text}: {refusal:?}");
    }
    first
}

fn rule(subject: &Subject, text: &str) -> &'static str {
    refusal(subject, text).map_or("allow", |refusal| refusal.rule)
}
