//! A single decision of a run: what the selector saw, how it came to its choice, and what it could not know. Golden picks show
//! the first that differs; the lab shows any.

use serde::Serialize;

use crate::sim::model::Model;
use crate::sim::observer::Decision;
use evenkeel_core::select::explain::NO_SLOT;
use evenkeel_core::select::{Context, Explanation, Placement, Request, candidates, insert_sorted};

/// One decision with everything the selector saw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seen {
    /// Its number, from 0.
    pub decision: u64,
    /// Time since the start of the run, seconds.
    pub time_s: f64,
    /// Number of the request.
    pub request: u64,
    /// Address of the client.
    pub client: String,
    /// Path of the request.
    pub path: String,
    /// Hash key of the request, 16 hexadecimal digits.
    pub key: String,
    /// Index of the balancer's selector, from 0.
    pub selector: u32,
    /// Name of the pool.
    pub pool: String,
    /// Every backend as the selector's host counted it.
    pub backends: Vec<SeenBackend>,
    /// Name of the picked server; `None` if the selector found none.
    pub pick: Option<String>,
}

/// A backend as a selector saw it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeenBackend {
    /// Name of the server.
    pub server: String,
    /// Its number over all pools.
    #[serde(skip)]
    pub number: u32,
    /// Weight of the server.
    pub weight: u32,
    /// Whether it could be chosen.
    pub eligible: bool,
    /// Requests in flight to it, as this selector's host counts them.
    pub in_flight: u32,
    /// The strategy's score, lower is better; `None` if the strategy has no such number.
    pub score: Option<f64>,
}

impl Seen {
    /// The view of the selector that is about to choose; `number` is that of the decision.
    pub fn of(model: &Model, number: u64, decision: &Decision<'_>) -> Seen {
        let (selector, fleet) = (decision.selector, decision.fleet);
        let backend = |slot: u32| SeenBackend {
            server: fleet.name(slot).to_owned(),
            number: decision.base + slot,
            weight: fleet.weight(slot),
            eligible: fleet.is_eligible(slot),
            in_flight: fleet.in_flight()[slot as usize],
            score: selector.score(slot, fleet, decision.now).filter(|score| score.is_finite()),
        };
        Seen {
            decision: number,
            time_s: decision.now.as_secs_f64(),
            request: decision.id,
            client: decision.request.client.to_string(),
            path: decision.request.path.to_owned(),
            key: decision.request.key.iter().rev().map(|byte| format!("{byte:02x}")).collect(),
            selector: decision.dispatcher,
            pool: model.pools[decision.pool as usize].name.clone(),
            backends: fleet.members().map(backend).collect(),
            pick: None,
        }
    }

    /// Notes which server was chosen, by its number over all pools.
    pub fn chosen(&mut self, server: Option<u32>) {
        let name = |number| self.backends.iter().find(|backend| backend.number == number).map(|b| b.server.clone());
        self.pick = server.and_then(name);
    }
}

/// How the selector comes to its choice. Slots are those of the decision's fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Reasons {
    /// What the strategy draws, looks up or compares; its scores are complete.
    pub explanation: Explanation,
    /// Slots that may be picked, ascending.
    pub candidates: Vec<u32>,
    /// Servers that may not be picked for this request: already tried, or at their limit.
    pub excluded: Vec<u32>,
    /// By slot of the backends: what no balancer sees.
    pub truth: Vec<Truth>,
}

/// A server as it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Truth {
    /// Requests that wait in its queue.
    pub queued: u32,
    /// Requests in service.
    pub in_service: u32,
    /// Time until it would be idle if nothing more came, seconds.
    pub work: f64,
}

impl Reasons {
    /// The reasons of a choice that is about to be made. Slow start may still turn a choice away afterwards.
    pub fn of(decision: &Decision<'_>) -> Reasons {
        let mut excluded = decision.full.to_vec();
        decision.request.excluded.iter().for_each(|&slot| insert_sorted(&mut excluded, slot));
        let request = Request { excluded: &excluded, ..decision.request };
        let mut rng = decision.rng.clone();
        let Decision { now, fleet, truth, .. } = *decision;
        let mut cx = Context { now, fleet, rng: &mut rng, truth };
        let explanation = decision.selector.explain(&request, &mut cx).completed(decision.selector, fleet, now);
        let candidates = candidates(&request, fleet).collect();
        let truth = |server: &crate::sim::server::ServerState| Truth {
            queued: server.number() - server.in_service(),
            in_service: server.in_service(),
            work: server.remaining_work(now).as_secs_f64(),
        };
        let truth = decision.servers.iter().take(fleet.slots()).map(truth).collect();
        Reasons { explanation, candidates, excluded, truth }
    }

    /// The slot that follows from the reasons; `None` where they leave it open, as with a tie.
    pub fn outcome(&self) -> Option<u32> {
        let Explanation { placement, passed_over, scores, meaning } = &self.explanation;
        let able = |slot: &u32| self.candidates.binary_search(slot).is_ok() && !passed_over.contains(slot);
        let lowest = |among: &dyn Fn(&u32) -> bool| {
            let score = |(slot, score): &(u32, f64)| among(slot).then_some((*slot, *score));
            let (slot, least) = scores.iter().filter_map(score).min_by(|a, b| a.1.total_cmp(&b.1))?;
            let ties = scores.iter().filter(|(slot, score)| among(slot) && *score == least).count();
            (ties == 1).then_some(slot)
        };
        match placement {
            Some(Placement::Order(turns)) => turns.iter().copied().find(|slot| !passed_over.contains(slot)),
            Some(Placement::Ring { at, points }) => {
                let start = points.partition_point(|point| point.0 < *at);
                let round = points[start..].iter().chain(&points[..start]);
                round.map(|point| point.1).find(able)
            }
            Some(Placement::Table { at, entries, .. }) => entries.get(*at).copied().filter(|&slot| slot != NO_SLOT),
            Some(Placement::Sample(slots)) => match slots[..] {
                [slot] => Some(slot),
                _ => lowest(&|slot| slots.contains(slot)),
            },
            None if meaning.is_empty() => None,
            None => lowest(&able),
        }
    }
}
