//! The list of targets.

use std::path::{Path, PathBuf};

/// A parser, and where its examples lie.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called on the command line; its own folder is `corpus/<name>`.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Further folders of examples, beside `tests/fuzz`.
    pub fixtures: &'static [&'static str],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "sip",
        run: crate::sip,
        fixtures: &["fixtures/rfc4475", "fixtures/rfc5118"],
    },
    Target {
        name: "sdp",
        run: crate::sdp,
        fixtures: &["fixtures/chromium-156"],
    },
    Target {
        name: "stun",
        run: crate::stun,
        fixtures: &[],
    },
    Target {
        name: "dtls_edge",
        run: crate::dtls_edge,
        fixtures: &[],
    },
    Target {
        name: "rtp_rtcp",
        run: crate::rtp_rtcp,
        fixtures: &[],
    },
    Target {
        name: "websocket_upgrade",
        run: crate::websocket_upgrade,
        fixtures: &[],
    },
    Target {
        name: "xml",
        run: crate::xml,
        fixtures: &[],
    },
];

impl Target {
    /// The target of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.iter().find(|target| target.name == name).copied()
    }

    /// The folder that new examples are written to.
    #[must_use]
    pub fn corpus(&self) -> PathBuf {
        home().join("corpus").join(self.name)
    }

    /// Every folder with examples.
    #[must_use]
    pub fn folders(&self) -> Vec<PathBuf> {
        let fixtures = self
            .fixtures
            .iter()
            .map(|folder| home().join("..").join(folder));
        std::iter::once(self.corpus()).chain(fixtures).collect()
    }

    /// All examples with their paths, in the order of their paths.
    #[must_use]
    pub fn examples(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = self.folders().into_iter().filter_map(|folder| {
            let files = std::fs::read_dir(folder).ok()?;
            Some(files.filter_map(|file| file.ok().map(|file| file.path())))
        });
        let mut paths: Vec<_> = files.flatten().filter(|path| path.is_file()).collect();
        paths.sort();
        let read = |path: PathBuf| std::fs::read(&path).ok().map(|bytes| (path, bytes));
        paths.into_iter().filter_map(read).collect()
    }
}

/// The folder `tests/fuzz`.
#[must_use]
pub fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
