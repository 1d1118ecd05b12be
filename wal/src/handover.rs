//! The hand-over between a lane and the writer: who may touch an open block, and when.
//!
//! A lane owns one block and one word, `offset | busy`. To append it sets busy, passes the light
//! side of the asymmetric fence and reads the epoch; only if that is still its block's does it
//! copy, and the store of the new offset clears busy. The writer moves the epoch on, passes the
//! heavy side, waits until the word is not busy, and then owns every block of the closed epoch:
//! a lane that comes later sees the new epoch and keeps its hands off.
//!
//! Nothing here waits while busy: a lane that needs a buffer clears busy first, since the writer
//! waits for it.

use crate::sync::handover::{AtomicU64, Mutex, Ordering, lock, wait_a_turn};
use ng_core::fence;

const BUSY: u64 = 1 << 63;

/// The number of the running epoch. Only grows.
#[derive(Debug)]
pub(crate) struct Epochs {
    current: AtomicU64,
}

impl Epochs {
    pub(crate) fn starting_at(first: u64) -> Self {
        // The choice between the fences is made before the first lane can race.
        let _ = fence::strategy();
        Self { current: AtomicU64::new(first) }
    }

    #[inline(always)]
    pub(crate) fn current(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    /// Ends the running epoch and returns its number. Afterwards a lane either sees the new one
    /// or was busy when this began, and [`Handover::take_closed`] waits for it.
    pub(crate) fn close(&self) -> u64 {
        let closed = self.current.fetch_add(1, Ordering::SeqCst);
        fence::heavy();
        closed
    }
}

/// A block in a lane's hands.
#[derive(Debug)]
pub(crate) struct Open<B> {
    /// The epoch to which all its records belong.
    pub(crate) epoch: u64,
    /// The memory.
    pub(crate) block: B,
}

/// The word and the slot that a lane and the writer share.
#[derive(Debug)]
pub(crate) struct Handover<B> {
    word: AtomicU64,
    slot: Mutex<Option<Open<B>>>,
}

impl<B> Handover<B> {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(0), slot: Mutex::new(None) }
    }

    /// The lane declares itself busy. If the answer is true, the block of epoch `mine` is the
    /// lane's until [`Self::leave`]; if not, it must leave at once.
    #[inline(always)]
    pub(crate) fn enter(&self, offset: usize, epochs: &Epochs, mine: u64) -> bool {
        self.word.store(offset as u64 | BUSY, Ordering::Relaxed);
        fence::light();
        epochs.current() == mine
    }

    /// The lane is through, and the block holds `offset` bytes.
    #[inline(always)]
    pub(crate) fn leave(&self, offset: usize) {
        self.word.store(offset as u64, Ordering::Release);
    }

    /// The lane's slow way: changes what is in the slot, while the writer can't. `change` must
    /// not wait for the writer.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Option<Open<B>>) -> R) -> R {
        change(&mut lock(&self.slot))
    }

    /// The writer takes the block if it belongs to epoch `closed` or an older one, with the number
    /// of bytes in it. A block with no more than `empty` bytes stays where it is: the lane can't
    /// use it before it has come the slow way.
    ///
    /// Call only after [`Epochs::close`] returned `closed`.
    pub(crate) fn take_closed(&self, closed: u64, empty: usize) -> Option<(Open<B>, usize)> {
        let mut turn = 0;
        while self.word.load(Ordering::Acquire) & BUSY != 0 {
            wait_a_turn(turn);
            turn = turn.saturating_add(1);
        }
        let mut slot = lock(&self.slot);
        // The lane may be busy again, but with a look at the epoch only: the offset stands.
        let offset = (self.word.load(Ordering::Acquire) & !BUSY) as usize;
        if offset <= empty {
            return None;
        }
        slot.take_if(|open| open.epoch <= closed).map(|open| (open, offset))
    }
}

#[cfg(all(test, loom))]
#[allow(clippy::unwrap_used, reason = "a test reports by panicking")]
mod loom_tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    type Block = Arc<UnsafeCell<Vec<u32>>>;

    struct Model {
        epochs: Epochs,
        handover: Handover<Block>,
        queue: Mutex<Vec<(u64, Block)>>,
    }

    struct Lane {
        model: Arc<Model>,
        block: Block,
        epoch: u64,
        offset: usize,
    }

    impl Lane {
        fn append(&mut self, value: u32) -> u64 {
            loop {
                if self.model.handover.enter(self.offset, &self.model.epochs, self.epoch) {
                    // loom checks that nobody else touches the block meanwhile.
                    #[expect(unsafe_code, reason = "loom's cell hands out a pointer")]
                    // SAFETY: the hand-over under test says that the block is the lane's.
                    self.block.with_mut(|block| unsafe { (*block).push(value) });
                    self.offset += 1;
                    self.model.handover.leave(self.offset);
                    return self.epoch;
                }
                self.model.handover.leave(self.offset);
                let model = Arc::clone(&self.model);
                model.handover.change(|slot| {
                    if let Some(old) = slot.take() {
                        lock(&model.queue).push((old.epoch, old.block));
                    }
                    self.block = Arc::new(UnsafeCell::new(Vec::new()));
                    self.epoch = model.epochs.current();
                    self.offset = 0;
                    model.handover.leave(0);
                    *slot = Some(Open { epoch: self.epoch, block: Arc::clone(&self.block) });
                });
            }
        }
    }

    fn close(model: &Model, into: &mut Vec<(u64, u32)>) {
        let closed = model.epochs.close();
        let open = model.handover.take_closed(closed, 0);
        let queued = std::mem::take(&mut *lock(&model.queue));
        let mut keep = Vec::new();
        let taken = open.map(|(open, offset)| {
            open.block.with(|block| {
                #[expect(unsafe_code, reason = "loom's cell hands out a pointer")]
                // SAFETY: the hand-over under test says that the block is the writer's.
                let length = unsafe { (*block).len() };
                assert_eq!(length, offset);
            });
            (open.epoch, open.block)
        });
        for (epoch, block) in queued.into_iter().chain(taken) {
            if epoch > closed {
                keep.push((epoch, block));
                continue;
            }
            block.with(|block| {
                #[expect(unsafe_code, reason = "loom's cell hands out a pointer")]
                // SAFETY: as above.
                let values = unsafe { &*block };
                into.extend(values.iter().map(|value| (epoch, *value)));
            });
        }
        lock(&model.queue).extend(keep);
    }

    #[test]
    fn loom_every_record_is_taken_once_and_in_its_epoch() {
        // Three preemptions find each known mistake (no fence, no busy bit) in seconds.
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let model = Arc::new(Model {
                epochs: Epochs::starting_at(1),
                handover: Handover::new(),
                queue: Mutex::new(Vec::new()),
            });
            let lane = {
                let model = Arc::clone(&model);
                loom::thread::spawn(move || {
                    let block = Arc::new(UnsafeCell::new(Vec::new()));
                    let mut lane = Lane { model, block, epoch: 0, offset: 0 };
                    (0..2).map(|value| (lane.append(value), value)).collect::<Vec<_>>()
                })
            };
            let mut taken = Vec::new();
            close(&model, &mut taken);
            let appended = lane.join().unwrap();
            close(&model, &mut taken);
            close(&model, &mut taken);
            assert_eq!(taken, appended, "lost, doubled, reordered or in another epoch");
        });
    }
}
