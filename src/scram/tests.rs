use super::*;
use proptest::prelude::*;

const FEW: NonZeroU32 = NonZeroU32::new(16).unwrap();

/// The example of RFC 7677, section 3, which has a user name in it; PostgreSQL's clients leave it empty.
const RFC_CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const RFC_SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const RFC_SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const RFC_CLIENT_FINAL: &[u8] =
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const RFC_SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn rfc_verifier() -> Verifier {
    let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    Verifier::derive("pencil", &salt, ITERATIONS_DEFAULT)
}

fn start<'a>(first: &[u8], verifier: &'a Verifier) -> Result<ServerExchange<'a>, ScramError> {
    ServerExchange::start(first, Mechanism::Plain, None, verifier, Proof::Accept, RFC_SERVER_NONCE)
}

#[test]
fn server_follows_the_example_of_rfc_7677() {
    let verifier = rfc_verifier();
    let exchange = start(RFC_CLIENT_FIRST, &verifier).unwrap();
    assert_eq!(exchange.server_first(), RFC_SERVER_FIRST);
    assert_eq!(exchange.finish(RFC_CLIENT_FINAL).unwrap(), RFC_SERVER_FINAL);
}

#[test]
fn keys_are_those_of_the_example() {
    // The proof of the example, undone: ClientProof XOR HMAC(StoredKey, AuthMessage) is the client key.
    let verifier = rfc_verifier();
    let keys = ClientKeys::derive("pencil", &verifier.salt, verifier.iterations);
    assert_eq!(keys.stored_key(), verifier.stored_key);
    assert_eq!(
        verifier.to_string(),
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    );
}

/// A whole exchange between both of our sides.
fn exchange(
    password: &str,
    verifier: &Verifier,
    proof: Proof,
    end_points: (Option<&[u8]>, Option<&[u8]>),
) -> Result<Mechanism, ScramError> {
    let offered: &[&str] = if end_points.1.is_some() { &[MECHANISM_PLUS, MECHANISM] } else { &[MECHANISM] };
    let client = ClientExchange::choose(offered, end_points.0, nonce([1; NONCE_LENGTH])).unwrap();
    let mechanism = client.mechanism();
    let first = client.client_first();
    let server =
        ServerExchange::start(first.as_bytes(), mechanism, end_points.1, verifier, proof, &nonce([2; NONCE_LENGTH]))?;
    let server_first = client.read(server.server_first().as_bytes())?;
    let keys = ClientKeys::derive(password, &server_first.salt, server_first.iterations);
    let last = client.respond(&server_first, &keys);
    let server_final = server.finish(last.message().as_bytes())?;
    last.finish(server_final.as_bytes())?;
    Ok(mechanism)
}

#[test]
fn both_sides_agree_with_and_without_channel_binding() {
    let verifier = Verifier::derive("secret", b"0123456789abcdef", FEW);
    let point: Option<&[u8]> = Some(b"certificate hash");
    assert_eq!(exchange("secret", &verifier, Proof::Accept, (None, None)), Ok(Mechanism::Plain));
    assert_eq!(exchange("secret", &verifier, Proof::Accept, (point, point)), Ok(Mechanism::Plus));
    // A server that has TLS but no end point offers no -PLUS; the client says that it could have.
    assert_eq!(exchange("secret", &verifier, Proof::Accept, (point, None)), Ok(Mechanism::Plain));
    assert_eq!(exchange("Secret", &verifier, Proof::Accept, (None, None)), Err(ScramError::Proof));
    assert_eq!(exchange("secret", &verifier, Proof::Refuse, (None, None)), Err(ScramError::Proof));
    let other: Option<&[u8]> = Some(b"somebody in between");
    assert_eq!(exchange("secret", &verifier, Proof::Accept, (other, point)), Err(ScramError::Binding));
}

#[test]
fn a_removed_offer_of_channel_binding_is_noticed() {
    let verifier = rfc_verifier();
    let result = ServerExchange::start(
        b"y,,n=,r=abc",
        Mechanism::Plain,
        Some(b"hash"),
        &verifier,
        Proof::Accept,
        RFC_SERVER_NONCE,
    );
    assert_eq!(result.err(), Some(ScramError::Downgrade));
}

#[test]
fn first_messages_out_of_shape_are_refused() {
    use ScramError::{AuthorizationIdentity, Extension, Malformed};
    let verifier = rfc_verifier();
    let long = format!("n,,n=,r={}", "x".repeat(MESSAGE_MAX));
    for (first, expected) in [
        (&b""[..], Malformed("length")),
        (long.as_bytes(), Malformed("length")),
        (b"n,,n=,r=a\0b", Malformed("NUL")),
        (b"n,,n=\xff,r=ab", Malformed("encoding")),
        (b"n", Malformed("channel-binding flag")),
        (b"x,,n=,r=ab", Malformed("channel-binding flag")),
        (b"p=tls-unique,,n=,r=ab", Malformed("channel-binding flag")),
        (b"n,a=root,n=,r=ab", AuthorizationIdentity),
        (b"n,root,n=,r=ab", Malformed("authorization identity")),
        (b"n,,m=x,n=,r=ab", Extension),
        (b"n,,r=ab", Malformed("attribute missing")),
        (b"n,,n=,r=", Malformed("nonce")),
        (b"n,,n=,r=a b", Malformed("nonce")),
        (b"n,,n=", Malformed("attribute missing")),
        (b"n,,n=,r=ab,", Malformed("no value")),
    ] {
        assert_eq!(start(first, &verifier).err(), Some(expected), "{:?}", String::from_utf8_lossy(first));
    }
    assert!(start(b"n,,n=,r=ab,x=ignored", &verifier).is_ok());
    let plus = |first: &[u8], point: Option<&[u8]>| {
        ServerExchange::start(first, Mechanism::Plus, point, &verifier, Proof::Accept, "x").err()
    };
    assert_eq!(plus(b"p=tls-unique,,n=,r=ab", Some(b"h")), Some(ScramError::BindingType));
    assert_eq!(plus(b"n,,n=,r=ab", Some(b"h")), Some(Malformed("channel-binding flag")));
    assert_eq!(plus(b"p=tls-server-end-point,,n=,r=ab", None), Some(Malformed("channel-binding flag")));
}

#[test]
fn final_messages_out_of_shape_are_refused() {
    let verifier = rfc_verifier();
    let good = std::str::from_utf8(RFC_CLIENT_FINAL).unwrap();
    let refused = |message: String| start(RFC_CLIENT_FIRST, &verifier).unwrap().finish(message.as_bytes()).unwrap_err();
    assert_eq!(refused(good.replace("biws", "eSws")), ScramError::Binding);
    assert_eq!(refused(good.replace("$k0,", "$k1,")), ScramError::Nonce);
    assert_eq!(refused(good.replace("p=dH", "p=dI")), ScramError::Proof);
    assert_eq!(refused(good.replace("p=dH", "p=d")), ScramError::Malformed("proof"));
    assert_eq!(refused(good.replace(",p=", ",q=")), ScramError::Malformed("proof"));
    assert_eq!(refused(good.replace(",p=", ",m=x,p=")), ScramError::Extension);
    assert_eq!(refused(good.replace(",p=", ",x,p=")), ScramError::Malformed("no value"));
    // An unknown extension is signed like the rest, so the proof is no longer right.
    assert_eq!(refused(good.replace(",p=", ",x=1,p=")), ScramError::Proof);
}

#[test]
fn a_hostile_server_is_bounded() {
    let client = || ClientExchange::choose(&[MECHANISM], None, "abc".into()).unwrap();
    let read = |message: &str| client().read(message.as_bytes()).map(|first| first.iterations.get());
    assert_eq!(read("r=abcd,s=AAAA,i=1000000"), Ok(1_000_000));
    assert_eq!(read("r=abcd,s=AAAA,i=1000001"), Err(ScramError::Iterations));
    for bad in ["i=0", "i=-1", "i=+1", "i=", "i=99999999999", "i= 1"] {
        assert_eq!(read(&format!("r=abcd,s=AAAA,{bad}")), Err(ScramError::Malformed("iteration count")), "{bad}");
    }
    assert_eq!(read("r=abc,s=AAAA,i=1"), Err(ScramError::Nonce));
    assert_eq!(read("r=xabcd,s=AAAA,i=1"), Err(ScramError::Nonce));
    assert_eq!(read("r=abcd,s=,i=1"), Err(ScramError::Malformed("salt")));
    assert_eq!(read("r=abcd,s=*,i=1"), Err(ScramError::Malformed("salt")));
    assert_eq!(read(&format!("r=abcd,s={},i=1", "A".repeat(400))), Err(ScramError::Malformed("salt")));
    assert_eq!(read("m=x,r=abcd,s=AAAA,i=1"), Err(ScramError::Extension));
    assert_eq!(read("e=other-error"), Err(ScramError::ServerError));

    let first = client().read(b"r=abcd,s=AAAA,i=1").unwrap();
    let keys = ClientKeys::derive("x", &first.salt, first.iterations);
    let finish = |message: &[u8]| client().respond(&first, &keys).finish(message);
    assert_eq!(finish(RFC_SERVER_FINAL.as_bytes()), Err(ScramError::ServerSignature));
    assert_eq!(finish(b"v=AAAA"), Err(ScramError::Malformed("signature")));
    assert_eq!(finish(b"e=invalid-proof"), Err(ScramError::ServerError));
    assert_eq!(finish(b"x=1"), Err(ScramError::Malformed("signature missing")));
    assert!(ClientExchange::choose(&["GS2", "PLAIN"], Some(b"h"), "abc".into()).is_none());
    assert!(ClientExchange::choose(&[MECHANISM_PLUS], None, "abc".into()).is_none());
}

#[test]
fn verifiers_are_read_and_written_as_postgresql_does() {
    let text = rfc_verifier().to_string();
    let verifier = Verifier::parse(&text).unwrap();
    assert_eq!(verifier.to_string(), text);
    assert!(verifier.matches("pencil"));
    assert!(!verifier.matches("pencils"));
    for (bad, expected) in [
        ("", VerifierError::Form),
        ("md5abc", VerifierError::Form),
        ("SCRAM-SHA-256$4096", VerifierError::Form),
        ("SCRAM-SHA-256$4096:AAAA$AAAA", VerifierError::Form),
        ("SCRAM-SHA-256$0:AAAA$AAAA:AAAA", VerifierError::Iterations),
        ("SCRAM-SHA-256$2147483648:AAAA$AAAA:AAAA", VerifierError::Iterations),
        ("SCRAM-SHA-256$x:AAAA$AAAA:AAAA", VerifierError::Iterations),
        ("SCRAM-SHA-256$1:$AAAA:AAAA", VerifierError::Salt),
        ("SCRAM-SHA-256$1:*$AAAA:AAAA", VerifierError::Salt),
        ("SCRAM-SHA-256$1:AAAA$AAAA:AAAA", VerifierError::Key),
    ] {
        let bad = bad.replace(
            "$AAAA:AAAA",
            if expected == VerifierError::Key {
                "$AAAA:AAAA"
            } else {
                "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
            },
        );
        assert_eq!(Verifier::parse(&bad), Err(expected), "{bad}");
    }
    assert_eq!(format!("{verifier:?}"), "<verifier>");
}

#[test]
fn passwords_are_prepared_or_taken_as_they_are() {
    // RFC 4013: a soft hyphen vanishes, a no-break space becomes a space, compatibility forms are composed.
    assert_eq!(prepare("I\u{ad}X"), "IX");
    assert_eq!(prepare("a\u{a0}b"), "a b");
    assert_eq!(prepare("\u{2168}"), "IX");
    // Prohibited (a control character) or nothing left: as it is.
    assert_eq!(prepare("a\u{7}"), "a\u{7}");
    assert_eq!(prepare("\u{ad}"), "\u{ad}");
    assert_eq!(prepare(""), "");
}

#[test]
fn unknown_users_meet_a_steady_salt_that_no_password_fits() {
    let secret = MockSecret::new([7; 32]);
    let verifier = secret.verifier("nobody", FEW);
    assert_eq!(verifier, secret.verifier("nobody", FEW));
    assert_ne!(verifier.salt, secret.verifier("nobody2", FEW).salt);
    assert_ne!(verifier.salt, MockSecret::new([8; 32]).verifier("nobody", FEW).salt);
    assert_eq!(verifier.salt[..], secret.salt("nobody")[..]);
    assert!(!verifier.matches(""));
}

proptest! {
    #[test]
    fn any_password_logs_in_and_another_does_not(password in ".{1,40}", other in ".{1,40}", salt: [u8; 16]) {
        let verifier = Verifier::derive(&password, &salt, FEW);
        let parsed = Verifier::parse(&verifier.to_string()).unwrap();
        prop_assert_eq!(exchange(&password, &parsed, Proof::Accept, (None, None)), Ok(Mechanism::Plain));
        if prepare(&password) != prepare(&other) {
            prop_assert_eq!(exchange(&other, &parsed, Proof::Accept, (None, None)), Err(ScramError::Proof));
        }
    }

    #[test]
    fn no_message_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[npyacrsiemv=,a-z0-9+/]{0,80}") {
        let verifier = MockSecret::new([0; 32]).verifier("u", FEW);
        let client = ClientExchange::choose(&[MECHANISM], None, "abc".into()).unwrap();
        for message in [&bytes[..], text.as_bytes()] {
            for mechanism in [Mechanism::Plain, Mechanism::Plus] {
                let _ = ServerExchange::start(message, mechanism, Some(b"h"), &verifier, Proof::Accept, "n");
            }
            prop_assert!(start(RFC_CLIENT_FIRST, &verifier).unwrap().finish(message).is_err());
            let _ = client.read(message);
            let _ = Verifier::parse(&String::from_utf8_lossy(message));
        }
    }
}
