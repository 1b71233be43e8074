//! Line charts as inline SVG, with nothing but the page's own style sheet.
//!
//! A chart is drawn twice, for a wide and for a narrow screen, and the style sheet shows one of
//! them: a drawing that is only scaled down has text too small to read on a phone. Lines differ in
//! colour, in dashes and in the shape of their marks, so that none of the three has to be seen.

mod axis;
mod draw;

pub(super) use axis::Axis;

use super::markup::{Page, Text};

/// Colours in the style sheet.
const COLOURS: usize = 8;
/// Dash patterns in the style sheet.
const DASHES: usize = 6;
/// Shapes of marks.
const SHAPES: usize = 7;

/// How one line looks. Equal numbers look the same in every chart of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Style(pub(super) usize);

impl Style {
    fn colour(self) -> usize {
        self.0 % COLOURS
    }

    /// Moves on by one more with every round of colours, so that a colour comes with another dash.
    fn dash(self) -> usize {
        (self.0 + self.0 / COLOURS) % DASHES
    }

    fn shape(self) -> usize {
        (self.0 + self.0 / COLOURS) % SHAPES
    }
}

/// One line of a chart.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Its name in the legend.
    pub(super) name: String,
    /// How it looks.
    pub(super) style: Style,
    /// From left to right. `None` interrupts the line.
    pub(super) points: Vec<(f64, Option<f64>)>,
    /// Whether the run did not pass its check: the legend says so.
    pub(super) failed: bool,
}

/// How many points of a line carry a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// Every point: the points were measured one by one.
    All,
    /// A few, to tell lines apart.
    Some,
}

/// A chart of lines.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    /// Its id on the page: letters, digits and dashes.
    pub(super) id: String,
    /// What it shows.
    pub(super) title: String,
    /// The same in words, for those who do not see it.
    pub(super) description: String,
    /// The horizontal axis.
    pub(super) x: Axis,
    /// The vertical axis.
    pub(super) y: Axis,
    /// The lines, at least one with a point.
    pub(super) lines: Vec<Line>,
    /// Which points carry a mark.
    pub(super) marks: Marks,
}

impl Chart {
    /// Appends the chart with its caption and legend.
    pub(super) fn put(&self, page: &mut Page) {
        page.put(format_args!(
            "<figure class=\"chart\">\n<figcaption>{}</figcaption>\n",
            Text(&self.title)
        ));
        draw::drawing(page, self, &draw::WIDE);
        draw::drawing(page, self, &draw::NARROW);
        page.put(format_args!("<ul class=\"legend\">\n"));
        for line in &self.lines {
            let failed = if line.failed {
                " <strong class=\"bad\">✗ not verified</strong>"
            } else {
                ""
            };
            page.put(format_args!("<li>"));
            draw::swatch(page, line.style);
            page.put(format_args!(
                "<span>{}{failed}</span></li>\n",
                Text(&line.name)
            ));
        }
        page.put(format_args!("</ul>\n</figure>\n"));
    }
}
