//! Strategies that ask before they place a request: its job waits at the balancer until enough servers have answered, all
//! have, or its patience is over. Meanwhile it is on its way like any other: an event will find it.

use super::{Coming, Dispatcher, Engine, request_view};
use crate::sim::event::Event;
use crate::sim::observer::Observer;
use crate::sim::record::RequestOutcome;
use crate::sim::server::NONE;
use evenkeel_core::fleet::BackendId;
use evenkeel_core::select::{ProbeReplies, ProbeReply};

/// What is asked and answered for a job.
#[derive(Clone, Debug, Default)]
pub(super) struct Inquiring {
    /// The generation of the job's place that it is for.
    tenant: Option<u32>,
    question: Question,
    /// The server that the request's cookie names.
    affinity: Option<BackendId>,
    /// Answers that are waited for.
    quorum: usize,
    /// Questions that are not over.
    pending: usize,
    answers: ProbeReplies,
}

/// How far a job's question is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Question {
    /// Nobody is asked.
    #[default]
    None,
    /// The job waits for answers.
    Open,
    /// It has gone on with what was answered.
    Over,
}

impl Inquiring {
    fn waits(&self, generation: u32) -> bool {
        self.tenant == Some(generation) && self.question == Question::Open
    }
}

fn of(inquiries: &[Inquiring], job: u32, generation: u32) -> Option<&Inquiring> {
    inquiries.get(job as usize).filter(|inquiring| inquiring.tenant == Some(generation))
}

/// Whether there is nothing more to ask for this job.
#[inline]
pub(super) fn is_settled(inquiries: &[Inquiring], job: u32, generation: u32) -> bool {
    of(inquiries, job, generation).is_some()
}

/// What was answered for this job.
#[inline]
pub(super) fn answers(inquiries: &[Inquiring], job: u32, generation: u32) -> Option<&ProbeReplies> {
    let inquiring = of(inquiries, job, generation).filter(|inquiring| inquiring.question != Question::None)?;
    Some(&inquiring.answers)
}

impl<O: Observer> Engine<'_, O> {
    /// Lets the job's strategy ask; where it asks nobody the job goes on at once.
    #[inline(never)]
    pub(super) fn inquire(&mut self, job: u32, affinity: Option<BackendId>) {
        let j = &self.jobs[job as usize];
        let (dispatcher, generation) = (j.dispatcher, j.generation);
        let Dispatcher { fleet, shard, .. } = self.dispatchers[dispatcher as usize];
        let key = j.key.to_le_bytes();
        let request = request_view(self.model, &self.workload, &self.request_attempts, j, &key);
        let inquiry = self.views[fleet as usize].balancer.inquire(shard, &request, self.now.into());
        self.execute_effects(fleet);
        self.ask_nobody(job);
        let Some(inquiry) = inquiry else { return self.send(job, Coming::Asked(affinity)) };
        let inquiring = &mut self.inquiries[job as usize];
        (inquiring.question, inquiring.affinity) = (Question::Open, affinity);
        (inquiring.quorum, inquiring.pending) = (inquiry.quorum, inquiry.targets().len());
        inquiring.answers.part = inquiry.part;
        inquiring.answers.given.clear();
        for &backend in inquiry.targets() {
            self.probe(dispatcher, backend, Some((job, generation)));
        }
        self.queue.push(self.now.saturating_add(inquiry.timeout), Event::Unanswered(job, generation));
    }

    /// Whoever waits for room takes what comes free, and does not let it lie while servers are asked.
    pub(super) fn ask_nobody(&mut self, job: u32) {
        let generation = self.jobs[job as usize].generation;
        if self.inquiries.len() <= job as usize {
            self.inquiries.resize(job as usize + 1, Inquiring::default());
        }
        let inquiring = &mut self.inquiries[job as usize];
        if inquiring.tenant != Some(generation) {
            (inquiring.tenant, inquiring.question) = (Some(generation), Question::None);
        }
    }

    /// A server has answered, or is not there to be asked.
    pub(super) fn answered(&mut self, job: u32, generation: u32, answer: Option<ProbeReply>) {
        let inquiring = &mut self.inquiries[job as usize];
        if !inquiring.waits(generation) {
            return;
        }
        inquiring.pending -= 1;
        inquiring.answers.given.extend(answer);
        if inquiring.answers.given.len() >= inquiring.quorum || inquiring.pending == 0 {
            self.go_on(job);
        }
    }

    /// A job has waited long enough.
    pub(super) fn unanswered(&mut self, job: u32, generation: u32) {
        if self.inquiries[job as usize].waits(generation) {
            self.go_on(job);
        }
    }

    /// The job is placed now, with what has been answered.
    fn go_on(&mut self, job: u32) {
        let inquiring = &mut self.inquiries[job as usize];
        inquiring.question = Question::Over;
        let affinity = inquiring.affinity;
        let j = &mut self.jobs[job as usize];
        if !j.wanted {
            return self.release(job);
        }
        if j.parent == NONE && !self.names.balancers_up[j.balancer as usize] {
            // It died with its balancer.
            j.fate = RequestOutcome::Reset;
            return self.answer(job);
        }
        self.send(job, Coming::Asked(affinity));
    }
}
