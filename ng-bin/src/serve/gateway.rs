//! The gateway's paths, and what holds for each request of it: state, token, origin.

use hyper::body::Incoming;
use hyper::header::{HOST, ORIGIN};
use hyper::{Method, Request, StatusCode};

use super::answer::{Answer, Problem, json, not_found, wrong_method};
use super::auth::{Shown, shown};
use super::counters::up;
use super::listen::Reach;
use super::phase::State;
use super::service::Service;
use super::{live, post, token};

/// A request of another page than the service's own, which a browser sends for whoever is on it.
pub(super) fn is_foreign(request: &Request<Incoming>) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = header(ORIGIN) else { return false };
    let origin = origin.split_once("://").map_or(origin, |(_, host)| host);
    Some(origin) != header(HOST)
}

pub(super) fn foreign() -> Answer {
    let message = "requests from other sites' pages are not answered";
    Problem::new(StatusCode::FORBIDDEN, "foreign_origin", message).answer()
}

pub(super) fn unauthorized(service: &Service) -> Answer {
    up(&service.counters.unauthorized, 1);
    let message = "bring the token: Authorization: Bearer TOKEN";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message).answer()
}

/// Answers one request that came by `reach`.
pub(super) async fn answer(service: &Service, reach: Reach, request: Request<Incoming>) -> Answer {
    if is_foreign(&request) {
        return foreign();
    }
    let shown = shown(service.token.as_ref(), request.headers());
    let needed = service.token.is_some() && (reach == Reach::Beyond || service.config().require_token);
    if shown == Shown::Wrong || (needed && shown != Shown::Right) {
        return unauthorized(service);
    }
    let trusted = shown == Shown::Right || service.config().trust_wishes;
    let path = request.uri().path().to_owned();
    let state = service.state();
    let Some(engine) = service.engine().filter(|_| state != State::Recovering) else {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "recovering", State::Recovering.reason())
            .answer();
    };
    if path == "/v1/tokens" {
        return match *request.method() {
            // What is under way when the end begins is ended; what comes after is not begun.
            Method::POST if state == State::Stopping => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", state.reason()).answer()
            }
            Method::POST => post::post(service, engine, request, trusted).await,
            _ => wrong_method("POST"),
        };
    }
    if let Some(id) = path.strip_prefix("/v1/tokens/") {
        return match *request.method() {
            Method::GET => token::get(engine, id, &request),
            Method::DELETE => token::delete(service, engine, id, &request).await,
            _ => wrong_method("GET, DELETE"),
        };
    }
    match (request.method(), &*path) {
        (&Method::GET, "/v1/stats") => json(StatusCode::OK, &live::stats(service)),
        (_, "/v1/stats") => wrong_method("GET"),
        _ => not_found(&path),
    }
}
