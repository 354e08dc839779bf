//! HTTP/2 over raw sockets: stalled streams beside active ones, the server's limits, connections that are opened,
//! shared, refused and closed; and connections of both versions whose request never ends.

#![allow(clippy::disallowed_methods, reason = "hostile clients take their time, and tests measure it")]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::proxy_hostile::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RESET, fields, first_of, frame, http2};
use crate::rig::{Client, LONG, Rig, Script, Visit, eventually};

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const REFUSED_STREAM: u32 = 7;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const H2C: &str = "protocol = \"h2c\"\n";
/// The longest time that a successful request takes.
const SOON: Duration = Duration::from_secs(3);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Request methods by which tests distinguish requests, as indexes of HPACK's static table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Post,
}

/// A stream of which the head, or the end, has come.
#[derive(Clone, Copy, Debug)]
struct Event {
    stream: u32,
    method: Method,
    ended: bool,
    /// Number of the connection.
    connection: usize,
}

/// A scripted HTTP/2 server: the test decides what it does with each stream.
struct Server<'a> {
    visit: &'a mut Visit,
    streams: BTreeMap<u32, Stream>,
    /// What the proxy may still be sent on the connection, and what it allows a new stream.
    window: i64,
    initial: i64,
    /// Whether what it takes of uploads is credited.
    credit: bool,
}

struct Stream {
    method: Method,
    window: i64,
    left: usize,
}

/// What a server has seen over all connections.
#[derive(Default)]
struct Log {
    requests: AtomicUsize,
    sent: AtomicUsize,
    /// Resets: connection, stream, code.
    resets: Mutex<Vec<(usize, u32, u32)>>,
    /// The largest window of a connection, and the window of a stream.
    windows: Mutex<(i64, i64)>,
}

impl Log {
    fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
    fn resets(&self) -> usize {
        self.resets.lock().unwrap().len()
    }
}

fn server(settings: &[(u16, u32)], act: impl Fn(&mut Server<'_>, Event) + Send + Sync + 'static) -> (Script, Arc<Log>) {
    let log = Arc::new(Log::default());
    let (seen, settings) = (Arc::clone(&log), settings.to_vec());
    let script = Script::new(move |visit| {
        let streams = BTreeMap::new();
        let mut server = Server { visit, streams, window: 65_535, initial: 65_535, credit: true };
        server.run(&settings, &seen, &act);
    });
    (script, log)
}

/// Answers GET with two bytes and leaves POST without an answer.
fn get_only(server: &mut Server<'_>, event: Event) {
    if event.method == Method::Get {
        server.answer(event.stream, 2);
    }
}

impl Server<'_> {
    fn run(&mut self, settings: &[(u16, u32)], log: &Log, act: &impl Fn(&mut Server<'_>, Event)) -> Option<()> {
        let connection = self.visit.number;
        self.visit.exactly(24)?;
        let bytes = |(key, value): &(u16, u32)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat();
        self.visit.say(frame(SETTINGS, 0, 0, &settings.iter().flat_map(bytes).collect::<Vec<u8>>()));
        loop {
            let head = self.visit.exactly(9)?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let (kind, flags) = (head[3], head[4]);
            let payload = self.visit.exactly(length)?;
            let number = || u32::from_be_bytes(payload[..4].try_into().unwrap());
            let event = |method| Event { stream, method, ended: flags & END_STREAM != 0, connection };
            match kind {
                SETTINGS if flags & 1 == 0 => {
                    for pair in payload.chunks(6) {
                        if u16::from_be_bytes([pair[0], pair[1]]) == INITIAL_WINDOW_SIZE {
                            self.initial = i64::from(u32::from_be_bytes(pair[2..].try_into().unwrap()));
                        }
                    }
                    log.windows.lock().unwrap().1 = self.initial;
                    self.visit.say(frame(SETTINGS, 1, 0, &[]));
                }
                PING if flags & 1 == 0 => {
                    self.visit.say(frame(PING, 1, 0, &payload));
                }
                WINDOW_UPDATE if stream == 0 => {
                    self.window += i64::from(number());
                    let windows = &mut log.windows.lock().unwrap();
                    windows.0 = windows.0.max(self.window);
                }
                WINDOW_UPDATE => {
                    if let Some(stream) = self.streams.get_mut(&stream) {
                        stream.window += i64::from(number());
                    }
                }
                RESET => {
                    self.streams.remove(&stream);
                    log.resets.lock().unwrap().push((connection, stream, number()));
                }
                HEADERS if !self.streams.contains_key(&stream) => {
                    // The library writes the method first, and these two as an index.
                    let method = match payload[0] {
                        0x82 => Method::Get,
                        0x83 => Method::Post,
                        other => panic!("{other:#x}"),
                    };
                    self.streams.insert(stream, Stream { method, window: self.initial, left: 0 });
                    log.requests.fetch_add(1, SeqCst);
                    act(self, event(method));
                }
                DATA => {
                    if self.credit && length > 0 {
                        let length = (length as u32).to_be_bytes();
                        self.visit.say(
                            [frame(WINDOW_UPDATE, 0, 0, &length), frame(WINDOW_UPDATE, 0, stream, &length)].concat(),
                        );
                    }
                    if let Some(known) = self.streams.get(&stream)
                        && flags & END_STREAM != 0
                    {
                        act(self, event(known.method));
                    }
                }
                _ => {}
            }
            log.sent.fetch_add(self.pump(), SeqCst);
        }
    }

    /// Begins to answer 200 with so many bytes.
    fn answer(&mut self, stream: u32, length: usize) {
        self.visit.say(answer_head(stream, length));
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.left = length;
        }
    }

    fn reset(&mut self, stream: u32, code: u32) {
        self.streams.remove(&stream);
        self.visit.say(frame(RESET, 0, stream, &code.to_be_bytes()));
    }

    /// Sends what the windows allow.
    fn pump(&mut self) -> usize {
        let mut sent = 0;
        for (&number, stream) in &mut self.streams {
            while stream.left > 0 && self.window > 0 && stream.window > 0 {
                let length = stream.left.min(16_384).min(self.window.min(stream.window) as usize);
                stream.left -= length;
                stream.window -= length as i64;
                self.window -= length as i64;
                sent += length;
                let flags = if stream.left == 0 { END_STREAM } else { 0 };
                self.visit.say(frame(DATA, flags, number, &vec![b'x'; length]));
            }
        }
        sent
    }
}

fn answer_head(stream: u32, length: usize) -> Vec<u8> {
    let flags = if length == 0 { END_HEADERS | END_STREAM } else { END_HEADERS };
    // 0x88 is `:status: 200`.
    let block = [&[0x88][..], &fields(&[("content-length", &length.to_string())])].concat();
    frame(HEADERS, flags, stream, &block)
}

fn post(rig: &Rig, length: usize) -> Client {
    let mut client = rig.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    client
}

/// Sends a request on its own connection; returns the answer's status and reason, and fails if it does not come soon.
#[track_caller]
fn get(rig: &Rig) -> (u16, String) {
    let start = Instant::now();
    let mut client = rig.client();
    client.send(GET);
    let verdict = client.answer().verdict();
    assert!(start.elapsed() < SOON, "{verdict:?} after {:?}", start.elapsed());
    verdict
}

fn ok() -> (u16, String) {
    (200, String::new())
}

/// Waits until a count has not changed for a while.
fn settled(count: impl Fn() -> usize) -> usize {
    let mut before = (count(), Instant::now());
    let end = Instant::now() + LONG;
    while before.1.elapsed() < ms(400) {
        let now = count();
        if now != before.0 {
            before = (now, Instant::now());
        }
        assert!(Instant::now() < end, "it goes on");
        sleep(ms(5));
    }
    before.0
}

fn connections_open(rig: &Rig) -> u64 {
    rig.servers().iter().map(|server| server["connections"].as_u64().unwrap()).sum()
}

// ---- Windows ----

/// Answers that clients do not take stop at the window of their own stream, and those of others go on beside them.
#[test]
fn clients_that_do_not_read_leave_the_server_to_others() {
    const READERS: usize = 12;
    const LENGTH: usize = 30_000_000;
    let (script, log) = server(&[], |server, event| {
        let length = if event.method == Method::Get { 2 } else { LENGTH };
        server.answer(event.stream, length);
    });
    let rig = Rig::new("", H2C, &[script.server()]);
    assert_eq!(get(&rig), ok());
    let slow: Vec<Client> = (0..READERS)
        .map(|_| {
            let client = post(&rig, 0);
            SockRef::from(&client.stream).set_recv_buffer_size(4096).unwrap();
            client
        })
        .collect();
    eventually("all of them are asked for", || log.requests() == READERS + 1);
    let sent = settled(|| log.sent.load(SeqCst));
    assert!(sent < READERS * LENGTH / 2, "{sent} bytes: they do read");
    for _ in 0..3 {
        assert_eq!(get(&rig), ok());
    }
    assert_eq!(script.connections(), 1);
    let (connection, stream) = *log.windows.lock().unwrap();
    assert!(connection >= 100 * stream && stream >= 65_536, "{connection} for the connection, {stream} for a stream");
    drop(slow);
    rig.settles();
    eventually("their streams are reset", || log.resets() == READERS);
    assert_eq!(get(&rig), ok());
}

/// The same in front: uploads that a server does not read use up their own windows and not that of their connection.
#[test]
fn uploads_that_no_server_reads_leave_their_connection_to_others() {
    const UPLOADS: u32 = 20;
    let over = Arc::new(AtomicBool::new(false));
    let known = Arc::clone(&over);
    let script = Script::new(move |visit| {
        let _ = SockRef::from(&visit.stream).set_recv_buffer_size(4096);
        while let Some(head) = visit.until(b"\r\n\r\n") {
            if head.starts_with("POST /deaf") {
                while !known.load(SeqCst) {
                    sleep(ms(10));
                }
                return;
            }
            if head.starts_with("POST") {
                visit.until(b"end");
            }
            visit.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = http2(&rig);
    let head = |path| fields(&[(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "a")]);
    let mut windows: BTreeMap<u32, i64> = BTreeMap::new();
    for i in 0..UPLOADS {
        windows.insert(2 * i + 1, 65_535);
        client.send(frame(HEADERS, END_HEADERS, 2 * i + 1, &head("/deaf")));
    }
    let (mut connection, mut initial, mut largest) = (65_535_i64, 65_535_i64, 65_535_i64);
    client.stream.set_read_timeout(Some(ms(20))).unwrap();
    let (mut last, mut unread) = (Instant::now(), Vec::new());
    while last.elapsed() < ms(1000) {
        for (&stream, window) in &mut windows {
            let length = (*window).min(connection).min(16_384);
            if length > 0 {
                client.send(frame(DATA, 0, stream, &vec![b'x'; length as usize]));
                *window -= length;
                connection -= length;
                last = Instant::now();
            }
        }
        let mut buffer = [0; 16_384];
        let n = std::io::Read::read(&mut client.stream, &mut buffer).unwrap_or(0);
        unread.extend_from_slice(&buffer[..n]);
        while unread.len() >= 9 {
            let length = u32::from_be_bytes([0, unread[0], unread[1], unread[2]]) as usize;
            if unread.len() < 9 + length {
                break;
            }
            let stream = u32::from_be_bytes([unread[5], unread[6], unread[7], unread[8]]);
            let (kind, flags, payload) = (unread[3], unread[4], unread[9..9 + length].to_vec());
            unread.drain(..9 + length);
            match kind {
                SETTINGS if flags & 1 == 0 => {
                    for pair in payload.chunks(6) {
                        let value = i64::from(u32::from_be_bytes(pair[2..].try_into().unwrap()));
                        if u16::from_be_bytes([pair[0], pair[1]]) == INITIAL_WINDOW_SIZE {
                            windows.values_mut().for_each(|window| *window += value - initial);
                            initial = value;
                        }
                    }
                    client.send(frame(SETTINGS, 1, 0, &[]));
                }
                WINDOW_UPDATE => {
                    let more = i64::from(u32::from_be_bytes(payload.try_into().unwrap()));
                    if stream == 0 {
                        connection += more;
                        largest = largest.max(connection);
                    } else if let Some(window) = windows.get_mut(&stream) {
                        *window += more;
                    }
                }
                RESET | GOAWAY => panic!("{kind} {payload:?}"),
                _ => {}
            }
        }
    }
    assert!(windows.values().all(|&window| window == 0), "all of them stand: {windows:?}");
    // 128 streams by default. What has been taken is credited when it is a good part of the window.
    assert!(
        largest >= 128 * initial && connection >= (128 - i64::from(UPLOADS)) * initial / 2,
        "{connection}, {largest}"
    );
    assert!(largest <= 8 << 20, "{largest} is what a client may make the proxy hold");
    client.stream.set_read_timeout(Some(SOON)).unwrap();
    client.send(frame(HEADERS, END_HEADERS, 101, &head("/")));
    client.send(frame(DATA, END_STREAM, 101, b"the end"));
    let (kind, _, stream, payload) = first_of(&mut client, &[HEADERS, RESET, GOAWAY]).unwrap();
    assert_eq!((kind, stream, payload[0]), (HEADERS, 101, 0x88));
    over.store(true, SeqCst);
}

/// An upload that the server does not take has used up the window of its connection: requests go by another one.
#[test]
fn an_upload_that_stands_still_does_not_stop_those_of_others() {
    let (script, log) = server(&[], |server, event| {
        server.credit = event.connection > 0;
        if event.ended {
            server.answer(event.stream, 2);
        }
    });
    let rig = Rig::new("", H2C, &[script.server()]);
    let mut stuck = post(&rig, 400_000);
    stuck.send(vec![b'x'; 400_000]);
    eventually("it is asked for", || log.requests() == 1);
    sleep(ms(800));
    for _ in 0..3 {
        let mut client = post(&rig, 3);
        client.stream.set_read_timeout(Some(SOON)).unwrap();
        client.send("abc");
        assert_eq!(client.answer().status, 200);
        assert_eq!(get(&rig), ok());
    }
    assert_eq!(script.connections(), 2);
}

// ---- Streams ----

/// A server that allows few streams is given as many connections as the requests need.
#[test]
fn requests_beyond_the_servers_streams_get_another_connection() {
    let (script, log) = server(&[(MAX_CONCURRENT_STREAMS, 2)], get_only);
    let rig = Rig::new("", H2C, &[script.server()]);
    assert_eq!(get(&rig), ok());
    let _pending: Vec<Client> = (0..5)
        .map(|i| {
            let client = post(&rig, 0);
            eventually("it is asked for", || log.requests() == 2 + i);
            client
        })
        .collect();
    assert_eq!(script.connections(), 3);
    for _ in 0..3 {
        assert_eq!(get(&rig), ok());
    }
    assert_eq!(script.connections(), 3);
}

/// There are 100 connections at most. A request that finds all of their streams taken is rejected at once.
#[test]
fn requests_beyond_all_connections_are_refused() {
    const MOST: usize = evenkeel::proxy::http2_pool::CONNECTIONS;
    let (script, log) = server(&[(MAX_CONCURRENT_STREAMS, 1)], get_only);
    let rig = Rig::new("", H2C, &[script.server()]);
    let mut pending: Vec<Client> = (0..MOST).map(|_| post(&rig, 0)).collect();
    eventually("all of them are asked for", || log.requests() == MOST);
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(get(&rig), (503, "no_stream".to_owned()));
        assert!(start.elapsed() < ms(500));
    }
    assert_eq!(script.connections(), MOST);
    pending.pop();
    eventually("a stream is free again", || get(&rig) == ok());
    assert_eq!(script.connections(), MOST);
}

/// A server that allows no stream at all serves nothing, and says so soon.
#[test]
fn a_server_that_allows_no_stream_fails_requests_at_once() {
    let (script, _log) = server(&[(MAX_CONCURRENT_STREAMS, 0)], |_, _| {});
    let rig = Rig::new("", H2C, &[script.server()]);
    for _ in 0..3 {
        let verdict = get(&rig);
        assert!(matches!(verdict.0, 502 | 503), "{verdict:?}");
    }
    assert!(script.connections() <= 6, "{}", script.connections());
    eventually("its connections are closed", || script.closed() == script.connections());
}

/// A server that refuses streams without a limit in its settings: the refused request goes by another connection, and the
/// first one is not asked for more until one of its streams is over.
#[test]
fn a_refused_stream_goes_by_another_connection() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let (script, log) = server(&[], move |server, event| {
        let posts = server.streams.values().filter(|stream| stream.method == Method::Post).count();
        if posts == 2 && event.connection == 0 && event.method == Method::Get {
            count.fetch_add(1, SeqCst);
            return server.reset(event.stream, REFUSED_STREAM);
        }
        get_only(server, event);
    });
    let rig = Rig::new("", H2C, &[script.server()]);
    let mut pending = vec![post(&rig, 0)];
    eventually("it is asked for", || log.requests() == 1);
    pending.push(post(&rig, 0));
    eventually("it is asked for", || log.requests() == 2);
    for _ in 0..5 {
        assert_eq!(get(&rig), ok());
    }
    assert_eq!((script.connections(), refused.load(SeqCst)), (2, 1));
    pending.pop();
    eventually("its stream is reset", || log.resets() == 1);
    for _ in 0..5 {
        assert_eq!(get(&rig), ok());
    }
    assert_eq!((script.connections(), refused.load(SeqCst)), (2, 1));
}

/// The answer is over and the server takes no more of the upload: the stream is reset, and its place is free again.
#[test]
fn a_stream_whose_upload_is_not_taken_is_let_go() {
    for length in [100_000, 3_000_000] {
        let (script, log) = server(&[(MAX_CONCURRENT_STREAMS, 1)], |server, event| {
            server.credit = false;
            if !event.ended || event.method == Method::Get {
                server.answer(event.stream, 2);
            }
        });
        let rig = Rig::new("[timeouts]\nupstream_keep_alive = \"300ms\"", H2C, &[script.server()]);
        let mut client = post(&rig, length);
        let mut sender = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            let _ = sender.write_all(&vec![b'x'; length]);
        });
        assert_eq!(client.answer().status, 200, "{length}");
        let sent = Instant::now();
        eventually("its stream is reset", || log.resets() == 1);
        assert!(sent.elapsed() < SOON);
        sending.join().unwrap();
        assert_eq!(get(&rig), ok(), "{length}");
        rig.settles();
        eventually("no connection is left", || connections_open(&rig) == 0);
    }
}

// ---- Dials ----

/// Requests that come before the first connection is there share it.
#[test]
fn first_requests_share_one_dial() {
    const REQUESTS: usize = 60;
    for (limit, connections) in [(100, 1), (10, 6)] {
        // The answers come when all requests have: none of them can have had the place of another.
        let heard = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        let (script, _log) = server(&[(MAX_CONCURRENT_STREAMS, limit)], move |server, event| {
            let mut stream = server.visit.stream.try_clone().unwrap();
            let count = Arc::clone(&count);
            count.fetch_add(1, SeqCst);
            std::thread::spawn(move || {
                let end = Instant::now() + LONG;
                while count.load(SeqCst) < REQUESTS && Instant::now() < end {
                    sleep(ms(5));
                }
                let _ = stream.write_all(&answer_head(event.stream, 0));
            });
        });
        let rig = Rig::new("", H2C, &[script.server()]);
        let mut clients: Vec<Client> = (0..REQUESTS).map(|_| rig.client()).collect();
        clients.iter_mut().for_each(|client| client.send(GET));
        for client in &mut clients {
            assert_eq!(client.answer().status, 200);
        }
        assert_eq!(script.connections(), connections, "with {limit} streams each");
        assert_eq!(heard.load(SeqCst), REQUESTS);
    }
}

/// A failed dial fails all requests that wait for it at once, and the next request dials again.
#[test]
fn a_dial_that_fails_fails_all_that_wait_for_it() {
    let (script, _log) = server(&[], get_only);
    let closing = Script::new(|visit| {
        visit.exactly(24);
        sleep(ms(100));
    });
    let silent = Script::new(Visit::wait_for_end);
    let refused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    drop(script);
    for (server, statuses) in [(refused, [502, 502]), (closing.server(), [502, 502]), (silent.server(), [504, 504])] {
        let rig = Rig::new(
            "[timeouts]\nconnect = \"300ms\"\nresponse_header = \"600ms\"",
            H2C,
            std::slice::from_ref(&server),
        );
        for _ in 0..2 {
            let start = Instant::now();
            let mut clients: Vec<Client> = (0..30).map(|_| rig.client()).collect();
            clients.iter_mut().for_each(|client| client.send(GET));
            for client in &mut clients {
                let answer = client.answer();
                assert!(statuses.contains(&answer.status), "{server}: {:?}", answer.verdict());
            }
            assert!(start.elapsed() < SOON, "{server}: {:?}", start.elapsed());
        }
        rig.settles();
    }
    assert!(closing.connections() <= 6, "{}", closing.connections());
    assert!(silent.connections() <= 6, "{}", silent.connections());
    eventually("no connection is left", || silent.closed() == silent.connections());
}

/// The request that dials goes away: those that wait for the connection get it all the same.
#[test]
fn a_dial_outlives_the_client_that_began_it() {
    let slow = Arc::new(AtomicBool::new(true));
    let known = Arc::clone(&slow);
    let script = Script::new(move |visit| {
        while known.load(SeqCst) {
            sleep(ms(5));
        }
        let streams = BTreeMap::new();
        let mut server = Server { visit, streams, window: 65_535, initial: 65_535, credit: true };
        server.run(&[], &Log::default(), &get_only);
    });
    let rig = Rig::new("[timeouts]\nconnect = \"5s\"", H2C, &[script.server()]);
    let mut first = rig.client();
    first.send(GET);
    eventually("it dials", || script.connections() == 1);
    let mut others: Vec<Client> = (0..5).map(|_| rig.client()).collect();
    others.iter_mut().for_each(|client| client.send(GET));
    eventually("they wait", || rig.in_flight() == 6);
    drop(first);
    eventually("it is gone", || rig.in_flight() == 5);
    slow.store(false, SeqCst);
    for client in &mut others {
        assert_eq!(client.answer().status, 200);
    }
    assert!(script.connections() <= 2, "{}", script.connections());
}

// ---- The end of connections ----

/// `upstream_keep_alive` closes connections without a stream, and no others.
#[test]
fn idle_http2_connections_are_closed() {
    let (script, log) = server(&[], get_only);
    let rig = Rig::new("[timeouts]\nupstream_keep_alive = \"300ms\"", H2C, &[script.server()]);
    let pending = post(&rig, 0);
    eventually("it is asked for", || log.requests() == 1);
    sleep(ms(1600));
    assert_eq!((script.closed(), get(&rig)), (0, ok()));
    assert_eq!(script.connections(), 1);
    drop(pending);
    let start = Instant::now();
    eventually("it is closed", || script.closed() == 1);
    assert!(start.elapsed() < SOON && connections_open(&rig) == 0);
    assert_eq!(get(&rig), ok());
    assert_eq!(script.connections(), 2);
}

/// `idle_connections` counts those of HTTP/2, too.
#[test]
fn surplus_idle_http2_connections_are_closed() {
    for (most, kept) in [(0, 0), (1, 1), (5, 3)] {
        let (script, log) = server(&[(MAX_CONCURRENT_STREAMS, 1)], get_only);
        let rig = Rig::new(&format!("[limits]\nidle_connections = {most}"), H2C, &[script.server()]);
        let pending: Vec<Client> = (0..3).map(|_| post(&rig, 0)).collect();
        eventually("all of them are asked for", || log.requests() == 3);
        assert_eq!(script.connections(), 3);
        drop(pending);
        eventually("surplus ones are closed", || script.closed() == 3 - kept);
        rig.settles();
        sleep(ms(100));
        assert_eq!(connections_open(&rig), kept as u64);
    }
}

/// A connection after GOAWAY gets no new requests, and its open streams are finished.
#[test]
fn a_connection_that_says_goodbye_ends_its_streams() {
    let (script, log) = server(&[], |server, event| {
        if event.connection > 0 || event.method == Method::Get {
            return server.answer(event.stream, 2);
        }
        let last = event.stream.to_be_bytes();
        server.visit.say(frame(GOAWAY, 0, 0, &[&last[..], &[0; 4]].concat()));
        let mut stream = server.visit.stream.try_clone().unwrap();
        std::thread::spawn(move || {
            sleep(ms(600));
            let _ = stream.write_all(&answer_head(event.stream, 0));
        });
    });
    let rig = Rig::new("", H2C, &[script.server()]);
    assert_eq!(get(&rig), ok());
    let mut last = post(&rig, 0);
    eventually("it is asked for", || log.requests() == 2);
    sleep(ms(50));
    for _ in 0..3 {
        let mut client = post(&rig, 3);
        client.send("abc");
        assert_eq!(client.answer().status, 200, "not even sent: it may go again");
        assert_eq!(get(&rig), ok());
    }
    assert_eq!(script.connections(), 2);
    assert_eq!(last.answer().status, 200);
    eventually("it is closed", || script.closed() == 1);
    assert_eq!(connections_open(&rig), 1);
}

/// A server that answers without reading the upload and leaves its connection open: the proxy closes it.
#[test]
fn connections_with_an_unfinished_request_are_closed() {
    const CLIENTS: usize = 4;
    for length in [100, 60_000, 300_000, 3_000_000, 8_000_000] {
        let over = Arc::new(AtomicBool::new(false));
        let known = Arc::clone(&over);
        // No answer before all connections are there: each serves one request.
        let all = std::sync::Barrier::new(CLIENTS);
        let script = Script::new(move |visit| {
            let _ = SockRef::from(&visit.stream).set_recv_buffer_size(4096);
            visit.until(b"\r\n\r\n");
            all.wait();
            visit.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            while !known.load(SeqCst) {
                sleep(ms(10));
            }
        });
        let rig = Rig::new("[timeouts]\nupstream_keep_alive = \"300ms\"", "", &[script.server()]);
        let uploads: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let client = post(&rig, length);
                let mut sender = client.stream.try_clone().unwrap();
                let sending = std::thread::spawn(move || {
                    let _ = sender.write_all(&vec![b'x'; length]);
                });
                (client, sending)
            })
            .collect();
        for (mut client, sending) in uploads {
            assert_eq!(client.answer().status, 200, "{length}");
            drop(client);
            sending.join().unwrap();
        }
        let start = Instant::now();
        eventually("no connection is left", || connections_open(&rig) == 0);
        assert!(start.elapsed() < SOON, "{length}: {:?}", start.elapsed());
        rig.settles();
        over.store(true, SeqCst);
    }
}

/// A request that is given up, by its client or by a time-out, takes its connection with it, whatever the server does.
#[test]
fn connections_of_requests_that_are_given_up_are_closed() {
    for (head, what) in [("", "no answer"), ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", "a part of an answer")] {
        for leaves in [true, false] {
            let over = Arc::new(AtomicBool::new(false));
            let known = Arc::clone(&over);
            let script = Script::new(move |visit| {
                let _ = SockRef::from(&visit.stream).set_recv_buffer_size(4096);
                visit.until(b"\r\n\r\n");
                visit.say(head);
                while !known.load(SeqCst) {
                    sleep(ms(10));
                }
            });
            let top = "[timeouts]\nresponse_header = \"500ms\"\nidle = \"500ms\"\nbody = \"500ms\"";
            let rig = Rig::new(top, "", &[script.server()]);
            let mut client = post(&rig, 6_000_000);
            let mut sender = client.stream.try_clone().unwrap();
            let sending = std::thread::spawn(move || {
                let _ = sender.write_all(&vec![b'x'; 6_000_000]);
            });
            eventually("it is asked for", || script.got().contains("\r\n\r\n"));
            if leaves {
                client.stream.shutdown(std::net::Shutdown::Both).unwrap();
            } else {
                let _ = client.try_answer(false);
            }
            let start = Instant::now();
            eventually("no connection is left", || connections_open(&rig) == 0);
            assert!(start.elapsed() < SOON, "{what}, {leaves}: {:?}", start.elapsed());
            rig.settles();
            drop(client);
            sending.join().unwrap();
            over.store(true, SeqCst);
        }
    }
}

/// An idle connection is closed even if its server does not read: its socket is full, and no GOAWAY can be written.
#[test]
fn an_h2c_server_that_stops_reading_is_let_go() {
    const LENGTH: usize = 20_000_000;
    let over = Arc::new(AtomicBool::new(false));
    let known = Arc::clone(&over);
    let script = Script::new(move |visit| {
        let _ = SockRef::from(&visit.stream).set_recv_buffer_size(4096);
        visit.exactly(24);
        let all = 0x7fff_ffff_u32;
        let window = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &all.to_be_bytes()].concat();
        visit.say(frame(SETTINGS, 0, 0, &window));
        visit.say(frame(WINDOW_UPDATE, 0, 0, &(all - 65_535).to_be_bytes()));
        while !known.load(SeqCst) {
            sleep(ms(10));
        }
    });
    let rig =
        Rig::new("[timeouts]\nupstream_keep_alive = \"200ms\"\nresponse_header = \"1s\"", H2C, &[script.server()]);
    let mut client = post(&rig, LENGTH);
    let sent = Arc::new(AtomicUsize::new(0));
    let (mut sender, count) = (client.stream.try_clone().unwrap(), Arc::clone(&sent));
    let sending = std::thread::spawn(move || {
        while count.load(SeqCst) < LENGTH && sender.write_all(&[b'x'; 10_000]).is_ok() {
            count.fetch_add(10_000, SeqCst);
        }
    });
    let sent = settled(|| sent.load(SeqCst));
    assert!((1..LENGTH).contains(&sent), "{sent} bytes");
    assert_eq!(client.answer().verdict(), (504, "first_byte_timeout".to_owned()));
    rig.settles();
    assert_eq!(connections_open(&rig), 1, "its socket is full");
    eventually("no connection is left", || connections_open(&rig) == 0);
    over.store(true, SeqCst);
    drop(client);
    sending.join().unwrap();
}
