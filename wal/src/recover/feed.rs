//! The blocks of the history as they come from the disk: big reads, checksums, in memory that is
//! used again.
//!
//! Where there is much to read, a thread of its own reads and checks ahead, a few pieces at most,
//! while the caller works on what came before. It is one thread by measurement: more moved nothing
//! ([ADR 7](../../../docs/adr/0007-one-thread-reads-ahead.md)). Whether a block belongs where it lies is for the
//! [verifier](super::verifier) to say.

use super::survey::Survey;
use crate::error::IoError;
use crate::format::block::{self, BlockHeader};
use crate::format::{ALIGNMENT, BlockFault};
use crate::storage::{File, read_full};
use crate::sync::lock;
use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// As much is read at once, in bytes; more only if a block is larger.
const READ_BYTES: usize = 1 << 20;
/// Less than this isn't worth a thread, in bytes.
pub(crate) const WORTH_A_THREAD: u64 = 4 << 20;
/// So many pieces may wait for the caller.
const AHEAD: usize = 2;

/// Memory that is used again.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

/// A stretch of a segment, in memory.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut pool = lock(&self.pool.0);
        if pool.len() <= AHEAD {
            pool.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// A block whose checksum is right.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) header: BlockHeader,
    range: Range<usize>,
    piece: Arc<Piece>,
}

impl Checked {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.piece.bytes.get(self.range.clone()).unwrap_or_default()
    }
}

/// What lies at the next place of the history.
pub(crate) type Step = Result<Checked, BlockFault>;
/// The blocks of one piece, the fault behind them included.
type Batch = Result<VecDeque<Step>, IoError>;

/// What the loader needs to know of a segment.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    file: Arc<dyn File>,
    block_bytes: usize,
    /// Where its blocks are to be read from, and how many; none if the history ends in it.
    offset: u64,
    blocks: Option<u32>,
}

/// Reads segments piece by piece, in order, until a fault.
#[derive(Debug)]
struct Loader {
    sources: VecDeque<Source>,
    pool: Arc<Pool>,
}

impl Loader {
    /// The next piece; `None` after the last.
    fn load(&mut self) -> Option<Batch> {
        loop {
            let source = self.sources.front_mut()?;
            if source.blocks == Some(0) {
                self.sources.pop_front();
                continue;
            }
            let batch = source.load(&self.pool);
            if !matches!(&batch, Ok(steps) if steps.iter().all(Result::is_ok)) {
                self.sources.clear();
            }
            return Some(batch);
        }
    }
}

impl Source {
    fn left(&self) -> u64 {
        self.file.length().unwrap_or_default().saturating_sub(self.offset)
    }

    fn load(&mut self, pool: &Arc<Pool>) -> Batch {
        let mut steps = VecDeque::new();
        let mut wanted = READ_BYTES.max(self.block_bytes);
        // A second turn only if a full block and its padding are larger than what was read.
        while steps.is_empty() {
            let piece = self.read(pool, wanted)?;
            let mut from = 0;
            let fault = loop {
                if self.blocks == Some(0) {
                    break None;
                }
                let rest = piece.bytes.get(from..).unwrap_or_default();
                if rest.is_empty() {
                    // The end of the file, unless this is only the end of the piece.
                    break (from == 0 || piece.bytes.len() < wanted).then_some(BlockFault::Empty);
                }
                let (header, length) = match block::length_on_disk(rest, self.block_bytes) {
                    Ok(found) => found,
                    // Whether all is zero shows in a whole sector only.
                    Err(_) if rest.len() < ALIGNMENT && piece.bytes.len() == wanted => break None,
                    Err(fault) => break Some(fault),
                };
                let Some(bytes) = rest.get(..length) else {
                    let cut = piece.bytes.len() < wanted;
                    wanted = wanted.max(length);
                    break cut.then_some(BlockFault::Truncated);
                };
                if let Err(fault) = block::check_whole(bytes) {
                    break Some(fault);
                }
                steps.push_back(Ok(Checked {
                    header,
                    range: from..from + length,
                    piece: Arc::clone(&piece),
                }));
                from += length;
                self.offset += length as u64;
                self.blocks = self.blocks.map(|blocks| blocks - 1);
            };
            if let Some(fault) = fault {
                steps.push_back(Err(fault));
            }
        }
        Ok(steps)
    }

    fn read(&self, pool: &Arc<Pool>, wanted: usize) -> Result<Arc<Piece>, IoError> {
        let mut bytes = lock(&pool.0).pop().unwrap_or_default();
        // Not cleared: what is there is overwritten.
        bytes.resize(wanted, 0);
        let read = read_full(&*self.file, &mut bytes, self.offset).map_err(IoError::at(
            "read",
            &self.path,
            self.offset,
        ))?;
        bytes.truncate(read);
        Ok(Arc::new(Piece { bytes, pool: Arc::clone(pool) }))
    }
}

#[derive(Debug)]
enum Way {
    Here(Loader),
    Ahead { batches: Option<Receiver<Batch>>, thread: Option<JoinHandle<()>> },
}

/// The blocks of a history, one after the other.
#[derive(Debug)]
pub(crate) struct Feed {
    way: Way,
    ready: VecDeque<Step>,
}

impl Feed {
    /// Blocks from `offset` of segment `at` on, of which `index` lie before; read ahead by a thread if
    /// there are `worth` bytes of them.
    pub(crate) fn new(survey: &Survey, at: usize, offset: u64, index: u32, worth: u64) -> Self {
        let pool = Arc::new(Pool::default());
        let loader = || Loader { sources: sources(survey, at, offset, index), pool: Arc::clone(&pool) };
        let bytes: u64 = loader().sources.iter().map(Source::left).sum();
        let way = if bytes < worth {
            Way::Here(loader())
        } else {
            let (sender, batches) = sync_channel(AHEAD);
            let ahead = loader();
            let thread = std::thread::Builder::new()
                .name("ng-wal-read".to_owned())
                .spawn(move || send_all(ahead, &sender));
            match thread {
                Ok(thread) => Way::Ahead { batches: Some(batches), thread: Some(thread) },
                // Without a thread it takes longer, and that is all.
                Err(_) => Way::Here(loader()),
            }
        };
        Self { way, ready: VecDeque::new() }
    }

    /// What lies at the next place; [`BlockFault::Empty`] behind the last.
    pub(crate) fn next(&mut self) -> Result<Step, IoError> {
        if self.ready.is_empty() {
            let batch = match &mut self.way {
                Way::Here(loader) => loader.load(),
                Way::Ahead { batches, .. } => batches.as_ref().and_then(|batches| batches.recv().ok()),
            };
            self.ready = batch.transpose()?.unwrap_or_default();
        }
        Ok(self.ready.pop_front().unwrap_or(Err(BlockFault::Empty)))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Way::Ahead { batches, thread } = &mut self.way {
            // Its next send fails, and it ends.
            drop(batches.take());
            if let Some(thread) = thread.take() {
                // A panic there was reported by its own hook; there is nothing to add.
                let _ = thread.join();
            }
        }
    }
}

fn send_all(mut loader: Loader, sender: &SyncSender<Batch>) {
    while let Some(batch) = loader.load() {
        if sender.send(batch).is_err() {
            return;
        }
    }
}

fn sources(survey: &Survey, at: usize, offset: u64, index: u32) -> VecDeque<Source> {
    let mut sources: VecDeque<Source> = (at..survey.chain.len())
        .filter_map(|i| {
            let link = survey.chain.get(i)?;
            Some(Source {
                path: link.path.clone(),
                file: Arc::clone(&link.file),
                block_bytes: link.block_bytes(),
                offset: ALIGNMENT as u64,
                blocks: survey.chain.get(i + 1).map(|next| next.header.previous_blocks.get()),
            })
        })
        .collect();
    if let Some(first) = sources.front_mut() {
        first.offset = offset;
        first.blocks = first.blocks.map(|blocks| blocks.saturating_sub(index));
    }
    sources
}
