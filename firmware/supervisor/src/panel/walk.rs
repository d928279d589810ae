//! A walk through the table of lamps: to see that all lamps work, and for the tests of the
//! image, which compare what they see with the table.

use std::io::Write as _;
use std::time::Duration;

use board_core::led::{Blinker, States, TABLE, export};
use tokio::time::sleep;

use super::face::Face;
use super::state;

/// Shows each state for so long, and says so on standard output when it begins.
pub(super) async fn run(mut face: impl Face, each: Duration) -> anyhow::Result<()> {
    for row in &TABLE {
        let start = state::uptime();
        let mut blinker = Blinker::new(export::usual(row), start);
        let seconds = start.as_secs_f64();
        writeln!(
            std::io::stdout(),
            "{seconds:10.2} s  {}: {}",
            row.key,
            row.title
        )?;
        loop {
            let now = state::uptime();
            blinker.handle_timeout(now);
            face.set(blinker.lamps())?;
            let end = start + each;
            if now >= end {
                break;
            }
            let next = blinker.poll_timeout().unwrap_or(end).min(end);
            sleep(next.saturating_sub(state::uptime())).await;
        }
        // A dark second between two states tells them apart, and keeps flashes rare.
        face.set([None; 4])?;
        sleep(GAP).await;
    }
    let lamps = Blinker::new(States::default(), state::uptime()).lamps();
    face.set(lamps)
}

const GAP: Duration = Duration::from_millis(900);
