//! Compares the strategy with two of the catalogue: `cargo run -p custom-strategy`.

use custom_strategy::{SCENARIO, memory};
use evenkeel_sim::measure::{Comparison, compare, run_all};
use evenkeel_sim::scenario::Scenario;

fn main() -> Result<(), String> {
    let mut scenario = Scenario::parse("memory", SCENARIO, &|file| Err(format!("no file {file}")))
        .map_err(|problems| format!("{problems:?}"))?;
    scenario.add_strategy(memory());
    let summaries = run_all(&scenario, &|| false).map_err(|stopped| format!("{stopped:?}"))?;
    let ranks = compare(&summaries, "latency.mean");
    println!("{:<10} {:>26} {:>10}", "strategy", "mean latency (95 % CI)", "");
    for (summary, rank) in summaries.iter().zip(ranks) {
        let mean = summary.estimate("latency.mean");
        let rank = match rank {
            Some(Comparison::Best) => "best".to_owned(),
            Some(Comparison::Worse(times)) => format!("{times:.2}x"),
            other => format!("{other:?}"),
        };
        let ms = |seconds: f64| seconds * 1e3;
        println!(
            "{:<10} {:>10.2} ms [{:.2}, {:.2}] {:>10}",
            summary.label,
            ms(mean.value),
            ms(mean.low),
            ms(mean.high),
            rank
        );
    }
    Ok(())
}
