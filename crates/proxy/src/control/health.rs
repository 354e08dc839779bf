//! Active health checks: one task for each server, which tells the shards what each check has found.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::names::Names;
use super::shards::Shards;
use crate::checks;
use crate::clock::duration;
use crate::shard::Command;
use crate::upstream::UpstreamSettings;
use evenkeel_config::proxy::{PoolConfig, ProxyConfig};
use evenkeel_core::rng::{Rng, Source};

/// A server's last active check.
#[derive(Clone, Debug)]
pub struct LastCheck {
    /// When it ended.
    pub time: Timestamp,
    /// Why it failed; `None` if it passed.
    pub failure: Option<Arc<str>>,
    /// How long it took.
    pub took: Duration,
}

/// The last check of each server.
pub(super) struct Checks {
    /// By pool and server.
    last: RefCell<BTreeMap<(String, String), LastCheck>>,
    rng: RefCell<Rng>,
}

impl Checks {
    pub(super) fn new(rng: Rng) -> Checks {
        Checks { last: RefCell::default(), rng: RefCell::new(rng) }
    }

    /// A server's last check; `None` if there was none.
    pub(super) fn last(&self, pool: &str, server: &str) -> Option<LastCheck> {
        self.last.borrow().get(&(pool.to_owned(), server.to_owned())).cloned()
    }

    /// Forgets servers that are not in this config, or not checked by it.
    pub(super) fn retain(&self, config: &ProxyConfig) {
        self.last.borrow_mut().retain(|(pool, server), _| {
            let pool = config.pools.iter().find(|p| p.name == *pool && p.rules.health.is_some());
            pool.is_some_and(|pool| pool.servers.iter().any(|s| s.name == *server))
        });
    }

    /// Checks a server at every interval.
    pub(super) async fn run(
        &self,
        pool: &PoolConfig,
        server: usize,
        settings: &UpstreamSettings,
        names: &Names,
        shards: &Shards,
    ) {
        let Some(rules) = &pool.rules.health else { return };
        let server = &pool.servers[server];
        // Checks of many servers do not all start at once.
        let share = self.rng.borrow_mut().unit();
        sleep(Duration::from_nanos((rules.interval.0.min(1_000_000_000) as f64 * 0.2 * share) as u64)).await;
        loop {
            let began = Instant::now();
            let result = match names.address(&server.host, server.port) {
                Some(address) => checks::check(address, settings, &pool.check, duration(rules.timeout)).await,
                None => Some(checks::Checked::failed("its name has no address")),
            };
            // `None`: this machine lacks what a check needs, which says nothing of the server.
            if let Some(checks::Checked { failure, load }) = result {
                let last = LastCheck { time: Timestamp::now(), failure: failure.clone(), took: began.elapsed() };
                self.last.borrow_mut().insert((pool.name.clone(), server.name.clone()), last);
                shards.tell_all(|| Command::Checked {
                    pool: pool.name.clone(),
                    server: server.name.clone(),
                    failure: failure.clone(),
                    load,
                });
            }
            let wait = duration(rules.wait(&mut *self.rng.borrow_mut()));
            sleep(wait).await;
        }
    }
}
