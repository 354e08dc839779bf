//! Requests: admitted, placed, queued, probed for, retried and hedged, as the balancer says.

use std::net::IpAddr;
use std::rc::Rc;

use http::HeaderValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::state::{State, Waiter};
use super::{InFlight, ShardPool};
use crate::termination::Reason;
use evenkeel_core::fleet::BackendId;
use evenkeel_core::policy::balancer::{Ask, AttemptEnd, Attempts, Next, Refusal, Resend, Step, Timers};
use evenkeel_core::policy::queue::Ticket;
use evenkeel_core::select::{Finished, LoadReport, Pick, ProbeReplies, ProbeReply, ReportSource, Request};
use evenkeel_core::units::{Nanos, hex};

/// The most bytes of a request's key that a probe carries.
const MAX_PROBE_KEY: usize = 1024;

/// The only shard of a proxy's balancer: each shard of the proxy has a balancer of its own.
pub(super) const SHARD: u32 = 0;

/// What a selector knows of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestInfo<'a> {
    /// Address of the client, as far as it can be trusted.
    pub client: IpAddr,
    /// Path of the URL.
    pub path: &'a str,
    /// What hash strategies hash.
    pub key: &'a [u8],
}

/// A place in the queue, left when this is dropped.
struct QueueGuard<'a> {
    pool: &'a ShardPool,
    token: u64,
    ticket: Ticket,
}

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        let QueueGuard { pool, token, ticket } = self;
        pool.act(|state, _| {
            state.waiters.remove(token);
            state.balancer.leave_queue(*ticket)
        });
    }
}

/// The result of placing a request.
enum Placement {
    Placed(InFlight),
    Inquire,
    Queue,
    NoServer,
}

impl ShardPool {
    /// Whether a new request is let in: admission control rejects a share while too many fail.
    pub fn admit(&self) -> bool {
        self.act(|state, now| state.balancer.admit(SHARD, now))
    }

    /// Sends a request to a server of the strategy's choice, or of the cookie's; queues if all are at their limit.
    pub async fn place(
        self: &Rc<Self>,
        info: &RequestInfo<'_>,
        excluded: &[u32],
        cookie: Option<&str>,
    ) -> Result<InFlight, Reason> {
        let affinity = cookie.and_then(|cookie| self.state.borrow().balancer.affinity(cookie));
        let mut ask = Ask { affinity, ..Ask::default() };
        match self.try_place(info, excluded, &ask, None) {
            Placement::Placed(in_flight) => return Ok(in_flight),
            Placement::NoServer => return Err(Reason::NoServer),
            Placement::Queue => return Box::pin(self.wait(info, excluded, affinity, None)).await,
            Placement::Inquire => {}
        }
        let answers = Box::pin(self.inquire(info, excluded)).await;
        ask.inquired = true;
        match self.try_place(info, excluded, &ask, answers.as_ref()) {
            Placement::Placed(in_flight) => Ok(in_flight),
            Placement::Queue => Box::pin(self.wait(info, excluded, affinity, answers)).await,
            Placement::NoServer | Placement::Inquire => Err(Reason::NoServer),
        }
    }

    /// Places a hedge, which is never queued; `None` if no server has capacity.
    pub async fn place_hedge(self: &Rc<Self>, info: &RequestInfo<'_>, excluded: &[u32]) -> Option<InFlight> {
        let mut ask = Ask { hedge: true, ..Ask::default() };
        let mut placement = self.try_place(info, excluded, &ask, None);
        if let Placement::Inquire = placement {
            let answers = Box::pin(self.inquire(info, excluded)).await;
            ask.inquired = true;
            placement = self.try_place(info, excluded, &ask, answers.as_ref());
        }
        match placement {
            Placement::Placed(in_flight) => Some(in_flight),
            _ => None,
        }
    }

    fn try_place(
        self: &Rc<Self>,
        info: &RequestInfo<'_>,
        excluded: &[u32],
        ask: &Ask,
        answers: Option<&ProbeReplies>,
    ) -> Placement {
        let request = Request { client: info.client, path: info.path, key: info.key, excluded, answers };
        let placed = self.act(|state, now| {
            let pick = match state.balancer.step(SHARD, &request, ask) {
                Step::Affinity(backend) => Pick { backend, tag: 0 },
                Step::Inquire => return Err(Placement::Inquire),
                Step::Queue | Step::NoRoom => return Err(Placement::Queue),
                Step::Choose => {
                    let began = self.now();
                    let pick = state.balancer.choose(SHARD, &request, now.into());
                    self.metrics.selector_decision.observe(self.now().saturating_sub(began));
                    pick.ok_or(Placement::NoServer)?
                }
            };
            let server = state.server(pick.backend.slot).ok_or(Placement::NoServer)?;
            state.balancer.started(pick.backend);
            Ok((server, pick, state.balancer.epoch(SHARD), now))
        });
        match placed {
            Ok((server, pick, epoch, now)) => {
                Placement::Placed(InFlight::new(Rc::clone(self), server, pick, epoch, now))
            }
            Err(placement) => placement,
        }
    }

    // ---- The queue ----

    async fn wait(
        self: &Rc<Self>,
        info: &RequestInfo<'_>,
        excluded: &[u32],
        affinity: Option<BackendId>,
        answers: Option<ProbeReplies>,
    ) -> Result<InFlight, Reason> {
        let (tell, told) = oneshot::channel();
        let waiter = Waiter {
            client: info.client,
            path: info.path.to_owned(),
            key: info.key.to_vec(),
            excluded: excluded.to_vec(),
            affinity,
            answers,
            tell,
        };
        let (token, queued) = self.act(|state, now| {
            let token = state.next_token;
            state.next_token += 1;
            let queued = state.balancer.enqueue(SHARD, token, excluded, now);
            if queued.is_ok() {
                // Before the effects of this: there may be room for it.
                state.waiters.insert(token, waiter);
            }
            (token, queued)
        });
        let queued = queued.map_err(|refusal| match refusal {
            Refusal::QueueFull => Reason::QueueFull,
            Refusal::NoServer => Reason::NoServer,
        })?;
        let _guard = QueueGuard { pool: self, token, ticket: queued.ticket };
        // The sender is dropped when the time is up.
        told.await.map_err(|_| Reason::QueueTimeout)
    }

    /// Capacity may be free: dispatches queued requests in order.
    pub(super) fn serve_waiting(self: &Rc<Self>) {
        loop {
            let waiter = self.state_now(|state, now| {
                let dequeued = state.balancer.dequeue(now)?;
                state.waiters.remove(&dequeued.token)
            });
            let Some(waiter) = waiter else { return };
            let info = RequestInfo { client: waiter.client, path: &waiter.path, key: &waiter.key };
            let ask = Ask { affinity: waiter.affinity, inquired: true, dequeued: true, ..Ask::default() };
            // A client that went away a moment ago drops the request, and its end comes back here.
            if let Placement::Placed(in_flight) = self.try_place(&info, &waiter.excluded, &ask, waiter.answers.as_ref())
            {
                drop(waiter.tell.send(in_flight));
            }
        }
    }

    // ---- Probes ----

    /// The replies to the strategy's probes for this request; `None` if it sends no probes.
    async fn inquire(&self, info: &RequestInfo<'_>, excluded: &[u32]) -> Option<ProbeReplies> {
        let request = Request { client: info.client, path: info.path, key: info.key, excluded, answers: None };
        let (inquiry, epoch) =
            self.act(|state, now| (state.balancer.inquire(SHARD, &request, now.into()), state.balancer.epoch(SHARD)));
        let inquiry = inquiry?;
        let mut answers = ProbeReplies { part: inquiry.part, given: Vec::with_capacity(inquiry.targets().len()) };
        let (tell, mut told) = mpsc::channel(inquiry.targets().len().max(1));
        let key = HeaderValue::try_from(hex(info.key.get(..MAX_PROBE_KEY).unwrap_or(info.key))).ok();
        inquiry.targets().iter().for_each(|&backend| self.probe(backend, key.clone(), Some(tell.clone())));
        drop(tell);
        let gather = async {
            while answers.given.len() < inquiry.quorum {
                // All senders are gone: all have replied, or cannot be asked.
                let Some(answer) = told.recv().await else { break };
                answers.given.push(answer);
            }
        };
        let _ = timeout(self.clock.duration(inquiry.timeout), gather).await;
        // A new selector has sent no probes.
        (epoch == self.epoch()).then_some(answers)
    }

    /// Probes a server for a load report. The selector gets it, and so does `tell`.
    pub(super) fn probe(&self, backend: BackendId, key: Option<HeaderValue>, tell: Option<mpsc::Sender<ProbeReply>>) {
        let server = {
            let state = self.state.borrow();
            let current = state.balancer.pool().fleet.is_current(backend);
            current.then(|| state.server(backend.slot)).flatten()
        };
        let Some(server) = server else { return };
        let (me, check, epoch) = (self.me.clone(), self.config().check.clone(), self.epoch());
        tokio::task::spawn_local(async move {
            let load = crate::checks::ask(&server, &check, key.as_ref()).await;
            server.metrics.probed(load.is_some());
            if let (Some(pool), Some(load)) = (me.upgrade(), load) {
                let load = LoadReport { by: ReportSource::Probe, ..load };
                // A selector gets the replies to its own probes, not to its predecessor's.
                if pool.epoch() == epoch {
                    pool.reported(backend, &load);
                }
                if let Some(tell) = tell {
                    let _ = tell.try_send(ProbeReply { backend, load });
                }
            }
        });
    }

    // ---- Attempts ----

    /// An attempt was placed: what to time for it.
    pub fn placed(&self, attempts: &mut Attempts, number: u32, slot: u32, hedgeable: bool) -> Timers {
        self.act(|state, now| state.balancer.placed(SHARD, attempts, number, slot, hedgeable, now))
    }

    /// The hedging delay of the only attempt is over: the number of a second one, if there is to be one.
    pub fn hedge(&self, attempts: &mut Attempts) -> Option<u32> {
        self.act(|state, now| state.balancer.hedge(SHARD, attempts, false, now))
    }

    /// An attempt ended `latency` after it was placed.
    pub fn attempt_ended(&self, attempts: &mut Attempts, end: AttemptEnd, latency: Nanos, resend: Resend) -> Next {
        self.act(|state, now| state.balancer.attempt_ended(SHARD, attempts, end, latency, resend, now))
    }

    /// A request at a server is over, which the selector with this number picked.
    pub(super) fn finished(&self, finished: Finished, epoch: u32) {
        self.act(|state, now| {
            // State that one selector attached to its pick is meaningless to another.
            let tag = if epoch == state.balancer.epoch(SHARD) { finished.tag } else { 0 };
            state.balancer.finished(SHARD, &Finished { tag, ..finished }, now.into());
        });
    }

    /// The cookie's value for the server in this slot; `None` where clients do not stay with servers.
    pub fn cookie(&self, slot: u32) -> Option<String> {
        self.state.borrow().balancer.pool().cookie_value(slot).map(str::to_owned)
    }

    fn epoch(&self) -> u32 {
        self.state.borrow().balancer.epoch(SHARD)
    }

    /// Calls into the state without carrying out effects.
    fn state_now<T>(&self, call: impl FnOnce(&mut State, Nanos) -> T) -> T {
        call(&mut self.state.borrow_mut(), self.now())
    }
}
