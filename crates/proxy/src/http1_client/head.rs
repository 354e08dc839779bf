//! Heads: of requests as they are written, of responses as they are read.

use std::io::Write;
use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use hyper::ext::ReasonPhrase;

use super::{Error, Limits};
use crate::plain;

/// Room for what the proxy adds to a plain head, in bytes.
const ROOM: usize = 192;
/// Fields for which there is room without asking for memory.
const FIELDS: usize = 128;

/// What a server is sent before the body of a request.
#[derive(Clone, Copy, Debug)]
pub enum Lead<'a> {
    /// A head of fields.
    Head(&'a RequestHead<'a>),
    /// A head as it is written, and what it says.
    Written {
        /// All of it.
        bytes: &'a [u8],
        /// The method is HEAD.
        is_head: bool,
        /// `Content-Length`.
        length: Option<u64>,
    },
}

/// The head of a request to a server.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query, or `*`.
    pub target: &'a Uri,
    /// The fields, without those about the connection.
    pub headers: &'a HeaderMap,
    /// Further fields.
    pub additions: Additions<'a>,
}

/// Fields that are about the connection to the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Additions<'a> {
    /// The body is sent in chunks.
    pub chunked: bool,
    /// `Host`, where the request has none.
    pub host: Option<&'a HeaderValue>,
    /// `Connection: te`.
    pub te: bool,
    /// `Expect: 100-continue`.
    pub expect: bool,
}

impl RequestHead<'_> {
    /// Appends it as bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let target = self.target.path_and_query().map_or("/", |target| target.as_str());
        for part in [self.method.as_str(), " ", if target.is_empty() { "/" } else { target }, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        let Additions { chunked, host, te, expect } = self.additions;
        for (name, value) in self.headers {
            write_field(out, name, value.as_bytes());
        }
        let about_connection = [
            (chunked, header::TRANSFER_ENCODING, &b"chunked"[..]),
            (host.is_some(), header::HOST, host.map_or(&b""[..], HeaderValue::as_bytes)),
            (te, header::CONNECTION, b"te"),
            (expect, header::EXPECT, b"100-continue"),
        ];
        for (wanted, name, value) in about_connection {
            if wanted {
                write_field(out, &name, value);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a field.
pub(super) fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends the size of a chunk.
pub(super) fn write_size(out: &mut Vec<u8>, size: usize) {
    // Writing into memory does not fail.
    let _ = write!(out, "{size:X}\r\n");
}

/// The head of a response.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where it is not the usual one.
    reason: Option<ReasonPhrase>,
    /// HTTP/1.1 and not 1.0.
    pub(super) http11: bool,
    /// The server means to keep the connection open.
    pub(super) keeps_alive: bool,
    /// The fields as they are written, where those were wanted and the head is plain; then `headers` is empty.
    pub(super) plain: Option<PlainFields>,
}

/// That plain heads are wanted as they are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain {
    /// The request is HEAD.
    pub(super) is_head: bool,
}

/// What a plain head says, beside its status.
#[derive(Debug)]
pub(super) struct PlainFields {
    /// The status line and the fields that go on to the client.
    lines: Vec<u8>,
    dated: bool,
    /// There is a length in `lines`.
    sized: bool,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
}

/// The head of a response that needs nothing but copying and what the proxy adds.
#[derive(Debug)]
pub struct PlainResponse {
    /// The status.
    pub status: StatusCode,
    /// The status line and the fields for the client, without those that concern the connection and without an empty line.
    pub lines: Vec<u8>,
    /// There is a `Date`.
    pub dated: bool,
    /// There is a `Content-Length`.
    pub sized: bool,
}

/// A response, in the form that was asked for or, where the head is not plain, as fields.
pub enum Answer<B> {
    /// A plain head.
    Plain(PlainResponse, B),
    /// A head of fields; in a box, so that the other form is small.
    Fields(Box<Response<B>>),
}

impl ResponseHead {
    /// Whether another head follows.
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    pub(super) fn into_answer<B>(self, body: B) -> Answer<B> {
        let ResponseHead { status, plain, .. } = self;
        match plain {
            Some(PlainFields { lines, dated, sized, .. }) => {
                Answer::Plain(PlainResponse { status, lines, dated, sized }, body)
            }
            None => Answer::Fields(Box::new(ResponseHead { plain: None, ..self }.into_response(body))),
        }
    }

    pub(super) fn into_response<B>(self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if !self.http11 {
            *response.version_mut() = http::Version::HTTP_10;
        }
        if let Some(reason) = self.reason {
            response.extensions_mut().insert(reason);
        }
        response
    }
}

impl<B> Answer<B> {
    /// The status.
    pub fn status(&self) -> StatusCode {
        match self {
            Answer::Plain(head, _) => head.status,
            Answer::Fields(response) => response.status(),
        }
    }

    /// The same with another body.
    pub fn map<C>(self, make: impl FnOnce(B) -> C) -> Answer<C> {
        match self {
            Answer::Plain(head, body) => Answer::Plain(head, make(body)),
            Answer::Fields(response) => Answer::Fields(Box::new(response.map(make))),
        }
    }
}

/// The head at the beginning of some bytes and its length, or `None` if there is no end to it yet.
/// With `plain`, plain heads come as [`PlainFields`].
pub(super) fn parse(
    bytes: &[u8],
    limits: Limits,
    plain: Option<Plain>,
) -> Result<Option<(ResponseHead, usize)>, Error> {
    if bytes.first().is_some_and(|&byte| byte != b'H') {
        return Err(Error::Malformed("it does not begin with a status line"));
    }
    let mut few = [const { MaybeUninit::uninit() }; FIELDS];
    match parse_with(bytes, limits, plain, &mut few) {
        Err(httparse::Error::TooManyHeaders) if limits.headers > FIELDS => {
            let mut many = vec![MaybeUninit::uninit(); limits.headers];
            parse_with(bytes, limits, plain, &mut many)
        }
        found => found,
    }
    .unwrap_or_else(|error| {
        Err(match error {
            httparse::Error::TooManyHeaders => Error::TooLarge,
            httparse::Error::HeaderName => Error::Malformed("the name of a field"),
            httparse::Error::HeaderValue => Error::Malformed("the value of a field"),
            httparse::Error::Status => Error::Malformed("the status"),
            httparse::Error::Version => Error::Malformed("the version"),
            _ => Error::Malformed("the head"),
        })
    })
}

/// As [`parse`]; the outer error is that of the parser.
fn parse_with<'b>(
    bytes: &'b [u8],
    limits: Limits,
    plain: Option<Plain>,
    fields: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Result<Option<(ResponseHead, usize)>, Error>, httparse::Error> {
    let most = fields.len().min(limits.headers);
    let mut none = [];
    let mut response = httparse::Response::new(&mut none);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields[..most])? {
        httparse::Status::Partial if bytes.len() >= limits.header_bytes => return Ok(Err(Error::TooLarge)),
        httparse::Status::Partial => return Ok(Ok(None)),
        httparse::Status::Complete(length) => length,
    };
    Ok(build(&response, &bytes[..length], limits, plain).map(|head| Some((head, length))))
}

fn build(
    response: &httparse::Response<'_, '_>,
    bytes: &[u8],
    limits: Limits,
    plain: Option<Plain>,
) -> Result<ResponseHead, Error> {
    if bytes.len() > limits.header_bytes {
        return Err(Error::TooLarge);
    }
    if let Some(Plain { is_head }) = plain
        && let Some(head) = build_plain(response, bytes, is_head)
    {
        return Ok(head);
    }
    if has_bare_line_feed(bytes) {
        return Err(Error::Malformed("a line ends without CR"));
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Error::Malformed("the status"))?;
    let http11 = response.version == Some(1);
    let reason = response.reason.filter(|&reason| Some(reason) != status.canonical_reason());
    let reason = reason.map(|reason| ReasonPhrase::try_from(reason.as_bytes()));
    let reason = reason.transpose().map_err(|_| Error::Malformed("the reason"))?;
    let headers = fields(response.headers, bytes)?;
    let options = || headers.get_all(header::CONNECTION).iter().flat_map(|line| line.as_bytes().split(|&b| b == b','));
    let has = |name: &[u8]| options().any(|option| option.trim_ascii().eq_ignore_ascii_case(name));
    let keeps_alive = !has(b"close") && (http11 || has(b"keep-alive"));
    Ok(ResponseHead { status, headers, reason, http11, keeps_alive, plain: None })
}

/// Whether a response with this status may say how long its content is. That of 304 would be the content of another response:
/// only one to HEAD says it, as with hyper.
fn has_length(status: StatusCode, is_head: bool) -> bool {
    match status {
        StatusCode::NO_CONTENT => false,
        StatusCode::NOT_MODIFIED => is_head,
        _ => true,
    }
}

/// A head as it goes on to the client, if it is final, every line of it is `name ":" OWS value OWS CR LF`, and no field of it
/// is to be read or changed on the way.
fn build_plain(response: &httparse::Response<'_, '_>, bytes: &[u8], is_head: bool) -> Option<ResponseHead> {
    let status = StatusCode::from_u16(response.code?).ok()?;
    let reason = response.reason?;
    if response.version != Some(1) || status.is_informational() || bytes.get(8) != Some(&b' ') {
        return None;
    }
    let mut at = 13 + reason.len();
    if bytes.get(12) != Some(&b' ') || bytes.get(at..at + 2)? != b"\r\n" {
        return None;
    }
    at += 2;
    let mut lines = Vec::with_capacity(bytes.len() + ROOM);
    lines.extend_from_slice(&bytes[..at]);
    let mut fields = PlainFields { lines, dated: false, sized: false, length: None, chunked: false };
    let mut keeps_alive = true;
    for field in response.headers.iter() {
        at = plain::line_end(field, bytes, at)?;
        match kind(field.name.as_bytes()) {
            Kind::Other => plain::write_field(&mut fields.lines, field),
            Kind::Date => {
                fields.dated = true;
                plain::write_field(&mut fields.lines, field);
            }
            Kind::Length if fields.length.is_none() => {
                fields.length = Some(plain::digits(field.value)?);
                fields.sized = has_length(status, is_head);
                if fields.sized {
                    plain::write_field(&mut fields.lines, field);
                }
            }
            Kind::Coding if !fields.chunked && field.value.eq_ignore_ascii_case(b"chunked") => fields.chunked = true,
            Kind::Connection if field.value.eq_ignore_ascii_case(b"close") => keeps_alive = false,
            Kind::Connection if field.value.eq_ignore_ascii_case(b"keep-alive") => {}
            Kind::KeepAlive => {}
            Kind::Length | Kind::Coding | Kind::Connection | Kind::NotPlain => return None,
        }
    }
    let one_length = !fields.chunked || fields.length.is_none();
    let headers = HeaderMap::new();
    (one_length && &bytes[at..] == b"\r\n").then_some(ResponseHead {
        status,
        headers,
        reason: None,
        http11: true,
        keeps_alive,
        plain: Some(fields),
    })
}

/// What a field of a response means to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing.
    Other,
    Date,
    Length,
    Coding,
    Connection,
    KeepAlive,
    NotPlain,
}

fn kind(name: &[u8]) -> Kind {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match (name.len(), name.first().map_or(0, |first| first | 0x20)) {
        (4, b'd') if is("date") => Kind::Date,
        (14, b'c') if is("content-length") => Kind::Length,
        (17, b't') if is("transfer-encoding") => Kind::Coding,
        (10, b'c') if is("connection") => Kind::Connection,
        (10, b'k') if is("keep-alive") => Kind::KeepAlive,
        (2, b't') if is("te") => Kind::NotPlain,
        (3, b'v') if is("via") => Kind::NotPlain,
        (7, _) if is("trailer") || is("upgrade") => Kind::NotPlain,
        (10, b'x') if is("x-upstream") => Kind::NotPlain,
        (12, b'x') if is("x-request-id") => Kind::NotPlain,
        (14, b'h') if is("http2-settings") => Kind::NotPlain,
        (6.., b'p') if name[..6].eq_ignore_ascii_case(b"proxy-") => Kind::NotPlain,
        (21.., b'e') if name[..21].eq_ignore_ascii_case(b"endpoint-load-metrics") => Kind::NotPlain,
        _ => Kind::Other,
    }
}

/// Fields that were found in some bytes, in a copy of these.
pub(super) fn fields(found: &[httparse::Header<'_>], bytes: &[u8]) -> Result<HeaderMap, Error> {
    let copy = Bytes::copy_from_slice(bytes);
    let mut headers = HeaderMap::try_with_capacity(found.len()).map_err(|_| Error::TooLarge)?;
    for field in found {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.map_err(|_| Error::Malformed("the name of a field"))?;
        // Where the value is, which the parser gives as a part of the bytes.
        let from = (field.value.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
        let value = match from.checked_add(field.value.len()) {
            Some(to) if to <= copy.len() => HeaderValue::from_maybe_shared(copy.slice(from..to)),
            _ => HeaderValue::from_bytes(field.value),
        };
        let value = value.map_err(|_| Error::Malformed("the value of a field"))?;
        headers.try_append(name, value).map_err(|_| Error::TooLarge)?;
    }
    Ok(headers)
}

/// Whether a line ends in LF alone.
pub(super) fn has_bare_line_feed(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'\n')
        || bytes.iter().zip(&bytes[1.min(bytes.len())..]).any(|(a, b)| *b == b'\n' && *a != b'\r')
}
