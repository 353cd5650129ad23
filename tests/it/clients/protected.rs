//! Real clients as tenants of a shared table: what they read and write is what a database with their rows alone would give
//! them, line by line, and the other tenant's rows stay as they are.

use super::{Endpoint, Steps, jdbc, node, python, run, rust};
use crate::kit;
use crate::tenants::{Context, Stage};

#[test]
fn psql_has_its_rows_of_a_shared_table() {
    compare(|endpoint| run("psql", &["-X", "-a", "-f", "tests/clients/protected.sql"], endpoint));
}

#[test]
fn python_drivers_have_their_rows_of_a_shared_table() {
    for driver in ["psycopg3", "psycopg2", "asyncpg", "sqlalchemy", "django"] {
        compare(|endpoint| python(&["protected.py", driver], endpoint));
    }
}

#[test]
fn node_drivers_have_their_rows_of_a_shared_table() {
    for driver in ["pg", "postgresjs"] {
        compare(|endpoint| node(&["protected.cjs", driver], endpoint));
    }
}

#[test]
fn jdbc_has_its_rows_of_a_shared_table() {
    compare(|endpoint| jdbc("Protected", endpoint));
}

#[test]
fn rust_drivers_have_their_rows_of_a_shared_table() {
    for driver in ["tokio_postgres", "sqlx"] {
        compare(|endpoint| rust(&["protected", driver], endpoint));
    }
}

/// What acme has of the table in `tenants`, alone in a database.
const ALONE: &str = "
    CREATE TABLE invoices (tenant_id bigint NOT NULL DEFAULT 1, id int NOT NULL, note text, PRIMARY KEY (tenant_id, id));
    INSERT INTO invoices SELECT 1, n, 'of acme ' || n FROM generate_series(1, 3) n;";

const OF_GLOBEX: &str = "SELECT string_agg(id || note, ',' ORDER BY id) FROM invoices WHERE tenant_id = 2";

#[track_caller]
fn compare(script: impl Fn(&Endpoint) -> String) {
    let alone = kit::database();
    kit::sql(&alone.name, &format!("SET ROLE {}; {ALONE}", alone.owner.name));
    let stage = Stage::with(Context::Sealed, 2, |config| config);
    let of_globex = kit::sql(&stage.database.name, OF_GLOBEX);
    let endpoint = |port, user: &str, password: &str, database: &str| Endpoint {
        host: "127.0.0.1",
        port,
        user: user.to_owned(),
        password: password.to_owned(),
        database: database.to_owned(),
        steps: Steps::All,
    };
    let direct = script(&endpoint(kit::cluster().port(), &alone.owner.name, &alone.owner.password, &alone.name));
    assert!(direct.lines().count() > 6 && !direct.contains("Traceback"), "not a transcript:\n{direct}");
    let proxied = script(&endpoint(stage.address().port(), "acme", "none", &stage.database.name));
    let diff = similar::TextDiff::from_lines(&direct, &proxied);
    assert!(direct == proxied, "not as where the rows are alone:\n{}", diff.unified_diff().context_radius(2));
    assert_eq!(kit::sql(&stage.database.name, OF_GLOBEX), of_globex, "the other tenant's rows changed");
}
