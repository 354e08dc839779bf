//! Cookies (RFC 6265): the affinity cookie of a pool, and cookies that are hashed.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{COOKIE, HeaderMap, HeaderValue};

use super::is_token;

/// The value of a cookie: the first of that name over all lines, without the quotes it may stand in.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    cookie_in(headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes), name)
}

/// The same in lines of `Cookie`.
pub(crate) fn cookie_in<'a>(mut lines: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<&'a str> {
    let mut pairs = lines.by_ref().flat_map(|line| line.split(|&b| b == b';'));
    pairs.find_map(|pair| {
        let value =
            pair.trim_ascii().strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
        std::str::from_utf8(value).ok()
    })
}

/// The `Set-Cookie` that keeps a client on its server: `name=value; Path=/; HttpOnly; SameSite=Lax`, with `Max-Age` in seconds
/// (without it the cookie goes with the browser) and with `Secure` on TLS. `None` if name or value cannot stand in a cookie.
pub fn set_cookie(name: &str, value: &str, max_age: Option<u64>, secure: bool) -> Option<HeaderValue> {
    // cookie-octet of RFC 6265: visible ASCII but quote, comma, semicolon and backslash.
    let octet = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(octet) {
        return None;
    }
    let mut text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax");
    if let Some(seconds) = max_age {
        write!(text, "; Max-Age={seconds}").ok()?;
    }
    if secure {
        text.push_str("; Secure");
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;

    #[test]
    fn cookies_are_found_and_made() {
        let headers = head(&[("cookie", "evenkeel2=no; xevenkeel=no"), ("cookie", "a=1;evenkeel=\"s1\"; evenkeel=s2")]);
        assert_eq!(cookie(&headers, "evenkeel"), Some("s1"));
        assert_eq!(cookie(&headers, "a"), Some("1"));
        assert_eq!(cookie(&headers, "b"), None);
        assert_eq!(
            set_cookie("evenkeel", "0af3", Some(3600), true).unwrap(),
            "evenkeel=0af3; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure"
        );
        assert_eq!(set_cookie("k", "v", None, false).unwrap(), "k=v; Path=/; HttpOnly; SameSite=Lax");
        for (name, value) in [("", "v"), ("a b", "v"), ("k", "v;Domain=evil"), ("k", "v\r\nX: y"), ("k", "a,b")] {
            assert_eq!(set_cookie(name, value, None, false), None);
        }
    }
}
