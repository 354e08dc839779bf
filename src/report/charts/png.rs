//! PNG from SVG, with a font that comes along: text is right on a machine without fonts.

use std::sync::{Arc, OnceLock};

use resvg::{tiny_skia, usvg};

/// A subset of DejaVu Sans; its licence lies beside it.
const FONT: &[u8] = include_bytes!("../font/DejaVuSans-subset.ttf");

/// Pixels per unit of the SVG.
const SCALE: f32 = 1.25;

fn fonts() -> Arc<usvg::fontdb::Database> {
    static FONTS: OnceLock<Arc<usvg::fontdb::Database>> = OnceLock::new();
    let load = || {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_font_data(FONT.to_vec());
        fonts.set_sans_serif_family("DejaVu Sans");
        Arc::new(fonts)
    };
    FONTS.get_or_init(load).clone()
}

/// Rasterises a chart. The error is a sentence; it would be a bug of ours.
pub fn from_svg(svg: &str) -> Result<Vec<u8>, String> {
    let options = usvg::Options { fontdb: fonts(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options).map_err(|error| format!("the chart's SVG is not sound: {error}"))?;
    let size = tree.size();
    let (width, height) = ((size.width() * SCALE).ceil() as u32, (size.height() * SCALE).ceil() as u32);
    let mut pixels = tiny_skia::Pixmap::new(width, height).ok_or("the chart has no size")?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| format!("the PNG cannot be made: {error}"))
}
