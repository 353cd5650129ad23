//! Classes of attacks: kinds of statements, positions of a subquery, ways to name, settings and errors, multiplied.

use super::client::{Client, Way};
use super::lab::{Ground, Lab, State, Wall};

#[test]
fn no_text_gets_through_both_walls() {
    storm(Wall::BothSealed, Way::Simple);
}

#[test]
fn no_text_gets_through_both_walls_with_a_setting() {
    storm(Wall::BothSetting, Way::Extended);
}

#[test]
fn no_text_gets_through_the_database_alone() {
    storm(Wall::Database, Way::Simple);
}

#[test]
fn no_text_gets_through_the_policy_alone() {
    storm(Wall::Policy, Way::Simple);
}

/// Ways to name what holds tenant 2's rows.
const NAMES: [&str; 36] = [
    "a.invoices",
    "invoices",
    "b.invoices",
    "\"a\".\"invoices\"",
    "A.Invoices",
    "U&\"\\0061\".U&\"in\\0076oices\"",
    "a.U&\"!0069nvoices\" UESCAPE '!'",
    "{db}.a.invoices",
    "ONLY a.invoices",
    "ONLY (a.invoices)",
    "a.invoices *",
    "a.parent",
    "a.parent_2",
    "ONLY a.parent_2",
    "a.family",
    "a.child",
    "a.v_def",
    "a.v_inv",
    "b.v_plain",
    "b.v_bar",
    "a.mv",
    "a.newtable",
    "a.imm",
    "a.perm",
    "a.nullopen",
    "a.all_invoices",
    "bench.big",
    "t2.invoices",
    "saved.\"a.invoices\"",
    "(a.invoices JOIN b.invoices USING (id, tenant_id, email))",
    "{db}.t2.invoices",
    "\"t2\".\"invoices\"",
    "t2 . U&\"\\0069nvoices\"",
    "ten1.vt",
    "a.rr",
    "(TABLE b.invoices) AS x",
];

/// Positions of a scalar subquery `{q}`.
const POSITIONS: [&str; 87] = [
    "SELECT {q}",
    "SELECT {q}::int",
    "SELECT 1 WHERE {q} IS NULL OR {q}::int = 1",
    "SELECT 1 FROM a.customers WHERE name = {q}",
    "SELECT 1 FROM a.customers GROUP BY {q}",
    "SELECT count(*) FROM a.customers HAVING {q}::int = 1",
    "SELECT 1 ORDER BY {q}::int",
    "SELECT 1 LIMIT {q}::int",
    "SELECT 1 OFFSET {q}::int",
    "SELECT 1 FETCH FIRST ({q}::int) ROWS ONLY",
    "SELECT DISTINCT ON ({q}) {q}",
    "SELECT sum(1) OVER (PARTITION BY {q})",
    "SELECT first_value({q}) OVER ()",
    "SELECT lag(1, {q}::int) OVER () FROM a.customers",
    "SELECT sum(1) OVER (ORDER BY 1 ROWS {q}::int PRECEDING) FROM a.customers",
    "SELECT count(*) FILTER (WHERE {q}::int = 1)",
    "SELECT string_agg({q}, ',' ORDER BY {q})",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY {q})",
    "SELECT ARRAY[{q}]",
    "SELECT ARRAY(SELECT {q})",
    "SELECT (ARRAY[1,2])[{q}::int]",
    "SELECT ROW({q})",
    "SELECT CASE {q} WHEN 'x' THEN 1 ELSE 2/0 END, {q}",
    "SELECT CASE WHEN {q} IS NOT NULL THEN {q} END",
    "SELECT COALESCE({q}, 'x'), NULLIF({q}, 'x'), GREATEST({q}, 'a')",
    "SELECT {q} COLLATE \"C\"",
    "SELECT {q} LIKE 'SEC%', {q} ~ 'x', {q} SIMILAR TO 'x'",
    "SELECT {q} BETWEEN 'a' AND {q}",
    "SELECT 1 WHERE 'x' IN ({q}, 'y')",
    "SELECT 'x' = ANY (SELECT {q})",
    "SELECT EXISTS (SELECT {q}), {q} IS DISTINCT FROM 'x'",
    "SELECT EXTRACT(year FROM {q}::date)",
    "SELECT CAST({q} AS date), {q}::uuid",
    "SELECT xmlelement(name x, {q})",
    "SELECT XMLSERIALIZE(CONTENT {q}::xml AS text)",
    "SELECT json_build_object('x', {q})",
    "SELECT to_jsonb({q})",
    "SELECT format('%s', VARIADIC ARRAY[{q}])",
    "SELECT lower(str => {q})",
    "SELECT x FROM unnest(ARRAY[{q}]) x",
    "SELECT * FROM ROWS FROM (unnest(ARRAY[{q}]), generate_series(1, 2)) AS t(a, b)",
    "SELECT * FROM regexp_split_to_table({q}, ',')",
    "SELECT * FROM json_to_record(json_build_object('a', {q})) AS x(a text)",
    "SELECT * FROM XMLTABLE('/x' PASSING xmlelement(name x, {q}) COLUMNS y text PATH '.')",
    "SELECT l.* FROM a.customers c, LATERAL (SELECT {q}, c.id) l",
    "SELECT 1 FROM a.customers c JOIN a.customers d ON {q}::int = 1",
    "SELECT 1 FROM a.customers TABLESAMPLE BERNOULLI ({q}::int)",
    "WITH z AS (SELECT {q}) TABLE z",
    "WITH z AS MATERIALIZED (SELECT {q} e) SELECT e FROM z",
    "WITH RECURSIVE z(e) AS (SELECT {q} UNION ALL SELECT e FROM z WHERE false) SELECT * FROM z",
    "WITH invoices AS (SELECT 1) SELECT {q}",
    "SELECT 1 UNION SELECT length({q}) INTERSECT SELECT {q}::int",
    "VALUES ({q}), ('x')",
    "SELECT * FROM (VALUES ({q})) v",
    "INSERT INTO a.customers(id, name) VALUES (700, {q}) RETURNING name",
    "INSERT INTO a.customers(id, name) SELECT 701, {q} RETURNING name",
    "INSERT INTO a.customers(id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = {q} RETURNING name",
    "UPDATE a.customers SET name = {q} RETURNING name",
    "UPDATE a.customers SET (name) = (SELECT {q}) RETURNING {q}",
    "DELETE FROM a.customers WHERE name = {q} RETURNING {q}",
    "MERGE INTO a.customers c USING (SELECT {q} x) s ON c.name = s.x WHEN NOT MATCHED THEN INSERT (id, name) VALUES (702, s.x)",
    "WITH w AS (UPDATE a.customers SET name = {q} RETURNING name) SELECT * FROM w",
    "EXPLAIN (ANALYZE, VERBOSE) SELECT {q}",
    "COPY (SELECT {q}) TO STDOUT",
    "SELECT 1 FROM a.customers GROUP BY GROUPING SETS (({q}), ())",
    "SELECT 1 FROM a.customers GROUP BY CUBE ({q}), ROLLUP (id)",
    "SELECT sum(1) OVER w FROM a.customers WINDOW w AS (ORDER BY {q} RANGE UNBOUNDED PRECEDING)",
    "SELECT 1 FROM a.customers TABLESAMPLE SYSTEM (100) REPEATABLE ({q}::int)",
    "SELECT * FROM generate_series(1, {q}::int)",
    "SELECT 'x' IN (VALUES ({q}))",
    "SELECT ({q}, 1) = (SELECT 'x', 2), ROW({q}) < ROW('x')",
    "SELECT 1 FROM a.customers c JOIN LATERAL (VALUES ({q})) v(x) ON v.x::int = c.id",
    "INSERT INTO a.customers(id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'y' WHERE {q}::int = 1",
    "INSERT INTO a.customers(id, name) VALUES ({q}::int, 'x')",
    "UPDATE a.customers c SET name = s.x FROM (SELECT {q} x) s RETURNING c.name",
    "UPDATE a.customers SET (name, id) = ROW({q}, id) WHERE id = 1 RETURNING name",
    "DELETE FROM a.customers USING (SELECT {q} x) s WHERE s.x::int = 1",
    "MERGE INTO a.customers c USING (SELECT 1 id) s ON c.id = s.id WHEN MATCHED AND {q}::int = 1 THEN DELETE",
    "MERGE INTO a.customers c USING (SELECT 1 id) s ON c.id = s.id WHEN MATCHED THEN UPDATE SET name = {q}; TABLE a.customers",
    "BEGIN; DECLARE k CURSOR FOR SELECT {q}; FETCH ALL FROM k; COMMIT",
    "PREPARE p AS SELECT {q}; EXECUTE p; DEALLOCATE p",
    "PREPARE p(text) AS SELECT $1; EXECUTE p({q}); DEALLOCATE p",
    "COPY (UPDATE a.customers SET name = {q} RETURNING name) TO STDOUT",
    "CREATE TABLE a.stolen AS SELECT {q} e",
    "WITH RECURSIVE z(e) AS (SELECT {q} UNION ALL SELECT e FROM z) CYCLE e SET c USING p SELECT e FROM z",
    "CALL a.badsd({q})",
    "SELECT (x).email FROM (SELECT {q} AS email) x",
];

/// Statements on a relation `{r}`.
const STATEMENTS: [&str; 66] = [
    "SELECT * FROM {r}",
    "TABLE {r}",
    "SELECT x FROM {r} x",
    "SELECT x.*, x FROM {r} AS x",
    "SELECT to_json(x), x::text FROM {r} x",
    "SELECT email FROM {r} FOR UPDATE",
    "SELECT email FROM {r} FOR KEY SHARE SKIP LOCKED",
    "SELECT email FROM {r} TABLESAMPLE SYSTEM (100)",
    "SELECT email FROM {r} WHERE tenant_id = 2",
    "SELECT email FROM {r} WHERE tenant_id OPERATOR(pg_catalog.<>) 1",
    "SELECT email FROM {r} WHERE ctid IS NOT NULL AND tableoid > 0 OR true",
    "SELECT r.email FROM a.customers c RIGHT JOIN {r} r ON false",
    "SELECT r.email FROM a.customers c FULL JOIN {r} r ON c.id = r.id",
    "SELECT email FROM {r} EXCEPT SELECT ''",
    "SELECT max(email), min(email), string_agg(email, ',') FROM {r}",
    "SELECT email FROM {r} ORDER BY tenant_id DESC FETCH FIRST 3 ROWS WITH TIES",
    "COPY {r} TO STDOUT",
    "COPY {r} (email) TO STDOUT WITH (FORMAT csv, HEADER)",
    "COPY (TABLE {r}) TO STDOUT (FORMAT binary)",
    "COPY {r} TO PROGRAM 'cat'",
    "COPY {r} TO '/tmp/pgwarden-attack'",
    "COPY {r} FROM STDIN",
    "BEGIN; DECLARE k CURSOR FOR SELECT email FROM {r}; FETCH ALL FROM k; COMMIT",
    "PREPARE p AS SELECT email FROM {r}; EXECUTE p; DEALLOCATE p",
    "PREPARE p AS UPDATE {r} SET amount = 0 RETURNING email; EXECUTE p; DEALLOCATE p",
    "EXPLAIN (ANALYZE, VERBOSE, BUFFERS) SELECT email FROM {r} WHERE email LIKE 'SECRET%'",
    "EXPLAIN (GENERIC_PLAN) SELECT * FROM {r} WHERE id = $1",
    "UPDATE {r} SET email = email RETURNING email",
    "UPDATE {r} SET tenant_id = 1 RETURNING email",
    "UPDATE {r} SET tenant_id = 1 WHERE tenant_id = 2 RETURNING *",
    "UPDATE {r} AS x SET amount = 0 FROM a.customers c WHERE true RETURNING x.email",
    "DELETE FROM {r} RETURNING email",
    "DELETE FROM {r} WHERE tenant_id = 2",
    "DELETE FROM {r} USING a.customers RETURNING *",
    "INSERT INTO {r} (id, tenant_id, email) VALUES (101, 2, 'forged') RETURNING email",
    "INSERT INTO {r} (id, tenant_id, email) VALUES (101, 1, 'x') ON CONFLICT (id) DO UPDATE SET amount = 0 RETURNING email",
    "INSERT INTO {r} (id, tenant_id, email) SELECT id + 9000, 2, 'forged' FROM a.invoices",
    "INSERT INTO {r} OVERRIDING SYSTEM VALUE SELECT * FROM {r} WHERE tenant_id = 2 RETURNING *",
    "MERGE INTO {r} t USING a.customers c ON true WHEN MATCHED THEN UPDATE SET amount = 0",
    "MERGE INTO {r} t USING {r} s ON t.id = s.id WHEN MATCHED THEN DELETE",
    "MERGE INTO a.customers t USING {r} s ON false WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id + 9100, s.email)",
    "CREATE TABLE a.stolen AS SELECT * FROM {r}",
    "CREATE TEMP TABLE stolen AS SELECT * FROM {r}; SELECT * FROM stolen",
    "SELECT * INTO TEMP stolen FROM {r}; TABLE stolen",
    "CREATE TEMP VIEW seen AS SELECT * FROM {r}; TABLE seen",
    "CREATE VIEW a.seen AS SELECT * FROM {r}",
    "CREATE MATERIALIZED VIEW a.seen AS SELECT * FROM {r}",
    "CREATE RULE r AS ON SELECT TO {r} DO INSTEAD SELECT 1",
    "CREATE INDEX ON {r} ((email::int))",
    "CREATE STATISTICS s ON email, id FROM {r}",
    "CREATE TRIGGER t BEFORE UPDATE ON {r} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE POLICY mine ON {r} USING (true)",
    "CREATE PUBLICATION p FOR TABLE {r}",
    "ALTER TABLE {r} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {r} OWNER TO CURRENT_USER",
    "ALTER TABLE {r} ADD CHECK (email::int > 0)",
    "ALTER TABLE {r} ALTER email TYPE int USING email::int",
    "GRANT ALL ON {r} TO PUBLIC",
    "TRUNCATE {r}",
    "LOCK TABLE {r} IN ACCESS EXCLUSIVE MODE",
    "DROP TABLE {r} CASCADE",
    "COMMENT ON TABLE {r} IS 'mine'",
    "ANALYZE VERBOSE {r}",
    "VACUUM (VERBOSE, FULL) {r}",
    "REFRESH MATERIALIZED VIEW {r}",
    "DO $$DECLARE x text; BEGIN SELECT string_agg(email, ',') INTO x FROM {r}; RAISE NOTICE '%', x; END$$",
];

/// Expressions that say their argument `{e}` in an error, a notice or a value.
const ECHOES: [&str; 42] = [
    "{e}::int = 1",
    "{e}::uuid IS NULL",
    "{e}::date IS NULL",
    "{e}::json IS NULL",
    "{e}::jsonb IS NULL",
    "{e}::xml IS NULL",
    "{e}::inet IS NULL",
    "{e}::numeric = 0",
    "{e}::boolean",
    "{e}::interval IS NULL",
    "{e}::point IS NULL",
    "{e}::bit(8) IS NULL",
    "{e}::int4range IS NULL",
    "{e}::int[] IS NULL",
    "{e}::regclass IS NULL",
    "{e}::regproc IS NULL",
    "{e}::regrole IS NULL",
    "{e}::regnamespace IS NULL",
    "{e}::tsquery IS NULL",
    "{e}::pg_lsn IS NULL",
    "{e}::jsonpath IS NULL",
    "{e}::money IS NULL",
    "{e}::\"char\" = 'x' AND {e}::macaddr IS NULL",
    "has_table_privilege({e}, 'select')",
    "has_schema_privilege({e}, 'usage')",
    "has_function_privilege({e}, 'execute')",
    "pg_has_role({e}, 'usage')",
    "row_security_active({e})",
    "is_normalized({e}, {e})",
    "current_setting({e}) IS NULL",
    "set_config({e}, 'x', false) IS NULL",
    "set_config('app.x', {e}, false) IS NULL",
    "to_date({e}, 'YYYY') IS NULL",
    "to_timestamp({e}, {e}) IS NULL",
    "to_number({e}, '9') = 0",
    "decode({e}, 'hex') IS NULL",
    "encode({e}::bytea, {e}) IS NULL",
    "({e} ~ {e}) AND ({e} ~ ('(' || {e}))",
    "date_part({e}, now()) = 0",
    "timezone({e}, now()) IS NULL",
    "query_to_xml({e}, true, false, '') IS NULL",
    "ts_rewrite('x'::tsquery, {e}) IS NULL AND nextval({e}) = 0",
];

/// Where an echo `{x}` of tenant 2's rows stands.
const ECHO_PLACES: [&str; 14] = [
    "SELECT 1 FROM {r} WHERE amount = 777 AND {x}",
    "SELECT 1 FROM {r} WHERE {x} AND tenant_id = 1",
    "SELECT 1 FROM {r} WHERE id = 101 AND {x}",
    "SELECT 1 FROM (SELECT * FROM {r} WHERE tenant_id = 1) r WHERE {x}",
    "SELECT 1 FROM a.customers c JOIN {r} r ON r.id = 101 AND {x}",
    "SELECT 1 FROM a.customers c LEFT JOIN {r} r ON {x}",
    "SELECT count(*) FILTER (WHERE {x}) FROM {r}",
    "SELECT 1 FROM {r} ORDER BY {x}",
    "SELECT 1 FROM {r} GROUP BY {x}",
    "UPDATE {r} SET amount = amount WHERE {x}",
    "DELETE FROM {r} WHERE id = 101 AND {x}",
    "MERGE INTO {r} r USING (SELECT 1) s ON {x} WHEN MATCHED THEN DO NOTHING",
    "SELECT 1 FROM {r} WHERE CASE WHEN id = 101 THEN {x} ELSE false END",
    "INSERT INTO a.customers(id, name) SELECT 703, 'x' FROM {r} WHERE {x}",
];

/// Settings that would open a wall, and a value.
const SETTINGS: [(&str, &str); 16] = [
    ("app.tenant_id", "2"),
    ("App.Tenant_ID", "2"),
    ("role", "{t2r}"),
    ("role", "{own}"),
    ("session_authorization", "{own}"),
    ("search_path", "t2, a, b"),
    ("row_security", "off"),
    ("session_replication_role", "replica"),
    ("standard_conforming_strings", "off"),
    ("client_encoding", "SJIS"),
    ("default_transaction_read_only", "on"),
    ("client_min_messages", "debug5"),
    ("debug_print_plan", "on"),
    ("log_statement", "all"),
    ("pgwarden.tenant", "2"),
    ("is_superuser", "on"),
];

/// Ways to set `{n}` to `{v}`.
const SETTERS: [&str; 34] = [
    "SET {n} = '{v}'",
    "SET {n} TO '{v}'",
    "SET SESSION {n} = '{v}'",
    "SET \"{n}\" = '{v}'",
    "SET U&\"{n}\" = '{v}'",
    "SET/**/{n}/**/=/**/'{v}'",
    "SELECT set_config('{n}', '{v}', false)",
    "SELECT pg_catalog.set_config('{n}', '{v}', is_local => false)",
    "SELECT \"set_config\"($$ {n}$$, '{v}', false)",
    "SELECT U&\"set\\005fconfig\"('{n}', '{v}', false)",
    "SELECT 1 WHERE set_config('{n}', '{v}', false) IS NULL",
    "SELECT 1 ORDER BY set_config('{n}', '{v}', false)",
    "SELECT 1 LIMIT length(set_config('{n}', '{v}', false))",
    "SELECT * FROM set_config('{n}', '{v}', false)",
    "SELECT * FROM a.customers c, LATERAL set_config('{n}', '{v}', c.id < 0)",
    "WITH x AS MATERIALIZED (SELECT set_config('{n}', '{v}', false)) TABLE x",
    "VALUES (set_config('{n}', '{v}', false))",
    "SELECT set_config(n, v, false) FROM (VALUES ('{n}', '{v}')) s(n, v)",
    "SELECT set_config(lower(upper('{n}')), '{v}', false)",
    "UPDATE pg_settings SET setting = '{v}' WHERE name = lower('{n}')",
    "UPDATE a.customers SET name = set_config('{n}', '{v}', false)",
    "EXPLAIN ANALYZE SELECT set_config('{n}', '{v}', false)",
    "COPY (SELECT set_config('{n}', '{v}', false)) TO STDOUT",
    "DO $$BEGIN PERFORM set_config('{n}', '{v}', false); END$$",
    "BEGIN; SET LOCAL {n} = '{v}'",
    "SET {n} TO DEFAULT; RESET {n}",
    "ALTER ROLE CURRENT_USER SET {n} = '{v}'; \\c",
    "ALTER DATABASE {db} SET {n} TO '{v}'",
    "PREPARE s(text, text) AS SELECT set_config($1, $2, false); EXECUTE s('{n}', '{v}'); DEALLOCATE s",
    "SELECT max(set_config(n, v, false)) FROM (VALUES ('{n}', '{v}')) s(n, v)",
    "SELECT set_config(is_local => false, new_value => '{v}', setting_name => '{n}')",
    "INSERT INTO a.customers(id, name) VALUES (705, set_config('{n}', '{v}', false)) RETURNING name",
    "BEGIN; DECLARE k CURSOR FOR SELECT set_config('{n}', '{v}', false); FETCH k; COMMIT",
    "SELECT count(*) FROM a.customers GROUP BY set_config('{n}', '{v}', false) HAVING set_config('{n}', '{v}', true) IS NULL",
];

/// Texts that need nothing filled in.
const SINGLE: [&str; 103] = [
    "SELECT * FROM pg_stats",
    "SELECT * FROM pg_catalog.pg_statistic",
    "SELECT stavalues1::text FROM pg_statistic",
    "SELECT * FROM pg_stats_ext; SELECT * FROM pg_stats_ext_exprs",
    "SELECT * FROM pg_statistic_ext_data",
    "SELECT * FROM pg_stat_activity",
    "SELECT * FROM pg_stat_get_activity(NULL)",
    "SELECT pg_stat_get_backend_activity(b) FROM pg_stat_get_backend_idset() b",
    "SELECT * FROM pg_locks",
    "SELECT * FROM pg_prepared_statements",
    "SELECT * FROM pg_cursors",
    "SELECT * FROM pg_prepared_xacts",
    "SELECT * FROM pg_largeobject",
    "SELECT encode(data, 'escape') FROM pg_catalog.pg_largeobject",
    "SELECT lo_get(555001)",
    "SELECT convert_from(lo_get(555001), 'utf8')",
    "SELECT loread(lo_open(555001, 262144), 100)",
    "SELECT lo_put(555001, 0, 'x')",
    "SELECT lo_unlink(555001)",
    "SELECT lo_export(555001, '/tmp/pgwarden-attack')",
    "SELECT * FROM pg_authid; SELECT * FROM pg_shadow",
    "SELECT * FROM pg_user_mapping; SELECT * FROM pg_user_mappings",
    "SELECT * FROM pg_hba_file_rules; SELECT * FROM pg_file_settings; SELECT * FROM pg_config",
    "SELECT * FROM pgwarden.keys; SELECT * FROM pgwarden.journal",
    "SELECT ipad, opad FROM pgwarden.keys",
    "SELECT pgwarden.enter(1, '2', 9, '\\x00')",
    "SELECT pgwarden.hello(); SELECT email FROM a.invoices",
    "SELECT setval('pgwarden.s_tenant', 2); SELECT email FROM a.invoices",
    "SELECT nextval('pgwarden.s_tenant'); SELECT nextval('pgwarden.s_tenant'); SELECT email FROM a.invoices",
    "BEGIN; SELECT pgwarden.hello(); ROLLBACK; SELECT email FROM a.invoices",
    "DISCARD SEQUENCES; SELECT email FROM a.invoices",
    "DISCARD ALL",
    "RESET ALL; SELECT email FROM a.invoices",
    "RESET ROLE; RESET SESSION AUTHORIZATION; SELECT email FROM a.invoices",
    "SELECT table_to_xml('a.invoices', true, false, '')",
    "SELECT query_to_xml('SELECT * FROM b.invoices', true, true, '')",
    "SELECT query_to_xml_and_xmlschema('TABLE t2.invoices', true, true, '')",
    "SELECT schema_to_xml('b', true, false, ''); SELECT schema_to_xml('t2', true, false, '')",
    "SELECT database_to_xml(true, false, '')",
    "SELECT database_to_xml_and_xmlschema(true, false, '')",
    "SELECT cursor_to_xml('k', 10, true, false, '')",
    "SELECT * FROM ts_stat('SELECT to_tsvector(email) FROM b.invoices')",
    "SELECT ts_rewrite('x'::tsquery, 'SELECT ''x''::tsquery, plainto_tsquery(email) FROM b.invoices')",
    "SELECT * FROM dblink('dbname={db}', 'SELECT email FROM a.invoices') AS t(e text)",
    "SELECT * FROM public.dblink('dbname={db}', 'SELECT email FROM a.invoices') AS t(e text)",
    "SELECT * FROM public.crosstab('SELECT id, 1, email FROM a.invoices') AS t(a int, b text)",
    "SELECT * FROM public.connectby('t2.invoices', 'id', 'id', '101', 0) AS t(a int, b int, c int)",
    "SELECT * FROM public.xpath_table('id', 'email', 'a.invoices', '/', 'true') AS t(id int, e text)",
    "SELECT * FROM public.pgrowlocks('a.invoices')",
    "SELECT a.secdef_sum()",
    "SELECT a.badsd()",
    "SELECT (i).secdef_sum FROM a.invoices i",
    "SELECT pg_read_file('/etc/passwd'); SELECT pg_ls_dir('.')",
    "SELECT pg_read_binary_file('postgresql.conf'); SELECT pg_stat_file('.')",
    "SELECT pg_get_functiondef('a.secdef_sum'::regproc)",
    "SELECT pg_get_viewdef('a.v_def'::regclass)",
    "SELECT prosrc FROM pg_proc WHERE pronamespace = 'a'::regnamespace",
    "SELECT qual FROM pg_policies",
    "SELECT pg_relation_size('t2.invoices'), pg_stat_get_live_tuples('t2.invoices'::regclass)",
    "SELECT * FROM pg_stat_all_tables; SELECT * FROM pg_statio_all_tables",
    "SELECT pg_backend_pid(), pg_terminate_backend(pg_backend_pid())",
    "SELECT pg_cancel_backend(pg_backend_pid())",
    "SELECT pg_reload_conf(), pg_rotate_logfile()",
    "SELECT pg_export_snapshot()",
    "SELECT pg_logical_emit_message(false, 'x', 'y')",
    "SELECT pg_create_physical_replication_slot('x')",
    "SELECT pg_advisory_lock(1); SELECT pg_advisory_xact_lock(2); SELECT pg_try_advisory_lock(3, 4)",
    "LISTEN x; NOTIFY x, 'y'; SELECT pg_notify('x', 'y')",
    "CREATE SCHEMA evil",
    "CREATE FUNCTION a.f() RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
    "CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS 'SELECT min(email) FROM b.invoices'; SELECT pg_temp.f()",
    "CREATE OPERATOR a.= (LEFTARG = int, RIGHTARG = int, FUNCTION = int4ne)",
    "CREATE CAST (text AS int) WITH INOUT AS IMPLICIT",
    "CREATE DOMAIN a.d AS text CHECK (VALUE = (SELECT min(email) FROM b.invoices))",
    "CREATE EXTENSION dblink",
    "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION x()",
    "CREATE ROLE evil SUPERUSER; GRANT {own} TO CURRENT_USER; REASSIGN OWNED BY {own} TO CURRENT_USER",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER SYSTEM SET row_security = off",
    "ALTER DATABASE {db} SET app.tenant_id = '2'",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC",
    "LOAD 'auto_explain'",
    "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO a",
    "PREPARE TRANSACTION 'x'",
    "BEGIN; INSERT INTO a.customers(id, name) VALUES (704, 'x'); PREPARE TRANSACTION 'x'; ROLLBACK PREPARED 'x'",
    "CALL pg_sleep(0); SECURITY LABEL ON TABLE a.invoices IS 'x'",
    "SELECT * FROM pg_toast.pg_toast_1262; CHECKPOINT",
    "SET TRANSACTION SNAPSHOT '00000003-1'; SELECT txid_current_snapshot()",
    "SELECT ('SELECT email, email, email FROM b.invoices'::text).crosstab2",
    "SELECT (c).* FROM (SELECT ('TABLE b.invoices'::text).crosstab AS c) s",
    "SELECT ('SELECT to_tsvector(email) FROM b.invoices'::text).ts_stat",
    "SELECT ('dbname={db}'::text).dblink_connect; SELECT ('SELECT email FROM a.invoices'::text).dblink_exec",
    "SELECT ('b.invoices'::text).pgrowlocks",
    "SELECT ('/etc/passwd'::text).pg_read_file; SELECT (r.n).pg_ls_dir FROM (SELECT '.'::text AS n) r",
    "SELECT (555001::oid).lo_get; SELECT (s.o).lo_get FROM (SELECT 555001::oid AS o) s",
    "SELECT (NULL::int).pg_stat_get_activity",
    "SELECT ('pgwarden.s_tenant'::regclass).currval",
    "SELECT i.secdef_sum FROM a.invoices i; SELECT (a.invoices).badsd FROM a.invoices",
    "SELECT 'pg_read_file(text)'::regprocedure, 'a.secdef_sum'::regproc, to_regprocedure('a.secdef_sum()')",
    "SELECT 1 OPERATOR(a.=) 1; SELECT 1 OPERATOR(t2.=) 1",
    "SELECT 'x'::t2.invoices; SELECT NULL::b.invoices; SELECT (NULL::t2.invoices).email",
    "SELECT pg_typeof(i), i::text, (i).* FROM b.invoices i",
    "TABLE pg_temp.invoices; SELECT email FROM pg_temp_3.invoices; CREATE TEMP TABLE invoices AS TABLE b.invoices; TABLE invoices",
];

/// All of them, filled in.
pub(super) fn texts(lab: &Lab) -> Vec<String> {
    let mut texts: Vec<String> = SINGLE.iter().map(|text| (*text).to_owned()).collect();
    for name in NAMES {
        let query = format!("(SELECT string_agg(email, ',') FROM {name})");
        // Every position with some names, every name in some positions.
        let every = matches!(name, "a.invoices" | "b.invoices" | "t2.invoices");
        let positions = POSITIONS.iter().enumerate().filter(|(at, _)| every || at % 8 == name.len() % 8);
        texts.extend(positions.map(|(_, position)| position.replace("{q}", &query)));
        texts.extend(STATEMENTS.iter().map(|statement| statement.replace("{r}", name)));
    }
    // Where there is no row security, the planner may run these before the proxy's condition: known, and documented.
    let echoes = if lab.wall == Wall::Policy { &[][..] } else { &ECHOES[..] };
    for (at, echo) in echoes.iter().enumerate() {
        let echo = echo.replace("{e}", "r.email");
        for (place_at, place) in ECHO_PLACES.iter().enumerate() {
            let name = ["a.invoices r", "b.invoices r", "b.v_plain r", "a.parent r", "a.v_def r"][(at + place_at) % 5];
            let place = match place.contains("{r} r") || place.contains(") r ") {
                true => place.replace("{r}", name.trim_end_matches(" r")),
                false => place.replace("{r}", name),
            };
            texts.push(place.replace("{x}", &echo));
        }
    }
    for (name, value) in SETTINGS {
        // No grant keeps a role from its own defaults, which the proxy's startup packet beats: known, and documented.
        let keeps_defaults = !matches!(lab.wall, Wall::Database | Wall::Direct);
        for setter in SETTERS.iter().filter(|setter| keeps_defaults || !setter.starts_with("ALTER ROLE")) {
            let set = setter.replace("{n}", name).replace("{v}", value);
            texts.push(format!("{set}; SELECT email FROM a.invoices"));
            texts.push(format!(
                "BEGIN; {set}; SELECT email FROM invoices; SAVEPOINT s; ROLLBACK TO s; TABLE b.invoices; COMMIT"
            ));
        }
    }
    texts.iter().map(|text| lab.fill(text)).collect()
}

/// Texts between two looks at the database.
const STRETCH: usize = 200;

fn storm(wall: Wall, way: Way) {
    let lab = Lab::new(wall);
    let mut texts = texts(&lab);
    let step = match wall {
        Wall::BothSealed | Wall::Policy => 3,
        Wall::Database | Wall::Direct => 5,
        // What differs from a sealed context is little.
        Wall::BothSetting => 8,
    };
    texts = share(texts, step);
    rage(&lab, way, &texts);
}

/// One of so many, where there is no time for all of them; `PGWARDEN_ATTACKS=all` takes all.
pub(super) fn share(texts: Vec<String>, step: usize) -> Vec<String> {
    let step = if std::env::var_os("PGWARDEN_ATTACKS").is_some() { 1 } else { step };
    texts.into_iter().step_by(step).collect()
}

/// Sends texts as tenant 1; none of them may do harm.
pub(super) fn rage(lab: &Lab, way: Way, texts: &[String]) {
    let mut wrong = Vec::new();
    for stretch in texts.chunks(STRETCH) {
        if let Some(what) = unleash(lab, way, stretch) {
            wrong.push(guilty(lab, way, stretch, &what));
        }
    }
    println!("{}: {} texts", lab.wall.label(), texts.len());
    assert!(
        wrong.is_empty(),
        "{} of {} stretches did harm:\n{}",
        wrong.len(),
        texts.len() / STRETCH + 1,
        wrong.join("\n")
    );
}

/// Sends texts, each step of one in a message of its own; what harm they did.
fn unleash(lab: &Lab, way: Way, texts: &[String]) -> Option<String> {
    let before = lab.state();
    let mut client = lab.client(Ground::Row, 1);
    client.ask(Way::Simple, "SET enable_seqscan = off");
    for text in texts {
        for sql in text.split("; ") {
            ask(&mut client, way, sql);
        }
        // In one text, where it is more than one.
        if text.contains("; ") {
            ask(&mut client, Way::Simple, text);
        }
        ask(&mut client, Way::Simple, "ROLLBACK");
    }
    client.end();
    harm(lab, &before, &client)
}

/// What harm tenant 1's session did since `before`; his own rows are put back.
pub(super) fn harm(lab: &Lab, before: &State, client: &Client) -> Option<String> {
    let mut found: Vec<String> = client.stolen("1").iter().map(|word| format!("LEAK of {word}")).collect();
    let after = lab.state();
    if after.others != before.others {
        found.push("another's rows changed".to_owned());
    }
    if after.shape != before.shape {
        found.push("schema, grants or roles changed".to_owned());
    }
    if after != *before {
        lab.mend();
    }
    found.extend(lab.victim_is_hurt(Ground::Row));
    (!found.is_empty()).then(|| found.join(", "))
}

fn ask(client: &mut Client, way: Way, sql: &str) {
    if !client.is_open() {
        client.reconnect();
        client.ask(Way::Simple, "SET enable_seqscan = off");
    }
    client.ask(way, sql);
}

/// The first text of a stretch that does harm by itself.
fn guilty(lab: &Lab, way: Way, texts: &[String], what: &str) -> String {
    for text in texts {
        if let Some(what) = unleash(lab, way, std::slice::from_ref(text)) {
            return format!("{text}: {what}");
        }
    }
    format!("{} texts from {:?} together: {what}", texts.len(), texts[0])
}
