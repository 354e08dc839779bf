//! Attempts one after another and side by side: choosing a server, retrying, hedging.

use std::future::Future;
use std::pin::pin;
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
use evenkeel_core::policy::retry::Failure;
use evenkeel_core::select::{self, Outcome};

pub(super) type Answered = (Response<Incoming>, InFlight, Option<PooledConnection>);

/// Places a request and sends it, again where that is right.
pub(super) async fn run(
    call: &mut Call<'_>,
    pool: &Rc<ShardPool>,
    info: &RequestInfo<'_>,
    cookie: Option<&str>,
    context: &mut RequestContext,
) -> Result<Answered, Reason> {
    if !pool.admits() {
        return Err(Reason::NotAdmitted);
    }
    let config = pool.config();
    let rules = config.rules.retries.as_ref();
    let mut tried: Vec<u32> = Vec::new();
    let mut last = None;
    loop {
        let placed = pool.place(info, &tried, if tried.is_empty() { cookie } else { None }).await;
        let in_flight = match placed {
            Ok(in_flight) => in_flight,
            // What went wrong before says more than that nobody is left.
            Err(reason) => return Err(last.unwrap_or(reason)),
        };
        context.attempts += 1;
        let may_follow = rules.is_some_and(|rules| context.attempts <= rules.max_retries);
        let attempt = match pool.hedge_delay() {
            Some(delay) if call.idempotent && call.body.is_empty() && !call.upgrade => {
                Box::pin(hedged(call, pool, info, &mut tried, in_flight, duration(delay), context)).await
            }
            _ => call.attempt(in_flight).await,
        };
        let (reason, slot) = match attempt {
            Attempt::Answered { response, in_flight, connection } => {
                let failure = match response.status() {
                    StatusCode::SERVICE_UNAVAILABLE => Failure::Rejected,
                    status if is_failure(status) => Failure::Error,
                    _ => return Ok((response, in_flight, connection)),
                };
                let slot = in_flight.slot();
                if !may_follow || !may_go_again(call, pool, failure, true, context.attempts, &tried, slot) {
                    return Ok((response, in_flight, connection));
                }
                in_flight.server.metrics.retried(failure);
                in_flight.finish(Outcome::Failed);
                (Reason::UpstreamReset, slot)
            }
            Attempt::Failed { failure, reason, sent, slot, server } => {
                context.server = None;
                if !may_follow || !may_go_again(call, pool, failure, sent, context.attempts, &tried, slot) {
                    return Err(reason);
                }
                server.metrics.retried(failure);
                (reason, slot)
            }
            Attempt::GivenUp(reason) => return Err(reason),
        };
        let Some(pause) = pool.may_retry(context.attempts) else { return Err(reason) };
        last = Some(reason);
        select::insert_sorted(&mut tried, slot);
        if pause.0 > 0 {
            Box::pin(sleep(duration(pause))).await;
        }
    }
}

/// Whether rules, body and fleet allow another attempt. The budget is asked last, for asking spends it.
pub(super) fn may_go_again(
    call: &Call<'_>,
    pool: &ShardPool,
    failure: Failure,
    sent: bool,
    attempts: u32,
    tried: &[u32],
    slot: u32,
) -> bool {
    let config = pool.config();
    let rules = config.rules.retries.as_ref();
    rules.is_some_and(|rules| rules.allows(failure, attempts, call.idempotent, sent))
        && call.body.can_be_sent_again()
        && pool.has_other(tried, slot)
}

/// Two copies where the first is slow: whichever answers first counts, the other is let go.
pub(super) async fn hedged(
    call: &Call<'_>,
    pool: &Rc<ShardPool>,
    info: &RequestInfo<'_>,
    tried: &mut Vec<u32>,
    in_flight: InFlight,
    delay: std::time::Duration,
    context: &mut RequestContext,
) -> Attempt {
    let slot = in_flight.slot();
    let mut first = pin!(call.attempt(in_flight));
    if let Ok(attempt) = timeout(delay, first.as_mut()).await {
        return attempt;
    }
    if !pool.has_other(tried, slot) || !pool.may_hedge() {
        return first.await;
    }
    select::insert_sorted(tried, slot);
    // It does not wait for room; and while its strategy asks whom to send it to, the first may answer.
    let tried = &*tried;
    let second = async {
        let in_flight = pool.place_now(info, tried).await?;
        context.attempts += 1;
        in_flight.server.metrics.hedged();
        Some(call.attempt(in_flight).await)
    };
    let first = async { Some(first.await) };
    let (mut first, mut second) = (pin!(first), pin!(second));
    let mut lost: Option<Attempt> = None;
    let (mut first_over, mut second_over) = (false, false);
    std::future::poll_fn(move |cx| {
        for (over, attempt) in [
            (&mut first_over, first.as_mut() as std::pin::Pin<&mut dyn Future<Output = Option<Attempt>>>),
            (&mut second_over, second.as_mut()),
        ] {
            if *over {
                continue;
            }
            if let Poll::Ready(attempt) = attempt.poll(cx) {
                *over = true;
                // The second may have found no room.
                let Some(attempt) = attempt else { continue };
                if matches!(&attempt, Attempt::Answered { response, .. } if !is_failure(response.status())) {
                    return Poll::Ready(attempt);
                }
                lost = Some(attempt);
            }
        }
        match lost.take_if(|_| first_over && second_over) {
            Some(attempt) => Poll::Ready(attempt),
            None => Poll::Pending,
        }
    })
    .await
}
