//! How long a cleanup of a million tokens takes, and what a lane makes before, meanwhile and after: the
//! whole stack on a real log, one lane in batches. Where Linux tells, it also says what the lane's thread
//! did meanwhile: ran, waited for a processor, or slept, mostly for a block of the log.
//!
//! `cargo run --release -p ng-stack --example cleanup_bench [ROUNDS]`
//!
//! The third line of a round is no cleanup: a thread that does nothing but spin, as long and with the same
//! rests, while the lane makes tokens in unused memory. What the lane loses there is the processor's.
#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

use ng_core::TokenSpec;
use ng_core::events::{Event, EventKind, EventLane, EventRecorder, NoRecorder, RecorderStats};
use ng_core::lane::BatchReport;
use ng_stack::Stack;
use ng_stack::config::StackConfig;
use std::io::{Read, Seek, SeekFrom};
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

/// What a thread did so far, in nanoseconds: ran, and waited for a processor.
#[derive(Clone, Copy, Default)]
struct Did {
    ran: u64,
    queued: u64,
}

impl Did {
    fn read(from: &mut Option<std::fs::File>) -> Self {
        let mut text = [0; 64];
        let read = from.as_mut().and_then(|file| {
            file.seek(SeekFrom::Start(0)).ok()?;
            file.read(&mut text).ok()
        });
        let text = std::str::from_utf8(&text[..read.unwrap_or(0)]).unwrap_or_default();
        let mut words = text.split_whitespace().map(|word| word.parse().unwrap_or(0));
        Self { ran: words.next().unwrap_or(0), queued: words.next().unwrap_or(0) }
    }
}

/// A lane's batch.
#[derive(Clone, Copy)]
struct Stamp {
    at: Instant,
    made: u64,
    /// Of the first batch after a turn.
    first: u32,
    did: Did,
}

/// Who takes part of the machine from the lane.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Cleanup,
    /// Half a millisecond of spinning, half a millisecond of rest.
    Spinner,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
    for round in 0..rounds {
        // With memory that no token ever used there is room beside the holes that a cleanup leaves;
        // without, a lane fills those holes.
        for (populated, beside, room) in [
            (LIMIT, Beside::Cleanup, "in unused memory"),
            (MARK, Beside::Cleanup, "in the cleanup's holes"),
            (LIMIT, Beside::Spinner, "in unused memory beside a thread that spins"),
        ] {
            print!("{round}: {room}: ");
            run(populated, beside)?;
        }
    }
    Ok(())
}

/// Spins as a cleanup works and rests, and says when, as a cleanup would.
fn spin(times: &Times) {
    times.record_rare(Event::rare(EventKind::CLEANUP_BEGUN, 0, 0), "");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(160) {
        let piece = Instant::now();
        while piece.elapsed() < Duration::from_micros(500) {
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    times.record_rare(Event::rare(EventKind::CLEANUP_ENDED, 0, 0), "");
}

fn run(populated: u64, beside: Beside) -> Result<(), Box<dyn std::error::Error>> {
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
    config.guardian.cleanup = beside == Beside::Cleanup;
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
    let mut stamps: Vec<Stamp> = Vec::with_capacity(20_000);
    let mut schedstat = std::fs::File::open("/proc/thread-self/schedstat").ok();
    let mut spinner = None;
    let ended = loop {
        let Some(batch) = batches.next() else { return Ok(()) };
        lane.create_batch(batch, &mut report);
        made += report.made() as u64;
        let first = report.runs().first().map_or(0, |run| run.first_slot);
        stamps.push(Stamp { at: Instant::now(), made, first, did: Did::read(&mut schedstat) });
        if beside == Beside::Spinner && made >= MARK && spinner.is_none() {
            let times = Arc::clone(&times);
            spinner = Some(std::thread::spawn(move || spin(&times)));
        }
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
    let within = |from: Instant, to: Instant| {
        let within = stamps.iter().filter(|stamp| stamp.at >= from && stamp.at <= to);
        within.copied().collect::<Vec<_>>()
    };
    #[expect(clippy::cast_precision_loss, reason = "a few million")]
    let rate = |from: Instant, to: Instant| {
        let within = within(from, to);
        let (Some(first), Some(last)) = (within.first(), within.last()) else { return 0.0 };
        (last.made - first.made) as f64 / last.at.duration_since(first.at).as_secs_f64() / 1e6
    };
    // What the thread did, in per cent of the time; and which part of its batches went into holes.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let doing = |from: Instant, to: Instant| {
        let within = within(from, to);
        let (Some(first), Some(last)) = (within.first(), within.last()) else { return String::new() };
        let time = last.at.duration_since(first.at).as_nanos() as f64 / 100.0;
        let (ran, queued) = (last.did.ran - first.did.ran, last.did.queued - first.did.queued);
        let (ran, queued) = (ran as f64 / time, queued as f64 / time);
        let holes = within.iter().filter(|stamp| u64::from(stamp.first) < MARK).count();
        let holes = holes as f64 / within.len() as f64 * 100.0;
        format!(
            "ran {ran:.0} %, queued {queued:.0}, slept {:.0}; {holes:.0} % in holes",
            100.0 - ran - queued
        )
    };
    let took = ended.duration_since(begun);
    let before = rate(begun.checked_sub(took).unwrap_or(begun), begun);
    let during = rate(begun, ended);
    let ago = begun.checked_sub(took).unwrap_or(begun);
    println!(
        "freed {freed} in {:.0} ms; the lane made {before:.1} M/s before, {during:.1} meanwhile ({:.0} %), {:.1} after",
        took.as_secs_f64() * 1e3,
        during / before * 100.0,
        rate(ended, ended + WINDOW),
    );
    println!("   before: {}", doing(ago, begun));
    println!("   meanwhile: {}", doing(begun, ended));
    println!("   after: {}", doing(ended, ended + WINDOW));
    if let Some(spinner) = spinner {
        drop(spinner.join());
    }
    drop(lane);
    stack.shutdown(Duration::from_secs(60))?;
    Ok(())
}
