//! The gateway's judge of access tokens by itself: the same rules and the same HTTPS client as in the
//! gateway, in front of a real identity provider.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use iq::Private;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use signaling::auth::tokens::{AskId, Output, Tokens};
use signaling::auth::{
    HttpsUrl, IntrospectionConfig, IssuerConfig, IssuerId, Token, TokenCheck, TokenRefusal,
};
use tokio::runtime::Runtime;
use transport::clock;
use transport::http_client::HttpClient;

/// What judges.
pub struct Judge {
    tokens: Tokens,
    client: HttpClient,
    runtime: Runtime,
    rng: ChaCha20Rng,
    asks: u64,
}

impl Judge {
    /// One that believes this issuer, whose servers this authority vouches for.
    pub fn new(issuer: &str, authority: &Path, check: TokenCheck) -> anyhow::Result<Self> {
        let issuer = HttpsUrl::parse(issuer).context("no issuer's URL")?;
        let config = IssuerConfig {
            check,
            scopes: vec!["sip".to_owned()],
            clients: vec!["page".to_owned()],
            introspection: Some(IntrospectionConfig {
                endpoint: None,
                client_id: "gatehouse".to_owned(),
                client_secret: Private::new("gatehouse-secret".to_owned()),
                interval: std::time::Duration::from_secs(300),
            }),
            ..IssuerConfig::new(issuer, "https://gatehouse.test")
        };
        Ok(Self {
            tokens: Tokens::new(&[config]),
            client: HttpClient::new(authority, true)?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            rng: ChaCha20Rng::seed_from_u64(1),
            asks: 0,
        })
    }

    /// The user that a token is of, or what is wrong with it.
    pub fn user(&mut self, token: &str) -> anyhow::Result<Result<String, TokenRefusal>> {
        self.asks += 1;
        let token = match Token::parse(token) {
            Ok(token) => token,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let believed = [IssuerId(0)];
        self.tokens
            .handle_token(AskId(self.asks), &token, &believed, clock::now());
        self.verdict()
    }

    /// The same, asked of the issuer although the token is known.
    pub fn user_again(&mut self, token: &str) -> anyhow::Result<Result<String, TokenRefusal>> {
        self.asks += 1;
        let token = Token::parse(token)?;
        self.tokens
            .handle_recheck(AskId(self.asks), &token, IssuerId(0), clock::now());
        self.verdict()
    }

    fn verdict(&mut self) -> anyhow::Result<Result<String, TokenRefusal>> {
        let start = Instant::now();
        while let Some(output) = self.tokens.poll_output() {
            match output {
                Output::Fetch { query, request } => {
                    let result = self.runtime.block_on(self.client.fetch(&request));
                    self.tokens
                        .handle_fetched(query, result, clock::now(), &mut self.rng);
                }
                Output::Verdict { verdict, .. } => {
                    return Ok(verdict.map(|it| it.accepted.subject.into_revealed()));
                }
                Output::Unanswered { .. } => {}
            }
        }
        bail!("no verdict after {:?}", start.elapsed());
    }
}
