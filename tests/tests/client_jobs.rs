//! The command line as a client of a server, what is asked of jobs and of the server as a whole:
//! another parallelism, checkpoints, savepoints, why a job failed, slots, tenants, usage. What is
//! asked of a job of this machine by the same commands is in `savepoints`, `checkpoints` and
//! `tenants`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::fs;

use cofferdam_tests::{
    Place, Served,
    client::{Ended, alone, ask, guest, offline},
    jobs::{CRASHING, DISCARDING, crashing_records},
    program,
};

/// The cells of a table, row by row, without its header.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn a_job_is_rescaled_and_restarted_and_forgotten() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    served.push("default", "identity", "1");
    let job = served.submit("default", DISCARDING);
    let _ = served.until_state(&job, "running");
    let ask = |arguments: &[&str]| ask(&place, &served, arguments);
    let parallelism = || {
        let vertices = served.ask("GET", &format!("{job}/vertices/copied"), b"").expect(200).json;
        vertices["parallelism"].as_u64().unwrap()
    };
    let rescaled = ask(&["job", "rescale", "endless", "3"]).well();
    assert!(
        rescaled.starts_with("it runs with the new parallelism, from checkpoint "),
        "{rescaled}"
    );
    let _ = served.until_state(&job, "running");
    assert_eq!(parallelism(), 3);
    let one = ["job", "rescale", "endless", "2", "--operator", "copied", "--json"];
    assert!(ask(&one).json()["pause_millis"].is_u64());
    assert_eq!(parallelism(), 2);
    let limited = ask(&["job", "limits", "endless", "copied", "--memory", "64MiB"]).well();
    assert!(limited.starts_with("it runs with the new limits, from checkpoint "), "{limited}");
    ask(&["job", "limits", "endless", "copied"]).refused(2, &["--memory", "--cpu-cap"]);
    ask(&["job", "limits", "endless", "copied", "--deadline", "soon"]).refused(2, &["deadline"]);
    ask(&["job", "rescale", "3"]).refused(2, &["name a job", "--state DIR"]);
    ask(&["job", "rescale", "endless", "none"]).refused(2, &["PARALLELISM"]);
    ask(&["job", "rescale", "endless", "2", "--operator", "nobody"]).refused(2, &["nobody"]);
    ask(&["job", "rescale", "endless", "2", "--state", "state"]).refused(2, &["--state"]);

    ask(&["job", "restart", "endless"]).refused(1, &["error: "]);
    ask(&["job", "rm", "endless"]).refused(1, &["has not ended"]);
    let named = ["job", "stop", "endless", "--savepoint", "last", "--json"];
    assert_eq!(ask(&named).json()["savepoint"], "last");
    // The answer may have been lost: the same again is the same.
    assert_eq!(ask(&named).json()["savepoint"], "last");
    let restarted = ask(&["job", "restart", "endless"]).well();
    assert!(restarted.starts_with("job ") && restarted.contains(" `endless` is "), "{restarted}");
    let _ = served.until_state(&job, "running");
    let _ = ask(&["job", "cancel", "endless"]).well();
    let _ = served.until_state(&job, "cancelled");
    assert!(ask(&["job", "rm", "endless"]).well().starts_with("forgot job "));
    ask(&["job", "show", "endless"]).refused(2, &["no job `endless`"]);
}

#[test]
fn checkpoints_are_triggered_listed_and_shown() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    served.push("default", "identity", "1");
    let job = served.submit("default", DISCARDING);
    let _ = served.until_state(&job, "running");
    let ask = |arguments: &[&str]| ask(&place, &served, arguments);
    ask(&["checkpoint", "show", "endless"]).refused(2, &["no checkpoint yet"]);
    assert_eq!(rows(&ask(&["checkpoint", "list", "endless"]).well())[0][..2], ["0", "completed,"]);
    let first = ask(&["checkpoint", "trigger", "endless"]).well();
    assert!(first.starts_with("checkpoint 1: "), "{first}");
    let second = ask(&["checkpoint", "trigger", "endless", "--json"]).json();
    assert_eq!(second["id"], 2);
    let listed = ask(&["checkpoint", "list", "endless"]).well();
    let listed = rows(&listed);
    assert_eq!((listed[0][..2].to_vec(), listed[1][0]), (vec!["2", "manual"], "1"));
    assert_eq!(listed[0].last(), Some(&"completed"));
    let shown = ask(&["checkpoint", "show", "endless"]).well();
    assert!(shown.starts_with("checkpoint  2\n"), "{shown}");
    let operator = shown.lines().find(|line| line.starts_with("copied ")).unwrap();
    let digest = served.ask("GET", "/v1/artifacts/identity/versions/1", b"").expect(200).json;
    let digest = &digest["digest"].as_str().unwrap()["sha256-".len()..][..12];
    assert!(operator.contains(digest), "{operator}");
    let by_number = ask(&["checkpoint", "show", "endless", "1", "--json"]).json();
    assert_eq!((&by_number["id"], &by_number["history"]["id"]), (&1.into(), &1.into()));
    ask(&["checkpoint", "show", "endless", "7"]).refused(2, &["error: ", "7"]);
    ask(&["checkpoint", "show", "endless", "x"]).refused(2, &["it must be a number"]);
    // With a state directory what stands first is the number.
    let state = place.path("none").display().to_string();
    offline(&place, &["checkpoint", "show", "7", "--state", &state])
        .refused(2, &["no state directory"]);
    offline(&place, &["checkpoint", "show", "x", "--state", &state])
        .refused(2, &["must be a number"]);
    offline(&place, &["checkpoint", "show", "a", "7", "--state", &state])
        .refused(2, &["the number only"]);
}

#[test]
fn a_savepoint_is_taken_once_under_its_name_and_disposed_of() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    served.push("default", "identity", "1");
    let job = served.submit("default", DISCARDING);
    let _ = served.until_state(&job, "running");
    let ask = |arguments: &[&str]| ask(&place, &served, arguments);
    let take = ["savepoint", "take", "endless", "--name", "first"];
    let taken = ask(&take).well();
    assert!(taken.starts_with("savepoint first of job "), "{taken}");
    let shown = ask(&["savepoint", "show", "endless", "first", "--json"]).json();
    assert_eq!(shown["state"], "completed");
    let again = ask(&["savepoint", "trigger", "endless", "--name", "first", "--json"]).json();
    assert_eq!(again, shown, "the same one");
    let unnamed = ask(&["savepoint", "take", "endless", "--no-wait", "--json"]).json();
    let unnamed = unnamed["id"].as_str().unwrap();
    assert_eq!(unnamed.len(), 16);
    let path = format!("{job}/savepoints/{unnamed}");
    let _ = served.until_state(&path, "completed");
    let listed = ask(&["savepoint", "list", "endless"]).well();
    let mut names: Vec<_> = rows(&listed).iter().map(|row| row[0].to_owned()).collect();
    names.sort();
    let mut expected = vec!["first".to_owned(), unnamed.to_owned()];
    expected.sort();
    assert_eq!(names, expected, "{listed}");
    assert!(
        ask(&["savepoint", "show", "endless", "first"]).well().contains("state       completed")
    );
    assert!(ask(&["savepoint", "dispose", "endless", "first"]).well().starts_with("disposed of "));
    ask(&["savepoint", "show", "endless", "first"]).refused(2, &["first"]);
    ask(&["savepoint", "take", "endless", "--to", "file"]).refused(2, &["--to"]);
    ask(&["job", "stop", "endless", "--to", "file"]).refused(2, &["--to"]);

    let stopped = ask(&["savepoint", "take", "endless", "--stop", "--name", "last"]).well();
    assert!(stopped.contains("`endless` is stopped, with the savepoint last of"), "{stopped}");
    ask(&["savepoint", "take", "endless"]).refused(1, &["error: "]);
    place.write("job.toml", DISCARDING.replace("name = \"endless\"", "name = \"second\""));
    let begin = ["job", "submit", "job.toml", "--from-savepoint", "endless/last", "--json"];
    let begun = ask(&begin).json();
    assert_eq!(begun["from_savepoint"], format!("{}/last", &job["/v1/jobs/".len()..]));
    ask(&["job", "submit", "job.toml", "--from-savepoint", "last"]).refused(2, &["JOB/NAME"]);
}

#[test]
fn why_a_job_failed_is_shown_and_its_capsule_fetched_and_replayed() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    served.push("default", "fragile", "1");
    fs::write(served.home("default").join("in.jsonl"), crashing_records()).unwrap();
    let job = served.submit("default", CRASHING);
    let _ = served.until_state(&job, "failed");
    let ask = |arguments: &[&str]| ask(&place, &served, arguments);
    let shown = ask(&["job", "exceptions", "crashes"]).well();
    for said in
        ["it failed for good: ", "guest/0  ", "(fault: operator)", "    at ", "    capsule "]
    {
        assert!(shown.contains(said), "`{said}` is not in {shown}");
    }
    assert!(shown.contains("1 restarts since it was last started\n"), "{shown}");
    assert_eq!(ask(&["job", "exceptions", "crashes", "--json"]).json()["restarts"], 1);

    let listed = ask(&["capsule", "list", "crashes"]).well();
    let name = rows(&listed).last().unwrap()[0].to_owned();
    let got = ask(&["capsule", "get", "crashes", &name, "--to", "it.capsule", "--json"]).json();
    let bytes = fs::read(place.path("it.capsule")).unwrap();
    let path = format!("{job}/capsules/{name}");
    assert_eq!(bytes, served.ask("GET", &path, b"").expect(200).body);
    assert_eq!(got["bytes"], bytes.len());
    ask(&["capsule", "get", "crashes", &name, "--to", "it.capsule"]).refused(2, &["it.capsule"]);
    ask(&["capsule", "get", "crashes", "../admin-token"]).refused(2, &["error: "]);
    // The newest, under its own name.
    assert!(ask(&["capsule", "get", "crashes"]).well().contains("`cofferdam replay "));
    assert!(place.path(&name).is_file(), "{name}");
    let mut replay = program();
    replay.current_dir(place.path("")).args(["replay", "it.capsule", "--json", "--with"]);
    replay.arg(guest("fragile"));
    let replayed = Ended::of(replay);
    assert_eq!(replayed.code, Some(1), "{}", replayed.said);
}

#[test]
fn slots_are_listed_drained_and_restored() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme"], "[task_manager]\nslots = 2\n");
    served.push("acme", "identity", "1");
    let job = served.submit("acme", DISCARDING);
    let _ = served.until_state(&job, "running");
    let ask = |arguments: &[&str]| ask(&place, &served, arguments);
    let listed = ask(&["slot", "list"]).well();
    let all = rows(&listed);
    assert_eq!(all.len(), 2, "{listed}");
    let short = &job["/v1/jobs/".len()..][..12];
    let (held, free): (Vec<_>, Vec<_>) = all.iter().partition(|row| row[2] == short);
    assert_eq!((held[0][1], held[0][3], held[0][4]), ("good", "endless", "acme"));
    assert_eq!(free[0][1..], ["good", "-", "-", "-"]);
    let drained = ask(&["slot", "drain", held[0][0]]).well();
    let expected =
        format!("slot {} is drained; `copied/0` runs in slot {} now\n", held[0][0], free[0][0]);
    assert_eq!(drained, expected);
    assert_eq!(ask(&["slot", "list", "--json"]).json()["slots"][0]["slot"], 0);
    let restored = ask(&["slot", "restore", held[0][0]]).well();
    assert_eq!(restored, format!("slot {} is used again\n", held[0][0]));
    ask(&["slot", "drain", "99"]).refused(2, &["error: "]);
    offline(&place, &["slot", "list"]).refused(2, &["--state DIR", "--server URL"]);
}

#[test]
fn tenants_of_a_server_are_made_changed_shown_and_deleted() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    let ask = |arguments: &[&str]| ask(&place, &served, arguments);
    let create = ["tenant", "create", "acme", "--slots", "4", "--memory", "1GiB"];
    let created = ask(&create).well();
    assert!(
        created.starts_with(&format!("created at http://{}:\ntenant acme\n", served.address()))
    );
    assert!(created.contains("  memory             1GiB\n"), "{created}");
    ask(&create).refused(1, &["tenant `acme`", "already"]);
    // What is not named stays.
    let set = ["tenant", "set", "acme", "--slots", "none", "--cpu-cap", "150%", "--json"];
    let changed = ask(&set).json();
    assert_eq!(
        (&changed["slots"], &changed["memory"]),
        (&serde_json::Value::Null, &(1 << 30).into())
    );
    assert_eq!(changed["cpu_cap_percent"], 150.0);
    let shown = ask(&["tenant", "show", "acme"]).well();
    assert!(shown.contains("  cpu_cap            150%\n") && !shown.contains("slots"), "{shown}");
    let listed = ask(&["tenant", "list"]).well();
    assert_eq!(rows(&listed).iter().map(|row| row[0]).collect::<Vec<_>>(), ["acme", "default"]);
    ask(&["tenant", "set", "acme"]).refused(2, &["nothing is to be set"]);
    ask(&["tenant", "set", "nobody", "--slots", "1"]).refused(2, &["nobody"]);
    ask(&["tenant", "show", "nobody"]).refused(2, &["nobody"]);
    // A directory that is named comes before the server of the environment, and that before one.
    let here = ["tenant", "list", "--data", "elsewhere"];
    assert_eq!(rows(&ask(&here).well()).len(), 1);
    let mut both = alone(&place);
    both.env("COFFERDAM_SERVER", format!("http://{}", served.address()));
    both.env("COFFERDAM_TOKEN", &served.token).env("COFFERDAM_DATA", place.path("elsewhere"));
    both.args(["tenant", "list"]);
    assert_eq!(rows(&Ended::of(both).well()).len(), 2);
    ask(&["tenant", "list", "--data", "x", "--profile", "y"]).refused(2, &["--data"]);
    let acme = served.token("acme", "admin");
    let of_acme = |arguments: &[&str]| {
        let mut command = alone(&place);
        command.env("COFFERDAM_SERVER", format!("http://{}", served.address()));
        command.env("COFFERDAM_TOKEN", &acme).args(arguments);
        Ended::of(command)
    };
    assert_eq!(rows(&of_acme(&["tenant", "list"]).well()).len(), 1);
    of_acme(&["tenant", "set", "acme", "--slots", "9"]).refused(2, &["for every tenant"]);
    assert!(ask(&["tenant", "delete", "acme"]).well().starts_with("deleted tenant `acme`"));
}

#[test]
fn what_was_used_is_shown_as_a_table_csv_and_json() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme"], "");
    served.push("acme", "identity", "1");
    let job = served.submit("acme", DISCARDING);
    let _ = served.until(&job, "under way", |job| {
        job["status"]["vertices"][0]["records_out"].as_u64() > Some(100)
    });
    let _ = served.ask("POST", &format!("{job}/cancel"), b"").expect(202);
    let _ = served.until_state(&job, "cancelled");
    let ask = |arguments: &[&str]| ask(&place, &served, arguments);
    let used = served.until("/v1/usage?by=operator", "written down", |usage| {
        usage["usage"].as_array().is_some_and(|all| all.len() >= 2)
    });
    assert_eq!(ask(&["usage", "--by", "operator", "--json"]).json(), used);
    let table = ask(&["usage", "acme", "--by", "operator"]).well();
    let copied = table.lines().find(|line| line.contains("copied")).unwrap();
    assert!(copied.starts_with("acme"), "{table}");
    // The same rows as where the records are.
    let data = place.path("data").display().to_string();
    let by_hand = ["usage", "acme", "--by", "job", "--format", "csv", "--data", &data];
    let there = ask(&["usage", "acme", "--by", "job", "--format", "csv"]).well();
    assert!(there.starts_with("tenant,job,cpu_seconds"), "{there}");
    assert_eq!(there, ask(&by_hand).well());
    assert_eq!(
        ask(&["tenant", "usage", "--since", "1h", "--format", "json"]).json()["usage"][0]["tenant"],
        "acme"
    );
    ask(&["usage", "--since", "sometime"]).refused(2, &["must be a date"]);
    // One that is deleted may have used something: it is asked for like any other.
    assert_eq!(rows(&ask(&["usage", "nobody"]).well()).len(), 0);
}
