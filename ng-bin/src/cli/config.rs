//! `ng config`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::output::{colours, print, say, write_json};
use super::{EX_USAGE, Failure, environment, load};
use crate::config::{ConfigErrors, EX_CONFIG, Finding, Loaded, Loader, Place, Profile};

const CODES: &str = "Exit codes: 0 sound, or no difference; 1 `diff` found differences; 64 wrong words, or \
no such key; 78 the configuration must change.";

#[derive(Debug, clap::Subcommand)]
#[command(after_help = CODES)]
pub(super) enum Words {
    /// Say whether a file, with the environment over it, makes a configuration.
    Check {
        /// The file.
        file: PathBuf,
        /// What was found, as one JSON document on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Print a file with every default, to begin with.
    Default {
        /// The values of this profile instead, without explanations.
        #[arg(long, value_parser = profile)]
        profile: Option<Profile>,
    },
    /// Print the values in force and where each is from.
    Show {
        /// The file; the defaults without one.
        file: Option<PathBuf>,
        /// As one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Print the reference of all keys.
    Reference,
    /// Print the JSON Schema of the file, for editors.
    Schema,
    /// Explain a key, or each key of a section: what it means, takes and holds, and since where.
    Explain {
        /// The key, such as `wal.every`, or a section, such as `wal`.
        key: String,
        /// The file; the defaults without one.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// As one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Say in which values two files differ, or a file and the defaults.
    Diff {
        /// The file before; the defaults if it is the only one.
        before: PathBuf,
        /// The file after.
        after: Option<PathBuf>,
        /// As one JSON document.
        #[arg(long)]
        json: bool,
    },
}

fn profile(name: &str) -> Result<Profile, String> {
    let names = || Profile::NAMES.iter().map(|one| one.name).collect::<Vec<_>>().join(", ");
    Profile::ALL.iter().copied().find(|one| one.name() == name).ok_or_else(|| format!("one of {}", names()))
}

pub(super) fn run(words: &Words) -> Result<u8, Failure> {
    match words {
        Words::Check { file, json: true } => return check_json(file),
        Words::Check { file, json: false } => {
            load(Some(file))?;
            print(|out| writeln!(out, "{}: sound", file.display()))?;
        }
        Words::Default { profile: None } => print(|out| write!(out, "{}", crate::config::render_default()))?,
        Words::Default { profile: Some(profile) } => {
            let loaded = Loader::new().profile(*profile).load()?;
            print(|out| write!(out, "{}", loaded.config.to_toml()))?;
        }
        Words::Show { file, json } => show(&load(file.as_ref())?, *json)?,
        Words::Reference => print(|out| write!(out, "{}", crate::config::render_reference()))?,
        Words::Schema => print(|out| write!(out, "{}", crate::config::render_schema()))?,
        Words::Explain { key, config, json } => explain(&load(config.as_ref())?, key, *json)?,
        Words::Diff { before, after, json } => return diff(before, after.as_deref(), *json),
    }
    Ok(0)
}

fn show(loaded: &Loaded, json: bool) -> Result<(), Failure> {
    if json {
        let settings = loaded.settings().into_iter().map(
            |setting| json!({"key": setting.key, "value": setting.value, "from": setting.origin.to_string()}),
        );
        let document = json!({
            "fingerprint": format!("{:016x}", loaded.fingerprint()),
            "settings": settings.collect::<Vec<_>>(),
        });
        return write_json(&document, Path::new("-"));
    }
    print(|out| {
        for setting in loaded.settings() {
            writeln!(out, "{} = {}  # {}", setting.key, setting.value, setting.origin)?;
        }
        Ok(())
    })
}

/// What is wrong as data. The exit code is the same as in words.
fn check_json(file: &Path) -> Result<u8, Failure> {
    let loaded = Loader::new().file(file).env(environment()).load();
    let (errors, warnings) = match &loaded {
        Ok(loaded) => (Vec::new(), loaded.warnings.iter().map(finding).collect()),
        Err(errors) => (errors.findings().iter().map(finding).collect::<Vec<_>>(), Vec::new()),
    };
    let sound = loaded.is_ok();
    let count = loaded.as_ref().err().map_or(0, ConfigErrors::count);
    let document = json!({
        "file": file.display().to_string(), "sound": sound, "error_count": count,
        "errors": errors, "warnings": warnings,
    });
    write_json(&document, Path::new("-"))?;
    Ok(if sound { 0 } else { EX_CONFIG })
}

fn finding(finding: &Finding) -> Value {
    let place = match &finding.place {
        Place::Text(at) => json!({"file": at.name, "line": at.line, "column": at.column, "width": at.width}),
        Place::Variable { name, .. } => json!({"variable": name}),
        Place::File { name } => json!({"file": name}),
    };
    json!({"message": finding.message, "help": finding.help, "place": place})
}

fn explain(loaded: &Loaded, key: &str, json: bool) -> Result<(), Failure> {
    let told = loaded.explain(key).map_err(|error| Failure::new(EX_USAGE, error.to_string()))?;
    if json {
        let all: Vec<Value> = told.iter().map(crate::config::Explanation::to_json).collect();
        return write_json(&json!(all), Path::new("-"));
    }
    print(|out| {
        for (at, one) in told.iter().enumerate() {
            writeln!(out, "{}{one}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    })
}

/// Without the environment: two files are compared, not what a process would make of them.
fn diff(before: &Path, after: Option<&Path>, json: bool) -> Result<u8, Failure> {
    let read = |file: &Path| -> Result<Loaded, Failure> {
        let loaded = Loader::new().file(file).load()?;
        for warning in &loaded.warnings {
            say(format_args!("{}", warning.render(colours())));
        }
        Ok(loaded)
    };
    let (before, after) = match after {
        Some(after) => (read(before)?, read(after)?),
        None => (Loader::new().load()?, read(before)?),
    };
    let found = before.diff(&after);
    if json {
        let all = found.iter().map(|one| {
            json!({
                "key": one.key, "live": one.live,
                "before": one.before, "before_from": one.before_from.to_string(),
                "after": one.after, "after_from": one.after_from.to_string(),
            })
        });
        write_json(&json!({"differences": all.collect::<Vec<_>>()}), Path::new("-"))?;
    } else {
        print(|out| {
            for one in &found {
                let how = if one.live { "live" } else { "restart" };
                writeln!(out, "{} ({how})", one.key)?;
                writeln!(out, "  - {}  # {}", one.before, one.before_from)?;
                writeln!(out, "  + {}  # {}", one.after, one.after_from)?;
            }
            Ok(())
        })?;
    }
    Ok(u8::from(!found.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_named_or_the_names_are_told() {
        assert_eq!(profile("seed"), Ok(Profile::Seed));
        assert!(profile("sed").unwrap_err().contains("development"));
    }
}
