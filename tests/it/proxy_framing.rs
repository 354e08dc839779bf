//! Request boundaries, over raw sockets: the same strict parsing applies after bodies of every kind, pipelined, and in
//! pieces of every size, and each answer belongs to the right request.

#![allow(clippy::disallowed_methods, reason = "hostile clients take their time, and tests measure it")]

use std::time::Duration;

use crate::rig::{Client, Rig, Script, eventually, verdict};
use crate::support::Folder;

const GET: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers every request, chunked bodies included, with its path.
fn by_path() -> Script {
    Script::new(|visit| {
        while let Some(head) = visit.until(b"\r\n\r\n") {
            if head.contains("transfer-encoding: chunked") && visit.until(b"0\r\n\r\n").is_none() {
                return;
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if visit.exactly(length.map_or(0, |length| length.parse().unwrap())).is_none() {
                return;
            }
            let path = head.split(' ').nth(1).unwrap().to_owned();
            visit.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len()));
        }
    })
}

/// Sends in pieces of this size, with a moment between them if they are few.
fn send(client: &mut Client, text: &str, size: usize) {
    let pieces = text.as_bytes().chunks(size);
    let pause = if pieces.len() < 400 { Duration::from_micros(300) } else { Duration::ZERO };
    for piece in pieces {
        client.send(piece);
        std::thread::sleep(pause);
    }
}

/// What may precede a request on its connection, and the paths that it requests.
const BEFORE: [(&str, &[&str]); 5] = [
    ("", &[]),
    ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", &["/1"]),
    ("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab\ncd", &["/1"]),
    ("POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nab\n\r\n0\r\nX-T: 1\r\n\r\n", &["/1"]),
    ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n\n", &["/1", "/2"]),
];

/// A head that could be read in two ways is refused wherever it stands: those before it are answered, nothing behind it is read.
#[test]
fn every_head_is_read_strictly_wherever_it_stands() {
    let script = by_path();
    let rig = Rig::new("", "", &[script.server()]);
    for (head, reason) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "ambiguous_length"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "ambiguous_length"),
        ("Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "ambiguous_length"),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "ambiguous_length"),
        ("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "bad_request"),
        ("Content-Length: 3\nX: y\r\n\r\nabc", "bad_request"),
        ("X: y\n\nabc", "bad_request"),
        ("X: y\r\n\nabc", "bad_request"),
        ("X: y\rZ\r\n\r\n", "bad_request"),
        ("X: y\r\n z\r\n\r\n", "bad_request"),
        ("X : y\r\n\r\n", "bad_request"),
        ("X: y\0\r\n\r\n", "bad_request"),
        ("X\r\n\r\n", "bad_request"),
    ] {
        for (before, paths) in BEFORE {
            for size in [100_000, 1, 7] {
                script.forget();
                let mut client = rig.client();
                let what = format!("{head:?} behind {before:?} in pieces of {size}");
                send(&mut client, &format!("{before}POST /bad HTTP/1.1\r\nHost: a\r\n{head}{GET}"), size);
                for path in paths {
                    assert_eq!(client.answer().text(), *path, "{what}");
                }
                let rest = client.rest();
                assert_eq!(verdict(&rest), (400, reason.to_owned()), "{what}: {rest:?}");
                assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{what}: {rest:?}");
                assert!(!script.got().contains("/bad") && !script.got().contains("/next"), "{what}: {}", script.got());
            }
        }
    }
    rig.settles();
}

/// A fault inside a chunked body or in its trailers breaks the body off: no answer can go to another request than its own, no
/// server sees the end of such a request, and no server is blamed.
#[test]
fn chunks_and_trailers_are_read_strictly_wherever_they_stand() {
    let script = by_path();
    let rig = Rig::new("", "[pools.outliers]\nconsecutive_failures = 2\n", &[script.server()]);
    let mut number = 0;
    for end in [
        "0\r\n\n",
        "0\r\nx-t: 1\n\r\n",
        "0\r\nx-t: 1\n\n",
        "0\n\n",
        "0\n\r\n",
        "0\r\n\r\r\n",
        "0\r\nx-t: 1\r\n\n",
        "0\r\nx-t: 1\r\n y\r\n\r\n",
        "0\r\nx-t : 1\r\n\r\n",
        "0\r\n: 1\r\n\r\n",
        "0\r\nx-t\r\n\r\n",
        "0\r\nx-t: \0\r\n\r\n",
        "0;a\n\r\n\r\n",
        "0;\"\r\n\r\n",
        "0 \r\n\r\n",
        "\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "00000000000000000\r\n\r\n",
        "0x0\r\n\r\n",
    ] {
        for (before, paths) in BEFORE {
            for size in [100_000, 1] {
                script.forget();
                let mut client = rig.client();
                let what = format!("{end:?} behind {before:?} in pieces of {size}");
                // A name of its own: the server may take note of the last one late.
                number += 1;
                let name = format!("/bad{number}-");
                let head = format!("POST {name} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
                send(&mut client, &format!("{before}{head}{end}{GET}"), size);
                for path in paths {
                    assert_eq!(client.answer().text(), *path, "{what}");
                }
                let rest = client.rest();
                assert_eq!(verdict(&rest), (400, "body_broken".to_owned()), "{what}: {rest:?}");
                assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{what}: {rest:?}");
                assert!(!script.got().contains("/next"), "{what}: {}", script.got());
                let got = script.got();
                let bad = got.rfind(&name).map_or("", |at| &got[at..]);
                assert!(!bad.contains("\r\n0\r\n"), "{what}: {bad}");
            }
        }
    }
    rig.settles();
    assert_eq!(rig.servers()[0]["ejected"], false, "the client's fault is not the server's");
    eventually("what broke off is closed", || script.connections() - script.closed() <= 1);
}

/// The server has answered before the fault comes: the client has its answer, and no other.
#[test]
fn a_fault_behind_an_early_answer_ends_both_connections() {
    let script = Script::new(|visit| {
        while visit.until(b"\r\n\r\n").is_some() {
            visit.say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly");
        }
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send("POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_eq!(client.answer().text(), "early");
    client.send(format!("0\r\n\n{GET}"));
    assert_eq!(client.rest(), "");
    eventually("the server's connection is closed", || script.closed() == 1);
    assert!(!script.got().contains("/next"), "{}", script.got());
}

/// Behind a request that asks for an upgrade and does not get one come requests, and they are read as strictly as others.
#[test]
fn what_follows_a_refused_upgrade_is_read_strictly() {
    let script = by_path();
    let rig = Rig::new("", "", &[script.server()]);
    let ask = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    for size in [100_000, 1] {
        let mut client = rig.client();
        send(&mut client, &format!("{GET}{ask}{ask}{GET}"), size);
        for path in ["/next", "/ws", "/ws", "/next"] {
            assert_eq!(client.answer().text(), path);
        }
        client.send(GET);
        assert_eq!(client.answer().text(), "/next");
        script.forget();
        send(&mut client, &format!("{ask}POST /bad HTTP/1.1\r\nHost: a\r\nX: y\n\r\n{GET}"), size);
        assert_eq!(client.answer().text(), "/ws");
        assert_eq!(verdict(&client.rest()), (400, "bad_request".to_owned()));
        assert!(!script.got().contains("/bad") && !script.got().contains("/next"), "{}", script.got());
    }
    // Answers that become others do not confuse the count.
    let odd = Script::new(|visit| {
        while let Some(request) = visit.request() {
            let odd = request.starts_with("GET /odd ");
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            visit.say(if odd {
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"
            } else {
                answer
            });
        }
    });
    let other = Rig::new("", "", &[odd.server()]);
    let mut client = other.client();
    client.send(format!("GET /odd HTTP/1.1\r\nHost: a\r\n\r\n{ask}{GET}"));
    assert_eq!(client.answer().status, 502);
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(client.answer().text(), "ok");
    // More than is held back at once comes through as well.
    let mut client = rig.client();
    client.send(format!("{ask}{}", GET.repeat(3000)));
    assert_eq!(client.answer().text(), "/ws");
    for _ in 0..3000 {
        assert_eq!(client.answer().text(), "/next");
    }
}

/// Behind one that does get it anything may come, even at once.
#[test]
fn what_follows_a_granted_upgrade_is_not_read() {
    let script = Script::new(|visit| {
        visit.until(b"\r\n\r\n");
        std::thread::sleep(Duration::from_millis(50));
        visit.say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: odd\r\n\r\nhello");
        visit.until(b"\0\nbye");
        visit.say("done");
    });
    let rig = Rig::new("", "", &[script.server()]);
    for size in [100_000, 1] {
        let mut client = rig.client();
        let ask = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: odd\r\n\r\n";
        send(&mut client, &format!("{ask}early\0\n"), size);
        assert_eq!(client.head().unwrap().status, 101);
        assert_eq!(client.exactly(5), b"hello");
        client.send("later\0\nbye");
        assert_eq!(client.exactly(4), b"done");
        assert!(script.got().contains("early\0\nlater\0\nbye"), "{:?}", script.got());
        script.forget();
    }
}

/// A head that is refused before it becomes a request is counted and logged like others.
#[test]
fn refused_heads_are_counted_and_logged() {
    let script = by_path();
    let folder = Folder::new();
    let file = folder.path().join("access.log");
    let top = format!(
        "[timeouts]\nheader = \"200ms\"\n[limits]\nheader_bytes = 100000\n[log]\naccess = \"json\"\nfile = {:?}",
        file.to_str().unwrap()
    );
    let rig = Rig::new(&top, "", &[script.server()]);
    let long = "x".repeat(70_000);
    for (request, reason, method, path) in [
        ("GET /a?b HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n".to_owned(), "bad_request", "GET", "/a"),
        (
            "POST /b HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            "ambiguous_length",
            "POST",
            "/b",
        ),
        ("GET /c HTTP/1.1\r\nHost".to_owned(), "header_timeout", "GET", "/c"),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "uri_too_long", "GET", &format!("/{long}")[..8188]),
        (format!("GET /e HTTP/1.1\r\nX: {long}{long}\r\n\r\n"), "header_too_large", "GET", "/e"),
        ("\u{1b}[2J\r\n".to_owned(), "bad_request", "", ""),
        (format!("{GET}GET /g HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"), "bad_request", "GET", "/g"),
    ] {
        let text = rig.talk(&request);
        assert!(text.contains(&format!("x-evenkeel-reason: {reason}\r\n")), "{reason}: {text:?}");
        let line = || {
            let log = std::fs::read_to_string(&file).unwrap_or_default();
            // The last line may be there in part.
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            let mut lines = whole.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            lines.rfind(|line| line["reason"] == reason)
        };
        eventually("it is in the log", || line().is_some_and(|line| line["path"] == path));
        let line = line().unwrap();
        assert_eq!(line["method"], method, "{line}");
        assert_eq!(line["client_ip"], "127.0.0.1");
        assert_eq!(line["status"].as_u64().unwrap().to_string(), text.rsplit("HTTP/1.1 ").next().unwrap()[..3]);
        assert!(line["duration"].as_f64().unwrap() < 5.0, "{line}");
    }
    let mut admin = Client::to(rig.admin);
    admin.send("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let page = admin.rest();
    for (reason, count) in [("bad_request", 3), ("ambiguous_length", 1), ("header_timeout", 1), ("uri_too_long", 1)] {
        let line = page.lines().find(|line| line.contains(&format!("reason=\"{reason}\""))).unwrap_or_default();
        assert!(line.ends_with(&format!(" {count}")), "{reason}: {line:?}");
    }
}

/// Trailers cannot say what only heads may: who asked, where from, and how the message is framed, in any spelling.
#[test]
fn trailers_make_no_claims_in_any_spelling() {
    let claims = "X-Forwarded-For: 6\r\nX_FORWARDED_FOR: 6\r\nx-real_ip: 6\r\nX-Real-IP: 6\r\nForwarded: for=6\r\n\
                  True-Client-IP: 6\r\nCF_Connecting_IP: 6\r\nX-Forwarded: 6\r\nX-Original-URL: /6\r\nX-Rewrite-URL: /6\r\n\
                  Remote_User: 6\r\nX-Auth-User: 6\r\nX_HTTP_Method_Override: 6\r\nHost: 6\r\nContent_Length: 6\r\n\
                  Transfer_Encoding: chunked\r\nContent-Length: 6\r\nCookie: 6\r\nX-Accel-Redirect: /6\r\nX-SSL-Client: 6\r\n";
    let kept = "x-sum: 7\r\netag: \"7\"\r\nserver-timing: 7\r\ncontent-digest: 7\r\ngrpc-status: 7\r\n";
    // The library passes on what was announced.
    let names =
        format!("{claims}{kept}").lines().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>();
    let announced = format!("Trailer: {}\r\n", names.join(", "));
    let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{announced}\r\n");
    let script = Script::new(move |visit| {
        while visit.until(b"\r\n\r\n").is_some() {
            visit.until(b"\r\n\r\n");
            visit.say(format!("{head}1\r\na\r\n0\r\n{claims}{kept}\r\n"));
        }
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n{announced}\r\n1\r\na\r\n0\r\n\
         {claims}{kept}\r\n"
    ));
    let answer = client.answer();
    let mut names: Vec<&str> = answer.trailers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-digest", "etag", "grpc-status", "server-timing", "x-sum"]);
    let got = script.got();
    let (_, trailers) = got.rsplit_once("\r\n0\r\n").unwrap();
    let mut lines: Vec<&str> = trailers.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["content-digest: 7", "etag: \"7\"", "grpc-status: 7", "server-timing: 7", "x-sum: 7"]);
}
