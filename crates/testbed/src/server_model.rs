//! The requests of a test server, on the simulator's own [`ServerState`]. Time is an argument, and every departure and fault
//! happens at its exact time even if the caller polls late: a timer that fires late delays a response, but neither the work
//! nor the requests behind it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::sync::oneshot;

use evenkeel_config::fault::{Condition, Fault, TimedFault};
use evenkeel_core::select::LoadReport;
use evenkeel_core::units::Nanos;
use evenkeel_sim::sim::model::{Discipline, Server};
use evenkeel_sim::sim::server::{Admission, Linked, Links, ServerState};

/// The outcome of an admitted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobOutcome {
    /// Served; `Some(true)` from the cache, `None` without a cache.
    Served(Option<bool>),
    /// Its server crashed, or it left the queue because its client had disconnected.
    Lost,
}

/// The server's decision on an arriving request.
#[derive(Debug)]
pub(super) enum Entry {
    /// Admitted. The reference is the argument of [`ServerModel::gave_up`].
    In(JobRef, oneshot::Receiver<JobOutcome>),
    /// An error, after this time.
    Error(Nanos),
    /// The queue is full.
    Rejected,
    /// The server is down.
    Dead,
}

/// Identifies an admitted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobRef {
    job: u32,
    tenant: u64,
}

/// The counters of a server so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that arrived, without health checks.
    pub requests: u64,
    /// Of these, requests that were served.
    pub ok: u64,
    /// Requests answered with an error because of a fault.
    pub errors: u64,
    /// Requests rejected because the queue was full.
    pub rejected: u64,
    /// Requests that were in the server when it crashed, or that arrived while it was down.
    pub lost: u64,
    /// Requests whose client disconnected before the response; they are also counted by outcome.
    pub gave_up: u64,
    /// Cache look-ups that hit.
    pub hits: u64,
    /// Cache look-ups that missed.
    pub misses: u64,
    /// Health checks.
    pub checks: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Requests in the server now, in service or waiting.
    pub in_flight: u32,
    /// Maximum number of requests in the server at once.
    pub most_in_flight: u32,
    /// Sum of the times in the server of the requests that were served.
    pub time_here: Nanos,
}

struct Job {
    tenant: u64,
    key: u64,
    work: Nanos,
    entered: Nanos,
    /// Number of requests in the server on its arrival.
    found: u32,
    hit: Option<bool>,
    serving: bool,
    /// First come, first served: when service ends.
    ends: Nanos,
    links: Links,
    /// `None` where the slot is free.
    tell: Option<oneshot::Sender<JobOutcome>>,
}

impl Linked for Job {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// The requests of a test server; see the module's documentation.
pub(super) struct ServerModel {
    server: ServerState,
    /// Whether requests leave the queue when their client disconnects.
    cancel: bool,
    jobs: Vec<Job>,
    free: Vec<u32>,
    /// First come, first served: ends of the requests in service.
    ends: BinaryHeap<Reverse<(Nanos, u32)>>,
    faults: Vec<TimedFault>,
    /// Events up to this time have been processed.
    at: Nanos,
    tenants: u64,
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
            ends: BinaryHeap::new(),
            faults,
            at: Nanos::ZERO,
            tenants: 0,
            deaths: 0,
            counters: Counters::default(),
        };
        server_model.update_condition(server_model.at);
        server_model
    }

    pub(super) fn condition(&self) -> Condition {
        *self.server.condition()
    }

    /// Number of crashes so far.
    pub(super) fn deaths(&self) -> u64 {
        self.deaths
    }

    /// Time that this much work takes on one slot at present.
    pub(super) fn span(&self, work: Nanos) -> Nanos {
        self.server.span(work)
    }

    /// Time of the next departure or fault; `None` without any.
    pub(super) fn next(&self) -> Option<Nanos> {
        [self.next_departure(), self.next_edge()].into_iter().flatten().min()
    }

    fn next_departure(&self) -> Option<Nanos> {
        match self.server.discipline() {
            Discipline::Fcfs => self.ends.peek().map(|&Reverse((at, _))| at),
            Discipline::Ps => self.server.next_shared(),
        }
    }

    /// Time at which a fault next starts or ends.
    fn next_edge(&self) -> Option<Nanos> {
        let edges = self.faults.iter().flat_map(|fault| [Some(fault.at), fault.until]);
        edges.flatten().filter(|&edge| edge > self.at).min()
    }

    /// Processes all events that are due.
    pub(super) fn advance(&mut self, now: Nanos) {
        // Clocks of two threads may differ slightly; time here is monotonic.
        let now = now.max(self.at);
        loop {
            let (departure, edge) = (self.next_departure(), self.next_edge());
            match (departure, edge) {
                (Some(at), edge) if at <= now && edge.is_none_or(|edge| at <= edge) => {
                    self.at = at.max(self.at);
                    self.depart();
                }
                (_, Some(edge)) if edge <= now => self.update_condition(edge),
                _ => break,
            }
        }
        self.at = now;
    }

    /// Adds faults whose times count from now.
    pub(super) fn inject_faults(&mut self, now: Nanos, faults: impl IntoIterator<Item = TimedFault>) {
        self.advance(now);
        let now = self.at;
        for TimedFault { at, until, kind } in faults {
            self.faults.push(TimedFault { at: now + at, until: until.map(|until| now + until), kind });
        }
        self.update_condition(now);
    }

    /// Ends the faults that are active now; later ones still start.
    pub(super) fn heal(&mut self, now: Nanos) {
        self.advance(now);
        let now = self.at;
        for fault in self.faults.iter_mut().filter(|fault| fault.is_active(now)) {
            fault.until = Some(now);
        }
        self.update_condition(now);
    }

    /// Updates its condition when a fault starts or ends.
    fn update_condition(&mut self, edge: Nanos) {
        self.at = edge.max(self.at);
        let now = self.at;
        let begins = |fault: &TimedFault| fault.at == now && fault.until != Some(now);
        if self.faults.iter().any(|fault| begins(fault) && fault.kind.loses_requests()) {
            self.die();
        }
        let active = self.faults.iter().filter(|fault| fault.is_active(now));
        let condition = Condition::under(active.map(|fault| fault.kind));
        if self.server.condition().draining && !condition.draining {
            self.server.empty_cache();
        }
        if let Some(change) = self.server.set_condition(now, condition) {
            for job in self.jobs.iter_mut().filter(|job| job.tell.is_some() && job.serving) {
                job.ends = self.server.reschedule(now, job.ends, change);
            }
            let ends = |&Reverse((_, job)): &Reverse<(Nanos, u32)>| Reverse((self.jobs[job as usize].ends, job));
            self.ends = self.ends.iter().map(ends).collect();
        }
        self.faults.retain(|fault| fault.until.is_none_or(|until| until > now));
    }

    /// A crash: all requests are lost and the cache is emptied.
    fn die(&mut self) {
        let now = self.at;
        self.deaths += 1;
        self.server.crash(now);
        self.ends.clear();
        for index in 0..self.jobs.len() {
            let job = &self.jobs[index];
            if job.tell.is_some() {
                self.server.lost(now, job.entered, (!job.serving).then_some(job.work));
                self.counters.lost += 1;
                self.release(index as u32, JobOutcome::Lost);
            }
        }
        self.counters.in_flight = 0;
    }

    /// A request arrives. `error_draw`, uniform in [0, 1), decides whether a fault answers it with an error.
    pub(super) fn enter(&mut self, now: Nanos, key: u64, work: Nanos, error_draw: f64) -> Entry {
        self.advance(now);
        let now = self.at;
        self.counters.requests += 1;
        self.server.sent(work);
        let (found, starts) = match self.server.arrive(now, work, error_draw) {
            Admission::Admitted { found, starts } => (found, starts),
            Admission::Rejected => {
                self.counters.rejected += 1;
                return Entry::Rejected;
            }
            Admission::Error { after } => {
                self.counters.errors += 1;
                return Entry::Error(after);
            }
            Admission::Down { .. } => {
                self.counters.lost += 1;
                return Entry::Dead;
            }
        };
        let (tell, told) = oneshot::channel();
        self.tenants += 1;
        let tenant = self.tenants;
        let job = self.place(Job {
            tenant,
            key,
            work,
            entered: now,
            found,
            hit: None,
            serving: false,
            ends: Nanos::ZERO,
            links: Links::NONE,
            tell: Some(tell),
        });
        if starts {
            self.serve(job);
        } else {
            self.server.enqueue(job, &mut self.jobs);
        }
        self.count_here();
        // Requests with zero work are done by now.
        self.advance(now);
        Entry::In(JobRef { job, tenant }, told)
    }

    fn place(&mut self, new: Job) -> u32 {
        match self.free.pop() {
            Some(job) => {
                self.jobs[job as usize] = new;
                job
            }
            None => {
                self.jobs.push(new);
                (self.jobs.len() - 1) as u32
            }
        }
    }

    /// A request that needs no service arrived and was answered.
    pub(super) fn passes(&mut self, now: Nanos) {
        self.advance(now);
        self.server.pass_through(self.at);
        self.counters.requests += 1;
        self.counters.ok += 1;
    }

    fn count_here(&mut self) {
        self.counters.in_flight = self.server.number();
        self.counters.most_in_flight = self.counters.most_in_flight.max(self.counters.in_flight);
    }

    /// Starts service; a slot is free.
    fn serve(&mut self, index: u32) {
        let job = &mut self.jobs[index as usize];
        let started = self.server.start(self.at, index, job.key, job.work);
        job.hit = started.hit;
        job.serving = true;
        if let Some(hit) = started.hit {
            self.counters.hits += u64::from(hit);
            self.counters.misses += u64::from(!hit);
        }
        if let Some(ends) = started.ends {
            job.ends = ends;
            self.ends.push(Reverse((ends, index)));
        }
    }

    /// Completes the next request of a shared processor, now.
    fn depart(&mut self) {
        let now = self.at;
        let done = match self.server.discipline() {
            Discipline::Fcfs => self.ends.pop().map(|Reverse((_, job))| job),
            Discipline::Ps => self.server.finish_shared(now),
        };
        let Some(index) = done else { return };
        let &Job { key, hit, ends, entered, found, .. } = &self.jobs[index as usize];
        self.server.complete(now, ends, key, hit != Some(true));
        self.server.leave(now, entered, found, true);
        self.counters.ok += 1;
        self.counters.time_here += now - entered;
        self.release(index, JobOutcome::Served(hit));
        while let Some(next) = self.server.next_waiting(&mut self.jobs) {
            self.serve(next);
        }
        self.count_here();
    }

    /// Frees a request's slot and informs its client, which may have disconnected.
    fn release(&mut self, job: u32, outcome: JobOutcome) {
        if let Some(tell) = self.jobs[job as usize].tell.take() {
            let _ = tell.send(outcome);
        }
        self.free.push(job);
    }

    /// The client of a request has disconnected. The request leaves the queue at once if the server notices disconnects; a
    /// request in service continues.
    pub(super) fn gave_up(&mut self, now: Nanos, place: JobRef) {
        self.advance(now);
        let job = &self.jobs[place.job as usize];
        if job.tenant != place.tenant || job.tell.is_none() {
            return;
        }
        self.counters.gave_up += 1;
        if self.cancel && !job.serving {
            let (entered, work) = (job.entered, job.work);
            self.server.withdraw(self.at, place.job, entered, work, &mut self.jobs);
            self.release(place.job, JobOutcome::Lost);
            self.count_here();
        }
    }

    /// Its load over the last 0.5 s to 1 s; `key` is the key of the request that caused a probe.
    pub(super) fn report(&mut self, now: Nanos, key: Option<u64>) -> LoadReport {
        self.advance(now);
        self.server.recent_report(self.at, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_config::distribution::Sampler;
    use evenkeel_config::fault::{Crash, Slow};
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

    /// Polling only when a request arrives gives the same times as a timer that is never late: exactly equal, and the mean
    /// of an M/M/1 queue at load 0.7, which is 10 ms / (1 - 0.7) for a shared processor, too.
    #[test]
    fn late_polling_does_not_change_the_queue() {
        for discipline in [Discipline::Fcfs, Discipline::Ps] {
            let concurrency = if discipline == Discipline::Ps { u32::MAX } else { 1 };
            let run = |eager: bool| {
                let mut server_model =
                    ServerModel::new(&Server { discipline, concurrency, ..Server::new("a") }, Vec::new(), false);
                let mut gaps = Rng::stream(3, "gaps", 0);
                let work = Keyed::new(3, "work");
                let (service, gap) = (Sampler::Exponential { mean: 10e6 }, Sampler::Exponential { mean: 10e6 / 0.7 });
                let mut at = Nanos::ZERO;
                for i in 0..100_000 {
                    at += gap.sample(&mut gaps);
                    while let Some(next) = server_model.next().filter(|&next| eager && next <= at) {
                        server_model.advance(next);
                    }
                    server_model.enter(at, 0, service.sample(&mut work.at(i)), 1.0);
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
    fn a_hit_is_cheap_and_a_crash_empties_the_cache() {
        let cache = evenkeel_config::pool::CacheSpec {
            capacity: NonZeroUsize::new(2).unwrap(),
            ttl: None,
            hit_cost: 0.1,
            reported_load: 1.0,
        };
        let crash = TimedFault { at: ms(50), until: Some(ms(60)), kind: Crash { silent: false }.into() };
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
    fn a_slowdown_affects_requests_in_service() {
        for discipline in [Discipline::Fcfs, Discipline::Ps] {
            let mut server_model = ServerModel::new(&Server { discipline, ..Server::new("a") }, Vec::new(), false);
            server_model.enter(ms(0), 0, ms(10), 1.0);
            let slow = Slow { factor: 4.0 }.into();
            server_model.inject_faults(ms(5), [TimedFault { at: ms(0), until: Some(ms(100)), kind: slow }]);
            assert_eq!(server_model.next(), Some(ms(25)));
            server_model.heal(ms(9));
            assert_eq!(server_model.next(), Some(ms(13)));
            assert_eq!(server_model.condition(), Condition::GOOD);
        }
    }

    #[test]
    fn cancelled_requests_are_served_unless_the_server_notices() {
        for (cancel, ok) in [(false, 2), (true, 1)] {
            let mut server_model = ServerModel::new(&Server::new("a"), Vec::new(), cancel);
            let _first = server_model.enter(ms(0), 0, ms(10), 1.0);
            let Entry::In(place, _) = server_model.enter(ms(1), 0, ms(10), 1.0) else { panic!("let in") };
            server_model.gave_up(ms(2), place);
            assert_eq!(server_model.counters.in_flight, if cancel { 1 } else { 2 });
            server_model.advance(ms(100));
            assert_eq!(
                (server_model.counters.ok, server_model.counters.gave_up, server_model.counters.in_flight),
                (ok, 1, 0)
            );
        }
    }

    #[test]
    fn a_report_covers_the_last_second() {
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
