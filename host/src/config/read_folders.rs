//! Reads `folders` of an `[[operator]]`: directories of this machine that the
//! operator may read, under names of its own.

use super::{
    job::FolderGrant,
    node::{Entry, Node, Value},
    paths::Folder,
    read::Surroundings,
    section::{self, Read, Refusal, Section},
};

/// How many folders an operator may have: each is open in each of its instances.
const MOST: usize = 16;
/// The longest name of a folder, in bytes.
const LONGEST_NAME: usize = 255;
const EXAMPLE: &str = "folders = [{ path = \"reference\", as = \"/reference\" }]";

/// All entries that are sound; mistakes are noted. `granted` says whether the operator
/// may have folders at all.
pub(super) fn read(entry: Entry, granted: bool, around: &Surroundings<'_>) -> Vec<FolderGrant> {
    let problems = around.problems;
    let Value::List(items) = entry.node.value else {
        let message = format!("`folders` must be a list of tables, not {}", entry.node.describe());
        problems.add(&entry.node.place, message, Some(format!("write `{EXAMPLE}`")));
        return Vec::new();
    };
    if !granted && !items.is_empty() {
        let help = "add \"wasi-filesystem\" to the operator's `grants`".to_owned();
        let message = "`folders` are of no use without the grant to see them".to_owned();
        problems.add(&entry.key_place, message, Some(help));
    }
    if items.len() > MOST {
        let message = format!("`folders` has {} entries, and may have {MOST}", items.len());
        let help = "put them below one folder".to_owned();
        problems.add(&entry.key_place, message, Some(help));
        return Vec::new();
    }
    let mut folders: Vec<FolderGrant> = Vec::new();
    for item in items {
        let Some(mut section) = Section::new("an entry of `folders`", item, problems) else {
            continue;
        };
        let path = section.require("path", "path = \"reference\"", |node| around.folder.dir(node));
        let name = section.require("as", "as = \"/reference\"", |node| {
            let name = guest_path(node)?;
            if folders.iter().any(|other| other.name == name) {
                return Err(Refusal::new(format!("is `{name}`, as that of a folder before it")));
            }
            Ok(name)
        });
        section.finish();
        folders.extend(path.zip(name).map(|(path, name)| FolderGrant { path, name }));
    }
    folders
}

/// An absolute path as the guest sees it, without detours.
fn guest_path(node: &Node) -> Read<String> {
    let text = section::text(node)?;
    let refuse = |why: &str| {
        Err(Refusal::new(format!("{why}, and is {}", node.describe()))
            .with_help("as the operator names it: \"/reference\""))
    };
    let Some(below) = text.strip_prefix('/') else {
        return refuse("must begin with `/`");
    };
    if text.len() > LONGEST_NAME || text.contains(char::is_control) {
        return refuse("must be plain text of at most 255 bytes");
    }
    let detour = |part: &str| matches!(part, "" | "." | "..");
    if !below.is_empty() && below.split('/').any(detour) {
        return refuse("must have neither empty parts nor `.` nor `..`");
    }
    Ok(text)
}

impl Folder {
    /// A directory that must be there.
    fn dir(&self, node: &Node) -> Read<std::path::PathBuf> {
        let path = self.path(node)?;
        let help = format!("looked for {}", self.shown(&path));
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => Ok(path),
            Ok(_) => Err(Refusal::new("must be a directory, not a file").with_help(help)),
            Err(error) => {
                let message = format!("names a directory that cannot be read: {error}");
                Err(Refusal::new(message).with_help(help))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::config::{self, job::FolderGrant};

    fn parse(grants: &str, folders: &str) -> Result<Vec<FolderGrant>, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("data/ref")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let job = format!(
            "[job]\nname = 'j'\n[[source]]\nname = 'in'\nconnector = 'stdin'\n\
             [[operator]]\nname = 'op'\nartifact = 'x'\ninput = 'in'\n{grants}\nfolders = {folders}\n\
             [[sink]]\nname = 'out'\ninput = 'op'\nconnector = 'discard'\n"
        );
        let origin = dir.path().join("job.toml");
        let spec = config::parse(&job, &origin, &[]).map_err(|errors| errors.to_string())?;
        let mut folders = spec.operators[0].folders.clone();
        for folder in &mut folders {
            folder.path = folder.path.strip_prefix(dir.path()).unwrap().to_owned();
        }
        Ok(folders)
    }

    const GRANTED: &str = "grants = ['wasi-filesystem']";

    #[test]
    fn folders_are_relative_to_the_job_file_and_have_a_name_for_the_guest() {
        let text = "[{ path = 'data', as = '/' }, { path = 'data/ref', as = '/a/ref' }]";
        let grant =
            |path: &str, name: &str| FolderGrant { path: path.into(), name: name.to_owned() };
        assert_eq!(parse(GRANTED, text), Ok(vec![grant("data", "/"), grant("data/ref", "/a/ref")]));
        assert_eq!(parse("", "[]"), Ok(vec![]));
    }

    #[test]
    fn every_mistake_about_folders_is_told_with_its_line_and_what_to_do() {
        for (grants, folders, said, help) in [
            ("", "[{ path = 'data', as = '/a' }]", "without the grant", "\"wasi-filesystem\""),
            ("grants = ['wasi']", "[{ path = 'data', as = '/a' }]", "without the grant", "add"),
            (GRANTED, "'data'", "a list of tables, not \"data\"", "folders = [{ path"),
            (GRANTED, "['data']", "must be a table, not \"data\"", ""),
            (GRANTED, "[{ as = '/a' }]", "has no `path`", "path = \"reference\""),
            (GRANTED, "[{ path = 'data' }]", "has no `as`", "as = \"/reference\""),
            (GRANTED, "[{ path = 'gone', as = '/a' }]", "cannot be read", "looked for"),
            (GRANTED, "[{ path = 'file', as = '/a' }]", "must be a directory", "looked for"),
            (GRANTED, "[{ path = 'data', as = 'a' }]", "must begin with `/`", "\"/reference\""),
            (GRANTED, "[{ path = 'data', as = '/a/../b' }]", "nor `..`", "\"/reference\""),
            (GRANTED, "[{ path = 'data', as = '/a//b' }]", "empty parts", "\"/reference\""),
            (
                GRANTED,
                "[{ path = 'data', as = '/a' }, { path = 'data/ref', as = '/a' }]",
                "a folder before it",
                "",
            ),
            (GRANTED, "[{ path = 'data', as = '/a', write = true }]", "unknown key `write`", "as"),
        ] {
            let errors = parse(grants, folders).unwrap_err();
            assert!(errors.contains(said) && errors.contains(help), "{folders}: {errors}");
            assert!(errors.contains("job.toml:11:"), "{errors}");
        }
        let many = vec!["{ path = 'data', as = '/a' }"; 17].join(", ");
        assert!(parse(GRANTED, &format!("[{many}]")).unwrap_err().contains("may have 16"));
    }
}
