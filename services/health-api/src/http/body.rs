//! Reading bodies, with problems that name the field.

use crate::{gate, problem::Problem};
use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use http::StatusCode;
use piccolo_bus_client::Bus;
use piccolo_bus_schema::ticket::Ticket;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use std::fmt;
use zeroize::Zeroizing;

/// A JSON body: 400 when it is no JSON, 422 when a field is missing, unknown or of the wrong type.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = read(request, state, gate::Content::Json.limit()).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be left out.
pub(crate) struct OptionalJson<T>(pub(crate) Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = read(request, state, gate::Content::Json.limit()).await?;
        if bytes.is_empty() {
            Ok(Self(None))
        } else {
            parse(&bytes).map(|body| Self(Some(body)))
        }
    }
}

/// A YAML body as text.
pub(crate) struct Yaml(pub(crate) String);

impl<S: Send + Sync> FromRequest<S> for Yaml {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = read(request, state, gate::Content::Yaml.limit()).await?;
        match String::from_utf8(bytes.to_vec()) {
            Ok(text) => Ok(Self(text)),
            Err(_) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "not_text",
                "The spec is not UTF-8 text.",
            )),
        }
    }
}

async fn read<S: Send + Sync>(request: Request, state: &S, limit: usize) -> Result<Bytes, Problem> {
    let bytes = Bytes::from_request(request, state)
        .await
        .map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                gate::too_large(limit)
            } else {
                Problem::new(StatusCode::BAD_REQUEST, "body", "The body can't be read.")
            }
        })?;
    if bytes.len() > limit {
        Err(gate::too_large(limit))
    } else {
        Ok(bytes)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        if error.is_data() {
            let text = error.to_string();
            let why = text.split(" at line ").next().unwrap_or(&text);
            // serde quotes the field it speaks of in backticks.
            let field = why.split('`').nth(1).unwrap_or("body");
            Problem::invalid(field, format!("{why}."))
        } else {
            let detail = format!("The body is not JSON: {error}.");
            Problem::new(StatusCode::BAD_REQUEST, "not_json", detail)
        }
    })
}

/// A password or other secret in a body: wiped when dropped, never shown.
pub(crate) struct SecretText(Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl SecretText {
    /// Words as one text, separated by single spaces.
    pub(crate) fn join(words: &[Self]) -> Self {
        let words: Vec<&str> = words.iter().map(|word| word.0.as_str()).collect();
        Self(Zeroizing::new(words.join(" ")))
    }

    /// Offers the secret to the service that may claim it.
    pub(crate) fn offer(self, bus: &Bus) -> Result<Ticket, Problem> {
        let bytes = Zeroizing::new(self.0.as_bytes().to_vec());
        Ok(bus.offer_secret(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code, reason = "only its presence is tested")]
        password: SecretText,
    }

    #[test]
    fn a_missing_field_is_named() {
        let problem = parse::<Sample>(b"{}").expect_err("a problem");
        assert_eq!(problem.status(), 422);
        assert!(format!("{problem:?}").contains("password"));
    }

    #[test]
    fn what_is_no_json_is_a_bad_request() {
        assert_eq!(parse::<Sample>(b"{").expect_err("a problem").status(), 400);
    }

    #[test]
    fn a_secret_is_never_shown() {
        let sample: Sample = parse(br#"{"password":"open sesame"}"#).expect("a sample");
        assert!(!format!("{sample:?}").contains("sesame"));
    }
}
