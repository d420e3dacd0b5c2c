//! From an operator's folder to a server: `operator push`, `inspect` and `bench` take the project that
//! they are run in.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fs, path::Path, process::Command};

use cofferdam_tests::{
    Place, Served,
    authoring::{has, path, project, said},
    client::{Ended, alone, ask, guest},
    guests,
};

/// A command in a project's folder, with a server in its environment.
fn within(place: &Place, served: &Served, dir: &Path, arguments: &[&str]) -> Ended {
    let mut command: Command = alone(place);
    command.env("COFFERDAM_SERVER", format!("http://{}", served.address()));
    command.env("COFFERDAM_TOKEN", &served.token).env("COFFERDAM_ARTIFACTS", guests());
    command.env("PATH", path()).args(arguments).current_dir(dir);
    Ended::of(command)
}

#[test]
fn a_project_is_inspected_and_pushed_from_its_folder_under_its_name_and_version() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    let dir = project(&place.path(""), "expr", "map");
    let here = |arguments: &[&str]| within(&place, &served, &dir, arguments);

    for command in ["push", "inspect", "bench"] {
        let early = here(&["operator", command, "--no-build"]);
        early.refused(2, &["there is no ./build/map.wasm: `cofferdam operator build` makes it"]);
    }
    let inspected = here(&["operator", "inspect"]).well();
    assert!(inspected.contains("build/map.wasm") && inspected.contains("kind "), "{inspected}");
    let pushed = here(&["operator", "push"]).well();
    assert!(pushed.starts_with("pushed map@0.1.0 ("), "{pushed}");
    let again = here(&["operator", "push", "--no-build"]).well();
    assert!(again.starts_with("it was there already: map@0.1.0"), "{again}");
    // From elsewhere, with another name and version.
    let from = dir.display().to_string();
    let other = ["operator", "push", &from, "--no-build", "--name", "mine", "--version", "7"];
    assert!(ask(&place, &served, &other).well().starts_with("pushed mine@7 ("));
    let about = here(&["operator", "bench", "--no-build", "--seconds", "1"]).well();
    assert!(about.contains("ns a record"), "{about}");
}

#[test]
fn a_version_that_is_there_with_other_bytes_is_told_with_where_it_is_said() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    let dir = project(&place.path(""), "expr", "map");
    let identity = guest("identity");
    let first = ["operator", "push", &identity, "--name", "map", "--version", "0.1.0"];
    let _ = ask(&place, &served, &first).well();
    let taken = within(&place, &served, &dir, &["operator", "push"]);
    assert_eq!(taken.code, Some(1), "{}", taken.said);
    for part in ["with other bytes", "raise `version`", "--version VERSION"] {
        assert!(taken.said.contains(part), "{}", taken.said);
    }
    let about = fs::read_to_string(dir.join("operator.toml")).unwrap();
    fs::write(dir.join("operator.toml"), about.replace("\"0.1.0\"", "\"0.2.0\"")).unwrap();
    let pushed = within(&place, &served, &dir, &["operator", "push"]).well();
    assert!(pushed.starts_with("pushed map@0.2.0 ("), "{pushed}");
}

#[test]
fn a_folder_that_is_no_project_is_told() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    for command in ["push", "inspect"] {
        let none = within(&place, &served, &place.path(""), &["operator", command]);
        none.refused(2, &["there is no operator.toml", "operator new"]);
    }
}

#[test]
fn a_project_of_every_language_is_pushed_from_its_folder() {
    let languages = [
        ("rust", &["cargo"][..]),
        ("c", &["clang-22"]),
        ("cpp", &["clang++-22"]),
        ("zig", &["python-zig"]),
        ("go", &["go"]),
        ("javascript", &["componentize-qjs", "esbuild"]),
        ("typescript", &["componentize-qjs", "esbuild"]),
        ("python", &["componentize-py"]),
    ];
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    for (language, programs) in languages {
        if !has(programs) {
            continue;
        }
        let made = project(&place.path(""), language, "filter");
        let about = fs::read_to_string(made.join("operator.toml")).unwrap();
        let name = format!("filter-{language}");
        fs::write(
            made.join("operator.toml"),
            about.replace("name = \"filter\"", &format!("name = \"{name}\"")),
        )
        .unwrap();
        // What cargo calls the crate goes with it.
        let manifest = made.join("Cargo.toml");
        if let Ok(text) = fs::read_to_string(&manifest) {
            fs::write(&manifest, text.replace("name = \"filter\"", &format!("name = \"{name}\"")))
                .unwrap();
        }
        let pushed = within(&place, &served, &made, &["operator", "push"]).well();
        assert!(pushed.starts_with(&format!("pushed {name}@0.1.0 (")), "{language}: {pushed}");
        let inspected = ask(&place, &served, &["operator", "inspect", &name]);
        assert!(inspected.well().contains("0.1.0"), "{language}");
        fs::remove_dir_all(made).unwrap();
    }
}

#[test]
fn a_component_that_was_never_built_is_not_tried() {
    let place = Place::new();
    let dir = project(&place.path(""), "expr", "map");
    let ran = cofferdam_tests::authoring::operator(&dir, &["test", "--no-build"]);
    assert_eq!(ran.status.code(), Some(2), "{}", said(&ran));
    assert!(said(&ran).contains("`cofferdam operator build` makes it"), "{}", said(&ran));
}
