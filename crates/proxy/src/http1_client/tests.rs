//! The client side over sockets in memory. Its fuzz entry holds it against hyper's.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, Method};
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, duplex};
use tokio::task::LocalSet;

use super::*;

const LIMITS: Limits = Limits { header_bytes: 8192, headers: 100 };

/// A server that has said all it says, in pieces of given sizes, and closes behind it.
struct Script {
    pieces: Vec<Vec<u8>>,
    at: usize,
    written: Vec<u8>,
    /// Who waits for it to speak, which it does when it is spoken to.
    waits: Option<Waker>,
}

impl Script {
    fn new(bytes: &[u8], mut size: impl FnMut() -> usize) -> Script {
        let (mut pieces, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(size().clamp(1, rest.len()));
            pieces.push(piece.to_vec());
            rest = more;
        }
        Script { pieces, at: 0, written: Vec::new(), waits: None }
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.written.is_empty() {
            self.waits = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let at = self.at;
        let Some(piece) = self.pieces.get_mut(at) else { return Poll::Ready(Ok(())) };
        if piece.is_empty() {
            // What follows comes later.
            self.at += 1;
            cx.waker().wake_by_ref();
            return if self.at < self.pieces.len() { Poll::Pending } else { Poll::Ready(Ok(())) };
        }
        let n = piece.len().min(buf.remaining());
        buf.put_slice(&piece[..n]);
        piece.drain(..n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(buf);
        if let Some(waits) = self.waits.take() {
            waits.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn on_runtime<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

fn fields<B>(answer: Answer<B>) -> http::Response<B> {
    match answer {
        Answer::Fields(response) => *response,
        Answer::Plain(..) => panic!("not asked for"),
    }
}

fn own(method: &Method, bytes: &[u8], size: impl FnMut() -> usize) -> Result<Whole, Error> {
    on_runtime(fetch(Script::new(bytes, size), method, LIMITS, false))
}

fn get(bytes: &str) -> Result<Whole, Error> {
    let whole = own(&Method::GET, bytes.as_bytes(), || usize::MAX);
    // However it comes.
    let slow = own(&Method::GET, bytes.as_bytes(), || 1);
    match (&whole, &slow) {
        (Ok(a), Ok(b)) if a.complete => assert_eq!(told(a), told(b), "{bytes:?}"),
        // Before a fault more or less of the content may have been given.
        (Ok(a), Ok(b)) => assert!(!b.complete && !a.reusable && !b.reusable, "{bytes:?}"),
        (Err(_), Err(_)) => {}
        _ => panic!("{bytes:?}: {whole:?}, byte by byte {slow:?}"),
    }
    whole
}

type Told = (u16, Vec<(String, Vec<u8>)>, Vec<u8>, bool, Vec<(String, Vec<u8>)>);

fn list(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

/// What does not depend on how the bytes come.
fn told(whole: &Whole) -> Told {
    let trailers = whole.trailers.as_ref().map(list).unwrap_or_default();
    (whole.status.as_u16(), list(&whole.headers), whole.content.clone(), whole.complete, trailers)
}

#[test]
fn the_end_of_content_is_found() {
    let is = |bytes: &str, content: &str, complete: bool, reusable: bool| {
        let whole = get(bytes).unwrap();
        let found = (String::from_utf8_lossy(&whole.content).into_owned(), whole.complete, whole.reusable);
        assert_eq!(found, (content.to_owned(), complete, reusable), "{bytes:?}");
    };
    is("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true, true);
    is("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello", "hello", true, true);
    is("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true, true);
    is("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", "hello", false, false);
    is("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello", "hell", true, false);
    is("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\nhello", "hello", true, false);
    is("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true, false);
    is("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", "hello", true, true);
    is("HTTP/1.1 200 OK\r\n\r\nhello", "hello", true, false);
    is("HTTP/1.1 204 No Content\r\n\r\n", "", true, true);
    is("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "", true, true);
    is("HTTP/1.1 204 No Content\r\n\r\nhello", "", true, false);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    is(&format!("{chunked}5\r\nhello\r\n1;a=\"b c\"\r\n!\r\n0\r\n\r\n"), "hello!", true, true);
    is(&format!("{chunked}5 \r\nhello\r\n0\r\nx: y\r\n\r\n"), "hello", true, true);
    is(&format!("{chunked}5\r\nhello\r\n0\r\n\r\nHTTP/1.1"), "hello", true, false);
    is(&format!("{chunked}5\r\nhello\r\n0\r\n"), "hello", false, false);
    is(&format!("{chunked}5\r\nhello\r\n"), "hello", false, false);
    is("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n.", ".", true, true);
    let head = own(&Method::HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", || 7).unwrap();
    assert!(head.complete && head.reusable && head.content.is_empty());
    assert_eq!(head.headers["content-length"], "5");
}

#[test]
fn trailers_and_interim_responses_are_given() {
    let bytes = "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nx: y\r\nz: 1\r\n\r\n";
    assert_eq!(get(bytes).unwrap().trailers.unwrap()["z"], "1");
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: l\r\n\r\nHTTP/1.1 204 Fine\r\n\r\n";
    let mut seen = Vec::new();
    let reason = on_runtime(async {
        let connection = Connection::new(Script::new(bytes, || 9), LIMITS);
        let (target, headers) = (http::Uri::from_static("/a?b"), HeaderMap::new());
        let head =
            RequestHead { method: &Method::GET, target: &target, headers: &headers, additions: Additions::default() };
        let body = RequestBody::none().attempt();
        let response = connection
            .send(Lead::Head(&head), body, false, |status, fields| seen.push((status.as_u16(), fields.len())))
            .await;
        let response = fields(response.unwrap_or_else(|(error, _)| panic!("{error}")));
        assert_eq!(connection.0.borrow().io.written, b"GET /a?b HTTP/1.1\r\n\r\n");
        response.extensions().get::<hyper::ext::ReasonPhrase>().cloned()
    });
    assert_eq!(seen, [(100, 0), (103, 1)]);
    assert_eq!(reason.unwrap().as_bytes(), b"Fine");
}

#[test]
fn what_is_not_surely_right_is_refused() {
    for head in [
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
    ] {
        let error = get(head).unwrap_err();
        assert!(error.is_parse(), "{head:?}: {error}");
    }
    for broken in [
        "",
        "\r\n",
        "x\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5 x\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "0\r\nx: y\n\r\n",
        "0\r\nx\r\n\r\n",
        "0\r\n x: y\r\n\r\n",
        "0\r\n\n",
    ] {
        let whole = get(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{broken}"));
        assert!(whole.map_or_else(|error| error.is_parse(), |whole| !whole.complete && !whole.reusable), "{broken:?}");
    }
}

#[test]
fn what_is_read_is_bounded() {
    let lines = |n: usize| "a: 0123456789012345678901234567890123456789012345678901234567890123\r\n".repeat(n);
    let with = |fields: String| format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n");
    assert!(get(&with("a: b\r\n".repeat(99))).is_ok());
    assert!(matches!(get(&with("a: b\r\n".repeat(100))), Err(Error::TooLarge)));
    assert!(get(&with(lines(90))).is_ok());
    assert!(matches!(get(&with(format!("{}b: {}\r\n", lines(90), "x".repeat(3000)))), Err(Error::TooLarge)));
    // It has no end, too.
    assert!(matches!(get(&format!("HTTP/1.1 200 OK\r\nb: {}", "x".repeat(9000))), Err(Error::TooLarge)));
    let interim = "HTTP/1.1 103 Hints\r\nlink: 0123456789\r\n\r\n".repeat(300);
    assert!(get(&format!("{interim}HTTP/1.1 204 \r\n\r\n")).is_ok());
    let interim = format!("HTTP/1.1 103 Hints\r\nlink: {}\r\n\r\n", "x".repeat(9000));
    assert!(matches!(get(&format!("{interim}HTTP/1.1 204 \r\n\r\n")), Err(Error::TooLarge)));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let trailers = format!("{chunked}0\r\nb: {}\r\n\r\n", "x".repeat(MOST_TRAILERS));
    let extensions = format!("{chunked}1;{}\r\na\r\n0\r\n\r\n", "x".repeat(5000));
    for bytes in [trailers, extensions] {
        assert!(get(&bytes).map_or(true, |whole| !whole.complete));
    }
}

/// Long content is read in place, in pieces of a bounded size.
#[test]
fn long_content_comes_whole() {
    let content: Vec<u8> = (0..300_000_u32).map(|i| i as u8).collect();
    for (fields, framed) in [
        ("Content-Length: 300000\r\n", content.clone()),
        ("", content.clone()),
        ("Transfer-Encoding: chunked\r\n", {
            let chunks = content.chunks(70_001).map(|c| [format!("{:x}\r\n", c.len()).as_bytes(), c, b"\r\n"].concat());
            [chunks.collect::<Vec<_>>().concat(), b"0\r\n\r\n".to_vec()].concat()
        }),
    ] {
        let bytes = [format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes(), &framed].concat();
        for size in [usize::MAX, 100_000, 4096, 777] {
            let whole = own(&Method::GET, &bytes, || size).unwrap();
            assert!(whole.complete && whole.content == content, "{fields} {size}: {}", whole.content.len());
        }
    }
}

/// A connection serves one request after the other, with long content first, and its silence is seen.
#[test]
fn a_connection_is_used_again() {
    on_runtime(async {
        let (near, mut far) = duplex(1 << 20);
        let connection = Connection::new(near, LIMITS);
        let (target, headers) = (http::Uri::from_static("/"), HeaderMap::new());
        let head =
            RequestHead { method: &Method::GET, target: &target, headers: &headers, additions: Additions::default() };
        for length in [100_000_usize, 70_000, 5, 0, 20_000] {
            assert!(connection.is_open(), "{length}");
            let answer =
                [format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes(), &vec![b'x'; length]]
                    .concat();
            far.write_all(&answer).await.unwrap();
            let sent = connection.send(Lead::Head(&head), RequestBody::none().attempt(), false, |_, _| {}).await;
            let mut body = fields(sent.unwrap_or_else(|(error, _)| panic!("{error}"))).into_body();
            let mut came = 0;
            while !body.is_end_stream() {
                assert!(length < 60_000 || !connection.is_reusable() || came == length, "{length}");
                let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
                let data = frame.into_data().unwrap();
                assert!(data.len() <= PIECE + 1024);
                came += data.len();
            }
            assert_eq!(came, length);
            assert!(connection.is_reusable(), "{length}");
        }
        assert!(connection.is_reusable() && connection.is_open());
        far.write_all(b"H").await.unwrap();
        assert!(!connection.is_open(), "it speaks without being asked");
    });
}

/// A reader's waker is not needed to see that nothing has come.
#[test]
fn an_open_connection_is_pending() {
    let (near, far) = duplex(10);
    let connection = Connection::new(near, LIMITS);
    assert!(connection.is_open());
    drop(far);
    assert!(!connection.is_open());
}
