//! A configuration as TOML, and as one number.

use std::fmt::Write as _;

use super::scalar::Scalar;
use super::sections::StackConfig;
use super::table::{Field, Section};

/// Offset basis and prime of FNV-1a with 64 bits
/// (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>).
const FNV: (u64, u64) = (0xcbf2_9ce4_8422_2325, 0x0100_0000_01b3);

impl StackConfig {
    /// Every key with its value, as a file that [`Loader`](super::Loader) reads back to the same
    /// configuration.
    #[must_use]
    pub fn to_toml(&self) -> String {
        print(self, |_| String::new(), |_| String::new())
    }

    /// A number for the values in effect: the same on every machine and in every version in which
    /// the keys are the same. The profile's name is not part of it, what it sets is.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let (basis, prime) = FNV;
        let effective = Field::all().filter(|field| field.path() != "profile");
        effective
            .map(|field| format!("{}={}\n", field.path(), (field.get)(self)))
            .chain(self.guardian.named.settings().map(|(key, value)| format!("{key}={value}\n")))
            .flat_map(String::into_bytes)
            .fold(basis, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(prime))
    }
}

/// The defaults as a file, each key with its meaning and what it takes.
#[must_use]
pub fn render_default() -> String {
    let comment = |about: &[&str]| about.iter().fold(String::new(), |out, line| format!("{out}# {line}\n"));
    let file = print(
        &StackConfig::default(),
        |section| match section.name() {
            "" => "# Every key with its default. What is removed keeps its default.\n\n".to_owned(),
            _ => comment(section.about),
        },
        |field| format!("{}# Takes {}.\n", comment(field.about), (field.shape)()),
    );
    file + &super::named::example()
}

fn print(
    config: &StackConfig,
    above_section: impl Fn(&Section) -> String,
    above_field: impl Fn(&Field) -> String,
) -> String {
    let mut out = String::new();
    for section in StackConfig::SECTIONS {
        if !section.name().is_empty() {
            out.push('\n');
        }
        out.push_str(&above_section(section));
        if !section.name().is_empty() {
            // Writing to a String can't fail.
            let _ = writeln!(out, "[{}]", section.name());
        }
        for field in section.fields {
            let value: Scalar<'_> = (field.get)(config);
            let _ = writeln!(out, "{}{} = {value}", above_field(field), field.key);
        }
    }
    out + &config.guardian.named.to_toml()
}
