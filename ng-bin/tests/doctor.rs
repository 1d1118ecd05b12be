//! `ng doctor`, completions and manual pages: on this machine, and on machines made of files.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test reports by panicking, a skip by a line"
)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use ng_stack::config::StackConfig;
use ng_stack::doctor::{Check, System, Verdict, examine};

fn ng(dir: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ng")).current_dir(dir).env_clear().args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A machine whose kernel says this.
fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let system = System::at(dir.path());
    (dir, system)
}

fn find<'c>(checks: &'c [Check], name: &str) -> &'c Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name} in {checks:?}"))
}

#[test]
fn each_thing_that_takes_something_away_is_told_with_what_follows_and_what_to_do() {
    let good = [
        ("/proc/sys/kernel/osrelease", "6.18.44"),
        ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
        ("/proc/cpuinfo", "flags : fpu constant_tsc nonstop_tsc\n"),
        ("/proc/meminfo", "MemTotal: 9999999 kB\nMemAvailable: 9999999 kB\n"),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
        ("/proc/pressure/memory", "some avg10=0.00 avg60=0.00\n"),
        (
            "/proc/self/limits",
            "Max open files 20000 20000 files\nMax locked memory unlimited unlimited bytes\n",
        ),
        ("/proc/sys/kernel/io_uring_disabled", "0\n"),
        (
            "/proc/self/mountinfo",
            "1 1 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:1 / /dev/shm rw - tmpfs tmpfs rw\n",
        ),
    ];
    let config = StackConfig::default();
    let (_kept, system) = machine(&good);
    let checks = examine(&system, &config, false);
    let worst = checks.iter().filter(|check| !["processors", "membarrier"].contains(&check.name));
    assert!(worst.clone().all(|check| check.verdict <= Verdict::Note), "{checks:#?}");

    for (file, says, name, verdict, fix) in [
        ("/proc/sys/kernel/osrelease", "5.4.0-generic", "kernel", Verdict::Warn, "5.11"),
        (
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
            "hpet",
            "clock",
            Verdict::Warn,
            "clocksource=tsc",
        ),
        (
            "/proc/meminfo",
            "MemAvailable: 200000 kB",
            "memory",
            Verdict::Bad,
            "guardian.max_tokens to at most 2151424",
        ),
        (
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "always madvise [never]",
            "huge pages",
            Verdict::Warn,
            "engine.populate_tokens",
        ),
        (
            "/proc/self/limits",
            "Max open files 1024 4096 files",
            "open files",
            Verdict::Warn,
            "LimitNOFILE=4096",
        ),
        ("/proc/sys/kernel/io_uring_disabled", "2", "io_uring", Verdict::Warn, "kernel.io_uring_disabled=0"),
        ("/proc/self/mountinfo", "1 1 0:1 / / rw - tmpfs tmpfs rw", "log directory", Verdict::Bad, "wal.dir"),
        (
            "/proc/self/mountinfo",
            "1 1 0:1 / / rw - overlay overlay rw",
            "log directory",
            Verdict::Warn,
            "volume",
        ),
        (
            "/proc/self/mountinfo",
            "1 1 0:1 / / rw - nfs4 host:/x rw",
            "log directory",
            Verdict::Warn,
            "local disk",
        ),
        (
            "/proc/self/mountinfo",
            "1 1 8:1 / / rw - ext4 /dev/sda rw",
            "recorder's rings",
            Verdict::Warn,
            "blackbox.dir",
        ),
    ] {
        let mut files = good.to_vec();
        files.retain(|(path, _)| *path != file);
        files.push((file, says));
        let (_kept, system) = machine(&files);
        let checks = examine(&system, &config, false);
        let check = find(&checks, name);
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert!(check.fix.as_ref().unwrap().contains(fix), "{check:?}");
        assert!(check.consequence.len() > 10, "{check:?}");
    }
}

#[test]
fn the_limit_of_a_cgroup_above_counts_in_both_versions() {
    for files in [
        [
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/sys/fs/cgroup/a/memory.max", "104857600\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
        ],
        [
            ("/proc/self/cgroup", "4:memory:/a/b\n0::/\n"),
            ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "104857600\n"),
            ("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
        ],
    ] {
        let (_kept, system) = machine(&files);
        let checks = examine(&system, &StackConfig::default(), false);
        let memory = find(&checks, "memory");
        assert_eq!(memory.verdict, Verdict::Bad);
        assert!(memory.found.starts_with("100 MiB by the cgroup's limit"), "{memory:?}");
    }
}

#[test]
fn a_machine_that_says_nothing_is_no_fault() {
    let (_kept, system) = machine(&[]);
    let checks = examine(&system, &StackConfig::default(), false);
    assert!(checks.iter().all(|check| check.verdict != Verdict::Bad), "{checks:#?}");
}

#[test]
fn this_machine_is_told_in_words_and_as_data_and_nothing_stays_behind() {
    let dir = tempfile::tempdir().unwrap();
    let words = ng(dir.path(), &["doctor"]);
    let data = ng(dir.path(), &["doctor", "--json"]);
    assert!([0, 1].contains(&words.status.code().unwrap()), "{}", text(&words.stderr));
    assert_eq!(words.status.code(), data.status.code());
    let told: serde_json::Value = serde_json::from_slice(&data.stdout).unwrap();
    let checks = told["checks"].as_array().unwrap();
    assert!(checks.len() >= 12, "{told}");
    for check in checks {
        assert!(text(&words.stdout).contains(check["name"].as_str().unwrap()), "{check}");
    }
    if cfg!(feature = "wal") {
        assert!(checks.iter().any(|check| check["name"] == "log, tried"), "{told}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "something was left behind");
}

#[test]
fn a_directory_that_can_not_be_written_is_bad_and_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ng.toml"), "[wal]\ndir = \"/proc/self/wal\"\n").unwrap();
    let said = ng(dir.path(), &["doctor", "--config", "ng.toml"]);
    if cfg!(feature = "wal") {
        assert_eq!(said.status.code(), Some(1), "{}", text(&said.stdout));
        assert!(text(&said.stdout).contains("BAD   log, tried"), "{}", text(&said.stdout));
    }
    std::fs::write(dir.path().join("ng.toml"), "[wal]\ndri = \"x\"\n").unwrap();
    assert_eq!(ng(dir.path(), &["doctor", "--config", "ng.toml"]).status.code(), Some(78));
}

#[test]
fn every_command_has_a_page_that_groff_takes() {
    let dir = tempfile::tempdir().unwrap();
    assert!(ng(dir.path(), &["man", "man1"]).status.success());
    let help = text(&ng(dir.path(), &["--help"]).stdout);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands =
        commands.take_while(|line| line.starts_with("  ")).filter_map(|line| line.split_whitespace().next());
    let mut seen = 0;
    for command in commands.filter(|command| *command != "help") {
        let page = std::fs::read_to_string(dir.path().join(format!("man1/ng-{command}.1"))).unwrap();
        assert!(page.contains(".SH DESCRIPTION") && page.contains(&format!("ng\\-{command}")), "{page}");
        seen += 1;
    }
    assert!(seen >= 8, "{help}");
    assert!(!dir.path().join("man1/ng-stress-child.1").exists(), "it is not for people");
    assert!(text(&ng(dir.path(), &["man"]).stdout).starts_with(".ie"));

    let Ok(groff) = Command::new("groff").arg("--version").output() else {
        println!("skipped: there is no groff to read the pages");
        return;
    };
    drop(groff);
    for page in std::fs::read_dir(dir.path().join("man1")).unwrap() {
        let path = page.unwrap().path();
        let read = Command::new("groff").args(["-man", "-ww", "-z"]).arg(&path).output().unwrap();
        let said = text(&read.stderr);
        assert!(read.status.success() && !said.contains("error"), "{}: {said}", path.display());
    }
}

#[test]
fn completions_are_made_for_every_shell_and_read_by_those_that_are_here() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let made = ng(dir.path(), &["completions", shell]);
        assert!(made.status.success());
        let script = text(&made.stdout);
        assert!(script.contains("doctor") && script.contains("ingest"), "{shell}");
        std::fs::write(dir.path().join(shell), &script).unwrap();
    }
    // Bash says what it would offer after `ng co`.
    let ask = "source ./bash; COMP_WORDS=(ng co); COMP_CWORD=1; _ng ng co ng; echo ${COMPREPLY[@]}";
    let Ok(offered) = Command::new("bash").current_dir(dir.path()).args(["-c", ask]).output() else {
        println!("skipped: there is no bash to complete a word");
        return;
    };
    assert_eq!(text(&offered.stdout).trim(), "config completions", "{}", text(&offered.stderr));
}

#[test]
fn a_reader_that_went_away_is_no_failure_of_these_either() {
    let dir = tempfile::tempdir().unwrap();
    for words in [&["man"][..], &["completions", "bash"], &["config", "schema"], &["doctor", "--no-write"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ng"))
            .current_dir(dir.path())
            .env_clear()
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{words:?}: {}", text(&ended.stderr));
        assert!(!text(&ended.stderr).contains("panicked"), "{words:?}");
    }
}
