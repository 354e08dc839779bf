//! What a proxy does to heads: fields that concern one connection end here, and what says where a request came from is believed
//! only from trusted peers.
//!
//! Sources: RFC 9110 sections 7.6.1 (Connection), 7.6.3 (Via) and 6.5 (trailers); RFC 7239 (Forwarded); RFC 6265 (cookies).
//! Where the RFCs leave room, the rules are these:
//!
//! * **What `Connection` names goes, unless it is for every recipient.** A client that sends `Connection: X-Forwarded-For`
//!   would have the proxy delete what the proxy before it wrote ("hop-by-hop headers abuse", N. Davison, 2019). The RFC
//!   forbids to name fields that are for all recipients, so such names are passed over: see [`strip_hop_by_hop`]. Envoy
//!   protects in the same way, by refusing the request.
//! * **`Trailer` stays**, since trailers are forwarded (RFC 9110 took it from the list that RFC 2616 had), and what may not
//!   be in trailers is taken out of them: [`strip_trailers`].
//! * **`Upgrade: h2c` never passes**: it would open a tunnel that the proxy does not read ("h2c smuggling", Bishop Fox, 2020).
//! * **The client is found from the right** of all `X-Forwarded-For` lines together, past trusted proxies only. `Forwarded`
//!   is written where wanted but never believed: a proxy that writes one of the two and passes the other on from the client
//!   is common, and believing both would let the client choose.
//! * Names with `_` for `-` count as the same, because servers behind CGI or WSGI cannot tell them apart.
//!
//! Nothing here allocates where nothing is to be done: usual values are made once and cloned, which copies a pointer.

mod cookies;
mod forwarded;
mod hop_by_hop;
mod via;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use cookies::cookie_in;
pub use cookies::{cookie, set_cookie};
pub use forwarded::{Peer, Trust, client_ip, forward_claims, request_id};
pub(crate) use forwarded::{X_REQUEST_ID, new_id, write_claims, write_line};
pub use hop_by_hop::{strip_hop_by_hop, strip_trailers, wants_upgrade};
pub(crate) use via::VIA_1_1;
pub use via::{append_via, times_through};

/// The elements of a list field over all its lines, trimmed, empty ones left out. Quoted commas are
/// not respected; no field that is read here has them.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]> + 'a {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|&b| b == b',')).map(<[u8]>::trim_ascii).filter(|e| !e.is_empty())
}

/// Makes one line of a list field with `value` at its end.
fn append(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    let mut joined = Vec::new();
    for line in headers.get_all(name) {
        let line = line.as_bytes().trim_ascii();
        if !line.is_empty() {
            joined.extend_from_slice(line);
            joined.extend_from_slice(b", ");
        }
    }
    if joined.is_empty() {
        headers.insert(name, value);
        return;
    }
    joined.extend_from_slice(value.as_bytes());
    // Pieces of valid values are a valid value; were they not, the end alone is what is known to be true.
    headers.insert(name, HeaderValue::from_maybe_shared(Bytes::from(joined)).unwrap_or(value));
}

/// A character of a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head from lines `name: value`.
    pub(super) fn head(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for &(name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    pub(super) fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}
