//! Whom options, environment and profiles mean: which server, and which token for it. A token is
//! sent to the server only that it was given for.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use super::{
    address::Address,
    error::ClientError,
    profiles::{Profile, Profiles},
};
use crate::ids::{ProfileName, TenantId};

/// A server, and what opens it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is.
    pub address: Address,
    /// What opens it; some servers are open on loopback.
    pub token: Option<Token>,
    /// Whose objects are meant, if the token is for every tenant.
    pub tenant: Option<TenantId>,
    /// A file of certificates to trust besides the usual ones.
    pub ca: Option<PathBuf>,
}

/// A token. It is not shown by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What was given on the command line.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// A server.
    pub server: Option<String>,
    /// A profile.
    pub profile: Option<ProfileName>,
    /// A token.
    pub token: Option<String>,
    /// A file with one.
    pub token_file: Option<PathBuf>,
    /// Whose objects are meant.
    pub tenant: Option<TenantId>,
    /// Certificates to trust.
    pub ca: Option<PathBuf>,
}

/// Finds out who is meant; nobody, if nothing says so. What was given comes first, then the
/// environment (`COFFERDAM_SERVER`, else `COFFERDAM_PROFILE`), then the current profile.
///
/// # Errors
/// If something that counts cannot be used.
pub fn find(
    given: &Given,
    variable: &dyn Fn(&str) -> Option<String>,
    profiles: &Profiles,
) -> Result<Option<Target>, ClientError> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let wrong = |error: &dyn fmt::Display| ClientError::Given(error.to_string());
    let named = |name: &ProfileName| profiles.get(name).map_err(|e| wrong(&e));
    // A profile that is named has its own token, which comes before that of the environment.
    let (server, profile, by_name) = if let Some(server) = &given.server {
        (server.clone(), None, false)
    } else if let Some(name) = &given.profile {
        let profile = named(name)?;
        (profile.server.clone(), Some(profile), true)
    } else if let Some(server) = variable("COFFERDAM_SERVER") {
        (server, None, false)
    } else if let Some(name) = variable("COFFERDAM_PROFILE") {
        let name = ProfileName::new(name)
            .map_err(|bad| wrong(&format!("COFFERDAM_PROFILE cannot be used: {bad}")))?;
        let profile = named(&name)?;
        (profile.server.clone(), Some(profile), false)
    } else if let Some(profile) = profiles.current().map_err(|e| wrong(&e))? {
        (profile.server.clone(), Some(profile), false)
    } else {
        return Ok(None);
    };
    let address: Address =
        server.parse().map_err(|error| wrong(&format!("the server's address {error}")))?;
    let same = |profile: &&Profile| profile.server.parse().ok().as_ref() == Some(&address);
    let profile = profile.or_else(|| profiles.profile.values().find(same));
    let of_profile = || match profile {
        Some(Profile { token: Some(token), .. }) => Ok(Some(Token(token.clone()))),
        Some(Profile { token_file: Some(path), .. }) => read(path).map(Some),
        _ => Ok(None),
    };
    let of_environment = || match (variable("COFFERDAM_TOKEN"), variable("COFFERDAM_TOKEN_FILE")) {
        (Some(token), _) => Ok(Some(Token(token))),
        (None, Some(path)) => read(Path::new(&path)).map(Some),
        (None, None) => Ok(None),
    };
    let token = match (&given.token, &given.token_file) {
        (Some(token), _) => Some(Token(token.clone())),
        (None, Some(path)) => Some(read(path)?),
        (None, None) if by_name => match of_profile()? {
            None => of_environment()?,
            found => found,
        },
        (None, None) => match of_environment()? {
            None => of_profile()?,
            found => found,
        },
    };
    let tenant = given.tenant.clone().or_else(|| profile?.tenant.clone());
    let ca = given.ca.clone().or_else(|| variable("COFFERDAM_CA").map(PathBuf::from));
    let ca = ca.or_else(|| profile?.ca.clone());
    Ok(Some(Target { address, token, tenant, ca }))
}

fn read(path: &Path) -> Result<Token, ClientError> {
    let wrong = |why: &dyn fmt::Display| {
        ClientError::Given(format!("the token in {} cannot be used: {why}", path.display()))
    };
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    match text.trim() {
        "" => Err(wrong(&"the file is empty")),
        token => Ok(Token(token.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "http://a";
    const B: &str = "http://b";

    fn name(text: &str) -> ProfileName {
        ProfileName::new(text).unwrap()
    }

    fn profiles(current: Option<&str>) -> Profiles {
        let profile = |server: &str, token: &str| Profile {
            server: server.to_owned(),
            token: Some(token.to_owned()),
            tenant: Some(TenantId::new("acme").unwrap()),
            ..Profile::default()
        };
        Profiles {
            current: current.map(name),
            profile: [(name("a"), profile(A, "of-a")), (name("b"), profile(B, "of-b"))].into(),
        }
    }

    /// Whom, with which token.
    fn found(
        given: &Given,
        set: &[(&str, &str)],
        current: Option<&str>,
    ) -> Option<(String, Option<String>)> {
        let variable = |name: &str| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let target = find(given, &variable, &profiles(current)).unwrap()?;
        Some((target.address.to_string(), target.token.map(|token| token.0)))
    }

    fn is(server: &str, token: Option<&str>) -> Option<(String, Option<String>)> {
        Some((server.to_owned(), token.map(str::to_owned)))
    }

    #[test]
    fn what_is_nearer_comes_first() {
        let none = Given::default();
        let server = Given { server: Some("http://c".to_owned()), ..Given::default() };
        let profile = Given { profile: Some(name("b")), ..Given::default() };
        let environment = [("COFFERDAM_SERVER", "http://d"), ("COFFERDAM_TOKEN", "of-d")];
        assert_eq!(found(&none, &[], None), None);
        assert_eq!(found(&none, &[("COFFERDAM_SERVER", "")], None), None);
        assert_eq!(found(&none, &[], Some("a")), is(A, Some("of-a")));
        assert_eq!(found(&none, &[("COFFERDAM_PROFILE", "b")], Some("a")), is(B, Some("of-b")));
        assert_eq!(found(&none, &environment, Some("a")), is("http://d", Some("of-d")));
        assert_eq!(found(&profile, &environment, Some("a")), is(B, Some("of-b")));
        assert_eq!(found(&server, &[], Some("a")), is("http://c", None));
        let with_token = Given { token: Some("mine".to_owned()), ..profile };
        assert_eq!(found(&with_token, &environment, None), is(B, Some("mine")));
    }

    #[test]
    fn the_token_of_a_profile_goes_to_its_server_only() {
        let at = |server: &str| Given { server: Some(server.to_owned()), ..Given::default() };
        assert_eq!(found(&at("http://b/"), &[], Some("a")), is(B, Some("of-b")));
        assert_eq!(found(&at("http://b:81"), &[], Some("b")), is("http://b:81", None));
        assert_eq!(found(&at("https://b"), &[], Some("b")), is("https://b", None));
    }

    #[test]
    fn a_token_is_read_from_a_file_and_shown_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "cfd_file\n").unwrap();
        let given = Given {
            server: Some(A.to_owned()),
            token_file: Some(path.clone()),
            ..Given::default()
        };
        assert_eq!(found(&given, &[], None), is(A, Some("cfd_file")));
        let target = find(&given, &|_| None, &Profiles::default()).unwrap().unwrap();
        assert!(!format!("{target:?}").contains("cfd_file"));
        fs::write(&path, "\n").unwrap();
        let error = find(&given, &|_| None, &Profiles::default()).unwrap_err().to_string();
        assert!(error.contains("empty"), "{error}");
    }
}
