//! Checkpoints written and read back, with a store that fails now and then.

use proptest::prelude::*;

use super::*;
use crate::{
    checkpoint::{
        ChunkDigest, Owner,
        memory_store::MemoryStore,
        sled_store::{SledStore, disk_of},
        store::StoreSize,
    },
    config::job::{SinkConnector, SinkSpec},
    ids::{OperatorName, TenantId},
    job_manager::plan::{Role, Vertex},
    state::{GroupChunk, merge::MAX_DELTAS},
    task_manager::SubtaskId,
    tenancy::disk::{DiskBook, is_over},
};

/// Fails each call whose turn it is to fail.
#[derive(Debug)]
struct Flaky {
    store: Box<dyn CheckpointStore>,
    script: Arc<Mutex<Vec<bool>>>,
}

impl Flaky {
    fn turn(&self) -> Result<(), StoreError> {
        if self.script.lock().unwrap().pop().unwrap_or(false) {
            let (path, reason) = ("state".into(), "no space left".into());
            return Err(StoreError::Backend { path, action: "written", reason });
        }
        Ok(())
    }
}

impl CheckpointStore for Flaky {
    fn put_chunk(&mut self, content: &[u8]) -> Result<(StoredChunk, usize), StoreError> {
        self.turn()?;
        self.store.put_chunk(content)
    }
    fn commit(&mut self, manifest: &Manifest) -> Result<usize, StoreError> {
        self.turn()?;
        self.store.commit(manifest)
    }
    fn list(&self) -> Result<Vec<CheckpointId>, StoreError> {
        self.turn()?;
        self.store.list()
    }
    fn manifest(&self, id: CheckpointId) -> Result<Manifest, StoreError> {
        self.store.manifest(id)
    }
    fn chunk(&self, id: CheckpointId, digest: ChunkDigest) -> Result<Vec<u8>, StoreError> {
        self.store.chunk(id, digest)
    }
    fn discard(&mut self, ids: &[CheckpointId]) -> Result<(), StoreError> {
        self.turn()?;
        self.store.discard(ids)
    }
    fn own(&mut self, name: &str) -> Result<Owner, StoreError> {
        self.store.own(name)
    }
    fn owner(&self) -> Result<Option<Owner>, StoreError> {
        self.store.owner()
    }
    fn put_details(&mut self, id: CheckpointId, details: &Details) -> Result<(), StoreError> {
        self.turn()?;
        self.store.put_details(id, details)
    }
    fn details(&self, id: CheckpointId) -> Result<Option<Details>, StoreError> {
        self.store.details(id)
    }
    fn tidy(&mut self) -> Result<bool, StoreError> {
        self.turn()?;
        self.store.tidy()
    }

    fn squeeze(&mut self) -> Result<bool, StoreError> {
        self.store.squeeze()
    }
    fn size(&self) -> Result<StoreSize, StoreError> {
        self.store.size()
    }
}

fn writer(store: Box<dyn CheckpointStore>, script: &Arc<Mutex<Vec<bool>>>, retain: u32) -> Writer {
    let name = OperatorName::new("op").unwrap();
    let sink = SinkSpec {
        name: name.clone(),
        inputs: Vec::new(),
        parallelism: 1,
        connector: SinkConnector::Discard,
    };
    // What a vertex is does not matter to the writer.
    let vertices = vec![Vertex { name, role: Role::Sink(sink), parallelism: 1 }];
    let store: Box<dyn CheckpointStore> = Box::new(Flaky { store, script: script.clone() });
    Writer {
        store: Arc::new(Mutex::new(store)),
        job: JobName::new("job").unwrap(),
        plan: Arc::new(Plan { vertices, edges: Vec::new(), max_parallelism: 8 }),
        artifacts: BTreeMap::new(),
        epoch: 0,
        retain,
        clock: Clock::System,
        pinned: Arc::default(),
        trimmer: Arc::default(),
        disk: None,
    }
}

fn begun() -> Begun {
    Begun { trigger: Trigger::Interval, clock: Stopwatch::start() }
}

/// What shares nothing with another number.
fn unlike(n: u64, bytes: usize) -> GroupChunk {
    let mut content = vec![0; bytes];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut content);
    GroupChunk::Base(content.into())
}

#[test]
fn a_checkpoint_beyond_the_quota_is_refused_before_anything_is_written_unless_it_ends_the_job() {
    let (dir, book) = (tempfile::tempdir().unwrap(), DiskBook::default());
    let tenant = TenantId::default();
    let store = SledStore::open(dir.path()).unwrap();
    let mut writer = writer(Box::new(store), &Arc::default(), 1);
    let disk = JobDisk::new(&book, &tenant, "j", dir.path());
    disk.measure_checkpoints(&**writer.store.lock().unwrap());
    writer.disk = Some(disk);
    let used = || {
        writer.measure(&**writer.store.lock().unwrap());
        let used = book.used(&tenant).total();
        assert_eq!(used, disk_of(dir.path()).unwrap());
        used
    };
    let write = |n, bytes, purpose| {
        let ready = Ready { purpose, ..ready(n, unlike(n, bytes)) };
        writer.write(&ready, begun(), LiveChunks::new(), None)
    };
    let empty = used();
    book.set_limit(&tenant, Some(empty + (3 << 20)));
    write(1, 1 << 20, Purpose::Periodic).unwrap();
    assert!(used() > empty);
    let refused = write(2, 4 << 20, Purpose::Periodic).unwrap_err();
    assert!(matches!(&refused, StoreError::NoRoom(why) if is_over(why)), "{refused}");
    let all = || writer.store.lock().unwrap().list().unwrap();
    assert_eq!(all(), [CheckpointId(1)], "the one before is kept");
    // What a job has done is not thrown away.
    write(3, 4 << 20, Purpose::Stop).unwrap();
    assert!(used() > empty + (3 << 20));
    // Where room is short, what is superseded is given back before another one is refused.
    book.set_limit(&tenant, Some(used() + (1 << 20)));
    for n in 4..40 {
        write(n, 1 << 20, Purpose::Periodic).unwrap();
    }
    assert_eq!(all().last(), Some(&CheckpointId(39)));
    book.set_limit(&tenant, None);
    write(40, 20 << 20, Purpose::Periodic).unwrap();
    assert!(used() > 20 << 20);
}

/// The keys of each key group, and their states.
type State = BTreeMap<u16, BTreeMap<u8, Vec<u8>>>;

/// What becomes of some keys of a key group: a new state, or none.
type Edits = BTreeMap<u8, Option<Vec<u8>>>;

type Tombstone<'a> = (&'a [u8], Option<(i64, i64)>);
type SavedEntry<'a> = (&'a [u8], Option<(i64, i64)>, bool, &'a [u8], Vec<i64>, Vec<i64>);

fn saved<'a>((key, state): (&'a u8, &'a Vec<u8>)) -> SavedEntry<'a> {
    (std::slice::from_ref(key), None, false, state, Vec::new(), Vec::new())
}

/// As a snapshot would give it.
fn base(group: &BTreeMap<u8, Vec<u8>>) -> Vec<u8> {
    if group.is_empty() {
        return Vec::new();
    }
    postcard::to_stdvec(&group.iter().map(saved).collect::<Vec<_>>()).unwrap()
}

fn delta(edits: &Edits) -> Vec<u8> {
    let gone = edits.iter().filter(|(_, state)| state.is_none());
    let gone: Vec<Tombstone<'_>> = gone.map(|(key, _)| (std::slice::from_ref(key), None)).collect();
    let changed = edits.iter().filter_map(|(key, state)| Some(saved((key, state.as_ref()?))));
    postcard::to_stdvec(&(gone, changed.collect::<Vec<_>>())).unwrap()
}

/// What a chain of chunks says.
fn decode(chain: &[Vec<u8>]) -> BTreeMap<u8, Vec<u8>> {
    let merged = merge(chain, true).unwrap();
    if merged.is_empty() {
        return BTreeMap::new();
    }
    let entries: Vec<SavedEntry<'_>> = postcard::from_bytes(&merged).unwrap();
    entries.into_iter().map(|entry| (entry.0[0], entry.3.to_vec())).collect()
}

/// What a checkpoint holds, as a restore would read it.
fn read(writer: &Writer, id: CheckpointId) -> (State, Option<Vec<u8>>) {
    let manifest = writer.find(id).unwrap();
    let store = writer.store.lock().unwrap();
    let operator = manifest.operators.values().next().unwrap();
    let get = |chunk: &StoredChunk| store.chunk(id, chunk.digest).unwrap();
    let groups = operator.key_groups.iter();
    let state = groups.map(|(g, chunks)| {
        assert!(chunks.len() <= 2 * MAX_DELTAS, "{} chunks", chunks.len());
        (g.0, decode(&chunks.iter().map(get).collect::<Vec<_>>()))
    });
    let state = state.filter(|(_, group)| !group.is_empty()).collect();
    let guest = operator.subtasks[0].guest.as_ref().and_then(|g| g.chunks().next());
    (state, guest.as_ref().map(get))
}

/// What one checkpoint is to hold: edits by key group and whether they come as a
/// base, the guest's state, and which calls of the store fail.
type Step = (BTreeMap<u16, (Edits, bool)>, u8, Vec<bool>);

fn check(
    store: Box<dyn CheckpointStore>,
    retain: u32,
    checkpoints: &[Step],
) -> Result<(), TestCaseError> {
    let script = Arc::new(Mutex::new(Vec::new()));
    let writer = writer(store, &script, retain);
    let mut chunks = LiveChunks::new();
    let mut state = State::new();
    let mut kept: BTreeMap<CheckpointId, (State, Option<Vec<u8>>)> = BTreeMap::new();
    let mut put_back: BTreeMap<_, Pieces> = BTreeMap::new();
    for ((edits, guest, failures), n) in checkpoints.iter().zip(1..) {
        let id = CheckpointId(n);
        let mut all = std::mem::take(&mut put_back);
        for (number, (edits, whole)) in edits {
            let group = state.entry(*number).or_default();
            let follows = !group.is_empty();
            for (key, value) in edits {
                match value {
                    Some(value) => drop(group.insert(*key, value.clone())),
                    None => drop(group.remove(key)),
                }
            }
            let chunk = if follows && !group.is_empty() && !whole {
                GroupChunk::Delta(delta(edits).into())
            } else {
                GroupChunk::Base(base(group).into())
            };
            all.entry((0, KeyGroup(*number))).or_default().add(chunk);
        }
        state.retain(|_, group| !group.is_empty());
        let guest = Some(vec![*guest; 3]);
        let subtask = SubtaskId { vertex: 0, index: crate::ids::SubtaskIndex(0) };
        let ready = Ready {
            id,
            purpose: Purpose::Periodic,
            triggered_at: 0,
            changed: all,
            subtasks: BTreeMap::from([(subtask, (Default::default(), guest.clone()))]),
            memories: BTreeMap::new(),
            took: BTreeMap::new(),
        };
        script.lock().unwrap().clone_from(failures);
        let written = writer.write(&ready, begun(), chunks.clone(), None);
        writer.tidy();
        script.lock().unwrap().clear();
        match written {
            Ok(written) => {
                chunks = written.chunks;
                kept.insert(id, (state.clone(), guest));
            }
            Err(_) => put_back = ready.changed,
        }
        let present = writer.store.lock().unwrap().list().unwrap();
        prop_assert_eq!(present.last(), kept.keys().last(), "what failed must not be there");
        for id in present {
            prop_assert_eq!(&read(&writer, id), &kept[&id], "checkpoint {}", id);
        }
    }
    // At last all goes well, and what is superseded goes.
    let present = writer.store.lock().unwrap().list().unwrap();
    prop_assert!(present.len() >= kept.len().min(retain as usize));
    Ok(())
}

fn checkpoints() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![
        2 => Just(None),
        6 => (0_u8..4).prop_map(|b| Some(vec![b; 5])),
        1 => (0_u8..4).prop_map(|b| Some(vec![b; 150_000])),
    ];
    let edits = prop::collection::btree_map(0_u8..20, value, 1..4);
    let edits = (edits, prop::bool::weighted(0.1));
    let changed = prop::collection::btree_map(0_u16..4, edits, 0..4);
    let failures = prop::collection::vec(prop::bool::weighted(0.1), 0..8);
    prop::collection::vec((changed, 0_u8..3, failures), 1..24)
}

#[test]
fn a_checkpoint_that_somebody_reads_is_kept_until_it_was_read() {
    let script = Arc::new(Mutex::new(Vec::new()));
    let writer = writer(Box::new(MemoryStore::default()), &script, 1);
    let write = |n| {
        let ready = Ready {
            memories: BTreeMap::new(),
            id: CheckpointId(n),
            purpose: Purpose::Periodic,
            triggered_at: 0,
            changed: BTreeMap::new(),
            subtasks: BTreeMap::new(),
            took: BTreeMap::new(),
        };
        writer.write(&ready, begun(), LiveChunks::new(), None).unwrap();
        writer.tidy();
        let all = writer.store.lock().unwrap().list().unwrap();
        all.iter().map(|id| id.0).collect::<Vec<_>>()
    };
    assert_eq!(write(1), [1]);
    let pin = writer.pin(CheckpointId(1));
    assert_eq!((write(2), write(3)), (vec![1, 2], vec![1, 3]));
    drop(pin);
    assert_eq!(write(4), [4]);
}

/// A checkpoint in which a key group said this.
fn ready(n: u64, changed: GroupChunk) -> Ready {
    let mut pieces = Pieces::default();
    pieces.add(changed);
    let subtask = SubtaskId { vertex: 0, index: crate::ids::SubtaskIndex(0) };
    Ready {
        id: CheckpointId(n),
        purpose: Purpose::Periodic,
        triggered_at: 0,
        changed: BTreeMap::from([((0, KeyGroup(0)), pieces)]),
        subtasks: BTreeMap::from([(subtask, Default::default())]),
        memories: BTreeMap::new(),
        took: BTreeMap::new(),
    }
}

#[test]
fn what_is_damaged_is_written_anew_once_all_of_the_state_is_given() {
    let writer = writer(Box::new(MemoryStore::default()), &Arc::default(), 1);
    let mut group: BTreeMap<u8, Vec<u8>> = (0..3).map(|key| (key, vec![key; 9])).collect();
    let write = |n, chunk, chunks| writer.write(&ready(n, chunk), begun(), chunks, None);
    let first = write(1, GroupChunk::Base(base(&group).into()), LiveChunks::new()).unwrap();
    let mut damaged = first.chunks;
    damaged.get_mut(&(0, KeyGroup(0))).unwrap()[0].digest = ChunkDigest([7; 32]);
    let edits: Edits = (0..3).map(|key| (key, Some(vec![key + 10; 9]))).collect();
    // A delta as large as its base: it is to be merged, and the base cannot be read.
    let error = write(2, GroupChunk::Delta(delta(&edits).into()), damaged.clone()).unwrap_err();
    assert!(matches!(error, StoreError::DamagedChunk { .. }), "{error}");
    group.extend(edits.into_iter().map(|(key, state)| (key, state.unwrap())));
    write(3, GroupChunk::Base(base(&group).into()), damaged).unwrap();
    assert_eq!(read(&writer, CheckpointId(3)).0, State::from([(0, group)]));
}

#[test]
fn a_large_state_of_which_little_changes_is_written_little_by_little() {
    const SIZE: usize = 2000;
    let script = Arc::new(Mutex::new(Vec::new()));
    let writer = writer(Box::new(MemoryStore::default()), &script, 1);
    let mut groups: Vec<BTreeMap<u8, Vec<u8>>> =
        (0..8_u8).map(|g| (0..200).map(|key| (key, vec![g; SIZE])).collect()).collect();
    let whole = 8 * 200 * SIZE as u64;
    let (mut chunks, mut bytes, mut longest) = (LiveChunks::new(), Vec::new(), 0);
    for n in 1..=100_u8 {
        let mut changed: BTreeMap<_, Pieces> = BTreeMap::new();
        for (number, group) in (0..).zip(&mut groups) {
            let value: Vec<u8> = [n, u8::try_from(number).unwrap()].repeat(SIZE / 2);
            let edits: Edits = [(n, Some(value.clone())), (n + 1, Some(value))].into();
            let chunk = if n == 1 {
                GroupChunk::Base(base(group).into())
            } else {
                group.extend(edits.iter().map(|(key, state)| (*key, state.clone().unwrap())));
                GroupChunk::Delta(delta(&edits).into())
            };
            changed.entry((0, KeyGroup(number))).or_default().add(chunk);
        }
        let subtask = SubtaskId { vertex: 0, index: crate::ids::SubtaskIndex(0) };
        let ready = Ready {
            id: CheckpointId(n.into()),
            purpose: Purpose::Periodic,
            triggered_at: 0,
            changed,
            subtasks: BTreeMap::from([(subtask, Default::default())]),
            memories: BTreeMap::new(),
            took: BTreeMap::new(),
        };
        let written = writer.write(&ready, begun(), chunks, None).unwrap();
        assert!(written.details.full_bytes > whole, "{:?}", written.details);
        writer.tidy();
        chunks = written.chunks;
        bytes.push(written.bytes);
        longest = longest.max(chunks.values().map(Vec::len).max().unwrap());
    }
    assert!(bytes[0] > whole);
    let after: u64 = bytes[1..].iter().sum();
    // 1 % changed each time: what is written is that, and a few times more to merge it.
    assert!(after < whole * 6, "{after} bytes in 99 checkpoints of {whole}");
    // No checkpoint merges everything at once.
    assert!(*bytes[1..].iter().max().unwrap() < whole, "{bytes:?}");
    assert!(longest <= 2 * MAX_DELTAS, "{longest} chunks to read");
    let (state, _) = read(&writer, CheckpointId(100));
    assert_eq!(state, (0..).zip(groups).collect());
}

proptest! {
    #[test]
    fn every_checkpoint_in_memory_reads_back_as_it_was(
        list in checkpoints(), retain in 1_u32..4,
    ) {
        check(Box::new(MemoryStore::default()), retain, &list)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_checkpoint_in_sled_reads_back_as_it_was(list in checkpoints(), retain in 1_u32..4) {
        let dir = tempfile::tempdir().unwrap();
        check(Box::new(SledStore::open(dir.path()).unwrap()), retain, &list)?;
    }
}
