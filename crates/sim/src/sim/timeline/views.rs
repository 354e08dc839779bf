//! A few picks with what the strategy saw: the first pick in the pool one second after the start of each fault, and the first
//! one after the middle of the measured span.

use super::{MOST_PICKS, MOST_SEEN, PickSeen, ServerSeen};
use crate::sim::model::{Model, Target};
use crate::sim::observer::Decision;
use evenkeel_core::units::Nanos;

/// Time from a fault's start to the pick.
const AFTER: Nanos = Nanos::from_secs(1);
const NEVER: u64 = u64::MAX;

/// A pick that is wanted.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: u64,
    /// In this pool; `None` for any.
    pool: Option<u32>,
    fault: Option<u32>,
}

/// The picks that are kept.
pub(super) struct Views {
    wanted: Vec<Moment>,
    /// The earliest of them.
    due: u64,
    /// The job whose pick is being made; its picks are the last ones of `seen`.
    deciding: Option<u32>,
    undecided: usize,
    seen: Vec<PickSeen>,
}

impl Views {
    pub(super) fn new(model: &Model) -> Views {
        let middle = model.warmup + Nanos(model.duration.0 / 2);
        let mut wanted = vec![Moment { at: middle.0, pool: None, fault: None }];
        for (index, fault) in model.faults.iter().enumerate() {
            let pool = match fault.target {
                Target::Server { pool, .. } => Some(pool as u32),
                Target::Balancer(_) => None,
            };
            let at = (fault.at + AFTER).0;
            // A fault of a whole pool is one for each of its servers.
            let known = wanted.iter().any(|moment| (moment.at, moment.pool) == (at, pool));
            if wanted.len() < MOST_PICKS && !known {
                wanted.push(Moment { at, pool, fault: Some(index as u32) });
            }
        }
        let mut views = Views { wanted, due: 0, deciding: None, undecided: 0, seen: Vec::new() };
        views.find_due();
        views
    }

    fn find_due(&mut self) {
        self.due = self.wanted.iter().map(|moment| moment.at).min().unwrap_or(NEVER);
    }

    /// A pick is about to be made. `in_server`: requests in each server of the run.
    #[inline]
    pub(super) fn deciding(&mut self, decision: &Decision<'_>, in_server: &[u32]) {
        if decision.now.0 >= self.due {
            self.look(decision, in_server);
        }
    }

    #[cold]
    fn look(&mut self, decision: &Decision<'_>, in_server: &[u32]) {
        let now = decision.now.0;
        let here = |moment: &Moment| moment.at <= now && moment.pool.is_none_or(|pool| pool == decision.pool);
        let mut found: Vec<Moment> = self.wanted.iter().copied().filter(here).collect();
        found.sort_by_key(|moment| moment.at);
        self.wanted.retain(|moment| !here(moment));
        self.find_due();
        if decision.fleet.slots() > MOST_SEEN {
            return;
        }
        let fleet = decision.fleet;
        let server = |slot: u32| ServerSeen {
            server: decision.base + slot,
            eligible: fleet.is_eligible(slot) && !decision.request.excluded.contains(&slot),
            weight: fleet.weight(slot),
            in_flight: fleet.in_flight()[slot as usize],
            in_server: in_server[(decision.base + slot) as usize],
            score: decision.selector.score(slot, fleet, decision.now).filter(|score| score.is_finite()),
        };
        self.undecided = self.seen.len();
        self.deciding = Some(decision.job);
        self.seen.extend(found.iter().map(|moment| PickSeen {
            at_ns: now,
            fault: moment.fault,
            request: decision.id,
            pool: decision.pool,
            selector: decision.dispatcher,
            servers: fleet.members().map(server).collect(),
            picked: None,
        }));
    }

    /// The pick has been made.
    #[inline]
    pub(super) fn decided(&mut self, job: u32, server: Option<u32>) {
        if self.deciding == Some(job) {
            self.deciding = None;
            self.seen[self.undecided..].iter_mut().for_each(|seen| seen.picked = server);
        }
    }

    pub(super) fn close(&mut self) -> Vec<PickSeen> {
        std::mem::take(&mut self.seen)
    }
}
