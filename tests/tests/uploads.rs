//! What may be uploaded beside components, and what is told of an upload.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::fs;

use cofferdam_tests::{Place, Served, guests, zoo::Guest};
use serde_json::json;

fn serve(place: &Place) -> Served {
    fs::create_dir_all(place.path("data")).unwrap();
    place.write("data/tenants.toml", "[tenant.acme]\n");
    Served::start(&place.path("data"), &[])
}

fn path(name: &str, version: &str) -> String {
    format!("/v1/artifacts/{name}/versions/{version}?tenant=acme")
}

#[test]
fn a_core_module_of_wit_bindgen_becomes_a_component_and_runs() {
    let place = Place::new();
    let served = serve(&place);
    let module = Guest::default().core();
    let made = served.ask("PUT", &path("plain", "1"), &module).expect(201);
    assert_eq!(made.json["inspection"]["kind"], "processor");
    let (digest, of) = (&made.json["digest"], &made.json["inspection"]["made_of"]);
    assert!(digest.is_string() && of.is_string() && digest != of, "{:#}", made.json);
    assert_eq!(made.header("etag"), format!("\"{}\"", digest.as_str().unwrap()));
    // The same module again is the same version; so is the component of it.
    let again = served.ask("PUT", &path("plain", "1"), &module).expect(200);
    assert_eq!(&again.json["digest"], digest);
    let component = Guest::default().build();
    let same = served.ask("PUT", &path("plain", "1"), &component).expect(200);
    assert_eq!(&same.json["digest"], digest);
    let other = Guest::processing("unreachable").core();
    served.ask("PUT", &path("plain", "1"), &other).is_problem(409, "conflict", "other bytes");
    // It runs.
    let tried = "/v1/artifacts/plain/versions/1/try?tenant=acme";
    let seen = served.ask("POST", tried, br#"{"records": [{"value": "x"}]}"#).expect(200).json;
    assert_eq!((&seen["ended"], &seen["outputs"]), (&json!("finished"), &json!([])), "{seen:#}");
    // One whose exports are not what it says is refused, in the compiler's child.
    let lies = Guest { world: "stateful-operator".into(), ..Guest::default() }.core();
    let reply = served.ask("PUT", &path("lies", "1"), &lies);
    reply.is_problem(422, "artifact-refused", "no component can be made of the core module");
    // And one that says nothing, with what to do.
    let silent = b"\0asm\x01\0\0\0";
    let reply = served.ask("PUT", &path("silent", "1"), silent);
    reply.is_problem(422, "artifact-refused", "wasm-tools component embed");
    assert_eq!(fs::read_dir(place.path("data/artifacts")).unwrap().count(), 1);
}

#[test]
fn what_a_component_says_it_was_made_with_is_told() {
    let place = Place::new();
    let served = serve(&place);
    let bytes = fs::read(guests().join("filter.wasm")).unwrap();
    let made = served.ask("PUT", &path("filter", "1"), &bytes).expect(201).json;
    let inspection = &made["inspection"];
    let has = |list: &str, part: &str| {
        let all = inspection[list].as_array().unwrap();
        all.iter().any(|text| text.as_str().unwrap().contains(part))
    };
    assert!(has("languages", "Rust"), "{inspection:#}");
    assert!(has("processed_by", "rustc") && has("processed_by", "wit-component"), "{inspection:#}");
    assert_eq!(inspection["made_of"], json!(null));
}
