//! Delays between clients, balancers and servers.

use super::{Engine, Job};
use crate::sim::event::Event;
use crate::sim::observer::Observer;
use crate::sim::queue::Lane;
use crate::sim::server::NONE;
use evenkeel_core::rng::Keyed;
use evenkeel_core::units::Nanos;

/// How a delay is scheduled: none, a lane for a constant, the heap for a distribution.
#[derive(Clone, Copy)]
pub(super) enum LinkDelay {
    None,
    Constant(Nanos, Lane),
    Drawn,
}

/// Delays between clients, balancers and servers.
pub(super) struct Network {
    pub(super) client_hop: LinkDelay,
    /// The hop of an answer to its client, where it is constant.
    pub(super) answer_hop: Option<Nanos>,
    pub(super) server_hop: LinkDelay,
    /// The hop between a balancer and a server of another zone; a delay that is not constant is drawn and `cross_zone`
    /// added.
    pub(super) cross_hop: LinkDelay,
    /// Zone indices of balancers and servers; empty without zones.
    pub(super) balancer_zones: Vec<u32>,
    pub(super) server_zones: Vec<u32>,
    pub(super) legs: Keyed,
    pub(super) inner_legs: Keyed,
}

impl<'a, O: Observer> Engine<'a, O> {
    pub(super) fn number_zones(&mut self) {
        let (model, mut names) = (self.model, Vec::new());
        let mut number = |zone: Option<&'a str>| match zone {
            None => NONE,
            Some(zone) => names.iter().position(|&known| known == zone).unwrap_or_else(|| {
                names.push(zone);
                names.len() - 1
            }) as u32,
        };
        self.network.balancer_zones = (0..model.balancers.count).map(|b| number(model.balancers.zone(b))).collect();
        let servers = model.pools.iter().flat_map(|pool| &pool.servers);
        self.network.server_zones = servers.map(|server| number(server.zone.as_deref())).collect();
    }

    /// Whether a job of the first tier is at a server in another zone than its balancer.
    #[inline]
    pub(super) fn crosses(&self, j: &Job) -> bool {
        if self.network.balancer_zones.is_empty() || j.parent != NONE || j.server == NONE {
            return false;
        }
        let (from, to) =
            (self.network.balancer_zones[j.balancer as usize], self.network.server_zones[j.server as usize]);
        from != to && from != NONE && to != NONE
    }

    /// Sends an event over a network leg. Returns `true` where the delay is zero and the caller continues directly, so that
    /// a model without network delays costs nothing extra.
    #[inline(always)]
    #[must_use]
    pub(super) fn arrives_at_once(&mut self, hop: LinkDelay, job: u32, leg: u64, event: Event) -> bool {
        let zones = !leg.is_multiple_of(3) && !self.network.balancer_zones.is_empty();
        match hop {
            LinkDelay::None if !zones => true,
            LinkDelay::Constant(delay, lane) if !zones => {
                self.queue.push_lane(lane, self.now.saturating_add(delay), event);
                false
            }
            _ => self.takes_a_drawn_time(hop, job, leg, event),
        }
    }

    /// The same, where the delay is drawn or depends on the zones.
    #[inline(never)]
    fn takes_a_drawn_time(&mut self, hop: LinkDelay, job: u32, leg: u64, event: Event) -> bool {
        let crosses = !leg.is_multiple_of(3) && self.crosses(&self.jobs[job as usize]);
        match if crosses { self.network.cross_hop } else { hop } {
            LinkDelay::None => return true,
            LinkDelay::Constant(delay, lane) => self.queue.push_lane(lane, self.now.saturating_add(delay), event),
            LinkDelay::Drawn => {
                let distribution = if leg.is_multiple_of(3) { &self.model.client_leg } else { &self.model.server_leg };
                let j = &self.jobs[job as usize];
                let legs = match j.attempt {
                    2.. => self.draws_again("network", j),
                    _ if j.parent == NONE => self.network.legs,
                    _ => self.network.inner_legs,
                };
                let further = if crosses { self.model.cross_zone } else { Nanos::ZERO };
                let delay = distribution.sample(&mut legs.at(j.id << 2 | leg)).saturating_add(further);
                self.queue.push(self.now.saturating_add(delay), event);
            }
        }
        false
    }
}
