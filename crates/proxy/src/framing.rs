//! HTTP/1.1 requests read strictly, byte by byte, as they come over a connection: where each head, body and trailer section
//! begins and ends, and the first byte that a strict reader cannot accept.
//!
//! The library (hyper) parses requests and decodes bodies. It accepts some input that another reader of the same bytes could
//! split into requests differently, and that is how requests are smuggled: the answer to one of them goes to another client.
//! [`Framing`] follows the same bytes with a smaller grammar, so that it and the library always agree on the place where they
//! are. It refuses, in every head and trailer section wherever it stands:
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

/// The reader of one connection's requests.
#[derive(Debug)]
pub struct Framing {
    state: State,
    /// The present field section is a trailer section.
    trailers: bool,
    head: Head,
    /// Which field the present line is.
    field: Field,
    /// The beginning of the present line's name in lower case, and its whole length.
    name: [u8; LONGEST_NAME],
    name_len: usize,
    /// The present value, if the field is of interest.
    value: [u8; LONGEST_VALUE],
    value_len: usize,
    /// Bytes left of a body or a chunk; while a size is read, its value so far.
    left: u64,
    /// Digits of a chunk size, then bytes of its extensions.
    count: usize,
    /// The method and target of the present or last head.
    line: Vec<u8>,
    heads: u32,
    /// Numbers of heads that have not been asked for: see [`Framing::take_wholes`].
    wholes: Vec<u32>,
}

/// What the head says about the rest of the message.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    http10: bool,
    upgrade: bool,
    length: Option<u64>,
    lengths_differ: bool,
    lengths: u32,
    codings: u32,
    /// The last coding is `chunked`, and it is the only one in its line.
    chunked_last: bool,
    chunked_alone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Other,
    ContentLength,
    TransferEncoding,
    Upgrade,
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
    /// Not HTTP/1.
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
    /// A chunk or a trailer section that is malformed, behind a sound head.
    Body,
}

/// What was found in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing that matters.
    Nothing,
    /// The preface of HTTP/2: from here on nothing is read.
    Http2,
    /// So many bytes are sound, the next one is not. Nothing behind it can be read.
    Fault(usize, Fault),
    /// So many bytes belong to requests. What follows is the next request or no HTTP at all, depending on the answer to the
    /// last one: see [`Framing::resume`].
    Undecided(usize),
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const VERSION: &[u8; 7] = b"HTTP/1.";
const LONGEST_NAME: usize = 17;
const LONGEST_VALUE: usize = 64;
/// A request line longer than this is copied in part.
const LONGEST_LINE: usize = 8192;
/// Most digits of a chunk size: 64 bits.
const LONGEST_SIZE: usize = 16;
/// Most bytes of the extensions of one chunk.
const LONGEST_EXTENSION: usize = 4096;

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const HEX: u8 = 8;

/// What each byte may be part of.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric()
            || matches!(b, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`')
            || matches!(b, b'|' | b'~')
        {
            classes[byte] |= TOKEN;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            classes[byte] |= VALUE;
        }
        if b > b' ' && b != 0x7f {
            classes[byte] |= TARGET;
        }
        if b.is_ascii_hexdigit() {
            classes[byte] |= HEX;
        }
        byte += 1;
    }
    classes
};

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// How many bytes at the beginning are of a class.
fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|&byte| !is(byte, class)).unwrap_or(bytes.len())
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

impl Framing {
    /// The reader of a new connection. With `http2`, the connection may begin with the preface of HTTP/2.
    pub fn new(http2: bool) -> Framing {
        Framing {
            state: if http2 { State::Preface(0) } else { State::Start },
            trailers: false,
            head: Head::default(),
            field: Field::Other,
            name: [0; LONGEST_NAME],
            name_len: 0,
            value: [0; LONGEST_VALUE],
            value_len: 0,
            left: 0,
            count: 0,
            line: Vec::new(),
            heads: 0,
            wholes: Vec::new(),
        }
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

    /// Numbers, from 0 and modulo 2^32, of heads since the last call that are OPTIONS with a URI without path and query. The
    /// library reads such a URI as one with the path `/`, which means something else (RFC 9112, 3.2.4).
    pub fn take_wholes(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.wholes)
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
            // That part of the head is with the library already.
            return Found::Fault(0, fault);
        }
        self.feed(bytes)
    }

    /// Reads at least one byte, all of the same kind. Gives how many; for a fault, how many sound ones come before it.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, (usize, Fault)> {
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
                return self.step(bytes);
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
            Body | Data => {
                let read = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= read as u64;
                if self.left == 0 {
                    self.state = if self.state == Body { self.over() } else { DataCr };
                }
                return Ok(read);
            }
            Start if byte == b'\r' => StartLf,
            StartLf if byte == b'\n' => Start,
            Start if is(byte, TOKEN) => {
                self.head = Head::default();
                self.trailers = false;
                self.line.clear();
                self.state = Method;
                return self.step(bytes);
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
                    if self.is_whole() {
                        self.wholes.push(self.heads);
                    }
                    Version(0)
                }
            }
            TargetStart if is(byte, TARGET) => {
                self.state = Target;
                return self.step(bytes);
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
            SizeStart | Size if is(byte, HEX) => {
                let digit = u64::from((byte as char).to_digit(16).unwrap_or(0));
                self.count += 1;
                if self.count > LONGEST_SIZE {
                    return fault;
                }
                self.left = self.left << 4 | digit;
                Size
            }
            Size | ExtensionEnd if byte == b'\r' => SizeLf,
            Size | SizeSpace | ExtensionSpace | ExtensionEnd if is_blank(byte) => {
                self.extended()?;
                match self.state {
                    Size | ExtensionEnd => SizeSpace,
                    same => same,
                }
            }
            Size | SizeSpace | ExtensionSpace | ExtensionEnd if byte == b';' => {
                if self.state == Size {
                    self.count = 0;
                }
                self.extended()?;
                ExtensionStart
            }
            ExtensionStart | ExtensionValueStart if is_blank(byte) => {
                self.extended()?;
                self.state
            }
            ExtensionStart | Extension if is(byte, TOKEN) => {
                self.extended()?;
                Extension
            }
            Extension if byte == b'\r' => SizeLf,
            Extension if is_blank(byte) => {
                self.extended()?;
                ExtensionSpace
            }
            Extension if byte == b';' => {
                self.extended()?;
                ExtensionStart
            }
            Extension | ExtensionSpace if byte == b'=' => {
                self.extended()?;
                ExtensionValueStart
            }
            ExtensionValueStart if byte == b'"' => {
                self.extended()?;
                ExtensionQuoted
            }
            ExtensionValueStart | ExtensionValue if is(byte, TOKEN) => {
                self.extended()?;
                ExtensionValue
            }
            ExtensionValue => {
                self.state = ExtensionEnd;
                return self.step(bytes);
            }
            ExtensionQuoted if is(byte, VALUE) => {
                self.extended()?;
                match byte {
                    b'"' => ExtensionEnd,
                    b'\\' => ExtensionEscape,
                    _ => ExtensionQuoted,
                }
            }
            ExtensionEscape if is(byte, VALUE) => {
                self.extended()?;
                ExtensionQuoted
            }
            SizeLf if byte == b'\n' => {
                if self.left > 0 {
                    Data
                } else {
                    self.trailers = true;
                    NameStart
                }
            }
            DataCr if byte == b'\r' => DataLf,
            DataLf if byte == b'\n' => self.size(),
            Undecided => return Ok(0),
            Off | Faulty => return Ok(bytes.len()),
            _ => return fault,
        };
        self.state = next;
        Ok(1)
    }

    /// A field's value up to its CR.
    fn value(&mut self, bytes: &[u8]) -> Result<usize, (usize, Fault)> {
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

    /// Counts a byte of extensions.
    fn extended(&mut self) -> Result<(), (usize, Fault)> {
        self.count += 1;
        if self.count > LONGEST_EXTENSION { Err((0, Fault::Body)) } else { Ok(()) }
    }

    fn keep_name(&mut self, part: &[u8]) {
        for (place, byte) in self.name[self.name_len.min(LONGEST_NAME)..].iter_mut().zip(part) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_len += part.len();
    }

    fn keep_line(&mut self, part: &[u8]) {
        let room = LONGEST_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn is_whole(&self) -> bool {
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

impl Head {
    /// Takes note of a field; false if its value is malformed.
    fn field(&mut self, field: Field, value: &[u8]) -> bool {
        match field {
            Field::Other => {}
            Field::Upgrade => self.upgrade = !self.http10,
            Field::ContentLength => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let length = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
                // The library keeps the two largest numbers for itself.
                let Some(length) = length.filter(|&length| digits && length < u64::MAX - 1) else { return false };
                self.lengths += 1;
                self.lengths_differ |= self.length.is_some_and(|before| before != length);
                self.length = Some(length);
            }
            Field::TransferEncoding => {
                self.codings += 1;
                let last = value.rsplit(|&b| b == b',').next().unwrap_or(value).trim_ascii();
                self.chunked_last = last.eq_ignore_ascii_case(b"chunked");
                self.chunked_alone = last.len() == value.len();
            }
        }
        true
    }

    /// Whether the body's length can be read in one way only.
    fn verdict(&self) -> Result<(), Fault> {
        if self.lengths_differ || self.codings > 0 && (self.http10 || !self.chunked_last) {
            return Err(Fault::Malformed);
        }
        if self.lengths > 1 || self.codings > 1 || self.codings > 0 && (self.lengths > 0 || !self.chunked_alone) {
            return Err(Fault::AmbiguousLength);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::rng::{Rng, Source};

    /// Reads in pieces of these lengths, over and over. Gives the place of the first fault, and the heads before it.
    fn read(bytes: &[u8], lengths: &[usize]) -> (Option<(usize, Fault)>, u32, State) {
        let mut framing = Framing::new(true);
        let mut at = 0;
        let mut lengths = lengths.iter().cycle();
        while at < bytes.len() {
            let end = bytes.len().min(at + lengths.next().unwrap());
            match framing.feed(&bytes[at..end]) {
                Found::Nothing => at = end,
                Found::Http2 => return (None, framing.heads(), State::Off),
                Found::Fault(sound, fault) => return (Some((at + sound, fault)), framing.heads(), State::Faulty),
                Found::Undecided(sound) => {
                    at += sound;
                    framing.resume();
                }
            }
        }
        (None, framing.heads(), framing.state)
    }

    /// The same in pieces of every kind.
    fn whole(bytes: &[u8]) -> (Option<(usize, Fault)>, u32, State) {
        let found = read(bytes, &[bytes.len().max(1)]);
        for lengths in [&[1][..], &[2], &[3], &[7], &[24, 1000], &[1, 50]] {
            assert_eq!(read(bytes, lengths), found, "{lengths:?}: {:?}", String::from_utf8_lossy(bytes));
        }
        found
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn sound_requests_are_counted() {
        for (text, heads) in [
            (GET.to_owned(), 1),
            (GET.repeat(9), 9),
            (format!("\r\n\r\n{GET}\r\n{GET}"), 2),
            (format!("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\na: b\nc:\rd{GET}"), 2),
            (format!("POST / HTTP/1.0\r\ncontent-length:0\t\r\n\r\n{GET}"), 2),
            (format!("{CHUNKED}3\r\na\n\r\r\n00000000A;x\r\n0123456789\r\n0\r\n\r\n{GET}"), 2),
            (format!("{CHUNKED}3 ; a = b ;c=\"d\\\"\te\" ;f;g=h\r\nabc\r\n0;z\r\nX-T: 1\r\nX-U:\r\n\r\n{GET}"), 2),
            (format!("M-SEARCH * HTTP/1.1\r\nX: \t\u{e9} \t\r\nY:\r\n\r\n{GET}"), 2),
            (format!("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n{GET}"), 2),
            (format!("PRI / HTTP/1.1\r\n\r\n{GET}"), 2),
        ] {
            assert_eq!(whole(text.as_bytes()), (None, heads, State::Start), "{text:?}");
        }
        assert_eq!(whole(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12"), (None, 0, State::Off));
    }

    /// Where the first byte of a fault stands is written as a bar.
    #[test]
    fn the_first_byte_that_cannot_be_read_in_one_way_is_found_wherever_it_stands() {
        use Fault::*;
        let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}");
        let chunk = |rest: &str| format!("{CHUNKED}3\r\nabc\r\n{rest}");
        let cases = [
            ("|\n".to_owned() + GET, Malformed),
            ("\r|\r\n".to_owned(), Malformed),
            ("|\0".to_owned(), Malformed),
            ("GE|(T / HTTP/1.1\r\n".to_owned(), Malformed),
            ("GET | / HTTP/1.1\r\n".to_owned(), Malformed),
            ("GET /a |b HTTP/1.1\r\n".to_owned(), Malformed),
            ("GET /|\tHTTP/1.1\r\n".to_owned(), Malformed),
            ("GET /|\r\n\r\n".to_owned(), Malformed),
            ("GET / |http/1.1\r\n".to_owned(), Malformed),
            ("GET / HTTP/1.|2\r\n".to_owned(), Malformed),
            ("GET / HTTP/1.1| \r\n".to_owned(), Malformed),
            ("GET / HTTP/1.1|\nHost: a\n\n".to_owned(), Malformed),
            (post("A: b|\nC: d\r\n\r\n"), Malformed),
            (post("A: b\r|\r\n\r\n"), Malformed),
            (post("A: b\r|c\r\n\r\n"), Malformed),
            (post("A: b|\0c\r\n\r\n"), Malformed),
            (post("A: b|\x7fc\r\n\r\n"), Malformed),
            (post("A| : b\r\n\r\n"), Malformed),
            (post("A: b\r\n| c\r\n\r\n"), Malformed),
            (post("|: b\r\n\r\n"), Malformed),
            (post("A|\r\n\r\n"), Malformed),
            (post("A|;b\r\n\r\n"), Malformed),
            (post("A: b\r\n|\n"), Malformed),
            (post("Content-Length: +3|\r\n\r\n"), Malformed),
            (post("Content-Length: 3, 3|\r\n\r\n"), Malformed),
            (post("Content-Length:|\r\n\r\n"), Malformed),
            (post("Content-Length: 18446744073709551616|\r\n\r\n"), Malformed),
            (post("Content-Length: 3\r\nContent-Length: 4\r\n|\r\n"), Malformed),
            (post("Content-Length: 3\r\nCONTENT-length: 3\r\n|\r\n"), AmbiguousLength),
            (post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n|\r\n"), AmbiguousLength),
            (post("transfer-ENCODING: Chunked\r\nA: b\r\ncontent-length: 3\r\n|\r\n"), AmbiguousLength),
            (post("Transfer-Encoding: gzip, chunked\r\n|\r\n"), AmbiguousLength),
            (post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n|\r\n"), AmbiguousLength),
            (post("Transfer-Encoding: xchunked\r\n|\r\n"), Malformed),
            (post("Transfer-Encoding:\r\n|\r\n"), Malformed),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n|\r\n".to_owned(), Malformed),
            (chunk("|\r\n"), Body),
            (chunk("|-1\r\n"), Body),
            (chunk("0|x1\r\n"), Body),
            (chunk("1| \r\na\r\n").replace("| ", " |"), Body),
            (chunk("0000000000000000|1\r\na\r\n"), Body),
            (chunk("1|\na\r\n"), Body),
            (chunk("1\r|\ra\r\n"), Body),
            (chunk("1\r\na|b\r\n"), Body),
            (chunk("1\r\na|\n0\r\n\r\n"), Body),
            (chunk("1;|\r\na\r\n"), Body),
            (chunk("1;a|\n\r\na\r\n"), Body),
            (chunk("1;a=\"b|\nc\"\r\na\r\n"), Body),
            (chunk("1;a=\"b\"|c\r\na\r\n"), Body),
            (chunk("1;a=|\r\na\r\n"), Body),
            (chunk("0\r\n|\n"), Body),
            (chunk("0|\n\n"), Body),
            (chunk("0\r\nx-t: 1|\n\r\n"), Body),
            (chunk("0\r\nx-t: 1\r|\r\n"), Body),
            (chunk("0\r\nx-t: 1\r\n| 2\r\n\r\n"), Body),
            (chunk("0\r\nx-t| : 1\r\n\r\n"), Body),
            (chunk("0\r\nx-t: |\0\r\n\r\n"), Body),
            (chunk("0\r\nx-t: 1\r\n|\n"), Body),
            (chunk("0\r\n\r|x"), Body),
        ];
        let befores = [
            "",
            GET,
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\nb",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\n\n\r\n0\r\nX: y\r\n\r\n",
        ];
        for (marked, fault) in &cases {
            for before in befores {
                let marked = format!("{before}{marked}");
                let place = marked.find('|').unwrap();
                let text = marked.replacen('|', "", 1);
                let (found, heads, _) = whole(text.as_bytes());
                assert_eq!(found, Some((place, *fault)), "{marked:?}");
                assert_eq!(heads, u32::from(!before.is_empty()) + u32::from(*fault == Body), "{marked:?}");
            }
        }
    }

    #[test]
    fn what_follows_an_upgrade_is_not_read_until_it_is_known() {
        let mut framing = Framing::new(false);
        let head = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(framing.feed(format!("{head}\0\u{1}").as_bytes()), Found::Undecided(head.len()));
        assert!(framing.is_undecided() && !framing.in_head());
        assert_eq!(framing.feed(b"\0"), Found::Undecided(0));
        framing.stop();
        assert_eq!(framing.feed(b"\0\x01"), Found::Nothing);
        let mut framing = Framing::new(false);
        assert_eq!(framing.feed(head.as_bytes()), Found::Nothing);
        framing.resume();
        assert_eq!(framing.feed(b"\0"), Found::Fault(0, Fault::Malformed));
        // HTTP/1.0 knows no upgrades (RFC 9110, 7.8).
        let mut framing = Framing::new(false);
        assert_eq!(framing.feed(b"GET / HTTP/1.0\r\nUpgrade: x\r\n\r\n\0"), Found::Fault(30, Fault::Malformed));
    }

    #[test]
    fn the_request_line_is_kept_for_the_log() {
        let mut framing = Framing::new(true);
        for piece in ["GE", "T /a?", "b HT", "TP/1.1\r\n"] {
            framing.feed(piece.as_bytes());
            assert!(framing.in_head());
        }
        assert_eq!(framing.line(), b"GET /a?b");
        framing.feed(b"\r\n");
        assert!(!framing.in_head());
        assert_eq!((framing.line(), framing.heads()), (&b"GET /a?b"[..], 1));
        framing.feed(b"X");
        assert_eq!(framing.line(), b"X");
        framing.feed("y".repeat(20_000).as_bytes());
        assert_eq!(framing.line().len(), LONGEST_LINE);
    }

    /// Whatever the bytes, the pieces they come in make no difference, and nothing panics.
    #[test]
    fn pieces_make_no_difference() {
        let mut rng = Rng::stream(1, "test", 0);
        let parts: [&[u8]; 22] = [
            b"GET / HTTP/1.1\r\n",
            b"POST /a HTTP/1.0\r\n",
            b"\r\n",
            b"\r",
            b"\n",
            b"Content-Length: 3\r\n",
            b"abc",
            b"Transfer-Encoding: chunked\r\n",
            b"Upgrade: x\r\n",
            b"3\r\nabc\r\n",
            b"0\r\n",
            b"3;a=\"b\"",
            b";",
            b" ",
            b"\t",
            b":",
            b"X-A: b",
            b"\0",
            b"\xff",
            b"a",
            b"=",
            b"\"",
        ];
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..rng.below(12) {
                bytes.extend_from_slice(parts[rng.below(parts.len() as u64) as usize]);
            }
            whole(&bytes);
        }
    }
}
