//! A certificate authority of the lab's, and its servers' certificates; all are good for a day.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// An authority with its files in a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes one.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        let authority = Self {
            folder: folder.to_owned(),
        };
        authority.openssl(&[
            "-subj",
            "/CN=lab authority",
            "-keyout",
            "authority.key",
            "-out",
            "authority.pem",
        ])?;
        Ok(authority)
    }

    /// Where the authority's own certificate is, for those who are to trust it.
    pub fn certificate_in(folder: &Path) -> PathBuf {
        folder.join("authority.pem")
    }

    /// Writes `<file>.pem` and `<file>.key`: a certificate for a host of this name, and its key.
    pub fn certify(&self, file: &str, host: &str) -> anyhow::Result<()> {
        self.openssl(&[
            "-CA",
            "authority.pem",
            "-CAkey",
            "authority.key",
            "-subj",
            "/CN=lab server",
            "-addext",
            &format!("subjectAltName=DNS:{host}"),
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &format!("{file}.key"),
            "-out",
            &format!("{file}.pem"),
        ])
    }

    fn openssl(&self, more: &[&str]) -> anyhow::Result<()> {
        let output = Command::new("openssl")
            .current_dir(&self.folder)
            .args(COMMON)
            .args(more)
            .output()
            .context("could not start openssl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "openssl: {}", said.trim());
        Ok(())
    }
}

const COMMON: [&str; 9] = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "1",
];
