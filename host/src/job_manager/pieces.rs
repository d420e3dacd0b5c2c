//! What subtasks said of a key group since the last checkpoint that was written:
//! a base, if one came, and the deltas after it, in order. Pure.

use crate::state::{Buffer, GroupChunk, merge};

/// More deltas than this, of checkpoints that were all given up, become one.
const MAX_DELTAS: usize = 8;

/// What was said of a key group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    /// The whole of it, which makes all that was said before void. Empty if nothing
    /// is left.
    pub base: Option<Buffer>,
    /// What changed after that, or else after what was written.
    pub deltas: Vec<Buffer>,
}

impl Pieces {
    /// A later snapshot said this.
    pub fn add(&mut self, chunk: GroupChunk) {
        match chunk {
            GroupChunk::Base(base) => *self = Self { base: Some(base), deltas: Vec::new() },
            GroupChunk::Delta(delta) => self.deltas.push(delta),
        }
        self.bound();
    }

    /// This was said before, and could not be written.
    pub fn follow(&mut self, mut earlier: Self) {
        if self.base.is_some() {
            return;
        }
        earlier.deltas.append(&mut self.deltas);
        *self = earlier;
        self.bound();
    }

    fn bound(&mut self) {
        if self.deltas.len() > MAX_DELTAS
            && let Ok(merged) = merge::merge(&self.deltas, false)
        {
            self.deltas = vec![merged.into()];
        }
    }

    /// All of it, in order; whether the first is a base.
    #[must_use]
    pub fn in_order(&self) -> (Vec<&[u8]>, bool) {
        let all = self.base.iter().chain(&self.deltas).map(|piece| &**piece);
        (all.collect(), self.base.is_some())
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.base.iter().chain(&self.deltas).map(|piece| piece.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(byte: u8) -> GroupChunk {
        GroupChunk::Base(vec![byte].into())
    }

    fn delta(byte: u8) -> GroupChunk {
        GroupChunk::Delta(vec![byte].into())
    }

    fn pieces(chunks: impl IntoIterator<Item = GroupChunk>) -> Pieces {
        let mut all = Pieces::default();
        chunks.into_iter().for_each(|chunk| all.add(chunk));
        all
    }

    #[test]
    fn a_base_makes_what_came_before_void_and_a_delta_follows() {
        let all = pieces([delta(1), base(2), delta(3), delta(4)]);
        assert_eq!(all.in_order(), (vec![&[2][..], &[3], &[4]], true));
        assert_eq!(pieces([delta(1), delta(2)]).in_order(), (vec![&[1][..], &[2]], false));
    }

    #[test]
    fn what_could_not_be_written_comes_before_what_was_said_since() {
        let mut all = pieces([delta(3)]);
        all.follow(pieces([base(1), delta(2)]));
        assert_eq!(all, pieces([base(1), delta(2), delta(3)]));
        let mut all = pieces([base(3)]);
        all.follow(pieces([base(1), delta(2)]));
        assert_eq!(all, pieces([base(3)]));
    }
}
