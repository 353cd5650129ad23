use std::sync::Arc;

use super::*;
use crate::config::{self, Config};

const FILE: &str = r#"
[shards.main]
primary = { host = "127.0.0.1", tls = "disable" }
[databases.billing.tenancy]
context = "setting"
setting = "app.tenant_id"
server_user = "app"
directory = { server_user = "pgwarden_directory" }
[databases.crm.tenancy]
isolation = "schema"
directory = { server_user = "pgwarden_directory" }
[databases.plain]
[tenants.acme]
database = "billing"
key = "1"
[roles.support]
[users.ann]
tenant = "acme"
danger_trust = true
[users.boss]
all_tenants = true
danger_trust = true
"#;

const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2E=$0RSmv4xGBdOOKuKq3QxNVdmJCIvKnSsXLmoFPmDPHVM=:0RSmv4xGBdOOKuKq3QxNVdmJCIvKnSsXLmoFPmDPHVM=";

fn config(text: &str) -> Arc<Config> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pgwarden.toml");
    std::fs::write(&file, text).unwrap();
    Arc::new(config::load(&file).unwrap_or_else(|problems| panic!("{problems}")).config)
}

fn tenant(more: &str) -> String {
    let columns = r#""key":null,"schema":null,"server_database":null,"server_user":null,"enabled":true,"limits":{}"#;
    merged(columns, more)
}

fn user(more: &str) -> String {
    let columns = format!(
        r#""tenant":null,"tenants":null,"all_tenants":false,"role":null,"verifier":"{VERIFIER}","enabled":true,"valid_until":null"#
    );
    merged(&columns, more)
}

/// The columns with some of them replaced.
fn merged(columns: &str, more: &str) -> String {
    let read = |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).unwrap();
    let mut row = read(&format!("{{{columns}}}"));
    row.extend(read(&format!("{{{more}}}")));
    serde_json::Value::from(row).to_string()
}

fn read(config: &Arc<Config>, database: &str, tenants: &[&str], users: &[&str]) -> (People, Vec<String>) {
    let tenants: Vec<String> = tenants.iter().map(|row| tenant(row)).collect();
    let users: Vec<String> = users.iter().map(|row| user(row)).collect();
    let snapshot = Snapshot::build(Rows::parse(&tenants, &users), config, &config.databases[database], None);
    let problems = snapshot.problems.iter().map(ToString::to_string).collect();
    let directories = Directories::default().with(&database.into(), Arc::new(snapshot));
    (People { config: config.clone(), directories }, problems)
}

#[test]
fn users_and_tenants_of_a_directory_are_those_of_its_database() {
    let config = config(FILE);
    let rows = [r#""name":"umbrella","key":"7","limits":{"transactions":3,"statement_time":"5s"}"#];
    let users = [r#""name":"ursula","tenant":"umbrella""#, r#""name":"otto","all_tenants":true,"role":"support""#];
    let (people, problems) = read(&config, "billing", &rows, &users);
    assert_eq!(problems, [""; 0]);
    let umbrella = people.tenant("billing", "umbrella").unwrap();
    assert_eq!(umbrella.limits.transactions, Some(3));
    assert_eq!(umbrella.limits.statement_time, Some(std::time::Duration::from_secs(5)));
    let found = people.find("billing", "ursula").unwrap();
    assert_eq!(found.user.role.as_ref().unwrap().name, "writer".into());
    assert!(found.verifier.is_some() && found.tenant.is_none());
    let found = people.find("billing", "otto@umbrella").unwrap();
    assert_eq!((found.tenant, &*found.user.role.as_ref().unwrap().name), (Some("umbrella"), "support"));
    // An operator of the file reaches the directory's tenants; its own verifier is elsewhere.
    let found = people.find("billing", "boss@umbrella").unwrap();
    assert!(found.verifier.is_none() && found.user.tenants.has("umbrella"));
    for other in ["crm", "plain", "pgwarden"] {
        assert!(people.find(other, "ursula").is_none() && people.find(other, "otto@umbrella").is_none());
        assert!(people.user(other, "ursula").is_none() && people.tenant(other, "umbrella").is_none());
    }
    assert!(people.find("billing", "nobody").is_none() && people.find("billing", "nobody@umbrella").is_none());
}

#[test]
fn the_file_counts_and_a_bad_row_takes_no_other_with_it() {
    let config = config(FILE);
    let tenants = [
        r#""name":"acme","key":"50""#,
        r#""name":"thief","key":"1""#,
        r#""name":"spelled","key":"007""#,
        r#""name":"keyless""#,
        r#""name":"a@b","key":"9""#,
        r#""name":"late","key":"8""#,
        r#""name":"early","key":"8""#,
        r#""name":"odd","key":"10","limits":{"transactions":"many"}"#,
        r#""name":"older","key":"11","limits":{"no_such":1}"#,
        r#""name":"off","key":"12","enabled":false"#,
        r#""name":"good","key":"13""#,
    ];
    let users = [
        r#""name":"ann","tenant":"good""#,
        r#""name":"boss@acme","tenant":"good""#,
        r#""name":"greedy","tenant":"good","all_tenants":true"#,
        r#""name":"loose""#,
        r#""name":"royal","tenant":"good","role":"king""#,
        r#""name":"plain","tenant":"good","verifier":"secret""#,
        r#""name":"asleep","tenant":"good","enabled":false"#,
        r#""name":"gus","tenant":"good""#,
    ];
    let (people, problems) = read(&config, "billing", &tenants, &users);
    expect_test::expect![[r#"
        tenant "a@b": the name has an @
        tenant "acme": the configuration file has a tenant of this name, which counts
        tenant "keyless": it has no key
        tenant "late": another tenant has key 8 already
        tenant "odd": limits: transactions: found "many", expected a whole number from 1 to 100000; for example transactions = 16
        tenant "older": limits: no_such: expected a known key; the keys here are connections, transactions, statements_per_second, statement_time, transaction_time, idle_in_transaction_time, rows, bytes
        tenant "spelled": the key is to be written as PostgreSQL prints it: 7
        tenant "thief": another tenant has key 1 already
        user "ann": the configuration file has a user of this name, which counts
        user "boss@acme": the name has an @
        user "greedy": exactly one of tenant, tenants and all_tenants is to be given
        user "loose": exactly one of tenant, tenants and all_tenants is to be given
        user "royal": there is no role "king"
        user "plain": verifier: not of the form SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>"#]]
    .assert_eq(&problems.join("\n"));
    assert!(!problems.iter().any(|problem| problem.contains("secret")));
    let directory = people.directories.of("billing").unwrap();
    assert_eq!((directory.tenants(), directory.users()), (3, 1));
    assert!(!people.tenant("billing", "off").unwrap().enabled);
    assert_eq!(people.tenant("billing", "acme").unwrap().place, config.tenants["acme"].place);
    assert_eq!(people.find("billing", "boss@acme").unwrap().user.name, "boss".into());
    assert!(people.find("billing", "asleep").is_none());
}

#[test]
fn rows_of_another_form_are_counted() {
    let config = config(FILE);
    let rows = Rows::parse(&["{}", "[", r#"{"name":7}"#], &["null"]);
    let snapshot = Snapshot::build(rows, &config, &config.databases["billing"], None);
    assert_eq!(snapshot.problems.len(), 1);
    assert!(snapshot.problems[0].why.starts_with("4 rows "), "{:?}", snapshot.problems);
}

#[test]
fn tenants_with_a_schema_have_it_and_their_role_alone() {
    let config = config(FILE);
    let tenants = [
        r#""name":"one""#,
        r#""name":"two","schema":"second","server_user":"two_role""#,
        r#""name":"twin","server_user":"one""#,
        r#""name":"core","schema":"pg_catalog""#,
    ];
    let (people, problems) = read(&config, "crm", &tenants, &[r#""name":"una","tenant":"one","role":"owner""#]);
    assert_eq!(
        problems,
        ["tenant \"core\": schema pg_catalog is no tenant's", "tenant \"twin\": another tenant has role one already"]
    );
    let account = |name: &str| {
        let user = people.user("crm", "una").unwrap().clone();
        Account::new(user, config.databases["crm"].clone(), people.tenant("crm", name).cloned())
    };
    let one = account("one").unwrap();
    assert_eq!((&**one.server_user(), one.server_login().1), ("one", None));
    assert_eq!(one.search_path(), Some(vec!["one".into()]));
    assert!(account("two").is_err());
    let pools = |wanted: fn(&Tenant) -> bool| people.pool_accounts(wanted).len();
    // One for billing's tenants, and one here, for only `one` has a user of its own; `boss` may be any.
    assert_eq!((pools(|_| true), pools(|_| false)), (3, 1));
}

#[test]
fn an_account_ends_with_its_user_its_tenant_or_its_database() {
    let config = config(FILE);
    let (tenant, other) = (r#""name":"umbrella","key":"7""#, r#""name":"hooli","key":"8""#);
    let ursula = r#""name":"ursula","tenant":"umbrella""#;
    let (people, _) = read(&config, "billing", &[tenant, other], &[ursula]);
    let account = Account::new(
        people.user("billing", "ursula").unwrap().clone(),
        config.databases["billing"].clone(),
        people.tenant("billing", "umbrella").cloned(),
    )
    .unwrap();
    let again = |tenants: &[&str], users: &[&str]| read(&config, "billing", tenants, users).0.account_again(&account);
    assert!(again(&[tenant], &[ursula]).is_some());
    assert!(again(&[], &[ursula]).is_none(), "the tenant is gone");
    assert!(again(&[r#""name":"umbrella","key":"7","enabled":false"#], &[ursula]).is_none());
    assert!(again(&[tenant], &[]).is_none(), "the user is gone");
    assert!(again(&[tenant], &[r#""name":"ursula","tenant":"umbrella","enabled":false"#]).is_none());
    assert!(again(&[tenant, other], &[r#""name":"ursula","tenant":"hooli""#]).is_none(), "of another tenant");
    let moved = again(&[r#""name":"umbrella","key":"9""#], &[ursula]).expect("it stays");
    assert_eq!(moved.row().map(|(_, key)| key.to_string()).as_deref(), Some("9"));
}

#[test]
fn another_configuration_judges_the_same_rows_anew() {
    let before = config(FILE);
    let users = [r#""name":"otto","all_tenants":true,"role":"support""#, r#""name":"ursula","tenant":"umbrella""#];
    let (people, _) =
        read(&before, "billing", &[r#""name":"umbrella","key":"7""#, r#""name":"hooli","key":"8""#], &users);
    let same = people.directories.under(&before);
    let shared = |name| {
        let of = |directories: &Directories| {
            directories.of("billing").unwrap().users.get(name).map(|known| known.user.clone())
        };
        Arc::ptr_eq(&of(&same).unwrap(), &of(&people.directories).unwrap())
    };
    assert!(shared("otto") && shared("ursula"), "what stays the same is kept");
    // The role is gone, a key and a name are taken.
    let text = FILE.replace("[roles.support]", "[tenants.initech]\ndatabase = \"billing\"\nkey = \"7\"\n[users.ursula]\ntenant = \"acme\"\ndanger_trust = true");
    let after = config(&text);
    let directories = people.directories.under(&after);
    let snapshot = directories.of("billing").unwrap();
    assert_eq!((snapshot.tenants(), snapshot.users()), (1, 0));
    assert!(snapshot.problems.iter().any(|problem| problem.to_string().contains("no role \"support\"")));
    // No directory, nobody in it.
    let text = FILE.replacen("directory = { server_user = \"pgwarden_directory\" }", "", 1);
    assert!(people.directories.under(&config(&text)).of("billing").is_none());
}
