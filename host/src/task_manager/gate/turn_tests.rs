//! What turns promise when real tasks take them.

use std::{
    future::{pending, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use tokio::{sync::oneshot, task::yield_now};

use super::{
    Gate, GateSettings,
    turn::{breathe, yield_turn},
};
use crate::{clock::Stopwatch, ids::TenantId, sandbox::engine::EPOCH};

fn gate(permits: usize) -> Arc<Gate> {
    Gate::new(GateSettings { permits: Some(permits), ..GateSettings::default() })
}

fn waiting(gate: &Gate) -> usize {
    gate.inner().shares.waiting()
}

/// Yields until it is stopped.
async fn busy(turns: Arc<AtomicUsize>) {
    loop {
        turns.fetch_add(1, Ordering::SeqCst);
        yield_turn().await;
    }
}

#[tokio::test]
async fn those_that_yield_take_turns() {
    let (gate, tenant) = (gate(1), TenantId::default());
    let counts: [Arc<AtomicUsize>; 3] = Default::default();
    let tasks = counts
        .clone()
        .map(|turns| tokio::spawn(gate.enter(&tenant, 0).turns(Box::pin(busy(turns)))));
    let seen = |count: &Arc<AtomicUsize>| count.load(Ordering::SeqCst);
    while counts.iter().any(|count| seen(count) < 100) {
        yield_now().await;
    }
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    assert_eq!(waiting(&gate), 0);
}

#[tokio::test]
async fn whoever_breathes_yields_after_an_epoch_and_not_before() {
    let (gate, tenant) = (gate(1), TenantId::default());
    let breaths = Arc::new(AtomicUsize::new(0));
    let seen = breaths.clone();
    let mut work = gate.enter(&tenant, 0).turns(Box::pin(async move {
        loop {
            seen.fetch_add(1, Ordering::SeqCst);
            breathe().await;
        }
    }));
    let clock = Stopwatch::start();
    poll_fn(|context| {
        assert!(std::pin::Pin::new(&mut work).poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    assert!(clock.elapsed() >= EPOCH);
    assert!(breaths.load(Ordering::SeqCst) > 10);
}

#[tokio::test]
async fn who_waits_for_something_else_holds_no_permit() {
    let (gate, tenant) = (gate(1), TenantId::default());
    let sleeper = tokio::spawn(gate.enter(&tenant, 0).turns(Box::pin(pending::<()>())));
    yield_now().await;
    // It would hang if the permit were not there.
    assert_eq!(gate.enter(&tenant, 0).turns(Box::pin(async { 7 })).await, 7);
    sleeper.abort();
}

#[tokio::test]
async fn a_task_that_is_ended_gives_back_what_it_was_granted() {
    let (gate, tenant) = (gate(1), TenantId::default());
    let mut first = gate.enter(&tenant, 0).turns(Box::pin(busy(Arc::default())));
    let mut second = gate.enter(&tenant, 0).turns(Box::pin(busy(Arc::default())));
    poll_fn(|cx| {
        // The first yields while the second waits: one of them has the permit then.
        for _ in 0..3 {
            assert!(std::pin::Pin::new(&mut first).poll(cx).is_pending());
            assert!(std::pin::Pin::new(&mut second).poll(cx).is_pending());
        }
        Poll::Ready(())
    })
    .await;
    drop(first);
    drop(second);
    assert_eq!(gate.enter(&tenant, 0).turns(Box::pin(async { 7 })).await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn wake_ups_are_never_missed() {
    let (gate, tenant) = (gate(2), TenantId::default());
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (mut to_next, mut from_last) = (Vec::new(), Vec::new());
        for _ in 0..500 {
            let (send, receive) = oneshot::channel();
            to_next.push(send);
            from_last.push(receive);
        }
        let sends = async move {
            for send in to_next {
                let _ = send.send(());
                yield_turn().await;
            }
        };
        let receives = async move {
            for receive in from_last {
                receive.await.unwrap();
            }
        };
        tasks.push(tokio::spawn(gate.enter(&tenant, 0).turns(Box::pin(sends))));
        tasks.push(tokio::spawn(gate.enter(&tenant, 0).turns(Box::pin(receives))));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(waiting(&gate), 0);
}

#[tokio::test]
async fn a_panic_gives_the_permit_back() {
    let (gate, tenant) = (gate(1), TenantId::default());
    let panics = async { panic!("on purpose") };
    assert!(tokio::spawn(gate.enter(&tenant, 0).turns(Box::pin(panics))).await.is_err());
    assert_eq!(gate.enter(&tenant, 0).turns(Box::pin(async { 7 })).await, 7);
}

#[tokio::test]
async fn time_with_a_permit_is_charged_to_the_tenant() {
    let (gate, tenant) = (gate(1), TenantId::new("one").unwrap());
    let work = async {
        let clock = Stopwatch::start();
        while clock.elapsed().as_millis() < 5 {}
    };
    gate.enter(&tenant, 0).turns(Box::pin(work)).await;
    let usage = gate.usage();
    assert_eq!(usage[0].tenant, tenant);
    assert!(usage[0].core.as_millis() >= 5, "{usage:?}");
    assert_eq!(usage[0].guest.as_millis(), 0);
}
