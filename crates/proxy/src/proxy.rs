//! A proxy as a program runs it: the control thread, the shards, the admin listener.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::admin;
use crate::clock::duration;
use crate::control::{Control, Options, ProxyError, read};
use evenkeel_config::proxy::ProxyConfig;

/// A running proxy.
pub struct Proxy {
    control: Rc<Control>,
    shards: Vec<JoinHandle<io::Result<()>>>,
    admin: AbortHandle,
}

impl Proxy {
    /// Starts a proxy. Must be called within a `LocalSet`; what runs beside the shards runs there.
    pub async fn start(options: Options) -> Result<Proxy, ProxyError> {
        let (source, config) = read(&options.file)?;
        Proxy::start_with(options, source, config).await
    }

    /// Starts a proxy with a config that has been read.
    pub async fn start_with(options: Options, source: String, config: ProxyConfig) -> Result<Proxy, ProxyError> {
        let (admin, sockets) = mpsc::unbounded_channel();
        let (control, shards) = Control::start(options, source, config, admin).await?;
        let admin = tokio::task::spawn_local(admin::serve(Rc::clone(&control), sockets)).abort_handle();
        Ok(Proxy { control, shards, admin })
    }

    /// The addresses of its listeners, in the order of the config.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.control.addresses()
    }

    /// The address of its admin listener; `None` without one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.control.admin_address()
    }

    /// The control thread's handle: reloads, flushes logs, counts.
    pub fn control(&self) -> &Rc<Control> {
        &self.control
    }

    /// How long requests are still accepted when a drain begins: `timeouts.drain_delay`.
    pub fn drain_delay(&self) -> Duration {
        duration(self.control.config().timeouts.drain_delay)
    }

    /// Drains and stops: reports not ready, accepts requests for `delay` longer, then waits for open requests, at most
    /// as long as the config allows. Returns how many requests were cut off.
    pub async fn drain(self, delay: Duration) -> u32 {
        let ended = self.control.drain(delay).await;
        let cut = self.stop().await;
        if ended { 0 } else { cut }
    }

    /// Stops at once. Returns how many requests were cut off.
    pub async fn stop(self) -> u32 {
        let cut = self.control.cut().await;
        self.admin.abort();
        for shard in self.shards {
            // The shards have no more commands and end within milliseconds.
            match shard.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "shard"),
                Err(_) => tracing::error!("a shard has panicked"),
            }
        }
        self.control.flush();
        cut
    }
}
