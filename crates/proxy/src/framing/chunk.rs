//! Chunked bodies: sizes, extensions and line ends (RFC 9112, 7.1).

use super::bytes::{HEX, TOKEN, VALUE, is, is_blank};
use super::{Fault, Framing, State, Step};

/// Most digits of a chunk size: 64 bits.
const MAX_SIZE: usize = 16;
/// Most bytes of the extensions of one chunk.
const MAX_EXTENSION: usize = 4096;

impl Framing {
    /// Reads what is around the data of chunks.
    pub(super) fn chunk(&mut self, bytes: &[u8]) -> Step {
        use State::*;
        let byte = bytes[0];
        let fault = Err((0, self.fault()));
        let next = match self.state {
            SizeStart | Size if is(byte, HEX) => {
                let digit = u64::from((byte as char).to_digit(16).unwrap_or(0));
                self.count += 1;
                if self.count > MAX_SIZE {
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
                return self.chunk(bytes);
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
            _ => return fault,
        };
        self.state = next;
        Ok(1)
    }

    /// Counts a byte of extensions.
    fn extended(&mut self) -> Result<(), (usize, Fault)> {
        self.count += 1;
        if self.count > MAX_EXTENSION { Err((0, Fault::Body)) } else { Ok(()) }
    }
}
