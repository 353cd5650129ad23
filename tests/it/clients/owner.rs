//! The scripts as the owner of a tenant, whose database it is: what they leave out is what policy refuses, and nothing else.

use std::collections::BTreeSet;

use super::{Endpoint, Steps, differences, run};
use crate::kit::{self, Config, Proxy};

/// The user is the owner of a tenant whose database this is, and may do what the scripts do beyond that: blocks of code for
/// notices, two phases.
pub fn configured(config: Config, name: &str, password: &str) -> Config {
    config
        .set("roles.app.base", "owner")
        .set("roles.app.allow", vec!["do", "prepare_transaction", "commit_prepared", "rollback_prepared"])
        .set(&format!("databases.{name}.tenancy.isolation"), "database")
        .set(&format!("tenants.{name}.database"), name)
        .set(&format!("tenants.{name}.server_database"), name)
        .set(&format!("tenants.{name}.server_user"), name)
        .set(&format!("tenants.{name}.server_password"), password)
        .set(&format!("users.{name}.tenant"), name)
        .set(&format!("users.{name}.role"), if name == "client_pgbench" { "owner" } else { "app" })
}

/// A step of a script that an owner's run leaves out.
#[derive(Debug)]
pub struct LeftOut {
    pub client: String,
    step: String,
    /// By which it is refused.
    rule: String,
}

impl LeftOut {
    /// As `tests/clients/differences.md` lists them.
    pub fn all() -> Vec<Self> {
        let document = include_str!("../../clients/differences.md");
        let (_, section) = document.split_once("\n## What an owner's run leaves out").expect("the section");
        let parse = |cells: Vec<String>| {
            let [client, step, rule] = cells.try_into().unwrap_or_else(|cells| panic!("not three cells: {cells:?}"));
            Self { client, step: step.trim_matches('`').to_owned(), rule }
        };
        differences::rows(section).map(parse).collect()
    }

    fn script(&self) -> &'static str {
        match &*self.client {
            "psql" => include_str!("../../clients/psql.sql"),
            "pg_dump" => include_str!("../../clients/psql.sh"),
            "psycopg3" => include_str!("../../clients/python/psycopg3.py"),
            "asyncpg" => include_str!("../../clients/python/asyncpg_client.py"),
            "sqlx" => include_str!("../../clients/rust/src/bin/sqlx.rs"),
            other => panic!("the script of {other:?} leaves nothing out"),
        }
    }
}

#[test]
fn what_an_owners_run_leaves_out_is_refused() {
    let database = kit::database();
    let (name, password) = (&database.name, "a secret of this owner");
    let account = &database.owner;
    let config = Config::for_cluster(kit::cluster()).database(name).user(name, password);
    let config = configured(config, name, password)
        .set(&format!("tenants.{name}.server_user"), account.name.as_str())
        .set(&format!("tenants.{name}.server_password"), account.password.as_str());
    let proxy = Proxy::start(config);
    let endpoint = Endpoint {
        host: "127.0.0.1",
        port: proxy.address().port(),
        user: name.clone(),
        password: password.to_owned(),
        database: name.clone(),
        steps: Steps::Owners,
    };
    let steps = LeftOut::all();
    assert!(steps.len() > 20, "{steps:?}");
    for LeftOut { step, rule, .. } in &steps {
        let said = run("psql", &["-X", "-c", &step.replace("%s", "$1")], &endpoint);
        assert!(said.contains(&format!("Refused by pgwarden, rule {rule}.")), "{step}: {said}");
    }
}

#[test]
fn what_an_owners_run_leaves_out_is_what_is_listed() {
    let steps = LeftOut::all();
    for left_out in &steps {
        assert!(left_out.script().contains(&left_out.step), "not in its script: {left_out:?}");
    }
    let listed: BTreeSet<&str> = steps.iter().filter(|it| it.client == "psql").map(|it| &*it.step).collect();
    let blocks = include_str!("../../clients/psql.sql").split("\\if :all\n").skip(1);
    let skipped: BTreeSet<&str> =
        blocks.flat_map(|block| block.split("\\endif\n").next().unwrap_or_default().lines()).collect();
    assert_eq!(skipped, listed);
}
