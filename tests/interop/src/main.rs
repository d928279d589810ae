//! The runner of the cases against real peers; `cargo xtask interop` starts it.
use std::path::Path;

fn main() -> anyhow::Result<()> {
    if !interop::network::is_inside() {
        return Err(interop::network::enter());
    }
    let folder = Path::new("/tmp/interop-try");
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder)?;
    interop::network::set_up(folder)?;
    let _ims = interop::ims::Ims::start(folder)?;
    println!("up {}", std::process::id());
    std::thread::sleep(std::time::Duration::from_secs(100_000));
    Ok(())
}
