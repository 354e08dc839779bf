//! Prequal, synchronous: each request probes a few servers drawn at random, waits until all but one have answered,
//! and goes to the best of those. The asynchronous form is [`super::prequal`].

use crate::fleet::{BackendId, Change};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::hot_cold::{self, HotCold};
use crate::select::{
    Context, Explanation, Finished, LoadReport, MOST_CHOICES, Pick, ProbeReply, ProbeRequest, ReportSource, Request,
    Selector, Signals, draw_evenly_excluding, sample_evenly,
};
use crate::units::Nanos;

/// Which servers are probed, and how long a request waits.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Servers probed for each request, 2 to 16.
    pub probes: usize,
    /// Answers that a request waits for, 1 to `probes`.
    pub wait_for: usize,
    /// The longest wait, above 0 and at most 10 s.
    pub timeout: Nanos,
    /// Quantile of recent answers, 0 to 1: a server with more requests than this quantile is hot. 0 compares by
    /// requests only, 1 by latency only.
    pub q_rif: f64,
    /// A server that has failed counts as hot, and as the worst of them, for this long; `"0s"` switches that off.
    pub shun: Nanos,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            probes: 3,
            wait_for: 2,
            timeout: Nanos::from_millis(3),
            // 2^-0.25
            q_rif: 0.840_896,
            shun: Nanos::from_secs(1),
        }
    }
}

/// Largest allowed `timeout`, 10 s.
const LONGEST: Nanos = Nanos::from_secs(10);

pub(super) const DOC: Doc = Doc {
    title: "Prequal, synchronous (probing, hot-cold)",
    family: Family::Report,
    aliases: &["prequal_sync", "synchronous_probing", "probe_and_wait"],
    near: &[],
    variant: "the paper's synchronous form. 3 probes, waiting for all but one for at most 3 ms, follow YouTube's \
              homepage, which sends 5 probes. `shun` implements the error aversion that the paper mentions and does \
              not describe. A request whose probes are not answered in time is placed at random",
    idea: "An answer is freshest when it is asked for this request, so the request waits for a round trip. It waits \
           for one answer fewer than it sent probes, so that a server that is slow or dead holds up no request. It \
           needs no pool and no memory: a balancer with one request in an hour chooses as well as a busy one.",
    formula: "hot: RIF above the q_rif-quantile of recent answers; if all that answered are hot the least RIF, else \
              the least latency among the cold; no answer: a uniform draw",
    source: "Wydrowski, Kleinberg, Rumble, Archer, 'Load is Not What You Should Balance: Introducing Prequal', NSDI 2024",
    cost: "O(probes), the probes, and a round trip before each request",
    fails: "Every request pays the round trip, which is too much where it is long compared with the work. The probes \
            of all balancers cost the servers work. It ignores weights.",
    scenario: "few-requests",
    fails_in: "far-servers",
    weighted: false,
};

impl catalog::Params for Params {
    const SIGNALS: Signals = Signals { probes: true, inquires: true, ..Signals::NONE };

    fn check(&self) -> Result<(), String> {
        if !(2..=MOST_CHOICES).contains(&self.probes) {
            return Err(format!("`probes` is {}: it must be from 2 to {MOST_CHOICES}", self.probes));
        }
        if !(1..=self.probes).contains(&self.wait_for) {
            return Err(format!("`wait_for` is {}: it must be from 1 to `probes`, {}", self.wait_for, self.probes));
        }
        if self.timeout == Nanos::ZERO || self.timeout > LONGEST {
            return Err(format!("`timeout` is {}: it must be above zero and at most {LONGEST}", self.timeout));
        }
        if !(0.0..=1.0).contains(&self.q_rif) {
            return Err(format!("`q_rif` is {}: it must be from 0 to 1", self.q_rif));
        }
        Ok(())
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(PrequalSynchronous { params: self.clone(), rule: HotCold::new(self.q_rif, self.shun) })
    }
}

struct PrequalSynchronous {
    params: Params,
    rule: HotCold,
}

impl Selector for PrequalSynchronous {
    fn inquire(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<ProbeRequest> {
        let targets = sample_evenly(request, cx, self.params.probes, false);
        // With a single server there is no choice.
        (targets.as_slice().len() > 1)
            .then(|| ProbeRequest::of(&targets, self.params.wait_for, self.params.timeout, cx.fleet))
    }

    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let given = request.answers.map_or(&[][..], |answers| &answers.given);
        let usable =
            |id: BackendId| cx.fleet.is_current(id) && cx.fleet.is_eligible(id.slot) && !request.excludes(id.slot);
        let ranked = given.iter().filter(|answer| usable(answer.backend)).filter_map(|ProbeReply { backend, load }| {
            Some((backend.slot, self.rule.rank(backend.slot, load.in_server?, hot_cold::latency(load), cx.now)))
        });
        match ranked.min_by(|a, b| a.1.cmp(&b.1)) {
            Some((slot, _)) => cx.pick(slot),
            None => draw_evenly_excluding(request, &[], cx).and_then(|slot| cx.pick(slot)),
        }
    }

    fn on_report(&mut self, _backend: BackendId, load: &LoadReport, _cx: &mut Context<'_>) {
        // Late replies also count in the quantile of recent loads.
        if let (ReportSource::Probe, Some(rif)) = (load.by, load.in_server) {
            self.rule.note(rif);
        }
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        self.rule.finished(finished, cx);
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.rule.fleet(changes, cx);
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let given = request.answers.map_or(&[][..], |answers| &answers.given);
        let usable =
            |id: BackendId| cx.fleet.is_current(id) && cx.fleet.is_eligible(id.slot) && !request.excludes(id.slot);
        let ranked = given.iter().filter(|answer| usable(answer.backend)).filter_map(|ProbeReply { backend, load }| {
            let rank = self.rule.rank(backend.slot, load.in_server?, hot_cold::latency(load), cx.now);
            Some((backend.slot, rank.score()))
        });
        let scores: Vec<(u32, f64)> = ranked.collect();
        if scores.is_empty() {
            return Explanation::draw(draw_evenly_excluding(request, &[], cx));
        }
        let slots = scores.iter().map(|(slot, _)| *slot).collect();
        Explanation::drawn(slots, "").scored(hot_cold::MEANING, scores)
    }
}
