//! The table of keys: what a section and a field are, and the macro that declares them.
//!
//! The macro makes the plain struct that the stack reads and, from the same lines, the table that
//! everything generic walks: reading, the environment, the printed file, the reference.

use super::features::Layer;
use super::scalar::Scalar;
use super::sections::StackConfig;
use super::setting::{Refused, Shape};

/// One table of the file.
#[derive(Debug)]
pub(super) struct Section {
    /// What the full name of each of its keys begins with: empty, or dotted and with a final dot.
    pub(super) prefix: &'static str,
    /// Its doc comment, a line each.
    pub(super) about: &'static [&'static str],
    /// The layer that it configures, if that can be left out of the program.
    pub(super) layer: Option<Layer>,
    pub(super) fields: &'static [Field],
}

impl Section {
    /// As its header writes it, without brackets; empty for the top of the file.
    pub(super) fn name(&self) -> &'static str {
        self.prefix.trim_end_matches('.')
    }

    /// How a message names it.
    pub(super) fn label(&self) -> String {
        match self.name() {
            "" => "the top of the file".to_owned(),
            name => format!("[{name}]"),
        }
    }

    pub(super) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// The section of this name, dotted.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        StackConfig::SECTIONS.iter().copied().find(|section| section.name() == name)
    }

    /// The last parts of the names of the sections directly within this one.
    pub(super) fn children(&self) -> impl Iterator<Item = &'static str> {
        StackConfig::SECTIONS.iter().filter_map(|section| {
            let inner = section.name().strip_prefix(self.prefix)?;
            (!inner.is_empty() && !inner.contains('.')).then_some(inner)
        })
    }
}

/// One key.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) prefix: &'static str,
    pub(super) key: &'static str,
    /// Its doc comment, a line each.
    pub(super) about: &'static [&'static str],
    /// Whether a running stack follows a change; every other key is read at the start.
    pub(super) live: bool,
    pub(super) shape: fn() -> Shape,
    pub(super) get: fn(&StackConfig) -> Scalar<'_>,
    pub(super) set: fn(&mut StackConfig, &Scalar<'_>) -> Result<(), Refused>,
}

impl Field {
    /// Its full name, as in `wal.every`.
    pub(super) fn path(&self) -> String {
        format!("{}{}", self.prefix, self.key)
    }

    /// Its environment variable.
    pub(super) fn variable(&self) -> String {
        format!("NG_{}", self.path().replace('.', "__").to_uppercase())
    }

    /// Every field, in the order of the file.
    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        StackConfig::SECTIONS.iter().flat_map(|section| section.fields)
    }

    /// The field of this full name.
    pub(super) fn named(path: &str) -> Option<&'static Self> {
        Self::all().find(|field| path.strip_prefix(field.prefix).is_some_and(|key| key == field.key))
    }
}

/// `config.a.b.key` from `config`, `(a.b)` and `key`.
macro_rules! reach {
    ($config:ident, ($($part:ident).*), $key:ident) => { $config $(.$part)* .$key };
}

/// `"a.b."` from `(a.b)`.
macro_rules! prefix {
    (($($part:ident).*)) => { concat!("" $(, stringify!($part), ".")*) };
}

/// The limits written, or none.
macro_rules! limits {
    () => {
        ()
    };
    ($limits:expr) => {
        $limits
    };
}

/// Whether `live` was written.
macro_rules! is_live {
    () => {
        false
    };
    (live) => {
        true
    };
}

/// The layer written, or none.
macro_rules! layer {
    () => {
        None
    };
    ($layer:ident) => {
        Some($crate::config::Layer::$layer)
    };
}

/// Declares a section: a struct with a public field for each key, and its part of the table. A key
/// that a running stack follows ends with `=> live`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident at $path:tt $(needs $layer:ident)? {
            $(
                $(#[doc = $doc:literal])+
                $key:ident : $type:ty = $default:expr $(, $limits:expr)? $(=> $live:ident)?;
            )*
        }
        $(with { $( #[doc = $inner_doc:literal] $inner:ident : $inner_type:ident, )+ })?
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $key: $type, )*
            $($( #[doc = $inner_doc] pub $inner: $inner_type, )+)?
        }

        impl $name {
            pub(super) const SECTION: $crate::config::table::Section = $crate::config::table::Section {
                prefix: prefix!($path),
                about: &[$( $about.trim_ascii() ),+],
                layer: layer!($($layer)?),
                fields: &[$( $crate::config::table::Field {
                    prefix: prefix!($path),
                    key: stringify!($key),
                    about: &[$( $doc.trim_ascii() ),+],
                    live: is_live!($($live)?),
                    shape: || <$type as $crate::config::setting::Setting>::shape(&limits!($($limits)?)),
                    get: |config| $crate::config::setting::Setting::show(&reach!(config, $path, $key)),
                    set: |config, scalar| {
                        reach!(config, $path, $key) =
                            $crate::config::setting::Setting::read(scalar, &limits!($($limits)?))?;
                        Ok(())
                    },
                } ),*],
            };

            /// What the table says, whatever is compiled in.
            pub(super) fn tabled() -> Self {
                Self {
                    $( $key: $default, )*
                    $($( $inner: $inner_type::tabled(), )+)?
                }
            }
        }
    };
}

pub(super) use {is_live, layer, limits, prefix, reach, section};
