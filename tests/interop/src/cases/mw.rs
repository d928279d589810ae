//! The core as a P-CSCF sees it, on Mw, without a gateway: these say what it would do for one.

use anyhow::{Context, bail, ensure};

use super::calls::DORA;
use crate::lab::{PATIENCE, Stage, address};
use crate::network;
use crate::sipp::Scripted;
use crate::telephone::Answer;

pub(super) fn trusted_node(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let ivan = Scripted::on_mw(network::GATEWAY, "ivan");
    trust(stage, ivan, "ivan", "", 200)?;
    let asked = stage.lab.ims.hss.asked_about("ivan");
    ensure!(
        asked.contains(&"SAR") && !asked.contains(&"MAR"),
        "not taken on the box's word: {asked:?}"
    );
    is_called_by_path(stage, ivan)
}

pub(super) fn trusted_node_refused(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let box_itself = Scripted::on_mw(network::GATEWAY, "judy");
    let stranger = Scripted::on_mw(network::telephone(6), "judy");
    trust(stage, stranger, "judy", "", 403).context("a stranger's word")?;
    trust(stage, box_itself, "ivan", "", 403).context("another's public identity")?;
    for planted in [
        "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
        "X-Where: sip:a@df7jal23ls0d.invalid",
        "X-How: <sip:a@192.0.2.7;transport=ws>",
    ] {
        // Looked for before anything else, and so from anybody.
        stage.lab.ims.forget_leaks();
        trust(stage, stranger, "judy", planted, 403).with_context(|| planted.to_owned())?;
        ensure!(!stage.lab.ims.leaks().is_empty(), "not noticed: {planted}");
    }
    stage.lab.ims.forget_leaks();
    let anonymous = "X-Who: <sip:anonymous@anonymous.invalid>";
    trust(stage, stranger, "judy", anonymous, 403).context("a stranger's word")?;
    ensure!(
        stage.lab.ims.leaks().is_empty(),
        "taken for a leak: {anonymous}"
    );
    ensure!(
        !stage.lab.ims.hss.is_registered("judy"),
        "registered nevertheless"
    );
    stage.lab.ims.forget_leaks();
    Ok(())
}

pub(super) fn digest_on_mw(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let kate = Scripted::on_mw(network::GATEWAY, "kate");
    let scenario = checked(include_str!("../../sipp/digest-on-mw.xml"), kate.user, true);
    let mut script = kate.run(&stage.folder, "digest-on-mw", &scenario, "")?;
    script.finish(PATIENCE)?;
    is_called_by_path(stage, kate)
}

/// Registers a user on the word of a P-CSCF and demands how that ends.
fn trust(
    stage: &Stage<'_>,
    scripted: Scripted,
    private: &str,
    planted: &str,
    status: u16,
) -> anyhow::Result<()> {
    let planted = match planted {
        "" => String::new(),
        line => format!("{line}\n"),
    };
    let scenario = include_str!("../../sipp/trusted-node.xml")
        .replace("@STATUS@", &status.to_string())
        .replace("@PRIVATE@", private)
        .replace("@PLANTED@\n", &planted);
    let scenario = checked(&scenario, scripted.user, status == 200);
    let mut script = scripted.run(&stage.folder, "trusted-node", &scenario, "")?;
    script.finish(PATIENCE)
}

/// A scenario that demands what the S-CSCF tells a P-CSCF in the 200: TS 24.229 §5.4.1.2.2F.
fn checked(scenario: &str, user: &str, is_success: bool) -> String {
    if !is_success {
        return scenario.replace("@CHECKS@", "").replace("@REFERENCE@", "");
    }
    let work = format!("sip:{user}[.]work@");
    let wanted = [
        ("Service-Route", "sip:orig@scscf"),
        ("P-Associated-URI", work.as_str()),
        ("Path", "flow-token@"),
    ];
    let mut checks = String::from("<action>");
    for (at, (header, regexp)) in wanted.iter().enumerate() {
        checks.push_str(&format!(
            "<ereg regexp=\"{regexp}\" search_in=\"hdr\" header=\"{header}:\" check_it=\"true\" assign_to=\"{}\"/>",
            at + 1
        ));
    }
    checks.push_str("</action>");
    scenario
        .replace("@CHECKS@", &checks)
        .replace("@REFERENCE@", "<Reference variables=\"1,2,3\"/>")
}

/// A telephone's call reaches the P-CSCF by the Path it gave.
fn is_called_by_path(stage: &mut Stage<'_>, scripted: Scripted) -> anyhow::Result<()> {
    let scenario = include_str!("../../sipp/called-by-path.xml");
    let mut script = scripted.run(&stage.folder, "called-by-path", scenario, "")?;
    let mut dora = stage.telephone("dora", DORA, Answer::Manual)?;
    dora.dial(&address(scripted.user))?;
    let closed = dora.wait("CALL_CLOSED", PATIENCE)?;
    if !closed["param"]
        .as_str()
        .is_some_and(|cause| cause.starts_with("486"))
    {
        bail!("not answered by the P-CSCF: {closed}");
    }
    script.finish(PATIENCE)
}
