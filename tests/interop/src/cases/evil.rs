//! What strangers send instead of a token, and the answer that each gets.

use anyhow::Context;
use serde_json::{Value, json};

use super::token_logins::USER;
use crate::identity_provider::IdentityProvider;

/// One row.
#[derive(Debug)]
pub(super) struct Evil {
    pub(super) what: &'static str,
    /// Whom the REGISTER is for.
    pub(super) user: &'static str,
    /// What it carries.
    pub(super) lines: String,
    pub(super) status: u16,
    /// What the challenge says was wrong; `-` where there is no such word.
    pub(super) error: &'static str,
}

/// All rows; `good` is a token of [`USER`] that would be believed.
pub(super) fn table(provider: &mut IdentityProvider, good: &str) -> anyhow::Result<Vec<Evil>> {
    let mut rows = malformed(good)?;
    for (what, wishes) in signed() {
        let mut wishes = wishes;
        if wishes["claims"]["sub"].is_null() {
            wishes["claims"]["sub"] = json!(USER);
        }
        let token = provider.sign(wishes)?;
        rows.push(invalid(what, bearer(&token)));
    }
    for (what, wishes, error) in forbidden() {
        let token = provider.sign(wishes)?;
        rows.push(Evil {
            status: 403,
            error,
            ..invalid(what, bearer(&token))
        });
    }
    let stranger = provider.token(USER, json!({ "client": "stranger" }))?;
    rows.push(Evil {
        status: 403,
        error: "-",
        ..invalid("given to another application", bearer(&stranger))
    });
    let opaque = provider.token(USER, json!({ "format": "opaque" }))?;
    rows.push(invalid("opaque where a JWT belongs", bearer(&opaque)));
    rows.push(Evil {
        user: "alice",
        status: 403,
        error: "-",
        ..invalid("another user's", bearer(good))
    });
    Ok(rows)
}

/// Those that are no tokens, made of a good one.
fn malformed(good: &str) -> anyhow::Result<Vec<Evil>> {
    let parts: Vec<&str> = good.split('.').collect();
    let [head, claims, signature] = parts.as_slice() else {
        anyhow::bail!("no JWT from the provider");
    };
    let flipped = match signature.split_at_checked(1).context("no signature")? {
        ("A", rest) => format!("B{rest}"),
        (_, rest) => format!("A{rest}"),
    };
    let none = "eyJhbGciOiJub25lIn0";
    let symmetric = "eyJhbGciOiJIUzI1NiJ9";
    let text_head = "YWxnOiBSUzI1Ng";
    Ok(vec![
        Evil {
            error: "-",
            ..invalid("none at all", String::new())
        },
        Evil {
            error: "-",
            ..invalid("a password's answer instead", digest())
        },
        invalid("a name", bearer(USER)),
        invalid("two parts", bearer(&format!("{head}.{claims}"))),
        invalid("five parts", bearer(&format!("{good}.AAAA.AAAA"))),
        invalid("too long", bearer(&format!("{good}{}", "A".repeat(8192)))),
        invalid("padded", bearer(&format!("{head}=.{claims}.{signature}"))),
        invalid("not base64url", bearer(&format!("{head}.{claims}.a+/a"))),
        invalid("no signature", bearer(&format!("{head}.{claims}."))),
        invalid(
            "half a signature",
            bearer(&format!(
                "{head}.{claims}.{}",
                &signature[..signature.len() / 8 * 4]
            )),
        ),
        invalid(
            "another signature",
            bearer(&format!("{head}.{claims}.{flipped}")),
        ),
        invalid("alg none, unsigned", bearer(&format!("{none}.{claims}."))),
        invalid(
            "alg none, signed",
            bearer(&format!("{none}.{claims}.{signature}")),
        ),
        invalid(
            "alg HS256, the public key's",
            bearer(&format!("{symmetric}.{claims}.{signature}")),
        ),
        invalid(
            "a header that is text",
            bearer(&format!("{text_head}.{claims}.{signature}")),
        ),
        invalid(
            "claims that are text",
            bearer(&format!("{head}.{text_head}.{signature}")),
        ),
        invalid(
            "header and claims changed round",
            bearer(&format!("{claims}.{head}.{signature}")),
        ),
    ])
}

/// Those with the provider's own signature that are worth nothing: 401 `invalid_token`.
fn signed() -> Vec<(&'static str, Value)> {
    let claim = |name: &str, value: Value| json!({ "claims": { name: value } });
    let head = |name: &str, value: Value| json!({ "header": { name: value } });
    let without = |name: &str| json!({ "without": [name] });
    let future = json!(4_000_000_000_u64);
    let issuer = IdentityProvider::issuer();
    vec![
        ("a key that nobody knows", json!({ "unknownKey": true })),
        ("a key id that nobody knows", head("kid", json!("nobody"))),
        ("a path for a key id", head("kid", json!("../../dev/null"))),
        ("a number for a key id", head("kid", json!(7))),
        (
            "its own key",
            head("jwk", json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" })),
        ),
        (
            "its own place of keys",
            head("jku", json!("https://evil.test/keys")),
        ),
        ("its own certificate", head("x5c", json!(["MIIB"]))),
        (
            "its own place of certificates",
            head("x5u", json!("https://evil.test/c")),
        ),
        ("a critical extension", head("crit", json!(["exp"]))),
        (
            "another algorithm of the same key",
            head("alg", json!("PS256")),
        ),
        (
            "an algorithm twice",
            json!({ "headerText": "{\"alg\":\"none\",\"alg\":\"RS256\"}" }),
        ),
        ("another issuer", claim("iss", json!("https://evil.test"))),
        (
            "the issuer with a slash",
            claim("iss", json!(format!("{issuer}/"))),
        ),
        (
            "the issuer in capitals",
            claim("iss", json!(issuer.to_uppercase())),
        ),
        ("a list of issuers", claim("iss", json!([issuer]))),
        ("no issuer", without("iss")),
        ("another audience", claim("aud", json!("somebody else"))),
        (
            "the start of our audience",
            claim("aud", json!("https://gatehouse")),
        ),
        ("no audience", without("aud")),
        ("an ID token", claim("at_hash", json!("x"))),
        ("no expiry", without("exp")),
        ("expired", claim("exp", json!(1_000_000_000))),
        ("an expiry in words", claim("exp", json!("2030-01-01"))),
        ("an expiry beyond all", claim("exp", json!(1e300))),
        ("not valid yet", claim("nbf", future.clone())),
        ("issued in the future", claim("iat", future)),
        ("issued at no time", claim("iat", json!(true))),
        ("bound to a key", claim("cnf", json!({ "jkt": "x" }))),
        ("no subject", without("sub")),
        ("an empty name", claim("sub", json!(""))),
        ("a number for a name", claim("sub", json!(7))),
        (
            "a name twice",
            json!({ "claimsText": "{\"sub\":\"mallory\",\"sub\":\"alice\"}" }),
        ),
    ]
}

/// Those of a user who may not: 403.
fn forbidden() -> Vec<(&'static str, Value, &'static str)> {
    let of = |name: &str| json!({ "claims": { "sub": name } });
    let scope = |scope: Value| json!({ "claims": { "sub": USER, "scope": scope } });
    vec![
        (
            "no scope",
            json!({ "claims": { "sub": USER }, "without": ["scope"] }),
            LACKS,
        ),
        ("another scope", scope(json!("mail")), LACKS),
        ("the start of a scope", scope(json!("si sippy")), LACKS),
        (
            "another application",
            json!({ "claims": { "sub": USER, "client_id": "x" } }),
            "-",
        ),
        (
            "no application",
            json!({ "claims": { "sub": USER }, "without": ["client_id"] }),
            "-",
        ),
        ("a name with a line end", of("mallory\r\nVia: x"), "-"),
        ("a name with a quote", of("mallory\""), "-"),
        ("a name that ends an address", of("mallory>;x=<y"), "-"),
        ("a name with a host", of("mallory@evil.test"), "-"),
        ("a name with an escape", of("%6dallory"), "-"),
        ("a name with a null", of("mallory\0"), "-"),
    ]
}

fn invalid(what: &'static str, lines: String) -> Evil {
    Evil {
        what,
        user: USER,
        lines,
        status: 401,
        error: "invalid_token",
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// Credentials of another scheme.
fn digest() -> String {
    format!(
        "Authorization: Digest username=\"{USER}\", realm=\"ims.test\", nonce=\"abc\", \
         uri=\"sip:ims.test\", response=\"00000000000000000000000000000000\""
    )
}

const LACKS: &str = "insufficient_scope";
