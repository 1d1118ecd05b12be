//! What each layer costs: alone over the bare store, and by its absence from the full stack.
//!
//! All stacks do the same work in turn, round after round, and differences are taken within a
//! round, so that a slow minute of the machine hits both sides. A cost that is smaller than its
//! own spread is called inconclusive.

use super::bench::{On, once};
use super::spread::Spread;
use super::work::Batches;
use super::{Options, StressError};

/// The layers, by their section in the configuration.
pub const LAYERS: [&str; 5] = ["guardian", "wal", "metrics", "tracing", "blackbox"];

/// One layer's cost.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LayerCost {
    /// Its section in the configuration.
    #[serde(skip)]
    pub name: &'static str,
    /// Nanoseconds a token that it adds to the bare store.
    pub alone_ns: f64,
    /// Nanoseconds a token that the full stack saves without it.
    pub removed_ns: f64,
    /// The distance of the quartiles of `removed_ns`.
    pub spread_ns: f64,
    /// The distance of the quartiles of `alone_ns`.
    pub alone_spread_ns: f64,
    /// `removed_ns` as a share of the full stack's time.
    pub share: f64,
    /// `measured`, or `inconclusive` where the spread exceeds the difference, or that is below zero.
    pub verdict: &'static str,
}

/// All layers' costs, and whether they add up.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Ablation {
    /// The bare store, in nanoseconds a token.
    pub baseline_ns: Spread,
    /// The full stack, in nanoseconds a token, every token logged and durable.
    pub full_ns: Spread,
    /// The bare store and all `removed_ns` together.
    pub sum_ns: f64,
    /// Whether `sum_ns` is the full stack's time, within the spreads.
    pub adds_up: bool,
    /// The layers.
    #[serde(skip)]
    pub layers: Vec<LayerCost>,
}

pub(super) fn measure(options: &Options, batches: &mut Batches) -> Result<Ablation, StressError> {
    let full = On::only(&options.layers);
    let layers = &options.layers;
    let (mut bare, mut whole) = (Vec::new(), Vec::new());
    let mut alone = vec![Vec::new(); layers.len()];
    let mut without = vec![Vec::new(); layers.len()];
    for _ in 0..options.rounds {
        let mut run = |on| once(options, batches, on, 1).map(|run| run.ns_per_token(options.tokens));
        bare.push(run(On::NONE)?);
        whole.push(run(full)?);
        for ((layer, alone), without) in layers.iter().zip(&mut alone).zip(&mut without) {
            alone.push(run(On::only(&[layer]))?);
            let mut less = full;
            less.set(layer, false);
            without.push(run(less)?);
        }
    }
    let (baseline_ns, full_ns) = (Spread::of(bare.clone()), Spread::of(whole.clone()));
    let differences = |left: &[f64], right: &[f64]| {
        Spread::of(left.iter().zip(right).map(|(left, right)| left - right).collect())
    };
    let layers: Vec<_> = layers
        .iter()
        .zip(alone.iter().zip(&without))
        .map(|(name, (alone, without))| {
            let (added, removed) = (differences(alone, &bare), differences(&whole, without));
            LayerCost {
                name,
                alone_ns: added.median,
                removed_ns: removed.median,
                spread_ns: removed.width(),
                alone_spread_ns: added.width(),
                share: removed.median / full_ns.median,
                verdict: verdict(&removed),
            }
        })
        .collect();
    let sum_ns = baseline_ns.median + layers.iter().map(|layer| layer.removed_ns).sum::<f64>();
    let allowed =
        full_ns.width() + baseline_ns.width() + layers.iter().map(|layer| layer.spread_ns).sum::<f64>();
    let adds_up = (sum_ns - full_ns.median).abs() <= allowed;
    Ok(Ablation { baseline_ns, full_ns, sum_ns, adds_up, layers })
}

/// No layer costs less than nothing: a difference below zero is the machine's, however steady.
fn verdict(removed: &Spread) -> &'static str {
    if removed.width() <= removed.median { "measured" } else { "inconclusive" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_within_its_spread_or_below_zero_says_nothing() {
        let of = |median: f64, width: f64| Spread { median, lower: median, upper: median + width };
        assert_eq!(verdict(&of(5.0, 4.0)), "measured");
        assert_eq!(verdict(&of(5.0, 6.0)), "inconclusive");
        assert_eq!(verdict(&of(-18.0, 1.0)), "inconclusive");
    }
}
