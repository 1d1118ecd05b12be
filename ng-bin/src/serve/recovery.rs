//! The start: whether another process has the log, then the stack, built on a thread of its own so
//! that the administration answers meanwhile.

use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::error::ServeError;
use super::run::Say;
use super::service::Service;
use crate::config::{WalConfig, WalKind};
use crate::stack::{Stack, StackError};

/// How often the progress of a long recovery is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// A token's time is in whole seconds, and a thread that wakes up a thousand times a second would be
/// most of what an idle service costs.
const TICK: Duration = Duration::from_millis(50);

/// Looks whether another process has the log. The log itself takes its lock once it has been read;
/// this look spares the second process the reading.
pub(super) fn look(config: &WalConfig) -> Result<(), ServeError> {
    if config.kind == WalKind::Off {
        return Ok(());
    }
    let path = config.dir.join("LOCK");
    // Whatever else is wrong with it, the log says better.
    let Ok(lock) = File::options().read(true).write(true).open(&path) else { return Ok(()) };
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        let owner = std::fs::read_to_string(&path).unwrap_or_default();
        let owner = if owner.trim().is_empty() { "unknown" } else { owner.trim() }.to_owned();
        return Err(ServeError::Running { dir: config.dir.clone(), owner });
    }
    Ok(())
}

/// Builds the stack, and says how far it is.
pub(super) async fn build(service: &Arc<Service>, say: Say) -> Result<Stack, ServeError> {
    let (tell, mut told) = oneshot::channel();
    let (loaded, store) = (service.loaded.clone(), Arc::clone(&service.store));
    std::thread::Builder::new()
        .name("ng-recovery".to_owned())
        .spawn(move || {
            // Whoever waited may have been told to end.
            drop(tell.send(Stack::builder().loaded(loaded).store(store).tick_period(TICK).build()));
        })
        .map_err(ServeError::Threads)?;
    loop {
        match tokio::time::timeout(TOLD_EVERY, &mut told).await {
            Err(_) => {
                let tokens = service.store.len();
                super::notify::tell(&format!("STATUS=recovering: {tokens} tokens so far"));
                say(format_args!("recovering: {tokens} tokens so far"));
            }
            Ok(Ok(built)) => return Ok(built?),
            Ok(Err(_)) => {
                let source = "it panicked; standard error has more".into();
                return Err(StackError::Layer { layer: "recovery", source }.into());
            }
        }
    }
}
