//! What strangers send instead of a token, each with the one refusal it gets.

use std::time::Duration;

use super::provider::{
    AUDIENCE, Bench, ISSUER, Signer, TODAY, b64, claims, config, rsa_modulus, sign, token,
};
use crate::auth::{Algorithm, TokenRefusal as No};

const GOOD_HEADER: &str = r#"{"alg":"RS256","kid":"rsa"}"#;

/// A token with another header, signed all the same.
fn headed(header: &str) -> String {
    sign(Signer::Rs256, header, &claims(&[]))
}

fn later(seconds: i64) -> String {
    (TODAY + seconds).to_string()
}

#[test]
fn a_good_token_of_each_algorithm_is_believed() {
    let mut bench = Bench::new(config());
    let good = [
        (Signer::Rs256, r#"{"alg":"RS256","kid":"rsa"}"#),
        (
            Signer::Rs256,
            r#"{"alg":"RS256","kid":"rsa-rs","typ":"JWT","x5t":"abc"}"#,
        ),
        (Signer::Ps256, r#"{"alg":"PS256","kid":"rsa"}"#),
        (Signer::Es256, r#"{"alg":"ES256","kid":"ec"}"#),
        (Signer::EdDsa, r#"{"alg":"EdDSA","kid":"ed"}"#),
        (Signer::Es256, r#"{"alg":"ES256"}"#),
        (Signer::EdDsa, r#"{"alg":"EdDSA"}"#),
    ];
    // The last two name no key, and only one fits: the point that is off the curve goes.
    bench.key_set = bench.key_set.replace(
        r#""kid":"ec-off","crv":"P-256""#,
        r#""kid":"ec-off","crv":"P-521""#,
    );
    for (signer, header) in good {
        let verdict = bench.judge(&sign(signer, header, &claims(&[])));
        assert_eq!(verdict, Ok(()), "{header}");
    }
}

#[test]
fn good_claims_may_be_written_in_several_ways() {
    let mut bench = Bench::new(config());
    let list = format!("[\"other\",\"{AUDIENCE}\"]");
    let good: [&[(&str, &str)]; 8] = [
        &[("aud", &list)],
        &[("scope", ""), ("scp", "[\"voice\"]")],
        &[("scope", ""), ("roles", "[\"voice\",\"x\"]")],
        &[("azp", ""), ("client_id", "\"webphone\"")],
        &[("nbf", &later(30))],
        &[("exp", &format!("{}.5", later(60)))],
        &[("exp", &later(-29))],
        &[("iat", "")],
    ];
    for changes in good {
        assert_eq!(bench.judge(&token(changes)), Ok(()), "{changes:?}");
    }
}

#[test]
fn each_evil_token_has_its_own_refusal() {
    let good = token(&[]);
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let own_key = format!(
        r#"{{"alg":"RS256","kid":"rsa","jwk":{{"kty":"RSA","n":"{}","e":"AQAB"}}}}"#,
        b64(rsa_modulus())
    );
    let id = |text: &str| format!(r#"{{"alg":"RS256","kid":{text}}}"#);
    let evil: Vec<(&str, String, No)> = vec![
        // What it is.
        (
            "too long",
            format!("{good}{}", "A".repeat(8192)),
            No::TooLong,
        ),
        ("a name", "alice".into(), No::NotThreeParts),
        ("empty", String::new(), No::NotThreeParts),
        ("two parts", format!("{head}.{body}"), No::NotThreeParts),
        ("encrypted", format!("{good}.AAAA.AAAA"), No::NotThreeParts),
        (
            "a line break",
            format!("{good}\r\nVia: x"),
            No::NotThreeParts,
        ),
        (
            "padding",
            format!("{head}=.{body}.{signature}"),
            No::NotBase64Url,
        ),
        (
            "the other alphabet",
            format!("{head}.{body}.a+/a"),
            No::NotBase64Url,
        ),
        (
            "bits beyond the end",
            format!("{head}.{body}.AB"),
            No::NotBase64Url,
        ),
        ("header is text", headed("alg: RS256"), No::HeaderNotJson),
        (
            "header is a list",
            headed(r#"["RS256"]"#),
            No::HeaderNotJson,
        ),
        (
            "header nests without end",
            headed(&"[".repeat(3000)),
            No::HeaderNotJson,
        ),
        (
            "claims are text",
            sign(Signer::Rs256, GOOD_HEADER, "alice"),
            No::ClaimsNotJson,
        ),
        (
            "claims are a token",
            sign(
                Signer::Rs256,
                r#"{"alg":"RS256","kid":"rsa","cty":"JWT"}"#,
                "eyJ.eyJ.AA",
            ),
            No::ClaimsNotJson,
        ),
        (
            "two algorithms",
            headed(r#"{"alg":"RS256","kid":"rsa","alg":"none"}"#),
            No::DuplicateMember,
        ),
        (
            "two subjects",
            sign(
                Signer::Rs256,
                GOOD_HEADER,
                &claims(&[]).replace("\"sub\"", "\"sub\":\"mallory\",\"sub\""),
            ),
            No::DuplicateMember,
        ),
        // What the header says.
        (
            "no algorithm",
            headed(r#"{"kid":"rsa"}"#),
            No::AlgorithmNotAllowed,
        ),
        (
            "none",
            sign(Signer::Nobody, r#"{"alg":"none"}"#, &claims(&[])),
            No::AlgorithmNotAllowed,
        ),
        (
            "None",
            sign(
                Signer::Nobody,
                r#"{"alg":"None","kid":"rsa"}"#,
                &claims(&[]),
            ),
            No::AlgorithmNotAllowed,
        ),
        (
            "the public key as a secret",
            sign(Signer::Hmac, r#"{"alg":"HS256","kid":"rsa"}"#, &claims(&[])),
            No::AlgorithmNotAllowed,
        ),
        (
            "a secret that the key set has",
            sign(Signer::Hmac, r#"{"alg":"HS256","kid":"oct"}"#, &claims(&[])),
            No::AlgorithmNotAllowed,
        ),
        (
            "small letters",
            headed(r#"{"alg":"rs256","kid":"rsa"}"#),
            No::AlgorithmNotAllowed,
        ),
        (
            "SHA-1",
            headed(r#"{"alg":"RS1","kid":"rsa"}"#),
            No::AlgorithmNotAllowed,
        ),
        (
            "RS384",
            headed(r#"{"alg":"RS384","kid":"rsa"}"#),
            No::AlgorithmNotAllowed,
        ),
        (
            "an algorithm list",
            headed(r#"{"alg":["RS256"],"kid":"rsa"}"#),
            No::AlgorithmNotAllowed,
        ),
        ("its own key", headed(&own_key), No::KeyInHeader),
        (
            "its own key set",
            headed(r#"{"alg":"RS256","kid":"rsa","jku":"https://evil.test/keys"}"#),
            No::KeyInHeader,
        ),
        (
            "its own certificate",
            headed(r#"{"alg":"RS256","kid":"rsa","x5c":["MIIB"]}"#),
            No::KeyInHeader,
        ),
        (
            "its own certificate's place",
            headed(r#"{"alg":"RS256","kid":"rsa","x5u":"http://169.254.169.254/"}"#),
            No::KeyInHeader,
        ),
        (
            "a demand",
            headed(r#"{"alg":"RS256","kid":"rsa","crit":["exp"],"exp":1}"#),
            No::CriticalExtension,
        ),
        (
            "unencoded claims",
            headed(r#"{"alg":"RS256","kid":"rsa","b64":false}"#),
            No::CriticalExtension,
        ),
        ("a number for a key id", headed(&id("7")), No::BadKeyId),
        ("an empty key id", headed(&id("\"\"")), No::BadKeyId),
        (
            "a long key id",
            headed(&id(&format!("\"{}\"", "k".repeat(300)))),
            No::BadKeyId,
        ),
        // The key.
        ("an unknown key", headed(&id("\"nobody\"")), No::UnknownKey),
        (
            "a path for a key id",
            headed(&id("\"../../dev/null\"")),
            No::UnknownKey,
        ),
        (
            "a query for a key id",
            headed(&id("\"x' UNION SELECT 'k\"")),
            No::UnknownKey,
        ),
        (
            "no key id where several fit",
            headed(r#"{"alg":"RS256"}"#),
            No::AmbiguousKey,
        ),
        (
            "a key id that two keys have",
            headed(&id("\"twice\"")),
            No::AmbiguousKey,
        ),
        (
            "a key for encryption",
            headed(&id("\"rsa-enc\"")),
            No::KeyMismatch,
        ),
        (
            "a key that may only encrypt",
            headed(&id("\"rsa-ops\"")),
            No::KeyMismatch,
        ),
        (
            "a key for another algorithm",
            headed(&id("\"rsa-512\"")),
            No::KeyMismatch,
        ),
        (
            "a key of another kind",
            headed(&id("\"ec\"")),
            No::KeyMismatch,
        ),
        (
            "a secret for a key",
            headed(&id("\"oct\"")),
            No::KeyMismatch,
        ),
        (
            "a key of another curve",
            sign(
                Signer::Es256,
                r#"{"alg":"ES256","kid":"ec-384"}"#,
                &claims(&[]),
            ),
            No::KeyMismatch,
        ),
        (
            "a key for agreement",
            sign(
                Signer::EdDsa,
                r#"{"alg":"EdDSA","kid":"x25519"}"#,
                &claims(&[]),
            ),
            No::KeyMismatch,
        ),
        ("a short key", headed(&id("\"rsa-short\"")), No::KeyTooShort),
        // The signature.
        (
            "a stranger's signature",
            sign(Signer::Stranger, GOOD_HEADER, &claims(&[])),
            No::BadSignature,
        ),
        ("no signature", format!("{head}.{body}."), No::BadSignature),
        (
            "other claims under a good signature",
            format!(
                "{head}.{}.{signature}",
                b64(claims(&[("sub", "\"mallory\"")]))
            ),
            No::BadSignature,
        ),
        (
            "another header under a good signature",
            format!(
                "{}.{body}.{signature}",
                b64(r#"{"kid":"rsa","alg":"RS256"}"#)
            ),
            No::BadSignature,
        ),
        (
            "a PSS signature as PKCS #1",
            sign(Signer::Ps256, GOOD_HEADER, &claims(&[])),
            No::BadSignature,
        ),
        (
            "the signature of zeros",
            format!(
                "{}.{}.{}",
                b64(r#"{"alg":"ES256","kid":"ec"}"#),
                b64(claims(&[])),
                b64([0; 64])
            ),
            No::BadSignature,
        ),
        (
            "a key that is no point of the curve",
            sign(
                Signer::Es256,
                r#"{"alg":"ES256","kid":"ec-off"}"#,
                &claims(&[]),
            ),
            No::BadSignature,
        ),
        // Who made it, for whom.
        (
            "another issuer",
            token(&[("iss", "\"https://evil.test\"")]),
            No::WrongIssuer,
        ),
        (
            "a slash behind the issuer",
            token(&[("iss", &format!("\"{ISSUER}/\""))]),
            No::WrongIssuer,
        ),
        (
            "the issuer in other letters",
            token(&[("iss", &format!("\"{}\"", ISSUER.to_uppercase()))]),
            No::WrongIssuer,
        ),
        ("no issuer", token(&[("iss", "")]), No::WrongIssuer),
        (
            "two issuers",
            token(&[("iss", &format!("[\"{ISSUER}\"]"))]),
            No::WrongIssuer,
        ),
        (
            "another audience",
            token(&[("aud", "\"https://other.test\"")]),
            No::WrongAudience,
        ),
        (
            "part of the audience",
            token(&[("aud", "\"https://gw\"")]),
            No::WrongAudience,
        ),
        ("no audience", token(&[("aud", "")]), No::WrongAudience),
        (
            "a number in the audience",
            token(&[("aud", &format!("[\"{AUDIENCE}\",7]"))]),
            No::WrongAudience,
        ),
        ("an ID token", token(&[("at_hash", "\"x\"")]), No::IdToken),
        // When.
        ("no expiry", token(&[("exp", "")]), No::NoExpiry),
        (
            "expiry in words",
            token(&[("exp", "\"2030-01-01\"")]),
            No::NoExpiry,
        ),
        (
            "expiry beyond all years",
            token(&[("exp", "1e300")]),
            No::NoExpiry,
        ),
        (
            "expiry before all years",
            token(&[("exp", "-1")]),
            No::NoExpiry,
        ),
        ("expired", token(&[("exp", &later(-30))]), No::Expired),
        ("not yet", token(&[("nbf", &later(31))]), No::NotYetValid),
        (
            "a beginning in words",
            token(&[("nbf", "\"now\"")]),
            No::NotYetValid,
        ),
        (
            "issued tomorrow",
            token(&[("iat", &later(86_400))]),
            No::BadIssueTime,
        ),
        (
            "issued in words",
            token(&[("iat", "true")]),
            No::BadIssueTime,
        ),
        // What it allows.
        ("no scope", token(&[("scope", "")]), No::MissingScope),
        (
            "a longer scope",
            token(&[("scope", "\"voicemail\"")]),
            No::MissingScope,
        ),
        (
            "another application",
            token(&[("azp", "\"evil\"")]),
            No::WrongClient,
        ),
        ("no application", token(&[("azp", "")]), No::WrongClient),
        (
            "two applications",
            token(&[("client_id", "\"evil\"")]),
            No::WrongClient,
        ),
        (
            "bound to a key",
            token(&[("cnf", "{\"jkt\":\"x\"}")]),
            No::BoundToKey,
        ),
        ("nobody", token(&[("sub", "")]), No::NoSubject),
        ("an empty name", token(&[("sub", "\"\"")]), No::NoSubject),
        ("a number for a name", token(&[("sub", "7")]), No::NoSubject),
    ];
    assert!(evil.len() >= 40, "{}", evil.len());
    let mut bench = Bench::new(config());
    for (what, token, refusal) in &evil {
        assert_eq!(bench.judge(token), Err(*refusal), "{what}");
    }
    assert_eq!(bench.judge(&good), Ok(()), "and the good one still is");
    let asked_elsewhere = bench
        .log
        .iter()
        .any(|url| !url.starts_with("https://idp.test/"));
    assert!(!asked_elsewhere, "no token decides where the box asks");
}

#[test]
fn an_algorithm_that_the_issuer_does_not_use_is_refused() {
    let mut bench = Bench::new(crate::auth::IssuerConfig {
        algorithms: vec![Algorithm::Es256],
        ..config()
    });
    assert_eq!(bench.judge(&token(&[])), Err(No::AlgorithmNotAllowed));
    let es = sign(Signer::Es256, r#"{"alg":"ES256","kid":"ec"}"#, &claims(&[]));
    assert_eq!(bench.judge(&es), Ok(()));
}

#[test]
fn a_demanded_type_is_compared_as_a_media_type() {
    let mut bench = Bench::new(crate::auth::IssuerConfig {
        token_type: Some("at+jwt".to_owned()),
        ..config()
    });
    let typed = |typ: &str| headed(&format!(r#"{{"alg":"RS256","kid":"rsa"{typ}}}"#));
    assert_eq!(bench.judge(&typed(r#","typ":"at+jwt""#)), Ok(()));
    assert_eq!(
        bench.judge(&typed(r#","typ":"application/AT+JWT""#)),
        Ok(())
    );
    for wrong in [
        "",
        r#","typ":"JWT""#,
        r#","typ":["at+jwt"]"#,
        r#","typ":"dpop+jwt""#,
    ] {
        assert_eq!(bench.judge(&typed(wrong)), Err(No::WrongType), "{wrong}");
    }
}

#[test]
fn an_old_token_is_refused_where_age_is_limited() {
    let mut bench = Bench::new(crate::auth::IssuerConfig {
        longest_age: Some(Duration::from_secs(600)),
        ..config()
    });
    assert_eq!(bench.judge(&token(&[("iat", &later(-630))])), Ok(()));
    assert_eq!(
        bench.judge(&token(&[("iat", &later(-631))])),
        Err(No::TooOld)
    );
    assert_eq!(bench.judge(&token(&[("iat", "")])), Err(No::BadIssueTime));
}

#[test]
fn no_token_is_believed_while_the_clock_is_not_set() {
    let mut bench = Bench::new(config());
    bench.now.wall = None;
    assert_eq!(bench.judge(&token(&[])), Err(No::ClockUnset));
}

#[test]
fn a_token_is_good_until_its_expiry_and_not_a_skew_longer() {
    let mut bench = Bench::new(config());
    let believed = bench.show(&token(&[("exp", &later(60))])).unwrap().unwrap();
    assert_eq!(
        believed.accepted.until,
        bench.now.monotonic + Duration::from_secs(60)
    );
    let late = bench
        .show(&token(&[("exp", &later(-10))]))
        .unwrap()
        .unwrap();
    assert_eq!(late.accepted.until, bench.now.monotonic);
}
