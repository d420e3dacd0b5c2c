//! Tenants: who they are, what they may use, and what they have used. Knows
//! neither slots nor jobs nor the cores: those who give these out ask here
//! whether they may, and tell what was used.
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`quotas`] | which quota is held where, and what is said when one is exceeded |
//! | [`book`] | which artifacts the running jobs of each tenant use |
//! | [`disk`] | what the jobs of each tenant keep on disk, and who may keep more |
//! | [`grants`] | whether a job grants its operators more than its tenant may |
//! | [`registry`] | `tenants.toml`: read, and changed without losing a word |
//! | `edit` | changing its text, and nothing else in it |
//! | [`watch`] | noticing that it was changed |
//! | [`ingest`] | how fast the sources of a tenant may read |
//! | [`usage`] | usage records: made, kept, read, summed up |

pub mod book;
pub mod disk;
mod edit;
pub mod grants;
pub mod ingest;
pub mod quotas;
pub mod registry;
pub mod usage;
pub mod watch;

use std::path::{Path, PathBuf};

/// Where tenants and usage records are kept: the directory that is given, or the
/// one that `COFFERDAM_DATA` names, or `cofferdam` in `$XDG_DATA_HOME`, or in
/// `~/.local/share`. None if none of these is known.
#[must_use]
pub fn data_dir(given: Option<&Path>) -> Option<PathBuf> {
    choose_data_dir(given, |name| std::env::var_os(name).map(PathBuf::from))
}

fn choose_data_dir(
    given: Option<&Path>,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Option<PathBuf> {
    let named = |name| variable(name).filter(|path| !path.as_os_str().is_empty());
    given.map(Path::to_owned).or_else(|| named("COFFERDAM_DATA")).or_else(|| {
        let home = || named("HOME").map(|home| home.join(".local").join("share"));
        let base = named("XDG_DATA_HOME").filter(|path| path.is_absolute()).or_else(home)?;
        Some(base.join("cofferdam"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_directory_is_the_nearest_that_is_named() {
        let all = [("COFFERDAM_DATA", "d"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")];
        let choose = |given: Option<&str>, skip: usize| {
            let variable = |name: &str| {
                let found = all[skip..].iter().find(|(known, _)| *known == name);
                found.map(|(_, path)| PathBuf::from(path))
            };
            choose_data_dir(given.map(Path::new), variable).map(|path| path.display().to_string())
        };
        assert_eq!(choose(Some("g"), 0).as_deref(), Some("g"));
        assert_eq!(choose(None, 0).as_deref(), Some("d"));
        assert_eq!(choose(None, 1).as_deref(), Some("/x/cofferdam"));
        assert_eq!(choose(None, 2).as_deref(), Some("/h/.local/share/cofferdam"));
        assert_eq!(choose(None, 3), None);
    }
}
