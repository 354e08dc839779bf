//! A request at a balancer: admitted, placed or queued, and ended.

use super::{Balancer, Effect, Moment, Waiter};
use crate::fleet::BackendId;
use crate::policy::pool::SelectorCall;
use crate::policy::queue::Ticket;
use crate::policy::recording::HostEvent;
use crate::select::{Finished, Pick, ProbeRequest, Request};
use crate::units::{Nanos, hex};

/// Properties of a request for [`Balancer::step`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// Server that the client has affinity to ([`Balancer::affinity`]); `None` without. It applies to a first attempt only:
    /// a further one is made because that server failed or is slow.
    pub affinity: Option<BackendId>,
    /// Whether this is a hedge: a second copy beside one in flight. It does not wait.
    pub hedge: bool,
    /// Whether the probes for it were sent already, or are not needed because it was queued.
    pub inquired: bool,
    /// Whether [`Balancer::dequeue`] returned it, so that it need not wait behind the queue.
    pub dequeued: bool,
}

/// What the host does next with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send it to the server that its client has affinity to.
    Affinity(BackendId),
    /// Let the strategy choose: [`Balancer::choose`].
    Choose,
    /// Let the strategy choose servers to probe: [`Balancer::inquire`].
    Inquire,
    /// Queue it: [`Balancer::enqueue`].
    Queue,
    /// A hedge that finds no room is not sent.
    NoRoom,
}

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every server that it may use is at its limit, and there is no queue or the queue is full.
    QueueFull,
    /// No server is left that it may use.
    NoServer,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Handle with which the request leaves the queue ([`Balancer::leave_queue`]).
    pub ticket: Ticket,
    /// Deadline of the wait: the host calls `tick` then.
    pub deadline: Nanos,
}

/// A request that was queued and is to be placed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dequeued {
    /// The host's identifier of the request.
    pub token: u64,
    /// Index of its shard.
    pub shard: u32,
    /// Time that it waited.
    pub waited: Nanos,
}

impl Balancer {
    /// Whether a new request is admitted; if so it adds to the budgets (see [`super::Attempts`]).
    #[inline(always)]
    pub fn admit(&mut self, shard: u32, now: Nanos) -> bool {
        let state = &mut self.shards[shard as usize];
        if !self.pool.admits(now, &mut state.policy_rng) {
            return false;
        }
        if let Some(throttle) = &mut state.retries {
            throttle.deposit(now);
        }
        if let Some(hedge) = &mut state.hedge {
            hedge.arrived(now);
        }
        true
    }

    /// The server that a cookie of this value names; `None` where it names no member.
    pub fn affinity(&self, cookie: &str) -> Option<BackendId> {
        self.pool.affinity_target(cookie)
    }

    /// What the host does next with a request. Changes no state.
    ///
    /// A new request does not overtake queued ones, even if there is room for it, as in HAProxy, where a request joins the
    /// queue while there is one. A client with affinity to a server is an exception: only that server's limit counts
    /// (HAProxy's `persist`).
    #[inline(always)]
    pub fn step(&self, shard: u32, request: &Request<'_>, ask: &Ask) -> Step {
        if let Some(id) = ask.affinity.filter(|&id| request.excluded.is_empty() && self.pool.keeps_affinity(id)) {
            return Step::Affinity(id);
        }
        let behind = !ask.dequeued && self.has_queued();
        if behind || self.pool.is_crowded() {
            let waits = if behind && !ask.hedge {
                self.pool.has_candidate(request.excluded)
            } else {
                behind || self.pool.waiting_helps(request.excluded)
            };
            if waits {
                return if ask.hedge { Step::NoRoom } else { Step::Queue };
            }
        }
        if self.shards[shard as usize].inquires && !ask.inquired { Step::Inquire } else { Step::Choose }
    }

    /// Lets the shard's strategy choose among the servers that are healthy, below their limit and not in `request.excluded`.
    /// The host then sends the request and calls [`Balancer::started`]. `None` when no server is left.
    #[inline(always)]
    pub fn choose(&mut self, shard: u32, request: &Request<'_>, at: Moment<'_>) -> Option<Pick> {
        if self.recording.is_some() {
            return self.choose_recorded(shard, request, at);
        }
        let state = &mut self.shards[shard as usize];
        let (selector, rng, policy_rng) = (state.selector.as_mut(), &mut state.rng, &mut state.policy_rng);
        let pick = self.pool.place(selector, rng, request, at.truth, at.now, policy_rng, |_| ());
        if !state.silent {
            self.with_selector(shard, at, |_, _| ());
        }
        pick
    }

    #[cold]
    fn choose_recorded(&mut self, shard: u32, request: &Request<'_>, at: Moment<'_>) -> Option<Pick> {
        let state = &mut self.shards[shard as usize];
        let (selector, rng, policy_rng) = (state.selector.as_mut(), &mut state.rng, &mut state.policy_rng);
        let in_flight = self.pool.fleet.in_flight().to_vec();
        let mut recorded = Vec::new();
        let now = at.now.0;
        let pick = self.pool.place(selector, rng, request, at.truth, at.now, policy_rng, |asked| match asked {
            SelectorCall::Refused(pick) => {
                recorded.push(HostEvent::Refused { now, slot: pick.backend.slot, tag: pick.tag })
            }
            SelectorCall::Pick(excluded, pick) => recorded.push(HostEvent::Pick {
                now,
                client: request.client,
                path: request.path.to_owned(),
                key: hex(request.key),
                tried: excluded.to_vec(),
                answers: request.answers.cloned(),
                in_flight: in_flight.clone(),
                pick: pick.map(|pick| pick.backend.slot),
                tag: pick.map_or(0, |pick| pick.tag),
            }),
        });
        recorded.into_iter().for_each(|call| self.write(|| call));
        self.with_selector(shard, at, |_, _| ());
        pick
    }

    /// Lets the shard's strategy choose the servers to probe before it places the request. The host then sends the probes,
    /// waits for the replies and calls `step` again with [`Ask::inquired`]. `None` where the request is to be placed without
    /// probes.
    pub fn inquire(&mut self, shard: u32, request: &Request<'_>, at: Moment<'_>) -> Option<ProbeRequest> {
        let state = &mut self.shards[shard as usize];
        let recording = &mut self.recording;
        let (selector, rng) = (state.selector.as_mut(), &mut state.rng);
        let inquiry = self.pool.inquire(selector, rng, request, at.now, |excluded, inquiry| {
            if let Some(recording) = recording {
                recording.push(HostEvent::Inquire {
                    now: at.now.0,
                    client: request.client,
                    path: request.path.to_owned(),
                    key: hex(request.key),
                    tried: excluded.to_vec(),
                    whom: inquiry.iter().flat_map(|inquiry| inquiry.targets()).map(|backend| backend.slot).collect(),
                });
            }
        });
        self.with_selector(shard, at, |_, _| ());
        inquiry
    }

    // ---- The queue ----

    /// Queues a request that got [`Step::Queue`]. `token` is the host's identifier of it, which [`Balancer::dequeue`] and
    /// [`Effect::Expired`] return.
    ///
    /// A request at the head of the queue that finds no server keeps its position and its timeout, and others may pass it:
    /// HAProxy's `pendconn` "doesn't switch between queues, it stays where it is".
    pub fn enqueue(&mut self, shard: u32, token: u64, excluded: &[u32], now: Nanos) -> Result<Queued, Refusal> {
        let Some(queue) = &mut self.queue else { return Err(Refusal::QueueFull) };
        let behind = !queue.is_empty();
        let waiter = Waiter { token, shard, since: now, excluded: excluded.to_vec() };
        let Ok(ticket) = queue.push(now, waiter) else { return Err(Refusal::QueueFull) };
        let deadline = now.saturating_add(queue.rules().timeout);
        // The requests before it may all need servers other than the one with room.
        if behind && self.pool.has_room(excluded) {
            self.effects.push_back(Effect::Room);
        }
        Ok(Queued { ticket, deadline })
    }

    /// The first queued request for which there is room; the host places it at once. `None` where there is none.
    pub fn dequeue(&mut self, now: Nanos) -> Option<Dequeued> {
        let Balancer { pool, queue, .. } = self;
        let queue = queue.as_mut().filter(|queue| !queue.is_empty())?;
        if !pool.has_room(&[]) {
            return None;
        }
        let Waiter { token, shard, since, .. } = queue.pop_fitting(now, |waiter| pool.has_room(&waiter.excluded))?;
        Some(Dequeued { token, shard, waited: now.saturating_sub(since) })
    }

    /// Removes a request from the queue; returns whether it was still there.
    pub fn leave_queue(&mut self, ticket: Ticket) -> bool {
        self.queue.as_mut().is_some_and(|queue| queue.cancel(ticket).is_some())
    }

    // ---- At a server ----

    /// A request was sent to this server.
    #[inline(always)]
    pub fn started(&mut self, backend: BackendId) {
        self.pool.started(backend);
        if self.recording.is_some() {
            self.write(|| HostEvent::Started { slot: backend.slot });
        }
    }

    /// A request that was sent to a server has ended. The host passes the tag of its pick, or 0 where there was no pick or a
    /// former strategy of the shard made it.
    #[inline(always)]
    pub fn finished(&mut self, shard: u32, end: &Finished, at: Moment<'_>) {
        let event = self.pool.ended(end.backend, end.outcome, end.latency, at.now);
        if self.recording.is_some() {
            // Before the selector's call: it then sees a fleet in which the request has ended.
            self.record_finish(end, at.now);
        }
        if !self.shards[shard as usize].silent || self.recording.is_some() {
            self.with_selector(shard, at, |selector, cx| selector.on_finish(end, cx));
        }
        self.apply_limits(shard, Some(end.backend.slot));
        if let Some(event) = event {
            self.announce(at);
            self.effects.push_back(Effect::Server(event));
        }
        self.offer_room();
    }

    #[cold]
    fn record_finish(&mut self, end: &Finished, now: Nanos) {
        self.record_health();
        let Finished { backend, latency, outcome, tag } = *end;
        let (slot, generation) = (backend.slot, backend.generation);
        self.write(|| HostEvent::Finish { now: now.0, slot, generation, latency: latency.0, outcome, tag });
    }
}
