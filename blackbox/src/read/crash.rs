//! Crash marks: what a signal handler left, and which file each address lies in.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::code_map::CodeMap;
use crate::format::live;
use crate::seal;

/// What a signal handler left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Crash {
    /// Which one in order, from 0.
    pub number: u64,
    /// The signal's number.
    pub signal: u32,
    /// Its name, `SIG…`; by the numbers of Linux.
    pub name: String,
    /// Its `si_code`: above 0 the kernel raised it for a fault, else a process sent it (sigaction(2)).
    pub code: i32,
    /// When, in nanoseconds since 1970.
    pub unix_ns: Option<u64>,
    /// On which thread.
    pub tid: u64,
    /// Of a fault the address that could not be used; 0 else.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// The stack pointer.
    #[serde(serialize_with = "hex")]
    pub sp: u64,
    /// The program counter first; then words of the stack, from its top, that point into code. Most
    /// are return addresses; some may be left over from calls that had ended.
    pub frames: Vec<Frame>,
    #[serde(skip)]
    pub(super) ticks: u64,
}

/// An address in code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Frame {
    /// The address in the dead process.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// The file that was mapped there, and where in it.
    pub module: Option<Module>,
    /// The functions, innermost first where some were inlined, once
    /// `Snapshot::name_frames` (feature `symbols`) has looked them up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<Symbol>,
}

/// A place in a mapped file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Module {
    /// The file.
    pub path: PathBuf,
    /// The byte in it.
    #[serde(serialize_with = "hex")]
    pub offset: u64,
    /// The file's inode then: another one now means that it is another file.
    pub inode: u64,
}

/// A function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Symbol {
    /// Its name, demangled.
    pub function: String,
    /// `file:line`, if the debug information says.
    pub place: Option<String>,
}

fn hex<S: Serializer>(word: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{word:#x}"))
}

impl Crash {
    /// Whether it looks like a stack that was used up: a fault at an address near the stack pointer.
    #[must_use]
    pub fn is_stack_overflow(&self) -> bool {
        // A frame of up to 64 KiB may lie between them; the next mapping is at least a page away.
        self.signal == 11 && self.code > 0 && self.address.abs_diff(self.sp) < 64 << 10
    }
}

/// Each mark whose seal holds, by number; what is wrong with the others goes to `damage`.
pub(super) fn marks(page: &[u64], damage: &mut Vec<String>) -> Vec<Crash> {
    let mut found = Vec::new();
    for slot in page[live::CRASHES..live::CRASHES_END].as_chunks::<{ live::CRASH_WORDS }>().0 {
        if slot.iter().all(|&word| word == 0) {
            continue;
        }
        let [what, ticks, tid, signal, address, pc, sp, sealed, stack @ .., stack_sealed] = slot;
        let number = seal::words(*sealed, [*what, *ticks, *tid, *signal, *address, *pc, *sp]).wrapping_sub(1);
        if number >= page[live::CRASHES_TOTAL] {
            damage.push("a crash mark's seal does not hold".to_owned());
            continue;
        }
        let whole = seal::words(*stack_sealed, stack.iter().copied()).wrapping_sub(1) == number;
        if !whole {
            damage.push(format!("the stack that crash mark {number} took down is not whole"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "two halves of a word")]
        let (signal, code) = (*signal as u32, (signal >> 32) as u32);
        let stack = stack.iter().copied().take_while(|&word| whole && word != 0);
        let frames = std::iter::once(*pc).chain(stack);
        found.push(Crash {
            number,
            signal,
            name: name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned),
            code: code.cast_signed(),
            unix_ns: None,
            tid: *tid,
            address: *address,
            sp: *sp,
            frames: frames.map(|address| Frame { address, module: None, symbols: Vec::new() }).collect(),
            ticks: *ticks,
        });
    }
    found.sort_by_key(|crash| crash.number);
    found
}

/// Says which file each frame lies in.
pub(super) fn place(crash: &mut Crash, code: &[CodeMap]) {
    for frame in &mut crash.frames {
        let map = code.iter().find(|map| (map.start..map.end).contains(&frame.address));
        frame.module = map.map(|map| Module {
            path: map.path.clone(),
            offset: frame.address - map.start + map.offset,
            inode: map.inode,
        });
    }
}

const fn name(signal: u32) -> Option<&'static str> {
    Some(match signal {
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        11 => "SIGSEGV",
        _ => return None,
    })
}
