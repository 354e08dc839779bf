//! Files of acts: the log of an interactive run, which `evenkeel run --acts` repeats. TOML with an `[[acts]]` table for each act, or
//! JSON lines, an object for each.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::sim::act::TimedAct;
use evenkeel_config::{Problem, Problems, Spanned};

/// A TOML file of acts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ActsTable {
    /// The acts. Those of one time apply in the order of the file.
    acts: Vec<Spanned<TimedAct>>,
}

/// Reads a file of acts: each with its position, ascending in time. A file that begins with a brace is JSON lines.
///
/// # Errors
/// All problems, with positions.
pub fn parse(source: &str) -> Result<Vec<Spanned<TimedAct>>, Problems> {
    let mut acts = match source.trim_start().starts_with('{') {
        true => lines(source)?,
        false => evenkeel_config::diagnostic::read::<ActsTable>(source)?.acts,
    };
    // Stable: acts of one time keep their order.
    acts.sort_by_key(|act| act.get_ref().at);
    Ok(acts)
}

/// The text of a file of acts, as JSON lines.
pub fn render(acts: &[TimedAct]) -> String {
    let line = |act: &TimedAct| serde_json::to_string(act).expect("an act is plain data") + "\n";
    acts.iter().map(line).collect()
}

fn lines(source: &str) -> Result<Vec<Spanned<TimedAct>>, Problems> {
    let (mut acts, mut problems, mut start) = (Vec::new(), Problems::new(), 0);
    for line in source.split_inclusive('\n') {
        let text = line.trim_end();
        if !text.trim_start().is_empty() {
            match serde_json::from_str::<TimedAct>(text) {
                Ok(act) => acts.push(Spanned::new(start..start + text.len(), act)),
                Err(error) => {
                    // Columns count bytes from 1; the message repeats the position, always in line 1.
                    let at = (start + error.column().saturating_sub(1)).min(start + text.len());
                    let message = error.to_string();
                    let message = message.split(" at line ").next().unwrap_or_default();
                    let help = r#"an act is written as {"at": "10s", "act": {"set_load": {"factor": 1.5}}}"#;
                    problems.push(Problem::at(at..start + text.len(), message).help(help));
                }
            }
        }
        start += line.len();
    }
    if problems.is_empty() { Ok(acts) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::act::{Act, SetLoad};
    use evenkeel_core::units::Nanos;

    const TOML: &str = r#"
[[acts]]
at = "20s"
act = { set_load = { factor = 1.5 } }

[[acts]]
at = "10s"
act = { strike = { target = "web/a", for = "5s", kind = { slow = { factor = 4 } } } }

[[acts]]
at = "10s"
act = { strike = { target = "web/*", kind = { crash = {} } } }
"#;

    #[test]
    fn both_formats_are_read_and_sorted() {
        let acts: Vec<TimedAct> = parse(TOML).unwrap().into_iter().map(Spanned::into_inner).collect();
        let times: Vec<u64> = acts.iter().map(|act| act.at.0 / 1_000_000_000).collect();
        assert_eq!(times, [10, 10, 20]);
        assert!(matches!(&acts[0].act, Act::Strike(strike) if strike.target == "web/a" && strike.lasts.is_some()));
        assert!(matches!(&acts[1].act, Act::Strike(strike) if strike.target == "web/*" && strike.lasts.is_none()));
        assert_eq!(acts[2], TimedAct { at: Nanos::from_secs(20), act: Act::SetLoad(SetLoad { factor: 1.5 }) });
        let text = render(&acts);
        assert_eq!(text.lines().count(), 3);
        let again: Vec<TimedAct> = parse(&text).unwrap().into_iter().map(Spanned::into_inner).collect();
        assert_eq!(again, acts);
    }

    #[test]
    fn problems_have_their_positions() {
        let good = r#"{"at":"1s","act":{"set_load":{"factor":2}}}"#;
        for (source, place, message) in [
            (format!("{good}\n\n{{\"at\":\"1s\"}}"), good.len() + 2, "missing field `act`"),
            (format!("{good}\n{{\"at\":\"soon\",\"act\":{{}}}}"), good.len() + 1, "soon"),
            (TOML.replace("factor = 4", "factr = 4"), TOML.find("factor = 4").unwrap(), "factr"),
            (TOML.replace("\"20s\"", "20"), TOML.find("\"20s\"").unwrap(), "takes a duration"),
            (TOML.replace("set_load", "set_lode"), TOML.find("set_load").unwrap(), "set_lode"),
        ] {
            let problems = parse(&source).unwrap_err();
            let problem = &problems[0];
            let span = problem.span.clone().unwrap();
            let row = |at: usize| source[..at].matches('\n').count();
            assert_eq!(row(span.start), row(place), "{problem:?}");
            assert!(problem.message.contains(message), "{problem:?}");
        }
    }
}
