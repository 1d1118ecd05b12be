//! Rests between the pieces of a cleanup, so that lanes and the log's writer find a processor and
//! the memory free again and again. It rests while there is room: near the limit lanes wait for
//! what is freed, and not for a processor.

use std::time::{Duration, Instant};

/// What is in use and of how many tokens, or `None` where nobody counts.
pub(super) type Level = Box<dyn Fn() -> Option<(u64, u64)> + Send + Sync>;

/// The same, while a cleanup is under way: of the whole, or of the pool that is cleaned up.
pub(super) type LevelNow<'a> = &'a (dyn Fn() -> Option<(u64, u64)> + 'a);

/// Tokens that are looked at between two looks at the clock: some 50 µs.
const PIECE: u32 = 4096;

/// Work after which a rest of at most the same length comes: well below the kernel's slice of
/// 3 ms, for which the log's writer would otherwise have to wait.
const WORK: Duration = Duration::from_micros(500);

/// Rests last at most so long in all, for each token that shall go: 80 ms for a million.
const REST_OF_A_TOKEN: Duration = Duration::from_nanos(80);

/// Below a hundredth of the limit in free room, there is no rest.
const ROOM: u64 = 100;

pub(super) struct Pace<'a> {
    level: LevelNow<'a>,
    left: Duration,
    seen: u32,
    began: Instant,
}

impl<'a> Pace<'a> {
    /// For a cleanup of so many tokens.
    pub(super) fn new(level: LevelNow<'a>, tokens: u64) -> Self {
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        Self { level, left: REST_OF_A_TOKEN.saturating_mul(tokens), seen: 0, began: Instant::now() }
    }

    /// One more token was looked at.
    #[inline(always)]
    pub(super) fn step(&mut self) {
        self.seen += 1;
        if self.seen == PIECE {
            self.piece();
        }
    }

    #[cold]
    #[inline(never)]
    fn piece(&mut self) {
        self.seen = 0;
        let worked = self.began.elapsed();
        if worked < WORK {
            return;
        }
        if let Some(rest) = self.rest(worked) {
            let slept = Instant::now();
            std::thread::sleep(rest);
            self.left = self.left.saturating_sub(slept.elapsed());
        }
        self.began = Instant::now();
    }

    fn rest(&self, worked: Duration) -> Option<Duration> {
        let rest = worked.min(WORK).min(self.left);
        let has_room =
            || (self.level)().is_some_and(|(used, limit)| limit.saturating_sub(used) > limit / ROOM);
        (!rest.is_zero() && has_room()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(used: u64, limit: u64) -> Level {
        Box::new(move || Some((used, limit)))
    }

    #[test]
    fn it_rests_as_long_as_it_worked_while_there_is_room_and_never_longer_than_half_a_millisecond() {
        let level = at(90, 100);
        let pace = Pace::new(&level, 1_000_000);
        assert_eq!(pace.rest(Duration::from_micros(300)), Some(Duration::from_micros(300)));
        assert_eq!(pace.rest(Duration::from_secs(1)), Some(WORK), "its thread was not let run");
    }

    #[test]
    fn it_does_not_rest_near_the_limit_nor_where_nobody_counts() {
        for level in [at(99, 100), at(1_000, 100), Box::new(|| None) as Level] {
            assert_eq!(Pace::new(&level, 1_000_000).rest(WORK), None);
        }
    }

    #[test]
    fn its_rests_end_when_they_took_their_share() {
        let level = at(0, 100);
        let mut pace = Pace::new(&level, 1_000);
        assert_eq!(pace.rest(WORK), Some(Duration::from_micros(80)));
        pace.left = Duration::ZERO;
        assert_eq!(pace.rest(WORK), None);
    }
}
