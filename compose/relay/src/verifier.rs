//! Judges the tokens of a session: signature, nonce, claims, in this order.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::claims::{self, ClaimError, ClaimPolicy, Claims, Differs, Stage};
use crate::token::{self, Secret, TokenError};

/// What every backend is measured by.
#[derive(Debug)]
pub struct Verifier {
    pub secret: Secret,
    pub policy: ClaimPolicy,
}

/// Why a token does not open or prolong a session. The text is the reason the backend is given.
#[derive(Debug, Error, PartialEq)]
pub enum Refusal {
    #[error("{} token validation failed: jwt validation failed: {error}", stage.label())]
    Token { stage: Stage, error: TokenError },
    #[error("session nonce mismatch: expected {expected} got {got}")]
    Nonce { expected: String, got: String },
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error(transparent)]
    Differs(#[from] Differs),
}

impl Verifier {
    /// The claims of a session's first token.
    pub fn first(&self, token: &str, now: f64) -> Result<Claims, Refusal> {
        self.judge(token, Stage::Zero, None, now)
    }

    /// The claims of a later token, which must answer `nonce` and claim what `first` claimed.
    pub fn later(
        &self,
        token: &str,
        stage: Stage,
        nonce: &str,
        first: &Claims,
        now: f64,
    ) -> Result<Claims, Refusal> {
        let later = self.judge(token, stage, Some(nonce), now)?;
        claims::same(first, &later)?;
        Ok(later)
    }

    fn judge(
        &self,
        token: &str,
        stage: Stage,
        nonce: Option<&str>,
        now: f64,
    ) -> Result<Claims, Refusal> {
        let raw = token::verify(token, &self.secret, now)
            .map_err(|error| Refusal::Token { stage, error })?;
        let got = raw.session_nonce.as_deref().unwrap_or_default();
        if let Some(expected) = nonce.filter(|expected| *expected != got) {
            return Err(Refusal::Nonce {
                expected: expected.to_owned(),
                got: got.to_owned(),
            });
        }
        Ok(claims::check(&raw, stage, &self.policy, now)?)
    }
}

/// 32 random bytes in 43 characters. Fails only without a source of randomness.
pub fn fresh_nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Seconds since the epoch; a clock before it counts as the epoch itself, where no token is valid.
pub fn unix_now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_43_characters_and_never_the_same() {
        let (one, two) = (fresh_nonce().unwrap(), fresh_nonce().unwrap());
        assert_eq!(one.len(), 43);
        assert_ne!(one, two);
    }
}
