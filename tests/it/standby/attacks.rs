//! Attacks by a tenant on a standby: as the shared role in an entered transaction, and through a proxy whose policy lets
//! everything pass.

use super::{KEY_TYPES, Pair, Side, client};
use crate::guard::protect::keys;
use crate::guard::stand::{KEY, key};
use crate::kit::{Proxy, Server};
use crate::talk::*;

const EVERYTHING: &str = "select email from invoices union all select what from lines union all select what from events \
                          union all select email from v_invoices union all select email from v_nested";

/// Parts are Queries of their own.
const ATTACKS: &[&str] = &[
    // What ends, empties or overwrites the context.
    "set pgwarden.sealed = '1|2'",
    "set local pgwarden.sealed = '1|2'",
    "set session pgwarden.sealed to '1|2'",
    "reset pgwarden.sealed",
    "reset all",
    "discard all",
    "discard sequences",
    "commit",
    "rollback",
    "commit and chain",
    "rollback and chain",
    "abort and chain",
    "commit | begin",
    "commit | begin | savepoint s",
    "commit; select email from invoices",
    "rollback; begin; select email from invoices",
    "commit and chain; select email from invoices",
    "select set_config('pgwarden.sealed', '1|2', true)",
    "select set_config('pgwarden.sealed', (select string_agg('0', '') from generate_series(1, 64)) || '1|2', false)",
    "select set_config('pgwarden.sealed', left(current_setting('pgwarden.sealed', true), 64) || '1|2', true), email from invoices",
    "select email from invoices where set_config('pgwarden.sealed', left(current_setting('pgwarden.sealed', true), 64) || '1|2', true) is not null",
    "update pg_settings set setting = '1|2' where name = 'pgwarden.sealed'",
    "do $$ begin perform set_config('pgwarden.sealed', '1|2', true); exception when others then null; end $$",
    "do $$ begin commit; perform set_config('pgwarden.sealed', '1|2', false); end $$",
    "do $$ declare r text; begin for r in select email from invoices loop raise notice '%', r; end loop; end $$",
    "select query_to_xml('select email from invoices', true, false, '')",
    "select query_to_xml('select set_config(''pgwarden.sealed'', ''1|2'', true)', true, false, ''), email from invoices",
    "select schema_to_xml('public', true, false, '')",
    "savepoint s | select set_config('pgwarden.sealed', '', true) | rollback to s",
    "savepoint s | select 1/0 | rollback to s | select email from invoices",
    "rollback to s",
    // Forged tokens, and functions of ours.
    "select pgwarden.enter_transaction(1, '2', 99999999999, sha256('x'))",
    "select pgwarden.enter_transaction(1, '2', null, null)",
    "select pgwarden.enter(1, '2', 1, sha256('x'))",
    "select pgwarden.hello()",
    "select pgwarden.leave()",
    "select nextval('pgwarden.s_tenant')",
    "select setval('pgwarden.s_tenant', 2)",
    "select currval('pgwarden.s_tenant')",
    "select ipad, opad from pgwarden.keys",
    "copy pgwarden.keys to stdout",
    "select most_common_vals from pg_stats where schemaname = 'pgwarden'",
    // Names of a tenant's own.
    "set search_path = evil, pg_catalog, public | select email from invoices",
    "set search_path = evil, pg_catalog, public | select pgwarden.tenant() | select email from invoices",
    "set local search_path = evil, pg_catalog, public | select pgwarden.enter_transaction(1, '2', 1, '\\x00') | select email from invoices",
    "set search_path = only_ours, evil, public | select email from invoices",
    "select set_config('pgwarden.sealed', repeat('0', 64) || '1|2', true) | set search_path = evil, pg_catalog, public",
    "select set_config('pgwarden.sealed', repeat('0', 64) || '1|2', false) | set search_path = evil, pg_catalog, public | commit",
    // Other roles, and what turns row security off.
    "set role pgwarden_owner",
    "set session authorization pgwarden_owner",
    "set row_security = off | select email from invoices",
    "set session_replication_role = replica",
    "set transaction_read_only = off | set transaction read write | update invoices set email = 'x'",
    "create temp table invoices (email text)",
    "lock table invoices in row exclusive mode",
    // How a statement is planned and run.
    "set plan_cache_mode = force_generic_plan | prepare p as select email from invoices | execute p | execute p",
    "set debug_parallel_query = on | set force_parallel_mode = on | select email from invoices",
    "set debug_print_plan = on | set client_min_messages = log | select email from invoices",
    "set log_parameter_max_length_on_error = -1 | select 1/0",
    "set plpgsql.print_strict_params = on | select email from invoices",
    "set plpgsql.extra_errors = 'all' | select email from invoices",
    "set standard_conforming_strings = off | select email from invoices",
    "set default_transaction_isolation = 'serializable' | select email from invoices",
    "set transaction isolation level serializable | select email from invoices",
    "set default_transaction_read_only = off | insert into invoices (tenant_id) values (default)",
    "set statement_timeout = 1 | select email from invoices | select email from invoices",
    "declare c cursor for select email from invoices | fetch all from c | commit | fetch all from c",
    "declare c cursor with hold for select email from invoices | commit | fetch all from c",
    "prepare transaction 'x'",
    "explain (analyze, verbose) select email from invoices",
    "copy invoices to stdout",
    "table only events_2",
    "select pg_catalog.pg_promote()",
    "select dblink('', 'select 1')",
    "select pg_read_file('postgresql.conf')",
    "select lo_get(1)",
    "select pg_export_snapshot()",
    "select relname, query from pg_stat_activity",
];

#[test]
fn no_statement_in_a_transaction_changes_whose_it_is() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        for key_type in KEY_TYPES {
            let one = keys(key_type).0;
            let mut session = pair.direct(Side::Standby, key_type);
            let enter = session.transaction_token(&key(1, KEY), one, 600);
            for attack in ATTACKS {
                session.ask("begin");
                assert_eq!(session.ask(&enter), one, "{server:?} {key_type} before {attack}");
                let parts = attack.split(" | ").chain([EVERYTHING, "rollback", EVERYTHING]);
                for part in parts {
                    let said = session.ask(part);
                    assert!(!said.contains("SECRET"), "{server:?} {key_type} {attack}: {said}");
                }
                session.ask("reset all");
                session.ask("discard all");
            }
        }
    }
}

#[test]
fn no_statement_of_a_client_shows_it_another_tenants_rows() {
    for server in Server::BOTH {
        let pair = Pair::of(server);
        let proxy =
            Proxy::start(pair.config(Side::Standby, "bigint").set("databases.d.tenancy.danger_open_policy", true));
        let mut two = client(&proxy, "two");
        for attack in ATTACKS {
            for framed in [Framed::Query, Framed::Block, Framed::Extended, Framed::Batch] {
                let mut one = client(&proxy, "one");
                let said = framed.run(&mut one, attack);
                assert!(!said.contains("SECRET"), "{server:?} {framed:?} {attack}: {said}");
                drop(one);
            }
            assert_eq!(two.value("select string_agg(email, ',') from invoices"), "SECRET", "{server:?} after {attack}");
        }
    }
}

/// How a client sends the parts of an attack.
#[derive(Debug, Clone, Copy)]
enum Framed {
    Query,
    /// Queries in a transaction that has read already.
    Block,
    Extended,
    /// One batch, whose Sync is its end.
    Batch,
}

impl Framed {
    /// Everything that comes back. The session may be over before the end.
    fn run(self, talk: &mut Talk, attack: &str) -> String {
        let parts = attack.split(" | ").chain([EVERYTHING, "rollback", EVERYTHING]);
        let before: &[&str] =
            if matches!(self, Self::Block) { &["begin", "select count(*) from invoices"] } else { &[] };
        let mut said = String::new();
        let mut messages = Vec::new();
        for part in before.iter().copied().chain(parts) {
            match self {
                Self::Query | Self::Block => messages = vec![query(part)],
                Self::Extended => messages = vec![run(part, &[]), sync()],
                Self::Batch => {
                    messages.push(run(part, &[]));
                    continue;
                }
            }
            if talk.try_send(&messages.concat()).is_err() {
                return said;
            }
            said.push_str(&talk.try_until_ready());
        }
        if matches!(self, Self::Batch) {
            messages.push(sync());
            if talk.try_send(&messages.concat()).is_ok() {
                said.push_str(&talk.try_until_ready());
            }
        }
        said
    }
}
