//! Explanations of picks, for every strategy of the catalogue: they change nothing, and what follows from them is what is picked.

use evenkeel_core::select::Placement;
use evenkeel_core::select::catalog::{CATALOGUE, Family};
use evenkeel_core::units::Nanos;
use evenkeel_sim::measure::decision::Reasons;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::observe;
use evenkeel_sim::sim::observer::{Decision, Observer};

const REST: &str = r#"
title = "t"
question = "q?"
kind = "terminating"
strategies = ["random"]
arrivals = { poisson = { load = "80%" } }
service = { exponential = { mean = "10ms" } }
keys = { count = 300, exponent = 1.0 }
"#;

/// One pool each: equal servers; weights and a crash that checks notice; limits and a queue; retries; parts of a fleet.
fn scenarios() -> Vec<(&'static str, Scenario)> {
    let pool = |rules: &str, servers: &str| {
        format!(
            "duration = \"6s\"\nnetwork = {{ server = \"200us\" }}\n{REST}\n[[pools]]\nname = \"web\"\n{rules}\n{servers}"
        )
    };
    let even = "[[pools.servers]]\nname = \"s\"\ncount = 7\n";
    let uneven = "[[pools.servers]]\nname = \"a\"\ncount = 4\nweight = 3\nspeed = 3.0\n\
                  [[pools.servers]]\nname = \"b\"\ncount = 3\n[[pools.servers]]\nname = \"c\"\nmax_in_flight = 2\n";
    let crash = "[[faults]]\ntarget = \"web/a-2\"\nat = \"1s\"\nfor = \"2s\"\nkind = { crash = {} }\n";
    let texts = [
        ("equal servers", pool("", even)),
        (
            "weights and a crash",
            pool(
                "health = { interval = \"200ms\", fall = 2, rise = 1, timeout = \"100ms\" }",
                &format!("{uneven}{crash}"),
            ),
        ),
        (
            "limits and a queue",
            pool(
                "queue = { limit = 100, timeout = \"1s\" }",
                &even.replace("count = 7", "count = 7\nmax_in_flight = 2"),
            ),
        ),
        ("retries", pool("retries = { max_retries = 2, per_try_timeout = \"15ms\", on = [\"timeout\"] }", even)),
        ("a subset", pool("subset = { size = 4 }", uneven)),
    ];
    let parse = |(name, text): (&'static str, String)| {
        (name, Scenario::parse("s", &text, &|file| Err(file.to_owned())).unwrap_or_else(|e| panic!("{name}: {e:?}")))
    };
    texts.map(parse).into()
}

/// Compares what follows from each explanation with the pick.
#[derive(Default)]
struct Check {
    expected: Option<(u32, Option<u32>, Reasons)>,
    decisions: u32,
    followed: u32,
    placed: u32,
    wrong: Option<String>,
}

impl Observer for Check {
    fn deciding(&mut self, decision: &Decision<'_>) {
        let reasons = Reasons::of(decision);
        let outcome = reasons.outcome();
        self.expected = decision.kept.is_none().then_some((decision.base, outcome, reasons));
    }

    fn decided(&mut self, _job: u32, server: Option<u32>, now: Nanos) {
        let (Some((base, outcome, reasons)), Some(server)) = (self.expected.take(), server) else { return };
        self.decisions += 1;
        self.placed += u32::from(reasons.explanation.placement.is_some());
        let Some(outcome) = outcome else { return };
        self.followed += 1;
        if base + outcome != server && self.wrong.is_none() {
            self.wrong = Some(format!("at {now}: {} picked, {outcome} follows from {reasons:?}", server - base));
        }
    }
}

#[test]
fn explanations_change_nothing_and_agree_with_the_picks() {
    let mut problems = Vec::new();
    for (name, mut scenario) in scenarios() {
        for row in CATALOGUE {
            let what = format!("{} with {name}", row.name);
            let variant = scenario.add_strategy((row.default)());
            let plain = observe(&scenario.setup(variant, 0), &|| false, &mut ()).unwrap();
            let mut check = Check::default();
            let explained = observe(&scenario.setup(variant, 0), &|| false, &mut check).unwrap();
            assert_eq!(explained.pick_hash, plain.pick_hash, "{what}: an explanation changed a pick");
            assert_eq!(explained.events, plain.events, "{what}");
            problems.extend(check.wrong.map(|wrong| format!("{what} {wrong}")));
            assert!(check.decisions > 1000, "{what}: {} decisions", check.decisions);
            // Ties among equal servers are the rule at low load, and those among weighted ones the exception.
            let least = match row.doc.family {
                _ if matches!(row.name, "hash_subset" | "bounded_load") => 50,
                Family::Random | Family::RoundRobin | Family::Hash => 90,
                _ => 25,
            };
            let share = 100 * check.followed / check.decisions;
            if share < least {
                problems.push(format!("{what}: {share} % of the picks follow from their explanations"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The picture of each kind of strategy.
#[test]
fn strategies_show_what_they_choose_from() {
    let (_, mut scenario) = scenarios().swap_remove(0);
    for (strategy, kind) in [
        ("p2c(choices=3)", "sample of 3"),
        ("peak_ewma", "sample of 2"),
        ("random", "sample of 1"),
        ("round_robin", "order"),
        ("edf", "order"),
        ("consistent_hash", "ring of 1120"),
        ("multi_probe", "ring of 7"),
        ("maglev", "table of 65537"),
        ("modulo_hash", "table of 7"),
        ("jump", "table of 7"),
        ("dx_hash", "table of 16"),
    ] {
        struct Kind(Option<String>);
        impl Observer for Kind {
            fn deciding(&mut self, decision: &Decision<'_>) {
                self.0.get_or_insert_with(|| match Reasons::of(decision).explanation.placement {
                    Some(Placement::Sample(slots)) => format!("sample of {}", slots.len()),
                    Some(Placement::Order(_)) => "order".to_owned(),
                    Some(Placement::Ring { points, .. }) => format!("ring of {}", points.len()),
                    Some(Placement::Table { size, .. }) => format!("table of {size}"),
                    None => "nothing".to_owned(),
                });
            }
        }
        let variant =
            scenario.add_strategy(strategy.parse::<evenkeel_core::select::catalog::StrategyConfig>().unwrap());
        let mut seen = Kind(None);
        observe(&scenario.setup(variant, 0), &|| false, &mut seen).unwrap();
        assert_eq!(seen.0.as_deref(), Some(kind), "{strategy}");
    }
}
