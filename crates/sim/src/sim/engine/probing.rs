//! Strategies that probe before a pick: the job waits at the balancer until enough servers have replied, all have, or its
//! probe timeout is over. Meanwhile it is in transit like any other job: an event will continue it.

use super::{Coming, Dispatcher, Engine, request_view};
use crate::sim::event::Event;
use crate::sim::observer::Observer;
use crate::sim::record::RequestOutcome;
use crate::sim::server::NONE;
use evenkeel_core::fleet::BackendId;
use evenkeel_core::select::{ProbeReplies, ProbeReply};

/// The probes of one job and their replies.
#[derive(Clone, Debug, Default)]
pub(super) struct Inquiring {
    /// The generation of the job's slot.
    tenant: Option<u32>,
    question: Question,
    /// The server that the request's cookie names.
    affinity: Option<BackendId>,
    /// Replies needed before the pick.
    quorum: usize,
    /// Probes in flight.
    pending: usize,
    answers: ProbeReplies,
}

/// State of a job's probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Question {
    /// No probe was sent.
    #[default]
    None,
    /// The job waits for replies.
    Open,
    /// The job was placed with the replies received.
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

/// Whether this job has no probes left to send.
#[inline]
pub(super) fn is_settled(inquiries: &[Inquiring], job: u32, generation: u32) -> bool {
    of(inquiries, job, generation).is_some()
}

/// The replies for this job.
#[inline]
pub(super) fn answers(inquiries: &[Inquiring], job: u32, generation: u32) -> Option<&ProbeReplies> {
    let inquiring = of(inquiries, job, generation).filter(|inquiring| inquiring.question != Question::None)?;
    Some(&inquiring.answers)
}

impl<O: Observer> Engine<'_, O> {
    /// Lets the job's strategy send probes; without probes the job continues at once.
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

    /// Marks a job from the queue as done with probing: it takes a free slot at once, without a wait for replies.
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

    /// A server has replied to a probe, or is down.
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

    /// A job's probe timeout is over.
    pub(super) fn unanswered(&mut self, job: u32, generation: u32) {
        if self.inquiries[job as usize].waits(generation) {
            self.go_on(job);
        }
    }

    /// Places the job now, with the replies received.
    fn go_on(&mut self, job: u32) {
        let inquiring = &mut self.inquiries[job as usize];
        inquiring.question = Question::Over;
        let affinity = inquiring.affinity;
        let j = &mut self.jobs[job as usize];
        if !j.wanted {
            return self.release(job);
        }
        if j.parent == NONE && !self.names.balancers_up[j.balancer as usize] {
            // The job died with its balancer.
            j.fate = RequestOutcome::Reset;
            return self.answer(job);
        }
        self.send(job, Coming::Asked(affinity));
    }
}
