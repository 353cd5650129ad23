//! A parse tree to be changed: the way to every child, and every position erased. Made by `scripts/sql_tree_mut.py` from pg_query's own messages.
//!
//! The patterns name every field, so a pg_query with other fields does not compile. Nothing here recurses: a caller keeps
//! its own stack.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, Node};

/// A reference to any message of a parse tree, to change it.
#[rustfmt::skip]
pub(crate) enum TreeMut<'a> {
    Alias(&'a mut protobuf::Alias),
    RangeVar(&'a mut protobuf::RangeVar),
    TableFunc(&'a mut protobuf::TableFunc),
    IntoClause(&'a mut protobuf::IntoClause),
    Var(&'a mut protobuf::Var),
    Param(&'a mut protobuf::Param),
    Aggref(&'a mut protobuf::Aggref),
    GroupingFunc(&'a mut protobuf::GroupingFunc),
    WindowFunc(&'a mut protobuf::WindowFunc),
    WindowFuncRunCondition(&'a mut protobuf::WindowFuncRunCondition),
    MergeSupportFunc(&'a mut protobuf::MergeSupportFunc),
    SubscriptingRef(&'a mut protobuf::SubscriptingRef),
    FuncExpr(&'a mut protobuf::FuncExpr),
    NamedArgExpr(&'a mut protobuf::NamedArgExpr),
    OpExpr(&'a mut protobuf::OpExpr),
    DistinctExpr(&'a mut protobuf::DistinctExpr),
    NullIfExpr(&'a mut protobuf::NullIfExpr),
    ScalarArrayOpExpr(&'a mut protobuf::ScalarArrayOpExpr),
    BoolExpr(&'a mut protobuf::BoolExpr),
    SubLink(&'a mut protobuf::SubLink),
    SubPlan(&'a mut protobuf::SubPlan),
    AlternativeSubPlan(&'a mut protobuf::AlternativeSubPlan),
    FieldSelect(&'a mut protobuf::FieldSelect),
    FieldStore(&'a mut protobuf::FieldStore),
    RelabelType(&'a mut protobuf::RelabelType),
    CoerceViaIo(&'a mut protobuf::CoerceViaIo),
    ArrayCoerceExpr(&'a mut protobuf::ArrayCoerceExpr),
    ConvertRowtypeExpr(&'a mut protobuf::ConvertRowtypeExpr),
    CollateExpr(&'a mut protobuf::CollateExpr),
    CaseExpr(&'a mut protobuf::CaseExpr),
    CaseWhen(&'a mut protobuf::CaseWhen),
    CaseTestExpr(&'a mut protobuf::CaseTestExpr),
    ArrayExpr(&'a mut protobuf::ArrayExpr),
    RowExpr(&'a mut protobuf::RowExpr),
    RowCompareExpr(&'a mut protobuf::RowCompareExpr),
    CoalesceExpr(&'a mut protobuf::CoalesceExpr),
    MinMaxExpr(&'a mut protobuf::MinMaxExpr),
    SqlValueFunction(&'a mut protobuf::SqlValueFunction),
    XmlExpr(&'a mut protobuf::XmlExpr),
    JsonFormat(&'a mut protobuf::JsonFormat),
    JsonReturning(&'a mut protobuf::JsonReturning),
    JsonValueExpr(&'a mut protobuf::JsonValueExpr),
    JsonConstructorExpr(&'a mut protobuf::JsonConstructorExpr),
    JsonIsPredicate(&'a mut protobuf::JsonIsPredicate),
    JsonBehavior(&'a mut protobuf::JsonBehavior),
    JsonExpr(&'a mut protobuf::JsonExpr),
    JsonTablePath(&'a mut protobuf::JsonTablePath),
    JsonTablePathScan(&'a mut protobuf::JsonTablePathScan),
    JsonTableSiblingJoin(&'a mut protobuf::JsonTableSiblingJoin),
    NullTest(&'a mut protobuf::NullTest),
    BooleanTest(&'a mut protobuf::BooleanTest),
    MergeAction(&'a mut protobuf::MergeAction),
    CoerceToDomain(&'a mut protobuf::CoerceToDomain),
    CoerceToDomainValue(&'a mut protobuf::CoerceToDomainValue),
    SetToDefault(&'a mut protobuf::SetToDefault),
    CurrentOfExpr(&'a mut protobuf::CurrentOfExpr),
    NextValueExpr(&'a mut protobuf::NextValueExpr),
    InferenceElem(&'a mut protobuf::InferenceElem),
    ReturningExpr(&'a mut protobuf::ReturningExpr),
    TargetEntry(&'a mut protobuf::TargetEntry),
    RangeTblRef(&'a mut protobuf::RangeTblRef),
    JoinExpr(&'a mut protobuf::JoinExpr),
    FromExpr(&'a mut protobuf::FromExpr),
    OnConflictExpr(&'a mut protobuf::OnConflictExpr),
    Query(&'a mut protobuf::Query),
    TypeName(&'a mut protobuf::TypeName),
    ColumnRef(&'a mut protobuf::ColumnRef),
    ParamRef(&'a mut protobuf::ParamRef),
    AExpr(&'a mut protobuf::AExpr),
    TypeCast(&'a mut protobuf::TypeCast),
    CollateClause(&'a mut protobuf::CollateClause),
    RoleSpec(&'a mut protobuf::RoleSpec),
    FuncCall(&'a mut protobuf::FuncCall),
    AStar(&'a mut protobuf::AStar),
    AIndices(&'a mut protobuf::AIndices),
    AIndirection(&'a mut protobuf::AIndirection),
    AArrayExpr(&'a mut protobuf::AArrayExpr),
    ResTarget(&'a mut protobuf::ResTarget),
    MultiAssignRef(&'a mut protobuf::MultiAssignRef),
    SortBy(&'a mut protobuf::SortBy),
    WindowDef(&'a mut protobuf::WindowDef),
    RangeSubselect(&'a mut protobuf::RangeSubselect),
    RangeFunction(&'a mut protobuf::RangeFunction),
    RangeTableFunc(&'a mut protobuf::RangeTableFunc),
    RangeTableFuncCol(&'a mut protobuf::RangeTableFuncCol),
    RangeTableSample(&'a mut protobuf::RangeTableSample),
    ColumnDef(&'a mut protobuf::ColumnDef),
    TableLikeClause(&'a mut protobuf::TableLikeClause),
    IndexElem(&'a mut protobuf::IndexElem),
    DefElem(&'a mut protobuf::DefElem),
    LockingClause(&'a mut protobuf::LockingClause),
    XmlSerialize(&'a mut protobuf::XmlSerialize),
    PartitionElem(&'a mut protobuf::PartitionElem),
    PartitionSpec(&'a mut protobuf::PartitionSpec),
    PartitionBoundSpec(&'a mut protobuf::PartitionBoundSpec),
    PartitionRangeDatum(&'a mut protobuf::PartitionRangeDatum),
    PartitionCmd(&'a mut protobuf::PartitionCmd),
    RangeTblEntry(&'a mut protobuf::RangeTblEntry),
    RtePermissionInfo(&'a mut protobuf::RtePermissionInfo),
    RangeTblFunction(&'a mut protobuf::RangeTblFunction),
    TableSampleClause(&'a mut protobuf::TableSampleClause),
    WithCheckOption(&'a mut protobuf::WithCheckOption),
    SortGroupClause(&'a mut protobuf::SortGroupClause),
    GroupingSet(&'a mut protobuf::GroupingSet),
    WindowClause(&'a mut protobuf::WindowClause),
    RowMarkClause(&'a mut protobuf::RowMarkClause),
    WithClause(&'a mut protobuf::WithClause),
    InferClause(&'a mut protobuf::InferClause),
    OnConflictClause(&'a mut protobuf::OnConflictClause),
    CteSearchClause(&'a mut protobuf::CteSearchClause),
    CteCycleClause(&'a mut protobuf::CteCycleClause),
    CommonTableExpr(&'a mut protobuf::CommonTableExpr),
    MergeWhenClause(&'a mut protobuf::MergeWhenClause),
    ReturningOption(&'a mut protobuf::ReturningOption),
    ReturningClause(&'a mut protobuf::ReturningClause),
    TriggerTransition(&'a mut protobuf::TriggerTransition),
    JsonOutput(&'a mut protobuf::JsonOutput),
    JsonArgument(&'a mut protobuf::JsonArgument),
    JsonFuncExpr(&'a mut protobuf::JsonFuncExpr),
    JsonTablePathSpec(&'a mut protobuf::JsonTablePathSpec),
    JsonTable(&'a mut protobuf::JsonTable),
    JsonTableColumn(&'a mut protobuf::JsonTableColumn),
    JsonKeyValue(&'a mut protobuf::JsonKeyValue),
    JsonParseExpr(&'a mut protobuf::JsonParseExpr),
    JsonScalarExpr(&'a mut protobuf::JsonScalarExpr),
    JsonSerializeExpr(&'a mut protobuf::JsonSerializeExpr),
    JsonObjectConstructor(&'a mut protobuf::JsonObjectConstructor),
    JsonArrayConstructor(&'a mut protobuf::JsonArrayConstructor),
    JsonArrayQueryConstructor(&'a mut protobuf::JsonArrayQueryConstructor),
    JsonAggConstructor(&'a mut protobuf::JsonAggConstructor),
    JsonObjectAgg(&'a mut protobuf::JsonObjectAgg),
    JsonArrayAgg(&'a mut protobuf::JsonArrayAgg),
    RawStmt(&'a mut protobuf::RawStmt),
    InsertStmt(&'a mut protobuf::InsertStmt),
    DeleteStmt(&'a mut protobuf::DeleteStmt),
    UpdateStmt(&'a mut protobuf::UpdateStmt),
    MergeStmt(&'a mut protobuf::MergeStmt),
    SelectStmt(&'a mut protobuf::SelectStmt),
    SetOperationStmt(&'a mut protobuf::SetOperationStmt),
    ReturnStmt(&'a mut protobuf::ReturnStmt),
    PlAssignStmt(&'a mut protobuf::PlAssignStmt),
    CreateSchemaStmt(&'a mut protobuf::CreateSchemaStmt),
    AlterTableStmt(&'a mut protobuf::AlterTableStmt),
    AlterTableCmd(&'a mut protobuf::AlterTableCmd),
    AtAlterConstraint(&'a mut protobuf::AtAlterConstraint),
    ReplicaIdentityStmt(&'a mut protobuf::ReplicaIdentityStmt),
    AlterCollationStmt(&'a mut protobuf::AlterCollationStmt),
    AlterDomainStmt(&'a mut protobuf::AlterDomainStmt),
    GrantStmt(&'a mut protobuf::GrantStmt),
    ObjectWithArgs(&'a mut protobuf::ObjectWithArgs),
    AccessPriv(&'a mut protobuf::AccessPriv),
    GrantRoleStmt(&'a mut protobuf::GrantRoleStmt),
    AlterDefaultPrivilegesStmt(&'a mut protobuf::AlterDefaultPrivilegesStmt),
    CopyStmt(&'a mut protobuf::CopyStmt),
    VariableSetStmt(&'a mut protobuf::VariableSetStmt),
    VariableShowStmt(&'a mut protobuf::VariableShowStmt),
    CreateStmt(&'a mut protobuf::CreateStmt),
    Constraint(&'a mut protobuf::Constraint),
    CreateTableSpaceStmt(&'a mut protobuf::CreateTableSpaceStmt),
    DropTableSpaceStmt(&'a mut protobuf::DropTableSpaceStmt),
    AlterTableSpaceOptionsStmt(&'a mut protobuf::AlterTableSpaceOptionsStmt),
    AlterTableMoveAllStmt(&'a mut protobuf::AlterTableMoveAllStmt),
    CreateExtensionStmt(&'a mut protobuf::CreateExtensionStmt),
    AlterExtensionStmt(&'a mut protobuf::AlterExtensionStmt),
    AlterExtensionContentsStmt(&'a mut protobuf::AlterExtensionContentsStmt),
    CreateFdwStmt(&'a mut protobuf::CreateFdwStmt),
    AlterFdwStmt(&'a mut protobuf::AlterFdwStmt),
    CreateForeignServerStmt(&'a mut protobuf::CreateForeignServerStmt),
    AlterForeignServerStmt(&'a mut protobuf::AlterForeignServerStmt),
    CreateForeignTableStmt(&'a mut protobuf::CreateForeignTableStmt),
    CreateUserMappingStmt(&'a mut protobuf::CreateUserMappingStmt),
    AlterUserMappingStmt(&'a mut protobuf::AlterUserMappingStmt),
    DropUserMappingStmt(&'a mut protobuf::DropUserMappingStmt),
    ImportForeignSchemaStmt(&'a mut protobuf::ImportForeignSchemaStmt),
    CreatePolicyStmt(&'a mut protobuf::CreatePolicyStmt),
    AlterPolicyStmt(&'a mut protobuf::AlterPolicyStmt),
    CreateAmStmt(&'a mut protobuf::CreateAmStmt),
    CreateTrigStmt(&'a mut protobuf::CreateTrigStmt),
    CreateEventTrigStmt(&'a mut protobuf::CreateEventTrigStmt),
    AlterEventTrigStmt(&'a mut protobuf::AlterEventTrigStmt),
    CreatePLangStmt(&'a mut protobuf::CreatePLangStmt),
    CreateRoleStmt(&'a mut protobuf::CreateRoleStmt),
    AlterRoleStmt(&'a mut protobuf::AlterRoleStmt),
    AlterRoleSetStmt(&'a mut protobuf::AlterRoleSetStmt),
    DropRoleStmt(&'a mut protobuf::DropRoleStmt),
    CreateSeqStmt(&'a mut protobuf::CreateSeqStmt),
    AlterSeqStmt(&'a mut protobuf::AlterSeqStmt),
    DefineStmt(&'a mut protobuf::DefineStmt),
    CreateDomainStmt(&'a mut protobuf::CreateDomainStmt),
    CreateOpClassStmt(&'a mut protobuf::CreateOpClassStmt),
    CreateOpClassItem(&'a mut protobuf::CreateOpClassItem),
    CreateOpFamilyStmt(&'a mut protobuf::CreateOpFamilyStmt),
    AlterOpFamilyStmt(&'a mut protobuf::AlterOpFamilyStmt),
    DropStmt(&'a mut protobuf::DropStmt),
    TruncateStmt(&'a mut protobuf::TruncateStmt),
    CommentStmt(&'a mut protobuf::CommentStmt),
    SecLabelStmt(&'a mut protobuf::SecLabelStmt),
    DeclareCursorStmt(&'a mut protobuf::DeclareCursorStmt),
    ClosePortalStmt(&'a mut protobuf::ClosePortalStmt),
    FetchStmt(&'a mut protobuf::FetchStmt),
    IndexStmt(&'a mut protobuf::IndexStmt),
    CreateStatsStmt(&'a mut protobuf::CreateStatsStmt),
    StatsElem(&'a mut protobuf::StatsElem),
    AlterStatsStmt(&'a mut protobuf::AlterStatsStmt),
    CreateFunctionStmt(&'a mut protobuf::CreateFunctionStmt),
    FunctionParameter(&'a mut protobuf::FunctionParameter),
    AlterFunctionStmt(&'a mut protobuf::AlterFunctionStmt),
    DoStmt(&'a mut protobuf::DoStmt),
    InlineCodeBlock(&'a mut protobuf::InlineCodeBlock),
    CallStmt(&'a mut protobuf::CallStmt),
    CallContext(&'a mut protobuf::CallContext),
    RenameStmt(&'a mut protobuf::RenameStmt),
    AlterObjectDependsStmt(&'a mut protobuf::AlterObjectDependsStmt),
    AlterObjectSchemaStmt(&'a mut protobuf::AlterObjectSchemaStmt),
    AlterOwnerStmt(&'a mut protobuf::AlterOwnerStmt),
    AlterOperatorStmt(&'a mut protobuf::AlterOperatorStmt),
    AlterTypeStmt(&'a mut protobuf::AlterTypeStmt),
    RuleStmt(&'a mut protobuf::RuleStmt),
    NotifyStmt(&'a mut protobuf::NotifyStmt),
    ListenStmt(&'a mut protobuf::ListenStmt),
    UnlistenStmt(&'a mut protobuf::UnlistenStmt),
    TransactionStmt(&'a mut protobuf::TransactionStmt),
    CompositeTypeStmt(&'a mut protobuf::CompositeTypeStmt),
    CreateEnumStmt(&'a mut protobuf::CreateEnumStmt),
    CreateRangeStmt(&'a mut protobuf::CreateRangeStmt),
    AlterEnumStmt(&'a mut protobuf::AlterEnumStmt),
    ViewStmt(&'a mut protobuf::ViewStmt),
    LoadStmt(&'a mut protobuf::LoadStmt),
    CreatedbStmt(&'a mut protobuf::CreatedbStmt),
    AlterDatabaseStmt(&'a mut protobuf::AlterDatabaseStmt),
    AlterDatabaseRefreshCollStmt(&'a mut protobuf::AlterDatabaseRefreshCollStmt),
    AlterDatabaseSetStmt(&'a mut protobuf::AlterDatabaseSetStmt),
    DropdbStmt(&'a mut protobuf::DropdbStmt),
    AlterSystemStmt(&'a mut protobuf::AlterSystemStmt),
    ClusterStmt(&'a mut protobuf::ClusterStmt),
    VacuumStmt(&'a mut protobuf::VacuumStmt),
    VacuumRelation(&'a mut protobuf::VacuumRelation),
    ExplainStmt(&'a mut protobuf::ExplainStmt),
    CreateTableAsStmt(&'a mut protobuf::CreateTableAsStmt),
    RefreshMatViewStmt(&'a mut protobuf::RefreshMatViewStmt),
    CheckPointStmt(&'a mut protobuf::CheckPointStmt),
    DiscardStmt(&'a mut protobuf::DiscardStmt),
    LockStmt(&'a mut protobuf::LockStmt),
    ConstraintsSetStmt(&'a mut protobuf::ConstraintsSetStmt),
    ReindexStmt(&'a mut protobuf::ReindexStmt),
    CreateConversionStmt(&'a mut protobuf::CreateConversionStmt),
    CreateCastStmt(&'a mut protobuf::CreateCastStmt),
    CreateTransformStmt(&'a mut protobuf::CreateTransformStmt),
    PrepareStmt(&'a mut protobuf::PrepareStmt),
    ExecuteStmt(&'a mut protobuf::ExecuteStmt),
    DeallocateStmt(&'a mut protobuf::DeallocateStmt),
    DropOwnedStmt(&'a mut protobuf::DropOwnedStmt),
    ReassignOwnedStmt(&'a mut protobuf::ReassignOwnedStmt),
    AlterTsDictionaryStmt(&'a mut protobuf::AlterTsDictionaryStmt),
    AlterTsConfigurationStmt(&'a mut protobuf::AlterTsConfigurationStmt),
    PublicationTable(&'a mut protobuf::PublicationTable),
    PublicationObjSpec(&'a mut protobuf::PublicationObjSpec),
    CreatePublicationStmt(&'a mut protobuf::CreatePublicationStmt),
    AlterPublicationStmt(&'a mut protobuf::AlterPublicationStmt),
    CreateSubscriptionStmt(&'a mut protobuf::CreateSubscriptionStmt),
    AlterSubscriptionStmt(&'a mut protobuf::AlterSubscriptionStmt),
    DropSubscriptionStmt(&'a mut protobuf::DropSubscriptionStmt),
    Integer(&'a mut protobuf::Integer),
    Float(&'a mut protobuf::Float),
    Boolean(&'a mut protobuf::Boolean),
    String(&'a mut protobuf::String),
    BitString(&'a mut protobuf::BitString),
    List(&'a mut protobuf::List),
    IntList(&'a mut protobuf::IntList),
    OidList(&'a mut protobuf::OidList),
    AConst(&'a mut protobuf::AConst),
}

impl<'a> From<&'a mut NodeEnum> for TreeMut<'a> {
    #[rustfmt::skip]
    fn from(node: &'a mut NodeEnum) -> Self {
        match node {
            NodeEnum::Alias(message) => TreeMut::Alias(message),
            NodeEnum::RangeVar(message) => TreeMut::RangeVar(message),
            NodeEnum::TableFunc(message) => TreeMut::TableFunc(message),
            NodeEnum::IntoClause(message) => TreeMut::IntoClause(message),
            NodeEnum::Var(message) => TreeMut::Var(message),
            NodeEnum::Param(message) => TreeMut::Param(message),
            NodeEnum::Aggref(message) => TreeMut::Aggref(message),
            NodeEnum::GroupingFunc(message) => TreeMut::GroupingFunc(message),
            NodeEnum::WindowFunc(message) => TreeMut::WindowFunc(message),
            NodeEnum::WindowFuncRunCondition(message) => TreeMut::WindowFuncRunCondition(message),
            NodeEnum::MergeSupportFunc(message) => TreeMut::MergeSupportFunc(message),
            NodeEnum::SubscriptingRef(message) => TreeMut::SubscriptingRef(message),
            NodeEnum::FuncExpr(message) => TreeMut::FuncExpr(message),
            NodeEnum::NamedArgExpr(message) => TreeMut::NamedArgExpr(message),
            NodeEnum::OpExpr(message) => TreeMut::OpExpr(message),
            NodeEnum::DistinctExpr(message) => TreeMut::DistinctExpr(message),
            NodeEnum::NullIfExpr(message) => TreeMut::NullIfExpr(message),
            NodeEnum::ScalarArrayOpExpr(message) => TreeMut::ScalarArrayOpExpr(message),
            NodeEnum::BoolExpr(message) => TreeMut::BoolExpr(message),
            NodeEnum::SubLink(message) => TreeMut::SubLink(message),
            NodeEnum::SubPlan(message) => TreeMut::SubPlan(message),
            NodeEnum::AlternativeSubPlan(message) => TreeMut::AlternativeSubPlan(message),
            NodeEnum::FieldSelect(message) => TreeMut::FieldSelect(message),
            NodeEnum::FieldStore(message) => TreeMut::FieldStore(message),
            NodeEnum::RelabelType(message) => TreeMut::RelabelType(message),
            NodeEnum::CoerceViaIo(message) => TreeMut::CoerceViaIo(message),
            NodeEnum::ArrayCoerceExpr(message) => TreeMut::ArrayCoerceExpr(message),
            NodeEnum::ConvertRowtypeExpr(message) => TreeMut::ConvertRowtypeExpr(message),
            NodeEnum::CollateExpr(message) => TreeMut::CollateExpr(message),
            NodeEnum::CaseExpr(message) => TreeMut::CaseExpr(message),
            NodeEnum::CaseWhen(message) => TreeMut::CaseWhen(message),
            NodeEnum::CaseTestExpr(message) => TreeMut::CaseTestExpr(message),
            NodeEnum::ArrayExpr(message) => TreeMut::ArrayExpr(message),
            NodeEnum::RowExpr(message) => TreeMut::RowExpr(message),
            NodeEnum::RowCompareExpr(message) => TreeMut::RowCompareExpr(message),
            NodeEnum::CoalesceExpr(message) => TreeMut::CoalesceExpr(message),
            NodeEnum::MinMaxExpr(message) => TreeMut::MinMaxExpr(message),
            NodeEnum::SqlvalueFunction(message) => TreeMut::SqlValueFunction(message),
            NodeEnum::XmlExpr(message) => TreeMut::XmlExpr(message),
            NodeEnum::JsonFormat(message) => TreeMut::JsonFormat(message),
            NodeEnum::JsonReturning(message) => TreeMut::JsonReturning(message),
            NodeEnum::JsonValueExpr(message) => TreeMut::JsonValueExpr(message),
            NodeEnum::JsonConstructorExpr(message) => TreeMut::JsonConstructorExpr(message),
            NodeEnum::JsonIsPredicate(message) => TreeMut::JsonIsPredicate(message),
            NodeEnum::JsonBehavior(message) => TreeMut::JsonBehavior(message),
            NodeEnum::JsonExpr(message) => TreeMut::JsonExpr(message),
            NodeEnum::JsonTablePath(message) => TreeMut::JsonTablePath(message),
            NodeEnum::JsonTablePathScan(message) => TreeMut::JsonTablePathScan(message),
            NodeEnum::JsonTableSiblingJoin(message) => TreeMut::JsonTableSiblingJoin(message),
            NodeEnum::NullTest(message) => TreeMut::NullTest(message),
            NodeEnum::BooleanTest(message) => TreeMut::BooleanTest(message),
            NodeEnum::MergeAction(message) => TreeMut::MergeAction(message),
            NodeEnum::CoerceToDomain(message) => TreeMut::CoerceToDomain(message),
            NodeEnum::CoerceToDomainValue(message) => TreeMut::CoerceToDomainValue(message),
            NodeEnum::SetToDefault(message) => TreeMut::SetToDefault(message),
            NodeEnum::CurrentOfExpr(message) => TreeMut::CurrentOfExpr(message),
            NodeEnum::NextValueExpr(message) => TreeMut::NextValueExpr(message),
            NodeEnum::InferenceElem(message) => TreeMut::InferenceElem(message),
            NodeEnum::ReturningExpr(message) => TreeMut::ReturningExpr(message),
            NodeEnum::TargetEntry(message) => TreeMut::TargetEntry(message),
            NodeEnum::RangeTblRef(message) => TreeMut::RangeTblRef(message),
            NodeEnum::JoinExpr(message) => TreeMut::JoinExpr(message),
            NodeEnum::FromExpr(message) => TreeMut::FromExpr(message),
            NodeEnum::OnConflictExpr(message) => TreeMut::OnConflictExpr(message),
            NodeEnum::Query(message) => TreeMut::Query(message),
            NodeEnum::TypeName(message) => TreeMut::TypeName(message),
            NodeEnum::ColumnRef(message) => TreeMut::ColumnRef(message),
            NodeEnum::ParamRef(message) => TreeMut::ParamRef(message),
            NodeEnum::AExpr(message) => TreeMut::AExpr(message),
            NodeEnum::TypeCast(message) => TreeMut::TypeCast(message),
            NodeEnum::CollateClause(message) => TreeMut::CollateClause(message),
            NodeEnum::RoleSpec(message) => TreeMut::RoleSpec(message),
            NodeEnum::FuncCall(message) => TreeMut::FuncCall(message),
            NodeEnum::AStar(message) => TreeMut::AStar(message),
            NodeEnum::AIndices(message) => TreeMut::AIndices(message),
            NodeEnum::AIndirection(message) => TreeMut::AIndirection(message),
            NodeEnum::AArrayExpr(message) => TreeMut::AArrayExpr(message),
            NodeEnum::ResTarget(message) => TreeMut::ResTarget(message),
            NodeEnum::MultiAssignRef(message) => TreeMut::MultiAssignRef(message),
            NodeEnum::SortBy(message) => TreeMut::SortBy(message),
            NodeEnum::WindowDef(message) => TreeMut::WindowDef(message),
            NodeEnum::RangeSubselect(message) => TreeMut::RangeSubselect(message),
            NodeEnum::RangeFunction(message) => TreeMut::RangeFunction(message),
            NodeEnum::RangeTableFunc(message) => TreeMut::RangeTableFunc(message),
            NodeEnum::RangeTableFuncCol(message) => TreeMut::RangeTableFuncCol(message),
            NodeEnum::RangeTableSample(message) => TreeMut::RangeTableSample(message),
            NodeEnum::ColumnDef(message) => TreeMut::ColumnDef(message),
            NodeEnum::TableLikeClause(message) => TreeMut::TableLikeClause(message),
            NodeEnum::IndexElem(message) => TreeMut::IndexElem(message),
            NodeEnum::DefElem(message) => TreeMut::DefElem(message),
            NodeEnum::LockingClause(message) => TreeMut::LockingClause(message),
            NodeEnum::XmlSerialize(message) => TreeMut::XmlSerialize(message),
            NodeEnum::PartitionElem(message) => TreeMut::PartitionElem(message),
            NodeEnum::PartitionSpec(message) => TreeMut::PartitionSpec(message),
            NodeEnum::PartitionBoundSpec(message) => TreeMut::PartitionBoundSpec(message),
            NodeEnum::PartitionRangeDatum(message) => TreeMut::PartitionRangeDatum(message),
            NodeEnum::PartitionCmd(message) => TreeMut::PartitionCmd(message),
            NodeEnum::RangeTblEntry(message) => TreeMut::RangeTblEntry(message),
            NodeEnum::RtepermissionInfo(message) => TreeMut::RtePermissionInfo(message),
            NodeEnum::RangeTblFunction(message) => TreeMut::RangeTblFunction(message),
            NodeEnum::TableSampleClause(message) => TreeMut::TableSampleClause(message),
            NodeEnum::WithCheckOption(message) => TreeMut::WithCheckOption(message),
            NodeEnum::SortGroupClause(message) => TreeMut::SortGroupClause(message),
            NodeEnum::GroupingSet(message) => TreeMut::GroupingSet(message),
            NodeEnum::WindowClause(message) => TreeMut::WindowClause(message),
            NodeEnum::RowMarkClause(message) => TreeMut::RowMarkClause(message),
            NodeEnum::WithClause(message) => TreeMut::WithClause(message),
            NodeEnum::InferClause(message) => TreeMut::InferClause(message),
            NodeEnum::OnConflictClause(message) => TreeMut::OnConflictClause(message),
            NodeEnum::CtesearchClause(message) => TreeMut::CteSearchClause(message),
            NodeEnum::CtecycleClause(message) => TreeMut::CteCycleClause(message),
            NodeEnum::CommonTableExpr(message) => TreeMut::CommonTableExpr(message),
            NodeEnum::MergeWhenClause(message) => TreeMut::MergeWhenClause(message),
            NodeEnum::ReturningOption(message) => TreeMut::ReturningOption(message),
            NodeEnum::ReturningClause(message) => TreeMut::ReturningClause(message),
            NodeEnum::TriggerTransition(message) => TreeMut::TriggerTransition(message),
            NodeEnum::JsonOutput(message) => TreeMut::JsonOutput(message),
            NodeEnum::JsonArgument(message) => TreeMut::JsonArgument(message),
            NodeEnum::JsonFuncExpr(message) => TreeMut::JsonFuncExpr(message),
            NodeEnum::JsonTablePathSpec(message) => TreeMut::JsonTablePathSpec(message),
            NodeEnum::JsonTable(message) => TreeMut::JsonTable(message),
            NodeEnum::JsonTableColumn(message) => TreeMut::JsonTableColumn(message),
            NodeEnum::JsonKeyValue(message) => TreeMut::JsonKeyValue(message),
            NodeEnum::JsonParseExpr(message) => TreeMut::JsonParseExpr(message),
            NodeEnum::JsonScalarExpr(message) => TreeMut::JsonScalarExpr(message),
            NodeEnum::JsonSerializeExpr(message) => TreeMut::JsonSerializeExpr(message),
            NodeEnum::JsonObjectConstructor(message) => TreeMut::JsonObjectConstructor(message),
            NodeEnum::JsonArrayConstructor(message) => TreeMut::JsonArrayConstructor(message),
            NodeEnum::JsonArrayQueryConstructor(message) => TreeMut::JsonArrayQueryConstructor(message),
            NodeEnum::JsonAggConstructor(message) => TreeMut::JsonAggConstructor(message),
            NodeEnum::JsonObjectAgg(message) => TreeMut::JsonObjectAgg(message),
            NodeEnum::JsonArrayAgg(message) => TreeMut::JsonArrayAgg(message),
            NodeEnum::RawStmt(message) => TreeMut::RawStmt(message),
            NodeEnum::InsertStmt(message) => TreeMut::InsertStmt(message),
            NodeEnum::DeleteStmt(message) => TreeMut::DeleteStmt(message),
            NodeEnum::UpdateStmt(message) => TreeMut::UpdateStmt(message),
            NodeEnum::MergeStmt(message) => TreeMut::MergeStmt(message),
            NodeEnum::SelectStmt(message) => TreeMut::SelectStmt(message),
            NodeEnum::SetOperationStmt(message) => TreeMut::SetOperationStmt(message),
            NodeEnum::ReturnStmt(message) => TreeMut::ReturnStmt(message),
            NodeEnum::PlassignStmt(message) => TreeMut::PlAssignStmt(message),
            NodeEnum::CreateSchemaStmt(message) => TreeMut::CreateSchemaStmt(message),
            NodeEnum::AlterTableStmt(message) => TreeMut::AlterTableStmt(message),
            NodeEnum::AlterTableCmd(message) => TreeMut::AlterTableCmd(message),
            NodeEnum::AtalterConstraint(message) => TreeMut::AtAlterConstraint(message),
            NodeEnum::ReplicaIdentityStmt(message) => TreeMut::ReplicaIdentityStmt(message),
            NodeEnum::AlterCollationStmt(message) => TreeMut::AlterCollationStmt(message),
            NodeEnum::AlterDomainStmt(message) => TreeMut::AlterDomainStmt(message),
            NodeEnum::GrantStmt(message) => TreeMut::GrantStmt(message),
            NodeEnum::ObjectWithArgs(message) => TreeMut::ObjectWithArgs(message),
            NodeEnum::AccessPriv(message) => TreeMut::AccessPriv(message),
            NodeEnum::GrantRoleStmt(message) => TreeMut::GrantRoleStmt(message),
            NodeEnum::AlterDefaultPrivilegesStmt(message) => TreeMut::AlterDefaultPrivilegesStmt(message),
            NodeEnum::CopyStmt(message) => TreeMut::CopyStmt(message),
            NodeEnum::VariableSetStmt(message) => TreeMut::VariableSetStmt(message),
            NodeEnum::VariableShowStmt(message) => TreeMut::VariableShowStmt(message),
            NodeEnum::CreateStmt(message) => TreeMut::CreateStmt(message),
            NodeEnum::Constraint(message) => TreeMut::Constraint(message),
            NodeEnum::CreateTableSpaceStmt(message) => TreeMut::CreateTableSpaceStmt(message),
            NodeEnum::DropTableSpaceStmt(message) => TreeMut::DropTableSpaceStmt(message),
            NodeEnum::AlterTableSpaceOptionsStmt(message) => TreeMut::AlterTableSpaceOptionsStmt(message),
            NodeEnum::AlterTableMoveAllStmt(message) => TreeMut::AlterTableMoveAllStmt(message),
            NodeEnum::CreateExtensionStmt(message) => TreeMut::CreateExtensionStmt(message),
            NodeEnum::AlterExtensionStmt(message) => TreeMut::AlterExtensionStmt(message),
            NodeEnum::AlterExtensionContentsStmt(message) => TreeMut::AlterExtensionContentsStmt(message),
            NodeEnum::CreateFdwStmt(message) => TreeMut::CreateFdwStmt(message),
            NodeEnum::AlterFdwStmt(message) => TreeMut::AlterFdwStmt(message),
            NodeEnum::CreateForeignServerStmt(message) => TreeMut::CreateForeignServerStmt(message),
            NodeEnum::AlterForeignServerStmt(message) => TreeMut::AlterForeignServerStmt(message),
            NodeEnum::CreateForeignTableStmt(message) => TreeMut::CreateForeignTableStmt(message),
            NodeEnum::CreateUserMappingStmt(message) => TreeMut::CreateUserMappingStmt(message),
            NodeEnum::AlterUserMappingStmt(message) => TreeMut::AlterUserMappingStmt(message),
            NodeEnum::DropUserMappingStmt(message) => TreeMut::DropUserMappingStmt(message),
            NodeEnum::ImportForeignSchemaStmt(message) => TreeMut::ImportForeignSchemaStmt(message),
            NodeEnum::CreatePolicyStmt(message) => TreeMut::CreatePolicyStmt(message),
            NodeEnum::AlterPolicyStmt(message) => TreeMut::AlterPolicyStmt(message),
            NodeEnum::CreateAmStmt(message) => TreeMut::CreateAmStmt(message),
            NodeEnum::CreateTrigStmt(message) => TreeMut::CreateTrigStmt(message),
            NodeEnum::CreateEventTrigStmt(message) => TreeMut::CreateEventTrigStmt(message),
            NodeEnum::AlterEventTrigStmt(message) => TreeMut::AlterEventTrigStmt(message),
            NodeEnum::CreatePlangStmt(message) => TreeMut::CreatePLangStmt(message),
            NodeEnum::CreateRoleStmt(message) => TreeMut::CreateRoleStmt(message),
            NodeEnum::AlterRoleStmt(message) => TreeMut::AlterRoleStmt(message),
            NodeEnum::AlterRoleSetStmt(message) => TreeMut::AlterRoleSetStmt(message),
            NodeEnum::DropRoleStmt(message) => TreeMut::DropRoleStmt(message),
            NodeEnum::CreateSeqStmt(message) => TreeMut::CreateSeqStmt(message),
            NodeEnum::AlterSeqStmt(message) => TreeMut::AlterSeqStmt(message),
            NodeEnum::DefineStmt(message) => TreeMut::DefineStmt(message),
            NodeEnum::CreateDomainStmt(message) => TreeMut::CreateDomainStmt(message),
            NodeEnum::CreateOpClassStmt(message) => TreeMut::CreateOpClassStmt(message),
            NodeEnum::CreateOpClassItem(message) => TreeMut::CreateOpClassItem(message),
            NodeEnum::CreateOpFamilyStmt(message) => TreeMut::CreateOpFamilyStmt(message),
            NodeEnum::AlterOpFamilyStmt(message) => TreeMut::AlterOpFamilyStmt(message),
            NodeEnum::DropStmt(message) => TreeMut::DropStmt(message),
            NodeEnum::TruncateStmt(message) => TreeMut::TruncateStmt(message),
            NodeEnum::CommentStmt(message) => TreeMut::CommentStmt(message),
            NodeEnum::SecLabelStmt(message) => TreeMut::SecLabelStmt(message),
            NodeEnum::DeclareCursorStmt(message) => TreeMut::DeclareCursorStmt(message),
            NodeEnum::ClosePortalStmt(message) => TreeMut::ClosePortalStmt(message),
            NodeEnum::FetchStmt(message) => TreeMut::FetchStmt(message),
            NodeEnum::IndexStmt(message) => TreeMut::IndexStmt(message),
            NodeEnum::CreateStatsStmt(message) => TreeMut::CreateStatsStmt(message),
            NodeEnum::StatsElem(message) => TreeMut::StatsElem(message),
            NodeEnum::AlterStatsStmt(message) => TreeMut::AlterStatsStmt(message),
            NodeEnum::CreateFunctionStmt(message) => TreeMut::CreateFunctionStmt(message),
            NodeEnum::FunctionParameter(message) => TreeMut::FunctionParameter(message),
            NodeEnum::AlterFunctionStmt(message) => TreeMut::AlterFunctionStmt(message),
            NodeEnum::DoStmt(message) => TreeMut::DoStmt(message),
            NodeEnum::InlineCodeBlock(message) => TreeMut::InlineCodeBlock(message),
            NodeEnum::CallStmt(message) => TreeMut::CallStmt(message),
            NodeEnum::CallContext(message) => TreeMut::CallContext(message),
            NodeEnum::RenameStmt(message) => TreeMut::RenameStmt(message),
            NodeEnum::AlterObjectDependsStmt(message) => TreeMut::AlterObjectDependsStmt(message),
            NodeEnum::AlterObjectSchemaStmt(message) => TreeMut::AlterObjectSchemaStmt(message),
            NodeEnum::AlterOwnerStmt(message) => TreeMut::AlterOwnerStmt(message),
            NodeEnum::AlterOperatorStmt(message) => TreeMut::AlterOperatorStmt(message),
            NodeEnum::AlterTypeStmt(message) => TreeMut::AlterTypeStmt(message),
            NodeEnum::RuleStmt(message) => TreeMut::RuleStmt(message),
            NodeEnum::NotifyStmt(message) => TreeMut::NotifyStmt(message),
            NodeEnum::ListenStmt(message) => TreeMut::ListenStmt(message),
            NodeEnum::UnlistenStmt(message) => TreeMut::UnlistenStmt(message),
            NodeEnum::TransactionStmt(message) => TreeMut::TransactionStmt(message),
            NodeEnum::CompositeTypeStmt(message) => TreeMut::CompositeTypeStmt(message),
            NodeEnum::CreateEnumStmt(message) => TreeMut::CreateEnumStmt(message),
            NodeEnum::CreateRangeStmt(message) => TreeMut::CreateRangeStmt(message),
            NodeEnum::AlterEnumStmt(message) => TreeMut::AlterEnumStmt(message),
            NodeEnum::ViewStmt(message) => TreeMut::ViewStmt(message),
            NodeEnum::LoadStmt(message) => TreeMut::LoadStmt(message),
            NodeEnum::CreatedbStmt(message) => TreeMut::CreatedbStmt(message),
            NodeEnum::AlterDatabaseStmt(message) => TreeMut::AlterDatabaseStmt(message),
            NodeEnum::AlterDatabaseRefreshCollStmt(message) => TreeMut::AlterDatabaseRefreshCollStmt(message),
            NodeEnum::AlterDatabaseSetStmt(message) => TreeMut::AlterDatabaseSetStmt(message),
            NodeEnum::DropdbStmt(message) => TreeMut::DropdbStmt(message),
            NodeEnum::AlterSystemStmt(message) => TreeMut::AlterSystemStmt(message),
            NodeEnum::ClusterStmt(message) => TreeMut::ClusterStmt(message),
            NodeEnum::VacuumStmt(message) => TreeMut::VacuumStmt(message),
            NodeEnum::VacuumRelation(message) => TreeMut::VacuumRelation(message),
            NodeEnum::ExplainStmt(message) => TreeMut::ExplainStmt(message),
            NodeEnum::CreateTableAsStmt(message) => TreeMut::CreateTableAsStmt(message),
            NodeEnum::RefreshMatViewStmt(message) => TreeMut::RefreshMatViewStmt(message),
            NodeEnum::CheckPointStmt(message) => TreeMut::CheckPointStmt(message),
            NodeEnum::DiscardStmt(message) => TreeMut::DiscardStmt(message),
            NodeEnum::LockStmt(message) => TreeMut::LockStmt(message),
            NodeEnum::ConstraintsSetStmt(message) => TreeMut::ConstraintsSetStmt(message),
            NodeEnum::ReindexStmt(message) => TreeMut::ReindexStmt(message),
            NodeEnum::CreateConversionStmt(message) => TreeMut::CreateConversionStmt(message),
            NodeEnum::CreateCastStmt(message) => TreeMut::CreateCastStmt(message),
            NodeEnum::CreateTransformStmt(message) => TreeMut::CreateTransformStmt(message),
            NodeEnum::PrepareStmt(message) => TreeMut::PrepareStmt(message),
            NodeEnum::ExecuteStmt(message) => TreeMut::ExecuteStmt(message),
            NodeEnum::DeallocateStmt(message) => TreeMut::DeallocateStmt(message),
            NodeEnum::DropOwnedStmt(message) => TreeMut::DropOwnedStmt(message),
            NodeEnum::ReassignOwnedStmt(message) => TreeMut::ReassignOwnedStmt(message),
            NodeEnum::AlterTsdictionaryStmt(message) => TreeMut::AlterTsDictionaryStmt(message),
            NodeEnum::AlterTsconfigurationStmt(message) => TreeMut::AlterTsConfigurationStmt(message),
            NodeEnum::PublicationTable(message) => TreeMut::PublicationTable(message),
            NodeEnum::PublicationObjSpec(message) => TreeMut::PublicationObjSpec(message),
            NodeEnum::CreatePublicationStmt(message) => TreeMut::CreatePublicationStmt(message),
            NodeEnum::AlterPublicationStmt(message) => TreeMut::AlterPublicationStmt(message),
            NodeEnum::CreateSubscriptionStmt(message) => TreeMut::CreateSubscriptionStmt(message),
            NodeEnum::AlterSubscriptionStmt(message) => TreeMut::AlterSubscriptionStmt(message),
            NodeEnum::DropSubscriptionStmt(message) => TreeMut::DropSubscriptionStmt(message),
            NodeEnum::Integer(message) => TreeMut::Integer(message),
            NodeEnum::Float(message) => TreeMut::Float(message),
            NodeEnum::Boolean(message) => TreeMut::Boolean(message),
            NodeEnum::String(message) => TreeMut::String(message),
            NodeEnum::BitString(message) => TreeMut::BitString(message),
            NodeEnum::List(message) => TreeMut::List(message),
            NodeEnum::IntList(message) => TreeMut::IntList(message),
            NodeEnum::OidList(message) => TreeMut::OidList(message),
            NodeEnum::AConst(message) => TreeMut::AConst(message),
        }
    }
}

impl<'a> TreeMut<'a> {
    /// Erases the node's own positions and appends its children, field by field.
    #[rustfmt::skip]
    pub(crate) fn unplaced_children(self, out: &mut Vec<TreeMut<'a>>) {
        match self {
            TreeMut::Alias(protobuf::Alias { aliasname: _, colnames }) => { nodes_in(colnames, out); }
            TreeMut::RangeVar(protobuf::RangeVar { catalogname: _, schemaname: _, relname: _, inh: _, relpersistence: _, alias, location }) => { if let Some(message) = alias { out.push(TreeMut::Alias(message)) }; *location = 0; }
            TreeMut::TableFunc(protobuf::TableFunc { functype: _, ns_uris, ns_names, docexpr, rowexpr, colnames, coltypes, coltypmods, colcollations, colexprs, coldefexprs, colvalexprs, passingvalexprs, notnulls: _, plan, ordinalitycol: _, location }) => { nodes_in(ns_uris, out); nodes_in(ns_names, out); node_in(docexpr, out); node_in(rowexpr, out); nodes_in(colnames, out); nodes_in(coltypes, out); nodes_in(coltypmods, out); nodes_in(colcollations, out); nodes_in(colexprs, out); nodes_in(coldefexprs, out); nodes_in(colvalexprs, out); nodes_in(passingvalexprs, out); node_in(plan, out); *location = 0; }
            TreeMut::IntoClause(protobuf::IntoClause { rel, col_names, access_method: _, options, on_commit: _, table_space_name: _, view_query, skip_data: _ }) => { if let Some(message) = rel { out.push(TreeMut::RangeVar(message)) }; nodes_in(col_names, out); nodes_in(options, out); if let Some(message) = view_query { out.push(TreeMut::Query(message)) }; }
            TreeMut::Var(protobuf::Var { xpr, varno: _, varattno: _, vartype: _, vartypmod: _, varcollid: _, varnullingrels: _, varlevelsup: _, varreturningtype: _, location }) => { node_in(xpr, out); *location = 0; }
            TreeMut::Param(protobuf::Param { xpr, paramkind: _, paramid: _, paramtype: _, paramtypmod: _, paramcollid: _, location }) => { node_in(xpr, out); *location = 0; }
            TreeMut::Aggref(protobuf::Aggref { xpr, aggfnoid: _, aggtype: _, aggcollid: _, inputcollid: _, aggargtypes, aggdirectargs, args, aggorder, aggdistinct, aggfilter, aggstar: _, aggvariadic: _, aggkind: _, agglevelsup: _, aggsplit: _, aggno: _, aggtransno: _, location }) => { node_in(xpr, out); nodes_in(aggargtypes, out); nodes_in(aggdirectargs, out); nodes_in(args, out); nodes_in(aggorder, out); nodes_in(aggdistinct, out); node_in(aggfilter, out); *location = 0; }
            TreeMut::GroupingFunc(protobuf::GroupingFunc { xpr, args, refs, agglevelsup: _, location }) => { node_in(xpr, out); nodes_in(args, out); nodes_in(refs, out); *location = 0; }
            TreeMut::WindowFunc(protobuf::WindowFunc { xpr, winfnoid: _, wintype: _, wincollid: _, inputcollid: _, args, aggfilter, run_condition, winref: _, winstar: _, winagg: _, location }) => { node_in(xpr, out); nodes_in(args, out); node_in(aggfilter, out); nodes_in(run_condition, out); *location = 0; }
            TreeMut::WindowFuncRunCondition(protobuf::WindowFuncRunCondition { xpr, opno: _, inputcollid: _, wfunc_left: _, arg }) => { node_in(xpr, out); node_in(arg, out); }
            TreeMut::MergeSupportFunc(protobuf::MergeSupportFunc { xpr, msftype: _, msfcollid: _, location }) => { node_in(xpr, out); *location = 0; }
            TreeMut::SubscriptingRef(protobuf::SubscriptingRef { xpr, refcontainertype: _, refelemtype: _, refrestype: _, reftypmod: _, refcollid: _, refupperindexpr, reflowerindexpr, refexpr, refassgnexpr }) => { node_in(xpr, out); nodes_in(refupperindexpr, out); nodes_in(reflowerindexpr, out); node_in(refexpr, out); node_in(refassgnexpr, out); }
            TreeMut::FuncExpr(protobuf::FuncExpr { xpr, funcid: _, funcresulttype: _, funcretset: _, funcvariadic: _, funcformat: _, funccollid: _, inputcollid: _, args, location }) => { node_in(xpr, out); nodes_in(args, out); *location = 0; }
            TreeMut::NamedArgExpr(protobuf::NamedArgExpr { xpr, arg, name: _, argnumber: _, location }) => { node_in(xpr, out); node_in(arg, out); *location = 0; }
            TreeMut::OpExpr(protobuf::OpExpr { xpr, opno: _, opresulttype: _, opretset: _, opcollid: _, inputcollid: _, args, location }) => { node_in(xpr, out); nodes_in(args, out); *location = 0; }
            TreeMut::DistinctExpr(protobuf::DistinctExpr { xpr, opno: _, opresulttype: _, opretset: _, opcollid: _, inputcollid: _, args, location }) => { node_in(xpr, out); nodes_in(args, out); *location = 0; }
            TreeMut::NullIfExpr(protobuf::NullIfExpr { xpr, opno: _, opresulttype: _, opretset: _, opcollid: _, inputcollid: _, args, location }) => { node_in(xpr, out); nodes_in(args, out); *location = 0; }
            TreeMut::ScalarArrayOpExpr(protobuf::ScalarArrayOpExpr { xpr, opno: _, use_or: _, inputcollid: _, args, location }) => { node_in(xpr, out); nodes_in(args, out); *location = 0; }
            TreeMut::BoolExpr(protobuf::BoolExpr { xpr, boolop: _, args, location }) => { node_in(xpr, out); nodes_in(args, out); *location = 0; }
            TreeMut::SubLink(protobuf::SubLink { xpr, sub_link_type: _, sub_link_id: _, testexpr, oper_name, subselect, location }) => { node_in(xpr, out); node_in(testexpr, out); nodes_in(oper_name, out); node_in(subselect, out); *location = 0; }
            TreeMut::SubPlan(protobuf::SubPlan { xpr, sub_link_type: _, testexpr, param_ids, plan_id: _, plan_name: _, first_col_type: _, first_col_typmod: _, first_col_collation: _, use_hash_table: _, unknown_eq_false: _, parallel_safe: _, set_param, par_param, args, startup_cost: _, per_call_cost: _ }) => { node_in(xpr, out); node_in(testexpr, out); nodes_in(param_ids, out); nodes_in(set_param, out); nodes_in(par_param, out); nodes_in(args, out); }
            TreeMut::AlternativeSubPlan(protobuf::AlternativeSubPlan { xpr, subplans }) => { node_in(xpr, out); nodes_in(subplans, out); }
            TreeMut::FieldSelect(protobuf::FieldSelect { xpr, arg, fieldnum: _, resulttype: _, resulttypmod: _, resultcollid: _ }) => { node_in(xpr, out); node_in(arg, out); }
            TreeMut::FieldStore(protobuf::FieldStore { xpr, arg, newvals, fieldnums, resulttype: _ }) => { node_in(xpr, out); node_in(arg, out); nodes_in(newvals, out); nodes_in(fieldnums, out); }
            TreeMut::RelabelType(protobuf::RelabelType { xpr, arg, resulttype: _, resulttypmod: _, resultcollid: _, relabelformat: _, location }) => { node_in(xpr, out); node_in(arg, out); *location = 0; }
            TreeMut::CoerceViaIo(protobuf::CoerceViaIo { xpr, arg, resulttype: _, resultcollid: _, coerceformat: _, location }) => { node_in(xpr, out); node_in(arg, out); *location = 0; }
            TreeMut::ArrayCoerceExpr(protobuf::ArrayCoerceExpr { xpr, arg, elemexpr, resulttype: _, resulttypmod: _, resultcollid: _, coerceformat: _, location }) => { node_in(xpr, out); node_in(arg, out); node_in(elemexpr, out); *location = 0; }
            TreeMut::ConvertRowtypeExpr(protobuf::ConvertRowtypeExpr { xpr, arg, resulttype: _, convertformat: _, location }) => { node_in(xpr, out); node_in(arg, out); *location = 0; }
            TreeMut::CollateExpr(protobuf::CollateExpr { xpr, arg, coll_oid: _, location }) => { node_in(xpr, out); node_in(arg, out); *location = 0; }
            TreeMut::CaseExpr(protobuf::CaseExpr { xpr, casetype: _, casecollid: _, arg, args, defresult, location }) => { node_in(xpr, out); node_in(arg, out); nodes_in(args, out); node_in(defresult, out); *location = 0; }
            TreeMut::CaseWhen(protobuf::CaseWhen { xpr, expr, result, location }) => { node_in(xpr, out); node_in(expr, out); node_in(result, out); *location = 0; }
            TreeMut::CaseTestExpr(protobuf::CaseTestExpr { xpr, type_id: _, type_mod: _, collation: _ }) => { node_in(xpr, out); }
            TreeMut::ArrayExpr(protobuf::ArrayExpr { xpr, array_typeid: _, array_collid: _, element_typeid: _, elements, multidims: _, list_start, list_end, location }) => { node_in(xpr, out); nodes_in(elements, out); *list_start = 0; *list_end = 0; *location = 0; }
            TreeMut::RowExpr(protobuf::RowExpr { xpr, args, row_typeid: _, row_format: _, colnames, location }) => { node_in(xpr, out); nodes_in(args, out); nodes_in(colnames, out); *location = 0; }
            TreeMut::RowCompareExpr(protobuf::RowCompareExpr { xpr, cmptype: _, opnos, opfamilies, inputcollids, largs, rargs }) => { node_in(xpr, out); nodes_in(opnos, out); nodes_in(opfamilies, out); nodes_in(inputcollids, out); nodes_in(largs, out); nodes_in(rargs, out); }
            TreeMut::CoalesceExpr(protobuf::CoalesceExpr { xpr, coalescetype: _, coalescecollid: _, args, location }) => { node_in(xpr, out); nodes_in(args, out); *location = 0; }
            TreeMut::MinMaxExpr(protobuf::MinMaxExpr { xpr, minmaxtype: _, minmaxcollid: _, inputcollid: _, op: _, args, location }) => { node_in(xpr, out); nodes_in(args, out); *location = 0; }
            TreeMut::SqlValueFunction(protobuf::SqlValueFunction { xpr, op: _, r#type: _, typmod: _, location }) => { node_in(xpr, out); *location = 0; }
            TreeMut::XmlExpr(protobuf::XmlExpr { xpr, op: _, name: _, named_args, arg_names, args, xmloption: _, indent: _, r#type: _, typmod: _, location }) => { node_in(xpr, out); nodes_in(named_args, out); nodes_in(arg_names, out); nodes_in(args, out); *location = 0; }
            TreeMut::JsonFormat(protobuf::JsonFormat { format_type: _, encoding: _, location }) => { *location = 0; }
            TreeMut::JsonReturning(protobuf::JsonReturning { format, typid: _, typmod: _ }) => { if let Some(message) = format { out.push(TreeMut::JsonFormat(message)) }; }
            TreeMut::JsonValueExpr(protobuf::JsonValueExpr { raw_expr, formatted_expr, format }) => { node_in(raw_expr, out); node_in(formatted_expr, out); if let Some(message) = format { out.push(TreeMut::JsonFormat(message)) }; }
            TreeMut::JsonConstructorExpr(protobuf::JsonConstructorExpr { xpr, r#type: _, args, func, coercion, returning, absent_on_null: _, unique: _, location }) => { node_in(xpr, out); nodes_in(args, out); node_in(func, out); node_in(coercion, out); if let Some(message) = returning { out.push(TreeMut::JsonReturning(message)) }; *location = 0; }
            TreeMut::JsonIsPredicate(protobuf::JsonIsPredicate { expr, format, item_type: _, unique_keys: _, location }) => { node_in(expr, out); if let Some(message) = format { out.push(TreeMut::JsonFormat(message)) }; *location = 0; }
            TreeMut::JsonBehavior(protobuf::JsonBehavior { btype: _, expr, coerce: _, location }) => { node_in(expr, out); *location = 0; }
            TreeMut::JsonExpr(protobuf::JsonExpr { xpr, op: _, column_name: _, formatted_expr, format, path_spec, returning, passing_names, passing_values, on_empty, on_error, use_io_coercion: _, use_json_coercion: _, wrapper: _, omit_quotes: _, collation: _, location }) => { node_in(xpr, out); node_in(formatted_expr, out); if let Some(message) = format { out.push(TreeMut::JsonFormat(message)) }; node_in(path_spec, out); if let Some(message) = returning { out.push(TreeMut::JsonReturning(message)) }; nodes_in(passing_names, out); nodes_in(passing_values, out); if let Some(message) = on_empty { out.push(TreeMut::JsonBehavior(message)) }; if let Some(message) = on_error { out.push(TreeMut::JsonBehavior(message)) }; *location = 0; }
            TreeMut::JsonTablePath(protobuf::JsonTablePath { name: _ }) => {}
            TreeMut::JsonTablePathScan(protobuf::JsonTablePathScan { plan, path, error_on_error: _, child, col_min: _, col_max: _ }) => { node_in(plan, out); if let Some(message) = path { out.push(TreeMut::JsonTablePath(message)) }; node_in(child, out); }
            TreeMut::JsonTableSiblingJoin(protobuf::JsonTableSiblingJoin { plan, lplan, rplan }) => { node_in(plan, out); node_in(lplan, out); node_in(rplan, out); }
            TreeMut::NullTest(protobuf::NullTest { xpr, arg, nulltesttype: _, argisrow: _, location }) => { node_in(xpr, out); node_in(arg, out); *location = 0; }
            TreeMut::BooleanTest(protobuf::BooleanTest { xpr, arg, booltesttype: _, location }) => { node_in(xpr, out); node_in(arg, out); *location = 0; }
            TreeMut::MergeAction(protobuf::MergeAction { match_kind: _, command_type: _, r#override: _, qual, target_list, update_colnos }) => { node_in(qual, out); nodes_in(target_list, out); nodes_in(update_colnos, out); }
            TreeMut::CoerceToDomain(protobuf::CoerceToDomain { xpr, arg, resulttype: _, resulttypmod: _, resultcollid: _, coercionformat: _, location }) => { node_in(xpr, out); node_in(arg, out); *location = 0; }
            TreeMut::CoerceToDomainValue(protobuf::CoerceToDomainValue { xpr, type_id: _, type_mod: _, collation: _, location }) => { node_in(xpr, out); *location = 0; }
            TreeMut::SetToDefault(protobuf::SetToDefault { xpr, type_id: _, type_mod: _, collation: _, location }) => { node_in(xpr, out); *location = 0; }
            TreeMut::CurrentOfExpr(protobuf::CurrentOfExpr { xpr, cvarno: _, cursor_name: _, cursor_param: _ }) => { node_in(xpr, out); }
            TreeMut::NextValueExpr(protobuf::NextValueExpr { xpr, seqid: _, type_id: _ }) => { node_in(xpr, out); }
            TreeMut::InferenceElem(protobuf::InferenceElem { xpr, expr, infercollid: _, inferopclass: _ }) => { node_in(xpr, out); node_in(expr, out); }
            TreeMut::ReturningExpr(protobuf::ReturningExpr { xpr, retlevelsup: _, retold: _, retexpr }) => { node_in(xpr, out); node_in(retexpr, out); }
            TreeMut::TargetEntry(protobuf::TargetEntry { xpr, expr, resno: _, resname: _, ressortgroupref: _, resorigtbl: _, resorigcol: _, resjunk: _ }) => { node_in(xpr, out); node_in(expr, out); }
            TreeMut::RangeTblRef(protobuf::RangeTblRef { rtindex: _ }) => {}
            TreeMut::JoinExpr(protobuf::JoinExpr { jointype: _, is_natural: _, larg, rarg, using_clause, join_using_alias, quals, alias, rtindex: _ }) => { node_in(larg, out); node_in(rarg, out); nodes_in(using_clause, out); if let Some(message) = join_using_alias { out.push(TreeMut::Alias(message)) }; node_in(quals, out); if let Some(message) = alias { out.push(TreeMut::Alias(message)) }; }
            TreeMut::FromExpr(protobuf::FromExpr { fromlist, quals }) => { nodes_in(fromlist, out); node_in(quals, out); }
            TreeMut::OnConflictExpr(protobuf::OnConflictExpr { action: _, arbiter_elems, arbiter_where, constraint: _, on_conflict_set, on_conflict_where, excl_rel_index: _, excl_rel_tlist }) => { nodes_in(arbiter_elems, out); node_in(arbiter_where, out); nodes_in(on_conflict_set, out); node_in(on_conflict_where, out); nodes_in(excl_rel_tlist, out); }
            TreeMut::Query(protobuf::Query { command_type: _, query_source: _, can_set_tag: _, utility_stmt, result_relation: _, has_aggs: _, has_window_funcs: _, has_target_srfs: _, has_sub_links: _, has_distinct_on: _, has_recursive: _, has_modifying_cte: _, has_for_update: _, has_row_security: _, has_group_rte: _, is_return: _, cte_list, rtable, rteperminfos, jointree, merge_action_list, merge_target_relation: _, merge_join_condition, target_list, r#override: _, on_conflict, returning_old_alias: _, returning_new_alias: _, returning_list, group_clause, group_distinct: _, grouping_sets, having_qual, window_clause, distinct_clause, sort_clause, limit_offset, limit_count, limit_option: _, row_marks, set_operations, constraint_deps, with_check_options, stmt_location, stmt_len }) => { node_in(utility_stmt, out); nodes_in(cte_list, out); nodes_in(rtable, out); nodes_in(rteperminfos, out); if let Some(message) = jointree { out.push(TreeMut::FromExpr(message)) }; nodes_in(merge_action_list, out); node_in(merge_join_condition, out); nodes_in(target_list, out); if let Some(message) = on_conflict { out.push(TreeMut::OnConflictExpr(message)) }; nodes_in(returning_list, out); nodes_in(group_clause, out); nodes_in(grouping_sets, out); node_in(having_qual, out); nodes_in(window_clause, out); nodes_in(distinct_clause, out); nodes_in(sort_clause, out); node_in(limit_offset, out); node_in(limit_count, out); nodes_in(row_marks, out); node_in(set_operations, out); nodes_in(constraint_deps, out); nodes_in(with_check_options, out); *stmt_location = 0; *stmt_len = 0; }
            TreeMut::TypeName(protobuf::TypeName { names, type_oid: _, setof: _, pct_type: _, typmods, typemod: _, array_bounds, location }) => { nodes_in(names, out); nodes_in(typmods, out); nodes_in(array_bounds, out); *location = 0; }
            TreeMut::ColumnRef(protobuf::ColumnRef { fields, location }) => { nodes_in(fields, out); *location = 0; }
            TreeMut::ParamRef(protobuf::ParamRef { number: _, location }) => { *location = 0; }
            TreeMut::AExpr(protobuf::AExpr { kind: _, name, lexpr, rexpr, rexpr_list_start, rexpr_list_end, location }) => { nodes_in(name, out); node_in(lexpr, out); node_in(rexpr, out); *rexpr_list_start = 0; *rexpr_list_end = 0; *location = 0; }
            TreeMut::TypeCast(protobuf::TypeCast { arg, type_name, location }) => { node_in(arg, out); if let Some(message) = type_name { out.push(TreeMut::TypeName(message)) }; *location = 0; }
            TreeMut::CollateClause(protobuf::CollateClause { arg, collname, location }) => { node_in(arg, out); nodes_in(collname, out); *location = 0; }
            TreeMut::RoleSpec(protobuf::RoleSpec { roletype: _, rolename: _, location }) => { *location = 0; }
            TreeMut::FuncCall(protobuf::FuncCall { funcname, args, agg_order, agg_filter, over, agg_within_group: _, agg_star: _, agg_distinct: _, func_variadic: _, funcformat: _, location }) => { nodes_in(funcname, out); nodes_in(args, out); nodes_in(agg_order, out); node_in(agg_filter, out); if let Some(message) = over { out.push(TreeMut::WindowDef(message)) }; *location = 0; }
            TreeMut::AStar(protobuf::AStar {}) => {}
            TreeMut::AIndices(protobuf::AIndices { is_slice: _, lidx, uidx }) => { node_in(lidx, out); node_in(uidx, out); }
            TreeMut::AIndirection(protobuf::AIndirection { arg, indirection }) => { node_in(arg, out); nodes_in(indirection, out); }
            TreeMut::AArrayExpr(protobuf::AArrayExpr { elements, list_start, list_end, location }) => { nodes_in(elements, out); *list_start = 0; *list_end = 0; *location = 0; }
            TreeMut::ResTarget(protobuf::ResTarget { name: _, indirection, val, location }) => { nodes_in(indirection, out); node_in(val, out); *location = 0; }
            TreeMut::MultiAssignRef(protobuf::MultiAssignRef { source, colno: _, ncolumns: _ }) => { node_in(source, out); }
            TreeMut::SortBy(protobuf::SortBy { node, sortby_dir: _, sortby_nulls: _, use_op, location }) => { node_in(node, out); nodes_in(use_op, out); *location = 0; }
            TreeMut::WindowDef(protobuf::WindowDef { name: _, refname: _, partition_clause, order_clause, frame_options: _, start_offset, end_offset, location }) => { nodes_in(partition_clause, out); nodes_in(order_clause, out); node_in(start_offset, out); node_in(end_offset, out); *location = 0; }
            TreeMut::RangeSubselect(protobuf::RangeSubselect { lateral: _, subquery, alias }) => { node_in(subquery, out); if let Some(message) = alias { out.push(TreeMut::Alias(message)) }; }
            TreeMut::RangeFunction(protobuf::RangeFunction { lateral: _, ordinality: _, is_rowsfrom: _, functions, alias, coldeflist }) => { nodes_in(functions, out); if let Some(message) = alias { out.push(TreeMut::Alias(message)) }; nodes_in(coldeflist, out); }
            TreeMut::RangeTableFunc(protobuf::RangeTableFunc { lateral: _, docexpr, rowexpr, namespaces, columns, alias, location }) => { node_in(docexpr, out); node_in(rowexpr, out); nodes_in(namespaces, out); nodes_in(columns, out); if let Some(message) = alias { out.push(TreeMut::Alias(message)) }; *location = 0; }
            TreeMut::RangeTableFuncCol(protobuf::RangeTableFuncCol { colname: _, type_name, for_ordinality: _, is_not_null: _, colexpr, coldefexpr, location }) => { if let Some(message) = type_name { out.push(TreeMut::TypeName(message)) }; node_in(colexpr, out); node_in(coldefexpr, out); *location = 0; }
            TreeMut::RangeTableSample(protobuf::RangeTableSample { relation, method, args, repeatable, location }) => { node_in(relation, out); nodes_in(method, out); nodes_in(args, out); node_in(repeatable, out); *location = 0; }
            TreeMut::ColumnDef(protobuf::ColumnDef { colname: _, type_name, compression: _, inhcount: _, is_local: _, is_not_null: _, is_from_type: _, storage: _, storage_name: _, raw_default, cooked_default, identity: _, identity_sequence, generated: _, coll_clause, coll_oid: _, constraints, fdwoptions, location }) => { if let Some(message) = type_name { out.push(TreeMut::TypeName(message)) }; node_in(raw_default, out); node_in(cooked_default, out); if let Some(message) = identity_sequence { out.push(TreeMut::RangeVar(message)) }; if let Some(message) = coll_clause { out.push(TreeMut::CollateClause(message)) }; nodes_in(constraints, out); nodes_in(fdwoptions, out); *location = 0; }
            TreeMut::TableLikeClause(protobuf::TableLikeClause { relation, options: _, relation_oid: _ }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; }
            TreeMut::IndexElem(protobuf::IndexElem { name: _, expr, indexcolname: _, collation, opclass, opclassopts, ordering: _, nulls_ordering: _ }) => { node_in(expr, out); nodes_in(collation, out); nodes_in(opclass, out); nodes_in(opclassopts, out); }
            TreeMut::DefElem(protobuf::DefElem { defnamespace: _, defname: _, arg, defaction: _, location, arg_location }) => { node_in(arg, out); *location = 0; *arg_location = 0; }
            TreeMut::LockingClause(protobuf::LockingClause { locked_rels, strength: _, wait_policy: _ }) => { nodes_in(locked_rels, out); }
            TreeMut::XmlSerialize(protobuf::XmlSerialize { xmloption: _, expr, type_name, indent: _, location }) => { node_in(expr, out); if let Some(message) = type_name { out.push(TreeMut::TypeName(message)) }; *location = 0; }
            TreeMut::PartitionElem(protobuf::PartitionElem { name: _, expr, collation, opclass, location }) => { node_in(expr, out); nodes_in(collation, out); nodes_in(opclass, out); *location = 0; }
            TreeMut::PartitionSpec(protobuf::PartitionSpec { strategy: _, part_params, location }) => { nodes_in(part_params, out); *location = 0; }
            TreeMut::PartitionBoundSpec(protobuf::PartitionBoundSpec { strategy: _, is_default: _, modulus: _, remainder: _, listdatums, lowerdatums, upperdatums, location }) => { nodes_in(listdatums, out); nodes_in(lowerdatums, out); nodes_in(upperdatums, out); *location = 0; }
            TreeMut::PartitionRangeDatum(protobuf::PartitionRangeDatum { kind: _, value, location }) => { node_in(value, out); *location = 0; }
            TreeMut::PartitionCmd(protobuf::PartitionCmd { name, bound, concurrent: _ }) => { if let Some(message) = name { out.push(TreeMut::RangeVar(message)) }; if let Some(message) = bound { out.push(TreeMut::PartitionBoundSpec(message)) }; }
            TreeMut::RangeTblEntry(protobuf::RangeTblEntry { alias, eref, rtekind: _, relid: _, inh: _, relkind: _, rellockmode: _, perminfoindex: _, tablesample, subquery, security_barrier: _, jointype: _, joinmergedcols: _, joinaliasvars, joinleftcols, joinrightcols, join_using_alias, functions, funcordinality: _, tablefunc, values_lists, ctename: _, ctelevelsup: _, self_reference: _, coltypes, coltypmods, colcollations, enrname: _, enrtuples: _, groupexprs, lateral: _, in_from_cl: _, security_quals }) => { if let Some(message) = alias { out.push(TreeMut::Alias(message)) }; if let Some(message) = eref { out.push(TreeMut::Alias(message)) }; if let Some(message) = tablesample { out.push(TreeMut::TableSampleClause(message)) }; if let Some(message) = subquery { out.push(TreeMut::Query(message)) }; nodes_in(joinaliasvars, out); nodes_in(joinleftcols, out); nodes_in(joinrightcols, out); if let Some(message) = join_using_alias { out.push(TreeMut::Alias(message)) }; nodes_in(functions, out); if let Some(message) = tablefunc { out.push(TreeMut::TableFunc(message)) }; nodes_in(values_lists, out); nodes_in(coltypes, out); nodes_in(coltypmods, out); nodes_in(colcollations, out); nodes_in(groupexprs, out); nodes_in(security_quals, out); }
            TreeMut::RtePermissionInfo(protobuf::RtePermissionInfo { relid: _, inh: _, required_perms: _, check_as_user: _, selected_cols: _, inserted_cols: _, updated_cols: _ }) => {}
            TreeMut::RangeTblFunction(protobuf::RangeTblFunction { funcexpr, funccolcount: _, funccolnames, funccoltypes, funccoltypmods, funccolcollations, funcparams: _ }) => { node_in(funcexpr, out); nodes_in(funccolnames, out); nodes_in(funccoltypes, out); nodes_in(funccoltypmods, out); nodes_in(funccolcollations, out); }
            TreeMut::TableSampleClause(protobuf::TableSampleClause { tsmhandler: _, args, repeatable }) => { nodes_in(args, out); node_in(repeatable, out); }
            TreeMut::WithCheckOption(protobuf::WithCheckOption { kind: _, relname: _, polname: _, qual, cascaded: _ }) => { node_in(qual, out); }
            TreeMut::SortGroupClause(protobuf::SortGroupClause { tle_sort_group_ref: _, eqop: _, sortop: _, reverse_sort: _, nulls_first: _, hashable: _ }) => {}
            TreeMut::GroupingSet(protobuf::GroupingSet { kind: _, content, location }) => { nodes_in(content, out); *location = 0; }
            TreeMut::WindowClause(protobuf::WindowClause { name: _, refname: _, partition_clause, order_clause, frame_options: _, start_offset, end_offset, start_in_range_func: _, end_in_range_func: _, in_range_coll: _, in_range_asc: _, in_range_nulls_first: _, winref: _, copied_order: _ }) => { nodes_in(partition_clause, out); nodes_in(order_clause, out); node_in(start_offset, out); node_in(end_offset, out); }
            TreeMut::RowMarkClause(protobuf::RowMarkClause { rti: _, strength: _, wait_policy: _, pushed_down: _ }) => {}
            TreeMut::WithClause(protobuf::WithClause { ctes, recursive: _, location }) => { nodes_in(ctes, out); *location = 0; }
            TreeMut::InferClause(protobuf::InferClause { index_elems, where_clause, conname: _, location }) => { nodes_in(index_elems, out); node_in(where_clause, out); *location = 0; }
            TreeMut::OnConflictClause(protobuf::OnConflictClause { action: _, infer, target_list, where_clause, location }) => { if let Some(message) = infer { out.push(TreeMut::InferClause(message)) }; nodes_in(target_list, out); node_in(where_clause, out); *location = 0; }
            TreeMut::CteSearchClause(protobuf::CteSearchClause { search_col_list, search_breadth_first: _, search_seq_column: _, location }) => { nodes_in(search_col_list, out); *location = 0; }
            TreeMut::CteCycleClause(protobuf::CteCycleClause { cycle_col_list, cycle_mark_column: _, cycle_mark_value, cycle_mark_default, cycle_path_column: _, location, cycle_mark_type: _, cycle_mark_typmod: _, cycle_mark_collation: _, cycle_mark_neop: _ }) => { nodes_in(cycle_col_list, out); node_in(cycle_mark_value, out); node_in(cycle_mark_default, out); *location = 0; }
            TreeMut::CommonTableExpr(protobuf::CommonTableExpr { ctename: _, aliascolnames, ctematerialized: _, ctequery, search_clause, cycle_clause, location, cterecursive: _, cterefcount: _, ctecolnames, ctecoltypes, ctecoltypmods, ctecolcollations }) => { nodes_in(aliascolnames, out); node_in(ctequery, out); if let Some(message) = search_clause { out.push(TreeMut::CteSearchClause(message)) }; if let Some(message) = cycle_clause { out.push(TreeMut::CteCycleClause(message)) }; *location = 0; nodes_in(ctecolnames, out); nodes_in(ctecoltypes, out); nodes_in(ctecoltypmods, out); nodes_in(ctecolcollations, out); }
            TreeMut::MergeWhenClause(protobuf::MergeWhenClause { match_kind: _, command_type: _, r#override: _, condition, target_list, values }) => { node_in(condition, out); nodes_in(target_list, out); nodes_in(values, out); }
            TreeMut::ReturningOption(protobuf::ReturningOption { option: _, value: _, location }) => { *location = 0; }
            TreeMut::ReturningClause(protobuf::ReturningClause { options, exprs }) => { nodes_in(options, out); nodes_in(exprs, out); }
            TreeMut::TriggerTransition(protobuf::TriggerTransition { name: _, is_new: _, is_table: _ }) => {}
            TreeMut::JsonOutput(protobuf::JsonOutput { type_name, returning }) => { if let Some(message) = type_name { out.push(TreeMut::TypeName(message)) }; if let Some(message) = returning { out.push(TreeMut::JsonReturning(message)) }; }
            TreeMut::JsonArgument(protobuf::JsonArgument { val, name: _ }) => { if let Some(message) = val { out.push(TreeMut::JsonValueExpr(message)) }; }
            TreeMut::JsonFuncExpr(protobuf::JsonFuncExpr { op: _, column_name: _, context_item, pathspec, passing, output, on_empty, on_error, wrapper: _, quotes: _, location }) => { if let Some(message) = context_item { out.push(TreeMut::JsonValueExpr(message)) }; node_in(pathspec, out); nodes_in(passing, out); if let Some(message) = output { out.push(TreeMut::JsonOutput(message)) }; if let Some(message) = on_empty { out.push(TreeMut::JsonBehavior(message)) }; if let Some(message) = on_error { out.push(TreeMut::JsonBehavior(message)) }; *location = 0; }
            TreeMut::JsonTablePathSpec(protobuf::JsonTablePathSpec { string, name: _, name_location, location }) => { node_in(string, out); *name_location = 0; *location = 0; }
            TreeMut::JsonTable(protobuf::JsonTable { context_item, pathspec, passing, columns, on_error, alias, lateral: _, location }) => { if let Some(message) = context_item { out.push(TreeMut::JsonValueExpr(message)) }; if let Some(message) = pathspec { out.push(TreeMut::JsonTablePathSpec(message)) }; nodes_in(passing, out); nodes_in(columns, out); if let Some(message) = on_error { out.push(TreeMut::JsonBehavior(message)) }; if let Some(message) = alias { out.push(TreeMut::Alias(message)) }; *location = 0; }
            TreeMut::JsonTableColumn(protobuf::JsonTableColumn { coltype: _, name: _, type_name, pathspec, format, wrapper: _, quotes: _, columns, on_empty, on_error, location }) => { if let Some(message) = type_name { out.push(TreeMut::TypeName(message)) }; if let Some(message) = pathspec { out.push(TreeMut::JsonTablePathSpec(message)) }; if let Some(message) = format { out.push(TreeMut::JsonFormat(message)) }; nodes_in(columns, out); if let Some(message) = on_empty { out.push(TreeMut::JsonBehavior(message)) }; if let Some(message) = on_error { out.push(TreeMut::JsonBehavior(message)) }; *location = 0; }
            TreeMut::JsonKeyValue(protobuf::JsonKeyValue { key, value }) => { node_in(key, out); if let Some(message) = value { out.push(TreeMut::JsonValueExpr(message)) }; }
            TreeMut::JsonParseExpr(protobuf::JsonParseExpr { expr, output, unique_keys: _, location }) => { if let Some(message) = expr { out.push(TreeMut::JsonValueExpr(message)) }; if let Some(message) = output { out.push(TreeMut::JsonOutput(message)) }; *location = 0; }
            TreeMut::JsonScalarExpr(protobuf::JsonScalarExpr { expr, output, location }) => { node_in(expr, out); if let Some(message) = output { out.push(TreeMut::JsonOutput(message)) }; *location = 0; }
            TreeMut::JsonSerializeExpr(protobuf::JsonSerializeExpr { expr, output, location }) => { if let Some(message) = expr { out.push(TreeMut::JsonValueExpr(message)) }; if let Some(message) = output { out.push(TreeMut::JsonOutput(message)) }; *location = 0; }
            TreeMut::JsonObjectConstructor(protobuf::JsonObjectConstructor { exprs, output, absent_on_null: _, unique: _, location }) => { nodes_in(exprs, out); if let Some(message) = output { out.push(TreeMut::JsonOutput(message)) }; *location = 0; }
            TreeMut::JsonArrayConstructor(protobuf::JsonArrayConstructor { exprs, output, absent_on_null: _, location }) => { nodes_in(exprs, out); if let Some(message) = output { out.push(TreeMut::JsonOutput(message)) }; *location = 0; }
            TreeMut::JsonArrayQueryConstructor(protobuf::JsonArrayQueryConstructor { query, output, format, absent_on_null: _, location }) => { node_in(query, out); if let Some(message) = output { out.push(TreeMut::JsonOutput(message)) }; if let Some(message) = format { out.push(TreeMut::JsonFormat(message)) }; *location = 0; }
            TreeMut::JsonAggConstructor(protobuf::JsonAggConstructor { output, agg_filter, agg_order, over, location }) => { if let Some(message) = output { out.push(TreeMut::JsonOutput(message)) }; node_in(agg_filter, out); nodes_in(agg_order, out); if let Some(message) = over { out.push(TreeMut::WindowDef(message)) }; *location = 0; }
            TreeMut::JsonObjectAgg(protobuf::JsonObjectAgg { constructor, arg, absent_on_null: _, unique: _ }) => { if let Some(message) = constructor { out.push(TreeMut::JsonAggConstructor(message)) }; if let Some(message) = arg { out.push(TreeMut::JsonKeyValue(message)) }; }
            TreeMut::JsonArrayAgg(protobuf::JsonArrayAgg { constructor, arg, absent_on_null: _ }) => { if let Some(message) = constructor { out.push(TreeMut::JsonAggConstructor(message)) }; if let Some(message) = arg { out.push(TreeMut::JsonValueExpr(message)) }; }
            TreeMut::RawStmt(protobuf::RawStmt { stmt, stmt_location, stmt_len }) => { node_in(stmt, out); *stmt_location = 0; *stmt_len = 0; }
            TreeMut::InsertStmt(protobuf::InsertStmt { relation, cols, select_stmt, on_conflict_clause, returning_clause, with_clause, r#override: _ }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; nodes_in(cols, out); node_in(select_stmt, out); if let Some(message) = on_conflict_clause { out.push(TreeMut::OnConflictClause(message)) }; if let Some(message) = returning_clause { out.push(TreeMut::ReturningClause(message)) }; if let Some(message) = with_clause { out.push(TreeMut::WithClause(message)) }; }
            TreeMut::DeleteStmt(protobuf::DeleteStmt { relation, using_clause, where_clause, returning_clause, with_clause }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; nodes_in(using_clause, out); node_in(where_clause, out); if let Some(message) = returning_clause { out.push(TreeMut::ReturningClause(message)) }; if let Some(message) = with_clause { out.push(TreeMut::WithClause(message)) }; }
            TreeMut::UpdateStmt(protobuf::UpdateStmt { relation, target_list, where_clause, from_clause, returning_clause, with_clause }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; nodes_in(target_list, out); node_in(where_clause, out); nodes_in(from_clause, out); if let Some(message) = returning_clause { out.push(TreeMut::ReturningClause(message)) }; if let Some(message) = with_clause { out.push(TreeMut::WithClause(message)) }; }
            TreeMut::MergeStmt(protobuf::MergeStmt { relation, source_relation, join_condition, merge_when_clauses, returning_clause, with_clause }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; node_in(source_relation, out); node_in(join_condition, out); nodes_in(merge_when_clauses, out); if let Some(message) = returning_clause { out.push(TreeMut::ReturningClause(message)) }; if let Some(message) = with_clause { out.push(TreeMut::WithClause(message)) }; }
            TreeMut::SelectStmt(protobuf::SelectStmt { distinct_clause, into_clause, target_list, from_clause, where_clause, group_clause, group_distinct: _, having_clause, window_clause, values_lists, sort_clause, limit_offset, limit_count, limit_option: _, locking_clause, with_clause, op: _, all: _, larg, rarg }) => { nodes_in(distinct_clause, out); if let Some(message) = into_clause { out.push(TreeMut::IntoClause(message)) }; nodes_in(target_list, out); nodes_in(from_clause, out); node_in(where_clause, out); nodes_in(group_clause, out); node_in(having_clause, out); nodes_in(window_clause, out); nodes_in(values_lists, out); nodes_in(sort_clause, out); node_in(limit_offset, out); node_in(limit_count, out); nodes_in(locking_clause, out); if let Some(message) = with_clause { out.push(TreeMut::WithClause(message)) }; if let Some(message) = larg { out.push(TreeMut::SelectStmt(message)) }; if let Some(message) = rarg { out.push(TreeMut::SelectStmt(message)) }; }
            TreeMut::SetOperationStmt(protobuf::SetOperationStmt { op: _, all: _, larg, rarg, col_types, col_typmods, col_collations, group_clauses }) => { node_in(larg, out); node_in(rarg, out); nodes_in(col_types, out); nodes_in(col_typmods, out); nodes_in(col_collations, out); nodes_in(group_clauses, out); }
            TreeMut::ReturnStmt(protobuf::ReturnStmt { returnval }) => { node_in(returnval, out); }
            TreeMut::PlAssignStmt(protobuf::PlAssignStmt { name: _, indirection, nnames: _, val, location }) => { nodes_in(indirection, out); if let Some(message) = val { out.push(TreeMut::SelectStmt(message)) }; *location = 0; }
            TreeMut::CreateSchemaStmt(protobuf::CreateSchemaStmt { schemaname: _, authrole, schema_elts, if_not_exists: _ }) => { if let Some(message) = authrole { out.push(TreeMut::RoleSpec(message)) }; nodes_in(schema_elts, out); }
            TreeMut::AlterTableStmt(protobuf::AlterTableStmt { relation, cmds, objtype: _, missing_ok: _ }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; nodes_in(cmds, out); }
            TreeMut::AlterTableCmd(protobuf::AlterTableCmd { subtype: _, name: _, num: _, newowner, def, behavior: _, missing_ok: _, recurse: _ }) => { if let Some(message) = newowner { out.push(TreeMut::RoleSpec(message)) }; node_in(def, out); }
            TreeMut::AtAlterConstraint(protobuf::AtAlterConstraint { conname: _, alter_enforceability: _, is_enforced: _, alter_deferrability: _, deferrable: _, initdeferred: _, alter_inheritability: _, noinherit: _ }) => {}
            TreeMut::ReplicaIdentityStmt(protobuf::ReplicaIdentityStmt { identity_type: _, name: _ }) => {}
            TreeMut::AlterCollationStmt(protobuf::AlterCollationStmt { collname }) => { nodes_in(collname, out); }
            TreeMut::AlterDomainStmt(protobuf::AlterDomainStmt { subtype: _, type_name, name: _, def, behavior: _, missing_ok: _ }) => { nodes_in(type_name, out); node_in(def, out); }
            TreeMut::GrantStmt(protobuf::GrantStmt { is_grant: _, targtype: _, objtype: _, objects, privileges, grantees, grant_option: _, grantor, behavior: _ }) => { nodes_in(objects, out); nodes_in(privileges, out); nodes_in(grantees, out); if let Some(message) = grantor { out.push(TreeMut::RoleSpec(message)) }; }
            TreeMut::ObjectWithArgs(protobuf::ObjectWithArgs { objname, objargs, objfuncargs, args_unspecified: _ }) => { nodes_in(objname, out); nodes_in(objargs, out); nodes_in(objfuncargs, out); }
            TreeMut::AccessPriv(protobuf::AccessPriv { priv_name: _, cols }) => { nodes_in(cols, out); }
            TreeMut::GrantRoleStmt(protobuf::GrantRoleStmt { granted_roles, grantee_roles, is_grant: _, opt, grantor, behavior: _ }) => { nodes_in(granted_roles, out); nodes_in(grantee_roles, out); nodes_in(opt, out); if let Some(message) = grantor { out.push(TreeMut::RoleSpec(message)) }; }
            TreeMut::AlterDefaultPrivilegesStmt(protobuf::AlterDefaultPrivilegesStmt { options, action }) => { nodes_in(options, out); if let Some(message) = action { out.push(TreeMut::GrantStmt(message)) }; }
            TreeMut::CopyStmt(protobuf::CopyStmt { relation, query, attlist, is_from: _, is_program: _, filename: _, options, where_clause }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; node_in(query, out); nodes_in(attlist, out); nodes_in(options, out); node_in(where_clause, out); }
            TreeMut::VariableSetStmt(protobuf::VariableSetStmt { kind: _, name: _, args, jumble_args: _, is_local: _, location }) => { nodes_in(args, out); *location = 0; }
            TreeMut::VariableShowStmt(protobuf::VariableShowStmt { name: _ }) => {}
            TreeMut::CreateStmt(protobuf::CreateStmt { relation, table_elts, inh_relations, partbound, partspec, of_typename, constraints, nnconstraints, options, oncommit: _, tablespacename: _, access_method: _, if_not_exists: _ }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; nodes_in(table_elts, out); nodes_in(inh_relations, out); if let Some(message) = partbound { out.push(TreeMut::PartitionBoundSpec(message)) }; if let Some(message) = partspec { out.push(TreeMut::PartitionSpec(message)) }; if let Some(message) = of_typename { out.push(TreeMut::TypeName(message)) }; nodes_in(constraints, out); nodes_in(nnconstraints, out); nodes_in(options, out); }
            TreeMut::Constraint(protobuf::Constraint { contype: _, conname: _, deferrable: _, initdeferred: _, is_enforced: _, skip_validation: _, initially_valid: _, is_no_inherit: _, raw_expr, cooked_expr: _, generated_when: _, generated_kind: _, nulls_not_distinct: _, keys, without_overlaps: _, including, exclusions, options, indexname: _, indexspace: _, reset_default_tblspc: _, access_method: _, where_clause, pktable, fk_attrs, pk_attrs, fk_with_period: _, pk_with_period: _, fk_matchtype: _, fk_upd_action: _, fk_del_action: _, fk_del_set_cols, old_conpfeqop, old_pktable_oid: _, location }) => { node_in(raw_expr, out); nodes_in(keys, out); nodes_in(including, out); nodes_in(exclusions, out); nodes_in(options, out); node_in(where_clause, out); if let Some(message) = pktable { out.push(TreeMut::RangeVar(message)) }; nodes_in(fk_attrs, out); nodes_in(pk_attrs, out); nodes_in(fk_del_set_cols, out); nodes_in(old_conpfeqop, out); *location = 0; }
            TreeMut::CreateTableSpaceStmt(protobuf::CreateTableSpaceStmt { tablespacename: _, owner, location: _, options }) => { if let Some(message) = owner { out.push(TreeMut::RoleSpec(message)) }; nodes_in(options, out); }
            TreeMut::DropTableSpaceStmt(protobuf::DropTableSpaceStmt { tablespacename: _, missing_ok: _ }) => {}
            TreeMut::AlterTableSpaceOptionsStmt(protobuf::AlterTableSpaceOptionsStmt { tablespacename: _, options, is_reset: _ }) => { nodes_in(options, out); }
            TreeMut::AlterTableMoveAllStmt(protobuf::AlterTableMoveAllStmt { orig_tablespacename: _, objtype: _, roles, new_tablespacename: _, nowait: _ }) => { nodes_in(roles, out); }
            TreeMut::CreateExtensionStmt(protobuf::CreateExtensionStmt { extname: _, if_not_exists: _, options }) => { nodes_in(options, out); }
            TreeMut::AlterExtensionStmt(protobuf::AlterExtensionStmt { extname: _, options }) => { nodes_in(options, out); }
            TreeMut::AlterExtensionContentsStmt(protobuf::AlterExtensionContentsStmt { extname: _, action: _, objtype: _, object }) => { node_in(object, out); }
            TreeMut::CreateFdwStmt(protobuf::CreateFdwStmt { fdwname: _, func_options, options }) => { nodes_in(func_options, out); nodes_in(options, out); }
            TreeMut::AlterFdwStmt(protobuf::AlterFdwStmt { fdwname: _, func_options, options }) => { nodes_in(func_options, out); nodes_in(options, out); }
            TreeMut::CreateForeignServerStmt(protobuf::CreateForeignServerStmt { servername: _, servertype: _, version: _, fdwname: _, if_not_exists: _, options }) => { nodes_in(options, out); }
            TreeMut::AlterForeignServerStmt(protobuf::AlterForeignServerStmt { servername: _, version: _, options, has_version: _ }) => { nodes_in(options, out); }
            TreeMut::CreateForeignTableStmt(protobuf::CreateForeignTableStmt { base_stmt, servername: _, options }) => { if let Some(message) = base_stmt { out.push(TreeMut::CreateStmt(message)) }; nodes_in(options, out); }
            TreeMut::CreateUserMappingStmt(protobuf::CreateUserMappingStmt { user, servername: _, if_not_exists: _, options }) => { if let Some(message) = user { out.push(TreeMut::RoleSpec(message)) }; nodes_in(options, out); }
            TreeMut::AlterUserMappingStmt(protobuf::AlterUserMappingStmt { user, servername: _, options }) => { if let Some(message) = user { out.push(TreeMut::RoleSpec(message)) }; nodes_in(options, out); }
            TreeMut::DropUserMappingStmt(protobuf::DropUserMappingStmt { user, servername: _, missing_ok: _ }) => { if let Some(message) = user { out.push(TreeMut::RoleSpec(message)) }; }
            TreeMut::ImportForeignSchemaStmt(protobuf::ImportForeignSchemaStmt { server_name: _, remote_schema: _, local_schema: _, list_type: _, table_list, options }) => { nodes_in(table_list, out); nodes_in(options, out); }
            TreeMut::CreatePolicyStmt(protobuf::CreatePolicyStmt { policy_name: _, table, cmd_name: _, permissive: _, roles, qual, with_check }) => { if let Some(message) = table { out.push(TreeMut::RangeVar(message)) }; nodes_in(roles, out); node_in(qual, out); node_in(with_check, out); }
            TreeMut::AlterPolicyStmt(protobuf::AlterPolicyStmt { policy_name: _, table, roles, qual, with_check }) => { if let Some(message) = table { out.push(TreeMut::RangeVar(message)) }; nodes_in(roles, out); node_in(qual, out); node_in(with_check, out); }
            TreeMut::CreateAmStmt(protobuf::CreateAmStmt { amname: _, handler_name, amtype: _ }) => { nodes_in(handler_name, out); }
            TreeMut::CreateTrigStmt(protobuf::CreateTrigStmt { replace: _, isconstraint: _, trigname: _, relation, funcname, args, row: _, timing: _, events: _, columns, when_clause, transition_rels, deferrable: _, initdeferred: _, constrrel }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; nodes_in(funcname, out); nodes_in(args, out); nodes_in(columns, out); node_in(when_clause, out); nodes_in(transition_rels, out); if let Some(message) = constrrel { out.push(TreeMut::RangeVar(message)) }; }
            TreeMut::CreateEventTrigStmt(protobuf::CreateEventTrigStmt { trigname: _, eventname: _, whenclause, funcname }) => { nodes_in(whenclause, out); nodes_in(funcname, out); }
            TreeMut::AlterEventTrigStmt(protobuf::AlterEventTrigStmt { trigname: _, tgenabled: _ }) => {}
            TreeMut::CreatePLangStmt(protobuf::CreatePLangStmt { replace: _, plname: _, plhandler, plinline, plvalidator, pltrusted: _ }) => { nodes_in(plhandler, out); nodes_in(plinline, out); nodes_in(plvalidator, out); }
            TreeMut::CreateRoleStmt(protobuf::CreateRoleStmt { stmt_type: _, role: _, options }) => { nodes_in(options, out); }
            TreeMut::AlterRoleStmt(protobuf::AlterRoleStmt { role, options, action: _ }) => { if let Some(message) = role { out.push(TreeMut::RoleSpec(message)) }; nodes_in(options, out); }
            TreeMut::AlterRoleSetStmt(protobuf::AlterRoleSetStmt { role, database: _, setstmt }) => { if let Some(message) = role { out.push(TreeMut::RoleSpec(message)) }; if let Some(message) = setstmt { out.push(TreeMut::VariableSetStmt(message)) }; }
            TreeMut::DropRoleStmt(protobuf::DropRoleStmt { roles, missing_ok: _ }) => { nodes_in(roles, out); }
            TreeMut::CreateSeqStmt(protobuf::CreateSeqStmt { sequence, options, owner_id: _, for_identity: _, if_not_exists: _ }) => { if let Some(message) = sequence { out.push(TreeMut::RangeVar(message)) }; nodes_in(options, out); }
            TreeMut::AlterSeqStmt(protobuf::AlterSeqStmt { sequence, options, for_identity: _, missing_ok: _ }) => { if let Some(message) = sequence { out.push(TreeMut::RangeVar(message)) }; nodes_in(options, out); }
            TreeMut::DefineStmt(protobuf::DefineStmt { kind: _, oldstyle: _, defnames, args, definition, if_not_exists: _, replace: _ }) => { nodes_in(defnames, out); nodes_in(args, out); nodes_in(definition, out); }
            TreeMut::CreateDomainStmt(protobuf::CreateDomainStmt { domainname, type_name, coll_clause, constraints }) => { nodes_in(domainname, out); if let Some(message) = type_name { out.push(TreeMut::TypeName(message)) }; if let Some(message) = coll_clause { out.push(TreeMut::CollateClause(message)) }; nodes_in(constraints, out); }
            TreeMut::CreateOpClassStmt(protobuf::CreateOpClassStmt { opclassname, opfamilyname, amname: _, datatype, items, is_default: _ }) => { nodes_in(opclassname, out); nodes_in(opfamilyname, out); if let Some(message) = datatype { out.push(TreeMut::TypeName(message)) }; nodes_in(items, out); }
            TreeMut::CreateOpClassItem(protobuf::CreateOpClassItem { itemtype: _, name, number: _, order_family, class_args, storedtype }) => { if let Some(message) = name { out.push(TreeMut::ObjectWithArgs(message)) }; nodes_in(order_family, out); nodes_in(class_args, out); if let Some(message) = storedtype { out.push(TreeMut::TypeName(message)) }; }
            TreeMut::CreateOpFamilyStmt(protobuf::CreateOpFamilyStmt { opfamilyname, amname: _ }) => { nodes_in(opfamilyname, out); }
            TreeMut::AlterOpFamilyStmt(protobuf::AlterOpFamilyStmt { opfamilyname, amname: _, is_drop: _, items }) => { nodes_in(opfamilyname, out); nodes_in(items, out); }
            TreeMut::DropStmt(protobuf::DropStmt { objects, remove_type: _, behavior: _, missing_ok: _, concurrent: _ }) => { nodes_in(objects, out); }
            TreeMut::TruncateStmt(protobuf::TruncateStmt { relations, restart_seqs: _, behavior: _ }) => { nodes_in(relations, out); }
            TreeMut::CommentStmt(protobuf::CommentStmt { objtype: _, object, comment: _ }) => { node_in(object, out); }
            TreeMut::SecLabelStmt(protobuf::SecLabelStmt { objtype: _, object, provider: _, label: _ }) => { node_in(object, out); }
            TreeMut::DeclareCursorStmt(protobuf::DeclareCursorStmt { portalname: _, options: _, query }) => { node_in(query, out); }
            TreeMut::ClosePortalStmt(protobuf::ClosePortalStmt { portalname: _ }) => {}
            TreeMut::FetchStmt(protobuf::FetchStmt { direction: _, how_many: _, portalname: _, ismove: _ }) => {}
            TreeMut::IndexStmt(protobuf::IndexStmt { idxname: _, relation, access_method: _, table_space: _, index_params, index_including_params, options, where_clause, exclude_op_names, idxcomment: _, index_oid: _, old_number: _, old_create_subid: _, old_first_relfilelocator_subid: _, unique: _, nulls_not_distinct: _, primary: _, isconstraint: _, iswithoutoverlaps: _, deferrable: _, initdeferred: _, transformed: _, concurrent: _, if_not_exists: _, reset_default_tblspc: _ }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; nodes_in(index_params, out); nodes_in(index_including_params, out); nodes_in(options, out); node_in(where_clause, out); nodes_in(exclude_op_names, out); }
            TreeMut::CreateStatsStmt(protobuf::CreateStatsStmt { defnames, stat_types, exprs, relations, stxcomment: _, transformed: _, if_not_exists: _ }) => { nodes_in(defnames, out); nodes_in(stat_types, out); nodes_in(exprs, out); nodes_in(relations, out); }
            TreeMut::StatsElem(protobuf::StatsElem { name: _, expr }) => { node_in(expr, out); }
            TreeMut::AlterStatsStmt(protobuf::AlterStatsStmt { defnames, stxstattarget, missing_ok: _ }) => { nodes_in(defnames, out); node_in(stxstattarget, out); }
            TreeMut::CreateFunctionStmt(protobuf::CreateFunctionStmt { is_procedure: _, replace: _, funcname, parameters, return_type, options, sql_body }) => { nodes_in(funcname, out); nodes_in(parameters, out); if let Some(message) = return_type { out.push(TreeMut::TypeName(message)) }; nodes_in(options, out); node_in(sql_body, out); }
            TreeMut::FunctionParameter(protobuf::FunctionParameter { name: _, arg_type, mode: _, defexpr, location }) => { if let Some(message) = arg_type { out.push(TreeMut::TypeName(message)) }; node_in(defexpr, out); *location = 0; }
            TreeMut::AlterFunctionStmt(protobuf::AlterFunctionStmt { objtype: _, func, actions }) => { if let Some(message) = func { out.push(TreeMut::ObjectWithArgs(message)) }; nodes_in(actions, out); }
            TreeMut::DoStmt(protobuf::DoStmt { args }) => { nodes_in(args, out); }
            TreeMut::InlineCodeBlock(protobuf::InlineCodeBlock { source_text: _, lang_oid: _, lang_is_trusted: _, atomic: _ }) => {}
            TreeMut::CallStmt(protobuf::CallStmt { funccall, funcexpr, outargs }) => { if let Some(message) = funccall { out.push(TreeMut::FuncCall(message)) }; if let Some(message) = funcexpr { out.push(TreeMut::FuncExpr(message)) }; nodes_in(outargs, out); }
            TreeMut::CallContext(protobuf::CallContext { atomic: _ }) => {}
            TreeMut::RenameStmt(protobuf::RenameStmt { rename_type: _, relation_type: _, relation, object, subname: _, newname: _, behavior: _, missing_ok: _ }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; node_in(object, out); }
            TreeMut::AlterObjectDependsStmt(protobuf::AlterObjectDependsStmt { object_type: _, relation, object, extname, remove: _ }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; node_in(object, out); if let Some(message) = extname { out.push(TreeMut::String(message)) }; }
            TreeMut::AlterObjectSchemaStmt(protobuf::AlterObjectSchemaStmt { object_type: _, relation, object, newschema: _, missing_ok: _ }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; node_in(object, out); }
            TreeMut::AlterOwnerStmt(protobuf::AlterOwnerStmt { object_type: _, relation, object, newowner }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; node_in(object, out); if let Some(message) = newowner { out.push(TreeMut::RoleSpec(message)) }; }
            TreeMut::AlterOperatorStmt(protobuf::AlterOperatorStmt { opername, options }) => { if let Some(message) = opername { out.push(TreeMut::ObjectWithArgs(message)) }; nodes_in(options, out); }
            TreeMut::AlterTypeStmt(protobuf::AlterTypeStmt { type_name, options }) => { nodes_in(type_name, out); nodes_in(options, out); }
            TreeMut::RuleStmt(protobuf::RuleStmt { relation, rulename: _, where_clause, event: _, instead: _, actions, replace: _ }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; node_in(where_clause, out); nodes_in(actions, out); }
            TreeMut::NotifyStmt(protobuf::NotifyStmt { conditionname: _, payload: _, payload_location }) => { *payload_location = 0; }
            TreeMut::ListenStmt(protobuf::ListenStmt { conditionname: _ }) => {}
            TreeMut::UnlistenStmt(protobuf::UnlistenStmt { conditionname: _ }) => {}
            TreeMut::TransactionStmt(protobuf::TransactionStmt { kind: _, options, savepoint_name: _, gid: _, chain: _, location }) => { nodes_in(options, out); *location = 0; }
            TreeMut::CompositeTypeStmt(protobuf::CompositeTypeStmt { typevar, coldeflist }) => { if let Some(message) = typevar { out.push(TreeMut::RangeVar(message)) }; nodes_in(coldeflist, out); }
            TreeMut::CreateEnumStmt(protobuf::CreateEnumStmt { type_name, vals }) => { nodes_in(type_name, out); nodes_in(vals, out); }
            TreeMut::CreateRangeStmt(protobuf::CreateRangeStmt { type_name, params }) => { nodes_in(type_name, out); nodes_in(params, out); }
            TreeMut::AlterEnumStmt(protobuf::AlterEnumStmt { type_name, old_val: _, new_val: _, new_val_neighbor: _, new_val_is_after: _, skip_if_new_val_exists: _ }) => { nodes_in(type_name, out); }
            TreeMut::ViewStmt(protobuf::ViewStmt { view, aliases, query, replace: _, options, with_check_option: _ }) => { if let Some(message) = view { out.push(TreeMut::RangeVar(message)) }; nodes_in(aliases, out); node_in(query, out); nodes_in(options, out); }
            TreeMut::LoadStmt(protobuf::LoadStmt { filename: _ }) => {}
            TreeMut::CreatedbStmt(protobuf::CreatedbStmt { dbname: _, options }) => { nodes_in(options, out); }
            TreeMut::AlterDatabaseStmt(protobuf::AlterDatabaseStmt { dbname: _, options }) => { nodes_in(options, out); }
            TreeMut::AlterDatabaseRefreshCollStmt(protobuf::AlterDatabaseRefreshCollStmt { dbname: _ }) => {}
            TreeMut::AlterDatabaseSetStmt(protobuf::AlterDatabaseSetStmt { dbname: _, setstmt }) => { if let Some(message) = setstmt { out.push(TreeMut::VariableSetStmt(message)) }; }
            TreeMut::DropdbStmt(protobuf::DropdbStmt { dbname: _, missing_ok: _, options }) => { nodes_in(options, out); }
            TreeMut::AlterSystemStmt(protobuf::AlterSystemStmt { setstmt }) => { if let Some(message) = setstmt { out.push(TreeMut::VariableSetStmt(message)) }; }
            TreeMut::ClusterStmt(protobuf::ClusterStmt { relation, indexname: _, params }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; nodes_in(params, out); }
            TreeMut::VacuumStmt(protobuf::VacuumStmt { options, rels, is_vacuumcmd: _ }) => { nodes_in(options, out); nodes_in(rels, out); }
            TreeMut::VacuumRelation(protobuf::VacuumRelation { relation, oid: _, va_cols }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; nodes_in(va_cols, out); }
            TreeMut::ExplainStmt(protobuf::ExplainStmt { query, options }) => { node_in(query, out); nodes_in(options, out); }
            TreeMut::CreateTableAsStmt(protobuf::CreateTableAsStmt { query, into, objtype: _, is_select_into: _, if_not_exists: _ }) => { node_in(query, out); if let Some(message) = into { out.push(TreeMut::IntoClause(message)) }; }
            TreeMut::RefreshMatViewStmt(protobuf::RefreshMatViewStmt { concurrent: _, skip_data: _, relation }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; }
            TreeMut::CheckPointStmt(protobuf::CheckPointStmt {}) => {}
            TreeMut::DiscardStmt(protobuf::DiscardStmt { target: _ }) => {}
            TreeMut::LockStmt(protobuf::LockStmt { relations, mode: _, nowait: _ }) => { nodes_in(relations, out); }
            TreeMut::ConstraintsSetStmt(protobuf::ConstraintsSetStmt { constraints, deferred: _ }) => { nodes_in(constraints, out); }
            TreeMut::ReindexStmt(protobuf::ReindexStmt { kind: _, relation, name: _, params }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; nodes_in(params, out); }
            TreeMut::CreateConversionStmt(protobuf::CreateConversionStmt { conversion_name, for_encoding_name: _, to_encoding_name: _, func_name, def: _ }) => { nodes_in(conversion_name, out); nodes_in(func_name, out); }
            TreeMut::CreateCastStmt(protobuf::CreateCastStmt { sourcetype, targettype, func, context: _, inout: _ }) => { if let Some(message) = sourcetype { out.push(TreeMut::TypeName(message)) }; if let Some(message) = targettype { out.push(TreeMut::TypeName(message)) }; if let Some(message) = func { out.push(TreeMut::ObjectWithArgs(message)) }; }
            TreeMut::CreateTransformStmt(protobuf::CreateTransformStmt { replace: _, type_name, lang: _, fromsql, tosql }) => { if let Some(message) = type_name { out.push(TreeMut::TypeName(message)) }; if let Some(message) = fromsql { out.push(TreeMut::ObjectWithArgs(message)) }; if let Some(message) = tosql { out.push(TreeMut::ObjectWithArgs(message)) }; }
            TreeMut::PrepareStmt(protobuf::PrepareStmt { name: _, argtypes, query }) => { nodes_in(argtypes, out); node_in(query, out); }
            TreeMut::ExecuteStmt(protobuf::ExecuteStmt { name: _, params }) => { nodes_in(params, out); }
            TreeMut::DeallocateStmt(protobuf::DeallocateStmt { name: _, isall: _, location }) => { *location = 0; }
            TreeMut::DropOwnedStmt(protobuf::DropOwnedStmt { roles, behavior: _ }) => { nodes_in(roles, out); }
            TreeMut::ReassignOwnedStmt(protobuf::ReassignOwnedStmt { roles, newrole }) => { nodes_in(roles, out); if let Some(message) = newrole { out.push(TreeMut::RoleSpec(message)) }; }
            TreeMut::AlterTsDictionaryStmt(protobuf::AlterTsDictionaryStmt { dictname, options }) => { nodes_in(dictname, out); nodes_in(options, out); }
            TreeMut::AlterTsConfigurationStmt(protobuf::AlterTsConfigurationStmt { kind: _, cfgname, tokentype, dicts, r#override: _, replace: _, missing_ok: _ }) => { nodes_in(cfgname, out); nodes_in(tokentype, out); nodes_in(dicts, out); }
            TreeMut::PublicationTable(protobuf::PublicationTable { relation, where_clause, columns }) => { if let Some(message) = relation { out.push(TreeMut::RangeVar(message)) }; node_in(where_clause, out); nodes_in(columns, out); }
            TreeMut::PublicationObjSpec(protobuf::PublicationObjSpec { pubobjtype: _, name: _, pubtable, location }) => { if let Some(message) = pubtable { out.push(TreeMut::PublicationTable(message)) }; *location = 0; }
            TreeMut::CreatePublicationStmt(protobuf::CreatePublicationStmt { pubname: _, options, pubobjects, for_all_tables: _ }) => { nodes_in(options, out); nodes_in(pubobjects, out); }
            TreeMut::AlterPublicationStmt(protobuf::AlterPublicationStmt { pubname: _, options, pubobjects, for_all_tables: _, action: _ }) => { nodes_in(options, out); nodes_in(pubobjects, out); }
            TreeMut::CreateSubscriptionStmt(protobuf::CreateSubscriptionStmt { subname: _, conninfo: _, publication, options, conninfo_location }) => { nodes_in(publication, out); nodes_in(options, out); *conninfo_location = 0; }
            TreeMut::AlterSubscriptionStmt(protobuf::AlterSubscriptionStmt { kind: _, subname: _, conninfo: _, publication, options, conninfo_location }) => { nodes_in(publication, out); nodes_in(options, out); *conninfo_location = 0; }
            TreeMut::DropSubscriptionStmt(protobuf::DropSubscriptionStmt { subname: _, missing_ok: _, behavior: _ }) => {}
            TreeMut::Integer(protobuf::Integer { ival: _ }) => {}
            TreeMut::Float(protobuf::Float { fval: _ }) => {}
            TreeMut::Boolean(protobuf::Boolean { boolval: _ }) => {}
            TreeMut::String(protobuf::String { sval: _ }) => {}
            TreeMut::BitString(protobuf::BitString { bsval: _ }) => {}
            TreeMut::List(protobuf::List { items }) => { nodes_in(items, out); }
            TreeMut::IntList(protobuf::IntList { items }) => { nodes_in(items, out); }
            TreeMut::OidList(protobuf::OidList { items }) => { nodes_in(items, out); }
            TreeMut::AConst(protobuf::AConst { isnull: _, location, val: _ }) => { *location = 0; }
        }
    }
}

/// The child in an optional node.
fn node_in<'a>(node: &'a mut Option<Box<Node>>, out: &mut Vec<TreeMut<'a>>) {
    out.extend(node.iter_mut().filter_map(|node| node.node.as_mut()).map(TreeMut::from));
}

/// The children in a list of nodes.
fn nodes_in<'a>(nodes: &'a mut [Node], out: &mut Vec<TreeMut<'a>>) {
    out.extend(nodes.iter_mut().filter_map(|node| node.node.as_mut()).map(TreeMut::from));
}
