//! Charts of few and of many strategies: every name is shown, nothing overlaps or leaves the chart.

use std::path::Path;
use std::sync::Arc;

use evenkeel::report::charts::{CHARTS, Study};
use evenkeel::select::catalog::CATALOGUE;
use resvg::usvg::{self, Group, Node, Rect};

use crate::support::{Folder, evenkeel, numbers, root, rows};

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
kind = {{ slow = {{ factor = 20 }} }}
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
        // Alone, or in a list of labels that share a mark.
        let shown = |text: &str| {
            let list = text.rsplit(": ").next().unwrap_or_default();
            list.split(", ")
                .any(|name| name == *label || name.trim_end_matches(',') == *label || name == format!("{label} †"))
        };
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
    evenkeel().args(arguments).args(["--quiet", "--png", "--out"]).arg(folder).assert().success();
}

fn charts_are_legible(strategies: usize) {
    let folder = Folder::new();
    let file = folder.file("every.toml", &source(strategies));
    let (file, out) = (file.to_str().unwrap(), folder.path().join("out"));
    done(&["run", file], &out);
    done(&["sweep", file], &out);
    done(&["sweep", file, "--sensitivity"], &out);
    let labels: Vec<&str> = CATALOGUE.iter().rev().take(strategies).map(|row| row.name).collect();
    // The scenario has something for every chart of the catalogue.
    for chart in &CHARTS {
        let name = &match chart.study {
            Study::Run => format!("every/{}", chart.name),
            Study::Sweep => format!("every.sweep/{}", chart.name),
            Study::Sensitivity => format!("every.sensitivity/{}", chart.name),
        };
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

/// Every text of a chart, and where its ink is.
fn texts_of(svg: &str) -> Vec<(String, Rect)> {
    let mut found = Vec::new();
    texts(parsed(svg).root(), &mut found);
    found
}

fn charts_of(source: &str, name: &str) -> impl Fn(&str) -> String {
    let folder = Folder::new();
    let file = folder.file(&format!("{name}.toml"), source);
    let out = folder.path().join("out");
    done(&["run", file.to_str().unwrap()], &out);
    let place = out.join(name);
    move |chart| {
        let _keep = &folder;
        std::fs::read_to_string(place.join(chart)).unwrap_or_else(|e| panic!("{chart}: {e}"))
    }
}

const TWO_POOLS: &str = r#"
title = "Two pools"
question = "Which of them is slow?"
kind = "terminating"
duration = "3s"
replications = 5
strategies = ["random", "round_robin", "weighted_round_robin"]
arrivals = { poisson = { rate = "1200/s" } }
clients = { timeout = "1s" }
service = { exponential = { mean = "5ms" } }
[[paths]]
path = "/fast"
[[paths]]
path = "/slow"
[[pools]]
name = "fast"
autoscale = { target = "60%", initial_servers = 3, min_servers = 2, interval = "200ms", delay = "100ms", cooldown = "200ms" }
[[pools.servers]]
name = "fast"
count = 12
[[pools]]
name = "slow"
[[pools.servers]]
name = "slow"
count = 5
speed = 0.8
[[routes]]
prefix = "/fast"
pool = "fast"
[[routes]]
prefix = "/slow"
pool = "slow"
"#;

/// Where several pools are asked each has rows, panels and curves of its own, and what comes and goes is drawn.
#[test]
fn pools_are_drawn_apart() {
    let chart = charts_of(TWO_POOLS, "two");
    for name in ["latency.svg", "latency_cdf.svg", "timeseries.svg", "pools.svg"] {
        let svg = chart(name);
        check(name, &svg, &["random", "round_robin", "weighted_round_robin"]);
        let found = texts_of(&svg);
        let times = |text: &str| found.iter().filter(|(found, _)| found == text).count();
        if name != "pools.svg" {
            assert_eq!((times("fast"), times("slow")), (1, 1), "{name}: {found:?}");
        }
        if !name.starts_with("pools") && !name.starts_with("timeseries") {
            assert_eq!(times("random"), 2, "{name}: a mixture answers no question");
        }
    }
    // Equal weights make one of two strategies where no server comes or goes: their panel is one, and names both.
    let series = chart("timeseries.svg");
    let found = texts_of(&series);
    assert_eq!(found.iter().filter(|(text, _)| text == "round_robin, weighted_round_robin").count(), 1, "{found:?}");
    assert!(found.iter().any(|(text, _)| text == "The same curve in slow: round_robin, weighted_round_robin"));
    assert!(found.iter().any(|(text, _)| text == "12") && series.contains("servers (green, right)"), "{found:?}");

    // The data behind it: servers start at 3, stay between 2 and 12, and change; the fixed pool's do not.
    let data = rows(chart("timeseries_pools.csv").as_bytes());
    let servers = |strategy: &str, pool: &str| numbers(&data, &[("strategy", strategy), ("pool", pool)], "servers");
    let fast = servers("random", "fast");
    assert_eq!(fast.len(), 100);
    assert!(
        fast[0] == 3.0 && fast.iter().all(|n| (2.0..=12.0).contains(n)) && fast.iter().any(|n| *n > 4.0),
        "{fast:?}"
    );
    assert!(servers("random", "slow").iter().all(|n| *n == 5.0));
}

/// Requests of a pool are counted in its bins and in no other's, and all pools together are the whole.
#[test]
fn bins_of_pools_add_up() {
    let chart = charts_of(TWO_POOLS, "two");
    let (whole, pools) = (chart("timeseries.csv"), chart("timeseries_pools.csv"));
    let (whole, pools) = (rows(whole.as_bytes()), rows(pools.as_bytes()));
    let of = |pool: &str| -> f64 {
        numbers(&pools, &[("strategy", "random"), ("pool", pool)], "goodput_per_s").iter().sum()
    };
    let all: f64 = numbers(&whole, &[("strategy", "random")], "goodput_per_s").iter().sum();
    let (fast, slow) = (of("fast"), of("slow"));
    assert!(fast > 0.3 * all && slow > 0.3 * all, "{fast} and {slow} of {all}");
    assert!((fast + slow - all).abs() < 1e-3 * all, "{fast} and {slow} are not {all}");
}

/// The mark of every pool is to be seen, also where two have the same p99.
#[test]
fn no_mark_of_a_pool_hides_another_s() {
    // Both pools time out: their p99 is the same half second.
    let source = TWO_POOLS.replace("timeout = \"1s\"", "timeout = \"50ms\"").replace("1200/s", "6000/s");
    let source = source.replace("kind = \"terminating\"", "kind = \"terminating\"\nallow_overload = true");
    let svg = charts_of(&source, "same")("pools.svg");
    // Marks of the rows: the circles and squares below the legend.
    let number = |tag: &str, key: &str| -> f64 {
        let from = tag.find(&format!(" {key}=\"")).unwrap() + key.len() + 3;
        tag[from..].split('"').next().unwrap().parse().unwrap()
    };
    let circles: Vec<(f64, f64)> =
        svg.lines().filter(|l| l.starts_with("<circle")).map(|l| (number(l, "cx"), number(l, "cy"))).collect();
    let squares: Vec<(f64, f64)> = svg
        .lines()
        .filter(|l| l.starts_with("<rect") && number(l, "width") < 40.0)
        .map(|l| (number(l, "x") + number(l, "width") / 2.0, number(l, "y") + number(l, "height") / 2.0))
        .collect();
    assert_eq!((circles.len(), squares.len()), (4, 4), "one each for the legend and three rows");
    for (circle, square) in circles.iter().zip(&squares) {
        let apart = f64::hypot(circle.0 - square.0, circle.1 - square.1);
        assert!(apart > 20.0, "{circle:?} lies on {square:?}");
    }
}
