//! A power cut at any moment leaves the old or the new checkpoint, whole: what a store
//! asks of the file system is recorded, and for every sync, and every change of a name, the
//! disk is made as a power cut just then may leave it. The store must open there, with every
//! checkpoint that was complete, and go on.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]
#![allow(clippy::print_stdout, reason = "how much was tried is worth reading")]

mod image;
mod posts;
mod recorder;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use cofferdam::{
    checkpoint::{
        CheckpointStore as _, GuestState, Manifest, OperatorState, StoredChunk, SubtaskState,
        sled_store::SledStore, verify::verify,
    },
    clock::Stopwatch,
    ids::{CheckpointId, JobName, OperatorName},
};

use crate::{
    image::{Die, Disk, FATES},
    recorder::Op,
};

/// What the workload says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// A checkpoint is committed from now on.
    Commits(CheckpointId),
    /// It is complete.
    Complete(CheckpointId),
    /// These may be gone from now on.
    Discards(Vec<CheckpointId>),
    /// The owner of this epoch is told that it is the owner.
    Owns(u64),
    /// This request is posted from now on.
    Sends(usize),
    /// It was acknowledged.
    Acknowledged(usize),
    /// What comes before this place may be gone from now on.
    Covers(u64),
}

/// What was committed, and the content of what it names.
type Committed = BTreeMap<CheckpointId, (Manifest, Vec<Vec<u8>>)>;

fn content(die: &mut Die) -> Vec<u8> {
    // Small ones, some that are cut into pieces, and now and then one that is large.
    let len = match die.below(8) {
        0..=4 => die.below(3_000),
        5..=6 => die.below(150_000),
        _ => die.below(600_000),
    };
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    let mut word = die.below(u64::MAX);
    for chunk in bytes.chunks_mut(8) {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
    bytes
}

fn manifest(id: CheckpointId, epoch: u64, chunks: &[StoredChunk]) -> Manifest {
    let guest = |chunk: &StoredChunk| SubtaskState {
        guest: Some(GuestState::Exported(*chunk)),
        ..SubtaskState::default()
    };
    let state =
        OperatorState { subtasks: chunks.iter().map(guest).collect(), ..OperatorState::default() };
    Manifest {
        id,
        job: JobName::new("a-job").unwrap(),
        triggered_at: 0,
        epoch,
        max_parallelism: 128,
        finished: false,
        operators: BTreeMap::from([(OperatorName::new("o").unwrap(), state)]),
    }
}

/// Some checkpoints, most of whose chunks stay from one to the next; some are dropped, the
/// database is written anew now and then, and so is the process.
fn work(root: &Path, die: &mut Die, steps: u64) -> Committed {
    let mut committed = Committed::new();
    let mut held: Vec<Vec<u8>> = Vec::new();
    let open = || {
        let mut store = SledStore::open(root).unwrap();
        let epoch = store.own("a workload").unwrap().epoch;
        recorder::note(Note::Owns(epoch));
        (store, epoch)
    };
    let (mut store, mut epoch) = open();
    for id in (1..=steps).map(CheckpointId) {
        for _ in 0..=die.below(3) {
            if held.len() > 12 {
                held.swap_remove(die.index(held.len()));
            }
            held.push(content(die));
        }
        let chunks: Vec<StoredChunk> =
            held.iter().map(|content| store.put_chunk(content).unwrap().0).collect();
        let manifest = manifest(id, epoch, &chunks);
        committed.insert(id, (manifest.clone(), held.clone()));
        recorder::note(Note::Commits(id));
        store.commit(&manifest).unwrap();
        recorder::note(Note::Complete(id));
        let all = store.list().unwrap();
        if all.len() > 2 && die.below(4) > 0 {
            let gone = all[..all.len() - 2].to_vec();
            recorder::note(Note::Discards(gone.clone()));
            store.discard(&gone).unwrap();
        }
        if die.below(8) == 0 {
            store.compact().unwrap();
        }
        if die.below(6) == 0 {
            drop(store);
            (store, epoch) = open();
        }
    }
    committed
}

/// What must be there and what may be, after so much was done.
#[derive(Debug, Default)]
struct Expected {
    must: BTreeSet<CheckpointId>,
    may: BTreeSet<CheckpointId>,
    epoch: u64,
}

impl Expected {
    fn after(ops: &[Op]) -> Self {
        let mut expected = Self::default();
        let notes = ops.iter().filter_map(|op| match op {
            Op::Note(note) => Some(note),
            _ => None,
        });
        for note in notes {
            match note {
                Note::Commits(id) => {
                    expected.may.insert(*id);
                }
                Note::Complete(id) => {
                    expected.must.insert(*id);
                }
                Note::Discards(ids) => expected.must.retain(|id| !ids.contains(id)),
                Note::Owns(epoch) => expected.epoch = *epoch,
                Note::Sends(_) | Note::Acknowledged(_) | Note::Covers(_) => {}
            }
        }
        expected
    }
}

/// Opens what a power cut left, and says what is wrong.
fn look(dir: &Path, expected: &Expected, committed: &Committed) -> Result<(), String> {
    let mut store = SledStore::open(dir).map_err(|e| format!("does not open: {e}"))?;
    let list = store.list().map_err(|e| e.to_string())?;
    let listed: BTreeSet<CheckpointId> = list.iter().copied().collect();
    if !expected.must.is_subset(&listed) || !listed.is_subset(&expected.may) {
        return Err(format!("it has {list:?}"));
    }
    for id in &list {
        let found = verify(&store, *id).map_err(|e| e.to_string())?;
        if !found.damage.is_empty() {
            return Err(format!("checkpoint {id} is damaged: {:?}", found.damage));
        }
        let (manifest, contents) = &committed[id];
        if store.manifest(*id).map_err(|e| e.to_string())? != *manifest {
            return Err(format!("checkpoint {id} has another manifest"));
        }
        for (chunk, content) in manifest.chunks().zip(contents) {
            if store.chunk(*id, chunk.digest).map_err(|e| e.to_string())? != *content {
                return Err(format!("checkpoint {id} has another content"));
            }
        }
    }
    // It goes on.
    let owner = store.own("whoever comes next").map_err(|e| e.to_string())?;
    if owner.epoch <= expected.epoch {
        return Err(format!("owner {} comes after {}", owner.epoch, expected.epoch));
    }
    let next = CheckpointId(1_000);
    let (chunk, _) = store.put_chunk(b"what comes next").map_err(|e| e.to_string())?;
    store.commit(&manifest(next, owner.epoch, &[chunk])).map_err(|e| e.to_string())?;
    drop(store);
    let store = SledStore::open(dir).map_err(|e| format!("does not open again: {e}"))?;
    let list = store.list().map_err(|e| e.to_string())?;
    if list.last() != Some(&next) || list.len() != listed.len() + 1 {
        return Err(format!("after it went on it has {list:?}"));
    }
    Ok(())
}

/// Before each of these the power may go.
pub(crate) fn is_a_step(op: &Op) -> bool {
    !matches!(op, Op::Note(_) | Op::Write(..) | Op::Truncate(..))
}

#[derive(Debug, Default)]
pub(crate) struct Run {
    images: usize,
    syncs: usize,
    wrong: Vec<String>,
}

impl Run {
    fn assert_nothing_is_wrong(&self) {
        let Self { images, wrong, .. } = self;
        assert!(wrong.is_empty(), "{} of {images}:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// One workload. Of the fates of what was not synced all are tried, or one that the die says.
fn run(seed: u64, steps: u64, all_fates: bool, run: &mut Run) {
    let mut die = Die::new(seed);
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("state");
    std::fs::create_dir(&root).unwrap();
    let root = root.canonicalize().unwrap();
    let mut committed = Committed::new();
    let ops = recorder::record(&root, || committed = work(&root, &mut die, steps));
    let at_steps = ops.iter().enumerate().filter(|(_, op)| is_a_step(op)).map(|(at, _)| at);
    run.syncs += ops.iter().filter(|op| matches!(op, Op::Sync(_))).count();
    for at in at_steps.chain([ops.len()]) {
        let (disk, expected) = (Disk::after(&ops[..at]), Expected::after(&ops[..at]));
        let one = [FATES[die.index(FATES.len())]];
        for fate in if all_fates { &FATES[..] } else { &one } {
            let image = place.path().join("image");
            let _ = std::fs::remove_dir_all(&image);
            disk.write(&image, *fate, &mut die);
            run.images += 1;
            if let Err(wrong) = look(&image, &expected, &committed) {
                let op = ops.get(at).map(|op| match op {
                    Op::Note(note) => format!("{note:?}"),
                    op => format!("{op:?}"),
                });
                let wrong = format!(
                    "seed {seed}, before step {at} of {} ({}), {fate:?}: {wrong}; complete {:?}",
                    ops.len(),
                    op.unwrap_or_else(|| "the end".to_owned()),
                    expected.must
                );
                println!("{wrong}");
                run.wrong.push(wrong);
            }
        }
    }
}

/// Else sled takes for durable what is not.
#[test]
fn what_sled_waits_for_is_synced() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().canonicalize().unwrap();
    let ops = recorder::record(&root, || {
        let file = std::fs::File::create(root.join("file")).unwrap();
        recorder::sync_range(&file);
    });
    assert_eq!(ops, [Op::Create("file".into()), Op::Sync("file".into())]);
}

#[test]
fn a_power_cut_at_any_sync_leaves_the_old_or_the_new_checkpoint() {
    let (begun, mut all, mut seed) = (Stopwatch::start(), Run::default(), 0);
    while seed < 2 || (begun.micros() < 10_000_000 && all.wrong.is_empty()) {
        seed += 1;
        run(seed, 12, false, &mut all);
    }
    println!("{} images of {} syncs, {seed} seeds", all.images, all.syncs);
    all.assert_nothing_is_wrong();
    assert!(all.syncs > 50, "{} syncs were recorded", all.syncs);
}

/// `COFFERDAM_SEEDS=FIRST-LAST` says which.
#[test]
#[ignore = "takes minutes; run it after changes to the store"]
fn power_cuts_with_many_seeds() {
    let seeds = std::env::var("COFFERDAM_SEEDS").unwrap_or_else(|_| "1-40".to_owned());
    let (first, last) = seeds.split_once('-').unwrap();
    let mut all = Run::default();
    for seed in first.parse::<u64>().unwrap()..=last.parse().unwrap() {
        run(seed, 30, true, &mut all);
        println!(
            "seed {seed}: {} images of {} syncs, {} wrong",
            all.images,
            all.syncs,
            all.wrong.len()
        );
    }
    all.assert_nothing_is_wrong();
}
