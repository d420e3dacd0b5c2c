//! `cofferdam checkpoint …`: lists, shows and verifies checkpoints, carries them into
//! files and out of them, and drops old ones. A state directory that a job has open is
//! left alone.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    checkpoint_args::{CheckpointCommand, ExportArgs, ImportArgs, OneArgs, PruneArgs},
    checkpoint_view::{self, Shown},
    exit::Exit,
    running_args::JobArgs,
    server,
    terminal::{self, print, refuse},
};
use crate::{
    checkpoint::{
        CheckpointStore, StoreError,
        file::{self, FileError},
        sled_store::SledStore,
        store::superseded,
        verify::{Verified, is_whole, verify, way_out},
    },
    ids::CheckpointId,
};

pub(super) fn checkpoint(command: &CheckpointCommand) -> Result<Exit, Exit> {
    let done = match command {
        CheckpointCommand::List(args) => return server::checkpoints::list(args),
        CheckpointCommand::Show(args) => return server::checkpoints::show(args),
        CheckpointCommand::Trigger(args) => return server::checkpoints::trigger(args),
        CheckpointCommand::Verify(args) => verified(args),
        CheckpointCommand::Export(args) => export(args),
        CheckpointCommand::Import(args) => import(args),
        CheckpointCommand::Prune(args) => prune(args),
    };
    done.map(|()| Exit::Success)
}

/// The checkpoints of a state directory.
pub(super) fn list(job: &JobArgs) -> Result<Exit, Exit> {
    let store = open(&job.state)?;
    let ids = store.list().map_err(unusable)?;
    let all = ids.into_iter().map(|id| shown(&store, id)).collect::<Result<Vec<_>, _>>()?;
    let size = store.size().map_err(unusable)?;
    print(&if job.json {
        checkpoint_view::list_json(&all, size)
    } else {
        checkpoint_view::list(&all, size)
    })?;
    Ok(Exit::Success)
}

/// A checkpoint of a state directory, or of a file.
pub(super) fn show(args: &OneArgs) -> Result<Exit, Exit> {
    let shown = match (&args.file, &args.state) {
        (Some(path), _) => {
            let (_, manifest) =
                file::peek(&mut BufReader::new(read(path)?)).map_err(|e| in_file(path, &e))?;
            Shown { id: manifest.id, manifest: Ok(manifest), details: None }
        }
        (None, Some(state)) => {
            let store = open(state)?;
            shown(&store, chosen(&store, state, args.id)?)?
        }
        (None, None) => return Err(refuse("name a state directory with --state")),
    };
    if let Err(error) = &shown.manifest {
        return Err(damaged(&format!("error: {error}")));
    }
    print(&if args.json {
        checkpoint_view::one_json(&shown)
    } else {
        checkpoint_view::one(&shown)
    })?;
    Ok(Exit::Success)
}

fn verified(args: &OneArgs) -> Result<(), Exit> {
    let mut what_to_do = "it was damaged on its way; export or take it again".to_owned();
    let (id, found) = match (&args.file, &args.state) {
        (Some(path), _) => {
            let (header, manifest) =
                file::verify(&mut BufReader::new(read(path)?)).map_err(|e| in_file(path, &e))?;
            let (chunks, bytes) = (header.chunks, header.bytes);
            (manifest.id, Verified { chunks, bytes, damage: Vec::new() })
        }
        (None, Some(state)) => {
            let store = open(state)?;
            let id = chosen(&store, state, args.id)?;
            let found = verify(&store, id).map_err(|error| match error {
                error @ StoreError::DamagedManifest { .. } => {
                    damaged(&format!("error: {error}; {}", way_out(&store, id)))
                }
                error => unusable(error),
            })?;
            if !found.damage.is_empty() {
                what_to_do = way_out(&store, id);
            }
            (id, found)
        }
        (None, None) => return Err(refuse("name a state directory with --state")),
    };
    print(&if args.json {
        checkpoint_view::verified_json(id, &found)
    } else {
        checkpoint_view::verified(id, &found)
    })?;
    if found.damage.is_empty() {
        return Ok(());
    }
    Err(damaged(&format!("the checkpoint cannot be restored; {what_to_do}")))
}

fn export(args: &ExportArgs) -> Result<(), Exit> {
    let state = &args.state.state;
    if args.file.exists() {
        let path = args.file.display();
        return Err(refuse(&format!("{path} is there already; choose another name")));
    }
    let store = open(state)?;
    let id = chosen(&store, state, args.id)?;
    // Under another name until it is whole.
    let mut partial = args.file.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = write_file(&store, id, &partial).and_then(|written| {
        std::fs::rename(&partial, &args.file).map_err(|error| FileError::Io { at: 0, error })?;
        Ok(written)
    });
    let written = written.map_err(|error| {
        let _ = std::fs::remove_file(&partial);
        match error {
            FileError::Store(error) => unusable(error),
            error => refuse(&format!("cannot write {}: {error}", args.file.display())),
        }
    })?;
    print(&if args.json {
        let (chunks, bytes) = (written.chunks, written.bytes);
        format!("{}\n", json!({"id": id, "file": args.file, "chunks": chunks, "bytes": bytes}))
    } else {
        let size = checkpoint_view::size(written.bytes);
        format!("checkpoint {id} is in {} ({size})\n", args.file.display())
    })
}

fn write_file(
    store: &SledStore,
    id: CheckpointId,
    path: &Path,
) -> Result<file::Exported, FileError> {
    let io = |error| FileError::Io { at: 0, error };
    let file = File::create(path).map_err(io)?;
    let mut writer = BufWriter::new(file);
    let written = file::export(store, id, &mut writer)?;
    writer.get_ref().sync_all().map_err(|error| FileError::Io { at: written.bytes, error })?;
    Ok(written)
}

fn import(args: &ImportArgs) -> Result<(), Exit> {
    let mut reader = BufReader::new(read(&args.file)?);
    let mut store = SledStore::open(&args.state.state).map_err(unusable)?;
    let manifest =
        file::import(&mut reader, &mut store).map_err(|error| in_file(&args.file, &error))?;
    let (id, job) = (manifest.id, &manifest.job);
    print(&if args.json {
        format!("{}\n", json!({"id": id, "job": job, "bytes": manifest.full_bytes()}))
    } else {
        let state = args.state.state.display();
        format!(
            "checkpoint {id} of the job `{job}` is in {state}; `cofferdam run --state` goes on from it\n"
        )
    })
}

fn prune(args: &PruneArgs) -> Result<(), Exit> {
    let mut store = open(&args.state.state)?;
    let before = store.size().map_err(unusable)?;
    let all = store.list().map_err(unusable)?;
    let dropped = if args.damaged {
        let of_damaged = all.iter().copied().filter(|id| !is_whole(&store, *id));
        let of_damaged: Vec<CheckpointId> = of_damaged.collect();
        if !all.is_empty() && of_damaged.len() == all.len() {
            return Err(damaged(
                "error: no checkpoint is whole, and none was dropped; put the state directory back \
                 from a copy, or begin with a savepoint or an exported checkpoint in another \
                 directory",
            ));
        }
        of_damaged
    } else {
        superseded(&all, args.retain)
    };
    store.discard(&dropped).map_err(unusable)?;
    store.accept_loss().map_err(unusable)?;
    drop(store);
    // Opening removes what nobody names any more, and compacts.
    let store = open(&args.state.state)?;
    let after = store.size().map_err(unusable)?;
    print(&if args.json {
        let object = json!({
            "dropped": dropped, "disk_bytes_before": before.disk, "disk_bytes": after.disk,
            "live_bytes": after.live,
        });
        format!("{object}\n")
    } else {
        let count = dropped.len();
        let (before, after) =
            (checkpoint_view::size(before.disk), checkpoint_view::size(after.disk));
        format!("dropped {count} checkpoints; the state directory had {before} and has {after}\n")
    })
}

fn shown(store: &SledStore, id: CheckpointId) -> Result<Shown, Exit> {
    let manifest = match store.manifest(id) {
        Ok(manifest) => Ok(manifest),
        Err(error @ StoreError::DamagedManifest { .. }) => Err(error),
        Err(error) => return Err(unusable(error)),
    };
    Ok(Shown { id, manifest, details: store.details(id).map_err(unusable)? })
}

/// The checkpoint that was named, or the newest.
fn chosen(store: &SledStore, state: &Path, id: Option<CheckpointId>) -> Result<CheckpointId, Exit> {
    let all = store.list().map_err(unusable)?;
    match id {
        Some(id) if all.contains(&id) => Ok(id),
        Some(id) => Err(refuse(&format!(
            "there is no checkpoint {id} in {}; it has {}",
            state.display(),
            checkpoint_view::numbers(&all)
        ))),
        None => all
            .last()
            .copied()
            .ok_or_else(|| refuse(&format!("there is no checkpoint in {}", state.display()))),
    }
}

/// Opens a state directory that is there.
fn open(path: &Path) -> Result<SledStore, Exit> {
    if !path.is_dir() {
        return Err(refuse(&format!("there is no state directory {}", path.display())));
    }
    SledStore::open(path).map_err(unusable)
}

fn read(path: &Path) -> Result<File, Exit> {
    File::open(path).map_err(|error| refuse(&format!("cannot read {}: {error}", path.display())))
}

fn unusable(error: StoreError) -> Exit {
    damaged(&format!("error: {error}"))
}

fn in_file(path: &Path, error: &FileError) -> Exit {
    match error {
        FileError::Store(error) => damaged(&format!("error: {error}")),
        error => damaged(&format!("error: {} cannot be used: {error}", path.display())),
    }
}

fn damaged(text: &str) -> Exit {
    terminal::say(text);
    Exit::State
}
