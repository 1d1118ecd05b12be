//! Whether a wait for the log means that what was made is durable. It looks at the configuration
//! only: what the disk says is the log's business.

use super::{OnFailure, OnFull, WalConfig, WalKind, WalMode};

impl WalConfig {
    /// Why a token may be made and never be durable, though the log says that it is through; `None`
    /// where a wait speaks for every token. Whoever acknowledges asks this first.
    #[must_use]
    pub fn not_durable(&self) -> Option<String> {
        if let Some(why) = self.deletion_not_durable() {
            return Some(why);
        }
        (self.every > 1).then(|| format!("only each {}th token is logged (wal.every)", self.every))
    }

    /// [`Self::not_durable`] of deletions, which are always logged, whatever `every` says.
    #[must_use]
    pub fn deletion_not_durable(&self) -> Option<String> {
        let why = if self.kind == WalKind::Off {
            "there is no log (wal.kind is \"off\")"
        } else if self.mode == WalMode::Os {
            "the log does not sync (wal.mode is \"os\")"
        } else if self.on_full == OnFull::Drop {
            "the log may drop records (wal.on_full is \"drop\")"
        } else if self.on_failure == OnFailure::Continue {
            "the engine goes on without a log that failed (wal.on_failure is \"continue\")"
        } else {
            return None;
        };
        Some(why.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StackConfig;

    #[test]
    fn a_wait_speaks_for_every_token_only_where_each_is_logged_and_synced_or_refused() {
        let sound = WalConfig { kind: WalKind::Log, ..StackConfig::default().wal };
        assert_eq!(sound.not_durable(), None);
        for (config, key) in [
            (WalConfig { kind: WalKind::Off, ..sound.clone() }, "wal.kind"),
            (WalConfig { mode: WalMode::Os, ..sound.clone() }, "wal.mode"),
            (WalConfig { on_full: OnFull::Drop, ..sound.clone() }, "wal.on_full"),
            (WalConfig { on_failure: OnFailure::Continue, ..sound.clone() }, "wal.on_failure"),
        ] {
            assert!(config.not_durable().unwrap().contains(key), "{key}");
            assert_eq!(config.deletion_not_durable(), config.not_durable(), "{key}");
        }
        let sparse = WalConfig { every: 10, ..sound };
        assert!(sparse.not_durable().unwrap().contains("each 10th"));
        assert_eq!(sparse.deletion_not_durable(), None);
    }
}
