//! Notices that `tenants.toml` was changed, by a command or by hand, so that what
//! runs can follow. Looks at the file when it is asked to; how often is the
//! caller's.

use std::{fs, io, os::unix::fs::MetadataExt as _};

use super::registry::{Registry, RegistryError, Tenants};

/// What tells one state of the file from the next.
type Stamp = (u64, u64, i64, i64);

/// Watches the tenants of a registry.
#[derive(Debug)]
pub struct Watch {
    registry: Registry,
    seen: Option<Stamp>,
}

impl Watch {
    /// Watches from the given state on, which is read here.
    ///
    /// # Errors
    /// As [`Registry::load`].
    pub fn start(registry: Registry) -> Result<(Self, Tenants), RegistryError> {
        // The stamp first: what is changed in between is seen once too often.
        let seen = stamp(&registry);
        let tenants = registry.load()?;
        Ok((Self { registry, seen }, tenants))
    }

    /// The tenants, if the file is another than when this was last asked. A mistake in
    /// it is told once, too.
    pub fn look(&mut self) -> Option<Result<Tenants, RegistryError>> {
        let now = stamp(&self.registry);
        if now == self.seen {
            return None;
        }
        self.seen = now;
        Some(self.registry.load())
    }
}

/// None if there is no file, or it cannot be looked at.
fn stamp(registry: &Registry) -> Option<Stamp> {
    let found: io::Result<fs::Metadata> = fs::metadata(registry.path());
    let found = found.ok()?;
    Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::TenantId,
        tenancy::registry::{Change, Changes, FILE},
    };

    #[test]
    fn a_change_is_seen_once_and_a_mistake_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(dir.path());
        let (mut watch, _) = Watch::start(registry.clone()).unwrap();
        assert!(watch.look().is_none());
        let acme = TenantId::new("acme").unwrap();
        let slots = |n| Changes { slots: Change::Set(n), ..Changes::default() };
        registry.create(&acme, &slots(1)).unwrap();
        let seen = watch.look().unwrap().unwrap();
        assert_eq!(seen.get(&acme).unwrap().quotas.slots, Some(1));
        assert!(watch.look().is_none());
        // As long as before, and within the same tick of the file system's clock.
        registry.change(&acme, &slots(2)).unwrap();
        let seen = watch.look().unwrap().unwrap();
        assert_eq!(seen.get(&acme).unwrap().quotas.slots, Some(2));

        fs::write(dir.path().join(FILE), "[tenant.acme]\nslot = 3\n").unwrap();
        assert!(watch.look().unwrap().is_err());
        assert!(watch.look().is_none());
        fs::remove_file(dir.path().join(FILE)).unwrap();
        assert!(watch.look().unwrap().unwrap().get(&acme).is_err());
    }
}
