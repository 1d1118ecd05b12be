//! The crash path: what a process that dies by a signal of its own making still leaves behind.
//!
//! Handlers for SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGTRAP and SIGFPE leave a mark in the shared
//! ring's live page and hand on to whatever was installed before. They run on an alternate stack,
//! so that a stack overflow is marked too. They only store: no lock, no allocation, no symbol; the
//! reader looks addresses up. It never keeps a process alive that was to die.

mod altstack;
mod handler;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::code_map::{self, MAPS_FILE};
use crate::recorder::Recorder;
use crate::region::Region;

pub(crate) use altstack::protect_thread;

/// One at a time installs or removes.
static INSTALL: Mutex<()> = Mutex::new(());

/// Why the handlers are not at work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrashError {
    /// There is no alternate stack for this thread, so that a stack overflow could not be marked.
    #[error("no alternate signal stack: {0}")]
    Stack(#[source] io::Error),
    /// The system refused a handler.
    #[error("can't handle signal {signal}: {cause}")]
    Signal {
        /// Which one.
        signal: i32,
        /// What it said.
        #[source]
        cause: io::Error,
    },
    /// As many recorders as can be are marked already.
    #[error("{limit} recorders are marked already; drop the handlers of one")]
    TooMany {
        /// How many.
        limit: usize,
    },
}

/// Keeps the handlers at work for one recorder until it is dropped.
///
/// The last one that is dropped puts the previous handlers back, but where others were installed on
/// top meanwhile: there ours stays as a link that only hands on.
#[derive(Debug)]
#[must_use = "crashes are no longer marked when this is dropped"]
pub struct CrashHandlers {
    slot: usize,
    // Mapped as long as a handler may store to it.
    _live: Region,
}

/// From now on a crash of this process by SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGTRAP or SIGFPE is
/// marked in the recorder's shared ring: signal, code, address, program counter, stack pointer, and
/// words of the stack that point into code. What was installed before runs afterwards; where that
/// was the default, the process dies as it would have.
///
/// The calling thread, and each that opens a lane from now on, gets an alternate stack of 64 KiB;
/// threads of the standard library have one of their own already. Where code lies is written to
/// [`MAPS_FILE`] beside the rings, so that the reader can name what it finds; libraries that are
/// loaded later are not in it.
///
/// Handlers that are installed on top later, and don't hand on, hide crashes from this one.
///
/// # Errors
/// See [`CrashError`]; nothing was changed then.
pub fn install_crash_handlers(recorder: &Arc<Recorder>) -> Result<CrashHandlers, CrashError> {
    let _turn = INSTALL.lock().unwrap_or_else(PoisonError::into_inner);
    altstack::protect_thread_always().map_err(CrashError::Stack)?;
    write_maps(recorder.path());
    let live = recorder.live().clone();
    let slot = handler::watch(&live).ok_or(CrashError::TooMany { limit: handler::TARGETS })?;
    if let Err((signal, cause)) = handler::install() {
        handler::forget(slot);
        return Err(CrashError::Signal { signal, cause });
    }
    Ok(CrashHandlers { slot, _live: live })
}

/// Without it addresses stay numbers, so a failure costs no more than names.
fn write_maps(dir: &Path) {
    let code = code_map::own();
    handler::set_code(code.iter().map(|map| (map.start, map.end)));
    drop(std::fs::write(dir.join(MAPS_FILE), code_map::to_text(&code)));
}

impl Drop for CrashHandlers {
    fn drop(&mut self) {
        let _turn = INSTALL.lock().unwrap_or_else(PoisonError::into_inner);
        handler::forget(self.slot);
        if handler::watches_none() {
            handler::remove();
        }
    }
}
