//! The lines of a log that is read piece by piece.

/// The longest line that is read, bytes. Servers refuse requests that would make a longer one.
const MAX_LINE: usize = 1 << 20;

/// A line, or the rest of it.
pub(super) enum Line<'a> {
    /// Its bytes, without the end of the line.
    Text(&'a [u8]),
    /// Whether it is longer than [`MAX_LINE`] and was cut.
    TooLong,
}

/// Finds the lines in pieces of a log. Lines are numbered from 1; NULs end a line but do not count as one.
#[derive(Default)]
pub(super) struct Splitter {
    /// Ends of lines so far.
    ends: u64,
    /// The start of a line whose end is in a later piece.
    begun: Vec<u8>,
    too_long: bool,
    /// The last byte was CR: an LF belongs to it.
    after_cr: bool,
    /// This line had text before a NUL.
    torn: bool,
}

impl Splitter {
    /// Takes the next piece, which is not empty. `line` is given each line that ends in it; `progress` the number of lines.
    pub(super) fn split(&mut self, piece: &[u8], line: &mut impl FnMut(u64, Line<'_>), progress: &mut dyn FnMut(u64)) {
        let mut rest = piece;
        if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
            rest = &rest[1..];
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            let (text, by) = (&rest[..end], rest[end]);
            rest = &rest[end + 1..];
            self.end_line(text, by == 0, line);
            if by == 0 {
                continue;
            }
            self.torn = false;
            self.ends += 1;
            if by == b'\r' {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if self.number().is_multiple_of(8192) {
                progress(self.number());
            }
        }
        if !self.too_long && self.begun.len() + rest.len() <= MAX_LINE {
            self.begun.extend_from_slice(rest);
        } else if !rest.is_empty() {
            self.too_long = true;
            self.begun.clear();
        }
    }

    /// The end of the log ends a line.
    pub(super) fn finish(&mut self, line: &mut impl FnMut(u64, Line<'_>)) {
        if self.too_long {
            line(self.number(), Line::TooLong);
        } else if !self.begun.is_empty() {
            line(self.number(), Line::Text(&self.begun));
        }
    }

    fn number(&self) -> u64 {
        self.ends + 1
    }

    /// `text` with the buffered start is a line.
    fn end_line(&mut self, text: &[u8], by_nul: bool, line: &mut impl FnMut(u64, Line<'_>)) {
        let is_empty = text.is_empty() && self.begun.is_empty();
        let fits = !self.too_long && self.begun.len() + text.len() <= MAX_LINE;
        if by_nul && fits && is_empty {
            return;
        }
        let number = self.number();
        if !fits {
            line(number, Line::TooLong);
        } else if is_empty && self.torn {
            // The end of a line that NULs have already ended.
        } else if self.begun.is_empty() {
            line(number, Line::Text(text));
        } else {
            self.begun.extend_from_slice(text);
            line(number, Line::Text(&self.begun));
        }
        (self.torn, self.too_long) = (true, false);
        self.begun.clear();
    }
}
