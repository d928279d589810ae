//! What a crash leaves behind. The memory of a process that ends badly holds passwords, tokens and
//! keys, so the system is told to write no image of it; and a panic says where it happened, but
//! not with what, because its message may quote what came from a network.

use std::panic::{Location, PanicHookInfo};

/// From here on a crash tells nothing but where it was. Threads and children that are started
/// later are no exception.
pub(crate) fn keep_secrets() {
    if let Err(error) = forbid_images() {
        tracing::warn!(%error, "an image of the memory may be written when the box crashes");
    }
    std::panic::set_hook(Box::new(say));
}

fn say(panic: &PanicHookInfo<'_>) {
    let at = place(panic.location());
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    tracing::error!(
        at,
        thread,
        "panicked: this is a fault of the box, please report it"
    );
}

fn place(location: Option<&Location<'_>>) -> String {
    location.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

/// No core dump is written, whether to a file (the limit) or to a program that collects them (a
/// process that is not dumpable). It also keeps other processes of the same user from
/// reading the memory, ptrace(2).
#[allow(unsafe_code)]
fn forbid_images() -> std::io::Result<()> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is a plain structure that outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let no: libc::c_ulong = 0;
    // SAFETY: this option takes one number and touches no memory.
    if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, no, no, no, no) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_says_where_it_was_and_not_with_what() {
        let kept = Kept::default();
        let theirs = kept.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || theirs.clone());
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(say));
        tracing::subscriber::with_default(lines.finish(), || {
            let secret = "hunter2";
            let outcome = std::panic::catch_unwind(|| panic!("the password is {secret}"));
            assert!(outcome.is_err());
        });
        std::panic::set_hook(before);
        let log = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("crash.rs:"), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}
