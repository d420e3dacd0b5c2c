//! The command line as a client of a server: the README's quick start, and each command with what
//! it shows, what it says when it is refused, and how it ends.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use cofferdam_tests::{
    Place, Served, Server,
    client::{Ended, alone, ask, guest, offline},
    guests,
    jobs::ENDLESS,
    program, repository,
};
/// The commands of the README's quick start: what stands in each of its blocks.
fn quick_start() -> Vec<String> {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let part = readme.split("\n## ").find(|part| part.starts_with("Quick start: a server\n"));
    let blocks = part.unwrap().split("```\n").skip(1).step_by(2);
    blocks.map(str::to_owned).collect()
}

#[test]
fn the_quick_start_of_the_readme_does_what_it_says() {
    let place = Place::new();
    let [serve, commands] = quick_start().try_into().unwrap();
    // A clone in which operators were built, and the program is found.
    for name in ["bin", "target"] {
        fs::create_dir(place.path(name)).unwrap();
    }
    symlink(program().get_program(), place.path("bin/cofferdam")).unwrap();
    symlink(guests(), place.path("target/guests")).unwrap();
    symlink(repository().join("examples"), place.path("examples")).unwrap();
    let path = format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap());
    let shell = |script: &str| {
        let mut command = alone(&place);
        let mut shell = Command::new("sh");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.current_dir(place.path("")).env("PATH", &path).args(["-ec", script]);
        command.stdin(Stdio::null());
        shell
    };
    // The one thing that is other than there: a port that is free here.
    let serve = format!("exec {} --listen 127.0.0.1:0", serve.trim());
    let served = Served::begin(shell(&serve), &place.path("data"));
    assert!(commands.contains("http://127.0.0.1:8080"), "{commands}");
    let commands = commands.replace("127.0.0.1:8080", served.address());
    let shown = Ended::of(shell(&commands)).well();
    for said in
        ["anomaly ", "window-stats ", "with the program", "`sensors` is running", "readings"]
    {
        assert!(shown.contains(said), "`{said}` is not in {shown}");
    }
    let jobs = served.ask("GET", "/v1/jobs", b"").expect(200).json;
    assert_eq!(jobs["jobs"][0]["name"], "sensors");
    assert_eq!(jobs["jobs"][0]["state"], "stopped", "{shown}");
    let id = jobs["jobs"][0]["id"].as_str().unwrap();
    let job = served.ask("GET", &format!("/v1/jobs/{id}"), b"").expect(200).json;
    assert!(shown.contains(job["savepoint"].as_str().unwrap()), "{shown}");
}

#[test]
fn operators_are_pushed_listed_inspected_tagged_and_deleted() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    let ask = |arguments: &[&str]| ask(&place, &served, arguments);
    let identity = guest("identity");
    let pushed = ask(&["operator", "push", &identity, "--json"]).json();
    let version = pushed["version"].as_str().unwrap().to_owned();
    assert_eq!((version.len(), &pushed["name"]), (12, &"identity".into()));
    let found = served.ask("GET", &format!("/v1/artifacts/identity/versions/{version}"), b"");
    assert_eq!(found.expect(200).json, pushed, "the server's answer as it is");
    let again = ask(&["operator", "push", &identity]).well();
    assert!(again.starts_with("it was there already: identity@"), "{again}");
    let second = ["--name", "copy", "--version", "1.0.0", "--tag", "stable"];
    let second = [["operator", "push", &identity].as_slice(), &second].concat();
    let shown = ask(&second).well();
    assert!(shown.starts_with("pushed copy@1.0.0 ("), "{shown}");

    let listed = ask(&["operator", "list"]).well();
    let lines: Vec<Vec<&str>> =
        listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "VERSION", "TAGS", "KIND", "UPLOADED", "SIZE"]);
    assert_eq!(lines[1][..4], ["copy", "1.0.0", "stable", "processor"]);
    assert_eq!(lines[2][..4], ["identity", version.as_str(), "-", "processor"]);
    let inspected = ask(&["operator", "inspect", "copy@stable"]).well();
    assert!(inspected.contains("copy@1.0.0\n"), "{inspected}");
    assert!(inspected.contains(pushed["digest"].as_str().unwrap()), "{inspected}");
    let tagged = ask(&["operator", "tag", "copy@1.0.0", "latest"]).well();
    assert_eq!(tagged, "copy@latest is copy@1.0.0\n");
    let both = ask(&["operator", "inspect", "copy", "--json"]).json();
    assert_eq!(both["tags"]["latest"], "1.0.0");
    assert_eq!(ask(&["operator", "rm", "copy@1.0.0"]).well(), "deleted copy@1.0.0\n");

    ask(&["operator", "rm", "copy@1.0.0", "--force"])
        .refused(2, &["error: ", "no version `1.0.0`"]);
    ask(&["operator", "rm", "identity"]).refused(2, &["NAME@VERSION"]);
    place.write("no.wasm", "this is no component");
    let no_component = ask(&["operator", "push", "no.wasm"]);
    no_component.refused(2, &["error: "]);
    let elsewhere = ask(&["operator", "inspect", "identity", "--tenant", "acme"]);
    elsewhere.refused(2, &["identity", "--tenant says whose is meant"]);
}

#[test]
fn a_job_is_submitted_shown_stopped_and_cancelled() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    let ask = |arguments: &[&str]| ask(&place, &served, arguments);
    served.push("default", "identity", "1");
    place.write("job.toml", ENDLESS);
    let other = ["job", "submit", "job.toml", "--name", "other", "--set", "out.path=other.txt"];
    let submitted = ask(&[other.as_slice(), &["--wait", "--json"]].concat()).json();
    assert_eq!((&submitted["name"], &submitted["state"]), (&"other".into(), &"running".into()));
    let id = submitted["id"].as_str().unwrap();
    let shown = ask(&["job", "submit", "job.toml", "--wait"]).well();
    assert!(shown.ends_with(" `endless` is running\n"), "{shown}");

    // By name, by identifier, and by the beginning of that.
    for named in ["other", id, &id[..8]] {
        assert_eq!(ask(&["job", "show", named, "--json"]).json()["id"], id);
    }
    let shown = ask(&["job", "show", "other"]).well();
    for said in [id, "running", "numbers", "identity@1", "completed"] {
        assert!(shown.contains(said), "`{said}` is not in {shown}");
    }
    let listed = ask(&["job", "list", "--state", "running"]).well();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.contains(&id[..12]), "{listed}");
    let page = ask(&["job", "list", "--limit", "1"]);
    assert!(page.said.contains("there are more: --after "), "{}", page.said);

    let stopped = ask(&["job", "stop", "other"]).well();
    let job = served.ask("GET", &format!("/v1/jobs/{id}"), b"").expect(200).json;
    assert_eq!(job["state"], "stopped");
    assert!(stopped.contains(job["savepoint"].as_str().unwrap()), "{stopped}");
    // What does not go as things are is told from what is wrong.
    ask(&["job", "stop", "other"]).refused(1, &["is stopped"]);
    ask(&["job", "cancel", "nothing"]).refused(2, &["no job `nothing`", "job list"]);
    let cancelled = ask(&["job", "cancel", "endless", "--json"]).json();
    let path = format!("/v1/jobs/{}", cancelled["id"].as_str().unwrap());
    let _ = served.until(&path, "cancelled", |job| job["state"] == "cancelled");
}

#[test]
fn mistakes_of_a_job_file_are_shown_as_if_it_had_been_read_here() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    place.write("job.toml", ENDLESS.replace("rate = 2_000", "rat = 2_000"));
    let set = ["--set", "job.paralelism=2"];
    let submitted =
        ask(&place, &served, &[["job", "submit", "job.toml"].as_slice(), &set].concat());
    submitted
        .refused(2, &["--> job.toml:11:1", "did you mean `rate`?", "--> --set job.paralelism=2"]);
    let missing = ask(&place, &served, &["job", "submit", "none.toml"]);
    missing.refused(2, &["cannot read the job file none.toml"]);
}

#[test]
fn tokens_are_made_used_and_revoked() {
    let place = Place::new();
    let data = place.path("data");
    fs::create_dir_all(&data).unwrap();
    place.write("data/tenants.toml", "[tenant.acme]\n");
    let served = Served::start(&data, &[]);
    let admin = |arguments: &[&str]| ask(&place, &served, arguments);
    let create = ["token", "create", "ci", "--role", "viewer", "--expires", "1h"];
    admin(&create).refused(2, &["--tenant NAME"]);
    let made = admin(&[create.as_slice(), &["--tenant", "acme"]].concat());
    assert!(made.said.contains("viewer of tenant `acme`, until "), "{}", made.said);
    let token = made.well();
    assert!(token.starts_with("cfd_") && token.lines().count() == 1, "{token}");
    place.write("ci.token", &token);
    let viewer = |arguments: &[&str]| {
        let mut command = alone(&place);
        command.env("COFFERDAM_SERVER", format!("http://{}", served.address()));
        command.env("COFFERDAM_TOKEN_FILE", "ci.token").args(arguments);
        Ended::of(command)
    };
    assert_eq!(viewer(&["job", "list"]).well().lines().count(), 1);
    viewer(&["operator", "push", &guest("identity")]).refused(2, &["viewer", "token create"]);
    let listed = admin(&["token", "list", "--json"]).json();
    let all = listed["tokens"].as_array().unwrap();
    let ci = all.iter().find(|token| token["name"] == "ci").unwrap();
    assert_eq!((&ci["role"], &ci["tenant"]), (&"viewer".into(), &"acme".into()));
    assert!(ci["expires_at"].as_i64().unwrap() > ci["created_at"].as_i64().unwrap());
    let _ = admin(&["token", "revoke", ci["id"].as_str().unwrap()]).well();
    viewer(&["job", "list"]).refused(2, &["opens nothing", "--token-file"]);
    let listed = admin(&["token", "list"]).well();
    assert!(
        listed.lines().any(|line| line.contains("revoked") && line.ends_with("ci")),
        "{listed}"
    );
}

#[test]
fn a_profile_names_a_server_and_keeps_its_token_to_itself() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    let server = format!("http://{}", served.address());
    let add = ["profile", "add", "here", "--server", &server, "--token-file", "data/admin-token"];
    assert!(offline(&place, &add).well().contains("it is used if nothing else is said"));
    assert_eq!(offline(&place, &["job", "list"]).well().lines().count(), 1);
    let add = ["profile", "add", "away", "--server", "http://127.0.0.1:1", "--token", "cfd_secret"];
    let _ = offline(&place, &add).well();
    let listed = offline(&place, &["profile", "list"]).well();
    assert!(listed.contains("* here") && !listed.contains("secret"), "{listed}");
    let listed = offline(&place, &["profile", "list", "--json"]).well();
    assert!(!listed.contains("secret"), "{listed}");
    let used = offline(&place, &["profile", "use", "away", "--json"]).json();
    assert_eq!((&used["done"], &used["current"]), (&"used".into(), &true.into()));
    offline(&place, &["job", "list"]).refused(5, &["http://127.0.0.1:1 cannot be reached"]);
    let _ = offline(&place, &["job", "list", "--profile", "here"]).well();
    // Another server is not given the token of this one.
    offline(&place, &["job", "list", "--server", &server.replace("127.0.0.1", "localhost")])
        .refused(2, &["needs a token"]);
    let _ = offline(&place, &["profile", "rm", "away"]).well();
    offline(&place, &["job", "list"]).refused(2, &["no server is named", "COFFERDAM_SERVER"]);
    offline(&place, &["profile", "use", "away"]).refused(2, &["no profile `away`", "here"]);
}

#[test]
fn a_command_with_two_ways_in_names_both_and_takes_either() {
    let place = Place::new();
    for command in ["show", "status", "stop"] {
        offline(&place, &["job", command]).refused(2, &["--state DIR", "--server URL"]);
    }
    let served = Served::start(&place.path("data"), &[]);
    ask(&place, &served, &["job", "show"]).refused(2, &["name a job", "--state DIR"]);
    // The directory that is named comes before the server of the environment.
    let state = place.path("state").display().to_string();
    ask(&place, &served, &["job", "show", "--state", &state]).refused(4, &["no job"]);
}

#[test]
fn a_server_with_tls_is_asked_if_its_certificate_is_trusted() {
    let place = Place::new();
    let server = Server::start_with_tls("127.0.0.1");
    place.write("ca.pem", server.certificate());
    let url = format!("https://127.0.0.1:{}", server.port());
    let list = ["token", "list", "--server", &url, "--token", "cfd_x"];
    offline(&place, &list).refused(5, &["certificate is not trusted", "--ca FILE"]);
    // It is talked to, and is no server of ours.
    let trusting = [list.as_slice(), &["--ca", "ca.pem"]].concat();
    offline(&place, &trusting).refused(5, &[&url, "what answers there is no HTTP"]);
    let plain = url.replace("https://", "http://");
    let plain = ["token", "list", "--server", &plain, "--token", "cfd_x"];
    offline(&place, &plain).refused(5, &["write https://"]);
    offline(&place, &[list.as_slice(), &["--ca", "none.pem"]].concat()).refused(2, &["none.pem"]);
}

#[test]
fn a_shell_completes_commands() {
    let place = Place::new();
    let script = offline(&place, &["completions", "bash"]).well();
    place.write("complete.bash", script);
    let mut bash = Command::new("bash");
    bash.current_dir(place.path("")).args([
        "-ec",
        "source complete.bash; COMP_WORDS=(cofferdam job su); COMP_CWORD=2; \
         _cofferdam cofferdam su job; echo \"${COMPREPLY[@]}\"",
    ]);
    assert_eq!(Ended::of(bash).well(), "submit\n");
}
