//! Writes in pieces: a head and a short body go out as one plain send, which costs the kernel less than a list of two does.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// So many bytes are put together rather than listed: what copying them costs is less than what the list does.
const SMALL: usize = 2048;

/// Writes the pieces one after the other, as [`AsyncWrite::poll_write_vectored`] does.
pub fn poll_write<T: AsyncWrite>(
    io: Pin<&mut T>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = pieces {
        return io.poll_write(cx, only);
    }
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    if total > SMALL {
        return io.poll_write_vectored(cx, pieces);
    }
    let mut together = [0; SMALL];
    let mut at = 0;
    for piece in pieces {
        together[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
    }
    io.poll_write(cx, &together[..total])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(flavor = "current_thread")]
    async fn the_bytes_are_the_same_whatever_the_pieces() {
        for lengths in [vec![], vec![5], vec![3, 0, 4], vec![300, 1700, 48], vec![300, 1700, 49], vec![0, 70_000, 1]] {
            let text: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(i, &n)| vec![b'a' + i as u8; n]).collect();
            let pieces: Vec<IoSlice<'_>> = text.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut written = Vec::new();
            let n = poll_fn(|cx| poll_write(Pin::new(&mut written), cx, &pieces)).await.unwrap();
            assert_eq!(written, text.concat(), "{lengths:?}");
            assert_eq!(n, written.len());
        }
    }
}
