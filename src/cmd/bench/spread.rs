//! A figure's spread over rounds, as every bench shows it.

use serde_json::{Value, json};

/// A figure's median with its spread over rounds.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// A quarter is below this.
    pub low: f64,
    /// Half is.
    pub median: f64,
    /// Three quarters are.
    pub high: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        // Between the two that it falls between.
        let at = |share: f64| {
            let place = share * (values.len().checked_sub(1)?) as f64;
            let (below, above) = (values.get(place.floor() as usize)?, values.get(place.ceil() as usize)?);
            Some(below + (above - below) * place.fract())
        };
        Some(Spread { min: at(0.0)?, low: at(0.25)?, median: at(0.5)?, high: at(0.75)?, max: at(1.0)? })
    }

    /// For machines.
    pub fn json(self) -> Value {
        let Spread { min, low, median, high, max } = self;
        json!({ "min": min, "q1": low, "median": median, "q3": high, "max": max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_quantiles() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0, 5.0]).unwrap();
        let Spread { min, low, median, high, max } = spread;
        assert_eq!([min, low, median, high, max], [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(Spread::of(vec![1.0, 2.0]).unwrap().median, 1.5);
        assert!(Spread::of(Vec::new()).is_none());
    }
}
