//! SIGTERM and SIGINT while a command is at work: what it must not leave undone is done (a log closed, so
//! that what was appended is durable; a folder removed), and the process ends with 128 and the signal's
//! number. A second signal ends it at once.
//!
//! A thread waits for them, since the command's own may stand in a read for as long as nothing comes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Between two looks whether a signal came.
const LOOK: Duration = Duration::from_millis(20);

/// Watches for signals until it is dropped.
#[derive(Debug)]
pub(super) struct Ending {
    came: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Ending {
    /// Begins to watch. `last` is told the name of the signal, and is the last thing that is done.
    pub(super) fn watch(last: impl FnOnce(&str) + Send + 'static) -> io::Result<Self> {
        let ending = Self { came: Arc::default(), over: Arc::default() };
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // The second one finds this armed by the first.
            flag::register_conditional_default(signal, Arc::clone(&armed))?;
            flag::register(signal, Arc::clone(&armed))?;
            flag::register_usize(signal, Arc::clone(&ending.came), signal.unsigned_abs() as usize)?;
        }
        let (came, over) = (Arc::clone(&ending.came), Arc::clone(&ending.over));
        std::thread::Builder::new().name("ng-ending".to_owned()).spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let signal = came.load(Ordering::Relaxed);
                if signal != 0 {
                    last(if signal == SIGINT.unsigned_abs() as usize { "SIGINT" } else { "SIGTERM" });
                    std::process::exit(128 + i32::try_from(signal).unwrap_or(0));
                }
                std::thread::sleep(LOOK);
            }
        })?;
        Ok(ending)
    }

    /// Does not come back if a signal came: the thread that heard it ends the process.
    pub(super) fn stay_if_asked_to_end(&self) {
        while self.came.load(Ordering::Relaxed) != 0 {
            std::thread::park();
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.stay_if_asked_to_end();
        self.over.store(true, Ordering::Relaxed);
    }
}
