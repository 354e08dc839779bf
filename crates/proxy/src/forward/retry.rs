//! A request as the pool's attempts need it.

use std::future::Future;
use std::rc::Rc;

use http::StatusCode;
use hyper::Response;

use super::attempt::Call;
use super::context::RequestContext;
use super::response::is_failure;
use crate::pool::{Attempt, Exchange, InFlight, RequestInfo, ShardPool};
use crate::server_body::ServerBody;
use crate::termination::Reason;
use crate::upstream::PooledConnection;
use evenkeel_core::policy::retry::Failure;

pub(super) type Answered = (Response<ServerBody>, InFlight, Option<PooledConnection>);

impl Exchange for Call<'_> {
    type Answer = (Response<ServerBody>, Option<PooledConnection>);

    fn is_hedgeable(&self) -> bool {
        self.idempotent && self.body.is_empty() && !self.upgrade
    }

    fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    fn can_be_sent_again(&self) -> bool {
        self.body.can_be_sent_again()
    }

    fn failure((response, _): &Self::Answer) -> Option<Failure> {
        match response.status() {
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
    let ((response, connection), in_flight) = pool.dispatch(call, info, cookie, &mut context.attempts).await?;
    Ok((response, in_flight, connection))
}
