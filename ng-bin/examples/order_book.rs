//! An engine that makes no tokens: an order book that logs its commands, limits its resting orders,
//! and has each match in the flight recorder.
//!
//! It takes three layers from a configured stack, through one lane, and leaves the others off. What
//! is logged is the command; the book is what the commands make, so that a restart replays them.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use ng_core::admission::AdmissionLane as _;
use ng_core::events::{EventLane as _, TypedEvent as _};
use ng_core::wal::{RecordKind, Ticket, WalLane as _};
use ng_stack::config::Loader;
use ng_stack::{Stack, StackLane};
use ng_wal::recover::Reader;

const PLACE: RecordKind = RecordKind::USER;
const CANCEL: RecordKind = RecordKind(RecordKind::USER.0 + 1);

ng_core::event! {
    /// Two orders met.
    struct Matched = 0x0100, "matched", Operation {
        /// The order that rested.
        resting: u32,
        /// How many lots changed hands.
        lots: u32,
        /// At what price, in ticks.
        price: i32,
    }
}

/// A wish to buy (positive lots) or to sell (negative).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    id: u32,
    price: i32,
    lots: i32,
}

impl Order {
    fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.id.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.price.to_le_bytes());
        bytes[8..].copy_from_slice(&self.lots.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok();
        let (id, price, lots) = (word(0)?, word(4)?, word(8)?);
        Some(Self {
            id: u32::from_le_bytes(id),
            price: i32::from_le_bytes(price),
            lots: i32::from_le_bytes(lots),
        })
    }
}

/// Resting orders by price, those of a price in the order of their coming. Pure: the same commands
/// make the same book.
#[derive(Debug, Default, PartialEq)]
struct Book {
    bids: BTreeMap<i32, VecDeque<Order>>,
    asks: BTreeMap<i32, VecDeque<Order>>,
}

impl Book {
    /// Matches an order and lets the rest of it rest; tells each match. Returns how many orders rest
    /// more than before.
    fn place(&mut self, mut order: Order, mut matched: impl FnMut(Matched)) -> i64 {
        let buys = order.lots > 0;
        let mut change = 0;
        while order.lots != 0 {
            let side = if buys { &mut self.asks } else { &mut self.bids };
            let Some(mut level) = (if buys { side.first_entry() } else { side.last_entry() }) else { break };
            let price = *level.key();
            if (buys && price > order.price) || (!buys && price < order.price) {
                break;
            }
            let queue = level.get_mut();
            if let Some(resting) = queue.front_mut() {
                let lots = resting.lots.unsigned_abs().min(order.lots.unsigned_abs());
                let signed = i32::try_from(lots).unwrap_or(i32::MAX) * order.lots.signum();
                order.lots -= signed;
                resting.lots += signed;
                matched(Matched { resting: resting.id, lots, price });
                if resting.lots == 0 {
                    queue.pop_front();
                    change -= 1;
                }
            }
            if level.get().is_empty() {
                level.remove();
            }
        }
        if order.lots != 0 {
            let side = if buys { &mut self.bids } else { &mut self.asks };
            side.entry(order.price).or_default().push_back(order);
            change += 1;
        }
        change
    }

    /// Whether there was such an order.
    fn cancel(&mut self, id: u32) -> bool {
        for side in [&mut self.bids, &mut self.asks] {
            for queue in side.values_mut() {
                if let Some(at) = queue.iter().position(|order| order.id == id) {
                    queue.remove(at);
                    side.retain(|_, queue| !queue.is_empty());
                    return true;
                }
            }
        }
        false
    }

    fn resting(&self) -> usize {
        self.bids.values().chain(self.asks.values()).map(VecDeque::len).sum()
    }

    /// The book that a log's commands make.
    fn replay(dir: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let mut book = Self::default();
        if !dir.exists() {
            return Ok(book);
        }
        Reader::open(dir)?.for_each_run(|run| {
            for record in run.records() {
                match (record.kind, Order::from_bytes(record.payload)) {
                    (PLACE, Some(order)) => drop(book.place(order, |_| ())),
                    (CANCEL, Some(order)) => drop(book.cancel(order.id)),
                    // Another engine's records may stand in the same log.
                    _ => {}
                }
            }
        })?;
        Ok(book)
    }
}

/// The book with its layers: one thread's.
struct Matcher {
    book: Book,
    lane: StackLane,
}

impl Matcher {
    /// Places an order once the quota has let it in and the log has its command.
    fn place(&mut self, order: Order) -> Result<Ticket, Box<dyn std::error::Error>> {
        let layers = self.lane.layers();
        layers.admission.admit(1)?;
        let ticket = match layers.wal.append(PLACE, &order.to_bytes()) {
            Ok(ticket) => ticket,
            Err(error) => {
                layers.admission.release(1);
                return Err(error.into());
            }
        };
        let change = self.book.place(order, |matched| layers.events.record(matched.event()));
        // Room was taken for one order; those that were filled give theirs back.
        layers.admission.release((1 - change).unsigned_abs());
        Ok(ticket)
    }

    fn cancel(&mut self, id: u32) -> Result<Ticket, Box<dyn std::error::Error>> {
        let layers = self.lane.layers();
        let ticket = layers.wal.append(CANCEL, &Order { id, price: 0, lots: 0 }.to_bytes())?;
        if self.book.cancel(id) {
            layers.admission.release(1);
        }
        Ok(ticket)
    }
}

/// Trades a little in `dir`, with so many resting orders at most; the book at the end.
fn trade(dir: &Path, most: u64) -> Result<Book, Box<dyn std::error::Error>> {
    let text = format!(
        "[wal]\ndir = {:?}\nsegment_mib = 2\nblock_kib = 64\n[guardian]\nmax_tokens = {most}\ncleanup = false\n\
         [blackbox]\ndir = {:?}\n[metrics]\nkind = \"off\"\n[tracing]\nkind = \"off\"",
        dir.join("wal"),
        dir.join("rings"),
    );
    let book = Book::replay(&dir.join("wal"))?;
    let loaded = Loader::new().text("order_book", text).load()?;
    let stack = Stack::builder().loaded(loaded).event_schemas([Matched::SCHEMA]).build()?;
    let mut matcher = Matcher { lane: stack.lane("matcher")?, book };
    let resting = matcher.book.resting() as u64;
    // What rests from before takes room, too.
    matcher.lane.layers().admission.admit(resting)?;

    matcher.place(Order { id: 1, price: 100, lots: 5 })?;
    matcher.place(Order { id: 2, price: 101, lots: 5 })?;
    // Sells 7 at 100 or better: all 5 of order 2, then 2 of order 1.
    matcher.place(Order { id: 3, price: 100, lots: -7 })?;
    matcher.place(Order { id: 4, price: 102, lots: -1 })?;
    let last = matcher.cancel(4)?;
    stack.wal().wait_durable(last, Duration::from_secs(10))?;
    let Matcher { book, lane } = matcher;
    drop(lane);
    stack.shutdown(Duration::from_secs(10))?;
    Ok(book)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("ng-order-book-{}", std::process::id()));
    let book = trade(&dir, 8)?;
    let replayed = Book::replay(&dir.join("wal"))?;
    std::fs::remove_dir_all(&dir)?;
    assert_eq!(replayed, book);
    assert_eq!(book.bids[&100][0], Order { id: 1, price: 100, lots: 3 });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_is_what_its_log_says_after_each_of_three_starts() {
        let dir = tempfile::tempdir().unwrap();
        for round in 1..=3 {
            let book = trade(dir.path(), 8).unwrap();
            assert_eq!(Book::replay(&dir.path().join("wal")).unwrap(), book);
            let lots: i32 = book.bids.values().flatten().map(|order| order.lots).sum();
            assert_eq!((lots, book.asks.len()), (3 * round, 0), "each round buys 10 and sells 7");
        }
    }

    #[test]
    fn an_order_without_room_is_refused_and_is_not_in_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let error = trade(dir.path(), 2).unwrap_err();
        assert!(error.to_string().contains("tokens quota"), "{error}");
        assert_eq!(Book::replay(&dir.path().join("wal")).unwrap().resting(), 2);
    }

    #[test]
    fn the_better_price_and_then_the_earlier_order_is_served_first() {
        let mut book = Book::default();
        let mut met = Vec::new();
        for (id, price) in [(1, 10), (2, 9), (3, 9)] {
            book.place(Order { id, price, lots: -1 }, |_| ());
        }
        book.place(Order { id: 4, price: 10, lots: 4 }, |matched| met.push(matched.resting));
        assert_eq!(met, [2, 3, 1]);
        assert_eq!(book.bids[&10][0].lots, 1);
    }
}
