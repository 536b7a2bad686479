//! Answers the edge gives itself: why, and what to do; as RFC 9457 problem or as a small page.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::time::Duration;

/// Why a request is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Locked,
    Starting,
    /// No app has this port or name.
    NoApp,
    Stopped {
        app: String,
    },
    /// Another node leads the app.
    Tunnel {
        app: String,
        leader: Option<String>,
    },
    /// The route asks for something this edge can't enforce: nothing is let through.
    NotEnforceable {
        why: String,
    },
    NotAllowed,
    TooManyRequests {
        wait: Duration,
    },
    TooManyConnections,
    /// health-api does not accept connections: it is being restarted.
    NoPortal,
    /// The app does not accept connections.
    Unreachable {
        app: String,
    },
    /// Behind the edge somebody accepted and then said nothing, or nonsense.
    NoAnswer {
        what: String,
    },
    /// The host asked for is not the one the connection was made to (RFC 9110 section 15.5.20).
    Misdirected,
    BadRequest {
        why: &'static str,
    },
    MethodNotAllowed,
}

/// What is said, before it has a form.
struct Words {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    next_step: Option<String>,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.words().status
    }

    /// The answer in the form the visitor reads: a page for browsers, else a problem.
    pub fn response(&self, headers: &HeaderMap) -> Response<Bytes> {
        let words = self.words();
        let (body, kind) = if wants_page(headers) {
            (page(&words), "text/html; charset=utf-8")
        } else {
            (self.problem(&words), "application/problem+json")
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = words.status;
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after() {
            fields.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyRequests { wait } => Some(wait.as_secs() + 1),
            Self::Starting | Self::NoPortal | Self::TooManyConnections => Some(2),
            Self::Locked
            | Self::NoApp
            | Self::Stopped { .. }
            | Self::Tunnel { .. }
            | Self::NotEnforceable { .. }
            | Self::NotAllowed
            | Self::Unreachable { .. }
            | Self::NoAnswer { .. }
            | Self::Misdirected
            | Self::BadRequest { .. }
            | Self::MethodNotAllowed => None,
        }
    }

    fn leader(&self) -> Option<&str> {
        match self {
            Self::Tunnel { leader, .. } => leader.as_deref(),
            _ => None,
        }
    }

    fn words(&self) -> Words {
        let (status, code, title, detail, next_step) = match self {
            Self::Locked => (
                StatusCode::SERVICE_UNAVAILABLE,
                "locked",
                "Locked",
                "the device is locked".to_owned(),
                Some("Open the portal and unlock it with your password.".to_owned()),
            ),
            Self::Starting => (
                StatusCode::SERVICE_UNAVAILABLE,
                "starting",
                "Starting",
                "the device is starting".to_owned(),
                Some("Try again in a few seconds.".to_owned()),
            ),
            Self::NoApp => (
                StatusCode::NOT_FOUND,
                "not_found",
                "No app here",
                "no app has this address".to_owned(),
                None,
            ),
            Self::Stopped { app } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "stopped",
                "Stopped",
                format!("the app is stopped ({app})"),
                Some("Start it in the portal.".to_owned()),
            ),
            Self::Tunnel { app, leader } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "not_leader",
                "Served elsewhere",
                match leader {
                    Some(leader) => format!("another node leads {app}: {leader}"),
                    None => format!("another node leads {app}"),
                },
                Some("Use the leading node.".to_owned()),
            ),
            Self::NotEnforceable { why } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "not_enforceable",
                "Closed",
                format!("this address is closed: {why}"),
                Some("Change the listener's protocol_middleware.".to_owned()),
            ),
            Self::NotAllowed => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "Not allowed",
                "this app is not open to your network address".to_owned(),
                None,
            ),
            Self::TooManyRequests { wait } => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests",
                format!("wait {} s before the next request", wait.as_secs() + 1),
                None,
            ),
            Self::TooManyConnections => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Busy",
                "too many connections are open".to_owned(),
                Some("Try again in a few seconds.".to_owned()),
            ),
            Self::NoPortal => (
                StatusCode::SERVICE_UNAVAILABLE,
                "starting",
                "Starting",
                "the portal is starting".to_owned(),
                Some("Try again in a few seconds.".to_owned()),
            ),
            Self::Unreachable { app } => (
                StatusCode::BAD_GATEWAY,
                "unreachable",
                "No connection",
                format!("the app {app} does not accept connections"),
                Some("It may still be starting; look at its logs in the portal.".to_owned()),
            ),
            Self::NoAnswer { what } => (
                StatusCode::BAD_GATEWAY,
                "no_answer",
                "No answer",
                format!("{what} gave no valid answer in time"),
                Some("Look at its logs in the portal.".to_owned()),
            ),
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                "Misdirected request",
                "this connection was made to another host".to_owned(),
                None,
            ),
            Self::BadRequest { why } => (
                StatusCode::BAD_REQUEST,
                "bad_request",
                "Bad request",
                (*why).to_owned(),
                None,
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
                "this method is not passed on".to_owned(),
                None,
            ),
        };
        Words {
            status,
            code,
            title,
            detail,
            next_step,
        }
    }

    fn problem(&self, words: &Words) -> String {
        let mut text = format!(
            "{{\"type\":\"about:blank\",\"title\":{},\"status\":{},\"detail\":{},\"code\":{}",
            json_string(words.title),
            words.status.as_u16(),
            json_string(&words.detail),
            json_string(words.code),
        );
        let leader = self.leader().map(str::to_owned);
        for (name, value) in [("next_step", &words.next_step), ("leader", &leader)] {
            if let Some(value) = value {
                text.push_str(&format!(",\"{name}\":{}", json_string(value)));
            }
        }
        if let Some(seconds) = self.retry_after() {
            text.push_str(&format!(",\"retry_after\":{seconds}"));
        }
        text.push('}');
        text
    }
}

/// Does the visitor name HTML as something it reads?
fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}

fn page(words: &Words) -> String {
    let next_step = words.next_step.as_deref().unwrap_or_default();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title>\
         <body style=\"font:1.1rem/1.5 system-ui;max-width:32rem;margin:15vh auto;padding:0 1rem\">\
         <h1>{title}</h1><p>{detail}</p><p>{next_step}</p></body></html>\n",
        title = html(words.title),
        detail = html(&words.detail),
        next_step = html(next_step),
    )
}

fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// A JSON string (RFC 8259 section 7).
fn json_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(refusal: &Refusal, accept: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("a value"));
        let body = refusal.response(&headers).into_body();
        String::from_utf8(body.to_vec()).expect("text")
    }

    #[test]
    fn a_program_reads_a_problem_and_a_person_a_page() {
        let refusal = Refusal::Tunnel {
            app: "demo".to_owned(),
            leader: Some("https://b.local".to_owned()),
        };
        let problem = text(&refusal, "*/*");
        assert!(
            problem.contains("\"leader\":\"https://b.local\""),
            "{problem}"
        );
        assert!(problem.contains("\"status\":503"), "{problem}");
        let page = text(&refusal, "text/html,*/*;q=0.8");
        assert!(page.contains("https://b.local") && page.starts_with("<!doctype html>"));
    }

    proptest! {
        #[test]
        fn no_leader_breaks_out_of_its_answer(leader in "\\PC{0,40}") {
            let refusal = Refusal::Tunnel { app: "demo".to_owned(), leader: Some(leader) };
            let page = text(&refusal, "text/html");
            prop_assert_eq!(page.matches('<').count(), page.matches('>').count());
            prop_assert_eq!(page.matches('<').count(), 15, "{}", page);
            let problem = text(&refusal, "*/*");
            let is_one_line = problem.ends_with('}') && !problem.contains('\n');
            prop_assert!(is_one_line, "{}", problem);
        }
    }
}
