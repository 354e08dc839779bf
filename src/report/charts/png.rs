//! PNG from SVG, with an embedded font: text is rendered on machines without fonts.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use resvg::{tiny_skia, usvg};

/// A subset of DejaVu Sans; its licence is in the same folder.
const FONT: &[u8] = include_bytes!("../font/DejaVuSans-subset.ttf");

/// Pixels per unit of the SVG.
const SCALE: f32 = 1.25;

/// Size of the palette: one byte per pixel.
const COLOURS: usize = 256;

type Rgb = [u8; 3];

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

/// A parsed chart with its text laid out.
fn tree(svg: &str) -> Result<usvg::Tree, String> {
    let options = usvg::Options { fontdb: fonts(), ..usvg::Options::default() };
    usvg::Tree::from_str(svg, &options).map_err(|error| format!("the chart's SVG is not sound: {error}"))
}

fn pixels(svg: &str) -> Result<tiny_skia::Pixmap, String> {
    let tree = tree(svg)?;
    let size = tree.size();
    let (width, height) = ((size.width() * SCALE).ceil() as u32, (size.height() * SCALE).ceil() as u32);
    let mut pixels = tiny_skia::Pixmap::new(width, height).ok_or("the chart has no size")?;
    // With a size that is not a multiple of four, the last pixels would be half empty.
    pixels.fill(tiny_skia::Color::WHITE);
    resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    Ok(pixels)
}

/// Rasterises a chart. The error is a sentence; it indicates a bug.
pub fn from_svg(svg: &str) -> Result<Vec<u8>, String> {
    let pixels = pixels(svg)?;
    let colours: Vec<Rgb> = pixels.pixels().iter().map(|p| [p.red(), p.green(), p.blue()]).collect();
    let (palette, indices) = reduce(&colours);
    encode(pixels.width(), pixels.height(), &palette, &indices)
        .map_err(|error| format!("the PNG cannot be made: {error}"))
}

/// Converts to one byte per pixel. Charts have few colours; beyond 256 there are only shades at edges, of which the rarest
/// are replaced by the most similar colour that is kept.
fn reduce(pixels: &[Rgb]) -> (Vec<Rgb>, Vec<u8>) {
    let mut counts: BTreeMap<Rgb, u32> = BTreeMap::new();
    // Neighbouring pixels are mostly equal: one look-up for a whole run.
    for stretch in pixels.chunk_by(|a, b| a == b) {
        *counts.entry(stretch[0]).or_default() += stretch.len() as u32;
    }
    let mut palette: Vec<Rgb> = counts.keys().copied().collect();
    palette.sort_by_key(|colour| (std::cmp::Reverse(counts[colour]), *colour));
    palette.truncate(COLOURS);
    let distance = |a: &Rgb, b: &Rgb| (0..3).map(|i| i32::from(a[i]).abs_diff(i32::from(b[i])).pow(2)).sum::<u32>();
    let nearest = |colour: &Rgb| (0..palette.len()).min_by_key(|&i| distance(colour, &palette[i])).unwrap_or(0) as u8;
    let places: BTreeMap<Rgb, u8> = counts.keys().map(|colour| (*colour, nearest(colour))).collect();
    let stretches = pixels.chunk_by(|a, b| a == b);
    let indices = stretches.flat_map(|stretch| std::iter::repeat_n(places[&stretch[0]], stretch.len())).collect();
    (palette, indices)
}

fn encode(width: u32, height: u32, palette: &[Rgb], indices: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette.concat());
    encoder.set_compression(png::Compression::High);
    // Palette indices have no numeric meaning.
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(indices)?;
    writer.finish()?;
    Ok(bytes)
}
