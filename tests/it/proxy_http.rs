//! Normal HTTP through the proxy: what is forwarded, what is added, what streams, and what is retried.

#![allow(clippy::disallowed_methods, reason = "hostile clients take their time, and tests measure it")]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel::testbed::Backend;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::rig::{Rig, Script, backends, echoed, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn echo(rig: &Rig, fields: &str) -> serde_json::Value {
    let mut client = rig.client();
    client.send(format!("GET /p?q=1 HTTP/1.1\r\nHost: a.example\r\nX-Echo: 1\r\n{fields}\r\n"));
    client.answer().echo()
}

#[test]
fn servers_are_told_who_asked() {
    let (_servers, addresses) = backends(1);
    let rig = Rig::new("[headers]\nforwarded = true", "", &addresses);
    let told =
        echo(&rig, "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Request-Id: mine\r\nVia: 1.0 edge\r\n");
    assert_eq!(told["target"], "/p?q=1");
    assert_eq!(echoed(&told, "host"), ["a.example"]);
    assert_eq!(echoed(&told, "via"), ["1.0 edge, 1.1 evenkeel"]);
    assert_eq!(echoed(&told, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echoed(&told, "x-forwarded-proto"), ["http"]);
    assert_eq!(echoed(&told, "x-forwarded-host"), ["a.example"]);
    assert_eq!(echoed(&told, "forwarded"), ["for=127.0.0.1;host=a.example;proto=http"]);
    assert_eq!(echoed(&told, "x-request-id")[0].len(), 32, "a stranger's name for it is replaced");

    let rig = Rig::new("trusted_proxies = [\"127.0.0.0/8\"]\n[headers]\nforwarded = true", "", &addresses);
    let told = echo(
        &rig,
        "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Request-Id: mine\r\nX-Forwarded-Proto: https\r\n",
    );
    assert_eq!(echoed(&told, "x-forwarded-for"), ["6.6.6.6, 127.0.0.1"]);
    assert_eq!(echoed(&told, "x-forwarded-proto"), ["https"]);
    assert_eq!(echoed(&told, "x-request-id"), ["mine"]);
    assert_eq!(echoed(&told, "forwarded"), ["for=6.6.6.6, for=127.0.0.1;host=a.example;proto=http"]);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.header("x-request-id"), answer.header("via")), ("mine".to_owned(), "1.1 evenkeel".to_owned()));
}

#[test]
fn connections_are_kept_on_both_sides() {
    let (servers, addresses) = backends(1);
    let rig = Rig::new("", "", &addresses);
    let mut client = rig.client();
    for i in 0..30 {
        match i % 3 {
            0 => {
                client.send("HEAD /?bytes=100 HTTP/1.1\r\nHost: a\r\n\r\n");
                let answer = client.try_answer(true).unwrap();
                assert_eq!((answer.status, answer.header("content-length").as_str()), (200, "100"));
            }
            1 => {
                client.send("GET /?bytes=100 HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_eq!(client.answer().body.len(), 100);
            }
            _ => {
                client.send("POST /?bytes=70000&chunked=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
                let answer = client.answer();
                assert_eq!((answer.body.len(), answer.header("transfer-encoding").as_str()), (70_000, "chunked"));
            }
        }
    }
    assert_eq!(servers[0].counters().connections, 1);
    rig.settles();
}

/// No chunks and no interim answers for HTTP/1.0, a Host for the server that the client has not named, and keep-alive only
/// where it is asked for.
#[test]
fn clients_of_http_1_0() {
    let script = Script::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    let rig = Rig::new("", "", &[script.server()]);
    let text = rig.talk("GET /x HTTP/1.0\r\n\r\n");
    assert!(text.starts_with("HTTP/1.0 200 OK\r\n") && text.ends_with("\r\n\r\nok"), "{text:?}");
    assert!(!text.contains("transfer-encoding") && !text.contains("103"), "{text:?}");
    let got = script.got();
    assert!(got.starts_with("GET /x HTTP/1.1\r\n") && got.contains(&format!("host: {}\r\n", script.address)), "{got}");
    let (_servers, addresses) = backends(1);
    let rig = Rig::new("", "", &addresses);
    let mut client = rig.client();
    for _ in 0..2 {
        client.send("GET /?bytes=5 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.body.len(), answer.version.as_str()), (5, "HTTP/1.0"));
    }
}

#[test]
fn trailers_pass_both_ways_but_not_all_of_them() {
    let (_servers, addresses) = backends(1);
    let rig = Rig::new("", "", &addresses);
    let mut client = rig.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nX-Echo: 1\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum, x-forwarded-for, authorization\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Sum: 7\r\nX-Forwarded-For: 6.6.6.6\r\nAuthorization: root\r\n\r\n",
    );
    let told = client.answer().echo();
    assert_eq!(told["trailers"], serde_json::json!([["x-sum", "7"]]));
    client.send("GET /?bytes=10&trailers=1 HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.body.len(), answer.trailers), (10, vec![("x-bytes".to_owned(), "10".to_owned())]));
}

#[test]
fn early_hints_reach_the_client_first() {
    const HINT: &str =
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n";
    for apart in [false, true] {
        let (tell, told) = mpsc::channel::<()>();
        let told = Mutex::new(told);
        let script = Script::new(move |visit| {
            while visit.request().is_some() {
                if apart {
                    visit.say(HINT);
                    told.lock().unwrap().recv().unwrap();
                    visit.say(OK);
                } else {
                    visit.say(format!("HTTP/1.1 100 Continue\r\n\r\n{HINT}{OK}"));
                }
            }
        });
        let rig = Rig::new("", "", &[script.server()]);
        let mut client = rig.client();
        for _ in 0..3 {
            client.send(GET);
            let hint = client.head().unwrap();
            assert_eq!((hint.status, hint.header("link").as_str()), (103, "</a.css>; rel=preload"));
            assert_eq!((hint.header("x-hop"), hint.header("connection")), (String::new(), String::new()));
            if apart {
                tell.send(()).unwrap();
            }
            assert_eq!(client.answer().text(), "ok");
        }
    }
}

/// The hint for the second of two pipelined requests does not land in the first one's answer, of which the client has not
/// read much.
#[test]
fn hints_do_not_overtake() {
    const BIG: usize = 8_000_000;
    let script = Script::new(|visit| {
        while let Some(request) = visit.request() {
            if request.starts_with("GET /big ") {
                visit.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {BIG}\r\n\r\n"));
                visit.say(vec![b'x'; BIG]);
            } else {
                visit.say(format!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{OK}"));
            }
        }
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send(format!("GET /big HTTP/1.1\r\nHost: a\r\n\r\n{GET}"));
    std::thread::sleep(Duration::from_millis(100));
    let big = client.answer();
    assert!(big.body.len() == BIG && big.body.iter().all(|&b| b == b'x'));
    let mut next = client.answer();
    if next.status == 103 {
        next = client.answer();
    }
    assert_eq!(next.text(), "ok");
}

/// Each event is there before the next is written.
#[test]
fn events_are_flushed_at_once() {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let script = Script::new(move |visit| {
        visit.request();
        visit.say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
        for i in 0..5 {
            visit.say(format!("data: {i}\n\n"));
            told.lock().unwrap().recv().unwrap();
        }
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send(GET);
    let head = client.head().unwrap();
    assert_eq!(head.header("transfer-encoding"), "chunked");
    for i in 0..5 {
        assert_eq!(client.exactly(14), format!("9\r\ndata: {i}\n\n\r\n").into_bytes());
        tell.send(()).unwrap();
    }
    assert_eq!(client.exactly(5), b"0\r\n\r\n");
}

#[test]
fn upgrades_become_tunnels() {
    let (_servers, addresses) = backends(1);
    let rig = Rig::new("", "", &addresses);
    let mut client = rig.client();
    // Bytes behind the head belong to the tunnel.
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst");
    let head = client.head().unwrap();
    assert_eq!(
        (head.status, head.header("upgrade").as_str(), head.header("connection").as_str()),
        (101, "websocket", "upgrade")
    );
    assert_eq!(client.exactly(5), b"first");
    let block: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut sender = client.stream.try_clone().unwrap();
    let sent = block.clone();
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &sent).unwrap());
    assert!(client.exactly(block.len()) == block);
    sending.join().unwrap();
    assert_eq!(rig.in_flight(), 1);
    client.shut();
    assert!(client.is_over());
    rig.settles();
    // A server that declines leaves HTTP as it was.
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.answer().text(), "ok");
    client.send(GET);
    assert_eq!(client.answer().text(), "ok");
    assert!(script.got().contains("upgrade: websocket\r\n"));
}

/// Back-pressure in both directions: a side that does not read stops the writer, with no more data under way than
/// sockets and a few buffers hold.
#[test]
fn back_pressure_reaches_the_other_side() {
    /// Above what the kernel may hold in four socket buffers on loopback.
    const MOST: u64 = 48 << 20;
    fn still(count: &AtomicU64) -> u64 {
        let mut before = u64::MAX;
        loop {
            std::thread::sleep(Duration::from_millis(250));
            let now = count.load(Ordering::Relaxed);
            if now == before && now > 0 {
                return now;
            }
            assert!(now < MOST, "{now} bytes are under way and no one reads");
            before = now;
        }
    }
    let given = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&given);
    let script = Script::new(move |visit| {
        visit.request();
        visit.say("HTTP/1.1 200 OK\r\n\r\n");
        while visit.say([b'x'; 16_384]) {
            count.fetch_add(16_384, Ordering::Relaxed);
        }
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send(GET);
    still(&given);
    drop(client);
    eventually("the server's connection is closed", || script.closed() == 1);

    let deaf = Script::new(|visit| {
        visit.until(b"\r\n\r\n");
        std::thread::sleep(Duration::from_secs(3));
    });
    let rig = Rig::new("", "", &[deaf.server()]);
    let taken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&taken);
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        while std::io::Write::write_all(&mut sender, &[b'x'; 16_384]).is_ok() {
            count.fetch_add(16_384, Ordering::Relaxed);
        }
    });
    still(&taken);
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    sending.join().unwrap();
    rig.settles();
}

#[test]
fn large_uploads_arrive_whole() {
    use sha2::{Digest, Sha256};
    let (_servers, addresses) = backends(1);
    let rig = Rig::new("", "", &addresses);
    let body: Vec<u8> = (0..5_000_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let hash: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    // A GET may have one, too.
    for method in ["POST", "PUT", "GET"] {
        for chunked in [false, true] {
            let mut client = rig.client();
            let framing = if chunked {
                "Transfer-Encoding: chunked".to_owned()
            } else {
                format!("Content-Length: {}", body.len())
            };
            client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nX-Echo: 1\r\n{framing}\r\n\r\n"));
            if chunked {
                for piece in body.chunks(99_991) {
                    client.send(format!("{:x}\r\n", piece.len()));
                    client.send(piece);
                    client.send("\r\n");
                }
                client.send("0\r\n\r\n");
            } else {
                client.send(&body);
            }
            let told = client.answer().echo();
            assert_eq!(told["body"]["length"], body.len(), "{method} {chunked}");
            assert_eq!(told["body"]["sha256"], hash.as_str(), "{method} {chunked}");
        }
    }
}

#[test]
fn a_client_that_goes_away_lets_the_server_go() {
    let script = Script::new(|visit| {
        visit.request();
        if visit.number > 0 {
            visit.say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc");
        }
        visit.wait_for_end();
    });
    let rig = Rig::new("", "", &[script.server()]);
    // Before the answer, and in the middle of it.
    let mut client = rig.client();
    client.send(GET);
    eventually("it is at the server", || script.connections() == 1 && rig.in_flight() == 1);
    drop(client);
    eventually("the server sees a close", || script.closed() == 1);
    rig.settles();
    let mut client = rig.client();
    client.send(GET);
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(rig.in_flight(), 1);
    drop(client);
    eventually("the server sees a close", || script.closed() == 2);
    rig.settles();
}

/// A server that takes the request and closes without an answer.
fn closing() -> Script {
    Script::new(|visit| {
        visit.request();
    })
}

#[test]
fn what_may_be_sent_again_is_sent_again() {
    const RETRIES: &str = "[pools.retries]\nmax_retries = 3\non = [\"connect\", \"reset\"]\n";
    let ask = |rig: &Rig, head: &str, body: &str| {
        let mut client = rig.client();
        client.send(format!("{head} / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        let answer = client.answer();
        (answer.status, answer.header("x-evenkeel-reason"))
    };
    let reset = (502, "upstream_reset".to_owned());
    let (bad, good) = (closing(), Script::answering(OK));
    let rig = Rig::new("", RETRIES, &[bad.server(), good.server()]);
    for _ in 0..4 {
        assert_eq!(ask(&rig, "GET", ""), (200, String::new()));
        assert_eq!(ask(&rig, "PUT", "abc"), (200, String::new()), "idempotent, and the body is kept");
    }
    assert!(good.got().contains("\r\n\r\nabcPUT") || good.got().ends_with("\r\n\r\nabc"), "{}", good.got());
    let found: Vec<_> = (0..4).map(|_| ask(&rig, "POST", "abc")).collect();
    assert!(found.contains(&reset), "a POST that was sent is not sent again: {found:?}");
    let long = "x".repeat(200_000);
    let found: Vec<_> = (0..4).map(|_| ask(&rig, "PUT", &long)).collect();
    assert!(found.contains(&reset), "what is too long to be kept is not sent again: {found:?}");

    // The connection is refused: nothing was sent, so a POST may go to another server.
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let good = Script::answering(OK);
    let rig = Rig::new("", RETRIES, &[refusing, good.server()]);
    for _ in 0..4 {
        assert_eq!(ask(&rig, "POST", "abc"), (200, String::new()));
    }

    // Never the same server twice, however many attempts are left.
    let (a, b) = (closing(), closing());
    let rig = Rig::new("", RETRIES, &[a.server(), b.server()]);
    assert_eq!(ask(&rig, "GET", ""), reset);
    assert_eq!((a.connections(), b.connections()), (1, 1));
    rig.settles();
}

#[test]
fn retries_have_a_budget() {
    let (a, b) = (closing(), closing());
    let pool = "[pools.retries]\nmax_retries = 1\non = [\"reset\"]\nbudget = \"10%\"\nmin_per_second = \"1/s\"\nbackoff = \"0ms\"\n";
    let rig = Rig::new("", pool, &[a.server(), b.server()]);
    for _ in 0..60 {
        let mut client = rig.client();
        client.send(GET);
        assert_eq!(client.answer().status, 502);
    }
    // A tenth of sixty, and one a second over the window of ten.
    let retries = a.connections() + b.connections() - 60;
    assert!((6..=17).contains(&retries), "{retries}");
}

/// A connection that the server closes just when it is used again is no failure, retries or not.
#[test]
fn a_stale_connection_is_no_failure() {
    let script = Script::new(|visit| {
        visit.request();
        visit.say(OK);
        if visit.number == 0 {
            visit.request();
            return;
        }
        while visit.request().is_some() {
            visit.say(OK);
        }
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(client.answer().text(), "ok");
    }
    assert_eq!(script.connections(), 2);
}

#[test]
fn the_second_copy_wins_when_the_first_is_slow() {
    let slow = Script::new(|visit| {
        visit.request();
        visit.wait_for_end();
    });
    let fast = Script::answering(OK);
    let rig = Rig::new("", "[pools.hedge]\nafter = \"50ms\"\nbudget = \"100%\"\n", &[slow.server(), fast.server()]);
    let start = Instant::now();
    for _ in 0..4 {
        let mut client = rig.client();
        client.send(GET);
        assert_eq!(client.answer().text(), "ok");
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(slow.connections() >= 1, "the slow one was asked");
    eventually("and let go", || slow.closed() == slow.connections());
    rig.settles();
}

#[test]
fn requests_wait_for_room_but_not_for_ever() {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let entered = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&entered);
    let script = Script::new(move |visit| {
        while visit.request().is_some() {
            seen.fetch_add(1, Ordering::Relaxed);
            if told.lock().unwrap().recv().is_err() {
                return;
            }
            visit.say(OK);
        }
    });
    let pool = "[pools.queue]\nlimit = 1\ntimeout = \"500ms\"\n";
    let rig = Rig::new("", pool, &[format!("{} max_in_flight = 1", script.address)]);
    let mut first = rig.client();
    first.send(GET);
    eventually("the first is at the server", || entered.load(Ordering::Relaxed) == 1);
    let start = Instant::now();
    let mut second = rig.client();
    second.send(GET);
    std::thread::sleep(Duration::from_millis(100));
    let mut third = rig.client();
    third.send(GET);
    let answer = third.answer();
    assert_eq!((answer.verdict(), answer.header("retry-after").as_str()), ((503, "queue_full".to_owned()), "1"));
    assert_eq!(second.answer().verdict(), (503, "queue_timeout".to_owned()));
    assert!((450..3000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    // A client that goes away frees its place in the queue.
    let mut gone = rig.client();
    gone.send(GET);
    std::thread::sleep(Duration::from_millis(50));
    drop(gone);
    std::thread::sleep(Duration::from_millis(50));
    let mut fourth = rig.client();
    fourth.send(GET);
    std::thread::sleep(Duration::from_millis(50));
    tell.send(()).unwrap();
    assert_eq!(first.answer().text(), "ok");
    tell.send(()).unwrap();
    assert_eq!(fourth.answer().text(), "ok");
    assert_eq!(entered.load(Ordering::Relaxed), 2, "who waited in vain never came to the server");
    rig.settles();
}

#[test]
fn cookies_stick() {
    let (_servers, addresses) = backends(3);
    let rig = Rig::new("", "[pools.sticky]\ncookie = \"lb\"\n", &addresses);
    for _ in 0..3 {
        let mut client = rig.client();
        client.send(GET);
        let answer = client.answer();
        let (set, server) = (answer.header("set-cookie"), answer.header("x-server"));
        let cookie = set.split(';').next().unwrap();
        assert!(cookie.starts_with("lb=") && set.contains("HttpOnly"), "{set}");
        for _ in 0..5 {
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=y; {cookie}\r\n\r\n"));
            let answer = client.answer();
            assert_eq!((answer.header("x-server"), answer.header("set-cookie")), (server.clone(), String::new()));
        }
        client.send("GET / HTTP/1.1\r\nHost: a\r\nCookie: lb=rubbish\r\n\r\n");
        assert!(client.answer().header("set-cookie").starts_with("lb="), "a cookie of an unknown server is replaced");
    }
}

/// Runs this with an HTTP/2 connection to the proxy.
fn over_http2<T>(rig: &Rig, ask: impl AsyncFnOnce(hyper::client::conn::http2::SendRequest<Full<Bytes>>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        tokio::time::timeout(crate::rig::LONG, ask(sender)).await.unwrap()
    })
}

#[test]
fn http2_in_front_and_behind() {
    for protocol in ["http1", "h2c"] {
        let (servers, addresses): (Vec<Backend>, _) = backends(1);
        let rig = Rig::new("", &format!("protocol = \"{protocol}\"\n"), &addresses);
        over_http2(&rig, async |sender| {
            let request = |path: &str| http::Request::builder().uri(format!("http://a.example{path}"));
            let mut all = Vec::new();
            for i in 0..20 {
                let request = request(&format!("/{i}"))
                    .method("POST")
                    .header("x-echo", "1")
                    .header("te", "trailers")
                    .header("cookie", "a=1")
                    .header("cookie", "b=2")
                    .body(Full::new(Bytes::from(vec![b'x'; 1000 * i])))
                    .unwrap();
                let mut sender = sender.clone();
                all.push(tokio::spawn(async move { sender.send_request(request).await.unwrap() }));
            }
            for (i, answer) in all.into_iter().enumerate() {
                let answer = answer.await.unwrap();
                assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
                assert!(!answer.headers().contains_key("connection"));
                let told: serde_json::Value =
                    serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
                assert_eq!(told["version"], if protocol == "h2c" { "HTTP/2.0" } else { "HTTP/1.1" });
                assert_eq!(told["body"]["length"], 1000 * i);
                assert_eq!(echoed(&told, "via"), ["2 evenkeel"]);
                assert_eq!(echoed(&told, "cookie"), ["a=1; b=2"]);
                let target = told["target"].as_str().unwrap();
                assert!(target.ends_with(&format!("/{i}")), "{target}");
                assert!(protocol == "h2c" || echoed(&told, "host") == ["a.example"]);
            }
            let mut sender = sender;
            let request = request("/?bytes=10&trailers=1").header("te", "trailers").body(Full::default()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            let whole = answer.into_body().collect().await.unwrap();
            assert_eq!(whole.trailers().unwrap()["x-bytes"], "10");
            assert_eq!(whole.to_bytes().len(), 10);
        });
        if protocol == "h2c" {
            // Those that come before the first connection is there wait for it. One more, if a body stood still for long.
            assert!(servers[0].counters().connections <= 2, "{}", servers[0].counters().connections);
        }
        rig.settles();
        // The same servers for clients of HTTP/1.1.
        let mut client = rig.client();
        client.send("GET /?bytes=7 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().body.len(), 7);
    }
}

/// A server that takes connections of HTTP/2 and ends each at the first request: an answer, not an endless round.
#[test]
fn a_server_that_resets_http2_is_given_up() {
    let script = Script::new(|visit| {
        visit.until(b"SM\r\n\r\n");
        // Settings; then waits for a HEADERS frame, recognised by its type after a length below 256.
        visit.say([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        visit.until(&[1, 5, 0, 0, 0, 1]);
    });
    let rig = Rig::new("", "protocol = \"h2c\"\n", &[script.server()]);
    let mut client = rig.client();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(client.answer().verdict(), (502, "upstream_reset".to_owned()));
    }
    assert!(script.connections() <= 6, "{}", script.connections());
    rig.settles();
}
