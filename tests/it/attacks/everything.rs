//! Everything that the server has, tried by a tenant: every function, every type that a text can be cast to, every setting,
//! every catalog. The lists are the server's own, so what a later version brings is tried too.

use super::client::Way;
use super::generated::{rage, share};
use super::lab::{Lab, Wall};

#[test]
fn nothing_of_the_server_opens_both_walls() {
    let lab = Lab::new(Wall::BothSealed);
    rage(&lab, Way::Simple, &share(all(&lab), 4));
}

#[test]
fn nothing_of_the_server_opens_the_database_alone() {
    let lab = Lab::new(Wall::Database);
    rage(&lab, Way::Simple, &share(all(&lab), 5));
}

#[test]
fn nothing_of_the_server_opens_the_policy_alone() {
    let lab = Lab::new(Wall::Policy);
    // Without row security the planner may run the client's condition first, and what that says of the row is heard: rewriting
    // alone is no boundary for errors. What stands in no condition on tenants' rows must hold.
    rage(&lab, Way::Simple, &share([functions(&lab), settings(&lab), catalogs(&lab)].concat(), 4));
}

fn all(lab: &Lab) -> Vec<String> {
    let texts = [functions(lab), casts(lab), settings(lab), catalogs(lab)];
    for (what, texts) in ["functions", "casts", "settings", "catalogs"].iter().zip(&texts) {
        println!("{}: {} texts of {what}", lab.wall.label(), texts.len());
        assert!(texts.len() > 60, "{what}");
    }
    texts.concat()
}

/// A value for an argument of this type that gets somewhere; `{t}` is a text.
fn argument(kind: &str) -> String {
    match kind {
        "text" | "character varying" | "character" => "'{t}'".to_owned(),
        "cstring" => "'{t}'::cstring".to_owned(),
        "name" => "'a'::name".to_owned(),
        "oid" => "'a.invoices'::regclass::oid".to_owned(),
        "regclass" => "'a.invoices'::regclass".to_owned(),
        "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" => format!("1::{kind}"),
        "boolean" => "true".to_owned(),
        "bytea" => "'x'::bytea".to_owned(),
        "json" | "jsonb" => format!("'{{\"a\": 1}}'::{kind}"),
        "xml" => "'<x/>'::xml".to_owned(),
        "text[]" => "ARRAY['a']".to_owned(),
        "anyelement" | "anynonarray" | "\"any\"" | "anycompatible" => "1".to_owned(),
        "anyarray" | "anycompatiblearray" => "ARRAY[1]".to_owned(),
        "record" => "ROW(1)".to_owned(),
        other => format!("NULL::{other}"),
    }
}

/// Every function that SQL can call, with names of tables and statements as its texts.
fn functions(lab: &Lab) -> Vec<String> {
    let rows = lab.superuser(
        "SELECT DISTINCT quote_ident(proname),
                coalesce((SELECT string_agg(format_type(t, NULL), '|' ORDER BY i) FROM unnest(proargtypes::oid[]) WITH ORDINALITY u (t, i)), ''),
                prokind
           FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind IN ('f', 'a')
            AND NOT proargtypes::oid[] && ARRAY['internal', 'pg_ddl_command', 'table_am_handler']::regtype[]::oid[]
            AND prorettype NOT IN ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)
            AND proname !~ '^pg_sleep' ORDER BY 1, 2",
    );
    let mut texts = Vec::new();
    for row in rows {
        let [name, kinds, _] = [0, 1, 2].map(|at| row[at].clone().unwrap_or_default());
        let arguments = kinds.split('|').filter(|kind| !kind.is_empty()).map(argument).collect::<Vec<_>>().join(", ");
        let call = format!("SELECT pg_catalog.{name}({arguments})");
        if call.contains("{t}") {
            for text in ["a.invoices", "SELECT email FROM b.invoices WHERE tenant_id = 2", "app.tenant_id"] {
                texts.push(call.replace("{t}", text));
            }
            texts.push(call.replace("'{t}'", "(SELECT max(email) FROM b.invoices)::text"));
        } else {
            texts.push(call);
        }
    }
    texts
}

/// Texts of tenants' rows, as a value of every type: what cannot be read is told by its error.
fn casts(lab: &Lab) -> Vec<String> {
    let types = lab.superuser(
        "SELECT format_type(oid, NULL) FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm', 'e', 'd')
            AND typcategory <> 'A' ORDER BY 1",
    );
    let casts = types.iter().flat_map(|row| {
        let kind = row[0].clone().unwrap_or_default();
        [
            format!("SELECT 1 FROM a.invoices WHERE amount = 777 AND email::{kind} IS NULL"),
            format!("SELECT 1 FROM b.v_plain WHERE CAST(email AS {kind}) IS NOT NULL AND tenant_id = 1"),
            format!(
                "UPDATE a.invoices SET amount = amount WHERE CASE WHEN tenant_id = 2 THEN email::{kind} IS NULL END"
            ),
        ]
    });
    casts.collect()
}

/// Every setting, to values that it takes and to some that it does not.
fn settings(lab: &Lab) -> Vec<String> {
    let rows = lab.superuser(
        "SELECT name, coalesce(enumvals[1], min_val, 'on'), coalesce(enumvals[array_upper(enumvals, 1)], max_val, 'off')
           FROM pg_settings ORDER BY 1",
    );
    let texts = rows.iter().flat_map(|row| {
        let [name, low, high] = [0, 1, 2].map(|at| row[at].clone().unwrap_or_default());
        // A time of 1 ms would end what follows, which says nothing.
        let (low, high) = if name.ends_with("_timeout") { ("0".to_owned(), "100000".to_owned()) } else { (low, high) };
        [
            format!("SET {name} = '{low}'; TABLE a.invoices; RESET {name}"),
            format!("SELECT set_config('{name}', '{high}', false); TABLE b.invoices; SET {name} TO DEFAULT"),
        ]
    });
    texts.collect()
}

/// Every table and view of the system, read and written.
fn catalogs(lab: &Lab) -> Vec<String> {
    let rows = lab.superuser(
        "SELECT c.oid::regclass::text, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
          WHERE relkind IN ('r', 'v') AND nspname IN ('pg_catalog', 'information_schema', 'pgwarden') ORDER BY 1",
    );
    let texts = rows.iter().flat_map(|row| {
        let [name, column] = [0, 1].map(|at| row[at].clone().unwrap_or_default());
        [
            format!("SELECT x::text FROM {name} x"),
            format!("UPDATE {name} SET \"{column}\" = \"{column}\""),
            format!("DELETE FROM {name} WHERE false"),
        ]
    });
    texts.collect()
}
