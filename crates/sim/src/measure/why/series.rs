//! Sums and peaks of a timeline over a part of the run.

use std::collections::BTreeMap;

use super::facts::Span;
use super::format::Ratio;
use crate::sim::model::Model;
use crate::sim::timeline::{Change, Ends, Exact, Peak, Phase, PoolPhase, Timeline};

/// A second in nanoseconds.
const SECOND: u64 = 1_000_000_000;
/// Attempts per request are looked at in windows with so many requests.
const ENOUGH: u64 = 50;

/// A timeline with what is needed to sum it.
pub(super) struct Series<'a> {
    timeline: &'a Timeline,
    /// By pool: its servers.
    servers: Vec<Vec<u32>>,
    /// End of the measured span; of the run if that is not the start of a phase.
    pub(super) end: u64,
}

impl<'a> Series<'a> {
    pub(super) fn new(timeline: &'a Timeline) -> Series<'a> {
        let of = |pool: &str| timeline.servers_of(pool).collect();
        let servers = timeline.pools.iter().map(|pool| of(&pool.pool)).collect();
        let known = timeline.phases.iter().any(|phase| phase.to_ns == timeline.measured_until_ns);
        let end = if known { timeline.measured_until_ns } else { timeline.end_ns };
        Series { timeline, servers, end }
    }

    pub(super) fn servers_of(&self, pool: u32) -> Vec<u32> {
        self.servers.get(pool as usize).cloned().unwrap_or_default()
    }

    /// Whether a phase begins at this time: what follows is counted exactly.
    pub(super) fn starts(&self, at: u64) -> bool {
        self.timeline.phases.iter().any(|phase| phase.from_ns == at)
    }

    /// The phase that ends at this time.
    pub(super) fn phase_before(&self, at: u64) -> Option<Span> {
        let phase = self.timeline.phases.iter().find(|phase| phase.to_ns == at && phase.from_ns < at)?;
        Some(Span { from: phase.from_ns, to: phase.to_ns })
    }

    fn phases(&self, span: Span) -> impl Iterator<Item = &'a Phase> + use<'a> {
        self.timeline.phases.iter().filter(move |phase| phase.from_ns >= span.from && phase.to_ns <= span.to)
    }

    pub(super) fn pool(&self, pool: u32, span: Span) -> impl Iterator<Item = &'a PoolPhase> + use<'a> {
        self.phases(span).filter_map(move |phase| phase.pools.get(pool as usize))
    }

    /// Exact events in a span.
    pub(super) fn events(&self, span: Span) -> impl Iterator<Item = &'a Exact> + use<'a> {
        self.timeline.events.iter().filter(move |exact| (span.from..span.to).contains(&exact.at_ns))
    }

    /// Requests that ended in a pool, or in all; and those that failed, by outcome, with the first of them.
    pub(super) fn outcomes(&self, pool: Option<u32>, span: Span) -> (u64, BTreeMap<&'a str, Ends>) {
        let (mut ended, mut failed) = (0, BTreeMap::<&str, Ends>::new());
        for phase in self.phases(span) {
            let pools = phase.pools.iter().enumerate().filter(|(p, _)| pool.is_none_or(|pool| pool as usize == *p));
            for (outcome, ends) in pools.flat_map(|(_, pool)| &pool.ends) {
                ended += ends.count;
                if outcome == "ok" {
                    continue;
                }
                let sum = failed.entry(outcome.as_str()).or_insert(Ends { count: 0, ..*ends });
                let first = if ends.first_ns < sum.first_ns { *ends } else { *sum };
                *sum = Ends { count: sum.count + ends.count, ..first };
            }
        }
        (ended, failed)
    }

    /// Requests sent to these servers, of those sent to the pool.
    pub(super) fn picks(&self, pool: u32, servers: &[u32], span: Span) -> Ratio {
        let all = self.servers_of(pool);
        let sum = |servers: &[u32]| {
            let of = |phase: &Phase| servers.iter().map(|&server| phase.servers[server as usize].picks).sum::<u64>();
            self.phases(span).map(of).sum()
        };
        Ratio { part: sum(servers), whole: sum(&all) }
    }

    fn bin(&self, series: &[u32], bin: usize) -> u64 {
        series.get(bin).copied().map_or(0, u64::from)
    }

    /// The bins that lie in a span as a whole.
    fn bins(&self, span: Span) -> std::ops::Range<usize> {
        let width = self.timeline.bin_ns.max(1);
        let last = (span.to / width).min(u64::from(self.timeline.bins)) as usize;
        let first = span.from.div_ceil(width) as usize;
        first.min(last)..last
    }

    fn span_of(&self, bins: std::ops::Range<usize>) -> Span {
        Span { from: bins.start as u64 * self.timeline.bin_ns, to: bins.end as u64 * self.timeline.bin_ns }
    }

    fn picks_in(&self, servers: &[u32], bin: usize) -> u64 {
        servers.iter().map(|&server| self.bin(&self.timeline.servers[server as usize].picks, bin)).sum()
    }

    /// The first window of whole bins, each as short as it can be to have `enough` requests of the pool, in which the share of
    /// these servers is as wanted.
    pub(super) fn first_window(
        &self,
        pool: u32,
        servers: &[u32],
        span: Span,
        enough: impl Fn(u64) -> bool,
        wanted: impl Fn(f64) -> bool,
    ) -> Option<(Span, Ratio)> {
        let all = self.servers_of(pool);
        let bins = self.bins(span);
        let (mut to, mut ratio) = (bins.start, Ratio::default());
        for from in bins.clone() {
            while !enough(ratio.whole) {
                if to == bins.end {
                    return None;
                }
                ratio = ratio + Ratio { part: self.picks_in(servers, to), whole: self.picks_in(&all, to) };
                to += 1;
            }
            if wanted(ratio.value()) {
                return Some((self.span_of(from..to), ratio));
            }
            ratio.part -= self.picks_in(servers, from);
            ratio.whole -= self.picks_in(&all, from);
        }
        None
    }

    /// The highest number of requests in a server.
    pub(super) fn peak_of(&self, server: u32, span: Span) -> Option<Peak> {
        highest(self.phases(span).filter_map(|phase| phase.servers.get(server as usize)).map(|server| server.in_server))
    }

    /// The server of a pool with the most requests in it at once.
    pub(super) fn longest(&self, pool: u32, span: Span) -> Option<(u32, Peak)> {
        let mut longest: Option<(u32, Peak)> = None;
        for server in self.servers_of(pool) {
            if let Some(peak) = self.peak_of(server, span)
                && longest.is_none_or(|(_, most)| peak.value > most.value)
            {
                longest = Some((server, peak));
            }
        }
        longest
    }

    /// The most requests that waited at balancers.
    pub(super) fn waiting(&self, pool: u32, span: Span) -> Option<Peak> {
        highest(self.pool(pool, span).map(|pool| pool.waiting))
    }

    /// The start of the first second in whole bins with at most `bound` requests in the server.
    pub(super) fn short_from(&self, server: u32, span: Span, bound: u32) -> Option<u64> {
        let bins = self.bins(span);
        let length = SECOND.div_ceil(self.timeline.bin_ns.max(1)) as usize;
        let series = &self.timeline.servers.get(server as usize)?.in_server;
        let mut short = 0;
        for bin in bins {
            short = if self.bin(series, bin) <= u64::from(bound) { short + 1 } else { 0 };
            if short == length {
                return Some((bin + 1 - length) as u64 * self.timeline.bin_ns);
            }
        }
        None
    }

    /// The last whole bin of a span, and the most requests in the server in it.
    pub(super) fn last_bin(&self, server: u32, span: Span) -> Option<(Span, u32)> {
        let last = self.bins(span).next_back()?;
        let series = &self.timeline.servers.get(server as usize)?.in_server;
        Some((self.span_of(last..last + 1), self.bin(series, last) as u32))
    }

    /// The most servers ejected at once in one view, and when; ejections from before the span count.
    pub(super) fn most_ejected(&self, servers: &[u32], span: Span) -> (u32, u64) {
        let mut out: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut most = (0, span.from);
        for exact in self.events(Span { from: 0, to: span.to }) {
            match exact.change {
                Change::Ejected { server, view, .. } if servers.contains(&server) => {
                    let out = out.entry(view).or_default();
                    if !out.contains(&server) {
                        out.push(server);
                    }
                    let number = out.len() as u32;
                    if exact.at_ns >= span.from && number > most.0 {
                        most = (number, exact.at_ns);
                    }
                }
                Change::Returned { server, view } => out.entry(view).or_default().retain(|&of| of != server),
                _ => {}
            }
        }
        most
    }

    /// Attempts and requests of a pool.
    pub(super) fn attempts(&self, pool: u32, span: Span) -> Ratio {
        let arrivals = self.pool(pool, span).map(|pool| pool.arrivals).sum();
        Ratio { part: self.picks(pool, &[], span).whole, whole: arrivals }
    }

    /// The most attempts per request in whole bins of a second or more.
    pub(super) fn most_attempts(&self, pool: u32, span: Span) -> Option<(Span, Ratio)> {
        let all = self.servers_of(pool);
        let arrivals = &self.timeline.pools.get(pool as usize)?.arrivals;
        let length = SECOND.div_ceil(self.timeline.bin_ns.max(1)) as usize;
        let each: Vec<Ratio> = (0..self.timeline.bins as usize)
            .map(|bin| Ratio { part: self.picks_in(&all, bin), whole: self.bin(arrivals, bin) })
            .collect();
        let mut most: Option<(Span, Ratio)> = None;
        let bins = self.bins(span);
        for from in bins.start..(bins.end + 1).saturating_sub(length) {
            let ratio = each[from..from + length].iter().fold(Ratio::default(), |sum, &bin| sum + bin);
            let higher = most.is_none_or(|(_, before)| ratio.value() > before.value());
            if ratio.whole >= ENOUGH && higher {
                most = Some((self.span_of(from..from + length), ratio));
            }
        }
        most
    }

    /// Cache look-ups of a pool that hit, and evictions.
    pub(super) fn hits(&self, pool: u32, span: Span) -> (Ratio, u64) {
        let (mut ratio, mut evictions) = (Ratio::default(), 0);
        let all = self.servers_of(pool);
        for phase in self.phases(span) {
            for server in all.iter().map(|&server| &phase.servers[server as usize]) {
                ratio = ratio + Ratio { part: server.hits, whole: server.hits + server.misses };
                evictions += server.evictions;
            }
        }
        (ratio, evictions)
    }

    /// The servers with the highest and the lowest share of the requests over their share of the capacity.
    pub(super) fn loads(&self, model: &Model, pool: u32, span: Span) -> Option<(u32, f64, u32, f64)> {
        let all = self.servers_of(pool);
        let capacities: Vec<f64> =
            model.pools.get(pool as usize)?.servers.iter().map(|server| server.capacity()).collect();
        let whole = self.picks(pool, &[], span).whole;
        if all.len() < 2 || all.len() != capacities.len() || whole == 0 {
            return None;
        }
        let sum: f64 = capacities.iter().sum();
        let (mut most, mut least) = (None::<(u32, f64)>, None::<(u32, f64)>);
        for (&server, capacity) in all.iter().zip(capacities) {
            let load = self.picks(pool, &[server], span).value() / (capacity / sum);
            if most.is_none_or(|(_, most)| load > most) {
                most = Some((server, load));
            }
            if least.is_none_or(|(_, least)| load < least) {
                least = Some((server, load));
            }
        }
        let ((busiest, most), (idlest, least)) = (most?, least?);
        Some((busiest, most, idlest, least))
    }

    /// Mean latency of the requests of a pool, or of all, that ended, nanoseconds.
    pub(super) fn mean_latency(&self, pool: Option<u32>, span: Span) -> Option<f64> {
        let ended = self.outcomes(pool, span).0;
        let pools = self.phases(span).flat_map(|phase| phase.pools.iter().enumerate());
        let of = pools.filter(|(p, _)| pool.is_none_or(|pool| pool as usize == *p));
        let sum: u64 = of.map(|(_, pool)| pool.latency_sum_ns).sum();
        (ended > 0).then(|| sum as f64 / ended as f64)
    }
}

/// The highest of some peaks; the first of equal ones.
fn highest(peaks: impl Iterator<Item = Peak>) -> Option<Peak> {
    peaks.fold(None, |most: Option<Peak>, peak| match most {
        Some(most) if most.value >= peak.value => Some(most),
        _ => Some(peak),
    })
}
