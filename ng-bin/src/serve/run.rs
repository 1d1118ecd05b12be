//! The service's life: look, listen, recover, serve, drain, flush.

use std::fmt::Arguments;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::counters::get;
use super::error::ServeError;
use super::listen::{Door, Room, is_beyond, look};
use super::service::{Engine, Service};
use super::signals::{Hangups, Signals};
use super::terms::{InForce, Renewal, Terms};
use super::{limits, live, notify, recovery, reload};
use crate::reload::Reloader;
use crate::stack::Stack;

/// Tells a person something, in one line.
pub type Say = fn(Arguments<'_>);

/// Where the service listens, and what it found: told once it is ready.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Ready {
    /// The process.
    pub pid: u32,
    /// The gateway's address, as a client writes it.
    pub gateway: Option<String>,
    /// The administration's.
    pub admin: Option<String>,
    /// The gateway's Unix socket.
    pub unix_socket: Option<String>,
    /// Tokens in the store.
    pub tokens: u64,
    /// Records read from the log.
    pub recovered_records: u64,
    /// From the beginning of [`run`] until everything was taken.
    pub start_ms: f64,
}

/// How the service ended in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Tokens in the store at the end.
    pub tokens: u64,
    /// Records that were made durable by this process.
    pub durable_records: u64,
}

/// After the last request has ended, for its answer to be taken.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Runs the service until it is asked to end, with the configuration that `reloader` holds, and follows
/// changes of that. `say` gets what a person wants to know, `ready` where
/// the service is to be found.
///
/// # Errors
/// [`ServeError`]; before it is ready nothing was taken, and at the end everything that was
/// acknowledged is durable unless it says otherwise.
pub fn run(reloader: Reloader, say: Say, ready: impl FnOnce(&Ready)) -> Result<Ended, ServeError> {
    let began = Instant::now();
    let loaded = reloader.in_force();
    let config = loaded.config.serve.clone();
    if config.listen.is_empty() && config.unix_socket.is_none() {
        return Err(ServeError::Nowhere);
    }
    let gateway = look("serve.listen", &config.listen)?;
    let admin = look("serve.admin", &config.admin)?;
    let doors = [("serve.listen", &config.listen, gateway), ("serve.admin", &config.admin, admin)];
    let beyond = doors.into_iter().find(|(_, _, address)| address.is_some_and(is_beyond));
    let guarded = beyond.filter(|_| !config.insecure).map(|(key, given, _)| (key, given.clone()));
    let in_force = InForce::new(Terms::unread(config.clone()));
    let renewal = Renewal { in_force: in_force.clone(), guarded };
    // The files are looked at from before they are read, so that no change of one is missed.
    let reloader = reloader.with_part(renewal.clone());
    let terms = renewal.load(config.clone())?;
    let tls = terms.tls.is_some();
    in_force.set(terms);
    recovery::look(&loaded.config.wal)?;
    if let Some(most) = limits::raise_open_files()
        && most < config.max_connections
    {
        say(format_args!(
            "only {most} files can be open at once, less than serve.max_connections ({}): raise `ulimit -n`",
            config.max_connections
        ));
    }
    let service = Arc::new(Service::new(loaded, reloader, in_force));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(4))
        .thread_name("ng-http")
        .enable_all()
        .build()
        .map_err(ServeError::Threads)?;
    let served = runtime.block_on(async {
        let mut doors = Vec::new();
        if let Some(address) = admin {
            doors.push(Door::tcp("serve.admin", address, Room::Admin, tls).await?);
        }
        if let Some(address) = gateway {
            doors.push(Door::tcp("serve.listen", address, Room::Gateway, tls).await?);
        }
        if let Some(path) = &config.unix_socket {
            doors.push(Door::unix(path)?);
        }
        serve(&service, doors, began, say, ready).await
    });
    // What the administration still answers is cut off; the gateway has been drained.
    runtime.shutdown_timeout(Duration::from_millis(500));
    let cut_off = served?;
    let ended = finish(service)?;
    if cut_off > 0 {
        return Err(ServeError::NotDrained { in_flight: cut_off });
    }
    Ok(ended)
}

/// Serves until asked to end, then drains; how many requests were cut off.
async fn serve(
    service: &Arc<Service>,
    doors: Vec<Door>,
    began: Instant,
    say: Say,
    ready: impl FnOnce(&Ready),
) -> Result<u64, ServeError> {
    let mut signals = Signals::new().map_err(ServeError::Threads)?;
    let hangups = Hangups::new().map_err(ServeError::Threads)?;
    let (stop, stopped) = watch::channel(false);
    let (never_stop, never_stopped) = watch::channel(false);
    let (alive, mut all_gone) = mpsc::channel(1);
    let (looked_after, _) = mpsc::channel(1);
    let shown = |room: Room, unix: bool| {
        doors
            .iter()
            .find(|door| door.room == room && door.shown.starts_with("unix:") == unix)
            .map(|door| door.shown.clone())
    };
    let mut found = Ready {
        pid: std::process::id(),
        gateway: shown(Room::Gateway, false),
        admin: shown(Room::Admin, false),
        unix_socket: shown(Room::Gateway, true),
        tokens: 0,
        recovered_records: 0,
        start_ms: 0.0,
    };
    for door in doors {
        say(format_args!("{} on {}", if door.room == Room::Admin { "admin" } else { "gateway" }, door.shown));
        // The administration answers until the very end.
        let (stop, alive) = match door.room {
            Room::Gateway => (stopped.clone(), alive.clone()),
            Room::Admin => (never_stopped.clone(), looked_after.clone()),
        };
        tokio::spawn(door.serve(Arc::clone(service), stop, alive));
    }
    drop(alive);
    notify::tell("STATUS=recovering");
    let mut building = std::pin::pin!(recovery::build(service, say));
    let built = tokio::select! {
        built = &mut building => Some(built?),
        name = signals.next() => {
            say(format_args!("{name}: ending before the log was recovered"));
            let patience = Duration::from_millis(service.terms().config.drain_ms);
            service.phase.set_stopping();
            // A recovery only reads; a process that ends in it leaves the log as it is.
            if let Ok(Ok(stack)) = tokio::time::timeout(patience, building).await {
                let _ = service.take(stack);
            }
            None
        }
    };
    if let Some(stack) = built {
        tell_found(&stack, say);
        service.reloader.guide(&stack);
        found.recovered_records = stack.recovered().map_or(0, |recovered| recovered.records);
        service.take(stack)?;
        found.tokens = service.store.len();
        found.start_ms = began.elapsed().as_secs_f64() * 1e3;
        say(format_args!("ready in {:.1} ms with {} tokens", found.start_ms, found.tokens));
        notify::tell("READY=1\nSTATUS=ready");
        ready(&found);
        let watched = Arc::clone(service);
        tokio::spawn(async move { watch_rate(&watched).await });
        tokio::spawn(reload::follow(Arc::clone(service), hangups, say));
        let name = signals.next().await;
        say(format_args!("{name}: taking no more, ending what is under way"));
        service.phase.set_stopping();
    }
    notify::tell("STOPPING=1\nSTATUS=ending");
    // Nobody left to tell is as good.
    let _ = stop.send(true);
    let cut_off = drain(service, &mut all_gone, &mut signals).await;
    drop(never_stop);
    Ok(cut_off)
}

fn tell_found(stack: &Stack, say: Say) {
    if let Some(recovered) = stack.recovered() {
        say(format_args!(
            "recovered {} tokens from {} records in {} segment(s)",
            stack.store().len(),
            recovered.records,
            recovered.segments
        ));
        if let Some(torn) = &recovered.torn {
            say(format_args!("{torn}"));
        }
    }
    #[cfg(feature = "blackbox")]
    for died in stack.dead() {
        say(format_args!("{died}"));
    }
}

/// Waits for what is under way, at most `serve.drain_ms` or until a second signal; how many
/// requests are left.
async fn drain(service: &Service, all_gone: &mut mpsc::Receiver<()>, signals: &mut Signals) -> u64 {
    let patience = Duration::from_millis(service.terms().config.drain_ms);
    // A connection without a request may stay open until its head times out: it is not waited for.
    let idle = async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if get(&service.counters.in_flight) == 0 {
                tokio::time::sleep(LAST_ANSWERS).await;
                if get(&service.counters.in_flight) == 0 {
                    return;
                }
            }
        }
    };
    tokio::select! {
        _ = all_gone.recv() => {}
        () = idle => {}
        () = tokio::time::sleep(patience) => {}
        _ = signals.next() => {}
    }
    get(&service.counters.in_flight)
}

async fn watch_rate(service: &Service) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        second.tick().await;
        if let Some(engine) = service.engine()
            && let Some(made) = live::made(engine)
        {
            service.rate.look(made);
        }
    }
}

/// Ends lanes and stack: what was appended becomes durable.
fn finish(service: Arc<Service>) -> Result<Ended, ServeError> {
    let nothing = Ended { tokens: 0, durable_records: 0 };
    let patience = Duration::from_millis(service.terms().config.drain_ms.max(1_000));
    let service = match Arc::try_unwrap(service) {
        Ok(service) => service,
        // A task that could not be cut off holds it: the log is closed all the same.
        Err(service) => {
            let Some(engine) = service.engine() else { return Ok(nothing) };
            engine.lanes.close();
            engine.stack.wal().close(patience).map_err(ServeError::NotFlushed)?;
            return Ok(ended(&engine.stack));
        }
    };
    let Some(Engine { lanes, stack, .. }) = service.into_engine() else { return Ok(nothing) };
    drop(lanes);
    match Arc::try_unwrap(stack) {
        Ok(stack) => {
            let tokens = stack.store().len();
            let before = ended(&stack);
            stack.shutdown(patience).map_err(ServeError::NotFlushed)?;
            Ok(Ended { tokens, ..before })
        }
        Err(stack) => {
            stack.wal().close(patience).map_err(ServeError::NotFlushed)?;
            Ok(ended(&stack))
        }
    }
}

fn ended(stack: &Stack) -> Ended {
    Ended { tokens: stack.store().len(), durable_records: stack.wal().stats().durable_records }
}
