//! `protect`: what it makes, that it makes it once, and that it takes back exactly that.

use std::process::Command;

use super::stand::{Context, Stand, said};
use crate::kit::{Server, cluster, sql};

/// Tables of every kind, and the careless grants of a database that was never protected.
pub const SAMPLE: &str = "
create table invoices (id serial primary key, tenant_id {key} not null, email text, amount int, unique (tenant_id, id));
create table lines (tenant_id {key} not null, id int generated always as identity, invoice int, what text,
  primary key (tenant_id, id), foreign key (tenant_id, invoice) references invoices (tenant_id, id) on delete cascade);
create table events (tenant_id {key} not null, at date not null, what text) partition by range (at);
create table events_1 partition of events for values from ('2026-01-01') to ('2026-07-01');
create table events_2 partition of events for values from ('2026-07-01') to ('2027-01-01');
create index on events (tenant_id);
create table countries (code text primary key, name text);
create table secrets (id int primary key, what text);
create view v_invoices as select * from invoices;
create view v_nested as select tenant_id, email from v_invoices;
create materialized view totals as select tenant_id, sum(amount) as total from invoices group by 1;
create function definer_sum() returns bigint language sql security definer as 'select sum(amount) from public.invoices';
grant select on countries to public;
grant all on invoices, lines, totals, v_invoices, secrets to public;";

/// Two tenants' rows, for keys of each type.
pub fn rows(key_type: &str) -> String {
    let (one, two) = keys(key_type);
    let two = two.replace('\'', "''");
    format!(
        "insert into invoices (tenant_id, email, amount) values ('{one}', 'own', 1), ('{one}', 'own', 2), ('{two}', 'SECRET', 3);
         insert into lines (tenant_id, invoice, what) values ('{one}', 1, 'own'), ('{two}', 3, 'SECRET');
         insert into events values ('{one}', '2026-02-01', 'own'), ('{two}', '2026-02-01', 'SECRET'), ('{two}', '2026-08-01', 'SECRET');
         insert into countries values ('NL', 'Netherlands'); insert into secrets values (1, 'SECRET');
         refresh materialized view totals;"
    )
}

pub fn keys(key_type: &str) -> (&'static str, &'static str) {
    match key_type {
        "uuid" => ("6f1c1f0e-2f5b-4c8e-9d59-8f1f0e2f5b4c", "ffffffff-ffff-ffff-ffff-fffffffffffe"),
        "text" => ("acme", "o'globex\\"),
        _ => ("1", "2"),
    }
}

pub fn sample(context: Context, key_type: &'static str) -> Stand {
    sample_on(Server::Installed, context, key_type)
}

pub fn sample_on(server: Server, context: Context, key_type: &'static str) -> Stand {
    Stand::on(server, context, key_type, &format!("{SAMPLE}{}", rows(key_type)))
}

/// `pg_dump -s`, privileges of built-ins included, without what changes by itself.
fn dump(stand: &Stand) -> String {
    let output = Command::new(cluster().program("pg_dump"))
        .args(["-s", "-h"])
        .arg(cluster().socket_dir())
        .args(["-p", &cluster().port().to_string(), "-U", "postgres", &stand.database.name])
        .env("PGPASSWORD", cluster().password())
        .output()
        .expect("run pg_dump");
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter(|line| !line.starts_with('\\')).collect::<Vec<_>>().join("\n")
}

fn check(context: Context, key_type: &'static str) {
    let stand = sample(context, key_type);
    let before = dump(&stand);
    let acl = "select coalesce(datacl::text, 'none') from pg_database where datname = current_database()";
    let database_before = stand.superuser(acl);

    let printed = stand.protect(&[]);
    assert!(!printed.contains(super::stand::KEY) && !printed.contains("3636363636"), "a key is printed by accident");
    assert_eq!(dump(&stand), before, "printing changes nothing");
    let done = stand.protect(&["--apply", "--shared", "countries"]);
    assert!(done.contains("done: public.invoices: row security\n") && !done.contains("NO EFFECT"), "{done}");
    assert!(stand.protect(&["--apply", "--shared", "countries"]).contains("nothing to do"));
    assert!(stand.protect(&[]).contains("nothing to do"));

    let (one, two) = keys(key_type);
    let two = two.replace('\'', "''");
    let mut app = stand.app();
    let everything = "select email from invoices union all select what from lines union all select what from events \
                      union all select email from v_invoices union all select email from v_nested";
    match context {
        Context::Sealed => {
            assert!(app.ask("select count(*) from invoices").starts_with("!55000"), "nobody before hello");
            app.hello();
            assert_eq!(app.ask("select count(*) from invoices"), "!28000 no tenant in this session");
            assert_eq!(app.enter(one), one);
        }
        Context::Setting => {
            assert_eq!(app.ask("select count(*) from invoices"), "0");
            assert_eq!(app.ask("set app.tenant_id = ''; select count(*) from invoices"), ";0".trim_start_matches(';'));
            app.ask(&format!("set app.tenant_id = '{one}'"));
        }
    }
    assert_eq!(app.ask(everything), ["own"; 8].join(";"));
    assert_eq!(app.ask("insert into invoices (email) values ('mine') returning tenant_id"), one);
    assert!(app.ask(&format!("insert into invoices (tenant_id, email) values ('{two}', 'x')")).starts_with("!42501"));
    assert!(app.ask(&format!("update invoices set tenant_id = '{two}'")).starts_with("!42501"));
    for refused in [
        "select * from events_1",
        "select * from totals",
        "select * from secrets",
        "truncate invoices",
        "create temp table t (i int)",
        "create table public.t (i int)",
        "select public.definer_sum()",
        "select pg_advisory_lock(1)",
        "select lo_create(0)",
        "select query from pg_stat_activity",
        "select pg_terminate_backend(1)",
        "insert into countries values ('x', 'y')",
        "select setval('public.invoices_id_seq', 1)",
        "alter table invoices disable row level security",
    ] {
        assert!(app.ask(refused).starts_with("!42501"), "{refused}: {}", app.ask(refused));
    }
    assert_eq!(app.ask("select name from countries"), "Netherlands");
    drop(app);

    stand.protect(&["--undo", "--apply"]);
    assert!(stand.protect(&["--undo"]).contains("nothing to do"));
    assert_eq!(dump(&stand), before);
    assert_eq!(
        stand.superuser(acl).replace("none", &database_before),
        aclless(&database_before, &stand.superuser(acl))
    );
    assert_eq!(sql("postgres", &format!("select count(*) from pg_roles where rolname = '{}'", stand.app.name)), "0");
}

/// Before, PUBLIC's and the owner's privileges were implied; afterwards they are written down.
fn aclless(before: &str, after: &str) -> String {
    if before == "none" {
        assert!(after == "none" || after.contains("=Tc/"), "PUBLIC has TEMP and CONNECT again: {after}");
    } else {
        assert_eq!(before, after);
    }
    after.replace("none", before)
}

#[test]
fn bigint_keys_are_protected_and_it_is_undone() {
    check(Context::Sealed, "bigint");
}

#[test]
fn int_keys_are_protected_and_it_is_undone() {
    check(Context::Sealed, "int");
}

#[test]
fn uuid_keys_are_protected_and_it_is_undone() {
    check(Context::Sealed, "uuid");
}

#[test]
fn text_keys_are_protected_and_it_is_undone() {
    check(Context::Sealed, "text");
}

#[test]
fn a_setting_as_context_is_protected_and_it_is_undone() {
    check(Context::Setting, "bigint");
    check(Context::Setting, "text");
}

#[test]
fn functions_of_a_schema_that_is_opened_by_the_same_run_are_closed() {
    let mut stand = Stand::new(
        Context::Sealed,
        "bigint",
        "create table invoices (id int, tenant_id {key} not null);
         insert into invoices values (1, 1), (2, 2);",
    );
    // PUBLIC has no USAGE of this schema, and EXECUTE of the function.
    stand.superuser(&format!(
        "create schema shop authorization {0}; set role {0};
         create function shop.definer_sum() returns bigint language sql security definer as 'select sum(id) from public.invoices';
         create function shop.ping() returns text language sql as 'select ''pong''';",
        stand.database.owner.name
    ));
    stand.more.push(("schemas".to_owned(), vec!["public", "shop"].into()));
    let done = stand.protect(&["--apply"]);
    assert!(done.contains("shop.definer_sum()") && !done.contains("NO EFFECT"), "{done}");
    assert!(stand.protect(&[]).contains("nothing to do"));
    let mut app = stand.app();
    assert_eq!(app.ask("select shop.ping()"), "pong", "the schema is open");
    assert!(app.ask("select shop.definer_sum()").starts_with("!42501"));
    drop(app);
    stand.protect(&["--undo", "--apply"]);
    assert!(stand.protect(&["--undo"]).contains("nothing to do"));
}

#[test]
fn default_privileges_that_a_tenant_writes_for_itself_are_no_hole() {
    let stand = sample(Context::Sealed, "bigint");
    stand.protect(&["--apply", "--shared", "countries"]);
    let mut app = stand.app();
    // No grant takes this away from a role; it is about tables that the role would make itself, and it can make none.
    assert_eq!(app.ask("alter default privileges grant all on tables to public"), "");
    drop(app);
    let output = stand.pgwarden(&["doctor"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).contains("new tables of"), "{}", said(&output));
    // Those of who makes the tables are told.
    let owner = &stand.database.owner.name;
    stand.superuser(&format!("alter default privileges for role {owner} grant select on tables to public"));
    let told = said(&stand.pgwarden(&["doctor"]));
    assert!(told.contains(&format!("new tables of {owner} are open to tenants")), "{told}");
    stand.superuser(&format!("alter default privileges for role {owner} revoke select on tables from public"));
    stand.superuser(&format!("alter default privileges for role {} revoke all on tables from public", stand.app.name));
    stand.protect(&["--undo", "--apply"]);
}
