//! M/M/c with abandonment (reneging): a customer leaves the queue when its wait reaches its patience. Poisson arrivals of rate
//! `lam`, exponential service of rate `mu` at each of `servers` servers, one queue, first come first served.
//!
//! Exponential patience is Erlang A (M/M/c+M; C. Palm, 1957), constant patience is M/M/c+D (D. Barrer, "Queuing with impatient
//! customers and ordered service", Operations Research 5, 1957). Both come from the density of the *offered wait*, which is what
//! a customer of infinite patience would wait (F. Baccelli and G. Hebuterne, "On queues with impatient customers",
//! Performance '81): v(x) = v(0) exp(lam * integral of P(patience > u) du over 0..x - servers * mu * x).
//!
//! Any load has an equilibrium here, since customers leave long queues.

use super::numeric::{integral, quantile, root};
use super::queues::{climb, erlang_b};
use evenkeel_core::math::{exp, exp_m1, ln};

/// An exponent of the density below its largest that adds nothing to a float.
const NEGLIGIBLE: f64 = -45.0;

/// How long customers wait for the beginning of service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Patience {
    /// Every customer for this long.
    Constant(f64),
    /// Exponential with this mean.
    Exponential(f64),
}

/// M/M/c with abandonment, solved.
#[derive(Clone, Copy, Debug)]
pub struct Abandonment {
    lam: f64,
    mu: f64,
    servers: f64,
    patience: Patience,
    /// Probability that an arrival finds a free server.
    free: f64,
    /// The density of the offered wait is this times e to the [`Abandonment::exponent`].
    scale: f64,
    /// The largest exponent, which is taken off, so that nothing overflows.
    peak: f64,
    /// Outside of this span the density is negligible, or known in closed form.
    span: (f64, f64),
}

impl Abandonment {
    /// At rates `lam` and `mu`, above zero, with at least one server and a patience above zero.
    pub fn solve(lam: f64, mu: f64, servers: u32, patience: Patience) -> Self {
        let drain = f64::from(servers) * mu;
        let mut queue =
            Self { lam, mu, servers: f64::from(servers), patience, free: 1.0, scale: 1.0, peak: 0.0, span: (0.0, 0.0) };
        // The exponent rises as long as more join the queue than leave it.
        let top = match patience {
            _ if lam <= drain => 0.0,
            Patience::Constant(length) => length,
            Patience::Exponential(mean) => mean * ln(lam / drain),
        };
        queue.peak = queue.exponent(top);
        let mut end = match patience {
            Patience::Constant(length) => length,
            Patience::Exponential(_) => f64::INFINITY,
        };
        let mut step = 1.0 / drain;
        while top + step < end && queue.exponent(top + step) > NEGLIGIBLE {
            step *= 2.0;
        }
        end = end.min(top + step);
        let begin =
            if queue.exponent(0.0) > NEGLIGIBLE { 0.0 } else { root(|x| queue.exponent(x) - NEGLIGIBLE, 0.0, top) };
        queue.span = (begin, end);
        // Weights of a free server and of an offered wait above zero, the first as one.
        let weight = lam * erlang_b(servers - 1, lam / mu);
        let waiting = weight * queue.expect(|_| 1.0, 1.0);
        let free = exp(-queue.peak);
        queue.free = free / (free + waiting);
        queue.scale = weight / (free + waiting);
        queue
    }

    fn exponent(&self, x: f64) -> f64 {
        let joined = match self.patience {
            Patience::Constant(length) => x.min(length),
            Patience::Exponential(mean) => -mean * exp_m1(-x / mean),
        };
        self.lam * joined - self.servers * self.mu * x - self.peak
    }

    /// P(patience > x).
    fn stays(&self, x: f64) -> f64 {
        match self.patience {
            Patience::Constant(length) => f64::from(x < length),
            Patience::Exponential(mean) => exp(-x / mean),
        }
    }

    fn density(&self, x: f64) -> f64 {
        self.scale * exp(self.exponent(x))
    }

    /// The integral of `value` times the density of the offered wait, where `value` is `beyond` for every offered wait longer than
    /// a constant patience.
    fn expect(&self, value: impl Fn(f64) -> f64, beyond: f64) -> f64 {
        let tail = match self.patience {
            Patience::Constant(length) => beyond * self.density(length) / (self.servers * self.mu),
            Patience::Exponential(_) => 0.0,
        };
        integral(|x| value(x) * self.density(x), self.span.0, self.span.1) + tail
    }

    /// P(offered wait > t).
    fn offered_beyond(&self, t: f64) -> f64 {
        let (begin, end) = self.span;
        let inside = |to: f64| integral(|x| self.density(x), begin.max(t).min(to), to);
        match self.patience {
            Patience::Constant(length) => {
                inside(end.max(t).min(length)) + self.density(length.max(t)) / (self.servers * self.mu)
            }
            Patience::Exponential(_) => inside(end.max(t)),
        }
    }

    /// Share of arrivals that have to wait.
    pub fn waiting_share(&self) -> f64 {
        1.0 - self.free
    }

    /// Share of arrivals that leave the queue unserved.
    pub fn abandoned(&self) -> f64 {
        match self.patience {
            Patience::Constant(_) => self.expect(|_| 0.0, 1.0),
            Patience::Exponential(mean) => self.expect(|x| -exp_m1(-x / mean), 1.0),
        }
    }

    /// Mean wait of all arrivals, those that abandon at their patience among them.
    pub fn mean_wait(&self) -> f64 {
        match self.patience {
            Patience::Constant(length) => self.expect(|x| x, length),
            // The expectation of the lesser of x and an exponential time.
            Patience::Exponential(mean) => self.expect(|x| -mean * exp_m1(-x / mean), 0.0),
        }
    }

    /// Mean time in the system of all arrivals: wait, and service of those that are served.
    pub fn mean(&self) -> f64 {
        self.mean_wait() + (1.0 - self.abandoned()) / self.mu
    }

    /// Mean number in the system (Little's law).
    pub fn number(&self) -> f64 {
        self.lam * self.mean()
    }

    /// Mean share of busy servers.
    pub fn utilisation(&self) -> f64 {
        self.lam * (1.0 - self.abandoned()) / (self.servers * self.mu)
    }

    /// P(time in the system > t).
    fn tail(&self, t: f64) -> f64 {
        // Served at once, served after a wait of up to t, still waiting at t.
        let (begin, end) = (self.span.0.min(t), self.span.1.min(t));
        let served = integral(|x| self.density(x) * self.stays(x) * exp(-self.mu * (t - x)), begin, end);
        let waits = self.stays(t) * self.offered_beyond(t);
        self.free * exp(-self.mu * t) + served + waits
    }

    /// Quantile of the time in the system of all arrivals. With constant patience the time has an atom there: a quantile that falls
    /// on it is the patience.
    pub fn quantile(&self, q: f64) -> f64 {
        quantile(|t| self.tail(t), q, self.mean())
    }

    /// The same queue with a *deadline for the response* in place of patience: a client that has no response when its
    /// patience is over gives up, also in service, and the service continues to its end. The queue is the same; only the
    /// clients' view differs.
    pub fn deadline(&self) -> Deadline {
        let Self { mu, .. } = *self;
        match self.patience {
            Patience::Constant(length) => {
                // Service of at most what is left of the time.
                let ends = |x: f64| -exp_m1(-mu * (length - x));
                let lasts = |x: f64| x + ends(x) / mu;
                Deadline {
                    timed_out: 1.0 - self.free * ends(0.0) - self.expect(ends, 0.0),
                    mean: self.free * lasts(0.0) + self.expect(lasts, length),
                }
            }
            Patience::Exponential(mean) => {
                // Patience is memoryless: a request in service is served in time with probability mu / (mu + 1 / mean).
                let timed_out = 1.0 - (1.0 - self.abandoned()) * mu / (mu + 1.0 / mean);
                // The mean of the lesser of an exponential time and another is its own mean times the probability to be the lesser.
                Deadline { timed_out, mean: mean * timed_out }
            }
        }
    }
}

/// Responses to clients with a deadline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deadline {
    /// Share of requests without an answer in time, 0 to 1.
    pub timed_out: f64,
    /// Mean time until the answer or the deadline.
    pub mean: f64,
}

/// A queue with a limit, or a closed loop, with exponential patience, in equilibrium.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limited {
    /// Arrivals per unit of time.
    pub rate: f64,
    /// Share of arrivals that find the queue full, 0 to 1.
    pub blocked: f64,
    /// Share of arrivals that leave the queue unserved.
    pub abandoned: f64,
    /// Mean time in the system of those that found room, served or not.
    pub mean: f64,
}

/// M/M/c/K+M: `room` in all, those in service among them, and exponential patience of mean `patience`.
pub fn limited(lam: f64, mu: f64, servers: u32, room: u32, patience: f64) -> Limited {
    birth_death(room, |_| lam, mu, servers, patience)
}

/// A closed loop of `clients` clients who think for an exponential time of mean `think`, then send a request, and
/// think again when they are served or have abandoned the queue.
pub fn closed(clients: u32, think: f64, mu: f64, servers: u32, patience: f64) -> Limited {
    birth_death(clients, |k| f64::from(clients - k) / think, mu, servers, patience)
}

fn birth_death(top: u32, birth: impl Fn(u32) -> f64, mu: f64, servers: u32, patience: f64) -> Limited {
    let leave = |k: u32| f64::from(k.saturating_sub(servers)) / patience;
    let death = |k: u32| mu * f64::from(k.min(servers)) + leave(k);
    let expect = |value: &dyn Fn(u32) -> f64| climb(top, &birth, death, value);
    let (full, rate) = expect(&birth);
    let blocked = full * birth(top) / rate;
    let accepted = rate * (1.0 - blocked);
    Limited { rate, blocked, abandoned: expect(&leave).1 / rate, mean: expect(&f64::from).1 / accepted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{value} is not {expected}");
    }

    /// Erlang A by another method: its birth-death chain, cut where the probability is negligible. Shares abandoned and
    /// waiting, mean number.
    fn chain(lam: f64, mu: f64, servers: u32, mean: f64) -> [f64; 3] {
        let mut weights = vec![1.0];
        for k in 1..4000u32 {
            let death = mu * f64::from(k.min(servers)) + f64::from(k.saturating_sub(servers)) / mean;
            weights.push(weights[weights.len() - 1] * lam / death);
        }
        let total: f64 = weights.iter().rev().sum();
        let over = |f: &dyn Fn(u32) -> f64| weights.iter().zip(0u32..).map(|(w, k)| w / total * f(k)).sum::<f64>();
        [
            over(&|k| f64::from(k.saturating_sub(servers)) / mean) / lam,
            over(&|k| f64::from(u8::from(k >= servers))),
            over(&f64::from),
        ]
    }

    #[test]
    fn exponential_patience_is_the_chain_of_erlang_a() {
        for (lam, servers, mean) in [(0.8, 1, 2.0), (12.0, 10, 0.5), (9.0, 10, 5.0), (30.0, 10, 0.05), (95.0, 100, 1.0)]
        {
            let queue = Abandonment::solve(lam, 1.0, servers, Patience::Exponential(mean));
            let [abandoned, waiting, number] = chain(lam, 1.0, servers, mean);
            close(queue.abandoned(), abandoned);
            close(queue.waiting_share(), waiting);
            close(queue.number(), number);
        }
        // Overload without overflow: what is more than the servers can do abandons.
        let flooded = Abandonment::solve(5000.0, 1.0, 10, Patience::Exponential(10.0));
        close(flooded.abandoned(), 1.0 - 10.0 / 5000.0);
        close(flooded.utilisation(), 1.0);
    }

    /// Much patience is M/M/c; patience of the order of no time is Erlang's loss.
    #[test]
    fn the_limits_are_known_queues() {
        use crate::queues::{erlang_c, mmc_mean, mmc_quantile};
        for patience in [Patience::Constant(400.0), Patience::Exponential(1e12)] {
            let queue = Abandonment::solve(3.2, 1.0, 4, patience);
            close(queue.mean(), mmc_mean(3.2, 1.0, 4));
            close(queue.waiting_share(), erlang_c(4, 3.2));
            close(queue.quantile(0.99), mmc_quantile(3.2, 1.0, 4, 0.99));
        }
        for patience in [Patience::Constant(1e-12), Patience::Exponential(1e-12)] {
            let queue = Abandonment::solve(8.0, 1.0, 10, patience);
            close(queue.abandoned(), erlang_b(10, 8.0));
            close(queue.mean(), 1.0 - erlang_b(10, 8.0));
        }
    }

    /// One server at load 1, constant patience D: the offered wait is even up to D, then exponential. The weights are 1 (free), D
    /// and 1 (beyond), so 1 / (2 + D) abandon, and the mean wait is (D^2 / 2 + D) / (2 + D).
    #[test]
    fn constant_patience_by_hand() {
        let queue = Abandonment::solve(1.0, 1.0, 1, Patience::Constant(3.0));
        close(queue.abandoned(), 0.2);
        close(queue.waiting_share(), 0.8);
        close(queue.mean_wait(), (4.5 + 3.0) / 5.0);
        // Served within 3: 1 - e^-3 of those who find it free, and the integral of 1 - e^-(3 - x), which is 3 - (1 - e^-3).
        close(queue.deadline().timed_out, 1.0 - 3.0 / 5.0);
        // The tail beyond the patience: only services that began in time.
        let t = 4.0;
        close(queue.tail(t), (exp(-t) + exp(-t) * exp_m1(3.0)) / 5.0);
    }

    /// Endless patience is M/M/c/K, or the machine repairman; ample room is Erlang A. One server, room for two, all rates one:
    /// weights 1, 1, 1/2.
    #[test]
    fn limited_queues() {
        use crate::queues::{bounded, repairman};
        let (found, known) = (limited(3.6, 1.0, 4, 16, 1e15), bounded(3.6, 1.0, 4, 16));
        close(found.blocked, known.blocked);
        close(found.mean, known.mean);
        let (found, known) = (closed(10, 4.0, 1.0, 2, 1e15), repairman(10, 4.0, 1.0, 2));
        close(found.rate, known.throughput);
        close(found.mean, known.mean);
        assert_eq!(found.blocked, 0.0);
        let ample = Abandonment::solve(12.0, 1.0, 10, Patience::Exponential(2.0));
        close(limited(12.0, 1.0, 10, 400, 2.0).abandoned, ample.abandoned());
        close(limited(12.0, 1.0, 10, 400, 2.0).mean, ample.mean());
        let small = limited(1.0, 1.0, 1, 2, 1.0);
        close(small.blocked, 0.2);
        close(small.abandoned, 0.2);
        close(small.mean, (0.4 + 2.0 * 0.2) / 0.8);
    }

    /// The mean is the area under the tail, for either distribution; means of deadlines against a sum over quantiles would say the same.
    #[test]
    fn means_and_tails_agree() {
        for patience in [Patience::Constant(0.7), Patience::Exponential(0.7)] {
            let queue = Abandonment::solve(4.5, 1.0, 4, patience);
            let area = integral(|t| queue.tail(t), 0.0, 0.7) + integral(|t| queue.tail(t), 0.7, 45.0);
            assert!((area - queue.mean()).abs() < 1e-8, "{patience:?}: {area} {}", queue.mean());
            // Every customer that enters is served or abandons: the servers serve the rest.
            close(queue.utilisation() * 4.0, 4.5 * (1.0 - queue.abandoned()));
            assert!(queue.deadline().timed_out > queue.abandoned());
            assert!(queue.deadline().mean < queue.mean());
        }
    }
}
