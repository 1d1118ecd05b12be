//! The gateway's paths, and what holds for each request of it: state, token, origin.

use hyper::body::Incoming;
use hyper::header::{HOST, ORIGIN};
use hyper::{Method, Request, StatusCode};

use super::answer::{Answer, Problem, json, not_found, wrong_method};
use super::auth::{Shown, shown};
use super::body::drain;
use super::counters::up;
use super::listen::Reach;
use super::phase::State;
use super::service::Service;
use super::{live, post, token};

/// What a browser sends for a page of another site, if this request is that: its `Origin` is not the
/// host that is asked; or, on loopback, the host is a name that someone else's name server has bent
/// to this machine. Whoever brings the token is no such page.
pub(super) fn foreign(request: &Request<Incoming>, reach: Reach, shown: Shown) -> Option<Answer> {
    if shown == Shown::Right || reach == Reach::Socket {
        return None;
    }
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = header(HOST);
    let refuse =
        |code: &'static str, message: &str| Some(Problem::new(StatusCode::FORBIDDEN, code, message).answer());
    if let Some(origin) = header(ORIGIN)
        && Some(origin.split_once("://").map_or(origin, |(_, host)| host)) != host
    {
        return refuse("foreign_origin", "requests from other sites' pages are not answered");
    }
    if reach == Reach::Local && host.is_some_and(|host| !is_this_machine(host)) {
        let message = "on loopback the Host must be an address or localhost; or bring the token";
        return refuse("foreign_host", message);
    }
    None
}

/// Whether a `Host` is an address, or the one name that is never looked up elsewhere (RFC 6761).
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            return rest.split_once(']').is_some_and(|(ip, _)| ip.parse::<std::net::Ipv6Addr>().is_ok());
        }
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<std::net::Ipv4Addr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

pub(super) fn unauthorized(service: &Service) -> Answer {
    up(&service.counters.unauthorized, 1);
    let message = "bring the token: Authorization: Bearer TOKEN";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message).answer()
}

/// Refuses a request for what its head says, but reads its body first: see [`drain`].
async fn turn_away(request: Request<Incoming>, answer: Answer) -> Answer {
    drain(&mut request.into_body()).await;
    answer
}

/// Answers one request that came by `reach`.
pub(super) async fn answer(service: &Service, reach: Reach, request: Request<Incoming>) -> Answer {
    let terms = service.terms();
    let shown = shown(terms.token.as_ref(), request.headers());
    if let Some(refused) = foreign(&request, reach, shown) {
        return turn_away(request, refused).await;
    }
    let needed = terms.token.is_some() && (reach == Reach::Beyond || terms.config.require_token);
    if shown == Shown::Wrong || (needed && shown != Shown::Right) {
        return turn_away(request, unauthorized(service)).await;
    }
    let trusted = shown == Shown::Right || terms.config.trust_wishes;
    let path = request.uri().path().to_owned();
    let state = service.state();
    let Some(engine) = service.engine().filter(|_| state != State::Recovering) else {
        let reason = State::Recovering.reason();
        let recovering = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "recovering", reason).answer();
        return turn_away(request, recovering).await;
    };
    if path == "/v1/tokens" {
        return match *request.method() {
            // What is under way when the end begins is ended; what comes after is not begun.
            Method::POST if state == State::Stopping => {
                let stopping = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", state.reason());
                turn_away(request, stopping.answer()).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_localhost_are_this_machine_and_other_names_may_be_anyones() {
        for host in ["127.0.0.1:7700", "127.0.0.1", "localhost", "LocalHost:7700", "[::1]:7700", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in
            ["evil.example:7700", "localhost.evil.example", "127.0.0.1.evil.example:7700", "[evil]", ""]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
