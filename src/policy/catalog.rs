//! Which relations of the system catalogs a tenant may read.
//!
//! Open is what psql, drivers and object mappers read to know the tables, types and functions of a database. Closed is the
//! rest: passwords, other sessions, statistics of values and of use, large objects, replication, configuration files. What is
//! not on a list is closed.

/// A relation of `pg_catalog` that may be read.
pub(super) fn is_open(name: &str) -> bool {
    OPEN.binary_search(&name).is_ok()
}

/// A view of `information_schema` that may be read: all but those of foreign servers and their users, and its inner ones.
pub(super) fn is_open_information(name: &str) -> bool {
    !["_pg_", "foreign_", "user_mapping"].iter().any(|prefix| name.starts_with(prefix))
}

/// Sorted.
const OPEN: [&str; 64] = [
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_attribute",
    "pg_auth_members",
    "pg_available_extension_versions",
    "pg_available_extensions",
    "pg_cast",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_database",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_table",
    "pg_group",
    "pg_index",
    "pg_indexes",
    "pg_inherits",
    "pg_init_privs",
    "pg_language",
    "pg_matviews",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_partitioned_table",
    "pg_policies",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_publication_tables",
    "pg_range",
    "pg_rewrite",
    "pg_roles",
    "pg_rules",
    "pg_sequence",
    "pg_settings",
    "pg_shdepend",
    "pg_shdescription",
    "pg_statistic_ext",
    "pg_tables",
    "pg_tablespace",
    "pg_timezone_abbrevs",
    "pg_timezone_names",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
    "pg_user",
    "pg_views",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(OPEN.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(is_open("pg_class") && !is_open("pg_authid") && !is_open("pg_stat_activity"));
        assert!(is_open_information("columns") && !is_open_information("user_mapping_options"));
    }
}
