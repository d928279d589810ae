//! The recorded browser, in front of every way into the IMS.

use std::net::SocketAddrV4;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::header_table::{Column, Documented, compare, print};
use crate::lab::{PATIENCE, Stage};
use crate::trace::{Player, Trace};
use crate::{gateway, hss, network};

/// Whose trace it is.
const USER: &str = "tracy";

/// Records the trace anew, with JsSIP in a browser.
pub(super) fn record(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let (gina, hugo) = (stage.called()?, stage.calling()?);
    let planted: Vec<String> = PLANTED
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    stage.open_with(
        USER,
        json!({ "password": hss::password(USER), "trace": true, "extraHeaders": planted }),
    )?;
    stage.tell(USER, "register")?;
    stage.wait(USER, "registered")?;

    let scenario = include_str!("../../sipp/trace-called.xml");
    let mut called = gina.run(&stage.folder, "trace-called", scenario, "")?;
    stage.call(USER, gina.user)?;
    stage.wait(USER, "confirmed")?;
    stage.tell(USER, "hold")?;
    stage.wait(USER, "hold")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    stage.tell(USER, "resume")?;
    stage.wait(USER, "unhold")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    let keys = json!({ "tones": "5", "how": "info" });
    stage.lab.browser.ask(USER, "dtmf", keys)?;
    std::thread::sleep(std::time::Duration::from_millis(800));
    stage.tell(USER, "hangup")?;
    stage.wait(USER, "ended")?;
    called.finish(PATIENCE)?;

    let scenario = include_str!("../../sipp/trace-calling.xml");
    let mut calling = hugo.run(&stage.folder, "trace-calling", scenario, USER)?;
    stage.wait(USER, "incoming")?;
    stage.tell(USER, "answer")?;
    stage.wait(USER, "confirmed")?;
    stage.wait(USER, "ended")?;
    calling.finish(PATIENCE)?;
    stage.tell(USER, "unregister")?;
    stage.wait(USER, "unregistered")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    let trace = stage.lab.browser.ask(USER, "trace", json!({}))?;
    Trace::read(&trace)?.save()
}

/// Says the trace to the gateway and listens to what it makes of it.
pub(super) fn replay(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let trace = Trace::load()?;
    let (gina, hugo) = (stage.called()?, stage.calling()?);
    let folder = stage.folder.clone();
    let scenario = include_str!("../../sipp/trace-called.xml");
    let mut called = gina.run(&folder, "trace-called", scenario, "")?;
    let address = SocketAddrV4::new(network::ACCESS_SIGNALING, gateway::PORT);
    let mut player = Player::open(address, &gateway::origin(), &hss::password(USER))?;
    let mut calling = None;
    player
        .play(&trace, || {
            let scenario = include_str!("../../sipp/trace-calling.xml");
            calling = Some(hugo.run(&folder, "trace-calling", scenario, USER)?);
            Ok(())
        })
        .context("the trace")?;
    called.finish(PATIENCE).context("who was called")?;
    let mut calling = calling.context("nobody called")?;
    calling.finish(PATIENCE).context("who called")?;

    stage.capture.stop();
    let browsers = format!("tcp.dstport == {}", gateway::PORT);
    let boxs = format!("ip.src == {}", network::GATEWAY);
    let way = stage.lab.way.name();
    let column = Column {
        way,
        sent: stage.capture.request_fields(&browsers)?,
        reached: stage.capture.request_fields(&boxs)?,
        table: Documented::read(way)?,
    };
    let faults = column.faults();
    let unnoticed = unnoticed(&column);
    stage.lab.columns.push(column);
    println!("{}", print(&stage.lab.columns)?);
    ensure!(
        faults.is_empty(),
        "against the documented table: {}",
        faults.join("; ")
    );
    ensure!(
        unnoticed.is_empty(),
        "a change of these rows is not noticed: {unnoticed:?}"
    );
    Ok(())
}

/// The planted header fields whose row in the table could be changed without the comparison telling.
fn unnoticed(column: &Column) -> Vec<&'static str> {
    let names = PLANTED.iter().map(|(name, _)| *name);
    let is_unnoticed = |name: &&str| {
        let table = column.table.with_one_changed(name);
        compare(&column.sent, &column.reached, &table).is_empty()
    };
    names.filter(is_unnoticed).collect()
}

/// What the page adds to its REGISTER and its INVITE: a value for every header field that might
/// cross and must not, or must.
const PLANTED: &[(&str, &str)] = &[
    ("P-Preferred-Identity", "<sip:mallory@ims.test>"),
    ("P-Asserted-Identity", "<sip:mallory@ims.test>"),
    ("Remote-Party-ID", "<sip:mallory@ims.test>;party=calling"),
    ("Identity", "\"planted\""),
    ("Identity-Info", "<https://planted.test/cert>"),
    ("Additional-Identity", "<sip:mallory@ims.test>"),
    ("P-Served-User", "<sip:mallory@ims.test>;sescase=orig"),
    ("P-Profile-Key", "<sip:planted!.*!@ims.test>"),
    ("P-User-Database", "<aaa://planted.test>"),
    ("P-Associated-URI", "<sip:mallory@ims.test>"),
    ("P-Called-Party-ID", "<sip:mallory@ims.test>"),
    ("Privacy", "none"),
    ("Attestation-Info", "A"),
    ("Origination-Id", "planted"),
    ("Authentication-Info", "nextnonce=\"planted\""),
    ("Proxy-Authentication-Info", "nextnonce=\"planted\""),
    ("History-Info", "<sip:mallory@ims.test>;index=1"),
    ("Diversion", "<sip:mallory@ims.test>;reason=unconditional"),
    ("Response-Source", "<urn:3gpp:fe:planted>"),
    ("Session-ID", "ab30317f1a784dc48ff824d0d3715d86"),
    ("Subject", "planted tea"),
    ("Priority", "non-urgent"),
    ("Resource-Priority", "ets.0"),
    ("Accept-Resource-Priority", "ets.0"),
    (
        "P-Preferred-Service",
        "urn:urn-7:3gpp-service.ims.icsi.mmtel",
    ),
    (
        "P-Asserted-Service",
        "urn:urn-7:3gpp-service.ims.icsi.planted",
    ),
    ("Request-Disposition", "no-fork"),
    ("Feature-Caps", "*;+g.3gpp.planted"),
    ("P-Early-Media", "sendrecv"),
    ("Alert-Info", "<urn:alert:service:planted>"),
    ("Call-Info", "<https://planted.test/icon>"),
    ("Error-Info", "<https://planted.test/error>"),
    ("Organization", "Planted Ltd"),
    ("Reply-To", "<sip:mallory@ims.test>"),
    ("In-Reply-To", "planted@nowhere"),
    (
        "P-Access-Network-Info",
        "IEEE-802.11;i-wlan-node-id=planted",
    ),
    ("P-Visited-Network-ID", "\"planted.test\""),
    ("P-Charging-Vector", "icid-value=planted"),
    ("P-Charging-Function-Addresses", "ccf=planted.test"),
    ("P-Media-Authorization", "0020"),
    ("P-Private-Network-Indication", "planted.test"),
    ("Cellular-Network-Info", "3GPP-E-UTRAN-FDD;planted"),
    ("Restoration-Info", "\"planted\""),
    ("Relayed-Charge", "planted"),
    ("Service-Interact-Info", "planted"),
    ("Priority-Verstat", "planted"),
    ("Priority-Share", "allowed"),
    ("Resource-Share", "no-media-sharing"),
    ("Geolocation", "<https://planted.test/where>"),
    ("Geolocation-Routing", "yes"),
    ("Geolocation-Error", "100"),
    ("Service-Route", "<sip:planted.test;lr>"),
    ("Flow-Timer", "17"),
    ("X-Planted", "planted"),
];
