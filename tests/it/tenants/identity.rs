//! Who a client is: decided by its login, and by nothing that it says later.

use super::{Context, Stage};
use crate::kit;
use crate::talk::*;

const WHOSE: &str = "SELECT string_agg(DISTINCT note, ',') FROM (SELECT left(note, 6) AS note FROM invoices) AS own";

#[test]
fn a_login_decides_the_tenant() {
    let stage = Stage::new(Context::Setting);
    assert_eq!(stage.client("acme").value(WHOSE), "of acm");
    assert_eq!(stage.client("globex").value(WHOSE), "of glo");
    assert_eq!(stage.client("boss@globex").value(WHOSE), "of glo");
    assert_eq!(stage.client("boss@acme").value(WHOSE), "of acm");
    assert_eq!(stage.client("acme@acme").value(WHOSE), "of acm", "a user may name its own tenant");
}

#[test]
fn nobody_gets_another_tenant_by_asking() {
    let stage = Stage::new(Context::Setting);
    let database = stage.database.name.clone();
    let try_as = |user: &str| stage.refused(&[("user", user), ("database", &database)]);
    assert_eq!(try_as("acme@globex"), ("28000".into(), "user \"acme\" may not work as this tenant".into()));
    assert_eq!(try_as("acme@nobody"), ("28000".into(), "user \"acme\" may not work as this tenant".into()));
    assert_eq!(try_as("boss@nobody"), ("28000".into(), "user \"boss\" may not work as this tenant".into()));
    assert_eq!(try_as("boss"), ("28000".into(), "user \"boss\" must name a tenant".into()));
    for keys in [("app.tenant_id", "2"), ("options", "-c app.tenant_id=2"), ("APP.Tenant_ID", "2")] {
        let mut talk = Talk::open(stage.address());
        talk.say(&[startup(&[("user", "acme"), ("database", &database), keys])]);
        let greeted = talk.try_until_ready();
        if greeted.ends_with("Z(I)") {
            assert_eq!(talk.value(WHOSE), "of acm", "{keys:?}");
        } else {
            assert!(greeted.contains("E("), "{keys:?}: {greeted}");
        }
    }
}

#[test]
fn a_tenant_that_is_switched_off_is_served_no_more() {
    let mut stage = Stage::new(Context::Setting);
    let mut acme = stage.client("acme");
    let mut globex = stage.client("globex");
    assert_eq!(acme.query("BEGIN"), "C(BEGIN) Z(T)");
    stage.proxy.rewrite(|config| config.set("tenants.acme.enabled", false));
    stage.proxy.reload();
    assert!(acme.until_closed().starts_with("E(57P01)"), "its session ends, in the middle of a transaction even");
    assert_eq!(globex.value(WHOSE), "of glo");
    let refused = stage.refused(&[("user", "acme"), ("database", &stage.database.name)]);
    assert_eq!(refused, ("28000".into(), "the tenant is disabled".into()));
    kit::eventually("the backend was let go", || globex.query("SELECT 1").contains("D(1)"));
}
