//! Why this server: a decision with what the balancer saw, how the strategy came to its choice, and what is true.

use std::collections::VecDeque;

use evenkeel_core::select::Placement as Made;
use evenkeel_core::select::explain::NO_SLOT;
use evenkeel_sim::measure::decision::{Reasons, Seen, Truth};
use evenkeel_sim::sim::model::Model;
use evenkeel_sim::sim::observer::Decision;
use serde::Serialize;

/// Decisions that are kept, the latest ones.
const KEPT: usize = 64;

/// A decision, explained. Servers are numbered over all pools.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Why {
    /// Seconds since the start of the run.
    pub time: f64,
    /// The job that was placed.
    pub job: u32,
    /// The request.
    pub request: RequestText,
    /// Index of the pool.
    pub pool: u32,
    /// Index of the balancer's selector.
    pub selector: u32,
    /// The server; `None` if there was none.
    pub picked: Option<u32>,
    /// One to three sentences with the numbers.
    pub sentence: String,
    /// Every server that the balancer knows.
    pub servers: Vec<ServerText>,
    /// What is compared; `None` where nothing is.
    pub score_meaning: Option<&'static str>,
    /// What the choice is made from.
    pub placement: Option<Placement>,
}

/// The request of a decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestText {
    /// Its number.
    pub id: u64,
    /// Address of the client.
    pub client: String,
    /// The path.
    pub path: String,
    /// The key, 16 hexadecimal digits.
    pub key: String,
}

/// A server as the balancer saw it, and as it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerText {
    /// Its number.
    pub server: u32,
    /// Its name.
    pub name: String,
    /// Whether it could be chosen at all.
    pub eligible: bool,
    /// Whether it could not be chosen for this request: already tried, or at its limit.
    pub excluded: bool,
    /// Whether the rule passes over it for this request.
    pub passed_over: bool,
    /// Requests in flight, as the balancer counts them.
    pub in_flight: u32,
    /// Its weight.
    pub weight: u32,
    /// What is compared, lower is better.
    pub score: Option<f64>,
    /// What the balancer cannot see.
    pub truth: Truth,
}

/// As [`Made`], with servers numbered over all pools.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "described where it comes from")]
pub enum Placement {
    Sample { servers: Vec<u32> },
    Ring { at: f64, points: Vec<(f64, u32)> },
    Table { size: u64, at: usize, entries: Vec<i64> },
    Order { servers: Vec<u32>, next: usize },
}

/// The latest decisions of a run.
#[derive(Default)]
pub(crate) struct Decisions {
    count: u64,
    /// About to be decided.
    next: Option<Box<(Seen, Reasons, Asked)>>,
    kept: VecDeque<Why>,
}

/// What else is known before the choice.
struct Asked {
    job: u32,
    pool: u32,
    base: u32,
    kept: bool,
}

impl Decisions {
    pub(crate) fn deciding(&mut self, model: &Model, decision: &Decision<'_>) {
        let seen = Seen::of(model, self.count, decision);
        self.count += 1;
        let Decision { job, pool, base, kept, .. } = *decision;
        self.next = Some(Box::new((seen, Reasons::of(decision), Asked { job, pool, base, kept: kept.is_some() })));
    }

    pub(crate) fn decided(&mut self, job: u32, server: Option<u32>) {
        let Some(next) = self.next.take() else { return };
        let (seen, reasons, asked) = *next;
        if asked.job != job {
            return;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Why::of(seen, &reasons, &asked, server));
    }

    /// The latest decision for a job; for any job where it is `None`.
    pub(crate) fn find(&self, job: Option<u32>) -> Option<&Why> {
        self.kept.iter().rev().find(|why| job.is_none_or(|job| why.job == job))
    }
}

impl Why {
    fn of(seen: Seen, reasons: &Reasons, asked: &Asked, picked: Option<u32>) -> Why {
        let base = asked.base;
        let explained = &reasons.explanation;
        let score = |slot: u32| explained.scores.iter().find(|(of, _)| *of == slot).map(|(_, score)| *score);
        let none = Truth { queued: 0, in_service: 0, work: 0.0 };
        let servers = seen.backends.iter().map(|backend| {
            let slot = backend.number - base;
            ServerText {
                server: backend.number,
                name: backend.server.clone(),
                eligible: backend.eligible,
                excluded: reasons.excluded.contains(&slot),
                passed_over: explained.passed_over.contains(&slot),
                in_flight: backend.in_flight,
                weight: backend.weight,
                score: score(slot),
                truth: reasons.truth.get(slot as usize).copied().unwrap_or(none),
            }
        });
        let mut why = Why {
            time: seen.time_s,
            job: asked.job,
            request: RequestText {
                id: seen.request,
                client: seen.client.clone(),
                path: seen.path.clone(),
                key: seen.key.clone(),
            },
            pool: asked.pool,
            selector: seen.selector,
            picked,
            sentence: String::new(),
            servers: servers.collect(),
            score_meaning: Some(explained.meaning).filter(|meaning| !meaning.is_empty()),
            placement: explained.placement.as_ref().map(|made| placement(made, reasons, base)),
        };
        why.sentence = why.say(reasons.outcome().map(|slot| base + slot), asked.kept);
        why
    }

    fn server(&self, number: u32) -> Option<&ServerText> {
        self.servers.iter().find(|server| server.server == number)
    }

    fn name(&self, number: u32) -> &str {
        self.server(number).map_or("a server that is not there", |server| &server.name)
    }

    /// A server with its score.
    fn scored(&self, number: u32) -> String {
        match self.server(number).and_then(|server| server.score) {
            Some(score) => format!("{} ({})", self.name(number), short(score)),
            None => self.name(number).to_owned(),
        }
    }

    /// The sentences. `outcome` is the server that follows from the reasons.
    fn say(&self, outcome: Option<u32>, kept: bool) -> String {
        let Some(picked) = self.picked else {
            let eligible = self.servers.iter().filter(|server| server.eligible).count();
            let excluded = self.servers.iter().filter(|server| server.eligible && server.excluded).count();
            return format!(
                "No server could be picked: {eligible} of {} are eligible, and {excluded} of these were tried already or are full.",
                self.servers.len()
            );
        };
        let name = self.name(picked);
        if kept {
            return format!("The client stays at {name}, which its cookie or its open connection names.");
        }
        let mut text = self.reason(picked);
        if let Some(outcome) = outcome.filter(|&outcome| outcome != picked) {
            text = format!("{} was chosen first and is in slow start; {name} gets the request.", self.name(outcome));
        }
        if let Some(server) = self.server(picked) {
            let there = server.truth.queued + server.truth.in_service;
            if there.abs_diff(server.in_flight) >= 2 {
                text += &format!(" The balancer counts {} in flight; in fact {there} are at {name}.", server.in_flight);
            }
        }
        text
    }

    fn reason(&self, picked: u32) -> String {
        let name = self.name(picked);
        match (&self.placement, self.score_meaning) {
            (Some(Placement::Sample { servers }), meaning) if servers.len() > 1 => {
                let drawn: Vec<String> = servers.iter().map(|&server| self.scored(server)).collect();
                let meaning = meaning.unwrap_or("score");
                format!("Among {} it is {name}: the lowest {meaning}.{}", drawn.join(", "), self.ties(servers, picked))
            }
            (Some(Placement::Sample { .. }), _) => format!("{name} was drawn at random."),
            (Some(Placement::Ring { at, .. }), _) => {
                format!(
                    "The request's hash is at {at:.4} of the ring, and the next point belongs to {name}.{}",
                    self.skipped()
                )
            }
            (Some(Placement::Table { size, .. }), _) => {
                format!("The entry of the request's hash, one of {size}, belongs to {name}.{}", self.skipped())
            }
            (Some(Placement::Order { servers, next }), _) => match servers.get(next + 1) {
                Some(&after) => format!("It is {name}'s turn; after it comes {}.{}", self.name(after), self.skipped()),
                None => format!("It is {name}'s turn.{}", self.skipped()),
            },
            (None, Some(meaning)) => {
                let all: Vec<u32> =
                    self.servers.iter().filter(|s| s.eligible && !s.excluded).map(|s| s.server).collect();
                format!("{} has the lowest {meaning}.{}", self.scored(picked), self.ties(&all, picked))
            }
            (None, None) => format!("{name} was picked; the strategy does not say how."),
        }
    }

    /// How many others have the same score.
    fn ties(&self, among: &[u32], picked: u32) -> String {
        let score = |number: u32| self.server(number).and_then(|server| server.score);
        let Some(own) = score(picked) else { return String::new() };
        let tied = among.iter().filter(|&&other| other != picked && score(other) == Some(own)).count();
        match tied {
            0 => String::new(),
            1 => " One other is equal; the strategy's rule for ties decides.".to_owned(),
            n => format!(" {n} others are equal; the strategy's rule for ties decides."),
        }
    }

    /// Which servers the rule passes over.
    fn skipped(&self) -> String {
        let names: Vec<&str> =
            self.servers.iter().filter(|server| server.passed_over).map(|s| s.name.as_str()).collect();
        match names.len() {
            0 => String::new(),
            1..=4 => format!(" Passed over, because they are full: {}.", names.join(", ")),
            n => format!(" {n} servers are passed over, because they are full."),
        }
    }
}

fn placement(made: &Made, reasons: &Reasons, base: u32) -> Placement {
    let numbered = |slots: &[u32]| slots.iter().map(|slot| base + slot).collect::<Vec<u32>>();
    match made {
        Made::Sample(slots) => Placement::Sample { servers: numbered(slots) },
        Made::Ring { at, points } => {
            Placement::Ring { at: *at, points: points.iter().map(|&(point, slot)| (point, base + slot)).collect() }
        }
        Made::Table { size, at, entries } => {
            let entry = |&slot: &u32| if slot == NO_SLOT { -1 } else { i64::from(base + slot) };
            Placement::Table { size: *size, at: *at, entries: entries.iter().map(entry).collect() }
        }
        Made::Order(turns) => {
            let passed = |slot: &u32| reasons.explanation.passed_over.contains(slot);
            let next = turns.iter().position(|slot| !passed(slot)).unwrap_or(0);
            Placement::Order { servers: numbered(turns), next }
        }
    }
}

/// A number with three digits.
fn short(value: f64) -> String {
    match value.abs() {
        v if v == v.trunc() && v < 1e6 => format!("{value}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.2}"),
        v if v >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}
