//! Settings that the page can change, and their ranges.

use evenkeel_core::select::catalog::Parameter;
use evenkeel_core::units::Nanos;
use evenkeel_sim::scenario::{Scenario, overrides};
use evenkeel_sim::sim::model::Arrivals;
use serde::Serialize;
use toml_edit::DocumentMut;

use crate::edit;

/// How a setting is changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Shape {
    /// A slider. Values are in units of `unit` as shown: 80 for `80%`.
    Number { min: f64, max: f64, step: f64, unit: &'static str, log: bool },
    /// One of several.
    Choice { options: Vec<Choice> },
    /// On or off.
    Switch,
}

/// A value of a choice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Choice {
    pub label: String,
    /// TOML.
    pub value: String,
}

/// A setting of a scenario, and how it is changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Control {
    /// Path as for `--set`; a key that is not in the text is inserted.
    pub key: String,
    group: &'static str,
    label: String,
    doc: &'static str,
    /// TOML as written; `None` where the text does not have it.
    value: Option<String>,
    shape: Shape,
}

fn number(min: f64, max: f64, step: f64, unit: &'static str) -> Shape {
    Shape::Number { min, max, step, unit, log: false }
}

fn log(min: f64, max: f64, unit: &'static str) -> Shape {
    Shape::Number { min, max, step: min.min(1.0), unit, log: true }
}

/// Most lines of servers that have controls of their own.
const MOST_LINES: usize = 8;

/// The settings of a scenario that the page offers.
pub(crate) fn controls(source: &str, scenario: &Scenario) -> Vec<Control> {
    let Ok(document) = source.parse::<DocumentMut>() else { return Vec::new() };
    let mut list = List { source, document: &document, controls: Vec::new() };
    list.arrivals(scenario);
    list.pools(scenario);
    list.service(scenario);
    list.keys(scenario);
    list.clients(scenario);
    list.controls
}

struct List<'a> {
    source: &'a str,
    document: &'a DocumentMut,
    controls: Vec<Control>,
}

impl List<'_> {
    fn value(&self, key: &str) -> Option<String> {
        let span = overrides::find(self.source, key).ok()?;
        self.source.get(span).map(str::to_owned)
    }

    /// Adds a control, whether the text has the key or not.
    fn add(
        &mut self,
        group: &'static str,
        key: impl Into<String>,
        label: impl Into<String>,
        doc: &'static str,
        shape: Shape,
    ) {
        let (key, label) = (key.into(), label.into());
        let value = self.value(&key);
        self.controls.push(Control { key, group, label, doc, value, shape });
    }

    /// Adds a control if the text has the key.
    fn present(&mut self, group: &'static str, key: &str, label: &str, doc: &'static str, shape: Shape) {
        if self.value(key).is_some() {
            self.add(group, key, label, doc, shape);
        }
    }

    fn arrivals(&mut self, scenario: &Scenario) {
        // More than the servers can do is refused unless the scenario allows it.
        let overload = self.value("allow_overload").as_deref() == Some("true");
        let most = if overload || scenario.offered_load.is_some_and(|load| load > 1.0) { 150.0 } else { 98.0 };
        for kind in ["poisson", "constant", "renewal"] {
            let key = |name: &str| format!("arrivals.{kind}.{name}");
            let load = "Offered work as a share of the capacity, without cache hits.";
            self.present("load", &key("load"), "load", load, number(5.0, most, 1.0, "%"));
            self.present("load", &key("rate"), "rate", "Requests per second in the mean.", log(1.0, 10_000.0, "/s"));
        }
        for (key, label, doc) in [
            ("arrivals.bursts.base", "rate between bursts", "Requests per second between two bursts."),
            ("arrivals.bursts.peak", "rate in a burst", "Requests per second in a burst."),
            ("arrivals.ramp.from", "rate at the start", "Requests per second at the start."),
            ("arrivals.ramp.to", "rate at the end", "Requests per second after the ramp."),
        ] {
            self.present("load", key, label, doc, log(1.0, 10_000.0, "/s"));
        }
        let replay = "How many times as fast as recorded.";
        self.present("load", "arrivals.replay.speed", "speed of the recording", replay, log(0.1, 10.0, ""));
    }

    fn pools(&mut self, scenario: &Scenario) {
        let several = scenario.pools.len() > 1;
        for pool in &scenario.pools {
            let pool_name = pool.name.get_ref();
            let of = |label: &str| if several { format!("{label}, {pool_name}") } else { label.to_owned() };
            for server in pool.servers.get_ref().iter().take(MOST_LINES) {
                let name = server.get_ref().name.get_ref();
                let key = |setting: &str| format!("pools.{pool_name}.servers.{name}.{setting}");
                let label = |setting: &str| of(&format!("{setting} of {name}"));
                self.add(
                    "servers",
                    key("count"),
                    label("number"),
                    "Number of such servers.",
                    number(1.0, 64.0, 1.0, ""),
                );
                self.add("servers", key("speed"), label("speed"), "Work per unit of time.", log(0.1, 10.0, ""));
                self.add(
                    "servers",
                    key("weight"),
                    label("weight"),
                    "Weight that the balancer uses.",
                    number(0.0, 20.0, 1.0, ""),
                );
                let slots = "Requests that the server works on at once.";
                self.add("servers", key("concurrency"), label("slots"), slots, number(1.0, 32.0, 1.0, ""));
            }
            self.policies(pool_name, &of);
        }
    }

    /// What a pool has beside its servers; `of` adds the pool's name to a label where there are several.
    fn policies(&mut self, pool_name: &str, of: &dyn Fn(&str) -> String) {
        let key = |setting: &str| format!("pools.{pool_name}.{setting}");
        let (interval, delay) = (key("reports.interval"), key("reports.delay"));
        self.add(
            "reports",
            interval,
            of("interval of load reports"),
            "Servers report their load this often.",
            number(10.0, 5000.0, 10.0, "ms"),
        );
        self.add(
            "reports",
            delay,
            of("delay of load reports"),
            "Age of a report when it reaches a balancer.",
            number(0.0, 5000.0, 10.0, "ms"),
        );
        let retries = "Further attempts after a failed one, each at another server.";
        self.add("retries", key("retries.max_retries"), of("retries"), retries, number(0.0, 5.0, 1.0, ""));
        let per_try = key("retries.per_try_timeout");
        self.present(
            "retries",
            &per_try,
            &of("time-out of an attempt"),
            "An attempt without an answer after this time has failed.",
            log(1.0, 10_000.0, "ms"),
        );
        self.present(
            "retries",
            &key("retries.budget"),
            &of("retry budget"),
            "Most retries, as a share of the requests.",
            number(0.0, 100.0, 1.0, "%"),
        );
        self.present(
            "retries",
            &key("hedge.delay"),
            &of("hedging delay"),
            "A second attempt is made beside one that takes longer.",
            log(1.0, 10_000.0, "ms"),
        );
        self.present(
            "retries",
            &key("slow_start"),
            &of("slow start"),
            "Time in which a server that comes back gets its share gradually.",
            number(0.0, 120.0, 1.0, "s"),
        );
    }

    fn service(&mut self, scenario: &Scenario) {
        let [path] = &scenario.model.paths[..] else { return };
        let Some(value) = edit::written(self.document, "service") else { return };
        for kind in ["exponential", "erlang", "hyperexponential", "lognormal"] {
            let key = format!("service.{kind}.mean");
            self.present("service", &key, "mean work", "Mean work of a request at speed 1.", log(0.1, 1000.0, "ms"));
        }
        self.present(
            "service",
            "service.constant.value",
            "work",
            "Work of a request at speed 1.",
            log(0.1, 1000.0, "ms"),
        );
        // As a file has it, in quotation marks.
        let Ok(mean) = serde_json::to_string(&Nanos::from_nanos_f64(path.service.mean())) else { return };
        let option = |label: &str, value: String| Choice { label: label.to_owned(), value };
        let mut options = vec![
            option("constant", format!("{{ constant = {{ value = {mean} }} }}")),
            option("Erlang, 4 stages", format!("{{ erlang = {{ mean = {mean}, stages = 4 }} }}")),
            option("exponential", format!("{{ exponential = {{ mean = {mean} }} }}")),
            option("lognormal", format!("{{ lognormal = {{ mean = {mean}, sigma = 1.0 }} }}")),
            option("hyperexponential, scv 10", format!("{{ hyperexponential = {{ mean = {mean}, scv = 10.0 }} }}")),
        ];
        if options.iter().all(|option| option.value != value) {
            options.insert(0, option("as written", value.clone()));
        }
        self.controls.push(Control {
            key: "service".to_owned(),
            group: "service",
            label: "distribution of work".to_owned(),
            doc: "The same mean with another variability.",
            value: Some(value),
            shape: Shape::Choice { options },
        });
    }

    fn keys(&mut self, scenario: &Scenario) {
        if matches!(scenario.model.arrivals, Arrivals::Replay(_)) {
            return;
        }
        let skew = "Zipf exponent of the items' popularity: 0 is equal, 1 is usual.";
        self.present(
            "keys",
            "keys.count",
            "items",
            "Number of items that requests are for.",
            log(10.0, 1_000_000.0, ""),
        );
        if self.value("keys.count").is_some() {
            self.add("keys", "keys.exponent", "skew of the items", skew, number(0.0, 2.0, 0.05, ""));
        }
    }

    fn clients(&mut self, scenario: &Scenario) {
        if !scenario.model.has_zones() && scenario.model.dns.is_none() {
            self.add(
                "balancers",
                "balancers.count",
                "balancers",
                "Number of balancers, each with its own knowledge.",
                number(1.0, 32.0, 1.0, ""),
            );
        }
        let closed = matches!(scenario.model.arrivals, Arrivals::Closed { .. });
        if closed || self.value("clients.count").is_some() {
            self.add("clients", "clients.count", "clients", "Number of clients.", log(1.0, 10_000.0, ""));
        }
        let timeout = "Time after which a client without a response gives up; absent: never.";
        self.add("clients", "clients.timeout", "time-out of clients", timeout, log(10.0, 30_000.0, "ms"));
        let hot = "Share of all requests that one further client sends; absent: there is none.";
        self.add("clients", "clients.hot_share", "hot client", hot, number(0.0, 90.0, 1.0, "%"));
        let leg = "One-way delay between balancer and server.";
        self.add("balancers", "network.server", "delay to the servers", leg, number(0.0, 200.0, 0.1, "ms"));
    }
}

/// The control of a strategy's parameter; `None` where it is neither a number, a name nor a switch.
pub(crate) fn parameter_shape(parameter: &Parameter) -> Option<Shape> {
    if !parameter.values.is_empty() {
        let option = |(value, _): &(String, String)| Choice { label: value.clone(), value: format!("\"{value}\"") };
        return Some(Shape::Choice { options: parameter.values.iter().map(option).collect() });
    }
    match &parameter.default {
        toml::Value::Boolean(_) => Some(Shape::Switch),
        toml::Value::Integer(default) => Some(whole(*default, &parameter.text)),
        toml::Value::Float(default) => Some(real(*default, &parameter.text)),
        toml::Value::String(text) => with_unit(text),
        _ => None,
    }
}

/// The range that a parameter's text gives: `1 to 16`, `from 1 to 65,535`, `0 to 1`.
fn range_in(text: &str) -> Option<(f64, f64)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| {
        let digits = word.trim_matches(|c: char| !c.is_ascii_digit()).replace(',', "");
        digits.parse::<f64>().ok()
    };
    let range = words.windows(3).filter(|three| three[1] == "to");
    range.filter_map(|three| Some((number(three[0])?, number(three[2])?))).find(|(low, high)| low < high)
}

fn whole(default: i64, text: &str) -> Shape {
    let default = default as f64;
    let (min, most) = range_in(text).unwrap_or((if default >= 1.0 { 1.0 } else { 0.0 }, f64::INFINITY));
    let max = most.min((default.abs() * 10.0).max(16.0));
    Shape::Number { min, max, step: 1.0, unit: "", log: max / min.max(1.0) > 200.0 }
}

fn real(default: f64, text: &str) -> Shape {
    let max = (default.abs() * 5.0).max(1.0);
    let (min, max) = range_in(text).map_or((0.0, max), |(low, high)| (low, high.min(max)));
    Shape::Number { min, max, step: (max - min) / 100.0, unit: "", log: false }
}

/// A quantity in its own unit: `5s`, `20%`.
fn with_unit(text: &str) -> Option<Shape> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (value, unit) = (text[..at].parse::<f64>().ok()?, &text[at..]);
    let shape = |min, max, step, unit, log| Shape::Number { min, max, step, unit, log };
    match unit {
        "%" => Some(shape(0.0, 100.0_f64.max(value * 2.0), 1.0, "%", false)),
        "ms" => Some(shape(0.0, (value * 10.0).max(10.0), (value / 10.0).max(0.1), "ms", false)),
        "s" => Some(shape(0.0, (value * 6.0).max(10.0), (value / 10.0).max(0.1), "s", false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{Change, Edit, edit};

    /// Every control of a scenario, set to the ends of its range, gives a text that can still be read as TOML with that value.
    #[test]
    fn controls_can_be_set() {
        let source =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/crash.toml")).unwrap();
        let scenario = Scenario::parse("crash", &source, &|file| Err(file.to_owned())).unwrap();
        let all = controls(&source, &scenario);
        let groups: Vec<&str> = all.iter().map(|control| control.group).collect();
        for group in ["load", "servers", "service", "keys", "reports", "balancers", "clients", "retries"] {
            assert!(groups.contains(&group), "{group}: {groups:?}");
        }
        let load = all.iter().find(|control| control.key == "arrivals.poisson.load").unwrap();
        assert_eq!(load.value.as_deref(), Some("\"50%\""));
        for control in &all {
            let values = match &control.shape {
                Shape::Number { min, max, unit, .. } => [*min, *max]
                    .map(|v| if unit.is_empty() { format!("{v}") } else { format!("\"{v}{unit}\"") })
                    .to_vec(),
                Shape::Choice { options } => options.iter().map(|option| option.value.clone()).collect(),
                Shape::Switch => vec!["true".to_owned(), "false".to_owned()],
            };
            for value in values {
                let change = Change { key: control.key.clone(), value: Some(value.clone()) };
                let edited = edit(&Edit { source: source.clone(), changes: vec![change] }).unwrap().source;
                let found = match control.key.as_str() {
                    "service" => edit::written(&edited.parse().unwrap(), "service").unwrap(),
                    key => edited[overrides::find(&edited, key).unwrap()].to_owned(),
                };
                assert_eq!(found, value, "{}", control.key);
                if ["service", "arrivals.poisson.load", "clients.timeout", "keys.exponent"].contains(&&*control.key) {
                    let parsed = Scenario::parse("crash", &edited, &|file| Err(file.to_owned()));
                    assert!(parsed.is_ok(), "{}: {:?}", control.key, parsed.err());
                }
            }
        }
    }
}
