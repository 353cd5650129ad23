//! What depends on more than one value: logins, references, servers, limits.

use expect_test::expect;

use super::*;

#[test]
fn a_user_logs_in_one_way() {
    check(
        &user(""),
        expect![[r#"
        pgwarden.toml:8: users.app
            expected  a way to log in: a verifier, a password or cert_cn
            hint      make a verifier with: pgwarden passwd --user app
    "#]],
    );
    check(
        &user("password = \"x\"\nverifier_env = \"APP_VERIFIER\""),
        expect![[r#"
        pgwarden.toml:10: users.app.verifier_env
            found     verifier_env
            expected  one way to log in
            hint      keep one of password or verifier_env
    "#]],
    );
    check(
        &user("password = \"x\""),
        expect![[r#"
        warning: pgwarden.toml:9: users.app.password
            found     a plain password
            expected  a verifier: who reads it cannot log in with it
            hint      make a verifier with: pgwarden passwd --user app
    "#]],
    );
    check(
        &user("password = 12345"),
        expect![[r#"
            pgwarden.toml:9: users.app.password
                found     a number
                expected  a string of 1 to 1000 bytes
                hint      put it in quotes
        "#]],
    );
    check(
        &user("password = \"\""),
        expect![[r#"
        pgwarden.toml:9: users.app.password
            found     a string
            expected  a string of 1 to 1000 bytes
            hint      for example password = "…"
    "#]],
    );
    check(
        &user("verifier_env = \"APP_VERIFIER\""),
        expect![[r#"
        warning: pgwarden.toml:8: users.app
            expected  a password for the server: a verifier cannot log in there
            hint      write server_password_file, unless the server asks for none (certificate, peer, trust)
    "#]],
    );
    check(
        &user("password_env = \"MISSING\""),
        expect![[r#"
        pgwarden.toml:9: users.app.password_env
            found     "MISSING"
            expected  an environment variable that is set, to UTF-8 text
            hint      set MISSING for the process that runs pgwarden
    "#]],
    );
    check(
        &user("password_env = \"hunter2\""),
        expect![[r#"
        pgwarden.toml:9: users.app.password_env
            found     a string
            expected  the name of an environment variable (A to Z, 0 to 9 and _)
            hint      for example password_env = "APP_PASSWORD"
    "#]],
    );
    check(
        &user("verifier_env = \"APP_PASSWORD\""),
        expect![[r#"
            pgwarden.toml:9: users.app.verifier_env
                found     other text (not shown)
                expected  a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid
                hint      it begins with SCRAM-SHA-256$; make one with: pgwarden passwd
        "#]],
    );
    check(
        &user("cert_cn = \"app\""),
        expect![[r#"
        pgwarden.toml:9: users.app.cert_cn
            found     "app"
            expected  client_ca in [tls], which vouches for the certificate
            hint      write client_ca = "/etc/pgwarden/clients.crt" in [tls]
    "#]],
    );
    check(
        &user("password_env = \"APP_PASSWORD\"\nserver_password = \"a\"\nserver_password_env = \"B\""),
        expect![[r#"
            pgwarden.toml:11: users.app.server_password_env
                expected  one way to give the server's password
                hint      keep one of server_password, server_password_file or server_password_env
        "#]],
    );
    check(
        &user("password_env = \"APP_PASSWORD\"\nserver_auth = [\"md5\", \"plain\"]"),
        expect![[r#"
        pgwarden.toml:10: users.app.server_auth[1]
            found     "plain"
            expected  "md5" or "cleartext"
            hint      for example "md5"
    "#]],
    );
}

#[test]
fn trust_is_only_for_this_machine() {
    check(
        &user("danger_trust = true"),
        expect![[r#"
        warning: pgwarden.toml:9: users.app.danger_trust
            found     true
            expected  false: everybody on this machine can be this user
            hint      give the user a verifier
    "#]],
    );
    check(
        &user("danger_trust = true").replace("[server]", "[server]\nlisten = [\"127.0.0.1:1\", \"0.0.0.0:6432\"]"),
        expect![[r#"
            pgwarden.toml:10: users.app.danger_trust
                found     true, and listen has "0.0.0.0:6432"
                expected  false, unless all of server.listen are loopback addresses
                hint      give the user a verifier, or listen on 127.0.0.1 only
        "#]],
    );
    check(
        &user("danger_trust = false"),
        expect![[r#"
        pgwarden.toml:8: users.app
            expected  a way to log in: a verifier, a password or cert_cn
            hint      make a verifier with: pgwarden passwd --user app
    "#]],
    );
    let trusting = good(&user("danger_trust = true"));
    assert_eq!(trusting.users["app"].secret, Some(UserSecret::Trust));
}

#[test]
fn names_refer_to_what_is_there() {
    check(
        &with("databases.billing", "shard = \"mian\""),
        expect![[r#"
        pgwarden.toml:8: databases.billing.shard
            found     "mian"
            expected  a shard of this file
            hint      did you mean "main"?
    "#]],
    );
    check(
        &with("users.app", "databases = [\"billing\", \"crm\"]"),
        expect![[r#"
        pgwarden.toml:9: users.app.databases[1]
            found     "crm"
            expected  a database of this file
            hint      add [databases.crm], or write "billing"
    "#]],
    );
    check(
        &with("users.app", "databases = [\"pgwarden\"]"),
        expect![[r#"
        pgwarden.toml:9: users.app.databases[0]
            found     "pgwarden"
            expected  the console only for its admins and viewers
            hint      add "app" to admins or viewers of [admin], or remove it here
    "#]],
    );
    check(
        &with("admin", "admins = [\"ap\"]\nviewers = [\"app\"]"),
        expect![[r#"
        pgwarden.toml:4: admin.admins[0]
            found     "ap"
            expected  a user of this file
            hint      did you mean "app"?
    "#]],
    );
    check(
        &with("admin", "database = \"billing\""),
        expect![[r#"
        pgwarden.toml:8: databases.billing
            expected  a name other than the console's
            hint      rename the database, or write database = "OTHER" in [admin]
    "#]],
    );
    check(
        &with("admin", "http = \"127.0.0.1:6432\""),
        expect![[r#"
        pgwarden.toml:4: admin.http
            found     "127.0.0.1:6432"
            expected  an address that [server] does not listen on
            hint      choose another port for one of them
    "#]],
    );
    check(
        &with("admin", "http = \"0.0.0.0:9187\""),
        expect![[r#"
        warning: pgwarden.toml:4: admin.http
            found     "0.0.0.0:9187"
            expected  a loopback address
            hint      keep it on a private network: no password is asked there
    "#]],
    );
    check(
        &format!("{GOOD}\n[shards.second]\nprimary = {{ host = \"127.0.0.1\" }}"),
        expect![[r#"
        pgwarden.toml:7: databases.billing
            expected  the shard's name, as there are several
            hint      write shard = "main"
        pgwarden.toml:12: shards.second
            expected  exactly one shard: this version serves no more
            hint      remove all shards but one
    "#]],
    );
}

#[test]
fn servers_have_one_address_and_are_better_verified() {
    let node = |inside: &str| GOOD.replace("host = \"127.0.0.1\"", inside);
    check(
        &node(""),
        expect![[r#"
        pgwarden.toml:6: shards.main.primary
            expected  a host or a socket_dir
            hint      write host = "127.0.0.1", or socket_dir = "/run/postgresql"
    "#]],
    );
    check(
        &node("host = \"127.0.0.1\", socket_dir = \"/run/postgresql\""),
        expect![[r#"
        pgwarden.toml:6: shards.main.primary
            found     both
            expected  either host or socket_dir
            hint      remove one of them
    "#]],
    );
    check(
        &node("host = \"db.internal\""),
        expect![[r#"
        warning: pgwarden.toml:6: shards.main.primary
            found     "prefer"
            expected  a verified server: whoever is on the path can pose as it
            hint      write tls = "verify-full" and tls_ca, or be sure of the network between
    "#]],
    );
    check(&node("host = \"db.internal\", tls = \"verify-full\""), expect![[""]]);
    check(
        &node("host = \"127.0.0.1\", tls_key = \"k\""),
        expect![[r#"
        pgwarden.toml:6: shards.main.primary.tls_key
            expected  tls_cert beside tls_key
            hint      add tls_cert, or remove tls_key
    "#]],
    );
    check(
        &node("host = \"127.0.0.1\", port = 0"),
        expect![[r#"
        pgwarden.toml:6: shards.main.primary.port
            found     0
            expected  a whole number from 1 to 65535
            hint      for example port = 5432
    "#]],
    );
    check(
        &node(&format!("socket_dir = \"/{}\"", "x".repeat(100))),
        expect![[r#"
        pgwarden.toml:6: shards.main.primary.socket_dir
            found     "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
            expected  a socket path of at most 107 bytes, here 115
            hint      choose a directory with a shorter path
    "#]],
    );
    let config = good(&node("socket_dir = \"/run/postgresql\", port = 5433"));
    let expected = NodeAddress::Unix { dir: PathBuf::from("/run/postgresql"), port: 5433 };
    assert_eq!(config.shards["main"].primary.address, expected);
}

#[test]
fn limits_fit_each_other() {
    check(
        &with("pool", "size = 4\nsize_min = 5"),
        expect![[r#"
        pgwarden.toml:6: pool.size_min
            found     5
            expected  size_min no larger than size, 4
            hint      lower size_min or raise size
    "#]],
    );
    check(
        &with("users.app", "pool = { size_min = 17 }"),
        expect![[r#"
        pgwarden.toml:9: users.app.pool.size_min
            found     17
            expected  size_min no larger than size, 16
            hint      lower size_min or raise size
    "#]],
    );
    check(
        &with("pool", "login_retry_min = \"1min\""),
        expect![[r#"
        pgwarden.toml:5: pool.login_retry_min
            expected  login_retry_min no longer than login_retry_max
            hint      lower login_retry_min or raise login_retry_max
    "#]],
    );
    check(
        &with("server", "message_size_max = \"16KiB\""),
        expect![[r#"
            pgwarden.toml:3: server.message_size_max
                found     16KiB
                expected  more than statement_size_max, 256KiB
                hint      raise message_size_max or lower statement_size_max
        "#]],
    );
    check(
        &with("databases.billing", "connections_max = 10"),
        expect![[r#"
            warning: pgwarden.toml:7: databases.billing.connections_max
                found     10
                expected  at least 16, the size of the largest pool here
                hint      raise connections_max or lower the pool's size
        "#]],
    );
    check(
        &with("databases.billing", "connections_max = 10").replace("[pool]", "[pool]\nsize_min = 11"),
        expect![[r#"
            pgwarden.toml:8: databases.billing.connections_max
                found     10
                expected  at least 11, the sum of size_min of the pools here
                hint      raise connections_max or lower size_min
        "#]],
    );
    check(
        &format!(
            "{GOOD}\n[users.app2]\nverifier_env = \"APP_VERIFIER\"\nserver_password = \"x\"\nserver_user = \"app\"\npool = {{ size = 3 }}"
        ),
        expect![[r#"
            warning: pgwarden.toml:12: users.app2
                found     size 3 here and 16 in [users.app]
                expected  one size for the pool that both share as role "app"
                hint      write the same size and size_min for both
        "#]],
    );
}

#[test]
fn users_pools_override_key_by_key() {
    let text = with("pool", "mode = \"session\"\nsize = 5\nserver_lifetime = \"2h\"")
        + "[users.app.pool]\nsize = 9\nprepared_max = 0\n";
    let pool = good(&text).users["app"].pool.clone();
    assert_eq!((pool.mode, pool.size, pool.prepared_max), (PoolMode::Session, 9, 0));
    assert_eq!(pool.server_lifetime, Duration::from_secs(7200));
    assert_eq!(pool.server_idle_timeout, Duration::from_secs(600));
}
