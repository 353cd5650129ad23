//! Attacks that are no text: startup packets, messages out of place, two sessions at once.

use std::time::Duration;

use super::client::{Client, Outcome, Way, outcome};
use super::lab::{Ground, Lab, Wall};
use crate::kit::wire::CancelKey;
use crate::kit::{Login, say};

/// Plays one by its name.
pub fn play(lab: &Lab, name: &str, ground: Ground) -> Vec<(&'static str, Outcome, Vec<String>)> {
    let (outcome, mut clients) = match name {
        "echo_functions" => echo_functions(lab, ground),
        "startup_options" => startup(lab, ground, &[("options", "-c app.tenant_id=2")]),
        "startup_key" => startup(lab, ground, &[("app.tenant_id", "2")]),
        "startup_twice" => startup_twice(lab, ground),
        "startup_options_many" => {
            startup(lab, ground, &[("options", "-c app.tenant_id=2 -c search_path=t2 --role=none --app.x=y")])
        }
        "startup_role" => startup_role(lab, ground),
        "replication" => startup(lab, ground, &[("replication", "database")]),
        "protocol_option" => startup(lab, ground, &[("_pq_.foo", "1")]),
        "plaintext_behind_ssl" => plaintext_behind_ssl(lab, ground),
        "length_negative" => bytes(lab, ground, &[&b"Q\xff\xff\xff\xff"[..], b"SELECT 1\0"].concat()),
        "length_wraps" => length_wraps(lab, ground),
        "query_before_sync" => query_before_sync(lab, ground),
        "rows_left_unread" => rows_left_unread(lab, ground),
        "flush_without_sync" => flush_without_sync(lab, ground),
        "queries_in_one_segment" => queries_in_one_segment(lab, ground),
        "unknown_message" => bytes(lab, ground, &say::message(b'y', b"what")),
        "describe_only" => describe_only(lab, ground),
        "terminate" => bytes(lab, ground, &say::terminate()),
        "function_call_set_config" => function_call(lab, ground, 2078, &["app.tenant_id", "2", "f"]),
        "function_call_xml" => function_call(lab, ground, 2923, &["select min(email) from b.invoices", "t", "f", ""]),
        "live_activity" => {
            live(lab, ground, "SELECT query FROM pg_stat_activity; SELECT * FROM pg_stat_get_activity(NULL)")
        }
        "live_terminate" => live(
            lab,
            ground,
            "SELECT pg_terminate_backend(pid), pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid(); \
             SELECT pg_cancel_backend(pid) FROM generate_series(pg_backend_pid() - 50, pg_backend_pid() + 50) pid \
             WHERE pid <> pg_backend_pid()",
        ),
        "live_notify" => {
            live(lab, ground, "LISTEN billing; SELECT 1; NOTIFY billing, 'x'; SELECT pg_notify('billing', 'y')")
        }
        "live_advisory" => live(lab, ground, "SELECT pg_advisory_lock(99); SELECT pg_try_advisory_xact_lock(99)"),
        "cancel_guessed" => cancel_guessed(lab, ground),
        "cancel_stale" => cancel_stale(lab, ground),
        "pipeline" => pipeline(lab, ground),
        "replay" => replay(lab, ground),
        other => panic!("no conversation {other}"),
    };
    clients.iter_mut().for_each(|client| {
        client.settle();
        client.end();
    });
    let mut found: Vec<_> =
        clients.iter().flat_map(|client| client.stolen("1")).map(|word| format!("LEAK of {word}")).collect();
    found.extend(clients.into_iter().flat_map(|client| client.harm));
    vec![("wire", outcome, found)]
}

/// After so long nothing more comes.
const QUIET: Duration = Duration::from_millis(60);

type Played = (Outcome, Vec<Client>);

fn attacker(lab: &Lab, ground: Ground) -> Client {
    if lab.wall == Wall::Direct { lab.direct(ground, true) } else { lab.client(ground, 1) }
}

/// The attacker's table of tenant 2's rows.
fn table(ground: Ground) -> &'static str {
    match ground {
        Ground::Row => "a.invoices",
        Ground::Schema => "invoices",
    }
}

fn reads(ground: Ground) -> String {
    format!("SELECT email FROM {}", table(ground))
}

/// Logs in with further parameters and reads.
fn startup(lab: &Lab, ground: Ground, parameters: &[(&str, &str)]) -> Played {
    let mut client = attacker(lab, ground);
    if lab.wall != Wall::Direct {
        client.end();
        let login = parameters.iter().fold(lab.login(ground, 1), |login, (name, value)| login.parameter(name, value));
        client = try_login(login);
    }
    let said = client.ask(Way::Simple, &reads(ground));
    (outcome(&said), vec![client])
}

fn startup_twice(lab: &Lab, ground: Ground) -> Played {
    let other = lab.side_by_side(ground).map_or_else(String::new, |(_, two)| two.user);
    startup(lab, ground, &[("user", &other)])
}

fn try_login(login: Login) -> Client {
    Client::new(login, None)
}

fn startup_role(lab: &Lab, ground: Ground) -> Played {
    let mut client = startup(lab, ground, &[("role", &lab.fill("{t2r}"))]).1.remove(0);
    if !client.is_open() {
        client = attacker(lab, ground);
    }
    let texts = ["RESET ROLE", "SET ROLE NONE", "SET ROLE {t2r}", "SET SESSION AUTHORIZATION {t2r}", "DISCARD ALL"];
    let said = texts.map(|text| {
        let said = client.ask(Way::Simple, &lab.fill(text));
        client.ask(Way::Simple, &reads(ground));
        client.ask(Way::Simple, "SELECT email FROM t2.invoices");
        outcome(&said)
    });
    (said.into_iter().max().unwrap_or(Outcome::Harmless), vec![client])
}

/// Every function of the catalog that takes one or two texts, on another's rows.
fn echo_functions(lab: &Lab, ground: Ground) -> Played {
    let functions = lab.superuser(
        "SELECT DISTINCT oid::regproc::text, pronargs FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' \
         AND (proargtypes::oid[] IN ('{25}', '{25,25}', '{19}', '{2205,25}') OR proargtypes::text IN ('25', '25 25')) \
         AND prorettype <> 2279 AND proname !~ '^(pg_sleep|pg_terminate|pg_cancel|pg_read|pg_ls|pg_stat|lo_)' ORDER BY 1",
    );
    let mut client = attacker(lab, ground);
    let mut worst = Outcome::Harmless;
    let id = if ground == Ground::Row { "amount = 777 AND " } else { "" };
    client.ask(Way::Simple, "SET enable_seqscan = off");
    for row in functions {
        let (name, count) = (row[0].clone().unwrap_or_default(), row[1].clone().unwrap_or_default());
        let arguments = if count == "1" { "email" } else { "email, 'select'" };
        // A table without an index on the tenant column: conditions are tried in the order that the planner likes.
        let table = if ground == Ground::Row { "b.invoices" } else { table(ground) };
        let text = format!("SELECT 1 FROM {table} WHERE {id}{name}({arguments}) IS NOT NULL");
        worst = worst.max(outcome(&client.ask(Way::Simple, &text)));
    }
    (worst, vec![client])
}

fn plaintext_behind_ssl(lab: &Lab, ground: Ground) -> Played {
    if lab.wall == Wall::Direct {
        return (Outcome::Harmless, Vec::new());
    }
    let login = lab.login(ground, 1);
    let mut wire = login.dial().expect("connect");
    wire.send(&[say::ssl_request(), login.startup(), say::query(&reads(ground))].concat());
    wire.patience(Duration::from_millis(500));
    while let Ok(Some(message)) = wire.try_read() {
        assert!(!message.body.windows(6).any(|window| window == b"SECRET"), "{message:?}");
    }
    (Outcome::Harmless, Vec::new())
}

fn bytes(lab: &Lab, ground: Ground, bytes: &[u8]) -> Played {
    let mut client = attacker(lab, ground);
    client.send(bytes);
    client.listen(QUIET);
    let mut next = attacker(lab, ground);
    let said = next.ask(Way::Simple, &reads(ground));
    (outcome(&said), vec![client, next])
}

/// A parameter whose length is written shorter than it is: its tail looks like a message.
fn length_wraps(lab: &Lab, ground: Ground) -> Played {
    let hidden = say::query("SELECT email FROM b.invoices WHERE tenant_id = 2");
    let mut bind = say::bind("", "", &[Some(b"x")]);
    let inner = bind.len() - 3;
    bind.splice(inner..inner, hidden);
    bytes(lab, ground, &[say::parse("", "SELECT $1::text", &[]), bind, say::execute("", 0), say::sync()].concat())
}

fn query_before_sync(lab: &Lab, ground: Ground) -> Played {
    let mut client = attacker(lab, ground);
    let batch = [
        say::parse("", "SELECT 1/0", &[]),
        say::bind("", "", &[]),
        say::execute("", 0),
        say::query("SET app.tenant_id = '2'"),
        say::parse("", "SELECT email FROM a.invoices", &[]),
        say::bind("", "", &[]),
        say::execute("", 0),
        say::sync(),
        say::query(&reads(ground)),
    ];
    client.send(&batch.concat());
    let said = client.hear();
    client.listen(QUIET);
    (outcome(&said), vec![client])
}

/// Tenant 2 asks and goes without reading; the answer is nobody's.
fn rows_left_unread(lab: &Lab, ground: Ground) -> Played {
    if lab.wall != Wall::Direct {
        let mut other = lab.client(ground, 2);
        other.send(&say::query(&reads(ground)).repeat(20));
        other.drop_line();
    }
    let mut client = attacker(lab, ground);
    let said = client.ask(Way::Simple, "SELECT 1");
    client.ask(Way::Extended, &reads(ground));
    (outcome(&said), vec![client])
}

fn flush_without_sync(lab: &Lab, ground: Ground) -> Played {
    let mut client = attacker(lab, ground);
    let batch = [say::parse("p", &reads(ground), &[]), say::bind("q", "p", &[]), say::execute("q", 1), say::flush()];
    client.send(&batch.concat());
    client.listen(QUIET);
    client.drop_line();
    let mut next = attacker(lab, ground);
    next.send(&[say::execute("q", 0), say::describe_statement("p"), say::sync()].concat());
    let said = next.hear();
    (outcome(&said), vec![client, next])
}

fn queries_in_one_segment(lab: &Lab, ground: Ground) -> Played {
    let mut client = attacker(lab, ground);
    let texts =
        ["SELECT 1", "SET app.tenant_id = '2'", "SELECT email FROM a.invoices", "SELECT email FROM t2.invoices"];
    client.send(&texts.map(say::query).concat());
    let worst = texts.map(|_| outcome(&client.hear())).into_iter().max();
    (worst.unwrap_or(Outcome::Harmless), vec![client])
}

fn describe_only(lab: &Lab, ground: Ground) -> Played {
    let mut client = attacker(lab, ground);
    client.send(&[say::parse("", "SELECT * FROM t2.invoices", &[]), say::describe_statement(""), say::sync()].concat());
    let said = client.hear();
    (outcome(&said), vec![client])
}

/// A FunctionCall with texts.
fn function_call(lab: &Lab, ground: Ground, oid: u32, arguments: &[&str]) -> Played {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend_from_slice(&0_u16.to_be_bytes());
    body.extend_from_slice(&u16::try_from(arguments.len()).expect("few").to_be_bytes());
    for argument in arguments {
        body.extend_from_slice(&u32::try_from(argument.len()).expect("short").to_be_bytes());
        body.extend_from_slice(argument.as_bytes());
    }
    body.extend_from_slice(&0_u16.to_be_bytes());
    let mut client = attacker(lab, ground);
    let said = client.raw(&say::message(b'F', &body));
    if !client.is_open() {
        client.reconnect();
    }
    client.ask(Way::Simple, &reads(ground));
    (outcome(&said), vec![client])
}

/// Attacks while another's statement runs: it must end as if nobody had been there.
fn live(lab: &Lab, ground: Ground, texts: &str) -> Played {
    let Some((one, two)) = lab.side_by_side(ground) else { return (Outcome::Harmless, Vec::new()) };
    let mut victim = Client::new(two, None);
    victim.send(&say::query("SELECT /* SECRET-T2-statement */ pg_sleep(0.4), 'SECRET-T2-pan-4111111111111111'"));
    lab.superuser("SELECT pg_sleep(0.05)");
    let mut client = Client::new(one, None);
    let said = texts.split("; ").map(|text| outcome(&client.ask(Way::Simple, text))).max();
    let answer = victim.hear();
    client.harm.extend(answer.errors().iter().map(|error| format!("tenant 2 was disturbed: {error:?}")));
    victim.end();
    (said.unwrap_or(Outcome::Harmless), vec![client])
}

/// Cancels with keys that are nobody's, or his own with other numbers.
fn cancel_guessed(lab: &Lab, ground: Ground) -> Played {
    let Some((login, two)) = lab.side_by_side(ground) else { return (Outcome::Harmless, Vec::new()) };
    let mut victim = Client::new(two, None);
    victim.send(&say::query("SELECT pg_sleep(0.3)"));
    let own = login.connect().key.expect("a key");
    for pid in [own.pid, own.pid.wrapping_add(1), own.pid.wrapping_sub(1), victim.pid()] {
        for secret in [own.secret.clone(), vec![0; own.secret.len()], vec![0xff; own.secret.len()]] {
            login.cancel(&CancelKey { pid, secret });
        }
    }
    let answer = victim.hear();
    assert!(answer.errors().is_empty(), "tenant 2 was cancelled: {:?}", answer.errors());
    (Outcome::Harmless, Vec::new())
}

/// Cancels with a key of one's own when another has the server connection.
fn cancel_stale(lab: &Lab, ground: Ground) -> Played {
    if lab.wall == Wall::Direct {
        return (Outcome::Harmless, Vec::new());
    }
    let login = lab.login(ground, 1);
    let mut one = login.connect();
    one.query("SELECT 1");
    let key = one.key.clone().expect("a key");
    let mut victim = lab.client(ground, 2);
    victim.send(&say::query("SELECT pg_sleep(0.3)"));
    for _ in 0..5 {
        login.cancel(&key);
    }
    let answer = victim.hear();
    assert!(answer.errors().is_empty(), "tenant 2 was cancelled: {:?}", answer.errors());
    (Outcome::Harmless, Vec::new())
}

/// Reads around errors and context changes in one batch.
fn pipeline(lab: &Lab, ground: Ground) -> Played {
    let mut client = attacker(lab, ground);
    let one = |text: &str| [say::parse("", text, &[]), say::bind("", "", &[]), say::execute("", 0)].concat();
    let read = reads(ground);
    let mut worst = Outcome::Harmless;
    for change in [
        "DISCARD ALL",
        "RESET ALL",
        "ROLLBACK",
        "COMMIT AND CHAIN",
        "SET app.tenant_id = '2'",
        "SELECT pgwarden.hello()",
    ] {
        for batch in [
            [one(change), one(&read), say::sync()].concat(),
            [one(&read), one(change), say::flush(), one(&read), say::sync()].concat(),
            [one(change), say::sync(), one(&read), say::sync()].concat(),
        ] {
            client.send(&batch);
            worst = worst.max(outcome(&client.hear()));
            client.listen(QUIET);
        }
    }
    (worst, vec![client])
}

/// What can be read of the context is of no use later.
fn replay(lab: &Lab, ground: Ground) -> Played {
    let mut client = attacker(lab, ground);
    let mut worst = Outcome::Harmless;
    for text in [
        "SHOW app.tenant_id",
        "SELECT currval('pgwarden.s_tenant')",
        "SELECT last_value FROM pgwarden.s_tenant",
        "SELECT last_value FROM pgwarden.s_nonce",
        "SELECT setval('pgwarden.s_tenant', 2)",
        "SELECT nextval('pgwarden.s_tenant')",
        "ALTER SEQUENCE pgwarden.s_tenant RESTART 2",
        "SELECT * FROM pgwarden.keys",
        "SELECT ipad FROM pgwarden.keys",
        "SELECT pgwarden.tenant()",
        "SELECT pgwarden.enter(1, '2', 100, decode(repeat('00', 32), 'hex'))",
    ] {
        worst = worst.max(outcome(&client.ask(Way::Simple, text)));
        client.ask(Way::Simple, &reads(ground));
    }
    (worst, vec![client])
}
