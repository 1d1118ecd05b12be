//! Answers: one JSON document each, errors too, with the headers that go with them.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// What every handler answers with.
pub(super) type Answer = Response<Full<Bytes>>;

/// Seconds after which a refused caller may try again.
const AGAIN: HeaderValue = HeaderValue::from_static("1");

/// What went wrong, for programs (`code`) and for people (`message`).
#[derive(Debug, Clone, Serialize)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) message: String,
    #[serde(skip)]
    pub(super) status: StatusCode,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status }
    }

    pub(super) fn answer(self) -> Answer {
        #[derive(Serialize)]
        struct Document {
            error: Problem,
        }
        json(self.status, &Document { error: self })
    }
}

/// A JSON document, with `Retry-After` where trying again may help.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Answer {
    let mut text = serde_json::to_vec(document).unwrap_or_else(|error| {
        format!("{{\"error\":{{\"code\":\"internal\",\"message\":\"{error}\"}}}}").into_bytes()
    });
    text.push(b'\n');
    bytes(status, "application/json", text)
}

pub(super) fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        headers.insert(RETRY_AFTER, AGAIN);
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

pub(super) fn not_found(path: &str) -> Answer {
    let message = format!("there is nothing at {}", path.escape_debug());
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", message).answer()
}

pub(super) fn wrong_method(allowed: &'static str) -> Answer {
    let message = format!("use {allowed} here");
    let mut answer = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message).answer();
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
