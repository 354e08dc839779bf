//! Attempts one after another and side by side. The balancer decides about retries and hedges; here they are sent.
//!
//! What follows from the end of an attempt is decided before the attempt is finished, since a response that is passed on
//! is not finished before its body; the simulator keeps to the same order.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use tokio::time::{sleep, timeout};

use super::{InFlight, RequestInfo, ShardPool};
use crate::termination::Reason;
use evenkeel_core::policy::balancer::{AttemptEnd, Attempts, Next, Resend};
use evenkeel_core::policy::retry::Failure;
use evenkeel_core::select::Outcome;
use evenkeel_core::units::Nanos;

/// What attempts need of a request.
pub trait Exchange {
    /// The head of a response, with what is needed to pass on the rest.
    type Answer;

    /// Whether a second copy may be sent beside the first.
    fn is_hedgeable(&self) -> bool;

    /// Whether the request may be done twice.
    fn is_idempotent(&self) -> bool;

    /// Whether it can be sent again as it was.
    fn can_be_sent_again(&self) -> bool;

    /// The failure that this response counts as; `None` if it is not one.
    fn failure(answer: &Self::Answer) -> Option<Failure>;

    /// Sends the request to where it was placed and waits for the head of the response.
    fn attempt(&self, in_flight: InFlight) -> impl Future<Output = Attempt<Self::Answer>>;
}

/// How an attempt went.
#[allow(clippy::large_enum_variant, reason = "nearly all of them are answered; a box for each would cost more")]
pub enum Attempt<A> {
    /// The head of a response arrived, successful or not.
    Answered {
        /// The response.
        answer: A,
        /// The attempt, which is not over yet.
        in_flight: InFlight,
    },
    /// No response arrived.
    Failed {
        /// The kind of failure.
        failure: Failure,
        /// What is logged of it.
        reason: Reason,
        /// Whether something of the request may have reached the server.
        sent: bool,
        /// The attempt, which is to be finished as failed for this reason.
        in_flight: InFlight,
    },
    /// The failure is not a server's, or no time is left: another attempt would not help.
    GivenUp(Reason),
}

impl ShardPool {
    /// Places a request and sends it, again where that is right. `sent` counts its attempts, also where the caller drops
    /// this.
    pub async fn dispatch<E: Exchange>(
        self: &Rc<Self>,
        exchange: &E,
        info: &RequestInfo<'_>,
        cookie: Option<&str>,
        sent: &mut u32,
    ) -> Result<(E::Answer, InFlight), Reason> {
        if !self.admit() {
            return Err(Reason::NotAdmitted);
        }
        let mut attempts = Attempts::default();
        let mut last = None;
        loop {
            let number = attempts.start();
            let in_flight = match self.place(info, attempts.excluded(), cookie).await {
                Ok(in_flight) => in_flight,
                // The earlier failure is more informative than that no server is left.
                Err(reason) => return Err(last.unwrap_or(reason)),
            };
            *sent += 1;
            let timers = self.placed(&mut attempts, number, in_flight.slot(), exchange.is_hedgeable());
            let (attempt, next) = match timers.hedge {
                Some(delay) => Box::pin(self.hedged(exchange, info, &mut attempts, in_flight, delay, sent)).await,
                None => {
                    let attempt = exchange.attempt(in_flight).await;
                    let next = self.ended(exchange, &mut attempts, &attempt);
                    (attempt, next)
                }
            };
            let pause = match (attempt, next) {
                (Attempt::GivenUp(reason), _) => return Err(reason),
                (Attempt::Answered { answer, in_flight }, Next::Retry(pause)) => {
                    if let Some(failure) = E::failure(&answer) {
                        in_flight.server.metrics.retried(failure);
                    }
                    in_flight.finish(Outcome::Failed);
                    last = Some(Reason::UpstreamReset);
                    pause
                }
                (Attempt::Answered { answer, in_flight }, _) => return Ok((answer, in_flight)),
                (Attempt::Failed { failure, reason, in_flight, .. }, Next::Retry(pause)) => {
                    in_flight.server.metrics.retried(failure);
                    in_flight.finish(reason.fault().outcome());
                    last = Some(reason);
                    pause
                }
                (Attempt::Failed { reason, in_flight, .. }, _) => {
                    in_flight.finish(reason.fault().outcome());
                    return Err(reason);
                }
            };
            if pause > Nanos::ZERO {
                Box::pin(sleep(self.clock.duration(pause))).await;
            }
        }
    }

    /// Reports to the balancer how an attempt ended.
    fn ended<E: Exchange>(&self, exchange: &E, attempts: &mut Attempts, attempt: &Attempt<E::Answer>) -> Next {
        let (end, sent, latency) = match attempt {
            Attempt::Answered { answer, in_flight } => {
                let end = E::failure(answer).map_or(AttemptEnd::Success, AttemptEnd::Failed);
                (end, true, in_flight.time_to_first_byte().unwrap_or(Nanos::ZERO))
            }
            Attempt::Failed { failure, sent, in_flight, .. } => {
                (AttemptEnd::Failed(*failure), *sent, self.now().saturating_sub(in_flight.picked()))
            }
            Attempt::GivenUp(_) => (AttemptEnd::Abandoned(Outcome::Cancelled), true, Nanos::ZERO),
        };
        let (idempotent, possible) = (exchange.is_idempotent(), exchange.can_be_sent_again());
        self.attempt_ended(attempts, end, latency, Resend { idempotent, sent, possible })
    }

    /// Two copies where the first is slow: the first successful response counts, the other copy is dropped.
    async fn hedged<E: Exchange>(
        self: &Rc<Self>,
        exchange: &E,
        info: &RequestInfo<'_>,
        attempts: &mut Attempts,
        in_flight: InFlight,
        delay: Nanos,
        sent: &mut u32,
    ) -> (Attempt<E::Answer>, Next) {
        let first_placed = in_flight.picked();
        let mut first = pin!(exchange.attempt(in_flight));
        if let Ok(attempt) = timeout(self.clock.duration(delay), first.as_mut()).await {
            let next = self.ended(exchange, attempts, &attempt);
            return (attempt, next);
        }
        let Some(number) = self.hedge(attempts) else {
            let attempt = first.await;
            let next = self.ended(exchange, attempts, &attempt);
            return (attempt, next);
        };
        let excluded = attempts.excluded().to_vec();
        let attempts = RefCell::new(attempts);
        let second_placed = Cell::new(None);
        // The first copy may be answered while the strategy probes for the second.
        let second = async {
            let in_flight = self.place_hedge(info, &excluded).await?;
            second_placed.set(Some(in_flight.picked()));
            *sent += 1;
            in_flight.server.metrics.hedged();
            self.placed(&mut attempts.borrow_mut(), number, in_flight.slot(), true);
            Some(exchange.attempt(in_flight).await)
        };
        let first = async { Some(first.await) };
        let (mut first, mut second) = (pin!(first), pin!(second));
        let mut failed: Option<Attempt<E::Answer>> = None;
        let (mut first_over, mut second_over) = (false, false);
        let result = std::future::poll_fn(|cx| {
            let first: Pin<&mut dyn Future<Output = Option<Attempt<E::Answer>>>> = first.as_mut();
            for (over, copy) in [(&mut first_over, first), (&mut second_over, second.as_mut())] {
                if *over {
                    continue;
                }
                let Poll::Ready(attempt) = copy.poll(cx) else { continue };
                *over = true;
                let next = match &attempt {
                    Some(attempt) => self.ended(exchange, &mut attempts.borrow_mut(), attempt),
                    // The second has found no room.
                    None => {
                        let (end, resend) = (AttemptEnd::Unplaced, Resend::FREELY);
                        self.attempt_ended(&mut attempts.borrow_mut(), end, Nanos::ZERO, resend)
                    }
                };
                match (attempt.or_else(|| failed.take()), next) {
                    (Some(attempt), Next::Await) => failed = Some(discard::<E>(attempt)),
                    (Some(attempt), next) => return Poll::Ready((attempt, next)),
                    (None, _) => {}
                }
            }
            Poll::Pending
        })
        .await;
        if let Attempt::Answered { .. } = &result.0
            && !(first_over && second_over)
        {
            let placed = if first_over { second_placed.get() } else { Some(first_placed) };
            let end = if placed.is_some() { AttemptEnd::Superseded } else { AttemptEnd::CalledOff };
            let latency = placed.map_or(Nanos::ZERO, |placed| self.now().saturating_sub(placed));
            let _ = self.attempt_ended(&mut attempts.borrow_mut(), end, latency, Resend::FREELY);
        }
        result
    }
}

/// An attempt that failed beside another: its server is done with it, its response is not wanted.
fn discard<E: Exchange>(attempt: Attempt<E::Answer>) -> Attempt<E::Answer> {
    match attempt {
        Attempt::Answered { in_flight, .. } => {
            in_flight.finish(Outcome::Failed);
            Attempt::GivenUp(Reason::UpstreamReset)
        }
        Attempt::Failed { reason, in_flight, .. } => {
            in_flight.finish(reason.fault().outcome());
            Attempt::GivenUp(reason)
        }
        Attempt::GivenUp(reason) => Attempt::GivenUp(reason),
    }
}
