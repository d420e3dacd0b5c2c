//! The file of profiles: servers that have a name, with what opens them. It is the user's own,
//! and nobody else may read it.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::ids::{ProfileName, TenantId};

/// A server, and what opens it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Where it is.
    pub server: String,
    /// A token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A file with a token, in the place of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Whose objects are meant, if the token is for every tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// A file of certificates to trust besides the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// All profiles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    /// The one that is used if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<ProfileName>,
    /// They.
    #[serde(default)]
    pub profile: BTreeMap<ProfileName, Profile>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfilesError {
    /// There is no place for it.
    #[error("there is no home directory to keep profiles in; set HOME or XDG_CONFIG_HOME")]
    NoHome,
    /// It cannot be read or written.
    #[error("the file of profiles {path} cannot be used: {error}")]
    Io {
        /// Where it is.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not what it must be.
    #[error("the file of profiles {path} has a mistake: {error}")]
    Wrong {
        /// Where it is.
        path: PathBuf,
        /// What, and on which line.
        error: String,
    },
    /// There is no such profile.
    #[error("there is no profile `{name}`; {known}")]
    Unknown {
        /// How it was called.
        name: ProfileName,
        /// Which there are.
        known: String,
    },
}

/// Where the file is: `cofferdam/profiles.toml` below `$XDG_CONFIG_HOME`, or `~/.config`.
#[must_use]
pub fn default_path(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let config = config.or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(config.join("cofferdam/profiles.toml"))
}

impl Profiles {
    /// Reads them; none if there is no file.
    ///
    /// # Errors
    /// If it cannot be read, or has a mistake.
    pub fn load(path: &Path) -> Result<Self, ProfilesError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(ProfilesError::Io { path: path.to_owned(), error }),
        };
        toml::from_str(&text).map_err(|error| ProfilesError::Wrong {
            path: path.to_owned(),
            // The line itself may have a token in it.
            error: match error.span() {
                Some(span) => {
                    let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
                    format!("line {line}: {}", error.message())
                }
                None => error.message().to_owned(),
            },
        })
    }

    /// Writes them, as a whole or not at all.
    ///
    /// # Errors
    /// If that does not work.
    pub fn save(&self, path: &Path) -> Result<(), ProfilesError> {
        let text = toml::to_string(self).map_err(|error| ProfilesError::Wrong {
            path: path.to_owned(),
            error: error.to_string(),
        })?;
        write(path, &text).map_err(|error| ProfilesError::Io { path: path.to_owned(), error })
    }

    /// One of them.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn get(&self, name: &ProfileName) -> Result<&Profile, ProfilesError> {
        self.profile.get(name).ok_or_else(|| {
            let names: Vec<_> = self.profile.keys().map(ProfileName::as_str).collect();
            let known = if names.is_empty() {
                "there are none yet: `cofferdam profile add`".to_owned()
            } else {
                format!("there are: {}", names.join(", "))
            };
            ProfilesError::Unknown { name: name.clone(), known }
        })
    }

    /// The one that is used if nothing is said.
    ///
    /// # Errors
    /// If it is not there any more.
    pub fn current(&self) -> Result<Option<&Profile>, ProfilesError> {
        self.current.as_ref().map(|name| self.get(name)).transpose()
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // For its owner only, from the beginning.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> ProfileName {
        ProfileName::new(name).unwrap()
    }

    #[test]
    fn profiles_are_kept_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/profiles.toml");
        assert_eq!(Profiles::load(&path).unwrap(), Profiles::default());
        let mut profiles = Profiles { current: Some(named("here")), ..Profiles::default() };
        let here = Profile {
            server: "http://127.0.0.1:8080".to_owned(),
            token: Some("cfd_x".to_owned()),
            ..Profile::default()
        };
        profiles.profile.insert(named("here"), here.clone());
        profiles.save(&path).unwrap();
        assert_eq!(Profiles::load(&path).unwrap(), profiles);
        assert_eq!(profiles.current().unwrap(), Some(&here));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let above = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(above.permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_without_what_stands_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profiles.toml");
        fs::write(&path, "[profile.a]\nserver = \"x\"\ntokn = \"cfd_secret\"\n").unwrap();
        let error = Profiles::load(&path).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("tokn"), "{error}");
        assert!(!error.contains("cfd_secret"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let mut profiles = Profiles::default();
        let error = profiles.get(&named("x")).unwrap_err().to_string();
        assert!(error.contains("profile add"), "{error}");
        profiles.profile.insert(named("here"), Profile::default());
        let error = profiles.get(&named("x")).unwrap_err().to_string();
        assert!(error.contains("here"), "{error}");
    }
}
