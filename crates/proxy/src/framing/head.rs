//! What a head says about the body behind it (RFC 9112, 6).

use super::Fault;

/// What the head says about the rest of the message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) http10: bool,
    pub(super) upgrade: bool,
    pub(super) length: Option<u64>,
    lengths_differ: bool,
    lengths: u32,
    pub(super) codings: u32,
    /// The last coding is `chunked`, and it is the only one in its line.
    chunked_last: bool,
    chunked_alone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Other,
    ContentLength,
    TransferEncoding,
    Upgrade,
}

impl Head {
    /// Takes note of a field; `false` if its value is malformed.
    pub(super) fn field(&mut self, field: Field, value: &[u8]) -> bool {
        match field {
            Field::Other => {}
            Field::Upgrade => self.upgrade = !self.http10,
            Field::ContentLength => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let length = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
                // hyper keeps the two largest numbers for itself.
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
    pub(super) fn verdict(&self) -> Result<(), Fault> {
        if self.lengths_differ || self.codings > 0 && (self.http10 || !self.chunked_last) {
            return Err(Fault::Malformed);
        }
        if self.lengths > 1 || self.codings > 1 || self.codings > 0 && (self.lengths > 0 || !self.chunked_alone) {
            return Err(Fault::AmbiguousLength);
        }
        Ok(())
    }
}
