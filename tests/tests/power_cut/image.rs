//! What a disk may hold after a power cut: of what was recorded, all that was synced,
//! and of the rest whatever a die says. Pure.
//!
//! Data of a file is durable with `fsync` or `fdatasync` of it, and else kept, lost or
//! torn page by page, in any order. What names a directory has is durable with `fsync`
//! of the directory, and else as far as it went at some moment since: names change in
//! order, as file systems with a journal have it, but each directory by itself.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::recorder::Op;

/// Numbers that look random, the same for the same seed.
#[derive(Debug, Clone)]
pub(crate) struct Die(u64);

impl Die {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }

    /// One of so many.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }
}

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Kept,
    /// Each page and each name as the die says.
    Random,
    /// The same; and where a page is lost its place may be there, empty: the length of a file is
    /// durable before what is in it.
    Holes,
}

pub(crate) const FATES: [Fate; 3] = [Fate::Lost, Fate::Kept, Fate::Random];

#[derive(Debug, Default)]
struct Node {
    /// Of a directory: its names, in the order in which they changed; none of a file.
    names: Option<Vec<(usize, Name)>>,
    /// Of a file.
    data: Vec<(usize, Data)>,
    /// When it was synced last.
    synced: usize,
}

#[derive(Debug)]
enum Name {
    Is(String, usize),
    Gone(String),
}

#[derive(Debug)]
enum Data {
    Put(u64, Vec<u8>),
    Cut(u64),
}

/// A disk on which all of this was done.
#[derive(Debug)]
pub(crate) struct Disk {
    nodes: Vec<Node>,
    /// As a program sees it.
    live: BTreeMap<PathBuf, usize>,
}

const ROOT: usize = 0;
const PAGE: usize = 4096;

impl Disk {
    pub(crate) fn after(ops: &[Op]) -> Self {
        let root = Node { names: Some(Vec::new()), ..Node::default() };
        let live = BTreeMap::from([(PathBuf::new(), ROOT)]);
        let mut disk = Self { nodes: vec![root], live };
        for (at, op) in ops.iter().enumerate() {
            disk.apply(at + 1, op);
        }
        disk
    }

    fn apply(&mut self, at: usize, op: &Op) {
        match op {
            Op::Create(path) => self.make(at, path, Node::default()),
            Op::Mkdir(path) => {
                self.make(at, path, Node { names: Some(Vec::new()), ..Node::default() });
            }
            Op::Truncate(path, len) => self.change(at, path, Data::Cut(*len)),
            Op::Write(path, offset, bytes) => {
                for (i, page) in bytes.chunks(PAGE).enumerate() {
                    let offset = offset + (i * PAGE) as u64;
                    self.change(at, path, Data::Put(offset, page.to_vec()));
                }
            }
            Op::Sync(path) => {
                if let Some(node) = self.live.get(path) {
                    self.nodes[*node].synced = at;
                }
            }
            Op::Rename(from, to) => {
                let moved: Vec<PathBuf> =
                    self.live.keys().filter(|path| path.starts_with(from)).cloned().collect();
                let Some(node) = self.live.get(from).copied() else { return };
                for path in moved {
                    let Some(node) = self.live.remove(&path) else { continue };
                    let rest = path.strip_prefix(from).unwrap_or(Path::new(""));
                    let new = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    self.live.insert(new, node);
                }
                // One step, of one directory.
                assert_eq!(from.parent(), to.parent(), "renamed from one directory to another");
                self.name(at, from, None);
                self.name(at, to, Some(node));
            }
            Op::Unlink(path) | Op::Rmdir(path) => {
                self.live.remove(path);
                self.name(at, path, None);
            }
            Op::Note(_) => {}
        }
    }

    fn make(&mut self, at: usize, path: &Path, node: Node) {
        self.nodes.push(node);
        self.live.insert(path.to_owned(), self.nodes.len() - 1);
        self.name(at, path, Some(self.nodes.len() - 1));
    }

    fn change(&mut self, at: usize, path: &Path, data: Data) {
        if let Some(node) = self.live.get(path) {
            self.nodes[*node].data.push((at, data));
        }
    }

    fn name(&mut self, at: usize, path: &Path, node: Option<usize>) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
        let name = name.to_string_lossy().into_owned();
        let Some(parent) = self.live.get(parent) else { return };
        if let Some(names) = &mut self.nodes[*parent].names {
            names.push((at, node.map_or(Name::Gone(name.clone()), |n| Name::Is(name, n))));
        }
    }

    /// Makes files of what the power cut leaves.
    pub(crate) fn write(&self, to: &Path, fate: Fate, die: &mut Die) {
        self.write_directory(ROOT, to, fate, die);
    }

    fn write_directory(&self, node: usize, to: &Path, fate: Fate, die: &mut Die) {
        fs::create_dir_all(to).unwrap();
        let Node { names: Some(names), synced, .. } = &self.nodes[node] else { return };
        let mut moments: Vec<usize> = names.iter().map(|(at, _)| *at).collect();
        moments.retain(|at| at > synced);
        moments.dedup();
        let until = match fate {
            Fate::Lost => *synced,
            Fate::Kept => usize::MAX,
            Fate::Random | Fate::Holes => {
                let n = die.index(moments.len() + 1);
                n.checked_sub(1).map_or(*synced, |n| moments[n])
            }
        };
        let mut present: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, name) in names.iter().take_while(|(at, _)| *at <= until) {
            match name {
                Name::Is(name, node) => present.insert(name, *node),
                Name::Gone(name) => present.remove(name.as_str()),
            };
        }
        for (name, node) in present {
            let path = to.join(name);
            if self.nodes[node].names.is_some() {
                self.write_directory(node, &path, fate, die);
            } else {
                fs::write(path, self.content(node, fate, die)).unwrap();
            }
        }
    }

    fn content(&self, node: usize, fate: Fate, die: &mut Die) -> Vec<u8> {
        let Node { data, synced, .. } = &self.nodes[node];
        let mut content = Vec::new();
        for (at, data) in data {
            let durable = at <= synced;
            let random = matches!(fate, Fate::Random | Fate::Holes);
            let chance = if random { die.below(8) } else { 8 };
            let kept = durable || fate == Fate::Kept || chance < 4;
            match data {
                Data::Cut(len) if kept => content.resize(usize::try_from(*len).unwrap(), 0),
                Data::Put(offset, bytes) if kept || chance == 4 => {
                    // Torn within a page: a part of its sectors.
                    let whole = if kept { bytes.len() } else { bytes.len() / 1024 * 512 };
                    let offset = usize::try_from(*offset).unwrap();
                    content.resize(content.len().max(offset + whole), 0);
                    content[offset..offset + whole].copy_from_slice(&bytes[..whole]);
                }
                Data::Put(offset, bytes) if fate == Fate::Holes && chance == 5 => {
                    let end = usize::try_from(*offset).unwrap() + bytes.len();
                    content.resize(content.len().max(end), 0);
                }
                _ => {}
            }
        }
        content
    }
}
