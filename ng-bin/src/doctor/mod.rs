//! What this machine offers the stack, what follows from it, and what to do about it.
//!
//! | idea | module |
//! |---|---|
//! | one finding | `check` |
//! | the kernel's files, the real ones or a copy | `system` |
//! | kernel, processors, clock, fences | `machine` |
//! | memory, huge pages, cgroup, pressure | `memory` |
//! | limits of the process | `limits` |
//! | the log's directory, tried with a real log; the recorder's | `disk` |
//!
//! It changes nothing and leaves nothing behind: a little log is opened beside the configured one
//! and taken away again.

mod check;
mod disk;
mod limits;
mod machine;
mod memory;
mod system;

pub use check::{Check, Verdict};
pub use system::System;

use crate::config::StackConfig;

/// Looks at everything that this configuration depends on. With `try_disk`, a little log is
/// written where the configured one is or would be.
#[must_use]
pub fn examine(system: &System, config: &StackConfig, try_disk: bool) -> Vec<Check> {
    let mut checks = machine::look(system);
    checks.extend(memory::look(system, config));
    checks.extend(limits::look(system));
    checks.extend(disk::look(system, config, try_disk));
    checks
}
