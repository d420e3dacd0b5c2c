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
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use super::{Routes, Shared, console::session::Secure, door::Peer, tls::Tls};

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
    tls: Option<Arc<Tls>>,
    service: Shared,
    mut end: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(service.spec().max_connections));
    let head_timeout = service.spec().read_timeout;
    let router = Routes::all().serving(service);
    let mut connections = JoinSet::new();
    let following = tls.clone().map(|tls| tokio::spawn(tls.follow()));
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
                let (router, end) = (router.clone(), end.clone());
                let acceptor = tls.as_ref().map(|tls| tls.acceptor());
                let router = router.layer(axum::Extension(Peer(peer)));
                connections.spawn(async move {
                    // Answers are small, and each is written whole.
                    let _ = stream.set_nodelay(true);
                    match acceptor {
                        None => answer(stream, peer, router, head_timeout, end).await,
                        Some(acceptor) => {
                            match timeout(head_timeout, acceptor.accept(stream)).await {
                                Ok(Ok(stream)) => {
                                    let router = router.layer(axum::Extension(Secure));
                                    answer(stream, peer, router, head_timeout, end).await
                                }
                                Ok(Err(error)) => tracing::debug!("no TLS with {peer}: {error}"),
                                Err(_) => tracing::debug!("no TLS with {peer}: it takes too long"),
                            }
                        }
                    }
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
    if let Some(following) = following {
        following.abort();
    }
    let all = async { while connections.join_next().await.is_some() {} };
    // Whoever has no answer by then gets none.
    let _ = timeout(LAST_ANSWERS, all).await;
    Ok(())
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    head_timeout: Duration,
    mut end: watch::Receiver<bool>,
) {
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
