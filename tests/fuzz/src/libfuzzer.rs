//! The entry that libFuzzer calls, for the target that the environment names.

// The macro makes an exported function of it.
#![allow(unsafe_code)]

use std::sync::OnceLock;

use fuzz::Target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| (chosen().run)(data));

fn chosen() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        Target::named(&name).expect("FUZZ_TARGET names one of the targets")
    })
}
