//! A short fuzzing run in every test run: the entries of `fuzz/entries.rs` over seeded mutations of sound inputs. It is the
//! same on every machine; the long, guided runs are cargo-fuzz's.

use evenkeel::rng::{Rng, Source};

use crate::support::root;

#[path = "../../fuzz/entries.rs"]
mod entries;

const HEADS: &[&str] = &[
    "\0host: example.org\nconnection: keep-alive, X-Forwarded-For, te\nte: trailers, gzip\nx-forwarded-for: 1.2.3.4, [2a00::1]:80\nx-forwarded-for: 203.0.113.7, 10.0.0.2\nx-forwarded-proto: https\nforwarded: for=\"[::1]\"\nvia: 1.1 evenkeel\ncookie: a=b; evenkeel=\"x\"\nx-request-id: 1-2-3",
    "\x01host: a\nupgrade: websocket\nconnection: Upgrade\nx_real_ip: 1.2.3.4\nx-real-ip: ::1\ntransfer-encoding: chunked\ncontent-length: 5\nkeep-alive: 5\nhttp2-settings: AA\nproxy-authorization: x",
];
const REPORTS: &[&str] = &[
    "TEXT rps_fractional=120.5, application_utilization=0.8,cpu_utilization=0.4, eps=6.025, named_metrics.in_flight=3",
    "JSON {\"rps_fractional\": 120.5, \"cpuUtilization\": 0.4, \"named_metrics\": {\"in_flight\": 3, \"window\": 1e-3}}",
];
const FIELDS: &[&str] = &["a/b%20c\"\\\0x=1\0example.org\0curl/8 \u{9b}\n\0http://ref/\u{202e}"];
const LOGS: &[&str] = &[
    "10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET /a?x=1 HTTP/1.1\" 200 5 \"-\" \"curl\"\n::1 - - [17/May/2015:12:05:03 +0200] \"GET /\\xc3\\xa4\\\"\\\\ HTTP/1.1\" 304 - \"-\" \"-\" \"[::1]:80\" 1 p2c ok 0.1\n",
    "{\"time\":\"2015-05-17T10:05:03.25Z\",\"client_ip\":\"::1\",\"path\":\"/\\u00e4\",\"query\":\"a\",\"bytes_out\":9}\n\n{\"time\":\"2015-05-17T10:05:02Z\",\"client_ip\":\"::1\",\"path\":\"/\",\"bytes_out\":9}",
];
const WORKLOADS: &[&str] =
    &["arrival,client,path,bytes\n# a comment\n0.5,10.0.0.1,\"/a,b\",7\n0.25,\"host \"\"x\"\"\",/,9\n"];
const TABLES: &[&str] = &[
    "[[pools]]\nname = \"web\"\nstrategy = { p2c = { choices = 3 } }\nhealth = { interval = \"1s\", rise = 2 }\n[[pools.servers]]\nname = \"web\"\ncount = 3\nweight = 2\ncache = { capacity = 5, ttl = \"1s\", hit_cost = \"10%\" }\n[[routes]]\nprefix = \"/pay\"\npool = \"web\"\n",
    "web.example.org:80",
    "[2001:db8::1]:443",
];
const REQUESTS: &[&str] = &[
    "\x07GET / HTTP/1.1\r\nHost: a\r\nUpgrade: b\r\n\r\n\r\nPOST /a%20b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET * HTTP/1.0\r\n\r\n",
    "\x20POST /?x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;a=\"b\\c\";d\r\nx\r\n0A ; e\r\n0123456789\r\n0\r\nX-T: y\r\n\r\nGET",
];
const ROUTES: &[&str] = &["/\n//p%61y\n/pay\n/pay/admin/\n/pä\n\n/pay/admin/x?a=/pay#b"];

const RESPONSES: &[&str] = &[
    "\x07HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
    "\x01HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n5;a=\"b\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\n",
    "\x02HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    "\x30HTTP/1.1 200\r\nConnection: close\r\n\r\nuntil the end",
    "\x00HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Nicht da\r\nContent-Length: 3, 3\r\nContent-Length: 3\r\n\r\nabc",
    "\x7fHTTP/1.1 204 No Content\r\nDate: now\r\n\r\nHTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
    "\x05HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nbytes",
    "\x09HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: Chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
];

const PLAIN: &[&str] = &[
    "GET /a/b?c=d&e=%20f HTTP/1.1\r\nHost: example.org:80\r\nUser-Agent: x \ty\r\nAccept: */*\r\nX-Empty:\r\nX-Empty: \t \r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nGET",
    "POST / HTTP/1.1\r\nhost:a\r\ncontent-length: 12\r\nconnection: Close\r\nx_real_ip: 1\r\n\r\nhello",
    "PATCH /x HTTP/1.1\r\nAccept: a\r\nTransfer-Encoding: chunked\r\nHost: [::1]\r\nVia: 1.1 a\r\nCookie: a=b; c=\"d\"\r\n\r\n0\r\n\r\n",
];

/// One to four small changes: bytes, what parsers stumble over, pieces gone, doubled, or from another input.
fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    const TOKENS: &[&[u8]] = &[
        b"\0",
        b"\n",
        b"\r\n",
        b"\"",
        b"\\",
        b"\\x",
        b"\\u0000",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"=",
        b"-",
        b"''",
        b"'''",
        b"\xff",
        b"\xc3",
        b"\xe2\x80\xae",
        b"NaN",
        b"inf",
        b"-1",
        b"0",
        b"1e308",
        b"1e-320",
        b"18446744073709551616",
        b"%",
        b"::",
        b"0s",
        b"1e9d",
        b"[[pools]]\n",
        b" ",
        b"\t",
        b"/",
        b"?",
        b"#",
        b".",
        b"connection: host\n",
        b"2262-04-12T00:00:00Z",
    ];
    for _ in 0..=rng.below(3) {
        let at = rng.below(input.len() as u64 + 1) as usize;
        let end = (at + 1 + rng.below(8) as usize).min(input.len());
        let place = at..end.max(at);
        match rng.below(6) {
            0 => input[place].iter_mut().take(1).for_each(|byte| *byte = rng.below(256) as u8),
            1 => drop(input.splice(at..at, TOKENS[rng.below(TOKENS.len() as u64) as usize].iter().copied())),
            2 => drop(input.splice(place, TOKENS[rng.below(TOKENS.len() as u64) as usize].iter().copied())),
            3 => drop(input.drain(place)),
            4 => {
                let piece = input[place].to_vec();
                input.splice(at..at, piece);
            }
            _ => {
                let from = rng.below(other.len() as u64 + 1) as usize;
                let to = (from + rng.below(40) as usize).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
}

fn run(name: &str, seeds: &[Vec<u8>], rounds: u64) {
    let (_, entry) = entries::ALL.iter().find(|entry| entry.0 == name).unwrap();
    let mut rng = Rng::stream(1, name, 0);
    seeds.iter().for_each(|seed| entry(seed));
    entry(b"");
    for round in 0..rounds {
        let mut input = seeds[rng.below(seeds.len() as u64) as usize].clone();
        let other = &seeds[rng.below(seeds.len() as u64) as usize];
        // Some stray far.
        for _ in 0..=(round % 4) {
            mutate(&mut input, other, &mut rng);
        }
        let result = std::panic::catch_unwind(|| entry(&input));
        assert!(result.is_ok(), "{name}, round {round}: put this into the tests:\nb\"{}\"", input.escape_ascii());
    }
}

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn fuzz_entries_hold_for_mutated_bytes() {
    for (name, texts, rounds) in [
        ("headers", HEADS, 30_000),
        ("orca", REPORTS, 100_000),
        ("access", FIELDS, 15_000),
        ("import", LOGS, 15_000),
        ("workload", WORKLOADS, 15_000),
        ("config", TABLES, 10_000),
        ("routes", ROUTES, 60_000),
        ("framing", REQUESTS, 60_000),
        ("http1_client", RESPONSES, 30_000),
        ("plain", PLAIN, 60_000),
    ] {
        run(name, &seeds(texts), rounds);
    }
}

#[test]
fn fuzz_entries_hold_for_mutated_scenarios() {
    let mut files: Vec<_> =
        std::fs::read_dir(root().join("scenarios")).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let scenarios: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(scenarios.len() >= 10);
    run("scenario", &scenarios, 4_000);
}

/// Every entry has its fuzz target, and every target its entry.
#[test]
fn targets_and_entries_agree() {
    let mut targets: Vec<String> = std::fs::read_dir(root().join("fuzz/fuzz_targets"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    targets.sort();
    let mut names: Vec<&str> = entries::ALL.iter().map(|entry| entry.0).collect();
    names.sort_unstable();
    assert_eq!(targets, names);
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    assert!(names.iter().all(|name| manifest.contains(&format!("name = \"{name}\""))));
}
