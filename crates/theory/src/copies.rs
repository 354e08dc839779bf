//! Requests that are sent twice: hedges without queues, and tied requests.

use super::numeric::{integral, quantile};
use evenkeel_core::math::{exp, ln, pow};

/// P(T > t) of a hedged request: a second copy is sent when the first has no response after `delay`, and the first response
/// is used.
/// `survival(t)` is the same of one copy; copies are independent (there is no queue in which they meet).
pub fn hedged_tail(survival: impl Fn(f64) -> f64, delay: f64, t: f64) -> f64 {
    survival(t) * if t > delay { survival(t - delay) } else { 1.0 }
}

/// Quantile of a hedged request's latency; `scale` is a guess of its order.
pub fn hedged_quantile(survival: impl Fn(f64) -> f64, delay: f64, q: f64, scale: f64) -> f64 {
    quantile(|t| hedged_tail(&survival, delay, t), q, scale)
}

/// Mean of a hedged request's latency: the area under its tail, which must be negligible beyond `end`.
pub fn hedged_mean(survival: impl Fn(f64) -> f64, delay: f64, end: f64) -> f64 {
    let tail = |t: f64| hedged_tail(&survival, delay, t);
    let delay = delay.min(end);
    integral(tail, 0.0, delay) + integral(tail, delay, end)
}

/// Mean sojourn of tied requests: each goes to `copies` servers (at least two) drawn from infinitely many exponential ones of rate
/// one and load `lam`, first come first served, and the copy that begins first removes the others from their queues at once.
/// That is equivalent to joining the queue with the least work.
///
/// **An approximation** of a fleet of n, with an error of the order of 1/n (T. Hellemans and B. Van Houdt, "On the power-of-d-choices
/// with least loaded server selection", SIGMETRICS 2018). Two copies over two servers are M/M/2, exactly.
pub fn tied_mean(lam: f64, copies: u32) -> f64 {
    let (d, mut sum, mut power, mut n) = (f64::from(copies), 0.0, 1.0, 0.0);
    loop {
        let term = power / (1.0 + n * (d - 1.0));
        sum += term;
        if term <= 1e-17 * sum {
            return sum;
        }
        power *= pow(lam, d);
        n += 1.0;
    }
}

/// Quantile of the sojourn of tied requests; the same approximation.
pub fn tied_quantile(lam: f64, copies: u32, q: f64) -> f64 {
    let d = f64::from(copies);
    let busy = pow(lam, d);
    ln((pow(1.0 - q, 1.0 - d) - busy) / (1.0 - busy)) / (d - 1.0)
}

/// P(T > t) of the sum of two exponential times of rate `mu`: two hops of a network.
pub fn two_hops_tail(mu: f64, t: f64) -> f64 {
    (1.0 + mu * t) * exp(-mu * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-10 * expected.abs(), "{value} is not {expected}");
    }

    /// The lesser of two exponential times is exponential with twice the rate; after a delay d the mean is
    /// 1 - e^-d + e^-d / 2. The lesser of two sums of two: the area under (1 + t)^2 e^-2t is 5/4.
    #[test]
    fn hedges() {
        let one = |t: f64| exp(-t);
        close(hedged_mean(one, 0.0, 60.0), 0.5);
        close(hedged_mean(one, 2.0, 60.0), 1.0 - 0.5 * exp(-2.0));
        close(hedged_quantile(one, 0.0, 0.99, 1.0), 0.5 * ln(100.0));
        close(hedged_mean(|t| two_hops_tail(1.0, t), 0.0, 60.0), 1.25);
    }

    /// Two copies: -ln(1 - lam^2) / lam^2.
    #[test]
    fn tied() {
        close(tied_mean(0.9, 2), -ln(1.0 - 0.81) / 0.81);
        close(tied_quantile(1e-9, 2, 0.99), ln(100.0));
        assert!((tied_quantile(0.9, 2, 0.99) - 6.257_768_41).abs() < 1e-8);
    }
}
