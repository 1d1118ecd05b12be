//! The quotas on tokens and on their bytes: which of them is the tighter, and how a refusal says
//! so in that quota's own unit.

use crate::error::GuardianError;
use crate::lease::Shortfall;
use ng_core::admission::Refusal;
use ng_core::token::TOKEN_BYTES;

const BYTES: u64 = TOKEN_BYTES as u64;

/// The quotas. A token takes 64 bytes; the tighter of the two is the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most tokens, at least 1. `u64::MAX` leaves it to the bytes. Default 10,000,000.
    pub max_tokens: u64,
    /// The most bytes that tokens may take, at least 64. `u64::MAX` leaves it to the tokens.
    /// Default 1,000,000,000.
    pub max_memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_tokens: 10_000_000, max_memory_bytes: 1_000_000_000 }
    }
}

impl Limits {
    pub(crate) fn validate(&self) -> Result<(), GuardianError> {
        let quotas = [("max_tokens", self.max_tokens, 1), ("max_memory_bytes", self.max_memory_bytes, BYTES)];
        for (option, given, least) in quotas {
            if given < least {
                return Err(GuardianError::TooSmall { option, given, why: "admits no token", least });
            }
        }
        Ok(())
    }

    /// The limit in tokens, at most 2⁵⁸.
    pub(crate) fn tokens(&self) -> u64 {
        self.max_tokens.min(self.max_memory_bytes / BYTES)
    }

    pub(crate) fn refusal(&self, asked: u64, shortfall: &Shortfall, reason: Option<&'static str>) -> Refusal {
        let (quota, unit, limit) = if self.max_tokens <= self.max_memory_bytes / BYTES {
            ("tokens", 1, self.max_tokens)
        } else {
            ("bytes", BYTES, self.max_memory_bytes)
        };
        Refusal {
            quota,
            asked: asked.saturating_mul(unit),
            used: shortfall.level.used * unit,
            limit,
            top: shortfall.top.iter().map(|(name, held)| (name.clone(), held * unit)).collect(),
            reason,
        }
    }
}

/// A refusal by a pool within the guardian's: always in tokens. The holders are named by their way
/// from the root, which says which pool it was.
pub(crate) fn pool_refusal(asked: u64, shortfall: &Shortfall, reason: &'static str) -> Refusal {
    let Shortfall { level, path, top, .. } = shortfall;
    Refusal {
        quota: "tokens",
        asked,
        used: level.used,
        limit: level.limit,
        top: top.iter().map(|(name, held)| (format!("{path}/{name}"), *held)).collect(),
        reason: Some(reason),
    }
}

/// What so many tokens take, in bytes.
pub(crate) fn bytes_of(tokens: u64) -> u64 {
    tokens.saturating_mul(BYTES)
}
