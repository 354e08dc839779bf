//! Charts of few and of many strategies: every name is there, nothing lies on anything else or beyond the edge.

use std::path::Path;
use std::sync::Arc;

use evenkeel::select::catalog::CATALOGUE;
use resvg::usvg::{self, Group, Node, Rect};

use crate::support::{Folder, evenkeel, root};

/// Two pools with caches, a fault, a sweep over two axes: something for every chart. Names are long.
fn source(strategies: usize) -> String {
    let names: Vec<String> = CATALOGUE.iter().rev().take(strategies).map(|row| format!("{:?}", row.name)).collect();
    format!(
        r#"
title = "Every chart"
question = "Is it legible?"
duration = "2s"
warmup = "200ms"
replications = 2
strategies = [{}]
arrivals = {{ poisson = {{ load = "60%" }} }}
service = {{ exponential = {{ mean = "5ms" }} }}
keys = {{ count = 100 }}
clients = {{ timeout = "100ms" }}
[[paths]]
path = "/pay"
share = 3
[[paths]]
path = "/run"
share = 1
[[pools]]
name = "payments"
[[pools.servers]]
name = "pay"
count = 4
cache = {{ capacity = 50, hit_cost = "10%" }}
[[pools]]
name = "run"
[[pools.servers]]
name = "run"
count = 5
cache = {{ capacity = 50, hit_cost = "10%" }}
[[routes]]
prefix = "/pay"
pool = "payments"
[[routes]]
prefix = "/run"
pool = "run"
[[faults]]
target = "run/run-1"
at = "500ms"
for = "500ms"
what = {{ slow = {{ factor = 20 }} }}
[[sweep]]
key = "arrivals.poisson.load"
values = ["30%", "60%", "90%"]
[[sweep]]
key = "pools.run.servers.run.count"
values = [5, 8]
[sensitivity]
by = "30%"
keys = ["service.exponential.mean"]
"#,
        names.join(", ")
    )
}

fn parsed(svg: &str) -> usvg::Tree {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(std::fs::read(root().join("src/report/font/DejaVuSans-subset.ttf")).unwrap());
    fonts.set_sans_serif_family("DejaVu Sans");
    usvg::Tree::from_str(svg, &usvg::Options { fontdb: Arc::new(fonts), ..usvg::Options::default() }).unwrap()
}

/// Every text, and where its ink is.
fn texts(group: &Group, found: &mut Vec<(String, Rect)>) {
    for node in group.children() {
        match node {
            Node::Group(group) => texts(group, found),
            Node::Text(text) => {
                let words: String = text.chunks().iter().map(|chunk| chunk.text()).collect();
                found.push((words.trim().to_owned(), text.flattened().abs_bounding_box()));
            }
            _ => {}
        }
    }
}

fn check(name: &str, svg: &str, labels: &[&str]) {
    let tree = parsed(svg);
    let mut found = Vec::new();
    texts(tree.root(), &mut found);
    for label in labels {
        let shown = |text: &str| text == *label || text == format!("{label} †");
        // Sensitivity ranks no baselines.
        assert!(
            found.iter().any(|(text, _)| shown(text)) || (name.contains("sensitivity") && label.starts_with("oracle")),
            "{name}: no {label}"
        );
    }
    let (width, height) = (tree.size().width(), tree.size().height());
    for (i, (text, place)) in found.iter().enumerate() {
        assert!(
            place.left() >= 4.0 && place.right() <= width - 4.0 && place.top() >= 4.0 && place.bottom() <= height - 4.0,
            "{name}: `{text}` is cut off: {place:?} of {width}×{height}"
        );
        for (other, there) in &found[i + 1..] {
            let apart = place.right() <= there.left()
                || there.right() <= place.left()
                || place.bottom() <= there.top()
                || there.bottom() <= place.top();
            assert!(apart, "{name}: `{text}` at {place:?} lies on `{other}` at {there:?}");
        }
    }
}

/// A byte per pixel, and no more bytes than that needs.
fn check_png(name: &str, png: &[u8]) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n", "{name}");
    assert_eq!((png[24], png[25]), (8, 3), "{name}: depth and kind");
}

fn done(arguments: &[&str], folder: &Path) {
    evenkeel().args(arguments).args(["--quiet", "--out"]).arg(folder).assert().success();
}

fn charts_are_legible(strategies: usize) {
    let folder = Folder::new();
    let file = folder.file("every.toml", &source(strategies));
    let (file, out) = (file.to_str().unwrap(), folder.path().join("out"));
    done(&["run", file], &out);
    done(&["sweep", file], &out);
    done(&["sweep", file, "--sensitivity"], &out);
    let labels: Vec<&str> = CATALOGUE.iter().rev().take(strategies).map(|row| row.name).collect();
    let expected = [
        "every/latency",
        "every/latency_cdf",
        "every/pools",
        "every/fairness",
        "every/cache",
        "every/timeseries",
        "every.sweep/sweep_p99",
        "every.sweep/sweep_mean",
        "every.sweep/sweep_errors",
        "every.sweep/sweep_cache",
        "every.sweep/sweep_fairness",
        "every.sensitivity/sensitivity",
    ];
    for name in expected {
        let svg = std::fs::read_to_string(out.join(format!("{name}.svg"))).unwrap_or_else(|e| panic!("{name}: {e}"));
        check(name, &svg, &labels);
        check_png(name, &std::fs::read(out.join(format!("{name}.png"))).unwrap());
    }
}

#[test]
fn charts_of_few_strategies_are_legible() {
    charts_are_legible(8);
}

#[test]
fn charts_of_all_strategies_are_legible() {
    charts_are_legible(CATALOGUE.len());
}

/// What is measured without a font agrees with the font: no text is wider than it is taken for.
#[test]
fn widths_are_those_of_the_font() {
    let ends = |text: &str, x: f64| {
        let svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="2000" height="100"><text x="{x}" y="50" font-size="20" font-family="DejaVu Sans">{text}</text></svg>"#
        );
        let mut found = Vec::new();
        texts(parsed(&svg).root(), &mut found);
        f64::from(found[0].1.right())
    };
    for row in CATALOGUE {
        let width = evenkeel::report::charts::text_width(row.name, 20.0);
        let real = ends(row.name, 100.0) - 100.0;
        // Kerning and the last letter's own margin.
        assert!((-4.0..=0.5).contains(&(real - width)), "{}: {real} and not {width}", row.name);
    }
}
