//! Where a pick may go: subsets, priority levels and zones narrow the servers before any strategy chooses.
//!
//! A fleet is divided into *parts* ([`crate::fleet::Part`]): one for each priority level and, where zones matter, one for
//! each zone of each level; servers outside the balancer's subset are in none. Each part has a selector of its own, which
//! knows no others: a hash's ring holds only the part's servers, a round robin goes round them, an average is kept for them.
//! That costs a selector for each part and nothing per pick but one draw, and no strategy has to know of it. The other way,
//! to hand a strategy the servers that it may not have, would cost a look at each of those for each candidate, and a hash
//! would pour a whole zone's keys on the neighbours of those left out.
//!
//! A pick begins in a part that is drawn by the parts' shares, which [`super::watch::Watch`] works out when health or
//! membership changes. Where that part has nobody for the request (all tried or full), its level is asked as a whole, and
//! then the levels in order: `None` still means that nobody is left.
//!
//! A server in two parts (its level and its zone) is counted in both, and both selectors hear what becomes of its requests.

use super::Rules;
use crate::fleet::{BackendId, Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::Table;
use crate::select::{Command, Context, Finished, Inquiry, LoadReport, Pick, Request, Selector, Wants};
use crate::units::Nanos;

impl Rules {
    /// Whether picks are narrowed, so that the fleet is divided.
    pub fn narrows(&self) -> bool {
        self.subset.is_some() || self.priorities.is_some() || self.zones.is_some()
    }

    /// What decides how the fleet is divided: with another one its selectors begin anew.
    pub fn division(&self) -> impl PartialEq + use<> {
        (self.subset, self.priorities.is_some(), self.zones.is_some())
    }
}

/// A selector of this strategy for a pool with these rules: itself, or one for each part of the fleet.
pub fn build(table: &Table, rules: &Rules, rng: &mut Rng) -> Box<dyn Selector> {
    build_for(table, rules.narrows(), rng)
}

/// The same where it is known whether the fleet is divided.
pub fn build_for(table: &Table, narrows: bool, rng: &mut Rng) -> Box<dyn Selector> {
    if narrows {
        let limits = table.build(&mut rng.clone()).has_limits();
        Box::new(Narrowed { table: table.clone(), limits, seats: Vec::new(), places: Vec::new() })
    } else {
        table.build(rng)
    }
}

/// A selector for each part of a divided fleet.
struct Narrowed {
    table: Table,
    /// The strategy limits what is at a server at once.
    limits: bool,
    seats: Vec<Desk>,
    /// By slot: the parts whose selectors know its tenant.
    places: Vec<[Option<usize>; 2]>,
}

struct Desk {
    selector: Box<dyn Selector>,
    /// When it wants to be woken.
    wakes: Vec<Nanos>,
}

/// What a part's selector is lent.
fn lent<'a>(cx: &'a mut Context<'_>, part: usize) -> Context<'a> {
    Context { now: cx.now, fleet: &cx.fleet.parts()[part].fleet, rng: &mut *cx.rng, truth: cx.truth }
}

impl Narrowed {
    fn places_of(&self, slot: u32) -> [Option<usize>; 2] {
        self.places.get(slot as usize).copied().unwrap_or([None; 2])
    }

    fn ask(&mut self, part: usize, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        if cx.fleet.parts()[part].fleet.eligible().is_empty() {
            return None;
        }
        let pick = self.seats.get_mut(part)?.selector.pick(request, &mut lent(cx, part))?;
        // Which of the slot's parts it was: only that one hears its tag again.
        let second = self.places_of(pick.backend.slot)[1] == Some(part);
        Some(Pick { tag: pick.tag << 1 | u64::from(second), ..pick })
    }

    /// The part that picked this slot with this tag, if its selector still knows the slot.
    fn chosen_by(&self, slot: u32, tag: u64) -> Option<usize> {
        self.places_of(slot)[(tag & 1) as usize]
    }

    fn each_of(&mut self, slot: u32, cx: &mut Context<'_>, tell: impl Fn(usize, &mut dyn Selector, &mut Context<'_>)) {
        for part in self.places_of(slot).into_iter().flatten() {
            if part < cx.fleet.parts().len() {
                tell(part, self.seats[part].selector.as_mut(), &mut lent(cx, part));
            }
        }
    }
}

impl Selector for Narrowed {
    fn inquire(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Inquiry> {
        if cx.fleet.parts().is_empty() {
            return None;
        }
        let part = cx.fleet.draw_part(cx.rng);
        let mut inquiry = self.seats.get_mut(part)?.selector.inquire(request, &mut lent(cx, part))?;
        inquiry.part = part as u32;
        Some(inquiry)
    }

    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let parts = cx.fleet.parts();
        if parts.is_empty() {
            return None;
        }
        // Whose servers were asked chooses among their answers.
        let asked = request.answers.map(|answers| answers.part as usize).filter(|&part| part < parts.len());
        let first = asked.unwrap_or_else(|| cx.fleet.draw_part(cx.rng));
        if let Some(pick) = self.ask(first, request, cx) {
            return Some(pick);
        }
        // Rare: its level as a whole, then the levels in order. Parts stand in the order in which their first server came.
        let level = parts[first].level;
        let highest = parts.iter().map(|part| part.level).max().unwrap_or(0);
        for level in std::iter::once(level).chain((0..=highest).filter(|&other| other != level)) {
            let whole = parts.iter().position(|part| part.whole && part.level == level);
            if let Some(part) = whole.filter(|&part| part != first)
                && let Some(pick) = self.ask(part, request, cx)
            {
                return Some(pick);
            }
        }
        None
    }

    fn has_limits(&self) -> bool {
        self.limits
    }

    fn wants(&self) -> Wants {
        self.table.wants()
    }

    fn limit(&self, slot: u32, fleet: &Fleet) -> Option<u32> {
        let parts = self.places_of(slot).into_iter().flatten();
        parts.filter_map(|part| self.seats.get(part)?.selector.limit(slot, &fleet.parts().get(part)?.fleet)).min()
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        let chosen_by = self.chosen_by(finished.backend.slot, finished.tag);
        self.each_of(finished.backend.slot, cx, |part, selector, cx| {
            let tag = if Some(part) == chosen_by { finished.tag >> 1 } else { 0 };
            selector.on_finish(&Finished { tag, ..*finished }, cx);
        });
    }

    fn on_refused(&mut self, pick: &Pick, cx: &mut Context<'_>) {
        let chosen_by = self.chosen_by(pick.backend.slot, pick.tag);
        self.each_of(pick.backend.slot, cx, |part, selector, cx| {
            if Some(part) == chosen_by {
                selector.on_refused(&Pick { tag: pick.tag >> 1, ..*pick }, cx);
            }
        });
    }

    fn on_report(&mut self, backend: BackendId, load: &LoadReport, cx: &mut Context<'_>) {
        self.each_of(backend.slot, cx, |_, selector, cx| selector.on_report(backend, load, cx));
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        while self.seats.len() < cx.fleet.parts().len() {
            self.seats.push(Desk { selector: self.table.build(cx.rng), wakes: Vec::new() });
        }
        let mut told: Vec<Vec<Change>> = vec![Vec::new(); cx.fleet.parts().len()];
        let mut tell = |part: Option<usize>, change: Change| {
            if let Some(changes) = part.and_then(|part| told.get_mut(part)) {
                changes.push(change);
            }
        };
        for &change in changes {
            let (Change::Joined(id) | Change::Left(id) | Change::Up(id) | Change::Down(id) | Change::Weight(id)) =
                change;
            let slot = id.slot as usize;
            if self.places.len() <= slot {
                self.places.resize(slot + 1, [None; 2]);
            }
            let before = self.places[slot];
            match change {
                // It joined, or it changed parts.
                Change::Joined(_) => {
                    let mut now = [None; 2];
                    if cx.fleet.is_current(id) {
                        now.iter_mut().zip(cx.fleet.parts_of(id.slot)).for_each(|(place, part)| *place = Some(part));
                    }
                    for part in before.into_iter().flatten().filter(|part| !now.contains(&Some(*part))) {
                        tell(Some(part), Change::Left(id));
                    }
                    now.into_iter().filter(|part| !before.contains(part)).for_each(|part| tell(part, change));
                    self.places[slot] = now;
                }
                Change::Left(_) => {
                    before.into_iter().for_each(|part| tell(part, change));
                    self.places[slot] = [None; 2];
                }
                Change::Up(_) | Change::Down(_) | Change::Weight(_) => {
                    before.into_iter().for_each(|part| tell(part, change));
                }
            }
        }
        for (part, changes) in told.iter().enumerate().filter(|(_, changes)| !changes.is_empty()) {
            self.seats[part].selector.on_fleet(changes, &mut lent(cx, part));
        }
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Option<Command> {
        let parts = self.seats.len().min(cx.fleet.parts().len());
        for part in 0..parts {
            let seat = &mut self.seats[part];
            let command = seat.selector.poll_command(&mut lent(cx, part));
            if let Some(Command::WakeAt(at)) = command {
                seat.wakes.push(at);
            }
            if command.is_some() {
                return command;
            }
        }
        None
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) {
        let parts = self.seats.len().min(cx.fleet.parts().len());
        for part in 0..parts {
            let seat = &mut self.seats[part];
            let waits = seat.wakes.len();
            seat.wakes.retain(|&at| at > cx.now);
            if seat.wakes.len() < waits {
                seat.selector.on_wake(&mut lent(cx, part));
            }
        }
    }

    fn score(&self, slot: u32, fleet: &Fleet, now: Nanos) -> Option<f64> {
        let part = fleet.parts_of(slot).next()?;
        self.seats.get(part)?.selector.score(slot, &fleet.parts()[part].fleet, now)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::policy::watch::{Newcomer, Seat, Watch};
    use crate::policy::zone;
    use crate::select::{Answers, MOST_CHOICES, Outcome, catalog};

    /// What was heard, by which part, with which tag.
    type Heard = (&'static str, usize, u64);

    /// Writes down what it is told, picks the first that it may, and gives picks numbers.
    struct Spy {
        part: usize,
        picks: u64,
        heard: Arc<Mutex<Vec<Heard>>>,
    }

    impl Selector for Spy {
        fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
            self.picks += 1;
            self.heard.lock().unwrap().push(("picks", self.part, self.picks));
            let slot = crate::select::candidates(request, cx.fleet).next()?;
            Some(Pick { backend: cx.fleet.id(slot), tag: self.picks })
        }

        fn on_finish(&mut self, finished: &Finished, _: &mut Context<'_>) {
            self.heard.lock().unwrap().push(("end", self.part, finished.tag));
        }

        fn on_refused(&mut self, pick: &Pick, _: &mut Context<'_>) {
            self.heard.lock().unwrap().push(("refused", self.part, pick.tag));
        }
    }

    /// Two zones of two servers each; the parts are the level and its zones. This balancer stands in zone a.
    fn divided(strategy: &str) -> (Watch, Narrowed, Rng) {
        let zones = zone::Rules { prefer: zone::Prefer::Residual, minimum: 1, traffic: Vec::new() };
        let rules = Rules { zones: Some(zones), ..Rules::default() };
        let seat = Seat { zone: Some("a".into()), ..Seat::default() };
        let mut watch = Watch::new(Arc::new(rules)).seated(seat);
        watch.join_all(
            [("s0", "a"), ("s1", "a"), ("s2", "b"), ("s3", "b")]
                .into_iter()
                .map(|(name, zone)| Newcomer { zone: Some(zone), ..Newcomer::from((name, 1, None)) }),
        );
        let table = (catalog::find(strategy).unwrap().default)();
        let mut narrowed = Narrowed { table, limits: false, seats: Vec::new(), places: Vec::new() };
        let mut rng = Rng::stream(1, "test", 0);
        let changes = watch.fleet.take_changes();
        let mut cx = Context { now: Nanos(1), fleet: &watch.fleet, rng: &mut rng, truth: None };
        narrowed.on_fleet(&changes, &mut cx);
        (watch, narrowed, rng)
    }

    fn request(tried: &[u32]) -> Request<'_> {
        Request { client: [10, 0, 0, 1].into(), path: "/", key: b"key", tried, answers: None }
    }

    /// A server stands in two parts, and each has a selector with words of its own: who did not pick hears no word of it.
    #[test]
    fn only_the_part_that_picked_hears_its_tag_and_its_refusals() {
        let (watch, mut narrowed, mut rng) = divided("random");
        let heard = Arc::new(Mutex::new(Vec::new()));
        for (part, seat) in narrowed.seats.iter_mut().enumerate() {
            seat.selector = Box::new(Spy { part, picks: 40 + 10 * part as u64, heard: Arc::clone(&heard) });
        }
        let told = || std::mem::take(&mut *heard.lock().unwrap());
        let mut cx = Context { now: Nanos(1), fleet: &watch.fleet, rng: &mut rng, truth: None };
        let (mut whole, mut zones) = (0, 0);
        for tried in [&[][..], &[0, 1]] {
            let pick = narrowed.pick(&request(tried), &mut cx).unwrap();
            let asked = told();
            let &(_, part, tag) = asked.last().unwrap();
            let slot = pick.backend.slot;
            let others: Vec<usize> = cx.fleet.parts_of(slot).filter(|&other| other != part).collect();
            assert_eq!(others.len(), 1);
            *if cx.fleet.parts()[part].whole { &mut whole } else { &mut zones } += 1;
            narrowed.on_refused(&pick, &mut cx);
            assert_eq!(told(), [("refused", part, tag)]);
            let finished = Finished { backend: pick.backend, latency: Nanos(5), outcome: Outcome::Ok, tag: pick.tag };
            narrowed.on_finish(&finished, &mut cx);
            let mut ends = told();
            ends.sort_unstable();
            let mut expected = [("end", part, tag), ("end", others[0], 0)];
            expected.sort_unstable();
            assert_eq!(ends, expected);
            // A cookie has placed this one: nobody has a word about it.
            narrowed.on_finish(&Finished { tag: 0, ..finished }, &mut cx);
            assert!(told().iter().all(|&(what, _, tag)| (what, tag) == ("end", 0)));
        }
        assert_eq!((whole, zones), (1, 1), "one by the zone, and where that is used up one by its level");
    }

    /// The part that asked is the part that chooses.
    #[test]
    fn answers_are_chosen_among_by_the_part_that_asked() {
        let (watch, mut narrowed, mut rng) = divided("prequal_synchronous");
        assert!(narrowed.wants().inquires);
        let mut cx = Context { now: Nanos(1), fleet: &watch.fleet, rng: &mut rng, truth: None };
        let inquiry = narrowed.inquire(&request(&[]), &mut cx).unwrap();
        let slots: Vec<u32> = inquiry.whom().iter().map(|backend| backend.slot).collect();
        assert!(slots.len() <= MOST_CHOICES && slots.iter().all(|&slot| slot < 2), "of its own zone: {slots:?}");
        assert!(!cx.fleet.parts()[inquiry.part as usize].whole);
        let level = cx.fleet.parts().iter().position(|part| part.whole).unwrap() as u32;
        for (part, best) in [(inquiry.part, 1), (level, 3)] {
            let given = [(0, 9), (best, 0)].map(|(slot, rif)| crate::select::Answer {
                backend: cx.fleet.id(slot),
                load: LoadReport { in_server: Some(rif), latency: f64::from(rif + 1), ..LoadReport::default() },
            });
            let answers = Answers { part, given: given.to_vec() };
            let pick = narrowed.pick(&Request { answers: Some(&answers), ..request(&[]) }, &mut cx).unwrap();
            assert_eq!(pick.backend.slot, best);
        }
        // Of a part that is no more: any will do.
        let answers = Answers { part: 99, given: Vec::new() };
        assert!(narrowed.pick(&Request { answers: Some(&answers), ..request(&[]) }, &mut cx).is_some());
    }
}
