//! Keys whose value is one of a few names.

/// A name that a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// As the file writes it.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
}

/// A name that a program takes only if it was built with a Cargo feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Featured {
    /// As the file writes it.
    pub name: &'static str,
    /// The Cargo feature of ng-stack.
    pub feature: &'static str,
    /// Whether this program was built with it.
    pub compiled: bool,
}

/// Declares an enum whose variants have names in the file.
macro_rules! choices {
    ($(
        $(#[doc = $about:literal])+
        $type:ident { $( #[doc = $doc:literal] $variant:ident = $name:literal, )+ }
        $(featured { $( $featured:literal needs $feature:literal, )+ })?
    )+) => { $(
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type {
            $( #[doc = $doc] $variant, )+
        }

        impl $type {
            /// Every value, in the order of the reference.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            /// The names that the file may write, with their meaning.
            pub const NAMES: &'static [$crate::config::Name] =
                &[$( $crate::config::Name { name: $name, about: $doc.trim_ascii() } ),+];

            const FEATURED: &'static [$crate::config::Featured] = &[$($(
                $crate::config::Featured {
                    name: $featured,
                    feature: $feature,
                    compiled: cfg!(feature = $feature),
                }
            ),+)?];

            /// As the file writes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }
        }

        impl $crate::config::setting::Setting for $type {
            type Limits = ();

            fn read(
                scalar: &$crate::config::Scalar<'_>,
                (): &(),
            ) -> Result<Self, $crate::config::setting::Refused> {
                let at = $crate::config::choice::position(scalar, Self::NAMES, Self::FEATURED)?;
                Self::ALL.get(at).copied().ok_or_else(Default::default)
            }

            fn show(&self) -> $crate::config::Scalar<'_> {
                $crate::config::Scalar::Text(self.name().into())
            }

            fn shape((): &()) -> $crate::config::setting::Shape {
                $crate::config::setting::Shape::Choice(Self::NAMES, Self::FEATURED)
            }
        }
    )+ };
}

pub(super) use choices;

use super::scalar::Scalar;
use super::setting::Refused;
use super::suggest::nearest;

/// Where among `names` the scalar is.
pub(super) fn position(scalar: &Scalar<'_>, names: &[Name], featured: &[Featured]) -> Result<usize, Refused> {
    let Scalar::Text(text) = scalar else { return Err(Refused::default()) };
    if let Some(missing) = featured.iter().find(|one| one.name == text && !one.compiled) {
        let because = format!(
            "it needs the Cargo feature `{}`, and this program was built without it",
            missing.feature
        );
        return Err(Refused { because: Some(because), nearest: None });
    }
    if let Some(at) = names.iter().position(|name| name.name == text) {
        return Ok(at);
    }
    let nearest = nearest(text, names.iter().map(|name| name.name)).map(|name| format!("\"{name}\""));
    Err(Refused { because: None, nearest })
}
