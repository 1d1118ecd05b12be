//! A chart as an SVG: bars that lie one under the other, each with its label before and its figure
//! behind it, drawn by plotters.
//!
//! The picture has a ground of its own, so that it can be read wherever it is put, and carries the
//! colours for dark surroundings: selectors of its own replace those that plotters wrote.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::ReportError;
use super::charts::{Bar, Chart, Scale, Whose, number};

/// Light, and what stands for it in the dark. Contrast is at least 4.5 for text, 3 for bars.
const BACK: (RGBColor, &str) = (RGBColor(0xfe, 0xfe, 0xfe), "#14181c");
const INK: (RGBColor, &str) = (RGBColor(0x1a, 0x1d, 0x21), "#e8eaed");
const MUTED: (RGBColor, &str) = (RGBColor(0x52, 0x5b, 0x66), "#a7b0ba");
const LINE: (RGBColor, &str) = (RGBColor(0xd4, 0xd8, 0xdd), "#363d46");
const OURS: (RGBColor, &str) = (RGBColor(0x0b, 0x5c, 0xad), "#6aaef5");
const THEIRS: (RGBColor, &str) = (RGBColor(0xb2, 0x6a, 0x00), "#e0a24a");
const MACHINE: (RGBColor, &str) = (RGBColor(0x7a, 0x84, 0x90), "#8b95a1");
/// Around a stroke, so that it stands out from its bar.
const EDGE: (RGBColor, &str) = (RGBColor(0xff, 0xff, 0xff), "#0c0f12");

const ALL: [(RGBColor, &str); 8] = [BACK, INK, MUTED, LINE, OURS, THEIRS, MACHINE, EDGE];

const WIDTH: u32 = 800;
const ROW: u32 = 30;
const ABOVE: u32 = 44;
const AXIS: u32 = 34;
const LABELS: u32 = 290;
const FIGURES: u32 = 150;
/// Plotters divides a size by 1.24: this is 13 pixels.
const TEXT: f64 = 16.1;
const HEADING: f64 = 20.0;

/// The axis: linear or logarithmic, as one type.
#[derive(Clone)]
struct Axis {
    from: f64,
    to: f64,
    scale: Scale,
}

impl Axis {
    fn of(chart: &Chart) -> Self {
        let ends = |bar: &Bar| {
            let (low, high) = bar.spread.unwrap_or((bar.value, bar.value));
            (low.min(bar.value), high.max(bar.value))
        };
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (from, to) in chart.bars.iter().map(ends) {
            (low, high) = (low.min(from), high.max(to));
        }
        match chart.scale {
            // Bars begin where the axis does: a decade below the shortest, so that none vanishes.
            Scale::Logarithmic => {
                let (low, high) = (low.max(1e-9), high.max(1e-9));
                Self { from: 10_f64.powf(low.log10().floor()), to: high * 1.15, scale: chart.scale }
            }
            Scale::Linear => {
                let (low, high) = (low.min(0.0), high.max(0.0));
                let room = (high - low).max(1e-9) * 0.04;
                Self { from: if low < 0.0 { low - room } else { 0.0 }, to: high + room, scale: chart.scale }
            }
        }
    }

    /// Where a bar begins.
    const fn zero(&self) -> f64 {
        match self.scale {
            Scale::Linear => 0.0,
            Scale::Logarithmic => self.from,
        }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "pixels")]
    fn map(&self, value: &f64, (left, right): (i32, i32)) -> i32 {
        let place = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(self.from).ln(),
        };
        let share = (place(*value) - place(self.from)) / (place(self.to) - place(self.from));
        left + (share * f64::from(right - left)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let most = hint.max_num_points().clamp(2, 7);
        match self.scale {
            Scale::Logarithmic => {
                let decades = std::iter::successors(Some(self.from), |at| Some(at * 10.0));
                decades.take_while(|at| *at <= self.to).collect()
            }
            Scale::Linear => {
                #[expect(clippy::cast_precision_loss, reason = "a handful")]
                let rough = (self.to - self.from) / most as f64;
                let power = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|by| by * power).find(|step| *step >= rough);
                let step = step.unwrap_or(power * 10.0);
                let first = (self.from / step).ceil() * step;
                // A sum of steps never comes back to zero.
                std::iter::successors(Some(first), |at| Some(at + step))
                    .take_while(|at| *at <= self.to)
                    .map(|at| if at.abs() < step / 1e6 { 0.0 } else { at })
                    .collect()
            }
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

/// Draws a chart.
///
/// # Errors
/// [`ReportError::Draw`] with what plotters says.
pub fn svg(chart: &Chart) -> Result<String, ReportError> {
    let mut text = String::new();
    draw(chart, &mut text)
        .map_err(|error| ReportError::Draw { chart: chart.title.clone(), why: error.to_string() })?;
    Ok(dressed(chart, &text))
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a handful of bars")]
fn draw(chart: &Chart, into: &mut String) -> Drawn {
    let rows = chart.bars.len() as u32;
    let root = SVGBackend::with_string(into, (WIDTH, ABOVE + rows * ROW + AXIS)).into_drawing_area();
    root.fill(&BACK.0)?;
    write(&root, &chart.title, (16, 22), HEADING, INK.0, HPos::Left)?;
    let axis = Axis::of(chart);
    let zero = axis.zero();
    let mut drawn = ChartBuilder::on(&root)
        .margin_top(ABOVE)
        .margin_left(LABELS)
        .margin_right(FIGURES)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(axis, 0.0..f64::from(rows))?;
    drawn
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .bold_line_style(LINE.0.stroke_width(1))
        .light_line_style(TRANSPARENT)
        .axis_style(LINE.0)
        .x_labels(7)
        .x_label_formatter(&|value| short(*value))
        .label_style(("sans-serif", TEXT).into_font().color(&MUTED.0))
        .draw()?;
    for (row, bar) in chart.bars.iter().enumerate() {
        let middle = f64::from(rows) - row as f64 - 0.5;
        let colour = match bar.whose {
            Whose::Ours => OURS.0,
            Whose::Theirs => THEIRS.0,
            Whose::Machine => MACHINE.0,
        };
        let corners = [(zero, middle - 0.32), (bar.value, middle + 0.32)];
        drawn.draw_series([Rectangle::new(corners, colour.filled())])?;
        let mut end = bar.value.max(zero);
        if let Some((low, high)) = bar.spread {
            for (colour, width) in [(EDGE.0, 6), (INK.0, 2)] {
                let stroke = colour.stroke_width(width);
                drawn.draw_series([PathElement::new([(low, middle), (high, middle)], stroke)])?;
            }
            end = end.max(high);
        }
        let (right, y) = drawn.plotting_area().map_coordinate(&(end, middle));
        let words = bar.words.clone().unwrap_or_else(|| chart.words(bar.value));
        write(&root, &words, (right + 8, y), TEXT, INK.0, HPos::Left)?;
        write(&root, &bar.label, (LABELS as i32 - 12, y), TEXT, INK.0, HPos::Right)?;
    }
    root.present()?;
    Ok(())
}

fn write(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    text: &str,
    at: (i32, i32),
    size: f64,
    colour: RGBColor,
    side: HPos,
) -> Drawn {
    let style = ("sans-serif", size).into_font().color(&colour).pos(Pos::new(side, VPos::Center));
    root.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

/// A number on the axis.
fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 {
        format!("{}M", value / 1e6)
    } else if size >= 1e4 {
        format!("{}k", value / 1e3)
    } else if size >= 100.0 {
        number(value)
    } else {
        // Steps are 1, 2 or 5 times a power of ten: what is beyond is an error of the sum.
        let rounded = (value * 1e4).round() / 1e4;
        format!("{rounded}").replace('-', "−")
    }
}

/// Its name for who can't see it, and its colours in the dark.
fn dressed(chart: &Chart, drawn: &str) -> String {
    let head = drawn.find('>').unwrap_or(0);
    let (open, rest) = drawn.split_at(head);
    let mut dark = String::new();
    for (RGBColor(red, green, blue), instead) in ALL {
        let light = format!("#{red:02X}{green:02X}{blue:02X}");
        dark += &format!("[fill=\"{light}\"]{{fill:{instead}}}[stroke=\"{light}\"]{{stroke:{instead}}}");
    }
    let figures: Vec<String> = chart
        .bars
        .iter()
        .map(|bar| {
            let words = bar.words.clone().unwrap_or_else(|| chart.words(bar.value));
            format!("{}: {words}", bar.label)
        })
        .collect();
    let name = chart.name;
    format!(
        "{open} role=\"img\" aria-labelledby=\"{name}-title {name}-desc\"><title id=\"{name}-title\">{}</title>\
         <desc id=\"{name}-desc\">{}</desc>\
         <style>@media (prefers-color-scheme: dark){{{dark}}}</style>{}",
        escaped(&chart.title),
        escaped(&figures.join("; ")),
        rest.get(1..).unwrap_or_default(),
    )
}

/// Text as it may stand in HTML and SVG, in attributes too.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(scale: Scale, bars: &[(f64, Option<(f64, f64)>)]) -> Chart {
        let bar = |(value, spread): &(f64, Option<(f64, f64)>)| Bar {
            label: format!("<{value}>"),
            value: *value,
            spread: *spread,
            whose: Whose::Ours,
            words: None,
        };
        Chart {
            name: "test",
            title: "a & b".to_owned(),
            note: String::new(),
            unit: "ms",
            scale,
            bars: bars.iter().map(bar).collect(),
        }
    }

    /// Widths of the bars, in pixels.
    fn widths(svg: &str) -> Vec<f64> {
        let colour = "fill=\"#0B5CAD\"";
        let bars = svg.lines().filter(|line| line.starts_with("<rect") && line.contains(colour));
        let width = |line: &str| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok();
        bars.filter_map(width).collect()
    }

    #[test]
    fn a_bar_is_as_long_as_its_figure_on_a_linear_axis() {
        let svg = svg(&chart(Scale::Linear, &[(100.0, None), (50.0, None), (0.0, None)])).unwrap();
        let widths = widths(&svg);
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.02, "{widths:?}");
        assert!(widths[2] <= 1.0, "{widths:?}");
    }

    #[test]
    fn each_factor_of_ten_is_as_long_on_a_logarithmic_axis() {
        let svg = svg(&chart(Scale::Logarithmic, &[(1_000.0, None), (100.0, None), (12.0, None)])).unwrap();
        let widths = widths(&svg);
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.02, "{widths:?}");
        assert!(widths[2] > 5.0, "the shortest is seen: {widths:?}");
    }

    #[test]
    fn figures_below_zero_and_wide_spreads_stay_within_the_picture() {
        let svg =
            svg(&chart(Scale::Linear, &[(15.0, Some((10.0, 20.0))), (-4.0, Some((-13.0, 5.0)))])).unwrap();
        assert!(svg.contains("−4.00 ms") && svg.contains("15.0 ms"), "{svg}");
        let points =
            svg.split("points=\"").skip(1).flat_map(|it| it.split('"').next().unwrap().split([' ', ',']));
        let places: Vec<f64> = points.filter_map(|it| it.parse().ok()).collect();
        assert!(
            !places.is_empty() && places.iter().all(|at| (0.0..=f64::from(WIDTH)).contains(at)),
            "{places:?}"
        );
        assert_eq!(widths(&svg).len(), 2);
    }

    #[test]
    fn labels_are_text_and_the_picture_has_a_name_and_colours_for_the_dark() {
        let svg = svg(&chart(Scale::Linear, &[(1.0, None)])).unwrap();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        assert!(!svg.contains("<1>") && svg.contains("&lt;1&gt;"), "{svg}");
        assert!(svg.contains("<title id=\"test-title\">a &amp; b</title>"));
        assert!(svg.contains("role=\"img\"") && svg.contains("prefers-color-scheme: dark"));
        // Every colour that is drawn has one for the dark.
        for part in svg.split("=\"#").skip(1) {
            let colour = part.split('"').next().unwrap();
            assert!(svg.contains(&format!("[fill=\"#{colour}\"]{{")), "#{colour} has none");
        }
    }

    #[test]
    fn a_chart_of_nothing_but_zeros_is_drawn() {
        assert!(svg(&chart(Scale::Linear, &[(0.0, None)])).is_ok());
        assert!(svg(&chart(Scale::Logarithmic, &[(0.0, None)])).is_ok());
    }
}
