//! Quotas and pools as they are written down: a list of names, each with the name of what it is in.
//! It makes the trees out of the list, whatever its order, or says what is wrong with it and makes
//! nothing.

use super::pool::{Pool, PoolError, PoolOptions};
use crate::marks::{CleanupAt, MarkFractions};
use ng_core::store::DomainSet;
use std::collections::BTreeMap;

/// Domains of ids: bits 28–31.
pub(crate) const DOMAINS: usize = 16;

/// One quota or pool to be.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSpec {
    /// Its name, unlike all others; not `tokens`, which is the guardian's own.
    pub name: String,
    /// The quota or pool that it is in: `tokens`, or the name of another one. `None` makes it a
    /// quota of its own, whose units are called by its name.
    pub parent: Option<String>,
    /// Limit, lease and rate.
    pub options: PoolOptions,
    /// The domain whose tokens count in it, 0–15: whoever makes or deletes a token of this domain, in
    /// whichever lane, takes from this pool and gives back to it. Only within `tokens`.
    pub domain: Option<u8>,
    /// The share of its limit at which it is told, once until use has sunk
    /// [`rearm`](crate::GuardianOptions::rearm) below it; `None` tells nothing.
    pub soft_mark: Option<f64>,
    /// The share of its limit above which a cleanup of its own starts, once until use has sunk as far
    /// below it: only tokens of its domains, and of those of the pools within it, go. `None` starts none.
    pub cleanup_mark: Option<f64>,
    /// What such a cleanup brings use down to; below that mark. Default 0.80.
    pub cleanup_target: f64,
}

impl PoolSpec {
    /// A quota of its own, with a limit.
    #[must_use]
    pub fn new(name: &str, limit: u64) -> Self {
        let options = PoolOptions { limit, ..PoolOptions::default() };
        Self {
            name: name.to_owned(),
            parent: None,
            options,
            domain: None,
            soft_mark: None,
            cleanup_mark: None,
            cleanup_target: 0.80,
        }
    }

    /// The same within another one.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        Self { parent: Some(parent.to_owned()), ..self }
    }

    /// Its marks, if they make sense together.
    pub(crate) fn marks(
        &self,
        path: &str,
        rearm: f64,
        domains: DomainSet,
    ) -> Result<MarkFractions, PoolError> {
        let Self { soft_mark: soft, cleanup_mark, cleanup_target: target, .. } = *self;
        for (mark, given) in [("soft_mark", soft), ("cleanup_mark", cleanup_mark)] {
            if let Some(given) = given.filter(|given| !(*given > rearm && *given <= 1.0)) {
                let (pool, given) = (path.to_owned(), given.to_string());
                return Err(PoolError::BadMark { pool, mark, given, rearm: rearm.to_string() });
            }
        }
        if let Some(mark) = cleanup_mark {
            for (lower, given) in [("soft_mark", soft), ("cleanup_target", Some(target))] {
                if let Some(given) = given.filter(|given| !(*given < mark && *given > 0.0)) {
                    let (pool, lower_given) = (path.to_owned(), given.to_string());
                    let cleanup_mark = mark.to_string();
                    return Err(PoolError::MarkOrder { pool, lower, lower_given, cleanup_mark });
                }
            }
            if domains.is_empty() {
                return Err(PoolError::NothingToClean { pool: path.to_owned() });
            }
        }
        let cleanup = cleanup_mark.map(|mark| CleanupAt { mark, target });
        Ok(MarkFractions { soft, cleanup, rearm })
    }
}

/// One of them as it was made.
#[derive(Debug)]
pub(crate) struct PlannedPool {
    pub(crate) name: String,
    pub(crate) pool: Pool,
    /// Those whose tokens count in it: its own, and those of the pools within it.
    pub(crate) domains: DomainSet,
    /// Whether it is within the guardian's own quota.
    pub(crate) in_tokens: bool,
    pub(crate) marks: MarkFractions,
}

/// What a plan came to.
#[derive(Debug, Default)]
pub(crate) struct Planned {
    /// All of them, by name.
    pub(crate) pools: BTreeMap<String, Pool>,
    /// The same with what is watched of them, in the order of the list.
    pub(crate) watched: Vec<PlannedPool>,
    /// The pool of each domain that has one.
    pub(crate) domains: [Option<Pool>; DOMAINS],
}

impl Planned {
    /// `tokens` is the guardian's own quota; `rearm` what marks must be above.
    pub(crate) fn new(tokens: &Pool, rearm: f64, specs: &[PoolSpec]) -> Result<Self, PoolError> {
        let mut named: BTreeMap<&str, &PoolSpec> = BTreeMap::new();
        for spec in specs {
            if spec.name == tokens.resource() || named.insert(&spec.name, spec).is_some() {
                return Err(PoolError::Exists { name: spec.name.clone() });
            }
        }
        let mut planned = Self::default();
        for spec in specs {
            planned.make(tokens, &named, spec)?;
        }
        let domains = domains_of(&named, specs);
        for spec in specs {
            let Some(pool) = planned.pools.get(&spec.name) else { continue };
            let in_tokens = pool.leases().is_kin(tokens.leases());
            if let Some(domain) = spec.domain {
                Bind { pool, domain, in_tokens }.into(&mut planned.domains)?;
            }
            let domains = domains.get(spec.name.as_str()).copied().unwrap_or_default();
            let marks = spec.marks(pool.path(), rearm, domains)?;
            let (name, pool) = (spec.name.clone(), pool.clone());
            planned.watched.push(PlannedPool { name, pool, domains, in_tokens, marks });
        }
        Ok(planned)
    }

    /// Makes a pool after all those that it is in, nearest last.
    fn make(
        &mut self,
        tokens: &Pool,
        named: &BTreeMap<&str, &PoolSpec>,
        spec: &PoolSpec,
    ) -> Result<(), PoolError> {
        let mut way = vec![spec];
        while let Some(parent) = way.last().and_then(|spec| spec.parent.as_deref()) {
            if parent == tokens.resource() || self.pools.contains_key(parent) {
                break;
            }
            let pool = || way.last().map(|spec| spec.name.clone()).unwrap_or_default();
            let Some(above) = named.get(parent) else {
                let known: Vec<_> = std::iter::once(tokens.resource()).chain(named.keys().copied()).collect();
                return Err(PoolError::UnknownParent {
                    pool: pool(),
                    parent: parent.to_owned(),
                    known: known.join(", "),
                });
            };
            if way.iter().any(|spec| spec.name == above.name) {
                let names = way.iter().map(|spec| spec.name.as_str()).chain([above.name.as_str()]);
                return Err(PoolError::Circle { way: names.collect::<Vec<_>>().join(" in ") });
            }
            way.push(above);
        }
        for spec in way.into_iter().rev() {
            if self.pools.contains_key(&spec.name) {
                continue;
            }
            let pool = match spec.parent.as_deref() {
                None => Pool::new(&spec.name, spec.options)?,
                Some(parent) if parent == tokens.resource() => tokens.child(&spec.name, spec.options)?,
                Some(parent) => match self.pools.get(parent) {
                    Some(parent) => parent.child(&spec.name, spec.options)?,
                    None => continue,
                },
            };
            self.pools.insert(spec.name.clone(), pool);
        }
        Ok(())
    }
}

/// The domains of each pool and of those within it; there is no circle.
fn domains_of<'a>(
    named: &BTreeMap<&'a str, &'a PoolSpec>,
    specs: &'a [PoolSpec],
) -> BTreeMap<&'a str, DomainSet> {
    let mut found: BTreeMap<&str, DomainSet> = BTreeMap::new();
    for spec in specs {
        let Some(domain) = spec.domain else { continue };
        let mut next = Some(spec);
        while let Some(spec) = next {
            found.entry(&spec.name).or_default().insert(domain);
            next = spec.parent.as_deref().and_then(|parent| named.get(parent).copied());
        }
    }
    found
}

struct Bind<'a> {
    pool: &'a Pool,
    domain: u8,
    in_tokens: bool,
}

impl Bind<'_> {
    fn into(self, domains: &mut [Option<Pool>; DOMAINS]) -> Result<(), PoolError> {
        let Self { pool, domain, in_tokens } = self;
        let path = || pool.path().to_owned();
        if !in_tokens {
            return Err(PoolError::DomainElsewhere { pool: path(), domain });
        }
        match domains.get_mut(usize::from(domain)) {
            None => Err(PoolError::NoDomain { pool: path(), domain }),
            Some(Some(other)) => {
                Err(PoolError::DomainTaken { pool: path(), domain, other: other.path().to_owned() })
            }
            Some(empty) => {
                *empty = Some(pool.clone());
                Ok(())
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::lease::LeasePool;
    use proptest::prelude::*;

    fn tokens() -> Pool {
        Pool::of(LeasePool::new(1_000, 16), "tokens", None)
    }

    fn plan(specs: &[PoolSpec]) -> Result<Planned, PoolError> {
        Planned::new(&tokens(), 0.05, specs)
    }

    fn fault(specs: &[PoolSpec]) -> String {
        plan(specs).unwrap_err().to_string()
    }

    #[test]
    fn a_list_in_any_order_becomes_trees() {
        let specs = [
            PoolSpec::new("group", 10).within("acme"),
            PoolSpec::new("acme", 100).within("tokens"),
            PoolSpec::new("connections", 5),
            PoolSpec::new("admin", 2).within("connections"),
        ];
        let planned = plan(&specs).unwrap();
        let paths: Vec<_> = planned.pools.values().map(|pool| pool.path().to_owned()).collect();
        assert_eq!(paths, ["tokens/acme", "connections/admin", "connections", "tokens/acme/group"]);
    }

    #[test]
    fn each_fault_of_a_list_is_named() {
        let new = PoolSpec::new;
        assert_eq!(
            fault(&[new("a", 1).within("nobody")]),
            "a is in \"nobody\", which there is not: write one of tokens, a, or leave it out"
        );
        let circle = [new("a", 1).within("b"), new("b", 1).within("c"), new("c", 1).within("a")];
        assert!(fault(&circle).starts_with("a in b in c in a is a circle"), "{}", fault(&circle));
        assert!(fault(&[new("a", 1).within("a")]).starts_with("a in a is a circle"));
        assert!(fault(&[new("a", 1), new("a", 2)]).contains("the quota a exists already"));
        assert!(fault(&[new("tokens", 1)]).contains("the quota tokens exists already"));
        assert!(fault(&[new("a", 0)]).contains("a: limit = 0"));
        assert!(
            fault(&[new("a", 2_000).within("tokens")]).contains("above that of the pool it is in (1000)")
        );
        assert!(fault(&[new("a", 2), new("b", 3).within("a")]).contains("a/b: limit = 3"));
        assert!(fault(&[new("a/b", 1)]).contains("can't name a pool"));
        let marked = |mark| PoolSpec { soft_mark: Some(mark), ..new("a", 1) };
        for mark in [0.0, 0.05, 1.01, f64::NAN, -1.0] {
            assert!(fault(&[marked(mark)]).starts_with(&format!("a: soft_mark = {mark}")));
        }
        let cleaned = |spec: PoolSpec, soft, mark, target| {
            let domain = Some(3);
            PoolSpec { soft_mark: soft, cleanup_mark: Some(mark), cleanup_target: target, domain, ..spec }
        };
        let tenant = || new("a", 1).within("tokens");
        assert!(
            fault(&[cleaned(tenant(), None, 0.04, 0.01)]).starts_with("tokens/a: cleanup_mark = 0.04 is no")
        );
        assert!(fault(&[cleaned(tenant(), Some(0.9), 0.9, 0.8)]).contains("soft_mark = 0.9 is not below"));
        for target in [0.9, 0.95, 0.0, f64::NAN] {
            let found = fault(&[cleaned(tenant(), None, 0.9, target)]);
            assert!(found.contains(&format!("cleanup_target = {target} is not below cleanup_mark = 0.9")));
        }
        let nothing = PoolSpec { domain: None, ..cleaned(tenant(), None, 0.9, 0.8) };
        assert!(fault(&[nothing]).starts_with("tokens/a: cleanup_mark asks for a cleanup, but it has no"));
        let of = |name, domain| PoolSpec { domain: Some(domain), ..new(name, 1).within("tokens") };
        assert!(fault(&[of("a", 16)]).starts_with("tokens/a: domain = 16"));
        assert!(fault(&[of("a", 3), of("b", 3)]).contains("domain 3 is that of tokens/a"));
        let elsewhere = PoolSpec { domain: Some(1), ..new("a", 1) };
        assert!(fault(&[elsewhere]).starts_with("a: domain = 1"));
    }

    #[test]
    fn a_pool_has_its_own_domains_and_those_of_the_pools_within_it() {
        let of = |name, domain, parent: &str| PoolSpec { domain, ..PoolSpec::new(name, 1).within(parent) };
        let specs = [
            of("live", Some(3), "acme"),
            of("acme", None, "tokens"),
            of("deep", Some(9), "live"),
            of("other", Some(1), "tokens"),
        ];
        let planned = plan(&specs).unwrap();
        let domains: Vec<_> =
            planned.watched.iter().map(|one| one.domains.iter().collect::<Vec<_>>()).collect();
        assert_eq!(domains, [vec![3, 9], vec![3, 9], vec![9], vec![1]]);
    }

    proptest! {
        /// Whatever is written, it ends, and either every pool is made or none.
        #[test]
        fn any_list_makes_all_or_nothing(parents in proptest::collection::vec(0..9_usize, 1..8)) {
            let specs: Vec<_> = parents.iter().enumerate().map(|(i, parent)| {
                let spec = PoolSpec::new(&format!("p{i}"), 10);
                match parent {
                    0 => spec,
                    1 => spec.within("tokens"),
                    n => spec.within(&format!("p{}", n - 2)),
                }
            }).collect();
            if let Ok(planned) = plan(&specs) {
                prop_assert_eq!(planned.pools.len(), specs.len());
            }
        }
    }
}
