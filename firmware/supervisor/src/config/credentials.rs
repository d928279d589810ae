//! `[credentials]`: what the box keeps to prove its users in the IMS.

use std::path::PathBuf;

use super::fault;
use super::reader::{Fault, section};
use super::supervisor::State;

section! {
    /// Credentials by which the box registers users who log in here by other means. They
    /// are encrypted, under a key that is never beside them.
    Credentials = "credentials"
    /// Their folder. Unset: "credentials" in the state folder.
    folder: Option<PathBuf> = None,
    /// The name of the systemd credential that holds the key (systemd-creds, and
    /// LoadCredentialEncrypted= in the unit): 64 hexadecimal digits, or at least 32 bytes.
    /// Unset: "credentials-key", if there is one.
    key_credential: Option<String> = None,
    /// A file with the key, for machines without systemd. Nobody but its owner may read it,
    /// and it must not lie in the state folder.
    key_file: Option<PathBuf> = None,
    /// Whether a user without stored credentials has a derived password: HMAC-SHA-256 of his
    /// private identity under the key, in hexadecimal digits.
    derived: bool = false,
}

impl Credentials {
    /// Where they are.
    pub(crate) fn path(&self, state: &State) -> PathBuf {
        let folder = self.folder.clone();
        folder.unwrap_or_else(|| state.folder.join("credentials"))
    }

    /// The name of the systemd credential that holds the key.
    pub(crate) fn key_name(&self) -> &str {
        self.key_credential.as_deref().unwrap_or("credentials-key")
    }

    /// Whether the file says where the key is.
    pub(super) fn has_key(&self) -> bool {
        self.key_credential.is_some() || self.key_file.is_some()
    }

    pub(super) fn check(&self, state: &State, faults: &mut Vec<Fault>) {
        let folder = self.path(state);
        let is_beside =
            |file: &PathBuf| file.starts_with(&state.folder) || file.starts_with(&folder);
        if self.key_file.as_ref().is_some_and(is_beside) {
            faults.push(fault(
                "[credentials] key_file: must not lie beside what it opens; keep it outside the \
                 state folder and the credentials' folder",
            ));
        }
        let name = self.key_name();
        if name.is_empty() || name.contains(['/', '\0']) {
            faults.push(fault(
                "[credentials] key_credential: must be the name of a systemd credential, without \
                 slashes",
            ));
        }
    }
}
