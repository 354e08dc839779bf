//! Heads of HTTP/1.1 requests that are plain: of a form that every reader reads alike, and without anything that takes more
//! than copying to forward. Such heads are not turned into maps and back; all others are hyper's.
//!
//! `httparse` finds the parts of a head; what it accepts beyond the grammar below is refused here by going over the places
//! of these parts once more. A head is plain if
//!
//! * it is `method SP target SP HTTP/1.1`, then `name ":" OWS value OWS` lines, every line ended by CR LF, and nothing else:
//!   no bare LF, no empty line before it, no folded line, no space before a colon;
//! * all of it is ASCII, and no value has a control character but HTAB;
//! * the method is GET, HEAD, POST, PUT, DELETE or PATCH, and the target is a path with characters of RFC 3986;
//! * there is one `Host`;
//! * `Connection` is absent, `keep-alive` or `close`; there is no `Upgrade`, `Expect`, `TE`, `Trailer` or `Proxy-*`, and at most
//!   one line of either `Content-Length`, in digits, or `Transfer-Encoding: chunked`;
//! * it is within the limits of the listener, and no longer than [`LONGEST`].
//!
//! The fuzz target `plain` holds that whatever is plain, hyper and [`crate::framing`] accept with the same fields.

use std::mem::MaybeUninit;

use http::Method;
use httparse::Header;

/// Heads that are longer, in bytes, are not plain.
pub const LONGEST: usize = 8192;

/// Most fields of a plain head; a bit of [`PlainRequest::dropped`] for each.
const FIELDS: usize = 64;

/// The longest `Content-Length` in digits that is plain: no number of so many digits is beyond 64 bits.
const LENGTH_DIGITS: usize = 18;

/// Bounds of a head.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes.
    pub bytes: usize,
    /// Most fields.
    pub fields: usize,
}

/// What some bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<R> {
    /// A plain head of so many bytes, and what was made of it.
    Plain(R, usize),
    /// What may become a plain head.
    Partial,
    /// Anything else.
    Other,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It has so many bytes; 0 without a body.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A plain head.
#[derive(Debug)]
pub struct PlainRequest<'b> {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: &'b str,
    /// The value of `Host`.
    pub host: &'b [u8],
    /// The client keeps the connection open.
    pub keeps_alive: bool,
    /// What the head says about the body.
    pub content: Content,
    /// Some field is one that a proxy writes, too, or takes for a claim about where a request came from.
    pub claims: bool,
    /// Bytes of the head.
    pub size: usize,
    fields: &'b [Header<'b>],
    /// A bit for each field that concerns the connection alone.
    dropped: u64,
}

impl<'b> PlainRequest<'b> {
    /// The path of the target.
    pub fn path(&self) -> &'b str {
        match self.target.as_bytes().iter().position(|&byte| byte == b'?') {
            Some(end) => self.target.get(..end).unwrap_or(self.target),
            None => self.target,
        }
    }

    /// The values of a field, whose name is in lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'b [u8]> + 'a {
        let named = move |field: &&Header<'b>| field.name.eq_ignore_ascii_case(name);
        self.fields.iter().filter(named).map(|field| field.value)
    }

    /// All fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> + '_ {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// Appends the request line and the fields that are for the server, without the empty line at the end.
    pub fn write(&self, out: &mut Vec<u8>) {
        for part in [self.method.as_str(), " ", self.target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        for (i, field) in self.fields.iter().enumerate() {
            if self.dropped >> i & 1 == 0 {
                write_field(out, field);
            }
        }
    }
}

/// Appends a field, its name in lower case.
pub(crate) fn write_field(out: &mut Vec<u8>, field: &Header<'_>) {
    out.reserve(field.name.len() + field.value.len() + 4);
    out.extend(field.name.bytes().map(|byte| byte.to_ascii_lowercase()));
    out.extend_from_slice(b": ");
    out.extend_from_slice(field.value);
    out.extend_from_slice(b"\r\n");
}

/// Reads the head at the beginning of some bytes. `then` gets it if it is plain, and `None` of it makes it [`Found::Other`].
pub fn read<R>(bytes: &[u8], limits: Limits, then: impl FnOnce(&PlainRequest<'_>) -> Option<R>) -> Found<R> {
    // Empty lines may precede a request line, and HTTP/2 begins with "PRI".
    if !bytes.first().is_none_or(u8::is_ascii_uppercase) {
        return Found::Other;
    }
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let most = FIELDS.min(limits.fields);
    let mut request = httparse::Request::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_request_with_uninit_headers(&mut request, bytes, &mut fields[..most]);
    let longest = LONGEST.min(limits.bytes);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) if length <= longest => length,
        Ok(httparse::Status::Partial) if bytes.len() < longest => return Found::Partial,
        _ => return Found::Other,
    };
    let Some(head) = plain(&request, &bytes[..length]) else { return Found::Other };
    match then(&head) {
        Some(made) => Found::Plain(made, length),
        None => Found::Other,
    }
}

/// What was parsed, if it is plain.
fn plain<'b>(request: &'b httparse::Request<'_, 'b>, bytes: &'b [u8]) -> Option<PlainRequest<'b>> {
    let method = match request.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "DELETE" => Method::DELETE,
        "PATCH" => Method::PATCH,
        _ => return None,
    };
    let target = request.path?;
    if !target.starts_with('/') || !target.bytes().all(|byte| TARGET[usize::from(byte)]) {
        return None;
    }
    let line = method.as_str().len() + 1 + target.len();
    if !bytes.is_ascii() || bytes.get(line..line + 11)? != b" HTTP/1.1\r\n" {
        return None;
    }
    let mut head = PlainRequest {
        method,
        target,
        host: b"",
        keeps_alive: true,
        content: Content::Length(0),
        claims: false,
        size: bytes.len(),
        fields: request.headers,
        dropped: 0,
    };
    let (mut at, mut hosts, mut lengths) = (line + 11, 0, 0);
    for (i, field) in request.headers.iter().enumerate() {
        at = line_end(field, bytes, at)?;
        match kind(field.name.as_bytes()) {
            Kind::Other => {}
            Kind::Host => {
                hosts += 1;
                head.host = field.value;
            }
            Kind::Claim => head.claims = true,
            Kind::KeepAlive => head.dropped |= 1 << i,
            Kind::Connection => {
                head.dropped |= 1 << i;
                if field.value.eq_ignore_ascii_case(b"close") {
                    head.keeps_alive = false;
                } else if !field.value.eq_ignore_ascii_case(b"keep-alive") {
                    return None;
                }
            }
            Kind::ContentLength => {
                lengths += 1;
                head.content = Content::Length(digits(field.value)?);
            }
            Kind::TransferEncoding if field.value.eq_ignore_ascii_case(b"chunked") => {
                lengths += 1;
                head.dropped |= 1 << i;
                head.content = Content::Chunked;
            }
            Kind::TransferEncoding | Kind::NotPlain => return None,
        }
    }
    (hosts == 1 && lengths <= 1 && &bytes[at..] == b"\r\n").then_some(head)
}

/// Where the line of a field ends that is to begin at `at`; `None` if it is not `name ":" OWS value OWS CR LF`.
pub(crate) fn line_end(field: &Header<'_>, bytes: &[u8], at: usize) -> Option<usize> {
    let place = |part: &[u8]| (part.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    let (name, value) = (place(field.name.as_bytes()), place(field.value));
    let colon = name.checked_add(field.name.len())?;
    let blank = |range: std::ops::Range<usize>| Some(bytes.get(range)?.iter().all(|&b| matches!(b, b' ' | b'\t')));
    if name != at || *bytes.get(colon)? != b':' || !blank(colon + 1..value)? {
        return None;
    }
    let mut end = value.checked_add(field.value.len())?;
    while matches!(bytes.get(end)?, b' ' | b'\t') {
        end += 1;
    }
    (bytes.get(end..end + 2)? == b"\r\n").then_some(end + 2)
}

/// Whether a field of this name goes on to the server as it came.
pub(crate) fn is_unchanged(name: &str) -> bool {
    matches!(kind(name.as_bytes()), Kind::Other | Kind::Host | Kind::ContentLength)
}

/// A number in digits alone.
pub(crate) fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > LENGTH_DIGITS || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// What a field means to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing.
    Other,
    Host,
    Connection,
    KeepAlive,
    ContentLength,
    TransferEncoding,
    /// See [`PlainRequest::claims`].
    Claim,
    NotPlain,
}

fn kind(name: &[u8]) -> Kind {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    let any = |known: &[&str]| known.iter().any(|known| is(known));
    match (name.len(), name.first().map_or(0, |first| first | 0x20)) {
        (2, _) if is("te") => Kind::NotPlain,
        (3, _) if is("via") => Kind::Claim,
        (4, _) if is("host") => Kind::Host,
        (6, _) if is("expect") => Kind::NotPlain,
        (7, _) if any(&["upgrade", "trailer"]) => Kind::NotPlain,
        (9, b'f') if is("forwarded") => Kind::Claim,
        // Names with `_` for `-` count as the same to some servers: see `headers`.
        (9.., b'x') if name.contains(&b'_') || any(&["x-real-ip", "x-request-id"]) => Kind::Claim,
        (9.., b'x') if name.get(..11).is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded")) => Kind::Claim,
        (10, b'c') if is("connection") => Kind::Connection,
        (10, b'k') if is("keep-alive") => Kind::KeepAlive,
        (14, b'c') if is("content-length") => Kind::ContentLength,
        (14, b'h') if is("http2-settings") => Kind::NotPlain,
        (17, b't') if is("transfer-encoding") => Kind::TransferEncoding,
        (6.., b'p') if name[..6].eq_ignore_ascii_case(b"proxy-") => Kind::NotPlain,
        _ => Kind::Other,
    }
}

/// Characters of a path and a query (RFC 3986, 3.3 and 3.4), `%` for those that are encoded.
static TARGET: [bool; 256] = {
    let mut allowed = [false; 256];
    let marks = b"/?%-._~!$&'()*+,;=:@";
    let mut byte = 0;
    while byte < 256 {
        allowed[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < marks.len() {
        allowed[marks[i] as usize] = true;
        i += 1;
    }
    allowed
};
