//! Attacks by what is uploaded: refused with the reason before anything runs,
//! while the neighbour in the same process goes on. What is simply malformed
//! stands in `admission.rs`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{os::unix::fs::symlink, path::PathBuf, time::Duration};

use cofferdam::{
    clock::Stopwatch,
    config::job::Grant,
    failure::FailureKind,
    hardening::Mode,
    sandbox::{CompileLimits, Compiler, LoadError},
};
use cofferdam_tests::{
    Place,
    zoo::{Arena, Guest, batch, bombs, component, settings},
};

const ALL: [Grant; 4] = [Grant::Log, Grant::Config, Grant::Metrics, Grant::Wasi];

fn refusal(arena: &Arena, component: &[u8], grants: &[Grant]) -> String {
    arena.sandbox().load(component, grants).unwrap_err().to_string()
}

/// An operator that imports a function from an interface, and calls it.
fn importing(package: &str, version: &str, interface: &str, function: &str) -> Vec<u8> {
    let name = format!("{package}/{interface}@{version}");
    let guest = Guest {
        world: "importer".into(),
        wit: vec![
            format!("package {package}@{version}; interface {interface} {{ {function}: func(); }}"),
            format!(
                "package zoo:importer; world importer {{
                    import {name}; export cofferdam:operator/processor@0.1.0; }}"
            ),
        ],
        imports: format!("(import \"{name}\" \"{function}\" (func $f))"),
        ..Guest::processing("(call $f) (i32.const 16)")
    };
    guest.build()
}

#[tokio::test]
async fn what_was_not_granted_is_absent_and_named() {
    let mut arena = Arena::new(2).await;
    for (package, version, interface, hint) in [
        ("wasi:filesystem", "0.2.0", "types", "\"wasi-filesystem\""),
        ("wasi:filesystem", "0.2.0", "preopens", "\"wasi-filesystem\""),
        ("wasi:sockets", "0.2.0", "tcp", "outgoing HTTP at most"),
        ("wasi:sockets", "0.2.0", "ip-name-lookup", "outgoing HTTP at most"),
        ("wasi:http", "0.2.0", "outgoing-handler", "\"wasi-http\""),
        ("host:secrets", "1.0.0", "keys", "nothing of that name can be"),
    ] {
        let upload = importing(package, version, interface, "f");
        let name = format!("{package}/{interface}@{version}");
        for grants in [&[][..], &ALL] {
            let said = refusal(&arena, &upload, grants);
            assert!(said.contains(&format!("imports `{name}`, which is not granted")), "{said}");
            assert!(said.contains(hint), "{said}");
        }
    }
    for (interface, hint) in [
        ("clocks/wall-clock", "wasi-clocks"),
        ("random/random", "wasi-random"),
        ("cli/environment", "wasi-stdio"),
        ("io/poll", "wasi-clocks"),
    ] {
        let (package, interface) = interface.split_once('/').unwrap();
        let upload = importing(&format!("wasi:{package}"), "0.2.0", interface, "f");
        let said = refusal(&arena, &upload, &ALL[..3]);
        assert!(said.contains("which is not granted") && said.contains(hint), "{said}");
    }
    arena.neighbour_goes_on().await;
}

#[tokio::test]
async fn a_guest_that_sleeps_past_its_deadline_is_woken_by_it() {
    let an_hour = Guest::sleeping(3_600_000_000_000).build();
    let mut arena = Arena::new(2).await;
    let artifact = arena.sandbox().load(&an_hour, &[Grant::WasiClocks]).unwrap();
    let mut instance = artifact.instantiate(&settings("hostile")).await.unwrap();
    let clock = Stopwatch::start();
    let failure = instance.process(0, &batch(1)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::DeadlineExceeded, "{failure}");
    assert!(clock.elapsed() < Duration::from_secs(10), "{:?}", clock.elapsed());
    drop(instance);
    arena.neighbour_goes_on().await;
}

#[tokio::test]
async fn a_refusal_neither_floods_nor_steers_the_terminal() {
    let arena = Arena::new(2).await;
    let exports = |n: usize| {
        let names: String =
            (0..n).map(|i| format!("(export \"{}{i}\" (instance $i))", "a".repeat(500))).collect();
        component(&format!("(component (component $c) (instance $i (instantiate $c)) {names})"))
    };
    let said = refusal(&arena, &exports(900), &ALL);
    assert!(said.contains("892 more") && said.len() < 10_000, "{said}");
    // No tool writes a component with such a name; its bytes are changed by hand.
    let mut nasty = component("(component (component $c) (export \"zzzz\" (component $c)))");
    let at = nasty.windows(4).position(|w| w == b"zzzz").unwrap();
    nasty[at..at + 4].copy_from_slice(b"\x1b[2J");
    let said = refusal(&arena, &nasty, &ALL);
    assert!(said.contains("[2J") && !said.contains('\x1b'), "{said:?}");
}

#[tokio::test]
async fn what_is_no_file_is_not_read_to_its_end() {
    let place = Place::new();
    let job = "
[job]\nname = 'endless'\n[[source]]\nname = 'in'\nconnector = 'generator'\nrecords = 1
[[operator]]\nname = 'upload'\nartifact = './upload.wasm'\ninput = 'in'
[[sink]]\nname = 'out'\ninput = 'upload'\nconnector = 'discard'\n";
    symlink("/dev/zero", place.path("upload.wasm")).unwrap();
    place.run_job(job, &[]).failed(2, &["upload.wasm"]);
    std::fs::remove_file(place.path("upload.wasm")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(place.path("upload.wasm")).status();
    assert!(made.unwrap().success());
    place.run_job(job, &[]).failed(2, &["upload.wasm"]);
}

#[tokio::test]
async fn a_component_of_too_many_parts_is_refused_with_their_number() {
    let mut arena = Arena::new(2).await;
    for (what, fields) in [
        ("memor", "(memory 1)".repeat(10)),
        ("table", "(table 1 funcref)".repeat(20)),
        ("table", "(table 200000 funcref)".to_owned()),
    ] {
        let said = match arena.load(&Guest { fields, ..Guest::default() }) {
            Err(refused) => refused.to_string(),
            Ok(artifact) => {
                artifact.instantiate(&settings("hostile")).await.unwrap_err().to_string()
            }
        };
        assert!(said.contains(what) && said.contains("limit"), "{said}");
    }
    arena.neighbour_goes_on().await;
}

#[tokio::test]
async fn a_greedy_component_takes_no_slot_but_its_own() {
    let mut arena = Arena::new(4).await;
    let greedy = Guest {
        fields: "(memory 1) (memory 1) (memory 1) (table 9 funcref) (table 9 funcref)".into(),
        ..Guest::default()
    };
    let slot = settings("hostile");
    let one = arena.open(&greedy, &slot).await.unwrap();
    let two = arena.open(&greedy, &slot).await.unwrap();
    let last = arena.open(&greedy, &slot).await;
    assert!(last.is_ok(), "{:?}", last.err());
    arena.neighbour_goes_on().await;
    drop((one, two, last));
}

/// Little, so that the tests are quick.
fn tight() -> CompileLimits {
    CompileLimits { memory: 1 << 30, time: Duration::from_secs(4) }
}

#[tokio::test]
async fn what_is_compiled_in_a_child_runs_here() {
    let mut arena = Arena::compiling_within(tight()).await;
    arena.neighbour_goes_on().await;
}

#[tokio::test]
async fn compile_bombs_are_ended_with_the_limit_named() {
    let mut arena = Arena::compiling_within(tight()).await;
    for (what, bomb) in [
        ("variables in loops", bombs::variables_in_loops(30_000, 1_000)),
        ("huge function", bombs::huge_function(1_000_000)),
    ] {
        let clock = Stopwatch::start();
        let refused = arena.sandbox().load(&bomb, &ALL).unwrap_err();
        let (said, took) = (refused.to_string(), clock.elapsed());
        assert!(matches!(refused, LoadError::TooCostly { .. }), "{what}: {said}");
        assert!(said.contains("and may take 4s and 1024 MiB"), "{what}: {said}");
        assert!(took < Duration::from_secs(8), "{what}: {took:?}");
        arena.neighbour_goes_on().await;
    }
}

#[tokio::test]
async fn what_is_merely_large_is_compiled_or_refused_within_the_limits() {
    let mut arena = Arena::compiling_within(tight()).await;
    for (what, bomb) in [
        ("nested blocks", bombs::nested_blocks(100_000)),
        ("many functions", bombs::many_functions(50_000)),
        ("many types", bombs::many_types(200_000)),
        ("nested components", bombs::nested_components(10_000)),
    ] {
        let clock = Stopwatch::start();
        let loaded = arena.sandbox().load(&bomb, &ALL);
        let took = clock.elapsed();
        assert!(took < Duration::from_secs(8), "{what}: {took:?}");
        let ours = matches!(loaded, Err(LoadError::NoCompiler(_)));
        assert!(!ours, "{what}: {:?}", loaded.err());
        arena.neighbour_goes_on().await;
    }
}

#[tokio::test]
async fn a_compiler_that_does_not_run_is_not_the_components_fault() {
    let sound = Guest::default().build();
    for (program, said) in [("/nonexistent", "No such file"), ("/bin/false", "exit status: 1")] {
        let program = PathBuf::from(program);
        let compiler = Compiler::Child { program, limits: tight(), hardening: Mode::Auto };
        let mut arena = Arena::new(2).await.then_compiling_in(compiler);
        let refused = refusal(&arena, &sound, &ALL);
        assert!(
            refused.contains("the compiler does not run") && refused.contains(said),
            "{refused}"
        );
        arena.neighbour_goes_on().await;
    }
}

#[tokio::test]
async fn a_damaged_upload_is_refused_by_the_child_in_the_same_words() {
    let here = Arena::new(2).await;
    let child = Arena::compiling_within(tight()).await;
    let mut damaged = Guest::default().build();
    damaged.truncate(damaged.len() / 2);
    assert_eq!(refusal(&here, &damaged, &ALL), refusal(&child, &damaged, &ALL));
}
