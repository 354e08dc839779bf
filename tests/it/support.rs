//! What the tests share.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

use evenkeel::fleet::Fleet;
use evenkeel::rng::Rng;
use evenkeel::scenario::Scenario;
use evenkeel::select::{Context, Finished, Outcome, Pick, Request, Selector};
use evenkeel::units::Nanos;

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the proxies under test read HTTP/1.1 responses by themselves, as they do unless the environment says `hyper`. The
/// tests of the proxy pass both ways: `EVENKEEL_HTTP1_CLIENT=hyper cargo test --test it proxy_`, and the same with
/// `EVENKEEL_HTTP1_FRONT` for the side of the clients.
pub fn own_http1_client() -> bool {
    std::env::var_os("EVENKEEL_HTTP1_CLIENT").is_none_or(|client| client != "hyper")
}

/// A scenario from TOML, which must be sound.
pub fn scenario(source: &str) -> Scenario {
    Scenario::parse("test", source, &|name| Err(format!("no file {name}")))
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A selector with what it needs around it, driven by hand.
pub struct Bench {
    pub selector: Box<dyn Selector>,
    pub fleet: Fleet,
    pub rng: Rng,
    pub now: Nanos,
}

impl Bench {
    pub fn new(strategy: &str, parameters: &str, weights: &[u32], seed: u64) -> Bench {
        let source = if parameters.is_empty() {
            format!("s = {strategy:?}")
        } else {
            format!("s = {{ {strategy} = {{ {parameters} }} }}")
        };
        #[derive(serde::Deserialize)]
        struct Holder {
            s: evenkeel::select::catalog::Strategy,
        }
        let holder: Holder = toml::from_str(&source).unwrap();
        let mut rng = Rng::stream(seed, "test", 0);
        let selector = holder.s.0.build(&mut rng);
        let mut bench = Bench { selector, fleet: Fleet::of_weights(weights), rng, now: Nanos::ZERO };
        bench.tell();
        bench
    }

    /// Hands the fleet's changes on.
    pub fn tell(&mut self) {
        let changes = self.fleet.take_changes();
        self.with(|selector, cx| selector.on_fleet(&changes, cx));
    }

    pub fn with<T>(&mut self, call: impl FnOnce(&mut dyn Selector, &mut Context<'_>) -> T) -> T {
        let mut cx = Context { now: self.now, fleet: &self.fleet, rng: &mut self.rng, truth: None };
        call(self.selector.as_mut(), &mut cx)
    }

    /// Picks and counts the request as started.
    pub fn pick(&mut self, request: &Request<'_>) -> Option<Pick> {
        let pick = self.with(|selector, cx| selector.pick(request, cx))?;
        self.fleet.started(pick.backend);
        Some(pick)
    }

    pub fn finish(&mut self, pick: Pick, latency: Nanos, outcome: Outcome) {
        self.fleet.ended(pick.backend);
        let finished = Finished { backend: pick.backend, latency, outcome, tag: pick.tag };
        self.with(|selector, cx| selector.on_finish(&finished, cx));
    }
}

/// Any request: client and key from a number.
pub fn client(n: u64) -> std::net::IpAddr {
    std::net::IpAddr::from((0x0a00_0000 | (evenkeel::rng::mix(n) as u32 & 0x00ff_ffff)).to_be_bytes())
}

/// The command, without what the environment says of colours.
pub fn evenkeel() -> Command {
    let mut command = Command::cargo_bin("evenkeel").unwrap();
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

/// A small sound scenario.
pub const SOUND: &str = r#"
title = "Sound"
question = "Is it?"
duration = "2s"
warmup = "200ms"
replications = 2
strategies = ["random", "p2c"]
arrivals = { poisson = { rate = "500/s" } }
service = { exponential = { mean = "10ms" } }
[[pools]]
name = "web"
[[pools.servers]]
name = "web"
count = 10
weight = 1
"#;

/// A folder that is removed when dropped.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }
    pub fn path(&self) -> &Path {
        self.0.path()
    }
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// A row of a CSV file, by column.
pub type Row = BTreeMap<String, String>;

/// The rows of a table.
pub fn rows(csv: impl Read) -> Vec<Row> {
    csv::Reader::from_reader(csv).deserialize().map(Result::unwrap).collect()
}

/// The rows of a CSV file.
pub fn rows_at(path: &Path) -> Vec<Row> {
    rows(std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The numbers in a column of the rows that have these values.
pub fn numbers(rows: &[Row], with: &[(&str, &str)], column: &str) -> Vec<f64> {
    let rows = rows.iter().filter(|row| with.iter().all(|(key, value)| row[*key] == *value));
    rows.map(|row| row[column].parse().unwrap()).collect()
}

/// As a string.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
