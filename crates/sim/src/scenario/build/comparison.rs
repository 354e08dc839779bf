//! Comparison and assertions: strategies, expectations, sweeps, sensitivity.

use std::ops::Range;

use super::super::strategy_list::StrategyList;
use super::super::table::*;
use super::super::{Variant, expect, overrides};
use super::Builder;
use evenkeel_config::Spanned;
use evenkeel_config::diagnostic::did_you_mean;
use evenkeel_core::select::catalog::{self, CATALOGUE};

impl Builder<'_> {
    pub(super) fn variants(&mut self, table: &ScenarioTable) -> Vec<Variant> {
        let named = table.variants.iter().map(|t| (t.name.span(), t));
        let mut variants: Vec<Variant> = Vec::new();
        let mut spans: Vec<Range<usize>> = Vec::new();
        match &table.strategies {
            None if !table.variants.is_empty() => {}
            None => variants.extend(CATALOGUE.iter().map(|row| Variant::new((row.default)()))),
            Some(strategies) => {
                if let StrategyList::Set(set) = strategies.get_ref() {
                    variants.extend(set.rows().map(|row| Variant::new((row.default)())));
                } else if strategies.get_ref().listed().is_empty() && table.variants.is_empty() {
                    self.problem(strategies.span(), "no strategies are listed").help =
                        Some("leave `strategies` out to compare all of them".to_owned());
                }
                for strategy in strategies.get_ref().listed() {
                    variants.push(Variant::new(strategy.get_ref().0.clone()));
                    spans.push(strategy.span());
                }
            }
        }
        for (span, t) in named {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
            if t.name.get_ref().trim().is_empty() || !t.name.get_ref().chars().all(plain) {
                let message = "the `name` in `variants` is made of letters, digits, blanks and `_-.`";
                self.problem(t.name.span(), message);
            }
            variants.push(Variant::named(t.name.get_ref(), t.strategy.get_ref().0.clone()));
            spans.push(span);
        }
        // Members of a set have no position in the file, and come first.
        let first = variants.len() - spans.len();
        for (i, span) in (first..).zip(spans) {
            if variants[..i].iter().any(|c| c.label == variants[i].label) {
                self.problem(span, format!("`{}` is listed twice", variants[i].label)).help =
                    Some("give the second a name of its own: [[variants]] with `name` and `strategy`".to_owned());
            }
        }
        variants
    }

    pub(super) fn expects(&mut self, table: &ScenarioTable, variants: &[Variant]) -> Vec<expect::Expect> {
        let mut expects = Vec::new();
        for expect in &table.expect {
            let t = expect.get_ref();
            match expect::parse(t.assert.get_ref(), &t.reason, t.assert.span()) {
                Err(message) => {
                    self.problem(t.assert.span(), message);
                }
                Ok(mut expect) => {
                    for side in [&mut expect.left, &mut expect.right] {
                        let expect::Side::Metric { strategy, .. } = side else { continue };
                        let known = |label: &str| variants.iter().any(|c| c.label == label);
                        // By any of its names, unless a variant has that name.
                        if let (false, Ok(table)) = (known(strategy), catalog::parse(strategy)) {
                            *strategy = Variant::new(table).label;
                        }
                        if !known(strategy) {
                            let help = did_you_mean(strategy, variants.iter().map(|c| c.label.as_str()));
                            let message = format!("strategy `{strategy}` is not in this scenario's comparison");
                            self.problem(t.assert.span(), message).help = Some(help);
                        }
                    }
                    expects.push(expect);
                }
            }
        }
        expects
    }

    pub(super) fn sweep(&mut self, table: &ScenarioTable) -> Vec<overrides::Axis> {
        let source = self.source;
        let mut axes = Vec::new();
        for sweep in &table.sweep {
            let keys: Vec<&Spanned<String>> = sweep.key.iter().chain(&sweep.keys).collect();
            if keys.is_empty() || sweep.values.get_ref().is_empty() {
                let message = "a sweep needs a `key` (or `keys` that move together) and `values`";
                self.problem(sweep.values.span(), message).help =
                    Some("for example key = \"arrivals.poisson.load\", values = [\"50%\", \"80%\"]".to_owned());
            }
            self.known_keys(&keys);
            let text = |value: &Spanned<toml::Value>| source[value.span()].to_owned();
            let keys = keys.into_iter().map(|key| key.get_ref().clone()).collect();
            axes.push(overrides::Axis { keys, values: sweep.values.get_ref().iter().map(text).collect() });
        }
        axes
    }

    fn known_keys(&mut self, keys: &[&Spanned<String>]) {
        for key in keys {
            if let Err(message) = overrides::find(self.source, key.get_ref()) {
                self.problem(key.span(), message);
            }
        }
    }

    pub(super) fn sensitivity(&mut self, table: &ScenarioTable) -> Option<overrides::Sensitivity> {
        let t = table.sensitivity.as_ref()?;
        let by = t.by.as_ref().map_or(0.3, |by| by.get_ref().0);
        if !(by > 0.0 && by < 1.0) {
            self.problem(t.by.as_ref().map_or(0..0, Spanned::span), "`by` must lie between 0 and 100 %");
        }
        let keys = match &t.keys {
            Some(keys) => {
                self.known_keys(&keys.iter().collect::<Vec<_>>());
                keys.iter().map(|key| key.get_ref().clone()).collect()
            }
            None => overrides::constants(self.source).unwrap_or_default().into_iter().map(|(key, _)| key).collect(),
        };
        let metric = t.metric.as_ref().map_or_else(|| "latency.p99".to_owned(), |metric| metric.get_ref().clone());
        Some(overrides::Sensitivity { by, keys, metric })
    }
}
