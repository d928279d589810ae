//! One user's credentials as bytes, inside the seal and outside of it.

use signaling::auth::Credential;
use signaling::auth::aka::Isim;
use signaling::auth::credential::PasswordHash;
use signaling::auth::digest::Hash;
use zeroize::Zeroizing;

use super::key::{KeyId, SiteKey};
use super::{Damage, StoreError};

/// Whose they are, and what they are.
pub(super) struct Record {
    pub(super) identity: Zeroizing<String>,
    pub(super) credential: Credential,
}

impl Record {
    /// As a file of this name holds it.
    pub(super) fn seal(&self, name: &str, key: &SiteKey) -> Result<Vec<u8>, StoreError> {
        let mut bytes = head(key.id());
        let aad = [&bytes[..], name.as_bytes()].concat();
        bytes.append(&mut key.seal(&aad, &self.plain())?);
        Ok(bytes)
    }

    /// Reads a file of this name.
    pub(super) fn open(name: &str, bytes: &[u8], key: &SiteKey) -> Result<Self, Damage> {
        let head = head(key.id());
        let (own, sealed) = bytes.split_at_checked(head.len()).ok_or(Damage::Broken)?;
        if !own.starts_with(MAGIC) {
            return Err(Damage::Broken);
        }
        if own != head {
            return Err(Damage::ForeignKey);
        }
        let aad = [own, name.as_bytes()].concat();
        let plain = key.open(&aad, sealed).ok_or(Damage::Broken)?;
        Record::read(&plain).ok_or(Damage::Broken)
    }

    fn plain(&self) -> Zeroizing<Vec<u8>> {
        // Large enough never to grow, which would leave a copy behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_MAX));
        put(&mut plain, self.identity.as_bytes());
        match &self.credential {
            Credential::Password(password) => {
                plain.push(PASSWORD);
                put(&mut plain, password.as_bytes());
            }
            Credential::Hashes(hashes) => {
                plain.push(HASHES);
                for kept in hashes {
                    put(&mut plain, kept.hash.name().as_bytes());
                    put(&mut plain, kept.realm.as_bytes());
                    put(&mut plain, kept.reveal().as_bytes());
                }
            }
            Credential::Isim(isim) => {
                plain.push(ISIM);
                put(&mut plain, &isim.to_bytes());
            }
        }
        plain
    }

    fn read(plain: &[u8]) -> Option<Self> {
        let mut rest = plain;
        let identity = text(&mut rest)?;
        let (kind, after) = rest.split_first()?;
        rest = after;
        let credential = match *kind {
            PASSWORD => Credential::Password(text(&mut rest)?),
            HASHES => {
                let mut hashes = Vec::new();
                while !rest.is_empty() {
                    let hash = Hash::of_name(&text(&mut rest)?)?;
                    let (realm, hex) = (text(&mut rest)?, text(&mut rest)?);
                    hashes.push(PasswordHash::parse(hash, &realm, &hex)?);
                }
                Credential::Hashes(hashes)
            }
            ISIM => Credential::Isim(Box::new(Isim::from_bytes(take(&mut rest)?)?)),
            _ => return None,
        };
        rest.is_empty().then_some(Record {
            identity,
            credential,
        })
    }
}

fn head(id: KeyId) -> Vec<u8> {
    [MAGIC, &id].concat()
}

/// A length of two bytes, and as many bytes. What is put was limited when it came in.
fn put(plain: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).expect("nothing that is kept is longer than its limit");
    plain.extend_from_slice(&len.to_be_bytes());
    plain.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk::<2>()?;
    let (bytes, after) = after.split_at_checked(u16::from_be_bytes(*len).into())?;
    *rest = after;
    Some(bytes)
}

fn text(rest: &mut &[u8]) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(take(rest)?).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

const MAGIC: &[u8] = b"gatehouse credential 1\n";

const PASSWORD: u8 = 1;
const HASHES: u8 = 2;
const ISIM: u8 = 3;

/// More than any record has: three hashes with their realms.
const PLAIN_MAX: usize = 4096;
