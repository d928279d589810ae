//! Texts with claims in them. A claim is only let in if no character of it can change what
//! the text means: users edit some claims themselves.

use std::fmt;

use super::claims::Claims;
use super::json::Json;
use super::refusal::TokenRefusal;

/// A text with places for claims: `sip:{phone_number}@ims.example.com`. `{n}` is the
/// number from a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Claim(String),
    Number,
}

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// A brace without its other half, or with nothing in it.
    #[error("its braces do not match")]
    Braces,
    /// A space or a control character, a quote or an angle bracket.
    #[error("it has a character that no identity has")]
    Character,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// If its braces do not match, or it has characters that no identity has.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, claim) = rest.split_at(open);
            let close = claim.find('}').ok_or(BadTemplate::Braces)?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(match &claim[1..close] {
                "" => return Err(BadTemplate::Braces),
                name if name.contains('{') => return Err(BadTemplate::Braces),
                "n" => Piece::Number,
                name => Piece::Claim(name.to_owned()),
            });
            rest = &claim[close + 1..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        for piece in &pieces {
            if let Piece::Text(text) = piece {
                if text.contains('}') {
                    return Err(BadTemplate::Braces);
                }
                let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"<>\"`\\".contains(&byte);
                if !text.bytes().all(is_plain) {
                    return Err(BadTemplate::Character);
                }
            }
        }
        Ok(Template(pieces))
    }

    /// Whether a number from a pool belongs in it.
    #[must_use]
    pub fn wants_number(&self) -> bool {
        self.0.contains(&Piece::Number)
    }

    /// Puts claims in.
    pub(crate) fn fill(
        &self,
        claims: &Claims,
        number: Option<u32>,
    ) -> Result<String, TokenRefusal> {
        self.0.iter().try_fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Claim(name) => text.push_str(&value(claims, name)?),
                Piece::Number => {
                    let number = number.ok_or(TokenRefusal::NoIdentity)?;
                    text.push_str(&number.to_string());
                }
            }
            Ok(text)
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Claim(name) => write!(f, "{{{name}}}"),
            Piece::Number => f.write_str("{n}"),
        })
    }
}

/// A claim as a piece of an identity.
fn value(claims: &Claims, name: &str) -> Result<String, TokenRefusal> {
    // OpenID Connect Core §5.1: an address that nobody has verified is whatever its user says.
    if name == "email" && claims.get("email_verified") != Some(&Json::Bool(true)) {
        return Err(TokenRefusal::NoIdentity);
    }
    let value = match claims.get(name) {
        Some(Json::Text(text)) => text.clone(),
        Some(Json::Whole(number)) if *number >= 0 => number.to_string(),
        _ => return Err(TokenRefusal::NoIdentity),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+~@".contains(&byte);
    let is_good = (1..=LONGEST_VALUE).contains(&value.len()) && value.bytes().all(is_plain);
    is_good.then_some(value).ok_or(TokenRefusal::NoIdentity)
}

/// Longer than any user part.
const LONGEST_VALUE: usize = 128;
