//! docs/configuration.md, made from the table.

use std::fmt::Write as _;

use super::profile::Profile;
use super::sections::StackConfig;
use super::setting::{Shape, one_of};
use super::table::{Field, Section};

const HEAD: &str = "\
# Configuration

<!-- Made from ng-bin/src/config/sections.rs by `render_reference`; a test holds it equal. -->

One TOML file. Every key is optional. `ng config default` prints a complete file with every default.

A value comes from the last of these that gives one:

1. the default,
2. the profile,
3. the file,
4. the environment: the seed's names, then `NG_<SECTION>__<KEY>`.

What is marked *live* a running stack follows when its configuration is read again: `ng serve` does so on
SIGHUP, and when the file has changed. Everything else needs a restart, and is named then. A file with a
fault changes nothing.

An editor that knows JSON Schema is helped by [ng.schema.json](ng.schema.json), which `ng config schema`
prints.

Relative paths are relative to the directory in which the program runs. The file is UTF-8 and at most
1 MiB. A configuration with a fault starts nothing: all faults are shown at once, and the program ends
with code 78 (`EX_CONFIG`).

A layer that the program was built without is off by default. A file that opens its section must then
say `kind = \"off\"`; anything else is a fault that names the Cargo feature to build with.
";

const TAIL: &str = "\
## The seed's environment variables

| variable | does |
|---|---|
| `ENABLE_TRACING` | `true` or `1`: `tracing.kind = \"sampled\"`; `false` or `0`: `\"off\"` |
| `WAL_BATCH_SIZE` | sets `wal.batch_records` |
| `JAEGER_ENDPOINT` | an `http` or `https` URL for OTLP: sets `tracing.exporter = \"otlp\"`, `tracing.endpoint`, and `tracing.protocol` (`\"grpc\"` for port 4317); an address of the Jaeger agent or of the collector's own ports (6831, 6832, 14250, 14268) is a fault |

Set to the empty string, they count as not set. An `NG_` name with a double underscore that sets no
key is a fault.
";

/// The reference of the configuration as Markdown: the same whatever is compiled in.
#[must_use]
pub fn render_reference() -> String {
    let mut out = HEAD.to_owned();
    out.push_str(&profiles());
    for section in StackConfig::SECTIONS {
        out.push_str(&table(section));
        if section.name() == "guardian.constitution" {
            out.push_str(&super::named::reference());
        }
    }
    out.push('\n');
    out.push_str(TAIL);
    out
}

fn profiles() -> String {
    let plain = StackConfig::tabled();
    let mut out =
        "\n## Profiles\n\n| profile | for | differs from the defaults in |\n|---|---|---|\n".to_owned();
    for (profile, name) in Profile::ALL.iter().zip(Profile::NAMES) {
        let mut config = plain.clone();
        profile.apply(&mut config);
        let differing = Field::all().filter(|field| field.path() != "profile");
        let sets: Vec<String> = differing
            .filter(|field| (field.get)(&plain) != (field.get)(&config))
            .map(|field| format!("`{} = {}`", field.path(), (field.get)(&config)))
            .collect();
        // Writing to a String can't fail.
        let _ = writeln!(out, "| `{}` | {} | {} |", name.name, name.about, sets.join(", "));
    }
    out
}

fn table(section: &Section) -> String {
    let mut out = String::new();
    let title = match section.name() {
        "" => "The top of the file".to_owned(),
        name => format!("[{name}]"),
    };
    let _ = writeln!(out, "\n## {title}\n\n{}", section.about.join(" "));
    if let Some(layer) = section.layer {
        let _ = writeln!(out, "Needs the Cargo feature `{}`.", layer.feature());
    }
    out.push_str("\n| key | takes | default | variable | live | meaning |\n|---|---|---|---|---|---|\n");
    let default = StackConfig::tabled();
    for field in section.fields {
        let _ = writeln!(
            out,
            "| `{}` | {} | `{}` | `{}` | {} | {} |",
            field.key,
            takes(field),
            (field.get)(&default),
            field.variable(),
            if field.live { "yes" } else { "" },
            meaning(field)
        );
    }
    out
}

/// What a key takes in a program that has everything compiled in.
pub(super) fn takes(field: &Field) -> String {
    match (field.shape)() {
        Shape::Choice(names, _) => one_of(&names.iter().map(|name| name.name).collect::<Vec<_>>()),
        shape => shape.to_string(),
    }
}

fn meaning(field: &Field) -> String {
    let mut out = field.about.join(" ");
    if let Shape::Choice(names, featured) = (field.shape)() {
        for name in names {
            let _ = write!(out, "<br>`{}`: {}", name.name, name.about);
            if let Some(one) = featured.iter().find(|one| one.name == name.name) {
                let _ = write!(out, " Needs the Cargo feature `{}`.", one.feature);
            }
        }
    }
    out
}
