//! The API for machines and for humans.

use crate::{
    gate::Visitor,
    openapi,
    table::{Card, ROUTES},
};
use axum::{
    Json,
    response::{Html, IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde_json::Value;
use std::fmt::Write;

/// GET `/api/v1/openapi.json`.
pub(crate) async fn openapi() -> Json<Value> {
    Json(openapi::document())
}

/// GET `/api/docs`: one plain page made of the table, without scripts.
pub(crate) async fn page() -> Response {
    let mut rows = String::new();
    for card in ROUTES.iter().map(|entry| &entry.card) {
        // Writing to a String can't fail.
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            card.method,
            card.path,
            gate(card),
            card.summary
        );
    }
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Piccolo API</title>\
         <h1>Piccolo API</h1><p>Machine-readable: <a href=\"/api/v1/openapi.json\">OpenAPI 3.1</a>. \
         Errors are RFC 9457 problem documents.</p>\
         <table><thead><tr><th>Method<th>Path<th>Needs<th>Does</thead>{rows}</table></html>"
    );
    let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

fn gate(card: &Card) -> String {
    let visitor = match card.gate.visitor {
        Visitor::Anyone => "nothing",
        Visitor::LoopbackOrSession => "loopback or session",
        Visitor::Session => "session",
    };
    let unlocked = if card.gate.unlocked { ", unlocked" } else { "" };
    let leader = if card.gate.leader { ", leader" } else { "" };
    format!("{visitor}{unlocked}{leader}")
}
