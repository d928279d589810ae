//! The token in a request, and the challenge that asks for one (RFC 8898 §2, RFC 6750 §3,
//! TS 24.371 §7.2.1).

use crate::auth::{Hearing, IssuerConfig, Token, TokenRefusal};
use crate::message::headers::Digest;
use crate::message::{HeaderName, Headers};
use crate::rejection::Rejection;

/// The token that a request carries, in either header. There may be one.
pub(super) fn token_of(headers: &Headers) -> Result<Option<Token>, Rejection> {
    let is_credential = |name: &HeaderName| {
        [HeaderName::Authorization, HeaderName::ProxyAuthorization].contains(name)
    };
    let mut found = None;
    for header in headers.iter().filter(|header| is_credential(header.name())) {
        let Some(text) = header.text().and_then(bearer) else {
            continue;
        };
        let token = Token::parse(text).map_err(Rejection::Token)?;
        if found.as_ref().is_some_and(|other| *other != token) {
            return Err(Rejection::Malformed(header.name().clone()));
        }
        found = Some(token);
    }
    Ok(found)
}

/// What stands behind `Bearer`: the bare token of RFC 6750 §2.1, or `access_token="…"` as
/// TS 24.371 Annex A.3.2 writes it.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once([' ', '\t'])?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return None;
    }
    let rest = rest.trim();
    let Some(param) = rest.strip_prefix("access_token") else {
        return Some(rest);
    };
    let Some(value) = param.trim_start().strip_prefix('=') else {
        return Some(rest);
    };
    let value = value.trim_start();
    match value.strip_prefix('"') {
        // What a token is made of needs no escapes.
        Some(quoted) => quoted.split('"').next(),
        None => value.split(',').next().map(str::trim_end),
    }
}

/// The challenge. `refusal` says what was wrong with the token that came, if one came.
pub(super) fn challenge(
    realm: &str,
    issuer: &IssuerConfig,
    refusal: Option<TokenRefusal>,
) -> String {
    let mut challenge = Digest::new("Bearer");
    challenge.set_quoted("realm", realm);
    if !issuer.scopes.is_empty() {
        challenge.set_quoted("scope", &issuer.scopes.join(" "));
    }
    challenge.set_quoted("authz_server", issuer.issuer.as_str());
    let error = match refusal.map(TokenRefusal::hearing) {
        Some(Hearing::InvalidToken) => Some("invalid_token"),
        Some(Hearing::InsufficientScope) => Some("insufficient_scope"),
        Some(Hearing::Forbidden | Hearing::Later) | None => None,
    };
    if let (Some(error), Some(refusal)) = (error, refusal) {
        challenge.set_quoted("error", error);
        challenge.set_quoted("error_description", &refusal.to_string());
    }
    challenge.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::auth::HttpsUrl;

    fn found(values: &[(HeaderName, &str)]) -> Result<Option<Token>, Rejection> {
        let mut headers = Headers::new();
        for (name, value) in values {
            headers.push(name.clone(), *value);
        }
        token_of(&headers)
    }

    #[test]
    fn a_token_is_read_in_either_form_and_either_header() {
        let token = Some(Token::parse("eyJh.bC-d_e~+/==").unwrap());
        for value in [
            "Bearer eyJh.bC-d_e~+/==",
            "bearer   eyJh.bC-d_e~+/== ",
            r#"Bearer access_token="eyJh.bC-d_e~+/==""#,
            r#"Bearer access_token = "eyJh.bC-d_e~+/==", realm="x""#,
            "Bearer access_token=eyJh.bC-d_e~+/==",
        ] {
            assert_eq!(
                found(&[(HeaderName::Authorization, value)]),
                Ok(token.clone()),
                "{value}"
            );
            let proxy = [(HeaderName::ProxyAuthorization, value)];
            assert_eq!(found(&proxy), Ok(token.clone()), "{value}");
        }
        let digest = (
            HeaderName::Authorization,
            r#"Digest username="a", response="b""#,
        );
        let beside = [
            digest.clone(),
            (HeaderName::Authorization, "Bearer eyJh.bC-d_e~+/=="),
        ];
        assert_eq!(found(&beside), Ok(token));
        assert_eq!(found(&[digest]), Ok(None));
    }

    #[test]
    fn two_tokens_and_what_is_no_token_are_refused() {
        let two = [
            (HeaderName::Authorization, "Bearer a"),
            (HeaderName::Authorization, "Bearer b"),
        ];
        assert_eq!(
            found(&two),
            Err(Rejection::Malformed(HeaderName::Authorization))
        );
        let is_refused = |value: &str| found(&[(HeaderName::Authorization, value)]).is_err();
        for value in ["Bearer a b", "Bearer a,b", r#"Bearer access_token="""#] {
            assert!(is_refused(value), "{value}");
        }
        assert!(is_refused(&format!("Bearer {}", "a".repeat(8193))));
    }

    #[test]
    fn a_challenge_says_where_tokens_are_and_what_was_wrong() {
        let issuer = IssuerConfig {
            scopes: vec!["sip".into(), "register".into()],
            ..IssuerConfig::new(
                HttpsUrl::parse("https://idp.test/realms/acme").unwrap(),
                "x",
            )
        };
        assert_eq!(
            challenge("gw.test", &issuer, None),
            r#"Bearer realm="gw.test", scope="sip register", authz_server="https://idp.test/realms/acme""#
        );
        let told = challenge("gw.test", &issuer, Some(TokenRefusal::Expired));
        let end = r#", error="invalid_token", error_description="the token has expired""#;
        assert!(told.ends_with(end), "{told}");
    }
}
