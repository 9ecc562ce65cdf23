//! The page: files that are embedded, the same for everybody, with nothing of the VM in them.

use axum::extract::Path;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

// By path below the folder `assets`.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

// What the page may do: run and show its own files, and ask where it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Whether a path is the page's, which anybody may have.
pub fn is_public(path: &str) -> bool {
    path == "/" || path.starts_with("/assets/")
}

pub async fn page() -> Response {
    file("index.html")
}

pub async fn asset(Path(name): Path<String>) -> Response {
    // The page itself has one address.
    if name == "index.html" {
        return StatusCode::NOT_FOUND.into_response();
    }
    file(&name)
}

fn file(name: &str) -> Response {
    let Some((_, bytes)) = FILES.iter().find(|(path, _)| *path == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let policy = HeaderValue::from_static(POLICY);
    (
        [(CONTENT_TYPE, kind(name))],
        [(CONTENT_SECURITY_POLICY, policy)],
        *bytes,
    )
        .into_response()
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}
