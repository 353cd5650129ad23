//! Rewriting is row security: generated statements run rewritten as a role that row security does not hold, and as they are
//! under row security. Same rows and same tables afterwards, an error on both, or a refusal; never a silent difference.
//!
//! `PGWARDEN_REWRITES=1000000` runs as many, `PGWARDEN_SEED` from another seed; the failure says both.

mod generator;

use std::collections::BTreeMap;
use std::thread;

use pgwarden::config::Rewrite;
use pgwarden::rewrite::{InsertColumn, Request, plan};
use pgwarden::tenant::{Catalog, Column, KeyType, Relation, RelationKind, TenantKey};

use crate::kit::{self, Login, Wire, say};
use generator::Generator;

const SCHEMA: &str = "
create table invoices (id int primary key, tenant_id bigint not null default current_setting('app.t')::bigint, email text, amount int);
create table lines (id int primary key, invoice_id int, what text, tenant_id bigint not null default current_setting('app.t')::bigint);
create table parent (id int, tenant_id bigint not null default current_setting('app.t')::bigint, email text, primary key (tenant_id, id)) partition by list (tenant_id);
create table parent_1 partition of parent for values in (1);
create table parent_2 partition of parent for values in (2);
create table parent_3 partition of parent default;
create table countries (code int, name text);
insert into invoices select g, 1 + g % 3, 'e' || g % 5, g % 4 from generate_series(1, 7) g;
insert into lines select g, 1 + g % 7, 'e' || g % 4, 1 + g % 3 from generate_series(1, 7) g;
insert into parent select g, 1 + g % 3, 'e' || g % 5 from generate_series(1, 6) g;
insert into countries select g, 'e' || g from generate_series(1, 3) g;
create view v with (security_invoker = true) as select * from invoices;
alter table invoices enable row level security;
alter table lines enable row level security;
alter table parent enable row level security;
alter table parent_1 enable row level security;
create policy p on invoices using (tenant_id = current_setting('app.t')::bigint);
create policy p on lines using (tenant_id = current_setting('app.t')::bigint);
create policy p on parent using (tenant_id = current_setting('app.t')::bigint);
create policy p on parent_1 using (tenant_id = current_setting('app.t')::bigint);
";

const CONTENTS: &str = "reset role; select md5(string_agg(x, '|' order by x)) from (select 'i' || t from invoices t union all \
     select 'l' || t from lines t union all select 'p' || t from parent t union all select 'c' || t from countries t) c (x)";

fn catalog() -> Catalog {
    let relation = |name: &str, kind, columns: &[&str]| Relation {
        schema: "public".into(),
        name: name.into(),
        kind,
        columns: columns
            .iter()
            .map(|name| Column { name: (*name).into(), type_name: "text".into(), generated: false })
            .collect(),
        tenant_column: columns.iter().position(|name| *name == "tenant_id"),
        row_security: false,
    };
    let tables = generator::TABLES.iter().map(|(name, columns)| {
        let kind = match *name {
            "v" => RelationKind::View,
            "parent" => RelationKind::Partitioned,
            "parent_1" => RelationKind::Partition,
            _ => RelationKind::Table,
        };
        relation(name, kind, columns)
    });
    Catalog::new(vec!["public".into()], tables)
}

/// What came of a statement.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done { rows: Vec<String>, commands: Vec<String>, contents: String },
    Failed { sqlstate: String, message: String },
}

/// The two ways to run a statement, side by side on one database.
struct Lab {
    wire: Wire,
    walled: String,
    bare: String,
    catalog: Catalog,
}

impl Lab {
    fn new() -> Self {
        let database = kit::database();
        let (walled, bare) = (kit::role().name, kit::role().name);
        kit::sql(&database.name, SCHEMA);
        let grants = format!(
            "grant all on all tables in schema public to {walled}, {bare}; alter role {bare} bypassrls;
             grant usage, create on schema public to {walled}, {bare};"
        );
        kit::sql(&database.name, &grants);
        let cluster = kit::cluster();
        let login = Login::new(cluster.address(), cluster.superuser(), cluster.password(), &database.name);
        let mut wire = login.connect();
        // Compiling a statement that runs once takes longer than running it.
        wire.query("set jit = off").ok();
        Self { wire, walled, bare, catalog: catalog() }
    }

    /// Runs texts as a role, each as if it were the only one; all of them are sent before the first answer is read.
    fn run(&mut self, role: &str, tenant: Option<&str>, texts: &[&str]) -> Vec<Outcome> {
        let tenant = tenant.map_or("reset app.t".to_owned(), |tenant| format!("set app.t = '{tenant}'"));
        let mut messages = vec![say::query(&format!("set role {role}; {tenant}"))];
        for text in texts {
            if writes(text) {
                messages.extend(["begin", text, CONTENTS, "rollback"].map(say::query));
            } else {
                messages.push(say::query(text));
            }
        }
        messages.push(say::query("reset role"));
        self.wire.send_batch(&messages);
        self.wire.reply().ok();
        let outcomes = texts.iter().map(|text| self.outcome(writes(text))).collect();
        self.wire.reply().ok();
        outcomes
    }

    fn outcome(&mut self, writes: bool) -> Outcome {
        if writes {
            self.wire.reply().ok();
        }
        let reply = self.wire.reply();
        let contents = writes.then(|| (self.wire.reply(), self.wire.reply().ok()).0);
        if let Some(error) = reply.errors().first() {
            return Outcome::Failed { sqlstate: error.sqlstate.clone(), message: error.message.clone() };
        }
        let mut rows: Vec<String> = reply.rows().iter().map(|row| format!("{row:?}")).collect();
        rows.extend(
            reply.0.iter().filter(|message| message.tag == b'd').map(|m| String::from_utf8_lossy(&m.body).into_owned()),
        );
        rows.sort();
        let contents = contents.map(|contents| contents.value()).unwrap_or_default();
        Outcome::Done { rows, commands: reply.commands(), contents }
    }

    fn rewritten(&self, text: &str, tenant: &str) -> Result<String, &'static str> {
        let (scope, insert) = (&Rewrite::All, InsertColumn::Add);
        let key_type = KeyType::Bigint;
        let request = Request { text, catalog: &self.catalog, column: "tenant_id", key_type, scope, insert };
        let key = TenantKey::parse(key_type, tenant).expect("a key");
        let new =
            plan(&request).and_then(|plan| plan.apply(text.as_bytes(), &key)).map_err(|refusal| refusal.rule())?;
        Ok(String::from_utf8(new).expect("UTF-8"))
    }

    /// Runs texts both ways; what happened to each, or how it differs.
    fn compare(&mut self, texts: &[String], tenant: &str) -> Vec<Result<&'static str, String>> {
        let rewritten: Vec<_> = texts.iter().map(|text| self.rewritten(text, tenant)).collect();
        let pairs: Vec<(&str, &str)> =
            texts.iter().zip(&rewritten).filter_map(|(text, new)| Some((&**text, &**new.as_ref().ok()?))).collect();
        let (old, new): (Vec<&str>, Vec<&str>) = pairs.iter().copied().unzip();
        let (walled, bare) = (self.walled.clone(), self.bare.clone());
        let original = self.run(&walled, Some(tenant), &old);
        let outcomes = original.into_iter().zip(self.run(&bare, None, &new));
        let mut verdicts = pairs.into_iter().zip(outcomes).map(|((text, new), (original, rewritten))| {
            same(&original, &rewritten).ok_or_else(|| {
                format!(
                    "tenant {tenant}\n  {text}\n  {new}\n  row security: {original:?}\n  rewritten:    {rewritten:?}"
                )
            })
        });
        let verdict = |rewritten: &Result<String, &'static str>| match rewritten {
            Ok(_) => verdicts.next().expect("one for each that was rewritten"),
            Err(rule) => Ok(*rule),
        };
        rewritten.iter().map(verdict).collect()
    }
}

/// In which way two outcomes are no silent difference.
fn same(original: &Outcome, rewritten: &Outcome) -> Option<&'static str> {
    match (original, rewritten) {
        (Outcome::Done { .. }, Outcome::Done { .. }) if original == rewritten => Some("same"),
        (Outcome::Failed { .. }, Outcome::Failed { .. }) => Some("errors on both"),
        // Row security skips the row when WHERE does not hold; ours is said first, and loudly.
        (_, Outcome::Failed { message, .. }) if message.contains("belongs to another tenant") => Some("loud conflict"),
        _ => None,
    }
}

/// Whether a text may change a table; more do not.
fn writes(text: &str) -> bool {
    ["insert", "update", "delete", "merge"].iter().any(|word| text.contains(word))
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

/// What became of statements, and the first that differ.
#[derive(Default)]
struct Report {
    counts: BTreeMap<&'static str, u64>,
    differences: Vec<String>,
}

#[test]
fn rewriting_gives_what_row_security_gives() {
    let (count, seed) = (number("PGWARDEN_REWRITES", 100_000), number("PGWARDEN_SEED", 1));
    let threads = thread::available_parallelism().map_or(2, |threads| threads.get() as u64).min(4);
    let reports: Vec<Report> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || generated(seed, (thread..count).step_by(threads as usize))))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (what, number) in reports.iter().flat_map(|report| &report.counts) {
        *counts.entry(what).or_default() += number;
    }
    let differences: Vec<&String> = reports.iter().flat_map(|report| &report.differences).collect();
    println!("{count} statements of seed {seed}: {counts:?}, {} differ", differences.len());
    assert!(differences.is_empty(), "{differences:#?}");
    // The generator makes statements that work, and few that are refused.
    let of = |what| counts.get(what).copied().unwrap_or(0);
    assert!(of("same") * 2 > count, "{counts:?}");
}

/// Runs the statements of these numbers both ways, in a database of its own.
fn generated(seed: u64, numbers: impl Iterator<Item = u64>) -> Report {
    let (mut lab, mut report) = (Lab::new(), Report::default());
    let numbers: Vec<u64> = numbers.collect();
    for (at, numbers) in numbers.chunks(BATCH).enumerate() {
        let tenant = ["1", "2", "3", "9"][at % 4];
        let text = |number: &u64| Generator::new(seed.wrapping_mul(1_000_003).wrapping_add(*number)).statement();
        let texts: Vec<String> = numbers.iter().map(text).collect();
        for (number, verdict) in numbers.iter().zip(lab.compare(&texts, tenant)) {
            match verdict {
                Ok(what) => *report.counts.entry(what).or_default() += 1,
                Err(difference) => report.differences.push(format!("statement {number} of seed {seed}, {difference}")),
            }
        }
        if at % 8 == 7 {
            lab.wire.query("vacuum").ok();
        }
        if report.differences.len() >= 10 {
            break;
        }
    }
    report
}

/// Statements sent before the first answer is read: what they are and what they return fits the sockets' buffers.
const BATCH: usize = 64;

/// Attacks on the rewriting alone: each shows no row of tenant 2, or is refused.
#[test]
fn no_foreign_row_shows_without_row_security() {
    let mut lab = Lab::new();
    let bare = lab.bare.clone();
    lab.wire.query("reset role; update invoices set email = 'FOREIGN' where tenant_id <> 1").ok();
    lab.wire.query("update lines set what = 'FOREIGN' where tenant_id <> 1").ok();
    for text in generator::ATTACKS {
        let Ok(new) = lab.rewritten(text, "1") else { continue };
        let outcome = lab.run(&bare, None, &[&new]);
        assert!(!format!("{outcome:?}").contains("FOREIGN"), "{text}\n{new}\n{outcome:?}");
    }
}
