//! One pass over a statement's tree: relations with their CTE scope, functions, and what calling them does.
//!
//! The walk keeps its own stack, so the depth of a tree costs heap and not the thread's stack, and it visits every node there
//! is (see `tree`). It overstates what it cannot know: a name that may be temporary, a function that may be a user's.

use std::collections::HashMap;
use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{self, Node, a_const};

use super::facts::name_in;
use super::functions::{self, Class, Function};
use super::parameters::Parameters;
use super::tree::Tree;
use super::{Effect, Facts, Failure, Relation, RelationUsage, Setting, SettingValue, kinds};

/// What a walk found, each with its byte position in the text where the tree has one.
#[derive(Default)]
pub(super) struct Found {
    pub relations: Vec<(i32, Relation)>,
    pub functions: Vec<(i32, Vec<String>)>,
    pub effects: Vec<(i32, Effect)>,
    pub parameters_max: u16,
    /// A part of it writes, or locks rows.
    pub writes: bool,
    /// Literals in it are names of objects, or decide what it does.
    pub literals: bool,
    pub facts: Facts,
}

/// Whether a part of a statement is executed with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Now,
    /// Planned only: EXPLAIN without ANALYZE. Functions that are declared immutable run even so.
    Planned,
    /// Stored for later: a view's query, a function's body, a column's default.
    Later,
}

#[derive(Clone, Copy)]
struct Item<'a> {
    node: Tree<'a>,
    /// Index into `Walk::scopes`.
    scope: usize,
    usage: RelationUsage,
    run: Run,
}

/// The CTEs of one WITH clause that are visible at some place, and where to look further.
struct Scope<'a> {
    outer: Option<usize>,
    names: Arc<HashMap<&'a str, usize>>,
    /// Only names before this position are visible.
    visible: usize,
}

struct Walk<'a> {
    stack: Vec<Item<'a>>,
    scopes: Vec<Scope<'a>>,
    found: Found,
    parameters: Parameters<'a>,
    /// Nodes and scopes looked at.
    steps: usize,
}

/// Walks one top-level statement. `steps` counts nodes and scopes looked at, over all statements of a text.
pub(super) fn walk(statement: &NodeEnum, steps: &mut usize) -> Result<Found, Failure> {
    let (stack, found, parameters) = (Vec::with_capacity(STACK_FIRST), Found::default(), Parameters::default());
    let mut walk = Walk { stack, scopes: Vec::new(), found, parameters, steps: *steps };
    walk.scopes.push(Scope { outer: None, names: Arc::default(), visible: 0 });
    walk.stack.push(Item { node: statement.into(), scope: 0, usage: RelationUsage::Define, run: Run::Now });
    let mut root = true;
    while let Some(item) = walk.stack.pop() {
        walk.steps += 1;
        if walk.steps > STEPS_MAX {
            return Err(Failure::TooComplex);
        }
        let root = std::mem::take(&mut root);
        walk.found.facts.gather(item.node, root);
        walk.parameters.gather(item.node);
        walk.visit(item);
    }
    *steps = walk.steps;
    let mut found = walk.found;
    found.facts.parameters = walk.parameters.resolve();
    found.relations.sort_by_key(|(location, _)| *location);
    found.functions.sort_by_key(|(location, _)| *location);
    found.effects.sort_by_key(|(location, _)| *location);
    Ok(found)
}

/// Nodes on the walk's stack for which there is room at once: enough for short statements.
const STACK_FIRST: usize = 24;

impl<'a> Walk<'a> {
    fn visit(&mut self, item: Item<'a>) {
        match item.node {
            Tree::RangeVar(relation) => self.relation(relation, item),
            Tree::SelectStmt(select) => {
                self.found.writes |= !select.locking_clause.is_empty();
                self.query(item, &select.with_clause, None);
            }
            Tree::InsertStmt(insert) => {
                self.found.writes = true;
                self.query(item, &insert.with_clause, target(&insert.relation, RelationUsage::Insert));
            }
            Tree::UpdateStmt(update) => {
                self.found.writes = true;
                self.settings_view(&update.relation, item.run);
                self.query(item, &update.with_clause, target(&update.relation, RelationUsage::Update));
            }
            Tree::DeleteStmt(delete) => {
                self.found.writes = true;
                self.query(item, &delete.with_clause, target(&delete.relation, RelationUsage::Delete));
            }
            Tree::MergeStmt(merge) => {
                self.found.writes = true;
                self.settings_view(&merge.relation, item.run);
                self.query(item, &merge.with_clause, target(&merge.relation, RelationUsage::Merge));
            }
            Tree::CopyStmt(copy) => {
                let usage = if copy.is_from { RelationUsage::Insert } else { RelationUsage::Read };
                self.children(Item { usage, ..item });
            }
            Tree::ConstraintsSetStmt(_) => self.children(Item { usage: RelationUsage::Name, ..item }),
            Tree::LockStmt(_) => self.children(Item { usage: RelationUsage::Lock, ..item }),
            Tree::ExecuteStmt(_) => {
                // What it runs is not in this text.
                self.found.writes = true;
                self.children(item);
            }
            Tree::IntoClause(_) => {
                self.found.writes = true;
                self.children(Item { usage: RelationUsage::Define, ..item });
            }
            Tree::DropStmt(drop) => self.objects(drop.remove_type, drop.objects.iter(), item),
            Tree::CommentStmt(comment) => self.objects(comment.objtype, comment.object.as_deref().into_iter(), item),
            Tree::SecLabelStmt(label) => self.objects(label.objtype, label.object.as_deref().into_iter(), item),
            // The names in FOR UPDATE OF are aliases of what FROM has.
            Tree::LockingClause(_) => {}
            Tree::ExplainStmt(explain) if !kinds::explain_runs(explain) && item.run == Run::Now => {
                self.children(Item { run: Run::Planned, ..item });
            }
            Tree::ViewStmt(_)
            | Tree::RuleStmt(_)
            | Tree::CreateFunctionStmt(_)
            | Tree::CreatePolicyStmt(_)
            | Tree::AlterPolicyStmt(_) => self.children(Item { run: Run::Later, ..item }),
            Tree::CreateTrigStmt(create) => {
                let name = create.funcname.iter().filter_map(text_of).map(str::to_owned).collect();
                self.found.functions.push((-1, name));
                self.children(Item { run: Run::Later, ..item });
            }
            Tree::CreateStmt(_) => self.definition(item),
            Tree::FuncCall(call) => self.call(call, item),
            Tree::ColumnRef(column) => {
                if let [_, .., last] = &column.fields[..] {
                    self.attribute(last, column.location, item.run);
                }
                self.children(item);
            }
            Tree::AIndirection(indirection) => {
                for field in &indirection.indirection {
                    self.attribute(field, -1, item.run);
                }
                self.children(item);
            }
            Tree::ParamRef(parameter) => {
                let number = u16::try_from(parameter.number.max(0)).unwrap_or(u16::MAX);
                self.found.parameters_max = self.found.parameters_max.max(number);
            }
            Tree::TypeCast(cast) => {
                let of_relation = cast.type_name.as_ref().and_then(|name| name.names.last()).and_then(text_of);
                if of_relation == Some("regclass")
                    && let Some(Argument::Text(text)) = cast.arg.as_deref().map(argument)
                {
                    self.named(&text, cast.location);
                }
                self.children(item);
            }
            Tree::TypeName(name) => {
                let last = name.names.last().and_then(text_of);
                self.found.literals |= last.is_some_and(|last| REG_TYPES.contains(&last));
                self.children(item);
            }
            Tree::RangeTableSample(sample) => {
                let method: Vec<_> = sample.method.iter().filter_map(text_of).map(str::to_owned).collect();
                let own =
                    method.iter().filter(|part| *part != "pg_catalog").all(|part| SAMPLES.contains(&part.as_str()));
                if !own {
                    self.found.functions.push((sample.location, method));
                }
                self.children(item);
            }
            Tree::String(name) => {
                if is_temporary(&name.sval) {
                    self.found.effects.push((-1, Effect::TempObject));
                }
            }
            _ => self.children(item),
        }
    }

    /// Pushes the children of `item.node`, to be visited in order, each as `item` says.
    fn children(&mut self, item: Item<'a>) {
        self.children_with(item, |_| Some(item));
    }

    /// Pushes those children for which `how` says how.
    fn children_with(&mut self, item: Item<'a>, how: impl Fn(Tree<'a>) -> Option<Item<'a>>) {
        let mut nodes = Vec::new();
        item.node.children(&mut nodes);
        self.stack.extend(nodes.into_iter().rev().filter_map(|node| Some(Item { node, ..how(node)? })));
    }

    /// A SELECT, INSERT, UPDATE, DELETE or MERGE: its WITH clause opens a scope, its target is no CTE.
    fn query(&mut self, item: Item<'a>, with: &'a Option<protobuf::WithClause>, target: Option<Target<'a>>) {
        let scope = match with {
            Some(with) => self.with(with, item),
            None => item.scope,
        };
        let inside = Item { scope, usage: RelationUsage::Read, ..item };
        if let Some(target) = target {
            self.relation(target.relation, Item { usage: target.usage, ..inside });
        }
        self.children_with(inside, |node| match (node, target) {
            (Tree::WithClause(_), _) => None,
            (Tree::RangeVar(relation), Some(target)) if std::ptr::eq(relation, target.relation) => None,
            _ => Some(inside),
        });
    }

    /// Pushes the queries of a WITH clause, each with the names it can see; returns the scope behind the clause.
    fn with(&mut self, with: &'a protobuf::WithClause, item: Item<'a>) -> usize {
        let ctes = with.ctes.iter().filter_map(|cte| match &cte.node {
            Some(NodeEnum::CommonTableExpr(cte)) => Some(&**cte),
            _ => None,
        });
        let ctes: Vec<_> = ctes.collect();
        let mut names = HashMap::with_capacity(ctes.len());
        for (position, cte) in ctes.iter().enumerate() {
            names.entry(&*cte.ctename).or_insert(position);
        }
        let names = Arc::new(names);
        for (position, cte) in ctes.iter().enumerate() {
            let visible = if with.recursive { ctes.len() } else { position };
            self.scopes.push(Scope { outer: Some(item.scope), names: Arc::clone(&names), visible });
            let scope = self.scopes.len() - 1;
            self.stack.push(Item { node: Tree::CommonTableExpr(cte), scope, usage: RelationUsage::Read, ..item });
        }
        self.scopes.push(Scope { outer: Some(item.scope), names, visible: ctes.len() });
        self.scopes.len() - 1
    }

    fn relation(&mut self, relation: &'a protobuf::RangeVar, item: Item<'a>) {
        if relation.relpersistence == "t" || is_temporary(&relation.schemaname) {
            self.found.effects.push((relation.location, Effect::TempObject));
        }
        let qualified = !relation.schemaname.is_empty() || !relation.catalogname.is_empty();
        if item.usage == RelationUsage::Read && !qualified && self.is_cte(&relation.relname, item.scope) {
            return;
        }
        let schema = (!relation.schemaname.is_empty()).then(|| relation.schemaname.clone());
        let named = Relation { schema, name: relation.relname.clone(), usage: item.usage };
        self.found.relations.push((relation.location, named));
    }

    fn is_cte(&mut self, name: &str, scope: usize) -> bool {
        let mut scope = Some(scope);
        while let Some(at) = scope {
            self.steps += 1;
            let here = &self.scopes[at];
            if here.names.get(name).is_some_and(|position| *position < here.visible) {
                return true;
            }
            scope = here.outer;
        }
        false
    }

    /// Updating `pg_settings` sets what the row says.
    fn settings_view(&mut self, relation: &'a Option<protobuf::RangeVar>, run: Run) {
        if let Some(relation) = relation
            && relation.relname == "pg_settings"
            && matches!(&*relation.schemaname, "" | "pg_catalog")
            && run == Run::Now
        {
            self.found.effects.push((relation.location, Effect::SetUnknown));
            self.found.facts.settings.push(Setting { name: None, value: SettingValue::Unknown });
        }
    }

    /// A relation whose name is the value of a literal. Returns whether it was a name.
    fn named(&mut self, text: &str, location: i32) -> bool {
        let Some(mut parts) = name_in(text) else { return false };
        let Some(name) = parts.pop() else { return false };
        self.found.relations.push((location, Relation { schema: parts.pop(), name, usage: RelationUsage::Name }));
        true
    }

    /// The sequence or relation that an argument names, as far as the text tells.
    fn sequence(&mut self, call: &'a protobuf::FuncCall) {
        let Some(mut node) = call.args.first() else { return };
        while let Some(NodeEnum::TypeCast(cast)) = &node.node
            && let Some(name) = &cast.type_name
            && name.names.last().and_then(text_of) == Some("regclass")
            && let Some(arg) = &cast.arg
        {
            node = arg;
        }
        let told = match argument(node) {
            Argument::Text(text) => self.named(&text, call.location),
            Argument::Bool(_) | Argument::Parameter(_) | Argument::Other => match &node.node {
                Some(NodeEnum::FuncCall(inner)) => {
                    let name: Vec<&str> = inner.funcname.iter().filter_map(text_of).collect();
                    functions::find(&name).is_some_and(|function| function.name == "pg_get_serial_sequence")
                        && inner.args.iter().all(|arg| matches!(argument(arg), Argument::Text(_)))
                }
                _ => false,
            },
        };
        self.found.facts.computed_sequence |= !told;
    }

    /// Literals that are arguments of a function that looks objects up, where they have a schema's name in front.
    fn looked_up(&mut self, call: &'a protobuf::FuncCall) {
        for arg in &call.args {
            if let Argument::Text(text) = argument(arg) {
                let name = text.split('(').next().unwrap_or_default();
                if name.contains('.') {
                    self.named(name, call.location);
                }
            }
        }
    }

    /// DROP, COMMENT and SECURITY LABEL name relations, and what belongs to one, by lists of strings.
    fn objects<'o>(&mut self, kind: i32, objects: impl Iterator<Item = &'o Node>, item: Item<'a>) {
        use protobuf::ObjectType::*;
        let behind = match protobuf::ObjectType::try_from(kind) {
            Ok(ObjectTable | ObjectView | ObjectMatview | ObjectSequence | ObjectIndex | ObjectForeignTable) => Some(0),
            Ok(ObjectColumn | ObjectTabconstraint | ObjectTrigger | ObjectRule | ObjectPolicy) => Some(1),
            Ok(_) | Err(_) => None,
        };
        if let Some(behind) = behind {
            for object in objects {
                let Some(NodeEnum::List(list)) = &object.node else { continue };
                let mut names = list.items.iter().rev().skip(behind).filter_map(text_of);
                let Some(name) = names.next() else { continue };
                let schema = names.next().map(str::to_string);
                let relation = Relation { schema, name: name.to_string(), usage: RelationUsage::Define };
                self.found.relations.push((-1, relation));
            }
        }
        self.children(item);
    }

    /// CREATE TABLE stores defaults and checks for later; a partition's bounds are computed at once.
    fn definition(&mut self, item: Item<'a>) {
        self.children_with(item, |node| match node {
            Tree::ColumnDef(_) | Tree::Constraint(_) => Some(Item { run: Run::Later, ..item }),
            _ => Some(item),
        });
    }

    fn call(&mut self, call: &'a protobuf::FuncCall, item: Item<'a>) {
        let name: Vec<&str> = call.funcname.iter().filter_map(text_of).collect();
        let function = functions::find(&name);
        self.found.functions.push((call.location, name.iter().map(|part| part.to_string()).collect()));
        match function {
            Some(function) if function.class == Class::Context => {
                self.found.literals = true;
                self.found.facts.settings.push(setting_of(call));
                if item.run == Run::Now {
                    let effects = set_config(call).into_iter().map(|effect| (call.location, effect));
                    self.found.effects.extend(effects);
                }
            }
            // With three arguments it rewrites by given values, not by a query.
            Some(function) if function.name == "ts_rewrite" && call.args.len() == 3 => {}
            Some(function) => {
                if function.class == Class::Sequence {
                    self.sequence(call);
                } else if function.names_objects {
                    self.looked_up(call);
                }
                self.built_in(function, call.location, item.run);
            }
            None if item.run != Run::Later => {
                self.found.effects.push((call.location, Effect::UnknownFunction));
                // Extensions live in any schema: these run SQL they are given, here or elsewhere.
                let extension = name.last().and_then(|name| functions::find(&[name]));
                if extension.is_some_and(|function| matches!(function.class, Class::RunsSql | Class::Network)) {
                    self.found.literals = true;
                    self.found.writes = true;
                    self.found.effects.push((call.location, Effect::Opaque));
                }
            }
            None => {}
        }
        self.children(item);
    }

    /// `x.f` and `(x).f` call `f(x)` when `x` has no column of that name.
    fn attribute(&mut self, field: &'a Node, location: i32, run: Run) {
        let function = text_of(field).and_then(|name| functions::find(&[name]));
        if let Some(function) = function.filter(|function| function.unary && function.class != Class::Harmless) {
            self.found.functions.push((location, vec![function.name.to_string()]));
            self.found.facts.computed_sequence |= function.class == Class::Sequence;
            self.built_in(function, location, run);
        }
    }

    fn built_in(&mut self, function: Function, location: i32, run: Run) {
        self.found.literals |= function.names_objects || function.class != Class::Harmless;
        if run != Run::Now {
            return;
        }
        let effect = match function.class {
            Class::Harmless | Class::Activity | Class::Context | Class::Lookup | Class::Internal => None,
            Class::Session if function.name == "setseed" => Some(Effect::SetSession { name: "seed".into() }),
            Class::Session | Class::RunsSql | Class::Network => {
                self.found.writes = true;
                Some(Effect::Opaque)
            }
            Class::File | Class::Admin | Class::LargeObject | Class::Notify => {
                self.found.writes = true;
                None
            }
            Class::AdvisoryLock => match function.name {
                name if name.contains("_xact_") => None,
                "pg_advisory_unlock_all" => Some(Effect::SessionUnlockAll),
                "pg_advisory_unlock" | "pg_advisory_unlock_shared" => Some(Effect::SessionUnlock),
                _ => Some(Effect::SessionLock),
            },
            Class::Sequence => {
                let reads = matches!(function.name, "currval" | "lastval");
                self.found.writes |= !reads;
                Some(Effect::Sequence { reads })
            }
        };
        self.found.effects.extend(effect.map(|effect| (location, effect)));
    }
}

/// The table that a statement changes.
#[derive(Clone, Copy)]
struct Target<'a> {
    relation: &'a protobuf::RangeVar,
    usage: RelationUsage,
}

fn target(relation: &Option<protobuf::RangeVar>, usage: RelationUsage) -> Option<Target<'_>> {
    relation.as_ref().map(|relation| Target { relation, usage })
}

/// What `set_config(name, value, is_local)` sets, as far as the text tells.
fn set_config(call: &protobuf::FuncCall) -> Vec<Effect> {
    let [name, value, local] = &call.args[..] else { return vec![Effect::SetUnknown] };
    match (argument(name), argument(local)) {
        (Argument::Parameter(index), _) => vec![Effect::SetParameter { index }],
        (Argument::Text(name), local) => {
            let scope = if matches!(local, Argument::Bool(true)) { SetScope::Local } else { SetScope::Session };
            let mut effects = set_effects(&name, scope);
            if name.eq_ignore_ascii_case("search_path")
                && matches!(argument(value), Argument::Text(path) if names_temporary(&path))
            {
                effects.push(Effect::TempObject);
            }
            effects
        }
        (Argument::Bool(_) | Argument::Other, _) => vec![Effect::SetUnknown],
    }
}

/// The setting that `set_config` touches, and its value.
fn setting_of(call: &protobuf::FuncCall) -> Setting {
    let [name, value, _] = &call.args[..] else { return Setting { name: None, value: SettingValue::Unknown } };
    let name = match argument(name) {
        Argument::Text(name) => Some(setting_name(&name)),
        Argument::Bool(_) | Argument::Parameter(_) | Argument::Other => None,
    };
    let value = match argument(value) {
        Argument::Text(text) => SettingValue::Text(text),
        Argument::Bool(_) | Argument::Parameter(_) | Argument::Other => SettingValue::Unknown,
    };
    Setting { name, value }
}

/// How long a setting lasts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SetScope {
    Session,
    Local,
}

/// The effects of setting `name`, in any letter case.
pub(super) fn set_effects(name: &str, scope: SetScope) -> Vec<Effect> {
    let name = setting_name(name);
    let effect = match (&*name, scope) {
        ("role" | "session_authorization", _) => Effect::Identity,
        // These belong to the transaction, whichever way they are set.
        ("transaction_isolation" | "transaction_read_only" | "transaction_deferrable", _) => Effect::SetLocal { name },
        (_, SetScope::Session) => Effect::SetSession { name },
        (_, SetScope::Local) => Effect::SetLocal { name },
    };
    vec![effect]
}

/// A setting's name as the server knows it: case folded, old names replaced.
pub(super) fn setting_name(name: &str) -> Arc<str> {
    match &*name.to_ascii_lowercase() {
        "sort_mem" => "work_mem".into(),
        "vacuum_mem" => "maintenance_work_mem".into(),
        "time zone" => "timezone".into(),
        other => other.into(),
    }
}

/// An argument as far as the text tells its value.
enum Argument {
    Text(String),
    Bool(bool),
    Parameter(u16),
    Other,
}

fn argument(node: &Node) -> Argument {
    let mut node = node.node.as_ref();
    // A cast to text changes nothing; any other may.
    while let Some(NodeEnum::TypeCast(cast)) = node {
        let plain = cast.type_name.as_ref().is_some_and(|name| {
            let last = name.names.last().and_then(text_of);
            name.typmods.is_empty() && name.array_bounds.is_empty() && matches!(last, Some("text" | "varchar" | "bool"))
        });
        if !plain {
            return Argument::Other;
        }
        node = cast.arg.as_ref().and_then(|arg| arg.node.as_ref());
    }
    match node {
        Some(NodeEnum::ParamRef(parameter)) => match u16::try_from(parameter.number) {
            Ok(index) if index > 0 => Argument::Parameter(index),
            Ok(_) | Err(_) => Argument::Other,
        },
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Sval(text)) => Argument::Text(text.sval.clone()),
            Some(a_const::Val::Boolval(value)) => Argument::Bool(value.boolval),
            Some(a_const::Val::Ival(_) | a_const::Val::Fval(_) | a_const::Val::Bsval(_)) | None => Argument::Other,
        },
        Some(_) | None => Argument::Other,
    }
}

/// The text of a String node.
pub(super) fn text_of(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(text)) => Some(&text.sval),
        _ => None,
    }
}

/// A schema of temporary objects.
fn is_temporary(schema: &str) -> bool {
    schema.strip_prefix("pg_temp").is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// Whether a text speaks of a temporary schema anywhere, in any letter case.
pub(super) fn names_temporary(text: &str) -> bool {
    text.as_bytes().windows(7).any(|window| window.eq_ignore_ascii_case(b"pg_temp"))
}

/// Types whose literals are names of objects.
const REG_TYPES: [&str; 9] = [
    "regclass",
    "regproc",
    "regprocedure",
    "regoper",
    "regoperator",
    "regtype",
    "regrole",
    "regnamespace",
    "regcollation",
];

/// PostgreSQL's own methods of TABLESAMPLE.
const SAMPLES: [&str; 2] = ["bernoulli", "system"];

/// More nodes and scopes than any statement within the size limits that is not made to be slow.
const STEPS_MAX: usize = 4_000_000;
