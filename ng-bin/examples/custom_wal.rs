//! A log of one's own: records go to a channel, and are durable when the other end has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use ng_core::TokenSpec;
use ng_core::wal::{AppendError, RecordKind, Ticket, WaitError, WalLane, WalSink, WalStats};
use ng_stack::{Stack, config::Loader};

type Record = (RecordKind, Vec<u8>);

/// The shared side: counts what the channel took.
struct ChannelLog {
    sender: SyncSender<Record>,
    taken: Arc<AtomicU64>,
}

/// One thread's side.
struct ChannelLane {
    sender: SyncSender<Record>,
    taken: Arc<AtomicU64>,
}

impl WalLane for ChannelLane {
    fn append(&mut self, kind: RecordKind, payload: &[u8]) -> Result<Ticket, AppendError> {
        // `try_send` never makes the lane wait; a full channel is the caller's to hear of.
        self.sender
            .try_send((kind, payload.to_vec()))
            .map_err(|error| AppendError::Other(error.to_string()))?;
        Ok(Ticket(self.taken.fetch_add(1, Ordering::Relaxed) + 1))
    }
}

impl WalSink for ChannelLog {
    fn lane(&self) -> Result<Box<dyn WalLane>, AppendError> {
        Ok(Box::new(ChannelLane { sender: self.sender.clone(), taken: Arc::clone(&self.taken) }))
    }

    fn durable(&self) -> Ticket {
        Ticket(self.taken.load(Ordering::Relaxed))
    }

    fn wait_durable(&self, _ticket: Ticket, _timeout: Duration) -> Result<(), WaitError> {
        Ok(())
    }

    fn flush(&self, _timeout: Duration) -> Result<Ticket, WaitError> {
        Ok(self.durable())
    }

    fn close(&self, _timeout: Duration) -> Result<(), WaitError> {
        Ok(())
    }

    fn stats(&self) -> WalStats {
        let records = self.taken.load(Ordering::Relaxed);
        WalStats { records, durable_records: records, ..WalStats::default() }
    }
}

/// Makes three tokens, and returns how many records the channel got.
fn run() -> Result<usize, Box<dyn std::error::Error>> {
    let (sender, receiver): (_, Receiver<Record>) = sync_channel(1_024);
    let log = Arc::new(ChannelLog { sender, taken: Arc::default() });
    let off = "[guardian]\nkind = \"off\"\n[metrics]\nkind = \"off\"\n[tracing]\nkind = \"off\"\n[blackbox]\nkind = \"off\"";
    let loaded = Loader::new().text("custom_wal", off).load()?;
    let stack = Stack::builder().loaded(loaded).wal(log).build()?;
    let mut lane = stack.lane("maker")?;
    for weight in [1.0, 2.0, 3.0] {
        lane.create(&TokenSpec::new().with_weight(weight))?;
    }
    let received = receiver.try_iter().count();
    assert_eq!(received as u64, stack.wal().stats().durable_records);
    Ok(received)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(run()?, 3);
    Ok(())
}

#[test]
fn the_channel_gets_each_record() {
    assert!(matches!(run(), Ok(3)));
}
