//! Tests of whole logs, and of every row of the catalogue.

use super::collect::SHOWN;
use super::text::{decoded, unescaped};
use super::*;
use evenkeel_core::rng::{Rng, Source};

const LOG: &str = "\
10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET /a?x=1 HTTP/1.1\" 200 5 \"-\" \"curl\"
10.0.0.2 - bob [17/May/2015:12:05:03 +0200] \"GET /b\\\"c HTTP/1.0\" 304 -
not a log line

::1 - - [17/May/2015:10:05:02 +0000] \"POST /late HTTP/1.1\" 200 7
10.0.0.3 - - [17/May/2015:10:05:04 +0000] \"\\x16\\x03\\x01\" 400 226
10.0.0.3 - - [47/May/2015:10:05:04 +0000] \"GET / HTTP/1.1\" 200 226
";

fn arrivals(imported: &Imported) -> Vec<f64> {
    imported.lines().map(|line| line.arrival).collect()
}

/// Client, path and bytes of each line.
fn requests(imported: &Imported) -> Vec<(String, String, u32)> {
    imported.lines().map(|line| (line.client.into_owned(), line.path.into_owned(), line.bytes)).collect()
}

fn clients(log: &str) -> Vec<String> {
    requests(&import(log.as_bytes(), None, false)).into_iter().map(|request| request.0).collect()
}

/// The client of a line with this before its time stamp; `None` where it is refused.
fn client_of(before: &str) -> Option<String> {
    clients(&format!("{before} [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 5\n")).pop()
}

/// The path of a request line.
fn path(request: &[u8]) -> Option<String> {
    let line = [b"10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"", request, b"\" 200 5 \"-\" \"-\"\n"].concat();
    requests(&import(&line, None, false)).pop().map(|request| request.1)
}

#[test]
fn reads_both_formats_orders_spreads_and_counts() {
    let imported = import(LOG.as_bytes(), None, false);
    let expected = [("::1", "/late", 7), ("10.0.0.1", "/a", 5), ("10.0.0.2", "/b\"c", 0)];
    let expected = expected.map(|(client, path, bytes)| (client.to_owned(), path.to_owned(), bytes));
    assert_eq!(requests(&imported), expected);
    let at = arrivals(&imported);
    assert!((0.0..1.0).contains(&at[0]) && (1.0..2.0).contains(&at[1]) && at[1] <= at[2] && at[2] < 2.0, "{at:?}");
    assert_eq!((imported.malformed, imported.blank, imported.out_of_order, imported.shared_seconds), (3, 1, 1, 1));
    assert_eq!(imported.whole_seconds, 3);
    let lines: Vec<u64> = imported.examples.iter().map(|e| e.line).collect();
    assert_eq!(lines, [3, 6, 7]);
    assert_eq!(imported.reasons.values().sum::<u64>(), 3);
    assert_eq!(requests(&import(LOG.as_bytes(), None, true))[1].1, "/a?x=1");
}

#[test]
fn json_is_detected_and_keeps_its_stamps() {
    let json = |time: &str, path: &str| {
        format!("{{\"client_ip\":\"2001:db8::1\",\"bytes_out\":9,\"time\":\"{time}\",\"path\":\"{path}\",\"x\":[1]}}\n")
    };
    let log = [
        json("2015-05-17T10:05:03.250001Z", "/late"),
        json("2015-05-17T10:05:03.25Z", "/\\u00e4?x=1"),
        json("2015-05-17T12:05:04+02:00", "http://zone.example/zone"),
        json("2015-05-17", "/no"),
        json("2015-05-17T10:05:03Z", "/").replace("2001:db8::1", "www.example.org"),
        "{\"time\":1}\n".to_owned(),
    ]
    .concat();
    let imported = import(log.as_bytes(), None, false);
    assert_eq!(arrivals(&imported), [0.0, 1e-6, 0.75]);
    let expected = ["/ä", "/late", "/zone"].map(|path| ("2001:db8::1".to_owned(), path.to_owned(), 9));
    assert_eq!(requests(&imported), expected);
    assert_eq!((imported.malformed, imported.whole_seconds, imported.out_of_order), (3, 0, 1));
    assert_eq!(import(log.as_bytes(), find("combined"), false).malformed, 6);
    assert_eq!(import(LOG.as_bytes(), find("json"), false).requests, []);
    // Both in one: all are ordered.
    let both = import(format!("{LOG}{log}").as_bytes(), None, false);
    assert_eq!(both.requests.len(), 6);
    assert!(both.requests.windows(2).all(|pair| pair[0].arrival <= pair[1].arrival));
}

#[test]
fn a_client_is_an_address() {
    for (before, client) in [
        ("192.0.2.1 - -", "192.0.2.1"),
        ("192.0.2.1 - john doe", "192.0.2.1"),
        ("192.0.2.1 - \"a b\" [x]", "192.0.2.1"),
        ("192.0.2.1 - [192.0.2.1] - -", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:50001 - -", "192.0.2.1"),
        ("[2001:db8::1]:443 - -", "2001:db8::1"),
        ("[2001:db8::1] - -", "2001:db8::1"),
        ("2001:DB8:0:0::1 - -", "2001:db8::1"),
        ("fe80::1%eth0 - -", "fe80::1"),
        ("[fe80::1%25eth0]:80 - -", "fe80::1"),
        ("::ffff:192.0.2.1 - -", "192.0.2.1"),
        ("[::ffff:c000:201]:80 - -", "192.0.2.1"),
        ("192.0.2.1, 10.0.0.1, 10.0.0.2 - -", "192.0.2.1"),
        ("192.0.2.1,10.0.0.1 - -", "192.0.2.1"),
        ("\"192.0.2.1, 10.0.0.1\" - -", "192.0.2.1"),
        ("192.0.2.1, 10.0.0.1 10.0.0.2 - -", "192.0.2.1"),
        ("192.0.2.1:4711, 10.0.0.1 - -", "192.0.2.1"),
        ("\t 192.0.2.1\t-\t-", "192.0.2.1"),
        // A virtual host, or nothing, before it.
        ("www.example.org:443 192.0.2.1 - -", "192.0.2.1"),
        ("www.example.org 192.0.2.1 - bob", "192.0.2.1"),
        ("localhost 192.0.2.1 - -", "192.0.2.1"),
        ("*.example.org:80 2001:db8::1 - -", "2001:db8::1"),
        ("_ 192.0.2.1 - -", "192.0.2.1"),
        ("- 192.0.2.1 - -", "192.0.2.1"),
        ("192.0.2.1 192.0.2.1 - -", "192.0.2.1"),
        // Names of hosts, as public logs have them.
        ("in24.inetnebr.com - -", "in24.inetnebr.com"),
        ("host_1 - user", "host_1"),
        ("ix-or10-06.ix.netcom.com - john doe", "ix-or10-06.ix.netcom.com"),
    ] {
        assert_eq!(client_of(before).as_deref(), Some(client), "{before}");
    }
    for before in [
        "",
        "- - -",
        "unknown - -",
        "unknown, 192.0.2.1 - -",
        "192.0.2.256 - -",
        "192.0.2 - -",
        "192.0.2.1:66000 - -",
        "192.0.2.1: - -",
        "[192.0.2.1 - -",
        "unix: - -",
        "www.example.org:443 - -",
        "www.example.org client.example.net - -",
        "www.example.org",
        "203.0.113.5:443 192.0.2.1 - -",
        "203.0.113.5 192.0.2.1 - -",
        "web 1 192.0.2.1 - -",
        "2001:db8::1%",
        "<b> 192.0.2.1 - -",
    ] {
        assert_eq!(client_of(before), None, "{before}");
    }
}

#[test]
fn a_flag_says_which_word_is_the_client() {
    let line = b"203.0.113.5 192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 5\n";
    for (which, client) in [(1, Some("203.0.113.5")), (2, Some("192.0.2.1")), (3, None), (9, None)] {
        let options = Options { client: Some(which), ..Options::default() };
        let imported = read(&line[..], &options, &mut |_| {}).unwrap();
        assert_eq!(imported.clients.first().map(|client| &**client), client, "{which}");
        assert_eq!(imported.malformed, u64::from(client.is_none()));
    }
    assert!(import(line, None, false).examples[0].reason.contains("--client 2"));
}

#[test]
fn prefixes_of_other_programs_are_removed() {
    let line = "192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"x|y: z\"";
    for before in [
        "\u{feff}",
        "  \t",
        "May 17 10:05:03 web1 nginx: ",
        "May  7 10:05:03 web1 nginx[77]: ",
        "May 17 2015 10:05:03.123 10.0.0.9 nginx: ",
        "May 17 10:05:03 nginx: ",
        "<190>May 17 10:05:03 web1 nginx: ",
        "<190>1 2015-05-17T10:05:03Z web1 nginx 7 - - ",
        "<190>1 2015-05-17T10:05:03.003Z 10.0.0.9 nginx - ID47 [a@1 b=\"c\\\"]d\"][e@2] \u{feff}",
        "2015-05-17T10:05:03.123456+00:00 web1 nginx[7]: ",
        "2015-05-17T10:05:03+0000 10.0.0.9 nginx: ",
        "2015-05-17T10:05:03.123456789Z stdout F ",
        "2015-05-17T10:05:03.123456789Z ",
        "2015-05-17 10:05:03.123 ",
        "web-1  | ",
        "web_1.a|",
        "\u{1b}[36mweb-1  |\u{1b}[0m ",
        "web-1  | 2015-05-17T10:05:03.123456789Z ",
        "[pod/web-5d/nginx] ",
        "[pod/web-5d/nginx] 2015-05-17T10:05:03.1Z ",
        "www.example.org:443 ",
    ] {
        assert_eq!(clients(&format!("{before}{line}\n")), ["192.0.2.1"], "{before}");
    }
    let docker = |text: &str| {
        serde_json::json!({ "log": text, "stream": "stdout", "time": "2015-05-17T10:05:03.1Z" }).to_string()
    };
    assert_eq!(clients(&docker(&format!("{line}\n"))), ["192.0.2.1"]);
    let json = "{\"time\":\"2015-05-17T10:05:03Z\",\"client_ip\":\"192.0.2.1\",\"path\":\"/a\",\"bytes_out\":5}";
    for line in [docker(json), format!("web | {json}"), format!("May 17 10:05:03 web1 proxy[7]: {json}")] {
        assert_eq!(clients(&line), ["192.0.2.1"], "{line}");
    }
    // Parts of split lines are not lines.
    let long = format!("{line}{}", "x".repeat(20_000));
    for line in [docker(&long), format!("2015-05-17T10:05:03.1Z stdout P {line}")] {
        let imported = import(line.as_bytes(), None, false);
        assert!(imported.requests.is_empty() && imported.examples[0].reason.contains("a piece of a line"), "{line}");
    }
}

#[test]
fn other_formats_are_refused_and_not_misread() {
    for line in [
        "[2015-05-17T10:05:03.310Z] \"GET /a HTTP/2\" 200 - 0 539 14 9 \"192.0.2.1\" \"curl\" \"id\" \"host\" \"10.0.0.2:80\"",
        "May 17 10:05:03 lb haproxy[838]: 192.0.2.1:33317 [17/May/2015:10:05:03.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\"",
        "h2 2015-05-17T10:05:03.186641Z app/lb/50dc 192.0.2.1:2817 10.0.0.1:80 0.000 0.177 0.000 200 200 34 366 \"GET https://x/a HTTP/2.0\" \"curl\"",
        "owner bucket [17/May/2015:10:05:03 +0000] 192.0.2.1 requester id REST.GET.OBJECT key \"GET /a HTTP/1.1\" 200 - 5",
        "192.0.2.1 - - [17/May/2015:10:05:03 +0000] 1234 \"GET /a HTTP/1.1\" 200 5",
        "192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 0.004 5",
        "192.0.2.1 - - [17/May/2015:10:05:03.123 +0000] \"GET /a HTTP/1.1\" 200",
        "{\"ts\":1431857103.127,\"request\":{\"remote_ip\":\"192.0.2.1\",\"uri\":\"/a\"},\"size\":5}",
        "#Fields: date time s-ip cs-method cs-uri-stem",
        "==> access.log <==",
    ] {
        let imported = import(line.as_bytes(), None, false);
        assert_eq!((imported.requests.len(), imported.malformed), (0, 1), "{line}");
    }
}

#[test]
fn a_path_is_between_method_and_protocol() {
    for (request, expected) in [
        (&b"GET /a HTTP/1.1"[..], "/a"),
        (b"GET /a b  c HTTP/1.1", "/a b  c"),
        (b"GET /a b?q=1 2 HTTP/1.1", "/a b"),
        (b"GET /a HTTP/1.1 b HTTP/1.1", "/a HTTP/1.1 b"),
        (b"GET\t/a\tHTTP/1.1", "/a"),
        (b"GET /a", "/a"),
        (b"GET /a b", "/a b"),
        (b"GET / HTTP/V1.0", "/"),
        (b"GET http://www.example.org/x/y?z HTTP/1.1", "/x/y"),
        (b"GET https://www.example.org HTTP/1.1", "/"),
        (b"GET http://www.example.org?z=/1 HTTP/1.1", "/"),
        (b"GET /redirect?to=http://a/b HTTP/1.1", "/redirect"),
        (b"GET /r/http://a/b HTTP/1.1", "/r/http://a/b"),
        (b"OPTIONS * HTTP/1.1", "*"),
        (b"CONNECT example.org:443 HTTP/1.1", "example.org:443"),
        (b"GET ?x HTTP/1.1", "/"),
        // Bytes that are not UTF-8, raw or escaped by servers, are kept unchanged.
        (b"GET /caf\xe9 HTTP/1.1", "/caf%E9"),
        (b"GET /caf\\xe8 HTTP/1.1", "/caf%E8"),
        (b"GET /caf\xc3\xa9\xff HTTP/1.1", "/café%FF"),
        (b"GET /caf\\xC3\\xA9 HTTP/1.1", "/café"),
        // Terminal control characters are encoded.
        (b"GET /\\x1b[31m\\n\\xc2\\x9b HTTP/1.1", "/%1B[31m%0A%C2%9B"),
        (b"GET /\x1b]0;x\x07 HTTP/1.1", "/%1B]0;x%07"),
    ] {
        assert_eq!(path(request).as_deref(), Some(expected), "{}", request.escape_ascii());
    }
    for request in [&b""[..], b"-", b"GET", b"GET ", b"GET HTTP/1.1", b"GET  HTTP/1.1", b"G\\x00T / HTTP/1.1"] {
        assert_eq!(path(request), None, "{}", request.escape_ascii());
    }
}

#[test]
fn all_line_ends_end_lines() {
    let line = |n: u8| format!("10.0.0.{n} - - [17/May/2015:10:05:0{n} +0000] \"GET / HTTP/1.1\" 200 5");
    for end in ["\n", "\r\n", "\r"] {
        let log = [line(1), line(2), String::new(), line(3)].join(end);
        for log in [log.clone(), format!("{log}{end}")] {
            let imported = import(log.as_bytes(), None, false);
            assert_eq!((imported.requests.len(), imported.blank, imported.read), (3, 1, 4), "{log:?}");
        }
        // The result does not depend on how the input is split into pieces.
        for size in [1, 2, 7, 75] {
            let reader = io::BufReader::with_capacity(size, log.as_bytes());
            let imported = read(reader, &Options::default(), &mut |_| {}).unwrap();
            assert_eq!((imported.requests.len(), imported.blank, imported.read), (3, 1, 4), "{size} {log:?}");
        }
    }
    // After a crash: half a line, NULs, whole lines.
    let torn = format!("{}\0\0\0\0{}\n\0\0{}\0\n\0\0\n{}", &line(1)[..30], line(2), line(3), line(4));
    let imported = import(torn.as_bytes(), None, false);
    assert_eq!(clients(&torn), ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    assert_eq!((imported.malformed, imported.blank, imported.read), (1, 1, 5), "{:?}", imported.examples);
    assert_eq!(imported.examples[0].line, 1);
}

#[test]
fn a_line_without_end_takes_no_memory() {
    struct Endless(usize);
    impl io::Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = into.len().min(self.0);
            into[..length].fill(b'x');
            self.0 -= length;
            Ok(length)
        }
    }
    let good: &[u8] = b"\n10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 5\n";
    let log = io::BufReader::new(io::Read::chain(Endless(64 << 20), good));
    let imported = read(log, &Options::default(), &mut |_| {}).unwrap();
    assert_eq!((imported.requests.len(), imported.malformed, imported.read), (1, 1, 2));
    let reason = "the line is longer than 1 MiB".to_owned();
    assert_eq!(imported.examples, [BadLine { line: 1, column: 1, reason }]);
    let log = io::BufReader::new(Endless(3 << 20));
    assert_eq!(read(log, &Options::default(), &mut |_| {}).unwrap().malformed, 1);
}

#[test]
fn a_few_outliers_are_left_out_and_reported() {
    let line = |date: &str| format!("10.0.0.1 - - [{date}:10:05:03 +0000] \"GET /{date} HTTP/1.1\" 200 5\n");
    let of = |dates: &[&str]| dates.iter().map(|date| line(date)).collect::<String>();
    for (dates, kept, lines) in [
        (&["17/May/2015", "01/Jan/1970", "17/May/2015"][..], 2, &[2][..]),
        (&["17/May/2015", "18/May/2015", "17/May/2038"], 2, &[3]),
        (&["01/Jan/1970", "17/May/2015", "17/May/2015", "01/Jan/2038"], 2, &[1, 4]),
        // A quiet server: no request is far from all others, or there are too few to say.
        (&["01/Jan/2015", "01/Mar/2015", "01/May/2015"], 3, &[]),
        (&["01/Jan/1970", "17/May/2015"], 2, &[]),
        (&["17/May/2015", "17/May/2015", "20/May/2015"], 3, &[]),
    ] {
        let log = of(dates);
        let imported = import(log.as_bytes(), None, false);
        assert_eq!(imported.requests.len(), kept, "{dates:?}");
        assert_eq!(imported.outliers.1, lines.len() as u64, "{dates:?}");
        assert!(imported.outliers.0.iter().map(|outlier| &outlier.0).eq(lines), "{dates:?}");
        // Their paths are removed as well.
        let used: std::collections::BTreeSet<u32> = imported.requests.iter().map(|request| request.path).collect();
        assert_eq!(used.len(), imported.paths.len(), "{dates:?}");
        let all = Options { keep_outliers: true, ..Options::default() };
        assert_eq!(read(log.as_bytes(), &all, &mut |_| {}).unwrap().requests.len(), dates.len());
    }
    let many = of(&["17/May/2015"; 1000]) + &of(&["01/Jan/1970"; 10]) + &of(&["17/May/2015"; 40]);
    let imported = import(many.as_bytes(), None, false);
    assert_eq!((imported.requests.len(), imported.outliers.1, imported.outliers.0.len()), (1040, 10, SHOWN));
    // A tenth of a log is not an outlier.
    let split = of(&["17/May/2015"; 100]) + &of(&["01/Jan/1970"; 10]);
    let imported = import(split.as_bytes(), None, false);
    assert_eq!((imported.requests.len(), imported.outliers.1), (110, 0));
    assert!(imported.longest_gap.0 > 45 * 365 * 86_400);
}

#[test]
fn steps_back_in_time_are_measured() {
    let line = |hour: u32| format!("10.0.0.1 - - [17/May/2015:{hour:02}:05:03 +0000] \"GET / HTTP/1.1\" 200 5\n");
    let log: String = [10, 11, 8, 9, 10].map(line).concat();
    let imported = import(log.as_bytes(), None, false);
    assert_eq!((imported.out_of_order, imported.greatest_step_back), (1, (3 * 3600, 3)));
}

#[test]
fn escapes_are_undone() {
    for (escaped, plain) in
        [(r"/a", "/a"), (r#"/\"\\"#, r#"/"\"#), (r"/\x22\xc3\xa4\xC3", "/\"ä%C3"), (r"/\n\q\x2\", "/\n\\q\\x2\\")]
    {
        assert_eq!(decoded(&unescaped(escaped)), plain, "{escaped}");
    }
}

#[test]
fn control_characters_of_a_line_never_reach_a_terminal() {
    let log = "\u{1b}[2J - - [\u{1b}]0;x\u{7}] \"GET\n10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"\u{9b}2J / HTTP/1.1\" 200 5\n";
    let imported = import(log.as_bytes(), None, false);
    assert_eq!(imported.malformed, 2);
    for BadLine { reason, .. } in &imported.examples {
        assert!(!reason.contains(char::is_control), "{reason:?}");
    }
}

#[test]
fn invalid_input_is_counted_and_never_panics() {
    let mut rng = Rng::stream(1, "test", 0);
    let mut log = Vec::new();
    for _ in 0..2000 {
        let mut line = LOG.lines().next().unwrap().as_bytes().to_vec();
        for _ in 0..rng.below(4) {
            let at = rng.below(line.len() as u64) as usize;
            line[at] = rng.below(256) as u8;
        }
        line.truncate(1 + rng.below(line.len() as u64) as usize);
        log.extend(line.iter().filter(|&&byte| byte != b'\n'));
        log.push(b'\n');
    }
    let imported = import(&log, None, false);
    assert!(imported.read >= 2000);
    assert_eq!(imported.requests.len() as u64 + imported.malformed + imported.blank, imported.read);
}

/// For every row of the catalogue: only its own importer detects its example, and its errors have a position.
#[test]
fn importers_keep_their_contract() {
    for (at, importer) in CATALOGUE.iter().enumerate() {
        let (name, example) = (importer.name(), importer.example());
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        assert!(name != "auto" && CATALOGUE[..at].iter().all(|other| other.name() != name), "{name} is there twice");
        assert!(!importer.logs().is_empty() && !importer.logs().ends_with('.'), "{name}");
        assert_eq!(find(name).map(|found| found.name()), Some(name));
        let detected: Vec<&str> =
            CATALOGUE.iter().filter(|other| other.detects(example)).map(|other| other.name()).collect();
        assert_eq!(detected, [name], "{example}");
        assert_eq!(detect(example).name(), name);
        // Alone, detected, and behind a syslog prefix, which moves the column of an error.
        for before in ["", "May 17 10:05:03 web1 nginx: "] {
            for format in [None, find(name)] {
                let imported = import(format!("{before}{example}\n").as_bytes(), format, false);
                assert_eq!((imported.requests.len(), imported.malformed), (1, 0), "{name}: {:?}", imported.examples);
                assert!(imported.paths[0].starts_with('/') && !imported.clients[0].is_empty(), "{name}");
            }
            // Cut at any point, a line is read or refused; an error has a position inside it.
            for length in (1..example.len()).filter(|&length| example.is_char_boundary(length)) {
                let log = format!("{example}\n{before}{}\n", &example[..length]);
                let imported = import(log.as_bytes(), find(name), false);
                assert_eq!(imported.requests.len() as u64 + imported.malformed, 2, "{name}: {log}");
                for BadLine { line, column, reason } in &imported.examples {
                    let columns = before.len() + 1..=before.len() + length + 1;
                    assert!(*line == 2 && columns.contains(column), "{name}: {line}:{column}: {reason}");
                }
            }
        }
        for garbage in ["garbage", "\u{1b}]0;x\u{7} \" [ { |", "{}", "[]", "1 2 3 4 5 6 7 8 9", "\"\"\"\"", "- - - -"] {
            let imported = import(format!("{example}\n\n  {garbage}\n").as_bytes(), find(name), false);
            assert_eq!((imported.requests.len(), imported.malformed), (1, 1), "{name}: {garbage}");
            let BadLine { line, column, reason } = &imported.examples[0];
            assert!(*line == 3 && *column >= 3 && !reason.is_empty(), "{name}: {line}:{column}: {reason}");
        }
    }
}

#[test]
fn an_error_has_its_column() {
    let good = "192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET /ä HTTP/1.1\" 200 5";
    let json = r#"{"time":"2015-05-17T10:05:03Z","client_ip":"192.0.2.1","path":"/a","bytes_out":5}"#;
    for (line, from, to, part) in [
        (good, "192.0.2.1", "unix:", "unix:"),
        (good, "17/May", "47/May", "47/May"),
        (good, "] \"GET", "] GET", "GET"),
        (good, "GET /ä HTTP/1.1", "-", "-\" 200"),
        (good, "200", "OK", "OK"),
        (good, " 5", " five", "five"),
        (json, "2015-05-17T10:05:03Z", "noon", "noon"),
        (json, "192.0.2.1", "unix", "unix"),
        (json, "5}", "five}", "five"),
    ] {
        let line = line.replace(from, to);
        for before in ["", "\u{feff}web-1 | "] {
            let log = format!("{before}{line}");
            let imported = import(log.as_bytes(), None, false);
            let before_part = log.find(part).map(|at| log[..at].chars().count());
            let BadLine { column, reason, .. } = &imported.examples[0];
            // An invalid JSON number is reported at its first letter or just after it.
            let expected = before_part.map(|before| before + 1);
            assert!(
                expected == Some(*column) || line.starts_with('{') && expected == Some(column - 1),
                "{log}: {column}: {reason}"
            );
        }
    }
}
