//! Where words go: data to standard output, everything else to standard error. A reader that went
//! away is no fault.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;

use super::{EX_IOERR, Failure};

/// One line to standard error. A closed one is not worth ending for.
pub(super) fn say(line: Arguments<'_>) {
    drop(writeln!(io::stderr(), "{line}"));
}

/// Whether standard error is a terminal that may be coloured (<https://no-color.org>).
pub(super) fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && io::stderr().is_terminal()
}

/// An error and what caused it, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// Writes to standard output; a reader that went away is no failure.
pub(super) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(EX_IOERR, format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// One JSON document to a file, or to standard output for `-`.
pub(super) fn write_json(document: &impl serde::Serialize, to: &Path) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document).map_err(|error| Failure::io(&error))?;
    if to == Path::new("-") {
        return print(|out| writeln!(out, "{text}"));
    }
    std::fs::write(to, text + "\n")
        .map_err(|error| Failure::new(EX_IOERR, format!("write {}: {error}", to.display())))
}
