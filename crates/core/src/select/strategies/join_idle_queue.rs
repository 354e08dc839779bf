//! Join idle queue: idle servers tell a balancer, and it sends to those that have. Variant: Lu et al.'s JIQ with a notice to
//! one balancer at random, which the simulator gives it unless `[pools.reports]` says `idle_notifications = "none"`.

use std::collections::VecDeque;

use crate::select::catalog::{self, Doc, Family};
use crate::select::{
    Context, Finished, LoadReport, Pick, ReportSource, Request, Selector, Signals, draw_excluding, load_per_weight,
    sample,
};
use crate::fleet::{BackendId, Change, Fleet};
use crate::rng::Rng;

/// What is done when no server is known to be idle.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema), serde(deny_unknown_fields, default))]
pub struct Params {
    /// Who is taken when nobody is known to be idle.
    pub fallback: Fallback,
}

/// Who is taken when nobody is known to be idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema), serde(rename_all = "snake_case"))]
pub enum Fallback {
    /// Any (the paper).
    #[default]
    Random,
    /// Of two drawn by lot the one with fewer of the balancer's own requests.
    TwoChoices,
}

pub(super) const DOC: Doc = Doc {
    title: "Join idle queue",
    family: Family::Report,
    aliases: &["jiq", "idle_queue"],
    near: &[],
    variant: "Lu et al. with JIQ-Random notices; where servers send none (behind the proxy), one with none of the balancer's \
              own requests counts as idle (with one balancer that is the same, and nearly IPVS `nq`)",
    idea: "The balancer asks nobody: a server that becomes idle writes itself into the list of one balancer, which sends it \
           the next request that comes. Nothing travels while a request waits to be placed, and balancers that know \
           nothing of each other still find the idle servers.",
    formula: "the server that has been idle longest among those that told this balancer; if there is none, any (in proportion to weight)",
    source: "Lu, Xie, Kliot, Geller, Larus, Greenberg, 'Join-Idle-Queue', Performance Evaluation 68(11), 2011",
    cost: "O(1) while somebody is idle, else O(log n)",
    fails: "When nobody is idle it is random: close to full load, or with many more balancers than idle servers. What was \
            idle may have been found by somebody else's random pick meanwhile. A server that fails at once is always idle.",
    scenario: "probing",
    fails_in: "error-fast",
    weighted: false,
};

impl catalog::Params for Params {
    const SIGNALS: Signals = Signals { notices: true, ..Signals::NONE };

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        let (idle, listed) = (VecDeque::new(), Vec::new());
        Box::new(JoinIdleQueue { fallback: self.fallback, idle, listed, told: false })
    }
}

/// The tag of a pick from the list.
const LISTED: u64 = 1;

struct JoinIdleQueue {
    fallback: Fallback,
    /// In order of notice. May hold slots that cannot be picked now.
    idle: VecDeque<u32>,
    /// By slot: whether it is in `idle`.
    listed: Vec<bool>,
    /// A server has said that it is idle: the balancer's own counts say nothing beside that.
    told: bool,
}

impl JoinIdleQueue {
    fn list(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.listed[slot as usize], true) {
            self.idle.push_back(slot);
        }
    }

    fn strike(&mut self, slot: u32) {
        if std::mem::replace(&mut self.listed[slot as usize], false) {
            self.idle.retain(|&listed| listed != slot);
        }
    }
}

impl Selector for JoinIdleQueue {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let can_be_had = |slot: &u32| cx.fleet.is_eligible(*slot) && !request.excludes(*slot);
        if let Some(at) = self.idle.iter().position(can_be_had)
            && let Some(slot) = self.idle.remove(at)
        {
            self.listed[slot as usize] = false;
            return cx.pick_tagged(slot, LISTED);
        }
        let slot = match self.fallback {
            Fallback::Random => draw_excluding(request, &[], cx)?,
            Fallback::TwoChoices => {
                let sample = sample(request, cx, 2, false);
                let load = |slot: &&u32| load_per_weight(**slot, cx.fleet);
                *sample.as_slice().iter().min_by(|a, b| load(a).total_cmp(&load(b)))?
            }
        };
        cx.pick(slot)
    }

    fn on_refused(&mut self, pick: &Pick, _cx: &mut Context<'_>) {
        // It is as idle as it was, and still the first; of one that was drawn by lot nothing is known.
        let slot = pick.backend.slot;
        if pick.tag == LISTED && !std::mem::replace(&mut self.listed[slot as usize], true) {
            self.idle.push_front(slot);
        }
    }

    fn signals(&self) -> Signals {
        <Params as catalog::Params>::SIGNALS
    }

    fn on_report(&mut self, backend: BackendId, load: &LoadReport, cx: &mut Context<'_>) {
        if !cx.fleet.is_current(backend) {
            return;
        }
        // What is told by the clock or with an answer is old news; a notice is the protocol.
        if load.by == ReportSource::Notice {
            self.told = true;
            self.list(backend.slot);
        }
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        let Finished { backend, .. } = *finished;
        if !self.told && cx.fleet.is_current(backend) && cx.fleet.in_flight()[backend.slot as usize] == 0 {
            self.list(backend.slot);
        }
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.listed.resize(cx.fleet.slots(), false);
        self.idle.reserve(cx.fleet.slots());
        for change in changes {
            match change {
                // A new server has nothing to do.
                Change::Joined(id) => self.list(id.slot),
                Change::Left(id) => self.strike(id.slot),
                _ => {}
            }
        }
    }

    fn score(&self, slot: u32, _fleet: &Fleet, _now: crate::units::Nanos) -> Option<f64> {
        Some(if *self.listed.get(slot as usize)? { 0.0 } else { 1.0 })
    }
}
