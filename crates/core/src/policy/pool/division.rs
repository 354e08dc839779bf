//! How the servers are divided into partitions by subset, priority level and zone.

use super::{Member, ServerPool};
use crate::fleet::BackendId;
use crate::policy::{panic, priority, subset, zone};

impl ServerPool {
    pub(super) fn zone(&mut self, name: &str) -> u32 {
        let at = self.zones.iter().position(|zone| zone == name).unwrap_or_else(|| {
            self.zones.push(name.to_owned());
            self.zones.len() - 1
        });
        at as u32
    }

    pub(super) fn part(&mut self, level: u32, zone: Option<u32>) -> u32 {
        let at = self.parts.iter().position(|&part| part == (level, zone)).unwrap_or_else(|| {
            self.parts.push((level, zone));
            self.fleet.add_partition(level, zone.is_none());
            self.parts.len() - 1
        });
        at as u32
    }

    /// Divides the servers into parts, and leaves out those outside this balancer's subset.
    pub(super) fn assign_partitions(&mut self) {
        if !self.rules.narrows() {
            return;
        }
        let slots: Vec<u32> = self.fleet.members().collect();
        let shares = match self.rules.subset {
            None => vec![subset::WHOLE; slots.len()],
            Some(rules) => {
                let names: Vec<&str> = slots.iter().map(|&slot| self.fleet.name(slot)).collect();
                rules.shares(&names, self.shard_id.number, self.shard_id.of, self.shard_id.seed)
            }
        };
        let broken = shares.iter().any(|&share| share != 0 && share != subset::WHOLE);
        let mut dealt = Vec::with_capacity(slots.len());
        for (&slot, share) in slots.iter().zip(shares) {
            let Member { level, zone, .. } = self.members[slot as usize];
            let level = if self.rules.priorities.is_some() { level } else { 0 };
            let mut parts = Vec::new();
            if share > 0 {
                parts.push(self.part(level, None));
                if let Some(zone) = zone.filter(|_| self.rules.zones.is_some()) {
                    parts.push(self.part(level, Some(zone)));
                }
            }
            let weight = self.fleet.weight(slot);
            dealt.push((self.fleet.id(slot), parts, if broken { weight.saturating_mul(share) } else { weight }));
        }
        self.fleet.assign(dealt);
    }

    /// Updates panic by level, the health of all servers in the fleet, and the share of the picks that each part gets.
    pub(super) fn judge_parts(&mut self) {
        let counts = |slot: u32| !self.fleet.is_unassigned(slot) && self.counts(slot);
        let by_level = self.rules.priorities.is_some();
        let level_of = |slot: u32| if by_level { self.members[slot as usize].level as usize } else { 0 };
        let mut levels: Vec<priority::Level> = Vec::new();
        for slot in self.fleet.members().filter(|&slot| counts(slot)) {
            let at = level_of(slot);
            if levels.len() <= at {
                levels.resize(at + 1, priority::Level::default());
            }
            levels[at].all += 1;
            levels[at].healthy += u32::from(self.healthy(slot));
        }
        let rules = self.rules.priorities.unwrap_or_default();
        // As long as all levels together can serve the whole load, the health of each is respected.
        let enough = by_level && rules.total(&levels) >= 1.0 - 1e-9;
        let panics = |level: &priority::Level| {
            self.rules
                .panic
                .is_some_and(|panic::Rules(share)| !enough && f64::from(level.healthy) < share * f64::from(level.all))
        };
        let panics: Vec<bool> = levels.iter().map(panics).collect();
        let panic_at = |slot: u32| panics.get(level_of(slot)).copied().unwrap_or(false);
        let verdicts: Vec<(BackendId, bool)> = (0..self.fleet.slots() as u32)
            .map(|slot| (self.fleet.id(slot), panic_at(slot) && self.is_somewhere(slot) || self.healthy(slot)))
            .collect();
        self.panic = panics.contains(&true);
        self.fleet.set_healthy_all(verdicts);
        let mut loads = Vec::new();
        rules.loads(&levels, &mut loads);
        if self.panic && loads.iter().all(|&load| load == 0.0) {
            // No server is healthy and panic ignores health: everything goes to the first level in panic.
            let first = panics.iter().position(|&panic| panic).unwrap_or(0);
            loads[first] = 1.0;
        }
        let mut shares = vec![0.0; self.parts.len()];
        let mut of_zones = Vec::new();
        for (level, load) in loads.into_iter().enumerate().filter(|(_, load)| *load > 0.0) {
            let calm = !panics[level];
            let (zones, parts) = self.zones_of(level as u32);
            let own = self.shard_id.zone.as_deref();
            let apart = self
                .rules
                .zones
                .as_ref()
                .filter(|_| calm && !zones.is_empty())
                .is_some_and(|rules| rules.shares(&zones, own, level == 0, self.overprovisioning(), &mut of_zones));
            if apart {
                parts.into_iter().zip(&of_zones).for_each(|(part, share)| shares[part] = load * share);
            } else if let Some(part) = self.parts.iter().position(|&part| part == (level as u32, None)) {
                shares[part] = load;
            }
        }
        self.fleet.set_shares(&shares);
    }

    pub(super) fn overprovisioning(&self) -> f64 {
        self.rules.priorities.unwrap_or_default().overprovisioning
    }

    /// The zones of a level with their healthy servers, and their parts.
    pub(super) fn zones_of(&self, level: u32) -> (Vec<zone::Zone<'_>>, Vec<usize>) {
        let parts = self.parts.iter().enumerate().filter(|(_, part)| part.0 == level);
        let of_part = |(at, &(_, zone)): (usize, &(u32, Option<u32>))| {
            let fleet = &self.fleet.partitions()[at].fleet;
            let counts = |slot: &u32| {
                let member = &self.members[*slot as usize];
                !member.draining && !member.nowhere && fleet.weight(*slot) > 0
            };
            let all = fleet.members().filter(counts).count() as u32;
            let (healthy, weight) = (fleet.eligible().len() as u32, fleet.total_weight());
            Some((zone::Zone { name: &self.zones[zone? as usize], all, healthy, weight }, at))
        };
        parts.filter_map(of_part).unzip()
    }
}
