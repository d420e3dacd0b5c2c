//! Chains: subtasks that run one after another in one task, as in Flink, so that
//! a batch is read while it is still in the cache of the core that wrote it.
//! Which subtasks make a chain is the plan's decision.
//!
//! The members stay separate: each has its channels, events and state, and
//! awaits what it awaits. A chain is only who is polled when:
//!
//! - the member furthest downstream that was woken goes first, so that a batch
//!   goes all the way before the next one is made;
//! - a member that wakes itself while it runs has yielded (a guest whose time is
//!   up does so, and whoever breathes at the end of a [turn](super::gate::turn)): then
//!   the whole chain yields its thread;
//! - a member that panics ends the chain, and the chain says which one it was.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    failure::{Failure, FailureKind},
    task_manager::SubtaskId,
};

/// What a member does until its end.
pub type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a chain ends: by itself, or because a member panicked.
pub type ChainEnd = Result<(), (SubtaskId, Failure)>;

/// Subtasks in one task.
pub struct Chain {
    /// From upstream to downstream.
    members: Vec<Member>,
    shared: Arc<Shared>,
}

struct Member {
    id: SubtaskId,
    /// None after its end.
    run: Option<Run>,
    waker: Waker,
    signal: Arc<Signal>,
}

/// One member's waker.
struct Signal {
    woken: AtomicBool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Whether the chain looks at its members' signals by itself.
    running: AtomicBool,
    /// Wakes the chain when it does not.
    task: Mutex<Option<Waker>>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if !self.shared.running.load(Ordering::SeqCst) {
            self.shared.wake_task();
        }
    }
}

impl Shared {
    fn wake_task(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }

    fn register(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }
}

impl Chain {
    /// A chain of `members`, from upstream to downstream.
    #[must_use]
    pub fn new(members: Vec<(SubtaskId, Run)>) -> Self {
        let shared = Arc::new(Shared::default());
        let members = members
            .into_iter()
            .map(|(id, run)| {
                let woken = AtomicBool::new(true);
                let signal = Arc::new(Signal { woken, shared: shared.clone() });
                Member { id, run: Some(run), waker: signal.clone().into(), signal }
            })
            .collect();
        Self { members, shared }
    }
}

impl Member {
    /// Takes the wake-up, if there is one.
    fn take_wake_up(&self) -> bool {
        self.run.is_some() && self.signal.woken.swap(false, Ordering::SeqCst)
    }

    /// Whether it has yielded.
    fn poll(&mut self) -> Result<bool, (SubtaskId, Failure)> {
        let Some(run) = &mut self.run else { return Ok(false) };
        let mut context = Context::from_waker(&self.waker);
        match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(&mut context))) {
            Ok(Poll::Ready(())) => {
                self.run = None;
                Ok(false)
            }
            Ok(Poll::Pending) => Ok(self.signal.woken.load(Ordering::SeqCst)),
            Err(panic) => {
                // What is half done must not run on, not even to be torn down
                // by the poll of another member.
                self.run = None;
                Err((self.id, Failure::new(FailureKind::HostBug, describe(&*panic))))
            }
        }
    }
}

impl Future for Chain {
    type Output = ChainEnd;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ChainEnd> {
        let chain = &mut *self;
        chain.shared.register(context.waker());
        chain.shared.running.store(true, Ordering::SeqCst);
        loop {
            let Some(member) = chain.members.iter_mut().rev().find(|m| m.take_wake_up()) else {
                chain.shared.running.store(false, Ordering::SeqCst);
                if chain.members.iter().all(|m| m.run.is_none()) {
                    return Poll::Ready(Ok(()));
                }
                // A wake-up that came between the last look and here saw the
                // chain running, and woke nobody.
                let missed = |m: &Member| m.run.is_some() && m.signal.woken.load(Ordering::SeqCst);
                if chain.members.iter().any(missed) {
                    chain.shared.running.store(true, Ordering::SeqCst);
                    continue;
                }
                return Poll::Pending;
            };
            match member.poll() {
                Ok(false) => {}
                Ok(true) => {
                    chain.shared.running.store(false, Ordering::SeqCst);
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(panicked) => return Poll::Ready(Err(panicked)),
            }
        }
    }
}

fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the host panicked: {}", text.as_deref().unwrap_or("it does not say why"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::{Notify, mpsc};

    use super::*;
    use crate::ids::SubtaskIndex;

    fn id(vertex: usize) -> SubtaskId {
        SubtaskId { vertex, index: SubtaskIndex(0) }
    }

    #[tokio::test]
    async fn what_a_member_sends_goes_all_the_way_before_the_next_is_made() {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let (to_middle, mut from_first) = mpsc::channel::<usize>(1);
        let (to_last, mut from_middle) = mpsc::channel::<usize>(1);
        let first = {
            let log = log.clone();
            async move {
                for i in 0..3 {
                    // Reserving waits until the one before has been taken.
                    let permit = to_middle.reserve().await.unwrap();
                    log.lock().unwrap().push(format!("made {i}"));
                    permit.send(i);
                }
            }
        };
        let middle = async move {
            while let Some(i) = from_first.recv().await {
                to_last.send(i).await.unwrap();
            }
        };
        let last = {
            let log = log.clone();
            async move {
                while let Some(i) = from_middle.recv().await {
                    log.lock().unwrap().push(format!("seen {i}"));
                }
            }
        };
        let members: Vec<(SubtaskId, Run)> =
            vec![(id(0), Box::pin(first)), (id(1), Box::pin(middle)), (id(2), Box::pin(last))];
        assert!(Chain::new(members).await.is_ok());
        let log = log.lock().unwrap().join(", ");
        assert_eq!(log, "made 0, seen 0, made 1, seen 1, made 2, seen 2");
    }

    #[tokio::test]
    async fn a_member_that_yields_lets_other_tasks_run() {
        let others = Arc::new(AtomicUsize::new(0));
        let seen = others.clone();
        let yielding = async move {
            for turn in 1..=5 {
                tokio::task::yield_now().await;
                assert!(seen.load(Ordering::SeqCst) >= turn, "nobody else ran");
            }
        };
        let count = async move {
            loop {
                others.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        };
        let chain = Chain::new(vec![(id(0), Box::pin(yielding)), (id(1), Box::pin(async {}))]);
        tokio::select! {
            end = chain => assert!(end.is_ok()),
            () = count => {}
        }
    }

    #[tokio::test]
    async fn a_panic_names_the_member_that_panicked() {
        let waiting = std::future::pending();
        let panics = async { panic!("on purpose") };
        let chain = Chain::new(vec![(id(0), Box::pin(waiting)), (id(1), Box::pin(panics))]);
        let Err((member, failure)) = chain.await else { panic!("it must end") };
        assert_eq!(member, id(1));
        assert_eq!(failure.kind, FailureKind::HostBug);
        assert!(failure.message.contains("on purpose"), "{}", failure.message);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn wake_ups_from_other_threads_are_never_missed() {
        let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let rounds = 20_000;
        let far = {
            let (ping, pong) = (ping.clone(), pong.clone());
            tokio::spawn(async move {
                for _ in 0..rounds {
                    ping.notified().await;
                    pong.notify_one();
                }
            })
        };
        let near = async move {
            for _ in 0..rounds {
                ping.notify_one();
                pong.notified().await;
            }
        };
        let idle = Box::pin(async {});
        let chain = tokio::spawn(Chain::new(vec![(id(0), idle), (id(1), Box::pin(near))]));
        assert!(chain.await.unwrap().is_ok());
        far.await.unwrap();
    }
}
