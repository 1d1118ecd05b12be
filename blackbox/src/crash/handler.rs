//! The signal handler, and what it may touch: statics that are ready before it is installed.
//!
//! It stores a mark through pointers into the live pages of the recorders that are watched, counts
//! itself in and out so that such a page is never unmapped under it, and hands on. The stack is read
//! by `process_vm_readv(2)`, which says EFAULT where a load would fault again.
#![expect(unsafe_code, reason = "signal handlers, sigaction(2) and the thread's own state")]

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};

use crate::format::live;
use crate::region::Region;
use crate::{seal, ticks};

/// What a crash mark begins with.
const MARK_SIGNAL: u64 = 2;

pub(super) const SIGNALS: [c_int; 6] =
    [libc::SIGSEGV, libc::SIGABRT, libc::SIGBUS, libc::SIGILL, libc::SIGTRAP, libc::SIGFPE];

/// How many recorders can be watched at the same time.
pub(super) const TARGETS: usize = 8;
/// How many stretches of code a handler knows.
const CODE: usize = 64;
/// How much of the stack it looks through, in words: 8 KiB.
const STACK: usize = 1_024;
/// How much of it at a time: it runs on a small stack itself.
const CHUNK: usize = 32;

/// The live pages of the recorders that are watched; null where there is room.
static LIVE: [AtomicPtr<AtomicU64>; TARGETS] = [const { AtomicPtr::new(ptr::null_mut()) }; TARGETS];
/// How many handlers may be storing.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// Beginning and end of each stretch of code.
static CODE_AT: [[AtomicU64; 2]; CODE] = [const { [AtomicU64::new(0), AtomicU64::new(0)] }; CODE];
static PREVIOUS: [Previous; SIGNALS.len()] = [const { Previous::none() }; SIGNALS.len()];
static AT_EXIT: AtomicBool = AtomicBool::new(false);

/// What was installed for a signal before.
struct Previous {
    action: UnsafeCell<MaybeUninit<libc::sigaction>>,
    known: AtomicBool,
}

// SAFETY: `action` is written by `install` alone, one at a time and only while `known` is false,
// that is while no handler of ours is installed for the signal; it is read only where `known` is.
unsafe impl Sync for Previous {}

impl Previous {
    const fn none() -> Self {
        Self { action: UnsafeCell::new(MaybeUninit::uninit()), known: AtomicBool::new(false) }
    }

    fn get(&self) -> Option<libc::sigaction> {
        // SAFETY: `known` is set (Release) once `action` was written, and not written again before
        // it is unset.
        self.known.load(Ordering::Acquire).then(|| unsafe { (*self.action.get()).assume_init() })
    }
}

/// Has crashes marked in this live page. The caller keeps it mapped until [`forget`].
pub(super) fn watch(live: &Region) -> Option<usize> {
    let page = live.as_ptr().cast_mut();
    LIVE.iter().position(|slot| {
        slot.compare_exchange(ptr::null_mut(), page, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    })
}

/// No longer. When it returns no handler stores there.
pub(super) fn forget(slot: usize) {
    LIVE[slot].store(ptr::null_mut(), Ordering::SeqCst);
    // A handler counts itself in before it loads the pointer, and out after its last store.
    wait_for_handlers();
}

fn wait_for_handlers() {
    while RUNNING.load(Ordering::SeqCst) != 0 {
        std::thread::yield_now();
    }
}

pub(super) fn watches_none() -> bool {
    LIVE.iter().all(|slot| slot.load(Ordering::SeqCst).is_null())
}

/// Which stretches of memory are code.
pub(super) fn set_code(code: impl Iterator<Item = (u64, u64)>) {
    for ([start, end], (from, to)) in CODE_AT.iter().zip(code.chain(std::iter::repeat((0, 0)))) {
        start.store(from, Ordering::Relaxed);
        end.store(to, Ordering::Relaxed);
    }
}

/// Installs the handler for each signal that has not got it. Callers take turns.
pub(super) fn install() -> Result<(), (c_int, io::Error)> {
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        // Where others were installed on top of ours, ours is still called by them.
        if !previous.known.load(Ordering::Acquire)
            && let Err(error) = install_one(signal, previous)
        {
            remove();
            return Err((signal, error));
        }
    }
    if !AT_EXIT.swap(true, Ordering::SeqCst) {
        // SAFETY: the function is there for as long as the process. If there is no room for it an
        // exit looks like a kill, and no more.
        unsafe { libc::atexit(at_exit) };
    }
    Ok(())
}

fn install_one(signal: c_int, previous: &Previous) -> io::Result<()> {
    let mut before = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: only asks, and fills `before`.
    if unsafe { libc::sigaction(signal, ptr::null(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sigaction(2) filled it. All of a sigaction may be zero.
    let (before, mut ours) = unsafe { (before.assume_init(), std::mem::zeroed::<libc::sigaction>()) };
    ours.sa_sigaction = on_signal as *const () as usize;
    // What the previous handler wants blocked is blocked while ours calls it.
    ours.sa_mask = before.sa_mask;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | before.sa_flags & libc::SA_NODEFER;
    wait_for_handlers();
    // SAFETY: `known` is false, so no handler reads it that was not waited for; writers take turns.
    unsafe { (*previous.action.get()).write(before) };
    previous.known.store(true, Ordering::Release);
    // SAFETY: `on_signal` keeps to what a handler may do, and has what it hands on to.
    if unsafe { libc::sigaction(signal, &raw const ours, ptr::null_mut()) } != 0 {
        previous.known.store(false, Ordering::Release);
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Puts back what was there before, where nothing else was installed on top. Callers take turns.
pub(super) fn remove() {
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        let Some(before) = previous.get() else { continue };
        let mut now = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: asks first, and then puts back what sigaction(2) itself gave.
        unsafe {
            if libc::sigaction(signal, ptr::null(), now.as_mut_ptr()) == 0
                && now.assume_init().sa_sigaction == on_signal as *const () as usize
                && libc::sigaction(signal, &raw const before, ptr::null_mut()) == 0
            {
                // A handler that began before has its copy or will find none, and then does what
                // the default does.
                previous.known.store(false, Ordering::Release);
            }
        }
    }
}

/// A process that leaves by exit says so: its rings are no sign of a crash.
extern "C" fn at_exit() {
    RUNNING.fetch_add(1, Ordering::SeqCst);
    for slot in &LIVE {
        let page = slot.load(Ordering::SeqCst);
        if !page.is_null() {
            // SAFETY: mapped while it is in `LIVE` or a handler is counted in; see `forget`.
            let state = unsafe { &*page.add(live::STATE) };
            // The recorder may be closing in good order at the same time; that counts for more.
            let _ = state.compare_exchange(0, live::EXITED.to_le(), Ordering::SeqCst, Ordering::SeqCst);
        }
    }
    RUNNING.fetch_sub(1, Ordering::SeqCst);
}

/// What a mark holds but its number and its time.
struct Crash {
    tid: u64,
    signal: u64,
    address: u64,
    pc: u64,
    sp: u64,
}

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: a thread's errno is its own; the code that was interrupted must find it unchanged.
    let errno = unsafe { *libc::__errno_location() };
    RUNNING.fetch_add(1, Ordering::SeqCst);
    // SAFETY: the kernel gives a handler with SA_SIGINFO both, whole, for as long as it runs.
    let crash = unsafe { crash(signal, &*info, &*context.cast()) };
    for slot in &LIVE {
        let page = slot.load(Ordering::SeqCst);
        if !page.is_null() {
            // SAFETY: a live page is this long, and mapped while it is in `LIVE` or a handler is
            // counted in; see `forget`.
            let page = unsafe { std::slice::from_raw_parts(page, live::CRASHES_END) };
            leave_mark(page, &crash);
        }
    }
    let number = SIGNALS.iter().position(|&known| known == signal).unwrap_or(0);
    let previous = PREVIOUS[number].get();
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    // SAFETY: called in the handler, with what the kernel gave it.
    unsafe { hand_on(previous, signal, info, context) };
}

/// # Safety
/// Both as the kernel gave them to a handler for `signal`.
unsafe fn crash(signal: c_int, info: &libc::siginfo_t, context: &libc::ucontext_t) -> Crash {
    #[cfg(target_arch = "x86_64")]
    let (pc, sp) = {
        let registers = &context.uc_mcontext.gregs;
        (registers[libc::REG_RIP as usize] as u64, registers[libc::REG_RSP as usize] as u64)
    };
    #[cfg(target_arch = "aarch64")]
    let (pc, sp) = (context.uc_mcontext.pc, context.uc_mcontext.sp);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let (pc, sp) = {
        let _ = context;
        (0, 0)
    };
    // SAFETY: every siginfo is long enough for the address; it means something for faults only.
    let address = if info.si_code > 0 { unsafe { info.si_addr() as u64 } } else { 0 };
    // SAFETY: takes nothing and can't fail.
    let tid = unsafe { libc::syscall(libc::SYS_gettid) } as u64;
    let signal = u64::from(signal as u32) | u64::from(info.si_code as u32) << 32;
    Crash { tid, signal, address, pc, sp }
}

fn leave_mark(page: &[AtomicU64], crash: &Crash) {
    let number = page[live::CRASHES_TOTAL].fetch_add(1, Ordering::SeqCst);
    let at = live::CRASHES + live::mark_slot(u64::from_le(number)) * live::CRASH_WORDS;
    let (head, stack) = page[at..at + live::CRASH_WORDS].split_at(live::CRASH_FIXED + 1);
    let (Some((head_seal, head)), Some((stack_seal, stack))) = (head.split_last(), stack.split_last()) else {
        return;
    };
    // Unsealed first, so that a mark which took this slot before can't pass for a mixture.
    head_seal.store(0, Ordering::Relaxed);
    stack_seal.store(0, Ordering::Relaxed);
    fence(Ordering::Release);
    let content = [MARK_SIGNAL, ticks::now(), crash.tid, crash.signal, crash.address, crash.pc, crash.sp];
    for (slot, word) in head.iter().zip(content) {
        slot.store(word.to_le(), Ordering::Relaxed);
    }
    seal_words(head_seal, head, number);
    // From here on what is known is safe, whatever the stack is like.
    let mut free = stack.iter();
    'stack: for at in (0..STACK).step_by(CHUNK) {
        let mut words = [0u64; CHUNK];
        let read = read_stack(crash.sp.wrapping_add(at as u64 * 8), &mut words);
        for &word in words[..read].iter().filter(|word| is_code(**word)) {
            match free.next() {
                Some(slot) => slot.store(word.to_le(), Ordering::Relaxed),
                None => break 'stack,
            }
        }
        if read < CHUNK {
            break;
        }
    }
    free.for_each(|slot| slot.store(0, Ordering::Relaxed));
    seal_words(stack_seal, stack, number);
}

fn seal_words(sealed: &AtomicU64, content: &[AtomicU64], number: u64) {
    let words = content.iter().map(|word| u64::from_le(word.load(Ordering::Relaxed)));
    sealed.store(seal::words(u64::from_le(number) + 1, words).to_le(), Ordering::Release);
}

/// Reads words of this process that may not be there; how many were.
fn read_stack(from: u64, words: &mut [u64; CHUNK]) -> usize {
    let local = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: size_of_val(words) };
    let remote = libc::iovec { iov_base: from as *mut c_void, iov_len: size_of_val(words) };
    // SAFETY: writes at most what `words` has room for; what can't be read is an error.
    let read =
        unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).unwrap_or(0) / 8
}

fn is_code(word: u64) -> bool {
    CODE_AT
        .iter()
        .map(|range| [range[0].load(Ordering::Relaxed), range[1].load(Ordering::Relaxed)])
        .take_while(|[_, end]| *end != 0)
        .any(|[start, end]| (start..end).contains(&word))
}

/// Does what was to happen before ours was installed.
///
/// # Safety
/// In a handler, with what the kernel gave it.
unsafe fn hand_on(
    previous: Option<libc::sigaction>,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    let action = previous.map_or(libc::SIG_DFL, |previous| previous.sa_sigaction);
    let flags = previous.map_or(0, |previous| previous.sa_flags);
    // SAFETY: as above.
    let from_the_kernel = unsafe { (*info).si_code } > 0;
    if action == libc::SIG_DFL || action == libc::SIG_IGN && from_the_kernel {
        // A fault that is ignored would come again for ever: the kernel kills for it (signal(7)).
        // SAFETY: as above.
        return unsafe { die(signal, info) };
    }
    if action == libc::SIG_IGN {
        return;
    }
    if flags & libc::SA_RESETHAND != 0 {
        // SAFETY: what the kernel would have done before it called the handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: a handler with SA_SIGINFO has this form, and was the process's own.
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(action) };
        handler(signal, info, context);
    } else {
        // SAFETY: a handler without it has this one.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(action) };
        handler(signal);
    }
}

/// Has the default happen, which for these signals is the end, with the signal's own data for
/// whoever looks at the core.
///
/// # Safety
/// In a handler for `signal`, with what the kernel gave it.
unsafe fn die(signal: c_int, info: *mut libc::siginfo_t) {
    // SAFETY: queues the same signal to this very thread, which the kernel allows with any data; it
    // is delivered when the handler returns, to the default that is set before.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let (pid, tid) = (libc::getpid(), libc::syscall(libc::SYS_gettid));
        if libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signal, info) != 0 {
            libc::syscall(libc::SYS_tgkill, pid, tid, signal);
        }
    }
}
