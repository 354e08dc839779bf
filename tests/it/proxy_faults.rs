//! Attribution of failures: only server failures count against a server. Clients that read nothing are disconnected on
//! every HTTP version, and a lack of descriptors in the proxy marks no server down.

#![allow(clippy::disallowed_methods, reason = "slow clients take their time, and tests measure it")]

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::front::Process;
use crate::proxy_hostile::{BASIC, fields, first_of, frame};
use crate::rig::{Client, LONG, Rig, Script, backends, eventually};
use crate::support::Folder;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// Strict enough that a few failures in a row would eject the server.
const OUTLIERS: &str =
    "[pools.outliers]\nconsecutive_failures = 3\nbase_ejection_time = \"60s\"\nmax_ejected = \"100%\"\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn ejected(rig: &Rig) -> usize {
    rig.servers().iter().filter(|server| server["ejected"] == true).count()
}

/// A server whose answers to `/big` are 3 MB and to all else two bytes.
fn big_or_small() -> Script {
    Script::new(|visit| {
        while let Some(request) = visit.request() {
            if request.starts_with("GET /big") {
                visit.say("HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n");
                if !visit.say(vec![b'x'; 3_000_000]) {
                    return;
                }
            } else {
                visit.say(OK);
            }
        }
    })
}

/// A client of HTTP/2 whose streams begin with this window.
fn http2_with_window(rig: &Rig, window: u32) -> Client {
    let mut client = rig.client();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(frame(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()));
    client
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    let mut pairs = BASIC;
    (pairs[0].1, pairs[2].1) = ("GET", path);
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(&pairs))
}

/// The library does not poll a body that it cannot write, so a time-out inside the body would never fire.
#[test]
fn http2_clients_without_a_window_are_let_go_and_their_servers_are_not_blamed() {
    for (window, timeouts) in [
        (0_u32, "idle = \"300ms\""),
        (1, "idle = \"300ms\""),
        (0, "idle = \"60s\"\ntotal = \"500ms\""),
        (20_000, "idle = \"300ms\""),
    ] {
        let servers = [big_or_small(), big_or_small()];
        let pool = format!("strategy = \"round_robin\"\n{OUTLIERS}");
        let rig = Rig::new(&format!("[timeouts]\n{timeouts}"), &pool, &[servers[0].server(), servers[1].server()]);
        let mut client = http2_with_window(&rig, window);
        let streams: Vec<u32> = (0..8).map(|i| 2 * i + 1).collect();
        streams.iter().for_each(|&stream| client.send(get(stream, "/big")));
        let mut reset: Vec<u32> = streams.iter().map(|_| first_of(&mut client, &[RESET]).unwrap().2).collect();
        reset.sort_unstable();
        assert_eq!(reset, streams, "window {window}, {timeouts}");
        rig.settles();
        eventually("the servers' connections are closed", || servers.iter().all(|s| s.closed() == s.connections()));
        assert_eq!(ejected(&rig), 0, "window {window}, {timeouts}");
        // The connection serves on: only the streams ended. One byte fits into the window where there is one.
        let mut other = rig.client();
        other.send(GET);
        assert_eq!(other.answer().text(), "ok");
        if window >= 2 {
            client.send(frame(8, 0, 0, &1_000_000_u32.to_be_bytes()));
            client.send(get(101, "/small"));
            let (_, _, stream, _) = first_of(&mut client, &[HEADERS]).unwrap();
            assert_eq!(stream, 101);
            assert_eq!(first_of(&mut client, &[DATA]).unwrap().3, b"ok");
        }
    }
}

/// Also a short answer, of a server or of the proxy's own, waits for a window.
#[test]
fn short_answers_on_http2_do_not_wait_for_ever_either() {
    let script = Script::answering(OK);
    let rig =
        Rig::new("[timeouts]\nidle = \"200ms\"\n[[routes]]\nprefix = \"/a\"\npool = \"web\"", "", &[script.server()]);
    let mut client = http2_with_window(&rig, 0);
    client.send(get(1, "/a"));
    client.send(get(3, "/nowhere"));
    let mut reset = [first_of(&mut client, &[RESET]).unwrap().2, first_of(&mut client, &[RESET]).unwrap().2];
    reset.sort_unstable();
    assert_eq!(reset, [1, 3]);
    rig.settles();
}

/// Four clients that read nothing do not lock others out of a server that takes four at once.
#[test]
fn clients_that_read_nothing_give_their_places_back() {
    let server = big_or_small();
    let pool = "max_in_flight = 4\n".to_owned();
    let rig = Rig::new("[timeouts]\nidle = \"300ms\"", "", &[format!("{} {pool}", server.server())]);
    let mut client = http2_with_window(&rig, 0);
    (0..4).for_each(|i| client.send(get(2 * i + 1, "/big")));
    eventually("four in flight", || rig.in_flight() == 4);
    eventually("another is served", || {
        let mut other = rig.client();
        other.send(GET);
        other.answer().status == 200
    });
}

/// `total` holds for a client that reads slowly and without a pause, and the server is not to blame.
#[test]
fn the_whole_of_an_answer_is_limited_also_for_a_client_that_reads_slowly() {
    let servers = [big_or_small(), big_or_small()];
    let rig = Rig::new(
        "[timeouts]\nidle = \"60s\"\ntotal = \"500ms\"",
        &format!("strategy = \"round_robin\"\n{OUTLIERS}"),
        &[servers[0].server(), servers[1].server()],
    );
    let slow: Vec<_> = (0..8)
        .map(|i| {
            let mut client = rig.client();
            socket2::SockRef::from(&client.stream).set_recv_buffer_size(4096).unwrap();
            client.send(GET.replace("GET /", "GET /big"));
            std::thread::spawn(move || {
                let (start, mut piece) = (Instant::now(), [0; 1000]);
                client.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                // Half of them do not read at all.
                while i % 2 == 1 && start.elapsed() < Duration::from_secs(2) {
                    let _ = client.stream.read(&mut piece);
                    std::thread::sleep(Duration::from_millis(20));
                }
                client
            })
        })
        .collect();
    eventually("all are under way", || servers.iter().map(Script::connections).sum::<usize>() == 8);
    let start = Instant::now();
    rig.settles();
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    assert_eq!(ejected(&rig), 0);
    slow.into_iter().for_each(|client| drop(client.join().unwrap()));
}

/// The same time-outs count against a server that is what is waited for.
#[test]
fn a_server_that_stalls_within_its_answers_is_blamed() {
    for timeouts in ["idle = \"150ms\"", "idle = \"60s\"\ntotal = \"300ms\""] {
        let stalls = Script::new(|visit| {
            visit.request();
            visit.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
            visit.wait_for_end();
        });
        let rig = Rig::new(
            &format!("[timeouts]\n{timeouts}"),
            &format!("strategy = \"round_robin\"\n{OUTLIERS}"),
            &[stalls.server()],
        );
        for _ in 0..3 {
            let mut client = rig.client();
            client.send(GET);
            assert!(client.try_answer(false).is_err());
        }
        eventually("it is ejected", || ejected(&rig) == 1);
    }
}

/// A server that waits for the rest of a request has not stalled: the client has.
#[test]
fn a_server_that_waits_for_its_client_is_not_blamed() {
    let waits = Script::new(|visit| {
        visit.until(b"\r\n\r\n");
        visit.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        visit.wait_for_end();
    });
    let rig = Rig::new(
        "[timeouts]\nidle = \"150ms\"\nbody = \"60s\"",
        &format!("strategy = \"round_robin\"\n{OUTLIERS}"),
        &[waits.server()],
    );
    for _ in 0..4 {
        let mut client = rig.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
        assert!(client.try_answer(false).is_err());
    }
    rig.settles();
    assert_eq!(ejected(&rig), 0);
}

/// HTTP/1.0 has no upgrades, and a server that speaks HTTP/2 cannot be asked for one: the field is ignored.
#[test]
fn upgrades_that_cannot_be_are_ignored() {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for (protocol, version) in [("h2c", "1.1"), ("http1", "1.0"), ("h2c", "1.0")] {
        let (_servers, addresses) = backends(2);
        let pool = format!("strategy = \"round_robin\"\nprotocol = \"{protocol}\"\n{OUTLIERS}");
        let rig = Rig::new("", &pool, &addresses);
        for _ in 0..8 {
            let mut client = rig.client();
            client.send(format!("GET / HTTP/{version}\r\nHost: a\r\nX-Echo: 1\r\n{upgrade}\r\n"));
            let answer = client.answer();
            assert_eq!(answer.verdict(), (200, String::new()), "{protocol}, {version}");
            let echo = answer.echo();
            assert!(crate::rig::echoed(&echo, "upgrade").is_empty(), "{protocol}, {version}: {echo}");
        }
        assert_eq!(ejected(&rig), 0, "{protocol}, {version}");
    }
}

/// 501 and 505 say what the client asked for; other statuses from 500 on are failures.
#[test]
fn statuses_that_are_about_the_request_do_not_count() {
    for (status, counts) in [(501, false), (505, false), (500, true), (502, true), (503, true), (404, false)] {
        let script = Script::answering(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"));
        let rig = Rig::new("", &format!("strategy = \"round_robin\"\n{OUTLIERS}"), &[script.server()]);
        let mut client = rig.client();
        for _ in 0..3 {
            client.send(GET);
            assert_eq!(client.answer().status, status);
        }
        assert_eq!(ejected(&rig), usize::from(counts), "{status}");
    }
}

/// A server may close a kept connection at any time. A POST that meets the close cannot be sent again, and says nothing
/// about the server; one on a fresh connection, or one that was worked on, does.
#[test]
fn a_post_that_meets_the_end_of_a_kept_connection_is_not_the_servers_fault() {
    let closes = Script::new(|visit| {
        visit.request();
        visit.say(OK);
        // The second request meets the close.
        visit.until(b"\r\n\r\n");
    });
    let rig = Rig::new("", &format!("strategy = \"round_robin\"\n{OUTLIERS}"), &[closes.server()]);
    for _ in 0..5 {
        let mut client = rig.client();
        client.send(GET);
        assert_eq!(client.answer().status, 200);
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(client.answer().verdict(), (502, "stale_connection".to_owned()));
    }
    assert_eq!(ejected(&rig), 0);
    let dies = Script::new(|visit| {
        visit.until(b"\r\n\r\n");
    });
    let rig = Rig::new("", &format!("strategy = \"round_robin\"\n{OUTLIERS}"), &[dies.server()]);
    for _ in 0..3 {
        let mut client = rig.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(client.answer().verdict(), (502, "upstream_reset".to_owned()));
    }
    assert_eq!(ejected(&rig), 1, "on fresh connections it is");
}

/// Request bodies that break off, or come too slowly, eject no server.
#[test]
fn bodies_that_break_off_are_the_clients_fault() {
    let reads = Script::new(|visit| {
        visit.until(b"\r\n\r\n");
        visit.wait_for_end();
    });
    let rig = Rig::new(
        "[timeouts]\nbody = \"100ms\"\n[limits]\nbody_bytes = 1000",
        &format!("strategy = \"round_robin\"\n{OUTLIERS}"),
        &[reads.server()],
    );
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["5\r\nab", "zz\r\n", "3\r\nabcX", &format!("fff\r\n{}", "x".repeat(4095))] {
        for _ in 0..2 {
            let mut client = rig.client();
            client.send(format!("{chunked}{body}"));
            if body.ends_with("ab") {
                client.shut();
            }
            client.rest();
        }
    }
    for _ in 0..3 {
        let mut client = rig.client();
        client.send(format!("{chunked}3\r\nabc\r\n"));
        assert_eq!(client.answer().verdict(), (408, "body_timeout".to_owned()));
    }
    rig.settles();
    assert_eq!(ejected(&rig), 0);
}

/// With few descriptors, clients that do nothing leave room for connections to servers and for checks; when they are gone,
/// all is as before.
#[cfg(unix)]
#[test]
fn a_lack_of_descriptors_takes_no_server_down() {
    let (_servers, addresses) = backends(1);
    let folder = Folder::new();
    let file = folder.file(
        "proxy.toml",
        &format!(
            "shards = 1\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[[pools]]\n\
             name = \"web\"\nstrategy = \"round_robin\"\n[pools.health]\ninterval = \"50ms\"\nfall = 2\nrise = 2\n\
             {OUTLIERS}[[pools.servers]]\nname = \"a\"\naddress = \"{}\"\n",
            addresses[0]
        ),
    );
    let mut proxy = Process::with_descriptors(64, &["proxy", "--config", file.to_str().unwrap()]);
    let address: std::net::SocketAddr = proxy.told("listening at ").trim().parse().unwrap();
    let ask = |client: &mut Client| {
        client.send(GET);
        client.try_answer(false).map_or(0, |answer| answer.status)
    };
    let mut first = Client::to(address);
    assert_eq!(ask(&mut first), 200);
    let idle: Vec<TcpStream> = (0..150).filter_map(|_| TcpStream::connect_timeout(&address, LONG).ok()).collect();
    std::thread::sleep(Duration::from_millis(600));
    for _ in 0..5 {
        assert_eq!(ask(&mut first), 200, "who was there goes on: {}", proxy.said());
    }
    drop(idle);
    eventually("others come in again", || ask(&mut Client::to(address)) == 200);
    for _ in 0..5 {
        assert_eq!(ask(&mut Client::to(address)), 200);
    }
    let said = proxy.said();
    assert!(said.contains("ulimit -n"), "the limit is named: {said}");
    assert!(said.lines().count() < 20, "and not over and over: {said}");
    assert!(!said.contains("up=false") && !said.contains("ejected"), "{said}");
}
