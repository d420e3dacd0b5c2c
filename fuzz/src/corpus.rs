//! The inputs that mutation begins with, and those that were answered in new
//! words.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use rand::{Rng, RngExt as _};

use crate::mutate;

/// How many inputs are kept beyond those that were read.
const MOST_FOUND: usize = 2_000;
/// How many kinds of answers are told apart. More would be our own growth, not the
/// host's.
const MOST_KINDS: usize = 10_000;

/// Inputs, and how often each kind of answer was heard.
pub(crate) struct Corpus {
    inputs: Vec<Vec<u8>>,
    read: usize,
    heard: HashMap<String, u64>,
}

impl Corpus {
    /// Reads every file of a folder, by name.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let listing = || format!("cannot read {}", dir.display());
        let mut paths: Vec<_> = fs::read_dir(dir)
            .with_context(listing)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .with_context(listing)?;
        paths.sort();
        let inputs: Vec<_> = paths.iter().map(fs::read).collect::<Result<_, _>>()?;
        if inputs.is_empty() {
            bail!("{} is empty", dir.display());
        }
        Ok(Self { read: inputs.len(), inputs, heard: HashMap::new() })
    }

    pub(crate) fn len(&self) -> usize {
        self.inputs.len()
    }

    /// The next input: one of those that are there, mutated.
    pub(crate) fn next(&self, rng: &mut impl Rng) -> Vec<u8> {
        // Half of them from what was read: it is valid, and so most of what is
        // one change away from it is checked to its end.
        let among = if rng.random() { self.read } else { self.inputs.len() };
        let one = rng.random_range(0..among);
        let other = rng.random_range(0..self.inputs.len());
        let mut input = self.inputs[one].clone();
        mutate::mutate(&mut input, &self.inputs[other], rng);
        input
    }

    /// An input was answered so. If in new words, it is worth going on from.
    pub(crate) fn heard(&mut self, words: String, input: Vec<u8>) {
        let known = self.heard.len() < MOST_KINDS || self.heard.contains_key(&words);
        let words = match (known, words.starts_with("ok")) {
            (true, _) => words,
            (false, true) => "ok, in yet other words".to_owned(),
            (false, false) => "refused in yet other words".to_owned(),
        };
        let count = self.heard.entry(words).or_insert(0);
        *count += 1;
        if *count == 1 && self.inputs.len() < self.read + MOST_FOUND {
            self.inputs.push(input);
        }
    }

    pub(crate) fn kinds(&self) -> usize {
        self.heard.len()
    }

    /// How many inputs got through the checks: `ok` begins what was said.
    pub(crate) fn through(&self) -> u64 {
        self.heard.iter().filter(|(words, _)| words.starts_with("ok")).map(|(_, n)| n).sum()
    }

    /// The commonest answers.
    pub(crate) fn commonest(&self, n: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self.heard.iter().map(|(w, n)| (w.as_str(), *n)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all.truncate(n);
        all
    }
}

/// Writes inputs to begin with.
pub(crate) fn plant(dir: &Path, seeds: &[(&str, Vec<u8>)]) -> Result<()> {
    fs::create_dir_all(dir)?;
    for (name, bytes) in seeds {
        fs::write(dir.join(name), bytes)?;
    }
    Ok(())
}

/// What was said, without what differs from input to input: numbers, quoted
/// names, and all but the beginning.
pub(crate) fn without_numbers(said: &str) -> String {
    let mut words = String::new();
    let mut quoted = false;
    for c in said.chars().take(300) {
        match c {
            '`' => {
                quoted = !quoted;
                words.push(c);
            }
            _ if quoted => {}
            c if c.is_ascii_digit() => {
                if !words.ends_with('#') {
                    words.push('#');
                }
            }
            '\n' => break,
            c => words.push(c),
        }
        if words.len() > 120 {
            break;
        }
    }
    words
}
