//! What a log promises: what was acknowledged is there after any crash, once.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;

use super::{
    IntakeError, Room, bytes_in,
    cursor::Cursor,
    frame::Kind,
    log::{Accepted, Limits, Log},
    segment,
    transfer::transfer,
};
use crate::clock::{Clock, ManualClock};

const LIMITS: Limits = Limits { bytes: 1 << 20, window: Duration::from_secs(3_600), keys: 1_000 };

fn open(dir: &Path, limits: Limits) -> Arc<Log> {
    Log::open(dir, limits, Clock::default()).unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn append(log: &Arc<Log>, body: &str, key: Option<&str>) -> Result<Accepted, IntakeError> {
    run(log.append(body.as_bytes(), 1, key))
}

/// All bodies from a place on; the end as `END`.
fn read(log: &Arc<Log>, from: u64) -> Vec<String> {
    let (mut cursor, mut all) = (Cursor::new(log.clone(), from), Vec::new());
    while let Some((head, header)) = cursor.head().unwrap() {
        all.push(match head.kind {
            Kind::End => "END".to_owned(),
            Kind::Records => String::from_utf8(cursor.body(&head, &header).unwrap()).unwrap(),
        });
        cursor.pass(&head);
    }
    all
}

#[test]
fn what_was_acknowledged_is_read_after_the_log_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LIMITS);
    let first = append(&log, "a", None).unwrap();
    append(&log, "b", Some("key")).unwrap();
    assert_eq!(read(&log, 0), ["a", "b"]);
    drop(log);
    let log = open(dir.path(), LIMITS);
    assert_eq!(read(&log, 0), ["a", "b"]);
    assert_eq!(read(&log, first.position), ["b"]);
    append(&log, "c", None).unwrap();
    assert_eq!(read(&log, first.position), ["b", "c"]);
}

#[test]
fn the_same_key_twice_adds_nothing_and_with_another_body_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000);
    let open = || Log::open(dir.path(), LIMITS, Clock::Manual(clock.clone())).unwrap();
    let log = open();
    let taken = append(&log, "a", Some("key")).unwrap();
    assert_eq!(append(&log, "a", Some("key")).unwrap(), taken);
    assert!(matches!(append(&log, "b", Some("key")), Err(IntakeError::OtherBody)));
    drop(log);
    let log = open();
    assert_eq!(append(&log, "a", Some("key")).unwrap(), taken);
    assert_eq!(read(&log, 0), ["a"]);
    clock.advance(LIMITS.window + Duration::from_millis(1));
    assert_ne!(append(&log, "a", Some("key")).unwrap(), taken, "it is forgotten");
}

#[test]
fn keys_outlive_the_segments_that_their_requests_were_in() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: 8_000, ..LIMITS };
    let log = open(dir.path(), limits);
    let taken = append(&log, &"a".repeat(1_500), Some("key")).unwrap();
    let end = append(&log, &"b".repeat(1_500), None).unwrap().position;
    assert_eq!(segment::bases(dir.path()).unwrap().len(), 2);
    log.trim(end).unwrap();
    assert_eq!(segment::bases(dir.path()).unwrap(), [taken.position]);
    assert_eq!(log.first(), taken.position);
    drop(log);
    let log = open(dir.path(), limits);
    assert_eq!(append(&log, &"a".repeat(1_500), Some("key")).unwrap(), taken);
    assert!(matches!(append(&log, "x", Some("key")), Err(IntakeError::OtherBody)));
    assert_eq!(read(&log, log.first()).len(), 1);
}

#[test]
fn a_full_log_takes_nothing_until_it_is_trimmed_and_can_still_be_ended() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Limits { bytes: 8_000, ..LIMITS });
    let body = "x".repeat(1_000);
    let mut end = 0;
    let error = loop {
        match append(&log, &body, None) {
            Ok(taken) => end = taken.position,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, IntakeError::Full { limit: 8_000, .. }), "{error}");
    assert!(log.held().bytes <= 8_000);
    log.trim(end).unwrap();
    append(&log, &body, None).unwrap();
    while append(&log, &body, None).is_ok() {}
    run(log.end()).unwrap();
    run(log.end()).unwrap();
    assert!(matches!(append(&log, "x", None), Err(IntakeError::Ended)));
    let log = open(dir.path(), LIMITS);
    assert!(log.held().ended && matches!(append(&log, "x", None), Err(IntakeError::Ended)));
    assert_eq!(read(&log, end).last().unwrap(), "END");
}

#[derive(Debug, Default)]
struct Small {
    may: u64,
    held: AtomicU64,
}

impl Room for Small {
    fn grow(&self, to: u64) -> Result<(), String> {
        if to > self.may {
            return Err("too much".to_owned());
        }
        self.held.store(to, Ordering::SeqCst);
        Ok(())
    }

    fn holds(&self, bytes: u64) {
        self.held.store(bytes, Ordering::SeqCst);
    }
}

#[test]
fn a_log_takes_no_more_than_its_room_has_and_says_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let room = Arc::new(Small { may: 200_000, ..Small::default() });
    let open = || Log::within(dir.path(), LIMITS, Clock::default(), room.clone()).unwrap();
    let held = |log: &Arc<Log>| {
        assert_eq!(room.held.load(Ordering::SeqCst), log.held().bytes);
        assert_eq!(bytes_in(dir.path()).unwrap(), log.held().bytes);
        log.held().bytes
    };
    let log = open();
    assert_eq!(held(&log), segment::BEGIN);
    let body = "x".repeat(40_000);
    let first = append(&log, &body, Some("first")).unwrap();
    let mut last = first;
    let error = loop {
        match append(&log, &body, None) {
            Ok(taken) => last = taken,
            Err(error) => break error,
        }
        held(&log);
    };
    assert!(matches!(&error, IntakeError::NoRoom(why) if why == "too much"), "{error}");
    let full = held(&log);
    assert!((150_000..=200_000).contains(&full), "{full}");
    // What was taken before is answered as it was then.
    assert_eq!(append(&log, &body, Some("first")).unwrap(), first);
    drop(log);
    let log = open();
    assert_eq!(held(&log), full);
    log.trim(first.position).unwrap();
    assert!(held(&log) <= full && append(&log, &body, None).is_err());
    // All of it is covered: the segment that grows goes too, and keys are remembered.
    log.trim(last.position).unwrap();
    assert_eq!((held(&log), log.first()), (segment::BEGIN, last.position));
    assert_eq!(append(&log, &body, Some("first")).unwrap(), first);
    let next = append(&log, &body, None).unwrap();
    assert!(next.position > last.position);
    drop(log);
    let log = open();
    assert_eq!(read(&log, last.position), [body.as_str()]);
    assert_eq!(append(&log, &body, Some("first")).unwrap(), first);
    run(log.end()).unwrap();
    held(&log);
}

#[test]
fn many_at_once_are_all_there_and_share_their_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LIMITS);
    run(async {
        let mut all = tokio::task::JoinSet::new();
        for n in 0..200 {
            let log = log.clone();
            all.spawn(async move { log.append(format!("{n}").as_bytes(), 1, None).await.unwrap() });
        }
        let mut positions = Vec::new();
        while let Some(taken) = all.join_next().await {
            positions.push(taken.unwrap().position);
        }
        positions.sort_unstable();
        positions.dedup();
        assert_eq!(positions.len(), 200);
    });
    let mut all: Vec<u32> = read(&log, 0).iter().map(|n| n.parse().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..200).collect::<Vec<u32>>());
}

#[test]
fn a_log_that_is_closed_takes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LIMITS);
    append(&log, "a", None).unwrap();
    log.close();
    assert!(matches!(append(&log, "b", None), Err(IntakeError::Closed)));
    assert_eq!(read(&open(dir.path(), LIMITS), 0), ["a"]);
}

#[test]
fn wherever_the_power_goes_whole_requests_are_there_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LIMITS);
    let mut ends = vec![0];
    for body in ["first", "second", "third"] {
        ends.push(append(&log, body, Some(body)).unwrap().position);
    }
    drop(log);
    let path = segment::path(dir.path(), 0);
    let whole = fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        let dir = tempfile::tempdir().unwrap();
        let torn = segment::path(dir.path(), 0);
        // What was not written is cut off, or is other bytes.
        for rest in [vec![], vec![0_u8; whole.len() - length]] {
            fs::write(&torn, [&whole[..length], &rest].concat()).unwrap();
            let opened = Log::open(dir.path(), LIMITS, Clock::default());
            if length < 20 && !rest.is_empty() {
                // Not even its beginning: nothing was ever acknowledged of it, but who knows.
                assert!(opened.is_err(), "{length}");
                continue;
            }
            let log = opened.unwrap();
            let there = ends.iter().filter(|end| **end > 0 && 20 + **end <= length as u64).count();
            assert_eq!(read(&log, 0), ["first", "second", "third"][..there], "{length}");
            // And it goes on from there.
            append(&log, "more", None).unwrap();
            append(&log, "first", Some("first")).unwrap();
            let expected = there + 1 + usize::from(there == 0);
            assert_eq!(read(&log, 0).len(), expected, "{length}");
            let again = open(dir.path(), LIMITS);
            assert_eq!(read(&again, 0).len(), expected, "{length}");
        }
    }
}

#[test]
fn a_missing_or_damaged_segment_is_told_and_not_passed_over() {
    let limits = Limits { bytes: 8_000, ..LIMITS };
    let full = || {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), limits);
        let body = "x".repeat(1_500);
        (0..4).for_each(|_| _ = append(&log, &body, None).unwrap());
        (dir, segment::bases(&log_dir(&log)).unwrap())
    };
    let (dir, bases) = full();
    assert!(bases.len() > 2, "{bases:?}");
    fs::remove_file(segment::path(dir.path(), bases[1])).unwrap();
    let error = Log::open(dir.path(), limits, Clock::default()).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    let (dir, bases) = full();
    let path = segment::path(dir.path(), bases[0]);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let log = open(dir.path(), limits);
    let mut cursor = Cursor::new(log, 0);
    let (head, header) = cursor.head().unwrap().unwrap();
    let error = cursor.body(&head, &header).unwrap_err();
    assert!(matches!(error, IntakeError::Damaged { .. }), "{error}");
}

fn log_dir(log: &Arc<Log>) -> std::path::PathBuf {
    log.dir().to_owned()
}

#[test]
fn a_job_that_begins_with_anothers_savepoint_has_what_was_acknowledged_since() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("a/in"), dir.path().join("b/in"));
    let limits = Limits { bytes: 16_000, ..LIMITS };
    let log = open(&from, limits);
    let body = |n: u32| format!("{n}").repeat(1_500);
    for n in 0..6 {
        append(&log, &body(n), Some(&format!("key {n}"))).unwrap();
    }
    transfer(&from, &to).unwrap();
    // They go on each for itself.
    append(&log, "theirs", None).unwrap();
    let own = open(&to, limits);
    append(&own, "ours", None).unwrap();
    let again = append(&own, &body(5), Some("key 5")).unwrap();
    assert!(again.position < own.durable(), "it was taken there already");
    assert_eq!(read(&log, 0).last().unwrap(), "theirs");
    let ours = read(&own, 0);
    assert_eq!((ours.len(), ours[6].as_str()), (7, "ours"));
    log.trim(log.durable()).unwrap();
    assert_eq!(read(&own, 0).len(), 7);
    // Once more is no change.
    transfer(&from, &to).unwrap();
    assert_eq!(read(&open(&to, limits), 0).len(), 7);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_behind_what_was_acknowledged_change_nothing(
        bodies in prop::collection::vec("[a-z]{0,40}", 1..6),
        garbage in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), LIMITS);
        for body in &bodies {
            append(&log, body, None).unwrap();
        }
        drop(log);
        let path = segment::path(dir.path(), 0);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(&garbage);
        fs::write(&path, bytes).unwrap();
        let log = open(dir.path(), LIMITS);
        prop_assert_eq!(read(&log, 0), bodies);
    }
}
