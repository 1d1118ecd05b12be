//! Real processes that die in each way there is: what their rings say afterwards.

#![cfg(all(not(loom), target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that can't go on fails, and its children report by their output"
)]
#![expect(unsafe_code, reason = "a process is made to die by its own fault")]

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use ng_blackbox::read::{Crash, RingState, Snapshot};
use ng_blackbox::{
    CrashHandlers, PanicHook, PanicOptions, Recorder, RecorderOptions, find_dead, install_crash_handlers,
    install_panic_hook,
};
use ng_core::events::{Event, EventKind, EventRecorder};

/// Tells the child where to write; unset in the parent.
const CHILD: &str = "NG_BLACKBOX_TEST_CHILD";

/// What keeps the crash path at work.
struct Armed {
    recorder: Arc<Recorder>,
    _hook: PanicHook,
    _handlers: CrashHandlers,
}

fn options(dir: &Path) -> RecorderOptions {
    RecorderOptions {
        operation_events: 1 << 10,
        sampled_events: 64,
        rare_events: 64,
        ..RecorderOptions::new(dir)
    }
}

fn arm(dir: &Path) -> Armed {
    let recorder = Arc::new(Recorder::create(options(dir)).unwrap());
    let handlers = install_crash_handlers(&recorder).unwrap();
    let hook = install_panic_hook(&recorder, PanicOptions::default());
    Armed { recorder, _hook: hook, _handlers: handlers }
}

/// Runs `die` in a child of this test binary, after it has recorded something on a lane, and reads
/// what it left.
fn autopsy(test: &str, die: impl FnOnce(Armed)) -> Option<(ExitStatus, Option<Snapshot>)> {
    if let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) {
        let armed = arm(&dir);
        let mut lane = armed.recorder.open_lane("maker");
        (0..100).for_each(|n| lane.record(Event::operation(EventKind::TOKENS_CREATED, n, 1)));
        std::mem::forget(lane);
        die(armed);
        println!("child is done");
        return None;
    }
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir.path())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let dead = find_dead(dir.path()).unwrap();
    let snapshot = dead.first().map(|dead| Snapshot::open(&dead.path).unwrap());
    if let Some(snapshot) = &snapshot {
        assert!(snapshot.unreadable.is_empty(), "{:?}", snapshot.unreadable);
        let events = snapshot.events.iter().filter(|event| event.label == "tokens_created").count();
        assert_eq!(events, 100, "what the lane recorded is there");
    }
    Some((output.status, snapshot))
}

fn crashes(snapshot: &Snapshot) -> &[Crash] {
    assert!(snapshot.rings[0].damage.is_empty(), "{:?}", snapshot.rings[0].damage);
    &snapshot.rings[0].crashes
}

/// A test in which the child dies by `signal`, which is marked once.
fn marked_once(test: &str, signal: i32, code: i32, die: impl FnOnce()) {
    let Some((status, snapshot)) = autopsy(test, |_armed| die()) else { return };
    assert_eq!(status.signal(), Some(signal), "it died as it would have without us");
    let snapshot = snapshot.unwrap();
    let [crash] = crashes(&snapshot) else { panic!("{:?}", crashes(&snapshot)) };
    assert_eq!((crash.signal.cast_signed(), crash.code), (signal, code), "{crash:?}");
    let process = snapshot.process.as_ref().unwrap();
    assert!(crash.tid >= process.pid && crash.unix_ns.is_some(), "{crash:?}");
    assert!(!process.closed_in_order && !process.exited);
    assert!(crash.frames[0].module.is_some(), "the program counter lies in a file: {crash:?}");
    assert!(crash.frames.len() > 3, "and so does some of the stack: {crash:?}");
    assert!(!crash.is_stack_overflow());
}

#[test]
fn sigsegv_is_marked_with_its_address() {
    let test = "sigsegv_is_marked_with_its_address";
    marked_once(test, libc::SIGSEGV, 1, || {
        // SAFETY: none: it is meant to fault, at an address that nothing is mapped at.
        unsafe { std::ptr::write_volatile(std::hint::black_box(0x1_0000_0040 as *mut u64), 1) };
    });
}

#[test]
fn sigbus_of_a_file_that_shrank_is_marked() {
    marked_once("sigbus_of_a_file_that_shrank_is_marked", libc::SIGBUS, 2, || {
        use std::os::fd::AsRawFd;
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let (null, rights) = (std::ptr::null_mut(), libc::PROT_READ);
        // SAFETY: a new mapping, which is read once its file has shrunk: it is meant to fault.
        unsafe {
            let at = libc::mmap(null, 4096, rights, libc::MAP_SHARED, file.as_raw_fd(), 0);
            file.set_len(0).unwrap();
            std::ptr::read_volatile(at.cast::<u64>());
        }
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn sigill_sigtrap_and_sigfpe_are_marked_and_not_survived() {
    let test = "sigill_sigtrap_and_sigfpe_are_marked_and_not_survived";
    // The child finds in its environment which of them it shall die by.
    let which = "NG_BLACKBOX_TEST_SIGNAL";
    if std::env::var_os(CHILD).is_some() {
        let signal = std::env::var(which).unwrap();
        autopsy(test, |_armed| {
            // SAFETY: none: each is meant to fault.
            unsafe {
                match signal.as_str() {
                    "ILL" => std::arch::asm!("ud2"),
                    "TRAP" => std::arch::asm!("int3"),
                    _ => {
                        std::arch::asm!("xor ecx, ecx", "idiv ecx", out("ecx") _, inout("eax") 1 => _, inout("edx") 0 => _)
                    }
                }
            }
        });
        return;
    }
    for (name, signal, code) in
        [("ILL", libc::SIGILL, 2), ("TRAP", libc::SIGTRAP, 128), ("FPE", libc::SIGFPE, 1)]
    {
        // SAFETY: no other thread of this process reads the environment: tests run in processes of
        // their own, or this variable matters to no other.
        unsafe { std::env::set_var(which, name) };
        marked_once(test, signal, code, || {});
    }
}

#[test]
fn an_abort_is_marked() {
    marked_once("an_abort_is_marked", libc::SIGABRT, -6, || std::process::abort());
}

#[test]
fn a_signal_that_another_process_sends_is_marked_as_sent() {
    // Not SIGSEGV: the standard library's handler lets the first one that was sent pass.
    marked_once("a_signal_that_another_process_sends_is_marked_as_sent", libc::SIGFPE, 0, || {
        // SAFETY: sends a signal, to this process.
        unsafe { libc::kill(libc::getpid(), libc::SIGFPE) };
        std::thread::sleep(std::time::Duration::from_secs(10));
    });
}

#[expect(unconditional_recursion, reason = "it is to use up its stack")]
fn descend(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 64]);
    descend(depth + 1) + room[(depth % 64) as usize]
}

#[test]
fn a_stack_overflow_is_marked_on_the_main_thread_and_on_others() {
    let test = "a_stack_overflow_is_marked_on_the_main_thread_and_on_others";
    let overflow = |_armed: Armed| println!("{}", descend(0));
    let Some((status, snapshot)) = autopsy(test, overflow) else { return };
    // The standard library's own handler says what happened, and aborts.
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    let snapshot = snapshot.unwrap();
    let [overflow, abort] = crashes(&snapshot) else { panic!("{:?}", crashes(&snapshot)) };
    assert!(overflow.is_stack_overflow(), "{overflow:?}");
    assert_eq!((overflow.name.as_str(), abort.name.as_str()), ("SIGSEGV", "SIGABRT"));
    assert_eq!(overflow.tid, abort.tid);
}

#[test]
fn a_stack_overflow_of_a_thread_with_a_lane_is_marked() {
    let test = "a_stack_overflow_of_a_thread_with_a_lane_is_marked";
    let overflow = |armed: Armed| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _lane = armed.recorder.open_lane("deep");
                std::hint::black_box(descend(0));
            });
        });
    };
    let Some((status, snapshot)) = autopsy(test, overflow) else { return };
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    let snapshot = snapshot.unwrap();
    let deep = snapshot.rings.iter().find(|ring| ring.thread == "deep").unwrap();
    assert!(crashes(&snapshot)[0].is_stack_overflow());
    assert_eq!(crashes(&snapshot)[0].tid, deep.tid);
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("second, while dropping");
    }
}

#[test]
fn a_panic_while_panicking_leaves_both_and_the_abort() {
    let test = "a_panic_while_panicking_leaves_both_and_the_abort";
    let die = |_armed: Armed| {
        let _second = PanicsWhenDropped;
        panic!("first");
    };
    let Some((status, snapshot)) = autopsy(test, die) else { return };
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    let snapshot = snapshot.unwrap();
    let notes: Vec<_> = snapshot.events.iter().filter(|e| e.label == "panic").map(|e| &e.note).collect();
    assert!(notes[0].ends_with("first") && notes[1].ends_with("second, while dropping"), "{notes:?}");
    // The runtime's own "panic in a destructor during cleanup" may be one more.
    assert!(snapshot.rings[0].marks.len() >= 2);
    assert_eq!(crashes(&snapshot).len(), 1, "the abort");
}

#[test]
fn a_panic_that_is_joined_leaves_room_for_the_crash_that_follows() {
    let test = "a_panic_that_is_joined_leaves_room_for_the_crash_that_follows";
    let die = |armed: Armed| {
        for _ in 0..20 {
            drop(std::thread::spawn(|| panic!("joined")).join());
        }
        assert!(armed.recorder.catch(|| panic!("caught")).is_err());
        std::process::abort();
    };
    let Some((status, snapshot)) = autopsy(test, die) else { return };
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    let snapshot = snapshot.unwrap();
    let process = snapshot.process.as_ref().unwrap();
    assert_eq!((process.panics, process.recovered_panics), (21, 1));
    assert_eq!((snapshot.rings[0].marks_left, crashes(&snapshot).len()), (21, 1));
}

#[test]
fn an_exit_with_the_recorder_at_work_is_no_crash() {
    let test = "an_exit_with_the_recorder_at_work_is_no_crash";
    let Some((status, snapshot)) = autopsy(test, |armed| {
        std::mem::forget(armed);
        std::process::exit(3)
    }) else {
        return;
    };
    assert_eq!(status.code(), Some(3));
    let snapshot = snapshot.unwrap();
    let process = snapshot.process.as_ref().unwrap();
    assert!(process.exited && !process.closed_in_order);
    assert_eq!(snapshot.rings[0].state, RingState::Exited);
    assert!(crashes(&snapshot).is_empty());
}

static SEEN: AtomicI32 = AtomicI32::new(0);

extern "C" fn note_and_go_on(signal: i32) {
    SEEN.fetch_add(signal, Ordering::SeqCst);
}

/// How often a process can be hit when its own handler lets it live, and what is put back.
#[test]
fn the_handler_before_ours_is_called_and_comes_back() {
    let test = "the_handler_before_ours_is_called_and_comes_back";
    if let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) {
        // SAFETY: the handler only adds to an atomic.
        unsafe { libc::signal(libc::SIGTRAP, note_and_go_on as *const () as usize) };
        let armed = arm(&dir);
        for _ in 0..10 {
            // SAFETY: sends a signal to this thread, whose handler returns.
            unsafe { libc::raise(libc::SIGTRAP) };
        }
        assert_eq!(SEEN.load(Ordering::SeqCst), 10 * libc::SIGTRAP);
        let shared = &Snapshot::open(armed.recorder.path()).unwrap().rings[0];
        let numbers: Vec<_> = shared.crashes.iter().map(|crash| crash.number).collect();
        assert_eq!((shared.crashes_left, &numbers[..]), (10, &[0, 1, 2, 3, 6, 7, 8, 9][..]));
        let path = armed.recorder.path().to_owned();
        drop(armed);
        assert!(!path.exists());
        // SAFETY: as above; and no mark is left where nothing is mapped any more.
        unsafe { libc::raise(libc::SIGTRAP) };
        assert_eq!(SEEN.load(Ordering::SeqCst), 11 * libc::SIGTRAP);
        let _again = arm(&dir);
        // SAFETY: as above.
        unsafe { libc::raise(libc::SIGTRAP) };
        assert_eq!(SEEN.load(Ordering::SeqCst), 12 * libc::SIGTRAP);
        std::process::exit(7);
    }
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--test-threads=1"])
        .env(CHILD, dir.path())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(7));
}

/// The child of a fork loses what it records; the parent's rings hold the parent's events alone.
#[test]
fn what_a_forked_child_records_never_mixes_with_the_parents() {
    let test = "what_a_forked_child_records_never_mixes_with_the_parents";
    let die = |armed: Armed| {
        let mut lane = armed.recorder.open_lane("forks");
        lane.record(Event::operation(EventKind::USER, 1, 1));
        // SAFETY: the child calls nothing that another thread's lock could be held in; the recorder
        // is made to be used in it.
        let child = unsafe { libc::fork() };
        if child == 0 {
            (0..5_000).for_each(|n| lane.record(Event::operation(EventKind::USER, 1_000 + n, 2)));
            armed.recorder.record_rare(Event::rare(EventKind::USER, 2_000, 2), "the child's");
            // It dies, and leaves no mark in the parent's rings.
            std::process::abort();
        }
        let mut status = 0;
        // SAFETY: waits for the child just made.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert!(libc::WIFSIGNALED(status));
        lane.record(Event::operation(EventKind::USER, 2, 1));
        std::mem::forget((armed, lane));
        std::process::exit(0);
    };
    let Some((status, snapshot)) = autopsy(test, die) else { return };
    assert!(status.success(), "{status}");
    let snapshot = snapshot.unwrap();
    let own: Vec<_> = snapshot.events.iter().filter(|e| e.kind == EventKind::USER.0).collect();
    assert_eq!(own.iter().map(|event| event.a).collect::<Vec<_>>(), [1, 2]);
    assert!(crashes(&snapshot).is_empty());
}

#[cfg(feature = "symbols")]
#[test]
fn the_reader_names_the_function_that_crashed() {
    let test = "the_reader_names_the_function_that_crashed";
    let Some((_, snapshot)) = autopsy(test, |_armed| crash_in_here()) else { return };
    let mut snapshot = snapshot.unwrap();
    snapshot.name_frames();
    let names: Vec<_> = snapshot.rings[0].crashes[0].frames.iter().flat_map(|frame| &frame.symbols).collect();
    let crashed = names.iter().find(|symbol| symbol.function.contains("crash_in_here"));
    assert!(crashed.unwrap().place.as_ref().unwrap().contains("crash.rs"), "{names:?}");
}

#[cfg(feature = "symbols")]
#[inline(never)]
fn crash_in_here() {
    // SAFETY: none: it is meant to fault.
    unsafe { std::ptr::write_volatile(std::hint::black_box(0x1_0000_0040 as *mut u64), 1) };
}
