//! Rounds: each case once, in turn, in an order that turns with the rounds.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// One case: a system at a piece of work.
pub struct Case<'a> {
    /// How progress calls it.
    pub name: String,
    /// Does the work once and says what it took, in whatever unit the caller reports.
    pub run: Box<dyn FnMut() -> Result<f64, String> + 'a>,
}

impl<'a> Case<'a> {
    /// A case.
    pub fn new(name: impl Into<String>, run: impl FnMut() -> Result<f64, String> + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// A median and the distance of the quartiles around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The third quartile less the first.
    pub spread: f64,
}

impl Spread {
    /// Of samples in any order; zeros if there are none.
    #[must_use]
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[allow(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an index between two samples"
            )]
            let (below, part) = {
                let place = share * (samples.len().max(1) - 1) as f64;
                (place as usize, place.fract())
            };
            let low = samples.get(below).copied().unwrap_or(0.0);
            let high = samples.get(below + 1).copied().unwrap_or(low);
            low + (high - low) * part
        };
        Self { median: at(0.5), spread: at(0.75) - at(0.25) }
    }
}

/// Runs each case once a round; the first of a round is another one each time, so that no case
/// always follows the same one. Returns the spreads in the order of the cases.
///
/// # Errors
/// What a case says, with its name before it.
pub fn in_turn(rounds: usize, cases: &mut [Case<'_>]) -> Result<Vec<Spread>, String> {
    let mut samples = vec![Vec::with_capacity(rounds); cases.len()];
    // A line that is written over and over is for eyes only.
    let watched = std::io::stderr().is_terminal();
    for round in 0..rounds {
        for step in 0..cases.len() {
            let at = (round + step) % cases.len();
            let (Some(case), Some(samples)) = (cases.get_mut(at), samples.get_mut(at)) else { continue };
            if watched {
                eprint!("\r\x1b[Kround {}/{rounds}: {}", round + 1, case.name);
            }
            samples.push((case.run)().map_err(|why| format!("{}: {why}", case.name))?);
        }
    }
    eprintln!("{}{rounds} rounds of {} cases", if watched { "\r\x1b[K" } else { "" }, cases.len());
    Ok(samples.into_iter().map(Spread::of).collect())
}

/// Nanoseconds an operation of `work`, which does `operations` of them.
pub fn per_operation(operations: u64, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    nanoseconds(began.elapsed(), operations)
}

#[allow(clippy::cast_precision_loss, reason = "times and counts of a run")]
fn nanoseconds(time: Duration, operations: u64) -> f64 {
    time.as_nanos() as f64 / operations.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_and_the_distance_of_the_quartiles() {
        assert_eq!(Spread::of(vec![5.0, 1.0, 3.0, 2.0, 4.0]), Spread { median: 3.0, spread: 2.0 });
        assert_eq!(Spread::of(vec![]), Spread { median: 0.0, spread: 0.0 });
    }

    #[test]
    fn each_case_runs_once_a_round_and_none_is_always_first() {
        let order = std::cell::RefCell::new(Vec::new());
        let case = |name: &'static str| {
            let order = &order;
            Case::new(name, move || {
                order.borrow_mut().push(name);
                Ok(1.0)
            })
        };
        in_turn(2, &mut [case("a"), case("b")]).unwrap_or_default();
        assert_eq!(*order.borrow(), ["a", "b", "b", "a"]);
        assert!(in_turn(1, &mut [Case::new("c", || Err("why".to_owned()))]).is_err());
    }
}
