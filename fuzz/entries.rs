//! Every parser of untrusted bytes, as a function that panics when an invariant is violated. The fuzz targets beside
//! this file and the test suite (`tests/it/fuzz.rs`) call the same functions, so the short run checks what the long run
//! checks.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use evenkeel::config::diagnostic::{self, Diagnostic, Problems};
use evenkeel::config::pool::{PoolTable, RouteTable};
use evenkeel::config::proxy::ProxyConfig;
use evenkeel::policy::routes::{self, Routes};
use evenkeel::proxy::access::{self, Entry, Settings};
use evenkeel::proxy::framing::{Found, Framing};
use evenkeel::proxy::headers::{self, Peer, Trust};
use evenkeel::proxy::http1_client::{Limits, Whole, fetch};
use evenkeel::proxy::plain::{self, Content};
use evenkeel::proxy::termination::Reason;
use evenkeel::proxy::{dns, orca};
use evenkeel::rng::Rng;
use evenkeel::scenario::{Scenario, import, workload_file};
use evenkeel::units::Nanos;
use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Parses bytes, and panics when an invariant is violated.
pub type Run = fn(&[u8]);

/// All entries, by the names of their fuzz targets.
pub const ALL: [(&str, Run); 11] = [
    ("headers", headers),
    ("orca", orca),
    ("access", access),
    ("import", import),
    ("workload", workload),
    ("config", config),
    ("scenario", scenario),
    ("routes", routes),
    ("framing", framing),
    ("http1_client", http1_client),
    ("plain", plain),
];

/// A head from lines `name: value`; lines that cannot be in one are left out.
fn head(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()));
        if let (Ok(name), Ok(value)) = (name, value) {
            // A map holds 32768 fields, and a listener takes far fewer.
            if headers.len() < 1000 {
                headers.append(name, value);
            }
        }
    }
    headers
}

/// A head, processed as the proxy does. The first byte selects the peer.
pub fn headers(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let original = head(rest);
    let trust = Trust::new(["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
    let address: IpAddr = if choice & 1 == 0 { "10.0.0.1" } else { "2a00::1" }.parse().unwrap();
    let (peer, trusted) = (Peer::new(address, 443, (choice & 2 == 0).then_some("TLSv1.3")), choice & 1 == 0);
    let mut headers = original.clone();

    let upgrade = headers::wants_upgrade(&headers);
    headers::strip_hop_by_hop(&mut headers, upgrade);
    for name in ["keep-alive", "proxy-connection", "transfer-encoding", "proxy-authorization", "http2-settings"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(headers.contains_key("connection"), upgrade);
    assert_eq!(headers.contains_key("upgrade"), upgrade);
    assert!(headers.get_all("te").iter().all(|value| value == "trailers"));
    for name in ["host", "content-length", "cookie", "authorization", "x-forwarded-for"] {
        assert_eq!(headers.get(name), original.get(name), "{name}");
    }

    let client = headers::client_ip(&headers, address, &trust);
    assert!(trusted || client == address);
    assert_eq!(headers::forward_claims(&mut headers, &peer, &trust, choice & 4 == 0), client);
    let line = |name: &str| {
        let mut lines = headers.get_all(name).iter();
        let line = lines.next().map(|value| value.as_bytes().to_vec());
        assert!(lines.next().is_none(), "{name}: {headers:?}");
        line
    };
    let chain = line("x-forwarded-for").unwrap();
    assert!(chain.ends_with(address.to_string().as_bytes()));
    assert!(trusted || chain == address.to_string().as_bytes());
    line("x-forwarded-host");
    line("x-forwarded-port").unwrap();
    assert!([b"http".as_slice(), b"https"].contains(&line("x-forwarded-proto").unwrap().as_slice()));
    assert!(trusted || !headers.contains_key("x-real-ip"));

    let mut rng = Rng::stream(1, "fuzz", 0);
    let id = headers::request_id(&mut headers, trusted, &mut rng);
    assert!((1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic));
    let before = headers::times_through(&headers);
    headers::append_via(&mut headers, http::Version::HTTP_11);
    assert_eq!(headers::times_through(&headers), before + 1);
    if let Some(value) = headers::cookie(&headers, "evenkeel") {
        headers::set_cookie("evenkeel", value, Some(1), true);
    }
    headers::strip_trailers(&mut headers);
    assert!(!headers.contains_key("host") && !headers.contains_key("content-length"));
}

/// A load report: what is accepted is finite and within bounds.
pub fn orca(data: &[u8]) {
    if let Ok(report) = orca::parse(data, 1.0) {
        assert!((0.0..=1e9).contains(&report.throughput), "{report:?}");
        assert!((0.0..=100.0).contains(&report.utilisation), "{report:?}");
        assert!((0.0..=1.0).contains(&report.errors), "{report:?}");
        assert!((0.0..=86_400.0).contains(&report.response_time), "{report:?}");
        assert!((0.0..=86_400.0).contains(&report.window), "{report:?}");
    }
}

/// A request with odd fields, logged and read again. Fields are the parts between zero bytes.
pub fn access(data: &[u8]) {
    let mut parts = data.split(|&byte| byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (path, query) = (String::from_utf8_lossy(part()).into_owned(), String::from_utf8_lossy(part()).into_owned());
    let path = format!("/{}", path.replace(['?', '#'], ""));
    let entry = Entry {
        time: jiff::Timestamp::UNIX_EPOCH,
        request_id: "1",
        client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        method: "GET",
        host: part(),
        path: &path,
        query: Some(&query),
        protocol: http::Version::HTTP_11,
        status: Some(200),
        bytes_in: 0,
        bytes_out: 1,
        duration: Nanos(0),
        upstream: None,
        server: None,
        pool: None,
        connect_time: None,
        first_byte_time: None,
        upstream_time: None,
        attempts: 0,
        strategy: "p2c",
        reason: Reason::Ok,
        user_agent: Some(part()),
        referer: Some(part()),
        tls: None,
    };
    for format in [access::Format::Combined, access::Format::Json] {
        let line = Settings { format, query: true, share: 1.0 }.line(&entry);
        let (end, inside) = line.split_last().unwrap();
        assert!(*end == b'\n' && inside.iter().all(|byte| (b' '..=b'~').contains(byte)), "{:?}", line.escape_ascii());
        let imported = import::import(&line, None, false);
        assert_eq!(imported.requests.len(), 1, "{}", line.escape_ascii());
        let encode = |c: char| match c.is_control() {
            true => c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
            false => c.to_string(),
        };
        let encoded: String = path.chars().map(encode).collect();
        assert!(path.len() > 8192 || *imported.paths[0] == encoded, "{}", line.escape_ascii());
    }
}

/// A log: every line is read or accounted for, in the order of arrival, and a replay can read what was imported.
pub fn import(data: &[u8]) {
    let formats = import::CATALOGUE.iter().map(|importer| Some(*importer));
    for format in formats.chain([None]) {
        let imported = import::import(data, format, data.len().is_multiple_of(2));
        let accounted = imported.requests.len() as u64 + imported.malformed + imported.blank + imported.outliers.1;
        assert_eq!(accounted, imported.read);
        if !data.contains(&0) && !data.contains(&b'\r') {
            let breaks = data.iter().filter(|&&byte| byte == b'\n').count();
            let lines = breaks + usize::from(data.last().is_some_and(|&last| last != b'\n'));
            assert_eq!(imported.read, lines as u64);
        }
        assert_eq!(imported.reasons.values().sum::<u64>(), imported.malformed);
        assert!(imported.requests.windows(2).all(|pair| pair[0].arrival <= pair[1].arrival));
        assert!(imported.requests.iter().all(|request| request.arrival >= 0));
        // No part of a request is a control character, and a path is never empty.
        let plain = |text: &str| !text.is_empty() && !text.contains(char::is_control);
        assert!(imported.paths.iter().chain(&imported.clients).all(|text| plain(text)));
        assert!(
            imported.examples.iter().all(|bad| bad.line > 0 && bad.column > 0 && plain(&bad.reason)),
            "{:?}",
            imported.examples
        );
        // Logs that span a century are read here and refused there.
        if !imported.requests.is_empty() && imported.span() < 3e9 {
            let mut text = Vec::new();
            workload_file::write(imported.lines(), &mut text).unwrap();
            let text = std::str::from_utf8(&text).unwrap();
            assert_eq!(workload_file::read(text).unwrap().entries.len(), imported.requests.len());
        }
    }
}

/// A workload file.
pub fn workload(data: &[u8]) {
    if let Ok(recording) = workload_file::read(&String::from_utf8_lossy(data)) {
        assert!(recording.entries.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }
}

/// Every error in a file can be displayed.
fn show(source: &str, problems: Problems) {
    assert!(!problems.is_empty());
    let diagnostic = Diagnostic { file: "fuzz.toml".to_owned(), source: source.to_owned(), problems };
    assert!(!diagnostic.plain().is_empty() && !diagnostic.render(false).is_empty());
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tables {
    #[serde(default)]
    pools: Vec<PoolTable>,
    #[serde(default)]
    routes: Vec<RouteTable>,
}

/// The tables that a scenario and the proxy's configuration share; and a server's address.
pub fn config(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    if let Ok(target) = source.parse::<dns::Target>() {
        assert_eq!(target.to_string().parse::<dns::Target>().unwrap(), target);
    }
    if let Err(problems) = ProxyConfig::parse(&source, &|_| None) {
        show(&source, problems);
    }
    match diagnostic::read::<Tables>(&source) {
        Ok(tables) => {
            let mut problems = Problems::new();
            for pool in &tables.pools {
                pool.servers(&mut problems);
                pool.policy(&source, &mut problems);
            }
            let _ = &tables.routes;
            if !problems.is_empty() {
                show(&source, problems);
            }
        }
        Err(problems) => show(&source, problems),
    }
}

/// A scenario.
pub fn scenario(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    let file = |name: &str| match name {
        "missing" => Err("no such file".to_owned()),
        _ => Ok("arrival,client,path,bytes\n0,10.0.0.1,/,10\n1,10.0.0.2,/a,10\n".to_owned()),
    };
    if let Err(problems) = Scenario::parse("fuzz", &source, &file) {
        show(&source, problems);
    }
}

/// Requests of a connection behind a byte that says in which pieces they come. The pieces make no difference, and a head ends
/// where the parser behind the reader finds its end.
pub fn framing(data: &[u8]) {
    let Some((&size, bytes)) = data.split_first() else { return };
    let read = |size: usize| {
        let mut framing = Framing::new(false);
        let (mut at, mut first) = (0, None);
        while at < bytes.len() {
            let end = bytes.len().min(at + size);
            match framing.feed(&bytes[at..end]) {
                Found::Nothing => at = end,
                Found::Http2 => unreachable!("not where it is not allowed"),
                Found::Fault(sound, fault) => return (Some((at + sound, fault)), framing.heads(), first),
                Found::Undecided(sound) => {
                    at += sound;
                    framing.resume();
                }
            }
            if framing.heads() > 0 {
                first = first.or(Some(at));
            }
        }
        (None, framing.heads(), first)
    };
    let (fault, heads, first) = read(1);
    for size in [usize::from(size) + 1, bytes.len() + 1] {
        assert_eq!((fault, heads), (read(size).0, read(size).1), "in pieces of {size}");
    }
    let mut fields = [httparse::EMPTY_HEADER; 128];
    match httparse::Request::new(&mut fields).parse(bytes) {
        Ok(httparse::Status::Complete(end)) => match first {
            Some(first) => assert_eq!(first, end),
            None => assert!(fault.is_some_and(|(at, _)| at < end), "the end at {end} was not seen"),
        },
        Ok(httparse::Status::Partial) => assert_eq!(first, None),
        Err(_) => {}
    }
}

/// A server that sends these bytes in pieces of a size once it has been sent something, and closes behind them.
struct Says {
    bytes: VecDeque<u8>,
    size: usize,
    asked: bool,
    waits: Option<Waker>,
}

impl AsyncRead for Says {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.asked {
            self.waits = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = self.size.min(buf.remaining()).min(self.bytes.len());
        let now: Vec<u8> = self.bytes.drain(..n).collect();
        buf.put_slice(&now);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Says {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        if let Some(waits) = self.waits.take() {
            waits.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What two readers of a response must agree on: status, fields, content, trailers.
type Read = (u16, HeaderMap, Vec<u8>, Option<HeaderMap>);

/// A response as hyper reads it; `None` if it is refused or does not come to its end.
async fn by_hyper(says: Says, method: &Method, limits: Limits) -> Option<Read> {
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_headers(limits.headers).max_header_size(limits.header_bytes);
    let (mut sender, connection) = builder.handshake(TokioIo::new(says)).await.ok()?;
    let mut request = http::Request::new(Empty::<hyper::body::Bytes>::new());
    *request.method_mut() = method.clone();
    let answer = async {
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?;
        let trailers = body.trailers().cloned();
        Some((head.status.as_u16(), head.headers, body.to_bytes().to_vec(), trailers))
    };
    let (mut answer, mut connection, mut open) = (std::pin::pin!(answer), std::pin::pin!(connection), true);
    std::future::poll_fn(|cx| {
        if open && connection.as_mut().poll(cx).is_ready() {
            open = false;
        }
        answer.as_mut().poll(cx)
    })
    .await
}

/// A server's response, read by the proxy's own client side in pieces of two sizes, and by hyper. The first byte selects the
/// size and the method. What is accepted is the same in pieces of any size, and hyper accepts it, too, as the same.
pub fn http1_client(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let method = if choice >= 224 { Method::HEAD } else { Method::GET };
    let limits = Limits { header_bytes: 8192, headers: 100 };
    let says = |size: usize| Says { bytes: bytes.iter().copied().collect(), size, asked: false, waits: None };
    let read_as = |size: usize, plain: bool| {
        let says = says(size);
        let mut fetched = Box::pin(fetch(says, &method, limits, plain));
        // It never has to wait: what the server says is there when it has been asked.
        let Poll::Ready(fetched) = fetched.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits for nothing")
        };
        fetched.ok().filter(|whole| whole.complete)
    };
    let read = |size: usize| read_as(size, false);
    let told = |whole: Whole| (whole.status.as_u16(), whole.headers, whole.content, whole.trailers);
    let first = read(usize::from(choice) + 1);
    // What comes behind the end, and in a piece of its own, is seen when the connection is to be used again.
    let reusable = |whole: &Option<Whole>| whole.as_ref().is_some_and(|whole| whole.reusable);
    assert!(reusable(&first) || !reusable(&read(usize::MAX)));
    let (ours, again) = (first.map(told), read(usize::MAX).map(told));
    assert_eq!(ours, again, "in pieces");
    is_same_as_it_is_written(read_as(usize::MAX, true), read(usize::MAX), method == Method::HEAD);
    let Some(ours) = ours else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(by_hyper(says(usize::MAX), &method, limits)), Some(ours));
}

/// A response whose head came as it is written for a client has the status, the content and, but for those about the connection
/// and a length that may not be said, the fields of the same response as a map.
fn is_same_as_it_is_written(written: Option<Whole>, map: Option<Whole>, is_head: bool) {
    let Some(Whole { plain: Some(plain), content, reusable, .. }) = written else { return };
    let map = map.expect("it is accepted in both forms");
    assert_eq!((plain.status, &content, reusable), (map.status, &map.content, map.reusable));
    let mut expected = map.headers;
    assert_eq!(plain.dated, expected.contains_key("date"));
    for name in ["connection", "keep-alive", "transfer-encoding"] {
        expected.remove(name);
    }
    if plain.status == 204 || plain.status == 304 && !is_head {
        expected.remove("content-length");
    }
    assert_eq!(plain.sized, expected.contains_key("content-length"));
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut fields);
    let head = [&plain.lines[..], b"\r\n"].concat();
    assert_eq!(response.parse(&head), Ok(httparse::Status::Complete(head.len())));
    assert_eq!(response.code, Some(map.status.as_u16()));
    let mut found = HeaderMap::new();
    for field in response.headers.iter() {
        found.append(
            HeaderName::from_bytes(field.name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(field.value).unwrap(),
        );
    }
    assert_eq!(found, expected);
}

/// A request as its readers must agree on it: method, target, fields, content.
type Asked = (String, String, HeaderMap, Vec<u8>);

/// The first request in some bytes as hyper reads it, and how many it has read with its content.
async fn asked_of_hyper(bytes: &[u8]) -> Option<Asked> {
    let says = Says { bytes: bytes.iter().copied().collect(), size: usize::MAX, asked: true, waits: None };
    let seen = std::cell::RefCell::new(None);
    let service = hyper::service::service_fn(async |request: http::Request<hyper::body::Incoming>| {
        let (head, body) = request.into_parts();
        if let Ok(body) = body.collect().await {
            let body = body.to_bytes().to_vec();
            seen.borrow_mut().get_or_insert((head.method.to_string(), head.uri.to_string(), head.headers, body));
        }
        Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<hyper::body::Bytes>::new()))
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    let _ = builder.half_close(true).serve_connection(TokioIo::new(says), service).await;
    seen.into_inner()
}

/// A request that the proxy's own front takes for plain: [`Framing`] and hyper accept it, too, with the same method, target and
/// fields, and with a body that ends at the same place; and no beginning of it is taken for a whole head.
pub fn plain(data: &[u8]) {
    let limits = plain::Limits { bytes: 4096, fields: 50 };
    let fields = |head: &plain::PlainRequest<'_>| {
        let mut map = HeaderMap::new();
        for (name, value) in head.fields() {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap());
        }
        let mut written = Vec::new();
        head.write(&mut written);
        Some((head.method.to_string(), head.target.to_owned(), map, head.content, written))
    };
    let plain::Found::Plain((method, target, map, content, written), used) = plain::read(data, limits, fields) else {
        return;
    };
    for part in 0..used {
        assert_eq!(plain::read(&data[..part], limits, |_| Some(())), plain::Found::Partial, "the first {part} bytes");
    }
    assert_eq!(map.get_all("host").iter().count(), 1);
    let told: &[u8] = match content {
        Content::Length(length) => &vec![b'x'; usize::try_from(length).unwrap().min(10_000)],
        Content::Chunked => b"3\r\nabc\r\n0\r\n\r\n",
    };
    let is_whole = !matches!(content, Content::Length(10_001..));
    let message = [&data[..used], told].concat();
    let mut framing = Framing::new(true);
    assert_eq!((framing.feed(&message), framing.heads()), (Found::Nothing, 1));
    assert_eq!(framing.is_between(), is_whole);
    // What is sent on has the same fields, but for those about the connection.
    let mut kept = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut kept);
    let written = [&written[..], b"\r\n"].concat();
    assert_eq!(request.parse(&written), Ok(httparse::Status::Complete(written.len())));
    let mut expected = map.clone();
    for name in ["connection", "keep-alive", "transfer-encoding"] {
        expected.remove(name);
    }
    let of_connection = map.len() - expected.len();
    assert_eq!(request.headers.len() + of_connection, map.len());
    assert!(request.headers.iter().all(|field| expected.get_all(field.name).iter().any(|value| value == field.value)));
    if is_whole {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = if content == Content::Chunked { b"abc".to_vec() } else { told.to_vec() };
        assert_eq!(runtime.block_on(asked_of_hyper(&message)), Some((method, target, map, body)));
    }
}

/// Routes, a prefix to a line, and after an empty line a path: the route that matches is the longest prefix of it.
pub fn routes(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (prefixes, path) = text.split_once("\n\n").unwrap_or((&text, "/"));
    let prefixes: Vec<&str> = prefixes.lines().take(100).collect();
    let all = Routes::of_prefixes(prefixes.iter().enumerate().map(|(i, prefix)| ((*prefix).to_owned(), i)));
    let bare = routes::plain(path.split(['?', '#']).next().unwrap_or_default());
    let takes = |prefix: &str| {
        let prefix = routes::plain(prefix);
        let prefix = prefix.trim_end_matches('/');
        bare.strip_prefix(prefix).is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
    };
    let length = |prefix: &str| routes::plain(prefix).trim_end_matches('/').len();
    match all.find(None, path) {
        Some(found) => {
            assert!(takes(prefixes[found]), "{path:?} leads to {:?}", prefixes[found]);
            let longer = prefixes.iter().find(|prefix| takes(prefix) && length(prefix) > length(prefixes[found]));
            assert_eq!(longer, None, "{path:?}");
        }
        None => assert!(!prefixes.iter().any(|prefix| takes(prefix)), "{path:?}"),
    }
}
