//! Strategies that ask before they place a request: its job waits at the balancer until enough servers have answered, all
//! have, or its patience is over. Meanwhile it is on its way like any other: an event will find it.

use super::Engine;
use crate::select::{Answer, Answers, Request};
use crate::sim::event::Event;
use crate::sim::observer::Observer;
use crate::sim::record::End;
use crate::sim::server::NONE;

/// What is asked and answered for a job.
#[derive(Clone, Debug, Default)]
pub(super) struct Inquiring {
    /// For which tenant of the job's place: its generation and one.
    tenant: u64,
    /// It waits for answers.
    open: bool,
    /// Somebody was asked.
    asked: bool,
    /// Answers that are waited for.
    enough: usize,
    /// Questions that are not over.
    pending: usize,
    answers: Answers,
}

fn tenant(generation: u32) -> u64 {
    u64::from(generation) + 1
}

/// Whether there is nothing more to ask for this job.
#[inline]
pub(super) fn is_settled(inquiries: &[Inquiring], job: u32, generation: u32) -> bool {
    inquiries.get(job as usize).is_some_and(|inquiring| inquiring.tenant == tenant(generation))
}

/// What was answered for this job.
#[inline]
pub(super) fn answers(inquiries: &[Inquiring], job: u32, generation: u32) -> Option<&Answers> {
    let of_job = |inquiring: &&Inquiring| inquiring.asked && inquiring.tenant == tenant(generation);
    inquiries.get(job as usize).filter(of_job).map(|inquiring| &inquiring.answers)
}

impl<O: Observer> Engine<'_, O> {
    /// Lets the job's strategy ask; where it asks nobody the job goes on at once.
    #[inline(never)]
    pub(super) fn inquire(&mut self, job: u32) {
        let j = &self.jobs[job as usize];
        let (dispatcher, generation) = (j.dispatcher, j.generation);
        let d = &mut self.dispatchers[dispatcher as usize];
        let request = Request {
            client: self.workload.address(j.client),
            path: &self.model.paths[j.path as usize].path,
            key: &j.key.to_le_bytes(),
            tried: if j.of == NONE { &[] } else { &self.efforts[j.of as usize].tried },
            answers: None,
        };
        let watch = &mut self.views[d.fleet as usize].watch;
        let inquiry = watch.inquire(d.selector.as_mut(), &mut d.rng, &request, self.now, |_, _| ());
        self.with_selector(dispatcher, |_, _| {});
        self.ask_nobody(job);
        let Some(inquiry) = inquiry else { return self.send(job) };
        let inquiring = &mut self.inquiries[job as usize];
        (inquiring.open, inquiring.asked) = (true, true);
        (inquiring.enough, inquiring.pending) = (inquiry.enough, inquiry.whom().len());
        inquiring.answers.part = inquiry.part;
        inquiring.answers.given.clear();
        for &backend in inquiry.whom() {
            self.probe(dispatcher, backend, Some((job, generation)));
        }
        self.queue.push(self.now.saturating_add(inquiry.patience), Event::Unanswered(job, generation));
    }

    /// Whoever waits for room takes what comes free, and does not let it lie while servers are asked.
    pub(super) fn ask_nobody(&mut self, job: u32) {
        let generation = self.jobs[job as usize].generation;
        if self.inquiries.len() <= job as usize {
            self.inquiries.resize(job as usize + 1, Inquiring::default());
        }
        let inquiring = &mut self.inquiries[job as usize];
        if inquiring.tenant != tenant(generation) {
            (inquiring.tenant, inquiring.open, inquiring.asked) = (tenant(generation), false, false);
        }
    }

    /// A server has answered, or is not there to be asked.
    pub(super) fn answered(&mut self, job: u32, generation: u32, answer: Option<Answer>) {
        let inquiring = &mut self.inquiries[job as usize];
        if inquiring.tenant != tenant(generation) || !inquiring.open {
            return;
        }
        inquiring.pending -= 1;
        inquiring.answers.given.extend(answer);
        if inquiring.answers.given.len() >= inquiring.enough || inquiring.pending == 0 {
            self.go_on(job);
        }
    }

    /// A job has waited long enough.
    pub(super) fn unanswered(&mut self, job: u32, generation: u32) {
        let inquiring = &self.inquiries[job as usize];
        if inquiring.tenant == tenant(generation) && inquiring.open {
            self.go_on(job);
        }
    }

    /// The job is placed now, with what has been answered.
    fn go_on(&mut self, job: u32) {
        self.inquiries[job as usize].open = false;
        let j = &mut self.jobs[job as usize];
        if !j.wanted {
            return self.release(job);
        }
        if j.parent == NONE && !self.balancers_up[j.balancer as usize] {
            // It died with its balancer.
            j.fate = End::Reset;
            return self.answer(job);
        }
        self.send(job);
    }
}
