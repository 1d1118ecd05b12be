//! Kernel, processors, clock and fences.

use super::check::{Check, Verdict};
use super::system::System;

pub(super) fn look(system: &System) -> Vec<Check> {
    vec![kernel(system), cores(system), clock(system), fence()]
}

/// The first kernel that has all that the log's ring uses (`wal.backend`).
const URING_KERNEL: (u64, u64) = (5, 11);

fn kernel(system: &System) -> Check {
    const NAME: &str = "kernel";
    let Some(release) = system.read("/proc/sys/kernel/osrelease") else {
        return Check::new(
            NAME,
            Verdict::Warn,
            "not Linux",
            "the log writes by the back end `std` only, \
and fences are full ones",
        )
        .fix("run on Linux 5.11 or later");
    };
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u64>().ok());
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= URING_KERNEL {
        Check::new(NAME, Verdict::Good, release, "it has everything that the stack uses")
    } else {
        Check::new(
            NAME,
            Verdict::Warn,
            release,
            "the log falls back to ordinary writes: about half the speed",
        )
        .fix("run on Linux 5.11 or later")
    }
}

fn cores(system: &System) -> Check {
    const NAME: &str = "processors";
    let there = std::thread::available_parallelism().map_or(1, usize::from);
    // "max 100000" or microseconds of processor time in a period, cgroup-v2.rst.
    let quota = system.read("/sys/fs/cgroup/cpu.max").and_then(|text| {
        let mut words = text.split_whitespace().map(str::parse::<f64>);
        Some(words.next()?.ok()? / words.next()?.ok()?)
    });
    if let Some(quota) = quota.filter(|quota| *quota < 1.5) {
        let found = format!("{there} of them, {quota:.2} by the cgroup's quota");
        return Check::new(
            NAME,
            Verdict::Warn,
            found,
            "makers are stopped for tens of milliseconds when the \
quota is used up, and the log's writer with them",
        )
        .fix("raise the container's CPU limit to 2 or more, or set none");
    }
    match there {
        1 => Check::new(
            NAME,
            Verdict::Warn,
            "1",
            "makers and the log's writer take turns: tokens come at \
half the speed",
        )
        .fix("give it 2 processors or more"),
        many => Check::new(NAME, Verdict::Good, many.to_string(), "the log's writer has one beside a maker"),
    }
}

fn clock(system: &System) -> Check {
    const NAME: &str = "clock";
    let source = system
        .read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
        .unwrap_or_else(|| "unknown".to_owned());
    let flags = system.read("/proc/cpuinfo").unwrap_or_default();
    let flag = |name: &str| flags.split_whitespace().any(|word| word == name);
    let steady = flag("constant_tsc") && (flag("nonstop_tsc") || source == "tsc" || source == "kvm-clock");
    match source.as_str() {
        "tsc" | "kvm-clock" | "arch_sys_counter" | "hyperv_clocksource_tsc_page"
            if steady || !cfg!(target_arch = "x86_64") =>
        {
            Check::new(
                NAME,
                Verdict::Good,
                format!("{source}, steady"),
                "times are read without a system call, \
and the flight recorder's order holds between processors",
            )
        }
        "tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" => Check::new(
            NAME,
            Verdict::Note,
            format!(
                "{source}; the processor does not promise a constant, \
unstopped TSC"
            ),
            "times of the flight recorder may drift between two of its clock pairs",
        ),
        "unknown" => Check::new(NAME, Verdict::Note, "unknown source", "times may cost a system call"),
        slow => Check::new(
            NAME,
            Verdict::Warn,
            slow,
            "each reading of the time is a system call of about a \
microsecond: sampled operations and spans pay it, others do not",
        )
        .fix("boot with `clocksource=tsc`, if the machine's TSC is stable"),
    }
}

fn fence() -> Check {
    const NAME: &str = "membarrier";
    match ng_core::fence::strategy() {
        ng_core::fence::Strategy::Membarrier => {
            Check::new(NAME, Verdict::Good, "works", "lanes pay no fence at admission and append")
        }
        ng_core::fence::Strategy::FullFence => Check::new(
            NAME,
            Verdict::Warn,
            "refused",
            "every admission and append pays a full fence, some 5 ns",
        )
        .fix("allow membarrier(2) in the sandbox's seccomp profile"),
    }
}
