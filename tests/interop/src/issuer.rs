//! An issuer of access tokens that is a key and two files: for places where the real identity provider
//! does not run, like the guest. OpenSSL signs, and serves the key set over TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};

use crate::child::Child;
use crate::network;

/// The running issuer.
#[derive(Debug)]
pub struct Issuer {
    folder: PathBuf,
    _server: Child,
}

impl Issuer {
    /// Makes its keys and serves them on the loopback interface of a network namespace.
    pub fn start(folder: &Path, namespace: &str) -> anyhow::Result<Self> {
        let folder = folder.join("issuer");
        fs::create_dir_all(&folder).context("no folder for the issuer")?;
        let subject = format!("subjectAltName=IP:{}", network::ACCESS_SIGNALING);
        let request = "req -x509 -newkey rsa:2048 -nodes -days 1";
        openssl(
            &folder,
            &format!("{request} -subj /CN=authority -keyout authority.key -out authority.pem"),
            &[],
        )?;
        openssl(
            &folder,
            &format!(
                "{request} -subj /CN=issuer -CA authority.pem -CAkey authority.key -keyout key.pem \
                 -out cert.pem"
            ),
            &[
                "-addext",
                &subject,
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ],
        )?;
        let modulus = openssl(&folder, "rsa -in key.pem -noout -modulus", &[])?;
        let modulus = String::from_utf8_lossy(&modulus);
        let digits = modulus.trim().trim_start_matches("Modulus=");
        let bytes: Vec<u8> = (0..digits.len() / 2)
            .filter_map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok())
            .collect();
        let keys = format!(
            r#"{{"keys":[{{"kty":"RSA","kid":"1","alg":"RS256","use":"sig","e":"AQAB","n":"{}"}}]}}"#,
            base64_url(&bytes)
        );
        fs::write(folder.join("keys"), keys).context("no key set")?;
        let mut server = Command::new("ip");
        server
            .args(["netns", "exec", namespace, "openssl", "s_server", "-WWW"])
            .args(["-accept", &PORT.to_string()])
            .args(["-cert", "cert.pem", "-key", "key.pem"])
            .current_dir(&folder);
        let mut server = Child::start("openssl", &mut server, &folder)?;
        server.wait_for("ACCEPT", Duration::from_secs(10))?;
        Ok(Self {
            folder,
            _server: server,
        })
    }

    /// The tables of the gateway's settings that believe it.
    pub fn settings(&self) -> String {
        format!(
            "[[issuer]]\nurl = \"{URL}\"\naudience = \"{AUDIENCE}\"\nkeys = \"{URL}/keys\"\n\
             authorities = \"{}/authority.pem\"\nprivate_addresses = true\n\
             [[identity_map]]\nissuer = \"{URL}\"\nimpi = \"{{sub}}@ims.test\"\n\
             impu = \"sip:{{sub}}@ims.test\"\n",
            self.folder.display()
        )
    }

    /// A token of a user, good for ten minutes.
    pub fn token(&self, user: &str) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let (iat, exp) = (now.as_secs(), now.as_secs() + 600);
        let head = base64_url(br#"{"alg":"RS256","kid":"1","typ":"JWT"}"#);
        let claims = format!(
            r#"{{"iss":"{URL}","aud":"{AUDIENCE}","sub":"{user}","iat":{iat},"exp":{exp}}}"#
        );
        let signed = format!("{head}.{}", base64_url(claims.as_bytes()));
        fs::write(self.folder.join("signed"), &signed).context("nothing to sign")?;
        let signature = openssl(&self.folder, "dgst -sha256 -sign key.pem signed", &[])?;
        Ok(format!("{signed}.{}", base64_url(&signature)))
    }
}

fn openssl(folder: &Path, words: &str, more: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(words.split(' '))
        .args(more)
        .stdin(Stdio::null())
        .output()
        .context("could not start openssl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {words}: {}", said.trim());
    Ok(output.stdout)
}

/// RFC 4648 §5, without padding.
fn base64_url(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = [0, 1, 2].map(|at| u32::from(chunk.get(at).copied().unwrap_or_default()));
        let bits = group[0] << 16 | group[1] << 8 | group[2];
        for at in 0..=chunk.len() {
            let letter = (bits >> (18 - 6 * at)) & 63;
            text.push(char::from(alphabet[letter as usize]));
        }
    }
    text
}

const PORT: u16 = 8443;
const URL: &str = "https://127.0.0.1:8443";
const AUDIENCE: &str = "https://gatehouse.test";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_written_for_urls() {
        assert_eq!(base64_url(b"hello"), "aGVsbG8");
        assert_eq!(base64_url(&[0xfb, 0xff, 0xfe]), "-__-");
    }
}
