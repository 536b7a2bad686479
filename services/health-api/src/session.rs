//! Session secrets: what is in the cookie or the bearer token, and what is derived from it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};
use piccolo_bus_schema::session::{self, SecretHash};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The browser's cookie.
pub(crate) const COOKIE: &str = "piccolo_session";
/// Where a browser repeats the CSRF token.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";
/// Thirty days, the most a session lasts (seconds).
const COOKIE_LIFETIME: u32 = 30 * 24 * 3600;

/// A secret as its client holds it.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

/// How a client showed its secret.
pub(crate) enum Presented {
    Cookie(Secret),
    Bearer(Secret),
}

impl Secret {
    /// 256 random bits.
    pub(crate) fn generate() -> Self {
        let bits: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(bits.as_slice())))
    }

    /// The text to give to its client, once.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What the store knows it by.
    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The CSRF token of a cookie session: bound to the secret, not revealing it, and the same for
    /// the session's whole life.
    pub(crate) fn csrf_token(&self) -> String {
        let digest = Sha256::new()
            .chain_update(b"piccolo csrf 1\0")
            .chain_update(self.0.as_bytes());
        URL_SAFE_NO_PAD.encode(digest.finalize())
    }

    /// The `Set-Cookie` value.
    pub(crate) fn cookie(&self, secure: bool) -> HeaderValue {
        cookie(&self.0, COOKIE_LIFETIME, secure)
    }
}

/// The `Set-Cookie` value that ends a session in the browser.
pub(crate) fn expired_cookie(secure: bool) -> HeaderValue {
    cookie("", 0, secure)
}

fn cookie(value: &str, max_age: u32, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::try_from(text)
        .unwrap_or_else(|_| HeaderValue::from_static("piccolo_session=; Path=/; Max-Age=0"));
    value.set_sensitive(true);
    value
}

/// Finds the secret of a request; a bearer token wins over a cookie.
pub(crate) fn presented(headers: &HeaderMap) -> Option<Presented> {
    if let Some(token) = bearer(headers) {
        return Some(Presented::Bearer(token));
    }
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && is_secret(value))
        .map(|(_, value)| Presented::Cookie(Secret(Zeroizing::new(value.to_owned()))))
}

fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && is_secret(token))
        .then(|| Secret(Zeroizing::new(token.to_owned())))
}

fn is_secret(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Who stands behind a request that passed its gate.
#[derive(Clone)]
pub(crate) enum Principal {
    /// Root on the device.
    Operator,
    /// A browser.
    Browser {
        session: session::Session,
        secret: Secret,
    },
    /// An API token.
    Token { session: session::Session },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            HeaderValue::from_static("a=b; piccolo_session=abc_-1; c=d"),
        );
        let Some(Presented::Cookie(secret)) = presented(&headers) else {
            panic!("no cookie")
        };
        assert_eq!(secret.expose(), "abc_-1");
    }

    #[test]
    fn hostile_secrets_are_no_secrets() {
        for text in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert!(!is_secret(text), "{text}");
        }
    }

    #[test]
    fn the_csrf_token_does_not_reveal_the_secret() {
        let secret = Secret::generate();
        assert_ne!(secret.csrf_token(), secret.expose());
        assert_eq!(secret.csrf_token(), secret.csrf_token());
    }
}
