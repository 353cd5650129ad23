//! psql's `\d` family as a tenant: every role sees what the server role that it works as sees.

use std::process::Command;

use crate::kit::{self, Config, Proxy};
use crate::tenants::{Context, Stage};

const COMMANDS: [&str; 45] = [
    "\\d",
    "\\d+",
    "\\d item",
    "\\d+ item",
    "\\d parent",
    "\\d+ parent",
    "\\d part",
    "\\d names",
    "\\d+ names",
    "\\d item_id_seq",
    "\\da",
    "\\dA",
    "\\dc",
    "\\dC int4",
    "\\dd",
    "\\dD",
    "\\ddp",
    "\\dE",
    "\\df public.*",
    "\\df+ twice",
    "\\dF",
    "\\dFd",
    "\\dFp",
    "\\dFt",
    "\\dg postgres",
    "\\di",
    "\\di+",
    "\\dL",
    "\\dm",
    "\\dn",
    "\\dn+",
    "\\do public.*",
    "\\dO public.*",
    "\\dp",
    "\\dP",
    "\\dRp",
    "\\ds",
    "\\dt",
    "\\dt+ item",
    "\\dT",
    "\\du postgres",
    "\\dv",
    "\\dx",
    "\\dX",
    "\\dy",
];

/// What tells of the server's files, of other servers and their users, and of what has no tenant.
const CLOSED: [&str; 7] = ["\\db", "\\des", "\\det", "\\deu", "\\dew", "\\dl", "\\dRs"];

const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TABLE item (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'x' CHECK (name <> ''), mood mood, tenant_id bigint);
    COMMENT ON TABLE item IS 'Things';
    CREATE INDEX ON item (name DESC) WHERE id > 0;
    CREATE TABLE parent (at date, item int REFERENCES item) PARTITION BY RANGE (at);
    CREATE TABLE part PARTITION OF parent FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE VIEW names AS SELECT name FROM item;
    CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM item;
    CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2';
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
    CREATE TRIGGER touch BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION touch();
    CREATE STATISTICS stats ON id, name FROM item;";

/// These commands in one run of psql.
fn transcript(commands: &[&str], port: u16, user: &str, password: &str, database: &str) -> String {
    let mut psql = Command::new(kit::cluster().program("psql"));
    psql.args(["-X", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", user, "-d", database]);
    psql.env("PGPASSWORD", password).env("LC_ALL", "C.UTF-8");
    for command in commands {
        psql.args(["-c", &format!("\\echo == {}", command.replace('\\', "")), "-c", command]);
    }
    let output = psql.output().expect("run psql");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Each of the users sees what the server role does.
#[track_caller]
fn compare(role: &kit::Account, database: &str, proxy: &Proxy, users: &[&str]) {
    let direct = transcript(&COMMANDS, kit::cluster().port(), &role.name, &role.password, database);
    assert!(direct.contains("== dt") && direct.contains("item"), "not a transcript:\n{direct}");
    let port = proxy.address().port();
    for user in users {
        let proxied = transcript(&COMMANDS, port, user, "", database);
        let diff = similar::TextDiff::from_lines(&direct, &proxied);
        assert!(direct == proxied, "{user}:\n{}", diff.unified_diff().context_radius(2));
        let closed = transcript(&CLOSED, port, user, "", database);
        assert_eq!(closed.matches("Refused by pgwarden").count(), CLOSED.len(), "{user}:\n{closed}");
    }
}

#[test]
fn psql_describes_a_database_of_ones_own_to_every_role() {
    let database = kit::database();
    kit::sql(&database.name, &format!("SET ROLE {}; {SCHEMA}", database.owner.name));
    let (owner, name) = (&database.owner, &database.name);
    let mut config = Config::for_cluster(kit::cluster())
        .database(name)
        .set(&format!("databases.{name}.tenancy.isolation"), "database")
        .set("tenants.acme.database", name.as_str())
        .set("tenants.acme.server_database", name.as_str())
        .set("tenants.acme.server_user", owner.name.as_str())
        .set("tenants.acme.server_password", owner.password.as_str());
    for role in ["reader", "writer", "owner"] {
        config = config
            .set(&format!("users.{role}.tenant"), "acme")
            .set(&format!("users.{role}.role"), role)
            .set(&format!("users.{role}.danger_trust"), true);
    }
    config = config.set("users.operator.all_tenants", true).set("users.operator.danger_trust", true);
    let proxy = Proxy::start(config);
    compare(owner, name, &proxy, &["reader", "writer", "owner", "operator@acme"]);
}

#[test]
fn psql_describes_shared_tables_to_every_role() {
    // The schema is made as an application would make it, and whether its walls are looked at meanwhile is chance.
    let stage = Stage::with(Context::Sealed, 1, |config| {
        let databases = config.0["databases"].as_table().expect("a table").keys().cloned().collect::<Vec<_>>();
        config.set(&format!("databases.{}.tenancy.danger_open_wall", databases[0]), true)
    });
    let name = &stage.database.name;
    kit::sql(name, &format!("SET ROLE {}; {SCHEMA}", stage.database.owner.name));
    kit::sql(name, &format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}", stage.shared.name));
    compare(&stage.shared, name, &stage.proxy, &["acme", "acme_reader", "boss@acme"]);
}
