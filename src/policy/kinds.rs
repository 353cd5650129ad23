//! Which kinds of statements a role has.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::{BaseRole, Role};
use crate::sql::{DiscardTarget, StatementKind};

/// A kind in a role's list that no statement has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKind {
    pub name: Arc<str>,
    /// A kind whose name is much like it.
    pub nearest: Option<&'static str>,
}

/// The names in `allow` and `deny` that are no kind's.
pub fn unknown_kinds(role: &Role) -> Vec<UnknownKind> {
    let names = role.allow.iter().chain(&role.deny).filter(|name| StatementKind::of_label(name).is_none());
    names.map(|name| UnknownKind { name: name.clone(), nearest: nearest(name) }).collect()
}

fn nearest(name: &str) -> Option<&'static str> {
    let labels = StatementKind::ALL.iter().map(|(_, label)| *label);
    let near = labels.map(|label| (strsim::jaro_winkler(name, label), label)).filter(|(near, _)| *near > 0.8);
    near.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, label)| label)
}

/// How much of the server is the tenant's own, as far as kinds depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// Tables, role and database are shared.
    Shared,
    /// The role is the tenant's own, the database is shared.
    OwnRole,
    /// The database is the tenant's own.
    OwnDatabase,
}

/// The kinds that a role has.
pub(super) fn of_role(role: &Role, ground: Ground) -> HashSet<StatementKind> {
    let of_labels =
        |names: &[Arc<str>]| names.iter().filter_map(|name| StatementKind::of_label(name)).collect::<Vec<_>>();
    let mut kinds: HashSet<_> = of_base(role.base, ground).collect();
    kinds.extend(of_labels(&role.allow));
    let denied = of_labels(&role.deny);
    kinds.retain(|kind| !denied.contains(kind) && !NEVER.contains(kind));
    kinds
}

fn of_base(base: BaseRole, ground: Ground) -> impl Iterator<Item = StatementKind> {
    let (writes, owns) = match base {
        BaseRole::Reader | BaseRole::Operator => (false, false),
        BaseRole::Writer => (true, false),
        BaseRole::Owner => (true, ground != Ground::Shared),
    };
    let mut kinds: Vec<&'static [StatementKind]> = vec![&READS];
    if writes {
        kinds.push(&WRITES);
    }
    if writes && ground == Ground::OwnDatabase {
        kinds.push(&NOTIFIES);
    }
    if owns {
        kinds.push(&OWNS);
    }
    kinds.into_iter().flatten().copied()
}

use StatementKind as Kind;

const READS: [StatementKind; 35] = [
    Kind::Select,
    Kind::Values,
    Kind::CopyTo,
    Kind::Explain,
    Kind::Begin,
    Kind::Commit,
    Kind::CommitChain,
    Kind::Rollback,
    Kind::RollbackChain,
    Kind::Savepoint,
    Kind::Release,
    Kind::RollbackTo,
    Kind::Set,
    Kind::SetLocal,
    Kind::SetTransaction,
    Kind::SetSessionCharacteristics,
    Kind::SetConstraints,
    Kind::Reset,
    Kind::ResetAll,
    Kind::Show,
    Kind::Discard(DiscardTarget::All),
    Kind::Discard(DiscardTarget::Plans),
    Kind::Discard(DiscardTarget::Sequences),
    Kind::Discard(DiscardTarget::Temp),
    Kind::Prepare,
    Kind::Execute,
    Kind::Deallocate,
    Kind::DeallocateAll,
    Kind::Declare,
    Kind::Fetch,
    Kind::Move,
    Kind::Close,
    Kind::CloseAll,
    Kind::UnlistenAll,
    Kind::Unlisten,
];

const WRITES: [StatementKind; 8] = [
    Kind::Insert,
    Kind::Update,
    Kind::Delete,
    Kind::Merge,
    Kind::CopyFrom,
    Kind::ExplainAnalyze,
    Kind::Lock,
    // Of the procedures that are listed.
    Kind::Call,
];

const NOTIFIES: [StatementKind; 2] = [Kind::Listen, Kind::Notify];

const OWNS: [StatementKind; 14] = [
    Kind::Create,
    Kind::CreateTableAs,
    Kind::SelectInto,
    Kind::Alter,
    Kind::Drop,
    Kind::Truncate,
    Kind::Comment,
    Kind::Grant,
    Kind::Vacuum,
    Kind::Analyze,
    Kind::Cluster,
    Kind::Reindex,
    Kind::Refresh,
    Kind::DefineTrigger,
];

/// What no configuration gives a tenant: to be somebody else, the server's files and programs, the server's configuration.
const NEVER: [StatementKind; 7] = [
    Kind::SetRole,
    Kind::SetSessionAuthorization,
    Kind::AlterSystem,
    Kind::CopyFile,
    Kind::CopyProgram,
    Kind::Load,
    Kind::Unknown,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_none_is_told_with_the_nearest() {
        let role = Role {
            name: "r".into(),
            base: BaseRole::Reader,
            allow: vec!["explain_analyse".into(), "lock".into()],
            deny: vec!["zzz".into()],
            tables: None,
            functions: Vec::new(),
        };
        let unknown = |name: &str, nearest| UnknownKind { name: name.into(), nearest };
        assert_eq!(unknown_kinds(&role), [unknown("explain_analyse", Some("explain_analyze")), unknown("zzz", None)]);
    }

    #[test]
    fn roles_have_what_their_base_has_and_what_is_allowed_less_what_is_denied() {
        let role = |base, allow: &[&str], deny: &[&str]| Role {
            name: "r".into(),
            base,
            allow: allow.iter().map(|name| (*name).into()).collect(),
            deny: deny.iter().map(|name| (*name).into()).collect(),
            tables: None,
            functions: Vec::new(),
        };
        let kinds = of_role(&role(BaseRole::Writer, &["truncate", "set_role", "load"], &["merge"]), Ground::Shared);
        assert!(kinds.contains(&Kind::Truncate) && kinds.contains(&Kind::Insert));
        assert!(!kinds.contains(&Kind::Merge) && !kinds.contains(&Kind::SetRole) && !kinds.contains(&Kind::Load));
        assert!(!of_role(&role(BaseRole::Owner, &[], &[]), Ground::Shared).contains(&Kind::Create));
        assert!(of_role(&role(BaseRole::Owner, &[], &[]), Ground::OwnRole).contains(&Kind::Create));
        let reader = of_role(&role(BaseRole::Reader, &[], &[]), Ground::OwnDatabase);
        assert_eq!(reader, of_role(&role(BaseRole::Operator, &[], &[]), Ground::OwnDatabase));
        assert!(!reader.contains(&Kind::Insert) && !reader.contains(&Kind::Notify));
    }
}
