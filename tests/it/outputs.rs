//! Where output goes: links are followed, FIFOs and devices are written to, standard output may end early, standard error may
//! be full; and what is given to read need not be a file.
#![cfg(unix)]

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Folder, SOUND, evenkeel, text};

const LOG: &str = "192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 5\n\
                   192.0.2.2 - - [17/May/2015:10:05:04 +0000] \"GET /b HTTP/1.1\" 200 5\n";

/// The workload that the log becomes.
const REQUESTS: [&str; 2] = ["192.0.2.1,/a,5", "192.0.2.2,/b,5"];

fn is_workload(written: &str) -> bool {
    let lines: Vec<&str> = written.lines().collect();
    lines.len() == 3 && lines[1].ends_with(REQUESTS[0]) && lines[2].ends_with(REQUESTS[1])
}

/// A command of its own, for redirections.
fn shell(folder: &Path, script: &str) -> Output {
    let script = format!("set -o pipefail; {script}");
    let mut command = Command::new("bash");
    command.current_dir(folder).args(["-c", &script]).env("E", env!("CARGO_BIN_EXE_evenkeel")).stdin(Stdio::null());
    command.output().unwrap()
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Waits for it, but not for ever: `None` where it hangs and was killed.
#[allow(clippy::disallowed_methods, reason = "a test of a process waits for it")]
fn ends(mut child: std::process::Child) -> Option<Output> {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(child.wait_with_output().unwrap())
}

fn spawn(folder: &Path, arguments: &[&str]) -> std::process::Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Two folders of results, a trace and a log.
fn results() -> Folder {
    let folder = Folder::new();
    folder.file("s.toml", SOUND);
    folder.file("in.log", LOG);
    for arguments in [&["--out", "a"][..], &["--out", "b", "--trace"]] {
        let mut command = evenkeel();
        command.current_dir(folder.path()).args(["run", "s.toml", "--quiet", "--strategies", "random"]).args(arguments);
        command.assert().success();
    }
    let trace = folder.path().join("b/s/trace");
    let first = std::fs::read_dir(&trace).unwrap().next().unwrap().unwrap().path();
    std::fs::rename(first, folder.path().join("trace.csv.gz")).unwrap();
    folder
}

/// Every command that writes a file which the user names, without the name.
const WRITERS: [&[&str]; 6] = [
    &["import", "in.log", "--output"],
    &["compare", "a", "b", "--export-json"],
    &["compare", "a", "b", "--export-markdown"],
    &["compare", "a", "b", "--export-junit"],
    &["compare", "a", "b", "--export-csv"],
    &["trace", "trace.csv.gz", "--request", "1", "--output"],
];

#[test]
fn named_outputs_are_written_in_place() {
    let folder = results();
    let path = |name: &str| folder.path().join(name);
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    for writer in WRITERS {
        let run = |name: &str, force: &[&str]| {
            let child = spawn(folder.path(), &[writer, &[name], force].concat());
            let output = ends(child).unwrap_or_else(|| panic!("{writer:?} {name} hangs"));
            let code = output.status.code().unwrap();
            assert!(code < 100 && code != 3, "{writer:?} {name}: {output:?}");
            code
        };
        std::fs::write(path("target"), "keep").unwrap();
        let _ = std::fs::remove_file(path("new"));
        for (link, target) in [("link", "target"), ("second", "link"), ("dangling", "new"), ("null", "/dev/null")] {
            let _ = std::fs::remove_file(path(link));
            symlink(target, path(link)).unwrap();
        }
        // A file that is there, also behind links, is overwritten only by force.
        for name in ["target", "link", "second"] {
            assert_eq!(run(name, &[]), 2, "{writer:?} {name}");
            assert_eq!(read("target"), "keep");
        }
        for name in ["second", "dangling"] {
            assert_ne!(run(name, &["--force"]), 2, "{writer:?} {name}");
            assert!(path(name).symlink_metadata().unwrap().is_symlink(), "{writer:?}: the link {name} is gone");
        }
        assert!(path("link").symlink_metadata().unwrap().is_symlink());
        let written = read("target");
        assert!(written.len() > 20 && written != "keep", "{writer:?}");
        assert_eq!(read("new"), written, "a link to a file that is not there makes it");
        // A device loses nothing and needs no force.
        assert_ne!(run("null", &[]), 2);
        assert!(Path::new("/dev/null").metadata().unwrap().file_type().is_char_device());
        // A FIFO is written to.
        let _ = std::fs::remove_file(path("pipe"));
        fifo(&path("pipe"));
        let reader = std::thread::spawn({
            let pipe = path("pipe");
            move || std::fs::read_to_string(pipe).unwrap()
        });
        assert_ne!(run("pipe", &[]), 2, "{writer:?}");
        assert_eq!(reader.join().unwrap(), written, "{writer:?}");
        assert!(path("pipe").symlink_metadata().unwrap().file_type().is_fifo(), "{writer:?}: the FIFO is gone");
        // Nothing is left beside them.
        let left = std::fs::read_dir(folder.path()).unwrap().flatten();
        assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().contains("partial")).count(), 0);
    }
}

#[test]
fn standard_output_has_several_names() {
    let folder = results();
    symlink("/dev/stdout", folder.path().join("out")).unwrap();
    for writer in WRITERS {
        let expected = {
            let output =
                shell(folder.path(), &format!("\"$E\" {} plain >/dev/null; cat plain; rm plain", writer.join(" ")));
            text(&output.stdout)
        };
        assert!(expected.len() > 20, "{writer:?}");
        for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "out"] {
            if name == "out" && writer[0] == "compare" {
                // There the tables are on standard output as well.
                continue;
            }
            // A pipe, and a file: that one must keep what is in it.
            let output = shell(folder.path(), &format!("\"$E\" {} {name} | cat", writer.join(" ")));
            assert_eq!(text(&output.stdout), expected, "{writer:?} {name}");
            let script = format!("echo before > file; \"$E\" {} {name} >> file; cat file", writer.join(" "));
            let output = shell(folder.path(), &script);
            assert_eq!(text(&output.stdout), format!("before\n{expected}"), "{writer:?} {name}");
        }
        assert!(!folder.path().join("-").exists());
    }
}

/// Also the files of a folder of results.
#[test]
fn links_among_results_stay_links() {
    let folder = Folder::new();
    folder.file("s.toml", SOUND);
    std::fs::create_dir_all(folder.path().join("out/s")).unwrap();
    let names = ["metrics.csv", "manifest.json", "latency.svg"];
    for name in names {
        folder.file(&format!("else/{name}"), "{}");
        symlink(format!("../../else/{name}"), folder.path().join("out/s").join(name)).unwrap();
    }
    let mut command = evenkeel();
    command.current_dir(folder.path()).args(["run", "s.toml", "--out", "out", "--quiet", "--strategies", "random"]);
    command.assert().success();
    for name in names {
        assert!(folder.path().join("out/s").join(name).symlink_metadata().unwrap().is_symlink(), "{name}");
        assert!(std::fs::metadata(folder.path().join("else").join(name)).unwrap().len() > 100, "{name}");
    }
}

/// Messages that cannot be written cause no failure, and no result is lost.
#[test]
fn a_standard_error_that_is_full_or_closed_loses_nothing() {
    let folder = results();
    folder.file("bad.toml", "title = 3\n");
    folder.file("noise.log", &format!("{}{LOG}", "no line\n".repeat(3)));
    for redirection in ["2>/dev/full", "2>&-", "2>&1 >/dev/null | head -c 0", "2>&1 >/dev/null | true"] {
        let _ = std::fs::remove_file(folder.path().join("w.csv"));
        let _ = std::fs::remove_dir_all(folder.path().join("o"));
        let script = format!(
            "\"$E\" import noise.log -o w.csv --scenario w.toml --force {redirection}; echo ${{PIPESTATUS[0]}} \
             $(\"$E\" run s.toml --out o --resume --strategies random {redirection} > /dev/null; echo ${{PIPESTATUS[0]}}) \
             $(\"$E\" run bad.toml {redirection} > /dev/null; echo ${{PIPESTATUS[0]}}) \
             $(\"$E\" nothing {redirection} > /dev/null; echo ${{PIPESTATUS[0]}}) \
             $(\"$E\" proxy --config bad.toml {redirection} > /dev/null; echo ${{PIPESTATUS[0]}})"
        );
        let output = shell(folder.path(), &script);
        assert_eq!(text(&output.stdout).trim(), "0 0 2 2 2", "{redirection}: {}", text(&output.stderr));
        let workload = std::fs::read_to_string(folder.path().join("w.csv")).unwrap();
        assert!(is_workload(&workload), "{redirection}: {workload}");
        assert!(folder.path().join("o/s/manifest.json").exists(), "{redirection}");
    }
}

/// The proxy's messages go to standard error all the time; it serves without them.
#[test]
fn a_proxy_serves_where_its_messages_cannot_be_written() {
    use std::io::BufRead;
    let folder = Folder::new();
    folder.file(
        "p.toml",
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[pools]]\nname = \"web\"\nstrategy = \"p2c\"\n\
         health = { interval = \"20ms\", timeout = \"10ms\", fall = 1 }\n\
         [[pools.servers]]\nname = \"s\"\naddress = \"127.0.0.1:9\"\n[log]\nfile = \"access.log\"\n",
    );
    for redirection in ["2>/dev/full", "2>&-"] {
        let script = format!("exec \"$E\" proxy --config p.toml --log-level debug {redirection}");
        let mut command = Command::new("bash");
        command.current_dir(folder.path()).args(["-c", &script]).env("E", env!("CARGO_BIN_EXE_evenkeel"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening at ").map(str::to_owned);
        let answer = address.clone().map(|address| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        // The reader of its standard output is gone by now, too.
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        let output = ends(child).expect("it ends");
        assert!(address.is_some(), "{redirection}: {line:?}");
        assert!(answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 50")), "{redirection}");
        assert_eq!(output.status.code(), Some(0), "{redirection}");
    }
}

#[test]
fn a_standard_output_that_ends_early_ends_quietly_and_a_full_one_is_said() {
    let folder = results();
    for command in
        ["list", "explain p2c", "run s.toml --dry-run --json", "proxy --example", "import in.log -o -", "--help"]
    {
        let output = shell(
            folder.path(),
            &format!("\"$E\" {command} 2>err | true; echo ${{PIPESTATUS[0]}}; grep -c panicked err"),
        );
        assert_eq!(text(&output.stdout).trim(), "0\n0", "{command}");
        if command == "--help" {
            continue;
        }
        let output = shell(folder.path(), &format!("\"$E\" {command} > /dev/full"));
        assert_eq!(output.status.code(), Some(3), "{command}");
        assert!(text(&output.stderr).contains("error: cannot write"), "{command}: {}", text(&output.stderr));
    }
}

/// A meaningful exit code is the same if the reader closes the pipe early.
#[test]
fn an_answer_does_not_depend_on_its_reader() {
    let folder = Folder::new();
    let expect = "[[expect]]\nassert = \"latency.mean[random] < 1us\"\nreason = \"it is not\"\n";
    folder.file("s.toml", &format!("{SOUND}{expect}"));
    let script = "\"$E\" check s.toml --quiet | true; echo ${PIPESTATUS[0]}";
    assert_eq!(text(&shell(folder.path(), script).stdout).trim(), "1");
}

/// A scenario folder may hold anything.
#[test]
fn non_files_in_a_scenario_folder_are_skipped_with_a_warning() {
    let folder = Folder::new();
    folder.file("s/b.toml", SOUND);
    fifo(&folder.path().join("s/a.toml"));
    symlink("/dev/zero", folder.path().join("s/c.toml")).unwrap();
    std::fs::create_dir(folder.path().join("s/d.toml")).unwrap();
    let child = spawn(folder.path(), &["run", "s", "--dry-run", "--json", "--strategies", "random"]);
    let output = ends(child).expect("a FIFO is not waited for");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    let said = text(&output.stderr);
    for words in ["a.toml is a FIFO", "c.toml is a device", "d.toml is a folder"] {
        assert!(said.contains(&format!("skipped: s/{words}, not a file")), "{words}: {said}");
    }
}

#[test]
fn messages_name_the_kind_of_what_is_no_scenario_file() {
    let folder = Folder::new();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    fifo(&folder.path().join("pipe.toml"));
    fifo(&folder.path().join("pipe.csv"));
    write("yaml.toml", b"title: x\npools:\n  - name: web\n");
    write("json.toml", b"{\n  \"title\": \"x\"\n}\n");
    write("binary.toml", b"\x7fELF\x02\x01\x01\0\0\0\0");
    write("latin.toml", b"title = \"x\"\nquestion = \"caf\xe9\"\n");
    write("utf16.toml", b"\xff\xfet\0i\0");
    write("gzip.toml", b"\x1f\x8b\x08\0\0\0");
    std::fs::File::create(folder.path().join("huge.toml")).unwrap().set_len(64 << 20).unwrap();
    write("long.toml", &b"# comment\n".repeat(2 << 20));
    let of_data = SOUND
        .replace("{ exponential = { mean = \"10ms\" } }", "{ empirical = { file = \"pipe.csv\", unit = \"1ms\" } }");
    write("data.toml", of_data.as_bytes());
    write("escape.toml", SOUND.replace("\"Sound\"", "\"\\u001b[2Jx\"").as_bytes());
    write("raw.toml", SOUND.replace("\"Sound\"", "\"\u{1b}[2J\u{9b}2J\"").as_bytes());
    std::fs::create_dir(folder.path().join("yamls")).unwrap();
    write("yamls/s.yaml", b"title: x\n");
    for (name, words) in [
        ("pipe.toml", "is a FIFO, not a file"),
        ("/dev/zero", "is a device, not a file"),
        ("yaml.toml", "looks like YAML"),
        ("json.toml", "looks like JSON"),
        ("binary.toml", "is a binary file"),
        ("latin.toml", "is not UTF-8 text (line 2)"),
        ("utf16.toml", "is UTF-16"),
        ("gzip.toml", "compressed with gzip"),
        ("huge.toml", "is a binary file"),
        ("long.toml", "is longer than 16 MiB"),
        ("data.toml", "`pipe.csv` is a FIFO"),
        ("escape.toml", "control character U+001B"),
        ("raw.toml", "error"),
        ("yamls", "scenarios are TOML"),
    ] {
        let output = ends(spawn(folder.path(), &["run", name, "--dry-run", "--color", "always"]))
            .unwrap_or_else(|| panic!("{name} is waited for"));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
        assert!(!said.contains("\u{1b}[2J") && !said.contains('\u{9b}'), "{name}: {said:?}");
    }
    for command in ["proxy", "test-server"] {
        for (name, words) in [("yaml.toml", "looks like YAML"), ("json.toml", "looks like JSON")] {
            let output = ends(spawn(folder.path(), &[command, "--config", name])).expect("it is refused");
            assert!(text(&output.stderr).contains(words), "{command} {name}: {}", text(&output.stderr));
        }
    }
}

/// Untrusted names, such as a file's name or the name of a server that answers, are escaped before they reach a
/// terminal.
#[test]
fn untrusted_names_are_escaped_on_terminals() {
    let folder = Folder::new();
    folder.file("\u{1b}[2J\u{7}x.toml", SOUND);
    let output = ends(spawn(folder.path(), &["run", ".", "--dry-run", "--color", "always"])).expect("it ends");
    assert!(output.status.success());
    for shown in [text(&output.stdout), text(&output.stderr)] {
        assert!(!shown.contains("\u{1b}[2J") && !shown.contains('\u{7}'), "{shown:?}");
    }
    assert!(text(&output.stdout).contains("\\u001b[2J\\u0007x"), "{}", text(&output.stdout));

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 2048];
        let _ = stream.read(&mut request).unwrap();
        let answer =
            "HTTP/1.1 200 OK\r\nserver: a\r\nx-served-by: \u{9b}2Jx\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
    });
    let url = format!("http://{address}/");
    let output = ends(spawn(folder.path(), &["load", &url, "--requests", "1", "--quiet"])).expect("it ends");
    server.join().unwrap();
    for shown in [text(&output.stdout), text(&output.stderr)] {
        assert!(!shown.contains(['\u{1b}', '\u{9b}']), "{shown:?}");
    }
}

#[test]
fn a_recording_goes_where_its_name_leads() {
    let folder = Folder::new();
    folder.file("target", "");
    symlink("target", folder.path().join("link")).unwrap();
    folder.file(
        "p.toml",
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[pools]]\nname = \"web\"\nstrategy = \"p2c\"\n\
         [[pools.servers]]\nname = \"s\"\naddress = \"127.0.0.1:9\"\n[log]\nfile = \"access.log\"\n",
    );
    for record in ["link", "-"] {
        let mut child = spawn(folder.path(), &["proxy", "--config", "p.toml", "--record", record]);
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        // It listens: said on the other one where standard output is the recording's.
        let mut said = Vec::new();
        let from: &mut dyn Read = if record == "-" { &mut err } else { &mut out };
        while !text(&said).contains("listening at") {
            let mut byte = [0];
            assert_eq!(from.read(&mut byte).unwrap(), 1, "{}", text(&said));
            said.push(byte[0]);
        }
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(ends(child).expect("it ends").status.code(), Some(0));
        let recording =
            if record == "-" { rest } else { std::fs::read_to_string(folder.path().join("target")).unwrap() };
        assert!(recording.starts_with("[0,{\"opening\":"), "{record}: {recording}");
        assert!(recording.lines().all(|line| line.starts_with('[')), "{record}: {recording}");
    }
    assert!(folder.path().join("link").symlink_metadata().unwrap().is_symlink());
}

/// The question is there before the table, the answer after it, both filled to a pipe's 80 columns; `--json` has both.
#[test]
fn a_run_asks_before_its_table_and_answers_after_it() {
    let folder = Folder::new();
    let long = "Because two servers are compared, and the one with fewer requests in flight is taken, every time.";
    folder.file(
        "s.toml",
        &SOUND.replace("weight = 1\n", "").replace("duration", &format!("answer = \"{long}\"\nduration")),
    );
    let run = |more: &[&str]| {
        let arguments = [&["run", "s.toml", "--quiet", "--dry-run"], more].concat();
        text(&evenkeel().current_dir(folder.path()).args(arguments).output().unwrap().stdout)
    };
    let printed = run(&[]);
    let at = |what: &str| printed.find(what).unwrap_or_else(|| panic!("no {what}: {printed}"));
    assert!(at("Is it?") < at("p2c") && at("p2c") < at("Answer\n") && at("Answer\n") < at("Because two"), "{printed}");
    let answer = &printed[at("Because two")..].split("\n\n").next().unwrap();
    assert!(answer.lines().count() == 2 && answer.lines().all(|line| line.len() <= 80), "{answer}");
    assert_eq!(answer.replace('\n', " "), long);
    let json: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
    assert_eq!((&json["question"], &json["answer"]), (&"Is it?".into(), &long.into()));
}
