//! Shows mistakes in the job file that only come to light later, when operators
//! are loaded and opened. What those are is found out elsewhere.

use std::path::Path;

use super::{
    Override,
    errors::{JobFileErrors, Place, Problems},
    node::{self, Entry, Node, Value},
};
use crate::{config::job::EXPR, ids::OperatorName};

/// What is wrong with an operator of a job file whose own form is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorFault {
    /// Which operator.
    pub operator: OperatorName,
    /// The key of its `[[operator]]` that has to do with it.
    pub key: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
}

/// The faults with their places in a job file that [`parse`](super::parse) has
/// accepted, under the same overrides.
#[must_use]
pub fn point_out(
    text: &str,
    origin: &Path,
    overrides: &[Override],
    faults: &[OperatorFault],
) -> JobFileErrors {
    let problems = Problems::default();
    let mut root = Node::parse_toml(text, &problems);
    if let Some(root) = &mut root {
        node::apply(root, overrides, &problems);
    }
    for fault in faults {
        let place = root
            .as_mut()
            .and_then(|root| node::node_named(root, &["operator"], fault.operator.as_str()))
            .map_or(Place::File(0..0), |(_, operator)| place_of(operator, fault));
        let message = format!("operator `{}`: {}", fault.operator, fault.message);
        problems.add(&place, message, None);
    }
    let sets: Vec<&str> = overrides.iter().map(Override::as_str).collect();
    problems.into_errors(text, origin, &sets)
}

/// The fault's key or, where the file leaves that out, the artifact or the expressions that stand
/// for one, which every operator has.
fn place_of(operator: &Node, fault: &OperatorFault) -> Place {
    let or = |key| move || entry(operator, key);
    let found = entry(operator, fault.key).or_else(or(EXPR)).or_else(or("artifact"));
    let Some(mut entry) = found else { return operator.place.clone() };
    // Within the config, the setting that the message is about, as far as the file has it.
    for part in named_setting(&fault.message) {
        let Some(inner) = self::entry(&entry.node, part) else { break };
        entry = inner;
    }
    entry.key_place.clone()
}

/// The setting that a message is about, if it names one as the SDK does, part by part:
/// "config `limits.high`".
fn named_setting(message: &str) -> impl Iterator<Item = &str> {
    let path = message.split_once("config `").map_or("", |(_, path)| path);
    let path = path.split(['`', '[']).next().unwrap_or_default();
    path.split('.').filter(|part| !part.is_empty())
}

fn entry<'a>(table: &'a Node, key: &str) -> Option<&'a Entry> {
    entries(table).iter().find(|entry| entry.key == key)
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Table(entries) => entries,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"
[[operator]]
name = "a"
artifact = "filter"

[[operator]]
name = "b"
artifact = "top-n"
config.n = 3
config.by = "mean"
"#;

    fn lines(faults: &[(&str, &'static str, &str)], set: Option<&str>) -> Vec<(String, usize)> {
        let faults: Vec<_> = faults
            .iter()
            .map(|(operator, key, message)| OperatorFault {
                operator: OperatorName::new(*operator).unwrap(),
                key,
                message: (*message).to_owned(),
            })
            .collect();
        let sets: Vec<Override> = set.iter().map(|set| set.parse().unwrap()).collect();
        let errors = point_out(JOB, Path::new("job.toml"), &sets, &faults).errors;
        errors.into_iter().map(|error| (error.file, error.line)).collect()
    }

    #[test]
    fn a_fault_has_the_line_of_its_key_or_of_the_artifact() {
        let faults = [("b", "config", "no"), ("a", "config", "no"), ("a", "artifact", "no")];
        let file = || "job.toml".to_owned();
        assert_eq!(lines(&faults, None), [(file(), 4), (file(), 4), (file(), 9)]);
    }

    #[test]
    fn a_setting_that_the_message_names_has_its_own_line() {
        let found = lines(&[("b", "config", "config `by`: neither `n` nor `mean`")], None);
        assert_eq!(found, [("job.toml".to_owned(), 10)]);
    }

    #[test]
    fn a_setting_from_outside_is_shown_as_such() {
        let found = lines(&[("a", "config", "config `x`: unknown")], Some("a.x=1"));
        assert_eq!(found, [("--set".to_owned(), 1)]);
    }
}
