//! The two test harnesses: how each is called, and what its output says. It starts nothing.

use std::path::{Path, PathBuf};

use super::Kind;
use super::totals::{Counts, Skip};
use crate::workspace::Workspace;

/// The nextest profile in `.config/nextest.toml` that keeps what passing tests print.
const PROFILE: &str = "xtask";

/// What a test prints before its reason when it can't do its work here.
const MARK: &str = "skipped: ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harness {
    Nextest,
    CargoTest,
}

/// Nextest where it is installed.
pub(super) fn installed(workspace: &Workspace) -> Harness {
    match workspace.cargo(["nextest", "--version"]).answer() {
        Ok(_) => Harness::Nextest,
        Err(_) => Harness::CargoTest,
    }
}

/// Where nextest writes what each test printed, below a target folder.
pub(super) fn report_file(target: &Path) -> PathBuf {
    target.join("nextest").join(PROFILE).join("junit.xml")
}

impl Harness {
    /// Cargo's arguments for one run.
    pub(super) fn args(self, kind: Kind, select: &[String]) -> Vec<String> {
        let mut args: Vec<&str> = match self {
            Self::Nextest => vec!["nextest", "run", "--profile", PROFILE],
            Self::CargoTest => vec!["test", "--no-fail-fast"],
        };
        args.extend(select.iter().map(String::as_str));
        args.extend(match (self, kind) {
            (_, Kind::Docs) => &["--doc"][..],
            (Self::Nextest, Kind::Tests) => &[],
            (Self::Nextest, Kind::Loom) => &["--cargo-profile", "release", "--lib", "--tests", "loom"],
            (Self::CargoTest, Kind::Tests) => &["--lib", "--bins", "--tests", "--examples"],
            (Self::CargoTest, Kind::Loom) => &["--release", "--lib", "--tests", "loom"],
        });
        if self == Self::CargoTest {
            args.extend(["--", "--show-output"]);
        }
        args.into_iter().map(str::to_owned).collect()
    }

    /// The sum of the summaries in `lines`; `None` when there is none, since nothing was run.
    pub(super) fn counts(self, lines: &[String]) -> Option<Counts> {
        let found = lines.iter().filter_map(|line| match self {
            Self::Nextest => nextest_summary(line),
            Self::CargoTest => libtest_summary(line),
        });
        found.reduce(|sum, one| Counts {
            passed: sum.passed + one.passed,
            failed: sum.failed + one.failed,
            ignored: sum.ignored + one.ignored,
        })
    }
}

/// Reads `Summary [ 0.010s] 7 tests run: 5 passed (1 slow), 1 failed, 1 timed out, 2 skipped`.
fn nextest_summary(line: &str) -> Option<Counts> {
    let (_, after_time) = line.trim_start().strip_prefix("Summary [")?.split_once(']')?;
    let (_, results) = after_time.split_once(" run:")?;
    Some(sum_named(&without_parentheses(results), ',', |name| match name {
        "passed" => Some(Field::Passed),
        "failed" | "timed out" | "exec failed" => Some(Field::Failed),
        "skipped" => Some(Field::Ignored),
        _ => None,
    }))
}

/// Reads `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; …`.
fn libtest_summary(line: &str) -> Option<Counts> {
    let (_, results) = line.trim_start().strip_prefix("test result: ")?.split_once(". ")?;
    Some(sum_named(results, ';', |name| match name {
        "passed" => Some(Field::Passed),
        "failed" => Some(Field::Failed),
        "ignored" => Some(Field::Ignored),
        _ => None,
    }))
}

enum Field {
    Passed,
    Failed,
    Ignored,
}

fn sum_named(results: &str, separator: char, field: impl Fn(&str) -> Option<Field>) -> Counts {
    let mut counts = Counts::default();
    for part in results.split(separator) {
        let Some((number, name)) = part.trim().split_once(' ') else { continue };
        let (Ok(number), Some(field)) = (number.parse::<u64>(), field(name.trim())) else { continue };
        match field {
            Field::Passed => counts.passed += number,
            Field::Failed => counts.failed += number,
            Field::Ignored => counts.ignored += number,
        }
    }
    counts
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_usize;
    let mut kept = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(letter),
            _ => {}
        }
    }
    kept
}

/// The skips in nextest's JUnit file: each test that printed the mark, with its reasons.
pub(super) fn skips_in_report(xml: &str) -> Vec<Skip> {
    let mut skips = Skips::default();
    for line in xml.lines() {
        if let Some(name) = line.split_once("<testcase name=\"").and_then(|(_, it)| it.split_once('"')) {
            skips.enter(&unescape(name.0));
        }
        skips.read(&unescape(line.trim_end_matches("</system-out>").trim_end_matches("</system-err>")));
    }
    skips.found
}

/// The skips in what `cargo test -- --show-output` printed.
pub(super) fn skips_in_output(lines: &[String]) -> Vec<Skip> {
    let mut skips = Skips::default();
    for line in lines {
        if let Some(name) = line.strip_prefix("---- ").and_then(|it| it.strip_suffix(" stdout ----")) {
            skips.enter(name);
        }
        skips.read(line);
    }
    skips.found
}

#[derive(Default)]
struct Skips {
    test: String,
    /// Whether the last of `found` is this test's; tests of two crates may share a name.
    has_one: bool,
    found: Vec<Skip>,
}

impl Skips {
    fn enter(&mut self, test: &str) {
        test.clone_into(&mut self.test);
        self.has_one = false;
    }

    /// Takes a line that begins with the mark: at its start, behind the harness's `test x ... `,
    /// or behind the XML element that opens the output.
    fn read(&mut self, line: &str) {
        let Some((before, reason)) = line.split_once(MARK) else { return };
        let opens = before.trim().is_empty() || before.ends_with("... ") || before.ends_with('>');
        if !opens || self.test.is_empty() {
            return;
        }
        let reason = reason.trim().to_owned();
        match self.found.last_mut() {
            Some(last) if self.has_one => {
                if !last.reason.contains(&reason) {
                    last.reason = format!("{}; {reason}", last.reason);
                }
            }
            _ => {
                self.has_one = true;
                self.found.push(Skip { test: self.test.clone(), reason });
            }
        }
    }
}

fn unescape(xml: &str) -> String {
    xml.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn nextest_counts_are_read_with_slow_and_timed_out_tests() {
        let output = "   PASS x\n     Summary [   1.010s] 9/12 tests run: 6 passed (1 slow, 1 flaky), \
                      2 failed, 1 timed out, 3 skipped";
        let counts = Harness::Nextest.counts(&lines(output)).unwrap();
        assert_eq!(counts, Counts { passed: 6, failed: 3, ignored: 3 });
    }

    #[test]
    fn cargo_test_counts_are_summed_over_binaries() {
        let output = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; \
                      finished in 0.00s\ntest result: FAILED. 1 passed; 2 failed; 0 ignored; \
                      0 measured; 0 filtered out; finished in 0.00s";
        let counts = Harness::CargoTest.counts(&lines(output)).unwrap();
        assert_eq!(counts, Counts { passed: 6, failed: 2, ignored: 1 });
    }

    #[test]
    fn output_without_a_summary_has_no_counts() {
        assert_eq!(Harness::Nextest.counts(&lines("error: could not compile `x`")), None);
        assert_eq!(Harness::CargoTest.counts(&lines("error: could not compile `x`")), None);
    }

    #[test]
    fn a_skip_is_read_from_the_report_with_its_test_and_reason() {
        let xml = r#"<testsuite name="ng-wal">
            <testcase name="crash::survives" classname="ng-wal">
                <system-out>
running 1 test
test crash::survives ... skipped: needs 2 &amp; a half disks
ok</system-out>
            </testcase>
            <testcase name="other" classname="ng-wal">
                <system-err>skipped: no perf counters</system-err>
            </testcase>
            <testcase name="third"><system-out>12 records were skipped: fine</system-out></testcase>"#;
        let skip = |test: &str, reason: &str| Skip { test: test.into(), reason: reason.into() };
        assert_eq!(
            skips_in_report(xml),
            [skip("crash::survives", "needs 2 & a half disks"), skip("other", "no perf counters")]
        );
    }

    #[test]
    fn two_tests_of_one_name_are_two_skips() {
        let one = "<testcase name=\"t\">\nskipped: no disk\nskipped: no disk\n</testcase>\n";
        assert_eq!(skips_in_report(&one.repeat(2)).len(), 2);
    }

    #[test]
    fn a_skip_is_read_from_cargo_test_output() {
        let output = "successes:\n\n---- a::b stdout ----\nskipped: no disk\nskipped: no disk\n\n\
                      ---- a::c stdout ----\nfine\n";
        let found = skips_in_output(&lines(output));
        assert_eq!(found, [Skip { test: "a::b".into(), reason: "no disk".into() }]);
    }

    #[test]
    fn models_run_in_release_and_by_name_in_both_harnesses() {
        for harness in [Harness::Nextest, Harness::CargoTest] {
            let args = harness.args(Kind::Loom, &["--package".into(), "a".into()]).join(" ");
            assert!(args.contains("--package a") && args.contains("release"), "{args}");
            assert!(args.contains(" loom"), "{args}");
        }
    }
}
