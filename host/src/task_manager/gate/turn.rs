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
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
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
}

/// A future in turns; see [`Pass::turns`].
pub struct Turns<F> {
    future: Unconstrained<F>,
    // After the future: what is torn down still has its turn.
    pass: Pass,
    signal: Arc<Signal>,
    waker: Waker,
}

/// Tells whether the future was woken while it ran: then it has more to do.
#[derive(Debug, Default)]
struct Signal {
    woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}

impl Signal {
    fn register(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }
}

impl<F: Future + Unpin> Turns<F> {
    pub(super) fn new(pass: Pass, future: F) -> Self {
        let signal = Arc::new(Signal::default());
        let waker = signal.clone().into();
        Self { future: unconstrained(future), pass, signal, waker }
    }
}

impl<F: Future + Unpin> Future for Turns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if !this.pass.gate.on {
            TURN.set(Some(Stopwatch::start()));
            return Pin::new(&mut this.future).poll(context);
        }
        this.signal.register(context.waker());
        if !this.pass.begin(context.waker()) {
            return Poll::Pending;
        }
        this.signal.woken.store(false, Ordering::SeqCst);
        let clock = Stopwatch::start();
        TURN.set(Some(clock));
        let polled = Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker));
        // A wake-up that comes after this look polls the task again, which then
        // asks for a turn as if it had been idle.
        let more = polled.is_pending() && this.signal.woken.load(Ordering::SeqCst);
        this.pass.end(clock.elapsed(), more, context.waker());
        polled
    }
}
