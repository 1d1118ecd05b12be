//! The shared side of sampling: the rates in force, and the counts of all lanes.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use ng_core::sampling::{SamplerLane, SamplerStats, SpanSampler};
use rand::{SeedableRng, rngs::SmallRng};

use super::{
    controller::{Adaptive, Average, Controller},
    counts::Counts,
    gate::Gate,
    limiter::Limiter,
    operation::{Operation, Rate},
    rules::{Rule, RuleAction, RuleError},
    tally::{Tallies, Tally},
};
use crate::roster::Roster;

/// A sampling rate that is none.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("sampling rate {rate} is not a share: give a number from 0 (nothing) to 1 (everything)")]
pub struct RateError {
    /// What was given.
    pub rate: f64,
}

/// A rate that is between 0 and 1.
fn checked(rate: f64) -> Result<f64, RateError> {
    if (0.0..=1.0).contains(&rate) { Ok(rate) } else { Err(RateError { rate }) }
}

/// Names of operations that can have a rate of their own; further ones share one.
pub const MAX_OPERATIONS: usize = 1_024;

/// How a [`Sampler`] is made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SamplerOptions {
    /// The share of operations that is sampled, 0–1, until it is changed; not looked at with
    /// `adaptive`.
    pub rate: f64,
    /// Lets a target set the rate.
    pub adaptive: Option<Adaptive>,
    /// Rules for operations by name; the first that fits counts.
    pub rules: Vec<Rule>,
    /// Sampled operations a second at most, by the rate (held by lowering it, within a second) and
    /// by wishes (forced, priority, a rate of the caller's own; held at once). Counts as at least 1.
    /// Those of a sampled parent are not limited: traces would come apart.
    pub limit_per_second: Option<f64>,
    /// Makes each run draw the same; from the system's randomness otherwise.
    pub seed: Option<u64>,
}

/// Why a [`Sampler`] could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SamplerError {
    /// See [`RateError`].
    #[error(transparent)]
    Rate(#[from] RateError),
    /// See [`RuleError`].
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// No thread was to be had.
    #[error("the operating system gives no thread for adaptive sampling: check its thread limit")]
    Thread(#[source] std::io::Error),
}

/// What the lanes of a sampler share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// In force for operations without a name or a rule.
    pub(crate) rate: Rate,
    /// Moves with each change of any rate, and of what lanes have to know besides.
    version: Rate,
    /// What was asked for.
    wanted: AtomicU64,
    off: AtomicBool,
    adaptive: Option<Adaptive>,
    limit: Option<f64>,
    rules: Vec<Rule>,
    operations: Mutex<Vec<&'static Operation>>,
    others: OnceLock<&'static Operation>,
    average: Mutex<Average>,
    pub(super) limiter: Limiter,
    pub(crate) roster: Roster<Tally>,
    /// Of operations with a name.
    pub(crate) counts: Counts,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Whether sampling is switched off.
    #[inline]
    pub(crate) fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    /// Changes whenever a lane should look at its rates again.
    #[inline(always)]
    pub(crate) fn version(&self) -> u64 {
        self.version.bits()
    }

    /// Has lanes look again.
    pub(crate) fn bump(&self) {
        self.version.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A new lane's tally.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        self.roster.enter(Tally::new())
    }

    /// The operation of this name; beyond [`MAX_OPERATIONS`], the one that all others share.
    pub(crate) fn operation(&self, name: &str) -> &'static Operation {
        let mut known = lock(&self.operations);
        if let Some(operation) = known.iter().find(|operation| *operation.name == *name) {
            return operation;
        }
        // There are at most MAX_OPERATIONS and one.
        let make = |name: &str, action| {
            Operation::leak(name, action, self.rate_of(action, None), self.needs_controller())
        };
        if known.len() >= MAX_OPERATIONS {
            return self.others.get_or_init(|| make("_others", None));
        }
        let action = self.rules.iter().find(|rule| rule.fits(name)).map(|rule| rule.action);
        let operation = make(name, action);
        known.push(operation);
        operation
    }

    /// The rate that holds for an action, at so many operations a second if that is known.
    fn rate_of(&self, action: Option<RuleAction>, per_second: Option<f64>) -> f64 {
        if self.is_off() {
            return 0.0;
        }
        let rate = match (action, self.adaptive) {
            (Some(RuleAction::Rate(rate)), _) => rate,
            (Some(RuleAction::Adaptive(adaptive)), _) | (None, Some(adaptive)) => {
                adaptive.rate_for(per_second.unwrap_or(0.0))
            }
            (None, None) => f64::from_bits(self.wanted.load(Ordering::Relaxed)),
        };
        match (self.limit, per_second) {
            (Some(limit), Some(per_second)) if per_second > 0.0 => rate.min(limit.max(1.0) / per_second),
            _ => rate,
        }
    }

    /// Sets every rate anew.
    fn refresh(&self, per_second: impl Fn(&Mutex<Average>, u64) -> Option<f64>) {
        let totals = self.roster.totals();
        let operations = lock(&self.operations).clone();
        let others = self.others.get().copied();
        let mut changed = false;
        let mut set = |cell: &Rate, rate: f64| {
            let old = f64::from_bits(cell.bits());
            // A rate that hardly moves is left alone: lanes would draw anew for nothing.
            let same = (old == 0.0) == (rate == 0.0) && (rate - old).abs() <= 0.02 * old;
            if !same {
                cell.set(rate);
                changed = true;
            }
        };
        let unnamed = per_second(&self.average, totals.operations);
        set(&self.rate, self.rate_of(None, unnamed));
        for operation in operations.into_iter().chain(others) {
            let seen = per_second(&operation.average, operation.told());
            set(&operation.rate, self.rate_of(operation.action, seen));
        }
        if changed {
            self.bump();
        }
    }

    /// The controller's round, `seconds` after the last.
    pub(super) fn control(&self, seconds: f64) {
        self.refresh(|average, count| Some(lock(average).update(count, seconds)));
    }

    fn needs_controller(&self) -> bool {
        let by_rule = |rule: &Rule| matches!(rule.action, RuleAction::Adaptive(_));
        self.adaptive.is_some() || self.limit.is_some() || self.rules.iter().any(by_rule)
    }
}

/// The sampler of a stack: its rates hold for all lanes, and can change at any time.
///
/// ```
/// use ng_core::sampling::{SamplerLane, SpanSampler};
/// use ng_telemetry::Sampler;
///
/// let sampler = Sampler::new(0.01, None)?;
/// let mut gate = sampler.open_lane();
/// // One call for a batch of operations; the next one goes on behind the sampled one.
/// let (mut left, mut sampled) = (10_000, 0);
/// while let Some(index) = gate.gate(left) {
///     left -= index + 1;
///     sampled += 1;
/// }
/// assert_eq!(sampler.stats().by_reason[0], sampled);
/// # Ok::<(), ng_telemetry::SamplerError>(())
/// ```
#[derive(Debug)]
pub struct Sampler {
    shared: Arc<Shared>,
    seed: Option<u64>,
    opened: AtomicU64,
    /// At work until the sampler ends.
    controller: Option<Controller>,
}

impl Sampler {
    /// A sampler at `rate`, 0–1. With a `seed`, the n-th lane draws the same in each run; without
    /// one, from the system's randomness.
    ///
    /// # Errors
    /// [`SamplerError::Rate`] if the rate is not in 0–1.
    pub fn new(rate: f64, seed: Option<u64>) -> Result<Self, SamplerError> {
        Self::start(SamplerOptions { rate, seed, ..SamplerOptions::default() })
    }

    /// A sampler with rules, a target or a limit: the latter two by a thread, `ng-sampling`.
    ///
    /// # Errors
    /// See [`SamplerError`].
    pub fn start(options: SamplerOptions) -> Result<Self, SamplerError> {
        let mut sampler = Self::uncontrolled(options)?;
        if sampler.shared.needs_controller() {
            let controller = Controller::start(Arc::clone(&sampler.shared)).map_err(SamplerError::Thread)?;
            sampler.controller = Some(controller);
        }
        Ok(sampler)
    }

    /// One whose rates nobody steers yet.
    fn uncontrolled(options: SamplerOptions) -> Result<Self, SamplerError> {
        let SamplerOptions { rate, adaptive, rules, limit_per_second, seed } = options;
        let wanted = checked(rate)?;
        if let Some(adaptive) = adaptive {
            checked(adaptive.floor)?;
            checked(adaptive.ceiling)?;
        }
        rules.iter().try_for_each(Rule::check)?;
        let shared = Arc::new(Shared {
            rate: Rate::new(adaptive.map_or(wanted, |adaptive| adaptive.rate_for(0.0))),
            version: Rate(AtomicU64::new(1)),
            wanted: AtomicU64::new(wanted.to_bits()),
            off: AtomicBool::new(false),
            adaptive,
            limit: limit_per_second,
            rules,
            operations: Mutex::default(),
            others: OnceLock::new(),
            average: Mutex::default(),
            limiter: Limiter::new(limit_per_second),
            roster: Roster::new(),
            counts: Counts::new(),
        });
        Ok(Self { shared, seed, opened: AtomicU64::new(0), controller: None })
    }

    /// A new lane, as its own type, so that its calls can be inlined.
    #[must_use]
    pub fn open_lane(&self) -> Gate {
        Gate::new(Arc::clone(&self.shared), self.random())
    }

    /// The generator of the next lane.
    pub(crate) fn random(&self) -> SmallRng {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        match self.seed {
            Some(seed) => SmallRng::seed_from_u64(seed.wrapping_add(number)),
            None => rand::make_rng(),
        }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Changes the rate of operations without a rule; each lane follows with its next operation.
    /// While a target sets the rate, this one waits until there is none.
    ///
    /// # Errors
    /// [`RateError`] if the rate is not in 0–1; the old one stays in force.
    pub fn try_set_rate(&self, rate: f64) -> Result<(), RateError> {
        self.shared.wanted.store(checked(rate)?.to_bits(), Ordering::Relaxed);
        if self.shared.adaptive.is_none() && !self.shared.is_off() {
            self.shared.rate.set(rate);
        }
        self.refresh_named();
        Ok(())
    }

    /// The kill switch: with `false` nothing is sampled any more, forced or not, until `true`.
    pub fn set_enabled(&self, enabled: bool) {
        self.shared.off.store(!enabled, Ordering::Relaxed);
        self.shared.rate.set(self.shared.rate_of(None, None));
        self.refresh_named();
    }

    fn refresh_named(&self) {
        let shared = &self.shared;
        for operation in lock(&shared.operations).iter().chain(shared.others.get()) {
            operation.rate.set(shared.rate_of(operation.action, None));
        }
        shared.bump();
    }

    /// The rates in force of operations that came up by name.
    #[must_use]
    pub fn operation_rates(&self) -> Vec<(String, f64)> {
        let operations = lock(&self.shared.operations);
        let rate = |o: &&'static Operation| (o.name.to_string(), f64::from_bits(o.rate.bits()));
        operations.iter().map(rate).collect()
    }
}

impl SpanSampler for Sampler {
    fn lane(&self) -> Box<dyn SamplerLane> {
        Box::new(self.open_lane())
    }

    fn rate(&self) -> f64 {
        f64::from_bits(self.shared.rate.bits())
    }

    fn set_rate(&self, rate: f64) -> bool {
        self.try_set_rate(rate).is_ok()
    }

    fn stats(&self) -> SamplerStats {
        let Tallies { by_reason, failed, operations, limited } = self.shared.roster.totals();
        // Afterwards: an operation is counted before its decision is.
        let operations = operations.wrapping_add(self.shared.counts.total());
        SamplerStats { rate: self.rate(), by_reason, failed, operations, limited }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use ng_core::sampling::Reason;

    use super::*;

    #[test]
    fn a_rate_outside_0_to_1_is_refused_and_the_old_one_stays() {
        for rate in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Sampler::new(rate, None).is_err(), "{rate}");
            let sampler = Sampler::new(0.5, None).unwrap();
            let error = sampler.try_set_rate(rate).unwrap_err();
            assert_eq!(error.rate.to_bits(), rate.to_bits());
            assert!((sampler.rate() - 0.5).abs() < f64::EPSILON);
        }
        assert!(RateError { rate: 1.5 }.to_string().contains("1.5"));
    }

    #[test]
    fn a_seed_gives_each_lane_its_own_draws_and_each_run_the_same() {
        let draws = |seed| {
            let sampler = Sampler::new(0.01, Some(seed)).unwrap();
            [sampler.open_lane(), sampler.open_lane()]
                .map(|mut gate| (0..20).map(|_| gate.gate(u64::MAX)).collect::<Vec<_>>())
        };
        let [first, second] = draws(7);
        assert_ne!(first, second);
        assert_eq!(draws(7), [first, second]);
    }

    #[test]
    fn the_kill_switch_stops_everything_and_gives_it_back() {
        let rules = vec![Rule::rate("a", 1.0)];
        let sampler =
            Sampler::start(SamplerOptions { rate: 1.0, rules, ..SamplerOptions::default() }).unwrap();
        let mut gate = sampler.open_lane();
        let named = sampler.shared().operation("a");
        let forced = ng_core::sampling::SpanContext { forced: true, ..Default::default() };
        assert!(gate.gate(1).is_some() && gate.decide(&forced).sampled);
        sampler.set_enabled(false);
        assert!(gate.gate(1_000).is_none());
        let decision = gate.decide(&forced);
        assert_eq!((decision.sampled, decision.reason), (false, Reason::Off));
        assert_eq!(named.rate.bits(), 0.0_f64.to_bits());
        assert!(sampler.set_rate(0.5));
        assert!(gate.gate(1_000).is_none(), "a new rate does not switch it on");
        sampler.set_enabled(true);
        assert!(gate.gate(1_000).is_some());
        assert_eq!(f64::from_bits(named.rate.bits()), 1.0);
    }

    #[test]
    fn names_have_the_first_rule_that_fits_and_are_capped() {
        let rules = vec![Rule::rate("http.*", 0.25), Rule::rate("http.get", 0.75)];
        let sampler =
            Sampler::start(SamplerOptions { rate: 0.5, rules, ..SamplerOptions::default() }).unwrap();
        let rate = |name: &str| f64::from_bits(sampler.shared().operation(name).rate.bits());
        assert_eq!((rate("http.get"), rate("other")), (0.25, 0.5));
        for n in 0..2 * MAX_OPERATIONS {
            rate(&n.to_string());
        }
        assert_eq!(sampler.operation_rates().len(), MAX_OPERATIONS);
        assert!(sampler.set_rate(0.125));
        assert_eq!((rate("http.get"), rate("other"), rate("new")), (0.25, 0.125, 0.125));
    }

    /// So many seconds of operations at a steady pace, with the controller's ten rounds in each: how
    /// many were sampled in the last one.
    fn run(sampler: &Sampler, gate: &mut Gate, per_second: u64, seconds: u64) -> u64 {
        let mut sampled = 0;
        for round in 0..10 * seconds {
            if round.is_multiple_of(10) {
                sampled = 0;
            }
            let mut left = per_second / 10;
            while let Some(index) = gate.gate(left) {
                left -= index + 1;
                sampled += 1;
            }
            sampler.shared.control(0.1);
        }
        sampled
    }

    #[test]
    fn a_target_is_met_whatever_the_load_and_a_change_of_load_is_followed() {
        let adaptive = Some(Adaptive { target_per_second: 200.0, ..Adaptive::default() });
        let options = SamplerOptions { adaptive, seed: Some(1), ..SamplerOptions::default() };
        let sampler = Sampler::uncontrolled(options).unwrap();
        let mut gate = sampler.open_lane();
        for per_second in [1_000_000, 20_000, 5_000_000] {
            let sampled = run(&sampler, &mut gate, per_second, 4);
            // 200 and six standard deviations.
            assert!((115..285).contains(&sampled), "{sampled} a second at {per_second} operations");
        }
    }

    #[test]
    fn a_limit_holds_the_rate_down_and_wishes_at_once() {
        let limit_per_second = Some(100.0);
        let options =
            SamplerOptions { rate: 1.0, limit_per_second, seed: Some(2), ..SamplerOptions::default() };
        let sampler = Sampler::uncontrolled(options).unwrap();
        let mut gate = sampler.open_lane();
        let forced = ng_core::sampling::SpanContext { forced: true, ..Default::default() };
        let began = std::time::Instant::now();
        let let_in = (0..10_000).filter(|_| gate.decide(&forced).sampled).count();
        let most = 101.0 + 100.0 * began.elapsed().as_secs_f64();
        assert!(let_in >= 100 && let_in as f64 <= most, "{let_in}");
        assert_eq!(sampler.stats().limited, 10_000 - let_in as u64);
        let sampled = run(&sampler, &mut gate, 100_000, 4);
        assert!((40..160).contains(&sampled), "{sampled} of 100,000 in a second");
    }

    #[test]
    fn a_thread_steers_the_rate_where_there_is_a_target() {
        let adaptive = Some(Adaptive { target_per_second: 1.0, ..Adaptive::default() });
        let sampler = Sampler::start(SamplerOptions { adaptive, ..SamplerOptions::default() }).unwrap();
        let before = sampler.rate();
        let mut gate = sampler.open_lane();
        let began = std::time::Instant::now();
        while sampler.rate() >= before {
            assert!(began.elapsed().as_secs() < 30, "the rate stays at {before}");
            gate.gate(10_000);
            std::thread::yield_now();
        }
    }
}
