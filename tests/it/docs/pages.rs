//! What must be in the documentation as a whole, and that its links lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use evenkeel::scenario::Scenario;
use evenkeel::select::catalog::CATALOGUE;

use super::pages;
use crate::support::{evenkeel, root, text};

fn read() -> BTreeMap<PathBuf, String> {
    pages().into_iter().map(|page| (page.clone(), std::fs::read_to_string(page).unwrap())).collect()
}

/// Without fenced blocks.
fn prose(page: &str) -> String {
    let mut fenced = false;
    let lines = page.lines().filter(|line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// The anchors of a page, as GitHub makes them of headings, and those that are written out.
fn anchors(page: &str) -> BTreeSet<String> {
    let slug = |heading: &str| -> String {
        let kept = heading.trim().to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    let prose = prose(page);
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| slug(line.trim_start_matches('#')));
    let written = prose.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned);
    headings.chain(written).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = read();
    for (file, page) in &pages {
        for link in prose(page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { file.clone() } else { file.parent().unwrap().join(target) };
            let target = target.canonicalize().unwrap_or_else(|_| panic!("{}: {link} leads nowhere", file.display()));
            if !anchor.is_empty() {
                let page = pages.get(&target).unwrap_or_else(|| panic!("{}: {link} is no page", file.display()));
                assert!(anchors(page).contains(anchor), "{}: {link}: no such heading", file.display());
            }
        }
    }
}

#[test]
fn the_readme_is_one_page_and_links_to_all_others() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() < 200);
    assert!(readme.contains(&format!("runs {} strategies", CATALOGUE.len())));
    for page in pages() {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name == "README.md" || readme.contains(&format!("](docs/{name})")), "{name}");
    }
}

#[test]
fn every_command_scenario_and_strategy_is_in_it() {
    let all: String = read().into_values().collect();
    let help = text(&evenkeel().arg("--help").output().unwrap().stdout);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let mut count = 0;
    for command in commands.filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let command = command.split_whitespace().next().unwrap();
        assert!(command == "help" || all.contains(&format!("evenkeel {command}")), "{command}");
        count += 1;
    }
    assert!(count > 15, "{help}");
    for row in CATALOGUE {
        assert!(all.contains(&format!("`{}`", row.name)), "{}", row.name);
    }
    let choosing = std::fs::read_to_string(root().join("docs/choosing.md")).unwrap();
    for entry in std::fs::read_dir(root().join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(choosing.contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[test]
fn every_metric_is_explained() {
    let page = std::fs::read_to_string(root().join("docs/reading-results.md")).unwrap();
    let mut explained = 0;
    for entry in std::fs::read_dir(root().join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(source) = std::fs::read_to_string(&path) else { continue };
        let beside = |file: &str| std::fs::read_to_string(path.parent().unwrap().join(file)).map_err(|e| e.to_string());
        let scenario = Scenario::parse("documentation", &source, &beside).unwrap();
        let pools: Vec<String> = scenario.model.pools.iter().map(|pool| format!("{}.", pool.name)).collect();
        for metric in evenkeel::measure::metric_names(&scenario) {
            // Of the whole run; a pool's and a path's are the same, with a prefix.
            if metric.starts_with("path.") || pools.iter().any(|pool| metric.starts_with(pool)) {
                continue;
            }
            assert!(page.contains(&format!("`{metric}`")), "{}: {metric}", path.display());
            explained += 1;
        }
    }
    assert!(explained > 100, "{explained}");
}

/// A word in capitals with an underscore is an unfilled placeholder, unless it is an environment variable.
#[test]
fn there_are_no_gaps() {
    for (file, page) in read() {
        for word in prose(&page).split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let shouted =
                word.len() > 1 && word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            let known = word.starts_with("EVENKEEL_") || ["NO_COLOR", "FULL_SCAN", "ADMIN_TOKEN"].contains(&word);
            let envoy = ["ROUND_ROBIN", "LEAST_REQUEST", "RING_HASH"].contains(&word);
            assert!(!shouted || known || envoy, "{}: {word}", file.display());
        }
    }
}
