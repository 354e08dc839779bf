//! Prequal: probe a few servers at random ahead of time, keep the answers for a while, and send to the one with the
//! lowest latency that is not hot. Variant: the paper's asynchronous form ("hot-cold lexicographic"), with bounds for
//! small fleets, where its formula is undefined. The synchronous form is [`super::prequal_synchronous`].

use crate::fleet::{BackendId, Change, Fleet};
use crate::rng::{Rng, Source};
use crate::select::catalog::{self, Doc, Family};
use crate::select::hot_cold::{self, HotCold, Rank};
use crate::select::{
    Command, Context, Explanation, Finished, LoadReport, Pick, ReportSource, Request, Selector, Signals,
    draw_evenly_excluding, renew,
};
use crate::units::Nanos;

/// The pool of probe answers and how it is maintained.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Answers kept at most, 2 to 64. Never more than a quarter of the number of servers, or 3 if that is more.
    pub pool: usize,
    /// Quantile of recent answers, 0 to 1: a server with more requests than this quantile is hot. 0 compares by
    /// requests only, 1 by latency only.
    pub q_rif: f64,
    /// Servers probed per request, 0 to 16. A fraction is accumulated over requests.
    pub probes: f64,
    /// Answers dropped per request, 0 to 16, the oldest and the worst in turn. A fraction is accumulated over
    /// requests.
    pub remove: f64,
    /// Surplus of answers received over answers used up, 0 to 100: the paper's delta.
    pub delta: f64,
    /// Answers older than this are dropped.
    pub age: Nanos,
    /// Upper bound on how often an answer is used, 1 to 1000, whatever the formula gives.
    pub max_uses: f64,
    /// A server that has failed counts as hot, and as the worst of them, for this long; `"0s"` switches that off.
    pub shun: Nanos,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            pool: 16,
            // 2^-0.25
            q_rif: 0.840_896,
            probes: 3.0,
            remove: 1.0,
            delta: 1.0,
            age: Nanos::from_secs(1),
            max_uses: 4.0,
            shun: Nanos::from_secs(1),
        }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Prequal (probing, hot-cold)",
    family: Family::Report,
    aliases: &["hcl", "hot_cold_lexicographic", "hot_cold"],
    near: &[("probing", "servers are probed beforehand here; `prequal_synchronous` probes for each request")],
    variant: "the paper's asynchronous form. The pool holds at most a quarter of the servers, but at least three \
              answers (with two, a request that comes before the next probe is back is placed at random), and an \
              answer is used at most `max_uses` times (with the paper's defaults its formula is undefined for 24 \
              servers and fewer). `shun` implements the error aversion that the paper mentions and does not \
              describe. The form that waits for its answers is `prequal_synchronous`",
    idea: "Utilisation is the wrong thing to balance; what counts is which server answers soon. Servers are probed \
           for their requests in flight (RIF) and the latency at that number, a few for each request and ahead of \
           time, so no request waits. Many requests announce trouble, so hot servers are avoided first; among the \
           others the faster one wins.",
    formula: "hot: RIF above the q_rif-quantile of recent answers; if all are hot the least RIF, else the least \
              latency among the cold; each answer used b times, b = max(1, (1 + delta) / ((1 - m/n) * probes - \
              remove)), rounded at random; an answer that was used counts one request more; fewer than 2 answers: a \
              uniform draw",
    source: "Wydrowski, Kleinberg, Rumble, Archer, 'Load is Not What You Should Balance: Introducing Prequal', NSDI 2024",
    cost: "O(pool), and the probes",
    fails: "With few requests per balancer all answers are too old and it is random: with less than one request per \
            `age` and balancer the pool is empty. Small fleets have small pools. Each probe costs a message and a \
            little work. It ignores weights.",
    scenario: "probing",
    fails_in: "cache-affinity",
    weighted: false,
};

impl catalog::Params for Params {
    const SIGNALS: Signals = Signals { probes: true, ..Signals::NONE };

    fn check(&self) -> Result<(), String> {
        if !(2..=MOST_POOL).contains(&self.pool) {
            return Err(format!("`pool` is {}: it must be from 2 to {MOST_POOL}", self.pool));
        }
        for (name, value, most) in [
            ("q_rif", self.q_rif, 1.0),
            ("probes", self.probes, 16.0),
            ("remove", self.remove, 16.0),
            ("delta", self.delta, 100.0),
        ] {
            if !(0.0..=most).contains(&value) {
                return Err(format!("`{name}` is {value}: it must be from 0 to {most}"));
            }
        }
        if !(1.0..=1000.0).contains(&self.max_uses) {
            return Err(format!("`max_uses` is {}: it must be from 1 to 1000", self.max_uses));
        }
        if self.age == Nanos::ZERO {
            return Err("`age` is zero: it must be longer".to_owned());
        }
        Ok(())
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(Prequal {
            params: self.clone(),
            answers: Vec::with_capacity(MOST_POOL + 1),
            rule: HotCold::new(self.q_rif, self.shun),
            asked: Vec::new(),
            ask: Vec::with_capacity(MOST_ASKED),
            probes_owed: 0.0,
            removals_owed: 0.0,
            drop_worst: true,
        })
    }
}

const MOST_POOL: usize = 64;
const MOST_ASKED: usize = 16;

/// Number of replies kept with this many servers: fewer in small fleets, where the pool would otherwise hold stale replies
/// of all servers, but one more than a choice needs, since a reply is used up between two probes.
pub fn pool_size(params: &Params, servers: usize) -> usize {
    params.pool.min((servers / 4).max(3))
}

/// Mean number of uses of a reply.
pub fn uses(params: &Params, servers: usize) -> f64 {
    let filled = pool_size(params, servers) as f64 / servers.max(1) as f64;
    let net = (1.0 - filled) * params.probes - params.remove;
    // Where more replies are dropped than arrive, the formula does not apply.
    let uses = if net > 0.0 { (1.0 + params.delta) / net } else { params.max_uses };
    uses.clamp(1.0, params.max_uses)
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    backend: BackendId,
    rif: u32,
    latency: f64,
    at: Nanos,
    uses_left: u32,
}

#[derive(Clone)]
struct Prequal {
    params: Params,
    /// In order of arrival.
    answers: Vec<Answer>,
    rule: HotCold,
    /// By slot: number of this balancer's probes in flight; other reports are ignored.
    asked: Vec<u32>,
    ask: Vec<BackendId>,
    probes_owed: f64,
    removals_owed: f64,
    drop_worst: bool,
}

impl Prequal {
    fn rank(&self, answer: &Answer, now: Nanos) -> Rank {
        self.rule.rank(answer.backend.slot, answer.rif, answer.latency, now)
    }

    fn better(&self, a: &Answer, b: &Answer, now: Nanos) -> std::cmp::Ordering {
        self.rank(a, now).cmp(&self.rank(b, now))
    }

    fn drop_old(&mut self, cx: &Context<'_>) {
        let age = self.params.age;
        let good = |answer: &Answer| {
            cx.fleet.is_current(answer.backend) && cx.now.saturating_sub(answer.at) <= age && answer.uses_left > 0
        };
        self.answers.retain(good);
    }

    fn drop_one(&mut self, now: Nanos) {
        if self.answers.is_empty() {
            return;
        }
        self.drop_worst = !self.drop_worst;
        let at = match self.drop_worst {
            true => (0..self.answers.len()).max_by(|&a, &b| self.better(&self.answers[a], &self.answers[b], now)),
            false => Some(0),
        };
        self.answers.remove(at.unwrap_or(0));
    }

    /// Draws distinct servers to probe.
    fn plan_probes(&mut self, cx: &mut Context<'_>) {
        self.probes_owed += self.params.probes;
        while self.probes_owed >= 1.0 {
            self.probes_owed -= 1.0;
            if self.ask.len() >= MOST_ASKED {
                continue;
            }
            for _ in 0..4 {
                let Some(slot) = cx.fleet.draw_uniform(cx.rng) else { return };
                if self.ask.iter().all(|asked| asked.slot != slot) {
                    self.ask.push(cx.fleet.id(slot));
                    break;
                }
            }
        }
    }
}

impl Selector for Prequal {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        self.drop_old(cx);
        self.plan_probes(cx);
        let usable =
            |answer: &Answer| cx.fleet.is_eligible(answer.backend.slot) && !request.excludes(answer.backend.slot);
        let chosen = (self.answers.len() >= 2)
            .then(|| {
                let usable = (0..self.answers.len()).filter(|&at| usable(&self.answers[at]));
                usable.min_by(|&a, &b| self.better(&self.answers[a], &self.answers[b], cx.now))
            })
            .flatten();
        let slot = match chosen {
            Some(at) => {
                let answer = &mut self.answers[at];
                // The request just placed adds one to the server's reported load.
                answer.rif += 1;
                answer.uses_left -= 1;
                answer.backend.slot
            }
            None => draw_evenly_excluding(request, &[], cx)?,
        };
        self.removals_owed += self.params.remove;
        while self.removals_owed >= 1.0 {
            self.removals_owed -= 1.0;
            self.drop_one(cx.now);
        }
        cx.pick(slot)
    }

    fn on_refused(&mut self, pick: &Pick, _cx: &mut Context<'_>) {
        if let Some(answer) = self.answers.iter_mut().find(|answer| answer.backend == pick.backend) {
            answer.rif = answer.rif.saturating_sub(1);
            answer.uses_left += 1;
        }
        self.probes_owed -= self.params.probes;
        self.removals_owed -= self.params.remove;
    }

    fn on_report(&mut self, backend: BackendId, load: &LoadReport, cx: &mut Context<'_>) {
        if load.by != ReportSource::Probe || !cx.fleet.is_current(backend) || self.asked[backend.slot as usize] == 0 {
            return;
        }
        self.asked[backend.slot as usize] -= 1;
        let Some(rif) = load.in_server else { return };
        self.rule.note(rif);
        let latency = hot_cold::latency(load);
        let mean = uses(&self.params, cx.fleet.eligible().len());
        let uses_left = mean as u32 + u32::from(cx.rng.unit() < mean.fract());
        self.answers.push(Answer { backend, rif, latency, at: cx.now, uses_left });
        if self.answers.len() > pool_size(&self.params, cx.fleet.eligible().len()) {
            self.answers.remove(0);
        }
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        self.rule.finished(finished, cx);
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.rule.fleet(changes, cx);
        renew(&mut self.asked, changes, cx.fleet);
    }

    fn poll_command(&mut self, _cx: &mut Context<'_>) -> Option<Command> {
        let backend = self.ask.pop()?;
        self.asked[backend.slot as usize] += 1;
        Some(Command::Probe(backend))
    }

    fn score(&self, slot: u32, _fleet: &Fleet, now: Nanos) -> Option<f64> {
        let answer = self.answers.iter().rev().find(|answer| answer.backend.slot == slot)?;
        Some(self.rank(answer, now).score())
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        // A copy has the state after the steps that come before the choice.
        let mut copy = self.clone();
        copy.drop_old(cx);
        copy.plan_probes(cx);
        let usable =
            |answer: &&Answer| cx.fleet.is_eligible(answer.backend.slot) && !request.excludes(answer.backend.slot);
        let mut answers: Vec<&Answer> = copy.answers.iter().filter(usable).collect();
        if copy.answers.len() < 2 || answers.is_empty() {
            return Explanation::draw(draw_evenly_excluding(request, &[], cx));
        }
        // The best first, so that of several answers of a server the best one is left.
        answers.sort_by(|a, b| copy.better(a, b, cx.now));
        let mut scores: Vec<(u32, f64)> = Vec::with_capacity(answers.len());
        for answer in answers {
            if scores.iter().all(|(slot, _)| *slot != answer.backend.slot) {
                scores.push((answer.backend.slot, copy.rank(answer, cx.now).score()));
            }
        }
        let slots = scores.iter().map(|(slot, _)| *slot).collect();
        Explanation::drawn(slots, "").scored(hot_cold::MEANING, scores)
    }
}
