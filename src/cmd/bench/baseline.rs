//! Results of `bench engine` in a file, and comparisons with them.

use std::path::Path;

use serde_json::Value;

use super::super::Failure;

/// The field that [`Baseline::slower`] compares.
const RATIO: &str = "instructions_times_bare_loop";

/// Rows of an earlier `bench engine`, as its JSON.
#[derive(Debug)]
pub struct Baseline(Vec<Value>);

impl Baseline {
    /// These rows.
    pub fn of(rows: &[Value]) -> Baseline {
        Baseline(rows.to_vec())
    }

    /// Reads a file that [`Baseline::write`] wrote.
    pub fn read(file: &Path) -> Result<Baseline, Failure> {
        let shown = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::Usage(format!("`{shown}` cannot be read: {error}")))?;
        let rows = serde_json::from_str::<Vec<Value>>(&text).ok().filter(|rows| rows.iter().all(is_row));
        rows.map(Baseline).ok_or_else(|| Failure::Usage(format!("`{shown}` is not a file of `bench engine --save`")))
    }

    /// Writes the rows.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        let text = format!("{:#}\n", Value::from(self.0.clone()));
        std::fs::write(file, text)
            .map_err(|error| Failure::Usage(format!("`{}` cannot be written: {error}", file.display())))
    }

    /// Cost of a case in that of the same case here: by instructions where both counted them, else by time. Empty where there is
    /// no such case.
    pub fn compare(&self, setting: &str, label: &str, nanos: f64, instructions: Option<f64>) -> String {
        let Some(row) = self.0.iter().find(|row| setting_of(row) == setting && row["strategy"] == label) else {
            return String::new();
        };
        match (instructions, row["instructions_per_request"].as_f64()) {
            (Some(now), Some(then)) => format!("{:.3} (instructions)", now / then),
            _ => row["ns_per_request"].as_f64().map_or(String::new(), |then| format!("{:.2} (time)", nanos / then)),
        }
    }

    /// The cases that take over `share` more instructions than here, in those of the bare loop of the same run, as lines of text.
    /// A case that is here and no longer measured is one of them.
    pub fn slower(&self, rows: &[Value], share: f64) -> Vec<String> {
        let mut slower = Vec::new();
        for before in &self.0 {
            let (setting, label) = (setting_of(before), before["strategy"].as_str().unwrap_or_default());
            let Some(then) = before[RATIO].as_f64() else { continue };
            let now = rows.iter().find(|row| setting_of(row) == setting && row["strategy"] == label);
            match now.and_then(|row| row[RATIO].as_f64()) {
                None => slower.push(format!("{setting} {label}: not measured")),
                Some(now) if now > then * (1.0 + share) => {
                    let more = (now / then - 1.0) * 100.0;
                    slower.push(format!(
                        "{setting} {label}: {now:.3} times the bare loop, before {then:.3}: {more:.1} % more"
                    ));
                }
                Some(_) => {}
            }
        }
        slower
    }
}

fn is_row(row: &Value) -> bool {
    row["strategy"].is_string() && row["ns_per_request"].is_number()
}

fn setting_of(row: &Value) -> String {
    row["servers"].as_u64().map_or_else(|| row["scenario"].as_str().unwrap_or_default().to_owned(), |n| n.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_compared_with_those_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("saved.json");
        let row = |servers: Option<u32>, scenario: Option<&str>, instructions: Option<f64>| {
            serde_json::json!({ "servers": servers, "scenario": scenario, "strategy": "p2c", "ns_per_request": 200.0,
                "instructions_per_request": instructions })
        };
        let rows = [row(Some(10), None, Some(3000.0)), row(None, Some("crash"), None)];
        Baseline::of(&rows).write(&file).unwrap();
        let saved = Baseline::read(&file).unwrap();
        assert_eq!(saved.compare("10", "p2c", 100.0, Some(1500.0)), "0.500 (instructions)");
        assert_eq!(saved.compare("10", "p2c", 100.0, None), "0.50 (time)");
        assert_eq!(saved.compare("crash", "p2c", 250.0, Some(1.0)), "1.25 (time)");
        assert_eq!(saved.compare("10", "random", 100.0, None), "");
        let with =
            |ratio: f64| serde_json::json!([{ "servers": 10, "strategy": "p2c", "ns_per_request": 1.0, RATIO: ratio }]);
        let rows = |ratio: f64| with(ratio).as_array().unwrap().clone();
        let before = Baseline::of(&rows(10.0));
        assert!(before.slower(&rows(10.2), 0.03).is_empty() && before.slower(&rows(5.0), 0.03).is_empty());
        assert_eq!(before.slower(&rows(10.4), 0.03), ["10 p2c: 10.400 times the bare loop, before 10.000: 4.0 % more"]);
        assert_eq!(before.slower(&[], 0.03), ["10 p2c: not measured"]);
        std::fs::write(&file, "[{}]").unwrap();
        assert!(Baseline::read(&file).is_err() && Baseline::read(folder.path()).is_err());
    }
}
