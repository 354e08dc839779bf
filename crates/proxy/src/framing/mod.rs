//! HTTP/1.1 requests read strictly, byte by byte, as they come over a connection: where each head, body and trailer section
//! begins and ends, and the first byte that a strict reader cannot accept.
//!
//! hyper parses requests and decodes bodies. It accepts some input that another reader of the same bytes could
//! split into requests differently, and that is how requests are smuggled: the response to one of them goes to another client.
//! [`Framing`] follows the same bytes with a smaller grammar, so that it and hyper always agree on the place where they
//! are. It refuses, in every head and trailer section wherever it is:
//!
//! * a line that ends in anything but CR LF (RFC 9112, 2.2), a folded line (5.2), white space before a colon (5.1), a name that
//!   is no token, NUL and other control characters in a value (RFC 9110, 5.5);
//! * a request line with more than single spaces or another version than HTTP/1.0 and HTTP/1.1;
//! * `Content-Length` together with `Transfer-Encoding` (RFC 9112, 6.1), more than one `Content-Length` (6.3), any
//!   `Transfer-Encoding` but a single `chunked` (6.1), and any in HTTP/1.0;
//! * a chunk size that is not 1 to 16 hexadecimal digits, an extension outside the grammar of RFC 9112, 7.1.1 or longer than
//!   4 KiB, and chunk data without CR LF behind it (7.1).
//!
//! Bytes of a body with a length are counted, not read. Nothing is allocated but a copy of the request line, which the access
//! log shows when the head is refused.

mod bytes;
mod chunk;
mod head;

use bytes::{TARGET, TOKEN, VALUE, is, run};
use head::{Field, Head};

/// The reader of one connection's requests.
#[derive(Debug)]
pub struct Framing {
    state: State,
    /// The present field section is a trailer section.
    trailers: bool,
    head: Head,
    /// Which field the current line is.
    field: Field,
    /// The beginning of the present line's name in lower case, and its whole length.
    name: [u8; MAX_NAME],
    name_len: usize,
    /// The present value, if the field is of interest.
    value: [u8; MAX_VALUE],
    value_len: usize,
    /// Bytes left of a body or a chunk; while a size is read, its value so far.
    left: u64,
    /// Digits of a chunk's size, then bytes of its extensions.
    count: usize,
    /// The method and target of the present or last head.
    line: Vec<u8>,
    heads: u32,
    /// Numbers of heads that have not been asked for: see [`Framing::take_asterisks`].
    asterisks: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the preface of HTTP/2: so many bytes agree with it.
    Preface(usize),
    /// Before a request line; empty lines are skipped (RFC 9112, 2.2).
    Start,
    StartLf,
    Method,
    TargetStart,
    Target,
    Version(usize),
    VersionDigit,
    LineCr,
    LineLf,
    NameStart,
    Name,
    Value,
    FieldLf,
    SectionLf,
    Body,
    SizeStart,
    Size,
    /// White space before a `;`.
    SizeSpace,
    ExtensionStart,
    Extension,
    /// White space behind an extension's name.
    ExtensionSpace,
    ExtensionValueStart,
    ExtensionValue,
    ExtensionQuoted,
    ExtensionEscape,
    /// Behind an extension's value.
    ExtensionEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// Behind a request that asked to leave HTTP, until it is known whether the connection does.
    Undecided,
    /// The connection is not HTTP/1 (any more): nothing is read.
    Off,
    Faulty,
}

/// Why a byte was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A head that is malformed.
    Malformed,
    /// A head whose body has a length that could be read in two ways.
    AmbiguousLength,
    /// A chunk or a trailer section that is malformed, behind a valid head.
    Body,
}

/// What was found in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// All bytes are valid, and no event follows from them.
    Nothing,
    /// The preface of HTTP/2: from here on nothing is read.
    Http2,
    /// So many bytes are valid, the next one is not. Nothing behind it can be read.
    Fault(usize, Fault),
    /// So many bytes belong to requests. What follows is the next request or no HTTP at all, depending on the response to the
    /// last one: see [`Framing::resume`].
    Undecided(usize),
}

/// How many bytes were read; for a fault, how many valid ones come before it.
type Step = Result<usize, (usize, Fault)>;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const VERSION: &[u8; 7] = b"HTTP/1.";
const MAX_NAME: usize = 17;
const MAX_VALUE: usize = 64;
/// A request line longer than this is copied in part.
const MAX_LINE: usize = 8192;

impl Framing {
    /// The reader of a new connection. With `http2`, the connection may begin with the preface of HTTP/2.
    pub fn new(http2: bool) -> Framing {
        Framing {
            state: if http2 { State::Preface(0) } else { State::Start },
            trailers: false,
            head: Head::default(),
            field: Field::Other,
            name: [0; MAX_NAME],
            name_len: 0,
            value: [0; MAX_VALUE],
            value_len: 0,
            left: 0,
            count: 0,
            line: Vec::new(),
            heads: 0,
            asterisks: Vec::new(),
        }
    }

    /// The reader of a body in chunks and of nothing before it. What follows the body is the next request.
    pub fn of_chunks() -> Framing {
        Framing { state: State::SizeStart, ..Framing::new(false) }
    }

    /// Whether it is between two requests.
    pub fn is_between(&self) -> bool {
        self.state == State::Start
    }

    /// Whether bytes of a head are in and its end is not.
    pub fn in_head(&self) -> bool {
        use State::*;
        match self.state {
            Preface(matched) => matched > 0,
            Method | TargetStart | Target | Version(_) | VersionDigit | LineCr | LineLf => true,
            NameStart | Name | Value | FieldLf | SectionLf => !self.trailers,
            _ => false,
        }
    }

    /// Heads read to their end so far, modulo 2^32.
    pub fn heads(&self) -> u32 {
        self.heads
    }

    /// So many heads were read before, by another reader.
    pub fn count_heads(&mut self, heads: u32) {
        self.heads = heads;
    }

    /// Numbers, from 0 and modulo 2^32, of heads since the last call that are OPTIONS with a URI without path and query. hyper
    /// reads such a URI as one with the path `/`, which means something else (RFC 9112, 3.2.4).
    pub fn take_asterisks(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.asterisks)
    }

    /// The method and target of the present head, or of the last one, as far as they came: up to 8 KiB.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// Whether it waits to be told what follows: see [`Found::Undecided`].
    pub fn is_undecided(&self) -> bool {
        self.state == State::Undecided
    }

    /// The connection stays with HTTP: what follows is the next request.
    pub fn resume(&mut self) {
        if self.is_undecided() {
            self.state = State::Start;
        }
    }

    /// The connection has left HTTP: nothing more is read.
    pub fn stop(&mut self) {
        self.state = State::Off;
    }

    /// Reads on. `bytes` are the next ones of the connection, in a piece of any size.
    pub fn feed(&mut self, bytes: &[u8]) -> Found {
        if let State::Preface(matched) = self.state {
            return self.preface(bytes, matched);
        }
        let mut at = 0;
        while at < bytes.len() {
            match self.step(&bytes[at..]) {
                Ok(0) if self.state == State::Undecided => return Found::Undecided(at),
                Ok(read) => at += read,
                Err((read, fault)) => {
                    self.state = State::Faulty;
                    return Found::Fault(at + read, fault);
                }
            }
        }
        Found::Nothing
    }

    fn preface(&mut self, bytes: &[u8], matched: usize) -> Found {
        let same = bytes.iter().zip(&PREFACE[matched..]).take_while(|(a, b)| a == b).count();
        if matched + same == PREFACE.len() {
            self.state = State::Off;
            return Found::Http2;
        }
        if same == bytes.len() {
            self.state = State::Preface(matched + same);
            return Found::Nothing;
        }
        self.state = State::Start;
        if matched > 0
            && let Found::Fault(_, fault) = self.feed(&PREFACE[..matched])
        {
            // hyper has that part of the head already.
            return Found::Fault(0, fault);
        }
        self.feed(bytes)
    }

    /// Reads at least one byte, all of the same kind, or none before what is [`Found::Undecided`].
    fn step(&mut self, bytes: &[u8]) -> Step {
        use State::*;
        match self.state {
            NameStart | Name | Value | FieldLf | SectionLf => self.section(bytes),
            Start | StartLf | Method | TargetStart | Target | Version(_) | VersionDigit | LineCr | LineLf => {
                self.request_line(bytes)
            }
            Body | Data => Ok(self.content(bytes)),
            Undecided => Ok(0),
            Preface(_) | Off | Faulty => Ok(bytes.len()),
            _ => self.chunk(bytes),
        }
    }

    /// Reads the content of a body or a chunk.
    fn content(&mut self, bytes: &[u8]) -> usize {
        let read = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= read as u64;
        if self.left == 0 {
            self.state = if self.state == State::Body { self.over() } else { State::DataCr };
        }
        read
    }

    /// Reads a field section, which is that of a head or of trailers (RFC 9112, 5).
    fn section(&mut self, bytes: &[u8]) -> Step {
        use State::*;
        let byte = bytes[0];
        let fault = Err((0, self.fault()));
        let next = match self.state {
            Value => return self.value(bytes),
            Name => {
                let read = run(bytes, TOKEN);
                if read > 0 {
                    self.keep_name(&bytes[..read]);
                    return Ok(read);
                }
                if byte != b':' {
                    return fault;
                }
                self.field = self.known_field();
                self.value_len = 0;
                Value
            }
            NameStart if byte == b'\r' => {
                if !self.trailers
                    && let Err(fault) = self.head.verdict()
                {
                    return Err((0, fault));
                }
                SectionLf
            }
            NameStart if is(byte, TOKEN) => {
                self.name_len = 0;
                self.state = Name;
                return self.section(bytes);
            }
            FieldLf if byte == b'\n' => NameStart,
            SectionLf if byte == b'\n' => {
                if self.trailers {
                    self.over()
                } else {
                    self.heads = self.heads.wrapping_add(1);
                    self.body()
                }
            }
            _ => return fault,
        };
        self.state = next;
        Ok(1)
    }

    /// Reads a request line and the empty lines before it (RFC 9112, 3).
    fn request_line(&mut self, bytes: &[u8]) -> Step {
        use State::*;
        let byte = bytes[0];
        let fault = Err((0, self.fault()));
        let next = match self.state {
            Start if byte == b'\r' => StartLf,
            StartLf if byte == b'\n' => Start,
            Start if is(byte, TOKEN) => {
                self.head = Head::default();
                self.trailers = false;
                self.line.clear();
                self.state = Method;
                return self.request_line(bytes);
            }
            Method | Target => {
                let read = run(bytes, if self.state == Method { TOKEN } else { TARGET });
                self.keep_line(&bytes[..read]);
                if read > 0 {
                    return Ok(read);
                }
                if byte != b' ' {
                    return fault;
                }
                if self.state == Method {
                    self.keep_line(b" ");
                    TargetStart
                } else {
                    if self.is_asterisk() {
                        self.asterisks.push(self.heads);
                    }
                    Version(0)
                }
            }
            TargetStart if is(byte, TARGET) => {
                self.state = Target;
                return self.request_line(bytes);
            }
            Version(matched) if byte == VERSION[matched] => {
                if matched + 1 < VERSION.len() {
                    Version(matched + 1)
                } else {
                    VersionDigit
                }
            }
            VersionDigit if matches!(byte, b'0' | b'1') => {
                self.head.http10 = byte == b'0';
                LineCr
            }
            LineCr if byte == b'\r' => LineLf,
            LineLf if byte == b'\n' => NameStart,
            _ => return fault,
        };
        self.state = next;
        Ok(1)
    }

    /// A field's value up to its CR.
    fn value(&mut self, bytes: &[u8]) -> Step {
        let read = run(bytes, VALUE);
        if self.field != Field::Other {
            let end = self.value_len + read;
            if end > self.value.len() {
                return Err((0, self.fault()));
            }
            self.value[self.value_len..end].copy_from_slice(&bytes[..read]);
            self.value_len = end;
        }
        match bytes.get(read) {
            None => Ok(read),
            Some(b'\r') => {
                if !self.head.field(self.field, self.value[..self.value_len].trim_ascii()) {
                    return Err((read, Fault::Malformed));
                }
                self.state = State::FieldLf;
                Ok(read + 1)
            }
            Some(_) => Err((read, self.fault())),
        }
    }

    /// What a fault at the present place is.
    fn fault(&self) -> Fault {
        use State::*;
        let in_head = match self.state {
            NameStart | Name | Value | FieldLf | SectionLf => !self.trailers,
            Preface(_) | Start | StartLf | Method | TargetStart | Target | Version(_) | VersionDigit | LineCr
            | LineLf => true,
            _ => false,
        };
        if in_head { Fault::Malformed } else { Fault::Body }
    }

    fn keep_name(&mut self, part: &[u8]) {
        for (place, byte) in self.name[self.name_len.min(MAX_NAME)..].iter_mut().zip(part) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_len += part.len();
    }

    fn keep_line(&mut self, part: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn is_asterisk(&self) -> bool {
        let Some(target) = self.line.strip_prefix(b"OPTIONS ") else { return false };
        let authority = target.windows(3).position(|three| three == b"://").map(|at| &target[at + 3..]);
        authority.is_some_and(|rest| !rest.iter().any(|byte| matches!(byte, b'/' | b'?' | b'#')))
    }

    /// Which field the name is. In trailers none is of interest: they say nothing about framing.
    fn known_field(&self) -> Field {
        if self.trailers {
            return Field::Other;
        }
        match self.name.get(..self.name_len) {
            Some(b"content-length") => Field::ContentLength,
            Some(b"transfer-encoding") => Field::TransferEncoding,
            Some(b"upgrade") => Field::Upgrade,
            _ => Field::Other,
        }
    }

    /// What follows a head.
    fn body(&mut self) -> State {
        if self.head.codings > 0 {
            return self.size();
        }
        self.left = self.head.length.unwrap_or(0);
        if self.left > 0 { State::Body } else { self.over() }
    }

    /// Before a chunk's size.
    fn size(&mut self) -> State {
        (self.left, self.count) = (0, 0);
        State::SizeStart
    }

    /// What follows a message.
    fn over(&self) -> State {
        if self.head.upgrade { State::Undecided } else { State::Start }
    }
}

#[cfg(test)]
mod tests;
