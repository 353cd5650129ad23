//! Files that a configuration names.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use expect_test::expect;

use super::*;

/// A directory with a certificate, its key, another key, and secrets.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let other = rcgen::KeyPair::generate().expect("a key");
    for (name, text) in [
        ("server.crt", own.cert.pem()),
        ("server.key", own.signing_key.serialize_pem()),
        ("other.key", other.serialize_pem()),
        ("password", "s3cret\n".to_owned()),
        ("windows", "s3cret\r\n".to_owned()),
        ("empty", String::new()),
        ("verifier", verifier("4096") + "\n"),
    ] {
        write(dir.path(), name, text.as_bytes(), 0o600);
    }
    write(dir.path(), "open", b"s3cret", 0o644);
    write(dir.path(), "binary", b"\xff\xfe", 0o600);
    dir
}

fn write(dir: &Path, name: &str, bytes: &[u8], mode: u32) {
    let path = dir.join(name);
    fs::write(&path, bytes).expect("a file in the test's own directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("the test's own file");
}

fn check_in(dir: &Path, text: &str, expected: Expect) {
    expected.assert_eq(&explained(load_text(&dir.join("pgwarden.toml"), text, &environment), Some(dir)));
}

#[test]
fn secrets_come_from_files_beside_the_configuration() {
    let dir = directory();
    let load = |lines: &str| load_text(&dir.path().join("pgwarden.toml"), &user(lines), &environment);
    for name in ["password", "windows", "open"] {
        let config = load(&format!("password_file = \"{name}\"")).expect("a password file").config;
        assert_eq!(config.users["app"].secret, Some(UserSecret::Plain(Secret::new("s3cret"))), "{name}");
        assert_eq!(config.users["app"].server_password, Some(Secret::new("s3cret")), "{name}");
    }
    let config = load("verifier_file = \"verifier\"\nserver_password_file = \"password\"").expect("files").config;
    assert_eq!(config.users["app"].secret, Some(UserSecret::Verifier(Secret::new(verifier("4096")))));
    assert_eq!(config.users["app"].server_password, Some(Secret::new("s3cret")));
    let config = load("password_env = \"APP_PASSWORD\"").expect("the environment").config;
    assert_eq!(config.users["app"].secret, Some(UserSecret::Plain(Secret::new("from the environment"))));

    check_in(
        dir.path(),
        &user("password_file = \"open\""),
        expect![[r#"
        warning: DIR/pgwarden.toml:9: users.app.password_file
            found     "DIR/open" readable by everybody
            expected  a file that only its owner can read
            hint      chmod 600 the file
    "#]],
    );
    check_in(
        dir.path(),
        &user("password_file = \"empty\""),
        expect![[r#"
            DIR/pgwarden.toml:9: users.app.password_file
                found     other text (not shown)
                expected  a password of 1 to 1000 bytes
                hint      put the password there, and nothing else
        "#]],
    );
    check_in(
        dir.path(),
        &user("password_file = \"missing\""),
        expect![[r#"
        DIR/pgwarden.toml:9: users.app.password_file
            found     "DIR/missing": no such file
            expected  a file that can be read
            hint      check the path (relative ones start at the configuration file) and its permissions
    "#]],
    );
    check_in(
        dir.path(),
        &user("password_file = \".\""),
        expect![[r#"
        DIR/pgwarden.toml:9: users.app.password_file
            found     "DIR/.": not a regular file
            expected  a file that can be read
            hint      check the path (relative ones start at the configuration file) and its permissions
    "#]],
    );
    check_in(
        dir.path(),
        &user("verifier_file = \"binary\""),
        expect![[r#"
        DIR/pgwarden.toml:9: users.app.verifier_file
            found     other bytes in "DIR/binary"
            expected  a file of UTF-8 text
            hint      save it as UTF-8
    "#]],
    );
    check_in(
        dir.path(),
        &user("verifier_file = \"password\""),
        expect![[r#"
            DIR/pgwarden.toml:9: users.app.verifier_file
                found     other text (not shown)
                expected  a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid
                hint      it begins with SCRAM-SHA-256$; make one with: pgwarden passwd
        "#]],
    );
}

#[test]
fn certificates_and_keys_are_read_and_belong_together() {
    let dir = directory();
    let tls = |lines: &str| format!("{GOOD}\n[tls]\n{lines}\n");
    let good = tls("cert = \"server.crt\"\nkey = \"server.key\"\nclient_ca = \"server.crt\"\nmode = \"verify-client\"");
    check_in(dir.path(), &good, expect![[""]]);
    check_in(
        dir.path(),
        &tls("mode = \"requires\""),
        expect![[r#"
        DIR/pgwarden.toml:12: tls.cert
            expected  a value: this key is required
            hint      write cert = "/etc/pgwarden/server.crt"
        DIR/pgwarden.toml:12: tls.key
            expected  a value: this key is required
            hint      write key = "/etc/pgwarden/server.key"
        DIR/pgwarden.toml:13: tls.mode
            found     "requires"
            expected  "require", "allow" or "verify-client"
            hint      write mode = "require"
    "#]],
    );
    check_in(
        dir.path(),
        &tls("cert = \"server.crt\"\nkey = \"other.key\""),
        expect![[r#"
        DIR/pgwarden.toml:14: tls.key
            found     another key
            expected  the key of the first certificate in cert
            hint      put the server's own certificate first, or name its key
    "#]],
    );
    check_in(
        dir.path(),
        &tls("cert = \"server.key\"\nkey = \"server.crt\""),
        expect![[r#"
        DIR/pgwarden.toml:13: tls.cert
            found     "DIR/server.key" without one
            expected  certificates in PEM
            hint      name a file that begins with -----BEGIN CERTIFICATE-----
        DIR/pgwarden.toml:14: tls.key
            found     "DIR/server.crt" without one
            expected  a private key in PEM
            hint      name a file with -----BEGIN PRIVATE KEY----- (not an encrypted one)
    "#]],
    );
    check_in(
        dir.path(),
        &tls("cert = \"missing\"\nkey = \"server.key\"\nclient_ca = \"empty\""),
        expect![[r#"
        DIR/pgwarden.toml:13: tls.cert
            found     "DIR/missing": no such file
            expected  a file that can be read
            hint      check the path (relative ones start at the configuration file) and its permissions
        DIR/pgwarden.toml:15: tls.client_ca
            found     "DIR/empty" without one
            expected  certificates in PEM
            hint      name a file that begins with -----BEGIN CERTIFICATE-----
    "#]],
    );
    check_in(
        dir.path(),
        &tls("cert = \"server.crt\"\nkey = \"server.key\"\nmode = \"verify-client\""),
        expect![[r#"
        DIR/pgwarden.toml:15: tls.mode
            found     "verify-client"
            expected  client_ca beside it
            hint      write client_ca = "/etc/pgwarden/clients.crt", or mode = "require"
    "#]],
    );
    let server = "host = \"127.0.0.1\", tls = \"verify-full\", tls_ca = \"server.crt\", tls_cert = \"server.crt\", tls_key = \"other.key\"";
    check_in(
        dir.path(),
        &GOOD.replace("host = \"127.0.0.1\"", server),
        expect![[r#"
        DIR/pgwarden.toml:6: shards.main.primary.tls_key
            found     another key
            expected  the key of the first certificate in cert
            hint      put the server's own certificate first, or name its key
    "#]],
    );
    let unread = "host = \"127.0.0.1\", tls_ca = \"server.crt\"";
    check_in(
        dir.path(),
        &GOOD.replace("host = \"127.0.0.1\"", unread),
        expect![[r#"
        warning: DIR/pgwarden.toml:6: shards.main.primary.tls_ca
            found     "prefer"
            expected  "verify-full" where tls_ca is set: it is not read otherwise
            hint      write tls = "verify-full", or remove tls_ca
    "#]],
    );
}

#[test]
fn the_unix_sockets_directory_exists_and_its_path_fits() {
    let dir = directory();
    let config = load_text(&dir.path().join("c.toml"), &with("server", "unix_socket_dir = \".\""), &environment);
    assert_eq!(config.expect("the directory exists").config.server.unix_socket_dir, Some(dir.path().join(".")));
    check_in(
        dir.path(),
        &with("server", "unix_socket_dir = \"missing\""),
        expect![[r#"
        DIR/pgwarden.toml:3: server.unix_socket_dir
            found     "DIR/missing"
            expected  a directory that exists
            hint      make it, owned by the user that runs pgwarden
    "#]],
    );
    check_in(
        Path::new("/"),
        &with("server", &format!("unix_socket_dir = \"{}\"", "x".repeat(95))),
        expect![[r#"
        DIRpgwarden.toml:3: server.unix_socket_dir
            found     "DIRxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
            expected  a socket path of at most 107 bytes, here 110
            hint      choose a directory with a shorter path
    "#]],
    );
    check(&with("server", "listen = []\nunix_socket_dir = \"/tmp\""), expect![[""]]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_of_its_own() {
    let dir = directory();
    for (name, expected) in [
        (
            "missing",
            expect![[r#"
        DIR/missing
            found     no such file
            expected  a configuration file in TOML
            hint      name a file that this process can read
    "#]],
        ),
        (
            ".",
            expect![[r#"
        DIR/.
            found     not a regular file
            expected  a configuration file in TOML
            hint      name a file that this process can read
    "#]],
        ),
        (
            "binary",
            expect![[r#"
        DIR/binary
            found     other bytes than UTF-8
            expected  a configuration file in TOML
            hint      save it as UTF-8
    "#]],
        ),
    ] {
        expected.assert_eq(&explained(load(&dir.path().join(name)), Some(dir.path())));
    }
}
