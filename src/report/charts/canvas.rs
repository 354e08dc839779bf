//! A sheet to draw on: plotters' SVG back end with the scales, ticks and text that all charts share.
//!
//! plotters rounds to whole pixels, so the sheet is drawn at [`DETAIL`] times its size and shown smaller: curves are
//! smooth, and the text is text. No font is needed to draw; the SVG names a common one and the PNG brings its own.

use std::cell::RefCell;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use evenkeel_core::math;
use evenkeel_core::units::human_seconds;

/// Device pixels per unit of the drawing.
pub const DETAIL: f64 = 2.0;

/// Font families; the first is the one that PNGs use.
const FONT: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub const SOFT: RGBColor = RGBColor(0x66, 0x66, 0x66);
pub const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
pub const ROW: RGBColor = RGBColor(0xf6, 0xf6, 0xf6);

/// Colours of Okabe and Ito with enough contrast on white; they can be distinguished with any colour vision.
pub const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
pub const VERMILLION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
pub const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
pub const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
pub const SKY: RGBColor = RGBColor(0x56, 0xb4, 0xe9);
pub const PURPLE: RGBColor = RGBColor(0xcc, 0x79, 0xa7);
pub const PALETTE: [RGBColor; 6] = [BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE];

/// Colour of curves for comparison only.
pub const FAINT: RGBColor = RGBColor(0xd2, 0xd2, 0xd2);

/// Alternating lengths of dashes and gaps; empty for a solid line.
pub type Dash = &'static [f64];

pub const SOLID: Dash = &[];

/// Marker shape, which distinguishes strategies in addition to colour.
pub const DASHES: [Dash; 4] = [SOLID, &[11.0, 5.0], &[2.5, 3.5], &[11.0, 3.5, 2.5, 3.5]];

/// Width of all charts.
pub const WIDTH: f64 = 1100.0;

/// Drawing into memory fails only by a bug.
const DRAWS: &str = "drawing into memory does not fail";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Left,
    Middle,
    Right,
}

/// A canvas; see the module's documentation. Coordinates are in units, from the upper left corner.
pub struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    /// Dashes of every line, in drawing order: the back end has no dashes.
    dashes: RefCell<Vec<Dash>>,
}

/// Draws a chart of this size and returns its SVG.
pub fn draw(width: f64, height: f64, paint: impl FnOnce(&Canvas<'_>)) -> String {
    let device = |v: f64| (v * DETAIL).round() as u32;
    let mut svg = String::new();
    let dashes = {
        let area = SVGBackend::with_string(&mut svg, (device(width), device(height))).into_drawing_area();
        area.fill(&WHITE).expect(DRAWS);
        let canvas = Canvas { area, dashes: RefCell::default() };
        paint(&canvas);
        canvas.area.present().expect(DRAWS);
        canvas.dashes.into_inner()
    };
    let size = format!("width=\"{}\" height=\"{}\"", device(width), device(height));
    let own = format!("width=\"{width:.0}\" height=\"{height:.0}\" font-family=\"{FONT}\"");
    tidy(&svg.replacen(&size, &own, 1), &dashes)
}

/// Post-processes the back end's SVG: removes redundant attributes (defaults, the font of every text), and adds dashes.
fn tidy(svg: &str, dashes: &[Dash]) -> String {
    let font = format!(" font-family=\"{FONT}\"");
    let mut lines = dashes.iter();
    let mut tidied = String::with_capacity(svg.len());
    for line in svg.lines() {
        // Text content is escaped and on lines of its own: only tags begin like this.
        if !line.starts_with('<') {
            tidied.push_str(line);
            continue;
        }
        let mut tag = line.replace(" opacity=\"1\"", "").replace(" stroke=\"none\"", "").replace(" \"/>", "\"/>");
        if tag.starts_with("<text") {
            tidied.push_str(&tag.replace(&font, ""));
            continue;
        }
        if tag.starts_with("<circle") {
            tag = tag.replace(" stroke-width=\"1\"", "");
        } else if tag.starts_with("<polyline") {
            let dash = lines.next().copied().unwrap_or(SOLID);
            if !dash.is_empty() {
                let lengths: Vec<String> = dash.iter().map(|length| format!("{}", length * DETAIL)).collect();
                tag = tag.replacen("<polyline", &format!("<polyline stroke-dasharray=\"{}\"", lengths.join(" ")), 1);
            }
        }
        tidied.push_str(&tag);
        tidied.push('\n');
    }
    tidied
}

/// Simplifies a path: no removed point is further than half a device pixel from the remaining path (Ramer, Douglas and
/// Peucker).
fn thinned(points: &[(i32, i32)]) -> Vec<(i32, i32)> {
    const SQUARE: f64 = 0.25;
    let at = |i: usize| (f64::from(points[i].0), f64::from(points[i].1));
    // Of the distance to a piece between two points.
    let square = |i: usize, from: usize, to: usize| {
        let ((px, py), (ax, ay), (bx, by)) = (at(i), at(from), at(to));
        let (dx, dy) = (bx - ax, by - ay);
        let length = dx * dx + dy * dy;
        let along = if length > 0.0 { (((px - ax) * dx + (py - ay) * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
        let (ex, ey) = (px - ax - along * dx, py - ay - along * dy);
        ex * ex + ey * ey
    };
    let mut kept = vec![true; points.len()];
    let mut pieces = vec![(0, points.len().saturating_sub(1))];
    while let Some((from, to)) = pieces.pop() {
        let furthest = (from + 1..to).map(|i| (square(i, from, to), i)).max_by(|a, b| a.0.total_cmp(&b.0));
        match furthest {
            Some((distance, i)) if distance > SQUARE => pieces.extend([(from, i), (i, to)]),
            _ => (from + 1..to).for_each(|i| kept[i] = false),
        }
    }
    points.iter().zip(kept).filter_map(|(point, kept)| kept.then_some(*point)).collect()
}

/// Advance widths of DejaVu Sans from space to tilde, thousandths of its size.
#[rustfmt::skip]
const ADVANCES: [u16; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636, 636, 636,
    636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863,
    748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635,
    615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636,
    337, 636, 838,
];

/// Width of a text, in units; a character that is not in the table counts as wide.
pub fn text_width(text: &str, size: f64) -> f64 {
    let advance = |c: char| {
        let at = (c as usize).checked_sub(32);
        at.and_then(|at| ADVANCES.get(at)).map_or(if c == '†' { 500.0 } else { 1000.0 }, |&a| f64::from(a))
    };
    text.chars().map(advance).sum::<f64>() / 1000.0 * size
}

/// The width of the widest text.
pub fn widest<'a>(texts: impl Iterator<Item = &'a str>, size: f64) -> f64 {
    texts.map(|text| text_width(text, size)).fold(0.0, f64::max)
}

/// Truncates a text to the available width.
pub fn fit(text: &str, size: f64, room: f64) -> String {
    if text_width(text, size) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        short.push(c);
        if text_width(&short, size) + size > room {
            short.pop();
            break;
        }
    }
    short + "…"
}

impl Canvas<'_> {
    fn point(&self, (x, y): (f64, f64)) -> (i32, i32) {
        ((x * DETAIL).round() as i32, (y * DETAIL).round() as i32)
    }

    fn stroke(&self, colour: RGBAColor, width: f64) -> ShapeStyle {
        ShapeStyle { color: colour, filled: false, stroke_width: ((width * DETAIL).round() as u32).max(1) }
    }

    pub fn text(&self, at: (f64, f64), size: f64, anchor: Anchor, colour: RGBColor, text: &str) {
        let h_pos = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        // The back end divides sizes by 1.24.
        let style =
            TextStyle::from((FONT, size * DETAIL * 1.24).into_font()).color(&colour).pos(Pos::new(h_pos, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), self.point(at), style)).expect(DRAWS);
    }

    pub fn line(&self, points: &[(f64, f64)], width: f64, colour: RGBColor, dash: Dash) {
        self.dashes.borrow_mut().push(dash);
        let style = self.stroke(colour.to_rgba(), width);
        self.area.draw(&PathElement::new(self.points(points), style)).expect(DRAWS);
    }

    pub fn area(&self, points: &[(f64, f64)], colour: RGBColor, opacity: f64) {
        self.area.draw(&Polygon::new(self.points(points), colour.mix(opacity).filled())).expect(DRAWS);
    }

    fn points(&self, points: &[(f64, f64)]) -> Vec<(i32, i32)> {
        thinned(&points.iter().map(|&p| self.point(p)).collect::<Vec<_>>())
    }

    pub fn rect(&self, from: (f64, f64), to: (f64, f64), colour: RGBColor, opacity: f64) {
        self.area.draw(&Rectangle::new([self.point(from), self.point(to)], colour.mix(opacity).filled())).expect(DRAWS);
    }

    pub fn dot(&self, at: (f64, f64), radius: f64, colour: RGBColor, opacity: f64) {
        let radius = (radius * DETAIL).round() as i32;
        self.area.draw(&Circle::new(self.point(at), radius, colour.mix(opacity).filled())).expect(DRAWS);
    }

    /// Marker shapes, distinguishable without colour.
    pub fn marker(&self, shape: usize, at: (f64, f64), radius: f64, colour: RGBColor, opacity: f64) {
        let (x, y) = at;
        let r = radius;
        match shape {
            0 => self.dot(at, r, colour, opacity),
            1 => self.rect((x - r * 0.9, y - r * 0.9), (x + r * 0.9, y + r * 0.9), colour, opacity),
            2 => {
                let corners = [(x, y - r * 1.35), (x + r * 1.35, y), (x, y + r * 1.35), (x - r * 1.35, y)];
                self.area(&corners, colour, opacity);
            }
            _ => self.area(&[(x, y - r * 1.2), (x + r * 1.2, y + r), (x - r * 1.2, y + r)], colour, opacity),
        }
    }

    /// The title, and under it the description and how to read the chart.
    pub fn title(&self, title: &str, subtitle: &str) {
        self.text((24.0, 28.0), 19.0, Anchor::Left, INK, &fit(title, 19.0, WIDTH - 48.0));
        self.text((24.0, 54.0), 13.0, Anchor::Left, SOFT, &fit(subtitle, 13.0, WIDTH - 48.0));
    }
}

/// Maps values to positions on the canvas.
#[derive(Clone, Copy)]
pub struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    logarithmic: bool,
}

impl Scale {
    pub fn linear(from: f64, to: f64, start: f64, end: f64) -> Scale {
        Scale { from, to: if to > from { to } else { from + 1.0 }, start, end, logarithmic: false }
    }

    /// `from` and `to` above zero.
    pub fn logarithmic(from: f64, to: f64, start: f64, end: f64) -> Scale {
        let from = from.max(1e-12);
        Scale { from, to: if to > from { to } else { from * 10.0 }, start, end, logarithmic: true }
    }

    /// Position of the smallest value.
    pub fn start(&self) -> f64 {
        self.start
    }

    /// Position of the largest value.
    pub fn end(&self) -> f64 {
        self.end
    }

    pub fn at(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            math::ln(value.max(self.from) / self.from) / math::ln(self.to / self.from)
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Round values for ticks: on a logarithmic scale 1, 2 and 5 of each decade, or only the decades if there are many.
    pub fn ticks(&self, most: usize) -> Vec<f64> {
        if self.logarithmic {
            let first = math::log10(self.from).floor() as i32;
            let last = math::log10(self.to).ceil() as i32;
            let marks = |steps: &[f64]| -> Vec<f64> {
                (first..=last)
                    .flat_map(|decade| steps.iter().map(move |step| step * math::pow(10.0, f64::from(decade))))
                    .filter(|&tick| tick >= self.from * 0.9999 && tick <= self.to * 1.0001)
                    .collect()
            };
            let all = marks(&[1.0, 2.0, 5.0]);
            let decades = marks(&[1.0]);
            return if all.len() <= most || decades.len() < 2 { all } else { decades };
        }
        let raw = (self.to - self.from) / most.max(1) as f64;
        let decade = math::pow(10.0, math::log10(raw).floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|s| s * decade).into_iter().find(|&s| s >= raw * 0.9999).unwrap_or(raw);
        let first = (self.from / step).ceil() as i64;
        (first..).map(|i| i as f64 * step).take_while(|&tick| tick <= self.to * 1.0001).collect()
    }
}

/// Ticks of a horizontal scale with their labels, as many as fit.
pub fn labelled(scale: &Scale, most: usize, size: f64, label: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    const APART: f64 = 6.0;
    let mut most = most;
    loop {
        let texts: Vec<(f64, String)> = scale.ticks(most).into_iter().map(|tick| (tick, label(tick))).collect();
        let half = |text: &str| text_width(text, size) / 2.0;
        let fit = texts.windows(2).all(|pair| {
            let between = scale.at(pair[1].0) - scale.at(pair[0].0);
            between >= half(&pair[0].1) + half(&pair[1].1) + APART
        });
        if fit || most <= 1 {
            return texts;
        }
        most /= 2;
    }
}

/// A tick's label on an axis of durations: `20 ms`, without superfluous digits.
pub fn duration_label(seconds: f64) -> String {
    let text = human_seconds(seconds);
    let Some((number, unit)) = text.split_once(' ') else { return text };
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number} {unit}")
}

/// A tick's label on a plain axis.
pub fn number_label(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    format!("{rounded}")
}

/// Minimum and maximum of the values, with a relative margin, for a logarithmic scale.
pub fn log_range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|v| v.is_finite() && *v > 0.0)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
    (high > 0.0).then_some((low * 0.85, high * 1.25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tick_labels_do_not_overlap() {
        for decades in 1..7 {
            let scale = Scale::logarithmic(0.0003, 0.0003 * math::pow(10.0, f64::from(decades)), 90.0, 560.0);
            let texts = labelled(&scale, 12, 11.5, duration_label);
            assert!(texts.len() >= 2);
            for pair in texts.windows(2) {
                let room = scale.at(pair[1].0) - scale.at(pair[0].0);
                let needed = (text_width(&pair[0].1, 11.5) + text_width(&pair[1].1, 11.5)) / 2.0;
                assert!(room > needed, "{decades}: {pair:?}");
            }
        }
    }

    #[test]
    fn thinning_keeps_corners() {
        let line: Vec<(i32, i32)> = (0..=100).map(|x| (x, 3 * x)).collect();
        assert_eq!(thinned(&line), [(0, 0), (100, 300)]);
        let there_and_back = [(0, 0), (0, 50), (0, 100), (0, 20), (40, 20), (41, 20), (41, 80)];
        assert_eq!(thinned(&there_and_back), [(0, 0), (0, 100), (0, 20), (41, 20), (41, 80)]);
        assert_eq!(thinned(&[(1, 1)]), [(1, 1)]);
        assert!(thinned(&[]).is_empty());
    }

    #[test]
    fn long_texts_are_truncated() {
        assert_eq!(fit("random", 12.0, 100.0), "random");
        let cut = fit("interleaved_weighted_round_robin", 12.0, 100.0);
        assert!(cut.ends_with('…') && text_width(&cut, 12.0) <= 100.0, "{cut}");
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Scale::linear(0.0, 97.0, 0.0, 1.0).ticks(5), [0.0, 20.0, 40.0, 60.0, 80.0]);
        let ticks: Vec<String> =
            Scale::logarithmic(0.004, 0.3, 0.0, 1.0).ticks(12).into_iter().map(duration_label).collect();
        assert_eq!(ticks, ["5 ms", "10 ms", "20 ms", "50 ms", "100 ms", "200 ms"]);
    }
}
