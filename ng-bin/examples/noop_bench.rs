//! What the lane itself costs: the same tokens checked and put into the bare store, through a lane of no-ops
//! composed in code, and through a stack whose configuration switches every layer off.
//!
//! `cargo run --release -p ng-stack --example noop_bench -- [TOKENS] [ROUNDS]`
//!
//! The three take turns on memory that was touched before. One JSON line for each: the median and
//! the quartiles in nanoseconds a token.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench reports on standard output")]

use std::sync::Arc;
use std::time::Instant;

use ng_core::clock::Tick;
use ng_core::lane::{BatchReport, GROUP, Lane, LaneOptions, Layers};
use ng_core::{TokenSpec, TokenStore};
use ng_stack::Stack;
use ng_stack::config::Loader;

const BATCH: usize = 4_096;
const OFF: &str = "[wal]\nkind = \"off\"\n[guardian]\nkind = \"off\"\n[metrics]\nkind = \"off\"\n\
                   [tracing]\nkind = \"off\"\n[blackbox]\nkind = \"off\"\n";

/// Fills a fresh store, batch by batch, and says how long a token took.
fn timed(tokens: usize, specs: &[TokenSpec], mut fill: impl FnMut(&[TokenSpec])) -> f64 {
    let began = Instant::now();
    let mut left = tokens;
    while left > 0 {
        let n = left.min(specs.len());
        fill(&specs[..n]);
        left -= n;
    }
    began.elapsed().as_nanos() as f64 / tokens as f64
}

fn warm(tokens: usize) -> Arc<TokenStore> {
    let store = Arc::new(TokenStore::new());
    store.populate(0, u32::try_from(tokens + 4_096).unwrap()).unwrap();
    store
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let tokens: usize = arguments.next().map_or(4_000_000, |n| n.parse().unwrap());
    let rounds: usize = arguments.next().map_or(15, |n| n.parse().unwrap());
    let specs: Vec<_> = (0..BATCH).map(|i| TokenSpec::new().with_weight(i as f32)).collect();
    let systems = ["bare store", "lane of no-ops", "stack with everything off"];
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        let store = warm(tokens);
        let mut writer = store.writer(0).unwrap();
        figures[0].push(timed(tokens, &specs, |specs| {
            for group in specs.chunks(GROUP) {
                // Soundness is the lane's duty whatever layers there are, so it is done here too.
                assert!(group.iter().all(|spec| spec.draft().weight.is_finite()));
                let mut rest = group;
                while !rest.is_empty() {
                    let run = writer.reserve(rest.len() as u32).unwrap();
                    // The hour is no constant, for whoever fills a store has to ask for it.
                    let (first, len, now) = (run.first(), run.len(), std::hint::black_box(0));
                    run.publish(len, |i| rest[i as usize].at(first + i, now));
                    rest = &rest[len as usize..];
                }
            }
        }));
        assert_eq!(store.len(), tokens as u64);
        drop((writer, store));

        let store = warm(tokens);
        let options = LaneOptions::default();
        let mut lane: Lane = Lane::new(store.writer(0).unwrap(), Layers::default(), Tick::manual(0), options);
        let mut report = BatchReport::default();
        figures[1].push(timed(tokens, &specs, |specs| lane.create_batch(specs, &mut report)));
        assert_eq!(store.len(), tokens as u64);
        drop((lane, store));

        let store = warm(tokens);
        let loaded = Loader::new().text("everything off", OFF).load().unwrap();
        let stack = Stack::builder().config(loaded.config).store(Arc::clone(&store)).build().unwrap();
        let mut lane = stack.lane("maker").unwrap();
        figures[2].push(timed(tokens, &specs, |specs| lane.create_batch(specs, &mut report)));
        assert_eq!(store.len(), tokens as u64);
    }
    for (system, mut figures) in systems.into_iter().zip(figures) {
        figures.sort_by(f64::total_cmp);
        let at = |share: f64| figures[((figures.len() - 1) as f64 * share).round() as usize];
        println!(
            "{{\"system\":\"{system}\",\"ns\":{:.2},\"lower\":{:.2},\"upper\":{:.2}}}",
            at(0.5),
            at(0.25),
            at(0.75)
        );
    }
}
