//! `evenkeel import`: what it reads, what it refuses, and the scenario that it writes.

use std::io::Write;

use assert_cmd::Command;

use crate::support::{Folder, evenkeel, root, text};

/// A line of the common format.
fn line(client: &str, second: u32, path: &str) -> String {
    format!(
        "{client} - - [17/May/2015:10:{:02}:{:02} +0000] \"GET {path} HTTP/1.1\" 200 5\n",
        second / 60 % 60,
        second % 60
    )
}

/// `evenkeel import` in a folder.
fn import(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = evenkeel();
    command.current_dir(folder.path()).arg("import").args(arguments);
    command
}

/// Runs it, and returns its exit code and output.
fn run(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn column(folder: &Folder, file: &str, column: usize) -> Vec<String> {
    let workload = std::fs::read_to_string(folder.path().join(file)).unwrap();
    workload.lines().skip(1).map(|line| line.split(',').nth(column).unwrap().to_owned()).collect()
}

#[test]
fn lines_without_a_client_s_address_are_counted_with_their_reasons() {
    let folder = Folder::new();
    let log: String = (0..10)
        .map(|n| line("unix:", n, "/a"))
        .chain([line("203.0.113.5 192.0.2.1", 11, "/a"), line("www.example.org:443 192.0.2.7", 12, "/a")])
        .collect();
    folder.file("in.log", &log);
    let (code, _, said) = run(import(&folder, &["in.log", "-o", "w.csv"]));
    assert_eq!(code, Some(0), "{said}");
    for words in
        ["11 lines could not be read", "10 lines: is not a client's address", "1 lines: two addresses", "--client 2"]
    {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    assert_eq!(column(&folder, "w.csv", 1), ["192.0.2.7"]);
    let (code, _, said) = run(import(&folder, &["in.log", "-o", "w.csv", "--force", "--client", "2"]));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(column(&folder, "w.csv", 1), ["192.0.2.1", "192.0.2.7"]);
}

#[test]
fn a_terminal_is_shown_nothing_that_it_acts_on() {
    let folder = Folder::new();
    let bad = "\u{1b}]0;owned\u{7}\u{1b}[2J \u{9b}31m [x] \"GET / HTTP/1.1\" 200 5\n";
    folder.file("in.log", &format!("{bad}{}{bad}", line("192.0.2.1", 1, "/\u{1b}[31mred")));
    let mut command = import(&folder, &["in.log", "-o", "-"]);
    command.args(["--color", "always"]);
    let (code, out, said) = run(command);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("`2J \\u009b31m [x` is not a time"), "{said}");
    assert!(out.contains("/%1B[31mred"), "{out}");
    for shown in [out, said] {
        assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{7}']), "{shown:?}");
    }
}

/// Thirty thousand requests in one second are played slowly, not at speed 0.
#[test]
fn a_fast_log_is_played_slowly() {
    let folder = Folder::new();
    folder.file("in.log", &line("192.0.2.1", 1, "/a").repeat(30_000));
    let (code, _, said) = run(import(&folder, &["in.log", "-o", "w.csv", "--scenario", "s.toml"]));
    assert_eq!(code, Some(0), "{said}");
    let scenario = std::fs::read_to_string(folder.path().join("s.toml")).unwrap();
    assert!(scenario.contains("speed = 0.00467,"), "{scenario}");
    for text in [&said, &scenario] {
        assert!(text.contains("214 TIMES SLOWER"), "{text}");
    }
    let mut run = evenkeel();
    run.current_dir(folder.path()).args(["run", "s.toml", "--quick", "--strategies", "random", "--dry-run"]);
    run.assert().success();
}

/// How much faster than recorded is said in both places, and a flag plays at the recorded speed.
#[test]
fn the_speed_of_the_scenario_is_said() {
    let folder = Folder::new();
    // 1,000 requests in 2,000 s: half a request per second becomes 140.
    let log: String = (0..1000).map(|n| line(&format!("192.0.2.{}", n % 9), 2 * n, "/a")).collect();
    folder.file("in.log", &log);
    let (code, _, said) = run(import(&folder, &["in.log", "-o", "w.csv", "--scenario", "s.toml"]));
    assert_eq!(code, Some(0), "{said}");
    let scenario = std::fs::read_to_string(folder.path().join("s.toml")).unwrap();
    for text in [&said, &scenario] {
        assert!(text.contains("280 TIMES FASTER"), "{text}");
        assert!(text.contains("4.7 hours"), "{text}");
    }
    assert!(said.contains("--speed 1"), "{said}");
    let (code, _, said) =
        run(import(&folder, &["in.log", "-o", "w.csv", "--scenario", "s.toml", "--force", "--speed", "1"]));
    assert_eq!(code, Some(0), "{said}");
    let scenario = std::fs::read_to_string(folder.path().join("s.toml")).unwrap();
    assert!(scenario.contains("speed = 1, loop") && scenario.contains("duration = \"1998s\""), "{scenario}");
    for text in [&said, &scenario] {
        assert!(text.contains("at the speed of the recording") && !text.contains("TIMES"), "{text}");
    }
    let mut run = evenkeel();
    run.current_dir(folder.path()).args(["run", "s.toml", "--quick", "--strategies", "random", "--dry-run"]);
    run.assert().success();
    for wrong in ["0", "-1", "nan", "inf"] {
        let (code, ..) =
            self::run(import(&folder, &["in.log", "-o", "x.csv", "--scenario", "y.toml", "--speed", wrong]));
        assert_eq!(code, Some(2), "{wrong}");
    }
}

/// The scenario finds its workload, wherever the two are and whatever they are called.
#[test]
fn a_scenario_finds_its_workload() {
    let folder = Folder::new();
    let log = line("192.0.2.1", 1, "/a") + &line("192.0.2.2", 2, "/b");
    folder.file("in.log", &log);
    for name in ["data", "mine/deep"] {
        std::fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    let absolute = folder.path().join("data/absolute.csv");
    for (workload, scenario) in [
        ("data/w.csv", "mine/deep/s.toml"),
        ("w.csv", "mine/s.toml"),
        ("data/w.csv", "s.toml"),
        ("./w.csv", "s.toml"),
        (absolute.to_str().unwrap(), "mine/s.toml"),
        ("e\u{301}.csv", "e\u{301}.toml"),
        ("it's \"odd\" \\ { } \u{7}.csv", "s.toml"),
        ("two\nlines.csv", "mine/s.toml"),
    ] {
        let arguments = ["in.log", "--force", "-o", workload, "--scenario", scenario];
        let (code, _, said) = run(import(&folder, &arguments));
        assert_eq!(code, Some(0), "{workload}, {scenario}: {said}");
        let mut command = evenkeel();
        command.current_dir(folder.path());
        let output =
            command.args(["run", scenario, "--quick", "--strategies", "random", "--dry-run"]).output().unwrap();
        assert!(output.status.success(), "{workload}, {scenario}: {}", text(&output.stderr));
    }
}

#[test]
fn what_would_be_overwritten_is_refused_before_the_log_is_read() {
    let folder = Folder::new();
    let log = line("192.0.2.1", 1, "/a");
    folder.file("in.log", &log);
    for (arguments, words) in [
        (&["in.log", "-o", "in.log", "--force"][..], "overwrite the log"),
        (&["in.log", "-o", "w.csv", "--scenario", "w.csv"], "overwrite the workload"),
        (&["in.log", "-o", "w.csv", "--scenario", "./w.csv"], "overwrite the workload"),
        (&["in.log", "-o", "w.csv", "--scenario", "./in.log", "--force"], "overwrite the log"),
        (&["in.log", "-o", "-", "--scenario", "s.toml"], "from a file"),
        (&["in.log", "-o", "in.log"], "--force"),
        (&["in.log", "-o", "."], "it is a folder"),
        (&["-"], "--output"),
    ] {
        let (code, _, said) = run(import(&folder, arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("in.log")).unwrap(), log);
}

#[test]
fn outliers_and_steps_back_are_said() {
    let folder = Folder::new();
    let old = line("192.0.2.1", 1, "/old").replace("17/May/2015", "01/Jan/1970");
    let log = line("192.0.2.1", 1000, "/a") + &line("192.0.2.1", 2000, "/a") + &old + &line("192.0.2.1", 1500, "/a");
    folder.file("in.log", &log);
    let (code, _, said) = run(import(&folder, &["in.log", "-o", "w.csv", "--scenario", "s.toml"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3 requests over 1000 s"), "{said}");
    assert!(said.contains("line 3: 1970-01-01T10:00:01Z") && said.contains("--keep-outliers"), "{said}");
    assert!(!said.contains("earlier"), "{said}");
    let arguments = ["in.log", "-o", "w.csv", "--force", "--keep-outliers"];
    let (code, _, said) = run(import(&folder, &arguments));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("4 requests") && said.contains("45 years without a request"), "{said}");
    assert!(said.contains("warning: line 3 is 45 years earlier"), "{said}");
}

#[test]
fn packed_logs_are_read_or_named() {
    let folder = Folder::new();
    let log = line("192.0.2.1", 1, "/a");
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(log.repeat(3).as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    // Members one after another, as `cat` makes them of rotated logs.
    write("good.gz", &[gzip.clone(), gzip.clone()].concat());
    write("cut.gz", &gzip[..gzip.len() - 9]);
    let utf_16: Vec<u8> = log.encode_utf16().flat_map(u16::to_le_bytes).collect();
    write("utf16.log", &[&[0xff, 0xfe][..], &utf_16].concat());
    write("plain16.log", &utf_16);
    write("x.log", b"\xfd7zXZ\0\0\x04");
    write("b.log", b"BZh91AY&SY");
    write("z.log", b"\x28\xb5\x2f\xfd\x04");
    let (code, _, said) = run(import(&folder, &["good.gz", "-o", "w.csv"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("6 requests"), "{said}");
    for (name, words) in [
        ("cut.gz", "not a valid gzip file"),
        ("utf16.log", "UTF-16"),
        ("plain16.log", "UTF-16"),
        ("x.log", "xzcat"),
        ("b.log", "bzcat"),
        ("z.log", "zstdcat"),
        (".", "cannot read"),
        ("gone", "cannot read"),
    ] {
        let (code, _, said) = run(import(&folder, &[name, "-o", "none.csv"]));
        assert_eq!(code, Some(2), "{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
        assert!(!folder.path().join("none.csv").exists());
    }
}

/// Memory is for what the workload holds, not for the log: twenty megabytes of one client and a hundred paths. A limit on the
/// address space would count what is only reserved, so the peak of what was resident is asked for.
#[cfg(target_os = "linux")]
#[test]
fn a_long_log_is_read_in_pieces() {
    use std::process::{Command, Stdio};
    let folder = Folder::new();
    let agent = "x".repeat(2000);
    let log: String = (0..100)
        .map(|n| line("192.0.2.1", n, &format!("/{n}")).replace("200 5", &format!("200 5 \"-\" \"{agent}\"")))
        .collect();
    let peak = |copies: usize| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .current_dir(folder.path())
            .args(["import", "-", "--force", "-o", "w.csv"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        for _ in 0..copies {
            input.write_all(log.as_bytes()).unwrap();
        }
        // It has read all but what is in the pipe, and waits for more.
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let (small, large) = (peak(10), peak(200));
    // 40 MB more of log, 19,000 requests more at 40 bytes (and as much again while the list grows).
    assert!(large < small + 8_000, "{small} kB, {large} kB");
}

/// What the repository's own log becomes has not changed with the way it is read.
#[test]
fn the_log_may_come_through_a_pipe() {
    let folder = Folder::new();
    let log = std::fs::read(root().join("scenarios/logs/shop-access.log.gz")).unwrap();
    let output = import(&folder, &["-", "-o", "-"]).write_stdin(log).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let committed = std::fs::read(root().join("scenarios/logs/shop.workload.csv")).unwrap();
    assert!(output.stdout == committed);
}

/// Times count from the first request where they begin far from zero, also where the file is played again and again.
#[test]
fn arrivals_as_seconds_since_1970_are_played() {
    let folder = Folder::new();
    let workload = |first: f64| {
        let lines: String = (0..20).map(|n| format!("{},192.0.2.1,/a,5\n", first + f64::from(n) / 10.0)).collect();
        format!("arrival,client,path,bytes\n{lines}")
    };
    let scenario = |repeat: bool| {
        format!(
            "title = \"t\"\nquestion = \"q\"\nduration = \"1500ms\"\nwarmup = \"200ms\"\nreplications = 2\nstrategies = [\"random\"]\n\
             arrivals = {{ replay = {{ file = \"w.csv\", loop = {repeat} }} }}\nservice = {{ constant = {{ value = \"1ms\" }} }}\n\
             [[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\n"
        )
    };
    let run = |repeat: bool| {
        folder.file("s.toml", &scenario(repeat));
        let mut command = evenkeel();
        command.current_dir(folder.path()).args(["run", "s.toml", "--dry-run", "--json"]);
        self::run(command)
    };
    for first in [0.0, 1_700_000_000.0] {
        for repeat in [false, true] {
            folder.file("w.csv", &workload(first));
            let (code, out, said) = run(repeat);
            assert_eq!(code, Some(0), "{said}");
            let result: serde_json::Value = serde_json::from_str(&out).unwrap();
            let throughput = result["strategies"][0]["metrics"]["throughput"]["value"].as_f64().unwrap();
            // One every tenth of a second.
            assert!((throughput - 10.0).abs() < 0.7, "{first} {repeat}: {throughput}");
        }
    }
    // A recording whose requests all come after the run is an error and not a quiet success.
    folder.file("w.csv", &(workload(50.0) + "600,192.0.2.1,/a,5\n"));
    for repeat in [false, true] {
        let (code, _, said) = run(repeat);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("the first request comes after 50.0 s") && said.contains("s.toml:7:"), "{said}");
    }
}
