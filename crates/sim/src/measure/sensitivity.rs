//! Sensitivity of a ranking to the model's constants. The constants are estimates; a conclusion should hold for values near
//! them as well.

use super::interval::{Estimate, LEVEL};
use super::ranking::difference;
use super::summary::Summary;

/// A pair of strategies that changed places, with both differences significant.
#[derive(Clone, Debug, PartialEq)]
pub struct Reversal {
    /// Better in the base, worse here.
    pub was_better: String,
    /// Worse in the base, better here.
    pub is_better: String,
    /// The advantage here: the paired difference.
    pub difference: Estimate,
}

/// The ranking at a point compared with that of the base.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survival {
    /// Number of pairs with a significant difference at the base point.
    pub told_apart: usize,
    /// Of these, pairs in the same order here, with a significant difference.
    pub kept: usize,
    /// Number of those without a significant difference here.
    pub tied: usize,
    /// Pairs that changed places.
    pub reversed: Vec<Reversal>,
}

/// Compares the order of all pairs by a metric for which lower is better. Strategies that cannot be ranked, here or in the
/// base, are in no pair. Both differences must be significant at a level corrected for the number of pairs.
pub fn survival(base: &[Summary], here: &[Summary], metric: &str) -> Survival {
    let ranked: Vec<(&Summary, &Summary)> = base
        .iter()
        .filter(|summary| !summary.oracle && summary.ranks())
        .filter_map(|b| Some((b, here.iter().find(|h| h.label == b.label && h.ranks())?)))
        .collect();
    let pairs = (ranked.len() * ranked.len().saturating_sub(1) / 2).max(1);
    let level = 1.0 - (1.0 - LEVEL) / pairs as f64;
    let mut survival = Survival::default();
    for (i, a) in ranked.iter().enumerate() {
        for b in &ranked[i + 1..] {
            let order = |e: Option<Estimate>| e.map_or(0, |e| i32::from(e.low > 0.0) - i32::from(e.high < 0.0));
            let then = order(difference(a.0, b.0, metric, level));
            if then == 0 {
                continue;
            }
            survival.told_apart += 1;
            match then * order(difference(a.1, b.1, metric, level)) {
                0 => survival.tied += 1,
                1 => survival.kept += 1,
                _ => {
                    let (better, worse) = if then < 0 { (a.1, b.1) } else { (b.1, a.1) };
                    survival.reversed.push(Reversal {
                        was_better: better.label.clone(),
                        is_better: worse.label.clone(),
                        difference: difference(better, worse, metric, LEVEL).unwrap_or(Estimate::NONE),
                    });
                }
            }
        }
    }
    survival
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::metrics::{Metric, Unit};

    fn field(values: [[f64; 5]; 3]) -> Vec<Summary> {
        let summary = |(label, values): (&str, [f64; 5])| Summary {
            label: label.to_owned(),
            metrics: vec![Metric { name: "m".to_owned(), unit: Unit::Seconds, values: values.to_vec() }],
            ..Summary::default()
        };
        ["a", "b", "c"].into_iter().zip(values).map(summary).collect()
    }

    #[test]
    fn reversed_pairs_are_named() {
        let base = field([[1.0, 1.1, 1.0, 1.1, 1.0], [2.0, 2.2, 2.1, 2.1, 2.0], [3.0, 3.1, 3.0, 3.2, 3.1]]);
        assert_eq!(survival(&base, &base, "m"), Survival { told_apart: 3, kept: 3, ..Survival::default() });
        // c overtakes b; a and b are so close that their order is random.
        let here = field([[1.0, 2.0, 1.0, 2.0, 1.0], [2.0, 1.0, 2.0, 1.0, 2.0], [0.5, 0.4, 0.5, 0.4, 0.5]]);
        let survival = survival(&base, &here, "m");
        assert_eq!((survival.told_apart, survival.kept, survival.tied), (3, 0, 3 - survival.reversed.len()));
        assert!(survival.reversed.iter().all(|r| r.is_better == "c"), "{survival:?}");
        assert!(!survival.reversed.is_empty());
    }
}
