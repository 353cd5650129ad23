//! Generated statements: whatever the position of an expression and whatever the statement around it, nothing forbidden
//! passes, and the same statement with a harmless expression does, so that it is the expression that is refused.

use super::*;

/// Ways to name a relation that is closed.
const RELATIONS: [&str; 17] = [
    "other.t",
    "\"other\".t",
    "OTHER.t",
    "U&\"\\006fther\".t",
    "U&\"!006fther\" UESCAPE '!' . t",
    "lab.other.t",
    "ONLY other.t",
    "ONLY (other.t)",
    "other.t *",
    "pg_authid",
    "PG_AUTHID",
    "pg_catalog.\"pg_authid\"",
    "lab.pg_catalog.pg_stat_activity",
    "pgwarden.seal",
    "pg_toast.pg_toast_1",
    "information_schema.user_mapping_options",
    "public.pg_stat_statements",
];

/// Expressions that are closed: functions by every spelling, settings by every route, names in literals, operators, types.
const EXPRESSIONS: [&str; 47] = [
    "pg_read_file('x')",
    "pg_catalog.pg_read_file('x')",
    "PG_Catalog.\"pg_read_file\"('x')",
    "U&\"pg\\005fread_file\"('x')",
    "lab.pg_catalog.pg_read_file('x')",
    "pg_read_file(VARIADIC ARRAY['x'])",
    "count(*) FILTER (WHERE evil(1))",
    "evil(1)",
    "public.evil(1)",
    "evil(DISTINCT 1)",
    "evil(1) OVER ()",
    "evil() WITHIN GROUP (ORDER BY 1)",
    "(row(1)).pg_stat_get_activity",
    "('pgwarden.turn'::text).currval",
    "('select 1'::text).crosstab2",
    "('dbname=lab'::text).dblink_connect",
    "(('t' || '')::text).pgrowlocks",
    "query_to_xml('select 1', true, true, '')",
    "pg_terminate_backend(1)",
    "pg_advisory_lock(1)",
    "pg_notify('a', 'b')",
    "lo_get(1)",
    "dblink('a', 'b')",
    "setval('s', 1)",
    "currval('pgwarden.turn')",
    "nextval('other.s')",
    "nextval('other'||'.s')",
    "set_config('app.tenant_id', '2', false)",
    "pg_catalog.set_config('App.Tenant_Id', '2', true)",
    "set_config(E'app\\x2etenant_id', '2', false)",
    "set_config(U&'app\\002etenant_id', '2', false)",
    "set_config($$app.tenant_id$$, '2', false)",
    "set_config('app'\n'.tenant_id', '2', false)",
    "set_config($1, '2', false)",
    "set_config('app' || '.tenant_id', '2', false)",
    "set_config('role', 'x', false)",
    "set_config('search_path', 'other', false)",
    "set_config('search_path', $1, false)",
    "set_config(is_local => false, setting_name => 'app.tenant_id', new_value => '2')",
    "'other.t'::regclass",
    "regclass 'other.t'",
    "cast('other.t' as pg_catalog.regclass)",
    "'a'::other.d",
    "1 operator(other.+) 1",
    "(1 operator(other.=) any (select 1))",
    "pgwarden.enter(1, '1', 1, '')",
    "json_object('a': pg_read_file('x'))",
];

/// Places of an expression, in a query that may stand wherever one may.
const QUERIES: [&str; 50] = [
    "SELECT {}",
    "SELECT DISTINCT ON ({}) 1 FROM t",
    "SELECT 1 FROM t WHERE {} IS NULL",
    "SELECT 1 FROM t GROUP BY {}",
    "SELECT 1 FROM t GROUP BY GROUPING SETS (({}), ())",
    "SELECT 1 FROM t GROUP BY ROLLUP ({}), CUBE (a)",
    "SELECT 1 FROM t HAVING {} IS NULL",
    "SELECT 1 FROM t ORDER BY {}",
    "SELECT 1 FROM t LIMIT ({})::text::int",
    "SELECT 1 FROM t OFFSET ({})::text::int",
    "SELECT 1 FROM t FETCH FIRST (({})::text::int) ROWS ONLY",
    "SELECT 1 FROM t WINDOW w AS (PARTITION BY {})",
    "SELECT sum(1) OVER (ORDER BY {}) FROM t",
    "SELECT sum(1) OVER (ORDER BY a ROWS BETWEEN (({})::text::int) PRECEDING AND CURRENT ROW) FROM t",
    "SELECT sum(1) FILTER (WHERE {} IS NULL) FROM t",
    "SELECT string_agg('a', 'b' ORDER BY {}) FROM t",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY {}) FROM t",
    "SELECT 1 FROM t JOIN u ON {} IS NULL",
    "SELECT 1 FROM t LEFT JOIN LATERAL (SELECT {}) l ON true",
    "SELECT 1 FROM (SELECT {}) x",
    "SELECT 1 FROM unnest(ARRAY[{}]) x",
    "SELECT 1 FROM ROWS FROM (unnest(ARRAY[{}]), generate_series(1, 2)) x",
    "SELECT 1 FROM t TABLESAMPLE SYSTEM (({})::text::int)",
    "SELECT 1 FROM t TABLESAMPLE SYSTEM (1) REPEATABLE (({})::text::int)",
    "SELECT x.* FROM xmltable('/a' PASSING ({}) COLUMNS a int PATH 'b' DEFAULT {}) x",
    "SELECT * FROM json_table(jsonb '1', '$' PASSING {} AS a COLUMNS (b int PATH '$')) x",
    "SELECT CASE WHEN {} IS NULL THEN 1 END",
    "SELECT CASE a WHEN 1 THEN 2 ELSE {} END FROM t",
    "SELECT coalesce(NULL, {}), nullif(1, ({})::text::int)",
    "SELECT greatest(1, ({})::text::int)",
    "SELECT ARRAY[[1, ({})::text::int]]",
    "SELECT ROW(1, {})",
    "SELECT (ARRAY[1])[({})::text::int]",
    "SELECT (ARRAY[1])[1:({})::text::int]",
    "SELECT ({})::text COLLATE \"C\"",
    "SELECT 1 IN (1, ({})::text::int)",
    "SELECT 1 = ANY (ARRAY[({})::text::int])",
    "SELECT 1 BETWEEN 0 AND ({})::text::int",
    "SELECT 'a' LIKE 'b' ESCAPE ({})::text",
    "SELECT ({}) IS DISTINCT FROM 1, NOT ({}) IS NULL",
    "SELECT EXISTS (SELECT {}), ARRAY(SELECT {}), (SELECT {}), 1 IN (SELECT ({})::text::int)",
    "SELECT extract(year FROM ({})::text::date), substring(({})::text FROM 1), trim(({})::text)",
    "SELECT xmlelement(name a, xmlattributes({} AS b), {}), xmlforest({} AS a)",
    "SELECT 1 AS a UNION ALL SELECT ({})::text::int",
    "SELECT 1 INTERSECT (VALUES (1), (({})::text::int))",
    "VALUES (1), (({})::text::int)",
    "WITH x AS (SELECT {}) SELECT 1 FROM x",
    "WITH x AS MATERIALIZED (SELECT {}) TABLE x",
    "WITH RECURSIVE x(a) AS (SELECT 1 UNION SELECT a FROM x WHERE {} IS NULL) SELECT * FROM x",
    "SELECT format('%s', {}), lower(VARIADIC ARRAY[{}]), lower(a => {})",
];

/// Places of an expression in what is no query.
const STATEMENTS: [&str; 24] = [
    "INSERT INTO t VALUES ({})",
    "INSERT INTO t (a, b) VALUES (1, {}), (DEFAULT, {})",
    "INSERT INTO t (a[({})::text::int]) VALUES (1)",
    "INSERT INTO t SELECT {}",
    "INSERT INTO t VALUES (1) RETURNING {}",
    "INSERT INTO t VALUES (1) ON CONFLICT (lower({})) DO NOTHING",
    "INSERT INTO t VALUES (1) ON CONFLICT (a) WHERE {} IS NULL DO NOTHING",
    "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = {}",
    "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1 WHERE {} IS NULL",
    "WITH x AS (SELECT {}) INSERT INTO t TABLE x",
    "UPDATE t SET a = {}",
    "UPDATE t SET (a, b) = ROW(1, {})",
    "UPDATE t SET (a, b) = (SELECT 1, {})",
    "UPDATE t SET a[({})::text::int] = 1",
    "UPDATE t SET a = 1 FROM (SELECT {}) x WHERE {} IS NULL RETURNING {}",
    "DELETE FROM t USING (SELECT {}) x WHERE {} IS NULL RETURNING {}",
    "MERGE INTO t USING (SELECT {}) x ON {} IS NULL WHEN MATCHED AND {} IS NULL THEN UPDATE SET a = {}",
    "MERGE INTO t USING u ON true WHEN NOT MATCHED AND {} IS NULL THEN INSERT (a) VALUES ({})",
    "WITH x AS (UPDATE t SET a = {} RETURNING 1) SELECT 1 FROM x",
    "WITH x AS (DELETE FROM t WHERE {} IS NULL RETURNING 1) SELECT 1 FROM x",
    "EXECUTE p({}, 1)",
    "COPY t FROM STDIN WHERE {} IS NULL",
    "SELECT 1; SELECT {}",
    "PREPARE p AS INSERT INTO t VALUES ({})",
];

/// Statements around a query.
const AROUND: [&str; 17] = [
    "{}",
    "EXPLAIN {}",
    "EXPLAIN (VERBOSE, COSTS off) {}",
    "EXPLAIN ANALYZE {}",
    "PREPARE p AS {}",
    "PREPARE p (int) AS {}",
    "DECLARE c CURSOR FOR {}",
    "COPY ({}) TO STDOUT",
    "INSERT INTO t {}",
    "SELECT * FROM ({}) z",
    "SELECT 1 FROM t WHERE EXISTS ({})",
    "SELECT 1 FROM t, LATERAL ({}) z",
    "SELECT 1 WHERE (1, 2) IN ({})",
    "WITH z AS ({}) SELECT 1 FROM z",
    "WITH z AS (INSERT INTO t {} RETURNING 1) SELECT 1 FROM z",
    "(SELECT 1 ORDER BY 1) UNION ({})",
    "UPDATE t SET (a, b) = ({})",
];

fn writer() -> Subject {
    subject(Apart::Setting, BaseRole::Writer)
}

#[test]
fn no_closed_expression_passes_in_any_place() {
    let subject = writer();
    let mut count = 0;
    for place in QUERIES.iter().chain(&STATEMENTS) {
        assert_eq!(rule(&subject, &place.replace("{}", "'1'")), "allow", "{place}");
        for closed in EXPRESSIONS {
            let text = place.replace("{}", &format!("({closed})"));
            let rule = rule(&subject, &text);
            assert!(rule != "allow" && rule != "unparsed", "{rule}: {text}");
            count += 1;
        }
    }
    assert!(count > 3_000, "{count}");
}

#[test]
fn no_closed_relation_passes_in_any_place() {
    let subject = writer();
    for place in QUERIES.iter().chain(&STATEMENTS) {
        for closed in RELATIONS {
            for query in [
                format!("(SELECT a FROM {closed})"),
                format!("(WITH other AS (SELECT 1), t AS (SELECT 1) SELECT 1 FROM {closed})"),
                format!("(SELECT 1 FROM t, LATERAL (SELECT 1 FROM u JOIN {closed} ON true) z)"),
            ] {
                let text = place.replace("{}", &query);
                let rule = rule(&subject, &text);
                assert!(rule != "allow" && rule != "unparsed", "{rule}: {text}");
            }
        }
    }
    for statement in [
        "TABLE {}",
        "INSERT INTO {} VALUES (1)",
        "UPDATE {} SET a = 1",
        "DELETE FROM {}",
        "COPY {} TO STDOUT",
        "COPY {} FROM STDIN",
        "MERGE INTO {} USING t ON true WHEN MATCHED THEN DELETE",
        "MERGE INTO t USING {} ON true WHEN MATCHED THEN DELETE",
        "UPDATE t SET a = 1 FROM {}",
        "DELETE FROM t USING {}",
        "LOCK TABLE {} IN ROW SHARE MODE",
        "SELECT 1 FROM {} TABLESAMPLE SYSTEM (1)",
        "WITH x AS (DELETE FROM {} RETURNING 1) SELECT 1 FROM x",
        "SELECT 1 FROM t NATURAL JOIN {}",
        "SELECT 1 FROM {} FOR UPDATE",
        "SELECT 1 UNION TABLE {}",
        "EXPLAIN DELETE FROM {}",
        "PREPARE p AS TABLE {}",
    ] {
        assert_eq!(rule(&subject, &statement.replace("{}", "public.t")), "allow", "{statement}");
        for closed in RELATIONS {
            let text = statement.replace("{}", closed);
            assert_ne!(rule(&subject, &text), "allow", "{text}");
        }
    }
}

#[test]
fn no_statement_around_a_query_hides_it() {
    let subject = writer();
    for around in AROUND {
        for (at, place) in QUERIES.iter().enumerate() {
            let harmless = around.replacen("{}", &place.replace("{}", "'1'"), 1);
            let refusal = rule(&subject, &harmless);
            assert!(
                refusal == "allow" || (refusal == "explain_analyze" && harmless.contains("ANALYZE")),
                "{refusal}: {harmless}"
            );
            for step in 0..3 {
                let closed = EXPRESSIONS[(at * 7 + step * 13) % EXPRESSIONS.len()];
                let text = around.replacen("{}", &place.replace("{}", &format!("({closed})")), 1);
                let rule = rule(&subject, &text);
                assert!(rule != "allow" && rule != "unparsed", "{rule}: {text}");
            }
        }
    }
}

#[test]
fn the_tenant_column_is_found_however_it_is_written() {
    let subject = writer();
    let columns =
        ["tenant_id", "TENANT_ID", "\"tenant_id\"", "U&\"tenant\\005fid\"", "U&\"tenant!005fid\" UESCAPE '!'"];
    for column in columns {
        for statement in [
            "UPDATE t SET {} = 2",
            "UPDATE t AS x SET a = 1, {} = DEFAULT",
            "UPDATE ONLY t SET (a, {}) = (SELECT 1, 2)",
            "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET {} = 2",
            "INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT c DO UPDATE SET (a, {}) = (1, 2)",
            "MERGE INTO t USING u ON true WHEN MATCHED THEN UPDATE SET {} = 2",
            "WITH x AS (UPDATE t SET {} = 2 RETURNING 1) TABLE x",
            "EXPLAIN UPDATE t SET {} = 2",
            "PREPARE p AS UPDATE t SET {} = 2",
            "SELECT 1; UPDATE t SET {} = 2",
            "WITH x AS (INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET {} = 2 RETURNING 1) INSERT INTO u TABLE x",
        ] {
            let text = statement.replace("{}", column);
            assert_eq!(rule(&subject, &text), "tenant_column", "{text}");
            assert_eq!(rule(&subject, &statement.replace("{}", "b")), "allow", "{statement}");
        }
    }
}

#[test]
fn identifiers_are_cut_as_the_server_cuts_them() {
    let long = "x".repeat(63);
    let role = Role { tables: Some(vec![long.as_str().into()]), ..role(BaseRole::Writer) };
    let subject = subject_as(Apart::Sealed, &role, SessionState::Pin);
    assert_eq!(rule(&subject, &format!("select * from {long}yyy")), "allow");
    assert_eq!(rule(&subject, &format!("select * from \"{long}yyy\"")), "allow");
    assert_eq!(rule(&subject, &format!("select * from U&\"{long}yyy\"")), "allow");
    assert_eq!(rule(&subject, &format!("select * from y{long}")), "table");
    let schema = format!("select * from other\u{a0}.t; select '{}'", "é".repeat(5));
    assert_eq!(rule(&writer(), &schema), "schema", "a no-break space is part of a name");
}
