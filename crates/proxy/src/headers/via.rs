//! `Via` (RFC 9110, 7.6.3): which proxies a message has come through.

use http::Version;
use http::header::{HeaderMap, HeaderValue, VIA};

use super::{append, elements};

/// This proxy's pseudonym in `Via`.
const PSEUDONYM: &str = "evenkeel";
static VIA_1_0: HeaderValue = HeaderValue::from_static("1.0 evenkeel");
/// What a message of HTTP/1.1 gets.
pub(crate) static VIA_1_1: HeaderValue = HeaderValue::from_static("1.1 evenkeel");
static VIA_2: HeaderValue = HeaderValue::from_static("2 evenkeel");

/// Adds this proxy to `Via`: `1.1 evenkeel`, by the version in which the message came.
pub fn append_via(headers: &mut HeaderMap, received: Version) {
    let value = match received {
        Version::HTTP_09 | Version::HTTP_10 => &VIA_1_0,
        Version::HTTP_2 | Version::HTTP_3 => &VIA_2,
        _ => &VIA_1_1,
    };
    append(headers, &VIA, value.clone());
}

/// How often a message has come through a proxy of this name. More than a chain of them explains is a loop.
pub fn times_through(headers: &HeaderMap) -> usize {
    let by_us = |entry: &&[u8]| {
        entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1) == Some(PSEUDONYM.as_bytes())
    };
    elements(headers, &VIA).filter(by_us).count()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{head, lines};
    use super::*;

    #[test]
    fn via_grows_to_the_right_and_shows_loops() {
        let mut headers = HeaderMap::new();
        append_via(&mut headers, Version::HTTP_11);
        assert_eq!(lines(&headers, "via"), ["1.1 evenkeel"]);
        let mut headers = head(&[("via", "1.0 fred"), ("via", " "), ("via", "HTTP/1.1  evenkeel (x), 1.1 evenkeel2")]);
        append_via(&mut headers, Version::HTTP_2);
        assert_eq!(lines(&headers, "via"), ["1.0 fred, HTTP/1.1  evenkeel (x), 1.1 evenkeel2, 2 evenkeel"]);
        assert_eq!(times_through(&headers), 2);
    }
}
