//! The report for a person: one table after the other, in 80 columns, without colour.

use std::io::{self, Write};

use super::bench::SeedRun;
use super::report::Report;

/// Writes the whole report.
///
/// # Errors
/// What `out` says.
pub fn write_table(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let machine = &report.machine;
    writeln!(
        out,
        "{} tokens in batches of {}, {} thread(s), {} rounds",
        report.tokens, report.batch, report.threads, report.rounds
    )?;
    writeln!(
        out,
        "{}, {} cores, Linux {}, {}\n",
        machine.cpu, machine.cores, machine.kernel, machine.filesystem
    )?;
    writeln!(out, "{:<34}{:>10}{:>18}{:>9}{:>8}", "run", "wall ms", "quartiles", "ns/token", "MB/s")?;
    run(out, "nothing on", &report.baseline)?;
    run(out, "everything on, log each N-th", &report.full_sampled_wal)?;
    run(out, "everything on, every token durable", &report.full_every_token)?;
    let disk = &report.disk;
    writeln!(out, "{:<34}{:>53.0}", "the disk, sequential, same minutes", disk.seq_write_mb_s)?;
    let every = &report.full_every_token;
    writeln!(
        out,
        "\n{} records durable; {:.0} % of the disk; stalled {:.1} ms; for 1,000 tokens the\nmaking threads made {:.4} reads and writes and waited {:.4} times\n",
        every.durable_records,
        disk.share_of_disk * 100.0,
        every.stalled_ms,
        every.io_calls_per_1000,
        every.waits_per_1000,
    )?;
    writeln!(
        out,
        "{:<12}{:>10}{:>12}{:>10}{:>8}  verdict",
        "layer", "alone ns", "removed ns", "spread", "share"
    )?;
    for (name, layer) in &report.layers {
        writeln!(
            out,
            "{name:<12}{:>10.2}{:>12.2}{:>10.2}{:>7.1}%  {}",
            layer.alone_ns,
            layer.removed_ns,
            layer.spread_ns,
            layer.share * 100.0,
            layer.verdict
        )?;
    }
    let ablation = &report.ablation;
    writeln!(
        out,
        "bare {:.2} + layers = {:.2} ns; full stack {:.2} ns: {}\n",
        ablation.baseline_ns.median,
        ablation.sum_ns,
        ablation.full_ns.median,
        if ablation.adds_up { "adds up within the spread" } else { "does NOT add up within the spread" }
    )?;
    let recovery = &report.recovery;
    writeln!(
        out,
        "recovery   {} records at {:.1} M/s after {} deaths; {} acknowledged, {} lost, {} mismatched",
        recovery.records,
        recovery.records_per_s / 1e6,
        recovery.deaths,
        recovery.acknowledged,
        recovery.lost_acknowledged,
        recovery.mismatched
    )?;
    let spans = &report.spans;
    writeln!(
        out,
        "spans      {:.2} ns unsampled, {:.2} at 1 %, {:.1} sampled ({} dropped)",
        spans.unsampled_ns, spans.sampled_1pct_ns, spans.sampled_ns, spans.dropped
    )?;
    let memory = &report.memory;
    writeln!(
        out,
        "memory     {:.2} bytes a token; stack {:.1} MiB; leaked {:.1} MiB; first touch {:.1} ns a token",
        memory.bytes_per_token,
        mib(memory.stack_overhead_bytes),
        mib(memory.leaked_bytes),
        memory.first_touch_ns
    )?;
    let quota = &report.quota;
    writeln!(
        out,
        "quota      limit {}: {} of {} let in, {} refused by name, {} false refusals, {} over; {} cleanup(s) freed {}\n",
        quota.limit,
        quota.admitted,
        quota.asked,
        quota.refused_by_name,
        quota.false_refusals,
        quota.overshoot,
        quota.cleanups,
        quota.freed_tokens
    )?;
    for budget in report.budgets.iter().filter(|budget| !budget.holds) {
        let relation = if budget.at_most { "at most" } else { "at least" };
        writeln!(
            out,
            "BROKEN     {} is {:.2}, budget {relation} {:.2}",
            budget.name, budget.measured, budget.bound
        )?;
    }
    let held = report.budgets.iter().filter(|budget| budget.holds).count();
    writeln!(out, "budgets    {held} of {} hold", report.budgets.len())
}

fn run(out: &mut dyn Write, name: &str, run: &SeedRun) -> io::Result<()> {
    let quartiles = format!("{:.0}–{:.0}", run.wall_spread_ms.lower, run.wall_spread_ms.upper);
    writeln!(
        out,
        "{name:<34}{:>10.1}{quartiles:>18}{:>9.1}{:>8.0}",
        run.wall_ms, run.ns_per_token, run.payload_mb_s
    )
}

#[expect(clippy::cast_precision_loss, reason = "megabytes")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
