//! Where a pick may go: subsets, priority levels and zones narrow the servers before any strategy chooses.
//!
//! A fleet is divided into *parts* ([`crate::fleet::Partition`]): one for each priority level and, where zones matter, one for
//! each zone of each level; servers outside the balancer's subset are in none. Each part has a selector of its own, which
//! knows only that part's servers: a hash ring, a rotation or a moving average covers that part alone. This costs one
//! selector per part and one random draw per pick, and no strategy has to support it. The alternative, to pass a strategy
//! the servers to exclude, costs a check of the exclusions for each candidate, and a hash would move all keys of an excluded
//! zone to the neighbours of its servers.
//!
//! A pick starts in a part drawn at random by the parts' shares, which [`super::pool::ServerPool`] updates when health or
//! membership changes. Where that part has no server for the request (all tried or full), its whole level is tried, and then
//! the levels in order: `None` still means that no server is left.
//!
//! A server in two parts (its level and its zone) is counted in both, and both selectors receive the results of its
//! requests.

use super::Rules;
use crate::fleet::{BackendId, Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::StrategyConfig;
use crate::select::{
    Command, Context, Explanation, Finished, LoadReport, Pick, ProbeRequest, Request, Selector, candidates,
};
use crate::units::Nanos;

impl Rules {
    /// Whether the rules restrict picks, so that the fleet is divided.
    pub fn narrows(&self) -> bool {
        self.subset.is_some() || self.priorities.is_some() || self.zones.is_some()
    }

    /// The rules that determine how the fleet is divided. When they change, new selectors are built.
    pub fn division(&self) -> impl PartialEq + use<> {
        (self.subset, self.priorities.is_some(), self.zones.is_some())
    }
}

/// A selector of this strategy for a pool with these rules: the strategy itself, or one selector per part of the fleet.
pub fn build(table: &StrategyConfig, rules: &Rules, rng: &mut Rng) -> Box<dyn Selector> {
    build_for(table, rules.narrows(), rng)
}

/// The same as [`build`], where the caller knows whether the fleet is divided.
pub fn build_for(table: &StrategyConfig, narrows: bool, rng: &mut Rng) -> Box<dyn Selector> {
    if narrows {
        Box::new(PartitionedSelector { table: table.clone(), selectors: Vec::new(), places: Vec::new() })
    } else {
        table.build(rng)
    }
}

/// A selector for each part of a divided fleet.
struct PartitionedSelector {
    table: StrategyConfig,
    selectors: Vec<SelectorState>,
    /// By slot: the parts whose selectors know the slot's current backend.
    places: Vec<[Option<usize>; 2]>,
}

struct SelectorState {
    selector: Box<dyn Selector>,
    /// When the selector's timer is due.
    wakes: Vec<Nanos>,
}

/// What a part's selector borrows for a call.
fn lent<'a>(cx: &'a mut Context<'_>, part: usize) -> Context<'a> {
    Context { now: cx.now, fleet: &cx.fleet.partitions()[part].fleet, rng: &mut *cx.rng, truth: cx.truth }
}

impl PartitionedSelector {
    fn places_of(&self, slot: u32) -> [Option<usize>; 2] {
        self.places.get(slot as usize).copied().unwrap_or([None; 2])
    }

    fn ask(&mut self, part: usize, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        if cx.fleet.partitions()[part].fleet.eligible().is_empty() {
            return None;
        }
        let pick = self.selectors.get_mut(part)?.selector.pick(request, &mut lent(cx, part))?;
        // Which of the slot's parts made the pick: only that one gets its tag back.
        let second = self.places_of(pick.backend.slot)[1] == Some(part);
        Some(Pick { tag: pick.tag << 1 | u64::from(second), ..pick })
    }

    /// The part that picked this slot with this tag, if its selector still knows the slot.
    fn chosen_by(&self, slot: u32, tag: u64) -> Option<usize> {
        self.places_of(slot)[(tag & 1) as usize]
    }

    fn each_of(&mut self, slot: u32, cx: &mut Context<'_>, tell: impl Fn(usize, &mut dyn Selector, &mut Context<'_>)) {
        for part in self.places_of(slot).into_iter().flatten() {
            if part < cx.fleet.partitions().len() {
                tell(part, self.selectors[part].selector.as_mut(), &mut lent(cx, part));
            }
        }
    }
}

impl Selector for PartitionedSelector {
    fn inquire(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<ProbeRequest> {
        if cx.fleet.partitions().is_empty() {
            return None;
        }
        let part = cx.fleet.draw_partition(cx.rng);
        let mut inquiry = self.selectors.get_mut(part)?.selector.inquire(request, &mut lent(cx, part))?;
        inquiry.part = part as u32;
        Some(inquiry)
    }

    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let parts = cx.fleet.partitions();
        if parts.is_empty() {
            return None;
        }
        // Replies to probes go to the part that sent the probes.
        let asked = request.answers.map(|answers| answers.part as usize).filter(|&part| part < parts.len());
        let first = asked.unwrap_or_else(|| cx.fleet.draw_partition(cx.rng));
        if let Some(pick) = self.ask(first, request, cx) {
            return Some(pick);
        }
        // Rare: the whole level, then the levels in order. Parts are in the order in which their first server joined.
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

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let parts = cx.fleet.partitions();
        if parts.is_empty() {
            return Explanation::default();
        }
        let asked = request.answers.map(|answers| answers.part as usize).filter(|&part| part < parts.len());
        let part = asked.unwrap_or_else(|| cx.fleet.draw_partition(cx.rng));
        // Where the part has no candidate, the pick goes on to others.
        match self.selectors.get(part) {
            Some(state) if candidates(request, &parts[part].fleet).next().is_some() => {
                let explanation = state.selector.explain(request, &mut lent(cx, part));
                explanation.completed(state.selector.as_ref(), &parts[part].fleet, cx.now)
            }
            _ => Explanation::default(),
        }
    }

    fn limit(&self, slot: u32, fleet: &Fleet) -> Option<u32> {
        let parts = self.places_of(slot).into_iter().flatten();
        parts
            .filter_map(|part| self.selectors.get(part)?.selector.limit(slot, &fleet.partitions().get(part)?.fleet))
            .min()
    }

    /// As its parts are, which may come later.
    fn is_silent(&self) -> bool {
        self.table.build(&mut Rng::stream(0, "asked", 0)).is_silent()
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
        while self.selectors.len() < cx.fleet.partitions().len() {
            self.selectors.push(SelectorState { selector: self.table.build(cx.rng), wakes: Vec::new() });
        }
        let mut told: Vec<Vec<Change>> = vec![Vec::new(); cx.fleet.partitions().len()];
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
                // The server joined, or it changed parts.
                Change::Joined(_) => {
                    let mut now = [None; 2];
                    if cx.fleet.is_current(id) {
                        now.iter_mut()
                            .zip(cx.fleet.partitions_of(id.slot))
                            .for_each(|(place, part)| *place = Some(part));
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
            self.selectors[part].selector.on_fleet(changes, &mut lent(cx, part));
        }
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Option<Command> {
        let parts = self.selectors.len().min(cx.fleet.partitions().len());
        for part in 0..parts {
            let state = &mut self.selectors[part];
            let command = state.selector.poll_command(&mut lent(cx, part));
            if let Some(Command::WakeAt(at)) = command {
                state.wakes.push(at);
            }
            if command.is_some() {
                return command;
            }
        }
        None
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) {
        let parts = self.selectors.len().min(cx.fleet.partitions().len());
        for part in 0..parts {
            let state = &mut self.selectors[part];
            let waits = state.wakes.len();
            state.wakes.retain(|&at| at > cx.now);
            if state.wakes.len() < waits {
                state.selector.on_wake(&mut lent(cx, part));
            }
        }
    }

    fn score(&self, slot: u32, fleet: &Fleet, now: Nanos) -> Option<f64> {
        let part = fleet.partitions_of(slot).next()?;
        self.selectors.get(part)?.selector.score(slot, &fleet.partitions()[part].fleet, now)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::policy::pool::{NewServer, ServerPool, ShardId};
    use crate::policy::zone;
    use crate::select::{MOST_CHOICES, Outcome, ProbeReplies, catalog};

    /// A received event: its kind, the part, the tag.
    type Heard = (&'static str, usize, u64);

    /// Records the calls it receives, picks the first allowed server, and numbers its picks.
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

    /// Two zones of two servers each; the parts are the level and its zones. This balancer is in zone a.
    fn divided(strategy: &str) -> (ServerPool, PartitionedSelector, Rng) {
        let zones = zone::Rules { min_servers: Some(1), ..zone::Rules::default() };
        let rules = Rules { zones: Some(zones), ..Rules::default() };
        let shard_id = ShardId { zone: Some("a".into()), ..ShardId::default() };
        let mut server_pool = ServerPool::new(Arc::new(rules)).for_shard(shard_id);
        server_pool.join_all(
            [("s0", "a"), ("s1", "a"), ("s2", "b"), ("s3", "b")]
                .into_iter()
                .map(|(name, zone)| NewServer { zone: Some(zone), ..NewServer::from((name, 1, None)) }),
        );
        let table = (catalog::find(strategy).unwrap().default)();
        let mut partitioned = PartitionedSelector { table, selectors: Vec::new(), places: Vec::new() };
        let mut rng = Rng::stream(1, "test", 0);
        let changes = server_pool.fleet.take_changes();
        let mut cx = Context { now: Nanos(1), fleet: &server_pool.fleet, rng: &mut rng, truth: None };
        partitioned.on_fleet(&changes, &mut cx);
        (server_pool, partitioned, rng)
    }

    fn request(excluded: &[u32]) -> Request<'_> {
        Request { client: [10, 0, 0, 1].into(), path: "/", key: b"key", excluded, answers: None }
    }

    /// A server is in two parts, each with its own selector and tags: a part that did not make the pick gets no tag.
    #[test]
    fn only_the_picking_part_gets_its_tag_and_its_refusals() {
        let (server_pool, mut partitioned, mut rng) = divided("random");
        let heard = Arc::new(Mutex::new(Vec::new()));
        for (part, state) in partitioned.selectors.iter_mut().enumerate() {
            state.selector = Box::new(Spy { part, picks: 40 + 10 * part as u64, heard: Arc::clone(&heard) });
        }
        let told = || std::mem::take(&mut *heard.lock().unwrap());
        let mut cx = Context { now: Nanos(1), fleet: &server_pool.fleet, rng: &mut rng, truth: None };
        let (mut whole, mut zones) = (0, 0);
        for excluded in [&[][..], &[0, 1]] {
            let pick = partitioned.pick(&request(excluded), &mut cx).unwrap();
            let asked = told();
            let &(_, part, tag) = asked.last().unwrap();
            let slot = pick.backend.slot;
            let others: Vec<usize> = cx.fleet.partitions_of(slot).filter(|&other| other != part).collect();
            assert_eq!(others.len(), 1);
            *if cx.fleet.partitions()[part].whole { &mut whole } else { &mut zones } += 1;
            partitioned.on_refused(&pick, &mut cx);
            assert_eq!(told(), [("refused", part, tag)]);
            let finished = Finished { backend: pick.backend, latency: Nanos(5), outcome: Outcome::Ok, tag: pick.tag };
            partitioned.on_finish(&finished, &mut cx);
            let mut ends = told();
            ends.sort_unstable();
            let mut expected = [("end", part, tag), ("end", others[0], 0)];
            expected.sort_unstable();
            assert_eq!(ends, expected);
            // Session affinity placed this request: there is no tag.
            partitioned.on_finish(&Finished { tag: 0, ..finished }, &mut cx);
            assert!(told().iter().all(|&(what, _, tag)| (what, tag) == ("end", 0)));
        }
        assert_eq!((whole, zones), (1, 1), "one by the zone, and where that is used up one by its level");
    }

    /// The part that sent the probes makes the pick.
    #[test]
    fn probe_replies_go_to_the_part_that_probed() {
        let (server_pool, mut partitioned, mut rng) = divided("prequal_synchronous");
        let mut cx = Context { now: Nanos(1), fleet: &server_pool.fleet, rng: &mut rng, truth: None };
        let inquiry = partitioned.inquire(&request(&[]), &mut cx).unwrap();
        let slots: Vec<u32> = inquiry.targets().iter().map(|backend| backend.slot).collect();
        assert!(slots.len() <= MOST_CHOICES && slots.iter().all(|&slot| slot < 2), "of its own zone: {slots:?}");
        assert!(!cx.fleet.partitions()[inquiry.part as usize].whole);
        let level = cx.fleet.partitions().iter().position(|part| part.whole).unwrap() as u32;
        for (part, best) in [(inquiry.part, 1), (level, 3)] {
            let given = [(0, 9), (best, 0)].map(|(slot, rif)| crate::select::ProbeReply {
                backend: cx.fleet.id(slot),
                load: LoadReport { in_server: Some(rif), latency: f64::from(rif + 1), ..LoadReport::default() },
            });
            let answers = ProbeReplies { part, given: given.to_vec() };
            let pick = partitioned.pick(&Request { answers: Some(&answers), ..request(&[]) }, &mut cx).unwrap();
            assert_eq!(pick.backend.slot, best);
        }
        // The part no longer exists: any other part will do.
        let answers = ProbeReplies { part: 99, given: Vec::new() };
        assert!(partitioned.pick(&Request { answers: Some(&answers), ..request(&[]) }, &mut cx).is_some());
    }
}
