//! Medians and quartiles.

/// A figure taken several times.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// A quarter of them is below.
    pub lower: f64,
    /// A quarter of them is above.
    pub upper: f64,
}

impl Spread {
    /// Of at least one figure; of none, all are 0.
    pub(super) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |part: f64| {
            #[expect(clippy::cast_precision_loss, reason = "a handful")]
            let place = part * figures.len().saturating_sub(1) as f64;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful")]
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            match (figures.get(below), figures.get(above)) {
                (Some(below), Some(above)) => below + (above - below) * place.fract(),
                _ => 0.0,
            }
        };
        Self { median: at(0.5), lower: at(0.25), upper: at(0.75) }
    }

    /// From the lower quartile to the upper.
    pub(super) fn width(&self) -> f64 {
        self.upper - self.lower
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quartiles_of_five_are_the_second_and_the_fourth() {
        let spread = Spread::of(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!((spread.lower, spread.median, spread.upper, spread.width()), (2.0, 3.0, 4.0, 2.0));
        assert_eq!(Spread::of(vec![7.0]).median, 7.0);
        assert_eq!(Spread::of(vec![1.0, 2.0]).median, 1.5);
    }
}
