//! `cargo xtask powercut`: true power cuts. A log is written on a disk whose power is cut while the
//! writer says what is durable; then the disk is mounted again and every record that was said to be
//! durable must be there. The negative control writes without syncs, and must lose records: else
//! the cut proves nothing. What the log promises is the business of `wal/examples/powercut.rs`.

mod rig;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cli::{EXIT_BROKEN, EXIT_FAILED, EXIT_OK};
use crate::error::Error;
use crate::process::{self, note, result};
use crate::workspace::{Build, Workspace};
use rig::Bench;

/// So many cuts on one disk, each writer going on where the one before it was cut; then a new one.
const CUTS_A_DISK: u32 = 5;
/// One control for so many cuts, and one at least.
const CUTS_A_CONTROL: u32 = 10;
/// Until a writer has said the first word.
const PATIENCE: Duration = Duration::from_secs(30);

/// What can be asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// How many power cuts.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) runs: u32,
    /// Decides when the power goes, so that a run can be repeated as far as timing can.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,
    /// One back end of the log only: `uring`, `mmap`, `std` or `auto`; without, each in turn.
    #[arg(long, value_name = "KIND")]
    pub(crate) backend: Option<String>,
    /// What was found, as one JSON document.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// How the program is built whose power is cut.
    #[arg(skip = Build::Release)]
    pub(crate) build: Build,
}

/// What became of all.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Why nothing was done.
    pub(crate) skipped: Option<String>,
    runs: u32,
    acknowledged: u64,
    recovered: u64,
    /// Runs in which an acknowledged record was gone.
    losing: u32,
    controls: u32,
    losing_controls: u32,
    control_lost: u64,
    seconds: f64,
}

impl Outcome {
    pub(crate) fn passed(&self) -> bool {
        self.skipped.is_some() || (self.losing == 0 && self.losing_controls > 0)
    }

    /// The line that counts.
    pub(crate) fn line(&self) -> String {
        if let Some(why) = &self.skipped {
            return format!("skipped: {why}");
        }
        format!(
            "{} power cuts in {:.0} s: {} records acknowledged, {} recovered, {} runs lost some; \
             control without syncs: {} of {} lost some ({} records)",
            self.runs,
            self.seconds,
            self.acknowledged,
            self.recovered,
            self.losing,
            self.losing_controls,
            self.controls,
            self.control_lost
        )
    }

    fn json(&self) -> String {
        let skipped = self.skipped.as_ref().map_or_else(|| "null".to_owned(), |why| format!("{why:?}"));
        format!(
            "{{\n  \"skipped\": {skipped},\n  \"runs\": {},\n  \"acknowledged\": {},\n  \"recovered\": {},\n  \
             \"runs_that_lost\": {},\n  \"controls\": {},\n  \"controls_that_lost\": {},\n  \
             \"control_records_lost\": {},\n  \"seconds\": {:.1}\n}}\n",
            self.runs,
            self.acknowledged,
            self.recovered,
            self.losing,
            self.controls,
            self.losing_controls,
            self.control_lost,
            self.seconds
        )
    }
}

/// Cuts, reports and answers with an exit code.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<u8, Error> {
    let outcome = cut_all(workspace, args)?;
    if let Some(file) = &args.json
        && let Err(error) = fs::write(file, outcome.json())
    {
        note(&format!("error: write {}: {error}", file.display()));
        return Ok(EXIT_BROKEN);
    }
    result(&outcome.line());
    Ok(if outcome.passed() { EXIT_OK } else { EXIT_FAILED })
}

/// All cuts and their controls.
pub(crate) fn cut_all(workspace: &Workspace, args: &Args) -> Result<Outcome, Error> {
    if let Some(why) = rig::obstacle() {
        return Ok(Outcome { skipped: Some(why), ..Outcome::default() });
    }
    // Short, since a socket's path may not be long.
    let folder = std::env::temp_dir().join(format!("ng-powercut-{}", std::process::id()));
    // Root in a container may have all programs and still not be allowed to mount.
    let tried = Bench::new(&folder).and_then(|bench| {
        bench.format()?;
        bench.power_on().map(drop)
    });
    if let Err(error) = tried {
        drop(fs::remove_dir_all(&folder));
        let why = format!("the disk for the power cuts can't be set up here: {error}");
        return Ok(Outcome { skipped: Some(why), ..Outcome::default() });
    }
    // The workspace's choice of features has every back end, and the tests have built it so already.
    let build = workspace.cargo(["build", "--workspace", "--example", "powercut"]);
    let build = build.args(args.build.flags());
    let shown = build.shown().to_owned();
    let status = build.run()?;
    if !status.success() {
        return Err(Error::Failed { command: shown, status: status.to_string(), stderr: String::new() });
    }
    let program = workspace.target().join(args.build.folder()).join("examples").join("powercut");
    let began = Instant::now();
    let outcome = (|| {
        let bench = Bench::new(&folder)?;
        let mut all = Outcome::default();
        let mut random = args.seed;
        // What was found once must be there after each further cut.
        let mut before = [0; 2];
        let controls = args.runs.div_ceil(CUTS_A_CONTROL);
        for run in 0..args.runs + controls {
            let control = run >= args.runs;
            if control || run % CUTS_A_DISK == 0 {
                bench.format()?;
                before = [0; 2];
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let delay = Duration::from_micros(20_000 + (random >> 33) % 280_000);
            let (mode, back_end) = if control { ("os", "std") } else { plan(run, args.backend.as_deref()) };
            let cut = cut_once(&bench, &program, [mode, back_end], delay, before)?;
            before = cut.found;
            note(&format!("{:>4}: {mode:<5} {back_end:<5} {}", run + 1, cut.line(delay)));
            all.count(&cut, control);
        }
        Ok(all)
    })();
    drop(fs::remove_dir_all(&folder));
    match outcome {
        Ok(all) => Ok(Outcome { seconds: began.elapsed().as_secs_f64(), ..all }),
        Err(source) => {
            let source: io::Error = source;
            Err(Error::Output { command: "the power cut".to_owned(), source })
        }
    }
}

impl Outcome {
    fn count(&mut self, cut: &Cut, control: bool) {
        if control {
            self.controls += 1;
            self.losing_controls += u32::from(!cut.complete);
            self.control_lost += cut.missing();
            return;
        }
        self.runs += 1;
        self.losing += u32::from(!cut.complete);
        // What earlier cuts of the same disk counted is not counted again.
        let new = |counts: [u64; 2]| {
            counts.iter().zip(cut.before).map(|(now, before)| now - before.min(*now)).sum::<u64>()
        };
        self.acknowledged += new(cut.said);
        self.recovered += new(cut.found);
    }
}

/// Mode and back end of a run: each back end in turn, and each fourth time each record by itself.
fn plan(run: u32, backend: Option<&str>) -> (&'static str, &str) {
    let mode = if run % 4 == 3 { "each" } else { "group" };
    (mode, backend.unwrap_or(["uring", "std", "uring", "mmap", "uring"][run as usize % 5]))
}

/// One power cut.
#[derive(Debug)]
struct Cut {
    /// What each thread of the writer said was durable, or was found after the cut before.
    said: [u64; 2],
    /// What was found after the cut before.
    before: [u64; 2],
    /// What was there afterwards.
    found: [u64; 2],
    complete: bool,
}

impl Cut {
    fn missing(&self) -> u64 {
        self.said.iter().zip(self.found).map(|(said, found)| said.saturating_sub(found)).sum()
    }

    fn line(&self, delay: Duration) -> String {
        let verdict = if self.complete { "all there" } else { "LOST" };
        let [said, found] = [self.said, self.found].map(|counts| counts.iter().sum::<u64>());
        format!(
            "cut after {:>5.1} ms: {said} acknowledged, {found} recovered: {verdict}",
            delay.as_secs_f64() * 1e3
        )
    }
}

fn cut_once(
    bench: &Bench,
    program: &Path,
    [mode, back_end]: [&str; 2],
    delay: Duration,
    before: [u64; 2],
) -> io::Result<Cut> {
    let log = bench.disk().join("log");
    let mut powered = bench.power_on()?;
    let mut writer = Command::new(program)
        .args(["write".as_ref(), log.as_os_str(), mode.as_ref(), back_end.as_ref()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let lines = lines_of(&mut writer);
    let mut said = before;
    let outcome = listen(&lines, &mut said, delay).and_then(|()| powered.cut());
    // What it says after the cut can only be true if it syncs.
    drop(writer.kill());
    if mode != "os" {
        lines.iter().for_each(|line| hear(&line, &mut said));
    }
    drop(writer.wait());
    drop(powered);
    outcome?;
    let mounted = bench.mount_image()?;
    let check = Command::new(program)
        .args(["check".as_ref(), log.as_os_str()])
        .args(said.map(|count| count.to_string()))
        .output()?;
    drop(mounted);
    let answer = String::from_utf8_lossy(&check.stdout).into_owned();
    let mut counts = answer.split_whitespace().skip(1).map(str::parse);
    let found = [(); 2].map(|()| counts.next().and_then(Result::ok).unwrap_or(0));
    let complete = process::exit_code(check.status) == EXIT_OK;
    let complaint = String::from_utf8_lossy(&check.stderr);
    if !complete && !complaint.is_empty() {
        note(complaint.trim());
    }
    Ok(Cut { said, before, found, complete })
}

/// Listens for `delay` after the first word.
fn listen(lines: &Receiver<String>, said: &mut [u64; 2], delay: Duration) -> io::Result<()> {
    let gone = || io::Error::other("the writer ended by itself, or never said a word");
    hear(&lines.recv_timeout(PATIENCE).map_err(|_| gone())?, said);
    let since = Instant::now();
    while let Some(rest) = delay.checked_sub(since.elapsed()).filter(|rest| !rest.is_zero()) {
        match lines.recv_timeout(rest) {
            Ok(line) => hear(&line, said),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => {
                sleep(Duration::from_millis(1));
                return Err(gone());
            }
        }
    }
    Ok(())
}

fn hear(line: &str, said: &mut [u64; 2]) {
    let mut words = line.split_whitespace().skip(1).map(str::parse::<u64>);
    if let (Some(Ok(thread)), Some(Ok(count))) = (words.next(), words.next())
        && let Some(most) = usize::try_from(thread).ok().and_then(|thread| said.get_mut(thread))
    {
        *most = count.max(*most);
    }
}

fn lines_of(writer: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    if let Some(out) = writer.stdout.take() {
        std::thread::spawn(move || {
            // A line cut off by the kill has no end, and says nothing.
            let mut out = BufReader::new(out);
            let mut line = String::new();
            while matches!(out.read_line(&mut line), Ok(read) if read > 0) && line.ends_with('\n') {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_writer_says_is_heard() {
        let mut said = [0; 2];
        for line in
            ["durable 0 7", "durable 1 9", "durable 0 5", "durable 2 1", "durable 1", "", "durable x 4"]
        {
            hear(line, &mut said);
        }
        assert_eq!(said, [7, 9]);
    }

    #[test]
    fn a_run_without_a_losing_control_proves_nothing() {
        let clean = Outcome { runs: 3, controls: 1, ..Outcome::default() };
        assert!(!clean.passed());
        assert!(Outcome { losing_controls: 1, ..clean }.passed());
        let lost = Outcome { runs: 3, losing: 1, controls: 1, losing_controls: 1, ..Outcome::default() };
        assert!(!lost.passed());
    }

    #[test]
    fn a_skip_says_so_where_it_is_counted() {
        let outcome = Outcome { skipped: Some("no root".into()), ..Outcome::default() };
        assert!(outcome.passed());
        assert_eq!(outcome.line(), "skipped: no root");
        assert!(outcome.json().contains("\"skipped\": \"no root\""));
    }
}
