//! Every node of a parse tree, and the way to its children. Made by `scripts/sql_tree.py` from pg_query's own messages.
//!
//! The patterns name every field, so a pg_query with other fields does not compile: nothing in a tree can be overlooked.
//! Nothing here recurses: a caller keeps its own stack.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, Node};

/// A reference to any message of a parse tree.
#[derive(Clone, Copy)]
#[rustfmt::skip]
pub(crate) enum Tree<'a> {
    Alias(&'a protobuf::Alias),
    RangeVar(&'a protobuf::RangeVar),
    TableFunc(&'a protobuf::TableFunc),
    IntoClause(&'a protobuf::IntoClause),
    Var(&'a protobuf::Var),
    Param(&'a protobuf::Param),
    Aggref(&'a protobuf::Aggref),
    GroupingFunc(&'a protobuf::GroupingFunc),
    WindowFunc(&'a protobuf::WindowFunc),
    WindowFuncRunCondition(&'a protobuf::WindowFuncRunCondition),
    MergeSupportFunc(&'a protobuf::MergeSupportFunc),
    SubscriptingRef(&'a protobuf::SubscriptingRef),
    FuncExpr(&'a protobuf::FuncExpr),
    NamedArgExpr(&'a protobuf::NamedArgExpr),
    OpExpr(&'a protobuf::OpExpr),
    DistinctExpr(&'a protobuf::DistinctExpr),
    NullIfExpr(&'a protobuf::NullIfExpr),
    ScalarArrayOpExpr(&'a protobuf::ScalarArrayOpExpr),
    BoolExpr(&'a protobuf::BoolExpr),
    SubLink(&'a protobuf::SubLink),
    SubPlan(&'a protobuf::SubPlan),
    AlternativeSubPlan(&'a protobuf::AlternativeSubPlan),
    FieldSelect(&'a protobuf::FieldSelect),
    FieldStore(&'a protobuf::FieldStore),
    RelabelType(&'a protobuf::RelabelType),
    CoerceViaIo(&'a protobuf::CoerceViaIo),
    ArrayCoerceExpr(&'a protobuf::ArrayCoerceExpr),
    ConvertRowtypeExpr(&'a protobuf::ConvertRowtypeExpr),
    CollateExpr(&'a protobuf::CollateExpr),
    CaseExpr(&'a protobuf::CaseExpr),
    CaseWhen(&'a protobuf::CaseWhen),
    CaseTestExpr(&'a protobuf::CaseTestExpr),
    ArrayExpr(&'a protobuf::ArrayExpr),
    RowExpr(&'a protobuf::RowExpr),
    RowCompareExpr(&'a protobuf::RowCompareExpr),
    CoalesceExpr(&'a protobuf::CoalesceExpr),
    MinMaxExpr(&'a protobuf::MinMaxExpr),
    SqlValueFunction(&'a protobuf::SqlValueFunction),
    XmlExpr(&'a protobuf::XmlExpr),
    JsonFormat(&'a protobuf::JsonFormat),
    JsonReturning(&'a protobuf::JsonReturning),
    JsonValueExpr(&'a protobuf::JsonValueExpr),
    JsonConstructorExpr(&'a protobuf::JsonConstructorExpr),
    JsonIsPredicate(&'a protobuf::JsonIsPredicate),
    JsonBehavior(&'a protobuf::JsonBehavior),
    JsonExpr(&'a protobuf::JsonExpr),
    JsonTablePath(&'a protobuf::JsonTablePath),
    JsonTablePathScan(&'a protobuf::JsonTablePathScan),
    JsonTableSiblingJoin(&'a protobuf::JsonTableSiblingJoin),
    NullTest(&'a protobuf::NullTest),
    BooleanTest(&'a protobuf::BooleanTest),
    MergeAction(&'a protobuf::MergeAction),
    CoerceToDomain(&'a protobuf::CoerceToDomain),
    CoerceToDomainValue(&'a protobuf::CoerceToDomainValue),
    SetToDefault(&'a protobuf::SetToDefault),
    CurrentOfExpr(&'a protobuf::CurrentOfExpr),
    NextValueExpr(&'a protobuf::NextValueExpr),
    InferenceElem(&'a protobuf::InferenceElem),
    ReturningExpr(&'a protobuf::ReturningExpr),
    TargetEntry(&'a protobuf::TargetEntry),
    RangeTblRef(&'a protobuf::RangeTblRef),
    JoinExpr(&'a protobuf::JoinExpr),
    FromExpr(&'a protobuf::FromExpr),
    OnConflictExpr(&'a protobuf::OnConflictExpr),
    Query(&'a protobuf::Query),
    TypeName(&'a protobuf::TypeName),
    ColumnRef(&'a protobuf::ColumnRef),
    ParamRef(&'a protobuf::ParamRef),
    AExpr(&'a protobuf::AExpr),
    TypeCast(&'a protobuf::TypeCast),
    CollateClause(&'a protobuf::CollateClause),
    RoleSpec(&'a protobuf::RoleSpec),
    FuncCall(&'a protobuf::FuncCall),
    AStar(&'a protobuf::AStar),
    AIndices(&'a protobuf::AIndices),
    AIndirection(&'a protobuf::AIndirection),
    AArrayExpr(&'a protobuf::AArrayExpr),
    ResTarget(&'a protobuf::ResTarget),
    MultiAssignRef(&'a protobuf::MultiAssignRef),
    SortBy(&'a protobuf::SortBy),
    WindowDef(&'a protobuf::WindowDef),
    RangeSubselect(&'a protobuf::RangeSubselect),
    RangeFunction(&'a protobuf::RangeFunction),
    RangeTableFunc(&'a protobuf::RangeTableFunc),
    RangeTableFuncCol(&'a protobuf::RangeTableFuncCol),
    RangeTableSample(&'a protobuf::RangeTableSample),
    ColumnDef(&'a protobuf::ColumnDef),
    TableLikeClause(&'a protobuf::TableLikeClause),
    IndexElem(&'a protobuf::IndexElem),
    DefElem(&'a protobuf::DefElem),
    LockingClause(&'a protobuf::LockingClause),
    XmlSerialize(&'a protobuf::XmlSerialize),
    PartitionElem(&'a protobuf::PartitionElem),
    PartitionSpec(&'a protobuf::PartitionSpec),
    PartitionBoundSpec(&'a protobuf::PartitionBoundSpec),
    PartitionRangeDatum(&'a protobuf::PartitionRangeDatum),
    PartitionCmd(&'a protobuf::PartitionCmd),
    RangeTblEntry(&'a protobuf::RangeTblEntry),
    RtePermissionInfo(&'a protobuf::RtePermissionInfo),
    RangeTblFunction(&'a protobuf::RangeTblFunction),
    TableSampleClause(&'a protobuf::TableSampleClause),
    WithCheckOption(&'a protobuf::WithCheckOption),
    SortGroupClause(&'a protobuf::SortGroupClause),
    GroupingSet(&'a protobuf::GroupingSet),
    WindowClause(&'a protobuf::WindowClause),
    RowMarkClause(&'a protobuf::RowMarkClause),
    WithClause(&'a protobuf::WithClause),
    InferClause(&'a protobuf::InferClause),
    OnConflictClause(&'a protobuf::OnConflictClause),
    CteSearchClause(&'a protobuf::CteSearchClause),
    CteCycleClause(&'a protobuf::CteCycleClause),
    CommonTableExpr(&'a protobuf::CommonTableExpr),
    MergeWhenClause(&'a protobuf::MergeWhenClause),
    ReturningOption(&'a protobuf::ReturningOption),
    ReturningClause(&'a protobuf::ReturningClause),
    TriggerTransition(&'a protobuf::TriggerTransition),
    JsonOutput(&'a protobuf::JsonOutput),
    JsonArgument(&'a protobuf::JsonArgument),
    JsonFuncExpr(&'a protobuf::JsonFuncExpr),
    JsonTablePathSpec(&'a protobuf::JsonTablePathSpec),
    JsonTable(&'a protobuf::JsonTable),
    JsonTableColumn(&'a protobuf::JsonTableColumn),
    JsonKeyValue(&'a protobuf::JsonKeyValue),
    JsonParseExpr(&'a protobuf::JsonParseExpr),
    JsonScalarExpr(&'a protobuf::JsonScalarExpr),
    JsonSerializeExpr(&'a protobuf::JsonSerializeExpr),
    JsonObjectConstructor(&'a protobuf::JsonObjectConstructor),
    JsonArrayConstructor(&'a protobuf::JsonArrayConstructor),
    JsonArrayQueryConstructor(&'a protobuf::JsonArrayQueryConstructor),
    JsonAggConstructor(&'a protobuf::JsonAggConstructor),
    JsonObjectAgg(&'a protobuf::JsonObjectAgg),
    JsonArrayAgg(&'a protobuf::JsonArrayAgg),
    RawStmt(&'a protobuf::RawStmt),
    InsertStmt(&'a protobuf::InsertStmt),
    DeleteStmt(&'a protobuf::DeleteStmt),
    UpdateStmt(&'a protobuf::UpdateStmt),
    MergeStmt(&'a protobuf::MergeStmt),
    SelectStmt(&'a protobuf::SelectStmt),
    SetOperationStmt(&'a protobuf::SetOperationStmt),
    ReturnStmt(&'a protobuf::ReturnStmt),
    PlAssignStmt(&'a protobuf::PlAssignStmt),
    CreateSchemaStmt(&'a protobuf::CreateSchemaStmt),
    AlterTableStmt(&'a protobuf::AlterTableStmt),
    AlterTableCmd(&'a protobuf::AlterTableCmd),
    AtAlterConstraint(&'a protobuf::AtAlterConstraint),
    ReplicaIdentityStmt(&'a protobuf::ReplicaIdentityStmt),
    AlterCollationStmt(&'a protobuf::AlterCollationStmt),
    AlterDomainStmt(&'a protobuf::AlterDomainStmt),
    GrantStmt(&'a protobuf::GrantStmt),
    ObjectWithArgs(&'a protobuf::ObjectWithArgs),
    AccessPriv(&'a protobuf::AccessPriv),
    GrantRoleStmt(&'a protobuf::GrantRoleStmt),
    AlterDefaultPrivilegesStmt(&'a protobuf::AlterDefaultPrivilegesStmt),
    CopyStmt(&'a protobuf::CopyStmt),
    VariableSetStmt(&'a protobuf::VariableSetStmt),
    VariableShowStmt(&'a protobuf::VariableShowStmt),
    CreateStmt(&'a protobuf::CreateStmt),
    Constraint(&'a protobuf::Constraint),
    CreateTableSpaceStmt(&'a protobuf::CreateTableSpaceStmt),
    DropTableSpaceStmt(&'a protobuf::DropTableSpaceStmt),
    AlterTableSpaceOptionsStmt(&'a protobuf::AlterTableSpaceOptionsStmt),
    AlterTableMoveAllStmt(&'a protobuf::AlterTableMoveAllStmt),
    CreateExtensionStmt(&'a protobuf::CreateExtensionStmt),
    AlterExtensionStmt(&'a protobuf::AlterExtensionStmt),
    AlterExtensionContentsStmt(&'a protobuf::AlterExtensionContentsStmt),
    CreateFdwStmt(&'a protobuf::CreateFdwStmt),
    AlterFdwStmt(&'a protobuf::AlterFdwStmt),
    CreateForeignServerStmt(&'a protobuf::CreateForeignServerStmt),
    AlterForeignServerStmt(&'a protobuf::AlterForeignServerStmt),
    CreateForeignTableStmt(&'a protobuf::CreateForeignTableStmt),
    CreateUserMappingStmt(&'a protobuf::CreateUserMappingStmt),
    AlterUserMappingStmt(&'a protobuf::AlterUserMappingStmt),
    DropUserMappingStmt(&'a protobuf::DropUserMappingStmt),
    ImportForeignSchemaStmt(&'a protobuf::ImportForeignSchemaStmt),
    CreatePolicyStmt(&'a protobuf::CreatePolicyStmt),
    AlterPolicyStmt(&'a protobuf::AlterPolicyStmt),
    CreateAmStmt(&'a protobuf::CreateAmStmt),
    CreateTrigStmt(&'a protobuf::CreateTrigStmt),
    CreateEventTrigStmt(&'a protobuf::CreateEventTrigStmt),
    AlterEventTrigStmt(&'a protobuf::AlterEventTrigStmt),
    CreatePLangStmt(&'a protobuf::CreatePLangStmt),
    CreateRoleStmt(&'a protobuf::CreateRoleStmt),
    AlterRoleStmt(&'a protobuf::AlterRoleStmt),
    AlterRoleSetStmt(&'a protobuf::AlterRoleSetStmt),
    DropRoleStmt(&'a protobuf::DropRoleStmt),
    CreateSeqStmt(&'a protobuf::CreateSeqStmt),
    AlterSeqStmt(&'a protobuf::AlterSeqStmt),
    DefineStmt(&'a protobuf::DefineStmt),
    CreateDomainStmt(&'a protobuf::CreateDomainStmt),
    CreateOpClassStmt(&'a protobuf::CreateOpClassStmt),
    CreateOpClassItem(&'a protobuf::CreateOpClassItem),
    CreateOpFamilyStmt(&'a protobuf::CreateOpFamilyStmt),
    AlterOpFamilyStmt(&'a protobuf::AlterOpFamilyStmt),
    DropStmt(&'a protobuf::DropStmt),
    TruncateStmt(&'a protobuf::TruncateStmt),
    CommentStmt(&'a protobuf::CommentStmt),
    SecLabelStmt(&'a protobuf::SecLabelStmt),
    DeclareCursorStmt(&'a protobuf::DeclareCursorStmt),
    ClosePortalStmt(&'a protobuf::ClosePortalStmt),
    FetchStmt(&'a protobuf::FetchStmt),
    IndexStmt(&'a protobuf::IndexStmt),
    CreateStatsStmt(&'a protobuf::CreateStatsStmt),
    StatsElem(&'a protobuf::StatsElem),
    AlterStatsStmt(&'a protobuf::AlterStatsStmt),
    CreateFunctionStmt(&'a protobuf::CreateFunctionStmt),
    FunctionParameter(&'a protobuf::FunctionParameter),
    AlterFunctionStmt(&'a protobuf::AlterFunctionStmt),
    DoStmt(&'a protobuf::DoStmt),
    InlineCodeBlock(&'a protobuf::InlineCodeBlock),
    CallStmt(&'a protobuf::CallStmt),
    CallContext(&'a protobuf::CallContext),
    RenameStmt(&'a protobuf::RenameStmt),
    AlterObjectDependsStmt(&'a protobuf::AlterObjectDependsStmt),
    AlterObjectSchemaStmt(&'a protobuf::AlterObjectSchemaStmt),
    AlterOwnerStmt(&'a protobuf::AlterOwnerStmt),
    AlterOperatorStmt(&'a protobuf::AlterOperatorStmt),
    AlterTypeStmt(&'a protobuf::AlterTypeStmt),
    RuleStmt(&'a protobuf::RuleStmt),
    NotifyStmt(&'a protobuf::NotifyStmt),
    ListenStmt(&'a protobuf::ListenStmt),
    UnlistenStmt(&'a protobuf::UnlistenStmt),
    TransactionStmt(&'a protobuf::TransactionStmt),
    CompositeTypeStmt(&'a protobuf::CompositeTypeStmt),
    CreateEnumStmt(&'a protobuf::CreateEnumStmt),
    CreateRangeStmt(&'a protobuf::CreateRangeStmt),
    AlterEnumStmt(&'a protobuf::AlterEnumStmt),
    ViewStmt(&'a protobuf::ViewStmt),
    LoadStmt(&'a protobuf::LoadStmt),
    CreatedbStmt(&'a protobuf::CreatedbStmt),
    AlterDatabaseStmt(&'a protobuf::AlterDatabaseStmt),
    AlterDatabaseRefreshCollStmt(&'a protobuf::AlterDatabaseRefreshCollStmt),
    AlterDatabaseSetStmt(&'a protobuf::AlterDatabaseSetStmt),
    DropdbStmt(&'a protobuf::DropdbStmt),
    AlterSystemStmt(&'a protobuf::AlterSystemStmt),
    ClusterStmt(&'a protobuf::ClusterStmt),
    VacuumStmt(&'a protobuf::VacuumStmt),
    VacuumRelation(&'a protobuf::VacuumRelation),
    ExplainStmt(&'a protobuf::ExplainStmt),
    CreateTableAsStmt(&'a protobuf::CreateTableAsStmt),
    RefreshMatViewStmt(&'a protobuf::RefreshMatViewStmt),
    CheckPointStmt(&'a protobuf::CheckPointStmt),
    DiscardStmt(&'a protobuf::DiscardStmt),
    LockStmt(&'a protobuf::LockStmt),
    ConstraintsSetStmt(&'a protobuf::ConstraintsSetStmt),
    ReindexStmt(&'a protobuf::ReindexStmt),
    CreateConversionStmt(&'a protobuf::CreateConversionStmt),
    CreateCastStmt(&'a protobuf::CreateCastStmt),
    CreateTransformStmt(&'a protobuf::CreateTransformStmt),
    PrepareStmt(&'a protobuf::PrepareStmt),
    ExecuteStmt(&'a protobuf::ExecuteStmt),
    DeallocateStmt(&'a protobuf::DeallocateStmt),
    DropOwnedStmt(&'a protobuf::DropOwnedStmt),
    ReassignOwnedStmt(&'a protobuf::ReassignOwnedStmt),
    AlterTsDictionaryStmt(&'a protobuf::AlterTsDictionaryStmt),
    AlterTsConfigurationStmt(&'a protobuf::AlterTsConfigurationStmt),
    PublicationTable(&'a protobuf::PublicationTable),
    PublicationObjSpec(&'a protobuf::PublicationObjSpec),
    CreatePublicationStmt(&'a protobuf::CreatePublicationStmt),
    AlterPublicationStmt(&'a protobuf::AlterPublicationStmt),
    CreateSubscriptionStmt(&'a protobuf::CreateSubscriptionStmt),
    AlterSubscriptionStmt(&'a protobuf::AlterSubscriptionStmt),
    DropSubscriptionStmt(&'a protobuf::DropSubscriptionStmt),
    Integer(&'a protobuf::Integer),
    Float(&'a protobuf::Float),
    Boolean(&'a protobuf::Boolean),
    String(&'a protobuf::String),
    BitString(&'a protobuf::BitString),
    List(&'a protobuf::List),
    IntList(&'a protobuf::IntList),
    OidList(&'a protobuf::OidList),
    AConst(&'a protobuf::AConst),
}

impl<'a> From<&'a NodeEnum> for Tree<'a> {
    #[rustfmt::skip]
    fn from(node: &'a NodeEnum) -> Self {
        match node {
            NodeEnum::Alias(message) => Tree::Alias(message),
            NodeEnum::RangeVar(message) => Tree::RangeVar(message),
            NodeEnum::TableFunc(message) => Tree::TableFunc(message),
            NodeEnum::IntoClause(message) => Tree::IntoClause(message),
            NodeEnum::Var(message) => Tree::Var(message),
            NodeEnum::Param(message) => Tree::Param(message),
            NodeEnum::Aggref(message) => Tree::Aggref(message),
            NodeEnum::GroupingFunc(message) => Tree::GroupingFunc(message),
            NodeEnum::WindowFunc(message) => Tree::WindowFunc(message),
            NodeEnum::WindowFuncRunCondition(message) => Tree::WindowFuncRunCondition(message),
            NodeEnum::MergeSupportFunc(message) => Tree::MergeSupportFunc(message),
            NodeEnum::SubscriptingRef(message) => Tree::SubscriptingRef(message),
            NodeEnum::FuncExpr(message) => Tree::FuncExpr(message),
            NodeEnum::NamedArgExpr(message) => Tree::NamedArgExpr(message),
            NodeEnum::OpExpr(message) => Tree::OpExpr(message),
            NodeEnum::DistinctExpr(message) => Tree::DistinctExpr(message),
            NodeEnum::NullIfExpr(message) => Tree::NullIfExpr(message),
            NodeEnum::ScalarArrayOpExpr(message) => Tree::ScalarArrayOpExpr(message),
            NodeEnum::BoolExpr(message) => Tree::BoolExpr(message),
            NodeEnum::SubLink(message) => Tree::SubLink(message),
            NodeEnum::SubPlan(message) => Tree::SubPlan(message),
            NodeEnum::AlternativeSubPlan(message) => Tree::AlternativeSubPlan(message),
            NodeEnum::FieldSelect(message) => Tree::FieldSelect(message),
            NodeEnum::FieldStore(message) => Tree::FieldStore(message),
            NodeEnum::RelabelType(message) => Tree::RelabelType(message),
            NodeEnum::CoerceViaIo(message) => Tree::CoerceViaIo(message),
            NodeEnum::ArrayCoerceExpr(message) => Tree::ArrayCoerceExpr(message),
            NodeEnum::ConvertRowtypeExpr(message) => Tree::ConvertRowtypeExpr(message),
            NodeEnum::CollateExpr(message) => Tree::CollateExpr(message),
            NodeEnum::CaseExpr(message) => Tree::CaseExpr(message),
            NodeEnum::CaseWhen(message) => Tree::CaseWhen(message),
            NodeEnum::CaseTestExpr(message) => Tree::CaseTestExpr(message),
            NodeEnum::ArrayExpr(message) => Tree::ArrayExpr(message),
            NodeEnum::RowExpr(message) => Tree::RowExpr(message),
            NodeEnum::RowCompareExpr(message) => Tree::RowCompareExpr(message),
            NodeEnum::CoalesceExpr(message) => Tree::CoalesceExpr(message),
            NodeEnum::MinMaxExpr(message) => Tree::MinMaxExpr(message),
            NodeEnum::SqlvalueFunction(message) => Tree::SqlValueFunction(message),
            NodeEnum::XmlExpr(message) => Tree::XmlExpr(message),
            NodeEnum::JsonFormat(message) => Tree::JsonFormat(message),
            NodeEnum::JsonReturning(message) => Tree::JsonReturning(message),
            NodeEnum::JsonValueExpr(message) => Tree::JsonValueExpr(message),
            NodeEnum::JsonConstructorExpr(message) => Tree::JsonConstructorExpr(message),
            NodeEnum::JsonIsPredicate(message) => Tree::JsonIsPredicate(message),
            NodeEnum::JsonBehavior(message) => Tree::JsonBehavior(message),
            NodeEnum::JsonExpr(message) => Tree::JsonExpr(message),
            NodeEnum::JsonTablePath(message) => Tree::JsonTablePath(message),
            NodeEnum::JsonTablePathScan(message) => Tree::JsonTablePathScan(message),
            NodeEnum::JsonTableSiblingJoin(message) => Tree::JsonTableSiblingJoin(message),
            NodeEnum::NullTest(message) => Tree::NullTest(message),
            NodeEnum::BooleanTest(message) => Tree::BooleanTest(message),
            NodeEnum::MergeAction(message) => Tree::MergeAction(message),
            NodeEnum::CoerceToDomain(message) => Tree::CoerceToDomain(message),
            NodeEnum::CoerceToDomainValue(message) => Tree::CoerceToDomainValue(message),
            NodeEnum::SetToDefault(message) => Tree::SetToDefault(message),
            NodeEnum::CurrentOfExpr(message) => Tree::CurrentOfExpr(message),
            NodeEnum::NextValueExpr(message) => Tree::NextValueExpr(message),
            NodeEnum::InferenceElem(message) => Tree::InferenceElem(message),
            NodeEnum::ReturningExpr(message) => Tree::ReturningExpr(message),
            NodeEnum::TargetEntry(message) => Tree::TargetEntry(message),
            NodeEnum::RangeTblRef(message) => Tree::RangeTblRef(message),
            NodeEnum::JoinExpr(message) => Tree::JoinExpr(message),
            NodeEnum::FromExpr(message) => Tree::FromExpr(message),
            NodeEnum::OnConflictExpr(message) => Tree::OnConflictExpr(message),
            NodeEnum::Query(message) => Tree::Query(message),
            NodeEnum::TypeName(message) => Tree::TypeName(message),
            NodeEnum::ColumnRef(message) => Tree::ColumnRef(message),
            NodeEnum::ParamRef(message) => Tree::ParamRef(message),
            NodeEnum::AExpr(message) => Tree::AExpr(message),
            NodeEnum::TypeCast(message) => Tree::TypeCast(message),
            NodeEnum::CollateClause(message) => Tree::CollateClause(message),
            NodeEnum::RoleSpec(message) => Tree::RoleSpec(message),
            NodeEnum::FuncCall(message) => Tree::FuncCall(message),
            NodeEnum::AStar(message) => Tree::AStar(message),
            NodeEnum::AIndices(message) => Tree::AIndices(message),
            NodeEnum::AIndirection(message) => Tree::AIndirection(message),
            NodeEnum::AArrayExpr(message) => Tree::AArrayExpr(message),
            NodeEnum::ResTarget(message) => Tree::ResTarget(message),
            NodeEnum::MultiAssignRef(message) => Tree::MultiAssignRef(message),
            NodeEnum::SortBy(message) => Tree::SortBy(message),
            NodeEnum::WindowDef(message) => Tree::WindowDef(message),
            NodeEnum::RangeSubselect(message) => Tree::RangeSubselect(message),
            NodeEnum::RangeFunction(message) => Tree::RangeFunction(message),
            NodeEnum::RangeTableFunc(message) => Tree::RangeTableFunc(message),
            NodeEnum::RangeTableFuncCol(message) => Tree::RangeTableFuncCol(message),
            NodeEnum::RangeTableSample(message) => Tree::RangeTableSample(message),
            NodeEnum::ColumnDef(message) => Tree::ColumnDef(message),
            NodeEnum::TableLikeClause(message) => Tree::TableLikeClause(message),
            NodeEnum::IndexElem(message) => Tree::IndexElem(message),
            NodeEnum::DefElem(message) => Tree::DefElem(message),
            NodeEnum::LockingClause(message) => Tree::LockingClause(message),
            NodeEnum::XmlSerialize(message) => Tree::XmlSerialize(message),
            NodeEnum::PartitionElem(message) => Tree::PartitionElem(message),
            NodeEnum::PartitionSpec(message) => Tree::PartitionSpec(message),
            NodeEnum::PartitionBoundSpec(message) => Tree::PartitionBoundSpec(message),
            NodeEnum::PartitionRangeDatum(message) => Tree::PartitionRangeDatum(message),
            NodeEnum::PartitionCmd(message) => Tree::PartitionCmd(message),
            NodeEnum::RangeTblEntry(message) => Tree::RangeTblEntry(message),
            NodeEnum::RtepermissionInfo(message) => Tree::RtePermissionInfo(message),
            NodeEnum::RangeTblFunction(message) => Tree::RangeTblFunction(message),
            NodeEnum::TableSampleClause(message) => Tree::TableSampleClause(message),
            NodeEnum::WithCheckOption(message) => Tree::WithCheckOption(message),
            NodeEnum::SortGroupClause(message) => Tree::SortGroupClause(message),
            NodeEnum::GroupingSet(message) => Tree::GroupingSet(message),
            NodeEnum::WindowClause(message) => Tree::WindowClause(message),
            NodeEnum::RowMarkClause(message) => Tree::RowMarkClause(message),
            NodeEnum::WithClause(message) => Tree::WithClause(message),
            NodeEnum::InferClause(message) => Tree::InferClause(message),
            NodeEnum::OnConflictClause(message) => Tree::OnConflictClause(message),
            NodeEnum::CtesearchClause(message) => Tree::CteSearchClause(message),
            NodeEnum::CtecycleClause(message) => Tree::CteCycleClause(message),
            NodeEnum::CommonTableExpr(message) => Tree::CommonTableExpr(message),
            NodeEnum::MergeWhenClause(message) => Tree::MergeWhenClause(message),
            NodeEnum::ReturningOption(message) => Tree::ReturningOption(message),
            NodeEnum::ReturningClause(message) => Tree::ReturningClause(message),
            NodeEnum::TriggerTransition(message) => Tree::TriggerTransition(message),
            NodeEnum::JsonOutput(message) => Tree::JsonOutput(message),
            NodeEnum::JsonArgument(message) => Tree::JsonArgument(message),
            NodeEnum::JsonFuncExpr(message) => Tree::JsonFuncExpr(message),
            NodeEnum::JsonTablePathSpec(message) => Tree::JsonTablePathSpec(message),
            NodeEnum::JsonTable(message) => Tree::JsonTable(message),
            NodeEnum::JsonTableColumn(message) => Tree::JsonTableColumn(message),
            NodeEnum::JsonKeyValue(message) => Tree::JsonKeyValue(message),
            NodeEnum::JsonParseExpr(message) => Tree::JsonParseExpr(message),
            NodeEnum::JsonScalarExpr(message) => Tree::JsonScalarExpr(message),
            NodeEnum::JsonSerializeExpr(message) => Tree::JsonSerializeExpr(message),
            NodeEnum::JsonObjectConstructor(message) => Tree::JsonObjectConstructor(message),
            NodeEnum::JsonArrayConstructor(message) => Tree::JsonArrayConstructor(message),
            NodeEnum::JsonArrayQueryConstructor(message) => Tree::JsonArrayQueryConstructor(message),
            NodeEnum::JsonAggConstructor(message) => Tree::JsonAggConstructor(message),
            NodeEnum::JsonObjectAgg(message) => Tree::JsonObjectAgg(message),
            NodeEnum::JsonArrayAgg(message) => Tree::JsonArrayAgg(message),
            NodeEnum::RawStmt(message) => Tree::RawStmt(message),
            NodeEnum::InsertStmt(message) => Tree::InsertStmt(message),
            NodeEnum::DeleteStmt(message) => Tree::DeleteStmt(message),
            NodeEnum::UpdateStmt(message) => Tree::UpdateStmt(message),
            NodeEnum::MergeStmt(message) => Tree::MergeStmt(message),
            NodeEnum::SelectStmt(message) => Tree::SelectStmt(message),
            NodeEnum::SetOperationStmt(message) => Tree::SetOperationStmt(message),
            NodeEnum::ReturnStmt(message) => Tree::ReturnStmt(message),
            NodeEnum::PlassignStmt(message) => Tree::PlAssignStmt(message),
            NodeEnum::CreateSchemaStmt(message) => Tree::CreateSchemaStmt(message),
            NodeEnum::AlterTableStmt(message) => Tree::AlterTableStmt(message),
            NodeEnum::AlterTableCmd(message) => Tree::AlterTableCmd(message),
            NodeEnum::AtalterConstraint(message) => Tree::AtAlterConstraint(message),
            NodeEnum::ReplicaIdentityStmt(message) => Tree::ReplicaIdentityStmt(message),
            NodeEnum::AlterCollationStmt(message) => Tree::AlterCollationStmt(message),
            NodeEnum::AlterDomainStmt(message) => Tree::AlterDomainStmt(message),
            NodeEnum::GrantStmt(message) => Tree::GrantStmt(message),
            NodeEnum::ObjectWithArgs(message) => Tree::ObjectWithArgs(message),
            NodeEnum::AccessPriv(message) => Tree::AccessPriv(message),
            NodeEnum::GrantRoleStmt(message) => Tree::GrantRoleStmt(message),
            NodeEnum::AlterDefaultPrivilegesStmt(message) => Tree::AlterDefaultPrivilegesStmt(message),
            NodeEnum::CopyStmt(message) => Tree::CopyStmt(message),
            NodeEnum::VariableSetStmt(message) => Tree::VariableSetStmt(message),
            NodeEnum::VariableShowStmt(message) => Tree::VariableShowStmt(message),
            NodeEnum::CreateStmt(message) => Tree::CreateStmt(message),
            NodeEnum::Constraint(message) => Tree::Constraint(message),
            NodeEnum::CreateTableSpaceStmt(message) => Tree::CreateTableSpaceStmt(message),
            NodeEnum::DropTableSpaceStmt(message) => Tree::DropTableSpaceStmt(message),
            NodeEnum::AlterTableSpaceOptionsStmt(message) => Tree::AlterTableSpaceOptionsStmt(message),
            NodeEnum::AlterTableMoveAllStmt(message) => Tree::AlterTableMoveAllStmt(message),
            NodeEnum::CreateExtensionStmt(message) => Tree::CreateExtensionStmt(message),
            NodeEnum::AlterExtensionStmt(message) => Tree::AlterExtensionStmt(message),
            NodeEnum::AlterExtensionContentsStmt(message) => Tree::AlterExtensionContentsStmt(message),
            NodeEnum::CreateFdwStmt(message) => Tree::CreateFdwStmt(message),
            NodeEnum::AlterFdwStmt(message) => Tree::AlterFdwStmt(message),
            NodeEnum::CreateForeignServerStmt(message) => Tree::CreateForeignServerStmt(message),
            NodeEnum::AlterForeignServerStmt(message) => Tree::AlterForeignServerStmt(message),
            NodeEnum::CreateForeignTableStmt(message) => Tree::CreateForeignTableStmt(message),
            NodeEnum::CreateUserMappingStmt(message) => Tree::CreateUserMappingStmt(message),
            NodeEnum::AlterUserMappingStmt(message) => Tree::AlterUserMappingStmt(message),
            NodeEnum::DropUserMappingStmt(message) => Tree::DropUserMappingStmt(message),
            NodeEnum::ImportForeignSchemaStmt(message) => Tree::ImportForeignSchemaStmt(message),
            NodeEnum::CreatePolicyStmt(message) => Tree::CreatePolicyStmt(message),
            NodeEnum::AlterPolicyStmt(message) => Tree::AlterPolicyStmt(message),
            NodeEnum::CreateAmStmt(message) => Tree::CreateAmStmt(message),
            NodeEnum::CreateTrigStmt(message) => Tree::CreateTrigStmt(message),
            NodeEnum::CreateEventTrigStmt(message) => Tree::CreateEventTrigStmt(message),
            NodeEnum::AlterEventTrigStmt(message) => Tree::AlterEventTrigStmt(message),
            NodeEnum::CreatePlangStmt(message) => Tree::CreatePLangStmt(message),
            NodeEnum::CreateRoleStmt(message) => Tree::CreateRoleStmt(message),
            NodeEnum::AlterRoleStmt(message) => Tree::AlterRoleStmt(message),
            NodeEnum::AlterRoleSetStmt(message) => Tree::AlterRoleSetStmt(message),
            NodeEnum::DropRoleStmt(message) => Tree::DropRoleStmt(message),
            NodeEnum::CreateSeqStmt(message) => Tree::CreateSeqStmt(message),
            NodeEnum::AlterSeqStmt(message) => Tree::AlterSeqStmt(message),
            NodeEnum::DefineStmt(message) => Tree::DefineStmt(message),
            NodeEnum::CreateDomainStmt(message) => Tree::CreateDomainStmt(message),
            NodeEnum::CreateOpClassStmt(message) => Tree::CreateOpClassStmt(message),
            NodeEnum::CreateOpClassItem(message) => Tree::CreateOpClassItem(message),
            NodeEnum::CreateOpFamilyStmt(message) => Tree::CreateOpFamilyStmt(message),
            NodeEnum::AlterOpFamilyStmt(message) => Tree::AlterOpFamilyStmt(message),
            NodeEnum::DropStmt(message) => Tree::DropStmt(message),
            NodeEnum::TruncateStmt(message) => Tree::TruncateStmt(message),
            NodeEnum::CommentStmt(message) => Tree::CommentStmt(message),
            NodeEnum::SecLabelStmt(message) => Tree::SecLabelStmt(message),
            NodeEnum::DeclareCursorStmt(message) => Tree::DeclareCursorStmt(message),
            NodeEnum::ClosePortalStmt(message) => Tree::ClosePortalStmt(message),
            NodeEnum::FetchStmt(message) => Tree::FetchStmt(message),
            NodeEnum::IndexStmt(message) => Tree::IndexStmt(message),
            NodeEnum::CreateStatsStmt(message) => Tree::CreateStatsStmt(message),
            NodeEnum::StatsElem(message) => Tree::StatsElem(message),
            NodeEnum::AlterStatsStmt(message) => Tree::AlterStatsStmt(message),
            NodeEnum::CreateFunctionStmt(message) => Tree::CreateFunctionStmt(message),
            NodeEnum::FunctionParameter(message) => Tree::FunctionParameter(message),
            NodeEnum::AlterFunctionStmt(message) => Tree::AlterFunctionStmt(message),
            NodeEnum::DoStmt(message) => Tree::DoStmt(message),
            NodeEnum::InlineCodeBlock(message) => Tree::InlineCodeBlock(message),
            NodeEnum::CallStmt(message) => Tree::CallStmt(message),
            NodeEnum::CallContext(message) => Tree::CallContext(message),
            NodeEnum::RenameStmt(message) => Tree::RenameStmt(message),
            NodeEnum::AlterObjectDependsStmt(message) => Tree::AlterObjectDependsStmt(message),
            NodeEnum::AlterObjectSchemaStmt(message) => Tree::AlterObjectSchemaStmt(message),
            NodeEnum::AlterOwnerStmt(message) => Tree::AlterOwnerStmt(message),
            NodeEnum::AlterOperatorStmt(message) => Tree::AlterOperatorStmt(message),
            NodeEnum::AlterTypeStmt(message) => Tree::AlterTypeStmt(message),
            NodeEnum::RuleStmt(message) => Tree::RuleStmt(message),
            NodeEnum::NotifyStmt(message) => Tree::NotifyStmt(message),
            NodeEnum::ListenStmt(message) => Tree::ListenStmt(message),
            NodeEnum::UnlistenStmt(message) => Tree::UnlistenStmt(message),
            NodeEnum::TransactionStmt(message) => Tree::TransactionStmt(message),
            NodeEnum::CompositeTypeStmt(message) => Tree::CompositeTypeStmt(message),
            NodeEnum::CreateEnumStmt(message) => Tree::CreateEnumStmt(message),
            NodeEnum::CreateRangeStmt(message) => Tree::CreateRangeStmt(message),
            NodeEnum::AlterEnumStmt(message) => Tree::AlterEnumStmt(message),
            NodeEnum::ViewStmt(message) => Tree::ViewStmt(message),
            NodeEnum::LoadStmt(message) => Tree::LoadStmt(message),
            NodeEnum::CreatedbStmt(message) => Tree::CreatedbStmt(message),
            NodeEnum::AlterDatabaseStmt(message) => Tree::AlterDatabaseStmt(message),
            NodeEnum::AlterDatabaseRefreshCollStmt(message) => Tree::AlterDatabaseRefreshCollStmt(message),
            NodeEnum::AlterDatabaseSetStmt(message) => Tree::AlterDatabaseSetStmt(message),
            NodeEnum::DropdbStmt(message) => Tree::DropdbStmt(message),
            NodeEnum::AlterSystemStmt(message) => Tree::AlterSystemStmt(message),
            NodeEnum::ClusterStmt(message) => Tree::ClusterStmt(message),
            NodeEnum::VacuumStmt(message) => Tree::VacuumStmt(message),
            NodeEnum::VacuumRelation(message) => Tree::VacuumRelation(message),
            NodeEnum::ExplainStmt(message) => Tree::ExplainStmt(message),
            NodeEnum::CreateTableAsStmt(message) => Tree::CreateTableAsStmt(message),
            NodeEnum::RefreshMatViewStmt(message) => Tree::RefreshMatViewStmt(message),
            NodeEnum::CheckPointStmt(message) => Tree::CheckPointStmt(message),
            NodeEnum::DiscardStmt(message) => Tree::DiscardStmt(message),
            NodeEnum::LockStmt(message) => Tree::LockStmt(message),
            NodeEnum::ConstraintsSetStmt(message) => Tree::ConstraintsSetStmt(message),
            NodeEnum::ReindexStmt(message) => Tree::ReindexStmt(message),
            NodeEnum::CreateConversionStmt(message) => Tree::CreateConversionStmt(message),
            NodeEnum::CreateCastStmt(message) => Tree::CreateCastStmt(message),
            NodeEnum::CreateTransformStmt(message) => Tree::CreateTransformStmt(message),
            NodeEnum::PrepareStmt(message) => Tree::PrepareStmt(message),
            NodeEnum::ExecuteStmt(message) => Tree::ExecuteStmt(message),
            NodeEnum::DeallocateStmt(message) => Tree::DeallocateStmt(message),
            NodeEnum::DropOwnedStmt(message) => Tree::DropOwnedStmt(message),
            NodeEnum::ReassignOwnedStmt(message) => Tree::ReassignOwnedStmt(message),
            NodeEnum::AlterTsdictionaryStmt(message) => Tree::AlterTsDictionaryStmt(message),
            NodeEnum::AlterTsconfigurationStmt(message) => Tree::AlterTsConfigurationStmt(message),
            NodeEnum::PublicationTable(message) => Tree::PublicationTable(message),
            NodeEnum::PublicationObjSpec(message) => Tree::PublicationObjSpec(message),
            NodeEnum::CreatePublicationStmt(message) => Tree::CreatePublicationStmt(message),
            NodeEnum::AlterPublicationStmt(message) => Tree::AlterPublicationStmt(message),
            NodeEnum::CreateSubscriptionStmt(message) => Tree::CreateSubscriptionStmt(message),
            NodeEnum::AlterSubscriptionStmt(message) => Tree::AlterSubscriptionStmt(message),
            NodeEnum::DropSubscriptionStmt(message) => Tree::DropSubscriptionStmt(message),
            NodeEnum::Integer(message) => Tree::Integer(message),
            NodeEnum::Float(message) => Tree::Float(message),
            NodeEnum::Boolean(message) => Tree::Boolean(message),
            NodeEnum::String(message) => Tree::String(message),
            NodeEnum::BitString(message) => Tree::BitString(message),
            NodeEnum::List(message) => Tree::List(message),
            NodeEnum::IntList(message) => Tree::IntList(message),
            NodeEnum::OidList(message) => Tree::OidList(message),
            NodeEnum::AConst(message) => Tree::AConst(message),
        }
    }
}

impl<'a> Tree<'a> {
    /// Appends the node's children, field by field.
    #[rustfmt::skip]
    pub(crate) fn children(self, out: &mut Vec<Tree<'a>>) {
        match self {
            Tree::Alias(protobuf::Alias { aliasname: _, colnames }) => { nodes_in(colnames, out); }
            Tree::RangeVar(protobuf::RangeVar { catalogname: _, schemaname: _, relname: _, inh: _, relpersistence: _, alias, location: _ }) => { if let Some(message) = alias { out.push(Tree::Alias(message)) }; }
            Tree::TableFunc(protobuf::TableFunc { functype: _, ns_uris, ns_names, docexpr, rowexpr, colnames, coltypes, coltypmods, colcollations, colexprs, coldefexprs, colvalexprs, passingvalexprs, notnulls: _, plan, ordinalitycol: _, location: _ }) => { nodes_in(ns_uris, out); nodes_in(ns_names, out); node_in(docexpr, out); node_in(rowexpr, out); nodes_in(colnames, out); nodes_in(coltypes, out); nodes_in(coltypmods, out); nodes_in(colcollations, out); nodes_in(colexprs, out); nodes_in(coldefexprs, out); nodes_in(colvalexprs, out); nodes_in(passingvalexprs, out); node_in(plan, out); }
            Tree::IntoClause(protobuf::IntoClause { rel, col_names, access_method: _, options, on_commit: _, table_space_name: _, view_query, skip_data: _ }) => { if let Some(message) = rel { out.push(Tree::RangeVar(message)) }; nodes_in(col_names, out); nodes_in(options, out); if let Some(message) = view_query { out.push(Tree::Query(message)) }; }
            Tree::Var(protobuf::Var { xpr, varno: _, varattno: _, vartype: _, vartypmod: _, varcollid: _, varnullingrels: _, varlevelsup: _, varreturningtype: _, location: _ }) => { node_in(xpr, out); }
            Tree::Param(protobuf::Param { xpr, paramkind: _, paramid: _, paramtype: _, paramtypmod: _, paramcollid: _, location: _ }) => { node_in(xpr, out); }
            Tree::Aggref(protobuf::Aggref { xpr, aggfnoid: _, aggtype: _, aggcollid: _, inputcollid: _, aggargtypes, aggdirectargs, args, aggorder, aggdistinct, aggfilter, aggstar: _, aggvariadic: _, aggkind: _, agglevelsup: _, aggsplit: _, aggno: _, aggtransno: _, location: _ }) => { node_in(xpr, out); nodes_in(aggargtypes, out); nodes_in(aggdirectargs, out); nodes_in(args, out); nodes_in(aggorder, out); nodes_in(aggdistinct, out); node_in(aggfilter, out); }
            Tree::GroupingFunc(protobuf::GroupingFunc { xpr, args, refs, agglevelsup: _, location: _ }) => { node_in(xpr, out); nodes_in(args, out); nodes_in(refs, out); }
            Tree::WindowFunc(protobuf::WindowFunc { xpr, winfnoid: _, wintype: _, wincollid: _, inputcollid: _, args, aggfilter, run_condition, winref: _, winstar: _, winagg: _, location: _ }) => { node_in(xpr, out); nodes_in(args, out); node_in(aggfilter, out); nodes_in(run_condition, out); }
            Tree::WindowFuncRunCondition(protobuf::WindowFuncRunCondition { xpr, opno: _, inputcollid: _, wfunc_left: _, arg }) => { node_in(xpr, out); node_in(arg, out); }
            Tree::MergeSupportFunc(protobuf::MergeSupportFunc { xpr, msftype: _, msfcollid: _, location: _ }) => { node_in(xpr, out); }
            Tree::SubscriptingRef(protobuf::SubscriptingRef { xpr, refcontainertype: _, refelemtype: _, refrestype: _, reftypmod: _, refcollid: _, refupperindexpr, reflowerindexpr, refexpr, refassgnexpr }) => { node_in(xpr, out); nodes_in(refupperindexpr, out); nodes_in(reflowerindexpr, out); node_in(refexpr, out); node_in(refassgnexpr, out); }
            Tree::FuncExpr(protobuf::FuncExpr { xpr, funcid: _, funcresulttype: _, funcretset: _, funcvariadic: _, funcformat: _, funccollid: _, inputcollid: _, args, location: _ }) => { node_in(xpr, out); nodes_in(args, out); }
            Tree::NamedArgExpr(protobuf::NamedArgExpr { xpr, arg, name: _, argnumber: _, location: _ }) => { node_in(xpr, out); node_in(arg, out); }
            Tree::OpExpr(protobuf::OpExpr { xpr, opno: _, opresulttype: _, opretset: _, opcollid: _, inputcollid: _, args, location: _ }) => { node_in(xpr, out); nodes_in(args, out); }
            Tree::DistinctExpr(protobuf::DistinctExpr { xpr, opno: _, opresulttype: _, opretset: _, opcollid: _, inputcollid: _, args, location: _ }) => { node_in(xpr, out); nodes_in(args, out); }
            Tree::NullIfExpr(protobuf::NullIfExpr { xpr, opno: _, opresulttype: _, opretset: _, opcollid: _, inputcollid: _, args, location: _ }) => { node_in(xpr, out); nodes_in(args, out); }
            Tree::ScalarArrayOpExpr(protobuf::ScalarArrayOpExpr { xpr, opno: _, use_or: _, inputcollid: _, args, location: _ }) => { node_in(xpr, out); nodes_in(args, out); }
            Tree::BoolExpr(protobuf::BoolExpr { xpr, boolop: _, args, location: _ }) => { node_in(xpr, out); nodes_in(args, out); }
            Tree::SubLink(protobuf::SubLink { xpr, sub_link_type: _, sub_link_id: _, testexpr, oper_name, subselect, location: _ }) => { node_in(xpr, out); node_in(testexpr, out); nodes_in(oper_name, out); node_in(subselect, out); }
            Tree::SubPlan(protobuf::SubPlan { xpr, sub_link_type: _, testexpr, param_ids, plan_id: _, plan_name: _, first_col_type: _, first_col_typmod: _, first_col_collation: _, use_hash_table: _, unknown_eq_false: _, parallel_safe: _, set_param, par_param, args, startup_cost: _, per_call_cost: _ }) => { node_in(xpr, out); node_in(testexpr, out); nodes_in(param_ids, out); nodes_in(set_param, out); nodes_in(par_param, out); nodes_in(args, out); }
            Tree::AlternativeSubPlan(protobuf::AlternativeSubPlan { xpr, subplans }) => { node_in(xpr, out); nodes_in(subplans, out); }
            Tree::FieldSelect(protobuf::FieldSelect { xpr, arg, fieldnum: _, resulttype: _, resulttypmod: _, resultcollid: _ }) => { node_in(xpr, out); node_in(arg, out); }
            Tree::FieldStore(protobuf::FieldStore { xpr, arg, newvals, fieldnums, resulttype: _ }) => { node_in(xpr, out); node_in(arg, out); nodes_in(newvals, out); nodes_in(fieldnums, out); }
            Tree::RelabelType(protobuf::RelabelType { xpr, arg, resulttype: _, resulttypmod: _, resultcollid: _, relabelformat: _, location: _ }) => { node_in(xpr, out); node_in(arg, out); }
            Tree::CoerceViaIo(protobuf::CoerceViaIo { xpr, arg, resulttype: _, resultcollid: _, coerceformat: _, location: _ }) => { node_in(xpr, out); node_in(arg, out); }
            Tree::ArrayCoerceExpr(protobuf::ArrayCoerceExpr { xpr, arg, elemexpr, resulttype: _, resulttypmod: _, resultcollid: _, coerceformat: _, location: _ }) => { node_in(xpr, out); node_in(arg, out); node_in(elemexpr, out); }
            Tree::ConvertRowtypeExpr(protobuf::ConvertRowtypeExpr { xpr, arg, resulttype: _, convertformat: _, location: _ }) => { node_in(xpr, out); node_in(arg, out); }
            Tree::CollateExpr(protobuf::CollateExpr { xpr, arg, coll_oid: _, location: _ }) => { node_in(xpr, out); node_in(arg, out); }
            Tree::CaseExpr(protobuf::CaseExpr { xpr, casetype: _, casecollid: _, arg, args, defresult, location: _ }) => { node_in(xpr, out); node_in(arg, out); nodes_in(args, out); node_in(defresult, out); }
            Tree::CaseWhen(protobuf::CaseWhen { xpr, expr, result, location: _ }) => { node_in(xpr, out); node_in(expr, out); node_in(result, out); }
            Tree::CaseTestExpr(protobuf::CaseTestExpr { xpr, type_id: _, type_mod: _, collation: _ }) => { node_in(xpr, out); }
            Tree::ArrayExpr(protobuf::ArrayExpr { xpr, array_typeid: _, array_collid: _, element_typeid: _, elements, multidims: _, list_start: _, list_end: _, location: _ }) => { node_in(xpr, out); nodes_in(elements, out); }
            Tree::RowExpr(protobuf::RowExpr { xpr, args, row_typeid: _, row_format: _, colnames, location: _ }) => { node_in(xpr, out); nodes_in(args, out); nodes_in(colnames, out); }
            Tree::RowCompareExpr(protobuf::RowCompareExpr { xpr, cmptype: _, opnos, opfamilies, inputcollids, largs, rargs }) => { node_in(xpr, out); nodes_in(opnos, out); nodes_in(opfamilies, out); nodes_in(inputcollids, out); nodes_in(largs, out); nodes_in(rargs, out); }
            Tree::CoalesceExpr(protobuf::CoalesceExpr { xpr, coalescetype: _, coalescecollid: _, args, location: _ }) => { node_in(xpr, out); nodes_in(args, out); }
            Tree::MinMaxExpr(protobuf::MinMaxExpr { xpr, minmaxtype: _, minmaxcollid: _, inputcollid: _, op: _, args, location: _ }) => { node_in(xpr, out); nodes_in(args, out); }
            Tree::SqlValueFunction(protobuf::SqlValueFunction { xpr, op: _, r#type: _, typmod: _, location: _ }) => { node_in(xpr, out); }
            Tree::XmlExpr(protobuf::XmlExpr { xpr, op: _, name: _, named_args, arg_names, args, xmloption: _, indent: _, r#type: _, typmod: _, location: _ }) => { node_in(xpr, out); nodes_in(named_args, out); nodes_in(arg_names, out); nodes_in(args, out); }
            Tree::JsonFormat(protobuf::JsonFormat { format_type: _, encoding: _, location: _ }) => {}
            Tree::JsonReturning(protobuf::JsonReturning { format, typid: _, typmod: _ }) => { if let Some(message) = format { out.push(Tree::JsonFormat(message)) }; }
            Tree::JsonValueExpr(protobuf::JsonValueExpr { raw_expr, formatted_expr, format }) => { node_in(raw_expr, out); node_in(formatted_expr, out); if let Some(message) = format { out.push(Tree::JsonFormat(message)) }; }
            Tree::JsonConstructorExpr(protobuf::JsonConstructorExpr { xpr, r#type: _, args, func, coercion, returning, absent_on_null: _, unique: _, location: _ }) => { node_in(xpr, out); nodes_in(args, out); node_in(func, out); node_in(coercion, out); if let Some(message) = returning { out.push(Tree::JsonReturning(message)) }; }
            Tree::JsonIsPredicate(protobuf::JsonIsPredicate { expr, format, item_type: _, unique_keys: _, location: _ }) => { node_in(expr, out); if let Some(message) = format { out.push(Tree::JsonFormat(message)) }; }
            Tree::JsonBehavior(protobuf::JsonBehavior { btype: _, expr, coerce: _, location: _ }) => { node_in(expr, out); }
            Tree::JsonExpr(protobuf::JsonExpr { xpr, op: _, column_name: _, formatted_expr, format, path_spec, returning, passing_names, passing_values, on_empty, on_error, use_io_coercion: _, use_json_coercion: _, wrapper: _, omit_quotes: _, collation: _, location: _ }) => { node_in(xpr, out); node_in(formatted_expr, out); if let Some(message) = format { out.push(Tree::JsonFormat(message)) }; node_in(path_spec, out); if let Some(message) = returning { out.push(Tree::JsonReturning(message)) }; nodes_in(passing_names, out); nodes_in(passing_values, out); if let Some(message) = on_empty { out.push(Tree::JsonBehavior(message)) }; if let Some(message) = on_error { out.push(Tree::JsonBehavior(message)) }; }
            Tree::JsonTablePath(protobuf::JsonTablePath { name: _ }) => {}
            Tree::JsonTablePathScan(protobuf::JsonTablePathScan { plan, path, error_on_error: _, child, col_min: _, col_max: _ }) => { node_in(plan, out); if let Some(message) = path { out.push(Tree::JsonTablePath(message)) }; node_in(child, out); }
            Tree::JsonTableSiblingJoin(protobuf::JsonTableSiblingJoin { plan, lplan, rplan }) => { node_in(plan, out); node_in(lplan, out); node_in(rplan, out); }
            Tree::NullTest(protobuf::NullTest { xpr, arg, nulltesttype: _, argisrow: _, location: _ }) => { node_in(xpr, out); node_in(arg, out); }
            Tree::BooleanTest(protobuf::BooleanTest { xpr, arg, booltesttype: _, location: _ }) => { node_in(xpr, out); node_in(arg, out); }
            Tree::MergeAction(protobuf::MergeAction { match_kind: _, command_type: _, r#override: _, qual, target_list, update_colnos }) => { node_in(qual, out); nodes_in(target_list, out); nodes_in(update_colnos, out); }
            Tree::CoerceToDomain(protobuf::CoerceToDomain { xpr, arg, resulttype: _, resulttypmod: _, resultcollid: _, coercionformat: _, location: _ }) => { node_in(xpr, out); node_in(arg, out); }
            Tree::CoerceToDomainValue(protobuf::CoerceToDomainValue { xpr, type_id: _, type_mod: _, collation: _, location: _ }) => { node_in(xpr, out); }
            Tree::SetToDefault(protobuf::SetToDefault { xpr, type_id: _, type_mod: _, collation: _, location: _ }) => { node_in(xpr, out); }
            Tree::CurrentOfExpr(protobuf::CurrentOfExpr { xpr, cvarno: _, cursor_name: _, cursor_param: _ }) => { node_in(xpr, out); }
            Tree::NextValueExpr(protobuf::NextValueExpr { xpr, seqid: _, type_id: _ }) => { node_in(xpr, out); }
            Tree::InferenceElem(protobuf::InferenceElem { xpr, expr, infercollid: _, inferopclass: _ }) => { node_in(xpr, out); node_in(expr, out); }
            Tree::ReturningExpr(protobuf::ReturningExpr { xpr, retlevelsup: _, retold: _, retexpr }) => { node_in(xpr, out); node_in(retexpr, out); }
            Tree::TargetEntry(protobuf::TargetEntry { xpr, expr, resno: _, resname: _, ressortgroupref: _, resorigtbl: _, resorigcol: _, resjunk: _ }) => { node_in(xpr, out); node_in(expr, out); }
            Tree::RangeTblRef(protobuf::RangeTblRef { rtindex: _ }) => {}
            Tree::JoinExpr(protobuf::JoinExpr { jointype: _, is_natural: _, larg, rarg, using_clause, join_using_alias, quals, alias, rtindex: _ }) => { node_in(larg, out); node_in(rarg, out); nodes_in(using_clause, out); if let Some(message) = join_using_alias { out.push(Tree::Alias(message)) }; node_in(quals, out); if let Some(message) = alias { out.push(Tree::Alias(message)) }; }
            Tree::FromExpr(protobuf::FromExpr { fromlist, quals }) => { nodes_in(fromlist, out); node_in(quals, out); }
            Tree::OnConflictExpr(protobuf::OnConflictExpr { action: _, arbiter_elems, arbiter_where, constraint: _, on_conflict_set, on_conflict_where, excl_rel_index: _, excl_rel_tlist }) => { nodes_in(arbiter_elems, out); node_in(arbiter_where, out); nodes_in(on_conflict_set, out); node_in(on_conflict_where, out); nodes_in(excl_rel_tlist, out); }
            Tree::Query(protobuf::Query { command_type: _, query_source: _, can_set_tag: _, utility_stmt, result_relation: _, has_aggs: _, has_window_funcs: _, has_target_srfs: _, has_sub_links: _, has_distinct_on: _, has_recursive: _, has_modifying_cte: _, has_for_update: _, has_row_security: _, has_group_rte: _, is_return: _, cte_list, rtable, rteperminfos, jointree, merge_action_list, merge_target_relation: _, merge_join_condition, target_list, r#override: _, on_conflict, returning_old_alias: _, returning_new_alias: _, returning_list, group_clause, group_distinct: _, grouping_sets, having_qual, window_clause, distinct_clause, sort_clause, limit_offset, limit_count, limit_option: _, row_marks, set_operations, constraint_deps, with_check_options, stmt_location: _, stmt_len: _ }) => { node_in(utility_stmt, out); nodes_in(cte_list, out); nodes_in(rtable, out); nodes_in(rteperminfos, out); if let Some(message) = jointree { out.push(Tree::FromExpr(message)) }; nodes_in(merge_action_list, out); node_in(merge_join_condition, out); nodes_in(target_list, out); if let Some(message) = on_conflict { out.push(Tree::OnConflictExpr(message)) }; nodes_in(returning_list, out); nodes_in(group_clause, out); nodes_in(grouping_sets, out); node_in(having_qual, out); nodes_in(window_clause, out); nodes_in(distinct_clause, out); nodes_in(sort_clause, out); node_in(limit_offset, out); node_in(limit_count, out); nodes_in(row_marks, out); node_in(set_operations, out); nodes_in(constraint_deps, out); nodes_in(with_check_options, out); }
            Tree::TypeName(protobuf::TypeName { names, type_oid: _, setof: _, pct_type: _, typmods, typemod: _, array_bounds, location: _ }) => { nodes_in(names, out); nodes_in(typmods, out); nodes_in(array_bounds, out); }
            Tree::ColumnRef(protobuf::ColumnRef { fields, location: _ }) => { nodes_in(fields, out); }
            Tree::ParamRef(protobuf::ParamRef { number: _, location: _ }) => {}
            Tree::AExpr(protobuf::AExpr { kind: _, name, lexpr, rexpr, rexpr_list_start: _, rexpr_list_end: _, location: _ }) => { nodes_in(name, out); node_in(lexpr, out); node_in(rexpr, out); }
            Tree::TypeCast(protobuf::TypeCast { arg, type_name, location: _ }) => { node_in(arg, out); if let Some(message) = type_name { out.push(Tree::TypeName(message)) }; }
            Tree::CollateClause(protobuf::CollateClause { arg, collname, location: _ }) => { node_in(arg, out); nodes_in(collname, out); }
            Tree::RoleSpec(protobuf::RoleSpec { roletype: _, rolename: _, location: _ }) => {}
            Tree::FuncCall(protobuf::FuncCall { funcname, args, agg_order, agg_filter, over, agg_within_group: _, agg_star: _, agg_distinct: _, func_variadic: _, funcformat: _, location: _ }) => { nodes_in(funcname, out); nodes_in(args, out); nodes_in(agg_order, out); node_in(agg_filter, out); if let Some(message) = over { out.push(Tree::WindowDef(message)) }; }
            Tree::AStar(protobuf::AStar {}) => {}
            Tree::AIndices(protobuf::AIndices { is_slice: _, lidx, uidx }) => { node_in(lidx, out); node_in(uidx, out); }
            Tree::AIndirection(protobuf::AIndirection { arg, indirection }) => { node_in(arg, out); nodes_in(indirection, out); }
            Tree::AArrayExpr(protobuf::AArrayExpr { elements, list_start: _, list_end: _, location: _ }) => { nodes_in(elements, out); }
            Tree::ResTarget(protobuf::ResTarget { name: _, indirection, val, location: _ }) => { nodes_in(indirection, out); node_in(val, out); }
            Tree::MultiAssignRef(protobuf::MultiAssignRef { source, colno: _, ncolumns: _ }) => { node_in(source, out); }
            Tree::SortBy(protobuf::SortBy { node, sortby_dir: _, sortby_nulls: _, use_op, location: _ }) => { node_in(node, out); nodes_in(use_op, out); }
            Tree::WindowDef(protobuf::WindowDef { name: _, refname: _, partition_clause, order_clause, frame_options: _, start_offset, end_offset, location: _ }) => { nodes_in(partition_clause, out); nodes_in(order_clause, out); node_in(start_offset, out); node_in(end_offset, out); }
            Tree::RangeSubselect(protobuf::RangeSubselect { lateral: _, subquery, alias }) => { node_in(subquery, out); if let Some(message) = alias { out.push(Tree::Alias(message)) }; }
            Tree::RangeFunction(protobuf::RangeFunction { lateral: _, ordinality: _, is_rowsfrom: _, functions, alias, coldeflist }) => { nodes_in(functions, out); if let Some(message) = alias { out.push(Tree::Alias(message)) }; nodes_in(coldeflist, out); }
            Tree::RangeTableFunc(protobuf::RangeTableFunc { lateral: _, docexpr, rowexpr, namespaces, columns, alias, location: _ }) => { node_in(docexpr, out); node_in(rowexpr, out); nodes_in(namespaces, out); nodes_in(columns, out); if let Some(message) = alias { out.push(Tree::Alias(message)) }; }
            Tree::RangeTableFuncCol(protobuf::RangeTableFuncCol { colname: _, type_name, for_ordinality: _, is_not_null: _, colexpr, coldefexpr, location: _ }) => { if let Some(message) = type_name { out.push(Tree::TypeName(message)) }; node_in(colexpr, out); node_in(coldefexpr, out); }
            Tree::RangeTableSample(protobuf::RangeTableSample { relation, method, args, repeatable, location: _ }) => { node_in(relation, out); nodes_in(method, out); nodes_in(args, out); node_in(repeatable, out); }
            Tree::ColumnDef(protobuf::ColumnDef { colname: _, type_name, compression: _, inhcount: _, is_local: _, is_not_null: _, is_from_type: _, storage: _, storage_name: _, raw_default, cooked_default, identity: _, identity_sequence, generated: _, coll_clause, coll_oid: _, constraints, fdwoptions, location: _ }) => { if let Some(message) = type_name { out.push(Tree::TypeName(message)) }; node_in(raw_default, out); node_in(cooked_default, out); if let Some(message) = identity_sequence { out.push(Tree::RangeVar(message)) }; if let Some(message) = coll_clause { out.push(Tree::CollateClause(message)) }; nodes_in(constraints, out); nodes_in(fdwoptions, out); }
            Tree::TableLikeClause(protobuf::TableLikeClause { relation, options: _, relation_oid: _ }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; }
            Tree::IndexElem(protobuf::IndexElem { name: _, expr, indexcolname: _, collation, opclass, opclassopts, ordering: _, nulls_ordering: _ }) => { node_in(expr, out); nodes_in(collation, out); nodes_in(opclass, out); nodes_in(opclassopts, out); }
            Tree::DefElem(protobuf::DefElem { defnamespace: _, defname: _, arg, defaction: _, location: _, arg_location: _ }) => { node_in(arg, out); }
            Tree::LockingClause(protobuf::LockingClause { locked_rels, strength: _, wait_policy: _ }) => { nodes_in(locked_rels, out); }
            Tree::XmlSerialize(protobuf::XmlSerialize { xmloption: _, expr, type_name, indent: _, location: _ }) => { node_in(expr, out); if let Some(message) = type_name { out.push(Tree::TypeName(message)) }; }
            Tree::PartitionElem(protobuf::PartitionElem { name: _, expr, collation, opclass, location: _ }) => { node_in(expr, out); nodes_in(collation, out); nodes_in(opclass, out); }
            Tree::PartitionSpec(protobuf::PartitionSpec { strategy: _, part_params, location: _ }) => { nodes_in(part_params, out); }
            Tree::PartitionBoundSpec(protobuf::PartitionBoundSpec { strategy: _, is_default: _, modulus: _, remainder: _, listdatums, lowerdatums, upperdatums, location: _ }) => { nodes_in(listdatums, out); nodes_in(lowerdatums, out); nodes_in(upperdatums, out); }
            Tree::PartitionRangeDatum(protobuf::PartitionRangeDatum { kind: _, value, location: _ }) => { node_in(value, out); }
            Tree::PartitionCmd(protobuf::PartitionCmd { name, bound, concurrent: _ }) => { if let Some(message) = name { out.push(Tree::RangeVar(message)) }; if let Some(message) = bound { out.push(Tree::PartitionBoundSpec(message)) }; }
            Tree::RangeTblEntry(protobuf::RangeTblEntry { alias, eref, rtekind: _, relid: _, inh: _, relkind: _, rellockmode: _, perminfoindex: _, tablesample, subquery, security_barrier: _, jointype: _, joinmergedcols: _, joinaliasvars, joinleftcols, joinrightcols, join_using_alias, functions, funcordinality: _, tablefunc, values_lists, ctename: _, ctelevelsup: _, self_reference: _, coltypes, coltypmods, colcollations, enrname: _, enrtuples: _, groupexprs, lateral: _, in_from_cl: _, security_quals }) => { if let Some(message) = alias { out.push(Tree::Alias(message)) }; if let Some(message) = eref { out.push(Tree::Alias(message)) }; if let Some(message) = tablesample { out.push(Tree::TableSampleClause(message)) }; if let Some(message) = subquery { out.push(Tree::Query(message)) }; nodes_in(joinaliasvars, out); nodes_in(joinleftcols, out); nodes_in(joinrightcols, out); if let Some(message) = join_using_alias { out.push(Tree::Alias(message)) }; nodes_in(functions, out); if let Some(message) = tablefunc { out.push(Tree::TableFunc(message)) }; nodes_in(values_lists, out); nodes_in(coltypes, out); nodes_in(coltypmods, out); nodes_in(colcollations, out); nodes_in(groupexprs, out); nodes_in(security_quals, out); }
            Tree::RtePermissionInfo(protobuf::RtePermissionInfo { relid: _, inh: _, required_perms: _, check_as_user: _, selected_cols: _, inserted_cols: _, updated_cols: _ }) => {}
            Tree::RangeTblFunction(protobuf::RangeTblFunction { funcexpr, funccolcount: _, funccolnames, funccoltypes, funccoltypmods, funccolcollations, funcparams: _ }) => { node_in(funcexpr, out); nodes_in(funccolnames, out); nodes_in(funccoltypes, out); nodes_in(funccoltypmods, out); nodes_in(funccolcollations, out); }
            Tree::TableSampleClause(protobuf::TableSampleClause { tsmhandler: _, args, repeatable }) => { nodes_in(args, out); node_in(repeatable, out); }
            Tree::WithCheckOption(protobuf::WithCheckOption { kind: _, relname: _, polname: _, qual, cascaded: _ }) => { node_in(qual, out); }
            Tree::SortGroupClause(protobuf::SortGroupClause { tle_sort_group_ref: _, eqop: _, sortop: _, reverse_sort: _, nulls_first: _, hashable: _ }) => {}
            Tree::GroupingSet(protobuf::GroupingSet { kind: _, content, location: _ }) => { nodes_in(content, out); }
            Tree::WindowClause(protobuf::WindowClause { name: _, refname: _, partition_clause, order_clause, frame_options: _, start_offset, end_offset, start_in_range_func: _, end_in_range_func: _, in_range_coll: _, in_range_asc: _, in_range_nulls_first: _, winref: _, copied_order: _ }) => { nodes_in(partition_clause, out); nodes_in(order_clause, out); node_in(start_offset, out); node_in(end_offset, out); }
            Tree::RowMarkClause(protobuf::RowMarkClause { rti: _, strength: _, wait_policy: _, pushed_down: _ }) => {}
            Tree::WithClause(protobuf::WithClause { ctes, recursive: _, location: _ }) => { nodes_in(ctes, out); }
            Tree::InferClause(protobuf::InferClause { index_elems, where_clause, conname: _, location: _ }) => { nodes_in(index_elems, out); node_in(where_clause, out); }
            Tree::OnConflictClause(protobuf::OnConflictClause { action: _, infer, target_list, where_clause, location: _ }) => { if let Some(message) = infer { out.push(Tree::InferClause(message)) }; nodes_in(target_list, out); node_in(where_clause, out); }
            Tree::CteSearchClause(protobuf::CteSearchClause { search_col_list, search_breadth_first: _, search_seq_column: _, location: _ }) => { nodes_in(search_col_list, out); }
            Tree::CteCycleClause(protobuf::CteCycleClause { cycle_col_list, cycle_mark_column: _, cycle_mark_value, cycle_mark_default, cycle_path_column: _, location: _, cycle_mark_type: _, cycle_mark_typmod: _, cycle_mark_collation: _, cycle_mark_neop: _ }) => { nodes_in(cycle_col_list, out); node_in(cycle_mark_value, out); node_in(cycle_mark_default, out); }
            Tree::CommonTableExpr(protobuf::CommonTableExpr { ctename: _, aliascolnames, ctematerialized: _, ctequery, search_clause, cycle_clause, location: _, cterecursive: _, cterefcount: _, ctecolnames, ctecoltypes, ctecoltypmods, ctecolcollations }) => { nodes_in(aliascolnames, out); node_in(ctequery, out); if let Some(message) = search_clause { out.push(Tree::CteSearchClause(message)) }; if let Some(message) = cycle_clause { out.push(Tree::CteCycleClause(message)) }; nodes_in(ctecolnames, out); nodes_in(ctecoltypes, out); nodes_in(ctecoltypmods, out); nodes_in(ctecolcollations, out); }
            Tree::MergeWhenClause(protobuf::MergeWhenClause { match_kind: _, command_type: _, r#override: _, condition, target_list, values }) => { node_in(condition, out); nodes_in(target_list, out); nodes_in(values, out); }
            Tree::ReturningOption(protobuf::ReturningOption { option: _, value: _, location: _ }) => {}
            Tree::ReturningClause(protobuf::ReturningClause { options, exprs }) => { nodes_in(options, out); nodes_in(exprs, out); }
            Tree::TriggerTransition(protobuf::TriggerTransition { name: _, is_new: _, is_table: _ }) => {}
            Tree::JsonOutput(protobuf::JsonOutput { type_name, returning }) => { if let Some(message) = type_name { out.push(Tree::TypeName(message)) }; if let Some(message) = returning { out.push(Tree::JsonReturning(message)) }; }
            Tree::JsonArgument(protobuf::JsonArgument { val, name: _ }) => { if let Some(message) = val { out.push(Tree::JsonValueExpr(message)) }; }
            Tree::JsonFuncExpr(protobuf::JsonFuncExpr { op: _, column_name: _, context_item, pathspec, passing, output, on_empty, on_error, wrapper: _, quotes: _, location: _ }) => { if let Some(message) = context_item { out.push(Tree::JsonValueExpr(message)) }; node_in(pathspec, out); nodes_in(passing, out); if let Some(message) = output { out.push(Tree::JsonOutput(message)) }; if let Some(message) = on_empty { out.push(Tree::JsonBehavior(message)) }; if let Some(message) = on_error { out.push(Tree::JsonBehavior(message)) }; }
            Tree::JsonTablePathSpec(protobuf::JsonTablePathSpec { string, name: _, name_location: _, location: _ }) => { node_in(string, out); }
            Tree::JsonTable(protobuf::JsonTable { context_item, pathspec, passing, columns, on_error, alias, lateral: _, location: _ }) => { if let Some(message) = context_item { out.push(Tree::JsonValueExpr(message)) }; if let Some(message) = pathspec { out.push(Tree::JsonTablePathSpec(message)) }; nodes_in(passing, out); nodes_in(columns, out); if let Some(message) = on_error { out.push(Tree::JsonBehavior(message)) }; if let Some(message) = alias { out.push(Tree::Alias(message)) }; }
            Tree::JsonTableColumn(protobuf::JsonTableColumn { coltype: _, name: _, type_name, pathspec, format, wrapper: _, quotes: _, columns, on_empty, on_error, location: _ }) => { if let Some(message) = type_name { out.push(Tree::TypeName(message)) }; if let Some(message) = pathspec { out.push(Tree::JsonTablePathSpec(message)) }; if let Some(message) = format { out.push(Tree::JsonFormat(message)) }; nodes_in(columns, out); if let Some(message) = on_empty { out.push(Tree::JsonBehavior(message)) }; if let Some(message) = on_error { out.push(Tree::JsonBehavior(message)) }; }
            Tree::JsonKeyValue(protobuf::JsonKeyValue { key, value }) => { node_in(key, out); if let Some(message) = value { out.push(Tree::JsonValueExpr(message)) }; }
            Tree::JsonParseExpr(protobuf::JsonParseExpr { expr, output, unique_keys: _, location: _ }) => { if let Some(message) = expr { out.push(Tree::JsonValueExpr(message)) }; if let Some(message) = output { out.push(Tree::JsonOutput(message)) }; }
            Tree::JsonScalarExpr(protobuf::JsonScalarExpr { expr, output, location: _ }) => { node_in(expr, out); if let Some(message) = output { out.push(Tree::JsonOutput(message)) }; }
            Tree::JsonSerializeExpr(protobuf::JsonSerializeExpr { expr, output, location: _ }) => { if let Some(message) = expr { out.push(Tree::JsonValueExpr(message)) }; if let Some(message) = output { out.push(Tree::JsonOutput(message)) }; }
            Tree::JsonObjectConstructor(protobuf::JsonObjectConstructor { exprs, output, absent_on_null: _, unique: _, location: _ }) => { nodes_in(exprs, out); if let Some(message) = output { out.push(Tree::JsonOutput(message)) }; }
            Tree::JsonArrayConstructor(protobuf::JsonArrayConstructor { exprs, output, absent_on_null: _, location: _ }) => { nodes_in(exprs, out); if let Some(message) = output { out.push(Tree::JsonOutput(message)) }; }
            Tree::JsonArrayQueryConstructor(protobuf::JsonArrayQueryConstructor { query, output, format, absent_on_null: _, location: _ }) => { node_in(query, out); if let Some(message) = output { out.push(Tree::JsonOutput(message)) }; if let Some(message) = format { out.push(Tree::JsonFormat(message)) }; }
            Tree::JsonAggConstructor(protobuf::JsonAggConstructor { output, agg_filter, agg_order, over, location: _ }) => { if let Some(message) = output { out.push(Tree::JsonOutput(message)) }; node_in(agg_filter, out); nodes_in(agg_order, out); if let Some(message) = over { out.push(Tree::WindowDef(message)) }; }
            Tree::JsonObjectAgg(protobuf::JsonObjectAgg { constructor, arg, absent_on_null: _, unique: _ }) => { if let Some(message) = constructor { out.push(Tree::JsonAggConstructor(message)) }; if let Some(message) = arg { out.push(Tree::JsonKeyValue(message)) }; }
            Tree::JsonArrayAgg(protobuf::JsonArrayAgg { constructor, arg, absent_on_null: _ }) => { if let Some(message) = constructor { out.push(Tree::JsonAggConstructor(message)) }; if let Some(message) = arg { out.push(Tree::JsonValueExpr(message)) }; }
            Tree::RawStmt(protobuf::RawStmt { stmt, stmt_location: _, stmt_len: _ }) => { node_in(stmt, out); }
            Tree::InsertStmt(protobuf::InsertStmt { relation, cols, select_stmt, on_conflict_clause, returning_clause, with_clause, r#override: _ }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; nodes_in(cols, out); node_in(select_stmt, out); if let Some(message) = on_conflict_clause { out.push(Tree::OnConflictClause(message)) }; if let Some(message) = returning_clause { out.push(Tree::ReturningClause(message)) }; if let Some(message) = with_clause { out.push(Tree::WithClause(message)) }; }
            Tree::DeleteStmt(protobuf::DeleteStmt { relation, using_clause, where_clause, returning_clause, with_clause }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; nodes_in(using_clause, out); node_in(where_clause, out); if let Some(message) = returning_clause { out.push(Tree::ReturningClause(message)) }; if let Some(message) = with_clause { out.push(Tree::WithClause(message)) }; }
            Tree::UpdateStmt(protobuf::UpdateStmt { relation, target_list, where_clause, from_clause, returning_clause, with_clause }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; nodes_in(target_list, out); node_in(where_clause, out); nodes_in(from_clause, out); if let Some(message) = returning_clause { out.push(Tree::ReturningClause(message)) }; if let Some(message) = with_clause { out.push(Tree::WithClause(message)) }; }
            Tree::MergeStmt(protobuf::MergeStmt { relation, source_relation, join_condition, merge_when_clauses, returning_clause, with_clause }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; node_in(source_relation, out); node_in(join_condition, out); nodes_in(merge_when_clauses, out); if let Some(message) = returning_clause { out.push(Tree::ReturningClause(message)) }; if let Some(message) = with_clause { out.push(Tree::WithClause(message)) }; }
            Tree::SelectStmt(protobuf::SelectStmt { distinct_clause, into_clause, target_list, from_clause, where_clause, group_clause, group_distinct: _, having_clause, window_clause, values_lists, sort_clause, limit_offset, limit_count, limit_option: _, locking_clause, with_clause, op: _, all: _, larg, rarg }) => { nodes_in(distinct_clause, out); if let Some(message) = into_clause { out.push(Tree::IntoClause(message)) }; nodes_in(target_list, out); nodes_in(from_clause, out); node_in(where_clause, out); nodes_in(group_clause, out); node_in(having_clause, out); nodes_in(window_clause, out); nodes_in(values_lists, out); nodes_in(sort_clause, out); node_in(limit_offset, out); node_in(limit_count, out); nodes_in(locking_clause, out); if let Some(message) = with_clause { out.push(Tree::WithClause(message)) }; if let Some(message) = larg { out.push(Tree::SelectStmt(message)) }; if let Some(message) = rarg { out.push(Tree::SelectStmt(message)) }; }
            Tree::SetOperationStmt(protobuf::SetOperationStmt { op: _, all: _, larg, rarg, col_types, col_typmods, col_collations, group_clauses }) => { node_in(larg, out); node_in(rarg, out); nodes_in(col_types, out); nodes_in(col_typmods, out); nodes_in(col_collations, out); nodes_in(group_clauses, out); }
            Tree::ReturnStmt(protobuf::ReturnStmt { returnval }) => { node_in(returnval, out); }
            Tree::PlAssignStmt(protobuf::PlAssignStmt { name: _, indirection, nnames: _, val, location: _ }) => { nodes_in(indirection, out); if let Some(message) = val { out.push(Tree::SelectStmt(message)) }; }
            Tree::CreateSchemaStmt(protobuf::CreateSchemaStmt { schemaname: _, authrole, schema_elts, if_not_exists: _ }) => { if let Some(message) = authrole { out.push(Tree::RoleSpec(message)) }; nodes_in(schema_elts, out); }
            Tree::AlterTableStmt(protobuf::AlterTableStmt { relation, cmds, objtype: _, missing_ok: _ }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; nodes_in(cmds, out); }
            Tree::AlterTableCmd(protobuf::AlterTableCmd { subtype: _, name: _, num: _, newowner, def, behavior: _, missing_ok: _, recurse: _ }) => { if let Some(message) = newowner { out.push(Tree::RoleSpec(message)) }; node_in(def, out); }
            Tree::AtAlterConstraint(protobuf::AtAlterConstraint { conname: _, alter_enforceability: _, is_enforced: _, alter_deferrability: _, deferrable: _, initdeferred: _, alter_inheritability: _, noinherit: _ }) => {}
            Tree::ReplicaIdentityStmt(protobuf::ReplicaIdentityStmt { identity_type: _, name: _ }) => {}
            Tree::AlterCollationStmt(protobuf::AlterCollationStmt { collname }) => { nodes_in(collname, out); }
            Tree::AlterDomainStmt(protobuf::AlterDomainStmt { subtype: _, type_name, name: _, def, behavior: _, missing_ok: _ }) => { nodes_in(type_name, out); node_in(def, out); }
            Tree::GrantStmt(protobuf::GrantStmt { is_grant: _, targtype: _, objtype: _, objects, privileges, grantees, grant_option: _, grantor, behavior: _ }) => { nodes_in(objects, out); nodes_in(privileges, out); nodes_in(grantees, out); if let Some(message) = grantor { out.push(Tree::RoleSpec(message)) }; }
            Tree::ObjectWithArgs(protobuf::ObjectWithArgs { objname, objargs, objfuncargs, args_unspecified: _ }) => { nodes_in(objname, out); nodes_in(objargs, out); nodes_in(objfuncargs, out); }
            Tree::AccessPriv(protobuf::AccessPriv { priv_name: _, cols }) => { nodes_in(cols, out); }
            Tree::GrantRoleStmt(protobuf::GrantRoleStmt { granted_roles, grantee_roles, is_grant: _, opt, grantor, behavior: _ }) => { nodes_in(granted_roles, out); nodes_in(grantee_roles, out); nodes_in(opt, out); if let Some(message) = grantor { out.push(Tree::RoleSpec(message)) }; }
            Tree::AlterDefaultPrivilegesStmt(protobuf::AlterDefaultPrivilegesStmt { options, action }) => { nodes_in(options, out); if let Some(message) = action { out.push(Tree::GrantStmt(message)) }; }
            Tree::CopyStmt(protobuf::CopyStmt { relation, query, attlist, is_from: _, is_program: _, filename: _, options, where_clause }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; node_in(query, out); nodes_in(attlist, out); nodes_in(options, out); node_in(where_clause, out); }
            Tree::VariableSetStmt(protobuf::VariableSetStmt { kind: _, name: _, args, jumble_args: _, is_local: _, location: _ }) => { nodes_in(args, out); }
            Tree::VariableShowStmt(protobuf::VariableShowStmt { name: _ }) => {}
            Tree::CreateStmt(protobuf::CreateStmt { relation, table_elts, inh_relations, partbound, partspec, of_typename, constraints, nnconstraints, options, oncommit: _, tablespacename: _, access_method: _, if_not_exists: _ }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; nodes_in(table_elts, out); nodes_in(inh_relations, out); if let Some(message) = partbound { out.push(Tree::PartitionBoundSpec(message)) }; if let Some(message) = partspec { out.push(Tree::PartitionSpec(message)) }; if let Some(message) = of_typename { out.push(Tree::TypeName(message)) }; nodes_in(constraints, out); nodes_in(nnconstraints, out); nodes_in(options, out); }
            Tree::Constraint(protobuf::Constraint { contype: _, conname: _, deferrable: _, initdeferred: _, is_enforced: _, skip_validation: _, initially_valid: _, is_no_inherit: _, raw_expr, cooked_expr: _, generated_when: _, generated_kind: _, nulls_not_distinct: _, keys, without_overlaps: _, including, exclusions, options, indexname: _, indexspace: _, reset_default_tblspc: _, access_method: _, where_clause, pktable, fk_attrs, pk_attrs, fk_with_period: _, pk_with_period: _, fk_matchtype: _, fk_upd_action: _, fk_del_action: _, fk_del_set_cols, old_conpfeqop, old_pktable_oid: _, location: _ }) => { node_in(raw_expr, out); nodes_in(keys, out); nodes_in(including, out); nodes_in(exclusions, out); nodes_in(options, out); node_in(where_clause, out); if let Some(message) = pktable { out.push(Tree::RangeVar(message)) }; nodes_in(fk_attrs, out); nodes_in(pk_attrs, out); nodes_in(fk_del_set_cols, out); nodes_in(old_conpfeqop, out); }
            Tree::CreateTableSpaceStmt(protobuf::CreateTableSpaceStmt { tablespacename: _, owner, location: _, options }) => { if let Some(message) = owner { out.push(Tree::RoleSpec(message)) }; nodes_in(options, out); }
            Tree::DropTableSpaceStmt(protobuf::DropTableSpaceStmt { tablespacename: _, missing_ok: _ }) => {}
            Tree::AlterTableSpaceOptionsStmt(protobuf::AlterTableSpaceOptionsStmt { tablespacename: _, options, is_reset: _ }) => { nodes_in(options, out); }
            Tree::AlterTableMoveAllStmt(protobuf::AlterTableMoveAllStmt { orig_tablespacename: _, objtype: _, roles, new_tablespacename: _, nowait: _ }) => { nodes_in(roles, out); }
            Tree::CreateExtensionStmt(protobuf::CreateExtensionStmt { extname: _, if_not_exists: _, options }) => { nodes_in(options, out); }
            Tree::AlterExtensionStmt(protobuf::AlterExtensionStmt { extname: _, options }) => { nodes_in(options, out); }
            Tree::AlterExtensionContentsStmt(protobuf::AlterExtensionContentsStmt { extname: _, action: _, objtype: _, object }) => { node_in(object, out); }
            Tree::CreateFdwStmt(protobuf::CreateFdwStmt { fdwname: _, func_options, options }) => { nodes_in(func_options, out); nodes_in(options, out); }
            Tree::AlterFdwStmt(protobuf::AlterFdwStmt { fdwname: _, func_options, options }) => { nodes_in(func_options, out); nodes_in(options, out); }
            Tree::CreateForeignServerStmt(protobuf::CreateForeignServerStmt { servername: _, servertype: _, version: _, fdwname: _, if_not_exists: _, options }) => { nodes_in(options, out); }
            Tree::AlterForeignServerStmt(protobuf::AlterForeignServerStmt { servername: _, version: _, options, has_version: _ }) => { nodes_in(options, out); }
            Tree::CreateForeignTableStmt(protobuf::CreateForeignTableStmt { base_stmt, servername: _, options }) => { if let Some(message) = base_stmt { out.push(Tree::CreateStmt(message)) }; nodes_in(options, out); }
            Tree::CreateUserMappingStmt(protobuf::CreateUserMappingStmt { user, servername: _, if_not_exists: _, options }) => { if let Some(message) = user { out.push(Tree::RoleSpec(message)) }; nodes_in(options, out); }
            Tree::AlterUserMappingStmt(protobuf::AlterUserMappingStmt { user, servername: _, options }) => { if let Some(message) = user { out.push(Tree::RoleSpec(message)) }; nodes_in(options, out); }
            Tree::DropUserMappingStmt(protobuf::DropUserMappingStmt { user, servername: _, missing_ok: _ }) => { if let Some(message) = user { out.push(Tree::RoleSpec(message)) }; }
            Tree::ImportForeignSchemaStmt(protobuf::ImportForeignSchemaStmt { server_name: _, remote_schema: _, local_schema: _, list_type: _, table_list, options }) => { nodes_in(table_list, out); nodes_in(options, out); }
            Tree::CreatePolicyStmt(protobuf::CreatePolicyStmt { policy_name: _, table, cmd_name: _, permissive: _, roles, qual, with_check }) => { if let Some(message) = table { out.push(Tree::RangeVar(message)) }; nodes_in(roles, out); node_in(qual, out); node_in(with_check, out); }
            Tree::AlterPolicyStmt(protobuf::AlterPolicyStmt { policy_name: _, table, roles, qual, with_check }) => { if let Some(message) = table { out.push(Tree::RangeVar(message)) }; nodes_in(roles, out); node_in(qual, out); node_in(with_check, out); }
            Tree::CreateAmStmt(protobuf::CreateAmStmt { amname: _, handler_name, amtype: _ }) => { nodes_in(handler_name, out); }
            Tree::CreateTrigStmt(protobuf::CreateTrigStmt { replace: _, isconstraint: _, trigname: _, relation, funcname, args, row: _, timing: _, events: _, columns, when_clause, transition_rels, deferrable: _, initdeferred: _, constrrel }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; nodes_in(funcname, out); nodes_in(args, out); nodes_in(columns, out); node_in(when_clause, out); nodes_in(transition_rels, out); if let Some(message) = constrrel { out.push(Tree::RangeVar(message)) }; }
            Tree::CreateEventTrigStmt(protobuf::CreateEventTrigStmt { trigname: _, eventname: _, whenclause, funcname }) => { nodes_in(whenclause, out); nodes_in(funcname, out); }
            Tree::AlterEventTrigStmt(protobuf::AlterEventTrigStmt { trigname: _, tgenabled: _ }) => {}
            Tree::CreatePLangStmt(protobuf::CreatePLangStmt { replace: _, plname: _, plhandler, plinline, plvalidator, pltrusted: _ }) => { nodes_in(plhandler, out); nodes_in(plinline, out); nodes_in(plvalidator, out); }
            Tree::CreateRoleStmt(protobuf::CreateRoleStmt { stmt_type: _, role: _, options }) => { nodes_in(options, out); }
            Tree::AlterRoleStmt(protobuf::AlterRoleStmt { role, options, action: _ }) => { if let Some(message) = role { out.push(Tree::RoleSpec(message)) }; nodes_in(options, out); }
            Tree::AlterRoleSetStmt(protobuf::AlterRoleSetStmt { role, database: _, setstmt }) => { if let Some(message) = role { out.push(Tree::RoleSpec(message)) }; if let Some(message) = setstmt { out.push(Tree::VariableSetStmt(message)) }; }
            Tree::DropRoleStmt(protobuf::DropRoleStmt { roles, missing_ok: _ }) => { nodes_in(roles, out); }
            Tree::CreateSeqStmt(protobuf::CreateSeqStmt { sequence, options, owner_id: _, for_identity: _, if_not_exists: _ }) => { if let Some(message) = sequence { out.push(Tree::RangeVar(message)) }; nodes_in(options, out); }
            Tree::AlterSeqStmt(protobuf::AlterSeqStmt { sequence, options, for_identity: _, missing_ok: _ }) => { if let Some(message) = sequence { out.push(Tree::RangeVar(message)) }; nodes_in(options, out); }
            Tree::DefineStmt(protobuf::DefineStmt { kind: _, oldstyle: _, defnames, args, definition, if_not_exists: _, replace: _ }) => { nodes_in(defnames, out); nodes_in(args, out); nodes_in(definition, out); }
            Tree::CreateDomainStmt(protobuf::CreateDomainStmt { domainname, type_name, coll_clause, constraints }) => { nodes_in(domainname, out); if let Some(message) = type_name { out.push(Tree::TypeName(message)) }; if let Some(message) = coll_clause { out.push(Tree::CollateClause(message)) }; nodes_in(constraints, out); }
            Tree::CreateOpClassStmt(protobuf::CreateOpClassStmt { opclassname, opfamilyname, amname: _, datatype, items, is_default: _ }) => { nodes_in(opclassname, out); nodes_in(opfamilyname, out); if let Some(message) = datatype { out.push(Tree::TypeName(message)) }; nodes_in(items, out); }
            Tree::CreateOpClassItem(protobuf::CreateOpClassItem { itemtype: _, name, number: _, order_family, class_args, storedtype }) => { if let Some(message) = name { out.push(Tree::ObjectWithArgs(message)) }; nodes_in(order_family, out); nodes_in(class_args, out); if let Some(message) = storedtype { out.push(Tree::TypeName(message)) }; }
            Tree::CreateOpFamilyStmt(protobuf::CreateOpFamilyStmt { opfamilyname, amname: _ }) => { nodes_in(opfamilyname, out); }
            Tree::AlterOpFamilyStmt(protobuf::AlterOpFamilyStmt { opfamilyname, amname: _, is_drop: _, items }) => { nodes_in(opfamilyname, out); nodes_in(items, out); }
            Tree::DropStmt(protobuf::DropStmt { objects, remove_type: _, behavior: _, missing_ok: _, concurrent: _ }) => { nodes_in(objects, out); }
            Tree::TruncateStmt(protobuf::TruncateStmt { relations, restart_seqs: _, behavior: _ }) => { nodes_in(relations, out); }
            Tree::CommentStmt(protobuf::CommentStmt { objtype: _, object, comment: _ }) => { node_in(object, out); }
            Tree::SecLabelStmt(protobuf::SecLabelStmt { objtype: _, object, provider: _, label: _ }) => { node_in(object, out); }
            Tree::DeclareCursorStmt(protobuf::DeclareCursorStmt { portalname: _, options: _, query }) => { node_in(query, out); }
            Tree::ClosePortalStmt(protobuf::ClosePortalStmt { portalname: _ }) => {}
            Tree::FetchStmt(protobuf::FetchStmt { direction: _, how_many: _, portalname: _, ismove: _ }) => {}
            Tree::IndexStmt(protobuf::IndexStmt { idxname: _, relation, access_method: _, table_space: _, index_params, index_including_params, options, where_clause, exclude_op_names, idxcomment: _, index_oid: _, old_number: _, old_create_subid: _, old_first_relfilelocator_subid: _, unique: _, nulls_not_distinct: _, primary: _, isconstraint: _, iswithoutoverlaps: _, deferrable: _, initdeferred: _, transformed: _, concurrent: _, if_not_exists: _, reset_default_tblspc: _ }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; nodes_in(index_params, out); nodes_in(index_including_params, out); nodes_in(options, out); node_in(where_clause, out); nodes_in(exclude_op_names, out); }
            Tree::CreateStatsStmt(protobuf::CreateStatsStmt { defnames, stat_types, exprs, relations, stxcomment: _, transformed: _, if_not_exists: _ }) => { nodes_in(defnames, out); nodes_in(stat_types, out); nodes_in(exprs, out); nodes_in(relations, out); }
            Tree::StatsElem(protobuf::StatsElem { name: _, expr }) => { node_in(expr, out); }
            Tree::AlterStatsStmt(protobuf::AlterStatsStmt { defnames, stxstattarget, missing_ok: _ }) => { nodes_in(defnames, out); node_in(stxstattarget, out); }
            Tree::CreateFunctionStmt(protobuf::CreateFunctionStmt { is_procedure: _, replace: _, funcname, parameters, return_type, options, sql_body }) => { nodes_in(funcname, out); nodes_in(parameters, out); if let Some(message) = return_type { out.push(Tree::TypeName(message)) }; nodes_in(options, out); node_in(sql_body, out); }
            Tree::FunctionParameter(protobuf::FunctionParameter { name: _, arg_type, mode: _, defexpr, location: _ }) => { if let Some(message) = arg_type { out.push(Tree::TypeName(message)) }; node_in(defexpr, out); }
            Tree::AlterFunctionStmt(protobuf::AlterFunctionStmt { objtype: _, func, actions }) => { if let Some(message) = func { out.push(Tree::ObjectWithArgs(message)) }; nodes_in(actions, out); }
            Tree::DoStmt(protobuf::DoStmt { args }) => { nodes_in(args, out); }
            Tree::InlineCodeBlock(protobuf::InlineCodeBlock { source_text: _, lang_oid: _, lang_is_trusted: _, atomic: _ }) => {}
            Tree::CallStmt(protobuf::CallStmt { funccall, funcexpr, outargs }) => { if let Some(message) = funccall { out.push(Tree::FuncCall(message)) }; if let Some(message) = funcexpr { out.push(Tree::FuncExpr(message)) }; nodes_in(outargs, out); }
            Tree::CallContext(protobuf::CallContext { atomic: _ }) => {}
            Tree::RenameStmt(protobuf::RenameStmt { rename_type: _, relation_type: _, relation, object, subname: _, newname: _, behavior: _, missing_ok: _ }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; node_in(object, out); }
            Tree::AlterObjectDependsStmt(protobuf::AlterObjectDependsStmt { object_type: _, relation, object, extname, remove: _ }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; node_in(object, out); if let Some(message) = extname { out.push(Tree::String(message)) }; }
            Tree::AlterObjectSchemaStmt(protobuf::AlterObjectSchemaStmt { object_type: _, relation, object, newschema: _, missing_ok: _ }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; node_in(object, out); }
            Tree::AlterOwnerStmt(protobuf::AlterOwnerStmt { object_type: _, relation, object, newowner }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; node_in(object, out); if let Some(message) = newowner { out.push(Tree::RoleSpec(message)) }; }
            Tree::AlterOperatorStmt(protobuf::AlterOperatorStmt { opername, options }) => { if let Some(message) = opername { out.push(Tree::ObjectWithArgs(message)) }; nodes_in(options, out); }
            Tree::AlterTypeStmt(protobuf::AlterTypeStmt { type_name, options }) => { nodes_in(type_name, out); nodes_in(options, out); }
            Tree::RuleStmt(protobuf::RuleStmt { relation, rulename: _, where_clause, event: _, instead: _, actions, replace: _ }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; node_in(where_clause, out); nodes_in(actions, out); }
            Tree::NotifyStmt(protobuf::NotifyStmt { conditionname: _, payload: _, payload_location: _ }) => {}
            Tree::ListenStmt(protobuf::ListenStmt { conditionname: _ }) => {}
            Tree::UnlistenStmt(protobuf::UnlistenStmt { conditionname: _ }) => {}
            Tree::TransactionStmt(protobuf::TransactionStmt { kind: _, options, savepoint_name: _, gid: _, chain: _, location: _ }) => { nodes_in(options, out); }
            Tree::CompositeTypeStmt(protobuf::CompositeTypeStmt { typevar, coldeflist }) => { if let Some(message) = typevar { out.push(Tree::RangeVar(message)) }; nodes_in(coldeflist, out); }
            Tree::CreateEnumStmt(protobuf::CreateEnumStmt { type_name, vals }) => { nodes_in(type_name, out); nodes_in(vals, out); }
            Tree::CreateRangeStmt(protobuf::CreateRangeStmt { type_name, params }) => { nodes_in(type_name, out); nodes_in(params, out); }
            Tree::AlterEnumStmt(protobuf::AlterEnumStmt { type_name, old_val: _, new_val: _, new_val_neighbor: _, new_val_is_after: _, skip_if_new_val_exists: _ }) => { nodes_in(type_name, out); }
            Tree::ViewStmt(protobuf::ViewStmt { view, aliases, query, replace: _, options, with_check_option: _ }) => { if let Some(message) = view { out.push(Tree::RangeVar(message)) }; nodes_in(aliases, out); node_in(query, out); nodes_in(options, out); }
            Tree::LoadStmt(protobuf::LoadStmt { filename: _ }) => {}
            Tree::CreatedbStmt(protobuf::CreatedbStmt { dbname: _, options }) => { nodes_in(options, out); }
            Tree::AlterDatabaseStmt(protobuf::AlterDatabaseStmt { dbname: _, options }) => { nodes_in(options, out); }
            Tree::AlterDatabaseRefreshCollStmt(protobuf::AlterDatabaseRefreshCollStmt { dbname: _ }) => {}
            Tree::AlterDatabaseSetStmt(protobuf::AlterDatabaseSetStmt { dbname: _, setstmt }) => { if let Some(message) = setstmt { out.push(Tree::VariableSetStmt(message)) }; }
            Tree::DropdbStmt(protobuf::DropdbStmt { dbname: _, missing_ok: _, options }) => { nodes_in(options, out); }
            Tree::AlterSystemStmt(protobuf::AlterSystemStmt { setstmt }) => { if let Some(message) = setstmt { out.push(Tree::VariableSetStmt(message)) }; }
            Tree::ClusterStmt(protobuf::ClusterStmt { relation, indexname: _, params }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; nodes_in(params, out); }
            Tree::VacuumStmt(protobuf::VacuumStmt { options, rels, is_vacuumcmd: _ }) => { nodes_in(options, out); nodes_in(rels, out); }
            Tree::VacuumRelation(protobuf::VacuumRelation { relation, oid: _, va_cols }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; nodes_in(va_cols, out); }
            Tree::ExplainStmt(protobuf::ExplainStmt { query, options }) => { node_in(query, out); nodes_in(options, out); }
            Tree::CreateTableAsStmt(protobuf::CreateTableAsStmt { query, into, objtype: _, is_select_into: _, if_not_exists: _ }) => { node_in(query, out); if let Some(message) = into { out.push(Tree::IntoClause(message)) }; }
            Tree::RefreshMatViewStmt(protobuf::RefreshMatViewStmt { concurrent: _, skip_data: _, relation }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; }
            Tree::CheckPointStmt(protobuf::CheckPointStmt {}) => {}
            Tree::DiscardStmt(protobuf::DiscardStmt { target: _ }) => {}
            Tree::LockStmt(protobuf::LockStmt { relations, mode: _, nowait: _ }) => { nodes_in(relations, out); }
            Tree::ConstraintsSetStmt(protobuf::ConstraintsSetStmt { constraints, deferred: _ }) => { nodes_in(constraints, out); }
            Tree::ReindexStmt(protobuf::ReindexStmt { kind: _, relation, name: _, params }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; nodes_in(params, out); }
            Tree::CreateConversionStmt(protobuf::CreateConversionStmt { conversion_name, for_encoding_name: _, to_encoding_name: _, func_name, def: _ }) => { nodes_in(conversion_name, out); nodes_in(func_name, out); }
            Tree::CreateCastStmt(protobuf::CreateCastStmt { sourcetype, targettype, func, context: _, inout: _ }) => { if let Some(message) = sourcetype { out.push(Tree::TypeName(message)) }; if let Some(message) = targettype { out.push(Tree::TypeName(message)) }; if let Some(message) = func { out.push(Tree::ObjectWithArgs(message)) }; }
            Tree::CreateTransformStmt(protobuf::CreateTransformStmt { replace: _, type_name, lang: _, fromsql, tosql }) => { if let Some(message) = type_name { out.push(Tree::TypeName(message)) }; if let Some(message) = fromsql { out.push(Tree::ObjectWithArgs(message)) }; if let Some(message) = tosql { out.push(Tree::ObjectWithArgs(message)) }; }
            Tree::PrepareStmt(protobuf::PrepareStmt { name: _, argtypes, query }) => { nodes_in(argtypes, out); node_in(query, out); }
            Tree::ExecuteStmt(protobuf::ExecuteStmt { name: _, params }) => { nodes_in(params, out); }
            Tree::DeallocateStmt(protobuf::DeallocateStmt { name: _, isall: _, location: _ }) => {}
            Tree::DropOwnedStmt(protobuf::DropOwnedStmt { roles, behavior: _ }) => { nodes_in(roles, out); }
            Tree::ReassignOwnedStmt(protobuf::ReassignOwnedStmt { roles, newrole }) => { nodes_in(roles, out); if let Some(message) = newrole { out.push(Tree::RoleSpec(message)) }; }
            Tree::AlterTsDictionaryStmt(protobuf::AlterTsDictionaryStmt { dictname, options }) => { nodes_in(dictname, out); nodes_in(options, out); }
            Tree::AlterTsConfigurationStmt(protobuf::AlterTsConfigurationStmt { kind: _, cfgname, tokentype, dicts, r#override: _, replace: _, missing_ok: _ }) => { nodes_in(cfgname, out); nodes_in(tokentype, out); nodes_in(dicts, out); }
            Tree::PublicationTable(protobuf::PublicationTable { relation, where_clause, columns }) => { if let Some(message) = relation { out.push(Tree::RangeVar(message)) }; node_in(where_clause, out); nodes_in(columns, out); }
            Tree::PublicationObjSpec(protobuf::PublicationObjSpec { pubobjtype: _, name: _, pubtable, location: _ }) => { if let Some(message) = pubtable { out.push(Tree::PublicationTable(message)) }; }
            Tree::CreatePublicationStmt(protobuf::CreatePublicationStmt { pubname: _, options, pubobjects, for_all_tables: _ }) => { nodes_in(options, out); nodes_in(pubobjects, out); }
            Tree::AlterPublicationStmt(protobuf::AlterPublicationStmt { pubname: _, options, pubobjects, for_all_tables: _, action: _ }) => { nodes_in(options, out); nodes_in(pubobjects, out); }
            Tree::CreateSubscriptionStmt(protobuf::CreateSubscriptionStmt { subname: _, conninfo: _, publication, options, conninfo_location: _ }) => { nodes_in(publication, out); nodes_in(options, out); }
            Tree::AlterSubscriptionStmt(protobuf::AlterSubscriptionStmt { kind: _, subname: _, conninfo: _, publication, options, conninfo_location: _ }) => { nodes_in(publication, out); nodes_in(options, out); }
            Tree::DropSubscriptionStmt(protobuf::DropSubscriptionStmt { subname: _, missing_ok: _, behavior: _ }) => {}
            Tree::Integer(protobuf::Integer { ival: _ }) => {}
            Tree::Float(protobuf::Float { fval: _ }) => {}
            Tree::Boolean(protobuf::Boolean { boolval: _ }) => {}
            Tree::String(protobuf::String { sval: _ }) => {}
            Tree::BitString(protobuf::BitString { bsval: _ }) => {}
            Tree::List(protobuf::List { items }) => { nodes_in(items, out); }
            Tree::IntList(protobuf::IntList { items }) => { nodes_in(items, out); }
            Tree::OidList(protobuf::OidList { items }) => { nodes_in(items, out); }
            Tree::AConst(protobuf::AConst { isnull: _, location: _, val: _ }) => {}
        }
    }
}

/// The child in an optional node.
fn node_in<'a>(node: &'a Option<Box<Node>>, out: &mut Vec<Tree<'a>>) {
    out.extend(node.iter().filter_map(|node| node.node.as_ref()).map(Tree::from));
}

/// The children in a list of nodes.
fn nodes_in<'a>(nodes: &'a [Node], out: &mut Vec<Tree<'a>>) {
    out.extend(nodes.iter().filter_map(|node| node.node.as_ref()).map(Tree::from));
}
