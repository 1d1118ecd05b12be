//! Which layers this program has in it.

use super::sections::{BlackboxKind, GuardianKind, MetricsKind, StackConfig, TracingKind, WalKind};

/// A layer that can be left out when the program is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The write-ahead log.
    Wal,
    /// Limits, cleanup and the constitution.
    Guardian,
    /// Metrics and tracing.
    Telemetry,
    /// The flight recorder.
    Blackbox,
}

impl Layer {
    /// The Cargo feature of ng-stack that builds it in.
    #[must_use]
    pub const fn feature(self) -> &'static str {
        match self {
            Self::Wal => "wal",
            Self::Guardian => "guardian",
            Self::Telemetry => "telemetry",
            Self::Blackbox => "blackbox",
        }
    }
}

/// The layers that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// `[wal]` can be on.
    pub wal: bool,
    /// `[guardian]` can be on.
    pub guardian: bool,
    /// `[metrics]` and `[tracing]` can be on.
    pub telemetry: bool,
    /// `[blackbox]` can be on.
    pub blackbox: bool,
}

impl Features {
    /// Those of this program.
    pub const COMPILED: Self = Self {
        wal: cfg!(feature = "wal"),
        guardian: cfg!(feature = "guardian"),
        telemetry: cfg!(feature = "telemetry"),
        blackbox: cfg!(feature = "blackbox"),
    };

    /// Every layer.
    pub const ALL: Self = Self { wal: true, guardian: true, telemetry: true, blackbox: true };

    /// No layer: the bare store.
    pub const NONE: Self = Self { wal: false, guardian: false, telemetry: false, blackbox: false };

    /// Whether `layer` is among them.
    #[must_use]
    pub const fn has(self, layer: Layer) -> bool {
        match layer {
            Layer::Wal => self.wal,
            Layer::Guardian => self.guardian,
            Layer::Telemetry => self.telemetry,
            Layer::Blackbox => self.blackbox,
        }
    }

    /// Switches every other layer off.
    pub(super) fn limit(self, config: &mut StackConfig) {
        if !self.wal {
            config.wal.kind = WalKind::Off;
        }
        if !self.guardian {
            config.guardian.kind = GuardianKind::Off;
        }
        if !self.telemetry {
            config.metrics.kind = MetricsKind::Off;
            config.tracing.kind = TracingKind::Off;
        }
        if !self.blackbox {
            config.blackbox.kind = BlackboxKind::Off;
        }
    }
}
