//! The OpenID provider of the tests: the real `oidc-provider` of npm under `oidc/`, over TLS with a
//! certificate of the lab's own authority. Its keys are rotated, its tokens revoked and itself taken
//! away on demand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::driver::Driver;
use crate::sweep;

/// The running provider.
#[derive(Debug)]
pub struct IdentityProvider {
    driver: Driver,
    authority: PathBuf,
    given: PathBuf,
}

impl IdentityProvider {
    /// Makes its certificate and starts it.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(FOLDER);
        fs::create_dir_all(&folder).context("no folder for the identity provider")?;
        Authority::make(&folder)?.certify("server", HOST)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc/provider.mjs");
        let log = fs::File::create(folder.join("provider.log")).context("no log")?;
        let mut node = Command::new("node");
        node.arg(script)
            .args([HOST, &PORT.to_string()])
            .args([folder.join("server.pem"), folder.join("server.key")])
            .env("NODE_EXTRA_CA_CERTS", Authority::certificate_in(&folder))
            .stderr(log);
        let driver = Driver::start(&mut node)?;
        driver
            .event(|event| event["event"] == "ready", Duration::from_secs(20))
            .with_context(|| crate::child::tail(&folder.join("provider.log")))?;
        Ok(Self {
            driver,
            authority: Authority::certificate_in(&folder),
            given: folder.join(sweep::GIVEN),
        })
    }

    /// Where the authority is that vouches for the provider of a run.
    pub fn authority_of(run: &Path) -> PathBuf {
        Authority::certificate_in(&run.join(FOLDER))
    }

    /// What it calls itself in `iss`.
    pub fn issuer() -> String {
        format!("https://{HOST}:{PORT}")
    }

    /// The certificate authority it is to be trusted by.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Logs a user in and returns his access token; `wishes` may have `format` (`jwt` or `opaque`),
    /// `seconds` to live, `client` (`page` or `stranger`) and more `claims`.
    pub fn token(&mut self, user: &str, mut wishes: Value) -> anyhow::Result<String> {
        wishes["user"] = json!(user);
        let answer = self
            .driver
            .ask("token", wishes)
            .with_context(|| format!("no token for {user}"))?;
        self.taken(&answer)
    }

    /// A token this provider would never give: any `header` and `claims`, without some of them
    /// (`without`) or as a text (`claimsText`, `headerText`), signed with its current key or, by
    /// `unknownKey`, with one that nobody knows.
    pub fn sign(&mut self, wishes: Value) -> anyhow::Result<String> {
        let answer = self.driver.ask("sign", wishes)?;
        self.taken(&answer)
    }

    /// A token that was given is a secret that the sweep looks for.
    fn taken(&self, answer: &Value) -> anyhow::Result<String> {
        let token = answer["token"].as_str().context("no token in the answer")?;
        sweep::plant(&self.given, token)?;
        Ok(token.to_owned())
    }

    /// Signs with a new key from now on; the old ones stay published unless they are retired.
    pub fn rotate(&mut self, retire: bool) -> anyhow::Result<()> {
        self.driver
            .ask("rotate", json!({ "retire": retire }))
            .map(drop)
    }

    /// Revokes a token, RFC 7009.
    pub fn revoke(&mut self, token: &str) -> anyhow::Result<()> {
        let answer = self.driver.ask("revoke", json!({ "token": token }))?;
        ensure!(answer["status"] == 200, "not revoked: {answer}");
        Ok(())
    }

    /// Refuses all connections until [`IdentityProvider::up`].
    pub fn down(&mut self) -> anyhow::Result<()> {
        self.driver.ask("down", json!({})).map(drop)
    }

    /// Takes connections again.
    pub fn up(&mut self) -> anyhow::Result<()> {
        self.driver.ask("up", json!({})).map(drop)
    }

    /// How often a path was asked for, by its first word: `/jwks`, `/.well-known`, `/token`.
    pub fn requests(&mut self, path: &str) -> anyhow::Result<u64> {
        let requests = self.driver.ask("requests", json!({}))?;
        Ok(requests[path].as_u64().unwrap_or_default())
    }
}

/// Its name; the lab's name server knows it.
pub const HOST: &str = "idp.test";
const PORT: u16 = 8443;
const FOLDER: &str = "identity-provider";
