//! What the proxy logs, `evenkeel import` reads: production is recorded and replayed.

use evenkeel::proxy::access::{Entry, Format, Settings};
use evenkeel::proxy::termination::Reason;
use evenkeel::rng::{Rng, Source};
use evenkeel::scenario::import::import;
use evenkeel::scenario::workload_file;
use evenkeel::units::Nanos;

use crate::support::{Folder, evenkeel, text};

fn entry<'a>(micros: i64, client: &str, path: &'a str, bytes_out: u64) -> Entry<'a> {
    Entry {
        time: jiff::Timestamp::from_microsecond(1_700_000_000_000_000 + micros).unwrap(),
        request_id: "0af7651916cd43dd8448eb211c80319c",
        client_ip: client.parse().unwrap(),
        method: "M-SEARCH",
        host: b"evil\"\n\xff",
        path,
        query: Some("a=\"b c\""),
        protocol: http::Version::HTTP_2,
        status: None,
        bytes_in: 5,
        bytes_out,
        duration: Nanos(1),
        upstream: Some("[::1]:9001".parse().unwrap()),
        server: None,
        pool: None,
        connect_time: None,
        first_byte_time: None,
        upstream_time: None,
        attempts: 1,
        strategy: "p2c",
        reason: Reason::ClientGone,
        user_agent: Some(b"\" 200 7\n10.0.0.9 - - [x] \"GET /forged HTTP/1.1\" 200 7"),
        referer: Some(b"\\"),
        tls: None,
    }
}

/// A path with control characters as they stand in a workload.
fn encoded(path: &str) -> String {
    let one = |c: char| match c.is_control() {
        true => c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
        false => c.to_string(),
    };
    path.chars().map(one).collect()
}

#[test]
fn what_is_logged_is_imported() {
    let mut rng = Rng::stream(1, "test", 0);
    let mut paths: Vec<String> = ["/", "/a\"b\\c", "/\\", "/\\x41", "/ä/\u{202e}/\u{7f}", "/a b", "/%2F,\t\r\n", "*"]
        .map(str::to_owned)
        .to_vec();
    for _ in 0..200 {
        let odd: String = (0..rng.below(12)).map(|_| char::from_u32(rng.below(0x300) as u32).unwrap_or('x')).collect();
        paths.push(format!("/{}", odd.replace(['?', '#'], "")));
    }
    let clients = ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "::"];
    for (format, kept) in
        [(Format::Combined, false), (Format::Json, false), (Format::Combined, true), (Format::Json, true)]
    {
        let settings = Settings { format, query: true, share: 1.0 };
        let mut log = Vec::new();
        for (i, path) in paths.iter().enumerate() {
            // Every second one, so that also whole seconds keep their order.
            log.extend(settings.line(&entry(i as i64 * 1_000_250, clients[i % 4], path, i as u64)));
        }
        let imported = import(&log, None, kept);
        assert_eq!((imported.malformed, imported.blank), (0, 0), "{:?}", imported.examples);
        assert_eq!(imported.requests.len(), paths.len());
        for (i, (line, path)) in imported.lines().zip(&paths).enumerate() {
            let path = encoded(path);
            assert_eq!(line.path, if kept { format!("{path}?a=\"b c\"") } else { path });
            // An IPv4 address is the same client however it is written.
            assert_eq!((&*line.client, line.bytes), (clients[i % 4].trim_start_matches("::ffff:"), i as u32));
            let off = line.arrival - i as f64 * 1.000_250;
            let most = if format == Format::Json { 1e-9 } else { 1.0 };
            assert!(off.abs() <= most, "{line:?}");
        }
        // And on to what a replay reads.
        let mut workload = Vec::new();
        workload_file::write(imported.lines(), &mut workload).unwrap();
        let workload = workload_file::read(&text(&workload)).unwrap();
        assert_eq!(workload.entries.len(), paths.len());
    }
}

#[test]
fn the_command_reads_json_by_itself_and_by_flag() {
    let line = |format| Settings { format, query: false, share: 1.0 }.line(&entry(0, "2001:db8::1", "/a", 7));
    let folder = Folder::new();
    let import = |format: &str, log: Vec<u8>| {
        let arguments = ["import", "-", "--force", "--output", "w.csv", "--format", format];
        evenkeel().current_dir(folder.path()).args(arguments).write_stdin(log).output().unwrap()
    };
    let both = || [line(Format::Json), line(Format::Combined)].concat();
    let output = import("auto", both());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("2 requests"), "{}", text(&output.stderr));
    let output = import("json", both());
    assert!(text(&output.stderr).contains("1 lines could not be read"), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("whole seconds"), "{}", text(&output.stderr));
    let written = std::fs::read_to_string(folder.path().join("w.csv")).unwrap();
    assert_eq!(written, "arrival,client,path,bytes\n0.0,2001:db8::1,/a,7\n");
    assert_eq!(import("combined", line(Format::Json)).status.code(), Some(2));
}
