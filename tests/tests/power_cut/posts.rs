//! The same for what is posted to sources: a power cut at any moment leaves every request that was
//! acknowledged, in its place, with its key, and none that was never sent or only in part; and the
//! log goes on.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use cofferdam::{
    clock::{Clock, Stopwatch},
    intake::{
        cursor::Cursor,
        frame::Kind,
        log::{Limits, Log},
    },
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    Note, Run,
    image::{Die, Disk, Fate},
    is_a_step,
    recorder::{self, Op},
};

/// Small, so that there are many segments.
const LIMITS: Limits = Limits { bytes: 1 << 20, window: Duration::from_secs(3_600), keys: 1_000 };
const FATES: [Fate; 4] = [Fate::Lost, Fate::Kept, Fate::Random, Fate::Holes];

/// What was sent, and where the log ended with it.
type Sent = BTreeMap<usize, (Vec<u8>, u64)>;

fn open(dir: &Path) -> Result<Arc<Log>, String> {
    Log::open(dir, LIMITS, Clock::default()).map_err(|error| format!("does not open: {error}"))
}

fn key(n: usize) -> String {
    format!("request {n}")
}

/// No two are the same.
fn body(n: usize, die: &mut Die) -> Vec<u8> {
    let len = match die.below(6) {
        0..=3 => die.below(2_000),
        4 => die.below(9_000),
        _ => 20_000 + die.below(60_000),
    };
    let mut bytes = format!("{n} ").into_bytes();
    bytes.resize(bytes.len() + usize::try_from(len).unwrap(), u8::try_from(n % 251).unwrap());
    bytes
}

/// Requests one by one and some at once; what is covered is removed, and the process begins anew
/// now and then.
fn work(root: &Path, die: &mut Die, steps: usize, runtime: &Runtime) -> Sent {
    let mut sent = Sent::new();
    let mut log = open(root).unwrap();
    let mut next = 0;
    for _ in 0..steps {
        let at_once = if die.below(3) == 0 { 4 } else { 1 };
        let bodies: Vec<(usize, Vec<u8>)> =
            (next..next + at_once).map(|n| (n, body(n, die))).collect();
        next += at_once;
        let mut posts = Vec::new();
        for (n, body) in bodies {
            recorder::note(Note::Sends(n));
            let log = log.clone();
            posts.push(runtime.spawn(async move {
                let taken = log.append(&body, 1, Some(&key(n))).await.unwrap();
                (n, body, taken.position)
            }));
        }
        for post in posts {
            let (n, body, position) = runtime.block_on(post).unwrap();
            sent.insert(n, (body, position));
            recorder::note(Note::Acknowledged(n));
        }
        if die.below(3) == 0 {
            let ends: Vec<u64> = sent.values().map(|(_, end)| *end).collect();
            // Often all of it.
            let to = match die.below(2) {
                0 => ends.iter().copied().max().unwrap_or(0),
                _ => ends[die.index(ends.len())],
            };
            recorder::note(Note::Covers(to));
            log.trim(to).unwrap();
        }
        if die.below(6) == 0 {
            drop(log);
            log = open(root).unwrap();
        }
    }
    sent
}

/// The requests of a log, with where it ends after each.
fn read(log: &Arc<Log>) -> Result<Vec<(u64, Vec<u8>)>, String> {
    let (mut cursor, mut all) = (Cursor::new(log.clone(), log.first()), Vec::new());
    while let Some((head, header)) = cursor.head().map_err(|e| e.to_string())? {
        if head.kind != Kind::Records {
            return Err("it was ended".to_owned());
        }
        all.push((head.end(), cursor.body(&head, &header).map_err(|e| e.to_string())?));
        cursor.pass(&head);
    }
    Ok(all)
}

/// What was said before the power went.
#[derive(Debug, Default)]
struct Expected {
    sent: Vec<usize>,
    acknowledged: Vec<usize>,
    covered: u64,
}

impl Expected {
    fn after(ops: &[Op]) -> Self {
        let mut expected = Self::default();
        for op in ops {
            match op {
                Op::Note(Note::Sends(n)) => expected.sent.push(*n),
                Op::Note(Note::Acknowledged(n)) => expected.acknowledged.push(*n),
                Op::Note(Note::Covers(to)) => expected.covered = expected.covered.max(*to),
                _ => {}
            }
        }
        expected
    }
}

fn look(dir: &Path, expected: &Expected, sent: &Sent, runtime: &Runtime) -> Result<(), String> {
    let log = open(dir)?;
    let found = read(&log)?;
    if log.first() > expected.covered {
        return Err(format!("what comes before {} is gone", log.first()));
    }
    for (end, body) in &found {
        let was_sent = |n: &usize| sent[n].0 == *body;
        if !expected.sent.iter().any(was_sent) {
            return Err(format!("what ends at {end} was never sent"));
        }
    }
    for n in &expected.acknowledged {
        let (body, end) = &sent[n];
        if *end > expected.covered && !found.iter().any(|(at, found)| at == end && found == body) {
            return Err(format!("request {n}, which ends at {end}, is lost"));
        }
        // Whoever asks again gets the same answer.
        let again = runtime.block_on(log.append(body, 1, Some(&key(*n))));
        let again = again.map_err(|error| format!("request {n} again: {error}"))?;
        if again.position != *end {
            return Err(format!("request {n} was taken again, at {}", again.position));
        }
    }
    // It goes on.
    let next = runtime.block_on(log.append(b"what comes next", 1, None));
    let next = next.map_err(|error| error.to_string())?;
    drop(log);
    let again = read(&open(dir)?)?;
    let mut wanted = found;
    wanted.push((next.position, b"what comes next".to_vec()));
    if again != wanted {
        let ends = |all: &[(u64, Vec<u8>)]| all.iter().map(|(end, _)| *end).collect::<Vec<_>>();
        return Err(format!("after it went on it has {:?}, not {:?}", ends(&again), ends(&wanted)));
    }
    Ok(())
}

fn run(seed: u64, steps: usize, all: &mut Run) {
    let runtime = Builder::new_current_thread().build().unwrap();
    let mut die = Die::new(seed);
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("source");
    std::fs::create_dir(&root).unwrap();
    let root = root.canonicalize().unwrap();
    let mut sent = Sent::new();
    let ops = recorder::record(&root, || sent = work(&root, &mut die, steps, &runtime));
    all.syncs += ops.iter().filter(|op| matches!(op, Op::Sync(_))).count();
    let at_steps = ops.iter().enumerate().filter(|(_, op)| is_a_step(op)).map(|(at, _)| at);
    for at in at_steps.chain([ops.len()]) {
        let (disk, expected) = (Disk::after(&ops[..at]), Expected::after(&ops[..at]));
        for fate in FATES {
            let image = place.path().join("image");
            let _ = std::fs::remove_dir_all(&image);
            disk.write(&image, fate, &mut die);
            all.images += 1;
            if let Err(wrong) = look(&image, &expected, &sent, &runtime) {
                let op = ops.get(at).map(|op| format!("{op:?}").chars().take(200).collect());
                let op: String = op.unwrap_or_else(|| "the end".to_owned());
                all.wrong.push(format!(
                    "seed {seed}, before step {at} of {} ({op}), {fate:?}: {wrong}",
                    ops.len()
                ));
            }
        }
    }
}

#[test]
fn a_power_cut_at_any_sync_leaves_every_request_that_was_acknowledged_and_no_part_of_another() {
    let (begun, mut all, mut seed) = (Stopwatch::start(), Run::default(), 0);
    while seed < 2 || (begun.micros() < 8_000_000 && all.wrong.is_empty()) {
        seed += 1;
        run(seed, 25, &mut all);
    }
    println!("{} images of {} syncs, {seed} seeds", all.images, all.syncs);
    all.assert_nothing_is_wrong();
    assert!(all.syncs > 50, "{} syncs were recorded", all.syncs);
}
