//! How long a cleanup of a million tokens takes, and what a lane makes before, meanwhile and after: the
//! whole stack on a real log, one lane in batches.
//!
//! `cargo run --release -p ng-stack --example cleanup_bench`
#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

use ng_core::TokenSpec;
use ng_core::events::{Event, EventKind, EventLane, EventRecorder, NoRecorder, RecorderStats};
use ng_core::lane::BatchReport;
use ng_stack::Stack;
use ng_stack::config::StackConfig;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LIMIT: u64 = 15_500_000;
const MARK: u64 = 6_000_000;
const TARGET: u64 = 5_000_000;
const BATCH: usize = 1_000;
/// So long after the cleanup the lane is measured too; in 20 ms it fills half of the holes.
const WINDOW: Duration = Duration::from_millis(20);

/// When a cleanup began and ended, and what it freed.
#[derive(Default)]
struct Times(Mutex<Span>);

/// When it began; when it ended and what it freed.
type Span = (Option<Instant>, Option<(Instant, u64)>);

impl EventRecorder for Times {
    fn lane(&self, name: &str) -> Box<dyn EventLane> {
        NoRecorder.lane(name)
    }

    fn record_rare(&self, event: Event, _note: &str) {
        if let Ok(mut times) = self.0.lock() {
            match event.kind {
                EventKind::CLEANUP_BEGUN if times.0.is_none() => times.0 = Some(Instant::now()),
                EventKind::CLEANUP_ENDED if times.1.is_none() => times.1 = Some((Instant::now(), event.a)),
                _ => {}
            }
        }
    }

    fn stats(&self) -> RecorderStats {
        RecorderStats::default()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for round in 0..3 {
        // With memory that no token ever used there is room beside the holes that a cleanup leaves;
        // without, a lane fills those holes.
        for (populated, room) in [(LIMIT, "in unused memory"), (MARK, "in the cleanup's holes")] {
            print!("{round}: {room}: ");
            run(populated)?;
        }
    }
    Ok(())
}

fn run(populated: u64) -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let times = Arc::new(Times::default());
    let mut config = StackConfig::default();
    config.wal.dir = dir.path().join("wal");
    config.wal.spare_segments = 16;
    config.tracing.output = None;
    config.engine.populate_tokens = populated;
    config.guardian.max_tokens = LIMIT;
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = |n: u64| n as f64 / LIMIT as f64;
    config.guardian.cleanup_mark = share(MARK);
    config.guardian.cleanup_target = share(TARGET);
    config.guardian.soft_mark = share(TARGET);
    config.guardian.rearm = 0.01;
    let stack =
        Stack::builder().config(config).events(Arc::clone(&times) as Arc<dyn EventRecorder>).build()?;
    let _ = stack.wait_ready(Duration::from_secs(30));
    let mut lane = stack.lane("maker")?;
    let mut report = BatchReport::default();
    let mut state = 1_u64;
    // Random weights, made before the clock starts.
    let specs: Vec<_> = (0..1_000_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            #[expect(clippy::cast_precision_loss, reason = "24 bits")]
            let weight = (state >> 40) as f32;
            TokenSpec::new().with_weight(weight)
        })
        .collect();
    let mut batches = specs.chunks_exact(BATCH).cycle();
    let mut made = 0_u64;
    let mut stamps = Vec::with_capacity(20_000);
    let ended = loop {
        let Some(batch) = batches.next() else { return Ok(()) };
        lane.create_batch(batch, &mut report);
        made += report.made() as u64;
        stamps.push((Instant::now(), made));
        if let Ok(times) = times.0.lock()
            && let (Some(begun), Some((ended, freed))) = *times
            && ended.elapsed() > WINDOW
        {
            break Some((begun, ended, freed));
        }
        if made + 10_000 > LIMIT {
            break None;
        }
    };
    let Some((begun, ended, freed)) = ended else {
        println!("the limit was reached before the cleanup ended");
        return Ok(());
    };
    let rate = |from: Instant, to: Instant| {
        let within: Vec<_> = stamps.iter().filter(|stamp| stamp.0 >= from && stamp.0 <= to).collect();
        let (Some(first), Some(last)) = (within.first(), within.last()) else { return 0.0 };
        #[expect(clippy::cast_precision_loss, reason = "a few million")]
        let made = (last.1 - first.1) as f64;
        made / last.0.duration_since(first.0).as_secs_f64() / 1e6
    };
    let took = ended.duration_since(begun);
    let before = rate(begun.checked_sub(took).unwrap_or(begun), begun);
    let during = rate(begun, ended);
    println!(
        "freed {freed} in {:.0} ms; the lane made {before:.1} M/s before, {during:.1} meanwhile ({:.0} %), {:.1} after",
        took.as_secs_f64() * 1e3,
        during / before * 100.0,
        rate(ended, ended + WINDOW),
    );
    drop(lane);
    stack.shutdown(Duration::from_secs(60))?;
    Ok(())
}
