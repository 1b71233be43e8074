//! The drawing of a chart at one size.

use std::fmt::Write as _;

use super::super::format::length;
use super::super::markup::{Page, Text};
use super::{Axis, Chart, Line, Marks, Style};

/// A size of drawing, in the units of its view box, which are about pixels on the screen.
#[derive(Debug)]
pub(super) struct Size {
    /// Its class in the style sheet, and the end of its ids.
    class: &'static str,
    width: f64,
    height: f64,
    /// Marks along a line that is marked only here and there.
    marks: usize,
}

/// For a column of a wide page.
pub(super) const WIDE: Size = Size {
    class: "wide",
    width: 560.0,
    height: 370.0,
    marks: 7,
};

/// For a phone.
pub(super) const NARROW: Size = Size {
    class: "narrow",
    width: 340.0,
    height: 330.0,
    marks: 4,
};

/// Height of the text, as in the style sheet.
const TEXT: f64 = 16.0;
/// Room for the title of the vertical axis.
const TOP: f64 = 40.0;
/// Room for the ticks and the title of the horizontal axis.
const BOTTOM: f64 = 54.0;
/// Room for the ticks of the vertical axis.
const LEFT: f64 = 66.0;
/// Room for half a tick of the horizontal axis.
const RIGHT: f64 = 16.0;
/// Radius of a mark.
const MARK: f64 = 4.5;

impl Size {
    fn x(&self, axis: &Axis, value: f64) -> f64 {
        LEFT + axis.position(value) * (self.width - LEFT - RIGHT)
    }

    fn y(&self, axis: &Axis, value: f64) -> f64 {
        self.height - BOTTOM - axis.position(value) * (self.height - BOTTOM - TOP)
    }
}

/// Appends the drawing.
pub(super) fn drawing(page: &mut Page, chart: &Chart, size: &Size) {
    let (id, class) = (&chart.id, size.class);
    page.put(format_args!(
        "<svg class=\"{class}\" role=\"img\" viewBox=\"0 0 {} {}\" \
         aria-labelledby=\"{id}-{class}-t {id}-{class}-d\">\n\
         <title id=\"{id}-{class}-t\">{}</title>\n<desc id=\"{id}-{class}-d\">{}</desc>\n",
        size.width,
        size.height,
        Text(&chart.title),
        Text(&chart.description),
    ));
    vertical(page, &chart.y, size);
    horizontal(page, &chart.x, size);
    for (place, line) in chart.lines.iter().enumerate() {
        draw_line(page, chart, line, place, size);
    }
    page.put(format_args!("</svg>\n"));
}

/// The vertical axis: lines across, ticks left of them, the title above.
fn vertical(page: &mut Page, axis: &Axis, size: &Size) {
    let right = size.width - RIGHT;
    let mut free_below = f64::INFINITY;
    for tick in &axis.ticks {
        let y = size.y(axis, tick.at);
        page.put(format_args!(
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\n"
        ));
        if y + TEXT / 2.0 > free_below {
            continue;
        }
        free_below = y - TEXT * 0.7;
        page.put(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 8.0,
            y + TEXT * 0.35,
            Text(&tick.label)
        ));
    }
    page.put(format_args!(
        "<text class=\"axis\" x=\"4\" y=\"{TEXT}\">{}</text>\n",
        Text(&axis.title)
    ));
}

/// The horizontal axis: lines up, ticks below, as many as fit, and the title at the end.
fn horizontal(page: &mut Page, axis: &Axis, size: &Size) {
    let bottom = size.height - BOTTOM;
    let mut taken = f64::NEG_INFINITY;
    for tick in &axis.ticks {
        let x = size.x(axis, tick.at);
        page.put(format_args!(
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>\n"
        ));
        let width = length(tick.label.chars().count()) * TEXT * 0.54;
        // A name that would stick out at the right moves in.
        let middle = x.min(size.width - width / 2.0);
        if middle - width / 2.0 < taken + TEXT * 0.4 {
            continue;
        }
        taken = middle + width / 2.0;
        page.put(format_args!(
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            bottom + TEXT * 1.35,
            Text(&tick.label)
        ));
    }
    page.put(format_args!(
        "<path class=\"base\" d=\"M{LEFT} {bottom}H{}\"/>\n\
         <text class=\"axis\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
        size.width - RIGHT,
        size.width - 2.0,
        size.height - 6.0,
        Text(&axis.title)
    ));
}

/// One line with its marks. `place` is its number in the chart: marks of lines that run together
/// are set apart by it.
fn draw_line(page: &mut Page, chart: &Chart, line: &Line, place: usize, size: &Size) {
    let mut path = String::new();
    let mut spots = Vec::new();
    let mut pen_down = false;
    for (at, value) in &line.points {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            pen_down = false;
            continue;
        };
        let (x, y) = (size.x(&chart.x, *at), size.y(&chart.y, value));
        let command = if pen_down { 'L' } else { 'M' };
        write!(path, "{command}{x:.1} {y:.1}").expect("a string takes everything");
        pen_down = true;
        spots.push((x, y));
    }
    if spots.is_empty() {
        return;
    }
    let step = match chart.marks {
        Marks::All => 1,
        Marks::Some => spots.len().div_ceil(size.marks).max(1),
    };
    let first = step * (place % 4) / 4;
    let mut marks = String::new();
    for (x, y) in spots.iter().skip(first).step_by(step) {
        mark(&mut marks, line.style, *x, *y);
    }
    let (colour, dash) = (line.style.colour(), line.style.dash());
    page.put(format_args!(
        "<path class=\"line c{colour} d{dash}\" d=\"{path}\"/>\n\
         <path class=\"mark c{colour}\" d=\"{marks}\"/>\n"
    ));
}

/// Appends one mark to a path.
fn mark(path: &mut String, style: Style, x: f64, y: f64) {
    let (left, right) = (x - MARK, x + MARK);
    let (top, bottom) = (y - MARK, y + MARK);
    let written = match style.shape() {
        0 => write!(
            path,
            "M{left:.1} {y:.1}a{MARK} {MARK} 0 1 0 {across} 0a{MARK} {MARK} 0 1 0 -{across} 0z",
            across = 2.0 * MARK
        ),
        1 => write!(
            path,
            "M{left:.1} {top:.1}H{right:.1}V{bottom:.1}H{left:.1}z"
        ),
        2 => write!(path, "M{x:.1} {top:.1}L{right:.1} {bottom:.1}H{left:.1}z"),
        3 => write!(
            path,
            "M{x:.1} {top:.1}L{right:.1} {y:.1}L{x:.1} {bottom:.1}L{left:.1} {y:.1}z"
        ),
        4 => write!(
            path,
            "M{left:.1} {top:.1}L{right:.1} {bottom:.1}M{right:.1} {top:.1}L{left:.1} {bottom:.1}"
        ),
        5 => write!(path, "M{x:.1} {bottom:.1}L{left:.1} {top:.1}H{right:.1}z"),
        _ => write!(
            path,
            "M{left:.1} {y:.1}H{right:.1}M{x:.1} {top:.1}V{bottom:.1}"
        ),
    };
    written.expect("a string takes everything");
}

/// Appends the sample of a line for a legend.
pub(super) fn swatch(page: &mut Page, style: Style) {
    let mut shape = String::new();
    mark(&mut shape, style, 21.0, 8.0);
    let (colour, dash) = (style.colour(), style.dash());
    page.put(format_args!(
        "<svg class=\"swatch\" viewBox=\"0 0 42 16\" aria-hidden=\"true\">\
         <path class=\"line c{colour} d{dash}\" d=\"M1 8H41\"/>\
         <path class=\"mark c{colour}\" d=\"{shape}\"/></svg>"
    ));
}
