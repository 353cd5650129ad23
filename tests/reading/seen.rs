//! What a tree holds, by reflection: serde names every message and field of it, so nothing here knows where in a tree a
//! relation or a call can stand.

use std::fmt;

use pg_query::protobuf::{RawStmt, VariableSetKind};
use pgwarden::sql::{Access, Assigning, Effect, Statement, StatementKind};
use serde::Serialize;
use serde::ser::{self, Impossible};

/// One message of a tree, when all of it has been seen.
struct Message {
    name: &'static str,
    /// The field that is being seen.
    field: &'static str,
    /// Texts by field: its own, those of its String nodes and of lists of them.
    texts: Vec<(&'static str, String)>,
    /// Numbers and flags by field, other than 0.
    numbers: Vec<(&'static str, i64)>,
    /// String constants among its children.
    constants: Vec<(&'static str, String)>,
    /// Names of the ResTargets among its children.
    targets: Vec<(&'static str, String)>,
    /// It has children in these fields.
    filled: Vec<&'static str>,
}

impl Message {
    fn text(&self, field: &str) -> &str {
        self.texts.iter().find(|(of, _)| *of == field).map_or("", |(_, text)| text)
    }

    fn list(&self, field: &str) -> Vec<&str> {
        self.texts.iter().filter(|(of, _)| *of == field).map(|(_, text)| text.as_str()).collect()
    }

    fn number(&self, field: &str) -> i64 {
        self.numbers.iter().find(|(of, _)| *of == field).map_or(0, |(_, number)| *number)
    }
}

/// What of a tree its analysis does not tell.
pub fn hidden(tree: &RawStmt, statement: &Statement) -> Result<(), String> {
    let mut seen =
        Seen { statement, inside: Vec::new(), ctes: Vec::new(), unknown: Vec::new(), parameters_max: 0, hidden: None };
    tree.serialize(&mut seen).map_err(|_| "a tree that cannot be seen".to_owned())?;
    if seen.hidden.is_none() {
        let unknown = seen.unknown.iter().find(|name| !seen.ctes.contains(name));
        seen.hidden = unknown.map(|name| format!("relation {name}"));
    }
    if seen.hidden.is_none() && seen.parameters_max != i64::from(statement.parameters_max) {
        seen.hidden = Some(format!("parameter {}", seen.parameters_max));
    }
    match seen.hidden {
        None => Ok(()),
        Some(what) => Err(format!("hides {what}")),
    }
}

struct Seen<'s> {
    statement: &'s Statement,
    /// The messages around, the innermost last.
    inside: Vec<Message>,
    ctes: Vec<String>,
    /// Relations that the analysis does not tell: names of WITH, or hidden.
    unknown: Vec<String>,
    parameters_max: i64,
    hidden: Option<String>,
}

impl Seen<'_> {
    fn is_within(&self, name: &str) -> bool {
        self.inside.iter().any(|message| message.name == name)
    }

    fn end(&mut self) {
        let Some(message) = self.inside.pop() else { return };
        self.judge(&message);
        let Some(parent) = self.inside.last_mut() else { return };
        let field = parent.field;
        match message.name {
            "String" => parent.texts.push((field, message.text("sval").to_owned())),
            "List" => parent.texts.extend(message.list("items").into_iter().map(|text| (field, text.to_owned()))),
            "AConst" => {
                let text = message.texts.iter().find(|(of, _)| *of == "val");
                parent.constants.extend(text.map(|(_, text)| (field, text.clone())));
            }
            "TypeCast" => parent.constants.extend(message.constants.into_iter().map(|(_, text)| (field, text))),
            "ResTarget" => parent.targets.push((field, message.text("name").to_owned())),
            _ => {}
        }
        parent.filled.push(field);
    }

    fn judge(&mut self, message: &Message) {
        let statement = self.statement;
        let missing = match message.name {
            // What FOR UPDATE OF names stands in FROM too.
            "RangeVar" if self.is_within("LockingClause") => None,
            "RangeVar" => self.relation(message),
            "CommonTableExpr" => {
                self.ctes.push(message.text("ctename").to_owned());
                None
            }
            "FuncCall" => self.function(message),
            "VariableSetStmt" => self.setting(message),
            "TypeName" if message.number("pct_type") == 0 => self.schema(&message.list("names")),
            "AExpr" => self.schema(&message.list("name")),
            "CollateClause" => self.schema(&message.list("collname")),
            "SubLink" => self.schema(&message.list("oper_name")),
            "SortBy" => self.schema(&message.list("use_op")),
            "ParamRef" => {
                self.parameters_max = self.parameters_max.max(message.number("number"));
                None
            }
            "SelectStmt" => {
                let locks = message.filled.contains(&"locking_clause") && !statement.facts.locks_rows;
                locks.then(|| "row locks".to_owned()).or_else(|| {
                    self.kind(&[StatementKind::Select, StatementKind::Values, StatementKind::SelectInto], Access::Read)
                })
            }
            "InsertStmt" => self.kind(&[StatementKind::Insert], Access::Write),
            "DeleteStmt" => self.kind(&[StatementKind::Delete], Access::Write),
            "MergeStmt" => self.kind(&[StatementKind::Merge], Access::Write),
            "UpdateStmt" => {
                self.kind(&[StatementKind::Update], Access::Write).or_else(|| self.assigned(message, "target_list"))
            }
            "OnConflictClause" => self.assigned(message, "target_list"),
            // The third command of PostgreSQL's CmdType.
            "MergeWhenClause" if message.number("command_type") == 3 => self.assigned(message, "target_list"),
            "DoStmt" | "CallStmt" => {
                let told = statement.effects.contains(&Effect::Opaque) || self.inside.len() > 1;
                (!told).then(|| message.name.to_owned())
            }
            _ => None,
        };
        if self.hidden.is_none() {
            self.hidden = missing;
        }
    }

    fn relation(&mut self, message: &Message) -> Option<String> {
        let (schema, name) = (message.text("schemaname"), message.text("relname"));
        let told = self.statement.relations.iter();
        let told = told.filter(|told| told.schema.as_deref().unwrap_or("") == schema && told.name == name).count() > 0;
        let temporary = message.text("relpersistence") == "t" || schema == "pg_temp" || schema.starts_with("pg_temp_");
        if temporary && !self.statement.effects.contains(&Effect::TempObject) {
            return Some(format!("temporary {name}"));
        }
        if told {
            return None;
        }
        if schema.is_empty() && message.text("catalogname").is_empty() {
            self.unknown.push(name.to_owned());
            return None;
        }
        Some(format!("relation {schema}.{name}"))
    }

    fn function(&self, message: &Message) -> Option<String> {
        let name = message.list("funcname");
        if !self.statement.functions.iter().any(|told| *told == name) {
            return Some(format!("function {name:?}"));
        }
        if name.last() != Some(&"set_config") || (name.len() > 1 && name[name.len() - 2] != "pg_catalog") {
            return None;
        }
        // One of its constants is the name; where none is told, nobody may take it for known.
        let settings = &self.statement.facts.settings;
        let told = settings.iter().any(|setting| match &setting.name {
            None => true,
            Some(told) => message.constants.iter().any(|(_, text)| text.eq_ignore_ascii_case(told) || is_old(told)),
        });
        (!told).then(|| format!("setting by {message}", message = name.join(".")))
    }

    fn setting(&self, message: &Message) -> Option<String> {
        let name = message.text("name");
        let told = &self.statement.facts.settings;
        // RESET ALL is a kind; SET TRANSACTION and SESSION CHARACTERISTICS have modes.
        if matches!(
            VariableSetKind::try_from(message.number("kind") as i32),
            Ok(VariableSetKind::VarSetMulti | VariableSetKind::VarResetAll)
        ) {
            return None;
        }
        let is = |told: &str| told.eq_ignore_ascii_case(name) || is_old(told);
        let told = told.iter().any(|told| told.name.as_deref().is_some_and(is));
        (!told).then(|| format!("setting {name}"))
    }

    fn schema(&self, name: &[&str]) -> Option<String> {
        let [.., schema, _] = name else { return None };
        let told =
            matches!(*schema, "pg_catalog" | "") || self.statement.facts.schemas.iter().any(|told| told == schema);
        (!told).then(|| format!("schema {schema}"))
    }

    /// The statement is of one of these kinds, or holds one.
    fn kind(&self, kinds: &[StatementKind], access: Access) -> Option<String> {
        let statement = self.statement;
        // The statement itself stands in a RawStmt.
        let told = match self.inside.len() {
            1 => kinds.contains(&statement.kind),
            _ => statement.facts.inner.iter().any(|inner| kinds.contains(inner)),
        };
        let stored = statement.kind == StatementKind::Explain;
        let access = access == Access::Write && statement.access != Access::Write && !stored;
        (!told || access).then(|| format!("{kinds:?}, or that it writes"))
    }

    fn assigned(&self, message: &Message, field: &str) -> Option<String> {
        let updates = || self.statement.facts.assignments.iter().filter(|told| told.by == Assigning::Update);
        let mut targets = message.targets.iter().filter(|(of, _)| *of == field);
        let hidden = targets.find(|(_, name)| !updates().any(|told| told.columns.contains(name)));
        hidden.map(|(_, name)| format!("assignment to {name}"))
    }
}

/// Settings that the grammar or the analysis calls by another name.
fn is_old(told: &str) -> bool {
    matches!(told, "work_mem" | "maintenance_work_mem" | "timezone")
}

/// Seen as part of a message; a `Node` is only a wrapping.
struct Fields<'m, 's> {
    seen: &'m mut Seen<'s>,
    is_message: bool,
}

impl ser::SerializeStruct for Fields<'_, '_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> fmt::Result {
        if self.is_message
            && let Some(message) = self.seen.inside.last_mut()
        {
            message.field = name;
        }
        value.serialize(&mut *self.seen)
    }

    fn end(self) -> fmt::Result {
        if self.is_message {
            self.seen.end();
        }
        Ok(())
    }
}

impl ser::SerializeSeq for Fields<'_, '_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        value.serialize(&mut *self.seen)
    }

    fn end(self) -> fmt::Result {
        Ok(())
    }
}

impl<'m, 's> ser::Serializer for &'m mut Seen<'s> {
    type Ok = ();
    type Error = fmt::Error;
    type SerializeSeq = Fields<'m, 's>;
    type SerializeTuple = Impossible<(), fmt::Error>;
    type SerializeTupleStruct = Impossible<(), fmt::Error>;
    type SerializeTupleVariant = Impossible<(), fmt::Error>;
    type SerializeMap = Impossible<(), fmt::Error>;
    type SerializeStruct = Fields<'m, 's>;
    type SerializeStructVariant = Impossible<(), fmt::Error>;

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'m, 's>, fmt::Error> {
        let is_message = name != "Node";
        if is_message {
            let (texts, numbers, constants) = (Vec::new(), Vec::new(), Vec::new());
            let (targets, filled) = (Vec::new(), Vec::new());
            self.inside.push(Message { name, field: "", texts, numbers, constants, targets, filled });
        }
        Ok(Fields { seen: self, is_message })
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Fields<'m, 's>, fmt::Error> {
        Ok(Fields { seen: self, is_message: false })
    }

    fn serialize_str(self, text: &str) -> fmt::Result {
        if let Some(message) = self.inside.last_mut().filter(|_| !text.is_empty()) {
            message.texts.push((message.field, text.to_owned()));
        }
        Ok(())
    }

    fn serialize_i64(self, number: i64) -> fmt::Result {
        if let Some(message) = self.inside.last_mut().filter(|_| number != 0) {
            message.numbers.push((message.field, number));
        }
        Ok(())
    }

    fn serialize_bool(self, value: bool) -> fmt::Result {
        self.serialize_i64(value.into())
    }

    fn serialize_i8(self, value: i8) -> fmt::Result {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> fmt::Result {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> fmt::Result {
        self.serialize_i64(value.into())
    }

    fn serialize_u8(self, value: u8) -> fmt::Result {
        self.serialize_i64(value.into())
    }

    fn serialize_u16(self, value: u16) -> fmt::Result {
        self.serialize_i64(value.into())
    }

    fn serialize_u32(self, value: u32) -> fmt::Result {
        self.serialize_i64(value.into())
    }

    fn serialize_u64(self, value: u64) -> fmt::Result {
        self.serialize_i64(value as i64)
    }

    fn serialize_f32(self, _: f32) -> fmt::Result {
        Ok(())
    }

    fn serialize_f64(self, _: f64) -> fmt::Result {
        Ok(())
    }

    fn serialize_char(self, _: char) -> fmt::Result {
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> fmt::Result {
        Ok(())
    }

    fn serialize_none(self) -> fmt::Result {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> fmt::Result {
        value.serialize(self)
    }

    fn serialize_unit(self) -> fmt::Result {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> fmt::Result {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> fmt::Result {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> fmt::Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> fmt::Result {
        value.serialize(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, fmt::Error> {
        Err(fmt::Error)
    }
}
