//! Tests of the report, on folders made by hand.

use std::collections::BTreeMap;

use super::model::{Document, Kind};
use super::{Folder, document, markdown, page};

const HOSTILE: &str = "</script></noscript><img src=x onerror=alert(1)>";

/// A strategy with its p99 in each replication, milliseconds.
type Runs<'a> = (&'a str, &'a [f64]);

/// A folder of a steady run, by point.
fn folder(points: &[(&str, &[Runs<'_>])]) -> Folder {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64 / 1e3;
    let mut metrics = "scenario,point,strategy,metric,unit,value,low,high,replications\n".to_owned();
    let mut runs = "scenario,point,strategy,replication,seed,workload,latency.p99\n".to_owned();
    let mut comparison =
        "scenario,point,strategy,metric,against,relation,difference,low,high,ratio,replications\n".to_owned();
    let mut entries = Vec::new();
    for (point, strategies) in points {
        let best = strategies.iter().min_by(|a, b| mean(a.1).total_cmp(&mean(b.1))).unwrap();
        for (label, values) in *strategies {
            let (label, n) = (format!("\"{}\"", label.replace('"', "\"\"")), values.len());
            let p99 = mean(values);
            for (metric, value) in
                [("latency.mean", p99 / 2.0), ("latency.p99", p99), ("errors.ratio", 0.0), ("unfinished.ratio", 0.0)]
            {
                metrics += &format!("s,{point},{label},{metric},s,{value},{},{},{n}\n", value * 0.99, value * 1.01);
            }
            for (r, value) in values.iter().enumerate() {
                runs += &format!("s,{point},{label},{r},{r},{r},{}\n", value / 1e3);
            }
            let gap = p99 - mean(best.1);
            let relation = if gap > 0.0 { "worse" } else { "best" };
            let ratio = p99 / mean(best.1);
            comparison += &format!(
                "s,{point},{label},latency.p99,{},{relation},{gap},{},{},{ratio},{n}\n",
                best.0,
                gap * 0.9,
                gap * 1.1
            );
        }
        let list: Vec<_> = strategies
            .iter()
            .map(|(label, values)| (serde_json::json!({ "label": label, "parameters": { *label: {} } }), values.len()))
            .collect();
        entries.push(serde_json::json!({
            "point": point, "replications": list[0].1, "duration_s": 10.0,
            "strategies": list.into_iter().map(|(entry, _)| entry).collect::<Vec<_>>(),
        }));
    }
    let mut manifest = entries.remove(0);
    manifest["scenario"] = "s".into();
    manifest["title"] = "A title".into();
    manifest["question"] = "Which is faster?".into();
    manifest["seed"] = 18_446_744_073_709_551_615_u64.into();
    manifest["command"] = "evenkeel run s.toml".into();
    manifest["points"] = entries.into();
    let files = [
        ("manifest.json", manifest.to_string()),
        ("metrics.csv", metrics),
        ("replications.csv", runs),
        ("comparison.csv", comparison),
    ];
    Folder { files: files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect() }
}

fn change(folder: &mut Folder, by: impl Fn(&mut serde_json::Value)) {
    let mut manifest = serde_json::from_slice(&folder.files["manifest.json"]).unwrap();
    by(&mut manifest);
    folder.files.insert("manifest.json".to_owned(), manifest.to_string().into_bytes());
}

/// The document in a page.
fn data(page: &[u8]) -> serde_json::Value {
    let text = std::str::from_utf8(page).unwrap();
    let start = text.find("id=\"evenkeel-data\">").unwrap() + "id=\"evenkeel-data\">".len();
    let end = start + text[start..].find("</script>").unwrap();
    serde_json::from_str(&text[start..end]).unwrap()
}

const SIX: [f64; 6] = [100.0, 102.0, 98.0, 101.0, 99.0, 100.0];

fn times(factor: f64) -> Vec<f64> {
    SIX.iter().map(|value| value * factor).collect()
}

#[test]
fn a_run_is_read_from_its_tables() {
    let (slow, fast) = (times(4.0), times(1.0));
    let document = document(&folder(&[("base", &[("round_robin", &slow), ("p2c", &fast)])])).unwrap();
    assert_eq!(document.kind, Kind::Run);
    assert_eq!(document.answer, ["p2c's p99 is 100 ms, 4.0 times lower than round_robin's 400 ms."]);
    assert_eq!(
        document.repeat.seed.as_deref(),
        Some("18446744073709551615"),
        "exact, which a number is not in JavaScript"
    );
    let run = document.run.unwrap();
    let labels: Vec<&str> = run.strategies.iter().map(|strategy| strategy.label.as_str()).collect();
    assert_eq!(labels, ["p2c", "round_robin"], "the best first");
    assert_eq!(run.strategies[1].verdicts[0].text, "4.0x slower");
    assert_eq!(run.strategies[1].values["latency.p99"][0], Some(0.4));
    assert_eq!(run.strategies[1].family, "round robin");
    // There are no series, servers and distributions in this folder: a note says so.
    let left_out = document.warnings.iter().find(|note| note.text.contains("left out")).unwrap();
    assert!(left_out.text.contains("servers.csv, timeseries.csv, latency_cdf.csv"), "{}", left_out.text);
}

#[test]
fn what_a_report_cannot_do_without_is_named() {
    let fast = times(1.0);
    let complete = folder(&[("base", &[("p2c", &fast)])]);
    for name in ["manifest.json", "metrics.csv"] {
        let mut folder = complete.clone();
        folder.files.remove(name);
        assert_eq!(document(&folder).unwrap_err().to_string(), format!("there is no {name}"));
    }
    let mut folder = complete.clone();
    folder.files.insert("metrics.csv".to_owned(), b"scenario,point,strategy\n".to_vec());
    assert_eq!(document(&folder).unwrap_err().to_string(), "metrics.csv has no column `metric`");
    let mut folder = complete;
    folder.files.insert("manifest.json".to_owned(), b"{\n oops".to_vec());
    assert!(document(&folder).unwrap_err().to_string().starts_with("manifest.json:2: "));
}

#[test]
fn hostile_names_stay_text() {
    let (slow, fast) = (times(4.0), times(1.0));
    let mut folder = folder(&[("base", &[(HOSTILE, &slow), ("p2c", &fast)])]);
    change(&mut folder, |manifest| {
        manifest["title"] = HOSTILE.into();
        manifest["question"] = HOSTILE.into();
        manifest["command"] = HOSTILE.into();
        manifest["explanation"] = HOSTILE.into();
        manifest["notes"] = serde_json::json!([{ "text": HOSTILE, "strategies": [HOSTILE] }]);
        manifest["faults"] = serde_json::json!([{ "start": 1.0, "end": null, "target": HOSTILE, "text": HOSTILE }]);
    });
    folder.files.insert("scenario.toml".to_owned(), HOSTILE.as_bytes().to_vec());
    let clean = {
        let mut folder = folder.clone();
        change(&mut folder, |manifest| manifest["title"] = "t".into());
        document(&folder).unwrap()
    };
    let document = document(&folder).unwrap();
    let page = page(&document, &folder).unwrap();
    let text = String::from_utf8(page.clone()).unwrap();
    assert!(!text.contains("<img src=x"), "no tag comes from a name");
    for tag in ["</script", "</noscript", "<img"] {
        let of_page = String::from_utf8(super::page(&clean, &Folder::default()).unwrap()).unwrap();
        assert_eq!(text.matches(tag).count(), of_page.matches(tag).count(), "{tag}");
    }
    let data = data(&page);
    assert_eq!(data["title"], HOSTILE);
    assert_eq!(data["run"]["strategies"][1]["label"], HOSTILE);
    assert_eq!(data["repeat"]["scenario_source"], HOSTILE);
    let markdown = markdown(&document);
    // An indented line is code, which is text.
    assert!(markdown.lines().filter(|line| !line.starts_with("    ")).all(|line| !line.contains("<img")), "{markdown}");
    assert!(markdown.contains("&lt;/script&gt;"));
}

#[test]
fn strategies_cross_where_both_sides_are_certain() {
    let at = |factor: f64| times(factor);
    let (one, two, three, five) = (at(1.0), at(2.0), at(3.0), at(5.0));
    // Paired differences of both signs.
    let level: Vec<f64> = SIX.iter().enumerate().map(|(i, v)| v * (2.0 + 0.1 * [1.0, -1.0][i % 2])).collect();
    let folder = folder(&[
        ("load=90%", &[("round_robin", &five), ("p2c", &three)]),
        ("load=50%", &[("round_robin", &one), ("p2c", &two)]),
        ("load=70%", &[("round_robin", &two), ("p2c", &level)]),
    ]);
    let document = document(&folder).unwrap();
    assert_eq!(document.kind, Kind::Sweep);
    let sweep = document.sweep.as_ref().unwrap();
    assert_eq!((sweep.axes[0].key.as_str(), sweep.axes[0].unit.as_str()), ("load", "share"));
    assert_eq!(sweep.points[0].values, [Some(0.9)]);
    let crossing = &sweep.crossings[0];
    assert_eq!(crossing.text, "round_robin has the lower p99 up to 50%, and p2c from 90%.", "70 % is undecided");
    assert_eq!((crossing.a, crossing.b, crossing.between), (0, 1, (0.5, 0.9)));
    assert_eq!(sweep.crossings.len(), 1);
    assert!(document.answer.contains(&crossing.text));
    assert_eq!(sweep.strategies[1].values["latency.p99"][1], [Some(0.2), Some(0.198), Some(0.202)]);
    assert!(document.run.is_none());
    let p99s: Vec<_> = sweep.strategies[0].values["latency.p99"].iter().map(|at| at[0].unwrap()).collect();
    assert_eq!(p99s, [0.5, 0.1, 0.2]);
}

#[test]
fn nothing_crosses_without_single_runs_or_with_too_few() {
    let (one, two) = (times(1.0), times(2.0));
    let points: [(&str, &[Runs<'_>]); 2] =
        [("load=50%", &[("round_robin", &one), ("p2c", &two)]), ("load=90%", &[("round_robin", &two), ("p2c", &one)])];
    let crossings = |folder: &Folder| document(folder).unwrap().sweep.unwrap().crossings.len();
    let mut complete = folder(&points);
    assert_eq!(crossings(&complete), 1);
    complete.files.remove("replications.csv");
    assert_eq!(crossings(&complete), 0);
    let few: Vec<(&str, Vec<Runs<'_>>)> = points
        .iter()
        .map(|(point, all)| (*point, all.iter().map(|(label, values)| (*label, &values[..4])).collect()))
        .collect();
    let few: Vec<(&str, &[Runs<'_>])> = few.iter().map(|(point, all)| (*point, &all[..])).collect();
    assert_eq!(crossings(&folder(&few)), 0);
}

#[test]
fn large_documents_are_compressed_and_the_same_every_time() {
    let fast = times(1.0);
    let labels: Vec<String> = (0..800).map(|i| format!("p2c-{i}")).collect();
    let strategies: Vec<(&str, &[f64])> = labels.iter().map(|label| (label.as_str(), &fast[..])).collect();
    let folder = folder(&[("base", &strategies)]);
    let document: Document = document(&folder).unwrap();
    let once = page(&document, &folder).unwrap();
    assert_eq!(once, page(&document, &folder).unwrap());
    let text = String::from_utf8(once).unwrap();
    assert!(text.contains("id=\"evenkeel-data-gz\">H4sI"));
    assert!(!text.contains("id=\"evenkeel-data\">{"));
}

#[test]
fn the_index_links_reports_and_names_what_cannot_be_read() {
    let fast = times(1.0);
    let mut good = folder(&[("base", &[("p2c", &fast)])]);
    good.files.insert(super::REPORT.to_owned(), Vec::new());
    let bare = folder(&[("base", &[("p2c", &fast)])]);
    let bad = Folder { files: BTreeMap::from([("manifest.json".to_owned(), b"{".to_vec())]) };
    let folders = [("a".to_owned(), good), ("b".to_owned(), bare), ("c".to_owned(), bad)];
    let document = super::index(&folders);
    let rows = &document.sections[0].table.as_ref().unwrap().rows;
    assert_eq!(rows[0].href.as_deref(), Some("a/report.html"));
    assert_eq!((rows[1].href.as_deref(), rows[2].href.as_deref()), (None, None));
    assert_eq!(rows[2].mark, Some("bad"));
    let json = serde_json::to_string(&rows[0]).unwrap();
    assert!(json.contains("p2c's p99 is 100 ms."), "{json}");
}
