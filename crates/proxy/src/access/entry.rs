//! What is known of a request when it has ended, and its line in JSON.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use http::Version;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::{MAX_FIELD, MAX_TARGET, cut, cut_text};
use crate::termination::Reason;
use evenkeel_core::units::Nanos;

/// Makes [`Entry`], the object that is written of it, and [`FIELDS`]. A row: documentation, name, type of what is known, type
/// of what is written, and how the one becomes the other.
macro_rules! fields {
    ($entry:ident, $query:ident;
     $($(#[doc = $doc:literal])+ $(#[serde($serde:meta)])? $name:ident: $known:ty => $written:ty = $value:expr;)*) => {
        /// What is known of a request when it has ended.
        #[derive(Clone, Copy, Debug)]
        pub struct Entry<'a> {
            $($(#[doc = $doc])+ pub $name: $known,)*
        }

        /// An [`Entry`] as the object in a line of JSON.
        #[derive(Serialize)]
        struct Object<'a> {
            $($(#[serde($serde)])? $name: $written,)*
        }

        impl<'a> Object<'a> {
            fn new($entry: &Entry<'a>, $query: bool) -> Object<'a> {
                Object { $($name: $value,)* }
            }
        }

        /// The fields of a line of JSON, in their order: name and documentation.
        pub const FIELDS: &[(&str, &str)] = &[$((stringify!($name), concat!($($doc),+))),*];
    };
}

fields! { entry, query;
    /// When the request arrived: RFC 3339 in UTC, to the microsecond.
    time: Timestamp => String = format!("{:.6}", entry.time);
    /// `X-Request-Id`, the client's own if it is trusted; empty if `headers.request_id` is off.
    request_id: &'a str => &'a str = cut_text(entry.request_id, MAX_FIELD);
    /// The client's address, as trusted proxies name it, else the peer's.
    client_ip: IpAddr => IpAddr = entry.client_ip;
    /// The request's method.
    method: &'a str => &'a str = cut_text(entry.method, MAX_FIELD);
    /// `Host` or `:authority`; empty if the request was refused before it was read.
    host: &'a [u8] => Cow<'a, str> = text(entry.host);
    /// The path without the query.
    path: &'a str => &'a str = cut_text(entry.path, MAX_TARGET);
    /// The query without `?`; only with `log.query`, and if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str> => Option<&'a str> = entry.query.filter(|_| query).map(|query| cut_text(query, MAX_TARGET));
    /// The client's version of HTTP, such as `HTTP/1.1`.
    protocol: Version => &'static str = protocol(entry.protocol);
    /// The status that the client was sent; `null` (`000` in `combined`) if there was no response.
    status: Option<u16> => Option<u16> = entry.status;
    /// Bytes of the request's body that were read.
    bytes_in: u64 => u64 = entry.bytes_in;
    /// Bytes of the response's body that were given to the client's connection.
    bytes_out: u64 => u64 = entry.bytes_out;
    /// Seconds from the arrival to the last byte of the response.
    duration: Nanos => f64 = seconds(entry.duration);
    /// Address and port of the server whose response was passed on; `null` if there was none.
    upstream: Option<SocketAddr> => Option<SocketAddr> = entry.upstream;
    /// That server's name in the pool; `null` if there was none.
    server: Option<&'a str> => Option<&'a str> = entry.server;
    /// The pool; `null` if the request was refused before it came to one.
    pool: Option<&'a str> => Option<&'a str> = entry.pool;
    /// Seconds to connect to the server, TLS included; `null` on a connection that was open before.
    connect_time: Option<Nanos> => Option<f64> = entry.connect_time.map(seconds);
    /// Seconds from the pick of the last attempt to the head of its response; `null` if there was none.
    first_byte_time: Option<Nanos> => Option<f64> = entry.first_byte_time.map(seconds);
    /// Seconds from the pick of the last attempt to the end of its response; `null` if there was none.
    upstream_time: Option<Nanos> => Option<f64> = entry.upstream_time.map(seconds);
    /// How many times the request was sent to a server, hedges among them.
    attempts: u32 => u32 = entry.attempts;
    /// The pool's strategy; empty if the request came to no pool.
    strategy: &'a str => &'a str = entry.strategy;
    /// How the request ended: a word of the table of reasons.
    reason: Reason => &'static str = entry.reason.as_str();
    /// `User-Agent`; `null` if there is none.
    user_agent: Option<&'a [u8]> => Option<Cow<'a, str>> = entry.user_agent.map(text);
    /// `Referer`; `null` if there is none.
    referer: Option<&'a [u8]> => Option<Cow<'a, str>> = entry.referer.map(text);
    /// The version of TLS on the client's connection, such as `TLSv1.3`; `null` on plain text.
    tls: Option<&'a str> => Option<&'a str> = entry.tls;
}

/// Seconds, to the microsecond.
fn seconds(time: Nanos) -> f64 {
    (time.0 / 1000) as f64 / 1e6
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(cut(bytes, MAX_FIELD))
}

/// The version as in a request line.
pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// Writes the entry as an object, without a line end.
pub(super) fn write_json(line: &mut Vec<u8>, entry: &Entry<'_>, query: bool) -> io::Result<()> {
    Ok(Object::new(entry, query).serialize(&mut Serializer::with_formatter(line, Ascii))?)
}

/// Writes JSON in printable ASCII only. Control characters below space are escaped by the serializer itself.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte.is_ascii() && byte != 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        for c in fragment.chars() {
            if c.is_ascii() && c != '\u{7f}' {
                writer.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::access) fn entry() -> Entry<'static> {
        Entry {
            time: "2026-03-04T05:06:07.000089Z".parse().unwrap(),
            request_id: "0af7",
            client_ip: "2001:db8::1".parse().unwrap(),
            method: "GET",
            host: b"example.org",
            path: "/a/b",
            query: Some("token=secret"),
            protocol: Version::HTTP_11,
            status: Some(200),
            bytes_in: 0,
            bytes_out: 1234,
            duration: Nanos(1_234_567_890),
            upstream: Some("127.0.0.1:9001".parse().unwrap()),
            server: Some("web-1"),
            pool: Some("web"),
            connect_time: None,
            first_byte_time: Some(Nanos::from_millis(3)),
            upstream_time: Some(Nanos::from_millis(4)),
            attempts: 2,
            strategy: "p2c",
            reason: Reason::Ok,
            user_agent: Some(b"curl/8"),
            referer: None,
            tls: Some("TLSv1.3"),
        }
    }
}
