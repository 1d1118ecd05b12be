//! `ng serve`: the stack as an HTTP service, until it is asked to end.

use std::path::PathBuf;

use super::output::{print, say, with_causes};
use super::{Failure, environment, load};
use crate::config::{ConfigErrors, Loaded, Loader};
use crate::reload::Reloader;
use crate::serve::{self, Ready, ServeError};

const CODES: &str = "Exit codes: 0 ended in good order; 64 wrong words; 74 an address is taken, the log is \
in use, or the log failed; 75 requests were cut off after serve.drain_ms (what was acknowledged is \
durable); 78 the configuration must change, or an address beyond loopback has no token.";

#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(super) struct Args {
    /// The configuration of the stack and of the service.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port of the gateway, over the configuration's.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Address and port of the administration, over the configuration's.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<String>,
    /// The log's directory, over the configuration's.
    #[arg(long, value_name = "DIR")]
    wal: Option<PathBuf>,
    /// Once ready, write where the service listens to standard output, as one JSON document.
    #[arg(long)]
    json: bool,
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        Self::new(error.exit_code(), with_causes(&error))
    }
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let file = args.config.clone();
    let mut options = Vec::new();
    let dir = args.wal.as_ref().map(|dir| dir.to_string_lossy().into_owned());
    for (key, name, given) in [
        ("serve.listen", "--listen", &args.listen),
        ("serve.admin", "--admin", &args.admin),
        ("wal.dir", "--wal", &dir),
    ] {
        options.extend(given.clone().map(|value| (key, value, name)));
    }
    // Read again, the options still go before the file.
    let overrule = move |mut loaded: Loaded| -> Result<Loaded, ConfigErrors> {
        for (key, value, name) in &options {
            loaded.overrule(key, value, name)?;
        }
        Ok(loaded)
    };
    let loaded = overrule(load(file.as_ref())?)?;
    let again = file.clone();
    let mut reloader = Reloader::new(loaded, move || {
        let loader = Loader::new().env(environment());
        let loaded = match &again {
            Some(file) => loader.file(file),
            None => loader,
        };
        overrule(loaded.load()?)
    });
    if let Some(file) = file {
        reloader = reloader.watch(file);
    }
    if super::logs::follows_level() {
        reloader = reloader.on_level(super::logs::set_level);
    }
    let json = args.json;
    let tell = |ready: &Ready| {
        if json && let Ok(text) = serde_json::to_string(ready) {
            // Whoever started the service may not read it.
            drop(print(|out| writeln!(out, "{text}")));
        }
    };
    let ended = serve::run(reloader, |line| say(format_args!("ng serve: {line}")), tell)?;
    say(format_args!(
        "ng serve: ended in good order with {} tokens; {} records were made durable",
        ended.tokens, ended.durable_records
    ));
    Ok(0)
}
