//! Takes crash capsules: puts together what a subtask tells of a crash, what the last
//! checkpoint holds of it, and its settings, and writes that into a file, beside the job.
//! What is in a capsule and how it is replayed stands in the room `capsule`.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use serde_bytes::ByteBuf;
use tokio::task::JoinHandle;

use crate::{
    capsule::{
        Capsule,
        memory::{GuestMemory, MemoryThen},
        model::{Event, From, OperatorSettings, SavedState},
    },
    checkpoint::{ChunkDigest, GuestState, Manifest, OperatorState, StoreError, StoredChunk},
    config::job::{CapsulePolicy, Grant, OperatorSpec, StateKeeping},
    ids::CheckpointId,
    job_manager::{
        control::RunOptions,
        deploy::Deployer,
        images,
        plan::Role,
        writer::{Pin, Writer},
    },
    sandbox::{OperatorKind, artifact::CONTRACT},
    state::windows::Windows,
    stream::keys::{KeyGroup, KeyGroups},
    task_manager::{
        SubtaskId,
        recorder::{Crash, Recorded, Recording, Segment},
    },
    threads,
};

/// How many capsules a directory keeps: the newest.
const MOST_CAPSULES: usize = 16;
/// The most state that is taken from a checkpoint into a capsule, in bytes.
const MOST_STATE: u64 = 64 << 20;
/// How many are written at a time: who crashes in a loop fills neither memory nor disk.
const MOST_WRITING: usize = 4;
/// What a capsule's file name ends with.
pub const EXTENSION: &str = "capsule";

/// Where a job's capsules go; none if there are to be none.
#[must_use]
pub fn directory(policy: CapsulePolicy, options: &RunOptions) -> Option<PathBuf> {
    let given = options.capsules.clone();
    let dir = given.or_else(|| options.state.as_ref().map(|state| state.join("capsules")));
    dir.filter(|_| policy != CapsulePolicy::Off)
}

/// Takes the capsules of one job.
#[derive(Debug, Default)]
pub struct Capsules {
    dir: Option<PathBuf>,
    writing: Vec<JoinHandle<()>>,
    /// Of the last crash of each subtask.
    taken: BTreeMap<SubtaskId, PathBuf>,
}

impl Capsules {
    /// Puts them into a directory, if any is given.
    #[must_use]
    pub fn new(dir: Option<PathBuf>) -> Self {
        Self { dir, ..Self::default() }
    }

    /// Takes one, beside the job: it need not be there yet when this returns. None is
    /// taken while too many are being written.
    pub fn take(&mut self, id: SubtaskId, crash: Crash, deployer: &Arc<Deployer>, writer: &Writer) {
        self.taken.remove(&id);
        let Some(dir) = self.dir.clone() else { return };
        self.writing.retain(|writing| !writing.is_finished());
        if self.writing.len() >= MOST_WRITING {
            return;
        }
        let taken_at = deployer.clock.now_millis();
        let name = &deployer.plan.vertices[id.vertex].name;
        let path = dir.join(format!("{name}-{}-{taken_at}.{EXTENSION}", id.index));
        self.taken.insert(id, path.clone());
        let (deployer, writer) = (deployer.clone(), writer.clone());
        self.writing.push(threads::blocking(move || {
            let Some(capsule) = compose(&deployer, &writer, id, crash, taken_at) else {
                return;
            };
            if let Err(error) = keep(&path, &capsule) {
                tracing::warn!("no capsule was written: {}: {error}", path.display());
            }
        }));
    }

    /// Where the capsule of a subtask's last crash is, or will be.
    #[must_use]
    pub fn of(&self, id: SubtaskId) -> Option<&Path> {
        self.taken.get(&id).map(PathBuf::as_path)
    }

    /// Waits until what was taken is written.
    pub async fn finish(&mut self) {
        for writing in std::mem::take(&mut self.writing) {
            let _ = writing.await;
        }
    }
}

/// All that is known of a crash. None if the subtask is no operator's.
fn compose(
    deployer: &Deployer,
    writer: &Writer,
    id: SubtaskId,
    crash: Crash,
    taken_at: i64,
) -> Option<Capsule> {
    let operator = settings(deployer, id)?;
    let saves_memory = saves_memory(deployer, id);
    let keeps_state = saves_memory || operator.kind == OperatorKind::Processor { snapshot: true };
    let start = match crash.before {
        // Nothing else is remembered of it, and nothing else is needed.
        Some(before) if crash.segments.is_empty() => Start::of_call(before),
        before => match (Start::checkpointed(writer, &operator, &crash.segments), before) {
            (Ok(start), _) => start,
            (Err(_), Some(before)) => Start::of_call(before),
            (Err(why), None) => {
                Start { incomplete: keeps_state.then_some(why), ..Start::nothing() }
            }
        },
    };
    let Start { from, state, memory, events, incomplete } = start;
    let events = events.iter().chain([&crash.event]).map(Event::of).collect();
    let capsule = Capsule {
        from,
        state,
        events,
        incomplete,
        failure: Some(crash.failure),
        memory: memory_of(saves_memory, memory),
        ..blank(deployer, operator, taken_at)
    };
    Some(as_wanted(deployer, capsule))
}

/// A capsule in which nothing has happened yet.
fn blank(deployer: &Deployer, operator: OperatorSettings, taken_at: i64) -> Capsule {
    Capsule {
        written_by: Capsule::this_program(),
        contract: CONTRACT.to_owned(),
        taken_at,
        job: deployer.spec.job.name.clone(),
        operator,
        redacted: false,
        from: From::Beginning,
        state: SavedState::default(),
        events: Vec::new(),
        incomplete: None,
        failure: None,
        memory: GuestMemory::NotSaved,
    }
}

/// With payloads or without, as the job file says.
fn as_wanted(deployer: &Deployer, capsule: Capsule) -> Capsule {
    match deployer.spec.job.capsules {
        CapsulePolicy::Redacted => capsule.redacted(&rand::random()),
        CapsulePolicy::Full | CapsulePolicy::Off => capsule,
    }
}

/// A recording as a capsule. None if the subtask is no operator's.
#[must_use]
pub fn of_recording(
    deployer: &Deployer,
    id: SubtaskId,
    recording: Recording,
    taken_at: i64,
) -> Option<Capsule> {
    let operator = settings(deployer, id)?;
    let keyed = recording.state.keyed.into_iter();
    let keyed = keyed.map(|(group, chunk)| (group, vec![ByteBuf::from(chunk)])).collect();
    let guest = recording.state.guest.map(ByteBuf::from);
    let saves_memory = saves_memory(deployer, id);
    let memory = recording.state.memory.filter(|memory| memory.bytes() as u64 <= MOST_STATE);
    let incomplete = if saves_memory && memory.is_none() {
        Some("what the operator had in its memory is too large for a recording, or for its slot")
    } else if !recording.whole {
        Some("fewer batches than were asked for: they were too large, or the input ended")
    } else {
        None
    };
    let capsule = Capsule {
        from: From::Checkpoint(recording.since),
        state: SavedState { keyed, guest, redacted_bytes: 0 },
        events: recording.events.iter().map(Event::of).collect(),
        incomplete: incomplete.map(str::to_owned),
        memory: memory_of(saves_memory, memory.as_ref().map(MemoryThen::of)),
        ..blank(deployer, operator, taken_at)
    };
    Some(as_wanted(deployer, capsule))
}

/// What a capsule says of its guest's memory.
fn memory_of(saved: bool, then: Option<MemoryThen>) -> GuestMemory {
    match then {
        Some(memory) => GuestMemory::Then(memory),
        None if saved => GuestMemory::Fresh,
        None => GuestMemory::NotSaved,
    }
}

/// What a capsule begins with.
struct Start {
    from: From,
    state: SavedState,
    memory: Option<MemoryThen>,
    events: Vec<Recorded>,
    incomplete: Option<String>,
}

impl Start {
    fn nothing() -> Self {
        Self {
            from: From::Beginning,
            state: SavedState::default(),
            memory: None,
            events: Vec::new(),
            incomplete: None,
        }
    }

    fn of_call(before: Vec<(KeyGroup, Vec<u8>)>) -> Self {
        let keyed = before.into_iter().map(|(group, chunk)| (group, vec![ByteBuf::from(chunk)]));
        let state = SavedState { keyed: keyed.collect(), ..SavedState::default() };
        Self { from: From::Call, state, ..Self::nothing() }
    }

    /// The newest checkpoint of which it is known what came in after it.
    fn checkpointed(
        writer: &Writer,
        operator: &OperatorSettings,
        segments: &[Segment],
    ) -> Result<Self, String> {
        let (checkpoint, events) = newest(writer, segments)?;
        let Some((manifest, _pin)) = checkpoint else {
            return Ok(Self { events, ..Self::nothing() });
        };
        // The store is held for one chunk at a time: the job restores its own state meanwhile.
        let read = |digest| {
            let store = writer.store.lock().unwrap_or_else(PoisonError::into_inner);
            store.chunk(manifest.id, digest).map_err(unreadable)
        };
        let saved = manifest.operators.get(&operator.name);
        let state = saved.map(|saved| state_of(saved, operator, read)).transpose()?;
        let (state, memory) = state.unwrap_or_default();
        let from = From::Checkpoint(manifest.id);
        Ok(Self { from, state, memory, events, incomplete: None })
    }
}

/// The newest checkpoint of which it is known what came in after it, kept for as long as
/// it is read, and that; none if that is the beginning.
fn newest(writer: &Writer, segments: &[Segment]) -> Result<SinceCheckpoint, String> {
    let store = writer.store.lock().unwrap_or_else(PoisonError::into_inner);
    let mut checkpoints: Vec<_> = store.list().map_err(unreadable)?.into_iter().map(Some).collect();
    if checkpoints.is_empty() {
        checkpoints.push(None);
    }
    checkpoints.sort();
    let newest = checkpoints.into_iter().rev();
    let found = newest.filter_map(|id| Some((id, since(segments, id)?))).next();
    let (checkpoint, events) = found.ok_or(
        "the records since its last checkpoint were too many to be remembered, and its state is \
         not in it",
    )?;
    let Some(checkpoint) = checkpoint else { return Ok((None, events)) };
    let manifest = store.manifest(checkpoint).map_err(unreadable)?;
    Ok((Some((manifest, writer.pin(checkpoint))), events))
}

type SinceCheckpoint = (Option<(Manifest, Pin)>, Vec<Recorded>);

#[expect(clippy::needless_pass_by_value, reason = "it takes the place of an error")]
fn unreadable(error: StoreError) -> String {
    format!("the last checkpoint cannot be read: {error}")
}

/// What came since a checkpoint, or since the beginning, if that is known.
fn since(segments: &[Segment], checkpoint: Option<CheckpointId>) -> Option<Vec<Recorded>> {
    let first = segments.iter().position(|segment| segment.since == checkpoint)?;
    Some(segments[first..].iter().flat_map(|segment| segment.events.iter().cloned()).collect())
}

/// What a checkpoint holds of a subtask, and of its guest's memory.
fn state_of(
    saved: &OperatorState,
    operator: &OperatorSettings,
    read: impl Fn(ChunkDigest) -> Result<Vec<u8>, String>,
) -> Result<(SavedState, Option<MemoryThen>), String> {
    let groups = KeyGroups::new(operator.max_parallelism, operator.parallelism);
    let range = groups.range_of(operator.subtask);
    let own = || saved.key_groups.iter().filter(|(group, _)| range.contains(&u32::from(group.0)));
    let subtask = saved.subtasks.get(operator.subtask as usize);
    let guest = subtask.and_then(|state| state.guest.as_ref());
    let of_guest = guest.into_iter().flat_map(GuestState::chunks);
    let all = own().flat_map(|(_, chunks)| chunks).copied().chain(of_guest);
    let bytes: u64 = all.map(|chunk| chunk.bytes).sum();
    if bytes > MOST_STATE {
        return Err(format!(
            "its state is not in it: that has {bytes} bytes, more than goes into a capsule"
        ));
    }
    let read_all = |chunk: &StoredChunk| read(chunk.digest).map(ByteBuf::from);
    let (mut state, mut memory) = (SavedState::default(), None);
    for (group, chunks) in own() {
        let chunks: Result<Vec<ByteBuf>, String> = chunks.iter().map(read_all).collect();
        state.keyed.push((*group, chunks?));
    }
    match guest {
        Some(GuestState::Exported(chunk)) => state.guest = Some(read_all(chunk)?),
        Some(GuestState::Memory(image)) => {
            memory = Some(MemoryThen::of(&images::whole(image, read)?));
        }
        None => {}
    }
    Ok((state, memory))
}

fn saves_memory(deployer: &Deployer, id: SubtaskId) -> bool {
    let role = &deployer.plan.vertices[id.vertex].role;
    matches!(role, Role::Operator(spec, _) if spec.state == Some(StateKeeping::Memory))
}

fn settings(deployer: &Deployer, id: SubtaskId) -> Option<OperatorSettings> {
    let vertex = &deployer.plan.vertices[id.vertex];
    let Role::Operator(spec, kind) = &vertex.role else { return None };
    let artifact = deployer.artifacts.get(&spec.name)?;
    let OperatorSpec { inputs, ports, window, memory, deadline, grants, config, .. } = &**spec;
    Some(OperatorSettings {
        name: spec.name.clone(),
        artifact: spec.artifact.to_string(),
        digest: artifact.digest().to_owned(),
        size: artifact.size() as u64,
        kind: *kind,
        subtask: id.index.0,
        parallelism: vertex.parallelism,
        max_parallelism: deployer.plan.max_parallelism,
        inputs: u32::try_from(inputs.len()).unwrap_or(u32::MAX),
        outputs: u32::try_from(ports.len()).unwrap_or(u32::MAX).max(1),
        windows: window.as_ref().map(Windows::new),
        memory: *memory as u64,
        deadline_millis: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
        grants: grants.iter().map(|grant| Grant::word(*grant).to_owned()).collect(),
        config: serde_json::Value::Object(config.clone()).to_string(),
    })
}

/// Writes a crash's capsule, and drops the oldest if there are too many.
fn keep(path: &Path, capsule: &Capsule) -> io::Result<()> {
    write(path, capsule)?;
    path.parent().map_or(Ok(()), drop_oldest)
}

/// Writes a capsule or recording under its name at once; says how many bytes it has.
///
/// # Errors
/// If that cannot be done; then there is no file of that name.
pub fn write(path: &Path, capsule: &Capsule) -> io::Result<u64> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let bytes = capsule.encode();
    let unfinished = path.with_extension("unfinished");
    let written = fs::File::create(&unfinished).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    Ok(bytes.len() as u64)
}

fn drop_oldest(dir: &Path) -> io::Result<()> {
    let mut capsules = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == EXTENSION) {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            // Another one that is being written may have dropped it.
            capsules.extend(modified.ok().map(|at| (at, entry.path())));
        }
    }
    capsules.sort();
    let surplus = capsules.len().saturating_sub(MOST_CAPSULES);
    for (_, path) in capsules.iter().take(surplus) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Now;

    #[test]
    fn what_came_since_the_last_checkpoint_is_found_though_a_later_barrier_has_passed() {
        let event = |processing| Recorded::Clock { now: Now { watermark: None, processing } };
        let segment = |id: Option<u64>, events: &[i64]| Segment {
            since: id.map(CheckpointId),
            events: events.iter().map(|at| event(*at)).collect(),
        };
        let segments = [segment(None, &[1]), segment(Some(4), &[2, 3]), segment(Some(5), &[4])];
        assert_eq!(since(&segments, Some(CheckpointId(4))).unwrap(), [2, 3, 4].map(event));
        assert_eq!(since(&segments, None).unwrap(), [1, 2, 3, 4].map(event));
        assert_eq!(since(&segments, Some(CheckpointId(3))), None);
    }

    #[test]
    fn a_directory_keeps_the_newest_and_nothing_unfinished() {
        let dir = tempfile::tempdir().unwrap();
        let capsule = crate::capsule::model::tests::capsule();
        for i in 0..MOST_CAPSULES + 3 {
            keep(&dir.path().join(format!("o-0-{i:02}.{EXTENSION}")), &capsule).unwrap();
        }
        let mut left: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!((left.len(), left[0].as_str()), (MOST_CAPSULES, "o-0-03.capsule"));
    }

    #[test]
    fn they_go_below_the_state_unless_another_place_is_given_or_there_are_none() {
        let (state, own) = (Some(PathBuf::from("st")), Some(PathBuf::from("mine")));
        let options = |state: &Option<PathBuf>, capsules: &Option<PathBuf>| RunOptions {
            state: state.clone(),
            capsules: capsules.clone(),
            ..RunOptions::default()
        };
        let full = CapsulePolicy::Full;
        assert_eq!(directory(full, &options(&state, &None)), Some("st/capsules".into()));
        assert_eq!(directory(full, &options(&state, &own)), own);
        assert_eq!(directory(full, &options(&None, &None)), None);
        assert_eq!(directory(CapsulePolicy::Off, &options(&state, &own)), None);
    }
}
