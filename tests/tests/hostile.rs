//! Attacks of operators that run: each ends as a classified failure, or is cut
//! down to size, and the neighbour in the same process goes on. Attacks at
//! upload stand in `hostile_uploads.rs`; malformed outcomes, in
//! `hostile_outcomes.rs`; the table of all, in `docs/isolation.md`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::time::Duration;

use cofferdam::{failure::FailureKind, memory::SlotMeter, sandbox::SlotSettings};
use cofferdam_tests::zoo::{Arena, Guest, batch, settings};

/// A slot whose operator may hold so many bytes.
fn small(memory: usize) -> SlotSettings {
    SlotSettings { memory: SlotMeter::alone(memory), ..settings("hostile") }
}

/// A loop that never ends.
const SPIN: &str = "(loop (br 0)) (unreachable)";

#[tokio::test]
async fn endless_recursion_is_a_trap_with_its_reason() {
    let mut arena = Arena::new(2).await;
    let recursion = Guest {
        fields: "(func $f (param i64) (result i64)
            (i64.add (i64.const 1) (call $f (i64.add (local.get 0) (i64.const 1)))))"
            .into(),
        ..Guest::processing("(drop (call $f (i64.const 0))) (i32.const 16)")
    };
    let failure = arena.failure(&recursion).await;
    assert_eq!(failure.kind, FailureKind::GuestTrap);
    assert!(failure.message.contains("call stack exhausted"), "{failure}");
    assert!(failure.backtrace.len() <= 20, "{failure}");
}

#[tokio::test]
async fn recursion_through_a_table_is_a_trap_too() {
    let mut arena = Arena::new(2).await;
    let recursion = Guest {
        fields: "(type $t (func)) (table $t funcref (elem $f))
            (func $f (call_indirect $t (type $t) (i32.const 0)) (call_indirect $t (type $t) (i32.const 0)))"
            .into(),
        ..Guest::processing("(call $f) (i32.const 16)")
    };
    let failure = arena.failure(&recursion).await;
    assert!(failure.message.contains("call stack exhausted"), "{failure}");
}

#[tokio::test]
async fn tables_grow_on_the_account_of_memory() {
    let mut arena = Arena::new(2).await;
    let grower = Guest {
        fields: "(table $t 0 funcref)".into(),
        ..Guest::processing(
            "(loop $again
                (br_if $again (i32.ne (i32.const -1)
                    (table.grow $t (ref.null func) (i32.const 1000)))))
             (unreachable)",
        )
    };
    let failure = arena.failure_in(&grower, &small(512 << 10)).await;
    assert_eq!(failure.kind, FailureKind::OutOfMemory, "{failure}");
    assert!(failure.message.contains("of 524288 bytes"), "{failure}");
}

#[tokio::test]
async fn a_start_that_needs_more_than_the_slot_has_is_out_of_memory() {
    let mut arena = Arena::new(2).await;
    let large = Guest { answer: vec![1; 2 << 20], ..Guest::default() };
    let failure = arena.failure_in(&large, &small(1 << 20)).await;
    assert_eq!(failure.kind, FailureKind::OutOfMemory, "{failure}");
    assert!(failure.message.contains("of 1048576 bytes"), "{failure}");
}

#[tokio::test]
async fn whatever_spins_is_stopped_at_its_deadline() {
    let mut arena = Arena::new(2).await;
    let spin = || SPIN.to_owned();
    let start = "(func $spin (loop (br 0))) (start $spin)".to_owned();
    for (what, guest) in [
        ("open", Guest { open: spin(), ..Guest::default() }),
        ("process", Guest { process: spin(), ..Guest::default() }),
        ("start", Guest { fields: start, ..Guest::default() }),
        ("realloc", Guest { realloc: Some(spin()), ..Guest::default() }),
    ] {
        let clock = cofferdam::clock::Stopwatch::start();
        let failure = arena.failure(&guest).await;
        assert_eq!(failure.kind, FailureKind::DeadlineExceeded, "{what}: {failure}");
        assert!(clock.elapsed() < Duration::from_secs(10), "{what}: {:?}", clock.elapsed());
    }
}

#[tokio::test]
async fn a_trap_while_being_called_back_is_a_classified_failure() {
    let mut arena = Arena::new(2).await;
    let realloc = |body: &str| Guest { realloc: Some(body.into()), ..Guest::default() };
    for (body, said) in [
        ("unreachable", "unreachable"),
        ("(i32.const -16)", "realloc return: beyond end of memory"),
        ("(i32.const 0x7fffff00)", "beyond end of memory"),
        ("(i32.const 3)", "not aligned"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "divide by zero"),
    ] {
        let failure = arena.failure(&realloc(body)).await;
        assert_eq!(failure.kind, FailureKind::GuestTrap, "{failure}");
        assert!(failure.message.contains(said), "{body}: {failure}");
    }
}

#[tokio::test]
async fn an_import_called_from_realloc_is_a_classified_failure() {
    let mut arena = Arena::new(2).await;
    let reentrant = Guest {
        imports: r#"(import "cofferdam:operator/log@0.1.0" "log"
            (func $log (param i32 i32 i32)))"#
            .into(),
        realloc: Some(
            "(call $log (i32.const 2) (i32.const 0) (i32.const 1)) (i32.const 64)".into(),
        ),
        ..Guest::default()
    };
    let failure = arena.failure(&reentrant).await;
    assert_eq!(failure.kind, FailureKind::GuestTrap);
    assert!(failure.message.contains("cannot leave component instance"), "{failure}");
}

#[tokio::test]
async fn a_trap_after_the_answer_fails_the_call() {
    let mut arena = Arena::new(2).await;
    let name = "cabi_post_cofferdam:operator/processor@0.1.0#process";
    for body in ["unreachable", SPIN] {
        let fields = format!("(func (export \"{name}\") (param i32) {body})");
        let failure = arena.failure(&Guest { fields, ..Guest::default() }).await;
        let spins = body == SPIN;
        let kind = if spins { FailureKind::DeadlineExceeded } else { FailureKind::GuestTrap };
        assert_eq!(failure.kind, kind, "{failure}");
    }
}

#[tokio::test]
async fn an_instance_that_trapped_is_never_entered_again() {
    let mut arena = Arena::new(2).await;
    let guest = Guest::processing("unreachable");
    let mut instance = arena.open(&guest, &settings("hostile")).await.unwrap();
    for _ in 0..3 {
        assert_eq!(instance.process(0, &batch(1)).await.unwrap_err().kind, FailureKind::GuestTrap);
    }
    arena.neighbour_goes_on().await;
}

#[tokio::test]
async fn an_endless_excuse_is_cut() {
    let mut arena = Arena::new(2).await;
    // `err` with eight megabytes of text, as `process` answers it.
    let answer =
        [vec![1, 0, 0, 0], 2048_u32.to_le_bytes().into(), (8_u32 << 20).to_le_bytes().into()];
    let excuse = Guest {
        fields: "(data (i32.const 9000000) \"x\")".into(),
        ..Guest::answering([answer.concat(), vec![b'a'; 9 << 20]].concat())
    };
    let failure = arena.failure(&excuse).await;
    assert_eq!(failure.kind, FailureKind::GuestError);
    assert!(failure.message.len() < 5_000, "{} bytes", failure.message.len());
}

#[tokio::test]
async fn a_guest_cannot_steer_the_terminal_nor_forge_lines() {
    let mut arena = Arena::new(2).await;
    let said = b"\x1b[2J\x07gone\nerror: HOST IS DOWN\r";
    let answer = [
        vec![1, 0, 0, 0],
        1036_u32.to_le_bytes().into(),
        u32::try_from(said.len()).unwrap().to_le_bytes().into(),
        said.to_vec(),
    ];
    let failure = arena.failure(&Guest::answering(answer.concat())).await;
    assert_eq!(failure.kind, FailureKind::GuestError);
    let shown = failure.to_string();
    assert!(!shown.contains(['\x1b', '\x07', '\r']), "{shown:?}");
    assert!(shown.contains("gone") && !shown.contains("\nerror"), "{shown:?}");
}

#[tokio::test]
async fn names_of_functions_are_shown_cut_and_clean() {
    let mut arena = Arena::new(2).await;
    let name = format!("\\1b[31m{}", "evil".repeat(5_000));
    let guest = Guest {
        fields: format!("(func $f (@name \"{name}\") unreachable)"),
        ..Guest::processing("(call $f) (i32.const 16)")
    };
    let failure = arena.failure(&guest).await;
    let shown = failure.to_string();
    assert!(failure.backtrace[0].contains("[31mevil"), "{:?}", failure.backtrace);
    assert!(!shown.contains('\x1b') && shown.len() < 10_000, "{} bytes", shown.len());
}
