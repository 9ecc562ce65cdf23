//! What figures were, as the library itself remembers it.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::api::{JSON, refusal};
use super::query;
use crate::figures::Figures;
use crate::history::{History, Key, LEVELS, Stretch, Wanted, now};

const RANGE: u64 = 3600;
const MOST_RANGE: u64 = LEVELS[2].step * LEVELS[2].points as u64;

pub async fn names(State(figures): State<Arc<Figures>>, uri: Uri) -> Response {
    said(names_of(&figures.history, uri.query()))
}

pub async fn courses(State(figures): State<Arc<Figures>>, uri: Uri) -> Response {
    said(courses_of(&figures.history, uri.query()))
}

fn said(answer: Result<String, &'static str>) -> Response {
    match answer {
        Ok(body) => ([(CONTENT_TYPE, JSON)], body).into_response(),
        Err(message) => refusal(StatusCode::BAD_REQUEST, "bad_request", message),
    }
}

/// The names of an instance's courses, as JSON.
pub fn names_of(history: &History, query: Option<&str>) -> Result<String, &'static str> {
    let names = instance(history, query).map(|instance| history.names(&instance));
    let mut body = r#"{"series":["#.to_owned();
    join(&mut body, names.unwrap_or_default(), |body, name| {
        text(body, &name)
    });
    body.push_str("]}");
    Ok(body)
}

/// Courses by their names, of an instance or of one of its pools, as JSON; or what was expected.
pub fn courses_of(history: &History, query: Option<&str>) -> Result<String, &'static str> {
    let range = match query::value(query, "range").filter(|range| !range.is_empty()) {
        None => RANGE,
        Some(range) => match range.parse() {
            Ok(range) if (1..=MOST_RANGE).contains(&range) => range,
            _ => return Err("range: expected seconds, from 1 to 604800"),
        },
    };
    let Some(names) = query::value(query, "series").filter(|names| !names.is_empty()) else {
        return Err("series: expected names as /api/v1/history/series has them, with commas between");
    };
    let names: Vec<&str> = names.split(',').collect();
    let instance = instance(history, query).unwrap_or_default();
    let pool = query::value(query, "pool").filter(|pool| !pool.is_empty());
    let wanted = Wanted {
        instance: &instance,
        pool: pool.as_deref(),
        names: &names,
    };
    Ok(written(&history.read(now(), &wanted, range)))
}

fn instance(history: &History, query: Option<&str>) -> Option<String> {
    let named = query::value(query, "instance").filter(|name| !name.is_empty());
    named.or_else(|| history.first_instance())
}

fn written(stretch: &Stretch) -> String {
    let mut body = format!(r#"{{"from":{},"series":["#, stretch.from);
    join(&mut body, &stretch.courses, |body, (key, points)| {
        course(body, key, points)
    });
    let Stretch {
        step,
        truncated,
        unkept,
        ..
    } = stretch;
    let _ = write!(
        body,
        r#"],"step":{step},"truncated":{truncated},"unkept":{unkept}}}"#
    );
    body
}

fn course(body: &mut String, key: &Key, points: &[Option<f32>]) {
    body.push_str(r#"{"labels":{"#);
    if let Some(pool) = &key.pool {
        body.push_str(r#""pool":"#);
        text(body, pool);
    }
    body.push_str(r#"},"name":"#);
    text(body, &key.name);
    body.push_str(r#","points":["#);
    join(body, points, |body, point| {
        let _ = match point {
            Some(point) => write!(body, "{point}"),
            None => write!(body, "null"),
        };
    });
    body.push_str("]}");
}

fn join<T>(body: &mut String, items: impl IntoIterator<Item = T>, write: impl Fn(&mut String, T)) {
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        write(body, item);
    }
}

// RFC 8259
fn text(body: &mut String, text: &str) {
    body.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => body.extend(['\\', char]),
            char if char < ' ' => {
                let _ = write!(body, "\\u{:04x}", char as u32);
            }
            char => body.push(char),
        }
    }
    body.push('"');
}
