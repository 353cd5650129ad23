//! Which settings a tenant may change, and to what.
//!
//! A setting that is not listed is refused: names come from clients, and a database's own may decide whose rows a policy
//! shows. Values are checked where some of them change how texts are read, or what the server tells.

use super::refusal::{Refusal, quoted};
use super::rules::{Kept, TenantRules};
use crate::config::ContextKind;
use crate::sql::{SettingValue, name_list};

/// What may become of a setting.
enum Permission {
    /// Any value.
    Free,
    /// One of these, in any letter case.
    Only(&'static [&'static str]),
    /// As `Only`, compared without what is neither letter nor digit: encodings.
    Encoding,
    /// The session's own path, or an empty one.
    Path,
    Refused,
}

impl TenantRules {
    /// `name`: in lower case, old names replaced.
    pub(super) fn setting(&self, name: &str, value: &SettingValue) -> Result<(), Refusal> {
        let allowed = match permission(name) {
            Permission::Free => true,
            Permission::Only(values) => match single(value) {
                Single::Value(value) => values.iter().any(|allowed| value.eq_ignore_ascii_case(allowed)),
                Single::Default => true,
                Single::Unknown => false,
            },
            Permission::Encoding => match single(value) {
                Single::Value(value) => is_utf8(value),
                Single::Default => true,
                Single::Unknown => false,
            },
            Permission::Path => self.path(value),
            Permission::Refused => false,
        };
        if allowed { Ok(()) } else { Err(self.setting_refused(name)) }
    }

    /// A setting whose name the text does not tell.
    pub(super) fn setting_unknown() -> Refusal {
        Refusal::new(
            "setting",
            "a setting whose name is not a literal cannot be changed",
            "Use SET, or set_config with the setting's name as a literal; pg_settings can only be read.",
        )
    }

    fn setting_refused(&self, name: &str) -> Refusal {
        let name_shown = quoted(name);
        if self.is_context(name) {
            return Refusal::new(
                "setting",
                format!("setting {name_shown} belongs to the tenant's context and cannot be changed"),
                "The tenant is known from the login; remove the statement, and log in as another user for another tenant.",
            );
        }
        let (what, hint) = match permission(name) {
            Permission::Only(values) => {
                ("can only be set to some values", format!("Use one of these as a literal: {}.", values.join(", ")))
            }
            Permission::Encoding => ("can only be UTF8", "Use UTF8, and convert in the application.".to_owned()),
            Permission::Path => (
                "cannot be set to this",
                "Name the tables without a schema, or with one of the tenant's schemas.".to_owned(),
            ),
            Permission::Free | Permission::Refused => (
                "cannot be changed by a tenant",
                "Remove the statement, or set it for the role or database on the server.".to_owned(),
            ),
        };
        Refusal::new("setting", format!("setting {name_shown} {what}"), hint)
    }

    /// The setting that holds the tenant, or one under the same prefix.
    fn is_context(&self, name: &str) -> bool {
        let prefix = |name: &str| name.split_once('.').map(|(prefix, _)| prefix.to_owned());
        match &self.kept {
            Kept::Row { context: ContextKind::Setting(context), .. } => {
                name == &**context || (prefix(context).is_some() && prefix(name) == prefix(context))
            }
            Kept::Row { context: ContextKind::Sealed(_), .. } | Kept::Schema | Kept::Database => false,
        }
    }

    fn path(&self, value: &SettingValue) -> bool {
        let path = match value {
            SettingValue::Values(values) => values.clone(),
            SettingValue::Text(text) => match name_list(text) {
                Some(names) => names,
                None => return false,
            },
            SettingValue::Default => return self.kept == Kept::Database,
            SettingValue::Unknown => return false,
        };
        let names: Vec<_> = path.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        match self.kept {
            Kept::Database => true,
            Kept::Row { .. } | Kept::Schema => {
                names.is_empty() || names.iter().copied().eq(self.home.iter().map(|schema| &**schema))
            }
        }
    }
}

/// The one value of a setting that is no list.
enum Single<'a> {
    Value(&'a str),
    Default,
    Unknown,
}

fn single(value: &SettingValue) -> Single<'_> {
    match value {
        SettingValue::Text(value) => Single::Value(value.trim()),
        SettingValue::Values(values) => match &values[..] {
            [value] => Single::Value(value.trim()),
            _ => Single::Unknown,
        },
        SettingValue::Default => Single::Default,
        SettingValue::Unknown => Single::Unknown,
    }
}

/// Encodings compare by letters and digits only, as in PostgreSQL's `pg_char_to_encoding`.
fn is_utf8(value: &str) -> bool {
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    matches!(&*plain, "utf8" | "unicode")
}

fn permission(name: &str) -> Permission {
    match name {
        "client_encoding" => Permission::Encoding,
        "search_path" => Permission::Path,
        // From `log` downwards it shows what the server writes of statements that are not the client's own.
        "client_min_messages" => Permission::Only(&["notice", "warning", "error"]),
        // How string literals are read.
        "standard_conforming_strings" | "row_security" => Permission::Only(&ON),
        "escape_string_warning" => Permission::Only(&ON),
        "backslash_quote" => Permission::Only(&["safe_encoding"]),
        "default_with_oids" => Permission::Only(&["off", "false", "no", "0"]),
        name if FREE.binary_search(&name).is_ok() => Permission::Free,
        // Switches of the planner.
        name if name.strip_prefix("enable_").is_some_and(|rest| !rest.contains('.')) => Permission::Free,
        _ => Permission::Refused,
    }
}

const ON: [&str; 5] = ["on", "true", "yes", "1", "t"];

/// Sorted.
const FREE: [&str; 65] = [
    "application_name",
    "array_nulls",
    "bytea_output",
    "check_function_bodies",
    "constraint_exclusion",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "cursor_tuple_fraction",
    "datestyle",
    "default_statistics_target",
    "default_table_access_method",
    "default_text_search_config",
    "default_toast_compression",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "effective_cache_size",
    "effective_io_concurrency",
    "extra_float_digits",
    "from_collapse_limit",
    "geqo",
    "geqo_effort",
    "geqo_generations",
    "geqo_pool_size",
    "geqo_seed",
    "geqo_selection_bias",
    "geqo_threshold",
    "gin_fuzzy_search_limit",
    "hash_mem_multiplier",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "jit_above_cost",
    "jit_inline_above_cost",
    "jit_optimize_above_cost",
    "join_collapse_limit",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "maintenance_work_mem",
    "max_parallel_workers_per_gather",
    "min_parallel_index_scan_size",
    "min_parallel_table_scan_size",
    "parallel_leader_participation",
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "plan_cache_mode",
    "quote_all_identifiers",
    "random_page_cost",
    "recursive_worktable_factor",
    "seq_page_cost",
    "statement_timeout",
    "synchronize_seqscans",
    "synchronous_commit",
    "timezone",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_timeout",
    "work_mem",
    "xmlbinary",
    "xmloption",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(FREE.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn encodings_have_many_spellings() {
        for value in ["UTF8", "utf-8", "Unicode", "U T_F 8"] {
            assert!(is_utf8(value), "{value}");
        }
        for value in ["", "SJIS", "LATIN1", "utf16", "SQL_ASCII"] {
            assert!(!is_utf8(value), "{value}");
        }
    }
}
