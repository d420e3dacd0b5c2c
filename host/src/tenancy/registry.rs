//! `tenants.toml`: who the tenants are. People may write it by hand, and commands
//! change it without losing a comment; two that do so at once lose nothing.
//!
//! A command holds the lock of `tenants.lock` while it reads, changes and writes. It
//! writes another file, syncs it, and gives it the name; so whoever reads sees the
//! file before or after the change and needs no lock.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::edit;
use crate::{
    config::{
        JobFileErrors,
        job::{CpuShare, Grant},
        parse_tenants,
        tenant::{TenantSpec, show_byte_rate, show_record_rate},
        units::show_size,
    },
    ids::TenantId,
};

/// The file's name.
pub const FILE: &str = "tenants.toml";
const LOCK: &str = "tenants.lock";
/// How a file begins that a command makes.
const HEADER: &str = "\
# The tenants of Cofferdam, their quotas and grants. `cofferdam tenant set` changes this
# file and keeps what else stands in it; a job that runs follows it within a second.
";

/// Why tenants cannot be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file has mistakes.
    #[error("{0}")]
    Invalid(JobFileErrors),
    /// There is no tenant of that name.
    #[error(
        "there is no tenant `{name}` in {}{suggestion}; make it with `cofferdam tenant create \
         {name}`",
        path.display()
    )]
    Unknown {
        /// The name.
        name: TenantId,
        /// " (did you mean …?)", or nothing.
        suggestion: String,
        /// The file.
        path: PathBuf,
    },
    /// There is one already.
    #[error("there is a tenant `{0}` already; change it with `cofferdam tenant set {0}`")]
    Exists(TenantId),
    /// The default tenant is there for whoever names none.
    #[error(
        "the tenant `{0}` cannot be deleted: jobs for which no tenant is named belong to it; take \
         its quotas away with `cofferdam tenant set {0} --slots none …`"
    )]
    Default(TenantId),
    /// It is written in a way that commands do not change.
    #[error(
        "tenant `{name}` in {} cannot be changed by a command: {why}; write it as a table \
         `[tenant.{name}]` with a line for each quota, or change it by hand",
        path.display()
    )]
    ByHand {
        /// The tenant.
        name: TenantId,
        /// What is in the way.
        why: String,
        /// The file.
        path: PathBuf,
    },
    /// It is not as whoever asks expects.
    #[error("the tenant `{0}` was changed by somebody else; look at it again")]
    Unexpected(TenantId),
    /// The file system does not let us.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was to be done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What becomes of something that a tenant has or has not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is taken away.
    Remove,
    /// It is this from now on.
    Set(T),
}

/// What is to be changed of a tenant. See [`Quotas`](crate::config::tenant::Quotas)
/// for units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the quota of the same name")]
pub struct Changes {
    pub slots: Change<u32>,
    pub memory: Change<u64>,
    pub state: Change<u64>,
    pub jobs: Change<u32>,
    pub artifacts: Change<u32>,
    pub artifact_bytes: Change<u64>,
    pub disk: Change<u64>,
    pub cpu_weight: Change<u32>,
    pub cpu_cap: Change<CpuShare>,
    pub ingest_records: Change<u64>,
    pub ingest_bytes: Change<u64>,
    pub grants: Change<Vec<Grant>>,
    pub require_signatures: Change<bool>,
}

/// All tenants of a file. The default tenant is always one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenants {
    path: PathBuf,
    tenants: BTreeMap<TenantId, TenantSpec>,
}

impl Tenants {
    fn new(path: PathBuf, listed: Vec<TenantSpec>) -> Self {
        let default = TenantSpec::new(TenantId::default());
        let all = std::iter::once(default).chain(listed);
        Self { path, tenants: all.map(|tenant| (tenant.name.clone(), tenant)).collect() }
    }

    /// The tenant of that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, name: &TenantId) -> Result<&TenantSpec, RegistryError> {
        self.tenants.get(name).ok_or_else(|| RegistryError::Unknown {
            name: name.clone(),
            suggestion: self.suggest(name.as_str()),
            path: self.path.clone(),
        })
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &TenantSpec> {
        self.tenants.values()
    }

    fn suggest(&self, name: &str) -> String {
        let known = self.tenants.keys().map(TenantId::as_str);
        let nearest = known.map(|known| (strsim::osa_distance(name, known), known)).min();
        match nearest {
            Some((distance, known)) if distance <= (name.len() / 3).max(1) => {
                format!(" (did you mean `{known}`?)")
            }
            _ => String::new(),
        }
    }
}

/// Where tenants are kept.
#[derive(Debug, Clone)]
pub struct Registry {
    dir: PathBuf,
}

impl Registry {
    /// In this directory, which is made when there is something to write.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// The tenants, as they are now. Where there is no file there is the default one.
    ///
    /// # Errors
    /// If the file cannot be read or has mistakes.
    pub fn load(&self) -> Result<Tenants, RegistryError> {
        let path = self.path();
        let text = self.read()?;
        let listed = parse_tenants(&text, &path).map_err(RegistryError::Invalid)?;
        Ok(Tenants::new(path, listed))
    }

    fn read(&self) -> Result<String, RegistryError> {
        let path = self.path();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(RegistryError::Io { what: "read", path, source }),
        }
    }

    /// Makes a tenant.
    ///
    /// # Errors
    /// If there is one of that name; as [`load`](Self::load); if it cannot be written.
    pub fn create(&self, name: &TenantId, changes: &Changes) -> Result<TenantSpec, RegistryError> {
        self.edit(name, |tenants, text| {
            // The default tenant is there; the file need not say so.
            if tenants.tenants.contains_key(name) {
                return Err(RegistryError::Exists(name.clone()));
            }
            Ok(edit::set(text, name, &changes.lines()))
        })?
        .get(name)
        .cloned()
    }

    /// Changes a tenant.
    ///
    /// # Errors
    /// If there is none of that name; as [`load`](Self::load); if it cannot be written.
    pub fn change(&self, name: &TenantId, changes: &Changes) -> Result<TenantSpec, RegistryError> {
        self.change_if(name, changes, |_| true)
    }

    /// Changes a tenant, if it is as expected.
    ///
    /// # Errors
    /// If it is not; as [`change`](Self::change).
    pub fn change_if(
        &self,
        name: &TenantId,
        changes: &Changes,
        is_expected: impl FnOnce(&TenantSpec) -> bool,
    ) -> Result<TenantSpec, RegistryError> {
        self.edit(name, |tenants, text| {
            if !is_expected(tenants.get(name)?) {
                return Err(RegistryError::Unexpected(name.clone()));
            }
            Ok(edit::set(text, name, &changes.lines()))
        })?
        .get(name)
        .cloned()
    }

    /// Deletes a tenant. What it has used stays in the records.
    ///
    /// # Errors
    /// If there is none of that name, or it is the default one; as
    /// [`load`](Self::load); if it cannot be written.
    pub fn delete(&self, name: &TenantId) -> Result<(), RegistryError> {
        if *name == TenantId::default() {
            return Err(RegistryError::Default(name.clone()));
        }
        let after = self.edit(name, |tenants, text| {
            tenants.get(name)?;
            Ok(edit::delete(text, name))
        })?;
        debug_assert!(after.get(name).is_err(), "{name} is still there");
        Ok(())
    }

    /// Reads, changes and writes, under the lock.
    fn edit(
        &self,
        name: &TenantId,
        change: impl FnOnce(&Tenants, &str) -> Result<Result<String, edit::ByHand>, RegistryError>,
    ) -> Result<Tenants, RegistryError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| RegistryError::Io { what, path, source }
        };
        fs::create_dir_all(&self.dir).map_err(failed("make the directory", &self.dir))?;
        let lock = self.dir.join(LOCK);
        let held = File::options().create(true).append(true).open(&lock);
        let held = held.map_err(failed("open the lock", &lock))?;
        held.lock().map_err(failed("lock", &lock))?;

        let path = self.path();
        let text = self.read()?;
        let listed = parse_tenants(&text, &path).map_err(RegistryError::Invalid)?;
        let before = Tenants::new(path.clone(), listed);
        let begin = if text.trim().is_empty() { HEADER } else { &text };
        let by_hand = |why: String| {
            let (name, path) = (name.clone(), path.clone());
            RegistryError::ByHand { name, why, path }
        };
        let text = change(&before, begin)?.map_err(|edit::ByHand(why)| by_hand(why))?;
        // What was changed must read as what was meant; if not, nothing is written.
        let listed = parse_tenants(&text, &path).map_err(|errors| {
            by_hand(errors.errors.first().map(|e| e.message.clone()).unwrap_or_default())
        })?;
        replace(&path, text.as_bytes()).map_err(failed("write", &path))?;
        Ok(Tenants::new(path, listed))
    }
}

impl Changes {
    /// Keys of `tenants.toml`, with the value that each is to have, if any.
    fn lines(&self) -> Vec<(&'static str, Option<String>)> {
        let quoted = |text: String| format!("\"{text}\"");
        let mut lines = Vec::new();
        let mut put = |key, value: Option<Option<String>>| {
            lines.extend(value.map(|value| (key, value)));
        };
        put("slots", self.slots.show(u32::to_string));
        put("memory", self.memory.show(|bytes| quoted(show_size(*bytes))));
        put("state", self.state.show(|bytes| quoted(show_size(*bytes))));
        put("jobs", self.jobs.show(u32::to_string));
        put("artifacts", self.artifacts.show(u32::to_string));
        put("artifact_bytes", self.artifact_bytes.show(|bytes| quoted(show_size(*bytes))));
        put("disk", self.disk.show(|bytes| quoted(show_size(*bytes))));
        put("cpu_weight", self.cpu_weight.show(u32::to_string));
        put("cpu_cap", self.cpu_cap.show(|cap| quoted(cap.to_string())));
        put("ingest_records", self.ingest_records.show(|rate| quoted(show_record_rate(*rate))));
        put("ingest_bytes", self.ingest_bytes.show(|rate| quoted(show_byte_rate(*rate))));
        let grants = |grants: &Vec<Grant>| {
            let words: Vec<_> =
                grants.iter().map(|grant| quoted(grant.word().to_owned())).collect();
            format!("[{}]", words.join(", "))
        };
        put("grants", self.grants.show(grants));
        put("require_signatures", self.require_signatures.show(bool::to_string));
        lines
    }
}

impl<T> Change<T> {
    /// None if it stays; then none if it goes, or how it is written.
    fn show(&self, show: impl FnOnce(&T) -> String) -> Option<Option<String>> {
        match self {
            Self::Keep => None,
            Self::Remove => Some(None),
            Self::Set(value) => Some(Some(show(value))),
        }
    }
}

/// Gives a file new contents: all of them, or none after a crash.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    // What a link leads to is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".tenants.").tempfile_in(dir)?;
    file.write_all(contents)?;
    if let Ok(before) = fs::metadata(&path) {
        file.as_file().set_permissions(before.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn text(dir: &Path) -> String {
        fs::read_to_string(dir.join(FILE)).unwrap()
    }

    fn slots(n: u32) -> Changes {
        Changes { slots: Change::Set(n), ..Changes::default() }
    }

    #[test]
    fn a_tenant_is_made_changed_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(&dir.path().join("data"));
        assert_eq!(registry.load().unwrap().iter().count(), 1, "the default one");
        let changes = Changes {
            memory: Change::Set(3 << 29),
            cpu_cap: Change::Set(CpuShare(1_500)),
            ingest_records: Change::Set(1_000),
            ingest_bytes: Change::Set(10 << 20),
            grants: Change::Set(vec![Grant::WasiClocks]),
            ..slots(4)
        };
        let made = registry.create(&id("acme"), &changes).unwrap();
        assert_eq!((made.quotas.slots, made.quotas.memory), (Some(4), Some(3 << 29)));
        assert_eq!((made.quotas.cpu_weight, made.quotas.cpu_cap), (100, Some(CpuShare(1_500))));
        assert_eq!(made.grants, Some(vec![Grant::WasiClocks]));
        assert_eq!(registry.load().unwrap().get(&id("acme")).unwrap(), &made);
        let again = registry.create(&id("acme"), &slots(1)).unwrap_err();
        assert!(matches!(again, RegistryError::Exists(_)), "{again}");

        let changes = Changes { memory: Change::Remove, ..slots(5) };
        let changed = registry.change(&id("acme"), &changes).unwrap();
        assert_eq!((changed.quotas.slots, changed.quotas.memory), (Some(5), None));
        assert_eq!(changed.quotas.ingest_bytes, Some(10 << 20), "what is not named stays");
        registry.delete(&id("acme")).unwrap();
        let gone = registry.change(&id("acme"), &slots(1)).unwrap_err();
        assert!(gone.to_string().contains("`cofferdam tenant create acme`"), "{gone}");
    }

    #[test]
    fn what_people_wrote_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let written = "# ours\n[tenant.acme] # the largest\nslots = 4 # until May\njobs=2\n\n\
                       # theirs\n[tenant.'other']\nmemory = \"1GB\"\n";
        fs::write(dir.path().join(FILE), written).unwrap();
        let registry = Registry::at(dir.path());
        registry.change(&id("acme"), &slots(5)).unwrap();
        assert_eq!(text(dir.path()), written.replace("slots = 4", "slots = 5"));
        registry.create(&id("third"), &slots(1)).unwrap();
        let expected = written.replace("slots = 4", "slots = 5") + "\n[tenant.third]\nslots = 1\n";
        assert_eq!(text(dir.path()), expected);
    }

    #[test]
    fn what_a_command_cannot_change_is_left_to_people() {
        for written in [
            "tenant = { acme = { slots = 1 } }\n",
            "tenant.acme.slots = 1\n",
            "[tenant]\nacme.slots = 1\n",
            "[tenant]\nacme = { slots = 1 }\n",
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), written).unwrap();
            let registry = Registry::at(dir.path());
            for refused in
                [registry.change(&id("acme"), &slots(7)).map(|_| ()), registry.delete(&id("acme"))]
            {
                let said = refused.unwrap_err().to_string();
                assert!(said.contains("write it as a table `[tenant.acme]`"), "{said}");
            }
            assert_eq!(text(dir.path()), written, "nothing was lost");
        }
    }

    #[test]
    fn the_default_tenant_may_be_changed_but_not_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(dir.path());
        let default = registry.change(&TenantId::default(), &slots(3)).unwrap();
        assert_eq!(default.quotas.slots, Some(3));
        let refused = registry.delete(&TenantId::default()).unwrap_err().to_string();
        assert!(refused.contains("cannot be deleted"), "{refused}");
    }

    #[test]
    fn an_unknown_tenant_is_answered_with_one_that_is_near() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(dir.path());
        registry.create(&id("acme"), &slots(1)).unwrap();
        let tenants = registry.load().unwrap();
        let said = tenants.get(&id("amce")).unwrap_err().to_string();
        assert!(said.contains("did you mean `acme`?"), "{said}");
        let said = tenants.get(&id("zebra")).unwrap_err().to_string();
        assert!(!said.contains("did you mean"), "{said}");
    }

    #[test]
    fn a_file_with_a_mistake_is_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let written = "[tenant.acme]\nslotz = 4\n";
        fs::write(dir.path().join(FILE), written).unwrap();
        let said = Registry::at(dir.path()).create(&id("b"), &slots(1)).unwrap_err().to_string();
        assert!(said.contains("did you mean `slots`?") && said.contains(":2:1"), "{said}");
        assert_eq!(text(dir.path()), written);
    }

    #[test]
    fn commands_at_once_lose_nothing_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<TenantId> = (0..24).map(|i| id(&format!("t{i}"))).collect();
        std::thread::scope(|scope| {
            for name in &names {
                let registry = Registry::at(dir.path());
                scope.spawn(move || registry.create(name, &slots(2)).unwrap());
            }
        });
        let tenants = Registry::at(dir.path()).load().unwrap();
        assert!(names.iter().all(|name| tenants.get(name).is_ok()));
        let files = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, 2, "the file and its lock");
    }
}
