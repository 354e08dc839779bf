//! `evenkeel init`: writes a scenario template for the user's own fleet, and a matching proxy config.

use std::path::{Path, PathBuf};

use super::experiment::quote;
use super::{Failure, say, scenarios};

/// Where to write the files.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel init                  writes ./fleet.toml and ./proxy.toml
  evenkeel init my-fleet         writes them to a folder

Existing files are not overwritten.")]
pub struct Args {
    /// Folder to write to, made if it does not exist
    #[arg(default_value = ".")]
    folder: PathBuf,
}

/// The scenario.
const FLEET: &str = include_str!("init/fleet.toml");
/// The proxy config with the same servers.
const PROXY: &str = include_str!("init/proxy.toml");

pub fn init(args: &Args) -> Result<(), Failure> {
    // Shown as a user would type it: without `./`.
    let folder = args.folder.strip_prefix(".").unwrap_or(&args.folder);
    let (fleet, proxy) = (folder.join("fleet.toml"), folder.join("proxy.toml"));
    scenarios::write_new(
        &[(fleet.clone(), FLEET), (proxy.clone(), PROXY)],
        false,
        "give another folder: evenkeel init FOLDER",
    )?;
    let shown = |path: &Path| quote(&path.display().to_string());
    let (fleet, proxy) = (shown(&fleet), shown(&proxy));
    say(format_args!(
        "\nBoth run as they are. Put your own numbers in at each \"YOURS\". Next:\n  \
         evenkeel run {fleet} --quick\n  \
         evenkeel sweep {fleet} --quick\n  \
         evenkeel proxy --config {proxy} --check"
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_config::proxy::ProxyConfig;
    use evenkeel_sim::scenario::Scenario;

    #[test]
    fn both_files_are_valid_and_have_the_same_servers() {
        let scenario = Scenario::parse("fleet", FLEET, &|name| Err(format!("no file {name}"))).unwrap();
        assert!(scenario.warnings.is_empty() && scenario.refusals.is_empty(), "{:?}", scenario.warnings);
        let offered = scenario.offered_load.unwrap();
        assert!((0.4..0.8).contains(&offered), "the fleet has room: {offered}");
        let config = ProxyConfig::parse(PROXY, &|_| None).unwrap();
        let (simulated, real) = (&scenario.model.pools[0].servers, &config.pools[0].servers);
        assert_eq!(simulated.len(), real.len());
        for (simulated, real) in simulated.iter().zip(real) {
            assert_eq!((&simulated.name, simulated.weight), (&real.name, real.weight));
        }
    }

    #[test]
    fn comments_of_the_templates_fit_an_editor() {
        for line in FLEET.lines().chain(PROXY.lines()) {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }
}
