//! What files there are, and which of them make up the log's history.
//!
//! Each segment names the one before it, so the history is followed backwards from the last
//! segment. Segments that nobody names were left behind by a torn tail.

use super::TornTail;
use super::salvage::MARKER;
use crate::error::{IoError, RecoverError};
use crate::format::block::Place;
use crate::format::segment::{Head, SegmentHeader, file_name, number_of};
use crate::format::{ALIGNMENT, BlockFault};
use crate::space::Held;
use crate::storage::{File, Storage, read_full};
use crate::writer::End;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A segment with a sound header.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    pub(crate) header: Box<SegmentHeader>,
}

impl Link {
    pub(crate) fn number(&self) -> u32 {
        self.header.number.get()
    }

    pub(crate) fn block_bytes(&self) -> usize {
        self.header.block_bytes.get() as usize
    }

    /// What the first block of this segment must be.
    pub(crate) fn first_place(&self) -> Place {
        Place {
            segment: self.number(),
            salt: self.header.salt.get(),
            index: 0,
            first_lsn: self.header.first_lsn.get(),
            previous_crc: self.header.crc.get(),
        }
    }

    /// The log's end if nothing of this segment counts.
    pub(crate) fn beginning(&self) -> End {
        End {
            log_id: self.header.log_id.get(),
            next_lsn: self.header.first_lsn.get(),
            epoch: self.header.first_epoch.get().saturating_sub(1),
            segment: self.number(),
            blocks: 0,
            crc: self.header.crc.get(),
        }
    }
}

/// A segment file whose header was never written, or not whole.
#[derive(Debug)]
pub(crate) struct Headless {
    pub(crate) number: u32,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    head: Head,
}

/// All segment files of a directory.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The history, oldest first.
    pub(crate) chain: Vec<Link>,
    /// Sound headers outside the history.
    pub(crate) abandoned: Vec<Link>,
    pub(crate) headless: Vec<Headless>,
    /// A segment without its header that a later one names as the one before it.
    pub(crate) lost: Option<PathBuf>,
}

impl Survey {
    pub(crate) fn of(dir: &Path, storage: &dyn Storage) -> Result<Self, RecoverError> {
        let names = storage.list(dir).map_err(IoError::at("list", dir, 0))?;
        if names.iter().any(|name| name == MARKER) {
            return Err(RecoverError::SalvageInterrupted { path: dir.join(MARKER) });
        }
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        let mut sound = BTreeMap::new();
        let mut headless = Vec::new();
        for number in numbers {
            let path = dir.join(file_name(number));
            let file = storage.open(&path).map_err(IoError::at("open", &path, 0))?;
            let mut bytes = [0; ALIGNMENT];
            let length = read_full(&*file, &mut bytes, 0).map_err(IoError::at("read", &path, 0))?;
            match SegmentHeader::read(&bytes[..length]) {
                Head::Segment(header) => {
                    sound.insert(number, Link { path, file, header });
                }
                Head::Foreign => return Err(RecoverError::Foreign { path }),
                Head::Version(found) => return Err(RecoverError::Version { path, found }),
                // A sector is written whole or not at all, so this is no torn write.
                Head::Damaged => return Err(RecoverError::DamagedHeader { path }),
                head @ (Head::Spare | Head::Short) => {
                    headless.push(Headless { number, path, file, head });
                }
            }
        }
        check_identity(&sound)?;
        let Followed { chain, mut abandoned, lost } = follow(dir, &mut sound, &headless)?;
        abandoned.extend(sound.into_values());
        Ok(Self { chain, abandoned, headless, lost })
    }

    /// Files that were prepared and never used, behind the last segment.
    pub(crate) fn spares(&self) -> Vec<u32> {
        let last = self.last_sound();
        let spare = |file: &&Headless| matches!(file.head, Head::Spare) && file.number > last;
        self.headless.iter().filter(spare).map(|file| file.number).collect()
    }

    /// The files of the history, oldest first, and those that are neither that nor spares, with
    /// their lengths.
    #[expect(clippy::type_complexity, reason = "two lists of one walk")]
    pub(crate) fn files(&self, spares: &[u32]) -> Result<(Vec<Held>, Vec<(u32, u64)>), IoError> {
        let length = |file: &dyn File, path: &Path| file.length().map_err(IoError::at("length", path, 0));
        let mut held = Vec::new();
        for link in &self.chain {
            let bytes = length(&*link.file, &link.path)?;
            held.push(Held { number: link.number(), first_lsn: link.header.first_lsn.get(), bytes });
        }
        let mut junk = Vec::new();
        for link in &self.abandoned {
            junk.push((link.number(), length(&*link.file, &link.path)?));
        }
        for file in self.headless.iter().filter(|file| !spares.contains(&file.number)) {
            junk.push((file.number, length(&*file.file, &file.path)?));
        }
        Ok((held, junk))
    }

    /// A number that no file has, above all others.
    pub(crate) fn next_number(&self) -> u32 {
        let headless = self.headless.iter().map(|file| file.number).max().unwrap_or(0);
        headless.max(self.last_sound()) + 1
    }

    fn last_sound(&self) -> u32 {
        self.chain.iter().chain(&self.abandoned).map(Link::number).max().unwrap_or(0)
    }

    /// The last segment before which everything is known to be durable.
    pub(crate) fn first_unproven(&self) -> usize {
        let durable = self.chain.iter().map(|link| link.header.durable_lsn.get()).max().unwrap_or(0);
        let proven = self.chain.iter().rposition(|link| link.header.first_lsn.get() <= durable);
        proven.unwrap_or(0)
    }

    /// The tail of a log of which nothing but a piece of its first header is left.
    pub(crate) fn cut_header(&self) -> Option<TornTail> {
        let cut = self.headless.iter().find(|file| matches!(file.head, Head::Short))?;
        let torn = self.chain.is_empty().then(|| TornTail {
            path: cut.path.clone(),
            offset: 0,
            fault: BlockFault::Truncated,
            dropped_blocks: 0,
            dropped_records: 0,
        });
        torn.filter(|_| cut.file.length().is_ok_and(|length| length > 0))
    }

    /// Whether files without a header, alone in their directory, hold acknowledged records.
    pub(crate) fn check_lone_files(&self) -> Result<(), RecoverError> {
        let found = super::evidence::without_history(self)?;
        match (&self.lost, self.headless.first()) {
            (Some(path), _) if found.durable_lsn > 0 => {
                Err(RecoverError::DamagedHeader { path: path.clone() })
            }
            (None, Some(file)) if found.durable_lsn > 0 => Err(RecoverError::Damaged {
                path: file.path.clone(),
                offset: 0,
                fault: BlockFault::Empty,
                recovered_to: 0,
                durable_to: found.durable_lsn,
            }),
            _ => Ok(()),
        }
    }

    /// The log that these files belong to, if any of them says so.
    pub(crate) fn log_id(&self) -> Option<u64> {
        self.chain.iter().chain(&self.abandoned).next().map(|link| link.header.log_id.get())
    }
}

fn check_identity(sound: &BTreeMap<u32, Link>) -> Result<(), RecoverError> {
    let expected = sound.last_key_value().map_or(0, |(_, link)| link.header.log_id.get());
    for (number, link) in sound {
        let path = link.path.clone();
        let found = link.header.log_id.get();
        if found != expected {
            return Err(RecoverError::Mixed { path, found, expected });
        }
        if link.number() != *number {
            return Err(RecoverError::Renamed { path, found: link.number() });
        }
        if !link.header.is_plausible() {
            return Err(RecoverError::DamagedHeader { path });
        }
    }
    Ok(())
}

/// What [`follow`] found.
struct Followed {
    chain: Vec<Link>,
    abandoned: Vec<Link>,
    lost: Option<PathBuf>,
}

/// Takes the history out of `sound`, first segment first. What is left belongs to no history.
///
/// A power cut may take a segment's header and leave that of the next one, as long as neither was
/// synced. Then the history ends before the lost one, unless a durable mark says otherwise: that
/// is for whoever looks at the evidence.
fn follow(
    dir: &Path,
    sound: &mut BTreeMap<u32, Link>,
    headless: &[Headless],
) -> Result<Followed, RecoverError> {
    let (mut chain, mut abandoned, mut lost) = (Vec::new(), Vec::new(), None);
    let mut next = sound.pop_last().map(|(_, link)| link);
    while let Some(link) = next {
        let (number, previous) = (link.number(), link.header.previous_number.get());
        chain.push(link);
        next = sound.remove(&previous);
        if next.is_some() || previous == 0 {
            // Number 0 is nobody's: the log begins here.
            continue;
        }
        if let Some(file) = headless.iter().find(|file| file.number == previous) {
            lost = Some(file.path.clone());
            abandoned.append(&mut chain);
            next = sound.pop_last().map(|(_, link)| link);
            continue;
        }
        // Old segments may have been removed, but then all of them.
        if sound.keys().any(|other| *other < number) {
            return Err(RecoverError::Missing { path: dir.join(file_name(previous)) });
        }
    }
    chain.reverse();
    Ok(Followed { chain, abandoned, lost })
}
