//! The catalogue of policies: one row per policy. The pool's rules, the keys of a `[[pools]]` table, the checks, the
//! comparison at a reload, `explain` and the documentation are all generated from the rows. To add a policy, add a file
//! beside this one (its `Rules` implement [`Policy`]; its `DOC` describes it) and a row in
//! [`for_each_policy`](crate::for_each_policy).

#[cfg(feature = "config")]
use schemars::{JsonSchema, Schema, SchemaGenerator};
#[cfg(feature = "config")]
use serde::{Serialize, de::DeserializeOwned};

/// The rows: the key of the policy in a `[[pools]]` table, and its module. The comment is the text of the key in schemas.
///
/// Calls the macro `$callback` with all rows.
#[macro_export]
macro_rules! for_each_policy {
    ($callback:ident) => {
        $callback! {
            /// `[pools.health]`: active health checks. `None`: a server counts as up.
            health health,
            /// `[pools.outliers]`: ejects servers that fail or are slow.
            outliers outlier,
            /// `slow_start = "30s"`, or a table: a server that comes back gets its share of requests gradually.
            slow_start slow_start,
            /// `panic = "50%"`: with a smaller share of healthy servers than this, health is ignored: above 0, at most 1.
            /// `None`: never. Envoy's `healthy_panic_threshold`, which is 50 % by default there.
            panic panic,
            /// `[pools.queue]`: where requests wait while every server is at its `max_in_flight`. `None`: they are rejected.
            queue queue,
            /// `[pools.retries]`: another attempt at another server after a failed one.
            retries retry,
            /// `[pools.hedge]`: a second attempt beside a slow first one.
            hedge hedge,
            /// `[pools.sticky]`: a cookie keeps a client at its server.
            sticky sticky,
            /// `subset = { size = 20 }`: each balancer uses only this many of the servers.
            subset subset,
            /// `[pools.priorities]`: how servers of a higher `priority` number take over from those of a lower.
            priorities priority,
            /// `[pools.zones]`: which zone's servers a balancer prefers.
            zones zone,
            /// `[pools.concurrency]`: a limit on requests in flight, derived from latencies.
            concurrency concurrency,
            /// `[pools.admission]`: rejects a share of the requests while too many fail.
            admission admission,
        }
    };
}

/// Description of a policy beyond its keys. The text of `evenkeel explain`.
#[derive(Debug)]
pub struct Doc {
    /// The field's name for it.
    pub title: &'static str,
    /// What it does and why, for a reader who does not know it.
    pub idea: &'static str,
    /// Source: paper or system.
    pub source: &'static str,
    /// The file in `scenarios/` that demonstrates it best; `None` if there is none.
    pub scenario: Option<&'static str>,
}

/// A row of the catalogue.
#[derive(Debug)]
pub struct Row {
    /// Its key in a `[[pools]]` table.
    pub key: &'static str,
    /// The key's text in the schema.
    pub summary: &'static str,
    /// What it is.
    pub doc: &'static Doc,
    /// JSON schema of the key's value.
    #[cfg(feature = "config")]
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Row {
    /// The keys of the policy's table with their texts, sorted. Empty where the value is no
    /// table.
    #[cfg(feature = "config")]
    pub fn keys(&self) -> Vec<(String, String)> {
        let mut generator = SchemaGenerator::default();
        let schema = serde_json::Value::from((self.schema)(&mut generator));
        // A policy with a short form has the table among its alternatives.
        let forms = schema["anyOf"].as_array().map_or_else(|| vec![&schema], |forms| forms.iter().collect());
        let keys = forms.into_iter().filter_map(|form| form["properties"].as_object()).flatten();
        let text = |inner: &serde_json::Value| inner["description"].as_str().unwrap_or_default().to_owned();
        keys.map(|(key, inner)| (key.clone(), text(inner))).collect()
    }
}

/// Host that runs a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The simulator.
    Simulator,
    /// The proxy.
    Proxy,
    /// The proxy between our own load and test servers: `twin` and `proxy --demo`.
    Loopback,
}

/// A problem with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The key in question inside the policy's table, such as `tokens.ratio`; empty for the table as a whole.
    pub key: &'static str,
    /// Description of the problem.
    pub message: String,
    /// How to fix it.
    pub help: Option<&'static str>,
}

impl Invalid {
    /// A problem with a key.
    pub fn new(key: &'static str, message: impl Into<String>) -> Invalid {
        Invalid { key, message: message.into(), help: None }
    }

    /// Adds how to fix it.
    pub fn help(self, help: &'static str) -> Invalid {
        Invalid { help: Some(help), ..self }
    }
}

/// Collects problems.
#[derive(Debug, Default)]
pub struct Issues(Vec<Invalid>);

impl Issues {
    /// Records a problem with a key unless `sound`.
    pub fn require(&mut self, sound: bool, key: &'static str, message: impl Into<String>) -> Noted<'_> {
        if sound {
            return Noted(None);
        }
        self.0.push(Invalid::new(key, message));
        Noted(self.0.last_mut())
    }
}

/// The problem just recorded, if there was one.
#[derive(Debug)]
pub struct Noted<'a>(Option<&'a mut Invalid>);

impl Noted<'_> {
    /// Adds how to fix it.
    pub fn help(self, help: &'static str) {
        if let Some(invalid) = self.0 {
            invalid.help = Some(help);
        }
    }
}

/// Properties of a server that a policy check can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerFacts<'a> {
    /// Most requests in flight; `None`: unlimited.
    pub max_in_flight: Option<u32>,
    /// Zone of the server; `None`: in no zone.
    pub zone: Option<&'a str>,
    /// Its priority level, 0 first.
    pub priority: u32,
}

/// Properties of a pool that a policy check can read.
#[derive(Clone, Copy, Debug)]
pub struct PoolFacts<'a> {
    /// The servers; one entry may stand for several that are alike.
    pub servers: &'a [ServerFacts<'a>],
    /// All policies of the pool.
    pub rules: &'a Rules,
}

/// With the feature `config`: can be read from and written to files. Without it: anything.
#[cfg(feature = "config")]
pub trait Written: Serialize + DeserializeOwned + JsonSchema {}
#[cfg(feature = "config")]
impl<T: Serialize + DeserializeOwned + JsonSchema> Written for T {}

/// With the feature `config`: can be read from and written to files. Without it: anything.
#[cfg(not(feature = "config"))]
pub trait Written {}
#[cfg(not(feature = "config"))]
impl<T> Written for T {}

/// The rules of one policy, as they are written in a file.
pub trait Policy: Clone + PartialEq + Written {
    /// Checks the values; reports invalid ones.
    fn check(&self, issues: &mut Issues);

    /// Checks the rules against this pool.
    fn check_pool(&self, pool: &PoolFacts<'_>, issues: &mut Issues) {
        let _ = (pool, issues);
    }

    /// The rules of a pool without such a table; `None` where the policy does not apply.
    fn implied(servers: &[ServerFacts<'_>]) -> Option<Self> {
        let _ = servers;
        None
    }

    /// Why this host cannot apply the policy, and how to fix it; `None` where it can.
    fn unsupported(&self, host: Host) -> Option<Invalid> {
        let _ = host;
        None
    }
}

macro_rules! catalogue {
    ($( $(#[doc = $doc:literal])+ $key:ident $module:ident, )*) => {
        /// The policies of one pool. A policy that is `None` is not applied.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Rules {
            $( $(#[doc = $doc])+ pub $key: Option<super::$module::Rules>, )*
        }

        /// All policies.
        pub const CATALOGUE: &[Row] = &[
            $( Row {
                key: stringify!($key),
                summary: concat!($($doc),+),
                doc: &super::$module::DOC,
                #[cfg(feature = "config")]
                schema: <super::$module::Rules as JsonSchema>::json_schema,
            }, )*
        ];

        impl Rules {
            /// Adds policies that apply without being written, such as `priorities` where a server has a level.
            pub fn imply(&mut self, servers: &[ServerFacts<'_>]) {
                $( if self.$key.is_none() {
                    self.$key = Policy::implied(servers);
                } )*
            }

            /// All problems, of a policy by itself or for a pool with these servers: the policy's key, and the problem.
            pub fn check(&self, servers: &[ServerFacts<'_>]) -> Vec<(&'static str, Invalid)> {
                let pool = PoolFacts { servers, rules: self };
                let mut found = Vec::new();
                $( if let Some(rules) = &self.$key {
                    let mut issues = Issues::default();
                    rules.check(&mut issues);
                    rules.check_pool(&pool, &mut issues);
                    found.extend(issues.0.into_iter().map(|invalid| (stringify!($key), invalid)));
                } )*
                found
            }

            /// The policies that this host cannot apply: the policy's key, and the reason.
            pub fn unsupported(&self, host: Host) -> Vec<(&'static str, Invalid)> {
                let mut found = Vec::new();
                $( found.extend(
                    self.$key.as_ref().and_then(|rules| rules.unsupported(host)).map(|why| (stringify!($key), why)),
                ); )*
                found
            }

            /// The keys of the policies whose rules differ.
            pub fn changed(&self, other: &Rules) -> Vec<&'static str> {
                let mut keys = Vec::new();
                $( if self.$key != other.$key {
                    keys.push(stringify!($key));
                } )*
                keys
            }

            /// The keys of the policies that are set.
            pub fn present(&self) -> Vec<&'static str> {
                self.changed(&Rules::default())
            }
        }
    };
}

crate::for_each_policy!(catalogue);

/// The row of a policy with this key.
pub fn find(key: &str) -> Option<&'static Row> {
    CATALOGUE.iter().find(|row| row.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_documentation() {
        for row in CATALOGUE {
            let texts = [row.summary, row.doc.title, row.doc.idea, row.doc.source];
            assert!(texts.iter().all(|text| !text.trim().is_empty()), "{}", row.key);
            assert_eq!(find(row.key).map(|found| found.key), Some(row.key));
        }
    }

    /// Defaults are valid, and every key of a policy has a text of its own.
    #[test]
    fn every_key_has_a_text() {
        for row in CATALOGUE {
            assert!(row.key == "panic" || !row.keys().is_empty(), "{}", row.key);
            for (key, text) in row.keys() {
                assert!(text.split(' ').count() > 3, "{}.{key}: {text}", row.key);
            }
        }
    }

    #[test]
    fn changed_policies_are_listed() {
        let before = Rules { panic: Some(super::super::panic::Rules(0.5)), ..Rules::default() };
        let after = Rules { priorities: Some(Default::default()), ..Rules::default() };
        assert_eq!(before.changed(&after), ["panic", "priorities"]);
        assert_eq!(before.changed(&before), [""; 0]);
        assert_eq!(after.present(), ["priorities"]);
    }
}
