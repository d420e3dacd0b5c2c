//! A disk of its own size, for tests of what a full one does. Only root can have one.

use std::{fs, io::Write as _, process::Command};

use crate::Place;

/// A disk at `disk` in a place, until the test ends.
#[derive(Debug)]
pub struct Disk<'a>(&'a Place);

impl<'a> Disk<'a> {
    /// Says why the test is skipped, if there can be none.
    ///
    /// # Panics
    /// If there is something at `disk` already.
    #[must_use]
    pub fn mount(place: &'a Place, size: &str) -> Option<Self> {
        let at = place.path("disk");
        fs::create_dir(&at).expect("nothing is there yet");
        let size = format!("size={size}");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).output();
        if mounted.as_ref().is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(place));
        }
        // Not by `println!`, of which a test that passes shows nothing.
        let why = "SKIPPED a test with a disk of its own: only root can mount one";
        let mut stderr = std::io::stderr();
        stderr.write_all(format!("{why}: {mounted:?}\n").as_bytes()).expect("it is there");
        None
    }

    /// Changes how it is mounted: its size, or whether it can be written.
    ///
    /// # Panics
    /// If that cannot be.
    pub fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &how]).arg(self.0.path("disk")).status();
        assert!(done.is_ok_and(|done| done.success()), "mount -o {how}");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path("disk")).status();
    }
}
