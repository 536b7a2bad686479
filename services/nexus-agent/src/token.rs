//! Tokens for the relay: JSON Web Tokens signed with the device secret (RFC 7515, RFC 7519;
//! protocol, 2.2).

use crate::settings::DeviceSecret;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use piccolo_bus_schema::ids::{Hostname, UnixSeconds};
use serde::Serialize;
use sha2::Sha256;

/// Which step of the conversation a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage<'a> {
    /// The first word.
    Hello,
    /// The answer to a challenge, at the handshake or later.
    Attest { nonce: &'a str },
}

/// A token is used at once; a minute bridges slow links.
const LIFETIME_SECONDS: u64 = 60;
/// How old a first token may be. A clock a few seconds slow must not lock an owner out.
const MAX_AGE_SECONDS: u64 = 30;
const REAUTH_INTERVAL_SECONDS: u64 = 300;
const REAUTH_GRACE_SECONDS: u64 = 30;
const MAINTENANCE_CAP_SECONDS: u64 = 600;

#[derive(Serialize)]
struct Header {
    alg: &'static str,
    typ: &'static str,
}

/// In the order the reference client writes them.
#[derive(Serialize)]
struct Claims<'a> {
    hostnames: &'a [Hostname],
    weight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_max_age_seconds: Option<u64>,
    reauth_interval_seconds: u64,
    reauth_grace_seconds: u64,
    maintenance_grace_cap_seconds: u64,
    iss: &'static str,
    sub: &'static str,
    aud: [&'static str; 1],
    exp: u64,
    iat: u64,
}

/// Signs the tokens of one session, which must all claim the same.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    pub(crate) secret: DeviceSecret,
    pub(crate) hostnames: Vec<Hostname>,
    /// The session's share of new visitors, relative to other sessions with the same names.
    pub(crate) weight: u32,
}

impl Signer {
    /// A token for one step of the conversation.
    pub(crate) fn sign(&self, stage: Stage<'_>, now: UnixSeconds) -> String {
        let (session_nonce, max_age) = match stage {
            Stage::Hello => (None, Some(MAX_AGE_SECONDS)),
            Stage::Attest { nonce } => (Some(nonce), None),
        };
        let claims = Claims {
            hostnames: &self.hostnames,
            weight: self.weight,
            session_nonce,
            handshake_max_age_seconds: max_age,
            reauth_interval_seconds: REAUTH_INTERVAL_SECONDS,
            reauth_grace_seconds: REAUTH_GRACE_SECONDS,
            maintenance_grace_cap_seconds: MAINTENANCE_CAP_SECONDS,
            iss: "authorizer",
            sub: "piccolo",
            aud: ["nexus"],
            exp: now.0.saturating_add(LIFETIME_SECONDS),
            iat: now.0,
        };
        let header = Header {
            alg: "HS256",
            typ: "JWT",
        };
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose())
            .expect("HMAC takes a key of any length");
        mac.update(signed.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        format!("{signed}.{signature}")
    }
}

fn part(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("plain texts and numbers are JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn token(stage: Stage<'_>) -> String {
        let secret = DeviceSecret::new(Zeroizing::new(b"secret".to_vec())).expect("a secret");
        let signer = Signer {
            secret,
            hostnames: vec![Hostname::new("me.example.com").expect("a name")],
            weight: 1,
        };
        signer.sign(stage, UnixSeconds(1_800_000_000))
    }

    fn claims(token: &str) -> String {
        let body = token.split('.').nth(1).expect("three parts");
        String::from_utf8(URL_SAFE_NO_PAD.decode(body).expect("base64url")).expect("UTF-8")
    }

    #[test]
    fn the_first_token_has_an_age_limit_and_no_nonce() {
        let token = token(Stage::Hello);
        assert!(token.starts_with("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."));
        assert_eq!(
            claims(&token),
            r#"{"hostnames":["me.example.com"],"weight":1,"handshake_max_age_seconds":30,"reauth_interval_seconds":300,"reauth_grace_seconds":30,"maintenance_grace_cap_seconds":600,"iss":"authorizer","sub":"piccolo","aud":["nexus"],"exp":1800000060,"iat":1800000000}"#
        );
    }

    #[test]
    fn an_answer_repeats_the_nonce() {
        let claims = claims(&token(Stage::Attest { nonce: "abc" }));
        assert!(claims.contains(r#""session_nonce":"abc""#));
        assert!(!claims.contains("handshake_max_age_seconds"));
    }

    #[test]
    fn the_signature_is_hmac_sha256_of_the_first_two_parts() {
        let token = token(Stage::Hello);
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").expect("any key");
        mac.update(signed.as_bytes());
        assert!(mac.verify_slice(&signature).is_ok());
    }
}
