//! What clients ask of the catalogs, recorded from them, passes for the least of roles.

use super::*;

/// Statements of a file, each with the line above it.
fn recorded(file: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    file.split("\n-- ").skip(1).filter_map(|part| part.split_once('\n'))
}

/// What only those who see other sessions or servers may ask.
const CLOSED: [&str; 1] = ["\\db"];

#[test]
fn psql_commands_pass_for_a_reader() {
    let mut count = 0;
    for apart in [Apart::Sealed, Apart::Setting, Apart::Schema, Apart::Database] {
        let subject = subject(apart, BaseRole::Reader);
        for (command, text) in recorded(include_str!("psql.sql")) {
            // The recorded schema is one of those that are shared.
            let elsewhere = apart == Apart::Schema && command.contains(" a.");
            if !CLOSED.contains(&command) && !elsewhere {
                let refusal = refusal(&subject, text);
                assert!(refusal.is_none(), "{command} {apart:?}: {refusal:?}\n{text}");
                count += 1;
            }
        }
    }
    assert!(count > 300, "{count}");
}

#[test]
fn drivers_and_mappers_know_the_tables() {
    let mut count = 0;
    for (_, text) in recorded(include_str!("drivers.sql")) {
        let subject = subject(Apart::Sealed, BaseRole::Reader);
        let refusal = refusal(&subject, text);
        assert!(refusal.is_none(), "{refusal:?}\n{text}");
        count += 1;
    }
    assert!(count > 60, "{count}");
}

#[test]
fn statements_that_clients_send_by_themselves_pass() {
    let subject = subject(Apart::Setting, BaseRole::Reader);
    for text in [
        "SELECT set_config('TimeZone', 'UTC', false)",
        "SELECT set_config('TimeZone', $1, false)",
        "SET application_name = 'PostgreSQL JDBC Driver'",
        "SET extra_float_digits = 3",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET client_min_messages TO 'warning'",
        "SET standard_conforming_strings = on",
        "SET SESSION timezone TO 'UTC'",
        "SET datestyle TO 'ISO'",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "SHOW max_identifier_length",
        "SELECT pg_catalog.set_config('jit', 'off', false)",
        "BEGIN READ ONLY",
        "DISCARD ALL",
        "SELECT 1",
        ";",
    ] {
        assert_eq!(rule(&subject, text), "allow", "{text}");
    }
}

#[test]
fn pgbench_passes_for_the_owner_of_a_database() {
    let subject = subject(Apart::Database, BaseRole::Owner);
    for text in [
        "drop table if exists pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers",
        "create table pgbench_history(tid int,bid int,aid int,delta int,mtime timestamp,filler char(22))",
        "create unlogged table pgbench_accounts(aid int not null,bid int,abalance int,filler char(84)) with (fillfactor=100)",
        "create table pgbench_accounts_1 partition of pgbench_accounts for values from (minvalue) to (50001)",
        "begin",
        "truncate table pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers",
        "insert into pgbench_accounts(aid,bid,abalance,filler) select aid, (aid - 1) / 100000 + 1, 0, '' from generate_series(1, 100000) as aid",
        "copy pgbench_accounts from stdin with (freeze on)",
        "commit",
        "vacuum analyze pgbench_branches",
        "vacuum pgbench_branches",
        "truncate pgbench_history",
        "alter table pgbench_accounts add primary key (aid)",
        "alter table pgbench_tellers add constraint pgbench_tellers_bid_fkey foreign key (bid) references pgbench_branches",
        "select count(*) from pgbench_branches",
        "select o.n, p.partstrat, pg_catalog.count(i.inhparent) from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n \
         on (n.oid = c.relnamespace) cross join lateral (select pg_catalog.array_position(pg_catalog.current_schemas(true), \
         n.nspname)) as o(n) left join pg_catalog.pg_partitioned_table as p on (p.partrelid = c.oid) left join \
         pg_catalog.pg_inherits as i on (c.oid = i.inhparent) where c.relname = 'pgbench_accounts' and o.n is not null group by 1, 2",
        "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1",
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, 1, 1, CURRENT_TIMESTAMP)",
        "PREPARE p AS SELECT 1",
    ] {
        assert_eq!(rule(&subject, text), "allow", "{text}");
    }
}
