//! `files.list`: what a recipe installs, one line each. The Yocto recipes and the QEMU image read
//! the same lists, so that both have the same files at the same places.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// One line of a list.
#[derive(Debug, PartialEq)]
enum Entry {
    /// A file beside the list, where it goes, its mode and its owner.
    File {
        source: String,
        path: String,
        mode: u32,
    },
    /// A link: what it says and where it lies.
    Link { target: String, path: String },
    /// An empty folder.
    Folder { path: String, mode: u32 },
}

/// Installs everything that the list beside the files names; `@NAME@` in a file becomes the value.
pub(super) fn install(list: &Path, root: &Path, names: &[(&str, &str)]) -> anyhow::Result<()> {
    let shown = list.display();
    let text = fs::read_to_string(list).with_context(|| shown.to_string())?;
    let folder = list.parent().context("a list without a folder")?;
    for (number, line) in text.lines().enumerate() {
        let entry = Entry::read(line).with_context(|| format!("{shown}:{}", number + 1))?;
        let Some(entry) = entry else { continue };
        entry
            .install(folder, root, names)
            .with_context(|| format!("{shown}:{}: {line}", number + 1))?;
    }
    Ok(())
}

impl Entry {
    fn read(line: &str) -> anyhow::Result<Option<Self>> {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let mode = |text| u32::from_str_radix(text, 8).context("the mode is not octal");
        Ok(Some(match words[..] {
            [] => return Ok(None),
            ["file", source, path, bits, "root:root"] if path.starts_with('/') => Entry::File {
                source: source.to_owned(),
                path: path.to_owned(),
                mode: mode(bits)?,
            },
            ["link", target, path] if path.starts_with('/') => Entry::Link {
                target: target.to_owned(),
                path: path.to_owned(),
            },
            ["dir", path, bits, "root:root"] if path.starts_with('/') => Entry::Folder {
                path: path.to_owned(),
                mode: mode(bits)?,
            },
            _ => bail!("neither `file SOURCE /PATH MODE root:root` nor `link` nor `dir`"),
        }))
    }

    fn install(&self, folder: &Path, root: &Path, names: &[(&str, &str)]) -> anyhow::Result<()> {
        match self {
            Entry::File { source, path, mode } => {
                let place = clear(root, path)?;
                let mut text = fs::read_to_string(folder.join(source)).context(source.clone())?;
                for (name, value) in names {
                    text = text.replace(&format!("@{name}@"), value);
                }
                fs::write(&place, text)?;
                own(&place, *mode)
            }
            Entry::Link { target, path } => symlink(target, clear(root, path)?).context("no link"),
            Entry::Folder { path, mode } => {
                let place = within(root, path);
                fs::create_dir_all(&place)?;
                own(&place, *mode)
            }
        }
    }
}

/// Makes room for a file: the folder is there, nothing else is.
fn clear(root: &Path, path: &str) -> anyhow::Result<PathBuf> {
    let place = within(root, path);
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    if place.is_dir() && !place.is_symlink() {
        fs::remove_dir_all(&place)?;
    } else if place.is_symlink() || place.exists() {
        fs::remove_file(&place)?;
    }
    Ok(place)
}

/// A path of the box, under the folder in which its root is made.
pub(super) fn within(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn own(place: &Path, mode: u32) -> anyhow::Result<()> {
    fs::set_permissions(place, fs::Permissions::from_mode(mode))?;
    chown(place, Some(0), Some(0)).context("only root can give files to root")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_links_and_folders_are_read_and_comments_are_not() {
        assert_eq!(
            Entry::read("file a.service /usr/lib/a.service 0644 root:root").unwrap(),
            Some(Entry::File {
                source: "a.service".to_owned(),
                path: "/usr/lib/a.service".to_owned(),
                mode: 0o644
            })
        );
        assert!(Entry::read("link /dev/null /etc/x").unwrap().is_some());
        assert!(Entry::read("dir /data 0755 root:root").unwrap().is_some());
        assert_eq!(Entry::read("# nothing").unwrap(), None);
    }

    #[test]
    fn a_line_that_means_nothing_is_an_error() {
        for line in [
            "file a /usr/a 0644",
            "file a usr/a 0644 root:root",
            "file a /usr/a 0888 root:root",
            "copy a /usr/a",
        ] {
            assert!(Entry::read(line).is_err(), "{line}");
        }
    }
}
