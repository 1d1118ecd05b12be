//! The work: token number `i` is always the same token, so that whoever recovers it can tell.

use std::sync::atomic::{AtomicU64, Ordering};

use ng_core::TokenSpec;
use ng_core::lane::BatchReport;
use ng_core::token::{Coords, Token, flags};

use super::StressError;
use crate::stack::StackLane;

/// The time that all tokens of the work were made at, in seconds since 1970.
const MADE_AT: u32 = 1_700_000_000;

/// Tokens that all runs of this process have made so far.
static MADE: AtomicU64 = AtomicU64::new(0);

/// How many tokens all runs of this process have made so far, for whoever shows a rate. It moves once
/// a batch.
#[must_use]
pub fn made() -> u64 {
    MADE.load(Ordering::Relaxed)
}

/// The spec of token number `i`.
#[inline]
pub(super) fn spec(i: u64) -> TokenSpec {
    let step = (i % 30_000) as i16;
    let mut coords: Coords = [[0; 3]; 8];
    coords[0] = [step, -step, 7];
    coords[7] = [1, 2, step];
    #[expect(clippy::cast_precision_loss, reason = "below 2^24")]
    let weight = (i % 10_000) as f32 * 0.0001;
    let mut token = Token::default();
    token.weight = weight;
    token.timestamp = MADE_AT;
    token.flags = flags::ACTIVE;
    token.radius_raw = 100;
    token.strength_raw = 255;
    token.coords = coords;
    TokenSpec::of_any(token)
}

/// Makes tokens `from..to` in batches; all of them, or it says how many.
pub(super) fn make(lane: &mut StackLane, from: u64, to: u64, batch: usize) -> Result<(), StressError> {
    make_with(&mut Vec::with_capacity(batch), lane, from, to, batch)
}

/// [`make`], with memory for the batch that the caller has.
pub(super) fn make_with(
    specs: &mut Vec<TokenSpec>,
    lane: &mut StackLane,
    from: u64,
    to: u64,
    batch: usize,
) -> Result<(), StressError> {
    let mut report = BatchReport::default();
    let mut next = from;
    while next < to {
        let end = to.min(next + batch as u64);
        specs.clear();
        specs.extend((next..end).map(spec));
        lane.create_batch(specs, &mut report);
        if report.made() as u64 != end - next {
            let why = report.refused().first().map_or_else(String::new, |refused| refused.why.to_string());
            return Err(StressError::Wrong(format!(
                "{} of {} tokens made: {why}",
                report.made(),
                end - next
            )));
        }
        MADE.fetch_add(end - next, Ordering::Relaxed);
        next = end;
    }
    Ok(())
}

/// Memory for the makers' batches, taken and touched once. It is the work's, not the stack's: made
/// anew in each run it would stand in the way of measuring what the stack needs, since the allocator
/// keeps what a thread gave back.
#[derive(Debug)]
pub(super) struct Batches(Vec<Vec<TokenSpec>>);

impl Batches {
    /// For `threads` makers with batches of `batch`.
    pub(super) fn new(threads: usize, batch: usize) -> Self {
        let touched = || {
            let mut specs = vec![TokenSpec::new(); batch];
            specs.clear();
            specs
        };
        Self(std::iter::repeat_with(touched).take(threads).collect())
    }

    /// One for each maker.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Vec<TokenSpec>> {
        self.0.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_is_sound_and_leaves_the_id_to_the_lane() {
        for i in [0, 1, 9_999, 9_499_999] {
            let spec = spec(i);
            assert_eq!(spec.id(), None);
            let token = spec.at(77, 5);
            assert_eq!((token.validate(), token.timestamp), (Ok(()), MADE_AT));
        }
    }
}
