//! Holds every answer of `cofferdam serve` to the OpenAPI document that the same build makes: the
//! status must be described, the content must be of the kind that is, and JSON must fit its
//! schema, with nothing in it that is not described. Knows as much of JSON Schema as the document
//! uses, but for patterns.

use std::sync::LazyLock;

use cofferdam::http::openapi;
use serde_json::{Map, Value};

use crate::Reply;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::to_value(openapi::document()).expect("the document can be written as JSON")
});

/// That an answer is what the document says.
///
/// # Panics
/// If it is not, with all that is wrong.
pub(crate) fn hold(method: &str, path: &str, reply: &Reply) {
    let path = path.split('?').next().unwrap_or(path);
    // Pages are for people.
    if path == "/" || path.starts_with("/console") {
        return;
    }
    let wrong = wrong(&DOCUMENT, method, path, reply);
    assert!(
        wrong.is_empty(),
        "the answer to {method} {path} is not what the OpenAPI document says:\n  {}\n{:#}",
        wrong.join("\n  "),
        reply.json
    );
}

fn wrong(document: &Value, method: &str, path: &str, reply: &Reply) -> Vec<String> {
    let mut wrong = Vec::new();
    let problem = "/components/schemas/ProblemDetails";
    let operation = template(document, path)
        .and_then(|described| described.get(method.to_ascii_lowercase().as_str()));
    let Some(operation) = operation else {
        // There is no such route, or no such method: the door or the router answers.
        if reply.status < 400 {
            wrong.push("it is a success, and there is no such operation".to_owned());
        } else if let Some(schema) = document.pointer(problem) {
            check(document, schema, &reply.json, "", &mut wrong);
        }
        return wrong;
    };
    let responses = &operation["responses"];
    let status = reply.status.to_string();
    let described = match responses.get(&status) {
        Some(described) => described,
        None if reply.status >= 400 => &responses["default"],
        None => return vec![format!("status {status} is not described")],
    };
    let Some(contents) = described.get("content").and_then(Value::as_object) else {
        if !reply.json.is_null() {
            wrong.push("it has a body, and none is described".to_owned());
        }
        return wrong;
    };
    let kind = reply.header("content-type").split(';').next().unwrap_or_default().trim();
    match contents.get(kind) {
        None => wrong.push(format!("its content is `{kind}`, which is not described")),
        Some(content) if kind.ends_with("json") => {
            check(document, &content["schema"], &reply.json, "", &mut wrong);
        }
        Some(_) => {}
    }
    for (name, _) in described.get("headers").and_then(Value::as_object).into_iter().flatten() {
        if reply.header(name).is_empty() {
            wrong.push(format!("the header `{name}` is not there"));
        }
    }
    wrong
}

/// What is said of the path that this one is; one without variables goes first.
fn template<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    let fits = |template: &str| {
        let (mut wanted, mut given) = (template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) if wanted == given || wanted.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    let fitting = document["paths"].as_object()?.iter().filter(|(template, _)| fits(template));
    Some(fitting.min_by_key(|(template, _)| template.matches('{').count())?.1)
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let before = wrong.len();
    fits(document, schema, value, at, wrong);
    if let Value::Object(members) = value
        && wrong.len() == before
        && let Some(known) = known(document, schema)
    {
        for name in members.keys().filter(|name| !known.contains_key(name.as_str())) {
            wrong.push(format!("`{at}/{name}` is not described"));
        }
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return schema };
    let target = document.pointer(reference.trim_start_matches('#'));
    target.unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// The members that an object of this schema may have; none if any may be there.
fn known<'a>(document: &'a Value, schema: &'a Value) -> Option<Map<String, Value>> {
    let schema = resolved(document, schema);
    let mut known = schema.get("properties").and_then(Value::as_object).cloned();
    for part in parts(schema, "allOf").chain(parts(schema, "oneOf")).chain(parts(schema, "anyOf")) {
        if let Some(more) = self::known(document, part) {
            known.get_or_insert_default().extend(more);
        }
    }
    if schema.get("additionalProperties").is_some() { None } else { known }
}

fn parts<'a>(schema: &'a Value, of: &str) -> impl Iterator<Item = &'a Value> {
    schema.get(of).and_then(Value::as_array).into_iter().flatten()
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the document has a type `{other}`"),
    }
}

fn fits(document: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let schema = resolved(document, schema);
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is_a(value, kind)) {
        wrong.push(format!("`{at}` is {value}, not {kinds:?}"));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        wrong.push(format!("`{at}` is {value}, not one of {allowed:?}"));
    }
    for part in parts(schema, "allOf") {
        fits(document, part, value, at, wrong);
    }
    for choice in ["oneOf", "anyOf"] {
        let mut each = parts(schema, choice).peekable();
        let fits_one = |part: &Value| {
            let mut mistakes = Vec::new();
            fits(document, part, value, at, &mut mistakes);
            mistakes.is_empty()
        };
        if each.peek().is_some() && !each.any(fits_one) {
            wrong.push(format!("`{at}` is {value}, none of what it may be"));
        }
    }
    measure(schema, value, at, wrong);
    match value {
        Value::Object(members) => {
            for name in parts(schema, "required").filter_map(Value::as_str) {
                if !members.contains_key(name) {
                    wrong.push(format!("`{at}/{name}` is missing"));
                }
            }
            for (name, member) in members {
                let described = schema.pointer(&format!("/properties/{name}"));
                let described = described.or_else(|| schema.get("additionalProperties"));
                if let Some(described) = described.filter(|described| described.is_object()) {
                    check(document, described, member, &format!("{at}/{name}"), wrong);
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                if let Some(described) = schema.get("items").filter(|items| items.is_object()) {
                    check(document, described, item, &format!("{at}/{i}"), wrong);
                }
            }
        }
        _ => {}
    }
}

fn measure(schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    if let Some(number) = value.as_f64() {
        let low = limit("minimum").is_some_and(|least| number < least);
        if low || limit("maximum").is_some_and(|most| number > most) {
            wrong.push(format!("`{at}` is {number}, out of its range"));
        }
    }
    if let (Some(text), Some(most)) = (value.as_str(), limit("maxLength")) {
        let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        if f64::from(length) > most {
            wrong.push(format!("`{at}` is longer than {most} characters"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mistakes(status: u16, kind: &str, json: Value) -> String {
        let document = json!({
            "paths": {"/v1/things/{id}": {"get": {"responses": {
                "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
                "default": {"content": {"application/problem+json": {"schema": {"type": "object"}}}},
            }}}},
            "components": {"schemas": {"Thing": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string", "maxLength": 3},
                    "at": {"type": ["integer", "null"], "minimum": 1},
                    "more": {"oneOf": [{"type": "null"}, {"type": "array", "items": {"enum": ["a", "b"]}}]},
                },
            }}},
        });
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        let reply = Reply { status, headers, json, text: String::new(), body: Vec::new() };
        wrong(&document, "GET", "/v1/things/7", &reply).join("; ")
    }

    #[test]
    fn an_answer_that_is_not_as_described_is_found_out() {
        let json_ = "application/json";
        assert_eq!(mistakes(200, json_, json!({"id": "x", "at": null, "more": ["a"]})), "");
        assert_eq!(mistakes(404, "application/problem+json", json!({})), "");
        for (status, kind, json, said) in [
            (200, json_, json!({}), "`/id` is missing"),
            (200, json_, json!({"id": 1}), "not [\"string\"]"),
            (200, json_, json!({"id": "abcd"}), "longer than 3"),
            (200, json_, json!({"id": "x", "at": 0}), "out of its range"),
            (200, json_, json!({"id": "x", "more": ["c"]}), "none of what it may be"),
            (200, json_, json!({"id": "x", "secret": 1}), "`/secret` is not described"),
            (200, "text/html", json!({"id": "x"}), "its content is `text/html`"),
            (204, json_, json!(null), "status 204 is not described"),
            (500, json_, json!({}), "its content is `application/json`"),
        ] {
            let found = mistakes(status, kind, json);
            assert!(found.contains(said), "`{said}` is not in `{found}`");
        }
    }
}
