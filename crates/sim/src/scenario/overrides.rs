//! Overrides of a scenario's values: the points of a sweep, the changes of a sensitivity analysis.
//!
//! A key is written as a path: `arrivals.poisson.load`, `pools.web.reports.delay`, `strategies.p2c.choices`. An element of
//! an array is named by its number from 0, by its `name` (or `path`, `prefix`, `target`), or, where it is a table of one
//! key, by that key. The value is replaced in the text itself, so that everything else, lines and columns included, stays
//! unchanged, and the result is parsed by the same rules.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

use evenkeel_core::units::{Nanos, Rate, Ratio};

/// Keys that vary together, and their values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// Paths of the keys; at least one.
    pub keys: Vec<String>,
    /// Values as written in a file, strings with their quotation marks.
    pub values: Vec<String>,
}

/// A point of a sweep: the keys of each axis with their value.
pub type SweepPoint = Vec<(Vec<String>, String)>;

/// Settings of a sensitivity analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// Share by which each constant is decreased and increased.
    pub by: f64,
    /// Paths of the constants to vary, one at a time.
    pub keys: Vec<String>,
    /// The metric that ranks.
    pub metric: String,
}

/// Every point of a grid, the first axis slowest.
pub fn grid(axes: &[Axis]) -> Vec<SweepPoint> {
    axes.iter().fold(vec![Vec::new()], |places, axis| {
        let extend = |place: &SweepPoint| {
            let with = |value: &String| [place.as_slice(), &[(axis.keys.clone(), value.clone())]].concat();
            axis.values.iter().map(with).collect::<Vec<_>>()
        };
        places.iter().flat_map(extend).collect()
    })
}

/// The label of a point in results: `arrivals.poisson.load=80%`.
pub fn name(place: &SweepPoint) -> String {
    let one = |(keys, value): &(Vec<String>, String)| format!("{}={}", keys.join("+"), plain(value));
    place.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// A value without quotation marks.
pub fn plain(value: &str) -> &str {
    value.trim_matches(|c| c == '"' || c == '\'')
}

/// A value as a number for charts: seconds, per second, a share, or the number itself.
pub fn number(value: &str) -> Option<f64> {
    let text = plain(value);
    if let Ok(number) = text.replace('_', "").parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let seconds = text.parse::<Nanos>().map(Nanos::as_secs_f64);
    seconds.or_else(|_| text.parse::<Ratio>().map(|r| r.0)).or_else(|_| text.parse::<Rate>().map(|r| r.0)).ok()
}

/// A value times a factor, written the same way; counts stay whole. `None` where it is no number, or where rounding leaves
/// it as it was.
pub fn scaled(value: &str, factor: f64) -> Option<String> {
    let text = plain(value);
    let (digits, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit() && !".eE+-_".contains(c)).unwrap_or(text.len()));
    let number: f64 = digits.trim().replace('_', "").parse().ok()?;
    number_shape(value)?;
    let whole = unit.is_empty() && !digits.contains(['.', 'e', 'E']);
    let new = if whole { (number * factor).round() } else { number * factor };
    // Nine digits: as a reader would write it, without rounding noise of the product.
    let new: f64 = format!("{new:.8e}").parse().ok()?;
    let quoted = value.starts_with(['"', '\'']);
    let written = if whole {
        format!("{new}")
    } else if quoted {
        format!("\"{new}{unit}\"")
    } else {
        // A float stays a float, so that it is parsed by the same rule.
        format!("{new:?}")
    };
    (new != number).then_some(written)
}

fn number_shape(value: &str) -> Option<()> {
    number(value).map(|_| ())
}

/// The text with other values for some keys.
pub fn replace(source: &str, place: &SweepPoint) -> Result<String, String> {
    let mut edits = Vec::new();
    for (keys, value) in place {
        for key in keys {
            edits.push((find(source, key)?, value.as_str()));
        }
    }
    edits.sort_by_key(|(span, _)| span.start);
    if let Some(pair) = edits.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
        return Err(format!("`{}` is set twice", &source[pair[1].0.clone()]));
    }
    let mut text = source.to_owned();
    for (span, value) in edits.into_iter().rev() {
        text.replace_range(span, value);
    }
    Ok(text)
}

/// The text with the first value alone on each axis of `[[sweep]]`: the common part of all points, with a length that is
/// independent of their number. Line numbers are unchanged.
pub fn without_values(source: &str) -> String {
    let mut text = source.to_owned();
    let Ok(table) = DeTable::parse(source) else { return text };
    let axes = table.get_ref().get("sweep").and_then(|axes| axes.get_ref().as_array()).into_iter().flatten();
    let values = axes.filter_map(|axis| axis.get_ref().as_table()?.get("values"));
    let mut edits: Vec<(Range<usize>, String)> = values
        .filter_map(|values| {
            let first = values.get_ref().as_array()?.first()?.span();
            let lines = source[values.span()].matches('\n').count() - source[first.clone()].matches('\n').count();
            Some((values.span(), format!("[{}{}]", &source[first], "\n".repeat(lines))))
        })
        .collect();
    edits.sort_by_key(|(span, _)| span.start);
    edits.into_iter().rev().for_each(|(span, short)| text.replace_range(span, &short));
    text
}

/// The position of a key's value. The error names the closest existing key.
pub fn find(source: &str, key: &str) -> Result<Range<usize>, String> {
    let all = leaves(source)?;
    let found = all.iter().find(|leaf| leaf.names.iter().any(|name| name == key));
    found.map(|leaf| leaf.span.clone()).ok_or_else(|| {
        let names = || all.iter().map(|leaf| leaf.names[0].as_str());
        let help = evenkeel_config::diagnostic::did_you_mean(key, names());
        format!("the scenario sets no `{key}` ({help}); what is to be varied must be written in the file")
    })
}

/// Every key with a number, with its value, except those for duration and number of runs and those of the comparison.
pub fn constants(source: &str) -> Result<Vec<(String, String)>, String> {
    const NOT_THE_MODEL: [&str; 13] = [
        "seed",
        "replications",
        "duration",
        "warmup",
        "cache_warmup",
        "drain",
        "bins",
        "batches",
        "sweep",
        "sensitivity",
        "expect",
        "strategies",
        "variants",
    ];
    let model = |leaf: &Leaf| !NOT_THE_MODEL.contains(&leaf.names[0].split('.').next().unwrap_or_default());
    let value = |leaf: &Leaf| source[leaf.span.clone()].to_owned();
    let numeric = |leaf: &&Leaf| number_shape(&value(leaf)).is_some();
    Ok(leaves(source)?
        .iter()
        .filter(|leaf| model(leaf))
        .filter(numeric)
        .map(|l| (l.names[0].clone(), value(l)))
        .collect())
}

/// A value that is no table and no array.
struct Leaf {
    /// Every path that names it; the first is the readable one.
    names: Vec<String>,
    span: Range<usize>,
}

fn leaves(source: &str) -> Result<Vec<Leaf>, String> {
    let table = DeTable::parse(source).map_err(|error| error.message().to_owned())?;
    let mut found = Vec::new();
    walk_table(table.get_ref(), &[String::new()], &mut found);
    Ok(found)
}

fn walk_table(table: &DeTable<'_>, prefixes: &[String], found: &mut Vec<Leaf>) {
    for (key, value) in table {
        let names: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix}{}", key.get_ref())).collect();
        walk(value.get_ref(), value.span(), names, found);
    }
}

fn walk(value: &DeValue<'_>, span: Range<usize>, names: Vec<String>, found: &mut Vec<Leaf>) {
    let below = |names: &[String]| names.iter().map(|name| format!("{name}.")).collect::<Vec<_>>();
    match value {
        DeValue::Table(table) => walk_table(table, &below(&names), found),
        DeValue::Array(array) => {
            for (i, element) in array.iter().enumerate() {
                let prefixes = below(&names);
                let called = element_names(element.get_ref(), i);
                let names =
                    called.iter().flat_map(|c| prefixes.iter().map(move |prefix| format!("{prefix}{c}"))).collect();
                // The content of an element with one key is named by that key alone: `strategies.p2c.choices`.
                match element.get_ref() {
                    DeValue::Table(table) if table.len() == 1 => {
                        let only = table.iter().next();
                        only.into_iter()
                            .for_each(|(_, value)| walk(value.get_ref(), value.span(), Clone::clone(&names), found));
                    }
                    value => walk(value, element.span(), names, found),
                }
            }
        }
        _ => found.push(Leaf { names, span }),
    }
}

/// The names of an element of an array.
fn element_names(element: &DeValue<'_>, index: usize) -> Vec<String> {
    let DeValue::Table(table) = element else { return vec![index.to_string()] };
    let named = ["name", "path", "prefix", "target"].iter().find_map(|key| table.get(*key)?.get_ref().as_str());
    let only = (table.len() == 1).then(|| table.keys().next().map(|key| key.get_ref().to_string())).flatten();
    named.map(str::to_owned).or(only).into_iter().chain([index.to_string()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
arrivals = { poisson = { load = "80%" } }   # a comment stays
strategies = ["random", { p2c = { choices = 2 } }]
[[pools]]
name = "web"
reports = { interval = "1s", delay = "250ms" }
[[pools.servers]]
name = "a"
count = 10
speed = 1.5
[[paths]]
path = "/pay"
share = 3
"#;

    #[test]
    fn keys_are_found_by_name_and_by_number() {
        let value = |key| &SOURCE[find(SOURCE, key).unwrap()];
        assert_eq!(value("arrivals.poisson.load"), "\"80%\"");
        assert_eq!(value("pools.web.reports.delay"), "\"250ms\"");
        assert_eq!(value("pools.0.servers.0.count"), "10");
        assert_eq!(value("pools.web.servers.a.speed"), "1.5");
        assert_eq!(value("strategies.p2c.choices"), "2");
        assert_eq!(value("strategies.1.choices"), "2");
        assert_eq!(value("paths./pay.share"), "3");
        let error = find(SOURCE, "arrivals.poisson.laod").unwrap_err();
        assert!(error.contains("did you mean `arrivals.poisson.load`"), "{error}");
    }

    #[test]
    fn values_are_replaced_in_place() {
        let axes = [
            Axis { keys: vec!["arrivals.poisson.load".into()], values: vec!["\"50%\"".into(), "0.9".into()] },
            Axis {
                keys: vec!["pools.web.servers.a.count".into(), "paths./pay.share".into()],
                values: vec!["7".into()],
            },
        ];
        let places = grid(&axes);
        assert_eq!(places.len(), 2);
        assert_eq!(name(&places[0]), "arrivals.poisson.load=50% pools.web.servers.a.count+paths./pay.share=7");
        let text = replace(SOURCE, &places[1]).unwrap();
        assert!(text.contains("{ load = 0.9 } }   # a comment stays"), "{text}");
        assert!(text.contains("count = 7\n") && text.contains("share = 7\n"), "{text}");
        assert_eq!(text.lines().count(), SOURCE.lines().count());
        let twice = vec![(vec!["paths./pay.share".to_owned(), "paths.0.share".to_owned()], "1".to_owned())];
        assert!(replace(SOURCE, &twice).is_err());
    }

    #[test]
    fn a_point_needs_no_other_points_values() {
        let axis = "[[sweep]]\nkey = \"arrivals.poisson.load\"\nvalues = [\n  \"10%\", # low\n  \"20%\",\n]\n";
        let other = "[[sweep]]\nkey = \"seed\"\nvalues = [1, 2, 3] # three\n";
        let source = format!("{SOURCE}{axis}{other}");
        let text = without_values(&source);
        assert!(text.contains("values = [\"10%\"\n\n\n]\n[[sweep]]"), "{text}");
        assert!(text.contains("values = [1] # three\n"), "{text}");
        assert_eq!(text.lines().count(), source.lines().count());
        assert_eq!(&text[find(&text, "arrivals.poisson.load").unwrap()], "\"80%\"");
        assert_eq!(without_values(SOURCE), SOURCE);
    }

    #[test]
    fn numbers_are_scaled_in_their_own_notation() {
        assert_eq!(scaled("\"250ms\"", 1.3).unwrap(), "\"325ms\"");
        assert_eq!(scaled("\"80%\"", 0.7).unwrap(), "\"56%\"");
        assert_eq!(scaled("\"900/s\"", 1.3).unwrap(), "\"1170/s\"");
        assert_eq!(scaled("10", 1.3).unwrap(), "13");
        assert_eq!(scaled("1.5", 0.7).unwrap(), "1.05");
        assert_eq!(scaled("2.0", 1.5).unwrap(), "3.0");
        assert_eq!(scaled("1", 1.3), None, "a count that rounding leaves alone");
        assert_eq!(scaled("\"web\"", 1.3), None);
        assert_eq!((number("\"250ms\""), number("\"80%\""), number("12")), (Some(0.25), Some(0.8), Some(12.0)));
    }

    #[test]
    fn constants_are_those_of_the_model() {
        let keys: Vec<String> = constants(SOURCE).unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "arrivals.poisson.load",
                "paths./pay.share",
                "pools.web.reports.delay",
                "pools.web.reports.interval",
                "pools.web.servers.a.count",
                "pools.web.servers.a.speed"
            ]
        );
    }
}
