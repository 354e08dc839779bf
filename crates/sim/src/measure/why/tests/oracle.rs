//! Recomputes the numbers of a fact from a full trace: slowly, and without the timeline (but for the width of its bins).

use super::full_trace::{Event, FullTrace, Job};
use crate::measure::why::{By, Fact, Ratio, Span};
use crate::sim::model::{Model, Target};
use crate::sim::observer::ServerChange;
use crate::sim::record::ENDS;

/// A run as the oracle sees it.
pub struct Oracle<'a> {
    pub model: &'a Model,
    pub trace: &'a FullTrace,
    pub bin: u64,
}

type Checked = Result<(), String>;

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, wanted: T) -> Checked {
    if got == wanted { Ok(()) } else { Err(format!("{what}: {got:?}, but {wanted:?} in the trace")) }
}

fn inside(span: Span, at: u64) -> bool {
    (span.from..span.to).contains(&at)
}

impl Oracle<'_> {
    fn base(&self, pool: u32) -> u32 {
        self.model.pools[..pool as usize].iter().map(|pool| pool.servers.len() as u32).sum()
    }

    fn servers(&self, pool: u32) -> Vec<u32> {
        let base = self.base(pool);
        (base..base + self.model.pools[pool as usize].servers.len() as u32).collect()
    }

    fn pool_of(&self, server: u32) -> u32 {
        (0..self.model.pools.len() as u32).find(|&pool| self.servers(pool).contains(&server)).unwrap()
    }

    pub fn picks(&self, servers: &[u32], span: Span) -> Ratio {
        let all = self.servers(self.pool_of(servers[0]));
        let mut ratio = Ratio { part: 0, whole: 0 };
        for job in &self.trace.jobs {
            let (Some(server), Some(at)) = (job.server, job.picked) else { continue };
            if inside(span, at) {
                ratio.part += u64::from(servers.contains(&server));
                ratio.whole += u64::from(all.contains(&server));
            }
        }
        ratio
    }

    fn requests(&self) -> impl Iterator<Item = &Job> {
        self.trace.jobs.iter().filter(|job| job.parent.is_none() && job.attempt_of.is_none())
    }

    /// Requests of a pool that ended in a span: time, outcome, index.
    fn ended(&self, pool: Option<u32>, span: Span) -> Vec<(u64, &'static str, &Job)> {
        let of = |job: &&Job| pool.is_none_or(|pool| self.model.paths[job.path as usize].pool == pool as usize);
        let ended =
            self.requests().filter(of).filter_map(|job| job.ended.map(|(at, end)| (at, ENDS[end as usize].1, job)));
        ended.filter(|(at, ..)| inside(span, *at)).collect()
    }

    pub fn failed(&self, pool: Option<u32>, span: Span) -> Ratio {
        let ended = self.ended(pool, span);
        let part = ended.iter().filter(|(_, outcome, _)| *outcome != "ok").count() as u64;
        Ratio { part, whole: ended.len() as u64 }
    }

    pub fn mean(&self, pool: Option<u32>, span: Span) -> f64 {
        let ended = self.ended(pool, span);
        ended.iter().map(|(at, _, job)| at - job.arrived).sum::<u64>() as f64 / ended.len() as f64
    }

    /// The most requests in a server, and when first.
    pub fn peak(&self, server: u32, span: Span) -> (u32, u64) {
        let change = |event: &Event| {
            if let Event::Number(of, by) = event
                && *of == server
            {
                *by
            } else {
                0
            }
        };
        let (value, at) = self.trace.peak(span.from, span.to, change);
        (value as u32, at)
    }

    /// The end of the phase that a time begins is in, by the model's times.
    fn before(&self, at: u64) -> Option<Span> {
        let model = self.model;
        let faults =
            model.faults.iter().flat_map(|fault| [Some(fault.at.0), fault.until.map(|until| until.0)]).flatten();
        let ends = [0, model.warmup.0, (model.warmup + model.duration).0];
        let from = faults.chain(ends).filter(|&time| time < at).max()?;
        Some(Span { from, to: at })
    }

    pub fn attempts(&self, pool: u32, span: Span) -> Ratio {
        let whole = self.requests().filter(|job| self.model.paths[job.path as usize].pool == pool as usize);
        let whole = whole.filter(|job| inside(span, job.arrived)).count() as u64;
        Ratio { part: self.picks(&self.servers(pool), span).whole, whole }
    }

    pub fn hits(&self, pool: u32, span: Span) -> Ratio {
        let servers = self.servers(pool);
        let mut ratio = Ratio { part: 0, whole: 0 };
        for job in self.trace.jobs.iter().filter(|job| job.server.is_some_and(|server| servers.contains(&server))) {
            if let Some((at, Some(hit))) = job.started
                && inside(span, at)
            {
                ratio = Ratio { part: ratio.part + u64::from(hit), whole: ratio.whole + 1 };
            }
        }
        ratio
    }

    /// Highest and lowest load of a pool, each with its first server.
    pub fn loads(&self, pool: u32, span: Span) -> (u32, f64, u32, f64) {
        let capacity =
            |server: u32| self.model.pools[pool as usize].servers[(server - self.base(pool)) as usize].capacity();
        let sum: f64 = self.servers(pool).into_iter().map(capacity).sum();
        let mut loads: Vec<(f64, u32)> = Vec::new();
        for server in self.servers(pool) {
            loads.push((self.picks(&[server], span).value() / (capacity(server) / sum), server));
        }
        let most = loads.iter().copied().reduce(|a, b| if b.0 > a.0 { b } else { a }).unwrap();
        let least = loads.iter().copied().reduce(|a, b| if b.0 < a.0 { b } else { a }).unwrap();
        (most.1, most.0, least.1, least.0)
    }

    /// The windows of whole bins in a span from each bin on, each as short as it can be.
    fn windows(&self, servers: &[u32], before: Ratio, span: Span, last: u64) -> Vec<(Span, Ratio)> {
        let all = self.servers(self.pool_of(servers[0]));
        let mut bins = std::collections::BTreeMap::<u64, Ratio>::new();
        for job in &self.trace.jobs {
            let (Some(server), Some(at)) = (job.server, job.picked) else { continue };
            let sum = bins.entry(at / self.bin).or_default();
            sum.part += u64::from(servers.contains(&server));
            sum.whole += u64::from(all.contains(&server));
        }
        let mut found = Vec::new();
        let mut from = span.from.div_ceil(self.bin);
        while from * self.bin < last {
            let (mut to, mut sum) = (from, Ratio::default());
            while (sum.whole as f64 * before.value()) < 20.0 && (to + 1) * self.bin <= span.to {
                sum = sum + bins.get(&to).copied().unwrap_or_default();
                to += 1;
            }
            found.push((Span { from: from * self.bin, to: to * self.bin }, sum));
            from += 1;
        }
        found
    }

    /// The window is the first one with a share as wanted.
    fn first_window(
        &self,
        servers: &[u32],
        before: Ratio,
        span: Span,
        window: Span,
        then: Ratio,
        wanted: impl Fn(f64) -> bool,
    ) -> Checked {
        let windows = self.windows(servers, before, span, window.from + 1);
        let (last, earlier) = windows.split_last().ok_or("no window")?;
        same("window", window, last.0)?;
        same("share in the window", then, last.1)?;
        same("the window's share is as wanted", wanted(then.value()), true)?;
        same("earlier windows", earlier.iter().any(|(_, ratio)| wanted(ratio.value())), false)
    }

    fn struck(&self, event: &Event, by: By, begins: bool) -> Option<(u32, u32)> {
        match (event, by, begins) {
            (Event::Health { pool, view, slot, up }, By::Checks, begins) if *up != begins => {
                Some((self.base(*pool) + slot, *view))
            }
            (Event::Ejected { pool, view, slot }, By::Outliers, true)
            | (Event::Returned { pool, view, slot }, By::Outliers, false) => Some((self.base(*pool) + slot, *view)),
            _ => None,
        }
    }

    /// The end of the latest fault of this server that has ended at a time.
    fn fault_end(&self, server: u32, at: u64) -> Option<u64> {
        let (pool, base) = (self.pool_of(server), self.base(self.pool_of(server)));
        let of_pool = |target: Target| matches!(target, Target::Server { pool: of, .. } if of == pool as usize);
        let of = |target: Target| matches!(target, Target::Server { server: of, .. } if base + of as u32 == server);
        let ends = |own: bool| {
            let faults = self.model.faults.iter().filter(|fault| of_pool(fault.target) && (!own || of(fault.target)));
            faults.filter_map(|fault| fault.until).map(|until| until.0).filter(|&until| until <= at).max()
        };
        // The longest queue may be at a server that was not struck.
        ends(true).max(ends(false))
    }

    /// Checks every number of a fact.
    pub fn check(&self, fact: &Fact) -> Checked {
        match fact {
            Fact::Fault { at, until, servers, .. } => self.fault(*at, *until, servers),
            Fact::MoreFaults { count, span } => {
                let within = |at: u64| (span.from..=span.to).contains(&at);
                let known = self.model.faults.iter().filter(|fault| within(fault.at.0)).count() as u64;
                same("faults", *count, known)
            }
            Fact::ShareFalls { .. } | Fact::ShareStays { .. } | Fact::ShareReturns { .. } => self.shares(fact),
            Fact::Queue { .. } | Fact::Recovered { .. } | Fact::NotRecovered { .. } => self.queue(fact),
            Fact::Failures { .. } => self.failures(fact),
            Fact::Noticed { .. } | Fact::NotNoticed { .. } | Fact::Ejections { .. } | Fact::Back { .. } => {
                self.noticed(fact)
            }
            Fact::Panic { pool, at, span } => {
                let on = |event: &Event| matches!(event, Event::Panic { pool: of, on: true, .. } if of == pool);
                let mut all = self.trace.events.iter().filter(|(at, event)| inside(*span, *at) && on(event));
                same("panic", Some(*at), all.next().map(|(at, _)| *at))
            }
            Fact::Scaling { .. } => self.scaling(fact),
            Fact::Attempts { .. } => self.most_attempts(fact),
            Fact::Hedges { pool, ended, span } => {
                let hedges = self.trace.count(span.from, span.to, |event| u64::from(*event == Event::Hedged(*pool)));
                same("hedges", *ended, Ratio { part: hedges, whole: self.ended(Some(*pool), *span).len() as u64 })
            }
            Fact::Waiting { pool, value, at, span } => {
                let change = |event: &Event| {
                    if let Event::Waits { pool: of, by } = event
                        && of == pool
                    {
                        *by
                    } else {
                        0
                    }
                };
                same("waiting", (i64::from(*value), *at), self.trace.peak(span.from, span.to, change))
            }
            Fact::Hits { pool, ratio, before, evictions, span } => {
                same("hits", *ratio, self.hits(*pool, *span))?;
                if let Some(before) = before {
                    same("before", *before, self.hits(*pool, self.before(span.from).ok_or("nothing before")?))?;
                }
                let servers = self.servers(*pool);
                let evicted = |event: &Event| match event {
                    Event::Evicted(server, entries) if servers.contains(server) => u64::from(*entries),
                    _ => 0,
                };
                same("evictions", *evictions, self.trace.count(span.from, span.to, evicted))
            }
            Fact::Latency { pool, mean, before, span } => {
                same("mean", *mean, self.mean(Some(*pool), *span))?;
                let earlier = before.and_then(|_| self.before(span.from)).map(|span| self.mean(Some(*pool), span));
                same("before", *before, earlier)
            }
            Fact::Load { pool, busiest, most, idlest, least, span } => {
                same("loads", (*busiest, *most, *idlest, *least), self.loads(*pool, *span))
            }
        }
    }

    fn shares(&self, fact: &Fact) -> Checked {
        match fact {
            Fact::ShareFalls { servers, before, window, then, span, during } => {
                same("before", *before, self.picks(servers, self.before(span.from).ok_or("nothing before")?))?;
                same("during", *during, self.picks(servers, *span))?;
                let half = before.value() / 2.0;
                self.first_window(servers, *before, *span, *window, *then, |share| share < half)
            }
            Fact::ShareStays { servers, before, span, during } => {
                same("before", *before, self.picks(servers, self.before(span.from).ok_or("nothing before")?))?;
                same("during", *during, self.picks(servers, *span))
            }
            Fact::ShareReturns { servers, before, window, then, after } => {
                let until = window.to - after;
                let (pool, base) = (self.pool_of(servers[0]), self.base(self.pool_of(servers[0])));
                let slot = (servers[0] - base) as usize;
                let target = Target::Server { pool: pool as usize, server: slot };
                let fault = self
                    .model
                    .faults
                    .iter()
                    .find(|fault| fault.target == target && fault.until.is_some_and(|u| u.0 == until));
                let fault = fault.ok_or("no fault ends then")?;
                same("before", *before, self.picks(servers, self.before(fault.at.0).ok_or("nothing before")?))?;
                let half = before.value() / 2.0;
                let span = Span { from: until, to: self.trace.end };
                self.first_window(servers, *before, span, *window, *then, |share| share >= half)
            }
            _ => Err("no share".to_owned()),
        }
    }

    fn fault(&self, at: u64, until: Option<u64>, servers: &[u32]) -> Checked {
        for &server in servers {
            let (pool, base) = (self.pool_of(server), self.base(self.pool_of(server)));
            let target = Target::Server { pool: pool as usize, server: (server - base) as usize };
            let index = self.model.faults.iter().position(|fault| {
                fault.target == target && fault.at.0 == at && fault.until.map(|until| until.0) == until
            });
            let index = index.ok_or_else(|| format!("server {server} has no such fault"))? as u32;
            let told = |begins: bool| self.trace.events.iter().find(|(_, event)| *event == Event::Fault(index, begins));
            same("the fault's start", told(true).map(|(at, _)| *at), Some(at))?;
            if until.is_some() {
                same("the fault's end", told(false).map(|(at, _)| *at), until)?;
            }
        }
        Ok(())
    }

    fn queue(&self, fact: &Fact) -> Checked {
        match *fact {
            Fact::Queue { server, value, at, before, span } => {
                same("peak", (value, at), self.peak(server, span))?;
                if let Some(before) = before {
                    same("before", before, self.peak(server, self.before(span.from).ok_or("nothing before")?).0)?;
                }
                let others = self.servers(self.pool_of(server)).into_iter().map(|of| self.peak(of, span).0).max();
                same("no server of the pool has more", Some(value), others)
            }
            Fact::Recovered { server, bound, at, after } => {
                let until = at - after;
                same("the fault's end", Some(until), self.fault_end(server, at))?;
                let second = Span { from: at, to: at + 1_000_000_000_u64.div_ceil(self.bin) * self.bin };
                same("short for a second", self.peak(server, second).0 <= bound, true)?;
                // The bin before had more, unless it was short from the first bin on.
                let earlier = Span { from: at - self.bin, to: at };
                let first = at < until + self.bin;
                same("long before", first || self.peak(server, earlier).0 > bound, true)
            }
            Fact::NotRecovered { server, number, before, window, after } => {
                let until = window.to - after;
                same("the fault's end", Some(until), self.fault_end(server, window.to))?;
                same("number", number, self.peak(server, window).0)?;
                let faults = self.model.faults.iter().filter(|fault| fault.until.is_some_and(|end| end.0 == until));
                let starts: Vec<u32> =
                    faults.filter_map(|fault| self.before(fault.at.0)).map(|span| self.peak(server, span).0).collect();
                same("before", starts.contains(&before), true)
            }
            _ => Err("not a queue".to_owned()),
        }
    }

    fn failures(&self, fact: &Fact) -> Checked {
        let Fact::Failures { pool, outcome, first, at_server, ended, before, span } = fact else {
            return Err("no failures".to_owned());
        };
        let all = self.ended(*pool, *span);
        let mut so: Vec<_> = all.iter().filter(|(_, end, _)| end == outcome).collect();
        so.sort_by_key(|(at, ..)| *at);
        same("failed", *ended, Ratio { part: so.len() as u64, whole: all.len() as u64 })?;
        same("first", Some(*first), so.first().map(|(at, ..)| *at))?;
        // Several may end at once; the server is that of one of them, or of its last attempt.
        let at_once = so.iter().filter(|(at, ..)| at == first);
        let last_server = |job: &Job| {
            let attempts =
                self.trace.jobs.iter().filter(|of| of.id == job.id && of.attempt_of.is_some() && of.parent.is_none());
            attempts
                .filter(|of| of.picked.is_some_and(|at| at <= *first))
                .max_by_key(|of| of.picked)
                .and_then(|of| of.server)
        };
        let servers: Vec<Option<u32>> = at_once.map(|(_, _, job)| job.server.or_else(|| last_server(job))).collect();
        same("server of the first", servers.contains(at_server), true)?;
        let earlier = self.before(span.from).map_or_else(Vec::new, |span| self.ended(*pool, span));
        let part = earlier.iter().filter(|(_, end, _)| end == outcome).count() as u64;
        same("before", *before, Ratio { part, whole: earlier.len() as u64 })
    }

    fn noticed(&self, fact: &Fact) -> Checked {
        let events = |span: Span| self.trace.events.iter().filter(move |(at, _)| inside(span, *at));
        match fact {
            Fact::Noticed { by, server, at, delay, views, told, last, span } => {
                same("delay", *delay, at - span.from)?;
                let mut by_view = std::collections::BTreeMap::new();
                for (at, event) in events(*span) {
                    if let Some((_, view)) = self.struck(event, *by, true).filter(|(of, _)| of == server) {
                        by_view.entry(view).or_insert(*at);
                    }
                }
                same("first", Some(at), by_view.values().min())?;
                same("last", Some(last), by_view.values().max())?;
                same("told", *told as usize, by_view.len())?;
                let known = self.trace.events.iter().filter_map(|(_, event)| match event {
                    Event::Panic { pool, view, .. } if *pool == self.pool_of(*server) => Some(*view),
                    _ => None,
                });
                let known: std::collections::BTreeSet<u32> = known.collect();
                same("views", *views as usize, known.len())
            }
            Fact::NotNoticed { servers, span } => {
                let told = |event: &Event| {
                    [By::Checks, By::Outliers]
                        .into_iter()
                        .filter_map(|by| self.struck(event, by, true))
                        .any(|(of, _)| servers.contains(&of))
                };
                same("no balancer notices", events(*span).any(|(_, event)| told(event)), false)
            }
            Fact::Back { by, server, at, after } => {
                let until = at - after;
                same("the fault's end", Some(until), self.fault_end(*server, *at))?;
                let is_back = |event: &Event| self.struck(event, *by, false).is_some_and(|(of, _)| of == *server);
                let first = events(Span { from: until, to: u64::MAX }).find(|(_, event)| is_back(event));
                same("back", Some(*at), first.map(|(at, _)| *at))
            }
            Fact::Ejections { pool, count, servers, most, at, first, span } => {
                let all: Vec<(u64, u32)> = events(*span)
                    .filter_map(|(at, event)| Some((*at, self.struck(event, By::Outliers, true)?.0)))
                    .filter(|(_, server)| self.servers(*pool).contains(server))
                    .collect();
                same("ejections", *count, all.len() as u64)?;
                same("first", Some(*first), all.first().map(|(at, _)| *at))?;
                let different: std::collections::BTreeSet<u32> = all.iter().map(|(_, server)| *server).collect();
                same("servers", *servers, different.len() as u64)?;
                let (mut out, mut peak) = (std::collections::BTreeSet::new(), (0, 0));
                for (at, event) in self.trace.events.iter().filter(|(at, _)| *at < span.to) {
                    if let Some(server) =
                        self.struck(event, By::Outliers, true).filter(|(of, _)| self.servers(*pool).contains(of))
                    {
                        out.insert(server);
                        let view = out.iter().filter(|(_, view)| *view == server.1).count() as u32;
                        if *at >= span.from && view > peak.0 {
                            peak = (view, *at);
                        }
                    } else if let Some(server) = self.struck(event, By::Outliers, false) {
                        out.remove(&server);
                    }
                }
                same("most at once", (*most, *at), peak)
            }
            _ => Err("nothing noticed".to_owned()),
        }
    }

    fn scaling(&self, fact: &Fact) -> Checked {
        let Fact::Scaling { pool, at, started, joined, before, most, most_at, span } = fact else {
            return Err("no scaling".to_owned());
        };
        let mut number = i64::from(self.model.pools[*pool as usize].autoscale.unwrap().initial_servers);
        let (mut first, mut first_joined, mut known_before, mut peak) = (None, None, number, (0, *at));
        for (time, event) in self.trace.events.iter().filter(|(at, _)| *at < span.to) {
            match event {
                Event::Booting(of, servers) if of == pool && *time >= span.from => {
                    first = first.or(Some((*time, *servers)));
                }
                Event::Server { pool: of, change: ServerChange::Joined, .. } if of == pool => {
                    number += 1;
                    first_joined = first_joined.or((*time >= *at).then_some(*time));
                }
                Event::Server { pool: of, change: ServerChange::Left, .. } if of == pool => number -= 1,
                _ => continue,
            }
            if time < at {
                known_before = number;
            } else if number > peak.0 && !matches!(event, Event::Booting(..)) {
                peak = (number, *time);
            }
        }
        same("first decision", Some((*at, *started)), first)?;
        same("joined", *joined, first_joined)?;
        same("before", i64::from(*before), known_before)?;
        same("most", (i64::from(*most), *most_at), peak)
    }

    fn most_attempts(&self, fact: &Fact) -> Checked {
        let Fact::Attempts { pool, window, then, before, retries, span } = fact else {
            return Err("no attempts".to_owned());
        };
        same("attempts", *then, self.attempts(*pool, *window))?;
        let sent = self.trace.count(span.from, span.to, |event| u64::from(*event == Event::Retried(*pool)));
        same("retries", *retries, sent)?;
        let of_pool = |target: Target| matches!(target, Target::Server { pool: of, .. } if of == *pool as usize);
        let first = self.model.faults.iter().filter(|fault| of_pool(fault.target)).map(|fault| fault.at.0).min();
        if let Some(before) = before {
            let first = first.ok_or("no fault")?;
            same("before", *before, self.attempts(*pool, Span { from: span.from, to: first }))?;
        }
        // No other window of this length has more.
        let length = window.to - window.from;
        let servers = self.servers(*pool);
        let mut bins = std::collections::BTreeMap::<u64, Ratio>::new();
        for job in &self.trace.jobs {
            if let (Some(server), Some(at)) = (job.server, job.picked)
                && servers.contains(&server)
            {
                bins.entry(at / self.bin).or_default().part += 1;
            }
        }
        for job in self.requests().filter(|job| self.model.paths[job.path as usize].pool == *pool as usize) {
            bins.entry(job.arrived / self.bin).or_default().whole += 1;
        }
        let mut from = span.from.div_ceil(self.bin) * self.bin;
        while from + length <= span.to {
            let range = from / self.bin..(from + length) / self.bin;
            let sum = range.filter_map(|bin| bins.get(&bin)).fold(Ratio::default(), |sum, &bin| sum + bin);
            if sum.whole >= 50 && (sum.value() > then.value() || sum.value() == then.value() && from < window.from) {
                return Err(format!("{sum:?} from {from} is more than {then:?}"));
            }
            from += self.bin;
        }
        Ok(())
    }
}
