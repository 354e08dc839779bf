//! Instructions per request, counted by valgrind's callgrind: a figure that does not depend on what else the machine does.

use std::path::Path;
use std::process::Command;

use super::super::Failure;

/// Requests of the shorter and of the longer run. The difference of the two leaves out what a run costs once.
const SIZES: [u64; 2] = [10_000, 30_000];

/// Runs a case of the benchmark twice below callgrind.
pub fn per_request(label: &str, servers: Option<u32>, scenario: Option<&Path>) -> Result<f64, Failure> {
    let [(few, less), (many, more)] =
        [count(label, servers, scenario, SIZES[0])?, count(label, servers, scenario, SIZES[1])?];
    if many <= few {
        let what = format!("a scenario needs more than {} requests to be counted, and this one has {many}", SIZES[0]);
        return Err(Failure::Usage(what));
    }
    if more <= less {
        let what = format!("{label}: {many} requests took {more} instructions, {few} took {less}");
        return Err(Failure::Broken(anyhow::anyhow!("the longer run is not the longer one: {what}")));
    }
    Ok((more - less) as f64 / (many - few) as f64)
}

/// Requests and instructions of one run of the benchmark with a single round.
fn count(label: &str, servers: Option<u32>, scenario: Option<&Path>, requests: u64) -> Result<(u64, u64), Failure> {
    let itself = std::env::current_exe().map_err(|error| Failure::Broken(error.into()))?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(itself);
    command.args(["bench", "engine", "--json", "--rounds", "1", "--only", label, "--requests", &requests.to_string()]);
    let is_loop = label.starts_with('(');
    command.args(["--strategies", if is_loop { "p2c" } else { label }]);
    match (servers, scenario) {
        (Some(servers), _) => command.args(["--servers", &servers.to_string()]),
        // No server is asked for; the scenario's own are meant.
        (None, Some(scenario)) => command.args(["--servers", "1", "--scenarios"]).arg(scenario),
        (None, None) => &mut command,
    };
    let output = command
        .output()
        .map_err(|error| Failure::Usage(format!("`--instructions` needs valgrind on the path: {error}")))?;
    let (said, report) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let unreadable = || Failure::Broken(anyhow::anyhow!("valgrind did not count {label}:\n{report}"));
    let collected = report.lines().find_map(|line| line.split_once("Collected : ")).ok_or_else(unreadable)?;
    let instructions = collected.1.trim().parse().map_err(|_| unreadable())?;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&said).map_err(|_| unreadable())?;
    let wanted = |row: &&serde_json::Value| row["scenario"].is_string() == scenario.is_some();
    let requests = rows.iter().find(wanted).and_then(|row| row["requests"].as_u64()).ok_or_else(unreadable)?;
    Ok((requests, instructions))
}
