//! Each N-th: which tokens are logged when not all are.

/// A countdown to the next token that is due; the N-th, 2N-th, … are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    every: u64,
    left: u64,
}

impl Due {
    /// `every` = 0 counts as 1.
    pub(super) const fn new(every: u64) -> Self {
        let every = if every == 0 { 1 } else { every };
        Self { every, left: every }
    }

    #[inline(always)]
    pub(super) const fn is_every(&self) -> bool {
        self.every == 1
    }

    /// Passes over `n` tokens if none of them is due; else does nothing and says `false`.
    #[inline(always)]
    pub(super) fn skip(&mut self, n: u32) -> bool {
        let skips = self.left > u64::from(n);
        if skips {
            self.left -= u64::from(n);
        }
        skips
    }

    /// Counts one token and says whether it is due.
    pub(super) fn next(&mut self) -> bool {
        self.left -= 1;
        let due = self.left == 0;
        if due {
            self.left = self.every;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn skipping_and_counting_agree_with_the_remainder(every in 0u64..50, steps in proptest::collection::vec(1u32..40, 1..60)) {
            let mut due = Due::new(every);
            let mut counted = 0u64;
            for n in steps {
                let expected: Vec<bool> = (1..=u64::from(n)).map(|i| (counted + i).is_multiple_of(every.max(1))).collect();
                counted += u64::from(n);
                if due.skip(n) {
                    prop_assert!(!expected.contains(&true));
                } else {
                    let got: Vec<bool> = (0..n).map(|_| due.next()).collect();
                    prop_assert!(expected.contains(&true));
                    prop_assert_eq!(got, expected);
                }
            }
        }
    }
}
