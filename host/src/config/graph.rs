//! Whether the nodes of a job fit together: unique names, references that lead
//! somewhere, no circles. Knows names and places; what a node does is not
//! looked at.

use std::collections::{BTreeMap, HashMap};

use super::{
    errors::{Place, Problems},
    job::{OutputRef, PortRef},
    node::{Node, Value},
    section::{self, Read, Refusal, Section, listed, suggest},
};
use crate::ids::{OperatorName, PortName};

/// The highest output port that may be given by number.
const HIGHEST_PORT: u32 = 255;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Source,
    Operator,
    Sink,
}

impl Kind {
    /// "a source"
    fn one(self) -> &'static str {
        match self {
            Self::Source => "a source",
            Self::Operator => "an operator",
            Self::Sink => "a sink",
        }
    }
}

/// One source, operator or sink.
#[derive(Debug)]
struct Member {
    kind: Kind,
    name: String,
    place: Place,
    ports: Vec<PortName>,
    windowed: bool,
    inputs: Vec<(OutputRef, Place)>,
}

/// The nodes that were read so far.
#[derive(Debug, Default)]
pub(super) struct Graph {
    members: Vec<Member>,
    /// A node's name could not be read, so a reference to nowhere may be to it.
    nameless: bool,
}

impl Graph {
    /// Reads a node's `name`, and makes its section's title say it.
    pub(super) fn name(&mut self, section: &mut Section<'_>, kind: Kind) -> Option<OperatorName> {
        let mut given = None;
        let name = section.require("name", "name = \"my-name\"", |node| {
            if let Value::Text(text) = &node.value {
                given = Some((text.clone(), node.place.clone()));
            }
            section::name(node)
        });
        match given {
            Some((name, place)) => {
                section.title = format!("{} `{}`", section.title, name.escape_debug());
                let (ports, inputs) = (Vec::new(), Vec::new());
                self.members.push(Member { kind, name, place, ports, windowed: false, inputs });
            }
            None => {
                // A stand-in, so that what follows is added to no other node.
                self.nameless = true;
                let (ports, inputs, name) = (Vec::new(), Vec::new(), String::new());
                let place = section.place.clone();
                self.members.push(Member { kind, name, place, ports, windowed: false, inputs });
            }
        }
        name
    }

    /// What the node named last offers.
    pub(super) fn offers(&mut self, ports: &[PortName], windowed: bool) {
        if let Some(member) = self.members.last_mut() {
            member.ports = ports.to_vec();
            member.windowed = windowed;
        }
    }

    /// Reads a reference of the node named last.
    pub(super) fn reference(&mut self, node: &Node) -> Read<OutputRef> {
        let text = section::text(node)?;
        let (name, port) = match text.split_once('.') {
            Some((name, port)) => (name, Some(port)),
            None => (text.as_str(), None),
        };
        let invalid = |what: &str, reason: &str| {
            Refusal::new(format!("must be NAME or NAME.PORT, but the {what}: {reason}"))
        };
        let output = OutputRef {
            node: OperatorName::new(name).map_err(|bad| invalid("name is invalid", bad.reason))?,
            port: match port {
                None => PortRef::Number(0),
                Some("late") => PortRef::Late,
                Some("dead-letters") => PortRef::DeadLetters,
                Some(number)
                    if number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty() =>
                {
                    let read = number.parse().ok().filter(|n| *n <= HIGHEST_PORT);
                    PortRef::Number(read.ok_or_else(|| {
                        invalid("port is too high", &format!("{HIGHEST_PORT} is the highest"))
                    })?)
                }
                Some(port) => PortRef::Name(
                    PortName::new(port).map_err(|bad| invalid("port is invalid", bad.reason))?,
                ),
            },
        };
        if let Some(member) = self.members.last_mut() {
            member.inputs.push((output.clone(), node.place.clone()));
        }
        Ok(output)
    }

    /// Notes everything that does not fit.
    pub(super) fn check(&self, problems: &Problems) {
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for (index, member) in self.members.iter().enumerate() {
            if member.name.is_empty() {
                continue;
            }
            match by_name.get(member.name.as_str()) {
                None => {
                    by_name.insert(&member.name, index);
                }
                Some(&first) => {
                    let (name, kind) = (&member.name, self.members[first].kind.one());
                    let message = format!("the name `{name}` is taken by {kind} above");
                    let help = "names are unique in a job".to_owned();
                    problems.add(&member.place, message, Some(help));
                }
            }
        }
        for (index, member) in self.members.iter().enumerate() {
            for (output, place) in &member.inputs {
                match by_name.get(output.node.as_str()) {
                    Some(&from) if from == index => {
                        let message = format!("`{}` reads its own output", member.name);
                        problems.add(place, message, Some("jobs have no loops".to_owned()));
                    }
                    Some(&from) => self.members[from].check_port(output, place, problems),
                    None => self.note_missing(index, output, place, problems),
                }
            }
        }
        self.check_circles(&by_name, problems);
    }

    fn note_missing(&self, reader: usize, output: &OutputRef, place: &Place, problems: &Problems) {
        if self.nameless {
            return;
        }
        let readable = || {
            let others = self.members.iter().enumerate().filter(|(index, _)| *index != reader);
            others.map(|(_, member)| member).filter(|member| member.kind != Kind::Sink)
        };
        let wanted = output.node.as_str();
        let help = suggest(wanted, readable().map(|member| member.name.as_str())).or_else(|| {
            let names: Vec<&str> = readable().map(|member| member.name.as_str()).collect();
            (!names.is_empty()).then(|| format!("there are {}", listed(&names)))
        });
        let message = format!("there is no source or operator named `{wanted}`");
        problems.add(place, message, help);
    }

    /// Notes each circle once. Follows inputs backwards, without recursion,
    /// since a file may chain as many operators as it likes.
    fn check_circles(&self, by_name: &HashMap<&str, usize>, problems: &Problems) {
        let inputs_of = |index: usize| -> Vec<(usize, &Place)> {
            let inputs = self.members[index].inputs.iter();
            inputs
                .filter_map(|(output, place)| {
                    by_name.get(output.node.as_str()).map(|&from| (from, place))
                })
                .filter(|&(from, _)| from != index)
                .collect()
        };
        // Members on the way from where we began (false), and done with (true).
        let mut seen: BTreeMap<usize, bool> = BTreeMap::new();
        for start in 0..self.members.len() {
            if seen.contains_key(&start) {
                continue;
            }
            seen.insert(start, false);
            let mut path = vec![(start, inputs_of(start))];
            while let Some((index, inputs)) = path.last_mut() {
                let index = *index;
                let Some((from, place)) = inputs.pop() else {
                    seen.insert(index, true);
                    path.pop();
                    continue;
                };
                match seen.get(&from) {
                    Some(true) => {}
                    None => {
                        seen.insert(from, false);
                        path.push((from, inputs_of(from)));
                    }
                    Some(false) => {
                        let around = path.iter().rev().map(|(member, _)| *member);
                        let mut names: Vec<&str> = around
                            .take_while(|member| *member != from)
                            .map(|member| self.members[member].name.as_str())
                            .collect();
                        names.insert(0, &self.members[from].name);
                        names.rotate_left(1);
                        names.push(names[0]);
                        let message = format!("a loop: {}", names.join(" → "));
                        problems.add(place, message, Some("jobs have no loops".to_owned()));
                    }
                }
            }
        }
    }
}

impl Member {
    fn check_port(&self, output: &OutputRef, place: &Place, problems: &Problems) {
        let name = &self.name;
        let refusal = match (&output.port, self.kind) {
            (_, Kind::Sink) => Some((format!("`{name}` is a sink, which has no output"), None)),
            (PortRef::Number(0) | PortRef::DeadLetters, _) => None,
            (_, Kind::Source) => Some((
                format!("`{name}` is a source, which has one main output and dead letters"),
                Some(format!("write \"{name}\" or \"{name}.dead-letters\"")),
            )),
            (PortRef::Late, Kind::Operator) => (!self.windowed).then(|| {
                let message = format!("`{name}` has no window, so no record is late for it");
                (message, Some(format!("give it a `window`, or read \"{name}\"")))
            }),
            (PortRef::Number(number), Kind::Operator) => {
                let out = !self.ports.is_empty() && *number as usize >= self.ports.len();
                out.then(|| {
                    let message =
                        format!("`{name}` has {} ports, the first is 0", self.ports.len());
                    (message, None)
                })
            }
            (PortRef::Name(port), Kind::Operator) => (!self.ports.contains(port)).then(|| {
                let names: Vec<&str> = self.ports.iter().map(PortName::as_str).collect();
                let special = ["late", "dead-letters"];
                let candidates = names.iter().chain(&special).copied();
                let help = suggest(port.as_str(), candidates).unwrap_or_else(|| match &names[..] {
                    [] => format!("name them in its `ports`, or write a number: \"{name}.1\""),
                    names => format!("its ports are {}", listed(names)),
                });
                (format!("`{name}` has no output port named `{port}`"), Some(help))
            }),
        };
        if let Some((message, help)) = refusal {
            problems.add(place, message, help);
        }
    }
}
