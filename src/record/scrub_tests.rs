use proptest::prelude::*;

use super::*;

/// Digits with the check digit that makes them a card's.
fn with_check_digit(digits: &str) -> String {
    let valid = |last: &u8| {
        let all = digits.bytes().chain([b'0' + last]);
        let all: Vec<Digit> =
            all.map(|byte| Digit { value: byte - b'0', start: 0, end: 0, begins: false, ends: false }).collect();
        luhn(&all)
    };
    let last = (0..=9u8).find(valid).expect("one of ten fits");
    format!("{digits}{last}")
}

/// Numbers as networks give them out.
fn card() -> impl Strategy<Value = String> {
    let prefixes =
        [("4", 13), ("4", 16), ("4", 19), ("51", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("36", 14)];
    let others = [("6011", 16), ("65", 16), ("3528", 16), ("62", 19), ("5018", 13), ("6304", 18), ("2200", 16)];
    let prefix = prop::sample::select([&prefixes[..], &others[..]].concat());
    (prefix, "[0-9]{19}").prop_map(|((prefix, length), digits)| {
        with_check_digit(&format!("{prefix}{}", &digits[..length - 1 - prefix.len()]))
    })
}

fn separator() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "", "", " ", "-", ".", "_", "/", "\n", "\t", ", ", " - ", "\u{a0}", "\u{2013}", "\u{2009}", "\u{ad}",
        "\u{3000}", "\",\"", "\\n", "\u{200b}", "\u{2212}",
    ])
}

fn grouped(card: &str, size: usize, separator: &str) -> String {
    let groups: Vec<&str> = card.as_bytes().chunks(size).map(|it| std::str::from_utf8(it).expect("digits")).collect();
    groups.join(separator)
}

/// Only the digits, of any script.
fn digits_of(text: &str) -> String {
    let mut digits = String::new();
    let mut at = 0;
    while at < text.len() {
        match digit(&text.as_bytes()[at..]) {
            Some((value, length)) => {
                digits.push(char::from(b'0' + value));
                at += length;
            }
            None => at += 1,
        }
    }
    digits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_card_is_left(
        card in card(), size in 1usize..7, separator in separator(),
        before in "[ -~é]{0,12}", after in "[ -~é]{0,12}",
    ) {
        let text = format!("{before}{}{after}", grouped(&card, size, separator));
        let scrubbed = scrub(&text);
        prop_assert!(!digits_of(&scrubbed).contains(&card), "{text} -> {scrubbed}");
        let sql = scrub_sql(&text).into_owned();
        prop_assert!(!digits_of(&sql).contains(&card), "{text} -> {sql}");
    }

    #[test]
    fn no_card_in_other_digits_is_left(card in card(), scripts in prop::collection::vec(0usize..4, 19)) {
        let zeros = ['0', '\u{ff10}', '\u{660}', '\u{6f0}'];
        let other = |(digit, script): (u8, &usize)| {
            char::from_u32(zeros[*script] as u32 + u32::from(digit - b'0')).expect("a digit")
        };
        let text: String = card.bytes().zip(&scripts).map(other).collect();
        let scrubbed = scrub(&text);
        prop_assert!(!digits_of(&scrubbed).contains(&card), "{text} -> {scrubbed}");
    }

    #[test]
    fn a_named_secret_is_not_left(
        name in prop::sample::select(vec!["password", "passwd", "PWD", "user_Password", "secret", "api_key", "access_token",
            "passphrase", "PGPASSWORD", "sslpassword"]),
        sign in prop::sample::select(vec!["=", " = ", ": ", ":", "=>", "\": \"", "='", " '", "= \"", "\\\":\\\""]),
        secret in "[a-zA-Z0-9!#%*+/<>@^_~-]{6,20}",
        before in "[ a-z\\{\"]{0,8}", after in "( and more|&x=1|;|\\}|'|\"|)",
    ) {
        let text = format!("{before}{name}{sign}{secret}{after}");
        let scrubbed = scrub(&text);
        prop_assert!(!scrubbed.contains(&secret), "{text} -> {scrubbed}");
    }

    #[test]
    fn a_verifier_is_not_left(hash in "[0-9a-f]{32}", salt in "[A-Za-z0-9+/]{22}==", key in "[A-Za-z0-9+/]{43}=",
        before in "[ -~]{0,10}", after in "[ ',;\"]?[a-z]{0,4}") {
        let text = format!("{before}md5{hash}{after}");
        prop_assert!(!scrub(&text).contains(&hash), "{text} -> {}", scrub(&text));
        let text = format!("{before}SCRAM-SHA-256$4096:{salt}${key}:{key}{after}");
        for scrubbed in [scrub(&text), scrub_sql(&text)] {
            prop_assert!(!scrubbed.contains(&salt) && !scrubbed.contains(&key), "{text} -> {scrubbed}");
        }
    }

    #[test]
    fn a_password_of_a_url_is_not_left(
        scheme in "(postgres|postgresql|http)", user in "[a-z]{1,6}", secret in "[a-zA-Z0-9:/?#!%+-]{8,16}", after in "(/db| x|)",
    ) {
        let text = format!("to {scheme}://{user}:{secret}@host{after}");
        let scrubbed = scrub(&text);
        prop_assert!(!scrubbed.contains(&secret), "{text} -> {scrubbed}");
    }

    #[test]
    fn any_text_is_scrubbed_to_text(text in "\\PC{0,200}", max in 0usize..100) {
        prop_assert!(scrub_to(&text, max).len() <= max);
        scrub_sql(&text);
    }
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "4111111111111112",
        "411111111111",
        "2026-11-24 02:20:00",
        "0000000000000000",
        "127.0.0.1:5432",
        "550e8400-e29b-41d4-a716-446655440000",
        "md5 of it",
        "postgresql://host/db",
        "password",
        "password authentication failed for user \"bob\"",
        "password=$1",
        "SCRAM-SHA-256",
    ] {
        assert_eq!(scrub(text), text);
    }
    for (text, expected) in [
        ("x SCRAM-SHA-256$4096:c2FsdA==$c3Rv:c2Vydg== y", "x [secret] y"),
        ("host=a password=secret dbname=b", "host=a password=[secret] dbname=b"),
        ("password = 'two ''words' x", "password = '[secret]' x"),
        ("{\"password\": \"secret\"}", "{\"password\": \"[secret]\"}"),
        ("postgresql://user:se:cret@host/db", "postgresql://user:[secret]@host/db"),
        ("card 4111-1111-1111-1111, thanks", "card [card], thanks"),
        ("a4111111111111111b", "a[card]b"),
    ] {
        assert_eq!(scrub(text), expected);
    }
    assert_eq!(scrub_sql("select password = secret from t"), "select password = secret from t");
}

#[test]
fn a_long_text_takes_its_time_and_no_more() {
    for part in ["4", "41 ", "4111111111111111", "password=", "md5", "://a:b@", "scram-sha-", "\"", "\\"] {
        let text = part.repeat((64 << 10) / part.len());
        let begun = std::time::Instant::now();
        scrub(&text);
        assert!(begun.elapsed().as_secs() < 5, "{part}: {:?}", begun.elapsed());
    }
}
