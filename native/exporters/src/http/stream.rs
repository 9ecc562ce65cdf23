//! Events as `text/event-stream`, for as long as somebody takes them.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::time::timeout;

use super::api::refusal;
use super::query;
use crate::events::{Reader, Told};
use crate::figures::Figures;

/// How a connection's stream goes: 0 if there is none, else how much was taken of it.
#[derive(Clone, Debug)]
pub struct Pace {
    taken: Arc<AtomicU64>,
    quiet: Duration,
}

// A word at least so often, so that both sides know that the other one is there.
const QUIET: Duration = Duration::from_secs(15);

impl Pace {
    /// Of a connection that lives so long.
    pub fn new(life: Duration) -> Self {
        Self {
            taken: Arc::default(),
            quiet: QUIET.min(life / 3),
        }
    }

    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

pub async fn events(
    State(figures): State<Arc<Figures>>,
    Extension(pace): Extension<Pace>,
    uri: Uri,
) -> Response {
    let instance = query::value(uri.query(), "instance").filter(|name| !name.is_empty());
    let prefix = query::value(uri.query(), "match").unwrap_or_default();
    match figures.events.read(instance, prefix) {
        Some(reader) => (
            [(CONTENT_TYPE, "text/event-stream")],
            Body::new(Stream::new(reader, pace)),
        )
            .into_response(),
        None => refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "limit",
            "as many read events as may; end one of those, or ask again later",
        ),
    }
}

type Next = Pin<Box<dyn Future<Output = Option<(Reader, String)>> + Send>>;

struct Stream {
    next: Next,
    pace: Pace,
}

impl Stream {
    fn new(reader: Reader, pace: Pace) -> Self {
        let greeting = async { Some((reader, ": events\n\n".to_owned())) };
        Self {
            next: Box::pin(greeting),
            pace,
        }
    }
}

async fn frame(mut reader: Reader, quiet: Duration) -> Option<(Reader, String)> {
    let text = match timeout(quiet, reader.next()).await {
        Ok(Some(Told::Event(event))) => format!("event: {}\ndata: {}\n\n", event.name, event.data),
        Ok(Some(Told::Dropped(count))) => format!("event: dropped\ndata: {{\"count\":{count}}}\n\n"),
        Ok(None) => return None,
        Err(_quiet) => ":\n\n".to_owned(),
    };
    Some((reader, text))
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Poll::Ready(next) = self.next.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.pace.taken.fetch_add(1, Ordering::Relaxed);
        let Some((reader, text)) = next else {
            self.next = Box::pin(std::future::pending());
            return Poll::Ready(None);
        };
        self.next = Box::pin(frame(reader, self.pace.quiet));
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}
