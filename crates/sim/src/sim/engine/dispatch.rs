//! A job at its balancer: admitted, placed and sent; the engine as the host of [`Balancer`].

use super::{Engine, Job, attempts, probing};
use crate::sim::event::Event;
use crate::sim::model::Model;
use crate::sim::observer::{self, Decision, Observer, RunEvent};
use crate::sim::record::RequestOutcome;
use crate::sim::server::{NONE, ServerState, Totals};
use crate::sim::workload::Workload;
use evenkeel_core::fleet::{BackendId, Fleet};
use evenkeel_core::policy::balancer::{Ask, Balancer, Effect, Moment, Step as Route};
use evenkeel_core::rng::{Source, mix};
use evenkeel_core::select::{Pick, Request, TrueState};
use evenkeel_core::units::Nanos;

/// One shard's dispatcher for one pool.
#[derive(Clone, Copy)]
pub(super) struct Dispatcher {
    pub(super) pool: u32,
    /// The pool's first server.
    pub(super) base: u32,
    /// The view that it picks in, and its index there.
    pub(super) fleet: u32,
    pub(super) shard: u32,
    /// The strategy may read the servers' true states.
    pub(super) oracle: bool,
    /// Requests send attempts: the pool has retries or hedges.
    pub(super) tries: bool,
}

/// Why a job is placed now. The cookie is the one that its client had when it sent the request.
#[derive(Clone, Copy)]
pub(super) enum Coming {
    /// It is new at its balancer.
    New,
    /// After its probes; with the server that its cookie names.
    Asked(Option<BackendId>),
    /// After waiting in the queue; with the server that its cookie names.
    Dequeued(Option<BackendId>),
}

/// A balancer's view of a pool, with the state that only the simulator needs.
pub(super) struct View {
    /// Picks, counts, checks and queues.
    pub(super) balancer: Balancer,
    pub(super) pool: u32,
    /// The simulated balancer whose view this is; `u32::MAX` for the balancers of a second tier, which do not die.
    pub(super) owner: u32,
    /// Snapshot of each server's totals at its last periodic report to this view. Empty before the first one.
    pub(super) reported: Vec<Totals>,
    /// Snapshot of each server's totals at its last health check: each check reports the time since the one before. Empty before
    /// the first one.
    pub(super) checked: Vec<Totals>,
    pub(super) dispatchers: Vec<u32>,
    /// Time of the next scheduled tick, if one is scheduled.
    pub(super) tick_at: Nanos,
}

/// The affinity of a client to a server: by a cookie, or by a connection until that closes.
#[derive(Clone, Copy)]
pub(super) struct Affinity {
    pub(super) backend: BackendId,
    /// Requests left until the connection closes.
    pub(super) left: u32,
    pub(super) until: Nanos,
}

impl Affinity {
    /// The server of an open connection, which one more request uses. It stays open until one side closes it, whatever state the
    /// balancer assumes for its server.
    fn keep(&mut self, servers: &[ServerState], fleet: &Fleet, now: Nanos) -> Option<BackendId> {
        let condition = servers[self.backend.slot as usize].condition();
        let open = condition.up || condition.silent;
        if self.left == 0 || now >= self.until || !open || !fleet.is_current(self.backend) {
            return None;
        }
        self.left = self.left.saturating_sub(u32::from(self.left != u32::MAX));
        Some(self.backend)
    }
}

/// The job as the balancer sees it.
#[inline]
pub(super) fn request_view<'a>(
    model: &'a Model,
    workload: &Workload<'_>,
    request_attempts: &'a [attempts::RequestAttempts],
    job: &Job,
    key: &'a [u8],
) -> Request<'a> {
    Request {
        client: workload.address(job.client),
        path: &model.paths[job.path as usize].path,
        key,
        excluded: if job.of == NONE { &[] } else { request_attempts[job.of as usize].attempts.excluded() },
        answers: None,
    }
}

pub(super) struct Peek<'a> {
    servers: &'a [ServerState],
    /// The pool's first server.
    base: u32,
    now: Nanos,
}

impl TrueState for Peek<'_> {
    fn remaining_work(&self, slot: u32) -> Nanos {
        self.servers[(self.base + slot) as usize].remaining_work(self.now)
    }
    fn number(&self, slot: u32) -> u32 {
        self.servers[(self.base + slot) as usize].number_with_coming()
    }
}

impl<O: Observer> Engine<'_, O> {
    #[inline(never)]
    pub(super) fn at_balancer(&mut self, job: u32) {
        let Job { balancer, id, path, measured, arrived, wanted, .. } = self.jobs[job as usize];
        if !wanted {
            return self.release(job);
        }
        if !self.names.balancers_up[balancer as usize] {
            self.jobs[job as usize].fate = RequestOutcome::Reset;
            self.end(job);
            return self.release(job);
        }
        if measured {
            let span = self.span_of(arrived);
            self.measuring.spans[span].balancers[balancer as usize] += 1;
        }
        let shards = self.model.balancers.shards;
        let shard = if shards == 1 { 0 } else { self.draws.at(id << 2 | 1).below(u64::from(shards)) as u32 };
        self.dispatch(job, self.routes[path as usize] + balancer * shards + shard);
    }

    /// A job for a pool has reached the shard that picks.
    #[inline(always)]
    pub(super) fn dispatch(&mut self, job: u32, dispatcher: u32) {
        self.jobs[job as usize].dispatcher = dispatcher;
        self.observer.step(job, observer::Step::AtBalancer, self.now);
        let Dispatcher { fleet, shard, tries, .. } = self.dispatchers[dispatcher as usize];
        if !self.views[fleet as usize].balancer.admit(shard, self.now) {
            return self.reject(job);
        }
        if tries {
            self.begin_trying(job);
        } else {
            self.place_job(job, Coming::New);
        }
    }

    /// Lets the job's dispatcher pick a server and sends the job there; where every server is at its limit, the job waits.
    #[inline(never)]
    pub(super) fn send(&mut self, job: u32, coming: Coming) {
        self.place_job(job, coming);
    }

    /// [`Engine::send`], in its caller: most requests come here from one place.
    #[inline(always)]
    fn place_job(&mut self, job: u32, coming: Coming) {
        let j = &self.jobs[job as usize];
        let dispatcher = j.dispatcher;
        let Dispatcher { pool, base, fleet, shard, oracle, .. } = self.dispatchers[dispatcher as usize];
        let balancer = &mut self.views[fleet as usize].balancer;
        let inquires = balancer.inquires(shard);
        let key = j.key.to_le_bytes();
        let request = Request {
            answers: if inquires { probing::answers(&self.inquiries, job, j.generation) } else { None },
            ..request_view(self.model, &self.workload, &self.request_attempts, j, &key)
        };
        let (mut kept, mut affinity) = (None, None);
        if self.uses_affinity && request.excluded.is_empty() {
            let tie = self.affinities[pool as usize].get_mut(j.client as usize).and_then(Option::as_mut);
            if self.model.pools[pool as usize].connections.is_none() {
                affinity = match coming {
                    // A cookie names its server, which may have left and come back.
                    Coming::New => tie.map(|tie| balancer.pool().fleet.id(tie.backend.slot)),
                    Coming::Asked(affinity) | Coming::Dequeued(affinity) => affinity,
                };
            } else if let Some(tie) = tie {
                kept = tie.keep(&self.servers[base as usize..], &balancer.pool().fleet, self.now);
            }
        }
        if kept.is_none() {
            let hedge = j.of != NONE && self.request_attempts[j.of as usize].attempts.is_hedge(j.attempt);
            let inquired = inquires && probing::is_settled(&self.inquiries, job, j.generation);
            let dequeued = matches!(coming, Coming::Dequeued(_));
            match balancer.step(shard, &request, &Ask { affinity, hedge, inquired, dequeued }) {
                Route::Choose => {}
                Route::Affinity(backend) => kept = Some(backend),
                Route::Queue => return self.wait(job, affinity),
                Route::Inquire => return self.inquire(job, affinity),
                Route::NoRoom => return self.reject(job),
            }
        }
        let peek = Peek { servers: &self.servers, base, now: self.now };
        let at = Moment { now: self.now, truth: oracle.then_some(&peek as &dyn TrueState) };
        if O::WATCHES {
            self.observer.deciding(&Decision {
                job,
                id: j.id,
                now: self.now,
                request,
                dispatcher,
                pool,
                base,
                fleet: &balancer.pool().fleet,
                selector: balancer.selector(shard),
                rng: balancer.selector_rng(shard),
                full: balancer.pool().full(),
                truth: at.truth,
                kept,
                servers: &self.servers[base as usize..],
            });
        }
        let pick = match kept {
            Some(backend) => Some(Pick { backend, tag: 0 }),
            None => balancer.choose(shard, &request, at),
        };
        self.observer.decided(job, pick.map(|pick| base + pick.backend.slot), self.now);
        let Some(pick) = pick else {
            self.totals.pick_hash = mix(self.totals.pick_hash ^ u64::MAX);
            self.jobs[job as usize].fate = RequestOutcome::NoServer;
            self.execute_effects(fleet);
            return self.answer(job);
        };
        debug_assert!(
            kept.is_some() || balancer.pool().fleet.is_eligible(pick.backend.slot),
            "picked an ineligible server"
        );
        balancer.started(pick.backend);
        if self.uses_affinity && kept.is_none() && j.of == NONE {
            let client = j.client;
            self.connect(pool, client, pick.backend);
        }
        self.send_to(job, base, fleet, pick);
    }

    /// A client opens a connection to the server of its request, in a pool that has connections.
    fn connect(&mut self, pool: u32, client: u32, backend: BackendId) {
        let Some(rules) = self.model.pools[pool as usize].connections else { return };
        // Connections open at the start have random ages: otherwise all would close at the same time.
        let affinity = &mut self.affinities[pool as usize][client as usize];
        let age = if affinity.is_none() { self.closing.at(u64::from(client)).unit() } else { 1.0 };
        let left = if rules.max_requests == u32::MAX { u32::MAX } else { (f64::from(rules.max_requests) * age) as u32 };
        let life = Nanos::from_nanos_f64(rules.max_lifetime.0 as f64 * age);
        *affinity = Some(Affinity { backend, left, until: self.now.saturating_add(life) });
    }

    /// Sends a job to its server, the pool's first server being `base` and the balancer's view `fleet`.
    #[inline(always)]
    fn send_to(&mut self, job: u32, base: u32, fleet: u32, pick: Pick) {
        self.totals.placed += 1;
        self.totals.pick_hash = mix(self.totals.pick_hash ^ u64::from(base + pick.backend.slot));
        let j = &mut self.jobs[job as usize];
        (j.backend, j.tag) = (pick.backend, pick.tag);
        j.server = base + pick.backend.slot;
        j.picked = self.now;
        j.counted = true;
        let server = &mut self.servers[j.server as usize];
        server.picked(j.measured);
        server.sent(j.work);
        if j.of != NONE {
            self.attempt_sent(job);
        }
        if !self.network.balancer_zones.is_empty() && self.crosses(&self.jobs[job as usize]) {
            self.count_attempts(job, |efforts| efforts.crossed += 1);
        }
        self.execute_effects(fleet);
        if self.arrives_at_once(self.network.server_hop, job, 1, Event::AtServer(job)) {
            self.at_server(job);
        }
    }

    /// Calls the balancer of a shard and executes the commands that it returns.
    #[inline(always)]
    pub(super) fn at_shard<T>(&mut self, dispatcher: u32, call: impl FnOnce(&mut Balancer, u32, Moment<'_>) -> T) -> T {
        let Dispatcher { base, fleet, shard, oracle, .. } = self.dispatchers[dispatcher as usize];
        let peek = Peek { servers: &self.servers, base, now: self.now };
        let at = Moment { now: self.now, truth: oracle.then_some(&peek as &dyn TrueState) };
        let result = call(&mut self.views[fleet as usize].balancer, shard, at);
        self.execute_effects(fleet);
        result
    }

    /// The same for calls that concern all shards of a view.
    pub(super) fn at_view<T>(&mut self, fleet: u32, call: impl FnOnce(&mut Balancer, Moment<'_>) -> T) -> T {
        let first = self.views[fleet as usize].dispatchers[0];
        self.at_shard(first, |balancer, _, at| call(balancer, at))
    }

    /// Tells a view's strategies which servers have changed.
    pub(super) fn announce(&mut self, fleet: u32) {
        self.at_view(fleet, |balancer, at| balancer.announce(at));
    }

    #[inline(always)]
    pub(super) fn execute_effects(&mut self, fleet: u32) {
        if self.views[fleet as usize].balancer.has_effects() {
            self.execute_all(fleet);
        }
    }

    /// Executes a balancer's commands, in order.
    #[inline(never)]
    pub(super) fn execute_all(&mut self, fleet: u32) {
        while let Some(effect) = self.views[fleet as usize].balancer.poll_effect() {
            match effect {
                Effect::WakeAt { shard, at } => {
                    let dispatcher = self.views[fleet as usize].dispatchers[shard as usize];
                    self.queue.push(at.max(self.now), Event::Wake(dispatcher));
                }
                Effect::Probe { shard, backend } => {
                    let dispatcher = self.views[fleet as usize].dispatchers[shard as usize];
                    self.probe(dispatcher, backend, None);
                }
                // As an event of its own: otherwise a server that refuses at once would be tried by every waiting job in one
                // deep recursion.
                Effect::Room => self.queue.push(self.now, Event::Admit(fleet)),
                Effect::Expired { token } => {
                    let pool = self.views[fleet as usize].pool;
                    self.observer.event(&RunEvent::Dequeued { job: token as u32, pool }, self.now);
                    self.reject(token as u32);
                }
                Effect::Server(event) => {
                    self.note(fleet, event);
                    self.schedule_tick(fleet);
                }
                Effect::FleetChanged => {
                    let View { pool, ref balancer, .. } = self.views[fleet as usize];
                    let (eligible, panic) = (balancer.pool().fleet.eligible().len() as u32, balancer.pool().in_panic());
                    self.observer.event(&RunEvent::FleetChanged { pool, view: fleet, eligible, panic }, self.now);
                }
            }
        }
    }
}
