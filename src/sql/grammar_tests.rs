use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::super::{Relation, RelationUsage, fingerprints};
use super::*;

/// One line a text: kind, access, effects, relations, functions, parameters; then the text's summary.
fn show(text: &str) -> String {
    let analysis = read(text.as_bytes());
    if let Some(failure) = &analysis.failure {
        return format!("{failure:?} ({:?})", analysis.summary);
    }
    let statements: Vec<_> = analysis.statements.iter().map(|statement| show_statement(text, statement)).collect();
    format!("{} ({:?})", statements.join("; "), analysis.summary)
}

fn show_statement(text: &str, statement: &Statement) -> String {
    let mut parts = vec![format!("{:?} {:?}", statement.kind, statement.access)];
    parts.extend(statement.relations.iter().map(|Relation { schema, name, usage }| {
        let schema = schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
        let usage = if *usage == RelationUsage::Read { String::new() } else { format!(":{usage:?}") };
        format!("<{schema}{name}{usage}>")
    }));
    parts.extend(statement.functions.iter().map(|name| format!("{}()", name.join("."))));
    parts.extend(statement.effects.iter().map(|effect| match effect {
        Effect::Prepare { name, name_span } => format!("Prepare({name} at {:?})", &text[name_span.clone()]),
        Effect::Execute { name, name_span } => format!("Execute({name} at {:?})", &text[name_span.clone()]),
        Effect::Deallocate { name, name_span } => format!("Deallocate({name} at {:?})", &text[name_span.clone()]),
        Effect::SetSession { name } => format!("SetSession({name})"),
        Effect::SetLocal { name } => format!("SetLocal({name})"),
        effect => format!("{effect:?}"),
    }));
    if statement.parameters_max > 0 {
        parts.push(format!("${}", statement.parameters_max));
    }
    parts.join(" ")
}

fn check(texts: &[&str], expected: Expect) {
    let lines: Vec<_> = texts.iter().map(|text| format!("{}\n    {}\n", text.trim(), show(text))).collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn queries_name_what_they_touch() {
    check(
        &[
            "select 1",
            "select * from t where id = $2 and x = $1",
            "select a, (select b from s.u) from only t, lateral (select * from v) w",
            "values (1), (2)",
            "table secret",
            "select 1 union all table secret",
            "select passwd end from secret",
            "select 1 end; delete from secret",
            "copy t from stdin; drop table s",
            "select b from t where a >-- 2 and b='\n 5 union all select passwd from secret --'\n 1",
            "select passwd like from secret",
            "update only t set a = 1",
            "a &>$$ from public_t --$$ from secret",
            "select a &>$$ from public_t --$$ from secret",
            "select 1 into x",
            "SELECT 'a\\''; drop table t --'",
            "insert into t (a) values (1) returning (select max(x) from u)",
            "insert into t select * from s on conflict (a) do update set b = (select c from d)",
            "update t set a = s.a from s where exists (select from u)",
            "delete from t using s where t.id = s.id returning *",
            "merge into t using (select * from s) x on t.id = x.id when matched then delete when not matched then insert values (1)",
            "with invoices as (select * from invoices) select * from invoices",
            "with a as (select * from b), b as (select * from a) select * from a, b",
            "with recursive a as (select * from b), b as (select * from a) select * from a, b, public.a",
            "with t as (select 1) insert into t select * from t",
            "with d as (delete from t returning *) select * from d",
            "select * from (with x as (select 1) select * from x) y, x",
            "with x as (select 1) select (with y as (select * from x) select * from y), (select 1 from y)",
            "with x as (select 1) select * from x union select * from (select * from x) z",
            "select * from t for update of t",
            "select * from a join b using (id) left join c on true, rows from (generate_series(1, 2), f(3)) as r",
            "select * from t tablesample bernoulli (10)",
            "select * from xmltable('/a' passing (select d from doc) columns x int) x",
            "select json_object('a': (select b from c))",
            "select case when exists (select 1 from a) then array(select b from c) end",
            "select (x).pg_sleep, y.pg_advisory_lock from t",
            "declare c cursor for select * from secret",
            "explain select * from t",
            "explain (analyze, buffers) delete from t",
            "explain (analyze off) delete from t",
            "explain (analyze false, analyze true) delete from t",
            "create view v as select * from secret",
            "create materialized view v as select * from secret",
            "create rule r as on insert to t do instead delete from secret",
            "create function f() returns int begin atomic delete from secret; select set_config('a.b','c',false); end",
            "grant select on t to x",
            "drop table a.b, c",
            "truncate t, u",
            "lock table t in share mode",
            "comment on table t is 'x'",
            "alter table t add column c int default f()",
            "create table t (id int default nextval('s'), p int references parent)",
            "create table t (like u)",
            "create table p partition of t for values in (set_config('a.b','c',false))",
            "create index on t (lower(name))",
            "refresh materialized view v",
            "vacuum analyze t",
            "analyze t (a)",
            "cluster t",
            "reindex table t",
            "copy t to stdout",
            "copy (select * from secret) to stdout",
            "copy t from '/etc/passwd'",
            "copy t to program 'sh'",
            "copy t from stdin with (freeze on)",
            "import foreign schema a from server b into c",
            "notify x, 'y'",
            "checkpoint",
            "show search_path",
            "fetch 5 from c",
            "move c",
            "set constraints all deferred",
            "call p(1)",
            "do $$begin end$$",
        ],
        expect![[r#"
            select 1
                Select Read (plain)
            select * from t where id = $2 and x = $1
                Select Read <t> $2 (plain)
            select a, (select b from s.u) from only t, lateral (select * from v) w
                Select Read <s.u> <t> <v> (plain)
            values (1), (2)
                Values Read (plain)
            table secret
                Select Read <secret> (plain)
            select 1 union all table secret
                Select Read <secret> (plain)
            select passwd end from secret
                Select Read <secret> (plain)
            select 1 end; delete from secret
                Select Read; Delete Write <secret:Delete> (plain multiple writes)
            copy t from stdin; drop table s
                CopyFrom Write <t:Insert>; Drop Write <s:Define> (copy multiple writes)
            select b from t where a >-- 2 and b='
             5 union all select passwd from secret --'
             1
                Syntax { message: "syntax error at or near \"1\"", position: Some(83) } (failed)
            select passwd like from secret
                Select Read <secret> (plain)
            update only t set a = 1
                Update Write <t:Update> (plain writes)
            a &>$$ from public_t --$$ from secret
                Syntax { message: "syntax error at or near \"a\"", position: Some(1) } (failed)
            select a &>$$ from public_t --$$ from secret
                Select Read <secret> (plain)
            select 1 into x
                SelectInto Write <x:Define> (plain writes)
            SELECT 'a\''; drop table t --'
                Select Read (plain)
            insert into t (a) values (1) returning (select max(x) from u)
                Insert Write <t:Insert> <u> max() (plain writes)
            insert into t select * from s on conflict (a) do update set b = (select c from d)
                Insert Write <t:Insert> <s> <d> (plain writes)
            update t set a = s.a from s where exists (select from u)
                Update Write <t:Update> <s> <u> (plain writes)
            delete from t using s where t.id = s.id returning *
                Delete Write <t:Delete> <s> (plain writes)
            merge into t using (select * from s) x on t.id = x.id when matched then delete when not matched then insert values (1)
                Merge Write <t:Merge> <s> (plain writes)
            with invoices as (select * from invoices) select * from invoices
                Select Read <invoices> (plain)
            with a as (select * from b), b as (select * from a) select * from a, b
                Select Read <b> (plain)
            with recursive a as (select * from b), b as (select * from a) select * from a, b, public.a
                Select Read <public.a> (plain)
            with t as (select 1) insert into t select * from t
                Insert Write <t:Insert> (plain writes)
            with d as (delete from t returning *) select * from d
                Select Write <t:Delete> (plain writes)
            select * from (with x as (select 1) select * from x) y, x
                Select Read <x> (plain)
            with x as (select 1) select (with y as (select * from x) select * from y), (select 1 from y)
                Select Read <y> (plain)
            with x as (select 1) select * from x union select * from (select * from x) z
                Select Read (plain)
            select * from t for update of t
                Select Write <t> (plain writes)
            select * from a join b using (id) left join c on true, rows from (generate_series(1, 2), f(3)) as r
                Select Read <a> <b> <c> generate_series() f() UnknownFunction (unknown_function)
            select * from t tablesample bernoulli (10)
                Select Read <t> (plain)
            select * from xmltable('/a' passing (select d from doc) columns x int) x
                Select Read <doc> (plain)
            select json_object('a': (select b from c))
                Select Read <c> (plain)
            select case when exists (select 1 from a) then array(select b from c) end
                Select Read <a> <c> (plain)
            select (x).pg_sleep, y.pg_advisory_lock from t
                Select Read <t> pg_advisory_lock() SessionLock (effects literals)
            declare c cursor for select * from secret
                Declare Read <secret> (plain)
            explain select * from t
                Explain Read <t> (plain)
            explain (analyze, buffers) delete from t
                ExplainAnalyze Write <t:Delete> (plain writes)
            explain (analyze off) delete from t
                Explain Read <t:Delete> (plain)
            explain (analyze false, analyze true) delete from t
                ExplainAnalyze Write <t:Delete> (plain writes)
            create view v as select * from secret
                Create Write <v:Define> <secret> (plain writes)
            create materialized view v as select * from secret
                CreateTableAs Write <v:Define> <secret> (plain writes)
            create rule r as on insert to t do instead delete from secret
                DefineTrigger Write <t:Define> <secret:Delete> (plain writes)
            create function f() returns int begin atomic delete from secret; select set_config('a.b','c',false); end
                DefineFunction Write <secret:Delete> set_config() (plain writes literals)
            grant select on t to x
                Grant Write <t:Define> (plain writes)
            drop table a.b, c
                Drop Write <a.b:Define> <c:Define> (plain writes)
            truncate t, u
                Truncate Write <t:Define> <u:Define> (plain writes)
            lock table t in share mode
                Lock Write <t:Lock> (plain writes)
            comment on table t is 'x'
                Comment Write <t:Define> (plain writes)
            alter table t add column c int default f()
                Alter Write <t:Define> f() UnknownFunction (unknown_function writes)
            create table t (id int default nextval('s'), p int references parent)
                Create Write <t:Define> <s:Name> <parent:Define> nextval() (plain writes literals)
            create table t (like u)
                Create Write <t:Define> <u:Define> (plain writes)
            create table p partition of t for values in (set_config('a.b','c',false))
                Create Write <p:Define> <t:Define> set_config() SetSession(a.b) (effects writes literals)
            create index on t (lower(name))
                Create Write <t:Define> lower() (plain writes)
            refresh materialized view v
                Refresh Write <v:Define> (plain writes)
            vacuum analyze t
                Vacuum Write <t:Define> (plain writes)
            analyze t (a)
                Analyze Write <t:Define> (plain writes)
            cluster t
                Cluster Write <t:Define> (plain writes)
            reindex table t
                Reindex Write <t:Define> (plain writes)
            copy t to stdout
                CopyTo Read <t> (copy)
            copy (select * from secret) to stdout
                CopyTo Read <secret> (copy)
            copy t from '/etc/passwd'
                CopyFile Write <t:Insert> (copy writes)
            copy t to program 'sh'
                CopyProgram Write <t> (copy writes)
            copy t from stdin with (freeze on)
                CopyFrom Write <t:Insert> (copy writes)
            import foreign schema a from server b into c
                Import Write (plain writes)
            notify x, 'y'
                Notify Write (plain writes)
            checkpoint
                Checkpoint None (plain)
            show search_path
                Show Read (plain)
            fetch 5 from c
                Fetch Read (plain)
            move c
                Move Read (plain)
            set constraints all deferred
                SetConstraints None (plain)
            call p(1)
                Call Write p() Opaque UnknownFunction (effects unknown_function writes)
            do $$begin end$$
                Do Write Opaque (effects writes)
        "#]],
    );
}

#[test]
fn settings_in_every_spelling() {
    check(
        &[
            "set a = 1",
            "SET \"Search_Path\" TO x, y",
            "set session statement_timeout to '5s'",
            "set local lock_timeout = 1",
            "set time zone 'UTC'",
            "set time zone interval '1' hour to minute",
            "set local time zone local",
            "set names 'utf8'",
            "set schema 'x'",
            "set seed to 0.5",
            "set xml option document",
            "set app.tenant_id = '7'",
            "set sort_mem = 1",
            "set a to default",
            "set local a to default",
            "set transaction isolation level serializable",
            "set transaction snapshot 'x'",
            "set local transaction read only",
            "set session characteristics as transaction isolation level serializable, read only, deferrable",
            "set transaction_read_only = on",
            "set role x",
            "set local role x",
            "set role none",
            "set role = 'x'",
            "set session authorization x",
            "set session authorization default",
            "reset role",
            "reset session authorization",
            "reset a",
            "reset time zone",
            "reset transaction isolation level",
            "reset all",
            "set search_path = pg_temp, public",
            "alter system set a = 1",
            "alter role x set search_path = y",
            "alter database d set search_path = y",
            "select set_config('jit', 'off', false)",
            "select pg_catalog.set_config('search_path', '', false)",
            "select set_config('a.b', $1, true)",
            "select set_config('a.b', $1, $2)",
            "select set_config($1, $2, false)",
            "select set_config($1::text, $2, true)",
            "select set_config('Search'||'_path', 'x', false)",
            "select set_config(name, 'x', false) from pg_settings",
            "select set_config('x'::text, 'y', true)",
            "select set_config('x'::varchar(1), 'y', true)",
            "select set_config('x', 'y', is_local => true)",
            "select set_config('x', 'y')",
            "select set_config('role', 'x', false)",
            "select set_config('search_path', 'pg_temp', false)",
            "select set_config(E'\\x61', 'y', false)",
            "select other.set_config('x', 'y', false)",
            "with x as (select set_config('a.b','c',false)) select 1",
            "with x as materialized (select set_config('a.b','c',false)) insert into t select * from x",
            "insert into t values (set_config('a.b','c',false))",
            "update t set a = set_config('a.b','c',false)",
            "delete from t where set_config('a.b','c',false) is null",
            "select 1 order by set_config('a.b','c',false)",
            "select 1 limit (select length(set_config('a.b','c',false)))",
            "values (set_config('a.b','c',false))",
            "select sum(x) filter (where set_config('a.b','c',false) = 'c') over (partition by set_config('d.e','f',true)) from t",
            "select * from set_config('a.b','c',false)",
            "explain analyze select set_config('a.b','c',false)",
            "explain select set_config('a.b','c',false)",
            "create table t as select set_config('a.b','c',false)",
            "copy (select set_config('a.b','c',false)) to stdout",
            "declare c cursor for select set_config('a.b','c',false)",
            "create view v as select set_config('a.b','c',false)",
            "execute q(set_config('a.b','c',false))",
            "call p(set_config('a.b','c',false))",
            "alter table t add column x text default set_config('a.b','c',false)",
            "update pg_settings set setting = 'x' where name = 'y'",
            "update pg_catalog.pg_settings set setting = 'x'",
            "update other.pg_settings set setting = 'x'",
            "explain update pg_settings set setting = 'x'",
            "select setseed(0.5)",
        ],
        expect![[r#"
            set a = 1
                Set None SetSession(a) (effects)
            SET "Search_Path" TO x, y
                Set None SetSession(search_path) (effects)
            set session statement_timeout to '5s'
                Set None SetSession(statement_timeout) (effects)
            set local lock_timeout = 1
                SetLocal None SetLocal(lock_timeout) (effects)
            set time zone 'UTC'
                Set None SetSession(timezone) (effects)
            set time zone interval '1' hour to minute
                Set None SetSession(timezone) (effects)
            set local time zone local
                SetLocal None SetLocal(timezone) (effects)
            set names 'utf8'
                Set None SetSession(client_encoding) (effects)
            set schema 'x'
                Set None SetSession(search_path) (effects)
            set seed to 0.5
                Set None SetSession(seed) (effects)
            set xml option document
                Set None SetSession(xmloption) (effects)
            set app.tenant_id = '7'
                Set None SetSession(app.tenant_id) (effects)
            set sort_mem = 1
                Set None SetSession(work_mem) (effects)
            set a to default
                Set None Reset { name: "a" } (effects)
            set local a to default
                SetLocal None SetLocal(a) (effects)
            set transaction isolation level serializable
                SetTransaction None (transaction)
            set transaction snapshot 'x'
                SetTransaction None (transaction)
            set local transaction read only
                SetTransaction None (transaction)
            set session characteristics as transaction isolation level serializable, read only, deferrable
                SetSessionCharacteristics None SetSession(default_transaction_isolation) SetSession(default_transaction_read_only) SetSession(default_transaction_deferrable) (effects)
            set transaction_read_only = on
                Set None SetLocal(transaction_read_only) (effects)
            set role x
                SetRole None Identity (effects)
            set local role x
                SetRole None Identity (effects)
            set role none
                SetRole None Identity (effects)
            set role = 'x'
                SetRole None Identity (effects)
            set session authorization x
                SetSessionAuthorization None Identity (effects)
            set session authorization default
                SetSessionAuthorization None Identity (effects)
            reset role
                Reset None Identity (effects)
            reset session authorization
                Reset None Identity (effects)
            reset a
                Reset None Reset { name: "a" } (effects)
            reset time zone
                Reset None Reset { name: "timezone" } (effects)
            reset transaction isolation level
                Reset None SetLocal(transaction_isolation) (effects)
            reset all
                ResetAll None ResetAll (effects)
            set search_path = pg_temp, public
                Set None SetSession(search_path) TempObject (effects)
            alter system set a = 1
                AlterSystem Write (plain writes)
            alter role x set search_path = y
                Administer Write (plain writes)
            alter database d set search_path = y
                Administer Write (plain writes)
            select set_config('jit', 'off', false)
                Select Read set_config() SetSession(jit) (effects literals)
            select pg_catalog.set_config('search_path', '', false)
                Select Read pg_catalog.set_config() SetSession(search_path) (effects literals)
            select set_config('a.b', $1, true)
                Select Read set_config() SetLocal(a.b) $1 (effects literals)
            select set_config('a.b', $1, $2)
                Select Read set_config() SetSession(a.b) $2 (effects literals)
            select set_config($1, $2, false)
                Select Read set_config() SetParameter { index: 1 } $2 (effects literals)
            select set_config($1::text, $2, true)
                Select Read set_config() SetParameter { index: 1 } $2 (effects literals)
            select set_config('Search'||'_path', 'x', false)
                Select Read set_config() SetUnknown (effects literals)
            select set_config(name, 'x', false) from pg_settings
                Select Read <pg_settings> set_config() SetUnknown (effects literals)
            select set_config('x'::text, 'y', true)
                Select Read set_config() SetLocal(x) (effects literals)
            select set_config('x'::varchar(1), 'y', true)
                Select Read set_config() SetUnknown (effects literals)
            select set_config('x', 'y', is_local => true)
                Select Read set_config() SetSession(x) (effects literals)
            select set_config('x', 'y')
                Select Read set_config() SetUnknown (effects literals)
            select set_config('role', 'x', false)
                Select Read set_config() Identity (effects literals)
            select set_config('search_path', 'pg_temp', false)
                Select Read set_config() SetSession(search_path) TempObject (effects literals)
            select set_config(E'\x61', 'y', false)
                Select Read set_config() SetSession(a) (effects literals)
            select other.set_config('x', 'y', false)
                Select Read other.set_config() UnknownFunction (unknown_function)
            with x as (select set_config('a.b','c',false)) select 1
                Select Read set_config() SetSession(a.b) (effects literals)
            with x as materialized (select set_config('a.b','c',false)) insert into t select * from x
                Insert Write <t:Insert> set_config() SetSession(a.b) (effects writes literals)
            insert into t values (set_config('a.b','c',false))
                Insert Write <t:Insert> set_config() SetSession(a.b) (effects writes literals)
            update t set a = set_config('a.b','c',false)
                Update Write <t:Update> set_config() SetSession(a.b) (effects writes literals)
            delete from t where set_config('a.b','c',false) is null
                Delete Write <t:Delete> set_config() SetSession(a.b) (effects writes literals)
            select 1 order by set_config('a.b','c',false)
                Select Read set_config() SetSession(a.b) (effects literals)
            select 1 limit (select length(set_config('a.b','c',false)))
                Select Read length() set_config() SetSession(a.b) (effects literals)
            values (set_config('a.b','c',false))
                Values Read set_config() SetSession(a.b) (effects literals)
            select sum(x) filter (where set_config('a.b','c',false) = 'c') over (partition by set_config('d.e','f',true)) from t
                Select Read <t> sum() set_config() SetSession(a.b) SetLocal(d.e) (effects literals)
            select * from set_config('a.b','c',false)
                Select Read set_config() SetSession(a.b) (effects literals)
            explain analyze select set_config('a.b','c',false)
                ExplainAnalyze Read set_config() SetSession(a.b) (effects literals)
            explain select set_config('a.b','c',false)
                Explain Read set_config() (plain literals)
            create table t as select set_config('a.b','c',false)
                CreateTableAs Write <t:Define> set_config() SetSession(a.b) (effects writes literals)
            copy (select set_config('a.b','c',false)) to stdout
                CopyTo Read set_config() SetSession(a.b) (copy effects literals)
            declare c cursor for select set_config('a.b','c',false)
                Declare Read set_config() SetSession(a.b) (effects literals)
            create view v as select set_config('a.b','c',false)
                Create Write <v:Define> set_config() (plain writes literals)
            execute q(set_config('a.b','c',false))
                Execute Write set_config() Execute(q at "q") SetUnknown SetSession(a.b) (effects writes literals)
            call p(set_config('a.b','c',false))
                Call Write p() set_config() Opaque UnknownFunction SetSession(a.b) (effects unknown_function writes literals)
            alter table t add column x text default set_config('a.b','c',false)
                Alter Write <t:Define> set_config() SetSession(a.b) (effects writes literals)
            update pg_settings set setting = 'x' where name = 'y'
                Update Write <pg_settings:Update> SetUnknown (effects writes)
            update pg_catalog.pg_settings set setting = 'x'
                Update Write <pg_catalog.pg_settings:Update> SetUnknown (effects writes)
            update other.pg_settings set setting = 'x'
                Update Write <other.pg_settings:Update> (plain writes)
            explain update pg_settings set setting = 'x'
                Explain Read <pg_settings:Update> (plain)
            select setseed(0.5)
                Select Read setseed() SetSession(seed) (effects literals)
        "#]],
    );
}

#[test]
fn session_state_of_other_kinds() {
    check(
        &[
            "discard all",
            "discard plans",
            "discard sequences",
            "discard temp",
            "prepare p as select 1",
            "prepare \"P q\" (int) as select set_config('a.b','c',false), pg_advisory_lock(1)",
            "PREPARE /* x */ Name AS delete from t",
            "execute p",
            "execute \"a\"\"b\" (1, 2)",
            "explain execute p",
            "explain (analyze) execute p(1)",
            "explain analyze verbose execute execute",
            "create table t as execute p",
            "create temp table execute (a) with (fillfactor = 10) on commit drop as execute p (1) with no data",
            "explain create table t as execute p",
            "explain (analyze) create table if not exists s.\"as\" as /* x */ execute U&\"d\\0061t\"",
            "execute U&\"d!0061t\" uescape '!'",
            "deallocate p",
            "deallocate prepare p",
            "deallocate prepare",
            "deallocate prepare prepare",
            "deallocate all",
            "deallocate prepare all",
            "deallocate \"all\"",
            "execute Été",
            "execute aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg",
            "select 1; prepare x as select 2; -- c\n execute x",
            "listen \"X\"",
            "listen x",
            "unlisten x",
            "unlisten *",
            "declare c cursor with hold for select 1",
            "declare c insensitive scroll cursor without hold for select 1",
            "close c",
            "close all",
            "load 'x'",
            "create temp table t (a int)",
            "create temporary table t as select 1",
            "create local temp table t (a int) on commit drop",
            "create temp view v as select 1",
            "create temp sequence s",
            "select 1 into temp t",
            "select 1 into pg_temp.t",
            "create table pg_temp.t (a int)",
            "create table pg_temp_3.t (a int)",
            "create function pg_temp.f() returns int language sql as 'select 1'",
            "create type pg_temp.t as (a int)",
            "create domain pg_temp.d as int",
            "select * from pg_temp.t",
            "select pg_temp.f()",
            "select 1::pg_temp.d",
            "select nspname !~ '^pg_temp_' from pg_namespace",
            "insert into pg_temp.t values (1)",
            "create unlogged table t (a int)",
            "create extension x schema pg_temp",
            "import foreign schema a from server b into pg_temp",
            "select pg_advisory_lock(1)",
            "select pg_try_advisory_lock_shared(1, 2)",
            "select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(1)",
            "select pg_advisory_unlock(1), pg_advisory_unlock_shared(1)",
            "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
            "select x.pg_advisory_lock from generate_series(1::bigint, 2) x",
            "select (id).pg_advisory_lock from t",
            "select nextval('s')",
            "select setval('s', 1), currval('s'), lastval()",
            "select query_to_xml('select 1', true, true, '')",
            "select ts_rewrite('a'::tsquery, 'b'::tsquery, 'c'::tsquery)",
            "select ts_rewrite('a'::tsquery, 'select 1')",
            "select pg_create_physical_replication_slot('x', true, true)",
            "select lo_create(0)",
            "select pg_notify('x', 'y')",
            "select dblink('x', 'y')",
            "select public.dblink('x', 'y'), s.xpath_table('a', 'b', 'c', 'd', 'e')",
            "select my_function(1)",
            "select public.my_function(1)",
            "select information_schema._pg_expandarray(indkey) from pg_index",
            "select now(), count(*), coalesce(a, b), extract(year from d), 'x'::regclass, to_regclass('x') from t",
        ],
        expect![[r#"
            discard all
                Discard(All) None DiscardAll (effects)
            discard plans
                Discard(Plans) None Discard(Plans) (effects)
            discard sequences
                Discard(Sequences) None Discard(Sequences) (effects)
            discard temp
                Discard(Temp) None Discard(Temp) (effects)
            prepare p as select 1
                Prepare Read Prepare(p at "p") (effects)
            prepare "P q" (int) as select set_config('a.b','c',false), pg_advisory_lock(1)
                Prepare Read set_config() pg_advisory_lock() Prepare(P q at "\"P q\"") SetUnknown SessionLock (effects literals)
            PREPARE /* x */ Name AS delete from t
                Prepare Write <t:Delete> Prepare(name at "Name") (effects writes)
            execute p
                Execute Write Execute(p at "p") SetUnknown (effects writes)
            execute "a""b" (1, 2)
                Execute Write Execute(a"b at "\"a\"\"b\"") SetUnknown (effects writes)
            explain execute p
                Explain Read Execute(p at "p") SetUnknown (effects)
            explain (analyze) execute p(1)
                ExplainAnalyze Write Execute(p at "p") SetUnknown (effects writes)
            explain analyze verbose execute execute
                ExplainAnalyze Write Execute(execute at "execute") SetUnknown (effects writes)
            create table t as execute p
                CreateTableAs Write <t:Define> Execute(p at "p") SetUnknown (effects writes)
            create temp table execute (a) with (fillfactor = 10) on commit drop as execute p (1) with no data
                CreateTableAs Write <execute:Define> Execute(p at "p") SetUnknown TempObject (effects writes)
            explain create table t as execute p
                Explain Read <t:Define> Execute(p at "p") SetUnknown (effects)
            explain (analyze) create table if not exists s."as" as /* x */ execute U&"d\0061t"
                ExplainAnalyze Write <s.as:Define> Execute(dat at "U&\"d\\0061t\"") SetUnknown (effects writes)
            execute U&"d!0061t" uescape '!'
                Execute Write Execute(dat at "U&\"d!0061t\" uescape '!'") SetUnknown (effects writes)
            deallocate p
                Deallocate None Deallocate(p at "p") (effects)
            deallocate prepare p
                Deallocate None Deallocate(p at "p") (effects)
            deallocate prepare
                Deallocate None Deallocate(prepare at "prepare") (effects)
            deallocate prepare prepare
                Deallocate None Deallocate(prepare at "prepare") (effects)
            deallocate all
                DeallocateAll None DeallocateAll (effects)
            deallocate prepare all
                DeallocateAll None DeallocateAll (effects)
            deallocate "all"
                Deallocate None Deallocate(all at "\"all\"") (effects)
            execute Été
                Execute Write Execute(Été at "Été") SetUnknown (effects writes)
            execute aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg
                Execute Write Execute(aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg at "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg") SetUnknown (effects writes)
            select 1; prepare x as select 2; -- c
             execute x
                Select Read; Prepare Read Prepare(x at "x"); Execute Write Execute(x at "x") SetUnknown (effects multiple writes)
            listen "X"
                Listen Write Listen { channel: "X" } (effects writes)
            listen x
                Listen Write Listen { channel: "x" } (effects writes)
            unlisten x
                Unlisten None Unlisten { channel: "x" } (effects)
            unlisten *
                UnlistenAll None UnlistenAll (effects)
            declare c cursor with hold for select 1
                Declare Read HoldCursor { name: "c" } (effects)
            declare c insensitive scroll cursor without hold for select 1
                Declare Read (plain)
            close c
                Close None CloseCursor { name: "c" } (effects)
            close all
                CloseAll None CloseAll (effects)
            load 'x'
                Load None Load (effects)
            create temp table t (a int)
                Create Write <t:Define> TempObject (effects writes)
            create temporary table t as select 1
                CreateTableAs Write <t:Define> TempObject (effects writes)
            create local temp table t (a int) on commit drop
                Create Write <t:Define> TempObject (effects writes)
            create temp view v as select 1
                Create Write <v:Define> TempObject (effects writes)
            create temp sequence s
                Create Write <s:Define> TempObject (effects writes)
            select 1 into temp t
                SelectInto Write <t:Define> TempObject (effects writes)
            select 1 into pg_temp.t
                SelectInto Write <pg_temp.t:Define> TempObject (effects writes)
            create table pg_temp.t (a int)
                Create Write <pg_temp.t:Define> TempObject (effects writes)
            create table pg_temp_3.t (a int)
                Create Write <pg_temp_3.t:Define> TempObject (effects writes)
            create function pg_temp.f() returns int language sql as 'select 1'
                DefineFunction Write TempObject (effects writes)
            create type pg_temp.t as (a int)
                Create Write <pg_temp.t:Define> TempObject (effects writes)
            create domain pg_temp.d as int
                Create Write TempObject (effects writes)
            select * from pg_temp.t
                Select Read <pg_temp.t> TempObject (effects)
            select pg_temp.f()
                Select Read pg_temp.f() TempObject UnknownFunction (effects unknown_function)
            select 1::pg_temp.d
                Select Read TempObject (effects)
            select nspname !~ '^pg_temp_' from pg_namespace
                Select Read <pg_namespace> (plain)
            insert into pg_temp.t values (1)
                Insert Write <pg_temp.t:Insert> TempObject (effects writes)
            create unlogged table t (a int)
                Create Write <t:Define> (plain writes)
            create extension x schema pg_temp
                Administer Write TempObject (effects writes)
            import foreign schema a from server b into pg_temp
                Import Write TempObject (effects writes)
            select pg_advisory_lock(1)
                Select Read pg_advisory_lock() SessionLock (effects literals)
            select pg_try_advisory_lock_shared(1, 2)
                Select Read pg_try_advisory_lock_shared() SessionLock (effects literals)
            select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(1)
                Select Read pg_advisory_xact_lock() pg_try_advisory_xact_lock_shared() (plain literals)
            select pg_advisory_unlock(1), pg_advisory_unlock_shared(1)
                Select Read pg_advisory_unlock() pg_advisory_unlock_shared() SessionUnlock (effects literals)
            SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;
                Select Read pg_advisory_unlock_all() SessionUnlockAll; CloseAll None CloseAll; UnlistenAll None UnlistenAll; ResetAll None ResetAll (effects multiple literals)
            select x.pg_advisory_lock from generate_series(1::bigint, 2) x
                Select Read pg_advisory_lock() generate_series() SessionLock (effects literals)
            select (id).pg_advisory_lock from t
                Select Read <t> pg_advisory_lock() SessionLock (effects literals)
            select nextval('s')
                Select Write <s:Name> nextval() Sequence { reads: false } (effects writes literals)
            select setval('s', 1), currval('s'), lastval()
                Select Write <s:Name> setval() currval() lastval() Sequence { reads: false } Sequence { reads: true } (effects writes literals)
            select query_to_xml('select 1', true, true, '')
                Select Write query_to_xml() Opaque (effects writes literals)
            select ts_rewrite('a'::tsquery, 'b'::tsquery, 'c'::tsquery)
                Select Read ts_rewrite() (plain)
            select ts_rewrite('a'::tsquery, 'select 1')
                Select Write ts_rewrite() Opaque (effects writes literals)
            select pg_create_physical_replication_slot('x', true, true)
                Select Write pg_create_physical_replication_slot() Opaque (effects writes literals)
            select lo_create(0)
                Select Write lo_create() (plain writes literals)
            select pg_notify('x', 'y')
                Select Write pg_notify() (plain writes literals)
            select dblink('x', 'y')
                Select Write dblink() Opaque (effects writes literals)
            select public.dblink('x', 'y'), s.xpath_table('a', 'b', 'c', 'd', 'e')
                Select Write public.dblink() s.xpath_table() UnknownFunction Opaque UnknownFunction Opaque (effects unknown_function writes literals)
            select my_function(1)
                Select Read my_function() UnknownFunction (unknown_function)
            select public.my_function(1)
                Select Read public.my_function() UnknownFunction (unknown_function)
            select information_schema._pg_expandarray(indkey) from pg_index
                Select Read <pg_index> information_schema._pg_expandarray() (plain)
            select now(), count(*), coalesce(a, b), extract(year from d), 'x'::regclass, to_regclass('x') from t
                Select Read <x:Name> <t> now() count() pg_catalog.extract() to_regclass() (plain literals)
        "#]],
    );
}

#[test]
fn transactions_are_told_apart() {
    check(
        &[
            "begin",
            "begin isolation level serializable, read only",
            "start transaction",
            "commit",
            "end",
            "commit and chain",
            "commit and no chain",
            "rollback",
            "abort",
            "rollback and chain",
            "savepoint \"S p\"",
            "release savepoint a",
            "rollback to savepoint a",
            "rollback to a",
            "prepare transaction 'x'",
            "commit prepared 'x'",
            "rollback prepared 'x'",
            "begin; select 1; commit",
        ],
        expect![[r#"
            begin
                Begin None (transaction)
            begin isolation level serializable, read only
                Begin None (transaction)
            start transaction
                Begin None (transaction)
            commit
                Commit None (transaction)
            end
                Commit None (transaction)
            commit and chain
                CommitChain None (transaction)
            commit and no chain
                Commit None (transaction)
            rollback
                Rollback None (transaction)
            abort
                Rollback None (transaction)
            rollback and chain
                RollbackChain None (transaction)
            savepoint "S p"
                Savepoint None Savepoint { name: "S p" } (transaction effects)
            release savepoint a
                Release None Release { name: "a" } (transaction effects)
            rollback to savepoint a
                RollbackTo None RollbackTo { name: "a" } (transaction effects)
            rollback to a
                RollbackTo None RollbackTo { name: "a" } (transaction effects)
            prepare transaction 'x'
                PrepareTransaction Write (transaction writes)
            commit prepared 'x'
                CommitPrepared Write (transaction writes)
            rollback prepared 'x'
                RollbackPrepared Write (transaction writes)
            begin; select 1; commit
                Begin None; Select Read; Commit None (transaction multiple)
        "#]],
    );
}

#[test]
fn definitions_have_coarse_kinds() {
    check(
        &[
            "create schema s create table t (a int)",
            "create tablespace t location '/x'",
            "create extension hstore",
            "create role r password 'x'",
            "create user mapping for x server y",
            "create policy p on t using (tenant = current_setting('a.b'))",
            "create trigger t before insert on t execute function f()",
            "create event trigger e on ddl_command_start execute function f()",
            "create language l",
            "create aggregate a (int) (sfunc = f, stype = int)",
            "create domain d as int check (value > 0)",
            "create operator + (function = f, leftarg = int)",
            "create operator class c for type int using btree as operator 1 <",
            "create type e as enum ('a')",
            "create type c as (a int)",
            "create type r as range (subtype = int)",
            "create database d",
            "create conversion c for 'utf8' to 'latin1' from f",
            "create cast (int as text) with function f(int)",
            "create transform for int language sql (from sql with function f(internal), to sql with function f(internal))",
            "create publication p for table t",
            "create subscription s connection 'x' publication p",
            "create statistics s on a, b from t",
            "create server s foreign data wrapper f",
            "create foreign table t (a int) server s",
            "create access method a type table handler h",
            "create text search configuration c (copy = simple)",
            "create collation c (locale = 'C')",
            "alter table t rename to u",
            "alter table t owner to x",
            "alter table t set schema s",
            "alter function f() immutable",
            "alter domain d add check (value > 0)",
            "alter type e add value 'x'",
            "alter extension x update",
            "alter role r nologin",
            "alter database d connection limit 1",
            "alter sequence s restart",
            "alter policy p on t using (true)",
            "alter publication p add table t",
            "alter subscription s disable",
            "alter default privileges grant select on tables to x",
            "alter text search configuration c add mapping for word with simple",
            "alter operator + (int, int) set (restrict = none)",
            "alter statistics s set statistics 1",
            "alter event trigger e disable",
            "alter server s options (a 'b')",
            "drop function f(int)",
            "drop role x",
            "drop database d",
            "drop owned by x",
            "reassign owned by a to b",
            "drop tablespace t",
            "drop subscription s",
            "drop user mapping for x server y",
            "drop type t",
            "grant a to b",
            "revoke select on t from x",
            "security label on table t is 'x'",
            "comment on column t.c is 'x'",
        ],
        expect![[r#"
            create schema s create table t (a int)
                Create Write <t:Define> (plain writes)
            create tablespace t location '/x'
                Administer Write (plain writes)
            create extension hstore
                Administer Write (plain writes)
            create role r password 'x'
                Administer Write (plain writes)
            create user mapping for x server y
                Administer Write (plain writes)
            create policy p on t using (tenant = current_setting('a.b'))
                DefineTrigger Write <t:Define> current_setting() (plain writes)
            create trigger t before insert on t execute function f()
                DefineTrigger Write <t:Define> f() (plain writes)
            create event trigger e on ddl_command_start execute function f()
                Administer Write (plain writes)
            create language l
                Administer Write (plain writes)
            create aggregate a (int) (sfunc = f, stype = int)
                DefineFunction Write (plain writes)
            create domain d as int check (value > 0)
                Create Write (plain writes)
            create operator + (function = f, leftarg = int)
                Administer Write (plain writes)
            create operator class c for type int using btree as operator 1 <
                Administer Write (plain writes)
            create type e as enum ('a')
                Create Write (plain writes)
            create type c as (a int)
                Create Write <c:Define> (plain writes)
            create type r as range (subtype = int)
                Create Write (plain writes)
            create database d
                Administer Write (plain writes)
            create conversion c for 'utf8' to 'latin1' from f
                Administer Write (plain writes)
            create cast (int as text) with function f(int)
                Administer Write (plain writes)
            create transform for int language sql (from sql with function f(internal), to sql with function f(internal))
                Administer Write (plain writes)
            create publication p for table t
                Administer Write <t:Define> (plain writes)
            create subscription s connection 'x' publication p
                Administer Write (plain writes)
            create statistics s on a, b from t
                Create Write <t:Define> (plain writes)
            create server s foreign data wrapper f
                Administer Write (plain writes)
            create foreign table t (a int) server s
                Administer Write <t:Define> (plain writes)
            create access method a type table handler h
                Administer Write (plain writes)
            create text search configuration c (copy = simple)
                Create Write (plain writes)
            create collation c (locale = 'C')
                Create Write (plain writes)
            alter table t rename to u
                Alter Write <t:Define> (plain writes)
            alter table t owner to x
                Alter Write <t:Define> (plain writes)
            alter table t set schema s
                Alter Write <t:Define> (plain writes)
            alter function f() immutable
                DefineFunction Write (plain writes)
            alter domain d add check (value > 0)
                Alter Write (plain writes)
            alter type e add value 'x'
                Alter Write (plain writes)
            alter extension x update
                Administer Write (plain writes)
            alter role r nologin
                Administer Write (plain writes)
            alter database d connection limit 1
                Administer Write (plain writes)
            alter sequence s restart
                Alter Write <s:Define> (plain writes)
            alter policy p on t using (true)
                DefineTrigger Write <t:Define> (plain writes)
            alter publication p add table t
                Administer Write <t:Define> (plain writes)
            alter subscription s disable
                Administer Write (plain writes)
            alter default privileges grant select on tables to x
                Grant Write (plain writes)
            alter text search configuration c add mapping for word with simple
                Alter Write (plain writes)
            alter operator + (int, int) set (restrict = none)
                Administer Write (plain writes)
            alter statistics s set statistics 1
                Alter Write (plain writes)
            alter event trigger e disable
                Administer Write (plain writes)
            alter server s options (a 'b')
                Administer Write (plain writes)
            drop function f(int)
                DefineFunction Write (plain writes)
            drop role x
                Administer Write (plain writes)
            drop database d
                Administer Write (plain writes)
            drop owned by x
                Administer Write (plain writes)
            reassign owned by a to b
                Administer Write (plain writes)
            drop tablespace t
                Administer Write (plain writes)
            drop subscription s
                Administer Write (plain writes)
            drop user mapping for x server y
                Administer Write (plain writes)
            drop type t
                Drop Write (plain writes)
            grant a to b
                Administer Write (plain writes)
            revoke select on t from x
                Grant Write <t:Define> (plain writes)
            security label on table t is 'x'
                SecurityLabel Write <t:Define> (plain writes)
            comment on column t.c is 'x'
                Comment Write <t:Define> (plain writes)
        "#]],
    );
}

#[test]
fn texts_that_are_no_statement() {
    check(
        &["", ";;", "-- only this", "select from where", "select '", "select $", "create wombat"],
        expect![[r#"

                 (empty)
            ;;
                 (empty)
            -- only this
                 (empty)
            select from where
                Syntax { message: "syntax error at or near \"where\"", position: Some(13) } (failed)
            select '
                Syntax { message: "unterminated quoted string at or near \"'\"", position: Some(8) } (failed)
            select $
                Syntax { message: "syntax error at or near \"$\"", position: Some(8) } (failed)
            create wombat
                Syntax { message: "syntax error at or near \"wombat\"", position: Some(8) } (failed)
        "#]],
    );
}

/// Texts made to go deep, to be long, or to be slow.
fn hostile() -> Vec<(&'static str, String)> {
    let size = 200_000;
    let fill = |piece: &str| piece.repeat(size / piece.len());
    let nest = |open: &str, close: &str, count: usize| format!("select {}1{}", open.repeat(count), close.repeat(count));
    vec![
        ("sum", format!("select 1{}", fill("+1"))),
        ("minus", format!("select {}1", fill("- "))),
        ("signs", format!("select {}1", fill("+-"))),
        ("not", format!("select {} true", fill("not "))),
        ("or", format!("select true{}", fill(" or x=1"))),
        ("concat", format!("select ''{}", fill("||x"))),
        ("cast", format!("select 1{}", fill("::int"))),
        ("is null", format!("select 1{}", fill(" is null"))),
        ("between", format!("select 1{}", fill(" between 1 and 2 is null"))),
        ("collate", format!("select ''{}", fill(" collate c"))),
        ("at time zone", format!("select now(){}", fill(" at time zone 'x'"))),
        ("union", format!("select 1,2{}", fill(" union select 1,2"))),
        ("join", format!("select from a{}", fill(" cross join b"))),
        ("join on", format!("select from a{}", fill(" join b on x and y"))),
        ("case", format!("select {}", fill("case when "))),
        ("case nested", nest("case when true then ", " end", 5_000)),
        ("parentheses", nest("(", ")", 90_000)),
        ("brackets", nest("array[", "]", 25_000)),
        ("subscripts", nest("a[", "]", 50_000)),
        ("calls", nest("f(", ")", 60_000)),
        ("calls 1000", nest("f(", ")", 1_000)),
        ("calls 4000", nest("f(", ")", 4_000)),
        ("subselects 60", nest("(select ", ")", 60)),
        ("subselects 500", nest("(select ", ")", 500)),
        ("subselects", nest("(select ", ")", 20_000)),
        ("rows", nest("row(", ")", 40_000)),
        ("from", format!("select * from {}a{}", "(select * from ".repeat(8_000), ") b".repeat(8_000))),
        ("with", format!("{}select 1{}", "with a as (".repeat(8_000), ") select 1".repeat(8_000))),
        ("with 700", format!("{}select 1{}", "with a as (".repeat(700), ") select * from t".repeat(700))),
        ("exists", nest("exists (select ", ")", 10_000)),
        ("indirection", format!("select (a){}", fill(".b"))),
        ("dots", format!("select a{}", fill(".b"))),
        ("array type", format!("select 1::int{}", fill("[]"))),
        ("list", format!("select {} 1", fill("1,"))),
        ("in", format!("select 1 in ({} 1)", fill("1,"))),
        ("values", format!("values {} (1)", fill("(1),"))),
        ("lists in lists", nest("f(1,2,(3,4),", ")", 5_000)),
        ("wide lists", format!("select {} f(1)", "f(1,f(2,f(3,f(4,f(5,(6)))))),".repeat(size / 30))),
        ("wide and 90 deep", format!("select {}{}1{}", "f(1,".repeat(90), "g(2),".repeat(size / 6), ")".repeat(90))),
        ("statements", fill("select 1;")),
        ("semicolons", fill(";")),
        (
            "ctes",
            format!(
                "with a as (select 1) {} select 1",
                (0..6_000).map(|i| format!(", a{i} as (select from a)")).collect::<String>()
            ),
        ),
        ("comments", fill("/*")),
        ("closed comments", fill("/**/")),
        ("comments in a comment", format!("/*{}*/ select 1", fill("/**/"))),
        ("line comments", fill("--x\n")),
        ("quotes", fill("'")),
        ("strings", format!("select {}'a'", fill("'a'\n"))),
        ("dollars", fill("$a$")),
        ("dollar tags", format!("select $a${}", fill("$b"))),
        ("one word", fill("a")),
        ("one number", fill("1")),
        ("backslashes", format!("select e'{}'", fill("\\\\"))),
        ("unicode", format!("select u&'{}'", fill("\\0061"))),
        ("operators", format!("select 1 {} 1", fill("<"))),
        ("parameters", format!("select {} $1", fill("$99999999,"))),
        ("set", format!("set x = {} 1", fill("1,"))),
        ("set_config", format!("select {} 1", fill("set_config('a.b','c',false),"))),
    ]
}

#[test]
fn hostile_texts_end_in_time_and_on_a_small_stack() {
    // A worker's stack, and not the test runner's.
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
        for (name, text) in hostile() {
            let begun = std::time::Instant::now();
            let analysis = read(text.as_bytes());
            let took = begun.elapsed();
            if let Some(Failure::Syntax { message, .. }) = &analysis.failure {
                assert!(message.len() < 300, "{name}");
            }
            assert!(took < std::time::Duration::from_secs(5), "{name}: {took:?}");
        }
    });
    worker.expect("a thread").join().expect("no panic");
}

/// What is parsed on the caller's own thread must fit a worker's stack, with room for what called.
#[test]
fn texts_at_the_bound_of_depth_fit_a_small_stack() {
    let nests = [
        ("f(", ")"),
        ("(select ", ")"),
        ("array[", "]"),
        ("a[", "]"),
        ("exists (select from (select 1 where ", ") x)"),
        ("json_object('a': ", ")"),
        ("case when ", " then 1 end"),
        ("- ", ""),
        ("not ", ""),
        ("", " is null"),
        ("", "+1"),
        ("", "::int"),
        ("", " collate c"),
        ("row(", ")"),
        ("cast(", " as int)"),
        ("coalesce(", ")"),
        ("(with a as (select ", ") select 1)"),
        ("", " union select 1"),
        ("x in (select ", ")"),
        ("xmlelement(name a, ", ")"),
    ];
    let worker = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        for (open, close) in nests {
            let text = |count: usize| format!("select {}1{}", open.repeat(count), close.repeat(count));
            let here = |count: &usize| depth::survey(text(*count).as_bytes(), usize::MAX).depth <= DEPTH_HERE;
            let deepest = (1..=DEPTH_HERE).take_while(here).last().expect("one level is parsed here");
            assert!(read(text(deepest).as_bytes()).failure.is_none(), "{}", text(deepest));
            assert!(read(text(deepest + 1).as_bytes()).failure.is_none(), "{}", text(deepest + 1));
        }
    });
    worker.expect("a thread").join().expect("no panic");
}

/// An assertion of the grammar's own failed here, and ended the process of a debug build.
#[test]
fn no_text_aborts_the_process() {
    let analysis = read(b"(select 1 as a order by 1 fetch first row with ties) offset 1");
    assert_eq!(analysis.failure, None);
}

/// SQL that the grammar takes, to be mutated.
const SEEDS: [&str; 8] = [
    "with recursive a as (select * from b where c in (1, 2)) insert into t select f(x), $1 from a on conflict do nothing",
    "prepare p (int) as update t set a = set_config('x', 'y', false) where b = $1",
    "explain (analyze) create table t as execute q(1, 'two')",
    "select u&\"d\\0061t\" uescape '!', e'\\'', $a$ $b$ $a$, /* /* */ */ x.pg_advisory_lock from pg_temp.t x",
    "create function f(a int default 1) returns int begin atomic select 1; select nextval('s'); end",
    "merge into t using s on a = b when matched then update set c = d when not matched then insert values (1)",
    "set session characteristics as transaction read only; deallocate prepare \"a\"\"b\"; execute c; discard all",
    "copy (select json_object('a': b) from xmltable('/a' passing c columns d int) e) to stdout with (format csv)",
];

fn mutated() -> impl Strategy<Value = String> {
    let edit =
        (any::<prop::sample::Index>(), prop_oneof!["[ -~]{0,3}", "(select|\\(|\\)|'|\"|\\$\\$|;|,|--|/\\*|as|\u{e9})"]);
    (prop::sample::select(&SEEDS[..]), prop::collection::vec((edit, 0usize..6), 0..6)).prop_map(|(seed, edits)| {
        let mut characters: Vec<char> = seed.chars().collect();
        for ((at, insert), remove) in edits {
            let at = at.index(characters.len() + 1);
            let end = (at + remove).min(characters.len());
            characters.splice(at..end, insert.chars());
        }
        characters.into_iter().collect()
    })
}

/// An analysis that a reader may index the text with.
fn holds_together(text: &[u8], analysis: &Analysis) {
    for statement in &analysis.statements {
        assert!(text.get(statement.span.clone()).is_some(), "{analysis:?}");
        for effect in &statement.effects {
            if let Effect::Prepare { name_span, .. }
            | Effect::Execute { name_span, .. }
            | Effect::Deallocate { name_span, .. } = effect
            {
                assert!(text.get(name_span.clone()).is_some_and(|name| !name.is_empty()), "{analysis:?}");
            }
        }
    }
    assert_eq!(analysis.failure.is_some(), analysis.summary.has(Summary::FAILED));
    assert_eq!(
        analysis.summary.is_plain(),
        !analysis.statements.is_empty() && {
            let special = |statement: &Statement| {
                !statement.effects.is_empty() || facts_of(statement).any(Summary::TRANSACTION.with(Summary::COPY))
            };
            !analysis.statements.iter().any(special)
        }
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn mutated_sql_is_read_without_panic(text in mutated()) {
        holds_together(text.as_bytes(), &read(text.as_bytes()));
    }

    #[test]
    fn random_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        holds_together(&bytes, &read(&bytes));
    }
}

#[test]
fn what_is_no_text_is_refused() {
    assert_eq!(read(b"select 1\0; drop table t").failure, Some(Failure::Encoding));
    assert_eq!(read(b"select '\xff'").failure, Some(Failure::Encoding));
    assert_eq!(read(&vec![b' '; TEXT_MAX + 1]).failure, Some(Failure::TooComplex));
}

#[test]
fn fingerprints_ignore_literals_only() {
    let fingerprint = |text: &str| fingerprints(text.as_bytes(), &read(text.as_bytes()), 1)[0];
    assert_eq!(fingerprint("select a from t where b = 1"), fingerprint("select a from t where b = 'x'"));
    assert_ne!(fingerprint("select a from t where b = 1"), fingerprint("select a from t where c = 1"));
    assert_ne!(fingerprint("select a from t where b = 1"), 0);
}

#[test]
fn fingerprints_are_the_same_where_a_shape_says_where_statements_are() {
    for text in ["select a from t where b = 1", " /* x */ select 1;", "select 'long'; select b, 2 from t; ; table u"] {
        let exact = read(text.as_bytes());
        let of_shape = Analysis { spans: Spans::Shape, ..exact.clone() };
        let all = fingerprints(text.as_bytes(), &exact, 64);
        assert_eq!(all.len(), exact.statements.len());
        assert!(!all.contains(&0), "{text}");
        assert_eq!(fingerprints(text.as_bytes(), &of_shape, 64), all, "{text}");
    }
    assert_eq!(fingerprints(b"table a; table b", &read(b"table a; table b"), 1).len(), 1);
}

#[test]
fn a_fingerprint_does_not_let_a_literal_be_found() {
    let fingerprint = |text: &str| {
        let analysis = read(text.as_bytes());
        assert_eq!(analysis.failure, None, "{text}");
        fingerprints(text.as_bytes(), &analysis, 1)[0]
    };
    for place in [
        "alter role r password ?",
        "create role r encrypted password ? valid until ?",
        "create user mapping for r server s options (user ?, password ?)",
        "alter server s options (set password ?)",
        "create subscription s connection ? publication p",
        "alter subscription s connection ?",
        "copy t to program ?",
        "comment on table t is ?",
        "security label on table t is ?",
        "alter system set primary_conninfo = ?",
        "create function f() returns text language sql as ?",
        "notify c, ?",
        "do ?",
        "select ?",
    ] {
        let one = fingerprint(&place.replace('?', "'hunter2'"));
        assert_ne!(one, 0, "{place}");
        for other in ["'hunter3'", "E'\\'x'", "$a$ 'x' $a$", "/* x */ 'a'\n 'b'", "'41'"] {
            let text = place.replace('?', other);
            assert_eq!(fingerprint(&text), one, "{text}");
        }
        assert_eq!(fingerprint(&place.replace('?', "U&'a'")), fingerprint(&place.replace('?', "U&'b'")), "{place}");
    }
    assert_eq!(
        fingerprint("create table t (a int) with (fillfactor = 10)"),
        fingerprint("create table t (a int) with (fillfactor = 11)")
    );
    assert_ne!(fingerprint("alter role r password 'x'"), fingerprint("alter role r valid until 'x'"));
}

#[test]
fn spans_are_the_statements_own() {
    let text = " select 1 ; /* x */ select 2 -- y\n; \u{e9};";
    let failed = read(text.as_bytes());
    assert!(failed.failure.is_some());
    let text = " select '\u{e9}' ; /* x */ select 2 -- y\n; table t  ";
    let analysis = read(text.as_bytes());
    let spans: Vec<_> = analysis.statements.iter().map(|statement| &text[statement.span.clone()]).collect();
    assert_eq!(spans, ["select '\u{e9}'", "select 2 -- y", "table t"]);
}

#[test]
fn standard_error_stays_where_it_is_while_texts_are_parsed() {
    let place = || std::fs::read_link("/proc/self/fd/2").expect("a descriptor");
    let before = place();
    std::thread::scope(|scope| {
        let readers = [0, 1].map(|_| scope.spawn(|| (0..2_000).for_each(|_| drop(read(b"select 1")))));
        while !readers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            assert_eq!(place(), before, "libpg_query was compiled without DEBUG: see .cargo/config.toml");
        }
    });
}
