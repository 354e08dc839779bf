//! The documentation is tested: every command in it is run, every snippet is parsed, every generated part is current, every
//! link leads somewhere.
//!
//! `EVENKEEL_UPDATE_DOCS=1 cargo test --test it docs` rewrites what is generated.
//!
//! A comment before a fenced block says how it is tested:
//!
//! | block | comment | test |
//! |---|---|---|
//! | `toml` | | a sound scenario |
//! | | `test: proxy` | a sound config of the proxy |
//! | | `test: pool` | pools of a sound scenario |
//! | | `test: file NAME` | written to the page's folder, and sound |
//! | | `test: append NAME` | appended to that file, and sound |
//! | `console` | | each line after `$ ` is run in the page's folder and succeeds |
//! | | `test: exit N` | the last line ends with this code |
//! | | `test: release-only` | not run by a debug build, which takes too long |
//! | | `test: ports A B` | not run where another program has one of these ports |
//! | | `test: log NAME` | an access log of this name is there |
//! | | `test: skip REASON` | not run |
//! | `text` | `test: output N COMMAND` | the first N lines of what the command prints; generated |
//! | `rust` | | a doc test |

mod blocks;
mod generate;
mod pages;
mod reference;

use std::path::PathBuf;

use crate::support::root;

/// The pages: the README and what is in `docs/`.
pub fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = std::fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// Whether generated parts are to be rewritten.
pub fn update() -> bool {
    std::env::var_os("EVENKEEL_UPDATE_DOCS").is_some()
}

/// Compares a page with what it should be, or rewrites it.
pub fn current(page: &std::path::Path, should_be: &str) {
    let text = std::fs::read_to_string(page).unwrap();
    if text == should_be {
        return;
    }
    if update() {
        std::fs::write(page, should_be).unwrap();
        return;
    }
    let differs = text.lines().zip(should_be.lines()).position(|(is, should)| is != should);
    let line = differs.unwrap_or_else(|| text.lines().count().min(should_be.lines().count()));
    panic!(
        "{}:{} is not current\n  is:        {}\n  should be: {}\nEVENKEEL_UPDATE_DOCS=1 cargo test --test it docs rewrites it",
        page.display(),
        line + 1,
        text.lines().nth(line).unwrap_or("(end)"),
        should_be.lines().nth(line).unwrap_or("(end)")
    );
}
