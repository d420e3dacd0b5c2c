//! What every operator should hold, tried on the input of a case: the same answer comes twice, it
//! does not depend on where batches are cut, a fresh instance goes on where another one was, and
//! the answer for a key depends on the records of that key only. Whoever knows better says so in
//! the case.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    case::{Rules, lines_of},
    runner::{Prepared, Runner},
};
use crate::{
    sandbox::{Artifact, OperatorKind},
    trial::{
        Ended, Report,
        report::{Output, Shown},
    },
};

/// Sizes of batches that are tried beside the case's own.
const CUTS: [usize; 2] = [1, 3];
/// Into how many parts the input is cut where instances take turns.
const PARTS: usize = 4;
/// How many keys are fed by themselves.
const MOST_KEYS: usize = 8;

/// One of them, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Property {
    /// What should hold.
    pub what: &'static str,
    /// Whether it does.
    #[serde(flatten)]
    pub held: Held,
}

/// Whether something holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "held", content = "why", rename_all = "kebab-case")]
pub enum Held {
    /// It does, as far as was tried.
    Yes(String),
    /// It does not: what differs.
    No(String),
    /// It was not tried, and why.
    NotTried(String),
}

impl Property {
    fn of(what: &'static str, held: Held) -> Self {
        Self { what, held }
    }

    /// Whether it was found not to hold.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self.held, Held::No(_))
    }
}

/// Tries them all, after a run that went well.
///
/// # Errors
/// In words, if there is no slot.
pub async fn try_all(
    runner: &Runner,
    artifact: &Artifact,
    prepared: &Prepared,
    (rules, report): (&Rules, &Report),
) -> Result<Vec<Property>, String> {
    let trying = Trying { runner, artifact, prepared, rules, report };
    Ok(vec![
        Property::of("the same answer again", trying.again().await?),
        Property::of("the same answer for other batches", trying.cut_otherwise().await?),
        Property::of("a fresh instance goes on", trying.restarted().await?),
        Property::of("each key by itself", trying.keys_apart().await?),
    ])
}

struct Trying<'a> {
    runner: &'a Runner,
    artifact: &'a Artifact,
    prepared: &'a Prepared,
    rules: &'a Rules,
    report: &'a Report,
}

impl Trying<'_> {
    async fn run(&self, change: impl FnOnce(&mut Prepared)) -> Result<Report, String> {
        let mut prepared = self.prepared.clone();
        change(&mut prepared);
        self.runner.run(self.artifact, &prepared).await
    }

    /// That it is not to be tried, if the case says so: each of them takes the same answer for the
    /// same input for granted.
    fn said_not_to(&self, of_its_own: (&str, bool)) -> Option<Held> {
        let rules = [("deterministic", self.rules.deterministic), of_its_own];
        let (rule, _) = rules.into_iter().find(|(_, holds)| !holds)?;
        Some(Held::NotTried(format!("the case says `{rule} = false`")))
    }

    fn keyed(&self) -> bool {
        matches!(self.artifact.kind(), OperatorKind::Keyed { .. })
    }

    async fn again(&self) -> Result<Held, String> {
        if let Some(said) = self.said_not_to(("deterministic", true)) {
            return Ok(said);
        }
        let again = self.run(|_| {}).await?;
        Ok(compare(&lines_of(self.report, false, false), &lines_of(&again, false, false))
            .map_or_else(|| Held::Yes(String::new()), |differs| {
                Held::No(format!(
                    "run twice on the same input, it answers differently ({differs}); take time \
                     and chance from the input or the host, or say `deterministic = false`"
                ))
            }))
    }

    async fn cut_otherwise(&self) -> Result<Held, String> {
        let allowed = self.rules.same_for_any_batches;
        if let Some(said) = self.said_not_to(("same_for_any_batches", allowed)) {
            return Ok(said);
        }
        if let Some(why) = self.depends_on_watermarks() {
            return Ok(Held::NotTried(why));
        }
        let all = self.prepared.feed.samples.len();
        let cuts: BTreeSet<usize> = CUTS.into_iter().chain([all.max(1)]).collect();
        for cut in &cuts {
            let other = self.run(|prepared| prepared.feed.batch_records = *cut).await?;
            if let Some(differs) = compare(&self.settled(self.report), &self.settled(&other)) {
                return Ok(Held::No(format!(
                    "in batches of {cut} it answers differently ({differs}); an operator does not \
                     know where batches are cut, or says `same_for_any_batches = false`"
                )));
            }
        }
        let tried = cuts.iter().map(ToString::to_string).collect::<Vec<_>>();
        Ok(Held::Yes(format!("of {} records", tried.join(", "))))
    }

    async fn restarted(&self) -> Result<Held, String> {
        let allowed = self.rules.survives_restarts;
        if let Some(said) = self.said_not_to(("survives_restarts", allowed)) {
            return Ok(said);
        }
        let records = self.prepared.feed.samples.len().div_ceil(PARTS).max(1);
        let batched = |prepared: &mut Prepared| prepared.feed.batch_records = records;
        let before = self.run(batched).await?;
        let after = self
            .run(|prepared| {
                batched(prepared);
                prepared.feed.restart_every = Some(1);
            })
            .await?;
        let differs = compare(&lines_of(&before, false, false), &lines_of(&after, false, false));
        let Some(differs) = differs else {
            return Ok(Held::Yes(match self.artifact.kind() {
                OperatorKind::Keyed { .. } => "with the state that the host keeps".to_owned(),
                OperatorKind::Processor { snapshot: true } => "with its snapshot".to_owned(),
                OperatorKind::Processor { snapshot: false } => "without any state".to_owned(),
            }));
        };
        let help = match self.artifact.kind() {
            OperatorKind::Keyed { .. } => {
                "what it knows of a key has to be in the key's state: its own memory is gone after \
                 a crash"
            }
            OperatorKind::Processor { snapshot: true } => {
                "`snapshot` leaves something out, or `restore` does not take all of it"
            }
            OperatorKind::Processor { snapshot: false } => {
                "it keeps something in its own memory, which is gone after a crash: export \
                 `snapshot` (world stateful-operator), or use state by key"
            }
        };
        Ok(Held::No(format!(
            "with a fresh instance after every {records} records it answers differently \
             ({differs}); {help}"
        )))
    }

    async fn keys_apart(&self) -> Result<Held, String> {
        if !self.keyed() {
            return Ok(Held::NotTried("it has no state by key".to_owned()));
        }
        if let Some(said) = self.said_not_to(("keys_apart", self.rules.keys_apart)) {
            return Ok(said);
        }
        if let Some(why) = self.depends_on_watermarks() {
            return Ok(Held::NotTried(why));
        }
        let keys: Vec<&[u8]> = {
            let mut seen = BTreeSet::new();
            let all = self.prepared.feed.samples.iter();
            let keys = all.map(|sample| sample.key.as_deref().unwrap_or_default());
            keys.filter(|key| seen.insert(*key)).take(MOST_KEYS).collect()
        };
        let together = by_key(self.report);
        for key in &keys {
            let alone = self
                .run(|prepared| {
                    let of_key =
                        |key_of: &Option<Vec<u8>>| key_of.as_deref().unwrap_or_default() == *key;
                    prepared.feed.samples.retain(|sample| of_key(&sample.key));
                })
                .await?;
            let name = String::from_utf8_lossy(key).into_owned();
            let expected = together.get(&name).cloned().unwrap_or_default();
            let alone = by_key(&alone).remove(&name).unwrap_or_default();
            if let Some(differs) = compare(&expected, &alone) {
                return Ok(Held::No(format!(
                    "fed the records of `{name}` only, it answers differently for that key \
                     ({differs}): something of one key gets into another"
                )));
            }
        }
        Ok(Held::Yes(format!("{} keys", keys.len())))
    }

    /// Why it matters where watermarks are, which go with batches, if it does.
    fn depends_on_watermarks(&self) -> Option<String> {
        let feed = &self.prepared.feed;
        if !self.keyed() || !feed.is_timed() {
            return None;
        }
        let mut newest = i64::MIN;
        for sample in &feed.samples {
            let at = sample.timestamp.unwrap_or(i64::MIN);
            if at < newest.saturating_sub(feed.out_of_orderness) {
                return Some(
                    "the input has records that may be late, which depends on where batches are \
                     cut: `max_out_of_orderness` says how far they are out of order"
                        .to_owned(),
                );
            }
            newest = newest.max(at);
        }
        None
    }

    /// What came of a run, in an order that does not depend on where batches are cut: an operator
    /// with keys is called group by group.
    fn settled(&self, report: &Report) -> Vec<String> {
        if !self.keyed() {
            return lines_of(report, false, false);
        }
        let keyed = by_key(report);
        let mut lines: Vec<String> = keyed.into_values().flatten().collect();
        let mut rejected: Vec<_> = report.rejected.iter().map(|r| (r.record, &r.reason)).collect();
        rejected.sort();
        lines.extend(rejected.iter().map(|rejected| format!("rejected {rejected:?}")));
        lines
    }
}

/// What was emitted, by the key that it has, in order; each with its port.
fn by_key(report: &Report) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Output { port, records, .. } in &report.outputs {
        for record in records {
            let Shown { key, key_base64, value, value_base64, timestamp, .. } = record;
            let name = key.clone().or_else(|| key_base64.clone()).unwrap_or_default();
            let value = value.as_ref().or(value_base64.as_ref());
            let line =
                format!("port {port}, key {name}: {} at {timestamp:?}", value.map_or("", |v| v));
            keys.entry(name).or_default().push(line);
        }
    }
    keys
}

/// The first place where two answers differ, if they do.
fn compare(one: &[String], other: &[String]) -> Option<String> {
    let at = (0..one.len().max(other.len())).find(|i| one.get(*i) != other.get(*i))?;
    let told = |lines: &[String]| {
        lines.get(at).map_or_else(
            || "nothing more".to_owned(),
            |line| {
                let short: String = line.chars().take(200).collect();
                format!("`{short}`")
            },
        )
    };
    Some(format!("line {}: {}, and {}", at + 1, told(one), told(other)))
}

/// Whether a run that should have gone well did.
#[must_use]
pub fn went_well(report: &Report) -> bool {
    report.ended == Ended::Finished
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told() {
        let lines = |lines: &[&str]| lines.iter().map(|&l| l.to_owned()).collect::<Vec<_>>();
        assert_eq!(compare(&lines(&["a", "b"]), &lines(&["a", "b"])), None);
        let differs = compare(&lines(&["a", "b"]), &lines(&["a", "c"])).unwrap();
        assert_eq!(differs, "line 2: `b`, and `c`");
        let differs = compare(&lines(&["a"]), &lines(&["a", "c"])).unwrap();
        assert_eq!(differs, "line 2: nothing more, and `c`");
    }
}
