//! What is known of a stack at one moment: the document of `GET /v1/live`. Each part and each figure
//! may be missing, since another version or another source knows less.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Live {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: Option<u64>,
    /// Seconds since the start.
    pub uptime_s: Option<f64>,
    /// `recovering`, `ready`, `full`, `poisoned`, `stopping`; of rings also `dead` and `running`.
    pub state: Option<String>,
    /// The program's.
    pub version: Option<String>,
    /// The process.
    pub pid: Option<u64>,
    /// Tokens.
    #[serde(deserialize_with = "or_default")]
    pub tokens: Tokens,
    /// The log.
    #[serde(deserialize_with = "or_default")]
    pub log: Log,
    /// Memory.
    #[serde(deserialize_with = "or_default")]
    pub memory: Memory,
    /// Quotas, by pool.
    #[serde(deserialize_with = "or_default")]
    pub quotas: Vec<Quota>,
    /// Sampling.
    #[serde(deserialize_with = "or_default")]
    pub sampling: Sampling,
    /// Refusals, by reason.
    #[serde(deserialize_with = "or_default")]
    pub refusals: Vec<Refusals>,
    /// The last rare events.
    #[serde(deserialize_with = "or_default")]
    pub events: Vec<Happened>,
    /// Requests.
    #[serde(deserialize_with = "or_default")]
    pub http: Http,
}

/// `null` stands for a part that is not there.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// In the store.
    pub live: Option<f64>,
    /// Made since the start.
    pub made_total: Option<f64>,
    /// Deleted since the start.
    pub deleted_total: Option<f64>,
    /// Refused since the start.
    pub refused_total: Option<f64>,
    /// Made in the last second.
    pub per_s: Option<f64>,
}

/// The log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// `log`, `off` or `custom`.
    pub kind: Option<String>,
    /// How blocks reach the device.
    pub backend: Option<String>,
    /// The last record's number.
    pub appended_lsn: Option<f64>,
    /// The last durable record's number.
    pub durable_lsn: Option<f64>,
    /// Until a record is durable, in µs: the median.
    pub lag_p50_us: Option<f64>,
    /// The same, 99 of 100.
    pub lag_p99_us: Option<f64>,
    /// Bytes that are not durable yet.
    pub lag_bytes: Option<f64>,
    /// Appends that waited for a block.
    pub stalls_total: Option<f64>,
    /// How long they waited, in ms.
    pub stall_ms_total: Option<f64>,
    /// Records dropped.
    pub drops_total: Option<f64>,
    /// Bytes written.
    pub bytes_total: Option<f64>,
    /// Whether it has failed for good.
    pub poisoned: Option<bool>,
}

/// Memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Resident.
    pub rss_bytes: Option<f64>,
    /// Of live tokens.
    pub counted_bytes: Option<f64>,
    /// The quota on counted bytes.
    pub limit_bytes: Option<f64>,
    /// The control group's limit.
    pub cgroup_limit_bytes: Option<f64>,
    /// Share of time that something waited for memory, in percent.
    pub pressure: Option<f64>,
}

/// A quota.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// Of which pool.
    pub name: String,
    /// In use.
    pub used: Option<f64>,
    /// At most.
    pub limit: Option<f64>,
    /// Use at which a warning is recorded.
    pub soft: Option<f64>,
    /// Use at which a cleanup starts.
    pub aggressive: Option<f64>,
    /// Refused since the start.
    pub refused_total: Option<f64>,
}

/// Sampling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Share of operations.
    pub rate: Option<f64>,
    /// Operations sampled.
    pub sampled_total: Option<f64>,
    /// Spans written out.
    pub spans_written_total: Option<f64>,
    /// Spans that found no room.
    pub spans_dropped_total: Option<f64>,
}

/// Refusals of one reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refusals {
    /// Why.
    pub reason: String,
    /// How many since the start.
    pub total: Option<f64>,
}

/// A rare event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Happened {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: Option<u64>,
    /// What.
    pub kind: String,
    /// Where.
    pub thread: String,
    /// In words.
    pub text: String,
}

/// Requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Http {
    /// Open.
    pub connections: Option<f64>,
    /// Answered since the start.
    pub requests_total: Option<f64>,
    /// Being answered.
    pub in_flight: Option<f64>,
    /// Turned away since the start.
    pub rejected_total: Option<f64>,
}

/// The figures of the last minutes that are drawn as lines.
#[derive(Debug, Default)]
pub struct History {
    rate: VecDeque<u64>,
    lag: VecDeque<u64>,
}

/// Points kept: more than the widest terminal shows.
const KEPT: usize = 512;

impl History {
    /// Adds what is known now.
    pub fn push(&mut self, live: &Live) {
        for (kept, value) in [(&mut self.rate, live.tokens.per_s), (&mut self.lag, live.log.lag_p99_us)] {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a cast of a float saturates"
            )]
            kept.push_back(value.unwrap_or(0.0) as u64);
        }
    }

    /// The last `width` rates, with zeros before the first.
    #[must_use]
    pub fn rates(&self, width: usize) -> Vec<u64> {
        last(&self.rate, width)
    }

    /// The last `width` lags at the 99th percentile, in µs.
    #[must_use]
    pub fn lags(&self, width: usize) -> Vec<u64> {
        last(&self.lag, width)
    }
}

fn last(kept: &VecDeque<u64>, width: usize) -> Vec<u64> {
    let shown = kept.len().min(width);
    std::iter::repeat_n(0, width - shown).chain(kept.iter().skip(kept.len() - shown).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_null_or_missing_are_unknown_and_new_ones_are_passed_over() {
        let text = r#"{"state": "recovering", "tokens": {"live": 5, "per_s": null}, "log": null, "quotas": null,
            "stress": {"any": 1}, "something_new": [1]}"#;
        let live: Live = serde_json::from_str(text).unwrap();
        assert_eq!(live.state.as_deref(), Some("recovering"));
        assert_eq!((live.tokens.live, live.tokens.per_s), (Some(5.0), None));
        assert_eq!((live.log, live.quotas), (Log::default(), vec![]));
    }

    #[test]
    fn the_line_ends_with_the_latest_and_never_grows_beyond_what_is_kept() {
        let mut history = History::default();
        for rate in 0..1_000 {
            let tokens = Tokens { per_s: Some(f64::from(rate)), ..Tokens::default() };
            history.push(&Live { tokens, ..Live::default() });
        }
        assert_eq!(history.rates(3), [997, 998, 999]);
        assert_eq!(history.rates(600).iter().filter(|rate| **rate > 0).count(), KEPT);
        assert_eq!(history.lags(2), [0, 0]);
    }
}
