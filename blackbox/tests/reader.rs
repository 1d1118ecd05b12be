//! What the reader makes of rings: typed events, filters, following, traces, the autopsy.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

use ng_blackbox::read::{Autopsy, Cause, Filter, Follower, Snapshot, Value};
use ng_blackbox::{Recorder, RecorderError, RecorderOptions};
use ng_core::events::{Event, EventKind, EventRecorder, Tier, TypedEvent};
use serde_json::Value as Json;

ng_core::event! {
    /// Two orders met.
    struct Matched = 0x0100, "matched", Operation {
        order: u32,
        lots: i16,
        rests: bool,
        price: f64,
    }

    /// A file was read.
    struct Read = 0x0101, "read", Sampled { duration_ns: u64, bytes: u32, }
}

fn options(dir: &tempfile::TempDir) -> RecorderOptions {
    RecorderOptions {
        operation_events: 128,
        sampled_events: 64,
        rare_events: 64,
        schemas: vec![Matched::SCHEMA, Read::SCHEMA],
        ..RecorderOptions::new(dir.path())
    }
}

/// Two threads' events, a millisecond apart from each other.
fn recorded(dir: &tempfile::TempDir) -> Recorder {
    let recorder = Recorder::create(options(dir)).unwrap();
    let mut lanes = [recorder.open_lane("book"), recorder.open_lane("files")];
    for n in 0..5 {
        lanes[0].record(Matched { order: n, lots: -3, rests: n % 2 == 0, price: 0.5 }.event());
        lanes[1].record(Read { duration_ns: 1_000, bytes: n }.event());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    lanes[1].record_with_note(Event::rare(EventKind::STORE_FULL, 1, 2), "full: \"x\"\n");
    std::mem::forget(lanes);
    recorder
}

#[test]
fn typed_events_come_back_by_the_names_and_types_of_the_header() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorded(&dir);
    let snapshot = Snapshot::open(recorder.path()).unwrap();
    let matched = snapshot.events.iter().find(|event| event.label == "matched").unwrap();
    let values: Vec<_> = matched.values(&snapshot.schema).collect();
    let expected = [
        ("order", Value::Unsigned(0)),
        ("lots", Value::Signed(-3)),
        ("rests", Value::Bool(true)),
        ("price", Value::Float(0.5)),
    ];
    assert_eq!(values, expected);
    let mut lines = Vec::new();
    snapshot.write_json_lines(&mut lines, usize::MAX).unwrap();
    let first: Json = serde_json::from_slice(lines.split(|&b| b == b'\n').next().unwrap()).unwrap();
    assert_eq!(first["values"]["price"], 0.5);
    assert_eq!(first["values"]["lots"], -3);

    let schemas = vec![Matched::SCHEMA, Matched::SCHEMA];
    let error = Recorder::create(RecorderOptions { schemas, ..options(&dir) }).unwrap_err();
    assert!(matches!(error, RecorderError::Schema { kind: 0x100, .. }), "{error}");
}

#[test]
fn a_filter_passes_what_it_names_and_counts_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorded(&dir);
    let left = |filter: Filter| {
        let mut snapshot = Snapshot::open(recorder.path()).unwrap();
        let taken = snapshot.retain(&filter);
        assert_eq!(taken + snapshot.events.len(), 11);
        snapshot.events.iter().map(|event| event.label.clone()).collect::<Vec<_>>()
    };
    assert_eq!(left(Filter::default()).len(), 11);
    assert_eq!(left(Filter { threads: vec!["book".to_owned()], ..Filter::default() }), ["matched"; 5]);
    assert_eq!(left(Filter { tiers: vec![Tier::Rare], ..Filter::default() }), ["store_full"]);
    let kinds = vec!["257".to_owned(), "store_full".to_owned()];
    assert_eq!(left(Filter { kinds, ..Filter::default() }).len(), 6);
    let snapshot = Snapshot::open(recorder.path()).unwrap();
    let third = snapshot.events.iter().filter(|event| event.label == "read").nth(2).unwrap();
    // Times are interpolated anew with each snapshot: half a millisecond of room on either side.
    let at = third.unix_ns.unwrap();
    let near = |from, to| {
        left(Filter { from_unix_ns: from, to_unix_ns: to, tiers: vec![Tier::Sampled], ..Filter::default() })
    };
    assert_eq!(near(Some(at - 500_000), None).len(), 3);
    assert_eq!(near(None, Some(at - 500_000)).len(), 2);
}

#[test]
fn a_follower_sees_each_event_once_and_counts_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(options(&dir)).unwrap();
    let mut lane = recorder.open_lane("maker");
    let mut follower = Follower::new(recorder.path());
    let mut record = |n: u64| lane.record(Event::operation(EventKind::USER, n, n));
    (0..10).for_each(&mut record);
    let (first, missed) = follower.poll().unwrap();
    assert_eq!((first.events.len(), missed), (10, 0));
    assert_eq!(follower.poll().unwrap().0.events.len(), 0);
    (10..20).for_each(&mut record);
    let (next, missed) = follower.poll().unwrap();
    assert_eq!(next.events.iter().map(|event| event.a).collect::<Vec<_>>(), (10..20).collect::<Vec<_>>());
    assert_eq!(missed, 0);
    (20..1_020).for_each(&mut record);
    let (late, missed) = follower.poll().unwrap();
    assert_eq!(late.events.len() as u64 + missed, 1_000);
    assert!(missed >= 1_000 - 128);
    let mut other = recorder.open_lane("later");
    other.record(Event::operation(EventKind::USER, 7, 7));
    assert_eq!(follower.poll().unwrap().0.events.len(), 1, "a ring that is new");
}

#[test]
fn a_chrome_trace_has_a_slice_for_what_took_time() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorded(&dir);
    let snapshot = Snapshot::open(recorder.path()).unwrap();
    let mut out = Vec::new();
    snapshot.write_chrome(&mut out).unwrap();
    let trace: Json = serde_json::from_slice(&out).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).collect::<Vec<_>>();
    // The matches share a reading of the clock, and the rare one has no duration.
    assert_eq!([of("B").len(), of("E").len(), of("i").len(), of("M").len()], [5, 5, 6, 1 + 3]);
    let took = of("E")[0]["ts"].as_f64().unwrap() - of("B")[0]["ts"].as_f64().unwrap();
    assert!((took - 1.0).abs() < 1e-6, "{took} microseconds");
    assert_eq!(of("B")[0]["args"]["bytes"], 0);
    assert_eq!(of("i")[5]["args"]["note"], "full: \"x\"\n");
    assert_eq!(trace["otherData"]["rings"].as_array().unwrap().len(), 3);
}

/// A protobuf message taken apart: field, and number or bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Result<u64, &[u8]>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Ok(varint(&mut bytes)),
            1 => {
                let (value, rest) = bytes.split_first_chunk().unwrap();
                bytes = rest;
                Ok(u64::from_le_bytes(*value))
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Err(value)
            }
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, value));
    }
    found
}

#[test]
fn a_perfetto_trace_has_balanced_slices_in_order_of_time() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorded(&dir);
    let mut out = Vec::new();
    Snapshot::open(recorder.path()).unwrap().write_perfetto(&mut out).unwrap();
    let (mut last, mut open, mut counts) = (0, std::collections::HashMap::<u64, i64>::new(), [0; 4]);
    for (field, packet) in fields(&out) {
        assert_eq!(field, 1);
        let packet = fields(packet.unwrap_err());
        let get = |message: &[(u64, Result<u64, &[u8]>)], field| {
            message.iter().find(|(number, _)| *number == field).map(|(_, value)| value.unwrap_or(0))
        };
        let Some((_, Err(event))) = packet.iter().find(|(field, _)| *field == 11) else { continue };
        let at = get(&packet, 8).unwrap();
        assert!(at >= last, "in order of time");
        last = at;
        let event = fields(event);
        let (kind, track) = (get(&event, 9).unwrap(), get(&event, 11).unwrap());
        counts[kind as usize] += 1;
        let depth = open.entry(track).or_default();
        *depth += [0, 1, -1, 0][kind as usize];
        assert!(*depth >= 0, "an end without a beginning");
    }
    assert_eq!(counts, [0, 5, 5, 6]);
    assert!(open.values().all(|depth| *depth == 0));
}

#[test]
fn an_autopsy_says_how_it_ended_how_far_the_log_was_and_what_each_thread_did_last() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorded(&dir);
    let mut log = recorder.open_lane("log");
    for lsn in [100, 250] {
        log.record(Event { tier: Tier::Sampled, ..Event::operation(EventKind::WAL_WRITTEN, lsn, 3) });
    }
    let autopsy = Autopsy::of(&Snapshot::open(recorder.path()).unwrap());
    assert_eq!((&autopsy.cause, autopsy.durable_lsn), (&Cause::Running, Some(250)));
    let last: Vec<_> = autopsy.last.iter().map(|done| (done.thread.as_str(), done.what.as_str())).collect();
    assert_eq!(last[0], ("log", "wal_written durable_lsn=250 ticket=3"));
    assert!(last.contains(&("book", "matched order=4 lots=-3 rests=true price=0.5")), "{last:?}");
    let text = autopsy.to_string();
    assert!(text.contains("durable below record 250") && text.contains("book did matched"), "{text}");
    assert_eq!(recorder.stats().recorded, [5, 7, 1]);
}
