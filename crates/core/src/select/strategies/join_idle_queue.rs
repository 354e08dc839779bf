//! Join idle queue: a server that becomes idle notifies one balancer, which sends its next request there. Variant: Lu
//! et al.'s JIQ with a notification of one balancer at random, which the simulator provides unless `[pools.reports]`
//! says `idle_notifications = "none"`.

use std::collections::VecDeque;

use crate::fleet::{BackendId, Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::{
    Context, Explanation, Finished, LoadReport, Pick, ReportSource, Request, Selector, Signals, candidates,
    draw_excluding, load_per_weight, sample,
};

/// What happens when no server is known to be idle.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Which server is picked when none is known to be idle.
    pub fallback: Fallback,
}

/// Which server is picked when none is known to be idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum Fallback {
    /// Any, in proportion to weight (the paper).
    #[default]
    Random,
    /// Of two drawn at random the one with fewer of the balancer's own requests.
    TwoChoices,
}

pub(super) const DOC: Doc = Doc {
    title: "Join idle queue",
    family: Family::Report,
    aliases: &["jiq", "idle_queue"],
    near: &[],
    variant: "Lu et al. with JIQ-Random notifications. Where servers send none (behind the proxy), a server with \
              none of the balancer's own requests counts as idle (with one balancer that is the same, and nearly \
              IPVS `nq`)",
    idea: "The balancer asks no server: a server that becomes idle joins the list of one balancer, which sends it \
           the next request. No message is exchanged while a request waits to be placed, and balancers that know \
           nothing of each other still find the idle servers.",
    formula: "the server that has been idle longest among those that notified this balancer; if there is none, any \
              (in proportion to weight)",
    source: "Lu, Xie, Kliot, Geller, Larus, Greenberg, 'Join-Idle-Queue', Performance Evaluation 68(11), 2011",
    cost: "O(1) while a server is idle, else O(log n)",
    fails: "When no server is idle it is random: close to full load, or with many more balancers than idle servers. \
            A server that was idle may have received another balancer's random pick since. A server that fails at \
            once is always idle.",
    scenario: "probing",
    fails_in: "error-fast",
    weighted: false,
};

impl catalog::Params for Params {
    const SIGNALS: Signals = Signals { notices: true, ..Signals::NONE };

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        let (idle, listed) = (VecDeque::new(), Vec::new());
        Box::new(JoinIdleQueue { fallback: self.fallback, idle, listed, notified: false })
    }
}

/// The tag of a pick from the list.
const LISTED: u64 = 1;

struct JoinIdleQueue {
    fallback: Fallback,
    /// In order of notification. May hold slots that cannot be picked now.
    idle: VecDeque<u32>,
    /// By slot: whether it is in `idle`.
    listed: Vec<bool>,
    /// Whether a server has sent an idle notification: the balancer's own counts are then not used.
    notified: bool,
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
        // The refused server is as idle as before and stays first in the list. Other picks were not in the list.
        let slot = pick.backend.slot;
        if pick.tag == LISTED && !std::mem::replace(&mut self.listed[slot as usize], true) {
            self.idle.push_front(slot);
        }
    }

    fn on_report(&mut self, backend: BackendId, load: &LoadReport, cx: &mut Context<'_>) {
        if !cx.fleet.is_current(backend) {
            return;
        }
        // Periodic reports and reports with responses are too old; only idle notifications are the protocol.
        if load.by == ReportSource::Notice {
            self.notified = true;
            self.list(backend.slot);
        }
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        let Finished { backend, .. } = *finished;
        if !self.notified && cx.fleet.is_current(backend) && cx.fleet.in_flight()[backend.slot as usize] == 0 {
            self.list(backend.slot);
        }
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.listed.resize(cx.fleet.slots(), false);
        self.idle.reserve(cx.fleet.slots());
        for change in changes {
            match change {
                // A new server is idle.
                Change::Joined(id) => self.list(id.slot),
                Change::Left(id) => self.strike(id.slot),
                _ => {}
            }
        }
    }

    fn score(&self, slot: u32, _fleet: &Fleet, _now: crate::units::Nanos) -> Option<f64> {
        Some(if *self.listed.get(slot as usize)? { 0.0 } else { 1.0 })
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let can_be_had = |slot: &&u32| cx.fleet.is_eligible(**slot) && !request.excludes(**slot);
        let idle: Vec<u32> = self.idle.iter().filter(can_be_had).copied().collect();
        match self.fallback {
            _ if !idle.is_empty() => Explanation::order(idle),
            Fallback::Random => Explanation::draw(draw_excluding(request, &[], cx)),
            Fallback::TwoChoices => {
                let scores =
                    candidates(request, cx.fleet).map(|slot| (slot, load_per_weight(slot, cx.fleet))).collect();
                Explanation::sample(&sample(request, cx, 2, false), "").scored("requests in flight per weight", scores)
            }
        }
    }
}
