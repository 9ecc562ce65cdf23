//! What each path answers. Who may ask was settled before, in `door`.

use std::io::Write;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::door::Door;
use super::places::Place;
use super::{Local, api, assets, history, stream};
use crate::exposition::{negotiate, render};
use crate::figures::Figures;

/// All paths, behind the door.
pub fn router(figures: Arc<Figures>, door: Door) -> Router {
    let admin = door.has_admin();
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/startupz", get(started))
        .route("/", get(assets::page))
        .route("/assets/{*name}", get(assets::asset))
        .route("/events", get(stream::events))
        .route("/api/v1/history", get(history::courses))
        .route("/api/v1/history/series", get(history::names))
        .route("/api/{*path}", get(api::ask));
    let router = if admin {
        router.route("/api/v1/admin/{*path}", post(api::act))
    } else {
        router
    };
    router
        .with_state(figures)
        .layer(middleware::from_fn_with_state(Arc::new(door), admit))
        .layer(middleware::map_response(careful))
}

async fn admit(
    State(door): State<Arc<Door>>,
    Extension(Local(local)): Extension<Local>,
    Extension(place): Extension<Arc<Place>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    match door.admit(&parts, local) {
        Ok(()) => {
            if door.has_token(&parts.headers) {
                place.keep();
            }
            next.run(Request::from_parts(parts, body)).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

// Nothing that is answered runs, frames, guesses or keeps anything in a browser.
const CAREFUL: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

async fn careful(mut response: Response) -> Response {
    for (name, value) in CAREFUL {
        // The page has a policy of its own.
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn metrics(State(figures): State<Arc<Figures>>, headers: HeaderMap) -> Response {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let Some(families) = figures.families() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let format = negotiate(text(ACCEPT));
    let page = render(&families, format);
    let said = [
        (CONTENT_TYPE, format.content_type()),
        (VARY, "accept, accept-encoding"),
    ];
    match text(ACCEPT_ENCODING).filter(|accept| takes_gzip(accept)) {
        Some(_) => (said, [(CONTENT_ENCODING, "gzip")], packed(&page)).into_response(),
        None => (said, page).into_response(),
    }
}

fn takes_gzip(accept: &str) -> bool {
    accept.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let gzip = parts
            .next()
            .is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        let refused = |part: &str| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32));
        gzip && !parts.any(refused)
    })
}

fn packed(page: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::with_capacity(page.len() / 8), Compression::fast());
    packer
        .write_all(page.as_bytes())
        .and_then(|()| packer.finish())
        .expect("a vector takes all")
}

async fn live(State(figures): State<Arc<Figures>>) -> Response {
    verdict(figures.pulse.lives())
}

async fn ready(State(figures): State<Arc<Figures>>) -> Response {
    verdict(figures.pulse.ready())
}

async fn started(State(figures): State<Arc<Figures>>) -> Response {
    verdict(figures.pulse.started())
}

fn verdict(yes: bool) -> Response {
    if yes {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no\n").into_response()
    }
}
