//! Pools, servers and routes: the tables that a scenario and the proxy's config have in common.

mod lonely;
mod route;
mod server;
mod simulated;
#[cfg(test)]
mod tests;
mod upstream;

use std::ops::Range;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::Spanned;
use crate::diagnostic::{Problem, Problems, place_of_key};
use evenkeel_core::policy;
use evenkeel_core::policy::catalog::{Host, Invalid, ServerFacts};
use evenkeel_core::select::catalog::Strategy;

pub use evenkeel_core::policy::health::Check;
pub use lonely::{LONELY_HELP, lonely};
pub use route::RouteTable;
pub use server::{
    CacheSpec, CacheTable, Discipline, MOST_PRIORITY, MOST_WEIGHT, Server, ServerTable, check_name, servers_of,
};
pub use simulated::{AutoscaleTable, BackendTable, ConnectionsTable, IdleNotice, ProbesTable, ReportsTable};
pub use upstream::{Protocol, UpstreamTlsTable};

macro_rules! pool_table {
    ($( $(#[doc = $doc:literal])+ $key:ident $module:ident, )*) => {
        /// `[[pools]]`: servers behind one strategy, and the policies around it.
        #[derive(Clone, Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct PoolTable {
            /// Unique; lower-case letters, digits, `-` and `_`.
            pub name: Spanned<String>,
            /// Strategy of this pool. `None`: in a scenario the strategy under comparison, in the proxy that of the file.
            pub strategy: Option<Spanned<Strategy>>,
            /// `[[pools.servers]]`: at least one.
            pub servers: Spanned<Vec<Spanned<ServerTable>>>,
            /// Protocol between the proxy and the servers: `"http1"` (the default) or `"h2c"`.
            #[serde(default)]
            pub protocol: Protocol,
            /// `tls = {}`: the proxy connects to the servers with TLS. `None`: without.
            pub tls: Option<UpstreamTlsTable>,
            $( $(#[doc = $doc])+ pub $key: Option<Spanned<policy::$module::Rules>>, )*
            /// `[pools.reports]`: load reports that servers send by themselves. The simulator's.
            pub reports: Option<Spanned<ReportsTable>>,
            /// `[pools.probes]`: the cost of answering a strategy's probes. The simulator's.
            pub probes: Option<ProbesTable>,
            /// `connections = { max_requests = 1000 }`: each client holds a connection to a server, and a pick is made for a
            /// connection, not for a request. The simulator's.
            pub connections: Option<Spanned<ConnectionsTable>>,
            /// `[pools.autoscale]`: adds and removes servers with the load. The simulator's.
            pub autoscale: Option<Spanned<AutoscaleTable>>,
            /// `[pools.backend]`: a second tier that servers call before they respond. The simulator's.
            pub backend: Option<Spanned<BackendTable>>,
            /// Balancers before this pool when it is a second tier, each with its own selector: 1 to 1000; default 1. The
            /// simulator's.
            pub shards: Option<Spanned<u32>>,
        }

        impl PoolTable {
            /// The policies as they are written.
            fn written(&self) -> policy::Rules {
                policy::Rules { $( $key: self.$key.as_ref().map(|rules| rules.get_ref().clone()), )* }
            }

            /// Where the table of a policy is written. `None`: it is not.
            fn span_of(&self, policy: &str) -> Option<Range<usize>> {
                match policy {
                    $( stringify!($key) => self.$key.as_ref().map(Spanned::span), )*
                    _ => None,
                }
            }
        }
    };
}

evenkeel_core::for_each_policy!(pool_table);

impl PoolTable {
    /// The servers, one by one, with their names.
    pub fn servers(&self, problems: &mut Problems) -> Vec<Server> {
        servers_of(self.name.get_ref(), &self.servers, problems)
    }

    /// The policies of this pool. `source` is the text of the file.
    pub fn policy(&self, source: &str, problems: &mut Problems) -> policy::Rules {
        let servers: Vec<ServerFacts<'_>> =
            self.servers.get_ref().iter().map(|server| server.get_ref().facts()).collect();
        let mut rules = self.written();
        rules.imply(&servers);
        let wrong = rules.check(&servers);
        problems.extend(wrong.into_iter().map(|(policy, invalid)| self.problem(source, policy, invalid)));
        rules
    }

    /// Policies that this host cannot apply.
    pub fn unsupported(&self, source: &str, host: Host) -> Problems {
        let refused = self.written().unsupported(host);
        refused.into_iter().map(|(policy, invalid)| self.problem(source, policy, invalid)).collect()
    }

    fn problem(&self, source: &str, policy: &str, Invalid { key, message, help }: Invalid) -> Problem {
        let span = self.span_of(policy).map(|table| place_of_key(source, table, key));
        Problem { span, message, help: help.map(str::to_owned) }
    }

    /// Warns of valid keys without effect: retries and hedges where there is no second server.
    pub fn warn(&self, weights: impl Iterator<Item = u32>, rules: &policy::Rules, warnings: &mut Problems) {
        let Some(message) = lonely(self.name.get_ref(), weights, rules) else { return };
        let span = self.span_of("retries").or_else(|| self.span_of("hedge"));
        warnings.push(Problem { span, message, help: Some(LONELY_HELP.to_owned()) });
    }
}

/// The problem just recorded, if there was one.
struct Noted<'a>(Option<&'a mut Problem>);

impl Noted<'_> {
    /// Adds how to fix it.
    fn help(self, help: &str) {
        if let Some(problem) = self.0 {
            problem.help = Some(help.to_owned());
        }
    }
}

/// Records a problem unless `sound`.
fn require(sound: bool, span: Range<usize>, message: impl Into<String>, problems: &mut Problems) -> Noted<'_> {
    if sound {
        return Noted(None);
    }
    problems.push(Problem::at(span, message));
    Noted(problems.last_mut())
}
