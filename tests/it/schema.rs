//! The schemas and the annotated example agree with the code, completely.

use std::collections::BTreeSet;

use serde_json::Value;

use evenkeel::config::proxy::ProxyConfig;
use evenkeel::config::{Diagnostic, schema};
use evenkeel::scenario;
use evenkeel::units::{Nanos, Rate, Ratio};

use crate::support::{Folder, evenkeel, root, text};

/// A validator for the part of JSON Schema (draft 7) that the schemas use; an unknown keyword fails the test.
fn violations(schema: &Value, whole: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(object) = schema.as_object() else {
        if schema == &Value::Bool(false) {
            found.push(format!("{at}: nothing may stand here"));
        }
        return;
    };
    if let Some(name) = object.get("$ref").and_then(Value::as_str) {
        let name = name.strip_prefix("#/definitions/").expect("a definition");
        return violations(&whole["definitions"][name], whole, value, at, found);
    }
    let holds = |form: &Value| {
        let mut inner = Vec::new();
        violations(form, whole, value, at, &mut inner);
        inner.is_empty()
    };
    for (keyword, argument) in object {
        let good = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "examples" | "definitions" => true,
            "type" => {
                let is = |name: &Value| match name.as_str().expect("a type") {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    other => panic!("type {other}"),
                };
                argument.as_array().map_or_else(|| is(argument), |all| all.iter().any(is))
            }
            "const" => value == argument,
            "enum" => argument.as_array().unwrap().contains(value),
            "pattern" => {
                let pattern = regex_lite::Regex::new(argument.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "minimum" => value.as_f64().is_none_or(|number| number >= argument.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= argument.as_f64().unwrap()),
            "anyOf" => argument.as_array().unwrap().iter().any(holds),
            "oneOf" => argument.as_array().unwrap().iter().filter(|form| holds(form)).count() == 1,
            "allOf" => argument.as_array().unwrap().iter().all(holds),
            "required" => {
                let has = |key: &Value| value.as_object().is_none_or(|o| o.contains_key(key.as_str().unwrap()));
                argument.as_array().unwrap().iter().all(has)
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    violations(argument, whole, item, &format!("{at}[{i}]"), found);
                }
                true
            }
            "properties" => {
                for (key, inner) in argument.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        violations(inner, whole, value, &format!("{at}.{key}"), found);
                    }
                }
                true
            }
            // A table of names that a file makes up: each value is of one kind.
            "additionalProperties" if argument.is_object() => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    violations(argument, whole, inner, &format!("{at}.{key}"), found);
                }
                true
            }
            "additionalProperties" => {
                assert_eq!(argument, false, "{at}");
                let known = object.get("properties").and_then(Value::as_object);
                let mut keys = value.as_object().into_iter().flat_map(|o| o.keys());
                keys.all(|key| known.is_some_and(|known| known.contains_key(key)))
            }
            other => panic!("{at}: the keyword {other} is not known to this test"),
        };
        if !good {
            found.push(format!("{at}: {keyword} {argument}"));
        }
    }
}

fn check(schema: &Value, source: &str) -> Vec<String> {
    let value: Value = serde_json::to_value(toml::from_str::<toml::Table>(source).unwrap()).unwrap();
    let mut found = Vec::new();
    violations(schema, schema, &value, "", &mut found);
    found
}

fn example() -> String {
    text(&evenkeel().args(["proxy", "--example"]).output().unwrap().stdout)
}

/// The example with what stands behind a `#` made real, and its lines as they then are.
fn uncommented() -> String {
    let key = regex_lite::Regex::new(r"^# ([a-z_0-9]+ = |\[\[?[a-z_.]+\])").unwrap();
    let plain = |line: &str| format!("{}\n", if key.is_match(line) { &line[2..] } else { line });
    example().lines().map(plain).collect()
}

fn sound(source: &str) {
    let environment = |name: &str| (name == "ADMIN_TOKEN").then(|| "hush".to_owned());
    ProxyConfig::parse(source, &environment).unwrap_or_else(|problems| {
        panic!("{}", Diagnostic { file: "example".to_owned(), source: source.to_owned(), problems }.plain())
    });
}

/// The command in the message rewrites them.
#[test]
fn the_schemas_in_the_repository_are_those_of_the_code() {
    for (file, command, now) in [
        ("schema/proxy.schema.json", "proxy --schema", schema::proxy()),
        ("schema/scenario.schema.json", "run --schema", scenario::schema()),
    ] {
        let now = format!("{now:#}\n");
        let arguments: Vec<&str> = command.split(' ').collect();
        assert_eq!(text(&evenkeel().args(arguments).output().unwrap().stdout), now, "{command}");
        let committed = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(committed == now, "{file} is stale: cargo run -- {command} > {file}");
    }
}

#[test]
fn the_example_and_every_scenario_meet_their_schemas() {
    let proxy = schema::proxy();
    // A per-try timeout only makes sense with retries.
    let all = uncommented().replace("\"reset\"]", "\"reset\", \"timeout\"]");
    for source in [example(), all] {
        sound(&source);
        assert_eq!(check(&proxy, &source), [""; 0]);
    }
    let of_scenarios = scenario::schema();
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            seen += 1;
            let source = std::fs::read_to_string(&path).unwrap();
            assert_eq!(check(&of_scenarios, &source), [""; 0], "{}", path.display());
        }
    }
    assert!(seen > 10);
}

#[test]
fn the_schema_refuses_what_the_proxy_refuses() {
    let proxy = schema::proxy();
    for (from, to) in [
        ("weight = 1", "wieght = 1"),
        ("keep_alive = \"75s\"", "keep_alive = 75"),
        ("keep_alive = \"75s\"", "keep_alive = \"75 parsecs\""),
        ("min_per_second = \"3/s\"", "min_per_second = \"3\""),
        ("budget = \"20%\"", "budget = \"many\""),
        ("choices = 2", "choice = 2"),
        ("p2c = { choices = 2 }", "p3c = {}"),
        ("access = \"none\"", "access = \"xml\""),
        ("name = \"web\"", "name = 3"),
    ] {
        let source = uncommented().replacen(from, to, 1);
        assert_ne!(source, uncommented(), "{from}");
        assert!(!check(&proxy, &source).is_empty(), "{to}");
        assert!(ProxyConfig::parse(&source, &|_| Some("hush".to_owned())).is_err(), "{to}");
    }
}

/// Patterns and parsers of quantities agree.
#[test]
fn quantities_have_the_patterns_that_their_parsers_mean() {
    let proxy = schema::proxy();
    let meets = |name: &str, value: &str| {
        let mut found = Vec::new();
        violations(&proxy["definitions"][name], &proxy, &Value::from(value), "", &mut found);
        found.is_empty()
    };
    for value in
        ["5ms", " 1.5 s ", "250us", "2µs", "1e3ms", "1_000ns", "0", "3min", "5", "fast", "-5ms", "5 parsecs", "", "ms"]
    {
        assert_eq!(meets("Duration", value), value.parse::<Nanos>().is_ok(), "{value}");
    }
    for value in ["900/s", "5 per m", "2.5/ms", "900", "/s", "9/parsec", "-9/s"] {
        assert_eq!(meets("Rate", value), value.parse::<Rate>().is_ok(), "{value}");
    }
    for value in ["80%", "0.8", "80 %", "many", "-1", "%", "8/s"] {
        assert_eq!(meets("Ratio", value), value.parse::<Ratio>().is_ok(), "{value}");
    }
}

/// Keys of pools that only scenarios use; the example says so.
const SIMULATORS: [&str; 6] = ["backend", "reports", "probes", "connections", "autoscale", "shards"];

/// Walks the tables of the schema beside the example: every key is there, and where the code has a default the example
/// states it, unless its line says "unless".
struct Reader<'a> {
    schema: &'a Value,
    lines: Vec<&'a str>,
    wrong: Vec<String>,
    seen: BTreeSet<String>,
}

impl Reader<'_> {
    /// References followed, and of several forms the one that is a table.
    fn resolved<'s>(&'s self, mut schema: &'s Value) -> &'s Value {
        loop {
            let inner = if let Some(name) = schema["$ref"].as_str() {
                &self.schema["definitions"][name.trim_start_matches("#/definitions/")]
            } else if schema["allOf"].is_array() {
                &schema["allOf"][0]
            } else if let Some(table) = schema["anyOf"]
                .as_array()
                .and_then(|forms| forms.iter().find(|form| self.resolved(form)["properties"].is_object()))
            {
                table
            } else if schema["items"].is_object() {
                &schema["items"]
            } else {
                return schema;
            };
            schema = inner;
        }
    }

    fn table(&mut self, schema: &Value, value: &Value, at: &str) {
        let Some(properties) = schema["properties"].as_object() else { return };
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, inner) in properties {
            let path = format!("{at}.{key}");
            if at == ".pools" && SIMULATORS.contains(&key.as_str()) {
                continue;
            }
            let Some(found) = value.get(key) else {
                self.wrong.push(format!("{path} is not in the example"));
                continue;
            };
            self.seen.insert(path.clone());
            let found =
                if found.as_array().is_some_and(|all| all.iter().all(Value::is_object)) { &found[0] } else { found };
            let own = self.resolved(inner).clone();
            if own["properties"].is_object() {
                self.table(&own, found, &path);
                continue;
            }
            let said = self.lines.iter().any(|line| {
                line.contains(&format!("{key} = "))
                    && line.split_once('#').is_some_and(|(_, why)| why.contains("unless"))
            });
            match inner.get("default") {
                Some(default) if same(default, found) || said => {}
                Some(default) => self.wrong.push(format!("{path} is {found}, and the default {default}")),
                None if required.contains(&key.as_str()) || said => {}
                None => self.wrong.push(format!("{path}: what is it unless given?")),
            }
        }
    }
}

/// Whether two ways of writing a value mean the same.
fn same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::String(text) => {
            let nanos = text.parse::<Nanos>().map(|nanos| nanos.0 as f64).ok();
            nanos.or(text.parse::<Rate>().ok().map(|rate| rate.0)).or(text.parse::<Ratio>().ok().map(|ratio| ratio.0))
        }
        other => other.as_f64(),
    };
    a == b || number(a).is_some_and(|a| number(b).is_some_and(|b| (a - b).abs() < 1e-12))
}

#[test]
fn the_example_has_every_key_and_states_the_defaults_of_the_code() {
    let (schema, source) = (schema::proxy(), uncommented());
    let value: Value = serde_json::to_value(toml::from_str::<toml::Table>(&source).unwrap()).unwrap();
    let mut reader =
        Reader { schema: &schema, lines: source.lines().collect(), wrong: Vec::new(), seen: BTreeSet::new() };
    reader.table(&schema, &value, "");
    assert_eq!(reader.wrong, [""; 0]);
    for path in [".timeouts.drain", ".pools.servers.zone", ".pools.hedge.after", ".listeners.tls.certificates.key"] {
        assert!(reader.seen.contains(path), "{path}: the walk has not come there: {:?}", reader.seen);
    }
}

/// Each mistake has exit code 2, a line and a column, and a way out.
#[test]
fn mistakes_in_a_config_have_a_place_and_a_way_out() {
    let cases = [
        ("strategy = { p2c", "strategi = { p2c", "did you mean `strategy`?"),
        ("{ p2c = { choices = 2 } }", "\"p3c\"", "did you mean `p2c`?"),
        ("choices = 2", "choices = 99", "from 1 to 16"),
        ("{ p2c = { choices = 2 } }", "\"oracle_least_work\"", "shows which are oracles"),
        ("\"127.0.0.1:8080\"", "\"localhost\"", "write \"127.0.0.1:8080\""),
        ("\"127.0.0.1:9901\"", "\"0.0.0.0:9901\"", "token = "),
        ("\"127.0.0.1:9001\"", "\"127.0.0.1\"", "write \"10.0.0.1:8080\""),
        ("pool = \"web\"", "pool = \"wbe\"", "known are: web"),
        ("prefix = \"/\"", "prefix = \"pay\"", "begins with a `/`"),
        ("keep_alive = \"75s\"", "keep_alive = 75", "a duration such as"),
        ("access = \"none\"", "access = \"xml\"", "`combined`"),
        ("[[routes]]", "[routes]", "in two pairs of brackets"),
        ("max_retries = 1", "max_retries = 0", "leave the table out"),
        ("path = \"/health\"", "path = \"health\"", "a `path`"),
        ("name = \"web\"", "name = \"Web\"", "use lower-case letters"),
        ("# trusted_proxies = [\"10.0.0.0/8\"]", "trusted_proxies = [\"10.0.0.0/99\"]", "write \"10.0.0.0/8\""),
        ("# token = \"${ADMIN_TOKEN}\"", "token = \"${NO_SUCH_THING}\"", "no variable `NO_SUCH_THING`"),
    ];
    let folder = Folder::new();
    let source = example();
    let good = folder.file("proxy.toml", &source);
    let output = evenkeel().args(["proxy", "--check", "--config"]).arg(&good).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("1 listener, 1 pool, 3 servers"), "{}", text(&output.stdout));
    for (from, to, way_out) in cases {
        let bad = source.replacen(from, to, 1);
        assert_ne!(bad, source, "{from}");
        let line = 1 + bad.lines().zip(source.lines()).position(|(a, b)| a != b).unwrap();
        let file = folder.file("bad.toml", &bad);
        let output = evenkeel().args(["proxy", "--check", "--config"]).arg(&file).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{to}: {message}");
        assert!(message.contains(&format!("bad.toml:{line}:")), "{to}: not at line {line}:\n{message}");
        assert!(message.contains(way_out), "{to}: no way out in\n{message}");
    }
}

/// Values of every kind, none of which is right everywhere.
const VALUES: [&str; 14] = [
    "3",
    "-1",
    "1.5",
    "99999999999",
    "true",
    "\"\"",
    "\"qqq\"",
    "1979-05-27",
    "[]",
    "[1]",
    "[[1]]",
    "[{}]",
    "{}",
    "{ qqq = 1 }",
];

/// Every key of a schema with each of [`VALUES`], in a file that has what must be there otherwise.
struct Wrong<'a> {
    schema: &'a Value,
    files: Vec<(String, String)>,
}

impl<'a> Wrong<'a> {
    /// Alternatives and references followed.
    fn forms(&self, schema: &'a Value) -> Vec<&'a Value> {
        if let Some(name) = schema["$ref"].as_str() {
            return self.forms(&self.schema["definitions"][name.trim_start_matches("#/definitions/")]);
        }
        for several in ["anyOf", "oneOf", "allOf"] {
            if let Some(all) = schema[several].as_array() {
                return all.iter().flat_map(|form| self.forms(form)).collect();
            }
        }
        vec![schema]
    }

    /// Something of the right kind.
    fn sample(&self, schema: &'a Value) -> String {
        let form = self.forms(schema)[0];
        let text = form["const"].as_str().or(form["enum"][0].as_str()).or(form["examples"][0].as_str());
        if let Some(text) = text {
            return format!("{text:?}");
        }
        match form["type"].as_str().unwrap_or("string") {
            "integer" => "1".to_owned(),
            "number" => "1.0".to_owned(),
            "boolean" => "true".to_owned(),
            "array" => format!("[{}]", self.sample(&form["items"])),
            "object" => self.table(form, ""),
            _ => "\"a\"".to_owned(),
        }
    }

    /// The keys that a table must have but for one, on a line.
    fn table(&self, form: &'a Value, without: &str) -> String {
        let required = form["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let pair = |key: &str| format!("{key} = {}", self.sample(&form["properties"][key]));
        let pairs: Vec<String> = required.filter(|key| *key != without).map(pair).collect();
        format!("{{ {} }}", pairs.join(", "))
    }

    fn walk(&mut self, schema: &'a Value, path: &str, around: &dyn Fn(String) -> String) {
        for form in self.forms(schema) {
            if form["items"].is_object() {
                self.walk(&form["items"], path, &|inner| around(format!("[{inner}]")));
            }
            for (key, inner) in form["properties"].as_object().into_iter().flatten() {
                let others = self.table(form, key);
                let others = others[1..others.len() - 1].trim();
                let comma = if others.is_empty() { "" } else { ", " };
                let place = |value: String| around(format!("{{ {others}{comma}{key} = {value} }}"));
                let path = format!("{path}.{key}");
                for value in VALUES {
                    self.files.push((format!("{path} = {value}"), place(value.to_owned())));
                }
                self.walk(inner, &path, &place);
            }
        }
    }
}

/// The author of a file does not know this program's types: for every wrong value, a message says what to write.
#[test]
fn no_message_speaks_of_the_program_s_types() {
    let types = regex_lite::Regex::new(
        r"\b(struct|enum|variant|untagged|sequence|map|tuple|newtype|[iu](8|16|32|64|128|size)|f32|f64|str|String|bool|Vec|Option|field|serde|[A-Z][a-z]+[A-Z][A-Za-z]*|[A-Za-z]+Table)\b",
    )
    .unwrap();
    type Parse = fn(&str) -> Result<(), Vec<evenkeel::config::Problem>>;
    let proxy: Parse = |source| ProxyConfig::parse(source, &|_| None).map(|_| ());
    let simulated: Parse = |source| scenario::Scenario::parse("s", source, &|_| Err("none".to_owned())).map(|_| ());
    for (schema, parse) in [(schema::proxy(), proxy), (scenario::schema(), simulated)] {
        let mut wrong = Wrong { schema: &schema, files: Vec::new() };
        // The file itself is a table without brackets: its keys stand on lines.
        wrong.walk(&schema, "", &|inner| inner);
        let (mut seen, mut refused) = (0, 0);
        for (what, inline) in wrong.files {
            let source = format!("whole = {inline}");
            let table: toml::Table = toml::from_str(&source).unwrap_or_else(|e| panic!("{what}: {e}\n{source}"));
            let source = toml::to_string(&table["whole"]).unwrap();
            seen += 1;
            let Err(problems) = parse(&source) else { continue };
            refused += 1;
            for problem in problems {
                let text = format!("{} {}", problem.message, problem.help.unwrap_or_default());
                let found = types.find(&text).map(|found| found.as_str().to_owned());
                assert_eq!(found, None, "{what}: {text}\n{source}");
            }
        }
        assert!(seen > 3000 && refused > 2500, "{seen} {refused}");
    }
}

/// A wrong value, the message for it, and the suggested fix.
#[test]
fn wrong_kinds_are_told_with_an_example() {
    let source = "title = \"t\"\nquestion = \"q\"\nduration = \"1s\"\narrivals = { poisson = { rate = \"1/s\" } }\n\
                  service = { constant = { value = \"1ms\" } }\nstrategies = [\"random\"]\n";
    let pool = "[[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"a\"\n";
    let cases = [
        ("balancers = 3", "`balancers` takes a table, not 3", "such as balancers = { count = 1 }"),
        ("[[balancers]]\ncount = 3", "`balancers` is one table, not a list of them", "as [balancers]"),
        ("[faults]\nat = \"1s\"", "`faults` takes a list, not a table", "as [[faults]]"),
        (
            "clients = { timeout = 5 }",
            "`clients.timeout` takes a duration such as \"5ms\" or \"1.5s\" or a table with one of the keys `constant`",
            "timeout = \"5ms\"",
        ),
        (
            "clients = { count = \"many\" }",
            "`clients.count` takes a whole number from 0 on, not \"many\"",
            "count = 1000",
        ),
        (
            "clients = { count = -1 }",
            "`clients.count` takes a whole number from 0 to 4294967295, not -1",
            "count = 1000",
        ),
        (
            "kind = \"steedy\"",
            "unknown value `steedy`, expected one of `steady`, `terminating`",
            "did you mean `steady`?",
        ),
        ("kind = 3", "`kind` takes \"steady\" or \"terminating\", not 3", "kind = \"steady\""),
        ("dns = {}", "`ttl` is missing in `dns`", "add ttl = \"5ms\""),
        ("[[expect]]\nassert = \"x\"\nwhy = \"y\"", "unknown key `why`, expected one of `assert`, `reason`", ""),
        ("[[sweep]]\nkey = \"x\"", "`values` is missing", "add values = "),
        (
            "[[faults]]\ntarget = \"web/a\"\nat = \"0s\"\nkind = \"crash\"",
            "`faults.kind` takes a table with one of the keys `crash`, `slow`",
            "",
        ),
        ("[[faults]]\ntarget = \"web/a\"\nat = \"0s\"\nkind = {}", "`faults.kind` takes exactly one key", "`crash`"),
        ("bins = 99999999999999999999", "`bins` takes a whole number from 0 to 4294967295, not", ""),
    ];
    for (keys, message, way_out) in cases {
        // Keys of the file come before any table.
        let text =
            if keys.starts_with('[') { format!("{source}{pool}{keys}\n") } else { format!("{source}{keys}\n{pool}") };
        let problems = scenario::Scenario::parse("s", &text, &|_| Err(String::new())).unwrap_err();
        let said: Vec<String> =
            problems.iter().map(|p| format!("{} | {}", p.message, p.help.clone().unwrap_or_default())).collect();
        assert!(said.iter().any(|said| said.contains(message) && said.contains(way_out)), "{keys}: {said:?}");
        assert!(problems.iter().all(|problem| problem.span.is_some()), "{keys}");
    }
    // All values of a wrong type are reported at once.
    let text = format!("{source}seed = \"x\"\nbins = true\n{pool}count = []\n");
    assert_eq!(scenario::Scenario::parse("s", &text, &|_| Err(String::new())).unwrap_err().len(), 3);
}

/// A proxy takes any name of a strategy, and neither is offered an oracle nor takes one.
#[test]
fn a_proxy_knows_all_names_of_strategies_and_no_oracle() {
    let strategy = |written: &str| {
        let source = example().replacen("strategy = { p2c = { choices = 2 } }", &format!("strategy = {written}"), 1);
        assert!(source.contains(written));
        (ProxyConfig::parse(&source, &|_| Some("hush".to_owned())), source)
    };
    for (written, name) in [
        ("\"least_conn\"", "least_request"),
        ("\"ROUND_ROBIN\"", "round_robin"),
        ("\"sed\"", "shortest_expected_delay"),
        ("{ random_two = { choices = 3 } }", "p2c"),
        ("\"source\"", "ip_hash"),
    ] {
        let (config, source) = strategy(written);
        let config = config.unwrap_or_else(|problems| panic!("{written}: {problems:?}"));
        assert_eq!(config.pools[0].strategy.name(), name, "{written}");
        assert_eq!(config.remarks.len(), usize::from(name == "ip_hash"), "{written}: {:?}", config.remarks);
        if written.starts_with('"') && written != "\"ROUND_ROBIN\"" {
            assert_eq!(check(&schema::proxy(), &source), [""; 0], "{written}");
        }
    }
    for (written, way_out) in [
        ("\"least_con\"", "did you mean `least_request`?"),
        ("\"p2c(choices=3)\"", "write { p2c = { choices = 3 } }"),
        ("\"oracle_least_wrk\"", ""),
        ("\"qqq\"", "there are: random"),
        ("{ p2c = { choices = 2 }, random = {} }", ""),
    ] {
        let problems = strategy(written).0.unwrap_err();
        let help = problems[0].help.clone().unwrap_or_default();
        assert!(help.contains(way_out) && !help.contains("oracle"), "{written}: {problems:?}");
    }
    let schema = schema::proxy().to_string();
    assert!(!schema.contains("oracle_least_work") && !schema.contains("oracle_shortest_queue"));
    assert!(scenario::schema().to_string().contains("oracle_least_work"));
}
