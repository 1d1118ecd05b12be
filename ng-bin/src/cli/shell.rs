//! `ng completions` and `ng man`: what a shell and a reader of manuals want to have installed.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::output::{print, say};
use super::{Cli, EX_IOERR, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// Which shell.
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Directory for a page of each command, such as /usr/local/share/man/man1; made if it is missing.
    /// Without it, the page of `ng` goes to standard output.
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &Completions) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ng", &mut text);
    print(|out| out.write_all(&text))?;
    Ok(0)
}

pub(super) fn man(args: &Man) -> Result<u8, Failure> {
    let mut command = Cli::command().name("ng");
    command.build();
    let Some(dir) = &args.dir else {
        let text = page(command)?;
        print(|out| out.write_all(&text))?;
        return Ok(0);
    };
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::new(EX_IOERR, format!("create {}: {error}", dir.display())))?;
    let mut pages = 0;
    write_pages(&command, "ng", dir, &mut pages)?;
    say(format_args!("{pages} pages in {}", dir.display()));
    Ok(0)
}

/// One for the command and one for each below it, named as git names its own: `ng-wal-ls.1`.
fn write_pages(command: &clap::Command, name: &str, dir: &Path, pages: &mut usize) -> Result<(), Failure> {
    if command.is_hide_set() || name.ends_with("-help") {
        return Ok(());
    }
    let text = page(command.clone().display_name(name.to_owned()))?;
    let path = dir.join(format!("{name}.1"));
    let mut file = std::fs::File::create(&path)
        .map_err(|error| Failure::new(EX_IOERR, format!("create {}: {error}", path.display())))?;
    file.write_all(&text)
        .map_err(|error| Failure::new(EX_IOERR, format!("write {}: {error}", path.display())))?;
    *pages += 1;
    for inner in command.get_subcommands() {
        write_pages(inner, &format!("{name}-{}", inner.get_name()), dir, pages)?;
    }
    Ok(())
}

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let man = clap_mangen::Man::new(command).source(concat!("NeuroGraph ", env!("CARGO_PKG_VERSION")));
    man.render(&mut text).map_err(|error| Failure::io(&error))?;
    Ok(text)
}
