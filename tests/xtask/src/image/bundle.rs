//! The update: a signed RAUC bundle of a slot's image. The keys are thrown away with the cache; a
//! real box is given others.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cache::Cached;
use super::root::COMPATIBLE;
use crate::workspace;

/// An authority, and a signer whom it vouches for.
pub(super) struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// Made once, so that bundles of yesterday's build go into today's.
    pub(super) fn ready() -> anyhow::Result<Self> {
        let cached = Cached::at("throwaway-keys", &[include_bytes!("bundle.rs")])?;
        let folder = cached.make(|folder| {
            openssl(folder, "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj /O=throwaway/CN=authority -keyout ca.key.pem -out ca.cert.pem")?;
            openssl(folder, "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /O=throwaway/CN=signer -keyout signer.key.pem -out signer.csr.pem")?;
            let extensions = "keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning,emailProtection\n";
            fs::write(folder.join("signer.ext"), extensions).context("no room for keys")?;
            openssl(folder, "x509 -req -in signer.csr.pem -CA ca.cert.pem -CAkey ca.key.pem -CAcreateserial -days 3650 -extfile signer.ext -out signer.cert.pem")
        })?;
        Ok(Self { folder })
    }

    /// What a box must know to believe the signer.
    pub(super) fn keyring(&self) -> PathBuf {
        self.folder.join("ca.cert.pem")
    }
}

/// Signs a bundle of one slot's image.
pub(super) fn make(keys: &Keys, image: &Path, version: &str, bundle: &Path) -> anyhow::Result<()> {
    let content = bundle.with_extension("content");
    let _ = fs::remove_dir_all(&content);
    fs::create_dir_all(&content).context("no folder for the bundle")?;
    fs::hard_link(image, content.join("slot.img"))
        .or_else(|_| fs::copy(image, content.join("slot.img")).map(drop))
        .context("no image for the bundle")?;
    fs::write(content.join("manifest.raucm"), manifest(version)).context("no room for a bundle")?;
    let _ = fs::remove_file(bundle);
    workspace::run(
        workspace::command("rauc")
            .arg("bundle")
            .arg(format!(
                "--cert={}",
                keys.folder.join("signer.cert.pem").display()
            ))
            .arg(format!(
                "--key={}",
                keys.folder.join("signer.key.pem").display()
            ))
            .arg(format!("--keyring={}", keys.keyring().display()))
            .arg("--mksquashfs-args=-comp zstd -Xcompression-level 2 -quiet -no-progress")
            .args([content.as_path(), bundle]),
    )?;
    fs::remove_dir_all(&content).context("could not clear up")
}

fn manifest(version: &str) -> String {
    format!(
        "[update]\ncompatible={COMPATIBLE}\nversion={version}\n\n[bundle]\nformat=verity\n\n\
         [image.rootfs]\nfilename=slot.img\nadaptive=block-hash-index\n"
    )
}

fn openssl(folder: &Path, words: &str) -> anyhow::Result<()> {
    workspace::run(
        workspace::command("openssl")
            .current_dir(folder)
            .args(words.split(' '))
            .stderr(std::process::Stdio::null()),
    )
}
