//! Median and quartiles over rounds, as every benchmark reports them.

use serde_json::{Value, json};

/// Five quantiles of a figure over rounds.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// Minimum.
    pub min: f64,
    /// First quartile.
    pub low: f64,
    /// Median.
    pub median: f64,
    /// Third quartile.
    pub high: f64,
    /// Maximum.
    pub max: f64,
}

impl Spread {
    /// `None` without values.
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        // Linear between the two nearest.
        let at = |share: f64| {
            let place = share * (values.len().checked_sub(1)?) as f64;
            let (below, above) = (values.get(place.floor() as usize)?, values.get(place.ceil() as usize)?);
            Some(below + (above - below) * place.fract())
        };
        Some(Spread { min: at(0.0)?, low: at(0.25)?, median: at(0.5)?, high: at(0.75)?, max: at(1.0)? })
    }

    /// As JSON.
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
