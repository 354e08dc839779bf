//! Attempts one after another and side by side. The balancer decides about retries and hedges; here they are sent.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http::StatusCode;
use hyper::Response;
use hyper::body::Incoming;
use tokio::time::{sleep, timeout};

use super::attempt::{Attempt, Call};
use super::context::RequestContext;
use super::response::is_failure;
use crate::clock::duration;
use crate::pool::{InFlight, RequestInfo, ShardPool};
use crate::termination::Reason;
use crate::upstream::PooledConnection;
use evenkeel_core::policy::balancer::{AttemptEnd, Attempts, Next, Resend};
use evenkeel_core::policy::retry::Failure;
use evenkeel_core::select::Outcome;
use evenkeel_core::units::Nanos;

pub(super) type Answered = (Response<Incoming>, InFlight, Option<PooledConnection>);

/// Places a request and sends it, again where that is right.
pub(super) async fn run(
    call: &mut Call<'_>,
    pool: &Rc<ShardPool>,
    info: &RequestInfo<'_>,
    cookie: Option<&str>,
    context: &mut RequestContext,
) -> Result<Answered, Reason> {
    if !pool.admit() {
        return Err(Reason::NotAdmitted);
    }
    let hedgeable = call.idempotent && call.body.is_empty() && !call.upgrade;
    let mut attempts = Attempts::default();
    let mut last = None;
    loop {
        let number = attempts.start();
        let in_flight = match pool.place(info, attempts.excluded(), cookie).await {
            Ok(in_flight) => in_flight,
            // What went wrong before says more than that no server is left.
            Err(reason) => return Err(last.unwrap_or(reason)),
        };
        context.attempts += 1;
        let timers = pool.placed(&mut attempts, number, in_flight.slot(), hedgeable);
        let (attempt, next) = match timers.hedge {
            Some(delay) => {
                let delay = duration(delay);
                Box::pin(hedged(call, pool, info, &mut attempts, in_flight, delay, context)).await
            }
            None => {
                let attempt = call.attempt(in_flight).await;
                let next = ended(call, pool, &mut attempts, &attempt);
                (attempt, next)
            }
        };
        let pause = match (attempt, next) {
            (Attempt::GivenUp(reason), _) => return Err(reason),
            (Attempt::Answered { response, in_flight, .. }, Next::Retry(pause)) => {
                if let Some(failure) = failure_of(response.status()) {
                    in_flight.server.metrics.retried(failure);
                }
                in_flight.finish(Outcome::Failed);
                last = Some(Reason::UpstreamReset);
                pause
            }
            (Attempt::Answered { response, in_flight, connection }, _) => {
                return Ok((response, in_flight, connection));
            }
            (Attempt::Failed { failure, reason, server, .. }, next) => {
                context.server = None;
                let Next::Retry(pause) = next else { return Err(reason) };
                server.metrics.retried(failure);
                last = Some(reason);
                pause
            }
        };
        if pause > Nanos::ZERO {
            Box::pin(sleep(duration(pause))).await;
        }
    }
}

/// How a server has failed that answers with this status; `None` where it has not.
fn failure_of(status: StatusCode) -> Option<Failure> {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Some(Failure::Rejected),
        status if is_failure(status) => Some(Failure::Error),
        _ => None,
    }
}

/// Tells the balancer how an attempt ended.
fn ended(call: &Call<'_>, pool: &ShardPool, attempts: &mut Attempts, attempt: &Attempt) -> Next {
    let (end, sent, latency) = match attempt {
        Attempt::Answered { response, in_flight, .. } => {
            let end = failure_of(response.status()).map_or(AttemptEnd::Success, AttemptEnd::Failed);
            (end, true, in_flight.time_to_first_byte().unwrap_or(Nanos::ZERO))
        }
        Attempt::Failed { failure, sent, took, .. } => (AttemptEnd::Failed(*failure), *sent, *took),
        Attempt::GivenUp(_) => (AttemptEnd::Abandoned(Outcome::Cancelled), true, Nanos::ZERO),
    };
    let resend = Resend { idempotent: call.idempotent, sent, possible: call.body.can_be_sent_again() };
    pool.attempt_ended(attempts, end, latency, resend)
}

/// An attempt that failed beside another: its server is done with it, its response is not wanted.
fn discard(attempt: Attempt) -> Attempt {
    match attempt {
        Attempt::Answered { response, in_flight, .. } => {
            let failure = failure_of(response.status()).unwrap_or(Failure::Error);
            let server = Rc::clone(&in_flight.server);
            let took = in_flight.finish(Outcome::Failed);
            Attempt::Failed { failure, reason: Reason::UpstreamReset, sent: true, took, server }
        }
        other => other,
    }
}

/// Two copies where the first is slow: whichever is answered well first counts, the other is dropped.
async fn hedged(
    call: &Call<'_>,
    pool: &Rc<ShardPool>,
    info: &RequestInfo<'_>,
    attempts: &mut Attempts,
    in_flight: InFlight,
    delay: std::time::Duration,
    context: &mut RequestContext,
) -> (Attempt, Next) {
    let first_placed = Cell::new(Some(in_flight.picked()));
    let mut first = pin!(call.attempt(in_flight));
    if let Ok(attempt) = timeout(delay, first.as_mut()).await {
        let next = ended(call, pool, attempts, &attempt);
        return (attempt, next);
    }
    let Some(number) = pool.hedge(attempts) else {
        let attempt = first.await;
        let next = ended(call, pool, attempts, &attempt);
        return (attempt, next);
    };
    let excluded = attempts.excluded().to_vec();
    let attempts = RefCell::new(attempts);
    let second_placed = Cell::new(None);
    // While its strategy asks servers where to send it, the first may be answered.
    let second = async {
        let in_flight = pool.place_hedge(info, &excluded).await?;
        second_placed.set(Some(in_flight.picked()));
        context.attempts += 1;
        in_flight.server.metrics.hedged();
        let _ = pool.placed(&mut attempts.borrow_mut(), number, in_flight.slot(), true);
        Some(call.attempt(in_flight).await)
    };
    let first = async { Some(first.await) };
    let (mut first, mut second) = (pin!(first), pin!(second));
    let mut failed: Option<Attempt> = None;
    let (mut first_over, mut second_over) = (false, false);
    let result = std::future::poll_fn(|cx| {
        let first: Pin<&mut dyn Future<Output = Option<Attempt>>> = first.as_mut();
        for (over, copy) in [(&mut first_over, first), (&mut second_over, second.as_mut())] {
            if *over {
                continue;
            }
            let Poll::Ready(attempt) = copy.poll(cx) else { continue };
            *over = true;
            let next = match &attempt {
                Some(attempt) => ended(call, pool, &mut attempts.borrow_mut(), attempt),
                // The second has found no room.
                None => {
                    let (end, resend) = (AttemptEnd::Unplaced, Resend::FREELY);
                    pool.attempt_ended(&mut attempts.borrow_mut(), end, Nanos::ZERO, resend)
                }
            };
            match (attempt.or_else(|| failed.take()), next) {
                (Some(attempt), Next::Await) => failed = Some(discard(attempt)),
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
        let placed = if first_over { second_placed.get() } else { first_placed.get() };
        let end = if placed.is_some() { AttemptEnd::Superseded } else { AttemptEnd::CalledOff };
        let latency = placed.map_or(Nanos::ZERO, |placed| pool.now().saturating_sub(placed));
        let _ = pool.attempt_ended(&mut attempts.borrow_mut(), end, latency, Resend::FREELY);
    }
    result
}
