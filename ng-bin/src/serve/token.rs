//! `GET` and `DELETE /v1/tokens/{id}`: one token.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::ACCEPT;
use hyper::{Request, StatusCode};
use ng_core::TokenId;
use ng_core::lane::DeleteError;
use serde::Serialize;

use super::answer::{Answer, Problem, bytes, json};
use super::counters::up;
use super::post::not_done;
use super::service::{Engine, Service};
use crate::export::{Format, write_token};
use crate::ingest::parse_id;

fn read_id(text: &str) -> Result<TokenId, Problem> {
    let text = text.replace("%3A", ":").replace("%3a", ":");
    parse_id(&text).map_err(|fault| {
        Problem::new(StatusCode::BAD_REQUEST, "bad_id", format!("the id {} {fault}", text.escape_debug()))
    })
}

fn none(id: TokenId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_token", format!("there is no token {id}"))
}

pub(super) fn get(engine: &Engine, id: &str, request: &Request<Incoming>) -> Answer {
    let id = match read_id(id) {
        Ok(id) => id,
        Err(problem) => return problem.answer(),
    };
    let Some(token) = engine.stack.store().get(id) else { return none(id).answer() };
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (format, content_type) = if accept.contains("application/octet-stream") {
        (Format::Bin, "application/octet-stream")
    } else if accept.contains("text/csv") {
        (Format::Csv, "text/csv")
    } else {
        (Format::Ndjson, "application/json")
    };
    let mut out = Vec::new();
    crate::export::write_header(format, &mut out);
    write_token(format, &mut out, &token);
    bytes(StatusCode::OK, content_type, out)
}

#[derive(Serialize)]
struct Deleted {
    id: u32,
    deleted: bool,
    durable: bool,
    last_lsn: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

pub(super) async fn delete(
    service: &Service,
    engine: &Engine,
    id: &str,
    request: &Request<Incoming>,
) -> Answer {
    match try_delete(service, engine, id, request).await {
        Ok(answer) => answer,
        Err(problem) => problem.answer(),
    }
}

async fn try_delete(
    service: &Service,
    engine: &Engine,
    id: &str,
    request: &Request<Incoming>,
) -> Result<Answer, Problem> {
    let id = read_id(id)?;
    let durable = match request.uri().query() {
        None | Some("" | "durable=false") => false,
        Some("durable=true" | "durable" | "durable=1") => true,
        Some(_) => {
            let message = "the only parameter here is durable=true";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_query", message));
        }
    };
    if durable && let Some(why) = service.loaded.config.wal.deletion_not_durable() {
        let message = format!("durable=true can't be kept: {why}");
        return Err(Problem::new(StatusCode::CONFLICT, "never_durable", message));
    }
    let permit = engine.lanes.try_permit().map_err(|why| {
        up(&service.counters.rejected, 1);
        not_done(why)
    })?;
    let done = engine.lanes.run(permit, move |bench| bench.lane.delete(id)).await.map_err(not_done)?;
    let ticket = done.map_err(|error| {
        let text = error.to_string();
        match error {
            DeleteError::NotFound(id) => none(id),
            DeleteError::Forbidden(_) => Problem::new(StatusCode::FORBIDDEN, "constitution", text),
            _ => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log", text),
        }
    })?;
    let (mut is_durable, mut error) = (false, None);
    if durable {
        let patience = Duration::from_millis(service.terms().config.durable_timeout_ms);
        match engine.wait_durable(ticket, patience).await {
            Ok(()) => is_durable = true,
            Err(why) => {
                error = Some(Problem::new(StatusCode::GATEWAY_TIMEOUT, "not_durable_yet", why.to_string()));
            }
        }
    }
    let status = error.as_ref().map_or(StatusCode::OK, |problem| problem.status);
    let last_lsn = if is_durable { engine.durable_lsn() } else { None };
    Ok(json(status, &Deleted { id: id.raw(), deleted: true, durable: is_durable, last_lsn, error }))
}
