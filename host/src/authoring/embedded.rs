//! The text of SDKs, of the contract and of new projects, as the build script found it.

/// Path from the top of the repository, and text; in the order of paths.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// One file.
#[must_use]
pub fn text(path: &str) -> Option<&'static str> {
    let at = FILES.binary_search_by(|(known, _)| known.cmp(&path)).ok()?;
    Some(FILES[at].1)
}

/// All files below a folder, by their path in it.
pub fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let prefix = format!("{}/", folder.trim_end_matches('/'));
    FILES.iter().filter_map(move |(path, text)| Some((path.strip_prefix(&prefix)?, *text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_in_the_program() {
        assert!(
            text("wit/world.wit").is_some_and(|wit| wit.contains("package cofferdam:operator"))
        );
        let names: Vec<_> = below("wit").map(|(name, _)| name).collect();
        assert_eq!(names, ["capabilities.wit", "operators.wit", "types.wit", "world.wit"]);
        assert_eq!(text("wit/none.wit"), None);
    }
}
