use super::*;
use crate::{
    checkpoint::{
        manifest::{GuestState, OperatorState, SubtaskState},
        verify::{is_whole, way_out},
    },
    ids::{JobName, OperatorName},
};

fn manifest(id: u64, guest: StoredChunk) -> Manifest {
    let state = OperatorState {
        subtasks: vec![SubtaskState {
            guest: Some(GuestState::Exported(guest)),
            ..SubtaskState::default()
        }],
        ..OperatorState::default()
    };
    Manifest {
        id: CheckpointId(id),
        job: JobName::new("j").unwrap(),
        triggered_at: 0,
        epoch: 0,
        max_parallelism: 128,
        finished: false,
        operators: BTreeMap::from([(OperatorName::new("o").unwrap(), state)]),
    }
}

#[test]
fn a_database_that_is_written_anew_is_laid_out_for_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let layout = || Layout::of(&dir.path().join("checkpoints"));
    let mut store = SledStore::open(dir.path()).unwrap();
    assert_eq!(layout(), Some(Layout::SMALL));
    let much: Vec<u8> = (0..=u8::MAX).cycle().take(5 << 20).collect();
    let (first, _) = store.put_chunk(&much).unwrap();
    store.commit(&manifest(1, first)).unwrap();
    store.compact().unwrap();
    assert_eq!(layout(), Some(Layout::LARGE));
    drop(store);
    let mut store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.chunk(CheckpointId(1), first.digest).unwrap(), much);
    let (second, _) = store.put_chunk(b"little").unwrap();
    store.commit(&manifest(2, second)).unwrap();
    store.discard(&[CheckpointId(1)]).unwrap();
    store.accept_loss().unwrap();
    store.commit(&manifest(3, second)).unwrap();
    store.compact().unwrap();
    assert_eq!(layout(), Some(Layout::SMALL));
    assert_eq!(store.chunk(CheckpointId(3), second.digest).unwrap(), b"little");
}

#[test]
fn a_checkpoint_comes_back_after_reopening_and_drops_its_chunks_when_discarded() {
    let dir = tempfile::tempdir().unwrap();
    let large = vec![7; 3 * Layout::LARGE.piece + 5];
    let (first, second) = {
        let mut store = SledStore::open(dir.path()).unwrap();
        let (first, written) = store.put_chunk(&large).unwrap();
        assert!(written > large.len());
        assert_eq!(store.put_chunk(&large).unwrap(), (first, 0), "the same content again");
        store.commit(&manifest(1, first)).unwrap();
        let (second, _) = store.put_chunk(b"small").unwrap();
        store.commit(&manifest(2, second)).unwrap();
        (first, second)
    };
    let mut store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.list().unwrap(), [CheckpointId(1), CheckpointId(2)]);
    assert_eq!(store.chunk(CheckpointId(1), first.digest).unwrap(), large);
    assert_eq!(store.manifest(CheckpointId(2)).unwrap(), manifest(2, second));
    store.discard(&[CheckpointId(1)]).unwrap();
    let (third, _) = store.put_chunk(b"third").unwrap();
    store.commit(&manifest(3, third)).unwrap();
    assert!(store.chunk(CheckpointId(1), first.digest).is_err());
    assert_eq!(store.chunk(CheckpointId(2), second.digest).unwrap(), b"small");
}

#[test]
fn a_damaged_chunk_is_told_from_a_missing_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    let digest = store.put_chunk(b"state").unwrap().0.digest;
    let chunks = &store.trees.as_ref().unwrap().chunks;
    let mut framed = chunks.get(piece_key(&digest.0, 0)).unwrap().unwrap().to_vec();
    framed[26] ^= 1;
    chunks.insert(piece_key(&digest.0, 0), framed).unwrap();
    let message = store.chunk(CheckpointId(3), digest).unwrap_err().to_string();
    assert!(message.contains("checkpoint 3") && message.contains("checksum"), "{message}");
    let missing = store.chunk(CheckpointId(3), ChunkDigest::of(b"x")).unwrap_err().to_string();
    assert!(missing.contains("missing"), "{missing}");
}

#[test]
fn if_the_newest_checkpoint_is_damaged_an_older_one_can_be_gone_on_from_when_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    let mut damaged = None;
    for n in 1..=3 {
        let (chunk, _) = store.put_chunk(format!("state {n}").as_bytes()).unwrap();
        store.commit(&manifest(n, chunk)).unwrap();
        damaged = Some(chunk.digest);
    }
    let key = piece_key(&damaged.unwrap().0, 0);
    store.trees.as_ref().unwrap().chunks.insert(key, b"something else").unwrap();
    let told = way_out(&store, CheckpointId(3));
    assert!(told.contains("checkpoint 2 is whole") && told.contains("prune --damaged"), "{told}");
    let told = way_out(&store, CheckpointId(1));
    assert!(told.contains("no older checkpoint is whole"), "{told}");
    store.discard(&[CheckpointId(3)]).unwrap();
    store.accept_loss().unwrap();
    drop(store);
    let store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.list().unwrap(), [CheckpointId(1), CheckpointId(2)]);
    assert!(is_whole(&store, CheckpointId(2)));
}

#[test]
fn a_manifest_that_is_half_there_is_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut store = SledStore::open(dir.path()).unwrap();
        let (chunk, _) = store.put_chunk(b"state").unwrap();
        store.commit(&manifest(1, chunk)).unwrap();
        let manifests = &store.trees.as_ref().unwrap().manifests;
        // Its first piece would have come last.
        manifests.insert(piece_key(&manifest_key(CheckpointId(2)), 1), b"the rest").unwrap();
    }
    let store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.list().unwrap(), [CheckpointId(1)]);
    assert_eq!(store.trees.as_ref().unwrap().manifests.len(), 1);
}

#[test]
fn a_store_in_use_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let _held = SledStore::open(dir.path()).unwrap();
    let message = SledStore::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("in use by another process"), "{message}");
}

#[test]
fn chunks_that_a_crash_left_behind_are_removed_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let named = {
        let mut store = SledStore::open(dir.path()).unwrap();
        let (named, _) = store.put_chunk(b"named").unwrap();
        store.commit(&manifest(1, named)).unwrap();
        store.put_chunk(&[3; 200_000]).unwrap();
        // As a crash would leave a chunk of which the first piece was written.
        let trees = store.trees.as_ref().unwrap();
        trees.sizes.insert([9; 32], &70_000_u64.to_le_bytes()).unwrap();
        trees.chunks.insert(piece_key(&[9; 32], 0), &b"x"[..]).unwrap();
        named
    };
    let store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.chunk(CheckpointId(1), named.digest).unwrap(), b"named");
    let trees = store.trees.as_ref().unwrap();
    assert_eq!((trees.sizes.len(), trees.chunks.len()), (1, 1));
}

#[test]
fn the_writes_of_an_owner_that_was_succeeded_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let chunk = {
        let mut store = SledStore::open(dir.path()).unwrap();
        let first = store.own("the first").unwrap();
        let second = store.own("the second").unwrap();
        assert_eq!((first.epoch, second.epoch), (1, 2));
        let (chunk, _) = store.put_chunk(b"state").unwrap();
        let stale = Manifest { epoch: first.epoch, ..manifest(1, chunk) };
        let message = store.commit(&stale).unwrap_err().to_string();
        assert!(message.contains("belongs to the second now"), "{message}");
        assert!(store.list().unwrap().is_empty());
        store.commit(&Manifest { epoch: second.epoch, ..manifest(1, chunk) }).unwrap();
        chunk
    };
    let mut store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.owner().unwrap().unwrap().name, "the second");
    assert_eq!(store.own("the third").unwrap().epoch, 3);
    let stale = Manifest { epoch: 2, ..manifest(2, chunk) };
    assert!(matches!(store.commit(&stale), Err(StoreError::Fenced { .. })));
}

#[test]
fn a_manifest_that_names_what_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    assert!(store.commit(&manifest(1, StoredChunk::of(b"never put"))).is_err());
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn a_database_that_lost_its_checkpoints_is_not_taken_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (old, db) = (copy.path().join("old"), dir.path().join("checkpoints"));
    let copy_db = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            if entry.metadata().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    };
    for id in 1..3 {
        let mut store = SledStore::open(dir.path()).unwrap();
        let (chunk, _) = store.put_chunk(b"state").unwrap();
        store.commit(&manifest(id, chunk)).unwrap();
        drop(store);
        if id == 1 {
            copy_db(&db, &old);
        }
    }
    std::fs::remove_dir_all(&db).unwrap();
    let message = SledStore::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("checkpoint 2 of the job `j`"), "{message}");
    assert!(message.contains("it holds none"), "{message}");
    std::fs::remove_dir_all(&db).unwrap();
    copy_db(&old, &db);
    let message = SledStore::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("the newest in it is 1"), "{message}");
    // As the message says.
    std::fs::remove_file(dir.path().join("job")).unwrap();
    assert_eq!(SledStore::open(dir.path()).unwrap().list().unwrap(), [CheckpointId(1)]);
}

#[test]
fn what_was_measured_is_kept_with_a_checkpoint_and_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let details = Details {
        trigger: crate::checkpoint::Trigger::Manual,
        completed_at: 1,
        alignment_micros: 2,
        sync_micros: 3,
        async_micros: 4,
        end_to_end_micros: 5,
        written_bytes: 6,
        full_bytes: 7,
        subtasks: BTreeMap::new(),
    };
    {
        let mut store = SledStore::open(dir.path()).unwrap();
        let (chunk, _) = store.put_chunk(b"state").unwrap();
        store.commit(&manifest(1, chunk)).unwrap();
        store.put_details(CheckpointId(1), &details).unwrap();
    }
    let mut store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.details(CheckpointId(1)).unwrap(), Some(details));
    store.discard(&[CheckpointId(1)]).unwrap();
    assert_eq!(store.details(CheckpointId(1)).unwrap(), None);
}

#[test]
fn a_database_that_is_much_larger_than_what_is_in_it_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    store.own("a test").unwrap();
    let epoch = store.owner().unwrap().unwrap().epoch;
    let mut largest = 0;
    let mut compacted = 0;
    for n in 1..60_u64 {
        // 1 MiB that cannot be compressed and is never the same.
        let mut content = vec![0; 1 << 20];
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut content);
        let (chunk, _) = store.put_chunk(&content).unwrap();
        store.commit(&Manifest { epoch, ..manifest(n, chunk) }).unwrap();
        store.discard(&[CheckpointId(n - 1)]).unwrap();
        compacted += u32::from(store.tidy().unwrap());
        let size = store.size().unwrap();
        assert_eq!(size.live, 1 << 20);
        largest = largest.max(size.disk);
        assert_eq!(store.chunk(CheckpointId(n), chunk.digest).unwrap(), content);
    }
    assert!(compacted > 0, "{largest} bytes and no compaction");
    assert!(largest < 14 << 20, "{largest} bytes");
    drop(store);
    let store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.list().unwrap(), [CheckpointId(59)]);
    assert_eq!(store.owner().unwrap().unwrap().name, "a test");
}
