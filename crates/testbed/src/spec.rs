//! The specification of a test server.

use std::net::SocketAddr;

use evenkeel_config::distribution::Sampler;
use evenkeel_config::fault::TimedFault;
use evenkeel_sim::sim::model::Server;

/// The specification of a test server.
///
/// It answers every path. A request waits in the queue, takes the time of its work (the header `x-demand` in nanoseconds, or
/// else a draw from the distribution of its path) and is answered with `x-server`, `x-cache` (`hit` or `miss`, where there is a
/// cache; the key is the header `x-key`, or else the path) and a load report (`endpoint-load-metrics`, in ORCA's text form). A
/// full queue is a 503, a fault's error a 500. `/health` does not wait in the queue: 200, or 503 under a fault that fails
/// checks or drains.
///
/// A query changes the answer: `bytes=N`, `status=N`, `delay=50ms` (added to everything else), `chunked=1`, `trailers=1`,
/// `sse=N` with `every=10ms`. The header `x-echo` returns the received request as JSON. A request with `upgrade` becomes a
/// tunnel that echoes every byte.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Listen address; port 0 takes any free port.
    pub listen: SocketAddr,
    /// Name, speed, slots, queue and cache, as for a simulated server.
    pub server: Server,
    /// Work of a request at speed 1; `None` responds at once, except on paths with a distribution of their own.
    pub service: Option<Sampler>,
    /// Work at speed 1 by path, for paths with a distribution of their own.
    pub paths: Vec<(String, Sampler)>,
    /// Bytes of a response body.
    pub bytes: u64,
    /// Seed; the streams of work and errors are derived from it and from the name.
    pub seed: u64,
    /// Scheduled faults; their times count from the server's start.
    pub faults: Vec<TimedFault>,
    /// Whether `POST /_fault` injects faults.
    pub control: bool,
    /// With `control`: an additional listen address of `/_fault`, served also while the server is down; port 0 takes any
    /// free port.
    pub control_listen: SocketAddr,
    /// Whether a waiting request leaves the queue when its client has disconnected.
    pub cancel: bool,
}

impl Spec {
    /// A server that responds at once, with an empty body, on any free port of 127.0.0.1.
    pub fn new(name: &str) -> Spec {
        Spec {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            server: Server::new(name),
            service: None,
            paths: Vec::new(),
            bytes: 0,
            seed: 1,
            faults: Vec::new(),
            control: false,
            control_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cancel: false,
        }
    }

    /// The same with this distribution of work.
    pub fn service(self, work: Sampler) -> Spec {
        Spec { service: Some(work), ..self }
    }
}
