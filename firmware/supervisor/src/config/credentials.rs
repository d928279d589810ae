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
    key_credential: String = "credentials-key".to_owned(),
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
        if self.key_credential.is_empty() || self.key_credential.contains(['/', '\0']) {
            faults.push(fault(
                "[credentials] key_credential: must be the name of a systemd credential, without \
                 slashes",
            ));
        }
    }
}
