//! A server's queue, first in, first out, linked through the jobs: an arrival, a start and a withdrawal from the middle take
//! constant time and no memory of their own.

/// No job.
pub const NONE: u32 = u32::MAX;

/// A job's neighbours in the queue of its server. The host keeps it in the job and does not change it.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    next: u32,
    /// Undefined at the head of the queue.
    before: u32,
}

impl Links {
    /// Links of a job that is in no queue.
    pub const NONE: Links = Links { next: NONE, before: NONE };

    /// Keeps a number in their place, for a job that is in no queue.
    #[inline]
    pub fn of_number(number: u64) -> Links {
        Links { next: number as u32, before: (number >> 32) as u32 }
    }

    /// The number that [`Links::of_number`] keeps.
    #[inline]
    pub fn number(self) -> u64 {
        u64::from(self.before) << 32 | u64::from(self.next)
    }
}

/// A job that can wait in a server's queue. The host keeps its jobs in a slice and names them by their index.
pub trait Linked {
    /// Its place in the queue.
    fn links(&mut self) -> &mut Links;
}

/// The queue of one server.
#[derive(Debug)]
pub(super) struct WaitQueue {
    head: u32,
    tail: u32,
    len: u32,
}

impl WaitQueue {
    pub(super) const EMPTY: WaitQueue = WaitQueue { head: NONE, tail: NONE, len: 0 };

    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub(super) fn push(&mut self, job: u32, jobs: &mut [impl Linked]) {
        let tail = std::mem::replace(&mut self.tail, job);
        *jobs[job as usize].links() = Links { next: NONE, before: tail };
        if tail == NONE {
            self.head = job;
        } else {
            jobs[tail as usize].links().next = job;
        }
        self.len += 1;
    }

    #[inline]
    pub(super) fn pop(&mut self, jobs: &mut [impl Linked]) -> Option<u32> {
        let job = self.head;
        if job == NONE {
            return None;
        }
        self.head = jobs[job as usize].links().next;
        if self.head == NONE {
            self.tail = NONE;
        }
        self.len -= 1;
        Some(job)
    }

    /// Removes a job that is in the queue, wherever it stands.
    pub(super) fn remove(&mut self, job: u32, jobs: &mut [impl Linked]) {
        let Links { next, before } = *jobs[job as usize].links();
        let before = if self.head == job { NONE } else { before };
        match before {
            NONE => self.head = next,
            before => jobs[before as usize].links().next = next,
        }
        match next {
            NONE => self.tail = before,
            next => jobs[next as usize].links().before = before,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::rng::{Rng, Source};
    use std::collections::VecDeque;

    struct Job(Links);

    impl Linked for Job {
        fn links(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    /// Compares with a `VecDeque`.
    #[test]
    fn is_fifo_after_removals_from_the_middle() {
        let mut rng = Rng::stream(7, "test", 0);
        let mut jobs: Vec<Job> = (0..20).map(|_| Job(Links::NONE)).collect();
        let (mut queue, mut expected) = (WaitQueue::EMPTY, VecDeque::new());
        for _ in 0..10_000 {
            let job = rng.below(20) as u32;
            match (rng.below(3), expected.iter().position(|&other| other == job)) {
                (0, _) => assert_eq!(queue.pop(&mut jobs), expected.pop_front()),
                (_, Some(at)) => {
                    queue.remove(job, &mut jobs);
                    expected.remove(at);
                }
                (_, None) => {
                    queue.push(job, &mut jobs);
                    expected.push_back(job);
                }
            }
            assert_eq!(queue.len() as usize, expected.len());
        }
    }
}
