//! Session settings that follow a client over backends. Pure.
//!
//! A session and a backend each hold a [`Settings`]: what was set in the session beyond the server's defaults. When a
//! backend is lent to a session whose settings differ, [`Settings::change_to`] is the SQL that makes up the difference.
//! Values are those that the server itself reported, so they are valid and normalised.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, OnceLock};

/// Names and values that were set in a session. Names are lower-case. Cheap to compare.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<Arc<str>, Arc<str>>,
    hash: u64,
}

impl Settings {
    /// Settings that a session may carry; a session with more is refused (53400).
    pub const COUNT_MAX: usize = 256;

    /// Nothing set. Shared: comparing it with itself is a pointer comparison.
    pub fn none() -> Arc<Self> {
        static NONE: OnceLock<Arc<Settings>> = OnceLock::new();
        NONE.get_or_init(|| Arc::new(Self::from_values(BTreeMap::new()))).clone()
    }

    pub fn from_values(values: BTreeMap<Arc<str>, Arc<str>>) -> Self {
        let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
        for (name, value) in &values {
            hasher.write(name.as_bytes());
            hasher.write_u8(0);
            hasher.write(value.as_bytes());
            hasher.write_u8(0);
        }
        let hash = hasher.finish();
        Self { values, hash }
    }

    pub fn values(&self) -> &BTreeMap<Arc<str>, Arc<str>> {
        &self.values
    }

    pub fn value(&self, name: &str) -> Option<&Arc<str>> {
        self.values.get(name)
    }

    /// Both are the same; usually decided by address or hash.
    pub fn same(left: &Arc<Self>, right: &Arc<Self>) -> bool {
        Arc::ptr_eq(left, right) || (left.hash == right.hash && left.values == right.values)
    }

    /// The text of a Query that turns a session with these settings into one with `target`'s; empty when they are equal.
    pub fn change_to(&self, target: &Self) -> String {
        let mut sql = String::new();
        let role_differs = self.values.get(ROLE) != target.values.get(ROLE);
        if role_differs && self.values.contains_key(ROLE) {
            // First, for the role may not be allowed what the login user is.
            sql.push_str("RESET role;");
        }
        for name in self.values.keys() {
            if &**name != ROLE && !target.values.contains_key(name) {
                sql.push_str("RESET ");
                push_setting_name(&mut sql, name);
                sql.push(';');
            }
        }
        let mut first = true;
        let changed =
            target.values.iter().filter(|(name, value)| &***name != ROLE && self.values.get(*name) != Some(*value));
        let role = target.values.get_key_value(ROLE).filter(|_| role_differs);
        for (name, value) in changed.chain(role) {
            sql.push_str(if first { "SELECT pg_catalog.set_config(" } else { ",pg_catalog.set_config(" });
            first = false;
            push_literal(&mut sql, name);
            sql.push(',');
            push_literal(&mut sql, value);
            sql.push_str(",false)");
        }
        sql
    }
}

/// The text of a Query that reads the current values of `names`: one row, a column each, NULL where unknown.
pub fn read_back<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut sql = String::from("SELECT ");
    for (index, name) in names.enumerate() {
        if index > 0 {
            sql.push(',');
        }
        sql.push_str("pg_catalog.current_setting(");
        push_literal(&mut sql, name);
        sql.push_str(",true)");
    }
    sql
}

/// The text of a Query that lists all that was set in the session: rows of name and value. Placeholders (`app.tenant`)
/// and roles are not in it.
pub const READ_ALL: &str =
    "SELECT name,setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'::pg_catalog.text";

/// Whether a setting can be carried to another backend at all. The others belong to the transaction or the server, or
/// cannot be read.
pub fn follows(name: &str) -> bool {
    !matches!(
        name,
        "transaction_isolation"
            | "transaction_read_only"
            | "transaction_deferrable"
            | "session_authorization"
            | "is_superuser"
            | "seed"
            | "in_hot_standby"
    )
}

/// The setting that SET ROLE sets.
pub const ROLE: &str = "role";

/// Appends `text` as an escape string constant, which reads the same under every `standard_conforming_strings`.
pub fn push_literal(sql: &mut String, text: &str) {
    sql.push_str("E'");
    for c in text.chars() {
        if c == '\'' || c == '\\' {
            sql.push(c);
        }
        sql.push(c);
    }
    sql.push('\'');
}

/// Appends `text` as a quoted identifier.
pub fn push_identifier(sql: &mut String, text: &str) {
    sql.push('"');
    for c in text.chars() {
        if c == '"' {
            sql.push(c);
        }
        sql.push(c);
    }
    sql.push('"');
}

/// A setting's name is identifiers with dots between.
fn push_setting_name(sql: &mut String, name: &str) {
    for (index, part) in name.split('.').enumerate() {
        if index > 0 {
            sql.push('.');
        }
        push_identifier(sql, part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn settings(values: &[(&str, &str)]) -> Arc<Settings> {
        Arc::new(Settings::from_values(values.iter().map(|&(n, v)| (n.into(), v.into())).collect()))
    }

    fn check(from: &[(&str, &str)], to: &[(&str, &str)], expect: Expect) {
        expect.assert_eq(&settings(from).change_to(&settings(to)));
    }

    #[test]
    fn equal_settings_need_no_statement() {
        check(&[("work_mem", "1MB")], &[("work_mem", "1MB")], expect![""]);
        assert!(Settings::same(&settings(&[("a", "b")]), &settings(&[("a", "b")])));
        assert!(!Settings::same(&settings(&[("a", "b")]), &settings(&[("a", "c")])));
        assert!(Settings::same(&Settings::none(), &settings(&[])));
    }

    #[test]
    fn what_the_target_lacks_is_reset_and_what_differs_is_set() {
        check(
            &[("a.b", "1"), ("work_mem", "1MB"), ("x", "same")],
            &[("work_mem", "2MB"), ("x", "same"), ("y", "o'clock \\")],
            expect![[
                r#"RESET "a"."b";SELECT pg_catalog.set_config(E'work_mem',E'2MB',false),pg_catalog.set_config(E'y',E'o''clock \\',false)"#
            ]],
        );
    }

    #[test]
    fn a_role_is_left_first_and_taken_last() {
        check(
            &[("role", "a"), ("work_mem", "1MB")],
            &[("role", "b"), ("zone", "x")],
            expect![[
                r#"RESET role;RESET "work_mem";SELECT pg_catalog.set_config(E'zone',E'x',false),pg_catalog.set_config(E'role',E'b',false)"#
            ]],
        );
        check(&[("role", "a")], &[], expect!["RESET role;"]);
    }
}
