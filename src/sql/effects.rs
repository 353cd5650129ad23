//! What a utility statement does to the session that runs it, beyond the functions that it calls.

use std::ops::Range;

use pg_query::NodeEnum;
use pg_query::protobuf::{self, DiscardMode, TransactionStmtKind, VariableSetKind, a_const};

use super::names::{self, Place};
use super::walk::{SetScope, names_temporary, set_effects, setting_name};
use super::{DiscardTarget, Effect};

/// A prepared statement's name could not be found in the text.
#[derive(Debug)]
pub(super) struct NameLost;

/// The statement's own effects. `inner` are those of what it contains, in order.
pub(super) fn effects_of(
    node: &NodeEnum,
    text: &str,
    span: &Range<usize>,
    inner: Vec<Effect>,
) -> Result<Vec<Effect>, NameLost> {
    let mut effects = Vec::new();
    match node {
        NodeEnum::VariableSetStmt(set) => effects.extend(of_set(set)),
        NodeEnum::TransactionStmt(transaction) => effects.extend(of_savepoint(transaction)),
        NodeEnum::DiscardStmt(discard) => effects.extend(of_discard(discard)),
        NodeEnum::PrepareStmt(prepare) => {
            let name_span = names::find(text, span, Place::First, &prepare.name).ok_or(NameLost)?;
            effects.push(Effect::Prepare { name: (&*prepare.name).into(), name_span });
            effects.extend(inner.into_iter().map(when_executed));
            return Ok(effects);
        }
        NodeEnum::ExecuteStmt(execute) => effects.extend(of_execute(execute, text, span, Place::First)?),
        NodeEnum::ExplainStmt(explain) => match explain.query.as_ref().and_then(|query| query.node.as_ref()) {
            Some(NodeEnum::ExecuteStmt(execute)) => effects.extend(of_execute(execute, text, span, Place::Explain)?),
            Some(NodeEnum::CreateTableAsStmt(create)) => effects.extend(of_create_as(create, text, span)?),
            Some(_) | None => {}
        },
        NodeEnum::CreateTableAsStmt(create) => effects.extend(of_create_as(create, text, span)?),
        NodeEnum::DeallocateStmt(deallocate) if deallocate.isall => effects.push(Effect::DeallocateAll),
        NodeEnum::DeallocateStmt(deallocate) => {
            let name_span = names::find(text, span, Place::Deallocate, &deallocate.name).ok_or(NameLost)?;
            effects.push(Effect::Deallocate { name: (&*deallocate.name).into(), name_span });
        }
        NodeEnum::ListenStmt(listen) => effects.push(Effect::Listen { channel: (&*listen.conditionname).into() }),
        NodeEnum::UnlistenStmt(unlisten) if unlisten.conditionname.is_empty() => effects.push(Effect::UnlistenAll),
        NodeEnum::UnlistenStmt(unlisten) => {
            effects.push(Effect::Unlisten { channel: (&*unlisten.conditionname).into() });
        }
        NodeEnum::DeclareCursorStmt(declare) if declare.options & CURSOR_HOLD != 0 => {
            effects.push(Effect::HoldCursor { name: (&*declare.portalname).into() });
        }
        NodeEnum::ClosePortalStmt(close) if close.portalname.is_empty() => effects.push(Effect::CloseAll),
        NodeEnum::ClosePortalStmt(close) => effects.push(Effect::CloseCursor { name: (&*close.portalname).into() }),
        NodeEnum::LoadStmt(_) => effects.push(Effect::Load),
        NodeEnum::DoStmt(_) | NodeEnum::CallStmt(_) => effects.push(Effect::Opaque),
        _ => {}
    }
    effects.extend(inner);
    let query = matches!(
        node,
        NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_)
    );
    // Names in utility statements hide in many places of a tree: the text tells at once.
    if !query && !effects.contains(&Effect::TempObject) && names_temporary(&text[span.clone()]) {
        effects.push(Effect::TempObject);
    }
    Ok(effects)
}

/// What a prepared statement does happens at its EXECUTE, which may be many and at any time.
fn when_executed(effect: Effect) -> Effect {
    match effect {
        Effect::SetSession { .. } | Effect::SetLocal { .. } | Effect::SetParameter { .. } | Effect::Reset { .. } => {
            Effect::SetUnknown
        }
        effect => effect,
    }
}

fn of_execute(
    execute: &protobuf::ExecuteStmt,
    text: &str,
    span: &Range<usize>,
    place: Place,
) -> Result<[Effect; 2], NameLost> {
    let name_span = names::find(text, span, place, &execute.name).ok_or(NameLost)?;
    Ok([Effect::Execute { name: (&*execute.name).into(), name_span }, Effect::SetUnknown])
}

fn of_create_as(
    create: &protobuf::CreateTableAsStmt,
    text: &str,
    span: &Range<usize>,
) -> Result<Vec<Effect>, NameLost> {
    match create.query.as_ref().and_then(|query| query.node.as_ref()) {
        Some(NodeEnum::ExecuteStmt(execute)) => Ok(of_execute(execute, text, span, Place::As)?.into()),
        Some(_) | None => Ok(Vec::new()),
    }
}

fn of_set(set: &protobuf::VariableSetStmt) -> Vec<Effect> {
    let scope = if set.is_local { SetScope::Local } else { SetScope::Session };
    match VariableSetKind::try_from(set.kind) {
        Ok(VariableSetKind::VarSetValue) => {
            let mut effects = set_effects(&set.name, scope);
            let temporary = |arg: &protobuf::Node| match &arg.node {
                Some(NodeEnum::AConst(constant)) => {
                    matches!(&constant.val, Some(a_const::Val::Sval(path)) if names_temporary(&path.sval))
                }
                _ => false,
            };
            if set.name.eq_ignore_ascii_case("search_path") && set.args.iter().any(temporary) {
                effects.push(Effect::TempObject);
            }
            effects
        }
        Ok(VariableSetKind::VarSetDefault) if scope == SetScope::Local => set_effects(&set.name, scope),
        Ok(VariableSetKind::VarSetDefault | VariableSetKind::VarReset) => {
            set_effects(&set.name, scope).into_iter().map(reset).collect()
        }
        Ok(VariableSetKind::VarSetMulti) if set.name == "SESSION CHARACTERISTICS" => {
            let names = set.args.iter().filter_map(|arg| match &arg.node {
                Some(NodeEnum::DefElem(option)) => Some(setting_name(&format!("default_{}", option.defname))),
                _ => None,
            });
            names.map(|name| Effect::SetSession { name }).collect()
        }
        // SET TRANSACTION ends with the transaction.
        Ok(VariableSetKind::VarSetMulti) => Vec::new(),
        Ok(VariableSetKind::VarResetAll) => vec![Effect::ResetAll],
        Ok(VariableSetKind::VarSetCurrent | VariableSetKind::Undefined) | Err(_) => vec![Effect::SetUnknown],
    }
}

/// The same setting, put back to its default.
fn reset(effect: Effect) -> Effect {
    match effect {
        Effect::SetSession { name } => Effect::Reset { name },
        effect => effect,
    }
}

fn of_savepoint(transaction: &protobuf::TransactionStmt) -> Option<Effect> {
    let name = || transaction.savepoint_name.as_str().into();
    match TransactionStmtKind::try_from(transaction.kind).ok()? {
        TransactionStmtKind::TransStmtSavepoint => Some(Effect::Savepoint { name: name() }),
        TransactionStmtKind::TransStmtRelease => Some(Effect::Release { name: name() }),
        TransactionStmtKind::TransStmtRollbackTo => Some(Effect::RollbackTo { name: name() }),
        TransactionStmtKind::Undefined
        | TransactionStmtKind::TransStmtBegin
        | TransactionStmtKind::TransStmtStart
        | TransactionStmtKind::TransStmtCommit
        | TransactionStmtKind::TransStmtRollback
        | TransactionStmtKind::TransStmtPrepare
        | TransactionStmtKind::TransStmtCommitPrepared
        | TransactionStmtKind::TransStmtRollbackPrepared => None,
    }
}

fn of_discard(discard: &protobuf::DiscardStmt) -> Option<Effect> {
    match DiscardMode::try_from(discard.target).ok()? {
        DiscardMode::DiscardAll => Some(Effect::DiscardAll),
        DiscardMode::DiscardPlans => Some(Effect::Discard(DiscardTarget::Plans)),
        DiscardMode::DiscardSequences => Some(Effect::Discard(DiscardTarget::Sequences)),
        DiscardMode::DiscardTemp => Some(Effect::Discard(DiscardTarget::Temp)),
        DiscardMode::Undefined => None,
    }
}

/// CURSOR_OPT_HOLD of PostgreSQL's `parsenodes.h`.
const CURSOR_HOLD: i32 = 0x0020;
