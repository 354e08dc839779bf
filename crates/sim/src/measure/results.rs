//! Reads the results of a run: `manifest.json` and `replications.csv` of a scenario. Finding the files is for the command line.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::metrics::FAILED;

/// The columns of `replications.csv` that are not metrics.
const KEYS: [&str; 6] = ["scenario", "point", "strategy", "replication", "seed", "workload"];

/// Settings of a run that a comparison needs: a part of `manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Name of the scenario.
    pub scenario: String,
    /// Title of the scenario.
    pub title: String,
    /// Hash of the scenario's text and of the files it reads.
    pub scenario_sha256: String,
    /// Seed of the experiment.
    pub seed: u64,
    /// Number of runs per strategy.
    pub replications: u32,
    /// Warm-up before the measured span, seconds.
    pub warmup_s: f64,
    /// Measured span, seconds.
    pub duration_s: f64,
    /// Version of the simulator.
    pub version: String,
    /// Commit it was built from, where known.
    pub commit: Option<String>,
}

/// One run of one strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `base`, or the point of a sweep.
    pub point: String,
    /// Label of the strategy or variant.
    pub strategy: String,
    /// Number of the replication.
    pub replication: u32,
    /// Seed of the run.
    pub seed: u64,
    /// Hash of the requests of the run, 16 hexadecimal digits.
    pub workload: String,
    /// In order of [`Results::metrics`]; NaN where there is no value.
    pub values: Vec<f64>,
}

/// The runs of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The settings of the runs.
    pub manifest: Manifest,
    /// Names of the metrics, in the order of [`Row::values`].
    pub metrics: Vec<String>,
    /// Every run, in order of the file.
    pub rows: Vec<Row>,
}

/// An error in a results file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {message}")]
pub struct Unreadable {
    /// Line, from 1.
    pub line: u64,
    /// Description, one sentence.
    pub message: String,
}

/// The position of a metric in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The value of a column.
    One(usize),
    /// The sum of two columns.
    Sum(usize, usize),
}

impl Column {
    /// The value in a row; NaN where it has none.
    pub fn of(self, row: &Row) -> f64 {
        match self {
            Column::One(a) => row.values[a],
            Column::Sum(a, b) => row.values[a] + row.values[b],
        }
    }
}

impl Results {
    /// Reads `replications.csv`, which must be of the manifest's scenario.
    pub fn parse(manifest: Manifest, csv: &[u8]) -> Result<Results, Unreadable> {
        let mut reader = csv::ReaderBuilder::new().from_reader(csv);
        let header = reader.headers().map_err(|error| unreadable(&error))?.clone();
        if header.iter().take(KEYS.len()).ne(KEYS) {
            let message = format!("the header does not begin with `{}`", KEYS.join(","));
            return Err(Unreadable { line: 1, message });
        }
        let metrics: Vec<String> = header.iter().skip(KEYS.len()).map(str::to_owned).collect();
        let mut names = BTreeSet::new();
        if let Some(twice) = metrics.iter().find(|metric| !names.insert(metric.as_str())) {
            return Err(Unreadable { line: 1, message: format!("there are two columns `{twice}`") });
        }
        let (mut rows, mut seen) = (Vec::new(), BTreeSet::new());
        for record in reader.records() {
            let record = record.map_err(|error| unreadable(&error))?;
            let line = record.position().map_or(0, csv::Position::line);
            let wrong = |message| Unreadable { line, message };
            if record[0] != manifest.scenario {
                let message =
                    format!("this row is of scenario `{}`, the manifest of `{}`", &record[0], manifest.scenario);
                return Err(wrong(message));
            }
            let row = row(&record, &metrics).map_err(wrong)?;
            if !seen.insert((row.point.clone(), row.strategy.clone(), row.replication)) {
                return Err(wrong(format!("replication {} of `{}` is there twice", row.replication, row.strategy)));
            }
            rows.push(row);
        }
        Ok(Results { manifest, metrics, rows })
    }

    /// The position of a metric. `failed`, also behind a prefix such as `payments.`, is the sum of two columns.
    pub fn column(&self, metric: &str) -> Option<Column> {
        let find = |name: &str| self.metrics.iter().position(|metric| metric == name);
        let sum = || {
            let prefix = metric.strip_suffix(FAILED).filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))?;
            let part = |name: &str| find(&format!("{prefix}{name}"));
            Some(Column::Sum(part("errors.ratio")?, part("unfinished.ratio")?))
        };
        find(metric).map(Column::One).or_else(sum)
    }

    /// Every metric that [`Results::column`] finds.
    pub fn known(&self) -> impl Iterator<Item = String> {
        let failed = self.metrics.iter().filter_map(|metric| metric.strip_suffix("errors.ratio"));
        let failed = failed.map(|prefix| format!("{prefix}{FAILED}")).filter(|name| self.column(name).is_some());
        self.metrics.iter().cloned().chain(failed)
    }

    /// Points and strategies in order of their first row.
    pub fn strategies(&self) -> Vec<(&str, &str)> {
        let mut seen = BTreeSet::new();
        let names = self.rows.iter().map(|row| (row.point.as_str(), row.strategy.as_str()));
        names.filter(|&name| seen.insert(name)).collect()
    }

    /// The runs of a strategy at a point.
    pub fn runs(&self, point: &str, strategy: &str) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.point == point && row.strategy == strategy).collect()
    }
}

fn row(record: &csv::StringRecord, metrics: &[String]) -> Result<Row, String> {
    let whole = |i: usize| {
        let text = &record[i];
        text.parse::<u64>().map_err(|_| format!("`{text}` is not a whole number (column {})", KEYS[i]))
    };
    let value = |(name, text): (&String, &str)| match text.parse::<f64>() {
        _ if text.is_empty() => Ok(f64::NAN),
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("`{text}` is not a number (column {name})")),
    };
    Ok(Row {
        point: record[1].to_owned(),
        strategy: record[2].to_owned(),
        replication: u32::try_from(whole(3)?).map_err(|_| format!("`{}` is too large a replication", &record[3]))?,
        seed: whole(4)?,
        workload: record[5].to_owned(),
        values: metrics.iter().zip(record.iter().skip(KEYS.len())).map(value).collect::<Result<_, _>>()?,
    })
}

fn unreadable(error: &csv::Error) -> Unreadable {
    let line = error.position().map_or(1, csv::Position::line);
    let message = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields where the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "this is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    };
    Unreadable { line, message }
}

/// A difference in how two sets of results were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `seed`, `version`, …
    pub what: &'static str,
    /// Its value in the old results.
    pub old: String,
    /// Its value in the new results.
    pub new: String,
    /// Names of the scenarios that have it.
    pub scenarios: Vec<String>,
}

/// The differences between the manifests of each pair; the same difference of several scenarios is given once.
pub fn differences(pairs: &[(&Results, &Results)]) -> Vec<Difference> {
    type Says = fn(&Manifest) -> String;
    let short = |text: &str| text.chars().take(12).collect::<String>();
    let commit: Says = |m| m.commit.as_ref().map_or("unknown".to_owned(), |c| c.chars().take(12).collect());
    let says: [(&str, Says); 7] = [
        ("version", |m| m.version.clone()),
        ("commit", commit),
        ("scenario text", |m| m.scenario_sha256.clone()),
        ("seed", |m| m.seed.to_string()),
        ("warm-up", |m| format!("{} s", m.warmup_s)),
        ("measured span", |m| format!("{} s", m.duration_s)),
        ("runs per strategy", |m| m.replications.to_string()),
    ];
    let mut found: Vec<Difference> = Vec::new();
    for (what, says) in says {
        for (old, new) in pairs {
            let name = old.manifest.scenario.clone();
            let (old, new) = (says(&old.manifest), says(&new.manifest));
            if old == new {
                continue;
            }
            // Hashes are shortened for display, after the full values have been compared.
            let (old, new) = if what == "scenario text" { (short(&old), short(&new)) } else { (old, new) };
            match found.iter_mut().find(|d| (d.what, &d.old, &d.new) == (what, &old, &new)) {
                Some(same) => same.scenarios.push(name),
                None => found.push(Difference { what, old, new, scenarios: vec![name] }),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "scenario,point,strategy,replication,seed,workload,errors.ratio,unfinished.ratio,pay.errors.ratio";

    fn parse(rows: &str) -> Result<Results, Unreadable> {
        let manifest = Manifest { scenario: "s".to_owned(), ..Manifest::default() };
        Results::parse(manifest, format!("{HEADER}\n{rows}").as_bytes())
    }

    #[test]
    fn what_was_written_is_read() {
        let results = parse("s,base,\"p2c(choices=3,x=1)\",0,18446744073709551615,00ff,0.25,0.5,\n").unwrap();
        let row = &results.rows[0];
        assert_eq!((row.strategy.as_str(), row.seed), ("p2c(choices=3,x=1)", u64::MAX));
        assert_eq!(results.column("failed").unwrap().of(row), 0.75);
        assert!(results.column("pay.errors.ratio").unwrap().of(row).is_nan());
        assert_eq!(results.column("pay.failed"), None);
        assert_eq!(results.known().filter(|name| name.ends_with("failed")).collect::<Vec<_>>(), ["failed"]);
    }

    #[test]
    fn what_cannot_be_read_has_a_line() {
        for (rows, line, message) in [
            ("s,base,p2c,0,1,aa,0,0,0\ns,base,p2c,1,1,aa,0,fast,0\n", 3, "`fast` is not a number"),
            ("s,base,p2c,0,1,aa,0,inf,0\n", 2, "`inf` is not a number"),
            ("s,base,p2c,-1,1,aa,0,0,0\n", 2, "`-1` is not a whole number (column replication)"),
            ("s,base,p2c,0,1,aa,0\n", 2, "7 fields where the header has 9"),
            ("t,base,p2c,0,1,aa,0,0,0\n", 2, "of scenario `t`"),
            ("s,base,p2c,0,1,aa,0,0,0\ns,base,p2c,0,1,aa,0,0,0\n", 3, "twice"),
        ] {
            let error = parse(rows).unwrap_err();
            assert_eq!(error.line, line, "{rows}: {error}");
            assert!(error.message.contains(message), "{rows}: {error}");
        }
        assert_eq!(Results::parse(Manifest::default(), b"a,b\n").unwrap_err().line, 1);
    }
}
