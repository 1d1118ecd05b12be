//! One ring file: copied, checked, taken apart. A damaged part costs that part only.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ng_core::events::{FieldType, Tier};

use super::crash;
use super::tier::{self, RawEvent};
use super::{FieldSchema, KindSchema, Mark, Process, Ring, RingState, TierSummary};
use crate::format::{self, Fixed, TierPlace, live};
use crate::process::Identity;
use crate::seal;

/// Longer than any file that a recorder makes.
const MOST_BYTES: u64 = 1 << 30;

/// What one file says.
pub(super) struct RingRead {
    pub(super) ring: Ring,
    pub(super) process: Process,
    pub(super) boot: u64,
    pub(super) schema: Vec<KindSchema>,
    /// Ticks and nanoseconds since 1970.
    pub(super) pairs: Vec<(u64, u64)>,
    /// One entry for each of [`Ring::tiers`].
    pub(super) events: Vec<Vec<RawEvent>>,
}

/// Reads a file; an error means that nothing of it can be told.
pub(super) fn read(path: &Path, name: &str) -> io::Result<RingRead> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > MOST_BYTES {
        return Err(io::Error::other(format!("{bytes} bytes are more than a ring file can have")));
    }
    let mut damage = Vec::new();
    let (fixed, schema) = header(&file, bytes, &mut damage)?;
    let before = live_page(&file)?;
    let mut tiers = Vec::new();
    for tier in Tier::ALL {
        match tier_bytes(&file, tier, fixed.tiers[tier as usize]) {
            Ok(Some(copied)) => tiers.push((tier, copied)),
            Ok(None) => {}
            Err(error) => damage.push(format!("{} tier: {error}", tier.label())),
        }
    }
    // Read after the copy: what may have been overwritten during it shows.
    let after = live_page(&file)?;
    let (mut summaries, mut events) = (Vec::new(), Vec::new());
    for (tier, copied) in tiers {
        let [before, after] = [&before, &after].map(|page| page[live::HEADS[tier as usize]]);
        let read = tier::decode(tier, &copied, before, after);
        damage.extend(read.damage.map(|what| format!("{} tier: {what}", tier.label())));
        summaries.push(TierSummary { shown: read.events.len() as u64, ..read.summary });
        events.push(read.events);
    }
    let state = state(after[live::STATE], &mut damage);
    let identity = Identity {
        pid: u32::try_from(fixed.pid.get()).unwrap_or(0),
        start: fixed.process_start.get(),
        boot: fixed.boot.get(),
    };
    Ok(RingRead {
        process: Process {
            pid: fixed.pid.get(),
            alive: identity.lives(),
            closed_in_order: state == RingState::Closed,
            exited: state == RingState::Exited,
            build: format::unpadded(&fixed.build),
            config_hash: fixed.config_hash.get(),
            created_unix_ns: fixed.created_unix_ns.get(),
            panics: after[live::PANICS],
            recovered_panics: after[live::RECOVERED],
        },
        ring: Ring {
            file: name.to_owned(),
            number: fixed.ring.get(),
            thread: format::unpadded(&fixed.thread),
            tid: fixed.tid.get(),
            state,
            tiers: summaries,
            marks: marks(&after, &mut damage),
            marks_left: after[live::MARKS_TOTAL],
            crashes: crash::marks(&after, &mut damage),
            crashes_left: after[live::CRASHES_TOTAL],
            damage,
        },
        boot: identity.boot,
        schema: schema.lines().filter_map(kind).collect(),
        pairs: pairs(&after),
        events,
    })
}

/// The header, or its copy at the file's end.
fn header(file: &File, bytes: u64, damage: &mut Vec<String>) -> io::Result<(Fixed, String)> {
    let decode = |at: u64| {
        let mut header = vec![0; format::FIXED_BYTES];
        file.read_exact_at(&mut header, at).map_err(|error| error.to_string())?;
        Fixed::decode(&header)
    };
    let last = bytes.saturating_sub(format::FIXED_BYTES as u64);
    let header = decode(0).or_else(|why| {
        let copy = decode(last).map_err(|copy| {
            io::Error::other(format!("no header can be read: {why}; its copy at byte {last}: {copy}"))
        })?;
        damage.push(format!("header at byte 0: {why}; its copy at byte {last} is used"));
        Ok::<_, io::Error>(copy)
    })?;
    let should = header.0.file_bytes.get();
    if should != bytes {
        damage.push(format!("the file has {bytes} bytes instead of {should}"));
    } else if let Err(why) = decode(last) {
        damage.push(format!("copy of the header at byte {last}: {why}"));
    }
    Ok(header)
}

fn live_page(file: &File) -> io::Result<Vec<u64>> {
    let mut page = [0; format::LIVE_BYTES];
    file.read_exact_at(&mut page, format::FIXED_BYTES as u64)?;
    Ok(words(&page))
}

/// A tier's anchors and slots as words; `None` if the file has no such tier.
fn tier_bytes(file: &File, tier: Tier, place: TierPlace) -> io::Result<Option<(Vec<u64>, Vec<u64>)>> {
    let capacity = place.capacity.get();
    if capacity == 0 {
        return Ok(None);
    }
    // The header's checksum holds, so this is what a writer wrote; it is checked because what is
    // read from a file is never trusted with an allocation.
    if !capacity.is_power_of_two() || capacity > MOST_BYTES / 32 {
        return Err(io::Error::other(format!("{capacity} slots are not a power of two")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 2^25")]
    let capacity = capacity as usize;
    let read = |at: u64, count: usize| {
        let mut bytes = vec![0; count * 8];
        file.read_exact_at(&mut bytes, at)?;
        Ok::<_, io::Error>(words(&bytes))
    };
    let anchors = read(place.anchors_at.get(), format::anchors(tier, capacity) * format::ANCHOR_WORDS)?;
    let slots = read(place.slots_at.get(), capacity * format::slot_words(tier))?;
    Ok(Some((anchors, slots)))
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

fn state(word: u64, damage: &mut Vec<String>) -> RingState {
    match word {
        0 => RingState::Open,
        live::ENDED => RingState::Ended,
        live::CLOSED => RingState::Closed,
        live::EXITED => RingState::Exited,
        _ => {
            damage.push(format!("state {word} is none that a writer sets"));
            RingState::Damaged
        }
    }
}

fn marks(page: &[u64], damage: &mut Vec<String>) -> Vec<Mark> {
    let mut marks = Vec::new();
    let slots = page[live::MARKS..].as_chunks::<{ live::MARK_WORDS }>().0;
    for slot in slots.iter().take(live::MARK_SLOTS as usize).filter(|slot| **slot != [0; 8]) {
        let [content @ .., sealed] = *slot;
        let number = seal::words(sealed, content).wrapping_sub(1);
        // A mark that is being left is not counted yet.
        if number > page[live::MARKS_TOTAL] {
            damage.push("a panic mark's seal does not hold".to_owned());
            continue;
        }
        let [what, ticks, tid, a, b, ..] = content;
        marks.push(Mark { number, what, unix_ns: None, tid, a, b, ticks });
    }
    marks.sort_by_key(|mark| mark.number);
    marks
}

fn pairs(page: &[u64]) -> Vec<(u64, u64)> {
    let pairs = page[live::PAIRS..].as_chunks::<{ live::PAIR_WORDS }>().0;
    pairs
        .iter()
        .take(live::PAIRS_TOTAL)
        .filter(|[ticks, unix_ns, sealed, _]| seal::words(*sealed, [*ticks, *unix_ns]) == 1)
        .map(|[ticks, unix_ns, ..]| (*ticks, *unix_ns))
        .collect()
}

fn kind(line: &str) -> Option<KindSchema> {
    let mut parts = line.split('\t');
    let (kind, label) = (parts.next()?.parse().ok()?, parts.next()?.to_owned());
    let field = |part: &str| {
        let mut parts = part.split(':');
        let name = parts.next()?.to_owned();
        let ty = FieldType::from_label(parts.next()?)?;
        let at: u8 = parts.next()?.parse().ok()?;
        // One that straddles the two numbers is none that a writer lays down.
        (at < 16 && at.is_multiple_of(ty.bytes())).then_some(FieldSchema { name, ty, at })
    };
    Some(KindSchema { kind, label, fields: parts.map(field).collect::<Option<_>>()? })
}
