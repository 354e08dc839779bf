//! The `evenkeel` command; everything is in [`evenkeel::cmd`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    evenkeel::cmd::main()
}
