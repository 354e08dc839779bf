//! Counts, changes, draws and parts of a fleet.

use super::*;

#[test]
fn late_completions_of_a_former_generation_are_ignored() {
    let mut fleet = Fleet::of_weights(&[1, 1]);
    let old = fleet.id(0);
    fleet.started(old);
    fleet.leave(old);
    let new = fleet.join("s2", 1);
    assert_eq!((new.slot, new.generation), (0, 1));
    fleet.started(new);
    fleet.ended(old);
    assert_eq!(fleet.in_flight(), [1, 0]);
}

#[test]
fn changes_are_reported_once() {
    let mut fleet = Fleet::of_weights(&[1, 3]);
    fleet.take_changes();
    let id = fleet.id(1);
    fleet.set_healthy(id, false);
    fleet.set_healthy(id, false);
    fleet.set_weight(id, 0);
    fleet.set_healthy(id, true);
    assert_eq!(fleet.eligible(), [0], "a weight of zero gets nothing");
    fleet.set_weight(id, 2);
    assert_eq!(fleet.take_changes(), [Change::Down(id), Change::Weight(id), Change::Weight(id), Change::Up(id)]);
    assert_eq!(fleet.total_weight(), 3);
}

#[test]
fn weighted_draws_follow_the_weights() {
    // 40,000 draws with p = 1/4: the standard deviation of the count is 87; 4 of them are 346.
    let fleet = Fleet::of_weights(&[1, 0, 3]);
    let mut rng = Rng::stream(3, "test", 0);
    let light = (0..40_000).filter(|_| fleet.draw_weighted(&mut rng) == Some(0)).count();
    assert!((light as f64 - 10_000.0).abs() < 346.0, "{light}");
}

#[test]
fn parts_share_counts_and_see_only_their_servers() {
    let mut fleet = Fleet::of_weights(&[1, 2, 3, 4]);
    let id = |fleet: &Fleet, slot| fleet.id(slot);
    let (low, high) = (fleet.add_partition(0, true), fleet.add_partition(1, true));
    let ids: Vec<BackendId> = (0..4).map(|slot| id(&fleet, slot)).collect();
    fleet.started(ids[2]);
    fleet.take_changes();
    fleet.assign([(ids[0], vec![low], 1), (ids[1], vec![], 2), (ids[2], vec![high], 7), (ids[3], vec![high], 4)]);
    assert_eq!(fleet.eligible(), [0, 2, 3], "1 is unassigned");
    assert_eq!(fleet.take_changes().iter().filter(|change| matches!(change, Change::Down(_))).count(), 1);
    let part = |fleet: &Fleet, part: u32| fleet.partitions()[part as usize].fleet.clone();
    assert_eq!(part(&fleet, high).eligible(), [2, 3]);
    assert_eq!(part(&fleet, high).members().collect::<Vec<_>>(), [2, 3]);
    assert_eq!((part(&fleet, high).weight(2), fleet.weight(2)), (7, 3));
    fleet.started(ids[3]);
    fleet.ended(ids[2]);
    assert_eq!(part(&fleet, high).in_flight(), [0, 0, 0, 1]);
    fleet.set_healthy(ids[3], false);
    assert_eq!(part(&fleet, high).eligible(), [2]);
    fleet.set_healthy_all([(ids[3], true), (ids[2], false)]);
    assert_eq!(part(&fleet, high).eligible(), [3]);
    // From one part to the other, with what it has in flight.
    fleet.assign([(ids[3], vec![low], 4)]);
    assert_eq!((part(&fleet, high).eligible().len(), part(&fleet, low).in_flight()[3]), (0, 1));
    fleet.leave(ids[3]);
    assert_eq!(part(&fleet, low).eligible(), [0]);
    fleet.unite();
    assert_eq!(fleet.eligible(), [0, 1], "2 is unhealthy and 3 has left");
}

#[test]
fn parts_are_drawn_by_their_shares() {
    let mut fleet = Fleet::new();
    (0..3).for_each(|level| assert_eq!(fleet.add_partition(level, true), level));
    let mut rng = Rng::stream(3, "test", 1);
    assert_eq!(fleet.draw_partition(&mut rng), 0, "without shares the first");
    fleet.set_shares(&[0.0, 0.25, 0.75]);
    // 40,000 draws with p = 1/4: four standard deviations are 346.
    let light = (0..40_000).filter(|_| fleet.draw_partition(&mut rng) == 1).count();
    assert!((light as f64 - 10_000.0).abs() < 346.0, "{light}");
}
