//! The OpenAPI document that `cofferdam serve` answers. That the answers are what it says is
//! looked at with every answer of every test: `Served` holds them to it.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam::http::Routes;
use cofferdam_tests::{Place, Served};

#[test]
fn the_document_is_served_to_who_has_a_token_and_names_every_route() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    let path = "/v1/openapi.json";
    served.ask_with("", "GET", path, b"").is_problem(401, "unauthorized", "token");
    served.ask("GET", &format!("{path}?x=1"), b"").is_problem(400, "invalid-request", "`x`");
    let document = served.ask("GET", path, b"").expect(200).json;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (method, path) in Routes::all().listed {
        let operation = &document["paths"][path][method.as_str().to_lowercase()];
        assert!(operation.is_object(), "{method} {path}");
        let open = ["/healthz", "/readyz"].contains(&path);
        assert_eq!(operation["security"].as_array().unwrap().is_empty(), open, "{method} {path}");
        let problems = &operation["responses"]["default"]["content"];
        assert!(problems["application/problem+json"].is_object(), "{method} {path}");
    }
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    // The door and the router answer problems too, which are described.
    served.ask("GET", "/v1/nothing", b"").is_problem(404, "not-found", "nothing here");
    served.ask("PATCH", "/v1/jobs", b"").is_problem(405, "method-not-allowed", "allow");
}
