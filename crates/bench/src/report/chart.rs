//! Line charts as SVG.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Colours that people with a colour vision deficiency can tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 143, 104),
    RGBColor(176, 80, 138),
    RGBColor(176, 124, 0),
    RGBColor(47, 147, 204),
    RGBColor(48, 52, 58),
    RGBColor(138, 130, 0),
];

/// The most lines that one chart can show.
pub(super) const MOST_LINES: usize = COLOURS.len();

const WIDTH: u32 = 920;
const HEIGHT: u32 = 380;
/// Room on the right for the names of the lines, which would hide them otherwise.
const LEGEND: u32 = 230;
const Y_LABELS: u32 = 76;
const MARGIN: u32 = 8;

/// A line of a chart.
pub(super) struct Line {
    pub(super) name: String,
    /// Pairs of x and y, in order of x.
    pub(super) points: Vec<(f64, f64)>,
}

/// What a chart shows, and how its axes are named.
pub(super) struct Chart<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    /// Whether the axes are logarithmic. Values of 0 and below are then left out.
    pub(super) log_x: bool,
    pub(super) log_y: bool,
    pub(super) lines: Vec<Line>,
}

impl Chart<'_> {
    /// The chart as an SVG element; `None` where no line has two points to join.
    pub(super) fn svg(mut self) -> Option<String> {
        for line in &mut self.lines {
            line.points.retain(|&(x, y)| {
                x.is_finite()
                    && y.is_finite()
                    && (!self.log_x || x > 0.0)
                    && (!self.log_y || y > 0.0)
            });
        }
        self.lines.retain(|line| line.points.len() > 1);
        if self.lines.is_empty() {
            return None;
        }
        let (left, right) = self.bounds(|point| point.0, self.log_x);
        let (low, high) = self.bounds(|point| point.1, self.log_y);
        let mut svg = String::new();
        let drawn = match (self.log_x, self.log_y) {
            (false, false) => self.draw(&mut svg, left..right, low..high),
            (false, true) => self.draw(&mut svg, left..right, (low..high).log_scale()),
            (true, false) => self.draw(&mut svg, (left..right).log_scale(), low..high),
            (true, true) => self.draw(&mut svg, (left..right).log_scale(), (low..high).log_scale()),
        };
        drawn.ok().map(|()| svg)
    }

    /// The least and the greatest value, with some room above.
    fn bounds(&self, value: fn(&(f64, f64)) -> f64, log: bool) -> (f64, f64) {
        let values = || {
            self.lines
                .iter()
                .flat_map(|line| line.points.iter().map(value))
        };
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        let low = if log {
            values().fold(f64::INFINITY, f64::min)
        } else {
            0.0
        };
        (low, if high > low { high * 1.05 } else { low + 1.0 })
    }

    fn draw<X, Y>(&self, svg: &mut String, x: X, y: Y) -> Result<(), Box<dyn std::error::Error>>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let area = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(MARGIN)
            .margin_right(LEGEND)
            .x_label_area_size(44)
            .y_label_area_size(Y_LABELS)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .label_style(("sans-serif", 14))
            .axis_desc_style(("sans-serif", 15))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(
                    line.points.iter().copied(),
                    colour.stroke_width(2),
                ))?
                .label(&line.name)
                .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::Coordinate(
                (WIDTH - LEGEND - Y_LABELS).cast_signed(),
                0,
            ))
            .label_font(("sans-serif", 13))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// A number for an axis: `0.5`, `20`, `1.5k`, `2M`.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        value_abs if value_abs >= 1e6 => (value / 1e6, "M"),
        value_abs if value_abs >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = usize::from(value.fract().abs() > 0.005) + usize::from(value.abs() < 1.0);
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)], log: bool) -> Option<String> {
        let line = Line {
            name: "<a & b>".to_owned(),
            points: points.to_vec(),
        };
        Chart {
            x: "tasks",
            y: "ops/s",
            log_x: log,
            log_y: log,
            lines: vec![line],
        }
        .svg()
    }

    #[test]
    fn a_line_is_drawn_and_its_name_is_escaped() {
        for log in [false, true] {
            let svg = chart(&[(1.0, 10.0), (8.0, 200.0), (64.0, 3_000.0)], log).unwrap();
            assert!(
                svg.contains("<polyline") && svg.contains("&lt;a &amp; b&gt;"),
                "{svg}"
            );
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert_eq!(chart(&[], false), None);
        assert_eq!(chart(&[(1.0, 2.0)], false), None);
        assert_eq!(
            chart(&[(1.0, 0.0), (2.0, f64::NAN), (3.0, 4.0)], true),
            None
        );
        assert!(chart(&[(1.0, 0.0), (2.0, 0.0)], false).is_some());
    }

    #[test]
    fn numbers_of_an_axis_are_short() {
        let numbers = [0.0, 0.05, 0.5, 20.0, 1_500.0, 100_000.0, 2e6];
        let shown = numbers.map(short);
        assert_eq!(shown, ["0", "0.05", "0.5", "20", "1.5k", "100k", "2M"]);
    }
}
