//! Routes: which requests go to which pool.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::Spanned;

/// `[[routes]]`: a path prefix, a host if needed, and the pool that serves them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// Begins with `/`. `"/pay"` matches `/pay` and `/pay/now`; the longest prefix wins.
    pub prefix: Spanned<String>,
    /// `"example.org"` or `"*.example.org"`; any unless given. The most specific host wins before any prefix.
    pub host: Option<Spanned<String>>,
    /// Name of the pool.
    pub pool: Spanned<String>,
}
