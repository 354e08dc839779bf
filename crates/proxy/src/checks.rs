//! Active health checks and probes. Each health check opens its own connection, so that it detects a server that accepts no
//! new ones. One checker serves all shards; each shard evaluates the results itself. A strategy's probes use the same
//! connections as requests, because there are several probes per request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::body::RequestBody;
use super::orca;
use super::upstream::{Connection, LocalExecutor, RESPONSE_HEADERS, Upstream, UpstreamSettings};
use super::upstream_error::is_shortage;
use evenkeel_config::pool::Check;
use evenkeel_config::proxy::Protocol;
use evenkeel_core::select::LoadReport;

/// Bytes of a check's response that are read: a well-behaved server does not see a reset.
const MOST_BODY: usize = 64 * 1024;

/// Time-out of a probe.
const PROBE: Duration = Duration::from_secs(1);

/// Probe header: the key of the request that the probe is for, hexadecimal. A server that has the key cached may report less
/// load.
const PROBE_KEY: HeaderName = HeaderName::from_static("x-probe-key");

/// Probes a server for its load; `key` is the key of the request that the probe is for. `None` if the server does not answer
/// or sends no load report.
pub async fn ask(server: &Upstream, kind: &Check, key: Option<&HeaderValue>) -> Option<LoadReport> {
    let path = match kind {
        Check::Http { path, .. } => path,
        Check::Tcp => "/",
    };
    timeout(PROBE, ask_at_leisure(server, path, key)).await.ok()?
}

async fn ask_at_leisure(server: &Upstream, path: &str, key: Option<&HeaderValue>) -> Option<LoadReport> {
    let address = server.address()?;
    let mut open = server.reuse();
    let (response, connection) = loop {
        let mut connection = match open.take() {
            Some(connection) => connection,
            None => Box::pin(server.connect(false)).await.ok()?,
        };
        let protocol = if matches!(connection, Connection::Http2 { .. }) { Protocol::H2c } else { Protocol::Http1 };
        let mut request = question(address, path, &protocol, RequestBody::none().attempt())?;
        if let Some(key) = key {
            request.headers_mut().insert(PROBE_KEY, key.clone());
        }
        match connection.send(request).await {
            Ok(response) => break (response, connection),
            // The server has just closed it: try another connection, at last a new one.
            Err(_) if connection.is_reused() => {
                server.discard(&connection);
                drop(connection);
                open = server.reuse();
            }
            Err(_) => return None,
        }
    };
    let (mut head, body) = response.into_parts();
    let load = orca::take(&mut head.headers);
    // A connection with more of a response inside than is read cannot be used again.
    if Limited::new(body, MOST_BODY).collect().await.is_ok() {
        server.give_back(connection.pooled());
    }
    load
}

/// The GET of a check or a probe.
fn question<B>(address: SocketAddr, path: &str, protocol: &Protocol, body: B) -> Option<Request<B>> {
    let mut request = Request::new(body);
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("evenkeel-check"));
    match protocol {
        Protocol::Http1 => {
            *request.uri_mut() = path.parse().ok()?;
            request.headers_mut().insert(header::HOST, HeaderValue::from_str(&address.to_string()).ok()?);
        }
        Protocol::H2c => *request.uri_mut() = format!("http://{address}{path}").parse().ok()?,
    }
    Some(request)
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Why it failed, as text for an operator; `None` if it passed.
    pub failure: Option<Arc<str>>,
    /// The load report that came with the response.
    pub load: Option<LoadReport>,
}

impl Checked {
    /// A check that failed for this cause.
    pub fn failed(cause: impl Into<Arc<str>>) -> Checked {
        Checked { failure: Some(cause.into()), load: None }
    }
}

/// Why a check has no response.
enum NoAnswer {
    /// This machine is out of descriptors, ports or memory. That says nothing about the server.
    NotMade,
    /// The text for an operator.
    Failed(String),
}

impl From<String> for NoAnswer {
    fn from(cause: String) -> NoAnswer {
        NoAnswer::Failed(cause)
    }
}

/// One check. `None` if it could not be made, because this machine is out of descriptors, ports or memory.
pub async fn check(address: SocketAddr, settings: &UpstreamSettings, kind: &Check, limit: Duration) -> Option<Checked> {
    match timeout(limit, check_at_leisure(address, settings, kind)).await {
        Ok(Ok(checked)) => Some(checked),
        Ok(Err(NoAnswer::Failed(cause))) => Some(Checked::failed(cause)),
        Ok(Err(NoAnswer::NotMade)) => None,
        Err(_) => Some(Checked::failed(format!("no answer within {limit:?}"))),
    }
}

async fn check_at_leisure(address: SocketAddr, settings: &UpstreamSettings, kind: &Check) -> Result<Checked, NoAnswer> {
    let stream = TcpStream::connect(address).await.map_err(|error| match is_shortage(&error) {
        true => NoAnswer::NotMade,
        false => NoAnswer::Failed(format!("cannot connect: {error}")),
    })?;
    let _ = stream.set_nodelay(true);
    let Check::Http { path, status } = kind else { return Ok(Checked::default()) };
    let (found, load) = match &settings.tls {
        None => get(stream, address, path, &settings.protocol).await?,
        Some((config, name)) => {
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name.clone(), stream).await.map_err(|error| format!("TLS: {error}"))?;
            get(stream, address, path, &settings.protocol).await?
        }
    };
    let passes = status.iter().any(|(from, to)| (*from..=*to).contains(&found.as_u16()));
    Ok(Checked { failure: (!passes).then(|| format!("status {}", found.as_u16()).into()), load })
}

async fn get<T>(
    stream: T,
    address: SocketAddr,
    path: &str,
    protocol: &Protocol,
) -> Result<(StatusCode, Option<LoadReport>), String>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let failed = |error: hyper::Error| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let question = question(address, path, protocol, Empty::<Bytes>::new());
    let mut request = question.ok_or_else(|| format!("`{path}` is no path"))?;
    let mut response = match protocol {
        Protocol::Http1 => {
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            let builder = http1::Builder::new().max_headers(RESPONSE_HEADERS).clone();
            let (mut sender, connection) = builder.handshake(io).await.map_err(failed)?;
            tokio::task::spawn_local(async move {
                let _ = connection.await;
            });
            sender.send_request(request).await.map_err(failed)?
        }
        Protocol::H2c => {
            let (mut sender, connection) = http2::handshake(LocalExecutor, io).await.map_err(failed)?;
            tokio::task::spawn_local(async move {
                let _ = connection.await;
            });
            sender.send_request(request).await.map_err(failed)?
        }
    };
    let load = orca::take(response.headers_mut());
    let status = response.status();
    let _ = Limited::new(response.into_body(), MOST_BODY).collect().await;
    Ok((status, load))
}
