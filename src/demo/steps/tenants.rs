//! Steps about tenants: what each sees of the tables that they share, and what it cannot do.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use tokio_postgres::error::DbError;

use super::Came;
use crate::demo::screen::Table;
use crate::demo::stage::{Account, BILLING_ROLE, Session, Stage, StepError};

/// The tenants' keys, as the sample's table has them.
const HARBOR: &str = "1";
const LUMEN: &str = "2";

/// Every table with the tenant column.
const TABLES: [&str; 7] =
    ["plans", "customers", "subscriptions", "invoices", "invoice_lines", "payments", "usage_events"];

pub async fn protected(stage: &Stage) -> Result<Came, StepError> {
    let protection = &stage.protection;
    let mut table = Table::new(["doctor's check", "holes before", "for example", "after"]);
    for (rule, objects) in &protection.before.holes {
        let after = protection.after.holes.get(rule).map_or(0, Vec::len);
        let example = objects.first().cloned().unwrap_or_default();
        let mark = if after == 0 { "✓".to_owned() } else { format!("✗ {after}") };
        table.row([rule.clone(), objects.len().to_string(), example, mark]);
    }
    let text = format!(
        "Before: {} holes. protect: {} changes; left alone: {}. After: {} ✓, {} to know, {} holes.",
        protection.before.holes(),
        protection.done.len(),
        protection.left.len(),
        protection.after.passes,
        protection.after.warnings,
        protection.after.holes()
    );
    let conditions = [
        protection.before.holes() > 0,
        !protection.done.is_empty(),
        protection.after.holes() == 0,
        protection.after.passes > 0,
    ];
    Ok(Came::judged(conditions, text).with(table))
}

pub async fn own_rows(stage: &Stage) -> Result<Came, StepError> {
    let (harbor, lumen) = (stage.connect(&stage.accounts.harbor).await?, stage.connect(&stage.accounts.lumen).await?);
    let server = stage.server().await?;
    let mut table = Table::new(["SELECT count(*) FROM", "harbor", "lumen", "all tenants"]);
    let mut right = true;
    for name in TABLES {
        let text = format!("SELECT count(*) FROM {name}");
        let (of_harbor, of_lumen) = (harbor.value(&text).await?, lumen.value(&text).await?);
        right &= of_harbor == server.value(&format!("{text} WHERE tenant_id = {HARBOR}")).await?;
        right &= of_lumen == server.value(&format!("{text} WHERE tenant_id = {LUMEN}")).await?;
        right &= [&of_harbor, &of_lumen].iter().all(|count| *count != "0");
        table.row([name.to_owned(), of_harbor, of_lumen, server.value(&text).await?]);
    }
    // All at once, so that they meet each other's backends.
    let text = "SELECT pg_backend_pid(), string_agg(DISTINCT tenant_id::text, ',') FROM invoices";
    let mut met: [BTreeSet<String>; 2] = Default::default();
    for _ in 0..40 {
        let answers = tokio::try_join!(harbor.rows(text), lumen.rows(text))?;
        for ((rows, met), key) in [&answers.0, &answers.1].into_iter().zip(&mut met).zip([HARBOR, LUMEN]) {
            let row = rows.first();
            let cell = |column| row.and_then(|row| row.get(column)).unwrap_or_default();
            right &= cell(1) == key;
            met.insert(cell(0).to_owned());
        }
    }
    let text = format!(
        "{} as they should be; 80 more questions at the same time met {} backends and no other tenant's row.",
        if right { "All counts are" } else { "Not all counts are" },
        met[0].union(&met[1]).count()
    );
    Ok(Came::judged([right], text).with(table))
}

pub async fn allowed(stage: &Stage) -> Result<Came, StepError> {
    let (harbor, lumen) = (stage.connect(&stage.accounts.harbor).await?, stage.connect(&stage.accounts.lumen).await?);
    let insert = "INSERT INTO customers (name, contact, email) \
                  VALUES ('Tour Guides', 'Ada Berg', 'ada@tour.example') RETURNING id";
    harbor.execute("BEGIN").await?;
    let id = harbor.value(insert).await?;
    harbor.execute(&format!("UPDATE customers SET name = 'Tour Guides Ltd' WHERE id = {id}")).await?;
    harbor.execute("COMMIT").await?;
    let read = format!("SELECT tenant_id || ' ' || name FROM customers WHERE id = {id}");
    let own = harbor.value(&read).await?;
    let seen = lumen.rows(&read).await?.len();
    let change = format!("UPDATE customers SET name = 'taken' WHERE id = {id}");
    let changed = lumen.client.execute(&change, &[]).await?;
    let erased = harbor.client.execute(&format!("DELETE FROM customers WHERE id = {id}"), &[]).await?;
    let text = format!(
        "harbor's row reads {own:?}; lumen saw {seen} rows and changed {changed}; harbor deleted {erased} again."
    );
    Ok(Came::judged([own == "1 Tour Guides Ltd", seen == 0, changed == 0, erased == 1], text))
}

pub async fn rewritten(stage: &Stage) -> Result<Came, StepError> {
    let (lumen, server) = (stage.connect(&stage.accounts.lumen).await?, stage.server().await?);
    let sent = "SELECT count(*) FROM usage_events WHERE at >= (SELECT max(at) - interval '7 days' FROM usage_events)";
    lumen.execute("BEGIN").await?;
    let counted = lumen.value(sent).await?;
    let looked = format!(
        "SELECT query FROM pg_stat_activity WHERE usename = '{BILLING_ROLE}' AND state = 'idle in transaction'"
    );
    let got = server.value(&looked).await?;
    lumen.execute("COMMIT").await?;
    let own = "FROM usage_events WHERE tenant_id = 2";
    let check = format!("SELECT count(*) {own} AND at >= (SELECT max(at) - interval '7 days' {own})");
    let right = server.value(&check).await?;
    let text = format!(
        "The count is {counted}, and {right} by the superuser's own predicate.\nsent:       {sent}\nserver got: {got}"
    );
    let conditions = [got != sent, got.matches("tenant_id").count() >= 2, counted == right, counted != "0"];
    Ok(Came::judged(conditions, text))
}

/// Statements that reach for more than is the tenant's, and the rules that refuse them.
const REACHES: [(&str, &str); 8] = [
    ("SET app.tenant_id = '2'", "setting"),
    (r"SELECT pgwarden.enter(1, '2', 99, '\x00')", "function"),
    ("SELECT pg_read_file('postgresql.conf')", "function"),
    ("INSERT INTO customers (tenant_id, name, contact, email) VALUES (2, 'x', 'x', 'x')", "rewrite_foreign_tenant"),
    ("UPDATE customers SET tenant_id = 2", "tenant_column"),
    ("DO $$ BEGIN PERFORM 1; END $$", "statement_kind"),
    ("SET ROLE postgres", "statement_kind"),
    ("SELECT query FROM pg_stat_activity", "catalog"),
];

pub async fn refused(stage: &Stage) -> Result<Came, StepError> {
    let session = stage.connect(&stage.accounts.harbor).await?;
    let (mut right, mut page) = (0, String::new());
    for (statement, expected) in REACHES {
        let sent = session.refusal(statement).await?;
        let rule = rule_of(&sent);
        right += usize::from(rule == Some(expected) && sent.hint().is_some() && sent.code().code() == "42501");
        let by = rule.map_or_else(|| "the database".to_owned(), |rule| format!("rule {rule}"));
        let hint = sent.hint().map(|hint| format!(". {hint}")).unwrap_or_default();
        page.push_str(&format!("\n{statement}\n→ {} ({by}): {}{hint}", sent.code().code(), sent.message()));
    }
    let goes_on = session.value("SELECT DISTINCT tenant_id FROM invoices").await?;
    let of = REACHES.len();
    let text = format!("{right} of {of} refused as they should be; the session goes on as tenant {goes_on}.{page}");
    Ok(Came::judged([right == of, goes_on == HARBOR], text))
}

/// The proxy's rule behind an error; `None`: the server's own.
fn rule_of(sent: &DbError) -> Option<&str> {
    sent.detail()?.strip_prefix("Refused by pgwarden, rule ")?.strip_suffix('.')
}

pub async fn wall_alone(stage: &Stage) -> Result<Came, StepError> {
    let session = stage.around_the_proxy().await?;
    let role = session.value("SELECT current_user").await?;
    let mut table = Table::new(["statement", "answer"]);
    let mut closed = true;
    for statement in [
        "SELECT count(*) FROM invoices",
        "SET app.tenant_id = '1'; SELECT count(*) FROM invoices",
        r"SELECT pgwarden.enter(1, '1', 1, sha256('a guess'))",
        "SELECT count(*) FROM invoices WHERE tenant_id = 1",
    ] {
        let answer = match session.value(statement).await {
            Ok(value) => {
                closed &= value == "0";
                value
            }
            Err(StepError::Postgres(error)) if error.as_db_error().is_some() => StepError::Postgres(error).to_string(),
            Err(other) => return Err(other),
        };
        table.row([statement.to_owned(), answer]);
    }
    let text = format!("As {role}, straight on the server: {}.", if closed { "not one row" } else { "rows!" });
    Ok(Came::judged([closed, role == BILLING_ROLE], text).with(table))
}

pub async fn operator(stage: &Stage) -> Result<Came, StepError> {
    let support = &stage.accounts.support;
    let mut table = Table::new(["login", "tenants of the invoices", "DELETE FROM invoices"]);
    let (mut tenants, mut codes) = (Vec::new(), Vec::new());
    for tenant in [&stage.accounts.harbor, &stage.accounts.lumen] {
        let account = Account { name: format!("{}@{}", support.name, tenant.name), ..support.clone() };
        let session = stage.connect(&account).await?;
        let seen = session.value("SELECT string_agg(DISTINCT tenant_id::text, ',') FROM invoices").await?;
        let refusal = session.refusal("DELETE FROM invoices").await?;
        table.row([account.name, seen.clone(), format!("{} {}", refusal.code().code(), refusal.message())]);
        tenants.push(seen);
        codes.push(refusal.code().code().to_owned());
    }
    let alone = login_refused(stage, support).await?;
    let foreign = Account {
        name: format!("{}@{}", stage.accounts.harbor.name, stage.accounts.lumen.name),
        ..stage.accounts.harbor.clone()
    };
    let stranger = login_refused(stage, &foreign).await?;
    let text = format!("support alone: {alone}; {}: {stranger}.", foreign.name);
    let conditions = [
        tenants == [HARBOR, LUMEN],
        codes.iter().all(|code| code == "42501"),
        alone.starts_with("28000 "),
        stranger.starts_with("28000 "),
    ];
    Ok(Came::judged(conditions, text).with(table))
}

/// SQLSTATE and message of a login that must fail.
async fn login_refused(stage: &Stage, account: &Account) -> Result<String, StepError> {
    match stage.log_in(account).await {
        Ok(_) => Err(StepError::unexpected(format!("{} was let in", account.name))),
        Err(error) => Ok(StepError::Postgres(error).to_string()),
    }
}

pub async fn switched_off(stage: &Stage) -> Result<Came, StepError> {
    let failed = |error: std::io::Error| StepError::unexpected(error.to_string());
    let good = fs::read_to_string(&stage.config).map_err(failed)?;
    let head = format!("[tenants.{}]\nkey = \"{LUMEN}\"\nenabled = ", stage.accounts.lumen.name);
    let off = good.replace(&format!("{head}true"), &format!("{head}false"));
    let console = stage.console().await?;
    let (harbor, lumen) = (stage.connect(&stage.accounts.harbor).await?, stage.connect(&stage.accounts.lumen).await?);
    lumen.value("SELECT 1").await?;

    fs::write(&stage.config, &off).map_err(failed)?;
    console.execute("RELOAD").await?;
    let ended = tokio::time::timeout(Duration::from_secs(5), ended(&lumen)).await;
    let ended = ended.unwrap_or_else(|_| "not at all".to_owned());
    let refused = login_refused(stage, &stage.accounts.lumen).await;
    let goes_on = harbor.value("SELECT DISTINCT tenant_id FROM invoices").await;
    fs::write(&stage.config, &good).map_err(failed)?;
    console.execute("RELOAD").await?;

    let (refused, goes_on) = (refused?, goes_on?);
    let back = stage.connect(&stage.accounts.lumen).await?.value("SELECT DISTINCT tenant_id FROM invoices").await?;
    let text =
        format!("lumen's session ended: {ended}; a login: {refused}; harbor: tenant {goes_on}; later lumen: {back}.");
    let conditions =
        [off != good, ended.starts_with("57P01 "), refused.starts_with("28000 "), goes_on == HARBOR, back == LUMEN];
    Ok(Came::judged(conditions, text))
}

/// Waits until a session's connection has ended; with which error.
async fn ended(session: &Session) -> String {
    session.end.clone().wait_for(Option::is_some).await.ok().and_then(|end| end.clone()).unwrap_or_default()
}
