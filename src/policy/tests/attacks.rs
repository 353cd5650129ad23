//! Known attacks on tenants, as far as a text shows them: each is refused by the rule that the data names, or marked with
//! what holds in its place.

use serde_json::Value;

use super::*;

/// How an attack's own schemas stand to the tenant's: the tables that tenants share are in `a` or `b`; where they have
/// schemas, `t1` is the tenant's.
fn subjects(mode: &str) -> Vec<(Apart, Subject)> {
    let aparts = match mode {
        "c" => vec![Apart::Schema],
        "a" => vec![Apart::Sealed, Apart::Setting],
        "b" => vec![Apart::Sealed],
        _ => vec![Apart::Sealed, Apart::Setting, Apart::Schema],
    };
    aparts.into_iter().map(|apart| (apart, lab(apart))).collect()
}

fn lab(apart: Apart) -> Subject {
    let tenancy =
        Tenancy { schemas: vec!["a".into(), "b".into(), "bench".into()], functions: vec![], ..tenancy(apart) };
    let scope = Scope::of_tenant(&tenancy, &role(BaseRole::Writer), &place(apart));
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    Subject { rules: Arc::new(Rules { id, session_state: SessionState::Pin, scope }) }
}

#[test]
fn known_attacks_are_refused_or_left_to_the_other_wall_with_a_reason() {
    let mut refused = 0;
    let mut left = 0;
    for line in include_str!("attacks.jsonl").lines() {
        let attack: Value = serde_json::from_str(line).expect("a line of JSON");
        let of = |key: &str| attack[key].as_str().unwrap_or_default();
        for (apart, subject) in subjects(of("mode")) {
            let decided: Vec<_> = attack["texts"]
                .as_array()
                .expect("texts")
                .iter()
                .map(|text| rule(&subject, text.as_str().expect("a text")))
                .filter(|rule| *rule != "allow")
                .collect();
            match attack["left_to"].as_str() {
                Some(reason) => {
                    assert!(!reason.is_empty());
                    assert!(decided.is_empty(), "{} {apart:?}: refused after all: {decided:?}", of("id"));
                    left += 1;
                }
                None => {
                    assert!(!decided.is_empty(), "{} {apart:?}: not refused", of("id"));
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 200 && left > 60, "{refused} refused, {left} left");
}

/// Made to get past this policy in particular.
#[test]
fn tricks_do_not_pass() {
    let subject = subject(Apart::Setting, BaseRole::Writer);
    let mut wrong = Vec::new();
    for (expected, text) in [
        ("setting", "select (select 1 from (values (set_config('app.tenant_id'::text::varchar, '2', false))) v)"),
        ("setting", "select set_config(convert_from('\\x6170702e74656e616e745f6964', 'utf8'), '2', false)"),
        ("setting", "set \"app.tenant_id\" = '2'"),
        ("setting", "set local \"app\".\"TENANT_ID\" to '2'"),
        (
            "catalog",
            "insert into pg_settings select * from pg_settings on conflict do nothing; with x as (update only pg_settings set setting = 2 returning 1) select 1",
        ),
        ("unparsed", "set session authorization default; select 1 where $$"),
        ("setting", "set standard_conforming_strings to 0"),
        ("setting", "set client_encoding to 'UTF8', 'SJIS'"),
        ("setting", "select set_config('client_min_messages', 'debug5', true)"),
        ("setting", "set search_path to public, other, a"),
        ("setting", "set search_path to 'public, other'"),
        (
            "function",
            "select x.query_to_xml from (select 'select 1' as query) x, lateral query_to_xml(x.query, true, true, '')",
        ),
        ("function", "select * from pg_catalog.pg_ls_dir('.') with ordinality as t"),
        ("function", "select 1 from t order by (select pg_stat_get_activity(null) is null)"),
        ("function", "call pg_catalog.pg_read_file('x')"),
        ("function", "select array_agg(evil) from generate_series(1, 2) evil, evil(1)"),
        ("function", "insert into t values (1) on conflict ((evil(a))) do nothing"),
        ("schema", "select 'lab.\"pgwarden\".seal'::regclass::oid"),
        ("schema", "select (null::pgwarden.seal).*"),
        ("schema", "select nextval('pgwarden.turn'::text::regclass)"),
        ("sequence", "select nextval(x) from (values ('pgwarden.turn')) v(x)"),
        ("schema", "table other.t"),
        ("schema", "select 1 from public.t, only (other.t) as t"),
        ("catalog", "select c from pg_class c, pg_stat_activity a"),
        ("catalog", "with recursive pg_authid as (select * from pg_catalog.pg_authid) table pg_authid"),
        ("catalog", "with a as (select * from pg_shadow), pg_shadow as (select 1) table a"),
        ("explain_analyze", "explain (analyze) with x as (delete from t returning 1) table x"),
        ("explain_analyze", "explain (analyze false, analyze) select * from t for update"),
        ("statement_kind", "explain analyze create table x as select 1"),
        ("statement_kind", "prepare p as select 1; create temp table x as execute p"),
        ("statement_kind", "declare c cursor for select 1 into x"),
        ("reserved_name", "explain execute __pgw_1"),
        ("reserved_name", "deallocate prepare __pgw_1"),
        ("advisory_lock", "select pg_advisory_unlock(1)"),
        ("context_reset", "reset all; select * from t"),
        ("snapshot", "begin; set transaction snapshot '00000003-1'"),
        ("lock_mode", "lock t, u in exclusive mode nowait"),
        ("tenant_column", "update t as x set tenant_id = x.tenant_id"),
    ] {
        let found = rule(&subject, text);
        if found != expected {
            wrong.push(format!("{found} for {expected}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
