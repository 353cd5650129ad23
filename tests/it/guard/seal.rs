//! Attacks on the sealed context with nothing in the way: sessions straight to the server, as the role all tenants share.

use super::protect::{keys, sample_on};
use super::stand::{Context, KEY, Session, Stand, key};
use crate::kit::Server;

const EVERYTHING: &str = "select email from invoices union all select what from lines union all select what from events \
                          union all select email from v_invoices union all select email from v_nested";

fn protected(server: Server, key_type: &'static str) -> Stand {
    let stand = sample_on(server, Context::Sealed, key_type);
    stand.protect(&["--apply"]);
    stand
}

/// Nothing of another tenant's is seen, whatever was answered.
#[track_caller]
fn sees_nothing_foreign(session: &mut Session, after: &str) {
    session.ask("rollback");
    let said = session.ask(EVERYTHING);
    assert!(!said.contains("SECRET"), "after {after}: {said}");
}

#[test]
fn a_token_is_good_for_one_tenant_one_turn_one_session_and_one_key() {
    for server in Server::BOTH {
        tokens_are_good_once(server);
    }
}

fn tokens_are_good_once(server: Server) {
    let stand = protected(server, "bigint");
    let mut session = stand.app();
    let good = key(1, KEY);
    let nonce = session.hello();
    let other_key = key(1, &KEY.replace('0', "1"));
    assert_eq!(session.enter_with(&other_key, "2", nonce), "!28000 bad tenant token");
    assert_eq!(session.enter_with(&key(7, KEY), "2", nonce), "!28000 bad tenant token");
    assert_eq!(session.enter_with(&good, "2", nonce ^ 1), "!28000 bad tenant token");
    let token = session.token(&good, "1", 10, nonce);
    assert_eq!(session.ask(&token), "1");
    assert_eq!(session.ask(&token), "!28000 tenant token was used before");
    assert_eq!(session.ask("select count(*) from invoices"), "!28000 no tenant in this session");
    let lower = session.token(&good, "1", 9, nonce);
    assert_eq!(session.ask(&lower), "!28000 tenant token was used before");
    let forged = session.token(&good, "1", 11, nonce).replace("'1'", "'2'");
    assert_eq!(session.ask(&forged), "!28000 bad tenant token");
    let token = session.token(&good, "1", 12, nonce);
    let mut thief = stand.app();
    thief.hello();
    assert_eq!(thief.ask(&token), "!28000 bad tenant token");
    // The session forgets its turn together with its nonce.
    for forget in ["discard all", "discard sequences"] {
        session.ask(forget);
        assert!(session.ask(&token).starts_with("!55000"), "after {forget}");
        session.hello();
        assert_eq!(session.ask(&token), "!28000 bad tenant token", "after {forget} and hello");
    }
}

#[test]
fn an_enter_that_fails_leaves_nobody() {
    for server in Server::BOTH {
        failed_enters_leave_nobody(server);
    }
}

fn failed_enters_leave_nobody(server: Server) {
    let stand = protected(server, "bigint");
    let mut session = stand.app();
    for arguments in [
        "null, null, null, null",
        "null, '1', 99, '\\x00'",
        "1, null, 99, '\\x00'",
        "1, '1', null, '\\x00'",
        "1, '1', 99, null",
        "1, '1', 99, ''",
        "1, '', 99, sha256('x')",
        "1, 'x', 99, sha256('x')",
        "-1, '1', 99, sha256('x')",
        "1, repeat('1', 100000), 99, sha256('x')",
    ] {
        assert_eq!(session.enter("1"), "1");
        assert!(session.ask(&format!("select pgwarden.enter({arguments})")).starts_with("!28000"), "{arguments}");
        assert_eq!(session.ask("select count(*) from invoices"), "!28000 no tenant in this session", "{arguments}");
    }
}

#[test]
fn no_statement_of_a_tenant_changes_its_context() {
    for server in Server::BOTH {
        attacks_fail(server);
    }
}

fn attacks_fail(server: Server) {
    for key_type in ["bigint", "uuid", "text"] {
        let stand = protected(server, key_type);
        let (one, _) = keys(key_type);
        let mut session = stand.app();
        for attack in ATTACKS {
            assert_eq!(session.enter(one), one, "before {attack}");
            for part in attack.split(" | ") {
                let said = session.ask(part);
                assert!(!said.contains("SECRET"), "{attack}: {said}");
            }
            sees_nothing_foreign(&mut session, attack);
            session.ask("discard all");
        }
    }
}

/// Parts are Queries of their own.
const ATTACKS: [&str; 46] = [
    "select setval('pgwarden.s_tenant', 2)",
    "select setval('pgwarden.s_tenant', 2, true), pgwarden.tenant()",
    "select nextval('pgwarden.s_tenant') | select nextval('pgwarden.s_tenant')",
    "select nextval('pgwarden.s_turn')",
    "select setval('pgwarden.s_high', -1) | select setval('pgwarden.s_low', -2)",
    "alter sequence pgwarden.s_tenant restart 2",
    "drop sequence pgwarden.s_tenant",
    "update pgwarden.names set key = 'o''globex\\'",
    "insert into pgwarden.names (key) values ('x')",
    "select ipad, opad from pgwarden.keys",
    "insert into pgwarden.keys values (2, '', '')",
    "copy pgwarden.keys to stdout",
    "select most_common_vals from pg_stats where schemaname = 'pgwarden'",
    "create or replace function pgwarden.tenant() returns bigint language sql as 'select 2::bigint'",
    "create function pgwarden.tenant(int) returns bigint language sql as 'select 2::bigint'",
    "alter function pgwarden.tenant() immutable",
    "alter function pgwarden.enter(int, text, bigint, bytea) set search_path = public",
    "set role pgwarden_owner",
    "set session authorization pgwarden_owner",
    "set session authorization postgres",
    "select set_config('role', 'pgwarden_owner', false)",
    "discard all",
    "discard sequences",
    "begin | savepoint s | select pgwarden.leave() | rollback to s | commit",
    "begin | select pgwarden.hello() | rollback",
    "begin | select pgwarden.leave() | select 1/0 | rollback",
    "set search_path = pg_temp, public | create temp table invoices (email text)",
    "create temp sequence s_tenant",
    "create function pg_temp.currval(regclass) returns bigint language sql as 'select 2::bigint'",
    "create operator public.> (leftarg = bigint, rightarg = int, function = int84gt)",
    "create schema evil",
    "set row_security = off",
    "set session_replication_role = replica",
    "set debug_print_plan = on | set client_min_messages = log | select pgwarden.enter(1, '1', 1, sha256('x'))",
    "set standard_conforming_strings = off | select email from invoices",
    "set plpgsql.extra_errors = 'all' | select email from invoices",
    "set plan_cache_mode = force_generic_plan | prepare p as select email from invoices | execute p",
    "set debug_parallel_query = on | set force_parallel_mode = on | select email from invoices",
    "set default_transaction_isolation = 'serializable' | select email from invoices",
    "select query_to_xml('select email from invoices', true, false, '')",
    "select schema_to_xml('public', true, false, '')",
    "do $$ begin perform setval('pgwarden.s_tenant', 2); exception when others then null; end $$",
    "do $$ declare r text; begin for r in select email from invoices loop raise notice '%', r; end loop; end $$",
    "lock table invoices in access exclusive mode",
    "alter default privileges grant all on tables to public",
    "select lastval()",
];

#[test]
fn keys_rotate_and_the_plan_says_nothing_of_them() {
    for server in Server::BOTH {
        keys_rotate(server);
    }
}

fn keys_rotate(server: Server) {
    let stand = protected(server, "bigint");
    let new = KEY.replace("00", "fe");
    let mut session = stand.app();
    stand.write_keys(&format!("2:{new}\n1:{KEY}\n"));
    assert!(stand.protect(&["--apply"]).contains("done: key of epoch 2"));
    let nonce = session.hello();
    assert_eq!(session.enter_with(&key(1, KEY), "1", nonce), "1");
    assert_eq!(session.enter_with(&key(2, &new), "2", nonce), "2");
    stand.write_keys(&format!("2:{new}\n"));
    assert!(stand.protect(&["--apply"]).contains("done: key of epoch 1: no longer in keys_file"));
    assert_eq!(session.enter_with(&key(1, KEY), "1", nonce), "!28000 bad tenant token");
    assert_eq!(session.enter_with(&key(2, &new), "1", nonce), "1");

    session.ask("set client_min_messages = log; set debug_print_plan = on; set debug_print_parse = on; set debug_print_rewritten = on");
    let turn = session.token(&key(2, &new), "1", 50, nonce);
    let reply = session.wire.query(&turn);
    let shown = format!("{:?}", reply.notices());
    let inner = pgwarden::guard::seal::pads(&key(2, &new)).0;
    let bytes: Vec<String> = inner.as_bytes()[..16].chunks(2).map(|pair| hex(pair).to_string()).collect();
    assert!(shown.contains("plan"), "plans are printed to the client: {shown}");
    assert!(!shown.contains(&inner[..16]) && !shown.contains(&bytes.join(" ")), "a key is in a plan");
}

/// A byte as the node printer writes it.
fn hex(pair: &[u8]) -> i8 {
    let text = std::str::from_utf8(pair).expect("hexadecimal");
    u8::from_str_radix(text, 16).expect("a byte") as i8
}
