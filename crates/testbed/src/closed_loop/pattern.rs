//! The bytes of responses: by item and place, so that a response which belongs to another request is found out.

/// Number of different paths and bodies, for strategies that hash paths.
pub(super) const PATHS: u64 = 64;
/// A prime that no buffer's size is a multiple of.
const PERIOD: u64 = 251;
/// Longest part that [`Pattern::part`] gives.
const LONGEST: u64 = 64 * 1024;

/// The byte at place `p` of item `i` is `(i + p) mod 251`.
pub(super) struct Pattern(Vec<u8>);

impl Pattern {
    pub(super) fn new() -> Pattern {
        Pattern((0..PERIOD + LONGEST).map(|place| (place % PERIOD) as u8).collect())
    }

    /// The beginning of an item's bytes from a place on: `most`, or 64 KiB if that is less.
    pub(super) fn part(&self, item: u64, place: u64, most: u64) -> &[u8] {
        let from = ((item + place) % PERIOD) as usize;
        &self.0[from..from + most.min(LONGEST) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_where_it_belongs() {
        let pattern = Pattern::new();
        for (item, place) in [(0, 0), (63, 250), (7, 1_000_003), (63, u64::from(u32::MAX))] {
            let part = pattern.part(item, place, 70_000);
            assert_eq!(part.len(), 64 * 1024);
            assert!(part.iter().enumerate().all(|(i, &byte)| u64::from(byte) == (item + place + i as u64) % 251));
        }
        assert_ne!(pattern.part(1, 0, 200), pattern.part(2, 0, 200));
        assert!(pattern.part(1, 0, 0).is_empty());
    }
}
