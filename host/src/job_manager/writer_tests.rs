//! Checkpoints written and read back, with a store that fails now and then.

use proptest::prelude::*;

use super::*;
use crate::{
    checkpoint::{memory_store::MemoryStore, sled_store::SledStore},
    config::job::{SinkConnector, SinkSpec},
    ids::OperatorName,
    job_manager::plan::{Role, Vertex},
    task_manager::SubtaskId,
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
    fn discard(&mut self, ids: &[CheckpointId], keep: &[ChunkDigest]) -> Result<(), StoreError> {
        self.turn()?;
        self.store.discard(ids, keep)
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
    }
}

type State = BTreeMap<u16, Vec<u8>>;

/// What a checkpoint holds, as a restore would read it.
fn read(writer: &Writer, id: CheckpointId) -> (State, Option<Vec<u8>>) {
    let manifest = writer.find(id).unwrap();
    let store = writer.store.lock().unwrap();
    let operator = manifest.operators.values().next().unwrap();
    let groups = operator.key_groups.iter();
    let get = |chunk: StoredChunk| store.chunk(id, chunk.digest).unwrap();
    let state = groups.map(|(g, chunks)| (g.0, get(chunks[0]))).collect();
    let guest = operator.subtasks[0].guest.as_ref().and_then(|g| g.chunks().next());
    (state, guest.map(get))
}

fn check(
    store: Box<dyn CheckpointStore>,
    retain: u32,
    checkpoints: &[(State, u8, Vec<bool>)],
) -> Result<(), TestCaseError> {
    let script = Arc::new(Mutex::new(Vec::new()));
    let writer = writer(store, &script, retain);
    let mut chunks = LiveChunks::new();
    let mut state = State::new();
    let mut kept: BTreeMap<CheckpointId, (State, Option<Vec<u8>>)> = BTreeMap::new();
    let mut put_back = BTreeMap::new();
    for ((changed, guest, failures), n) in checkpoints.iter().zip(1..) {
        let id = CheckpointId(n);
        let mut all = std::mem::take(&mut put_back);
        for (group, chunk) in changed {
            all.insert((0, KeyGroup(*group)), chunk.clone());
            state.insert(*group, chunk.clone());
        }
        state.retain(|_, chunk| !chunk.is_empty());
        let guest = Some(vec![*guest; 3]);
        let subtask = SubtaskId { vertex: 0, index: crate::ids::SubtaskIndex(0) };
        let ready = Ready {
            id,
            purpose: Purpose::Periodic,
            triggered_at: 0,
            changed: all,
            subtasks: BTreeMap::from([(subtask, (Default::default(), guest.clone()))]),
        };
        script.lock().unwrap().clone_from(failures);
        let written = writer.write(&ready, chunks.clone());
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

fn checkpoints() -> impl Strategy<Value = Vec<(State, u8, Vec<bool>)>> {
    let chunk = prop_oneof![
        1 => Just(Vec::new()),
        3 => (0_u8..4).prop_map(|b| vec![b; 5]),
        1 => (0_u8..4).prop_map(|b| vec![b; 150_000]),
    ];
    let changed = prop::collection::btree_map(0_u16..8, chunk, 0..5);
    let failures = prop::collection::vec(prop::bool::weighted(0.1), 0..8);
    prop::collection::vec((changed, 0_u8..3, failures), 1..10)
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
