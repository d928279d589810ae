//! Logging in by access token: the box registers the user, and the core never learns of the token.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use super::calls::{self, DORA};
use crate::gateway::{self, Check, Way};
use crate::lab::{PATIENCE, Stage};
use crate::telephone::Answer;
use crate::wire::Wire;

/// A log-in and a refresh of it; the core challenges the box where it does not take its word.
pub(super) fn register(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.register("alice")?;
    let user = stage.user("alice");
    let asked = stage.lab.ims.hss.asked_about(&user);
    let is_challenged = stage.lab.way == Way::GmByToken;
    ensure!(
        asked.contains(&"MAR") == is_challenged && asked.contains(&"SAR"),
        "{asked:?}"
    );
    ensure!(
        stage.lab.ims.hss.is_registered(&user),
        "the HSS knows better"
    );
    refresh(stage, "alice")?;
    stage.expect_registrations(2);
    Ok(())
}

/// JsSIP has the token in every request; it is good for all of them and leaves the box in none.
pub(super) fn in_every_request(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    calls::call_out(stage)?;
    for method in ["REGISTER", "INVITE", "ACK", "BYE"] {
        let filter = format!(
            "sip.Method == \"{method}\" && tcp.dstport == {} && sip.Authorization contains \"Bearer\"",
            gateway::PORT
        );
        stage.expect("a request with its token", filter, 1);
    }
    // Another user's token on alice's connection.
    let foreign = stage.token("bob", json!({}))?;
    stage
        .lab
        .browser
        .ask("alice", "renew", json!({ "token": foreign }))?;
    stage.call("alice", "dora")?;
    let failed = stage.wait_for_any("alice", &["failed", "confirmed"])?;
    ensure!(
        failed["event"] == "failed" && failed["status"] == 403,
        "{failed}"
    );
    Ok(())
}

/// What JavaScript cannot say in a header of a WebSocket: the token among the sub-protocols, or a
/// ticket for it in the URL.
pub(super) fn carriers(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let token = stage.token("alice", json!({}))?;
    stage.open_with("alice", json!({ "protocols": [format!("bearer.{token}")] }))?;
    stage.log_in("alice").context("by sub-protocol")?;

    let token = stage.token("bob", json!({}))?;
    let url = format!("{}/v1/session", gateway::page());
    let wish = json!({ "url": url, "token": token });
    let given = stage.lab.browser.ask("alice", "ticket", wish)?;
    let ticket = given["ticket"]
        .as_str()
        .with_context(|| format!("no ticket: {given}"))?;
    stage.lab.plant(ticket)?;
    let server = format!("{}?ticket={ticket}", gateway::websocket());
    stage.open_with("bob", json!({ "server": server }))?;
    stage.log_in("bob").context("by ticket")?;

    let mut again = Wire::open_at("again", &format!("/sip?ticket={ticket}"))?;
    ensure!(again.closed()? == 4001, "a ticket was good twice");
    let wish = json!({ "url": url, "token": "rubbish" });
    let refused = stage.lab.browser.ask("alice", "ticket", wish)?;
    ensure!(
        refused["status"] == 401 && refused["error"] == "invalid_token",
        "{refused}"
    );
    let foreign = gateway::post("/v1/session", "https://evil.test", &token)?;
    ensure!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
    ensure!(
        !foreign.contains("Access-Control-Allow-Origin"),
        "{foreign}"
    );
    let mut by_query = Wire::open_at("query", &format!("/sip?access_token={token}"))?;
    let bob = stage.user("bob");
    ensure!(
        by_query.register(&bob, "")?.status == 401,
        "a token was taken from a URL"
    );
    Ok(())
}

/// A registration ends before its token does, and the core is told; with a fresh token it goes on.
pub(super) fn expiry(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let started = Instant::now();
    for tab in ["alice", "bob"] {
        let token = stage.token(tab, json!({ "seconds": LIFE.as_secs() }))?;
        stage.open_with(tab, json!({ "token": token }))?;
        stage.log_in(tab)?;
    }
    let fresh = stage.token("bob", json!({}))?;
    stage
        .lab
        .browser
        .ask("bob", "renew", json!({ "token": fresh }))?;
    refresh(stage, "bob")?;
    let (alice, bob) = (stage.user("alice"), stage.user("bob"));
    let hss = stage.lab.ims.hss.clone();
    while hss.is_registered(&alice) && started.elapsed() < LIFE + PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    let lasted = started.elapsed();
    ensure!(!hss.is_registered(&alice), "outlived its token");
    ensure!(
        lasted < LIFE,
        "ended after {lasted:?}, and its token after {LIFE:?}"
    );
    ensure!(lasted > LIFE / 3, "ended after {lasted:?} already");
    let mut dora = stage.telephone("dora", DORA, Answer::Manual)?;
    is_not_there(stage, &mut dora, "alice")?;
    std::thread::sleep(LIFE.saturating_sub(started.elapsed()));
    ensure!(
        hss.is_registered(&bob),
        "ended although there was a fresh token"
    );
    dora.dial(&stage.address("bob"))?;
    stage.wait("bob", "incoming")?;
    stage.tell("bob", "hangup").ok();
    dora.hang_up().ok();
    Ok(())
}

/// The provider is asked again and again about tokens that only it understands; one that was revoked
/// takes its registration along.
pub(super) fn revocation(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.lab.gateway_checking(Check::Introspection)?;
    let outcome = revoked(stage);
    stage.lab.stop_gateway();
    outcome
}

fn revoked(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let opaque = json!({ "format": "opaque" });
    let token = stage.token("alice", opaque.clone())?;
    for (tab, token) in [
        ("alice", token.clone()),
        ("bob", stage.token("bob", opaque)?),
    ] {
        stage.open_with(tab, json!({ "token": token }))?;
        stage.log_in(tab)?;
    }
    let (alice, bob) = (stage.user("alice"), stage.user("bob"));
    let before = dismissals(stage)?;
    stage.lab.identity_provider()?.revoke(&token)?;
    let started = Instant::now();
    let hss = stage.lab.ims.hss.clone();
    while hss.is_registered(&alice) && started.elapsed() < RECHECK + PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(
        !hss.is_registered(&alice),
        "registered with a revoked token"
    );
    stage.wait("alice", "disconnected")?;
    let closed = dismissals(stage)? - before;
    ensure!(closed == 1, "{closed} connections were closed with 4003");
    let failed = stage
        .lab
        .browser
        .wait("alice", "registrationFailed", 2 * PATIENCE)?;
    ensure!(failed["status"] == 401, "{failed}");
    ensure!(hss.is_registered(&bob), "the other user is gone, too");
    let mut dora = stage.telephone("dora", DORA, Answer::Manual)?;
    is_not_there(stage, &mut dora, "alice")
}

/// How many connections the gateways of this run have closed because their registration was ended.
fn dismissals(stage: &mut Stage<'_>) -> anyhow::Result<usize> {
    let log = std::fs::read_to_string(stage.lab.gateway()?.log())?;
    Ok(log.lines().filter(|line| line.contains("4003")).count())
}

/// Keys that are rotated and a provider that is away cost nobody his registration.
pub(super) fn provider_away(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    // A key that nobody knows is asked for once a minute: this gateway has not yet.
    stage.lab.stop_gateway();
    stage.lab.gateway_checking(Check::Signature)?;
    stage.register("alice")?;
    let known = stage.token("mallory", json!({}))?;
    stage.lab.identity_provider()?.rotate(false)?;
    stage.register("bob").context("with the new key")?;
    refresh(stage, "alice").context("with the old key")?;

    stage.lab.identity_provider()?.rotate(true)?;
    let unknown = stage.token("mallory", json!({}))?;
    stage.lab.identity_provider()?.down()?;
    let outcome = while_away(stage, &known, &unknown);
    stage.lab.identity_provider()?.up()?;
    outcome?;
    for tab in ["alice", "bob"] {
        let user = stage.user(tab);
        ensure!(stage.lab.ims.hss.is_registered(&user), "{tab} was lost");
    }
    Ok(())
}

fn while_away(stage: &mut Stage<'_>, known: &str, unknown: &str) -> anyhow::Result<()> {
    refresh(stage, "alice")?;
    refresh(stage, "bob")?;
    let mut dora = stage.telephone("dora", DORA, Answer::Automatic)?;
    stage.call("alice", "dora")?;
    stage.wait("alice", "confirmed")?;
    calls::talk(stage, &dora)?;
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let answer = Wire::open("unknown")?.register("mallory", &bearer(unknown))?;
    ensure!(matches!(answer.status, 401 | 503), "{}", answer.text);
    let mut wire = Wire::open("known")?;
    let answer = wire.register("mallory", &bearer(known))?;
    ensure!(answer.status == 200, "a known key: {}", answer.text);
    let gone = wire.register("mallory", &format!("{}\r\nExpires: 0", bearer(known)))?;
    ensure!(gone.status == 200, "{}", gone.text);
    Ok(())
}

/// Each of a table of tokens that the provider would never give, or never for this user, is refused
/// with its own answer, and the HSS is asked nothing.
pub(super) fn evil_tokens(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    // Everybody is signed off, so that nobody's refresh is mistaken for an effect.
    stage.lab.stop_gateway();
    stage.lab.gateway_checking(Check::Signature)?;
    let good = stage.token(USER, json!({}))?;
    let table = super::evil::table(stage.lab.identity_provider()?, &good)?;
    ensure!(table.len() >= 40, "only {} evil tokens", table.len());
    let hss = stage.lab.ims.hss.clone();
    println!(
        "     {:38} {:>4}  {:18}  Cx requests",
        "token", "SIP", "error"
    );
    let mut wrong = Vec::new();
    for (at, evil) in table.iter().enumerate() {
        let before = hss.request_count();
        let mut wire = Wire::open(&format!("evil{at}"))?;
        let answer = wire.register(evil.user, &evil.lines)?;
        std::thread::sleep(Duration::from_millis(20));
        let cost = hss.request_count() - before;
        let error = answer.challenge("error").unwrap_or("-").to_owned();
        println!(
            "     {:38} {:>4}  {error:18}  {cost}",
            evil.what, answer.status
        );
        let is_told = answer.text.contains("eyJ") || answer.text.contains("Bearer ey");
        if (answer.status, error.as_str()) != (evil.status, evil.error) || cost > 0 || is_told {
            wrong.push(format!(
                "{}: {}",
                evil.what,
                answer.text.lines().next().unwrap_or("")
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    let before = hss.request_count();
    let mut wire = Wire::open("good")?;
    // The spelling of TS 24.371 Annex A.3.2.
    let lines = format!("Authorization: Bearer access_token=\"{good}\"");
    let answer = wire.register(USER, &lines)?;
    let cost = hss.request_count() - before;
    println!(
        "     {:38} {:>4}  {:18}  {cost}",
        "a good one", answer.status, "-"
    );
    ensure!(answer.status == 200 && cost > 0, "{}", answer.text);
    let gone = wire.register(USER, &format!("{lines}\r\nExpires: 0"))?;
    ensure!(gone.status == 200, "{}", gone.text);
    Ok(())
}

/// Has a tab that is logged in log in again; JsSIP tells of it only if that fails.
fn refresh(stage: &mut Stage<'_>, tab: &str) -> anyhow::Result<()> {
    let before = stage.lab.gateway()?.metric(ANSWERED)?;
    stage.tell(tab, "register")?;
    let started = Instant::now();
    while stage.lab.gateway()?.metric(ANSWERED)? == before {
        let failed = stage.lab.browser.has_seen(tab, "registrationFailed");
        ensure!(!failed, "{tab}: {}", stage.lab.browser.seen(tab));
        ensure!(
            started.elapsed() < PATIENCE,
            "{tab} got no answer to its REGISTER"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    // The answer is still on its way, and the capture behind it.
    std::thread::sleep(Duration::from_millis(300));
    Ok(())
}

/// A call to a user who is not registered any more.
fn is_not_there(
    stage: &Stage<'_>,
    dora: &mut crate::telephone::Telephone,
    tab: &str,
) -> anyhow::Result<()> {
    dora.dial(&stage.address(tab))?;
    let closed = dora.wait("CALL_CLOSED", PATIENCE)?;
    let cause = closed["param"].as_str().unwrap_or_default();
    ensure!(cause.starts_with("480"), "still reached: {closed}");
    Ok(())
}

/// Counts refreshes that a browser asked for and got.
const ANSWERED: &str = "gatehouse_signaling_registrations_refreshed_total";
/// Claims decide who a user is in the IMS, and a wildcarded identity lets him be several.
pub(super) fn identities(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let name = format!("{}.work", stage.user("alice"));
    let plain = stage.token("alice", json!({}))?;
    stage.open_with("alice", json!({ "token": plain, "user": name }))?;
    stage.tell("alice", "register")?;
    let event = stage.wait_for_any("alice", &["registered", "registrationFailed"])?;
    ensure!(
        event["event"] == "registrationFailed" && event["status"] == 403,
        "without the claim: {event}"
    );
    let staff = json!({ "claims": { "groups": ["all", "staff"] } });
    let token = stage.token("alice", staff)?;
    stage
        .lab
        .browser
        .ask("alice", "renew", json!({ "token": token }))?;
    stage.log_in("alice").context("with the claim")?;
    ensure!(
        stage.lab.ims.hss.is_registered(&stage.user("alice")),
        "the HSS knows better"
    );
    let mut dora = stage.telephone("dora", DORA, Answer::Manual)?;
    dora.dial(&crate::lab::address(&name))?;
    stage.wait("alice", "incoming")?;
    dora.hang_up()?;
    stage.wait("alice", "failed").map(drop)
}

/// A core that challenges a user for whom the box vouches is not asked again, and the browser and
/// the technician are told why.
pub(super) fn word_not_taken(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let user = "unvouched";
    let token = stage.lab.identity_provider()?.token(user, json!({}))?;
    let line = format!("Authorization: Bearer {token}");
    let answer = Wire::open("unvouched")?.register(user, &line)?;
    ensure!(
        answer
            .text
            .starts_with("SIP/2.0 500 Core Refused Trusted Node Authentication\r\n"),
        "{}",
        answer.text
    );
    ensure!(answer.challenge("realm").is_none(), "{}", answer.text);
    let log = std::fs::read_to_string(stage.lab.gateway()?.log())?;
    ensure!(
        log.contains("the core refused trusted node authentication"),
        "the log does not say it"
    );
    let asked = stage.lab.ims.hss.asked_about(user);
    ensure!(
        asked.iter().filter(|it| **it == "MAR").count() == 1,
        "{asked:?}"
    );
    Ok(())
}

/// The user whose tokens are tried.
pub(super) const USER: &str = "mallory";
/// How long a short token lives: the registration ends 10 s sooner.
const LIFE: Duration = Duration::from_secs(20);
/// How often the gateway asks about tokens again.
const RECHECK: Duration = Duration::from_secs(10);
