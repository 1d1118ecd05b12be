//! The service's configuration, read again: on SIGHUP, and once its file has changed.

use std::sync::Arc;
use std::time::Duration;

use super::notify;
use super::run::Say;
use super::service::Service;
use super::signals::Hangups;
use crate::reload::{Cause, Outcome};

/// Follows the configuration until it is dropped. To be begun once the stack runs; what was asked
/// for before is done then.
pub(super) async fn follow(service: Arc<Service>, mut hangups: Hangups, say: Say) {
    loop {
        let pause = service.terms().config.config_watch_ms;
        let asked = tokio::select! {
            () = hangups.next() => true,
            () = tokio::time::sleep(Duration::from_millis(pause)), if pause > 0 => false,
        };
        let cause = if asked { Cause::Asked } else { Cause::Changed };
        let read = Arc::clone(&service);
        // A file on a network may keep its reader waiting.
        let outcome = tokio::task::spawn_blocking(move || again(&read, cause)).await.ok().flatten();
        if let Some(outcome) = outcome {
            say(format_args!("{cause}: {outcome}"));
            let how = if outcome.is_good() {
                "ready"
            } else {
                "ready; the configuration that was read last was refused"
            };
            notify::tell(&format!("STATUS={how}"));
        }
    }
}

fn again(service: &Service, cause: Cause) -> Option<Outcome> {
    let stack = &service.engine()?.stack;
    match cause {
        Cause::Asked => Some(service.reloader.reload(stack, cause)),
        Cause::Changed => service.reloader.look(stack),
    }
}
