//! The path of a request through the proxy: checked, routed, placed, sent, retried where that is right, and its
//! response passed on.
//!
//! Rules outside the strategy: a request is sent again only if nothing of a response has gone to the client, its body
//! can be sent again, the pool's rules and budget allow it, and another server is left. A connection that was open
//! before and turns out to be closed is no failure of the server: an idempotent request goes out again on a new one
//! (RFC 9112, 9.3.1).

mod attempt;
mod client;
mod context;
mod local_reply;
mod plain;
mod request;
mod response;
mod retry;

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::Version;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::time::{Instant, timeout_at};

use crate::body::DownBody;
use crate::client_io::ClientIoState;
use crate::clock::duration;
use crate::http1_client::Answer;
use crate::request_stream::ClientBody;
use crate::response_timer::StreamTask;
use crate::state::ShardState;
use crate::termination::Reason;
use attempt::Call;
pub use client::ClientConnection;
use context::{LogFields, RequestContext};
use local_reply::Refusal;
pub(crate) use plain::{Begun, begin};
use request::Inbound;
use response::Reply;
use retry::Answered;

/// Responds to a request that hyper has read. Never fails: what goes wrong is a response, too.
pub async fn serve(
    shard: Rc<ShardState>,
    client_io: Arc<ClientIoState>,
    client_connection: Rc<ClientConnection>,
    stream: Option<StreamTask>,
    request: Request<Incoming>,
) -> Result<Response<DownBody>, Infallible> {
    let started = Instant::now();
    let asterisk = client_io.begin(request.version() == Version::HTTP_2);
    let (parts, body) = request.into_parts();
    let log_fields = || LogFields::of_parts(&parts, &client_connection.peer);
    let mut context = RequestContext::new(shard, client_io, started, Some(ClientBody::Hyper(body)), log_fields);
    let inbound = match Inbound::read(parts, asterisk, &mut context, &client_connection) {
        Ok(inbound) => inbound,
        Err(refusal) => return Ok(refusal.reply(context, stream)),
    };
    let (answered, deadline) = answer(&mut context, &inbound, &client_connection, false).await;
    let (answer, in_flight, connection) = match answered {
        Ok(answered) => answered,
        Err(reason) => return Ok(failed(reason).reply(context, stream)),
    };
    let reply = Reply { context, inbound, stream, deadline };
    Ok(match answer {
        Answer::Fields(response) => reply.pass_on(*response, in_flight, connection, &client_connection.peer),
        // Not asked for.
        Answer::Plain(..) => reply.bad_response(in_flight),
    })
}

/// The response to a request that failed.
fn failed(reason: Reason) -> Refusal {
    Refusal::new(reason, matches!(reason, Reason::BodyTooLarge | Reason::BodyTimeout | Reason::BodyBroken))
}

/// Sends a request to its pool, until the head of the response, and says by when it must be over. With `plain`, a plain
/// response comes as it is written.
async fn answer(
    context: &mut RequestContext,
    inbound: &Inbound,
    client_connection: &ClientConnection,
    plain: bool,
) -> (Result<Answered, Reason>, Option<Instant>) {
    let active_config = Rc::clone(&context.active_config);
    let deadline = active_config.config.timeouts.total.map(|total| context.started + duration(total));
    let (shard, client_io, body) = (Rc::clone(&context.shard), Arc::clone(&context.client_io), context.body.clone());
    let info = inbound.info(&active_config.config.key);
    let mut call = Call {
        active_config: &active_config,
        inbound,
        body: &body,
        idempotent: inbound.method.is_idempotent(),
        upgrade: inbound.upgrade,
        plain,
        client_io: &client_io,
        client_connection,
        deadline,
        shard: &shard,
    };
    let answered = {
        // Pinned here, so that it is stored once for both ways of awaiting it: see the test of sizes.
        let mut run = pin!(retry::run(&mut call, &inbound.pool, &info, inbound.cookie.as_deref(), context));
        match deadline {
            None => run.as_mut().await,
            Some(deadline) => timeout_at(deadline, run.as_mut()).await.unwrap_or(Err(Reason::TotalTimeout)),
        }
    };
    if answered.is_ok() {
        if client_io.has_interim() {
            // Interim responses that came together with this one: the connection's task writes them when this lets it.
            tokio::task::yield_now().await;
        }
        client_io.begin_response();
    }
    (answered, deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The future of a request is moved when hyper takes it up: what is rare in it must be boxed.
    #[test]
    fn the_future_of_a_request_is_small() {
        fn size<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(serve);
        assert!(size <= 4096, "{size} bytes");
    }
}
