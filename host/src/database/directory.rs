//! A directory with a database: who has it, where its database lies, and how one database takes
//! the place of another. A crash at any point leaves one whole database.
//!
//! | name | what |
//! | --- | --- |
//! | `lock` | locked by the process that has the directory open; says who that is |
//! | NAME | the database: `checkpoints` of a job's state, `records` of the registry |
//! | `NAME.new` | one that is being made of it, and is not whole |
//! | `NAME.old` | one that is being put away; the only one for a moment |

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::guarded::explain;

/// How often, and how far apart, opening is tried while somebody has the lock. A child
/// process of ours that is just being started has it too, until its own program runs: it
/// is in use for a moment although nobody uses it.
const TRIES: u32 = 10;
const APART: Duration = Duration::from_millis(20);

/// Why a directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it open.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// Which directory.
        path: PathBuf,
        /// Which process, as far as it is known.
        by: Option<String>,
    },
    /// The system says no.
    #[error("{} cannot be {action}: {reason}", path.display())]
    System {
        /// Which directory.
        path: PathBuf,
        /// "opened", "read", "written".
        action: &'static str,
        /// What it said, and what to do.
        reason: String,
    },
}

/// A directory that nobody else has open.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The database's.
    name: &'static str,
    lock: File,
}

/// What of a database that is open was made durable already.
#[derive(Debug, Default)]
pub struct Synced {
    /// Blobs are written once.
    blobs: BTreeSet<OsString>,
    /// Its files have their names.
    names: bool,
}

impl Directory {
    /// Opens a directory, which is made if it is not there. `name` is that of the database.
    ///
    /// # Errors
    /// If another process has it, or the system says no.
    pub fn open(path: &Path, name: &'static str) -> Result<Self, DirectoryError> {
        let made = !path.exists();
        fs::create_dir_all(path).map_err(failed(path, "created"))?;
        if made && let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync(parent).map_err(failed(path, "created"))?;
        }
        let directory = Self { path: path.to_owned(), name, lock: lock(path)? };
        directory.settle().map_err(failed(path, "opened"))?;
        Ok(directory)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its database is.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.join(self.name)
    }

    /// Where a database is made that will take the place of the present one.
    #[must_use]
    pub fn new_database(&self) -> PathBuf {
        self.path.join(format!("{}.new", self.name))
    }

    fn old_database(&self) -> PathBuf {
        self.path.join(format!("{}.old", self.name))
    }

    /// Makes durable what a database has told the system to write: sled waits for its
    /// data, but not for the length of its file, nor for the disk's own cache, and of a
    /// blob, or a name, it makes nothing durable at all.
    ///
    /// # Errors
    /// If the system does not; then nothing is known to be durable.
    pub fn sync_database(&self, database: &Path, synced: &mut Synced) -> io::Result<()> {
        let blobs = database.join("blobs");
        let mut present = BTreeSet::new();
        for blob in fs::read_dir(&blobs)? {
            let name = blob?.file_name();
            if !synced.blobs.contains(&name) {
                match File::open(blobs.join(&name)) {
                    Ok(file) => file.sync_all()?,
                    // A blob may go at any moment.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            present.insert(name);
        }
        if present != synced.blobs || !synced.names {
            sync(&blobs)?;
        }
        File::open(database.join("db"))?.sync_all()?;
        if !synced.names {
            File::open(database.join("conf"))?.sync_all()?;
            sync(database)?;
            sync(&self.path)?;
        }
        *synced = Synced { blobs: present, names: true };
        Ok(())
    }

    /// Says in the lock who has it: whoever finds it locked reads that.
    pub fn say_who(&mut self, who: &str) {
        let said = format!("process {}, {who}\n", std::process::id());
        let mut write = || {
            self.lock.set_len(0)?;
            self.lock.rewind()?;
            self.lock.write_all(said.as_bytes())
        };
        // It is only said to be helpful.
        let _: io::Result<()> = write();
    }

    /// Ends what a crash interrupted.
    fn settle(&self) -> io::Result<()> {
        let (present, old) = (self.database(), self.old_database());
        if !present.exists() && old.exists() {
            // Between the two steps of a change: the old one is whole.
            fs::rename(&old, &present)?;
            sync(&self.path)?;
        }
        remove(&self.new_database())?;
        remove(&old)?;
        remove_half_snapshots(&present)
    }

    /// Puts the new database, which must be durable and closed, where there is none yet.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn put_first(&self) -> io::Result<()> {
        fs::rename(self.new_database(), self.database())?;
        sync(&self.path)
    }

    /// Puts the new database, which must be whole and closed, into the place of the
    /// present one, which must be closed too.
    ///
    /// # Errors
    /// If it cannot be renamed; one of them is there then.
    pub fn exchange(&self) -> io::Result<()> {
        let (present, old) = (self.database(), self.old_database());
        sync(&self.new_database())?;
        remove(&old)?;
        fs::rename(&present, &old)?;
        if let Err(error) = fs::rename(self.new_database(), &present) {
            fs::rename(&old, &present)?;
            return Err(error);
        }
        sync(&self.path)?;
        remove(&old)
    }
}

fn lock(dir: &Path) -> Result<File, DirectoryError> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).map_err(failed(dir, "opened"))?;
    let mut tries = 1;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(dir, "opened")(error)),
            Err(TryLockError::WouldBlock) if tries < TRIES => {
                tries += 1;
                std::thread::sleep(APART);
            }
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                let _ = file.read_to_string(&mut by);
                let by = Some(by.trim().to_owned()).filter(|by| !by.is_empty());
                return Err(DirectoryError::Locked { path: dir.to_owned(), by });
            }
        }
    }
}

/// sled writes down now and then where everything is, under another name until it is
/// whole; but what a crash leaves of that it takes for a whole one.
fn remove_half_snapshots(database: &Path) -> io::Result<()> {
    if !database.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// If the system does not.
pub fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// What the system said, with what to do about it.
pub fn failed<E: From<DirectoryError>>(
    path: &Path,
    action: &'static str,
) -> impl Fn(io::Error) -> E {
    move |error| {
        let reason = explain(&error);
        DirectoryError::System { path: path.to_owned(), action, reason }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<Directory, DirectoryError> {
        Directory::open(path, "checkpoints")
    }

    #[test]
    fn whoever_finds_a_directory_in_use_is_told_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let mut held = open(dir.path()).unwrap();
        held.say_who("running the job `flights`");
        let message = open(dir.path()).unwrap_err();
        let who = format!("process {}, running the job `flights`", std::process::id());
        let DirectoryError::Locked { by, .. } = message else { panic!("{message}") };
        assert_eq!(by, Some(who));
        drop(held);
        open(dir.path()).unwrap();
    }

    /// Every state that a crash can leave while one database takes another's place.
    #[test]
    fn a_crash_during_an_exchange_leaves_one_whole_database() {
        let whole = |dir: &Path, name: &str, content: &str| {
            fs::create_dir(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("db"), content).unwrap();
        };
        for (names, expected) in [
            (&["checkpoints"][..], "checkpoints"),
            (&["checkpoints", "checkpoints.new"], "checkpoints"),
            (&["checkpoints.old", "checkpoints.new"], "checkpoints.old"),
            (&["checkpoints", "checkpoints.old"], "checkpoints"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            names.iter().for_each(|name| whole(dir.path(), name, name));
            let directory = open(dir.path()).unwrap();
            let found = fs::read_to_string(directory.database().join("db")).unwrap();
            assert_eq!(found, expected, "{names:?}");
            assert!(!directory.new_database().exists() && !directory.old_database().exists());
        }
        let dir = tempfile::tempdir().unwrap();
        whole(dir.path(), "checkpoints", "before");
        let directory = open(dir.path()).unwrap();
        whole(dir.path(), "checkpoints.new", "after");
        directory.exchange().unwrap();
        let found = fs::read_to_string(directory.database().join("db")).unwrap();
        assert_eq!((found.as_str(), directory.old_database().exists()), ("after", false));
    }
}
