//! The same crates in the hands of someone who knows where the time goes: no span is made unless a
//! countdown of one's own says so, the quota is asked once a batch, counters and histogram are the
//! thread's own and flushed once a batch, an event stands for a group of 64 tokens, and a thread beside
//! writes and syncs the log, 256 tokens under one key.
//!
//! It is not what the documentation shows, and gives up some: a parent's decision is not followed.

use std::sync::mpsc::sync_channel;
use std::time::Instant;

use ng_core::token::Token;
use opentelemetry_sdk::trace::Sampler;
use zerocopy::IntoBytes;

use crate::glue::{Event, Metrics, Quota, Ring};
use crate::raft::{GROUP, Raft};
use crate::spans::Spans;
use crate::work::{in_batches, limit, touched};
use crate::{Job, Outcome};

/// Tokens under one key of the log.
const VALUE: usize = 256;
/// Tokens of one event.
const RUN: u64 = 64;
/// Groups that may wait for the log's thread: as many bytes as our 16 blocks of 1 MiB.
const WAITING: usize = 16;
/// One of so many tokens has a span.
const SAMPLED: u64 = 100;

pub(crate) fn run(job: &Job) -> Result<Outcome, String> {
    let spans = Spans::install(Sampler::AlwaysOn)?;
    let (quota, ring, metrics) = (Quota::new(limit(job.tokens)), Ring::new(), Metrics::register()?);
    let (tokens, bytes, weights) = (metrics.tokens.local(), metrics.bytes.local(), metrics.weights.local());
    let mut log = Raft::open(&job.dir, job.tokens / job.every)?;
    let mut store = touched(job.tokens);
    let (to_log, groups) = sync_channel::<Vec<Token>>(WAITING);
    let began = Instant::now();
    let wall = std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut number = 0;
            for group in groups {
                for value in group.chunks(VALUE) {
                    log.put(number, value.as_bytes().to_vec())?;
                    number += 1;
                }
                log.commit()?;
            }
            Ok::<_, String>(())
        });
        let mut group = Vec::with_capacity(GROUP);
        let mut countdown = SAMPLED;
        let made = in_batches(job.tokens, |first, specs| {
            if !quota.admit(specs.len() as u64) {
                return Err("refused".to_owned());
            }
            for (number, spec) in (first..).zip(specs) {
                countdown -= 1;
                let _span = (countdown == 0).then(|| {
                    countdown = SAMPLED;
                    tracing::info_span!("create", id = number).entered()
                });
                let token = spec.at(store.len() as u32, 0);
                if (number + 1).is_multiple_of(job.every) {
                    group.push(token);
                    if group.len() == GROUP {
                        let full = std::mem::replace(&mut group, Vec::with_capacity(GROUP));
                        to_log.send(full).map_err(|_| "the log's thread ended")?;
                    }
                }
                store.push(token);
                tokens.inc();
                bytes.inc_by(64);
                weights.observe(f64::from(token.weight));
                if (number + 1).is_multiple_of(RUN) {
                    ring.record(Event { kind: 1, first: number + 1 - RUN, count: RUN });
                }
            }
            tokens.flush();
            bytes.flush();
            weights.flush();
            if job.every > 1 && !group.is_empty() {
                to_log.send(std::mem::take(&mut group)).map_err(|_| "the log's thread ended")?;
            }
            Ok(())
        });
        if !group.is_empty() {
            // A writer that ended says why below.
            to_log.send(group).ok();
        }
        drop(to_log);
        writer.join().map_err(|_| "the log's thread panicked".to_owned())??;
        made.map(|()| began.elapsed())
    })?;
    if store.len() as u64 != job.tokens || metrics.tokens.get() != job.tokens {
        return Err("what was made is not what was asked for".to_owned());
    }
    Ok(Outcome { wall_ms: wall.as_secs_f64() * 1e3, spans_exported: spans.finish()?, spans_dropped: 0 })
}
