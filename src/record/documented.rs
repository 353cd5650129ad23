//! docs/audit.md says every field of every kind of record, and no others. For tests.

use std::collections::BTreeMap;

use serde_json::Value;

/// Fields and their types, by the section's name: a kind of record, `parameters`, `changes`, `Who`, `Every record`.
type Sections = BTreeMap<&'static str, BTreeMap<&'static str, &'static str>>;

fn sections() -> Sections {
    let text = include_str!("../../docs/audit.md");
    let fields = text.split_once("## Fields, version 1").expect("the section of fields").1;
    let mut sections = Sections::new();
    let mut here = "";
    for line in fields.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            here = name.trim_matches('`');
            assert!(sections.insert(here, BTreeMap::new()).is_none(), "{here} is there twice");
        } else if let Some(row) = line.strip_prefix("| `") {
            let (name, row) = row.split_once("` | ").expect("a field's name");
            let (kind, meaning) = row.split_once(" | ").expect("a field's type");
            assert!(meaning.len() > 3, "{here}.{name} is not explained");
            let section = sections.get_mut(here).expect("fields stand in sections");
            assert!(section.insert(name, kind).is_none(), "{here}.{name} is there twice");
        }
    }
    sections
}

/// The records have all fields that are documented for their kinds, of the types that are documented, and no others.
pub(crate) fn assert_documented(records: &[Value]) {
    let sections = sections();
    let seen = assert_known(records);
    let kinds: Vec<&str> = seen.keys().map(|(section, _)| *section).collect();
    for (section, fields) in &sections {
        for field in fields.keys().filter(|_| kinds.contains(section)) {
            assert!(seen.contains_key(&(section, field)), "no record has {section}.{field}, which is documented");
        }
    }
    for field in sections["Every record"].keys() {
        assert!(seen.keys().any(|(_, name)| name == field), "no record has {field}");
    }
}

/// The records have no fields but those that are documented for their kinds, of the types that are documented. Which, by
/// section, and how often.
pub(crate) fn assert_known(records: &[Value]) -> BTreeMap<(&'static str, &'static str), usize> {
    let sections = sections();
    let mut seen: BTreeMap<(&'static str, &'static str), usize> = BTreeMap::new();
    for record in records {
        let kind = record["kind"].as_str().expect("a kind");
        let who: &[&str] = match kind {
            "login" | "statement" | "refused" => &sections["Who"].keys().copied().collect::<Vec<_>>(),
            "outcome" | "disconnect" => &["session", "tenant", "user"],
            _ => &[],
        };
        for (name, value) in record.as_object().expect("an object") {
            let of_kind = sections.get(kind).and_then(|section| section.get_key_value(&**name));
            let of_all = || sections["Every record"].get_key_value(&**name);
            let of_who = || sections["Who"].get_key_value(&**name).filter(|_| who.contains(&&**name));
            let (name, documented) = of_kind
                .or_else(of_all)
                .or_else(of_who)
                .map(|(name, documented)| (*name, *documented))
                .unwrap_or_else(|| panic!("{kind}.{name} is not in docs/audit.md"));
            assert!(fits(value, documented), "{kind}.{name}: {value} is no {documented}");
            let section = sections.get_key_value(kind).map(|(section, _)| *section);
            *seen.entry((section.expect("a section"), name)).or_default() += 1;
            for item in value.as_array().into_iter().flatten().filter_map(Value::as_object) {
                for (part, value) in item {
                    let (part, documented) = sections[name]
                        .get_key_value(&**part)
                        .map(|(part, documented)| (*part, *documented))
                        .unwrap_or_else(|| panic!("{name}.{part} is not documented"));
                    assert!(fits(value, documented), "{name}.{part}: {value} is no {documented}");
                    *seen.entry((name, part)).or_default() += 1;
                }
            }
        }
    }
    seen
}

fn fits(value: &Value, documented: &str) -> bool {
    match documented {
        "number" => value.is_u64(),
        "text" => value.is_string(),
        "true" => *value == Value::Bool(true),
        "true or false" => value.is_boolean(),
        "list of texts" => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        "list of objects" => value.as_array().is_some_and(|items| items.iter().all(Value::is_object)),
        other => panic!("{other} is no type of docs/audit.md"),
    }
}
