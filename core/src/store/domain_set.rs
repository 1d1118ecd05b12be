//! Some of a store's domains, such as those of one tenant.

use super::DOMAINS;

/// A set of domains, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DomainSet(u16);

impl DomainSet {
    /// Every domain.
    pub const ALL: Self = Self(u16::MAX);

    /// Whether a domain is in it; none above 15 is.
    #[must_use]
    #[inline(always)]
    pub const fn contains(self, domain: u8) -> bool {
        domain < DOMAINS && self.0 >> domain & 1 == 1
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds a domain; one above 15 is left out.
    pub const fn insert(&mut self, domain: u8) {
        if domain < DOMAINS {
            self.0 |= 1 << domain;
        }
    }

    /// Those of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Each, the lowest first.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..DOMAINS).filter(move |domain| self.contains(*domain))
    }
}

impl FromIterator<u8> for DomainSet {
    fn from_iter<I: IntoIterator<Item = u8>>(domains: I) -> Self {
        domains.into_iter().fold(Self::default(), |mut set, domain| {
            set.insert(domain);
            set
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        let set: DomainSet = [3, 15, 3, 16, 200].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 15]);
        assert!(set.contains(3) && !set.contains(4) && !set.contains(16) && !set.contains(255));
        assert!(DomainSet::default().is_empty() && !set.is_empty());
        assert_eq!(DomainSet::ALL.iter().count(), 16);
        assert_eq!(set.union([0].into_iter().collect()).iter().collect::<Vec<_>>(), [0, 3, 15]);
    }
}
