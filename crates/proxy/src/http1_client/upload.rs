//! A request on its way out: its head, and its body as it comes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, header};
use hyper::body::Body;
use tokio::io::AsyncWrite;

use super::head::{Lead, write_field, write_size};
use crate::body::{BodyFault, UpBody};

/// A buffer for heads that has become larger than this, in bytes, is not kept.
const KEPT: usize = 4096;

/// What is to be written of the present request.
#[derive(Default)]
pub(super) struct Upload {
    /// The head, the size of a chunk, trailers; and how much of it is written.
    lead: Vec<u8>,
    lead_at: usize,
    /// A piece of the body behind it.
    piece: Bytes,
    /// What ends the piece.
    tail: &'static [u8],
    coding: Coding,
    /// `None` when all of it was taken.
    body: Option<UpBody>,
    /// Trailers that the head has announced.
    announced: Vec<HeaderName>,
    /// Something was written.
    touched: bool,
    /// What was written has left the buffers above the socket.
    flushed: bool,
    /// Not all of it could be sent.
    given_up: bool,
}

/// How the body's end is told.
#[derive(Clone, Copy, Debug, Default)]
enum Coding {
    #[default]
    None,
    /// So many bytes are left.
    Length(u64),
    Chunked,
}

/// Why no more of a request can be sent.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The connection failed.
    Io(io::Error),
    /// The body failed.
    Body(BodyFault),
    /// The body has another length than the head says.
    Length,
}

impl Upload {
    /// Takes the next request.
    pub(super) fn begin(&mut self, lead: Lead<'_>, body: UpBody) -> Result<(), UploadError> {
        if self.lead.capacity() > KEPT {
            self.lead = Vec::new();
        }
        self.lead.clear();
        (self.lead_at, self.piece, self.tail) = (0, Bytes::new(), b"");
        (self.touched, self.flushed, self.given_up) = (false, false, false);
        self.announced.clear();
        self.coding = Coding::None;
        self.body = None;
        let head = match lead {
            Lead::Head(head) => {
                head.write(&mut self.lead);
                head
            }
            Lead::Written { bytes, length, .. } => {
                self.lead.extend_from_slice(bytes);
                if !body.is_end_stream() {
                    self.coding = length.map_or(Coding::Chunked, Coding::Length);
                    self.body = Some(body);
                }
                return Ok(());
            }
        };
        if body.is_end_stream() {
            return Ok(());
        }
        self.coding = if head.additions.chunked {
            for line in head.headers.get_all(header::TRAILER) {
                let names = line.as_bytes().split(|&byte| byte == b',');
                self.announced.extend(names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()));
            }
            Coding::Chunked
        } else {
            let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
            let length = lengths.next().and_then(|length| length.to_str().ok()?.parse().ok());
            match (length, lengths.next()) {
                (Some(length), None) => Coding::Length(length),
                _ => return Err(UploadError::Length),
            }
        };
        self.body = Some(body);
        Ok(())
    }

    /// Nothing more is sent.
    pub(super) fn give_up(&mut self) {
        self.body = None;
        (self.piece, self.tail, self.lead_at) = (Bytes::new(), b"", self.lead.len());
        (self.flushed, self.given_up) = (true, true);
    }

    /// Whether it was given up: the connection can carry no other request.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Whether all of the request is sent, or given up.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.is_written() && self.flushed
    }

    /// Whether anything was written.
    pub(super) fn touched(&self) -> bool {
        self.touched
    }

    fn is_written(&self) -> bool {
        self.lead_at == self.lead.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Sends on; ready when the request is sent.
    pub(super) fn poll<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            let mut awaited = false;
            // A first piece that is there goes out together with the head.
            if self.piece.is_empty()
                && self.tail.is_empty()
                && let Some(body) = &mut self.body
            {
                match Pin::new(body).poll_frame(cx) {
                    Poll::Pending => awaited = true,
                    Poll::Ready(None) => self.end(None)?,
                    Poll::Ready(Some(Err(fault))) => return Poll::Ready(Err(UploadError::Body(fault))),
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => self.stage(data)?,
                        Err(frame) => self.end(frame.into_trailers().ok())?,
                    },
                }
            }
            if self.is_written() {
                if self.body.is_some() && !awaited {
                    continue;
                }
                if !self.flushed {
                    ready!(Pin::new(&mut *io).poll_flush(cx)).map_err(UploadError::Io)?;
                    self.flushed = true;
                }
                return if awaited { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
            self.flushed = false;
            let n = ready!(self.poll_write(io, cx)).map_err(UploadError::Io)?;
            if n == 0 {
                return Poll::Ready(Err(UploadError::Io(io::ErrorKind::WriteZero.into())));
            }
            self.touched = true;
            self.advance(n);
        }
    }

    fn poll_write<T: AsyncWrite + Unpin>(&self, io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let lead = &self.lead[self.lead_at..];
        if self.piece.is_empty() && self.tail.is_empty() {
            return Pin::new(io).poll_write(cx, lead);
        }
        let pieces = [IoSlice::new(lead), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
        // An empty first one would be all that a writer without lists writes.
        let pieces = if lead.is_empty() { &pieces[1..] } else { &pieces[..] };
        let pieces = if self.piece.is_empty() && lead.is_empty() { &pieces[1..] } else { pieces };
        Pin::new(io).poll_write_vectored(cx, pieces)
    }

    fn advance(&mut self, mut n: usize) {
        let of_lead = n.min(self.lead.len() - self.lead_at);
        self.lead_at += of_lead;
        n -= of_lead;
        let of_piece = n.min(self.piece.len());
        self.piece.advance(of_piece);
        n -= of_piece;
        self.tail = &self.tail[n.min(self.tail.len())..];
    }

    /// The buffer for what comes next.
    fn lead(&mut self) -> &mut Vec<u8> {
        if self.lead_at == self.lead.len() {
            self.lead.clear();
            self.lead_at = 0;
        }
        &mut self.lead
    }

    fn stage(&mut self, data: Bytes) -> Result<(), UploadError> {
        if data.is_empty() {
            return Ok(());
        }
        let over = self.body.as_ref().is_none_or(Body::is_end_stream);
        match &mut self.coding {
            Coding::None => return Err(UploadError::Length),
            Coding::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(UploadError::Length)?;
                if over && *left > 0 {
                    return Err(UploadError::Length);
                }
            }
            Coding::Chunked => {
                let size = data.len();
                write_size(self.lead(), size);
                self.tail = if over { b"\r\n0\r\n\r\n" } else { b"\r\n" };
            }
        }
        self.piece = data;
        if over {
            self.body = None;
        }
        Ok(())
    }

    /// The body has come to its end.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), UploadError> {
        self.body = None;
        match self.coding {
            Coding::None | Coding::Length(0) => Ok(()),
            Coding::Length(_) => Err(UploadError::Length),
            Coding::Chunked => {
                let announced = std::mem::take(&mut self.announced);
                let lead = self.lead();
                lead.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().flatten() {
                    if announced.contains(name) {
                        write_field(lead, name, value.as_bytes());
                    }
                }
                lead.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}
