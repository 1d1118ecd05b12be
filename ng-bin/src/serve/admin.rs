//! The administration's paths: what a scraper, a supervisor and a person ask for. It changes
//! nothing.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, HeaderValue, VARY};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::answer::{Answer, Problem, bytes, json as document, not_found, wrong_method};
use super::auth::{Shown, shown};
use super::gateway::{foreign, unauthorized};
use super::listen::Reach;
use super::live;
use super::phase::State;
use super::service::Service;
#[cfg(any(feature = "guardian", feature = "blackbox"))]
use crate::stack::choice;
use crate::stack::choice::MetricChoice;

const PAGE: &str = include_str!("page/index.html");

/// The page may run what is in it and ask where it came from; nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Answers one request that came by `reach`. Beyond loopback the token is needed for all but the
/// state and the empty page.
pub(super) async fn answer(service: &Arc<Service>, reach: Reach, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return wrong_method("GET");
    }
    match &*path {
        "/healthz" => return document(StatusCode::OK, &json!({ "alive": true })),
        "/readyz" => return ready(service),
        "/" => {
            let mut page = bytes(StatusCode::OK, "text/html; charset=utf-8", PAGE);
            page.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
            return page;
        }
        _ => {}
    }
    let terms = service.terms();
    let shown = shown(terms.token.as_ref(), request.headers());
    if let Some(refused) = foreign(&request, reach, shown) {
        return refused;
    }
    if shown == Shown::Wrong || (terms.token.is_some() && reach == Reach::Beyond && shown != Shown::Right) {
        return unauthorized(service);
    }
    match &*path {
        "/metrics" => metrics(service, &request),
        "/v1/config" => document(StatusCode::OK, &config(service)),
        "/v1/live" => aside(service, |service| document(StatusCode::OK, &live::live(service))).await,
        "/v1/cdna" => aside(service, cdna).await,
        "/v1/blackbox" => {
            let query = request.uri().query().map(str::to_owned);
            aside(service, move |service| blackbox(service, query.as_deref())).await
        }
        _ => not_found(&path),
    }
}

/// Runs what may read files where it blocks no connection.
async fn aside(service: &Arc<Service>, work: impl FnOnce(&Service) -> Answer + Send + 'static) -> Answer {
    let service = Arc::clone(service);
    tokio::task::spawn_blocking(move || work(&service)).await.unwrap_or_else(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer could not be made").answer()
    })
}

fn ready(service: &Service) -> Answer {
    let state = service.state();
    let ready = state == State::Ready;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    document(status, &json!({ "ready": ready, "state": state.label(), "reason": state.reason() }))
}

fn recovering() -> Answer {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "recovering", State::Recovering.reason()).answer()
}

fn metrics(service: &Service, request: &Request<Incoming>) -> Answer {
    let Some(engine) = service.engine() else { return recovering() };
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let (accept, encoding) = (header(ACCEPT), header(ACCEPT_ENCODING));
    match engine.stack.metrics_in_use() {
        MetricChoice::Off(_) => {
            let message = "nothing is counted: metrics.kind is \"off\"";
            Problem::new(StatusCode::NOT_FOUND, "no_metrics", message).answer()
        }
        #[cfg(feature = "telemetry")]
        MetricChoice::Built(registry) => {
            let exposed = registry.expose(accept, encoding);
            let mut answer = bytes(StatusCode::OK, exposed.content_type, exposed.body);
            if let Some(encoding) = exposed.content_encoding {
                answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            answer.headers_mut().insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
            answer
        }
        MetricChoice::Custom(sink) => {
            let (mut text, _) = (String::new(), (accept, encoding, CONTENT_ENCODING, VARY));
            sink.render(&mut text);
            bytes(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
        }
    }
}

/// Every key with its value and where that came from.
fn config(service: &Service) -> Value {
    let in_force = service.reloader.in_force();
    let settings: Vec<Value> = in_force
        .settings()
        .into_iter()
        .map(|setting| {
            json!({ "key": setting.key, "value": setting.value, "origin": setting.origin.to_string() })
        })
        .collect();
    json!({ "fingerprint": format!("{:016x}", in_force.fingerprint()), "settings": settings })
}

#[cfg(feature = "guardian")]
fn cdna(service: &Service) -> Answer {
    let Some(engine) = service.engine() else { return recovering() };
    let choice::AdmissionChoice::Built(guardian) = engine.stack.admission_in_use() else {
        let message = "no constitution is in force: guardian.kind is \"off\"";
        return Problem::new(StatusCode::NOT_FOUND, "no_constitution", message).answer();
    };
    let now = guardian.constitution();
    let range = |range: &std::ops::RangeInclusive<f32>| json!({ "min": range.start(), "max": range.end() });
    let history = service.loaded.config.guardian.cdna_dir.as_ref().map(|dir| {
        match ng_guardian::cdna::read_history(dir) {
            Ok(history) => json!({ "active": history.active(), "records": history.records() }),
            Err(error) => json!({ "error": error.to_string() }),
        }
    });
    document(
        StatusCode::OK,
        &json!({
            "version": now.version,
            "weight": range(&now.weight), "radius": range(&now.radius), "strength": range(&now.strength),
            "validation": now.validation, "strict": now.strict, "mutation": now.mutation,
            "read_only": now.read_only, "sample_rate": now.sample_rate,
            "history": history,
        }),
    )
}

#[cfg(not(feature = "guardian"))]
fn cdna(_service: &Service) -> Answer {
    let message = "no constitution: built without the feature \"guardian\"";
    Problem::new(StatusCode::NOT_FOUND, "no_constitution", message).answer()
}

/// The last events of the own rings: `?last=200&tier=rare`.
#[cfg(feature = "blackbox")]
fn blackbox(service: &Service, query: Option<&str>) -> Answer {
    use ng_blackbox::read::{Filter, Snapshot};
    use ng_core::events::Tier;
    let Some(engine) = service.engine() else { return recovering() };
    let choice::EventChoice::Built(recorder) = engine.stack.events_in_use() else {
        let message = "no events are recorded: blackbox.kind is \"off\"";
        return Problem::new(StatusCode::NOT_FOUND, "no_blackbox", message).answer();
    };
    let bad = |message: String| Problem::new(StatusCode::BAD_REQUEST, "bad_query", message).answer();
    let (mut last, mut filter) = (200_usize, Filter::default());
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "last" => match value.parse() {
                Ok(number @ 0..=10_000) => last = number,
                _ => return bad("last is a number up to 10000".to_owned()),
            },
            "tier" => match Tier::ALL.into_iter().find(|tier| tier.label() == value) {
                Some(tier) => filter.tiers.push(tier),
                None => return bad("tier is operation, sampled or rare".to_owned()),
            },
            other => return bad(format!("there is no parameter {other:?}: there are last and tier")),
        }
    }
    match Snapshot::open(recorder.path()) {
        Ok(mut snapshot) => {
            snapshot.retain(&filter);
            document(StatusCode::OK, &snapshot.to_json(last))
        }
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", error.to_string()).answer()
        }
    }
}

#[cfg(not(feature = "blackbox"))]
fn blackbox(_service: &Service, _query: Option<&str>) -> Answer {
    let message = "no events: built without the feature \"blackbox\"";
    Problem::new(StatusCode::NOT_FOUND, "no_blackbox", message).answer()
}
