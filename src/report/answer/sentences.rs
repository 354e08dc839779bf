//! The sentences: for each ranking what came out, errors first, and only differences whose intervals exclude zero.

use super::words::{higher, list, lower, points};
use super::{Field, Place, Row};
use crate::report::format::percent;
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::{Comparison, ENOUGH, Verdict};

/// Names in a list; the others are counted.
const NAMED: usize = 3;
/// The strategies that a reader knows: the best is compared with the first of them that took part.
const FAMILIAR: [&str; 2] = ["round_robin", "random"];
/// Share of failed requests from which it is mentioned.
pub const NOTABLE: f64 = 0.001;

/// The answer: one text of a few sentences for each ranking, and one on strategies whose picks were identical.
pub fn sentences(field: &Field) -> Vec<String> {
    let mut all: Vec<String> = (0..field.rankings()).map(|r| View { field, r }.text()).collect();
    let asked = |i: usize| {
        let familiar = FAMILIAR.iter().find_map(|name| field.rows.iter().position(|row| row.strategy == *name));
        familiar == Some(i) || (0..field.rankings()).any(|r| field.best(r) == Some(i))
    };
    for group in field.same_picks().iter().filter(|group| group.iter().any(|&i| asked(i))) {
        let names: Vec<&str> = group.iter().map(|&i| field.rows[i].label.as_str()).collect();
        all.push(format!("{} picked the same servers in every run.", list(&names, NAMED - 1)));
    }
    all
}

/// The conclusion of a sensitivity analysis: `ranked` pairs differ in the base, and pairs were `reversed` so many times.
pub fn holds(ranked: usize, reversed: usize) -> String {
    match reversed {
        0 if ranked == 0 => "There is no ranking to test: no two strategies differ significantly.".to_owned(),
        0 => "The ranking holds: no significant pair is reversed.".to_owned(),
        1 => "The ranking does not hold: one pair is reversed.".to_owned(),
        n => format!("The ranking does not hold: pairs are reversed {n} times."),
    }
}

/// A ranking of a field.
struct View<'a> {
    field: &'a Field,
    r: usize,
}

/// A strategy with its place in the ranking.
type Entry<'a> = (&'a Row, &'a Place);

impl<'a> View<'a> {
    /// Every strategy that could be deployed: no baselines.
    fn all(&self) -> impl Iterator<Item = Entry<'a>> {
        let r = self.r;
        self.field.rows.iter().filter(|row| !row.oracle).map(move |row| (row, &row.places[r]))
    }

    fn with(&self, is: fn(Comparison) -> bool) -> Vec<Entry<'a>> {
        self.all().filter(|(_, place)| place.stand.is_some_and(is)).collect()
    }

    fn text(&self) -> String {
        let body = match self.with(|stand| stand == Comparison::Best).first() {
            Some(&best) => self.with_best(best),
            None => self.without_best(),
        };
        match self.field.pools.get(self.r) {
            Some(pool) => format!("In {pool}: {}", uncapitalised(&body)),
            None => body,
        }
    }

    fn without_best(&self) -> String {
        let overloaded = self.with(|stand| stand == Comparison::Overloaded).len();
        let strategies = self.all().count();
        if strategies == 0 {
            "Only baselines with perfect information ran: there is nothing to rank.".to_owned()
        } else if self.all().all(|(row, _)| row.state == Verdict::NoRequests) {
            "No request arrived in the measured span: there is nothing to compare.".to_owned()
        } else if overloaded == strategies {
            "Every strategy is overloaded: there is nothing to rank.".to_owned()
        } else if overloaded > 0 {
            "No strategy can be ranked: those that are not overloaded completed no request.".to_owned()
        } else {
            "No strategy completed a request successfully.".to_owned()
        }
    }

    fn with_best(&self, best: Entry<'a>) -> String {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.errors());
        parts.extend(self.overloaded());
        parts.push(self.lowest(best));
        parts.extend(self.too_few());
        parts.extend(self.excluded_but_lower(best));
        parts.extend(self.perfect(best));
        parts.join(" ")
    }

    /// The strategy that a reader knows, if it took part.
    fn familiar(&self) -> Option<Entry<'a>> {
        FAMILIAR.iter().find_map(|name| self.all().find(|(row, _)| row.strategy == *name))
    }

    /// "on these 10 replications".
    fn on_these(&self) -> String {
        let what = if self.field.batches { "batches" } else { "replications" };
        format!("on these {} {what}", self.field.replications)
    }

    /// Strategies that fail more requests than others, or that all fail some.
    fn errors(&self) -> Option<String> {
        let failing = self.with(|stand| matches!(stand, Comparison::Fails(_)));
        let excess = |place: &Place| match place.stand {
            Some(Comparison::Fails(more)) => more,
            _ => 0.0,
        };
        match &failing[..] {
            [] => {
                let least = self.all().map(|(_, place)| place.failed).fold(f64::NAN, f64::min);
                let mut all = self.all();
                let text = match (all.next(), all.next()) {
                    (Some((only, _)), None) => format!("{} fails {} of its requests.", only.label, percent(least)),
                    _ => format!("Every strategy fails at least {} of its requests.", percent(least)),
                };
                (least >= NOTABLE).then_some(text)
            }
            [(row, place)] => {
                let beside = match self.none_fails() {
                    true => String::new(),
                    false => format!(", {} percentage points more than the fewest,", points(excess(place))),
                };
                let share = percent(place.failed);
                Some(format!("{} fails {share} of its requests{beside} and is not ranked.", row.label))
            }
            many => {
                let what = |place: &Place| if self.none_fails() { place.failed } else { excess(place) };
                let (least, most) = many
                    .iter()
                    .map(|(_, place)| what(place))
                    .fold((f64::INFINITY, 0.0_f64), |(least, most), more| (least.min(more), most.max(more)));
                let range = match (points(least), points(most)) {
                    (least, most) if least == most => most,
                    (least, most) => format!("{least} to {most}"),
                };
                let more = match self.none_fails() {
                    true => format!("{range} % of their requests"),
                    false => format!("{range} percentage points more requests than the fewest"),
                };
                let known = self.familiar().filter(|(_, place)| excess(place) > 0.0);
                let known = known
                    .map_or_else(String::new, |(row, place)| format!(" ({}: {})", row.label, percent(place.failed)));
                let labels: Vec<&str> = many.iter().map(|(row, _)| row.label.as_str()).collect();
                let who = match labels.len() {
                    n if n > NAMED => format!("{n} of {} strategies", self.all().count()),
                    _ => list(&labels, NAMED),
                };
                Some(format!("{who} fail {more} and are not ranked{known}."))
            }
        }
    }

    /// Whether the strategy with the fewest failures fails (almost) no request: then a share is the excess as well.
    fn none_fails(&self) -> bool {
        self.all().any(|(_, place)| place.failed < 0.000_05)
    }

    /// The lowest p99, against the familiar strategy or the slowest one, with the ties.
    fn lowest(&self, best: Entry<'a>) -> String {
        let (row, place) = best;
        let p99 = human_seconds(place.p99);
        if self.all().count() == 1 {
            return format!("{}'s p99 is {p99}.", row.label);
        }
        let ties = self.ties(row);
        let compared: Vec<Entry<'_>> =
            self.all().filter(|(_, place)| !matches!(place.stand, None | Some(Comparison::Overloaded))).collect();
        let tied = self.with(|stand| matches!(stand, Comparison::Best | Comparison::Tied)).len();
        if tied == compared.len() && tied > 2 {
            let slowest = compared.iter().max_by(|a, b| a.1.p99.total_cmp(&b.1.p99)).unwrap_or(&best);
            return format!(
                "The p99 of {tied} strategies cannot be told apart {}: it is {p99} ({}) to {} ({}).",
                self.on_these(),
                row.label,
                human_seconds(slowest.1.p99),
                slowest.0.label
            );
        }
        let familiar = self.familiar().filter(|(other, _)| other.label != row.label);
        let (against, mentioned) = match familiar {
            Some((other, its)) => against(place, other, its),
            None => (String::new(), false),
        };
        let excluded = self.with(|stand| matches!(stand, Comparison::Fails(_) | Comparison::Overloaded));
        let of = if excluded.is_empty() { "" } else { "Of the others, " };
        let mut text = match against.is_empty() {
            true => format!("{of}{} has the lowest p99, {p99}", row.label),
            false => format!("{}'s p99 is {p99}{against}", row.label),
        };
        text += &self.slowest(mentioned);
        if !ties.is_empty() {
            let mut names = vec![row.label.as_str()];
            names.extend(ties);
            text += &format!("; {} {} cannot be told apart", self.on_these(), list(&names, NAMED));
        }
        text + "."
    }

    /// The slowest of the ranked strategies, unless a slower one has been mentioned.
    fn slowest(&self, mentioned: bool) -> String {
        let worse = |(_, place): &Entry<'_>| match place.stand {
            Some(Comparison::Worse(times)) => times,
            _ => f64::NAN,
        };
        let all = self.with(|stand| matches!(stand, Comparison::Worse(_)));
        match all.iter().max_by(|a, b| worse(a).total_cmp(&worse(b))) {
            Some(entry) if !mentioned => {
                let (row, place) = entry;
                format!("; {}'s is {}, {}", row.label, human_seconds(place.p99), higher(worse(entry)))
            }
            // With too few runs for a verdict the value is given without one.
            _ => match self.familiar() {
                Some((row, place)) if matches!(place.stand, Some(Comparison::Unknown(_))) => {
                    format!("; {}'s is {}", row.label, human_seconds(place.p99))
                }
                _ => String::new(),
            },
        }
    }

    /// The labels of strategies that tie with the best, one for each group of identical picks: the familiar one first,
    /// the others by their p99.
    fn ties(&self, best: &Row) -> Vec<&'a str> {
        let mut seen: Vec<&[String]> = vec![&best.picks];
        let mut ties: Vec<Entry<'a>> = self.with(|stand| stand == Comparison::Tied);
        let familiar = self.familiar().map(|(row, _)| &row.label);
        let key = |(row, place): &Entry<'a>| (Some(&row.label) != familiar, place.p99);
        ties.sort_by(|a, b| key(a).0.cmp(&key(b).0).then(key(a).1.total_cmp(&key(b).1)));
        ties.retain(|(row, _)| {
            let new = row.picks.is_empty() || !seen.contains(&&row.picks[..]);
            seen.push(&row.picks);
            new
        });
        ties.iter().map(|(row, _)| row.label.as_str()).collect()
    }

    /// With too few runs for intervals.
    fn too_few(&self) -> Option<String> {
        let unknown = self.with(|stand| matches!(stand, Comparison::Unknown(_)));
        let runs = match self.field.replications {
            1 => "one replication".to_owned(),
            n => format!("{n} replications"),
        };
        let text = format!("With {runs} the order may be due to chance: a verdict needs {ENOUGH}.");
        (!unknown.is_empty()).then_some(text)
    }

    /// A strategy with a lower p99 that is excluded from the ranking, and why.
    fn excluded_but_lower(&self, (_, best): Entry<'a>) -> Option<String> {
        let excluded = self.all().filter(|(_, place)| match place.stand {
            Some(Comparison::Overloaded) => place.p99 < best.p99,
            Some(Comparison::Fails(_)) => place.p99 < best.p99 && place.gap.is_some_and(|gap| gap.high < 0.0),
            _ => false,
        });
        let (row, place) = excluded.min_by(|a, b| a.1.p99.total_cmp(&b.1.p99))?;
        let why = match place.stand {
            Some(Comparison::Fails(more)) => format!("it fails {} percentage points more requests", points(more)),
            _ => "it is overloaded".to_owned(),
        };
        Some(format!("{}'s p99 is lower, {}, but {why}.", row.label, human_seconds(place.p99)))
    }

    fn overloaded(&self) -> Option<String> {
        let overloaded = self.with(|stand| stand == Comparison::Overloaded);
        let labels: Vec<&str> = overloaded.iter().map(|(row, _)| row.label.as_str()).collect();
        let are = if labels.len() == 1 { "is" } else { "are" };
        (!labels.is_empty()).then(|| format!("{} {are} overloaded and not ranked.", list(&labels, NAMED)))
    }

    /// The baseline, if it is faster than the best.
    fn perfect(&self, (_, best): Entry<'a>) -> Option<String> {
        let r = self.r;
        let oracles = self.field.rows.iter().filter(|row| row.oracle && row.ranks);
        let lowest = oracles.min_by(|a, b| a.places[r].p99.total_cmp(&b.places[r].p99))?;
        let p99 = lowest.places[r].p99;
        let text = format!("With perfect information, {} has {}.", lowest.label, human_seconds(p99));
        (p99 < best.p99).then_some(text)
    }
}

/// A text after a colon: its first word begins with a small letter, unless it is a label.
fn uncapitalised(text: &str) -> String {
    const WORDS: [&str; 5] = ["Every ", "The ", "No ", "Only ", "Of "];
    match WORDS.iter().any(|word| text.starts_with(word)) {
        true => format!("{}{}", text[..1].to_lowercase(), &text[1..]),
        false => text.to_owned(),
    }
}

/// How much lower the best p99 is than that of another strategy, as a clause; and whether there is such a clause.
fn against(best: &Place, other: &Row, place: &Place) -> (String, bool) {
    let worse = place.gap.is_some_and(|gap| gap.low > 0.0 && gap.replications >= ENOUGH);
    match place.stand {
        Some(Comparison::Worse(_) | Comparison::Fails(_)) if worse => {
            let times = place.p99 / best.p99;
            (format!(", {} than {}'s {}", lower(times), other.label, human_seconds(place.p99)), true)
        }
        _ => (String::new(), false),
    }
}
