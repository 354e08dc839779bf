//! `bench proxy` measures proxies that do their work, and refuses those that do not.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Folder, evenkeel, text};

/// The shortest run that says anything.
const TINY: [&str; 8] = ["--rounds", "2", "--seconds", "0.1", "--connections", "4", "--bytes", "200"];

/// Runs it with only these programs to be found; gives the exit code, what it found, and its output.
fn bench(path: &Path, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = evenkeel();
    command.args(["bench", "proxy", "--json"]).args(TINY).args(arguments).env("PATH", path);
    let output = command.output().unwrap();
    let found = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), found, text(&output.stderr))
}

#[test]
fn the_proxy_is_measured_and_its_work_verified() {
    let nothing = Folder::new();
    let (code, found, said) = bench(nothing.path(), &["--only", "evenkeel"]);
    assert_eq!(code, Some(0), "{said}");
    let case = &found["cases"][0];
    assert_eq!((&case["bytes"], &case["connections"]), (&200.into(), &4.into()));
    let row = &case["contenders"][0];
    assert_eq!((&row["name"], &row["rounds"]), (&"evenkeel".into(), &2.into()), "{said}");
    for figure in ["requests_per_second", "p50_seconds", "p99_seconds"] {
        assert!(row[figure]["median"].as_f64().unwrap() > 0.0, "{figure}: {row}");
        assert!(row[figure]["min"].as_f64() <= row[figure]["max"].as_f64(), "{figure}: {row}");
    }
    if cfg!(target_os = "linux") {
        assert!(row["resident_bytes"]["median"].as_f64().unwrap() > 1e6, "{row}");
        assert!(row["cpu_seconds_per_request"]["median"].is_f64(), "{row}");
        for share in ["core_busy", "saturated", "load_core_busy"] {
            let share = row[share]["median"].as_f64().unwrap();
            assert!(share > 0.0 && share < 1.5, "{row}");
        }
        assert_eq!(row["verdict"].as_bool(), Some(row["saturated"]["median"].as_f64().unwrap() >= 0.95), "{row}");
        let waits = row["load_waits_per_request"]["median"].as_f64().unwrap();
        assert!(waits > 0.0 && waits < 5.0, "{row}");
    }
    assert_eq!(row["ratios"]["rate"]["median"], 1.0, "with itself");
}

/// Those that are installed take part; a machine without them tests what it can.
#[test]
fn installed_proxies_are_compared_and_missing_ones_named() {
    let path = PathBuf::from(std::env::var_os("PATH").unwrap_or_default());
    let (code, found, said) = bench(&path, &[]);
    assert_eq!(code, Some(0), "{said}");
    let names = |of: &Value| -> Vec<String> {
        of.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let (there, missing) = (names(&found["contenders"]), names(&found["missing"]));
    for name in ["haproxy", "nginx", "evenkeel"] {
        assert!(there.iter().chain(&missing).any(|known| known == name), "{name}: {found}");
    }
    assert_eq!(names(&found["cases"][0]["contenders"]), there);
    for name in &missing {
        assert!(said.contains(&format!("{name} is not on PATH")) && said.contains("apt install"), "{said}");
    }
    for row in found["cases"][0]["contenders"].as_array().unwrap() {
        assert_eq!(row["base"].as_str(), Some(there[0].as_str()));
        assert!(row["ratios"]["rate"]["median"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn strategies_are_compared_with_round_robin() {
    let nothing = Folder::new();
    let (code, found, said) = bench(nothing.path(), &["--strategies", "--only", "p2c,consistent_hash"]);
    assert_eq!(code, Some(0), "{said}");
    let rows = found["cases"][0]["contenders"].as_array().unwrap();
    let pairs: Vec<_> = rows.iter().map(|row| (row["name"].as_str().unwrap(), row["base"].as_str().unwrap())).collect();
    let base = "round_robin";
    assert_eq!(pairs, [("round_robin", base), ("p2c", base), ("consistent_hash", base)], "{said}");
    let (code, _, said) = bench(nothing.path(), &["--only", "p2c"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("no contender is called `p2c`") && said.contains("--strategies"), "{said}");
}

/// A program that calls itself HAProxy and answers by itself.
#[cfg(unix)]
fn impostor(folder: &Folder, bytes: u32) {
    use std::os::unix::fs::PermissionsExt;
    let program = assert_cmd::cargo::cargo_bin("evenkeel");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = -v ] && exit 0\nwhile read -r word value; do [ \"$word\" = bind ] && listen=$value; done < \"$3\"\n\
         exec '{}' test-server --bytes {bytes} --listen \"$listen\"\n",
        program.display()
    );
    let file = folder.file("haproxy", &script);
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(unix)]
#[test]
fn a_proxy_with_wrong_answers_is_refused() {
    for (bytes, why) in [(7, "7 bytes where the origin sends 200"), (200, "its body is not the origin's")] {
        let folder = Folder::new();
        impostor(&folder, bytes);
        let (code, found, said) = bench(folder.path(), &["--only", "haproxy,evenkeel"]);
        assert_eq!(code, Some(1), "{said}");
        let [impostor, evenkeel] = &found["contenders"].as_array().unwrap()[..] else { panic!("{found}") };
        assert!(impostor["refused"].as_str().unwrap().contains(why), "{said}");
        assert_eq!(evenkeel["refused"], Value::Null);
        // The other proxies are still measured, and none is compared with the impostor.
        let [row] = &found["cases"][0]["contenders"].as_array().unwrap()[..] else { panic!("{found}") };
        assert_eq!((row["name"].as_str(), row["base"].as_str()), (Some("evenkeel"), Some("evenkeel")));
    }
}

/// A killed bench leaves no proxy process behind.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_all() {
    use std::io::{BufRead, BufReader};
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("evenkeel"));
    command.args(["bench", "proxy", "--only", "evenkeel", "--rounds", "900", "--seconds", "0.1"]);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = said.next().unwrap().unwrap();
    assert!(first.contains("round 1 of 900") || first.contains("is not on PATH"), "{first}");
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let proxies: Vec<String> =
        std::fs::read_to_string(children).unwrap().split_whitespace().map(str::to_owned).collect();
    assert_eq!(proxies.len(), 1);
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!Path::new(&format!("/proc/{}", proxies[0])).exists(), "it lives on");
}
