//! Valid but extreme scenarios, and invalid ones that look valid. Each failed once: it hung, used up memory, or gave a
//! wrong number.

use evenkeel::scenario::Scenario;
use evenkeel::sim::record::{RequestOutcome, RunRecord};

/// A scenario around `tables`; keys of the top level go into `top`.
fn parse(top: &str, tables: &str) -> Result<Scenario, String> {
    let given = |key: &str| top.contains(&format!("{key} ="));
    let default = |key: &str, value: &str| if given(key) { String::new() } else { format!("{key} = {value}\n") };
    let source = format!(
        "title = \"t\"\nquestion = \"q\"\nkind = \"terminating\"\nreplications = 1\n{top}\n{}{}{}{tables}",
        default("duration", "\"10s\""),
        default("arrivals", "{ poisson = { load = \"50%\" } }"),
        default("service", "{ exponential = { mean = \"10ms\" } }"),
    );
    let files = |name: &str| match name {
        "one.csv" => Ok("arrival,client,path,bytes\n0,10.0.0.1,/,10\n".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    Scenario::parse("hostile", &source, &files).map_err(|problems| problems[0].message.clone())
}

const WEB: &str = "[[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\ncount = 3\n";

fn run(scenario: &Scenario, strategy: &str) -> RunRecord {
    let table = (evenkeel::select::catalog::find(strategy).unwrap().default)();
    evenkeel::sim::run(&scenario.model, &table, scenario.replication_seed(0), &|| false).unwrap()
}

fn share(run: &RunRecord, end: RequestOutcome) -> f64 {
    run.measured.all.ends[end as usize] as f64 / run.measured.all.requests() as f64
}

#[test]
fn scenarios_that_cannot_run_are_refused() {
    for (top, tables, why) in [
        ("", format!("{WEB}weight = 134217728\n"), "at most 65535"),
        ("arrivals = { poisson = { rate = \"1e308/ns\" } }", WEB.to_owned(), "too high"),
        ("arrivals = { replay = { file = \"one.csv\", loop = true } }", WEB.to_owned(), "all come at one time"),
        ("arrivals = { replay = { file = \"one.csv\" } }", WEB.to_owned(), "is over after"),
        (
            "arrivals = { poisson = { load = \"50%\" } }\nservice = { constant = { value = \"0s\" } }",
            WEB.to_owned(),
            "bring no work",
        ),
        ("arrivals = { ramp = { from = \"9/s\", to = \"0/s\", over = \"0s\" } }", WEB.to_owned(), "above zero"),
        ("", WEB.replace("[[pools.servers]]", "health = { interval = \"1ns\" }\n[[pools.servers]]"), "at least 1ms"),
        ("", WEB.replace("\"web\"\n[[", "\"balancer\"\n[["), "name the pool otherwise"),
        (
            "",
            format!("{WEB}[[faults]]\ntarget = \"web/web-1\"\nat = \"1000s\"\nkind = {{ crash = {{}} }}\n"),
            "after the end",
        ),
        (
            "",
            format!(
                "{WEB}[[faults]]\ntarget = \"web/web-1\"\nat = \"1s\"\nkind = {{ errors = {{ share = \"200%\" }} }}\n"
            ),
            "at most 100 %",
        ),
        (
            "",
            format!("{WEB}[[faults]]\ntarget = \"web/web-1\"\nat = \"1s\"\nkind = {{ slow = {{ factor = 1e300 }} }}\n"),
            "`factor` must be",
        ),
        ("balancers = { count = 1000, shards = 1000 }", WEB.to_owned(), "can be held"),
    ] {
        let error = parse(top, &tables).err().unwrap_or_else(|| panic!("accepted: {top} {tables}"));
        assert!(error.contains(why), "{top}: {error}");
    }
    let title = "title = \"a\\u0001b\"\nquestion = \"q\"\nduration = \"1s\"\narrivals = { poisson = { rate = \"1/s\" } }\nservice = { constant = { value = \"1ms\" } }\n";
    let problems = Scenario::parse("t", &format!("{title}{WEB}"), &|_| Err(String::new())).unwrap_err();
    assert!(problems[0].message.contains("control character"));
}

/// Zero time per round, a nearly silent burst, a cache larger than memory, heavy weights: all end, and at once.
#[test]
fn valid_extreme_scenarios_end() {
    let closed = "arrivals = { closed = { think = { constant = { value = \"0s\" } } } }\nclients = { count = 4 }\nduration = \"1s\"";
    assert!(run(&parse(closed, &format!("{WEB}queue_limit = 0\n")).unwrap(), "p2c").requests > 100);
    let faint = "arrivals = { bursts = { base = \"0/s\", peak = \"1e-15/s\", every = \"2ms\", length = \"1ms\" } }";
    assert_eq!(run(&parse(faint, WEB).unwrap(), "random").requests, 0);
    let huge = format!("{WEB}cache = {{ capacity = 4294967295 }}\n");
    assert!(run(&parse("", &huge).unwrap(), "random").measured.all.hits > 0);
    let heavy = parse("keys = { count = 1000 }", &format!("{WEB}weight = 65535\n")).unwrap();
    assert_eq!(share(&run(&heavy, "consistent_hash"), RequestOutcome::NoServer), 0.0);
}

/// Half of the first tier's requests fail and half of those that call the second: 75 % in all, because the random
/// streams of the tiers are independent.
#[test]
fn tiers_have_independent_random_streams() {
    let tables = "[[pools]]\nname = \"web\"\nbackend = { pool = \"db\", service = { constant = { value = \"1ms\" } } }\n[[pools.servers]]\nname = \"web\"\ncount = 3\nconcurrency = 50\n[[pools]]\nname = \"db\"\n[[pools.servers]]\nname = \"db\"\ncount = 3\nconcurrency = 50\n[[faults]]\ntarget = \"web/*\"\nat = \"0s\"\nkind = { errors = { share = \"50%\" } }\n[[faults]]\ntarget = \"db/*\"\nat = \"0s\"\nkind = { errors = { share = \"50%\" } }\n";
    let top = "arrivals = { poisson = { rate = \"1000/s\" } }\nservice = { constant = { value = \"1ms\" } }";
    let failed = share(&run(&parse(top, tables).unwrap(), "random"), RequestOutcome::Error);
    // 10,000 requests: standard deviation 0.0043.
    assert!((failed - 0.75).abs() < 0.018, "{failed}");
}

/// Of two overlapping faults the longer one counts.
#[test]
fn overlapping_faults_last_as_long_as_the_last() {
    let crash = |target: &str, what: &str| {
        let fault = |at: &str, lasts: &str| {
            format!("[[faults]]\ntarget = \"{target}\"\nat = \"{at}\"\nfor = \"{lasts}\"\nkind = {what}\n")
        };
        format!("{WEB}{}{}", fault("2s", "6s"), fault("3s", "500ms"))
    };
    for (target, what, end) in [
        ("balancer/1", "{ crash = {} }", RequestOutcome::Unreachable),
        ("web/*", "{ drain = {} }", RequestOutcome::NoServer),
        ("web/*", "{ crash = {} }", RequestOutcome::Reset),
    ] {
        let failed = share(&run(&parse("", &crash(target, what)).unwrap(), "random"), end);
        // 60 % of some 1,500 requests: standard deviation below 0.02 with the edges.
        assert!((failed - 0.6).abs() < 0.06, "{target} {what}: {failed}");
    }
}

/// Calls that a cache may save do not count in the load check of the second tier, since the hit ratio is not known
/// beforehand.
#[test]
fn a_second_tier_behind_caches_may_be_small() {
    let tables = "[[pools]]\nname = \"web\"\nbackend = { pool = \"db\", service = { constant = { value = \"10ms\" } }, on_miss = true }\n[[pools.servers]]\nname = \"web\"\ncount = 3\nconcurrency = 50\ncache = { capacity = 1000 }\n[[pools]]\nname = \"db\"\n[[pools.servers]]\nname = \"db\"\n";
    let top = "arrivals = { poisson = { rate = \"200/s\" } }\nservice = { constant = { value = \"1ms\" } }\nkeys = { count = 100 }";
    assert!(parse(top, tables).is_ok());
}

/// The mean rate of bursts is exact, however short their period.
#[test]
fn the_load_of_bursts_is_not_sampled() {
    let bursts = |peak: &str, length: &str| {
        format!(
            "duration = \"100s\"\narrivals = {{ bursts = {{ base = \"10/s\", peak = \"{peak}\", every = \"10ms\", length = \"{length}\" }} }}"
        )
    };
    let load = parse(&bursts("400/s", "6ms"), WEB).unwrap().offered_load.unwrap();
    assert!((load - 0.8133).abs() < 1e-3, "{load}");
    assert!(parse(&bursts("1000/s", "4ms"), WEB).unwrap_err().contains("never drain"));
}
