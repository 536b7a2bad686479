//! The portal's pages, embedded in this binary.

use crate::problem::Problem;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use include_dir::{Dir, include_dir};

static PORTAL: Dir<'_> = include_dir!("$OUT_DIR/portal");

/// Everything from ourselves, nothing inline, no framing (https://www.w3.org/TR/CSP3/).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; \
frame-ancestors 'none'";

/// A file of the portal; a path without a file is a page of the app, so its start page.
pub(crate) fn serve(method: &Method, path: &str) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Pages are only read.",
        )
        .allow(Some(HeaderValue::from_static("GET, HEAD")))
        .into_response();
    }
    let name = path.trim_start_matches('/');
    match PORTAL.get_file(name) {
        Some(file) => page(file.contents(), name),
        // A missing asset must not look like a page to its loader.
        None if name.starts_with("assets/") => {
            Problem::not_found(format!("There is nothing at {path}.")).into_response()
        }
        None => match PORTAL.get_file("index.html") {
            Some(file) => page(file.contents(), "index.html"),
            None => Problem::not_found("The portal is not part of this build.").into_response(),
        },
    }
}

fn page(contents: &'static [u8], name: &str) -> Response {
    let mut response = contents.into_response();
    let headers = response.headers_mut();
    let caching = if name.starts_with("assets/") {
        // Vite puts a hash of the content into these names.
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(media_type(name)),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    response
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("webmanifest") => "application/manifest+json",
        Some("json") => "application/json",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
