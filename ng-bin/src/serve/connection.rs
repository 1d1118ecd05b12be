//! One connection: HTTP/1.1 with a limit on everything, and its requests one after the other.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::answer::Answer;
use super::counters::{Level, up};
use super::listen::{Door, Room, Stream};
use super::service::Service;
use super::stall::Stalls;
use super::{admin, gateway};

/// Headers of a request.
const MOST_HEADERS: usize = 64;

/// Bytes of a request's head; also what is read at once of a body.
const BUFFER: usize = 64 << 10;

/// Serves a connection to its end, or until `stop`: then the request under way is the last.
pub(super) async fn serve(service: &Arc<Service>, door: &Door, stream: Stream, stop: watch::Receiver<bool>) {
    up(&service.counters.connections_total, 1);
    let _open = Level::of(&service.counters, |counters| &counters.connections);
    let terms = service.terms();
    match (stream, terms.tls.as_ref().filter(|_| door.tls)) {
        (Stream::Tcp(stream), None) => speak(service, door, stream, stop).await,
        (Stream::Tcp(stream), Some(tls)) => {
            let patience = Duration::from_millis(terms.config.header_timeout_ms);
            // Who can't shake hands is told by TLS itself.
            if let Ok(Ok(stream)) = tokio::time::timeout(patience, tls.acceptor.accept(stream)).await {
                drop(terms);
                speak(service, door, stream, stop).await;
            }
        }
        #[cfg(unix)]
        (Stream::Unix(stream), _) => speak(service, door, stream, stop).await,
    }
}

async fn speak(
    service: &Arc<Service>,
    door: &Door,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    mut stop: watch::Receiver<bool>,
) {
    // An open connection keeps its patience, and not the secrets that it began with.
    let (for_writes, for_heads) = {
        let config = &service.terms().config;
        (Duration::from_millis(config.write_timeout_ms), Duration::from_millis(config.header_timeout_ms))
    };
    let stream = Stalls::new(stream, for_writes);
    let answering = service_fn(|request| async { Ok::<_, Infallible>(answer(service, door, request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(for_heads)
        .max_headers(MOST_HEADERS)
        .max_buf_size(BUFFER)
        // Who shuts down its writing side may still read.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), answering);
    let mut connection = pin!(connection);
    // What goes wrong with one connection is its client's to notice: hyper has answered what it can.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(service: &Arc<Service>, door: &Door, request: Request<Incoming>) -> Answer {
    let began = Instant::now();
    up(&service.counters.requests, 1);
    let _under_way = Level::of(&service.counters, |counters| &counters.in_flight);
    let is_post = *request.method() == Method::POST;
    let answer = match door.room {
        Room::Gateway => gateway::answer(service, door.reach, request).await,
        Room::Admin => admin::answer(service, door.reach, request).await,
    };
    service.counters.answered(answer.status());
    // Of scrapes and looks no one wants to know.
    if is_post && let Some(engine) = service.engine() {
        engine.took(began.elapsed());
    }
    answer
}
