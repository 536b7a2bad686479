//! Compact JWS tokens (RFC 7515, RFC 7519) signed with a shared HMAC secret.
//!
//! The error texts travel to the backend as the reason of a Close frame and are those of the
//! original relay, word for word.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Sha256, Sha384, Sha512};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::control::lower_keys;

const ISSUER: &str = "authorizer";
const AUDIENCE: &str = "nexus";

/// As lenient as the original about padding bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The secret backends sign with. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(***)")
    }
}

/// Everything a token may say, as it says it. Nothing here is checked but the JSON types.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RawClaims {
    pub iss: Option<String>,
    pub aud: Option<Audience>,
    /// Seconds since the epoch, fractions allowed.
    pub exp: Option<f64>,
    pub nbf: Option<f64>,
    pub iat: Option<f64>,
    pub sub: Option<String>,
    pub hostnames: Option<Vec<String>>,
    pub tcp_ports: Option<Vec<i64>>,
    pub udp_routes: Option<Vec<RawUdpRoute>>,
    pub weight: Option<i64>,
    pub session_nonce: Option<String>,
    pub handshake_max_age_seconds: Option<i64>,
    pub reauth_interval_seconds: Option<i64>,
    pub reauth_grace_seconds: Option<i64>,
    pub maintenance_grace_cap_seconds: Option<i64>,
    pub authorizer_status_uri: Option<String>,
    pub policy_version: Option<String>,
    pub outbound_allowed: Option<bool>,
    pub allowed_outbound_ports: Option<Vec<i64>>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RawUdpRoute {
    pub port: i64,
    pub flow_idle_timeout_seconds: Option<i64>,
}

/// Why a token is not believed.
#[derive(Debug, Error, PartialEq)]
pub enum TokenError {
    #[error("token is malformed: {0}")]
    Malformed(String),
    #[error("token is unverifiable: {0}")]
    Unverifiable(String),
    #[error("token signature is invalid: signature is invalid")]
    Signature,
    #[error("token has invalid claims: {}", join(.0))]
    Claims(Vec<ClaimFault>),
}

#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum ClaimFault {
    #[error("token is expired")]
    Expired,
    #[error("token is not valid yet")]
    NotYetValid,
    #[error("token is missing required claim: aud claim is required")]
    AudienceMissing,
    #[error("token has invalid audience")]
    Audience,
    #[error("token is missing required claim: iss claim is required")]
    IssuerMissing,
    #[error("token has invalid issuer")]
    Issuer,
}

fn join(faults: &[ClaimFault]) -> String {
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

#[derive(Deserialize)]
struct Header {
    alg: Option<String>,
}

/// Checks form, signature, times, issuer and audience of `token`, in this order. `now` is in
/// seconds since the epoch; there is no leeway.
pub fn verify(token: &str, secret: &Secret, now: f64) -> Result<RawClaims, TokenError> {
    let segments: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = segments[..] else {
        return Err(TokenError::Malformed(
            "token contains an invalid number of segments".to_owned(),
        ));
    };
    let algorithm = algorithm(header)?;
    let claims = claims(payload)?;
    let signed = &token[..header.len() + 1 + payload.len()];
    let signature = decode(signature, "signature")?;
    check_signature(&algorithm, secret, signed, &signature)?;
    match claim_faults(&claims, now) {
        faults if faults.is_empty() => Ok(claims),
        faults => Err(TokenError::Claims(faults)),
    }
}

fn algorithm(header: &str) -> Result<String, TokenError> {
    let header: Header = serde_json::from_slice(&decode(header, "header")?)
        .map_err(|error| TokenError::Malformed(format!("could not JSON decode header: {error}")))?;
    header
        .alg
        .ok_or_else(|| TokenError::Unverifiable("signing method (alg) is unspecified".to_owned()))
}

fn claims(payload: &str) -> Result<RawClaims, TokenError> {
    let malformed = |error: serde_json::Error| {
        TokenError::Malformed(format!("could not JSON decode claim: {error}"))
    };
    let object: Map<String, Value> =
        serde_json::from_slice(&decode(payload, "claim")?).map_err(malformed)?;
    serde_json::from_value(Value::Object(lower_keys(object))).map_err(malformed)
}

/// Line ends inside the text are skipped, as the original's decoder does.
fn decode(segment: &str, what: &str) -> Result<Vec<u8>, TokenError> {
    let packed: String = segment
        .chars()
        .filter(|c| !matches!(c, '\r' | '\n'))
        .collect();
    BASE64
        .decode(packed)
        .map_err(|error| TokenError::Malformed(format!("could not base64 decode {what}: {error}")))
}

fn check_signature(
    algorithm: &str,
    secret: &Secret,
    signed: &str,
    signature: &[u8],
) -> Result<(), TokenError> {
    let valid = match algorithm {
        "HS256" => mac_matches::<Hmac<Sha256>>(secret, signed, signature),
        "HS384" => mac_matches::<Hmac<Sha384>>(secret, signed, signature),
        "HS512" => mac_matches::<Hmac<Sha512>>(secret, signed, signature),
        other => {
            return Err(TokenError::Unverifiable(format!(
                "error while executing keyfunc: unexpected signing method: {other}"
            )));
        }
    };
    if valid {
        Ok(())
    } else {
        Err(TokenError::Signature)
    }
}

fn mac_matches<M: Mac + KeyInit>(secret: &Secret, signed: &str, signature: &[u8]) -> bool {
    <M as KeyInit>::new_from_slice(&secret.0).is_ok_and(|mut mac| {
        mac.update(signed.as_bytes());
        mac.verify_slice(signature).is_ok()
    })
}

fn claim_faults(claims: &RawClaims, now: f64) -> Vec<ClaimFault> {
    let mut faults = Vec::new();
    if claims.exp.is_some_and(|exp| now >= exp) {
        faults.push(ClaimFault::Expired);
    }
    if claims.nbf.is_some_and(|nbf| now < nbf) {
        faults.push(ClaimFault::NotYetValid);
    }
    faults.extend(audience_fault(claims.aud.as_ref()));
    match claims.iss.as_deref() {
        Some(ISSUER) => {}
        None | Some("") => faults.push(ClaimFault::IssuerMissing),
        Some(_) => faults.push(ClaimFault::Issuer),
    }
    faults
}

fn audience_fault(audience: Option<&Audience>) -> Option<ClaimFault> {
    let names: &[String] = match audience {
        None => &[],
        Some(Audience::One(name)) => std::slice::from_ref(name),
        Some(Audience::Many(names)) => names,
    };
    if names.iter().all(String::is_empty) {
        Some(ClaimFault::AudienceMissing)
    } else if names.iter().any(|name| name == AUDIENCE) {
        None
    } else {
        Some(ClaimFault::Audience)
    }
}

/// Signs `claims` with HS256: the other half, for tests and tools.
pub fn sign(claims: &Value, secret: &Secret) -> String {
    let signed = format!(
        "{}.{}",
        BASE64.encode(br#"{"alg":"HS256","typ":"JWT"}"#),
        BASE64.encode(claims.to_string())
    );
    let signature = <Hmac<Sha256> as KeyInit>::new_from_slice(&secret.0)
        .map(|mut mac| {
            mac.update(signed.as_bytes());
            mac.finalize().into_bytes()
        })
        .unwrap_or_default();
    format!("{signed}.{}", BASE64.encode(signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const NOW: f64 = 1_800_000_000.0;

    fn secret() -> Secret {
        Secret::new("a shared secret")
    }

    fn refusal(claims: &Value) -> String {
        verify(&sign(claims, &secret()), &secret(), NOW)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_token_without_times_is_valid_and_unknown_claims_are_ignored() {
        let token = sign(
            &json!({"iss":"authorizer","aud":"nexus","Hostnames":["a.test"],"x":{}}),
            &secret(),
        );
        let claims = verify(&token, &secret(), NOW).unwrap();
        assert_eq!(claims.hostnames, Some(vec!["a.test".to_owned()]));
        assert!(verify(&format!("{token}\n"), &secret(), NOW).is_ok());
    }

    #[test]
    fn each_claim_fault_has_the_original_text() {
        let base = |extra: Value| {
            let mut claims = json!({"iss":"authorizer","aud":["nexus"]});
            claims
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            claims
        };
        for (extra, text) in [
            (json!({"exp": NOW}), "token is expired"),
            (json!({"nbf": NOW + 1.0}), "token is not valid yet"),
            (json!({"aud": "other"}), "token has invalid audience"),
            (json!({"iss": "other"}), "token has invalid issuer"),
            (
                json!({"aud": []}),
                "token is missing required claim: aud claim is required",
            ),
            (
                json!({"iss": null}),
                "token is missing required claim: iss claim is required",
            ),
            (
                json!({"exp": 1, "iss": "x"}),
                "token is expired, token has invalid issuer",
            ),
        ] {
            assert_eq!(
                refusal(&base(extra)),
                format!("token has invalid claims: {text}")
            );
        }
        assert!(
            verify(
                &sign(
                    &base(json!({"exp": NOW + 1.0, "nbf": NOW, "iat": NOW * 2.0})),
                    &secret()
                ),
                &secret(),
                NOW
            )
            .is_ok()
        );
    }

    #[test]
    fn the_signature_must_be_made_with_the_secret() {
        let token = sign(&json!({}), &Secret::new("another"));
        assert_eq!(verify(&token, &secret(), NOW), Err(TokenError::Signature));
    }

    #[test]
    fn other_algorithms_are_unverifiable() {
        for alg in ["none", "RS256", "HS1024"] {
            let header = BASE64.encode(json!({ "alg": alg }).to_string());
            let token = format!("{header}.{}.", BASE64.encode("{}"));
            assert!(
                matches!(
                    verify(&token, &secret(), NOW),
                    Err(TokenError::Unverifiable(_))
                ),
                "{alg}"
            );
        }
    }

    #[test]
    fn hs512_is_taken_as_well() {
        let signed = format!(
            "{}.{}",
            BASE64.encode(r#"{"alg":"HS512"}"#),
            BASE64.encode(r#"{"iss":"authorizer","aud":"nexus"}"#)
        );
        let mut mac = <Hmac<Sha512> as KeyInit>::new_from_slice(b"a shared secret").unwrap();
        mac.update(signed.as_bytes());
        let token = format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes()));
        assert!(verify(&token, &secret(), NOW).is_ok());
    }

    #[test]
    fn text_that_is_no_token_says_so() {
        for text in ["", "hello", "a.b", "a.b.c.d"] {
            assert_eq!(
                verify(text, &secret(), NOW).unwrap_err().to_string(),
                "token is malformed: token contains an invalid number of segments"
            );
        }
    }

    #[test]
    fn a_fraction_or_a_string_for_a_number_is_malformed() {
        for claims in [
            json!({"weight": 1.5}),
            json!({"tcp_ports": ["25"]}),
            json!({"hostnames": "a"}),
        ] {
            assert!(
                refusal(&claims).starts_with("token is malformed: could not JSON decode claim: ")
            );
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert_eq!(format!("{:?}", secret()), "Secret(***)");
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in "[A-Za-z0-9_.\\-\n]{0,120}|.{0,40}") {
            let _ = verify(&text, &secret(), NOW);
        }
    }
}
