//! The identity provider alone: what it gives and how it can be disturbed.

use anyhow::ensure;
use serde_json::json;

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

/// The part of a JWT that names the key.
fn head(token: &str) -> &str {
    token.split('.').next().unwrap_or_default()
}
