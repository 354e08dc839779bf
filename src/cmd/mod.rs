//! The command line: one file per command. Only this module turns errors into exit codes, reads a clock, opens files and
//! starts threads.

#![allow(clippy::disallowed_methods, reason = "the command line may read the clock; the modules below must not")]

mod bench;
mod check;
mod compare;
mod demo;
mod embedded;
mod experiment;
mod explain;
mod fingerprints;
mod import;
mod init;
mod inputs;
mod lab;
mod lessons;
mod list;
mod load;
mod loopback;
mod merge;
mod point_runs;
mod proxy;
mod replay;
mod report;
mod results_dir;
mod run;
mod run_cache;
mod run_id;
mod scenarios;
mod scheduler;
mod shell;
mod sweep;
mod test_server;
mod trace;
mod tracing;
mod twin;
mod validate;
mod warmup;

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Parser, Subcommand, ValueEnum};

use evenkeel_config::Diagnostic;
use evenkeel_config::terminal::{printable, printable_styled};

/// The commit of a release build.
const COMMIT: Option<&str> = option_env!("EVENKEEL_COMMIT");
/// The text of `--version`.
const VERSION: &str = env!("EVENKEEL_VERSION");

/// Success.
const DONE: u8 = 0;
/// The check failed: an expectation, a golden pick, a comparison.
const NO: u8 = 1;
/// Usage or configuration.
const USAGE: u8 = 2;
/// Internal error, or an I/O error.
const BROKEN: u8 = 3;
/// Undecided: there was no basis for a verdict.
const UNDECIDED: u8 = 4;
/// Requests failed, and the command line asks for success.
const ERRORS: u8 = 100;
/// Interrupted.
const INTERRUPTED: u8 = 130;

const AFTER_HELP: &str = "\
Examples:
  evenkeel run slow-server --quick        an embedded scenario, a first look
  evenkeel explain p2c                    a strategy: rule, source, weaknesses
  evenkeel init                           a scenario of your fleet to fill in
  evenkeel run fleet.toml                 tables here, charts in results/
  evenkeel check fleet.toml               verify its expectations
  evenkeel compare before after           regressions and improvements
  evenkeel proxy --demo                   the reverse proxy at work

Exit codes:
  0    done
  1    a check failed, or a comparison found a regression
  2    usage or configuration error; the message says where, and how to fix it
  3    internal or I/O error, or a run needs too much memory;
       `twin`: no verdict, the machine was too busy
  4    `compare`: nothing could be decided; --allow-undecided exits 0 instead
  100  `load --expect-no-errors`: a request failed
  130  interrupted; finished runs are on disk";

/// A load-balancing laboratory: simulate, measure and compare strategies, and run them in a reverse proxy.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version = VERSION, after_help = AFTER_HELP, max_term_width = 110)]
struct Cli {
    /// When to use colours (NO_COLOR is respected)
    #[arg(long, value_enum, default_value_t = Colour::Auto, global = true, env = "EVENKEEL_COLOR")]
    color: Colour,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run scenarios with every strategy; write tables, CSV and charts
    Run(run::Args),
    /// Verify expectations and golden picks of scenarios; exit 1 if one fails
    Check(check::Args),
    /// Run a scenario with varied parameters, or test whether the ranking is robust
    Sweep(sweep::Args),
    /// Merge the parts of a sharded run
    Merge(merge::Args),
    /// Convert a run's trace, or one request of it, for Perfetto
    Trace(trace::Args),
    /// Make the HTML report of results on disk
    Report(report::Args),
    /// Compare two folders of results; exit 1 on a regression
    Compare(compare::Args),
    /// Validate the simulator against queueing theory
    Validate(validate::Args),
    /// Open the lab: a page in which strategies are watched at work, with lessons
    Lab(lab::Args),
    /// List the strategies
    List(list::Args),
    /// Write a scenario of your own fleet to fill in, and a matching proxy config
    Init(init::Args),
    /// List, print or copy the embedded scenarios
    Scenarios(scenarios::Args),
    /// List, print or copy the lessons of the lab
    Lessons(lessons::Args),
    /// Explain a strategy: idea, rule, parameters, source, when it fails
    Explain(explain::Args),
    /// Convert an access log into a workload that a scenario can replay
    Import(import::Args),
    /// Run the reverse proxy, with the same strategies as the simulator
    Proxy(proxy::Args),
    /// Run a scenario simulated and over sockets, side by side, and compare
    Twin(twin::Args),
    /// Replay a proxy's recording and verify every pick
    Replay(replay::Args),
    /// Run test servers with service times, caches and faults, until Ctrl-C
    TestServer(test_server::Args),
    /// Generate HTTP load, open-loop or closed-loop
    Load(load::Args),
    /// Benchmark evenkeel: simulator, picks, proxy, confidence intervals
    Bench(bench::Args),
    /// Print a completion script for a shell
    Completions(shell::CompletionsArgs),
    /// Write man pages, one per command
    Man(shell::ManArgs),
}

/// Why a command failed. Each kind has an exit code.
#[derive(Debug)]
enum Failure {
    /// The check failed; the result has been printed.
    No,
    /// Undecided: there was no basis for a verdict; that has been printed.
    Undecided,
    /// Usage error. The message tells the user what to do. Empty when everything has been printed.
    Usage(String),
    /// Internal error, or an I/O error.
    Broken(anyhow::Error),
    /// Ctrl-C; finished results have been written.
    Interrupted,
    /// Ctrl-C; the results so far have been printed.
    Stopped,
    /// Requests failed that must not; they have been printed.
    Errors,
    /// A run exceeded its memory limit; the message says what to do. Finished results have been written.
    TooLarge(String),
}

impl From<evenkeel_sim::sim::Stopped> for Failure {
    fn from(stopped: evenkeel_sim::sim::Stopped) -> Failure {
        match stopped {
            evenkeel_sim::sim::Stopped::Interrupted => Failure::Interrupted,
            evenkeel_sim::sim::Stopped::TooLarge(size) => Failure::TooLarge(size.to_string()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Broken(error)
    }
}

/// Terminal settings.
#[derive(Clone, Copy, Debug)]
struct Terminal {
    /// Colours on standard output.
    out: bool,
    /// Colours on standard error.
    err: bool,
    /// Columns, where standard output is a terminal.
    width: Option<u16>,
}

impl Terminal {
    fn new(colour: Colour) -> Terminal {
        let wanted = |is_terminal: bool| match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
                set("CLICOLOR_FORCE") || (is_terminal && !dumb)
            }
        } && (matches!(colour, Colour::Always) || std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()));
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        // The same width as the table library uses; in a pipe nothing is wrapped.
        let width = if out { comfy_table::Table::new().width() } else { None };
        Terminal { out: wanted(out), err: wanted(err), width }
    }

    /// Columns for a table: those of the terminal, or 80 in a pipe.
    fn columns(&self) -> u16 {
        self.width.unwrap_or(80)
    }

    /// Bold on standard error.
    fn bold_err(&self, text: &str) -> String {
        if self.err { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        if self.out { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Whether standard output and standard error have colours. Text without colours must not contain escape sequences.
static STYLED: OnceLock<(bool, bool)> = OnceLock::new();

/// A text made safe to print: escape sequences in it become visible and have no effect.
fn shown(text: &str, styled: bool) -> Cow<'_, str> {
    if styled { printable_styled(text) } else { printable(text) }
}

/// Prints a line to standard output. A closed reader (`| head`) ends the program quietly; a full disk ends it with a
/// message.
fn say(text: impl std::fmt::Display) {
    if !is_heard(print_line(text)) {
        std::process::exit(DONE.into());
    }
}

/// As [`say`], for commands whose exit code is the result: they continue without a reader.
fn say_on(text: impl std::fmt::Display) {
    is_heard(print_line(text));
}

/// Whether standard output still has a reader. Any other failure ends the program.
fn is_heard(printed: std::io::Result<()>) -> bool {
    match printed {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => false,
        Err(error) => {
            complain(format_args!("error: cannot write to standard output: {error}"));
            std::process::exit(BROKEN.into());
        }
    }
}

/// Prints a progress line to standard output; a closed reader does not stop the program.
fn announce(text: impl std::fmt::Display) {
    let _ = print_line(text);
}

fn print_line(text: impl std::fmt::Display) -> std::io::Result<()> {
    let text = text.to_string();
    let mut out = std::io::stdout().lock();
    out.write_all(shown(&text, STYLED.get().is_some_and(|styled| styled.0)).as_bytes())?;
    out.write_all(b"\n")
}

/// Prints a line to standard error. If that is closed or full, the message is dropped.
fn complain(text: impl std::fmt::Display) {
    let text = format!("{text}\n");
    let _ = Stderr.write_all(text.as_bytes());
}

/// Prints the errors of a file.
fn complain_of(diagnostic: &Diagnostic, terminal: Terminal) {
    complain(diagnostic.render(terminal.err));
}

/// Standard error as a writer that never fails and neutralises foreign escape sequences.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let styled = STYLED.get().is_some_and(|styled| styled.1);
        let _ = std::io::stderr().lock().write_all(shown(&text, styled).as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Parses the command line, runs the command, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.color);
    STYLED.get_or_init(|| (terminal.out, terminal.err));
    let result = match cli.verb {
        Verb::Run(args) => run::run(&args, terminal),
        Verb::Check(args) => check::check(&args, terminal),
        Verb::Sweep(args) => sweep::sweep(&args, terminal),
        Verb::Merge(args) => merge::merge(&args, terminal),
        Verb::Trace(args) => trace::trace(&args),
        Verb::Report(args) => report::report(&args),
        Verb::Compare(args) => compare::compare(&args, terminal),
        Verb::Validate(args) => validate::validate(&args, terminal),
        Verb::Lab(args) => lab::lab(&args, terminal),
        Verb::List(args) => list::list(&args, terminal),
        Verb::Init(args) => init::init(&args),
        Verb::Scenarios(args) => scenarios::scenarios(&args, terminal),
        Verb::Lessons(args) => lessons::lessons(&args, terminal),
        Verb::Explain(args) => explain::explain(&args, terminal),
        Verb::Import(args) => import::import(&args, terminal),
        Verb::Proxy(args) => proxy::proxy(&args, terminal),
        Verb::Twin(args) => twin::twin(&args, terminal),
        Verb::Replay(args) => replay::replay(&args),
        Verb::TestServer(args) => test_server::test_server(&args, terminal),
        Verb::Load(args) => load::load(&args, terminal),
        Verb::Bench(args) => bench::bench(&args, terminal),
        Verb::Completions(args) => {
            shell::completions(&args);
            Ok(())
        }
        Verb::Man(args) => shell::man(&args),
    };
    ExitCode::from(match result {
        Ok(()) => DONE,
        Err(Failure::No) => NO,
        Err(Failure::Undecided) => UNDECIDED,
        Err(Failure::Errors) => ERRORS,
        Err(Failure::Stopped) => INTERRUPTED,
        Err(Failure::Usage(message)) => {
            if !message.is_empty() {
                complain(format_args!("error: {message}"));
            }
            USAGE
        }
        Err(Failure::Broken(error)) => {
            complain(format_args!("error: {error:#}"));
            BROKEN
        }
        Err(Failure::TooLarge(message)) => {
            complain(format_args!("error: {message}"));
            BROKEN
        }
        Err(Failure::Interrupted) => {
            complain("interrupted: finished results are on disk");
            INTERRUPTED
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, CommandFactory};

    /// Every command, with its full name.
    fn commands() -> Vec<(String, Command)> {
        fn add(name: String, command: &Command, all: &mut Vec<(String, Command)>) {
            for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
                add(format!("{name} {}", below.get_name()), below, all);
            }
            all.push((name, command.clone()));
        }
        let mut all = Vec::new();
        let mut root = Cli::command().term_width(80);
        root.build();
        add("evenkeel".to_owned(), &root, &mut all);
        all
    }

    #[test]
    fn help_fits_eighty_columns_without_ragged_lines() {
        for (name, mut command) in commands() {
            for help in [command.render_help(), command.render_long_help()] {
                for line in help.to_string().lines() {
                    assert!(line.chars().count() <= 80, "{name}: {line}");
                }
            }
            let written = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(written.contains("Example"), "{name}: no examples");
            let lines: Vec<&str> = written.lines().collect();
            for pair in lines.windows(2) {
                // Indented text is shown as it is; a paragraph is one line, which clap wraps.
                let prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
                assert!(!(prose(pair[0]) && prose(pair[1])), "{name}: a paragraph in pieces: {}", pair[1]);
            }
            for line in lines.iter().filter(|line| line.starts_with(' ')) {
                assert!(line.chars().count() <= 79, "{name}: clap would wrap: {line}");
            }
        }
    }

    #[test]
    fn every_option_is_described() {
        for (name, command) in commands() {
            assert!(command.get_about().is_some(), "{name}");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name}: {}", argument.get_id());
            }
        }
    }
}
