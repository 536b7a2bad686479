//! The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0), made of the route table.

use crate::{
    gate::{Content, Visitor},
    table::{Card, ROUTES},
};
use serde_json::{Map, Value, json};

/// The whole document.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for card in ROUTES.iter().map(|entry| &entry.card) {
        let path = paths.entry(card.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            methods.insert(card.method.to_ascii_lowercase(), operation(card));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Piccolo",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The API of a personal server. Errors are RFC 9457 problem documents.",
            "license": { "name": "AGPL-3.0-only", "identifier": "AGPL-3.0-only" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "cookie": { "type": "apiKey", "in": "cookie", "name": crate::session::COOKIE },
                "token": { "type": "http", "scheme": "bearer" },
            },
            "schemas": { "Problem": problem_schema() },
        },
    })
}

fn operation(card: &Card) -> Value {
    let mut operation = json!({
        "operationId": operation_id(card),
        "tags": [card.tag],
        "summary": card.summary,
        "responses": responses(card),
    });
    let parameters = parameters(card.path);
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if card.gate.visitor != Visitor::Anyone {
        operation["security"] = json!([{ "cookie": [] }, { "token": [] }]);
    }
    let media = match card.content {
        Content::None => None,
        Content::Json => Some(("application/json", json!({ "type": "object" }))),
        Content::Yaml => Some(("application/yaml", json!({ "type": "string" }))),
    };
    if let Some((media, schema)) = media {
        operation["requestBody"] = json!({
            "required": !card.body_optional,
            "content": { media: { "schema": schema } },
        });
    }
    operation
}

/// `GET /api/v1/apps/{name}/logs` → `get_apps_name_logs`.
fn operation_id(card: &Card) -> String {
    let path = card
        .path
        .trim_start_matches("/api/v1")
        .replace(['{', '}'], "");
    let words = path.split(['/', '-', '.']).filter(|word| !word.is_empty());
    let prefix = if card.path.starts_with("/api/v1") {
        ""
    } else {
        "_root"
    };
    let name = words.fold(card.method.to_ascii_lowercase(), |name, word| {
        name + "_" + word
    });
    name + prefix
}

fn parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect()
}

fn responses(card: &Card) -> Value {
    let problem = json!({
        "description": "What went wrong, why, and the next step",
        "content": {
            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
        },
    });
    json!({ card.success.to_string(): { "description": card.summary }, "default": problem })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "code": { "type": "string" },
            "field": { "type": "string" },
            "leader": { "type": "string" },
            "retry_after": { "type": "integer", "description": "seconds" },
            "next_step": { "type": "string" },
            "job": { "type": "string" },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_route_is_documented_and_nothing_else() {
        let document = document();
        let documented: HashSet<(String, String)> = document["paths"]
            .as_object()
            .expect("paths")
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().expect("methods");
                methods
                    .keys()
                    .map(|method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let served: HashSet<(String, String)> = ROUTES
            .iter()
            .map(|entry| (entry.card.method.to_owned(), entry.card.path.to_owned()))
            .collect();
        assert_eq!(documented, served);
    }

    #[test]
    fn operation_ids_are_unique() {
        let ids: HashSet<String> = ROUTES
            .iter()
            .map(|entry| operation_id(&entry.card))
            .collect();
        assert_eq!(ids.len(), ROUTES.len());
    }
}
