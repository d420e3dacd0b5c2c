//! Which requests in a log were traced, so that who reads their records can say where they come
//! from: the last few, and only as long as this process lives. Where nobody traces, this is a number that
//! is looked at once a batch.

use std::{
    collections::VecDeque,
    ops::RangeInclusive,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::frame::Head;
use crate::trace::{SpanRef, span::MOST_LINKS};

/// How many requests are known at most.
const MOST: usize = 64;

/// The requests of one log that were traced.
#[derive(Debug, Default)]
pub struct TracedPosts {
    /// Where the newest of them begins, plus one; 0 while there is none.
    newest: AtomicU64,
    posts: Mutex<VecDeque<Post>>,
}

#[derive(Debug)]
struct Post {
    offset: u64,
    number: u64,
    span: SpanRef,
}

impl TracedPosts {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Post>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was traced. They come in the order of the log.
    pub(super) fn add(&self, head: &Head, span: SpanRef) {
        let mut posts = self.lock();
        if posts.len() == MOST {
            posts.pop_front();
        }
        posts.push_back(Post { offset: head.offset, number: head.number, span });
        // Who sees the frame has waited for it to be durable, and sees this.
        self.newest.store(head.offset + 1, Ordering::Release);
    }

    /// What begins there or later was not taken after all.
    pub(super) fn roll_back(&self, to: u64) {
        let mut posts = self.lock();
        posts.retain(|post| post.offset < to);
        self.newest.store(posts.back().map_or(0, |post| post.offset + 1), Ordering::Release);
    }

    /// The spans of those that begin between two places, both of them included, and whose number
    /// is wanted: the newest, as many as a span has links.
    pub fn within(
        &self,
        places: RangeInclusive<u64>,
        is_wanted: impl Fn(u64) -> bool,
    ) -> Vec<SpanRef> {
        if self.newest.load(Ordering::Acquire) <= *places.start() {
            return Vec::new();
        }
        let posts = self.lock();
        let found = posts.iter().rev().filter(|post| places.contains(&post.offset));
        let found = found.filter(|post| is_wanted(post.number)).take(MOST_LINKS);
        found.map(|post| post.span.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{intake::frame::Kind, trace::SpanContext};

    fn head(number: u64) -> Head {
        let (length, offset) = (0, number * 100);
        let body = <[u8; 16]>::default();
        Head { length, offset, number, at: 0, records: 1, kind: Kind::Records, key: None, body }
    }

    #[test]
    fn posts_are_found_by_their_place_bounded_and_forgotten_if_they_were_not_taken() {
        let posts = TracedPosts::default();
        assert!(posts.within(0..=u64::MAX, |_| true).is_empty());
        let spans: Vec<SpanRef> = (0..100).map(|_| SpanContext::root().into()).collect();
        for (number, span) in (0..).zip(&spans) {
            posts.add(&head(number), span.clone());
        }
        assert_eq!(posts.within(9_700..=9_899, |_| true), [spans[98].clone(), spans[97].clone()]);
        assert_eq!(posts.within(9_700..=9_899, |number| number == 97), [spans[97].clone()]);
        // The newest, and no more than a span has links; the oldest are forgotten.
        assert_eq!(posts.within(0..=u64::MAX, |_| true).len(), MOST_LINKS);
        assert_eq!(posts.within(0..=u64::MAX, |_| true)[0], spans[99]);
        assert!(posts.within(0..=3_500, |_| true).is_empty());
        assert_eq!(posts.within(3_600..=3_600, |_| true), [spans[36].clone()]);
        posts.roll_back(9_000);
        assert!(posts.within(9_000..=u64::MAX, |_| true).is_empty());
        assert_eq!(posts.within(8_900..=u64::MAX, |_| true), [spans[89].clone()]);
        posts.roll_back(0);
        assert!(posts.within(0..=u64::MAX, |_| true).is_empty());
    }
}
