use super::*;
use crate::{
    checkpoint::{GuestState, OperatorState, SubtaskState, memory_store::MemoryStore},
    ids::OperatorName,
    stream::keys::KeyGroup,
};

const ID: CheckpointId = CheckpointId(7);

/// A store with one checkpoint of three chunks, one of which is named twice.
fn store() -> MemoryStore {
    let mut store = MemoryStore::default();
    let [one, two, guest] = [vec![1; 70_000], vec![2; 10], Vec::new()]
        .map(|content| store.put_chunk(&content).unwrap().0);
    let operator = OperatorState {
        key_groups: [(KeyGroup(1), vec![one, two]), (KeyGroup(3), vec![two])].into(),
        subtasks: vec![SubtaskState {
            guest: Some(GuestState::Exported(guest)),
            ..SubtaskState::default()
        }],
        ..OperatorState::default()
    };
    let manifest = Manifest {
        id: ID,
        job: JobName::new("job").unwrap(),
        triggered_at: 5,
        epoch: 0,
        max_parallelism: 8,
        finished: false,
        operators: [(OperatorName::new("op").unwrap(), operator)].into(),
    };
    store.commit(&manifest).unwrap();
    store
}

fn exported() -> Vec<u8> {
    let mut bytes = Vec::new();
    let told = export(&store(), ID, &mut bytes).unwrap();
    assert_eq!(told, Exported { chunks: 3, bytes: bytes.len() as u64 });
    bytes
}

#[test]
fn a_checkpoint_goes_through_a_file_into_another_store() {
    let bytes = exported();
    let mut other = MemoryStore::default();
    let manifest = import(&mut &bytes[..], &mut other).unwrap();
    assert_eq!(manifest, store().manifest(ID).unwrap());
    assert_eq!(other.list().unwrap(), [ID]);
    for chunk in manifest.chunks() {
        let found = other.chunk(ID, chunk.digest).unwrap();
        assert_eq!(found, store().chunk(ID, chunk.digest).unwrap());
    }
    assert_eq!(verify(&mut &bytes[..]).unwrap().1, manifest);
    let (header, peeked) = peek(&mut &bytes[..]).unwrap();
    assert_eq!((header.id, header.chunks, header.bytes, &peeked), (ID, 3, 70_010, &manifest));
    let again = import(&mut &bytes[..], &mut other).unwrap_err().to_string();
    assert!(again.contains("has checkpoint 7 already"), "{again}");
}

/// Every byte is looked at near the frames' ends, and every so many in between.
fn places(len: usize) -> impl Iterator<Item = usize> {
    (0..len).filter(move |at| *at < 600 || at % 997 == 0 || len - at < 300)
}

#[test]
fn a_file_that_was_cut_anywhere_is_refused_with_where_it_ends() {
    let bytes = exported();
    for len in places(bytes.len()) {
        let mut store = MemoryStore::default();
        let error = import(&mut &bytes[..len], &mut store).unwrap_err().to_string();
        assert!(error.contains(&format!("at byte {len}")), "cut to {len}: {error}");
        assert!(store.list().unwrap().is_empty(), "cut to {len}");
    }
}

#[test]
fn a_file_of_which_any_byte_was_changed_is_refused_and_leaves_no_checkpoint() {
    let bytes = exported();
    for at in places(bytes.len()) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let mut store = MemoryStore::default();
        let error = import(&mut &changed[..], &mut store).unwrap_err().to_string();
        assert!(store.list().unwrap().is_empty(), "byte {at}: {error}");
    }
    let more = [&bytes[..], b"x"].concat();
    let error = verify(&mut &more[..]).unwrap_err().to_string();
    assert!(error.contains("something follows its end"), "{error}");
    let error = verify(&mut &b"a text, and a rather long one"[..]).unwrap_err().to_string();
    assert!(error.contains("no exported checkpoint"), "{error}");
}

#[test]
fn chunks_that_were_exchanged_are_refused() {
    let (mut good, at) = (exported(), b"CFDMCKPT");
    let starts: Vec<usize> = (0..good.len()).filter(|i| good[*i..].starts_with(at)).collect();
    // The second and third chunk, and the end stays.
    let [.., second, third, end] = starts[..] else { panic!("frames") };
    let swapped = [&good[third..end], &good[second..third]].concat();
    good[second..end].copy_from_slice(&swapped);
    let error = verify(&mut &good[..]).unwrap_err().to_string();
    assert!(error.contains("chunk 2 of 3"), "{error}");
}

#[test]
fn the_checkpoint_of_another_job_is_refused() {
    let bytes = exported();
    let mut other = MemoryStore::default();
    let mut manifest = store().manifest(ID).unwrap();
    (manifest.job, manifest.id) = (JobName::new("other").unwrap(), CheckpointId(1));
    manifest.operators.clear();
    other.commit(&manifest).unwrap();
    let error = import(&mut &bytes[..], &mut other).unwrap_err().to_string();
    assert!(error.contains("`job`") && error.contains("`other`"), "{error}");
}
