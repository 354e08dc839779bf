//! `why.json`.

use std::io;

use crate::report::Outcome;
use crate::report::why::explanation;

/// Name of the file.
pub const NAME: &str = "why.json";

/// `why.json`: what the timelines explain; `None` where no run was recorded.
pub fn why(outcomes: &[Outcome<'_>]) -> csv::Result<Option<Vec<u8>>> {
    let [outcome] = outcomes else { return Ok(None) };
    let Some(explanation) = explanation(outcome).map_err(io::Error::from)? else { return Ok(None) };
    let mut text = serde_json::to_vec(&explanation).map_err(io::Error::from)?;
    text.push(b'\n');
    Ok(Some(text))
}
