//! One chart as inline SVG, with its legend.
//!
//! Owns: how lines, areas, axes and the values under the pointer are drawn, small enough for a telephone. Never: knows what
//! is drawn, or sets a colour: those are classes (`c1` to `c6`) of the page's style sheet.

use std::fmt::Write;

use super::escaped;
use super::scale::{Scale, Tick};

/// Units of the drawing; on a telephone one is about one pixel.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 230.0;
/// What the axes' figures take.
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 8.0;
const RIGHT: f64 = 12.0;
/// A letter of a figure, at most, on a telephone.
const LETTER: f64 = 7.5;

/// Shades of cells.
pub(super) const LEVELS: usize = 8;

/// What is drawn.
pub(super) struct Chart {
    /// Its name on the page, unique there: letters, digits and hyphens.
    pub(super) id: String,
    pub(super) title: &'static str,
    /// One line beneath the title: what the axes are.
    pub(super) about: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// Beneath the lines.
    pub(super) cells: Vec<Cell>,
    pub(super) lines: Vec<Line>,
    /// What is told where the pointer is.
    pub(super) bands: Vec<Band>,
    /// What is said instead, where there is nothing to draw.
    pub(super) empty: &'static str,
}

impl Default for Chart {
    fn default() -> Self {
        let axis = || Axis {
            scale: Scale::Linear(1.0),
            name: super::scale::count,
        };
        Self {
            id: String::new(),
            title: "",
            about: String::new(),
            x: axis(),
            y: axis(),
            cells: Vec::new(),
            lines: Vec::new(),
            bands: Vec::new(),
            empty: "Nothing of this was recorded.",
        }
    }
}

/// A scale, and how values on it are written.
pub(super) struct Axis {
    pub(super) scale: Scale,
    pub(super) name: fn(f64) -> String,
}

/// One line, or the area beneath it.
pub(super) struct Line {
    pub(super) name: String,
    /// Class of its colour, from 1.
    pub(super) colour: usize,
    pub(super) shape: Shape,
    /// Values of `x` and `y`; `None` interrupts it.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// A rectangle of the axes, and how dark it is, from 1 to [`LEVELS`].
pub(super) struct Cell {
    pub(super) x: (f64, f64),
    pub(super) y: (f64, f64),
    pub(super) level: usize,
}

/// How points are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Line,
    /// Dashed, for limits.
    Limit,
    /// Filled down to the axis. Of areas that are stacked the highest comes first.
    Area,
}

/// A stretch of the x axis and what is told of it.
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) says: String,
}

impl Chart {
    /// Whether there is a value to draw.
    fn is_empty(&self) -> bool {
        let points = |line: &Line| line.points.iter().any(|(_, y)| y.is_some());
        self.cells.is_empty() && !self.lines.iter().any(points)
    }

    /// The chart as HTML.
    pub(super) fn render(&self) -> String {
        let mut html = format!(
            "<figure class=\"chart\" id=\"{}\"><figcaption><h3>{}</h3><p>{}</p>",
            self.id,
            escaped(self.title),
            escaped(&self.about)
        );
        if self.is_empty() {
            let _ = writeln!(
                html,
                "</figcaption><p class=\"none\">{}</p></figure>",
                self.empty
            );
            return html;
        }
        html += "<ul class=\"legend\">";
        // Lines without a name belong to the one before.
        for line in self.lines.iter().filter(|line| !line.name.is_empty()) {
            let _ = write!(
                html,
                "<li><i class=\"c{}\"></i>{}</li>",
                line.colour,
                escaped(&line.name)
            );
        }
        let _ = write!(
            html,
            "</ul></figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}: {}\">",
            escaped(self.title),
            escaped(&self.about)
        );
        self.heat(&mut html);
        self.axes(&mut html);
        for line in &self.lines {
            self.line(&mut html, line);
        }
        for band in &self.bands {
            let (from, to) = (self.x(band.from), self.x(band.to));
            let _ = write!(
                html,
                "<g class=\"band\"><rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                (to - from).max(0.5),
                HEIGHT - TOP - BOTTOM,
            );
            // On the other side of what is pointed at.
            let (x, anchor) = match (from + to) / 2.0 > WIDTH / 2.0 {
                true => (LEFT + 6.0, "start"),
                false => (WIDTH - RIGHT - 6.0, "end"),
            };
            let _ = write!(html, "<text text-anchor=\"{anchor}\">");
            for (nth, says) in band.says.lines().enumerate() {
                let y = TOP + 13.0 * (nth + 1) as f64;
                let _ = write!(html, "<tspan x=\"{x}\" y=\"{y}\">{}</tspan>", escaped(says));
            }
            html += "</text></g>";
        }
        html += "</svg></figure>\n";
        html
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.scale.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        up(self.y.scale.place(value))
    }

    /// One path for each shade.
    fn heat(&self, html: &mut String) {
        for level in 1..=LEVELS {
            let mut path = String::new();
            for cell in self.cells.iter().filter(|cell| cell.level == level) {
                let (from, to) = (self.x(cell.x.0), self.x(cell.x.1));
                let (low, high) = (self.y(cell.y.0), self.y(cell.y.1));
                let _ = write!(path, "M{from:.1} {low:.1}H{to:.1}V{high:.1}H{from:.1}Z");
            }
            if !path.is_empty() {
                let _ = write!(html, "<path class=\"cell h{level} c1\" d=\"{path}\"/>");
            }
        }
    }

    fn axes(&self, html: &mut String) {
        for Tick { at, name } in self.y.scale.ticks(self.y.name) {
            let y = up(at);
            let _ = write!(
                html,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                escaped(&name)
            );
        }
        let mut free_from = 0.0;
        for Tick { at, name } in self.x.scale.ticks(self.x.name) {
            let (x, wide) = (
                LEFT + at * (WIDTH - LEFT - RIGHT),
                name.chars().count() as f64 * LETTER,
            );
            // The last one must not reach over the edge.
            let (anchor, begins) = if at > 0.95 {
                ("end", x - wide)
            } else {
                ("middle", x - wide / 2.0)
            };
            let _ = write!(
                html,
                "<path class=\"tick\" d=\"M{x:.1} {:.1}v4\"/>",
                HEIGHT - BOTTOM
            );
            // Nor may one stand on another.
            if begins >= free_from {
                let _ = write!(
                    html,
                    "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                    HEIGHT - BOTTOM + 17.0,
                    escaped(&name)
                );
                free_from = begins + wide;
            }
        }
        let _ = write!(
            html,
            "<path class=\"axis\" d=\"M{LEFT} {:.1}H{:.1}\"/>",
            HEIGHT - BOTTOM,
            WIDTH - RIGHT
        );
    }

    fn line(&self, html: &mut String, line: &Line) {
        // Stretches without a gap.
        let stretches = line.points.split(|(_, y)| y.is_none());
        let mut path = String::new();
        for stretch in stretches.filter(|stretch| !stretch.is_empty()) {
            for (nth, (x, y)) in stretch.iter().enumerate() {
                let (x, y) = (self.x(*x), self.y(y.unwrap_or(0.0)));
                let _ = write!(path, "{}{x:.1} {y:.1}", if nth == 0 { 'M' } else { 'L' });
            }
            if line.shape == Shape::Area {
                let ends = [&stretch[stretch.len() - 1], &stretch[0]];
                let [to, from] = ends.map(|(x, _)| self.x(*x));
                let _ = write!(path, "L{to:.1} {0:.1}L{from:.1} {0:.1}Z", HEIGHT - BOTTOM);
            } else if stretch.len() == 1 {
                // A single value is a dot.
                path += "h0.1";
            }
        }
        if path.is_empty() {
            return;
        }
        let shape = match line.shape {
            Shape::Line => "line",
            Shape::Limit => "limit",
            Shape::Area => "area",
        };
        let _ = write!(
            html,
            "<path class=\"{shape} c{}\" d=\"{path}\"/>",
            line.colour
        );
    }
}

/// From 0, the axis, to 1, the top.
fn up(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

#[cfg(test)]
mod tests {
    use super::super::scale::{count, percentile, seconds};
    use super::*;

    fn chart(points: Vec<(f64, Option<f64>)>, shape: Shape) -> Chart {
        Chart {
            id: "one".to_owned(),
            title: "A < B",
            about: "over time".to_owned(),
            x: Axis {
                scale: Scale::up_to(10.0),
                name: seconds,
            },
            y: Axis {
                scale: Scale::up_to(4.0),
                name: count,
            },
            lines: vec![Line {
                name: "a & b".to_owned(),
                colour: 1,
                shape,
                points,
            }],
            bands: vec![Band {
                from: 0.0,
                to: 1.0,
                says: "\"x\"".to_owned(),
            }],
            ..Chart::default()
        }
    }

    #[test]
    fn a_gap_interrupts_a_line_and_text_is_escaped() {
        let points = vec![
            (0.0, Some(1.0)),
            (1.0, Some(2.0)),
            (2.0, None),
            (3.0, Some(1.0)),
        ];
        let html = chart(points, Shape::Line).render();
        let path = html.split("class=\"line c1\" d=\"").nth(1).unwrap();
        let path = path.split('"').next().unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert!(path.ends_with("h0.1"), "{path}");
        assert!(html.contains("A &lt; B") && html.contains("a &amp; b"));
        assert!(html.contains("&quot;x&quot;") && !html.contains("NaN"));
    }

    #[test]
    fn figures_along_an_axis_do_not_stand_on_each_other() {
        let mut chart = chart(vec![(0.0, Some(1.0))], Shape::Line);
        for (nines, named) in [(3.3, 4), (5.08, 5), (7.0, 6)] {
            chart.x = Axis {
                scale: Scale::Nines(nines),
                name: percentile,
            };
            let html = chart.render();
            assert_eq!(html.matches("%</text>").count(), named, "{nines}: {html}");
            assert_eq!(html.matches("class=\"tick\"").count(), nines as usize + 1);
        }
    }

    #[test]
    fn an_area_is_closed() {
        let html = chart(vec![(0.0, Some(1.0)), (1.0, Some(2.0))], Shape::Area).render();
        assert!(html.contains("Z\"/>"), "{html}");
    }

    #[test]
    fn without_values_it_says_so() {
        for points in [vec![], vec![(0.0, None)]] {
            let html = chart(points, Shape::Line).render();
            assert!(html.contains("Nothing of this") && !html.contains("<svg"));
        }
    }
}
