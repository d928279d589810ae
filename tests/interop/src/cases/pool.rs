//! Users whose identities are lent to them: their pages know nothing but a token.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::calls::{ALICE, BOB};
use crate::gateway::{self, Way};
use crate::hss;
use crate::lab::{Stage, address};
use crate::wire::Wire;

/// A pool of two. One page learns with its ticket who its user is, the other one, on the other
/// client, registers as `me` and is told; one calls the other. A third user is told that no
/// identity is left, and the first one has his again after a reload of his page.
pub(super) fn pool(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let names: Vec<String> = (stage.lab.way.pool())
        .map(|n| format!("lodger{n}"))
        .collect();
    if stage.lab.way == Way::GmByToken {
        for name in &names {
            let identity = format!("{name}@{}", hss::DOMAIN);
            let password = hss::password(name);
            stage.lab.gateway()?.add_credentials(&identity, &password)?;
        }
    }
    // Each client comes in each way: by the way into the IMS they change places.
    let (by_ticket, by_name) = match stage.lab.way {
        Way::GmByToken => ("jssip", "sipjs"),
        _ => ("sipjs", "jssip"),
    };
    let alice = token(stage, "alice")?;
    let own = enter(stage, by_ticket, &alice)?;
    ensure!(own["uri"] == address(&names[0]), "{own}");
    ensure!(own["identities"] == json!([own["uri"]]), "{own}");
    let kept = own["lease_expires_in"].as_u64().unwrap_or_default();
    ensure!((600..=660).contains(&kept), "{own}");
    let told = log_in(stage, "alice")?;
    ensure!(told.contains(&address(&names[0])), "alice is told {told}");

    let bob = token(stage, "bob")?;
    let wishes = json!({ "client": by_name, "token": bob, "user": "me" });
    stage.open_with("bob", wishes)?;
    let told = log_in(stage, "bob")?;
    ensure!(told.contains(&address(&names[1])), "bob is told {told}");
    for name in &names {
        ensure!(stage.lab.ims.hss.is_registered(name), "{name} is not there");
    }
    one_calls_the_other(stage, &names)?;
    nobody_else_comes(stage)?;

    stage.lab.browser.tell("alice", "close")?;
    let again = enter(stage, by_ticket, &alice).context("after a reload")?;
    ensure!(again["uri"] == own["uri"], "after a reload: {again}");
    log_in(stage, "alice").context("after a reload").map(drop)
}

fn one_calls_the_other(stage: &mut Stage<'_>, names: &[String]) -> anyhow::Result<()> {
    stage.speak("bob", BOB)?;
    let target = json!({ "target": address(&names[1]) });
    stage.lab.browser.ask("alice", "call", target)?;
    let incoming = stage.wait("bob", "incoming")?;
    ensure!(is_from(&incoming, &names[0]), "{incoming}");
    stage.tell("bob", "answer")?;
    stage.wait("alice", "confirmed")?;
    stage.wait("bob", "confirmed")?;
    stage.tab_hears("alice", BOB)?;
    stage.tab_hears("bob", ALICE)?;
    stage.tell("alice", "hangup")?;
    stage.wait("bob", "ended")?;

    let target = json!({ "target": address(&names[0]) });
    stage.lab.browser.ask("bob", "call", target)?;
    let incoming = stage.wait("alice", "incoming")?;
    ensure!(is_from(&incoming, &names[1]), "{incoming}");
    stage.tell("bob", "hangup")?;
    stage.wait_for_any("alice", &["failed", "ended"]).map(drop)
}

fn is_from(incoming: &Value, name: &str) -> bool {
    let from = incoming["from"].as_str().unwrap_or_default();
    from.starts_with(&address(name))
}

/// A page hears why there is nothing for its user, and so does a client; and a page without a token
/// hears that it has none.
fn nobody_else_comes(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let before = stage.lab.ims.hss.request_count();
    let third = stage.lab.identity_provider()?.token("carol", lodgers())?;
    let refused = ask(stage, &third)?;
    let is_told = refused["error"] == "temporarily_unavailable"
        && refused["error_description"] == "the pool of identities is exhausted"
        && refused["retryAfter"].is_string();
    ensure!(refused["status"] == 503 && is_told, "{refused}");
    let line = format!("Authorization: Bearer {third}");
    let answer = Wire::open("third")?.register("me", &line)?;
    ensure!(answer.status == 503, "{}", answer.text);
    ensure!(answer.text.contains("\r\nRetry-After: "), "{}", answer.text);
    let missing = ask(stage, "")?;
    ensure!(
        missing["status"] == 401 && missing["error"] == "token_missing",
        "{missing}"
    );
    let asked = stage.lab.ims.hss.request_count() - before;
    ensure!(asked == 0, "the HSS was asked {asked} times");
    Ok(())
}

fn lodgers() -> Value {
    json!({ "claims": { "groups": ["lodgers"] } })
}

fn token(stage: &mut Stage<'_>, tab: &str) -> anyhow::Result<String> {
    let subject = stage.user(tab);
    stage.lab.identity_provider()?.token(&subject, lodgers())
}

/// What a page is told that asks who its user is.
fn ask(stage: &mut Stage<'_>, token: &str) -> anyhow::Result<Value> {
    let wish = json!({ "url": session(), "token": token });
    stage.lab.browser.ask("alice", "ticket", wish)
}

fn session() -> String {
    format!("{}/v1/session", gateway::page())
}

/// Opens a page that knows nothing but a token; who its user is.
fn enter(stage: &mut Stage<'_>, client: &str, token: &str) -> anyhow::Result<Value> {
    let session = json!({ "url": session(), "token": token });
    let wishes = json!({ "client": client, "session": session });
    stage.open_with("alice", wishes)?;
    let admitted = stage.wait("alice", "admitted")?;
    let ticket = admitted["ticket"].as_str().context("no ticket")?;
    stage.lab.plant(ticket)?;
    Ok(admitted)
}

/// Logs in; which identities the client is told of.
fn log_in(stage: &mut Stage<'_>, tab: &str) -> anyhow::Result<String> {
    stage.tell(tab, "register")?;
    let event = stage.wait_for_any(tab, &["registered", "registrationFailed"])?;
    let identities = event["identities"].as_str().unwrap_or_default();
    ensure!(event["event"] == "registered", "{tab}: {event}");
    Ok(identities.to_owned())
}
