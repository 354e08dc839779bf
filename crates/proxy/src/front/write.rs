//! Responses on their way out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Front, Input};
use crate::body::DownBody;
use crate::coalesced_write;
use crate::encode::{Coding, write_size};

/// Bytes to be written: a head or the size of a chunk, a piece of content, and what ends the piece.
#[derive(Default)]
pub(super) struct Out {
    lead: Vec<u8>,
    at: usize,
    piece: Bytes,
    tail: &'static [u8],
    /// Something was written and not flushed.
    unflushed: bool,
}

impl Out {
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.lead.len() && self.piece.is_empty() && self.tail.is_empty() && !self.unflushed
    }

    fn is_written(&self) -> bool {
        self.at == self.lead.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Takes a head and content behind what is there.
    pub(super) fn take(&mut self, head: Vec<u8>, content: Bytes) {
        if self.at == self.lead.len() {
            (self.lead, self.at) = (head, 0);
        } else {
            self.lead.extend_from_slice(&head);
        }
        self.piece = content;
    }

    /// The buffer for bytes of the connection's own.
    pub(super) fn own(&mut self) -> &mut Vec<u8> {
        if self.at == self.lead.len() {
            self.lead.clear();
            self.at = 0;
        }
        &mut self.lead
    }

    fn advance(&mut self, mut n: usize) {
        let of_lead = n.min(self.lead.len() - self.at);
        self.at += of_lead;
        n -= of_lead;
        let of_piece = n.min(self.piece.len());
        self.piece.advance(of_piece);
        n -= of_piece;
        self.tail = &self.tail[n.min(self.tail.len())..];
    }

    fn poll_write<T: AsyncWrite + Unpin>(&self, io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let parts = [&self.lead[self.at..], &self.piece, self.tail];
        let mut pieces = [IoSlice::new(b""); 3];
        let mut count = 0;
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            pieces[count] = IoSlice::new(part);
            count += 1;
        }
        coalesced_write::poll_write(Pin::new(io), cx, &pieces[..count])
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Front<'_, T> {
    /// Writes what there is, and flushes it.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_written() {
            let written = self.out.poll_write(&mut self.io, cx);
            let n = ready!(self.not_stalled(written, cx))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.unflushed = true;
            self.out.advance(n);
            self.shared.client_io.count_sent(n);
        }
        if self.out.unflushed {
            let flushed = Pin::new(&mut self.io).poll_flush(cx);
            ready!(self.not_stalled(flushed, cx))?;
            self.out.unflushed = false;
            // No buffer is kept for an idle connection.
            (self.out.lead, self.out.at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// What was written, or an error if the client has not read for too long.
    fn not_stalled<V>(&mut self, written: Poll<io::Result<V>>, cx: &mut Context<'_>) -> Poll<io::Result<V>> {
        if written.is_pending() {
            ready!(self.stall.poll(self.shared.timeouts.stall, cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.stall.reset();
        written
    }

    /// Sends a response to its end.
    pub(super) fn poll_send(
        &mut self,
        body: &mut Option<(DownBody, Coding)>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let over = || Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        loop {
            if self.shared.client_io.is_cut() {
                return over();
            }
            // What the server has sent meanwhile goes out together with the head.
            if self.out.piece.is_empty() && self.out.tail.is_empty() && body.is_some() {
                match self.poll_piece(body, cx) {
                    Poll::Ready(staged) => staged?,
                    Poll::Pending => {
                        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
                            return Poll::Ready(Err(error));
                        }
                        match ready!(self.poll_input(cx)) {
                            Input::Read => continue,
                            Input::Gone => return over(),
                        }
                    }
                }
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) if body.is_none() => return Poll::Ready(Ok(())),
                Poll::Ready(written) => written?,
                Poll::Pending => match ready!(self.poll_input(cx)) {
                    Input::Read => {}
                    Input::Gone => return over(),
                },
            }
        }
    }

    /// Takes the next piece of a body.
    fn poll_piece(&mut self, from: &mut Option<(DownBody, Coding)>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((body, coding)) = from else { return Poll::Ready(Ok(())) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        let data = match frame {
            Some(Err(_)) => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            // Trailers go only to clients that ask for them, and those are hyper's.
            Some(Ok(frame)) => frame.into_data().ok(),
            None => None,
        };
        let over = data.is_none() || body.is_end_stream();
        let data = data.unwrap_or_default();
        if *coding == Coding::Chunked {
            if !data.is_empty() {
                write_size(self.out.own(), data.len());
                self.out.tail = if over { b"\r\n0\r\n\r\n" } else { b"\r\n" };
            } else if over {
                self.out.tail = b"0\r\n\r\n";
            }
        }
        self.out.piece = data;
        if over {
            *from = None;
        }
        Poll::Ready(Ok(()))
    }
}
