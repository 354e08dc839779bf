//! `evenkeel completions` and `evenkeel man`: generated from the definition of the command line.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure, results_dir, say};

/// The shell to complete for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(evenkeel completions bash)    # in ~/.bashrc
  evenkeel completions zsh > ~/.zfunc/_evenkeel
  evenkeel completions fish > ~/.config/fish/completions/evenkeel.fish")]
pub struct CompletionsArgs {
    /// Shell
    shell: Shell,
}

/// Output folder of the man pages.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  evenkeel man ~/.local/share/man/man1 && man evenkeel-run

Existing pages are overwritten.")]
pub struct ManArgs {
    /// Folder to write to, made if it does not exist
    folder: PathBuf,
}

pub fn completions(args: &CompletionsArgs) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "evenkeel", &mut script);
    say(String::from_utf8_lossy(&script).trim_end());
}

pub fn man(args: &ManArgs) -> Result<(), Failure> {
    results_dir::make_folder(&args.folder)?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let pages = write_pages(&command, &args.folder)?;
    say(format_args!("wrote {pages} man pages to {}", args.folder.display()));
    Ok(())
}

/// Writes the page of a command, and those of its subcommands; returns their number.
fn write_pages(command: &Command, folder: &Path) -> Result<usize, Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(anyhow::Error::from)?;
    results_dir::write_whole(&folder.join(format!("{name}.1")), &page)?;
    let mut pages = 1;
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        pages += write_pages(subcommand, folder)?;
    }
    Ok(pages)
}
