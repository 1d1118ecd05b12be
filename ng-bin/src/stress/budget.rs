//! The budgets of docs/stress.md, at any scale: times are by token.

use super::report::Report;

/// One budget and what was measured against it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Budget {
    /// What is bounded, by its name in the document.
    pub name: &'static str,
    /// What was measured.
    pub measured: f64,
    /// The bound.
    pub bound: f64,
    /// Whether `measured` may not be more than `bound` (or not less).
    pub at_most: bool,
    /// Whether it holds.
    pub holds: bool,
}

/// The seed's scale, at which the budgets in milliseconds are stated.
const SEED_TOKENS: f64 = 9_500_000.0;

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub(super) fn check(report: &Report) -> Vec<Budget> {
    let most = |name, measured: f64, bound: f64| Budget {
        name,
        measured,
        bound,
        at_most: true,
        holds: measured <= bound,
    };
    let least = |name, measured: f64, bound: f64| Budget {
        name,
        measured,
        bound,
        at_most: false,
        holds: measured >= bound,
    };
    let by_token = |ms: f64| ms * 1e6 / SEED_TOKENS;
    vec![
        most("baseline.ns_per_token", report.baseline.ns_per_token, by_token(120.0)),
        most("full_sampled_wal.ns_per_token", report.full_sampled_wal.ns_per_token, by_token(200.0)),
        most("full_every_token.ns_per_token", report.full_every_token.ns_per_token, by_token(1_500.0)),
        least("recovery.records_per_s", report.recovery.records_per_s, 5e6),
        most("recovery.lost_acknowledged", report.recovery.lost_acknowledged as f64, 0.0),
        most("recovery.mismatched", report.recovery.mismatched as f64, 0.0),
        // A whole chunk of 2 MiB may be begun for the last token of each lane.
        most("memory.bytes_per_token", report.memory.bytes_per_token, 64.0 + 8e6 / report.tokens as f64),
        most("memory.stack_overhead_bytes", report.memory.stack_overhead_bytes as f64, f64::from(64 << 20)),
        most("quota.false_refusals", report.quota.false_refusals as f64, 0.0),
        most("quota.overshoot", report.quota.overshoot as f64, 0.0),
        least("quota.cleanups", report.quota.cleanups as f64, 1.0),
        least("quota.freed_tokens", report.quota.freed_tokens as f64, 1.0),
        most("spans.unsampled_ns", report.spans.unsampled_ns, 5.0),
    ]
}
