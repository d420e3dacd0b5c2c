//! The log of `cofferdam serve`: for programs, each line says of which request, tenant and job it
//! is.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::fs;

use cofferdam_tests::{Place, Served};
use serde_json::Value;

#[test]
fn a_line_says_of_which_request_tenant_job_and_operator_it_is() {
    let place = Place::new();
    fs::create_dir_all(place.path("data")).unwrap();
    place.write("data/tenants.toml", "[tenant.acme]\n");
    place.write("config.toml", "[log]\nformat = \"json\"\nlevel = \"info\"\n");
    let config = place.path("config.toml").display().to_string();
    let served = Served::start(&place.path("data"), &["--config", &config]);
    served.push("acme", "fragile-map", "1");
    let job = "[job]\nname = 'talks'\n[restart]\nstrategy = 'none'\n[[source]]\nname = 'in'\nconnector = 'generator'\n\
               records = 3\n[[operator]]\nname = 'breaks'\nartifact = 'fragile-map'\ninput = 'in'\n\
               [operator.config]\npoison = ['']\n[[sink]]\nname = 'out'\ninput = 'breaks'\nconnector = 'discard'\n";
    let made = served.ask("POST", "/v1/jobs?tenant=acme", job.as_bytes()).expect(201);
    let (id, request) = (made.json["id"].as_str().unwrap(), made.header("x-request-id"));
    let path = format!("/v1/jobs/{id}");
    let _ = served.until(&path, "failed", |job| job["state"] == "failed");
    let problem = served.ask("GET", "/v1/jobs/nonsense", b"").json;
    let said = served.terminate();
    let lines: Vec<Value> =
        said.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let find = |what: &str, is_it: &dyn Fn(&Value) -> bool| {
        let found = lines.iter().find(|line| is_it(line));
        found.unwrap_or_else(|| panic!("no line of {what} in {said:#?}")).clone()
    };
    let submitted = find("the submission", &|line| line["span"]["request_id"] == request);
    assert_eq!((&submitted["message"], &submitted["status"]), (&"answered".into(), &201.into()));
    assert_eq!(
        (&submitted["span"]["method"], &submitted["span"]["path"]),
        (&"POST".into(), &"/v1/jobs".into())
    );
    assert!(submitted["micros"].is_u64() && submitted["timestamp"].is_string(), "{submitted:#}");
    find("the problem", &|line| {
        line["span"]["request_id"] == problem["request_id"] && line["status"] == 404
    });
    let guest = find("the operator", &|line| line["target"] == "guest");
    assert_eq!((&guest["job"], &guest["tenant"]), (&id.into(), &"acme".into()), "{guest:#}");
    assert_eq!((&guest["operator"], &guest["subtask"]), (&"breaks".into(), &0.into()), "{guest:#}");
    let of_job = find("the job", &|line| line["span"]["job"] == id);
    assert_eq!(
        (&of_job["span"]["job_name"], &of_job["span"]["tenant"]),
        (&"talks".into(), &"acme".into())
    );
}
