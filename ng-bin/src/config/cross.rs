//! What two keys of a configuration must be to each other.

use super::scalar::Scalar;
use super::sections::StackConfig;

/// A rule between two keys, each within its own limits.
pub(super) struct Rule {
    /// Full names of the two.
    pub(super) keys: [&'static str; 2],
    pub(super) holds: fn(&StackConfig) -> bool,
    /// What is wrong when it does not hold.
    pub(super) message: fn(&StackConfig) -> String,
    /// What to write then.
    pub(super) help: fn(&StackConfig) -> String,
}

/// Declares that one key is below another of its section, or at most equal to it.
macro_rules! order {
    ($($part:ident).+ : $low:ident < $high:ident) => {
        order!($($part).+ : $low, <, "not below", "below", $high)
    };
    ($($part:ident).+ : $low:ident <= $high:ident) => {
        order!($($part).+ : $low, <=, "above", "of at most", $high)
    };
    ($($part:ident).+ : $low:ident, $relation:tt, $wrong:literal, $right:literal, $high:ident) => {
        Rule {
            keys: [
                concat!($(stringify!($part), "."),+, stringify!($low)),
                concat!($(stringify!($part), "."),+, stringify!($high)),
            ],
            holds: |config| config.$($part).+.$low $relation config.$($part).+.$high,
            message: |config| {
                format!(
                    concat!("`{}` is {}, ", $wrong, " `{}`, which is {}"),
                    stringify!($low),
                    Scalar::Real(config.$($part).+.$low),
                    stringify!($high),
                    Scalar::Real(config.$($part).+.$high),
                )
            },
            help: |_| format!(concat!("write a `{}` ", $right, " `{}`"), stringify!($low), stringify!($high)),
        }
    };
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        keys: ["wal.segment_mib", "wal.block_kib"],
        holds: |config| config.wal.segment_mib * 1024 >= 2 * config.wal.block_kib,
        message: |config| {
            format!(
                "a segment of {} MiB does not hold two blocks of {} KiB",
                config.wal.segment_mib, config.wal.block_kib
            )
        },
        help: |config| {
            format!(
                "write a `segment_mib` of {} or more, or a `block_kib` of at most {}",
                (2 * config.wal.block_kib).div_ceil(1024),
                config.wal.segment_mib * 512
            )
        },
    },
    Rule {
        keys: ["serve.tls_cert", "serve.tls_key"],
        holds: |config| config.serve.tls_cert.is_some() == config.serve.tls_key.is_some(),
        message: |config| {
            let (there, missing) = if config.serve.tls_cert.is_some() {
                ("tls_cert", "tls_key")
            } else {
                ("tls_key", "tls_cert")
            };
            format!("there is a `{there}` and no `{missing}`")
        },
        help: |_| "write both for TLS, or none of them".to_owned(),
    },
    order!(guardian: soft_mark < cleanup_mark),
    order!(guardian: cleanup_target < cleanup_mark),
    order!(guardian: rearm < soft_mark),
    Rule {
        keys: ["guardian.memory_rearm", "guardian.memory_mark"],
        holds: |config| {
            config.guardian.memory_mark == 0.0 || config.guardian.memory_rearm < config.guardian.memory_mark
        },
        message: |config| {
            format!(
                "`memory_rearm` is {}, not below `memory_mark`, which is {}",
                Scalar::Real(config.guardian.memory_rearm),
                Scalar::Real(config.guardian.memory_mark),
            )
        },
        help: |_| {
            "write a `memory_rearm` below `memory_mark`, or `memory_mark = 0` to refuse for nothing"
                .to_owned()
        },
    },
    order!(guardian.constitution: weight_min <= weight_max),
    order!(guardian.constitution: radius_min <= radius_max),
    order!(guardian.constitution: strength_min <= strength_max),
];

#[cfg(test)]
mod tests {
    use super::super::table::Field;
    use super::*;

    #[test]
    fn every_rule_names_keys_that_exist_and_holds_for_the_defaults() {
        for rule in RULES {
            for key in rule.keys {
                assert!(Field::named(key).is_some(), "{key}");
            }
            assert!((rule.holds)(&StackConfig::tabled()), "{:?}", rule.keys);
        }
    }
}
