//! The identity provider alone: what it gives and how it can be disturbed.

use anyhow::ensure;
use serde_json::json;

use signaling::auth::{TokenCheck, TokenRefusal};

use crate::identity_provider::IdentityProvider;
use crate::judge::Judge;
use crate::lab::Stage;

pub(super) fn identity_provider(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let provider = stage.lab.identity_provider()?;
    let first = provider.token("alice", json!({ "claims": { "groups": ["voice"] } }))?;
    ensure!(first.split('.').count() == 3, "no JWT: {first}");
    let opaque = provider.token("alice", json!({ "format": "opaque" }))?;
    ensure!(!opaque.contains('.'), "not opaque: {opaque}");
    provider.revoke(&opaque)?;

    provider.rotate(false)?;
    let second = provider.token("alice", json!({}))?;
    ensure!(
        head(&first) != head(&second),
        "signed with the same key after the rotation"
    );
    let forged = provider.sign(json!({ "claims": { "aud": "somebody else" } }))?;
    ensure!(
        head(&forged) == head(&second),
        "not signed with the current key"
    );

    provider.down()?;
    ensure!(
        provider.token("alice", json!({})).is_err(),
        "it was there all the time"
    );
    provider.up()?;
    provider.token("alice", json!({})).map(drop)
}

/// Tokens that the provider gives are believed, also after its keys were rotated and while it is away;
/// tokens that it would never give are not.
pub(super) fn tokens(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let provider = stage.lab.identity_provider()?;
    let authority = provider.authority().to_owned();
    let mut judge = Judge::new(
        &IdentityProvider::issuer(),
        &authority,
        TokenCheck::Signature,
    )?;
    let alice = Ok("alice".to_owned());
    let first = provider.token("alice", json!({}))?;
    let verdict = judge.user(&first)?;
    ensure!(verdict == alice, "the first token: {verdict:?}");

    let evil = [
        (
            json!({ "header": { "typ": "JWT" }, "claims": { "sub": "x" } }),
            None,
        ),
        (
            json!({ "unknownKey": true }),
            Some(TokenRefusal::UnknownKey),
        ),
        (
            json!({ "claims": { "iss": "https://evil.test" } }),
            Some(TokenRefusal::WrongIssuer),
        ),
        (
            json!({ "claims": { "aud": "somebody else" } }),
            Some(TokenRefusal::WrongAudience),
        ),
        (
            json!({ "claims": { "exp": 1 } }),
            Some(TokenRefusal::Expired),
        ),
        (
            json!({ "claims": { "exp": null } }),
            Some(TokenRefusal::NoExpiry),
        ),
        (
            json!({ "claims": { "nbf": 4_000_000_000_u64 } }),
            Some(TokenRefusal::NotYetValid),
        ),
        (
            json!({ "claims": { "iat": 4_000_000_000_u64 } }),
            Some(TokenRefusal::BadIssueTime),
        ),
        (
            json!({ "claims": { "scope": "mail" } }),
            Some(TokenRefusal::MissingScope),
        ),
        (
            json!({ "claims": { "client_id": "stranger" } }),
            Some(TokenRefusal::WrongClient),
        ),
        (
            json!({ "claims": { "cnf": { "jkt": "x" } } }),
            Some(TokenRefusal::BoundToKey),
        ),
        (
            json!({ "claims": { "sub": "" } }),
            Some(TokenRefusal::NoSubject),
        ),
        (
            json!({ "header": { "jku": "https://evil.test/" } }),
            Some(TokenRefusal::KeyInHeader),
        ),
        (
            json!({ "header": { "kid": "nobody" } }),
            Some(TokenRefusal::UnknownKey),
        ),
    ];
    for (wishes, refusal) in evil {
        let token = provider.sign(wishes.clone())?;
        let verdict = judge.user(&token)?.err();
        ensure!(verdict == refusal, "{wishes}: {verdict:?}");
    }
    let stranger = provider.token("alice", json!({ "client": "stranger" }))?;
    let verdict = judge.user(&stranger)?.err();
    ensure!(
        verdict == Some(TokenRefusal::WrongClient),
        "a stranger's: {verdict:?}"
    );

    // A key id that nobody knows has cost its question of this minute above, so this judge is new.
    let mut judge = Judge::new(
        &IdentityProvider::issuer(),
        &authority,
        TokenCheck::Signature,
    )?;
    ensure!(judge.user(&first)? == alice, "before the rotation");
    provider.rotate(false)?;
    let second = provider.token("alice", json!({}))?;
    let verdict = judge.user(&second)?;
    ensure!(verdict == alice, "after the rotation: {verdict:?}");
    provider.down()?;
    let third = provider.sign(json!({ "claims": { "sub": "bob", "jti": "while away" } }))?;
    let verdict = judge.user(&third)?;
    provider.up()?;
    ensure!(
        verdict == Ok("bob".to_owned()),
        "while the provider was away: {verdict:?}"
    );
    Ok(())
}

/// The provider is asked about a token without a form of its own, and about one that it has revoked.
pub(super) fn opaque_tokens(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let provider = stage.lab.identity_provider()?;
    let issuer = IdentityProvider::issuer();
    let mut judge = Judge::new(&issuer, provider.authority(), TokenCheck::Introspection)?;
    let opaque = provider.token("alice", json!({ "format": "opaque" }))?;
    let verdict = judge.user(&opaque)?;
    ensure!(verdict == Ok("alice".to_owned()), "{verdict:?}");
    let verdict = judge.user_again(&opaque)?;
    ensure!(
        verdict == Ok("alice".to_owned()),
        "asked again: {verdict:?}"
    );
    provider.revoke(&opaque)?;
    let verdict = judge.user_again(&opaque)?;
    ensure!(
        verdict == Err(TokenRefusal::Inactive),
        "after the revocation: {verdict:?}"
    );
    let verdict = judge.user("never-given")?;
    ensure!(
        verdict == Err(TokenRefusal::Inactive),
        "a stranger's word: {verdict:?}"
    );
    Ok(())
}

/// The part of a JWT that names the key.
fn head(token: &str) -> &str {
    token.split('.').next().unwrap_or_default()
}
