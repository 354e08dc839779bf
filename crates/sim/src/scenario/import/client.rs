//! The client of a log line: an address or a host name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Refused;
use super::text::{is_number, word};

/// Normalises an address of a log: with a port, in brackets, with a zone, or IPv4-mapped IPv6. The result has neither port
/// nor zone, so one client always has the same text.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    if !text.contains(['.', ':']) {
        return None;
    }
    let is_port = |port: &str| is_number(port) && port.parse::<u16>().is_ok();
    let v6 = |text: &str| {
        let (address, zone) = text.split_once('%').unwrap_or((text, "-"));
        address.parse::<Ipv6Addr>().ok().filter(|_| !zone.is_empty()).map(IpAddr::V6)
    };
    let plain = || text.parse::<IpAddr>().ok();
    let with_port = || {
        let (address, port) = text.rsplit_once(':')?;
        address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(IpAddr::V4)
    };
    let in_brackets = || {
        let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
        let ends = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        v6(inside).filter(|_| ends)
    };
    plain().or_else(with_port).or_else(in_brackets).or_else(|| v6(text)).map(|address| address.to_canonical())
}

/// Whether a word can be a host name: letters, digits, `-`, `_` and dots, with a last part that is not a number.
fn is_name(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let parts: Vec<&str> = text.strip_suffix('.').unwrap_or(text).split('.').collect();
    text.len() <= 253
        && parts.iter().all(|part| !part.is_empty() && part.chars().all(known))
        && parts.last().is_some_and(|last| last.contains(|c: char| c.is_ascii_alphabetic()))
        && !text.starts_with('-')
        && !text.eq_ignore_ascii_case("unknown")
}

/// Whether a word can be a virtual host, perhaps with a port: a name, `_`, `-`, `*.example.org`.
fn is_virtual_host(text: &str) -> bool {
    let host = text.rsplit_once(':').filter(|(_, port)| is_number(port)).map_or(text, |(host, _)| host);
    matches!(host, "-" | "_" | "*") || is_name(host.strip_prefix("*.").unwrap_or(host))
}

/// A word before the time stamp. Of a list (`X-Forwarded-For`) it is the first element: the client as the first proxy saw it.
struct Word<'a> {
    text: &'a str,
    is_list: bool,
}

fn words(mut rest: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return words;
        }
        let whole = match rest.strip_prefix('"').and_then(|inside| inside.split_once('"')) {
            Some((inside, after)) => {
                rest = after;
                inside
            }
            None => {
                let (mut last, mut after) = word(rest);
                let mut length = last.len();
                // "192.0.2.1, 10.0.0.1" is one.
                while last.ends_with(',') && !after.is_empty() {
                    let begin = rest.len() - after.len();
                    (last, after) = word(after);
                    length = begin + last.len();
                }
                let whole = &rest[..length];
                rest = after;
                whole
            }
        };
        let text = whole.split(',').next().unwrap_or(whole).trim();
        words.push(Word { text, is_list: whole.contains(',') });
    }
}

/// The client, of the words before the time stamp.
///
/// In the common format three words precede the time stamp: client, identity, user. The client is an address; or a host name
/// where the word cannot be anything else, as in public logs. A virtual host before an address is skipped. Where two
/// addresses are adjacent, either may be the client, and the line is refused unless `which` selects one.
pub(super) fn client(before: &str, which: Option<usize>) -> Result<String, Refused<'_>> {
    let words = words(before);
    if let Some(which) = which {
        let Some(word) = which.checked_sub(1).and_then(|at| words.get(at)) else {
            return Err(Refused::new(before, "fewer words stand before the time stamp than --client says"));
        };
        return match address(word.text) {
            Some(address) => Ok(address.to_string()),
            None if is_name(word.text) && !word.is_list => Ok(word.text.to_owned()),
            None => Err(Refused::quoting(word.text, "is neither an address nor the name of a host")),
        };
    }
    let Some(first) = words.first() else { return Err(Refused::new(before, "no client before the time stamp")) };
    match (address(first.text), words.get(1).and_then(|second| address(second.text))) {
        (Some(first_address), Some(second)) if first_address != second && !first.is_list => Err(Refused::new(
            first.text,
            "two addresses before the time stamp: say which is the client's with --client 1 or --client 2",
        )),
        (Some(address), _) => Ok(address.to_string()),
        (None, Some(address)) if is_virtual_host(first.text) => Ok(address.to_string()),
        (None, None) if is_name(first.text) && !first.is_list && words.len() >= 3 => {
            // With more words, a virtual host and a client's name look the same, unless the identity is missing as always.
            if words.len() == 3 || words[1].text == "-" {
                Ok(first.text.to_owned())
            } else {
                Err(Refused::quoting(
                    first.text,
                    "may be a virtual host or the client: say which word is the client, with --client",
                ))
            }
        }
        _ => Err(Refused::quoting(first.text, "is not a client's address")),
    }
}
