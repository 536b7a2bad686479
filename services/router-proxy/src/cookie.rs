//! The platform's own cookies, kept apart from apps.
//!
//! Cookies ignore ports (RFC 6265 section 8.5), so an app on the device's LAN address shares a jar
//! with the portal: `piccolo_*` never reaches an app, and no app can set one.

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};

const OURS: &[u8] = b"piccolo_";

/// Takes the platform's cookies out of a request. Several `Cookie` fields, which HTTP/2 allows,
/// become one (RFC 9113 section 8.2.3).
pub fn hide_ours(headers: &mut HeaderMap) {
    if !headers.contains_key(COOKIE) {
        return;
    }
    let mut kept: Vec<u8> = Vec::new();
    for field in headers.get_all(COOKIE) {
        for pair in field.as_bytes().split(|byte| *byte == b';') {
            let pair = pair.trim_ascii();
            if pair.is_empty() || is_ours(pair) {
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(pair);
        }
    }
    headers.remove(COOKIE);
    if !kept.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(&kept)
    {
        headers.insert(COOKIE, value);
    }
}

/// Takes attempts to set the platform's cookies out of a response.
pub fn refuse_ours(headers: &mut HeaderMap) {
    let all: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    if all.iter().any(|value| is_ours(value.as_bytes())) {
        headers.remove(SET_COOKIE);
        for value in all.into_iter().filter(|value| !is_ours(value.as_bytes())) {
            headers.append(SET_COOKIE, value);
        }
    }
}

/// Is the pair's name one of ours? A cookie without a name (`=piccolo_session=x`) is written by
/// browsers as its value alone, so leading `=` count for nothing; nor does case, to be safe.
fn is_ours(pair: &[u8]) -> bool {
    let start = pair
        .iter()
        .position(|byte| !byte.is_ascii_whitespace() && *byte != b'=')
        .unwrap_or(pair.len());
    pair[start..]
        .get(..OURS.len())
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(OURS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(cookies: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, cookie.parse().expect("a value"));
        }
        hide_ours(&mut headers);
        let kept = headers.get_all(COOKIE).iter();
        kept.map(|value| value.to_str().expect("text").to_owned())
            .collect()
    }

    #[test]
    fn an_app_sees_its_own_cookies_only() {
        assert_eq!(request(&["a=1; piccolo_session=s; b=2"]), ["a=1; b=2"]);
        assert_eq!(request(&["piccolo_session=s"]), Vec::<String>::new());
        assert_eq!(request(&["a=1", "piccolo_x=2", "b=3"]), ["a=1; b=3"]);
        assert_eq!(request(&["a=1; =piccolo_session=s; PICCOLO_y=1"]), ["a=1"]);
        assert_eq!(request(&["my_piccolo_=1"]), ["my_piccolo_=1"]);
    }

    #[test]
    fn an_app_sets_its_own_cookies_only() {
        let mut headers = HeaderMap::new();
        for value in [
            "a=1; Path=/",
            " piccolo_session=evil",
            "=piccolo_session=evil",
            "b=2",
        ] {
            headers.append(SET_COOKIE, value.parse().expect("a value"));
        }
        refuse_ours(&mut headers);
        let kept: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(kept, ["a=1; Path=/", "b=2"]);
    }

    proptest! {
        #[test]
        fn no_cookie_of_ours_survives(text in "[ -~]{0,80}") {
            let mut headers = HeaderMap::new();
            let value = format!("{text};piccolo_session=secret; x={text}");
            headers.insert(COOKIE, value.parse().expect("a value"));
            hide_ours(&mut headers);
            let left = headers.get(COOKIE).map(|v| v.to_str().expect("text").to_owned());
            let left = left.unwrap_or_default();
            prop_assert!(!left.split(';').any(|pair| is_ours(pair.as_bytes())), "{}", left);
        }
    }
}
