//! Single values: what each key takes, and what it says otherwise.

use expect_test::expect;

use super::*;

#[test]
fn unknown_keys_are_explained() {
    check(
        &with("server", "client_max = 5"),
        expect![[r#"
        pgwarden.toml:3: server.client_max
            expected  a known key
            hint      did you mean clients_max?
    "#]],
    );
    check(
        &with("server", "max_client_conn = 5"),
        expect![[r#"
        pgwarden.toml:3: server.max_client_conn
            expected  a known key
            hint      PgBouncer's max_client_conn is server.clients_max here
    "#]],
    );
    check(
        &with("server", "size = 5"),
        expect![[r#"
        pgwarden.toml:3: server.size
            expected  a known key
            hint      size belongs in [pool]
    "#]],
    );
    check(
        &with("server", "nonsense = 5"),
        expect![[r#"
        pgwarden.toml:3: server.nonsense
            expected  a known key
            hint      the keys here are listen, unix_socket_dir, unix_socket_port, workers, clients_max, login_timeout, login_failures_max, queue_timeout, queue_max, client_idle_timeout, idle_in_transaction_timeout, query_timeout, drain_timeout, message_size_max, statement_size_max, buffer_size_max, keepalive, cancels_max
    "#]],
    );
    check(
        &with("users.app", "pool = { siez = 1 }"),
        expect![[r#"
        pgwarden.toml:9: users.app.pool.siez
            expected  a known key
            hint      did you mean size?
    "#]],
    );
    check(
        &with("users.app", "\"pass word\\n\" = 1"),
        expect![[r#"
        pgwarden.toml:9: users.app."pass word\n"
            expected  a known key
            hint      did you mean password?
    "#]],
    );
}

#[test]
fn durations_need_a_unit() {
    for (written, expected) in [
        (
            "30",
            expect![[r#"
            pgwarden.toml:3: server.queue_timeout
                found     30
                expected  a duration such as "30s" (units ms, s, min, h, d)
                hint      add a unit; write queue_timeout = "30s"
        "#]],
        ),
        (
            "\"30\"",
            expect![[r#"
            pgwarden.toml:3: server.queue_timeout
                found     "30"
                expected  a duration such as "30s" (units ms, s, min, h, d)
                hint      add a unit; write queue_timeout = "30s"
        "#]],
        ),
        (
            "\"5m\"",
            expect![[r#"
            pgwarden.toml:3: server.queue_timeout
                found     "5m"
                expected  a duration such as "30s" (units ms, s, min, h, d)
                hint      write queue_timeout = "5min"
        "#]],
        ),
        (
            "\"30 sec\"",
            expect![[r#"
            pgwarden.toml:3: server.queue_timeout
                found     "30 sec"
                expected  a duration such as "30s" (units ms, s, min, h, d)
                hint      write queue_timeout = "30s"
        "#]],
        ),
        (
            "\"1.5h\"",
            expect![[r#"
            pgwarden.toml:3: server.queue_timeout
                found     "1.5h"
                expected  a duration such as "30s" (units ms, s, min, h, d)
                hint      for example queue_timeout = "30s"
        "#]],
        ),
        (
            "\"-1s\"",
            expect![[r#"
            pgwarden.toml:3: server.queue_timeout
                found     "-1s"
                expected  a duration such as "30s" (units ms, s, min, h, d)
                hint      a whole number and a unit, without a sign or a fraction; for example queue_timeout = "30s"
        "#]],
        ),
        (
            "\"99999999999d\"",
            expect![[r#"
            pgwarden.toml:3: server.queue_timeout
                found     "99999999999d"
                expected  a duration such as "30s" (units ms, s, min, h, d)
                hint      at most ten years; for example queue_timeout = "30s"
        "#]],
        ),
        (
            "\"0s\"",
            expect![[r#"
            pgwarden.toml:3: server.queue_timeout
                found     "0s"
                expected  a duration such as "30s" (units ms, s, min, h, d)
                hint      zero is not possible here; for example queue_timeout = "30s"
        "#]],
        ),
        (
            "[]",
            expect![[r#"
            pgwarden.toml:3: server.queue_timeout
                found     a list
                expected  a duration such as "30s" (units ms, s, min, h, d)
                hint      for example queue_timeout = "30s"
        "#]],
        ),
        (
            "1.5",
            expect![[r#"
            pgwarden.toml:3: server.queue_timeout
                found     1.5
                expected  a duration such as "30s" (units ms, s, min, h, d)
                hint      for example queue_timeout = "30s"
        "#]],
        ),
    ] {
        check(&with("server", &format!("queue_timeout = {written}")), expected);
    }
    for (written, millis) in
        [("250ms", 250), ("30s", 30_000), ("5min", 300_000), ("1h", 3_600_000), ("2d", 172_800_000)]
    {
        let config = good(&with("server", &format!("queue_timeout = \"{written}\"")));
        assert_eq!(config.server.queue_timeout, Duration::from_millis(millis), "{written}");
    }
    for zero in ["0", "0s"] {
        assert!(good(&with("server", &format!("query_timeout = \"{zero}\""))).server.query_timeout.is_zero());
    }
}

#[test]
fn sizes_need_a_unit() {
    for (written, expected) in [
        (
            "65536",
            expect![[r#"
                pgwarden.toml:3: server.message_size_max
                    found     65536
                    expected  a size from "16KiB" to "1023MiB" (units B, KiB, MiB, GiB)
                    hint      add a unit; write message_size_max = "64KiB"
            "#]],
        ),
        (
            "\"64\"",
            expect![[r#"
                pgwarden.toml:3: server.message_size_max
                    found     "64"
                    expected  a size from "16KiB" to "1023MiB" (units B, KiB, MiB, GiB)
                    hint      write message_size_max = "64B"
            "#]],
        ),
        (
            "\"64MB\"",
            expect![[r#"
                pgwarden.toml:3: server.message_size_max
                    found     "64MB"
                    expected  a size from "16KiB" to "1023MiB" (units B, KiB, MiB, GiB)
                    hint      write message_size_max = "64MiB"
            "#]],
        ),
        (
            "\"64 kb\"",
            expect![[r#"
                pgwarden.toml:3: server.message_size_max
                    found     "64 kb"
                    expected  a size from "16KiB" to "1023MiB" (units B, KiB, MiB, GiB)
                    hint      write message_size_max = "64KiB"
            "#]],
        ),
        (
            "\"2GiB\"",
            expect![[r#"
                pgwarden.toml:3: server.message_size_max
                    found     "2GiB"
                    expected  a size from "16KiB" to "1023MiB" (units B, KiB, MiB, GiB)
                    hint      for example message_size_max = "64MiB"
            "#]],
        ),
        (
            "\"99999999999GiB\"",
            expect![[r#"
                pgwarden.toml:3: server.message_size_max
                    found     "99999999999GiB"
                    expected  a size from "16KiB" to "1023MiB" (units B, KiB, MiB, GiB)
                    hint      for example message_size_max = "64MiB"
            "#]],
        ),
        (
            "\"big\"",
            expect![[r#"
                pgwarden.toml:3: server.message_size_max
                    found     "big"
                    expected  a size from "16KiB" to "1023MiB" (units B, KiB, MiB, GiB)
                    hint      for example message_size_max = "64MiB"
            "#]],
        ),
        (
            "true",
            expect![[r#"
                pgwarden.toml:3: server.message_size_max
                    found     true
                    expected  a size from "16KiB" to "1023MiB" (units B, KiB, MiB, GiB)
                    hint      for example message_size_max = "64MiB"
            "#]],
        ),
    ] {
        check(&with("server", &format!("message_size_max = {written}")), expected);
    }
    for (written, bytes) in [("1048576B", 1 << 20), ("512KiB", 512 << 10), ("64MiB", 64 << 20)] {
        let config = good(&with("server", &format!("message_size_max = \"{written}\"")));
        assert_eq!(config.server.message_size_max, bytes, "{written}");
    }
}

#[test]
fn addresses_are_numbers() {
    for (written, expected) in [
        (
            "\"127.0.0.1:6432\"",
            expect![[r#"
                pgwarden.toml:3: server.listen
                    found     "127.0.0.1:6432"
                    expected  a list, each an address and port such as "127.0.0.1:6432"
                    hint      write listen = ["127.0.0.1:6432"]
            "#]],
        ),
        (
            "[\"*:6432\"]",
            expect![[r#"
            pgwarden.toml:3: server.listen[0]
                found     "*:6432"
                expected  an address and port such as "127.0.0.1:6432"
                hint      write "0.0.0.0:6432"
        "#]],
        ),
        (
            "[\"localhost:6432\"]",
            expect![[r#"
            pgwarden.toml:3: server.listen[0]
                found     "localhost:6432"
                expected  an address and port such as "127.0.0.1:6432"
                hint      write "127.0.0.1:6432"
        "#]],
        ),
        (
            "[\"db.internal:6432\"]",
            expect![[r#"
            pgwarden.toml:3: server.listen[0]
                found     "db.internal:6432"
                expected  an address and port such as "127.0.0.1:6432"
                hint      host names are not looked up here; for example "127.0.0.1:6432"
        "#]],
        ),
        (
            "[\"127.0.0.1\"]",
            expect![[r#"
            pgwarden.toml:3: server.listen[0]
                found     "127.0.0.1"
                expected  an address and port such as "127.0.0.1:6432"
                hint      the port is missing; for example "127.0.0.1:6432"
        "#]],
        ),
        (
            "[\"::1:6432\"]",
            expect![[r#"
            pgwarden.toml:3: server.listen[0]
                found     "::1:6432"
                expected  an address and port such as "127.0.0.1:6432"
                hint      write "[::1]:6432"
        "#]],
        ),
        (
            "[6432]",
            expect![[r#"
            pgwarden.toml:3: server.listen[0]
                found     6432
                expected  an address and port such as "127.0.0.1:6432"
                hint      write "127.0.0.1:6432"
        "#]],
        ),
        (
            "[]",
            expect![[r#"
            pgwarden.toml:3: server.listen
                found     []
                expected  at least one address or a Unix socket
                hint      write listen = ["127.0.0.1:6432"], or set unix_socket_dir
        "#]],
        ),
        (
            "[\"127.0.0.1:6432\", \"127.0.0.1:6432\"]",
            expect![[r#"
            pgwarden.toml:3: server.listen[1]
                found     "127.0.0.1:6432"
                expected  each address once
                hint      remove one of them
        "#]],
        ),
    ] {
        check(&with("server", &format!("listen = {written}")), expected);
    }
    assert_eq!(good(&with("server", "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]")).server.listen.len(), 2);
    assert_eq!(good(&with("server", "listen = [\"[::1]:6432\"]")).server.listen[0].port(), 6432);
}

#[test]
fn the_other_kinds_of_values_say_what_they_take() {
    check(
        &with("server", "workers = \"4\""),
        expect![[r#"
        pgwarden.toml:3: server.workers
            found     "4"
            expected  a whole number from 1 to 256
            hint      no quotes; write workers = 4
    "#]],
    );
    check(
        &with("server", "workers = -1"),
        expect![[r#"
        pgwarden.toml:3: server.workers
            found     -1
            expected  a whole number from 1 to 256
            hint      for example workers = 16
    "#]],
    );
    check(
        &with("server", "workers = 1_000_000_000_000"),
        expect![[r#"
        pgwarden.toml:3: server.workers
            found     1000000000000
            expected  a whole number from 1 to 256
            hint      for example workers = 16
    "#]],
    );
    check(
        &with("admin", "database = \"\""),
        expect![[r#"
        pgwarden.toml:4: admin.database
            found     ""
            expected  a name of 1 to 63 bytes
            hint      for example database = "pgwarden"
    "#]],
    );
    check(
        &with("admin", "admins = \"app\""),
        expect![[r#"
            pgwarden.toml:4: admin.admins
                found     "app"
                expected  a list, each a name of 1 to 63 bytes
                hint      write admins = ["app"]
        "#]],
    );
    check(
        &format!("{GOOD}\n[log]\nconnections = \"yes\"\nlevel = \"warning\"\nformat = 1"),
        expect![[r#"
        pgwarden.toml:13: log.connections
            found     "yes"
            expected  true or false
            hint      write connections = true
        pgwarden.toml:14: log.level
            found     "warning"
            expected  "info", "error", "warn", "debug" or "trace"
            hint      for example level = "info"
        pgwarden.toml:15: log.format
            found     1
            expected  "auto", "pretty" or "json"
            hint      for example format = "auto"
    "#]],
    );
    check(
        &GOOD.replace("\"127.0.0.1\"", "\"/run/postgresql\""),
        expect![[r#"
        pgwarden.toml:6: shards.main.primary.host
            found     "/run/postgresql"
            expected  a host name or IP address, without a port
            hint      for a Unix socket use socket_dir in place of host; for example host = "127.0.0.1"
    "#]],
    );
    check(
        &GOOD.replace("\"127.0.0.1\"", "\"a b\""),
        expect![[r#"
        pgwarden.toml:6: shards.main.primary.host
            found     "a b"
            expected  a host name or IP address, without a port
            hint      for example host = "127.0.0.1"
    "#]],
    );
    check(
        &GOOD.replace("primary = {", "primary = 5 # {"),
        expect![[r#"
        pgwarden.toml:6: shards.main.primary
            found     a number
            expected  a table
            hint      write a table [shards.main.primary] with keys such as host
    "#]],
    );
    check(
        &GOOD.replace("[databases.billing]", "[databases]\nbilling = \"main\""),
        expect![[r#"
        pgwarden.toml:8: databases.billing
            found     a string
            expected  a table
            hint      write a table [databases.billing] with keys such as shard
    "#]],
    );
    check(
        &GOOD.replace("[databases.billing]", "[[databases]]"),
        expect![[r#"
        pgwarden.toml:7: databases
            found     a list
            expected  tables, one a name
            hint      write a table for each, such as [databases.NAME]
    "#]],
    );
    check(
        &GOOD.replace("[databases.billing]", "[databases.\"\"]"),
        expect![[r#"
        pgwarden.toml:7: databases.""
            found     ""
            expected  a name of 1 to 63 bytes without control characters
            hint      choose another name
    "#]],
    );
}

#[test]
fn moments_carry_their_offset() {
    for (written, unix) in [
        ("\"1970-01-01T00:00:00Z\"", 0),
        ("2027-01-31T00:00:00Z", 1_801_353_600),
        ("\"2024-02-29T23:59:59Z\"", 1_709_251_199),
        ("\"2024-03-01T01:30:00+01:30\"", 1_709_251_200),
        ("\"2000-02-29T00:00:00-01:00\"", 951_786_000),
        ("\"2100-03-01T00:00:00Z\"", 4_107_542_400),
    ] {
        let config = good(&with("users.app", &format!("valid_until = {written}")));
        assert_eq!(config.users["app"].valid_until, Some(unix), "{written}");
    }
    for (written, expected) in [
        (
            "\"2027-01-31\"",
            expect![[r#"
            pgwarden.toml:9: users.app.valid_until
                found     "2027-01-31"
                expected  a date and time with its offset, such as "2027-01-31T00:00:00Z"
                hint      both a date and a time; for example valid_until = "2027-01-31T00:00:00Z"
        "#]],
        ),
        (
            "\"2027-01-31T00:00:00\"",
            expect![[r#"
            pgwarden.toml:9: users.app.valid_until
                found     "2027-01-31T00:00:00"
                expected  a date and time with its offset, such as "2027-01-31T00:00:00Z"
                hint      add the offset: Z for UTC; for example valid_until = "2027-01-31T00:00:00Z"
        "#]],
        ),
        (
            "\"2027-02-30T00:00:00Z\"",
            expect![[r#"
            pgwarden.toml:9: users.app.valid_until
                found     "2027-02-30T00:00:00Z"
                expected  a date and time with its offset, such as "2027-01-31T00:00:00Z"
                hint      for example valid_until = "2027-01-31T00:00:00Z"
        "#]],
        ),
        (
            "\"1969-12-31T23:59:59Z\"",
            expect![[r#"
            pgwarden.toml:9: users.app.valid_until
                found     "1969-12-31T23:59:59Z"
                expected  a date and time with its offset, such as "2027-01-31T00:00:00Z"
                hint      not before 1970; for example valid_until = "2027-01-31T00:00:00Z"
        "#]],
        ),
        (
            "1801353600",
            expect![[r#"
            pgwarden.toml:9: users.app.valid_until
                found     1801353600
                expected  a date and time with its offset, such as "2027-01-31T00:00:00Z"
                hint      for example valid_until = "2027-01-31T00:00:00Z"
        "#]],
        ),
    ] {
        check(&with("users.app", &format!("valid_until = {written}")), expected);
    }
}

#[test]
fn verifiers_are_checked_for_their_form_and_never_shown() {
    let good_one = verifier("4096");
    for (written, expected) in [
        (
            "hunter2".to_owned(),
            expect![[r#"
                pgwarden.toml:9: users.app.verifier
                    found     a string
                    expected  a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid
                    hint      it begins with SCRAM-SHA-256$; make one with: pgwarden passwd
            "#]],
        ),
        (
            "md53175bce1d3201d16594cebf9d7eb3f9d".to_owned(),
            expect![[r#"
                pgwarden.toml:9: users.app.verifier
                    found     a string
                    expected  a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid
                    hint      an md5 hash cannot serve a SCRAM login; make a verifier with: pgwarden passwd
            "#]],
        ),
        (
            good_one.replace(":W22Z", "W22Z"),
            expect![[r#"
                pgwarden.toml:9: users.app.verifier
                    found     a string
                    expected  a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid
                    hint      a : stands between the iterations and the salt
            "#]],
        ),
        (
            good_one.replace("$4096", "$0"),
            expect![[r#"
                pgwarden.toml:9: users.app.verifier
                    found     a string
                    expected  a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid
                    hint      the iterations are a whole number from 1 to 10000000
            "#]],
        ),
        (
            good_one.replace("$4096", "$99999999"),
            expect![[r#"
                pgwarden.toml:9: users.app.verifier
                    found     a string
                    expected  a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid
                    hint      the iterations are a whole number from 1 to 10000000
            "#]],
        ),
        (
            good_one.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "!"),
            expect![[r#"
                pgwarden.toml:9: users.app.verifier
                    found     a string
                    expected  a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid
                    hint      the salt is base64 of 1 to 256 bytes
            "#]],
        ),
        (
            good_one.replace("$WG5d", "$WG"),
            expect![[r#"
                pgwarden.toml:9: users.app.verifier
                    found     a string
                    expected  a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid
                    hint      each key is base64 of 32 bytes
            "#]],
        ),
        (
            format!("{good_one}\n"),
            expect![[r#"
                pgwarden.toml:9: users.app.verifier
                    found     a string
                    expected  a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid
                    hint      each key is base64 of 32 bytes
            "#]],
        ),
        (
            verifier("1000"),
            expect![[r#"
            warning: pgwarden.toml:9: users.app.verifier
                found     1000 iterations
                expected  4096 iterations or more
                hint      make a new one with: pgwarden passwd
        "#]],
        ),
    ] {
        let text = user(&format!("verifier = {}\nserver_password = \"x\"", toml::Value::String(written)));
        check(&text, expected);
    }
}
