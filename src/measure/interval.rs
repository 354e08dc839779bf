//! Student's intervals over independent replications.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::math;

/// The level of every interval in the results: 95 %.
pub const LEVEL: f64 = 0.95;

/// A mean over replications and where the true one lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Mean over replications; NaN where none has a value.
    pub value: f64,
    /// Lower end of the interval; NaN with fewer than two replications.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Replications that have a value.
    pub replications: usize,
}

impl Estimate {
    /// Of nothing.
    pub const NONE: Estimate = Estimate { value: f64::NAN, low: f64::NAN, high: f64::NAN, replications: 0 };

    /// Half the width of the interval, relative to the mean; not a number where there is no interval.
    pub fn relative_half_width(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.value.abs()
    }
}

/// Mean and t interval at [`LEVEL`] of independent values; those that are not numbers are left out.
pub fn estimate(values: &[f64]) -> Estimate {
    estimate_at(values, LEVEL)
}

/// Mean and t interval at another level.
pub fn estimate_at(values: &[f64], level: f64) -> Estimate {
    let values: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let n = values.len() as f64;
    let value = if values.is_empty() { f64::NAN } else { values.iter().sum::<f64>() / n };
    if values.len() < 2 {
        return Estimate { value, low: f64::NAN, high: f64::NAN, replications: values.len() };
    }
    let variance = values.iter().map(|v| (v - value) * (v - value)).sum::<f64>() / (n - 1.0);
    let half = quantile(values.len() - 1, level) * math::sqrt(variance / n);
    Estimate { value, low: value - half, high: value + half, replications: values.len() }
}

/// The two-sided quantile of Student's t.
fn quantile(freedom: usize, level: f64) -> f64 {
    let law = StudentsT::new(0.0, 1.0, freedom as f64).expect("degrees of freedom are positive");
    // Through a fixed number of digits: statrs computes with the platform's functions, whose last bits differ, and
    // results are to be the same bytes everywhere.
    (law.inverse_cdf(0.5 + level / 2.0) * 1e6).round() / 1e6
}

/// Correlation of each value with the next: Σ (x_i - x̄)(x_{i+1} - x̄) / Σ (x_i - x̄)². Batch means are independent enough for
/// an interval if it is near zero; its own standard error is about 1/√n.
pub fn lag_one(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let products: f64 = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    products / values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answer: n = 5, mean 3, s² = 2.5, t(0.975, 4) = 2.776445.
    #[test]
    fn matches_the_table_of_student() {
        let e = estimate(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let half = 2.776_445 * f64::sqrt(0.5);
        assert_eq!(e.value, 3.0);
        assert!((e.high - 3.0 - half).abs() < 1e-5 && (3.0 - e.low - half).abs() < 1e-5, "{e:?}");
    }

    /// By hand: 1, 2, 3, 4: deviations -1.5, -0.5, 0.5, 1.5; products 0.75 - 0.25 + 0.75 = 1.25; squares 5.
    #[test]
    fn neighbours_by_hand() {
        assert!((lag_one(&[1.0, 2.0, 3.0, 4.0]) - 0.25).abs() < 1e-12);
        assert!(lag_one(&[1.0, -1.0, 1.0, -1.0, 1.0, -1.0]) < -0.7);
    }

    #[test]
    fn one_value_has_no_interval() {
        let e = estimate(&[2.0, f64::NAN]);
        assert_eq!((e.value, e.replications), (2.0, 1));
        assert!(e.low.is_nan());
        assert!(estimate(&[]).value.is_nan());
    }
}
