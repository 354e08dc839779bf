//! How the proxy connects to the servers of a pool.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Protocol between the proxy and the servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// `tls = { … }` of a pool: the proxy connects to the servers with TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTlsTable {
    /// PEM file of the trusted authorities. `None`: those that browsers trust.
    pub ca: Option<PathBuf>,
    /// Name for which a server must have a certificate. `None`: the host of the pool's first address.
    pub name: Option<String>,
    /// PEM file with the proxy's certificate, for servers that require one. `None`: the proxy has none.
    pub cert: Option<PathBuf>,
    /// PEM file with the key of `cert`.
    pub key: Option<PathBuf>,
}
