//! Names of the kinds of statements, as configuration, metrics and the audit log have them.

use super::{DiscardTarget, StatementKind};

impl StatementKind {
    /// Every kind with its name, in the order of the reference.
    pub const ALL: [(Self, &'static str); 74] = {
        use StatementKind::*;
        [
            (Select, "select"),
            (Values, "values"),
            (Insert, "insert"),
            (Update, "update"),
            (Delete, "delete"),
            (Merge, "merge"),
            (CopyFrom, "copy_from"),
            (CopyTo, "copy_to"),
            (CopyFile, "copy_file"),
            (CopyProgram, "copy_program"),
            (Explain, "explain"),
            (ExplainAnalyze, "explain_analyze"),
            (Begin, "begin"),
            (Commit, "commit"),
            (CommitChain, "commit_chain"),
            (Rollback, "rollback"),
            (RollbackChain, "rollback_chain"),
            (Savepoint, "savepoint"),
            (Release, "release"),
            (RollbackTo, "rollback_to"),
            (PrepareTransaction, "prepare_transaction"),
            (CommitPrepared, "commit_prepared"),
            (RollbackPrepared, "rollback_prepared"),
            (Set, "set"),
            (SetLocal, "set_local"),
            (SetTransaction, "set_transaction"),
            (SetSessionCharacteristics, "set_session_characteristics"),
            (Reset, "reset"),
            (ResetAll, "reset_all"),
            (Show, "show"),
            (SetRole, "set_role"),
            (SetSessionAuthorization, "set_session_authorization"),
            (SetConstraints, "set_constraints"),
            (Discard(DiscardTarget::All), "discard_all"),
            (Discard(DiscardTarget::Plans), "discard_plans"),
            (Discard(DiscardTarget::Sequences), "discard_sequences"),
            (Discard(DiscardTarget::Temp), "discard_temp"),
            (Prepare, "prepare"),
            (Execute, "execute"),
            (Deallocate, "deallocate"),
            (DeallocateAll, "deallocate_all"),
            (Declare, "declare"),
            (Fetch, "fetch"),
            (Move, "move"),
            (Close, "close"),
            (CloseAll, "close_all"),
            (Listen, "listen"),
            (Unlisten, "unlisten"),
            (UnlistenAll, "unlisten_all"),
            (Notify, "notify"),
            (Lock, "lock"),
            (Load, "load"),
            (Do, "do"),
            (Call, "call"),
            (Checkpoint, "checkpoint"),
            (Vacuum, "vacuum"),
            (Analyze, "analyze"),
            (Cluster, "cluster"),
            (Reindex, "reindex"),
            (Refresh, "refresh"),
            (Create, "create"),
            (CreateTableAs, "create_table_as"),
            (SelectInto, "select_into"),
            (Alter, "alter"),
            (AlterSystem, "alter_system"),
            (Drop, "drop"),
            (Truncate, "truncate"),
            (Comment, "comment"),
            (Grant, "grant"),
            (SecurityLabel, "security_label"),
            (Import, "import"),
            (DefineFunction, "define_function"),
            (DefineTrigger, "define_trigger"),
            (Administer, "administer"),
        ]
    };

    /// The kind's name; `unknown` is none that configuration can name.
    pub fn label(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("unknown", |(_, label)| label)
    }

    /// The kind of this name.
    pub fn of_label(label: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, other)| *other == label).map(|(kind, _)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_one_kind_each() {
        for (kind, label) in StatementKind::ALL {
            assert_eq!(kind.label(), label);
            assert_eq!(StatementKind::of_label(label), Some(kind));
        }
        assert_eq!(StatementKind::Unknown.label(), "unknown");
        assert_eq!(StatementKind::of_label("unknown"), None);
    }
}
