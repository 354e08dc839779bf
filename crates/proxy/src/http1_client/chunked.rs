//! Content in chunks (RFC 9112, 7.1).

use http::HeaderMap;

use super::head::{fields, has_bare_line_feed};
use super::{Error, MOST_TRAILERS};

/// Most digits of a size: 64 bits.
const MAX_DIGITS: u32 = 16;
/// Most bytes of the extensions of one response.
const MAX_EXTENSIONS: usize = 4096;

/// The decoder.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: State,
    /// Bytes left of a chunk; while a size is read, its value so far.
    left: u64,
    digits: u32,
    extensions: usize,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// White space behind a size, which some servers pad it with.
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

impl Chunked {
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes to the end of the response or of the input; gives how many bytes were read. Content is appended to `content`.
    pub(crate) fn decode(&mut self, input: &[u8], content: &mut Vec<u8>) -> Result<usize, Error> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                content.extend_from_slice(&input[at..at + n]);
                self.left -= n as u64;
                at += n;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.state = self.step(input[at])?;
            at += 1;
        }
        Ok(at)
    }

    /// Reads a byte that is no data.
    fn step(&mut self, byte: u8) -> Result<State, Error> {
        use State::*;
        Ok(match (self.state, byte) {
            (Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digits += 1;
                if self.digits > MAX_DIGITS {
                    return Err(Error::Malformed("the size of a chunk"));
                }
                self.left = self.left << 4 | u64::from((byte as char).to_digit(16).unwrap_or(0));
                Size
            }
            (Size, _) if self.digits == 0 => return Err(Error::Malformed("the size of a chunk")),
            (Size | SizeSpace | Extension, b'\r') => SizeLf,
            (Size | SizeSpace, b' ' | b'\t') => {
                self.extended()?;
                SizeSpace
            }
            (Size | SizeSpace, b';') => {
                self.extended()?;
                Extension
            }
            (Extension, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extended()?;
                Extension
            }
            (SizeLf, b'\n') if self.left > 0 => Data,
            (SizeLf, b'\n') => Trailers,
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => {
                (self.left, self.digits) = (0, 0);
                Size
            }
            (Trailers, _) => return self.trailer(byte),
            _ => return Err(Error::Malformed("the end of a chunk")),
        })
    }

    fn extended(&mut self) -> Result<(), Error> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(Error::TooLarge) } else { Ok(()) }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Error> {
        self.trailers.push(byte);
        if self.trailers.len() > MOST_TRAILERS {
            return Err(Error::TooLarge);
        }
        let over = byte == b'\n' && (self.trailers.len() == 2 || self.trailers.ends_with(b"\r\n\r\n"));
        Ok(if over { State::Done } else { State::Trailers })
    }

    /// The trailers, once it is done; `None` where there are none.
    pub(crate) fn trailers(&self, most: usize) -> Result<Option<HeaderMap>, Error> {
        if has_bare_line_feed(&self.trailers) {
            return Err(Error::Malformed("a line ends without CR"));
        }
        if self.trailers.len() <= 2 {
            return Ok(None);
        }
        let mut found = vec![httparse::EMPTY_HEADER; most];
        match httparse::parse_headers(&self.trailers, &mut found) {
            Ok(httparse::Status::Complete((length, found))) if length == self.trailers.len() => {
                fields(found, &self.trailers).map(Some)
            }
            Err(httparse::Error::TooManyHeaders) => Err(Error::TooLarge),
            _ => Err(Error::Malformed("the trailers")),
        }
    }
}
