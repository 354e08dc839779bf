//! Output formats. A new format for `compare` is a file in `changes/` with a type that implements [`Exporter`], and a row in
//! [`changes::EXPORTERS`](super::changes::EXPORTERS); its `--export-…` flag follows from the row.

use anyhow::Result;

/// Layout of terminal text. Other formats ignore it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layout {
    /// Whether to use colours and bold type.
    pub colour: bool,
    /// Columns of the terminal; `None` if the output is not a terminal.
    pub width: Option<u16>,
    /// Whether to show everything, unchanged results included.
    pub all: bool,
}

/// Renders results of a type in one format.
pub trait Exporter<T: ?Sized>: Sync {
    /// The flag that writes this format to a file, without `--`, for example `export-json`.
    fn flag(&self) -> &'static str;

    /// Description of the format in the flag's help: continues "Also write …".
    fn purpose(&self) -> &'static str;

    /// Renders the results.
    fn render(&self, results: &T, layout: Layout) -> Result<String>;
}
