//! What a field can hold: the types of settings, their limits, and how a scalar becomes one.
//!
//! A setting never corrects a value: one outside its limits is refused, with what to write instead.

use std::fmt;
use std::path::PathBuf;

use super::choice::{Featured, Name};
use super::scalar::Scalar;

/// The largest whole number that every TOML reader takes.
pub(super) const MOST: u64 = i64::MAX as u64;

/// A type that a configuration key can have.
pub(super) trait Setting: Sized {
    /// What narrows the type; `()` where nothing does.
    type Limits;

    /// Takes a scalar in, if it is of the type and within the limits.
    fn read(scalar: &Scalar<'_>, limits: &Self::Limits) -> Result<Self, Refused>;

    /// The value as a scalar that [`read`](Self::read) takes back.
    fn show(&self) -> Scalar<'_>;

    /// Type and limits as data.
    fn shape(limits: &Self::Limits) -> Shape;
}

/// Why a scalar was refused, beyond its not being of the field's shape.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Refused {
    /// What is known of this very value.
    pub(super) because: Option<String>,
    /// What was probably meant.
    pub(super) nearest: Option<String>,
}

/// What a field can hold, as data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    Whole(Whole),
    Real(Real),
    Switch,
    Text,
    /// A path; with `true`, the empty string stands for none.
    Path(bool),
    Choice(&'static [Name], &'static [Featured]),
}

/// The limits of a whole number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Whole {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) rule: Rule,
}

/// What else a whole number must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    Any,
    MultipleOf(u64),
    PowerOfTwo,
}

/// Whole numbers from `min` to `max`, both included.
pub(super) const fn whole(min: u64, max: u64) -> Whole {
    Whole { min, max, rule: Rule::Any }
}

impl Whole {
    pub(super) const fn multiple_of(self, step: u64) -> Self {
        Self { rule: Rule::MultipleOf(step), ..self }
    }

    pub(super) const fn power_of_two(self) -> Self {
        Self { rule: Rule::PowerOfTwo, ..self }
    }

    fn take(self, scalar: &Scalar<'_>) -> Result<u64, Refused> {
        let Scalar::Whole(number) = scalar else { return Err(Refused::default()) };
        let number = u64::try_from(*number).map_err(|_| Refused::default())?;
        let fits = match self.rule {
            Rule::Any => true,
            Rule::MultipleOf(step) => number.is_multiple_of(step),
            Rule::PowerOfTwo => number.is_power_of_two(),
        };
        if fits && (self.min..=self.max).contains(&number) { Ok(number) } else { Err(Refused::default()) }
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = match self.rule {
            Rule::Any => "a whole number".to_owned(),
            Rule::MultipleOf(step) => format!("a multiple of {step}"),
            Rule::PowerOfTwo => "a power of two".to_owned(),
        };
        match (self.min, self.max) {
            (min, MOST) => write!(f, "{noun}, {min} or more"),
            (min, max) => write!(f, "{noun} from {min} to {max}"),
        }
    }
}

/// The limits of a number with a fraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Real {
    pub(super) min: f64,
    pub(super) max: f64,
}

/// Finite numbers from `min` to `max`, both included.
pub(super) const fn real(min: f64, max: f64) -> Real {
    Real { min, max }
}

/// What every reading of a shape begins with: "write …".
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(limits) => limits.fmt(f),
            Self::Real(Real { min, max }) => {
                write!(f, "a number from {} to {}", Scalar::Real(*min), Scalar::Real(*max))
            }
            Self::Switch => f.write_str("true or false"),
            Self::Text => f.write_str("a text in quotes"),
            Self::Path(false) => f.write_str("a path in quotes"),
            Self::Path(true) => f.write_str("a path in quotes, or \"\" for none"),
            Self::Choice(names, featured) => {
                let missing = |name: &str| featured.iter().any(|one| one.name == name && !one.compiled);
                let there: Vec<_> =
                    names.iter().map(|name| name.name).filter(|name| !missing(name)).collect();
                f.write_str(&one_of(&there))
            }
        }
    }
}

impl Shape {
    /// Reads text that carries no type of its own, an environment variable's: as the field's type
    /// where it can be, as a string where it can't.
    pub(super) fn scan<'a>(&self, text: &'a str) -> Scalar<'a> {
        let trimmed = text.trim();
        let typed = match self {
            Self::Whole(_) => trimmed.replace('_', "").parse().ok().map(Scalar::Whole),
            Self::Real(_) => trimmed.parse().ok().map(Scalar::Real),
            Self::Switch => trimmed.parse().ok().map(Scalar::Switch),
            Self::Choice(..) => Some(Scalar::Text(trimmed.into())),
            Self::Text | Self::Path(_) => None,
        };
        typed.unwrap_or(Scalar::Text(text.into()))
    }
}

/// `"a", "b" or "c"`.
pub(super) fn one_of(names: &[&str]) -> String {
    let mut out = String::new();
    for (at, name) in names.iter().enumerate() {
        out += match at {
            0 => "",
            _ if at + 1 == names.len() => " or ",
            _ => ", ",
        };
        out += &format!("\"{name}\"");
    }
    out
}

macro_rules! whole_settings {
    ($($type:ty),+) => { $(
        impl Setting for $type {
            type Limits = Whole;

            fn read(scalar: &Scalar<'_>, limits: &Whole) -> Result<Self, Refused> {
                Self::try_from(limits.take(scalar)?).map_err(|_| Refused::default())
            }

            fn show(&self) -> Scalar<'_> {
                Scalar::Whole(i128::from(*self))
            }

            fn shape(limits: &Whole) -> Shape {
                Shape::Whole(*limits)
            }
        }
    )+ };
}

whole_settings!(u8, u16, u32, u64);

impl Setting for f64 {
    type Limits = Real;

    fn read(scalar: &Scalar<'_>, limits: &Real) -> Result<Self, Refused> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a whole number beyond 2^53 is rounded as TOML's own floats are"
        )]
        let number = match scalar {
            Scalar::Real(number) => *number,
            Scalar::Whole(number) => *number as Self,
            Scalar::Text(_) | Scalar::Switch(_) | Scalar::Foreign(_) => return Err(Refused::default()),
        };
        // NaN is within nothing.
        if (limits.min..=limits.max).contains(&number) { Ok(number) } else { Err(Refused::default()) }
    }

    fn show(&self) -> Scalar<'_> {
        Scalar::Real(*self)
    }

    fn shape(limits: &Real) -> Shape {
        Shape::Real(*limits)
    }
}

impl Setting for bool {
    type Limits = ();

    fn read(scalar: &Scalar<'_>, (): &()) -> Result<Self, Refused> {
        match scalar {
            Scalar::Switch(on) => Ok(*on),
            _ => Err(Refused::default()),
        }
    }

    fn show(&self) -> Scalar<'_> {
        Scalar::Switch(*self)
    }

    fn shape((): &()) -> Shape {
        Shape::Switch
    }
}

impl Setting for String {
    type Limits = ();

    fn read(scalar: &Scalar<'_>, (): &()) -> Result<Self, Refused> {
        match scalar {
            Scalar::Text(text) if text.chars().any(char::is_control) => {
                Err(Refused { because: Some("it has a control character".to_owned()), nearest: None })
            }
            Scalar::Text(text) => Ok(text.as_ref().to_owned()),
            _ => Err(Refused::default()),
        }
    }

    fn show(&self) -> Scalar<'_> {
        Scalar::Text(self.as_str().into())
    }

    fn shape((): &()) -> Shape {
        Shape::Text
    }
}

impl Setting for PathBuf {
    type Limits = ();

    fn read(scalar: &Scalar<'_>, (): &()) -> Result<Self, Refused> {
        match Option::<Self>::read(scalar, &())? {
            Some(path) => Ok(path),
            None => Err(Refused { because: Some("the path is empty".to_owned()), nearest: None }),
        }
    }

    fn show(&self) -> Scalar<'_> {
        Scalar::Text(self.to_string_lossy())
    }

    fn shape((): &()) -> Shape {
        Shape::Path(false)
    }
}

impl Setting for Option<PathBuf> {
    type Limits = ();

    fn read(scalar: &Scalar<'_>, (): &()) -> Result<Self, Refused> {
        match scalar {
            Scalar::Text(path) if path.contains('\0') => {
                Err(Refused { because: Some("no path contains a NUL character".to_owned()), nearest: None })
            }
            Scalar::Text(path) if path.is_empty() => Ok(None),
            Scalar::Text(path) => Ok(Some(PathBuf::from(path.as_ref()))),
            _ => Err(Refused::default()),
        }
    }

    fn show(&self) -> Scalar<'_> {
        self.as_ref().map_or(Scalar::Text("".into()), Setting::show)
    }

    fn shape((): &()) -> Shape {
        Shape::Path(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_outside_its_type_is_refused_though_its_limits_let_it_in() {
        assert_eq!(u8::read(&Scalar::Whole(256), &whole(0, MOST)), Err(Refused::default()));
    }

    #[test]
    fn not_a_number_is_within_no_limits() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(f64::read(&Scalar::Real(number), &real(f64::MIN, f64::MAX)).is_err());
        }
    }

    #[test]
    fn zero_is_no_power_of_two_and_a_multiple_of_anything() {
        assert!(u64::read(&Scalar::Whole(0), &whole(0, 8).power_of_two()).is_err());
        assert_eq!(u64::read(&Scalar::Whole(0), &whole(0, 8).multiple_of(4)), Ok(0));
    }

    proptest! {
        #[test]
        fn a_whole_number_is_taken_exactly_within_its_limits(min in 0..1000u64, more in 0..1000u64, given: i16) {
            let limits = whole(min, min + more);
            let within = i128::from(given) >= i128::from(min) && i128::from(given) <= i128::from(min + more);
            prop_assert_eq!(u64::read(&Scalar::Whole(given.into()), &limits).is_ok(), within);
        }

        #[test]
        fn what_a_setting_shows_is_read_back(whole_number in 0..=MOST, number in -1e9..1e9f64, path in "[^\0]{0,20}") {
            prop_assert_eq!(u64::read(&whole_number.show(), &whole(0, MOST)), Ok(whole_number));
            prop_assert_eq!(f64::read(&number.show(), &real(-1e9, 1e9)), Ok(number));
            let path = (!path.is_empty()).then(|| PathBuf::from(path));
            prop_assert_eq!(Option::<PathBuf>::read(&path.show(), &()), Ok(path.clone()));
        }
    }
}
