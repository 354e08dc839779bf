//! The admin listener: liveness, readiness, metrics and the state of the servers; drain a server, change a weight, reload.
//! On loopback unless the config says otherwise, and then with a token.
//!
//! | request | response |
//! |---|---|
//! | `GET /livez` | 200 as long as the process runs |
//! | `GET /readyz` | 200 when the proxy takes requests, 503 while it drains |
//! | `GET /metrics` | counters for Prometheus |
//! | `GET /servers` | the state of every server, with the shards' counts added up and its last active check |
//! | `GET /config` | the config in force; secrets are left out |
//! | `GET /version` | name and version of the program |
//! | `POST /servers/POOL/SERVER/drain` | the server gets no new requests |
//! | `POST /servers/POOL/SERVER/ready` | the server gets requests again |
//! | `POST /servers/POOL/SERVER/weight?to=N` | another weight, until the next reload |
//! | `POST /reload` | reads the config again |

use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::control::Control;
use crate::metrics::CONTENT_TYPE;
use crate::pool::ServerSnapshot;
use crate::shard::Command;
use evenkeel_config::pool::MOST_WEIGHT;

/// Serves the admin listener on the socket that came last, until the task is aborted.
pub(crate) async fn serve(control: Rc<Control>, mut sockets: mpsc::UnboundedReceiver<Option<TcpListener>>) {
    let mut socket = None;
    loop {
        tokio::select! {
            next = sockets.recv() => match next {
                Some(next) => socket = next,
                None => return,
            },
            accepted = accept(socket.as_ref()) => match accepted {
                Ok(stream) => serve_connection(Rc::clone(&control), stream),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
}

async fn accept(socket: Option<&TcpListener>) -> io::Result<TcpStream> {
    match socket {
        Some(socket) => socket.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

fn serve_connection(control: Rc<Control>, stream: TcpStream) {
    tokio::task::spawn_local(async move {
        let service = service_fn(|request| respond(Rc::clone(&control), request));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "admin connection");
        }
    });
}

async fn respond(control: Rc<Control>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    // hyper leaves the body of a response to HEAD away.
    let method = if *request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let response = match (method, parts.as_slice()) {
        (&Method::GET, ["livez"]) => text(StatusCode::OK, "alive\n"),
        (&Method::GET, ["readyz"]) => {
            if control.is_ready() {
                text(StatusCode::OK, "ready\n")
            } else {
                text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
        }
        (&Method::GET, ["metrics"]) => {
            let mut response = text(StatusCode::OK, control.metrics().encode());
            let kind = HeaderValue::from_static(CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        (&Method::GET, ["servers"]) => object(&servers(&control).await),
        (&Method::GET, ["config"]) => text(StatusCode::OK, control.redacted_config()),
        (&Method::GET, ["version"]) => object(&json!({ "name": "evenkeel", "version": env!("CARGO_PKG_VERSION") })),
        (_, ["livez" | "readyz" | "metrics" | "servers" | "config" | "version"]) => only("GET, HEAD"),
        (&Method::POST, path) => {
            if let Some(refused) = refuse(&control, request.headers()) {
                refused
            } else {
                change(&control, path, request.uri().query()).await
            }
        }
        (_, ["reload"] | ["servers", _, _, "drain" | "ready" | "weight"]) => only("POST"),
        _ => text(StatusCode::NOT_FOUND, "see /livez /readyz /metrics /servers /config /version\n"),
    };
    Ok(response)
}

/// Why a change is refused: without the token, where there is one, and from a page in a browser. `None` if it is not.
fn refuse(control: &Control, headers: &HeaderMap) -> Option<Response<Full<Bytes>>> {
    if headers.contains_key(header::ORIGIN) {
        return Some(text(StatusCode::FORBIDDEN, "not from a browser\n"));
    }
    let token = control.admin_token()?;
    let given = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let wanted = format!("Bearer {token}");
    // Constant time, so that timing does not reveal the token.
    let same = given.len() == wanted.len()
        && given.iter().zip(wanted.as_bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0;
    (!same).then(|| text(StatusCode::UNAUTHORIZED, "Authorization: Bearer TOKEN\n"))
}

async fn change(control: &Control, change: &[&str], query: Option<&str>) -> Response<Full<Bytes>> {
    match change {
        ["reload"] => match control.reload().await {
            Ok(()) => text(StatusCode::OK, "reloaded\n"),
            Err(error) => text(StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")),
        },
        ["servers", pool, server, what] => {
            let config = control.config();
            let mut pools = config.pools.iter();
            if !pools.any(|p| p.name == *pool && p.servers.iter().any(|s| s.name == *server)) {
                return text(StatusCode::NOT_FOUND, format!("there is no server {server} in a pool {pool}\n"));
            }
            change_server(control, (*pool).to_owned(), (*server).to_owned(), what, query)
        }
        _ => text(StatusCode::NOT_FOUND, "POST /reload or /servers/POOL/SERVER/drain, ready, weight?to=N\n"),
    }
}

/// Changes a server in all shards.
fn change_server(
    control: &Control,
    pool: String,
    server: String,
    what: &str,
    query: Option<&str>,
) -> Response<Full<Bytes>> {
    match what {
        "drain" | "ready" => {
            let draining = what == "drain";
            tracing::info!(pool, server, draining, "by the admin listener");
            control.tell_all(|| Command::Drain { pool: pool.clone(), server: server.clone(), draining });
            text(StatusCode::OK, if draining { "draining\n" } else { "ready\n" })
        }
        "weight" => {
            let weight = query.and_then(|query| query.strip_prefix("to=")).and_then(|to| to.parse().ok());
            match weight.filter(|&weight: &u32| weight <= MOST_WEIGHT) {
                Some(weight) => {
                    tracing::info!(pool, server, weight, "by the admin listener");
                    control.tell_all(|| Command::Weight { pool: pool.clone(), server: server.clone(), weight });
                    text(StatusCode::OK, "changed\n")
                }
                None => text(StatusCode::BAD_REQUEST, "weight?to=N, from 0 to 65535\n"),
            }
        }
        _ => text(StatusCode::NOT_FOUND, "drain, ready or weight?to=N\n"),
    }
}

/// The state of all servers by pool, with the shards' counts added up: the content of `GET /servers`.
pub async fn servers(control: &Control) -> serde_json::Value {
    let shards = control.snapshots().await;
    let Some(first) = shards.first() else { return json!({ "pools": [] }) };
    let config = control.config();
    let pools: Vec<serde_json::Value> = first
        .iter()
        .map(|(pool, servers)| {
            let strategy = config.pools.iter().find(|p| p.name == *pool).map(|p| p.strategy.name());
            let servers: Vec<serde_json::Value> =
                servers.iter().map(|server| row(control, &shards, pool, server)).collect();
            json!({ "name": pool, "strategy": strategy, "servers": servers })
        })
        .collect();
    json!({ "pools": pools })
}

/// The state of one server: the first shard's where shards agree, else all shards'.
fn row(
    control: &Control,
    shards: &[Vec<(String, Vec<ServerSnapshot>)>],
    pool: &str,
    server: &ServerSnapshot,
) -> serde_json::Value {
    let everywhere: Vec<&ServerSnapshot> = shards
        .iter()
        .flatten()
        .filter(|(name, _)| name == pool)
        .flat_map(|(_, servers)| servers)
        .filter(|other| other.name == server.name)
        .collect();
    let check = control.last_check(pool, &server.name).map(|last| {
        json!({
            "time": format!("{:.3}", last.time),
            "passed": last.failure.is_none(),
            "cause": last.failure.as_deref(),
            "took": (last.took.as_micros() as f64) / 1e6,
        })
    });
    json!({
        "name": server.name,
        "address": server.address.map(|address| address.to_string()),
        "weight": server.weight,
        "eligible_in_shards": everywhere.iter().filter(|s| s.eligible).count(),
        "shards": shards.len(),
        "up": server.status.up,
        "check": check,
        "draining": server.status.draining,
        "ejected": server.status.ejected_until.is_some(),
        "warmth": server.status.ramp_factor,
        "panic": server.status.panic,
        "in_flight": everywhere.iter().map(|s| u64::from(s.in_flight)).sum::<u64>(),
        "connections": everywhere.iter().map(|s| u64::from(s.connections)).sum::<u64>(),
        "scores": everywhere.iter().map(|s| s.score).collect::<Vec<_>>(),
    })
}

fn only(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("this is for {allowed}\n"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn object(value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, format!("{value:#}\n"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
