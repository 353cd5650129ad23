//! Tenancies, tenants, roles and their users.

use super::*;
use crate::tenant::KeyType;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A file with one tenancy by row, in a directory of its own with its keys.
fn with_tenancy(tenancy: &str, rest: &str) -> (tempfile::TempDir, Result<Loaded, Problems>) {
    with_keys(tenancy, rest, &format!("2:{KEY}\n# the one before\n1:{}\n", KEY.replace('0', "f")))
}

fn with_keys(tenancy: &str, rest: &str, keys: &str) -> (tempfile::TempDir, Result<Loaded, Problems>) {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("seal.keys"), keys).expect("a file");
    let text = format!("{GOOD}\n[databases.shop]\n[databases.shop.tenancy]\n{tenancy}\n{rest}");
    let loaded = load_text(&dir.path().join("pgwarden.toml"), &text, &environment);
    (dir, loaded)
}

const ROW: &str = "server_user = \"shared\"\nserver_password = \"x\"\nkeys_file = \"seal.keys\"\n";

const PEOPLE: &str = r#"
[tenants.acme]
key = "007"
limits = { transactions = 3, statement_time = "2s", bytes = "1MiB" }
[tenants.globex]
key = "8"
[roles.clerk]
base = "writer"
deny = ["delete"]
tables = ["invoices"]
[users.acme_app]
tenant = "acme"
verifier = "V"
[users.clerk]
tenant = "acme"
role = "clerk"
verifier = "V"
[users.support]
tenants = ["acme", "globex"]
verifier = "V"
"#;

fn people() -> String {
    PEOPLE.replace("\"V\"", &format!("{:?}", verifier("4096")))
}

#[test]
fn a_row_tenancy_comes_whole() {
    let (_dir, loaded) = with_tenancy(ROW, &people());
    let config = loaded.unwrap_or_else(|problems| panic!("{problems}")).config;
    let tenancy = config.databases["shop"].tenancy.clone().expect("a tenancy");
    let Isolation::Row(row) = &tenancy.isolation else { panic!("{tenancy:?}") };
    assert_eq!((&*row.column, row.key_type, &*row.login.user), ("tenant_id", KeyType::Bigint, "shared"));
    let ContextKind::Sealed(keys) = &row.context else { panic!("{row:?}") };
    assert_eq!(keys.iter().map(|key| key.epoch).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(keys[0].hex.expose(), KEY);
    let acme = &config.tenants["acme"];
    assert!(matches!(&acme.place, TenantPlace::Row { key } if key.as_str() == "7"), "{acme:?}");
    assert_eq!((acme.limits.transactions, acme.limits.bytes, acme.limits.rows), (Some(3), Some(1 << 20), None));
    let role = |user: &str| config.users[user].role.as_ref().map(|role| (role.name.to_string(), role.base));
    assert_eq!(role("acme_app"), Some(("writer".to_owned(), BaseRole::Writer)));
    assert_eq!(role("clerk"), Some(("clerk".to_owned(), BaseRole::Writer)));
    assert_eq!(role("support"), Some(("operator".to_owned(), BaseRole::Operator)));
    assert_eq!(role("app"), None);
    assert_eq!(config.users["support"].tenants, TenantsOf::Several(vec!["acme".into(), "globex".into()]));
}

#[test]
fn a_setting_has_a_prefix() {
    let with = |name: &str| {
        let tenancy = format!("context = \"setting\"\nsetting = \"{name}\"\nserver_user = \"shared\"\n");
        with_tenancy(&tenancy, "").1.map(|loaded| loaded.config.databases["shop"].tenancy.clone())
    };
    let tenancy = with("App.Tenant_Id").expect("a good file").expect("a tenancy");
    let Isolation::Row(row) = &tenancy.isolation else { panic!("{tenancy:?}") };
    assert_eq!(row.context, ContextKind::Setting("app.tenant_id".into()));
    for name in ["tenant_id", "app.", ".x", "a.b.c", "pgwarden.x", "pg_x.y", "app.t-d", "app.1"] {
        assert!(with(name).is_err(), "{name}");
    }
}

#[test]
fn keys_are_read_strictly() {
    for keys in ["", "1", "1:00", "0:K", "1:K\n1:K", "1:K\n2:K", "x:K", "1:K extra", "1: K"] {
        let (_dir, loaded) = with_keys(ROW, "", &keys.replace('K', KEY));
        let problems = loaded.err().unwrap_or_else(|| panic!("{keys} was taken"));
        assert!(!problems.to_string().contains(KEY), "{problems}");
    }
}

#[test]
fn what_does_not_belong_together_is_said_at_once() {
    let rest = r#"
[tenants.acme]
key = "zero"
server_user = "acme"
[tenants.globex]
key = "8"
[tenants.initech]
key = "08"
[roles.reader]
[users.one]
tenant = "acmee"
tenants = ["acme"]
server_user = "one"
verifier = "V"
[users.two]
role = "writer"
verifier = "V"
server_password = "x"
[users.three]
all_tenants = true
role = "writr"
verifier = "V"
"#;
    let rest = rest.replace("\"V\"", &format!("{:?}", verifier("4096")));
    let (dir, loaded) = with_tenancy(&format!("{ROW}setting = \"app.x\"\nrewrite = \"tables\"\n"), &rest);
    let expected = expect![[r#"
        DIR/pgwarden.toml:17: databases.shop.tenancy.setting
            found     setting
            expected  this key only with context = "setting"
            hint      remove it
        DIR/pgwarden.toml:18: databases.shop.tenancy.rewrite
            found     "tables"
            expected  the tables in rewrite_tables
            hint      write rewrite_tables = ["invoices"], or rewrite = "all"
        DIR/pgwarden.toml:22: tenants.acme.key
            found     "zero"
            expected  a key of type bigint
            hint      expected a whole number from 1 to 9223372036854775806
        DIR/pgwarden.toml:23: tenants.acme.server_user
            found     server_user
            expected  this key only with isolation = "schema"
            hint      remove it
        DIR/pgwarden.toml:26: tenants.initech
            found     "8"
            expected  a place that no other tenant has
            hint      correct one of the two
        DIR/pgwarden.toml:28: roles.reader
            found     "reader"
            expected  another name than a built-in role's
            hint      rename the role
        DIR/pgwarden.toml:30: users.one.tenant
            found     "acmee"
            expected  a tenant of this file
            hint      did you mean "acme"?
        DIR/pgwarden.toml:31: users.one.tenants
            found     tenants
            expected  one way to say whose data the user works on
            hint      keep one of tenant, tenants and all_tenants
        DIR/pgwarden.toml:32: users.one.server_user
            found     server_user
            expected  this key only for users without a tenant
            hint      remove it here, and write it in [databases.NAME.tenancy] or the tenant's table
        DIR/pgwarden.toml:35: users.two.role
            expected  a role only for users of tenants
            hint      write tenant = "NAME" too, or remove role
        DIR/pgwarden.toml:40: users.three.role
            found     "writr"
            expected  a built-in role or one of this file
            hint      did you mean "writer"?
    "#]];
    expected.assert_eq(&explained(loaded, Some(dir.path())));
}

#[test]
fn tenants_with_a_place_of_their_own_have_a_role_of_their_own() {
    let rest = "[tenants.acme]\nserver_user = \"a\"\n[tenants.globex]\nschema = \"g\"\n";
    let (_dir, loaded) = with_tenancy("isolation = \"schema\"", rest);
    let config = loaded.unwrap_or_else(|problems| panic!("{problems}")).config;
    let place = |name: &str| match &config.tenants[name].place {
        TenantPlace::Schema { schema, login } => (schema.to_string(), login.user.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(place("acme"), ("acme".to_owned(), "a".to_owned()));
    assert_eq!(place("globex"), ("g".to_owned(), "globex".to_owned()));
    let rest = "[tenants.acme]\nserver_user = \"a\"\n[tenants.globex]\nserver_user = \"a\"\n";
    assert!(with_tenancy("isolation = \"database\"", rest).1.is_err(), "one role for two tenants");
    assert!(with_tenancy("isolation = \"schema\"\ncolumn = \"t\"", "").1.is_err(), "a key of row isolation");
}
