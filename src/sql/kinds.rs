//! From a statement's node to its `StatementKind`, and from that to what it does with data.
//!
//! A node that is not listed is `StatementKind::Unknown`, which policy refuses.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, DiscardMode, TransactionStmtKind, VariableSetKind};

use super::{Access, DiscardTarget, StatementKind};

/// The kind of a top-level statement.
pub(super) fn kind_of(node: &NodeEnum) -> StatementKind {
    use StatementKind::*;
    match node {
        NodeEnum::SelectStmt(select) => kind_of_select(select),
        NodeEnum::InsertStmt(_) => Insert,
        NodeEnum::UpdateStmt(_) => Update,
        NodeEnum::DeleteStmt(_) => Delete,
        NodeEnum::MergeStmt(_) => Merge,
        NodeEnum::CopyStmt(copy) => match (copy.is_program, copy.filename.is_empty(), copy.is_from) {
            (true, _, _) => CopyProgram,
            (false, false, _) => CopyFile,
            (false, true, true) => CopyFrom,
            (false, true, false) => CopyTo,
        },
        NodeEnum::ExplainStmt(explain) => {
            if explain_runs(explain) {
                ExplainAnalyze
            } else {
                Explain
            }
        }
        NodeEnum::TransactionStmt(transaction) => transaction_kind(transaction),
        NodeEnum::VariableSetStmt(set) => set_kind(set),
        NodeEnum::VariableShowStmt(_) => Show,
        NodeEnum::ConstraintsSetStmt(_) => SetConstraints,
        NodeEnum::DiscardStmt(discard) => match DiscardMode::try_from(discard.target) {
            Ok(DiscardMode::DiscardAll) => Discard(DiscardTarget::All),
            Ok(DiscardMode::DiscardPlans) => Discard(DiscardTarget::Plans),
            Ok(DiscardMode::DiscardSequences) => Discard(DiscardTarget::Sequences),
            Ok(DiscardMode::DiscardTemp) => Discard(DiscardTarget::Temp),
            Ok(DiscardMode::Undefined) | Err(_) => Unknown,
        },
        NodeEnum::PrepareStmt(_) => Prepare,
        NodeEnum::ExecuteStmt(_) => Execute,
        NodeEnum::DeallocateStmt(deallocate) if deallocate.isall => DeallocateAll,
        NodeEnum::DeallocateStmt(_) => Deallocate,
        NodeEnum::DeclareCursorStmt(_) => Declare,
        NodeEnum::FetchStmt(fetch) if fetch.ismove => Move,
        NodeEnum::FetchStmt(_) => Fetch,
        NodeEnum::ClosePortalStmt(close) if close.portalname.is_empty() => CloseAll,
        NodeEnum::ClosePortalStmt(_) => Close,
        NodeEnum::ListenStmt(_) => Listen,
        NodeEnum::UnlistenStmt(unlisten) if unlisten.conditionname.is_empty() => UnlistenAll,
        NodeEnum::UnlistenStmt(_) => Unlisten,
        NodeEnum::NotifyStmt(_) => Notify,
        NodeEnum::LockStmt(_) => Lock,
        NodeEnum::LoadStmt(_) => Load,
        NodeEnum::DoStmt(_) => Do,
        NodeEnum::CallStmt(_) => Call,
        NodeEnum::CheckPointStmt(_) => Checkpoint,
        NodeEnum::VacuumStmt(vacuum) if vacuum.is_vacuumcmd => Vacuum,
        NodeEnum::VacuumStmt(_) => Analyze,
        NodeEnum::ClusterStmt(_) => Cluster,
        NodeEnum::ReindexStmt(_) => Reindex,
        NodeEnum::RefreshMatViewStmt(_) => Refresh,
        NodeEnum::CreateTableAsStmt(create) if create.is_select_into => SelectInto,
        NodeEnum::CreateTableAsStmt(_) => CreateTableAs,
        NodeEnum::AlterSystemStmt(_) => AlterSystem,
        NodeEnum::TruncateStmt(_) => Truncate,
        NodeEnum::CommentStmt(_) => Comment,
        NodeEnum::GrantStmt(grant) => of_grant(grant),
        NodeEnum::AlterDefaultPrivilegesStmt(_) => Grant,
        NodeEnum::GrantRoleStmt(_) => Administer,
        NodeEnum::SecLabelStmt(_) => SecurityLabel,
        NodeEnum::ImportForeignSchemaStmt(_) => Import,
        node => definition_kind(node),
    }
}

/// The kind of a SELECT, VALUES or TABLE.
pub(super) fn kind_of_select(select: &protobuf::SelectStmt) -> StatementKind {
    match select {
        select if takes_into(select) => StatementKind::SelectInto,
        select if !select.values_lists.is_empty() => StatementKind::Values,
        _ => StatementKind::Select,
    }
}

/// CREATE, ALTER and DROP of anything.
fn definition_kind(node: &NodeEnum) -> StatementKind {
    use StatementKind::*;
    match node {
        NodeEnum::CreateSchemaStmt(_)
        | NodeEnum::CreateStmt(_)
        | NodeEnum::CreateSeqStmt(_)
        | NodeEnum::CreateDomainStmt(_)
        | NodeEnum::IndexStmt(_)
        | NodeEnum::CreateStatsStmt(_)
        | NodeEnum::CompositeTypeStmt(_)
        | NodeEnum::CreateEnumStmt(_)
        | NodeEnum::CreateRangeStmt(_)
        | NodeEnum::ViewStmt(_) => Create,
        NodeEnum::DefineStmt(define) => of_object(define.kind, Create),
        NodeEnum::AlterTableStmt(alter) => of_object(alter.objtype, Alter),
        NodeEnum::AlterCollationStmt(_)
        | NodeEnum::AlterDomainStmt(_)
        | NodeEnum::AlterSeqStmt(_)
        | NodeEnum::AlterStatsStmt(_)
        | NodeEnum::AlterTypeStmt(_)
        | NodeEnum::AlterEnumStmt(_)
        | NodeEnum::AlterTsdictionaryStmt(_)
        | NodeEnum::AlterTsconfigurationStmt(_) => Alter,
        NodeEnum::RenameStmt(rename) => of_object(rename.rename_type, Alter),
        NodeEnum::AlterObjectSchemaStmt(alter) => of_object(alter.object_type, Alter),
        NodeEnum::AlterOwnerStmt(alter) => of_object(alter.object_type, Alter),
        NodeEnum::AlterObjectDependsStmt(alter) => of_object(alter.object_type, Alter),
        NodeEnum::DropStmt(drop) => of_object(drop.remove_type, Drop),
        NodeEnum::CreateFunctionStmt(_) | NodeEnum::AlterFunctionStmt(_) => DefineFunction,
        NodeEnum::CreateTrigStmt(_)
        | NodeEnum::RuleStmt(_)
        | NodeEnum::CreatePolicyStmt(_)
        | NodeEnum::AlterPolicyStmt(_) => DefineTrigger,
        NodeEnum::CreateTableSpaceStmt(_)
        | NodeEnum::CreateExtensionStmt(_)
        | NodeEnum::CreateFdwStmt(_)
        | NodeEnum::CreateForeignServerStmt(_)
        | NodeEnum::CreateForeignTableStmt(_)
        | NodeEnum::CreateUserMappingStmt(_)
        | NodeEnum::CreateAmStmt(_)
        | NodeEnum::CreateEventTrigStmt(_)
        | NodeEnum::CreatePlangStmt(_)
        | NodeEnum::CreateRoleStmt(_)
        | NodeEnum::CreateOpClassStmt(_)
        | NodeEnum::CreateOpFamilyStmt(_)
        | NodeEnum::CreatedbStmt(_)
        | NodeEnum::CreateConversionStmt(_)
        | NodeEnum::CreateCastStmt(_)
        | NodeEnum::CreateTransformStmt(_)
        | NodeEnum::CreatePublicationStmt(_)
        | NodeEnum::CreateSubscriptionStmt(_)
        | NodeEnum::DropTableSpaceStmt(_)
        | NodeEnum::DropUserMappingStmt(_)
        | NodeEnum::DropRoleStmt(_)
        | NodeEnum::DropdbStmt(_)
        | NodeEnum::DropOwnedStmt(_)
        | NodeEnum::DropSubscriptionStmt(_)
        | NodeEnum::AlterTableSpaceOptionsStmt(_)
        | NodeEnum::AlterTableMoveAllStmt(_)
        | NodeEnum::AlterExtensionStmt(_)
        | NodeEnum::AlterExtensionContentsStmt(_)
        | NodeEnum::AlterFdwStmt(_)
        | NodeEnum::AlterForeignServerStmt(_)
        | NodeEnum::AlterUserMappingStmt(_)
        | NodeEnum::AlterEventTrigStmt(_)
        | NodeEnum::AlterRoleStmt(_)
        | NodeEnum::AlterRoleSetStmt(_)
        | NodeEnum::AlterOpFamilyStmt(_)
        | NodeEnum::AlterOperatorStmt(_)
        | NodeEnum::AlterDatabaseStmt(_)
        | NodeEnum::AlterDatabaseRefreshCollStmt(_)
        | NodeEnum::AlterDatabaseSetStmt(_)
        | NodeEnum::ReassignOwnedStmt(_)
        | NodeEnum::AlterPublicationStmt(_)
        | NodeEnum::AlterSubscriptionStmt(_) => Administer,
        _ => Unknown,
    }
}

/// The kind of a definition by what it defines; `plain` for tables and the like.
fn of_object(kind: i32, plain: StatementKind) -> StatementKind {
    use protobuf::ObjectType::*;
    match protobuf::ObjectType::try_from(kind).unwrap_or(Undefined) {
        ObjectTable
        | ObjectView
        | ObjectMatview
        | ObjectIndex
        | ObjectSequence
        | ObjectColumn
        | ObjectAttribute
        | ObjectDefault
        | ObjectTabconstraint
        | ObjectDomain
        | ObjectDomconstraint
        | ObjectSchema
        | ObjectStatisticExt
        | ObjectCollation
        | ObjectTsconfiguration
        | ObjectTsdictionary => plain,
        // A base type has input and output functions of its own.
        ObjectType if plain == StatementKind::Create => StatementKind::Administer,
        ObjectType => plain,
        ObjectFunction | ObjectProcedure | ObjectRoutine | ObjectAggregate => StatementKind::DefineFunction,
        ObjectTrigger | ObjectRule | ObjectPolicy => StatementKind::DefineTrigger,
        Undefined
        | ObjectAccessMethod
        | ObjectAmop
        | ObjectAmproc
        | ObjectCast
        | ObjectConversion
        | ObjectDatabase
        | ObjectDefacl
        | ObjectEventTrigger
        | ObjectExtension
        | ObjectFdw
        | ObjectForeignServer
        | ObjectForeignTable
        | ObjectLanguage
        | ObjectLargeobject
        | ObjectOpclass
        | ObjectOperator
        | ObjectOpfamily
        | ObjectParameterAcl
        | ObjectPublication
        | ObjectPublicationNamespace
        | ObjectPublicationRel
        | ObjectRole
        | ObjectSubscription
        | ObjectTablespace
        | ObjectTransform
        | ObjectTsparser
        | ObjectTstemplate
        | ObjectUserMapping => StatementKind::Administer,
    }
}

/// Grants on what belongs to the database as a whole administer it.
fn of_grant(grant: &protobuf::GrantStmt) -> StatementKind {
    match of_object(grant.objtype, StatementKind::Grant) {
        StatementKind::DefineFunction => StatementKind::Grant,
        kind => kind,
    }
}

/// INTO may stand in the first member of a UNION.
fn takes_into(select: &protobuf::SelectStmt) -> bool {
    let mut select = select;
    loop {
        match (&select.into_clause, &select.larg) {
            (Some(_), _) => return true,
            (None, Some(first)) => select = first,
            (None, None) => return false,
        }
    }
}

/// Whether EXPLAIN runs the statement: ANALYZE, unless it is switched off by name.
pub(super) fn explain_runs(explain: &protobuf::ExplainStmt) -> bool {
    let options = explain.options.iter().filter_map(|option| match &option.node {
        Some(NodeEnum::DefElem(option)) if option.defname == "analyze" => Some(option),
        _ => None,
    });
    // The last one wins on the server; here any that is on does.
    options.into_iter().any(|option| match option.arg.as_ref().and_then(|arg| arg.node.as_ref()) {
        Some(NodeEnum::String(value)) => !["false", "off"].iter().any(|off| value.sval.eq_ignore_ascii_case(off)),
        Some(NodeEnum::Integer(value)) => value.ival != 0,
        Some(_) | None => true,
    })
}

fn transaction_kind(transaction: &protobuf::TransactionStmt) -> StatementKind {
    use StatementKind::*;
    match TransactionStmtKind::try_from(transaction.kind) {
        Ok(TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart) => Begin,
        Ok(TransactionStmtKind::TransStmtCommit) if transaction.chain => CommitChain,
        Ok(TransactionStmtKind::TransStmtCommit) => Commit,
        Ok(TransactionStmtKind::TransStmtRollback) if transaction.chain => RollbackChain,
        Ok(TransactionStmtKind::TransStmtRollback) => Rollback,
        Ok(TransactionStmtKind::TransStmtSavepoint) => Savepoint,
        Ok(TransactionStmtKind::TransStmtRelease) => Release,
        Ok(TransactionStmtKind::TransStmtRollbackTo) => RollbackTo,
        Ok(TransactionStmtKind::TransStmtPrepare) => PrepareTransaction,
        Ok(TransactionStmtKind::TransStmtCommitPrepared) => CommitPrepared,
        Ok(TransactionStmtKind::TransStmtRollbackPrepared) => RollbackPrepared,
        Ok(TransactionStmtKind::Undefined) | Err(_) => Unknown,
    }
}

fn set_kind(set: &protobuf::VariableSetStmt) -> StatementKind {
    use StatementKind::*;
    let name = set.name.to_ascii_lowercase();
    match VariableSetKind::try_from(set.kind) {
        Ok(VariableSetKind::VarSetMulti) if set.name == "SESSION CHARACTERISTICS" => SetSessionCharacteristics,
        Ok(VariableSetKind::VarSetMulti) if matches!(&*set.name, "TRANSACTION" | "TRANSACTION SNAPSHOT") => {
            SetTransaction
        }
        Ok(VariableSetKind::VarSetValue | VariableSetKind::VarSetDefault) => match (&*name, set.is_local) {
            ("role", _) => SetRole,
            ("session_authorization", _) => SetSessionAuthorization,
            (_, true) => SetLocal,
            (_, false) => Set,
        },
        Ok(VariableSetKind::VarReset) => Reset,
        Ok(VariableSetKind::VarResetAll) => ResetAll,
        Ok(VariableSetKind::VarSetMulti | VariableSetKind::VarSetCurrent | VariableSetKind::Undefined) | Err(_) => {
            Unknown
        }
    }
}

/// What a kind does with data by itself; its query may do more.
pub(super) fn access_of(kind: StatementKind) -> Access {
    use StatementKind::*;
    match kind {
        Select | Values | CopyTo | Explain | Show | Fetch | Move => Access::Read,
        // These take the access of the query inside.
        ExplainAnalyze | Prepare | Declare => Access::Read,
        Begin | Commit | CommitChain | Rollback | RollbackChain | Savepoint | Release | RollbackTo => Access::None,
        Set | SetLocal | SetTransaction | SetSessionCharacteristics | Reset | ResetAll | SetRole => Access::None,
        SetSessionAuthorization | SetConstraints | Discard(_) | Deallocate | DeallocateAll | Close => Access::None,
        CloseAll | Unlisten | UnlistenAll | Load | Checkpoint => Access::None,
        // A standby refuses these, or nobody knows what they do.
        Insert | Update | Delete | Merge | CopyFrom | CopyFile | CopyProgram | PrepareTransaction => Access::Write,
        CommitPrepared | RollbackPrepared | Execute | Listen | Notify | Lock | Do | Call | Vacuum => Access::Write,
        Analyze | Cluster | Reindex | Refresh | Create | CreateTableAs | SelectInto | Alter => Access::Write,
        AlterSystem | Drop | Truncate | Comment | Grant | SecurityLabel | Import | DefineFunction => Access::Write,
        DefineTrigger | Administer | Unknown => Access::Write,
    }
}
