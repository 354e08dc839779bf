//! Responses as bytes, for clients of HTTP/1.1 that the proxy serves by itself: with the same fields in the same form as
//! hyper writes them.

use std::cell::RefCell;
use std::io::Write;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Body;
use hyper::ext::ReasonPhrase;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::body::DownBody;
use crate::headers::write_line;

/// Content up to so many bytes is put behind the head; more goes out beside it.
const SHORT: usize = 4096;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// The head says how long it is.
    Length,
    /// In chunks.
    Chunked,
}

/// A response on its way to a client.
pub struct Outgoing {
    /// The head, perhaps with content.
    pub head: Vec<u8>,
    /// All of the content, where it is not in `head`.
    pub content: Bytes,
    /// The content that is still to come.
    pub body: Option<(DownBody, Coding)>,
    /// The connection ends behind it.
    pub closes: bool,
}

/// What decides about the end of a head.
pub struct Ending {
    /// The status.
    pub status: StatusCode,
    /// The request was HEAD.
    pub is_head: bool,
    /// There is a `Date`.
    pub dated: bool,
    /// There is a `Content-Length`.
    pub sized: bool,
    /// The length of the content may be said; else it goes out in chunks.
    pub exact: bool,
}

impl Ending {
    fn may_have_length(&self) -> bool {
        !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    fn may_have_content(&self) -> bool {
        !self.is_head && self.may_have_length()
    }

    /// Writes the end of a head. `length` is that of the content, if known. Gives how the content's end is told, `None` if
    /// none may follow.
    fn write(&self, out: &mut Vec<u8>, length: Option<u64>) -> Option<Coding> {
        let mut coding = Coding::Length;
        if !self.sized {
            match length {
                None if self.may_have_content() => {
                    coding = Coding::Chunked;
                    write_line(out, header::TRANSFER_ENCODING.as_str(), b"chunked");
                }
                None => {}
                Some(0) if self.is_head => {}
                Some(length) if self.may_have_length() => {
                    // Writing into memory does not fail.
                    let _ = write!(out, "content-length: {length}\r\n");
                }
                Some(_) => {}
            }
        }
        if !self.dated {
            write_date(out);
        }
        out.extend_from_slice(b"\r\n");
        self.may_have_content().then_some(coding)
    }
}

impl Outgoing {
    /// A response all of whose content is there.
    pub fn whole(mut head: Vec<u8>, end: &Ending, content: Bytes, closes: bool) -> Outgoing {
        let length = (end.exact || content.is_empty()).then_some(content.len() as u64);
        let coding = end.write(&mut head, length);
        let mut outgoing = Outgoing { head, content: Bytes::new(), body: None, closes };
        match coding {
            None => {}
            Some(Coding::Length) if content.len() <= SHORT => outgoing.head.extend_from_slice(&content),
            Some(Coding::Length) => outgoing.content = content,
            Some(Coding::Chunked) => {
                write_size(&mut outgoing.head, content.len());
                outgoing.head.extend_from_slice(&content);
                outgoing.head.extend_from_slice(b"\r\n0\r\n\r\n");
            }
        }
        outgoing
    }

    /// A response with content to come.
    pub fn streamed(mut head: Vec<u8>, end: &Ending, body: DownBody, closes: bool) -> Outgoing {
        let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        let coding = end.write(&mut head, length);
        let body = coding.filter(|_| !body.is_end_stream()).map(|coding| (body, coding));
        Outgoing { head, content: Bytes::new(), body, closes }
    }
}

/// Appends the size of a chunk.
pub fn write_size(out: &mut Vec<u8>, size: usize) {
    // Writing into memory does not fail.
    let _ = write!(out, "{size:X}\r\n");
}

/// A response that is made of fields. `lasts` is whether the request leaves the connection open.
pub fn encode(response: Response<DownBody>, is_head: bool, lasts: bool) -> Outgoing {
    let (parts, body) = response.into_parts();
    let status = parts.status;
    let mut end = Ending { status, is_head, dated: false, sized: false, exact: true };
    let mut out = Vec::with_capacity(32 + 48 * (parts.headers.len() + 2));
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    match parts.extensions.get::<ReasonPhrase>() {
        Some(reason) => out.extend_from_slice(reason.as_bytes()),
        None => out.extend_from_slice(status.canonical_reason().unwrap_or("<none>").as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
    let (mut closes, empty) = (!lasts, body.is_end_stream());
    for (name, value) in &parts.headers {
        match *name {
            // Without content only a response to HEAD says how much there would be.
            header::CONTENT_LENGTH if empty && !is_head => continue,
            header::CONTENT_LENGTH => end.sized = true,
            header::TRANSFER_ENCODING => continue,
            header::TRAILER if !end.may_have_content() => continue,
            header::DATE => end.dated = true,
            // Below, where the connection ends behind the response; it says nothing else.
            header::CONNECTION => {
                closes |= closes_connection(value);
                continue;
            }
            _ => {}
        }
        write_line(&mut out, name.as_str(), value.as_bytes());
    }
    if closes {
        write_line(&mut out, header::CONNECTION.as_str(), b"close");
    }
    Outgoing::streamed(out, &end, body, closes)
}

fn closes_connection(value: &HeaderValue) -> bool {
    value.as_bytes().split(|&byte| byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Appends `Date` (RFC 9110, 6.6.1), made once a second.
fn write_date(out: &mut Vec<u8>) {
    thread_local! {
        static LAST: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let now = Timestamp::now();
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now.as_second() {
            *second = now.as_second();
            *text = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default();
        }
        if !text.is_empty() {
            write_line(out, header::DATE.as_str(), text.as_bytes());
        }
    });
}
