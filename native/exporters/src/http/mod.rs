//! The one listener of a VM, and what a connection may cost.
//!
//! L1. There are never more connections than `connections`; one more has the place of the oldest that has shown no token (`places`), so that
//!     nobody without one keeps a probe out.
//! L2. A connection says its request within `header_time` and `header_bytes`, has its answer within `request_time`, and ends within
//!     `life`, however slowly the other side reads; or, with a stream of events, when the other side has taken nothing for `life`.
//! L3. When its task is dropped, the port is free and each of its connections is closed.

mod api;
mod assets;
mod door;
mod history;
mod pages;
mod places;
mod query;
mod stream;
mod token;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use crate::figures::Figures;
use door::Door;
pub use history::{courses_of, names_of};
use places::{Place, Places};
use stream::Pace;
pub use token::{Token, TokenError};

/// Where to listen, and to whom.
#[derive(Clone, Debug)]
pub struct Options {
    pub address: SocketAddr,
    pub token: Token,
    /// Of who may do something besides reading. Without one nobody may.
    pub admin: Option<Token>,
    /// Names by which it is known, besides those of the loopback and its address.
    pub hosts: Vec<String>,
    pub limits: Limits,
}

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections: usize,
    pub header_bytes: usize,
    pub header_time: Duration,
    pub request_time: Duration,
    pub life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            header_bytes: 16 * 1024,
            header_time: Duration::from_secs(5),
            request_time: Duration::from_secs(10),
            life: Duration::from_secs(60),
        }
    }
}

// The most lines of a request's head.
const MOST_HEADERS: usize = 64;

// After an error of the listening socket, mostly for want of file descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// To which address of ours a request came.
#[derive(Clone, Copy, Debug)]
struct Local(SocketAddr);

/// A port that is taken and not listened at yet. Outside of the runtime, as whoever asks wants to know at once whether it is free.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, options: Options, figures: Arc<Figures>) {
    // It fails only outside of a runtime.
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let places = Places::new(options.limits.connections);
    let door = Door::new(options.token, options.admin, &options.hosts);
    let router = pages::router(figures.clone(), door);
    let mut connections = JoinSet::new();
    connections.spawn(crate::history::watch(figures.clone()));
    loop {
        match listener.accept().await {
            Ok((stream, _from)) => {
                let (place, taken_away) = places.take().await;
                figures
                    .http
                    .refused
                    .fetch_add(u64::from(taken_away), Ordering::Relaxed);
                let one = connection(stream, place, router.clone(), options.limits, figures.clone());
                connections.spawn(one);
            }
            Err(_) => sleep(BREATH).await,
        }
        while let Some(ended) = connections.try_join_next() {
            figures.note_ending(ended);
        }
    }
}

async fn connection(stream: TcpStream, place: Place, router: Router, limits: Limits, figures: Arc<Figures>) {
    let place = Arc::new(place);
    // L1
    let served = serve_one(stream, place.clone(), router, limits, &figures);
    place.hold(served).await;
}

async fn serve_one(stream: TcpStream, place: Arc<Place>, router: Router, limits: Limits, figures: &Figures) {
    let Ok(local) = stream.local_addr() else { return };
    let open = figures.http.open();
    let pace = Pace::new(limits.life);
    let answer =
        service_fn(|request| respond(request, router.clone(), (local, &pace, &place), limits, figures));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes.max(8192))
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    let mut taken = 0;
    while timeout(limits.life, connection.as_mut()).await.is_err() {
        if pace.taken() > taken {
            taken = pace.taken();
            continue;
        }
        // L2: what is left after its life gets no more than the time of one request.
        connection.as_mut().graceful_shutdown();
        let _ = timeout(limits.request_time, connection).await;
        break;
    }
    drop(open);
}

async fn respond(
    request: Request<Incoming>,
    mut router: Router,
    (local, pace, place): (SocketAddr, &Pace, &Arc<Place>),
    limits: Limits,
    figures: &Figures,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Local(local));
    request.extensions_mut().insert(pace.clone());
    request.extensions_mut().insert(place.clone());
    let answered = timeout(limits.request_time, router.call(request)).await;
    let response = match answered {
        Ok(Ok(response)) => response,
        Err(_too_late) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    figures.http.count(response.status());
    Ok(response)
}
