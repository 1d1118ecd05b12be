//! Names for addresses, from the symbols and the debug information of the files that were mapped. A
//! file that is gone, or another one by now, leaves its addresses without names.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use addr2line::Loader;

use super::crash::{Frame, Symbol};
use super::{Crash, Snapshot};

/// Where a file's stretches are loaded: byte in the file, length, address in the file's own view.
type Segments = Vec<(u64, u64, u64)>;

impl Snapshot {
    /// Looks up the functions that crash marks point to, where the files are still there. It takes a
    /// second or so for a large program with debug information.
    pub fn name_frames(&mut self) {
        let mut files: HashMap<PathBuf, Option<(Loader, Segments)>> = HashMap::new();
        let crashes = self.rings.iter_mut().flat_map(|ring| &mut ring.crashes);
        for frame in crashes.flat_map(named_from) {
            let (call, frame) = frame;
            let Some(module) = &frame.module else { continue };
            let file = files
                .entry(module.path.clone())
                .or_insert_with(|| open(&module.path, module.inode).ok().flatten());
            let Some((loader, segments)) = file else { continue };
            // A return address is the instruction after the call; the call is what is meant.
            let offset = module.offset - u64::from(call);
            let address = segments
                .iter()
                .find(|(at, length, _)| (*at..at.saturating_add(*length)).contains(&offset))
                .map(|(at, _, address)| address.wrapping_add(offset - at));
            frame.symbols = address.map(|address| symbols(loader, address)).unwrap_or_default();
        }
    }
}

/// Each frame, and whether it is a return address.
fn named_from(crash: &mut Crash) -> impl Iterator<Item = (bool, &mut Frame)> {
    crash.frames.iter_mut().enumerate().map(|(at, frame)| (at > 0, frame))
}

fn open(path: &Path, inode: u64) -> io::Result<Option<(Loader, Segments)>> {
    let file = File::open(path)?;
    if file.metadata()?.ino() != inode {
        return Ok(None);
    }
    let segments = segments(&file)?;
    Ok(Loader::new(path).ok().map(|loader| (loader, segments)))
}

/// The loadable segments of a 64-bit little-endian ELF file (elf(5)).
fn segments(mut file: &File) -> io::Result<Segments> {
    let mut header = [0; 64];
    file.read_exact(&mut header)?;
    let word = |bytes: &[u8], at: usize| {
        bytes[at..].first_chunk().map_or(0, |word: &[u8; 8]| u64::from_le_bytes(*word))
    };
    if header[..6] != *b"\x7fELF\x02\x01" {
        return Ok(Vec::new());
    }
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let (table, size, count) = (word(&header, 32), half(54), half(56));
    let mut found = Vec::new();
    for n in 0..count {
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, table.saturating_add(u64::from(n) * u64::from(size)))?;
        // p_type, p_offset, p_vaddr, p_filesz.
        if entry[..4] == [1, 0, 0, 0] {
            found.push((word(&entry, 8), word(&entry, 32), word(&entry, 16)));
        }
    }
    Ok(found)
}

fn symbols(loader: &Loader, address: u64) -> Vec<Symbol> {
    let mut found = Vec::new();
    if let Ok(mut frames) = loader.find_frames(address) {
        while let Ok(Some(frame)) = frames.next() {
            let Some(function) = frame.function.as_ref().and_then(|name| name.demangle().ok()) else {
                continue;
            };
            let place = frame
                .location
                .as_ref()
                .and_then(|location| Some(format!("{}:{}", location.file?, location.line.unwrap_or(0))));
            found.push(Symbol { function: function.into_owned(), place });
        }
    }
    if found.is_empty()
        && let Some(name) = loader.find_symbol(address)
    {
        let function = addr2line::demangle_auto(name.into(), None).into_owned();
        found.push(Symbol { function, place: None });
    }
    found
}
