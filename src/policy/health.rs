//! Active health checks: a server is down after `fall` failed checks in a row and up after `rise` good ones (HAProxy's
//! terms and defaults: every 2 s, rise 2, fall 3).

use crate::units::Nanos;

/// How a server is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// From the start of a check to the start of the next.
    pub interval: Nanos,
    /// A check without an answer for this long has failed.
    pub timeout: Nanos,
    /// Good checks in a row that bring a server up.
    pub rise: u32,
    /// Failed checks in a row that take it down.
    pub fall: u32,
}

/// What the checks say of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    up: bool,
    /// Checks in a row that speak against `up`.
    against: u32,
}

impl Default for State {
    /// Up until found otherwise.
    fn default() -> State {
        State { up: true, against: 0 }
    }
}

impl State {
    /// Takes in a check's result; `Some(up)` when the verdict changes.
    pub fn observe(&mut self, passed: bool, rules: &Rules) -> Option<bool> {
        if passed == self.up {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < if self.up { rules.fall } else { rules.rise } {
            return None;
        }
        *self = State { up: passed, against: 0 };
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_after_three_in_a_row_and_rises_after_two() {
        let rules = Rules { interval: Nanos(1), timeout: Nanos(1), rise: 2, fall: 3 };
        let mut state = State::default();
        let results = [false, false, true, false, false, false, true, false, true, true];
        let changes: Vec<_> = results.iter().map(|&ok| state.observe(ok, &rules)).collect();
        let mut expected = [None; 10];
        (expected[5], expected[9]) = (Some(false), Some(true));
        assert_eq!(changes, expected);
    }
}
