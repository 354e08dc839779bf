//! What happens inside a test server: the queue, the slots or the shared processor, the cache and the faults, on the
//! simulator's own server. Time is an argument, and every departure and fault happens at its own moment however late the
//! caller looks: a timer that wakes late delays an answer, but no work and nobody else in the queue.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use tokio::sync::oneshot;

use evenkeel_core::select::LoadReport;
use evenkeel_core::units::Nanos;
use evenkeel_sim::sim::model::{Discipline, FaultKind, Server};
use evenkeel_sim::sim::server::{Condition, ServerState};

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimedFault {
    /// From when on, since the server's start.
    pub at: Nanos,
    /// Until when; for good unless given.
    pub until: Option<Nanos>,
    /// What.
    pub kind: FaultKind,
}

/// What became of a request that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobOutcome {
    /// Served; from the cache or not, or there is none.
    Served(Option<bool>),
    /// Its server died with it.
    Lost,
}

/// What a server does with a request that comes.
#[derive(Debug)]
pub(super) enum Entry {
    /// Let in. The number is for [`ServerModel::gave_up`].
    In(JobRef, oneshot::Receiver<JobOutcome>),
    /// An error, after this time.
    Error(Nanos),
    /// The queue is full.
    Rejected,
    /// It is dead.
    Dead,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobRef {
    job: u32,
    tenant: u64,
}

/// What a server has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that came, without health checks.
    pub requests: u64,
    /// Of these, answered as they should be.
    pub ok: u64,
    /// Answered with an error that a fault made.
    pub errors: u64,
    /// Turned away because the queue was full.
    pub rejected: u64,
    /// Lost in a crash, or never heard because of one.
    pub lost: u64,
    /// Whose client left before the answer; also counted as what became of the work.
    pub gave_up: u64,
    /// Found in the cache.
    pub hits: u64,
    /// Not found in it.
    pub misses: u64,
    /// Health checks.
    pub checks: u64,
    /// Connections taken.
    pub connections: u64,
    /// Here now, in service or waiting.
    pub in_flight: u32,
    /// The most that were here at once.
    pub most_in_flight: u32,
    /// Sum of the times that served requests were here.
    pub time_here: Nanos,
}

struct Job {
    tenant: u64,
    key: u64,
    work: Nanos,
    entered: Nanos,
    /// How many it found here.
    found: u32,
    hit: Option<bool>,
    serving: bool,
    wanted: bool,
    tell: Option<oneshot::Sender<JobOutcome>>,
}

/// See the module's text.
pub(super) struct ServerModel {
    server: ServerState,
    /// Whether requests leave the queue when their client leaves.
    cancel: bool,
    jobs: Vec<Job>,
    free: Vec<u32>,
    waiting: VecDeque<u32>,
    /// First come, first served: when those in service are done.
    ends: BinaryHeap<Reverse<(Nanos, u32)>>,
    faults: Vec<TimedFault>,
    /// Up to when everything has happened.
    at: Nanos,
    tenants: u64,
    /// How often it has died.
    deaths: u64,
    pub counters: Counters,
}

impl ServerModel {
    pub(super) fn new(spec: &Server, faults: Vec<TimedFault>, cancel: bool) -> ServerModel {
        let mut server_model = ServerModel {
            server: ServerState::new(spec),
            cancel,
            jobs: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            ends: BinaryHeap::new(),
            faults,
            at: Nanos::ZERO,
            tenants: 0,
            deaths: 0,
            counters: Counters::default(),
        };
        server_model.feel(server_model.at);
        server_model
    }

    pub(super) fn condition(&self) -> Condition {
        self.server.condition
    }

    pub(super) fn deaths(&self) -> u64 {
        self.deaths
    }

    /// Whether it asks to be sent nothing new.
    pub(super) fn is_draining(&self) -> bool {
        self.struck().any(|kind| kind == FaultKind::Drain)
    }

    /// How long this much work takes one slot at present.
    pub(super) fn span(&self, work: Nanos) -> Nanos {
        self.server.span(work)
    }

    /// When something next happens by itself.
    pub(super) fn next(&self) -> Option<Nanos> {
        [self.next_departure(), self.next_edge()].into_iter().flatten().min()
    }

    fn next_departure(&self) -> Option<Nanos> {
        match self.server.discipline {
            Discipline::Fcfs => self.ends.peek().map(|&Reverse((at, _))| at),
            Discipline::Ps => self.server.shared.next_departure(self.server.rate()),
        }
    }

    /// When a fault next begins or ends.
    fn next_edge(&self) -> Option<Nanos> {
        let edges = self.faults.iter().flat_map(|fault| [Some(fault.at), fault.until]);
        edges.flatten().filter(|&edge| edge > self.at).min()
    }

    fn struck(&self) -> impl Iterator<Item = FaultKind> + use<'_> {
        let now = self.at;
        let strikes = move |fault: &&TimedFault| fault.at <= now && fault.until.is_none_or(|until| until > now);
        self.faults.iter().filter(strikes).map(|fault| fault.kind)
    }

    /// Lets everything happen that is due.
    pub(super) fn advance(&mut self, now: Nanos) {
        // Clocks of two threads may disagree by a little; time here does not run backwards.
        let now = now.max(self.at);
        loop {
            let (departure, edge) = (self.next_departure(), self.next_edge());
            match (departure, edge) {
                (Some(at), edge) if at <= now && edge.is_none_or(|edge| at <= edge) => {
                    self.at = at.max(self.at);
                    self.depart();
                }
                (_, Some(edge)) if edge <= now => self.feel(edge),
                _ => break,
            }
        }
        self.at = now;
    }

    /// Something goes wrong; its time counts from now.
    pub(super) fn inject_fault(&mut self, now: Nanos, fault: TimedFault) {
        self.advance(now);
        let now = self.at;
        let until = fault.until.map(|until| now + until);
        self.faults.push(TimedFault { at: now + fault.at, until, kind: fault.kind });
        self.feel(now);
    }

    /// Ends what strikes it now; what is yet to come still comes.
    pub(super) fn heal(&mut self, now: Nanos) {
        self.advance(now);
        let at = self.at;
        for fault in &mut self.faults {
            if fault.at <= at && fault.until.is_none_or(|until| until > at) {
                fault.until = Some(at);
            }
        }
        self.feel(at);
    }

    /// Works out its condition at an edge, and lets what is in it feel that.
    fn feel(&mut self, edge: Nanos) {
        self.at = edge.max(self.at);
        let now = self.at;
        let begins = |f: &TimedFault| f.at == now && f.until != Some(now);
        let dies = self.faults.iter().any(|f| begins(f) && matches!(f.kind, FaultKind::Crash { .. }));
        let comes_back = self.faults.iter().any(|f| f.until == Some(now) && f.kind == FaultKind::Drain);
        if dies {
            self.die();
        }
        if let (true, Some(cache)) = (comes_back, &mut self.server.cache) {
            cache.clear();
        }
        let old_rate = self.server.rate();
        let condition = Condition::under(self.struck());
        if self.server.discipline == Discipline::Ps {
            self.server.shared.advance(now, old_rate);
        }
        self.server.condition = condition;
        let rate = self.server.rate();
        if rate != old_rate {
            let scaled = |Reverse((end, job)): Reverse<(Nanos, u32)>| {
                let left = (end - now).0 as f64 * old_rate / rate;
                Reverse((now + Nanos::from_nanos_f64(left), job))
            };
            self.ends = std::mem::take(&mut self.ends).into_iter().map(scaled).collect();
        }
        self.faults.retain(|fault| fault.until.is_none_or(|until| until > now));
    }

    /// Everything in it is lost and its cache is empty.
    fn die(&mut self) {
        let now = self.at;
        self.deaths += 1;
        self.server.touch(now);
        (self.server.in_service, self.server.queued) = (0, 0);
        self.server.shared.advance(now, self.server.rate());
        self.server.shared.clear();
        if let Some(cache) = &mut self.server.cache {
            cache.clear();
        }
        self.waiting.clear();
        self.ends.clear();
        for job in 0..self.jobs.len() {
            if self.jobs[job].tell.is_some() {
                self.server.left(now - self.jobs[job].entered);
                self.server.failed();
                self.counters.lost += 1;
                self.release(job as u32, JobOutcome::Lost);
            }
        }
        self.counters.in_flight = 0;
    }

    /// A request comes. `error_draw` is from 0 to 1 and decides whether a fault's errors strike it.
    pub(super) fn enter(&mut self, now: Nanos, key: u64, work: Nanos, error_draw: f64) -> Entry {
        self.advance(now);
        self.counters.requests += 1;
        let condition = self.server.condition;
        if !condition.up {
            self.counters.lost += 1;
            return Entry::Dead;
        }
        if error_draw < condition.error_ratio {
            self.server.failed();
            self.counters.errors += 1;
            return Entry::Error(condition.error_latency);
        }
        let busy = self.server.in_service >= self.server.concurrency;
        if busy && self.server.queued >= self.server.queue_limit {
            self.server.failed();
            self.counters.rejected += 1;
            return Entry::Rejected;
        }
        let now = self.at;
        self.server.touch(now);
        let found = self.server.entered();
        let (tell, told) = oneshot::channel();
        self.tenants += 1;
        let tenant = self.tenants;
        let new =
            Job { tenant, key, work, entered: now, found, hit: None, serving: false, wanted: true, tell: Some(tell) };
        let job = match self.free.pop() {
            Some(job) => {
                self.jobs[job as usize] = new;
                job
            }
            None => {
                self.jobs.push(new);
                (self.jobs.len() - 1) as u32
            }
        };
        if busy {
            self.waiting.push_back(job);
            self.server.queued += 1;
        } else {
            self.serve(job);
        }
        self.count_here();
        // Work of no length is done by now.
        self.advance(now);
        Entry::In(JobRef { job, tenant }, told)
    }

    /// A request that takes no time at all came and went.
    pub(super) fn passes(&mut self, now: Nanos) {
        self.advance(now);
        self.server.touch(self.at);
        self.server.entered();
        self.server.left(Nanos::ZERO);
        self.server.answered();
        self.counters.requests += 1;
        self.counters.ok += 1;
    }

    fn count_here(&mut self) {
        self.counters.in_flight = self.server.in_service + self.server.queued;
        self.counters.most_in_flight = self.counters.most_in_flight.max(self.counters.in_flight);
    }

    /// Starts service; there is room.
    fn serve(&mut self, index: u32) {
        let now = self.at;
        let job = &mut self.jobs[index as usize];
        job.hit = self.server.look_up(job.key, now);
        match job.hit {
            Some(true) => {
                self.counters.hits += 1;
                job.work = Nanos::from_nanos_f64(job.work.0 as f64 * self.server.hit_cost);
            }
            Some(false) => self.counters.misses += 1,
            None => {}
        }
        job.serving = true;
        self.server.in_service += 1;
        match self.server.discipline {
            Discipline::Fcfs => self.ends.push(Reverse((now + self.server.span(job.work), index))),
            Discipline::Ps => {
                self.server.shared.advance(now, self.server.rate());
                self.server.shared.add(index, job.work);
            }
        }
    }

    /// The next one is done, now.
    fn depart(&mut self) {
        let now = self.at;
        let done = match self.server.discipline {
            Discipline::Fcfs => self.ends.pop().map(|Reverse((_, job))| job),
            Discipline::Ps => {
                self.server.shared.advance(now, self.server.rate());
                self.server.shared.depart()
            }
        };
        let Some(index) = done else { return };
        let job = &self.jobs[index as usize];
        if let (Some(false), Some(cache)) = (job.hit, &mut self.server.cache) {
            cache.put(job.key, now);
        }
        let (here, found, hit) = (now - job.entered, job.found, job.hit);
        self.server.touch(now);
        self.server.in_service -= 1;
        self.server.left(here);
        self.server.answered();
        self.server.note(now, here, found);
        self.counters.ok += 1;
        self.counters.time_here += here;
        self.release(index, JobOutcome::Served(hit));
        self.start_next();
        self.count_here();
    }

    fn start_next(&mut self) {
        while self.server.in_service < self.server.concurrency
            && let Some(next) = self.waiting.pop_front()
        {
            self.server.queued -= 1;
            let job = &self.jobs[next as usize];
            if self.cancel && !job.wanted {
                self.server.left(self.at - job.entered);
                self.release(next, JobOutcome::Lost);
                continue;
            }
            self.serve(next);
        }
    }

    /// Nobody may be listening any more.
    fn release(&mut self, job: u32, told: JobOutcome) {
        if let Some(tell) = self.jobs[job as usize].tell.take() {
            let _ = tell.send(told);
        }
        self.free.push(job);
    }

    /// The client of a request is gone. Its work goes on, unless it waits and the server notices such things.
    pub(super) fn gave_up(&mut self, now: Nanos, place: JobRef) {
        self.advance(now);
        let job = &mut self.jobs[place.job as usize];
        if job.tenant == place.tenant && job.tell.is_some() {
            job.wanted = false;
            self.counters.gave_up += 1;
        }
    }

    /// What it tells of the last half second to second; to who asks for the sake of a request with this key.
    pub(super) fn report(&mut self, now: Nanos, key: Option<u64>) -> LoadReport {
        self.advance(now);
        self.server.fresh_report(self.at, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_config::distribution::Sampler;
    use evenkeel_core::rng::{Keyed, Rng, Source};
    use std::num::NonZeroUsize;

    fn ms(millis: u64) -> Nanos {
        Nanos::from_millis(millis)
    }

    fn told(entry: &mut Entry) -> Option<JobOutcome> {
        match entry {
            Entry::In(_, told) => told.try_recv().ok(),
            _ => None,
        }
    }

    /// Whoever looks only when a request comes sees what a timer would have shown that never is late: exactly the same
    /// times, and the mean of an M/M/1 queue at load 0.7, which is 10 ms / (1 - 0.7) for a shared processor, too.
    #[test]
    fn a_queue_is_a_queue_however_late_one_looks() {
        for discipline in [Discipline::Fcfs, Discipline::Ps] {
            let concurrency = if discipline == Discipline::Ps { u32::MAX } else { 1 };
            let run = |eager: bool| {
                let mut server_model =
                    ServerModel::new(&Server { discipline, concurrency, ..Server::new("a") }, Vec::new(), false);
                let mut gaps = Rng::stream(3, "gaps", 0);
                let work = Keyed::new(3, "work");
                let (law, gap) = (Sampler::Exponential { mean: 10e6 }, Sampler::Exponential { mean: 10e6 / 0.7 });
                let mut at = Nanos::ZERO;
                for i in 0..100_000 {
                    at += gap.sample(&mut gaps);
                    while let Some(next) = server_model.next().filter(|&next| eager && next <= at) {
                        server_model.advance(next);
                    }
                    server_model.enter(at, 0, law.sample(&mut work.at(i)), 1.0);
                }
                server_model.advance(at + Nanos::from_secs(100));
                assert_eq!((server_model.counters.ok, server_model.counters.in_flight), (100_000, 0));
                server_model.counters.time_here.0 as f64 / 1e5
            };
            let (eager, lazy) = (run(true), run(false));
            assert!((eager - lazy).abs() < 100.0, "{discipline:?}: {eager} and {lazy} ns");
            assert!((lazy / 33.33e6 - 1.0).abs() < 0.06, "{discipline:?}: {lazy}");
        }
    }

    #[test]
    fn slots_queue_and_limit() {
        let server = Server { concurrency: 2, queue_limit: Some(1), ..Server::new("a") };
        let mut server_model = ServerModel::new(&server, Vec::new(), false);
        let mut entries: Vec<Entry> = (0..4).map(|_| server_model.enter(ms(0), 0, ms(10), 1.0)).collect();
        assert!(matches!(entries[3], Entry::Rejected));
        server_model.advance(ms(9));
        assert_eq!(entries.iter_mut().map(told).collect::<Vec<_>>(), [None; 4]);
        assert_eq!(server_model.next(), Some(ms(10)));
        server_model.advance(ms(25));
        let served = Some(JobOutcome::Served(None));
        assert_eq!(entries.iter_mut().map(told).collect::<Vec<_>>(), [served, served, served, None]);
        let expected =
            Counters { requests: 4, ok: 3, rejected: 1, most_in_flight: 3, time_here: ms(40), ..Counters::default() };
        assert_eq!(server_model.counters, expected);
    }

    #[test]
    fn a_hit_is_cheap_and_a_crash_forgets() {
        let cache = evenkeel_config::pool::CacheSpec {
            capacity: NonZeroUsize::new(2).unwrap(),
            ttl: None,
            hit_cost: 0.1,
            reported_load: 1.0,
        };
        let crash = TimedFault { at: ms(50), until: Some(ms(60)), kind: FaultKind::Crash { silent: false } };
        let mut server_model = ServerModel::new(&Server { cache: Some(cache), ..Server::new("a") }, vec![crash], false);
        let mut first = server_model.enter(ms(0), 7, ms(10), 1.0);
        let mut second = server_model.enter(ms(20), 7, ms(10), 1.0);
        server_model.advance(ms(21));
        assert_eq!(
            (told(&mut first), told(&mut second)),
            (Some(JobOutcome::Served(Some(false))), Some(JobOutcome::Served(Some(true))))
        );
        let mut lost = server_model.enter(ms(45), 8, ms(10), 1.0);
        server_model.advance(ms(52));
        assert_eq!(told(&mut lost), Some(JobOutcome::Lost));
        assert!(!server_model.condition().up && server_model.deaths() == 1);
        assert!(matches!(server_model.enter(ms(55), 7, ms(10), 1.0), Entry::Dead));
        let mut third = server_model.enter(ms(60), 7, ms(10), 1.0);
        server_model.advance(ms(80));
        assert_eq!(told(&mut third), Some(JobOutcome::Served(Some(false))));
        assert_eq!((server_model.counters.lost, server_model.counters.hits, server_model.counters.misses), (2, 1, 3));
    }

    /// Half of the work at full speed, half at a quarter of it.
    #[test]
    fn slowness_strikes_what_is_in_service() {
        for discipline in [Discipline::Fcfs, Discipline::Ps] {
            let mut server_model = ServerModel::new(&Server { discipline, ..Server::new("a") }, Vec::new(), false);
            server_model.enter(ms(0), 0, ms(10), 1.0);
            let slow = FaultKind::Slow { factor: 4.0 };
            server_model.inject_fault(ms(5), TimedFault { at: ms(0), until: Some(ms(100)), kind: slow });
            assert_eq!(server_model.next(), Some(ms(25)));
            server_model.heal(ms(9));
            assert_eq!(server_model.next(), Some(ms(13)));
            assert_eq!(server_model.condition(), Condition::GOOD);
        }
    }

    #[test]
    fn who_left_the_queue_is_served_only_if_nobody_notices() {
        for (cancel, ok) in [(false, 2), (true, 1)] {
            let mut server_model = ServerModel::new(&Server::new("a"), Vec::new(), cancel);
            let _first = server_model.enter(ms(0), 0, ms(10), 1.0);
            let Entry::In(place, _) = server_model.enter(ms(1), 0, ms(10), 1.0) else { panic!("let in") };
            server_model.gave_up(ms(2), place);
            server_model.advance(ms(100));
            assert_eq!(
                (server_model.counters.ok, server_model.counters.gave_up, server_model.counters.in_flight),
                (ok, 1, 0)
            );
        }
    }

    #[test]
    fn a_report_tells_of_the_last_second() {
        let mut server_model = ServerModel::new(&Server::new("a"), Vec::new(), false);
        let mut error_draw = Rng::stream(1, "luck", 0);
        let mut at = Nanos::ZERO;
        let mut last = LoadReport::default();
        for _ in 0..400 {
            at += ms(20);
            server_model.enter(at, 0, ms(10), error_draw.unit());
            last = server_model.report(at + ms(15), None);
        }
        assert!((0.5..=1.1).contains(&last.window), "{}", last.window);
        assert!((last.throughput - 50.0).abs() < 2.5, "{}", last.throughput);
        assert!((last.utilisation - 0.5).abs() < 0.03, "{}", last.utilisation);
        assert!((last.response_time - 0.01).abs() < 1e-6, "{}", last.response_time);
    }
}
