//! Whether the real memory has left the counted one behind: said once, and again only after it
//! came back below half the bound.

/// A bound on the drift, in bytes.
#[derive(Debug)]
pub(crate) struct Drift {
    bound: u64,
    told: bool,
}

impl Drift {
    /// A bound of 0 never tells.
    pub(crate) fn new(bound: u64) -> Self {
        Self { bound, told: false }
    }

    /// Whether this is to be told.
    pub(crate) fn passes(&mut self, drift: i64) -> bool {
        let above = u64::try_from(drift).unwrap_or(0);
        if above < self.bound / 2 {
            self.told = false;
        }
        let tell = self.bound > 0 && above > self.bound && !self.told;
        self.told |= tell;
        tell
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_drift_is_told_once_until_it_came_back() {
        let mut drift = Drift::new(100);
        let told: Vec<_> = [0, 100, 101, 500, 60, 101, 49, 101, -9, 102].map(|d| drift.passes(d)).into();
        let expected = [false, false, true, false, false, false, false, true, false, true];
        assert_eq!(told, expected);
        assert!(!Drift::new(0).passes(i64::MAX));
    }
}
