//! `evenkeel replay`: replays a proxy's recording and verifies every pick.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use serde::Deserialize;

use super::{Failure, say_on as say};
use evenkeel_core::policy::recording::{HostEvent, RecordingHeader};
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_sim::sim::replay::Replay;

/// What to replay.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel proxy --config proxy.toml --record picks.jsonl
  evenkeel replay picks.jsonl

Feeds the recorded selector inputs to a new selector and compares each pick. The first difference is shown \
with its place in the recording.

Exit codes: 0 every pick is the same, 1 a pick differs, 2 the file is not a recording.")]
pub struct Args {
    /// Recording, written by `evenkeel proxy --record`
    recording: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A line of a recording.
#[derive(Deserialize)]
struct Line(u32, Entry);

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Header { opening: Box<RecordingHeader<StrategyConfig>> },
    HostEvent(HostEvent),
}

struct RecordedSelector {
    opening: RecordingHeader<StrategyConfig>,
    replay: Replay,
    /// The first difference; `None` while every pick is the same.
    difference: Option<String>,
}

pub fn replay(args: &Args) -> Result<(), Failure> {
    let shown = args.recording.display();
    let file = std::fs::File::open(&args.recording)
        .map_err(|error| Failure::Usage(format!("cannot read {shown}: {error}")))?;
    let mut selectors: BTreeMap<u32, RecordedSelector> = BTreeMap::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let place = || format!("{shown}:{}", number + 1);
        let line = line.map_err(|error| Failure::Usage(format!("{}: {error}", place())))?;
        let parsed: Result<Line, _> = serde_json::from_str(&line);
        let Line(selector, entry) = parsed.map_err(|error| {
            let help = "recordings are written by `evenkeel proxy --record`; one that was cut off ends with an incomplete line";
            Failure::Usage(format!("{}: not a line of a recording: {error}\n  help: {help}", place()))
        })?;
        match entry {
            Entry::Header { opening } => {
                let replay = Replay::new(&opening).map_err(|error| Failure::Usage(format!("{}: {error}", place())))?;
                selectors.insert(selector, RecordedSelector { opening: *opening, replay, difference: None });
            }
            Entry::HostEvent(call) => {
                let Some(selector) = selectors.get_mut(&selector) else {
                    return Err(Failure::Usage(format!("{}: a call of a selector without a header", place())));
                };
                if selector.difference.is_none()
                    && let Err(difference) = selector.replay.play(&call)
                {
                    selector.difference = Some(format!("{}: {difference}", place()));
                }
            }
        }
    }
    if selectors.is_empty() {
        return Err(Failure::Usage(format!("{shown} holds no selector")));
    }
    let differ = selectors.values().filter(|selector| selector.difference.is_some()).count();
    if args.json {
        let rows: Vec<_> = selectors
            .values()
            .map(|selector| {
                serde_json::json!({
                    "pool": selector.opening.pool, "strategy": selector.opening.strategy.name(), "stream": selector.opening.stream,
                    "calls": selector.replay.calls, "picks": selector.replay.picks, "difference": selector.difference,
                })
            })
            .collect();
        say(serde_json::json!({ "selectors": rows, "same": differ == 0 }));
    } else {
        for (number, selector) in &selectors {
            let RecordedSelector { opening, replay, difference } = selector;
            let verdict = match difference {
                None => format!("{} picks, all the same", replay.picks),
                Some(what) => format!("after {} picks, a difference\n    {what}", replay.picks),
            };
            say(format!("selector {number}, pool {}, {}: {verdict}", opening.pool, opening.strategy.name()));
        }
    }
    if differ > 0 { Err(Failure::No) } else { Ok(()) }
}
