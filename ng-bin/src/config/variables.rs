//! Environment variables as assignments to known keys.
//!
//! `NG_<SECTION>__<KEY>` sets any key; three names of the seed's own are kept. Variables of anyone
//! else are not looked at.

use std::ffi::{OsStr, OsString};

use super::document::Assignment;
use super::finding::{Finding, Findings};
use super::jaeger;
use super::place::Place;
use super::scalar::Scalar;
use super::suggest::nearest;
use super::table::Field;

/// The seed's names for keys of ours, with what to do about a value that does not fit.
const SEED: [(&str, &str); 2] = [("ENABLE_TRACING", "tracing.kind"), ("WAL_BATCH_SIZE", "wal.batch_records")];

/// The assignments in the order in which they apply: the seed's names, then ours, which override
/// them.
pub(super) fn read<'a>(
    variables: &'a [(OsString, OsString)],
    findings: &mut Findings,
) -> Vec<Assignment<'a>> {
    let (mut seed, mut own) = (Vec::new(), Vec::new());
    for (name, value) in variables {
        // A name that is not UTF-8 is none of ours.
        let Some(name) = name.to_str() else { continue };
        let is_seed = name == jaeger::VARIABLE || SEED.iter().any(|(seed, _)| *seed == name);
        if !is_seed && !name.starts_with("NG_") {
            continue;
        }
        let field = if is_seed { None } else { own_field(name, value, findings) };
        if !is_seed && field.is_none() {
            continue;
        }
        let Some(value) = value.to_str() else {
            let shown = value.to_string_lossy();
            findings.error(|| {
                Finding::error(Place::variable(name, &shown), format!("{name} is not UTF-8"))
                    .help("set it to plain text, or unset it")
            });
            continue;
        };
        match field {
            Some(field) => own.push(Assignment {
                field,
                scalar: (field.shape)().scan(value),
                place: Place::variable(name, value),
            }),
            // As for OpenTelemetry's variables, an empty value is as good as none.
            None if value.is_empty() => {}
            None if name == jaeger::VARIABLE => {
                let sets = jaeger::read(value, findings);
                seed.extend(sets.into_iter().filter_map(|(path, value)| {
                    let field = Field::named(path)?;
                    let place = Place::variable(name, &jaeger::without_secret(value));
                    Some(Assignment { field, scalar: Scalar::Text(value.into()), place })
                }));
            }
            None => seed.extend(seed_assignment(name, value, findings)),
        }
    }
    seed.append(&mut own);
    seed
}

/// The field that an `NG_` name sets. A name that looks like one of ours and isn't is said so.
fn own_field(name: &str, value: &OsStr, findings: &mut Findings) -> Option<&'static Field> {
    let known = Field::all().find(|field| field.variable() == name);
    if known.is_some() {
        return known;
    }
    let names: Vec<String> = Field::all().map(Field::variable).collect();
    let value = value.to_string_lossy();
    if name.contains("__") {
        findings.error(|| {
            let near = nearest(name, names.iter().map(String::as_str));
            let finding = Finding::error(Place::variable(name, &value), format!("{name} sets no key"));
            match near {
                Some(_) => finding.did_you_mean(near),
                None => finding.help("a name is NG_<SECTION>__<KEY>, such as NG_WAL__EVERY; unset this one"),
            }
        });
    } else if let Some(meant) = names.iter().find(|known| known.replace("__", "_") == name) {
        let message = format!("{name} is ignored");
        findings.warn(Finding::warning(Place::variable(name, &value), message).did_you_mean(Some(meant)));
    }
    None
}

fn seed_assignment<'a>(name: &str, value: &'a str, findings: &mut Findings) -> Option<Assignment<'a>> {
    let (_, path) = SEED.iter().find(|(seed, _)| *seed == name)?;
    let field = Field::named(path)?;
    let place = Place::variable(name, value);
    let scalar = match (name, value.trim().to_ascii_lowercase().as_str()) {
        ("ENABLE_TRACING", "true" | "1") => Scalar::Text("sampled".into()),
        ("ENABLE_TRACING", "false" | "0") => Scalar::Text("off".into()),
        ("ENABLE_TRACING", _) => {
            findings.error(|| {
                Finding::error(place, format!("{name} can't be {}", Scalar::Text(value.into()).found()))
                    .help("write true or false")
            });
            return None;
        }
        _ => (field.shape)().scan(value),
    };
    Some(Assignment { field, scalar, place })
}
