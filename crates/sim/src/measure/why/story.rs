//! What happened in one run: the facts of its story, the most important ones, in time order.

use super::facts::{By, Fact, Span};
use super::format::{Ratio, list, servers};
use super::incidents::Incident;
use super::series::Series;
use crate::sim::model::{FaultKind, Model};
use crate::sim::timeline::{Change, Timeline};

/// Most facts of a story about one pool, and about several.
const MOST: usize = 8;
const MOST_OF_SEVERAL: usize = 12;
/// Incidents that are told one by one.
const MOST_INCIDENTS: usize = 3;
/// The share of requests to a server is measured over windows in which so many are expected.
const EXPECTED: f64 = 20.0;
/// Shares and ratios of fewer requests say nothing.
const ENOUGH: u64 = 100;

/// A fact and how important it is, from 0 to 100.
pub(super) type Weighted = (f64, Fact);

/// The story of one run.
pub(super) fn story(model: &Model, timeline: &Timeline, incidents: &[Incident]) -> Vec<Fact> {
    let run = Run { model, timeline, series: Series::new(timeline), incidents };
    let mut facts = Vec::new();
    for incident in incidents.iter().take(MOST_INCIDENTS) {
        run.incident(incident, &mut facts);
    }
    if let Some(more) = run.more_faults() {
        facts.push((95.0, more));
    }
    run.throughout(&mut facts);
    let most = if model.pools.len() > 1 { MOST_OF_SEVERAL } else { MOST };
    // Two faults of one server at one time have the same share.
    let mut seen: Vec<(Span, Vec<u32>)> = Vec::new();
    facts.retain(|(_, fact)| match fact {
        Fact::ShareFalls { servers, window, .. } => {
            let new = !seen.contains(&(*window, servers.clone()));
            seen.push((*window, servers.clone()));
            new
        }
        _ => true,
    });
    // Stable: among equally important ones the first.
    facts.sort_by(|a, b| b.0.total_cmp(&a.0));
    facts.truncate(most);
    facts.sort_by(|a, b| a.1.at().cmp(&b.1.at()).then(b.0.total_cmp(&a.0)));
    facts.into_iter().map(|(_, fact)| fact).collect()
}

/// A run and what is computed from it.
pub(super) struct Run<'a> {
    pub(super) model: &'a Model,
    pub(super) timeline: &'a Timeline,
    pub(super) series: Series<'a>,
    pub(super) incidents: &'a [Incident],
}

impl Run<'_> {
    /// The measured span.
    pub(super) fn measured(&self) -> Span {
        Span { from: self.timeline.warmup_ns, to: self.series.end }
    }

    /// The time of a fault, as far as it was measured.
    pub(super) fn during(&self, incident: &Incident) -> Span {
        Span { from: incident.at, to: incident.until.unwrap_or(u64::MAX).min(self.series.end) }
    }

    /// The time from a fault's start to the next fault of the pool.
    pub(super) fn aftermath(&self, incident: &Incident) -> Span {
        Span { from: incident.at, to: incident.next.unwrap_or(u64::MAX).min(self.series.end) }
    }

    /// The faults after the first few incidents.
    fn more_faults(&self) -> Option<Fact> {
        let rest = self.incidents.get(MOST_INCIDENTS..).filter(|rest| !rest.is_empty())?;
        let size = |incident: &Incident| {
            incident.balancers.len() + incident.parts.iter().map(|(_, servers)| servers.len()).sum::<usize>()
        };
        let span = Span { from: rest[0].at, to: rest[rest.len() - 1].at };
        Some(Fact::MoreFaults { count: rest.iter().map(size).sum::<usize>() as u64, span })
    }

    fn incident(&self, incident: &Incident, facts: &mut Vec<Weighted>) {
        if incident.at >= self.series.end {
            return;
        }
        facts.push((100.0, self.fault(incident)));
        if !self.series.starts(incident.at) {
            return;
        }
        if !incident.balancers.is_empty() {
            self.failures(None, self.aftermath(incident), 84.0, facts);
        }
        for (pool, struck) in &incident.parts {
            self.part(incident, *pool, struck, facts);
        }
    }

    fn fault(&self, incident: &Incident) -> Fact {
        let mut who: Vec<String> = incident.parts.iter().map(|(_, struck)| servers(self.timeline, struck)).collect();
        who.extend(incident.balancers.iter().map(|balancer| format!("balancer {}", balancer + 1)));
        let servers: Vec<u32> = incident.parts.iter().flat_map(|(_, struck)| struck).copied().collect();
        let one = servers.len() + incident.balancers.len() == 1 || who.len() == 1 && who[0].starts_with("every");
        let until = incident.until.filter(|&until| until <= self.timeline.end_ns);
        Fact::Fault { at: incident.at, until, who: list(&who), what: incident.what(one), servers }
    }

    /// The servers of one pool that a fault strikes.
    fn part(&self, incident: &Incident, pool: u32, struck: &[u32], facts: &mut Vec<Weighted>) {
        let (during, aftermath) = (self.during(incident), self.aftermath(incident));
        let whole = struck.len() == self.series.servers_of(pool).len();
        let damage = self.failures(Some(pool), aftermath, 84.0, facts);
        let mut own: Vec<Weighted> = Vec::new();
        if !whole {
            self.shares(incident, pool, struck, &mut own);
        }
        self.noticed(incident, pool, struck, whole, &mut own);
        self.ejections(pool, aftermath, &mut own);
        self.queue(incident, pool, aftermath, &mut own);
        self.hits(pool, during, true, &mut own);
        self.latency(pool, during, &mut own);
        // A pool that fails more requests has the more interesting story.
        let bonus = if damage > 0.01 || self.model.pools.len() == 1 { 4.0 * damage.min(1.0) } else { -25.0 };
        facts.extend(own.into_iter().map(|(weight, fact)| (weight + bonus, fact)));
    }

    /// Requests that failed, by outcome; returns their share.
    fn failures(&self, pool: Option<u32>, span: Span, weight: f64, facts: &mut Vec<Weighted>) -> f64 {
        let (ended, outcomes) = self.series.outcomes(pool, span);
        let before = self.series.phase_before(span.from).map(|before| self.series.outcomes(pool, before));
        let mut all: Vec<Weighted> = Vec::new();
        let mut failed = 0.0;
        for (outcome, ends) in outcomes {
            let ratio = Ratio { part: ends.count, whole: ended };
            failed += ratio.value();
            let before = before.as_ref().map_or(Ratio::default(), |(ended, outcomes)| Ratio {
                part: outcomes.get(outcome).map_or(0, |ends| ends.count),
                whole: *ended,
            });
            let fact = Fact::Failures {
                pool,
                outcome: outcome.to_owned(),
                first: ends.first_ns,
                at_server: ends.server,
                ended: ratio,
                before,
                span,
            };
            let weight = if ratio.value() < 0.001 { weight - 24.0 } else { weight + 10.0 * ratio.value().min(1.0) };
            all.push((weight, fact));
        }
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        all.truncate(2);
        facts.extend(all);
        failed
    }

    /// The share of requests to the struck servers.
    fn shares(&self, incident: &Incident, pool: u32, struck: &[u32], facts: &mut Vec<Weighted>) {
        let span = self.during(incident);
        let Some(before) = self.series.phase_before(incident.at) else { return };
        let before = self.series.picks(pool, struck, before);
        let during = self.series.picks(pool, struck, span);
        if before.part == 0 || before.whole < ENOUGH || during.whole < ENOUGH {
            return;
        }
        let half = before.value() / 2.0;
        let expected = |whole: u64| whole as f64 * before.value() >= EXPECTED;
        let struck_ = || struck.to_vec();
        let falls = self.series.first_window(pool, struck, span, expected, |share| share < half);
        match falls.filter(|_| during.value() < half) {
            Some((window, then)) => {
                facts.push((90.0, Fact::ShareFalls { servers: struck_(), before, window, then, span, during }));
                let Some(until) = incident.until.filter(|&until| until < self.series.end) else { return };
                let after = Span { from: until, to: self.aftermath(incident).to };
                if let Some((window, then)) =
                    self.series.first_window(pool, struck, after, expected, |share| share >= half)
                {
                    let after = window.to - until;
                    facts.push((50.0, Fact::ShareReturns { servers: struck_(), before, window, then, after }));
                }
            }
            None => facts.push((88.0, Fact::ShareStays { servers: struck_(), before, span, during })),
        }
    }

    /// Who notices that the struck servers are not well, and that they are well again.
    fn noticed(&self, incident: &Incident, pool: u32, struck: &[u32], whole: bool, facts: &mut Vec<Weighted>) {
        let span = self.during(incident);
        let views = self.timeline.pools[pool as usize].views;
        let mut none = true;
        for by in [By::Checks, By::Outliers] {
            let mut told: Vec<(u64, u32, u32)> = Vec::new();
            for exact in self.series.events(span) {
                let (server, view) = match (&exact.change, by) {
                    (Change::Down { server, view }, By::Checks) => (*server, *view),
                    (Change::Ejected { server, view, .. }, By::Outliers) => (*server, *view),
                    _ => continue,
                };
                if struck.contains(&server) && told.iter().all(|&(_, of, by)| (of, by) != (server, view)) {
                    told.push((exact.at_ns, server, view));
                }
            }
            let Some(&(at, server, _)) = told.first() else { continue };
            none = false;
            let of: Vec<u64> = told.iter().filter(|(_, of, _)| *of == server).map(|(at, ..)| *at).collect();
            let (told, last) = (of.len() as u32, of[of.len() - 1]);
            let delay = at - incident.at;
            // Of a whole pool the number of ejections says more.
            let weight = if whole { 55.0 } else { 82.0 };
            facts.push((weight, Fact::Noticed { by, server, at, delay, views, told, last, span }));
            facts.extend(self.back(incident, by, server).map(|fact| (48.0, fact)));
        }
        let policy = &self.model.pools[pool as usize].policy;
        let drains = matches!(incident.kind, FaultKind::Drain(_));
        if none && !whole && !drains && (policy.health.is_some() || policy.outliers.is_some()) && span.to > span.from {
            facts.push((45.0, Fact::NotNoticed { servers: struck.to_vec(), span }));
        }
        let panic = self.series.events(self.aftermath(incident)).find_map(|exact| match exact.change {
            Change::Panic { pool: of, on: true, .. } if of == pool => Some(exact.at_ns),
            _ => None,
        });
        if let Some(at) = panic {
            facts.push((92.0, Fact::Panic { pool, at, span: self.aftermath(incident) }));
        }
    }

    fn back(&self, incident: &Incident, by: By, server: u32) -> Option<Fact> {
        let until = incident.until?;
        let after = Span { from: until, to: self.aftermath(incident).to };
        let is_back = |change: &Change| match (change, by) {
            (Change::Up { server: of, .. }, By::Checks) | (Change::Returned { server: of, .. }, By::Outliers) => {
                *of == server
            }
            _ => false,
        };
        let at = self.series.events(after).find(|exact| is_back(&exact.change))?.at_ns;
        Some(Fact::Back { by, server, at, after: at - until })
    }

    fn ejections(&self, pool: u32, span: Span, facts: &mut Vec<Weighted>) {
        let all = self.series.servers_of(pool);
        let ejected = || {
            self.series.events(span).filter_map(|exact| match exact.change {
                Change::Ejected { server, .. } if all.contains(&server) => Some((exact.at_ns, server)),
                _ => None,
            })
        };
        let number = ejected().count() as u64;
        let Some((first, _)) = ejected().next().filter(|_| number > 1) else { return };
        let mut different: Vec<u32> = ejected().map(|(_, server)| server).collect();
        different.sort_unstable();
        different.dedup();
        let (most, at) = self.series.most_ejected(&all, span);
        let servers = different.len() as u64;
        let weight = if servers > 1 { 84.0 } else { 58.0 };
        facts.push((weight, Fact::Ejections { pool, count: number, servers, most, at, first, span }));
    }

    /// The longest queue of the pool, and when it is short again.
    fn queue(&self, incident: &Incident, pool: u32, span: Span, facts: &mut Vec<Weighted>) {
        let Some((server, peak)) = self.series.longest(pool, span) else { return };
        let before = self.series.phase_before(incident.at);
        let before = before.and_then(|before| self.series.peak_of(server, before)).map(|peak| peak.value);
        let bound = before.unwrap_or(0) + before.unwrap_or(0) / 2 + 2;
        if peak.value <= bound {
            return;
        }
        let times = f64::from(peak.value) / f64::from(bound);
        let weight = if times > 3.0 { 86.0 } else { 60.0 };
        facts.push((weight, Fact::Queue { server, value: peak.value, at: peak.at_ns, before, span }));
        let Some(until) = incident.until.filter(|&until| until < self.series.end) else { return };
        if times <= 3.0 {
            return;
        }
        let after = Span { from: until.max(peak.at_ns), to: span.to };
        if let Some(at) = self.series.short_from(server, after, bound) {
            facts.push((78.0, Fact::Recovered { server, bound, at, after: at - until }));
        } else if let Some((window, number)) = self.series.last_bin(server, after).filter(|(_, number)| *number > bound)
        {
            let (before, after) = (before.unwrap_or(0), window.to - until);
            facts.push((78.0, Fact::NotRecovered { server, number, before, window, after }));
        }
    }

    /// Hit ratio; with `changed` only where it differs from the time before.
    fn hits(&self, pool: u32, span: Span, changed: bool, facts: &mut Vec<Weighted>) {
        let (ratio, evictions) = self.series.hits(pool, span);
        if ratio.whole < ENOUGH {
            return;
        }
        let before = self.series.phase_before(span.from).map(|before| self.series.hits(pool, before).0);
        let before = before.filter(|before| changed && before.whole >= ENOUGH);
        let differs = before.is_some_and(|before| (before.value() - ratio.value()).abs() > 0.05);
        if differs || !changed {
            facts.push((65.0, Fact::Hits { pool, ratio, before, evictions, span }));
        }
    }

    /// The mean latency, where it differs from the time before.
    fn latency(&self, pool: u32, span: Span, facts: &mut Vec<Weighted>) {
        let before = self.series.phase_before(span.from);
        let before = before.and_then(|before| self.series.mean_latency(Some(pool), before));
        if let (Some(mean), Some(before)) = (self.series.mean_latency(Some(pool), span), before)
            && (mean > 1.1 * before || mean < 0.9 * before)
        {
            facts.push((76.0, Fact::Latency { pool, mean, before: Some(before), span }));
        }
    }

    /// What is told of the whole run.
    fn throughout(&self, facts: &mut Vec<Weighted>) {
        let span = self.measured();
        for pool in 0..self.model.pools.len() as u32 {
            let struck = |incident: &Incident| {
                !incident.balancers.is_empty() || incident.parts.iter().any(|(of, _)| *of == pool)
            };
            let calm = !self.incidents.iter().any(struck);
            let retries: u64 = self.series.pool(pool, span).map(|pool| pool.retries).sum();
            if let Some((window, then)) = self.series.most_attempts(pool, span).filter(|_| retries > 0) {
                let first = self.incidents.iter().find(|incident| struck(incident)).map(|incident| incident.at);
                let before = first.map(|at| self.series.attempts(pool, Span { from: span.from, to: at }));
                let before = before.filter(|before| before.whole >= ENOUGH);
                if then.value() >= 1.05 {
                    facts.push((83.0, Fact::Attempts { pool, window, then, before, retries, span }));
                }
            }
            let hedges: u64 = self.series.pool(pool, span).map(|pool| pool.hedges).sum();
            if hedges > 0 {
                let ended = Ratio { part: hedges, whole: self.series.outcomes(Some(pool), span).0 };
                facts.push((66.0, Fact::Hedges { pool, ended, span }));
            }
            if let Some(peak) = self.series.waiting(pool, span).filter(|peak| peak.value > 0) {
                facts.push((62.0, Fact::Waiting { pool, value: peak.value, at: peak.at_ns, span }));
            }
            facts.extend(self.scaling(pool, span).map(|fact| (81.0, fact)));
            if calm {
                self.calm(pool, span, facts);
            }
        }
    }

    /// A pool without faults.
    fn calm(&self, pool: u32, span: Span, facts: &mut Vec<Weighted>) {
        self.failures(Some(pool), span, 70.0, facts);
        self.hits(pool, span, false, facts);
        facts.extend(self.series.mean_latency(Some(pool), span).map(|mean| {
            let fact = Fact::Latency { pool, mean, before: None, span };
            (50.0, fact)
        }));
        if let Some((server, peak)) = self.series.longest(pool, span) {
            let weight = if peak.value < 5 { 30.0 } else { 72.0 };
            facts.push((weight, Fact::Queue { server, value: peak.value, at: peak.at_ns, before: None, span }));
        }
        if self.model.pools[pool as usize].autoscale.is_none()
            && let Some((busiest, most, idlest, least)) = self.series.loads(self.model, pool, span)
        {
            facts.push((74.0, Fact::Load { pool, busiest, most, idlest, least, span }));
        }
    }

    fn scaling(&self, pool: u32, span: Span) -> Option<Fact> {
        let (at, started) = self.series.events(span).find_map(|exact| match exact.change {
            Change::Booting { pool: of, servers } if of == pool => Some((exact.at_ns, servers)),
            _ => None,
        })?;
        let all = self.series.servers_of(pool);
        let initial = self.model.pools[pool as usize].autoscale?.initial_servers;
        let (mut number, mut before, mut joined) = (initial, initial, None);
        let (mut most, mut most_at) = (0, at);
        for exact in self.series.events(Span { from: 0, to: span.to }) {
            match exact.change {
                Change::Joined { server } if all.contains(&server) => {
                    number += 1;
                    joined = joined.or((exact.at_ns >= at).then_some(exact.at_ns));
                }
                Change::Left { server } if all.contains(&server) => number -= 1,
                _ => continue,
            }
            if exact.at_ns < at {
                before = number;
            } else if number > most {
                (most, most_at) = (number, exact.at_ns);
            }
        }
        Some(Fact::Scaling { pool, at, started, joined, before, most, most_at, span })
    }
}
