//! Rules of HTTP that few clients and servers meet, and what operators see of servers: over raw sockets.

#![allow(clippy::disallowed_methods, reason = "clients and servers take their time, and tests measure it")]

use std::time::{Duration, Instant};

use crate::front::Process;
use crate::proxy_hostile::{END_HEADERS, END_STREAM, GOAWAY, HEADERS, RESET, fields, first_of, frame, http2};
use crate::rig::{Client, Rig, Script, eventually, verdict};
use crate::support::{self, Folder};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A request by HTTP/2 on a connection of its own; the frame that answers it.
fn ask_by_http2(rig: &Rig, pseudo: [(&str, &str); 4], more: &[(&str, &str)]) -> (u8, Vec<u8>) {
    let mut client = http2(rig);
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields(&[&pseudo[..], more].concat())));
    let (kind, _, _, payload) = first_of(&mut client, &[HEADERS, RESET, GOAWAY]).unwrap();
    (kind, payload)
}

const POST: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
/// Its place in the static table of HPACK.
const CONTENT_LENGTH: u8 = 28;

/// Places in HPACK's tables of the names of a block's fields, 0 for a name that is spelt out (RFC 7541, 6). Lengths and places
/// are below 127.
fn name_indexes(block: &[u8]) -> Vec<u8> {
    let mut indexes = Vec::new();
    let mut rest = block;
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        if first & 0x80 != 0 {
            indexes.push(first & 0x7f);
            continue;
        }
        if first & 0xe0 == 0x20 {
            continue;
        }
        let mut index = if first & 0x40 != 0 { first & 0x3f } else { first & 0x0f };
        if first & 0x40 == 0 && index == 15 {
            index += rest[0];
            rest = &rest[1..];
        }
        indexes.push(index);
        for _ in 0..if index == 0 { 2 } else { 1 } {
            rest = &rest[1 + usize::from(rest[0] & 0x7f)..];
        }
    }
    indexes
}

const STATUS_204: u8 = 0x89;
const STATUS_400: u8 = 0x8c;

/// RFC 9113, 8.2.1 and 8.1.1: HTTP/1.1 would read these values in another way than HTTP/2 does.
#[test]
fn http2_values_that_http1_reads_otherwise_are_refused() {
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    for more in [
        ("content-length", ""),
        ("content-length", " 0"),
        ("content-length", "0 "),
        ("x-a", " b"),
        ("x-a", "b "),
        ("x-a", "\tb"),
        ("x-a", "b\t"),
        ("x-a", " "),
        ("cookie", " a=b"),
    ] {
        let (kind, payload) = ask_by_http2(&rig, POST, &[more]);
        assert!(kind == HEADERS && payload[0] == STATUS_400 || kind == RESET, "{more:?}: {kind} {payload:?}");
        assert_eq!(script.got(), "", "{more:?}");
    }
    let (kind, _) = ask_by_http2(&rig, POST, &[("x-a", ""), ("x-b", "c d"), ("content-length", "0")]);
    assert_eq!(kind, HEADERS);
    assert!(script.got().contains("x-b: c d\r\n"), "{}", script.got());
}

/// RFC 9110, 8.6 and RFC 9112, 6.1: what has no content has no length and no coding.
#[test]
fn answers_without_content_have_no_length() {
    let script = Script::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
         HTTP/1.1 204 No Content\r\nx-a: b\r\ncontent-length: 0\r\n\r\n",
    );
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for status in [103, 204] {
        let answer = client.head().unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(
            (answer.header("content-length"), answer.header("transfer-encoding")),
            Default::default(),
            "{answer:?}"
        );
    }
    let (kind, payload) = ask_by_http2(&rig, POST, &[]);
    assert_eq!((kind, payload[0]), (HEADERS, STATUS_204));
    assert!(!name_indexes(&payload).contains(&CONTENT_LENGTH), "{payload:?}");
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    let (_, payload) = ask_by_http2(&rig, POST, &[]);
    assert!(name_indexes(&payload).contains(&CONTENT_LENGTH), "{payload:?}");
}

/// An answer may have more fields than the library reads by itself, and no more than the limit.
#[test]
fn answers_with_many_fields_are_limited_by_the_config() {
    let script = Script::new(|visit| {
        while let Some(request) = visit.request() {
            let count = request.split(' ').nth(1).unwrap()[1..].parse().unwrap();
            let many: String = (0..count).map(|i| format!("x-{i}: y\r\n")).collect();
            visit.say(format!("HTTP/1.1 200 OK\r\n{many}content-length: 2\r\n\r\nok"));
        }
    });
    for (limit, count, status) in [
        ("", 99, 200),
        ("", 101, 200),
        ("", 255, 200),
        ("", 256, 502),
        ("headers = 400", 399, 200),
        ("headers = 400", 400, 502),
    ] {
        let rig = Rig::new(&format!("[limits]\n{limit}"), "", &[script.server()]);
        let text = rig.talk(format!("GET /{count} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert_eq!(verdict(&text).0, status, "{limit} {count}: {text:?}");
        assert_eq!(text.matches("\r\nx-").count() >= count, status == 200);
    }
    // With hyper the first such answer of a server is asked for again where that may be; where it may not, the next one comes
    // through.
    let rig = Rig::new("", "", &[script.server()]);
    let first = if support::own_http1_client() { 200 } else { 502 };
    for status in [first, 200, 200] {
        let text = rig.talk("POST /150 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(verdict(&text).0, status, "{text:?}");
    }
    let rig = Rig::new("[limits]\nheaders = 400", "", &[script.server()]);
    let text = rig.talk("POST /300 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(verdict(&text).0, 200, "{text:?}");
}

/// RFC 9110, 7.6.2.
#[test]
fn max_forwards_of_options_and_trace() {
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    let ask = |method: &str, more: &str| {
        script.forget();
        rig.talk(format!("{method} /x HTTP/1.1\r\nHost: a\r\nCookie: secret\r\nConnection: close\r\n{more}\r\n"))
    };
    for method in ["OPTIONS", "TRACE"] {
        for (sent, forwarded) in
            [("5", "4"), ("1", "0"), ("007", "6"), ("99999999999999999999999", "18446744073709551614")]
        {
            let text = ask(method, &format!("Max-Forwards: {sent}\r\n"));
            assert_eq!(verdict(&text).0, 200, "{text}");
            assert!(script.got().contains(&format!("\r\nmax-forwards: {forwarded}\r\n")), "{sent}: {}", script.got());
        }
        let text = ask(method, "Max-Forwards: 0\r\nX-A: b\r\n");
        assert_eq!(verdict(&text), (200, "max_forwards".to_owned()), "{text}");
        assert_eq!(script.got(), "");
        if method == "TRACE" {
            assert!(text.contains("content-type: message/http\r\n"), "{text}");
            assert!(text.contains("\r\n\r\nTRACE /x HTTP/1.1\r\n") && text.contains("x-a: b\r\n"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        } else {
            assert!(text.contains("allow: GET, HEAD"), "{text}");
        }
        for wrong in ["-1", "x", "", "1, 2", "1\r\nMax-Forwards: 1"] {
            let text = ask(method, &format!("Max-Forwards: {wrong}\r\n"));
            assert_eq!(verdict(&text), (400, "bad_request".to_owned()), "{wrong}: {text}");
            assert_eq!(script.got(), "");
        }
        ask(method, "");
        assert!(!script.got().contains("max-forwards"), "{}", script.got());
    }
    ask("GET", "Max-Forwards: 0\r\n");
    assert!(script.got().contains("max-forwards: 0\r\n"), "others pass it on: {}", script.got());
}

/// RFC 9112, 3.2.4: a proxy makes `*` of a URI without a path.
#[test]
fn options_of_the_whole_server() {
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    for (method, target, forwarded) in [
        ("OPTIONS", "*", "*"),
        ("OPTIONS", "http://b.example", "*"),
        ("OPTIONS", "http://b.example:81", "*"),
        ("OPTIONS", "http://b.example/", "/"),
        ("OPTIONS", "http://b.example/x", "/x"),
        ("OPTIONS", "http://b.example?x", "/?x"),
        ("OPTIONS", "/", "/"),
        ("GET", "http://b.example", "/"),
    ] {
        script.forget();
        let text = rig.talk(format!("{method} {target} HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n"));
        assert_eq!(verdict(&text).0, 200, "{method} {target}: {text}");
        assert!(script.got().starts_with(&format!("{method} {forwarded} HTTP/1.1\r\n")), "{target}: {}", script.got());
    }
    script.forget();
    let whole = [(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "a")];
    assert_eq!(ask_by_http2(&rig, whole, &[]).0, HEADERS);
    assert!(script.got().starts_with("OPTIONS * HTTP/1.1\r\n"), "{}", script.got());
}

/// RFC 9110, 10.1.4: `TE` is about a connection and so stands in `Connection`.
#[test]
fn te_is_named_in_connection() {
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    for (sent, connection) in [
        ("TE: trailers\r\nConnection: TE\r\n", Some("te")),
        ("TE: gzip, Trailers\r\n", Some("te")),
        ("TE: trailers\r\nConnection: upgrade\r\nUpgrade: x\r\n", Some("upgrade, te")),
        ("TE: gzip\r\n", None),
        ("", None),
    ] {
        script.forget();
        let mut client = rig.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{sent}\r\n"));
        assert_eq!(client.answer().status, 200);
        let got = script.got();
        let value = got.lines().find_map(|line| line.strip_prefix("connection: "));
        assert_eq!(value, connection, "{sent:?}: {got}");
        assert_eq!(got.contains("\r\nte: trailers\r\n"), connection.is_some(), "{got}");
    }
    let (kind, _) = ask_by_http2(&rig, POST, &[("te", "trailers")]);
    assert_eq!(kind, HEADERS);
    assert!(script.got().contains("connection: te\r\n"), "{}", script.got());
}

/// RFC 9110, 10.1.1: a refusal comes before the invitation, and the server's invitation is the client's.
#[test]
fn a_client_is_invited_when_the_server_invites() {
    const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    // It refuses by the head.
    let script = Script::new(|visit| {
        visit.until(b"\r\n\r\n");
        std::thread::sleep(Duration::from_millis(100));
        visit.say("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno");
        visit.wait_for_end();
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send(HEAD);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().as_str()), (401, "no"), "no invitation before");
    assert_eq!(answer.header("connection"), "close");
    assert!(client.is_over(), "whether a body or a request comes next is not known");
    assert!(script.got().contains("\r\nexpect: 100-continue\r\n"), "{}", script.got());
    eventually("the server's connection is not used again", || script.closed() == 1);
    rig.settles();

    // It invites, and the body follows.
    let script = Script::new(|visit| {
        while visit.until(b"\r\n\r\n").is_some() {
            visit.say("HTTP/1.1 100 Continue\r\n\r\n");
            if visit.exactly(3).is_some() {
                visit.say(OK);
            }
        }
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    let start = Instant::now();
    for _ in 0..3 {
        client.send(HEAD);
        assert_eq!(client.head().unwrap().status, 100);
        client.send("abc");
        assert_eq!(client.answer().text(), "ok");
    }
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(script.connections(), 1, "the connection is kept");

    // It knows nothing of expectations: after a while the client is invited all the same.
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send(HEAD);
    assert_eq!(client.head().unwrap().status, 100);
    client.send("abc");
    assert_eq!(client.answer().text(), "ok");
    // Without a body, or in HTTP/1.0, there is nothing to expect.
    for head in [
        "GET / HTTP/1.1\r\nExpect: 100-continue\r\n",
        "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n",
    ] {
        script.forget();
        let start = Instant::now();
        let text = rig.talk(format!("{head}Host: a\r\nConnection: close\r\n\r\nabc"));
        assert_eq!(verdict(&text).0, 200, "{text}");
        assert!(!script.got().contains("expect"), "{}", script.got());
        assert!(start.elapsed() < Duration::from_millis(700), "{:?}", start.elapsed());
    }
}

/// Spellings that mean the same path are routed alike, and reach the server as they were written.
#[test]
fn paths_are_routed_by_what_they_mean() {
    let named = |name: &'static str| {
        Script::answering(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len()))
    };
    let (admin, public) = (named("admin"), named("public"));
    let pool = |name: &str, server: String| {
        format!(
            "[[pools]]\nname = \"{name}\"\nstrategy = \"random\"\n[[pools.servers]]\nname = \"s\"\naddress = \"{server}\"\n"
        )
    };
    let rig = Rig::of(format!(
        "shards = 1\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n{}{}\
         [[routes]]\nprefix = \"/\"\npool = \"public\"\n[[routes]]\nprefix = \"/admin\"\npool = \"admin\"\n",
        pool("public", public.server()),
        pool("admin", admin.server()),
    ));
    for (path, name) in [
        ("/%61dmin", "admin"),
        ("/%41dmin", "public"),
        ("//admin", "admin"),
        ("/adm%69n/x%7e", "admin"),
        ("///%61dmin//y", "admin"),
        ("/admin%2fx", "public"),
        ("/%2561dmin", "public"),
        ("/x//admin", "public"),
    ] {
        let (script, other) = if name == "admin" { (&admin, &public) } else { (&public, &admin) };
        script.forget();
        other.forget();
        let text = rig.talk(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert!(text.ends_with(&format!("\r\n\r\n{name}")), "{path}: {text}");
        assert!(script.got().starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{path}: {}", script.got());
        assert_eq!(other.got(), "");
    }
}

/// A name without an address is a server that nothing can be sent to: the strategy does not see it, not even in panic.
#[test]
fn a_server_without_an_address_is_not_picked() {
    let script = Script::answering(OK);
    for strategy in ["round_robin", "random", "p2c", "least_request", "maglev", "consistent_hash"] {
        let pool = format!("strategy = \"{strategy}\"\npanic = \"50%\"\n");
        let rig = Rig::new("", &pool, &["nowhere.invalid:80".to_owned(), script.server()]);
        let mut client = rig.client();
        for i in 0..20 {
            client.send(format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(client.answer().status, 200, "{strategy}");
        }
        let servers = rig.servers();
        assert_eq!((&servers[0]["eligible_in_shards"], &servers[0]["address"]), (&0.into(), &serde_json::Value::Null));
        assert_eq!(servers[1]["eligible_in_shards"], 1);
    }
    let rig = Rig::new("", "", &["nowhere.invalid:80".to_owned()]);
    let text = rig.talk("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(verdict(&text), (503, "no_healthy_server".to_owned()));
}

/// The admin listener shows the last result of a check, and the log names pool and cause when a server changes state.
#[test]
fn checks_say_what_they_found() {
    let up = Script::answering(OK);
    let failing = Script::answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let folder = Folder::new();
    let servers: String = [up.server(), failing.server(), gone]
        .iter()
        .enumerate()
        .map(|(i, server)| format!("[[pools.servers]]\nname = \"s{i}\"\naddress = \"{server}\"\n"))
        .collect();
    let file = folder.file(
        "proxy.toml",
        &format!(
            "shards = 1\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[[pools]]\nname = \"web\"\n\
             strategy = \"random\"\nhealth = {{ interval = \"50ms\", timeout = \"1s\", rise = 1, fall = 2, path = \"/\" }}\n{servers}"
        ),
    );
    let mut proxy = Process::start(&["proxy", "--config", file.to_str().unwrap()]);
    let admin = proxy.told("admin at ");
    let said = |server: &str| {
        let mut client = Client::to(admin.parse().unwrap());
        client.send("GET /servers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let json: serde_json::Value = serde_json::from_slice(&client.answer().body).unwrap();
        let servers = json["pools"][0]["servers"].as_array().unwrap().clone();
        servers.into_iter().find(|one| one["name"] == server).unwrap()
    };
    eventually("they are down", || said("s1")["up"] == false && said("s2")["up"] == false);
    let passed = said("s0")["check"].clone();
    assert_eq!((&passed["passed"], &passed["cause"]), (&true.into(), &serde_json::Value::Null));
    let age = jiff::Timestamp::now() - passed["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!((-1.0..10.0).contains(&age.total(jiff::Unit::Second).unwrap()), "{passed}");
    assert!(passed["took"].as_f64().unwrap() < 1.0, "{passed}");
    assert_eq!(said("s1")["check"]["cause"], "status 503");
    let refused = said("s2")["check"]["cause"].as_str().unwrap().to_owned();
    assert!(refused.starts_with("cannot connect: Connection refused"), "{refused}");
    eventually("the log says so", || proxy.said().matches("a server is down").count() == 2);
    for (server, cause) in [("s1", "status 503"), ("s2", "cannot connect: Connection refused")] {
        let said = proxy.said();
        let line = said.lines().find(|line| line.contains("is down") && line.contains(server)).unwrap();
        assert!(line.contains("web") && line.contains(cause), "{line}");
    }
}

/// With SO_REUSEPORT the kernel would distribute the connections to both.
#[test]
fn a_second_proxy_at_the_same_address_does_not_start() {
    let script = Script::answering(OK);
    let config = |address: &str| {
        format!(
            "shards = 2\n[[listeners]]\naddress = \"{address}\"\n[[pools]]\nname = \"web\"\nstrategy = \"random\"\n\
             [[pools.servers]]\nname = \"s\"\naddress = \"{}\"\n",
            script.server()
        )
    };
    let folder = Folder::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = folder.file("proxy.toml", &config(&format!("127.0.0.1:{port}")));
    let mut first = Process::start(&["proxy", "--config", file.to_str().unwrap()]);
    first.told("listening at ");
    for address in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")] {
        let other = folder.file("other.toml", &config(&address));
        let mut second = Process::start(&["proxy", "--config", other.to_str().unwrap()]);
        assert_ne!(second.ended(), Some(0));
        eventually("the reason", || second.said().contains("another process listens there already"));
        assert!(second.said().contains(&format!("cannot listen at {address}")), "{}", second.said());
        assert!(second.said().contains("help: "), "{}", second.said());
    }
    // The first serves on, also after a reload, and its address is free when it has ended.
    first.signal("HUP");
    std::thread::sleep(Duration::from_millis(200));
    let mut client = Client::to(format!("127.0.0.1:{port}").parse().unwrap());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    drop(client);
    first.signal("KILL");
    first.ended();
    let mut again = Process::start(&["proxy", "--config", file.to_str().unwrap()]);
    again.told("listening at ");
    // Of several that start at once, one runs.
    again.signal("KILL");
    again.ended();
    let mut all: Vec<Process> =
        (0..4).map(|_| Process::start(&["proxy", "--config", file.to_str().unwrap()])).collect();
    eventually("three have ended", || all.iter_mut().filter_map(|one| one.is_running().then_some(())).count() <= 1);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(all.iter_mut().filter_map(|one| one.is_running().then_some(())).count(), 1);
}

/// The log has how long a connection took, where one was made.
#[test]
fn the_log_has_the_time_to_connect() {
    let script = Script::answering(OK);
    let folder = Folder::new();
    let file = folder.path().join("access.log");
    let rig =
        Rig::new(&format!("[log]\naccess = \"json\"\nfile = {:?}", file.to_str().unwrap()), "", &[script.server()]);
    let mut client = rig.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("two lines", || lines().lines().count() == 2);
    let lines: Vec<serde_json::Value> = lines().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = lines[0]["connect_time"].as_f64().unwrap();
    assert!(first > 0.0 && first < 1.0 && first <= lines[0]["first_byte_time"].as_f64().unwrap(), "{}", lines[0]);
    assert!(lines[1]["connect_time"].is_null(), "it was open: {}", lines[1]);
    assert!(lines[0]["tls"].is_null());
}
