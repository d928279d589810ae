//! Writes what is made from the table of lamps: `card`, `card-page`, `json`.

use board_core::led::{card, export};

fn main() -> std::process::ExitCode {
    let mut text = String::new();
    let what = std::env::args().nth(1).unwrap_or_default();
    let done = match what.as_str() {
        "card" => card::write_markdown(&mut text),
        "card-page" => card::write_html(&mut text),
        "json" => export::write_json(&mut text),
        _ => {
            eprintln!("say what to write: card, card-page or json");
            return std::process::ExitCode::FAILURE;
        }
    };
    done.expect("a String takes everything");
    print!("{text}");
    std::process::ExitCode::SUCCESS
}
