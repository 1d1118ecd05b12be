//! What a service around the stack must know beyond the contracts: the layers as they are. Nothing
//! here starts or changes anything.

use super::Stack;
#[cfg(feature = "blackbox")]
use super::choice::EventChoice;
use super::choice::{AdmissionChoice, MetricChoice, WalChoice};

impl Stack {
    /// The log in use.
    pub(crate) const fn wal_in_use(&self) -> &WalChoice {
        &self.wal
    }

    /// The metrics in use.
    pub(crate) const fn metrics_in_use(&self) -> &MetricChoice {
        &self.metrics
    }

    /// The admission in use.
    pub(crate) const fn admission_in_use(&self) -> &AdmissionChoice {
        &self.admission
    }

    /// The flight recorder in use.
    #[cfg(feature = "blackbox")]
    pub(crate) const fn events_in_use(&self) -> &EventChoice {
        &self.events
    }
}
