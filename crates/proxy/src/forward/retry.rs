//! A request as the pool's attempts need it.

use std::future::Future;
use std::rc::Rc;

use http::StatusCode;

use super::attempt::Call;
use super::context::RequestContext;
use super::response::is_failure;
use crate::http1_client::Answer;
use crate::pool::{Attempt, Exchange, InFlight, RequestInfo, ShardPool};
use crate::server_body::ServerBody;
use crate::termination::Reason;
use crate::upstream::PooledConnection;
use evenkeel_core::policy::retry::Failure;

pub(super) type Answered = (Answer<ServerBody>, InFlight, Option<PooledConnection>);

impl Exchange for Call<'_> {
    type Answer = (Answer<ServerBody>, Option<PooledConnection>);

    fn is_hedgeable(&self) -> bool {
        self.idempotent && self.body.is_empty() && !self.upgrade
    }

    fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    fn can_be_sent_again(&self) -> bool {
        self.body.can_be_sent_again()
    }

    fn failure((answer, _): &Self::Answer) -> Option<Failure> {
        match answer.status() {
            StatusCode::SERVICE_UNAVAILABLE => Some(Failure::Rejected),
            status if is_failure(status) => Some(Failure::Error),
            _ => None,
        }
    }

    fn attempt(&self, in_flight: InFlight) -> impl Future<Output = Attempt<Self::Answer>> {
        self.send(in_flight)
    }
}

/// Places a request and sends it, again where that is right.
pub(super) async fn run(
    call: &mut Call<'_>,
    pool: &Rc<ShardPool>,
    info: &RequestInfo<'_>,
    cookie: Option<&str>,
    context: &mut RequestContext,
) -> Result<Answered, Reason> {
    let ((answer, connection), in_flight) = pool.dispatch(call, info, cookie, &mut context.attempts).await?;
    Ok((answer, in_flight, connection))
}
