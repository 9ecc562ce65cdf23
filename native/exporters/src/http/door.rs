//! Who may come in: each request is looked at here before any page sees it.
//!
//! D1. Only to names and addresses that are ours: a page of somewhere else whose name leads to us asks under its own (DNS rebinding).
//! D2. Nothing but GET and HEAD, so nothing is changed; but where there is an admin's token, who brings that may POST to the paths of
//!     [`ADMIN`], and nothing else.
//! D3. Whatever says more of the VM than yes and no, unknown paths among it, wants the token, which comes in no other way than in its
//!     header. The files of the page say nothing of it.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{ALLOW, AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::assets;
use super::token::Token;

/// What opens it.
#[derive(Debug)]
pub struct Door {
    token: Token,
    admin: Option<Token>,
    hosts: Vec<String>,
}

/// Why somebody stays outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Target,
    Host,
    Method,
    Token,
    Scope,
}

/// What all paths begin with at which something is done.
pub const ADMIN: &str = "/api/v1/admin/";

/// Paths that need no token: they say yes or no.
pub const PROBES: [&str; 3] = ["/livez", "/readyz", "/startupz"];

impl Door {
    /// `hosts`: names it is known by besides those of the loopback.
    pub fn new(token: Token, admin: Option<Token>, hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { token, admin, hosts }
    }

    /// Whether anybody may do something besides reading.
    pub fn has_admin(&self) -> bool {
        self.admin.is_some()
    }

    /// Whether a request that came to our address `local` may pass.
    pub fn admit(&self, request: &Parts, local: SocketAddr) -> Result<(), Refusal> {
        // Another form of target names a host of its own.
        if request.uri.authority().is_some() || !request.uri.path().starts_with('/') {
            return Err(Refusal::Target);
        }
        if !self.is_ours(&request.headers, local.ip()) {
            return Err(Refusal::Host);
        }
        let path = request.uri.path();
        if let (Some(admin), &Method::POST, true) = (&self.admin, &request.method, path.starts_with(ADMIN)) {
            return self.admit_admin(admin, &request.headers);
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Err(Refusal::Method);
        }
        let may_read = || brought(&request.headers).is_some_and(|given| self.token.is(given));
        let open = PROBES.contains(&path) || assets::is_public(path) || may_read();
        open.then_some(()).ok_or(Refusal::Token)
    }

    /// Whether a token of ours was shown, whatever it is good for.
    pub fn has_token(&self, headers: &HeaderMap) -> bool {
        let ours =
            |given: &[u8]| self.token.is(given) || self.admin.as_ref().is_some_and(|admin| admin.is(given));
        brought(headers).is_some_and(ours)
    }

    // Who may read is known, and may not.
    fn admit_admin(&self, admin: &Token, headers: &HeaderMap) -> Result<(), Refusal> {
        match brought(headers) {
            Some(given) if admin.is(given) => Ok(()),
            Some(given) if self.token.is(given) => Err(Refusal::Scope),
            _ => Err(Refusal::Token),
        }
    }

    fn is_ours(&self, headers: &HeaderMap, local: IpAddr) -> bool {
        let Some(host) = only(headers, HOST).and_then(|host| host.to_str().ok()) else {
            return false;
        };
        let host = without_port(host).to_ascii_lowercase();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&host);
        let ours = |ip: IpAddr| ip.is_loopback() || ip.to_canonical() == local.to_canonical();
        host == "localhost" || bare.parse().is_ok_and(ours) || self.hosts.contains(&host)
    }
}

// The token that comes with a request.
fn brought(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, given) = split(only(headers, AUTHORIZATION)?.as_bytes())?;
    scheme.eq_ignore_ascii_case(b"bearer").then_some(given)
}

// A header that is there once: of two nobody knows which a proxy before us looked at.
fn only(headers: &HeaderMap, name: axum::http::HeaderName) -> Option<&HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((before, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !before.ends_with(':') => {
            before
        }
        _ => host,
    }
}

fn split(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = value.iter().position(|&byte| byte == b' ')?;
    Some((&value[..at], value[at + 1..].trim_ascii()))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let get = HeaderValue::from_static("GET, HEAD");
        let bearer = HeaderValue::from_static("Bearer");
        match self {
            Refusal::Target => StatusCode::BAD_REQUEST.into_response(),
            Refusal::Host => (StatusCode::MISDIRECTED_REQUEST, "unknown host\n").into_response(),
            Refusal::Method => (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, get)]).into_response(),
            Refusal::Token => (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, bearer)]).into_response(),
            Refusal::Scope => StatusCode::FORBIDDEN.into_response(),
        }
    }
}
