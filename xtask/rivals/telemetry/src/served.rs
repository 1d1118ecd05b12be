//! A system that is measured in a process of its own: a program has one global subscriber, and that
//! is how `tracing` macros run where it counts. A subscriber of one thread's costs each macro more.
//!
//! The process reads a line for each measurement, `THREADS QUICK`, and answers with the nanoseconds.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::operation::{Subject, added};

/// The process, from outside.
pub(crate) struct Served(Mutex<Process>);

struct Process {
    child: Child,
    asked: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Served {
    /// Starts this program again, for one system.
    pub(crate) fn start(which: &str) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("a process for {which}: {error}");
        let own = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(own)
            .args(["--serve", which])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(asked), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("a process for {which} has no pipes"));
        };
        let answers = BufReader::new(answers);
        Ok(Self(Mutex::new(Process { child, asked: Some(asked), answers })))
    }

    /// Has it measure once.
    pub(crate) fn ask(&self, threads: usize, quick: bool) -> Result<f64, String> {
        let mut process = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = process.asked.as_mut().ok_or("it has ended")?;
        writeln!(asked, "{threads} {quick}").map_err(|error| format!("it takes no question: {error}"))?;
        let mut line = String::new();
        process.answers.read_line(&mut line).map_err(|error| format!("it gives no answer: {error}"))?;
        line.trim().parse().map_err(|_| format!("it answered {line:?}"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let process = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It ends at the end of its input.
        process.asked = None;
        drop(process.child.wait());
    }
}

/// The process, from inside: measures whenever it is asked, until nobody asks any more.
pub(crate) fn serve(subject: &Subject) -> Result<(), String> {
    for line in std::io::stdin().lines() {
        let line = line.map_err(|error| format!("standard input: {error}"))?;
        let (threads, quick) = line.split_once(' ').ok_or_else(|| format!("asked {line:?}"))?;
        let threads = threads.parse().map_err(|_| format!("asked {line:?}"))?;
        println!("{}", added(subject, threads, quick == "true")?);
    }
    Ok(())
}
