//! Retries and hedges that can never happen.

use evenkeel_core::policy;

/// Help for the warning of [`lonely`].
pub const LONELY_HELP: &str = "add a server, or leave them out: an attempt goes to a server that has not been tried";

/// A warning where a pool whose servers have these weights has retries or hedges but never a second server for them.
pub fn lonely(pool: &str, weights: impl Iterator<Item = u32>, rules: &policy::Rules) -> Option<String> {
    let able = weights.filter(|&weight| weight > 0).count();
    let size = rules.subset.as_ref().map_or(usize::MAX, |subset| subset.size as usize);
    let what = match (rules.retries.is_some(), rules.hedge.is_some()) {
        (true, true) => "`retries` and `hedge`",
        (true, false) => "`retries`",
        (false, true) => "`hedge`",
        (false, false) => return None,
    };
    let why = match (able, size) {
        (0 | 1, _) => "has one server that can be picked",
        (_, 1) => "gives each balancer a subset of one server",
        _ => return None,
    };
    Some(format!("{what} do nothing: pool `{pool}` {why}, and each further attempt needs another one"))
}
