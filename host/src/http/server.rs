//! Connections: as many as may be, each with the time that it may take for a request's head, and
//! an end to all of them when the server ends.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{Routes, Shared, door::Peer};

/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 32 << 10;
/// How long requests may take that are being answered when the server ends.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Answers what comes to the listener, until told to end.
///
/// # Errors
/// If the runtime cannot wait for the listener.
pub async fn serve(
    listener: std::net::TcpListener,
    service: Shared,
    mut end: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(service.spec().max_connections));
    let head_timeout = service.spec().read_timeout;
    let router = Routes::all().serving(service);
    let mut connections = JoinSet::new();
    loop {
        // Whoever comes when all places are taken waits at the system's door.
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            _ = end.wait_for(|end| *end) => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = end.wait_for(|end| *end) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let answering = answer(stream, peer, router.clone(), head_timeout, end.clone());
                connections.spawn(async move {
                    answering.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Too many files, say: the next one may do.
                tracing::warn!("no connection could be taken: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Whoever has no answer by then gets none.
    let _ = tokio::time::timeout(LAST_ANSWERS, all).await;
    Ok(())
}

async fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    head_timeout: Duration,
    mut end: watch::Receiver<bool>,
) {
    // Answers are small, and each is written whole.
    let _ = stream.set_nodelay(true);
    let router = router.layer(axum::Extension(Peer(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ending = async move {
        let _ = end.wait_for(|end| *end).await.is_ok();
    };
    tokio::pin!(ending);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = &mut ending => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("the connection of {peer} ended with: {error}");
    }
}
