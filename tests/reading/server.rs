//! The same, by a PostgreSQL server: what a view or a rule depends on, how many statements it counts, which parameters it finds.

use std::collections::HashSet;
use std::sync::Arc;

use pgwarden::cluster::Cluster;
use pgwarden::sql::grammar::read;
use pgwarden::sql::{Analysis, Failure};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::generator::{Generator, Grammar};
use super::mutation::mutate;
use super::number;

/// What the grammar names.
const SCHEMA: &str = r#"
CREATE SCHEMA s;
CREATE TABLE r1 (a int UNIQUE, b int, c text);
CREATE TABLE r2 (LIKE r1 INCLUDING ALL); CREATE TABLE r3 (LIKE r1 INCLUDING ALL); CREATE TABLE r4 (LIKE r1 INCLUDING ALL);
CREATE TABLE r7 (LIKE r1 INCLUDING ALL); CREATE TABLE r8 (LIKE r1 INCLUDING ALL); CREATE TABLE r9 (LIKE r1 INCLUDING ALL);
CREATE TABLE s.r5 (LIKE r1 INCLUDING ALL); CREATE TABLE s."R6" (LIKE r1 INCLUDING ALL);
CREATE TABLE sink (a int);
CREATE FUNCTION f1(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n; END';
CREATE FUNCTION f2(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n; END';
CREATE FUNCTION s.f3(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n; END';
CREATE FUNCTION v1(VARIADIC n int[]) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION g1(n int) RETURNS SETOF int LANGUAGE plpgsql AS 'BEGIN RETURN NEXT n; END';
CREATE FUNCTION s.g2(n int) RETURNS SETOF int LANGUAGE plpgsql AS 'BEGIN RETURN NEXT n; END';
CREATE AGGREGATE agg(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE FUNCTION s.plus(a int, b int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN a; END';
CREATE OPERATOR s.@+@ (LEFTARG = int, RIGHTARG = int, FUNCTION = s.plus);
CREATE DOMAIN s.dom AS int;
CREATE TYPE pair AS (a int, c text);
"#;

/// What the view or the rule made last names, and of which kind it is; the last line says that all of it was there.
const DEPENDENCIES: &str = "
SELECT DISTINCT CASE d.refclassid WHEN 'pg_class'::regclass THEN 'relation' ELSE 'function' END,
       coalesce(c.relnamespace, p.pronamespace)::regnamespace::text, coalesce(c.relname, p.proname)
  FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
  LEFT JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid AND c.relname NOT IN ('subject', 'sink') AND c.relkind = 'r'
  LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
 WHERE (c.oid IS NOT NULL OR p.oid IS NOT NULL) AND (r.ev_class = to_regclass('subject') OR r.rulename = 'subject')";

#[test]
fn a_server_finds_no_more_relations_and_functions() {
    let (count, grammar, seed) =
        (number("PGWARDEN_SERVER_STATEMENTS", 6_000), Grammar::read(), number("PGWARDEN_SEED", 1));
    with_server(async |server| {
        let (mut ran, mut named, mut wrong) = (0, 0, Vec::new());
        let texts: Vec<String> = (0..count).map(|at| stored(&grammar, (seed << 40) + at)).collect();
        for texts in texts.chunks(64) {
            let asked = pipelined(texts, |text| {
                let server = Arc::clone(&server);
                async move { server.simple_query(&text).await }
            });
            for (text, answer) in texts.iter().zip(asked) {
                let Ok(answer) = answer.await.expect("no panic") else { continue };
                ran += 1;
                let analysis = read(text.as_bytes());
                let rows = answer.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => {
                        Some([0, 1, 2].map(|at| row.get(at).unwrap_or_default().to_owned()))
                    }
                    _ => None,
                });
                for [kind, schema, name] in rows {
                    named += 1;
                    // The first statement is the one in question.
                    if !tells(&analysis, &kind, &schema, &name) {
                        wrong.push(format!(
                            "{}\nhides {kind} {schema}.{name}",
                            text.split(DEPENDENCIES).next().unwrap_or(text)
                        ));
                    }
                }
            }
        }
        println!("{count} views and rules: {ran} were made, which depend on {named} relations and functions");
        assert!(wrong.is_empty(), "{} of them: {}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
        assert!(ran * 2 > count && named > ran, "{ran} of {count} were made, with {named} names");
    });
}

/// A view or a rule of a generated statement, what it depends on, and its end: in one implicit transaction.
fn stored(grammar: &Grammar, seed: u64) -> String {
    let generator = Generator::new(grammar, seed).without_parameters();
    match seed % 3 {
        0 => {
            let dml = generator.of("dml").text;
            format!("CREATE RULE subject AS ON DELETE TO sink DO ALSO {dml}; {DEPENDENCIES}; DROP RULE subject ON sink")
        }
        _ => format!("CREATE VIEW subject(a) AS {}; {DEPENDENCIES}; DROP VIEW subject", generator.of("stored").text),
    }
}

fn tells(analysis: &Analysis, kind: &str, schema: &str, name: &str) -> bool {
    let Some(subject) = analysis.statements.first() else { return false };
    match kind {
        "relation" => subject
            .relations
            .iter()
            .any(|told| told.name == name && told.schema.as_deref().is_none_or(|told| told == schema)),
        // An operator's function is told by the operator's schema.
        _ if name == "plus" => subject.facts.schemas.iter().any(|told| told == "s"),
        _ => subject.functions.iter().any(|told| {
            told.last().is_some_and(|told| told == name) && (told.len() == 1 || told[told.len() - 2] == schema)
        }),
    }
}

#[test]
fn a_server_counts_the_same_statements_and_parameters() {
    let (count, grammar, seed) =
        (number("PGWARDEN_SERVER_STATEMENTS", 12_000), Grammar::read(), number("PGWARDEN_SEED", 1));
    with_server(async |server| {
        let (mut prepared, mut many, mut refused, mut wrong) = (0, 0, 0, HashSet::new());
        let texts: Vec<String> = (0..count)
            .map(|at| match at % 3 {
                0 => Generator::new(&grammar, (seed << 41) + at).text().text,
                _ => mutate(&grammar, (seed << 41) + at),
            })
            .collect();
        for texts in texts.chunks(64) {
            let asked = pipelined(texts, |text| {
                let server = Arc::clone(&server);
                async move { server.prepare(&text).await }
            });
            for (text, answer) in texts.iter().zip(asked) {
                let analysis = read(text.as_bytes());
                let told = analysis.statements.len();
                let highest = analysis.statements.iter().map(|statement| statement.parameters_max).max().unwrap_or(0);
                match answer.await.expect("no panic") {
                    Ok(statement) => {
                        prepared += 1;
                        let found = statement.params().len();
                        // What utility statements name is not looked at before they run.
                        let utility = statement.columns().is_empty() && found == 0;
                        if analysis.failure.is_none() && (told > 1 || (found != usize::from(highest) && !utility)) {
                            wrong.insert(format!(
                                "{text}\none statement with {found} parameters, not {told} with {highest}"
                            ));
                        }
                    }
                    Err(error) => {
                        let (code, message) =
                            error.as_db_error().map_or(("", ""), |error| (error.code().code(), error.message()));
                        let is_many = message.contains("multiple commands");
                        many += u64::from(is_many);
                        refused += 1;
                        if is_many && analysis.failure.is_none() && told < 2 {
                            wrong.insert(format!("{text}\nmore than {told} statements"));
                        }
                        // Refused by its grammar, whatever ours says: nothing runs. What it did read, it read as one.
                        if !is_many && code != "42601" && analysis.failure.is_none() && told > 1 {
                            wrong.insert(format!("{text}\none statement, not {told}: {message}"));
                        }
                        if matches!(analysis.failure, Some(Failure::TooComplex)) {
                            wrong.insert(format!("{text}\nis not too complex"));
                        }
                    }
                }
            }
        }
        println!("{count} texts: {prepared} prepared, {refused} refused, {many} of them as more than one statement");
        let wrong: Vec<_> = wrong.into_iter().collect();
        assert!(wrong.is_empty(), "{} texts: {}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
        assert!(prepared * 8 > count && many * 50 > count, "{prepared} and {many} of {count}");
    });
}

/// Asks for all of them before it waits for the first.
fn pipelined<F: Future<Output: Send> + Send + 'static>(
    texts: &[String],
    ask: impl Fn(String) -> F,
) -> Vec<JoinHandle<F::Output>> {
    texts.iter().map(|text| tokio::spawn(ask(text.clone()))).collect()
}

/// Runs on a server of its own, whose database is called `d` and has the schema.
fn with_server(test: impl AsyncFnOnce(Arc<Client>)) {
    let cluster = Cluster::builder().setting("autovacuum", "off").start().expect("a cluster");
    cluster.psql("postgres", "CREATE DATABASE d").expect("a database");
    cluster.psql("d", SCHEMA).expect("the schema");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host(cluster.host()).port(cluster.port()).user(cluster.superuser()).password(cluster.password());
        let (client, connection) = config.dbname("d").connect(NoTls).await.expect("connect");
        tokio::spawn(connection);
        client.batch_execute("SET search_path = public, s; SET client_min_messages = error").await.expect("settings");
        test(client.into()).await;
    });
}
