//! `ng report`: pictures of a stress document.

use std::path::{Path, PathBuf};

use super::output::{print, say, with_causes};
use super::{EX_IOERR, EX_USAGE, Failure};
use crate::report::{ReportError, charts::charts, figures, html, svg};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The document of `ng stress --json`.
    document: PathBuf,
    /// The document of `cargo xtask rivals stack --json`, for a chart of its own.
    #[arg(long, value_name = "FILE")]
    rivals: Option<PathBuf>,
    /// One self-contained page, to FILE or `-`.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// An SVG for each chart, into DIR, which is made if it is missing.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    if args.html.is_none() && args.svg.is_none() {
        return Err(Failure::new(EX_USAGE, "say where to: --html FILE, --svg DIR, or both"));
    }
    let stress =
        figures::stress(&read(&args.document)?, &args.document.display().to_string()).map_err(failure)?;
    let rivals = args
        .rivals
        .as_deref()
        .map(|path| figures::rivals(&read(path)?, &path.display().to_string()).map_err(failure));
    let rivals = rivals.transpose()?;
    if let Some(to) = &args.html {
        write_html(&html(&stress, rivals.as_ref()).map_err(failure)?, to)?;
    }
    if let Some(dir) = &args.svg {
        std::fs::create_dir_all(dir)
            .map_err(|error| Failure::new(EX_IOERR, format!("create {}: {error}", dir.display())))?;
        for chart in charts(&stress, rivals.as_ref()) {
            let path = dir.join(format!("{}.svg", chart.name));
            write(&path, &svg(&chart).map_err(failure)?)?;
            say(format_args!("{}", path.display()));
        }
    }
    Ok(0)
}

/// The page of a document that was just made, for `ng stress --html`.
pub(super) fn write_page(document: &impl serde::Serialize, to: &Path) -> Result<(), Failure> {
    let text = serde_json::to_string(document).map_err(|error| Failure::io(&error))?;
    let stress = figures::stress(&text, "the stress document").map_err(failure)?;
    write_html(&html(&stress, None).map_err(failure)?, to)
}

fn write_html(page: &str, to: &Path) -> Result<(), Failure> {
    if to == Path::new("-") {
        return print(|out| out.write_all(page.as_bytes()));
    }
    write(to, page)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(EX_IOERR, format!("read {}: {error}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| Failure::new(EX_IOERR, format!("write {}: {error}", path.display())))
}

fn failure(error: ReportError) -> Failure {
    Failure::new(EX_IOERR, with_causes(&error))
}
