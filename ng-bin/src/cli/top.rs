//! `ng top`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::{colours, print, write_json};
use super::{EX_IOERR, EX_USAGE, Failure};
use crate::top::screen::View;
use crate::top::terminal::{Options, frame, run as watch};
use crate::top::{History, Source, SourceError, source};

const HELP: &str = "Keys: q or Esc quits, p or space pauses. Exit codes: 0 all well; 64 wrong words, or standard \
output is no terminal; 74 the source can't be read (with --once and --json), or the terminal failed.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The admin address of `ng serve`.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464", conflicts_with = "rings")]
    admin: String,
    /// The file that holds the service's token; else NEUROGRAPH_TOKEN of the environment.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Read the flight recorder's rings instead: `blackbox.dir` of the running stack, or the directory of
    /// one process, living or dead.
    #[arg(long, value_name = "DIR")]
    rings: Option<PathBuf>,
    /// Milliseconds between two looks.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    every: u64,
    /// Print one frame as text, and end. Of rings it takes two looks, so that there is a rate.
    #[arg(long, conflicts_with = "json")]
    once: bool,
    /// Print one JSON document, and end.
    #[arg(long)]
    json: bool,
    /// Columns of the frame of --once.
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u16).range(40..=500))]
    width: u16,
    /// Lines of the frame of --once.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(20..=200))]
    height: u16,
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let mut source = open(args)?;
    let every = Duration::from_millis(args.every);
    if args.rings.is_some() && (args.once || args.json) {
        source.poll().map_err(failure)?;
        std::thread::sleep(every);
    }
    if args.json {
        write_json(&source.document().map_err(failure)?, Path::new("-"))?;
        return Ok(0);
    }
    if args.once {
        let live = source.poll().map_err(failure)?;
        let mut history = History::default();
        history.push(&live);
        let name = source.name();
        let view = View {
            live: Some(&live),
            history: &history,
            source: &name,
            lost: None,
            paused: false,
            colours: false,
        };
        let text = frame(&view, args.width, args.height).map_err(|error| Failure::io(&error))?;
        print(|out| out.write_all(text.as_bytes()))?;
        return Ok(0);
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::new(EX_USAGE, "standard output is no terminal: use --once or --json"));
    }
    watch(source, Options { every, colours: colours() }).map_err(|error| Failure::io(&error))?;
    // What comes next begins on a line of its own.
    std::io::stdout().flush().map_err(|error| Failure::io(&error))?;
    Ok(0)
}

fn open(args: &Args) -> Result<Box<dyn Source>, Failure> {
    if let Some(dir) = &args.rings {
        return source::rings(dir).map_err(|why| Failure::new(EX_USAGE, why));
    }
    let token = match &args.token_file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|error| Failure::new(EX_IOERR, format!("read {}: {error}", path.display())))?,
        ),
        None => std::env::var("NEUROGRAPH_TOKEN").ok(),
    };
    let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    Ok(source::admin(&args.admin, token))
}

fn failure(error: SourceError) -> Failure {
    Failure::new(EX_IOERR, error.to_string())
}
