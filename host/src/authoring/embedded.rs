//! The text of SDKs and of new projects, as the build script found it, and of the contract.

use crate::sandbox::componentize::CONTRACT_WIT;

/// Path from the top of the repository, and text; in the order of paths.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
/// Where the contract is.
const CONTRACT: &str = "wit";

/// One file.
#[must_use]
pub fn text(path: &str) -> Option<&'static str> {
    let at = FILES.binary_search_by(|(known, _)| known.cmp(&path)).ok()?;
    Some(FILES[at].1)
}

/// All files below a folder, by their path in it.
pub fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let prefix = format!("{}/", folder.trim_end_matches('/'));
    let contract = if folder == CONTRACT { &CONTRACT_WIT[..] } else { &[] };
    let files =
        FILES.iter().filter_map(move |(path, text)| Some((path.strip_prefix(&prefix)?, *text)));
    files.chain(contract.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_in_the_program_and_not_twice() {
        let mut names: Vec<_> = below("wit").map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["capabilities.wit", "operators.wit", "types.wit", "world.wit"]);
        assert!(FILES.iter().all(|(path, _)| !path.ends_with("world.wit")));
        assert!(text("guest-sdk/c/cofferdam.h").is_some());
        assert_eq!(text("guest-sdk/none.h"), None);
    }
}
