//! What snapshots give, chunk by chunk. That it is the whole state, whatever
//! happens in between, is shown in `model_tests.rs`.

use super::*;
use crate::{
    state::{Change, TimerChange, windows::WindowKind, windows::Windows},
    stream::{BatchBuilder, keys::KeyGroups, watermark},
};

const COUNT: u32 = 1000;

fn state(windows: Option<Windows>, key_groups: u32) -> KeyedState {
    KeyedState::new(windows, KeyGroups::new(key_groups, 1))
}

/// Sets the state of these keys.
fn set(state: &mut KeyedState, keys: impl Iterator<Item = u32>, value: &[u8], timer: Option<i64>) {
    let mut builder = BatchBuilder::new();
    for key in keys {
        builder.push(Some(&key.to_le_bytes()), b"", Some(5));
    }
    let groups = state.group(&builder.take(), watermark::NONE);
    let mut change = Change::default();
    for group in 0..u32::try_from(groups.len()).unwrap() {
        change.changed.push(group);
        change.states.push(value);
        if let Some(at) = timer {
            let kind = TimerKind::Event;
            change.set_timers.push(TimerChange { group, kind, at });
            change.set_timers.push(TimerChange { group, kind, at: -at });
        }
    }
    state.apply(&groups, &change).unwrap();
}

fn entries(chunk: Chunk<'_>) -> usize {
    let mut read = chunk.read().unwrap();
    std::iter::from_fn(|| read.entry().unwrap()).count()
}

#[test]
fn a_snapshot_costs_what_changed_and_an_unchanged_state_nothing() {
    let mut state = state(None, 4);
    set(&mut state, 0..COUNT, b"one", None);
    let first = state.snapshot();
    assert_eq!(first.len(), 4);
    let whole: usize = first
        .iter()
        .map(|(_, chunk)| match chunk {
            GroupChunk::Base(bytes) => entries(Chunk::of(bytes, false)),
            GroupChunk::Delta(_) => panic!("the first is whole"),
        })
        .sum();
    assert_eq!(whole, COUNT as usize);
    assert!(state.snapshot().is_empty());
    set(&mut state, [7, 7, 8].into_iter(), b"two", None);
    set(&mut state, [9].into_iter(), b"", None);
    let (mut changed, mut gone) = (0, 0);
    for (_, chunk) in state.snapshot() {
        let GroupChunk::Delta(bytes) = chunk else { panic!("most of it has not changed") };
        let delta = Chunk::of(&bytes, true);
        changed += entries(delta);
        gone += delta.tombstones().unwrap().len();
        assert!(bytes.len() < 32, "{} bytes", bytes.len());
    }
    assert_eq!((changed, gone), (2, 1));
}

#[test]
fn a_key_group_of_which_most_has_changed_is_given_whole() {
    let mut state = state(None, 1);
    set(&mut state, 0..COUNT, b"one", None);
    state.snapshot();
    set(&mut state, 0..COUNT * 2 / 3, b"two", None);
    let [(_, GroupChunk::Base(bytes))] = &state.snapshot()[..] else { panic!("one base") };
    assert_eq!(entries(Chunk::of(bytes, false)), COUNT as usize);
    set(&mut state, 0..COUNT, b"", None);
    assert_eq!(state.snapshot(), [(KeyGroup(0), GroupChunk::Base(Vec::new().into()))]);
    set(&mut state, 0..1, b"x", None);
    assert!(matches!(&state.snapshot()[..], [(_, GroupChunk::Base(_))]), "nothing to follow");
}

#[test]
fn a_key_group_that_has_changed_bit_by_bit_is_given_whole_when_the_table_is_gone_through_anyway() {
    let mut state = state(None, 1);
    set(&mut state, 0..COUNT, b"one", None);
    state.snapshot();
    let third = COUNT / 3;
    set(&mut state, 0..third, b"two", None);
    let [(_, GroupChunk::Delta(bytes))] = &state.snapshot()[..] else { panic!("one delta") };
    assert_eq!(entries(Chunk::of(bytes, true)), third as usize);
    set(&mut state, third..third * 2, b"two", None);
    let [(_, GroupChunk::Base(bytes))] = &state.snapshot()[..] else { panic!("one base") };
    assert_eq!(entries(Chunk::of(bytes, false)), COUNT as usize);
    set(&mut state, 0..third, b"three", None);
    assert!(matches!(&state.snapshot()[..], [(_, GroupChunk::Delta(_))]), "it begins anew");
    for from in (0..COUNT).step_by(50) {
        set(&mut state, from..from + 50, b"four", None);
        assert!(matches!(&state.snapshot()[..], [(_, GroupChunk::Delta(_))]), "few are looked up");
    }
}

#[test]
fn a_whole_snapshot_needs_nothing_that_was_given_before() {
    let mut all = state(None, 4);
    set(&mut all, 0..COUNT, b"one", Some(7));
    all.snapshot();
    set(&mut all, 0..1, b"two", None);
    let whole = all.snapshot_whole();
    let mut again = state(None, 4);
    for (group, chunk) in &whole {
        let GroupChunk::Base(bytes) = chunk else { panic!("all of it") };
        again.restore(*group, &[bytes]).unwrap();
    }
    assert_eq!(whole, {
        let mut again = again.snapshot_whole();
        again.sort_by_key(|(group, _)| *group);
        again
    });
    assert!(all.snapshot().is_empty(), "nothing has changed since");
}

#[test]
fn keys_that_came_and_went_between_snapshots_leave_nothing_behind() {
    let mut state = state(None, 1);
    set(&mut state, 0..COUNT, b"one", None);
    state.snapshot();
    let before = state.bytes();
    for key in COUNT..COUNT * 50 {
        set(&mut state, [key].into_iter(), b"short-lived", None);
        set(&mut state, [key].into_iter(), b"", None);
    }
    assert!(state.bytes() < before + 1000, "{} bytes, {before} before", state.bytes());
    assert!(state.snapshot().is_empty());
}

#[test]
fn what_is_written_is_what_postcard_would_write() {
    let kind = WindowKind::Aligned { size: 10, slide: 10, offset: 0 };
    for windows in [None, Some(Windows { kind, lateness: 0 })] {
        let mut state = state(windows, 1);
        set(&mut state, 0..3, &[9; 300], Some(i64::MAX));
        set(&mut state, 300..302, b"", Some(70));
        let [(_, GroupChunk::Base(bytes))] = &state.snapshot()[..] else { panic!("one base") };
        let decoded: Vec<SavedEntry<'_>> = postcard::from_bytes(bytes).unwrap();
        assert_eq!(decoded.len(), 5);
        assert_eq!(postcard::to_stdvec(&decoded).unwrap(), **bytes);
        set(&mut state, [1].into_iter(), &[7; 200], None);
        let [(_, GroupChunk::Delta(bytes))] = &state.snapshot()[..] else { panic!("one delta") };
        let decoded: (Vec<Tombstone<'_>>, Vec<SavedEntry<'_>>) =
            postcard::from_bytes(bytes).unwrap();
        assert_eq!((decoded.0.len(), decoded.1.len()), (0, 1));
        assert_eq!(postcard::to_stdvec(&decoded).unwrap(), **bytes);
    }
}

#[test]
fn a_chunk_that_was_cut_or_goes_on_is_refused() {
    let mut state = state(None, 1);
    set(&mut state, 0..3, b"state", Some(4));
    let [(_, GroupChunk::Base(bytes))] = &state.snapshot()[..] else { panic!("one base") };
    let restore =
        |bytes: &[u8]| KeyedState::new(None, KeyGroups::new(1, 1)).restore(KeyGroup(0), &[bytes]);
    restore(bytes).unwrap();
    for len in 1..bytes.len() {
        assert!(restore(&bytes[..len]).is_err(), "cut to {len}");
    }
    assert!(restore(&[&bytes[..], b"x"].concat()).is_err());
    let twice = [&[2], &bytes[1..1 + (bytes.len() - 1) / 3], &bytes[1..1 + (bytes.len() - 1) / 3]];
    let error = restore(&twice.concat()).unwrap_err().to_string();
    assert!(error.contains("stands in it twice"), "{error}");
}

/// `cargo test --release -p cofferdam --lib -- --ignored --nocapture snapshot_costs`.
#[test]
#[ignore = "a measure, not a check"]
#[expect(clippy::print_stderr, reason = "what was measured")]
fn snapshot_costs() {
    const KEYS: u32 = 1_000_000;
    let mut state = state(None, 128);
    for from in (0..KEYS).step_by(10_000) {
        set(&mut state, from..from + 10_000, &1_u64.to_le_bytes(), None);
    }
    let mut measure = |what: &str, changed: usize| {
        let clock = crate::clock::Stopwatch::start();
        let chunks = state.snapshot();
        let took = clock.elapsed();
        let bytes: usize = chunks
            .iter()
            .map(|(_, c)| match c {
                GroupChunk::Base(b) | GroupChunk::Delta(b) => b.len(),
            })
            .sum();
        let each = took.as_nanos() / changed as u128;
        eprintln!("{what}: {took:?}, {each} ns a changed entry, {bytes} bytes");
        for i in 0..10_000_u32 {
            // Spread over the table.
            set(&mut state, [i.wrapping_mul(2_654_435_761) % KEYS].into_iter(), b"12345678", None);
        }
    };
    measure("all", KEYS as usize);
    measure("1 %", KEYS as usize / 100);
    measure("1 % again", KEYS as usize / 100);
}
