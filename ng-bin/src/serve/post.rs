//! `POST /v1/tokens`: a body to tokens, piece by piece, and what became of it.
//!
//! A body is no transaction: what was made before it broke off stays made, and the answer says so.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Request, StatusCode};
use ng_core::clock::stamp_unix_ns;
use serde::Serialize;

use super::answer::{Answer, Problem, json};
use super::body::Pieces;
use super::counters::up;
use super::lanes::NotDone;
use super::making::{Making, Manner, Tally};
use super::service::{Engine, Service};
use crate::ingest::{Format, Mapping, Rows};

/// What the query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    format: Option<Format>,
    map: Vec<String>,
    clamp: bool,
    any_ids: bool,
    pub(super) durable: bool,
}

impl Query {
    /// Reads it; a name that is not known is a fault, so that none is misspelt in silence.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let bad = |message: String| Problem::new(StatusCode::BAD_REQUEST, "bad_query", message);
        let switch = |name: &str, value: &str| match value {
            "" | "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => Err(bad(format!("{name} is true or false"))),
        };
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "format" => {
                    asked.format = Some(value.parse().map_err(|error| bad(format!("format: {error}")))?);
                }
                "map" => asked.map.push(value.into_owned()),
                "clamp" => asked.clamp = switch("clamp", &value)?,
                "durable" => asked.durable = switch("durable", &value)?,
                "ids" => {
                    asked.any_ids = match &*value {
                        "own" => false,
                        "any" => true,
                        _ => return Err(bad("ids is own or any".to_owned())),
                    }
                }
                other => {
                    let known = "format, map, clamp, ids and durable";
                    return Err(bad(format!("there is no parameter {other:?}: there are {known}")));
                }
            }
        }
        Ok(asked)
    }

    /// The format asked for, else the one of the content type.
    fn format(&self, headers: &HeaderMap) -> Result<Format, Problem> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json" => {
                Ok(Format::Ndjson)
            }
            "text/csv" => Ok(Format::Csv),
            "application/octet-stream" => Ok(Format::Bin),
            _ => {
                let message = format!(
                    "Content-Type {said:?} is none of application/x-ndjson, text/csv and \
                     application/octet-stream: send one of them, or ?format=ndjson, csv or bin"
                );
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_content_type", message))
            }
        }
    }
}

/// How long the answer to a sampled request waits for a lane to write its span.
const SPAN_PATIENCE: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    tally: &'a Tally,
    /// Whether every token of this request is durable now.
    durable: bool,
    /// With `durable`, a number at or after that of the request's last record.
    last_lsn: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unseen: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

pub(super) async fn post(
    service: &Service,
    engine: &Engine,
    request: Request<Incoming>,
    trusted: bool,
) -> Answer {
    let (head, body) = request.into_parts();
    let mut pieces = match Pieces::new(body, &head.headers, service.body_limits(), &service.counters).await {
        Ok(pieces) => pieces,
        Err(problem) => return problem.answer(),
    };
    let prepared = prepare(service, engine, &head, trusted);
    let (durable, making) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => {
            pieces.drain().await;
            return problem.answer();
        }
    };
    match run(service, engine, &mut pieces, making).await {
        Err(problem) => problem.answer(),
        Ok((making, problem)) => answer(service, engine, durable, making, problem).await,
    }
}

fn prepare(
    service: &Service,
    engine: &Engine,
    head: &hyper::http::request::Parts,
    trusted: bool,
) -> Result<(bool, Box<Making>), Problem> {
    let query = Query::parse(head.uri.query())?;
    let format = query.format(&head.headers)?;
    if query.durable
        && let Some(why) = service.loaded.config.wal.not_durable()
    {
        let message = format!("durable=true can't be kept: {why}");
        return Err(Problem::new(StatusCode::CONFLICT, "never_durable", message));
    }
    let mapping = Mapping::parse(&query.map)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad_map", error.to_string()))?;
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let config = &service.terms().config;
    let rows = Rows::new("body", format, mapping, query.clamp, size(config.max_row_kib << 10));
    let manner = Manner {
        any_ids: query.any_ids,
        binary: format == Format::Bin,
        max_refusals: size(config.max_refusals),
    };
    let context = engine.wishes.context(&head.headers, trusted);
    Ok((query.durable, Box::new(Making::new(rows, manner, context))))
}

/// All pieces through the lanes. An error means that nothing was made; a problem beside the making
/// means that the body broke off.
async fn run(
    service: &Service,
    engine: &Engine,
    pieces: &mut Pieces<'_>,
    mut making: Box<Making>,
) -> Result<(Box<Making>, Option<Problem>), Problem> {
    let patience = Duration::from_millis(service.terms().config.request_timeout_ms);
    let mut first = true;
    loop {
        let (data, ended) = match pieces.next().await {
            Ok(piece) => piece,
            Err(problem) => {
                if problem.status == StatusCode::PAYLOAD_TOO_LARGE {
                    pieces.drain().await;
                }
                return Ok((making, Some(problem)));
            }
        };
        // A request that is refused for want of room has made nothing yet; one that has begun waits.
        let permit = if std::mem::take(&mut first) {
            engine.lanes.try_permit()
        } else {
            engine.lanes.permit(patience).await
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(why) => {
                up(&service.counters.rejected, 1);
                pieces.drain().await;
                return if making.tally.read == 0 {
                    Err(not_done(why))
                } else {
                    Ok((making, Some(not_done(why))))
                };
            }
        };
        let done = engine.lanes.run(permit, move |bench| {
            making.piece(bench, &data, ended);
            making
        });
        making = done.await.map_err(not_done)?;
        if making.is_over() {
            pieces.drain().await;
        }
        if ended || making.is_over() {
            return Ok((making, None));
        }
    }
}

pub(super) fn not_done(why: NotDone) -> Problem {
    match why {
        NotDone::NoRoom => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "busy",
            "serve.max_in_flight pieces of work are under way: try again",
        ),
        NotDone::Gone => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_lane",
            "the lane is gone: the log has failed, the service is ending, or the work panicked; what of this \
             request was made before stays made",
        ),
    }
}

async fn answer(
    service: &Service,
    engine: &Engine,
    durable: bool,
    mut making: Box<Making>,
    mut problem: Option<Problem>,
) -> Answer {
    if let Some(broken) = making.broken.take() {
        problem = Some(broken);
    }
    let unseen = making.unseen();
    if let Some(why) = &making.tally.stopped {
        problem = Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log", why.clone()));
    }
    let mut is_durable = false;
    if durable && making.tally.made > 0 {
        let patience = Duration::from_millis(service.terms().config.durable_timeout_ms);
        let start_ns = making.is_sampled().then(stamp_unix_ns);
        let waited = engine.wait_durable(making.tally.ticket, patience).await;
        start_ns.into_iter().for_each(|start_ns| making.waited(start_ns));
        match waited {
            Ok(()) => is_durable = true,
            Err(error @ ng_core::wal::WaitError::TimedOut { .. }) => {
                problem.get_or_insert_with(|| {
                    Problem::new(StatusCode::GATEWAY_TIMEOUT, "not_durable_yet", error.to_string())
                });
            }
            Err(error) => {
                problem.get_or_insert_with(|| {
                    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_durable", error.to_string())
                });
            }
        }
    }
    let tally = &making.tally;
    let only = |reason: &str| tally.refused_by.len() == 1 && tally.refused_by.contains_key(reason);
    let status = match &problem {
        Some(problem) => problem.status,
        None if tally.made > 0 || tally.refused == 0 => StatusCode::OK,
        None if only("quota") => StatusCode::TOO_MANY_REQUESTS,
        None if only("store") => StatusCode::INSUFFICIENT_STORAGE,
        None => StatusCode::UNPROCESSABLE_ENTITY,
    };
    up(&service.counters.malformed, tally.refused_by.get("malformed").copied().unwrap_or(0));
    let last_lsn = if is_durable { engine.durable_lsn() } else { None };
    let answer = json(status, &Document { tally, durable: is_durable, last_lsn, unseen, error: problem });
    if making.is_sampled() {
        write_span(service, engine, making).await;
    }
    answer
}

/// Lanes write spans, so that a sampled request has one more turn with them. What it is answered does
/// not depend on that, and it waits for no longer than [`SPAN_PATIENCE`].
async fn write_span(service: &Service, engine: &Engine, mut making: Box<Making>) {
    let written = match engine.lanes.permit(SPAN_PATIENCE).await {
        Ok(permit) => engine.lanes.run(permit, move |bench| making.finish(bench)).await,
        Err(why) => Err(why),
    };
    if written.is_err() {
        up(&service.counters.spans_lost, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_is_wrong_in_it_is_named() {
        let asked = Query::parse(Some("map=weight%3Dprice&map=L1.x=lon&durable&clamp=0&ids=any&format=csv"));
        let asked = asked.unwrap();
        assert_eq!(asked.map, ["weight=price", "L1.x=lon"]);
        assert!(asked.durable && asked.any_ids && !asked.clamp);
        assert_eq!(asked.format, Some(Format::Csv));
        for bad in ["durabel=true", "durable=yes", "ids=none", "format=xml"] {
            assert_eq!(Query::parse(Some(bad)).unwrap_err().code, "bad_query", "{bad}");
        }
    }
}
