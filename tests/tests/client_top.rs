//! `cofferdam top` and `cofferdam dashboard`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::os::unix::fs::PermissionsExt as _;

use cofferdam_tests::{
    Place, Served,
    client::{Ended, alone, ask, offline},
    jobs::{COUNTING, DISCARDING},
};
use serde_json::Value;

#[test]
fn top_tells_what_jobs_did_between_two_looks() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme", "other"], "");
    served.push("acme", "count", "1");
    served.push("other", "identity", "1");
    let job = served.submit("acme", COUNTING);
    let ended = served.submit("other", DISCARDING);
    for job in [&job, &ended] {
        let _ = served.until_state(job, "running");
    }
    let _ = served.ask("POST", &format!("{ended}/cancel"), b"").expect(202);
    let _ = served.until_state(&ended, "cancelled");
    let _ = served.until(&job, "under way", |job| {
        job["status"]["checkpoints"]["completed"].as_u64() > Some(1)
    });
    let ask = |arguments: &[&str]| ask(&place, &served, arguments);
    let once = ["top", "--once", "--interval", "1s"];
    let seen = ask(&[once.as_slice(), &["--json"]].concat()).json();
    let jobs = seen["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 1, "{seen:#}");
    let counts = &jobs[0];
    assert_eq!((&counts["name"], &counts["tenant"]), (&"counts".into(), &"acme".into()));
    assert_eq!(counts["id"], job["/v1/jobs/".len()..]);
    // It brings in 5,000 a second; what is seen of that depends on when.
    let rate = |name: &str| counts[name].as_f64().unwrap_or(-1.0);
    for name in ["records_in_per_second", "records_out_per_second"] {
        assert!((500.0..20_000.0).contains(&rate(name)), "{name}: {seen:#}");
    }
    assert!((0.0..=2.0).contains(&rate("cpu")) && (0.0..=1.0).contains(&rate("busy")), "{seen:#}");
    assert!(rate("memory_bytes") > 0.0 && rate("checkpoints_completed") > 1.0, "{seen:#}");
    assert_eq!(seen["overview"]["jobs"]["running"], 1, "{seen:#}");

    let table = ask(&[once.as_slice(), &["--all", "--sort", "name"]].concat()).well();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].contains("1 cancelled, 1 running · slots 1 of "), "{table}");
    assert!(lines[2].contains("NAME▼") && lines[2].contains("IN/s"), "{table}");
    assert!(lines[3].contains("counts") && lines[4].contains("endless"), "{table}");
    assert!(lines[4].contains("cancelled"), "{table}");
    // A tenant sees its own.
    let token = served.token("other", "viewer");
    let mut theirs = alone(&place);
    theirs.env("COFFERDAM_SERVER", format!("http://{}", served.address()));
    theirs.env("COFFERDAM_TOKEN", token).args(["top", "--once", "--interval", "200ms", "--json"]);
    assert_eq!(Ended::of(theirs).json()["jobs"], Value::Array(Vec::new()));
    let of_other = ["top", "--once", "--interval", "200ms", "--tenant", "other", "--json"];
    assert_eq!(ask(&of_other).json()["jobs"], Value::Array(Vec::new()));
    ask(&["top", "--interval", "1ms"]).refused(2, &["200ms or longer"]);
    offline(&place, &["top", "--once", "--server", "http://127.0.0.1:1"])
        .refused(5, &["cannot be reached"]);
}

#[test]
fn the_dashboard_is_where_the_server_is_and_opens_in_the_browser_that_is_named() {
    let place = Place::new();
    let dashboard = |more: &[&'static str]| {
        let at = ["dashboard", "--server", "https://streams.example/at"];
        [at.as_slice(), more].concat()
    };
    let said = offline(&place, &dashboard(&[])).well();
    assert_eq!(said, "https://streams.example/at/console\n");
    assert_eq!(offline(&place, &dashboard(&["--json"])).json()["address"], said.trim());
    let browser = place.path("browser");
    place.write("browser", "#!/bin/sh\necho \"$@\" > opened\n");
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut open = alone(&place);
    open.env("BROWSER", &browser).args(dashboard(&["--open", "--token", "cfd_secret"]));
    let _ = Ended::of(open).well();
    // The token is in no address.
    assert_eq!(std::fs::read_to_string(place.path("opened")).unwrap(), said);
    let mut none = alone(&place);
    none.env("BROWSER", "none-of-that-name").env("PATH", place.path("empty"));
    none.args(dashboard(&["--open"]));
    Ended::of(none).refused(2, &["no browser was found", "BROWSER"]);
}
