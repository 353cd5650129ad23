//! Trying it: sessions of nobody, of a tenant that there is not, with bad tokens and used ones.
//!
//! A standby is tried as a standby is used, transaction by transaction.
//!
//! Every probe is a read that ends with its transaction, asks for a constant, and gives up soon. One that takes too long
//! has found no row at once, which is what a table without protection would have given.

use crate::config::{ContextKind, SealKey};
use crate::guard::client::{Client, GuardError};
use crate::guard::quote::{ident, literal};
use crate::guard::report::{PROTECT, Report};
use crate::guard::seal;
use crate::guard::wall::Wall;
use crate::seal::{Sealer, Session};
use crate::tenant::{KeyType, TenantKey};

/// A relation to probe.
#[derive(Debug)]
pub(super) struct Try {
    pub label: String,
    pub table: String,
    /// Expressions that its policies compare the tenant column with.
    pub values: Vec<String>,
}

/// How long a sealed context lasts on this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    Session,
    /// A hot standby's.
    Transaction,
}

/// A probe's time, at most.
const PROBE: &str = "SET LOCAL statement_timeout = '500ms'";

pub(super) async fn run(
    client: &mut Client,
    wall: &Wall,
    lasting: Lasting,
    tries: &[Try],
    report: &mut Report,
) -> Result<(), GuardError> {
    let Some(stranger) = stranger(wall.row.key_type) else { return Ok(()) };
    match &wall.row.context {
        ContextKind::Sealed(keys) => {
            nobody(client, "", tries, report).await?;
            if report
                .findings
                .iter()
                .any(|finding| finding.rule == "sealed_context" || finding.rule == "sealed_functions")
            {
                return Ok(());
            }
            // The key in use comes last: its session goes on as the stranger.
            let mut enter = String::new();
            for (number, key) in keys.iter().enumerate().rev() {
                match lasting {
                    Lasting::Session => tokens(client, key, number == 0, &stranger, report).await?,
                    Lasting::Transaction => {
                        enter = transaction_tokens(client, key, number == 0, &stranger, report).await?;
                    }
                }
            }
            others(client, &enter, &stranger, wall, tries, report).await?;
            client.run("DISCARD ALL").await?;
        }
        ContextKind::Setting(name) => {
            nobody(client, "", tries, report).await?;
            let set = |value: &str| format!("SELECT set_config({}, {}, true)", literal(name), literal(value));
            nobody(client, &set(""), tries, report).await?;
            values(client, &set, &stranger, tries, report).await?;
            others(client, &set(stranger.as_str()), &stranger, wall, tries, report).await?;
        }
    }
    Ok(())
}

/// A key that no tenant is likely to have.
fn stranger(kind: KeyType) -> Option<TenantKey> {
    let text = match kind {
        KeyType::Int => "2147483646",
        KeyType::Bigint => "9223372036854775801",
        KeyType::Uuid => "d0c70200-0000-4000-8000-00000000d0c7",
        KeyType::Text => "pgwarden doctor: no tenant",
    };
    TenantKey::parse(kind, text).ok()
}

/// Whether a query gives a row; an error and a timeout do not.
async fn gives_row(client: &mut Client, before: &str, query: &str) -> Result<bool, GuardError> {
    let answer = client.run(&format!("BEGIN READ ONLY; {PROBE}; {before}")).await;
    let answer = match answer {
        Ok(_) => client.run(query).await,
        Err(error) => Err(error),
    };
    let found = match answer {
        Ok(rows) => !rows.is_empty(),
        Err(GuardError::Refused { .. }) => false,
        Err(error) => return Err(error),
    };
    client.run("ROLLBACK").await?;
    Ok(found)
}

/// Without a tenant there are no rows.
async fn nobody(client: &mut Client, before: &str, tries: &[Try], report: &mut Report) -> Result<(), GuardError> {
    for table in tries {
        if gives_row(client, before, &format!("SELECT 1 FROM {} LIMIT 1", table.table)).await? {
            report.hole("open_without_tenant", &table.label, "gives rows to a session without a tenant", PROTECT);
        }
    }
    Ok(())
}

/// A tenant that there is not sees nobody's rows.
async fn others(
    client: &mut Client,
    before: &str,
    stranger: &TenantKey,
    wall: &Wall,
    tries: &[Try],
    report: &mut Report,
) -> Result<(), GuardError> {
    let mut holes = 0;
    for table in tries {
        let column = ident(wall.column());
        let query =
            format!("SELECT 1 FROM {} WHERE {column} IS DISTINCT FROM {} LIMIT 1", table.table, stranger.literal());
        if gives_row(client, before, &query).await? {
            holes += 1;
            report.hole("open_to_others", &table.label, "gives a tenant rows of others", PROTECT);
        }
    }
    if holes == 0 {
        report.pass("tried", "tables", format!("{} tried: no rows without a tenant, none of others", tries.len()));
    }
    Ok(())
}

/// What policies compare with is NULL or an error without a tenant, and the tenant with one.
async fn values(
    client: &mut Client,
    set: &impl Fn(&str) -> String,
    stranger: &TenantKey,
    tries: &[Try],
    report: &mut Report,
) -> Result<(), GuardError> {
    for table in tries {
        for value in &table.values {
            for before in [String::new(), set("")] {
                if gives_row(client, &before, &format!("SELECT 1 WHERE ({value}) IS NOT NULL")).await? {
                    let text = "its policy takes some tenant where the session has none";
                    report.hole("policy_fails_open", &table.label, text, PROTECT);
                }
            }
            let query = format!("SELECT 1 WHERE ({value})::pg_catalog.text = {}", literal(stranger.as_str()));
            if !gives_row(client, &set(stranger.as_str()), &query).await? {
                let text = "its policy does not follow the session's setting";
                report.hole("policy_other_value", &table.label, text, PROTECT);
            }
        }
    }
    Ok(())
}

/// A good token enters, a bad one and a used one do not. Leaves the session in the stranger's tenant.
async fn tokens(
    client: &mut Client,
    key: &SealKey,
    in_use: bool,
    stranger: &TenantKey,
    report: &mut Report,
) -> Result<(), GuardError> {
    let object = format!("key of epoch {}", key.epoch);
    let Ok(sealer) = Sealer::new(key) else { return Ok(()) };
    let hello = client.run("SELECT pgwarden.hello()").await?;
    let nonce = hello.first().and_then(|row| row.first()?.as_deref()?.parse::<i64>().ok());
    let Some(nonce) = nonce else { return Err(GuardError::Answer("hello() drew no number".to_owned())) };
    let pid = client.pid();
    let session = |turn| Session { pid, nonce, turn };
    let statement = |turn, mac: &[u8; 32]| seal::enter_statement(key, stranger.as_str(), turn, mac);
    let good = statement(1, &sealer.token(stranger, session(1)));
    let later = statement(3, &sealer.token(stranger, session(3)));
    let mut bad = sealer.token(stranger, session(2));
    bad[31] ^= 1;
    let bad = statement(2, &bad);
    if !answers(client, &good, stranger.as_str()).await? {
        not_taken(&object, in_use, report);
        return Ok(());
    }
    for (statement, text) in [(&good, "a used token enters again"), (&bad, "a forged token enters")] {
        if answers(client, statement, stranger.as_str()).await? {
            report.hole("sealed_tokens", &object, text, PROTECT);
        }
    }
    if !answers(client, &later, stranger.as_str()).await? {
        report.hole("sealed_keys", &object, "the database does not take a second token", PROTECT);
        return Ok(());
    }
    report.pass("sealed_keys", &object, "enters; used and forged tokens are refused");
    Ok(())
}

/// On a standby: a good token enters, a forged and an expired one do not, and what one has set says nobody in a later
/// transaction. Returns what makes a transaction the stranger's.
async fn transaction_tokens(
    client: &mut Client,
    key: &SealKey,
    in_use: bool,
    stranger: &TenantKey,
    report: &mut Report,
) -> Result<String, GuardError> {
    let object = format!("key of epoch {}", key.epoch);
    let Ok(sealer) = Sealer::new(key) else { return Ok(String::new()) };
    let clock =
        client.run("SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::pg_catalog.int8").await?;
    let clock = clock.first().and_then(|row| row.first()?.as_deref()?.parse::<i64>().ok());
    let Some(clock) = clock else { return Err(GuardError::Answer("the server's clock is no number".to_owned())) };
    let pid = client.pid();
    let statement = |expires, mac: [u8; 32]| seal::enter_transaction_statement(key, stranger.as_str(), expires, &mac);
    let expires = clock + TRIAL_SECONDS;
    let good = statement(expires, sealer.transaction_token(stranger, pid, expires));
    let mut bad = sealer.transaction_token(stranger, pid, expires);
    bad[31] ^= 1;
    let bad = statement(expires, bad);
    let old = statement(clock - 1, sealer.transaction_token(stranger, pid, clock - 1));

    client.run("BEGIN READ ONLY").await?;
    let entered = answers(client, &good, stranger.as_str()).await?;
    let sealed =
        if entered { client.run("SELECT pg_catalog.current_setting('pgwarden.sealed')").await? } else { Vec::new() };
    client.run("ROLLBACK").await?;
    if !entered {
        not_taken(&object, in_use, report);
        return Ok(good);
    }
    let sealed = sealed.first().and_then(|row| row.first()?.as_deref()).unwrap_or_default();
    let again = format!("SELECT pg_catalog.set_config('pgwarden.sealed', {}, true)", literal(sealed));
    client.run(&format!("BEGIN READ ONLY; {again}")).await?;
    let replayed = answers(client, "SELECT pgwarden.tenant()", stranger.as_str()).await?;
    client.run("ROLLBACK").await?;
    if replayed {
        report.hole("sealed_tokens", &object, "a transaction's context is good in a later one", PROTECT);
    }
    for (statement, text) in [(&bad, "a forged token enters"), (&old, "an expired token enters")] {
        client.run("BEGIN READ ONLY").await?;
        let entered = answers(client, statement, stranger.as_str()).await?;
        client.run("ROLLBACK").await?;
        if entered {
            report.hole("sealed_tokens", &object, text, PROTECT);
        }
    }
    report.pass("sealed_keys", &object, "enters; replayed, expired and forged tokens are refused");
    Ok(good)
}

/// How long a token for the probes of a standby is good.
const TRIAL_SECONDS: i64 = 600;

/// A statement gives this one value; an error does not.
async fn answers(client: &mut Client, sql: &str, value: &str) -> Result<bool, GuardError> {
    match client.run(sql).await {
        Ok(rows) => Ok(rows.first().and_then(|row| row.first()?.as_deref()) == Some(value)),
        Err(GuardError::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn not_taken(object: &str, in_use: bool, report: &mut Report) {
    let text = "the database does not take its tokens";
    if in_use {
        report.hole("sealed_keys", object, text, PROTECT);
    } else {
        report.warn("sealed_keys", object, text, PROTECT);
    }
}
