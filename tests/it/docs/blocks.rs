//! The fenced blocks of a page, and their tests.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use evenkeel::config::Diagnostic;
use evenkeel::config::proxy::ProxyConfig;
use evenkeel::scenario::{Scenario, acts_file};

use super::{current, update};
use crate::support::{Folder, root, text};

/// A fenced block.
struct Block {
    /// Number of the line with the opening fence, from 1.
    line: usize,
    /// The word after the fence.
    language: String,
    /// What stands after `test: ` in the comment before it; empty without one.
    mark: String,
    body: String,
}

impl Block {
    /// The mark's first word and the rest.
    fn mark(&self) -> (&str, &str) {
        self.mark.split_once(' ').unwrap_or((&self.mark, ""))
    }
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut before = "";
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let body: String = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .map(|l| format!("{l}\n"))
                .collect();
            let mark =
                before.strip_prefix("<!-- test: ").and_then(|rest| rest.strip_suffix(" -->")).unwrap_or_default();
            found.push(Block { line: number + 1, language: language.to_owned(), mark: mark.to_owned(), body });
        }
        before = line;
    }
    found
}

/// A page under test: its folder, and where its commands have gone in it.
struct Page {
    folder: Folder,
    at: PathBuf,
}

impl Page {
    fn new() -> Page {
        let folder = Folder::new();
        let at = folder.path().to_owned();
        Page { folder, at }
    }

    /// Runs commands as a shell does, in the folder where the last ones were left. What they start in the background ends
    /// with them.
    fn run(&mut self, script: &str) -> Output {
        let mut path = assert_cmd::cargo::cargo_bin!("evenkeel").parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let hidden = |name: &str| self.folder.path().join(name);
        let (left_at, out, err) = (hidden(".left-at"), hidden(".stdout"), hidden(".stderr"));
        // To files: a pipe would stay open for as long as the background has it.
        let mut child = Command::new("sh")
            .args(["-e", "-c", &format!("trap 'pwd > {}' EXIT\n{script}", left_at.display())])
            .current_dir(&self.at)
            .env("PATH", path)
            .env_remove("CLICOLOR_FORCE")
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let status = child.wait().unwrap();
        // Nothing is left of the group in most cases.
        let _ = Command::new("kill").args(["-9", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status();
        self.at = PathBuf::from(std::fs::read_to_string(left_at).unwrap().trim_end());
        Output { status, stdout: std::fs::read(out).unwrap(), stderr: std::fs::read(err).unwrap() }
    }

    fn console(&mut self, block: &Block, place: &str) {
        static PORTS: Mutex<()> = Mutex::new(());
        let mut commands = String::new();
        for line in block.body.lines() {
            let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("{place}: `{line}` is no command"));
            commands.push_str(command);
            commands.push('\n');
        }
        let (mark, rest) = block.mark();
        let mut expected = 0;
        let mut ports = None;
        match mark {
            "" => {}
            "skip" => return assert!(!rest.is_empty(), "{place}: why is it skipped?"),
            "release-only" if cfg!(debug_assertions) => return,
            "release-only" => {}
            "exit" => expected = rest.parse().unwrap(),
            "log" => drop(std::fs::copy(root().join("scenarios/logs/shop-access.log.gz"), self.at.join(rest)).unwrap()),
            "ports" => {
                ports = Some(PORTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
                let taken = |port: &&str| TcpListener::bind(format!("127.0.0.1:{port}")).is_err();
                if let Some(port) = rest.split(' ').find(taken) {
                    return eprintln!("{place}: not run, port {port} is taken");
                }
            }
            other => panic!("{place}: the mark `{other}` is not known"),
        }
        let output = self.run(&commands);
        drop(ports);
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{place}:\n{commands}\n{}\n{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }

    fn toml(&self, block: &Block, place: &str) {
        let (mark, rest) = block.mark();
        match mark {
            "" => sound_scenario(&block.body, &self.at, place),
            "proxy" => sound_config(&block.body, place),
            "acts" => sound_acts(&block.body, place),
            "pool" => sound_scenario(&format!("{POOLS_OF}{}", block.body), &self.at, place),
            "file" | "append" => {
                let file = self.at.join(rest);
                let before =
                    if mark == "append" { std::fs::read_to_string(&file).unwrap() + "\n" } else { String::new() };
                let source = before + &block.body;
                std::fs::write(&file, &source).unwrap();
                if rest.starts_with("proxy") {
                    sound_config(&source, place);
                } else {
                    sound_scenario(&source, &self.at, place);
                }
            }
            other => panic!("{place}: the mark `{other}` is not known"),
        }
    }

    /// The block as it should be: the first lines of what a command prints.
    fn output(&mut self, block: &Block, place: &str) -> Option<String> {
        let (mark, rest) = block.mark();
        if mark.is_empty() {
            return None;
        }
        assert_eq!(mark, "output", "{place}: the mark is not known");
        let (lines, command) = rest.split_once(' ').unwrap();
        let output = self.run(command);
        assert!(output.status.success(), "{place}: {command}\n{}", text(&output.stderr));
        let lines = lines.parse().unwrap();
        let printed = text(&output.stdout);
        Some(
            printed.trim_start_matches('\n').lines().take(lines).map(|line| format!("{}\n", line.trim_end())).collect(),
        )
    }
}

/// What a scenario has besides pools.
const POOLS_OF: &str = r#"
title = "Pools of the documentation"
question = "Are they sound?"
duration = "10s"
strategies = ["p2c"]
arrivals = { poisson = { rate = "100/s" } }
service = { exponential = { mean = "10ms" } }
balancers = { count = 2, zones = ["a", "b"] }
"#;

fn sound_scenario(source: &str, folder: &Path, place: &str) {
    let beside = |file: &str| std::fs::read_to_string(folder.join(file)).map_err(|error| error.to_string());
    if let Err(problems) = Scenario::parse("documentation", source, &beside) {
        panic!("{}", Diagnostic { file: place.to_owned(), source: source.to_owned(), problems }.plain());
    }
}

fn sound_acts(source: &str, place: &str) {
    match acts_file::parse(source) {
        Ok(acts) => assert!(!acts.is_empty(), "{place}: no acts"),
        Err(problems) => {
            panic!("{}", Diagnostic { file: place.to_owned(), source: source.to_owned(), problems }.plain())
        }
    }
}

fn sound_config(source: &str, place: &str) {
    if let Err(problems) = ProxyConfig::parse(source, &|_| Some("token".to_owned())) {
        panic!("{}", Diagnostic { file: place.to_owned(), source: source.to_owned(), problems }.plain());
    }
}

/// Tests every block of a page, in order, in one folder.
fn test(name: &str) {
    let file = root().join(name);
    let source = std::fs::read_to_string(&file).unwrap();
    let mut page = Page::new();
    let mut should_be = source.clone();
    for block in blocks(&source) {
        let place = format!("{name}:{}", block.line);
        match block.language.as_str() {
            "console" => page.console(&block, &place),
            "toml" => page.toml(&block, &place),
            "text" => {
                if let Some(printed) = page.output(&block, &place) {
                    let head = format!("<!-- test: {} -->\n```text\n", block.mark);
                    should_be = should_be.replacen(&format!("{head}{}", block.body), &format!("{head}{printed}"), 1);
                }
            }
            "json" if block.mark == "acts" => sound_acts(&block.body, &place),
            // Doc tests, and what belongs to other programs.
            "rust" | "nginx" | "haproxy" | "yaml" => {
                assert!(block.mark.is_empty(), "{place}: the mark means nothing here")
            }
            other => panic!("{place}: a block in `{other}` is not tested"),
        }
    }
    // Another test may rewrite another part of the page.
    if should_be != source && update() {
        std::fs::write(&file, &should_be).unwrap();
    }
    current(&file, &should_be);
}

macro_rules! tested {
    ($($name:ident $page:literal)*) => {
        $(#[test] fn $name() { test($page); })*

        #[test]
        fn every_page_is_tested() {
            let tested: std::collections::BTreeSet<_> = [$($page),*].map(|page| root().join(page)).into();
            assert_eq!(super::pages().into_iter().collect::<std::collections::BTreeSet<_>>(), tested);
        }
    };
}

tested! {
    readme "README.md"
    architecture "docs/architecture.md"
    bias "docs/bias.md"
    choosing "docs/choosing.md"
    coming_from "docs/coming-from-nginx-and-haproxy.md"
    commands "docs/commands.md"
    lab "docs/lab.md"
    lessons "docs/lessons.md"
    library "docs/library.md"
    method "docs/method.md"
    performance "docs/performance.md"
    proxy "docs/proxy.md"
    proxy_config "docs/proxy-config.md"
    proxy_operations "docs/proxy-operations.md"
    quickstart "docs/quickstart.md"
    reading_results "docs/reading-results.md"
    regression_testing "docs/regression-testing.md"
    scenario "docs/scenario.md"
    strategies "docs/strategies.md"
    test_tools "docs/test-tools.md"
}
