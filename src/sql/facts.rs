//! What a policy asks of a statement beyond the relations and functions that it names: what is inside it, which settings it
//! touches and with what values, which columns it assigns, which schemas it names.
//!
//! Facts come from single nodes of the tree, wherever they stand: the walk hands over every node. What a text does not tell
//! (a name that is computed) is said to be unknown, never left out.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, DefElem, Node, VariableSetKind, a_const};

use super::kinds;
use super::tree::Tree;
use super::walk::{setting_name, text_of};
use super::{Assigning, Assignment, Facts, LockMode, Setting, SettingValue};

impl Facts {
    /// Takes what one node says. `root`: the node is the statement itself.
    pub(super) fn gather(&mut self, node: Tree<'_>, root: bool) {
        if !root {
            self.inner_of(node);
        }
        match node {
            Tree::SelectStmt(select) => self.locks_rows |= !select.locking_clause.is_empty(),
            Tree::InsertStmt(insert) => self.insert(insert),
            Tree::UpdateStmt(update) => self.assign(&update.relation, Assigning::Update, targets(&update.target_list)),
            Tree::MergeStmt(merge) => self.merge(merge),
            Tree::CopyStmt(copy) => {
                self.holds(copy.query.as_deref().map(std::slice::from_ref).unwrap_or_default());
                if copy.is_from {
                    let columns = copy.attlist.iter().filter_map(text_of).map(str::to_owned);
                    self.assign(&copy.relation, Assigning::Insert, columns);
                }
                self.options(&copy.options);
            }
            Tree::ExplainStmt(explain) => {
                self.options(&explain.options);
                self.definition(node);
            }
            Tree::TransactionStmt(transaction) => self.options(&transaction.options),
            Tree::VariableSetStmt(set) => self.set(set),
            Tree::LockStmt(lock) => self.lock_mode = LockMode::numbered(lock.mode),
            Tree::TypeName(name) if name.pct_type => self.schema_of(&name.names[..name.names.len().saturating_sub(1)]),
            Tree::TypeName(name) => self.schema_of(&name.names),
            Tree::AExpr(expression) => self.schema_of(&expression.name),
            Tree::SubLink(link) => self.schema_of(&link.oper_name),
            Tree::SortBy(sort) => self.schema_of(&sort.use_op),
            Tree::CollateClause(collate) => self.schema_of(&collate.collname),
            node => self.definition(node),
        }
    }

    /// Kinds of the statements that a node holds or is.
    fn inner_of(&mut self, node: Tree<'_>) {
        let kind = match node {
            Tree::SelectStmt(select) => kinds::kind_of_select(select),
            Tree::InsertStmt(_) => super::StatementKind::Insert,
            Tree::UpdateStmt(_) => super::StatementKind::Update,
            Tree::DeleteStmt(_) => super::StatementKind::Delete,
            Tree::MergeStmt(_) => super::StatementKind::Merge,
            _ => return,
        };
        self.hold(kind);
    }

    fn hold(&mut self, kind: super::StatementKind) {
        if !self.inner.contains(&kind) {
            self.inner.push(kind);
        }
    }

    fn holds(&mut self, nodes: &[Node]) {
        for node in nodes.iter().filter_map(|node| node.node.as_ref()) {
            self.hold(kinds::kind_of(node));
        }
    }

    fn insert(&mut self, insert: &protobuf::InsertStmt) {
        self.assign(&insert.relation, Assigning::Insert, targets(&insert.cols));
        if let Some(conflict) = &insert.on_conflict_clause
            && !conflict.target_list.is_empty()
        {
            self.assign(&insert.relation, Assigning::Update, targets(&conflict.target_list));
        }
    }

    fn merge(&mut self, merge: &protobuf::MergeStmt) {
        let clauses = merge.merge_when_clauses.iter().filter_map(|clause| match &clause.node {
            Some(NodeEnum::MergeWhenClause(clause)) => Some(clause),
            _ => None,
        });
        for clause in clauses {
            let by = match protobuf::CmdType::try_from(clause.command_type) {
                Ok(protobuf::CmdType::CmdInsert) => Assigning::Insert,
                // An update, or what assigns nothing.
                _ => Assigning::Update,
            };
            self.assign(&merge.relation, by, targets(&clause.target_list));
        }
    }

    fn assign(&mut self, relation: &Option<protobuf::RangeVar>, by: Assigning, columns: impl Iterator<Item = String>) {
        let Some(relation) = relation else { return };
        let schema = (!relation.schemaname.is_empty()).then(|| relation.schemaname.clone());
        self.assignments.push(Assignment { schema, name: relation.relname.clone(), by, columns: columns.collect() });
    }

    fn options(&mut self, options: &[Node]) {
        let options = options.iter().filter_map(|option| match &option.node {
            Some(NodeEnum::DefElem(option)) => Some((option.defname.clone(), option_value(option))),
            _ => None,
        });
        self.options.extend(options);
    }

    fn set(&mut self, set: &protobuf::VariableSetStmt) {
        let value = match VariableSetKind::try_from(set.kind) {
            Ok(VariableSetKind::VarSetValue) => values_of(&set.args),
            Ok(VariableSetKind::VarSetDefault | VariableSetKind::VarReset) => SettingValue::Default,
            Ok(VariableSetKind::VarSetMulti) => return self.set_modes(set),
            // RESET ALL is a kind of its own.
            Ok(VariableSetKind::VarResetAll) => return,
            Ok(VariableSetKind::VarSetCurrent | VariableSetKind::Undefined) | Err(_) => SettingValue::Unknown,
        };
        self.settings.push(Setting { name: Some(setting_name(&set.name)), value });
    }

    /// SET TRANSACTION, SET SESSION CHARACTERISTICS.
    fn set_modes(&mut self, set: &protobuf::VariableSetStmt) {
        if set.name != "SESSION CHARACTERISTICS" {
            self.options(&set.args);
            if set.name == "TRANSACTION SNAPSHOT" {
                self.options.push(("snapshot".to_owned(), None));
            }
            return;
        }
        let modes = set.args.iter().filter_map(|mode| match &mode.node {
            Some(NodeEnum::DefElem(mode)) => Some(mode),
            _ => None,
        });
        for mode in modes {
            let value = option_value(mode).map_or(SettingValue::Unknown, |value| SettingValue::Values(vec![value]));
            self.settings.push(Setting { name: Some(setting_name(&format!("default_{}", mode.defname))), value });
        }
    }

    /// The schema of a qualified name; `pg_catalog` is not worth a word.
    pub(super) fn schema_of(&mut self, name: &[Node]) {
        if let [.., schema, _] = name
            && let Some(schema) = text_of(schema)
        {
            self.schema(schema);
        }
    }

    fn schema(&mut self, schema: &str) {
        if !schema.is_empty() && schema != "pg_catalog" && !self.schemas.iter().any(|known| known == schema) {
            self.schemas.push(schema.to_owned());
        }
    }

    /// What statements that define things name, and hold.
    fn definition(&mut self, node: Tree<'_>) {
        match node {
            Tree::ExplainStmt(protobuf::ExplainStmt { query, .. })
            | Tree::PrepareStmt(protobuf::PrepareStmt { query, .. })
            | Tree::DeclareCursorStmt(protobuf::DeclareCursorStmt { query, .. })
            | Tree::CreateTableAsStmt(protobuf::CreateTableAsStmt { query, .. })
            | Tree::ViewStmt(protobuf::ViewStmt { query, .. }) => {
                self.holds(query.as_deref().map(std::slice::from_ref).unwrap_or_default());
            }
            Tree::RuleStmt(rule) => self.holds(&rule.actions),
            Tree::CreateSchemaStmt(create) => {
                self.schema(&create.schemaname);
                self.holds(&create.schema_elts);
            }
            Tree::ObjectWithArgs(object) => self.schema_of(&object.objname),
            Tree::DefineStmt(define) => self.schema_of(&define.defnames),
            Tree::CreateDomainStmt(create) => self.schema_of(&create.domainname),
            Tree::AlterDomainStmt(alter) => self.schema_of(&alter.type_name),
            Tree::CreateEnumStmt(create) => self.schema_of(&create.type_name),
            Tree::AlterEnumStmt(alter) => self.schema_of(&alter.type_name),
            Tree::CreateRangeStmt(create) => self.schema_of(&create.type_name),
            Tree::AlterTypeStmt(alter) => self.schema_of(&alter.type_name),
            Tree::CreateFunctionStmt(create) => self.schema_of(&create.funcname),
            Tree::CreateTrigStmt(create) => self.schema_of(&create.funcname),
            Tree::CreateStatsStmt(create) => self.schema_of(&create.defnames),
            Tree::AlterStatsStmt(alter) => self.schema_of(&alter.defnames),
            Tree::AlterCollationStmt(alter) => self.schema_of(&alter.collname),
            Tree::AlterTsDictionaryStmt(alter) => self.schema_of(&alter.dictname),
            Tree::AlterTsConfigurationStmt(alter) => self.schema_of(&alter.cfgname),
            Tree::IndexElem(element) => {
                self.schema_of(&element.opclass);
                self.schema_of(&element.collation);
            }
            Tree::AlterObjectSchemaStmt(alter) => {
                self.schema(&alter.newschema);
                self.object(alter.object_type, alter.object.as_deref());
            }
            Tree::RenameStmt(rename) => {
                if rename.rename_type == protobuf::ObjectType::ObjectSchema as i32 {
                    self.schema(&rename.subname);
                    self.schema(&rename.newname);
                }
                self.object(rename.rename_type, rename.object.as_deref());
            }
            Tree::AlterOwnerStmt(alter) => self.object(alter.object_type, alter.object.as_deref()),
            Tree::CommentStmt(comment) => self.object(comment.objtype, comment.object.as_deref()),
            Tree::DropStmt(drop) => {
                for object in &drop.objects {
                    self.object(drop.remove_type, Some(object));
                }
            }
            Tree::GrantStmt(grant) => {
                let schemas = protobuf::GrantTargetType::try_from(grant.targtype)
                    == Ok(protobuf::GrantTargetType::AclTargetAllInSchema);
                let kind = if schemas { protobuf::ObjectType::ObjectSchema as i32 } else { grant.objtype };
                for object in &grant.objects {
                    self.object(kind, Some(object));
                }
            }
            Tree::AlterDefaultPrivilegesStmt(alter) => {
                for option in &alter.options {
                    if let Some(NodeEnum::DefElem(option)) = &option.node
                        && option.defname == "schemas"
                        && let Some(NodeEnum::List(list)) = option.arg.as_ref().and_then(|arg| arg.node.as_ref())
                    {
                        list.items.iter().filter_map(text_of).for_each(|schema| self.schema(schema));
                    }
                }
            }
            Tree::ReindexStmt(reindex) if reindex.kind == protobuf::ReindexObjectType::ReindexObjectSchema as i32 => {
                self.schema(&reindex.name);
            }
            _ => {}
        }
    }

    /// An object of DROP, COMMENT, ALTER or GRANT: a name, a list of names, or a node that names itself.
    fn object(&mut self, kind: i32, object: Option<&Node>) {
        use protobuf::ObjectType::*;
        let kind = protobuf::ObjectType::try_from(kind).unwrap_or(Undefined);
        match object.and_then(|object| object.node.as_ref()) {
            Some(NodeEnum::String(name)) if kind == ObjectSchema => self.schema(&name.sval),
            Some(NodeEnum::List(list)) => {
                let of_relation =
                    matches!(kind, ObjectColumn | ObjectTabconstraint | ObjectTrigger | ObjectRule | ObjectPolicy);
                let names = &list.items[..list.items.len().saturating_sub(usize::from(of_relation))];
                self.schema_of(names);
            }
            // Types, functions and operators say their own.
            Some(_) | None => {}
        }
    }
}

impl LockMode {
    fn numbered(mode: i32) -> Option<Self> {
        // <https://www.postgresql.org/docs/15/explicit-locking.html>, in the order of PostgreSQL's `lockdefs.h`.
        use LockMode::*;
        let modes = [
            AccessShare,
            RowShare,
            RowExclusive,
            ShareUpdateExclusive,
            Share,
            ShareRowExclusive,
            Exclusive,
            AccessExclusive,
        ];
        usize::try_from(mode).ok().and_then(|mode| modes.get(mode.checked_sub(1)?).copied())
    }
}

/// Names of the columns that are assigned.
fn targets(targets: &[Node]) -> impl Iterator<Item = String> {
    targets.iter().filter_map(|target| match &target.node {
        Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
        _ => None,
    })
}

fn option_value(option: &DefElem) -> Option<String> {
    match option.arg.as_ref()?.node.as_ref()? {
        NodeEnum::String(value) => Some(value.sval.clone()),
        NodeEnum::Integer(value) => Some(value.ival.to_string()),
        NodeEnum::Float(value) => Some(value.fval.clone()),
        NodeEnum::Boolean(value) => Some(value.boolval.to_string()),
        NodeEnum::AConst(_) => constant(option.arg.as_ref()?),
        _ => None,
    }
}

fn values_of(args: &[Node]) -> SettingValue {
    let values: Option<Vec<_>> = args.iter().map(constant).collect();
    values.map_or(SettingValue::Unknown, SettingValue::Values)
}

fn constant(node: &Node) -> Option<String> {
    let Some(NodeEnum::AConst(value)) = &node.node else { return None };
    match value.val.as_ref()? {
        a_const::Val::Sval(text) => Some(text.sval.clone()),
        a_const::Val::Ival(number) => Some(number.ival.to_string()),
        a_const::Val::Fval(number) => Some(number.fval.clone()),
        a_const::Val::Boolval(value) => Some(value.boolval.to_string()),
        a_const::Val::Bsval(_) => None,
    }
}

/// The parts of a name given as text, as PostgreSQL reads those of `regclass`: quoted parts as they are, others folded. `None`
/// where it is no name, a number for instance.
pub fn name_in(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim_matches(is_space);
    if rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut parts = Vec::new();
    loop {
        let part = if let Some(quoted) = rest.strip_prefix('"') {
            let mut part = String::new();
            let mut quoted = quoted;
            loop {
                let end = quoted.find('"')?;
                part.push_str(&quoted[..end]);
                quoted = &quoted[end + 1..];
                match quoted.strip_prefix('"') {
                    Some(more) => {
                        part.push('"');
                        quoted = more;
                    }
                    None => break,
                }
            }
            rest = quoted;
            part
        } else {
            let end = rest.find(|c| c == '.' || is_space(c)).unwrap_or(rest.len());
            let part = rest[..end].to_ascii_lowercase();
            rest = &rest[end..];
            part
        };
        if part.is_empty() {
            return None;
        }
        parts.push(shortened(part));
        rest = rest.trim_start_matches(is_space);
        match rest.strip_prefix('.') {
            Some(more) => rest = more.trim_start_matches(is_space),
            None => return rest.is_empty().then_some(parts),
        }
    }
}

/// The names of a comma-separated list given as text, as PostgreSQL reads `search_path`. `None` where it is no such list.
pub fn name_list(text: &str) -> Option<Vec<String>> {
    if text.trim_matches(is_space).is_empty() {
        return Some(Vec::new());
    }
    let mut items = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    let name = |item: &str| match item.trim_matches(is_space) {
        "\"\"" => Some(String::new()),
        item => name_in(item).filter(|parts| parts.len() == 1)?.pop(),
    };
    items.into_iter().map(name).collect()
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Cut to NAMEDATALEN - 1 bytes, as the server does.
fn shortened(mut name: String) -> String {
    let mut length = name.len().min(63);
    while !name.is_char_boundary(length) {
        length -= 1;
    }
    name.truncate(length);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_text_are_read_as_the_server_does() {
        let read = |text| name_in(text).map(|parts| parts.join("|"));
        assert_eq!(read("T"), Some("t".into()));
        assert_eq!(read(" \"A\"\"b\" . C "), Some("A\"b|c".into()));
        assert_eq!(read("a.b.c"), Some("a|b|c".into()));
        assert_eq!(read("\"16384\""), Some("16384".into()));
        for text in ["", "16384", "a.", ".a", "a b", "\"a", "a..b"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(name_list(" A, \"b,\"\"C\" ,\"\"").map(|names| names.join("|")), Some("a|b,\"C|".into()));
        assert_eq!(name_list(""), Some(Vec::new()));
        assert_eq!(name_list("a, b.c"), None);
        assert_eq!(name_list("a,,b"), None);
        assert_eq!(name_in(&"x".repeat(70)).map(|parts| parts[0].len()), Some(63));
    }
}
