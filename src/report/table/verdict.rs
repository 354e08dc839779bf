//! Verdicts on strategies: a cell of the table, and the sentence under it.

use super::ranking::Ranking;
use crate::report::Outcome;
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::{Comparison, Summary, Verdict};

/// The verdict on a strategy; `short` for a narrow terminal.
pub fn verdict(summary: &Summary, rankings: &[Ranking<'_>], which: usize, short: bool) -> String {
    if summary.oracle {
        return if short { "–".to_owned() } else { "baseline with perfect information".to_owned() };
    }
    if let [only] = rankings {
        return stand_text(only.stands[which], short);
    }
    if !summary.ranks() {
        return stand_text(Some(Comparison::Overloaded), short);
    }
    let mut parts = Vec::new();
    let pools = |is: fn(&Comparison) -> bool| -> Vec<&str> {
        let stands = rankings.iter().filter(|ranking| ranking.stands[which].as_ref().is_some_and(is));
        stands.filter_map(|ranking| ranking.pool).collect()
    };
    let mut count = |verb: &str, pools: Vec<&str>| match pools.len() {
        0 => {}
        n if n == rankings.len() => parts.push(format!("{verb} in all pools")),
        n if short || rankings.len() > MOST_NAMED => parts.push(format!("{verb} in {n}")),
        _ => parts.push(format!("{verb} in {}", pools.join(", "))),
    };
    count("best", pools(|stands| *stands == Comparison::Best));
    count("ties", pools(|stands| *stands == Comparison::Tied));
    // The largest of the values that are worse.
    let most = |of: fn(Comparison) -> Option<f64>| {
        let all = rankings.iter().filter_map(|ranking| Some((of(ranking.stands[which]?)?, ranking)));
        all.max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let worse = most(|stands| match stands {
        Comparison::Worse(times) | Comparison::Unknown(times) => Some(times),
        _ => None,
    });
    let failing = most(|stands| match stands {
        Comparison::Fails(more) => Some(more),
        _ => None,
    });
    for (_, ranking) in worse.iter().chain(&failing) {
        let text = stand_text(ranking.stands[which], true);
        let pool = ranking.pool.unwrap_or_default();
        parts.push(if short { text } else { format!("{text} in {pool}") });
    }
    if parts.is_empty() { stand_text(None, short) } else { parts.join("; ") }
}

/// With more pools than this a verdict gives their number instead of their names.
const MOST_NAMED: usize = 3;

fn stand_text(stands: Option<Comparison>, short: bool) -> String {
    match (stands, short) {
        (Some(Comparison::Best), _) => "best".to_owned(),
        (Some(Comparison::Tied), false) => "ties with the best".to_owned(),
        (Some(Comparison::Tied), true) => "ties".to_owned(),
        (Some(Comparison::Worse(times)), false) => format!("{} slower", times_text(times)),
        (Some(Comparison::Worse(times)), true) => times_text(times),
        (Some(Comparison::Unknown(times)), false) if times < 1.0005 => "as fast, but too few runs to tell".to_owned(),
        (Some(Comparison::Unknown(times)), true) if times < 1.0005 => "ties?".to_owned(),
        (Some(Comparison::Unknown(times)), false) => format!("{} slower, but too few runs to tell", times_text(times)),
        (Some(Comparison::Unknown(times)), true) => format!("{}?", times_text(times)),
        (Some(Comparison::Fails(more)), _) => errors_text(more),
        (Some(Comparison::Overloaded), false) => "not ranked: overloaded".to_owned(),
        (Some(Comparison::Overloaded), true) => "overloaded".to_owned(),
        (None, _) => "nothing to compare".to_owned(),
    }
}

/// `3.4x`, `1.07x`: three digits at most, and never 1.00.
fn times_text(times: f64) -> String {
    match times {
        t if t >= 9.95 => format!("{t:.0}x"),
        t if t >= 1.995 => format!("{t:.1}x"),
        t if t >= 1.005 => format!("{t:.2}x"),
        t => format!("{t:.3}x"),
    }
}

/// `+7.69 pp errors`.
fn errors_text(more: f64) -> String {
    let points = more * 100.0;
    if points >= 9.995 { format!("+{points:.1} pp errors") } else { format!("+{points:.2} pp errors") }
}

/// A ranking as a sentence: "Lowest p99: p2c with 45 ms; random is 2.3x slower." A strategy with a lower p99 that is not
/// ranked is named with the reason.
pub fn sentence(outcome: &Outcome<'_>, ranking: &Ranking<'_>) -> String {
    let stands = &ranking.stands;
    let place = ranking.pool.map_or_else(String::new, |pool| format!(" in {pool}"));
    let Some(best) = stands.iter().position(|s| *s == Some(Comparison::Best)) else {
        return without_best(outcome, stands, &place);
    };
    let best = &outcome.summaries[best];
    let sentence = Sentence { outcome, ranking, lowest: ranking.value(best) };
    let failing = sentence.lower(&|summary, stands| !summary.oracle && matches!(stands, Some(Comparison::Fails(_))));
    let overloaded = sentence.lower(&|_, stands| stands == Some(Comparison::Overloaded));
    let among = match (failing.is_some(), overloaded.is_some()) {
        (true, true) => " among stable strategies with the fewest errors",
        (true, false) => " among the strategies with the fewest errors",
        (false, true) => " among the stable strategies",
        (false, false) => "",
    };
    let mut text = format!("Lowest p99{place}{among}: {}", sentence.shown(best));
    text += &sentence.ranked();
    text += &sentence.not_ranked(failing, overloaded);
    if let Some(baseline) = sentence.lower(&|summary, _| summary.oracle) {
        text += &format!("; the baseline {}", sentence.shown(baseline));
    }
    text + "."
}

/// The sentence where no strategy is the best.
fn without_best(outcome: &Outcome<'_>, stands: &[Option<Comparison>], place: &str) -> String {
    let none = |summary: &Summary| summary.stability.verdict == Verdict::NoRequests;
    if stands.contains(&Some(Comparison::Overloaded)) {
        format!("Every strategy is overloaded{place}: there is nothing to rank.")
    } else if outcome.summaries.iter().all(none) {
        "No request arrived in the measured span: there is nothing to compare.".to_owned()
    } else {
        format!("No strategy completed a request successfully{place}.")
    }
}

/// A ranking with a best strategy.
struct Sentence<'a, 'b> {
    outcome: &'a Outcome<'b>,
    ranking: &'a Ranking<'a>,
    /// The best strategy's p99, seconds.
    lowest: f64,
}

impl<'a> Sentence<'a, '_> {
    /// Every strategy with its comparison.
    fn all(&self) -> impl Iterator<Item = (&'a Summary, Option<Comparison>)> {
        self.outcome.summaries.iter().zip(self.ranking.stands.iter().copied())
    }

    fn shown(&self, summary: &Summary) -> String {
        format!("{} with {}", summary.label, human_seconds(self.ranking.value(summary)))
    }

    /// The lowest of the strategies that are excluded for a reason, if it is below the best.
    fn lower(&self, is: &dyn Fn(&Summary, Option<Comparison>) -> bool) -> Option<&'a Summary> {
        let value = |summary: &Summary| self.ranking.value(summary);
        let left_out = self.all().filter(|(summary, stands)| is(summary, *stands) && value(summary) < self.lowest);
        left_out.map(|(summary, _)| summary).min_by(|a, b| value(a).total_cmp(&value(b)))
    }

    /// Ties with the best, and the slowest.
    fn ranked(&self) -> String {
        let mut text = String::new();
        let tied = self.all().filter(|(summary, stands)| *stands == Some(Comparison::Tied) && !summary.oracle);
        let ties: Vec<&str> = tied.map(|(summary, _)| summary.label.as_str()).collect();
        if !ties.is_empty() {
            text += &format!(" (tied: {})", ties.join(", "));
        }
        if self.all().any(|(_, stands)| matches!(stands, Some(Comparison::Unknown(_)))) {
            text += "; with so few runs per strategy the order may be random";
        }
        let worst = self.all().filter_map(|(summary, stands)| match stands {
            Some(Comparison::Worse(times)) if !summary.oracle => Some((times, summary)),
            _ => None,
        });
        if let Some((times, summary)) = worst.max_by(|a, b| a.0.total_cmp(&b.0)) {
            text += &format!("; {} is {} slower", summary.label, times_text(times));
        }
        text
    }

    /// Strategies that are not ranked: overloaded ones, and those with more errors. `failing` and `overloaded` are the
    /// lowest of them if they are below the best.
    fn not_ranked(&self, failing: Option<&Summary>, overloaded: Option<&Summary>) -> String {
        let left_out = |n: usize, what: &str, lowest: Option<&Summary>| match n {
            0 => String::new(),
            _ => {
                let lowest =
                    lowest.map_or_else(String::new, |summary| format!(" (the lowest: {})", self.shown(summary)));
                format!("; not ranked: {n} {what}{lowest}")
            }
        };
        let is_overloaded =
            |(summary, stands): &(&Summary, _)| !summary.oracle && *stands == Some(Comparison::Overloaded);
        let mut text = left_out(self.all().filter(is_overloaded).count(), "overloaded", overloaded);
        let mut with_errors = self.all().filter_map(|(summary, stands)| match stands {
            Some(Comparison::Fails(more)) if !summary.oracle => Some((summary, more)),
            _ => None,
        });
        match (with_errors.next(), with_errors.count()) {
            (Some((only, more)), 0) => {
                let with = |summary| format!(" with {}", human_seconds(self.ranking.value(summary)));
                let value = failing.map_or_else(String::new, with);
                text += &format!("; not ranked: {}{value}, {}", only.label, errors_text(more));
            }
            (first, others) => {
                text += &left_out(others + usize::from(first.is_some()), "with more errors", failing);
            }
        }
        text
    }
}
