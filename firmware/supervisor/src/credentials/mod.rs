//! The credentials by which the box proves its users in the IMS: one encrypted file for
//! each (AES-256-GCM), opened for one answer at a time, under a key that comes from
//! elsewhere. A file that cannot be read is never written over.

mod key;
mod record;
mod service;
mod verb;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use signaling::auth::credential::PasswordHash;
use signaling::auth::digest::{self, Answer, Question};
use signaling::auth::{AuthenticationFailure, Credential};
use signaling::identity::PrivateIdentity;
use zeroize::Zeroizing;

use crate::config::{Credentials, State};
use key::{SiteKey, hex};
use record::Record;
pub(crate) use service::Service;
pub(crate) use verb::{Verb, run};

/// The folder of credentials, and its key.
pub(crate) struct Store {
    folder: PathBuf,
    key: SiteKey,
    derived: bool,
}

/// Why the store does not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(
        "there is no key for the credentials: give the unit \
         LoadCredentialEncrypted={0} (see systemd-creds(1)), or set [credentials] key_file"
    )]
    NoKey(String),
    #[error("the key {} cannot be read: {error}", path.display())]
    KeyUnreadable { path: PathBuf, error: io::Error },
    #[error("the key {} is too short: it must have at least 32 bytes, or 64 hexadecimal digits", .0.display())]
    KeyTooShort(PathBuf),
    #[error("the key {} can be read by others: chmod 600 it", .0.display())]
    KeyIsOpen(PathBuf),
    #[error("the key {} lies beside what it opens: keep it outside the state folder", .0.display())]
    KeyBeside(PathBuf),
    #[error(
        "{} was made under another key (theirs is {theirs}, ours is {ours}): \
         bring the old key back, or move the folder away and provision anew", folder.display()
    )]
    ForeignKey {
        folder: PathBuf,
        theirs: String,
        ours: String,
    },
    #[error("{} is damaged: restore it from a backup, or remove the file and add the user again", .0.display())]
    Damaged(PathBuf),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("the system gives no random numbers")]
    NoChance,
}

/// What is wrong with one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// It is not what was written.
    Broken,
    /// It is of another site's key.
    ForeignKey,
}

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A user, and what is kept of him.
    Good { identity: String, kind: String },
    /// A file that cannot be read.
    Bad { file: PathBuf, damage: Damage },
}

impl Store {
    /// Opens the store; its folder need not be there yet.
    pub(crate) fn open(settings: &Credentials, state: &State) -> Result<Self, StoreError> {
        let store = Store {
            folder: settings.path(state),
            key: SiteKey::load(settings, state)?,
            derived: settings.derived,
        };
        store.check_key()?;
        Ok(store)
    }

    /// Answers a challenge. A soft ISIM's count is on the disk before anybody sees the answer.
    pub(crate) fn answer(
        &self,
        user: &PrivateIdentity,
        question: &Question,
    ) -> Result<Result<Answer, AuthenticationFailure>, StoreError> {
        let _lock = match self.folder.is_dir() {
            true => Some(self.lock()?),
            false => None,
        };
        let Some(mut credential) = self.find(user)? else {
            return Ok(Err(AuthenticationFailure::Unknown));
        };
        let before = match &credential {
            Credential::Isim(isim) => Some(isim.seen().clone()),
            Credential::Password(_) | Credential::Hashes(_) => None,
        };
        let answer = digest::answer(&mut credential, user, question);
        if let (Credential::Isim(isim), Some(before)) = (&credential, before)
            && *isim.seen() != before
        {
            self.write(user, credential)?;
        }
        Ok(answer.map_err(AuthenticationFailure::Unanswerable))
    }

    /// Keeps a user's credentials; those that he had are replaced, if they can be read.
    pub(crate) fn put(
        &self,
        user: &PrivateIdentity,
        credential: Credential,
    ) -> Result<(), StoreError> {
        self.make_folder()?;
        let _lock = self.lock()?;
        self.stored(user)?;
        self.write(user, credential)
    }

    /// Adds to the hashes that a user has; without any, they are his first.
    pub(crate) fn put_hash(
        &self,
        user: &PrivateIdentity,
        hash: PasswordHash,
    ) -> Result<(), StoreError> {
        self.make_folder()?;
        let _lock = self.lock()?;
        let mut hashes = match self.stored(user)? {
            Some(Credential::Hashes(hashes)) => hashes,
            Some(Credential::Password(_) | Credential::Isim(_)) | None => Vec::new(),
        };
        hashes.retain(|kept| kept.hash != hash.hash);
        hashes.push(hash);
        self.write(user, Credential::Hashes(hashes))
    }

    /// Forgets a user; says whether there was one. A file that cannot be read goes too.
    pub(crate) fn remove(&self, user: &PrivateIdentity) -> Result<bool, StoreError> {
        if !self.folder.is_dir() {
            return Ok(false);
        }
        let _lock = self.lock()?;
        let path = self.path(user);
        match fs::remove_file(&path) {
            Ok(()) => self.sync_folder().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::Io { path, error }),
        }
    }

    /// Everybody, by name; what cannot be read comes last.
    pub(crate) fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let at_folder = |error| io_error(&self.folder, error);
        let mut entries = Vec::new();
        if !self.folder.is_dir() {
            return Ok(entries);
        }
        for file in fs::read_dir(&self.folder).map_err(at_folder)? {
            let path = file.map_err(at_folder)?.path();
            let Some(name) = record_name(&path) else {
                continue;
            };
            let bytes = fs::read(&path).map_err(|error| io_error(&path, error))?;
            entries.push(match Record::open(name, &bytes, &self.key) {
                Ok(record) => Entry::Good {
                    identity: record.identity.to_string(),
                    kind: kind(&record.credential),
                },
                Err(damage) => Entry::Bad { file: path, damage },
            });
        }
        entries.sort_by_key(|entry| match entry {
            Entry::Good { identity, .. } => (false, identity.clone()),
            Entry::Bad { file, .. } => (true, file.display().to_string()),
        });
        Ok(entries)
    }

    /// The password that a user without stored credentials has, if the settings say so.
    pub(crate) fn derived_password(&self, user: &PrivateIdentity) -> Zeroizing<String> {
        self.key.derived_password(user.reveal())
    }

    fn find(&self, user: &PrivateIdentity) -> Result<Option<Credential>, StoreError> {
        let derived = || {
            let password = || Credential::Password(self.derived_password(user));
            self.derived.then(password)
        };
        Ok(self.stored(user)?.or_else(derived))
    }

    fn stored(&self, user: &PrivateIdentity) -> Result<Option<Credential>, StoreError> {
        let path = self.path(user);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(&path, error)),
        };
        let name = self.key.file_name(user.reveal());
        match Record::open(&name, &bytes, &self.key) {
            Ok(record) if *record.identity == user.reveal() => Ok(Some(record.credential)),
            Ok(_) | Err(Damage::Broken) => Err(StoreError::Damaged(path)),
            Err(Damage::ForeignKey) => Err(self.foreign("of another key".to_owned())),
        }
    }

    fn write(&self, user: &PrivateIdentity, credential: Credential) -> Result<(), StoreError> {
        let name = self.key.file_name(user.reveal());
        let record = Record {
            identity: Zeroizing::new(user.reveal().to_owned()),
            credential,
        };
        self.replace(&self.path(user), &record.seal(&name, &self.key)?)
    }

    /// Writes a file so that either the old or the new one is there, whenever power fails.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let beside = path.with_extension("new");
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        write().map_err(|error| io_error(path, error))?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> Result<(), StoreError> {
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| io_error(&self.folder, error))
    }

    fn make_folder(&self) -> Result<(), StoreError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|error| io_error(&self.folder, error))?;
        let marker = self.folder.join(MARKER);
        match marker.exists() {
            true => Ok(()),
            false => self.replace(&marker, hex(&self.key.id()).as_bytes()),
        }
    }

    /// Whether the folder is this key's.
    fn check_key(&self) -> Result<(), StoreError> {
        let marker = self.folder.join(MARKER);
        let theirs = match fs::read_to_string(&marker) {
            Ok(theirs) => theirs,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match self.has_records() {
                    true => Err(StoreError::Damaged(marker)),
                    false => Ok(()),
                };
            }
            Err(error) => return Err(io_error(&marker, error)),
        };
        match theirs.trim() {
            id if id == hex(&self.key.id()) => Ok(()),
            id if id.len() == 16 && id.bytes().all(|it| it.is_ascii_hexdigit()) => {
                Err(self.foreign(id.to_owned()))
            }
            _ => Err(StoreError::Damaged(marker)),
        }
    }

    fn has_records(&self) -> bool {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        files
            .map(|it| it.path())
            .any(|it| record_name(&it).is_some())
    }

    fn foreign(&self, theirs: String) -> StoreError {
        StoreError::ForeignKey {
            folder: self.folder.clone(),
            theirs,
            ours: hex(&self.key.id()),
        }
    }

    /// One at a time: the gateway counts an ISIM on while the technician may add a user.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.folder.join("lock");
        let lock = || {
            let file = File::create(&path)?;
            file.lock().map(|()| file)
        };
        lock().map_err(|error| io_error(&path, error))
    }

    fn path(&self, user: &PrivateIdentity) -> PathBuf {
        let name = self.key.file_name(user.reveal());
        self.folder.join(name).with_extension(RECORD)
    }
}

/// The name of a record's file without its ending.
fn record_name(path: &Path) -> Option<&str> {
    let is_record = path.extension().is_some_and(|it| it == RECORD);
    path.file_stem().filter(|_| is_record)?.to_str()
}

fn kind(credential: &Credential) -> String {
    match credential {
        Credential::Password(_) => "password".to_owned(),
        Credential::Hashes(hashes) => {
            let named = |it: &PasswordHash| format!("{} in {}", it.hash, it.realm);
            let names: Vec<String> = hashes.iter().map(named).collect();
            format!("hashes: {}", names.join(", "))
        }
        Credential::Isim(_) => "isim".to_owned(),
    }
}

fn io_error(path: &Path, error: io::Error) -> StoreError {
    let path = path.to_owned();
    StoreError::Io { path, error }
}

/// The file that says whose key the folder is of, and the ending of records.
const MARKER: &str = "key-id";
const RECORD: &str = "credential";

#[cfg(test)]
mod tests;
