//! `gatehouse credentials`: what the technician does with them. Secrets come by standard
//! input and never by the command line, which everybody on the machine can read.

use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use signaling::auth::Credential;
use signaling::auth::aka::Isim;
use signaling::auth::credential::PasswordHash;
use signaling::auth::digest::Hash;
use signaling::identity::PrivateIdentity;
use zeroize::Zeroizing;

use super::key::unhex;
use super::{Damage, Entry, Store};
use crate::config::Config;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Adds or replaces a user's credentials. The secret is read from standard input: the
    /// password in one line; or with --hash its hash; or with --isim K in one line and OPc in
    /// the next, in hexadecimal digits.
    Add {
        #[command(flatten)]
        whose: Whose,
        /// Keep a hash instead of a password: MD5, SHA-256 or SHA-512-256 of
        /// `user:realm:password`. One of each algorithm may be added.
        #[arg(long, value_name = "ALGORITHM", requires = "realm")]
        hash: Option<String>,
        /// The realm that the hash is for.
        #[arg(long, requires = "hash")]
        realm: Option<String>,
        /// Keep the keys of an ISIM, for AKA.
        #[arg(long, conflicts_with = "hash")]
        isim: bool,
        /// The second line is the operator's OP, not OPc.
        #[arg(long, requires = "isim")]
        op: bool,
    },
    /// Removes a user's credentials.
    Remove {
        #[command(flatten)]
        whose: Whose,
    },
    /// Lists whose credentials are kept, and of which kind.
    List {
        /// The gateway's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Prints the password that a user without stored credentials has, if `derived` is set,
    /// for the operator's HSS.
    Derive {
        #[command(flatten)]
        whose: Whose,
    },
}

#[derive(Args)]
pub(crate) struct Whose {
    /// The gateway's configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The private identity, like alice@ims.example.com.
    identity: String,
}

/// Does what the technician says. Without a systemd unit around it, the key of
/// systemd-creds is had by `systemd-run --pipe --property=LoadCredentialEncrypted=…`.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Add {
            whose,
            hash,
            realm,
            isim,
            op,
        } => {
            let (store, user) = whose.open()?;
            let secret = Secret::read(io::stdin().lock())?;
            match (hash, realm) {
                (Some(name), Some(realm)) => {
                    let hash = secret.hash(&name, &realm)?;
                    store.put_hash(&user, hash)?;
                }
                _ if isim => store.put(&user, secret.isim(op)?)?,
                _ => store.put(&user, secret.password()?)?,
            }
            println!("{}: kept", user.reveal());
        }
        Verb::Remove { whose } => {
            let (store, user) = whose.open()?;
            let name = user.reveal();
            ensure!(store.remove(&user)?, "{name}: has no credentials here");
            println!("{name}: removed");
        }
        Verb::List { config } => list(&open(&config)?.1)?,
        Verb::Derive { whose } => {
            let (config, store) = open(&whose.config)?;
            let user = whose.user()?;
            ensure!(
                config.credentials.derived,
                "[credentials] derived is not set, so nobody has a derived password"
            );
            println!("{}", *store.derived_password(&user));
        }
    }
    Ok(())
}

impl Whose {
    fn open(&self) -> anyhow::Result<(Store, PrivateIdentity)> {
        Ok((open(&self.config)?.1, self.user()?))
    }

    fn user(&self) -> anyhow::Result<PrivateIdentity> {
        let is_identity = |text: &str| {
            let halves = text.split_once('@');
            halves.is_some_and(|(user, realm)| !user.is_empty() && !realm.is_empty())
                && text.len() <= IDENTITY_MAX
                && text
                    .chars()
                    .all(|it| !it.is_whitespace() && !it.is_control())
        };
        ensure!(
            is_identity(&self.identity),
            "a private identity is a user and a realm, like alice@ims.example.com"
        );
        Ok(PrivateIdentity::new(&self.identity))
    }
}

fn open(file: &std::path::Path) -> anyhow::Result<(Config, Store)> {
    let config = crate::load(file)?;
    let store = Store::open(&config.credentials, &config.state)?;
    Ok((config, store))
}

fn list(store: &Store) -> anyhow::Result<()> {
    let mut bad = 0;
    for entry in store.list()? {
        match entry {
            Entry::Good { identity, kind } => println!("{identity}\t{kind}"),
            Entry::Bad { file, damage } => {
                bad += 1;
                let what = match damage {
                    Damage::Broken => "damaged",
                    Damage::ForeignKey => "of another key",
                };
                eprintln!("{}: {what}", file.display());
            }
        }
    }
    if bad > 0 {
        bail!("{bad} of the files cannot be read");
    }
    Ok(())
}

/// What came by standard input.
struct Secret(Zeroizing<String>);

impl Secret {
    fn read(input: impl Read) -> anyhow::Result<Self> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_MAX + 1));
        let limit = u64::try_from(SECRET_MAX + 1).unwrap_or(u64::MAX);
        input
            .take(limit)
            .read_to_end(&mut bytes)
            .context("standard input")?;
        ensure!(
            bytes.len() <= SECRET_MAX,
            "standard input: longer than {SECRET_MAX} bytes"
        );
        let text = std::str::from_utf8(&bytes).context("standard input: not UTF-8")?;
        Ok(Secret(Zeroizing::new(text.to_owned())))
    }

    fn password(&self) -> anyhow::Result<Credential> {
        let password = self.only_line("the password")?;
        Ok(Credential::Password(Zeroizing::new(password.to_owned())))
    }

    fn hash(&self, name: &str, realm: &str) -> anyhow::Result<PasswordHash> {
        let hash = Hash::of_name(name)
            .with_context(|| format!("--hash {name}: use MD5, SHA-256 or SHA-512-256"))?;
        ensure!(
            realm.len() <= IDENTITY_MAX,
            "--realm: longer than {IDENTITY_MAX} bytes"
        );
        let hex = self.only_line("the hash")?;
        PasswordHash::parse(hash, realm, hex.trim()).with_context(|| {
            format!(
                "standard input: a {hash} hash has {} hexadecimal digits",
                hash.digits()
            )
        })
    }

    fn isim(&self, is_op: bool) -> anyhow::Result<Credential> {
        let second = if is_op { "OP" } else { "OPc" };
        let wanted = || {
            format!(
                "standard input: must be two lines, K and {second}, of 32 hexadecimal digits each"
            )
        };
        let mut lines = self.0.lines().map(|line| unhex(line.trim().as_bytes()));
        let mut block = || -> Option<Zeroizing<[u8; 16]>> {
            let bytes = lines.next()??;
            Some(Zeroizing::new(
                *bytes.first_chunk().filter(|_| bytes.len() == 16)?,
            ))
        };
        let k = block().with_context(wanted)?;
        let other = block().with_context(wanted)?;
        ensure!(lines.next().is_none(), wanted());
        let isim = if is_op {
            Isim::with_op(k, &other)
        } else {
            Isim::new(k, other)
        };
        Ok(Credential::Isim(Box::new(isim)))
    }

    fn only_line(&self, what: &str) -> anyhow::Result<&str> {
        let mut lines = self.0.lines();
        let line = lines.next().filter(|line| !line.is_empty());
        let line = line.with_context(|| format!("standard input: {what} is missing"))?;
        ensure!(
            lines.next().is_none(),
            "standard input: {what} must be one line"
        );
        Ok(line)
    }
}

/// Longer than any name or secret that an operator hands out.
const IDENTITY_MAX: usize = 255;
const SECRET_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::read(text.as_bytes()).expect("short and UTF-8")
    }

    fn fault<T>(result: anyhow::Result<T>) -> String {
        result.err().expect("a fault").to_string()
    }

    #[test]
    fn a_password_is_one_line_without_its_end() {
        let password = secret("a b:c\n").password().expect("a password");
        let expected = Zeroizing::new("a b:c".to_owned());
        assert_eq!(password, Credential::Password(expected));
        assert_eq!(
            fault(secret("").password()),
            "standard input: the password is missing"
        );
        assert_eq!(
            fault(secret("a\nb\n").password()),
            "standard input: the password must be one line"
        );
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_told_without_telling_it() {
        let text = fault(secret("0123secret").hash("MD5", "ims.test"));
        assert_eq!(text, "standard input: a MD5 hash has 32 hexadecimal digits");
        let text = fault(secret("0123secret").hash("SHA-1", "ims.test"));
        assert_eq!(text, "--hash SHA-1: use MD5, SHA-256 or SHA-512-256");
        for wrong in ["", "00\n11\n", &format!("{0}\n{0}\n{0}\n", "00".repeat(16))] {
            let text = fault(secret(wrong).isim(false));
            assert!(
                text.ends_with("K and OPc, of 32 hexadecimal digits each"),
                "{text}"
            );
        }
        assert!(Secret::read("x".repeat(600).as_bytes()).is_err());
    }

    #[test]
    fn op_is_turned_into_the_opc_of_the_user() {
        let k = "465b5ce8b199b49faa5f0a2ee238a6bc";
        let by_op = secret(&format!("{k}\ncdc202d5123e20f62b6d676ac72cb318\n")).isim(true);
        let by_opc = secret(&format!("{k}\nCD63CB71954A9F4E48A5994E37A02BAF\n")).isim(false);
        assert_eq!(by_op.expect("OP"), by_opc.expect("OPc"));
    }
}
