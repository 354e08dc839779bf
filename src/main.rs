//! The `evenkeel` command; everything is in [`evenkeel::cmd`].

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel::cmd::main()
}
