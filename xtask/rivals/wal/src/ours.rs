//! Our log through each of its back ends. It syncs by itself; a second thread waits for some of the
//! records, as a caller would who needs to know.

use crate::sample::{RECORD, Sample, device_bytes, records};
use ng_core::wal::{RecordKind, Ticket, WalLane, WalSink};
use ng_wal::{BackendKind, Log, LogOptions};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
/// Each so many records, one is waited for.
const WATCHED: u64 = 4_096;

/// Writes `count` records.
#[allow(clippy::cast_precision_loss, reason = "times and counts of a run")]
pub(crate) fn run(dir: &Path, backend: BackendKind, prewritten: bool, count: u64) -> Result<Sample, String> {
    let failed = |error: &dyn std::error::Error| error.to_string();
    let mut options = LogOptions { backend, ..LogOptions::new(dir) };
    if prewritten {
        let bytes = count * RECORD as u64 + count * RECORD as u64 / 8;
        options.spare_segments = (bytes / options.segment_bytes + 2).min(64) as usize;
    }
    let log = Log::open(options).map_err(|error| failed(&error))?;
    if prewritten {
        log.wait_spares(PATIENCE);
    }
    let mut lane = log.open_lane().map_err(|error| failed(&error))?;
    let records = records();
    let (sender, watched) = channel::<(Instant, Ticket)>();
    std::thread::scope(|scope| {
        let log = &log;
        let watcher = scope.spawn(move || {
            let mut lags = Vec::new();
            for (since, ticket) in watched {
                log.wait_durable(ticket, PATIENCE).map_err(|error| error.to_string())?;
                lags.push(since.elapsed().as_secs_f64() * 1e6);
            }
            Ok::<_, String>(lags)
        });
        let before = device_bytes();
        let began = Instant::now();
        for number in 0..count {
            let ticket = lane
                .append(RecordKind::USER, &records[number as usize % records.len()])
                .map_err(|error| failed(&error))?;
            if number % WATCHED == 0 {
                // A watcher that ended says why below.
                sender.send((Instant::now(), ticket)).ok();
            }
        }
        let appended = began.elapsed();
        log.flush(PATIENCE).map_err(|error| failed(&error))?;
        let wall = began.elapsed();
        drop(sender);
        let device = device_bytes() - before;
        let stats = log.stats();
        let stalled = Duration::from_nanos(stats.stalled_ns);
        let waiting = stalled + (wall - appended);
        let lags = watcher.join().map_err(|_| "the watcher panicked".to_owned())??;
        Ok(Sample {
            append_ns: appended.saturating_sub(stalled).as_nanos() as f64 / count as f64,
            stall_ns: waiting.as_nanos() as f64 / count as f64,
            wall_ms: wall.as_secs_f64() * 1e3,
            // The kernel counts some direct writes for its own threads.
            device_bytes: device.max(stats.written_bytes),
            lags,
        })
    })
}
