//! The entry tier: balancers, and DNS before them.

use super::super::table::*;
use super::{Builder, MOST_VIEWS};
use crate::sim::model::{Balancers, Dns};
use evenkeel_config::distribution::Alias;
use evenkeel_config::pool::check_name;

impl Builder<'_> {
    pub(super) fn balancers(&mut self, table: &ScenarioTable) -> Balancers {
        let t = &table.balancers;
        for (number, what) in [(&t.count, "count"), (&t.shards, "shards")] {
            if !(1..=1000).contains(number.get_ref()) {
                self.problem(number.span(), format!("`{what}` must be from 1 to 1000"));
            }
        }
        // Each shard of each balancer has a fleet of its own for each server.
        let servers: u64 = table
            .pools
            .get_ref()
            .iter()
            .flat_map(|pool| pool.get_ref().servers.get_ref())
            .map(|s| u64::from(*s.get_ref().count.get_ref()))
            .sum();
        let views = u64::from(*t.count.get_ref()) * u64::from(*t.shards.get_ref()) * servers;
        if views > MOST_VIEWS {
            let message = format!("balancers × shards × servers is {views}: at most {MOST_VIEWS} can be held");
            self.problem(t.shards.span(), message);
        }
        for zone in t.zones.get_ref() {
            check_name(zone, "zone", &mut self.problems);
        }
        if t.zones.get_ref().len() > *t.count.get_ref() as usize {
            self.problem(t.zones.span(), "there are more `zones` than balancers");
        }
        Balancers {
            count: *t.count.get_ref(),
            shards: *t.shards.get_ref(),
            shared_in_flight: t.shared_in_flight,
            zones: t.zones.get_ref().iter().map(|zone| zone.get_ref().clone()).collect(),
        }
    }

    pub(super) fn dns(&mut self, table: &ScenarioTable) -> Option<Dns> {
        let dns = table.dns.as_ref()?;
        let t = dns.get_ref();
        if !(1..=1_000_000).contains(&t.resolvers) || !(0.0..=10.0).contains(&t.resolver_skew) {
            self.problem(dns.span(), "`resolvers` must be from 1 to 1000000 and `resolver_skew` from 0 to 10");
            return None;
        }
        Some(Dns {
            ttl: t.ttl,
            resolvers: t.resolvers,
            resolver_mix: Alias::zipf(t.resolvers as usize, t.resolver_skew),
            withdraw_after: t.withdraw_after,
            all_addresses: t.clients_use == AddressesTable::All,
        })
    }
}
