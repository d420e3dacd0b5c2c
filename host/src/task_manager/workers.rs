//! The threads that guests run on, apart from those of the host's own work.
//!
//! A guest holds its thread until its turn is over, up to an epoch. So there are as many
//! threads for chains of subtasks as the gate has permits, and nothing else is done on them:
//! timers that chains wait for, and the files that they read, are another thread's, and
//! whoever manages jobs or answers requests has threads of its own ([`runtime`]). On
//! Linux those ask the kernel for short slices, which lets them in before a guest that has
//! not used up its own; they do not get more of the cores for that.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinSet,
};

use crate::{task_manager::gate::turn::Turns, threads::ask_for_short_slices};

/// The threads of whoever manages jobs and answers requests. Guests never run on them.
///
/// # Errors
/// If the threads cannot be started.
pub fn runtime() -> io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, 4))
        .on_thread_start(ask_for_short_slices)
        .enable_all()
        .build()
}

/// The threads of a TaskManager's guests. They end when this is dropped.
#[derive(Debug)]
pub struct Workers {
    /// None only while it is dropped.
    guests: Option<Runtime>,
    /// Timers and files of chains.
    timers: Option<Runtime>,
    handle: Handle,
}

impl Workers {
    /// So many threads for guests.
    ///
    /// # Errors
    /// If they cannot be started.
    pub fn start(threads: usize) -> io::Result<Self> {
        let guests = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("guests")
            // What comes from other threads is new tasks, and those that were ended:
            // little to do, and not to wait until so many turns have been taken.
            .global_queue_interval(1)
            .build()?;
        let timers = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("timers")
            .on_thread_start(ask_for_short_slices)
            .enable_all()
            .build()?;
        let handle = timers.handle().clone();
        Ok(Self { guests: Some(guests), timers: Some(timers), handle })
    }

    /// Runs something on them, as a task of a set.
    pub fn spawn<F>(&self, tasks: &mut JoinSet<F::Output>, future: Turns<F>)
    where
        F: Future<Output: Send> + Unpin + Send + 'static,
    {
        // Otherwise it would wait until a thread has looked at it before it could wait
        // for its turn.
        future.enlist();
        if let Some(guests) = &self.guests {
            tasks.spawn_on(Guest { timers: self.handle.clone(), future }, guests.handle());
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Not waited for: this may be a thread that must not block.
        for runtime in [self.guests.take(), self.timers.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

/// A future whose timers are those of another runtime.
struct Guest<F> {
    timers: Handle,
    future: F,
}

impl<F: Future + Unpin> Future for Guest<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let _entered = this.timers.enter();
        Pin::new(&mut this.future).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        ids::TenantId,
        task_manager::gate::{Gate, GateSettings, turn::breathe},
    };

    fn gate() -> Arc<Gate> {
        Gate::new(GateSettings { permits: Some(2), ..GateSettings::default() })
    }

    #[tokio::test]
    async fn tasks_that_are_ended_at_any_moment_leave_no_permit_taken() {
        let (gate, workers) = (gate(), Workers::start(2).unwrap());
        let tenants = ["a", "b", "c"].map(|name| TenantId::new(name).unwrap());
        for round in 0..200_u64 {
            let mut tasks = JoinSet::new();
            for i in 0..12_u64 {
                // Some wait for timers, some for others, some never rest, some end.
                let work = async move {
                    for step in 0..(i % 4) * 20 {
                        match (i + step) % 3 {
                            0 => tokio::time::sleep(Duration::from_micros(step)).await,
                            1 => tokio::task::yield_now().await,
                            _ => breathe().await,
                        }
                    }
                    if i % 4 == 0 {
                        std::future::pending::<()>().await;
                    }
                };
                let of = &tenants[usize::try_from(i % 3).unwrap()];
                workers.spawn(&mut tasks, gate.enter(of, 0).turns(Box::pin(work)));
            }
            for _ in 0..round % 7 {
                tasks.join_next().await;
            }
            tasks.shutdown().await;
        }
        // Both permits are there: two that wait for each other need one each at a time.
        let (to_one, mut one) = tokio::sync::mpsc::channel(1);
        let (to_two, mut two) = tokio::sync::mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let first = async move {
            for _ in 0..1_000 {
                to_two.send(()).await.unwrap();
                one.recv().await.unwrap();
            }
        };
        let second = async move {
            for _ in 0..1_000 {
                two.recv().await.unwrap();
                to_one.send(()).await.unwrap();
            }
        };
        workers.spawn(&mut tasks, gate.enter(&tenants[0], 0).turns(Box::pin(first)));
        workers.spawn(&mut tasks, gate.enter(&tenants[1], 0).turns(Box::pin(second)));
        assert_eq!(tasks.join_all().await.len(), 2);
        assert_eq!(gate.free(), 2);
    }

    #[tokio::test]
    async fn a_task_waits_for_timers_while_every_thread_is_busy() {
        let (gate, workers) = (gate(), Workers::start(2).unwrap());
        let mut busy = JoinSet::new();
        for _ in 0..8 {
            let spin = async {
                loop {
                    breathe().await;
                }
            };
            let hostile = TenantId::new("hostile").unwrap();
            workers.spawn(&mut busy, gate.enter(&hostile, 0).turns(Box::pin(spin)));
        }
        let mut tasks = JoinSet::new();
        let work = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            7
        };
        let of = TenantId::default();
        workers.spawn(&mut tasks, gate.enter(&of, 0).turns(Box::pin(work)));
        assert_eq!(tasks.join_all().await, [7]);
        busy.shutdown().await;
        assert_eq!(gate.free(), 2);
    }
}
