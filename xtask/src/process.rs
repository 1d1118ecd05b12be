//! Running other programs: in the open, tapped while they run, or silently for their answer. It
//! decides nothing about what they say.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use crate::error::Error;

/// A program with its arguments and environment, not yet started.
#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
    shown: String,
}

impl Program {
    /// `name` is looked up on the PATH unless it is a path; it runs in `folder`.
    pub(crate) fn new(name: impl AsRef<OsStr>, folder: &Path) -> Self {
        Self::shown_as(&name.as_ref().to_string_lossy(), &name, folder)
    }

    /// The same, shown to people under a name of its own.
    pub(crate) fn shown_as(shown: &str, name: impl AsRef<OsStr>, folder: &Path) -> Self {
        let mut command = Command::new(name);
        command.current_dir(folder);
        Self { command, shown: shown.to_owned() }
    }

    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        for arg in args {
            self.shown.push(' ');
            self.shown.push_str(&arg.as_ref().to_string_lossy());
            self.command.arg(arg);
        }
        self
    }

    /// Sets one variable of the environment; [`Program::shown`] carries it in front.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.shown = format!("{name}='{}' {}", value.as_ref().to_string_lossy(), self.shown);
        self.command.env(name, value);
        self
    }

    /// Sets one variable that a reader of the command line need not see.
    pub(crate) fn quiet_env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The command line as one would type it.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Runs with this process's own input and output.
    pub(crate) fn run(mut self) -> Result<ExitStatus, Error> {
        note(&format!("$ {}", self.shown));
        self.command.status().map_err(|source| Error::Start { command: self.shown, source })
    }

    /// Runs and copies both outputs to standard error as they come; returns them line by line.
    pub(crate) fn run_tapped(mut self) -> Result<Tapped, Error> {
        note(&format!("$ {}", self.shown));
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            self.command.spawn().map_err(|source| Error::Start { command: self.shown.clone(), source })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (from_stdout, from_stderr) = thread::scope(|scope| {
            let beside = scope.spawn(|| stderr.map_or_else(Vec::new, copy_lines));
            let here = stdout.map_or_else(Vec::new, copy_lines);
            (here, beside.join().unwrap_or_default())
        });
        let status = child.wait().map_err(|source| Error::Output { command: self.shown, source })?;
        Ok(Tapped { status, lines: from_stderr.into_iter().chain(from_stdout).collect() })
    }

    /// Runs without a word and returns standard output; a failure carries standard error.
    pub(crate) fn answer(mut self) -> Result<String, Error> {
        let output = self
            .command
            .stdin(Stdio::null())
            .output()
            .map_err(|source| Error::Start { command: self.shown.clone(), source })?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(Error::Failed {
                command: self.shown,
                status: output.status.to_string(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
        }
    }
}

/// How a tapped program ended, and all it printed: standard error first, then standard output.
#[derive(Debug)]
pub(crate) struct Tapped {
    pub(crate) status: ExitStatus,
    pub(crate) lines: Vec<String>,
}

fn copy_lines(pipe: impl std::io::Read) -> Vec<String> {
    let mut lines = Vec::new();
    for bytes in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&bytes).into_owned();
        note(&line);
        lines.push(line);
    }
    lines
}

/// The exit code to pass on: the program's own, or 128 + the signal that ended it.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// One line of progress, on standard error. Nobody listening is no reason to stop.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// One line of result, on standard output. Nobody listening is no reason to stop.
pub(crate) fn result(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::new("sh", Path::new("/")).args(["-c", script])
    }

    #[test]
    fn both_outputs_are_tapped_and_the_exit_code_is_kept() {
        let tapped = shell("echo out; echo err >&2; exit 7").run_tapped().unwrap();
        assert_eq!(tapped.lines, ["err", "out"]);
        assert_eq!(exit_code(tapped.status), 7);
    }

    #[test]
    fn a_signal_becomes_128_and_its_number() {
        assert_eq!(exit_code(shell("kill -9 $$").run_tapped().unwrap().status), 137);
    }

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error = shell("echo why >&2; exit 3").answer().unwrap_err().to_string();
        assert!(error.contains("why") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let missing = Program::new("no-such-program-here", Path::new("/"));
        let error = missing.args(["--flag"]).run().unwrap_err().to_string();
        assert!(error.contains("no-such-program-here --flag"), "{error}");
    }

    #[test]
    fn the_command_is_shown_as_one_would_type_it() {
        let program = Program::new("cargo", Path::new("/")).args(["doc"]).env("FLAGS", "-D warnings");
        assert_eq!(program.shown(), "FLAGS='-D warnings' cargo doc");
    }
}
