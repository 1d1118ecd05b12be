//! What the lane costs with some layers on: for a profiler, and for instruction counts.
//!
//! `cargo run --release -p ng-stack --example lane_bench -- LAYERS [TOKENS] [ROUNDS] [BATCH] [DIR]`
//!
//! `LAYERS` are sections of the configuration with commas between, or `none`. One JSON line a round:
//! `making_ns` until the last token is made, `durable_ns` until all are durable, by token. Memory is
//! touched before; variables (`NG_WAL__BACKEND=std`, for a tool that knows no io_uring) are heeded; BATCH 1 calls `create` for each token.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench reports on standard output")]

use ng_core::lane::BatchReport;
use ng_core::token::{Coords, Token, flags};
use ng_core::{TokenSpec, TokenStore};
use ng_stack::Stack;
use ng_stack::config::Loader;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

fn spec(i: u64) -> TokenSpec {
    let step = (i % 30_000) as i16;
    let mut coords: Coords = [[0; 3]; 8];
    coords[0] = [step, -step, 7];
    coords[7] = [1, 2, step];
    let mut token = Token::default();
    token.weight = (i % 10_000) as f32 * 0.0001;
    token.timestamp = 1_700_000_000;
    token.flags = flags::ACTIVE;
    token.radius_raw = 100;
    token.strength_raw = 255;
    token.coords = coords;
    TokenSpec::of_any(token)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let layers = arguments.next().unwrap_or_else(|| "wal,guardian,metrics,tracing,blackbox".to_owned());
    let tokens: u64 = arguments.next().map_or(9_500_000, |n| n.parse().unwrap());
    let rounds: usize = arguments.next().map_or(3, |n| n.parse().unwrap());
    let batch: u64 = arguments.next().map_or(100_000, |n| n.parse().unwrap());
    let dir = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(dir).unwrap();
    let off = |layer: &str| if layers.split(',').any(|on| on == layer) { "" } else { "kind = \"off\"" };
    for round in 0..rounds {
        let run = dir.path().join(format!("run-{round}"));
        let text = format!(
            "[wal]\n{}\ndir = {:?}\nspare_segments = 12\n[guardian]\n{}\n[metrics]\n{}\n[tracing]\n{}\noutput = {:?}\n\
             [blackbox]\n{}\ndir = {:?}\nkeep_on_exit = false\n[log]\nlevel = \"warn\"",
            off("wal"),
            run.join("wal"),
            off("guardian"),
            off("metrics"),
            off("tracing"),
            run.join("spans.jsonl"),
            off("blackbox"),
            run.join("rings"),
        );
        let store = Arc::new(TokenStore::new());
        store.populate(0, u32::try_from(tokens + 4096).unwrap()).unwrap();
        let loaded = Loader::new().text("bench", text).env(std::env::vars_os()).load().unwrap();
        let stack = Stack::builder().loaded(loaded).store(store).build().unwrap();
        assert!(stack.wait_ready(PATIENCE));
        let mut lane = stack.lane("maker").unwrap();
        let mut report = BatchReport::default();
        let mut specs = Vec::with_capacity(usize::try_from(batch).unwrap());
        let mut making = Duration::ZERO;
        let began = Instant::now();
        let mut next = 0;
        while next < tokens {
            let end = tokens.min(next + batch);
            specs.clear();
            specs.extend((next..end).map(spec));
            let before = Instant::now();
            if batch == 1 {
                lane.create(&specs[0]).unwrap();
            } else {
                lane.create_batch(&specs, &mut report);
                assert_eq!(report.made() as u64, end - next);
            }
            making += before.elapsed();
            next = end;
        }
        stack.wal().flush(PATIENCE).unwrap();
        let wall = began.elapsed();
        let stalled = Duration::from_nanos(stack.wal().stats().stalled_ns);
        let per = |time: Duration| time.as_nanos() as f64 / tokens as f64;
        println!(
            "{{\"layers\":\"{layers}\",\"batch\":{batch},\"making_ns\":{:.2},\"stalled_ns\":{:.2},\"durable_ns\":{:.2},\"wall_ms\":{:.1}}}",
            per(making),
            per(stalled),
            per(wall),
            wall.as_secs_f64() * 1e3
        );
        drop(lane);
        stack.shutdown(PATIENCE).unwrap();
        if run.exists() {
            std::fs::remove_dir_all(&run).unwrap();
        }
    }
}
