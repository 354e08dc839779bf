//! The body of a request, as it is read from the client.

use bytes::Bytes;

use crate::framing::{Found, Framing};
use crate::http1_client::Chunked;
use crate::plain::Content;
use crate::request_stream::Feed;

/// The body that is being read.
pub(super) struct Reading {
    feed: Feed,
    coding: Coding,
    most_trailers: usize,
}

enum Coding {
    /// So many bytes are left.
    Length(u64),
    /// Two readers have to agree, of which one decodes.
    Chunked(Box<(Framing, Chunked)>),
}

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// More is to come.
    On,
    /// It is complete.
    Over,
    /// It is malformed.
    Broken,
}

impl Reading {
    pub(super) fn new(feed: Feed, content: Content, most_trailers: usize) -> Reading {
        let coding = match content {
            Content::Length(length) => Coding::Length(length),
            Content::Chunked => Coding::Chunked(Box::new((Framing::of_chunks(), Chunked::default()))),
        };
        Reading { feed, coding, most_trailers }
    }

    /// The end that is fed.
    pub(super) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Takes what belongs to the body of some bytes: gives how many these are.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (usize, Read) {
        match &mut self.coding {
            Coding::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= n as u64;
                let over = *left == 0;
                self.feed.push(Bytes::copy_from_slice(&bytes[..n]), over);
                (n, if over { Read::Over } else { Read::On })
            }
            Coding::Chunked(readers) => {
                let (framing, chunked) = &mut **readers;
                let mut content = Vec::new();
                let Ok(n) = chunked.decode(bytes, &mut content) else { return (0, Read::Broken) };
                let agreed = framing.feed(&bytes[..n]) == Found::Nothing && framing.is_between() == chunked.is_done();
                let trailers = if chunked.is_done() { chunked.trailers(self.most_trailers) } else { Ok(None) };
                let (true, Ok(trailers)) = (agreed, trailers) else { return (0, Read::Broken) };
                if !content.is_empty() {
                    self.feed.push(Bytes::from(content), chunked.is_done() && trailers.is_none());
                }
                if chunked.is_done() {
                    self.feed.end(trailers);
                    return (n, Read::Over);
                }
                (n, Read::On)
            }
        }
    }
}
