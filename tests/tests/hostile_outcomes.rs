//! Attacks by what an operator answers: each is refused as what it is, or taken
//! for what it is worth, and the neighbour in the same process goes on. More of
//! them, from compiled guests and as whole jobs, stand in `containment.rs`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam::{
    failure::{Failure, FailureKind},
    memory::SlotMeter,
    sandbox::{Now, SlotSettings},
    state::KeyedState,
    stream::{keys::KeyGroups, watermark},
};
use cofferdam_tests::zoo::{
    ANSWER, Arena, Column, Emission, FoldOutcome, Guest, List, Origin, Outcome, Rejection, Timer,
    batch, settings,
};

/// Bytes with a length that lies.
fn at(address: u32, len: u32) -> List {
    List::At { address, len }
}

fn keep(indexes: List) -> Outcome {
    Outcome::emitting(Emission::of(Origin::Keep(indexes)))
}

fn values(data: List, offsets: List) -> Outcome {
    Outcome::emitting(Emission::values(Column { data, offsets }))
}

fn to_port(port: u32) -> Outcome {
    Outcome::emitting(Emission { port, ..Emission::of(Origin::Same) })
}

#[tokio::test]
async fn every_malformed_outcome_is_refused_in_words() {
    let mut arena = Arena::new(2).await;
    let column = |data: &[u8], offsets: &[u32]| {
        Outcome::emitting(Emission::values(Column::new(data, offsets)))
    };
    let times = |n: usize| Emission {
        timestamps: Some(List::I64(vec![0; n])),
        ..Emission::of(Origin::Same)
    };
    for (said, outcome) in [
        ("port 256; the highest is 255", to_port(256)),
        ("port 4294967295", to_port(u32::MAX)),
        ("`keep` has the index 5", keep(List::U32(vec![0, 5]))),
        ("`keep` has the index 4294967295", keep(List::U32(vec![u32::MAX]))),
        ("malformed", column(b"abc", &[0, 2, 1, 3])),
        ("malformed", column(b"abc", &[1, 3])),
        ("malformed", column(b"abc", &[0, 4])),
        ("malformed", column(b"abc", &[0, 2])),
        ("data but no offsets", column(b"abc", &[])),
        ("4 timestamps for 5 records", Outcome::emitting(times(4))),
        ("6 timestamps for 5 records", Outcome::emitting(times(6))),
    ] {
        let failure = arena.failure(&Guest::answering(outcome.image())).await;
        assert_eq!(failure.kind, FailureKind::InvalidOutcome, "{outcome:?}: {failure}");
        assert!(failure.message.contains(said), "`{said}`: {failure}");
    }
}

#[tokio::test]
async fn lists_that_leave_the_memory_are_refused() {
    let mut arena = Arena::new(2).await;
    for outcome in [
        keep(at(0xffff_fff0, 100)),
        keep(at(ANSWER, u32::MAX)),
        keep(at(0, 1 << 30)),
        keep(at(ANSWER + 1, 1)),
        values(at(u32::MAX, 1), at(0, 0)),
        values(at(0, u32::MAX), at(0, 2)),
        Outcome::emitting(Emission::of(Origin::Unknown(3))),
        Outcome::emitting(Emission::of(Origin::Unknown(255))),
    ] {
        let failure = arena.failure(&Guest::answering(outcome.image())).await;
        assert_eq!(failure.kind, FailureKind::GuestTrap, "{outcome:?}: {failure}");
    }
    // The answer itself lies outside, or is not aligned.
    for address in ["-4", "0x7fffffff", "2", "65535"] {
        let failure = arena.failure(&Guest::processing(&format!("(i32.const {address})"))).await;
        assert_eq!(failure.kind, FailureKind::GuestTrap, "{address}: {failure}");
    }
}

#[tokio::test]
async fn rejections_are_checked_like_everything_else() {
    let mut arena = Arena::new(2).await;
    let rejecting =
        |index: u32, reason: &[u8]| Rejection { index, reason: List::Bytes(reason.to_vec()) };
    let outcome = |rejected| Outcome { emissions: Vec::new(), rejected };
    for (kind, said, rejected) in [
        (FailureKind::InvalidOutcome, "record 5 is rejected", vec![rejecting(5, b"no")]),
        (FailureKind::InvalidOutcome, "rejected twice", vec![rejecting(1, b""), rejecting(1, b"")]),
        (FailureKind::GuestTrap, "utf-8", vec![rejecting(1, b"\xff\xfe")]),
    ] {
        let failure = arena.failure(&Guest::answering(outcome(rejected).image())).await;
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.to_lowercase().contains(said), "{failure}");
    }
    // A reason without end is cut.
    let long = outcome(vec![rejecting(1, &vec![b'x'; 2 << 20])]);
    let got = arena.run(&Guest::answering(long.image()), &settings("hostile")).await.unwrap();
    assert_eq!((got.rejected[0].0, got.rejected[0].1.len()), (1, 1024));
}

#[tokio::test]
async fn a_flood_of_emissions_is_refused() {
    let mut arena = Arena::new(2).await;
    // 68 zero bytes are an empty emission to port 0.
    let slot = SlotSettings { memory: SlotMeter::alone(64 << 20), ..settings("hostile") };
    for emissions in [65_537, 700_000] {
        let zeroes = 2 << 20;
        let answer = [vec![0; 4], le(zeroes), le(emissions), vec![0; 8]].concat();
        let flood = Guest {
            process: "(drop (memory.grow (i32.const 900))) (i32.const 1024)".into(),
            ..Guest::answering(answer)
        };
        let failure = arena.failure_in(&flood, &slot).await;
        assert_eq!(failure.kind, FailureKind::InvalidOutcome, "{emissions}: {failure}");
        assert!(failure.message.contains("the most are 65536"), "{failure}");
    }
}

fn le(n: u32) -> Vec<u8> {
    n.to_le_bytes().into()
}

#[tokio::test]
async fn the_same_bytes_a_thousand_times_are_too_many() {
    let mut arena = Arena::new(2).await;
    // A thousand emissions whose values are the same four megabytes.
    let emission = Emission::values(Column { data: at(1 << 20, 4 << 20), offsets: at(512, 2) });
    let outcome = Outcome { emissions: vec![emission; 1_000], rejected: Vec::new() };
    let huge = Guest {
        // An offset of 0 and one of four megabytes, at 512.
        process: "(drop (memory.grow (i32.const 100)))
            (i32.store (i32.const 516) (i32.const 4194304)) (i32.const 1024)"
            .into(),
        ..Guest::answering(outcome.image())
    };
    let failure = arena.failure(&huge).await;
    assert_eq!(failure.kind, FailureKind::GuestTrap, "{failure}");
    assert!(failure.message.contains("too much") || failure.message.contains("fuel"), "{failure}");
}

#[tokio::test]
async fn one_record_a_million_times_is_refused_before_it_is_copied() {
    let mut arena = Arena::new(2).await;
    let mut builder = cofferdam::stream::BatchBuilder::new();
    builder.push(None, &vec![7; 1 << 20], None);
    let large = builder.take();
    let answer = keep(at(3 << 20, 1_000_000));
    let guest = Guest {
        process: "(drop (memory.grow (i32.const 100))) (i32.const 1024)".into(),
        ..Guest::answering(answer.image())
    };
    let mut instance = arena.open(&guest, &settings("hostile")).await.unwrap();
    let failure = instance.process(0, &large).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::InvalidOutcome, "{failure}");
    assert!(failure.message.contains("more than 268435456 bytes"), "{failure}");
    arena.neighbour_goes_on().await;
}

#[tokio::test]
async fn what_is_left_at_the_end_has_nothing_to_refer_to() {
    let mut arena = Arena::new(2).await;
    let guest = Guest {
        finish: "(i32.const 1024)".into(),
        ..Guest::answering(keep(List::U32(vec![0])).image())
    };
    let mut instance = arena.open(&guest, &settings("hostile")).await.unwrap();
    let failure = instance.finish().await.unwrap_err();
    assert!(failure.message.contains("the call had 0 records"), "{failure}");
    arena.neighbour_goes_on().await;
}

/// How a keyed operator's answer to a batch of five keys is taken.
async fn fold(arena: &Arena, answer: &FoldOutcome) -> Result<usize, Failure> {
    let guest = Guest::folding(answer.image());
    let mut instance = arena.open(&guest, &settings("hostile")).await?;
    let batch = batch(5);
    let mut state = KeyedState::new(None, KeyGroups::new(128, 1));
    let groups = state.group(&batch, watermark::NONE);
    let now = Now { watermark: None, processing: 0 };
    let answer = instance.fold(now, 0, &batch, &groups).await?;
    state
        .apply(&groups, &answer.change)
        .map_err(|e| Failure::new(FailureKind::InvalidOutcome, e.to_string()))?;
    Ok(state.bytes())
}

#[tokio::test]
async fn every_malformed_change_of_state_is_refused_in_words() {
    let mut arena = Arena::new(2).await;
    let changed = |groups: &[u32], data: &[u8], offsets: &[u32]| FoldOutcome {
        changed: List::U32(groups.to_vec()),
        states: Column::new(data, offsets),
        ..FoldOutcome::default()
    };
    let timer = |group, kind| FoldOutcome {
        set_timers: vec![Timer { group, kind, at: 0 }],
        ..FoldOutcome::default()
    };
    for (said, answer) in [
        ("a state is for group 5", changed(&[5], b"x", &[0, 1])),
        ("a state is for group 4294967295", changed(&[u32::MAX], b"x", &[0, 1])),
        ("changed twice", changed(&[1, 1], b"xy", &[0, 1, 2])),
        ("2 groups are said to have changed, but 1 states", changed(&[0, 1], b"x", &[0, 1])),
        ("0 groups are said to have changed, but 1 states", changed(&[], b"x", &[0, 1])),
        ("malformed", changed(&[0], b"x", &[0, 2])),
        ("a timer is for group 5", timer(5, 0)),
        ("a timer is for group 4294967295", timer(u32::MAX, 1)),
        ("unexpected discriminant", timer(0, 2)),
    ] {
        let failure = fold(&arena, &answer).await.unwrap_err();
        assert!(failure.message.contains(said), "`{said}`: {failure}");
        arena.neighbour_goes_on().await;
    }
}

#[tokio::test]
async fn a_million_timers_in_one_call_are_refused() {
    let mut arena = Arena::new(2).await;
    let timers = |n| (0..n).map(|at| Timer { group: 0, kind: 0, at }).collect::<Vec<_>>();
    let setting = |n| FoldOutcome { set_timers: timers(n), ..FoldOutcome::default() };
    let deleting = |n| FoldOutcome { delete_timers: timers(n), ..FoldOutcome::default() };
    for flood in [setting(500_000), deleting(500_000), setting(100_001)] {
        let failure = fold(&arena, &flood).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidOutcome);
        assert!(failure.message.contains("timers are"), "{failure}");
        arena.neighbour_goes_on().await;
    }
    let held = fold(&arena, &setting(10_000)).await.unwrap();
    assert!(held >= 10_000 * 16, "timers are on the account of state: {held} bytes");
}
