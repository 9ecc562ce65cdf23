//! What the VM answers, or does: passed on to it as it came.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::figures::Figures;
use crate::questions::Verb;

pub async fn ask(State(figures): State<Arc<Figures>>, uri: Uri) -> Response {
    answered(&figures, Verb::Get, &uri).await
}

/// For who may have something done.
pub async fn act(State(figures): State<Arc<Figures>>, uri: Uri) -> Response {
    answered(&figures, Verb::Post, &uri).await
}

async fn answered(figures: &Figures, verb: Verb, uri: &Uri) -> Response {
    let query = uri.query().unwrap_or_default().to_owned();
    match figures.questions.put(verb, uri.path().to_owned(), query).await {
        Some(answer) => {
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, [(CONTENT_TYPE, answer.kind)], answer.body).into_response()
        }
        None => refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the VM did not answer in time; ask again",
        ),
    }
}

/// Why there is no answer, as the VM would say it. Takes no text that JSON would write otherwise.
pub fn refusal(status: StatusCode, reason: &str, message: &str) -> Response {
    let body = format!(r#"{{"error":{{"message":"{message}","reason":"{reason}"}}}}"#);
    (status, [(CONTENT_TYPE, JSON)], body).into_response()
}

pub const JSON: &str = "application/json";
