//! Finds a strategy by its name or by what other products call it.

#[cfg(feature = "config")]
use super::parse;
use super::{CATALOGUE, Row, StrategyConfig};

/// A name in lower case, with `_` for `-` and blanks.
fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace(['-', ' '], "_")
}

/// The row with this name, or with this name among its aliases and similar algorithms. Case, `-`, blanks and underscores do not matter.
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
        // `least_time` and `leasttime` are two algorithms, so a match that ignores underscores is tried last.
        let spelt = CATALOGUE.iter().find(|row| called(row, &|known| plain(known) == name));
        spelt.or_else(|| CATALOGUE.iter().find(|row| called(row, &|known| joined(known) == short)))
    })
}

/// The difference, as a sentence, if `name` is that of a similar algorithm and not of the row itself; else `None`.
pub fn remark(name: &str) -> Option<String> {
    let row = find(name)?;
    let exact = row.doc.near.iter().find(|(near, _)| *near == name.trim());
    let (near, difference) = exact.or_else(|| {
        let alike = |(near, _): &&(&str, &str)| plain(near) == plain(name) && plain(near) != row.name;
        row.doc.near.iter().find(alike)
    })?;
    Some(format!("`{}` is the closest to `{near}`: {difference}", row.name))
}

/// The same for a strategy as written in a file: `"source"` or `{ source = { octets = 4 } }`.
pub fn remark_on(written: &str) -> Option<String> {
    let name = written.trim_start_matches(|c: char| c.is_whitespace() || "\"'{".contains(c));
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "_- ".contains(c))).unwrap_or(name.len());
    remark(&name[..end])
}

/// The message for a strategy that does not exist.
pub(crate) fn no_strategy(name: &str) -> String {
    format!("there is no strategy `{name}`")
}

/// The name in a message made by `no_strategy`.
pub fn unknown_name(message: &str) -> Option<&str> {
    message.strip_prefix("there is no strategy `")?.strip_suffix('`')
}

/// A help text for an unknown name: the most similar strategy, else the list of all. Without `oracles` no oracle is
/// suggested: a proxy refuses them.
#[cfg(feature = "config")]
pub fn suggestion(name: &str, oracles: bool) -> String {
    let rows = || CATALOGUE.iter().filter(move |row| oracles || !row.doc.oracle());
    // A label is not a name that a file can use.
    if name.contains('(')
        && let Ok(table) = parse(name)
        && let Some(row) = table.row()
    {
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

/// By name, with default parameters: `"p2c"`. With the feature `config` also with parameters: `"p2c(choices=3)"`.
impl std::str::FromStr for StrategyConfig {
    type Err = String;

    #[cfg(feature = "config")]
    fn from_str(text: &str) -> Result<StrategyConfig, String> {
        parse(text)
    }

    #[cfg(not(feature = "config"))]
    fn from_str(text: &str) -> Result<StrategyConfig, String> {
        find(text).map(|row| (row.default)()).ok_or_else(|| no_strategy(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each name belongs to one row, and occurs once.
    #[test]
    fn names_are_unambiguous() {
        let mut seen = std::collections::BTreeMap::new();
        for row in CATALOGUE {
            for name in std::iter::once(row.name).chain(row.doc.other_names()) {
                // Envoy's upper-case names belong to our own row, with a remark.
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

    /// Without underscores a name belongs to the same row, except for the two that products distinguish by them.
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
    fn names_of_other_products_are_accepted() {
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
    fn names_of_similar_algorithms_get_a_remark() {
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
    fn oracles_are_not_suggested_to_a_proxy() {
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
