//! A future that is polled only when it is its turn.
//!
//! Within a turn tokio's own budget is switched off: what it does when that is used
//! up wakes the task only when the worker has nothing else to do, which would cost it
//! its place. [`breathe`] takes its place: it ends a turn that has lasted for an epoch, and
//! whoever loops in a turn has to call it.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::task::{Unconstrained, coop::unconstrained};

use crate::{clock::Stopwatch, sandbox::engine::EPOCH, task_manager::gate::Pass};

thread_local! {
    /// When the turn began that this thread is in.
    static TURN: Cell<Option<Stopwatch>> = const { Cell::new(None) };
}

/// Lets others run if the turn has lasted for an epoch; to be called again and again by
/// whoever may go on for long without waiting.
pub async fn breathe() {
    let over = TURN.get().is_some_and(|began| began.elapsed() >= EPOCH);
    if over {
        yield_turn().await;
    }
}

/// Ends the turn, and wants another one, as guests do at an epoch.
pub(super) async fn yield_turn() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A future in turns; see [`Pass::turns`].
pub struct Turns<F> {
    future: Unconstrained<F>,
    // After the future: what is torn down still has its turn.
    pass: Pass,
    waker: Waker,
}

impl<F: Future + Unpin> Turns<F> {
    pub(super) fn new(pass: Pass, future: F) -> Self {
        let waker = pass.waker();
        Self { future: unconstrained(future), pass, waker }
    }

    /// Asks for its first turn, which otherwise the first poll does.
    pub fn enlist(&self) {
        self.waker.wake_by_ref();
    }
}

impl<F: Future + Unpin> Future for Turns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if !this.pass.is_on() {
            TURN.set(Some(Stopwatch::start()));
            return Pin::new(&mut this.future).poll(context);
        }
        if !this.pass.begin(context.waker()) {
            return Poll::Pending;
        }
        let clock = Stopwatch::start();
        TURN.set(Some(clock));
        let polled = Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker));
        this.pass.end(clock.elapsed(), polled.is_pending());
        polled
    }
}
