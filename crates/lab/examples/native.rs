//! With `--source`: which source this was built from, as the module's catalogue says it. Else: runs that are given as lines of JSON on standard input (`OpenRequest`), natively: their results as lines of JSON. The engine's
//! test in Node compares them with those of the WebAssembly module.

use std::io::{self, BufRead, Write};

use evenkeel_lab::{OpenRequest, RunResult};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    if std::env::args().any(|argument| argument == "--source") {
        return writeln!(out, "{}", evenkeel_lab::source());
    }
    for line in io::stdin().lock().lines() {
        let request: OpenRequest = serde_json::from_str(&line?)?;
        let result = RunResult::whole(&request).map_err(|refusal| io::Error::other(refusal.message))?;
        writeln!(out, "{}", serde_json::to_string(&result)?)?;
    }
    Ok(())
}
