//! This crate's layers, and the ones that are switched off, against the suites of their contracts.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

use ng_core::{metrics::NoMetrics, spans::NoSpans, testing};
use ng_telemetry::{
    Registry, RegistryOptions, Sampler, SpanOptions, SpanWriter,
    spans::{Discard, JsonLines, Memory},
};

#[test]
fn the_registry_keeps_the_contract_of_metrics() {
    testing::metrics::suite(|| Registry::new(&RegistryOptions::default()));
}

#[test]
fn the_metrics_that_are_switched_off_keep_their_contract() {
    testing::metrics::suite(|| NoMetrics);
}

#[test]
fn the_sampler_keeps_the_contract_of_sampling() {
    let seeds = std::cell::Cell::new(0);
    testing::sampling::suite(|rate| {
        seeds.set(seeds.get() + 1);
        Sampler::new(rate, Some(seeds.get())).unwrap()
    });
    testing::sampling::off_suite();
}

#[test]
fn the_span_writer_keeps_the_contract_of_spans_whatever_the_exporter() {
    testing::spans::suite(|| SpanWriter::start(SpanOptions::new(Discard)).unwrap());
    testing::spans::suite(|| SpanWriter::start(SpanOptions::new(Memory::default())).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spans.jsonl");
    testing::spans::suite(|| SpanWriter::start(SpanOptions::new(JsonLines::open(&path).unwrap())).unwrap());
}

#[test]
fn tiny_slabs_keep_the_contract_of_spans() {
    testing::spans::suite(|| {
        SpanWriter::start(SpanOptions { lane_spans: 50, batch_spans: 7, ..SpanOptions::new(Discard) })
            .unwrap()
    });
}

#[test]
fn the_spans_that_are_switched_off_keep_their_contract() {
    testing::spans::off_suite(&NoSpans);
}
