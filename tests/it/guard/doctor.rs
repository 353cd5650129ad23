//! `doctor`: finds each hole made on purpose, with what mends it, and nothing on a database that is protected.

use super::protect::{keys, sample};
use super::stand::{Context, Stand, said};

/// Rules of the findings of a level, with the object, sorted.
fn findings(stand: &Stand, level: &str) -> Vec<(String, String, String)> {
    let output = stand.pgwarden(&["doctor", "--json"]);
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let list = json["findings"].as_array().expect("findings").clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let holes = list.iter().any(|finding| finding["level"] == "hole");
    assert_eq!(output.status.code(), Some(i32::from(holes)), "{}", said(&output));
    let of_level = list.iter().filter(|finding| finding["level"] == level);
    of_level.map(|finding| (text(&finding["rule"]), text(&finding["object"]), text(&finding["fix"]))).collect()
}

fn holes(stand: &Stand) -> Vec<String> {
    findings(stand, "hole").into_iter().map(|(rule, object, _)| format!("{rule} {object}")).collect()
}

#[test]
fn an_unprotected_database_has_holes_and_a_protected_one_has_none() {
    for (context, key_type) in
        [(Context::Sealed, "bigint"), (Context::Sealed, "uuid"), (Context::Sealed, "text"), (Context::Setting, "int")]
    {
        let stand = sample(context, key_type);
        let output = stand.pgwarden(&["doctor"]);
        assert_eq!(output.status.code(), Some(2), "no such role: it cannot look: {}", said(&output));
        stand.superuser(&format!("create role {} login password '{}'", stand.app.name, stand.app.password));
        let before = holes(&stand);
        for expected in [
            "row_security_off public.invoices",
            "open_without_tenant public.invoices",
            "table_privileges public.invoices",
            "no_row_security public.totals",
            "view_definer public.v_invoices",
            "no_tenant_column public.secrets",
            "definer_functions public.definer_sum()",
            "database_privileges database",
        ] {
            assert!(before.contains(&expected.to_owned()), "{expected} in {before:?}");
        }
        stand.protect(&["--apply", "--shared", "countries"]);
        assert_eq!(holes(&stand), Vec::<String>::new(), "{context:?} {key_type}");
        let table = String::from_utf8(stand.pgwarden(&["doctor"]).stdout).expect("text");
        assert!(table.contains("✓ public.lines") && table.contains("0 holes"), "{table}");
        stand.protect(&["--undo", "--apply"]);
        stand.superuser(&format!("drop owned by {0}; drop role {0}", stand.app.name));
    }
}

/// What is broken, the finding, and whether its fix is SQL that mends it.
const BREAKS: [(&str, &str, Mend); 26] = [
    ("alter role {app} bypassrls", "role_attributes {app}", Mend::Sql),
    ("alter role {app} createrole", "role_attributes {app}", Mend::Sql),
    ("grant {owner} to {app}", "role_membership {app}", Mend::Sql),
    ("alter table lines owner to {app}", "role_owns {app}", Mend::By("alter table lines owner to {owner}")),
    ("alter table invoices disable row level security", "row_security_off public.invoices", Mend::Protect),
    ("alter table invoices no force row level security", "row_security_not_forced public.invoices", Mend::Sql),
    ("drop policy pgwarden_tenant on invoices", "policy_missing public.invoices", Mend::Protect),
    ("grant truncate on invoices to {app}", "table_privileges public.invoices", Mend::Sql),
    ("grant references (id) on invoices to public", "table_privileges public.invoices", Mend::Protect),
    ("grant trigger on lines to {app}", "table_privileges public.lines", Mend::Sql),
    ("grant temp on database {db} to {app}", "database_privileges database", Mend::Sql),
    ("grant create on schema public to public", "schema_create public", Mend::Sql),
    ("grant select on totals to {app}", "no_row_security public.totals", Mend::Sql),
    ("alter view v_invoices reset (security_invoker)", "view_definer public.v_invoices", Mend::Sql),
    (
        "create policy more on invoices for select using (amount > 2)",
        "policy_open public.invoices",
        Mend::By("drop policy more on invoices"),
    ),
    (
        "create policy more on invoices for insert with check (true)",
        "policy_open public.invoices",
        Mend::By("drop policy more on invoices"),
    ),
    (
        "alter table events_1 disable row level security; grant select on events_1 to {app}",
        "row_security_off public.events_1",
        Mend::Protect,
    ),
    (
        "create table fresh (tenant_id bigint, x text); insert into fresh values (2, 'SECRET'); grant select on fresh to {app}",
        "open_without_tenant public.fresh",
        Mend::Protect,
    ),
    ("grant insert on secrets to {app}", "no_tenant_column public.secrets", Mend::Protect),
    ("grant execute on function definer_sum() to {app}", "definer_functions public.definer_sum()", Mend::Sql),
    ("grant execute on function pg_read_file(text) to {app}", "server_files files of the server", Mend::Protect),
    ("grant set on parameter session_replication_role to {app}", "parameters session_replication_role", Mend::Sql),
    ("create rule r as on delete to countries do instead delete from invoices", "rules public.countries", Mend::Sql),
    (
        "alter table lines add constraint bare foreign key (invoice) references invoices (id) on delete cascade",
        "foreign_key_cascade public.lines",
        Mend::By("alter table lines drop constraint bare"),
    ),
    (
        "create or replace function pgwarden.tenant() returns bigint language sql stable security definer as 'select 1::bigint'",
        "sealed_functions pgwarden.tenant()",
        Mend::Protect,
    ),
    ("grant select on pgwarden.keys to public", "sealed_grants pgwarden.keys", Mend::Sql),
];

#[derive(Debug, Clone, Copy)]
enum Mend {
    /// By the SQL that the finding gives.
    Sql,
    Protect,
    By(&'static str),
}

#[test]
fn each_hole_is_found_and_its_fix_mends_it() {
    let stand = sample(Context::Sealed, "bigint");
    stand.protect(&["--apply", "--shared", "countries"]);
    let fill = |text: &str| {
        let text = text.replace("{app}", &stand.app.name).replace("{owner}", &stand.database.owner.name);
        text.replace("{db}", &stand.database.name)
    };
    for (broken, expected, mend) in BREAKS {
        stand.superuser(&fill(broken));
        let found = findings(&stand, "hole");
        let hole = found.iter().find(|(rule, object, _)| format!("{rule} {object}") == fill(expected));
        let (_, _, fix) = hole.unwrap_or_else(|| panic!("{broken}: {found:?}"));
        match mend {
            Mend::Sql => drop(stand.superuser(fix)),
            Mend::Protect => drop(stand.protect(&["--apply"])),
            Mend::By(sql) => drop(stand.superuser(&fill(sql))),
        }
        assert_eq!(holes(&stand), Vec::<String>::new(), "after the fix of: {broken}");
        stand.superuser("drop table if exists fresh");
    }
}

#[test]
fn policies_that_fail_open_are_found_by_trying() {
    let stand = sample(Context::Setting, "int");
    stand.protect(&["--apply"]);
    let (one, _) = keys("int");
    let setting = "current_setting('app.tenant_id', true)";
    let immutable = "create function imm() returns int language sql immutable as $$select nullif(current_setting('app.tenant_id', true), '')::int$$";
    for (using, prepare, rule) in [
        (format!("tenant_id = coalesce(nullif({setting}, ''), '{one}')::int"), "", "policy_fails_open"),
        (format!("coalesce(nullif({setting}, ''), tenant_id::text) = tenant_id::text"), "", "open_without_tenant"),
        (format!("{setting} = '' or tenant_id = {setting}::int"), "", "policy_open"),
        ("tenant_id = nullif(current_setting('app.other', true), '')::int".to_owned(), "", "policy_open"),
        ("tenant_id = public.imm()".to_owned(), immutable, "policy_immutable"),
    ] {
        stand.superuser(prepare);
        stand.superuser(&format!(
            "drop policy pgwarden_tenant on invoices; create policy theirs on invoices using ({using})"
        ));
        let found: Vec<String> = findings(&stand, "hole").into_iter().map(|(rule, ..)| rule).collect();
        assert!(found.contains(&rule.to_owned()), "{using}: {found:?}");
        stand.superuser("drop policy theirs on invoices");
        stand.protect(&["--apply"]);
        assert_eq!(holes(&stand), Vec::<String>::new(), "{using}");
    }
    // A policy of the database's own that follows the setting and fails closed is as good.
    stand.superuser(
        "drop policy pgwarden_tenant on invoices; \
         create policy theirs on invoices using (tenant_id = current_setting('app.tenant_id')::int)",
    );
    assert_eq!(holes(&stand), Vec::<String>::new());
}
