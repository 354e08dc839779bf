//! The queue at the balancer: where requests wait while every server is at its limit. FIFO, bounded by `limit` and `timeout`.
//! One queue for all servers wastes none: the first server with room takes the first request. Queues at the servers fill
//! while other servers are idle.

use std::collections::VecDeque;

#[cfg(feature = "config")]
use schemars::JsonSchema;
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize};

use super::catalog::{Doc, Issues, Policy, PoolFacts};
use crate::units::Nanos;

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "balancer queue",
    idea: "Requests wait at the balancer while every server is at its `max_in_flight`; the first server with room takes the first request.",
    source: "HAProxy (maxconn, maxqueue, timeout queue); nginx Plus (max_conns, queue)",
    scenario: Some("limits-and-queue"),
};

/// How many requests wait at the balancer, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "Queue"))]
pub struct Rules {
    /// Most requests that wait, in each shard, at least 1; default 100. Further ones are rejected. HAProxy's `maxqueue`.
    pub limit: u32,
    /// Longest wait, above 0; default 1 s. The request is rejected then. HAProxy's `timeout queue`.
    pub timeout: Nanos,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { limit: 100, timeout: Nanos::from_secs(1) }
    }
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        let help = "without `queue`, requests are rejected at once";
        issues.require(self.limit > 0, "limit", "`limit` of a queue must be above zero").help(help);
        issues.require(self.timeout > Nanos::ZERO, "timeout", "`timeout` of a queue must be above zero").help(help);
    }

    fn check_pool(&self, pool: &PoolFacts<'_>, issues: &mut Issues) {
        let limited = pool.rules.concurrency.is_some() || pool.servers.iter().all(|s| s.max_in_flight.is_some());
        issues
            .require(limited, "", "no request would ever wait: a server without `max_in_flight` always has room")
            .help("give every server of the pool a `max_in_flight`");
    }
}

impl Rules {
    /// How requests wait where a strategy has limits of its own ([`crate::select::Selector::limit`]) and the pool configures
    /// no queue. The length is unlimited, since such a strategy relies on queueing at the balancer; the timeout is a usual
    /// idle timeout. Clients give up before that.
    pub const OF_STRATEGIES: Rules = Rules { limit: u32::MAX, timeout: Nanos::from_secs(60) };
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Clone, Debug)]
struct Place<T> {
    ticket: u64,
    deadline: Nanos,
    /// `None` where the request has left the queue.
    who: Option<T>,
}

/// The waiting requests.
#[derive(Clone, Debug)]
pub struct Waiting<T> {
    rules: Rules,
    /// In order of arrival, and so of deadline: all have the same timeout.
    places: VecDeque<Place<T>>,
    /// Requests that `pop` skipped because they timed out; `expire` returns them.
    late: Vec<T>,
    waiting: u32,
    next: u64,
}

impl<T> Waiting<T> {
    /// An empty queue.
    pub fn new(rules: Rules) -> Waiting<T> {
        Waiting { rules, places: VecDeque::new(), late: Vec::new(), waiting: 0, next: 0 }
    }

    /// The rules of the queue.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Number of waiting requests.
    pub fn len(&self) -> usize {
        self.waiting as usize
    }

    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Adds a request; returns it as the error when the queue is full. Requests that timed out still count until
    /// [`Waiting::expire`] or [`Waiting::pop`] has skipped them.
    pub fn push(&mut self, now: Nanos, who: T) -> Result<Ticket, T> {
        if self.waiting >= self.rules.limit {
            return Err(who);
        }
        let ticket = self.next;
        self.next += 1;
        self.waiting += 1;
        self.places.push_back(Place { ticket, deadline: now.saturating_add(self.rules.timeout), who: Some(who) });
        Ok(Ticket(ticket))
    }

    /// The first request that has not timed out. Those that have are kept for [`Waiting::expire`].
    pub fn pop(&mut self, now: Nanos) -> Option<T> {
        while let Some(Place { deadline, who, .. }) = self.places.pop_front() {
            let Some(who) = who else { continue };
            self.waiting -= 1;
            if deadline > now {
                return Some(who);
            }
            self.late.push(who);
        }
        None
    }

    /// The first request that `fits` and has not timed out; the others keep their positions.
    pub fn pop_fitting(&mut self, now: Nanos, mut fits: impl FnMut(&T) -> bool) -> Option<T> {
        let fitting = |place: &Place<T>| place.deadline > now && place.who.as_ref().is_some_and(&mut fits);
        let at = self.places.iter().position(fitting)?;
        let who = self.places[at].who.take()?;
        self.waiting -= 1;
        self.clear_front();
        Some(who)
    }

    /// Replaces the rules. No waiting request is removed at once, but none waits longer than the new timeout.
    pub fn set_rules(&mut self, now: Nanos, rules: Rules) {
        self.rules = rules;
        let latest = now.saturating_add(rules.timeout);
        self.places.iter_mut().for_each(|place| place.deadline = place.deadline.min(latest));
    }

    fn clear_front(&mut self) {
        while self.places.front().is_some_and(|place| place.who.is_none()) {
            self.places.pop_front();
        }
    }

    /// Requests that timed out, in order.
    pub fn expire(&mut self, now: Nanos) -> Vec<T> {
        while let Some(place) = self.places.front() {
            if place.who.is_some() && place.deadline > now {
                break;
            }
            if let Some(who) = self.places.pop_front().and_then(|place| place.who) {
                self.waiting -= 1;
                self.late.push(who);
            }
        }
        std::mem::take(&mut self.late)
    }

    /// Deadline of the request that times out next.
    pub fn next_expiry(&self) -> Option<Nanos> {
        if !self.late.is_empty() {
            return Some(Nanos::ZERO);
        }
        self.places.iter().find(|place| place.who.is_some()).map(|place| place.deadline)
    }

    /// Removes a request; `None` if it is no longer in the queue.
    pub fn cancel(&mut self, Ticket(ticket): Ticket) -> Option<T> {
        let at = self.places.binary_search_by_key(&ticket, |place| place.ticket).ok()?;
        let who = self.places[at].who.take()?;
        self.waiting -= 1;
        self.clear_front();
        Some(who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(limit: u32) -> Waiting<char> {
        Waiting::new(Rules { limit, timeout: Nanos(100) })
    }

    #[test]
    fn first_come_first_served_up_to_the_limit() {
        let mut queue = queue(2);
        assert!(queue.push(Nanos(0), 'a').is_ok() && queue.push(Nanos(1), 'b').is_ok());
        assert_eq!(queue.push(Nanos(2), 'c'), Err('c'));
        assert_eq!(queue.pop(Nanos(3)), Some('a'));
        assert!(queue.push(Nanos(4), 'd').is_ok());
        assert_eq!((queue.pop(Nanos(5)), queue.pop(Nanos(5)), queue.pop(Nanos(5))), (Some('b'), Some('d'), None));
        assert_eq!(super::tests::queue(0).push(Nanos(0), 'x'), Err('x'), "no request may wait");
    }

    #[test]
    fn timed_out_requests_are_skipped_and_expire() {
        let mut queue = queue(9);
        for (at, who) in [(0, 'a'), (50, 'b'), (120, 'c')] {
            queue.push(Nanos(at), who).unwrap();
        }
        assert_eq!(queue.next_expiry(), Some(Nanos(100)));
        assert!(queue.expire(Nanos(99)).is_empty());
        assert_eq!(queue.expire(Nanos(100)), ['a'], "at its deadline it is too late");
        assert_eq!(queue.pop(Nanos(160)), Some('c'), "b is too late");
        assert_eq!(
            (queue.len(), queue.next_expiry()),
            (0, Some(Nanos::ZERO)),
            "b has timed out and is not yet returned"
        );
        assert_eq!(queue.expire(Nanos(160)), ['b']);
        assert_eq!(queue.next_expiry(), None);
    }

    #[test]
    fn a_request_that_does_not_fit_keeps_its_place_while_others_pass() {
        let mut queue = queue(3);
        for (at, who) in [(0, 'a'), (1, 'b'), (2, 'c')] {
            queue.push(Nanos(at), who).unwrap();
        }
        assert_eq!(queue.pop_fitting(Nanos(3), |&who| who != 'a'), Some('b'));
        assert_eq!(queue.pop_fitting(Nanos(3), |_| false), None);
        assert_eq!((queue.len(), queue.pop_fitting(Nanos(100), |_| true)), (2, Some('c')), "a is too late");
        assert_eq!(queue.expire(Nanos(100)), ['a']);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_shorter_timeout_applies_to_queued_requests() {
        let mut queue = queue(3);
        queue.push(Nanos(0), 'a').unwrap();
        queue.push(Nanos(60), 'b').unwrap();
        queue.set_rules(Nanos(70), Rules { limit: 0, timeout: Nanos(50) });
        assert_eq!(queue.push(Nanos(71), 'c'), Err('c'));
        assert_eq!(queue.expire(Nanos(100)), ['a']);
        assert_eq!(queue.expire(Nanos(120)), ['b'], "not at 160");
    }

    #[test]
    fn a_removed_request_is_not_returned() {
        let mut queue = queue(3);
        let a = queue.push(Nanos(0), 'a').unwrap();
        let b = queue.push(Nanos(1), 'b').unwrap();
        queue.push(Nanos(2), 'c').unwrap();
        assert_eq!((queue.cancel(b), queue.cancel(b)), (Some('b'), None));
        assert_eq!(queue.len(), 2);
        assert!(queue.push(Nanos(3), 'd').is_ok(), "the place is free again");
        assert_eq!(queue.pop(Nanos(4)), Some('a'));
        assert_eq!(queue.cancel(a), None);
        assert_eq!((queue.pop(Nanos(4)), queue.next_expiry()), (Some('c'), Some(Nanos(103))));
    }
}
