//! Messages and subscriptions outside calls.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use crate::lab::{PATIENCE, Stage};

// Conforms: RFC 3428 §4 | A browser's message reaches a telephone, and a telephone's a browser.
pub(super) fn message(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let gina = stage.called()?;
    let scenario = include_str!("../../sipp/message-called.xml").replace("@TEXT@", OUTWARD);
    let mut script = gina.run(&stage.folder, "message-called", &scenario, "")?;
    stage.register("alice")?;
    stage.register("bob")?;
    let target = stage.address(gina.user);
    let details = json!({ "target": target, "text": OUTWARD });
    stage.lab.browser.ask("alice", "message", details)?;
    let answered = stage.wait("alice", "messageAnswered")?;
    ensure!(answered["status"] == 200, "{answered}");
    script.finish(PATIENCE)?;

    let hugo = stage.calling()?;
    let scenario = include_str!("../../sipp/message-calling.xml").replace("@TEXT@", INWARD);
    for tab in ["bob", "alice"] {
        let user = stage.user(tab);
        let mut script = hugo.run(&stage.folder, tab, &scenario, &user)?;
        let message = stage.wait(tab, "message")?;
        ensure!(
            message["text"].as_str().map(str::trim) == Some(INWARD)
                && message["from"]
                    .as_str()
                    .is_some_and(|from| from.starts_with("sip:hugo@")),
            "{message}"
        );
        script.finish(PATIENCE)?;
    }
    ensure!(
        !stage.lab.browser.has_seen("alice", "message")
            && !stage.lab.browser.has_seen("bob", "message"),
        "told to the wrong one, or twice"
    );
    Ok(())
}

pub(super) fn browser_to_browser(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.register("alice")?;
    stage.register("bob")?;
    let target = stage.address("bob");
    let details = json!({ "target": target, "text": OUTWARD });
    stage.lab.browser.ask("alice", "message", details)?;
    let message = stage.wait("bob", "message")?;
    let from = stage.address("alice");
    ensure!(
        message["text"] == OUTWARD && message["from"] == from,
        "{message}"
    );
    let answered = stage.wait("alice", "messageAnswered")?;
    ensure!(answered["status"] == 200, "{answered}");
    Ok(())
}

// Conforms: RFC 6665 §4.1 | A browser's subscription to a package on the list brings it NOTIFYs until it ends it.
// Conforms: RFC 6665 §4.2.1.1 | A package that is not on the list is refused with 489.
pub(super) fn subscription(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let gina = stage.called()?;
    let scenario = include_str!("../../sipp/subscribe.xml");
    let mut script = gina.run(&stage.folder, "subscribe", scenario, "")?;
    stage.register("alice")?;
    let target = stage.address(gina.user);
    let details = json!({ "target": target, "package": "message-summary" });
    stage.lab.browser.ask("alice", "subscribe", details)?;
    stage.wait("alice", "subscribed")?;
    let notified = stage.wait("alice", "notified")?;
    ensure!(
        notified["text"]
            .as_str()
            .is_some_and(|text| text.contains("Voice-Message: 2/8")),
        "{notified}"
    );
    // The telephone follows its script, and the answer to its NOTIFY comes first there.
    std::thread::sleep(Duration::from_millis(300));
    stage.tell("alice", "unsubscribe")?;
    stage.wait("alice", "unsubscribed")?;
    script.finish(PATIENCE)?;

    let details = json!({ "target": target, "package": "dialog" });
    stage.lab.browser.ask("alice", "subscribe", details)?;
    stage.wait("alice", "unsubscribed")?;
    stage.expect("the refusal", "sip.Status-Code == 489", 1);
    stage.expect_none(
        "a package that is not on the list",
        "sip.Event == \"dialog\" && ip.src == 127.0.1.1",
    );
    Ok(())
}

/// What a browser says.
const OUTWARD: &str = "the kettle is on";
/// What a telephone says.
const INWARD: &str = "the post has come";
