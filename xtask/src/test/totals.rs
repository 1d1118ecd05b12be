//! Adding up what the runs said. A run that failed without saying why counts as one failure, and so
//! does one that found no test: silence is never a pass.

use crate::process;

/// What one harness run counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// Marked `#[ignore]`; in a run chosen by name, also those not chosen (nextest adds the two up).
    pub(super) ignored: u64,
}

/// A test that could not do its work here, and said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skip {
    pub(super) test: String,
    pub(super) reason: String,
}

/// What became of one run.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) succeeded: bool,
    /// `None` when the harness never got to its summary.
    pub(super) counts: Option<Counts>,
    pub(super) skips: Vec<Skip>,
    /// Whether finding no test is in order.
    pub(super) may_be_empty: bool,
    /// Whether tests were chosen by name, so that those left out are no skips.
    pub(super) filtered: bool,
}

/// The sum over all runs.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    passed: u64,
    failed: u64,
    skipped: u64,
    reasons: Vec<String>,
    failures: Vec<String>,
}

impl Totals {
    pub(super) fn add(&mut self, run: &str, outcome: Outcome) {
        let counts = outcome.counts.unwrap_or_default();
        let skipped = outcome.skips.len() as u64;
        // The harness counted a test that skipped itself as passed.
        self.passed += counts.passed.saturating_sub(skipped);
        self.failed += counts.failed;
        self.skipped += skipped;
        for skip in outcome.skips {
            self.reasons.push(format!("skipped: {run}: {}: {}", skip.test, skip.reason));
        }
        if !outcome.filtered && counts.ignored > 0 {
            self.skipped += counts.ignored;
            self.reasons.push(format!("skipped: {run}: {} marked #[ignore]", counts.ignored));
        }
        if counts.failed > 0 {
            self.failures.push(format!("failed: {run}: {} failed", counts.failed));
        } else if !outcome.succeeded && counts.passed == 0 && outcome.counts.is_some() {
            self.fail(run, "found no test to run");
        } else if !outcome.succeeded {
            self.fail(run, "did not build, or ended before its summary");
        } else if !outcome.may_be_empty && counts.passed == 0 {
            self.fail(run, "found no test to run");
        }
    }

    fn fail(&mut self, run: &str, why: &str) {
        self.failed += 1;
        self.failures.push(format!("failed: {run}: {why}"));
    }

    /// Whether nothing failed.
    pub(crate) fn passed(&self) -> bool {
        self.failed == 0
    }

    /// Writes each skip's reason, each run that failed, and last the line that counts.
    pub(crate) fn report(&self) {
        for line in self.reasons.iter().chain(&self.failures) {
            process::result(line);
        }
        process::result(&self.line());
    }

    fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(passed: u64, failed: u64, ignored: u64) -> Outcome {
        Outcome {
            succeeded: failed == 0,
            counts: Some(Counts { passed, failed, ignored }),
            skips: Vec::new(),
            may_be_empty: false,
            filtered: false,
        }
    }

    fn line_of(outcome: Outcome) -> String {
        let mut totals = Totals::default();
        totals.add("run", outcome);
        assert_eq!(totals.passed(), totals.failed == 0);
        totals.line()
    }

    #[test]
    fn runs_are_summed() {
        let mut totals = Totals::default();
        totals.add("a", outcome(3, 0, 0));
        totals.add("b", outcome(2, 1, 0));
        assert_eq!(totals.line(), "5 passed, 1 failed, 0 skipped");
        assert!(!totals.passed());
    }

    #[test]
    fn a_test_that_skipped_itself_is_not_counted_as_passed() {
        let skips = vec![Skip { test: "t".into(), reason: "no disk".into() }];
        let mut totals = Totals::default();
        totals.add("run", Outcome { skips, ..outcome(3, 0, 0) });
        assert_eq!(totals.line(), "2 passed, 0 failed, 1 skipped");
        assert_eq!(totals.reasons, ["skipped: run: t: no disk"]);
    }

    #[test]
    fn ignored_tests_are_skips_unless_the_run_chose_by_name() {
        assert_eq!(line_of(outcome(1, 0, 2)), "1 passed, 0 failed, 2 skipped");
        let chosen = Outcome { filtered: true, ..outcome(1, 0, 2) };
        assert_eq!(line_of(chosen), "1 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn a_run_without_a_summary_is_a_failure() {
        let broken = Outcome { succeeded: false, counts: None, ..outcome(0, 0, 0) };
        assert_eq!(line_of(broken), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_failing_exit_code_is_a_failure_though_all_counted_tests_passed() {
        let odd = Outcome { succeeded: false, ..outcome(4, 0, 0) };
        assert_eq!(line_of(odd), "4 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_run_that_found_no_test_is_a_failure_unless_that_is_in_order() {
        assert_eq!(line_of(outcome(0, 0, 0)), "0 passed, 1 failed, 0 skipped");
        let docs = Outcome { may_be_empty: true, ..outcome(0, 0, 0) };
        assert_eq!(line_of(docs), "0 passed, 0 failed, 0 skipped");
    }
}
