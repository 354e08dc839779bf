//! Buffers for long content. Large ones cost the fewest calls of the system; but each may wait for a slow client. So all that a
//! thread holds are counted, and above a bound new ones are small.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};

use super::PIECE;

/// Above this many bytes in the buffers of a thread new ones are small.
const MANY: usize = 3 * 1024 * 1024;
/// Bytes of a small buffer.
const SMALL: usize = 48 * 1024;

thread_local! {
    /// Bytes that this thread holds in buffers of long content.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// A buffer that is counted while any part of it is in use.
struct Piece(BytesMut);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // A thread that ends may have dropped its count.
        _ = HELD.try_with(|held| held.set(held.get().saturating_sub(self.0.capacity())));
    }
}

/// The size of the next buffer, in bytes.
pub(super) fn size() -> usize {
    if HELD.get() < MANY { PIECE } else { SMALL }
}

/// Content that was read into a buffer of [`size`].
pub(super) fn content(buffer: BytesMut) -> Bytes {
    HELD.set(HELD.get() + buffer.capacity());
    Bytes::from_owner(Piece(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_small_while_many_bytes_are_held() {
        let mut held = Vec::new();
        while size() == PIECE {
            let mut buffer = BytesMut::with_capacity(size());
            buffer.extend_from_slice(b"content");
            held.push(content(buffer));
            assert!(held.len() <= MANY / PIECE, "no bound");
        }
        assert_eq!(size(), SMALL);
        // A part keeps its whole buffer.
        let part = held[0].slice(2..4);
        held.remove(0);
        assert_eq!((&part[..], size()), (&b"nt"[..], SMALL));
        drop(part);
        assert_eq!(size(), PIECE);
        drop(held);
        assert_eq!(HELD.get(), 0);
    }
}
