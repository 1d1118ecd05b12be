//! A snapshot as a trace that viewers nobody here wrote can open: Chrome's JSON and Perfetto's
//! protobuf.
//!
//! Each tier of each ring is a track. An event that says how long it took (`duration_ns`) is a slice
//! that ends when it was recorded. One of the operation tier is a slice since the event before it:
//! the operation took at most that long. Everything else is an instant. Events without a time are
//! left out and counted.

use std::io::{self, Write};

use ng_core::events::Tier;
use serde_json::{Map, Value as Json, json};

use super::{RecordedEvent, Snapshot, Value};

/// What a mark on a track is; the values of Perfetto's `TrackEvent.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Begin = 1,
    End = 2,
    Instant = 3,
}

impl Snapshot {
    /// Beginnings, ends and instants in order of time. Where one slice ends when another begins the
    /// end comes first, and no slice ends when it begins.
    fn marks(&self) -> Vec<(u64, Mark, &RecordedEvent)> {
        let mut before: Vec<Option<u64>> = vec![None; self.rings.len()];
        let mut marks = Vec::new();
        for event in &self.events {
            let Some(at) = event.unix_ns else { continue };
            let began = match event.number(&self.schema, "duration_ns") {
                Some(duration) => Some(at.saturating_sub(duration)),
                None if event.tier == Tier::Operation => before[event.ring].replace(at),
                None => None,
            };
            // A slice of no length is an instant; events that share a reading of the clock have none.
            match began.filter(|began| *began < at) {
                Some(began) => marks.extend([(began, Mark::Begin, event), (at, Mark::End, event)]),
                None => marks.push((at, Mark::Instant, event)),
            }
        }
        marks.sort_by_key(|(at, mark, event)| (*at, *mark == Mark::Begin, event.sequence));
        marks
    }

    /// How many events have no time, and so no place in a trace.
    #[must_use]
    pub fn untimed(&self) -> usize {
        self.events.iter().filter(|event| event.unix_ns.is_none()).count()
    }

    fn pid(&self) -> u64 {
        self.process.as_ref().map_or(0, |process| process.pid)
    }

    fn track_name(&self, ring: usize, tier: Tier) -> String {
        format!("{} ({})", self.rings[ring].thread, tier.label())
    }

    /// Tracks that have events, in the order of the rings.
    fn tracks(&self) -> Vec<(usize, Tier)> {
        let mut tracks: Vec<_> = self.events.iter().map(|event| (event.ring, event.tier)).collect();
        tracks.sort_unstable();
        tracks.dedup();
        tracks
    }

    /// Chrome's trace events as one JSON object ("Trace Event Format"), in microseconds since the
    /// first of them: a float of microseconds since 1970 would be a quarter of one off. What the
    /// rings cover, what of them is overwritten, torn or damaged, and when the zero was, is in
    /// `otherData`.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_chrome(&self, out: &mut impl Write) -> io::Result<()> {
        let (pid, mut first, marks) = (self.pid(), true, self.marks());
        let zero = marks.first().map_or(0, |(at, ..)| *at);
        let mut write = |out: &mut dyn Write, event: Json| {
            out.write_all(if std::mem::take(&mut first) { b"\n" } else { b",\n" })?;
            serde_json::to_writer(out, &event).map_err(io::Error::from)
        };
        let other = json!({
            "zero_unix_ns": zero, "process": self.process, "rings": self.rings, "unreadable": self.unreadable,
        });
        write!(out, "{{\"displayTimeUnit\":\"ns\",\"otherData\":{other},\"traceEvents\":[")?;
        write(out, json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": "ng"}}))?;
        for (ring, tier) in self.tracks() {
            let name = self.track_name(ring, tier);
            let tid = track(ring, tier);
            let args = json!({ "name": name });
            write(out, json!({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": args}))?;
        }
        for (at, mark, event) in marks {
            let tid = track(event.ring, event.tier);
            let mut entry = json!({"name": event.label, "pid": pid, "tid": tid, "ts": micros(at - zero)});
            entry["ph"] = match mark {
                Mark::Begin => "B".into(),
                Mark::End => "E".into(),
                Mark::Instant => "i".into(),
            };
            if mark == Mark::Instant {
                entry["s"] = "t".into();
            }
            entry["cat"] = event.tier.label().into();
            let values = event.values(&self.schema);
            let mut args: Map<String, Json> = values
                .map(|(name, value)| (name.to_owned(), serde_json::to_value(value).unwrap_or_default()))
                .collect();
            args.insert("sequence".to_owned(), event.sequence.into());
            if !event.note.is_empty() {
                args.insert("note".to_owned(), event.note.clone().into());
            }
            // An end too: speedscope tells slices apart by them.
            entry["args"] = args.into();
            write(out, entry)?;
        }
        out.write_all(b"\n]}\n")
    }

    /// Perfetto's `Trace` message: a descriptor for the process and for each track, then an event a
    /// packet, in order of time. Timestamps are nanoseconds since 1970.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_perfetto(&self, out: &mut impl Write) -> io::Result<()> {
        let process = Message::new().number(1, self.pid()).bytes(6, b"ng");
        let descriptor = Message::new().number(1, PROCESS).message(3, &process);
        packet(out, Message::new().message(60, &descriptor))?;
        for (ring, tier) in self.tracks() {
            let descriptor = Message::new()
                .number(1, uuid(ring, tier))
                .bytes(2, self.track_name(ring, tier).as_bytes())
                .number(5, PROCESS);
            packet(out, Message::new().message(60, &descriptor))?;
        }
        for (at, mark, event) in self.marks() {
            let mut track_event =
                Message::new().number(9, mark as u64).number(11, uuid(event.ring, event.tier));
            if mark != Mark::End {
                track_event =
                    track_event.bytes(22, event.tier.label().as_bytes()).bytes(23, event.label.as_bytes());
                for (name, value) in event.values(&self.schema) {
                    track_event = track_event.message(4, &annotation(name, value));
                }
                if !event.note.is_empty() {
                    let note = Message::new().bytes(10, b"note").bytes(6, event.note.as_bytes());
                    track_event = track_event.message(4, &note);
                }
            }
            packet(out, Message::new().number(8, at).message(11, &track_event))?;
        }
        Ok(())
    }
}

/// A track's number in Chrome's trace.
fn track(ring: usize, tier: Tier) -> u64 {
    ring as u64 * 3 + tier as u64 + 1
}

#[expect(clippy::cast_precision_loss, reason = "exact for 104 days")]
fn micros(ns: u64) -> Json {
    (ns as f64 / 1e3).into()
}

/// The process's track.
const PROCESS: u64 = 1;

fn uuid(ring: usize, tier: Tier) -> u64 {
    PROCESS + track(ring, tier)
}

/// A packet of the one sequence that this trace has.
fn packet(out: &mut impl Write, packet: Message) -> io::Result<()> {
    // Trace.packet = 1; TracePacket.trusted_packet_sequence_id = 10.
    out.write_all(&Message::new().message(1, &packet.number(10, 1)).0)
}

/// `DebugAnnotation`: name 10, bool 2, uint 3, int 4, double 5.
fn annotation(name: &str, value: Value) -> Message {
    let message = Message::new().bytes(10, name.as_bytes());
    match value {
        Value::Bool(value) => message.number(2, value.into()),
        Value::Unsigned(value) => message.number(3, value),
        Value::Signed(value) => message.number(4, value.cast_unsigned()),
        Value::Float(value) => message.double(5, value),
    }
}

/// A protobuf message, encoded field by field (protobuf.dev, "Encoding"). Field numbers are those of
/// Perfetto's `protos/perfetto/trace/`: `trace_packet.proto` (timestamp 8, sequence 10, track_event
/// 11, track_descriptor 60), `track_descriptor.proto` (uuid 1, name 2, process 3, parent 5),
/// `process_descriptor.proto` (pid 1, name 6), `track_event.proto` (annotations 4, type 9, track 11,
/// categories 22, name 23).
struct Message(Vec<u8>);

impl Message {
    const fn new() -> Self {
        Self(Vec::new())
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
}
