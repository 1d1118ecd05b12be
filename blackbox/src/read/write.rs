//! A snapshot as one JSON document, as JSON lines and as text.

use std::io::{self, Write};

use ng_core::events::{FieldType, Tier};
use serde::Serializer;
use serde::ser::SerializeMap;
use serde_json::{Map, Value, json};

use super::{Frame, RecordedEvent, Ring, Snapshot};

/// Raised by whatever breaks a reader of the document.
const FORMAT: &str = "ng-blackbox/1";

pub(super) fn tier<S: Serializer>(tier: &Tier, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(tier.label())
}

pub(super) fn field_type<S: Serializer>(ty: &FieldType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(ty.label())
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
        let values = event.values(&self.snapshot.schema);
        let values: Map<String, Value> = values
            .map(|(name, value)| (name.to_owned(), serde_json::to_value(value).unwrap_or_default()))
            .collect();
        map.serialize_entry("values", &values)?;
        if !event.note.is_empty() {
            map.serialize_entry("note", &event.note)?;
        }
        map.end()
    }
}

fn write_ring(out: &mut impl Write, ring: &Ring) -> io::Result<()> {
    let state = format!("{:?}", ring.state).to_lowercase();
    writeln!(out, "ring {} \"{}\" (thread {}, {state})", ring.number, ring.thread, ring.tid)?;
    for tier in ring.tiers.iter().filter(|tier| tier.recorded > 0 || tier.torn > 0) {
        write!(
            out,
            "  {:<9} recorded {}, overwritten {}, torn {}, shown {}",
            tier.tier.label(),
            tier.recorded,
            tier.overwritten,
            tier.torn,
            tier.shown
        )?;
        if tier.passed > 0 {
            write!(out, ", {} passed by the writer", tier.passed)?;
        }
        if let Some((from, to)) = tier.from_unix_ns.zip(tier.to_unix_ns) {
            #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
            write!(out, ", covers {:.6} s", to.saturating_sub(from) as f64 / 1e9)?;
        }
        writeln!(out)?;
    }
    for mark in &ring.marks {
        writeln!(out, "  panic {} on thread {} at line {}", mark.b, mark.tid, mark.a)?;
    }
    for crash in &ring.crashes {
        write!(
            out,
            "  {} on thread {}, code {}, address {:#x}",
            crash.name, crash.tid, crash.code, crash.address
        )?;
        writeln!(out, "{}", if crash.is_stack_overflow() { ": a stack overflow" } else { "" })?;
        crash.frames.iter().try_for_each(|frame| write_frame(out, frame))?;
    }
    let (marks, crashes) = (ring.marks.len() as u64, ring.crashes.len() as u64);
    let lost = ring.marks_left.saturating_sub(marks) + ring.crashes_left.saturating_sub(crashes);
    if lost > 0 {
        writeln!(out, "  {lost} more marks were overwritten")?;
    }
    ring.damage.iter().try_for_each(|what| writeln!(out, "  damaged: {what}"))
}

fn write_frame(out: &mut impl Write, frame: &Frame) -> io::Result<()> {
    write!(out, "    {:#x}", frame.address)?;
    if let Some(module) = &frame.module {
        write!(out, " {}+{:#x}", module.path.display(), module.offset)?;
    }
    writeln!(out)?;
    for symbol in &frame.symbols {
        let place = symbol.place.as_deref().unwrap_or("?");
        writeln!(out, "      {} at {place}", symbol.function)?;
    }
    Ok(())
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

    /// What the rings cover, and what of them is overwritten, torn or damaged, for people.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_coverage(&self, out: &mut impl Write) -> io::Result<()> {
        self.rings.iter().try_for_each(|ring| write_ring(out, ring))?;
        self.unreadable.iter().try_for_each(|file| writeln!(out, "unreadable: {file}"))
    }

    /// The process, its rings and the last `last` events, for people.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_text(&self, out: &mut impl Write, last: usize) -> io::Result<()> {
        if let Some(process) = &self.process {
            let state = super::Cause::of(self);
            writeln!(out, "process {} ({state}), {}", process.pid, process.build)?;
        }
        self.write_coverage(out)?;
        let end = self.events.last().and_then(|event| event.unix_ns);
        self.write_events(out, last, end)
    }

    /// The last `last` events, a line each, with their time in seconds after `zero` (before it:
    /// negative), in nanoseconds since 1970.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_events(&self, out: &mut impl Write, last: usize, zero: Option<u64>) -> io::Result<()> {
        for shown in self.last(last) {
            let event = shown.event;
            match event.unix_ns.zip(zero) {
                #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
                Some((at, zero)) => {
                    write!(out, "{:>14.6}s", (i128::from(at) - i128::from(zero)) as f64 / 1e9)?;
                }
                None => write!(out, "{:>15}", "?")?,
            }
            write!(out, "  {:<16} {:<9} {}", shown.thread(), event.tier.label(), event.label)?;
            for (name, value) in event.values(&self.schema) {
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
