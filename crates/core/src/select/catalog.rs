//! The one catalogue: a row per strategy, from which the command line, the docs, the tests and the scenario language
//! all take what they know. A new strategy is a file beside this one and a row in the macro call below.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{Selector, Signals};
use crate::rng::Rng;

/// What a reader must know of a strategy. The text of `evenkeel explain`.
#[derive(Debug)]
pub struct Doc {
    /// The field's name for it, in one line.
    pub title: &'static str,
    /// What it goes by.
    pub family: Family,
    /// Names that others have for this very algorithm: accepted wherever a strategy is named.
    pub aliases: &'static [&'static str],
    /// Names of algorithms that this one is closest to, each with what is not the same: accepted as well, with that remark.
    pub near: &'static [(&'static str, &'static str)],
    /// Whose variant this is: names such as "least connections" mean several algorithms.
    pub variant: &'static str,
    /// What it does and why, for a reader who meets it for the first time.
    pub idea: &'static str,
    /// The rule, as one would write it on a board.
    pub formula: &'static str,
    /// Each parameter's meaning; names and defaults come from the code.
    pub params: &'static [(&'static str, &'static str)],
    /// Paper or system.
    pub source: &'static str,
    /// Time per pick with n backends.
    pub cost: &'static str,
    /// When it disappoints.
    pub fails: &'static str,
    /// The file in `scenarios/` that shows it best.
    pub scenario: &'static str,
    /// The file in `scenarios/` in which it disappoints.
    pub fails_in: &'static str,
    /// Whether weights of the servers are honoured.
    pub weighted: bool,
}

impl Doc {
    /// Everything that others call it, or what it is closest to.
    pub fn other_names(&self) -> impl Iterator<Item = &'static str> {
        self.aliases.iter().copied().chain(self.near.iter().map(|(name, _)| *name))
    }

    /// Whether it needs truths that no balancer has: a baseline, refused by the proxy.
    pub fn oracle(&self) -> bool {
        self.family == Family::Oracle
    }
}

/// What a strategy goes by, in the order in which lists show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Chance.
    Random,
    /// Turns, in proportion to weights.
    RoundRobin,
    /// Requests in flight, as the balancer counts them.
    Load,
    /// How long answers took.
    Latency,
    /// What servers say of themselves.
    Report,
    /// What of the request decides where it goes.
    Hash,
    /// Truths that no balancer has.
    Oracle,
}

impl Family {
    /// A heading.
    pub fn title(self) -> &'static str {
        match self {
            Family::Random => "random",
            Family::RoundRobin => "round robin",
            Family::Load => "in-flight requests",
            Family::Latency => "latency",
            Family::Report => "load reports",
            Family::Hash => "hashing",
            Family::Oracle => "oracles",
        }
    }
}

/// What every strategy's parameters can do.
pub trait Params: Default + Serialize {
    /// Refuses values that make no sense, with a sentence that names the parameter.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// A selector with these parameters, knowing nothing yet. `rng` serves draws that are made once, at the start.
    fn build(&self, rng: &mut Rng) -> Box<dyn Selector>;
}

/// A row of the catalogue.
#[derive(Debug)]
pub struct Row {
    /// The name by which files and the command line know it.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static Doc,
    /// It, with every parameter at its default.
    pub default: fn() -> StrategyConfig,
}

macro_rules! catalogue {
    ($($name:literal $variant:ident $module:ident)*) => {
        /// A strategy with its parameters: the strategy table of a scenario or of the proxy's config.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum StrategyConfig {
            $(#[doc = concat!("`", $name, "`")] #[serde(rename = $name)] $variant(super::$module::Params),)*
        }

        /// Every strategy there is.
        pub const CATALOGUE: &[Row] = &[
            $(Row { name: $name, doc: &super::$module::DOC, default: || StrategyConfig::$variant(Default::default()) },)*
        ];

        impl StrategyConfig {
            /// The strategy's name in the catalogue.
            pub fn name(&self) -> &'static str {
                match self { $(StrategyConfig::$variant(_) => $name,)* }
            }

            /// Refuses parameters that make no sense.
            pub fn check(&self) -> Result<(), String> {
                match self { $(StrategyConfig::$variant(params) => params.check(),)* }
            }

            /// The strategy of this name with parameters that are the next value of a map.
            fn with_parameters<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<StrategyConfig, A::Error> {
                match name {
                    $($name => Ok(StrategyConfig::$variant(map.next_value()?)),)*
                    other => Err(de::Error::custom(no_strategy(other))),
                }
            }

            /// The schema of each strategy's parameters, in the order of the catalogue.
            fn parameter_schemas(generator: &mut SchemaGenerator) -> Vec<Schema> {
                vec![$(super::$module::Params::json_schema(generator),)*]
            }

            /// A selector at the start of its life.
            pub fn build(&self, rng: &mut Rng) -> Box<dyn Selector> {
                match self { $(StrategyConfig::$variant(params) => params.build(rng),)* }
            }
        }
    };
}

catalogue! {
    "random" Random random
    "weighted_random" WeightedRandom weighted_random
    "round_robin" RoundRobin round_robin
    "weighted_round_robin" WeightedRoundRobin weighted_round_robin
    "edf" Edf edf
    "static_stride" StaticStride static_stride
    "interleaved_weighted_round_robin" InterleavedWeightedRoundRobin interleaved_weighted_round_robin
    "expanded_round_robin" ExpandedRoundRobin expanded_round_robin
    "least_request" LeastRequest least_request
    "p2c" P2c p2c
    "weighted_least_request" WeightedLeastRequest weighted_least_request
    "shortest_expected_delay" ShortestExpectedDelay shortest_expected_delay
    "never_queue" NeverQueue never_queue
    "first_fit" FirstFit first_fit
    "late_binding" LateBinding late_binding
    "cost_aware_least_request" CostAwareLeastRequest cost_aware_least_request
    "peak_ewma" PeakEwma peak_ewma
    "least_time" LeastTime least_time
    "least_time_window" LeastTimeWindow least_time_window
    "weighted_response_time" WeightedResponseTime weighted_response_time
    "load_report" LoadReport load_report
    "client_side_weighted_round_robin" ClientSideWeightedRoundRobin client_side_weighted_round_robin
    "join_idle_queue" JoinIdleQueue join_idle_queue
    "prequal" Prequal prequal
    "prequal_synchronous" PrequalSynchronous prequal_synchronous
    "c3" C3 c3
    "staleness_aware" StalenessAware staleness_aware
    "ip_hash" IpHash ip_hash
    "modulo_hash" ModuloHash modulo_hash
    "consistent_hash" ConsistentHash consistent_hash
    "maglev" Maglev maglev
    "rendezvous" Rendezvous rendezvous
    "jump" Jump jump
    "multi_probe" MultiProbe multi_probe
    "dx_hash" DxHash dx_hash
    "bounded_load" BoundedLoad bounded_load
    "hash_subset" HashSubset hash_subset
    "oracle_least_work" OracleLeastWork oracle_least_work
    "oracle_shortest_queue" OracleShortestQueue oracle_shortest_queue
}

/// A name without what people write in different ways: capitals, and `-` or blanks for `_`.
fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace(['-', ' '], "_")
}

/// The row with this name, or whose algorithm others call so.
pub fn find(name: &str) -> Option<&'static Row> {
    let exact = CATALOGUE.iter().find(|row| row.name == name);
    exact.or_else(|| {
        let called = |row: &&Row, by: &dyn Fn(&str) -> bool| {
            by(row.name)
                || row.doc.aliases.iter().any(|alias| by(alias))
                || row.doc.near.iter().any(|(near, _)| by(near))
        };
        let name = plain(name);
        let joined = |name: &str| plain(name).replace('_', "");
        let short = joined(&name);
        // `least_time` and `leasttime` are two algorithms: that underscores do not matter is tried last.
        let spelt = CATALOGUE.iter().find(|row| called(row, &|known| plain(known) == name));
        spelt.or_else(|| CATALOGUE.iter().find(|row| called(row, &|known| joined(known) == short)))
    })
}

/// What is not the same, where `name` is that of another algorithm that a row is closest to.
pub fn remark(name: &str) -> Option<String> {
    let row = find(name)?;
    let exact = row.doc.near.iter().find(|(near, _)| *near == name.trim());
    let (near, difference) = exact.or_else(|| {
        let alike = |(near, _): &&(&str, &str)| plain(near) == plain(name) && plain(near) != row.name;
        row.doc.near.iter().find(alike)
    })?;
    Some(format!("`{}` is the closest to `{near}`: {difference}", row.name))
}

/// The same of a strategy as it stands in a file: `"source"` or `{ source = { octets = 4 } }`.
pub fn remark_on(written: &str) -> Option<String> {
    let name = written.trim_start_matches(|c: char| c.is_whitespace() || "\"'{".contains(c));
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "_- ".contains(c))).unwrap_or(name.len());
    remark(&name[..end])
}

/// Reads a strategy as a command line or a table of results names it: a name, or a label with parameters such as
/// `p2c(choices=3)`. The error is a sentence, with a way out on a line of its own.
pub fn parse(text: &str) -> Result<StrategyConfig, String> {
    let text = text.trim();
    let (name, parameters) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => {
            let inner = rest.strip_suffix(')').ok_or_else(|| {
                format!("`{text}` has no closing bracket\n  help: write it as `p2c(choices=3)`, in quotation marks")
            })?;
            (name.trim(), Some(inner))
        }
    };
    let row = find(name).ok_or_else(|| format!("{}\n  help: {}", no_strategy(name), suggestion(name, true)))?;
    let Some(parameters) = parameters else { return Ok((row.default)()) };
    let mut pairs = Vec::new();
    for pair in split(parameters) {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            format!("`{pair}` in `{text}` is no parameter\n  help: write it as {}(parameter=value)", row.name)
        })?;
        pairs.push((key.trim().to_owned(), value.trim()));
    }
    // Labels have texts without quotation marks: `5s` is one, `3` and `true` are not.
    let literal = |value: &str| {
        let read = toml::from_str::<toml::Table>(&format!("value = {value}"));
        read.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| toml::Value::String(value.to_owned()))
    };
    let inner: toml::Table = pairs.iter().map(|(key, value)| (key.clone(), literal(value))).collect();
    let outer = toml::Table::from_iter([(row.name.to_owned(), toml::Value::Table(inner))]);
    let read = Strategy::deserialize(toml::Value::Table(outer));
    read.map(|strategy| strategy.0).map_err(|error| {
        let known: Vec<String> = (row.default)().parameters().keys().cloned().collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("`{text}`: {}\n  help: parameters of {} are: {known}", error.message().trim(), row.name)
    })
}

/// A list with commas between its parts; those inside brackets belong to a part.
pub fn split(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth <= 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// The message for a strategy that does not exist.
fn no_strategy(name: &str) -> String {
    format!("there is no strategy `{name}`")
}

/// The name in a message made by `no_strategy`.
pub fn unknown_name(message: &str) -> Option<&str> {
    message.strip_prefix("there is no strategy `")?.strip_suffix('`')
}

/// What `name` was most likely meant to be, as a help text; else what there is. Without `oracles` none is offered: a proxy
/// cannot have them.
pub fn suggestion(name: &str, oracles: bool) -> String {
    let rows = || CATALOGUE.iter().filter(move |row| oracles || !row.doc.oracle());
    // A label is no name in a file.
    if name.contains('(')
        && let Ok(table) = parse(name)
    {
        let row = table.row();
        let default = (row.default)().parameters();
        let own = table.parameters().into_iter().filter(|(key, value)| default.get(key) != Some(value));
        let parameters: Vec<String> = own.map(|(key, value)| format!("{key} = {value}")).collect();
        if !row.doc.oracle() || oracles {
            return format!("write {{ {} = {{ {} }} }}", row.name, parameters.join(", "));
        }
    }
    let name = plain(name);
    let names =
        rows().flat_map(|row| std::iter::once((row.name, row)).chain(row.doc.aliases.iter().map(move |a| (*a, row))));
    let nearest = names
        .map(|(known, row)| (strsim::jaro_winkler(&name, known), row.name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", rows().map(|row| row.name).collect::<Vec<_>>().join(", ")),
    }
}

impl StrategyConfig {
    /// The row of this strategy.
    pub fn row(&self) -> &'static Row {
        find(self.name()).expect("the macro makes a row for each variant")
    }

    /// What servers should tell for it ([`Selector::signals`]).
    pub fn signals(&self) -> Signals {
        self.build(&mut Rng::stream(0, "wants", 0)).signals()
    }

    /// Its parameters by name, as one would write them in a file.
    pub fn parameters(&self) -> toml::Table {
        match toml::Value::try_from(self) {
            Ok(toml::Value::Table(outer)) => match outer.into_iter().next() {
                Some((_, toml::Value::Table(inner))) => inner,
                _ => toml::Table::new(),
            },
            _ => toml::Table::new(),
        }
    }
}

/// A [`StrategyConfig`] as a file gives it: `"p2c"` for the defaults, or `{ p2c = { choices = 3 } }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Strategy(pub StrategyConfig);

impl JsonSchema for Strategy {
    fn schema_name() -> Cow<'static, str> {
        "Strategy".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let title =
            |row: &Row| format!("{}.{}", row.doc.title, if row.doc.oracle() { " Not for the proxy." } else { "" });
        let mut forms: Vec<Schema> =
            CATALOGUE.iter().map(|row| json_schema!({ "description": title(row), "const": row.name })).collect();
        forms.extend(CATALOGUE.iter().zip(StrategyConfig::parameter_schemas(generator)).map(|(row, parameters)| {
            json_schema!({
                "description": title(row),
                "type": "object",
                "properties": { row.name: parameters },
                "required": [row.name],
                "additionalProperties": false,
            })
        }));
        let others = CATALOGUE.iter().filter(|row| !row.doc.oracle()).flat_map(|row| row.doc.other_names());
        forms.push(json_schema!({
            "description": "What other balancers call one of these.",
            "enum": others.collect::<Vec<_>>(),
        }));
        json_schema!({ "description": "A strategy by its name, or with parameters.", "oneOf": forms })
    }
}

impl<'de> Deserialize<'de> for Strategy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Strategy, D::Error> {
        struct StrategyVisitor;
        impl<'de> Visitor<'de> for StrategyVisitor {
            type Value = Strategy;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a strategy's name, or a table such as { p2c = { choices = 3 } }")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Strategy, E> {
                let row = find(name).ok_or_else(|| E::custom(no_strategy(name)))?;
                Ok(Strategy((row.default)()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strategy, A::Error> {
                let one = "a strategy's table has one key, its name: { p2c = { choices = 3 } }";
                let row = map.next_key_seed(Name)?.ok_or_else(|| de::Error::custom(one))?;
                let table = StrategyConfig::with_parameters(row.name, &mut map)?;
                if map.next_key::<de::IgnoredAny>()?.is_some() {
                    return Err(de::Error::custom(one));
                }
                table.check().map_err(de::Error::custom)?;
                Ok(Strategy(table))
            }
        }
        /// A key that names a strategy.
        struct Name;
        impl<'de> de::DeserializeSeed<'de> for Name {
            type Value = &'static Row;
            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<&'static Row, D::Error> {
                let name = Cow::<str>::deserialize(from)?;
                find(&name).ok_or_else(|| de::Error::custom(no_strategy(&name)))
            }
        }
        from.deserialize_any(StrategyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No name means two rows, and none means one row twice.
    #[test]
    fn names_are_unambiguous() {
        let mut seen = std::collections::BTreeMap::new();
        for row in CATALOGUE {
            for name in std::iter::once(row.name).chain(row.doc.other_names()) {
                // Envoy's capitals are the name of our own row, with a remark.
                if plain(name) == row.name && name != row.name {
                    continue;
                }
                let before = seen.insert(plain(name), row.name);
                assert_eq!(before, None, "{name} is {} and {before:?}", row.name);
                assert_eq!(find(name).map(|row| row.name), Some(row.name), "{name}");
            }
        }
        assert!(seen.len() > 150, "{}", seen.len());
    }

    /// Without underscores names still mean the row that they mean with them, but for the two that products tell apart so.
    #[test]
    fn spelling_does_not_matter() {
        for row in CATALOGUE {
            for name in std::iter::once(row.name).chain(row.doc.aliases.iter().copied()) {
                for written in
                    [name.to_uppercase(), name.replace('_', "-"), name.replace('_', " "), name.replace('_', "")]
                {
                    let expected = if written == "leasttime" { "least_time_window" } else { row.name };
                    assert_eq!(find(&written).map(|row| row.name), Some(expected), "{written}");
                }
            }
        }
    }

    #[test]
    fn names_of_the_field_are_understood() {
        for (field, names) in [
            ("nginx", "least_conn=least_request ip_hash=ip_hash hash=modulo_hash random_two=p2c least_time=least_time"),
            (
                "HAProxy",
                "roundrobin=round_robin static-rr=expanded_round_robin leastconn=least_request first=first_fit source=ip_hash uri=modulo_hash",
            ),
            (
                "IPVS",
                "rr=round_robin wrr=weighted_round_robin lc=least_request wlc=least_request sh=ip_hash dh=modulo_hash mh=maglev sed=shortest_expected_delay nq=never_queue ovf=first_fit",
            ),
            (
                "Envoy",
                "ROUND_ROBIN=round_robin LEAST_REQUEST=least_request RING_HASH=consistent_hash MAGLEV=maglev RANDOM=random",
            ),
            ("Traefik", "wrr=weighted_round_robin p2c=p2c hrw=rendezvous leasttime=least_time_window"),
            (
                "Caddy",
                "random_choose=p2c least_conn=least_request first=first_fit ip_hash=ip_hash uri_hash=rendezvous client_ip_hash=ip_hash",
            ),
            (
                "gRPC",
                "pick_first=first_fit round_robin=round_robin ring_hash_experimental=consistent_hash least_request_experimental=least_request",
            ),
            (
                "others",
                "swrr=weighted_round_robin power_of_two=p2c p2c_ewma=peak_ewma ch=consistent_hash ketama=consistent_hash jsq=least_request jiq=join_idle_queue",
            ),
        ] {
            for (name, canonical) in names.split(' ').map(|pair| pair.split_once('=').unwrap()) {
                assert_eq!(find(name).map(|row| row.name), Some(canonical), "{field}: {name}");
            }
        }
    }

    #[test]
    fn what_is_only_close_is_remarked() {
        assert!(remark("source").unwrap().contains("HAProxy"));
        assert!(remark("LEAST_REQUEST").unwrap().contains("`p2c`"));
        assert!(remark("pick-first").unwrap().starts_with("`first_fit` is the closest to `pick_first`"));
        assert!(remark_on("{ source = { octets = 4 } }").is_some() && remark_on("\"sh\"").is_some());
        assert_eq!(remark_on("{ p2c = { choices = 3 } }"), None);
        for same in ["least_request", "least_conn", "sed", "p2c", "no_such"] {
            assert_eq!(remark(same), None, "{same}");
        }
    }

    #[test]
    fn labels_are_read_as_they_are_printed() {
        let with =
            |text: &str| toml::from_str::<std::collections::BTreeMap<String, Strategy>>(text).unwrap()["s"].0.clone();
        assert_eq!(parse("p2c(choices=3)").unwrap(), with("s = { p2c = { choices = 3 } }"));
        assert_eq!(
            parse(" random_two ( choices = 3, replacement=true )").unwrap(),
            with("s = { p2c = { choices = 3, replacement = true } }")
        );
        assert_eq!(parse("least_conn").unwrap(), with("s = \"least_request\""));
        assert_eq!(with("s = { least_conn = { ties = \"turn\" } }").name(), "least_request");
        assert_eq!(split("p2c(choices=3,replacement=true), random,"), ["p2c(choices=3,replacement=true)", "random"]);
        for (wrong, message) in [
            ("p2c(choices=3", "closing bracket"),
            ("p2c(3)", "is no parameter"),
            ("p2c(choice=3)", "parameters of p2c are: caddy_tie_bug, choices"),
            ("p2c(choices=99)", "from 1 to 16"),
            ("p3c(choices=3)", "did you mean `p2c`?"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains(message), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_proxy_is_offered_no_oracle() {
        assert_eq!(suggestion("oracle_least_wrk", true), "did you mean `oracle_least_work`?");
        assert!(!suggestion("oracle_least_wrk", false).contains("`oracle"));
        assert!(!suggestion("qqqq", false).contains("oracle"));
        assert!(suggestion("qqqq", true).contains("oracle"));
        assert_eq!(
            suggestion("p2c(choices=3)", false).split(' ').take(4).collect::<Vec<_>>(),
            ["write", "{", "p2c", "="]
        );
    }
}
