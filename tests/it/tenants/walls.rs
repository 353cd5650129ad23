//! Each wall with the other one down.

use super::{Context, Stage, Wall};
use crate::kit;
use crate::talk::*;

#[test]
fn a_database_with_a_hole_serves_no_tenant() {
    let stage = Stage::built(Context::Setting, 2, Wall::Absent, |config| config);
    let pairs = [("user", "acme"), ("database", &*stage.database.name)];
    let (sqlstate, message) = stage.refused(&pairs);
    assert_eq!(sqlstate, "28000", "{message}");
    assert_eq!(message, "the database does not keep its tenants apart: they are not served");
    // Until it was looked at it is served as little.
    kit::eventually("the hole is in the log", || stage.proxy.log().contains("the database's wall has a hole"));
}

#[test]
fn a_hole_that_appears_ends_what_is_served() {
    let stage = Stage::new(Context::Sealed);
    let mut acme = stage.client("acme");
    assert_eq!(acme.value("SELECT count(*) FROM invoices"), "3");
    kit::sql(&stage.database.name, "ALTER TABLE invoices DISABLE ROW LEVEL SECURITY");
    stage.proxy.reload();
    assert!(acme.until_closed().starts_with("E(57P01)"));
    kit::sql(&stage.database.name, "ALTER TABLE invoices ENABLE ROW LEVEL SECURITY");
    stage.proxy.reload();
    kit::eventually("tenants are served again", || {
        let mut talk = Talk::open(stage.address());
        talk.say(&[startup(&[("user", "acme"), ("database", &stage.database.name)])]);
        talk.try_until_ready().ends_with("Z(I)")
    });
}

#[test]
fn the_predicate_alone_keeps_rows_apart() {
    let stage = Stage::built(Context::Setting, 1, Wall::Absent, |config| {
        let databases = config.0["databases"].as_table().expect("a table").keys().cloned().collect::<Vec<_>>();
        let tenancy = format!("databases.{}.tenancy", databases[0]);
        config.set(&format!("{tenancy}.danger_open_wall"), true).set(&format!("{tenancy}.rewrite"), "all")
    });
    let (mut acme, mut globex) = (stage.client("acme"), stage.client("globex"));
    for _ in 0..2 {
        assert_eq!(acme.value("SELECT count(*) FROM invoices"), "3");
        assert_eq!(globex.value("SELECT count(*) FROM invoices"), "5");
        let said = acme.ask(&[run("SELECT count(*) FROM invoices WHERE id > $1", &[Some("1")]), sync()]);
        assert_eq!(said, "1 2 D(2) C(SELECT 1) Z(I)");
        let said = acme.ask(&[parse("s", "SELECT max(note) FROM invoices"), again("s", &[]), sync()]);
        assert!(said.contains("D(of acme 3)"), "{said}");
        let said = globex.ask(&[parse("s", "SELECT max(note) FROM invoices"), again("s", &[]), sync()]);
        assert!(said.contains("D(of globex 5)"), "{said}");
        assert_eq!(acme.ask(&[close_statement("s"), sync()]), "3 Z(I)");
        assert_eq!(globex.ask(&[close_statement("s"), sync()]), "3 Z(I)");
    }
    assert_eq!(acme.query("PREPARE p AS SELECT count(*) FROM invoices"), "C(PREPARE) Z(I)");
    assert_eq!(acme.value("EXECUTE p"), "3");
    assert_eq!(acme.query("DEALLOCATE p"), "C(DEALLOCATE) Z(I)");
    assert_eq!(acme.query("DELETE FROM invoices"), "C(DELETE 3) Z(I)");
    assert_eq!(acme.query("UPDATE invoices SET note = 'mine'"), "C(UPDATE 0) Z(I)");
    let said = acme.query("INSERT INTO invoices VALUES (2, 50, 'foreign')");
    assert!(said.starts_with("E(42501)"), "{said}");
    assert_eq!(acme.query("INSERT INTO invoices (id, note) VALUES (50, 'own')"), "C(INSERT 0 1) Z(I)");
    let copied = [query("COPY invoices (id, note) FROM STDIN"), copy_data(b"51\tcopied\n"), copy_done()];
    assert_eq!(acme.ask(&copied), "G C(COPY 1) Z(I)");
    let foreign = [query("COPY invoices FROM STDIN"), copy_data(b"1\t52\tx\n2\t53\tforeign\n"), copy_done()];
    assert_eq!(acme.ask(&foreign), "G E(42501) Z(I)");
    let unknown = [query("COPY pg_catalog.pg_class (relname) FROM STDIN"), copy_data(b"x\n"), copy_done()];
    assert!(acme.ask(&unknown).starts_with("E("), "a relation that is none of the tenants'");
    assert_eq!(globex.value("SELECT count(*) FROM invoices"), "5");
    let rows = kit::sql(&stage.database.name, "SELECT tenant_id, count(*) FROM invoices GROUP BY 1 ORDER BY 1");
    assert_eq!(rows.split_whitespace().collect::<Vec<_>>(), ["1|2", "2|5"]);
}
