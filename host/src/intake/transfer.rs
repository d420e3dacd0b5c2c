//! A log for a job that begins with another one's savepoint: what was acknowledged after the
//! savepoint is in the other job's log, and must not be lost. Files that grow no more are shared
//! by links.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use super::{IntakeError, keys, segment};
use crate::database::directory::sync;

/// Makes the log of one directory out of what is in another, which may be in use. Does nothing if
/// it is there already, or if there is nothing to begin with. When it returns it is durable.
///
/// # Errors
/// If the disk says no; then it is not there.
pub fn transfer(from: &Path, to: &Path) -> Result<(), IntakeError> {
    if to.exists() || !from.exists() {
        return Ok(());
    }
    let half = to.with_extension("half");
    let copy = || -> Result<(), IntakeError> {
        match fs::remove_dir_all(&half) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(IntakeError::disk(&half)(error));
            }
            _ => segment::make_dir(&half)?,
        }
        // Before the segments: it may name more, and not less.
        for name in keys::files() {
            copy_file(&from.join(name), &half.join(name))?;
        }
        let bases = segment::bases(from)?;
        for (i, base) in bases.iter().enumerate() {
            let (old, new) = (segment::path(from, *base), segment::path(&half, *base));
            let grows = i + 1 == bases.len();
            if grows || fs::hard_link(&old, &new).is_err() {
                copy_file(&old, &new)?;
            }
        }
        sync(&half).map_err(IntakeError::disk(&half))
    };
    copy()?;
    let put = || {
        fs::rename(&half, to)?;
        to.parent().map_or(Ok(()), sync)
    };
    put().map_err(IntakeError::disk(to))
}

/// One that is not there any more is none: nobody needs it.
fn copy_file(old: &Path, new: &Path) -> Result<(), IntakeError> {
    match fs::copy(old, new) {
        Ok(_) => File::open(new).and_then(|f| f.sync_all()).map_err(IntakeError::disk(new)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(IntakeError::disk(old)(error)),
    }
}
