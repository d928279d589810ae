//! Results that outlive the clone: each lies in a folder named after what it was made from.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::tools;

/// A folder that is made once.
pub(super) struct Cached {
    name: String,
    folder: PathBuf,
}

impl Cached {
    /// The folder for a thing that is made from these inputs.
    pub(super) fn at(name: &str, inputs: &[&[u8]]) -> anyhow::Result<Self> {
        let folder = tools::cache()?
            .join("image")
            .join(format!("{name}-{:016x}", fingerprint(inputs)));
        Ok(Self {
            name: name.to_owned(),
            folder,
        })
    }

    /// The folder, made if it is not there; a making that is cut short leaves none.
    pub(super) fn make(
        &self,
        make: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        if self.folder.is_dir() {
            return Ok(self.folder.clone());
        }
        let unfinished = self.folder.with_extension(std::process::id().to_string());
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir_all(&unfinished).with_context(|| unfinished.display().to_string())?;
        if let Err(error) = make(&unfinished) {
            let _ = fs::remove_dir_all(&unfinished);
            return Err(error.context(self.name.clone()));
        }
        if fs::rename(&unfinished, &self.folder).is_err() {
            // Somebody else was quicker.
            let _ = fs::remove_dir_all(&unfinished);
        }
        Ok(self.folder.clone())
    }
}

/// A number that differs when an input does.
pub(super) fn fingerprint(inputs: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    inputs.hash(&mut hasher);
    hasher.finish()
}

/// The contents of all files below a folder, with their names, in order.
pub(super) fn contents(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| folder.display().to_string())?;
    entries.sort();
    let mut all = Vec::new();
    for path in entries {
        all.extend(path.as_os_str().as_encoded_bytes());
        if path.is_dir() && !path.is_symlink() {
            all.extend(contents(&path)?);
        } else if path.is_file() {
            all.extend(fs::read(&path).with_context(|| path.display().to_string())?);
        }
    }
    Ok(all)
}
