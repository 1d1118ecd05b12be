//! What one run of one system took, and how it is timed. Every record is durable at its end.

use std::fs;
use std::time::{Duration, Instant};

/// Bytes of a record.
pub(crate) const RECORD: usize = 64;
/// Records that are made durable together by those systems that sync when they are told.
pub(crate) const GROUP: usize = 16_384;

/// One run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// On the caller, per record, without waiting for the disk.
    pub(crate) append_ns: f64,
    /// The caller's waiting for the disk, per record.
    pub(crate) stall_ns: f64,
    /// Until all is durable.
    pub(crate) wall_ms: f64,
    /// What the process had written to the device, by the kernel's count.
    pub(crate) device_bytes: u64,
    /// From the append of some records until they were known to be durable, in µs.
    pub(crate) lags: Vec<f64>,
}

/// The records that all systems write, over and over.
pub(crate) fn records() -> Vec<[u8; RECORD]> {
    (0..64_u8).map(|i| std::array::from_fn(|byte| i.wrapping_mul(31) ^ byte as u8 | 1)).collect()
}

/// Bytes that this process has sent towards storage (`write_bytes` of proc(5)); 0 if unknown.
pub(crate) fn device_bytes() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// A system that is told when to sync.
pub(crate) trait Grouped {
    /// Takes one record.
    fn append(&mut self, number: u64, record: &[u8; RECORD]) -> Result<(), String>;
    /// Makes all of them durable.
    fn sync(&mut self) -> Result<(), String>;
}

/// Times a system that is told when to sync.
#[allow(clippy::cast_precision_loss, reason = "times and counts of a run")]
pub(crate) fn grouped(count: u64, mut system: impl Grouped) -> Result<Sample, String> {
    let records = records();
    let mut sample = Sample::default();
    let (mut appending, mut syncing) = (Duration::ZERO, Duration::ZERO);
    let before = device_bytes();
    let began = Instant::now();
    let mut number = 0;
    while number < count {
        let start = Instant::now();
        for _ in 0..(GROUP as u64).min(count - number) {
            system.append(number, &records[number as usize % records.len()])?;
            number += 1;
        }
        let full = Instant::now();
        system.sync()?;
        let done = Instant::now();
        appending += full - start;
        syncing += done - full;
        // The first, the middle and the last of the group.
        let micros = |since: Duration| since.as_secs_f64() * 1e6;
        sample.lags.extend([
            micros(done - start),
            micros(done - full) + micros(full - start) / 2.0,
            micros(done - full),
        ]);
    }
    sample.wall_ms = began.elapsed().as_secs_f64() * 1e3;
    sample.append_ns = appending.as_nanos() as f64 / count as f64;
    sample.stall_ns = syncing.as_nanos() as f64 / count as f64;
    sample.device_bytes = device_bytes() - before;
    Ok(sample)
}
