//! What the hardware watchdog says of the last reset. It is systemd that feeds it; here it
//! is only read, by sysfs, which does not need the device (CONFIG_WATCHDOG_SYSFS).

use std::path::{Path, PathBuf};

use crate::{Error, sysfs};

/// Something that knows why the box was reset.
pub trait ResetCause {
    /// The causes that it saw; none after a power-on or an ordered restart.
    ///
    /// # Errors
    ///
    /// It does not answer.
    fn reset(&self) -> Result<Reset, Error>;
}

/// Why the box was reset (`bootstatus`, `WDIOF_*` in linux/watchdog.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reset(u32);

impl Reset {
    /// The watchdog bit: somebody stopped feeding it.
    pub fn by_watchdog(self) -> bool {
        self.0 & WDIOF_CARDRESET != 0
    }

    /// Every cause in words, the likeliest first.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let causes = CAUSES.into_iter();
        causes.filter_map(move |(bit, words)| (self.0 & bit != 0).then_some(words))
    }
}

/// A watchdog of Linux.
#[derive(Debug)]
pub struct Watchdog {
    folder: PathBuf,
}

impl Watchdog {
    /// The watchdog that calls itself this, or else the first that there is.
    pub fn find(identity: &str, root: &Path) -> Option<Self> {
        let folder = std::fs::read_dir(root.join("sys/class/watchdog")).ok()?;
        let mut all: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).collect();
        all.sort();
        let is_it = |folder: &&PathBuf| {
            sysfs::read(&folder.join("identity")).is_ok_and(|found| found == identity)
        };
        let folder = all.iter().find(is_it).or_else(|| all.first())?.clone();
        Some(Watchdog { folder })
    }

    /// What it calls itself.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn identity(&self) -> Result<String, Error> {
        sysfs::read(&self.folder.join("identity"))
    }

    /// Whether anybody feeds it: if not, a box that hangs stays so.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn is_active(&self) -> Result<bool, Error> {
        Ok(sysfs::read(&self.folder.join("state"))? == "active")
    }
}

impl ResetCause for Watchdog {
    fn reset(&self) -> Result<Reset, Error> {
        let path = self.folder.join("bootstatus");
        let text = sysfs::read(&path)?;
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        parsed.map(Reset).map_err(|error| Error::File {
            path,
            error: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
        })
    }
}

const WDIOF_CARDRESET: u32 = 0x20;
const CAUSES: [(u32, &str); 7] = [
    (WDIOF_CARDRESET, "the watchdog was not fed"),
    (0x01, "it was too hot"),
    (0x02, "a fan failed"),
    (0x10, "the supply voltage was too low"),
    (0x40, "the supply voltage was too high"),
    (0x04, "the watchdog's first external input asked for it"),
    (0x08, "the watchdog's second external input asked for it"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tests::Folder;

    #[test]
    fn the_board_s_own_watchdog_says_why_the_box_was_reset() {
        let root = Folder::new();
        root.write(
            "sys/class/watchdog/watchdog0/identity",
            "Software Watchdog\n",
        );
        root.write("sys/class/watchdog/watchdog1/identity", "i6300ESB timer\n");
        root.write("sys/class/watchdog/watchdog1/bootstatus", "32\n");
        root.write("sys/class/watchdog/watchdog1/state", "active\n");
        let watchdog = Watchdog::find("i6300ESB timer", root.path()).unwrap();
        assert!(watchdog.is_active().unwrap());
        let reset = watchdog.reset().unwrap();
        assert!(reset.by_watchdog());
        let words: Vec<_> = reset.words().collect();
        assert_eq!(words, ["the watchdog was not fed"]);
        root.write("sys/class/watchdog/watchdog1/bootstatus", "0x11\n");
        let words: Vec<_> = watchdog.reset().unwrap().words().collect();
        assert_eq!(words, ["it was too hot", "the supply voltage was too low"]);
    }

    #[test]
    fn another_watchdog_is_better_than_none() {
        let root = Folder::new();
        assert!(Watchdog::find("imx2+ watchdog", root.path()).is_none());
        root.write(
            "sys/class/watchdog/watchdog0/identity",
            "Software Watchdog\n",
        );
        let watchdog = Watchdog::find("imx2+ watchdog", root.path()).unwrap();
        assert_eq!(watchdog.identity().unwrap(), "Software Watchdog");
    }
}
