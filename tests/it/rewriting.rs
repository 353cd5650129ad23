//! Rewriting is row security: generated statements run rewritten as a role that row security does not hold, and as they are
//! under row security. Same rows and same tables afterwards, an error on both, or a refusal; never a silent difference.
//!
//! `PGWARDEN_REWRITES=100000` runs as many, `PGWARDEN_SEED` from another seed; the failure says both.

mod generator;

use std::collections::BTreeMap;

use pgwarden::config::Rewrite;
use pgwarden::rewrite::{InsertColumn, Request, plan};
use pgwarden::tenant::{Catalog, Column, KeyType, Relation, RelationKind, TenantKey};

use crate::kit::{self, Login, Wire};
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
     select 'l' || t from lines t union all select 'p' || t from parent t union all select 'c' || t from countries t) c (x); rollback";

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

    fn run(&mut self, role: &str, tenant: Option<&str>, text: &str) -> Outcome {
        let tenant = tenant.map(|tenant| format!("; set local app.t = '{tenant}'")).unwrap_or_default();
        self.wire.query(&format!("begin; set local role {role}{tenant}")).ok();
        let reply = self.wire.query(text);
        let after = self.wire.query(CONTENTS);
        if let Some(error) = reply.errors().first() {
            if after.status() != 'I' {
                self.wire.query("rollback").ok();
            }
            return Outcome::Failed { sqlstate: error.sqlstate.clone(), message: error.message.clone() };
        }
        let mut rows: Vec<String> = reply.rows().iter().map(|row| format!("{row:?}")).collect();
        rows.extend(
            reply.0.iter().filter(|message| message.tag == b'd').map(|m| String::from_utf8_lossy(&m.body).into_owned()),
        );
        rows.sort();
        Outcome::Done { rows, commands: reply.commands(), contents: after.value() }
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

    /// Runs one text both ways; what happened, or how they differ.
    fn compare(&mut self, text: &str, tenant: &str) -> Result<&'static str, String> {
        let new = match self.rewritten(text, tenant) {
            Ok(new) => new,
            Err(rule) => return Ok(rule),
        };
        let (walled, bare) = (self.walled.clone(), self.bare.clone());
        let original = self.run(&walled, Some(tenant), text);
        let rewritten = self.run(&bare, None, &new);
        match (&original, &rewritten) {
            (Outcome::Done { .. }, Outcome::Done { .. }) if original == rewritten => Ok("same"),
            (Outcome::Failed { .. }, Outcome::Failed { .. }) => Ok("errors on both"),
            // Row security skips the row when WHERE does not hold; ours is said first, and loudly.
            (_, Outcome::Failed { message, .. }) if message.contains("belongs to another tenant") => {
                Ok("loud conflict")
            }
            _ => Err(format!(
                "tenant {tenant}\n  {text}\n  {new}\n  row security: {original:?}\n  rewritten:    {rewritten:?}"
            )),
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn rewriting_gives_what_row_security_gives() {
    let (count, seed) = (number("PGWARDEN_REWRITES", 600), number("PGWARDEN_SEED", 1));
    let mut lab = Lab::new();
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut differences = Vec::new();
    for at in 0..count {
        let text = Generator::new(seed.wrapping_mul(1_000_003).wrapping_add(at)).statement();
        let tenant = ["1", "2", "3", "9"][(at % 4) as usize];
        match lab.compare(&text, tenant) {
            Ok(what) => *counts.entry(what).or_default() += 1,
            Err(difference) => differences.push(format!("statement {at} of seed {seed}, {difference}")),
        }
        if at % 500 == 499 {
            lab.wire.query("vacuum").ok();
        }
        if differences.len() >= 20 {
            break;
        }
    }
    println!("{count} statements of seed {seed}: {counts:?}, {} differ", differences.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // The generator makes statements that work, and few that are refused.
    let of = |what| counts.get(what).copied().unwrap_or(0);
    assert!(of("same") * 2 > count, "{counts:?}");
}

/// Attacks on the rewriting alone: each shows no row of tenant 2, or is refused.
#[test]
fn no_foreign_row_shows_without_row_security() {
    let mut lab = Lab::new();
    let bare = lab.bare.clone();
    lab.wire.query("reset role; update invoices set email = 'FOREIGN' where tenant_id <> 1").ok();
    lab.wire.query("update lines set what = 'FOREIGN' where tenant_id <> 1").ok();
    for text in generator::ATTACKS {
        let Ok(new) = lab.rewritten(text, "1") else { continue };
        let outcome = lab.run(&bare, None, &new);
        assert!(!format!("{outcome:?}").contains("FOREIGN"), "{text}\n{new}\n{outcome:?}");
    }
}
