//! The part of `SHOW CONFIG` that is about tenants.

use std::sync::Arc;

use super::{List, REDACTED, RELOAD, joined, pool_keys, size, span};
use crate::config::{
    BaseRole, ContextKind, Isolation, Limits, Rewrite, Role, RowIsolation, ServerLogin, Tenancy, Tenant, TenantPlace,
    TenantsOf,
};

pub(super) fn tenancy_keys(list: &mut List, table: &str, tenancy: &Tenancy) {
    let Tenancy { isolation, schemas, functions, rewrite, directory, danger_open_wall, danger_open_policy, pool } =
        tenancy;
    list.template = Some("databases.NAME.tenancy");
    match isolation {
        Isolation::Row(RowIsolation { context, column, key_type, login }) => {
            list.add(table, "isolation", RELOAD, "row");
            match context {
                ContextKind::Sealed(keys) => {
                    list.add(table, "context", RELOAD, "sealed");
                    list.add(table, "keys_file", RELOAD, format!("{REDACTED}, epochs {}", epochs(keys)));
                }
                ContextKind::Setting(name) => {
                    list.add(table, "context", RELOAD, "setting");
                    list.add(table, "setting", RELOAD, name);
                }
            }
            list.add(table, "column", RELOAD, column);
            list.add(table, "key_type", RELOAD, key_type.label());
            login_keys(list, table, login);
        }
        Isolation::Schema => list.add(table, "isolation", RELOAD, "schema"),
        Isolation::Database => list.add(table, "isolation", RELOAD, "database"),
    }
    list.add(table, "schemas", RELOAD, joined(schemas));
    list.add(table, "functions", RELOAD, joined(functions));
    match rewrite {
        Rewrite::Off => list.add(table, "rewrite", RELOAD, "off"),
        Rewrite::All => list.add(table, "rewrite", RELOAD, "all"),
        Rewrite::Tables(tables) => {
            list.add(table, "rewrite", RELOAD, "tables");
            list.add(table, "rewrite_tables", RELOAD, joined(tables));
        }
    }
    list.add(table, "danger_open_wall", RELOAD, danger_open_wall);
    list.add(table, "danger_open_policy", RELOAD, danger_open_policy);
    if let Some(login) = directory {
        list.template = Some("databases.NAME.tenancy.directory");
        login_keys(list, &format!("{table}.directory"), login);
    }
    list.template = Some("databases.NAME.tenancy.pool");
    pool_keys(list, &format!("{table}.pool"), pool);
}

fn epochs(keys: &[crate::config::SealKey]) -> String {
    joined(keys.iter().map(|key| key.epoch))
}

fn login_keys(list: &mut List, table: &str, login: &ServerLogin) {
    let ServerLogin { user, password, auth: _ } = login;
    list.add(table, "server_user", RELOAD, user);
    list.add(table, "server_password", RELOAD, if password.is_some() { REDACTED } else { "" });
}

pub(super) fn tenant_keys(list: &mut List, table: &str, tenant: &Tenant) {
    let Tenant { name: _, database, enabled, place, limits } = tenant;
    list.template = Some("tenants.NAME");
    list.add(table, "database", RELOAD, database);
    match place {
        TenantPlace::Row { key } => list.add(table, "key", RELOAD, key),
        TenantPlace::Schema { schema, login } => {
            list.add(table, "schema", RELOAD, schema);
            login_keys(list, table, login);
        }
        TenantPlace::Database { server_database, login } => {
            list.add(table, "server_database", RELOAD, server_database);
            login_keys(list, table, login);
        }
    }
    list.add(table, "enabled", RELOAD, enabled);
    list.template = Some("tenants.NAME.limits");
    let table = &format!("{table}.limits");
    for (name, limit) in each_limit(limits) {
        list.add(table, name, RELOAD, limit.unwrap_or_default());
    }
}

/// Names and values; absent: no limit.
fn each_limit(limits: &Limits) -> [(&'static str, Option<String>); 8] {
    let Limits {
        connections,
        transactions,
        statements_per_second,
        statement_time,
        transaction_time,
        idle_in_transaction_time,
        rows,
        bytes,
    } = limits;
    let number = |limit: &Option<u32>| limit.map(|limit| limit.to_string());
    let time = |limit: &Option<std::time::Duration>| limit.map(span);
    [
        ("connections", number(connections)),
        ("transactions", number(transactions)),
        ("statements_per_second", number(statements_per_second)),
        ("statement_time", time(statement_time)),
        ("transaction_time", time(transaction_time)),
        ("idle_in_transaction_time", time(idle_in_transaction_time)),
        ("rows", rows.map(|rows| rows.to_string())),
        ("bytes", bytes.map(|bytes| size(bytes as usize))),
    ]
}

/// `transactions=10 statement_time=30s`, for SHOW TENANTS.
pub fn limits_text(limits: &Limits) -> String {
    let set = each_limit(limits).into_iter().filter_map(|(name, limit)| Some(format!("{name}={}", limit?)));
    set.collect::<Vec<_>>().join(" ")
}

pub(super) fn role_keys(list: &mut List, table: &str, role: &Role) {
    let Role { name: _, base, allow, deny, tables, functions } = role;
    list.template = Some("roles.NAME");
    let base = match base {
        BaseRole::Reader => "reader",
        BaseRole::Writer => "writer",
        BaseRole::Owner => "owner",
        BaseRole::Operator => "operator",
    };
    list.add(table, "base", RELOAD, base);
    list.add(table, "allow", RELOAD, joined(allow));
    list.add(table, "deny", RELOAD, joined(deny));
    list.add(table, "tables", RELOAD, tables.as_ref().map_or_else(String::new, joined));
    list.add(table, "functions", RELOAD, joined(functions));
}

pub(super) fn of_tenants(list: &mut List, table: &str, tenants: &TenantsOf, role: Option<&Arc<Role>>) {
    match tenants {
        TenantsOf::None => return,
        TenantsOf::One(tenant) => list.add(table, "tenant", RELOAD, tenant),
        TenantsOf::Several(tenants) => list.add(table, "tenants", RELOAD, joined(tenants)),
        TenantsOf::All => list.add(table, "all_tenants", RELOAD, true),
    }
    list.add(table, "role", RELOAD, role.map_or("", |role| &role.name));
}
