//! Memory as the operating system sees it: before, with all tokens, and after everything was
//! dropped, three times over.

use std::sync::Arc;

use ng_core::TokenStore;

use super::bench::{On, on_store, once, per};
use super::proc::resident_bytes;
use super::work::Batches;
use super::{Options, StressError};

/// What was found.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Memory {
    /// Resident memory that the tokens took, by token.
    pub bytes_per_token: f64,
    /// What a token costs more where its page is touched for the first time, in nanoseconds.
    pub first_touch_ns: f64,
    /// Resident before anything was made.
    pub rss_baseline_bytes: u64,
    /// Resident with all tokens made and every layer on.
    pub rss_peak_bytes: u64,
    /// What of the peak is neither baseline nor tokens.
    pub stack_overhead_bytes: u64,
    /// Resident after everything was dropped, over what it was after the first round; 0 if less.
    pub leaked_bytes: u64,
}

pub(super) fn measure(options: &Options, batches: &mut Batches) -> Result<Memory, StressError> {
    let rss_baseline_bytes = resident_bytes()?;
    let everything = On::only(&options.layers);
    let (mut peak, mut bare, mut after) = (0, 0, Vec::new());
    for _ in 0..3 {
        let store = Arc::new(TokenStore::new());
        let before = resident_bytes()?;
        on_store(options, batches, On::NONE, 1, &store)?;
        bare = resident_bytes()?.saturating_sub(before);
        drop(store);
        let store = Arc::new(TokenStore::new());
        peak = peak.max(peak_of(options, batches, everything, &store)?);
        drop(store);
        after.push(resident_bytes()?);
    }
    let cold = {
        let store = Arc::new(TokenStore::new());
        on_store(options, batches, On::NONE, 1, &store)?
    };
    let warm = once(options, batches, On::NONE, 1)?;
    #[expect(clippy::cast_precision_loss, reason = "bytes of a run")]
    let bytes_per_token = bare as f64 / options.tokens as f64;
    let tokens = options.tokens * 64;
    Ok(Memory {
        bytes_per_token,
        first_touch_ns: per(cold.wall, options.tokens) - per(warm.wall, options.tokens),
        rss_baseline_bytes,
        rss_peak_bytes: peak,
        stack_overhead_bytes: peak.saturating_sub(rss_baseline_bytes + tokens),
        leaked_bytes: after.last().unwrap_or(&0).saturating_sub(*after.first().unwrap_or(&0)),
    })
}

/// The highest resident memory while a run is under way, looked at every few milliseconds.
fn peak_of(
    options: &Options,
    batches: &mut Batches,
    on: On,
    store: &Arc<TokenStore>,
) -> Result<u64, StressError> {
    use std::sync::atomic::{AtomicBool, Ordering};
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = resident_bytes()?.max(peak);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            Ok::<_, StressError>(resident_bytes()?.max(peak))
        });
        let run = on_store(options, batches, on, 1, store);
        done.store(true, Ordering::Relaxed);
        let peak =
            watcher.join().unwrap_or_else(|_| Err(StressError::Wrong("the watcher panicked".to_owned())));
        run.and(peak)
    })
}
