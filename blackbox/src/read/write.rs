//! A snapshot as one JSON document, as JSON lines and as text.

use std::io::{self, Write};

use ng_core::events::Tier;
use serde::Serializer;
use serde::ser::SerializeMap;
use serde_json::{Map, Value, json};

use super::{RecordedEvent, Snapshot};

/// Raised by whatever breaks a reader of the document.
const FORMAT: &str = "ng-blackbox/1";

pub(super) fn tier<S: Serializer>(tier: &Tier, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(tier.label())
}

/// An event with what its ring and schema say of it.
struct Shown<'a> {
    snapshot: &'a Snapshot,
    event: &'a RecordedEvent,
}

impl Shown<'_> {
    fn thread(&self) -> &str {
        self.snapshot.rings.get(self.event.ring).map_or("", |ring| &ring.thread)
    }

    /// The two numbers under the names that the schema gives them; a name that says `unused` is
    /// left out.
    fn values(&self) -> Vec<(&str, u64)> {
        let kind = self.snapshot.schema.iter().find(|kind| kind.kind == self.event.kind);
        let (a, b) = kind.map_or(("a", "b"), |kind| (&kind.a, &kind.b));
        let values = [(a, self.event.a), (b, self.event.b)];
        values.into_iter().filter(|(name, _)| *name != "unused").collect()
    }
}

impl serde::Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("unix_ns", &event.unix_ns)?;
        map.serialize_entry("within_ns", &event.within_ns)?;
        map.serialize_entry("thread", self.thread())?;
        map.serialize_entry("ring", &event.ring)?;
        map.serialize_entry("tier", event.tier.label())?;
        map.serialize_entry("sequence", &event.sequence)?;
        map.serialize_entry("kind", &event.label)?;
        let values: Map<String, Value> =
            self.values().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        map.serialize_entry("values", &values)?;
        if !event.note.is_empty() {
            map.serialize_entry("note", &event.note)?;
        }
        map.end()
    }
}

impl Snapshot {
    fn last(&self, last: usize) -> impl Iterator<Item = Shown<'_>> {
        let first = self.events.len().saturating_sub(last);
        self.events[first..].iter().map(|event| Shown { snapshot: self, event })
    }

    /// One document: the process, its rings with what they cover and what is damaged, and the last
    /// `last` events in order of time.
    #[must_use]
    pub fn to_json(&self, last: usize) -> Value {
        // A snapshot holds nothing that JSON can't: no maps with other keys than strings.
        let mut document =
            serde_json::to_value(self).unwrap_or_else(|error| json!({"error": error.to_string()}));
        if let Value::Object(document) = &mut document {
            document.insert("format".to_owned(), FORMAT.into());
            let events = self.last(last).filter_map(|event| serde_json::to_value(event).ok()).collect();
            document.insert("events".to_owned(), Value::Array(events));
        }
        document
    }

    /// The last `last` events, one JSON object a line.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_json_lines(&self, out: &mut impl Write, last: usize) -> io::Result<()> {
        for event in self.last(last) {
            serde_json::to_writer(&mut *out, &event)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// The process, its rings and the last `last` events, for people.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_text(&self, out: &mut impl Write, last: usize) -> io::Result<()> {
        if let Some(process) = &self.process {
            let state = match (process.alive, process.closed_in_order) {
                (_, true) => "closed in order",
                (true, false) => "running",
                (false, false) => "died",
            };
            writeln!(out, "process {} ({state}), {}", process.pid, process.build)?;
        }
        for ring in &self.rings {
            writeln!(out, "ring {} \"{}\" (thread {})", ring.number, ring.thread, ring.tid)?;
            for tier in &ring.tiers {
                writeln!(
                    out,
                    "  {:<9} recorded {}, overwritten {}, torn {}, shown {}",
                    tier.tier.label(),
                    tier.recorded,
                    tier.overwritten,
                    tier.torn,
                    tier.shown
                )?;
            }
            for what in &ring.damage {
                writeln!(out, "  damaged: {what}")?;
            }
        }
        for file in &self.unreadable {
            writeln!(out, "unreadable: {file}")?;
        }
        let end = self.events.last().and_then(|event| event.unix_ns);
        for shown in self.last(last) {
            let event = shown.event;
            match event.unix_ns.zip(end) {
                #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
                Some((at, end)) => write!(out, "{:>14.6}s", -(end.saturating_sub(at) as f64 / 1e9))?,
                None => write!(out, "{:>15}", "?")?,
            }
            write!(out, "  {:<16} {:<9} {}", shown.thread(), event.tier.label(), event.label)?;
            for (name, value) in shown.values() {
                write!(out, " {name}={value}")?;
            }
            if !event.note.is_empty() {
                write!(out, " {:?}", event.note)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
