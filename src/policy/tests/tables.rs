//! Statements and the rule that decides each.

use expect_test::{Expect, expect};

use super::*;

fn check(subject: &Subject, texts: &[&str], expected: Expect) {
    let lines: Vec<_> = texts.iter().map(|text| format!("{:<20} {}\n", rule(subject, text), text.trim())).collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn kinds_by_role() {
    let texts = [
        "select 1",
        "values (1)",
        "table t",
        "insert into t values (1)",
        "update t set a = 1",
        "delete from t",
        "merge into t using s on true when matched then delete",
        "copy t to stdout",
        "copy t from stdin",
        "copy t from '/etc/passwd'",
        "copy t to program 'sh'",
        "explain select 1",
        "explain insert into t values (1)",
        "explain analyze select * from t",
        "explain analyze insert into t values (1)",
        "explain analyze execute p",
        "explain analyze select nextval('s')",
        "begin; commit; rollback; savepoint a",
        "begin isolation level serializable read only",
        "commit and chain",
        "prepare transaction 'x'",
        "commit prepared 'x'",
        "set transaction read only",
        "set transaction snapshot 'x'",
        "set constraints all deferred",
        "set constraints public.t_fk immediate",
        "set constraints other.t_fk immediate",
        "show search_path",
        "show all",
        "show app.tenant_id",
        "set role x",
        "set role none",
        "reset role",
        "set local role x",
        "set session authorization x",
        "reset session authorization",
        "select set_config('role', 'x', false)",
        "discard all",
        "discard plans",
        "discard temp",
        "discard sequences",
        "reset all",
        "prepare p as select 1",
        "prepare p as insert into t values (1)",
        "prepare p as select * from pg_authid",
        "execute p",
        "prepare __pgw_1 as select 1",
        "execute __pgw_1",
        "deallocate __pgw_1",
        "deallocate p",
        "deallocate all",
        "declare c cursor for select * from t",
        "declare c cursor for select * from pg_authid",
        "fetch c",
        "move c",
        "close c",
        "close all",
        "listen x",
        "unlisten x",
        "unlisten *",
        "notify x, 'y'",
        "lock t in access share mode",
        "lock t in row exclusive mode",
        "lock t in share mode",
        "lock t",
        "lock pg_class in access share mode",
        "load 'x'",
        "do $$begin end$$",
        "call p()",
        "call add_tax()",
        "checkpoint",
        "vacuum t",
        "vacuum analyze t",
        "analyze t",
        "cluster t",
        "reindex table t",
        "refresh materialized view v",
        "create table t (a int)",
        "create table t1.t (a int)",
        "create table other.t (a int)",
        "create table t as select 1",
        "select 1 into t",
        "create table t as select * from other.t",
        "create table t as execute p",
        "create view v as select * from t",
        "create view v as select * from pg_authid",
        "create index on t (a)",
        "create sequence s",
        "create schema x",
        "create schema t1",
        "create type e as enum ('a')",
        "create domain d as int",
        "create domain other.d as int",
        "create temp table t (a int)",
        "create table pg_temp.t (a int)",
        "select 1 into temp t",
        "create function f() returns int language sql as 'select 1'",
        "create procedure p() language sql as ''",
        "create trigger x before insert on t for each row execute function add_tax()",
        "create trigger x before insert on t for each row execute function evil()",
        "create rule r as on insert to t do instead nothing",
        "create rule r as on insert to t do instead notify x",
        "create policy p on t using (true)",
        "alter table t add a int",
        "alter table other.t add a int",
        "alter table t disable row level security",
        "alter table t rename to u",
        "alter table t set schema other",
        "alter system set a = 1",
        "alter role x set a = 'b'",
        "alter role current_user password 'x'",
        "alter database d set a = 'b'",
        "drop table t",
        "drop table other.t",
        "drop schema other",
        "drop function f()",
        "drop role x",
        "truncate t",
        "comment on table t is 'x'",
        "comment on column t.a is 'x'",
        "comment on column other.t.a is 'x'",
        "grant select on t to x",
        "grant x to y",
        "grant all on schema other to x",
        "grant create on database d to x",
        "security label on table t is 'x'",
        "create extension dblink",
        "create server s foreign data wrapper w",
        "import foreign schema a from server b into c",
        "create publication p for all tables",
        "create subscription s connection 'x' publication p",
        "create role x",
        "create database x",
        "create cast (int as text) without function",
        "create operator + (function = f, leftarg = int)",
        "create event trigger e on ddl_command_start execute function f()",
        "create language l",
        "create tablespace t location '/x'",
        "alter default privileges in schema other grant select on tables to x",
        "reassign owned by a to b",
        "select * from t for update",
        "with x as (delete from t returning *) select * from x",
    ];
    let mut lines = String::new();
    for text in texts {
        let of = |apart, base| rule(&subject(apart, base), text);
        lines.push_str(&format!(
            "{text}\n    reader {}, writer {}; schema: writer {}, owner {}; database: writer {}, owner {}\n",
            of(Apart::Sealed, BaseRole::Reader),
            of(Apart::Sealed, BaseRole::Writer),
            of(Apart::Schema, BaseRole::Writer),
            of(Apart::Schema, BaseRole::Owner),
            of(Apart::Database, BaseRole::Writer),
            of(Apart::Database, BaseRole::Owner),
        ));
        assert_eq!(
            of(Apart::Sealed, BaseRole::Writer),
            of(Apart::Sealed, BaseRole::Owner),
            "{text}: there is no own ground"
        );
        assert_eq!(of(Apart::Schema, BaseRole::Reader), of(Apart::Schema, BaseRole::Operator), "{text}");
    }
    expect_test::expect_file!["kinds.txt"].assert_eq(&lines);
}

#[test]
fn functions() {
    check(
        &subject(Apart::Sealed, BaseRole::Writer),
        &[
            "select now(), count(*), lower('x'), pg_catalog.upper('x'), coalesce(1), current_user, current_setting('a.b', true)",
            "select pg_sleep(1), pg_backend_pid(), version(), txid_current()",
            "select add_tax(1), public.add_tax(1), similarity('a', 'b'), a.similarity('a', 'b'), public.similarity('a', 'b')",
            "select a.add_tax(1)",
            "select other.similarity('a', 'b')",
            "select f(1)",
            "select public.f(1)",
            "select public.lower('x')",
            "select lab.public.add_tax(1)",
            "select lab.pg_catalog.lower('x')",
            "select lab.pg_catalog.pg_read_file('x')",
            "select pg_notify('a', 'b')",
            "select public.pg_notify('a', 'b')",
            "select pgwarden.tenant()",
            "select pgwarden.enter(1, '1', 1, 'x')",
            "select pgwarden.hello()",
            "select tenant()",
            "select pg_read_file('x')",
            "select \"pg_read_file\"('x')",
            "select U&\"pg_read\\005ffile\"('x')",
            "select PG_READ_FILE('x')",
            "select query_to_xml('select 1', true, true, '')",
            "select * from ts_stat('select 1')",
            "select dblink('a', 'b')",
            "select public.dblink('a', 'b')",
            "select lo_get(1)",
            "select lo_import('x')",
            "select pg_advisory_lock(1)",
            "select pg_try_advisory_xact_lock(1)",
            "select (1).pg_advisory_lock",
            "select x.pg_stat_get_activity from t x",
            "select setseed(0.5)",
            "select pg_terminate_backend(1)",
            "select pg_cancel_backend(1)",
            "select pg_export_snapshot()",
            "select pg_stat_get_activity(1)",
            "select * from pg_lock_status()",
            "select * from pg_prepared_statement()",
            "select * from pg_cursor()",
            "select pg_config()",
            "select int4in('1')",
            "select domain_in('x', 1, 2)",
            "select has_table_privilege('t', 'select')",
            "select has_table_privilege(name, 'select') from t",
            "select has_table_privilege(oid, 'select') from pg_class",
            "select nextval('s')",
            "select nextval('s'::regclass), currval('public.s'), lastval()",
            "select nextval($1)",
            "select nextval('a' || 'b')",
            "select currval('pgwarden.turn')",
            "select currval('pgwarden'||'.turn')",
            "select ('pgwarden.turn'::regclass).currval",
            "select currval(pg_get_serial_sequence('t', 'id'))",
            "select currval(pg_get_serial_sequence('pgwarden.t', 'id'))",
            "select currval(pg_get_serial_sequence($1, 'id'))",
            "select setval('s', 1)",
            "select nextval('other.s')",
            "select nextval('lab.other.s')",
            "select 'other.t'::regclass",
            "select 'lab.other.t'::regclass",
            "select regclass 'other.t'",
            "select cast('other.t' as pg_catalog.regclass)",
            "select 'other.t'::text::regclass",
            "select '16384'::regclass, 'pg_authid'::regclass, 'pg_catalog.pg_class'::regclass, 'pg_read_file'::regproc",
            "select pg_relation_size('other.t')",
            "select pg_relation_size('t')",
            "select 1 operator(pg_catalog.+) 1",
            "select 1 operator(public.+) 1",
            "select 1 operator(other.+) 1",
            "select a = any (select 1), a operator(other.=) any (select 1) from t",
            "select * from t order by a using operator(other.<)",
            "select 'x'::other.d",
            "select 'x'::public.d",
            "select null::pg_temp.t",
            "select 'x' collate other.c",
            "select * from t tablesample bernoulli (1)",
            "select * from t tablesample evil (1)",
            "select xmltable.* from xmltable('/a' passing ((select query_to_xml('x', true, true, ''))::xml) columns a int)",
            "select json_object('a': pg_read_file('x'))",
            "select binary_upgrade_set_next_pg_authid_oid(1)",
            "select pg_logical_emit_message(false, 'a', 'b')",
            "select inet_server_addr()",
            "select pg_sequence_last_value('s')",
            "select pg_current_wal_lsn()",
            "select pg_xact_commit_timestamp('1')",
        ],
        expect![[r#"
            allow                select now(), count(*), lower('x'), pg_catalog.upper('x'), coalesce(1), current_user, current_setting('a.b', true)
            allow                select pg_sleep(1), pg_backend_pid(), version(), txid_current()
            allow                select add_tax(1), public.add_tax(1), similarity('a', 'b'), a.similarity('a', 'b'), public.similarity('a', 'b')
            function             select a.add_tax(1)
            function             select other.similarity('a', 'b')
            function             select f(1)
            function             select public.f(1)
            function             select public.lower('x')
            allow                select lab.public.add_tax(1)
            allow                select lab.pg_catalog.lower('x')
            function             select lab.pg_catalog.pg_read_file('x')
            notification         select pg_notify('a', 'b')
            allow                select public.pg_notify('a', 'b')
            allow                select pgwarden.tenant()
            function             select pgwarden.enter(1, '1', 1, 'x')
            function             select pgwarden.hello()
            function             select tenant()
            function             select pg_read_file('x')
            function             select "pg_read_file"('x')
            function             select U&"pg_read\005ffile"('x')
            function             select PG_READ_FILE('x')
            function             select query_to_xml('select 1', true, true, '')
            function             select * from ts_stat('select 1')
            function             select dblink('a', 'b')
            function             select public.dblink('a', 'b')
            large_object         select lo_get(1)
            function             select lo_import('x')
            advisory_lock        select pg_advisory_lock(1)
            advisory_lock        select pg_try_advisory_xact_lock(1)
            advisory_lock        select (1).pg_advisory_lock
            function             select x.pg_stat_get_activity from t x
            function             select setseed(0.5)
            function             select pg_terminate_backend(1)
            function             select pg_cancel_backend(1)
            function             select pg_export_snapshot()
            function             select pg_stat_get_activity(1)
            function             select * from pg_lock_status()
            function             select * from pg_prepared_statement()
            function             select * from pg_cursor()
            function             select pg_config()
            function             select int4in('1')
            function             select domain_in('x', 1, 2)
            allow                select has_table_privilege('t', 'select')
            function             select has_table_privilege(name, 'select') from t
            allow                select has_table_privilege(oid, 'select') from pg_class
            allow                select nextval('s')
            allow                select nextval('s'::regclass), currval('public.s'), lastval()
            sequence             select nextval($1)
            sequence             select nextval('a' || 'b')
            schema               select currval('pgwarden.turn')
            sequence             select currval('pgwarden'||'.turn')
            schema               select ('pgwarden.turn'::regclass).currval
            allow                select currval(pg_get_serial_sequence('t', 'id'))
            schema               select currval(pg_get_serial_sequence('pgwarden.t', 'id'))
            sequence             select currval(pg_get_serial_sequence($1, 'id'))
            sequence             select setval('s', 1)
            schema               select nextval('other.s')
            schema               select nextval('lab.other.s')
            schema               select 'other.t'::regclass
            schema               select 'lab.other.t'::regclass
            schema               select regclass 'other.t'
            schema               select cast('other.t' as pg_catalog.regclass)
            schema               select 'other.t'::text::regclass
            allow                select '16384'::regclass, 'pg_authid'::regclass, 'pg_catalog.pg_class'::regclass, 'pg_read_file'::regproc
            schema               select pg_relation_size('other.t')
            allow                select pg_relation_size('t')
            allow                select 1 operator(pg_catalog.+) 1
            allow                select 1 operator(public.+) 1
            schema               select 1 operator(other.+) 1
            schema               select a = any (select 1), a operator(other.=) any (select 1) from t
            schema               select * from t order by a using operator(other.<)
            schema               select 'x'::other.d
            allow                select 'x'::public.d
            temporary_object     select null::pg_temp.t
            schema               select 'x' collate other.c
            allow                select * from t tablesample bernoulli (1)
            function             select * from t tablesample evil (1)
            function             select xmltable.* from xmltable('/a' passing ((select query_to_xml('x', true, true, ''))::xml) columns a int)
            function             select json_object('a': pg_read_file('x'))
            function             select binary_upgrade_set_next_pg_authid_oid(1)
            function             select pg_logical_emit_message(false, 'a', 'b')
            function             select inet_server_addr()
            function             select pg_sequence_last_value('s')
            function             select pg_current_wal_lsn()
            function             select pg_xact_commit_timestamp('1')
        "#]],
    );
}

#[test]
fn settings() {
    let texts = [
        "set timezone = 'UTC'",
        "set time zone local",
        "set time zone interval '1' hour to minute",
        "set datestyle = 'ISO, DMY'",
        "set application_name = 'x'",
        "set statement_timeout = 0",
        "set local work_mem = '1GB'",
        "set enable_seqscan = off",
        "set jit = off",
        "set plan_cache_mode = force_generic_plan",
        "set names 'utf8'",
        "set names 'SJIS'",
        "set client_encoding to 'UTF-8'",
        "set client_encoding to default",
        "set client_encoding = latin1",
        "select set_config('client_encoding', $1, false)",
        "set standard_conforming_strings = on",
        "set standard_conforming_strings = off",
        "set STANDARD_CONFORMING_STRINGS to 'off'",
        "select set_config('standard_conforming_strings', 'off', true)",
        "set backslash_quote = on",
        "set escape_string_warning = off",
        "set row_security = off",
        "set row_security = on",
        "set search_path = public, a",
        "set search_path = a, public",
        "set search_path = other",
        "set schema 'other'",
        "set search_path = ''",
        "reset search_path",
        "set search_path to default",
        "select set_config('search_path', 'public,\"a\"', false)",
        "select set_config('search_path', 'other', false)",
        "select set_config('Search_Path', '', false)",
        "set search_path = pg_temp",
        "set app.tenant_id = '2'",
        "set local app.tenant_id = '2'",
        "set \"APP\".tenant_id = '2'",
        "set U&\"app\\002etenant_id\" = '2'",
        "set app.other = '2'",
        "reset app.tenant_id",
        "set app.tenant_id to default",
        "set myapp.user = 'x'",
        "select set_config('app.tenant_id', '2', false)",
        "select set_config('APP.Tenant_ID', '2', true)",
        "select set_config('app'||'.tenant_id', '2', false)",
        "select set_config($1, '2', false)",
        "select set_config(name, '2', false) from pg_settings",
        "select set_config('timezone', $1, false)",
        "select set_config('TimeZone', 'UTC', false)",
        "select set_config(setting_name => 'timezone', new_value => 'UTC', is_local => false)",
        "select set_config(variadic array['a', 'b'])",
        "select lab.pg_catalog.set_config('app.tenant_id', '2', false)",
        "update pg_settings set setting = 'x' where name = 'search_path'",
        "update pg_catalog.pg_settings set setting = 'x'",
        "with x as (update pg_settings set setting = '2' returning 1) select * from x",
        "merge into pg_settings using t on true when matched then update set setting = 'x'",
        "set log_statement = 'all'",
        "set client_min_messages = log",
        "set client_min_messages = debug1",
        "set client_min_messages = warning",
        "set debug_print_plan = on",
        "set session_replication_role = replica",
        "set temp_buffers = 100",
        "set temp_tablespaces = ''",
        "set local_preload_libraries = 'x'",
        "set dynamic_library_path = 'x'",
        "set check_function_bodies = off",
        "set seed = 0.5",
        "set xml option document",
        "set default_transaction_read_only = off",
        "set session characteristics as transaction read write",
        "set transaction_read_only = off",
        "set role x",
        "set session_authorization = 'x'",
        "reset all",
        "select 1; reset all",
        "select 1; discard all",
        "discard sequences; select 1",
        "discard plans; select 1",
        "begin; reset all",
        "begin; discard sequences",
        "set synchronous_commit = off",
        "set lc_messages = 'C'",
        "set enable_x.y = 1",
        "set tcp_keepalives_idle = 1",
        "set no_such = 1",
        "set session statement_timeout to '5s'",
    ];
    let mut lines = String::new();
    for text in texts {
        let of = |apart| rule(&subject(apart, BaseRole::Writer), text);
        let (sealed, setting, schema, database) =
            (of(Apart::Sealed), of(Apart::Setting), of(Apart::Schema), of(Apart::Database));
        lines.push_str(&format!("{text}\n    {sealed}, {setting}; schema {schema}; database {database}\n"));
    }
    expect_test::expect_file!["settings.txt"].assert_eq(&lines);
}

#[test]
fn relations() {
    let texts = [
        "select * from t",
        "select * from public.t, a.t",
        "select * from lab.public.t",
        "select * from t1.t",
        "select * from other.t",
        "select * from lab.other.t",
        "select * from \"Public\".t",
        "select * from U&\"\\006fther\".t",
        "select * from pgwarden.seal",
        "select * from pg_toast.pg_toast_1",
        "select * from pg_temp.t",
        "select * from pg_temp_3.t",
        "select * from pg_class",
        "select * from pg_catalog.pg_class",
        "select * from lab.pg_catalog.pg_authid",
        "select * from pg_authid",
        "select * from pg_catalog.pg_shadow",
        "select * from PG_STAT_ACTIVITY",
        "select * from pg_stat_statements",
        "select * from public.pg_stat_statements",
        "select * from pg_stats",
        "select * from pg_statistic",
        "select * from pg_locks",
        "select * from pg_prepared_statements",
        "select * from pg_cursors",
        "select * from pg_largeobject",
        "select * from pg_hba_file_rules",
        "select * from pg_user_mappings",
        "select * from pg_sequences",
        "select * from pg_db_role_setting",
        "select * from information_schema.tables",
        "select * from information_schema.user_mapping_options",
        "select * from information_schema._pg_foreign_servers",
        "with pg_authid as (select 1) select * from pg_authid",
        "with x as (select 1) select * from x, pg_authid",
        "select (with pg_authid as (select 1) select 1 from pg_authid), (select count(*) from pg_authid)",
        "delete from pg_class",
        "insert into information_schema.tables values (1)",
        "update pg_catalog.pg_class set relname = 'x'",
        "update t set tenant_id = 2",
        "update t set \"tenant_id\" = 2",
        "update t set U&\"tenant\\005fid\" = 2",
        "update t set Tenant_ID = 2",
        "update t set (a, tenant_id) = (1, 2)",
        "update t set tenant_id = default",
        "update t set tenant_id.x = 1",
        "update t set tenant_id[1] = 1",
        "insert into t (tenant_id) values (1)",
        "insert into t values (1) on conflict (id) do update set tenant_id = 2",
        "insert into t values (1) on conflict (id) do update set a = excluded.a",
        "merge into t using s on true when matched then update set tenant_id = 2",
        "merge into t using s on true when not matched then insert (tenant_id) values (1)",
        "with x as (update t set tenant_id = 2 returning 1) select * from x",
        "prepare p as update t set tenant_id = $1",
        "explain update t set tenant_id = 2",
        "copy other.t to stdout",
        "copy (select * from other.t) to stdout",
        "copy (delete from t returning *) to stdout",
        "copy pg_authid to stdout",
        "copy other.t from stdin",
        "select 1 from t where exists (select",
        "selec 1",
        "",
        ";;",
        "/* x */",
        "select 1; select * from other.t",
        "select 1; select 2",
    ];
    let mut lines = String::new();
    for text in texts {
        let of = |apart, base| rule(&subject(apart, base), text);
        lines.push_str(&format!(
            "{text}\n    {}; schema {}; database {}\n",
            of(Apart::Sealed, BaseRole::Writer),
            of(Apart::Schema, BaseRole::Writer),
            of(Apart::Database, BaseRole::Writer)
        ));
    }
    expect_test::expect_file!["relations.txt"].assert_eq(&lines);
}

#[test]
fn roles_may_list_their_tables_and_functions() {
    let role = Role {
        tables: Some(vec!["invoices".into(), "public.lines".into(), "a.notes".into(), "public.pg_custom".into()]),
        functions: vec![
            "public.f".into(),
            "pg_catalog.pg_advisory_xact_lock".into(),
            "pg_read_file".into(),
            "pg_catalog.set_config".into(),
        ],
        allow: vec!["truncate".into(), "set_role".into()],
        deny: vec!["delete".into()],
        ..role(BaseRole::Writer)
    };
    check(
        &subject_as(Apart::Sealed, &role, SessionState::Pin),
        &[
            "select * from invoices",
            "select * from public.invoices",
            "select * from a.invoices",
            "select * from other.invoices",
            "select * from lines",
            "select * from public.lines",
            "select * from a.lines",
            "select * from notes",
            "select * from a.notes",
            "select * from customers",
            "select * from public.pg_custom",
            "select * from pg_custom",
            "select * from pg_class",
            "select * from invoices i join customers c on true",
            "with customers as (select 1) select * from customers",
            "insert into customers values (1)",
            "delete from invoices",
            "truncate invoices",
            "truncate customers",
            "select f(1), public.f(1), pg_advisory_xact_lock(1), pg_catalog.pg_advisory_xact_lock(1)",
            "select pg_advisory_lock(1)",
            "select pg_read_file('x')",
            "select set_config('app.x', '1', false)",
            "set role x",
            "select nextval('invoices_id_seq')",
        ],
        expect![[r#"
            allow                select * from invoices
            allow                select * from public.invoices
            allow                select * from a.invoices
            schema               select * from other.invoices
            allow                select * from lines
            allow                select * from public.lines
            table                select * from a.lines
            table                select * from notes
            allow                select * from a.notes
            table                select * from customers
            allow                select * from public.pg_custom
            catalog              select * from pg_custom
            allow                select * from pg_class
            table                select * from invoices i join customers c on true
            allow                with customers as (select 1) select * from customers
            table                insert into customers values (1)
            statement_kind       delete from invoices
            allow                truncate invoices
            table                truncate customers
            allow                select f(1), public.f(1), pg_advisory_xact_lock(1), pg_catalog.pg_advisory_xact_lock(1)
            advisory_lock        select pg_advisory_lock(1)
            function             select pg_read_file('x')
            setting              select set_config('app.x', '1', false)
            statement_kind       set role x
            allow                select nextval('invoices_id_seq')
        "#]],
    );
}

#[test]
fn state_that_cannot_follow_is_refused_with_tenants_too() {
    check(
        &subject_as(Apart::Database, &role(BaseRole::Owner), SessionState::Refuse),
        &[
            "listen x",
            "create temp table t (a int)",
            "select pg_advisory_lock(1)",
            "prepare p as select 1",
            "declare c cursor with hold for select 1",
            "select 1",
            "load 'x'",
        ],
        expect![[r#"
            session_state        listen x
            session_state        create temp table t (a int)
            session_state        select pg_advisory_lock(1)
            session_state        prepare p as select 1
            session_state        declare c cursor with hold for select 1
            allow                select 1
            statement_kind       load 'x'
        "#]],
    );
}

#[test]
fn a_tenant_of_another_kind_of_place_is_none() {
    let scope = Scope::of_tenant(&tenancy(Apart::Sealed), &role(BaseRole::Writer), &place(Apart::Schema));
    let rules = Rules { id: NEXT.fetch_add(1, Ordering::Relaxed), session_state: SessionState::Pin, scope };
    let subject = Subject { rules: Arc::new(rules) };
    assert_eq!(rule(&subject, "select 1"), "no_tenant");
    assert_eq!(rule(&subject, ""), "no_tenant");
}

#[test]
fn startup_parameters_are_judged_as_settings() {
    let policy = Policy { generation: 1, compiled: Default::default() };
    let allows = |apart, name, value| policy.allows_setting(&subject(apart, BaseRole::Reader), name, value).is_ok();
    assert!(allows(Apart::Sealed, "TimeZone", "UTC") && allows(Apart::Sealed, "client_encoding", "UTF8"));
    assert!(allows(Apart::Sealed, "search_path", "public, a"));
    for (name, value) in [
        ("search_path", "other"),
        ("app.tenant_id", "2"),
        ("options", "-c app.tenant_id=2"),
        ("role", "x"),
        ("client_encoding", "SJIS"),
        ("session_replication_role", "replica"),
        ("client_min_messages", "log"),
    ] {
        assert!(!allows(Apart::Sealed, name, value) && !allows(Apart::Setting, name, value), "{name}");
    }
}

#[test]
fn a_verdict_is_remembered_for_its_rules_only() {
    let policy = Policy { generation: 7, compiled: Default::default() };
    let (reader, writer) = (subject(Apart::Sealed, BaseRole::Reader), subject(Apart::Sealed, BaseRole::Writer));
    let analysis = grammar::read(b"insert into t values (1)");
    assert!(matches!(policy.judge(&writer, &analysis), Verdict::Allow(admitted) if admitted.generation() == 7));
    assert!(matches!(policy.judge(&reader, &analysis), Verdict::Refuse(_)));
    assert!(matches!(policy.judge(&writer, &analysis), Verdict::Allow(_)));
    assert!(!analysis.clone().admission.is_by(writer.rules.id), "a copy has been judged by nobody");
}
