//! DNS: which balancer a client sends its request to.

use super::Engine;
use crate::sim::observer::Observer;
use evenkeel_core::rng::Source;
use evenkeel_core::units::Nanos;

pub(super) struct Resolver {
    pub(super) balancer: u32,
    /// All addresses of the response, for clients that use all.
    pub(super) addresses: Vec<u32>,
    pub(super) expires: Nanos,
}

/// Balancers that are up, and the addresses that clients know.
pub(super) struct Names {
    pub(super) balancers_up: Vec<bool>,
    pub(super) listed: Vec<bool>,
    pub(super) resolvers: Vec<Resolver>,
    pub(super) resolver_of: Vec<u32>,
    pub(super) rotation: u32,
}

impl<O: Observer> Engine<'_, O> {
    #[inline]
    pub(super) fn find_balancer(&mut self, client: u32, id: u64) -> u32 {
        let count = self.model.balancers.count;
        let Some(dns) = &self.model.dns else {
            return if count == 1 { 0 } else { self.draws.at(id << 2).below(u64::from(count)) as u32 };
        };
        let resolver = self.names.resolver_of[client as usize] as usize;
        if self.now >= self.names.resolvers[resolver].expires {
            // The authoritative server rotates its addresses; clients use the first one.
            let listed: Vec<u32> = (0..count).filter(|&b| self.names.listed[b as usize]).collect();
            let answers = if listed.is_empty() { (0..count).collect() } else { listed };
            let balancer = answers[self.names.rotation as usize % answers.len()];
            self.names.rotation = self.names.rotation.wrapping_add(1);
            let addresses = if dns.all_addresses { answers } else { Vec::new() };
            self.names.resolvers[resolver] =
                Resolver { balancer, addresses, expires: self.now.saturating_add(dns.ttl) };
        }
        let Resolver { balancer, addresses, .. } = &self.names.resolvers[resolver];
        match addresses.len() {
            0 => *balancer,
            n => addresses[self.draws.at(id << 2).below(n as u64) as usize],
        }
    }

    /// The next address for a client that could not reach a balancer: the next one that it knows, until it has tried all.
    pub(super) fn next_address(&mut self, job: u32) -> Option<u32> {
        if !self.model.dns.as_ref()?.all_addresses {
            return None;
        }
        let j = &mut self.jobs[job as usize];
        let addresses = &self.names.resolvers[self.names.resolver_of[j.client as usize] as usize].addresses;
        j.turned += 1;
        let at = addresses.iter().position(|&address| address == j.balancer).unwrap_or(0);
        (j.wanted && (j.turned as usize) < addresses.len()).then(|| addresses[(at + 1) % addresses.len()])
    }
}
